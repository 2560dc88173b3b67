"""Files of a checkpoint that are not what their name says, told by their first bytes.

A clone without git-lfs has pointers in place of weights, a download that was cut short half a file
or none, a proxy's log-in page has any name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from generate.errors import ModelError

POINTER = b"version https://git-lfs.github.com/spec/"
PAGES = (b"<!doctype html", b"<html", b"<?xml")
HEAD_BYTES = 1024
LENGTH_BYTES = 8
"""Bytes of a safetensors file that say how long its header is."""
TEXTS = (".json", ".txt")


class Settings(dict[str, Any]):
    """The content of a configuration file, which names file and key where a key lacks."""

    where: str

    def __missing__(self, key: str) -> Any:
        raise ModelError(f"{self.where} has no key '{key}': fetch it again, or name another.")


def settings(content: bytes, where: str) -> Settings:
    """The mapping that a file of JSON holds; `where` is what a message calls the file.

    Raises ModelError if it is another file, or holds anything else.
    """
    try:
        document = json.loads(content)
    except ValueError as error:  # no JSON, or no text
        raise ModelError(f"{where} is not JSON ({error}): fetch it again.") from None
    if not isinstance(document, dict):
        raise ModelError(
            f"{where} holds a {type(document).__name__}, not a mapping: fetch it again."
        )
    found = Settings(document)
    found.where = where
    return found


def refuse_impostor(path: Path) -> None:
    """Raise ModelError if a file is empty, a git-lfs pointer, a web page, or cut short.

    Reads the first bytes; of a safetensors file also its header, which says how long it is.
    """
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    start = head.lstrip().lower()
    if not head:
        raise ModelError(f"{path} is empty: fetch it again.")
    if head.startswith(POINTER):
        raise ModelError(f"{path} is a git-lfs pointer, not the file: fetch it (`git lfs pull`).")
    if start.startswith(PAGES) and path.suffix not in TEXTS[1:]:
        raise ModelError(f"{path} is a web page, not the file: fetch it again.")
    if path.suffix == ".safetensors":
        _refuse_cut(path)


def _refuse_cut(path: Path) -> None:
    """Refuse a safetensors file that is longer or shorter than its header says."""
    there = path.stat().st_size
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(LENGTH_BYTES), "little")
            if length > there:
                raise ValueError("its header is longer than the file")
            header = json.loads(stream.read(length))
        ends = [0]
        for name, tensor in header.items():
            if name != "__metadata__":
                ends.append(int(tensor["data_offsets"][1]))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ModelError(
            f"{path} is not a file of weights ({str(error)[:100]}): fetch it again."
        ) from None
    whole = LENGTH_BYTES + length + max(ends)
    if there != whole:
        raise ModelError(
            f"{path} is not whole: {there} bytes, but its header says {whole}; fetch it again."
        )
