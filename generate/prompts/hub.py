"""Captions of datasets that the `datasets` library reads: of the hub, or in a folder like one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from generate.errors import StudyError, one_line
from generate.extras import EXTRAS
from schemas.extras import lacking, package_of

SHUFFLED_ROWS = 10_000
"""Rows in the buffer that a shuffled stream is drawn from."""


@dataclass(frozen=True)
class Captions:
    """A column of texts in a repository `owner/name` or a folder, in one of its splits.

    `column` has dots into nested fields. Where it holds a list of texts, such as the five captions
    of a COCO image, the first is taken.
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
"""Caption sets by name.

`dalle3` is the one the paper cites (Egan et al., 2024); `coco2014` is MSCOCO 2014 in the splits of
Karpathy and Fei-Fei (2015), one caption for each of the 5,000 test images, all of them of val2014.
"""


def known(name: str, **changes: str | None) -> Captions:
    """A caption set by name, with the settings that are not None in place of its own.

    >>> known("coco2014", split="train", revision=None).split
    'train'
    """
    given = {key: value for key, value in changes.items() if value is not None}
    return replace(KNOWN[name], **given)


def read(captions: Captions, *, seed: int | None = None) -> Iterator[str]:
    """Texts of a caption set, streamed in its order; '' where a row has none.

    With a seed the order is shuffled: whole files first, then rows in a buffer of 10,000. Raises
    `StudyError` if the set cannot be read, has no such column or holds no texts in it.
    """
    where = f"dataset '{captions.repository}'"
    rows, columns = _opened(captions, where)
    head, *fields = captions.column.split(".")
    if head not in columns:
        raise StudyError(f"{where} has no column '{head}'; its columns are {', '.join(columns)}.")
    rows = rows.select_columns([head])
    if seed is not None:
        rows = rows.shuffle(seed=seed, buffer_size=SHUFFLED_ROWS)
    for row in rows:
        yield _text(row[head], fields, f"{where}, column '{captions.column}'")


def _opened(captions: Captions, where: str) -> tuple[Any, Sequence[str]]:
    """The rows of a caption set, as a stream, and the names of its columns."""
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise StudyError(lacking("a caption set", [package_of(error)], EXTRAS)) from None
    try:
        rows: Any = datasets.load_dataset(
            captions.repository,
            captions.config,
            split=captions.split,
            revision=captions.revision,
            streaming=True,
        )
        return rows, rows.column_names or list(next(iter(rows)))
    except (OSError, ValueError, RuntimeError, StopIteration) as error:
        raise StudyError(
            f"{where}, split '{captions.split}', cannot be read: {one_line(error, 300)}"
        ) from None


def _text(value: Any, fields: Sequence[str], where: str) -> str:
    """The text in a row's value, down the nested `fields`; '' if there is none."""
    for field in fields:
        if not isinstance(value, dict):
            return ""
        if field not in value:
            raise StudyError(
                f"{where}: there is no field '{field}'; fields are {', '.join(value)}."
            )
        value = value[field]
    if isinstance(value, list):
        value = value[0] if value else None
    if value is None:
        return ""
    if not isinstance(value, str):
        raise StudyError(
            f"{where} holds {type(value).__name__}, not text: name the column of the captions."
        )
    return one_line(value)
