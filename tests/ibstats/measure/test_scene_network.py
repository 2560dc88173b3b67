"""The scene network against its definition, and the files that come with ibstats."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

import ibstats
from ibstats.errors import IbstatsError, MissingWeights
from ibstats.measure import distances, metric, network, reference_set
from ibstats.measure.scene_network import SceneDistance, SceneNetwork
from ibstats.selection import select
from tests.ibstats.measure.pixels import noise

ROOT = Path(__file__).parents[3]


def write_network(file: Path) -> list[np.ndarray]:
    """A random two-layer scene network."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    weights = [rng.normal(size=shape).astype(np.float32) for shape in ((4, 3, 3, 3), (5, 4, 3, 3))]
    tensors = {f"conv.{i}.weight": w for i, w in enumerate(weights)}
    tensors |= {f"conv.{i}.bias": np.full(len(w), 0.1, np.float32) for i, w in enumerate(weights)}
    config = {
        "strides": [2, 1],
        "padding": 1,
        "input_scale": 2.0,
        "input_shift": -1.0,
        "pooling": "flatten",
    }
    save_file(tensors, file, metadata={"config": json.dumps(config)})
    return weights


def test_scene_distance_equals_its_definition(tmp_path: Path) -> None:
    import torch
    import torch.nn.functional as F

    file = tmp_path / "network.safetensors"
    weights = write_network(file)
    images = noise(1, 3, 16, 16)
    ours = SceneDistance(file, batch_size=2).measure(images).distance[0]
    x = 2 * torch.from_numpy(images[0]).permute(0, 3, 1, 2).float() / 255 - 1
    expected = np.zeros((3, 3))
    for w, stride in zip(weights, (2, 1), strict=True):
        x = F.relu(
            F.conv2d(x, torch.from_numpy(w), torch.full((len(w),), 0.1), stride=stride, padding=1)
        )
        unit = (x / x.norm(dim=1, keepdim=True).clamp_min(1e-9)).numpy()
        for i in range(3):
            for j in range(3):
                expected[i, j] += ((unit[i] - unit[j]) ** 2).sum(axis=0).mean() / 2
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_a_missing_scene_network_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(
        MissingWeights, match="does not exist; give its file with --weights reference=PATH"
    ):
        SceneDistance(tmp_path / "none.safetensors")


def test_argmax_without_path_noise_is_exactly_zero_in_every_metric(
    run: Path, tmp_path: Path
) -> None:
    write_network(tmp_path / "r.safetensors")
    store = ibstats.open_store(run)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for distance in (
            metric("pixel_cosine"),
            metric("ssim"),
            SceneDistance(tmp_path / "r.safetensors"),
        ):
            table = distances(select(store, "toy-ar", "factorial"), distance)["distance"]
            cell = table.sel(condition="argmax-original-full")
            assert float(abs(cell).max()) == 0.0
            assert float(table.sel(condition="argmax-paraphrase-full").max()) > 0.0


def test_the_shipped_scenes_match_the_network_that_reads_them() -> None:
    shipped = reference_set.read(reference_set.SHIPPED)
    chosen = network("reference")
    reference_set.check(shipped, "reference", chosen.settings(), (32, 32))
    assert shipped.record.dimensions == 96
    assert shipped.target.features is not None
    ours = (ROOT / "ibstats/measure/scene_network.safetensors").read_bytes()
    assert ours == (ROOT / "generate/trio/weights/reference.safetensors").read_bytes()
    features = chosen.embed(np.zeros((2, 32, 32, 3), np.uint8))
    assert features.shape == (2, 96 + chosen.n_logits)


def test_a_file_that_is_no_scene_network_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "network.safetensors"
    file.write_bytes(b"not weights")
    with pytest.raises(IbstatsError, match="is no scene network"):
        SceneDistance(file).measure(noise(1, 2, 32, 32))


def test_features_are_of_scenes_alone() -> None:
    with pytest.raises(IbstatsError, match="reads 32x32 scenes of the trio, but images are 16x20"):
        network("reference").embed(noise(1, 2, 16, 20)[0])


def test_attributes_are_read_without_the_weights() -> None:
    found = SceneNetwork()
    assert list(found.attributes) == ["shape", "colour", "size", "position", "background"]
    assert "loaded" not in vars(found)
