"""Inception against torchmetrics, and its weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ibstats.errors import IbstatsError, MissingWeights
from ibstats.measure import inception
from ibstats.measure.inception import Inception
from schemas.io.files import file_sha256


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the form of torch-fidelity's file."""
    import torch
    from torch_fidelity import feature_extractor_inceptionv3 as upstream

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upstream, "load_state_dict_from_url", lambda *a, **k: {})
        patch.setattr(
            upstream.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None
        )
        torch.manual_seed(0)
        network = upstream.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    file = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(network.state_dict(), file)
    return file


def test_inception_features_are_those_of_torchmetrics(
    inception_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from torchmetrics.image.fid import FrechetInceptionDistance

    pixels = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 3), dtype=np.uint8)
    metric = FrechetInceptionDistance(feature_extractor_weights_path=str(inception_file))
    with torch.inference_mode():
        theirs = metric.inception(torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()
    with pytest.raises(MissingWeights, match="is damaged or holds other weights"):
        Inception(inception_file).embed(pixels)
    monkeypatch.setattr(inception, "FILE", f"random-{file_sha256(inception_file)[:8]}.pth")
    ours = Inception(inception_file, batch_size=2).embed(pixels)
    assert ours.shape == (3, 2048)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_missing_inception_says_which_file_where_and_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(MissingWeights) as raised:
        Inception(download=False).settings()
    for part in (
        "weights-inception-2015-12-05-6726825d.pth",
        str(tmp_path),
        "torch_fidelity",
        "inception=PATH",
    ):
        assert part in str(raised.value)
    assert "\n" not in str(raised.value)
    with pytest.raises(MissingWeights, match="no weight file 'nowhere'"):
        Inception("nowhere")


def test_a_file_that_is_no_inception_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    torch.save({"weight": torch.zeros(2)}, tmp_path / "w.pth")
    monkeypatch.setattr(inception, "FILE", f"random-{file_sha256(tmp_path / 'w.pth')[:8]}.pth")
    with pytest.raises(IbstatsError, match="does not hold the weights of FID's Inception"):
        Inception(tmp_path / "w.pth").embed(np.zeros((1, 8, 8, 3), np.uint8))
