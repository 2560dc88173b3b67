"""RO-Crate 1.1 metadata of a publication: every file with its digest, and what made it.

Source: RO-Crate Metadata Specification 1.1, https://w3id.org/ro/crate/1.1, with the vocabulary of
schema.org. What is one thing is no list of one, as it recommends.
"""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ibstats.publishing.publication import (
    CARD,
    CRATE,
    CROISSANT,
    RESULTS,
    RUN,
    Publication,
    Shard,
)
from schemas.io.files import file_sha256
from schemas.version import __version__

SPECIFICATION = "https://w3id.org/ro/crate/1.1"
FURTHER_TERMS = {"sha256": "http://schema.org/sha256"}
"""Properties that the context of RO-Crate 1.1 does not know; it holds those of schema.org 10."""

ROOT = "./"
SOFTWARE = "#ibstats"
CREATOR = "#creator"
ANALYSIS = "#analysis"

ABOUT = {
    CARD: "Card: what there is, how it was made, what was found",
    CROISSANT: "Croissant metadata of the Parquet files",
    RUN: "Record of the run: study, models, design, software and hardware",
    RESULTS: "Every number of the analysis, with interval, estimator, n and seed",
}
"""What each file that holds no samples is."""


def crate(publication: Publication, shards: Sequence[Shard], folder: Path) -> dict[str, Any]:
    """Give the metadata of a folder that holds everything else already."""
    files = [*map(partial(_described, folder), ABOUT), *map(_shard, shards)]
    root: dict[str, Any] = {
        "@id": ROOT,
        "@type": "Dataset",
        "name": publication.name,
        "description": publication.description,
        "datePublished": publication.day,
        "license": {"@id": publication.terms.url},
        "identifier": f"sha256:{publication.identifier}",
        "hasPart": list(map(_reference, files)),
        "mentions": {"@id": ANALYSIS},
    }
    graph: list[dict[str, Any]] = [
        {
            "@id": CRATE,
            "@type": "CreativeWork",
            "conformsTo": {"@id": SPECIFICATION},
            "about": {"@id": ROOT},
        },
        root,
        {
            "@id": publication.terms.url,
            "@type": "CreativeWork",
            "name": publication.terms.licence,
        },
        *files,
        {
            "@id": SOFTWARE,
            "@type": "SoftwareApplication",
            "name": "ibstats",
            "softwareVersion": __version__,
        },
        {
            "@id": ANALYSIS,
            "@type": "CreateAction",
            "name": f"analysis {publication.document.analysis_sha256}",
            "instrument": {"@id": SOFTWARE},
            "object": [{"@id": RUN}, *map(_reference, map(_shard, shards))],
            "result": {"@id": RESULTS},
        },
    ]
    if publication.terms.creator:
        root["author"] = root["publisher"] = {"@id": CREATOR}
        named = publication.terms.creator
        graph.append({"@id": CREATOR, "@type": "Organization", "name": named})
    return {"@context": [f"{SPECIFICATION}/context", FURTHER_TERMS], "@graph": graph}


def identifier_of(folder: Path) -> str | None:
    """Give the identifier of the publication that a folder is; None where it is none."""
    try:
        graph = json.loads((folder / CRATE).read_bytes())["@graph"]
        root = next(entity for entity in graph if entity["@id"] == ROOT)
        return str(root["identifier"]).removeprefix("sha256:")
    except (OSError, ValueError, LookupError, TypeError, StopIteration):
        return None


def _reference(entity: Mapping[str, Any]) -> dict[str, str]:
    return {"@id": entity["@id"]}


def _described(folder: Path, name: str) -> dict[str, Any]:
    file = folder / name
    return {
        "@id": name,
        "@type": "File",
        "name": ABOUT[name],
        "encodingFormat": mimetypes.guess_type(name)[0] or "text/markdown",
        "contentSize": str(file.stat().st_size),
        "sha256": file_sha256(file),
    }


def _shard(shard: Shard) -> dict[str, Any]:
    return {
        "@id": shard.path,
        "@type": "File",
        "name": f"{shard.rows} samples of {shard.selection.model}, {shard.selection.experiment}",
        "encodingFormat": "application/vnd.apache.parquet",
        "contentSize": str(shard.bytes),
        "sha256": shard.sha256,
    }
