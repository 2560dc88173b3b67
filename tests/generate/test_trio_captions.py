"""The grammar: equal meaning of wordings, caption tokens, disjoint prompt sets."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from generate.trio import captions
from generate.trio.captions import LENGTHS, VOCABULARY, all_captions, parse, tokenise
from generate.trio.prompt_sets import PARAPHRASES, prompt_set, split_of
from generate.trio.scenes import ATTRIBUTES


def meanings(count: int) -> list[dict[str, str]]:
    rng = np.random.default_rng(0)
    return [
        {
            name: values[rng.integers(len(values))]
            for name, values in ATTRIBUTES.items()
            if rng.random() > 0.35
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("length", LENGTHS)
def test_parse_inverts_every_wording(length):
    for meaning in [{}, *meanings(60)]:
        for text in all_captions(meaning, length):
            assert parse(text) == meaning, text


def test_every_value_of_every_attribute_survives_every_wording():
    for attribute, values in ATTRIBUTES.items():
        for value, length in itertools.product(values, LENGTHS):
            assert all(
                parse(text) == {attribute: value}
                for text in all_captions({attribute: value}, length)
            )


def test_lengths_differ_in_their_words():
    for meaning in meanings(30):
        means = [
            np.mean([len(text.split()) for text in all_captions(meaning, length)])
            for length in LENGTHS
        ]
        assert means[0] + 1 < means[1] < means[2] - 1


def test_tokens_start_with_the_start_token_and_end_with_padding():
    red, empty = tokenise(["a red circle", ""])
    assert [VOCABULARY[token] for token in red[:4]] == ["<start>", "a", "red", "circle"]
    assert set(red[4:]) == {captions.PAD}
    assert list(empty) == [captions.START] + [captions.PAD] * (captions.CAPTION_LENGTH - 1)


def test_every_wording_fits_the_caption_length_and_vocabulary():
    full = {name: values[0] for name, values in ATTRIBUTES.items()}
    for length in LENGTHS:
        tokenise(all_captions(full, length))


@pytest.mark.parametrize("word", ["zebra", "<pad>"])
def test_an_unknown_word_is_named_with_the_repair(word):
    with pytest.raises(ValueError, match=f"Unknown word '{word}'.*VOCABULARY"):
        tokenise([f"a red {word}"])


def test_a_caption_too_long_says_how_far_to_shorten_it():
    with pytest.raises(ValueError, match="has 30 words; shorten it to 23"):
        tokenise([" ".join(["red"] * 30)])


def test_prompts_are_unique_and_their_paraphrases_equal_in_meaning():
    for record in prompt_set("study", 100, 0) + prompt_set("calibration", 200, 0):
        texts = [record["text"], *itertools.chain.from_iterable(record["paraphrases"].values())]
        assert len(set(texts)) == 1 + 3 * PARAPHRASES
        assert all(parse(text) == record["attributes"] for text in texts)
        assert record["text"] in all_captions(record["attributes"], "medium")
        for length, paraphrases in record["paraphrases"].items():
            assert set(paraphrases) <= set(all_captions(record["attributes"], length))


def test_study_and_calibration_share_no_meaning_whatever_the_seed():
    study, calibration = prompt_set("study", 300, 1), prompt_set("calibration", 300, 2)
    assert all(split_of(record["attributes"]) == "study" for record in study)
    assert all(split_of(record["attributes"]) == "calibration" for record in calibration)
    assert len({record["id"] for record in study + calibration}) == 600


def test_a_larger_prompt_set_continues_the_smaller_one():
    assert prompt_set("study", 40, 7)[:10] == prompt_set("study", 10, 7)


def test_a_prompt_depends_on_its_meaning_alone():
    one = {record["id"]: record for record in prompt_set("study", 800, 1)}
    two = {record["id"]: record for record in prompt_set("study", 800, 2)}
    shared = one.keys() & two.keys()
    assert shared
    assert all(one[name] == two[name] for name in shared)


def test_wrong_split_and_count_are_refused():
    with pytest.raises(ValueError, match=r"'train'.*study, calibration"):
        prompt_set("train", 1, 0)
    with pytest.raises(ValueError, match="2000"):
        prompt_set("study", 10_000, 0)


def test_prompts_come_without_torch():
    code = "import sys, generate.trio.prompt_sets as p; p.prompt_set('study', 3, 0); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
