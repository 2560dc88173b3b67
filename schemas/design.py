"""The design of an experiment: its named conditions, the factors that describe them, and the baseline.

Both programs take factors, levels and the baseline of the paper's 2x2x2 from here.
"""

from __future__ import annotations

from pydantic import Field

from schemas.study import Strict


class Factor(Strict):
    """Something with two levels that conditions differ in."""

    name: str
    low: str
    high: str


class ConditionRecord(Strict):
    """One named condition of an experiment."""

    name: str
    """Unique within the experiment; free text, never parsed."""
    levels: dict[str, str] = Field(default={})
    """Level of each factor that describes the condition."""
    label: str = ""
    """How results name it, in `term`; empty for the name itself."""
    short: str = ""
    """How tables and sentences name it; empty for the label."""


class DesignRecord(Strict):
    """The conditions of an experiment and how they hang together."""

    kind: str
    """Kind of the experiment in the study file; `imported` for samples made elsewhere."""
    conditions: list[ConditionRecord] = Field(min_length=1)
    factors: list[Factor] = Field(default=[])
    """In the order of the cells; none if conditions are just named."""
    baseline: str | None = None
    """The condition without intervention, with which the others are compared; None if there is none."""


SAMPLING, ARGMAX = "sampling", "argmax"
"""The factor, and its level, that take every draw of a token from a traversal."""

FACTORS = (
    Factor(name=SAMPLING, low=ARGMAX, high="stochastic"),
    Factor(name="prompt_type", low="original", high="paraphrase"),
    Factor(name="codebook", low="subset", high="full"),
)
"""The three factors of the paper's design (section 3.4)."""

BASELINE = {"sampling": "stochastic", "prompt_type": "original", "codebook": "full"}
"""Levels of the condition without intervention: every probe is compared with it (paper, Fig. 2)."""
