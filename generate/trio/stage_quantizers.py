"""Stages of the lab of quantizers: tokenizers from one trunk, then a prior for each of them.

All tokenizers start from one continuous autoencoder whose bottleneck knows no code, with a new
bottleneck each, and see the same batches in the same number of steps. Each prior starts from the
any-order weights of the shipped tokenizer, its vocabulary translated (`translate`).
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from generate.trio import weights
from generate.trio.fitting import Fit
from generate.trio.quantizers import DIALS, LAB, Geometry
from generate.trio.stage_tokenizer import BATCH as IMAGES_A_STEP
from generate.trio.stage_tokenizer import coded_loss, draw_images, restoration_loss
from generate.trio.stage_transformer import BATCH as CAPTIONS_A_STEP
from generate.trio.stage_transformer import (
    BATCHES_AT_ONCE,
    batches_of_like_length,
    draw_scenes,
    loss,
    optimisers_of,
)
from generate.trio.tokenizer import Tokenizer, TokenizerConfig, load_tokenizer, save_tokenizer
from generate.trio.transformer import (
    BitwiseHead,
    GridTransformer,
    TransformerConfig,
    load_transformer,
    save_transformer,
)

TRUNK_SHARE = 0.5  # of the steps of the forks
COUNTED_SCENES = 3_072  # coded by both tokenizers, to translate one vocabulary into the other
PRIOR_SEED = 7
PRIOR_REPORT_STEPS = 25
SHIPPED_VQ = "vq"
"""The quantizer whose weights the trio ships; the lab's own is a control and has no prior."""
BITWISE = ("lfq", "bsq")
"""The quantizers whose codes are bits."""


def _matched(network: nn.Module) -> torch.optim.AdamW:
    return torch.optim.AdamW(network.parameters(), lr=2e-3, betas=(0.9, 0.98), weight_decay=1e-3)


def fit_trunk(out: Path, *, length: int, seed: int) -> Tokenizer:
    """A continuous autoencoder after `length` steps: the vectors it decodes are the latents.

    The sizes are a tokenizer's; its quantizer is not used.
    """
    torch.manual_seed(seed)
    trunk = Tokenizer().to(memory_format=torch.channels_last)
    fit = Fit(trunk, [_matched(trunk)], out / "trunk.pt", length=length, seed=seed)

    def step(rng: np.random.Generator, steps: int, progress: float) -> Tensor:
        images = draw_images(IMAGES_A_STEP, rng).to(memory_format=torch.channels_last)
        restored = trunk.images(trunk.latents(images))
        return restoration_loss(restored, images)

    fit.run(step, name="trunk")
    return trunk


def fork(trunk: Tokenizer, geometry: Geometry) -> Tokenizer:
    """A tokenizer with the body of `trunk` and a bottleneck of its own.

    New are the last convolution of the encoder and the first of the decoder, for every quantizer
    alike.
    """
    kind, levels = geometry
    forked = Tokenizer(TokenizerConfig(quantizer=kind, levels=levels))
    forked.encoder[:-1].load_state_dict(trunk.encoder[:-1].state_dict())
    forked.decoder[1:].load_state_dict(trunk.decoder[1:].state_dict())
    return forked.to(memory_format=torch.channels_last)


def fit_forks(
    geometries: Mapping[str, Geometry], checkpoint: Path, *, length: int, seed: int
) -> Iterator[tuple[str, Tokenizer]]:
    """Train forks of one trunk side by side, and give each with its name.

    The trunk has `TRUNK_SHARE` of the `length` in steps, and the forks see the same batches. An
    interrupted run goes on from its `checkpoint`; that of the trunk lies beside it.
    """
    trunk = fit_trunk(checkpoint.parent, length=max(1, round(TRUNK_SHARE * length)), seed=2 * seed)
    torch.manual_seed(2 * seed + 1)
    forks = nn.ModuleDict()
    for name, geometry in geometries.items():
        forks[name] = fork(trunk, geometry)
    optimisers = [_matched(each) for each in forks.values()]
    fit = Fit(forks, optimisers, checkpoint, length=length, seed=2 * seed + 1, apart=True)

    def step(rng: np.random.Generator, steps: int, progress: float) -> Tensor:
        images = draw_images(IMAGES_A_STEP, rng).to(memory_format=torch.channels_last)
        losses = []
        for name, tokenizer in forks.items():
            losses.append(coded_loss(name, cast(Tokenizer, tokenizer), images, steps, progress))
        return torch.stack(losses).sum()

    fit.run(step, name="tokenizers")
    for name, tokenizer in forks.items():
        yield name, cast(Tokenizer, tokenizer)


