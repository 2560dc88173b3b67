"""The figures of the model card: how they are computed, and floors under the shipped weights."""

import math

import numpy as np
import pytest
import torch

from generate.trio import evaluate, scenes, weights
from generate.trio.reference import load_reference
from generate.trio.stage_tokenizer import draw_images, render_batch
from generate.trio.tokenizer import load_tokenizer
from generate.trio.transformer import load_transformer
from generate.trio.wording_control import control


def test_decibels_of_a_known_error():
    image = torch.full((1, 3, 4, 4), 0.5)
    assert evaluate.peak_signal_to_noise(image, image + 0.1) == pytest.approx(20.0, abs=1e-4)


def test_the_reference_network_knows_the_attributes_of_fresh_renders():
    rng = np.random.default_rng(21)
    attributes = scenes.draw_attributes(300, rng)
    images = render_batch(attributes, scenes.draw_wordings(300, rng), rng)
    seen = load_reference().attributes(images)
    assert ((seen.numpy() == attributes).mean(0) >= 0.98).all()


def test_accuracy_counts_named_attributes_only():
    rng = np.random.default_rng(22)
    attributes = np.array([[0, 0, 1, 4, 0], [3, 5, 1, 4, 1]])
    images = render_batch(attributes, np.zeros((2, 3), int), rng)
    meanings = [{"shape": "circle", "colour": "red"}, {"shape": "square"}]
    accuracy = evaluate.attribute_accuracy(load_reference(), images, meanings)
    assert accuracy["shape"] == 0.5
    assert accuracy["colour"] == 1.0
    assert math.isnan(accuracy["size"])


def test_reconstructions_keep_every_attribute():
    figures = evaluate.reconstruction(load_tokenizer(), load_reference(), count=256, seed=23)
    assert figures["psnr_db"] > 31
    assert figures["code_perplexity"] > 80
    assert min(figures[f"{name}_reconstructed"] for name in scenes.ATTRIBUTES) > 0.96


@pytest.mark.parametrize("name", ["causal", "masked"])
def test_both_weights_use_the_caption(name):
    transformer = load_transformer(weights.SHIPPED / f"{name}.safetensors")
    losses = evaluate.caption_use(transformer, load_tokenizer(), count=128, seed=24)
    assert losses["loss_own_caption"] + 0.3 < losses["loss_shuffled_caption"]


def test_shipped_codes_decode_and_encode_back():
    tokenizer = load_tokenizer()
    with torch.inference_mode():
        codes = tokenizer.encode(draw_images(32, np.random.default_rng(25)))
        again = tokenizer.encode(tokenizer.decode(codes))
    assert (codes == again).float().mean() > 0.6


def test_wording_alone_widens_the_lightness_of_renders():
    """The control of the paraphrase probe: all attributes named, so only jitter and wording vary."""
    figures = control(prompts=20, samples=10, seed=0, all_named=True)
    assert figures["mixed"]["lightness_spread"] > 1.4 * figures["original"]["lightness_spread"]
    assert figures["mixed"]["pixel_cosine_distance"] > figures["original"]["pixel_cosine_distance"]
