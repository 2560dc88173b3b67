"""q(S | s), q(S, z_S | s) and q(S | c, s) against every order of commitment, and where arithmetic is at its limits."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import numpy as np
import pytest
import torch

from generate.models.toy_law import best_sets
from generate.traversal import path_probability
from generate.traversal.order import best, gumbel
from generate.traversal.path_probability import exact_surprisals, set_surprisal_given_candidates


def random_laws(seed: int, n: int, k: int) -> np.ndarray:
    """Laws from flat to sharp; some share their probabilities, some codes are impossible."""
    rng = np.random.default_rng(seed)
    laws = rng.dirichlet(np.full(k, (0.2, 1.0)[seed % 2]), size=n)
    laws = np.maximum(laws, 1e-9)
    if seed % 3 == 0:
        laws[1] = laws[0]
    if seed % 3 == 1:
        laws[0, 0] = 0.0
    return laws / laws.sum(axis=1, keepdims=True)


def brute_force(laws: np.ndarray, n_commit: int, temperature: float) -> tuple[dict, dict]:
    """Probability of every set, and of every set with its tokens, by every candidate vector."""
    n, k = laws.shape
    sets, pairs = defaultdict(float), defaultdict(float)
    for candidates in itertools.product(range(k), repeat=n):
        p = laws[np.arange(n), candidates]
        if p.min() > 0:
            for chosen, q in best_sets(np.log(p), n_commit, temperature).items():
                sets[chosen] += q * p.prod()
                pairs[chosen, tuple(candidates[i] for i in chosen)] += q * p.prod()
    return sets, pairs


def masks(n: int, chosen: tuple[int, ...], n_samples: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    commit = torch.zeros(n_samples, n, dtype=torch.bool)
    commit[:, list(chosen)] = True
    return torch.ones_like(commit), commit


CASES = [(t, False) for t in (0.0, 0.002, 0.01, 0.05, 0.2, 1.0, 4.0)]
CASES += [(t, True) for t in (0.0, 0.3, 1.0, 4.0)]


@pytest.mark.parametrize(("temperature", "binned"), CASES)
@pytest.mark.parametrize("seed", range(3))
def test_set_and_joint_probabilities_equal_brute_force(
    seed: int, temperature: float, binned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if binned:
        monkeypatch.setattr(path_probability, "DIRECT", 0)
    n, k, n_commit = 4, 3, 1 + seed
    laws = random_laws(seed, n, k)
    sets, pairs = brute_force(laws, n_commit, temperature)
    total = 0.0
    for chosen in itertools.combinations(range(n), n_commit):
        drawn = list(itertools.product(range(k), repeat=n_commit))
        tokens = torch.zeros(len(drawn), n, dtype=torch.int64)
        tokens[:, list(chosen)] = torch.tensor(drawn)
        probabilities = torch.from_numpy(laws).expand(len(drawn), n, k)
        set_bits, pair_bits = exact_surprisals(
            probabilities, tokens, *masks(n, chosen, len(drawn)), temperature
        )
        tolerance = {"rel": 1e-5, "abs": 1e-15} if binned else {"rel": 1e-9, "abs": 1e-280}
        assert set_bits[0].exp2().reciprocal().item() == pytest.approx(sets[chosen], **tolerance)
        expected = [pairs[chosen, codes] for codes in drawn]
        assert pair_bits.exp2().reciprocal().tolist() == pytest.approx(expected, **tolerance)
        total += float(torch.exp2(-set_bits[0]))
    assert total == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.002, 0.01, 0.05, 0.5, 4.0])
def test_sets_given_candidates_equal_the_sum_over_orders(temperature: float) -> None:
    rng = np.random.default_rng(5)
    for n_commit in (1, 2, 4):
        log_p = np.log(rng.uniform(1e-4, 1, size=5))
        for chosen, q in best_sets(log_p, n_commit, temperature).items():
            bits = set_surprisal_given_candidates(
                torch.from_numpy(log_p)[None], *masks(5, chosen), temperature
            )
            assert 2.0 ** -bits.item() == pytest.approx(q, rel=1e-8)


@pytest.mark.parametrize("temperature", [0.0, 0.002, 0.01, 0.03, 0.1, 0.5, 1.0, 4.0])
@pytest.mark.parametrize("scale", [0.0, 2.0, 8.0])
def test_binned_laws_are_within_1e_5_bit_of_the_sum_over_codes(
    scale: float, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From uniform to sharp laws; the second sample has a law that lies below all thresholds."""
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(2, 8, 257, generator=generator)
    logits[1, 3, 0] += 3 * scale
    logits[:, :, 64:192] = -torch.inf  # a codebook subset
    probabilities = torch.softmax(logits, dim=-1)
    is_open, commit = masks(8, (0, 3, 7), 2)
    is_open[:, 5] = False
    tokens = probabilities.argmax(dim=-1)
    given = probabilities, tokens, is_open, commit, temperature
    binned = exact_surprisals(*given)
    monkeypatch.setattr(path_probability, "DIRECT", 257)
    summed = exact_surprisals(*given)
    equal = all(torch.equal(a, b) for a, b in zip(binned, summed, strict=True))
    assert temperature == 0 or not equal
    for a, b in zip(binned, summed, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_two_large_laws_rank_as_pairs_of_their_codes_race() -> None:
    """Of two candidates alone, i is above j with w_i / (w_i + w_j), whatever the rest is."""
    generator = torch.Generator().manual_seed(2)
    law = torch.softmax(5 * torch.randn(1, 2, 512, generator=generator), dim=-1)
    is_open, commit = masks(2, (1,))
    p = law[0].double() / law[0].double().sum(dim=-1, keepdim=True)
    for temperature in (0.1, 2.0):
        above = torch.sigmoid((p[1].log()[:, None] - p[0].log()) / temperature) @ p[0]
        bits = exact_surprisals(law, torch.tensor([[0, 7]]), is_open, commit, temperature)
        expected = -torch.log2(torch.stack([p[1] @ above, p[1, 7] * above[7]]))
        assert torch.cat(bits).tolist() == pytest.approx(expected.tolist(), abs=1e-5)


def test_one_commit_over_all_positions_adds_to_one_with_a_large_codebook() -> None:
    generator = torch.Generator().manual_seed(1)
    law = torch.softmax(4 * torch.randn(6, 512, generator=generator), dim=-1)
    commit = torch.eye(6, dtype=torch.bool)
    tokens = torch.zeros(6, 6, dtype=torch.int64)
    bits, _ = exact_surprisals(law.expand(6, 6, 512), tokens, torch.ones_like(commit), commit, 0.5)
    assert torch.exp2(-bits).sum().item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.0, 0.05, 1.0, 4.0])
