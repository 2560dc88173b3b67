"""The command `prompts build`: a prompt file from a source, with paraphrases by a language model."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from generate.cli.console import log, out
from generate.errors import GenerateError
from generate.prompts import build as building
from generate.prompts import paraphrasing
from generate.prompts.checks import WANTED
from generate.prompts.endpoint import OPENAI, Endpoint, checked_url
from generate.prompts.endpoint import key_from as key_in
from generate.prompts.sources import load_set, split_named
from generate.prompts.transformers_model import TransformersModel
from schemas.device import pick_device
from schemas.io.refused import in_clear
from schemas.study import Prompt


class Provider(StrEnum):
    """Where paraphrases come from.

    `keep` leaves those that the source has, `grammar` words the trio's meanings, the others ask a
    language model.
    """

    keep = "keep"
    grammar = "grammar"
    transformers = "transformers"
    endpoint = "endpoint"


def build(
    source: Annotated[
        str, typer.Option(help="trio, general, dalle3, coco2014, hf:OWNER/NAME, .jsonl or .csv.")
    ],
    out_file: Annotated[Path, typer.Option("--out", help="The .jsonl file to write.")],
    n: Annotated[int | None, typer.Option(min=1, help="Base prompts; default all.")] = None,
    split: Annotated[
        str, typer.Option(help="Split of 'general' and 'trio': study or calibration.")
    ] = "study",
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
    per_length: Annotated[
        int, typer.Option(min=1, help="Paraphrases in each length class.")
    ] = WANTED,
    model: Annotated[
        str | None, typer.Option(help="Language model: folder, hub name or endpoint's name.")
    ] = None,
    url: Annotated[str, typer.Option(help="Base URL of the endpoint.")] = OPENAI,
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
    device: Annotated[
        str, typer.Option(help="For transformers: auto, cpu, cuda, cuda:N or mps.")
    ] = "cpu",
    overwrite: Annotated[bool, typer.Option(help="Replace --out.")] = False,
) -> None:
    """Build a prompt file; a language model may write the paraphrases.

    Its answers are recorded, and it is never asked twice for the same. Beside the file lies a
    record of how it was made.
    """
    if out_file.suffix != ".jsonl":
        raise GenerateError(f"--out is '{out_file}'; prompt sets are written as .jsonl.")
    if out_file.exists() and not overwrite:
        raise GenerateError(f"{out_file} exists: give another --out, or --overwrite.")
    speaker: paraphrasing.LanguageModel | None = None
    if paraphrase in (Provider.transformers, Provider.endpoint):
        if model is None:
            raise GenerateError(f"--paraphrase {paraphrase.value} needs a --model.")
        if paraphrase is Provider.transformers:
            speaker = TransformersModel(model, pick_device(device), temperature)
        else:
            base, key = _address(url, key_from)
            speaker = Endpoint(
                base, model, key, temperature, per_minute=per_minute, timeout=timeout
            )
    asked = building.Asked(
        source=source,
        n=n,
        split=split_named(split),
        column=column,
        hub_split=hub_split,
        config=config,
        revision=revision,
        seed=seed,
        max_words=max_words,
    )
    left_out: list[Prompt] = []
    for name in exclude or []:
        left_out += load_set(name, "study")
    prompts, passed = building.collect(asked, exclude=left_out)
    log.print(f"{len(prompts)} base prompts; passed over: {passed}.", soft_wrap=True)
    if paraphrase is Provider.grammar:
        prompts = paraphrasing.from_grammar(prompts, per_length=per_length)
    if speaker is not None:
        recorded = paraphrasing.Answers(answers or out_file.with_suffix(".answers.jsonl"))
        prompts = _paraphrased(prompts, speaker, recorded, per_length, seed or 0)
    asked_model = speaker.name if speaker else None
    made = {**vars(asked), "paraphrase": paraphrase.value, "model": asked_model}
    digest = building.write(prompts, out_file, made)
    out.print(
        f"{out_file}: {len(prompts)} prompts, sha256 {digest}; `ibgenerate prompts check "
        f"{out_file}` checks it."
    )


def _address(url: str, key_from: str) -> tuple[str, str]:
    """Base URL and key of an endpoint; a key that goes over plain http:// is spoken of."""
    base = checked_url(url)
    key = key_in(key_from)
    if key and in_clear(url):
        log.print(
            "the endpoint's URL is plain http://: the key and the texts can be read on the "
            "way; use https:// outside a network that you trust.",
            soft_wrap=True,
        )
    return base, key


def _paraphrased(
    prompts: Sequence[Prompt],
    speaker: paraphrasing.LanguageModel,
    recorded: paraphrasing.Answers,
    per_length: int,
    seed: int,
) -> list[Prompt]:
    """The prompts with paraphrases by a language model, and meanwhile how many are done."""
    with log.status("") as status:

        def progress(done: int) -> None:
            status.update(f"{done} of {len(prompts)} prompts paraphrased")

        return paraphrasing.with_paraphrases(
            prompts, speaker, recorded, per_length=per_length, seed=seed, progress=progress
        )
