"""What an order of unmasking leaves of the diversity, noise by noise, and its bits beside other orders."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import combinations

import numpy as np
import xarray as xr

from ibstats.analysis.changes import Groups
from ibstats.analysis.measured import measured
from ibstats.design import OneOrder
from ibstats.measure import Machine
from ibstats.selection import Selection
from ibstats.statistics import diversity, pair_distances, path_and_execution, rescored
from ibstats.statistics.effects import compare
from ibstats.statistics.stacking import FEWEST_UNITS, over_quantities
from ibstats.statistics.uncertainty import Resampling, mean_interval
from schemas.analysis import Config

NOTHING = "nothing_varies"
"""Part of pair distances: images of one path noise under argmax, which are equal."""
TESTED = ("path_causal", "execution_causal", "joint")
"""Bits by which orders are compared."""

LEAK = (
    "images that share the path noise differ under argmax: the sampler leaks noise or is not exact"
)
"""What an order whose zero is none has for a note."""


def order_pairs(
    selection: Selection, settings: Config, machine: Machine
) -> tuple[Groups, list[str]]:
    """Group order_pairs: the two by two of every order by every distance that can be had.

    Rows are of section `pair_distance`, with the condition in which all noise of the order varies;
    notes name the orders whose zero is none. No group where there is no
    distance, and for experiments of another kind.
    """
    if not selection.design.orders():
        return {}, []
    found, notes = measured(selection, settings, machine)
    made = {}
    for name, table in found.items():
        by_prompt = diversity.mean_pairwise(table["distance"])
        parts = _two_by_two(by_prompt, selection, settings.resampling)
        if parts is not None:
            made[name] = parts
            notes += _leaks(parts, selection)
    if not made:
        return {}, notes
    stacked: xr.Dataset = xr.concat(
        made.values(), "quantity", join="outer", combine_attrs="override", fill_value={"note": ""}
    )
    units = np.array(["1"] * len(made), dtype=object)
    stacked = stacked.assign_coords(quantity=list(made)).assign(units=("quantity", units))
    attrs = {"section": "pair_distance", "n_images": selection.n_samples}
    return {"order_pairs": stacked.assign_attrs(attrs)}, list(dict.fromkeys(notes))


def order_bits(
    selection: Selection, settings: Config, machine: Machine
) -> tuple[Groups, list[str]]:
    """Group order_bits: the bits of every two orders compared, paired within prompts.

    Of the conditions in which all noise of an order varies. No group for experiments of another
    kind, nor where a run has no surprisals, of which `bits_groups` says why.
    """
    design = selection.design
    wholes = [one.whole for one in design.orders() if one.whole is not None]
    family = []
    for earlier, later in combinations(wholes, 2):
        family.append(design.difference(later, earlier))
    if not family or not selection.has("token_surprisal"):
        return {}, []
    bits = path_and_execution.ledger(selection.dataset, selection.identity)
    known = [name for name in TESTED if name in bits["quantity"]]
    values = xr.Dataset({name: bits.sel(quantity=name, drop=True) for name in known})
    made = over_quantities(values, partial(compare, contrasts=family, how=settings.resampling))
    if not made.sizes:
        return {}, []
    return {"order_bits": made.assign_attrs(section="information_effect")}, []


def order_tokens(
    selection: Selection, settings: Config, machine: Machine
) -> tuple[Groups, list[str]]:
    """Group order_tokens: how much more H(Z|X) each order has than the baseline, at least and at most.

    Over the prompts whose paths were rescored, in bits an image: of each prompt the bounds on H(Z|X)
    by the most paths, or the surprisal itself where it is exact, less the baseline's bound on the
    other side. A difference of bounds is one only in expectation, so it has an interval and no test.
    No group where the baseline was not rescored on two prompts.
    """
    design = selection.design
    base = design.baseline
    others = [one.whole for one in design.orders() if one.whole not in (None, base)]
    scored = None
    if others and selection.has("token_surprisal"):
        scored = rescored.find(selection.store, selection.model, selection.experiment)
    if scored is None or base not in scored.record.conditions:
        return {}, []
    found = rescored.brackets(scored).isel(paths=-1, drop=True).dropna("prompt")
    if found.sizes["prompt"] < FEWEST_UNITS:
        return {}, []
    bits = path_and_execution.ledger(selection.dataset, selection.identity)
    family, more = [], []
    for name in others:
        own = _bounds(str(name), found, bits)
        if own is not None:
            family.append(design.difference(str(name), base))
            other = found.sel(condition=base, drop=True)
            more.append((own[0] - other.sel(quantity=HIGH), own[1] - other.sel(quantity=LOW)))
    if not family:
        return {}, []
    coords = {
        "effect": [one.name for one in family],
        "condition": ("effect", [one.condition for one in family]),
        "against": ("effect", [one.against for one in family]),
    }
    values = {}
    for number, side in enumerate(("lower", "upper")):
        column = np.stack([both[number].values for both in more])
        values[f"tokens_more_{side}"] = xr.DataArray(
            column, coords, ("effect", "prompt"), attrs={"units": "bit"}
        )
    made = over_quantities(xr.Dataset(values), partial(mean_interval, how=settings.resampling))
    return {"order_tokens": made.assign_attrs(section="information_effect")}, []


LOW, HIGH = "tokens_lower", "tokens_upper"
"""Bounds on H(Z|X)."""


def _bounds(
    name: str, found: xr.DataArray, bits: xr.DataArray
) -> tuple[xr.DataArray, xr.DataArray] | None:
    """Bounds `(prompt)` on H(Z|X) of a condition: of rescored paths, or twice the exact number."""
    if name in found["condition"]:
        own = found.sel(condition=name, drop=True)
        return own.sel(quantity=LOW), own.sel(quantity=HIGH)
    if "tokens" not in bits["quantity"]:
        return None
    exact = bits.sel(quantity="tokens", condition=name, prompt=found["prompt"])
    return None if exact.isnull().any() else (exact, exact)


def _two_by_two(
    by_prompt: xr.DataArray, selection: Selection, how: Resampling
) -> xr.Dataset | None:
    """Pair distances of every order, over `condition` and `part`; None where no order has any."""
    made = []
    for one in selection.design.orders():
        if one.whole is not None and one.shared is not None:
            distances = _of_order(one, by_prompt, how)
            made.append(distances.expand_dims(condition=[one.whole]))
    if not made:
        return None
    parts = [part for part in (*pair_distances.PARTS, NOTHING) if _has(made, part)]
    stacked: xr.Dataset = xr.concat(
        made, "condition", join="outer", combine_attrs="override", fill_value=_FILL
    )
    return stacked.sel(part=parts)


_FILL: Mapping[str, object] = {"degenerate": False, "method": "", "note": "", "n_prompts": 0}
"""What stands for parts that an order does not have; numbers are NaN."""


def _has(made: list[xr.Dataset], part: str) -> bool:
    return any(part in one["part"] for one in made)


def _of_order(one: OneOrder, by_prompt: xr.DataArray, how: Resampling) -> xr.Dataset:
    """The parts of one order; a fixed order keeps all of its diversity where the path is shared."""

    def of(name: str | None) -> xr.DataArray:
        return by_prompt.sel(condition=name, drop=True).drop_attrs()

    whole = of(one.whole)
    pairs = xr.Dataset({pair_distances.NEITHER: whole, pair_distances.PATH: of(one.shared)})
    left, argmax = one.argmax, None
    if one.is_fixed:
        left = one.nothing
    if left is not None:
        argmax = xr.Dataset({"left": of(left), "whole": whole})
    parts = pair_distances.pair_shares(pairs, argmax, how)
    if one.nothing is None:
        return parts.assign(note=("part", np.full(parts.sizes["part"], "", dtype=object)))
    nothing = mean_interval(of(one.nothing), how)
    nothing = nothing.assign(n_prompts=nothing.attrs.pop("n_prompts"))
    parts = xr.concat(
        [parts, nothing.expand_dims(part=[NOTHING])], "part", combine_attrs="override"
    )
    notes = np.full(parts.sizes["part"], "", dtype=object)
    if float(nothing["estimate"]) != 0:
        notes[-1] = LEAK
    return parts.assign(note=("part", notes))


def _leaks(parts: xr.Dataset, selection: Selection) -> list[str]:
    """A note for each order whose zero is none."""
    if NOTHING not in parts["part"]:
        return []
    notes = parts["note"].sel(part=NOTHING)
    found = []
    for condition, note in zip(notes["condition"].values, notes.values, strict=True):
        if note:
            name = selection.design.condition(str(condition)).short
            found.append(f"{selection.model}/{selection.experiment}, {name}: {note}")
    return found
