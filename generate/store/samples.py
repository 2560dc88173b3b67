"""The sample store: create it, write one block, commit it, verify it.

A run, in a folder or under a URL, holds plain Zarr v3 (`data.zarr`, readable by xarray alone) and beside it the ledger
of finished blocks. Every stored object belongs to one block and is written once. See `schemas/store.py` for the layout.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from pydantic import ValidationError
from zarr.abc.store import Store
from zarr.codecs import ZstdCodec

from generate.errors import DiskFullError, StoreError
from generate.store.ledger import Ledger
from generate.study import noise
from generate.study.conditions import Condition
from generate.study.planning import Block, Plan
from generate.study.probes import keep_codes, texts_of_samples
from generate.study.reading import Reading
from generate.study.reading import texts as all_texts
from schemas.io.folder import Folder, LocalFolder, folder
from schemas.provenance import CalibrationRecord, ModelIdentity
from schemas.store import (
    COORDINATES,
    SCHEMA,
    VARIABLES,
    VERSION,
    BlockRecord,
    ExperimentPlan,
    RunRecord,
    StoredObject,
    Variable,
    is_whole,
    sealed,
    token_dtype,
)

Arrays = Mapping[str, NDArray[Any]]

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
PER_BLOCK = {name for name, variable in VARIABLES.items() if variable.per_block}
DISK_BLOCK = 4096
RUN, DATA = "run.json", "data.zarr"
CODEC = ZstdCodec(level=3, checksum=True)


@dataclass(frozen=True)
class SampleStore:
    """A run that exists: read its plan, write its blocks."""

    folder: Folder
    run: RunRecord

    @classmethod
    def open(cls, root: Path | str | Folder) -> SampleStore:
        """The store of a finished `create`."""
        where = folder(root)
        try:
            content = where.read(RUN)
        except (FileNotFoundError, NotADirectoryError):
            raise StoreError(
                f"{where} holds no run (no run.json); make one with `ibgenerate create STUDY --out {where}`."
            ) from None
        try:
            document = json.loads(content)
        except ValueError:
            raise StoreError(f"{where}/{RUN} is not JSON: restore it from a copy.") from None
        version = (
            str(document.get("schema_version", VERSION)) if isinstance(document, dict) else VERSION
        )
        if version.partition(".")[0] != VERSION.partition(".")[0]:
            raise StoreError(
                f"{where}/{RUN} is of version {version}, but this program writes {VERSION}: use its own."
            )
        try:
            run = RunRecord.model_validate(document)
        except ValidationError as error:
            raise StoreError(
                f"{where}/{RUN} is not a run of version {VERSION}: {error.errors()[0]['msg']}."
            ) from None
        if not is_whole(document):
            raise StoreError(
                f"{where}/{RUN} is damaged (its checksum differs): restore it from a copy."
            )
        return cls(where, run)

    @property
    def root(self) -> Path | str:
        """Path or URL of the run."""
        return self.folder.root

    @property
    def ledger(self) -> Ledger:
        """What is done, in progress and failed."""
        return Ledger(self.folder)

    @property
    def data(self) -> Store:
        """The Zarr hierarchy, to read."""
        return self.folder.zarr(DATA, read_only=True)

    def arrays(self, block: Block) -> dict[str, zarr.Array[Any]]:
        """The per-block arrays of a block's Dataset."""
        return self._groups[f"{block.model}/{block.experiment}"]

    @cached_property
    def _groups(self) -> dict[str, dict[str, zarr.Array[Any]]]:
        root = zarr.open_group(
            self.folder.zarr(DATA, read_only=False), mode="r+", use_consolidated=False
        )
        return {
            f"{model}/{experiment}": {
                name: array.with_config({"write_empty_chunks": True})
                for name, array in root[f"{model}/{experiment}"].arrays()  # type: ignore[union-attr]
                if name in PER_BLOCK
            }
            for model in self.run.models
            for experiment in self.run.experiments
        }

    def template(self, model: str, experiment: str) -> dict[str, NDArray[Any]]:
        """What `create` wrote once into a Dataset: coordinates, texts, noise keys and codebook subsets."""
        path = f"{model}/{experiment}"
        if path not in self._templates:
            group = zarr.open_group(self.data, path=path, mode="r", use_consolidated=False)
            fixed = {
                name: np.asarray(array[...])
                for name, array in group.arrays()
                if name not in PER_BLOCK
            }
            self._templates[path] = fixed
        return self._templates[path]

    @cached_property
    def _templates(self) -> dict[str, dict[str, NDArray[Any]]]:
        return {}

    def write(self, block: Block, arrays: Arrays) -> list[StoredObject]:
        """Write the arrays of a block, (prompt, sample, ...) each, and return what is stored, read back."""
        objects = []
        stored = self.arrays(block)
        _check(block, arrays, stored, self.run)
        for name, values in sorted(arrays.items()):
            keys = self.object_keys(block, name)
            for key in keys:  # of a killed or repaired attempt, maybe damaged
                self.folder.remove(f"{DATA}/{key}")
            stored[name][block.condition : block.condition + 1, block.start : block.stop] = values[
                None
            ]
            for key in keys:
                self.folder.sync(f"{DATA}/{key}")
                objects.append(self._described(key))
        return objects

    def _described(self, key: str) -> StoredObject:
        return _object(key, self.folder.read(f"{DATA}/{key}"))

    def mark_complete(self, block: Block) -> None:
        """Copy the commit of a block into the variable that readers without our code look at."""
        self.arrays(block)["complete"][
            block.condition : block.condition + 1, block.start : block.stop
        ] = True

    def marked(self, blocks: Iterable[Block]) -> set[Block]:
        """The blocks for which `mark_complete` was done."""
        blocks = list(blocks)
        groups = {(block.model, block.experiment) for block in blocks}
        there = {key for m, e in groups for key in self.folder.sizes(f"{DATA}/{m}/{e}/complete")}
        return {
            block for block in blocks if f"{DATA}/{self.object_keys(block, 'complete')[0]}" in there
        }

    def withdraw(self, block: Block) -> None:
        """Undo the commit of a block, so that it is made again."""
        self.ledger.withdraw(block)
        for key in self.object_keys(block, "complete"):
            self.folder.remove(f"{DATA}/{key}")

    def object_keys(self, block: Block, name: str) -> list[str]:
        """Objects of one array of a block, relative to the Zarr hierarchy."""
        array = self.arrays(block)[name]
        stored = array.shards or array.chunks
        tail = [0] * (len(array.shape) - 2)
        grid = [-(-size // step) for size, step in zip(array.shape[2:], stored[2:], strict=True)]
        return [
            f"{block.model}/{block.experiment}/{name}/"
            + ".".join(["c", str(block.condition), str(block.index), *map(str, index)])
            for index in (np.ndindex(*grid) if tail else [()])
        ]

    def problems(self, block: Block, record: BlockRecord) -> list[str]:
        """What is wrong with a committed block: objects that are gone, cut short or altered."""
        if record.config_sha256 != self.run.config_sha256:
            return [f"{block.name}: made under another configuration"]
        return self._damaged(record.objects)

    def template_problems(self) -> list[str]:
        """What is wrong with what `create` wrote: metadata, coordinates, texts, noise keys and codebook subsets."""
        return self._damaged(self.run.template)

    def _damaged(self, objects: Iterable[StoredObject]) -> list[str]:
        found = []
        for expected in objects:
            size = self.folder.size(f"{DATA}/{expected.key}")
            if size is None:
                found.append(f"{expected.key}: missing")
            elif size != expected.bytes:
                found.append(f"{expected.key}: {size} bytes instead of {expected.bytes}")
            elif self._described(expected.key).sha256 != expected.sha256:
                found.append(f"{expected.key}: altered (checksum differs)")
        return found


def _object(key: str, content: bytes) -> StoredObject:
    return StoredObject(key=key, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


@contextmanager
def room_in(where: Folder, needed: int) -> Iterator[None]:
    """Turn the system's refusal of a write for want of room into one line; `needed` are the bytes of the whole run."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        free = (where.free() or 0) / 1e6
        raise DiskFullError(
            f"no room in {where} ({os.strerror(error.errno or 0).lower()}; {free:.0f} MB free, the run needs "
            f"{needed / 1e6:.0f} MB in all): free some, then run the same command again; committed blocks are kept."
        ) from None


def content_digests(arrays: Arrays) -> list[str]:
    """sha256 of the decoded arrays of each prompt of a block, in order of their names."""
    digests = []
    for prompt in range(len(arrays["tokens"])):
        digest = hashlib.sha256()
        for name, values in sorted(arrays.items()):
            digest.update(f"{name} {values.dtype.str} {values.shape[1:]}\n".encode())
            digest.update(np.ascontiguousarray(values[prompt]).tobytes())
        digests.append(digest.hexdigest())
    return digests


def _check(
    block: Block, arrays: Arrays, stored: Mapping[str, zarr.Array[Any]], run: RunRecord
) -> None:
    """Refuse a block that would not be what the store says it is."""
    expected = set(stored) - {"complete"}
    if set(arrays) != expected:
        raise StoreError(
            f"block {block.name} brings {sorted(arrays)}, but its Dataset holds {sorted(expected)}."
        )
    for name, values in arrays.items():
        shape = (block.stop - block.start, *stored[name].shape[2:])
        if values.shape != shape or values.dtype != stored[name].dtype:
            raise StoreError(
                f"`{name}` of block {block.name} is {values.dtype}{values.shape}, "
                f"but the store holds {stored[name].dtype}{shape}."
            )
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise StoreError(f"`{name}` of block {block.name} has values that are not finite.")
    highest, size = int(arrays["tokens"].max()), run.models[block.model].codebook_size
    if highest >= size:
        raise StoreError(
            f"`tokens` of block {block.name} holds code {highest}, but codes of {block.model} run 0..{size - 1}. "
            "Were the special-token offsets removed before writing?"
        )


def bytes_needed(run: RunRecord) -> int:
    """Upper estimate of the bytes of a whole run."""
    shapes = list(run.experiments.values())
    return sum(bytes_of(model, shapes, images=run.study.images) for model in run.models.values())


def bytes_of(model: ModelIdentity, experiments: Iterable[ExperimentPlan], *, images: bool) -> int:
    """Upper estimate of the bytes of a model's blocks, before compression; a file takes at least a disk block."""
    image = model.image_size[0] * model.image_size[1] * 3 if images else 0
    each = image + model.grid[0] * model.grid[1] * 12 + 8 * model.steps
    total = 0
    for plan in experiments:
        blocks = len(plan.conditions) * -(-plan.n_prompts // plan.block_prompts)
        total += DISK_BLOCK * len(PER_BLOCK) * blocks
        total += len(plan.conditions) * plan.n_prompts * plan.n_samples * each
    return total


def create(
    root: Path | str | Folder,
    plan: Plan,
    run: RunRecord,
    calibration: Mapping[str, CalibrationRecord],
    read: Mapping[str, Sequence[Reading]] | None = None,
) -> SampleStore:
    """Lay out a run: its template, in a folder under a temporary name and renamed into place, and `run.json` last.

    Refuses a place that holds a run, and a disk without room for this one.
    """
    where = folder(root)
    if where.exists(RUN):
        raise StoreError(
            f"{where} holds a run already; resume it with `ibgenerate run`, or choose another place."
        )
    free, needed = where.free(), bytes_needed(run)
    if free is not None and needed > free:
        raise DiskFullError(
            f"{where} has {free / 1e6:.0f} MB free, but this study can need {needed / 1e6:.0f} MB: free some, choose "
            "another directory, or set `images: false` (images can be decoded from the tokens later)."
        )
    with room_in(where, needed):
        if isinstance(where, LocalFolder):
            temporary = where.root / f".{DATA}.{uuid.uuid4().hex}"
            try:
                _write_template(
                    where.zarr(temporary.name, read_only=False), plan, run, calibration, read or {}
                )
                if (where.root / DATA).exists():  # left by a `create` that died before run.json
                    shutil.rmtree(where.root / DATA)
                temporary.rename(where.root / DATA)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        else:
            for key in where.sizes(DATA):  # likewise
                where.remove(key)
            _write_template(where.zarr(DATA, read_only=False), plan, run, calibration, read or {})
        keys = where.sizes(DATA)
        template = [
            _object(key.removeprefix(f"{DATA}/"), content)
            for key, content in where.found(keys).items()
        ]
        run = run.model_copy(update={"template": sorted(template, key=lambda stored: stored.key)})
        try:
            where.create(RUN, sealed(run))
        except FileExistsError:
            raise StoreError(
                f"another process has just made the run in {where}: run the same command again."
            ) from None
    return SampleStore(where, run)


def _write_template(
    store: Store,
    plan: Plan,
    run: RunRecord,
    calibration: Mapping[str, CalibrationRecord],
    read: Mapping[str, Sequence[Reading]],
) -> None:
    root = zarr.open_group(store, mode="w-", zarr_format=3)
    root.attrs.update(
        {
            "schema_name": SCHEMA,
            "schema_version": VERSION,
            "run_id": run.run_id,
            "created": run.created,
            "config_sha256": run.config_sha256,
            "study": run.study.model_dump(mode="json"),
            "software": run.software.model_dump(mode="json"),
        }
    )
    for model, identity in run.models.items():
        root.create_group(model, attributes=identity.model_dump(mode="json"))
        for name, shape in run.experiments.items():
            group = root.create_group(
                f"{model}/{name}",
                attributes={
                    "model": model,
                    "experiment": name,
                    "family": identity.family,
                    "noise": noise.SCHEME,
                    "noise_shared_by": "all conditions and experiments of a prompt, by number of the draw",
                    "prompts_sha256": run.prompts_sha256,
                    "block_prompts": shape.block_prompts,
                    "coordinates": " ".join(
                        sorted(COORDINATES)
                    ),  # CF: which variables label the others
                },
            )
            counted = run.calibration_sha256.get(model, "")
            fixed = _fixed_values(
                plan, name, identity, calibration.get(model), counted, read.get(model)
            )
            sizes = _sizes(identity, shape, len(fixed["text"]))
            for variable, values in fixed.items():
                array = _create_array(
                    group, variable, sizes, shape.block_prompts, identity.codebook_size
                )
                array[...] = values
            for variable in _per_block(identity, images=run.study.images):
                array = _create_array(
                    group, variable, sizes, shape.block_prompts, identity.codebook_size
                )
                if variable == "path_surprisal":
                    array.attrs["given"] = path_given(identity)


def _per_block(identity: ModelIdentity, *, images: bool) -> Iterator[str]:
    """Per-block variables of a model: those of its family's traces, and images if they are stored."""
    given = path_given(identity)
    present = {
        "image": images,
        "token_step": identity.family != "autoregressive",
        "path_surprisal": given != "",
        "joint_surprisal": given == "state",
    }
    return (name for name in VARIABLES if name in PER_BLOCK and present.get(name, True))


def path_given(identity: ModelIdentity) -> str:
    """What the stored `path_surprisal` of a model is conditioned on: state, candidates, or '' where there is none."""
    if identity.family == "diffusion":
        return "state"
    recorded = (
        identity.options.get("path_surprisal", "none") if identity.family == "masked" else "none"
    )
    return {"exact": "state", "given_candidates": "candidates"}.get(str(recorded), "")


def _sizes(identity: ModelIdentity, shape: ExperimentPlan, n_texts: int) -> dict[str, int]:
    return {
        "condition": len(shape.conditions),
        "prompt": shape.n_prompts,
        "sample": shape.n_samples,
        "row": identity.grid[0],
        "col": identity.grid[1],
        "y": identity.image_size[0],
        "x": identity.image_size[1],
        "channel": 3,
        "step": identity.steps,
        "code": identity.codebook_size,
        "text": n_texts,
    }


def _create_array(
    group: zarr.Group, name: str, sizes: Mapping[str, int], block_prompts: int, codebook_size: int
) -> zarr.Array[Any]:
    variable: Variable = (VARIABLES | COORDINATES)[name]
    shape = tuple(sizes[dim] for dim in variable.dims)
    dtype, fill = variable.dtype, variable.fill
    if name == "tokens":
        dtype, fill = token_dtype(codebook_size)
    chunks, shards = shape, None
    if variable.per_block:
        chunks = (1, block_prompts, *shape[2:])
    if name == "image":
        chunks, shards = (1, 1, *shape[2:]), chunks
    return group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=tuple(max(1, size) for size in chunks),
        shards=shards,
        compressors=CODEC,
        fill_value=fill,
        dimension_names=variable.dims,
        chunk_key_encoding={"name": "default", "separator": "."},
        attributes={"units": variable.units, "long_name": variable.long_name},
    )


def _fixed_values(
    plan: Plan,
    experiment: str,
    identity: ModelIdentity,
    calibration: CalibrationRecord | None,
    counts_sha256: str,
    read: Sequence[Reading] | None,
) -> dict[str, Any]:
    """Values that follow from the plan: coordinates, texts and what is read of them, noise keys, codebook subsets."""
    cells, n_samples = plan.experiments[experiment], plan.n_samples(experiment)
    prompts, seed = plan.prompts_of(experiment), plan.study.seed
    texts = all_texts(prompts)
    read = read and read[: len(texts)]  # readings are of all prompts, in this order
    rows = {(index, text): row for row, (text, index, _) in reversed(list(enumerate(texts)))}
    text_index = [
        [
            [rows[i, text] for text in texts_of_samples(prompt, cell, n_samples)]
            for i, prompt in enumerate(prompts)
        ]
        for cell in cells
    ]
    keys = {}
    for role in noise.ROLES:
        draw = plan.noise_draw(experiment, role)
        streams = noise.stream_keys(seed, [p.id for p in prompts], int(draw.max()) + 1, role)
        keys[f"{role}_key"] = np.broadcast_to(
            streams[:, draw], (len(cells), len(prompts), n_samples)
        )
    counts = np.array(
        calibration.counts if calibration else [0] * identity.codebook_size, dtype=np.int64
    )
    return {
        "condition": _strings([cell.name for cell in cells]),
        "sampling": _strings([cell.sampling for cell in cells]),
        "prompt_type": _strings([cell.prompt_type for cell in cells]),
        "codebook": _strings([cell.codebook for cell in cells]),
        "keep_ratio": np.array([cell.keep_ratio for cell in cells]),
        "subset_method": _strings([cell.subset_method for cell in cells]),
        "argmax_window": _strings([cell.argmax_window for cell in cells]),
        "paraphrase_length": _strings([cell.paraphrase_length for cell in cells]),
        "n_paraphrases": np.array([cell.n_paraphrases for cell in cells], dtype=np.int32),
        "subset_draw": np.array([cell.subset_draw for cell in cells], dtype=np.int32),
        "subset_counts": _strings([counts_sha256 if _by_counts(cell) else "" for cell in cells]),
        "prompt": _strings([prompt.id for prompt in prompts]),
        "prompt_attributes": _strings([json.dumps(prompt.attributes) for prompt in prompts]),
        "text": _strings([text for text, _, _ in texts]),
        "text_prompt": np.array([index for _, index, _ in texts], dtype=np.int32),
        "text_kind": _strings([kind for _, _, kind in texts]),
        "text_tokens": np.array(
            [len(r.tokens) for r in read] if read else [-1] * len(texts), dtype=np.int32
        ),
        "text_cut": np.array([r.cut for r in read] if read else [False] * len(texts)),
        "text_index": np.array(text_index, dtype=np.int32),
        **keys,
        "codebook_keep": np.stack([_keep(cell, counts, seed) for cell in cells]),
        "calibration_count": counts,
    }


def _keep(cell: Condition, counts: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    if cell.subset_method == "":
        return np.ones(len(counts), dtype=bool)
    return keep_codes(
        counts,
        cell.keep_ratio,
        cell.subset_method,
        rng=np.random.default_rng([seed, cell.subset_draw]),
    )


def _by_counts(cell: Condition) -> bool:
    """Whether calibration counts decided which codes the condition keeps."""
    return cell.subset_method not in ("", "drop_random")


def _strings(values: Sequence[str]) -> NDArray[Any]:
    return np.array(values, dtype=np.dtypes.StringDType())
