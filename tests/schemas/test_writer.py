"""A run is written from the contract alone: with all there can be, or with images or tokens only, and read again."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from pydantic import ValidationError

import ibstats
from ibstats.errors import IncompleteStore, MissingImages
from schemas.design import Factor
from schemas.errors import CorruptStore, StoreContractError, StoreError
from schemas.io import writer
from schemas.io.folder import LocalFolder
from schemas.io.ledger import record_key
from schemas.io.template import PER_BLOCK, Template, strings
from schemas.provenance import Hardware, ModelIdentity, Software
from schemas.store import ExperimentPlan, ImportRecord, RunRecord
from schemas.study import Prompt
from schemas.variables import VARIABLES

SOFTWARE = Software(python="3.11", code_revision=None, code_dirty=None, libraries={})
HARDWARE = Hardware(host="test", platform="test", device="cpu", cpu_count=1)
CODES, GRID, SIZE = 7, (2, 3), (4, 5)
N_PROMPTS, N_SAMPLES = 5, 3

IDENTITIES = {
    "all": ModelIdentity(model="theirs", codebook_size=CODES, grid=GRID, image_size=SIZE),
    "images": ModelIdentity(model="theirs", image_size=SIZE),
    "tokens": ModelIdentity(model="theirs", codebook_size=CODES, grid=GRID),
}
HELD = {"all": ("image", "tokens"), "images": ("image",), "tokens": ("tokens",)}

ONE = [Factor(name="temperature", low="cold", high="warm")]
TWO = [*ONE, Factor(name="guidance", low="weak", high="strong")]
FREE = ExperimentPlan(
    conditions=["as published", "greedy / all steps", "c,3"],
    n_prompts=N_PROMPTS,
    n_samples=N_SAMPLES,
    block_prompts=2,
    kind="imported",
)


def factorial(factors: list[Factor]) -> ExperimentPlan:
    """All combinations of two-level factors, the baseline being the one of all high levels."""
    levels = {}
    for number in range(2 ** len(factors)):
        cell = {}
        for place, factor in enumerate(factors):
            cell[factor.name] = (factor.low, factor.high)[number >> place & 1]
        levels[f"condition {number}"] = cell
    return ExperimentPlan(
        conditions=list(levels),
        n_prompts=N_PROMPTS,
        n_samples=N_SAMPLES,
        block_prompts=2,
        kind="imported",
        factors=factors,
        levels=levels,
        baseline=f"condition {2 ** len(factors) - 1}",
    )


PROMPTS = [Prompt(id=f"p{number}", text=f"prompt {number}") for number in range(5)]


def imported_run(identity: ModelIdentity, plan: ExperimentPlan = FREE, **changes: Any) -> RunRecord:
    """The record of imported samples of one model."""
    fields = {
        "run_id": "test",
        "created": "2026-01-01T00:00:00Z",
        "imported": ImportRecord(name="theirs", source="images of a paper", sha256="0" * 64),
        "n_prompts": len(PROMPTS),
        "prompts_sha256": "0" * 64,
        "models": {"theirs": identity},
        "experiments": {"experiment": plan},
        "config_sha256": "1" * 64,
        "software": SOFTWARE,
        "hardware": HARDWARE,
    }
    return RunRecord.model_validate(fields | changes)


def sampled(plan: ExperimentPlan, names: tuple[str, ...], seed: int = 0) -> dict[str, NDArray[Any]]:
    """Arrays (condition, prompt, sample, ...) of what a model makes."""
    rng = np.random.default_rng(seed)
    shape = (len(plan.conditions), plan.n_prompts, plan.n_samples)
    made = {
        "image": rng.integers(0, 256, (*shape, *SIZE, 3)).astype(np.uint8),
        "tokens": rng.integers(0, CODES, (*shape, *GRID)).astype(np.uint16),
    }
    return {name: made[name] for name in names}


def write(
    root: Path,
    run: RunRecord,
    arrays: Mapping[str, NDArray[Any]],
    fixed: Mapping[str, NDArray[Any]] | None = None,
) -> writer.RunWriter:
    """Write a run of one model and experiment, block by block."""
    plan = run.experiments["experiment"]
    labels = {
        "condition": strings(plan.conditions),
        "prompt": strings(prompt.id for prompt in PROMPTS),
    }
    for factor in plan.factors:
        labels[factor.name] = strings(plan.levels[name][factor.name] for name in plan.conditions)
    template = Template(fixed={**labels, **(fixed or {})}, per_block=tuple(arrays))
    where = LocalFolder(root)
    laid_out = writer.create(where, run, PROMPTS, lambda model, experiment: template)
    made = writer.RunWriter(where, laid_out)
    for block in run.blocks():
        part = {}
        for name, values in arrays.items():
            part[name] = values[block.condition, block.start : block.stop]
        assert made.add(block, part, writer.Maker(SOFTWARE, HARDWARE)) == "made"
    return made


@pytest.mark.parametrize("kind", HELD)
def test_a_run_holds_what_it_was_given_and_nothing_else(tmp_path: Path, kind: str) -> None:
    arrays = sampled(FREE, HELD[kind])
    write(tmp_path / "run", imported_run(IDENTITIES[kind]), arrays)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = ibstats.open_store(tmp_path / "run")
        dataset = store.dataset("theirs", "experiment").load()
    assert store.holds("theirs", "experiment") == {"condition", "prompt", "complete", *HELD[kind]}
    assert set(dataset.data_vars) == {"complete", *HELD[kind]}
    for name, values in arrays.items():
        np.testing.assert_array_equal(dataset[name], values)
    assert list(dataset["condition"].values) == FREE.conditions
    assert [problem for _, problem in store.verify() if problem] == []
    assert (store.run.name, store.run.seed) == ("theirs", None)
    if kind == "tokens":
        with pytest.raises(MissingImages):
            store.images("theirs", "experiment")
    if kind == "images":
        assert np.isnan(store.identity("theirs").capacity)


@pytest.mark.parametrize("factors", [ONE, TWO], ids=["one factor", "two factors"])
def test_any_two_level_factors_are_coordinates_of_their_own(
    tmp_path: Path, factors: list[Factor]
) -> None:
    plan = factorial(factors)
    write(tmp_path / "run", imported_run(IDENTITIES["tokens"], plan), sampled(plan, ("tokens",)))
    store = ibstats.open_store(tmp_path / "run")
    assert store.run.experiments["experiment"] == plan
    dataset = store.dataset("theirs", "experiment")
    names = [factor.name for factor in factors]
    assert set(names) <= set(dataset.coords)
    for name, levels in plan.levels.items():
        condition = plan.conditions.index(name)
        for factor, level in levels.items():
            assert dataset[factor].values[condition] == level


def test_plain_xarray_reads_it_without_a_warning(tmp_path: Path) -> None:
    plan = factorial(ONE)
    write(tmp_path / "run", imported_run(IDENTITIES["all"], plan), sampled(plan, HELD["all"]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = xr.open_zarr(
            tmp_path / "run/data.zarr", group="theirs/experiment", consolidated=False, chunks=None
        )
    assert dataset["complete"].all()
    assert "temperature" in dataset.coords


def ragged(counts: NDArray[Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays with the fill of the contract where there is no sample."""
    there = np.arange(N_SAMPLES) < counts[..., None]
    found = {}
    for name, values in arrays.items():
        found[name] = values.copy()
        found[name][~there] = VARIABLES[name].fill
    return found


