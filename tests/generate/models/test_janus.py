from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from generate.errors import ModelError
from generate.models.janus import Janus
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