def test_extreme_laws_stay_finite(temperature: float) -> None:
    k, n = 16384, 3
    rare = torch.full((n, k), 1e-30)
    rare[:, 0] = 1.0
    uniform = torch.full((n, k), 1 / k)
    one_code = torch.zeros(n, k)
    one_code[:, 7] = 1.0
    probabilities = torch.stack([rare, uniform, one_code])
    tokens = torch.tensor([[5, 0, 0], [5, 5, 5], [7, 7, 7]])
    is_open, commit = masks(n, (0,), 3)
    bits = torch.stack(exact_surprisals(probabilities, tokens, is_open, commit, temperature))
    if temperature > 0:
        assert torch.isfinite(bits).all()
        assert bits[1].tolist() == pytest.approx(
            [bits[1, 0].item(), 14 + np.log2(3), np.log2(3)], rel=1e-5
        )
    else:  # a tie goes to the earlier position, and a candidate of 1e-30 cannot win
        assert bits[1].tolist() == pytest.approx([np.inf, 14, 0], abs=1e-4) or bits[1, 0] > 99
    assert bits[0, 1:].tolist() == pytest.approx(
        [np.log2(3)] * 2 if temperature else [0, 0], abs=1e-5
    )
    given = set_surprisal_given_candidates(torch.full((3, n), -69.0), is_open, commit, temperature)
    assert given.tolist() == pytest.approx([np.log2(3) if temperature else 0.0] * 3)


def test_the_last_open_position_has_no_path_surprisal() -> None:
    law = torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]])
    only = torch.tensor([[False, True]])
    bits = exact_surprisals(law, torch.tensor([[0, 2]]), only, only, 1.0)
    assert [b.item() for b in bits] == pytest.approx([0.0, -np.log2(0.8)])
    assert set_surprisal_given_candidates(law[:, :, 0].log(), only, only, 1.0).item() == 0.0


@pytest.mark.parametrize("n_codes", [1, 8, 4096])
@pytest.mark.parametrize("temperature", [0.019, 0.005, 1e-3, 1e-6])
def test_what_a_step_commits_never_has_infinite_bits_however_cold(
    temperature: float, n_codes: int
) -> None:
    """Candidates that are equally probable, or nearly, are put in order by the noise alone, however small it is."""
    generator = torch.Generator().manual_seed(n_codes)
    n_samples, n_positions, n_commit = 4, 12, 5
    shape = n_samples, n_positions, n_codes
    laws = torch.softmax(4 * torch.randn(shape, generator=generator), dim=-1)
    laws[:, ::2] = laws[:, :1]  # and half of them are one law
    tokens = torch.multinomial(laws.flatten(0, 1), 1, generator=generator).view(shape[:2])
    log_p = laws.gather(-1, tokens.unsqueeze(-1)).squeeze(-1).log()
    uniform = torch.rand(shape[:2], dtype=torch.float64, generator=generator)
    is_open = torch.ones(shape[:2], dtype=torch.bool)
    commit = best(log_p + temperature * gumbel(uniform), is_open, n_commit)
    of_sets, of_pairs = exact_surprisals(laws, tokens, is_open, commit, temperature)
    given = set_surprisal_given_candidates(log_p, is_open, commit, temperature)
    for bits in (of_sets, of_pairs, given):
        assert bits.isfinite().all()
        assert (bits >= 0).all()
    assert (of_pairs >= of_sets - 1e-6).all()
    if n_codes == 1:  # every set is as likely
        expected = torch.full((n_samples,), math.log2(math.comb(n_positions, n_commit)))
        torch.testing.assert_close(of_sets, expected.double(), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(given, expected.double(), rtol=1e-5, atol=1e-5)
