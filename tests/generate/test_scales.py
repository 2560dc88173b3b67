"""The next-scale traversal: draws inside a scale, scales in order, probes on the scales."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from generate.errors import ModelError
from generate.models.toy import ToyScales
from generate.models.toy_law import enumerate_law
from generate.study.probes import Probe
from generate.traversal import autoregressive, scales
from generate.traversal.draw import TokenLaw
from generate.traversal.replay import Replay
from tests.generate.test_replay import philox
from tests.generate.test_toy_law import ARGMAX, SUBSET, TEXT, toy

FIRST_SCALE = Probe(None, Fraction(0), Fraction(1, 2))
LAST_SCALE = Probe(None, Fraction(1, 2), Fraction(1))


def scales_toy(**options: object) -> ToyScales:
    model = toy("toy-scales", **options)
    assert isinstance(model, ToyScales)
    return model


@pytest.mark.parametrize(
    ("positions", "steps", "sizes"),
    [
        (4, 2, [1, 3]),
        (4, 3, [1, 1, 2]),
        (5, 3, [1, 1, 3]),
        (5, 1, [5]),
        (3, 3, [1, 1, 1]),
        (16, 4, [1, 3, 5, 7]),
    ],
)
def test_scales_of_the_toy_grow_as_squares_do(positions: int, steps: int, sizes: list[int]) -> None:
    assert (
        ToyScales.scale_sizes(ToyScales.options({"positions": positions, "steps": steps})) == sizes
    )


@pytest.mark.parametrize("steps", [0, 5])
def test_more_scales_than_positions_are_refused(steps: int) -> None:
    with pytest.raises(
        ModelError, match=f"'steps' of ToyScales is {steps}; with 4 positions there"
    ):
        ToyScales.identify("toy-scales", ToyScales.options({"positions": 4, "steps": steps}))


@pytest.mark.parametrize("probe", [Probe(), SUBSET, ARGMAX, FIRST_SCALE, LAST_SCALE], ids=str)
def test_replayed_grids_have_their_enumerated_probability_and_no_path_bits(probe: Probe) -> None:
    """Every grid that can occur, and under argmax those that cannot, which take infinitely many bits."""
    model = scales_toy(seed=2, steps=2)
    law = enumerate_law(model, TEXT, probe).token_law
    every = torch.cartesian_prod(*[torch.arange(3)] * 4)
    trace = model.traverse(model.encode([TEXT] * 81), probe, Replay(every, philox(81)))
    assert trace.joint_surprisal is not None
    assert trace.path_surprisal is not None
    assert (trace.path_surprisal == 0).all()
    expected = torch.tensor([law.get(tuple(z), 0.0) for z in every.tolist()])
    torch.testing.assert_close(torch.exp2(-trace.joint_surprisal.sum(1)), expected.double())


def test_steps_are_the_scales_of_the_positions() -> None:
    model = scales_toy(positions=5, steps=3)
    trace = model.traverse(model.encode([TEXT] * 2), Probe(), philox(2))
    assert trace.token_step is not None
    assert trace.token_step.tolist() == [[0, 1, 2, 2, 2]] * 2
    assert trace.path_surprisal is None


def test_argmax_of_one_scale_leaves_the_draws_of_the_others() -> None:
    """With equal noise, the scales before the window are those of the free sample."""
    model, n = scales_toy(steps=2), 400
    conditioning, noise = model.encode([TEXT] * n), philox(n)
    free = model.traverse(conditioning, Probe(), noise).tokens
    first = model.traverse(conditioning, FIRST_SCALE, noise).tokens
    last = model.traverse(conditioning, LAST_SCALE, noise).tokens
    assert len(first[:, :1].unique()) == 1
    assert len(first[:, 1:].unique(dim=0)) > 5
    assert torch.equal(last[:, :1], free[:, :1])
    for code in last[:, 0].unique():
        assert len(last[last[:, 0] == code].unique(dim=0)) == 1


def test_scales_of_one_position_are_the_autoregressive_traversal() -> None:
    table = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 4, 3)))

    def next_logits(previous: torch.Tensor | None, position: int) -> torch.Tensor:
        row = torch.full((7,), 3) if previous is None else previous
        return table[position, row]

    def scale_logits(previous: torch.Tensor | None, scale: int) -> torch.Tensor:
        return next_logits(None if previous is None else previous[:, 0], scale).unsqueeze(1)

    given = {"law": TokenLaw(), "probe": Probe(), "noise": philox(7)}
    one = autoregressive.traverse(next_logits, 5, **given)
    other = scales.traverse(scale_logits, [1] * 5, **given)
    for name in ("tokens", "token_surprisal", "token_entropy"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    assert one.token_step is None


def test_all_logits_at_once_score_as_the_walk_from_scale_to_scale_does() -> None:
    model, n = scales_toy(positions=5, steps=3), 6
    sizes = model.scale_sizes(model.settings)
    conditioning = model.encode([TEXT] * n)
    tokens = model.traverse(conditioning, Probe(), philox(n)).tokens

    def scale_logits(previous: torch.Tensor | None, scale: int) -> torch.Tensor:
        start, end = ((0, 1), (1, 2), (2, 5))[scale]
        grid = tokens.clone()
        grid[:, start:] = model.settings.codes
        return model.logits(conditioning, grid)[:, start:end]

    def all_logits(given: torch.Tensor) -> torch.Tensor:
        assert torch.equal(given, tokens)
        return torch.cat([scale_logits(None, scale) for scale in range(3)], 1)

    given = {"law": model.law, "probe": Probe(), "noise": Replay(tokens, philox(n))}
    walked = scales.traverse(scale_logits, sizes, **given)
    at_once = scales.traverse(scale_logits, sizes, **given, all_logits=all_logits)
    assert walked.joint_surprisal is not None
    assert torch.equal(walked.joint_surprisal, at_once.joint_surprisal)
    assert walked.joint_surprisal.shape == (n, 3)
