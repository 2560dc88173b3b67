"""Where everything of a run lies: every name and key, those of `results/` included.

RUN/run.json                                           what the run is; written last when it is made
RUN/prompts/<first>-<digest>.jsonl                     its prompts, a line each, so many a file
RUN/data.zarr/<model>/<experiment>/                    one labelled Dataset each, Zarr v3
RUN/ledger/<model>/<experiment>/c<cond>-b<block>.json  one record per finished block; the authority
RUN/seal.json, RUN/sealed/<model>/<experiment>/        the ledger of a sealed run, in tables
RUN/claims/..., RUN/failed/...                         blocks in progress, blocks that failed
RUN/calibration/<model>.json                           code usage behind the codebook subsets
RUN/rescored/<model>/<experiment>/paths<K>-seed<S>/    weights of further paths, a record a piece
RUN/rescored/<model>/<experiment>/contrast-<C>-paths<K>-seed<S>/   weights under other texts
RUN/results/                                           written by `ibstats` alone

Keys are relative to the run, with `/`, for a folder and for a URL alike. What lies under `results/`
is always in a folder of this machine, so it has paths: `ResultsFolder`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

RUN = "run.json"
DATA = "data.zarr"
RESCORED = "rescored"
"""Folder of the rescorings."""
RESCORED_RECORD = "rescored.json"
SEAL = "seal.json"
SEALED = "sealed"
"""Folder of the tables of a sealed ledger."""

RESULTS = frozenset(
    {
        "results.json",
        "report.html",
        "analyses",
        "distances",
        "features",
        "figures",
        "tables",
        "export",
        "ablations",
    }
)
"""Every name that `ibstats` gives to what lies directly under `results/`."""

Part = Literal["ledger", "claims", "failed"]
PARTS: tuple[Part, ...] = ("ledger", "claims", "failed")
"""Folders with one small object per block."""

CREATION = "create"
"""What a process claims that lays out a run."""


def data_key(name: str) -> str:
    """Give the key in the run of an object of the Zarr hierarchy.

    >>> data_key("trio-mim/factorial/tokens/c.0.0.0.0.0")
    'data.zarr/trio-mim/factorial/tokens/c.0.0.0.0.0'
    """
    return f"{DATA}/{name}"


def group_name(model: str, experiment: str) -> str:
    """Give the name of the group of one Dataset inside the Zarr hierarchy.

    >>> group_name("trio-mim", "factorial")
    'trio-mim/factorial'
    """
    return f"{model}/{experiment}"


def metadata_key(model: str, experiment: str, variable: str) -> str:
    """Give the key of the Zarr metadata of one variable of a Dataset.

    >>> metadata_key("trio-mim", "factorial", "tokens")
    'data.zarr/trio-mim/factorial/tokens/zarr.json'
    """
    return data_key(f"{group_name(model, experiment)}/{variable}/zarr.json")


def block_name(condition: int, block: int) -> str:
    """Give the name of a block in ledger, claims and failures, by two positions.

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
    """Give the key of the claim of something that is not a block.

    >>> claim_key(CREATION)
    'claims/create.json'
    """
    return f"claims/{what}.json"


def prompts_key(start: int, sha256: str) -> str:
    """Give the key of a piece of the prompts, by the number of its first and its own digest.

    >>> prompts_key(4096, "3f29" * 16)
    'prompts/00004096-3f293f293f293f29.jsonl'
    """
    return f"prompts/{start:08d}-{sha256[:16]}.jsonl"


def sealed_key(model: str, experiment: str, start: int, sha256: str) -> str:
    """Give the key of a table of a sealed ledger, by the number of its first record and its digest.

    >>> sealed_key("trio-mim", "factorial", 4096, "3f29" * 16)
    'sealed/trio-mim/factorial/00004096-3f293f293f293f29.npz'
    """
    return f"{SEALED}/{group_name(model, experiment)}/{start:08d}-{sha256[:16]}.npz"


