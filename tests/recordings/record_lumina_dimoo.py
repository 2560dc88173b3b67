"""Record what upstream Lumina-DiMOO computes: `python -m tests.recordings.record_lumina_dimoo CHECKOUT`.

CHECKOUT is a git clone of it. Writes `lumina_dimoo.npz` beside this file. Runs upstream's own network, prompts and loop
on the tiny weights of `benchmarks.tiny`, which follow from their names. Upstream draws noise for open positions alone;
here it takes that of the open ones among noise of all positions, so that the draws can be replayed.
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

TEXTS = ("a red cat", "dog")
STEPS, GUIDANCE, SIDE, CODES = 6, 4.0, 4, 48


def main(checkout: Path) -> None:
    sys.path.insert(0, str(checkout))
    package = types.ModuleType("model")
    package.__path__ = [str(checkout / "model")]
    package.LLaDAForMultiModalGeneration = type("Unused", (), {})  # type: ignore[attr-defined]
    sys.modules["model"] = package
    import utils.generation_utils as draws  # type: ignore[import-not-found]
    from config import SPECIAL_TOKENS  # type: ignore[import-not-found]
    from generators.image_generation_generator import generate_image  # type: ignore[import-not-found]
    from model.configuration_llada import ModelConfig  # type: ignore[import-not-found]
    from model.modeling_llada import LLaDAModel  # type: ignore[import-not-found]
    from utils.image_utils import add_break_line  # type: ignore[import-not-found]
    from utils.prompt_utils import generate_text_to_image_prompt  # type: ignore[import-not-found]

    first, mask_id = SPECIAL_TOKENS["image_token_offset"], SPECIAL_TOKENS["mask_token"]
    ids = first + CODES
    sizes = {**LLADA, "embedding_size": ids, "vocab_size": ids}
    network = LLaDAModel(ModelConfig(**sizes, init_device="cpu"), init_params=False).eval()
    state = {f"model.{name}": tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    network.load_state_dict(
        {name.removeprefix("model."): named_tensor(name, shape) for name, shape in state.items()}
    )
    newline = SPECIAL_TOKENS["newline_token"]

    class Loop:
        """Upstream's language model, and the positions that were open when it was asked last."""

        def __init__(self) -> None:
            self.module = self
            self.logits: list[torch.Tensor] = []
            self.open = torch.empty(0, dtype=torch.bool)

        def caching(self, enable: bool) -> None:
            assert not enable

        def parameters(self) -> Any:
            return network.parameters()

        def __call__(self, ids: torch.Tensor, **_: object) -> Any:
            found = network(ids)
            if ids.shape[1] > SIDE:  # not the call that asks for the number of ids
                image = ids[0, -(SIDE * (SIDE + 1) + 2) : -2]
                position = image != newline
                self.open = image[position] == mask_id
                self.logits.append(
                    found.logits[0, -(SIDE * (SIDE + 1) + 2) : -2][position][:, first:]
                )
            return found

    def noise_of_all(t: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
        if t.ndim == 3:
            drawn = torch.empty(SIDE**2, CODES).exponential_(1, generator=generator)
            return -torch.log(drawn)[loop.open][None]
        drawn = torch.empty(SIDE**2).uniform_(0, 1, generator=generator)
        return -torch.log(-torch.log(drawn))[loop.open][None]

    draws.gumbel_noise = noise_of_all
    tokens, logits, prompts = [], [], []
    for seed, text in enumerate(TEXTS):
        loop = Loop()
        asked, nothing = (list(part.encode()) for part in generate_text_to_image_prompt(text))
        image = add_break_line([mask_id] * SIDE**2, SIDE, SIDE, new_number=newline)
        start, end = (SPECIAL_TOKENS[f"answer_{side}"] for side in ("start", "end"))
        answer = [start, SPECIAL_TOKENS["boi"], *image, SPECIAL_TOKENS["eoi"], end]
        prompts.append(len(asked))
        with torch.no_grad():
            found = generate_image(
                loop, torch.tensor([asked + answer]), seq_len=SIDE**2, newline_every=SIDE, timesteps=STEPS,
                cfg_scale=GUIDANCE, uncon_ids=torch.tensor([nothing]), code_start=len(asked) + 2, codebook_size=CODES,
                generator=torch.Generator().manual_seed(seed),
            )  # fmt: skip
        tokens.append(found[0].numpy() - first)
        logits.append(torch.stack(loop.logits[:2]).numpy())  # branch: conditional, unconditional
    np.savez_compressed(
        Path(__file__).with_name("lumina_dimoo.npz"),
        tokens=np.stack(tokens),
        logits=np.stack(logits),
        prompts=np.array(prompts),
        keys=np.array([f"{name} {','.join(map(str, shape))}" for name, shape in state.items()]),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
