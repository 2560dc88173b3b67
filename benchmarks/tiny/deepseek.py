"""The tiny Janus in the files, names and layout of deepseek-ai."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmarks.tiny.autoregressive import janus

DEEPSEEK = {
    "aligner_config": {
        "cls": "MlpProjector",
        "model_type": "aligner",
        "params": {"depth": 2, "input_dim": 32, "n_embed": 64, "projector_type": "mlp_gelu"},
    },
    "architectures": ["MultiModalityCausalLM"],
    "gen_aligner_config": {
        "cls": "MlpProjector",
        "model_type": "gen_aligner",
        "params": {"depth": 2, "input_dim": 8, "n_embed": 64, "projector_type": "mlp_gelu"},
    },
    "gen_head_config": {
        "cls": "vision_head",
        "model_type": "gen_head",
        "params": {"image_token_embed": 64, "image_token_size": 50, "n_embed": 64},
    },
    "gen_vision_config": {
        "cls": "VQ-16",
        "model_type": "gen_vision",
        "params": {"image_token_size": 50, "n_embed": 8},
    },
    "model_type": "multi_modality",
    "vision_config": {
        "cls": "CLIPVisionTower",
        "model_type": "vision",
        "params": {"image_size": 32},
    },
}
"""The configuration of `janus_of_deepseek` but for the language model: keys of the hub, which name no widths."""


def janus_of_deepseek(folder: Path) -> Path:
    """The Janus of `janus` in the files, names and layout of deepseek-ai."""
    settings = json.loads((janus(folder) / "config.json").read_text())
    weights = folder / "model.safetensors"
    torch.save(deepseek_tensors(load_file(weights)), folder / "pytorch_model.bin")
    weights.unlink()
    (folder / "generation_config.json").unlink()
    text = settings["text_config"]
    kept = (
        "hidden_size", "intermediate_size", "max_position_embeddings", "model_type", "num_attention_heads",
        "num_hidden_layers", "num_key_value_heads", "torch_dtype", "vocab_size",
    )  # fmt: skip
    config = {**DEEPSEEK, "language_config": {key: text[key] for key in kept}}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    words = (folder / "tokenizer.json").read_text(encoding="utf-8").replace("<pad>", "<｜▁pad▁｜>")
    core = json.loads(words)
    core["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(core, ensure_ascii=False), encoding="utf-8")
    named = {
        "bos_token": "<bos>", "clean_up_tokenization_spaces": False, "eos_token": "<eos>", "model_max_length": 16384,
        "pad_token": None, "tokenizer_class": "LlamaTokenizer", "unk_token": None, "use_default_system_prompt": True,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(named, indent=2) + "\n")
    return folder


def deepseek_tensors(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of a Janus of transformers by the names of deepseek-ai's modules, with what only those have."""
    found: dict[str, torch.Tensor] = {}
    for key, tensor in state.items():
        name = _deepseek_name(key)
        if ".qkv." in name:
            place, _, kind = key.rpartition("_proj.")
            found[name] = torch.cat(
                [state[f"{place[:-1]}{letter}_proj.{kind}"] for letter in "qkv"]
            )
        else:
            found[name] = tensor[None] if name.endswith("pos_embed") else tensor
    width = state["model.vision_model.post_layernorm.weight"]
    pool = "vision_model.vision_tower.attn_pool."
    found[pool + "latent"] = width.new_zeros(1, 1, len(width))
    sizes = {"q": (1, 1), "kv": (2, 1), "proj": (1, 1), "mlp.fc1": (4, 1), "mlp.fc2": (1, 4)}
    for layer, (rows, columns) in sizes.items():
        found[f"{pool}{layer}.weight"] = width.new_zeros(rows * len(width), columns * len(width))
        found[f"{pool}{layer}.bias"] = width.new_zeros(rows * len(width))
    found |= {pool + "norm.weight": width, pool + "norm.bias": width}
    return found | {"gen_vision_model.quantize.codebook_used": width.new_zeros(65536)}


def _deepseek_name(key: str) -> str:
    """What deepseek-ai's modules call a tensor of transformers; of queries, keys and values the three together."""
    for today, before in (
        ("lm_head.", "language_model.lm_head."),
        ("model.language_model.", "language_model.model."),
        ("model.generation_embeddings.", "gen_embed."),
        ("model.generation_aligner.", "gen_aligner."),
        ("model.generation_head.", "gen_head."),
        ("model.aligner.", "aligner."),
        ("model.vqmodel.", "gen_vision_model."),
        ("model.vision_model.", "vision_model.vision_tower."),
    ):
        if key.startswith(today):
            key = before + key.removeprefix(today)
            break
    changes = [("proj_out", "output_mlp_projector")]
    if "aligner." in key:
        changes = [("fc1", "layers.0"), ("hidden_layers.0", "layers.2")]
    elif key.startswith("gen_vision_model."):
        changes = [
            (".block.", ".res."),
            ("encoder.down", "encoder.conv_blocks"),
            ("decoder.up", "decoder.conv_blocks"),
        ]
        changes += [("mid.block_1", "mid.0"), ("mid.attn_1", "mid.1"), ("mid.block_2", "mid.2")]
    elif key.startswith("vision_model."):
        changes = [
            ("encoder.layers", "blocks"),
            ("self_attn.projection_layer", "attn.proj"),
            ("self_attn", "attn"),
        ]
        changes += [("layer_norm", "norm"), ("post_layernorm", "norm")]
        changes += [("embeddings.position_embedding.weight", "pos_embed")]
        changes += [("embeddings.patch_embedding", "patch_embed.proj")]
        changes += [(f"attn.{letter}_proj", "attn.qkv") for letter in "qkv"]
    for today, before in changes:
        key = key.replace(today, before)
    return key
