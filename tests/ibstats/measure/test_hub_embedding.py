"""Embeddings of the hub: random weights in the real format, against transformers itself."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from sklearn.metrics.pairwise import cosine_distances

from ibstats.errors import IbstatsError, MissingWeights
from ibstats.measure import metric, network
from ibstats.measure.hub_embedding import Clip336, Dinov2, HubEmbedding
from tests.ibstats.measure.photographs import photographs

VIT: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
MEAN, SPREAD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
BIT = {"size": {"shortest_edge": 36}, "crop_size": {"height": 28, "width": 28}, "resample": 3}


def dinov2() -> tuple[Any, Any]:
    config = transformers.Dinov2Config(**VIT, image_size=28, patch_size=14)
    prepares = transformers.BitImageProcessor(**BIT, image_mean=MEAN, image_std=SPREAD)
    return transformers.Dinov2Model(config), prepares


def dinov3() -> tuple[Any, Any]:
    config = transformers.DINOv3ViTConfig(
        **VIT, image_size=28, patch_size=14, num_register_tokens=4
    )
    prepares = transformers.DINOv3ViTImageProcessor(size={"height": 28, "width": 28})
    return transformers.DINOv3ViTModel(config), prepares


def siglip2() -> tuple[Any, Any]:
    """The checkpoints of fixed resolution, which are SigLIP by their files."""
    vision = {**VIT, "image_size": 28, "patch_size": 14}
    config = transformers.SiglipConfig(vision_config=vision, text_config={**VIT, "vocab_size": 99})
    prepares = transformers.SiglipImageProcessor(size={"height": 28, "width": 28})
    return transformers.SiglipModel(config), prepares


def siglip2_of_any_shape() -> tuple[Any, Any]:
    """The NaFlex checkpoints, which take patches with a mask."""
    vision = {**VIT, "patch_size": 14, "num_patches": 16}
    config = transformers.Siglip2Config(vision_config=vision, text_config={**VIT, "vocab_size": 99})
    prepares = transformers.Siglip2ImageProcessor(patch_size=14, max_num_patches=16)
    return transformers.Siglip2Model(config), prepares


def clip() -> tuple[Any, Any]:
    vision = {**VIT, "image_size": 28, "patch_size": 14}
    config = transformers.CLIPConfig(vision_config=vision, text_config=VIT, projection_dim=8)
    return transformers.CLIPModel(config), transformers.CLIPImageProcessor(**BIT)


KINDS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "tiny-dinov2": dinov2,
    "tiny-dinov3": dinov3,
    "tiny-siglip2": siglip2,
    "tiny-siglip2-naflex": siglip2_of_any_shape,
    "tiny-clip": clip,
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of each kind, as `hf download` makes it."""
    root = tmp_path_factory.mktemp("hub")
    torch.manual_seed(0)
    for name, make in KINDS.items():
        model, prepares = make()
        model.save_pretrained(root / name)
        prepares.save_pretrained(root / name)
    return root


@pytest.mark.parametrize("name", KINDS)
def test_features_are_those_of_transformers(checkpoints: Path, name: str) -> None:
    folder = checkpoints / name
    images = photographs(40)[:3]
    ours = HubEmbedding(str(folder), batch_size=2)
    assert ours.find_weights() == [folder]
    model = transformers.AutoModel.from_pretrained(folder).eval()
    prepares = transformers.AutoImageProcessor.from_pretrained(folder)
    with torch.inference_mode():
        ready = prepares(images=[Image.fromarray(one) for one in images], return_tensors="pt")
        theirs = model.get_image_features if "ip" in name else model
        expected = theirs(**ready).pooler_output.numpy()
    features = ours.embed(images)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected, atol=2e-3)
    chosen = metric(f"embedding_cosine:{folder}")
    assert chosen.name == f"embedding_cosine_{name.replace('-', '_')}"
    distance = chosen.measure(images[None]).distance[0]
    np.testing.assert_allclose(distance, cosine_distances(features), atol=1e-6)


