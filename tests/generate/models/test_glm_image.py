"""Against the GLM-Image of transformers and diffusers: codes of both grids, images of the same codes and latents."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks import tiny
from generate.errors import ModelError
from generate.models.glm_image import GlmImage, GlmImageOptions
from generate.study.noise import normals
from generate.study.probes import Probe

TEXTS = ["a red cat", "dog"]
SEEDS = [1, 2]
KEYS = np.array([5, 6], dtype=np.uint64)
N_CODES, N_WORDS, N_PREVIEW = 48, 52, 256


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("glm-image")
    tiny.glm_image(place)
    return place


def loaded(folder: Path, **given: Any) -> GlmImage:
    settings = {"image_size": 64, "precision": "float32", "decoder_steps": 3, **given}
    options = GlmImage.options({"checkpoint": str(folder), **settings})
    return GlmImage.load(GlmImage.identify("glm-image", options), options, "cpu")


@pytest.fixture(scope="module")
def model(folder: Path) -> GlmImage:
    return loaded(folder)


@pytest.fixture(scope="module")
def upstream(folder: Path) -> Any:
    """The pipeline with its own draws, from which words that are no codes are left out."""
    from diffusers import GlmImagePipeline

    pipeline = GlmImagePipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    settings = pipeline.vision_language_encoder.generation_config
    settings.suppress_tokens = list(range(N_CODES, N_WORDS))
    assert (settings.temperature, settings.top_p, settings.top_k) == (0.9, 0.75, N_WORDS)
    return pipeline


class DrawsOfAllWords:
    """The draws of `generate`: a race of all words of the head, codes or not."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def identities(self, step: int, probabilities: Tensor) -> Tensor:
        race = [torch.empty(N_WORDS).exponential_(1, generator=g) for g in self.generators]
        return (probabilities / torch.stack(race)[:, None, :N_CODES]).argmax(-1)

    def path(self, step: int, n: int) -> Tensor:
        raise AssertionError("the order is fixed")


def latents(keys: NDArray[np.uint64]) -> Tensor:
    return torch.from_numpy(normals(keys, 4 * 8 * 8)).view(-1, 4, 8, 8).float()


