"""Record what upstream Infinity computes: `python -m tests.recordings.record_infinity CHECKOUT` (a git clone of it).

Writes `infinity.npz` beside this file. Runs upstream's own code on weights that follow from their names; it needs
`timm`, `pytz` and `einops`. Its kernels of attention are for GPUs alone: `scaled_dot_product_attention` stands in, and
what they round to bfloat16 is left in single precision.
"""

from __future__ import annotations

import argparse
import os
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.named_weights import named_state, named_tensor
from generate.networks.infinity import DERIVED

SIDES = (1, 2, 4)
BITS = 8
TEXT_WIDTH = 256
N_VALID = (5, 9)
"""Tokens of the two captions."""


def captions() -> list[Tensor]:
    """Text states (token, width) of two captions."""
    return [
        named_tensor(f"caption {n}", (n, TEXT_WIDTH), scale=1.0) * TEXT_WIDTH**0.5 for n in N_VALID
    ]


def _of_one_length(q: Tensor, **_: Any) -> Tensor:
    raise NotImplementedError


def _of_many_lengths(
    q: Tensor,
    kv: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    softmax_scale: float,
    **_: Any,
) -> Tensor:
    """Attention of texts that lie one after another, (query, head, head_dim)."""
    seen = []
    for row in range(len(cu_seqlens_q) - 1):
        queries = q[cu_seqlens_q[row] : cu_seqlens_q[row + 1]].transpose(0, 1)
        keys, values = kv[cu_seqlens_k[row] : cu_seqlens_k[row + 1]].permute(1, 2, 0, 3)
        found = F.scaled_dot_product_attention(queries, keys, values, scale=softmax_scale)
        seen.append(found.transpose(0, 1))
    return torch.cat(seen)


def stand_in() -> None:
    """The kernels that upstream imports, by what torch has on any device."""
    kernels = types.ModuleType("flash_attn")
    kernels.flash_attn_func = _of_one_length  # type: ignore[attr-defined]
    kernels.flash_attn_varlen_kvpacked_func = _of_many_lengths  # type: ignore[attr-defined]
    sys.modules["flash_attn"] = kernels
    os.environ["TORCHDYNAMO_DISABLE"] = "1"


class SinglePrecision(types.ModuleType):
    """torch, whose bfloat16 is float32."""

    bfloat16 = torch.float32

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def weights(module: torch.nn.Module) -> list[str]:
    """Fill a network by the names of its tensors; names and shapes as lines."""
    state = module.state_dict()
    given = named_state(state)
    for key, tensor in state.items():
        if key.endswith(DERIVED) or ".lfq." in key:
            given[key] = tensor
    module.load_state_dict(given)
    return [f"{key} {','.join(map(str, tensor.shape))}" for key, tensor in state.items()]


def main(checkout: Path) -> None:
    sys.path.insert(0, str(checkout))
    stand_in()
    from infinity.models import basic, infinity  # type: ignore[import-not-found]
    from infinity.models.bsq_vae import vae as tokenizers  # type: ignore[import-not-found]
    from infinity.utils.dynamic_resolution import (  # type: ignore[import-not-found]
        dynamic_resolution_h_w,
    )

    basic.torch = SinglePrecision("torch")
    whole = tokenizers.AutoEncoder
    tokenizers.AutoEncoder = lambda args: whole(argparse.Namespace(**{**vars(args), "base_ch": 32}))
    multipliers = [1, 1, 2, 2, 4]
    vae = tokenizers.vae_model(
        None, "dynamic", BITS, 2**BITS, encoder_ch_mult=multipliers, decoder_ch_mult=multipliers
    )
    network = infinity.Infinity(
        vae_local=vae, text_channels=TEXT_WIDTH, text_maxlen=512, shared_aln=True, embed_dim=64, depth=4, num_heads=4,
        fused_norm=True, pad_to_multiplier=128, add_lvl_embeding_only_first_block=1, use_bit_label=1,
        rope2d_each_sa_layer=1, rope2d_normalized_by_hw=2, pn="1M", inference_mode=True, block_chunks=2,
        checkpointing="full-block", drop_path_rate=0.1,
    ).eval()  # fmt: skip
    keys = {"network_keys": weights(network), "tokenizer_keys": weights(vae)}
    schedule = [(1, side, side) for side in SIDES]
    schedules = {
        name: dynamic_resolution_h_w[1.0][name]["scales"] for name in ("0.06M", "0.25M", "1M")
    }
    every = str(tuple((1, *sides) for _, *sides in schedules["1M"]))
    network.rope2d_freqs_grid[str(tuple(schedule))] = network.rope2d_freqs_grid[every]
    small = basic.precompute_rope2d_freqs_grid(
        dim=4, dynamic_resolution_h_w={1.0: dynamic_resolution_h_w[1.0]}, rope2d_normalized_by_hw=2
    )
    logits, tokens, images = [], [], []

    def sampled(given: Tensor, **settings: Any) -> Tensor:
        logits.append(given.clone())
        drawn: Tensor = sample(given, **settings)
        tokens.append(drawn[:, :, 0])
        return drawn

    def decoded(latents: Tensor) -> Tensor:
        images.append(decode(latents))
        return images[-1].clone()

    name = "sample_with_top_k_top_p_also_inplace_modifying_logits_"
    sample, decode = getattr(infinity, name), vae.decode
    setattr(infinity, name, sampled)
    vae.decode = decoded
    recorded: dict[str, list[np.ndarray]] = {"bits": [], "logits": []}
    for seed, states in enumerate(captions()):
        logits.clear()
        tokens.clear()
        network.autoregressive_infer_cfg(
            vae=vae, scale_schedule=schedule, B=1, g_seed=seed, cfg_list=[3.0] * 3, tau_list=[0.5] * 3, top_k=900,
            label_B_or_BLT=(states, [len(states)], torch.tensor([0, len(states)]), len(states)), top_p=0.9,
            returns_vemb=1, cfg_insertion_layer=[0], vae_type=BITS, ret_img=True, inference_mode=True,
        )  # fmt: skip
        recorded["bits"].append(torch.cat(tokens, 1)[0].view(-1, BITS).numpy())
        recorded["logits"].append(torch.cat(logits, 1)[0].view(-1, BITS, 2).numpy())
    np.savez_compressed(
        Path(__file__).with_name("infinity.npz"),
        **{name: np.stack(values) for name, values in recorded.items()},
        image=torch.cat(images).numpy(),
        table=small[every][:, 0, 0, 0].permute(1, 2, 0).numpy().astype(np.float16),
        **{name: np.array(lines) for name, lines in keys.items()},
        **{f"sides {name}": np.array(scales)[:, 1] for name, scales in schedules.items()},
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
