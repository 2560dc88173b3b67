"""Make the pending blocks of a store, one by one: claim, sample, write, commit."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from generate.errors import DiskError, ModelError, StoreError
from generate.models.base import Model
from generate.provenance import hardware, software
from generate.run.holder import Holder
from generate.run.progress import Progress, Tell, quiet, silent
from generate.run.returned import decode, sample
from generate.run.turns import Shard, Turns
from generate.store.audit import Summary, summary
from generate.store.claims import key
from generate.store.room import bytes_needed, room_in
from generate.store.samples import SampleStore
from generate.study.planning import Plan, size
from generate.study.probes import Probe, probe
from generate.traversal.draw import PhiloxNoise
from generate.traversal.trace import Trace
from schemas.io.refused import FolderError
from schemas.io.writer import Maker
from schemas.store import Block
from schemas.timings import keeping, stage, taken

Outcome = Literal["made", "done", "held", "failed"]
"""What became of a block.

Committed now, committed before, in the hands of another process, or failed and recorded.
"""


COMMITTED: tuple[Outcome, ...] = ("made", "done")
"""What becomes of a block whose images are there."""
ELSEWHERE: tuple[Outcome, ...] = ("done", "held")
"""What becomes of a pending block that another process was at first."""


def run(
    plan: Plan,
    store: SampleStore,
    *,
    device: str = "cpu",
    progress: Progress = silent,
    tell: Tell = quiet,
    holder: Holder | None = None,
    shard: Shard | None = None,
) -> Summary:
    """Make every pending block of a store; blocks that fail are recorded and the rest goes on.

    Models come in the order of the plan, but first the one that `holder`, if given, has in memory.
    With a `shard`, blocks are those of that part of the run alone, and so are those summed up.

    `progress` counts images that are committed; `tell` is told why the first block of each model
    failed, as soon as it did.
    Interrupting it loses at most the block at hand. Errors that no later block could escape (a full
    disk, a model that does not load, a service that does not answer) end the run.
    """
    store.claims.sweep()
    blocks = list(plan.blocks()) if shard is None else shard.among(plan.blocks())
    done = store.ledger.done(blocks)
    restore_marks(store, done)
    made = 0
    holding = holder or Holder(device)
    in_memory_first = sorted(plan.models, key=lambda label: not holding.holds(plan, label))
    for label in in_memory_first:
        n_samples, n_done, pending = 0, 0, []
        for block in blocks:
            if block.model != label:
                continue
            n_samples += size(block, plan)
            if block in done:
                n_done += size(block, plan)
            else:
                pending.append(block)
        if not pending:
            continue
        advance = partial(_advance, progress, label, n_done, n_samples)
        with keeping(holding.timings):
            made += _make_all(plan, store, holding, pending, advance, tell)
    return summary(blocks, store, made=made)


def _advance(progress: Progress, label: str, before: int, total: int, n: int) -> None:
    """Tell a progress of `n` more images of a model than there were before."""
    progress(label, before + n, total)


def _make_all(
    plan: Plan,
    store: SampleStore,
    holder: Holder,
    pending: list[Block],
    advance: Callable[[int], None],
    tell: Tell,
) -> int:
    """Make blocks of one model; how many were made now.

    A function of its own, so that no name keeps the model while the next one is loaded. `advance`
    is told the number of images committed, and `tell` why the first block failed.
    """
    model = holder.recorded(plan, store.run, pending[0].model)
    made, n_done, n_failed = 0, 0, 0
    advance(n_done)
    turns = Turns(pending, store.ledger.done)
    while (block := turns.take()) is not None:
        outcome = make_block(plan, store, model, block, device=holder.device)
        made += outcome == "made"
        if outcome in COMMITTED:
            n_done += size(block, plan)
        if outcome in ELSEWHERE:
            n_done += sum(size(other, plan) for other in turns.go_elsewhere())
        if outcome == "failed":
            n_failed += 1
            if n_failed == 1:
                tell(why_failed(store, block))
        advance(n_done)
    return made


def why_failed(store: SampleStore, block: Block) -> str:
    """Why a block failed, in one line, and where the whole text is."""
    return (
        f"{block.model}: block {block.name} of {block.experiment} failed: "
        f"{store.claims.why_failed(block)} (whole text: {store.folder}/{key('failed', block)})"
    )


def restore_marks(store: SampleStore, done: Iterable[Block]) -> None:
    """Mark committed blocks as complete where a kill came between commit and mark.

    The mark in the Zarr data is for readers that know no ledger; `done` are the committed blocks.
    """
    committed = set(done)
    for block in committed - store.marked(committed):
        store.mark_complete(block)


def make_block(
    plan: Plan, store: SampleStore, model: Model, block: Block, *, device: str, session: str = ""
) -> Outcome:
    """Sample one block and commit it; what goes wrong with it is recorded and returned as 'failed'.

    `session` names the cluster run it is made in; a former attempt of the same one is known to be
    over. Raises `DiskError` and `FolderError`, which no later block could escape.
    """
    needed = bytes_needed(store.run)
    with room_in(store.folder, needed), store.claims.claimed(block, session) as attempt:
        if attempt is None:
            return "held"
        if store.ledger.is_done(block):
            return "done"
        try:
            with room_in(store.folder, needed):
                return commit_block(plan, store, model, block, attempt, device)
        except (DiskError, FolderError):
            raise
        except Exception as error:
            store.claims.fail(block, error, traceback.format_exc())
            return "failed"


def commit_block(
    plan: Plan, store: SampleStore, model: Model, block: Block, attempt: str, device: str
) -> Outcome:
    """Sample a claimed block, write it, publish its record, and look once more at what is stored.

    Gives 'done' where another attempt published first. Raises `StoreError` if what is stored is not
    what the published record says; the record is taken back then.
    """
    maker = Maker(software(), hardware(device), attempt, seconds=taken)
    with stage("other"):
        arrays = generate_block(plan, store, model, block)
    with stage("write"):
        return store.add(block, arrays, maker)


def generate_block(
    plan: Plan, store: SampleStore, model: Model, block: Block
) -> dict[str, NDArray[Any]]:
    """Arrays of one block by variable, (prompt, sample, ...), in the store's types.

    Order and batches are those that the run fixes. Raises `ModelError` if what the adapter returned
    is not what it should be, and `StoreError` if a code appears that the block's condition disables.
    """
    fixed = store.fixed(block.model, block.experiment)
    prompts = slice(block.start, block.stop)
    keep = store.allowed(block.model, block.experiment, block.condition)
    text_index = fixed["text_index"][block.condition, prompts].ravel()
    path = fixed["path_key"][block.condition, prompts].ravel()
    execution = fixed["execution_key"][block.condition, prompts].ravel()
    rendering = None
    if "rendering_key" in fixed:
        rendering = fixed["rendering_key"][block.condition, prompts].ravel()
    its_probe = probe(plan.experiments[block.experiment][block.condition], keep)
    batches = []
    batch_size = store.run.batch_sizes[block.model]
    sampled, copied = rows_to_sample(model, its_probe, text_index, path, execution)
    for start in range(0, len(sampled), batch_size):
        rows = sampled[start : start + batch_size]
        given = [str(text) for text in fixed["text"][text_index[rows]]]
        noise = PhiloxNoise(path[rows], execution[rows])
        trace = sample(model, block.model, given, its_probe, noise)
        arrays = _arrays(model, trace)
        if plan.study.images:
            keys = None if rendering is None else rendering[rows]
            arrays["image"] = decode(model, block.model, trace.tokens, keys)
        batches.append(arrays)
    shape = (block.stop - block.start, plan.n_samples(block.experiment))
    stored = store.arrays(block)
    _refuse_other_variables(block, set(stored) - {"complete"}, batches)
    arrays = {}
    for name in batches[0]:
        values = np.concatenate([batch[name] for batch in batches])[copied]
        arrays[name] = values.astype(stored[name].dtype).reshape(*shape, *values.shape[1:])
    ids = arrays["tokens"].reshape(-1, math.prod(model.identity.grid))
    allowed = keep[ids] if keep.ndim == 1 else keep[np.arange(ids.shape[1]), ids]
    if not allowed.all():
        raise StoreError(
            f"block {block.name} of {block.model} holds a code that its condition disables."
        )
    return arrays


def rows_to_sample(
    model: Model,
    its_probe: Probe,
    text_index: NDArray[np.integer],
    path: NDArray[np.uint64],
    execution: NDArray[np.uint64],
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which rows of a block are sampled, in their order, and for each row which of those it equals.

    A sample follows from its text, its path noise where the order is not fixed, and its execution
    noise where argmax does not leave it out; all are (sample,). What follows from the same is made
    once, so that copies are equal whatever the batch. All that a decoder renders with noise is
    sampled each.
    """
    everyone = np.arange(len(text_index))
    if model.identity.rendering:
        return everyone, everyone
    _, source = np.unique(text_index, return_inverse=True)
    if not model.identity.has_fixed_order:
        source = _together(source, path)
    if not its_probe.is_argmax_throughout:
        source = _together(source, execution)
    _, first, twin = np.unique(source, return_index=True, return_inverse=True)
    sampled = np.sort(first)
    return sampled, np.searchsorted(sampled, first[twin])


