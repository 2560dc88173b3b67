"""The prompts of a run: a table in pieces beside `run.json`, read as far as it is asked for.

A piece holds a prompt a line, as a prompt file does, so it can be the source of another study.
`run.json` has the length and sha256 of each, and a piece is checked whenever it is read. Its name
follows from its content: whoever is killed while a run is made, or is slower than another process,
leaves nothing that another run could take for its own. Before version 1.3 all prompts stood in
`run.json` itself, and are read from there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import ValidationError
from typing_extensions import override

from schemas.errors import CorruptStore
from schemas.io import layout
from schemas.io.checked import as_stored, damaged_template, mismatch, read_or_none
from schemas.io.folder import Folder
from schemas.io.rows import Rows
from schemas.store import PromptPiece, RunRecord, is_whole
from schemas.study import Prompt

PIECE = 4096
"""Prompts of a piece: 8 MB of them with 15 paraphrases each."""


def write_prompts(
    where: Folder, prompts: Sequence[Prompt], *, piece: int = PIECE
) -> list[PromptPiece]:
    """Write the prompts of a run that is being made, `piece` of them a file.

    Gives the record of each file, as it was read back.
    """
    pieces = []
    for start in range(0, len(prompts), piece):
        part = prompts[start : start + piece]
        content = "".join(f"{prompt.model_dump_json()}\n" for prompt in part).encode()
        sha256 = as_stored("", content).sha256
        key = layout.prompts_key(start, sha256)
        _put(where, key, content)
        stored = as_stored(key, where.read(key))
        pieces.append(PromptPiece(start=start, stop=start + len(part), **stored.model_dump()))
    return pieces


def _put(where: Folder, key: str, content: bytes) -> None:
    """Make an object whose name follows from its content; a damaged one is made again."""
    try:
        where.create(key, content)
    except FileExistsError:
        if where.read(key) != content:
            where.replace(key, content)


class PromptTable(Rows[Prompt]):
    """The prompts of a run, in its order; only the last piece that was read is held.

    Reading a piece that is missing or altered raises CorruptStore, which names the file.
    """

    def __init__(self, where: Folder, run: RunRecord) -> None:
        self._folder = where
        self._run = run
        self._held: tuple[int, list[Prompt]] = (-1, [])

    def __repr__(self) -> str:
        return f"<PromptTable of {self._folder}: {len(self)} prompts>"

    @override
    def __len__(self) -> int:
        return self._run.n_prompts

    @override
    def row(self, number: int) -> Prompt:
        start, prompts = self._piece_of(number)
        return prompts[number - start]

    def _piece_of(self, number: int) -> tuple[int, list[Prompt]]:
        """First number and prompts of the piece that holds a prompt."""
        held = self._held  # one look, for threads share a table
        if held[0] <= number < held[0] + len(held[1]):
            return held
        if self._run.prompt_pieces:
            size = self._run.prompt_pieces[0].stop
            piece = self._run.prompt_pieces[number // size]
            held = (piece.start, _of_piece(self._folder, piece))
        else:
            held = (0, _of_run(self._folder, self._run))
        self._held = held
        return held


def _of_piece(where: Folder, piece: PromptPiece) -> list[Prompt]:
    """Prompts of a piece, which is as it was written."""
    file = f"{where}/{piece.key}"
    content = read_or_none(where, piece.key)
    problem = mismatch(piece, content)
    if problem is not None or content is None:
        raise damaged_template(file, problem or "missing")
    prompts = _validated(file, content.split(b"\n")[:-1])
    if len(prompts) != piece.stop - piece.start:
        raise damaged_template(file, f"it holds {len(prompts)} prompts")
    return prompts


def _of_run(where: Folder, run: RunRecord) -> list[Prompt]:
    """Prompts that stand in `run.json`, of before version 1.3."""
    file = f"{where}/{layout.RUN}"
    document = json.loads(where.read(layout.RUN))
    if not is_whole(document) or len(document["prompts"]) != run.n_prompts:
        raise damaged_template(file, "it changed since it was opened")
    return _validated(file, [json.dumps(prompt).encode() for prompt in document["prompts"]])


def _validated(file: str, lines: Sequence[bytes]) -> list[Prompt]:
    try:
        return [Prompt.model_validate_json(line, extra="ignore") for line in lines]
    except ValidationError as error:
        said = " ".join(error.errors()[0]["msg"].split())
        raise CorruptStore(f"'{file}' holds what is no prompt ({said}); restore it") from None


def prompt_problems(where: Folder, run: RunRecord) -> dict[str, str | None]:
    """Give what is wrong with each piece of the prompts, by its key.

    None where nothing is; each is read whole.
    """
    return {
        piece.key: mismatch(piece, read_or_none(where, piece.key)) for piece in run.prompt_pieces
    }
