"""What several trainings of quantizers agree on, at equal steps and at equal PSNR (docs/quantizers.md).

    python studies/trainings.py runs/lab-1 runs/lab-2 runs/lab-3
    python studies/trainings.py runs/dials-1 runs/dials-2 runs/dials-3 --figure psnr.png

Each folder holds the tokenizers of one training, as `python -m generate.trio.train --stage tokenizers
--seed N --out FOLDER --export FOLDER` or `--stage dials --seed N --out FOLDER` writes them. All encode
the same fresh scenes; printed are, as Markdown, means over trainings with t intervals, and differences
paired by training: the trunk and the batches of one training are the same for all its quantizers. Where
the trainings hold both ends of `CURVES`, each pair of curves is compared at a PSNR that both reach in all
trainings, each curve interpolated within each training.
"""

import argparse
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from generate.trio import weights
from generate.trio.quantizers import DIALS, LAB
from generate.trio.stage_tokenizer import draw_images
from generate.trio.tokenizer import Tokenizer, load_tokenizer
from ibstats.report.figures import canvas
from ibstats.statistics.codebook import Codes
from ibstats.statistics.significance import adjust

N_SCENES = 1_000
SEED = 11
FIGURES = ("PSNR, dB", "H(Z), bit", "H2(Z), bit", "TC of digits, bit", "recovered")
PSNR, ENTROPY = 0, 1
CURVES: Mapping[str, Sequence[str]] = {
    "vq": ("vq-16", "vq-64", "vq"),
    "fsq": ("fsq-44", "fsq-444", "fsq"),
    "lfq": ("lfq", "lfq-10-bits"),
    "bsq": ("bsq-6-bits", "bsq", "bsq-10-bits"),
}
"""Quantizers with more and more codes, by what a curve is called; all else of a curve is equal."""
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


def interval(values: Array) -> canvas.Point:
    """Mean over trainings and its t interval at 95 %, of one value a training; NaN where one lacks."""
    mean = values.mean()
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return canvas.Point(float(mean), float(mean - half), float(mean + half))


def written(values: Array) -> str:
    """The `interval` of values in a table."""
    estimate, low, high = interval(values)
    return "-" if np.isnan(estimate) else f"{estimate:.2f} [{low:.2f}, {high:.2f}]"


def table(what: str, rows: Mapping[str, Array]) -> list[str]:
    """A table with a line for each of some `rows` (training, figure)."""
    head = f"| {what} | " + " | ".join(FIGURES) + " |"
    printed = [head, "|---" * (len(FIGURES) + 1) + "|"]
    for name, values in rows.items():
        printed.append(f"| {name} | " + " | ".join(written(column) for column in values.T) + " |")
    return printed


def differences(measured: Mapping[str, Array]) -> dict[str, Array]:
    """Of each pair the differences (training, figure)."""
    pairs = combinations(measured, 2)
    return {f"{one} - {other}": measured[one] - measured[other] for one, other in pairs}


def undecided(pairs: Mapping[str, Array]) -> list[str]:
    """A line for each figure that all pairs have: those that t tests do not tell apart."""
    found = []
    for column, figure in enumerate(FIGURES):
        values = np.array([each[:, column] for each in pairs.values()])
        if np.isnan(values).any() or not values.any():
            continue
        adjusted = adjust(stats.ttest_1samp(values, 0.0, axis=1).pvalue)
        alike = [pair for pair, p in zip(pairs, adjusted, strict=True) if p >= 0.05]
        named = ", ".join(alike) or "none"
        found.append(f"{figure}: p >= .05 by Holm over {len(pairs)} pairs: {named}")
    return found


def compared(what: str, measured: Mapping[str, Array]) -> list[str]:
    """Tables of figures by quantizer (training, figure) and of their differences, and what is undecided."""
    pairs = differences(measured)
    tables = [*table(what, measured), "", *table("difference", pairs)]
    return [*tables, "", *undecided(pairs)]


def common_psnr(*curves: Array) -> float:
    """The middle of the decibels that all `curves` (point, training, figure) reach in all trainings.

    NaN where there are none.
    """
    low = max(float(points[:, :, PSNR].min(axis=0).max()) for points in curves)
    high = min(float(points[:, :, PSNR].max(axis=0).min()) for points in curves)
    return (low + high) / 2 if low <= high else float("nan")


