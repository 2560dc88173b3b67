"""Margins of equivalence: those that a user declared, and a share of the value where none was."""

from __future__ import annotations

from collections.abc import Mapping

from ibstats.quantities import by_user
from ibstats.statistics.significance import MARGIN_SHARE
from schemas.analysis import Config

DEFAULT = (
    f"margin: {MARGIN_SHARE:.0%} of the value without intervention, as none was declared; it lies "
    "between what the paper calls a minor change (up to 4.3 %) and a significant one (from 10.6 %)"
)
"""Said of a margin that nobody declared."""


def declared(settings: Config) -> dict[str, float]:
    """Declared margins by the name of the quantity in results; a user may give either name.

    In the unit of the quantity, as `schemas.analysis.Config.margins` has them.
    """
    known = {**by_user("score"), **by_user("distance")}
    found = {}
    for name, margin in settings.margins.items():
        found[known[name].name if name in known else name] = margin
    return found


def margins(settings: Config, whole: Mapping[str, float]) -> dict[str, float]:
    """The margin of each quantity, +- in its unit: the declared one, else a share of its value.

    `whole` has the value of each without intervention; one that is 0, or undefined, has no margin
    unless it was declared, and is left out.

    >>> margins(Config(margins={"ssim": 0.1}), {"ssim_dissimilarity": 0.5, "fid": 20.0, "kid": 0.0})
    {'ssim_dissimilarity': 0.1, 'fid': 1.0}
    """
    known = declared(settings)
    found = {}
    for name, value in whole.items():
        if name in known:
            found[name] = known[name]
        elif abs(value) > 0:
            found[name] = MARGIN_SHARE * abs(value)
    return found
