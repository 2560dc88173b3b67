"""Settings of an analysis: everything that changes its numbers, in Python or as a YAML file gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from ibstats.errors import IbstatsError, unknown
from ibstats.kernels import entropy
from ibstats.measure.clip import DEFAULT as DEFAULT_CLIP
from ibstats.quantities import by_user
from ibstats.statistics.uncertainty import Resampling
from ibstats.variables import DISTANCES

PARTS = ("diversity", "information", "quality", "ledger")


@dataclass(frozen=True)
class Config:
    """Settings of an analysis; everything here changes numbers and is stored with them."""

    metrics: tuple[str, ...] = ()
    """Metrics by user name; empty means the default ones that can be had."""
    models: tuple[str, ...] = ()
    """Models of the store; empty means all."""
    parts: tuple[str, ...] = PARTS
    """`diversity` and `quality` read images (or what was computed from them), `information` and `ledger` saved arrays.

    Beside them, `ledger` takes the distances of crossed-noise experiments.
    """
    experiment: str = "factorial"
    estimator: str = entropy.DEFAULT
    resampling: Resampling = field(default_factory=Resampling)
    margins: Mapping[str, float] = field(default_factory=dict)
    """Predeclared equivalence margins, +- in the units of the distance, by result name (`ssim_dissimilarity`)."""
    n_shuffles: int = 200
    images_per_prompt: int | None = None
    """Images of each prompt that entropies are made of (rarefaction, drawn by the seed); None: all of them. Entropies
    and coverage depend on the token budget, so stores of different size are compared at the same one."""
    scores: tuple[str, ...] = ()
    """Scores of quality; empty means those that can be had without a download."""
    references: tuple[str, ...] = ()
    """Files of reference sets for fid and kid."""
    clip: str = DEFAULT_CLIP
    """Hub name or folder of the CLIP behind clip_score and clip_iqa."""
    long_texts: str = "cut"
    """Prompts longer than CLIP reads: `cut` or `leave_out`."""
    allow_partial: bool = False

    def __post_init__(self) -> None:
        for name in ("metrics", "models", "parts", "scores", "references"):
            if isinstance(value := getattr(self, name), str):
                raise IbstatsError(f"{name} is {value!r}, but must be a list: [{value}]")
        if self.estimator not in entropy.ESTIMATORS:
            raise unknown("entropy estimator", self.estimator, entropy.ESTIMATORS)
        for part in self.parts:
            if part not in PARTS:
                raise unknown("part of an analysis", part, PARTS)
        for score in self.scores:
            if score not in by_user("score"):
                raise unknown("score", score, by_user("score"))
        for name, margin in self.margins.items():
            if name not in DISTANCES:
                raise unknown("distance in margins", name, DISTANCES)
            if not margin > 0:
                raise IbstatsError(f"the margin of {name} is {margin}, but must be above 0")
        if self.n_shuffles < 1:
            raise IbstatsError(
                f"n_shuffles is {self.n_shuffles}, but must be 1 or more; the default is 200"
            )


def config_from(settings: Mapping[str, Any]) -> Config:
    """Configuration from plain settings, as a YAML file gives them; an unknown key is an error that lists the known."""

    def build(kind: Any, values: Mapping[str, Any]) -> Any:
        known = [f.name for f in fields(kind)]
        for key in values:
            if key not in known:
                raise unknown("analysis setting", key, known)
        _check_types(kind, values)
        return kind(**values)

    plain: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()
    }
    if isinstance(plain.get("resampling"), Mapping):
        plain["resampling"] = build(Resampling, plain["resampling"])
    made: Config = build(Config, plain)
    return made


TYPES = {
    tuple: "a list of names: [NAME, ...]",
    Mapping: "a mapping of names to numbers: {NAME: NUMBER}",
    Resampling: "a mapping: {level: 0.95, n_resamples: 5000}",
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    str: "a name",
}
"""What a setting of each type looks like in YAML."""


def _check_types(kind: type, values: Mapping[str, Any]) -> None:
    """Refuse a value of another type than its setting's; a choice from a list is checked by the setting itself."""
    from pydantic import TypeAdapter, ValidationError

    hints = get_type_hints(kind)
    for name, value in values.items():
        plain = get_args(hints[name])[0] if isinstance(hints[name], UnionType) else hints[name]
        wanted = TYPES.get(get_origin(plain) or plain)
        try:
            _ = wanted and TypeAdapter(hints[name]).validate_python(value, strict=True)
        except ValidationError:
            seen = list(value) if isinstance(value, tuple) else value
            raise IbstatsError(
                f"analysis setting '{name}' is {seen!r}, but must be {wanted}"
            ) from None
