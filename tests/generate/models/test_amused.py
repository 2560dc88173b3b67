from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from generate.models.amused import Amused
from generate.study.probes import Probe
from tests.generate.parity import ParityNoise

TEXTS = ["a red cat", "dog", "a dog and a very red cat " * 12]
SEEDS = [1, 2, 3]


@pytest.fixture(scope="module")
def model(amused_folder: Path) -> Amused:
    options = Amused.options({"checkpoint": str(amused_folder)})
    return Amused.load(Amused.identify("amused", options), options, "cpu")


def test_tokens_and_pixels_equal_those_of_the_upstream_pipeline(
    model: Amused, amused_folder: Path
) -> None:
    from diffusers import AmusedPipeline

    pipeline = AmusedPipeline.from_pretrained(amused_folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    trace = model.traverse(model.encode(TEXTS), Probe(), ParityNoise(SEEDS))
    for text, seed, tokens in zip(TEXTS, SEEDS, trace.tokens, strict=True):
        generator = torch.Generator().manual_seed(seed)
        latent = pipeline(text, generator=generator, output_type="latent").images[0]
        assert torch.equal(tokens, latent.flatten())
    whole = pipeline(text, generator=torch.Generator().manual_seed(seed), output_type="np").images[
        0
    ]
    assert np.array_equal(model.decode(tokens[None])[0], (whole * 255).round().astype(np.uint8))
