"""The subset ratio of the main study: where diversity bends, as long as quality holds (paper, section 4.4.1).

Diversity is a curve over the share of codes kept; its inflection point is a corner, where the slope changes,
if no smooth curve that levels off says as much. Quality is compared with the full codebook at each ratio that
was swept. `offer` puts the two together.
"""

from __future__ import annotations

import numpy as np
import scipy
import xarray as xr

from ibstats.kernels import bend, broken_line
from ibstats.kernels.resampling import resampled_means, resampling_weights
from ibstats.quantities import preferred, quantity
from ibstats.statistics import significance
from ibstats.statistics.uncertainty import Resampling

ALPHA = 0.05

KNEE_NOTE = (
    "knot (from the second to the second to last ratio) of the least-squares two-segment line of mean diversity "
    "over the share of codes kept; interval by resampling prompts, expanded percentile; p, the larger of two: that "
    "the slope changes at all, by sign flips, max-T over knots, and that the mean is no quadratic, saturating or "
    "power curve, the largest of their J tests by resampling prompts"
)
"""The estimator of the inflection point, as every output states it."""

EDGE_NOTE = "edge: the interval reaches the second or second to last ratio, so the point may lie beyond; sweep further"
"""Said of an inflection point that the sweep may not enclose."""

NEEDED_NOTE = (
    "prompts needed: so many would tell the fitted line from every smooth curve in 80 of 100 studies, were it the "
    "truth; a dash where no bend beyond noise is seen"
)
"""Said where few prompts leave open whether there is a corner."""


OFFER_NOTE = (
    "the larger of the inflection point and the smallest swept ratio from which on quality is stable: the "
    "interval of its change against the full codebook leaves out a loss of the margin, at each ratio from the "
    "largest down; it falls where the change is for the worse with p < .05, Holm over ratios; what is neither "
    "is inconclusive"
)
"""The rule of the offer, as every output states it."""

FOUND, AT_EDGE, NOT_FOUND = "found", "found at the edge", "not found"
SMOOTH, NOT_DISTINCT = "smooth", "no distinct bend"
POINTS = (FOUND, AT_EDGE)
"""Verdicts that there is an inflection point."""
PARTS = ("ratio", "slope_below", "slope_above", "swept_from", "swept_to", "prompts_needed")
STABLE, FALLS, FALLS_AT_LARGEST, INCONCLUSIVE = (
    "quality stable",
    "quality falls",
    "quality falls at the largest ratio",
    "quality inconclusive",
)
NOT_MEASURED, NO_POINT = "quality not measured", "no inflection point"


