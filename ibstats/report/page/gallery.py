"""Galleries: what the viewer of a page knows of one experiment, and the pieces it is shown by.

A piece is the strip of a prompt in a condition, or the trace of a prompt. Where pieces go (into the
page or beside it) is not known here: see `ibstats.report.page.pieces`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ibstats.report.page import strips, traces
from ibstats.report.page.values import by_prompt
from ibstats.selection import Selection, select
from ibstats.store import Store

ROLES = ("path_key", "execution_key")
"""Keys of the noise of a sample."""

AT_ONCE = 2**24
"""Bytes up to which a variable is read at once, many times faster than prompt by prompt."""

DIGITS = 7
"""Significant digits of the values by prompt, by which a page sorts and draws dots."""


@dataclass(frozen=True)
class Piece:
    """A part of a gallery that the page loads on its own.

    `name` is that of its file where it lies beside the page; `make` gives its content, always the
    same.
    """

    name: str
    make: Callable[[], bytes]


Put = Callable[[Piece], object]
"""Takes a piece in; gives how the page finds it: start and length in the page, or its name."""


@dataclass(frozen=True)
class Shown:
    """One model of a gallery.

    Images and tokens are read when a piece of them is made.
    """

    selection: Selection
    values: dict[str, xr.DataArray]
    """By quantity, values by `(condition, prompt)`; empty where nothing was analysed."""

    @cached_property
    def place(self) -> dict[str, int]:
        """Where each prompt stands in the data, by its id."""
        ids = map(str, self.selection.dataset["prompt"].values)
        return {name: number for number, name in enumerate(ids)}

    @cached_property
    def traced(self) -> list[str]:
        """The variables of its traces, in their order.

        None without tokens.
        """
        return traces.held(self.selection.dataset)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width of its images, in pixels."""
        sizes = self.selection.dataset["image"].sizes
        return sizes["y"], sizes["x"]

    @property
    def n_conditions(self) -> int:
        """Conditions of the experiment."""
        return len(self.selection.design.conditions)

    @cached_property
    def noise(self) -> str:
        """A word that models share whose equal samples have equal noise; empty without twins.

        Twins are samples of one number and prompt, in any conditions of one experiment.
        """
        if not all(map(self.selection.has, ROLES)):
            return ""
        digest = hashlib.sha256()
        for role in ROLES:
            keys = self.selection.dataset[role].transpose("condition", ...).values
            if (keys != keys[:1]).any():
                return ""
            digest.update(np.ascontiguousarray(keys[0]).tobytes())
        return digest.hexdigest()[:8]

    @cached_property
    def wordings(self) -> NDArray[np.int32] | None:
        """Number of the text of each sample, `(condition, prompt, sample)`; None if unknown."""
        if not (self.selection.has("text") and self.selection.has("text_index")):
            return None
        found = self.selection.dataset["text_index"]
        return np.asarray(found.transpose("condition", "prompt", "sample").values)

    def strip(self, prompt: str, condition: int) -> bytes:
        """The strip of a prompt in a condition, as WebP.

        `condition` is its place. Raises KeyError for a prompt that the model lacks.
        """
        return strips.strip(self._images(prompt, condition))

    def image(self, prompt: str, condition: int, sample: int) -> bytes:
        """One image as it was decoded, as PNG.

        Raises KeyError for a prompt that the model lacks, IndexError for another place.
        """
        return strips.png(self._images(prompt, condition)[sample])

    def trace(self, prompt: str) -> bytes:
        """The trace of a prompt, as `ibstats.report.page.traces` has it.

        Raises KeyError for a prompt that the model lacks.
        """
        here = {"prompt": self.place[prompt]}
        found = {name: self._variable(name).isel(here) for name in self.traced}
        return traces.trace(found)

    def _images(self, prompt: str, condition: int) -> NDArray[np.uint8]:
        """Images `(sample, y, x, channel)`."""
        here = {"prompt": self.place[prompt], "condition": condition}
        images = self._variable("image").isel(here)
        return np.asarray(images.transpose("sample", "y", "x", "channel").values)

    def _variable(self, name: str) -> xr.DataArray:
        """A variable of its data: read and kept if it is small, else read where it is looked at."""
        if name not in self._read:
            variable = self.selection.dataset[name]
            if variable.nbytes <= AT_ONCE:
                variable = variable.load()
            self._read[name] = variable
        return self._read[name]

    @cached_property
    def _read(self) -> dict[str, xr.DataArray]:
        return {}


