"""From a study to a finished store: prepare, then make pending blocks one by one."""

from __future__ import annotations

import json
import traceback
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from generate.errors import DiskFullError, StoreError
from generate.models import model_class
from generate.models.base import Model
from generate.provenance import hardware, now, software
from generate.run import calibration
from generate.run.batching import batch_sizes
from generate.store.audit import Summary, summary
from generate.store.ledger import CREATION, Ledger
from generate.store.samples import RUN, SampleStore, bytes_needed, content_digests, create, room_in
from generate.study.plan import Block, Plan, config_digest, refuse_idle_windows
from generate.study.probes import probe
from generate.study.reading import readings
from generate.traversal.draw import PhiloxNoise
from schemas.io.folder import Folder, FolderError, folder
from schemas.provenance import CalibrationRecord, ModelIdentity
from schemas.store import BlockRecord, RunRecord

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many samples of it are done, and of how many."""


def silent(what: str, done: int, total: int) -> None:
    """A progress that shows nothing."""


def prepare(
    plan: Plan, root: Path | str, *, device: str = "cpu", progress: Progress = silent
) -> SampleStore:
    """The store of a plan in a folder or under a URL: the one there, if it is of the same study, else a new one.

    Making one counts code usage first, where the study restricts a codebook.
    """
    where = folder(root)
    if (store := existing(plan, where)) is not None:
        return store
    identities = identify(plan)
    refuse_idle_windows(plan, {label: identity.steps for label, identity in identities.items()})
    with room_in(where, 0), Ledger(where).claimed(CREATION) as attempt:
        if attempt is None:
            owner = Ledger(where).owner(CREATION)
            raise StoreError(
                f"process {owner.get('pid')} on {owner.get('host')} is laying out {where}: wait until it has begun to "
                "make blocks, then run the same command again."
            )
        return existing(plan, where) or _create(plan, where, identities, device, progress)


def existing(plan: Plan, where: Folder) -> SampleStore | None:
    """The store in a place, None if there is none; refuses one of another study."""
    if not where.exists(RUN):
        return None
    store = SampleStore.open(where)
    refuse_other_study(plan, store.run)
    return store


def _create(
    plan: Plan, where: Folder, identities: dict[str, ModelIdentity], device: str, progress: Progress
) -> SampleStore:
    sizes = batch_sizes(plan, lambda label: load(plan, label, device), device)
    counts = (
        calibrate(plan, where, sizes, device=device, progress=progress)
        if plan.needs_calibration
        else {}
    )
    digests = {label: calibration.counts_digest(record) for label, record in counts.items()}
    run = RunRecord(
        run_id=uuid.uuid4().hex,
        created=now(),
        study=plan.study,
        prompts=plan.prompts,
        prompts_sha256=plan.prompts_sha256,
        prompt_files=plan.prompt_files,
        models=identities,
        experiments={name: plan.experiment_plan(name) for name in plan.experiments},
        calibration_sha256=digests,
        config_sha256=config_digest(
            {
                "study": plan.study.model_dump(mode="json"),
                "prompts": plan.prompts_sha256,
                "models": {
                    label: identity.model_dump(mode="json")
                    for label, identity in identities.items()
                },
                "calibration": digests,
            }
        ),
        batch_sizes=sizes,
        software=software(),
        hardware=hardware(device),
    )
    return create(where, plan, run, counts, readings(plan))


def refuse_other_study(plan: Plan, run: RunRecord) -> None:
    """Raise if a store was made from another study or other prompts; names the first difference."""
    here, there = plan.study.model_dump(mode="json"), run.study.model_dump(mode="json")
    for key in here:
        if here[key] != there[key]:
            raise StoreError(
                f"the store was made with {key} = {json.dumps(there[key])}, the study says {json.dumps(here[key])}: "
                "give the original study, or another --out."
            )
    if plan.prompts_sha256 != run.prompts_sha256:
        raise StoreError(
            "the store was made from other prompts than the study names: restore them, or give another --out."
        )


def identify(plan: Plan) -> dict[str, ModelIdentity]:
    """Identity of every model of a study, by its label in the store."""
    found = {}
    for label, choice in zip(plan.models, plan.study.models, strict=True):
        adapter = model_class(choice.model)
        found[label] = adapter.identify(choice.model, adapter.options(choice.options))
    return found


def load(plan: Plan, label: str, device: str) -> Model:
    """The model that a study calls `label`."""
    choice = plan.study.models[plan.models.index(label)]
    adapter = model_class(choice.model)
    options = adapter.options(choice.options)
    return adapter.load(adapter.identify(choice.model, options), options, device)


def calibrate(
    plan: Plan,
    root: Path | str | Folder,
    sizes: dict[str, int] | None = None,
    *,
    device: str = "cpu",
    progress: Progress = silent,
    only: str | None = None,
) -> dict[str, CalibrationRecord]:
    """Code usage of every model of a plan, or of `only` one, from the run where it was counted before.

    `sizes` are samples per forward by model; None means as the study says.
    """
    where = folder(root)
    study = plan.study
    sizes = sizes or batch_sizes(plan, lambda label: load(plan, label, device), device)
    records = {}
    for label, identity in identify(plan).items():
        if only not in (None, label):
            continue
        prompts, n_samples = plan.calibration_prompts, study.calibration.samples
        record = calibration.stored(where, label, identity, prompts, n_samples, study.seed)
        if record is None:
            done, total = Counter[str](), len(prompts) * n_samples

            def advance(
                n: int, label: str = label, done: Counter[str] = done, total: int = total
            ) -> None:
                done[label] += n
                progress(f"{label} calibration", done[label], total)

            advance(0)
            record = calibration.calibrate(
                load(plan, label, device),
                prompts,
                n_samples,
                seed=study.seed,
                batch_size=sizes[label],
                advance=advance,
            )
            calibration.save(where, label, record)
        records[label] = record
    return records


def run(
    plan: Plan, store: SampleStore, *, device: str = "cpu", progress: Progress = silent
) -> Summary:
    """Make every pending block of a store; blocks that fail are recorded and the rest goes on.

    Interrupting it loses at most the block at hand. Errors that no later block could escape (a full disk, a model
    that does not load, a service that does not answer) end the run.
    """
    store.ledger.sweep()
    made = 0
    blocks = list(plan.blocks())
    done = store.ledger.among("ledger", blocks)
    restore_marks(store, done)
    for label in plan.models:
        ours = [block for block in blocks if block.model == label]
        n_done, n_samples = (
            sum(size(block, plan) for block in some) for some in (done & set(ours), ours)
        )
        if n_done == n_samples:
            continue
        model = load_recorded(plan, store, label, device)
        progress(label, n_done, n_samples)
        for block in ours:
            if block in done:
                continue
            made += make_block(plan, store, model, block, device=device) == "made"
            n_done += size(block, plan)
            progress(label, n_done, n_samples)
    return summary(plan, store, made=made)


def load_recorded(plan: Plan, store: SampleStore, label: str, device: str) -> Model:
    """The model that a store calls `label`, if it is still the one that the store was made with."""
    model = load(plan, label, device)
    if model.identity != store.run.models[label]:
        raise StoreError(
            f"model '{label}' is not the one the store was made with (revision {model.identity.revision}, "
            f"there {store.run.models[label].revision}, or other files): restore it, or give another --out."
        )
    return model


def restore_marks(store: SampleStore, done: Iterable[Block]) -> None:
    """Mark committed blocks as complete where a kill came between commit and mark."""
    done = set(done)
    for block in done - store.marked(done):
        store.mark_complete(block)


def size(block: Block, plan: Plan) -> int:
    """Samples of a block."""
    return (block.stop - block.start) * plan.n_samples(block.experiment)


Outcome = Literal["made", "done", "held", "failed"]
"""What became of a block: committed now, committed before, in the hands of another process, or failed and recorded."""


def make_block(
    plan: Plan, store: SampleStore, model: Model, block: Block, *, device: str, session: str = ""
) -> Outcome:
    """Generate one block and commit it; what goes wrong with it is recorded, but a full disk ends the run.

    `session` names the cluster run it is made in; a former attempt of the same one is known to be over.
    """
    needed = bytes_needed(store.run)
    with room_in(store.folder, needed), store.ledger.claimed(block, session) as attempt:
        if attempt is None:
            return "held"
        if store.ledger.is_done(block):
            return "done"
        try:
            with room_in(store.folder, needed):
                return _commit_block(plan, store, model, block, attempt, device)
        except (DiskFullError, FolderError):
            raise
        except Exception as error:
            store.ledger.fail(block, error, traceback.format_exc())
            return "failed"


def _commit_block(
    plan: Plan, store: SampleStore, model: Model, block: Block, attempt: str, device: str
) -> Outcome:
    """Generate a claimed block, write it, publish its record, and look once more at what is stored."""
    started = now()
    arrays = generate_block(plan, store, model, block)
    objects = store.write(block, arrays)
    record = BlockRecord(
        run_id=store.run.run_id,
        config_sha256=store.run.config_sha256,
        model=block.model,
        experiment=block.experiment,
        condition=block.condition,
        block=block.index,
        prompt_start=block.start,
        prompt_stop=block.stop,
        objects=objects,
        content_sha256=content_digests(arrays),
        attempt=attempt,
        started=started,
        finished=now(),
        software=software(),
        hardware=hardware(device),
    )
    outcome: Outcome = "made"
    try:
        store.ledger.commit(block, record)
    except (
        FileExistsError
    ):  # another attempt was faster: its record stands, if what is stored is still as it says
        record, outcome = store.ledger.read(block) or record, "done"
    if problems := store.problems(block, record):
        store.withdraw(block)
        raise StoreError(f"block {block.name} changed while it was committed: {problems[0]}.")
    store.mark_complete(block)
    return outcome


def generate_block(
    plan: Plan, store: SampleStore, model: Model, block: Block
) -> dict[str, NDArray[Any]]:
    """Arrays of one block, (prompt, sample, ...), in the order and batches that the plan fixes."""
    group = store.template(block.model, block.experiment)
    prompts = slice(block.start, block.stop)
    keep = group["codebook_keep"][block.condition]
    texts = group["text"][group["text_index"][block.condition, prompts].ravel()]
    path = group["path_key"][block.condition, prompts].ravel()
    execution = group["execution_key"][block.condition, prompts].ravel()
    its_probe = probe(plan.experiments[block.experiment][block.condition], keep)
    batches = []
    batch_size = store.run.batch_sizes[block.model]
    for start in range(0, len(texts), batch_size):
        rows = slice(start, start + batch_size)
        noise = PhiloxNoise(path[rows], execution[rows])
        trace = model.traverse(model.encode([str(text) for text in texts[rows]]), its_probe, noise)
        batches.append(_arrays(model, trace, images=plan.study.images))
    shape = (block.stop - block.start, plan.n_samples(block.experiment))
    arrays = {}
    for name in batches[0]:
        values = np.concatenate([batch[name] for batch in batches])
        dtype = store.arrays(block)[name].dtype
        arrays[name] = values.astype(dtype).reshape(*shape, *values.shape[1:])
    if not keep[arrays["tokens"]].all():
        raise StoreError(
            f"block {block.name} of {block.model} holds a code that its condition disables."
        )
    return arrays


def _arrays(model: Model, trace: Any, *, images: bool) -> dict[str, NDArray[Any]]:
    grid = model.identity.grid
    arrays = {
        "tokens": trace.tokens,
        "token_surprisal": trace.token_surprisal,
        "token_entropy": trace.token_entropy,
    }
    if trace.token_step is not None:
        arrays["token_step"] = trace.token_step
    stored = {name: values.cpu().numpy().reshape(-1, *grid) for name, values in arrays.items()}
    by_step = {"path_surprisal": trace.path_surprisal, "joint_surprisal": trace.joint_surprisal}
    stored |= {name: values.cpu().numpy() for name, values in by_step.items() if values is not None}
    if images:
        stored["image"] = model.decode(trace.tokens)
    return stored
