"""TF32 without a card for it (`studies/tf32.py`): its factors, and the networks it reaches."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch

from benchmarks.precision import MEMBERS
from generate.models import loaded
from generate.models.trio import Trio
from generate.study.probes import Probe
from generate.traversal.draw import PhiloxNoise
from tests.source import program

TEXTS = ["a large red circle on a blue background"] * 2


@pytest.fixture(scope="module")
def tf32() -> ModuleType:
    return program("studies/tf32.py")


def test_factors_to_the_nearest_are_those_of_a_type_with_as_many_bits(tf32: ModuleType) -> None:
    x = torch.randn(10_000, generator=torch.Generator().manual_seed(1))
    x = x[x.abs() > 2.0**-14]  # below, float16 has fewer
    assert torch.equal(tf32.rounded(x, "nearest"), x.half().float())
    assert torch.equal(tf32.rounded(x, "nearest", 7), x.bfloat16().float())


def test_truncated_factors_are_never_longer_and_off_by_less_than_the_last_bit(
    tf32: ModuleType,
) -> None:
    x = torch.randn(10_000, generator=torch.Generator().manual_seed(1))
    lost = x.abs() - tf32.rounded(x, "truncated").abs()
    assert lost.min() >= 0
    assert lost.max() > 0
    assert (lost / x.abs() < 2.0**-10).all()


def load(name: str, **options: object) -> Trio:
    model = loaded(name, options)
    assert isinstance(model, Trio)
    return model


@pytest.mark.parametrize(("member", "emulated"), MEMBERS.items())
def test_networks_keep_their_logits_up_to_the_bits_that_are_lost(
    tf32: ModuleType, member: str, emulated: str
) -> None:
    model = load(member)
    tokens = model.codes_of_images(2, seed=1)
    grids = torch.from_numpy(next(iter(tokens))).long()
    exact = model.grid_logits(model.encode(TEXTS), grids, 0)

    def off(mantissa: int) -> float:
        with tf32.Tf32("nearest", mantissa):
            return float((model.grid_logits(model.encode(TEXTS), grids, 0) - exact).abs().max())

    assert off(23) < 1e-4  # the same products, so also the same attention
    assert 4 < off(7) / off(10) < 16  # three bits are a factor of eight
    ours = load(f"studies/tf32.py:{emulated}", factors="nearest")
    wrapped = ours.grid_logits(ours.encode(TEXTS), grids, 0)
    assert float((wrapped - exact).abs().max()) == off(10)


def test_a_member_samples_in_tf32_from_the_first_token_on() -> None:
    def traced(name: str, **options: object) -> torch.Tensor:
        model = load(name, **options)
        keys = np.arange(4, dtype=np.uint64).reshape(2, 2)
        return model.traverse(model.encode(TEXTS), Probe(), PhiloxNoise(*keys)).token_entropy

    apart = (traced("studies/tf32.py:Causal", factors="truncated") - traced("trio-ar")).abs()
    assert 0 < float(apart[:, 0].max()) < 0.05


def test_a_product_that_is_not_known_is_no_product_in_float32(tf32: ModuleType) -> None:
    with tf32.Tf32("nearest"), pytest.raises(NotImplementedError, match="einsum multiplies"):
        torch.einsum("ij,jk->ik", torch.ones(2, 2), torch.ones(2, 2))
