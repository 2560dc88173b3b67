"""Entropy kernels against plain definitions at high precision, published values and theory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibstats.errors import IbstatsError
from ibstats.kernels import entropy
from ibstats.kernels.multiplicities import multiplicities
from tests.reference import definitions

COUNTS = {
    "small": [4, 2, 3, 0, 2, 4, 0, 0, 2, 1, 1],
    "singletons": [1, 1, 1, 1],
    "one code": [7],
    "one singleton": [5, 3, 1],
    "no doubletons": [9, 4, 1, 1, 1],
    "no singletons": [2, 2, 5, 8],
    "skewed": [120, 60, 31, 14, 8, 4, 2, 2, 1, 1, 1, 1],
}


@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS)
@pytest.mark.parametrize("estimator", [e for e in entropy.ESTIMATORS if e != "nsb"])
def test_estimators_equal_their_papers_at_high_precision(estimator: str, counts: list[int]) -> None:
    expected = definitions.entropy(counts, estimator, K=20)
    assert float(entropy.estimate(counts, estimator, n_codes=20)) == pytest.approx(
        expected, abs=1e-11
    )


@pytest.mark.parametrize("estimator", [e for e in entropy.ESTIMATORS if e != "nsb"])
def test_rows_are_estimated_together_as_their_papers_have_each(
    estimator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short and long rows, an empty one among them, in batches of three rows."""
    table = np.zeros((len(COUNTS) + 1, 20), dtype=np.int32)
    for row, counts in zip(table, COUNTS.values(), strict=False):
        row[: len(counts)] = counts
    monkeypatch.setattr(entropy, "ESTIMATED_AT_ONCE", 60)
    expected = [definitions.entropy(counts, estimator, K=20) for counts in COUNTS.values()]
    found = entropy.estimate(table, estimator, n_codes=20)
    np.testing.assert_allclose(found, [*expected, np.nan], rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", ["small"])
def test_nsb_equals_adaptive_quadrature(name: str) -> None:
    expected = definitions.entropy(COUNTS[name], "nsb", K=20)
    assert float(entropy.estimate(COUNTS[name], "nsb", n_codes=20)) == pytest.approx(
        expected, abs=1e-7
    )


@pytest.mark.parametrize(
    ("n", "A"),
    [
        (2, 0.3),
        (81, 0.5),
        (100, 0.0099),
        (100, 0.0102),
        (1000, 0.074),
        (4000, 1e-9),
        (10**7, 1e-14),
        (5000, 0.9),
    ],
)
def test_unseen_tail_equals_its_hypergeometric_form(n: int, A: float) -> None:
    """Both branches, on either side of their border, far beyond where the textbook form overflows."""
    import mpmath as mp

    with mp.workdps(50):
        x = 1 - mp.mpf(A)
        expected = float(x / n * mp.hyp2f1(1, n, n + 1, x))
    assert entropy.unseen_tail(n, A) == pytest.approx(expected, rel=1e-9)


def test_chao_wang_jost_stays_finite_where_the_textbook_form_overflows() -> None:
    """One singleton and forty doubletons among many tokens: naive double precision gives 1e17 or worse."""
    counts = [1] + [2] * 40 + [30] * 40
    expected = definitions.entropy(counts, "chao_wang_jost")
    assert float(entropy.estimate(counts)) == pytest.approx(expected, rel=1e-12)
    n, A = sum(counts), 80 / (sum(counts) - 1 + 80)
    naive = (1 - A) ** (1 - n) * (-np.log(A) - sum((1 - A) ** r / r for r in range(1, n)))
    assert abs(naive) > 1e6 * entropy.unseen_tail(n, A)


def test_chao_wang_jost_at_the_case_of_forty_doubletons() -> None:
    """f1 = 1, f2 = 40 and nothing else, n = 81: by the series at 60 digits, 3.977976 nats."""
    value = float(entropy.estimate([1] + [2] * 40)) * np.log(2)
    assert value == pytest.approx(3.977975558279227, abs=1e-12)


def test_a_known_die_is_recovered_by_every_estimator() -> None:
    p = np.array([0.5, 0.25, 0.125, 0.125])
    counts = np.random.default_rng(0).multinomial(200_000, p)
    for estimator in entropy.ESTIMATORS:
        assert float(entropy.estimate(counts, estimator, n_codes=4)) == pytest.approx(
            1.75, abs=0.01
        )


@given(
    counts=st.lists(st.integers(0, 50), min_size=1, max_size=30),
    order=st.randoms(use_true_random=False),
)
def test_relabelling_codes_and_adding_an_unused_one_change_nothing(
    counts: list[int], order
) -> None:
    shuffled = [*counts, 0]
    order.shuffle(shuffled)
    for estimator in ("plugin", "chao_wang_jost", "chao_shen", "james_stein"):
        first, second = (entropy.estimate(c, estimator, n_codes=40) for c in (counts, shuffled))
        np.testing.assert_allclose(first, second, atol=1e-9, equal_nan=True)


def test_leading_axes_are_kept_and_a_row_without_draws_is_nan() -> None:
    counts = np.array([[[3, 1], [0, 0]], [[2, 2], [1, 0]]])
    values = entropy.estimate(counts, "plugin")
    assert values.shape == (2, 2)
    assert np.isnan(values[0, 1])
    assert values[1, 0] == 1.0
    assert values[1, 1] == 0.0
    assert np.isnan(entropy.coverage(counts)[0, 1])


def test_coverage_is_one_minus_the_share_of_singletons() -> None:
    assert float(entropy.coverage([1, 1, 2, 4])) == pytest.approx(1 - 2 / 8)


def test_one_token_has_no_jackknife() -> None:
    assert np.isnan(entropy.estimate([0, 1], "jackknife"))


@pytest.mark.parametrize("estimator", ["james_stein", "nsb"])
def test_estimators_of_a_closed_codebook_ask_for_its_size(estimator: str) -> None:
    with pytest.raises(IbstatsError, match=f"'{estimator}' needs n_codes"):
        entropy.estimate([1, 2], estimator)
    with pytest.raises(IbstatsError, match="n_codes is 1, but 2 different codes"):
        entropy.estimate([1, 2], estimator, n_codes=1)


def test_unknown_estimator_lists_the_known() -> None:
    with pytest.raises(
        IbstatsError, match="unknown entropy estimator 'shannon'; known: plugin, miller_madow"
    ):
        entropy.estimate([1, 2], "shannon")


@given(st.integers(1, 5), st.integers(1, 12), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_counts_of_short_groups_are_those_of_bincount(
    groups: int, n: int, K: int, seed: int
) -> None:
    codes = np.random.default_rng(seed).integers(0, K, (groups, n))
    for row, made in zip(codes, entropy.group_counts(codes), strict=True):
        assert sorted(made[made > 0]) == sorted(c for c in np.bincount(row) if c)


def test_many_short_rows_are_estimated_like_one() -> None:
    table = np.random.default_rng(0).integers(0, 4, (500, 7))
    for estimator in entropy.ESTIMATORS:
        together = entropy.estimate(table, estimator, n_codes=9)
        assert together == pytest.approx(
            [float(entropy.estimate(row, estimator, n_codes=9)) for row in table]
        )


@pytest.mark.parametrize(
    ("counts", "K", "expected"),
    [
        ([1], 4, np.log(4)),  # one token says nothing: all shrinkage
        ([2], 4, 0.0),  # two that agree: no shrinkage, as 1 - sum p^2 = 0
        ([3], 4, 0.0),
        ([1, 1], 4, np.log(4)),  # two that differ: more shrinkage than all, so all
        ([2, 2, 2, 2], 4, np.log(4)),  # uniform as they are: nothing to shrink towards
        ([2, 1], 2, None),
        ([2, 1], 3, None),
        ([4, 1, 1], 8, None),
    ],
)
def test_james_stein_of_few_tokens_is_its_definition(
    counts: list[int], K: int, expected: float | None
) -> None:
    """Hausser & Strimmer (2009), equations 5 and 6, term by term."""
    n = sum(counts)
    p = [count / n for count in counts] + [0.0] * (K - len(counts))
    misfit = sum((1 / K - share) ** 2 for share in p)
    shrinkage = 1.0
    if misfit and n > 1:
        shrinkage = min(1.0, (1 - sum(share**2 for share in p)) / ((n - 1) * misfit))
    q = [shrinkage / K + (1 - shrinkage) * share for share in p]
    defined = -sum(share * np.log(share) for share in q if share)
    assert entropy.james_stein(multiplicities([counts], n_codes=K))[0] == pytest.approx(
        defined, abs=1e-12
    )
    if expected is not None:
        assert defined == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int64])
def test_codes_are_counted_as_by_numpy_however_many_there_are(dtype: type) -> None:
    size = 2 * entropy.COUNTED_AT_ONCE + 17
    tokens = np.random.default_rng(0).integers(0, 50, size).astype(dtype)
    found = entropy.count_codes(tokens.reshape(1, -1), 60)
    assert (found == np.bincount(tokens, minlength=60)).all()
    assert entropy.count_codes(tokens[:0], 3).tolist() == [0, 0, 0]
