"""Four quantizers behind one face: learned codes, and codes that are digits of the latent.

A quantizer turns the latents of an encoder (..., dim) into ids below `codes`, and ids into the
vectors (..., dim) that a decoder sees. `Fsq`, `Lfq` and `Bsq` learn nothing: their codes are the
points of a grid of `levels`, and an id is the number whose digits, most significant first, are the
levels of its dimensions. `Vq` has one digit, the row of its learned codebook.
"""

import abc
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TABLE_ROWS = 65_536
"""Codes whose vectors are kept in a table; those of larger codebooks are computed when asked for."""

JOINT_BITS = 14
"""Bits up to which the joint entropy of a batch is computed: 2^14 codes are 67 MB per 1,024 tokens."""


class Quantised(NamedTuple):
    """What a decoder sees, how it is written down, and what training adds for it."""

    vectors: Tensor  # (..., dim); gradients pass straight through to the latents
    ids: Tensor  # (...), int64, 0 to codes - 1
    loss: Tensor  # scalar, the quantizer's own term of the loss


class Quantizer(nn.Module, abc.ABC):
    """The face that all four have; latents are (..., dim), of any floating type.

    `levels` are the values of each digit of an id, most significant first, and `codes` is their
    product. Digits are decided in single precision, so half precision gives ids in range too.

    >>> quantizer = Fsq((8, 6, 5))
    >>> quantizer.codes, quantizer.digits(torch.tensor([0, 1, 5, 239])).tolist()
    (240, [[0, 0, 0], [0, 0, 1], [0, 1, 0], [7, 5, 4]])
    """

    def __init__(self, levels: Sequence[int], dim: int) -> None:
        super().__init__()
        if not levels or min(levels) < 2:
            raise ValueError(f"levels are {list(levels)}: give at least one, each of 2 or more")
        self.levels = tuple(levels)
        self.dim = dim
        self.codes = math.prod(self.levels)

    @abc.abstractmethod
    def project(self, latents: Tensor) -> Tensor:
        """Latents where the codes live, (..., dim) in single precision, not yet rounded."""

    @abc.abstractmethod
    def encode(self, latents: Tensor) -> Tensor:
        """Ids (...) int64 of latents (..., dim)."""

    @abc.abstractmethod
    def vectors(self, ids: Tensor) -> Tensor:
        """Vectors (..., dim) in single precision of `ids` (...).

        Raises IndexError, on the CPU, for an id that is no code.
        """

    @abc.abstractmethod
    def forward(self, latents: Tensor, progress: float = 1.0) -> Quantised:
        """Quantise `latents` (..., dim); `progress` is the share of the training done, 0 to 1."""

    def digits(self, ids: Tensor) -> Tensor:
        """Digits (..., len(levels)) int64 of `ids` (...), most significant first."""
        digits = []
        for level in reversed(self.levels):
            digits.append(ids % level)
            ids = ids // level
        return torch.stack(digits[::-1], -1)

    def ids(self, digits: Tensor) -> Tensor:
        """Ids (...) int64 of `digits` (..., len(levels)), most significant first."""
        ids = digits.new_zeros(digits.shape[:-1], dtype=torch.int64)
        for level, digit in zip(self.levels, digits.unbind(-1), strict=True):
            ids = ids * level + digit
        return ids


