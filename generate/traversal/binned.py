"""Laws of a large codebook in some hundred bins, so that one matrix product serves all positions.

With p = p_b (1 + e) in a bin around p_b and y = p_b^(1/T) t, a function of w t is a polynomial in
e: exp(-w t), say, is

    exp(-y) (1 - (y / T) e - (y / T) ((1 - y) / T - 1) e^2 / 2 - ...)

up to terms of (e / T)^4. So of a law the moments of its mass times 1, e, e^2, e^3 are kept in every
bin. Bins are those of floating-point numbers, an exponent and some leading bits: to file a probability
takes a shift and no logarithm, and sums are exact to rounding whatever the bins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

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
SAVED_BITS = 2
SETTLED = -6.0
"""Where log w t stays below this, w t is so small that bins do with `SAVED_BITS` fewer bits."""
LATE = 6.5
"""log of w t above which exp(-w t) is nothing at all."""
CACHED = 1 << 16
"""Probabilities filed at once on a CPU: as many as stay in its cache. Elsewhere `AT_ONCE`."""
AT_ONCE = 1 << 24


@dataclass(frozen=True)
class Bins:
    """Bins of float32 numbers in [0, 1] by their bit patterns, which rise with the numbers.

    Patterns from `lowest` to `highest` are filed without their last `shift` bits; those from
    `narrow_from` on and below `narrow_to`, if any, without their last `narrow_shift` instead. What
    is lower than `lowest` must have no mass.
    """

    lowest: int
    highest: int
    shift: int
    narrow_from: int = 0
    narrow_to: int = 0
    narrow_shift: int = 0

    @classmethod
    def rough(cls, lowest: int = 0, highest: int = ONE) -> Bins:
        """Bins of `ROUGH_BITS` between two patterns."""
        return cls(lowest, highest, MANTISSA - ROUGH_BITS)

    def refined(self, log_wt_low: float, log_wt_high: float, temperature: float) -> Bins:
        """Bins over the same numbers, narrow enough for the nodes of an integral.

        `log_wt_low` is log t at the last node and `log_wt_high` at the first one: they say which
        log p can matter there.
        """
        bits = max(LEAST_BITS, math.ceil(math.log2(FINENESS / temperature)) - 1)
        shift = MANTISSA - bits
        if bits == LEAST_BITS:
            return Bins(self.lowest, self.highest, shift)
        low = _pattern(temperature * (SETTLED - log_wt_low))
        high = _pattern(temperature * (LATE - log_wt_high))
        low = max(low, self.lowest) >> shift << shift
        high = (min(high, self.highest) >> shift) + 1 << shift
        return Bins(self.lowest, self.highest, shift + SAVED_BITS, low, max(low, high), shift)

    @property
    def n_wide(self) -> int:
        """Bins of the wide kind, the ones that narrow ones replace among them."""
        return (self.highest >> self.shift) - (self.lowest >> self.shift) + 1

    def __len__(self) -> int:
        return self.n_wide + ((self.narrow_to - self.narrow_from) >> self.narrow_shift)

    def log_p(self, device: torch.device) -> Tensor:
        """log of the middle of every bin, (bin,) float64."""
        wide = torch.arange(self.n_wide, dtype=torch.int32, device=device)
        narrow = torch.arange(len(self) - self.n_wide, dtype=torch.int32, device=device)
        wide = (wide + (self.lowest >> self.shift)) << self.shift
        narrow = (narrow << self.narrow_shift) + self.narrow_from
        middles = [_middle(wide, self.shift), _middle(narrow, self.narrow_shift)]
        return torch.log(torch.cat(middles).view(torch.float32).double())

    def numbers(self, p: Tensor) -> tuple[Tensor, Tensor]:
        """Number of the bin of each probability, int64, and the middle of that bin, float32."""
        pattern = p.view(torch.int32)
        number = (pattern >> self.shift) - (self.lowest >> self.shift)
        middle = _middle(pattern, self.shift)
        if self.narrow_to > self.narrow_from:
            is_narrow = (pattern >= self.narrow_from) & (pattern < self.narrow_to)
            narrow = ((pattern - self.narrow_from) >> self.narrow_shift) + self.n_wide
            number = torch.where(is_narrow, narrow, number)
            middle = torch.where(is_narrow, _middle(pattern, self.narrow_shift), middle)
        return number.clamp(min=0).long(), middle.view(torch.float32)


def _middle(pattern: Tensor, shift: int) -> Tensor:
    """Pattern of the middle of the bin that a pattern lies in."""
    return (pattern & -(1 << shift)) | (1 << shift >> 1)


def _pattern(log_p: float) -> int:
    """Bit pattern of a float32 at most 1 from its logarithm."""
    return int(torch.tensor(math.exp(min(log_p, 0.0))).view(torch.int32))


def rough_masses(laws: Tensor, rows: Tensor) -> tuple[Tensor, Bins]:
    """Masses (row, bin) of the laws (row, code) at `rows`, and the bins that they lie in."""
    bins = Bins.rough()
    masses = torch.zeros(len(rows), len(bins), device=laws.device)
    for turn in _turns(laws, rows):
        p = laws[rows[turn]]
        masses[turn].scatter_add_(-1, (p.view(torch.int32) >> bins.shift).long(), p)
    used = (masses > 0).any(dim=0).nonzero()[:, 0]
    first, last = used[[0, -1]].tolist()
    return masses[:, first : last + 1], Bins.rough(
        first << bins.shift, (last + 1 << bins.shift) - 1
    )


def moments(laws: Tensor, rows: Tensor, bins: Bins) -> Tensor:
    """Moments (row, `N_MOMENTS` bin) float64 of the laws (row, code) at `rows`, of total mass one."""
    n = len(bins)
    found = torch.zeros(len(rows), N_MOMENTS * n, dtype=torch.float64, device=laws.device)
    for turn in _turns(laws, rows):
        p = laws[rows[turn]]
        number, middle = bins.numbers(p)
        e = (p - middle) / middle
        term = p
        for start in range(0, N_MOMENTS * n, n):
            found[turn, start : start + n].scatter_add_(-1, number, term.double())
            term = term * e
        found[turn] /= found[turn, :n].sum(dim=-1, keepdim=True)
    return found


def _turns(laws: Tensor, rows: Tensor) -> Iterator[slice]:
    """Parts of `rows` that are filed at once."""
    at_once = CACHED if laws.device.type == "cpu" else AT_ONCE
    size = max(1, at_once // laws.shape[-1])
    for start in range(0, len(rows), size):
        yield slice(start, start + size)


@dataclass(frozen=True)
class Binned:
    """Laws of confidences in bins.

    `moments` (sample, position, m bin) are the first m = 1 or `N_MOMENTS` of every bin, `log_p` (bin,) the
    logs of the bins' middles, float64.
    """

    moments: Tensor
    log_p: Tensor
    temperature: float

    @property
    def n_positions(self) -> int:
        """Positions of each sample."""
        return self.moments.shape[1]

    @property
    def support(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest log w that has mass in any sample, float64."""
        return self.log_p.amin() / self.temperature, self.log_p.amax() / self.temperature

    def log_mass(self) -> Tensor:
        """log of the whole mass, (sample, position): 0."""
        return self.log_p.new_zeros(self.moments.shape[:2])

    def log_missed(self, x: Tensor) -> Tensor:
        """log F, that a confidence stays below -x, (sample, position, node)."""
        y, missed = self._at(x)
        falling = -y * missed / self.temperature
        return self._log_mean(missed, falling, torch.ones_like(y), 1 - y, 1 - 3 * y + y**2)

    def log_reached(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log (1 - F), and log of its slope along x, (sample, position, node) each."""
        y, missed = self._at(x)
        rising = y * missed / self.temperature
        once, twice = 1 - y, 1 - 3 * y + y**2
        thrice = 1 - 7 * y + 6 * y**2 - y**3
        reached = self._log_mean(-torch.expm1(-y), rising, torch.ones_like(y), once, twice)
        return reached, self._log_mean(y * missed, rising, once, twice, thrice)

    def _at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y and exp(-y), (bin, node) each."""
        y = torch.exp((self.log_p[:, None] / self.temperature + x).clamp(max=LATE))
        return y, torch.exp(-y)

    def _log_mean(
        self, value: Tensor, factor: Tensor, once: Tensor, twice: Tensor, thrice: Tensor
    ) -> Tensor:
        """log of the mean of a function of (bin, node) over each law, (sample, position, node).

        `factor` times `once`, `twice` / T and `thrice` / T^2 are its derivatives along log p, of
        which those along e are made.
        """
        a = 1 / self.temperature
        second = a * twice - once
        third = a**2 * thrice - 3 * a * twice + 2 * once
        terms = [value, factor * once, factor * second / 2, factor * third / 6]
        table = torch.cat(terms)[: self.moments.shape[-1]].to(self.moments.dtype)
        mean = self.moments @ table
        return torch.log(mean.clamp(min=torch.finfo(mean.dtype).tiny)).double()