def test_prompts_may_have_unequal_numbers_of_samples(tmp_path: Path) -> None:
    counts = np.full((3, N_PROMPTS), N_SAMPLES, dtype=np.int32)
    counts[1, 4] = 2
    arrays = sampled(FREE, HELD["all"])
    run = imported_run(IDENTITIES["all"])
    write(tmp_path / "a", run, ragged(counts, arrays), {"sample_count": counts})
    store = ibstats.open_store(tmp_path / "a")
    with pytest.warns(UserWarning, match="2 to 3 samples per prompt"):
        dataset = store.dataset("theirs", "experiment")
    assert dataset.sizes["sample"] == 2
    np.testing.assert_array_equal(dataset["tokens"], arrays["tokens"][:, :, :2])
    # equal samples have equal digests, whatever the most of another prompt
    write(tmp_path / "b", run, arrays)
    digests = []
    for name in "ab":
        records = ibstats.open_store(tmp_path / name).records["theirs", "experiment"]
        digests.append({(r.condition, r.block): r.content_sha256 for r in records})
    differing = {block for block in digests[0] if digests[0][block] != digests[1][block]}
    assert differing == {(1, 2)}


def test_values_of_samples_that_are_not_there_are_refused(tmp_path: Path) -> None:
    counts = np.full((3, N_PROMPTS), 2, dtype=np.int32)
    run = imported_run(IDENTITIES["tokens"])
    with pytest.raises(StoreContractError, match="has values beyond `sample_count`"):
        write(tmp_path / "run", run, sampled(FREE, ("tokens",)), {"sample_count": counts})


def test_a_prompt_without_samples_is_refused(tmp_path: Path) -> None:
    counts = np.zeros((3, N_PROMPTS), dtype=np.int32)
    run = imported_run(IDENTITIES["tokens"])
    with pytest.raises(StoreContractError, match="must be from 1 to 3"):
        write(tmp_path / "run", run, sampled(FREE, ("tokens",)), {"sample_count": counts})


@pytest.mark.parametrize(
    ("kind", "names", "message"),
    [
        ("images", ("tokens",), "the size of its codebook is not said"),
        ("tokens", ("image",), "holds 'image', but its y has no size"),
        ("all", ("tokens", "joint_surprisal"), "holds 'joint_surprisal', but its step has no size"),
        ("all", ("tokens", "colour"), "cannot hold a variable 'colour'"),
    ],
)
def test_a_template_that_the_run_cannot_hold_is_refused(
    tmp_path: Path, kind: str, names: tuple[str, ...], message: str
) -> None:
    arrays = dict.fromkeys(names, np.zeros((3, N_PROMPTS, N_SAMPLES)))
    with pytest.raises(StoreContractError, match=message):
        write(tmp_path / "run", imported_run(IDENTITIES[kind]), arrays)
    assert not (tmp_path / "run/run.json").exists()


