"""Tokens of 100 000 images: how fast they are read, and how much memory and time their analysis takes.

    python -m benchmarks.large_store [--images 100000] [--keep FOLDER]

A synthetic model of the published shape (16 x 16 tokens of a codebook of 16384, Zipf's law, codes that depend on the
text) goes through the real run and store; then a fresh process makes every token statistic of `ibstats entropy`.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.growing import write_prompts
from generate.models.base import Model
from generate.run.blocks import run
from generate.run.preparing import prepare
from generate.study.noise import uniforms
from generate.study.planning import plan
from generate.study.probes import Probe
from generate.traversal.draw import Noise, PhiloxNoise
from generate.traversal.trace import Trace
from ibstats.store import open_store
from schemas.provenance import ModelIdentity
from schemas.study import Study

SAMPLES, CONDITIONS = 10, 8


@dataclass(frozen=True)
class NoOptions:
    pass


class Zipf(Model):
    """Codes by Zipf's law, permuted by the text."""

    family = "autoregressive"
    Options = NoOptions
    codes: ClassVar[int] = 16384
    grid: ClassVar[tuple[int, int]] = (16, 16)
    image_size: ClassVar[tuple[int, int]] = (256, 256)

    @classmethod
    def identify(cls, name: str, options: NoOptions) -> ModelIdentity:
        return ModelIdentity(
            model=name,
            family=cls.family,
            revision="1",
            weights=[],
            codebook_size=cls.codes,
            grid=cls.grid,
            image_size=cls.image_size,
            steps=math.prod(cls.grid),
            options={},
        )

    @classmethod
    def load(cls, identity: ModelIdentity, options: NoOptions, device: str) -> Self:
        return cls(identity)

    def encode(self, texts: Sequence[str]) -> NDArray[np.int64]:
        return np.array([zlib.crc32(text.encode()) for text in texts])

    def traverse(self, conditioning: NDArray[np.int64], probe: Probe, noise: Noise) -> Trace:
        assert isinstance(noise, PhiloxNoise)
        codes = np.arange(self.codes) if probe.allowed is None else np.flatnonzero(probe.allowed)
        law = 1 / np.arange(1, len(codes) + 1)
        law /= law.sum()
        drawn = uniforms(noise.execution_keys, 0, math.prod(self.grid))
        rank = np.zeros(drawn.shape, dtype=np.int64)
        if not probe.argmax(0, 1):
            rank = np.minimum(np.searchsorted(law.cumsum(), drawn), len(codes) - 1)
        tokens = codes[(rank * 7919 + conditioning[:, None]) % len(codes)]
        entropy = np.full(tokens.shape, -(law * np.log2(law)).sum())
        return Trace(
            torch.from_numpy(tokens),
            torch.from_numpy(-np.log2(law[rank])),
            torch.from_numpy(entropy),
        )

    def decode(self, tokens: Tensor) -> NDArray[np.uint8]:
        raise NotImplementedError("images are off")


def make(folder: Path, n_images: int) -> Path:
    """A complete run of so many images in eight conditions."""
    write_prompts(folder, n_images // SAMPLES // CONDITIONS)
    study = Study.model_validate(
        {
            "name": "large",
            "models": [{"model": "benchmarks.large_store:Zipf", "label": "zipf"}],
            "prompts": {"source": "prompts.jsonl"},
            "calibration": {"source": "calibration.jsonl", "n": 50},
            "samples": SAMPLES,
            "images": False,
            "batch_size": 1000,
            "block_prompts": 100,
        }
    )
    laid_out = plan(study, folder)
    run(laid_out, prepare(laid_out, folder / "run"))
    return folder / "run"


def seconds(function: Any) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


ANALYSE = """
import sys, time
from pathlib import Path
from ibstats import analyse, open_store
from schemas.analysis import Config

def peak():
    (line,) = (l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM"))
    return int(line.split()[1]) / 1e3

imported, start = peak(), time.perf_counter()
analyse(open_store(sys.argv[1]), Config(parts=("information",)))
took = time.perf_counter() - start
print(f"all token statistics: {took:.1f} s; peak memory {peak():.0f} MB, {imported:.0f} MB of it before the first read")
"""


def main() -> None:
    """Write the store, read it, analyse it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--keep", type=Path, help="folder to keep the run in")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "run"
        if not (path / "run.json").exists():
            print(
                f"{given.images} images written in {seconds(lambda: make(folder, given.images)):.1f} s",
                flush=True,
            )
        tokens = open_store(path).dataset("zipf")["tokens"]
        read = [seconds(tokens.isel(condition=c).load) for c in range(CONDITIONS)]
        print(
            f"tokens of one condition ({tokens[0].nbytes / 1e6:.0f} MB): {max(read):.3f} s at most",
            flush=True,
        )
        subprocess.run([sys.executable, "-c", ANALYSE, str(path)], check=True)


if __name__ == "__main__":
    main()
