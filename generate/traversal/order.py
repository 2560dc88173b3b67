"""Orders of unmasking: which of the open positions a step commits, and how probable that was.

A step ranks its open positions, perturbs the ranks by Gumbel noise of some scale, and commits the
best n. The confidence order ranks candidate tokens by their log-probability (Chang et al. 2022,
doi:10.1109/CVPR52688.2022.01103). The others do not look at candidates, so that positions S and
tokens z are independent given the state s: q(S, z_S | s) = q(S | s) prod p_i(z_i), and q(S | s) is
that of a Plackett-Luce race (Yellott 1977, doi:10.1016/0022-2496(77)90026-8). The entropy-bounded
order has no noise, and chooses n itself.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass, replace
from itertools import count

import torch
from torch import Tensor

from generate.errors import ModelError
from generate.traversal.draw import LN2, entropy, surprisal
from generate.traversal.path_probability import (
    exact_surprisals,
    race_surprisal,
    set_surprisal_given_candidates,
)
from generate.traversal.step import Step
from schemas.study import OrderName

WARM = 0.5
"""Least path temperature of proposals: they must reach every path that other candidates allow."""


class Order(abc.ABC):
    """The law by which a step of a masked traversal chooses the positions it commits.

    Tokens, ranks and masks are (sample, position), surprisals (sample,) in bits. `is_open` has as
    many open positions in every sample, `temperature` is the path temperature of the step.
    """

    @abc.abstractmethod
    def candidates(self, step: Step) -> Tensor:
        """Tokens that the step may commit, int64."""

    @abc.abstractmethod
    def rank(self, step: Step, tokens: Tensor) -> Tensor:
        """What positions are ranked by, the largest first, before noise."""

    def scale(self, temperature: float) -> float:
        """Scale of the Gumbel noise on the ranks."""
        return temperature

    def select(
        self, step: Step, tokens: Tensor, is_open: Tensor, n: int, temperature: float
    ) -> Tensor:
        """The `n` open positions that a step commits, bool; ties go to the earlier position.

        `tokens` are its candidates. Raises FloatingPointError where a rank is NaN.
        """
        return best(self.perturbed(step, tokens, self.scale(temperature)), is_open, n)

    def perturbed(self, step: Step, tokens: Tensor, scale: float) -> Tensor:
        """The ranks with Gumbel noise of some scale."""
        return self.rank(step, tokens) + scale * gumbel(step.uniforms())

    @abc.abstractmethod
    def surprisals(
        self, step: Step, tokens: Tensor, is_open: Tensor, commit: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """-log2 q(S | s) of committing exactly `commit`, and -log2 q(S, z_S | s), with `tokens`.

        Under argmax tokens follow from the state, and add nothing. Infinite for positions that the
        order cannot commit.
        """

    @abc.abstractmethod
    def surprisal_given_candidates(
        self, step: Step, tokens: Tensor, is_open: Tensor, commit: Tensor, temperature: float
    ) -> Tensor:
        """-log2 q(S | c, s), given that the candidates are `tokens`."""

    @abc.abstractmethod
    def propose(
        self, step: Step, tokens: Tensor, is_open: Tensor, n: int, temperature: float
    ) -> Tensor:
        """`n` open positions of a proposed path to finished grids of these tokens, bool."""

    @abc.abstractmethod
    def proposal_surprisal(
        self, step: Step, tokens: Tensor, is_open: Tensor, commit: Tensor, temperature: float
    ) -> Tensor:
        """-log2 r(S | s, z) that `propose` gives `commit`."""


class Confidence(Order):
    """The candidates of highest log-probability, perturbed by the path temperature, first.

    Every step draws a candidate for each position anew, so what it commits says something of them.
    """

    def candidates(self, step: Step) -> Tensor:
        """Draws keyed by step and position, or modes."""
        return step.identities()

    def rank(self, step: Step, tokens: Tensor) -> Tensor:
        """Natural log-probabilities of the tokens."""
        return -LN2 * surprisal(step.probabilities, tokens)

    def surprisals(
        self, step: Step, tokens: Tensor, is_open: Tensor, commit: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """The integrals of `path_probability`; under argmax candidates follow from the state."""
        if not step.argmax:
            return exact_surprisals(step.probabilities, tokens, is_open, commit, temperature)
        modes = step.modes()
        path = self.surprisal_given_candidates(step, modes, is_open, commit, temperature)
        return path, path

    def surprisal_given_candidates(
        self, step: Step, tokens: Tensor, is_open: Tensor, commit: Tensor, temperature: float
    ) -> Tensor:
        """The race of the candidates; 0 without noise, since they then fix the order."""
        log_p = self.rank(step, tokens)
        return set_surprisal_given_candidates(log_p, is_open, commit, temperature)

    def propose(
        self, step: Step, tokens: Tensor, is_open: Tensor, n: int, temperature: float
    ) -> Tensor:
        """The given tokens ranked as if they were the candidates, at a temperature of `WARM` or more.

        Under argmax only tokens that are modes take part.
        """
        confidence = self.perturbed(step, tokens, max(temperature, WARM))
        lowest = torch.finfo(confidence.dtype).min
        possible = drawable(step, tokens)
        return best(torch.where(possible, confidence, lowest), is_open, n)

    def proposal_surprisal(
        self, step: Step, tokens: Tensor, is_open: Tensor, commit: Tensor, temperature: float
    ) -> Tensor:
        """The race of the tokens that take part."""
        possible = is_open & drawable(step, tokens)
        log_p = self.rank(step, tokens)
        return set_surprisal_given_candidates(log_p, possible, commit, max(temperature, WARM))


class CandidateFree(Order):
    """An order that does not look at candidates: what is committed is drawn after it was chosen.

    Each position is drawn once, with the numbers that the execution stream holds for step 0, so
    that these orders are paired draw by draw. Paths to given tokens are proposed by the order itself.
    """

    def candidates(self, step: Step) -> Tensor:
        """Draws keyed by position alone, or modes; those that are not committed are never seen."""
        return replace(step, index=0).identities()

    def surprisals(
        self, step: Step, tokens: Tensor, is_open: Tensor, commit: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """The race of the ranks, and with it the bits of the tokens committed."""
        ranks = self.rank(step, tokens)
        path = race_surprisal(ranks, is_open, commit, self.scale(temperature))
        return path, path + _committed_bits(step, tokens, commit)

    def surprisal_given_candidates(
        self, step: Step, tokens: Tensor, is_open: Tensor, commit: Tensor, temperature: float
    ) -> Tensor:
        """That of the positions alone, for candidates say nothing of them."""
        return self.surprisals(step, tokens, is_open, commit, temperature)[0]

    def warm(self, temperature: float) -> float:
        """Scale of the noise in proposals."""
        return self.scale(temperature)

    def propose(
        self, step: Step, tokens: Tensor, is_open: Tensor, n: int, temperature: float
    ) -> Tensor:
        """Positions chosen as ever, whatever the tokens."""
        return best(self.perturbed(step, tokens, self.warm(temperature)), is_open, n)

    def proposal_surprisal(
        self, step: Step, tokens: Tensor, is_open: Tensor, commit: Tensor, temperature: float
    ) -> Tensor:
        """The race of the ranks."""
        ranks = self.rank(step, tokens)
        return race_surprisal(ranks, is_open, commit, self.warm(temperature))


class Random(CandidateFree):
    """Any n of the M open positions, each set with probability 1 / C(M, n)."""

    def rank(self, step: Step, tokens: Tensor) -> Tensor:
        """Nothing: the noise alone decides."""
        return torch.zeros_like(tokens, dtype=torch.float64)

    def scale(self, temperature: float) -> float:
        """One, for the scale of noise alone does not matter."""
        return 1.0


class Entropy(CandidateFree):
    """Positions of the least entropy first, perturbed by the path temperature."""

    def rank(self, step: Step, tokens: Tensor) -> Tensor:
        """Negative entropies of the laws, in nats."""
        return -LN2 * entropy(step.probabilities)

    def warm(self, temperature: float) -> float:
        """At least `WARM`, so that paths of other laws, such as those of another text, are reached."""
        return max(temperature, WARM)


@dataclass(frozen=True)
class Fixed(CandidateFree):
    """The positions in one order for all samples: `places` (position,) is where each comes in it.

    >>> Fixed(raster((2, 2))).places.tolist(), Fixed(halton((2, 2))).places.tolist()
    ([0, 1, 2, 3], [2, 0, 1, 3])
    """

    places: Tensor

    def rank(self, step: Step, tokens: Tensor) -> Tensor:
        """The earlier the larger."""
        return -self.places.to(tokens.device).double().expand(tokens.shape)

    def scale(self, temperature: float) -> float:
        """No noise."""
        return 0.0


@dataclass(frozen=True)
class EntropyBounded(CandidateFree):
    """As many positions of least entropy as depend little on each other; no noise, no schedule.

    A step commits the longest run of open positions, by rising entropy, whose entropies but for the
    last one's add up to at most `bound` bits: that is the most that their joint law may differ from
    the product of their laws. One position is always committed, and all that are left at the last
    step. S follows from the state, so q(S | s) is 0 or 1, and tokens have one path.
    Source: Ben-Hamu et al. (2025), arXiv:2505.24857.
    """

    bound: float

    def rank(self, step: Step, tokens: Tensor) -> Tensor:
        """Negative entropies of the laws, in bits, as the bound is.

        Float64, so that sums of many of them are held against it without rounding.
        """
        return -entropy(step.probabilities).double()

    def scale(self, temperature: float) -> float:
        """No noise, whatever the path temperature.

        So samples differ in their paths by their tokens alone.
        """
        return 0.0

    def select(
        self, step: Step, tokens: Tensor, is_open: Tensor, n: int, temperature: float
    ) -> Tensor:
        """The positions within the bound, whatever `n` the schedule has; none of a full grid.

        Raises FloatingPointError where an entropy is NaN.
        """
        if step.is_last:
            return is_open
        bits = -_without_nan(self.rank(step, tokens))
        bits = bits.masked_fill(~is_open, torch.inf)
        ascending, places = bits.sort(dim=-1, stable=True)
        before = ascending.cumsum(dim=-1).roll(1, dims=-1)
        before[:, 0] = 0.0
        return torch.zeros_like(is_open).scatter(-1, places, before <= self.bound) & is_open

    def surprisals(
        self, step: Step, tokens: Tensor, is_open: Tensor, commit: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """No bits for the positions within the bound, and those of their tokens."""
        within = self.select(step, tokens, is_open, 0, temperature)
        path = torch.where((commit == within).all(dim=-1), 0.0, torch.inf).double()
        return path, path + _committed_bits(step, tokens, commit)

    def propose(
        self, step: Step, tokens: Tensor, is_open: Tensor, n: int, temperature: float
    ) -> Tensor:
        """The one path of the tokens: the positions that the state has within the bound.

        Under another text the same tokens may have another path.
        """
        return self.select(step, tokens, is_open, n, temperature)

    def proposal_surprisal(
        self, step: Step, tokens: Tensor, is_open: Tensor, commit: Tensor, temperature: float
    ) -> Tensor:
        """No bits, for there is nothing to choose.

        A path that was not proposed has infinite `surprisals` instead.
        """
        return torch.zeros(len(commit), dtype=torch.float64, device=commit.device)


def order(
    name: OrderName, grid: tuple[int, int] | None = None, entropy_bound: float = 0.0
) -> Order:
    """The order of a name.

    `grid`, the rows and columns of the positions, is asked by `halton` and `raster`, and
    `entropy_bound`, in bits, by `entropy_bounded` alone. Raises ModelError where the grid lacks.
    """
    match name:
        case "confidence":
            return Confidence()
        case "random":
            return Random()
        case "entropy":
            return Entropy()
        case "entropy_bounded":
            return EntropyBounded(entropy_bound)
    if grid is None:
        raise ModelError(
            f"order '{name}' needs to know the grid: pass `grid=self.identity.grid` to "
            "`masked.traverse`, or leave the order out of the experiment."
        )
    return Fixed(raster(grid) if name == "raster" else halton(grid))


def raster(grid: tuple[int, int]) -> Tensor:
    """Place of each position in raster order, (position,) int64."""
    return torch.arange(math.prod(grid))


def halton(grid: tuple[int, int]) -> Tensor:
    """Place of each position in the order that the Halton sequence first meets it, (position,).

    Points lie at the radical inverses of 1, 2, 3, ... in base 2 across and in base 3 down, so that
    neighbours in time lie far apart. Source: Halton (1960), doi:10.1007/BF01386213; as an order of
    unmasking Besnier et al. (2025), arXiv:2503.17076.

    >>> halton((2, 3)).tolist()
    [3, 0, 2, 1, 4, 5]
    """
    rows, cols = grid
    places: dict[int, int] = {}
    for number in count(1):
        if len(places) == rows * cols:
            break
        position = _mirrored(number, 3, rows) * cols + _mirrored(number, 2, cols)
        places.setdefault(position, len(places))
    return torch.tensor([places[position] for position in range(rows * cols)])


def _mirrored(number: int, base: int, n_cells: int) -> int:
    """In which of the cells of [0, 1) the radical inverse lies: the digits mirrored at the point."""
    mirrored, whole = 0, 1
    while number:
        number, digit = divmod(number, base)
        mirrored, whole = mirrored * base + digit, whole * base
    return n_cells * mirrored // whole


def drawable(step: Step, tokens: Tensor) -> Tensor:
    """Whether a step can draw these tokens, bool: under argmax the modes alone."""
    if step.argmax:
        return tokens == step.modes()
    return surprisal(step.probabilities, tokens).isfinite()


def best(confidence: Tensor, is_open: Tensor, n: int) -> Tensor:
    """The `n` open positions of highest confidence in each row, bool (sample, position).

    Ties go to the earlier position. Raises FloatingPointError where a confidence is NaN.

    >>> best(torch.tensor([[3.0, 1.0, 1.0]]), torch.tensor([[False, True, True]]), n=1)
    tensor([[False,  True, False]])
    """
    confidence = _without_nan(confidence.masked_fill(~is_open, -torch.inf))
    ranked = confidence.argsort(dim=-1, descending=True, stable=True)
    return torch.zeros_like(confidence, dtype=torch.bool).scatter(-1, ranked[:, :n], True)


def _committed_bits(step: Step, tokens: Tensor, commit: Tensor) -> Tensor:
    """Bits of the tokens (sample, position) that a step commits, (sample,) float64; 0 of modes."""
    if step.argmax:
        return torch.zeros(len(tokens), dtype=torch.float64, device=tokens.device)
    return surprisal(step.probabilities, tokens).double().where(commit, 0.0).sum(dim=-1)


def _without_nan(confidence: Tensor) -> Tensor:
    """The confidences; raises FloatingPointError where one is NaN."""
    if confidence.isnan().any():
        raise FloatingPointError(
            "a confidence is NaN: the logits or the noise of this step are broken."
        )
    return confidence


def gumbel(uniform: Tensor) -> Tensor:
    """Standard Gumbel noise -log(-log u) of uniforms in [0, 1), of any shape, always finite.

    A uniform of 0 counts as the smallest normal number of its type.

    >>> gumbel(torch.tensor([0.0, 0.5], dtype=torch.float64))
    tensor([-6.5630,  0.3665], dtype=torch.float64)
    """
    tiny = torch.finfo(uniform.dtype).tiny
    exponential = -torch.log(uniform.clamp(min=tiny))
    return -torch.log(exponential.clamp(min=tiny))
