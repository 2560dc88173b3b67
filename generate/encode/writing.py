"""Codes of images as a run: one model, one condition, one prompt whose samples are the images."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generate.encode.photos import Photos, Scenes
from generate.encode.tokenizers import ImageTokenizer
from generate.errors import GenerateError, one_line
from generate.provenance import hardware, software
from schemas.io import writer
from schemas.io.files import sync
from schemas.io.folder import LocalFolder
from schemas.io.template import Template, strings
from schemas.provenance import ModelIdentity, now
from schemas.store import ExperimentPlan, ImportRecord, RunRecord
from schemas.study import ENCODED, Prompt
from schemas.variables import token_dtype

PROMPT = "images"
LARGEST_BYTES = 2**31 - 1
"""Bytes of the tokens of a run, which are one stored object."""


@dataclass(frozen=True)
class Encoded:
    """Ids of images, with what was measured of their reconstructions.

    `arrays` are by the names of the store, (image, ...) each: `tokens` (image, row, col), and where
    there is a decoder `squared_error` (image) and `recovered` (image, row, col).
    """

    arrays: dict[str, NDArray[Any]]
    identity: ModelIdentity
    names: list[str] = field(default_factory=list)
    """Name of each image, where images have names."""

    @property
    def n_images(self) -> int:
        """Number of images."""
        return len(self.arrays["tokens"])


def encode_images(
    tokenizer: ImageTokenizer,
    pictures: Photos | Scenes,
    *,
    size: tuple[int, int] | None,
    batch_size: int,
    device: str,
    progress: Callable[[str, int, int], None],
) -> Encoded:
    """Encode pictures, decode them and encode them again.

    `size` (y, x) goes before that of the tokenizer. Raises GenerateError for ids that are none, and
    for pictures of a size other than its own that it cannot encode.
    """
    its_own = size in (None, tokenizer.size)
    size = size or tokenizer.size
    parts: dict[str, list[NDArray[Any]]] = {}
    height = width = done = 0
    for images in pictures.batches(size, batch_size):
        height, width = images.shape[2:]
        try:
            measured = _measured(tokenizer, images.to(device))
        except RuntimeError as error:
            if its_own:
                raise
            raise GenerateError(
                f"tokenizer '{tokenizer.name}' takes no pictures of {height} x {width} pixels "
                f"({one_line(error, 120)}): give another --size."
            ) from error
        for name, values in measured.items():
            parts.setdefault(name, []).append(values)
        done += len(images)
        progress(f"{tokenizer.name} codes", done, pictures.n_images)
    grids = {part.shape[1:] for part in parts["tokens"]}
    if len(grids) > 1:
        raise GenerateError(f"the grids have several sizes ({sorted(grids)}): say --size.")
    arrays = {name: np.concatenate(values) for name, values in parts.items()}
    rows, cols = arrays["tokens"].shape[1:]
    identity = ModelIdentity(
        model=tokenizer.name,
        revision=tokenizer.revision,
        weights=list(tokenizer.weights),
        codebook_size=tokenizer.codes,
        levels=list(tokenizer.levels),
        grid=(rows, cols),
        image_size=(height, width),
        quantizer=tokenizer.quantizer,
    )
    return Encoded(arrays, identity, list(pictures.names))


@torch.inference_mode()
def _measured(tokenizer: ImageTokenizer, images: Tensor) -> dict[str, NDArray[Any]]:
    """Ids of a batch, the squared error of their 8-bit reconstructions, and what is recovered."""
    ids = tokenizer.encode(images)
    _check(tokenizer, ids, len(images))
    found = {"tokens": ids.cpu().numpy().astype(token_dtype(tokenizer.codes)[0])}
    if tokenizer.decode is not None:
        restored = (tokenizer.decode(ids).clamp(0, 1) * 255).round() / 255
        if restored.shape != images.shape:
            raise GenerateError(
                f"tokenizer '{tokenizer.name}' decodes {tuple(images.shape)} as "
                f"{tuple(restored.shape)}: give --size that it restores."
            )
        error = (restored - images).square().flatten(1).mean(1)
        found["squared_error"] = error.cpu().numpy().astype(np.float32)
        found["recovered"] = (tokenizer.encode(restored) == ids).cpu().numpy()
    return found


def _check(tokenizer: ImageTokenizer, ids: Any, n_images: int) -> None:
    """Refuse what is no batch of grids of ids."""
    whole = isinstance(ids, Tensor) and not ids.is_floating_point() and ids.ndim == 3
    if not whole or len(ids) != n_images:
        raise GenerateError(
            f"tokenizer '{tokenizer.name}' gives {getattr(ids, 'dtype', type(ids).__name__)} "
            f"{tuple(getattr(ids, 'shape', ()))} for {n_images} images, but ids are whole numbers "
            "(image, row, col)."
        )
    _refuse_no_codes(int(ids.min()), int(ids.max()), tokenizer.codes)


def _refuse_no_codes(lowest: int, highest: int, codes: int) -> None:
    if lowest < 0 or highest >= codes:
        worst = lowest if lowest < 0 else highest
        raise GenerateError(
            f"the ids hold {worst}, but codes run 0..{codes - 1}: give --codes as large as the "
            "codebook, and take offsets of special tokens off."
        )


def read_ids(path: Path, codes: int | None, levels: Sequence[int], name: str) -> Encoded:
    """Ids of a `.npy` file, (image, row, col) or (image, position), of a codebook of `codes`.

    Positions become a grid of one row. `levels` are the values of each digit, most significant
    first, and may stand for `codes`. Raises GenerateError, in one line, for what cannot be.
    """
    size = math.prod(levels) if levels else None
    if codes is None:
        codes = size
    if codes is None:
        raise GenerateError("say --codes, the size of the codebook, or --levels.")
    if size is not None and size != codes:
        raise GenerateError(
            f"--levels {','.join(map(str, levels))} has {size} codes, but --codes says {codes}: "
            "correct one of them."
        )
    if codes < 1 or codes > 2**32 - 1:
        raise GenerateError(f"--codes is {codes}: it must be from 1 to {2**32 - 1}.")
    if not path.is_file():
        raise GenerateError(f"no file '{path}': give one of ids, as `numpy.save` writes it.")
    try:
        ids = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise GenerateError(
            f"'{path}' is no .npy file of ids ({type(error).__name__}): save it by `numpy.save`."
        ) from None
    if not isinstance(ids, np.ndarray) or ids.dtype.kind not in "iu" or ids.ndim not in (2, 3):
        seen = f"{ids.dtype} {ids.shape}" if isinstance(ids, np.ndarray) else "several arrays"
        raise GenerateError(
            f"'{path}' holds {seen}, but ids are whole numbers, (image, row, col) or (image, "
            "position)."
        )
    if ids.size == 0:
        raise GenerateError(f"'{path}' holds no ids ({ids.shape}): give at least one image.")
    _refuse_no_codes(int(ids.min()), int(ids.max()), codes)
    if ids.ndim == 2:
        ids = ids[:, None]
    identity = ModelIdentity(
        model=name,
        codebook_size=codes,
        levels=list(levels) if len(levels) > 1 else [],
        grid=(ids.shape[1], ids.shape[2]),
    )
    return Encoded({"tokens": ids.astype(token_dtype(codes)[0])}, identity)


def write(found: Encoded, out: Path, label: str, source: str) -> None:
    """Write codes as a run, whole or not at all.

    `label` names the model in results, `source` says in words what was encoded. Raises
    GenerateError where something is at `out`, or the tokens are too many for one object.
    """
    tokens = found.arrays["tokens"]
    if tokens.nbytes > LARGEST_BYTES:
        raise GenerateError(
            f"{len(tokens)} grids take {tokens.nbytes} bytes, but a run of codes holds at most "
            f"{LARGEST_BYTES}: encode fewer images, or several runs."
        )
    if out.exists():
        raise GenerateError(f"'{out}' is there already: remove it, or give another --out.")
    place = out.with_name(f".{out.name}.encoding")
    shutil.rmtree(place, ignore_errors=True)
    run = _run_record(found, label, source)
    where = LocalFolder(place)
    made = _template(found)
    prompts = [Prompt(id=PROMPT, text=PROMPT)]
    run = writer.create(where, run, prompts, lambda model, experiment: made)
    filling = writer.RunWriter(where, run)
    maker = writer.Maker(run.software, run.hardware)
    arrays = {name: values[None] for name, values in found.arrays.items()}
    for block in run.blocks():
        filling.add(block, arrays, maker)
    place.rename(out)
    sync(out.parent)


def _run_record(found: Encoded, label: str, source: str) -> RunRecord:
    digest = hashlib.sha256()
    for name, values in sorted(found.arrays.items()):
        digest.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    content = digest.hexdigest()
    plan = ExperimentPlan(
        conditions=[ENCODED],
        n_prompts=1,
        n_samples=found.n_images,
        block_prompts=1,
        kind=ENCODED,
        baseline=ENCODED,
    )
    fixed = json.dumps([content, found.identity.fixing(), plan.model_dump(mode="json")])
    return RunRecord(
        run_id=uuid.uuid4().hex,
        created=now(),
        imported=ImportRecord(name=label, source=source, sha256=content),
        n_prompts=1,
        prompts_sha256=hashlib.sha256(PROMPT.encode()).hexdigest(),
        models={label: found.identity},
        experiments={ENCODED: plan},
        config_sha256=hashlib.sha256(fixed.encode()).hexdigest(),
        software=software(),
        hardware=hardware("cpu"),
    )


def _template(found: Encoded) -> Template:
    fixed: dict[str, NDArray[Any]] = {
        "condition": strings([ENCODED]),
        "prompt": strings([PROMPT]),
    }
    if found.names:
        fixed["image_name"] = strings(found.names)
    return Template(fixed=fixed, per_block=tuple(found.arrays))
