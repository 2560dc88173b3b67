"""Record what upstream MMaDA computes: `python -m tests.recordings.record_mmada CHECKOUT` (a git clone of it).

Writes `mmada.npz` beside this file. Runs upstream's own network, prompting and loop on the tiny weights of
`benchmarks.tiny`, which follow from their names. Its packages import more than is installed, so they are stubbed.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.named_weights import named_tensor
from benchmarks.tiny.masked import LLADA

TEXTS = ("a red cat", "dog " * 140)
STEPS, GUIDANCE, SIDE = 6, 3.5, 4


class Letters:
    """A stand-in for the tokenizer: letters are ids, <|endoftext|> is 256, and so is every other token's start."""

    bos_token_id = eos_token_id = 256

    def __init__(self) -> None:
        self.added: list[str] = []

    def __len__(self) -> int:
        return 257 + len(self.added)

    def add_special_tokens(self, tokens: dict[str, list[str]]) -> int:
        self.added += tokens["additional_special_tokens"]
        return len(self.added)

    def convert_tokens_to_ids(self, names: list[str] | str) -> Any:
        if isinstance(names, str):
            return 257 + self.added.index(names)
        return [257 + self.added.index(name) if name in self.added else None for name in names]

    def __call__(self, texts: list[str]) -> dict[str, list[list[int]]]:
        return {"input_ids": [list(text.encode()) for text in texts]}


def main(checkout: Path) -> None:
    for package in ("models", "training"):
        module = types.ModuleType(package)
        module.__path__ = [str(checkout / package)]
        sys.modules[package] = module
    from models.configuration_llada import ModelConfig  # type: ignore[import-not-found]
    from models.modeling_llada import LLaDAModel  # type: ignore[import-not-found]
    from models.modeling_mmada import MMadaModelLM  # type: ignore[import-not-found]
    from training.prompting_utils import UniversalPrompting  # type: ignore[import-not-found]

    network = LLaDAModel(ModelConfig(**LLADA, init_device="cpu"), init_params=False).eval()
    state = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    full = {name: f"model.{name}" for name in state}
    network.load_state_dict(
        {name: named_tensor(full[name], shape) for name, shape in state.items()}
    )
    prompting = UniversalPrompting(Letters(), max_text_len=512, use_reserved_token=True)
    mask_id = LLADA["mask_token_id"]
    images = torch.full((len(TEXTS), SIDE**2), mask_id)
    ids, seen = prompting((list(TEXTS), images), "t2i_gen")
    nothing, seen_of_nothing = prompting(([""] * len(TEXTS), images), "t2i_gen")

    class Loop:
        """Upstream's sampling loop around its language model."""

        generate = MMadaModelLM.t2i_generate

        def __call__(self, ids: torch.Tensor, attention_bias: torch.Tensor) -> Any:
            return network(ids, attention_bias=attention_bias)

    tokens = []
    with torch.no_grad():
        mask = torch.cat([seen, seen_of_nothing])
        bias = (mask[:, :, None] & mask[:, None, :]).bool().unsqueeze(1)
        first = len(prompting.text_tokenizer)
        logits = network(torch.cat([ids, nothing]), attention_bias=bias).logits
        logits = logits[:, -(SIDE**2 + 1) : -1, first : first + 8192]
        for row in range(len(TEXTS)):
            one = slice(row, row + 1)
            found = Loop().generate(
                ids[one].clone(), nothing[one].clone(), seen[one], seen_of_nothing[one], timesteps=STEPS,
                guidance_scale=GUIDANCE, generator=torch.Generator().manual_seed(row), seq_len=SIDE**2,
                uni_prompting=prompting,
            )  # fmt: skip
            tokens.append(found[0].numpy())
    np.savez_compressed(
        Path(__file__).with_name("mmada.npz"),
        tokens=np.stack(tokens),
        ids=torch.cat([ids, nothing]).numpy(),
        logits=logits[
            ..., ::64
        ].numpy(),  # (row: 2 conditional, 2 unconditional; position; every 64th code)
        keys=np.array(
            [f"{full[name]} {','.join(map(str, shape))}" for name, shape in state.items()]
        ),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
