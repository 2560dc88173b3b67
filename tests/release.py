"""Whether the commit that is checked out could be released: `python -m tests.release`.

The wheel is built twice, in two places, and compared byte by byte; installed alone in a new
environment, with every Python that is here and is said to do, and with the oldest of all that it
needs; and used from an empty folder. Everything is tried and timed, a line each; what is not right
is told, and the status is 1. With `--out DIR` the wheel and its bill of materials are kept there.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import yaml
from PIL import Image

from schemas.version import __version__
from tests.source import ROOT

LICENCES = ("LICENSE", "NOTICE", "generate/prompts/LICENSE")
MOST_CORE_BYTES = 500_000_000
"""The most that the core with all it needs may take on the disk, without pip and setuptools.

SciPy, pandas and NumPy are 300 MB of it, so nothing near 150 MB can be had while they are needed.
"""
INSTALLERS = ("pip", "setuptools", "wheel", "_distutils_hack", "pkg_resources")
BUILD = "from setuptools import build_meta; build_meta.build_wheel({folder!r})"
TOOLS = ("uv", "cyclonedx-bom")
"""What finds the oldest packages that may be installed, and what lists those that are."""
NEEDS_EXTRA = "needs pyarrow; pip install 'ibstats[parquet]'"
LAYOUT = "{condition}/{prompt}/{sample}.png"


class Failed(Exception):
    """Something is not as a release has to be; the message says what."""


def changelog_problem(text: str, version: str) -> str:
    """Say what of a version is not right in the list of changes; empty if all is.

    >>> changelog_problem("## 0.2.0, unreleased\\n- a\\n", "0.2.0")
    'CHANGELOG.md has 0.2.0 as unreleased; date it'
    >>> changelog_problem("## 0.2.0, 2026-11-29\\n- a\\n", "0.2.0")
    ''
    """
    first = re.search(r"^## (\S+), (\S+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if first is None or first[1] != version:
        return f"CHANGELOG.md does not begin with '## {version}, DATE'"
    if not re.search(r"^- \S", first[3], re.MULTILINE):
        return f"CHANGELOG.md says nothing of {version}"
    if first[2] == "unreleased":
        return f"CHANGELOG.md has {version} as unreleased; date it"
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", first[2]):
        return f"CHANGELOG.md dates {version} '{first[2]}', not as 2026-01-31"
    return ""


def versions_problem(citation: str, tags: Sequence[str], version: str) -> str:
    """Say where the version stands otherwise, or that it was released; empty if neither is so."""
    cited = yaml.safe_load(citation)["version"]
    if cited != version:
        return f"CITATION.cff says {cited}, schemas/version.py {version}"
    if f"v{version}" in tags:
        return f"the tag v{version} is there already; raise the version"
    return ""


def wheel_problem(wheel: Path, version: str) -> str:
    """Say what a wheel lacks of licences, version and programs; empty if nothing."""
    info = f"ibstats-{version}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        lacking = [name for name in LICENCES if f"{info}/licenses/{name}" not in names]
        if lacking:
            return f"the wheel lacks {', '.join(lacking)}"
        metadata = archive.read(f"{info}/METADATA").decode()
        programs = archive.read(f"{info}/entry_points.txt").decode()
    for line in (f"Version: {version}\n", "License-Expression: Apache-2.0\n"):
        if line not in metadata:
            return f"the metadata of the wheel lack '{line.strip()}'"
    for program in ("ibstats", "ibgenerate"):
        if f"{program} = " not in programs:
            return f"the wheel brings no program {program}"
    return ""


def run(
    *command: str | Path,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    status: int = 0,
) -> str:
    """Run a program in a folder; all that it printed. Raises Failed if it ends otherwise."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "", **(environment or {})},
        capture_output=True,
        text=True,
    )
    if done.returncode != status:
        said = (done.stderr or done.stdout).strip().splitlines()[-8:]
        raise Failed(f"`{command[0]} {command[1]}` ended with {done.returncode}: {said}")
    return done.stdout + done.stderr


