"""Against the Emu3 of transformers, sampled as upstream's script samples: guidance, allowed words, then top-k."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks import tiny
from generate.errors import ModelError
from generate.models.emu3 import NEGATIVE, POSITIVE, Emu3
from generate.study.probes import Probe
from generate.traversal.draw import PhiloxNoise

TEXTS = ["a red cat", "dog"]
SEEDS = [1, 2]
SIDE, TOP_K = 4, 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("emu3")
    tiny.emu3(place)
    return place


@pytest.fixture(scope="module")
def model(folder: Path) -> Emu3:
    given = {"checkpoint": str(folder), "image_size": 8, "precision": "float32", "top_k": TOP_K}
    options = Emu3.options(given)
    return Emu3.load(Emu3.identify("emu3", options), options, "cpu")


class DrawsOfAllWords:
    """The draws of `generate`: a race of all words at every place, those that end a row included."""

    def __init__(self, seeds: Sequence[int], code_ids: Tensor, n_words: int) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.code_ids, self.n_words = code_ids, n_words

    def race(self) -> Tensor:
        drawn = [torch.empty(self.n_words).exponential_(1, generator=g) for g in self.generators]
        return torch.stack(drawn)

    def identities(self, step: int, probabilities: Tensor) -> Tensor:
        if step and step % SIDE == 0:
            self.race()
        return (probabilities / self.race()[:, None, self.code_ids]).argmax(-1)

    def path(self, step: int, n: int) -> Tensor:
        raise AssertionError("the order is fixed")


def test_tokens_and_pixels_of_a_padded_batch_equal_upstream_one_by_one(
    model: Emu3, folder: Path
) -> None:
    """The negative text is longer than the others, so that both branches are padded."""
    from transformers import Emu3ForConditionalGeneration
    from transformers.generation import (
        LogitsProcessorList,
        PrefixConstrainedLogitsProcessor,
        UnbatchedClassifierFreeGuidanceLogitsProcessor,
    )

    upstream = Emu3ForConditionalGeneration.from_pretrained(folder, local_files_only=True).eval()
    words = upstream.model.vocabulary_mapping
    n_words = upstream.config.text_config.vocab_size
    noise = DrawsOfAllWords(SEEDS, model.words_of_codes[:-1], n_words)
    trace = model.traverse(model.encode(TEXTS), Probe(), noise)
    for text, seed, tokens in zip(TEXTS, SEEDS, trace.tokens, strict=True):
        ids = torch.tensor([Emu3.ids(model.settings, text + POSITIVE)])
        n_prompt = ids.shape[1]

        def allowed(batch: int, sofar: Tensor, n_prompt: int = n_prompt) -> list[int]:
            place = len(sofar) - n_prompt + 1
            return [words.eol_token_id] if place % (SIDE + 1) == 0 else words.image_tokens

        negative = torch.tensor([Emu3.ids(model.settings, NEGATIVE)])
        guided = UnbatchedClassifierFreeGuidanceLogitsProcessor(3.0, upstream, negative)
        torch.manual_seed(seed)
        found = upstream.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            top_k=TOP_K,
            max_new_tokens=SIDE * (SIDE + 1),
            logits_processor=LogitsProcessorList(
                [guided, PrefixConstrainedLogitsProcessor(allowed, num_beams=1)]
            ),
        )[:, n_prompt:]
        rows = found.view(SIDE, SIDE + 1)
        assert (rows[:, -1] == words.eol_token_id).all()
        assert torch.equal(tokens, words.convert_bpe2img(rows).flatten().long())
        image = upstream.model.vqmodel.decode(words.convert_bpe2img(rows)[None].long())[0]
        expected = ((image.detach() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        decoded = model.decode(tokens[None])[0]
        assert np.array_equal(decoded, expected.permute(1, 2, 0).numpy())


def test_ends_of_rows_take_no_bits_and_are_no_positions(model: Emu3) -> None:
    keys = np.arange(2, dtype=np.uint64)
    trace = model.traverse(model.encode(TEXTS), Probe(), PhiloxNoise(keys, keys + np.uint64(9)))
    assert trace.tokens.shape == trace.token_surprisal.shape == (2, SIDE**2)
    assert model.identity.steps == SIDE**2


def test_the_prompt_is_that_of_the_processor(model: Emu3) -> None:
    tokens = Emu3.tokenizer(model.settings).convert_ids_to_tokens(Emu3.ids(model.settings, "dog"))
    assert "".join(tokens) == "<|extra_203|>dog<|image start|>4*4<|image token|>"
    reading = Emu3.read(model.settings, ["dog"])[0]
    assert list(reading.tokens) == Emu3.ids(model.settings, "dog" + POSITIVE)
    plain = Emu3.options({**vars(model.settings), "positive": ""})
    assert list(Emu3.read(plain, ["dog"])[0].tokens) == Emu3.ids(plain, "dog")


def test_the_tokenizer_stays_in_float32(folder: Path) -> None:
    options = Emu3.options({"checkpoint": str(folder), "image_size": 8, "precision": "bfloat16"})
    model = Emu3.load(Emu3.identify("emu3", options), options, "cpu")
    assert {p.dtype for p in model.vqmodel.parameters()} == {torch.float32}
    assert {p.dtype for p in model.language_model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("word", ["<|extra_200|>", "<|visual token 000047|>"])
def test_a_vocabulary_that_lacks_a_word_is_one_line_before_a_weight_is_read(
    tmp_path: Path, word: str
) -> None:
    options = Emu3.options(tiny.emu3(tmp_path))
    file = tmp_path / "config.json"
    settings = json.loads(file.read_text())
    del settings["vocabulary_map"][word]
    file.write_text(json.dumps(settings))
    with pytest.raises(ModelError) as refused:
        Emu3.examined(options)
    assert f"lacks 1 words that an image needs, first '{word}'" in str(refused.value)


def test_a_tensor_too_few_or_too_many_is_refused(tmp_path: Path) -> None:
    options = Emu3.options(tiny.emu3(tmp_path))
    state = load_file(tmp_path / "model.safetensors")
    (key,) = (name for name in state if name.endswith("layers.1.mlp.up_proj.weight"))
    less = {name: tensor for name, tensor in state.items() if name != key}
    more = {**state, "lm_tail.weight": torch.zeros(1)}
    for changed, message in ((less, "1 missing keys"), (more, "1 unexpected keys")):
        save_file(changed, tmp_path / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ModelError, match=message):
            Emu3.load(Emu3.identify("emu3", options), options, "cpu")