def test_labels_of_another_length_than_the_plan_says_are_refused(tmp_path: Path) -> None:
    run = imported_run(IDENTITIES["tokens"])
    labels = {"condition": strings(["only one"])}
    with pytest.raises(StoreContractError, match=r"'condition' .* has shape \(1,\)"):
        write(tmp_path / "run", run, sampled(FREE, ("tokens",)), labels)


def test_tokens_outside_the_codebook_are_refused(tmp_path: Path) -> None:
    arrays = sampled(FREE, ("tokens",))
    arrays["tokens"][0, 0, 0, 0, 0] = CODES
    with pytest.raises(StoreContractError, match=r"holds code 7, but codes of theirs run 0\.\.6"):
        write(tmp_path / "run", imported_run(IDENTITIES["tokens"]), arrays)


def test_a_block_is_made_once_and_a_second_run_is_refused(tmp_path: Path) -> None:
    arrays = sampled(FREE, ("tokens",))
    run = imported_run(IDENTITIES["tokens"])
    made = write(tmp_path / "run", run, arrays)
    block = next(iter(run.blocks()))
    part = {"tokens": arrays["tokens"][block.condition, block.start : block.stop]}
    assert made.add(block, part, writer.Maker(SOFTWARE, HARDWARE)) == "done"
    with pytest.raises(StoreError, match="holds a run already"):
        write(tmp_path / "run", run, arrays)


def test_a_block_that_is_withdrawn_is_missing_and_imported_again(tmp_path: Path) -> None:
    arrays = sampled(FREE, ("tokens",))
    run = imported_run(IDENTITIES["tokens"])
    made = write(tmp_path / "run", run, arrays)
    made.withdraw(next(iter(run.blocks())))
    with pytest.raises(IncompleteStore, match=r"3 of 5 prompts complete.*import it again"):
        ibstats.open_store(tmp_path / "run").dataset("theirs", "experiment")


def test_a_variable_that_vanishes_from_a_run_that_had_it_is_missed(tmp_path: Path) -> None:
    """It is optional in the contract, but not in this run: its metadata are listed in run.json."""
    write(tmp_path / "run", imported_run(IDENTITIES["tokens"]), sampled(FREE, ("tokens",)))
    (tmp_path / "run/data.zarr/theirs/experiment/tokens/zarr.json").unlink()
    with pytest.raises(StoreContractError, match="variable 'tokens' of 'theirs/experiment' is"):
        ibstats.open_store(tmp_path / "run")


def test_a_run_without_images_is_whole(tmp_path: Path) -> None:
    write(tmp_path / "run", imported_run(IDENTITIES["all"]), sampled(FREE, HELD["all"]))
    shutil.rmtree(tmp_path / "run/data.zarr/theirs/experiment/image")
    store = ibstats.open_store(tmp_path / "run")
    assert "image" not in store.holds("theirs", "experiment")
    assert "image" not in store.dataset("theirs", "experiment")


WRONG_PLANS: dict[str, tuple[dict[str, Any], str]] = {
    "third level": (
        {"levels": {"c,3": {"temperature": "hot"}}},
        "its levels are 'cold' and 'warm'",
    ),
    "no factor": ({"levels": {"c,3": {"colour": "red"}}}, "which is no factor"),
    "no condition": ({"levels": {"d": {"temperature": "cold"}}}, "'d', which is no condition"),
    "no baseline": ({"baseline": "d"}, "baseline 'd' is no condition"),
    "taken": ({"factors": [Factor(name="tokens", low="a", high="b")]}, "names something else"),
    "twice": ({"factors": ONE * 2}, "two factors have one name"),
    "conditions": ({"conditions": ["a", "a"]}, "two conditions have one name"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG_PLANS.values(), ids=WRONG_PLANS)
def test_a_design_that_contradicts_itself_is_refused(changes: dict[str, Any], message: str) -> None:
    fields = FREE.model_dump() | {"factors": ONE} | changes
    with pytest.raises(ValidationError, match=message):
        ExperimentPlan.model_validate(fields)


def test_a_run_has_one_origin() -> None:
    with pytest.raises(ValidationError, match="but not both"):
        imported_run(IDENTITIES["tokens"], imported=None)


def test_a_record_in_the_place_of_another_is_not_believed(tmp_path: Path) -> None:
    run = imported_run(IDENTITIES["tokens"])
    made = write(tmp_path / "run", run, sampled(FREE, ("tokens",)))
    one, other = list(run.blocks())[:2]
    names = [tmp_path / "run" / record_key(block) for block in (one, other)]
    names[0].write_bytes(names[1].read_bytes())
    with pytest.raises(CorruptStore, match="it is of another block"):
        made.ledger.read(one)


def test_every_variable_of_blocks_is_per_block() -> None:
    assert {"image", "tokens", "complete"} <= PER_BLOCK
    assert not {"text_index", "path_key", "sample_count"} & PER_BLOCK
