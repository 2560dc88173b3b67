"""Stages of the next-scale member: a tokenizer of several scales, then its transformer.

Both start from what the trio ships, the tokenizer from the trunk of its `vq` and the transformer
from the layers of the any-order weights, so that each learns little but the scales.
"""

from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from generate.trio.fitting import Fit
from generate.trio.scale_quantizer import SCALES, ScaleVq
from generate.trio.scale_transformer import ScaleConfig, ScaleTransformer
from generate.trio.stage_tokenizer import BATCH as IMAGES_A_STEP
from generate.trio.stage_tokenizer import coded_loss, draw_images
from generate.trio.stage_transformer import batches, optimisers_of
from generate.trio.tokenizer import Tokenizer, TokenizerConfig, load_tokenizer, save_tokenizer
from generate.trio.transformer import GridTransformer, load_transformer, save_transformer

TOKENIZER_SEED = 8
TRANSFORMER_SEED = 9
SCENE_SEED = 10


def over_scales(trunk: Tokenizer) -> Tokenizer:
    """A tokenizer of several scales, with the encoder and decoder of `trunk`.

    It has as many codes; its codebook is placed by the first batch of training.
    """
    made = Tokenizer(TokenizerConfig(levels=(trunk.codes,), scales=SCALES))
    made.encoder.load_state_dict(trunk.encoder.state_dict())
    made.decoder.load_state_dict(trunk.decoder.state_dict())
    return made


def fit_scale_tokenizer(out: Path, *, length: int, tokenizer: Path, export: Path) -> None:
    """Train for `length` steps, checkpointing in `out`, and write the tokenizer to `export`.

    `tokenizer` is the file of the trio's `vq`. An interrupted run goes on from its checkpoint.
    """
    torch.manual_seed(TOKENIZER_SEED)
    trunk = load_tokenizer(tokenizer)
    made = over_scales(trunk).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(made.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=1e-3)
    checkpoint = out / "tokenizer-scales.pt"
    fit = Fit(made, [optimiser], checkpoint, length=length, seed=TOKENIZER_SEED)

    def step(rng: np.random.Generator, steps: int, progress: float) -> Tensor:
        images = draw_images(IMAGES_A_STEP, rng).to(memory_format=torch.channels_last)
        return coded_loss("tokenizer of scales", made, images, steps, progress)

    fit.run(step, name="tokenizer of scales")
    save_tokenizer(made, export)


def started_from(old: GridTransformer, quantizer: ScaleVq) -> ScaleTransformer:
    """An untrained transformer over the scales of `quantizer` with the words and layers of `old`.

    Its positions are those of `old` too; what enters a position, and the head, are new.
    """
    config = old.config
    new = ScaleTransformer(
        ScaleConfig(
            vocabulary=config.vocabulary,
            codes=quantizer.codes,
            dim=quantizer.dim,
            scales=quantizer.scales,
            caption_length=config.caption_length,
            width=config.width,
            layers=config.layers,
            heads=config.heads,
            hidden=config.hidden,
        )
    )
    known = new.state_dict()
    for name, tensor in old.state_dict().items():
        if name in known and not name.startswith("head."):
            known[name] = tensor
    new.load_state_dict(known)
    return new


def scale_loss(
    transformer: ScaleTransformer, quantizer: ScaleVq, words: Tensor, codes: Tensor
) -> Tensor:
    """Mean cross-entropy in nats of every code, given the codes of all coarser scales.

    `words` are caption tokens (sample, word), `codes` (sample, position) of all scales.
    """
    prefix = transformer.encode_caption(words)
    logits = transformer.all_logits(prefix, quantizer.contexts(codes))
    return F.cross_entropy(logits.flatten(0, 1), codes.flatten())


def fit_scales(out: Path, *, minutes: float, tokenizer: Path, start: Path, export: Path) -> None:
    """Train for `minutes`, checkpointing in `out`, and write the averaged weights to `export`.

    `tokenizer` is the file of the tokenizer of scales, `start` that of the any-order weights. An
    interrupted run goes on from its checkpoint.
    """
    codes_of = load_tokenizer(tokenizer)
    quantizer = cast(ScaleVq, codes_of.quantizer)
    torch.manual_seed(TRANSFORMER_SEED)
    transformer = started_from(load_transformer(start), quantizer)
    transformer.train().requires_grad_(True)
    optimisers, checkpoint = optimisers_of(transformer), out / "scales.pt"
    fit = Fit(transformer, optimisers, checkpoint, minutes=minutes, seed=TRANSFORMER_SEED)
    batch_of = batches(codes_of)

    def step(rng: np.random.Generator, steps: int, progress: float) -> Tensor:
        return scale_loss(transformer, quantizer, *batch_of(steps))

    averaged = fit.run(step, name="scales")
    save_transformer(cast(ScaleTransformer, averaged), export)
