"""All ratios in one run and one table: `make bench`, or python -m benchmarks [NAME ...] [--out FILE].

Each line: what, seconds of the usual tool, seconds of ibstats, their ratio, the ratio asked for, and the largest
difference between the two results.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks.ratios import ALL, Result

VERSIONS = ("numpy", "scipy", "torch", "torchmetrics", "lpips", "statsmodels", "xarray")
HEAD = (
    "| what | usual tool | ibstats | ratio | asked | largest difference |",
    "|---|---|---|---|---|---|",
)


def getdoc(function: Callable[[], Result]) -> str:
    """What a benchmark times, in its own words."""
    return (function.func if isinstance(function, partial) else function).__doc__ or ""


def processor() -> str:
    """Name of the processor, as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )


def main() -> None:
    """Time what was named, and print a line as each is done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=f"of {', '.join(ALL)}; default all")
    parser.add_argument("--out", type=Path, help="write the table to this Markdown file too")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS)
    lines = [
        "# Benchmarks",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} CPUs ({processor()}), Python {platform.python_version()}, "
        f"{versions}. Both sides of a line ran by turns in one process here; seconds are the shortest of the "
        "runs, and the machine may have been shared.",
        "",
        *HEAD,
    ]
    print("\n".join(lines), flush=True)
    for name in given.names or ALL:
        result = ALL[name]()
        what = " ".join(getdoc(ALL[name]).split())
        ratio = result.peer / result.ours
        line = (
            f"| `{name}`: {what} | {result.peer:.4g} s | {result.ours:.4g} s | {ratio:.3g} | {result.asked} | "
            f"{result.difference:.0e} |"
        )
        lines.append(line)
        print(line, flush=True)
    if given.out:
        given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