def inflection(y: xr.DataArray, how: Resampling) -> xr.Dataset:
    """Where diversity over the share of codes kept changes its slope.

    Parameters: `y (condition, prompt)` with the coordinate `keep_ratio (condition)`; `how`.
    Returns over `part` (ratio, slope_below, slope_above, the ends of the sweep, swept_from and
    swept_to, and prompts_needed) `estimate` with `low` and `high`, in shares of the codebook for ratios
    and in the unit of `y` per share for slopes; `prompts_needed` is, where there is no distinct bend,
    how many prompts would tell the fitted line from every smooth curve with power .8, were it the
    truth, else NaN; `p_max_t` that the slope changes at all, and `p`, the larger of it
    and that no smooth curve is the mean; `verdict`, of the ratio alone: found (p below 0.05), found
    at the edge (the interval reaches the outermost ratios that a knot may have, beyond which it
    cannot cover), smooth (the slope changes, and the broken line is refused against a smooth
    curve), no distinct bend (it changes, and neither is refused), or not found. Undefined (NaN, not
    found) for fewer than five ratios and for a curve without variation. See `KNEE_NOTE` for the
    estimator; the percentiles are expanded for few prompts as in Hesterberg (2015),
    doi:10.1080/00031305.2015.1089789; the tests are those of `ibstats.kernels.bend`.
    """
    order = np.argsort(y["keep_ratio"].values)
    ratios = y["keep_ratio"].values[order]
    curves = y.transpose("prompt", "condition").values[:, order]
    estimate, low, high = np.full(3, np.nan), np.full(3, np.nan), np.full(3, np.nan)
    p, p_corner, verdict, needed = np.nan, np.nan, NOT_FOUND, np.nan
    if len(ratios) >= broken_line.MIN_POINTS and np.ptp(curves.mean(axis=0)) > 0:
        estimate = np.array(broken_line.fit(ratios, curves.mean(axis=0)))
        low, high = _bounds(ratios, curves, how)
        p = _p_of_a_change(ratios, curves, how)
        p_corner, p_smooth, n_prompts = _corner(ratios, curves, how)
        at_edge = low[0] <= ratios[1] or high[0] >= ratios[-2]
        verdict = _verdict(p, p_corner, p_smooth, at_edge=bool(at_edge))
        if verdict == NOT_DISTINCT and np.isfinite(n_prompts):
            needed = np.ceil(n_prompts)
    more = {AT_EDGE: EDGE_NOTE, NOT_DISTINCT: NEEDED_NOTE}
    note = f"{KNEE_NOTE}; {more[verdict]}" if verdict in more else KNEE_NOTE
    slope_unit = f"{quantity(str(y.name)).unit} per share of the codebook"
    others = [*ratios[[0, -1]], needed]
    units = ["1", slope_unit, slope_unit, "1", "1", "prompts"]
    blank = [""] * (len(PARTS) - 1)
    return xr.Dataset(
        {
            "estimate": ("part", np.append(estimate, others)),
            "low": ("part", np.append(low, np.full(len(others), np.nan))),
            "high": ("part", np.append(high, np.full(len(others), np.nan))),
            "p": ("part", np.full(len(PARTS), max(p, p_corner))),
            "p_max_t": ("part", np.full(len(PARTS), p)),
            "verdict": ("part", np.array([verdict, *blank], dtype=object)),
            "note": ("part", np.array([note, *blank], dtype=object)),
            "units": ("part", np.array(units, dtype=object)),
        },
        coords={"part": list(PARTS)},
        attrs={
            "method": "percentile",
            "level": how.level,
            "n_resamples": how.n_resamples,
            "seed": how.seed,
            "n_prompts": len(curves),
        },
    )


def _bounds(
    ratios: np.ndarray, curves: np.ndarray, how: Resampling
) -> tuple[np.ndarray, np.ndarray]:
    """Expanded percentile interval of knot and slopes, `(part,)` each, by resampling prompts."""
    n = len(curves)
    rng = np.random.default_rng(how.seed)
    resampled = resampled_means(curves, how.n_resamples, rng)
    quantile = scipy.special.stdtrit(n - 1, (1 - how.level) / 2)
    tail = scipy.special.ndtr(np.sqrt(n / (n - 1)) * quantile)
    fitted = np.stack(broken_line.fit(ratios, resampled))
    low, high = np.quantile(fitted, [tail, 1 - tail], axis=1)
    return low, high


def _p_of_a_change(ratios: np.ndarray, curves: np.ndarray, how: Resampling) -> float:
    """p value that the slope changes at some knot, by sign flips, max-T over knots."""
    changes = broken_line.slope_changes(ratios, curves)
    _, p_max_t = significance.sign_flip_p(changes, n_permutations=how.n_resamples, seed=how.seed)
    return float(np.nanmin(p_max_t, initial=1.0))


