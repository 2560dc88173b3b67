"""Images of a run scored under texts that they were not made from.

How much more probable a grid is under its own text than under others is what it tells of the text:
I(X;Z) of the whole grid (paper eq. 1-2) under a uniform law of prompts, or bounds of it. Where a
path is chosen, q(Z|X) is a sum over paths; the same paths, proposed without any text, then serve all
texts, so that what they miss cancels where it can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from generate.errors import StoreError
from generate.prompts.sources import load_prompts, overlap
from generate.run.importance import Array, Images, Replayed
from generate.study.conditions import Condition
from generate.study.noise import proposal_keys
from generate.study.planning import Plan
from generate.study.probes import Probe
from generate.traversal.draw import PhiloxNoise
from schemas.rescored import EMPTY, STUDY, WORDINGS
from schemas.study import NOISELESS_ORDERS, Prompt

NAMED = (STUDY, WORDINGS, EMPTY)
NOTHING = ""
"""The empty caption, and the text under which paths are proposed."""


def parse_contrast(given: str) -> str:
    """The name of a contrast, as a record holds it: one of `NAMED`, or a number of prompts.

    Raises `StoreError` for anything else.

    >>> parse_contrast("study"), parse_contrast("0400")
    ('study', '400')
    """
    if given in NAMED:
        return given
    if given.isascii() and given.isdigit() and int(given) > 0:
        return str(int(given))
    raise StoreError(
        f"--contrast is '{given}'; give {', '.join(NAMED)}, or a number of other prompts."
    )


def labels_of(
    contrast: str, laid_out: Plan, prompts: Sequence[Prompt], most_wordings: int
) -> list[str]:
    """Names of the contrasts: ids of prompts, or numbers of wordings; the empty caption is `empty`.

    `prompts` are those whose images are scored, `most_wordings` the most texts that one of them has
    in a condition. Raises `StoreError` where there are too few other prompts.
    """
    if contrast == STUDY:
        return [prompt.id for prompt in prompts]
    if contrast == WORDINGS:
        return [str(number) for number in range(1, most_wordings + 1)]
    if contrast == EMPTY:
        return [EMPTY]
    return [prompt.id for prompt in other_prompts(int(contrast), laid_out)]


def other_prompts(n: int, laid_out: Plan, base: Path | None = None) -> list[Prompt]:
    """Give `n` prompts that are none of the study's: of the source that its calibration names.

    Raises `StoreError` where there are not as many, or some are the study's.
    """
    source = laid_out.study.calibration.model_copy(update={"n": n})
    try:
        found = load_prompts(source, "calibration", base or laid_out.base)
    except (StoreError, ValueError, OSError) as error:
        raise StoreError(f"{n} contrast prompts cannot be had: {error}") from None
    shared = overlap(laid_out.prompts, found)
    if shared:
        raise StoreError(
            f"{len(shared)} prompts of '{source.source}' are of the study too (first: '{shared[0]}'), "
            "so they are no contrast: give `calibration.source` prompts of its own."
        )
    return found


def contrasted_conditions(contrast: str, cells: Sequence[Condition], baseline: str) -> list[str]:
    """The conditions that a contrast is about where none is asked for.

    All for the empty caption; for wordings those that differ from the baseline in their wording
    alone; else the baseline. Where there is none of these, all.
    """
    names = [cell.name for cell in cells]
    if contrast == EMPTY:
        return names
    if contrast == WORDINGS:
        reworded = []
        for cell in cells:
            is_free = cell.sampling == "stochastic" and cell.codebook == "full"
            if cell.n_paraphrases > 1 and is_free and not cell.argmax_window:
                reworded.append(cell.name)
        return reworded or names
    return [baseline] if baseline in names else names


def texts_of(
    images: Images, fixed: Mapping[str, NDArray[Any]], others: Sequence[Prompt]
) -> list[list[str]]:
    """The texts of each contrast of the record, for the images of one condition and prompt.

    Where there are several, each is as likely as another; a contrast that this prompt does not have
    has none. `fixed` is what the Dataset's template holds, `others` the prompts of a contrast that
    is a number.
    """
    record = images.record
    if record.contrast == EMPTY:
        return [[NOTHING]]
    if record.contrast == STUDY:
        return [_wordings(images, fixed, name) for name in record.contrasts]
    if record.contrast == WORDINGS:
        own = _wordings(images, fixed, images.prompt)
        each = [[text] for text in own]
        return each + [[]] * (len(record.contrasts) - len(own))
    return [[prompt.text] for prompt in others]


def _wordings(images: Images, fixed: Mapping[str, NDArray[Any]], prompt: str) -> list[str]:
    """The distinct texts of a prompt in the condition of the images, in order."""
    row = int(np.flatnonzero(fixed["prompt"] == prompt)[0])
    rows = fixed["text_index"][images.cell, row]
    return list(dict.fromkeys(str(text) for text in fixed["text"][rows]))


def score_contrasts(images: Images, texts: Sequence[Sequence[str]]) -> dict[str, Array]:
    """The scores of the images of a piece under their own text and under those of the contrasts.

    `log_weight` (sample, path, contrast) and `own_log_weight` (sample, path) in bits, see
    `schemas.rescored.CONTRAST_VARIABLES`.
    """
    record = images.record
    probe = images.probe
    if record.unrestricted:
        probe = replace(probe.drawing(), allowed=None)
    steps, proposal = _paths(images)
    own = _log_joint(images, [images.texts], steps, probe)[0]
    values = np.full((*own.shape, len(texts)), np.nan)
    asked = [(number, text) for number, several in enumerate(texts) for text in several]
    each = _log_joint(images, [[text] * record.n_samples for _, text in asked], steps, probe)
    contrast = np.array([number for number, _ in asked])
    for number in np.unique(contrast):
        of_it = each[contrast == number]
        values[..., number] = log2_mean(np.moveaxis(of_it, 0, -1))
    return {"log_weight": values + proposal[..., None], "own_log_weight": own + proposal}


def _paths(images: Images) -> tuple[torch.Tensor | None, Array]:
    """Steps (sample, path, position) of the paths, and their bits (sample, path) in the proposal.

    The first path is the one that was taken. Where tokens have one path, which their order and text
    say, there are no steps to choose, and no bits.
    """
    record = images.record
    n, k = record.n_samples, record.n_paths
    if images.steps is None or images.probe.order in NOISELESS_ORDERS:
        return None, np.zeros((n, k + 1))
    free = images.probe.drawing()
    each = np.arange(n)
    taken_noise = PhiloxNoise(images.path_key, images.execution_key)
    taken = images.replayed(each, [NOTHING] * n, taken_noise, images.steps, free)
    keys = proposal_keys(record.seed, images.prompt, n, k).ravel()
    repeated = np.repeat(each, k)
    noise = PhiloxNoise(keys, keys)
    proposed = images.replayed(repeated, [NOTHING] * (n * k), noise, None, free)
    if proposed.steps is None:
        raise StoreError(f"'{record.model}' says no steps of a path; contrasts need them.")
    _refuse_revised(images, taken, images.steps)
    others = proposed.steps.reshape(n, k, -1)
    steps = torch.cat([images.steps[:, None], others], dim=1)
    bits = np.concatenate([taken.proposal[:, None], proposed.proposal.reshape(n, k)], axis=1)
    return steps, bits


def _log_joint(
    images: Images,
    texts: Sequence[Sequence[str]],
    steps: torch.Tensor | None,
    probe: Probe,
) -> Array:
    """log2 q(P, Z | text), (text, sample, path); `texts` (text, sample).

    Without `steps` the tokens have one path, which counts as every one.
    """
    n = images.record.n_samples
    n_paths = 1 if steps is None else images.record.n_paths + 1
    rows = np.repeat(np.arange(n), n_paths)
    all_rows = np.tile(rows, len(texts))
    all_texts = [line[image] for line in texts for image in rows.tolist()]
    keys = images.path_key[all_rows]
    all_steps = None
    if steps is not None:
        all_steps = steps.reshape(n * n_paths, -1).repeat(len(texts), 1)
    found = images.replayed(all_rows, all_texts, PhiloxNoise(keys, keys), all_steps, probe)
    if all_steps is not None:
        _refuse_revised(images, found, all_steps)
    joint = found.joint.reshape(len(texts), n, n_paths)
    return -np.broadcast_to(joint, (len(texts), n, images.record.n_paths + 1))


def _refuse_revised(images: Images, found: Replayed, asked: torch.Tensor) -> None:
    """Refuse a model that did not take the paths that it was given."""
    is_same = found.steps is not None and bool((found.steps == asked).all())
    if not is_same or np.isnan(found.joint).any():
        raise StoreError(
            f"'{images.record.model}' revises tokens after their reveal, so that their steps do not say "
            "the path: it cannot be scored under other texts."
        )


def log2_mean(log2_values: Array) -> Array:
    """log2 of the mean over the last axis, in bits; -inf where all are -inf.

    >>> float(log2_mean(np.array([0.0, -np.inf])))
    -1.0
    """
    summed = np.logaddexp2.reduce(log2_values, axis=-1)
    return np.asarray(summed - np.log2(log2_values.shape[-1]))
