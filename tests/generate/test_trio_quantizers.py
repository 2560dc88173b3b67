"""Members of the trio with each quantizer of the lab: any codebook size, probes and path bits as for VQ."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from generate.errors import ModelError
from generate.models import loaded, model_class
from generate.models.trio import Trio
from generate.prompts import load_prompts
from generate.run import blocks, preparing
from generate.study.noise import stream_keys
from generate.study.planning import plan
from generate.study.probes import Probe
from generate.study.study_file import load_study
from generate.traversal import PhiloxNoise
from generate.trio import evaluate, weights
from generate.trio.captions import VOCABULARY
from generate.trio.quantizers import LAB
from generate.trio.reference import load_reference
from generate.trio.tokenizer import load_tokenizer
from generate.trio.transformer import (
    GridTransformer,
    TransformerConfig,
    load_transformer,
    save_transformer,
)
from schemas.study import PromptSource, Study

QUANTIZERS = [name for name in LAB if name != "vq"]
TEXTS = [prompt.text for prompt in load_prompts(PromptSource(n=4), "study", base=Path())]
STUDIES = Path(__file__).parents[2] / "studies"


def load(name: str, **options: object) -> Trio:
    model = loaded(name, options)
    assert isinstance(model, Trio)
    return model


def sample(model: Trio, probe: Probe = Probe()):  # noqa: B008
    path, execution = (stream_keys(0, TEXTS, 1, role)[:, 0] for role in ("path", "execution"))
    return model.traverse(model.encode(TEXTS), probe, PhiloxNoise(path, execution))


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_codebook_and_mask_come_from_the_weights(quantizer: str) -> None:
    model = load("trio-mim", quantizer=quantizer, steps=4)
    codes = int(np.prod(LAB[quantizer].levels))
    assert model.identity.codebook_size == model.mask == codes
    assert tuple(model.identity.levels) == LAB[quantizer].levels
    assert model.identity.quantizer == LAB[quantizer].kind
    tokens = sample(model).tokens
    assert int(tokens.max()) < codes
    assert model.decode(tokens).shape == (4, 32, 32, 3)


@pytest.mark.parametrize("name", ["trio-mim", "trio-diffusion", "trio-raster"])
def test_no_disabled_code_of_240_is_drawn(name: str) -> None:
    steps = {} if name == "trio-raster" else {"steps": 4}
    model = load(name, quantizer="fsq-865", **steps)
    allowed = np.random.default_rng(1).random(240) < 0.3
    assert allowed[sample(model, Probe(allowed)).tokens.numpy()].all()
    argmax = sample(model, Probe(allowed, argmax_to=Fraction(1))).tokens
    assert allowed[argmax.numpy()].all()


def test_path_bits_are_exact_as_for_vq() -> None:
    for quantizer in ("vq", "bsq"):
        trace = sample(load("trio-mim", quantizer=quantizer, steps=4, path_surprisal="exact"))
        assert trace.path_surprisal is not None
        assert trace.path_surprisal.shape == (4, 4)
        assert (trace.path_surprisal[:, :-1] > 0).all()
        assert torch.allclose(trace.path_surprisal[:, -1], torch.zeros(4), atol=1e-3)


def test_a_member_without_such_weights_says_which_have_them() -> None:
    with pytest.raises(
        ModelError, match=r"causal weights of quantizer 'bsq' are not shipped: take"
    ):
        load("trio-ar", quantizer="bsq")


def test_a_prior_of_the_recipe_takes_the_place_of_the_shipped_one(tmp_path: Path) -> None:
    prior = tmp_path / "bits.safetensors"
    config = TransformerConfig(
        causal=False,
        vocabulary=len(VOCABULARY),
        width=16,
        layers=1,
        heads=2,
        hidden=16,
        bitwise=True,
    )
    torch.manual_seed(0)
    save_transformer(GridTransformer(config), prior)
    model = load("trio-diffusion", quantizer="lfq", steps=2, prior=str(prior))
    assert model.network.config.bitwise
    assert model.identity.options["prior"] == str(prior)
    assert model.identity.weights[-1].name == "bits.safetensors"
    assert int(sample(model).tokens.max()) < 256
    assert "prior" not in load("trio-diffusion", quantizer="lfq", steps=2).identity.options


@pytest.mark.parametrize("name", ["trio-mim", "trio-diffusion", "trio-raster"])
def test_independent_bits_are_drawn_where_codes_are_bits(name: str) -> None:
    """The surprisal of a token is minus the sum of log chances of its bits, so of a product law."""
    steps = {} if name == "trio-raster" else {"steps": 2}
    model = load(name, quantizer="bsq", guidance=1.0, independent_bits=True, **steps)
    assert model.identity.options["independent_bits"] is True
    grid = torch.full((len(TEXTS), 64), model.mask)
    law = model.grid_logits(model.encode(TEXTS), grid, 0).softmax(-1).double()
    bits = LAB["bsq"].make().digits(torch.arange(256)).double()
    ones = law @ bits
    product = torch.where(bits.bool(), ones[..., None, :], 1 - ones[..., None, :]).prod(-1)
    torch.testing.assert_close(law, product, atol=1e-6, rtol=1e-4)
    assert int(sample(model).tokens.max()) < 256


def test_codes_without_bits_are_refused() -> None:
    for quantizer in ("vq", "fsq", "fsq-865"):
        with pytest.raises(
            ModelError, match=rf"codes of quantizer '{quantizer}' are no bits: take"
        ):
            load("trio-mim", quantizer=quantizer, independent_bits=True)


def test_a_prior_that_does_not_fit_says_what_would(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"prior 'none.safetensors' is no file: give weights"):
        load("trio-mim", quantizer="lfq", prior="none.safetensors")
    for name, quantizer, file in (
        ("trio-mim", "fsq-865", "masked-lfq"),
        ("trio-mim", "vq", "causal"),
        ("trio-ar", "vq", "masked"),
    ):
        with pytest.raises(ModelError, match=rf"weights over \d+ codes: this member .*{quantizer}"):
            load(name, quantizer=quantizer, prior=str(weights.SHIPPED / f"{file}.safetensors"))
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"no weights")
    for file in (other, weights.SHIPPED / "tokenizer.safetensors"):
        with pytest.raises(ModelError, match="holds no transformer of the trio"):
            load("trio-mim", prior=str(file))


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_weights_of_the_lab_are_as_good_as_their_card(quantizer: str) -> None:
    tokenizer = load_tokenizer(weights.SHIPPED / weights.file_name("tokenizer", quantizer))
    figures = evaluate.reconstruction(tokenizer, load_reference(), count=256, seed=23)
    assert figures["psnr_db"] > LEAST_DECIBELS
    transformer = load_transformer(weights.SHIPPED / weights.file_name("masked", quantizer))
    losses = evaluate.caption_use(transformer, tokenizer, count=128, seed=24)
    assert losses["loss_own_caption"] + LEAST_NATS < losses["loss_shuffled_caption"]


LEAST_DECIBELS = 28.5
LEAST_NATS = 1.0


def test_weights_are_25_megabytes_together() -> None:
    sizes = [path.stat().st_size for path in weights.SHIPPED.glob("*.safetensors")]
    assert sum(sizes) <= 25e6


def test_factorial_and_crossed_noise_run_with_240_codes(tmp_path: Path) -> None:
    choice = {
        "model": "trio-diffusion",
        "options": {"quantizer": "fsq-865", "guidance": 1.0, "steps": 3},
    }
    study = Study.model_validate(
        {
            "name": "lab",
            "samples": 2,
            "models": [choice],
            "prompts": {"n": 2},
            "calibration": {"source": "encoded", "n": 64},
            "experiments": {
                "factorial": {"paraphrases": 2},
                "crossed": {"kind": "crossed_noise", "paths": 2, "executions": 2},
            },
        }
    )
    laid_out = plan(study, tmp_path)
    store = preparing.prepare(laid_out, tmp_path / "run")
    assert blocks.run(laid_out, store).failed == 0
    keep = store.fixed("trio-diffusion", "factorial")["codebook_keep"]
    assert sorted(set(keep.sum(1))) == [120, 240]
    for block in store.run.blocks():
        if block.experiment == "factorial":
            tokens = store.arrays(block)["tokens"][block.condition]
            assert keep[block.condition][tokens].all()


def test_the_study_of_the_lab_can_be_planned() -> None:
    laid_out = plan(*load_study(str(STUDIES / "quantizers.yaml")))
    assert len(laid_out.models) == 3 * len(LAB)
    for choice in laid_out.study.models:
        adapter = model_class(choice.model)
        adapter.identify(choice.model, adapter.options(choice.options))
