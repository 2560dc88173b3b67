"""The store of a study's samples: made from a plan, opened again, and who works on its blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store

from generate.errors import StoreError
from generate.store.claims import Claims
from generate.store.room import bytes_needed, refuse_too_small, room_in
from generate.store.template import template
from generate.study.planning import Plan
from generate.study.reading import Reading
from schemas.io import reader, writer
from schemas.io.copied import half_copied
from schemas.io.folder import Folder, folder
from schemas.io.layout import DATA
from schemas.io.ledger import Ledger
from schemas.io.merged import without_metadata
from schemas.io.received import guard
from schemas.io.template import Template
from schemas.provenance import CalibrationRecord
from schemas.sealed import SealRecord
from schemas.store import RunRecord
from schemas.study import Study

AT_ONCE = 256
"""Objects removed between two looks whether the run is still sealed."""
SMALLER = (
    "free some, choose another directory, or set `images: false` (images can be decoded from the "
    "tokens later)"
)
"""What to do where a disk is too small for a run."""


@dataclass(frozen=True)
class SampleStore(writer.RunWriter):
    """A run of a study: its record, its blocks and the claims on them.

    What it does with blocks is in `schemas.io.writer.RunWriter`.
    """

    @classmethod
    def open(cls, root: Path | str | Folder, *, check: bool = True) -> SampleStore:
        """Open the store that `create` made in a folder or under a URL.

        Raises StoreError where there is none, where it is damaged, and for imported samples. Without
        `check` what `create` wrote into `data.zarr` is not compared with its record, for who looks
        for all that is damaged.
        """
        where = folder(root)
        run = reader.read_run(where)
        guard(where)
        if run.study is None:
            raise StoreError(
                f"'{where}' holds imported samples, which no study made: only `ibstats` reads them."
            )
        run = without_metadata(run, Ledger(where, run).merged)
        if check:
            _check_template(where, run)
        return cls(where, run)

    @property
    def root(self) -> Path | str:
        """Path or URL of the run."""
        return self.folder.root

    @property
    def study(self) -> Study:
        """The study the samples are of.

        A store that was opened or created here always has one.
        """
        if self.run.study is None:
            raise StoreError(f"'{self.folder}' holds imported samples, which no study made.")
        return self.run.study

    def allowed(self, model: str, experiment: str, condition: int) -> NDArray[np.bool_]:
        """Codes that a condition may use, (code,) bool, or (position, code) where strata differ.

        `condition` is its position in the experiment.
        """
        fixed = self.fixed(model, experiment)
        if "stratum_keep" not in fixed:
            return np.asarray(fixed["codebook_keep"][condition])
        by_stratum = np.asarray(fixed["stratum_keep"][condition])
        return by_stratum[self.run.models[model].strata]

    @property
    def claims(self) -> Claims:
        """Who works on which block, and which blocks failed."""
        return Claims(self.folder)

    def refuse_opened(self, found: SealRecord) -> None:
        """Raise StoreError where the run is not sealed as `found` says any more."""
        if self.ledger.seal != found:
            raise StoreError(f"'{self.folder}' was opened again meanwhile.")

    def discard_sealed(self, found: SealRecord, keys: Sequence[str]) -> None:
        """Remove objects that a seal stands for, as long as the run is sealed as `found` says.

        Raises StoreError once it is not.
        """
        for start in range(0, len(keys), AT_ONCE):
            self.refuse_opened(found)
            self.folder.discard(keys[start : start + AT_ONCE])

    @property
    def data(self) -> Store:
        """The Zarr hierarchy, to read."""
        return self.folder.zarr(DATA, read_only=True)


def _check_template(where: Folder, run: RunRecord) -> None:
    """Refuse what `create` wrote and is not as it was; a copy that stopped is called one."""
    try:
        reader.check_template(where, run)
    except StoreError:
        said = half_copied(where, run)
        if said is not None:
            raise StoreError(said) from None
        raise


def create(
    root: Path | str | Folder,
    plan: Plan,
    run: RunRecord,
    calibration: Mapping[str, CalibrationRecord],
    read: Mapping[str, Sequence[Reading]] | None = None,
) -> SampleStore:
    """Lay out the run of a plan.

    `calibration` are code counts by model, `read` what each model sees of the texts. Raises
    StoreError where a run is, and DiskFullError where a disk has no room for this one.
    """
    where = folder(root)
    needed = bytes_needed(run)
    readings = read or {}

    def template_of(model: str, experiment: str) -> Template:
        """What the plan fixes of one Dataset."""
        return template(plan, run, model, experiment, calibration.get(model), readings.get(model))

    refuse_too_small(where, needed, "this study can need", SMALLER)
    with room_in(where, needed):
        return SampleStore(where, writer.create(where, run, plan.prompts, template_of))