def at(decibels: float, points: Array) -> Array:
    """Figures (training, figure) of a curve (point, training, figure) at a PSNR, by straight lines.

    Each training is interpolated for itself; NaN where it does not reach that PSNR.
    """
    found = []
    for training in points.transpose(1, 0, 2):
        ordered = training[training[:, PSNR].argsort()]
        columns = [
            np.interp(decibels, ordered[:, PSNR], column, left=np.nan, right=np.nan)
            for column in ordered.T
        ]
        found.append(columns)
    return np.array(found)


def curves_of(measured: Mapping[str, Array]) -> dict[str, Array]:
    """Those of `CURVES` whose points were all measured, (point, training, figure)."""
    found = {}
    for name, points in CURVES.items():
        if all(point in measured for point in points):
            found[name] = np.array([measured[point] for point in points])
    return found


def equal_psnr(measured: Mapping[str, Array]) -> list[str]:
    """A table of the differences of each pair of curves at a PSNR that both reach in all trainings.

    A line names pairs that share none; nothing where there are fewer than two curves.
    """
    apart, there = [], {}
    for (one, first), (other, second) in combinations(curves_of(measured).items(), 2):
        decibels = common_psnr(first, second)
        if np.isnan(decibels):
            apart.append(f"{one} - {other}")
        else:
            difference = at(decibels, first) - at(decibels, second)
            difference[:, PSNR] = 0.0  # up to rounding
            there[f"{one} - {other} at {decibels:.2f} dB"] = difference
    printed = []
    if there:
        printed += ["", "At equal PSNR, interpolated:", "", *table("difference", there)]
        printed += ["", *undecided(there)]
    if apart:
        printed += ["", f"No PSNR is reached by both in all trainings: {', '.join(apart)}"]
    return printed


def draw(measured: Mapping[str, Array], path: Path) -> None:
    """PSNR against H(Z): a line for each curve, and what is on none as points; bars are t intervals."""
    lines = dict(CURVES)
    on_a_line = {point for points in CURVES.values() for point in points}
    lines |= {name: (name,) for name in measured if name not in on_a_line}
    with canvas.style():
        figure, panels = canvas.canvas(3.0)
        panel = panels[0, 0]
        for number, (name, points) in enumerate(lines.items()):
            colour, marker = canvas.look(number)
            known = [measured[point] for point in points if point in measured]
            entropies = [interval(values[:, ENTROPY]) for values in known]
            decibels = [interval(values[:, PSNR]) for values in known]
            panel.errorbar(
                canvas.estimates(entropies),
                canvas.estimates(decibels),
                xerr=canvas.whiskers(entropies),
                yerr=canvas.whiskers(decibels),
                color=colour,
                marker=marker,
                markersize=3.5,
                label=name,
            )
        panel.set_xlabel("H(Z), bit")
        panel.set_ylabel("PSNR, dB")
        canvas.legend_of(figure, panel)
        figure.savefig(path)


def measure(folders: Sequence[Path], n_scenes: int) -> dict[str, Array]:
    """Figures (training, figure) of every quantizer whose weights are in all the folders."""
    scenes = draw_images(n_scenes, np.random.default_rng(SEED))
    measured = {}
    for name in {**LAB, **DIALS}:
        files = [folder / weights.file_name("tokenizer", name) for folder in folders]
        if all(file.is_file() for file in files):
            trained = [load_tokenizer(file) for file in files]
            measured[name] = np.array([figures_of(codes_of(each, scenes)) for each in trained])
    return measured


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the tokenizers in the folders and print what they agree on."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folders", type=Path, nargs="+", help="a folder a training, two or more")
    parser.add_argument("--scenes", type=int, default=N_SCENES, help="fresh scenes to encode")
    parser.add_argument("--figure", type=Path, help="file for PSNR against H(Z)")
    chosen = parser.parse_args(arguments)
    if len(chosen.folders) < 2:
        parser.error("give the folders of two trainings or more")
    measured = measure(chosen.folders, chosen.scenes)
    if not measured:
        parser.error("no quantizer has its weights in all of these folders")
    print(f"{len(chosen.folders)} trainings, {chosen.scenes} scenes each", "", sep="\n")
    print(*compared("quantizer", measured), *equal_psnr(measured), sep="\n")
    if chosen.figure is not None:
        draw(measured, chosen.figure)


if __name__ == "__main__":
    main()
