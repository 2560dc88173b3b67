"""How probable stored tokens are, whatever the path: score images of a run along more paths.

What a score is stands in `generate.run.importance`. The store is read and not changed; see
`schemas/rescored.py` for what is written beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from generate.errors import StoreError
from generate.provenance import hardware, software
from generate.run import contrasts
from generate.run.importance import Images, score_paths
from generate.run.loading import load
from generate.run.progress import Progress, silent
from generate.run.rescoring import Rescoring
from generate.store.room import room_in
from generate.store.samples import SampleStore
from generate.study.conditions import BASELINE, Condition
from generate.study.planning import Plan, recorded_plan
from schemas.provenance import ModelIdentity, now
from schemas.rescored import EMPTY, RescoreRecord
from schemas.store import Block, RunRecord, snapshot_digest
from schemas.study import NOISELESS_ORDERS

Known = TypeVar("Known")

PROPOSALS = {
    "masked": "confidence order of the given tokens, path temperature at least 0.5; another order itself",
    "diffusion": "q(x_{t-1} | x_t, x0) with x0 the given tokens",
}
"""How paths are proposed, by family; a family that is not here has one path."""

BYTES_A_NUMBER = 8
BYTES_A_PIECE = 65536
"""Most bytes of the files of one condition and prompt, besides their numbers."""


def with_a_path(run: RunRecord) -> list[str]:
    """Labels of the models of a run whose paths are chosen, so that there is something to score.

    A model with a fixed order has one path, and its surprisals are exact.
    """
    labels = []
    for label, identity in run.models.items():
        if identity.family in PROPOSALS:
            labels.append(label)
    return labels


def plan_rescoring(
    store: SampleStore,
    model: str,
    *,
    experiment: str,
    n_paths: int,
    seed: int = 0,
    conditions: Sequence[str] = (),
    n_prompts: int | None = None,
    device: str = "cpu",
    contrast: str = "",
) -> Rescoring:
    """What would be scored of one model and experiment of a run, on `n_paths` proposed paths each.

    `conditions` are names of the experiment's; where none is given, the baseline is taken, and
    where there is none, all (of a `contrast` see `contrasts.contrasted_conditions`). `n_prompts` are
    the first so many prompts that are complete in all of them. With a `contrast` the images are
    scored under other texts too, those of a fixed order along their one path. Raises `StoreError`
    where there is nothing to score, or nothing by that name.
    """
    run = store.run
    identity = _known("model", model, run.models)
    shape = _known("experiment", experiment, run.experiments)
    if n_paths < 1:
        raise StoreError(f"--paths is {n_paths}, but must be at least 1.")
    laid_out = recorded_plan(run, store.prompts)
    cells = laid_out.experiments[experiment]
    if contrast and not conditions:
        conditions = contrasts.contrasted_conditions(contrast, cells, BASELINE.name)
    chosen = _chosen(experiment, shape.conditions, conditions)
    orders = {cell.order for cell in cells if cell.name in chosen}
    has_path = identity.family in PROPOSALS and not orders <= set(NOISELESS_ORDERS)
    if not has_path and not contrast:
        raise StoreError(
            f"'{model}' has a fixed order: its token surprisals are exact, and nothing is to be "
            "rescored but under other texts (--contrast)."
        )
    if contrast.isdigit():
        _refuse_reworded(cells, chosen)
    committed = _committed(store, laid_out, model, experiment)
    done = np.zeros((len(shape.conditions), shape.n_prompts), dtype=bool)
    for block in committed:
        done[block.condition, block.start : block.stop] = True
    asked_for = np.isin(shape.conditions, chosen)
    whole = np.flatnonzero(done[asked_for].all(axis=0))[:n_prompts]
    if len(whole) == 0:
        raise StoreError(
            f"no prompt of '{model}/{experiment}' is complete in {', '.join(chosen)}: finish the "
            "run first."
        )
    prompts = [laid_out.prompts_of(experiment)[index] for index in whole]
    labels = []
    if contrast:
        most = max(cell.n_paraphrases for cell in cells if cell.name in chosen)
        labels = contrasts.labels_of(contrast, laid_out, prompts, max(most, 1))
    record = RescoreRecord(
        run_id=run.run_id,
        snapshot=_snapshot(store, committed),
        model=model,
        identity=identity,
        experiment=experiment,
        conditions=chosen,
        prompts=[prompt.id for prompt in prompts],
        n_samples=shape.n_samples,
        n_paths=n_paths if has_path else 0,
        seed=seed,
        proposal=_proposal(identity.family, contrast) if has_path else "",
        contrast=contrast,
        contrasts=labels,
        unrestricted=contrast == EMPTY,
        software=software(),
        hardware=hardware(device),
        created=now(),
    )
    return Rescoring(store, record)


def _proposal(family: str, contrast: str) -> str:
    """How paths are proposed, in words; empty for a family that has one."""
    if contrast and family in PROPOSALS:
        return f"{PROPOSALS[family]}; under the empty caption, the same paths for all texts"
    return PROPOSALS.get(family, "")


def _refuse_reworded(cells: Sequence[Condition], chosen: Sequence[str]) -> None:
    """Refuse to compare paraphrases with prompts that have none of their own here."""
    for cell in cells:
        if cell.name in chosen and cell.prompt_type != BASELINE.prompt_type:
            raise StoreError(
                f"'{cell.name}' has paraphrases, but other prompts are taken in their original "
                "wording: name conditions with that (--condition), or use --contrast study."
            )


def _known(what: str, name: str, known: Mapping[str, Known]) -> Known:
    """The model or experiment of a name; refuses one that the run has not."""
    if name not in known:
        raise StoreError(f"the run has no {what} '{name}'; it has {', '.join(known)}.")
    return known[name]


def _chosen(experiment: str, known: Sequence[str], asked: Sequence[str]) -> list[str]:
    """The conditions that are asked for; else the baseline, else all."""
    for name in asked:
        if name not in known:
            raise StoreError(
                f"'{experiment}' has no condition '{name}'; it has {', '.join(known)}."
            )
    if asked:
        return list(asked)
    if BASELINE.name in known:
        return [BASELINE.name]
    return list(known)


def _committed(store: SampleStore, laid_out: Plan, model: str, experiment: str) -> list[Block]:
    """Committed blocks of a model and experiment, in the order of the plan."""
    ours = []
    for block in laid_out.blocks():
        if (block.model, block.experiment) == (model, experiment):
            ours.append(block)
    done = store.ledger.done(ours)
    return [block for block in ours if block in done]


def _snapshot(store: SampleStore, committed: Sequence[Block]) -> str:
    """Digest of what the committed blocks hold."""
    records, ledger = [], store.ledger
    for block in committed:
        record = ledger.read(block)
        if record is not None:
            records.append(record)
    return snapshot_digest(records)


def rescore(work: Rescoring, *, device: str = "cpu", progress: Progress = silent) -> None:
    """Score what is not scored yet, piece by piece (a condition of a prompt), on a torch device.

    Interrupting it loses at most the piece at hand. Raises `StoreError` if the model is not the one
    the store was made with, or if a result for other images lies in the same place.
    """
    store, record = work.store, work.record
    laid_out = recorded_plan(store.run, store.prompts)
    model = load(laid_out, record.model, device)
    _refuse_other_model(record, model.identity)
    n_pieces = len(record.conditions) * len(record.prompts)
    others = []
    if record.contrast.isdigit():
        others = contrasts.other_prompts(int(record.contrast), laid_out)
    what = "contrasts" if record.contrast else "paths"
    needed = BYTES_A_NUMBER * work.n_rows + BYTES_A_PIECE * n_pieces
    with room_in(store.folder, needed):
        work.open_or_create()
        pending = work.pieces()
        per_piece = work.n_rows // n_pieces
        done = work.n_rows - len(pending) * per_piece
        for condition, prompt in pending:
            images = Images(work, laid_out, model, condition, prompt)
            if record.contrast:
                texts = contrasts.texts_of(
                    images, store.fixed(record.model, record.experiment), others
                )
                scored = contrasts.score_contrasts(images, texts)
            else:
                scored = score_paths(images)
            work.add((condition, prompt), scored)
            done += per_piece
            progress(f"{record.model} {what}", done, work.n_rows)


def _refuse_other_model(record: RescoreRecord, here: ModelIdentity) -> None:
    if here.fixing() == record.identity.fixing():
        return
    ours, theirs = _weights(here), _weights(record.identity)
    what = "revision or options differ"
    if ours != theirs:
        what = f"weights {ours} here, {theirs} there"
    raise StoreError(
        f"model '{record.model}' is not the one the store was made with ({what}): restore it."
    )


def _weights(identity: ModelIdentity) -> str:
    digests = [file.sha256[:12] for file in identity.weights]
    return ", ".join(digests) or identity.revision
