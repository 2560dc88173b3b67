"""What several trainings of the lab of quantizers agree on (docs/quantizers.md).

    python studies/trainings.py runs/lab-1 runs/lab-2 runs/lab-3

Each folder holds the tokenizers of one training, as `python -m generate.trio.train --stage tokenizers
--seed N --out FOLDER --export FOLDER` writes them. All encode the same fresh scenes; printed are, as
Markdown, means over trainings with t intervals, and differences paired by training: the trunk and the
batches of one training are the same for all its quantizers.
"""

import sys
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from generate.trio import weights
from generate.trio.quantizers import LAB
from generate.trio.stage_tokenizer import draw_images
from generate.trio.tokenizer import Tokenizer, load_tokenizer
from ibstats.statistics.codebook import Codes
from ibstats.statistics.significance import adjust

N_SCENES = 1_000
SEED = 11
FIGURES = ("PSNR, dB", "H(Z), bit", "H2(Z), bit", "TC of digits, bit", "recovered")
Array = NDArray[np.float64]


def codes_of(tokenizer: Tokenizer, images: torch.Tensor) -> Codes:
    """The codes of scenes (image, channel, y, x), and what became of them."""
    with torch.no_grad():
        ids = tokenizer.encode(images)
        restored = tokenizer.decode(ids)
        again = tokenizer.encode(restored)
    return Codes(
        ids.numpy().astype(np.uint32)[:, None],
        tokenizer.codes,
        tuple(tokenizer.config.levels),
        recovered=(again == ids).numpy()[:, None],
        squared_error=(restored - images).square().mean((1, 2, 3)).double().numpy()[:, None],
    )


def figures_of(codes: Codes) -> list[float]:
    """`FIGURES` of one tokenizer; NaN where its codes have no digits."""
    digits = codes.total_correlation.value if len(codes.levels) > 1 else float("nan")
    entropies = codes.entropy.value, codes.collision_entropy.value
    return [codes.decibels.value, *entropies, digits, codes.recovery.value]


def interval(values: Array) -> str:
    """Mean over trainings and its t interval at 95 %, of one value a training."""
    if np.isnan(values).any():
        return "-"
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{values.mean():.2f} [{values.mean() - half:.2f}, {values.mean() + half:.2f}]"


def lines(measured: Mapping[str, Array]) -> list[str]:
    """Two tables of `measured`, by quantizer: (training, figure)."""
    head = "| quantizer | " + " | ".join(FIGURES) + " |"
    printed = [head, "|---" * (len(FIGURES) + 1) + "|"]
    for name, values in measured.items():
        cells = [interval(column) for column in values.T]
        printed.append(f"| {name} | " + " | ".join(cells) + " |")
    printed += ["", head.replace("quantizer", "difference"), printed[1]]
    for one, other in combinations(measured, 2):
        cells = [interval(column) for column in (measured[one] - measured[other]).T]
        printed.append(f"| {one} - {other} | " + " | ".join(cells) + " |")
    return [*printed, "", *undecided(measured)]


def undecided(measured: Mapping[str, Array]) -> list[str]:
    """A line for each figure that all quantizers have: the pairs that t tests do not tell apart."""
    pairs = list(combinations(measured, 2))
    found = []
    for column, figure in enumerate(FIGURES):
        differences = np.array([(measured[a] - measured[b])[:, column] for a, b in pairs])
        if np.isnan(differences).any():
            continue
        adjusted = adjust(stats.ttest_1samp(differences, 0.0, axis=1).pvalue)
        alike = [" - ".join(pair) for pair, p in zip(pairs, adjusted, strict=True) if p >= 0.05]
        named = ", ".join(alike) or "none"
        found.append(f"{figure}: p >= .05 by Holm over {len(pairs)} pairs: {named}")
    return found


def main(folders: Sequence[str]) -> None:
    """Measure the tokenizers in the folders and print what they agree on."""
    if len(folders) < 2:
        raise SystemExit("give the folders of two trainings or more")
    scenes = draw_images(N_SCENES, np.random.default_rng(SEED))
    measured = {}
    for name in LAB:
        file = weights.file_name("tokenizer", name)
        trained = [load_tokenizer(Path(folder, file)) for folder in folders]
        measured[name] = np.array([figures_of(codes_of(each, scenes)) for each in trained])
    print(f"{len(folders)} trainings, {N_SCENES} scenes each", *lines(measured), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
