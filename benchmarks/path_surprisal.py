"""What recording the path costs: process time of `trio-mim` under each value of `path_surprisal`.

python -m benchmarks.path_surprisal [samples]
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch

from generate.models import model_class
from generate.probes import Probe
from generate.traversal import PhiloxNoise


def seconds(how: str, n_samples: int, repeats: int = 3) -> float:
    """Shortest process time of one batch."""
    adapter = model_class("trio-mim")
    options = adapter.options({"path_surprisal": how})
    model = adapter.load(adapter.identify("trio-mim", options), options, "cpu")
    conditioning = model.encode(["a red ring"] * n_samples)
    keys = np.arange(2 * n_samples, dtype=np.uint64).reshape(2, -1)
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        model.traverse(conditioning, Probe(), PhiloxNoise(*keys))
        spent.append(time.process_time() - start)
    return min(spent)


if __name__ == "__main__":
    torch.set_num_threads(1)
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 32
    base = seconds("none", n)
    print(f"none              {base:7.2f} s for {n} samples")
    for name in ("given_candidates", "exact"):
        taken = seconds(name, n)
        print(f"{name:17s} {taken:7.2f} s  {100 * (taken / base - 1):+.1f} %")
