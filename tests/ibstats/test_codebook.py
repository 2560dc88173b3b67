"""How a codebook is used: against a law written down, plain definitions and counts by hand."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from scipy import stats

from ibstats.errors import IbstatsError, StoreContractError
from ibstats.kernels import grouped
from ibstats.statistics.codebook import Codes, Estimate
from ibstats.statistics.unseen import MOST_UNSEEN

LEVELS = (4, 4, 4)
FIRST = np.array([0.4, 0.3, 0.2, 0.1])
NEXT = np.array([[5, 2, 2, 1], [1, 6, 2, 1], [2, 2, 3, 3], [1, 1, 1, 7]]) / 10
"""The law of a digit given the digit before: the three of an id form a chain."""


def law() -> np.ndarray:
    """Probability of each of the 64 ids, most significant digit first."""
    table = FIRST[:, None, None] * NEXT[:, :, None] * NEXT[None]
    return table.ravel()


def bits(p: np.ndarray) -> float:
    return float(stats.entropy(p, base=2))


def true_values() -> dict[str, float]:
    table = law().reshape(LEVELS)
    digits = [bits(table.sum(axis=(1, 2))), bits(table.sum(axis=(0, 2))), bits(table.sum((0, 1)))]
    return {
        "entropy": bits(law()),
        "perplexity": 2 ** bits(law()),
        "collision_entropy": -math.log2((law() ** 2).sum()),
        "total_correlation": sum(digits) - bits(law()),
        "digit_1": digits[1],
    }


def draw(n_images: int, rng: np.random.Generator, *, alike: float = 0.0) -> np.ndarray:
    """Grids of 4 x 4 whose tokens follow the law; a share of an image's repeat its first one."""
    ids = rng.choice(64, size=(n_images, 16), p=law())
    repeated = rng.random((n_images, 16)) < alike
    ids = np.where(repeated, ids[:, :1], ids)
    return ids.reshape(n_images, 1, 4, 4).astype(np.uint16)


def estimates(codes: Codes) -> dict[str, Estimate]:
    return {
        "entropy": codes.entropy,
        "perplexity": codes.perplexity,
        "collision_entropy": codes.collision_entropy,
        "total_correlation": codes.total_correlation,
        "digit_1": codes.digit_entropies[1],
    }


def test_estimates_of_a_law_written_down_are_within_three_hundredths_of_a_bit():
    found = estimates(Codes(draw(3000, np.random.default_rng(0)), 64, LEVELS))
    for name, truth in true_values().items():
        if name == "perplexity":
            assert math.log2(found[name].value) == pytest.approx(math.log2(truth), abs=0.03)
        else:
            assert found[name].value == pytest.approx(truth, abs=0.03)


def test_few_alike_images_are_not_taken_for_many_tokens():
    """Tokens of an image that repeat: intervals widen with what is shared, and cover."""
    rng = np.random.default_rng(1)
    alone = Codes(draw(200, rng), 64, LEVELS).entropy
    alike = Codes(draw(200, rng, alike=0.7), 64, LEVELS).entropy
    assert alike.high - alike.low > 2 * (alone.high - alone.low)
    assert alike.low < true_values()["entropy"] < alike.high


@pytest.mark.slow
@pytest.mark.parametrize("alike", [0.0, 0.5])
def test_intervals_cover_in_92_to_98_percent_of_400_repetitions(alike):
    truths, rng = true_values(), np.random.default_rng(2)
    hits = dict.fromkeys(truths, 0)
    for _ in range(400):
        found = estimates(Codes(draw(300, rng, alike=alike), 64, LEVELS))
        for name, truth in truths.items():
            hits[name] += found[name].low <= truth <= found[name].high
    shares = {name: count / 400 for name, count in hits.items()}
    assert all(0.92 <= share <= 0.98 for share in shares.values()), shares


