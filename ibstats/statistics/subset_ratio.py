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
from ibstats.statistics import significance
from ibstats.statistics.uncertainty import Resampling
from ibstats.variables import preferred_score

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
    """Where diversity over the share of codes kept changes its slope, over `part`: ratio, slope_below, slope_above.

    `estimate` with `low` and `high`, `p` that there is a change at all, and `found`: p below 0.05; `at_edge`: the
    interval reaches the outermost ratios that a knot may have (see `EDGE_NOTE`), beyond which it cannot cover.
    Undefined (NaN, not found) for fewer than five ratios and for a curve without variation. See `KNEE_NOTE` for the
    estimator; the percentiles are expanded for few prompts as in Hesterberg (2015),
    doi:10.1080/00031305.2015.1089789.
    """
    order = np.argsort(y["keep_ratio"].values)
    ratios = y["keep_ratio"].values[order]
    curves = y.transpose("prompt", "condition").values[:, order]
    n = len(curves)
    parts = ["ratio", "slope_below", "slope_above"]
    estimate, low, high, p = np.full(3, np.nan), np.full(3, np.nan), np.full(3, np.nan), np.nan
    at_edge = False
    if len(ratios) >= broken_line.MIN_POINTS and np.ptp(curves.mean(axis=0)) > 0:
        rng = np.random.default_rng(how.seed)
        resampled = resampling_weights(n, how.n_resamples, rng) @ curves / n
        tail = scipy.special.ndtr(
            np.sqrt(n / (n - 1)) * scipy.special.stdtrit(n - 1, (1 - how.level) / 2)
        )
        estimate = np.array(broken_line.fit(ratios, curves.mean(axis=0)))
        low, high = np.quantile(
            np.stack(broken_line.fit(ratios, resampled)), [tail, 1 - tail], axis=1
        )
        at_edge = bool(low[0] <= ratios[1] or high[0] >= ratios[-2])
        changes = broken_line.slope_changes(ratios, curves)
        p = float(
            np.nanmin(
                significance.sign_flip_p(changes, n_permutations=how.n_resamples, seed=how.seed)[1],
                initial=1.0,
            )
        )
    return xr.Dataset(
        {
            "estimate": ("part", estimate),
            "low": ("part", low),
            "high": ("part", high),
            "p": ((), p),
            "found": ((), bool(p < ALPHA)),
            "at_edge": ((), at_edge),
        },
        coords={"part": parts},
        attrs={
            "method": "percentile",
            "level": how.level,
            "n_resamples": how.n_resamples,
            "seed": how.seed,
            "n_prompts": n,
            "note": KNEE_NOTE,
        },
    )


def losses(contrasts: xr.Dataset, keep_ratio: xr.DataArray) -> xr.Dataset:
    """Which ratios lose quality against the full codebook, over `(quantity, effect)`.

    `contrasts` are the tested changes of every score at every ratio, `keep_ratio (effect)` the share each kept. Added
    to them: `lost`, a change for the worse with an adjusted p below 0.05; `keep_ratio`; and `stable_from (quantity)`,
    the smallest ratio from which on none lost, NaN where the largest one did: a ratio below one that lost is not taken
    for stable, whatever its own p. A change without variation over prompts has no test: it is a loss if it is for the
    worse. A ratio that did not lose is not shown to be equivalent.
    """
    found = contrasts.transpose("quantity", "effect", ...)
    worse = (
        found["estimate"].values
        * np.where(found["larger_is_better"].values == 1, 1.0, -1.0)[:, None]
        < 0
    )
    lost = worse & ((found["p_holm"].values < ALPHA) | found["degenerate"].values)
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
    """The ratio offered for the main study, over `quantity` (the distances), with the quality that it rests on.

    The paper takes the main study's ratio "where diversity is most sensitive but quality remains stable": `estimate` is
    the larger of the inflection point in `points` and `stable_from` of the preferred score of `losses` (the first that
    was measured of `PREFERRED_SCORES`). `verdict` is `quality stable` (the inflection point), `quality falls` (so the
    offer is above it), `quality falls at the largest ratio` or `no inflection point` (NaN), or `quality not measured`.
    `evidence (quantity)` names the change that decides, an effect of `losses`: at the largest swept ratio up to the
    inflection point, or, where quality falls, at the largest one that lost; '' where there is none. Attributes:
    `score`, `rule`.
    """
    score = preferred_score(() if lost is None else lost["quantity"].values) or ""
    known = lost.sel(quantity=score) if lost is not None and score else None
    offered, verdicts, evidence = [], [], []
    for quantity in points["quantity"].values:
        point = points.sel(quantity=quantity)
        knee = float(point["estimate"].sel(part="ratio")) if bool(point["found"]) else np.nan
        ratio, verdict, effect = _offer(knee, known)
        offered.append(ratio)
        verdicts.append(verdict)
        evidence.append(effect)
    return xr.Dataset(
        {
            "estimate": ("quantity", np.array(offered)),
            "verdict": ("quantity", np.array(verdicts, dtype=object)),
            "evidence": ("quantity", np.array(evidence, dtype=object)),
        },
        coords={"quantity": points["quantity"]},
        attrs={key: points.attrs[key] for key in ("n_prompts", "n_images")}
        | {"score": score, "rule": OFFER_NOTE},
    )


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
    return stable_from, FALLS_AT_LARGEST if np.isnan(stable_from) else FALLS, effect
