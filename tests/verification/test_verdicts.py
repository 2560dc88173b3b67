"""Do verdicts err as seldom as they say? Simulated studies of known truth; run with `-m slow`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import xarray as xr

from ibstats.design import Condition, Design
from ibstats.kernels import broken_line
from ibstats.kernels.resampling import MeanBootstrap, Method
from ibstats.results import verdicts
from ibstats.statistics import strategy, subset_ratio
from ibstats.statistics.uncertainty import Resampling
from schemas.design import FACTORS
from tests.ibstats.conftest import CELLS
from tests.verification.designs import LAWS, values

pytestmark = pytest.mark.slow

STUDIES = 1000
SHARES = (0.0, 0.5, 0.9, 1.0)
"""Where the truth lies, as shares of the margin."""


def estimates(
    drawn: np.ndarray, method: Method, n_resamples: int = 1000
) -> list[verdicts.Estimate]:
    """Each study `(prompt, study)` as its row has it: the mean and its interval at 95 %."""
    n = len(drawn)
    found = []
    for part in np.array_split(drawn, max(1, drawn.size // 40_000), axis=1):
        means = MeanBootstrap(part, method, n_resamples, np.random.default_rng(0))
        low, high = means.interval(0.95)
        for number, value in enumerate(means.estimate):
            bounds = float(low[number]), float(high[number])
            found.append(verdicts.Estimate(float(value), *bounds, n, 0.95))
    return found


@pytest.mark.parametrize("n_prompts", [12, 40, 200])
@pytest.mark.parametrize("law", ["normal", "lognormal .5", "lognormal 1"])
def test_a_true_value_is_contradicted_in_at_most_5_percent(law: str, n_prompts: int) -> None:
    """A published value whose margin reaches from the truth to either side, of diversities as printed."""
    rng = np.random.default_rng(n_prompts)
    drawn = values(law, (n_prompts, STUDIES), rng)
    found = estimates(drawn, "studentized")
    margin = 0.05 * LAWS[law]
    rates = {}
    for share in SHARES:
        wrong = []
        for side in (-1, 1):
            region = verdicts.around(LAWS[law] + side * share * margin, margin)
            said = [verdicts.judged([(one, region)]) for one in found]
            wrong.append(np.mean([word == "contradicted" for word in said]))
        rates[share] = max(wrong)
    print(f"\n{law}, {n_prompts} prompts: contradicted {rates}")
    assert max(rates.values()) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / STUDIES)


@pytest.mark.parametrize("n_prompts", [12, 40, 200])
@pytest.mark.parametrize("law", ["normal", "lognormal .5", "lognormal 1"])
def test_a_true_claim_of_equivalence_is_contradicted_in_at_most_5_percent(
    law: str, n_prompts: int
) -> None:
    """Changes of twelve rows, each at its margin, on the side of the short tail; intervals of differences."""
    rng = np.random.default_rng(n_prompts)
    n_rows, studies = 12, STUDIES // 4
    region = verdicts.around(0.0, 0.05)
    drawn = 0.2 * (values(law, (n_prompts, n_rows * studies), rng) - LAWS[law]) - 0.05
    rows = np.array(estimates(drawn, "guarded"), dtype=object).reshape(studies, n_rows, -1)
    one, many = [], []
    for study in rows:
        whole = [(verdicts.Estimate(*row), region) for row in study]
        one.append(verdicts.judged(whole[:1]) == "contradicted")
        many.append(verdicts.judged(whole) == "contradicted")
    print(f"\n{law}, {n_prompts} prompts: one row {np.mean(one):.3f}, twelve {np.mean(many):.3f}")
    hopeless = law == "lognormal 1" and n_prompts == 12  # no prompt drawn tells of the tail
    assert np.mean(many) <= (0.12 if hopeless else 0.05 + 2 * np.sqrt(0.05 * 0.95 / studies))


def losing(law: str, n_prompts: int, n_ratios: int, rng: np.random.Generator) -> xr.Dataset:
    """Tested changes of one study: the loss is the margin, 0.03, at every ratio; the long tail is of losses."""
    shape = (n_ratios, n_prompts)
    noise = LAWS[law] - values(law, shape, rng)
    means = MeanBootstrap(0.06 * noise.T - 0.03, "guarded", 999, rng)
    low, high = means.interval(0.95)
    dims = ("quantity", "effect")
    columns = {"estimate": means.estimate, "low": low, "high": high, "p_holm": means.p()}
    made: dict[str, Any] = {name: (dims, column[None]) for name, column in columns.items()}
    made["degenerate"] = (dims, np.zeros((1, n_ratios), dtype=bool))
    return xr.Dataset(made, coords={"quantity": ["clip_iqa"]})


@pytest.mark.parametrize("n_prompts", [12, 24, 50])
@pytest.mark.parametrize("law", ["normal", "lognormal .5"])
def test_quality_that_falls_by_the_margin_is_called_stable_in_at_most_5_percent(
    law: str, n_prompts: int
) -> None:
    rng = np.random.default_rng(n_prompts)
    ratios = xr.DataArray([0.2, 0.4, 0.6, 0.8], dims="effect")
    margin = xr.DataArray([0.03], dims="quantity")
    wrong = []
    for _ in range(STUDIES):
        found = subset_ratio.losses(losing(law, n_prompts, 4, rng), ratios, margin)
        wrong.append(bool(found["stable_from"].notnull().any()))
    print(f"\n{law}, {n_prompts} prompts: stable {np.mean(wrong):.3f}")
    assert np.mean(wrong) <= 0.05


DEFAULT = np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
SWEEPS = {
    "from .05": DEFAULT,
    "from .02": np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.85, 1.0]),
    "from .3": np.linspace(0.3, 1, 8),
    "from .5": np.linspace(0.5, 1, 8),
}
SMOOTH = {
    "exp": lambda ratio: 0.6 * (1 - np.exp(-ratio / 0.3)),
    "log": lambda ratio: 0.1 * np.log(ratio) + 0.6,
    "sqrt": lambda ratio: 0.6 * np.sqrt(ratio),
}
NOISE = 0.03


def knees(mean: np.ndarray, ratios: np.ndarray, n_studies: int, n_prompts: int = 24) -> list[str]:
    """Verdicts of the studies of `bends`."""
    said = []
    for found in bends(mean, ratios, n_studies, n_prompts):
        said.append(str(found["verdict"].sel(part="ratio").values))
    return said


def bends(
    mean: np.ndarray, ratios: np.ndarray, n_studies: int, n_prompts: int
) -> Iterator[xr.Dataset]:
    """Inflections of studies whose prompts differ in level and sensitivity around a mean curve."""
    rng = np.random.default_rng(7)
    for seed in range(n_studies):
        size = rng.normal(1, 0.2, (n_prompts, 1))
        level = rng.normal(0, 0.1, (n_prompts, 1))
        curves = size * mean + level + rng.normal(0, NOISE, (n_prompts, len(ratios)))
        y = xr.DataArray(
            curves.T,
            dims=("condition", "prompt"),
            coords={"keep_ratio": ("condition", ratios)},
            name="ssim_dissimilarity",
        )
        yield subset_ratio.inflection(y, Resampling(n_resamples=199, seed=seed))


@pytest.mark.parametrize("sweep", SWEEPS)
@pytest.mark.parametrize("shape", SMOOTH)
def test_a_smooth_curve_has_a_corner_in_at_most_10_percent(shape: str, sweep: str) -> None:
    ratios = SWEEPS[sweep]
    said = knees(SMOOTH[shape](ratios), ratios, STUDIES // 10)
    found = np.mean([word in subset_ratio.POINTS for word in said])
    smooth = np.mean([word == subset_ratio.SMOOTH for word in said])
    print(f"\n{shape}, sweep {sweep}: corner {found:.3f}, smooth {smooth:.3f}")
    assert found <= 0.10 + 2 * np.sqrt(0.10 * 0.90 / (STUDIES // 10))


def slope_change(ratios: np.ndarray, knot: float, n_prompts: int) -> float:
    """Ten standard errors of the slope change of the fitted line, whose knot is not known."""
    rng = np.random.default_rng(0)
    hinge = np.maximum(knot - ratios, 0)
    change = 1.0
    for _ in range(6):
        noise = rng.normal(0, NOISE / np.sqrt(n_prompts), (2000, len(ratios)))
        line = broken_line.fit(ratios, noise - change * hinge)
        low, high = np.quantile(line.slope_below - line.slope_above, [0.16, 0.84])
        change = 5 * float(high - low)
    return change


@pytest.mark.parametrize(
    ("knot", "n_prompts", "least"),
    [
        (0.2, 24, 0.9),
        (0.3, 24, 0.8),
        (0.5, 24, 0.45),
        (0.6, 24, 0.65),
        (0.5, 36, 0.75),
        (0.6, 30, 0.75),
    ],
)
def test_a_corner_of_ten_standard_errors_is_found(
    knot: float, n_prompts: int, least: float
) -> None:
    """Of 24 prompts; most seldom in the middle of the sweep, where a parabola comes nearest to it."""
    n_studies = STUDIES // 5
    change = slope_change(DEFAULT, knot, 24)
    said = knees(-change * np.maximum(knot - DEFAULT, 0), DEFAULT, n_studies, n_prompts)
    found = np.mean([word in subset_ratio.POINTS for word in said])
    smooth = np.mean([word == subset_ratio.SMOOTH for word in said])
    print(f"\nknot {knot}, slope change {change:.2f}, {n_prompts} prompts: ", end="")
    print(f"corner {found:.3f}, smooth {smooth:.3f}")
    assert smooth <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / n_studies)
    assert found >= least


@pytest.mark.parametrize(("knot", "enough"), [(0.3, 20), (0.5, 35), (0.6, 28)])
def test_the_prompts_that_a_corner_needs_are_not_promised_too_few(knot: float, enough: int) -> None:
    """Against the number that reached a power of .8, by studies of half as many that leave it open."""
    mean = -slope_change(DEFAULT, knot, 24) * np.maximum(knot - DEFAULT, 0)
    told = []
    for found in bends(mean, DEFAULT, STUDIES // 5, 12):
        if str(found["verdict"].sel(part="ratio").values) == subset_ratio.NOT_DISTINCT:
            told.append(float(found["estimate"].sel(part="prompts_needed")))
    low, middle, high = np.nanquantile(told, [0.1, 0.5, 0.9])
    print(
        f"\nknot {knot}, {enough} are enough: {len(told)} say {middle:.0f} ({low:.0f}-{high:.0f})"
    )
    assert enough < middle < 3 * enough
    assert np.mean(np.array(told) < 0.8 * enough) <= 0.15


DESIGN = Design(
    "factorial",
    tuple(
        Condition("-".join(cell), dict(zip((f.name for f in FACTORS), cell, strict=True)))
        for cell in CELLS
    ),
    FACTORS,
    "stochastic-original-full",
)
PROBED = {
    "argmax-original-full": "argmax",
    "stochastic-original-subset": "subset",
    "stochastic-paraphrase-full": "paraphrase",
}
STRATEGIES = {
    "diversity-prioritized": {"argmax": -1.0, "subset": -1.0, "paraphrase": 1.0},
    "decoupled": {"argmax": 1.0, "subset": -1.0, "paraphrase": -1.0},
}
"""Changes by each probe, in margins: all at the edge of what the strategy allows."""


@pytest.mark.parametrize("n_prompts", [12, 24])
@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_is_called_mixed_in_at_most_5_percent(name: str, n_prompts: int) -> None:
    rng = np.random.default_rng(n_prompts)
    margin = 0.05
    said = []
    for seed in range(200):
        y = xr.DataArray(
            rng.normal(1, 0.1, (1, n_prompts)) + rng.normal(0, 0.1, (8, n_prompts)),
            dims=("condition", "prompt"),
            coords={"condition": DESIGN.names},
        )
        for condition, probe in PROBED.items():
            y.loc[{"condition": condition}] += STRATEGIES[name][probe] * margin
        how = Resampling(n_resamples=499, seed=seed)
        said.append(str(strategy.evidence(y, DESIGN, margin, True, how)["strategy"].values))
    wrong = np.mean([word == "mixed" for word in said])
    print(
        f"\n{name}, {n_prompts} prompts: mixed {wrong:.3f}, named {np.mean([w == name for w in said]):.3f}"
    )
    assert wrong <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)
