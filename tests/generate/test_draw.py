from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from generate.traversal import draw
from generate.traversal.draw import TokenLaw, entropy, inverse_cdf, surprisal


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=6).filter(lambda p: sum(p) > 1e-3),
    st.floats(0, 1, exclude_max=True),
)
def test_inverse_cdf_never_draws_what_has_no_probability(
    weights: list[float], uniform: float
) -> None:
    law = torch.tensor(weights, dtype=torch.float32)
    drawn = int(inverse_cdf(law[None], torch.tensor([uniform], dtype=torch.float64))[0])
    assert law[drawn] > 0


def test_inverse_cdf_draws_the_code_whose_share_holds_the_uniform() -> None:
    law = torch.tensor([[0.2, 0.0, 0.5, 0.3]]).expand(5, 4)
    uniform = torch.tensor([0.0, 0.19, 0.21, 0.69, 1 - 2**-53], dtype=torch.float64)
    assert inverse_cdf(law, uniform).tolist() == [0, 0, 2, 2, 3]


def test_rare_codes_of_a_large_codebook_are_drawn_as_often_as_they_should() -> None:
    law = torch.full((1, 16384), 1e-9)
    law[0, 0] = 1.0
    total = float(law.double().sum())
    uniform = torch.tensor([1 - 1e-9 / total / 2], dtype=torch.float64)
    assert inverse_cdf(law, uniform).tolist() == [16383]


@pytest.mark.parametrize("scale", [0.0, 1.0, 4.0, 12.0])
def test_draws_in_two_levels_are_those_of_one_cdf_over_all_codes(
    scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the codes are excluded, as by a subset, and sharp laws underflow to zeros."""
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(3, 500, 4096, generator=generator)
    logits[1, :, ::2] = -torch.inf
    logits[2, :, 1000:] = -torch.inf
    laws = torch.softmax(logits, dim=-1)
    uniform = torch.rand(3, 500, generator=generator, dtype=torch.float64)
    uniform[:, 0], uniform[:, 1] = 0.0, 1 - 2**-53
    in_two = inverse_cdf(laws, uniform)
    monkeypatch.setattr(draw, "LARGE", 4097)
    assert torch.equal(in_two, inverse_cdf(laws, uniform))
    assert (laws.gather(-1, in_two.unsqueeze(-1)) > 0).all()


def test_the_codebook_is_restricted_before_top_k() -> None:
    logits = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0])
    allowed = torch.tensor([False, True, False, True, True])
    law = TokenLaw(top_k=2).probabilities(logits, allowed)
    assert law.tolist() == pytest.approx([0, 0.880797, 0, 0.119203, 0], rel=1e-5)  # logistic of 2


def test_top_k_beyond_the_allowed_codes_keeps_exactly_them() -> None:
    allowed = torch.tensor([True, False, True, False])
    law = TokenLaw(top_k=3).probabilities(torch.zeros(4), allowed)
    assert law.tolist() == [0.5, 0, 0.5, 0]


def test_top_p_keeps_the_fewest_codes_that_reach_the_mass_and_at_least_one() -> None:
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    assert TokenLaw(top_p=0.6).probabilities(logits, None).tolist() == pytest.approx(
        [0.625, 0.375, 0, 0]
    )
    assert TokenLaw(top_p=0.01).probabilities(logits, None).tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize(("mass", "kept"), [(0.25, 1), (0.5, 2), (0.75, 3), (0.51, 3), (0.49, 2)])
def test_top_p_that_is_reached_exactly_keeps_no_code_more(mass: float, kept: int) -> None:
    """Quarters are exact in binary, so the mass before the next code equals `mass`."""
    law = TokenLaw(top_p=mass).probabilities(torch.zeros(4), None)
    assert law.tolist() == pytest.approx([1 / kept] * kept + [0.0] * (4 - kept))


def test_temperature_is_a_power_of_the_law() -> None:
    law = np.array([0.6, 0.3, 0.1])
    sharpened = TokenLaw(temperature=0.5).probabilities(torch.log(torch.tensor(law)), None).numpy()
    np.testing.assert_allclose(sharpened, law**2 / (law**2).sum(), rtol=1e-6)


def test_entropy_and_surprisal_are_in_bits() -> None:
    law = torch.tensor([[0.5, 0.25, 0.25, 0.0]])
    assert entropy(law).tolist() == [1.5]
    assert surprisal(law, torch.tensor([2])).tolist() == [2.0]
