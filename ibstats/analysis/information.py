"""Codebook entropies of every condition, from tokens only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from ibstats.analysis import changes
from ibstats.analysis.changes import Groups
from ibstats.errors import Unmeasurable
from ibstats.measure import Machine
from ibstats.quantities import quantity
from ibstats.selection import Selection
from ibstats.statistics import collision, information, kept_codes, rarefaction, unseen
from ibstats.statistics.stacking import limit, means, over_quantities
from ibstats.statistics.uncertainty import Resampling, mean_interval
from schemas.analysis import Config

UNRELATED_NOTE = "mean plug-in I over label shuffles, and the p value of I = 0; not a correction"

PARTS = (
    "per_prompt",
    "half",
    "unseen",
    "coverage",
    "collision",
    "by_position",
    "collision_by_position",
    "collision_at_positions",
    "shuffle_test",
)
"""What is made of one counting of the tokens."""

CHANGING = ("collision_conditional", "collision_entropy", "collision_information")
"""Collision quantities whose changes are tested."""

SEEN = "positions_seen"
"""Share of the positions whose Shannon entropy given the prompt can be read."""

SHARED = ("text_index", "path_key", "execution_key")
"""Variables that images of one prompt may have in common."""

FEW = 99
"""Resamples where only estimates are read."""


def information_groups(
    selection: Selection, settings: Config, machine: Machine
) -> tuple[Groups, list[str]]:
    """Groups from tokens: information, collision, codebook_use, unrelated, positions, digits.

    And the changes of the first two; `subset` and `subset_removed` where a codebook is restricted.
    Changes of Shannon's entropies that move with the number of images have no p value
    (`rarefaction`). Returns no groups, and the reason, where the run has no tokens.
    """
    try:
        dataset = selection.need("tokens")
    except Unmeasurable as error:
        return {}, [f"entropies are left out: {error}"]
    how = settings.resampling
    n_codes = selection.identity.codebook_size
    usable = usable_codes(selection)
    tokens, share = _tokens(dataset, settings)
    made, most = _measured(selection, settings, usable, tokens, share)
    where = f"{selection.model}, {selection.experiment}"
    notes = unseen.warnings(made["unseen"], where)
    masses = made["unseen"].mean("prompt")
    groups: Groups = {
        "information": _summary(made["per_prompt"], masses, usable, n_codes, how),
        "collision": _collision(made["collision"], how),
        "codebook_use": _use(made["coverage"], masses, usable, selection.n_prompts),
        "unrelated": _unrelated(made["shuffle_test"], selection.n_prompts),
        "at_positions": _at_positions(made["collision_at_positions"], how),
        "positions_seen": _positions_seen(made["by_position"], selection.n_prompts),
        "positions": _positions(made["by_position"], made["collision_by_position"]),
        "rarefaction": _rarefaction(selection, tokens, share, usable, settings),
    }
    families, said = _changes(made, selection, tokens.sizes["sample"], how)
    groups |= families
    for name in groups:
        if name in ("collision", "at_positions") or name.startswith("collision_"):
            groups[name] = groups[name].assign_attrs(most)
    subsets, uncertain = _subsets(selection, tokens, how)
    groups |= subsets
    notes += uncertain
    if "by_digit" in made:
        groups["digits"] = means(made["by_digit"], how).assign_attrs(section="information")
    of = {
        "estimator": settings.estimator,
        "n_codes": n_codes,
        "n_images": tokens.sizes["sample"],
    }
    groups = {name: group.assign_attrs({**of, **group.attrs}) for name, group in groups.items()}
    return groups, notes + said


def _tokens(dataset: xr.Dataset, settings: Config) -> tuple[xr.DataArray, list[xr.DataArray]]:
    """Tokens (prompt, condition, sample, position) and what images share, of as many images a
    prompt as are asked for.
    """
    tokens, share = dataset["tokens"], shared_by_images(dataset)
    if settings.images_per_prompt is None:
        return tokens, share
    n_images, seed = settings.images_per_prompt, settings.resampling.seed
    return (
        information.rarefy(tokens, n_images, seed),
        [information.rarefy(label, n_images, seed) for label in share],
    )


def _measured(
    selection: Selection,
    settings: Config,
    usable: xr.DataArray,
    tokens: xr.DataArray,
    share: Sequence[xr.DataArray],
) -> tuple[dict[str, xr.Dataset], dict[str, int]]:
    """What the tokens give, by name, and the most images of a prompt where prompts have unlike many.

    Collision entropies then take every sample, as they depend on no number of images.
    """
    n_codes, levels = selection.identity.codebook_size, selection.identity.digit_levels
    parts = [*PARTS, "by_digit"] if levels else list(PARTS)
    every = None
    if selection.unequal and settings.images_per_prompt is None:
        every = selection.every_sample
        parts = [part for part in parts if part not in information.COLLISION]
    made = information.measure(
        tokens,
        n_codes,
        parts,
        estimator=settings.estimator,
        usable=usable.values.tolist(),
        share=share,
        levels=levels,
        n_shuffles=settings.n_shuffles,
        seed=settings.resampling.seed,
    )
    if every is None:
        return made, {}
    made |= information.measure(
        every["tokens"],
        n_codes,
        list(information.COLLISION),
        share=shared_by_images(every),
        counts=selection.sample_counts,
    )
    return made, selection.most_images


def usable_codes(selection: Selection) -> xr.DataArray:
    """Number of codes that each condition may use, `(condition,)`.

    The size of the codebook where no subset is recorded.
    """
    if selection.has("codebook_keep"):
        return selection.dataset["codebook_keep"].sum("code")
    n_codes = selection.identity.codebook_size
    names = selection.dataset["condition"].values
    return xr.DataArray(np.full(len(names), n_codes), dims="condition", coords={"condition": names})


def _subsets(
    selection: Selection, tokens: xr.DataArray, how: Resampling
) -> tuple[Groups, list[str]]:
    """What restricted codebooks take away, and how far the calibration knows the codes kept.

    What is taken away is told where there is a condition without intervention to measure it on.
    """
    if not selection.has("codebook_keep"):
        return {}, []
    keep = kept_codes.allowed(selection.dataset, selection.identity.strata)
    names = kept_codes.restricted(keep)
    if not names:
        return {}, []
    groups: Groups = {}
    notes: list[str] = []
    if selection.has("calibration_count"):
        known = kept_codes.certainty(selection.dataset, names)
        attrs = {"section": "information", "n_prompts": selection.n_prompts, "estimator": None}
        units = ("quantity", np.array(["1"] * known.sizes["quantity"], dtype=object))
        groups["subset"] = known.assign(units=units).assign_attrs(attrs)
        notes = kept_codes.warnings(known, f"{selection.model}, {selection.experiment}")
    baseline = selection.design.baseline
    if baseline is not None and baseline not in names:
        free = tokens.isel(condition=selection.design.position(baseline))
        removed = kept_codes.mass_removed(free, keep.sel(condition=names))
        found = means(removed.to_dataset(name=kept_codes.REMOVED), how)
        groups["subset_removed"] = found.assign_attrs(section="information", estimator=None)
    return groups, notes


def shared_by_images(dataset: xr.Dataset) -> list[xr.DataArray]:
    """What images of one prompt may share besides it: wording and noise, as recorded.

    `(condition, prompt, sample)` each; images with equal values share it. Empty where the run
    records neither.
    """
    return [dataset[name] for name in SHARED if name in dataset]


def _changes(
    made: Mapping[str, xr.Dataset], selection: Selection, n_images: int, how: Resampling
) -> tuple[Groups, list[str]]:
    """Tested changes of Shannon's and of the collision entropies."""
    reason = rarefaction.NOT_SETTLED.format(half=max(1, n_images // 2), all=n_images)
    shannon = made["per_prompt"].drop_vars("utilisation")
    half = made["half"].drop_vars("utilisation")
    families, said = changes.changes(shannon, selection.design, how, changes.INFORMATION)
    few = how.model_copy(update={"n_resamples": FEW})  # of the halves only estimates are read
    halves, _ = changes.changes(half, selection.design, few, changes.INFORMATION)
    groups: Groups = {}
    for name, group in families.items():
        found = rarefaction.withhold(group, halves[name])
        note = _said(~found["settled"], reason)
        groups[f"information_{name}"] = found.drop_vars("settled").assign(note=note)
    agreeing = made["collision"][list(CHANGING)]
    families, _ = changes.changes(agreeing, selection.design, how, changes.INFORMATION)
    for name, group in families.items():
        groups[f"collision_{name}"] = group
    return groups, said


def _said(where: xr.DataArray, note: str) -> xr.DataArray:
    """The note where it holds, nothing elsewhere."""
    return where.copy(data=np.where(where.values, note, "").astype(object))


def _summary(
    values: xr.Dataset, masses: xr.Dataset, usable: xr.DataArray, n_codes: int, how: Resampling
) -> xr.Dataset:
    """Entropies and use of the codebook, each within what the condition's codes allow.

    Perplexity is 2^H(Z). `weak` numbers rest on codes that were not seen.
    """
    found = over_quantities(values, lambda y: mean_interval(y, how))
    limit(found, _most_bits(usable) | {"utilisation": usable / n_codes})
    perplexity = found.sel(quantity=["codebook_entropy"])
    for bound in ("estimate", "low", "high"):
        perplexity[bound] = 2 ** perplexity[bound]
    perplexity = perplexity.assign_coords(quantity=["perplexity"])
    perplexity["units"] = ("quantity", np.array(["1"], dtype=object))
    whole: xr.Dataset = xr.concat([found, perplexity], "quantity", combine_attrs="override")
    leaning = unseen.leaning(masses).reset_coords(drop=True)
    leaning = leaning.assign_coords(condition=masses["condition"].values)
    weak = leaning.reindex(quantity=whole["quantity"].values, fill_value=False)
    return whole.assign(weak=weak, note=_said(weak, unseen.NOTE)).assign_attrs(
        section="information"
    )


def _most_bits(usable: xr.DataArray) -> dict[str, xr.DataArray]:
    """The most that Shannon's quantities can be, `(condition)`: log2 of the codes it may use."""
    entropies = ("codebook_entropy", "conditional_entropy", "mutual_information")
    return dict.fromkeys(entropies, _capacity(usable))


def _collision(values: xr.Dataset, how: Resampling) -> xr.Dataset:
    """Collision entropies with intervals, and the p value of I = 0 beside the information."""
    found = collision.summary(values, how)
    names = found["quantity"].values
    test = xr.DataArray(
        names == "collision_information", dims="quantity", coords={"quantity": names}
    )
    p = found["p"].where(test)
    note = found["reason"].broadcast_like(found["estimate"]).astype(object)
    n_prompts = values.sizes["prompt"]
    made = found.drop_vars("reason").assign(p=p, note=note).assign_attrs(n_prompts=n_prompts)
    limit(made, {})
    return made.assign_attrs(section="information", estimator=None)


def _capacity(usable: xr.DataArray) -> xr.DataArray:
    """log2 of the codes that each condition may use, in bits."""
    return usable.copy(data=np.log2(usable.values))


def _use(
    covered: xr.Dataset, masses: xr.Dataset, usable: xr.DataArray, n_prompts: int
) -> xr.Dataset:
    """Facts of the samples without an interval: capacity, coverage, mass of unseen codes."""
    facts = {"capacity": _capacity(usable), **covered.data_vars, **masses.data_vars}
    units = np.array(["bit"] + ["1"] * (len(facts) - 1), dtype=object)
    values = np.stack([fact.values for fact in facts.values()])
    coords = {"quantity": list(facts), "condition": usable["condition"].values}
    stacked = xr.DataArray(values, coords, ("quantity", "condition"))
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


def _rarefaction(
    selection: Selection,
    tokens: xr.DataArray,
    share: Sequence[xr.DataArray],
    usable: xr.DataArray,
    settings: Config,
) -> xr.Dataset:
    """The same numbers from fewer images and from fewer prompts, of the baseline or the first.

    Each part is a row of the table: so many of the images, or of the prompts.
    """
    place = 0
    if selection.design.baseline is not None:
        place = selection.design.position(selection.design.baseline)
    one = tokens.isel(condition=[place]).reset_coords(drop=True)
    one = one.assign_coords(condition=[selection.design.names[place]])
    labels = []
    for label in share:
        labels.append(label.isel(condition=[place]) if "condition" in label.dims else label)
    found = rarefaction.table(
        one,
        selection.identity.codebook_size,
        [label.reset_coords(drop=True) for label in labels],
        estimator=settings.estimator,
        usable=[int(usable.values[place])],
        n_subsets=rarefaction.subsets_for(one),
        seed=settings.resampling.seed,
    )
    units = [quantity(str(name)).unit for name in found["quantity"].values]
    note = _said(found["weak"], unseen.NOTE)
    found = found.assign(units=("quantity", np.array(units, dtype=object)), note=note)
    own = usable.isel(condition=[place]).assign_coords(condition=one["condition"])
    limit(found, _most_bits(own))
    return found.assign_attrs(section="rarefaction")


def _at_positions(values: xr.Dataset, how: Resampling) -> xr.Dataset:
    """Collision entropies of tokens at one position, which are averaged before the logarithm."""
    named = {name: f"{name}_at_position" for name in CHANGING}
    stacked = values[list(named)].rename(named).to_array("quantity").drop_attrs(deep=False)
    found = mean_interval(stacked, how)
    limit(found, {})
    units = ("quantity", np.array(["bit"] * len(named), dtype=object))
    attrs = {"section": "information", "estimator": None, "n_prompts": values.sizes["prompt"]}
    return found.assign(units=units).assign_attrs(attrs)


def _positions_seen(maps: xr.Dataset, n_prompts: int) -> xr.Dataset:
    """Share of the positions at which Shannon's H(Z|X) rests on codes that were seen."""
    seen = maps["unseen_by_image"] <= unseen.MOST_UNSEEN
    share = seen.mean(("row", "col")).reset_coords(drop=True).expand_dims(quantity=[SEEN])
    share = share.assign_coords(condition=maps["condition"].values)
    group: xr.Dataset = share.to_dataset(name="estimate")
    units = ("quantity", np.array(["1"], dtype=object))
    attrs = {"section": "information", "estimator": None, "n_prompts": n_prompts}
    return group.assign(units=units).assign_attrs(attrs)


def _positions(found: xr.Dataset, agreeing: xr.Dataset) -> xr.Dataset:
    """The maps of each position, with the names of the conditions alone.

    Shannon's entropies are NaN where they rest on codes that were not seen.
    """
    whole = unseen.masked(found).assign(agreeing.data_vars)
    others = [name for name in whole.coords if name != "condition"]
    return whole.drop_vars(others)
