"""Code usage on calibration prompts: the counts behind every codebook subset."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from generate.errors import StoreError
from generate.models.base import Model
from generate.prompts.sources import prompts_digest
from generate.run.returned import sample
from generate.study import noise
from generate.study.probes import Probe
from generate.study.subset import CodeUse
from generate.traversal.draw import PhiloxNoise
from schemas.io.folder import Folder
from schemas.io.layout import calibration_key
from schemas.provenance import CalibrationRecord, ModelIdentity
from schemas.store import is_whole, sealed
from schemas.study import Prompt


def calibrate(
    model: Model,
    prompts: Sequence[Prompt],
    n_samples: int,
    *,
    label: str,
    seed: int,
    batch_size: int,
    advance: Callable[[int], None],
) -> CalibrationRecord:
    """Count the codes a model draws: stochastic sampling, full codebook, original wording.

    `n_samples` images are sampled per prompt, `batch_size` at a time; `label` is what the study
    calls the model, `seed` the study's. Raises `ModelError` if the model draws what is no code.
    `advance` is told the number of samples after each batch.
    """
    texts = []
    for prompt in prompts:
        texts += [prompt.text] * n_samples
    ids = [prompt.id for prompt in prompts]
    path = noise.stream_keys(seed, ids, n_samples, "path").ravel()
    execution = noise.stream_keys(seed, ids, n_samples, "execution").ravel()
    use = CodeUse(model.identity.codebook_size, model.identity.strata)
    in_half = halves(len(prompts), n_samples)
    for start in range(0, len(texts), batch_size):
        rows = slice(start, start + batch_size)
        noise_of_batch = PhiloxNoise(path[rows], execution[rows])
        trace = sample(model, label, texts[rows], Probe(), noise_of_batch)
        use.add(trace.tokens.cpu().numpy(), in_half[rows])
        advance(len(texts[rows]))
    return CalibrationRecord(
        model=model.identity,
        seed=seed,
        samples=n_samples,
        prompt_ids=ids,
        prompts_sha256=prompts_digest(prompts),
        **use.recorded(),
    )


def halves(n_prompts: int, n_samples: int) -> NDArray[np.bool_]:
    """Which images, prompt by prompt, are in the first half: those of every other prompt.

    Of a single prompt, every other image.

    >>> halves(2, 2)
    array([ True,  True, False, False])
    """
    image = np.arange(n_prompts * n_samples)
    if n_prompts > 1:
        image = image // n_samples
    return np.asarray(image % 2 == 0)


def record_key(label: str) -> str:
    """Where a run keeps the counts of a model."""
    return calibration_key(label)


def stored(
    where: Folder,
    label: str,
    identity: ModelIdentity,
    source_sha256: str,
    n_samples: int,
    seed: int,
) -> CalibrationRecord | None:
    """Counts of the model `label` that lie in a run; None if there are none.

    `source_sha256` is the digest of the prompts, or of the real images, that they are counted on.
    Raises `StoreError` if they are broken, or were made from another model, other prompts or
    images, another number of samples or another seed.
    """
    try:
        document = json.loads(where.read(record_key(label)))
        record = CalibrationRecord.model_validate(document).model_copy(update={"sha256": ""})
    except FileNotFoundError:
        return None
    except ValueError:  # no JSON, not UTF-8, not its schema
        document = None
    if document is None or not is_whole(document):
        raise StoreError(
            f"{where}/{record_key(label)} is broken: delete it, and the codes are counted again."
        ) from None
    wanted = (identity.fixing(), source_sha256, n_samples, seed)
    if (record.model.fixing(), record.prompts_sha256, record.samples, record.seed) != wanted:
        raise StoreError(
            f"{where}/{record_key(label)} was counted with another model, prompts, samples or "
            "seed; delete it to count again, or choose another directory."
        )
    return record


def save(where: Folder, label: str, record: CalibrationRecord) -> None:
    """Keep counts with their run, once.

    Those of a process that was faster stay: they are the same, from the same seed.
    """
    with contextlib.suppress(FileExistsError):
        where.create(record_key(label), sealed(record))
