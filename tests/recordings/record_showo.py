"""Record what upstream Show-o computes: `python -m tests.recordings.record_showo CHECKOUT` (a git clone of it).

Writes `showo.npz` beside this file. Runs upstream's own code on weights that follow from their names. Its modules
expect libraries of 2024, so what they import and do not use here is stubbed, and two attributes that `PhiConfig` lost
are given back.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.named_weights import named_state
from benchmarks.tiny.masked import (
    SHOWO_SIDE,
    SHOWO_TEXT_VOCABULARY,
    SHOWO_VOCABULARY,
    phi_config,
)

TEXTS = ("a red cat", "dog")
STEPS, GUIDANCE = 6, 1.75


class Letters:
    """A stand-in for the tokenizer: letters are ids, <|endoftext|> is 256, the specials follow the vocabulary."""

    bos_token_id = eos_token_id = 256
    pad_token_id = SHOWO_TEXT_VOCABULARY

    def __init__(self) -> None:
        self.names = ["[PAD]"]

    def add_special_tokens(self, _: object) -> None: ...

    def add_tokens(self, names: list[str]) -> None:
        self.names += names

    def convert_tokens_to_ids(self, names: list[str] | str) -> list[int] | int:
        if isinstance(names, str):
            return SHOWO_TEXT_VOCABULARY + self.names.index(names)
        return [SHOWO_TEXT_VOCABULARY + self.names.index(name) for name in names]

    def __call__(self, texts: list[str]) -> dict[str, list[list[int]]]:
        return {"input_ids": [list(text.encode()) for text in texts]}


def stub(checkout: Path) -> None:
    """Make upstream's modules importable one by one."""
    from diffusers import ConfigMixin, ModelMixin
    from diffusers.configuration_utils import register_to_config
    from transformers import PhiConfig

    for package in ("models", "training"):
        module = types.ModuleType(package)
        module.__path__ = [str(checkout / package)]
        sys.modules[package] = module
    shared = types.ModuleType("models.modeling_utils")
    shared.ConfigMixin, shared.ModelMixin, shared.register_to_config = (
        ConfigMixin,
        ModelMixin,
        register_to_config,
    )  # type: ignore[attr-defined]
    sys.modules["models.modeling_utils"] = shared
    names = {
        "einops": ("rearrange", "repeat"),
        "einops.layers": (),
        "einops.layers.torch": ("Rearrange",),
        "models.misc": ("List",),
    }
    for name, members in names.items():
        module = types.ModuleType(name)
        for member in members:
            setattr(module, member, list)
        sys.modules.setdefault(name, module)
    PhiConfig.rope_theta, PhiConfig.partial_rotary_factor = 10_000.0, 0.5


def main(checkout: Path) -> None:
    stub(checkout)
    from models.modeling_magvitv2 import LFQuantizer, VQGANDecoder  # type: ignore[import-not-found]
    from models.modeling_showo import Showo  # type: ignore[import-not-found]
    from models.phi import PhiAttention, PhiForCausalLM, PhiRotaryEmbedding  # type: ignore[import-not-found]
    from training.prompting_utils import (  # type: ignore[import-not-found]
        UniversalPrompting,
        create_attention_mask_predict_next,
    )

    def init_rope(self: Any) -> None:
        size = int(self.partial_rotary_factor * self.head_dim)
        self.rotary_emb = PhiRotaryEmbedding(size, self.max_position_embeddings, self.rope_theta)

    PhiAttention._init_rope = init_rope
    network = PhiForCausalLM(phi_config()).eval()
    network.load_state_dict(named_state(network.state_dict()))
    prompting = UniversalPrompting(Letters(), max_text_len=128)
    mask_id = SHOWO_VOCABULARY - 1
    images = torch.full((len(TEXTS), SHOWO_SIDE**2), mask_id)
    ids, _ = prompting((list(TEXTS), images), "t2i_gen")
    nothing, _ = prompting(([""] * len(TEXTS), images), "t2i_gen")
    special = {name: int(prompting.sptids_dict[name]) for name in ("<|pad|>", "<|soi|>", "<|eoi|>")}
    mask = create_attention_mask_predict_next(
        torch.cat([ids, nothing]), pad_id=special["<|pad|>"], soi_id=special["<|soi|>"], eoi_id=special["<|eoi|>"],
        rm_pad_in_image=True,
    )  # fmt: skip
    section = types.SimpleNamespace
    config = section(
        model=section(
            showo=section(
                num_vq_tokens=SHOWO_SIDE**2,
                num_new_special_tokens=10,
                llm_vocab_size=SHOWO_TEXT_VOCABULARY,
            )
        ),
        dataset=section(preprocessing=section(max_seq_length=128)),
    )

    class Loop:
        """Upstream's sampling loop around its language model."""

        config = section(mask_token_id=mask_id)
        generate = Showo.t2i_generate

        def __call__(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return network(input_ids=input_ids, attention_mask=attention_mask.float()).logits

    tokens = []
    with torch.no_grad():
        logits = Loop()(torch.cat([ids, nothing]), mask)[
            :, -(SHOWO_SIDE**2 + 1) : -1, SHOWO_TEXT_VOCABULARY + 10 : -1
        ]
        for row in range(len(TEXTS)):
            rows = torch.tensor([row, len(TEXTS) + row])
            found = Loop().generate(
                ids[row : row + 1].clone(), nothing[row : row + 1].clone(), mask[rows], timesteps=STEPS,
                guidance_scale=GUIDANCE, generator=torch.Generator().manual_seed(row), config=config,
            )  # fmt: skip
            tokens.append(found[0].numpy())
        decoder = VQGANDecoder(ch=32, ch_mult=[1, 2], num_res_blocks=[2, 1]).eval()
        decoder.load_state_dict(named_state(decoder.state_dict()))
        codes = torch.tensor([[0, 1, 4096, 8191]])
        image = decoder(LFQuantizer().get_codebook_entry(codes))["output"]
    np.savez_compressed(
        Path(__file__).with_name("showo.npz"),
        tokens=np.stack(tokens),
        ids=torch.cat([ids, nothing]).numpy(),
        logits=logits[
            ..., ::64
        ].numpy(),  # (row: 2 conditional, 2 unconditional; position; every 64th code)
        image=image.numpy(),
        decoder_keys=np.array(list(decoder.state_dict())),
        decoder_shapes=np.array(
            [",".join(map(str, t.shape)) for t in decoder.state_dict().values()]
        ),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