def built(commit: str, place: Path) -> Path:
    """The wheel of a commit, built in a folder of its own from what git holds."""
    place.mkdir(parents=True)
    archive = place / "tree.tar"
    run("git", "archive", "-o", archive, commit, folder=ROOT)
    with tarfile.open(archive) as tree:
        tree.extractall(place / "tree", filter="data")
    stamp = run("git", "show", "-s", "--format=%ct", commit, folder=ROOT).strip()
    code = BUILD.format(folder=str(place))
    environment = {"SOURCE_DATE_EPOCH": stamp}
    run(sys.executable, "-c", code, folder=place / "tree", environment=environment)
    (wheel,) = place.glob("*.whl")
    return wheel


def core_bytes(environment: Path) -> int:
    """Bytes of all packages of an environment, but for what installs them."""
    total = 0
    (packages,) = environment.glob("lib/python*/site-packages")
    for file in packages.rglob("*"):
        name = file.relative_to(packages).parts[0].split("-")[0]
        if name not in INSTALLERS and file.is_file():
            total += file.stat().st_size
    return total


def write_images(folder: Path) -> None:
    """Small images of two conditions, six prompts and four samples."""
    rng = np.random.default_rng(0)
    for condition in ("sharp", "soft"):
        for prompt in range(6):
            place = folder / condition / f"prompt-{prompt}"
            place.mkdir(parents=True)
            for sample in range(4):
                pixels = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{sample}.png")


def used(bin_: Path, folder: Path) -> Iterator[tuple[str, list[str], str, int]]:
    """What is asked of the core alone: name, command, what it must say, its status."""
    ibstats = str(bin_ / "ibstats")
    layout = ["--layout", LAYOUT, "--baseline", "sharp"]
    publish = ["publish", "run", "--to", "hub", "--license", "CC-BY-4.0"]
    yield "version", [ibstats, "--version"], f"ibstats {__version__}", 0
    yield "import", [ibstats, "import", "images", *layout, "--out", "run"], "imported to run", 0
    yield "report", [ibstats, "report", "run"], "report.html", 0
    yield "cite", [ibstats, "cite", "run"], "@software{ibstats,", 0
    yield "publish, no pyarrow", [ibstats, *publish], NEEDS_EXTRA, 1


class Check:
    """What was tried so far: a line each as it is done, and what is not right."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step, and keep the reason where it fails."""
        begun = time.monotonic()
        said = "right"
        try:
            yield
        except Failed as error:
            said = str(error)
            self.problems.append(said)
        print(f"{name}: {said} ({time.monotonic() - begun:.1f} s)", flush=True)

    def told(self, name: str, problem: str) -> None:
        """Count what a look has found; nothing if it is empty."""
        with self.step(name):
            if problem:
                raise Failed(problem)


def check_files(check: Check) -> None:
    """List of changes and versions, as they are committed."""
    changes = run("git", "show", "HEAD:CHANGELOG.md", folder=ROOT)
    check.told("list of changes", changelog_problem(changes, __version__))
    citation = run("git", "show", "HEAD:CITATION.cff", folder=ROOT)
    tags = run("git", "tag", folder=ROOT).split()
    check.told("versions", versions_problem(citation, tags, __version__))


def check_wheel(check: Check, place: Path) -> Path:
    """The wheel, after it was built twice."""
    with check.step("wheel, built twice"):
        first, second = built("HEAD", place / "a"), built("HEAD", place / "elsewhere/b")
        if not filecmp.cmp(first, second, shallow=False):
            raise Failed(f"two builds differ: {first.name}")
    check.told("what the wheel holds", wheel_problem(first, __version__))
    return first


def check_use(check: Check, wheel: Path, place: Path) -> None:
    """The wheel alone in a new environment, from a folder without the sources."""
    environment = place / "environment"
    install = [environment / "bin/python", "-m", "pip", "install", "-q"]
    install += ["-c", ROOT / "constraints.txt"]
    with check.step("installation of the core"):
        run(sys.executable, "-m", "venv", environment, folder=place)
        run(*install, wheel, folder=place)
    n_bytes = core_bytes(environment)
    too_large = ""
    if n_bytes > MOST_CORE_BYTES:
        too_large = f"the core takes {n_bytes / 1e6:.0f} MB, over {MOST_CORE_BYTES / 1e6:.0f}"
    check.told(f"size of the core, {n_bytes / 1e6:.0f} MB", too_large)
    *_, publish = use(check, environment, place)
    with check.step("installation of parquet"):
        run(*install, f"{wheel}[parquet]", folder=place)
    with check.step("publish"):
        run(*publish, folder=place)


