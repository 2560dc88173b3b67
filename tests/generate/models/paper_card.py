"""A CUDA device of shapes alone: what a model would do there, without one and without values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class OnlyOnCard(TorchDispatchMode):
    """Refuses operations that take or give a tensor of the host."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, result)):
            if torch.is_tensor(leaf) and leaf.device.type != "cuda":
                raise RuntimeError(
                    f"{func} touches the host: a tensor of shape {tuple(leaf.shape)}"
                )
        return result


class PaperCard:
    """Moves tensors of the CPU to a CUDA device that has shapes and no values."""

    def __init__(self) -> None:
        self.fake = FakeTensorMode()

    def tensor(self, tensor: Tensor) -> Tensor:
        shape = self.fake.from_tensor(tensor.detach())
        with self.fake:
            return shape.to("cuda")

    def model(self, model: Any) -> None:
        """Move all weights and tensors that a model holds."""
        for name, value in list(vars(model).items()):
            if torch.is_tensor(value):
                setattr(model, name, self.tensor(value))
            if isinstance(value, torch.nn.Module):
                for module in value.modules():
                    self.module(module)
        model.device = "cuda"

    def module(self, module: torch.nn.Module) -> None:
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, torch.nn.Parameter(self.tensor(parameter), requires_grad=False))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, self.tensor(buffer))

    def conditioning(self, conditioning: Any) -> Any:
        moved = {name: self.tensor(tensor) for name, tensor in vars(conditioning).items()}
        return replace(conditioning, **moved)
