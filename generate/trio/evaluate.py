"""Quality of the trio: reconstruction, use of the caption, agreement of samples with captions.

    python -m generate.trio.evaluate
    python -m generate.trio.evaluate --quantizer bsq

prints the figures of the model card, measured on the shipped weights, or on those of one quantizer
of the lab.
"""

import argparse
import json
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from generate.models import loaded
from generate.study.noise import stream_keys
from generate.study.probes import Probe
from generate.traversal import PhiloxNoise
from generate.trio import scenes, weights
from generate.trio.captions import Meaning
from generate.trio.prompt_sets import prompt_set
from generate.trio.quantizers import LAB
from generate.trio.reference import Reference, load_reference
from generate.trio.scale_quantizer import ScaleVq
from generate.trio.scale_transformer import ScaleTransformer, load_scales
from generate.trio.stage_scales import scale_loss
from generate.trio.stage_tokenizer import render_batch
from generate.trio.stage_transformer import draw_samples, loss
from generate.trio.tokenizer import Tokenizer, load_tokenizer
from generate.trio.transformer import GridTransformer, load_transformer
from generate.trio.wording_control import control

BATCH = 64
ANY_ORDER = ("trio-mim", "trio-diffusion", "trio-raster")
"""Members that the quantizers of the lab have weights for."""
MEMBERS = ("trio-ar", *ANY_ORDER, "trio-var")


def peak_signal_to_noise(one: Tensor, other: Tensor) -> float:
    """Peak signal-to-noise ratio in decibels, over all pixels together.

    `one` and `other` are images of one shape in [0, 1], so the peak is 1. Infinite for equal
    images.
    """
    return float(-10 * (one - other).square().mean().log10())


def attribute_accuracy(
    reference: Reference, images: Tensor, meanings: Sequence[Meaning]
) -> dict[str, float]:
    """Share of images that show what their caption names, by attribute.

    `images` are (sample, 3, 32, 32) in [0, 1], with one of `meanings` each. NaN for an attribute
    that no caption names.
    """
    seen = reference.attributes(images).tolist()
    shares = {}
    for column, (attribute, values) in enumerate(scenes.ATTRIBUTES.items()):
        right = []
        for row, meaning in zip(seen, meanings, strict=True):
            if attribute in meaning:
                right.append(values[row[column]] == meaning[attribute])
        shares[attribute] = float(np.mean(right)) if right else float("nan")
    return shares


def reconstruction(
    tokenizer: Tokenizer, reference: Reference, *, count: int, seed: int
) -> dict[str, float]:
    """Figures of the tokenizer on `count` fresh scenes.

    `psnr_db` in decibels, `code_perplexity` in codes, and for each attribute the share that the
    network tells right, `ATTRIBUTE_rendered` before coding and `ATTRIBUTE_reconstructed` after.
    """
    rng = np.random.default_rng(seed)
    attributes = scenes.draw_attributes(count, rng)
    images = render_batch(attributes, scenes.draw_wordings(count, rng), rng)
    with torch.no_grad():
        codes = tokenizer.encode(images)
        restored = tokenizer.decode(codes)
    share = codes.flatten().bincount(minlength=tokenizer.codes) / codes.numel()
    figures = {
        "psnr_db": peak_signal_to_noise(images, restored),
        "code_perplexity": float(torch.special.entr(share).sum().exp()),
    }
    truth = torch.from_numpy(attributes)
    for kind, batch in (("rendered", images), ("reconstructed", restored)):
        right = (reference.attributes(batch) == truth).double().mean(0).tolist()
        for name, share_right in zip(scenes.ATTRIBUTES, right, strict=True):
            figures[f"{name}_{kind}"] = share_right
    return figures


def caption_use(
    transformer: GridTransformer | ScaleTransformer, tokenizer: Tokenizer, *, count: int, seed: int
) -> dict[str, float]:
    """Loss in nats per token with each scene's own caption and with another scene's.

    `loss_own_caption` and `loss_shuffled_caption`, on `count` fresh scenes fixed by `seed`; the
    second is larger by what the weights take from the caption. Both are measured with the same
    masks.
    """
    words, codes = draw_samples(tokenizer, count, np.random.default_rng(seed))
    quantizer = tokenizer.quantizer

    def loss_of(words: Tensor, codes: Tensor, rng: np.random.Generator) -> Tensor:
        if isinstance(transformer, GridTransformer):
            return loss(transformer, words, codes, rng)
        return scale_loss(transformer, cast(ScaleVq, quantizer), words, codes)

    losses: dict[str, float] = {}
    for kind, texts in (("loss_own_caption", words), ("loss_shuffled_caption", words.roll(1, 0))):
        rng = np.random.default_rng(seed)  # the same masks for both
        parts = zip(torch.split(texts, BATCH), torch.split(codes, BATCH), strict=True)
        with torch.no_grad():
            each = [float(loss_of(*part, rng)) for part in parts]
        losses[kind] = float(np.mean(each))
    return losses


