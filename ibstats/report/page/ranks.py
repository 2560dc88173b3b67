"""How often each code is used, by rank: a panel a model, a dot a code, both scales logarithmic.

A dot says its code and opens the images that use it. All panels share their scales.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ibstats.selection import select
from ibstats.statistics.counting import conditions
from ibstats.store import Store

Counts = NDArray[np.int64]

HEIGHT = 150
"""Pixels of the drawing of a panel."""

MOST_DOTS = 60
"""Dots of a panel; of more codes some are left out, evenly on the logarithmic scale."""


def code_counts(store: Store, experiment: str) -> dict[str, Counts]:
    """By model, how often each code occurs in the condition without intervention, `(code,)`.

    Of all images of complete prompts; models without tokens are left out, and all of a design
    without a baseline. Raises StoreContractError for codes beyond the codebook.
    """
    found = {}
    for model in store.models():
        selection = select(store, model, experiment, allow_partial=True)
        baseline = selection.design.baseline
        if baseline is None or not selection.has("tokens") or not selection.n_prompts:
            continue
        tokens = selection.dataset["tokens"].sel(condition=[baseline])
        for counted in conditions(tokens, selection.identity.codebook_size):
            found[model] = counted.total
    return found


class _Scale(NamedTuple):
    """Decades of ranks, and of shares of the tokens, that hold every dot."""

    ranks: float
    least: int

    def across(self, rank: int) -> str:
        return f"{100 * log10(rank) / self.ranks:.4g}%"

    def down(self, share: float) -> float:
        return round(HEIGHT * log10(share) / self.least, 1)


def rank_frequency(counts: Mapping[str, Counts], experiment: str, condition: str) -> str:
    """A panel for each model as HTML; empty where no model has a token.

    `counts` by model, `(code,)`; `condition` is what they are of, in words.
    """
    used = {model: found for model, found in counts.items() if found.any()}
    if not used:
        return ""
    n_ranks, rarest = 1, 1.0
    for found in used.values():
        n_ranks = max(n_ranks, int((found > 0).sum()))
        rarest = min(rarest, float(found[found > 0].min() / found.sum()))
    scale = _Scale(max(1.0, log10(n_ranks)), min(-1, floor(log10(rarest))))
    panels = [_panel(model, found, experiment, scale) for model, found in used.items()]
    said = f"Share of the tokens against the rank of the code, {condition}. A dot is a code."
    return f'<p class="quiet">{escape(said)}</p>\n<div class="maps ranks">{"".join(panels)}</div>'


def _panel(model: str, counts: Counts, experiment: str, scale: _Scale) -> str:
    order = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]
    shares = counts[order] / counts.sum()
    parts = [_axes(scale)]
    for rank in _drawn(len(order)):
        code, share = order[rank - 1], float(shares[rank - 1])
        parts.append(
            f'<circle class="dot" cx="{scale.across(rank)}" cy="{scale.down(share)}" r="2.6" '
            f'data-code="{code}"><title>rank {rank}: code {code}, {share:.3%} of the tokens'
            "</title></circle>"
        )
    half = int(np.searchsorted(np.cumsum(shares), 0.5)) + 1
    said = f"{model}: {len(order)} of {len(counts)} codes are used; half of the tokens take {half} of them"
    label = escape(f"codes of {model} by rank")
    return (
        f'<figure><svg height="{HEIGHT}" role="img" aria-label="{label}" '
        f'data-model="{escape(model)}" data-experiment="{escape(experiment)}">{"".join(parts)}</svg>'
        f"<figcaption>{escape(said)}</figcaption></figure>"
    )


def _drawn(n_codes: int) -> Sequence[int]:
    """The ranks that have a dot, the first and the last among them.

    >>> _drawn(3)
    [1, 2, 3]
    """
    ranks = np.geomspace(1, n_codes, MOST_DOTS).round().astype(int)
    return list(map(int, np.unique(ranks)))


def _axes(scale: _Scale) -> str:
    """Decades of both scales, with their names in words."""
    parts = []
    for decade in range(ceil(scale.ranks) + 1):
        if decade <= scale.ranks:
            at = scale.across(10**decade)
            parts.append(f'<line class="tick" x1="{at}" x2="{at}" y1="0" y2="{HEIGHT}"/>')
            parts.append(
                f'<text x="{at}" y="{HEIGHT + 14}" text-anchor="middle">{10**decade}</text>'
            )
    for decade in range(0, scale.least - 1, -1):
        y = scale.down(10.0**decade)
        parts.append(f'<line class="tick" x1="0" x2="100%" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="-4" y="{y + 4}" text-anchor="end">{100 * 10.0**decade:g}%</text>')
    return "".join(parts)
