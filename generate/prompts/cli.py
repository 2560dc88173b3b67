"""`ibgenerate prompts`: build and check prompt sets."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from generate.errors import GenerateError, StudyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generate.prompts.paraphrasing import LanguageModel
    from schemas.study import Prompt

app = typer.Typer(
    no_args_is_help=True, help="Build and check prompt sets: base prompts with paraphrases."
)
out = Console(highlight=False, soft_wrap=True)
log = Console(stderr=True, highlight=False, soft_wrap=True)

SHOWN = 20
"""Problems listed of a set, unless all are asked for."""

Source = Annotated[
    str, typer.Argument(metavar="SET", help="A .jsonl or .csv file, 'general' or 'trio'.")
]
SplitOption = Annotated[
    str, typer.Option(help="Split of 'general' and 'trio': study or calibration.")
]


class Provider(StrEnum):
    """Where paraphrases come from."""

    keep = "keep"
    grammar = "grammar"
    transformers = "transformers"
    endpoint = "endpoint"


@app.command("list")
def list_sets() -> None:
    """List the prompt sets that are known by name."""
    from generate.prompts import hub
    from generate.prompts.sources import SHIPPED, TRIO

    table = Table(
        "set", "study", "calibration", "paraphrases", Column("what it is", overflow="fold")
    )
    for name in SHIPPED:
        study, calibration = (_load(name, split) for split in ("study", "calibration"))
        n = min(len(p.paraphrases.short) for p in study)
        table.add_row(
            name,
            str(len(study)),
            str(len(calibration)),
            f"{n} of each length",
            "Shipped: varied scenes.",
        )
    table.add_row(
        TRIO,
        "any number",
        "any number",
        "5 of each length",
        "The trio's grammar: exactly equal meaning.",
    )
    for name, captions in hub.KNOWN.items():
        what = f"{captions.repository}, {captions.column} (only for `build --source`)."
        table.add_row(name, "", "", "none", what)
    out.print(table)


@app.command()
def show(
    source: Source,
    prompt: Annotated[
        str | None, typer.Option("--id", help="One prompt, with its paraphrases.")
    ] = None,
    split: SplitOption = "study",
) -> None:
    """Print the base prompts of a set, or one prompt with its paraphrases."""
    from generate.prompts.checks import paraphrases

    prompts = _load(source, split)
    if prompt is None:
        for each in prompts:
            print(f"{each.id}\t{each.text}")
        return
    found = next((each for each in prompts if each.id == prompt), None)
    if found is None:
        raise StudyError(
            f"{source} has no prompt '{prompt}'; `ibgenerate prompts show {source}` lists its ids."
        )
    print(f"original\t{found.text}")
    for length, text in paraphrases(found):
        print(f"{length}\t{text}")


@app.command()
def check(
    source: Source,
    split: SplitOption = "study",
    per_length: Annotated[
        int, typer.Option(min=0, help="Paraphrases wanted in each length class.")
    ] = 5,
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
    """Check a set: duplicates, length classes, numbers and colours, what each model's tokenizer makes of it, drift."""
    from generate.prompts.checks import check as problems_of
    from generate.prompts.sources import overlap, prompts_digest

    prompts = _load(source, split)
    problems = [problem.line for problem in problems_of(prompts, per_length=per_length)]
    _print_lengths(prompts)
    if disjoint_from is not None:
        other = _load(
            disjoint_from,
            "calibration" if disjoint_from == source and split == "study" else "study",
        )
        problems += [
            f"prompt '{name}' is in {disjoint_from} too." for name in overlap(other, prompts)
        ]
    if option and len(model or []) != 1:
        raise GenerateError(
            "--option sets an option of the one --model; check several models one by one."
        )
    for name in model or []:
        problems += _model_problems(name, option or [], prompts)
    if embedding is None:
        log.print("semantic drift was not scored: name a text model with --embedding.")
    else:
        _print_drift(prompts, embedding)
    for line in problems if every else problems[:SHOWN]:
        out.print(escape(line))
    if problems:
        rest = (
            f" ({len(problems) - SHOWN} more: --all)" if len(problems) > SHOWN and not every else ""
        )
        raise GenerateError(f"{len(problems)} problems in {source}{rest}.")
    out.print(
        f"{source}: {len(prompts)} prompts, no problem; content sha256 {prompts_digest(prompts)}"
    )


