"""Where a run comes from: software, weights, hardware."""

from __future__ import annotations

import hashlib
import math
import struct
from datetime import UTC, datetime
from typing import Any

from pydantic import Field

from schemas.study import Strict

VERSION = "1.1"


def now() -> str:
    """Give the UTC time as records have it, ISO 8601 to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Software(Strict):
    """Code and libraries that wrote something.

    It says what to install to make it again.
    """

    python: str
    code_revision: str | None
    """Git commit of the source tree, None outside a checkout."""
    code_dirty: bool | None
    libraries: dict[str, str]


class Hardware(Strict):
    """A machine, and the device that sampled on it."""

    host: str
    platform: str
    device: str
    cpu_count: int


class WeightFile(Strict):
    """One file a model was loaded from.

    Two models of equal digests have equal weights, wherever their files lie.
    """

    name: str
    bytes: int
    sha256: str


class ModelIdentity(Strict):
    """Everything that fixes the law of a model's samples, besides noise and prompts.

    Of samples made elsewhere little of it is known: then `revision` and `weights` are empty, and a
    number is 0 where there is nothing that it counts (no tokens, no images, unknown steps).
    """

    model: str
    family: str = ""
    """autoregressive, scales, masked, diffusion or another word; empty if unknown."""
    revision: str = ""
    """Version of the weights; empty if unknown."""
    weights: list[WeightFile] = Field(default=[], description="The files it was loaded from.")
    codebook_size: int = 0
    """Codes a token can have; 0 where the run holds no tokens."""
    grid: tuple[int, int] = (0, 0)
    """Rows and columns of tokens; 0 x 0 where the run holds none."""
    image_size: tuple[int, int] = (0, 0)
    """Height and width in pixels; 0 x 0 where the run holds no images and nobody knows."""
    steps: int = 0
    """Steps of a traversal; 0 if unknown."""
    options: dict[str, bool | int | float | str | None] = Field(
        default={}, description="Sampling settings."
    )
    quantizer: str = ""
    """How a code stands for a latent: vq (a learned vector), vq-l2 (a learned direction), fsq (the
    digits of the id are rounded channels), lfq and bsq (the bits of the id are the signs of the
    channels, of any length or on the unit sphere); most significant digit first; empty if the
    adapter does not say.
    """
    levels: list[int] = Field(
        default=[],
        description="Values of each digit of an id, most significant first; their product is the "
        "codebook size. Empty where ids have no digits.",
    )
    scales: list[int] = Field(
        default=[],
        description="Positions of each scale, coarsest first, of a model that goes from scale to "
        "scale, or of each grid of one that draws several token by token; they add up to those of "
        "the grid, which is one row.",
    )
    tokens_per_code: int = 1
    """Tokens that a code of the latents is written as, most significant first: more than one where
    it has more bits than a token may have.
    """
    rendering: bool = False
    """Whether the decoder draws noise, so that equal tokens give images that differ."""
    licence: str = ""
    """Licence of the weights, as far as it is known."""

    @property
    def has_fixed_order(self) -> bool:
        """Whether the order of the tokens is always the same, so that the path takes no bits.

        >>> ModelIdentity(model="trio-var", family="scales").has_fixed_order
        True
        """
        return self.family in ("autoregressive", "scales")

    @property
    def capacity(self) -> float:
        """Structural capacity of a position, log2 of the codebook size, in bits.

        NaN where there is no codebook.
        """
        return math.log2(self.codebook_size) if self.codebook_size else math.nan

    @property
    def digit_levels(self) -> tuple[int, ...]:
        """Values of each digit of an id, most significant first; none where ids have no digits.

        Those of `levels`; runs of before there were any say `lfq`, whose digits are bits.

        >>> ModelIdentity(model="show-o", codebook_size=8, quantizer="lfq").digit_levels
        (2, 2, 2)
        """
        bits = (self.codebook_size - 1).bit_length()
        if not self.levels and self.quantizer == "lfq" and self.codebook_size == 1 << bits:
            return (2,) * bits
        return tuple(self.levels)

    @property
    def strata(self) -> list[int]:
        """The stratum of each position, from 0; empty where there is one for all.

        Tokens of a stratum say the same thing: they are of one scale, and of one place in a code.
        The codes that a subset of the codebook keeps are counted in each stratum by itself. Models
        without a fixed order have one stratum.

        >>> found = ModelIdentity(model="m", family="scales", scales=[2, 4], tokens_per_code=2)
        >>> found.strata
        [0, 1, 2, 3, 2, 3]
        """
        if not self.has_fixed_order:
            return []
        found: list[int] = []
        for scale, size in enumerate(self.scales or [math.prod(self.grid)]):
            first = scale * self.tokens_per_code
            found += [first + position % self.tokens_per_code for position in range(size)]
        return found if any(found) else []

    def fixing(self) -> dict[str, Any]:
        """Give what fixes the law of the samples, as JSON has it, to compare and to digest.

        `levels`, `scales`, `tokens_per_code` and `rendering` follow from model, weights and options,
        and older runs do not have them. What has another name since has its first one here, so that runs of before go
        on.
        """
        fixed = self.model_dump(mode="json", exclude=FOLLOWING)
        fixed["options"] = _named_as_first(self.options)
        fixed["licence"] = FIRST_LICENCES.get((self.model, self.licence), self.licence)
        return fixed


FOLLOWING = {"levels", "scales", "tokens_per_code", "rendering"}
"""Fields of an identity that follow from the others."""

FIRST_LICENCES = {
    ("llamagen", "MIT; text encoder Apache-2.0"): "MIT (code)",
    ("show-o", "512 Apache-2.0, 256 MIT; image tokenizer MIT"): "Apache-2.0",
}
"""What the first runs recorded as the licence of a model, by its name and what is recorded now."""


def _named_as_first(
    options: dict[str, bool | int | float | str | None],
) -> dict[str, bool | int | float | str | None]:
    """Sampling settings as the first runs recorded them.

    Published models, which name a checkpoint, had `dtype` for `precision`, and a `compile` that is
    off now for good.
    """
    if not {"checkpoint", "precision"} <= options.keys():
        return options
    kept = {name: value for name, value in options.items() if name != "precision"}
    return {**kept, "dtype": options["precision"], "compile": False}


class CodeCounts(Strict):
    """Uses of each code on the calibration prompts, at all positions or at those of one stratum."""

    counts: list[int]
    """Tokens drawn per code, stochastic sampling, full codebook, original wording."""
    half_counts: list[int] = Field(
        default=[],
        description="The same of every other prompt, or image of a single one; empty if unknown.",
    )
    image_counts: list[int] = Field(
        default=[], description="Images that show each code; empty if unknown."
    )


class CalibrationRecord(CodeCounts):
    """Code usage of one model on the calibration prompts: `RUN/calibration/<model>.json`.

    It decides which codes a subset of the codebook keeps. Written once, before the run is laid out.
    """

    schema_version: str = VERSION
    model: ModelIdentity
    seed: int
    samples: int
    prompt_ids: list[str]
    prompts_sha256: str
    strata: list[CodeCounts] = Field(
        default=[],
        description="The same at each stratum of the positions, coarsest scale first. Empty for "
        "models of one stratum, and in records of before 1.1, by which all strata keep one set.",
    )
    sha256: str = Field(
        default="", description="Digest of all the above, against damage to the file itself."
    )

    @property
    def counts_sha256(self) -> str:
        """sha256 of the counts, at all positions and then by stratum, as little-endian 64 bits."""
        digest = hashlib.sha256()
        for part in (self, *self.strata):
            digest.update(struct.pack(f"<{len(part.counts)}q", *part.counts))
        return digest.hexdigest()
