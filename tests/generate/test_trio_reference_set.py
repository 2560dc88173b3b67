"""The reference set of scenes: what it says of itself, and that the shipped file is what its recipe makes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from generate.trio.reference_set import scene_features, write_reference_set

SHIPPED = Path(__file__).parents[2] / "ibstats/measure/reference_set/trio-scenes.npz"


def test_a_set_holds_the_moments_of_its_scenes(tmp_path: Path) -> None:
    record = write_reference_set(tmp_path / "set.npz", count=60, kept=20, seed=3)
    features, digest = scene_features(60, 3)
    with np.load(tmp_path / "set.npz") as made:
        np.testing.assert_allclose(made["mean"], features.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(made["covariance"], np.cov(features, rowvar=False), atol=1e-6)
        assert made["features"].shape == (20, record.dimensions)
        assert json.loads(str(made["record"])) == json.loads(record.model_dump_json())
    assert record.images_sha256 == digest
    assert record.n_images == 60


def test_the_shipped_set_has_the_law_of_fresh_scenes() -> None:
    """Means agree within their standard errors, which a change of scenes, network or features would break."""
    fresh, _ = scene_features(400, seed=99)
    with np.load(SHIPPED) as shipped:
        error = np.sqrt(np.diagonal(shipped["covariance"]) / len(fresh))
        z = (fresh.mean(axis=0) - shipped["mean"]) / error
        assert np.abs(z).max() < 5
        np.testing.assert_allclose(
            shipped["features"].mean(axis=0), shipped["mean"], atol=6 * error.max()
        )
