"""What conditions change: effects where factors are crossed, comparisons with the baseline where they are not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial

import xarray as xr

from ibstats.design import Design, Subfactorial
from ibstats.planned import planned
from ibstats.statistics.effects import compare, effects, simple_effects, waterfall
from ibstats.statistics.stacking import over_quantities
from ibstats.statistics.uncertainty import Resampling


@dataclass(frozen=True)
class Sections:
    """Sections of the results that changes of one kind of number go to.

    A family whose section is empty is not made.
    """

    effects: str
    contrasts: str
    probes: str = ""
    comparisons: str = ""
    simple: str = ""


DIVERSITY = Sections("effect", "contrast", "probe", "comparison", "simple_effect")
INFORMATION = Sections("information_effect", "information_effect")
QUALITY = Sections("quality_effect", "quality_effect", "quality_probe")

Groups = dict[str, xr.Dataset]

NO_BASELINE = "no condition is named the baseline, so conditions are not compared"
ALONE = "there is one condition, so there is nothing to compare"


def changes(
    values: xr.Dataset, design: Design, how: Resampling, sections: Sections
) -> tuple[Groups, list[str]]:
    """Groups of tested differences that a design allows, and a note where it allows none.

    Parameters: `values`, quantities `(condition, prompt)` or `(condition, block)`; the design;
    `how`; the sections of the results for each family.
    A complete factorial gives `effects`, `simple_effects` (with other factors held at a level) and,
    from the baseline, `probes`; a part of one the effects
    of its largest complete parts, with the levels held; an ablation, or conditions that are just
    named, `contrasts` with the baseline and the `comparisons` planned for its kind.
    """
    parts = [] if design.is_ablation else design.subfactorials()
    found: Groups = {}
    for number, part in enumerate(parts):
        name = "effects" if number == 0 else f"effects_{number + 1}"
        made = over_quantities(values, partial(_effects, design=design, part=part, how=how))
        found[name] = made.assign_attrs(section=sections.effects, at=json.dumps(dict(part.at)))
    if sections.simple and not design.is_ablation and _is_crossed(design):
        made = over_quantities(values, partial(_simple_effects, design=design, how=how))
        found["simple_effects"] = made.assign_attrs(section=sections.simple)
    families = {"probes": (sections.probes, design.probes())}
    if not parts:
        families["contrasts"] = (sections.contrasts, design.against_baseline())
        families["comparisons"] = (sections.comparisons, planned(design))
    for name, (section, family) in families.items():
        if section and family:
            made = over_quantities(values, partial(compare, contrasts=family, how=how))
            found[name] = made.assign_attrs(section=section)
    kept = {name: group for name, group in found.items() if group.sizes}
    if kept:
        return kept, []
    if len(design.conditions) == 1:
        return {}, [ALONE]
    return {}, [NO_BASELINE] if design.baseline is None else []


def _effects(y: xr.DataArray, design: Design, part: Subfactorial, how: Resampling) -> xr.Dataset:
    return effects(design.by_factor(y, part), how)


def _simple_effects(y: xr.DataArray, design: Design, how: Resampling) -> xr.Dataset:
    return simple_effects(design.by_factor(y), how)


def _is_crossed(design: Design) -> bool:
    """Whether all combinations of two or more factors are there."""
    return design.is_factorial and len(design.factors) > 1


HELD = {"sampling": "stochastic"}
"""What is held fixed in the waterfall of the other two factors (paper, Fig. 10 and 13)."""


def waterfalls(values: xr.Dataset, design: Design, how: Resampling) -> Groups:
    """Waterfalls of a complete factorial of two or more factors, by the name of their group.

    Of all factors, and with sampling held stochastic (paper, Fig. 10 and 13) where that leaves two.
    Empty for other designs.
    """
    if design.is_ablation or not _is_crossed(design):
        return {}
    levels = {"waterfall": {}, "waterfall_stochastic": HELD}
    names = [factor.name for factor in design.factors]
    found: Groups = {}
    for name, at in levels.items():
        free = [factor for factor in names if factor not in at]
        if len(free) < 2 or not set(at) <= set(names):
            continue

        def one(y: xr.DataArray, at: dict[str, str] = at) -> xr.Dataset:
            """The waterfall of one quantity."""
            return waterfall(design.by_factor(y), how, at)

        found[name] = over_quantities(values, one).assign_attrs(section="waterfall")
    return found
