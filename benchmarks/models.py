"""Images per second and peak memory of the published models, against upstream's own loop on the same weights.

    python -m benchmarks.models --device cuda --size published --out benchmarks/models.csv

Weights are random: the arithmetic does not depend on them, and nothing is downloaded. `tiny` runs anywhere in a minute;
`published` builds networks of the published sizes and wants a GPU with 24 GB. Text encoders and decoders are left
out of the time, as they run once an image. LlamaGen and Show-o have no upstream class in a library to compare with.
Peaks are of one model alone, what the path is recorded by is an option, and a model that fails is a row that says why.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from benchmarks import tiny
from generate.errors import one_line
from generate.models import graphed, memory, model_class
from generate.models.amused import Amused
from generate.models.janus import Janus
from generate.models.precision import STORAGE
from generate.study.probes import Probe
from generate.traversal.draw import PhiloxNoise

TEXT = "a red cat and a dog"
Loop = Callable[[int], None]
"""Samples so many images."""
SAMPLING = ("steps", "guidance", "temperature", "top_k", "top_p", "path_temperature")
"""Options that say how a model samples; at the published size they are upstream's."""
COLUMNS = (
    "model",
    "size",
    "precision",
    "loop",
    "batch",
    "images_per_second",
    "peak_gb",
    "path_surprisal",
    "settings",
    "device",
    "torch",
    "error",
)


def tiny_options(name: str, folder: Path) -> dict[str, Any]:
    """Options of a tiny checkpoint made in a folder."""
    if name in ("llamagen", "show-o"):
        made: dict[str, Any] = {"llamagen": tiny.llamagen, "show-o": tiny.showo}[name](folder)
        return made
    make = {"amused": tiny.amused, "vq-diffusion": tiny.vq_diffusion, "janus-pro": tiny.janus}[name]
    return {"checkpoint": str(make(folder))}


def enlarge(name: str, model: Any) -> None:
    """Replace the networks that a traversal calls by random ones of the published size."""
    from benchmarks import published

    grid, steps = published.replace(name, model)
    model.identity = model.identity.model_copy(update={"grid": grid, "steps": steps})


def conditioning(model: Any, n: int, device: str, size: str) -> Any:
    """Conditioning of `n` samples; at the published size random, as the tiny text encoder does not fit."""
    if size == "tiny":
        return model.encode([TEXT] * n)
    from benchmarks import published

    return published.conditioning(model, n, device)


def ours(model: Any, device: str, size: str) -> Loop:
    """The shared traversal."""

    def sample(n: int) -> None:
        keys = np.arange(n, dtype=np.uint64)
        model.traverse(
            conditioning(model, n, device, size), Probe(), PhiloxNoise(keys, keys + np.uint64(n))
        )

    return sample


def upstream(model: Any, device: str, size: str) -> Loop | None:
    """The loop of the library's own class on the same networks; None where no library has one."""
    if isinstance(model, Amused):
        from diffusers import AmusedPipeline, AmusedScheduler

        pipeline = AmusedPipeline(
            vqvae=model.vqvae, tokenizer=Amused.tokenizer(model.settings).tokenizer, text_encoder=model.text_encoder,
            transformer=model.transformer, scheduler=AmusedScheduler(model.mask_id),
        )  # fmt: skip
        pipeline.set_progress_bar_config(disable=True)

        def amused(n: int) -> None:
            given = conditioning(model, n, device, size)
            (pooled, pooled_u), (hidden, hidden_u) = given.pooled.chunk(2), given.hidden.chunk(2)
            pipeline(
                prompt_embeds=pooled, encoder_hidden_states=hidden, negative_prompt_embeds=pooled_u,
                negative_encoder_hidden_states=hidden_u, output_type="latent",
            )  # fmt: skip

        return amused
    if isinstance(model, Janus) and size == "tiny":
        from transformers import JanusForConditionalGeneration

        network = JanusForConditionalGeneration.from_pretrained(
            model.found["checkpoint"].folder, local_files_only=True, dtype=model.dtype
        ).to(device)
        boi = Janus.tokenizer(model.settings).convert_tokens_to_ids("<begin_of_image>")
        network.generation_config.generation_kwargs = {"boi_token_id": boi}

        def janus(n: int) -> None:
            ids = torch.tensor([Janus.ids(model.settings, TEXT)] * n, device=device)
            mask = torch.ones_like(ids)
            network.generate(
                ids, attention_mask=mask, generation_mode="image", do_sample=True, top_k=None
            )

        return janus
    return None


