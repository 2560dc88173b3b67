"""How making, checking and analysing a run grow with its images.

    python -m benchmarks.growth [--images 10000 100000 1000000] [--keep FOLDER] [--write]

A model of 16 tokens and 8 x 8 pixels that takes no time, so that what is timed is the work around it; blocks are of 256
images, as by default. Every step is a process of its own, after its imports. `--write` puts the table into
`docs/limits.md`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.growing import Taken, put_into_docs, table, taken, write_prompts
from benchmarks.large_store import Zipf
from generate.run.blocks import run
from generate.run.preparing import prepare
from generate.study.planning import Plan, plan
from schemas.study import Study

NAME = "growth"
"""What marks the place of the table in the docs."""
SAMPLES, CONDITIONS = 10, 8

MAKE = "from benchmarks import growth; growth.make(Path(path))"
VERIFY = "generate_app(['verify', path], standalone_mode=False)"
ENTROPY = "analyse(path, Config(parts=('information',)))"
DISTANCES = "analyse(path, Config(parts=('diversity',), metrics=('pixel_cosine',)))"
STEPS = {
    "run": MAKE,
    "run again": MAKE,
    "verify": VERIFY,
    "token statistics": ENTROPY,
    "distances and their statistics": DISTANCES,
}
"""What is timed, by what the table calls it."""


class Small(Zipf):
    """Codes by Zipf's law as grey levels."""

    codes = 64
    grid = (4, 4)
    image_size = (8, 8)

    def decode(self, tokens: Tensor) -> NDArray[np.uint8]:
        grey = (4 * tokens.view(-1, *self.grid) + 3).to(torch.uint8).unsqueeze(-1).numpy()
        return grey.repeat(2, 1).repeat(2, 2).repeat(3, 3)


def laid_out(folder: Path) -> Plan:
    """The plan of the study whose prompts lie in a folder."""
    asked = {
        "name": "growth",
        "models": [{"model": "benchmarks.growth:Small", "label": "small"}],
        "prompts": {"source": "prompts.jsonl"},
        "calibration": {"source": "calibration.jsonl", "n": 50},
        "samples": SAMPLES,
        "batch_size": 256,
    }
    return plan(Study.model_validate(asked), folder)


def n_prompts(n_images: int) -> int:
    """Prompts of a study of so many images."""
    return n_images // SAMPLES // CONDITIONS


def make(path: Path) -> None:
    """Make the run at a path, or find it made."""
    asked = laid_out(path.parent)
    run(asked, prepare(asked, path))


def main() -> None:
    """Time each step at each size, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--keep", type=Path, help="folder to keep the runs in")
    parser.add_argument("--write", action="store_true", help="put the table into docs/limits.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        found: dict[str, list[Taken]] = {name: [] for name in STEPS}
        files = []
        warm = folder / "warm" / "run"
        write_prompts(warm.parent, n_prompts(1000))
        make(warm)
        for n_images in given.images:
            path = folder / str(n_images) / "run"
            write_prompts(path.parent, n_prompts(n_images))
            for name, code in STEPS.items():
                found[name].append(taken(code, path, code, warm))
                print(n_images, name, found[name][-1], flush=True)
            plain = [file for file in (path / "data.zarr").rglob("*") if file.is_file()]
            size = sum(file.stat().st_size for file in plain)
            files.append(
                f"{n_images:,} images: {len(plain) / n_images:.3f} files and {size / n_images:.0f} "
                "bytes an image"
            )
    text = table(given.images, "images", found) + "\n\n" + "\n".join(f"- {line}" for line in files)
    print(text)
    if given.write:
        put_into_docs(NAME, text + "\n")


if __name__ == "__main__":
    main()
