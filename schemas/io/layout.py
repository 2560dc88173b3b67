"""Where everything of a run lies: every name and key, those of `results/` included.

RUN/run.json                                           what the run is; written last when it is made
RUN/data.zarr/<model>/<experiment>/                    one labelled Dataset each, Zarr v3
RUN/ledger/<model>/<experiment>/c<cond>-b<block>.json  one record per finished block; the authority
RUN/claims/..., RUN/failed/...                         blocks in progress, blocks that failed
RUN/calibration/<model>.json                           code usage behind the codebook subsets
RUN/rescored/<model>/<experiment>/paths<K>-seed<S>/    weights of further paths: rescored.json, data.zarr
RUN/results/                                           written by `ibstats` alone

Keys are relative to the run, with `/`, for a folder and for a URL alike. What lies under `results/` is always in a
folder of this machine, so it has paths: `ResultsFolder`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

RUN = "run.json"
DATA = "data.zarr"
RESCORED_RECORD = "rescored.json"

Part = Literal["ledger", "claims", "failed"]
PARTS: tuple[Part, ...] = ("ledger", "claims", "failed")
"""Folders with one small object per block."""

CREATION = "create"
"""What a process claims that lays out a run."""


def data_key(name: str) -> str:
    """Key in the run of an object of the Zarr hierarchy, such as a stored object's `key`."""
    return f"{DATA}/{name}"


def group_name(model: str, experiment: str) -> str:
    """Name of the group of one Dataset inside the Zarr hierarchy."""
    return f"{model}/{experiment}"


def metadata_key(model: str, experiment: str, variable: str) -> str:
    """Key of the Zarr metadata of one variable of a Dataset."""
    return data_key(f"{group_name(model, experiment)}/{variable}/zarr.json")


def block_name(condition: int, block: int) -> str:
    """Name of a block in ledger, claims and failures.

    >>> block_name(3, 12)
    'c0003-b000012'
    """
    return f"c{condition:04d}-b{block:06d}"


def block_key(part: Part, model: str, experiment: str, condition: int, block: int) -> str:
    """Key of the record, the claim or the failure of a block.

    >>> block_key("ledger", "trio-mim", "factorial", 3, 12)
    'ledger/trio-mim/factorial/c0003-b000012.json'
    """
    return f"{part}/{group_name(model, experiment)}/{block_name(condition, block)}.json"


def claim_key(what: str) -> str:
    """Key of the claim of something that is not a block, such as `CREATION`."""
    return f"claims/{what}.json"


def calibration_key(model: str) -> str:
    """Key of the code usage of a model."""
    return f"calibration/{model}.json"


def rescored_under(model: str, experiment: str) -> str:
    """Key under which the rescored paths of a Dataset lie."""
    return f"rescored/{group_name(model, experiment)}"


def rescored_key(model: str, experiment: str, n_paths: int, seed: int) -> str:
    """Key under which one rescoring lies: its record and its Zarr hierarchy.

    >>> rescored_key("trio-mim", "factorial", n_paths=16, seed=0)
    'rescored/trio-mim/factorial/paths16-seed0'
    """
    return f"{rescored_under(model, experiment)}/paths{n_paths}-seed{seed}"


@dataclass(frozen=True)
class ResultsFolder:
    """The paths of all that `ibstats` writes beside a run.

    `run` is a folder of this machine: that of the run, or the one that stands for a URL.

    >>> ResultsFolder(Path("runs/a")).distances("trio-mim", "factorial").as_posix()
    'runs/a/results/distances/trio-mim/factorial'
    """

    run: Path

    @property
    def root(self) -> Path:
        """`results/` itself."""
        return self.run / "results"

    @property
    def document(self) -> Path:
        """The rows of the last report, `results.json`."""
        return self.root / "results.json"

    @property
    def analyses(self) -> Path:
        """Trees and rows of analyses, named by the digest of what they follow from."""
        return self.root / "analyses"

    def analysis(self, digest: str) -> Path:
        """Name of one analysis, without an ending: `.json` are its rows, `.zarr` is its tree."""
        return self.analyses / digest[:16]

    def distances(self, model: str, experiment: str) -> Path:
        """Folder of the distance tables of a Dataset."""
        return self.root / "distances" / model / experiment

    @property
    def shared_features(self) -> Path:
        """Folder of features that belong to no single Dataset, such as those of the prompts' texts."""
        return self.root / "features"

    def features(self, model: str, experiment: str) -> Path:
        """Folder of the features of a Dataset's images."""
        return self.shared_features / model / experiment

    @property
    def figures(self) -> Path:
        """Folder of the figures."""
        return self.root / "figures"

    @property
    def tables(self) -> Path:
        """Folder of the tables of a report."""
        return self.root / "tables"

    @property
    def export(self) -> Path:
        """Folder of `ibstats export`."""
        return self.root / "export"

    @property
    def ablations(self) -> Path:
        """Folder of tables, rows and figures of the ablations."""
        return self.root / "ablations"

    def path_and_execution(self, model: str, experiment: str) -> Path:
        """Table of the path and execution parts of one Dataset."""
        return self.root / f"ledger-{model}-{experiment}.csv"
