"""The words of an analysis: factors, levels, cells, and what every computed quantity means.

The variables of the store itself are defined in `schemas.store`.
"""

from __future__ import annotations

from collections.abc import Container
from itertools import product
from math import inf
from typing import NamedTuple

LEVELS: dict[str, tuple[str, str]] = {
    "sampling": ("argmax", "stochastic"),
    "prompt_type": ("original", "paraphrase"),
    "codebook": ("subset", "full"),
}
"""Levels of each factor, low then high."""

FACTORS = tuple(LEVELS)
"""Names of the factors, in the order of the cells."""

REFERENCE = {"sampling": "stochastic", "prompt_type": "original", "codebook": "full"}
"""The cell without intervention: every probe is compared with it (paper, Fig. 2)."""

PROBES: dict[str, dict[str, str]] = {
    "argmax": {"sampling": "argmax"},
    "subset": {"codebook": "subset"},
    "paraphrase": {"prompt_type": "paraphrase"},
}
"""The three interventions, as what each changes in the reference cell."""


class Cell(NamedTuple):
    """One of the eight conditions."""

    sampling: str
    prompt_type: str
    codebook: str


CELLS: tuple[Cell, ...] = tuple(Cell(*levels) for levels in product(*(LEVELS[f] for f in FACTORS)))
"""The eight cells in C order: all-low first, all-high last."""


class Quantity(NamedTuple):
    """Meaning of a computed number. More diverse is always larger."""

    long_name: str
    units: str
    most: float = inf
    """Largest possible value; the smallest is 0."""


DISTANCES: dict[str, Quantity] = {
    "pixel_cosine_distance": Quantity("pixel cosine distance, 1 - cos", "1", 1.0),
    "ssim_dissimilarity": Quantity("structural dissimilarity, 1 - SSIM", "1", 2.0),
    "reference_distance": Quantity("reference-network feature distance", "1", 2.0),
    "lpips_alex_distance": Quantity("LPIPS distance (AlexNet, v0.1)", "1"),
    "lpips_vgg_distance": Quantity("LPIPS distance (VGG-16, v0.1)", "1"),
    "lpips_squeeze_distance": Quantity("LPIPS distance (SqueezeNet, v0.1)", "1"),
}
"""Image distances by name."""

PREFERRED_DISTANCES = (
    "lpips_alex_distance", "lpips_vgg_distance", "lpips_squeeze_distance", "reference_distance", "ssim_dissimilarity",
    "pixel_cosine_distance",
)  # fmt: skip
"""The paper's first: the first of these that was measured stands where there is room for one."""

INFORMATION: dict[str, Quantity] = {
    "codebook_entropy": Quantity("codebook entropy H(Z) per token", "bit"),
    "conditional_entropy": Quantity("codebook entropy given the prompt H(Z|X) per token", "bit"),
    "mutual_information": Quantity("mutual information of prompt and code I(X;Z) per token", "bit"),
    "perplexity": Quantity("codebook perplexity 2^H(Z)", "1"),
    "utilisation": Quantity("share of the codebook seen", "1"),
    "coverage": Quantity("Good-Turing coverage of the pooled codes", "1"),
    "coverage_per_prompt": Quantity("Good-Turing coverage of one prompt's codes, mean", "1"),
}
"""Codebook quantities by name."""


class Score(NamedTuple):
    """Meaning of a quality score, and which end is good."""

    long_name: str
    units: str
    larger_is_better: bool
    is_share: bool = False
    """Between 0 and 1, so its interval is too."""


QUALITY: dict[str, Score] = {
    "clip_score": Score("CLIP score against the base prompt, 100 cos", "1", True),
    "clip_iqa": Score("CLIP-IQA, probability of 'Good photo.'", "1", True, True),
    "fid": Score("Frechet Inception distance at this number of images", "1", False),
    "fid_infinity": Score("Frechet Inception distance without its bias in 1/n", "1", False),
    "kid": Score("kernel Inception distance, unbiased", "1", False),
    "reference_accuracy": Score("attributes right, by the reference network", "1", True, True),
    "reference_accuracy_shape": Score("shape right, by the reference network", "1", True, True),
    "reference_accuracy_colour": Score("colour right, by the reference network", "1", True, True),
    "reference_accuracy_size": Score("size right, by the reference network", "1", True, True),
    "reference_accuracy_position": Score(
        "position right, by the reference network", "1", True, True
    ),
    "reference_accuracy_background": Score(
        "background right, by the reference network", "1", True, True
    ),
    "reference_frechet": Score(
        "reference-network Frechet distance at this number of images", "1", False
    ),
    "reference_frechet_infinity": Score(
        "reference-network Frechet distance without its bias in 1/n", "1", False
    ),
    "reference_kernel": Score("reference-network kernel distance, unbiased", "1", False),
}
"""Quality scores by name."""

PREFERRED_SCORES = (
    "clip_iqa", "clip_score", "reference_accuracy", "kid", "fid", "reference_kernel", "reference_frechet"
)  # fmt: skip
"""The same for quality: the paper's first, scores that do not grow with a loss of diversity before those that do."""


def preferred_distance(measured: Container[object]) -> str | None:
    """The distance that stands where there is room for one; None where none was measured."""
    return next((name for name in PREFERRED_DISTANCES if name in measured), None)


def preferred_score(measured: Container[object]) -> str | None:
    """The quality score that stands where there is room for one; None where none was measured."""
    return next((name for name in PREFERRED_SCORES if name in measured), None)
