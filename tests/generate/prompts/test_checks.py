"""Each kind of problem is found where it is, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch

from benchmarks import tiny
from generate.models import toy
from generate.prompts.checks import WANTED, check
from generate.prompts.drift import drift, embed
from generate.prompts.files import write_prompts
from generate.prompts.sources import load_prompts, overlap, source_file
from generate.prompts.wording import counts_and_colours, length_class, normalised
from generate.study.reading import Reading
from schemas.study import LENGTH_WORDS, Prompt, PromptSource
from tests.generate.prompts.conftest import Command, wordings

ROOT = Path(__file__).parents[3]


def changed(prompt: Prompt, length: str, text: str) -> Prompt:
    """The prompt with its first paraphrase of a length replaced."""
    texts = {**prompt.paraphrases.model_dump()}
    texts[length][0] = text
    return Prompt.model_validate({**prompt.model_dump(), "paraphrases": texts})


def test_a_good_set_has_no_problem(prompts: list[Prompt]) -> None:
    assert check(prompts) == []


@pytest.mark.parametrize(
    ("length", "text", "kind", "line"),
    [
        (
            "short",
            "Harbour SHORT quiet-quiet; quiet scene!",
            "duplicate",
            "of prompt 'fox' is in prompt 'harbour' before",
        ),
        ("long", "fox alone", "length class", "has 2 words; long is 23 to 50"),
        (
            "short",
            "fox twice over in red",
            "numbers and colours",
            "and its base prompt differ in red",
        ),
        (
            "medium",
            f"{' '.join(['fox'] * 10)} with three cubs",
            "numbers and colours",
            "differ in 3",
        ),
    ],
)
def test_one_bad_paraphrase_is_one_problem(
    prompts: list[Prompt], length: str, text: str, kind: str, line: str
) -> None:
    prompts = [prompts[1], changed(prompts[0], length, text)]
    problems = check(prompts)
    assert [problem.prompt for problem in problems] == ["fox"]
    assert problems[0].kind == kind
    assert line in problems[0].line


def test_fewer_paraphrases_than_asked_are_counted(prompts: list[Prompt]) -> None:
    problems = check(prompts, per_length=6)
    assert {problem.kind for problem in problems} == {"too few"}
    assert problems[0].line == "prompt 'fox' has 5 short paraphrases, 6 are asked for."
    assert len(problems) == 6


def test_a_paraphrase_that_repeats_its_base_text_is_a_duplicate(prompts: list[Prompt]) -> None:
    problems = check([changed(prompts[0], "short", "The fox.")])
    assert [problem.kind for problem in problems] == ["duplicate"]


def test_wordings_of_the_trio_must_be_those_of_its_grammar() -> None:
    trio = load_prompts(PromptSource(source="trio", n=20), "study", Path())
    assert check(trio) == []
    problems = check([changed(trio[0], "short", trio[1].paraphrases.short[0])])
    assert [problem.kind for problem in problems] == ["grammar"]


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, "short"),
        (12, "short"),
        (13, "medium"),
        (22, "medium"),
        (23, "long"),
        (50, "long"),
        (51, None),
    ],
)
def test_length_classes_meet_without_gap_or_overlap(n: int, expected: str | None) -> None:
    assert length_class(" - ".join(["snow-capped"] * n)) == expected
    assert sorted(LENGTH_WORDS.values()) == [(1, 12), (13, 22), (23, 50)]


def test_texts_are_compared_without_case_punctuation_and_spacing() -> None:
    assert normalised("A  Fox’s den—snow-capped!") == normalised("a foxs den snow capped")
    assert normalised("a fox") != normalised("a box")


def test_numbers_and_colours_are_compared_by_what_they_say() -> None:
    assert counts_and_colours("a pair of gray owls, 3 golden eggs") == counts_and_colours(
        "Two grey owls; three gold eggs"
    )
    assert counts_and_colours("one dozen") == {"12"}


def test_wordings_that_are_one_to_a_model_are_problems(
    prompt_file: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(options: object, texts: list[str]) -> list[Reading]:
        return [Reading(tuple(text[:15].encode()), cut=len(text) > 15) for text in texts]

    monkeypatch.setattr(toy.ToyMasked, "read", read)
    status, out, err = command("check", prompt_file, "--model", "toy-masked")
    assert status == 1
    assert "toy-masked: at most 15 tokens, 30 texts are cut." in out
    assert "of prompt 'fox' are one to model 'toy-masked'." in out
    assert "problems in" in err


def test_a_model_that_does_not_say_what_it_reads_is_not_passed_over_in_silence(
    prompt_file: Path, command: Command
) -> None:
    status, _, err = command("check", prompt_file, "--model", "toy-masked")
    assert status == 0
    assert "model 'toy-masked' does not say what it reads of a text; it was not checked." in err
    assert "semantic drift was not scored: name a text model with --embedding." in err


def test_wordings_are_read_by_the_tokenizer_of_a_published_model(
    tmp_path: Path, command: Command
) -> None:
    """A tiny aMUSEd whose CLIP reads bytes: of long texts it sees the same beginning."""
    folder = tiny.amused(tmp_path)
    beginning = " ".join(["scene"] * 24)
    paraphrases = {
        "long": [f"{beginning} at dawn", f"{beginning} at dusk"],
        "short": ["cat", "dog"],
    }
    prompt = Prompt.model_validate({"id": "cat", "text": "red cat", "paraphrases": paraphrases})
    write_prompts([prompt], tmp_path / "set.jsonl")
    status, out, _ = command(
        "check",
        tmp_path / "set.jsonl",
        "--per-length",
        0,
        "--model",
        "amused",
        "--option",
        f"checkpoint={folder}",
    )
    assert status == 1
    assert "amused: at most 77 tokens, 2 texts are cut." in out
    assert "at dusk' of prompt 'cat' are one to model 'amused'." in out


def test_the_trio_reads_the_words_of_its_grammar_and_refuses_others(command: Command) -> None:
    status, out, _ = command("check", "trio", "--model", "trio-mim")
    assert status == 0
    assert "trio-mim: at most 24 tokens, 0 texts are cut." in out
    status, _, err = command("check", "general", "--model", "trio-mim")
    assert status == 1
    assert "Unknown word 'fox'" in err


def test_only_the_first_problems_are_listed_unless_all_are_asked_for(
    prompts: list[Prompt], tmp_path: Path, command: Command
) -> None:
    write_prompts(
        [
            prompt.model_copy(update={"id": f"{prompt.id}{i}"})
            for prompt in prompts
            for i in range(2)
        ],
        tmp_path / "a.jsonl",
    )
    status, out, err = command("check", tmp_path / "a.jsonl")
    assert status == 1
    assert out.count("before.") == 20
    assert "32 problems in" in err
    assert "(12 more: --all)" in err
    assert command("check", tmp_path / "a.jsonl", "--all")[1].count("before.") == 32


def test_a_set_that_overlaps_another_is_refused(prompt_file: Path, command: Command) -> None:
    status, out, _ = command("check", prompt_file, "--disjoint-from", prompt_file)
    assert status == 1
    assert "prompt 'fox' is in" in out


# The shipped set


@pytest.mark.parametrize("split", ["study", "calibration"])
def test_the_shipped_set_is_as_its_schema_says(split: Any) -> None:
    schema = json.loads((ROOT / "schemas/prompt.schema.json").read_text(encoding="utf-8"))
    path = source_file(PromptSource(source="general"), split, Path())
    for line in path.read_text(encoding="utf-8").splitlines():
        jsonschema.validate(json.loads(line), schema)


def test_the_shipped_set_passes_its_own_check(command: Command) -> None:
    status, out, _ = command("check", "general", "--disjoint-from", "general")
    assert status == 0
    assert "general: 150 prompts, no problem" in out
    status, out, _ = command("check", "general", "--split", "calibration", "--per-length", 0)
    assert status == 0
    assert "general: 64 prompts, no problem" in out


def test_the_shipped_study_and_calibration_prompts_share_nothing() -> None:
    general = PromptSource(source="general")
    study, calibration = (
        load_prompts(general, "study", Path()),
        load_prompts(general, "calibration", Path()),
    )
    assert overlap(study, calibration) == []
    assert (
        sum(len(getattr(p.paraphrases, length)) for p in study for length in LENGTH_WORDS)
        == 150 * 3 * WANTED
    )


# Drift, in tiny embeddings with random weights


def tiny_vocabulary(folder: Path) -> None:
    """A word-level tokenizer over the test's words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = [
        "<pad>",
        "<unk>",
        "the",
        "fox",
        "harbour",
        "scene",
        "short",
        "medium",
        "long",
        *["quiet", "calm", "mild", "soft"],
    ]
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", model_max_length=40,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)  # fmt: skip


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=13, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=40,
    )  # fmt: skip
    BertModel(config).save_pretrained(tmp_path / "bert")
    tiny_vocabulary(tmp_path / "bert")
    return tmp_path / "bert"


