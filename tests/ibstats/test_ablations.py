"""Ablations: contrasts of arms against SciPy, and the inflection point against curves whose knee is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import optimize, stats

from ibstats.design import Condition, Contrast, Design
from ibstats.errors import IbstatsError
from ibstats.kernels import bend, broken_line, resampling
from ibstats.planned import planned
from ibstats.report.render import latex
from ibstats.report.tables import ablations
from ibstats.results import rows, sentences
from ibstats.results.lookup import Numbers
from ibstats.statistics import significance, subset_ratio
from ibstats.statistics.effects import compare
from ibstats.statistics.stacking import over_quantities
from ibstats.statistics.uncertainty import Resampling
from schemas.design import ConditionRecord, DesignRecord
from schemas.results import ResultRow, Results

RATIOS = np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0])
QUICK = Resampling(n_resamples=400)


def hinge(x: np.ndarray, knot: float, below: float, above: float) -> np.ndarray:
    return below * np.minimum(x - knot, 0) + above * np.maximum(x - knot, 0)


def arms(values: np.ndarray, **coords: list[object]) -> xr.DataArray:
    """(condition, prompt) values with the coordinates of a store; the last arm is the reference unless given."""
    n = len(values)
    known: dict[str, list[object]] = {
        "condition": [f"{i + 1}-arm{i + 1}" for i in range(n)],
        "sampling": ["stochastic"] * n,
        "prompt_type": ["original"] * n,
        "codebook": ["subset"] * (n - 1) + ["full"],
        "keep_ratio": [0.5] * (n - 1) + [1.0],
        "subset_method": [""] * n,
    } | coords
    return xr.DataArray(
        values,
        dims=("condition", "prompt"),
        coords={name: ("condition", np.array(value, dtype=None if name == "keep_ratio" else object))
                for name, value in known.items()},
        attrs={"units": "1"},
    )  # fmt: skip


def design(y: xr.DataArray, kind: str = "subset_ratio") -> Design:
    """The design of arms: the baseline is the one with the whole codebook and the original wording."""
    conditions, baseline = [], None
    for number, name in enumerate(y["condition"].values):
        head, _, rest = str(name).partition("-")
        settings = {
            key: y[key].values[number] for key in ("keep_ratio", "subset_method") if key in y.coords
        }
        arm = rest if head.isdigit() else ""
        conditions.append(Condition(str(name), {}, settings, arm))
        if y["codebook"].values[number] == "full" and y["prompt_type"].values[number] == "original":
            baseline = str(name)
    return Design(kind, tuple(conditions), (), baseline)


def values_of(contrasts: list[Contrast], y: xr.DataArray) -> dict[str, float]:
    """Each contrast of the first prompt."""
    return {one.name: float(one.weights @ y.values[:, 0]) for one in contrasts}


def curves(
    rng: np.random.Generator, n_prompts: int, knot: float, below: float, above: float
) -> xr.DataArray:
    """Diversity over ratios of prompts whose level and sensitivity differ, about a hinge."""
    size = rng.normal(1, 0.3, (n_prompts, 1))
    level = rng.normal(0.5, 0.1, (n_prompts, 1))
    values = (
        level
        + size * hinge(RATIOS, knot, below, above)
        + rng.normal(0, 0.03, (n_prompts, len(RATIOS)))
    )
    codebook = ["subset"] * (len(RATIOS) - 1) + ["full"]
    return arms(values.T, keep_ratio=list(RATIOS), codebook=codebook)


def test_a_contrast_is_the_paired_t_test_of_its_arms() -> None:
    rng = np.random.default_rng(0)
    y = arms(rng.normal(size=(4, 12)) + np.arange(4)[:, None])
    found = compare(y, design(y).against_baseline(), QUICK)
    assert list(found["effect"].values) == ["arm1 - arm4", "arm2 - arm4", "arm3 - arm4"]
    p = []
    for i, effect in enumerate(found["effect"].values):
        expected = stats.ttest_rel(y.values[i], y.values[3])
        assert found["estimate"].values[i] == pytest.approx((y.values[i] - y.values[3]).mean())
        assert found.sel(effect=effect)["t"] == pytest.approx(expected.statistic)
        p.append(float(found["p"][i]))
        assert p[i] >= expected.pvalue * (1 - 1e-9)  # guarded: never below that of t
    order = np.sort(p)
    assert np.sort(found["p_holm"]) == pytest.approx(
        np.minimum(np.maximum.accumulate(order * [3, 2, 1]), 1)
    )
    assert found.attrs["n_tests"] == 3


def test_arms_that_are_alike_are_not_tested_on_the_rounding_of_their_weights() -> None:
    share = np.random.default_rng(0).integers(0, 11, 12) / 10
    y = arms(
        np.tile(share, (5, 1)),
        condition=["1-most", "2-random-a", "3-random-b", "4-random-c", "5-full"],
        subset_method=["drop_most_frequent", *["drop_random"] * 3, ""],
    )
    family = planned(design(y, "subset_method"))
    weights = np.column_stack([one.weights for one in family])
    assert (y.values.T @ weights).any()  # thirds do not add up
    found = compare(y, family, QUICK)
    assert bool(found["degenerate"].all())
    assert (found["estimate"] == 0).all()
    assert found.attrs["n_tests"] == 0


def test_without_a_baseline_there_are_no_changes_of_arms() -> None:
    y = arms(np.zeros((2, 3)), codebook=["subset", "subset"])
    assert design(y).against_baseline() == []


def test_random_subsets_are_compared_by_the_mean_of_their_draws() -> None:
    methods = ["", "drop_least_frequent", "drop_most_frequent", "drop_random", "drop_random"]
    y = arms(
        np.arange(5.0)[:, None] ** 2 * np.ones(3),
        subset_method=methods,
        codebook=["full"] + ["subset"] * 4,
    )
    assert values_of(planned(design(y, "subset_method")), y) == {
        "drop-most-frequent - drop-least-frequent": 3.0,
        "drop-random - drop-least-frequent": 11.5,
        "drop-random - drop-most-frequent": 8.5,
        "drop-random - full": 12.5,
    }


def test_the_proposed_strategy_is_compared_with_its_halves_and_their_sum() -> None:
    names = [
        "1-baseline",
        "2-subset-0.60",
        "2-subset-0.80",
        "3-paraphrase",
        "4-proposed-0.60",
        "4-proposed-0.80",
    ]
    codebook = ["full", "subset", "subset", "full", "subset", "subset"]
    wording = ["original"] * 3 + ["paraphrase"] * 3
    y = arms(np.array([1.0, 2, 4, 8, 16, 32])[:, None] * np.ones(2),
             condition=names, codebook=codebook, prompt_type=wording)  # fmt: skip
    assert values_of(planned(design(y, "enhancement")), y) == {
        "proposed-0.60 - subset-0.60": 14,
        "proposed-0.60 - paraphrase": 8,
        "proposed-0.60: synergy": 16 - 2 - 8 + 1,
        "proposed-0.80 - subset-0.80": 28,
        "proposed-0.80 - paraphrase": 24,
        "proposed-0.80: synergy": 32 - 4 - 8 + 1,
    }


def test_ratios_are_compared_with_the_next_smaller_one() -> None:
    y = curves(np.random.default_rng(0), 3, 0.3, 1, 0).isel(condition=[7, 0, 3])
    weights = [one.weights.tolist() for one in planned(design(y))]
    assert weights == [[0, -1, 1], [1, 0, -1]]


@pytest.mark.parametrize("knot", [0.15, 0.3, 0.47, 0.6])
def test_a_broken_line_without_noise_is_found_exactly(knot: float) -> None:
    found = broken_line.fit(RATIOS, hinge(RATIOS, knot, 2.0, -0.25)[None])
    assert found.knot == pytest.approx(knot, abs=1e-9)
    assert found.slope_below == pytest.approx(2.0, abs=1e-9)
    assert found.slope_above == pytest.approx(-0.25, abs=1e-9)


def test_a_broken_line_has_the_least_squares_of_a_general_optimiser() -> None:
    rng = np.random.default_rng(1)
    for _ in range(5):
        y = hinge(RATIOS, 0.35, 1.5, 0.2) + rng.normal(0, 0.05, len(RATIOS))

        def line(free: np.ndarray, y: np.ndarray = y) -> np.ndarray:
            return free[0] + hinge(RATIOS, free[1], free[2], free[3]) - y

        starts = (optimize.least_squares(line, [0, k, 1, 0], bounds=([-9, 0.1, -99, -99], [9, 0.7, 99, 99]))
                  for k in np.linspace(0.12, 0.68, 9))  # fmt: skip
        best = min(starts, key=lambda solution: solution.cost)
        assert broken_line.fit(RATIOS, y).knot == pytest.approx(best.x[1], abs=1e-4)


def test_too_few_or_unordered_points_have_no_broken_line() -> None:
    with pytest.raises(
        IbstatsError, match="4 points were given, but two slopes and their knot need 5 or more"
    ):
        broken_line.fit(RATIOS[:4], np.zeros(4))
    with pytest.raises(IbstatsError, match="must ascend"):
        broken_line.fit(RATIOS[::-1], np.zeros(8))


def test_the_inflection_point_recovers_a_known_knee_whatever_the_order_of_the_arms() -> None:
    rng = np.random.default_rng(2)
    y = curves(rng, 30, 0.33, 1.0, 0.1)
    found = subset_ratio.inflection(y, QUICK)
    assert verdict(found) == "found"
    assert float(found["estimate"].sel(part="ratio")) == pytest.approx(0.33, abs=0.03)
    assert float(found["low"].sel(part="ratio")) <= 0.33 <= float(found["high"].sel(part="ratio"))
    shuffled = subset_ratio.inflection(y.isel(condition=rng.permutation(8)), QUICK)
    xr.testing.assert_allclose(found, shuffled)


def verdict(found: xr.Dataset) -> str:
    """Whether there is an inflection point."""
    return str(found["verdict"].sel(part="ratio").values)


def coverage(n_prompts: int, n_studies: int, knot: float = 0.27, below: float = 1.0) -> float:
    rng = np.random.default_rng(3)
    hits = 0
    for seed in range(n_studies):
        point = subset_ratio.inflection(
            curves(rng, n_prompts, knot, below, 0.1), Resampling(n_resamples=200, seed=seed)
        )
        low, high = (float(point[bound].sel(part="ratio")) for bound in ("low", "high"))
        hits += low <= knot <= high
    return hits / n_studies


def test_intervals_of_the_inflection_point_cover_it() -> None:
    assert coverage(n_prompts=15, n_studies=60) >= 0.85


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_prompts", "knot", "below"),
    [
        (12, 0.27, 1.0),
        (30, 0.27, 1.0),
        (100, 0.27, 1.0),
        (12, 0.12, 3.0),
        (50, 0.12, 3.0),
        (50, 0.6, 1.0),
    ],
)
def test_intervals_of_the_inflection_point_cover_it_as_often_as_they_say(
    n_prompts: int, knot: float, below: float
) -> None:
    assert 0.91 <= coverage(n_prompts, 600, knot, below) <= 0.98


@pytest.mark.parametrize("shape", ["saturating", "logarithm", "root", "parabola"])
def test_a_smooth_curve_has_no_inflection_point(shape: str) -> None:
    smooth = {
        "saturating": 0.6 * (1 - np.exp(-RATIOS / 0.3)),
        "logarithm": 0.1 * np.log(RATIOS),
        "root": 0.6 * np.sqrt(RATIOS),
        "parabola": RATIOS * (2 - RATIOS),
    }
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.1, (24, 1)) + rng.normal(0, 0.03, (24, len(RATIOS)))
    codebook = ["subset"] * (len(RATIOS) - 1) + ["full"]
    y = arms((smooth[shape] + noise).T, keep_ratio=list(RATIOS), codebook=codebook)
    found = subset_ratio.inflection(y, QUICK)
    assert verdict(found) in ("smooth", "no distinct bend")
    assert float(found["p_max_t"][0]) < 0.05 < float(found["p"][0])
    ends = found["estimate"].sel(part=["swept_from", "swept_to"])
    assert ends.values.tolist() == [0.05, 1.0]


def test_fits_of_smooth_curves_are_those_of_a_general_optimiser() -> None:
    rng = np.random.default_rng(3)
    laws = {
        "saturating": lambda free: free[0] + free[1] * np.exp(-(RATIOS - RATIOS[0]) / free[2]),
        "power": lambda free: free[0] + free[1] * RATIOS ** free[2],
        "quadratic": lambda free: free[0] + free[1] * RATIOS + free[2] * RATIOS**2,
    }
    y = 0.6 * (1 - np.exp(-RATIOS / 0.25)) + rng.normal(0, 0.02, len(RATIOS))
    for name, model in bend.smooth(RATIOS).items():
        theirs = min(
            optimize.least_squares(
                lambda free, law=laws[name]: law(free) - y, [0.5, -0.5, start], max_nfev=4000
            ).cost
            for start in (0.2, 0.5, 1.0)
        )
        ours = 0.5 * ((model.fit(y[None])[0] - y) ** 2).sum()
        assert ours == pytest.approx(theirs, rel=5e-3), name


def test_a_family_is_not_refused_on_a_curve_of_its_own_without_noise() -> None:
    curves = 0.6 * np.sqrt(RATIOS) + np.random.default_rng(0).normal(0, 0.1, (9, 1))
    weights = resampling.resampling_weights(9, 99, np.random.default_rng(0))
    family = bend.smooth(RATIOS)["power"]
    assert bend.refusal(curves, family, bend.corner(RATIOS), weights) == (1.0, np.inf)


def test_the_units_that_refuse_a_parabola_follow_from_how_far_it_is_from_the_corner() -> None:
    rng = np.random.default_rng(0)
    corner, noise, n = -0.3 * np.maximum(0.5 - RATIOS, 0), 0.05, 4000
    curves = corner + rng.normal(0, 0.1, (n, 1)) + rng.normal(0, noise, (n, len(RATIOS)))
    weights = resampling.resampling_weights(n, 199, rng)
    line, families = bend.corner(RATIOS), bend.smooth(RATIOS)
    far = np.linalg.norm(corner - np.polyval(np.polyfit(RATIOS, corner, 2), RATIOS))
    # two normal quantiles; that of chance is higher, since the knot is sought
    least = ((stats.norm.ppf(0.95) + stats.norm.ppf(0.8)) * noise / far) ** 2
    for alpha, most in ((0.05, 1.9), (0.5, 1.0)):
        found = bend.refusal(curves, families["quadratic"], line, weights, alpha)
        assert found.p == 1 / 200
        assert (0.95 if alpha == 0.05 else 0.0) * least < found.units < most * least


@pytest.mark.parametrize(("spread", "said"), [(0.03, "no distinct bend"), (0.003, "found")])
def test_where_a_bend_is_not_distinct_the_prompts_that_it_needs_are_told(
    spread: float, said: str
) -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.1, (12, 1)) + rng.normal(0, spread, (12, len(RATIOS)))
    curves = noise - 0.25 * np.maximum(0.5 - RATIOS, 0)
    codebook = ["subset"] * (len(RATIOS) - 1) + ["full"]
    y = arms(curves.T, keep_ratio=list(RATIOS), codebook=codebook)
    found = subset_ratio.inflection(y, QUICK)
    assert verdict(found) == said
    needed = float(found["estimate"].sel(part="prompts_needed"))
    assert 12 < needed < 1000 if said == "no distinct bend" else np.isnan(needed)
    assert ("prompts needed" in str(found["note"][0].values)) == (said == "no distinct bend")


@pytest.mark.parametrize(("knot", "at_edge"), [(0.07, True), (0.3, False), (0.85, True)])
def test_an_inflection_point_that_the_sweep_may_not_enclose_is_marked(
    knot: float, at_edge: bool
) -> None:
    found = subset_ratio.inflection(curves(np.random.default_rng(8), 20, knot, 3.0, 0.1), QUICK)
    assert verdict(found) == ("found at the edge" if at_edge else "found")


def test_a_straight_line_has_an_inflection_point_no_more_often_than_the_level() -> None:
    rng = np.random.default_rng(4)
    found = []
    for seed in range(80):
        y = curves(rng, 15, 0.3, 0.4, 0.4)
        point = subset_ratio.inflection(y, Resampling(n_resamples=100, seed=seed))
        found.append(verdict(point) != "not found")
    assert np.mean(found) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 80)


@pytest.mark.parametrize("kept", [slice(0, 8), slice(4, 8)])
def test_no_inflection_point_of_a_constant_curve_or_of_few_ratios(kept: slice) -> None:
    flat = curves(np.random.default_rng(0), 6, 0.3, 1, 0).isel(condition=kept)
    if kept.start == 0:
        flat = xr.zeros_like(flat)
    found = subset_ratio.inflection(flat, QUICK)
    assert verdict(found) == "not found"
    assert found["estimate"].isnull().values.tolist() == [True] * 3 + [False] * 2 + [True]


SWEPT = np.array([0.1, 0.2, 0.4, 0.6, 0.8])


MARGIN = xr.DataArray([0.03], dims="quantity")
LARGER, SMALLER = "clip_iqa", "kid"
"""A score of which more is better, and one of which less is."""


def changes(*means: float, score: str = LARGER, spread: float = 0.02) -> xr.Dataset:
    """Tested changes of one score at the swept ratios, as the analysis makes them, of 20 prompts."""
    noise = spread * np.linspace(-1, 1, 20)
    values = xr.DataArray(
        np.array(
            [np.full(20, mean) + np.roll(noise, i) for i, mean in enumerate(means)] + [np.zeros(20)]
        ),
        dims=("condition", "prompt"),
        coords={
            "condition": [f"keep-{ratio:.2f}" for ratio in (*SWEPT, 1.0)],
            "keep_ratio": ("condition", [*SWEPT, 1.0]),
            "codebook": ("condition", ["subset"] * 5 + ["full"]),
            "sampling": ("condition", ["stochastic"] * 6),
            "prompt_type": ("condition", ["original"] * 6),
        },
        attrs={"units": "1", "note": "", "n_prompts": 20},
    )
    family = design(values).against_baseline()
    tested = over_quantities(
        xr.Dataset({score: values}), lambda y: compare(y, family, QUICK)
    ).assign_attrs(n_images=5)
    return subset_ratio.losses(tested, xr.DataArray(SWEPT, dims="effect"), MARGIN)


def knee(ratio: float | None, *, at_edge: bool = False) -> xr.Dataset:
    """An inflection point of LPIPS diversity, or none."""
    value = np.nan if ratio is None else ratio
    said = "not found" if ratio is None else ("found at the edge" if at_edge else "found")
    note = subset_ratio.EDGE_NOTE if at_edge else ""
    numbers = np.array([[value, 1.0, 0.0, 0.1, 1.0, np.nan]])
    blank = [""] * (len(subset_ratio.PARTS) - 1)
    dims = ("quantity", "part")
    return xr.Dataset(
        {
            "estimate": (dims, numbers),
            "low": (dims, numbers - 0.05),
            "high": (dims, numbers + 0.05),
            "p": (dims, np.full(numbers.shape, 0.02)),
            "p_max_t": (dims, np.full(numbers.shape, 0.01)),
            "verdict": (dims, np.array([[said, *blank]], dtype=object)),
            "note": (dims, np.array([[note, *blank]], dtype=object)),
            "units": (dims, np.full(numbers.shape, "1", dtype=object)),
            "n_prompts": ("quantity", [20]),
        },
        coords={
            "quantity": ["lpips_alex_distance"],
            "part": list(subset_ratio.PARTS),
        },
        attrs={"n_images": 5, "section": "inflection", "level": 0.95, "method": "percentile"},
    )


@pytest.mark.parametrize(
    ("means", "at", "ratio", "verdict", "evidence"),
    [
        ((-0.2, -0.1, 0.0, 0.0, 0.0), 0.45, 0.45, "quality stable", "keep-0.40"),
        ((-0.3, -0.2, -0.1, 0.0, 0.0), 0.25, 0.6, "quality falls", "keep-0.40"),
        ((-0.3, -0.1, 0.0, 0.0, 0.0), 0.25, 0.4, "quality falls", "keep-0.20"),
        ((0.3, 0.2, 0.1, 0.0, 0.0), 0.25, 0.25, "quality stable", "keep-0.20"),
        ((-0.3, 0.0, -0.1, 0.0, 0.0), 0.25, 0.6, "quality falls", "keep-0.40"),
        (
            (-0.3, -0.2, -0.2, -0.1, -0.1),
            0.25,
            np.nan,
            "quality falls at the largest ratio",
            "keep-0.80",
        ),
        ((-0.3, -0.2, 0.0, 0.0, 0.0), None, np.nan, "no inflection point", ""),
        ((-0.3, -0.028, 0.0, 0.0, 0.0), 0.25, 0.4, "quality falls", "keep-0.20"),
    ],
)
def test_the_offer_is_the_inflection_point_unless_quality_falls_there(
    means: tuple[float, ...], at: float | None, ratio: float, verdict: str, evidence: str
) -> None:
    for score, sign in ((LARGER, 1), (SMALLER, -1)):
        signed = [sign * mean for mean in means]
        found = subset_ratio.offer(knee(at), changes(*signed, score=score)).isel(quantity=0)
        assert float(found["estimate"]) == pytest.approx(ratio, nan_ok=True)
        assert str(found["verdict"].values) == verdict
        assert str(found["effect"].values) == (f"{evidence} - keep-1.00" if evidence else "")


@pytest.mark.parametrize(
    ("spread", "at", "ratio", "verdict", "evidence"),
    [
        (0.02, 0.25, 0.25, "quality stable", "keep-0.20"),
        (0.20, 0.25, np.nan, "quality inconclusive", "keep-0.80"),
    ],
)
def test_what_is_no_significant_loss_is_stable_only_within_the_margin(
    spread: float, at: float, ratio: float, verdict: str, evidence: str
) -> None:
    """No change at all, of 20 prompts: the intervals are about +-.006 and +-.06."""
    found = subset_ratio.offer(knee(at), changes(0, 0, 0, 0, 0, spread=spread)).isel(quantity=0)
    assert float(found["estimate"]) == pytest.approx(ratio, nan_ok=True)
    assert str(found["verdict"].values) == verdict
    assert str(found["effect"].values) == f"{evidence} - keep-1.00"


def test_a_loss_is_tested_as_the_printed_changes_are_and_a_constant_one_counts() -> None:
    noisy = changes(-0.2, -0.012, -0.005, 0.0, 0.05, spread=0.04)
    expected = (noisy["p_holm"].values < 0.05) & (noisy["estimate"].values < 0)
    np.testing.assert_array_equal(noisy["lost"], expected)
    assert expected.tolist() == [[True, False, False, False, False]]
    constant = changes(-0.2, -0.1, 0.0, 0.0, 0.1, spread=0.0)
    assert constant["lost"].values.tolist() == [[True, True, False, False, False]]
    assert constant["stable_from"].values.tolist() == [0.4]


def lost_in_studies(
    rng: np.random.Generator, n_prompts: int, drops: np.ndarray, n_studies: int
) -> np.ndarray:
    """(study, ratio) whether a ratio was found to lose quality, in normal studies with true `drops` of it.

    Arms share the reference; a paired change has standard deviation one.
    """
    found = []
    for _ in range(n_studies):
        scores = rng.normal(0, np.sqrt(0.5), (n_prompts, len(drops) + 1))
        change = scores[:, :-1] - scores[:, -1:] - drops
        test = significance.t_test(change)
        contrasts = xr.Dataset(
            {
                "estimate": (("quantity", "effect"), change.mean(axis=0)[None]),
                "low": (("quantity", "effect"), change.mean(axis=0)[None]),
                "high": (("quantity", "effect"), change.mean(axis=0)[None]),
                "p_holm": (("quantity", "effect"), significance.adjust(test.p)[None]),
                "degenerate": (("quantity", "effect"), np.zeros((1, len(drops)), dtype=bool)),
            },
            coords={"quantity": [LARGER]},
        )
        lost = subset_ratio.losses(contrasts, xr.DataArray(SWEPT, dims="effect"), MARGIN)
        found.append(lost["lost"].values[0])
    return np.array(found)


def test_quality_that_does_not_fall_moves_the_offer_no_more_often_than_the_level() -> None:
    moved = lost_in_studies(np.random.default_rng(5), 12, np.zeros(5), 500).any(axis=1)
    assert moved.mean() <= 0.05


def test_without_quality_the_offer_is_the_inflection_point_and_says_what_is_not_known() -> None:
    found = subset_ratio.offer(knee(0.3), None)
    assert (float(found["estimate"][0]), str(found["verdict"].values[0])) == (
        0.3,
        "quality not measured",
    )
    assert found.attrs["score"] == ""


def test_the_papers_score_decides_where_several_were_measured() -> None:
    both = xr.concat(
        [
            changes(-0.3, -0.2, -0.1, 0.0, 0.0, score="reference_accuracy"),
            changes(-0.3, 0.0, 0.0, 0.0, 0.0, score="clip_iqa"),
        ],
        dim="quantity",
        data_vars="minimal",
    )
    found = subset_ratio.offer(knee(0.25), both)
    assert (found.attrs["score"], float(found["estimate"][0])) == ("clip_iqa", 0.25)


DESIGN = DesignRecord(
    kind="subset_ratio",
    conditions=[ConditionRecord(name=f"keep-{ratio:.2f}") for ratio in (*SWEPT, 1.0)],
    baseline="keep-1.00",
)


def found_rows(at_edge: bool = False, **models: tuple[float | None, xr.Dataset | None]) -> Numbers:
    """Rows of the inflection point and the offer of some models."""
    found: list[ResultRow] = []
    for model, (ratio, lost) in models.items():
        point = knee(ratio, at_edge=at_edge)
        groups = {"inflection": point, **subset_ratio.offer_groups(point, lost)}
        for group in groups.values():
            base = {"model": model, "experiment": "ratio", "n_images": 5}
            found += rows.group_rows(group.assign_attrs(n_images=5), base, {})
    known = {
        "run_id": "r",
        "snapshot": "abc",
        "analysis_sha256": "d",
        "ibstats_version": "0",
        "settings": {},
    }
    return Numbers(Results(**known, designs={"ratio": DESIGN}, rows=found))


def words(**models: tuple[float | None, xr.Dataset | None]) -> str:
    """The offer in words, through the rows of the results."""
    numbers = found_rows(**models)
    return "\n".join(sentences.offered(sentences.offers(numbers, "ratio"))) + "\n"


STABLE, FALLS = changes(-0.2, 0.0, 0.0, 0.0, 0.0), changes(-0.3, -0.2, -0.1, 0.0, 0.0)


def test_the_offer_is_said_for_each_model_and_for_the_study() -> None:
    said = words(one=(0.3, STABLE), two=(0.25, FALLS), three=(None, STABLE))
    assert (
        "one: inflection of LPIPS at 0.30 [0.25, 0.35]; quality is stable there: CLIP-IQA changes by"
        in said
    )
    assert "at keep-0.20, margin ±0.030.\n" in said
    assert (
        "two: inflection of LPIPS at 0.25 [0.20, 0.30], but quality falls: CLIP-IQA changes by -0.100 ["
        in said
    )
    assert "at keep-0.40, margin ±0.030; stable from 0.60 on.\n" in said
    assert (
        "three: no inflection point of LPIPS (not found); CLIP-IQA is stable from 0.20 on.\n"
        in said
    )
    assert (
        "keep_ratio 0.60, the smallest swept ratio from which on CLIP-IQA of each model is stable; the"
        in said
    )
    assert "what is neither is inconclusive" in said


@pytest.mark.parametrize(
    ("models", "study"),
    [
        (
            {"one": (0.3, STABLE), "two": (0.4, STABLE)},
            "keep_ratio 0.35, the median inflection point; CLIP-IQA is stable there",
        ),
        (
            {"one": (0.3, None)},
            "keep_ratio 0.30, the median inflection point; quality was not measured (one)",
        ),
        (
            {"one": (None, STABLE)},
            "no inflection point was found, so no ratio is offered; try smaller ratios",
        ),
        (
            {"one": (0.3, changes(-0.3, -0.3, -0.3, -0.2, -0.2)), "two": (0.3, STABLE)},
            "the quality of one is not shown to be stable even at the",
        ),
    ],
)
def test_the_study_is_offered_one_ratio_at_which_no_model_loses_quality(
    models: dict[str, Any], study: str
) -> None:
    assert f"For the main study (factorial): {study}" in words(**models).replace(
        "no ratio is offered, since ", ""
    )


def test_latex_tables_of_the_offer_escape_names_and_hold_the_numbers() -> None:
    names = {"a_b & 50 %": (0.25, FALLS), "two": (None, None)}
    numbers = found_rows(**names)
    shown = ablations.inflection(numbers, "ratio", list(names))
    shown += ablations.offer(numbers, "ratio", list(names))
    made = {one.name: latex.render(one) for one in shown}
    assert set(made) == {"inflection", "offer"}
    assert r"a\_b \& 50 \%" in made["inflection"]
    assert "0.25" in made["inflection"]
    assert "0.20" in made["inflection"]
    assert "quality falls" in made["offer"]
    assert "no inflection point" in made["offer"]
    assert "keep-0.40" in made["offer"]


def test_an_inflection_point_at_the_edge_of_the_sweep_is_told_of_everywhere() -> None:
    made = found_rows(at_edge=True, one=(0.25, STABLE))
    point = made.one("inflection", part="ratio")
    assert point is not None
    assert point.verdict == "found at the edge"
    assert "may lie beyond; sweep further" in str(point.note)
    said = "\n".join(sentences.offered(sentences.offers(made, "ratio")))
    assert "0.25 [0.20, 0.30] (it may lie beyond the sweep)" in said
    (shown,) = ablations.inflection(made, "ratio", ["one"])
    assert " edge " in latex.render(shown)
    assert any("edge: the interval reaches" in note for note in shown.notes)
