"""The distance by its name, on a run, against its definition in loops."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

import ibstats

PROMPTS = ["a red cat", "a blue dog", "two birds"]


def steps(image: np.ndarray) -> list[float]:
    """The mean steps down and across, of each channel."""
    height, width, n_channels = image.shape
    found = []
    for dy, dx in ((1, 0), (0, 1)):
        for channel in range(n_channels):
            sizes = []
            for y, x in itertools.product(range(height - dy), range(width - dx)):
                here, there = image[y, x, channel], image[y + dy, x + dx, channel]
                sizes.append(abs(float(here) - float(there)) / 255)
            found.append(sum(sizes) / len(sizes))
    return found


def test_diversity_of_a_run_is_the_mean_over_pairs(tmp_path: Path) -> None:
    """Of two conditions, one with a quarter of the contrast."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 3, 4, 6, 5, 3), dtype=np.uint8)
    images[0] //= 4
    ibstats.from_arrays(
        tmp_path / "run", images=images, prompts=PROMPTS, conditions=["faint", "strong"]
    )
    run = ibstats.open(tmp_path / "run")
    table = run.summary("diversity", metrics=("ibstats_edges:EdgeDistance",))
    found = table.set_index("condition")["estimate"]
    for condition, made in zip(("faint", "strong"), images, strict=True):
        assert found[condition] == pytest.approx(mean_distance(made), rel=1e-9)


def mean_distance(images: np.ndarray) -> float:
    """The mean over all pairs of each prompt's images."""
    distances = []
    for of_prompt in images:
        for one, other in itertools.combinations(map(steps, of_prompt), 2):
            distances.append(sum((a - b) ** 2 for a, b in zip(one, other, strict=True)))
    return float(np.mean(distances))
