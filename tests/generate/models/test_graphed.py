"""Steps that a CUDA graph holds, on the CPU: replayed operation by operation in the memory of the capture."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException
from transformers.cache_utils import CacheLayerMixin, StaticLayer

from generate.models import emu3, glm_image, graphed, janus, llamagen, model_class
from generate.models.base import Model
from generate.study.probes import Probe
from generate.traversal.draw import PhiloxNoise
from generate.traversal.trace import Trace
from tests.generate.models.paper_card import OnlyOnCard, PaperCard
from tests.generate.models.tape import Tape
from tests.generate.models.test_contract import CHECKPOINTS, TEXTS

ADAPTERS: dict[str, Any] = {
    "llamagen": llamagen,
    "janus-pro": janus,
    "emu3": emu3,
    "glm-image": glm_image,
}
"""Modules of the adapters that write one code a call."""


@pytest.fixture(scope="module", params=ADAPTERS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return loaded(request.param, tmp_path_factory.mktemp("model"))


def loaded(name: str, folder: Path, device: str = "cpu") -> Model:
    adapter = model_class(name)
    options = adapter.options(CHECKPOINTS[name](folder))
    return adapter.load(adapter.identify(name, options), options, device)


def sample(model: Model) -> Trace:
    keys = np.arange(3, dtype=np.uint64)
    return model.traverse(model.encode(TEXTS[:3]), Probe(), PhiloxNoise(keys, keys + np.uint64(9)))


def hold_by(monkeypatch: pytest.MonkeyPatch, model: Model, graph: Any) -> list[graphed.Graphed]:
    """Steps of a model go into a graph from now on, and into the list."""
    held: list[graphed.Graphed] = []

    def hold(step: graphed.Step, device: str) -> graphed.Step:
        held.append(graphed.Graphed(step, graph))
        return held[-1]

    monkeypatch.setattr(ADAPTERS[model.identity.model], "graphed", hold)
    return held


def test_a_replayed_step_gives_the_bits_of_a_plain_one(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No value of Python's, no shape and no address of a step is of one position alone."""
    plain = sample(model)
    tape = Tape()
    held = hold_by(monkeypatch, model, tape)
    replayed = sample(model)
    assert torch.equal(replayed.tokens, plain.tokens)
    assert torch.equal(replayed.token_surprisal, plain.token_surprisal)
    assert torch.equal(replayed.token_entropy, plain.token_entropy)
    warm_up = graphed.WARM_UP
    assert tape.calls[: warm_up + 1] == ["warm up"] * warm_up + ["capture"]
    assert set(tape.calls[warm_up + 1 :]) == {"replay"}
    (only,) = held
    assert len(tape.calls) == only.calls + 1 >= model.identity.steps


