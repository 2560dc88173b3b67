"""The trio's next-scale member: its quantizer, its transformer, its training and what it samples."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from generate.models import model_class
from generate.models.trio_scales import SIZES, TrioScales
from generate.study.probes import Probe
from generate.traversal.replay import Replay
from generate.trio import weights
from generate.trio.evaluate import family_accuracy, reconstruction
from generate.trio.reference import load_reference
from generate.trio.scale_quantizer import ScaleVq
from generate.trio.scale_transformer import ScaleConfig, ScaleTransformer, load_scales
from generate.trio.stage_scales import fit_scale_tokenizer, fit_scales
from generate.trio.tokenizer import TokenizerConfig, load_tokenizer
from tests.generate.test_replay import philox

TEXTS = ["a large red circle at the top left on a black background", "a small square"] * 2
FREE, ARGMAX = Probe(), Probe(argmax_to=Fraction(1))


@pytest.fixture(scope="module")
def model() -> TrioScales:
    adapter = model_class("trio-var")
    options = adapter.options({"guidance": 1.0})
    loaded = adapter.load(adapter.identify("trio-var", options), options, "cpu")
    assert isinstance(loaded, TrioScales)
    return loaded


def small() -> ScaleVq:
    torch.manual_seed(0)
    return ScaleVq((8,), scales=(1, 2, 4), dim=3)


def test_each_scale_codes_what_the_coarser_ones_left() -> None:
    """A plain walk over the scales: mean of the rest over each cell, nearest code, interpolated away."""
    quantizer = small()
    latents = torch.randn(2, 4, 4, 3)
    rest = torch.nn.functional.normalize(latents, dim=-1).permute(0, 3, 1, 2)
    expected = []
    for scale, side in enumerate((1, 2, 4)):
        cell = 4 // side
        means = rest.unflatten(2, (side, cell)).unflatten(4, (side, cell)).mean((3, 5))
        flat = means.flatten(2).mT
        ids = (flat[:, :, None] - quantizer.codebook).square().sum(-1).argmin(-1)
        expected.append(ids)
        vectors = quantizer.codebook[ids].mT.unflatten(2, (side, side))
        if cell > 1:
            vectors = torch.nn.functional.interpolate(vectors, size=4, mode="bicubic")
        convolution = cast(torch.nn.Conv2d, quantizer.refine[scale])
        rest = rest - vectors - convolution(vectors)
    assert torch.equal(quantizer.encode(latents), torch.cat(expected, 1))
    whole = torch.nn.functional.normalize(latents, dim=-1) - rest.permute(0, 2, 3, 1)
    torch.testing.assert_close(quantizer.vectors(torch.cat(expected, 1)), whole)


def test_training_brings_the_sum_of_scales_nearer_to_the_latents() -> None:
    torch.manual_seed(0)
    quantizer = ScaleVq((64,), scales=(1, 2, 4), dim=3)
    latents = torch.randn(64, 4, 4, 3)
    quantizer.train()
    errors = []
    for _ in range(100):
        quantised = quantizer(latents, 0.9)
        errors.append(float((quantised.vectors - quantizer.project(latents)).square().mean()))
    assert errors[-1] < 0.8 * errors[0]
    quantizer.eval()
    assert torch.equal(quantizer(latents).ids, quantizer.encode(latents))
    assert float(quantizer(latents).loss) == 0


def test_codes_that_fall_out_of_use_restart() -> None:
    quantizer = ScaleVq((64,), scales=(1, 2, 4), dim=3)
    quantizer.train()
    quantizer(torch.randn(64, 4, 4, 3))
    quantizer.codebook[:10] = 100.0
    quantizer.usage[:10] = 0.0
    quantizer(torch.randn(64, 4, 4, 3), 0.1)
    assert float(quantizer.codebook.abs().max()) <= 3


@pytest.mark.parametrize("scales", [(), (2, 1), (1, 1, 2), (0, 2)])
def test_scales_that_do_not_rise_are_refused(scales: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="give rising sides of square grids"):
        ScaleVq((8,), scales=scales)


def test_a_quantizer_of_digits_has_no_scales() -> None:
    with pytest.raises(ValueError, match="quantizer is 'fsq': of several scales there is vq alone"):
        TokenizerConfig(quantizer="fsq", levels=(4, 4), scales=(1, 2)).make_quantizer()


def test_scale_by_scale_gives_the_logits_of_all_scales_at_once() -> None:
    """And those of a scale do not depend on its own codes, nor on later ones."""
    torch.manual_seed(1)
    quantizer = small()
    config = ScaleConfig(
        vocabulary=9, codes=8, scales=(1, 2, 4), dim=3, width=16, layers=2, heads=2, hidden=24
    )
    network = ScaleTransformer(config).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    words = torch.tensor([[1, 4, 5, 0], [1, 7, 2, 3]])
    ids = torch.randint(8, (2, 21))
    with torch.no_grad():
        prefix = network.encode_caption(words)
        at_once = network.all_logits(prefix, quantizer.contexts(ids))
        cache, parts = network.cache(prefix), torch.split(ids, network.sizes, dim=1)
        total = torch.zeros(2, 3, 4, 4)
        walked = []
        for scale in range(3):
            context = None if scale == 0 else quantizer.pooled(total, scale)
            walked.append(network.scale_logits(cache, context, scale))
            total = total + quantizer.added(parts[scale], scale)
        torch.testing.assert_close(torch.cat(walked, 1), at_once, rtol=1e-4, atol=1e-4)
        other = ids.clone()
        other[:, 1:] = (other[:, 1:] + 1) % 8
        changed = network.all_logits(prefix, quantizer.contexts(other))
        torch.testing.assert_close(changed[:, :5], at_once[:, :5])
        assert (changed[:, 5:] - at_once[:, 5:]).abs().max() > 1e-3


def test_both_stages_train_resume_and_export(tmp_path: Path) -> None:
    shipped = weights.SHIPPED
    tokenizer, network = tmp_path / "tokenizer.safetensors", tmp_path / "scales.safetensors"
    for length in (1, 2):
        fit_scale_tokenizer(
            tmp_path, length=length, tokenizer=shipped / "tokenizer.safetensors", export=tokenizer
        )
    assert load_tokenizer(tokenizer).config.scales == (1, 2, 3, 5, 8)
    for minutes in (1e-6, 2e-6):
        fit_scales(
            tmp_path,
            minutes=minutes,
            tokenizer=tokenizer,
            start=shipped / "masked.safetensors",
            export=network,
        )
    assert load_scales(network).sizes == SIZES
    assert torch.load(tmp_path / "tokenizer-scales.pt")["steps"] == 2


def test_a_sample_is_the_same_alone_and_in_a_batch(model: TrioScales) -> None:
    texts = TEXTS * 4
    noise = philox(16)
    whole = model.traverse(model.encode(texts), FREE, noise)
    one = type(noise)(noise.path_keys[5:6], noise.execution_keys[5:6])
    alone = model.traverse(model.encode(texts[5:6]), FREE, one)
    assert torch.equal(alone.tokens, whole.tokens[5:6])
    assert whole.token_step is not None
    assert torch.equal(torch.bincount(whole.token_step[0]), torch.tensor(SIZES))


def test_probes_reach_the_scales(model: TrioScales) -> None:
    conditioning = model.encode([TEXTS[0]] * 6)
    argmax = model.traverse(conditioning, ARGMAX, philox(6)).tokens
    assert len(argmax.unique(dim=0)) == 1
    allowed = np.random.default_rng(1).random(256) < 0.3
    subset = model.traverse(conditioning, Probe(allowed), philox(6)).tokens
    assert allowed[subset.numpy()].all()
    free = model.traverse(conditioning, FREE, philox(6)).tokens
    late = Probe(argmax_from=Fraction(3, 5), argmax_to=Fraction(1))
    kept = model.traverse(conditioning, late, philox(6)).tokens
    assert torch.equal(kept[:, :14], free[:, :14])
    assert not torch.equal(kept[:, 14:], free[:, 14:])


def test_a_replay_scores_what_was_drawn(model: TrioScales) -> None:
    conditioning, noise = model.encode(TEXTS), philox(4)
    drawn = model.traverse(conditioning, FREE, noise)
    replayed = model.traverse(conditioning, FREE, Replay(drawn.tokens, noise))
    assert replayed.joint_surprisal is not None
    torch.testing.assert_close(
        replayed.joint_surprisal.sum(1).float(), drawn.token_surprisal.sum(1), rtol=1e-3, atol=1e-2
    )


def test_guidance_and_images_of_real_scenes(model: TrioScales) -> None:
    codes = np.concatenate(list(model.codes_of_images(300, seed=0)))
    assert codes.shape == (300, 103)
    assert model.decode(torch.from_numpy(codes[:2])).shape == (2, 32, 32, 3)
    adapter = model_class("trio-var")
    options = adapter.options({})
    guided = adapter.load(adapter.identify("trio-var", options), options, "cpu")
    tokens = guided.traverse(guided.encode(TEXTS), FREE, philox(4)).tokens
    assert not torch.equal(tokens, model.traverse(model.encode(TEXTS), FREE, philox(4)).tokens)


def test_the_tokenizer_restores_scenes() -> None:
    tokenizer = load_tokenizer(weights.SHIPPED / "tokenizer-scales.safetensors")
    figures = reconstruction(tokenizer, load_reference(), count=256, seed=1)
    assert figures["psnr_db"] > 31
    for name in ("shape", "colour", "size", "position", "background"):
        assert figures[f"{name}_reconstructed"] > 0.95


def test_samples_show_what_their_captions_name() -> None:
    """Floors of the other members, for 256 samples with the default guidance."""
    shares = family_accuracy("trio-var", load_reference(), prompts=64, samples=4, seed=3)
    floors = {"shape": 0.75, "colour": 0.9, "position": 0.9, "background": 0.95}
    for name, floor in floors.items():
        assert shares[name] >= floor, (name, shares)
