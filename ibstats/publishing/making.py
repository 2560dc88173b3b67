"""A publication is written: whole or not at all, and never over anything else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ibstats.errors import IbstatsError
from ibstats.extras import need
from ibstats.measure import Machine
from ibstats.publishing.card import card
from ibstats.publishing.crate import crate, identifier_of
from ibstats.publishing.croissant import croissant
from ibstats.publishing.licences import Terms
from ibstats.publishing.publication import (
    CARD,
    CRATE,
    CROISSANT,
    RESULTS,
    RUN,
    Publication,
    Shard,
)
from ibstats.publishing.shards import Each, write_shards
from ibstats.results.kept import obtain, write_json
from ibstats.selection import select
from ibstats.store import Store
from schemas.analysis import Config
from schemas.io import layout
from schemas.io.disk import disk_told
from schemas.io.files import whole_folder

Outcome = Literal["made", "done"]
"""What became of a publication: made now, or there already, of the same samples and numbers."""


def publish(
    store: Store,
    folder: Path,
    terms: Terms,
    settings: Config | None = None,
    machine: Machine | None = None,
    each: Each = iter,
) -> Outcome:
    """Write a run into a folder as dataset hubs read it.

    Parameters: `terms`, the licence and who publishes. `settings` and `machine` are those of the
    analysis that the card tells of, see `ibstats.analysis.analyse`; of its models every experiment
    is published, with the prompts that are complete. `each` goes over pieces of a selection, for
    instance with a bar.

    Nothing is kept in memory but a piece, a condition of a block of prompts. The folder appears
    when it is whole. A folder that is there is not touched: the outcome is `done` if it is of the
    same samples, analysis, terms and version.

    Raises MissingPackages without pyarrow, IbstatsError where something else is at `folder`, and
    all that the analysis raises.

    >>> publish(open_store("runs/demo"), Path("hub"), Terms.of("MIT"))         # doctest: +SKIP
    'made'
    """
    need("publishing", "pyarrow")
    settings = settings or Config()
    is_there = _holds_anything(folder)
    if is_there and identifier_of(folder) is None:
        raise IbstatsError(
            f"'{folder}' is there and no publication; choose another place with --to"
        )
    publication = _publication(store, terms, settings, machine)
    if is_there:
        if identifier_of(folder) == publication.identifier:
            return "done"
        raise IbstatsError(
            f"'{folder}' holds another publication (of other samples, numbers or terms, or by "
            "another version); remove it, or choose another place with --to"
        )
    with disk_told(folder), whole_folder(folder) as place:
        _write(publication, place, each)
    return "made"


def _holds_anything(folder: Path) -> bool:
    """Whether something is there that is no empty folder."""
    if folder.is_dir():
        return any(folder.iterdir())
    return folder.exists() or folder.is_symlink()


def _publication(
    store: Store, terms: Terms, settings: Config, machine: Machine | None
) -> Publication:
    """The selections of a run with the analysis that is told of them."""
    document = obtain(store, settings, machine)
    selections = []
    for model in settings.models or store.models():
        for experiment in store.experiments():
            partial = settings.allow_partial
            selections.append(select(store, model, experiment, allow_partial=partial))
    day = datetime.now(UTC).date().isoformat()
    return Publication(store, document, tuple(selections), terms, day)


def _write(publication: Publication, place: Path, each: Each) -> None:
    """All files; the record of them last."""
    place.mkdir()
    shards: list[Shard] = []
    for selection in publication.selections:
        shards += write_shards(selection, place, each)
    (place / RUN).write_bytes(publication.store.folder.read(layout.RUN))
    write_json(publication.document, place / RESULTS)
    (place / CARD).write_text(card(publication, shards), encoding="utf-8")
    _write_plain(croissant(publication), place / CROISSANT)
    _write_plain(crate(publication, shards, place), place / CRATE)


def _write_plain(document: Mapping[str, Any], file: Path) -> None:
    text = json.dumps(document, indent=2, ensure_ascii=False)
    file.write_text(f"{text}\n", encoding="utf-8")
