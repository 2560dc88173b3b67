"""How much faster two local workers make the reference trio's images than one, one torch thread each, in turns.

    python benchmarks/workers.py [PAIRS]

Each pair makes the same study with one worker and with two, workers warm, and compares the digests of the stores.
On a machine that does other work besides, the ratio says what was left of the second core.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import yaml

from generate import dispatch
from generate.run import prepare
from generate.store import SampleStore
from generate.study import Plan, load_study, plan
from schemas.cluster import Cluster, connected

ASKED = 1.6
STUDY = {
    "name": "workers",
    "samples": 6,
    "models": [{"model": name, "options": {"guidance": 1.0}} for name in ("trio-ar", "trio-mim", "trio-diffusion")],
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
            store = SampleStore.open(shutil.copytree(template, folder / f"{name}-{workers}-{time.monotonic_ns()}"))
            start = time.perf_counter()
            digest = dispatch.run(client, laid_out, store, cluster).digest
            taken = time.perf_counter() - start
        return taken, digest


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
        laid_out = plan(*load_study(str(folder / "study.yaml")))
        prepare(laid_out, folder / "template")
        for _ in range(pairs):
            (one, first), (two, second) = (seconds(laid_out, folder / "template", folder, n) for n in (1, 2))
            print(
                f"workers    one {one:9.4f} s   two     {two:9.4f} s   ratio {one / two:9.2f} (asked >= {ASKED})"
                f"   digests {'equal' if first == second else 'DIFFER'}",
                flush=True,
            )


if __name__ == "__main__":
    main()
