"""Codebook entropies of every condition, from tokens only."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ibstats.analysis import changes
from ibstats.analysis.changes import Groups
from ibstats.errors import Unmeasurable
from ibstats.measure import Machine
from ibstats.selection import Selection
from ibstats.statistics import information
from ibstats.statistics.stacking import limit, means, over_quantities
from ibstats.statistics.uncertainty import Resampling, mean_interval
from schemas.analysis import Config

UNRELATED_NOTE = "mean plug-in I over label shuffles, and the p value of I = 0; not a correction"

BIT_QUANTIZERS = ("lfq",)
"""Quantizers whose codes are bits of the channels."""


def information_groups(
    selection: Selection, settings: Config, machine: Machine
) -> tuple[Groups, list[str]]:
    """Groups from tokens: information, codebook_use, unrelated, changes of them, positions, bits.

    Returns no groups, and the reason, where the run has no tokens.
    """
    try:
        dataset = selection.need("tokens")
    except Unmeasurable as error:
        return {}, [f"entropies are left out: {error}"]
    how = settings.resampling
    tokens = dataset["tokens"]
    n_codes = selection.identity.codebook_size
    if settings.images_per_prompt is not None:
        tokens = information.rarefy(tokens, settings.images_per_prompt, how.seed)
    usable = usable_codes(selection)
    parts = ["per_prompt", "pooled", "coverage", "by_position", "shuffle_test"]
    if selection.identity.quantizer in BIT_QUANTIZERS:
        parts.append("by_bit")
    made = information.measure(
        tokens,
        n_codes,
        parts,
        estimator=settings.estimator,
        usable=[int(size) for size in usable.values],
        n_shuffles=settings.n_shuffles,
        seed=how.seed,
    )
    where = f"{selection.model}, {selection.experiment}"
    notes = information.coverage_warnings(made["coverage"], where)
    groups: Groups = {
        "information": _summary(made["per_prompt"], made["pooled"], usable, n_codes, how),
        "codebook_use": _use(made["coverage"], usable, selection.n_prompts),
        "unrelated": _unrelated(made["shuffle_test"], selection.n_prompts),
        "positions": _positions(made["by_position"]),
    }
    tested = made["per_prompt"].drop_vars("utilisation")
    families, said = changes.changes(tested, selection.design, how, changes.INFORMATION)
    for name, group in families.items():
        groups[f"information_{name}"] = _noted(group, information.CHANGE_NOTE)
    if "by_bit" in made:
        groups["bits"] = means(made["by_bit"], how).assign_attrs(section="information")
    of = {
        "estimator": settings.estimator,
        "n_codes": n_codes,
        "n_images": tokens.sizes["sample"],
    }
    groups = {name: group.assign_attrs({**of, **group.attrs}) for name, group in groups.items()}
    return groups, notes + said


def usable_codes(selection: Selection) -> xr.DataArray:
    """Number of codes that each condition may use, `(condition)`: the codebook where no subset is recorded."""
    if selection.has("codebook_keep"):
        return selection.dataset["codebook_keep"].sum("code")
    n_codes = selection.identity.codebook_size
    names = selection.dataset["condition"].values
    return xr.DataArray(np.full(len(names), n_codes), dims="condition", coords={"condition": names})


def _summary(
    values: xr.Dataset, pooled: xr.Dataset, usable: xr.DataArray, n_codes: int, how: Resampling
) -> xr.Dataset:
    """Entropies and use of the codebook, each within what the condition's codes allow; perplexity from H(Z)."""
    found = over_quantities(values, lambda y: mean_interval(y, how))
    for name, value in pooled.data_vars.items():
        found["estimate"].loc[{"quantity": name}] = value
    entropies = ("codebook_entropy", "conditional_entropy", "mutual_information")
    capacity = _capacity(usable)
    most: dict[str, xr.DataArray] = dict.fromkeys(entropies, capacity)
    limit(found, most | {"utilisation": usable / n_codes})
    perplexity = found.sel(quantity=["codebook_entropy"])
    for bound in ("estimate", "low", "high"):
        perplexity[bound] = 2 ** perplexity[bound]
    perplexity = perplexity.assign_coords(quantity=["perplexity"])
    perplexity["units"] = ("quantity", np.array(["1"], dtype=object))
    whole: xr.Dataset = xr.concat([found, perplexity], "quantity", combine_attrs="override")
    return _noted(whole, information.POOLED_NOTE).assign_attrs(section="information")


def _capacity(usable: xr.DataArray) -> xr.DataArray:
    """log2 of the codes that each condition may use, in bits."""
    return usable.copy(data=np.log2(usable.values))


def _noted(group: xr.Dataset, note: str) -> xr.Dataset:
    """What is to be known of the pooled quantities beside each of them."""
    notes = [note if name in information.POOLED else "" for name in group["quantity"].values]
    return group.assign(note=("quantity", np.array(notes, dtype=object)))


def _use(covered: xr.Dataset, usable: xr.DataArray, n_prompts: int) -> xr.Dataset:
    """Facts of the samples without an interval: capacity and coverage, `(quantity, condition)`."""
    facts = {
        "capacity": _capacity(usable),
        "coverage": covered["coverage"],
        "coverage_per_prompt": covered["coverage_per_prompt"],
    }
    units = np.array(["bit", "1", "1"], dtype=object)
    stacked = xr.concat(
        [fact.reset_coords(drop=True) for fact in facts.values()], "quantity", coords="minimal"
    )
    stacked = stacked.assign_coords(quantity=list(facts), condition=usable["condition"].values)
    group: xr.Dataset = stacked.to_dataset(name="estimate")
    group = group.assign(units=("quantity", units))
    return group.assign_attrs(section="information", n_prompts=n_prompts, estimator=None)


def _unrelated(null: xr.Dataset, n_prompts: int) -> xr.Dataset:
    """The size of plug-in I where prompt and code are unrelated, and the p value that they are."""
    name = "mutual_information_if_unrelated"
    group = null.reset_coords(drop=True).rename(null_mean="estimate")
    group = group.expand_dims(quantity=[name]).assign_coords(condition=null["condition"].values)
    group = group.assign(units=("quantity", np.array(["bit"], dtype=object)))
    attrs = {"section": "information", "note": UNRELATED_NOTE, "n_prompts": n_prompts}
    return group.assign_attrs(attrs | {"estimator": "plugin"})


def _positions(found: xr.Dataset) -> xr.Dataset:
    """The map of each position, with the names of the conditions alone."""
    others = [name for name in found.coords if name != "condition"]
    return found.drop_vars(others)
