"""Conditions: what one cell of an experiment does to sampling, wording and codebook."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

from schemas.study import (
    ArgmaxWindow,
    CrossedNoise,
    Enhancement,
    Experiment,
    Factorial,
    ParaphraseLength,
    ParaphraseLengths,
    SubsetMethod,
    SubsetMethods,
    SubsetRatio,
)

Sampling = Literal["argmax", "stochastic"]
PromptType = Literal["original", "paraphrase"]
Codebook = Literal["subset", "full"]

ALL_STEPS = "0:1"
WINDOWS = {"none": "", "early": "0:1/3", "middle": "1/3:2/3", "late": "2/3:1", "all": ALL_STEPS}
"""Windows of the steps by the paper's names (section 4.4.2)."""


@dataclass(frozen=True)
class Condition:
    """Levels of the three factors, and the parameters of the probes that are on.

    `keep_ratio` and `subset_method` describe the codebook subset (1 and "" for the full codebook) and `subset_draw`
    which of the random ones it is, `argmax_window` the share `from:to` of the steps under argmax ("" for none),
    `paraphrase_length` the length class of the paraphrases and `n_paraphrases` their number ("" and 0 for the original
    wording). `arm` is the name in an ablation, "" in a factorial, where the levels are the name.
    """

    sampling: Sampling
    prompt_type: PromptType
    codebook: Codebook
    keep_ratio: float = 1.0
    subset_method: SubsetMethod | Literal[""] = ""
    argmax_window: str = ""
    paraphrase_length: ParaphraseLength | Literal[""] = ""
    n_paraphrases: int = 0
    subset_draw: int = 0
    arm: str = ""

    @property
    def name(self) -> str:
        """Unique within an experiment: the arm of an ablation, else the levels in the order of the factors."""
        return self.arm or f"{self.sampling}-{self.prompt_type}-{self.codebook}"


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


def subset_ratio(plan: SubsetRatio) -> list[Condition]:
    """From the smallest subset to the full codebook (Fig. 4)."""
    ratios = sorted({*plan.ratios, 1.0})
    return [
        replace(_subset(ratio, plan.subset_method), arm=name)
        for ratio, name in zip(ratios, _ratio_names("keep", ratios), strict=True)
    ]


def argmax_window(plan: ArgmaxWindow) -> list[Condition]:
    """No argmax, then argmax in each window (Fig. 5a)."""
    windows = ["none", *(name for name in plan.windows if name != "none")]
    cells = [_argmax(WINDOWS.get(name, name)) for name in windows]
    return _named(cells, windows)


def paraphrase_length(plan: ParaphraseLengths) -> list[Condition]:
    """The original wording, then paraphrases of each length class (Fig. 5b)."""
    lengths = [length for length in plan.lengths if length != "original"]
    cells = [REFERENCE, *(_paraphrased(REFERENCE, length, plan.paraphrases) for length in lengths)]
    return _named(cells, ["original", *lengths])


def subset_method(plan: SubsetMethods) -> list[Condition]:
    """The full codebook, then subsets of one size by each method, random ones several times (Fig. 5c)."""
    cells, names = [REFERENCE], ["full"]
    for method in plan.methods:
        draws = plan.random_draws if method == "drop_random" else 1
        for draw in range(draws):
            cells.append(replace(_subset(plan.keep_ratio, method), subset_draw=draw))
            names.append(
                method.replace("_", "-") + (f"-{draw + 1:0{len(str(draws))}d}" if draws > 1 else "")
            )
    return _named(cells, names)


def enhancement(plan: Enhancement) -> list[Condition]:
    """Baseline, the two halves alone, and both at once: the proposed strategy (section 4.5, Fig. 6-7)."""
    ratios = sorted(plan.ratios)
    subsets = [_subset(ratio, plan.subset_method) for ratio in ratios]
    both = [_paraphrased(cell, plan.paraphrase_length, plan.paraphrases) for cell in subsets]
    paraphrase = _paraphrased(REFERENCE, plan.paraphrase_length, plan.paraphrases)
    return [
        replace(REFERENCE, arm="1-baseline"),
        *(
            replace(c, arm=name)
            for c, name in zip(subsets, _ratio_names("2-subset", ratios), strict=True)
        ),
        replace(paraphrase, arm="3-paraphrase"),
        *(
            replace(c, arm=name)
            for c, name in zip(both, _ratio_names("4-proposed", ratios), strict=True)
        ),
    ]


def crossed_noise(plan: CrossedNoise) -> list[Condition]:
    """The cell without intervention, and the one that argmax alone makes of it, as far as asked for."""
    cells = {
        "argmax": replace(REFERENCE, sampling="argmax", argmax_window=ALL_STEPS),
        "stochastic": REFERENCE,
    }
    return [cell for sampling, cell in cells.items() if sampling in plan.sampling]


def conditions(experiment: Experiment) -> list[Condition]:
    """The conditions of an experiment, in the order they are stored."""
    match experiment:
        case Factorial():
            return factorial(experiment)
        case CrossedNoise():
            return crossed_noise(experiment)
        case SubsetRatio():
            return subset_ratio(experiment)
        case ArgmaxWindow():
            return argmax_window(experiment)
        case ParaphraseLengths():
            return paraphrase_length(experiment)
        case SubsetMethods():
            return subset_method(experiment)
        case Enhancement():
            return enhancement(experiment)


def _subset(ratio: float, method: SubsetMethod) -> Condition:
    """The reference with a share of its codebook; all of it is the reference itself."""
    return (
        REFERENCE
        if ratio == 1
        else replace(REFERENCE, codebook="subset", keep_ratio=ratio, subset_method=method)
    )


def _argmax(window: str) -> Condition:
    return replace(REFERENCE, sampling="argmax", argmax_window=window) if window else REFERENCE


def _paraphrased(cell: Condition, length: ParaphraseLength, n: int) -> Condition:
    return replace(cell, prompt_type="paraphrase", paraphrase_length=length, n_paraphrases=n)


def _named(cells: Sequence[Condition], names: Sequence[str]) -> list[Condition]:
    """Arms numbered in their order, so that sorted by name they stay in it."""
    width = len(str(len(cells)))
    return [
        replace(cell, arm=f"{number:0{width}d}-{name}")
        for number, (cell, name) in enumerate(zip(cells, names, strict=True), start=1)
    ]


def _ratio_names(prefix: str, ratios: Sequence[float]) -> list[str]:
    """Ratios with as many decimals as the finest of them needs, so that names are distinct and sort as numbers do."""
    decimals = max(2, *(-int(Decimal(repr(float(ratio))).as_tuple().exponent) for ratio in ratios))
    return [f"{prefix}-{ratio:.{decimals}f}" for ratio in ratios]
