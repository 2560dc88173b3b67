"""Which codes a restricted codebook keeps, and how far the calibration knows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from generate.study.conditions import Condition
from schemas.provenance import CalibrationRecord, CodeCounts
from schemas.study import SubsetMethod

TIES = "random"
"""How codes of equal counts are ordered: in an order drawn from the study's seed."""

TIE_STREAM = 1
"""Key of the random stream that orders them, beside those of random subsets."""

LEAST_OVERLAP = 0.9
"""Below this overlap the codes kept say more of the calibration's noise than of the model."""

Counts = NDArray[np.int64]


def keep_codes(
    counts: Counts, ratio: float, method: SubsetMethod, *, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Codes that stay enabled when the codebook is cut to `ratio` of its size, (code,) bool.

    `counts` (code,) are the uses of each code on the calibration prompts. `rng` orders equal counts
    and random subsets; from one seed, smaller subsets lie within larger ones. At least one code
    stays.

    >>> keep_codes(np.array([5, 0, 9, 1]), 0.5, "drop_least_frequent", rng=np.random.default_rng(0))
    array([ True, False,  True, False])
    """
    n_codes = len(counts)
    order = rng.permutation(n_codes)
    if method != "drop_random":
        order = order[np.argsort(-counts[order], kind="stable")]
    if method == "drop_most_frequent":
        order = order[::-1]
    keep = np.zeros(n_codes, dtype=bool)
    keep[order[: _n_kept(n_codes, ratio)]] = True
    return keep


def _n_kept(n_codes: int, ratio: float) -> int:
    return max(1, round(ratio * n_codes))


def kept(cell: Condition, counts: Counts, seed: int) -> NDArray[np.bool_]:
    """The codes that a condition keeps, (code,) bool; all of them for the full codebook.

    `counts` (code,) are those of the calibration, `seed` is the study's. Counts (stratum, code)
    give codes of that shape: as many in each stratum, and the same ones where they are random.
    Every draw of a random subset has a stream of its own; ties are ordered alike in all other
    subsets.
    """
    if counts.ndim > 1:
        return np.stack([kept(cell, part, seed) for part in counts])
    if cell.subset_method == "":
        return np.ones(len(counts), dtype=bool)
    rng = np.random.default_rng([seed, cell.subset_draw])
    if cell.subset_method != "drop_random":
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(TIE_STREAM,)))
    return keep_codes(counts, cell.keep_ratio, cell.subset_method, rng=rng)


@dataclass(frozen=True)
class Certainty:
    """How far a calibration knows the codes of one subset.

    NaN where the codes were not chosen by counts, or the calibration does not say. Of codes that are
    kept by stratum they are means over the strata, and `unseen` one over all tokens.
    """

    overlap: float = np.nan
    """Share of the codes kept that a calibration without end would keep too, as expected."""
    tie_share: float = np.nan
    """Share of the codebook with the count at which it is cut; 0 where the cut parts two counts."""
    unseen: float = np.nan
    """Share of the calibration's tokens on codes that one image alone shows: the mass of codes that
    all other images do not show (Good 1953, by image).
    """


def certainty(cell: Condition, calibration: CalibrationRecord | None, seed: int) -> Certainty:
    """How far a calibration knows the codes that a condition keeps."""
    if calibration is None or cell.subset_method in ("", "drop_random"):
        return Certainty()
    parts: Sequence[CodeCounts] = calibration.strata or [calibration]
    known = [_certainty(cell, part, seed) for part in parts]
    n_tokens = [max(sum(part.counts), 1) for part in parts]
    return Certainty(
        overlap=float(np.mean([one.overlap for one in known])),
        tie_share=float(np.mean([one.tie_share for one in known])),
        unseen=float(np.average([one.unseen for one in known], weights=n_tokens)),
    )


def _certainty(cell: Condition, known: CodeCounts, seed: int) -> Certainty:
    """The same of the codes kept at some positions, by their counts there."""
    counts = np.array(known.counts, dtype=np.int64)
    keep = kept(cell, counts, seed)
    overlap = unseen = np.nan
    if known.half_counts:
        half = np.array(known.half_counts, dtype=np.int64)
        both = kept(cell, half, seed) & kept(cell, counts - half, seed + 1)
        overlap = expected_overlap(float(both.sum() / keep.sum()), float(keep.mean()))
    if known.image_counts:
        alone = np.array(known.image_counts) == 1
        unseen = float(counts[alone].sum() / max(counts.sum(), 1))
    return Certainty(overlap, tie_share(counts, keep), unseen)


def tie_share(counts: Counts, keep: NDArray[np.bool_]) -> float:
    """Share of the codes with the count at which kept and dropped ones part; 0 where none is tied.

    >>> tie_share(np.array([5, 1, 1, 0]), np.array([True, True, False, False]))
    0.5
    """
    tied = np.isin(counts, np.intersect1d(counts[keep], counts[~keep]))
    return float(tied.mean())


def expected_overlap(halves: float, ratio: float) -> float:
    """Overlap of the codes kept with those that a calibration without end keeps, a share.

    From the share of codes that two halves of the calibration both keep, and the share kept of the
    codebook. The counts of two calibrations, ranked, are taken for a bivariate normal pair: its
    correlation follows from the overlap of the halves, that of the whole from Spearman and Brown's
    formula, and its root is the correlation with the truth. Halves that agree no better than chance
    give the overlap of chance, `ratio`. Within .02 where tokens are independent, up to .05 too high
    where those of a prompt are much alike (docs/verification.md).

    Source: Spearman (1910), Brown (1910), both Br. J. Psychol. 3; the probability is Plackett's
    integral, doi:10.1093/biomet/41.3-4.351.

    >>> round(expected_overlap(0.569, 0.5), 3), expected_overlap(1.0, 0.5)
    (0.703, 1.0)
    """
    if ratio >= 1 or halves >= 1:
        return 1.0
    if halves <= ratio:
        return ratio

    def miss(correlation: float) -> float:
        """How far above that of the halves the overlap of such a pair lies."""
        return _overlap(correlation, ratio) - halves

    half = float(scipy.optimize.brentq(miss, 0.0, 1.0))
    return _overlap(float(np.sqrt(2 * half / (1 + half))), ratio)


def _overlap(correlation: float, ratio: float) -> float:
    """Chance that the second of a normal pair is among its top `ratio`, if the first is."""
    cut = float(scipy.special.ndtri(1 - ratio))

    def slope(angle: float) -> float:
        """Derivative of the chance of both, by the arc sine of the correlation."""
        return float(np.exp(-(cut**2) / (1 + np.sin(angle))) / (2 * np.pi))

    both = scipy.integrate.quad(slope, 0.0, np.arcsin(correlation))[0]
    return float(ratio + both / ratio)


def warning(label: str, names: Sequence[str], overlaps: Sequence[float]) -> str:
    """A line about the codes kept that a model's calibration knows least; empty if well enough.

    `names` and `overlaps` are those of its conditions; NaN, where none was chosen, is passed over.

    >>> warning("a", ["subset", "full"], [0.69, float("nan")])[:61]
    "model 'a': of the codes kept in 'subset' a larger calibration"
    """
    worst = np.inf
    for name, overlap in zip(names, overlaps, strict=True):
        if overlap < worst:
            worst, where = float(overlap), name
    if worst >= LEAST_OVERLAP:
        return ""
    return (
        f"model '{label}': of the codes kept in '{where}' a larger calibration would keep only "
        f"{worst:.2f} (at least {LEAST_OVERLAP} is good): the rest is chance; raise "
        "calibration.samples, or calibrate on more prompts."
    )


class CodeUse:
    """Uses of each code, summed over images: in all, in half of them, and images that show it.

    >>> use = CodeUse(n_codes=2, strata=[0, 1, 1])
    >>> use.add(np.array([[0, 1, 1], [0, 0, 1]]), in_half=np.array([True, False]))
    >>> use.counts.tolist(), [part.counts.tolist() for part in use.strata]
    ([3, 3], [[2, 0], [1, 3]])
    """

    def __init__(self, n_codes: int, strata: Sequence[int] = ()) -> None:
        """`n_codes` is the size of the codebook, `strata` the stratum of each position, if any."""
        self.stratum = np.array(strata)
        self.strata = [CodeUse(n_codes) for _ in range(max(strata, default=-1) + 1)]
        self.counts = np.zeros(n_codes, dtype=np.int64)
        self.half_counts = np.zeros(n_codes, dtype=np.int64)
        self.image_counts = np.zeros(n_codes, dtype=np.int64)

    def add(self, tokens: NDArray[np.integer[Any]], in_half: NDArray[np.bool_]) -> None:
        """Count the codes of some images `(image, position)`; `in_half` says which are in the half.

        Images that are alike, as those of one prompt, belong into one half.
        """
        for stratum, part in enumerate(self.strata):
            part.add(tokens[:, self.stratum == stratum], in_half)
        n_codes = len(self.counts)
        self.counts += np.bincount(tokens.ravel(), minlength=n_codes)
        self.half_counts += np.bincount(tokens[in_half].ravel(), minlength=n_codes)
        ordered = np.sort(tokens, axis=1)
        first = np.ones(ordered.shape, dtype=bool)
        first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        self.image_counts += np.bincount(ordered[first], minlength=n_codes)

    def recorded(self) -> dict[str, Any]:
        """The counts by their names in a record of calibration, those of each stratum as well."""
        found: dict[str, Any] = {
            "counts": self.counts.tolist(),
            "half_counts": self.half_counts.tolist(),
            "image_counts": self.image_counts.tolist(),
        }
        if self.strata:
            found["strata"] = [part.recorded() for part in self.strata]
        return found
