"""Measurements by the name that a user types."""

from __future__ import annotations

import pytest

from ibstats.errors import IbstatsError
from ibstats.measure import NETWORKS, Distance, default_metrics, metric, named, network
from ibstats.quantities import by_user


@pytest.mark.parametrize("name", by_user("distance"))
def test_a_registered_distance_is_made_under_its_name(name: str) -> None:
    made = metric(name)
    assert isinstance(made, Distance)
    assert made.name == by_user("distance")[name].name


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_made_under_its_name(name: str) -> None:
    assert network(name).name == name


def test_the_default_metrics_are_registered() -> None:
    assert set(default_metrics()) <= set(by_user("distance"))


def test_an_unknown_network_lists_the_known() -> None:
    with pytest.raises(IbstatsError, match="unknown feature network 'vgg'; known: clip"):
        named.network("vgg")