class Vq(Quantizer):
    """Learned codes on the unit sphere; the nearest code is that of largest cosine.

    The codebook follows the encoder by a moving average, and codes that fall out of use restart at
    fresh latents. The first batch of training places all of them. Source: van den Oord et al.
    (2017), "Neural Discrete Representation Learning", appendix A.1, on unit vectors as Yu et al.
    (2022), arXiv:2110.04627.
    """

    codebook: Tensor
    usage: Tensor
    commitment: ClassVar[float] = 0.25
    restart_until: ClassVar[float] = 0.8
    """Share of the training after which the codebook is only followed."""

    def __init__(self, levels: Sequence[int] = (256,), dim: int = 16) -> None:
        super().__init__(levels, dim)
        if len(self.levels) != 1:
            raise ValueError(f"levels of vq are {list(levels)}: give one number, its codes")
        self.register_buffer("codebook", F.normalize(torch.randn(self.codes, dim), dim=1))
        self.register_buffer("usage", torch.zeros(self.codes))

    def project(self, latents: Tensor) -> Tensor:
        """Latents of length one."""
        return F.normalize(latents.float(), dim=-1)

    def encode(self, latents: Tensor) -> Tensor:
        """The codes of largest cosine."""
        return self._nearest(self.project(latents))

    def vectors(self, ids: Tensor) -> Tensor:
        """Rows of the codebook; raises IndexError, on the CPU, for an id that is no code."""
        return self.codebook[ids]

    def forward(self, latents: Tensor, progress: float = 1.0) -> Quantised:
        """Quantise, and while training move the codebook; the loss pulls latents to their codes."""
        unit = self.project(latents)
        if self.training and not self.usage.any():
            self.restart(unit.detach().flatten(0, -2), torch.ones_like(self.usage).bool())
        ids = self._nearest(unit)
        seen = unit + (self.codebook[ids] - unit).detach()
        if self.training:
            self.follow(unit.detach(), ids, dead=0.05 if progress < self.restart_until else 0.0)
        loss = unit.new_zeros(())
        if self.training:
            loss = self.commitment * (unit - self.codebook[ids]).square().sum(-1).mean()
        return Quantised(seen.to(latents.dtype), ids, loss)

    @torch.no_grad()
    def follow(
        self, latents: Tensor, codes: Tensor, *, decay: float = 0.98, dead: float = 0.05
    ) -> None:
        """Move the codebook towards the latents assigned to it; restart codes used too rarely.

        `latents` are (..., D) of length one and `codes` (...) their codes; `decay` is what a step
        keeps of the old codebook. `dead` is the share of a uniform code's usage below which a code
        restarts at a latent.
        """
        flat = latents.flatten(0, -2)
        assigned = F.one_hot(codes.flatten(), self.codes).to(flat.dtype)
        counts = assigned.sum(0)
        means = F.normalize(assigned.T @ flat, dim=1)
        moved = F.normalize(decay * self.codebook + (1 - decay) * means, dim=1)
        self.codebook.copy_(torch.where(counts[:, None] > 0, moved, self.codebook))
        uniform = len(flat) / self.codes
        self.usage.mul_(decay).add_((1 - decay) * counts / uniform)
        self.restart(flat, self.usage < dead)

    @torch.no_grad()
    def restart(self, latents: Tensor, which: Tensor) -> None:
        """Put the codes marked by `which` (codes,) at random rows of unit `latents` (n, D).

        Their usage counts as that of a uniform code again. Rows may repeat; torch's global
        generator draws them.
        """
        rows = torch.randint(len(latents), (int(which.sum()),))
        self.codebook[which] = latents[rows]
        self.usage[which] = 1.0

    def _nearest(self, unit: Tensor) -> Tensor:
        return (unit @ self.codebook.T).argmax(-1)


class GridQuantizer(Quantizer):
    """A quantizer without parameters: each dimension of the latent is rounded on its own."""

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__(levels, len(levels))
        self._table: Tensor | None = None

    @abc.abstractmethod
    def round(self, projected: Tensor) -> Tensor:
        """Digits (..., dim) int64 of projected latents (..., dim)."""

    @abc.abstractmethod
    def points(self, digits: Tensor) -> Tensor:
        """Vectors (..., dim) in single precision of digits (..., dim)."""

    def own_loss(self, projected: Tensor) -> Tensor:
        """The quantizer's own term of the loss; none unless it says otherwise."""
        return projected.new_zeros(())

    def encode(self, latents: Tensor) -> Tensor:
        """The number whose digits are the levels of the dimensions."""
        return self.ids(self.round(self.project(latents)))

    def vectors(self, ids: Tensor) -> Tensor:
        """Points of the grid, from a table where there are at most `TABLE_ROWS`.

        Raises IndexError for an id that is no code.
        """
        if self.codes > TABLE_ROWS:
            if bool((ids < 0).any() | (ids >= self.codes).any()):
                raise IndexError(f"an id is outside 0 to {self.codes - 1}")
            return self.points(self.digits(ids))
        if self._table is None or self._table.device != ids.device:
            self._table = self.points(self.digits(torch.arange(self.codes, device=ids.device)))
        return self._table[ids]

    def forward(self, latents: Tensor, progress: float = 1.0) -> Quantised:
        """Quantise, with the gradient of the projected latents."""
        projected = self.project(latents)
        digits = self.round(projected.detach())
        seen = projected + (self.points(digits) - projected).detach()
        loss = self.own_loss(projected) if self.training else projected.new_zeros(())
        return Quantised(seen.to(latents.dtype), self.ids(digits), loss)


