"""Floating-point operations of an image at the published sizes and default settings, counted on the meta device.

    python -m benchmarks.operations [MODEL ...]

Prints TFLOP of the network that gives logits, both branches of guidance where the default is guided; reading texts and
decoding are not in it. Nothing is computed: shapes alone are followed. VAR is not among them, as its network cannot be
followed so.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.published import N_TEXT, NETWORKS
from generate.models import mmada, showo
from generate.networks.infinity import Infinity, InfinityConfig
from generate.networks.maskgit import MaskGit, MaskGitConfig
from generate.networks.meissonic import Meissonic

PROMPT = 24
"""Tokens of a prompt where texts are not brought to one length: a short one."""
INFINITY_2B = InfinityConfig(
    width=2048, layers=32, heads=16, hidden=8192, bits=32, text_width=2048, text_heads=16, text_length=512, levels=15,
    scales=(1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64),
)  # fmt: skip
Counted = tuple[int, Callable[[], Any]]
"""How often an image takes something, and that."""


def ids(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.long)


def seen(n_queries: int, n_keys: int) -> Tensor:
    """A mask of everything, (row, 1, query, key)."""
    return torch.ones(2, 1, n_queries, n_keys, dtype=torch.bool)


def amused() -> Counted:
    network = NETWORKS["amused"]()
    told = {"pooled_text_emb": torch.empty(2, 768), "micro_conds": torch.empty(2, 5)}
    return 12, lambda: network(ids(2, 16, 16), torch.empty(2, N_TEXT, 768), **told)


def meissonic() -> Counted:
    network = Meissonic(
        num_layers=14,
        num_single_layers=28,
        num_attention_heads=8,
        joint_attention_dim=1024,
        pooled_projection_dim=1024,
        downsample=True,
        upsample=True,
    )
    text, pooled, facts = torch.empty(2, N_TEXT, 1024), torch.empty(2, 1024), torch.empty(2, 5)
    return 48, lambda: network(ids(2, 64, 64), text, pooled, facts, 47)


def vq_diffusion() -> Counted:
    network = NETWORKS["vq-diffusion"]()
    states, step = torch.empty(2, N_TEXT, 512), torch.zeros((), dtype=torch.long)
    return 100, lambda: network(ids(2, 1024), encoder_hidden_states=states, timestep=step)


def janus_pro() -> Counted:
    network, head = NETWORKS["janus-pro"](), nn.Linear(2048, 2048)
    codes, length = nn.Linear(2048, 16384), PROMPT + 576
    given = {"inputs_embeds": torch.empty(2, length, 2048), "attention_mask": seen(length, length)}
    return 1, lambda: codes(head(network(**given).last_hidden_state[:, -576:]))


def llamagen() -> Counted:
    network = NETWORKS["llamagen"]()
    length = network.config.length  # type: ignore[union-attr]
    cache = network.empty_cache(torch.ones(2, 120, dtype=torch.bool))  # type: ignore[operator]
    return 1, lambda: network(torch.empty(2, length, 1280), torch.arange(length), cache)


def show_o() -> Counted:
    """The text is read once: the steps are those of the image, which sees it."""
    from transformers import DynamicCache

    network, codes = NETWORKS["show-o"](), nn.Linear(2048, 8192)
    n_text, n_image = showo.TEXT_LENGTH, 32 * 32 + 2
    cache = DynamicCache(config=network.config)
    network.model(  # type: ignore[operator]
        inputs_embeds=torch.empty(2, n_text, 2048),
        attention_mask=seen(n_text, n_text),
        past_key_values=cache,
        use_cache=True,
    )
    given = {
        "inputs_embeds": torch.empty(2, n_image, 2048),
        "attention_mask": seen(n_image, n_text + n_image),
        "past_key_values": cache,
        "use_cache": True,
    }
    return 50, lambda: codes(network.model(**given).last_hidden_state)  # type: ignore[operator]


def llama(hidden: int, key_heads: int, codes: int) -> nn.Module:
    """A Llama of 8B whose head gives codes alone."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=codes, hidden_size=4096, intermediate_size=hidden, num_hidden_layers=32,
        num_attention_heads=32, num_key_value_heads=key_heads, attn_implementation="sdpa",
    )  # fmt: skip
    return LlamaForCausalLM(config)


def of_llama(network: nn.Module, steps: int, length: int) -> Counted:
    given = {"inputs_embeds": torch.empty(2, length, 4096), "attention_mask": seen(length, length)}
    return steps, lambda: network(**given)


def emu3() -> Counted:
    return of_llama(llama(14336, 8, 32768), 1, PROMPT + 90 * 91)


def mmada_8b() -> Counted:
    return of_llama(llama(12288, 32, 8192), 15, mmada.TEXT_LENGTH + 32 * 32 + 2)


def lumina_dimoo() -> Counted:
    return of_llama(llama(12288, 32, 8192), 64, PROMPT + 64 * 65 + 4)


def glm_image() -> Counted:
    """The codes of both grids, which are not guided."""
    from transformers import GlmImageTextConfig, GlmImageTextModel

    turning = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}
    config = GlmImageTextConfig(rope_parameters=turning, attn_implementation="sdpa")
    network = GlmImageTextModel(config)
    codes, n_codes = nn.Linear(4096, 16384), 16 * 16 + 32 * 32
    length = PROMPT + n_codes
    given = {
        "inputs_embeds": torch.empty(1, length, 4096),
        "attention_mask": seen(length, length)[:1],
    }
    return 1, lambda: codes(network(**given).last_hidden_state[:, -n_codes:])


def maskgit() -> Counted:
    network = MaskGit(MaskGitConfig(1024, 1024, 2816, 24, 16, 16384, 1000, 24 * 24, 1))
    return 32, lambda: network(ids(2, 24 * 24), ids(2))


def infinity() -> Counted:
    """All scales in order, each with keys and values of those before it.

    One block stands for all 32; that its head and text layers count as often makes .2 % too many.
    """
    network = Infinity(replace(INFINITY_2B, layers=1))
    states, mask = torch.empty(2, PROMPT, 2048), torch.ones(2, PROMPT, dtype=torch.bool)

    def run() -> None:
        cache = network.empty_cache(states, mask)
        for scale, size in enumerate(network.config.sizes):
            network.scale_logits(cache, torch.empty(2, size, 32) if scale else None, scale)

    return INFINITY_2B.layers, run


MODELS: dict[str, Callable[[], Counted]] = {
    "amused": amused,
    "meissonic": meissonic,
    "vq-diffusion": vq_diffusion,
    "janus-pro": janus_pro,
    "emu3": emu3,
    "glm-image": glm_image,
    "llamagen": llamagen,
    "show-o": show_o,
    "maskgit": maskgit,
    "mmada": mmada_8b,
    "lumina-dimoo": lumina_dimoo,
    "infinity": infinity,
}


def tflop(name: str) -> float:
    """TFLOP of an image of a model.

    One pass over a whole sequence stands for all steps of an autoregressive model: every place sees every other, as it
    does with keys and values of full length.
    """
    with torch.device("meta"), torch.inference_mode():
        n_times, run = MODELS[name]()
        with FlopCounterMode(display=False) as counter:
            run()
    return float(n_times * counter.get_total_flops()) / 1e12


def main() -> None:
    for name in sys.argv[1:] or MODELS:
        print(f"{name} {tflop(name):.3g}")


if __name__ == "__main__":
    main()
