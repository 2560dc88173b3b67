"""How probable stored tokens are, whatever the path: importance weights of paths given the tokens.

q(Z|X) is a sum over paths. With K paths drawn from a proposal r(P|Z), the mean of w = q(P,Z) / r(P|Z) has mean q(Z), so
the log of it is below log q(Z) in expectation; with the path that made Z among the K it is above. Both close in as K
grows (Burda et al. 2016, arXiv:1509.00519; Grosse et al. 2015, arXiv:1511.02543; Sobolev & Vetrov 2019,
arXiv:1905.03290). The store is read and not changed; see `schemas/rescored.py` for what is written beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import zarr
from numpy.typing import NDArray
from pydantic import ValidationError

from generate.errors import StoreError
from generate.models.base import Model
from generate.provenance import hardware, now, software
from generate.run.run import Progress, load, silent
from generate.store.samples import CODEC, DATA, SampleStore, room_in
from generate.study import noise
from generate.study.plan import Block, Plan, recorded_plan
from generate.study.probes import probe
from generate.traversal.draw import PhiloxNoise
from generate.traversal.replay import Replay
from schemas.rescored import VARIABLES, VERSION, RescoreRecord
from schemas.store import snapshot_digest

Array = NDArray[np.float64]

RECORD = "rescored.json"
REFERENCE = "stochastic-original-full"
PROPOSALS = {
    "masked": "confidence order of the given tokens, path temperature at least 0.5",
    "diffusion": "q(x_{t-1} | x_t, x0) with x0 the given tokens",
}


@dataclass(frozen=True)
class Rescoring:
    """What to score: images of some conditions and prompts of one model and experiment, along K + 1 paths each."""

    store: SampleStore
    record: RescoreRecord

    @property
    def key(self) -> str:
        """Where the result lies in the run."""
        r = self.record
        return f"rescored/{r.model}/{r.experiment}/paths{r.n_paths}-seed{r.seed}"

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
        """The work in words."""
        steps = self.record.identity.steps
        return (
            f"{self.record.model}: {self.n_images} images x {self.record.n_paths + 1} paths = {self.n_rows} traversals "
            f"of {steps} steps, each with the exact law of its path"
        )

    @cached_property
    def arrays(self) -> dict[str, zarr.Array[Any]]:
        """The arrays of the result."""
        data = self.store.folder.zarr(f"{self.key}/{DATA}", read_only=False)
        group = zarr.open_group(data, mode="r+", use_consolidated=False)
        return {
            name: array.with_config({"write_empty_chunks": True}) for name, array in group.arrays()
        }

    def pieces(self) -> Iterator[tuple[int, int]]:
        """(condition, prompt) that are not scored yet, by position in the result."""
        done = np.asarray(self.arrays["complete"][...])
        yield from ((int(c), int(p)) for c, p in np.argwhere(~done))


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
    """What would be scored; refuses what has nothing to score.

    `conditions` are names of the experiment's, the one without intervention (else all) if there are none; `n_prompts`
    the first so many prompts that are complete in all of them.
    """
    run = store.run
    for what, name, known in (
        ("model", model, run.models),
        ("experiment", experiment, run.experiments),
    ):
        if name not in known:
            raise StoreError(f"the run has no {what} '{name}'; it has {', '.join(known)}.")
    if n_paths < 1:
        raise StoreError(f"--paths is {n_paths}, but must be at least 1.")
    identity, shape = run.models[model], run.experiments[experiment]
    if identity.family not in PROPOSALS:
        raise StoreError(
            f"'{model}' has a fixed order: its token surprisals are exact, and nothing is to be rescored."
        )
    known_cells = shape.conditions
    chosen = (
        list(conditions) or [name for name in known_cells if name == REFERENCE] or list(known_cells)
    )
    for name in chosen:
        if name not in known_cells:
            raise StoreError(
                f"'{experiment}' has no condition '{name}'; it has {', '.join(known_cells)}."
            )
    laid_out = recorded_plan(run)
    blocks = [b for b in laid_out.blocks() if (b.model, b.experiment) == (model, experiment)]
    committed = [b for b in blocks if store.ledger.is_done(b)]
    done = np.zeros((len(known_cells), shape.n_prompts), dtype=bool)
    for block in committed:
        done[block.condition, block.start : block.stop] = True
    whole = np.flatnonzero(done[[known_cells.index(name) for name in chosen]].all(axis=0))[
        :n_prompts
    ]
    if len(whole) == 0:
        raise StoreError(
            f"no prompt of '{model}/{experiment}' is complete in {', '.join(chosen)}: finish the run first."
        )
    records = [record for block in committed if (record := store.ledger.read(block)) is not None]
    ids = [prompt.id for prompt in laid_out.prompts_of(experiment)]
    return Rescoring(
        store,
        RescoreRecord(
            run_id=run.run_id,
            snapshot=snapshot_digest(records),
            model=model,
            identity=identity,
            experiment=experiment,
            conditions=chosen,
            prompts=[ids[i] for i in whole],
            n_samples=shape.n_samples,
            n_paths=n_paths,
            seed=seed,
            proposal=PROPOSALS[identity.family],
            software=software(),
            hardware=hardware(device),
            created=now(),
        ),
    )


def rescore(work: Rescoring, *, device: str = "cpu", progress: Progress = silent) -> None:
    """Score what is not scored yet, piece by piece (a condition of a prompt)."""
    store, record = work.store, work.record
    laid_out = recorded_plan(store.run)
    model = load(laid_out, record.model, device)
    if model.identity != record.identity:
        ours, theirs = (_weights(identity) for identity in (model.identity, record.identity))
        what = (
            f"weights {ours} here, {theirs} there"
            if ours != theirs
            else "revision or options differ"
        )
        raise StoreError(
            f"model '{record.model}' is not the one the store was made with ({what}): restore it."
        )
    needed = 8 * work.n_rows + 65536 * len(record.conditions) * len(record.prompts)
    with room_in(store.folder, needed):
        _open_or_create(work)
        pending = list(work.pieces())
        done = work.n_rows - len(pending) * (per_piece := record.n_samples * (record.n_paths + 1))
        for condition, prompt in pending:
            scored = _score(work, laid_out, model, condition, prompt)
            for name in ("log_weight", "joint_bits", "path_bits"):
                work.arrays[name][condition, prompt] = scored[name]
            work.arrays["complete"][condition, prompt] = True
            done += per_piece
            progress(f"{record.model} paths", done, work.n_rows)


def _weights(identity: Any) -> str:
    return ", ".join(file.sha256[:12] for file in identity.weights) or identity.revision


def _open_or_create(work: Rescoring) -> None:
    """Begin the result, or go on with one that was begun for the same images by the same model."""
    folder, file = work.store.folder, f"{work.key}/{RECORD}"
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
    for name in ("run_id", "snapshot", "identity", "conditions", "prompts", "n_samples"):
        if getattr(there, name) != getattr(work.record, name):
            raise StoreError(
                f"{work} was made for another {name}: delete it to score anew, or give another --seed."
            )


def _write_template(work: Rescoring) -> None:
    record = work.record
    group = zarr.open_group(
        work.store.folder.zarr(f"{work.key}/{DATA}", read_only=False), mode="w", zarr_format=3
    )
    group.attrs.update(
        {"schema_name": record.schema_name, "schema_version": VERSION, "snapshot": record.snapshot}
    )
    sizes = {
        "condition": len(record.conditions),
        "prompt": len(record.prompts),
        "sample": record.n_samples,
        "path": record.n_paths + 1,
    }
    labels = {"condition": record.conditions, "prompt": record.prompts}
    for name, variable in VARIABLES.items():
        shape = tuple(sizes[dim] for dim in variable.dims)
        array = group.create_array(
            name,
            shape=shape,
            dtype=variable.dtype,
            chunks=(1, 1, *shape[2:]) if variable.per_block else shape,
            compressors=CODEC,
            fill_value=variable.fill,
            dimension_names=variable.dims,
            attributes={"units": variable.units, "long_name": variable.long_name},
        )
        if name in labels:
            array[...] = np.array(labels[name], dtype=np.dtypes.StringDType())


def _score(
    work: Rescoring, laid_out: Plan, model: Model, condition: int, prompt: int
) -> dict[str, Array]:
    """Weights (sample, path) and bits (sample,) of the images of one condition and prompt."""
    record, store = work.record, work.store
    n, k = record.n_samples, record.n_paths
    cell = store.run.experiments[record.experiment].conditions.index(record.conditions[condition])
    row = [p.id for p in laid_out.prompts_of(record.experiment)].index(record.prompts[prompt])
    arrays = store.arrays(Block(record.model, record.experiment, cell, 0, row, row + 1))
    tokens, steps = (
        torch.from_numpy(np.asarray(arrays[name][cell, row]).reshape(n, -1).astype(np.int64))
        for name in ("tokens", "token_step")
    )
    fixed = store.template(record.model, record.experiment)
    texts = [str(text) for text in fixed["text"][fixed["text_index"][cell, row]]]
    its_probe = probe(laid_out.experiments[record.experiment][cell], fixed["codebook_keep"][cell])

    def replay(
        images: NDArray[np.int64], path_keys: Any, execution_keys: Any, *, own: bool
    ) -> dict[str, Array]:
        """Bits (image,) of each part of the weights, NaN where an image did not come out again."""
        found: dict[str, list[Array]] = {name: [] for name in ("joint", "path", "proposal")}
        for start in range(0, len(images), batch := store.run.batch_sizes[record.model]):
            rows = images[start : start + batch]
            keys = PhiloxNoise(
                path_keys[start : start + batch], execution_keys[start : start + batch]
            )
            given = Replay(tokens[rows], keys, steps[rows] if own else None)
            trace = model.traverse(model.encode([texts[i] for i in rows]), its_probe, given)
            again = (trace.tokens.cpu() == tokens[rows]).all(dim=1).numpy()
            for name, parts in found.items():
                bits = getattr(trace, f"{name}_surprisal").double().sum(dim=1).cpu().numpy()
                parts.append(np.where(again, bits, np.nan))
        return {name: np.concatenate(parts) for name, parts in found.items()}

    sampled = replay(
        np.arange(n), fixed["path_key"][cell, row], fixed["execution_key"][cell, row], own=True
    )
    stream = f"{record.prompts[prompt]}\x1frescore"
    keys = noise.stream_keys(
        record.seed, [f"{stream}\x1f{sample}" for sample in range(n)], k, "path"
    ).ravel()
    proposed = replay(np.repeat(np.arange(n), k), keys, keys, own=False)
    weights = np.concatenate(
        [
            (sampled["proposal"] - sampled["joint"])[:, None],
            (proposed["proposal"] - proposed["joint"]).reshape(n, k),
        ],
        axis=1,
    )
    return {"log_weight": weights, "joint_bits": sampled["joint"], "path_bits": sampled["path"]}
