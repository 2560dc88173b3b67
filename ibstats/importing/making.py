"""A survey becomes a run: laid out, filled block by block, and there as a whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import socket
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ibstats.errors import IbstatsError
from ibstats.importing.reading import of_each
from ibstats.importing.survey import Found
from ibstats.importing.wordings import original
from schemas.design import FACTORS
from schemas.io import layout, reader, writer
from schemas.io.files import sync
from schemas.io.folder import LocalFolder
from schemas.io.template import Template, strings
from schemas.provenance import Hardware, ModelIdentity, Software, now
from schemas.store import Block, ExperimentPlan, ImportRecord, RunRecord
from schemas.variables import VARIABLES, token_dtype
from schemas.version import __version__

Samples = dict[str, NDArray[Any]]
"""By variable, samples `(prompt, sample, ...)`."""
Outcome = Literal["made", "done"]
"""What became of a run: made now, or there already with the same content."""
Each = Callable[[Iterable[Block]], Iterable[Block]]
"""Goes over blocks, for instance with a bar."""

EXPERIMENT = "imported"
"""Name and kind of the one experiment of an imported run."""
STEPPED = ("path_surprisal", "joint_surprisal")
"""Variables with a number for each step of a traversal."""
ALL_STEPS = "0:1"
"""Argmax window that holds every step."""
BLOCK_BYTES = 16 * 2**20
"""Bytes of samples in a block, unless one prompt has more.

