"""Measurements by the name that a user types: ours, and a user's own."""

from __future__ import annotations

from typing import Any

from ibstats.errors import IbstatsError, unknown
from ibstats.measure.base import Distance, Embedding, ImageScore
from ibstats.measure.users import is_own, own_class
from ibstats.quantities import Better, Family, Material, Quantity, by_user, of_family, register

NETWORKS = {
    "clip": "ibstats.measure.clip:Clip",
    "clip_336": "ibstats.measure.hub_embedding:Clip336",
    "dinov2": "ibstats.measure.hub_embedding:Dinov2",
    "efficientnet_lite0": "ibstats.measure.efficientnet:EfficientNetLite0",
    "inception": "ibstats.measure.inception:Inception",
    "reference": "ibstats.measure.scene_network:SceneFeatures",
}
"""Networks by name, resolved on use: those behind scores, and the embedding that needs no hub."""

COMMAND = "command:"
"""What stands before the command line of a program that scores images."""

BY_COMMAND = "ibstats.measure.process_score:ProcessScore"
"""What makes such a score, resolved on use."""

HUB = "ibstats.measure.hub_embedding:HubEmbedding"
"""What makes a network of a checkpoint, resolved on use."""

COSINE = "embedding_cosine:"
"""What stands before the name of a network whose cosine distance is asked for."""

COSINE_OF = "ibstats.measure.embedding_cosine:EmbeddingCosine"
"""What makes that distance, resolved on use."""

OWN_RANK = 100
"""Place of a distance that is registered on use among those that may stand for diversity: after all of ours."""


def metric(name: str, **options: Any) -> Distance:
    """Make the distance of that name: of `ibstats.quantities`, of a network, or of your own.

    `embedding_cosine:NETWORK` is 1 - cos of the features of any network, see `network`. Your own is
    named `package.module:Class` or `path/to/file.py:Class`. The quantity of both is registered.
    `options` are those of `Measurement`: weights, device, batch_size, download. Raises IbstatsError
    for an unknown name, MissingWeights if the weights given do not exist.

    >>> metric("pixel_cosine").name
    'pixel_cosine_distance'
    >>> metric("embedding_cosine:facebook/dinov2-base").name
    'embedding_cosine_facebook_dinov2_base'
    """
    known = by_user("distance")
    if name.startswith(COSINE):
        of = network(name.removeprefix(COSINE), **options)
        made: Distance = own_class(COSINE_OF, Distance)(of)
        if made.name != known[COSINE[:-1]].name:
            _register(made, name)
    elif is_own(name):
        made = own_class(name, Distance)(**options)
        _register(made, name)
    elif name in known:
        made = own_class(known[name].made_by, Distance)(**options)
    else:
        raise unknown("metric", name, [*known, f"{COSINE}NETWORK"])
    return made


def default_metrics(on: Material = "scenes") -> tuple[str, ...]:
    """Give the names of the distances that are measured when nothing is asked for.

    `on` says on what: `scenes` of the trio, which its own network sees; other `pictures`,
    which a network of photographs sees; or images too `small` for that. LPIPS and EfficientNet are
    left out where they were not measured yet and their weights are not on the machine.

    >>> default_metrics("scenes")
    ('pixel_cosine', 'ssim', 'reference', 'lpips_alex')
    >>> default_metrics("pictures")
    ('pixel_cosine', 'ssim', 'embedding_cosine', 'lpips_alex')
    """
    names = []
    for record in of_family("distance"):
        if on in record.by_default:
            names.append(record.user)
    return tuple(names)


def network(name: str, **options: Any) -> Embedding:
    """Make the network of that name.

    One of `NETWORKS`; a checkpoint of the model hub (`owner/name`) or a folder that holds one; or
    your own class, `package.module:Class` or `path/to/file.py:Class`. `options` are those of
    `Measurement`: weights (of CLIP a hub name or folder), device, batch_size, download. Raises
    IbstatsError for another name.

    >>> network("reference").name
    'reference'
    """
    if name in NETWORKS:
        made: Embedding = own_class(NETWORKS[name], Embedding)(**options)
    elif is_own(name):
        made = own_class(name, Embedding)(**options)
        if made.name in NETWORKS:
            raise IbstatsError(f"network '{name}' needs a name of its own: '{made.name}' is ours")
    elif "/" in name:
        made = own_class(HUB, Embedding)(name, **options)
    else:
        raise unknown("feature network", name, [*NETWORKS, "owner/name of the hub"])
    return made


def score(name: str, **options: Any) -> ImageScore:
    """Make a score of your own of that name, and register its quantity.

    It is a class, `package.module:Class` or `path/to/file.py:Class`, or a program that answers line
    by line, `command:PROGRAM ARGUMENTS`. `options` are those of `Measurement`. Raises IbstatsError
    where there is none, or it has the name of another quantity.
    """
    if name.startswith(COMMAND):
        made: ImageScore = own_class(BY_COMMAND, ImageScore)(name.removeprefix(COMMAND), **options)
    else:
        made = own_class(name, ImageScore)(**options)
    _register(made, name)
    return made


def _register(own: Distance | ImageScore, name: str) -> None:
    """Make a quantity known that is not in the registry, as tables name it."""
    long = own.long_name or own.name
    family: Family = "distance"
    better: Better = ""
    least = 0.0
    if isinstance(own, ImageScore):
        family, better, least = "score", own.better, own.least
    record = Quantity(
        own.name,
        family,
        long,
        own.short_name or long,
        unit=own.unit,
        least=least,
        most=own.most,
        better=better,
        rank=OWN_RANK,
        user=name,
        made_by=name,
    )
    try:
        register(record)
    except ValueError as error:
        raise IbstatsError(f"'{name}' needs a name of its own: {error}") from None
