"""Contact sheets: samples of every condition side by side, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten

import numpy as np

from ibstats.report.figures import STYLE, save
from ibstats.store import Store


def contact_sheets(
    store: Store,
    folder: Path,
    *,
    experiment: str = "factorial",
    prompts: Sequence[int] = (0, 1),
    n_samples: int = 6,
    formats: Sequence[str] = ("png",),
    allow_partial: bool = False,
) -> list[Path]:
    """One sheet a model: a row per condition, blocks of samples per prompt, as in the paper's Fig. 7."""
    import matplotlib
    from matplotlib.figure import Figure

    files: list[Path] = []
    folder.mkdir(parents=True, exist_ok=True)
    for model in store.models():
        dataset = store.dataset(model, experiment, allow_partial=allow_partial)
        if "image" not in dataset:
            continue
        shown = [p for p in prompts if p < dataset.sizes["prompt"]]
        pixels = (
            dataset["image"]
            .isel(prompt=shown, sample=slice(n_samples))
            .transpose("condition", "prompt", "sample", "y", "x", "channel")
        )
        wording = {prompt.id: prompt.text for prompt in store.run.prompts}
        texts = [wording[str(prompt)] for prompt in pixels["prompt"].values]
        with matplotlib.rc_context(STYLE):
            square = 5.2 / (len(shown) * pixels.sizes["sample"])
            figure = Figure(
                figsize=(6.8, square * pixels.sizes["condition"] + 0.6), layout="constrained"
            )
            axes = figure.subplots(1, len(shown), squeeze=False)[0]
            for i, panel in enumerate(axes):
                panel.imshow(montage(pixels.isel(prompt=i).values), interpolation="nearest")
                panel.set_title(
                    shorten(texts[i], 60, placeholder=" ..."), loc="left", parse_math=False
                )
                panel.set_xticks([])
                for side in panel.spines.values():
                    side.set_visible(False)
                height = dataset.sizes["y"] + 2
                labels = (
                    [str(c).replace("-", " / ") for c in pixels["condition"].values]
                    if i == 0
                    else []
                )
                panel.set_yticks([height * (row + 0.5) for row in range(len(labels))], labels)
                panel.tick_params(length=0)
            figure.suptitle(model, fontsize=8)
            files += save(figure, folder / f"contact-{model}", formats)
    return files


def montage(images: np.ndarray) -> np.ndarray:
    """`(row, column, y, x, channel)` as one picture with white gutters."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), constant_values=255)
    rows, columns, height, width, channels = padded.shape
    return np.asarray(
        padded.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)
    )