def family_accuracy(
    name: str, reference: Reference, *, prompts: int, samples: int, seed: int, **options: object
) -> dict[str, float]:
    """Accuracy of stochastic samples of one member, full codebook, original study prompts.

    `options` are sampling settings of the member, such as `guidance=2.0`.
    """
    model = loaded(name, options)
    records = prompt_set("study", prompts, seed)
    texts = [record["text"] for record in records]
    path = stream_keys(seed, texts, samples, "path")
    execution = stream_keys(seed, texts, samples, "execution")
    images = []
    for sample in range(samples):
        noise = PhiloxNoise(path[:, sample], execution[:, sample])
        pixels = model.decode(model.traverse(model.encode(texts), Probe(), noise).tokens)
        images.append(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255)
    meanings = [record["attributes"] for record in records] * samples
    return attribute_accuracy(reference, torch.cat(images), meanings)


def of_quantizer(
    quantizer: str, *, scenes: int, prompts: int, samples: int
) -> dict[str, dict[str, float]]:
    """Figures of a quantizer of the lab: reconstruction, use of the caption, samples by member.

    Of `scenes` fresh scenes, and of `samples` of each of `prompts` study prompts, without guidance.
    """
    tokenizer = load_tokenizer(weights.SHIPPED / weights.file_name("tokenizer", quantizer))
    reference = load_reference()
    figures = {"reconstruction": reconstruction(tokenizer, reference, count=scenes, seed=11)}
    transformer = load_transformer(weights.SHIPPED / weights.file_name("masked", quantizer))
    figures["masked"] = caption_use(transformer, tokenizer, count=scenes, seed=12)
    options = {"quantizer": quantizer, "guidance": 1.0}
    for name in ANY_ORDER:
        figures[name] = family_accuracy(
            name, reference, prompts=prompts, samples=samples, seed=13, **options
        )
    return figures


def main() -> None:
    """Print the figures of all parts of the trio as JSON.

    Seeds are fixed, so equal weights give equal figures; `--scenes`, `--prompts` and `--samples`
    say of how many.
    """
    parser = argparse.ArgumentParser(
        prog="python -m generate.trio.evaluate", description="Quality of the trio."
    )
    parser.add_argument(
        "--scenes", type=int, default=2048, help="fresh scenes for reconstruction and loss"
    )
    parser.add_argument("--prompts", type=int, default=100, help="study prompts for samples")
    parser.add_argument("--samples", type=int, default=6, help="samples of each prompt")
    parser.add_argument("--quantizer", choices=list(LAB), help="one quantizer of the lab alone")
    chosen = parser.parse_args()
    if chosen.quantizer is not None:
        found = of_quantizer(
            chosen.quantizer,
            scenes=chosen.scenes,
            prompts=chosen.prompts,
            samples=chosen.samples,
        )
        print(json.dumps(found, indent=2))
        return
    tokenizer, reference = load_tokenizer(), load_reference()
    figures: dict[str, object] = {}
    figures["reconstruction"] = reconstruction(tokenizer, reference, count=chosen.scenes, seed=11)
    for name in ("causal", "masked"):
        transformer = load_transformer(weights.SHIPPED / f"{name}.safetensors")
        figures[name] = caption_use(transformer, tokenizer, count=chosen.scenes, seed=12)
    of_scales = load_tokenizer(weights.SHIPPED / "tokenizer-scales.safetensors")
    figures["reconstruction_scales"] = reconstruction(
        of_scales, reference, count=chosen.scenes, seed=11
    )
    scales = load_scales(weights.SHIPPED / "scales.safetensors")
    figures["scales"] = caption_use(scales, of_scales, count=chosen.scenes, seed=12)
    for name in MEMBERS:
        figures[name] = family_accuracy(
            name, reference, prompts=chosen.prompts, samples=chosen.samples, seed=13
        )
    figures["wording"] = control(prompts=200, samples=20, seed=0)
    figures["wording_all_named"] = control(prompts=200, samples=20, seed=0, all_named=True)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
