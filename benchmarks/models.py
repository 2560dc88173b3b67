"""Images per second and peak memory of the published models, against upstream's own loop on the same weights.

    python -m benchmarks.models --device cuda --size published --out benchmarks/models.csv

Weights are random: the arithmetic does not depend on them, and nothing is downloaded. `tiny` runs anywhere in a minute;
`published` builds networks of the published sizes and wants a GPU with 24 GB. Text encoders and decoders are left
out of the time, as they run once an image. LlamaGen and Show-o have no upstream class in a library to compare with.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import tiny
from generate.models import model_class
from generate.models.amused import Amused
from generate.models.janus import Janus
from generate.models.precision import STORAGE
from generate.study.probes import Probe
from generate.traversal.draw import PhiloxNoise

TEXT = "a red cat and a dog"
Loop = Callable[[int], None]
"""Samples so many images."""


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


def rows(
    names: list[str], batches: list[int], arguments: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Images per second and peak memory of each model, by our loop and by upstream's."""
    device, size = arguments.device, arguments.size
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            adapter = model_class(name)
            options = adapter.options(
                {**tiny_options(name, Path(folder)), "precision": arguments.precision}
            )
            model = adapter.load(adapter.identify(name, options), options, device)
            if size == "published":
                enlarge(name, model)
            loops = {
                "ibgenerate": ours(model, device, size),
                "upstream": upstream(model, device, size),
            }
            for batch in batches:
                for loop, sample in loops.items():
                    if sample is not None:
                        speed, memory = measure(sample, batch, device, arguments.repeats)
                        yield {
                            "model": name, "size": size, "precision": arguments.precision, "loop": loop, "batch": batch,
                            "images_per_second": round(speed, 3), "peak_gb": round(memory, 2), "device": device,
                        }  # fmt: skip


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
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if not arguments.device.startswith("cuda"):
        print("no GPU here: these are CPU figures, and say nothing of a GPU.", file=sys.stderr)
    with (
        arguments.out.open("w", newline="")
        if arguments.out
        else contextlib.nullcontext(sys.stdout) as file
    ):
        writer: csv.DictWriter[str] | None = None
        for row in rows(arguments.models, arguments.batch, arguments):
            if writer is None:
                writer = csv.DictWriter(file, list(row))
                writer.writeheader()
            writer.writerow(row)
            file.flush()


if __name__ == "__main__":
    main()
