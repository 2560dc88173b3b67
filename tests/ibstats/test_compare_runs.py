"""Runs are compared prompt by prompt: right differences, right verdicts, one line where nothing fits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower
from typer.testing import CliRunner

import ibstats
from ibstats import Config, IbstatsError, Recorder, compare
from ibstats.cli import app
from ibstats.results import runs
from ibstats.statistics.power import detectable, power_of_t
from ibstats.statistics.uncertainty import Resampling
from tests.ibstats import conftest

QUICK = Resampling(n_resamples=200)
PROMPTS = [f"prompt {number}" for number in range(8)]
SETTINGS: dict[str, Any] = {"metrics": ("pixel_cosine",), "resampling": QUICK}


def recorded(
    path: Path,
    spread: float,
    prompts: Sequence[str] = PROMPTS,
    conditions: Sequence[str] = ("cold", "warm"),
    *,
    size: int = 8,
    codes: int = 0,
    n_samples: int = 4,
    **settings: Any,
) -> Path:
    """Images that vary so much around one of their prompt; the same noise in every run of this size."""
    with Recorder(path, codebook_size=codes, **settings) as run:
        for prompt in prompts:
            rng = np.random.default_rng(PROMPTS.index(prompt) if prompt in PROMPTS else 99)
            base = rng.uniform(60, 190, (size, size, 3))
            for condition in conditions:
                noise = rng.normal(0, spread * rng.uniform(0.8, 1.2), (n_samples, *base.shape))
                images = np.clip(base + noise, 0, 255).astype(np.uint8)
                given: dict[str, Any] = {"images": images}
                if codes:
                    given["tokens"] = rng.integers(0, codes, (n_samples, 4, codes // 4))
                run.add(prompt=prompt, condition=condition, **given)
    return path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return recorded(folder / "base", 20), recorded(folder / "tuned", 30)


def mean_distances(path: Path, condition: str, model: str | None = None) -> np.ndarray:
    """By prompt, the mean of 1 - cos over pairs, spelled out."""
    images = ibstats.open(path).select(model).dataset["image"].sel(condition=condition).values
    found = []
    for of_prompt in images.reshape(*images.shape[:2], -1).astype(float):
        distances = []
        for one in range(len(of_prompt)):
            for other in range(one):
                a, b = of_prompt[one], of_prompt[other]
                distances.append(1 - a @ b / np.sqrt((a @ a) * (b @ b)))
        found.append(np.mean(distances))
    return np.array(found)


def test_a_difference_is_that_of_the_definition_within_prompts(pair: tuple[Path, Path]) -> None:
    found = compare(*pair, **SETTINGS)
    table = found.frame()
    assert table["condition"].tolist() == ["cold", "warm"]
    for _, row in table.iterrows():
        changed = mean_distances(pair[1], row["condition"]) - mean_distances(
            pair[0], row["condition"]
        )
        assert row["estimate"] == pytest.approx(changed.mean(), abs=1e-7)
        assert row["low"] < changed.mean() < row["high"]
        assert row["verdict"] == "different"
        assert (row["n_prompts"], row["n_tests"], row["run"]) == (8, 2, "tuned")
        assert row["p"] <= row["p_holm"] < 0.05
        assert row["within"] > abs(row["estimate"])
        assert (row["n_resamples"], row["seed"]) == (QUICK.n_resamples, QUICK.seed)
    reversed_table = compare(*reversed(pair), **SETTINGS).frame()
    np.testing.assert_allclose(reversed_table["estimate"], -table["estimate"])


def test_a_run_against_itself_is_equivalent_and_degenerate(pair: tuple[Path, Path]) -> None:
    table = compare(pair[0], pair[0], **SETTINGS).frame()
    assert (table["estimate"] == 0).all()
    assert (table["verdict"] == "equivalent").all()
    assert table["degenerate"].all()
    assert set(table["run"]) == {"base (2)"}
    run = str(pair[0])
    done = CliRunner().invoke(app, ["compare", run, run, "--metric", "pixel_cosine"])
    assert done.exit_code == 0, done.output
    assert "equivalent" in done.output


def test_a_margin_makes_equivalence_and_its_lack_leaves_it_open(tmp_path: Path) -> None:
    one, other = recorded(tmp_path / "a", 20), recorded(tmp_path / "b", 20.5)
    verdicts = {}
    for margin in (None, 1e-5, 0.05):
        margins = {} if margin is None else {"pixel_cosine": margin}
        found = compare(one, other, margins=margins, **SETTINGS).frame()
        verdicts[margin] = found["verdict"].tolist()
        assert (found["p_equivalence"].isna() == (margin is None)).all()
    assert verdicts[0.05] == ["equivalent"] * 2
    assert set(verdicts[None]) <= {"different", "not told apart"}
    assert set(verdicts[1e-5]) <= {"different", "undecided"}


def test_the_difference_that_n_can_see_is_that_of_statsmodels() -> None:
    for n, alpha, power in ((5, 0.05, 0.8), (24, 0.01, 0.8), (200, 0.05, 0.9)):
        expected = TTestPower().solve_power(nobs=n, alpha=alpha, power=power)
        assert detectable(4.0, n, power, alpha) == pytest.approx(2 * expected, rel=1e-4)
    assert detectable(0.0, 10) == 0
    assert np.isnan(detectable(1.0, 1))
    assert np.isnan(detectable(float("nan"), 10))


@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 11, 0.05 / 64])
def test_the_power_of_two_or_three_prompts_is_that_of_an_integral(n: int, alpha: float) -> None:
    """The error of so few is many times off: no difference is certain to be found."""
    df = n - 1
    critical = stats.t.ppf(1 - alpha / 2, df)
    x, w = np.polynomial.legendre.leggauss(500)
    error = np.sqrt(stats.chi2.ppf((x + 1) / 2, df) / df)

    def exact(effect: float) -> float:
        shift = effect * np.sqrt(n)
        found = stats.norm.sf(critical * error - shift) + stats.norm.cdf(-critical * error - shift)
        return float((w / 2 * found).sum())

    for shift in (0.5, 1.0, 1.3, 2.0):
        effect = (shift * critical + 20) / np.sqrt(n)
        assert power_of_t(effect, 1.0, n, alpha) == pytest.approx(exact(effect), abs=2e-3)
    assert exact(detectable(1.0, n, alpha=alpha)) == pytest.approx(0.8, abs=2e-3)


def test_other_models_sizes_codebooks_and_orders_of_prompts_are_paired(tmp_path: Path) -> None:
    texts = {f"id{number}": text for number, text in enumerate(PROMPTS)}
    one = recorded(
        tmp_path / "one", 20, codes=16, conditions=["greedy"], model="big", family="masked"
    )
    with Recorder(tmp_path / "two", model="small", codebook_size=8, prompts=texts) as run:
        for name in list(texts)[:1:-1]:
            rng = np.random.default_rng(PROMPTS.index(texts[name]))
            images = rng.integers(0, 256, (6, 12, 12, 3)).astype(np.uint8)
            run.add(prompt=name, images=images, tokens=rng.integers(0, 8, (6, 2, 2)))
    found = compare(one, tmp_path / "two", **SETTINGS)
    table = found.frame()
    assert set(table["quantity"]) == {
        "pixel_cosine_distance",
        "collision_conditional",
        "collision_entropy",
        "collision_information",
    }
    assert set(table["n_prompts"]) == {6}
    assert found.found.differences[0].label == "two small all - one big greedy"
    assert "2 of 8 prompts of 'one' are not in every run" in found.found.notes
    assert any("nobody knows whether samples share" in note for note in found.found.notes)


def test_noise_keys_that_agree_are_told(tmp_path: Path) -> None:
    families = {"toy-mim": "masked"}
    one, other = (
        conftest.write_run(tmp_path / name, families=families, seed=seed)
        for name, seed in (("a", 0), ("b", 1))
    )
    found = compare(one, other, parts=("diversity",), **SETTINGS)
    assert "'b' is paired with 'a' by prompt and noise: samples have equal noise keys" in (
        found.found.notes
    )
    assert len(found.frame()) == 5 * len(conftest.CELLS)  # three of tokens, one of bits


def test_models_of_one_run_are_compared_with_its_first(tmp_path: Path) -> None:
    run = conftest.write_run(tmp_path / "run", n_prompts=5)
    first, *others = ibstats.open_store(run).models()
    found = compare(run, parts=("diversity",), **SETTINGS)
    compared_models = {(one.model, one.against_model) for one in found.found.differences}
    assert compared_models == {(model, first) for model in others}
    assert found.found.notes[0].startswith("models of 'run' are paired by prompt")
    chosen = found.frame().set_index(["quantity", "model", "condition"])["estimate"]
    name = "stochastic-original-full"
    wanted = mean_distances(run, name, others[0]) - mean_distances(run, name, first)
    found_there = chosen["pixel_cosine_distance", others[0], name]
    assert found_there == pytest.approx(wanted.mean(), abs=1e-6)
    done = CliRunner().invoke(app, ["compare", str(run), "--metric", "pixel_cosine"])
    assert done.exit_code == 0, done.output
    assert f"run {others[0]} - run {first}" in " ".join(done.output.split())


def test_bits_that_both_runs_record_are_compared(tmp_path: Path) -> None:
    rng, runs_of, totals = np.random.default_rng(0), [], []
    for name in ("one", "two"):
        with Recorder(tmp_path / name, codebook_size=8, family="autoregressive") as run:
            total = []
            for prompt in PROMPTS:
                bits = rng.uniform(0, 3, (3, 2, 2)).astype(np.float32)
                run.add(prompt=prompt, tokens=rng.integers(0, 8, (3, 2, 2)), surprisals=bits)
                total.append(bits.sum(axis=(1, 2), dtype=np.float64).mean())
        runs_of.append(tmp_path / name)
        totals.append(np.array(total))
    found = compare(*runs_of, parts=("information",), resampling=QUICK).frame()
    by = found.set_index("quantity")["estimate"]
    for name in ("tokens", "joint", "execution_causal"):
        assert by[name] == pytest.approx((totals[1] - totals[0]).mean(), abs=1e-5)
    assert by["path_causal"] == 0


def test_three_runs_are_one_family_and_one_figure(pair: tuple[Path, Path], tmp_path: Path) -> None:
    third = recorded(tmp_path / "third", 40)
    found = compare(*pair, third, margins={"pixel_cosine": 0.01}, **SETTINGS)
    assert set(found.frame()["n_tests"]) == {4}
    axes = found.plot()
    assert [text.get_text() for text in axes.get_yticklabels()] == ["cold", "warm"]
    assert axes.get_legend() is not None
    assert "<table" in found._repr_html_()
    arguments = ["compare", *map(str, (*pair, third)), "--metric", "pixel_cosine"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "third - base" in done.output
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {f"compare.{kind}" for kind in ("csv", "json", "png", "pdf", "svg")}


def test_what_cannot_be_compared_is_one_line(pair: tuple[Path, Path], tmp_path: Path) -> None:
    others = recorded(tmp_path / "others", 20, prompts=["x", "y"])
    third = recorded(tmp_path / "third", 20, conditions=["hot", "mild"])
    for given, message in (
        ((), "two runs or more"),
        ((pair[0],), "two runs or more, or one of several models; 'base' has only"),
        ((pair[0], others), "have 0 complete prompts in common, by id or by text"),
        ((pair[0], third), r"'third' shares no condition with 'base': it has hot, mild"),
    ):
        with pytest.raises(IbstatsError, match=message) as raised:
            runs.compare(*given, settings=Config(**SETTINGS))
        assert "\n" not in str(raised.value)
    with pytest.raises(IbstatsError, match="unknown metric 'pixel'"):
        compare(*pair, metrics=("pixel",))
