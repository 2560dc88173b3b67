"""Second stage of the recipe: fit the causal or the masked weights to tokens of fresh scenes."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from generate.trio import captions, scenes
from generate.trio.fitting import Fit
from generate.trio.muon import Muon
from generate.trio.stage_tokenizer import render_batch
from generate.trio.tokenizer import Tokenizer, load_tokenizer
from generate.trio.transformer import GridTransformer, TransformerConfig, save_transformer

BATCH = 64
BATCHES_AT_ONCE = 8  # rendered and coded together
SCENE_SEED = 6
UNNAMED = 0.35  # probability that a caption leaves an attribute open
CAPTION_DROPOUT = 0.1  # for classifier-free guidance
RATE = 3e-3


def draw_captions(
    attributes: NDArray[np.int64], wordings: NDArray[np.int64], rng: np.random.Generator
) -> list[str]:
    """A caption for each scene, in its wording.

    `attributes` are (count, 5) and `wordings` (count, 3) indices. Every attribute is left open with
    probability `UNNAMED`, one by one, so that a caption may name nothing but an object.
    """
    named = rng.random(attributes.shape) > UNNAMED
    texts = []
    for row, row_named, wording in zip(attributes, named, wordings, strict=True):
        meaning = {}
        for column, (name, values) in enumerate(scenes.ATTRIBUTES.items()):
            if row_named[column]:
                meaning[name] = values[row[column]]
        texts.append(captions.caption(meaning, wording, captions.draw_choice(wording, rng)))
    return texts


def draw_scenes(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Caption tokens (count, L) and images (count, 3, 32, 32) in [0, 1] of fresh scenes.

    Some captions are empty, for classifier-free guidance.
    """
    attributes, wordings = scenes.draw_attributes(count, rng), scenes.draw_wordings(count, rng)
    texts = draw_captions(attributes, wordings, rng)
    for index in np.flatnonzero(rng.random(count) < CAPTION_DROPOUT):
        texts[index] = ""
    images = render_batch(attributes, wordings, rng)
    return torch.from_numpy(captions.tokenise(texts)), images


def draw_samples(
    tokenizer: Tokenizer, count: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Caption tokens (count, L) and code tokens (count, N) of the scenes of `draw_scenes`.

    The tokens are those of `tokenizer`, in raster order.
    """
    words, images = draw_scenes(count, rng)
    with torch.no_grad():
        return words, tokenizer.encode(images).flatten(1)


def batches_of_like_length(
    words: Tensor, codes: Tensor, rng: np.random.Generator
) -> list[tuple[Tensor, Tensor]]:
    """Batches whose captions are about equally long, so that little padding is computed.

    `words` are (sample, word) and `codes` (sample, ...); batches come in random order, their
    words cut to the longest caption.
    """
    lengths = (words != captions.PAD).sum(1)
    batches = []
    for part in torch.split(lengths.argsort(), BATCH):
        batches.append((words[part, : lengths[part].max()], codes[part]))
    return [batches[index] for index in rng.permutation(len(batches))]


def loss(
    transformer: GridTransformer, words: Tensor, codes: Tensor, rng: np.random.Generator
) -> Tensor:
    """Mean cross-entropy in nats: of every token when causal, of the masked tokens otherwise.

    `words` are caption tokens (sample, word), `codes` (sample, position). The share of masked
    tokens is uniform, so the weights serve any order of unmasking.
    """
    prefix = transformer.encode_caption(words)
    if transformer.config.causal:
        logits = transformer.grid_logits(prefix, codes)
        return F.cross_entropy(logits.flatten(0, 1), codes.flatten())
    count, size = codes.shape
    n_masked = rng.integers(1, size + 1, count)
    order = rng.random((count, size)).argsort(1)
    masked = torch.from_numpy(order < n_masked[:, None])
    logits = transformer.grid_logits(prefix, codes.masked_fill(masked, transformer.config.codes))
    return F.cross_entropy(logits[masked], codes[masked])


def hidden_matrices(transformer: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Weights of the layers that are matrices, which Muon moves, and all other parameters.

    Every parameter is in one of the two: embeddings, head and norms in the second.
    """
    matrices: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in transformer.named_parameters():
        if name.startswith("layers.") and parameter.ndim >= 2:
            matrices.append(parameter)
        else:
            others.append(parameter)
    return matrices, others


def optimisers_of(transformer: nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for all else, at the rate of the trio."""
    hidden, others = hidden_matrices(transformer)
    return [
        Muon(hidden, lr=RATE, weight_decay=0.01),
        torch.optim.AdamW(others, lr=RATE, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def batches(codes_of: Tokenizer) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Caption tokens and codes of the batch of each step, which follow from its number alone."""

    @lru_cache(maxsize=1)
    def rendered(index: int) -> list[tuple[Tensor, Tensor]]:
        rng = np.random.default_rng([SCENE_SEED, index])
        return batches_of_like_length(*draw_samples(codes_of, BATCH * BATCHES_AT_ONCE, rng), rng)

    def batch_of(steps: int) -> tuple[Tensor, Tensor]:
        index, batch = divmod(steps, BATCHES_AT_ONCE)
        return rendered(index)[batch]

    return batch_of


def fit_transformer(
    out: Path, *, causal: bool, minutes: float, tokenizer: Path, export: Path
) -> None:
    """Train for `minutes`, checkpointing in `out`, and write the averaged weights to `export`.

    `tokenizer` is the file of the first stage. An interrupted run goes on from its checkpoint.
    """
    name = "causal" if causal else "masked"
    codes_of = load_tokenizer(tokenizer)
    torch.manual_seed(2)
    config = TransformerConfig(causal=causal, vocabulary=len(captions.VOCABULARY))
    transformer = GridTransformer(config)
    checkpoint = out / f"{name}.pt"
    fit = Fit(transformer, optimisers_of(transformer), checkpoint, minutes=minutes, seed=3)
    batch_of = batches(codes_of)

    def step(rng: np.random.Generator, steps: int, progress: float) -> Tensor:
        return loss(transformer, *batch_of(steps), rng)

    averaged = fit.run(step, name=name)
    assert isinstance(averaged, GridTransformer)
    save_transformer(averaged, export)
