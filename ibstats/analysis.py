"""One call from a store to every statistic: `analyse(store) -> DataTree`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cache, partial
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from ibstats import budget
from ibstats.config import Config
from ibstats.errors import IbstatsError, IncompleteStore, Unmeasurable
from ibstats.measure import Distance, Machine, are_kept, reference_set
from ibstats.measure.users import is_own
from ibstats.selection import Selection, select
from ibstats.statistics import (
    ablations,
    diversity,
    effects,
    information,
    quality,
    strategy,
    subset_ratio,
)
from ibstats.statistics.frontier import frontier
from ibstats.statistics.uncertainty import mean_interval
from ibstats.store import Store, by_factor, is_factorial
from ibstats.variables import DISTANCES, INFORMATION

EFFECTIVE_ORDERS = {"vendi": 1, "rke": 2}
"""Effective numbers of distinct images, from the cosine kernel of a metric's embedding, and their orders."""


def analyse(
    store: Store, config: Config | None = None, machine: Machine | None = None
) -> xr.DataTree:
    """Every statistic of an experiment, one group per model, with intervals and provenance.

    Groups of a model: `per_prompt` (diversity of each prompt and cell), `diversity`, `effective_number` (Vendi score
    and RKE, metrics with an embedding), `effects`, `probes`, `waterfall`, `waterfall_stochastic` (two factors at
    stochastic sampling), `strategy` (metrics with a declared margin), `information`, `information_effects`,
    `positions`, `bits` (quantizers whose codes are bits: LFQ), `ledger`, `rescored` and `shares_EXPERIMENT` (of
    crossed noise);
    `quality_per_prompt`, `quality`, `quality_effects`, `quality_probes`, `frontier`: over `condition`, for every
    experiment, the effects for a factorial. Of an ablation: `per_prompt`, `arms`, `contrasts`, `comparisons`,
    `codebook`, `codebook_contrasts`, `quality_contrasts`, and by its kind `window_tokens`, or
    `inflection`, `quality_losses` and `offer` (see `ibstats.statistics.subset_ratio`).
    Attributes of the root: run, snapshot digest, settings, notes.
    """
    config, machine = config or Config(), machine or Machine()
    _check_experiment(store, config.experiment)
    notes: list[str] = []
    groups: dict[str, xr.Dataset] = {}
    models = config.models or tuple(store.models())
    for model in models:
        complete = store.complete(model, config.experiment).all(axis=0)
        if not complete.all() and config.allow_partial:
            notes.append(
                f"{model}: {int(complete.sum())} of {complete.size} prompts are complete; only these are used"
            )
        made: dict[str, xr.Dataset] = {}
        arms = config.experiment in ablations.experiments(store)
        if "diversity" in config.parts:
            made |= (_arms if arms else _diversity)(store, model, config, machine, notes)
        if "information" in config.parts:
            made |= (_arms_information if arms else _information)(store, model, config, notes)
        if "quality" in config.parts:
            made |= _quality(store, model, config, machine, notes)
        if "inflection" in made:
            made["offer"] = subset_ratio.offer(made["inflection"], made.get("quality_losses"))
        if "ledger" in config.parts and not arms:
            made |= budget.ledger_groups(store, model, config, machine, notes)
        groups |= {f"{model}/{name}": group for name, group in made.items()}
    tree = xr.DataTree.from_dict(groups)
    families = {model: store.identity(model).family for model in models}
    tree.attrs |= provenance(store, config, machine) | {
        "models": list(models),
        "families": families,
    }
    tree.attrs["notes"] = list(dict.fromkeys(notes))
    return tree


