"""The one model that is in memory: two never share a device."""

from __future__ import annotations

import gc
from pathlib import Path

from generate.models import memory
from generate.models.base import Model
from generate.run.loading import load, refuse_other_model
from generate.study.planning import Plan
from schemas.store import RunRecord
from schemas.study import ModelChoice
from schemas.timings import Timings, stage


class Holder:
    """Loads models on a torch device, and keeps the last one for who asks for it again.

    Before another is loaded, the one before is let go and its memory is given back. So whoever uses
    a model keeps no name for it beyond the work on it.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.timings = Timings()
        """Where the time of this process goes, from block to block."""
        self._model: Model | None = None
        self._what: tuple[ModelChoice, Path] | None = None

    def model(self, plan: Plan, label: str) -> Model:
        """The model that a study calls `label`, ready to sample.

        Raises `ModelError` if it cannot be loaded as the study asks.
        """
        if self._model is None or not self.holds(plan, label):
            self.let_go()
            with stage("load"):
                self._model = load(plan, label, self.device)
            self._what = _what(plan, label)
        return self._model

    def recorded(self, plan: Plan, run: RunRecord, label: str) -> Model:
        """The model that a run calls `label`.

        Raises `StoreError` if it is no longer the one that the run was made with.
        """
        model = self.model(plan, label)
        refuse_other_model(model, run, label)
        return model

    def holds(self, plan: Plan, label: str) -> bool:
        """Whether the model that a study calls `label` is the one in memory.

        Labels do not matter, nor do studies: the same adapter with the same options is the same.
        """
        return self._what == _what(plan, label)

    def let_go(self) -> None:
        """Free the memory of the model, also where an adapter refers to itself in a circle."""
        self._model = self._what = None
        gc.collect()
        memory.give_back(self.device)


def _what(plan: Plan, label: str) -> tuple[ModelChoice, Path]:
    return plan.study.models[plan.models.index(label)], plan.base