@app.command()
def build(
    source: Annotated[
        str, typer.Option(help="trio, general, dalle3, coco2014, hf:OWNER/NAME, .jsonl or .csv.")
    ],
    out_file: Annotated[Path, typer.Option("--out", help="The .jsonl file to write.")],
    n: Annotated[int | None, typer.Option(min=1, help="Base prompts; default all.")] = None,
    split: SplitOption = "study",
    column: Annotated[
        str | None, typer.Option(help="Column of the captions; dots lead into nested fields.")
    ] = None,
    hub_split: Annotated[
        str | None, typer.Option(help="Split of a dataset (default train).")
    ] = None,
    config: Annotated[str | None, typer.Option(help="Configuration of a dataset.")] = None,
    revision: Annotated[
        str | None, typer.Option(help="Commit of a dataset; pin it for a paper.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Draw at random; default from the top.")
    ] = None,
    max_words: Annotated[
        int | None, typer.Option(min=1, help="Pass over longer base prompts.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="A set whose prompts are left out (repeatable).")
    ] = None,
    paraphrase: Annotated[
        Provider, typer.Option(help="Where paraphrases come from.")
    ] = Provider.keep,
    per_length: Annotated[int, typer.Option(min=1, help="Paraphrases in each length class.")] = 5,
    model: Annotated[
        str | None, typer.Option(help="Language model: folder, hub name or endpoint's name.")
    ] = None,
    url: Annotated[
        str, typer.Option(help="Base URL of the endpoint.")
    ] = "https://api.openai.com/v1",
    key_from: Annotated[
        str, typer.Option(help="Environment variable with the key, or 'none'.")
    ] = "OPENAI_API_KEY",
    temperature: Annotated[
        float | None, typer.Option(min=0.0, help="Default: the model's.")
    ] = None,
    per_minute: Annotated[float, typer.Option(min=0.01, help="Most requests a minute.")] = 60.0,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for an answer.")] = 120.0,
    answers: Annotated[
        Path | None, typer.Option(help="File of recorded answers; default beside --out.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N, for transformers.")] = "cpu",
    overwrite: Annotated[bool, typer.Option(help="Replace --out.")] = False,
) -> None:
    """Build a prompt file from a source; a language model may write the paraphrases, and is never asked twice."""
    from generate.prompts import build as building
    from generate.prompts import paraphrasing

    if out_file.suffix != ".jsonl":
        raise GenerateError(f"--out is '{out_file}'; prompt sets are written as .jsonl.")
    if out_file.exists() and not overwrite:
        raise GenerateError(f"{out_file} exists: give another --out, or --overwrite.")
    speaker = _language_model(
        paraphrase, model, url, key_from, temperature, per_minute, timeout, device
    )
    asked = building.Asked(
        source, n, _split(split), column, hub_split, config, revision, seed, max_words
    )  # fmt: skip
    left_out = [prompt for name in exclude or [] for prompt in _load(name, "study")]
    prompts, passed = building.collect(asked, exclude=left_out)
    log.print(f"{len(prompts)} base prompts; passed over: {passed}.")
    if paraphrase is Provider.grammar:
        prompts = paraphrasing.from_grammar(prompts, per_length=per_length)
    if speaker is not None:
        recorded = paraphrasing.Answers(answers or out_file.with_suffix(".answers.jsonl"))
        with log.status("") as status:
            prompts = paraphrasing.with_paraphrases(
                prompts, speaker, recorded, per_length=per_length, seed=seed or 0,
                progress=lambda done: status.update(f"{done} of {len(prompts)} prompts paraphrased"),
            )  # fmt: skip
    made = {
        **vars(asked),
        "paraphrase": paraphrase.value,
        "model": speaker.name if speaker else None,
    }
    digest = building.write(prompts, out_file, made)
    out.print(
        f"{out_file}: {len(prompts)} prompts, sha256 {digest}; `ibgenerate prompts check {out_file}` checks it."
    )


def _language_model(
    provider: Provider, model: str | None, url: str, key_from: str, temperature: float | None, per_minute: float,
    timeout: float, device: str,
) -> LanguageModel | None:  # fmt: skip
    """The language model that paraphrases, None if none does."""
    if provider not in (Provider.transformers, Provider.endpoint):
        return None
    if model is None:
        raise GenerateError(f"--paraphrase {provider.value} needs a --model.")
    if provider is Provider.transformers:
        from generate.prompts.transformers_model import TransformersModel

        return TransformersModel(model, device, temperature)
    from generate.prompts import endpoint

    address = endpoint.checked_url(url)
    return endpoint.Endpoint(
        address,
        model,
        endpoint.key_from(key_from),
        temperature,
        per_minute=per_minute,
        timeout=timeout,
    )


def _split(split: str) -> Literal["study", "calibration"]:
    if split == "study":
        return "study"
    if split == "calibration":
        return "calibration"
    raise GenerateError(f"split is '{split}'; give study or calibration.")


def _load(source: str, split: str) -> list[Prompt]:
    from generate.prompts import load_prompts
    from schemas.study import PromptSource

    return load_prompts(PromptSource(source=source), _split(split), Path())


def _print_lengths(prompts: Sequence[Prompt]) -> None:
    """Table of how many texts and words each length class has."""
    import numpy as np

    from generate.prompts.checks import LENGTHS
    from generate.prompts.wording import words
    from schemas.study import LENGTH_WORDS

    table = Table("wording", "texts", "fewest words", "median", "most words", "allowed")
    groups = {"original": [prompt.text for prompt in prompts]}
    groups |= {
        str(length): [t for p in prompts for t in getattr(p.paraphrases, length)]
        for length in LENGTHS
    }
    bounds: dict[str, str] = {
        length: f"{low} to {high}" for length, (low, high) in LENGTH_WORDS.items()
    }
    for kind, texts in groups.items():
        if texts:
            n = [len(words(text)) for text in texts]
            table.add_row(
                kind,
                str(len(n)),
                str(min(n)),
                f"{np.median(n):g}",
                str(max(n)),
                bounds.get(kind, ""),
            )
    out.print(table)


def _model_problems(name: str, option: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
    """Wordings of one prompt that a model reads as one; says how many texts it cuts."""
    import yaml

    from generate.models import model_class
    from generate.study.reading import texts, twins

    adapter = model_class(name)
    pairs = [pair.partition("=") for pair in option]
    all_texts = texts(prompts)
    options = adapter.options({key: yaml.safe_load(value) for key, _, value in pairs})
    read = adapter.read(options, [text for text, _, _ in all_texts])
    if read is None:
        log.print(f"model '{name}' does not say what it reads of a text; it was not checked.")
        return []
    longest = max(len(reading.tokens) for reading in read)
    out.print(
        f"{name}: at most {longest} tokens, {sum(reading.cut for reading in read)} texts are cut."
    )
    return [
        f"'{one}' and '{other}' of prompt '{prompts[index].id}' are one to model '{name}'."
        for index, one, other in twins(all_texts, read)
    ]


def _print_drift(prompts: Sequence[Prompt], checkpoint: str) -> None:
    from generate.prompts.drift import drift

    found = drift(prompts, checkpoint)
    table = Table(
        "paraphrases", "mean", "largest", title=f"cosine distance to the base prompt ({checkpoint})"
    )
    for length, distances in found.distance.items():
        if distances.size:
            table.add_row(length, f"{distances.mean():.3f}", f"{distances.max():.3f}")
    table.add_row("other base prompts", f"{found.between:.3f}", "")
    out.print(table)
    name, text = found.farthest
    out.print(
        f"farthest: '{escape(text)}' of prompt '{name}'; {found.n_cut} texts are cut by the embedding."
    )
    for own, nearer, text in found.strays:
        out.print(
            f"'{escape(text)}' of prompt '{own}' is nearer to prompt '{nearer}' than to its own."
        )
