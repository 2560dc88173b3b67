"""Numbers that other software printed: base R (recorded by `tests/recordings/record_r.R`), R packages, ezANOVA."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from ibstats.kernels import entropy, factorial
from ibstats.statistics import significance

RECORDED = Path(__file__).parents[1] / "recordings"


@pytest.fixture(scope="module")
def in_r() -> dict[str, float]:
    with (RECORDED / "r_results.csv").open() as stream:
        return {row["name"]: float(row["value"]) for row in csv.DictReader(stream)}


@pytest.fixture(scope="module")
def y() -> np.ndarray:
    """(12 units, A, B, C)."""
    return np.loadtxt(RECORDED / "r_values.csv", delimiter=",", skiprows=1).reshape(12, 2, 2, 2)


def test_anova_equals_aov_with_an_error_stratum_per_effect(
    y: np.ndarray, in_r: dict[str, float]
) -> None:
    table = factorial.rm_anova(y, ("A", "B", "C"))
    assert len(table) == 7
    for effect, row in table.items():
        assert (row.df1, row.df2) == (1, 11)
        assert pytest.approx(in_r[f"aov {effect} F"], rel=1e-9) == row.F
        assert row.p == pytest.approx(in_r[f"aov {effect} p"], rel=1e-9)
        assert row.partial_eta_squared == pytest.approx(in_r[f"aov {effect} eta"], rel=1e-9)


def test_tests_of_one_effect_equal_r(y: np.ndarray, in_r: dict[str, float]) -> None:
    effect = factorial.contrasts(y)[:, 0]
    assert significance.t_test(effect).p[0] == pytest.approx(in_r["t p"], rel=1e-9)
    assert significance.wilcoxon(effect)[0] == pytest.approx(in_r["wilcoxon p"], rel=1e-9)
    assert significance.equivalence(effect, -0.5, 0.9).p == pytest.approx(in_r["tost p"], rel=1e-9)


@pytest.mark.parametrize(("ours", "theirs"), [("holm", "holm"), ("bh", "BH")])
def test_adjustments_equal_p_adjust(ours: str, theirs: str, in_r: dict[str, float]) -> None:
    expected = [in_r[f"adjust {theirs} {i}"] for i in range(1, 6)]
    assert significance.adjust([0.001, 0.02, 0.03, 0.04, 0.6], ours) == pytest.approx(
        expected, rel=1e-12
    )


def test_anova_equals_a_published_ezanova() -> None:
    """Eight subjects, two levels (Rutherford 2001, p. 72); F(1, 7) = 22.4, p = .002125452 by ezANOVA of R's `ez`."""
    low, high = [7, 3, 6, 6, 5, 8, 6, 7], [7, 11, 9, 11, 10, 10, 11, 11]
    (row,) = factorial.rm_anova(np.stack([low, high], axis=1), ("B",)).values()
    assert (row.F, row.df1, row.df2) == (pytest.approx(22.4, abs=5e-6), 1, 7)
    assert row.p == pytest.approx(0.002125452, abs=5e-10)


SPIDERS = {
    "Girdled": ([46, 22, 17, 15, 15, 9, 8, 6, 6, 4] + [2] * 4 + [1] * 12, 12.060, 13.826),
    "Logged": (
        [88, 22, 16, 15, 13, 10, 8, 8, 7, 7, 7, 5, 4, 4, 4, 3, 3, 3, 3] + [2] * 4 + [1] * 14,
        14.421,
        16.337,
    ),
}


@pytest.mark.parametrize(("counts", "observed", "estimated"), SPIDERS.values(), ids=SPIDERS)
def test_shannon_diversity_equals_inext(
    counts: list[int], observed: float, estimated: float
) -> None:
    """Spider data and asymptotic estimates of R's iNEXT (Hsieh, Ma & Chao 2016, doi:10.1111/2041-210X.12613)."""
    assert 2 ** entropy.estimate(counts, "plugin") == pytest.approx(observed, abs=5e-4)
    assert 2 ** entropy.estimate(counts, "chao_wang_jost") == pytest.approx(estimated, abs=5e-4)


def test_nsb_equals_the_manual_of_rs_entropy_package() -> None:
    """`entropy.NSB(c(4, 2, 3, 0, 2, 4, 0, 0, 2, 1, 1))` is 2.187774 nats."""
    counts = [4, 2, 3, 0, 2, 4, 0, 0, 2, 1, 1]
    assert entropy.estimate(counts, "nsb", n_codes=11) * np.log(2) == pytest.approx(
        2.187774, abs=5e-7
    )