@dataclass(frozen=True)
class Gallery:
    """One experiment, and its models that have images.

    Its prompts are those of all of its models, in the order of the run.
    """

    experiment: str
    models: tuple[Shown, ...]
    number: int = field(default=0)
    """Place among the galleries of a page, part of the names of its pieces."""

    @cached_property
    def prompts(self) -> list[str]:
        """Ids of the prompts that some model has, complete.

        In the order of the run; their numbers, from 1, are places in this list.
        """
        there: set[str] = set()
        for shown in self.models:
            there.update(shown.place)
        return [prompt.id for prompt in self.first.store.prompts if prompt.id in there]

    @property
    def first(self) -> Selection:
        """The selection of its first model, which has the design of all."""
        return self.models[0].selection

    def strips(self, number: int, prompt: str) -> list[Piece]:
        """The strips of a prompt, one a condition, of the model of that number.

        None where the model lacks the prompt.
        """
        shown = self.models[number]
        if prompt not in shown.place:
            return []
        under, made = self._under(number, prompt), []
        for condition in range(shown.n_conditions):
            make = partial(shown.strip, prompt, condition)
            made.append(Piece(f"{under}-{condition}.webp", make))
        return made

    def trace(self, number: int, prompt: str) -> Piece | None:
        """The trace of a prompt of the model of that number; None where it has no tokens."""
        shown = self.models[number]
        if prompt not in shown.place or not shown.traced:
            return None
        return Piece(f"{self._under(number, prompt)}.trace", partial(shown.trace, prompt))

    def _under(self, number: int, prompt: str) -> str:
        return f"{self.number}-{number}-{self.prompts.index(prompt)}"

    def pieces(self, prompt: str) -> Iterator[Piece]:
        """Every piece of a prompt.

        Model by model: the strips of its conditions, then its trace.
        """
        for number in range(len(self.models)):
            yield from self.strips(number, prompt)
            trace = self.trace(number, prompt)
            if trace is not None:
                yield trace

    def record(self, prompts: Sequence[str], put: Put) -> dict[str, Any]:
        """What the page is told: names, prompts, models, and where each piece lies.

        `prompts` are the ids of those shown; `put` gets each of their pieces.
        """
        design = self.first.design
        known = {prompt.id: prompt.text for prompt in self.first.store.prompts}
        told = []
        for name in prompts:
            told.append({"id": name, "number": self.prompts.index(name) + 1, "text": known[name]})
        models = []
        for number, shown in enumerate(self.models):
            pieces = self._pieces(number, prompts, put)
            models.append(_told(shown) | pieces | _by_prompt(shown, prompts))
        return {
            "name": self.experiment,
            "kind": self.first.kind,
            "baseline": design.baseline,
            "conditions": [{"name": one.name, "label": one.short} for one in design.conditions],
            "samples": self.first.n_samples,
            "across": strips.columns(self.first.n_samples),
            "crossed": self._crossing(),
            "total": len(self.prompts),
            "prompts": told,
            "texts": _texts(self.first),
            "models": models,
        }

    def _crossing(self) -> tuple[int, int] | None:
        """Rows and columns of crossed noises, the images of a grid side by side."""
        if self.first.kind != "crossed_noise":
            return None
        n_paths, n_executions = self.first.crossing
        return n_paths, n_executions * self.first.renderings

    def _pieces(self, number: int, prompts: Sequence[str], put: Put) -> dict[str, Any]:
        """Where the pieces of a model lie, by prompt; nothing for what it lacks."""
        found: dict[str, Any] = {"strips": [], "traces": []}
        for prompt in prompts:
            found["strips"].append(list(map(put, self.strips(number, prompt))))
            trace = self.trace(number, prompt)
            found["traces"].append(None if trace is None else put(trace))
        return found


def _texts(selection: Selection) -> list[str]:
    """Every wording that a sample was given; none where the run does not say."""
    if not selection.has("text"):
        return []
    return list(map(str, selection.dataset["text"].values))


def _told(shown: Shown) -> dict[str, Any]:
    """What the page is told of a model, but for its pieces."""
    found: dict[str, Any] = {
        "name": shown.selection.model,
        "family": shown.selection.identity.family,
        "size": shown.size,
        "shown": strips.shown_size(*shown.size),
        "noise": shown.noise,
        "traced": shown.traced,
    }
    if shown.traced:
        tokens = shown.selection.dataset["tokens"]
        found["grid"] = (tokens.sizes["row"], tokens.sizes["col"])
        found["codes"] = shown.selection.identity.codebook_size
        found["wide"] = tokens.dtype.itemsize > traces.BYTES
    return found


def _by_prompt(shown: Shown, prompts: Sequence[str]) -> dict[str, Any]:
    """Wordings of the samples, and values of each condition, of these prompts in their order."""
    wordings, values = [], {}
    for prompt in prompts:
        place = shown.place.get(prompt)
        if shown.wordings is not None and place is not None:
            wordings.append(shown.wordings[:, place].tolist())
        else:
            wordings.append(None)
    for quantity, by_condition in shown.values.items():
        chosen = by_condition.reindex(prompt=list(prompts)).values
        values[quantity] = [list(map(_short, row)) for row in chosen]
    return {"wordings": wordings, "values": values}


def _short(value: float) -> float | None:
    """A value with the digits that a page needs; None if it is undefined."""
    if not np.isfinite(value):
        return None
    return float(f"{value:.{DIGITS}g}")


def galleries(store: Store, trees: dict[str, xr.DataTree]) -> list[Gallery]:
    """The galleries of a run: every experiment that has images of complete prompts.

    `trees` are analyses by experiment, for values by prompt; experiments without one have none.
    """
    found: list[Gallery] = []
    for experiment in store.experiments():
        models = []
        for model in store.models():
            selection = select(store, model, experiment, allow_partial=True)
            if _has_images(selection):
                values = by_prompt(trees.get(experiment), model)
                models.append(Shown(selection, values))
        if models:
            found.append(Gallery(experiment, tuple(models), len(found)))
    return found


def _has_images(selection: Selection) -> bool:
    done = selection.store.complete(selection.model, selection.experiment)
    return bool(done.all(axis=0).any()) and selection.has("image")
