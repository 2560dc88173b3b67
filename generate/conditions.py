"""Conditions: what one cell of an experiment does to sampling, wording and codebook."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

from schemas.study import Experiment, Factorial, ParaphraseLength, SubsetMethod

Sampling = Literal["argmax", "stochastic"]
PromptType = Literal["original", "paraphrase"]
Codebook = Literal["subset", "full"]

ALL_STEPS = "0:1"


@dataclass(frozen=True)
class Condition:
    """Levels of the three factors, and the parameters of the probes that are on.

    `keep_ratio` and `subset_method` describe the codebook subset (1 and "" for the full codebook),
    `argmax_window` the share `from:to` of the steps under argmax ("" for none), `paraphrase_length`
    the length class of the paraphrases and `n_paraphrases` their number ("" and 0 for the original wording).
    """

    sampling: Sampling
    prompt_type: PromptType
    codebook: Codebook
    keep_ratio: float = 1.0
    subset_method: SubsetMethod | Literal[""] = ""
    argmax_window: str = ""
    paraphrase_length: ParaphraseLength | Literal[""] = ""
    n_paraphrases: int = 0

    @property
    def name(self) -> str:
        """Unique within a factorial: the levels, in the order of the factors."""
        return f"{self.sampling}-{self.prompt_type}-{self.codebook}"


REFERENCE = Condition("stochastic", "original", "full")
"""The cell without intervention."""


def factorial(plan: Factorial) -> list[Condition]:
    """The eight cells of the paper's design (section 3.4), each factor from its low to its high level."""
    samplings: tuple[Sampling, ...] = ("argmax", "stochastic")
    prompt_types: tuple[PromptType, ...] = ("original", "paraphrase")
    codebooks: tuple[Codebook, ...] = ("subset", "full")
    return [
        Condition(
            sampling,
            prompt_type,
            codebook,
            keep_ratio=plan.keep_ratio if codebook == "subset" else 1.0,
            subset_method=plan.subset_method if codebook == "subset" else "",
            argmax_window=ALL_STEPS if sampling == "argmax" else "",
            paraphrase_length=plan.paraphrase_length if prompt_type == "paraphrase" else "",
            n_paraphrases=plan.paraphrases if prompt_type == "paraphrase" else 0,
        )
        for sampling, prompt_type, codebook in itertools.product(samplings, prompt_types, codebooks)
    ]


def conditions(experiment: Experiment) -> list[Condition]:
    """The conditions of an experiment, in the order they are stored."""
    return factorial(experiment) if isinstance(experiment, Factorial) else [REFERENCE]
