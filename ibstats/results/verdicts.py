"""What intervals say of a claim: it holds, is contradicted, is undecided, or cannot be decided by so few prompts.

A claim is a region of values. It holds if the whole printed interval lies in it, and is contradicted only if
the true value lies outside it beyond doubt: with an error of at most 5 % for the claim, whatever the number of
its rows, also for skewed values. Everything else is undecided.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, inf, ulp
from typing import Literal, NamedTuple

import scipy

from ibstats.kernels import hall
from schemas.results import ResultRow

Outcome = Literal["holds", "contradicted", "undecided", "undecidable"]

ALPHA = 0.05
"""Level at which differences count as found."""
BEYOND_DOUBT = 0.01
"""Two-sided p below which a value is called outside a region.

Intervals at 95 % of skewed values miss on one side alone: a lognormal (0, 1) of 12 prompts lies wholly below its
mean in 8 %. At 99 % they do in 3 % (docs/verification.md).
"""


class Estimate(NamedTuple):
    """A number with its interval, and what made it: prompts (or blocks of them) and level."""

    value: float
    low: float
    high: float
    n: int
    level: float

    def p(self, true: float) -> float:
        """Two-sided p of the true value being `true`, below 1 - level exactly where the interval leaves it out.

        By the t law, whose scale is the arm of the interval on that side. Where that is the longer arm the
        values are skewed, and the further out, the more it takes: by Hall's transformed t, of the skewness
        that the two arms show. An interval of width 0 leaves everything else out.

        >>> round(Estimate(0.5, 0.4, 0.6, n=12, level=0.95).p(0.6), 3)
        0.05
        """
        arms = self.high - self.value, self.value - self.low
        if true < self.value:
            arms = arms[1], arms[0]
        return self._p(abs(true - self.value), *arms)

    def p_above(self, other: Estimate) -> float:
        """Two-sided p that this number is no larger than another one, of independent or alike prompts; 1 if it is not.

        >>> one = Estimate(0.5, 0.4, 0.6, n=12, level=0.95)
        >>> one.p_above(Estimate(0.1, 0.0, 0.2, n=12, level=0.95)) < 0.001
        True
        """
        if self.value <= other.value:
            return 1.0
        arm = hypot(self.value - self.low, other.high - other.value)
        opposite = hypot(self.high - self.value, other.value - other.low)
        fewest = self if self.n <= other.n else other
        return fewest._p(self.value - other.value, arm, opposite)

    def _p(self, distance: float, arm: float, opposite: float) -> float:
        """p of so large a distance along an arm, which is that of the level; the other one says how skewed it is."""
        if arm <= 0:
            return 0.0 if distance > 0 else 1.0
        reach = float(scipy.special.stdtrit(self.n - 1, (1 + self.level) / 2))
        lean = hall.lean_of(arm / opposite if opposite > 0 else hall.MOST_UNEQUAL, reach)
        error = arm / -hall.untransformed(-reach, lean)
        t = hall.transformed(-distance / error, lean)
        return float(min(1.0, 2 * scipy.special.stdtr(self.n - 1, t)))

    def turned(self) -> Estimate:
        """The number times -1: what was the largest of some is the smallest."""
        return Estimate(-self.value, -self.high, -self.low, self.n, self.level)

    def share_of(self, whole: Estimate) -> Estimate:
        """This number over another one, both positive, with the interval that is sure to hold both.

        >>> Estimate(2.0, 1.0, 3.0, n=12, level=0.95).share_of(exactly(4.0)).low
        0.25
        """
        low, high = self.low / whole.high, self.high / whole.low
        return Estimate(self.value / whole.value, low, high, self.n, self.level)


def exactly(value: float) -> Estimate:
    """A number that is known, such as a capacity."""
    return Estimate(value, value, value, 2, 0.95)


def estimate_of(row: ResultRow) -> Estimate | None:
    """The number of a row with its interval; None where it is undefined or has an open interval."""
    if row.estimate is None or row.low is None or row.high is None or row.level is None:
        return None
    n = row.n_units or row.n_prompts
    return Estimate(row.estimate, row.low, row.high, n, row.level)


class Region(NamedTuple):
    """Values under which a claim is true, ends included."""

    low: float
    high: float

    def holds(self, one: Estimate) -> bool:
        """Whether the whole interval lies in it.

        >>> around(0.6, 0.05).holds(Estimate(0.6, 0.58, 0.64, n=12, level=0.95))
        True
        """
        return self.low <= one.low and one.high <= self.high

    def p(self, one: Estimate) -> float:
        """Two-sided p of the true value lying in it: that of its nearer end, 1 where the estimate lies in it."""
        if self.low <= one.value <= self.high:
            return 1.0
        return one.p(self.low if one.value < self.low else self.high)

    def is_narrow_for(self, one: Estimate) -> bool:
        """Whether the interval is too wide to lie in it, wherever its centre is."""
        return one.high - one.low > self.high - self.low


SMALLEST = ulp(0.0)
BELOW_ZERO, ABOVE_ZERO = Region(-inf, -SMALLEST), Region(SMALLEST, inf)


def around(value: float, margin: float) -> Region:
    """The region within a margin of a value.

    >>> around(0.5, 0.25)
    Region(low=0.25, high=0.75)
    """
    return Region(value - margin, value + margin)


def judged(found: Sequence[tuple[Estimate, Region]]) -> Outcome:
    """What several numbers say of a claim that is true if each lies in its region.

    It holds if every interval does; it is contradicted if, after Holm's adjustment over them, some number
    lies outside beyond doubt; it is undecidable if an interval is wider than its region. Source: Holm
    (1979), of which the smallest adjusted p is enough here.

    >>> narrow, wide = (Estimate(0.5, 0.5 - arm, 0.5 + arm, n=12, level=0.95) for arm in (0.01, 0.2))
    >>> judged([(narrow, around(0.5, 0.05))]), judged([(wide, around(0.5, 0.05))])
    ('holds', 'undecidable')
    """
    if all(region.holds(one) for one, region in found):
        return "holds"
    if len(found) * min(region.p(one) for one, region in found) < BEYOND_DOUBT:
        return "contradicted"
    if any(region.is_narrow_for(one) for one, region in found):
        return "undecidable"
    return "undecided"


def crossing(first: Estimate, second: Estimate) -> Outcome:
    """Whether two simple effects have opposite signs, each with its Holm interval beyond zero.

    Contradicted if both have the same sign beyond doubt.

    >>> up, down = Estimate(0.3, 0.2, 0.4, 12, 0.95), Estimate(-0.2, -0.3, -0.1, 12, 0.95)
    >>> crossing(up, down), crossing(up, up)
    ('holds', 'contradicted')
    """
    p = [first.p(0.0), second.p(0.0)]
    opposite = first.value * second.value < 0
    if opposite and 2 * min(p) < ALPHA and max(p) < ALPHA:
        return "holds"
    if not opposite and max(p) < BEYOND_DOUBT:
        return "contradicted"
    return "undecided"


def outstanding(one: Estimate, others: Sequence[Estimate]) -> Outcome:
    """Whether a number is larger than each of some others.

    Contradicted if, after Holm's adjustment over them, some other one is the larger beyond doubt.

    >>> low, high = Estimate(0.1, 0.0, 0.2, 12, 0.95), Estimate(0.5, 0.4, 0.6, 12, 0.95)
    >>> outstanding(high, [low, low]), outstanding(low, [low, high]), outstanding(low, [low])
    ('holds', 'contradicted', 'undecided')
    """
    if all(one.p_above(other) < ALPHA for other in others):
        return "holds"
    if len(others) * min(other.p_above(one) for other in others) < BEYOND_DOUBT:
        return "contradicted"
    return "undecided"


def peaking(curve: Sequence[Estimate]) -> Outcome:
    """Whether a curve has a point above both of its ends; undecidable without a point between them.

    It holds if some point is above both, adjusted for the number of points; it is contradicted if each
    point is below one of the ends beyond doubt.

    >>> low, high = Estimate(0.1, 0.0, 0.2, 12, 0.95), Estimate(0.5, 0.4, 0.6, 12, 0.95)
    >>> peaking([low, high, low]), peaking([high, low, low]), peaking([low, high])
    ('holds', 'contradicted', 'undecidable')
    """
    ends, inner = (curve[0], curve[-1]), curve[1:-1]
    if not inner:
        return "undecidable"
    above = [max(map(one.p_above, ends)) for one in inner]
    if len(inner) * min(above) < ALPHA:
        return "holds"
    below = []
    for one in inner:
        least = min(end.p_above(one) for end in ends)
        below.append(len(ends) * least)
    if max(below) < BEYOND_DOUBT:
        return "contradicted"
    return "undecided"
