"""The ablations of section 4.4 and the enhancement of 4.5: their conditions, subsets and stores."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from generate.cli import main
from generate.study import subset
from generate.study.conditions import BASELINE, Condition, conditions
from schemas.provenance import CalibrationRecord
from schemas.study import (
    ArgmaxWindow,
    Enhancement,
    Experiment,
    ParaphraseLengths,
    SubsetMethods,
    SubsetRatio,
)
from tests.conftest import ablation_study
from tests.generate.conftest import edited

COUNTS = st.lists(st.integers(0, 9), min_size=1, max_size=40).map(np.array)
RATIO = st.floats(0, 1, exclude_min=True)
METHOD = st.sampled_from(["drop_least_frequent", "drop_most_frequent", "drop_random"])
SEED = st.integers(0, 2**32 - 1)


def kept(counts: np.ndarray, ratio: float, method: Any, seed: int = 0) -> np.ndarray:
    return subset.keep_codes(counts, ratio, method, rng=np.random.default_rng(seed))


@given(COUNTS, RATIO, METHOD, SEED)
def test_a_subset_has_the_size_of_its_ratio_and_never_none(
    counts: np.ndarray, ratio: float, method: str, seed: int
) -> None:
    assert kept(counts, ratio, method, seed).sum() == max(1, round(ratio * len(counts)))


@given(COUNTS, RATIO, RATIO, METHOD, SEED)
def test_a_smaller_subset_lies_inside_a_larger_one(
    counts: np.ndarray, one: float, other: float, method: str, seed: int
) -> None:
    small, large = (kept(counts, ratio, method, seed) for ratio in sorted((one, other)))
    assert (small <= large).all()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20))
def test_least_and_most_frequent_halves_share_no_code(half: list[int]) -> None:
    counts = np.array(half + half[::-1])
    least, most = (kept(counts, 0.5, f"drop_{which}_frequent") for which in ("least", "most"))
    assert not (least & most).any()
    assert counts[least].min() >= counts[most].max()


@given(COUNTS, RATIO, SEED)
def test_a_random_subset_follows_from_its_seed_and_ignores_the_counts(
    counts: np.ndarray, ratio: float, seed: int
) -> None:
    assert (
        kept(counts, ratio, "drop_random", seed) == kept(counts[::-1], ratio, "drop_random", seed)
    ).all()


@pytest.mark.parametrize(
    ("experiment", "names"),
    [
        (SubsetRatio(ratios=[0.5, 0.05, 1.0]), ["keep-0.05", "keep-0.50", "keep-1.00"]),
        (SubsetRatio(ratios=[0.125]), ["keep-0.125", "keep-1.000"]),
        (ArgmaxWindow(), ["1-none", "2-early", "3-middle", "4-late", "5-all"]),
        (ArgmaxWindow(windows=["none", "1/4:1/2"]), ["1-none", "2-1/4:1/2"]),
        (ParaphraseLengths(), ["1-original", "2-short", "3-medium", "4-long", "5-mixed"]),
        (
            SubsetMethods(random_draws=2),
            [
                "1-full",
                "2-drop-least-frequent",
                "3-drop-most-frequent",
                "4-drop-random-1",
                "5-drop-random-2",
            ],
        ),
        (
            Enhancement(ratios=[0.8, 0.6]),
            [
                "1-baseline",
                "2-subset-0.60",
                "2-subset-0.80",
                "3-paraphrase",
                "4-proposed-0.60",
                "4-proposed-0.80",
            ],
        ),
    ],
)
def test_arms_have_readable_names_that_sort_in_their_order(
    experiment: Experiment, names: list[str]
) -> None:
    found = [cell.name for cell in conditions(experiment)]
    assert found == names == sorted(names)


@pytest.mark.parametrize(
    "experiment",
    [SubsetRatio(), ArgmaxWindow(), ParaphraseLengths(), SubsetMethods(), Enhancement()],
)
def test_every_ablation_has_the_cell_without_intervention_once(experiment: Experiment) -> None:
    levels = [(c.sampling, c.prompt_type, c.codebook) for c in conditions(experiment)]
    assert levels.count((BASELINE.sampling, BASELINE.prompt_type, BASELINE.codebook)) == 1


def test_the_enhancement_is_mixed_paraphrases_while_the_most_frequent_codes_are_disabled() -> None:
    arms = {cell.name: cell for cell in conditions(Enhancement(ratios=[0.8]))}
    proposed = arms["4-proposed-0.80"]
    assert (proposed.sampling, proposed.paraphrase_length, proposed.n_paraphrases) == (
        "stochastic",
        "mixed",
        5,
    )
    assert (proposed.subset_method, proposed.keep_ratio) == ("drop_most_frequent", 0.8)
    assert (arms["2-subset-0.80"].prompt_type, arms["3-paraphrase"].codebook) == (
        "original",
        "full",
    )


@functools.cache
def dataset(run: Path, model: str, experiment: str) -> xr.Dataset:
    ds = xr.open_zarr(
        run / "data.zarr", group=f"{model}/{experiment}", consolidated=False, chunks=None
    )
    return ds.drop_vars("image").load()


MODELS = ("toy-ar", "toy-scales", "toy-masked", "toy-diffusion")


@pytest.mark.parametrize("model", MODELS)
def test_arms_are_paired_with_each_other_and_with_the_factorial(
    ablation_run: Path, model: str
) -> None:
    whole = dataset(ablation_run, model, "factorial").sel(condition="stochastic-original-full")
    half = dataset(ablation_run, model, "factorial").sel(condition="stochastic-original-subset")
    for experiment in ("ratio", "window", "length", "method", "enhancement"):
        here = dataset(ablation_run, model, experiment)
        reference = here.isel(
            condition=int(np.flatnonzero((here.codebook == "full") & (here.argmax_window == ""))[0])
        )
        assert (reference.execution_key == whole.execution_key).all()
        assert (reference.tokens == whole.tokens).all()
    for experiment, arm in (("ratio", "keep-0.50"), ("method", "2-drop-least-frequent")):
        assert (
            dataset(ablation_run, model, experiment).sel(condition=arm).tokens == half.tokens
        ).all()


@pytest.mark.parametrize("model", MODELS)
def test_argmax_in_a_window_changes_nothing_before_it(ablation_run: Path, model: str) -> None:
    window = dataset(ablation_run, model, "window")
    free, late = (window.sel(condition=name) for name in ("1-none", "4-late"))
    n_positions = free.tokens[0, 0].size
    if "token_step" in free:
        early = free.token_step.values < 2  # of three steps
    else:
        early = np.broadcast_to(np.arange(n_positions).reshape(free.tokens.shape[-2:]) * 3 < 2 * n_positions,
                                free.tokens.shape)  # fmt: skip
    if model != "toy-diffusion":  # there a late step may revise what an early one revealed
        assert (free.tokens.values[early] == late.tokens.values[early]).all()
    assert (free.tokens.values != late.tokens.values).any()


def test_every_mask_says_which_counts_chose_its_codes(ablation_run: Path) -> None:
    for model in MODELS:
        method = dataset(ablation_run, model, "method")
        record = CalibrationRecord.model_validate_json(
            (ablation_run / f"calibration/{model}.json").read_bytes()
        )
        assert method.calibration_count.values.tolist() == record.counts
        counts, keep = np.array(record.counts), method.codebook_keep.values
        if record.strata:
            counts = np.array([part.counts for part in record.strata])
            keep = method.stratum_keep.values
        chosen = dict(zip(method.condition.values, method.subset_counts.values, strict=True))
        by_counts = {chosen[name] for name in ("2-drop-least-frequent", "3-drop-most-frequent")}
        assert len(by_counts) == 1
        assert len(by_counts.pop()) == 64
        assert {chosen[name] for name in ("1-full", "4-drop-random-1", "5-drop-random-2")} == {""}
        for cell in range(method.sizes["condition"]):
            cut = Condition(
                "stochastic",
                "original",
                "subset",
                float(method.keep_ratio[cell]),
                str(method.subset_method[cell].item()),  # type: ignore[arg-type]
                subset_draw=int(method.subset_draw[cell]),
            )
            assert (keep[cell] == subset.kept(cut, counts, 5)).all()
        ties = dict(zip(method.condition.values, method.subset_ties.values, strict=True))
        assert {ties["2-drop-least-frequent"], ties["3-drop-most-frequent"]} == {"random"}
        assert {ties["1-full"], ties["4-drop-random-1"]} == {""}
        chosen_by_counts = np.isin(list(ties.values()), ["random"])
        for name in ("subset_overlap", "subset_tie_share", "subset_unseen"):
            assert (np.isfinite(method[name].values) == chosen_by_counts).all()


def test_random_draws_differ(ablation_run: Path) -> None:
    keep = dataset(ablation_run, "toy-ar", "method").codebook_keep
    assert (keep.sel(condition="4-drop-random-1") != keep.sel(condition="5-drop-random-2")).any()


@pytest.mark.parametrize(
    ("experiment", "message"),
    [
        ({"kind": "subset_ratio", "ratios": [0.5, 1.5]}, "'experiments.a.ratios.1' is 1.5: Input should be less than"),
        ({"kind": "subset_ratio", "ratios": [0]}, "'experiments.a.ratios.0' is 0: Input should be greater than 0"),
        ({"kind": "subset_ratio", "ratios": [0.5, 0.5]}, "0.5 stands there twice; name each once"),
        ({"kind": "subset_ratio", "ratio": [0.5]}, "unknown key 'experiments.a.ratio' (did you mean 'ratios'?)"),
        ({"kind": "enhancement", "ratios": [1.0]}, "'experiments.a.ratios.0' is 1.0: Input should be less than 1"),
        ({"kind": "argmax_window", "windows": ["2/3:4/3"]}, "experiment 'a': argmax_window is '2/3:4/3'; name one"),
        ({"kind": "argmax_window", "windows": ["erly"]}, "experiment 'a': argmax_window is 'erly'; name one (none"),
        ({"kind": "argmax_window", "windows": ["1/9:1/8"]}, "'1/9:1/8' holds none of the 4 steps of 'toy-ar'"),
        ({"kind": "paraphrase_length", "paraphrases": 3}, "experiment 'a': prompt 's0' has 2 short paraphrases"),
        ({"kind": "paraphrase_length", "lengths": ["tiny"]}, "'experiments.a.lengths.0"),
        ({"kind": "subset_ratios"}, "kind 'subset_ratios' is unknown; known are 'factorial'"),
    ],
)  # fmt: skip
def test_bad_ablations_end_in_one_line_and_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    experiment: dict[str, Any], message: str,
) -> None:  # fmt: skip
    study = ablation_study(tmp_path, experiments={"a": experiment})
    refused(study, message, monkeypatch, capsys)


def refused(
    study: Path, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(study.parent.iterdir())
    monkeypatch.setattr(
        "sys.argv", ["ibgenerate", "run", str(study), "--out", str(study.parent / "run")]
    )
    with pytest.raises(SystemExit):
        main()
    printed = capsys.readouterr().err.strip().splitlines()
    assert len(printed) == 1
    assert printed[0].startswith("error:")
    assert message in printed[0]
    assert sorted(study.parent.iterdir()) == before


def test_overlapping_calibration_and_an_empty_text_end_in_one_line_and_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = ablation_study(tmp_path)
    overlapping = edited(study, calibration={"source": "s.jsonl", "n": 2})
    refused(
        overlapping,
        "2 calibration prompts are study prompts too (first: 's0')",
        monkeypatch,
        capsys,
    )
    prompts = study.with_name("s.jsonl")
    prompts.write_text(prompts.read_text().replace("another s long wording", "  ", 1))
    refused(study, "line 1: paraphrases.long.0 is empty; write a text", monkeypatch, capsys)
