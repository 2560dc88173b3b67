"""Orders of unmasking against their enumerated laws, and the experiment that varies them."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import comb, factorial, log2
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from scipy import stats

from generate.errors import ModelError, StudyError
from generate.models.toy_law import Law, best_sets, enumerate_law
from generate.run.blocks import run
from generate.run.preparing import prepare
from generate.study.planning import plan
from generate.study.probes import Probe
from generate.study.study_file import load_study
from generate.traversal.order import halton, order
from generate.traversal.path_probability import race_surprisal
from generate.traversal.replay import Replay
from schemas.study import FIXED_ORDERS, NOISELESS_ORDERS, OrderName
from tests.generate.conftest import edited
from tests.generate.test_replay import log_weights, philox
from tests.generate.test_run import dataset
from tests.generate.test_toy_law import TEXT, events, mean_agrees, sample, toy

ORDERS: tuple[OrderName, ...] = get_args(OrderName)
CANDIDATE_FREE = [name for name in ORDERS if name != "confidence"]
SUBSET = np.array([True, False, True])
EVERY_STEP = Fraction(1)
BOUND = 1.0
"""Bits of entropy that a step of `entropy_bounded` commits at once: one or two of the positions of a toy."""


def law(name: OrderName, **options: object) -> Law:
    return enumerate_law(toy("toy-masked", **options), TEXT, Probe(order=name, entropy_bound=BOUND))


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("temperature", [0.0, 0.3, 2.0])
@pytest.mark.parametrize(
    "given", [{}, {"allowed": SUBSET}, {"argmax_to": EVERY_STEP}], ids=["free", "subset", "argmax"]
)
def test_joint_surprisal_of_every_sample_is_its_enumerated_probability(
    name: OrderName, temperature: float, given: dict
) -> None:
    model, probe = (
        toy("toy-masked", path_temperature=temperature, seed=3),
        Probe(**given, order=name, entropy_bound=BOUND),
    )
    known, trace = enumerate_law(model, TEXT, probe), sample(model, 100, probe)
    assert sum(known.joint.values()) == pytest.approx(1.0, abs=1e-9)
    assert trace.joint_surprisal is not None
    expected = [-np.log2(known.joint[event]) for event in events(trace, 3)]
    assert trace.joint_surprisal.sum(dim=1).tolist() == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("name", CANDIDATE_FREE)
def test_paths_and_tokens_come_as_often_as_the_enumerated_law_says(name: OrderName) -> None:
    """Chi-square on 2e4 draws, of pairs of a path and a grid."""
    model, n = toy("toy-masked", path_surprisal="none", path_temperature=0.5), 20_000
    known = enumerate_law(model, TEXT, Probe(order=name, entropy_bound=BOUND)).joint
    drawn = Counter(events(sample(model, n, Probe(order=name, entropy_bound=BOUND)), 3))
    assert set(drawn) <= set(known)
    common = [event for event, p in known.items() if n * p >= 5]
    observed = [drawn[event] for event in common]
    expected = [n * known[event] for event in common]
    observed.append(n - sum(observed))
    expected.append(n - sum(expected))
    assert stats.chisquare(observed, expected, sum_check=False).pvalue > 1e-3


@pytest.mark.parametrize("name", CANDIDATE_FREE)
def test_tokens_of_an_order_that_sees_no_candidates_cost_what_the_law_gives_them(
    name: OrderName,
) -> None:
    found = law(name, path_temperature=0.5)
    assert found.path_causal + found.execution_causal == pytest.approx(found.both, abs=1e-12)
    assert found.execution_marginal == pytest.approx(found.execution_causal, abs=1e-12)
    assert found.path_given_candidates == pytest.approx(found.path_causal, abs=1e-12)


def test_candidates_say_something_of_the_confidence_order_alone() -> None:
    found = law("confidence")
    assert found.execution_marginal > found.execution_causal + 1e-3


def test_a_random_path_has_the_bits_of_the_schedule() -> None:
    found = law("random")
    schedule = log2(factorial(4) / factorial(2))  # one, two and one of four positions
    assert found.path_causal == pytest.approx(schedule, abs=1e-12)
    assert found.path == pytest.approx(schedule, abs=1e-12)
    trace = sample(toy("toy-masked"), 50, Probe(order="random"))
    assert trace.path_surprisal is not None
    assert trace.path_surprisal.sum(dim=1).tolist() == pytest.approx([schedule] * 50, abs=1e-5)


def test_the_entropy_order_has_fewer_causal_bits_than_its_path_and_fewer_than_a_random_one() -> (
    None
):
    found = law("entropy", path_temperature=0.5)
    assert 0 < found.path_causal < found.path < law("random").path


@pytest.mark.parametrize("name", FIXED_ORDERS)
def test_a_fixed_order_has_no_bits(name: OrderName) -> None:
    found = law(name)
    assert found.path == pytest.approx(0, abs=1e-12)
    assert found.path_given_tokens == pytest.approx(0, abs=1e-12)
    trace = sample(toy("toy-masked"), 50, Probe(order=name, entropy_bound=BOUND))
    assert trace.path_surprisal is not None
    assert (trace.path_surprisal == 0).all()
    assert trace.token_step is not None
    assert len(trace.token_step.unique(dim=0)) == 1


def test_tokens_of_the_entropy_bounded_order_have_one_path_of_as_many_steps_as_it_takes() -> None:
    found = law("entropy_bounded")
    assert found.path_causal == pytest.approx(0, abs=1e-12)
    assert found.path_given_tokens == pytest.approx(0, abs=1e-12)
    assert found.path > 0.1  # the first tokens say which come next
    assert found.execution_causal == pytest.approx(found.tokens, abs=1e-12)
    sizes = {tuple(map(len, path)) for path, _ in found.joint}
    assert sizes == {(2, 1, 1), (2, 2, 0)}


@pytest.mark.parametrize(("bound", "sizes"), [(1e-9, [1, 1, 2]), (100.0, [4, 0, 0])])
def test_a_bound_commits_one_position_a_step_or_all_at_once_and_the_last_step_the_rest(
    bound: float, sizes: list[int]
) -> None:
    trace = sample(toy("toy-masked"), 20, Probe(order="entropy_bounded", entropy_bound=bound))
    assert trace.token_step is not None
    for steps in trace.token_step:
        assert steps.bincount(minlength=3).tolist() == sizes


def test_raster_and_halton_commit_what_comes_first() -> None:
    for name, places in (("raster", [0, 1, 1, 2]), ("halton", [1, 0, 1, 2])):
        trace = sample(toy("toy-masked"), 2, Probe(order=name, entropy_bound=BOUND))  # type: ignore[arg-type]
        assert trace.token_step is not None
        assert trace.token_step[0].tolist() == places


@pytest.mark.parametrize("grid", [(8, 8), (2, 5), (3, 4), (16, 16)])
def test_halton_visits_each_position_when_the_sequence_first_meets_it(
    grid: tuple[int, int],
) -> None:
    def inverse(number: int, base: int) -> Fraction:
        digits = []
        while number:
            digits.append(number % base)
            number //= base
        return sum((Fraction(d, base ** (i + 1)) for i, d in enumerate(digits)), Fraction(0))

    rows, cols = grid
    met: list[int] = []
    number = 0
    while len(met) < rows * cols:
        number += 1
        position = int(inverse(number, 3) * rows) * cols + int(inverse(number, 2) * cols)
        if position not in met:
            met.append(position)
    assert halton(grid).argsort().tolist() == met


def test_a_race_is_the_sum_over_all_orders_of_commitment() -> None:
    rng = np.random.default_rng(0)
    for scale in (0.005, 0.05, 1.0, 4.0):
        rank = rng.normal(0, 1, 7)
        for chosen, q in best_sets(rank, 3, scale).items():
            if q < 1e-12:
                continue
            commit = torch.zeros(1, 7, dtype=torch.bool)
            commit[0, list(chosen)] = True
            bits = race_surprisal(
                torch.from_numpy(rank)[None], torch.ones_like(commit), commit, scale
            )
            assert 2.0 ** -float(bits) == pytest.approx(q, rel=5e-8)


def test_without_noise_a_race_has_one_winner_and_ties_go_to_the_earlier() -> None:
    rank, is_open = torch.tensor([[1.0, 0.0, 1.0, 1.0]]), torch.tensor([[False, True, True, True]])
    first = torch.tensor([[False, False, True, False]])
    later = torch.tensor([[False, False, False, True]])
    assert race_surprisal(rank, is_open, first, 0.0).tolist() == [0.0]
    assert race_surprisal(rank, is_open, later, 0.0).tolist() == [np.inf]


@pytest.mark.parametrize(("n_open", "n"), [(5, 2), (64, 3), (40, 20)])
def test_equal_ranks_make_all_sets_equally_probable(n_open: int, n: int) -> None:
    commit = torch.arange(n_open)[None] < n
    bits = race_surprisal(torch.zeros(1, n_open), torch.ones_like(commit), commit, 1.0)
    assert float(bits) == pytest.approx(log2(comb(n_open, n)), abs=1e-6)


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("argmax_to", [Fraction(0), EVERY_STEP], ids=["draws", "argmax"])
def test_the_mean_weight_of_proposed_paths_is_the_probability_of_the_tokens(
    name: OrderName, argmax_to: Fraction
) -> None:
    model, n = toy("toy-masked"), 1000
    probe = Probe(argmax_to=argmax_to, order=name, entropy_bound=BOUND)
    known = {z: p for z, p in enumerate_law(model, TEXT, probe).token_law.items() if p > 1e-6}
    for z in list(known)[:: max(1, len(known) // 3)]:
        replay = Replay(torch.tensor([z] * n), philox(n, seed=sum(z)))
        weight = np.exp2(log_weights(model.traverse(model.encode([TEXT] * n), probe, replay)))
        error = weight.std() / n**0.5
        assert weight.mean() == pytest.approx(known[z], abs=6 * error + 1e-5 * known[z])


@pytest.mark.parametrize("name", ORDERS)
def test_the_path_that_was_taken_is_replayed_with_its_own_bits(name: OrderName) -> None:
    model, n, probe = toy("toy-masked"), 200, Probe(order=name, entropy_bound=BOUND)
    noise, conditioning = philox(n), model.encode([TEXT] * n)
    sampled = model.traverse(conditioning, probe, noise)
    again = model.traverse(conditioning, probe, Replay(sampled.tokens, noise, sampled.token_step))
    assert sampled.path_surprisal is not None
    assert again.path_surprisal is not None
    torch.testing.assert_close(again.path_surprisal.float(), sampled.path_surprisal)
    assert mean_agrees(sampled.path_surprisal.sum(dim=1), law(name).path_causal)
    assert np.isfinite(log_weights(again)).all()


def test_a_path_that_a_fixed_order_cannot_take_is_impossible() -> None:
    model = toy("toy-masked")
    replay = Replay(torch.tensor([[0, 1, 2, 0]]), philox(1), torch.tensor([[2, 1, 1, 0]]))
    trace = model.traverse(model.encode([TEXT]), Probe(order="raster"), replay)
    assert trace.joint_surprisal is not None
    assert trace.joint_surprisal.sum() == np.inf


def test_orders_that_see_no_candidates_are_paired_draw_by_draw() -> None:
    """Where the law is the same everywhere, equal noise gives equal codes whatever the order."""
    model, noise = toy("toy-masked", sharpness=0.0), philox(50)
    grids = {}
    for name in ORDERS:
        grids[name] = model.traverse(
            model.encode([TEXT] * 50), Probe(order=name, entropy_bound=BOUND), noise
        ).tokens
    for name in CANDIDATE_FREE:
        assert torch.equal(grids[name], grids["raster"])
    assert not torch.equal(grids["confidence"], grids["raster"])


def test_a_fixed_order_without_a_grid_is_refused_in_one_line() -> None:
    with pytest.raises(ModelError, match=r"order 'halton' needs to know the grid: pass `grid="):
        order("halton")


@pytest.fixture
def orders(study_file: Path) -> Path:
    models = [{"model": "toy-masked", "options": {"positions": 6, "steps": 3}}]
    return edited(
        study_file, models=models, experiments={"order": {"kind": "order"}}, calibration=None
    )


def test_an_experiment_has_every_order_with_own_and_shared_path_noise(
    orders: Path, tmp_path: Path
) -> None:
    laid_out = plan(*load_study(str(orders)))
    assert laid_out.experiment_plan("order").baseline == "01-confidence"
    store = prepare(laid_out, tmp_path / "run")
    assert run(laid_out, store).failed == 0
    ds = dataset(store, "toy-masked", "order")
    names = ds.condition.values.tolist()
    assert len(names) == 4 * 3 + 2 * 2
    assert (ds.execution_key == ds.execution_key[0]).all()
    own = ds.path_key.sel(condition="01-confidence")
    for number, name in enumerate(names):
        one = ds.isel(condition=number)
        is_shared = str(one.path_noise.values) == "shared"
        assert is_shared == (str(one.order.values) in NOISELESS_ORDERS or "shared" in name)
        expected = own.isel(sample=0) if is_shared else own
        assert (one.path_key == expected).all()
        steps = one.token_step.values.reshape(-1, 6)
        assert [np.bincount(row).tolist() for row in steps] == [[1, 3, 2]] * len(steps)
        for prompt in one.prompt.values:
            distinct = np.unique(one.tokens.sel(prompt=prompt).values.reshape(-1, 6), axis=0)
            if is_shared and "argmax" in name:
                assert len(distinct) == 1  # nothing is left to chance


def test_the_order_of_another_family_is_refused_in_one_line(
    study_file: Path, tmp_path: Path
) -> None:
    asked = edited(study_file, experiments={"mine": {"kind": "order"}}, calibration=None)
    message = "experiment 'mine' varies the order of a masked model, but 'toy-autoregressive' is"
    with pytest.raises(StudyError, match=message):
        prepare(plan(*load_study(str(asked))), tmp_path / "run")
