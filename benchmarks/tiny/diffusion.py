"""Tiny checkpoints of discrete diffusions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer

from benchmarks.tiny.texts import clip_config, clip_tokenizer


def vq_diffusion(folder: Path, *, learnable: bool = True, steps: int = 100) -> Path:
    """8x8 grid of 20 codes, 16x16 pixels, in the files of 2022."""
    from diffusers import Transformer2DModel, VQDiffusionPipeline, VQDiffusionScheduler, VQModel
    from diffusers.pipelines.deprecated.vq_diffusion.pipeline_vq_diffusion import (
        LearnedClassifierFreeSamplingEmbeddings,
    )

    torch.manual_seed(0)
    tokenizer = clip_tokenizer(pad_token="!")
    transformer = Transformer2DModel(
        attention_bias=True, cross_attention_dim=32, attention_head_dim=16, num_attention_heads=2, num_layers=2,
        num_vector_embeds=21, num_embeds_ada_norm=steps, sample_size=8, activation_fn="geglu-approximate",
        norm_type="ada_norm",
    )  # fmt: skip
    torch.nn.init.normal_(transformer.out.weight)  # sharp enough for argmax and draws to differ
    vqvae = VQModel(
        block_out_channels=[32, 64],
        down_block_types=["DownEncoderBlock2D", "AttnDownEncoderBlock2D"],
        up_block_types=["AttnUpDecoderBlock2D", "UpDecoderBlock2D"],
        latent_channels=3,
        num_vq_embeddings=20,
        vq_embed_dim=3,
    )
    learned = LearnedClassifierFreeSamplingEmbeddings(
        learnable=learnable, hidden_size=32, length=77
    )
    if learnable:
        torch.nn.init.normal_(learned.embeddings)
    VQDiffusionPipeline(
        vqvae=vqvae,
        text_encoder=CLIPTextModel(clip_config(tokenizer, 32)),
        tokenizer=tokenizer,
        transformer=transformer,
        scheduler=VQDiffusionScheduler(21, num_train_timesteps=steps),
        learned_classifier_free_sampling_embeddings=learned,
    ).save_pretrained(folder)
    _as_of_2022(folder, tokenizer)
    return folder


SINCE_2022 = {
    "transformer": (
        "attention_type",
        "caption_channels",
        "double_self_attention",
        "interpolation_scale",
        "norm_elementwise_affine",
        "norm_eps",
        "norm_type",
        "only_cross_attention",
        "out_channels",
        "patch_size",
        "upcast_attention",
        "use_additional_conditions",
        "use_linear_projection",
    ),
    "vqvae": (
        "force_upcast",
        "lookup_from_codebook",
        "mid_block_add_attention",
        "norm_type",
        "scaling_factor",
    ),
}
"""Keys of diffusers' configuration files that its version 0.8 did not have."""
OLD_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
"""Layers of attention of a VQ model, and what they were called in 2022."""


def _as_of_2022(folder: Path, tokenizer: CLIPTokenizer) -> None:
    """Rewrite a pipeline as diffusers 0.8 and transformers 4.24 saved it."""
    for part, keys in SINCE_2022.items():
        _drop(folder / part / "config.json", keys)
    for path in folder.glob("*/*.safetensors"):
        tensors = load_file(path)
        if path.parent.name == "vqvae":
            tensors = {_old_name(key): tensor for key, tensor in tensors.items()}
        if path.parent.name == "text_encoder":
            tensors = {f"text_model.{key}": tensor for key, tensor in tensors.items()}
            tensors["text_model.embeddings.position_ids"] = torch.arange(77)[None]
        stem = {"model": "pytorch_model"}.get(path.stem, path.stem)
        torch.save(tensors, path.with_name(f"{stem}.bin"))
        path.unlink()
    words = folder / "tokenizer"
    core = json.loads((words / "tokenizer.json").read_text())["model"]
    (words / "vocab.json").write_text(json.dumps(core["vocab"]))
    merges = [" ".join(pair) for pair in core["merges"]]
    (words / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    special = dict(tokenizer.special_tokens_map)
    (words / "special_tokens_map.json").write_text(json.dumps(special))
    settings = {"model_max_length": 77, "tokenizer_class": "CLIPTokenizer", "do_lower_case": True}
    (words / "tokenizer_config.json").write_text(json.dumps({**special, **settings}))
    (words / "tokenizer.json").unlink()


def _drop(path: Path, keys: Iterable[str]) -> None:
    """Take keys out of a configuration file."""
    settings = json.loads(path.read_text())
    for key in keys:
        settings.pop(key, None)
    path.write_text(json.dumps(settings, indent=2) + "\n")


def _old_name(key: str) -> str:
    for today, old in OLD_NAMES.items():
        key = key.replace(f".{today}.", f".{old}.")
    return key
