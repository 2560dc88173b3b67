"""Codes of bits: the law of a token against a plain walk over its bits, and the toy that is made of them."""

from __future__ import annotations

import itertools
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy import stats

from generate.errors import ModelError
from generate.models.toy import ToyBits
from generate.models.toy_law import enumerate_law
from generate.study.probes import Probe
from generate.traversal import scales
from generate.traversal.bits import MOST_BITS, BitLaw, tokens_of
from generate.traversal.draw import TokenLaw
from generate.traversal.replay import Replay
from tests.generate.test_replay import philox
from tests.generate.test_toy_law import ARGMAX, TEXT, Stream, toy

FIRST_SCALE = Probe(None, Fraction(0), Fraction(1, 2))
BY_CODE = Probe(np.array([True, False, True, True]))
BY_POSITION = Probe(np.array([[1, 1, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 1]], dtype=bool))


def plain_law(
    logits: np.ndarray, allowed: np.ndarray, temperature: float, top_p: float
) -> np.ndarray:
    """Bit after bit: of its two values those that lead to an allowed code, by their mass, then the cut."""
    n_bits = len(logits)
    p = np.exp(logits / temperature)
    p /= p.sum(axis=1, keepdims=True)
    every = list(itertools.product((0, 1), repeat=n_bits))
    mass = {
        bits: float(np.prod([p[place, value] for place, value in enumerate(bits)]))
        for code, bits in enumerate(every)
        if allowed[code]
    }
    law = np.zeros(len(every))
    for code, bits in enumerate(every):
        if not allowed[code]:
            continue
        chance = 1.0
        for place in range(n_bits):
            both = [0.0, 0.0]
            for other, weight in mass.items():
                if other[:place] == bits[:place]:
                    both[other[place]] += weight
            share = np.array(both) / sum(both)
            if share.max() >= top_p:
                share = (share == share.max()).astype(float)
            chance *= share[bits[place]]
        law[code] = chance
    return law


def bits_toy(**options: object) -> ToyBits:
    model = toy("toy-bits", **options)
    assert isinstance(model, ToyBits)
    return model


@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.6])
@pytest.mark.parametrize("n_bits", [1, 2, 4])
def test_the_law_of_a_token_is_that_of_its_bits_one_after_another(
    n_bits: int, top_p: float
) -> None:
    rng = np.random.default_rng(n_bits)
    for _ in range(20):
        logits = rng.normal(size=(n_bits, 2)) * 2
        allowed = rng.random(2**n_bits) < 0.5
        allowed[rng.integers(2**n_bits)] = True
        for keep in (None, allowed):
            given = None if keep is None else torch.from_numpy(keep)
            law = BitLaw(0.7, top_p=top_p).probabilities(torch.from_numpy(logits), given)
            everything = np.ones(2**n_bits, dtype=bool)
            expected = plain_law(logits, everything if keep is None else keep, 0.7, top_p)
            torch.testing.assert_close(
                law.double(), torch.from_numpy(expected), atol=1e-5, rtol=1e-4
            )
            assert law.sum() == pytest.approx(1, abs=1e-5)


def test_a_bit_that_is_restricted_is_a_token_of_two_codes() -> None:
    logits = torch.randn(5, 1, 2)
    for allowed in (None, torch.tensor([True, False])):
        one = BitLaw(0.5, top_p=0.8).probabilities(logits, allowed)
        other = TokenLaw(0.5, top_p=0.8).probabilities(logits[:, 0], allowed)
        torch.testing.assert_close(one, other)


