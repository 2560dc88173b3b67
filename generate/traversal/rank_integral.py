"""The integral behind the probability of a step: who ranks above whom.

At the threshold -x the committed positions lie above with probability A(x) = prod (1 - F_i), those
left below with W(x) = prod F_j. The committed ones are the best with probability

    integral of W dA = integral of W A sum_i d log (1 - F_i) / dx dx.

The integrand is analytic around the real axis, so the trapezoid rule converges exponentially
(Trefethen & Weideman 2014, doi:10.1137/130932132).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from generate.traversal.confidence import Committed, Left

NEGLIGIBLE = 22.0
"""Nats below the whole at which an integral is cut off, if nothing else is said: 3e-10."""
STEP = 0.4
"""First step of the rule, at most, in x."""
AGREED = 1e-4
"""Relative difference of the rule at its nodes and between them at which their mean is exact enough."""
NODES = 32
"""Nodes worked on at once; a wide window takes several turns."""
ZOOM = 24
"""Nodes with which the bounds of an integral are looked for at a time."""


class Window(NamedTuple):
    """Bounds of the integral, in x."""

    start: float
    stop: float

    @property
    def width(self) -> float:
        """Distance of the bounds."""
        return self.stop - self.start

    def widened(self, by: float) -> Window:
        """Bounds further out on both sides."""
        return Window(self.start - by, self.stop + by)


def window_of(left: Left, committed: Sequence[Committed], negligible: float = NEGLIGIBLE) -> Window:
    """Bounds outside which integrals of all versions are less than the whole by `negligible` nats.

    W A at any x is less than the integral; what lies before `start` is less than A there, and what
    lies after `stop` less than W there times A in the end. Starts from where all or no candidates
    are above, and zooms in as long as that narrows the bounds. The first version must reach as far
    as the others. Where all is impossible, any bounds do.
    """
    (low, high), (low_committed, high_committed) = left.support, committed[0].support
    highest, lowest = torch.maximum(high, high_committed), torch.minimum(low, low_committed)
    ends = torch.stack([-highest - 2 * negligible, 4.0 - lowest])
    window = Window(*ends.tolist())
    while True:
        x = torch.linspace(*window, ZOOM, dtype=torch.float64, device=ends.device)
        log_below = left.log_missed(x).sum(dim=1)
        n_outside = []
        for version in committed:
            log_above = version.log_reached(x)[0].sum(dim=1)
            log_all = version.log_mass().sum(dim=1, keepdim=True)
            cut = (log_above + log_below).amax(dim=-1, keepdim=True) - negligible
            before, after = log_above <= cut, log_below + log_all <= cut
            n_outside.append(torch.stack([before, after]).sum(dim=-1).amin(dim=-1))
        before, after = (torch.stack(n_outside).amin(dim=0) - 1).clamp(min=0).tolist()
        if before + after >= ZOOM - 1:
            return window
        spacing = window.width / (ZOOM - 1)
        found = Window(window.start + before * spacing, window.stop - after * spacing)
        if found.width > 0.6 * window.width:
            return found
        window = found


def log_probabilities(left: Left, committed: Sequence[Committed], window: Window) -> list[Tensor]:
    """log of the integral for each version of the committed laws, (sample,) float64 each.

    The step is halved until the rule at the nodes and the rule between them agree: then the error
    of their mean is about the square of the difference or less. No peak of n positions is narrower
    than 1 / sqrt(2 n), so from the first step on none escapes both.
    """
    width = 1 / math.sqrt(2 * (left.n_positions + committed[0].n_positions))
    step = min(STEP, 4 * width)
    n_nodes = math.ceil(window.width / step) + 1
    device = committed[0].log_mass().device
    x = window.start + step * torch.arange(n_nodes, dtype=torch.float64, device=device)
    at_nodes = _log_sums(left, committed, x) + math.log(step)
    while True:
        between = _log_sums(left, committed, x + step / 2) + math.log(step)
        both = torch.logaddexp(at_nodes, between) - math.log(2.0)
        differ = torch.expm1(at_nodes - between).abs() > AGREED
        if step <= width or not differ.any():
            return list(both)
        x, step, at_nodes = torch.cat([x, x + step / 2]).sort().values, step / 2, both


def _log_sums(left: Left, committed: Sequence[Committed], x: Tensor) -> Tensor:
    """log of the integrand summed over nodes, (version, sample)."""
    parts = []
    for nodes in torch.split(x, NODES):
        log_below = left.log_missed(nodes).sum(dim=1)
        for version in committed:
            log_reached, log_slope = version.log_reached(nodes)
            growth = (log_slope - log_reached).nan_to_num(nan=0.0)  # of what is impossible
            log_density = log_below + log_reached.sum(dim=1) + growth.logsumexp(dim=1)
            parts.append(log_density.logsumexp(dim=-1))
    by_version = torch.stack(parts)
    return by_version.reshape(-1, len(committed), *by_version.shape[1:]).logsumexp(dim=0)
