"""Quality of the trio: reconstruction, use of the caption, agreement of samples with captions.

    python -m generate.trio.evaluate

prints what the weights alone decide. `attribute_accuracy` scores the samples of any family.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from generate.trio import scenes, weights
from generate.trio.captions import Meaning
from generate.trio.reference import Reference, load_reference
from generate.trio.stage_tokenizer import render_batch
from generate.trio.stage_transformer import draw_samples, loss
from generate.trio.tokenizer import Tokenizer, load_tokenizer
from generate.trio.transformer import GridTransformer, load_transformer

BATCH = 64


def peak_signal_to_noise(one: Tensor, other: Tensor) -> float:
    """Decibels over all pixels together, for images in [0, 1]."""
    return float(-10 * (one - other).square().mean().log10())


def attribute_accuracy(reference: Reference, images: Tensor, meanings: Sequence[Meaning]) -> dict[str, float]:
    """Share of images (B, 3, 32, 32) that show each attribute their caption names; NaN if none does."""
    seen = reference.attributes(images)
    shares = {}
    for column, (attribute, values) in enumerate(scenes.ATTRIBUTES.items()):
        right = [
            values[int(row[column])] == meaning[attribute]
            for row, meaning in zip(seen, meanings, strict=True)
            if attribute in meaning
        ]
        shares[attribute] = float(np.mean(right)) if right else float("nan")
    return shares


def reconstruction(tokenizer: Tokenizer, reference: Reference, *, count: int, seed: int) -> dict[str, float]:
    """Decibels, code perplexity, and attribute accuracy on fresh scenes before and after coding."""
    rng = np.random.default_rng(seed)
    attributes = scenes.draw_attributes(count, rng)
    images = render_batch(attributes, scenes.draw_wordings(count, rng), rng)
    with torch.no_grad():
        codes = tokenizer.encode(images)
        restored = tokenizer.decode(codes)
    share = codes.flatten().bincount(minlength=tokenizer.config.codes) / codes.numel()
    figures = {
        "psnr_db": peak_signal_to_noise(images, restored),
        "code_perplexity": float(torch.special.entr(share).sum().exp()),
    }
    truth = torch.from_numpy(attributes)
    for kind, batch in (("rendered", images), ("reconstructed", restored)):
        right = (reference.attributes(batch) == truth).double().mean(0)
        figures |= {f"{name}_{kind}": float(x) for name, x in zip(scenes.ATTRIBUTES, right, strict=True)}
    return figures


def caption_use(transformer: GridTransformer, tokenizer: Tokenizer, *, count: int, seed: int) -> dict[str, float]:
    """Loss in nats per token with each scene's own caption and with another scene's."""
    words, codes = draw_samples(tokenizer, count, np.random.default_rng(seed))
    losses: dict[str, float] = {}
    for kind, texts in (("loss_own_caption", words), ("loss_shuffled_caption", words.roll(1, 0))):
        rng = np.random.default_rng(seed)  # the same masks for both
        parts = zip(torch.split(texts, BATCH), torch.split(codes, BATCH), strict=True)
        with torch.no_grad():
            losses[kind] = float(np.mean([float(loss(transformer, *part, rng)) for part in parts]))
    return losses


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m generate.trio.evaluate", description="Quality of the trio.")
    parser.add_argument("--weights", type=Path, default=weights.SHIPPED, help="folder of the weight files")
    parser.add_argument("--count", type=int, default=1024, help="fresh scenes to score")
    chosen = parser.parse_args()
    tokenizer = load_tokenizer(chosen.weights / "tokenizer.safetensors")
    reference = load_reference(chosen.weights / "reference.safetensors")
    figures = {"reconstruction": reconstruction(tokenizer, reference, count=chosen.count, seed=11)}
    for name in ("causal", "masked"):
        transformer = load_transformer(chosen.weights / f"{name}.safetensors")
        figures[name] = caption_use(transformer, tokenizer, count=chosen.count, seed=12)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
