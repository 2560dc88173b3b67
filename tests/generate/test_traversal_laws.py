"""Sampled grids follow the law that enumeration gives."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from generate.study.noise import stream_keys
from generate.study.probes import Probe
from generate.traversal import autoregressive, diffusion, masked
from generate.traversal.draw import PhiloxNoise, TokenLaw
from generate.traversal.trace import Trace
from generate.traversal.transition import Schedule, absorbing
from tests.generate.table import N_CODES, N_POSITIONS, table_logits
from tests.reference import traversal_laws

N_SAMPLES = 10_000
SUBSET = np.array([True, False, True])
LAW = TokenLaw(temperature=0.8)


def noise(n: int = N_SAMPLES, seed: int = 0) -> PhiloxNoise:
    return PhiloxNoise(
        stream_keys(seed, ["toy"], n, "path")[0],
        stream_keys(seed, ["toy"], n, "execution")[0],
    )


def law_of(allowed: NDArray[np.bool_] | None) -> Callable[[tuple[int, ...]], NDArray[np.float64]]:
    mask = None if allowed is None else torch.from_numpy(allowed)

    def law(state: tuple[int, ...]) -> NDArray[np.float64]:
        probabilities: NDArray[np.float64] = (
            LAW.probabilities(table_logits(torch.tensor([state])), mask)[0].double().numpy()
        )
        return probabilities

    return law


def p_value(tokens: Tensor, expected: dict[tuple[int, ...], float]) -> float:
    """Chi-square of sampled grids against their law; rare grids are pooled."""
    assert sum(expected.values()) == pytest.approx(1, abs=1e-6)
    counts = Counter(map(tuple, tokens.tolist()))
    assert set(counts) <= {grid for grid, p in expected.items() if p > 0}
    n = sum(counts.values())
    common = [grid for grid, p in expected.items() if p * n >= 5]
    observed = [counts[grid] for grid in common]
    theory = [expected[grid] * n for grid in common]
    if sum(theory) < n - 1e-6:
        observed.append(n - sum(observed))
        theory.append(n - sum(theory))
    return float(stats.chisquare(observed, np.array(theory) * n / sum(theory)).pvalue)


def sample_autoregressive(probe: Probe, n: int = N_SAMPLES) -> Trace:
    grid = torch.full((n, N_POSITIONS), N_CODES)

    def next_logits(previous: Tensor | None, position: int) -> Tensor:
        if previous is not None:
            grid[:, position - 1] = previous
        return table_logits(grid)[:, position]

    return autoregressive.traverse(next_logits, N_POSITIONS, law=LAW, probe=probe, noise=noise(n))


def sample_masked(probe: Probe, temperatures: list[float], n: int = N_SAMPLES) -> Trace:
    return masked.traverse(
        lambda tokens, step: table_logits(tokens),
        n,
        N_POSITIONS,
        N_CODES,
        masked_after=[3, 1, 0],
        path_temperature=temperatures,
        law=LAW,
        probe=probe,
        noise=noise(n),
    )


def sample_diffusion(probe: Probe, schedule: Schedule, n: int = N_SAMPLES) -> Trace:
    return diffusion.traverse(
        lambda tokens, t: table_logits(tokens),
        n,
        N_POSITIONS,
        N_CODES,
        schedule=schedule,
        law=LAW,
        probe=probe,
        noise=noise(n),
    )


def replacing_schedule() -> Schedule:
    """Three steps that mask and replace, so that revealed tokens are revised."""
    alpha = np.array([1.0, 0.55, 0.25, 0.0])
    gamma = np.array([0.0, 0.30, 0.60, 1.0])
    return Schedule(alpha=alpha, beta=(1 - alpha - gamma) / N_CODES, gamma=gamma)


@pytest.mark.parametrize("allowed", [None, SUBSET], ids=["full", "subset"])
def test_autoregressive_samples_follow_the_enumerated_law(
    allowed: NDArray[np.bool_] | None,
) -> None:
    expected = traversal_laws.autoregressive(law_of(allowed), N_POSITIONS, N_CODES)
    assert p_value(sample_autoregressive(Probe(allowed)).tokens, expected) > 1e-3


@pytest.mark.parametrize("temperatures", [[2.0, 1.0, 0.5], [0.3, 0.3, 0.3]], ids=["warm", "cold"])
@pytest.mark.parametrize("allowed", [None, SUBSET], ids=["full", "subset"])
def test_masked_samples_follow_the_enumerated_law(
    allowed: NDArray[np.bool_] | None, temperatures: list[float]
) -> None:
    expected = traversal_laws.masked(law_of(allowed), N_POSITIONS, N_CODES, [3, 1, 0], temperatures)
    assert p_value(sample_masked(Probe(allowed), temperatures).tokens, expected) > 1e-3


@pytest.mark.parametrize(
    "schedule", [absorbing(3), replacing_schedule()], ids=["absorbing", "replacing"]
)
@pytest.mark.parametrize("allowed", [None, SUBSET], ids=["full", "subset"])
def test_diffusion_samples_follow_the_law_of_the_one_stage_posterior(
    allowed: NDArray[np.bool_] | None, schedule: Schedule
) -> None:
    codes = list(range(N_CODES)) if allowed is None else np.flatnonzero(allowed).tolist()
    expected = traversal_laws.diffusion(law_of(allowed), N_POSITIONS, N_CODES, schedule, codes)
    assert p_value(sample_diffusion(Probe(allowed), schedule).tokens, expected) > 1e-3


def test_the_chi_square_test_can_fail() -> None:
    wrong = traversal_laws.masked(law_of(None), N_POSITIONS, N_CODES, [3, 1, 0], [0.3, 0.3, 0.3])
    assert p_value(sample_masked(Probe(), [2.0, 1.0, 0.5]).tokens, wrong) < 1e-6


def test_autoregressive_surprisal_is_the_summed_log_probability_of_an_uncached_forward() -> None:
    trace = sample_autoregressive(Probe(), n=200)
    law = law_of(None)
    for grid, bits in zip(trace.tokens.tolist(), trace.token_surprisal, strict=True):
        expected = sum(
            -np.log2(law((*grid[:i], *(N_CODES,) * (N_POSITIONS - i)))[i, grid[i]])
            for i in range(N_POSITIONS)
        )
        assert float(bits.sum()) == pytest.approx(expected, rel=1e-5)


def test_mean_surprisal_equals_mean_entropy_where_draws_are_from_the_recorded_law() -> None:
    trace = sample_autoregressive(Probe())
    difference = (trace.token_surprisal - trace.token_entropy).sum(1).double()
    assert abs(difference.mean()) < 4 * difference.std() / N_SAMPLES**0.5


def test_committed_counts_per_step_equal_the_schedule() -> None:
    trace = sample_masked(Probe(), [2.0, 1.0, 0.0], n=500)
    assert trace.token_step is not None
    for step, expected in enumerate([1, 2, 1]):
        assert ((trace.token_step == step).sum(1) == expected).all()


def test_masked_argmax_varies_with_path_noise_and_not_without() -> None:
    everywhere = Probe(argmax_to=Probe().argmax_to + 1)
    assert len(sample_masked(everywhere, [1.0, 1.0, 1.0], n=500).tokens.unique(dim=0)) > 1
    assert len(sample_masked(everywhere, [0.0, 0.0, 0.0], n=500).tokens.unique(dim=0)) == 1


def test_autoregressive_argmax_is_one_grid() -> None:
    everywhere = Probe(argmax_to=Probe().argmax_to + 1)
    assert len(sample_autoregressive(everywhere, n=500).tokens.unique(dim=0)) == 1


def test_a_broken_confidence_is_refused() -> None:
    with pytest.raises(FloatingPointError, match="confidence is NaN"):
        masked.traverse(
            lambda tokens, step: table_logits(tokens) * float("nan"),
            2,
            N_POSITIONS,
            N_CODES,
            masked_after=[2, 0],
            path_temperature=[1.0, 0.0],
            law=LAW,
            probe=Probe(argmax_to=Probe().argmax_to + 1),
            noise=noise(2),
        )


def test_path_surprisal_of_the_absorbing_diffusion_is_its_closed_form_in_expectation() -> None:
    """Given m masked positions and t steps to go, each is revealed with probability 1/t."""
    trace = sample_diffusion(Probe(), absorbing(3))
    assert trace.path_surprisal is not None
    assert trace.token_step is not None
    means = trace.path_surprisal.double().mean(0)
    for step, t in enumerate([3, 2, 1]):
        still_masked = N_POSITIONS * t / 3
        binary_entropy = 0.0 if t == 1 else float(stats.entropy([1 / t, 1 - 1 / t], base=2))
        assert float(means[step]) == pytest.approx(
            still_masked * binary_entropy, rel=0.02, abs=1e-12
        )


def test_steps_of_diffusion_reveal_equal_shares() -> None:
    step = sample_diffusion(Probe(), absorbing(4)).token_step
    assert step is not None
    shares = torch.bincount(step.ravel(), minlength=4) / step.numel()
    assert shares.tolist() == pytest.approx([0.25] * 4, abs=0.01)


@pytest.mark.parametrize("n_positions", [1, 2, 3, 16, 64, 256, 1024])
@pytest.mark.parametrize("n_steps", [1, 2, 3, 5, 12, 18])
def test_the_last_step_of_a_cosine_schedule_alone_commits_all_that_is_left(
    n_positions: int, n_steps: int
) -> None:
    left = masked.cosine_schedule(n_positions, n_steps)
    assert len(left) == n_steps
    assert left[-1] == 0
    before = n_positions
    for step, after in enumerate(left[:-1], start=1):
        wanted = math.floor(n_positions * math.cos(math.pi / 2 * step / n_steps))
        assert after in {max(1, min(before - 1, wanted)), max(1, min(before - 1, wanted - 1))}
        assert after >= 1
        before = after


def test_cosine_schedules_equal_the_published_counts() -> None:
    """Counts still masked after each step of aMUSEd and Show-o, read off their schedulers."""
    assert masked.cosine_schedule(256, 12) == [
        253,
        247,
        236,
        221,
        203,
        181,
        155,
        127,
        97,
        66,
        33,
        0,
    ]
    assert masked.cosine_schedule(1024, 12)[:4] == [1015, 989, 946, 886]
    assert masked.cosine_schedule(256, 18)[-6:] == [108, 87, 66, 44, 22, 0]
