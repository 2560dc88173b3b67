"""How probable stored tokens are, whatever the path: importance weights of paths given the tokens.

q(Z|X) is a sum over paths. With K paths drawn from a proposal r(P|Z), the mean of
w = q(P,Z) / r(P|Z) has mean q(Z), so the log of it is below log q(Z) in expectation; with the path
that made Z among the K it is above. Both close in as K grows (Burda et al. 2016, arXiv:1509.00519;
Grosse et al. 2015, arXiv:1511.02543; Sobolev & Vetrov 2019, arXiv:1905.03290). The store is read
and not changed; see `schemas/rescored.py` for what is written beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
import zarr
from numpy.typing import NDArray
from pydantic import ValidationError

from generate.errors import StoreError
from generate.models.base import Model
from generate.provenance import hardware, software
from generate.run.loading import load
from generate.run.progress import Progress, silent
from generate.store.room import room_in
from generate.store.samples import SampleStore
from generate.study.conditions import BASELINE
from generate.study.noise import proposal_keys
from generate.study.planning import Plan, recorded_plan
from generate.study.probes import Probe, probe
from generate.traversal.draw import PhiloxNoise
from generate.traversal.replay import Replay
from schemas.io.layout import DATA, RESCORED_RECORD, rescored_key
from schemas.io.template import CODEC
from schemas.provenance import ModelIdentity, now
from schemas.rescored import VARIABLES, VERSION, RescoreRecord
from schemas.store import Block, RunRecord, snapshot_digest
from schemas.variables import Variable

Array = NDArray[np.float64]
Known = TypeVar("Known")

PROPOSALS = {
    "masked": "confidence order of the given tokens, path temperature at least 0.5",
    "diffusion": "q(x_{t-1} | x_t, x0) with x0 the given tokens",
}
"""How paths are proposed, by family; a family that is not here has one path."""

BYTES_A_NUMBER = 8
BYTES_A_PIECE = 65536
"""Most bytes of the files of one condition and prompt, besides their numbers."""

SAME_IMAGES = ("run_id", "snapshot", "identity", "conditions", "prompts", "n_samples")
"""What two rescorings must share to be one."""


def with_a_path(run: RunRecord) -> list[str]:
    """Labels of the models of a run whose paths are chosen, so that there is something to score."""
    labels = []
    for label, identity in run.models.items():
        if identity.family in PROPOSALS:
            labels.append(label)
    return labels


@dataclass(frozen=True)
class Rescoring:
    """What to score: images of conditions and prompts of a model and experiment, on K + 1 paths each."""

    store: SampleStore
    record: RescoreRecord

    @property
    def key(self) -> str:
        """Where the result lies in the run."""
        r = self.record
        return rescored_key(r.model, r.experiment, r.n_paths, r.seed)

    def __str__(self) -> str:
        return f"{self.store.root}/{self.key}"

    @property
    def n_images(self) -> int:
        """Images to score."""
        return len(self.record.conditions) * len(self.record.prompts) * self.record.n_samples

    @property
    def n_rows(self) -> int:
        """Traversals to make."""
        return self.n_images * (self.record.n_paths + 1)

    def cost(self) -> str:
        """The work in words, for people."""
        r = self.record
        return (
            f"{r.model}: {self.n_images} images x {r.n_paths + 1} paths = {self.n_rows} traversals "
            f"of {r.identity.steps} steps, each with the exact law of its path"
        )

    @cached_property
    def arrays(self) -> dict[str, zarr.Array[Any]]:
        """The arrays of the result by name, to read and write."""
        data = self.store.folder.zarr(f"{self.key}/{DATA}", read_only=False)
        group = zarr.open_group(data, mode="r+", use_consolidated=False)
        arrays = {}
        for name, array in group.arrays():
            arrays[name] = array.with_config({"write_empty_chunks": True})
        return arrays

    def pieces(self) -> Iterator[tuple[int, int]]:
        """(condition, prompt) that are not scored yet, by position in the result."""
        done = np.asarray(self.arrays["complete"][...])
        for condition, prompt in np.argwhere(~done):
            yield int(condition), int(prompt)


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
) -> Rescoring:
    """What would be scored of one model and experiment of a run, on `n_paths` proposed paths each.

    `conditions` are names of the experiment's; where none is given, the baseline is taken, and
    where there is none, all. `n_prompts` are the first so many prompts that are complete in all of
    them. Raises `StoreError` where there is nothing to score, or nothing by that name.
    """
    run = store.run
    identity = _known("model", model, run.models)
    shape = _known("experiment", experiment, run.experiments)
    if n_paths < 1:
        raise StoreError(f"--paths is {n_paths}, but must be at least 1.")
    if identity.family not in PROPOSALS:
        raise StoreError(
            f"'{model}' has a fixed order: its token surprisals are exact, and nothing is to be "
            "rescored."
        )
    chosen = _chosen(experiment, shape.conditions, conditions)
    laid_out = recorded_plan(run)
    committed = _committed(store, laid_out, model, experiment)
    done = np.zeros((len(shape.conditions), shape.n_prompts), dtype=bool)
    for block in committed:
        done[block.condition, block.start : block.stop] = True
    cells = [shape.conditions.index(name) for name in chosen]
    whole = np.flatnonzero(done[cells].all(axis=0))[:n_prompts]
    if len(whole) == 0:
        raise StoreError(
            f"no prompt of '{model}/{experiment}' is complete in {', '.join(chosen)}: finish the "
            "run first."
        )
    ids = [prompt.id for prompt in laid_out.prompts_of(experiment)]
    record = RescoreRecord(
        run_id=run.run_id,
        snapshot=_snapshot(store, committed),
        model=model,
        identity=identity,
        experiment=experiment,
        conditions=chosen,
        prompts=[ids[index] for index in whole],
        n_samples=shape.n_samples,
        n_paths=n_paths,
        seed=seed,
        proposal=PROPOSALS[identity.family],
        software=software(),
        hardware=hardware(device),
        created=now(),
    )
    return Rescoring(store, record)


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
    found = []
    for block in laid_out.blocks():
        ours = (block.model, block.experiment) == (model, experiment)
        if ours and store.ledger.is_done(block):
            found.append(block)
    return found


def _snapshot(store: SampleStore, committed: Sequence[Block]) -> str:
    """Digest of what the committed blocks hold."""
    records = [store.ledger.read(block) for block in committed]
    return snapshot_digest([record for record in records if record is not None])


def rescore(work: Rescoring, *, device: str = "cpu", progress: Progress = silent) -> None:
    """Score what is not scored yet, piece by piece (a condition of a prompt), on a torch device.

    Interrupting it loses at most the piece at hand. Raises `StoreError` if the model is not the one
    the store was made with, or if a result for other images lies in the same place.
    """
    store, record = work.store, work.record
    laid_out = recorded_plan(store.run)
    model = load(laid_out, record.model, device)
    _refuse_other_model(record, model.identity)
    n_pieces = len(record.conditions) * len(record.prompts)
    needed = BYTES_A_NUMBER * work.n_rows + BYTES_A_PIECE * n_pieces
    with room_in(store.folder, needed):
        _open_or_create(work)
        pending = list(work.pieces())
        per_piece = record.n_samples * (record.n_paths + 1)
        done = work.n_rows - len(pending) * per_piece
        for condition, prompt in pending:
            scored = _Piece(work, laid_out, model, condition, prompt).score()
            for name, values in scored.items():
                work.arrays[name][condition, prompt] = values
            work.arrays["complete"][condition, prompt] = True
            done += per_piece
            progress(f"{record.model} paths", done, work.n_rows)


def _refuse_other_model(record: RescoreRecord, here: ModelIdentity) -> None:
    if here == record.identity:
        return
    ours, theirs = _weights(here), _weights(record.identity)
    what = "revision or options differ"
    if ours != theirs:
        what = f"weights {ours} here, {theirs} there"
    raise StoreError(
        f"model '{record.model}' is not the one the store was made with ({what}): restore it."
    )


def _weights(identity: ModelIdentity) -> str:
    return ", ".join(file.sha256[:12] for file in identity.weights) or identity.revision


def _open_or_create(work: Rescoring) -> None:
    """Begin the result, or go on with one that was begun for the same images by the same model."""
    folder, file = work.store.folder, f"{work.key}/{RESCORED_RECORD}"
    if not folder.exists(file):
        _write_template(work)
        folder.create(file, work.record.model_dump_json(indent=1).encode())
        return
    try:
        there = RescoreRecord.model_validate_json(folder.read(file))
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise StoreError(
            f"{work} holds no rescoring of version {VERSION} ({reason}): delete it to score anew."
        ) from None
    for name in SAME_IMAGES:
        if getattr(there, name) != getattr(work.record, name):
            raise StoreError(
                f"{work} was made for another {name}: delete it to score anew, or give another "
                "--seed."
            )


def _write_template(work: Rescoring) -> None:
    """Create the arrays of the result, empty but for the names of conditions and prompts."""
    record = work.record
    data = work.store.folder.zarr(f"{work.key}/{DATA}", read_only=False)
    group = zarr.open_group(data, mode="w", zarr_format=3)
    about = {"schema_name": record.schema_name, "schema_version": VERSION}
    group.attrs.update(about | {"snapshot": record.snapshot})
    sizes = {
        "condition": len(record.conditions),
        "prompt": len(record.prompts),
        "sample": record.n_samples,
        "path": record.n_paths + 1,
    }
    labels = {"condition": record.conditions, "prompt": record.prompts}
    for name, variable in VARIABLES.items():
        array = _create_array(group, name, variable, sizes)
        if name in labels:
            array[...] = np.array(labels[name], dtype=np.dtypes.StringDType())


def _create_array(
    group: zarr.Group, name: str, variable: Variable, sizes: dict[str, int]
) -> zarr.Array[Any]:
    """One array of the result, with a chunk for each condition and prompt where it has both."""
    shape = tuple(sizes[dim] for dim in variable.dims)
    chunks = shape
    if variable.per_block:
        chunks = (1, 1, *shape[2:])
    return group.create_array(
        name,
        shape=shape,
        dtype=variable.dtype,
        chunks=chunks,
        compressors=CODEC,
        fill_value=variable.fill,
        dimension_names=variable.dims,
        attributes={"units": variable.units, "long_name": variable.long_name},
    )


class _Piece:
    """The images of one condition and prompt, as stored, and the model that made them."""

    def __init__(
        self, work: Rescoring, laid_out: Plan, model: Model, condition: int, prompt: int
    ) -> None:
        record, store = work.record, work.store
        run: RunRecord = store.run
        cell = run.experiments[record.experiment].conditions.index(record.conditions[condition])
        ids = [prompt.id for prompt in laid_out.prompts_of(record.experiment)]
        row = ids.index(record.prompts[prompt])
        arrays = store.arrays(Block(record.model, record.experiment, cell, 0, row, row + 1))
        fixed = store.fixed(record.model, record.experiment)
        self.record = record
        self.model = model
        self.prompt = record.prompts[prompt]
        self.batch_size = run.batch_sizes[record.model]
        self.tokens = self._grids(arrays["tokens"], cell, row)
        self.steps = self._grids(arrays["token_step"], cell, row)
        self.texts = [str(text) for text in fixed["text"][fixed["text_index"][cell, row]]]
        self.path_key = fixed["path_key"][cell, row]
        self.execution_key = fixed["execution_key"][cell, row]
        keep = fixed["codebook_keep"][cell]
        self.probe: Probe = probe(laid_out.experiments[record.experiment][cell], keep)

    def _grids(self, array: zarr.Array[Any], cell: int, row: int) -> torch.Tensor:
        """Whole numbers (sample, position) of a stored array."""
        values = np.asarray(array[cell, row]).reshape(self.record.n_samples, -1)
        return torch.from_numpy(values.astype(np.int64))

    def score(self) -> dict[str, Array]:
        """Weights (sample, path) in bits, the path that was taken first, and bits (sample,) of it."""
        n, k = self.record.n_samples, self.record.n_paths
        sampled = self._replayed(np.arange(n), self.path_key, self.execution_key, self.steps)
        keys = proposal_keys(self.record.seed, self.prompt, n, k).ravel()
        proposed = self._replayed(np.repeat(np.arange(n), k), keys, keys, None)
        taken = sampled["proposal"] - sampled["joint"]
        others = (proposed["proposal"] - proposed["joint"]).reshape(n, k)
        return {
            "log_weight": np.concatenate([taken[:, None], others], axis=1),
            "joint_bits": sampled["joint"],
            "path_bits": sampled["path"],
        }

    def _replayed(
        self,
        images: NDArray[np.int64],
        path_keys: NDArray[np.uint64],
        execution_keys: NDArray[np.uint64],
        steps: torch.Tensor | None,
    ) -> dict[str, Array]:
        """Bits (image,) of each part of the weights, NaN where an image did not come out again.

        `steps` are those of the paths that were taken; None has paths proposed.
        """
        found: dict[str, list[Array]] = {"joint": [], "path": [], "proposal": []}
        for start in range(0, len(images), self.batch_size):
            batch = slice(start, start + self.batch_size)
            rows = images[batch]
            tokens = self.tokens[rows]
            keys = PhiloxNoise(path_keys[batch], execution_keys[batch])
            given = Replay(tokens, keys, None if steps is None else steps[rows])
            conditioning = self.model.encode([self.texts[row] for row in rows])
            trace = self.model.traverse(conditioning, self.probe, given)
            again = (trace.tokens.cpu() == tokens).all(dim=1).numpy()
            for name, parts in found.items():
                surprisal = getattr(trace, f"{name}_surprisal")
                bits = surprisal.double().sum(dim=1).cpu().numpy()
                parts.append(np.where(again, bits, np.nan))
        return {name: np.concatenate(parts) for name, parts in found.items()}
