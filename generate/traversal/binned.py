"""Laws of a large codebook in some hundred bins, so that one matrix product serves all positions.

With p = p_b (1 + e) in a bin around p_b and y = p_b^(1/T) t, a function of w t is a polynomial in
e: exp(-w t), say, is

    exp(-y) (1 - (y / T) e - (y / T) ((1 - y) / T - 1) e^2 / 2 - ...)

up to terms of (e / T)^4. So of a law the moments of its mass times 1, e, e^2, e^3 are kept in every
bin. Bins are those of floating-point numbers, an exponent and some leading bits: to file a probability
takes a shift and no logarithm. Where T is small these are many. Then rough bins of the masses alone
come first, which say at which thresholds an integral is to be looked at, and so which codes are worth
narrow bins: of all others w t is so small there that 1 - exp(-w t) is w t, or so large that it is 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

MANTISSA = 23
"""Bits of a float32 behind its exponent."""
ONE = 127 << MANTISSA
"""Pattern of the number one."""
ROUGH_BITS = 2
"""Leading bits of the bins in which the bounds of an integral are looked for."""
ROUGHNESS = 2.0 ** -(ROUGH_BITS + 1)
"""Greatest distance of log p from the middle of such a bin."""
N_MOMENTS = 4
LEAST_BITS = 3
FINENESS = 16
"""Bins are at most T / `FINENESS` around their middle, and have at least `LEAST_BITS` bits."""
MOST_BINS = 1024
"""Bins up to which laws are filed at once, without rough bins before."""
EARLY = -20.0
"""log of w t below which 1 - exp(-w t) is w t, to 1e-9 of it."""
LATE = 6.5
"""log of w t above which exp(-w t) is nothing at all."""
CACHED = 1 << 17
"""Probabilities filed at once on a CPU: as many as stay in its cache. Elsewhere `AT_ONCE`."""
AT_ONCE = 1 << 24


@dataclass(frozen=True)
class Bins:
    """Bins of float32 numbers in [0, 1] by their bit patterns, which rise with the numbers.

    Patterns from `first` on and below `last` are filed without their last `shift` bits, of which the
    two have none.
    """

    first: int
    last: int
    shift: int

    @classmethod
    def rough(cls, lowest: int = 0, highest: int = ONE) -> Bins:
        """Bins of `ROUGH_BITS` that hold two patterns and all between."""
        shift = MANTISSA - ROUGH_BITS
        return cls(lowest >> shift << shift, (highest >> shift) + 1 << shift, shift)

    @classmethod
    def holding(cls, laws: Tensor) -> Bins:
        """Rough bins that hold all probabilities above 0.

        `laws` are float32 of any shape.

        >>> len(Bins.holding(torch.tensor([[0.5, 0.25, 0.25, 0.0]])))  # an octave, and the first of the next
        5
        """
        lowest, highest = torch.stack(laws.aminmax()).view(torch.int32).tolist()
        if lowest == 0:
            pattern = laws.view(torch.int32)
            lowest = int(pattern.where(pattern > 0, ONE).amin())
        return cls.rough(lowest, highest)

    def __len__(self) -> int:
        return (self.last - self.first) >> self.shift

    def some(self, first: int, last: int) -> Bins:
        """The bins from number `first` on and below number `last`.

        >>> bins = Bins.rough()
        >>> len(bins), len(bins.some(2, 5))
        (509, 3)
        """
        start = self.first
        return replace(self, first=start + (first << self.shift), last=start + (last << self.shift))

    def met(self, log_t_low: float, log_t_high: float, temperature: float) -> tuple[int, int]:
        """Number of the first bin of which some w t is not early, and of the first that is all late.

        The two are the lowest and highest log t that are asked for.
        """
        low = self._number(temperature * (EARLY - log_t_high))
        high = self._number(temperature * (LATE - log_t_low)) + 1
        return low, max(low, min(high, len(self)))

    def refined(self, log_t_low: float, log_t_high: float, temperature: float) -> Bins:
        """Narrower bins over those that are met, for an integral between two log t.

        All others are early or late there, see `met`.
        """
        low, high = self.met(log_t_low, log_t_high, temperature)
        return self.some(low, high).narrow(temperature)

    def narrow(self, temperature: float) -> Bins:
        """Bins over the same numbers, narrow enough for moments of a law to do.

        >>> len(Bins.rough().narrow(2.0)) / len(Bins.rough()), len(Bins.rough().narrow(0.1)) / 509
        (2.0, 32.0)
        """
        bits = max(LEAST_BITS, math.ceil(math.log2(FINENESS / temperature)) - 1)
        return replace(self, shift=MANTISSA - bits)

    def place(self, part: Bins) -> tuple[int, int]:
        """Numbers of the first bin that covers a part of these, and of the first one behind it.

        The part begins and ends where bins of these do.
        """
        return (part.first - self.first) >> self.shift, (part.last - self.first) >> self.shift

    def log_p(self, device: torch.device) -> Tensor:
        """log of the middle of every bin, (bin,) float64."""
        pattern = torch.arange(len(self), dtype=torch.int32, device=device) << self.shift
        middle = pattern + (self.first + (1 << self.shift >> 1))
        return torch.log(middle.view(torch.float32).double())

    def numbers(self, pattern: Tensor, out: Tensor | None = None) -> Tensor:
        """Number of the bin of each int32 pattern, counted from 1, int64.

        Those of lower patterns are 0, those of higher ones one more than there are bins. `out` is an
        int32 array to work in.
        """
        number = torch.bitwise_right_shift(pattern, self.shift, out=out)
        return number.sub_((self.first >> self.shift) - 1).clamp_(0, len(self) + 1).long()

    def steps(self, pattern: Tensor, out: Tensor | None = None) -> Tensor:
        """Steps of rounding from the middle of its bin to each int32 pattern, int32.

        `out` is an int32 array to work in, as for `numbers`.
        """
        inside = torch.bitwise_and(pattern, (1 << self.shift) - 1, out=out)
        return inside.sub_(1 << self.shift >> 1)

    def _number(self, log_p: float) -> int:
        """Number of the bin that a logarithm lies in, or of the nearest one."""
        number = torch.tensor(math.exp(min(log_p, 0.0)), dtype=torch.float32)
        behind = int(number.view(torch.int32)) - self.first
        return max(0, min(behind >> self.shift, len(self)))


def masses(laws: Tensor, rows: Tensor, bins: Bins) -> Tensor:
    """Masses (row, bin) of the laws (row, code) at `rows`, none of which lies outside the bins.

    Sums are float32, and good enough where bins hold some hundred codes each.
    """
    found = torch.zeros(len(rows), len(bins) + 2, device=laws.device)
    for turn in _turns(laws, rows):
        p = laws[rows[turn]]
        found[turn].scatter_add_(-1, bins.numbers(p.view(torch.int32)), p)
    return found[:, 1:-1]


def moments(laws: Tensor, rows: Tensor, bins: Bins) -> Tensor:
    """Moments (row, bin, `N_MOMENTS`) float64 of the laws (row, code) at `rows`.

    Codes of a bin are told apart by q, their steps of rounding from its middle: what is filed, in
    arrays that every turn uses again, are sums of 1, q, q^2, q^3, two at a time as a complex number.
    """
    sums = torch.empty(len(rows), len(bins), N_MOMENTS, dtype=torch.float64, device=laws.device)
    turns = list(_turns(laws, rows))
    size = len(rows[turns[0]]), laws.shape[-1]
    p, square = laws.new_empty(2, *size)
    low = laws.new_empty(size, dtype=torch.int32)
    pairs = laws.new_ones(2, *size, dtype=torch.complex64)
    filed = laws.new_empty(2, size[0], len(bins) + 2, dtype=torch.complex64)
    for turn in turns:
        n = len(rows[turn])
        pattern = torch.index_select(laws, 0, rows[turn], out=p[:n]).view(torch.int32)
        number = bins.numbers(pattern, low[:n])
        first, second = pairs[:, :n]
        q = first.imag.copy_(bins.steps(pattern, low[:n]))
        torch.mul(first, torch.mul(q, q, out=square[:n]), out=second)
        for k, pair in enumerate((first, second)):
            found = filed[k, :n].zero_().scatter_add_(-1, number, pair)
            sums[turn, :, 2 * k : 2 * k + 2] = torch.view_as_real(found)[:, 1:-1]
    return _mass_moments(sums, bins)


def _mass_moments(sums: Tensor, bins: Bins) -> Tensor:
    """Sums of p e^r in every bin from those of q^r, (row, bin, r) each; changes those.

    p is p_b (1 + e), and e is q times a constant of the bin. For the one sum that would take q^4 its
    mean over a full bin does.
    """
    middle = torch.exp(bins.log_p(sums.device))
    octave = torch.exp2(torch.floor(torch.log2(middle)))
    step = octave * 2.0**-MANTISSA / middle
    width = step * 2.0**bins.shift
    sums *= step[:, None] ** torch.arange(N_MOMENTS, device=sums.device)
    last = sums[..., 0] * (width**4 / 80)
    sums[..., :-1] += sums[..., 1:].clone()
    sums[..., -1] += last
    return sums.mul_(middle[:, None])


def log_early(laws: Tensor, rows: Tensor, bins: Bins, temperature: float) -> Tensor:
    """log of the sum of p w over the codes below all bins, (row,) float64.

    `laws` are (row, code), of which those at `rows` are asked for; -inf where no code is lower.
    """
    found = []
    for turn in _turns(laws, rows):
        p = laws[rows[turn]]
        log_p = torch.log(p.double())
        is_early = p.view(torch.int32) < bins.first
        found.append((log_p / temperature + log_p).where(is_early, -torch.inf).logsumexp(dim=-1))
    return torch.cat(found)


def _turns(laws: Tensor, rows: Tensor) -> Iterator[slice]:
    """Parts of `rows` that are filed at once."""
    at_once = CACHED if laws.device.type == "cpu" else AT_ONCE
    size = max(1, at_once // laws.shape[-1])
    for start in range(0, len(rows), size):
        yield slice(start, start + size)


@dataclass(frozen=True)
class Binned:
    """Laws of confidences in bins, each of a whole mass of one.

    `moments` (sample, position, bin, m) are the first m = 1 or `N_MOMENTS` of every bin.
    """

    moments: Tensor
    bins: Bins
    temperature: float

    @property
    def n_positions(self) -> int:
        """Positions of each sample."""
        return self.moments.shape[1]

    @property
    def support(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest log w of the bins, float64."""
        log_w = self.bins.log_p(self.moments.device) / self.temperature
        return log_w[0], log_w[-1]

    def _at(self, x: Tensor) -> tuple[slice, Tensor, Tensor]:
        """The bins met at nodes in rising order; of these y and exp(-y), (bin, node) each."""
        low, high = self.bins.met(float(x[0]), float(x[-1]), self.temperature)
        log_w = self.bins.some(low, high).log_p(x.device) / self.temperature
        y = torch.exp((log_w[:, None] + x).clamp(max=LATE))
        return slice(low, high), y, torch.exp(-y)

    def _mean(
        self, met: slice, value: Tensor, factor: Tensor, once: Tensor, twice: Tensor, thrice: Tensor
    ) -> Tensor:
        """Sum of a function of (bin, node) over the bins met, (sample, position, node).

        `factor` times `once`, `twice` / T and `thrice` / T^2 are its derivatives along log p, of
        which those along e are made.
        """
        a = 1 / self.temperature
        second = a * twice - once
        third = a**2 * thrice - 3 * a * twice + 2 * once
        terms = [value, factor * once, factor * second / 2, factor * third / 6]
        table = torch.stack(terms[: self.moments.shape[-1]], dim=1).to(self.moments.dtype)
        return (self.moments[:, :, met].flatten(2) @ table.flatten(0, 1)).double()


