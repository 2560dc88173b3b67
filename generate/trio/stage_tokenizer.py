"""First stage of the recipe: fit the tokenizer to rendered scenes."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from generate.trio import scenes
from generate.trio.fitting import Fit
from generate.trio.tokenizer import Tokenizer, save_tokenizer

BATCH = 32
CONTINUOUS_STEPS = 300  # before the codebook is placed at encodings
RESTART_UNTIL = 0.8  # share of the time after which the codebook is only followed
COMMITMENT = 0.25


def render_batch(
    attributes: scenes.Ints, wordings: scenes.Ints, rng: np.random.Generator
) -> Tensor:
    """Rendered scenes (count, 3, 32, 32) in [0, 1], float32, in the order of the rows.

    `attributes` are (count, 5) and `wordings` (count, 3) indices; `rng` draws the jitter.
    """
    images = scenes.render(attributes, wordings, rng)
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def draw_images(count: int, rng: np.random.Generator) -> Tensor:
    """Scenes (count, 3, 32, 32) in [0, 1], all attributes and wordings equally often.

    `rng` draws attributes, wordings and jitter, in this order.
    """
    return render_batch(scenes.draw_attributes(count, rng), scenes.draw_wordings(count, rng), rng)


def fit_tokenizer(out: Path, *, minutes: float, export: Path) -> None:
    """Train for `minutes`, checkpointing in `out`, and write the tokenizer to `export`.

    An interrupted run goes on from its checkpoint.
    """
    tokenizer = Tokenizer().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(
        tokenizer.parameters(), lr=2e-3, betas=(0.9, 0.98), weight_decay=1e-3
    )
    fit = Fit(tokenizer, [optimiser], out / "tokenizer.pt", minutes=minutes, seed=1)

    def step(rng: np.random.Generator, steps: int, progress: float) -> Tensor:
        """Loss of one batch: without codes at first, then through them."""
        images = draw_images(BATCH, rng).to(memory_format=torch.channels_last)
        placed = steps > CONTINUOUS_STEPS
        restored, latents, codes = tokenizer(images, quantise=placed)
        if steps == CONTINUOUS_STEPS:
            every_code = torch.ones(tokenizer.config.codes, dtype=torch.bool)
            tokenizer.restart(latents.detach().flatten(0, -2), every_code)
        commitment = latents.new_zeros(())
        if placed:
            dead = 0.05 if progress < RESTART_UNTIL else 0.0
            tokenizer.follow(latents.detach(), codes, dead=dead)
            commitment = F.mse_loss(latents, tokenizer.codebook[codes])
        error = F.mse_loss(restored, images)
        if steps % 200 == 0:
            used, decibels = len(codes.unique()), -10 * error.log10().item()
            print(f"tokenizer: step {steps}, {decibels:.2f} dB, {used} codes in batch", flush=True)
        weight = COMMITMENT * tokenizer.config.code_dim
        loss: Tensor = 20 * error + F.l1_loss(restored, images) + weight * commitment
        return loss

    fit.run(step, name="tokenizer")
    save_tokenizer(tokenizer, export)
