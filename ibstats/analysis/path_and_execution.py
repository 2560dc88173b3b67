"""Bits of path and execution of every condition, their bounds by rescored paths, and shares of crossed noise."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import xarray as xr

from ibstats.analysis.changes import Groups
from ibstats.analysis.measured import measured
from ibstats.errors import IbstatsError, Unmeasurable
from ibstats.measure import Machine
from ibstats.quantities import quantity
from ibstats.selection import Selection, crossed
from ibstats.statistics import diversity, pair_distances, rescored
from ibstats.statistics import path_and_execution as bits
from ibstats.store import Store
from schemas.analysis import Config
from schemas.design import ARGMAX, SAMPLING

NOTHING_VARIES = "nothing varies, so there is no share"

TRAJECTORY = "path_upper_trajectory"
"""There where tokens are revised after their reveal."""


def rescored_digests(store: Store, settings: Config) -> dict[str, str]:
    """Digests of the rescored paths that bounds rest on, by model.

    Models without any are left out. Raises IbstatsError where they belong to other data.
    """
    digests: dict[str, str] = {}
    for model in settings.models or store.models():
        found = rescored.find(store, model, settings.experiment)
        if found is not None:
            digests[model] = found.digest()
    return digests


def bits_groups(
    selection: Selection, settings: Config, machine: Machine
) -> tuple[Groups, list[str]]:
    """Groups from recorded surprisals: ledger (bits), ledger_shares, rescored (bounds by paths).

    Returns no groups, and the reason, where a run has no surprisals.
    """
    groups: Groups = {}
    try:
        dataset = selection.need("token_surprisal", "argmax_window", every_sample=True)
    except Unmeasurable as error:
        return {}, [f"bits of path and execution are left out: {error}"]
    known = bits.ledger(dataset, selection.identity)
    if known.sizes["quantity"]:
        found = bits.ledger_intervals(known, settings.resampling)
        groups |= _bits(found, selection)
    made, notes = _rescored(selection, settings, revised=TRAJECTORY in known["quantity"])
    return groups | made, notes


def shares_groups(
    selection: Selection, settings: Config, machine: Machine
) -> tuple[Groups, list[str]]:
    """Groups from distances: what crossed noise leaves of the diversity, shares of it, the wording.

    `pairs_EXPERIMENT` and `shares_EXPERIMENT` of every crossed-noise experiment, and `wording`.
    They are of the model without other intervention, so they stand beside a factorial, not beside
    each ablation.
    """
    groups: Groups = {}
    notes: list[str] = []
    if selection.design.is_ablation:
        return groups, notes
    for noise in crossed(selection.store, selection.model, allow_partial=settings.allow_partial):
        made, said = _crossed(noise, selection, settings, machine)
        groups |= made
        notes += said
    made, said = _wording(selection, settings, machine)
    return groups | made, notes + said


def _bits(found: xr.Dataset, selection: Selection) -> Groups:
    """The bits with their remarks, the undefined ones too, and the shares of the joint bits."""
    remarks: dict[str, str] = json.loads(found.attrs["remarks"])
    measured_names = [str(name) for name in found["quantity"].values]
    names = measured_names + [name for name in remarks if name not in measured_names]
    own = [name for name in found.data_vars if not str(name).startswith("share_")]
    whole = found[own].drop_dims("part", errors="ignore")
    whole = whole.reindex(quantity=names, fill_value={"degenerate": False})
    notes = np.array([remarks.get(name, "") for name in names], dtype=object)
    whole = whole.assign(note=("quantity", notes), units=("quantity", _units(names)))
    extent = {"section": "ledger", "n_images": selection.n_samples, **selection.most_images}
    groups = {"ledger": whole.assign_attrs(extent)}
    if "part" in found.dims:
        parts = [f"share_{name}" for name in found["part"].values]
        shares = xr.Dataset()
        for name in ("estimate", "low", "high", "degenerate"):
            shares[name] = found[f"share_{name}"].rename(part="quantity")
        shares = shares.assign_coords(quantity=parts).assign(units=("quantity", _units(parts)))
        shares.attrs = {**found.attrs, **extent}
        groups["ledger_shares"] = shares
    return groups


def _units(names: list[str]) -> np.ndarray:
    return np.array([quantity(name).unit for name in names], dtype=object)


def _rescored(selection: Selection, settings: Config, *, revised: bool) -> tuple[Groups, list[str]]:
    """Bounds by number of rescored paths, where some were rescored."""
    scored = rescored.find(selection.store, selection.model, selection.experiment)
    if scored is None:
        return {}, []
    known = rescored.brackets(scored, revised=revised)
    if known.dropna("prompt").sizes["prompt"] < 2:
        return {}, [
            f"{selection.model}: fewer than two prompts are rescored, so their bounds have no interval; left out"
        ]
    found = rescored.bracket_intervals(known, settings.resampling)
    names = [str(name) for name in found["quantity"].values]
    unknown = int(found.attrs["unknown_images"])
    note = ""
    if unknown:
        images = found.attrs["images"]
        note = f"{unknown} of {images} images did not come out again and count in tokens_upper only"
    attrs = {
        "section": "ledger",
        "n_images": scored.record.n_samples,
        "proposal": scored.record.proposal,
        "note": note,
    }
    return {"rescored": found.assign(units=("quantity", _units(names))).assign_attrs(attrs)}, []


def _crossed(
    noise: Selection, selection: Selection, settings: Config, machine: Machine
) -> tuple[Groups, list[str]]:
    """Pair distances of a crossed-noise experiment by every distance that can be had.

    And Sobol indices by those of an embedding. `selection` is the experiment that is analysed.
    """
    if not noise.is_complete:
        complete = noise.store.complete(noise.model, noise.experiment).all(axis=0)
        done = f"{int(complete.sum())} of {complete.size} prompts of '{noise.experiment}'"
        return {}, [f"{noise.model}: {done} are complete; left out"]
    found, notes = _of_pairs(noise, settings, machine)
    embedded = [one.name for one in machine.metrics(settings.metrics) if one.embedded]
    groups: Groups = {}
    of_pairs = _pairs(noise, selection, found, settings, machine)
    if of_pairs:
        groups[f"pairs_{noise.experiment}"] = _by_distance(of_pairs, noise, "pair_distance")
    shares = {}
    for name, table in found.items():
        if name in embedded:
            variance = bits.crossed_components(table["distance"], *noise.crossing, noise.renderings)
            shares[name] = bits.sobol_shares(variance, settings.resampling).rename(share="part")
    if shares:
        groups[f"shares_{noise.experiment}"] = _by_distance(shares, noise, "sobol")
    return groups, notes


def _of_pairs(
    selection: Selection, settings: Config, machine: Machine
) -> tuple[dict[str, xr.Dataset], list[str]]:
    """Every distance that can be had, and notes; one of no embedding may be out of reach here."""
    try:
        return measured(selection, settings, machine)
    except Unmeasurable as error:
        found, notes = measured(selection, settings, machine, embedded=True)
        return found, [*notes, f"{selection.model}/{selection.experiment}: {error}"]


def _by_distance(made: Mapping[str, xr.Dataset], noise: Selection, section: str) -> xr.Dataset:
    """Shares stacked over the distances they are by, with a note where nothing varies."""
    stacked: xr.Dataset = xr.concat(made.values(), dim="quantity", combine_attrs="override")
    estimate = stacked["estimate"]
    note = stacked["note"] if "note" in stacked else xr.full_like(estimate, "", dtype=object)
    note = note.where(estimate.notnull(), NOTHING_VARIES)
    units = np.array(["1"] * len(made), dtype=object)
    stacked = stacked.assign_coords(quantity=list(made))
    stacked = stacked.assign(note=note, units=("quantity", units))
    attrs = {"section": section, "n_images": noise.n_samples, "experiment": noise.experiment}
    return stacked.assign_attrs(attrs)


def _pairs(
    noise: Selection,
    selection: Selection,
    found: Mapping[str, xr.Dataset],
    settings: Config,
    machine: Machine,
) -> dict[str, xr.Dataset]:
    """Pair distances of the condition without intervention, by distance; none where there is none.

    Argmax images are those of the analysed experiment where it has them, for it has more of them.
    """
    baseline = noise.design.baseline
    if baseline is None:
        return {}
    left, whole = selection.design.moved(SAMPLING, ARGMAX), selection.design.baseline
    others: Mapping[str, xr.Dataset] = {}
    if left is not None:
        others, _ = _of_pairs(selection, settings, machine)
    made = {}
    for name, table in found.items():
        means = pair_distances.pair_means(table["distance"], *noise.crossing, noise.renderings)
        own = means.sel(condition=baseline, drop=True)
        argmax, source = _own_argmax(noise, means), noise.experiment
        if name in others and left is not None:
            of_prompt = diversity.mean_pairwise(others[name]["distance"])
            argmax = _left_and_whole(of_prompt, left, of_prompt, str(whole))
            source = selection.experiment
        shares = pair_distances.pair_shares(own, argmax, settings.resampling)
        notes = []
        for part in shares["part"].values:
            is_theirs = part in (pair_distances.ARGMAX, pair_distances.REDUNDANCY)
            notes.append(f"argmax images of '{source}'" if is_theirs else "")
        note = ("part", np.array(notes, dtype=object))
        made[name] = shares.assign(note=note).assign_attrs(condition=baseline)
    parts = list(pair_distances.PARTS)
    for shares in made.values():
        parts = [part for part in parts if part in shares["part"]]
    return {name: shares.sel(part=parts) for name, shares in made.items()}


def _own_argmax(noise: Selection, means: xr.Dataset) -> xr.Dataset | None:
    """Distances of the argmax images of a crossed-noise experiment; None where it has none.

    Of images with other paths and one execution noise: argmax does not ask for it.
    """
    left, whole = noise.design.moved(SAMPLING, ARGMAX), noise.design.baseline
    if left is None:
        return None
    execution, neither = means[pair_distances.EXECUTION], means[pair_distances.NEITHER]
    return _left_and_whole(execution, left, neither, str(whole))


def _left_and_whole(
    argmax: xr.DataArray, left: str, baseline: xr.DataArray, whole: str
) -> xr.Dataset:
    """Mean distances `(prompt)` of one condition's images beside those of another one's."""
    return xr.Dataset(
        {
            "left": ("prompt", argmax.sel(condition=left).values),
            "whole": ("prompt", baseline.sel(condition=whole).values),
        },
        coords={"prompt": argmax["prompt"].values},
    )


def _wording(selection: Selection, settings: Config, machine: Machine) -> tuple[Groups, list[str]]:
    """Diversity within and between wordings, of the conditions that spread samples over several texts."""
    if not selection.has("text_index"):
        return {}, []
    texts = selection.dataset["text_index"]
    if not _spread(texts):
        return {}, []
    found, notes = measured(selection, settings, machine, embedded=True)
    groups = []
    for table in found.values():
        try:
            groups.append(bits.paraphrase_budget(table["distance"], texts, settings.resampling))
        except IbstatsError as error:
            return {}, [*notes, f"the share of the wording is left out: {error}"]
    if not groups:
        return {}, notes
    stacked: xr.Dataset = xr.concat(groups, dim="quantity", combine_attrs="override")
    stacked = stacked.assign_coords(quantity=list(found))
    stacked = stacked.assign(units=("quantity", np.array(["1"] * len(found), dtype=object)))
    return {"wording": stacked.assign_attrs(section="wording")}, notes


def _spread(text_index: xr.DataArray) -> bool:
    """Whether some condition spreads the samples of every prompt over two or more texts."""
    for cell in text_index.transpose("condition", "prompt", "sample").values:
        if all(len(set(row.tolist())) > 1 for row in cell):
            return True
    return False
