"""Image tokenizers of the tiny checkpoints that several models share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks.named_weights import named_state


def vq_model(widths: Sequence[int]) -> Any:
    """A VQ model of diffusers over 48 codes, with one level of that width each."""
    from diffusers import VQModel

    return VQModel(
        block_out_channels=list(widths),
        down_block_types=["DownEncoderBlock2D"] * len(widths),
        up_block_types=["UpDecoderBlock2D"] * len(widths),
        latent_channels=8,
        layers_per_block=1,
        norm_num_groups=8,
        num_vq_embeddings=48,
        mid_block_add_attention=False,
        lookup_from_codebook=True,
    )


def llamagen_vq(file: Path) -> None:
    """LlamaGen's tokenizer of 97 codes and a 4x4 grid, a pickle as its training script leaves it."""
    from transformers import JanusVQVAE, JanusVQVAEConfig

    vqvae = JanusVQVAE(
        JanusVQVAEConfig(
            embed_dim=8, num_embeddings=97, latent_channels=32, base_channels=32, channel_multiplier=[1, 1, 1, 1, 1],
            num_res_blocks=1, num_patches=4,
        )
    )  # fmt: skip
    names = {_llamagen_name(key): tensor for key, tensor in vqvae.state_dict().items()}
    torch.save({"model": {**named_state(names), "quantize.codebook_used": torch.zeros(9)}}, file)


def _llamagen_name(key: str) -> str:
    """The name that a tensor of JanusVQVAE has upstream."""
    for number, name in enumerate(("block_1", "attn_1", "block_2")):
        key = key.replace(f".mid.{name}.", f".mid.{number}.")
    return (
        key.replace(".down.", ".conv_blocks.")
        .replace(".up.", ".conv_blocks.")
        .replace(".block.", ".res.")
    )


def magvit(folder: Path) -> None:
    """The image tokenizer of Show-o and MMaDA, small: its decoder alone."""
    from generate.networks.lfq import DecoderConfig, LFQDecoder

    kind = {"_class_name": "MAGVITv2", "_diffusers_version": "0.30.1"}
    (folder / "config.json").write_text(json.dumps(kind))
    decoder = LFQDecoder(DecoderConfig(n_bits=13, bottom=32, widths=(((32, 32),),) * 5))
    tensors = {f"decoder.{name}": part for name, part in named_state(decoder.state_dict()).items()}
    save_file(
        {**tensors, "quantize.power_vals": torch.zeros(13)}, folder / "pytorch_model.safetensors"
    )
