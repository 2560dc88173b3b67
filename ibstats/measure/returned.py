"""What a measurement returns, checked before it is cast, kept or compared.

Measurements are written by users too. Complex numbers, a similarity in place of a distance, or
features of half of the images can become a plausible table; here they are one line.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from ibstats.errors import IbstatsError

ROUNDING = 1e-3
"""Share of the largest distance that one of an image from itself, or an asymmetry, may be."""
FLOOR = 1e-6
"""The same, as a share of the squared norms, whose differences distances are."""


class Measured(Protocol):
    """What is asked of a distance: its name, and the largest value it can take."""

    name: str
    most: ClassVar[float]


def checked_pairs(
    measured: Any, shape: tuple[int, ...], metric: Measured, where: str
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Give distances `(cell, n, n)` and squared norms `(cell, n)` as they came, if they are such.

    `shape` is (cell, n), and `where` says which images they are of. Distances that are not a number
    pass: what they mean is said elsewhere. Raises IbstatsError for other types and shapes, for
    distances that are negative, above the metric's `most`, not symmetric, or not 0 from an image to
    itself.
    """
    if not isinstance(measured, tuple) or len(measured) != 2:
        raise IbstatsError(
            f"{metric.name} of {where}: `measure` gave a {type(measured).__name__}; return `Pairs`"
        )
    n_cells, n = shape
    distance = _numbers(measured[0], f"the distance of {metric.name}", (n_cells, n, n))
    squared_norm = _numbers(measured[1], f"the squared norm of {metric.name}", (n_cells, n))
    finite = np.isfinite(distance)
    largest = float(abs(distance[finite]).max(initial=0.0))
    scale = float(abs(squared_norm[np.isfinite(squared_norm)]).max(initial=0.0))
    allowed = ROUNDING * largest + FLOOR * (1 + scale)
    about = f"{metric.name} of {where}"
    lowest = float(distance[finite].min(initial=0.0))
    if lowest < -allowed:
        raise IbstatsError(f"{about} goes down to {lowest:.4g}, but a distance is 0 or more")
    if largest > metric.most + allowed:
        raise IbstatsError(f"{about} goes up to {largest:.4g}, but its `most` is {metric.most:.4g}")
    own = abs(np.diagonal(distance, axis1=1, axis2=2))
    furthest = float(own[np.isfinite(own)].max(initial=0.0))
    if furthest > allowed:
        raise IbstatsError(
            f"{about} of an image from itself is {furthest:.4g}, not 0; is it a similarity?"
        )
    known = np.where(finite & finite.swapaxes(1, 2), distance, 0.0).astype(np.float64)
    asymmetry = float(abs(known - known.swapaxes(1, 2)).max(initial=0.0))
    if asymmetry > allowed:
        raise IbstatsError(f"{about} is not symmetric, by up to {asymmetry:.4g}; take the mean")
    return distance, squared_norm


def checked_features(features: Any, n: int, name: str) -> NDArray[Any]:
    """Give features `(n, feature)` as they came, if they are real numbers of as many images.

    Raises IbstatsError, which names the measurement, for another type or shape. Numbers that are
    not finite pass, for whoever knows which images they are of.
    """
    given = _numbers(features, f"`embed` of {name}", None)
    if given.ndim != 2 or len(given) != n or given.shape[1] == 0:
        raise IbstatsError(
            f"`embed` of {name} gave {given.shape} for {n} images; return ({n}, feature)"
        )
    return given


def checked_settings(settings: Any, name: str) -> dict[str, Any]:
    """Give the settings of a measurement as JSON gives them, if it can.

    What is kept is named by them, and found again by comparing them. Raises IbstatsError, which
    names the setting, for what is no mapping from names to texts, numbers and lists of those.
    """
    if not isinstance(settings, dict):
        raise IbstatsError(
            f"`settings` of {name} gave a {type(settings).__name__}; return a dict of plain JSON"
        )
    found = {}
    for key, value in settings.items():
        if not isinstance(key, str):
            raise IbstatsError(f"`settings` of {name} has the key {key!r}; keys are texts")
        try:
            found[key] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            reason = " ".join(str(error).split())[:100]
            raise IbstatsError(
                f"`settings` of {name}: '{key}' is no plain JSON ({reason}); give texts, numbers, "
                "lists and dicts of those, of an array its digest"
            ) from None
    return found


def _numbers(values: Any, what: str, shape: tuple[int, ...] | None) -> NDArray[Any]:
    """An array of real numbers, of that shape where one is said."""
    try:
        array = np.asarray(values)
    except Exception as error:  # arrays of other libraries, on a device or with a gradient
        reason = " ".join(str(error).split())[:150]
        raise IbstatsError(f"{what} is no NumPy array ({reason}); return one") from None
    if array.dtype.kind not in "biuf":
        raise IbstatsError(f"{what} is {array.dtype}; return real numbers")
    if shape is not None and array.shape != shape:
        raise IbstatsError(f"{what} is {array.shape}, but must be {shape}")
    return array
