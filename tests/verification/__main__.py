"""Every simulation, two at a time: `make verify`, or python -m tests.verification [--only WORD].

What passed stands in `runs/verification` with its figures, and is not run again unless the code
changes; so a run that was stopped goes on where it was. Ends with a table of all of them, and with
status 1 if one failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
SOURCES = ("ibstats", "schemas", "generate", "tests/verification")
PASSED, FAILED = "passed", "failed"


def digest() -> str:
    """sha256 of all code that a simulation may run."""
    whole = hashlib.sha256()
    for folder in SOURCES:
        for file in sorted((ROOT / folder).rglob("*.py")):
            whole.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return whole.hexdigest()


def simulations(word: str) -> list[str]:
    """Names of the tests here whose names hold a word, in the order of their files."""
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-m", "slow", str(HERE)]
    listed = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    names = [line for line in listed.stdout.splitlines() if "::" in line]
    if not names:
        raise SystemExit(f"no simulation was found: {listed.stdout}{listed.stderr}")
    return [name for name in names if word in name]


def simulate(name: str, out: Path, code: str) -> dict[str, Any]:
    """Run one simulation, unless its record is of this code; the record."""
    file = out / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"
    if file.exists():
        known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if known["code"] == code and known["outcome"] == PASSED:
            return known
    start = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "-m", "slow"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, name], capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )
    record = {
        "name": name,
        "code": code,
        "outcome": PASSED if done.returncode == 0 else FAILED,
        "seconds": round(time.monotonic() - start, 1),
        "said": figures(done.stdout),
    }
    if done.returncode != 0:
        record["output"] = done.stdout[-4000:] + done.stderr[-1000:]
    unfinished = file.with_suffix(".part")
    unfinished.write_text(json.dumps(record, indent=1), encoding="utf-8")
    unfinished.replace(file)
    return record


def figures(printed: str) -> list[str]:
    """The lines that a simulation printed, without pytest's own."""
    lines = []
    for line in printed.splitlines():
        own = line.startswith((".", "F", "=", "[")) or " passed" in line or " failed" in line
        if line.strip() and not own:
            lines.append(line.strip())
    return lines


def main() -> int:
    """Run what was asked for, and say each result as it comes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="simulations whose name holds this word")
    parser.add_argument("--workers", type=int, default=2, help="simulations at a time")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "verification")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    names, code = simulations(given.only), digest()
    failed = []
    with ThreadPoolExecutor(given.workers) as pool:
        for record in pool.map(lambda name: simulate(name, given.out, code), names):
            short = record["name"].split("::", 1)[-1]
            print(f"{record['outcome']} {record['seconds']:7.1f} s  {short}", flush=True)
            for line in record["said"]:
                print(f"    {line}", flush=True)
            if record["outcome"] == FAILED:
                failed.append(record)
    for record in failed:
        print(f"\n{record['name']}\n{record['output']}", file=sys.stderr)
    print(f"{len(names) - len(failed)} of {len(names)} simulations passed; records in {given.out}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
