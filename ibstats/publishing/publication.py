"""What is to be published: samples, the analysis that is told of them, and the terms."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter, methodcaller

from ibstats.publishing.licences import Terms
from ibstats.selection import Selection
from ibstats.store import Store
from schemas.results import Results
from schemas.version import __version__

CARD = "README.md"
CROISSANT = "croissant.json"
CRATE = "ro-crate-metadata.json"
RUN = "run.json"
RESULTS = "results.json"
DATA = "data"
"""Names in the folder; `DATA` is the folder of samples."""


def config_name(selection: Selection) -> str:
    """Give the name of a selection among the configurations of a data set.

    A sign that no name of ours holds stands between model and experiment, so two never agree.
    """
    return f"{selection.model}+{selection.experiment}"


def place(selection: Selection) -> str:
    """Give the folder of a selection's samples, relative to the publication."""
    return f"{DATA}/{selection.model}/{selection.experiment}"


@dataclass(frozen=True)
class Shard:
    """A Parquet file as it was written."""

    selection: Selection
    path: str
    """Relative to the publication."""
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Publication:
    """A run with what is said of it, before anything is written."""

    store: Store
    document: Results
    """The analysis whose numbers and methods are told."""
    selections: tuple[Selection, ...]
    """What is published, a configuration of the data set each."""
    terms: Terms
    day: str
    """Day of the publication, as 2026-01-31."""

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.store.run.name

    @cached_property
    def identifier(self) -> str:
        """Digest of all that a publication follows from, but for its day: 64 hex digits."""
        lines = []
        for selection in self.selections:
            prompts = "\t".join(selection.dataset["prompt"].values)
            lines.append(f"{config_name(selection)} {selection.snapshot} {prompts}")
        lines += [self.document.analysis_sha256, self.terms.url, self.terms.creator, __version__]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def description(self) -> str:
        """One sentence: what there is, of which models."""
        kinds = []
        for variable, called in {"image": "images", "tokens": "latent tokens"}.items():
            if any(map(methodcaller("has", variable), self.selections)):
                kinds.append(called)
        models = dict.fromkeys(map(attrgetter("model"), self.selections))
        return (
            f"{' and '.join(kinds).capitalize()} of {', '.join(models)}: "
            f"{self.store.run.n_prompts} prompts, sampled under named conditions."
        )
