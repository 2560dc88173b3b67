from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import tiny
from generate.errors import ModelError
from generate.models import janus, multi_modality
from generate.models.component import Layout
from generate.models.janus import Janus
from generate.models.public import PublicModel
from generate.study.probes import Probe
from tests.generate.parity import ParityNoise

TEXTS = ["a red cat", "dog", "a dog and a very red cat"]
SEEDS = [1, 2, 3]


@pytest.fixture(scope="module")
def model(janus_folder: Path) -> Janus:
    options = Janus.options({"checkpoint": str(janus_folder), "precision": "float32"})
    return Janus.load(Janus.identify("janus-pro", options), options, "cpu")


def test_tokens_and_pixels_of_a_padded_batch_equal_upstream_one_by_one(
    model: Janus, janus_folder: Path
) -> None:
    from transformers import JanusForConditionalGeneration

    upstream = JanusForConditionalGeneration.from_pretrained(
        janus_folder, local_files_only=True
    ).eval()
    boi = Janus.tokenizer(model.settings).convert_tokens_to_ids("<begin_of_image>")
    upstream.generation_config.generation_kwargs = {"boi_token_id": boi}
    trace = model.traverse(model.encode(TEXTS), Probe(), ParityNoise(SEEDS))
    for text, seed, tokens in zip(TEXTS, SEEDS, trace.tokens, strict=True):
        ids = torch.tensor([Janus.ids(model.settings, text)])
        torch.manual_seed(seed)
        expected = upstream.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            generation_mode="image",
            do_sample=True,
            top_k=None,
            use_cache=True,
        )
        assert torch.equal(tokens, expected[0])
    image = (upstream.decode_image_tokens(expected)[0].detach() / 2 + 0.5).clamp(0, 1)
    assert np.array_equal(
        model.decode(tokens[None])[0], (image * 255).round().to(torch.uint8).numpy()
    )


def test_every_step_after_the_prompt_has_the_same_shapes(model: Janus) -> None:
    """What a graph of the step, captured once, needs; the mask is as long as the whole sequence."""
    shapes = []

    def note(module: object, args: object, given: dict[str, object]) -> None:
        tensors = {key: value.shape for key, value in given.items() if torch.is_tensor(value)}
        shapes.append(tensors)

    handle = model.language_model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        conditioning = model.encode(TEXTS)
        model.traverse(conditioning, Probe(), ParityNoise(SEEDS))
    finally:
        handle.remove()
    n_positions = model.identity.steps
    assert len(shapes) == n_positions
    assert all(of_step == shapes[1] for of_step in shapes[2:])
    length = conditioning.ids.shape[1] + n_positions
    assert shapes[0]["attention_mask"] == shapes[1]["attention_mask"] == (6, length)


def test_the_prompt_is_upstreams(model: Janus) -> None:
    tokenizer = Janus.tokenizer(model.settings)
    decoded = tokenizer.decode(Janus.ids(model.settings, "dog"))
    assert decoded == "<bos><|User|>: dog\n\n<|Assistant|>:<begin_of_image>"


def test_unconditional_rows_keep_their_length_and_nothing_of_the_text(model: Janus) -> None:
    conditioning = model.encode(["dog", "cat"])
    _, unconditional = conditioning.ids.chunk(2)
    assert torch.equal(unconditional[0], unconditional[1])
    assert torch.equal(*conditioning.mask.chunk(2))


def test_spaces_around_a_text_are_left_out_as_upstream(model: Janus) -> None:
    assert Janus.ids(model.settings, "  dog\n") == Janus.ids(model.settings, "dog")