def test_bits_of_a_code_of_more_than_32_bits_add_up_over_its_tokens() -> None:
    """Codes of 48 bits as 6 tokens of 8: surprisal and entropy are the sums over 48 bits."""
    torch.manual_seed(0)
    of_scales = [torch.randn(3, 1, 48, 2), torch.randn(3, 4, 48, 2)]
    trace = scales.traverse(
        lambda previous, scale: tokens_of(of_scales[scale], 8),
        [6, 24],
        law=BitLaw(),
        probe=Probe(),
        noise=philox(3),
    )
    assert trace.tokens.shape == (3, 30)
    place = 2 ** torch.arange(7, -1, -1)
    bits = (trace.tokens[..., None] // place) % 2  # most significant first
    logits = torch.cat([one.flatten(1, 2) for one in of_scales], 1).log_softmax(-1)
    drawn = logits.gather(-1, bits.flatten(1)[..., None])[..., 0]
    torch.testing.assert_close(trace.token_surprisal.sum(1), -drawn.sum(1) / np.log(2))
    whole = -(logits.exp() * logits).sum((1, 2)) / np.log(2)
    torch.testing.assert_close(trace.token_entropy.sum(1), whole)


def test_argmax_of_a_token_is_that_of_each_of_its_bits() -> None:
    logits = torch.randn(2, 3, 8, 2)
    law = BitLaw().probabilities(logits, None)
    place = 2 ** torch.arange(7, -1, -1)
    assert torch.equal(law.argmax(-1), (logits.argmax(-1) * place).sum(-1))


def test_tokens_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="a code of 32 bits has no whole number of tokens of 5"):
        tokens_of(torch.zeros(1, 1, 32, 2), 5)
    with pytest.raises(
        ValueError, match=f"a token of 17 bits has too many codes: at most {MOST_BITS}"
    ):
        BitLaw().probabilities(torch.zeros(17, 2), None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codes": 6}, "option 'codes' of ToyBits is 6; a token of bits has 2, 4, 8"),
        ({"positions": 5}, "'tokens_per_code' of ToyBits is 2; it must divide the 5 positions"),
        ({"steps": 3}, "'steps' of ToyBits is 3; with 2 positions there are 1 to 2 scales"),
    ],
)
def test_a_toy_of_no_whole_codes_is_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ToyBits.identify("toy-bits", ToyBits.options(options))


def test_the_toy_says_what_its_tokens_are() -> None:
    model = bits_toy(positions=6, codes=8, tokens_per_code=3)
    assert model.identity.digit_levels == (2, 2, 2)
    assert model.identity.scales == [3, 3]
    assert model.identity.strata == [0, 1, 2, 3, 4, 5]
    assert model.decode(torch.zeros(1, 6, dtype=torch.int64)).shape == (1, 2, 12, 3)


@pytest.mark.parametrize("probe", [Probe(), BY_CODE, BY_POSITION, ARGMAX, FIRST_SCALE], ids=str)
@pytest.mark.parametrize("top_p", [1.0, 0.8])
def test_replayed_grids_have_their_enumerated_probability(probe: Probe, top_p: float) -> None:
    model = bits_toy(seed=2, top_p=top_p)
    law = enumerate_law(model, TEXT, probe).token_law
    assert sum(law.values()) == pytest.approx(1)
    every = torch.cartesian_prod(*[torch.arange(4)] * 4)
    trace = model.traverse(model.encode([TEXT] * 256), probe, Replay(every, philox(256)))
    assert trace.joint_surprisal is not None
    expected = torch.tensor([law.get(tuple(z), 0.0) for z in every.tolist()])
    torch.testing.assert_close(
        torch.exp2(-trace.joint_surprisal.sum(1)), expected.double(), atol=1e-6, rtol=1e-4
    )


@pytest.mark.parametrize("probe", [Probe(), BY_POSITION], ids=str)
def test_samples_follow_the_enumerated_law(probe: Probe) -> None:
    model, n = bits_toy(seed=1), 50_000
    law = enumerate_law(model, TEXT, probe).token_law
    trace = model.traverse(model.encode([TEXT] * n), probe, Stream(0, n))
    counts = Counter(map(tuple, trace.tokens.tolist()))
    assert set(counts) <= set(law)
    grids = [grid for grid in law if law[grid] * n >= 5]
    rest = 1 - sum(law[grid] for grid in grids)
    seen = [counts[grid] for grid in grids]
    expected = [law[grid] * n for grid in grids]
    if rest * n > 1:
        seen, expected = [*seen, n - sum(seen)], [*expected, rest * n]
    total = sum(seen)
    scaled = np.array(expected) * total / sum(expected)
    assert stats.chisquare(seen, scaled).pvalue > 1e-3
    bits = trace.token_surprisal.double().sum(1)
    entropy = -sum(p * np.log2(p) for p in law.values() if p > 0)
    assert abs(bits.mean().item() - entropy) <= 4 * bits.std().item() / n**0.5 + 1e-5
