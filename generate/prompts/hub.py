"""Captions of datasets that the `datasets` library reads: of the hub, or in a folder of the same layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from generate.errors import StudyError


@dataclass(frozen=True)
class Captions:
    """A column of texts: repository `owner/name` or folder, split, and column, with dots into nested fields.

    Where the column holds a list of texts, such as the five captions of a COCO image, the first is taken.
    """

    repository: str
    split: str
    column: str
    config: str | None = None
    revision: str | None = None


KNOWN = {
    "dalle3": Captions(
        "ProGamerGov/synthetic-dataset-1m-dalle3-high-quality-captions",
        "train",
        "json.short_caption",
    ),
    "coco2014": Captions("yerevann/coco-karpathy", "test", "sentences"),
}
"""Caption sets by name. `dalle3` is the one the paper cites (Egan et al., 2024); `coco2014` is MSCOCO 2014 in the
splits of Karpathy and Fei-Fei (2015), one caption for each of the 5,000 test images, all of them of val2014."""


def known(name: str, **changes: str | None) -> Captions:
    """A caption set by name, with the settings that are not None in place of its own."""
    return replace(
        KNOWN[name], **{key: value for key, value in changes.items() if value is not None}
    )


def read(captions: Captions, *, seed: int | None = None) -> Iterator[str]:
    """Texts of a caption set, streamed in its order; '' where a row has none.

    With a seed the order is shuffled: whole files first, then rows in a buffer of 10,000.
    """
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise StudyError(
            f"caption sets need the module '{error.name}': install ibstats[prompts]."
        ) from None

    where = f"dataset '{captions.repository}'"
    try:
        rows = datasets.load_dataset(
            captions.repository,
            captions.config,
            split=captions.split,
            revision=captions.revision,
            streaming=True,
        )
        columns = rows.column_names or list(next(iter(rows)))
    except (OSError, ValueError, RuntimeError, StopIteration) as error:
        said = " ".join(str(error).split())[:300]
        raise StudyError(f"{where}, split '{captions.split}', cannot be read: {said}") from None
    head, *fields = captions.column.split(".")
    if head not in columns:
        raise StudyError(f"{where} has no column '{head}'; its columns are {', '.join(columns)}.")
    rows = rows.select_columns([head])
    if seed is not None:
        rows = rows.shuffle(seed=seed, buffer_size=10_000)
    for row in rows:
        yield _text(row[head], fields, f"{where}, column '{captions.column}'")


def _text(value: Any, fields: list[str], where: str) -> str:
    for field in fields:
        if isinstance(value, dict) and field not in value:
            raise StudyError(
                f"{where}: there is no field '{field}'; fields are {', '.join(value)}."
            )
        value = value[field] if isinstance(value, dict) else None
    if isinstance(value, list):
        value = value[0] if value else None
    if value is not None and not isinstance(value, str):
        raise StudyError(
            f"{where} holds {type(value).__name__}, not text: name the column of the captions."
        )
    return " ".join((value or "").split())
