"""Codes that a condition may use, where it is held to a part of the codebook: given, and kept to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibstats.errors import IbstatsError, unknown
from schemas.io.arrays import read_array

Given = Sequence[int] | str | NDArray[Any]
"""Ids of codes, a range `0..1023` of them with both ends, or a .npy or text file of ids."""
Keep = NDArray[np.bool_]
"""Whether a condition may use a code, `(code,)`."""

RANGE = re.compile(r"\s*(\d+)\s*\.\.\s*(\d+)\s*")


def allowed_codes(
    given: Mapping[str, Given], conditions: Sequence[str], codebook: int
) -> dict[str, Keep]:
    """Give the codes that conditions are held to, by their names; others may use all.

    `given` names conditions of the run, `codebook` is the number of codes there are. Raises
    IbstatsError for another condition, a run without tokens, a file that cannot be read, and ids
    that are no codes.

    >>> found = allowed_codes({"subset": "0..2"}, ["subset", "full"], codebook=5)
    >>> found["subset"].tolist()
    [True, True, True, False, False]
    """
    found = {}
    for condition, codes in given.items():
        if condition not in conditions:
            raise unknown("condition of `allowed_codes`", condition, conditions)
        where = f"`allowed_codes` of condition '{condition}'"
        if not codebook:
            raise IbstatsError(f"{where} are given, but no tokens; give them and their codebook")
        ids = _ids(codes, where)
        if not ids.size:
            raise IbstatsError(f"{where} are none; name the codes it may use, or leave it out")
        if ids.min() < 0 or ids.max() >= codebook:
            wrong = ids[(ids < 0) | (ids >= codebook)][0]
            raise IbstatsError(f"{where} hold {wrong}, but codes run 0..{codebook - 1}")
        found[condition] = np.zeros(codebook, bool)
        found[condition][ids] = True
    return found


def check_allowed(tokens: NDArray[Any], keep: Keep | None, where: str) -> None:
    """Raise IbstatsError, whose message begins with `where`, for a token that is not allowed.

    `keep` is None where all are. Tokens are codes of the codebook.
    """
    if keep is None or keep[tokens].all():
        return
    outside = tokens[~keep[tokens]]
    raise IbstatsError(
        f"{where} holds the code {outside[0]}, which its condition may not use by `allowed_codes` "
        f"({outside.size} of {tokens.size} tokens): mend the list, or the tokens"
    )


def _ids(given: Given, where: str) -> NDArray[np.int64]:
    """Ids of codes as they were given, whole numbers `(code,)`."""
    values: Any = given
    if isinstance(given, str):
        ends = RANGE.fullmatch(given)
        values = np.arange(int(ends[1]), int(ends[2]) + 1) if ends else _in_file(given, where)
    ids = np.asarray(values)
    if ids.size and (ids.ndim != 1 or ids.dtype.kind not in "ui"):
        raise IbstatsError(
            f"{where} are {ids.dtype}{ids.shape}, but ids are whole numbers in one row"
        )
    return ids.astype(np.int64)


def _in_file(name: str, where: str) -> NDArray[Any]:
    """The ids in a .npy file, or between the blanks, commas and line ends of a text."""
    file = Path(name)
    if file.suffix.lower() == ".npy":
        return read_array(file)
    try:
        words = re.split(r"[\s,]+", file.read_text("utf-8").strip())
        return np.array([int(word) for word in words if word], dtype=np.int64)
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise IbstatsError(
            f"{where}: '{name}' is no range like 0..1023 and no file of ids ({reason})"
        ) from None
