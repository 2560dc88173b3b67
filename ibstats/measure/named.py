"""Measurements by the name that a user types: ours, and a user's own."""

from __future__ import annotations

from typing import Any

from ibstats.errors import IbstatsError, unknown
from ibstats.measure.base import Distance, Embedding
from ibstats.measure.users import is_own, own_class
from ibstats.quantities import Quantity, by_user, of_family, register

NETWORKS = {
    "clip": "ibstats.measure.clip:Clip",
    "inception": "ibstats.measure.inception:Inception",
    "reference": "ibstats.measure.scene_network:SceneFeatures",
}
"""Networks behind the scores of quality by name, resolved on use."""

OWN_RANK = 100
"""Place of a user's distance among those that may stand for diversity: after all of ours."""


def metric(name: str, **options: Any) -> Distance:
    """Make the distance of that name: one of `ibstats.quantities`, or a class of your own.

    Your own is named `package.module:Class` or `path/to/file.py:Class`, and its quantity is
    registered. `options` are those of `Measurement`: weights, device, batch_size, download. Raises
    IbstatsError for an unknown name, MissingWeights if the weights given do not exist.

    >>> metric("pixel_cosine").name
    'pixel_cosine_distance'
    """
    if is_own(name):
        own: Distance = own_class(name, Distance)(**options)
        _register(own, name)
        return own
    known = by_user("distance")
    if name not in known:
        raise unknown("metric", name, known)
    made: Distance = own_class(known[name].made_by, Distance)(**options)
    return made


def default_metrics() -> tuple[str, ...]:
    """Give the names of the distances that are measured when nothing is asked for.

    LPIPS is left out where it was not measured yet and its weights are not on the machine.

    >>> default_metrics()
    ('pixel_cosine', 'ssim', 'reference', 'lpips_alex')
    """
    return tuple(record.user for record in of_family("distance") if record.by_default)


def network(name: str, **options: Any) -> Embedding:
    """Make the network of that name, one of `NETWORKS`; raises IbstatsError for another name.

    `options` are those of `Measurement`: weights (of CLIP a hub name or folder), device,
    batch_size, download.

    >>> network("reference").name
    'reference'
    """
    if name not in NETWORKS:
        raise unknown("feature network", name, NETWORKS)
    made: Embedding = own_class(NETWORKS[name], Embedding)(**options)
    return made


def _register(own: Distance, name: str) -> None:
    """Make the quantity of a user's distance known, as tables and figures name it."""
    long = own.long_name or own.name
    record = Quantity(
        own.name,
        "distance",
        long,
        own.short_name or long,
        unit=own.unit,
        most=own.most,
        rank=OWN_RANK,
        user=name,
        made_by=name,
    )
    try:
        register(record)
    except ValueError as error:
        raise IbstatsError(f"metric '{name}' needs a name of its own: {error}") from None
