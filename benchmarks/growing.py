"""How steps grow with the size of a run: each is timed in a process of its own, after its imports."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parents[1] / "docs/limits.md"

CHILD = """
import contextlib, io, json, sys, time, warnings
from pathlib import Path
import ibstats
from generate.cli import app as generate_app
from generate.run import cost, status
from generate.store import audit, room, samples
from ibstats import analyse
from ibstats.cli import app as ibstats_app
from schemas.analysis import Config

warnings.simplefilter("ignore")
asked = json.load(sys.stdin)
path = asked["warm_path"]
with contextlib.redirect_stdout(io.StringIO()):
    exec(asked["warm"])

def memory(name):
    (line,) = (l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith(name))
    return int(line.split()[1]) / 1e3

path = asked["path"]
start, wall = time.process_time(), time.perf_counter()
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    exec(asked["code"])
print(json.dumps([time.process_time() - start, time.perf_counter() - wall, memory("VmHWM")]))
"""


N_CALIBRATION = 50
"""Prompts for counting code usage alone."""


def write_prompts(folder: Path, n_prompts: int) -> None:
    """`prompts.jsonl`, of so many prompts with their paraphrases, and `calibration.jsonl`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, n in (("prompts", n_prompts), ("calibration", N_CALIBRATION)):
        with (folder / f"{name}.jsonl").open("w") as file:
            for i in range(n):
                texts = {}
                for length in ("short", "medium", "long"):
                    texts[length] = [f"{name} {i} {length} {number}" for number in range(2)]
                line = {"id": f"{name}-{i}", "text": f"{name} {i}", "paraphrases": texts}
                file.write(json.dumps(line) + "\n")


class Taken(NamedTuple):
    """What a step took."""

    busy: float
    """CPU seconds."""
    seconds: float
    peak: float
    """Memory of the process at most, MB."""

    def __str__(self) -> str:
        return f"{self.busy:.2f} s ({self.seconds:.1f}), {self.peak:.0f} MB"


def taken(code: str, path: Path, warm: str, warm_path: Path) -> Taken:
    """What a step takes on the run at `path`, in a process that has done `warm` on another before."""
    asked = {"code": code, "path": str(path), "warm": warm, "warm_path": str(warm_path)}
    said = subprocess.run(
        [sys.executable, "-c", CHILD], input=json.dumps(asked), capture_output=True, text=True
    )
    if said.returncode:
        raise SystemExit(said.stderr)
    return Taken(*json.loads(said.stdout.splitlines()[-1]))


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> str:
    """By what power of the size seconds grow, from the least to the most; empty for one size."""
    if len(sizes) < 2:
        return ""
    return f"{math.log(seconds[-1] / seconds[0]) / math.log(sizes[-1] / sizes[0]):.2f}"


def table(sizes: Sequence[int], what: str, found: Mapping[str, Sequence[Taken]]) -> str:
    """Steps by sizes, which count `what`: CPU seconds, seconds, memory, and how CPU seconds grow."""
    lines = [
        "| | " + " | ".join(f"{size:,} {what}" for size in sizes) + " | exponent |",
        "|---" * (len(sizes) + 2) + "|",
    ]
    for name, measured in found.items():
        grows = exponent(sizes, [each.busy for each in measured])
        lines.append(f"| {name} | " + " | ".join(map(str, measured)) + f" | {grows} |")
    return "\n".join(lines)


def put_into_docs(name: str, text: str) -> None:
    """Put a text between the two comments of that name on the page of limits."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    page = DOCS.read_text(encoding="utf-8")
    before, after = page.split(begin)[0], page.split(end)[1]
    DOCS.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
