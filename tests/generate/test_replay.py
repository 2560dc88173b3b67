"""Importance weights of replayed tokens against the enumerated law of the toys."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from generate.models.toy import Toy
from generate.models.toy_law import enumerate_law
from generate.study.probes import Probe
from generate.traversal.draw import PhiloxNoise
from generate.traversal.replay import Replay
from generate.traversal.trace import Trace
from tests.generate.test_toy_law import ARGMAX, SUBSET, TEXT, events, toy

MODELS = [
    ("toy-masked", {"path_temperature": 1.0}),
    ("toy-masked", {"path_temperature": 0.0, "seed": 3}),
    ("toy-diffusion", {"positions": 3}),
    ("toy-diffusion", {"positions": 3, "replaced": 0.2, "seed": 1}),
]
PROBES = {
    "free": Probe(),
    "subset": SUBSET,
    "argmax": ARGMAX,
    "late argmax": Probe(None, Fraction(1, 2), Fraction(1)),
}


def philox(n: int, seed: int = 0) -> PhiloxNoise:
    keys = np.random.default_rng(seed).integers(0, 2**63, size=(2, n)).astype(np.uint64)
    return PhiloxNoise(keys[0], keys[1])


def log_weights(trace: Trace) -> np.ndarray:
    assert trace.joint_surprisal is not None
    assert trace.proposal_surprisal is not None
    return (trace.proposal_surprisal - trace.joint_surprisal).sum(dim=1).numpy()


ESTIMABLE = [
    pytest.param(name, options, probe, id=f"{name}-{index}-{label}")
    for index, (name, options) in enumerate(MODELS)
    for label, probe in PROBES.items()
    if not ("replaced" in options and "argmax" in label)
]
"""Under argmax, paths with revisions that carry most of the weight are too rare for a mean to find."""


@pytest.mark.parametrize(("name", "options", "probe"), ESTIMABLE)
def test_the_mean_weight_of_proposed_paths_is_the_probability_of_the_tokens(
    name: str, options: dict, probe: Probe
) -> None:
    """Some of the grids that can occur, to six standard errors; weights with revisions have long tails."""
    model, n = toy(name, **options), 1000 if name == "toy-masked" else 10_000
    law = {z: p for z, p in enumerate_law(model, TEXT, probe).token_law.items() if p > 1e-6}
    for z in list(law)[:: max(1, len(law) // 4)]:
        noise = philox(n, seed=sum(z))
        replayed = model.traverse(
            model.encode([TEXT] * n), probe, Replay(torch.tensor([z] * n), noise)
        )
        assert (replayed.tokens == torch.tensor(z)).all()
        weight = np.exp2(log_weights(replayed))
        error = weight.std() / n**0.5
        assert weight.mean() == pytest.approx(law[z], abs=6 * error + 1e-5 * law[z])


@pytest.mark.parametrize(("name", "options"), MODELS)
@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES)
def test_replaying_the_path_that_was_sampled_gives_its_joint_surprisal(
    name: str, options: dict, probe: Probe
) -> None:
    model, n = toy(name, **options), 300
    noise, conditioning = philox(n), model.encode([TEXT] * n)
    sampled = model.traverse(conditioning, probe, noise)
    replayed = model.traverse(
        conditioning, probe, Replay(sampled.tokens, noise, sampled.token_step)
    )
    assert torch.equal(replayed.tokens, sampled.tokens)
    for name_of in ("joint_surprisal", "path_surprisal"):
        one, other = getattr(replayed, name_of), getattr(sampled, name_of)
        torch.testing.assert_close(one.float(), other.float(), rtol=1e-4, atol=1e-4)
    assert np.isfinite(log_weights(replayed)).all()


def test_a_masked_path_has_its_enumerated_joint_probability() -> None:
    model, n = toy("toy-masked", seed=5, path_surprisal="none"), 200
    noise, conditioning = philox(n), model.encode([TEXT] * n)
    sampled = model.traverse(conditioning, Probe(), noise)
    replayed = model.traverse(
        conditioning, Probe(), Replay(sampled.tokens, noise, sampled.token_step)
    )
    law = enumerate_law(model, TEXT)
    assert replayed.joint_surprisal is not None
    expected = [-np.log2(law.joint[event]) for event in events(sampled)]
    assert replayed.joint_surprisal.sum(dim=1).tolist() == pytest.approx(expected, abs=1e-5)


def bounds(model: Toy, n_images: int, n_paths: int) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower estimates of H(Z) in bits with 1, 2, 4, ... paths, over freshly sampled images."""
    noise, texts = philox(n_images, seed=7), [TEXT] * n_images
    sampled = model.traverse(model.encode(texts), Probe(), noise)
    own = log_weights(
        model.traverse(
            model.encode(texts), Probe(), Replay(sampled.tokens, noise, sampled.token_step)
        )
    )
    many = sampled.tokens.repeat_interleave(n_paths, dim=0)
    replay = Replay(many, philox(len(many), seed=8))
    others = log_weights(model.traverse(model.encode([TEXT] * len(many)), Probe(), replay)).reshape(
        n_images, n_paths
    )
    upper, lower = [], []
    for k in 2 ** np.arange(int(np.log2(n_paths)) + 1):
        upper.append(-np.log2(np.exp2(others[:, :k]).mean(axis=1)).mean())
        lower.append(-np.log2(np.exp2(np.c_[own, others[:, : k - 1]]).mean(axis=1)).mean())
    return np.array(upper), np.array(lower)


WARM = [MODELS[0], *MODELS[2:]]


@pytest.mark.parametrize(("name", "options"), WARM)
def test_the_bounds_hold_the_enumerated_entropy_and_close_in_on_it(
    name: str, options: dict
) -> None:
    model, n_images = toy(name, **options), 1000
    exact = enumerate_law(model, TEXT).tokens
    upper, lower = bounds(model, n_images, 8)
    slack = 4 * 2.0 / n_images**0.5  # spread of an image's surprisal is at most that of two bits
    assert (upper > exact - slack).all()
    assert (lower < exact + slack).all()
    assert (np.diff(upper) < 0.01).all()
    assert (np.diff(lower) > -0.01).all()
    assert (upper - lower)[-1] < 0.6 * (upper - lower)[0]