def test_embeddings_are_the_means_over_the_tokens_of_each_text_alone(bert: Path) -> None:
    """Against the model called on one text at a time, without padding."""
    from transformers import AutoModel, AutoTokenizer

    texts = ["the fox", "the quiet harbour scene", "fox"]
    vectors, n_cut = embed(texts, str(bert))
    model, tokenizer = AutoModel.from_pretrained(bert).eval(), AutoTokenizer.from_pretrained(bert)
    for text, vector in zip(texts, vectors, strict=True):
        with torch.inference_mode():
            mean = (
                model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0).numpy()
            )
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)
    assert n_cut == 0


def test_a_sentence_transformers_folder_says_how_it_pools(bert: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    (bert / "1_Pooling").mkdir()
    (bert / "1_Pooling/config.json").write_text('{"pooling_mode_cls_token": true}')
    vectors, n_cut = embed(["the fox " * 30], str(bert))
    assert n_cut == 1
    with torch.inference_mode():
        inputs = AutoTokenizer.from_pretrained(bert)("the fox " * 20, return_tensors="pt")
        first = AutoModel.from_pretrained(bert).eval()(**inputs).last_hidden_state[0, 0].numpy()
    np.testing.assert_allclose(vectors[0], first / np.linalg.norm(first), atol=1e-6)


def test_clip_embeds_by_its_projected_text_features(tmp_path: Path) -> None:
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=13, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=40, projection_dim=8, eos_token_id=0, bos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    model = CLIPTextModelWithProjection(config).eval()
    model.save_pretrained(tmp_path)
    tiny_vocabulary(tmp_path)
    vectors, _ = embed(["the fox"], str(tmp_path))
    with torch.inference_mode():
        features = model(input_ids=torch.tensor([[2, 3]])).text_embeds[0].numpy()
    np.testing.assert_allclose(vectors[0], features / np.linalg.norm(features), atol=1e-6)


def test_drift_finds_the_paraphrases_that_belong_to_another_prompt(
    prompts: list[Prompt], bert: Path
) -> None:
    swapped = changed(prompts[0], "short", prompts[1].text)
    found = drift([swapped, prompts[1]], str(bert))
    assert ("fox", "harbour", prompts[1].text) in found.strays
    assert found.distance["short"][0] == pytest.approx(found.between)
    assert set(found.distance) == {"short", "medium", "long"}
    assert all(len(distances) == 10 for distances in found.distance.values())


def test_drift_is_printed_and_a_folder_without_a_model_is_named(
    prompt_file: Path, bert: Path, tmp_path: Path, command: Command
) -> None:
    status, out, err = command("check", prompt_file, "--embedding", bert)
    assert status == 0
    assert "other base prompts" in out
    assert "not scored" not in err
    (tmp_path / "empty").mkdir()
    status, _, err = command("check", prompt_file, "--embedding", tmp_path / "empty")
    assert status == 1
    assert "holds no text model for transformers" in err


def test_wordings_of_the_test_are_in_their_length_class() -> None:
    assert all(
        length_class(text) == length
        for length in LENGTH_WORDS
        for text in wordings("a fox", length, 3)
    )
