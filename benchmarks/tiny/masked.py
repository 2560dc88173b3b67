"""Tiny checkpoints of masked models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import CLIPTextModelWithProjection, PhiConfig

from benchmarks.named_weights import named_state, named_tensor
from benchmarks.tiny.quantizers import llamagen_vq, magvit, vq_model
from benchmarks.tiny.texts import bytes_tokenizer, clip_config, clip_tokenizer

SHOWO_TEXT_VOCABULARY, SHOWO_CODES, SHOWO_SIDE = 300, 8192, 4
SHOWO_VOCABULARY = SHOWO_TEXT_VOCABULARY + 10 + SHOWO_CODES + 1


def amused(folder: Path) -> Path:
    """8x8 grid of 48 codes, 16x16 pixels."""
    from diffusers import AmusedPipeline, AmusedScheduler, UVit2DModel

    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    transformer = UVit2DModel(
        hidden_size=32, cond_embed_dim=16, micro_cond_encode_dim=4, micro_cond_embed_dim=20, encoder_hidden_size=16,
        vocab_size=64, codebook_size=48, in_channels=32, block_out_channels=32, num_res_blocks=1, downsample=True,
        upsample=True, block_num_heads=2, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
        sample_size=8,
    )  # fmt: skip
    vqvae = vq_model([8, 16])
    text_encoder = CLIPTextModelWithProjection(clip_config(tokenizer, 16))
    AmusedPipeline(
        vqvae=vqvae,
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        transformer=transformer,
        scheduler=AmusedScheduler(63),
    ).save_pretrained(folder)
    return folder


def meissonic(folder: Path, *, halved: bool = False) -> dict[str, object]:
    """Options of an 8x8 grid of 48 codes, in the files of the hub.

    Of 16x16 pixels, as Monetico; `halved`, of 1024x1024 with a transformer that halves the grid, as Meissonic.
    """

    from generate.networks.meissonic import Meissonic

    torch.manual_seed(0)
    sizes = {
        "attention_head_dim": 16,
        "axes_dims_rope": [4, 6, 6],
        "codebook_size": 48,
        "downsample": halved,
        "guidance_embeds": False,
        "in_channels": 64,
        "joint_attention_dim": 32,
        "num_attention_heads": 2,
        "num_layers": 2,
        "num_single_layers": 3,
        "patch_size": 1,
        "pooled_projection_dim": 32,
        "upsample": halved,
        "vocab_size": 64,
    }
    tokenizer = clip_tokenizer()
    tokenizer.save_pretrained(folder / "tokenizer")
    widths = [8] * 8 if halved else [8, 16]
    vqvae = vq_model(widths)
    text_encoder = CLIPTextModelWithProjection(clip_config(tokenizer, 32))
    for name, network in (("vqvae", vqvae), ("text_encoder", text_encoder)):
        network.load_state_dict(named_state(network.state_dict()), strict=False)
        network.save_pretrained(folder / name)
    described = {"_class_name": "Transformer2DModel", "_diffusers_version": "0.30.2", **sizes}
    schedule = {
        "_class_name": "Scheduler",
        "_diffusers_version": "0.30.2",
        "mask_token_id": 63,
        "masking_schedule": "cosine",
    }
    for name, content in (
        ("transformer/config", described),
        ("scheduler/scheduler_config", schedule),
    ):
        file = folder / f"{name}.json"
        file.parent.mkdir()
        file.write_text(json.dumps(content, indent=2) + "\n")
    state = named_state(Meissonic.from_config(sizes).state_dict())
    save_file(state, folder / "transformer/diffusion_pytorch_model.safetensors")
    return {"checkpoint": str(folder), "image_size": 1024 if halved else 16}


MASKGIT = {
    "hidden_dim": 32,
    "depth": 2,
    "heads": 3,
    "mlp_dim": 128,
    "codebook_size": 97,
    "input_size": 4,
}
"""Sizes of a small MaskGIT under upstream's names; three heads do not fill the width, as in its `small`."""


