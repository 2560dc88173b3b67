"""A CUDA graph in small, on the CPU: the operations of one call, done again in the same memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WAITS = {
    "_local_scalar_dense", "item", "is_nonzero", "nonzero", "masked_select", "equal", "unique_dim",
    "_unique2", "lift_fresh", "bincount",
}  # fmt: skip
"""Operations for which a host waits, or whose shapes hang on values, or which bring a constant of the host."""


class Noted(TorchDispatchMode):
    """Notes operations as they are done, and refuses those that no graph can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self.before: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in WAITS or (name == "index" and any(map(is_mask, args[1]))):
            raise RuntimeError(f"{name} cannot be captured")
        if name.endswith("_"):
            self.before.append((args[0], args[0].clone()))
        result = func(*args, **kwargs)
        self.operations.append((func, args, kwargs, result))
        return result

    def undo(self) -> None:
        """What was there before: a capture does nothing."""
        for tensor, old in reversed(self.before):
            tensor.copy_(old)


def is_mask(index: Tensor | None) -> bool:
    return index is not None and index.dtype in (torch.bool, torch.uint8)


def memory(values: Any) -> dict[int, int]:
    """Bytes by address of all tensors among some values."""
    storages = [leaf.untyped_storage() for leaf in tree_leaves(values) if torch.is_tensor(leaf)]
    return {storage.data_ptr(): storage.nbytes() for storage in storages}


class Tape:
    """A `Graph` that does what it noted, with the arguments of then, and puts results where they were."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.noted = Noted()
        self.result = torch.empty(0)

    def warm_up(self, work: Callable[[], Tensor]) -> Tensor:
        self.calls.append("warm up")
        return work()

    def capture(self, work: Callable[[], Tensor]) -> Tensor:
        self.calls.append("capture")
        with self.noted:
            self.result = work()
        self.noted.undo()
        self.result.fill_(torch.nan)
        return self.result

    def replay(self) -> None:
        self.calls.append("replay")
        for func, args, kwargs, result in self.noted.operations:
            again = func(*args, **kwargs)
            own = memory((args, kwargs))
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if torch.is_tensor(old) and old.untyped_storage().data_ptr() not in own:
                    assert old.shape == new.shape
                    old.copy_(new)
