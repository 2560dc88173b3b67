"""The settings of an analysis: everything that changes its numbers, in Python, in a YAML file, on the command line.

One model: the keys of a `--config` file, the options of every analysing command, the page of the documentation and the
settings stored with results follow from its fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import ConfigDict, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo

from schemas.study import Strict

Part = Literal["diversity", "information", "quality", "ledger", "shares", "whole_image"]
PARTS: tuple[Part, ...] = get_args(Part)

Estimator = Literal[
    "plugin",
    "miller_madow",
    "jackknife",
    "grassberger",
    "chao_shen",
    "chao_wang_jost",
    "james_stein",
    "nsb",
]
Method = Literal["auto", "bca", "percentile", "studentized", "guarded"]
LongTexts = Literal["cut", "leave_out"]

DEFAULT_ESTIMATOR: Estimator = "chao_wang_jost"
DEFAULT_CLIP = "openai/clip-vit-large-patch14"
"""torchmetrics' default of the CLIP score."""

STATISTICS, IMAGES = "Statistics", "Distances and quality"
"""Panels of the help of a command."""

OF_IMAGES: tuple[Part, ...] = ("diversity", "quality", "shares")
"""Parts that are made of images, or of what was measured on them."""


class SettingsError(ValueError):
    """A setting that cannot be: one line with its name, its value and what is allowed."""


def option(name: str, panel: str = "", *parts: Part) -> dict[str, Any]:
    """What a field is called on the command line, the panel of the help it stands in, and whose numbers it changes.

    Those are `parts` of an analysis, every part where none is named: a command offers it only if it makes one of them.

    >>> option("metric", "Statistics", "diversity")
    {'option': 'metric', 'panel': 'Statistics', 'parts': ['diversity']}
    """
    return {"option": name, "panel": panel, "parts": list(parts or PARTS)}


class Settings(Strict):
    """Settings that are checked when they are made, wherever they come from; SettingsError says what is wrong."""

    model_config = ConfigDict(strict=True)

    def __init__(self, **given: Any) -> None:
        for name, value in given.items():
            if isinstance(value, list):  # as a YAML file has them
                given[name] = tuple(value)
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise SettingsError(_line(error, type(self))) from None

    def but(self, **changes: Any) -> Self:
        """The same settings with some changed, checked again.

        >>> Resampling(seed=1).but(level=0.9).seed
        1
        """
        return type(self)(**{**dict(self), **changes})


class Resampling(Settings):
    """How intervals are made.

    >>> Resampling(level=0.9).method
    'auto'
    """

    method: Method = Field(
        default="auto",
        description="Interval: auto is guarded up to 500 prompts, the outermost of studentized bootstrap, transformed "
        "t and t, else bca.",
        json_schema_extra=option("interval", STATISTICS),
    )
    level: float = Field(
        default=0.95,
        gt=0,
        lt=1,
        description="Level of intervals.",
        json_schema_extra=option("level", STATISTICS),
    )
    n_resamples: int = Field(
        default=5000,
        ge=1,
        description="Bootstrap resamples and permutations.",
        json_schema_extra=option("resamples", STATISTICS),
    )
    seed: int = Field(
        default=0,
        ge=0,
        description="Seed of resampling.",
        json_schema_extra=option("seed", STATISTICS),
    )


