"""Codes that are counted and kept by stratum: at each scale of a next-scale model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from generate.models.toy_law import enumerate_law
from generate.run.blocks import run
from generate.run.preparing import prepare
from generate.store.samples import SampleStore
from generate.study.planning import Plan, plan
from generate.study.probes import Probe
from generate.study.study_file import load_study
from generate.traversal.replay import Replay
from ibstats.analysis import analyse
from ibstats.statistics.uncertainty import Resampling
from ibstats.store import open_store
from schemas.analysis import Config
from schemas.io import layout, reader
from schemas.provenance import CalibrationRecord
from schemas.store import sealed
from tests.generate.conftest import edited, write_study
from tests.generate.test_replay import philox
from tests.generate.test_toy_law import TEXT, toy

SCALES = {"model": "toy-scales", "options": {"steps": 2, "codes": 4, "seed": 3, "sharpness": 3.0}}
METHODS = ["drop_least_frequent", "drop_most_frequent", "drop_random"]
CHANGES: Mapping[str, Any] = {
    "models": [SCALES],
    "experiments": {
        "ratio": {"kind": "subset_ratio", "ratios": [0.5]},
        "method": {"kind": "subset_method", "keep_ratio": 0.5, "methods": METHODS},
    },
}


def scales_plan(folder: Path) -> Plan:
    return plan(*load_study(str(edited(write_study(folder), **CHANGES))))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SampleStore:
    folder = tmp_path_factory.mktemp("strata")
    laid_out = scales_plan(folder)
    made = prepare(laid_out, folder / "run")
    run(laid_out, made)
    return made


def most_used(counts: np.ndarray) -> set[int]:
    """The two codes of most uses, whose counts must differ from the others'."""
    order = np.argsort(-counts)
    assert counts[order[1]] > counts[order[2]]
    return set(order[:2].tolist())


def test_each_scale_keeps_the_codes_that_it_uses_most_itself(store: SampleStore) -> None:
    fixed = store.fixed("toy-scales", "ratio")
    counts = fixed["stratum_count"]
    assert counts.sum(axis=1).tolist() == [4 * 4 * 1, 4 * 4 * 3]  # prompts, samples, positions
    assert (counts.sum(axis=0) == fixed["calibration_count"]).all()
    keep = fixed["stratum_keep"][0]
    for scale in range(2):
        assert set(np.flatnonzero(keep[scale]).tolist()) == most_used(counts[scale])
    assert (keep[0] != keep[1]).any()
    assert (fixed["codebook_keep"][0] == keep.any(axis=0)).all()
    assert fixed["stratum_keep"][1].all()


def test_samples_use_the_codes_of_their_scale_alone(store: SampleStore) -> None:
    dataset = open_store(store.root).dataset("toy-scales", "ratio")
    tokens = dataset["tokens"].isel(condition=0).values.reshape(-1, 4)
    keep = store.fixed("toy-scales", "ratio")["stratum_keep"][0]
    assert keep[0][tokens[:, 0]].all()
    assert keep[1][tokens[:, 1:]].all()
    assert store.allowed("toy-scales", "ratio", 0).tolist() == keep[[0, 1, 1, 1]].tolist()


def test_random_codes_are_the_same_at_every_scale_and_those_by_counts_are_not(
    store: SampleStore,
) -> None:
    fixed = store.fixed("toy-scales", "method")
    for method, keep in zip(fixed["subset_method"], fixed["stratum_keep"], strict=True):
        assert keep.sum(axis=1).tolist() == ([4, 4] if method == "" else [2, 2])
        assert (keep[0] == keep[1]).all() == (method in ("", "drop_random"))


def test_certainty_is_the_mean_over_scales(store: SampleStore) -> None:
    fixed = store.fixed("toy-scales", "ratio")
    assert 0 < fixed["subset_overlap"][0] <= 1
    assert fixed["subset_tie_share"][0] == 0
    assert np.isnan(fixed["subset_overlap"][1])


def test_replayed_grids_have_their_enumerated_probability_under_codes_by_scale() -> None:
    model = toy("toy-scales", seed=2, steps=2)
    allowed = np.array([[True, False, False], *[[False, True, True]] * 3])
    law = enumerate_law(model, TEXT, Probe(allowed)).token_law
    assert len(law) == 2**3
    assert {grid[0] for grid in law} == {0}
    every = torch.cartesian_prod(*[torch.arange(3)] * 4)
    conditioning = model.encode([TEXT] * 81)
    trace = model.traverse(conditioning, Probe(allowed), Replay(every, philox(81)))
    assert trace.joint_surprisal is not None
    expected = torch.tensor([law.get(tuple(z), 0.0) for z in every.tolist()])
    torch.testing.assert_close(torch.exp2(-trace.joint_surprisal.sum(1)), expected.double())


def test_what_is_removed_is_measured_by_scale(store: SampleStore) -> None:
    opened = open_store(store.root)
    how = Resampling(n_resamples=200)
    config = Config(experiment="ratio", parts=("information",), n_shuffles=2, resampling=how)
    group = analyse(opened, config)["toy-scales/subset_removed"].to_dataset()
    dataset = opened.dataset("toy-scales", "ratio")
    free = dataset["tokens"].isel(condition=1).values.reshape(-1, 4)
    keep = store.fixed("toy-scales", "ratio")["stratum_keep"][0]
    dropped = np.concatenate([~keep[0][free[:, :1]], ~keep[1][free[:, 1:]]], axis=1)
    assert float(group["estimate"].squeeze()) == pytest.approx(dropped.mean())


def test_a_run_that_was_counted_together_keeps_one_set(tmp_path: Path) -> None:
    """As runs of before 1.4 were: their counts lie in the run, and are not counted again."""
    laid_out = scales_plan(tmp_path)
    first = prepare(laid_out, tmp_path / "first")
    document = json.loads(first.folder.read(layout.calibration_key("toy-scales")))
    record = CalibrationRecord.model_validate(document)
    assert [len(part.counts) for part in record.strata] == [4, 4]
    assert record.counts_sha256 == first.run.calibration_sha256["toy-scales"]
    assert reader.calibration_problems(first.folder, first.run) == {}
    old = record.model_copy(update={"strata": [], "sha256": ""})
    (tmp_path / "second" / "calibration").mkdir(parents=True)
    file = tmp_path / "second" / layout.calibration_key("toy-scales")
    file.write_bytes(sealed(old))
    second = prepare(laid_out, tmp_path / "second")
    fixed = second.fixed("toy-scales", "ratio")
    assert "stratum_keep" not in fixed
    counts = np.array(record.counts)
    assert set(np.flatnonzero(fixed["codebook_keep"][0]).tolist()) == most_used(counts)
    assert second.run.calibration_sha256 != first.run.calibration_sha256
    assert second.allowed("toy-scales", "ratio", 0).shape == (4,)