def provenance(store: Store, config: Config, machine: Machine | None = None) -> dict[str, Any]:
    """What the numbers follow from: equal provenance means equal numbers."""
    from ibstats import __version__

    machine = machine or Machine()
    _check_experiment(store, config.experiment)
    models = config.models or store.models()
    followed: dict[str, Any] = {
        "run_id": store.run.run_id,
        "snapshot": store.snapshot(experiment=config.experiment),
        "settings": asdict(config),
        "ibstats_version": __version__,
    }
    if not config.metrics:
        followed["metrics"] = _to_be_had(store, config, machine)
    if "reference" in machine.weights:
        followed["reference"] = machine.metric("reference").settings()
    if "quality" in config.parts and not config.scores:
        given = config.experiment, config.references, config.clip, machine.offline()
        followed["scores"] = {model: quality.available(store, model, *given)[0] for model in models}
    own = {name: machine.metric(name).settings() for name in config.metrics if is_own(name)}
    if own:
        followed["own_metrics"] = own
    if config.references:
        followed["references_sha256"] = [
            reference_set.read(file).sha256 for file in config.references
        ]
    return followed | (budget.sources(store, config) if "ledger" in config.parts else {})


def _to_be_had(store: Store, config: Config, machine: Machine) -> list[str]:
    """Which of the metrics there are, as `model/experiment/distance`: those measured before, and those measurable."""

    @cache
    def selected(model: str, experiment: str) -> Selection:
        return select(store, model, experiment, allow_partial=config.allow_partial)

    def has_images(selection: Selection) -> bool:
        try:
            return selection.has("image")
        except IncompleteStore:
            return False

    @cache
    def can_run(chosen: Distance) -> bool:
        try:
            chosen.find_weights()
        except Unmeasurable:
            return False
        return True

    wanted: list[tuple[str, str, Distance]] = []
    for model, chosen in product(config.models or store.models(), machine.metrics(config.metrics)):
        if {"diversity", "quality"} & set(config.parts):
            wanted.append((model, config.experiment, chosen))
        if "ledger" in config.parts and chosen.embedded:
            wanted += [
                (model, experiment, chosen) for experiment in budget.crossed_experiments(store)
            ]
    return [
        f"{model}/{experiment}/{chosen.name}"
        for model, experiment, chosen in wanted
        if are_kept(selected(model, experiment), chosen)
        or (can_run(chosen) and has_images(selected(model, experiment)))
    ]


def _check_experiment(store: Store, name: str) -> None:
    """A run need not hold the experiment asked for, which is a factorial by default."""
    kinds = {experiment: ablations.kind_of(store, experiment) for experiment in store.experiments()}
    if name in kinds:
        return
    held = ", ".join(
        known if known == kind else f"{known} ({kind})" for known, kind in kinds.items()
    )
    factorials = [known for known, kind in kinds.items() if kind == "factorial"]
    repair = f"--experiment {(factorials or list(kinds))[0]} analyses that"
    if not factorials and ablations.experiments(store):
        repair = f"`ibstats ablations {store.path}` reports ablations"
    raise IbstatsError(f"'{store.path}' holds no experiment '{name}', only {held}; {repair}")


def _diversity(
    store: Store, model: str, config: Config, machine: Machine, notes: list[str]
) -> dict[str, xr.Dataset]:
    """Diversity of every metric, and all that follows from it."""
    per_prompt: dict[str, xr.DataArray] = {}
    effective: dict[str, xr.DataArray] = {}
    n_images = 0
    for name, measured in _measured(store, model, config, machine, notes):
        n_images = measured.sizes["sample"]
        per_prompt[name] = by_factor(diversity.mean_pairwise(measured["distance"]))
        if bool(measured["squared_norm"].notnull().all()):
            for kind, order in EFFECTIVE_ORDERS.items():
                effective[f"{kind}_{name}"] = by_factor(diversity.effective_number(measured, order))
    values = xr.Dataset(per_prompt)
    stacked = {
        "diversity": _over_quantities(values, lambda y: mean_interval(y, config.resampling)),
        "effects": _over_quantities(values, lambda y: effects.effects(y, config.resampling)),
        "probes": _over_quantities(values, lambda y: effects.probes(y, config.resampling)),
        "waterfall": _over_quantities(values, lambda y: effects.waterfall(y, config.resampling)),
        "waterfall_stochastic": _over_quantities(
            values,
            lambda y: effects.waterfall(
                effects.restrict(y, sampling="stochastic"), config.resampling
            ),
        ),
    }
    _limit(stacked["diversity"], {name: DISTANCES[name].most for name in per_prompt})
    groups = {"per_prompt": values, **stacked}
    if effective:
        numbers = xr.Dataset(effective)
        groups["effective_number"] = _over_quantities(
            numbers, lambda y: mean_interval(y, config.resampling)
        )
    claimed = values[[name for name in per_prompt if name in config.margins]]
    if claimed.data_vars:
        varies = strategy.path_varies(
            store.dataset(model, config.experiment, allow_partial=config.allow_partial)
        )
        groups["strategy"] = _over_quantities(
            claimed,
            lambda y: strategy.evidence(y, config.margins[str(y.name)], varies, config.resampling),
        )
    return {name: group.assign_attrs(n_images=n_images) for name, group in groups.items()}


