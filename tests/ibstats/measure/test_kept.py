"""What was measured is kept, found again under the same keys, and gone on with after an interruption."""

from __future__ import annotations

import json
import resource
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import ibstats
from ibstats.errors import IbstatsError, MissingWeights
from ibstats.measure import Distance, Embedding, Pairs, distances, embeddings, kept, metric, network
from ibstats.measure.base import Features, Images
from ibstats.measure.each import here
from ibstats.measure.pixel import PixelCosine
from ibstats.selection import select
from schemas.errors import DiskFullError
from tests.ibstats import conftest

ORIGIN = {"snapshot": "s", "prompts": ["a", "b"]}

KEYS = {
    "pixel_cosine": "4bf25f8097b9c9e0",
    "ssim": "8050c4dc78f08db8",
    "reference": "d556cd4873c07a63",
    "lpips_alex": "b7dec0a64324c36d",
    "lpips_vgg": "f7099ad12949c515",
    "lpips_squeeze": "70a4f36cc0f1e4df",
}
"""Keys of that origin, by version 0.1.0: they must stay, or all that users keep is measured again."""

FILES = {
    "distances/toy-ar/factorial/pixel_cosine_distance-1e8e67a4389735d3.npy",
    "distances/toy-ar/factorial/ssim_dissimilarity-633de83a6a6bb7fd.npy",
    "distances/toy-ar/factorial/reference_distance-00a934239b070f49.npy",
    "features/toy-ar/factorial/reference-34ed168785ab0f04.npy",
}
"""Names of version 0.1.0 for the run below."""


@pytest.mark.parametrize("name", KEYS)
def test_keys_of_distances_are_those_of_before(name: str) -> None:
    chosen = metric(name)
    assert kept.digest([chosen.name, chosen.settings(), ORIGIN])[:16] == KEYS[name]


def test_the_key_of_the_scene_features_is_that_of_before() -> None:
    chosen = network("reference")
    key = kept.digest([chosen.name, chosen.settings(), ORIGIN])
    assert key[:16] == "0b648c9c1a38b01a"


def test_what_is_kept_has_the_names_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conftest, "SIZE", (32, 32))
    run = conftest.write_run(
        tmp_path / "toy", families={"toy-mim": "masked", "toy-ar": "autoregressive"}
    )
    selection = select(ibstats.open_store(run), "toy-ar", "factorial")
    for name in ("pixel_cosine", "ssim", "reference"):
        distances(selection, metric(name))
    embeddings(selection, network("reference"))
    assert {str(file.relative_to(run / "results")) for file in run.rglob("*.npy")} == FILES
    for file in run.rglob("results/**/*.npy"):
        record = json.loads(file.with_suffix(".json").read_text())
        name = record.get("distance") or record.get("network")
        content = {key: record[key] for key in ("snapshot", "prompts")}
        key = kept.digest([name, record["settings"], content])
        assert file.stem == f"{name}-{key[:16]}"


class Published(Embedding):
    """Mean colours, of weights that lie on some machines alone."""

    name = "published"
    settings_need_weights = True
    found = True

    def asked(self) -> dict[str, Any]:
        return {"published": "means"}

    def settings(self) -> dict[str, Any]:
        if not self.found:
            raise MissingWeights("not on this machine")
        return self.asked() | {"sha256": "1"}

    def embed(self, images: Images) -> Features:
        return images.mean(axis=(1, 2)).astype(np.float32)


