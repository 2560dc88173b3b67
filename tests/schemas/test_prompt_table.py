"""Prompts lie beside the run, are read piece by piece, and are what was written or one line."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path

import pytest

import ibstats
from generate.store.audit import summary
from generate.store.samples import SampleStore
from generate.study.planning import recorded_plan
from schemas.errors import CorruptStore, UserError
from schemas.io import reader
from schemas.io.folder import LocalFolder
from schemas.io.prompt_table import PromptTable, prompt_problems, write_prompts
from schemas.store import RunRecord, sealed
from schemas.study import Prompt
from tests.faults.damages import DAMAGES
from tests.schemas.test_writer import FREE, IDENTITIES, imported_run

OLD = Path(__file__).parents[1] / "recordings/run_1_2.zip"
"""A finished run of `toy-masked`, 3 prompts, written by the last program of store version 1.2."""
OLD_DIGEST = "d08207dd11a6643b4d1d5d410e186ee08002288fab353837990090287c4259e1"
"""What that program said the digest of its samples is."""
PROMPTS = [
    Prompt(id=f"p{number}", text=f"a {number}", attributes={"n": str(number)})
    for number in range(23)
]


def laid_out(where: LocalFolder, piece: int) -> RunRecord:
    """A run whose prompts are in pieces of so many."""
    identity = next(iter(IDENTITIES.values()))
    pieces = write_prompts(where, PROMPTS, piece=piece)
    run = imported_run(identity, FREE, n_prompts=len(PROMPTS))
    record = run.model_copy(update={"prompt_pieces": pieces})
    where.create("run.json", sealed(record))
    return reader.read_run(where)


@pytest.mark.parametrize("piece", [1, 7, 23, 4096])
def test_prompts_are_what_was_written_however_they_are_cut(tmp_path: Path, piece: int) -> None:
    where = LocalFolder(tmp_path)
    table = PromptTable(where, laid_out(where, piece))
    assert len(table) == 23
    assert list(table) == PROMPTS
    assert [table[number] for number in (22, 0, 13, -1)] == [PROMPTS[n] for n in (22, 0, 13, -1)]
    assert table[5:20:3] == PROMPTS[5:20:3]
    with pytest.raises(IndexError):
        table[23]


def test_only_the_piece_that_is_asked_for_is_read(tmp_path: Path) -> None:
    where = LocalFolder(tmp_path)
    run = laid_out(where, 7)
    for piece in run.prompt_pieces[1:]:
        where.remove(piece.key)
    table = PromptTable(where, run)
    assert table[:7] == PROMPTS[:7]
    with pytest.raises(CorruptStore, match=r"prompts/00000007-.*jsonl' is damaged .missing.*copy"):
        table[7]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_piece_is_told_and_never_read(tmp_path: Path, damage: str) -> None:
    where = LocalFolder(tmp_path)
    run = laid_out(where, 7)
    hurt = run.prompt_pieces[1].key
    DAMAGES[damage](tmp_path / hurt, random.Random(damage))
    with pytest.raises(CorruptStore, match="is damaged"):
        list(PromptTable(where, run))
    problems = prompt_problems(where, run)
    assert problems[hurt] is not None
    told = [problem for problem in problems.values() if problem is not None]
    assert len(told) == (2 if damage == "swapped" else 1)


def test_what_a_killed_creation_left_is_used_again_or_made_again(tmp_path: Path) -> None:
    where = LocalFolder(tmp_path)
    first = write_prompts(where, PROMPTS, piece=7)
    where.replace(first[2].key, b"half of")
    assert write_prompts(where, PROMPTS, piece=7) == first
    assert set(prompt_problems(where, laid_out(where, 7)).values()) == {None}


def test_a_run_that_leaves_out_prompts_is_refused(tmp_path: Path) -> None:
    where = LocalFolder(tmp_path)
    run = laid_out(where, 7)
    fewer = run.model_copy(update={"prompt_pieces": run.prompt_pieces[:-1]})
    where.replace("run.json", sealed(fewer))
    with pytest.raises(CorruptStore, match="pieces of the prompts are not those of 23"):
        reader.read_run(where)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The run of before, in a folder of its own."""
    with zipfile.ZipFile(OLD) as archive:
        archive.extractall(tmp_path)
    return tmp_path / "old"


def test_a_run_of_before_is_read_by_both_programs_as_it_was(old: Path) -> None:
    store = ibstats.open_store(old)
    assert store.snapshot() == OLD_DIGEST
    dataset = store.dataset("toy-masked").load()
    assert dataset["prompt"].values.tolist() == [prompt.id for prompt in store.prompts]
    texts = [str(text) for text in dataset["text"].values]
    for prompt in store.prompts:
        assert prompt.text in texts
        assert set(prompt.paraphrases.short) <= set(texts)
    assert not [problem for _, problem in store.verify() if problem]
    samples = SampleStore.open(old)
    found = summary(recorded_plan(samples.run, samples.prompts), samples)
    assert (found.done, found.total, found.digest) == (16, 16, OLD_DIGEST)


def test_the_prompts_of_a_run_of_before_are_checked_too(old: Path) -> None:
    store = ibstats.open_store(old)
    file = old / "run.json"
    file.write_text(file.read_text().replace("circle", "square"))
    with pytest.raises(UserError, match=r"run\.json' is damaged"):
        list(store.prompts)