def merged_key(model: str, experiment: str, sha256: str) -> str:
    """Give the key of what says how the objects of a Dataset were merged, by its digest.

    >>> merged_key("trio-mim", "factorial", "3f29" * 16)
    'sealed/trio-mim/factorial/merged-3f293f293f293f29.json'
    """
    return f"{SEALED}/{group_name(model, experiment)}/merged-{sha256[:16]}.json"


def calibration_key(model: str) -> str:
    """Give the key of the code usage of a model.

    >>> calibration_key("trio-mim")
    'calibration/trio-mim.json'
    """
    return f"calibration/{model}.json"


def rescored_under(model: str, experiment: str) -> str:
    """Give the key under which all rescored paths of a Dataset lie.

    >>> rescored_under("trio-mim", "factorial")
    'rescored/trio-mim/factorial'
    """
    return f"{RESCORED}/{group_name(model, experiment)}"


def rescored_key(model: str, experiment: str, n_paths: int, seed: int, contrast: str = "") -> str:
    """Key under which one rescoring lies: its record and its Zarr hierarchy.

    `contrast` names the texts under which the images are scored besides their own.

    >>> rescored_key("trio-mim", "factorial", n_paths=16, seed=0)
    'rescored/trio-mim/factorial/paths16-seed0'
    >>> rescored_key("trio-ar", "factorial", n_paths=0, seed=0, contrast="study")
    'rescored/trio-ar/factorial/contrast-study-paths0-seed0'
    """
    name = f"paths{n_paths}-seed{seed}"
    if contrast:
        name = f"contrast-{contrast}-{name}"
    return f"{rescored_under(model, experiment)}/{name}"


def rescored_piece_key(rescored: str, condition: int, prompt: int) -> str:
    """Give the key of the record of one scored piece, by two positions in its rescoring.

    `rescored` is a `rescored_key`.

    >>> rescored_piece_key("rescored/trio-mim/factorial/paths16-seed0", 0, 12)
    'rescored/trio-mim/factorial/paths16-seed0/pieces/c0000-p000012.json'
    """
    return f"{rescored}/pieces/c{condition:04d}-p{prompt:06d}.json"


class ResultsFolder:
    """The paths of all that `ibstats` writes beside a run.

    >>> results = ResultsFolder(Path("runs/a"))
    >>> results.distances("trio-mim", "factorial").as_posix()
    'runs/a/results/distances/trio-mim/factorial'
    """

    def __init__(self, run: Path) -> None:
        """`run` is a folder of this machine: that of the run, or one that stands for a URL."""
        self.root = run / "results"
        """`results/` itself."""
        self.document = self.root / "results.json"
        """The rows of the last report."""
        self.timings = self.root / "timings.json"
        """Seconds of each stage of the last report that was asked for them."""
        self.analyses = self.root / "analyses"
        """Analyses, a file each, see `analysis`."""
        self.shared_features = self.root / "features"
        """Features that belong to no single Dataset, such as those of the prompts' texts."""
        self.page = self.root / "report.html"
        """The page of a report, to look at everything."""
        self.figures = self.root / "figures"
        self.tables = self.root / "tables"
        """Tables of a report."""
        self.export = self.root / "export"
        """What `ibstats export` writes, unless told otherwise."""
        self.ablations = self.root / "ablations"
        """Tables, rows and figures of the ablations."""

    def analysis(self, digest: str) -> Path:
        """Give the file of one analysis, rows and tree, by the digest of what it follows from."""
        return self.analyses / f"{digest[:16]}.zip"

    def distances(self, model: str, experiment: str) -> Path:
        """Give the folder of the distance tables of a Dataset.

        Each is named by what it was measured with and on.
        """
        return self.root / "distances" / model / experiment

    def features(self, model: str, experiment: str) -> Path:
        """Give the folder of the features and scores of a Dataset's images.

        Each is named by what it was measured with and on.
        """
        return self.shared_features / model / experiment