def test_features_are_found_without_the_weights_they_were_made_with(
    run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    selection = select(ibstats.open_store(run_copy), "toy-mim", "factorial")
    assert not kept.are_kept(selection, Published())
    made = embeddings(selection, Published())
    monkeypatch.setattr(Published, "found", False)
    assert kept.are_kept(selection, Published())
    xr.testing.assert_identical(embeddings(selection, Published()), made)
    other = select(ibstats.open_store(run_copy), "toy-ar", "factorial")
    assert not kept.are_kept(other, Published())
    with pytest.raises(MissingWeights, match="not on this machine"):
        embeddings(other, Published())


def test_what_was_kept_without_a_record_is_found(run_copy: Path) -> None:
    """Distances of version 0.1.0 have none."""
    selection = select(ibstats.open_store(run_copy), "toy-mim", "factorial")
    first = distances(selection, PixelCosine())
    for record in (run_copy / "results").rglob("*.json"):
        record.unlink()
    assert kept.are_kept(selection, PixelCosine())
    shutil.rmtree(run_copy / "data.zarr" / "toy-mim" / "factorial" / "image")
    again = select(ibstats.open_store(run_copy), "toy-mim", "factorial")
    xr.testing.assert_identical(distances(again, PixelCosine()), first)


class Counting(Distance):
    """Counts how often it measures, and can break down."""

    name = "pixel_cosine_distance"

    def __init__(self, fail_at: int = -1, nan: bool = False) -> None:
        super().__init__()
        self.calls = 0
        self.fail_at = fail_at
        self.nan = nan

    def settings(self) -> dict[str, str]:
        return {"counting": "yes"}

    def measure(self, images: Images) -> Pairs:
        if self.calls == self.fail_at:
            raise KeyboardInterrupt
        self.calls += 1
        made = PixelCosine().measure(images)
        return made._replace(distance=made.distance * np.nan) if self.nan else made


def test_distances_are_measured_once_and_resume_after_an_interruption(run_copy: Path) -> None:
    store = ibstats.open_store(run_copy)
    broken = Counting(fail_at=2)
    with pytest.raises(KeyboardInterrupt):
        distances(select(store, "toy-mim", "factorial"), broken)
    rest = Counting()
    first = distances(select(store, "toy-mim", "factorial"), rest)
    assert (broken.calls, rest.calls) == (2, 4)
    again = Counting(fail_at=0)
    np.testing.assert_array_equal(
        first["distance"], distances(select(store, "toy-mim", "factorial"), again)["distance"]
    )


def test_a_nan_distance_names_prompt_and_condition(run_copy: Path) -> None:
    with pytest.raises(
        IbstatsError, match="pixel_cosine_distance of toy-ar, prompt p000 is NaN in condition"
    ):
        distances(select(ibstats.open_store(run_copy), "toy-ar", "factorial"), Counting(nan=True))


def test_an_unfinished_table_is_gone_on_with(tmp_path: Path) -> None:
    images = xr.DataArray(
        np.arange(24, dtype=np.uint8).reshape(3, 2, 1, 2, 2, 1),
        dims=("prompt", "condition", "sample", "y", "x", "channel"),
        coords={"prompt": list("abc"), "condition": ["low", "high"]},
    )
    asked: list[str] = []

    def measure(prompt: int) -> Any:
        one = images.isel(prompt=prompt)
        if len(asked) == 1:
            asked.append("stop")
            raise KeyboardInterrupt
        asked.append(str(one["prompt"].item()))
        return one.sum(["sample", "y", "x", "channel"]).values.astype(np.float32)

    with pytest.raises(KeyboardInterrupt):
        kept.fill(tmp_path / "t.npy", 3, measure, "sums", here)
    assert not (tmp_path / "t.npy").exists()
    kept.fill(tmp_path / "t.npy", 3, measure, "sums", here)
    assert asked == ["a", "stop", "b", "c"]
    table, coords = kept.read(tmp_path / "t.npy", images)
    np.testing.assert_array_equal(
        table, images.sum(["sample", "y", "x", "channel"]).transpose("condition", "prompt")
    )
    assert set(coords) == {"prompt", "condition"}


def test_a_table_that_has_no_room_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    """A map over a full disk kills the process; a write is refused, and leaves nothing behind."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(DiskFullError, match="no room in"):
            kept.fill(tmp_path / "table.npy", 40, lambda _: np.zeros(50), "toy", here)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())
    kept.fill(tmp_path / "table.npy", 40, lambda _: np.zeros(50), "toy", here)
    assert not np.load(tmp_path / "table.npy").any()
