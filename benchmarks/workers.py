"""A study of the reference trio by one local worker and by two, with one torch thread each.

On a machine that does other work besides, their ratio says what was left of the second core.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import yaml

from generate.run import dispatch, prepare
from generate.store.samples import SampleStore
from generate.study.planning import Plan, plan
from generate.study.study_file import load_study
from schemas.io.cluster import Cluster, connected

STUDY = {
    "name": "workers",
    "samples": 6,
    "models": [
        {"model": name, "options": {"guidance": 1.0}}
        for name in ("trio-ar", "trio-mim", "trio-diffusion")
    ],
    "prompts": {"source": "trio", "n": 4},
    "experiments": {"noise": {"kind": "crossed_noise", "paths": 4, "executions": 4}},
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