def _measured(
    store: Store, model: str, config: Config, machine: Machine, notes: list[str]
) -> Iterator[tuple[str, xr.Dataset]]:
    """Distances by result name; IbstatsError with the first reason if there are none."""
    n_notes, n_found = len(notes), 0
    selection = select(store, model, config.experiment, allow_partial=config.allow_partial)
    for name, found in machine.distances(selection, config.metrics, notes):
        n_found += 1
        yield name, found
    if not n_found:
        raise IbstatsError(notes[n_notes])


def _information(
    store: Store, model: str, config: Config, notes: list[str]
) -> dict[str, xr.Dataset]:
    """Codebook entropies of every cell, from tokens only."""
    dataset = store.dataset(model, config.experiment, allow_partial=config.allow_partial)
    n_codes = store.identity(model).codebook_size
    tokens = dataset["tokens"]
    how = config.resampling
    if config.images_per_prompt is not None:
        tokens = information.rarefy(tokens, config.images_per_prompt, how.seed)
    kept = dataset["codebook_keep"].sum("code")
    usable = kept.values.tolist()
    values = information.per_prompt(tokens, n_codes, config.estimator, usable)
    covered = information.coverage(tokens, n_codes)
    notes += information.coverage_warnings(covered, model)
    null = information.shuffle_test(tokens, n_codes, n_shuffles=config.n_shuffles, seed=how.seed)
    summary = _over_quantities(
        xr.Dataset({k: by_factor(v) for k, v in values.items()}), lambda y: mean_interval(y, how)
    )
    plain = information.pooled(tokens, n_codes, config.estimator, usable)
    _pool(summary, {name: _cells(value) for name, value in plain.items()}, _cells(kept), n_codes)
    extra = {
        "coverage": covered["coverage"],
        "coverage_per_prompt": covered["coverage_per_prompt"],
        "shuffle_p": null["p"],
        "shuffle_null_mean": null["null_mean"],
    }
    summary = summary.assign({name: _cells(value) for name, value in extra.items()})
    contrasts = _over_quantities(
        xr.Dataset({k: by_factor(v) for k, v in values.items() if k != "utilisation"}),
        lambda y: effects.effects(y, how),
    )
    attrs = {"estimator": config.estimator, "n_codes": n_codes, "n_images": tokens.sizes["sample"]}
    positions = information.by_position(tokens, n_codes, config.estimator, usable)
    groups = {
        "information": summary.assign_attrs(attrs),
        "information_effects": contrasts.assign_attrs(attrs),
        "positions": _plain(positions.drop_vars([c for c in positions.coords if c != "condition"])),
    }
    if store.identity(model).quantizer == "lfq":
        channels = information.by_bit(tokens, n_codes, config.estimator, usable)
        bits = {name: by_factor(value) for name, value in channels.items()}
        groups["bits"] = _over_quantities(
            xr.Dataset(bits), lambda y: mean_interval(y, how)
        ).assign_attrs(attrs)
        _limit(groups["bits"], {name: 1.0 for name in bits if name != "bit_redundancy"})
    return groups