def without_graph(sample: Loop) -> Loop:
    """The same, each kernel launched by itself."""

    def launched(n: int) -> None:
        with mock.patch.dict(os.environ, {graphed.SWITCH: "0"}):
            sample(n)

    return launched


def measure(sample: Loop, n: int, device: str, repeats: int) -> tuple[float, float]:
    """Images per second (best of `repeats`) and peak GPU memory in GB, after one warm-up."""
    cuda = device.startswith("cuda")
    sample(n)
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        sample(n)
        if cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return n / best, torch.cuda.max_memory_allocated() / 1e9 if cuda else float("nan")


def settings(name: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Options of an adapter: a tiny checkpoint, and at the published size upstream's way of sampling."""
    adapter = model_class(name)
    upstreams = vars(adapter.Options(**adapter.presets.get("256", {})))
    given = {**tiny_options(name, folder), "precision": arguments.precision}
    if "path_surprisal" in upstreams:
        given["path_surprisal"] = arguments.path_surprisal
    if arguments.size == "published":
        given |= {key: upstreams[key] for key in SAMPLING if key in upstreams}
    return given


def of_model(name: str, folder: Path, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for each batch and loop of one model, which is gone afterwards."""
    device, size = arguments.device, arguments.size
    adapter = model_class(name)
    options = adapter.options(settings(name, folder, arguments))
    model = adapter.load(adapter.identify(name, options), options, device)
    if size == "published":
        enlarge(name, model)
    asked = {key: value for key, value in vars(options).items() if key in SAMPLING}
    told = {
        "path_surprisal": getattr(options, "path_surprisal", ""),
        "settings": " ".join(f"{key}={value}" for key, value in asked.items()),
    }
    loops = {"ibgenerate": ours(model, device, size), "upstream": upstream(model, device, size)}
    if device.startswith("cuda") and model.family == "autoregressive":
        loops["ibgenerate without a graph"] = without_graph(ours(model, device, size))
    for batch in arguments.batch:
        for loop, sample in loops.items():
            if sample is None:
                continue
            speed, peak = measure(sample, batch, device, arguments.repeats)
            figures = {"images_per_second": round(speed, 3), "peak_gb": round(peak, 2)}
            yield {"loop": loop, "batch": batch, **figures, **told}


def rows(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All rows, with the same columns; a model that fails is a row with its error.

    No model is begun once `budget` seconds are over.
    """
    device = arguments.device
    card = torch.cuda.get_device_name(device) if device.startswith("cuda") else "CPU"
    start = time.perf_counter()
    for name in arguments.models:
        if time.perf_counter() - start > arguments.budget:
            return
        about = {"model": name, "size": arguments.size, "precision": arguments.precision}
        made_by = {"device": card, "torch": torch.__version__}
        try:
            with tempfile.TemporaryDirectory() as folder:
                for found in of_model(name, Path(folder), arguments):
                    yield dict.fromkeys(COLUMNS, "") | about | found | made_by
        except Exception as error:  # of any kind: the other models are still measured
            told = one_line(f"{type(error).__name__}: {error}", 200)
            yield dict.fromkeys(COLUMNS, "") | about | made_by | {"error": told}
        gc.collect()
        memory.give_back(device)


def main() -> None:
    """A line of CSV for each model, loop and batch size."""
    known = ["amused", "vq-diffusion", "janus-pro", "llamagen", "show-o"]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="*", default=known, choices=known)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", choices=("tiny", "published"), default="tiny")
    parser.add_argument("--precision", choices=tuple(STORAGE), default="float32")
    parser.add_argument("--batch", nargs="*", type=int, default=[1, 8])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument(
        "--path-surprisal", choices=("exact", "given_candidates", "none"), default="none"
    )
    parser.add_argument("--budget", type=float, default=420.0, help="seconds to begin a model in")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if not arguments.device.startswith("cuda"):
        print("no GPU here: these are CPU figures, and say nothing of a GPU.", file=sys.stderr)
    with (
        arguments.out.open("w", newline="")
        if arguments.out
        else contextlib.nullcontext(sys.stdout) as file
    ):
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in rows(arguments):
            writer.writerow(row)
            file.flush()


if __name__ == "__main__":
    main()
