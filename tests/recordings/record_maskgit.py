"""Record what upstream Halton-MaskGIT computes: `python -m tests.recordings.record_maskgit CHECKOUT` (a git clone).

Writes `maskgit.npz` beside this file. Runs upstream's own network and its sampler of the Halton order, with rows for
columns, on weights that follow from their names.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.tiny.masked import MASKGIT, maskgit_state

CLASSES = (1, 207)
STEPS, GUIDANCE, SHARPNESS = 6, 2.0, 1.2


class Nothing(torch.nn.Module):
    """A network of any grid that knows nothing, for the schedule alone."""

    def __init__(self, codes: int) -> None:
        super().__init__()
        self.codes = codes

    def forward(self, tokens: torch.Tensor, *_: object) -> torch.Tensor:
        return torch.zeros(len(tokens), tokens[0].numel(), self.codes)


def main(checkout: Path) -> None:
    sys.path.insert(0, str(checkout))
    from Network.transformer import Transformer  # type: ignore[import-not-found]
    from Sampler.halton_sampler import HaltonSampler  # type: ignore[import-not-found]

    network = Transformer(**MASKGIT, nclass=1000, register=1, proj=1).eval()
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    network.load_state_dict(maskgit_state(shapes))
    side, codes = MASKGIT["input_size"], MASKGIT["codebook_size"]
    tokens: list[np.ndarray] = []

    class Decoder:
        """Keeps the codes that upstream would decode."""

        def decode_code(self, code: torch.Tensor) -> torch.Tensor:
            tokens.append(code[0].flatten().numpy().copy())
            return torch.zeros(1)

    settings = types.SimpleNamespace(
        device="cpu", mask_value=codes, codebook_size=codes, use_ema=False
    )
    trainer: Any = types.SimpleNamespace(
        args=settings, vit=network, input_size=side, ae=Decoder(), autocast=torch.no_grad()
    )
    sampler = HaltonSampler(sm_temp_min=1, sm_temp_max=SHARPNESS, w=GUIDANCE, step=STEPS)
    sampler.basic_halton_mask = HaltonSampler.build_halton_mask(side)[:, [1, 0]]
    filled = []
    for seed, label in enumerate(CLASSES):
        torch.manual_seed(seed)
        _, _, masks = sampler(trainer, nb_sample=1, labels=torch.tensor([label]), verbose=False)
        filled = [int(mask.sum()) for mask in masks]
    large = HaltonSampler(step=32)
    large.w = 0
    wide = types.SimpleNamespace(**{**vars(trainer), "input_size": 24, "vit": Nothing(codes)})
    _, _, masks = large(wide, nb_sample=1, labels=torch.tensor([0]), verbose=False)
    with torch.no_grad():
        network.eval()
        open_grid = torch.full((2, side, side), codes)
        labels = torch.tensor([CLASSES[0]] * 2)
        logits = network(open_grid, labels, torch.tensor([False, True]))
    np.savez_compressed(
        Path(__file__).with_name("maskgit.npz"),
        tokens=np.stack(tokens[: len(CLASSES)]),
        logits=logits[..., :codes].numpy(),  # (branch, position, code)
        halton=HaltonSampler.build_halton_mask(24).numpy(),  # (place, row and column)
        committed=np.array(filled),
        committed_of_large=np.array([int(mask.sum()) for mask in masks]),
        keys=np.array([f"{name} {','.join(map(str, shape))}" for name, shape in shapes.items()]),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