def use(check: Check, environment: Path, place: Path, whose: str = "") -> list[list[str]]:
    """Ask of the core of an environment what can be asked; the commands that were given."""
    write_images(place / "images")
    commands = []
    for name, command, expected, status in used(environment / "bin", place):
        commands.append(command)
        with check.step(f"{name}{whose}"):
            printed = " ".join(run(*command, folder=place, status=status).split())
            if expected not in printed:
                raise Failed(f"`{name}` does not say {expected!r}")
    return commands


def check_pythons(check: Check, wheel: Path, tools: Path, place: Path) -> None:
    """The core under every Python of the classifiers that is here, and with the oldest it may have."""
    ours = f"3.{sys.version_info.minor}"
    for version in pythons(wheel):
        lowest = ["--resolution", "lowest-direct"] if version == ours else []
        whose = f", Python {version}{' and the oldest packages' if lowest else ''}"
        python = shutil.which(f"python{version}")
        if python is None or subprocess.run([python, "-V"], capture_output=True).returncode:
            print(f"not tried{whose}: there is none here")
            continue
        folder = place / version
        folder.mkdir()
        environment = folder / "environment"
        install = [tools / "uv", "pip", "install", "-q", "--python", environment / "bin/python"]
        with check.step(f"installation{whose}"):
            run(python, "-m", "venv", environment, folder=folder)
            run(*install, *lowest, wheel, folder=folder)
        use(check, environment, folder, whose)


def pythons(wheel: Path) -> list[str]:
    """Versions of Python that the classifiers of a wheel name."""
    (info,) = (name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("/METADATA"))
    metadata = zipfile.ZipFile(wheel).read(info).decode()
    return re.findall(r"^Classifier: Programming Language :: Python :: (3\.\d+)$", metadata, re.M)


def installed_tools(check: Check, place: Path) -> Path:
    """Programs that a release needs and nothing else does: the folder that they lie in."""
    with check.step("tools"):
        run(sys.executable, "-m", "venv", place, folder=place.parent)
        run(place / "bin/python", "-m", "pip", "install", "-q", *TOOLS, folder=place.parent)
    return place / "bin"


def bill_of_materials(check: Check, tools: Path, environment: Path, file: Path) -> None:
    """Write all packages of an environment with versions and licences, as CycloneDX JSON."""
    listing = [tools / "cyclonedx-py", "environment", "--output-reproducible", "--of", "JSON"]
    with check.step("bill of materials"):
        run(*listing, "-o", file, environment / "bin/python", folder=file.parent)
        named = {part["name"] for part in json.loads(file.read_text())["components"]}
        lacking = {"ibstats", "numpy", "scipy", "zarr"} - named
        if lacking:
            raise Failed(f"the bill of materials lacks {', '.join(sorted(lacking))}")


def main() -> int:
    """Try everything; the status of the program."""
    parser = argparse.ArgumentParser(prog="python -m tests.release")
    parser.add_argument("--out", type=Path, help="folder for the wheel and its bill of materials")
    out = parser.parse_args().out
    check = Check()
    if run("git", "status", "--porcelain", folder=ROOT):
        print("what is not committed is not checked")
    check_files(check)
    with TemporaryDirectory() as folder:
        place = Path(folder)
        wheel = check_wheel(check, place)
        tools = installed_tools(check, place / "tools")
        check_use(check, wheel, place)
        bill = wheel.with_suffix(".cdx.json")
        bill_of_materials(check, tools, place / "environment", bill)
        check_pythons(check, wheel, tools, place)
        if out is not None and not check.problems:
            out.mkdir(parents=True, exist_ok=True)
            for made in (wheel, bill):
                shutil.copy(made, out)
    for problem in check.problems:
        print(f"not ready: {problem}")
    return 1 if check.problems else 0


if __name__ == "__main__":
    sys.exit(main())