def fit_tokenizers(out: Path, *, length: int, seed: int, export: Path) -> None:
    """Train all tokenizers of `LAB` side by side for `length` steps and write them to `export`.

    Checkpoints lie in `out`, and so does the tokenizer of the lab's own `vq`, which is a control.
    An interrupted run goes on from its checkpoint.
    """
    for name, tokenizer in fit_forks(LAB, out / "tokenizers.pt", length=length, seed=seed):
        folder = out if name == SHIPPED_VQ else export
        save_tokenizer(tokenizer, folder / weights.file_name("tokenizer", name))


def fit_dials(out: Path, *, length: int, seed: int) -> None:
    """Train a tokenizer for each of `DIALS` for `length` steps, and write it to `out`.

    An interrupted run goes on from its checkpoint there.
    """
    for name, tokenizer in fit_forks(DIALS, out / "dials.pt", length=length, seed=seed):
        save_tokenizer(tokenizer, out / weights.file_name("tokenizer", name))


def count_pairs(one: Tokenizer, other: Tokenizer, images: Tensor) -> Tensor:
    """How often (code of `one`, code of `other`) stand at one place of `images`, float32."""
    with torch.no_grad():
        pairs = one.encode(images) * other.codes + other.encode(images)
    counts = pairs.flatten().bincount(minlength=one.codes * other.codes)
    return counts.view(one.codes, other.codes).float()


def smoothed(counts: Tensor) -> Tensor:
    """The law of codes of which there are so many `counts` (code,), with half a token more of each.

    >>> smoothed(torch.tensor([0.0, 1.0])).tolist()
    [0.25, 0.75]
    """
    return (counts + 0.5) / (counts.sum() + 0.5 * len(counts))


def translate(old: GridTransformer, counts: Tensor) -> GridTransformer:
    """`old` with another vocabulary: embeddings and head are means over the old codes seen with it.

    `counts` are (new code, old code), as of `count_pairs`; half a token of the overall law of the
    old codes is added to each new code, so one never seen is the mean of all. The head's bias is
    translated relative to that law and set on that of the new codes. The rest of the network, the
    mask included, is the old one's. Nothing is trained.
    """
    config = dict(vars(old.config), codes=len(counts))
    new = GridTransformer(TransformerConfig(**config))
    state = dict(old.state_dict())
    law_old, law_new = smoothed(counts.sum(0)), smoothed(counts.sum(1))
    given_new = (counts + 0.5 * law_old) / (counts.sum(1, keepdim=True) + 0.5)
    codes, mask = state["code.weight"][:-1], state["code.weight"][-1:]
    state["code.weight"] = torch.cat([given_new @ codes, mask])
    state["head.weight"] = given_new @ state["head.weight"]
    state["head.bias"] = given_new @ (state["head.bias"] - law_old.log()) + law_new.log()
    new.load_state_dict(state)
    return new


def with_bitwise_head(old: GridTransformer, law: Tensor) -> GridTransformer:
    """`old` with a `BitwiseHead` whose logits are nearest to the old ones.

    Nearest in squares, up to a constant of each context, weighted by `law` (code,), how often a code
    occurs. Nothing is trained. Raises ValueError for codes that are no power of two.
    """
    config = dict(vars(old.config), bitwise=True)
    new = GridTransformer(TransformerConfig(**config))
    state = dict(old.state_dict())
    ones = cast(BitwiseHead, new.head).ones
    design = torch.cat([ones, torch.ones(len(ones), 1)], 1) * law.sqrt()[:, None]
    head = torch.cat([state["head.weight"], state["head.bias"][:, None]], 1)
    fitted = torch.linalg.lstsq(design, head * law.sqrt()[:, None]).solution[:-1]
    state["head.weight"], state["head.bias"] = fitted[:, :-1], fitted[:, -1]
    new.load_state_dict(state)
    return new


class Start(NamedTuple):
    """A prior before its training, and the tokenizer whose codes it is of."""

    tokenizer: Tokenizer
    prior: GridTransformer


