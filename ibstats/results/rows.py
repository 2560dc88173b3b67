"""From the tree of an analysis to rows, one per number, by one rule for every group.

A group with the attribute `section` gives a row for each combination of its dims. A variable or
coordinate whose name is that of a column fills it, and so does an attribute; dims that are fields
of a row say what the number is of.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from ibstats.results.words import with_reason
from schemas.design import DesignRecord
from schemas.results import ResultRow, Results

COLUMNS = {name: name for name in ResultRow.model_fields} | {
    "t": "statistic",
    "method": "interval_method",
}
"""Column of a row by the name of a variable, coordinate or attribute."""

ORDER = ("quantity", "attribution", "distance", "condition", "effect", "step", "paths", "part")
"""Dims of a group in the order in which its rows run through them."""

ATTRIBUTIONS = ("distance", "score", "paths")
"""Fields that the label `attribution` may be made of, the first that a row has."""

OF_PARTS = ("sobol", "wording", "pair_distance", "whole_image")
"""Sections whose label `attribution` is the part."""


def analysis_digest(provenance: Mapping[str, Any]) -> str:
    """sha256 of what an analysis follows from: the same digest, the same numbers.

    >>> analysis_digest({"snapshot": "a"}) == analysis_digest({"snapshot": "a"})
    True
    """
    return hashlib.sha256(json.dumps(provenance, sort_keys=True, default=str).encode()).hexdigest()


def results(tree: xr.DataTree) -> Results:
    """The exported document of an analysis: its rows, designs, notes and what they follow from.

    `tree` is what `ibstats.analysis.analyse` gives. Open intervals get a note with the reason.
    """
    followed = json.loads(tree.attrs["provenance"])
    designs = json.loads(tree.attrs["designs"])
    return Results(
        run_id=followed["run_id"],
        snapshot=followed["snapshot"],
        analysis_sha256=analysis_digest(followed),
        ibstats_version=followed["ibstats_version"],
        settings=followed["settings"],
        families=json.loads(tree.attrs["families"]),
        designs={name: DesignRecord(**design) for name, design in designs.items()},
        notes=list(tree.attrs["notes"]),
        rows=[with_reason(row) for row in rows(tree)],
    )


def rows(tree: xr.DataTree) -> Iterator[ResultRow]:
    """All rows, model by model, in the order in which the groups were made.

    Groups without the attribute `section` hold arrays that are no rows and are passed over.
    """
    experiment = json.loads(tree.attrs["provenance"])["settings"]["experiment"]
    designs = json.loads(tree.attrs["designs"])
    for model in tree.attrs["models"]:
        if model not in tree.children:
            continue
        for node in tree.children[model].children.values():
            group = node.to_dataset()
            if "section" not in group.attrs:
                continue
            base = {"model": model, "experiment": group.attrs.get("experiment", experiment)}
            design = DesignRecord(**designs[base["experiment"]])
            labels = {one.name: one.label for one in design.conditions}
            yield from group_rows(group, base, labels)


def group_rows(
    group: xr.Dataset, base: Mapping[str, Any], labels: Mapping[str, str]
) -> Iterator[ResultRow]:
    """Rows of one group, a row for each combination of its dims.

    Parameters: the group, with the attribute `section`; `base`, fields that all its rows share;
    `labels`, how results name each condition. None where nothing in the group could be told.
    """
    if not group.data_vars:
        return
    dims = [dim for dim in ORDER if dim in group.dims]
    shared = {**base, **_of_attributes(group)}
    columns = _columns(group)
    for index in product(*(range(group.sizes[dim]) for dim in dims)):
        place = dict(zip(dims, index, strict=True))
        fields = dict(shared)
        for column, (own, values) in columns.items():
            value = _plain(values[tuple(place[dim] for dim in own)])
            if column == "at":
                value = json.loads(value)
            if value is not None or column == "estimate":
                fields[column] = value
        fields.setdefault("estimate", None)
        yield ResultRow(**_labelled(fields, labels))


def _of_attributes(group: xr.Dataset) -> dict[str, Any]:
    """Columns that a whole group shares."""
    found: dict[str, Any] = {}
    for name, value in group.attrs.items():
        column = COLUMNS.get(str(name))
        if column == "at":
            value = json.loads(value)
        if column is not None and column != "units":
            found[column] = _plain(value)
    return found


def _columns(group: xr.Dataset) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Columns that differ between rows: the dims of each, and its values."""
    found = {}
    for name, variable in group.variables.items():
        column = COLUMNS.get(str(name))
        if column is not None:
            found[column] = tuple(map(str, variable.dims)), variable.values
    return found


def _plain(value: Any) -> Any:
    """A Python value; None for an undefined number and for an empty text."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return None if value == "" else value


def _labelled(fields: dict[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """The fields with the labels that are made of them: `term` and `attribution`."""
    fields = {**fields, "term": _term(fields, labels)}
    for count in ("n_units", "n_images_most"):
        if fields.get(count) == 0:
            fields[count] = None
    names = ["part"] if fields["section"] in OF_PARTS else ATTRIBUTIONS
    for name in names:
        value = fields.get(name)
        if value is not None and "attribution" not in fields:
            fields["attribution"] = _attribution(name, value)
    return fields


def _term(fields: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """What a number is of, in a word."""
    held = "".join(f"{factor}={level}: " for factor, level in fields.get("at", {}).items())
    if "step" in fields:
        return f"{held}{fields['step']}"
    if "effect" in fields:
        return f"{held}{fields['effect']}"
    if "condition" in fields:
        return labels.get(fields["condition"], fields["condition"])
    return str(fields.get("part", fields["section"]))


def _attribution(name: str, value: Any) -> str:
    if name == "paths":
        return f"{value} path{'s' if value > 1 else ''}"
    return str(value)