class Fsq(GridQuantizer):
    """Finite scalar quantization: each dimension is bounded by a tanh and rounded.

    A dimension of L levels is h tanh(z + atanh(o / h)) - o with h = (L - 1)(1 - `margin`) / 2 and
    o = 1/2 for an even L, else 0; rounded, it is one of the L integers from -(L // 2), and divided
    by L // 2 what the decoder sees. Two levels are -1 and 1, the sign of z. The shift makes z = 0
    the middle of its cell, for which the paper prints tan and its code atanh. A margin above
    1 / (L - 1) puts the outermost levels out of reach, which is the case from 1,001 levels on.
    Source: Mentzer et al. (2024), arXiv:2309.15505, section 3.1 and appendix A.1.

    >>> Fsq((4, 5)).encode(torch.tensor([[0.0, 0.0], [9.0, -9.0]])).tolist()
    [12, 15]
    """

    binary: Tensor
    reach: Tensor
    offset: Tensor
    width: Tensor

    def __init__(self, levels: Sequence[int], *, margin: float = 1e-3) -> None:
        super().__init__(levels)
        count = torch.tensor(self.levels, dtype=torch.float32)
        reach = (count - 1) * (1 - margin) / 2
        offset = torch.where((count % 2 == 0) & (count > 2), 0.5, 0.0)
        self.register_buffer("binary", count == 2, persistent=False)
        self.register_buffer("reach", torch.where(count == 2, 1.0, reach), persistent=False)
        self.register_buffer("offset", offset, persistent=False)
        self.register_buffer("width", count // 2, persistent=False)

    def project(self, latents: Tensor) -> Tensor:
        """Latents bounded to the range of the levels, one level being 1 / (L // 2) wide."""
        shift = torch.atanh(self.offset / self.reach)
        bounded = torch.tanh(latents.float() + shift) * self.reach - self.offset
        return bounded / self.width

    def round(self, projected: Tensor) -> Tensor:
        """The nearest level; of two levels, the sign."""
        nearest = (projected * self.width).round() + self.width
        return torch.where(self.binary, projected > 0, nearest).long()

    def points(self, digits: Tensor) -> Tensor:
        """Levels from -1 to (L - 1 - L // 2) / (L // 2); of two levels, -1 and 1."""
        centred = (digits - self.width) / self.width
        return torch.where(self.binary, 2.0 * digits - 1, centred)


class SignQuantizer(GridQuantizer):
    """What `Lfq` and `Bsq` share: one bit a dimension, the sign, and an entropy loss.

    `entropy_weight` scales the loss (`entropy_loss`) and `inverse_temperature` says how soft the
    law of a token over the codes is, exp(-t |z - code|^2) normalised: a bit is one with probability
    sigmoid(4 t z c), where the codes are -c and c in its dimension.
    """

    scale: float
    """c, the distance of a code from zero in each dimension."""

    def __init__(
        self,
        levels: Sequence[int],
        *,
        entropy_weight: float,
        inverse_temperature: float,
        group: int,
    ) -> None:
        super().__init__(levels)
        if set(self.levels) != {2}:
            raise ValueError(f"levels are {list(levels)}: signs have two, so give 2 for each bit")
        self.entropy_weight = entropy_weight
        self.inverse_temperature = inverse_temperature
        self.group = group

    def round(self, projected: Tensor) -> Tensor:
        """One where the latent is positive, else zero."""
        return (projected > 0).long()

    def points(self, digits: Tensor) -> Tensor:
        """`scale` for a one, minus `scale` for a zero."""
        return self.scale * (2.0 * digits - 1)

    def own_loss(self, projected: Tensor) -> Tensor:
        """The entropy loss of the batch, weighted."""
        logits = 4 * self.inverse_temperature * self.scale * projected.flatten(0, -2)
        return self.entropy_weight * entropy_loss(logits, group=self.group)


class Lfq(SignQuantizer):
    """Lookup-free quantization: the signs of the latent, with the joint entropy of the batch.

    Exact over all codes, so up to 14 bits. Source: Yu et al. (2024), arXiv:2310.05737, section 3.1.

    >>> Lfq((2, 2, 2)).encode(torch.tensor([0.5, -3.0, 0.1])).tolist()
    5
    """

    scale = 1.0

    def __init__(
        self,
        levels: Sequence[int],
        *,
        entropy_weight: float = 0.01,
        inverse_temperature: float = 1.0,
    ) -> None:
        super().__init__(
            levels,
            entropy_weight=entropy_weight,
            inverse_temperature=inverse_temperature,
            group=len(levels),
        )

    def project(self, latents: Tensor) -> Tensor:
        """The latents themselves."""
        return latents.float()


class Bsq(SignQuantizer):
    """Binary spherical quantization: the signs of a latent of length one, over the square root.

    The entropy of the batch is factorised, bit by bit or by groups of `group` bits. The inverse
    temperature is by default the number of bits, at which a bit is as soft as one of `Lfq` at 1 for
    latents of unit variance. Source: Zhao et al. (2024), arXiv:2406.07548, sections 4.1 and 4.2.

    >>> Bsq((2, 2, 2, 2)).vectors(torch.tensor(8)).tolist()
    [0.5, -0.5, -0.5, -0.5]
    """

    def __init__(
        self,
        levels: Sequence[int],
        *,
        entropy_weight: float = 0.01,
        inverse_temperature: float | None = None,
        group: int = 1,
    ) -> None:
        super().__init__(
            levels,
            entropy_weight=entropy_weight,
            inverse_temperature=inverse_temperature or float(len(levels)),
            group=group,
        )
        self.scale = self.dim**-0.5

    def project(self, latents: Tensor) -> Tensor:
        """Latents of length one."""
        return F.normalize(latents.float(), dim=-1)


def entropy_loss(logits: Tensor, *, group: int) -> Tensor:
    """Mean entropy of a token's code minus the entropy of the mean law, in nats.

    `logits` (token, bit) are log odds that a bit is one; the bits of a token are independent, so
    its entropy is the sum of theirs. The law of the batch is the mean over tokens: joint over
    `group` bits at a time, in the order of the bits, and summed over groups. One bit a group gives
    the factorised entropy, all bits the joint one, which never is larger. Raises ValueError for a
    group above `JOINT_BITS`.

    >>> independent = torch.tensor([[9.0, 9.0], [9.0, -9.0], [-9.0, 9.0], [-9.0, -9.0]])
    >>> round(float(entropy_loss(independent, group=2)), 2)  # log 4 below zero
    -1.38
    """
    if group > JOINT_BITS:
        raise ValueError(
            f"the joint entropy of {group} bits is over 2^{group} codes: take at most {JOINT_BITS} "
            "bits, or bsq with groups of bits"
        )
    ones = logits.sigmoid()
    of_a_token = (F.softplus(logits) - logits * ones).sum(-1).mean()
    of_the_batch = logits.new_zeros(())
    for bits in torch.split(ones, group, dim=-1):
        of_the_batch = of_the_batch + torch.special.entr(_joint_law(bits).mean(0)).sum()
    return of_a_token - of_the_batch


def _joint_law(ones: Tensor) -> Tensor:
    """Law (token, 2^bits) of ids whose bits are independently one with probability (token, bit)."""
    law = ones.new_ones(len(ones), 1)
    for bit in ones.unbind(-1):
        law = (law[:, :, None] * torch.stack([1 - bit, bit], -1)[:, None]).flatten(1)
    return law


GEOMETRIES: Mapping[str, type[Quantizer]] = MappingProxyType(
    {"vq": Vq, "fsq": Fsq, "lfq": Lfq, "bsq": Bsq}
)


class Geometry(NamedTuple):
    """A kind of quantizer, a key of `GEOMETRIES`, and its levels."""

    kind: str
    levels: tuple[int, ...]

    def make(self) -> Quantizer:
        """The quantizer, untrained where there is something to train."""
        if self.kind not in GEOMETRIES:
            raise ValueError(f"quantizer is '{self.kind}': choose one of {', '.join(GEOMETRIES)}")
        quantizer: type = GEOMETRIES[self.kind]
        made: Quantizer = quantizer(self.levels)
        return made


LAB: Mapping[str, Geometry] = MappingProxyType(
    {
        "vq": Geometry("vq", (256,)),
        "fsq": Geometry("fsq", (4, 4, 4, 4)),
        "fsq-865": Geometry("fsq", (8, 6, 5)),
        "lfq": Geometry("lfq", (2,) * 8),
        "bsq": Geometry("bsq", (2,) * 8),
    }
)
"""The quantizers of the trio at equal capacity, 8 bits; 8 x 6 x 5 is 240 codes, 7.9 bits."""

DIALS: Mapping[str, Geometry] = MappingProxyType(
    {
        "vq": LAB["vq"],
        "vq-64": Geometry("vq", (64,)),
        "fsq": LAB["fsq"],
        "fsq-444": Geometry("fsq", (4, 4, 4)),
        "lfq": LAB["lfq"],
        "lfq-10-bits": Geometry("lfq", (2,) * 10),
        "bsq": LAB["bsq"],
        "bsq-10-bits": Geometry("bsq", (2,) * 10),
        "vq-16": Geometry("vq", (16,)),
        "fsq-44": Geometry("fsq", (4, 4)),
        "bsq-6-bits": Geometry("bsq", (2,) * 6),
    }
)
"""Four quantizers of the lab with several numbers of codes each, to compare H(Z) at equal PSNR.

`studies/trainings.py` does; their weights are not shipped.
"""
