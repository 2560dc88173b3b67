"""Pairs, contrasts and resampling against plain definitions and outside programs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose
from scipy import stats

from ibstats.errors import IbstatsError
from ibstats.kernels import factorial, pairs, resampling
from tests.reference import definitions

UNIT = st.floats(-10, 10).map(lambda x: round(x, 6))


def draws(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def test_mean_pairwise_equals_the_loop_and_the_matrix() -> None:
    phi = draws(3, 7, 5)
    fast = pairs.mean_pairwise_squared(phi)
    assert_allclose(fast, [definitions.mean_pairwise_squared(p) for p in phi])
    assert_allclose(fast, pairs.mean_upper_triangle(pairs.distance_matrix(phi)))


def test_identical_embeddings_are_exactly_zero_apart() -> None:
    phi = np.repeat(draws(1, 4096) * 0.1, 10, axis=0)
    assert pairs.mean_pairwise_squared(phi) == 0.0
    mixed = np.concatenate([phi, draws(10, 4096, seed=1)])
    assert (pairs.distance_matrix(mixed)[:10, :10] == 0).all()


@given(phi=arrays(float, (5, 3), elements=UNIT), shift=UNIT, order=st.permutations(range(5)))
def test_pairs_do_not_depend_on_order_or_origin(
    phi: np.ndarray, shift: float, order: list[int]
) -> None:
    before, after = pairs.distance_matrix(phi), pairs.distance_matrix(phi[order] + shift)
    assert_allclose(before[np.ix_(order, order)], after, atol=1e-9)
    assert_allclose(
        pairs.mean_pairwise_squared(phi), pairs.mean_pairwise_squared(phi[order] + shift), atol=1e-9
    )


def test_one_image_has_no_pair() -> None:
    assert np.isnan(pairs.mean_pairwise_squared(draws(1, 3)))
    assert np.isnan(pairs.mean_upper_triangle(np.zeros((1, 1))))


@pytest.mark.parametrize("q", [0.5, 1, 2, 3])
def test_vendi_equals_its_definition_and_each_order_differs(q: float) -> None:
    phi = draws(6, 4)
    phi /= np.linalg.norm(phi, axis=1, keepdims=True)
    K = phi @ phi.T
    assert float(pairs.vendi(K, q=q)) == pytest.approx(definitions.vendi(K, q))
    assert float(pairs.vendi(K, q=q)) != pytest.approx(float(pairs.vendi(K, q=q + 1)))


@pytest.mark.parametrize(("n", "rank"), [(2, 1), (12, 3), (60, 5), (300, 3)])
def test_vendi_of_order_0_counts_directions_and_not_their_rounding(n: int, rank: int) -> None:
    """Eigenvalues that are 0 come out as a few ulps of the largest, of either sign."""
    rng = np.random.default_rng(n)
    for _ in range(5):
        features = rng.normal(size=(n, rank))
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        assert float(pairs.vendi(features @ features.T, q=0)) == rank


@pytest.mark.parametrize("small", [1e-3, 1e-8, 1e-12, 1e-14])
def test_vendi_of_order_0_counts_a_direction_however_small(small: float) -> None:
    assert float(pairs.vendi(np.diag([1.0, small, 0.0]), q=0)) == 2


def test_what_counts_as_rounding_in_vendi_grows_with_the_number_of_items() -> None:
    """Of many items, rounding adds up: what is a direction of three is none of sixty."""
    for n, counted in ((3, 2), (60, 1)):
        assert float(pairs.vendi(np.diag([1.0, 1e-14] + [0.0] * (n - 2)), q=0)) == counted


def test_vendi_of_copies_and_of_strangers() -> None:
    assert float(pairs.vendi(np.ones((5, 5)))) == pytest.approx(1)
    assert float(pairs.vendi(np.eye(5))) == pytest.approx(5)
    assert float(pairs.vendi(np.eye(5), q=np.inf)) == pytest.approx(5)
    assert float(pairs.vendi(np.kron(np.eye(2), np.ones((3, 3))), q=0)) == pytest.approx(2)


def test_rke_is_vendi_of_order_two() -> None:
    K = np.corrcoef(draws(6, 9))
    assert float(pairs.rke(K)) == pytest.approx(float(pairs.vendi(K, q=2)))


def test_cosine_kernel_comes_back_from_distances_and_norms() -> None:
    phi = draws(6, 4)
    K = pairs.cosine_similarity(pairs.distance_matrix(phi), (phi**2).sum(axis=1))
    unit = phi / np.linalg.norm(phi, axis=1, keepdims=True)
    assert_allclose(K, unit @ unit.T, atol=1e-12)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_linear_maps_of_the_design_equal_their_definitions(k: int) -> None:
    y = draws(4, *(2,) * k)
    subsets = factorial.subsets(k)
    assert_allclose(
        factorial.contrasts(y),
        [[definitions.contrast(c, s) for s in subsets] for c in y],
        atol=1e-12,
    )
    assert len(factorial.names(k)) == 2**k - 1
    cells = y[0]
    m = factorial.dividends(cells)
    for subset in subsets:
        assert m[tuple(int(i in subset) for i in range(k))] == pytest.approx(
            definitions.dividend(cells, subset)
        )
    assert_allclose(factorial.shapley(cells), definitions.shapley(cells), atol=1e-12)
    assert factorial.shapley(cells).sum() == pytest.approx(cells[(1,) * k] - cells[(0,) * k])


@given(cells=arrays(float, (2, 2), elements=UNIT))
def test_gap_of_marginal_effects_vanishes_for_two_factors(cells: np.ndarray) -> None:
    """An algebraic identity, so never report it as evidence of additivity."""
    assert factorial.synergy_gap(cells, effects="marginal") == pytest.approx(0, abs=1e-12)


@given(cells=arrays(float, (2, 2, 2), elements=UNIT))
def test_gaps_for_three_factors(cells: np.ndarray) -> None:
    """Marginal: the three-way contrast. Simple: the dividends of order >= 2. Shapley: marginal effect + gap / 3."""
    gap = factorial.synergy_gap(cells, effects="marginal")
    assert gap == pytest.approx(definitions.contrast(cells, (0, 1, 2)), abs=1e-9)
    higher = sum(definitions.dividend(cells, s) for s in factorial.subsets(3) if len(s) > 1)
    assert factorial.synergy_gap(cells, effects="simple") == pytest.approx(higher, abs=1e-9)
    main = factorial.contrasts(cells[None])[0, :3]
    assert_allclose(factorial.shapley(cells), main + gap / 3, atol=1e-9)


def test_waterfalls_published_in_the_paper() -> None:
    """Figures 9 and 10 as printed: additive predictions .837 and .681 (their rounding)."""
    assert pytest.approx(0.837) == 0.755 + 0.005 - 0.003 + 0.080
    assert pytest.approx(0.681, abs=0.0011) == 0.577 + 0.080 + 0.025
    base, sampling, prompt, codebook = 0.755, 0.005, -0.003, 0.080
    s, p, c = np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij")
    cells = base + s * sampling + p * prompt + c * codebook
    assert_allclose(
        factorial.contrasts(cells[None])[0], [sampling, prompt, codebook, 0, 0, 0, 0], atol=1e-12
    )
    assert factorial.synergy_gap(cells) == pytest.approx(0, abs=1e-12)


def test_effect_names_follow_the_factors() -> None:
    names = factorial.names(3)
    assert names == ["A", "B", "C", "A:B", "A:C", "B:C", "A:B:C"]
    assert factorial.names(2, ("prompt_type", "codebook"))[-1] == "prompt_type:codebook"


def test_a_design_must_have_one_to_ten_factors_of_two_levels() -> None:
    for shape in ((4, 3), (4,), (4, *(2,) * 11)):
        with pytest.raises(IbstatsError, match="1 to 10 axes of length 2"):
            factorial.contrasts(np.zeros(shape))
    with pytest.raises(IbstatsError, match="unknown effects 'partial'; known: marginal, simple"):
        factorial.synergy_gap(np.zeros((2, 2)), effects="partial")  # type: ignore[arg-type]


def test_rm_anova_equals_statsmodels() -> None:
    """Subject and factor names share no text, or AnovaRM silently drops terms."""
    import pandas as pd
    from statsmodels.stats.anova import AnovaRM

    y = draws(9, 2, 2, 2) + np.arange(2)[:, None] * 0.5
    index = pd.MultiIndex.from_product(
        [range(9), *[range(2)] * 3], names=["unit", "first", "second", "third"]
    )
    frame = pd.DataFrame({"y": y.ravel()}, index=index).reset_index()
    table = AnovaRM(frame, "y", "unit", within=["first", "second", "third"]).fit().anova_table
    ours = factorial.rm_anova(y, ("first", "second", "third"))
    assert len(table) == len(ours) == 7
    for name, row in ours.items():
        assert pytest.approx(table.loc[name, "F Value"], rel=1e-9) == row.F
        assert row.p == pytest.approx(table.loc[name, "Pr > F"], rel=1e-8)
        assert (row.df1, row.df2) == (1, 8)
        assert row.partial_eta_squared == pytest.approx(row.F / (row.F + 8))
        assert (
            pytest.approx(
                stats.ttest_1samp(factorial.contrasts(y)[:, list(ours).index(name)], 0).statistic
                ** 2
            )
            == row.F
        )


def test_a_constant_contrast_has_no_f() -> None:
    y = draws(5, 2, 2)
    y[:, 1] = y[:, 0]
    table = factorial.rm_anova(y)
    assert np.isnan(table["A"].F)
    assert np.isfinite(table["B"].F)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_bootstrap_equals_scipy_on_the_same_resamples(method: str) -> None:
    x = np.random.default_rng(3).exponential(size=(25, 4))
    theirs = stats.bootstrap(
        (x,),
        np.mean,
        axis=0,
        n_resamples=1999,
        batch=1999,
        vectorized=True,
        confidence_level=0.9,
        method={"bca": "BCa"}.get(method, method),
        rng=np.random.default_rng(8),
    ).confidence_interval
    low, high = resampling.bootstrap_mean(x, method, 1999, 0.9, np.random.default_rng(8))  # type: ignore[arg-type]
    assert_allclose(low, theirs.low, rtol=1e-10)
    assert_allclose(high, theirs.high, rtol=1e-10)


def test_studentized_bootstrap_equals_its_loop() -> None:
    x = np.random.default_rng(3).exponential(size=25)
    drawn = np.random.default_rng(8).integers(0, 25, (999, 25))
    error = x.std(ddof=1) / 5
    t = sorted((x[i].mean() - x.mean()) / (x[i].std(ddof=1) / 5) for i in drawn)
    low, high = resampling.bootstrap_mean(x, "studentized", 999, 0.95, np.random.default_rng(8))
    upper, lower = np.quantile(t, [0.975, 0.025], method="nearest")
    assert (low, high) == pytest.approx((x.mean() - upper * error, x.mean() - lower * error))


def test_each_method_gives_another_interval_and_all_contain_the_mean() -> None:
    x = np.random.default_rng(3).exponential(size=25)
    intervals = {
        m: resampling.bootstrap_mean(x, m, 999, 0.95, np.random.default_rng(0))
        for m in resampling.METHODS
    }
    assert len({float(low) for low, _ in intervals.values()}) == 4
    assert all(low < x.mean() < high for low, high in intervals.values())


@pytest.mark.parametrize("method", resampling.METHODS)
def test_degenerate_nan_and_lonely_columns(method: str) -> None:
    x = np.column_stack([np.zeros(8), np.full(8, 0.1), np.r_[np.nan, np.zeros(7)], np.arange(8.0)])
    low, high = resampling.bootstrap_mean(x, method, 200, 0.95, np.random.default_rng(0))  # type: ignore[arg-type]
    assert low[:2].tolist() == high[:2].tolist() == [0.0, 0.1]
    assert np.isnan(low[2])
    assert low[3] < 3.5 < high[3]
    assert np.isnan(
        resampling.bootstrap_mean(x[:1], method, 200, 0.95, np.random.default_rng(0))[0]
    ).all()  # type: ignore[arg-type]


@pytest.mark.parametrize("x", [[1.0, 2.0], [0.0, 0.0, 0.0, 0.0, 1.0]])
def test_where_ties_leave_no_studentized_bound_the_outer_of_hall_and_t_stands_in(
    x: list[float],
) -> None:
    means = resampling.MeanBootstrap(
        np.array(x)[:, None], "studentized", 500, np.random.default_rng(0)
    )
    assert means.methods.tolist() == ["hall"]
    low, high = means.interval(0.95)
    t_low, t_high = stats.ttest_1samp(x, 0.3).confidence_interval()
    halls = definitions.hall_interval(np.array(x), 0.95)
    assert (low[0], high[0]) == pytest.approx((min(t_low, halls[0]), max(t_high, halls[1])))


@pytest.mark.parametrize("n", [4, 12, 60])
def test_a_guarded_interval_is_the_outermost_of_three(n: int) -> None:
    x = np.random.default_rng(n).exponential(size=(n, 30)) ** 2
    found = resampling.MeanBootstrap(x, "guarded", 999, np.random.default_rng(1))
    boot = resampling.MeanBootstrap(x, "studentized", 999, np.random.default_rng(1))
    lows, highs = boot.interval(0.9)
    theirs = stats.ttest_1samp(x, 0).confidence_interval(0.9)
    for column in range(30):
        halls = definitions.hall_interval(x[:, column], 0.9)
        low = min(lows[column], theirs.low[column], halls[0])
        high = max(highs[column], theirs.high[column], halls[1])
        made = [bound[column] for bound in found.interval(0.9)]
        assert made == pytest.approx([low, high], rel=1e-8)


def test_without_skewness_the_transformed_t_is_t() -> None:
    x = np.array([[-3.0], [-1.0], [1.0], [3.0]]) + 5
    means = resampling.MeanBootstrap(x, "guarded", 99, np.random.default_rng(0))
    assert means.methods.tolist() == ["hall"]
    theirs = stats.ttest_1samp(x[:, 0], 4.0)
    low, high = means.interval(0.95)
    assert (low[0], high[0]) == pytest.approx(tuple(theirs.confidence_interval()))
    assert means.p(4.0)[0] == pytest.approx(theirs.pvalue)


@pytest.mark.parametrize("method", resampling.METHODS)
@pytest.mark.parametrize("n", [5, 12, 40])
def test_intervals_p_values_and_equivalence_never_disagree(
    method: resampling.Method, n: int
) -> None:
    rng = np.random.default_rng(n)
    x = np.column_stack([rng.exponential(size=(n, 60)) - 0.7, rng.normal(0.5, 1, (n, 60))])
    if method in resampling.STUDENTIZED:  # quantiles between ties are the others' own
        x = np.column_stack([x, rng.binomial(4, 0.9, (n, 20)) - 3.0])
    means = resampling.MeanBootstrap(x, method, 499, rng)
    varying = ~means.constant
    for level in (0.8, 0.9, 0.95):
        low, high = means.interval(level)
        excluded = (low > 0) | (high < 0)
        assert ((means.p() < 1 - level) == excluded)[varying].all()
        inside = (low > -0.5) & (high < 0.5)
        p = np.maximum(means.p_above(-0.5), means.p_below(0.5))
        assert ((p < (1 - level) / 2) == inside)[varying].all()
    assert np.isnan(means.p()[means.constant]).all()


def test_many_units_are_left_to_bca() -> None:
    assert [resampling.default_method(n) for n in (2, 500, 501)] == ["guarded"] * 2 + ["bca"]


def test_bootstrap_asks_for_what_it_needs() -> None:
    with pytest.raises(
        IbstatsError, match="unknown interval method 'wald'; known: bca, percentile, studentized"
    ):
        resampling.bootstrap_mean([1.0, 2.0], "wald", rng=np.random.default_rng(0))  # type: ignore[arg-type]
    with pytest.raises(IbstatsError, match="needs rng"):
        resampling.bootstrap_mean([1.0, 2.0])
    with pytest.raises(IbstatsError, match=r"level is 95, but must lie between 0 and 1"):
        resampling.bootstrap_mean([1.0, 2.0], level=95, rng=np.random.default_rng(0))


def test_sign_flip_equals_full_enumeration() -> None:
    values = draws(8, 3) + 0.6
    single, family = definitions.sign_flip(values)
    p, adjusted = resampling.sign_flip(values)
    assert_allclose(p, single)
    assert_allclose(adjusted, family)


def test_monte_carlo_sign_flip_is_near_the_exact_one() -> None:
    values = draws(10, 4) + 0.5
    exact = np.stack(resampling.sign_flip(values))
    sampled = np.stack(resampling.sign_flip(values, 40_000, np.random.default_rng(0)))
    assert_allclose(sampled, exact, atol=0.01)


def test_sign_flip_leaves_degenerate_columns_out_of_the_family() -> None:
    values = draws(9, 2) + 0.5
    padded = np.column_stack([values, np.zeros(9), np.full(9, np.nan)])
    p, adjusted = resampling.sign_flip(padded)
    assert np.isnan(p[2:]).all()
    assert np.isnan(adjusted[2:]).all()
    assert_allclose(adjusted[:2], resampling.sign_flip(values)[1])


def test_exact_sign_flip_refuses_what_would_not_end() -> None:
    with pytest.raises(IbstatsError, match="exact enumeration stops at 24 units, here 25"):
        resampling.sign_flip(np.ones((25, 1)))
