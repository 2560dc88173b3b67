"""Code usage on real images: where a study says `calibration: {source: encoded}`.

The images are those of a run of `ibgenerate encode`, or, of a model that knows what it was trained
on, fresh ones of that kind. Counted on samples, a subset would follow the model's own preferences;
counted on images it follows the tokenizer's.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from generate.errors import ModelError, StoreError
from generate.models.base import Model
from generate.run.calibration import halves
from generate.study.subset import CodeUse
from schemas.io import layout, reader
from schemas.io.folder import folder
from schemas.io.ledger import Ledger
from schemas.io.received import guard
from schemas.provenance import CalibrationRecord, ModelIdentity
from schemas.store import RunRecord, blocks_of
from schemas.study import ENCODED, Calibration

AT_ONCE = 4096
"""Images counted at a time."""


def digest(asked: Calibration, base: Path) -> str:
    """sha256 of what is counted: of a run its content, else that images of the model's own are.

    Relative paths start from `base`. Raises StoreError where there is no such run.
    """
    said = "images of the model's own kind"
    if asked.run is not None:
        said = reader.read_run(folder(_path(asked.run, base))).config_sha256
    return hashlib.sha256(said.encode()).hexdigest()


def count(
    model: Model,
    asked: Calibration,
    base: Path,
    *,
    label: str,
    seed: int,
    advance: Callable[[int], None],
) -> CalibrationRecord:
    """Count the codes of `asked.n` real images.

    `label` is what the study calls the model, `seed` draws images of the model's own. Raises
    ModelError for a model that has none where no run is named, and for a run of another codebook;
    StoreError for a run that is not whole or has fewer images. `advance` is told the number of
    images after each batch.
    """
    assert asked.n is not None
    if asked.run is not None:
        batches = _of_run(_path(asked.run, base), model.identity, label, asked.n)
    else:
        own = model.codes_of_images(asked.n, seed)
        if own is None:
            raise ModelError(
                f"model '{label}' has no images of its own: encode some with `ibgenerate encode` "
                "and name the run, calibration: {source: encoded, run: RUN}."
            )
        batches = own
    use = CodeUse(model.identity.codebook_size, model.identity.strata)
    in_half, start = halves(asked.n, 1), 0
    for tokens in batches:
        use.add(tokens, in_half[start : start + len(tokens)])
        start += len(tokens)
        advance(len(tokens))
    return CalibrationRecord(
        model=model.identity,
        seed=seed,
        samples=asked.n,
        prompt_ids=[],
        prompts_sha256=digest(asked, base),
        **use.recorded(),
    )


def _path(run: str, base: Path) -> Path | str:
    return run if "://" in run else base / run


def _of_run(
    path: Path | str, wanted: ModelIdentity, label: str, n_images: int
) -> Iterator[NDArray[np.integer[Any]]]:
    """Ids (image, position) of the first images of a run of `ibgenerate encode`."""
    where = folder(path)
    run = reader.read_run(where)
    guard(where)
    if list(run.experiments) != [ENCODED]:
        raise StoreError(f"'{where}' holds no codes of images: make it with `ibgenerate encode`.")
    model, identity = next(iter(run.models.items()))
    _refuse_another(str(where), identity, wanted, label)
    n_there = run.experiments[ENCODED].n_samples
    if n_images > n_there:
        raise StoreError(
            f"'{where}' has {n_there} images, but the calibration asks for n: {n_images}; lower it."
        )
    _refuse_unfinished(where, run, model)
    group = layout.group_name(model, ENCODED)
    data: Any = zarr.open_group(where.zarr(layout.DATA, read_only=True), path=group, mode="r")
    tokens = np.asarray(data["tokens"][0, 0])
    for start in range(0, n_images, AT_ONCE):
        part = tokens[start : min(start + AT_ONCE, n_images)]
        yield part.reshape(len(part), -1).astype(np.int64)


def _refuse_unfinished(where: Any, run: RunRecord, model: str) -> None:
    ledger = Ledger(where, run)
    for block in blocks_of(model, ENCODED, run.experiments[ENCODED]):
        if not ledger.is_done(block):
            raise StoreError(f"'{where}' is not whole: encode the images again.")


def _refuse_another(where: str, found: ModelIdentity, wanted: ModelIdentity, label: str) -> None:
    """Codes of one tokenizer say nothing of those of another."""
    ours = {file.sha256 for file in wanted.weights}
    theirs = {file.sha256 for file in found.weights}
    other = bool(ours and theirs and not ours & theirs)
    if found.codebook_size != wanted.codebook_size or other:
        raise ModelError(
            f"'{where}' holds codes of '{found.model}' ({found.codebook_size} codes), but model "
            f"'{label}' has {wanted.codebook_size} codes of its own: encode with its tokenizer."
        )
    n_found, n_wanted = math.prod(found.grid), math.prod(wanted.grid)
    if wanted.strata and n_found != n_wanted:
        raise ModelError(
            f"'{where}' holds {n_found} codes an image, but those of model '{label}' are counted by "
            f"scale, at {n_wanted} positions: encode with its tokenizer, at its size."
        )