def test_a_tokenizer_that_leaves_bos_out_is_refused(janus_folder: Path, tmp_path: Path) -> None:
    """As the files of deepseek-ai do in today's transformers: the unconditional row would lack it too."""
    folder = Path(shutil.copytree(janus_folder, tmp_path / "janus"))
    path = folder / "tokenizer.json"
    words = json.loads(path.read_text())
    words["post_processor"] = None
    path.write_text(json.dumps(words))
    options = Janus.options({"checkpoint": str(folder), "precision": "float32"})
    with pytest.raises(ModelError, match=r"first and \d+ last .* not BOS and begin-of-image"):
        Janus.read(options, ["dog"])


@pytest.fixture
def deepseek(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny checkpoint in the layout of deepseek-ai, whose configuration names no widths."""
    whole = json.loads((tiny.janus(tmp_path / "whole") / "config.json").read_text())

    def narrow(published: Mapping[str, Any]) -> dict[str, Any]:
        settings = multi_modality.settings(published)
        for part in ("vision_config", "vq_config"):
            settings[part] = {**whole[part], **settings[part]}
        return settings

    monkeypatch.setitem(janus.LAYOUTS, "multi_modality", Layout(narrow, multi_modality.tensors))
    return tiny.janus_of_deepseek(tmp_path / "deepseek")


def test_a_checkpoint_of_deepseek_is_the_same_model(deepseek: Path, model: Janus) -> None:
    options = Janus.options({"checkpoint": str(deepseek), "precision": "float32"})
    theirs = Janus.load(Janus.identify("janus-pro", options), options, "cpu")
    assert Janus.bytes_needed(options) > 0
    for text in TEXTS:
        assert Janus.ids(options, text) == Janus.ids(model.settings, text)
    ours = model.traverse(model.encode(TEXTS), Probe(), ParityNoise(SEEDS))
    tokens = theirs.traverse(theirs.encode(TEXTS), Probe(), ParityNoise(SEEDS)).tokens
    assert torch.equal(tokens, ours.tokens)
    assert np.array_equal(theirs.decode(tokens), model.decode(tokens))


def test_what_a_checkpoint_of_deepseek_lacks_is_said_in_one_line(deepseek: Path) -> None:
    weights = torch.load(deepseek / "pytorch_model.bin", weights_only=True)

    def refusal() -> str:
        PublicModel.find.cache_clear()
        PublicModel.examined.cache_clear()
        Janus.tokenizer.cache_clear()
        options = Janus.options({"checkpoint": str(deepseek), "precision": "float32"})
        with pytest.raises(ModelError) as told:
            Janus.load(Janus.identify("janus-pro", options), options, "cpu").encode(["dog"])
        assert "\n" not in str(told.value)
        return str(told.value)

    for key, today in (
        ("gen_embed.weight", "model.generation_embeddings.weight"),
        ("gen_vision_model.decoder.mid.1.q.weight", "model.vqmodel.decoder.mid.attn_1.q.weight"),
    ):
        fewer = {name: tensor for name, tensor in weights.items() if name != key}
        torch.save(fewer, deepseek / "pytorch_model.bin")
        assert f"1 missing keys, first '{today}'" in refusal()
    torch.save(weights | {"gen_more.weight": torch.ones(1)}, deepseek / "pytorch_model.bin")
    assert "1 unexpected keys, first 'gen_more.weight'" in refusal()
    torch.save(weights, deepseek / "pytorch_model.bin")
    path = deepseek / "tokenizer.json"
    words = path.read_text(encoding="utf-8")
    path.write_text(words.replace(multi_modality.PAD, "<pad>"), encoding="utf-8")
    assert f"has no token '{multi_modality.PAD}'" in refusal()
    path.write_text(words, encoding="utf-8")
    path = deepseek / "config.json"
    config = json.loads(path.read_text())
    for key in ("aligner_config", "language_config", "gen_head_config"):
        path.write_text(json.dumps({name: config[name] for name in config if name != key}))
        assert f"config.json of checkpoint '{deepseek}'" in refusal()
        assert key in refusal()
    del config["gen_vision_config"]["params"]["n_embed"]
    path.write_text(json.dumps(config))
    assert "lacks 'n_embed'" in refusal()
