"""The subset ratio of the main study: where diversity bends, as long as quality holds (paper, section 4.4.1).

Diversity is a curve over the share of codes kept; its inflection point is where the slope changes. Quality is compared
with the full codebook at each ratio that was swept. `offer` puts the two together.
"""

from __future__ import annotations

import numpy as np
import scipy
import xarray as xr

from ibstats.kernels import broken_line
from ibstats.kernels.resampling import resampling_weights
from ibstats.quantities import preferred, quantity
from ibstats.statistics import significance
from ibstats.statistics.uncertainty import Resampling

ALPHA = 0.05

KNEE_NOTE = (
    "knot (from the second to the second to last ratio) of the least-squares two-segment line of mean diversity over "
    "the share of codes kept; interval by resampling prompts, expanded percentile; p that the slope changes at all by "
    "sign flips, max-T over knots"
)
"""The estimator of the inflection point, as every output states it."""

EDGE_NOTE = "edge: the interval reaches the second or second to last ratio, so the point may lie beyond; sweep further"
"""Said of an inflection point that the sweep may not enclose."""

OFFER_NOTE = (
    "the larger of the inflection point and the smallest swept ratio from which on no ratio loses quality; a loss is a "
    "change for the worse against the full codebook with p < .05, Holm over ratios; no significant loss is not "
    "equivalence"
)
"""The rule of the offer, as every output states it."""

FOUND, AT_EDGE, NOT_FOUND = "found", "found at the edge", "not found"
STABLE, FALLS, FALLS_AT_LARGEST = (
    "quality stable",
    "quality falls",
    "quality falls at the largest ratio",
)
NOT_MEASURED, NO_POINT = "quality not measured", "no inflection point"


