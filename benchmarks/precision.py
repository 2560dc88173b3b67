"""What another precision changes in the tokens of the trio.

    python -m benchmarks.precision [--prompts 24] [--samples 8] [--device cuda]

Noise, prompts and all that comes after the logits are the same, so
tokens differ by the network's rounding alone. One line of CSV a member and precision: the share of
tokens and of whole grids that equal those of float32, the mean entropy of the laws that tokens were
drawn from, and the entropy of the codes of all grids together (plug-in), both in bits. Where the device
has no TF32 it is emulated (`studies/tf32.py`), from the root of the repository.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from generate.models import loaded
from generate.models.precision import has_tf32
from generate.study.probes import Probe
from generate.traversal.draw import PhiloxNoise
from generate.traversal.trace import Trace
from generate.trio.prompt_sets import prompt_set

EMULATED = Path("studies/tf32.py")
MEMBERS = {"trio-ar": "Causal", "trio-mim": "Confident", "trio-diffusion": "Revealed"}
"""Members of the trio, and what they are called where TF32 is emulated."""


def traced(name: str, given: Mapping[str, str], texts: list[str], device: str) -> Trace:
    """One grid a text by a member of the trio with given options."""
    model = loaded(name, given, device)
    keys = np.arange(2 * len(texts), dtype=np.uint64).reshape(2, -1)
    return model.traverse(model.encode(texts), Probe(), PhiloxNoise(*keys))


def row(name: str, precision: str, trace: Trace, exact: Trace) -> dict[str, str]:
    """What a member's grids in a precision are, beside those in float32."""
    equal = trace.tokens == exact.tokens
    counts = torch.bincount(trace.tokens.flatten()).double()
    shares = counts[counts > 0] / counts.sum()
    return {
        "model": name,
        "precision": precision,
        "grids": str(len(equal)),
        "equal_tokens": f"{equal.double().mean():.4f}",
        "equal_grids": f"{equal.all(1).double().mean():.4f}",
        "bits_a_token": f"{trace.token_entropy.double().mean():.4f}",
        "bits_of_codes": f"{-(shares * shares.log2()).sum():.4f}",
    }


def rows(texts: list[str], device: str) -> Iterator[dict[str, str]]:
    """Every member in every precision that the device has, or that is emulated."""
    for name, emulated in MEMBERS.items():
        exact = traced(name, {}, texts, device)
        yield row(name, "float32", exact, exact)
        yield row(name, "bfloat16", traced(name, {"precision": "bfloat16"}, texts, device), exact)
        if has_tf32(device):
            yield row(name, "tf32", traced(name, {"precision": "tf32"}, texts, device), exact)
            continue
        for factors in ("nearest", "truncated"):
            trace = traced(f"{EMULATED}:{emulated}", {"factors": factors}, texts, device)
            yield row(name, f"tf32, emulated, {factors}", trace, exact)


def main() -> None:
    """A line of CSV for each member and precision."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--samples", type=int, default=8)
    arguments = parser.parse_args()
    prompts = prompt_set("study", arguments.prompts, seed=0)
    texts = [prompt["text"] for prompt in prompts for _ in range(arguments.samples)]
    writer: csv.DictWriter[str] | None = None
    for found in rows(texts, arguments.device):
        if writer is None:
            writer = csv.DictWriter(sys.stdout, list(found))
            writer.writeheader()
        writer.writerow(found)


if __name__ == "__main__":
    main()
