"""Where a run comes from: software, weights, hardware."""

from __future__ import annotations

import math

from schemas.study import Strict

VERSION = "1.0"


class Software(Strict):
    """Code and libraries that wrote something."""

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
    """One file a model was loaded from."""

    name: str
    bytes: int
    sha256: str


class ModelIdentity(Strict):
    """Everything that fixes the law of a model's samples, besides noise and prompts."""

    model: str
    family: str
    revision: str
    weights: list[WeightFile]
    codebook_size: int
    grid: tuple[int, int]
    image_size: tuple[int, int]
    steps: int
    options: dict[str, bool | int | float | str | None]
    quantizer: str = ""
    """How a code stands for a latent: vq (a learned vector), vq-l2 (a learned direction), lfq (the bits of the id are
    the signs of the channels, most significant bit first); empty if the adapter does not say."""
    licence: str = ""
    """Licence of the weights, as far as it is known."""

    @property
    def capacity(self) -> float:
        """Structural capacity of a position, log2 of the codebook size, in bits."""
        return math.log2(self.codebook_size)


class CalibrationRecord(Strict):
    """Code usage of one model on the calibration prompts: `RUN/calibration/<model>.json`."""

    schema_version: str = VERSION
    model: ModelIdentity
    seed: int
    samples: int
    prompt_ids: list[str]
    prompts_sha256: str
    counts: list[int]
    """Tokens drawn per code, stochastic sampling, full codebook, original wording."""