def inflection(y: xr.DataArray, how: Resampling) -> xr.Dataset:
    """Where diversity over the share of codes kept changes its slope.

    Parameters: `y (condition, prompt)` with the coordinate `keep_ratio (condition)`; `how`.
    Returns over `part` (ratio, slope_below, slope_above) `estimate` with `low` and `high`, in
    shares of the codebook for the ratio and in the unit of `y` per share for the slopes; `p_max_t`
    that there is a change at all; `verdict`, of the ratio alone: found (p below 0.05), found at the
    edge (the interval reaches the outermost ratios that a knot may have, beyond which it cannot
    cover) or not found. Undefined (NaN, not found) for fewer than five ratios and for a curve
    without variation. See `KNEE_NOTE` for the estimator; the percentiles are expanded for few
    prompts as in Hesterberg (2015), doi:10.1080/00031305.2015.1089789.
    """
    order = np.argsort(y["keep_ratio"].values)
    ratios = y["keep_ratio"].values[order]
    curves = y.transpose("prompt", "condition").values[:, order]
    parts = ["ratio", "slope_below", "slope_above"]
    estimate, low, high = np.full(3, np.nan), np.full(3, np.nan), np.full(3, np.nan)
    p, verdict = np.nan, NOT_FOUND
    if len(ratios) >= broken_line.MIN_POINTS and np.ptp(curves.mean(axis=0)) > 0:
        estimate = np.array(broken_line.fit(ratios, curves.mean(axis=0)))
        low, high = _bounds(ratios, curves, how)
        p = _p_of_a_change(ratios, curves, how)
        if p < ALPHA:
            at_edge = low[0] <= ratios[1] or high[0] >= ratios[-2]
            verdict = AT_EDGE if at_edge else FOUND
    note = f"{KNEE_NOTE}; {EDGE_NOTE}" if verdict == AT_EDGE else KNEE_NOTE
    slope_unit = f"{quantity(str(y.name)).unit} per share of the codebook"
    return xr.Dataset(
        {
            "estimate": ("part", estimate),
            "low": ("part", low),
            "high": ("part", high),
            "p_max_t": ("part", np.full(3, p)),
            "verdict": ("part", np.array([verdict, "", ""], dtype=object)),
            "note": ("part", np.array([note, "", ""], dtype=object)),
            "units": ("part", np.array(["1", slope_unit, slope_unit], dtype=object)),
        },
        coords={"part": parts},
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
    resampled = resampling_weights(n, how.n_resamples, rng) @ curves / n
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


def losses(contrasts: xr.Dataset, keep_ratio: xr.DataArray) -> xr.Dataset:
    """Which ratios lose quality against the full codebook, over `(quantity, effect)`.

    Parameters: `contrasts`, the tested changes of every score at every ratio; `keep_ratio
    (effect)`, the share each kept. Added to them: `lost`, a change for the worse with an adjusted p
    below 0.05; `keep_ratio`; and `stable_from (quantity)`, the smallest ratio from which on none
    lost, NaN where the largest one did: a ratio below one that lost is not taken for stable,
    whatever its own p. A change without variation over prompts has no test: it is a loss if it is
    for the worse. A ratio that did not lose is not shown to be equivalent.
    """
    found = contrasts.transpose("quantity", "effect", ...)
    signs = []
    for name in found["quantity"].values:
        signs.append(1.0 if quantity(str(name)).better == "larger" else -1.0)
    worse = found["estimate"].values * np.array(signs)[:, None] < 0
    significant = (found["p_holm"].values < ALPHA) | found["degenerate"].values
    lost = worse & significant
    ratios = keep_ratio.values
    order = np.argsort(-ratios)
    n_stable = np.logical_and.accumulate(~lost[:, order], axis=1).sum(axis=1)
    stable_from = np.append(np.nan, ratios[order])[n_stable]
    return found.assign(
        lost=(("quantity", "effect"), lost),
        keep_ratio=("effect", ratios),
        stable_from=("quantity", stable_from),
    )


def offer(points: xr.Dataset, lost: xr.Dataset | None) -> xr.Dataset:
    """The ratio offered for the main study, over `quantity` (the distances), and what it rests on.

    The paper takes the main study's ratio "where diversity is most sensitive but quality remains
    stable": `estimate` is the larger of the inflection point in `points` and `stable_from` of the
    preferred score of `losses`. `verdict` is `quality stable` (the inflection point), `quality
    falls` (so the offer is above it), `quality falls at the largest ratio` or `no inflection point`
    (NaN), or `quality not measured`. `effect (quantity)` names the change that decides, an effect
    of `losses`: at the largest swept ratio up to the inflection point, or, where quality falls, at
    the largest one that lost; empty where there is none. The attribute `score` names the score.
    """
    measured = () if lost is None else lost["quantity"].values
    score = preferred("score", measured) or ""
    known = lost.sel(quantity=score) if lost is not None and score else None
    offered, verdicts, deciding = [], [], []
    for name in points["quantity"].values:
        point = points.sel(quantity=name, part="ratio")
        knee = np.nan
        if str(point["verdict"].values) != NOT_FOUND:
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
            said = "lost" if bool(one["lost"]) else "no significant loss"
            one = one.drop_vars(["lost", "keep_ratio", "stable_from", "note"], errors="ignore")
            deciding.append(one.assign(verdict=said).assign_coords(distance=name))
    if deciding:
        evidence: xr.Dataset = xr.concat(deciding, "distance", combine_attrs="override")
        groups["offer_evidence"] = evidence.assign_attrs({**lost.attrs, "section": "offer"})
    return groups


def _ones(n: int) -> np.ndarray:
    """Units of n shares."""
    return np.array(["1"] * n, dtype=object)


def _offer(knee: float, lost: xr.Dataset | None) -> tuple[float, str, str]:
    """Ratio, verdict and deciding effect, for one inflection point and one score."""
    if np.isnan(knee):
        return np.nan, NO_POINT, ""
    if lost is None:
        return knee, NOT_MEASURED, ""
    ratios, stable_from = lost["keep_ratio"].values, float(lost["stable_from"])
    stable = knee >= stable_from
    candidates = ratios <= knee if stable else lost["lost"].values
    effect = str(lost["effect"].values[np.argmax(np.where(candidates, ratios, -1.0))])
    if stable:
        return knee, STABLE, effect
    verdict = FALLS_AT_LARGEST if np.isnan(stable_from) else FALLS
    return stable_from, verdict, effect
