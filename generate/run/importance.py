"""Importance weights of paths given the tokens.

q(Z|X) is a sum over paths. With K paths drawn from a proposal r(P|Z), the mean of
w = q(P,Z) / r(P|Z) has mean q(Z), so the log of it is below log q(Z) in expectation; with the path
that made Z among the K it is above. Both close in as K grows (Burda et al. 2016, arXiv:1509.00519;
Grosse et al. 2015, arXiv:1511.02543; Sobolev & Vetrov 2019, arXiv:1905.03290).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import zarr
from numpy.typing import NDArray

from generate.models.base import Model
from generate.run.rescoring import Rescoring
from generate.run.returned import replay
from generate.study.noise import proposal_keys
from generate.study.planning import Plan
from generate.study.probes import Probe, probe
from generate.traversal.draw import PhiloxNoise
from generate.traversal.replay import Replay
from schemas.store import Block, RunRecord
from schemas.study import Prompt

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Replayed:
    """Bits of grids along one path each, (row,) float64, summed over steps.

    See `generate.traversal.trace`. NaN where a grid did not come out again. `steps` (row, position)
    are those of the paths, None where the order is fixed.
    """

    joint: Array
    path: Array
    proposal: Array
    steps: torch.Tensor | None


class Images:
    """The images of one condition and prompt, as stored, and the model that made them.

    `condition` and `prompt` are positions in the rescoring, `cell` is that of the condition in the
    experiment. `steps` (sample, position) is None where the order is fixed.
    """

    def __init__(
        self, work: Rescoring, laid_out: Plan, model: Model, condition: int, prompt: int
    ) -> None:
        record, store = work.record, work.store
        run: RunRecord = store.run
        cell = run.experiments[record.experiment].conditions.index(record.conditions[condition])
        row = _position(record.prompts[prompt], laid_out.prompts_of(record.experiment))
        arrays = store.arrays(Block(record.model, record.experiment, cell, 0, row, row + 1))
        fixed = store.fixed(record.model, record.experiment)
        self.record = record
        self.model = model
        self.cell = cell
        self.prompt = record.prompts[prompt]
        self.batch_size = run.batch_sizes[record.model]
        self.tokens = self._grids(arrays["tokens"], cell, row)
        self.steps: torch.Tensor | None = None
        if "token_step" in arrays:
            self.steps = self._grids(arrays["token_step"], cell, row)
        self.texts = [str(text) for text in fixed["text"][fixed["text_index"][cell, row]]]
        self.path_key = fixed["path_key"][cell, row]
        self.execution_key = fixed["execution_key"][cell, row]
        keep = store.allowed(record.model, record.experiment, cell)
        self.probe: Probe = probe(laid_out.experiments[record.experiment][cell], keep)

    def _grids(self, array: zarr.Array[Any], cell: int, row: int) -> torch.Tensor:
        """Whole numbers (sample, position) of a stored array."""
        values = np.asarray(array[cell, row]).reshape(self.record.n_samples, -1)
        return torch.from_numpy(values.astype(np.int64))

    def replayed(
        self,
        images: NDArray[np.int64],
        texts: Sequence[str],
        noise: PhiloxNoise,
        steps: torch.Tensor | None,
        probe: Probe,
    ) -> Replayed:
        """Bits of some of the images, (row,) each with a text and a path.

        `steps` (row, position) are those of paths; None has paths proposed by the path noise, where
        one is chosen.
        """
        found: dict[str, list[Array]] = {"joint": [], "path": [], "proposal": []}
        taken_steps = []
        for start in range(0, len(images), self.batch_size):
            batch = slice(start, start + self.batch_size)
            tokens = self.tokens[images[batch]]
            keys = PhiloxNoise(noise.path_keys[batch], noise.execution_keys[batch])
            given = Replay(tokens, keys, None if steps is None else steps[batch])
            trace = replay(self.model, self.record.model, texts[batch], probe, given)
            again = (trace.tokens.cpu() == tokens).all(dim=1).numpy()
            for name, parts in found.items():
                surprisal = getattr(trace, f"{name}_surprisal")
                bits = surprisal.double().sum(dim=1).cpu().numpy()
                parts.append(np.where(again, bits, np.nan))
            if trace.token_step is not None:
                taken_steps.append(trace.token_step.cpu())
        bits = {name: np.concatenate(parts) for name, parts in found.items()}
        return Replayed(**bits, steps=torch.cat(taken_steps) if taken_steps else None)


def score_paths(images: Images) -> dict[str, Array]:
    """The scores of the images of a piece along the record's paths, by variable of the result.

    `log_weight` (sample, path) is log2 w of the path that was taken and of the proposed ones,
    `joint_bits` and `path_bits` (sample,) are the sums of the joint and of the path surprisals of
    the path that was taken, see `generate.traversal.trace`. NaN where an image did not come out
    again.
    """
    n, k = images.record.n_samples, images.record.n_paths
    each = np.arange(n)
    made_by = PhiloxNoise(images.path_key, images.execution_key)
    sampled = images.replayed(each, images.texts, made_by, images.steps, images.probe)
    keys = proposal_keys(images.record.seed, images.prompt, n, k).ravel()
    repeated = np.repeat(each, k)
    texts = [images.texts[image] for image in repeated]
    proposed = images.replayed(repeated, texts, PhiloxNoise(keys, keys), None, images.probe)
    taken = sampled.proposal - sampled.joint
    others = (proposed.proposal - proposed.joint).reshape(n, k)
    return {
        "log_weight": np.concatenate([taken[:, None], others], axis=1),
        "joint_bits": sampled.joint,
        "path_bits": sampled.path,
    }


def _position(name: str, prompts: Sequence[Prompt]) -> int:
    """Position of the prompt of an id."""
    for position, prompt in enumerate(prompts):
        if prompt.id == name:
            return position
    raise LookupError(name)
