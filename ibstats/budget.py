"""The entropy ledger of a run as groups of an analysis: bits of path and execution, and their shares of diversity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

from ibstats.measure import Machine
from ibstats.selection import select
from ibstats.statistics import path_and_execution as decomposition
from ibstats.statistics import rescored
from ibstats.store import Store

if TYPE_CHECKING:
    from ibstats.config import Config
    from schemas.study import CrossedNoise


def crossed_experiments(store: Store) -> dict[str, CrossedNoise]:
    """Crossed-noise experiments of a run by name."""
    return store.run.crossed_noise()


def sources(store: Store, config: Config) -> dict[str, dict[str, str]]:
    """Digests of what the ledger takes besides the analysed experiment: crossed noise, and rescored paths by model."""
    crossed = {name: store.snapshot(experiment=name) for name in crossed_experiments(store)}
    scored = {
        model: found.digest()
        for model in config.models or store.models()
        if (found := rescored.find(store, model, config.experiment)) is not None
    }
    return {
        name: digests for name, digests in (("crossed", crossed), ("rescored", scored)) if digests
    }


def ledger_groups(
    store: Store, model: str, config: Config, machine: Machine, notes: list[str]
) -> dict[str, xr.Dataset]:
    """`ledger` (quantity, condition), `rescored` (quantity, paths, condition), `shares` (quantity, share, condition).

    Shares are those of the crossed-noise experiments that hold images; a group of several of them has the name
    `shares_EXPERIMENT`. Without recorded surprisals there is no ledger.
    """
    dataset = store.dataset(model, config.experiment, allow_partial=config.allow_partial)
    bits = decomposition.ledger(dataset, store.identity(model))
    made = {}
    if bits.sizes["quantity"]:
        made["ledger"] = decomposition.ledger_intervals(bits, config.resampling).assign_attrs(
            n_images=dataset.sizes["sample"]
        )
    if (scored := rescored.find(store, model, config.experiment)) is not None:
        revised = "path_upper_trajectory" in bits["quantity"]
        known = rescored.brackets(scored, revised=revised)
        if known.dropna("prompt").sizes["prompt"] > 1:
            made["rescored"] = rescored.bracket_intervals(known, config.resampling).assign_attrs(
                n_images=scored.record.n_samples, proposal=scored.record.proposal
            )
        else:
            notes.append(
                f"{model}: fewer than two prompts are rescored, so their bounds have no interval; left out"
            )
    for name, experiment in crossed_experiments(store).items():
        complete = store.complete(model, name).all(axis=0)
        if not complete.all() and not (config.allow_partial and complete.sum() > 1):
            notes.append(
                f"{model}: {int(complete.sum())} of {complete.size} prompts of '{name}' are complete; left out"
            )
            continue
        shares = _shares(store, model, name, experiment, config, machine, notes)
        if shares is not None:
            made[f"shares_{name}"] = shares.assign_attrs(
                n_images=experiment.samples, experiment=name
            )
    return made


def _shares(
    store: Store,
    model: str,
    name: str,
    experiment: CrossedNoise,
    config: Config,
    machine: Machine,
    notes: list[str],
) -> xr.Dataset | None:
    """Sobol indices of every metric that is the distance of an embedding and can be had."""
    found = {}
    selection = select(store, model, name, allow_partial=config.allow_partial)
    for metric, measured in machine.distances(selection, config.metrics, notes, embedded=True):
        variance = decomposition.crossed_components(
            measured["distance"], experiment.paths, experiment.executions
        )
        found[metric] = decomposition.sobol_shares(variance, config.resampling)
    if not found:
        return None
    stacked: xr.Dataset = xr.concat(found.values(), dim="quantity", combine_attrs="override")
    return stacked.assign_coords(quantity=list(found))
