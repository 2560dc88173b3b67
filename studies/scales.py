"""Which scales of a next-scale model carry its bits and its diversity (docs/scales.md).

    ibgenerate run studies/scales.yaml --out runs/scales
    python studies/scales.py runs/scales

Printed as Markdown, with intervals over prompts: the bits of each scale, and for every condition of
the experiments `scales` and `codes` what is left of the bits of an image and of two distances.
"""

import sys
from collections.abc import Iterator

import numpy as np
import xarray as xr

from ibstats.measure import distances, metric
from ibstats.selection import Selection, select
from ibstats.statistics.diversity import mean_pairwise
from ibstats.statistics.path_and_execution import ledger
from ibstats.statistics.ratios import ratio_interval
from ibstats.statistics.uncertainty import Resampling, mean_interval
from ibstats.store import open_store

MODEL = "trio-var"
FREE = {"scales": "01-none", "codes": "keep-1.00"}
"""The condition of each experiment without intervention."""
METRICS = ("reference", "pixel_cosine")
HOW = Resampling()


def written(found: xr.Dataset, digits: int) -> str:
    """An estimate with its interval."""
    numbers = [float(found[name]) for name in ("estimate", "low", "high")]
    estimate, low, high = [f"{number:.{digits}f}" for number in numbers]
    return f"{estimate} [{low}, {high}]"


def bits_by_scale(dataset: xr.Dataset) -> xr.DataArray:
    """Bits of an image's tokens at each scale, means over images, (prompt, scale)."""
    scale = dataset["token_step"]
    parts = []
    for index in range(int(scale.max()) + 1):
        here = dataset["token_surprisal"].astype(np.float64).where(scale == index, 0.0)
        parts.append(here.sum(("row", "col")).mean("sample"))
    return xr.concat(parts, "scale").transpose("prompt", "scale")


def scale_lines(selection: Selection) -> Iterator[str]:
    """A row for each scale: its tokens, their bits each, all its bits, and their share of the image's."""
    dataset = selection.dataset.sel(condition=FREE["scales"]).reset_coords(drop=True)
    bits = bits_by_scale(dataset)
    sizes = np.bincount(dataset["token_step"].values[0, 0].ravel())
    yield "| scale | tokens | bits a token | bits an image | share of the bits |"
    yield "|---|---|---|---|---|"
    for index, size in enumerate(sizes):
        here = bits.isel(scale=index)
        each = written(mean_interval(here / int(size), HOW), 2)
        whole = written(mean_interval(here, HOW), 1)
        share = written(ratio_interval(here, bits.sum("scale"), HOW), 3)
        yield f"| {index + 1} | {size} | {each} | {whole} | {share} |"


def left_lines(selection: Selection, free: str) -> Iterator[str]:
    """A row for each condition: bits and distances as shares of those without intervention."""
    columns = {"bits": ledger(selection.dataset, selection.identity).sel(quantity="tokens")}
    for name in METRICS:
        measured = distances(selection, metric(name))["distance"]
        columns[measured.attrs.get("long_name", name)] = mean_pairwise(measured)
    yield "| condition | " + " | ".join(columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for condition in selection.dataset["condition"].values:
        cells = []
        for values in columns.values():
            here = values.sel(condition=condition).reset_coords(drop=True)
            baseline = values.sel(condition=free).reset_coords(drop=True)
            left = ratio_interval(here, baseline, HOW)
            cells.append(written(left, 3))
        yield f"| {condition} | " + " | ".join(cells) + " |"


def main(run: str) -> None:
    """Print the tables of a run of `studies/scales.yaml`."""
    store = open_store(run)
    print(*scale_lines(select(store, MODEL, "scales")), sep="\n")
    for experiment, free in FREE.items():
        print("", *left_lines(select(store, MODEL, experiment), free), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1])
