"""A step of the same shapes each time, held as one CUDA graph: one launch in place of thousands.

A network that writes one code a row and call keeps a GPU waiting for its host: LlamaGen launches
1,700 kernels a code. A graph notes them once, with the addresses of their memory, and launches them
together. So a step may read and write only memory that stays where it is, take what changes from
tensors that it is given, and never wait for a value: what Python computed when the graph was made
holds for all later steps.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from generate.errors import one_line

Step = Callable[..., Tensor]
"""A result, in tensors of the same shapes each time; state lies in memory taken before."""

SWITCH = "IBGENERATE_CUDA_GRAPH"
"""The variable of the environment that turns graphs off where it is 0: tokens are the same."""
WARM_UP = 2
"""Steps before the one that is noted: they make what libraries make once, such as workspaces."""


class Graph(Protocol):
    """Notes the work of a call, and does it again."""

    def warm_up(self, work: Callable[[], Tensor]) -> Tensor:
        """Do some work as it will be noted, and give its result."""

    def capture(self, work: Callable[[], Tensor]) -> Tensor:
        """Note some work without doing it; where its result will lie."""

    def replay(self) -> None:
        """Do the noted work in the noted memory."""


class CudaGraph:
    """A `Graph` of what is launched on a CUDA device.

    Capture asks for a stream other than the default one. Errors of other threads do not concern it.
    """

    def __init__(self, device: str) -> None:
        self.stream = side_stream(device)
        self.graph = torch.cuda.CUDAGraph()

    def warm_up(self, work: Callable[[], Tensor]) -> Tensor:
        """Do some work on the side stream; what is launched next waits for it."""
        current = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            result = work()
        current.wait_stream(self.stream)
        result.record_stream(current)
        return result

    def capture(self, work: Callable[[], Tensor]) -> Tensor:
        """Note what some work launches; RuntimeError where a launch cannot be noted."""
        with torch.cuda.graph(self.graph, stream=self.stream, capture_error_mode="thread_local"):
            return work()

    def replay(self) -> None:
        """Launch all that was noted, on the current stream."""
        self.graph.replay()


@functools.cache
def side_stream(device: str) -> torch.cuda.Stream:
    """The stream of a device to capture on: one for all, as each keeps workspaces of its own."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class Graphed:
    """A step that is noted once and then done again by a graph.

    The first calls are plain steps, to warm up. Where capture fails, as for want of memory, all
    others are plain ones too, and one line says so. Whoever takes a result uses it before the next
    call, which writes it over.
    """

    def __init__(self, step: Step, graph: Graph) -> None:
        self.step = step
        self.graph: Graph | None = graph
        self.calls = 0
        self.inputs: tuple[Tensor, ...] = ()
        self.result: Tensor | None = None

    def __call__(self, *given: Tensor) -> Tensor:
        """The result of a step; arguments are of the same shapes at each call."""
        self.calls += 1
        if self.graph is not None and self.calls <= WARM_UP:
            return self.graph.warm_up(lambda: self.step(*given))
        if self.graph is not None and self.result is None:
            self._capture(self.graph, given)
        if self.graph is None or self.result is None:
            return self.step(*given)
        for kept, new in zip(self.inputs, given, strict=True):
            kept.copy_(new)
        self.graph.replay()
        return self.result

    def _capture(self, graph: Graph, given: tuple[Tensor, ...]) -> None:
        """Note a step of inputs that stay where they are; no graph where that fails."""
        self.inputs = tuple(tensor.clone() for tensor in given)
        try:
            self.result = graph.capture(lambda: self.step(*self.inputs))
        except RuntimeError as error:
            self.graph = None
            warnings.warn(
                f"no CUDA graph could be made of a step ({one_line(str(error), 100)}): its kernels "
                f"are launched one by one, which gives the same tokens and takes longer. {SWITCH}=0 "
                "leaves graphs alone; a smaller batch_size leaves them memory.",
                stacklevel=4,
            )


def graphed(step: Step, device: str) -> Step:
    """A step, held by a graph on a CUDA device; on others, or with the switch off, as it is.

    A graph lives as long as what is given back: it holds the memory of one step.

    >>> double = lambda tokens: 2 * tokens
    >>> graphed(double, "cpu") is double
    True
    """
    if not device.startswith("cuda") or os.environ.get(SWITCH) == "0":
        return step
    return Graphed(step, CudaGraph(device))
