"""What a plan fixes before any block, and what the store says of the design of its experiments."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

import ibstats
from generate.run.loading import identify
from generate.store.room import bytes_of
from generate.store.samples import SampleStore
from generate.store.template import path_given, per_block
from generate.study.conditions import BASELINE, conditions
from generate.study.planning import Plan, plan
from generate.study.study_file import load_study
from schemas import design
from schemas.provenance import ModelIdentity
from schemas.store import RunRecord, seal
from schemas.study import Factorial
from tests.generate.conftest import edited

BASELINES = {
    "factorial": "stochastic-original-full",
    "subset_ratio": "keep-1.00",
    "argmax_window": "1-none",
    "paraphrase_length": "1-original",
    "subset_method": "1-full",
    "enhancement": "1-baseline",
    "order": "01-confidence",
    "crossed_noise": "stochastic-original-full",
}


def test_the_conditions_have_the_levels_and_the_baseline_of_the_contract() -> None:
    cells = [asdict(cell) for cell in conditions(Factorial())]
    for factor in design.FACTORS:
        assert {cell[factor.name] for cell in cells} == {factor.low, factor.high}
        assert getattr(BASELINE, factor.name) == design.BASELINE[factor.name]
    assert [cell["sampling"] for cell in cells] == ["argmax"] * 4 + ["stochastic"] * 4


@pytest.mark.parametrize("kind", BASELINES)
def test_every_kind_of_experiment_records_its_design(study_file: Path, kind: str) -> None:
    asked: dict[str, object] = {"kind": kind}
    if kind in ("factorial", "paraphrase_length", "enhancement"):
        asked["paraphrases"] = 3
    if kind == "paraphrase_length":
        asked["lengths"] = ["mixed"]
    study = edited(study_file, experiments={"one": asked}, samples=16)
    recorded = plan(*load_study(str(study))).experiment_plan("one")
    assert (recorded.kind, recorded.baseline) == (kind, BASELINES[kind])
    assert list(recorded.levels) == recorded.conditions
    assert recorded.factors == list(design.FACTORS)


def test_argmax_alone_has_no_baseline(study_file: Path) -> None:
    asked = {"kind": "crossed_noise", "sampling": ["argmax"]}
    laid_out = plan(*load_study(str(edited(study_file, experiments={"one": asked}))))
    assert laid_out.experiment_plan("one").baseline is None


def as_of_1_0(root: Path) -> None:
    """Make a run what a program of version 1.0 would have written."""
    file = root / "run.json"
    document = json.loads(file.read_text())
    document["schema_version"] = "1.0"
    del document["imported"]
    for shape in document["experiments"].values():
        for name in ("kind", "factors", "levels", "baseline"):
            del shape[name]
    file.write_text(json.dumps(document | {"sha256": seal(document)}))


def test_a_run_of_1_0_gets_the_design_that_1_1_records(store: SampleStore) -> None:
    root = Path(store.root)
    new = ibstats.open_store(root)
    as_of_1_0(root)
    old = ibstats.open_store(root)
    assert old.run.schema_version == "1.0"
    assert old.run.experiments == new.run.experiments
    assert old.snapshot() == new.snapshot()
    assert old.holds("toy-masked") == new.holds("toy-masked")
    assert SampleStore.open(root).template_problems() == []


def test_a_run_of_1_0_whose_conditions_are_damaged_says_so(store: SampleStore) -> None:
    root = Path(store.root)
    as_of_1_0(root)
    (root / "data.zarr/toy-autoregressive/factorial/sampling/c.0").write_bytes(b"?")
    with pytest.raises(ibstats.IbstatsError, match=r"conditions of .* cannot be read"):
        ibstats.open_store(root)


def test_an_imported_run_is_refused(store: SampleStore) -> None:
    file = Path(store.root) / "run.json"
    document = json.loads(file.read_text())
    document["study"] = None
    document["imported"] = {"name": "theirs", "source": "a paper", "sha256": "0" * 64}
    file.write_text(json.dumps(document | {"sha256": seal(document)}))
    with pytest.raises(ibstats.IbstatsError, match="holds imported samples"):
        SampleStore.open(Path(store.root))


IDENTITY = ModelIdentity(model="m", codebook_size=5, grid=(2, 3), image_size=(4, 4), steps=6)


@pytest.mark.parametrize(
    ("family", "recorded", "given", "extra"),
    [
        ("autoregressive", "none", "", set()),
        ("masked", "none", "", {"token_step"}),
        ("masked", "exact", "state", {"token_step", "path_surprisal", "joint_surprisal"}),
        ("masked", "given_candidates", "candidates", {"token_step", "path_surprisal"}),
        ("diffusion", "none", "state", {"token_step", "path_surprisal", "joint_surprisal"}),
    ],
)
def test_blocks_bring_what_the_family_records(
    family: str, recorded: str, given: str, extra: set[str]
) -> None:
    changes = {"family": family, "options": {"path_surprisal": recorded}}
    identity = IDENTITY.model_copy(update=changes)
    assert path_given(identity) == given
    always = {"tokens", "token_surprisal", "token_entropy"}
    assert set(per_block(identity, images=False)) == always | extra
    assert set(per_block(identity, images=True)) == always | extra | {"image"}


def test_the_estimate_of_bytes_is_above_what_a_run_takes(store: SampleStore) -> None:
    for model, identity in store.run.models.items():
        files = Path(store.root, "data.zarr", model).rglob("c.*")
        taken = sum(file.stat().st_size for file in files)
        assert taken < bytes_of(identity, store.run.experiments.values(), images=True)


def test_the_digest_of_a_configuration_has_not_moved(toy_plan: Plan, store: SampleStore) -> None:
    """It names the samples of a run: fields that a record gains must not enter it."""
    identities = identify(toy_plan)
    assert set(identities["toy-masked"].fixing()) == {
        "model", "family", "revision", "weights", "codebook_size", "grid", "image_size", "steps",
        "options", "quantizer", "licence",
    }  # fmt: skip
    assert RunRecord.model_validate(store.run.model_dump()) == store.run
