"""Samples of the toys against their enumerated law."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy import stats

from generate.models import model_class
from generate.models.toy import Toy
from generate.models.toy_law import Law, enumerate_law
from generate.study.probes import Probe
from generate.traversal.draw import inverse_cdf
from generate.traversal.trace import Trace

TEXT = "a red ring"
ARGMAX = Probe(None, Fraction(0), Fraction(1))
SUBSET = Probe(np.array([True, False, True]))


class Stream:
    """Noise of a whole batch from one generator."""

    def __init__(self, seed: int, n_samples: int) -> None:
        self.rng, self.n_samples = np.random.default_rng(seed), n_samples

    def path(self, step: int, n: int) -> torch.Tensor:
        return torch.from_numpy(self.rng.random((self.n_samples, n)))

    def identities(self, step: int, probabilities: torch.Tensor) -> torch.Tensor:
        return inverse_cdf(
            probabilities, torch.from_numpy(self.rng.random(probabilities.shape[:2]))
        )


def toy(name: str, **options: object) -> Toy:
    adapter = model_class(name)
    chosen = adapter.options(options)
    model = adapter.load(adapter.identify(name, chosen), chosen, "cpu")
    assert isinstance(model, Toy)
    return model


def sample(model: Toy, n: int, probe: Probe | None = None, seed: int = 0) -> Trace:
    return model.traverse(model.encode([TEXT] * n), probe or Probe(), Stream(seed, n))


def events(trace: Trace, n_steps: int | None = None) -> list[tuple]:
    """(path, tokens) of each sample, for traversals that never revise a token.

    `n_steps` may be more than steps that change something; the last of these ends a path by default.
    """
    assert trace.token_step is not None
    steps, tokens = trace.token_step.numpy(), trace.tokens.numpy()
    n_steps = n_steps or int(steps.max()) + 1
    paths = [
        tuple(tuple(np.flatnonzero(row == step).tolist()) for step in range(n_steps))
        for row in steps
    ]
    return list(zip(paths, map(tuple, tokens.tolist()), strict=True))


def mean_agrees(values: torch.Tensor, expected: float) -> bool:
    """Within four standard errors, or exactly where there is no variation."""
    values = values.double()
    return (
        abs(values.mean().item() - expected) <= 4 * values.std().item() / len(values) ** 0.5 + 1e-5
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("toy-ar", {"positions": 5, "codes": 4}),
        ("toy-scales", {"steps": 2}),
        ("toy-scales", {"positions": 5, "steps": 3, "seed": 1}),
        ("toy-masked", {"path_surprisal": "none"}),
        ("toy-masked", {"path_surprisal": "none", "path_temperature": 0.05, "seed": 2}),
        ("toy-diffusion", {}),
        ("toy-diffusion", {"replaced": 0.2, "seed": 1}),
    ],
)
def test_samples_follow_the_enumerated_law(name: str, options: dict) -> None:
    """Chi-square on 1e5 draws; for diffusion the law is the one-stage posterior, the samples are two-stage."""
    model, n = toy(name, **options), 100_000
    law = enumerate_law(model, TEXT).token_law
    assert sum(law.values()) == pytest.approx(1.0, abs=1e-9)
    drawn = Counter(map(tuple, sample(model, n).tokens.tolist()))
    assert set(drawn) <= set(law)
    common = [z for z, p in law.items() if n * p >= 5]
    observed = [drawn[z] for z in common] + [n - sum(drawn[z] for z in common)]
    expected = [n * law[z] for z in common] + [n - sum(n * law[z] for z in common)]
    if expected[-1] < 5:
        observed, expected = (
            [*observed[:-2], sum(observed[-2:])],
            [*expected[:-2], sum(expected[-2:])],
        )
    assert stats.chisquare(observed, expected, sum_check=False).pvalue > 1e-3


@pytest.mark.parametrize("temperature", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("probe", [Probe(), SUBSET, ARGMAX], ids=["free", "subset", "argmax"])
def test_joint_surprisal_of_every_masked_sample_is_its_enumerated_probability(
    temperature: float, probe: Probe
) -> None:
    model = toy("toy-masked", path_temperature=temperature, seed=3)
    law, trace = enumerate_law(model, TEXT, probe), sample(model, 200, probe)
    assert trace.joint_surprisal is not None
    expected = [-np.log2(law.joint[event]) for event in events(trace)]
    assert trace.joint_surprisal.sum(dim=1).tolist() == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("probe", [Probe(), SUBSET, ARGMAX], ids=["free", "subset", "argmax"])
def test_path_surprisal_has_the_enumerated_mean_under_every_probe(probe: Probe) -> None:
    for options, quantity in (
        ({"path_surprisal": "exact"}, "path_causal"),
        (
            {"path_surprisal": "given_candidates"},
            "path_given_candidates",
        ),
    ):
        model = toy("toy-masked", seed=4, path_temperature=0.4, **options)
        trace = sample(model, 3000, probe)
        assert trace.path_surprisal is not None
        assert mean_agrees(
            trace.path_surprisal.sum(dim=1), getattr(enumerate_law(model, TEXT, probe), quantity)
        )


@pytest.mark.parametrize("probe", [Probe(), SUBSET, ARGMAX], ids=["free", "subset", "argmax"])
@pytest.mark.parametrize("replaced", [0.0, 0.2])
def test_diffusion_surprisals_have_the_enumerated_means(replaced: float, probe: Probe) -> None:
    model = toy("toy-diffusion", replaced=replaced, positions=3)
    law, trace = enumerate_law(model, TEXT, probe), sample(model, 20_000, probe)
    assert trace.path_surprisal is not None
    assert trace.joint_surprisal is not None
    assert mean_agrees(trace.path_surprisal.sum(dim=1), law.path_causal)
    assert mean_agrees(trace.joint_surprisal.sum(dim=1), law.path_causal + law.execution_causal)
    assert mean_agrees(trace.joint_surprisal[:, -1], law.final_step)
    if replaced == 0 and probe is not ARGMAX:
        assert mean_agrees(trace.token_surprisal.sum(dim=1), law.execution_marginal)


@pytest.mark.parametrize("name", ["toy-ar", "toy-scales", "toy-masked", "toy-diffusion"])
def test_a_subset_of_one_code_leaves_the_path_alone(name: str) -> None:
    trace = sample(toy(name), 50, Probe(np.array([False, True, False])))
    assert (trace.tokens == 1).all()
    assert (trace.token_surprisal == 0).all()
    assert (trace.token_entropy == 0).all()
    if trace.path_surprisal is not None:
        assert trace.joint_surprisal is not None
        assert torch.isfinite(trace.path_surprisal).all()
        torch.testing.assert_close(trace.joint_surprisal, trace.path_surprisal, rtol=0, atol=1e-5)


@pytest.mark.parametrize("probe", [Probe(), SUBSET], ids=["free", "subset"])
@pytest.mark.parametrize("name", ["toy-ar", "toy-scales"])
def test_surprisal_of_a_fixed_order_is_the_log_law_of_the_grid(name: str, probe: Probe) -> None:
    model = toy(name)
    law, trace = enumerate_law(model, TEXT, probe), sample(model, 300, probe)
    expected = [-np.log2(law.token_law[tuple(z)]) for z in trace.tokens.tolist()]
    assert trace.token_surprisal.sum(dim=1).tolist() == pytest.approx(expected, abs=1e-5)
    assert law.path == pytest.approx(0.0, abs=1e-12)
    assert mean_agrees(trace.token_entropy.sum(dim=1), law.tokens)


def check_order(law: Law) -> None:
    """Section 3 of the theory: what bounds what."""
    slack = 1e-9
    assert sum(law.joint.values()) == pytest.approx(1.0, abs=1e-6)
    assert law.path_causal + law.execution_causal == pytest.approx(law.both, abs=1e-6)
    assert law.path_given_candidates <= law.path_causal + slack
    assert law.path_causal <= law.path + slack
    assert law.execution_causal >= law.tokens_given_path - slack
    assert law.execution_marginal >= law.execution_causal - slack
    assert law.tokens <= law.both + slack


@pytest.mark.parametrize("seed", range(3))
def test_entropies_are_ordered_as_the_theory_says(seed: int) -> None:
    for temperature in (0.05, 1.0, 4.0):
        check_order(enumerate_law(toy("toy-masked", seed=seed, path_temperature=temperature), TEXT))
    check_order(enumerate_law(toy("toy-diffusion", seed=seed, positions=3), TEXT))
    check_order(enumerate_law(toy("toy-ar", seed=seed), TEXT))
    check_order(enumerate_law(toy("toy-scales", seed=seed), TEXT))


def test_revisions_make_the_trajectory_richer_than_path_and_tokens() -> None:
    law = enumerate_law(toy("toy-diffusion", replaced=0.3, positions=3), TEXT)
    assert law.path_causal + law.execution_causal > law.both + 0.1