def test_a_permutation_of_the_digits_changes_their_order_alone():
    ids = draw(50, np.random.default_rng(3)).astype(np.int64)
    digits = np.stack([ids // 16, ids // 4 % 4, ids % 4])
    turned = digits[1] * 16 + digits[2] * 4 + digits[0]
    one, other = Codes(ids, 64, LEVELS), Codes(turned, 64, LEVELS)
    assert one.entropy.value == pytest.approx(other.entropy.value, abs=1e-12)
    assert one.total_correlation.value == pytest.approx(other.total_correlation.value, abs=1e-12)
    assert one.neighbour_information.value == pytest.approx(other.neighbour_information.value)
    assert other.digit_entropies[0].value == pytest.approx(one.digit_entropies[1].value)


@pytest.mark.parametrize("n_groups", [1, 2, 5])
def test_leaving_groups_out_equals_counting_again_without_them(n_groups):
    rng = np.random.default_rng(4)
    symbols, groups = rng.integers(0, 9, 60), np.sort(rng.integers(0, n_groups, 60))
    groups[:n_groups] = np.arange(n_groups)
    counts = grouped.table(symbols, groups, n_groups)
    found, chance = grouped.entropy(counts), grouped.collision(counts)
    assert float(found.whole) == pytest.approx(bits(np.bincount(symbols)))
    for left in range(n_groups):
        rest, of = symbols[groups != left], groups[groups != left]
        if n_groups == 1:
            assert np.isnan(found.without[left])
            continue
        assert found.without[left] == pytest.approx(bits(np.bincount(rest)))
        agreeing = total = 0
        for (a, x), (b, y) in itertools.combinations(zip(of, rest, strict=True), 2):
            agreeing += a != b and x == y
            total += a != b
        expected = agreeing / total if total else math.nan
        assert chance.without[left] == pytest.approx(expected, nan_ok=True)


def test_the_jackknife_of_unequal_groups_is_that_of_busing():
    rng = np.random.default_rng(5)
    sizes = np.array([1, 2, 2, 3, 4])
    groups = np.repeat(np.arange(5), sizes)
    values = rng.normal(size=len(groups))
    made = grouped.jackknife(grouped.mean(values, groups, 5), sizes)
    assert made.value == pytest.approx(values.mean())
    n, total, pieces = len(values), 0.0, []
    for group, size in enumerate(sizes):
        h = n / size
        pieces.append((h, h * values.mean() - (h - 1) * values[groups != group].mean()))
    for h, pseudo in pieces:
        total += (pseudo - values.mean()) ** 2 / (h - 1)
    assert made.error == pytest.approx(math.sqrt(total / 5))


def test_codes_of_fewer_images_are_the_mean_over_all_choices():
    rng = np.random.default_rng(6)
    ids = rng.integers(0, 30, (7, 1, 2, 2))
    codes = Codes(ids, 30)
    for size in (1, 3, 6, 7):
        seen = []
        for chosen in itertools.combinations(range(7), size):
            seen.append(len(np.unique(ids[list(chosen)])))
        assert float(codes.expected([size])[0]) == pytest.approx(np.mean(seen))
    alone = np.unique(ids)[codes.n_showing == 1]
    assert codes.unseen == pytest.approx(np.isin(ids, alone).mean())


def clumped(n_images: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Grids of 8 x 8 from Zipf's law of 16384 codes, half of whose tokens repeat the first; its bits."""
    p = 1 / np.arange(1, 16385)
    p /= p.sum()
    ids = rng.choice(len(p), size=(n_images, 64), p=p)
    ids = np.where(rng.random(ids.shape) < 0.5, ids[:, :1], ids)
    return ids.reshape(n_images, 1, 8, 8), bits(p)


def test_an_entropy_that_moves_with_the_number_of_images_is_weak_though_all_codes_were_seen():
    ids, truth = clumped(5000, np.random.default_rng(11))
    codes = Codes(ids, 16384)
    assert codes.unseen < MOST_UNSEEN
    assert codes.entropy.high < truth
    assert codes.entropy.weak
    assert codes.perplexity.weak
    for alike in (0, 0.5):
        settled = Codes(draw(300, np.random.default_rng(12), alike=alike), 64, LEVELS)
        assert not any(found.weak for found in estimates(settled).values())
    for n_images in (6, 60):  # bits that are as likely as can be, where intervals are narrow
        ids = np.random.default_rng(n_images).integers(0, 256, (n_images, 1, 16, 16))
        assert not any(found.weak for found in Codes(ids, 256, (2,) * 8).digit_entropies)


def test_digits_of_many_levels_rest_on_values_that_were_seen_too():
    rng = np.random.default_rng(13)
    codes = Codes(rng.integers(0, 4096 * 2, (60, 1, 4, 4)), 8192, (4096, 2))
    many, few = codes.digit_entropies
    assert (many.weak, few.weak) == (True, False)


def test_the_mass_unseen_is_of_prompts_where_a_run_has_several():
    """What is printed is what an entropy is greyed out for."""
    ids = np.repeat(np.arange(6).reshape(6, 1, 1, 1), 4, axis=1)  # a code a prompt, four images
    codes = Codes(np.broadcast_to(ids, (6, 4, 2, 2)), 6)
    assert codes.unseen == 1
    assert codes.entropy.weak


def test_a_codebook_of_two_to_the_32_costs_no_more_than_the_codes_seen():
    rng = np.random.default_rng(14)
    large = 2**32 - 1
    law = rng.integers(0, large, 40)
    ids = rng.integers(0, 40, (50, 1, 4, 4))
    few, many = Codes(ids, 400), Codes(law[ids], large)
    for name in ("entropy", "collision_entropy", "entropy_given_position", "neighbour_information"):
        one, other = getattr(few, name), getattr(many, name)
        assert one.value == pytest.approx(other.value, abs=1e-9)
    assert (few.used, few.unseen, few.expected([7])) == (many.used, many.unseen, many.expected([7]))


def test_chaos_bound_is_near_the_codes_that_there_are():
    rng = np.random.default_rng(7)
    codes = Codes(rng.integers(0, 400, (60, 1, 4, 4)), 1000)
    assert codes.used < 380
    assert codes.expected_in_all == pytest.approx(400, rel=0.05)


def test_neighbours_of_a_copied_column_share_all_their_bits():
    rng = np.random.default_rng(8)
    ids = np.repeat(rng.integers(0, 8, (400, 1, 4, 1)), 2, axis=3)
    codes = Codes(ids, 8)
    assert codes.neighbour_information.value == pytest.approx(3, abs=0.02)
    apart = Codes(rng.integers(0, 8, (400, 1, 4, 2)), 8)
    assert apart.neighbour_information.value == pytest.approx(0, abs=0.02)


def test_entropy_given_the_position_is_the_mean_over_positions():
    ids = np.broadcast_to(np.arange(4).reshape(1, 1, 2, 2), (30, 1, 2, 2))
    codes = Codes(ids, 4)
    assert codes.entropy.value == pytest.approx(2)
    assert codes.entropy_given_position.value == pytest.approx(0)


def test_one_image_has_numbers_and_no_intervals():
    codes = Codes(np.array([[[[0, 1], [2, 3]]]]), 4, (2, 2))
    assert codes.entropy == Estimate(2.0, weak=True)
    assert codes.entropy.low is None
    assert math.isnan(codes.collision_entropy.value)
    assert codes.unseen == 1


def test_reconstruction_is_pooled_over_pixels():
    error = np.array([[0.002], [0.001], [0.0015]])
    recovered = np.ones((3, 1, 2, 2), dtype=bool)
    recovered[0, 0, 0, 0] = False
    codes = Codes(np.zeros((3, 1, 2, 2), int), 4, recovered=recovered, squared_error=error)
    assert codes.recovery.value == pytest.approx(11 / 12)
    plain = -10 * math.log10(error.mean())
    assert abs(codes.decibels.value - plain) < 0.2
    assert codes.decibels.low < plain < codes.decibels.high


def test_equal_budgets_take_as_many_units_as_there_are():
    rng = np.random.default_rng(9)
    codes = Codes(rng.integers(0, 4, (6, 5, 2, 2)), 4)
    assert codes.of_images(4, rng).tokens.shape == (4, 1, 2, 2)
    assert codes.of_images(14, rng).tokens.shape == (6, 2, 2, 2)
    with pytest.raises(IbstatsError, match="31 images were asked for, but there are 30"):
        codes.of_images(31, rng)


def test_ids_and_levels_that_do_not_fit_are_refused():
    with pytest.raises(StoreContractError, match=r"holds code 4, but codes run 0\.\.3"):
        Codes(np.array([[[[4]]]]), 4)
    with pytest.raises(StoreContractError, match="have 6 codes, but the codebook has 4"):
        Codes(np.array([[[[3]]]]), 4, (2, 3))


def test_memory_is_that_of_a_few_numbers_a_token():
    """So that 200,000 grids of 8 x 8 stay under 1.5 GB: one statistic's symbols are held at a time."""
    tokens = draw(4_000, np.random.default_rng(9)).astype(np.uint16)
    tracemalloc.start()
    codes = Codes(tokens, 64, LEVELS)
    made = [codes.entropy_given_position, codes.neighbour_information, codes.total_correlation]
    made += [codes.entropy, codes.collision_entropy, *codes.digit_entropies]
    codes.curve()
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert all(np.isfinite(one.value) for one in made)
    assert peak / tokens.size < 80, "bytes a token"
    assert kept / tokens.size < 24, "bytes a token, kept"
