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
REPORT_STEPS = 200


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


def restoration_loss(restored: Tensor, images: Tensor) -> Tensor:
    """Squared error, twentyfold, and absolute error, means over all pixels of two equal shapes."""
    return 20 * F.mse_loss(restored, images) + F.l1_loss(restored, images)


def report(name: str, step: int, restored: Tensor, images: Tensor, ids: Tensor) -> None:
    """Print a line on a batch: decibels over all pixels together, and how many codes are in it."""
    decibels = -10 * F.mse_loss(restored.detach(), images).log10().item()
    used = int(ids.flatten().bincount().count_nonzero())
    print(f"{name}: step {step}, {decibels:.2f} dB, {used} codes in batch", flush=True)


def coded_loss(
    name: str, tokenizer: Tokenizer, images: Tensor, steps: int, progress: float
) -> Tensor:
    """Loss of images that went through codes, told now and then by the name of the stage."""
    restored, quantised = tokenizer(images, progress)
    if steps % REPORT_STEPS == 0:
        report(name, steps, restored, images, quantised.ids)
    loss: Tensor = restoration_loss(restored, images) + quantised.loss
    return loss


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
        if steps < CONTINUOUS_STEPS:
            latents = tokenizer.quantizer.project(tokenizer.latents(images))
            return restoration_loss(tokenizer.images(latents), images)
        return coded_loss("tokenizer", tokenizer, images, steps, progress)

    fit.run(step, name="tokenizer")
    save_tokenizer(tokenizer, export)