@dataclass(frozen=True)
class BinnedLeft(Binned):
    """Laws of confidences that are to stay below a threshold.

    `below` (sample, position, bin + 1) is the mass below each bin, and below the end of the last.
    """

    below: Tensor

    @classmethod
    def of(cls, moments: Tensor, bins: Bins, temperature: float, below: Tensor) -> BinnedLeft:
        """From moments, and the mass of codes lower than all bins, (sample, position) float64."""
        parts = torch.cat([below.unsqueeze(-1), moments[..., 0]], dim=-1)
        return cls(moments, bins, temperature, parts.cumsum(dim=-1))

    def log_missed(self, x: Tensor) -> Tensor:
        """log F, that a confidence stays below -x, (sample, position, node), x rising."""
        met, y, missed = self._at(x)
        falling = -y * missed / self.temperature
        mean = self._mean(met, missed, falling, torch.ones_like(y), 1 - y, 1 - 3 * y + y**2)
        return _log(mean + self.below[..., met.start : met.start + 1])


@dataclass(frozen=True)
class BinnedCommitted(Binned):
    """Laws of confidences that are to reach a threshold.

    `log_early` and `above` are (sample, position, bin + 1): log of the sum of p w over the codes
    below a bin, and the mass in it and above, with those of the end of the last bin.
    """

    log_early: Tensor
    above: Tensor

    @classmethod
    def of(
        cls, moments: Tensor, bins: Bins, temperature: float, log_early: Tensor, above: Tensor
    ) -> BinnedCommitted:
        """From moments, and of codes lower and higher than all bins what they come to.

        That is log of the sum of p w, and the mass, (sample, position) float64 each.
        """
        a = 1 / temperature
        terms = [1.0, a, a * (a - 1) / 2, a * (a - 1) * (a - 2) / 6][: moments.shape[-1]]
        weighted = moments @ torch.tensor(terms, dtype=moments.dtype, device=moments.device)
        each = _log(weighted.double()) + bins.log_p(moments.device) * a
        early = torch.cat(
            [log_early.unsqueeze(-1), each.masked_fill(weighted <= 0, -torch.inf)], -1
        )
        late = torch.cat([moments[..., 0], above.unsqueeze(-1)], dim=-1).flip(-1).cumsum(dim=-1)
        return cls(moments, bins, temperature, early.logcumsumexp(dim=-1), late.flip(-1))

    def log_mass(self) -> Tensor:
        """log of the whole mass, (sample, position): 0."""
        return torch.zeros_like(self.above[..., 0])

    def log_reached(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log (1 - F), and log of its slope along x, (sample, position, node) each, x rising."""
        met, y, missed = self._at(x)
        rising = y * missed / self.temperature
        once, twice = 1 - y, 1 - 3 * y + y**2
        thrice = 1 - 7 * y + 6 * y**2 - y**3
        reached = self._mean(met, -torch.expm1(-y), rising, torch.ones_like(y), once, twice)
        slope = self._mean(met, y * missed, rising, once, twice, thrice)
        reached = reached + self.above[..., met.stop : met.stop + 1]
        early = self.log_early[..., met.start : met.start + 1] + x
        return torch.logaddexp(_log(reached), early), torch.logaddexp(_log(slope), early)


def _log(mean: Tensor) -> Tensor:
    """log of sums whose rounding may put a zero below it."""
    return torch.log(mean.clamp(min=torch.finfo(torch.float64).tiny))
