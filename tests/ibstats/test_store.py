"""Opening a run: the view that analyses read, and one error class and one line for everything that can be wrong."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import ibstats
from ibstats import errors
from ibstats.selection import select

from .conftest import CELLS, write_run


def edit(file: Path, change: Callable[[dict], None]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_factorial_view_equals_manual_selection(run: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = ibstats.open_store(run)
        dataset = store.dataset("toy-mim")
        tokens = select(store, "toy-mim", "factorial").design.by_factor(dataset["tokens"])
    assert store.models() == ["toy-ar", "toy-mim", "toy-diffusion"]
    assert store.experiments() == ["factorial"]
    assert tokens.dims == ("prompt", "sampling", "prompt_type", "codebook", "sample", "row", "col")
    for condition, (sampling, prompt_type, codebook) in enumerate(CELLS):
        one = tokens.sel(sampling=sampling, prompt_type=prompt_type, codebook=codebook)
        np.testing.assert_array_equal(one, dataset["tokens"].isel(condition=condition))


def test_snapshot_depends_on_content_only(run: Path, run_copy: Path) -> None:
    store = ibstats.open_store(run)
    assert store.snapshot() == ibstats.open_store(run_copy).snapshot()
    assert store.snapshot("toy-ar") != store.snapshot("toy-mim")
    next((run_copy / "ledger/toy-ar/factorial").glob("*.json")).unlink()
    assert store.snapshot() != ibstats.open_store(run_copy).snapshot()


def remove_array(root: Path) -> None:
    (root / "data.zarr/toy-ar/factorial/tokens/zarr.json").unlink()


def wrong_dims(root: Path) -> None:
    edit(
        root / "data.zarr/toy-ar/factorial/tokens/zarr.json",
        lambda meta: meta.update(dimension_names=["condition", "prompt", "sample", "col", "row"]),
    )


def foreign_ledger(root: Path) -> None:
    file = next((root / "ledger/toy-mim/factorial").glob("*.json"))
    edit(file, lambda record: record.update(config_sha256="f" * 64))


BROKEN: dict[str, tuple[Callable[[Path], object], type[Exception], str]] = {
    "no run.json": (lambda r: (r / "run.json").unlink(), errors.NotAStore, "has no run.json"),
    "broken run.json": (
        lambda r: (r / "run.json").write_text("{"),
        errors.CorruptStore,
        "not valid JSON",
    ),
    "foreign": (
        lambda r: edit(r / "run.json", lambda c: c.update(schema_name="other")),
        errors.ForeignStore,
        "schema_name 'other', but this program reads 'ibstats-samples'",
    ),
    "newer": (
        lambda r: edit(r / "run.json", lambda c: c.update(schema_version="2.0")),
        errors.UnsupportedVersion,
        "schema version 2.0, but this program reads 1.4; upgrade ibstats",
    ),
    "older": (
        lambda r: edit(r / "run.json", lambda c: c.update(schema_version="0.9")),
        errors.UnsupportedVersion,
        "migrate the store",
    ),
    "unknown key": (
        lambda r: edit(r / "run.json", lambda c: c.update(colour="blue")),
        errors.CorruptStore,
        "does not follow its schema: colour",
    ),
    "zarr v2": (
        lambda r: (
            (r / "data.zarr/zarr.json").unlink(),
            (r / "data.zarr/.zgroup").write_text('{"zarr_format": 2}'),
        ),
        errors.StoreContractError,
        "is Zarr format 2",
    ),
    "truncated zarr.json": (
        lambda r: (r / "data.zarr/toy-ar/factorial/tokens/zarr.json").write_text('{"shape"'),
        errors.CorruptStore,
        "not valid JSON",
    ),
    "array gone": (
        remove_array,
        errors.StoreContractError,
        "variable 'tokens' of 'toy-ar/factorial' is missing",
    ),
    "wrong dims": (wrong_dims, errors.StoreContractError, "the contract says uint16 over"),
    "mixed ledger": (foreign_ledger, errors.StoreContractError, "two runs were mixed"),
    "broken record": (
        lambda r: next((r / "ledger/toy-ar/factorial").glob("*.json")).write_text("{}"),
        errors.CorruptStore,
        "ledger record .* does not follow its schema",
    ),
}


@pytest.mark.parametrize(("breakage", "kind", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_run_is_refused_with_its_own_error(
    run_copy: Path, breakage: Callable[[Path], object], kind: type[Exception], message: str
) -> None:
    breakage(run_copy)
    with pytest.raises(kind, match=message) as error:
        ibstats.open_store(run_copy)
    assert "\n" not in str(error.value)


def test_a_minor_version_ahead_is_read_with_a_warning(run_copy: Path) -> None:
    edit(run_copy / "run.json", lambda c: c.update(schema_version="1.7", colour="blue"))
    with pytest.warns(UserWarning, match=r"1\.7 is newer"):
        assert ibstats.open_store(run_copy).models()


def test_no_such_path() -> None:
    with pytest.raises(errors.StoreNotFound, match="no such run"):
        ibstats.open_store("nowhere")


@pytest.mark.parametrize("damage", ["gone", "empty"])
def test_a_stored_object_that_would_read_as_fill_is_found_before_reading(
    run_copy: Path, damage: str
) -> None:
    file = run_copy / "data.zarr/toy-mim/factorial/tokens/c.3.1.0.0.0"
    file.unlink() if damage == "gone" else file.write_bytes(b"")
    with pytest.raises(
        errors.CorruptBlock,
        match=r"toy-mim/factorial/tokens/c\.3\.1\.0\.0\.0' is (missing|0 bytes)",
    ):
        ibstats.open_store(run_copy).dataset("toy-mim")


def test_verify_finds_a_flipped_bit(run_copy: Path) -> None:
    file = run_copy / "data.zarr/toy-mim/factorial/tokens/c.3.1.0.0.0"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(bytes(content))
    problems = {key: problem for key, problem in ibstats.open_store(run_copy).verify() if problem}
    assert problems == {"toy-mim/factorial/tokens/c.3.1.0.0.0": "altered (checksum differs)"}


def test_missing_blocks_are_refused_unless_partial_is_allowed(tmp_path: Path) -> None:
    """Condition 2 lacks its second block, prompts 4 and 5: four of six prompts are complete."""
    store = ibstats.open_store(
        write_run(tmp_path / "run", families={"toy": "masked"}, skip=((2, 1),))
    )
    with pytest.raises(
        errors.IncompleteStore,
        match=r"4 of 6 prompts complete.*argmax-paraphrase-subset.*--allow-partial",
    ):
        store.dataset("toy")
    assert store.dataset("toy", allow_partial=True).sizes["prompt"] == 4
    config = ibstats.Config(parts=("information",), allow_partial=True, n_shuffles=10)
    assert (
        "toy: 4 of 6 prompts are complete; only these are used"
        in ibstats.analyse(store, config).attrs["notes"]
    )


def test_unknown_names_list_the_known(run: Path) -> None:
    store = ibstats.open_store(run)
    with pytest.raises(errors.IbstatsError, match="unknown model 'gpt'; known: toy-ar, toy-mim"):
        store.dataset("gpt")
    with pytest.raises(
        errors.IbstatsError, match="unknown experiment 'ablation'; known: factorial"
    ):
        store.dataset("toy-ar", "ablation")


def test_one_prompt_or_one_sample_is_too_little(tmp_path: Path) -> None:
    families = {"toy": "masked"}
    lonely = ibstats.open_store(write_run(tmp_path / "a", families=families, n_prompts=1))
    with pytest.raises(
        errors.IbstatsError, match="1 prompt is not enough for an interval over prompts"
    ):
        ibstats.analyse(lonely, ibstats.Config(metrics=("pixel_cosine",)))
    single = ibstats.open_store(write_run(tmp_path / "b", families=families, n_samples=1))
    with pytest.raises(
        errors.IbstatsError,
        match=r"1 sample\(s\) per prompt and condition, but a pair needs at least 2",
    ):
        ibstats.analyse(single, ibstats.Config(metrics=("pixel_cosine",)))


def test_a_run_without_images_says_so_and_still_has_its_entropies(tmp_path: Path) -> None:
    store = ibstats.open_store(write_run(tmp_path / "a", families={"toy": "masked"}, images=False))
    with pytest.raises(errors.IbstatsError, match="holds no images"):
        ibstats.analyse(store, ibstats.Config(metrics=("pixel_cosine",)))
    assert (
        "information"
        in ibstats.analyse(store, ibstats.Config(parts=("information",), n_shuffles=10))["toy"]
    )