def translations(names: Sequence[str], tokenizers: Path) -> dict[str, tuple[Start, Tensor]]:
    """For each quantizer the shipped any-order weights, translated, and how often codes occur.

    `tokenizers` is the folder of the tokenizers, the shipped one and its any-order weights among
    them. The law (code,) adds to 1 and is nowhere 0.
    """
    old_tokenizer = load_tokenizer(tokenizers / weights.file_name("tokenizer", SHIPPED_VQ))
    old = load_transformer(tokenizers / weights.file_name("masked", SHIPPED_VQ))
    counted = draw_images(COUNTED_SCENES, np.random.default_rng([PRIOR_SEED, 0]))
    found = {}
    for name in names:
        tokenizer = load_tokenizer(tokenizers / weights.file_name("tokenizer", name))
        counts = count_pairs(tokenizer, old_tokenizer, counted)
        found[name] = Start(tokenizer, translate(old, counts)), smoothed(counts.sum(1))
    return found


def fit_from(
    starts: Mapping[str, Start], checkpoint: Path, *, length: int
) -> Iterator[tuple[str, GridTransformer]]:
    """Train priors side by side for `length` steps, and give each with its name, averaged.

    All see the same scenes and the same masks. An interrupted run goes on from its `checkpoint`.
    """
    priors = nn.ModuleDict()
    optimisers: list[torch.optim.Optimizer] = []
    for name, start in starts.items():
        optimisers += optimisers_of(start.prior)
        priors[name] = start.prior
    fit = Fit(priors, optimisers, checkpoint, length=length, seed=PRIOR_SEED, apart=True)

    @lru_cache(maxsize=1)
    def rendered(index: int) -> list[tuple[Tensor, Tensor]]:
        rng = np.random.default_rng([PRIOR_SEED, 1, index])
        words, images = draw_scenes(CAPTIONS_A_STEP * BATCHES_AT_ONCE, rng)
        with torch.no_grad():
            each = [start.tokenizer.encode(images).flatten(1) for start in starts.values()]
        return batches_of_like_length(words, torch.stack(each, 1), rng)

    def step(rng: np.random.Generator, steps: int, progress: float) -> Tensor:
        index, batch = divmod(steps, BATCHES_AT_ONCE)
        words, codes = rendered(index)[batch]
        masks = int(rng.integers(2**63))  # the same for all
        losses = []
        for prior, its_codes in zip(priors.values(), codes.unbind(1), strict=True):
            same = np.random.default_rng(masks)
            losses.append(loss(cast(GridTransformer, prior), words, its_codes, same))
        if steps % PRIOR_REPORT_STEPS == 0:
            shown = [f"{name} {each.item():.3f}" for name, each in zip(starts, losses, strict=True)]
            print(f"priors: step {steps}, nats a token: {', '.join(shown)}", flush=True)
        return torch.stack(losses).sum()

    averaged = cast(nn.ModuleDict, fit.run(step, name="priors"))
    for name, trained in averaged.items():
        yield name, cast(GridTransformer, trained)


def fit_priors(out: Path, *, length: int, tokenizers: Path, export: Path) -> None:
    """Train a prior for every tokenizer of the lab, `length` steps each on the same scenes.

    They start from `translations`; the averaged weights are written to `export`. An interrupted run
    goes on from its checkpoint in `out`.
    """
    names = [name for name in LAB if name != SHIPPED_VQ]
    starts = {name: start for name, (start, _) in translations(names, tokenizers).items()}
    for name, trained in fit_from(starts, out / "priors.pt", length=length):
        save_transformer(trained, export / weights.file_name("masked", name))


def fit_heads(out: Path, *, length: int, tokenizers: Path) -> None:
    """Train priors of `BITWISE` with a logit a code and with one a bit, `length` steps each.

    Both start from one translation (`translations`, `with_bitwise_head`) and see the same scenes. The
    averaged weights are written to `out`: `masked-NAME` and `masked-NAME-bitwise`. An interrupted
    run goes on from its checkpoint there.
    """
    starts = {}
    for name, (start, law) in translations(BITWISE, tokenizers).items():
        starts[name] = start
        starts[f"{name}-bitwise"] = start._replace(prior=with_bitwise_head(start.prior, law))
    for name, trained in fit_from(starts, out / "heads.pt", length=length):
        save_transformer(trained, out / weights.file_name("masked", name))