def _together(source: NDArray[np.intp], keys: NDArray[np.uint64]) -> NDArray[np.intp]:
    """A number (sample,) of each pair of a number and a key: equal where both are."""
    values, number = np.unique(keys, return_inverse=True)
    return source * len(values) + number


def _refuse_other_variables(
    block: Block, expected: set[str], batches: Sequence[Mapping[str, Any]]
) -> None:
    """Refuse a batch that lacks a variable of the store, or brings one that it has not."""
    for batch in batches:
        if set(batch) != expected:
            differing = ", ".join(sorted(expected ^ set(batch)))
            raise ModelError(
                f"`traverse` of model '{block.model}' gave {', '.join(sorted(batch))}, but the store "
                f"holds {', '.join(sorted(expected))}: they differ in {differing}."
            )


def _arrays(model: Model, trace: Trace) -> dict[str, NDArray[Any]]:
    """What a traversal returned, by the variables of the store, each with one row a sample."""
    by_position = {
        "tokens": trace.tokens,
        "token_surprisal": trace.token_surprisal,
        "token_entropy": trace.token_entropy,
        "token_step": trace.token_step,
    }
    by_step = {"path_surprisal": trace.path_surprisal, "joint_surprisal": trace.joint_surprisal}
    arrays: dict[str, NDArray[Any]] = {}
    for name, values in by_position.items():
        if values is not None:
            arrays[name] = values.cpu().numpy().reshape(-1, *model.identity.grid)
    for name, values in by_step.items():
        if values is not None:
            arrays[name] = values.cpu().numpy()
    return arrays
