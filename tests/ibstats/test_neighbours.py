"""Precision, recall, density, coverage and CMMD: against other programs and plain definitions."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from prdc import compute_prdc
from sklearn.metrics.pairwise import rbf_kernel

from ibstats.errors import IbstatsError
from ibstats.kernels import frechet, neighbours

RNG = np.random.default_rng(3)
REAL = RNG.normal(size=(90, 6))
MADE = RNG.normal(size=(60, 6)) * 0.8 + 0.3
GROUP = np.repeat(np.arange(12), 5)


def theirs(real: np.ndarray, made: np.ndarray, k: int) -> dict[str, float]:
    """The numbers of density's and coverage's authors."""
    with contextlib.redirect_stdout(io.StringIO()):
        found = compute_prdc(real, made, k)
    return {name: float(value) for name, value in found.items()}


def ours(real: np.ndarray, made: np.ndarray, group: np.ndarray, k: int) -> dict[str, float]:
    radius = neighbours.radii(real, k)
    held = neighbours.held(made, real, radius)
    return {
        "precision": float((held > 0).mean()),
        "recall": neighbours.recall_left_out(made, real, k, group).whole,
        "density": float(held.mean() / k),
        "coverage": neighbours.coverage_left_out(made, real, radius, group).whole,
    }


@pytest.mark.parametrize("k", [1, 3, 5])
def test_the_four_are_those_of_their_authors_program(k: int) -> None:
    assert ours(REAL, MADE, GROUP, k) == pytest.approx(theirs(REAL, MADE, k), abs=1e-12)


def test_leaving_a_prompt_out_is_computing_without_it() -> None:
    k = 3
    radius = neighbours.radii(REAL, k)
    recall = neighbours.recall_left_out(MADE, REAL, k, GROUP).without
    coverage = neighbours.coverage_left_out(MADE, REAL, radius, GROUP).without
    for left in range(12):
        expected = theirs(REAL, MADE[left != GROUP], k)
        assert recall[left] == pytest.approx(expected["recall"])
        assert coverage[left] == pytest.approx(expected["coverage"])


def test_groups_need_not_be_in_order() -> None:
    order = RNG.permutation(60)
    radius = neighbours.radii(REAL, 3)
    for name, arguments in {"coverage": (radius,), "recall": (3,)}.items():
        statistic = getattr(neighbours, f"{name}_left_out")
        mixed = statistic(MADE[order], REAL, *arguments, GROUP[order])
        sorted_ = statistic(MADE, REAL, *arguments, GROUP)
        np.testing.assert_allclose(mixed.without, sorted_.without)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ours(REAL, MADE, GROUP, 3)
    monkeypatch.setattr(neighbours, "CHUNK", 700)
    assert ours(REAL, MADE, GROUP, 3) == whole


def test_a_copy_of_the_real_images_is_precise_and_recalled_and_covers_them() -> None:
    found = ours(REAL, REAL.copy(), np.arange(90), 3)
    assert (found["precision"], found["recall"], found["coverage"]) == (1, 1, 1)
    assert found["density"] >= 1


def test_copies_of_one_image_recall_only_it() -> None:
    """Their balls are points: ties are inside, as Kynkaanniemi et al. have it, and nothing else is."""
    copies = np.repeat(REAL[:1], 8, axis=0)
    assert neighbours.recall_left_out(copies, REAL, 3, np.arange(8)).whole == pytest.approx(1 / 90)


def test_too_few_images_have_no_neighbours() -> None:
    with pytest.raises(IbstatsError, match="3 images have no 3th nearest neighbour; take 4"):
        neighbours.radii(REAL[:3], 3)
    made = neighbours.recall_left_out(MADE[:4], REAL, 3, np.arange(4))
    assert np.isfinite(made.whole)
    assert np.isnan(made.without).all()


def test_cmmd_is_the_unbiased_discrepancy_under_scikit_learns_gaussian_kernel() -> None:
    """Paper, equation 4: means of the kernel over different images, sigma 10."""
    x = MADE / np.linalg.norm(MADE, axis=1, keepdims=True)
    y = REAL / np.linalg.norm(REAL, axis=1, keepdims=True)
    gamma = 1 / (2 * 10**2)
    within, own = rbf_kernel(x, gamma=gamma), rbf_kernel(y, gamma=gamma)
    expected = (within.sum() - len(x)) / (len(x) * (len(x) - 1))
    expected += (own.sum() - len(y)) / (len(y) * (len(y) - 1))
    expected -= 2 * rbf_kernel(x, y, gamma=gamma).mean()
    target = frechet.moments(y)
    value = frechet.kernel_distance(x, target, frechet.gaussian)
    assert value == pytest.approx(expected, rel=1e-9)
    assert frechet.kernel_distance(x, target) != value


def test_the_biased_number_of_cmmds_authors_is_larger_by_what_images_share_with_themselves() -> (
    None
):
    """Their program takes the diagonal in; the difference follows from the mean kernels alone."""
    x = MADE / np.linalg.norm(MADE, axis=1, keepdims=True)
    y = REAL / np.linalg.norm(REAL, axis=1, keepdims=True)
    kernels = [frechet.gaussian(one, one) for one in (x, y)]
    biased = sum(kernel.mean() for kernel in kernels) - 2 * frechet.gaussian(x, y).mean()
    excess = 0.0
    for kernel in kernels:
        n = len(kernel)
        excess += (1 - (kernel.sum() - n) / (n * (n - 1))) / n
    unbiased = frechet.kernel_distance(x, frechet.moments(y), frechet.gaussian)
    assert biased - unbiased == pytest.approx(excess, rel=1e-9)
