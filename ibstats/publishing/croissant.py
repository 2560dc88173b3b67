"""Croissant 1.0 metadata of a publication: where the rows lie, and what each column means.

Source: MLCommons, Croissant format specification 1.0, http://mlcommons.org/croissant/1.0.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ibstats.publishing.publication import Publication, config_name, place
from ibstats.publishing.shards import COLUMNS, columns
from ibstats.selection import Selection

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"

OWN_TERMS = (
    "citeAs",
    "column",
    "dataType",
    "extract",
    "field",
    "fileProperty",
    "fileObject",
    "fileSet",
    "format",
    "includes",
    "isLiveDataset",
    "jsonPath",
    "key",
    "md5",
    "parentField",
    "path",
    "recordSet",
    "references",
    "regex",
    "repeated",
    "replace",
    "samplingRate",
    "separator",
    "source",
    "subField",
    "transform",
)
"""Words of the vocabulary that are Croissant's own."""

TYPES = {"image": "sc:ImageObject", "tokens": "sc:Integer", "sample": "sc:Integer"}
"""Types of columns that are no text."""


def context() -> dict[str, Any]:
    """Give the JSON-LD context that the specification asks for."""
    words: dict[str, Any] = {
        "@language": "en",
        "@vocab": "https://schema.org/",
        "sc": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "dct": "http://purl.org/dc/terms/",
        "conformsTo": "dct:conformsTo",
        "equivalentProperty": "cr:equivalentProperty",
    }
    for name in OWN_TERMS:
        words[name] = f"cr:{name}"
    words["dataType"] = {"@id": "cr:dataType", "@type": "@vocab"}
    words["data"] = {"@id": "cr:data", "@type": "@json"}
    words["examples"] = {"@id": "cr:examples", "@type": "@json"}
    return words


def croissant(publication: Publication) -> dict[str, Any]:
    """Give the metadata: a set of files and a set of records for each selection."""
    described: dict[str, Any] = {
        "@context": context(),
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": publication.name,
        "description": publication.description,
        "license": publication.terms.url,
        "datePublished": publication.day,
        "version": "1.0.0",
        "identifier": f"sha256:{publication.identifier}",
        "distribution": list(map(_files, publication.selections)),
        "recordSet": list(map(_records, publication.selections)),
    }
    if publication.terms.creator:
        described["creator"] = {"@type": "sc:Organization", "name": publication.terms.creator}
    return described


def _files(selection: Selection) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"files/{config_name(selection)}",
        "name": f"files/{config_name(selection)}",
        "description": f"Parquet files of {selection.model}, {selection.experiment}.",
        "encodingFormat": "application/x-parquet",
        "includes": f"{place(selection)}/*.parquet",
    }


def _records(selection: Selection) -> dict[str, Any]:
    name = config_name(selection)
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"A sample a record, of {selection.model}, {selection.experiment}.",
        "field": list(map(partial(_field, selection), columns(selection))),
    }


def _field(selection: Selection, column: str) -> dict[str, Any]:
    name = config_name(selection)
    source: dict[str, Any] = {
        "fileSet": {"@id": f"files/{name}"},
        "extract": {"column": column},
    }
    described: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{name}/{column}",
        "name": f"{name}/{column}",
        "description": COLUMNS[column],
        "dataType": TYPES.get(column, "sc:Text"),
        "source": source,
    }
    if column == "image":
        source["transform"] = {"jsonPath": "bytes"}
    if column == "tokens":
        described["repeated"] = True
    return described
