"""One model and experiment of a run: its design, what it holds, and why it lacks the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ibstats.design import Design, design_of
from ibstats.errors import MissingImages, Unmeasurable
from ibstats.store import UNEQUAL, Store, unequal_samples
from schemas.study import CrossedNoise

if TYPE_CHECKING:
    from schemas.provenance import ModelIdentity

WHO_RECORDS = {
    "image": "`images: false` in its study, imported or copied without them; measure where they are, and copy "
    "RUN/results along",
    "tokens": "the run was imported without token grids; name them with `ibstats import --tokens`",
    "token_surprisal": "the run records no surprisals; only a run sampled by `ibgenerate` or a Recorder has them",
    "token_entropy": "the run records no entropies of the laws drawn from; only a run sampled by `ibgenerate` has them",
    "text_index": "the run does not say which wording each sample was given; import it with `--prompts`",
    "path_key": "the run has no noise keys; only a run sampled by `ibgenerate` has them",
    "execution_key": "the run has no noise keys; only a run sampled by `ibgenerate` has them",
}
"""By variable, why a run may lack it and who could have recorded it."""


@dataclass(frozen=True)
class Selection:
    """One model and experiment of a run, restricted to the prompts that are complete.

    Made by `select`. Nothing is read before it is asked for; what lacks is told by `why_not`.

    >>> from ibstats.store import open_store
    >>> selection = select(open_store("runs/demo"), "trio-mim", "factorial")  # doctest: +SKIP
    >>> selection.n_prompts, selection.has("token_surprisal")  # doctest: +SKIP
    (6, True)
    """

    store: Store
    model: str
    experiment: str
    allow_partial: bool = False

    @cached_property
    def dataset(self) -> xr.Dataset:
        """Everything it holds, lazily loaded: see `Store.dataset`.

        Raises IncompleteStore if blocks are missing, unless `allow_partial`.
        """
        return self.store.dataset(
            self.model, self.experiment, allow_partial=self.allow_partial, warn=False
        )

    @cached_property
    def every_sample(self) -> xr.Dataset:
        """As `dataset`, with all samples where prompts have unequal numbers of them.

        `sample_count (condition, prompt)` says how many, and the fill stands behind them. For
        statistics of a prompt whose expectation does not depend on the number of its samples.
        """
        if not self.unequal:
            return self.dataset
        return self.store.dataset(
            self.model, self.experiment, allow_partial=self.allow_partial, every_sample=True
        )

    @property
    def identity(self) -> ModelIdentity:
        """What fixes the law of the model's samples."""
        return self.store.identity(self.model)

    @property
    def kind(self) -> str:
        """Kind of the experiment, for instance `factorial`."""
        return self.store.kind(self.experiment)

    @cached_property
    def design(self) -> Design:
        """Conditions, factors and baseline."""
        return design_of(self.dataset, self.store.run.experiments[self.experiment].design)

    @property
    def snapshot(self) -> str:
        """Digest of the committed blocks."""
        return self.store.snapshot(self.model, self.experiment)

    @property
    def n_prompts(self) -> int:
        """Prompts that are complete in every condition."""
        return int(self.dataset.sizes["prompt"])

    @property
    def n_samples(self) -> int:
        """Images, or token grids, of a prompt in a condition; the fewest, where they differ."""
        return int(self.dataset.sizes["sample"])

    @cached_property
    def sample_counts(self) -> NDArray[np.int64]:
        """How many samples each prompt has in each condition, `(condition, prompt)`."""
        shape = (self.dataset.sizes["condition"], self.n_prompts)
        if "sample_count" not in self.dataset:
            return np.full(shape, self.n_samples)
        counts = self.dataset["sample_count"].transpose("condition", "prompt")
        return counts.values.astype(np.int64)

    @property
    def unequal(self) -> str:
        """Which numbers use how many samples, where prompts have unequal numbers; else empty."""
        if not self.left_out:
            return ""
        fewest, counts = self.n_samples, self.sample_counts
        return (
            f"'{self.model}/{self.experiment}' has {fewest} to {counts.max()} {UNEQUAL}: distances, "
            f"scores of images, collision entropies and bits use all {counts.sum()}; what moves with "
            "their number (Shannon's entropies, effective numbers, scores of sets) uses the first "
            f"{fewest} of each"
        )

    @property
    def most_images(self) -> dict[str, int]:
        """Attribute of numbers that use all samples: `n_images_most` of a prompt, where they differ."""
        return {"n_images_most": int(self.sample_counts.max())} if self.unequal else {}

    @property
    def left_out(self) -> str:
        """How many samples are used and left out where prompts have unequal numbers; else empty."""
        return unequal_samples(self.dataset, f"{self.model}/{self.experiment}")

    @property
    def is_complete(self) -> bool:
        """Whether it can be analysed.

        All prompts are complete, or, where part will do (`allow_partial`), more than one is.
        """
        done = self.store.complete(self.model, self.experiment).all(axis=0)
        return bool(done.all() or (self.allow_partial and done.sum() > 1))

    @property
    def crossing(self) -> tuple[int, int]:
        """Numbers of path and of execution noises that a crossed-noise experiment crosses.

        Raises Unmeasurable for an experiment of another kind, or without a study.
        """
        study = self.store.run.study
        experiment = None if study is None else study.experiments.get(self.experiment)
        if not isinstance(experiment, CrossedNoise):
            raise Unmeasurable(f"'{self.experiment}' is of kind {self.kind}, not crossed_noise")
        return experiment.paths, experiment.executions

    @property
    def renderings(self) -> int:
        """Images of each token grid of a crossed-noise experiment; 1 in any other."""
        study = self.store.run.study
        experiment = None if study is None else study.experiments.get(self.experiment)
        return experiment.renderings if isinstance(experiment, CrossedNoise) else 1

    def has(self, variable: str) -> bool:
        """Whether a variable or coordinate of the store is there, for instance `token_surprisal`.

        An image is there only where its objects are, see `Store.holds`.
        """
        return variable in self.store.holds(self.model, self.experiment)

    def why_not(self, variable: str) -> str:
        """Why a variable is not there, and who could have recorded it; empty if it is there.

        One line that begins with the model and the experiment.
        """
        if self.has(variable):
            return ""
        reason = WHO_RECORDS.get(variable, "this model or this run does not record it")
        called = "images" if variable == "image" else f"`{variable}`"
        return f"'{self.model}/{self.experiment}' holds no {called}: {reason}"

    def need(self, *variables: str, every_sample: bool = False) -> xr.Dataset:
        """The dataset, or that of `every_sample`, if it holds all of these variables.

        Raises Unmeasurable with the variable that lacks and who could have recorded it; for images
        it is MissingImages.
        """
        for variable in variables:
            reason = self.why_not(variable)
            if reason:
                raise MissingImages(reason) if variable == "image" else Unmeasurable(reason)
        return self.every_sample if every_sample else self.dataset


def select(store: Store, model: str, experiment: str, *, allow_partial: bool = False) -> Selection:
    """One model and experiment of a run.

    Raises IbstatsError for a name that the run does not hold, with those that it does.
    """
    store.complete(model, experiment)
    return Selection(store, model, experiment, allow_partial)


def crossed(store: Store, model: str, *, allow_partial: bool = False) -> Iterator[Selection]:
    """The crossed-noise experiments of a model, in the order of the study.

    None where the run has no such experiment. Raises IbstatsError for an unknown model.
    """
    for name in store.experiments():
        if store.kind(name) == "crossed_noise":
            yield select(store, model, name, allow_partial=allow_partial)
