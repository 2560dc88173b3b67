"""Tiny checkpoints of models of next-scale prediction."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from benchmarks.named_weights import named_state
from benchmarks.tiny.texts import t5


def var(folder: Path) -> dict[str, object]:
    """Options of grids of side 1, 2 and 4 of 97 codes, 64x64 pixels, in the two files of the hub."""
    from transformers import JanusVQVAE, JanusVQVAEConfig

    from generate.networks.var import Var, VarConfig
    from generate.networks.var_tokenizer import VarTokenizer

    scales = (1, 2, 4)
    config = VarConfig(
        width=64, layers=2, heads=4, hidden=256, codes=97, classes=1000, dim=32, scales=scales, shared=False
    )  # fmt: skip
    network = dict(Var(config).state_dict())
    positions = sum(config.sizes)
    network |= {
        "lvl_1L": torch.empty(1, positions),
        "attn_bias_for_masking": torch.empty(1, 1, positions, positions),
    }
    for block in range(config.layers):
        network[f"blocks.{block}.attn.zero_k_bias"] = torch.empty(config.width)
    decoder = JanusVQVAEConfig(
        embed_dim=32, num_embeddings=97, latent_channels=32, base_channels=32, channel_multiplier=[1, 1, 2, 2, 4],
        num_res_blocks=2,
    )  # fmt: skip
    tokenizer = dict(VarTokenizer(decoder, scales, convolutions=4).state_dict())
    for name, tensor in JanusVQVAE(decoder).state_dict().items():
        if name.startswith("encoder."):
            tokenizer[name] = tensor
    tokenizer |= {
        "quant_conv.weight": torch.empty(32, 32, 3, 3),
        "quant_conv.bias": torch.empty(32),
        "quantize.ema_vocab_hit_SV": torch.empty(len(scales), 97),
    }
    torch.save(named_state(network), folder / "var_d16.pth")
    torch.save(named_state(_var_names(tokenizer)), folder / "vae_ch160v4096z32.pth")
    return {
        "checkpoint": str(folder),
        "scales": "1,2,4",
        "top_k": 20,
        "top_p": 0.95,
        "guidance": 4.0,
    }


def _var_names(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of a VQ-GAN of transformers under the names of VAR: levels from the finest, q, k and v as one."""
    named = {}
    for name, tensor in tensors.items():
        head, _, rest = name.partition("decoder.up.")
        if rest:
            level, _, rest = rest.partition(".")
            name = f"{head}decoder.up.{4 - int(level)}.{rest}"
        if name.split(".")[-2] in ("k", "v"):
            continue
        if name.split(".")[-2] == "q":
            name, tensor = name.replace(".q.", ".qkv."), torch.cat([tensor, tensor, tensor])
        named[name] = tensor
    return named


def infinity(folder: Path) -> dict[str, object]:
    """Options of grids of side 1, 2 and 4 of codes of 8 bits, 64x64 pixels, in the two files of the hub."""
    from generate.networks.infinity import Infinity, InfinityConfig
    from generate.networks.infinity_tokenizer import InfinityTokenizer
    from generate.networks.lfq import DecoderConfig

    config = InfinityConfig(
        width=64, layers=4, heads=4, hidden=256, bits=8, text_width=256, text_heads=2, text_length=512, levels=15,
        scales=(1, 2, 4),
    )  # fmt: skip
    network = {"text_proj_for_sos.ca.zero_k_bias": torch.empty(config.width)}
    for name, tensor in Infinity(config).state_dict().items():
        outer, _, inner = name.partition("blocks.")
        if inner:
            number, _, inner = inner.partition(".")
            chunk, place = divmod(int(number), 2)
            name = f"{outer}block_chunks.{chunk}.module.{place}.{inner}"
        network[name] = tensor
        if name.endswith("v_bias"):
            network[name.replace("v_bias", "zero_k_bias")] = tensor
    blocks = ((32, 32),) * 3
    widths = (
        blocks,
        ((64, 32), *blocks[1:]),
        ((64, 64),) * 3,
        ((128, 64), *((64, 64),) * 2),
        ((128, 128),) * 3,
    )
    decoder = InfinityTokenizer(DecoderConfig(8, 128, widths), config.scales, token_bits=4)
    tokenizer = {_infinity_name(name): tensor for name, tensor in decoder.state_dict().items()}
    state = named_state(tokenizer) | {
        "quantizer.lfq.mask": torch.zeros(8),
        "quantize.lfq.mask": torch.zeros(8),
    }
    torch.save(named_state(network), folder / "infinity_2b_reg.pth")
    torch.save({"vae": state, "global_step": 1}, folder / "infinity_vae_d32reg.pth")
    t5(folder / "t5", config.text_width)
    return {
        "checkpoint": str(folder),
        "text_encoder": str(folder / "t5"),
        "scales": "1,2,4",
        "token_bits": 4,
        "precision": "float32",
        "guidance": 3.0,
        "top_p": 0.9,
    }


def _infinity_name(key: str) -> str:
    """The name that a tensor of a decoder of ours has in Infinity's: layers lie one level deeper."""
    module, _, kind = key.rpartition(".")
    layer = "norm" if "norm" in module.rpartition(".")[2] else "conv"
    return f"{module}.{layer}.{kind}"
