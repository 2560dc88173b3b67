"""Conditions: what one cell of an experiment does to sampling, wording and codebook."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

from schemas.design import FACTORS, Factor
from schemas.moved import attributes
from schemas.study import (
    NOISELESS_ORDERS,
    ArgmaxWindow,
    CrossedNoise,
    Enhancement,
    Experiment,
    Factorial,
    Order,
    OrderName,
    ParaphraseLength,
    ParaphraseLengths,
    PathNoise,
    SubsetMethod,
    SubsetMethods,
    SubsetRatio,
)

Sampling = Literal["argmax", "stochastic"]
PromptType = Literal["original", "paraphrase"]
Codebook = Literal["subset", "full"]

SAMPLINGS: tuple[Sampling, ...] = ("argmax", "stochastic")
PROMPT_TYPES: tuple[PromptType, ...] = ("original", "paraphrase")
CODEBOOKS: tuple[Codebook, ...] = ("subset", "full")

ALL_STEPS = "0:1"
WINDOWS = {"none": "", "early": "0:1/3", "middle": "1/3:2/3", "late": "2/3:1", "all": ALL_STEPS}
"""Windows of the steps by the paper's names (section 4.4.2)."""


@dataclass(frozen=True)
class Condition:
    """Levels of the three factors, and the parameters of the probes that are on.

    `keep_ratio` and `subset_method` describe the codebook subset (1 and "" for the full codebook)
    and `subset_draw` which of the random ones it is. `argmax_window` is the share `from:to` of the
    steps under argmax ("" for none). `paraphrase_length` is the length class of the paraphrases and
    `n_paraphrases` their number ("" and 0 for the original wording). `order` is that of a masked
    traversal, and `path_noise` whether a prompt's samples share one path draw; `entropy_bound`, in
    bits, belongs to the order `entropy_bounded` and is 0 in others. `arm` is the name in an ablation;
    it is "" in a factorial, where the levels are the name.

    >>> Condition("argmax", "original", "full", argmax_window="0:1").name
    'argmax-original-full'
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
    order: OrderName = "confidence"
    path_noise: PathNoise = "own"
    entropy_bound: float = 0.0
    arm: str = ""

    @property
    def name(self) -> str:
        """Name in the store, unique within an experiment.

        The arm of an ablation, else the three levels in the order of the factors.
        """
        return self.arm or f"{self.sampling}-{self.prompt_type}-{self.codebook}"


BASELINE = Condition("stochastic", "original", "full")
"""The condition without intervention."""


def conditions(experiment: Experiment) -> list[Condition]:
    """The conditions of an experiment, in the order they are stored.

    >>> from schemas.study import ArgmaxWindow
    >>> [condition.name for condition in conditions(ArgmaxWindow(windows=["early", "all"]))]
    ['1-none', '2-early', '3-all']
    """
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
        case Order():
            return order(experiment)


def crossed_factors(experiment: Experiment) -> tuple[Factor, ...]:
    """The factors that describe the conditions of an experiment, in the order of the paper.

    All three, unless a factorial names some.
    """
    asked = experiment.factors if isinstance(experiment, Factorial) else None
    return tuple(factor for factor in FACTORS if asked is None or factor.name in asked)


def factorial(plan: Factorial) -> list[Condition]:
    """The eight cells of the paper's design (section 3.4), each factor from its low to its high level.

    The last factor, the codebook, varies fastest. A factor that the study leaves out stays as it is
    without intervention. A subset of ratio 1 stays a subset, with every code in it.

    >>> [cell.name for cell in factorial(Factorial(factors=["codebook"]))]
    ['stochastic-original-subset', 'stochastic-original-full']
    """
    crossed = crossed_factors(plan)
    held = [factor.name for factor in FACTORS if factor not in crossed]
    cells = []
    for levels in itertools.product(SAMPLINGS, PROMPT_TYPES, CODEBOOKS):
        cell = Condition(*levels)
        if any(getattr(cell, name) != getattr(BASELINE, name) for name in held):
            continue
        if cell.sampling == "argmax":
            cell = replace(cell, argmax_window=ALL_STEPS)
        if cell.prompt_type == "paraphrase":
            cell = _paraphrased(cell, plan.paraphrase_length, plan.paraphrases)
        if cell.codebook == "subset":
            cell = replace(cell, keep_ratio=plan.keep_ratio, subset_method=plan.subset_method)
        cells.append(cell)
    return cells


def crossed_noise(plan: CrossedNoise) -> list[Condition]:
    """The condition without intervention, and the one with argmax alone, as far as asked for.

    Argmax comes first where both are asked for, whatever the order in the study.
    """
    cells = []
    if "argmax" in plan.sampling:
        cells.append(_argmax(ALL_STEPS))
    if "stochastic" in plan.sampling:
        cells.append(BASELINE)
    return cells


def subset_ratio(plan: SubsetRatio) -> list[Condition]:
    """Codebook subsets from the smallest to the full codebook, which is always there (Fig. 4).

    >>> [cell.name for cell in subset_ratio(SubsetRatio(ratios=[0.5, 0.25]))]
    ['keep-0.25', 'keep-0.50', 'keep-1.00']
    """
    ratios = sorted({*plan.ratios, 1.0})
    subsets = [_subset(ratio, plan.subset_method) for ratio in ratios]
    return _called(subsets, _ratio_names("keep", ratios))


def argmax_window(plan: ArgmaxWindow) -> list[Condition]:
    """No argmax, then argmax in each window of the steps in the order of the study (Fig. 5a).

    A window is a name of `WINDOWS` or two shares of the steps, which are not checked here.
    """
    cells, names = [BASELINE], ["none"]
    for name in plan.windows:
        if name != "none":
            cells.append(_argmax(WINDOWS.get(name, name)))
            names.append(name)
    return _numbered(cells, names)


def paraphrase_length(plan: ParaphraseLengths) -> list[Condition]:
    """The original wording, then paraphrases of each length class in the study's order (Fig. 5b).

    Every length has as many paraphrases, as the study says.
    """
    cells, names = [BASELINE], ["original"]
    for length in plan.lengths:
        if length != "original":
            cells.append(_paraphrased(BASELINE, length, plan.paraphrases))
            names.append(length)
    return _numbered(cells, names)


def subset_method(plan: SubsetMethods) -> list[Condition]:
    """The full codebook, then subsets of one size by each method (Fig. 5c).

    Random subsets are drawn `random_draws` times, each a condition of its own.
    """
    cells, names = [BASELINE], ["full"]
    for method in plan.methods:
        subset = _subset(plan.keep_ratio, method)
        name = method.replace("_", "-")
        if method != "drop_random" or plan.random_draws == 1:
            cells.append(subset)
            names.append(name)
            continue
        width = len(str(plan.random_draws))
        for draw in range(plan.random_draws):
            cells.append(replace(subset, subset_draw=draw))
            names.append(f"{name}-{draw + 1:0{width}d}")
    return _numbered(cells, names)


def enhancement(plan: Enhancement) -> list[Condition]:
    """The proposed strategy beside its parts (section 4.5, Fig. 6-7).

    The baseline, the subsets alone, the paraphrases alone, and both at once; subsets by ratio from
    the smallest up.
    """
    ratios = sorted(plan.ratios)
    subsets = [_subset(ratio, plan.subset_method) for ratio in ratios]
    length, n = plan.paraphrase_length, plan.paraphrases
    proposed = [_paraphrased(subset, length, n) for subset in subsets]
    return [
        replace(BASELINE, arm="1-baseline"),
        *_called(subsets, _ratio_names("2-subset", ratios)),
        replace(_paraphrased(BASELINE, length, n), arm="3-paraphrase"),
        *_called(proposed, _ratio_names("4-proposed", ratios)),
    ]


def order(plan: Order) -> list[Condition]:
    """Every order with own and shared path noise, draws and argmax, as far as asked for.

    The confidence order as it always is comes first. Orders without path noise share it by nature.

    >>> [cell.name for cell in order(Order(orders=["raster", "random"], path=["own"]))]
    ['1-confidence', '2-raster', '3-raster-argmax', '4-random', '5-random-argmax']
    """
    cells, names = [BASELINE], ["confidence"]
    for name in plan.orders:
        paths: Sequence[PathNoise] = ("shared",) if name in NOISELESS_ORDERS else plan.path
        for path, sampling in itertools.product(paths, plan.sampling):
            cell = _argmax(ALL_STEPS if sampling == "argmax" else "")
            cell = replace(cell, order=name, path_noise=path)
            if name == "entropy_bounded":
                cell = replace(cell, entropy_bound=plan.entropy_bound)
            if cell == BASELINE:
                continue
            words: list[str] = [name]
            if path == "shared" and name not in NOISELESS_ORDERS:
                words.append(path)
            if sampling == "argmax":
                words.append(sampling)
            cells.append(cell)
            names.append("-".join(words))
    return _numbered(cells, names)


def _subset(ratio: float, method: SubsetMethod) -> Condition:
    """The baseline with a share of its codebook; all of it is the baseline itself."""
    if ratio == 1:
        return BASELINE
    return replace(BASELINE, codebook="subset", keep_ratio=ratio, subset_method=method)


def _argmax(window: str) -> Condition:
    """The baseline with argmax in a window of the steps; no window is the baseline itself."""
    if not window:
        return BASELINE
    return replace(BASELINE, sampling="argmax", argmax_window=window)


def _paraphrased(cell: Condition, length: ParaphraseLength, n: int) -> Condition:
    return replace(cell, prompt_type="paraphrase", paraphrase_length=length, n_paraphrases=n)


def _called(cells: Sequence[Condition], names: Sequence[str]) -> list[Condition]:
    """Conditions as arms of these names."""
    return [replace(cell, arm=name) for cell, name in zip(cells, names, strict=True)]


def _numbered(cells: Sequence[Condition], names: Sequence[str]) -> list[Condition]:
    """Conditions as arms numbered in their order, so that sorted by name they stay in it."""
    width = len(str(len(cells)))
    arms = []
    for number, (cell, name) in enumerate(zip(cells, names, strict=True), start=1):
        arms.append(replace(cell, arm=f"{number:0{width}d}-{name}"))
    return arms


def _ratio_names(prefix: str, ratios: Sequence[float]) -> list[str]:
    """Names by ratio, with as many decimals as the finest needs: distinct, and in order as text."""
    decimals = 2
    for ratio in ratios:
        exponent = Decimal(repr(float(ratio))).as_tuple().exponent
        decimals = max(decimals, -int(exponent))
    return [f"{prefix}-{ratio:.{decimals}f}" for ratio in ratios]


__getattr__ = attributes(__name__)