Memory of that size is used again for the next block; larger pieces are asked for anew each time.
"""
LIBRARIES = ("numpy", "pillow", "zarr", "xarray", "pydantic")


def write(found: Found, out: Path, each: Each = iter) -> Outcome:
    """Copy everything that a survey found into a run.

    The run is made under a hidden name beside `out` and gets its own when it is whole. One that was
    killed goes on where it stopped, if the files are the same. Raises IbstatsError where another
    run is, or a file cannot be read.
    """
    record = run_record(found)
    if out.exists():
        return _there_already(record, out)
    place = out.with_name(f".{out.name}.importing")
    where = LocalFolder(place)
    run = _resumed(record, where)
    if run is None:
        shutil.rmtree(place, ignore_errors=True)
        made = template(found)
        run = writer.create(where, record, found.prompts.records, lambda model, experiment: made)
    filling = writer.RunWriter(where, run)
    blocks = list(run.blocks())
    done = filling.ledger.done(blocks)
    maker = writer.Maker(record.software, record.hardware)
    todo = [block for block in blocks if block not in done]
    with ThreadPoolExecutor() as pool, ThreadPoolExecutor(1) as ahead:
        coming = _read_ahead(ahead, partial(samples, found, run, pool), todo)
        for block in each(todo):
            filling.add(block, next(coming), maker, alone=True)
    for block in set(blocks) - filling.marked(blocks):
        filling.mark_complete(block)
    place.rename(out)
    sync(out.parent)
    return "made"


def _read_ahead(
    ahead: ThreadPoolExecutor, read: Callable[[Block], Samples], blocks: Sequence[Block]
) -> Iterator[Samples]:
    """The samples of each block, read while those of the one before are written."""
    coming = deque(ahead.submit(read, block) for block in blocks[:1])
    for block in [*blocks[1:], None]:
        found = coming.popleft().result()
        if block is not None:
            coming.append(ahead.submit(read, block))
        yield found


def _there_already(record: RunRecord, out: Path) -> Outcome:
    """Whether the run is what would be made; IbstatsError for another one, or no run."""
    if not (out / layout.RUN).exists():
        raise IbstatsError(f"'{out}' is there and no run; choose another place with --out")
    if reader.read_run(LocalFolder(out)).config_sha256 == record.config_sha256:
        return "done"
    raise IbstatsError(f"'{out}' holds another run; remove it, or choose another place with --out")


def _resumed(record: RunRecord, where: LocalFolder) -> RunRecord | None:
    """The run that an import left when it was killed; None if there is none, or of other files."""
    if not where.exists(layout.RUN):
        return None
    run = reader.read_run(where)
    return run if run.config_sha256 == record.config_sha256 else None


def run_record(found: Found) -> RunRecord:
    """Give the record of the run: what was imported, from what digest, by which software.

    Its `config_sha256` follows from the files, the prompts and the design, so two imports of the
    same samples have the same one.
    """
    spec = found.spec
    identity = ModelIdentity(
        model=spec.model,
        family=spec.family,
        codebook_size=spec.codebook,
        grid=_height_and_width(found, "tokens"),
        image_size=_height_and_width(found, "image"),
        steps=_steps(found),
    )
    plan = ExperimentPlan(
        conditions=found.conditions,
        n_prompts=len(found.prompts.records),
        n_samples=found.n_samples,
        block_prompts=_block_prompts(found),
        kind=EXPERIMENT,
        factors=found.meaning.factors,
        levels={name: levels for name, levels in found.meaning.levels.items() if levels},
        baseline=found.meaning.baseline,
    )
    source = f"{found.n_images} samples ({found.origin})"
    origin = ImportRecord(name=spec.name, source=source, sha256=found.sha256)
    fixed = [origin.sha256, found.prompts.sha256]
    fixed += [plan.model_dump_json(), identity.model_dump_json()]
    for condition, keep in sorted(found.allowed.items()):
        fixed.append(f"{condition} {hashlib.sha256(keep.tobytes()).hexdigest()}")
    if found.wordings is not None and len(found.wordings.texts) > len(found.prompts.labels):
        fixed += [*found.wordings.texts, hashlib.sha256(found.wordings.index.tobytes()).hexdigest()]
    return RunRecord(
        run_id=uuid.uuid4().hex,
        created=now(),
        imported=origin,
        n_prompts=len(found.prompts.records),
        prompts_sha256=found.prompts.sha256,
        models={spec.model: identity},
        experiments={EXPERIMENT: plan},
        config_sha256=hashlib.sha256(json.dumps(fixed).encode()).hexdigest(),
        software=_software(),
        hardware=_hardware(),
    )


def _height_and_width(found: Found, variable: str) -> tuple[int, int]:
    """Size of an image or of a grid; 0 x 0 where there are none."""
    height, width = found.shapes.get(variable, (0, 0))[:2]
    return height, width


def _steps(found: Found) -> int:
    """Steps of a traversal: those of the arrays, else as told, else a position each where the order
    is fixed.
    """
    for variable in STEPPED:
        if variable in found.shapes:
            return found.shapes[variable][0]
    if not found.spec.steps and found.spec.family == "autoregressive":
        rows, cols = _height_and_width(found, "tokens")
        return rows * cols
    return found.spec.steps


def _block_prompts(found: Found) -> int:
    """Prompts of a block."""
    n_bytes = 0
    for variable, shape in found.shapes.items():
        n_bytes += int(np.prod(shape)) * _dtype(variable, found.spec.codebook).itemsize
    fitting = BLOCK_BYTES // (n_bytes * found.n_samples)
    return max(1, min(fitting, len(found.prompts.records)))


def _software() -> Software:
    libraries = {name: version(name) for name in LIBRARIES}
    return Software(
        python=platform.python_version(),
        code_revision=None,
        code_dirty=None,
        libraries={"ibstats": __version__, **libraries},
    )


def _hardware() -> Hardware:
    return Hardware(
        host=socket.gethostname(),
        platform=platform.platform(),
        device="cpu",
        cpu_count=os.cpu_count() or 1,
    )


def template(found: Found) -> Template:
    """Give what the one Dataset of the run holds before its first block.

    Its labels, the number of samples where they differ, and the texts where they are known.
    """
    conditions, labels = found.conditions, found.prompts.labels
    factors = found.meaning.factors
    fixed: dict[str, NDArray[Any]] = {
        "condition": strings(conditions),
        "prompt": strings(record.id for record in found.prompts.records),
    }
    for factor in factors:
        levels = [found.meaning.levels[name].get(factor.name, "") for name in conditions]
        fixed[factor.name] = strings(levels)
    if len(set(found.counts.values())) > 1:
        counts = np.zeros((len(conditions), len(labels)), dtype=np.int32)
        for number, condition in enumerate(conditions):
            counts[number] = [found.counts[condition, label] for label in labels]
        fixed["sample_count"] = counts
    if found.allowed:
        every = np.ones(found.spec.codebook, bool)
        fixed["codebook_keep"] = np.stack([found.allowed.get(name, every) for name in conditions])
    if found.wordings is not None:
        fixed |= found.wordings.arrays()
    elif found.prompts.known:
        texts = original(found.prompts, conditions, found.counts).arrays()
        texts.pop("text_index")
        fixed |= texts
    if "token_surprisal" in found.sources:
        fixed["argmax_window"] = strings(_window(found, name) for name in conditions)
    return Template(
        fixed=fixed,
        per_block=tuple(found.sources),
        attributes={"prompts_sha256": found.prompts.sha256},
        variable_attributes={"path_surprisal": {"given": found.spec.path_given}},
    )


def _window(found: Found, condition: str) -> str:
    """The argmax window of a condition: all steps where its level says that tokens are modes."""
    sampling = FACTORS[0]
    level = found.meaning.levels[condition].get(sampling.name)
    return ALL_STEPS if level == sampling.low else ""


def samples(found: Found, run: RunRecord, pool: ThreadPoolExecutor, block: Block) -> Samples:
    """Read the samples of a block: (prompt, sample, ...) by variable, the fill where there are none.

    Raises IbstatsError for a file that cannot be read.
    """
    plan = run.experiments[block.experiment]
    condition = plan.conditions[block.condition]
    labels = found.prompts.labels[block.start : block.stop]
    arrays = {}
    for variable, source in found.sources.items():
        dtype = _dtype(variable, found.spec.codebook)
        shape = (len(labels), plan.n_samples, *found.shapes[variable])
        values = np.empty(shape, dtype=dtype)
        wanted, owners = [], []
        for number, label in enumerate(labels):
            files = found.files[variable][condition, label]
            wanted += files
            owners += [number] * len(files)
        filled = [0] * len(labels)
        for number, read in zip(owners, of_each(pool, source.read, wanted), strict=True):
            values[number, filled[number] : filled[number] + len(read)] = read
            filled[number] += len(read)
        for number, n_samples in enumerate(filled):
            values[number, n_samples:] = _fill(variable, found.spec.codebook)
        arrays[variable] = values
    return arrays


def _dtype(variable: str, codebook: int) -> np.dtype[Any]:
    """Dtype of a variable in the store."""
    if variable == "tokens":
        return np.dtype(token_dtype(codebook)[0])
    return np.dtype(VARIABLES[variable].dtype)


def _fill(variable: str, codebook: int) -> Any:
    """What stands where there is no sample."""
    if variable == "tokens":
        return token_dtype(codebook)[1]
    return VARIABLES[variable].fill