def _pool(
    summary: xr.Dataset, pooled: Mapping[Any, xr.DataArray], kept: xr.DataArray, n_codes: int
) -> None:
    """Put in the estimates from all tokens; keep them and their bounds within what `kept` codes allow; in place."""
    for quantity, value in pooled.items():
        summary["estimate"].loc[{"quantity": quantity}] = value
    entropies = ("codebook_entropy", "conditional_entropy", "mutual_information")
    _limit(
        summary,
        dict.fromkeys(entropies, xr.DataArray(np.log2(kept))) | {"utilisation": kept / n_codes},
    )


def _limit(summary: xr.Dataset, highest: Mapping[Any, float | xr.DataArray]) -> None:
    """Keep estimates and bounds between 0 and what a cell allows, which an estimator may step over; in place.

    Of mutual information only from above: it is a difference, which falls below 0 by chance where there is none.
    """
    for quantity, most in highest.items():
        least = None if quantity == "mutual_information" else 0.0
        for name in ("estimate", "low", "high"):
            summary[name].loc[{"quantity": quantity}] = (
                summary[name].sel(quantity=quantity).clip(least, most)
            )


def _quality(
    store: Store, model: str, config: Config, machine: Machine, notes: list[str]
) -> dict[str, xr.Dataset]:
    """Scores of every condition, their contrasts, and the frontier with every distance that can be had."""
    scoring = machine if config.scores else machine.offline()
    scores = list(config.scores)
    if not scores:
        scores, missing = quality.available(
            store, model, config.experiment, config.references, config.clip, scoring
        )
        notes += [note for note in missing if note not in notes]
    if not scores:
        return {}
    how = config.resampling
    values = quality.quality(
        store,
        model,
        config.experiment,
        scores,
        references=config.references,
        clip=config.clip,
        long_texts=config.long_texts,
        machine=scoring,
        allow_partial=config.allow_partial,
    )
    groups = {"quality_per_prompt": values, "quality": quality.intervals(values, how)}
    if is_factorial(values):
        groups["quality_effects"] = quality.over_scores(
            values, lambda y: effects.effects(by_factor(y), how)
        )
        groups["quality_probes"] = quality.over_scores(
            values, lambda y: effects.probes(by_factor(y), how)
        )
    elif config.experiment in ablations.experiments(store) and (
        family := ablations.against_reference(values)
    ):
        groups["quality_contrasts"] = quality.over_scores(
            values, lambda y: ablations.contrasts(y, family, how)
        )
        if ablations.kind_of(store, config.experiment) == "subset_ratio":
            groups["quality_losses"] = subset_ratio.losses(
                groups["quality_contrasts"], ablations.ratios(values, family)
            )
    selection = select(store, model, config.experiment, allow_partial=config.allow_partial)
    measured = machine.distances(selection, config.metrics, [])
    distance = {name: diversity.mean_pairwise(found["distance"]) for name, found in measured}
    if distance:
        groups["frontier"] = frontier(xr.Dataset(distance), values, how)
    return {
        name: _plain(group) if "condition" in group.dims else group
        for name, group in groups.items()
    }


