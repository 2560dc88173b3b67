"""One call from a run to every statistic: `analyse(store) -> DataTree`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from ibstats.analysis.changes import Groups
from ibstats.analysis.diversity import diversity_groups
from ibstats.analysis.information import information_groups
from ibstats.analysis.measured import metrics_of, to_be_had
from ibstats.analysis.orders import order_bits, order_pairs, order_tokens
from ibstats.analysis.path_and_execution import bits_groups, rescored_digests, shares_groups
from ibstats.analysis.quality import quality_groups
from ibstats.analysis.whole_image import contrast_digests, whole_image_groups
from ibstats.checks import check, of_run
from ibstats.errors import IbstatsError, Unmeasurable
from ibstats.measure import Machine, reference_set
from ibstats.measure.returned import checked_settings
from ibstats.measure.users import is_own
from ibstats.selection import Selection, crossed, select
from ibstats.statistics import scores, subset_ratio
from ibstats.statistics.stacking import FEWEST_UNITS
from ibstats.store import Store, opened
from schemas.analysis import Config, Part
from schemas.study import ENCODED
from schemas.timings import stage
from schemas.version import __version__

Made = tuple[Groups, list[str]]

Maker = Callable[[Selection, Config, Machine], Made]

PARTS: Mapping[Part, tuple[Maker, ...]] = {
    "diversity": (diversity_groups,),
    "information": (information_groups,),
    "quality": (quality_groups,),
    "ledger": (bits_groups, order_bits, order_tokens),
    "shares": (shares_groups, order_pairs),
    "whole_image": (whole_image_groups,),
}
"""What makes each part of an analysis; of an experiment of another kind a maker makes nothing."""


def analyse(
    store: Store | str | Path, settings: Config | None = None, machine: Machine | None = None
) -> xr.DataTree:
    """Every statistic of an experiment, one node per model, with intervals and provenance.

    Parameters: the run, or its folder or URL; settings, by default `Config()`; the machine that
    measures images.
    Returns a tree whose groups hold labelled arrays: a group with the attribute `section` gives the
    rows of results of that section (see `ibstats.results.rows`), the others are the values behind
    them (`per_prompt`, `quality_per_prompt`, `positions`, `quality_losses`). Which groups there are
    depends on the kind of the experiment and on what the run holds. Attributes of the root:
    `provenance`, `designs`, `families`, `models`, `notes`.
    Raises IbstatsError where nothing of what was asked for can be had, with the first reason.

    >>> tree = analyse("runs/demo", Config(metrics=("ssim",)))      # doctest: +SKIP
    >>> tree["trio-ar/diversity"]["estimate"].dims                  # doctest: +SKIP
    ('quantity', 'condition')
    """
    store = opened(store)
    settings, machine = of_run(settings or Config(), store), machine or Machine()
    check(settings, store)
    notes: list[str] = []
    groups: Groups = {}
    designs: dict[str, Any] = {}
    models = list(settings.models or store.models())
    for model, selection in zip(models, _selections(store, settings), strict=True):
        made, said = _of_model(selection, settings, machine)
        groups |= {f"{model}/{name}": group for name, group in made.items()}
        notes += said
        designs[settings.experiment] = selection.design.record().model_dump()
        for noise in crossed(store, model, allow_partial=True):
            if f"pairs_{noise.experiment}" in made or f"shares_{noise.experiment}" in made:
                designs[noise.experiment] = noise.design.record().model_dump()
    if not groups and notes:
        raise IbstatsError(notes[0])
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {
        "provenance": json.dumps(provenance(store, settings, machine)),
        "designs": json.dumps(designs),
        "families": json.dumps({model: store.identity(model).family for model in models}),
        "models": models,
        "notes": list(dict.fromkeys(notes)),
    }
    return tree


def _of_model(selection: Selection, settings: Config, machine: Machine) -> Made:
    """All groups of one model."""
    notes: list[str] = []
    if selection.n_prompts < FEWEST_UNITS:
        repair = "analyse a store with two or more"
        if selection.kind == ENCODED:
            repair = "codes of images are read by `ibstats codebook`"
        raise IbstatsError(
            f"{selection.n_prompts} prompt is not enough for an interval over prompts; {repair}"
        )
    complete = selection.store.complete(selection.model, selection.experiment).all(axis=0)
    if not complete.all() and settings.allow_partial:
        done = f"{int(complete.sum())} of {complete.size} prompts"
        notes.append(f"{selection.model}: {done} are complete; only these are used")
    if selection.unequal:
        notes.append(selection.unequal)
    made: Groups = {}
    makers = [(part, make) for part in settings.parts for make in PARTS[part]]
    for number, (part, make) in enumerate(makers):
        machine.progress(f"{selection.model}: statistics", number, len(makers))
        with stage(part):
            groups, said = make(selection, settings, machine)
        for name, group in groups.items():
            made[name] = _portable(group, selection.n_samples)
        notes += said
    machine.progress(f"{selection.model}: statistics", len(makers), len(makers))
    if "inflection" in made:
        made |= _offer(made, selection.n_samples)
    return made, notes


def _offer(made: Groups, n_images: int) -> Groups:
    """The ratio offered for the main study, and the changes of quality that it rests on."""
    points, lost = made["inflection"], made.get("quality_losses")
    found = subset_ratio.offer_groups(points, lost)
    return {name: _portable(group, n_images) for name, group in found.items()}


def _portable(group: xr.Dataset, n_images: int) -> xr.Dataset:
    """The group with texts that every writer accepts, and the images a prompt that it was made of."""
    texts = {name: c.astype(object) for name, c in group.coords.items() if c.dtype.kind in "TU"}
    group = group.assign_coords(texts)
    return group.assign_attrs({"n_images": n_images, **group.attrs})


def provenance(store: Store, settings: Config, machine: Machine | None = None) -> dict[str, Any]:
    """What the numbers follow from: equal provenance means equal numbers.

    Holds run, snapshot, settings and version, and of what can be had here the distances and scores
    that nobody asked for by name. `ibstats.results.rows.analysis_digest` of it names the kept
    analysis. Raises IbstatsError for names that the run or this software does not know.
    """
    settings, machine = of_run(settings, store), machine or Machine()
    check(settings, store)
    followed: dict[str, Any] = {
        "run_id": store.run.run_id,
        "snapshot": store.snapshot(experiment=settings.experiment),
        "settings": settings.model_dump(mode="json"),
        "ibstats_version": __version__,
    }
    if not settings.metrics:
        followed["metrics"] = _metrics_to_be_had(store, settings, machine)
    if "reference" in machine.weights:
        followed["reference"] = machine.metric("reference").settings()
    own = {}
    for name in filter(is_own, settings.metrics):
        chosen = machine.metric(name)
        try:
            fixed = chosen.settings()
        except Unmeasurable:  # its weights are elsewhere, and so was it measured
            fixed = chosen.asked()
        own[name] = checked_settings(fixed, name)
    if own:
        followed["own_metrics"] = own
    own = {}
    for name in filter(is_own, settings.scores):
        own[name] = checked_settings(machine.score(name).settings(), name)
    if own:
        followed["own_scores"] = own
    if "quality" in settings.parts and not settings.scores:
        followed["scores"] = {}
        for selection in _selections(store, settings):
            found, _ = scores.available(selection, settings, machine)
            followed["scores"][selection.model] = found
    if settings.references:
        known = [reference_set.read(file) for file in settings.references]
        followed["references_sha256"] = [one.sha256 for one in known]
    if "ledger" in settings.parts:
        followed["rescored"] = rescored_digests(store, settings)
    if "whole_image" in settings.parts:
        followed["contrasts"] = contrast_digests(store, settings)
    if "shares" in settings.parts:
        noise = [name for name in store.experiments() if store.kind(name) == "crossed_noise"]
        followed["crossed"] = {name: store.snapshot(experiment=name) for name in noise}
    return followed


def _selections(store: Store, settings: Config) -> list[Selection]:
    """The analysed experiment of every model."""
    partial = settings.allow_partial
    models = settings.models or store.models()
    return [select(store, model, settings.experiment, allow_partial=partial) for model in models]


def _metrics_to_be_had(store: Store, settings: Config, machine: Machine) -> list[str]:
    """Which of the default distances there are, as `model/experiment/distance`."""
    found = []
    for selection in _selections(store, settings):
        for chosen in metrics_of(selection, settings, machine):
            wanted = []
            if {"diversity", "quality", "shares"} & set(settings.parts):
                wanted.append(selection)
            if "shares" in settings.parts:
                noise = crossed(store, selection.model, allow_partial=settings.allow_partial)
                wanted += [one for one in noise if one.is_complete]
            for one in wanted:
                if to_be_had(one, chosen):
                    found.append(f"{one.model}/{one.experiment}/{chosen.name}")
    return found
