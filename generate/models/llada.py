"""The language model of LLaDA (Nie et al. 2025, arXiv:2502.09992): a Llama whose words all see each other.

MMaDA and its kin draw images with it. No network of its own is needed: names apart, the weights are
those of a Llama, and what each place sees is the caller's mask.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from generate.errors import ModelError
from generate.models.checkpoint import Checkpoint, fill, load_tensors, refuse_keys

CONFIG = "config.json"
ALWAYS: dict[str, object] = {
    "activation_type": "silu",
    "alibi": False,
    "attention_layer_norm": False,
    "block_type": "llama",
    "include_bias": False,
    "include_qkv_bias": False,
    "input_emb_norm": False,
    "layer_norm_type": "rms",
    "rope": True,
    "scale_logits": False,
    "weight_tying": False,
}
"""Keys of a description, and the one value under which the network is a Llama."""
NAMES = {
    "attn_norm": "input_layernorm",
    "q_proj": "self_attn.q_proj",
    "k_proj": "self_attn.k_proj",
    "v_proj": "self_attn.v_proj",
    "attn_out": "self_attn.o_proj",
    "ff_norm": "post_attention_layernorm",
    "ff_proj": "mlp.gate_proj",
    "up_proj": "mlp.up_proj",
    "ff_out": "mlp.down_proj",
}
"""What a layer of LLaDA is called in a Llama."""
OUTER = {
    "model.transformer.wte.weight": "model.embed_tokens.weight",
    "model.transformer.ln_f.weight": "model.norm.weight",
    "model.transformer.ff_out.weight": "lm_head.weight",
}
"""What the tensors outside the layers are called in a Llama."""


def described(checkpoint: Checkpoint, kind: str) -> Mapping[str, Any]:
    """The description of a language model of a kind, all of whose keys are a Llama's.

    `kind` is its `model_type`. Raises ModelError where it is of another kind, lacks a key, or has a
    value that no Llama has.
    """
    config = checkpoint.json(CONFIG)
    if config["model_type"] != kind:
        raise ModelError(
            f"checkpoint '{checkpoint.name}' holds a network of kind {config['model_type']}, but the "
            f"adapter needs {kind}: name another checkpoint, or another model."
        )
    for key, value in ALWAYS.items():
        if config[key] != value:
            raise ModelError(
                f"{CONFIG} of checkpoint '{checkpoint.name}' has {key} {config[key]!r}, but only "
                f"{value!r} is known here: name another checkpoint."
            )
    return config


def tokenizer(checkpoint: Checkpoint) -> Any:
    """The tokenizer of a language model, by its files alone, whatever kind its description names."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(checkpoint.folder, local_files_only=True)


def llama_name(name: str) -> str:
    """The name in a Llama of a tensor of LLaDA; an unknown one stays.

    >>> llama_name("model.transformer.blocks.3.ff_proj.weight")
    'model.layers.3.mlp.gate_proj.weight'
    """
    match = re.fullmatch(r"model\.transformer\.blocks\.(\d+)\.(\w+)\.weight", name)
    if match and match[2] in NAMES:
        return f"model.layers.{match[1]}.{NAMES[match[2]]}.weight"
    return OUTER.get(name, name)


def load_language_model(checkpoint: Checkpoint, kind: str) -> Any:
    """The language model of a checkpoint as a LlamaForCausalLM, strictly.

    Its weights are all files at the top of the repository. Sizes are read off the tensors; the
    description tells heads, angles and the norm's epsilon. Raises ModelError where a tensor is absent or unknown.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    settings = described(checkpoint, kind)
    tensors: dict[str, Tensor] = {}
    for path in checkpoint.weights:
        if path.parent == checkpoint.folder:
            for name, tensor in load_tensors(path).items():
                tensors[llama_name(name)] = tensor
    embeddings, hidden = "model.embed_tokens.weight", "model.layers.0.mlp.gate_proj.weight"
    missing = sorted({embeddings, hidden} - set(tensors))
    refuse_keys(checkpoint, "LLaDA", "missing_keys", missing)
    vocabulary, width = tensors[embeddings].shape
    sizes: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": len(tensors[hidden]),
        "num_hidden_layers": sum(name.endswith(".mlp.gate_proj.weight") for name in tensors),
        "num_attention_heads": settings["n_heads"],
        "num_key_value_heads": settings["n_kv_heads"] or settings["n_heads"],
        "rms_norm_eps": settings["rms_norm_eps"],
        "rope_theta": settings["rope_theta"],
        "max_position_embeddings": settings["max_sequence_length"],
        "attn_implementation": "sdpa",  # takes a mask of booleans
    }
    config = LlamaConfig(**sizes)
    with torch.device("meta"):
        network = LlamaForCausalLM(config)
    network.model.rotary_emb = type(network.model.rotary_emb)(config)
    return fill(checkpoint, network, tensors)
