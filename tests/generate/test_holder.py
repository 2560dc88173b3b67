"""One model in memory: whoever loads the next has let the one before go, and none is loaded twice in a row."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from generate.models import memory
from generate.models.base import Model
from generate.models.recent import MOST, Recent
from generate.models.toy import ToyAutoregressive, ToyDiffusion, ToyMasked
from generate.run import blocks, preparing, rehearsal
from generate.run.holder import Holder
from generate.run.returned import DECODED_AT_ONCE, decode
from generate.study.planning import Plan, plan
from generate.study.study_file import load_study
from tests.generate.conftest import edited

LABELS = ["toy-ar", "toy-masked", "toy-diffusion"]


@pytest.fixture
def three(study_file: Path) -> Plan:
    return plan(*load_study(str(edited(study_file, models=LABELS))))


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Models must go by their last name alone: the collector may come long after the next is loaded."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the models in the order they are loaded; a test fails where one is alive then."""
    names: list[str] = []
    alive: list[weakref.ref[Model]] = []
    monkeypatch.setattr(gc, "collect", lambda *_: 0)
    for adapter in (ToyAutoregressive, ToyMasked, ToyDiffusion):
        load = adapter.load

        def watched(identity: Any, options: Any, device: str, load: Any = load) -> Model:
            assert [model for model in alive if model() is not None] == []
            made: Model = load(identity, options, device)
            names.append(identity.model)
            alive.append(weakref.ref(made))
            return made

        monkeypatch.setattr(adapter, "load", watched)
    return names


@pytest.mark.usefixtures("no_collection")
def test_a_run_keeps_no_two_models_and_loads_none_for_nothing(
    three: Plan, tmp_path: Path, loaded: list[str]
) -> None:
    """Code usage of all three comes before the store; the one that is there then is the first to sample."""
    holder = Holder("cpu")
    store = preparing.prepare(three, tmp_path / "run", holder=holder)
    assert loaded == LABELS
    done = blocks.run(three, store, holder=holder)
    assert done.made == done.total
    assert loaded == [*LABELS, "toy-ar", "toy-masked"]


@pytest.mark.usefixtures("no_collection")
def test_a_study_of_one_model_loads_it_once(
    study_file: Path, tmp_path: Path, loaded: list[str]
) -> None:
    laid_out = plan(*load_study(str(edited(study_file, models=["toy-masked"]))))
    holder = Holder("cpu")
    store = preparing.prepare(laid_out, tmp_path / "run", holder=holder)
    blocks.run(laid_out, store, holder=holder)
    assert loaded == ["toy-masked"]


@pytest.mark.usefixtures("no_collection")
def test_a_forecast_keeps_no_two_models(three: Plan, loaded: list[str]) -> None:
    rehearsal.forecast(three, None, "cpu")
    assert loaded == LABELS


def test_a_model_that_refers_to_itself_is_let_go_too(three: Plan) -> None:
    holder = Holder("cpu")
    model: Any = holder.model(three, "toy-ar")
    model.myself = model
    gone = weakref.ref(model)
    del model
    holder.model(three, "toy-masked")
    assert gone() is None


def test_the_memory_that_the_allocator_keeps_is_given_back_before_more_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: order.append("given back"))
    monkeypatch.setattr(memory, "free_bytes", lambda device: order.append("asked") or 10**9)
    memory.require("mine", 10**6, "cuda:0")
    assert order == ["given back", "asked"]


def test_images_are_decoded_in_parts(three: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Holder("cpu").model(three, "toy-masked")
    whole = model.decode
    sizes: list[int] = []

    def counted(tokens: torch.Tensor) -> np.ndarray:
        sizes.append(len(tokens))
        return whole(tokens)

    monkeypatch.setattr(model, "decode", counted)
    n_positions = model.identity.grid[0] * model.identity.grid[1]
    tokens = torch.arange(40 * n_positions).view(40, -1) % model.identity.codebook_size
    assert np.array_equal(decode(model, "mine", tokens), whole(tokens))
    assert sizes == [DECODED_AT_ONCE, DECODED_AT_ONCE, 8]


def test_the_least_recent_text_goes_first() -> None:
    made: list[str] = []

    def make(text: str) -> int:
        made.append(text)
        return len(made)

    recent: Recent[int] = Recent()
    for number in range(MOST):
        recent.of(str(number), make)
    recent.of("0", make)
    recent.of("new", make)
    recent.of("0", make)
    assert made.count("0") == 1
    recent.of("1", make)
    assert made.count("1") == 2
