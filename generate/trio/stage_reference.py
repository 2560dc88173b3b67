"""Stage of the recipe that fits the reference network to clean, disturbed and decoded scenes."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from generate.trio import scenes
from generate.trio.fitting import Fit
from generate.trio.reference import TrainableReference, save_reference
from generate.trio.stage_tokenizer import render_batch
from generate.trio.tokenizer import Tokenizer, load_tokenizer

BATCH = 96
NOISE = 0.06  # largest standard deviation of the pixel noise


def disturb(images: Tensor, tokenizer: Tokenizer, rng: np.random.Generator) -> Tensor:
    """Images (B, 3, 32, 32), of which the last two thirds are disturbed; rows keep their places.

    The first third stays as it is. The second is blurred and gets pixel noise, each to a share that
    `rng` draws for the image; the last goes through the tokenizer and back. So the network also
    knows scenes as the decoder draws them.
    """
    clean, rough, decoded = images.chunk(3)
    blurred = F.avg_pool2d(F.pad(rough, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    share = torch.from_numpy(rng.random((len(rough), 1, 1, 1)).astype(np.float32))
    noise = torch.from_numpy(rng.normal(0, NOISE, rough.shape).astype(np.float32)) * share.flip(0)
    rough = torch.lerp(rough, blurred, share) + noise
    with torch.no_grad():
        decoded = tokenizer.decode(tokenizer.encode(decoded))
    return torch.cat([clean, rough, decoded])


def fit_reference(out: Path, *, minutes: float, tokenizer: Path, export: Path) -> None:
    """Train for `minutes`, checkpointing in `out`, and write the folded weights to `export`.

    `tokenizer` is the file of the first stage. An interrupted run goes on from its checkpoint.
    """
    coder = load_tokenizer(tokenizer)
    torch.manual_seed(4)
    network = TrainableReference()
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    fit = Fit(network, [optimiser], out / "reference.pt", minutes=minutes, seed=5)

    def step(rng: np.random.Generator, steps: int, progress: float) -> Tensor:
        attributes = scenes.draw_attributes(BATCH, rng)
        images = render_batch(attributes, scenes.draw_wordings(BATCH, rng), rng)
        logits = network(disturb(images, coder, rng)).values()
        losses = []
        for label, each in zip(torch.from_numpy(attributes).unbind(1), logits, strict=True):
            losses.append(F.cross_entropy(each, label, label_smoothing=0.02))
        return torch.stack(losses).sum()

    averaged = fit.run(step, name="reference")
    assert isinstance(averaged, TrainableReference)
    save_reference(averaged.folded(), export)
