"""`ibgenerate check`: a sound adapter passes, and every breach of the contract is named."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from typer.testing import CliRunner

from generate.cli import app
from generate.models.toy import Toy, ToyAutoregressive, ToyMasked
from generate.run.checking import CHECKS, check
from generate.study.probes import Probe
from generate.traversal.draw import Noise, PhiloxNoise
from generate.traversal.trace import Trace
from schemas.provenance import ModelIdentity

OPTIONS = ["positions=8", "codes=6"]


@pytest.mark.parametrize("name", ["toy-ar", "toy-masked", "toy-diffusion", "trio-ar"])
def test_a_sound_model_passes(name: str) -> None:
    done = CliRunner().invoke(app, ["check", name, "--device", "cpu"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert done.output.count("yes") == len(CHECKS) + 1


class Deaf(ToyMasked):
    """Does not hear the probe."""

    def traverse(self, conditioning: Tensor, probe: Probe, noise: Noise) -> Trace:
        return super().traverse(conditioning, Probe(), noise)


class Restless(ToyMasked):
    """Draws beside the noise that it is given."""

    calls = itertools.count()

    def traverse(self, conditioning: Tensor, probe: Probe, noise: Noise) -> Trace:
        keys = np.arange(len(conditioning), dtype=np.uint64) + np.uint64(1000 * next(self.calls))
        return super().traverse(conditioning, probe, PhiloxNoise(keys, keys))


class Sociable(ToyMasked):
    """Its rows look at each other."""

    def encode(self, texts: Sequence[str]) -> Any:
        return super().encode(["".join(texts)] * len(texts))


class Boastful(ToyMasked):
    """Counts bits twice."""

    def traverse(self, conditioning: Tensor, probe: Probe, noise: Noise) -> Trace:
        trace = super().traverse(conditioning, probe, noise)
        return replace(trace, token_entropy=2 * trace.token_entropy + 1)


class Wandering(ToyAutoregressive):
    """Draws with the noise of a path that it has not."""

    def traverse(self, conditioning: Tensor, probe: Probe, noise: Noise) -> Trace:
        return super().traverse(conditioning, probe, PhiloxNoise(noise.path_keys, noise.path_keys))


class Forgetful(ToyMasked):
    """Does not say at which step a position was committed."""

    def traverse(self, conditioning: Tensor, probe: Probe, noise: Noise) -> Trace:
        trace = super().traverse(conditioning, probe, noise)
        return replace(trace, token_step=None)


class Secretive(ToyMasked):
    """Records its path, and no option says so."""

    @classmethod
    def identify(cls, name: str, options: Any) -> ModelIdentity:
        identity = super().identify(name, options)
        said = dict(identity.options)
        del said["path_surprisal"]
        return identity.model_copy(update={"options": said})


class Blind(ToyMasked):
    """Decodes everything to one image."""

    def decode(self, tokens: Tensor) -> NDArray[np.uint8]:
        return super().decode(torch.zeros_like(tokens))


class Shapeless(ToyMasked):
    """Returns floats for images."""

    def decode(self, tokens: Tensor) -> Any:
        return super().decode(tokens) / 255


BREACHES: dict[type[Toy], list[str]] = {
    Deaf: ["a subset of the codebook", "argmax leaves no draw", "surprisal and entropy"],
    Restless: ["the same noise", "a sample does not depend"],
    Sociable: ["a sample does not depend"],
    Boastful: ["surprisal and entropy"],
    Wandering: ["the path is recorded"],
    Forgetful: ["the path is recorded"],
    Secretive: ["the path is recorded"],
    Blind: ["images follow"],
    Shapeless: ["shapes, types and ranges"],
}


@pytest.mark.parametrize("adapter", BREACHES)
def test_a_breach_is_named(adapter: type[Toy]) -> None:
    name = f"{__name__}:{adapter.__name__}"
    settings = {"positions": 8, "codes": 6}
    if issubclass(adapter, ToyMasked):
        settings["steps"] = 4
    found = check(name, adapter.options(settings), "cpu")
    wrong = [finding.what for finding in found if finding.problem]
    for what in BREACHES[adapter]:
        assert any(one.startswith(what) for one in wrong), wrong
    if adapter is not Restless:
        assert len(wrong) == len(BREACHES[adapter])
    done = CliRunner().invoke(app, ["check", name, "--option", "positions=8", "--device", "cpu"])
    assert done.exit_code == 1
    assert f"model '{name}' does not keep" in str(done.exception)
