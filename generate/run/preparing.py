"""Lay out the store of a study: who its models are, how often each uses each code, what is fixed."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from generate.errors import StoreError
from generate.prompts.sources import prompts_digest
from generate.provenance import hardware, software
from generate.run import calibration, real_images
from generate.run.batching import batch_size
from generate.run.holder import Holder
from generate.run.loading import identify, readings
from generate.run.progress import Progress, silent
from generate.store.claims import Claims
from generate.store.room import room_in
from generate.store.samples import SampleStore, create
from generate.study import subset
from generate.study.planning import Plan, refuse_idle_windows, refuse_orders
from schemas.io.folder import Folder, folder
from schemas.io.layout import CREATION, RUN
from schemas.io.writer import finish_creation
from schemas.provenance import CalibrationRecord, ModelIdentity, now
from schemas.store import RunRecord
from schemas.timings import keeping, stage


def prepare(
    plan: Plan,
    root: Path | str,
    *,
    device: str = "cpu",
    progress: Progress = silent,
    holder: Holder | None = None,
) -> SampleStore:
    """The store of a plan: the one there, if it is of the same study, else a new one.

    `root` is a folder or a URL, `device` a torch device; a `holder` of that device keeps the model
    that was loaded last, for who makes the blocks. Making a store counts code usage first,
    where the study restricts a codebook. Raises `StoreError` if another study is there, or if
    another process is laying out the same store.
    """
    where = folder(root)
    store = existing(plan, where)
    if store is not None:
        return store
    identities = identify(plan)
    steps = {label: identity.steps for label, identity in identities.items()}
    refuse_idle_windows(plan, steps)
    refuse_orders(plan, {label: identity.family for label, identity in identities.items()})
    with room_in(where, 0), Claims(where).making(CREATION, where):
        finish_creation(where)
        return existing(plan, where) or _create(
            plan, where, identities, holder or Holder(device), progress
        )


def existing(plan: Plan, where: Folder) -> SampleStore | None:
    """The store in a place, None if there is none.

    Raises `StoreError` if it is of another study.
    """
    if not where.exists(RUN):
        return None
    store = SampleStore.open(where)
    refuse_other_study(plan, store)
    return store


def _create(
    plan: Plan,
    where: Folder,
    identities: dict[str, ModelIdentity],
    holder: Holder,
    progress: Progress,
) -> SampleStore:
    """A new store; whatever is asked of a model is asked while it is in memory."""
    sizes: dict[str, int] = {}
    counts: dict[str, CalibrationRecord] = {}
    for label in plan.models:
        sizes[label] = batch_size(plan, label, partial(holder.model, plan), holder.device)
        if plan.needs_calibration:
            counts |= calibrate(plan, where, sizes, progress=progress, only=label, holder=holder)
    digests = {label: record.counts_sha256 for label, record in counts.items()}
    run = RunRecord(
        run_id=uuid.uuid4().hex,
        created=now(),
        study=plan.study,
        n_prompts=len(plan.prompts),
        prompts_sha256=plan.prompts_sha256,
        prompt_files=plan.prompt_files,
        models=identities,
        experiments={name: plan.experiment_plan(name) for name in plan.experiments},
        calibration_sha256=digests,
        config_sha256=_config_digest(plan, identities, digests),
        batch_sizes=sizes,
        software=software(),
        hardware=hardware(holder.device),
    )
    return create(where, plan, run, counts, readings(plan))


def _config_digest(
    plan: Plan, identities: dict[str, ModelIdentity], calibration_sha256: dict[str, str]
) -> str:
    """sha256 of everything that fixes the samples of a run: blocks of two runs mix only if equal."""
    models = {label: identity.fixing() for label, identity in identities.items()}
    study = plan.study.model_dump(mode="json")
    if plan.study.calibration.run is None:  # as in studies of before it could be said
        del study["calibration"]["run"]
    for experiment in study["experiments"].values():
        if experiment.get("renderings") == 1:
            del experiment["renderings"]
    document = {
        "study": study,
        "prompts": plan.prompts_sha256,
        "models": models,
        "calibration": calibration_sha256,
    }
    if calibration_sha256:
        document["subset_ties"] = subset.TIES
    return config_digest(document)


def config_digest(document: dict[str, Any]) -> str:
    """sha256 of a configuration, independent of the order of its keys.

    >>> config_digest({"a": 1, "b": 2}) == config_digest({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def uncertain_subsets(store: SampleStore) -> list[str]:
    """A line for each model whose codes kept are much a matter of chance.

    Runs that do not say how certain they are, made before 0.2, have none.
    """
    lines = []
    for label in store.run.models:
        names: list[str] = []
        overlaps: list[float] = []
        for experiment in store.run.experiments:
            fixed = store.fixed(label, experiment)
            if "subset_overlap" in fixed:
                names += map(str, fixed["condition"])
                overlaps += fixed["subset_overlap"].tolist()
        lines.append(subset.warning(label, names, overlaps))
    return list(filter(None, lines))


def refuse_other_study(plan: Plan, store: SampleStore) -> None:
    """Raise `StoreError` if a run was made from another study or other prompts than a plan.

    The message names the first setting that differs.
    """
    here, there = plan.study.model_dump(mode="json"), store.study.model_dump(mode="json")
    for key in here:
        if here[key] != there[key]:
            raise StoreError(
                f"the store was made with {key} = {json.dumps(there[key])}, the study says "
                f"{json.dumps(here[key])}: give the original study, or another --out."
            )
    if plan.prompts_sha256 != store.run.prompts_sha256:
        raise StoreError(
            "the store was made from other prompts than the study names: restore them, or give "
            "another --out."
        )


def calibrate(
    plan: Plan,
    root: Path | str | Folder,
    sizes: Mapping[str, int] | None = None,
    *,
    device: str = "cpu",
    progress: Progress = silent,
    only: str | None = None,
    holder: Holder | None = None,
) -> dict[str, CalibrationRecord]:
    """Code usage of every model of a plan by its label, from the run where it was counted before.

    `sizes` are samples per forward by label; None means as the study says. `only` is the label of
    the one model to count. A `holder` stands for `device`, and keeps the model that was loaded last.
    Raises `StoreError` if other counts lie in the run.
    """
    where = folder(root)
    holder = holder or Holder(device)
    asked = plan.study.calibration
    source, n_samples = prompts_digest(plan.calibration_prompts), asked.samples
    if asked.encoded:
        source, n_samples = real_images.digest(asked, plan.base), asked.n or 0
    records = {}
    for label, identity in identify(plan).items():
        if only not in (None, label):
            continue
        record = calibration.stored(where, label, identity, source, n_samples, plan.study.seed)
        if record is None:
            if sizes is None:
                n = batch_size(plan, label, partial(holder.model, plan), holder.device)
            else:
                n = sizes[label]
            record = _count(plan, label, n, holder, progress)
            calibration.save(where, label, record)
        records[label] = record
    return records


def _count(
    plan: Plan, label: str, n_at_once: int, holder: Holder, progress: Progress
) -> CalibrationRecord:
    """Code usage of one model, counted now."""
    asked = plan.study.calibration
    total = plan.n_calibration
    done = 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        progress(f"{label} calibration", done, total)

    advance(0)
    with keeping(holder.timings):
        model = holder.model(plan, label)
        with stage("calibrate"), keeping(None):
            if asked.encoded:
                return real_images.count(
                    model, asked, plan.base, label=label, seed=plan.study.seed, advance=advance
                )
            return calibration.calibrate(
                model,
                plan.calibration_prompts,
                asked.samples,
                label=label,
                seed=plan.study.seed,
                batch_size=n_at_once,
                advance=advance,
            )