def test_settings_hold_the_digest_of_every_file_that_changes_numbers(
    checkpoints: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "tiny-dinov2-copy"
    shutil.copytree(checkpoints / "tiny-dinov2", folder)
    before = metric(f"embedding_cosine:{folder}").settings()
    assert {"model.safetensors", "config.json", "preprocessor_config.json"} <= set(before)
    assert "own resize, crop" in before["input"]
    text = (folder / "preprocessor_config.json").read_text()
    (folder / "preprocessor_config.json").write_text(text.replace("36", "40"))
    assert metric(f"embedding_cosine:{folder}").settings() != before


def test_frechet_and_cmmd_take_whole_images_by_their_papers(checkpoints: Path) -> None:
    """At 224 and 336 pixels without a crop, normalised as the checkpoint says; CLIP's of unit length."""

    class Small(Dinov2):
        stretched = 28

    class SmallClip(Clip336):
        stretched = 28

    images = photographs(40)[:3]
    exact = photographs(28)[:3]
    ours = Small(checkpoints / "tiny-dinov2")
    model = transformers.Dinov2Model.from_pretrained(checkpoints / "tiny-dinov2").eval()
    ready = (
        torch.from_numpy((exact / 255 - np.array(MEAN)) / np.array(SPREAD))
        .permute(0, 3, 1, 2)
        .float()
    )
    with torch.inference_mode():
        expected = model(pixel_values=ready).pooler_output.numpy()
    np.testing.assert_allclose(ours.embed(exact), expected, atol=1e-5)
    assert ours.embed(images).shape == (3, 16)
    assert (ours.name, ours.asked()["input"][:7]) == ("dinov2", "28x28, ")
    unit = SmallClip(checkpoints / "tiny-clip").embed(images)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)
    assert network("dinov2").asked()["checkpoint"] == "facebook/dinov2-large"
    assert network("clip_336").asked()["checkpoint"] == "openai/clip-vit-large-patch14-336"


def test_it_travels_to_a_worker_without_its_network(checkpoints: Path) -> None:
    chosen = HubEmbedding(str(checkpoints / "tiny-dinov2"))
    images = photographs(40)[:2]
    before = chosen.embed(images)
    content = pickle.dumps(chosen)
    assert len(content) < 10_000
    np.testing.assert_array_equal(pickle.loads(content).embed(images), before)


def test_a_checkpoint_that_is_not_here_says_what_to_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    chosen = metric("embedding_cosine:facebook/dinov2-base", download=False)
    assert chosen.settings_need_weights
    with pytest.raises(MissingWeights) as raised:
        chosen.settings()
    for part in ("hf download facebook/dinov2-base", "--weights", "config.json"):
        assert part in str(raised.value)
    assert "\n" not in str(raised.value)
    assert chosen.asked()["checkpoint"] == "facebook/dinov2-base"


def test_a_folder_that_stands_in_keeps_the_name(checkpoints: Path) -> None:
    chosen = metric("embedding_cosine:owner/name", weights=checkpoints / "tiny-dinov2")
    assert chosen.name == "embedding_cosine_owner_name"
    assert chosen.measure(photographs(40)[None, :2]).distance[0, 0, 1] > 0


def test_a_checkpoint_that_lacks_weights_or_features_is_refused(
    checkpoints: Path, tmp_path: Path
) -> None:
    config = transformers.BertConfig(**VIT, vocab_size=99)
    broken = tmp_path / "broken"
    shutil.copytree(checkpoints / "tiny-dinov2", broken)
    (broken / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(IbstatsError, match="does not load"):
        HubEmbedding(str(broken)).embed(photographs(40)[:1])
    other = tmp_path / "other"
    shutil.copytree(checkpoints / "tiny-dinov2", other)
    transformers.BertModel(config).save_pretrained(other)
    with pytest.raises(IbstatsError, match="a network of kind 'bert', which takes no images"):
        HubEmbedding(str(other)).embed(photographs(40)[:1])
