"""Where a run comes from: software, weights, hardware."""

from __future__ import annotations

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
