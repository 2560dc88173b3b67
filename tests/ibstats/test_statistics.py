"""Labelled statistics: effects, tests, information, strategy and power."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from ibstats.analysis import analyse
from ibstats.design import Condition, Design
from ibstats.errors import IbstatsError
from ibstats.kernels import factorial
from ibstats.kernels.variance import pair_variance
from ibstats.statistics import (
    effects,
    power,
    significance,
    stacking,
    strategy,
)
from ibstats.statistics.uncertainty import Resampling, mean_interval
from ibstats.store import open_store
from schemas.analysis import Config
from schemas.design import FACTORS
from tests.ibstats.conftest import CELLS, write_run

HOW = Resampling(n_resamples=500)

LEVELS = {factor.name: (factor.low, factor.high) for factor in FACTORS}

DESIGN = Design(
    "factorial",
    tuple(Condition("-".join(cell), dict(zip(LEVELS, cell, strict=True))) for cell in CELLS),
    FACTORS,
    "stochastic-original-full",
)


def design(values: np.ndarray) -> xr.DataArray:
    """(prompt, 2, 2, 2) with labels."""
    return xr.DataArray(
        values, dims=("prompt", *LEVELS), coords={f: list(levels) for f, levels in LEVELS.items()}
    )


def by_condition(y: xr.DataArray) -> xr.DataArray:
    """The same values as (condition, prompt)."""
    stacked = y.transpose(*LEVELS, "prompt").values.reshape(8, -1)
    return xr.DataArray(stacked, dims=("condition", "prompt"), coords={"condition": DESIGN.names})


def test_effects_carry_the_t_test_and_the_anova() -> None:
    y = design(np.random.default_rng(0).normal(size=(12, 2, 2, 2)))
    table = effects.effects(y, HOW)
    contrast = factorial.contrasts(y.values)
    theirs = stats.ttest_1samp(contrast, 0)
    assert_allclose(table["t"], theirs.statistic)
    assert_allclose(2 * stats.t.sf(abs(table["t"]), table.attrs["df"]), theirs.pvalue)
    excluded = (table["low"] > 0) | (table["high"] < 0)
    assert ((table["p"] < 0.05) == excluded).all()
    assert_allclose(table["F"], [row.F for row in factorial.rm_anova(y.values).values()])
    assert_allclose(table["estimate"], contrast.mean(axis=0))
    assert_allclose(table["p_wilcoxon"], [stats.wilcoxon(c).pvalue for c in contrast.T])
    assert bool(
        (table["low"] < table["estimate"]).all() and (table["estimate"] < table["high"]).all()
    )


def test_argmax_at_zero_is_degenerate_but_its_effects_are_not() -> None:
    values = np.random.default_rng(0).uniform(0.4, 0.6, size=(12, 2, 2, 2))
    values[:, 0, 0] = 0.0
    y = design(values)
    from ibstats.statistics.uncertainty import mean_interval

    cells = mean_interval(y, HOW)
    zero = cells.sel(sampling="argmax", prompt_type="original")
    assert bool(zero["degenerate"].all())
    assert all((zero[name] == 0).all() for name in ("estimate", "low", "high"))
    assert not bool(effects.effects(y, HOW)["degenerate"].any())
    inside = effects.effects(y.sel(sampling="argmax", prompt_type="original", drop=True), HOW)
    assert bool(inside["degenerate"].all())
    assert inside["p"].isnull().all()
    assert inside.attrs["n_tests"] == 0


def test_waterfalls_add_up_and_two_factors_come_with_their_warning() -> None:
    y = design(np.random.default_rng(0).normal(size=(12, 2, 2, 2)))
    fall = effects.waterfall(y, HOW)
    value = fall["estimate"]
    steps = value.sel(step=["baseline", *LEVELS]).sum("step")
    assert_allclose(steps, value.sel(step="predicted"))
    assert_allclose(value.sel(step="predicted") + value.sel(step="gap"), value.sel(step="actual"))
    assert_allclose(value.sel(attribution="shapley", step="gap"), 0, atol=1e-12)
    assert value.sel(attribution="marginal", step="gap") == pytest.approx(
        float(effects.effects(y, HOW)["estimate"][-1])
    )
    two = effects.waterfall(y, HOW, {"sampling": "stochastic"})
    assert "zero by algebra" in str(two["note"].sel(attribution="marginal", step="gap").values)
    assert bool(two["degenerate"].sel(attribution="marginal", step="gap"))
    assert np.isnan(two["p"].sel(attribution="marginal", step="gap"))
    assert two["p"].sel(attribution="simple", step="gap") < 1
    assert set(fall["note"].values.ravel()) == {""}


def test_t_effect_sizes_and_bayes_factor_equal_pingouin() -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pingouin

        x = np.random.default_rng(0).normal(0.4, 1, size=(20, 2))
        ours = significance.t_test(x)
        bayes = significance.bayes_factor(ours.t, 20)
        for column in range(2):
            assert float(pingouin.bayesfactor_ttest(ours.t[column], 20)) == pytest.approx(
                bayes[column], rel=1e-4
            )
            theirs = float(pingouin.tost(x[:, column], 0, bound=0.8)["pval"].iloc[0])
            assert significance.equivalence(x[:, column], -0.8, 0.8).p == pytest.approx(
                theirs, abs=2e-5
            )
        p = np.array([0.001, 0.04, np.nan, 0.02, 0.02])
        for method, name in (("holm", "holm"), ("bh", "fdr_bh")):
            assert_allclose(significance.adjust(p, method), pingouin.multicomp(p, method=name)[1])


def test_wilcoxon_takes_differences_of_shares_for_the_ties_and_zeros_that_they_are() -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 6, (2, 40, 4))  # of 5 images of each of 4 attributes
    shares = (counts[0] / 5).mean(axis=1) - (counts[1] / 5).mean(axis=1)
    whole = (counts[0] - counts[1]).sum(axis=1)
    assert len(np.unique(shares)) > len(np.unique(whole))  # by rounding
    assert significance.wilcoxon(shares)[0] == significance.wilcoxon(whole)[0]


@given(st.lists(st.integers(-4, 4), min_size=2, max_size=9))
def test_wilcoxon_with_ties_is_all_sign_patterns_counted(values: list[int]) -> None:
    x = np.array([value for value in values if value != 0], dtype=float)
    if len(np.unique(values)) < 2 or len(x) == 0:
        return
    rank = stats.rankdata(np.abs(x))
    sums = np.array([rank @ signs for signs in product((0, 1), repeat=len(x))])
    found = rank[x > 0].sum()
    expected = min(1, 2 * min((sums <= found + 1e-9).mean(), (sums >= found - 1e-9).mean()))
    assert significance.wilcoxon(np.array(values, dtype=float))[0] == pytest.approx(expected)


def test_few_prompts_with_ties_are_not_made_significant_by_an_approximation() -> None:
    x = np.array(
        [0.1, 0.1, 0.2, 0.2, 0.2]
    )  # shares of five prompts, all of one sign: at best 2 / 2^5
    assert stats.wilcoxon(x, method="asymptotic").pvalue < 0.05
    assert significance.wilcoxon(x)[0] == pytest.approx(1 / 16)


@pytest.mark.parametrize("n", [4, 24])
def test_effect_sizes_of_a_nearly_constant_column_have_the_interval_of_its_scale(n: int) -> None:
    x = 1 + 1e-8 * np.random.default_rng(0).permutation(np.linspace(-1, 1, n))
    size = significance.effect_size(x)
    chi = np.sqrt(
        stats.chi2.ppf([0.025, 0.975], n - 1) / (n - 1)
    )  # d_z is then 1 / sd, but for nothing
    assert_allclose([size.low[0], size.high[0]], size.d_z[0] * chi, rtol=1e-9)
    close = (
        significance.noncentrality_interval(1.0001e4, n - 1),
        significance.noncentrality_interval(0.9999e4, n - 1),
    )
    assert_allclose(np.array(close[0]) / 1.0001e4, np.array(close[1]) / 0.9999e4, rtol=1e-6)


@pytest.mark.parametrize(
    ("t", "n", "expected"), [(30, 2000, 3.6208433e159), (1000, 100, 9.4653673e194)]
)
def test_the_bayes_factor_of_a_huge_t_is_that_of_high_precision(
    t: float, n: int, expected: float
) -> None:
    assert significance.bayes_factor(t, n)[0] == pytest.approx(expected, rel=1e-6)  # mpmath


def test_a_bayes_factor_beyond_double_precision_is_no_finite_number() -> None:
    assert significance.bayes_factor(100, 1000)[0] == np.inf  # 1.33e518 by mpmath


def test_the_size_of_a_family_is_that_of_its_own_quantity() -> None:
    varied = design(np.random.default_rng(0).normal(size=(12, 2, 2, 2)))
    fixed = varied.copy()
    fixed[..., 1] = fixed[..., 0]  # no effect of the codebook, nor any interaction with it
    values = xr.Dataset({"ssim_dissimilarity": varied, "pixel_cosine_distance": fixed})
    for names in (list(values), list(values)[::-1]):
        table = stacking.over_quantities(values[names], lambda y: effects.effects(y, HOW))
        sizes = dict(zip(names, table["n_tests"].values.tolist(), strict=True))
        assert sizes == {"ssim_dissimilarity": 7, "pixel_cosine_distance": 3}
        assert (
            table["p"].notnull().sum("effect").values.tolist() == table["n_tests"].values.tolist()
        )


def test_a_probe_without_effect_is_not_tested_on_its_rounding() -> None:
    values = np.full((12, 2, 2, 2), 0.3)
    values[::2, 0] = 0.1 + 0.2  # argmax: the same to the last digit but one
    table = effects.compare(by_condition(design(values)), DESIGN.probes(), HOW)
    assert bool(table["degenerate"].all())
    assert (table["estimate"] == 0).all()
    assert table.attrs["n_tests"] == 0


def test_effect_size_interval_covers_by_inverting_the_noncentral_t() -> None:
    """d_z and its bounds: the observed t sits at the 97.5 and 2.5 % points of the bounding distributions."""
    x = np.random.default_rng(1).normal(0.5, 1, size=16)
    size = significance.effect_size(x)
    t = float(size.d_z[0]) * 4
    assert stats.nct.cdf(t, 15, size.low[0] * 4) == pytest.approx(0.975, abs=1e-6)
    assert stats.nct.cdf(t, 15, size.high[0] * 4) == pytest.approx(0.025, abs=1e-6)
    assert size.hedges_g[0] == pytest.approx(size.d_z[0] * (1 - 3 / (4 * 15 - 1)), rel=1e-3)


def test_equivalence_is_only_claimed_inside_the_margin() -> None:
    x = np.random.default_rng(0).normal(0, 1, 200)
    assert significance.equivalence(x, -0.5, 0.5).verdict == "equivalent"
    assert significance.equivalence(x + 0.5, -0.5, 0.5).verdict == "inconclusive"
    assert significance.equivalence(np.zeros(9), -0.5, 0.5) == (
        pytest.approx(np.nan, nan_ok=True),
        "degenerate",
    )
    with pytest.raises(IbstatsError, match=r"margin is \(1, -1\)"):
        significance.equivalence(x, 1, -1)


def test_adjustment_is_named_or_refused() -> None:
    with pytest.raises(IbstatsError, match="unknown adjustment 'bonferroni'; known: holm, bh"):
        significance.adjust([0.1], "bonferroni")
    assert significance.family_size([0.1, np.nan, 0.3]) == 2


def test_no_cell_is_said_to_use_more_codes_than_it_may(run: Path) -> None:
    store = open_store(run)
    config = Config(parts=("information",), estimator="chao_shen", n_shuffles=2, resampling=HOW)
    keep = store.dataset("toy-ar")["codebook_keep"]
    tree = analyse(store, config)
    for model in store.models():
        found = tree[f"{model}/information"].to_dataset()
        for name, most in zip(DESIGN.names, keep.sum("code").values, strict=True):
            cell = found.sel(condition=name)
            for name in ("estimate", "low", "high"):
                assert not (
                    cell[name].sel(quantity=["codebook_entropy", "conditional_entropy"])
                    > np.log2(most)
                ).any()
                assert not cell[name].sel(quantity="utilisation") > most / keep.sizes["code"]


@pytest.mark.parametrize(
    ("argmax", "subset", "paraphrase", "varies", "expected"),
    [
        (-0.3, -0.2, 0.2, True, "diversity-prioritized"),
        (0.0, -0.001, 0.2, True, "mixed"),
        (0.0, -0.2, 0.0, True, "decoupled"),
        (None, -0.001, 0.2, False, "compression-prioritized"),
        (-0.3, -0.2, 0.2, False, "mixed"),
    ],
)
def test_strategies_follow_their_rules(
    argmax: float | None, subset: float, paraphrase: float, varies: bool, expected: str
) -> None:
    """Shifts of the reference cell by each probe; None sends the argmax cell to exactly zero."""
    rng = np.random.default_rng(0)
    y = design(0.6 + rng.normal(0, 0.01, (30, 2, 2, 2)))
    y.loc[{"sampling": "argmax"}] += argmax or 0.0
    y.loc[{"codebook": "subset"}] += subset
    y.loc[{"prompt_type": "paraphrase"}] += paraphrase
    if argmax is None:
        y.loc[{"sampling": "argmax", "prompt_type": "original"}] = 0.0
    found = strategy.evidence(by_condition(y), DESIGN, 0.02, varies, HOW)
    assert str(found["strategy"].values) == expected


def test_too_little_data_is_undecided_and_so_is_the_strategy_not_mixed() -> None:
    y = design(0.6 + np.random.default_rng(0).normal(0, 0.2, (6, 2, 2, 2)))
    found = strategy.evidence(by_condition(y), DESIGN, 0.01, True, HOW)
    assert set(found["outcome"].values) == {"undecided"}
    assert str(found["strategy"].values) == "undecided"


def test_simple_effects_are_differences_of_means_of_cells_with_others_held() -> None:
    y = design(np.random.default_rng(3).normal(size=(8, 2, 2, 2)))
    found = effects.simple_effects(y, HOW)
    assert found.sizes["effect"] == 24
    for number, effect in enumerate(found["effect"].values):
        at = json.loads(str(found["at"].values[number]))
        cells = y.sel(at)
        rest = [dim for dim in cells.dims if dim not in ("prompt", effect)]
        change = cells.isel({effect: 1}) - cells.isel({effect: 0})
        values = change.mean(rest) if rest else change
        assert float(found["estimate"][number]) == pytest.approx(float(values.mean()))
        assert float(found["t"][number]) == pytest.approx(stats.ttest_1samp(values, 0).statistic)
    held = {str(at) for at in found["at"].values}
    assert '{"sampling": "stochastic", "codebook": "full"}' in held


def test_of_many_factors_simple_effects_hold_one() -> None:
    names = ["a", "b", "c", "d"]
    levels = {name: ["low", "high"] for name in names}
    values = np.random.default_rng(0).normal(size=(5, 2, 2, 2, 2))
    y = xr.DataArray(values, dims=("prompt", *names), coords=levels)
    found = effects.simple_effects(y, HOW)
    assert found.sizes["effect"] == 4 * 3 * 2


def test_pair_variance_is_hoeffdings() -> None:
    """Kernel (x - y)^2 / 2 of normals: the mean over pairs is the sample variance, Var = 2 sigma^4 / (n - 1)."""
    x = np.random.default_rng(0).normal(size=(4000, 8))
    parts = pair_variance((x[:, :, None] - x[:, None, :]) ** 2 / 2)
    assert float(parts.zeta1.mean()) == pytest.approx(0.5, rel=0.1)
    mean = type(parts)(parts.zeta1.mean(), parts.zeta2.mean())
    for n in (4, 8, 20):
        assert float(mean.at(n)) == pytest.approx(2 / (n - 1), rel=0.1)
    assert np.isnan(pair_variance(np.ones((3, 3))).zeta1)


def test_a_pilot_whose_estimated_variance_is_negative_promises_no_certainty() -> None:
    kernel = np.random.default_rng(4).normal(size=(3, 6, 6))
    kernel += kernel.swapaxes(1, 2)
    for (
        matrix
    ) in kernel:  # every image is as far from the others as any: zeta1 is estimated below zero
        matrix -= matrix.mean()
        off = matrix * (1 - np.eye(6))
        row = off.sum(axis=0) / 4
        matrix -= row[:, None] + row - off.sum() / 20
    cells = np.zeros((8, 3, 6, 6))
    cells[7] = 4 * kernel
    distance = xr.DataArray(cells, dims=("condition", "prompt", "sample", "sample_other"))
    pilot = power.components(DESIGN.by_factor(distance), "sampling")
    assert pair_variance(kernel).zeta1.mean() < 0
    assert pilot.image.zeta1 == 0
    assert pilot.variance(50) == pytest.approx(2 * float(pilot.image.zeta2) / (50 * 49))
    assert (
        float(power.table(pilot, effect_size=1e-4, n_images=[50], n_prompts=[10])["power"][0, 0])
        < 0.1
    )


def test_power_of_t_equals_statsmodels_and_equivalence_grows() -> None:
    from statsmodels.stats.power import TTestPower

    for n, effect in ((10, 0.5), (50, 0.3), (1000, 0.05)):
        theirs = TTestPower().power(effect, n, 0.05)
        assert power.power_of_t(effect, 1.0, n) == pytest.approx(theirs, abs=1e-3)
    grown = [
        power.power_of_equivalence(0.3, 1.0, n, np.random.default_rng(0)) for n in (20, 100, 500)
    ]
    assert grown[0] < grown[1] < grown[2]
    with pytest.raises(
        IbstatsError, match=r"either the smallest effect worth finding \(--difference"
    ):
        power.table(power.Components("sampling", 1.0, pair_variance(np.ones((4, 4)))))


def test_intervals_of_few_prompts_stay_within_what_is_possible(tmp_path: Path) -> None:
    store = open_store(
        write_run(tmp_path / "few", families={"toy-mim": "masked"}, n_prompts=5, n_samples=3)
    )
    config = Config(
        metrics=("pixel_cosine", "ssim"), parts=("diversity", "information"), n_shuffles=5
    )
    tree = analyse(store, config)["toy-mim"]
    bounds = tree["diversity"].to_dataset()
    plain = mean_interval(tree["per_prompt"]["ssim_dissimilarity"], config.resampling)
    assert float(plain["low"].min()) < 0
    for name, most in (("pixel_cosine_distance", 1.0), ("ssim_dissimilarity", 2.0)):
        found = bounds.sel(quantity=name)
        assert float(found["low"].min()) >= 0
        assert float(found["high"].max()) <= most
    shared = tree["information"].to_dataset().sel(quantity="mutual_information")
    assert float(shared["high"].max()) <= 5.0  # 32 codes
