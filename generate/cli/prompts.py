"""Commands about prompt sets: `prompts list`, `show`, `check`; `build` has a module of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import typer
from rich.table import Column, Table

from generate.cli.console import log, out, print_table
from generate.cli.options import settings_given
from generate.cli.prompts_build import build
from generate.errors import GenerateError, StudyError
from generate.prompts import hub
from generate.prompts.checks import LENGTHS, WANTED, paraphrases
from generate.prompts.checks import check as problems_of
from generate.prompts.drift import drift
from generate.prompts.sources import (
    SHIPPED,
    TRIO,
    Split,
    load_set,
    overlap,
    prompts_digest,
    split_named,
)
from generate.prompts.wording import words
from generate.study.reading import texts, twins
from schemas.study import LENGTH_WORDS, Prompt

SHOWN = 20
"""Problems listed of a set, unless all are asked for."""

Source = Annotated[
    str,
    typer.Argument(metavar="SET", help="A .jsonl or .csv file, 'general', 'imagenet' or 'trio'."),
]
SplitOption = Annotated[
    str, typer.Option(help="Split of a set known by name: study or calibration.")
]


def list_sets() -> None:
    """List the prompt sets that are known by name.

    Those of other people are only for `ibgenerate prompts build --source`.
    """
    last = Column("what it is", overflow="fold")
    table = Table("set", "study", "calibration", "paraphrases", last)
    for name, what in SHIPPED.items():
        study, calibration = load_set(name, "study"), load_set(name, "calibration")
        n = min(len(prompt.paraphrases.short) for prompt in study)
        each = f"{n} of each length" if n else "none"
        table.add_row(name, str(len(study)), str(len(calibration)), each, f"Shipped: {what}.")
    of_any_number = ("any number", "any number", f"{WANTED} of each length")
    table.add_row(TRIO, *of_any_number, "The trio's grammar: exactly equal meaning.")
    for name, captions in hub.KNOWN.items():
        where = f"{captions.repository}, {captions.column} (only for `build --source`)."
        table.add_row(name, "", "", "none", where)
    print_table(table)


def show(
    source: Source,
    prompt: Annotated[
        str | None, typer.Option("--id", help="One prompt, with its paraphrases.")
    ] = None,
    split: SplitOption = "study",
) -> None:
    """Print the base prompts of a set, or one prompt with its paraphrases.

    One a line: the id and the text, or the length class and the text.
    """
    prompts = load_set(source, split_named(split))
    if prompt is None:
        for each in prompts:
            print(f"{each.id}\t{each.text}")
        return
    by_id = {each.id: each for each in prompts}
    if prompt not in by_id:
        raise StudyError(
            f"{source} has no prompt '{prompt}'; `ibgenerate prompts show {source}` lists its ids."
        )
    print(f"original\t{by_id[prompt].text}")
    for length, text in paraphrases(by_id[prompt]):
        print(f"{length}\t{text}")


def check(
    source: Source,
    split: SplitOption = "study",
    per_length: Annotated[
        int, typer.Option(min=0, help="Paraphrases wanted in each length class.")
    ] = WANTED,
    disjoint_from: Annotated[
        str | None, typer.Option(help="A set that must share no prompt with this one.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Model whose tokenizer must tell the texts apart.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="A setting of the one --model, name=value.")
    ] = None,
    embedding: Annotated[
        str | None, typer.Option(help="Text model (folder or hub name) to score drift with.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help=f"List all problems, not the first {SHOWN}.")
    ] = False,
) -> None:
    """Check a set: duplicates, length classes, numbers and colours, how models read it, drift.

    Ends with status 1 if there is a problem.
    """
    prompts = load_set(source, split_named(split))
    problems = [problem.line for problem in problems_of(prompts, per_length=per_length)]
    _print_lengths(prompts)
    if disjoint_from is not None:
        other_split: Split = "study"
        if disjoint_from == source and split == "study":
            other_split = "calibration"
        other = load_set(disjoint_from, other_split)
        for name in overlap(other, prompts):
            problems.append(f"prompt '{name}' is in {disjoint_from} too.")
    models, options = model or [], option or []
    if options and len(models) != 1:
        raise GenerateError(
            "--option sets an option of the one --model; check several models one by one."
        )
    for name in models:
        problems += _model_problems(name, options, prompts)
    if embedding is None:
        log.print("semantic drift was not scored: name a text model with --embedding.")
    else:
        _print_drift(prompts, embedding)
    listed = problems if every else problems[:SHOWN]
    for line in listed:
        out.print(line)
    if problems:
        rest = ""
        if len(listed) < len(problems):
            rest = f" ({len(problems) - len(listed)} more: --all)"
        raise GenerateError(f"{len(problems)} problems in {source}{rest}.")
    digest = prompts_digest(prompts)
    out.print(f"{source}: {len(prompts)} prompts, no problem; content sha256 {digest}")


def _print_lengths(prompts: Sequence[Prompt]) -> None:
    """Table of how many texts and words each length class has."""
    table = Table("wording", "texts", "fewest words", "median", "most words", "allowed")
    _add_lengths(table, "original", [prompt.text for prompt in prompts], "")
    for length in LENGTHS:
        wordings: list[str] = []
        for prompt in prompts:
            wordings += getattr(prompt.paraphrases, length)
        low, high = LENGTH_WORDS[length]
        _add_lengths(table, length, wordings, f"{low} to {high}")
    print_table(table)


def _add_lengths(table: Table, kind: str, wordings: Sequence[str], allowed: str) -> None:
    if wordings:
        n = [len(words(text)) for text in wordings]
        numbers = (str(len(n)), str(min(n)), f"{np.median(n):g}", str(max(n)))
        table.add_row(kind, *numbers, allowed)


def _model_problems(name: str, option: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
    """Wordings of one prompt that a model reads as one; says how many texts it cuts."""
    from generate.models import model_class

    adapter = model_class(name)
    all_texts = texts(prompts)
    options = adapter.options(settings_given(option))
    read = adapter.read(options, [text for text, _, _ in all_texts])
    if read is None:
        log.print(f"model '{name}' does not say what it reads of a text; it was not checked.")
        return []
    longest = max(len(reading.tokens) for reading in read)
    n_cut = sum(reading.cut for reading in read)
    out.print(f"{name}: at most {longest} tokens, {n_cut} texts are cut.")
    problems = []
    for index, one, other in twins(all_texts, read):
        of = prompts[index].id
        problems.append(f"'{one}' and '{other}' of prompt '{of}' are one to model '{name}'.")
    return problems


def _print_drift(prompts: Sequence[Prompt], checkpoint: str) -> None:
    """Cosine distances of the paraphrases from their base prompts, and those that stray."""
    found = drift(prompts, checkpoint)
    title = f"cosine distance to the base prompt ({checkpoint})"
    table = Table("paraphrases", "mean", "largest", title=title)
    for length, distances in found.distance.items():
        if distances.size:
            table.add_row(length, f"{distances.mean():.3f}", f"{distances.max():.3f}")
    table.add_row("other base prompts", f"{found.between:.3f}", "")
    print_table(table)
    name, text = found.farthest
    out.print(
        f"farthest: '{text}' of prompt '{name}'; {found.n_cut} texts are cut by the embedding."
    )
    for own, nearer, text in found.strays:
        out.print(f"'{text}' of prompt '{own}' is nearer to prompt '{nearer}' than to its own.")


app = typer.Typer(
    no_args_is_help=True, help="Build and check prompt sets: base prompts with paraphrases."
)
app.command("list")(list_sets)
app.command()(show)
app.command()(check)
app.command()(build)
