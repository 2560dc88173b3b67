"""Random networks of the published sizes, in place of the tiny ones that an adapter loaded."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from generate.models import amused, janus, t5
from generate.models.showo import TEXT_LENGTH
from generate.networks.llamagen import LlamaGen, LlamaGenConfig

N_TEXT = 77
Shape = tuple[tuple[int, int], int]
"""Grid and steps."""


def amused_256() -> nn.Module:
    from diffusers import UVit2DModel

    return UVit2DModel(sample_size=16)


def vq_diffusion_ithq() -> nn.Module:
    from diffusers import Transformer2DModel

    return Transformer2DModel(
        attention_bias=True, cross_attention_dim=512, attention_head_dim=88, num_attention_heads=16, num_layers=36,
        num_vector_embeds=4097, num_embeds_ada_norm=100, sample_size=32, activation_fn="geglu-approximate",
        norm_type="ada_norm",
    )  # fmt: skip


def janus_1b() -> nn.Module:
    from transformers import LlamaConfig, LlamaModel

    return LlamaModel(
        LlamaConfig(
            hidden_size=2048,
            intermediate_size=5632,
            num_hidden_layers=24,
            num_attention_heads=16,
            vocab_size=102400,
        )
    )


def llamagen_xl() -> LlamaGen:
    return LlamaGen(
        LlamaGenConfig(
            width=1280, layers=36, heads=20, hidden=3584, codebook_size=16384, caption_width=2048, caption_length=120,
            side=16,
        )
    )  # fmt: skip


def showo_256() -> nn.Module:
    from transformers import PhiConfig, PhiForCausalLM

    return PhiForCausalLM(
        PhiConfig(vocab_size=58498, qk_layernorm=True, attn_implementation="sdpa")
    )


NETWORKS = {
    "amused": amused_256,
    "vq-diffusion": vq_diffusion_ithq,
    "janus-pro": janus_1b,
    "llamagen": llamagen_xl,
    "show-o": showo_256,
}


def replace(name: str, model: Any) -> Shape:
    """Give an adapter the published size; its grid and steps."""
    with torch.device(model.device):
        network = NETWORKS[name]().to(model.dtype).eval().requires_grad_(False)
    if name == "amused":
        model.transformer, model.mask_id = network, 8255
        return (16, 16), 12
    if name == "vq-diffusion":
        model.transformer = network
        model.identity = model.identity.model_copy(update={"codebook_size": 4096})
        model.schedule = type(model).schedule_of(model.found["checkpoint"], 4096)
        return (32, 32), 100
    if name == "janus-pro":
        model.language_model, model.embed_prompt = network, network.embed_tokens
        with torch.device(model.device):
            embed = nn.Sequential(
                nn.Embedding(16384, 8), nn.Linear(8, 2048), nn.GELU(), nn.Linear(2048, 2048)
            )
            head = nn.Sequential(nn.Linear(2048, 2048), nn.GELU(), nn.Linear(2048, 16384))
        model.embed_codes, model.head = embed.to(model.dtype), head.to(model.dtype)
        return (24, 24), 576
    if name == "llamagen":
        model.network = network
        return (16, 16), 256
    model.network, model.transformer = network, network.model
    model.first_special, model.mask_id = 50295, 58497
    return (16, 16), model.settings.steps


def conditioning(model: Any, n: int, device: str) -> Any:
    """Random conditioning of `n` guided samples, of the shape that the published text encoders give."""

    def noise(*shape: int) -> Tensor:
        return torch.randn(2 * n, *shape, device=device, dtype=model.dtype)

    name = model.identity.model
    if name == "amused":
        return amused.Conditioning(noise(768), noise(N_TEXT, 768))
    if name == "vq-diffusion":
        return noise(N_TEXT, 512)
    if name == "janus-pro":
        ids = torch.randint(100_000, (2 * n, 24), device=device)
        return janus.Conditioning(ids, torch.ones_like(ids))
    if name == "llamagen":
        return t5.Conditioning(
            noise(120, 2048), (torch.arange(120, device=device) >= 100).expand(2 * n, -1)
        )
    return torch.randint(50_000, (2 * n, TEXT_LENGTH), device=device)