def levels(image: Tensor) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = (image * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return pixels


def test_tokens_and_images_of_a_padded_batch_equal_upstream_one_by_one(
    model: GlmImage, upstream: Any
) -> None:
    """The pipeline gives the codes of the image alone, so those of the preview are `generate`'s."""
    tokens = model.traverse(model.encode(TEXTS), Probe(), DrawsOfAllWords(SEEDS)).tokens
    images = model.render(tokens, KEYS)
    assert len(tokens.unique()) > N_CODES // 2
    for row, (text, seed) in enumerate(zip(TEXTS, SEEDS, strict=True)):
        message = [{"role": "user", "content": [{"type": "text", "text": text}]}]
        inputs = upstream.processor.apply_chat_template(
            [message],
            tokenize=True,
            target_h=64,
            target_w=64,
            return_dict=True,
            return_tensors="pt",
        )
        assert inputs["input_ids"][0].tolist() == GlmImage.ids(model.settings, text)
        torch.manual_seed(seed)
        words = upstream.vision_language_encoder.generate(
            **inputs, max_new_tokens=N_PREVIEW + 4, do_sample=True
        )
        assert torch.equal(words[0, inputs["input_ids"].shape[1] :], tokens[row])
        image = upstream(
            text,
            height=64,
            width=64,
            num_inference_steps=3,
            generator=torch.Generator().manual_seed(seed),
            latents=latents(KEYS[row : row + 1]),
            output_type="pt",
        ).images
        assert np.array_equal(levels(image)[0], images[row])


def test_an_image_is_that_of_its_own_codes_and_noise_and_of_no_preview(model: GlmImage) -> None:
    tokens = torch.randint(N_CODES, (3, N_PREVIEW + 4), generator=torch.Generator().manual_seed(0))
    previewed = torch.cat([tokens[:, :N_PREVIEW].flip(1), tokens[:, N_PREVIEW:]], 1)
    changed = torch.cat([tokens[:, :N_PREVIEW], tokens[:, N_PREVIEW:].flip(1)], 1)
    keys = np.arange(3, dtype=np.uint64)
    images = model.render(tokens, keys)
    assert np.array_equal(images, model.render(previewed, keys))
    assert (images != model.render(changed, keys)).any((1, 2, 3)).all()
    assert (images != model.render(tokens, keys + np.uint64(9))).any((1, 2, 3)).all()
    assert np.array_equal(model.render(tokens[1:2], keys[1:2]), images[1:2])
    assert np.array_equal(model.decode(tokens)[0], images[0])


def test_codes_of_preview_and_image_are_counted_apart_and_steps_go_through_both(
    model: GlmImage,
) -> None:
    identity = model.identity
    assert identity.rendering
    assert identity.strata == [0] * N_PREVIEW + [1] * 4
    assert identity.steps == N_PREVIEW + 4


def test_the_vae_stays_in_float32_and_the_rest_is_as_asked(folder: Path) -> None:
    model = loaded(folder, precision="bfloat16")
    assert {p.dtype for p in model.pipeline.vae.parameters()} == {torch.float32}
    for network in (model.language_model, model.pipeline.transformer):
        assert {p.dtype for p in network.parameters()} == {torch.bfloat16}
    tokens = torch.zeros(1, N_PREVIEW + 4, dtype=torch.long)
    assert model.decode(tokens).std() > 0


@pytest.mark.parametrize(
    "text", ["a sign 'open'", 'a "stop" sign', "a \u201cstop\u201d sign", "\u300cx\u300d"]
)
def test_writing_that_would_pass_the_tokens_by_is_refused(
    model: GlmImage, upstream: Any, text: str
) -> None:
    (glyphs,) = upstream.get_glyph_texts(text)
    with pytest.raises(ModelError) as refused:
        GlmImage.read(model.settings, [text])
    assert f"quotes {text[text.index(glyphs[0]) - 1 :].split(' sign')[0]!r}" in str(refused.value)


def test_apostrophes_are_no_writing(model: GlmImage) -> None:
    assert not GlmImage.read(model.settings, ["a cat's toy on a runners' feet, the dog's"])[0].cut


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> GlmImageOptions:
    """Options of a checkpoint that a test may spoil."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return GlmImage.options({"checkpoint": str(tmp_path), "image_size": 64})


@pytest.mark.parametrize(
    ("file", "changed", "message"),
    [
        ("transformer", {"prior_vq_quantizer_codebook_size": 40}, "48 codes, but its decoder 40"),
        ("vision_language_encoder", {"image_start_token_id": 51}, "word 51 begins an image"),
        ("transformer", {"patch_size": 4}, "draws 64 pixels a position, not 32"),
        ("vision_language_encoder", {"model_type": "emu3"}, "kind emu3 in vision_language_encoder"),
    ],
)
def test_another_checkpoint_is_one_line_before_a_weight_is_read(
    copied: GlmImageOptions, file: str, changed: dict[str, Any], message: str
) -> None:
    described = Path(copied.checkpoint, file, "config.json")
    described.write_text(json.dumps({**json.loads(described.read_text()), **changed}))
    with pytest.raises(ModelError, match=message):
        GlmImage.examined(copied)


def test_a_size_that_is_no_whole_number_of_positions_is_refused(folder: Path) -> None:
    options = GlmImage.options({"checkpoint": str(folder), "image_size": 80})
    with pytest.raises(
        ModelError, match="'image_size' of GLM-Image is 80; it must be a multiple of 32"
    ):
        GlmImage.examined(options)


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("vision_language_encoder/model", "model.language_model.layers.1.mlp.down_proj.weight"),
        ("text_encoder/model", "encoder.final_layer_norm.weight"),
        ("transformer/diffusion_pytorch_model", "prior_token_embedding.weight"),
        ("vae/diffusion_pytorch_model", "decoder.conv_in.weight"),
    ],
)
def test_a_tensor_too_few_or_too_many_is_refused(
    copied: GlmImageOptions, file: str, key: str
) -> None:
    path = Path(copied.checkpoint, f"{file}.safetensors")
    state = load_file(path)
    less = {name: tensor for name, tensor in state.items() if name != key}
    more = {**state, "tail.weight": torch.zeros(1)}
    for changed, message in ((less, "1 missing keys"), (more, "1 unexpected keys")):
        save_file(changed, path, metadata={"format": "pt"})
        with pytest.raises(ModelError, match=message):
            GlmImage.load(GlmImage.identify("glm-image", copied), copied, "cpu")