def _corner(ratios: np.ndarray, curves: np.ndarray, how: Resampling) -> tuple[float, float, float]:
    """p values that the mean curve is none of the smooth ones, and that it is no broken line; prompts.

    The largest over the families, since each must be refused; the smallest, Bonferroni; and the prompts
    that would refuse the family which comes nearest.
    """
    weights = resampling_weights(len(curves), how.n_resamples, np.random.default_rng(how.seed))
    corner, families = bend.corner(ratios), bend.smooth(ratios)
    of_smooth, of_corner = [], []
    for family in families.values():
        of_smooth.append(bend.refusal(curves, family, corner, weights, ALPHA))
        of_corner.append(bend.refusal(curves, corner, family, weights).p)
    p, n_prompts = map(max, zip(*of_smooth, strict=True))
    return p, min(1.0, len(families) * min(of_corner)), n_prompts


def _verdict(p_bend: float, p_corner: float, p_smooth: float, *, at_edge: bool) -> str:
    """What the three tests say of the inflection point."""
    if p_bend >= ALPHA:
        return NOT_FOUND
    if p_corner < ALPHA:
        return AT_EDGE if at_edge else FOUND
    return SMOOTH if p_smooth < ALPHA else NOT_DISTINCT


def losses(contrasts: xr.Dataset, keep_ratio: xr.DataArray, margin: xr.DataArray) -> xr.Dataset:
    """At which ratios quality is lost against the full codebook, and at which it is stable.

    Parameters: `contrasts`, the tested changes of every score at every ratio, over `(quantity,
    effect)`, with their intervals; `keep_ratio (effect)`, the share each kept; `margin (quantity)`,
    in the unit of the score, NaN where there is none. Added to them: `lost`, a change for the worse
    with an adjusted p below 0.05, or one for the worse without variation over prompts, which has no
    test; `stable`, where the whole interval leaves out a loss of the margin; `keep_ratio`; `margin`;
    and `stable_from (quantity)`, the smallest ratio from which on all are stable, NaN where the
    largest one is not. Ratios are asked from the largest down until one is not stable, so that no
    adjustment over them is needed. Source: Maurer, Hothorn & Lehmacher (1995), in Biometrie in der
    chemisch-pharmazeutischen Industrie 6, 3-18 (ordered hypotheses).
    """
    found = contrasts.transpose("quantity", "effect", ...)
    signs = []
    for name in found["quantity"].values:
        signs.append(1.0 if quantity(str(name)).better == "larger" else -1.0)
    sign = np.array(signs)[:, None]
    worse = found["estimate"].values * sign < 0
    significant = (found["p_holm"].values < ALPHA) | found["degenerate"].values
    worst = np.where(sign > 0, found["low"].values, -found["high"].values)
    stable = worst > -margin.values[:, None]
    ratios = keep_ratio.values
    order = np.argsort(-ratios)
    n_stable = np.logical_and.accumulate(stable[:, order], axis=1).sum(axis=1)
    stable_from = np.append(np.nan, ratios[order])[n_stable]
    return found.assign(
        lost=(("quantity", "effect"), worse & significant),
        stable=(("quantity", "effect"), stable),
        keep_ratio=("effect", ratios),
        margin=("quantity", margin.values),
        stable_from=("quantity", stable_from),
    )


def offer(points: xr.Dataset, lost: xr.Dataset | None) -> xr.Dataset:
    """The ratio offered for the main study, over `quantity` (the distances), and what it rests on.

    The paper takes the main study's ratio "where diversity is most sensitive but quality remains
    stable": `estimate` is the larger of the inflection point in `points` and `stable_from` of the
    preferred score of `losses`. `verdict` is `quality stable` (the inflection point), `quality
    falls` or `quality inconclusive` (at the ratio that keeps the offer above it; NaN where that is
    the largest), `quality falls at the largest ratio` or `no inflection point` (NaN), or `quality
    not measured`. `effect (quantity)` names the change that decides, an effect of `losses`: at the
    largest swept ratio up to the inflection point, or, where the offer is above it, at the largest
    one that is not stable; empty where there is none. The attribute `score` names the score.
    """
    measured = () if lost is None else lost["quantity"].values
    score = preferred("score", measured) or ""
    known = lost.sel(quantity=score) if lost is not None and score else None
    offered, verdicts, deciding = [], [], []
    for name in points["quantity"].values:
        point = points.sel(quantity=name, part="ratio")
        knee = np.nan
        if str(point["verdict"].values) in POINTS:
            knee = float(point["estimate"])
        ratio, verdict, effect = _offer(knee, known)
        offered.append(ratio)
        verdicts.append(verdict)
        deciding.append(effect)
    return xr.Dataset(
        {
            "estimate": ("quantity", np.array(offered)),
            "verdict": ("quantity", np.array(verdicts, dtype=object)),
            "effect": ("quantity", np.array(deciding, dtype=object)),
        },
        coords={"quantity": points["quantity"].values},
        attrs={"score": score, "note": OFFER_NOTE},
    )


