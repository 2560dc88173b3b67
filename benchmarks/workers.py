"""A study of the reference trio by one local worker and by two, with one torch thread each.

How much two cores can gain is the machine's: they share its memory, its power and what else it does. So the same
networks also sample in two bare processes at once, which keep nothing and ask nobody.
"""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import yaml

from generate.models import loaded
from generate.run import dispatch, prepare
from generate.store.samples import SampleStore
from generate.study.planning import Plan, plan
from generate.study.probes import Probe
from generate.study.study_file import load_study
from generate.traversal.draw import PhiloxNoise
from schemas.io.cluster import Cluster, connected

MEMBERS = ("trio-ar", "trio-mim", "trio-diffusion")
STUDY = {
    "name": "workers",
    "samples": 16,
    "models": [{"model": name, "options": {"guidance": 1.0}} for name in MEMBERS],
    "prompts": {"source": "trio", "n": 8},
    "experiments": {"words": {"kind": "factorial", "factors": ["prompt_type"]}},
    "block_prompts": 1,
    "batch_size": 16,
}


def seconds(laid_out: Plan, template: Path, folder: Path, workers: int) -> tuple[float, str]:
    """Time to make a study with so many warm workers, and the digest of its store."""
    cluster = Cluster("local", workers, options={"dashboard_address": ":0"})
    with connected(cluster) as client:
        client.wait_for_workers(workers)
        taken, digest = 0.0, ""
        for name in ("warm-up", "timed"):
            store = SampleStore.open(
                shutil.copytree(template, folder / f"{name}-{workers}-{time.monotonic_ns()}")
            )
            start = time.perf_counter()
            digest = dispatch.run(client, laid_out, store, cluster).digest
            taken = time.perf_counter() - start
        return taken, digest


def one_and_two() -> tuple[tuple[float, str], tuple[float, str]]:
    """Time and digest of the study by one worker, and by two."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
        laid_out = plan(*load_study(str(folder / "study.yaml")))
        prepare(laid_out, folder / "template")
        return seconds(laid_out, folder / "template", folder, 1), seconds(
            laid_out, folder / "template", folder, 2
        )


GRIDS, TURNS = 16, 12
"""Grids sampled at once, as in a batch of `STUDY`, and how often by each member."""


def sample_bare(_: int) -> None:
    """Sample and decode grids of each member, on one thread, and forget them."""
    torch.set_num_threads(1)
    keys = np.arange(2 * GRIDS, dtype=np.uint64).reshape(2, -1)
    for name in MEMBERS:
        model = loaded(name, {"guidance": 1.0})
        for _ in range(TURNS):
            texts = ["a large red circle on a blue background"] * GRIDS
            trace = model.traverse(model.encode(texts), Probe(), PhiloxNoise(*keys))
            model.decode(trace.tokens)


def bare() -> tuple[float, float]:
    """Time of two equal parts of the work one after the other in one process, and at once in two."""
    times = []
    for n_processes in (1, 2):
        with multiprocessing.get_context("spawn").Pool(n_processes) as pool:
            pool.map(sample_bare, range(2), chunksize=1)  # warm
            start = time.perf_counter()
            pool.map(sample_bare, range(2), chunksize=1)
            times.append(time.perf_counter() - start)
    return times[0], times[1]