def maskgit_state(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Weights by name, of which the head is the embeddings, and never draws MASK."""
    state = {name: named_tensor(name, shape) for name, shape in shapes.items()}
    state["head.weight"] = state["tok_emb.weight"]
    state["head.bias"][-1] = -30.0
    return state


def maskgit(folder: Path) -> dict[str, object]:
    """Options of a 4x4 grid of 97 codes, 64x64 pixels: pickles as training scripts leave them."""
    from generate.networks.maskgit import MaskGit, MaskGitConfig

    config = MaskGitConfig(
        width=32, inner=30, hidden=256, layers=2, heads=3, codes=97, classes=1000, positions=16, registers=1
    )  # fmt: skip
    shapes = {name: tuple(tensor.shape) for name, tensor in MaskGit(config).state_dict().items()}
    state = {f"_orig_mod.{name}": tensor for name, tensor in maskgit_state(shapes).items()}
    kept = {"iter": 1, "global_epoch": 2, "model_state_dict": state, "optimizer_state_dict": None}
    torch.save(kept, folder / "ImageNet_384_large.pth")
    llamagen_vq(folder / "vq_ds16_c2i.pt")
    return {
        "checkpoint": str(folder),
        "image_tokenizer": str(folder),
        "heads": 3,
        "image_size": 64,
        "steps": 6,
    }


def phi_config() -> PhiConfig:
    """Sizes of the language model inside the tiny Show-o."""
    return PhiConfig(
        vocab_size=SHOWO_VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=2048,
        qk_layernorm=True,
        attn_implementation="sdpa",
    )


LLADA = {
    "activation_type": "silu",
    "alibi": False,
    "attention_layer_norm": False,
    "block_type": "llama",
    "d_model": 16,
    "embedding_size": 126464,
    "include_bias": False,
    "include_qkv_bias": False,
    "input_emb_norm": False,
    "layer_norm_type": "rms",
    "mask_token_id": 126336,
    "max_sequence_length": 4096,
    "mlp_hidden_size": 24,
    "n_heads": 2,
    "n_kv_heads": 2,
    "n_layers": 2,
    "rms_norm_eps": 1e-05,
    "rope": True,
    "rope_theta": 500000.0,
    "scale_logits": False,
    "vocab_size": 126464,
    "weight_tying": False,
}
"""A small language model of LLaDA, under the keys of its description, with the ids of the published vocabulary."""


def llada_shapes(ids: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of `LLADA` with so many ids, by name, as upstream's classes have them."""
    width, hidden = LLADA["d_model"], LLADA["mlp_hidden_size"]
    shapes = {"wte": (ids, width), "ln_f": (width,), "ff_out": (ids, width)}
    for layer in range(int(LLADA["n_layers"])):
        block = f"blocks.{layer}."
        shapes |= {f"{block}{norm}": (width,) for norm in ("attn_norm", "ff_norm")}
        shapes |= {
            f"{block}{name}": (width, width) for name in ("q_proj", "k_proj", "v_proj", "attn_out")
        }
        shapes |= {f"{block}{name}": (hidden, width) for name in ("ff_proj", "up_proj")}
        shapes[f"{block}ff_out"] = (width, hidden)
    return {f"model.transformer.{name}.weight": shape for name, shape in shapes.items()}


def mmada(folder: Path) -> dict[str, object]:
    """Options of a 4x4 grid of 8192 codes, 64x64 pixels: two repositories, weights in two files."""
    model, images = folder / "mmada", folder / "magvitv2"
    model.mkdir()
    images.mkdir()
    bytes_tokenizer(model)
    (model / "config.json").write_text(json.dumps({"model_type": "mmada", **LLADA}))
    state = {
        name: named_tensor(name, shape) for name, shape in llada_shapes(LLADA["vocab_size"]).items()
    }
    names = sorted(state)
    for number, part in enumerate((names[:5], names[5:]), 1):
        file = model / f"model-{number:05}-of-00002.safetensors"
        save_file({name: state[name] for name in part}, file)
    magvit(images)
    return {
        "checkpoint": str(model),
        "image_tokenizer": str(images),
        "image_size": 64,
        "steps": 6,
        "precision": "float32",
    }


def lumina_dimoo(folder: Path) -> dict[str, object]:
    """Options of a 4x4 grid of 48 codes, 8x8 pixels, in the files of one repository."""

    from generate.models.lumina_dimoo import FIRST_CODE

    torch.manual_seed(0)
    bytes_tokenizer(folder)
    vqvae = vq_model([8, 16])
    vqvae.save_pretrained(folder / "vqvae")
    ids = FIRST_CODE + 48
    settings = {"model_type": "llada", **LLADA, "embedding_size": ids, "vocab_size": ids}
    (folder / "config.json").write_text(json.dumps(settings))
    state = {name: named_tensor(name, shape) for name, shape in llada_shapes(ids).items()}
    save_file(state, folder / "model.safetensors")
    return {"checkpoint": str(folder), "image_size": 8, "steps": 6, "precision": "float32"}


def showo(folder: Path) -> dict[str, object]:
    """Options of a 4x4 grid of 8192 codes, 64x64 pixels: three repositories."""
    from transformers import PhiForCausalLM

    model, images, words = folder / "show-o", folder / "magvitv2", folder / "phi"
    model.mkdir()
    images.mkdir()
    state = {
        f"showo.{name}": part
        for name, part in named_state(PhiForCausalLM(phi_config()).state_dict()).items()
    }
    save_file(state, model / "pytorch_model.safetensors")
    settings = {
        "_class_name": "Showo",
        "_diffusers_version": "0.30.1",
        "codebook_size": SHOWO_CODES,
        "llm_model_path": "microsoft/phi-1_5",
        "llm_vocab_size": SHOWO_TEXT_VOCABULARY,
        "mask_token_id": SHOWO_VOCABULARY - 1,
        "num_vq_tokens": SHOWO_SIDE**2,
        "vocab_size": SHOWO_VOCABULARY,
        "w_clip_vit": False,
    }
    (model / "config.json").write_text(json.dumps(settings))
    magvit(images)
    bytes_tokenizer(words)
    return {
        "checkpoint": str(model),
        "image_tokenizer": str(images),
        "text_tokenizer": str(words),
        "steps": 6,
    }