class Config(Settings):
    """Settings of an analysis; everything here changes numbers and is stored with them.

    >>> Config(metrics=("ssim",), resampling=Resampling(seed=3)).experiment
    'factorial'
    """

    metrics: tuple[str, ...] = Field(
        default=(),
        description="Distances by user name, or `package.module:Class` of your own; those that can be had if none is.",
        json_schema_extra=option("metric", IMAGES, *OF_IMAGES),
    )
    models: tuple[str, ...] = Field(
        default=(),
        description="Models of the run; all if none is.",
        json_schema_extra=option("model"),
    )
    parts: tuple[Part, ...] = Field(
        default=PARTS,
        description="Parts: diversity, quality and shares read images (or what was computed from them), information "
        "and ledger (bits of path and execution) saved arrays; shares are of crossed noise and of the wording; "
        "whole_image is of contrasts, which `ibgenerate rescore` scores.",
    )
    experiment: str = Field(
        default="factorial",
        description="Experiment of the run.",
        json_schema_extra=option("experiment"),
    )
    estimator: Estimator = Field(
        default=DEFAULT_ESTIMATOR,
        description="Entropy estimator.",
        json_schema_extra=option("estimator", STATISTICS, "information"),
    )
    resampling: Resampling = Field(default=Resampling(), description="How intervals are made.")
    margins: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default={},
        description="Predeclared equivalence margins, +- in the units of a distance or score: ssim=0.05; "
        "where none is, 5 % of the value without intervention.",
        json_schema_extra=option("margin", STATISTICS, "diversity", "quality"),
    )
    n_shuffles: int = Field(
        default=200, ge=1, description="Shuffles behind the test of I(X;Z) = 0."
    )
    images_per_prompt: int | None = Field(
        default=None,
        ge=1,
        description="Images of each prompt that entropies are made of (rarefaction, drawn by the seed); all if none. "
        "Entropies and coverage depend on the token budget, so runs of different size are compared at the same one.",
        json_schema_extra=option("images_per_prompt", STATISTICS, "information"),
    )
    scores: tuple[str, ...] = Field(
        default=(),
        description="Scores of quality; those that can be had without a download if none is.",
        json_schema_extra=option("score", IMAGES, "quality"),
    )
    references: tuple[str, ...] = Field(
        default=(),
        description="Files of reference sets, for scores of sets of images; repeat for sizes and networks.",
        json_schema_extra=option("reference", IMAGES, "quality"),
    )
    network: str = Field(
        default="inception",
        description="Network of fd and prdc: inception, dinov2, efficientnet_lite0, owner/name of the hub, a folder of "
        "a checkpoint, or `file.py:Class` of your own; that of a reference set.",
        json_schema_extra=option("network", IMAGES, "quality"),
    )
    clip: str = Field(
        default=DEFAULT_CLIP,
        description="CLIP of the scores: hub name or folder.",
        json_schema_extra=option("clip", IMAGES, "quality"),
    )
    long_texts: LongTexts = Field(
        default="cut",
        description="Prompts longer than CLIP reads.",
        json_schema_extra=option("long_texts", IMAGES, "quality"),
    )
    allow_partial: bool = Field(
        default=False,
        description="Use an unfinished run's complete prompts.",
        json_schema_extra=option("allow_partial"),
    )

    @field_validator("metrics", "scores", mode="before")
    @classmethod
    def _by_name(cls, given: Any) -> Any:
        """A class of one's own stands for its name, `package.module:Class`, which is what is stored."""
        if not isinstance(given, tuple):
            return given
        names = []
        for one in given:
            names.append(f"{one.__module__}:{one.__qualname__}" if isinstance(one, type) else one)
        return tuple(names)


def from_plain(settings: Mapping[str, Any]) -> Config:
    """Settings from what a YAML file gives; SettingsError names an unknown key with the known ones.

    >>> from_plain({"resampling": {"level": 0.9}}).resampling.level
    0.9
    """
    plain = dict(settings)
    inner = plain.get("resampling")
    if isinstance(inner, Mapping):
        plain["resampling"] = Resampling(**inner)
    return Config(**plain)


LOOKS = {
    tuple: "a list of names: [NAME, ...]",
    dict: "a mapping of names to numbers: {NAME: NUMBER}",
    Resampling: "a mapping: {level: 0.95, n_resamples: 5000}",
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    str: "a name",
}
"""What a setting of each type looks like in YAML."""

BOUNDS = {
    "greater_than": "above {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than": "below {lt:g}",
}
"""What a bound that was missed allows, by the kind of the error."""


def _line(error: ValidationError, model: type[Settings]) -> str:
    """The first problem in one line."""
    first = error.errors()[0]
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        return f"unknown analysis setting '{name}'; known: {', '.join(model.model_fields)}"
    field = model.model_fields[name]
    inside = ".".join(str(part) for part in first["loc"])
    return f"analysis setting '{inside}' is {_shown(first['input'])}, but must be {_allowed(first, field)}"


def _allowed(problem: Any, field: FieldInfo) -> str:
    """What the setting may be."""
    if problem["type"] == "literal_error":
        return f"one of {problem['ctx']['expected'].replace(' or ', ', ')}"
    if problem["type"] in BOUNDS:
        return BOUNDS[problem["type"]].format(**problem["ctx"])
    return looks(field)


def looks(field: FieldInfo) -> str:
    """What a setting looks like in YAML, by its type."""
    kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if kind is not None]
    for kind in kinds:
        known = get_origin(kind) or kind
        if known in LOOKS:
            return LOOKS[known]
        if known is Literal:
            return f"one of {', '.join(map(repr, get_args(kind)))}"
    return "something else"


def _shown(value: object) -> str:
    return repr(list(value) if isinstance(value, tuple) else value)