def _arms(
    store: Store, model: str, config: Config, machine: Machine, notes: list[str]
) -> dict[str, xr.Dataset]:
    """Diversity of the arms of an ablation, and what follows from it."""
    kind, how = ablations.kind_of(store, config.experiment), config.resampling
    per_prompt, n_images = {}, 0
    for name, measured in _measured(store, model, config, machine, notes):
        n_images = measured.sizes["sample"]
        per_prompt[name] = diversity.mean_pairwise(measured["distance"])
    values = xr.Dataset(per_prompt)
    groups = {
        "per_prompt": values,
        "arms": _over_quantities(values, lambda y: mean_interval(y, how)),
    }
    _limit(groups["arms"], {name: DISTANCES[name].most for name in per_prompt})
    families = {
        "contrasts": ablations.against_reference(values),
        "comparisons": ablations.planned(values, kind),
    }
    for name, family in families.items():
        if family:
            groups[name] = _over_quantities(
                values, partial(ablations.contrasts, comparisons=family, how=how)
            )
    if kind == "subset_ratio":
        groups["inflection"] = _over_quantities(values, lambda y: subset_ratio.inflection(y, how))
    if kind == "argmax_window":
        dataset = store.dataset(model, config.experiment, allow_partial=config.allow_partial)
        groups["window_tokens"] = ablations.window_tokens(
            dataset, store.identity(model)
        ).to_dataset(name="tokens")
    attrs = {"n_images": n_images, "n_prompts": values.sizes["prompt"], "kind": kind}
    return {name: _plain(group).assign_attrs(attrs) for name, group in groups.items()}


def _arms_information(
    store: Store, model: str, config: Config, notes: list[str]
) -> dict[str, xr.Dataset]:
    """Codebook entropies of the arms of an ablation, from tokens only."""
    dataset = store.dataset(model, config.experiment, allow_partial=config.allow_partial)
    tokens, n_codes, how = dataset["tokens"], store.identity(model).codebook_size, config.resampling
    if config.images_per_prompt is not None:
        tokens = information.rarefy(tokens, config.images_per_prompt, how.seed)
    kept = dataset["codebook_keep"].sum("code")
    usable = kept.values.tolist()
    values = information.per_prompt(tokens, n_codes, config.estimator, usable)
    plain = information.pooled(tokens, n_codes, config.estimator, usable)
    covered = information.coverage(tokens, n_codes)
    notes += information.coverage_warnings(covered, f"{model}, {config.experiment}")
    summary = _over_quantities(values, lambda y: mean_interval(y, how))
    attrs = {"estimator": config.estimator, "n_codes": n_codes, "n_images": tokens.sizes["sample"]}
    _pool(summary, plain, kept, n_codes)
    codebook = summary.assign(capacity=("condition", np.log2(kept.values))).merge(
        covered, compat="override"
    )
    groups = {"codebook": _plain(codebook).assign_attrs(attrs)}
    values = values.drop_vars("utilisation")
    if family := ablations.against_reference(values):
        changes = _over_quantities(
            values, partial(ablations.contrasts, comparisons=family, how=how)
        )
        groups["codebook_contrasts"] = changes.assign_attrs(attrs)
    return groups


def _cells(values: xr.DataArray) -> xr.DataArray:
    """A per-condition value as a function of the three factors."""
    return by_factor(values.expand_dims(prompt=["all"])).isel(prompt=0, drop=True)


def _plain(dataset: xr.Dataset) -> xr.Dataset:
    """String coordinates as objects, which every writer accepts."""
    texts = {name: c.astype(object) for name, c in dataset.coords.items() if c.dtype.kind == "T"}
    return dataset.assign_coords(texts)


def _over_quantities(values: xr.Dataset, statistic: Any) -> xr.Dataset:
    """Apply a statistic to each quantity and stack the results over a new dim `quantity`.

    The size of a family differs between quantities, by the effects without variation: `n_tests (quantity)`.
    """
    results = [
        statistic(value.drop_attrs(deep=False)) for value in values.data_vars.values()
    ]  # one label fits not all
    names = [str(name) for name in values.data_vars]
    stacked: xr.Dataset = xr.concat(
        results, dim="quantity", combine_attrs="override"
    ).assign_coords(quantity=names)
    if stacked.attrs.pop("n_tests", None) is not None:
        stacked = stacked.assign(n_tests=("quantity", [one.attrs["n_tests"] for one in results]))
    known = {name: meaning.units for name, meaning in (DISTANCES | INFORMATION).items()}
    units = [known.get(name, "bit" if name.startswith("bit_") else "1") for name in names]
    return stacked.assign_coords(units=("quantity", np.array(units, dtype=object)))