REFUSED: dict[str, Callable[[Tensor], Tensor]] = {
    "a value": lambda x: x * x[0].item(),
    "a truth": lambda x: x if x.any() else -x,
    "an index of a mask": lambda x: x[x > 0],
    "a list": lambda x: x[: int(x.argmax())],
    "places": lambda x: x.nonzero(),
    "a constant of the host": lambda x: x + torch.tensor(1.0),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_the_tape_refuses_what_no_graph_holds(kind: str) -> None:
    with pytest.raises(RuntimeError, match="cannot be captured"):
        Tape().capture(lambda: REFUSED[kind](torch.ones(3)))


def test_the_tape_keeps_values_of_python_as_a_graph_does() -> None:
    """A step that counts in Python goes wrong; one that counts in a tensor does not."""
    count, counted = [0], torch.zeros(1)

    def step(given: Tensor) -> Tensor:
        count[0] += 1
        counted.add_(1)
        return torch.cat([given + count[0], counted])

    held = graphed.Graphed(step, Tape())
    results = [held(torch.full((1,), 10.0)).tolist() for _ in range(5)]
    noted = graphed.WARM_UP + 1
    assert results == [[10.0 + min(call, noted), call] for call in range(1, 6)]


def test_inputs_and_results_lie_where_they_lay() -> None:
    held = graphed.Graphed(lambda a, b: a * 2 + b, Tape())
    results = [held(torch.tensor([float(n)]), torch.ones(1)) for n in range(6)]
    replayed = results[graphed.WARM_UP :]
    assert len({result.data_ptr() for result in replayed}) == 1
    assert replayed[-1].tolist() == [11.0]


class Full(Tape):
    """A graph for which there is no memory."""

    def capture(self, work: Callable[[], Tensor]) -> Tensor:
        super().capture(work)
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2.00 GiB")


def test_a_step_that_no_graph_holds_is_a_plain_one_and_one_line_says_so(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = sample(model)
    tape = Full()
    hold_by(monkeypatch, model, tape)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        tokens = sample(model).tokens
    assert torch.equal(tokens, plain.tokens)
    (line,) = [str(one.message) for one in said if "CUDA graph" in str(one.message)]
    assert "out of memory. Tried to allocate 2.00 GiB" in line
    assert "\n" not in line
    assert tape.calls == ["warm up"] * graphed.WARM_UP + ["capture"]


@pytest.mark.parametrize(("device", "switch", "held"), [
    ("cuda", None, True), ("cuda:1", "1", True), ("cuda", "0", False), ("cpu", None, False), ("mps", None, False),
])  # fmt: skip
def test_steps_go_into_graphs_on_cuda_unless_switched_off(
    device: str, switch: str | None, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphed, "CudaGraph", lambda device: Tape())
    monkeypatch.delenv(graphed.SWITCH, raising=False)
    if switch is not None:
        monkeypatch.setenv(graphed.SWITCH, switch)
    step = graphed.graphed(torch.neg, device)
    assert isinstance(step, graphed.Graphed) is held
    assert step(torch.ones(1)).tolist() == [-1.0]


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_step_on_a_card_never_touches_the_host(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wait for a value, a shape of values or a tensor of the host raises: there are shapes alone."""
    card = PaperCard()
    model: Any = loaded(name, tmp_path)
    conditioning = card.conditioning(model.encode(TEXTS[:3]))
    card.model(model)
    shapes = []

    def walk(next_logits: Any, n_positions: int, **_: Any) -> Any:
        next_logits(None, 0)
        with OnlyOnCard():
            for position in range(1, n_positions):
                codes = torch.zeros(3, dtype=torch.int64, device="cuda")
                shapes.append(next_logits(codes, position).shape)

    monkeypatch.setattr(ADAPTERS[name].autoregressive, "traverse", walk)
    monkeypatch.setattr(ADAPTERS[name], "graphed", lambda step, device: step)
    monkeypatch.setattr(StaticLayer, "__init__", static_layer)
    with card.fake:
        model.traverse(conditioning, Probe(), None)
    assert shapes == [(3, model.identity.codebook_size)] * (model.identity.steps - 1)


def static_layer(self: Any, max_cache_len: int, **_: Any) -> None:
    """As of the library, but that the count is no constant, which a card of shapes cannot move."""
    CacheLayerMixin.__init__(self)
    self.max_cache_len = max_cache_len
    self.cumulative_length = torch.zeros((), dtype=torch.int64)


def test_the_card_of_shapes_sees_the_host() -> None:
    card = PaperCard()
    with card.fake:
        x = torch.ones(3, device="cuda")
        with OnlyOnCard(), pytest.raises(RuntimeError, match="touches the host"):
            x[torch.tensor([1])]
        with pytest.raises(DataDependentOutputException):
            x[0].item()


@pytest.mark.gpu
@pytest.mark.parametrize("name", ADAPTERS)
def test_a_graph_on_a_gpu_gives_the_tokens_of_plain_steps(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = loaded(name, tmp_path, "cuda")
    monkeypatch.setenv(graphed.SWITCH, "0")
    plain = sample(model)
    monkeypatch.setenv(graphed.SWITCH, "1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        traces = [sample(model) for _ in range(2)]
    for trace in traces:
        assert torch.equal(trace.tokens, plain.tokens)
        assert torch.equal(trace.token_surprisal, plain.token_surprisal)