def offer_groups(points: xr.Dataset, lost: xr.Dataset | None) -> dict[str, xr.Dataset]:
    """The offer as groups of results: each distance's ratio, where scores are stable, the evidence.

    Parameters: `points` of `inflection` over `quantity`, with `n_prompts (quantity)`; `lost` of
    `losses`, None where no quality was measured. Returns `offer`, and where quality was measured
    `stable_from` and `offer_evidence`.
    """
    found = offer(points, lost)
    n_prompts = int(points["n_prompts"].values.max())
    shared = {"section": "offer", "note": OFFER_NOTE, "n_prompts": n_prompts}
    score = found.attrs["score"]
    ratios = found[["estimate", "verdict"]].expand_dims(part=["keep_ratio"])
    ratios = ratios.assign(units=("quantity", _ones(found.sizes["quantity"])))
    groups = {"offer": ratios.assign_attrs(shared | {"score": score})}
    if lost is None:
        return groups
    stable = lost[["stable_from"]].rename(stable_from="estimate").expand_dims(part=["stable_from"])
    stable = stable.assign(units=("quantity", _ones(lost.sizes["quantity"])))
    groups["stable_from"] = stable.assign_attrs(shared)
    deciding = []
    for name, effect in zip(found["quantity"].values, found["effect"].values, strict=True):
        if effect:
            one = lost.sel(quantity=score, effect=effect)
            said = _word(bool(one["lost"]), bool(one["stable"]))
            one = one.drop_vars(
                ["lost", "stable", "keep_ratio", "stable_from", "note"], errors="ignore"
            )
            deciding.append(one.assign(verdict=said).assign_coords(distance=name))
    if deciding:
        evidence: xr.Dataset = xr.concat(deciding, "distance", combine_attrs="override")
        groups["offer_evidence"] = evidence.assign_attrs({**lost.attrs, "section": "offer"})
    return groups


def _ones(n: int) -> np.ndarray:
    """Units of n shares."""
    return np.array(["1"] * n, dtype=object)


def _word(lost: bool, stable: bool) -> str:
    """What a change of quality shows; a loss within the margin is one that is stable."""
    if stable:
        return "stable"
    return "lost" if lost else "inconclusive"


def _offer(knee: float, lost: xr.Dataset | None) -> tuple[float, str, str]:
    """Ratio, verdict and deciding effect, for one inflection point and one score."""
    if np.isnan(knee):
        return np.nan, NO_POINT, ""
    if lost is None:
        return knee, NOT_MEASURED, ""
    ratios, stable_from = lost["keep_ratio"].values, float(lost["stable_from"])
    stable = knee >= stable_from
    candidates = ratios <= knee if stable else ~lost["stable"].values
    deciding = int(np.argmax(np.where(candidates, ratios, -1.0)))
    effect = str(lost["effect"].values[deciding])
    if stable:
        return knee, STABLE, effect
    if not lost["lost"].values[deciding]:
        return stable_from, INCONCLUSIVE, effect
    return stable_from, FALLS_AT_LARGEST if np.isnan(stable_from) else FALLS, effect
