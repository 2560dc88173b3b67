"""Muon: momentum whose matrices are orthogonalised before each step.

A single-precision version of torch.optim.Muon that takes stacks of matrices at once; on CPUs
without half-precision units the stock one costs as much as the step itself. Source: Jordan et
al. (2024), "Muon: an optimizer for hidden layers in neural networks".
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised, for hidden weights of two or more dims.

    Leading dims count separate matrices. `lr` is a rate for AdamW: steps are scaled to the root
    mean square of its own, .2 sqrt(max(rows, cols)) times an orthogonal matrix. `weight_decay` is
    decoupled.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient, in place.

        The direction is the gradient, mixed with its moving average by `momentum` (Nesterov).
        `closure` is there for torch's interface and is not called.
        """
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                mean = self.state[parameter].setdefault("mean", torch.zeros_like(parameter))
                mean.lerp_(parameter.grad, 1 - group["momentum"])
                ahead = parameter.grad.lerp(mean, group["momentum"])
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(orthogonalise(ahead), alpha=-group["lr"] * _scale(parameter))


def orthogonalise(matrices: Tensor, *, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrices, roughly, (..., row, col).

    Five `steps` of a quintic Newton-Schulz iteration take all but the smallest singular values to
    between about .7 and 1.2, which is near enough for a direction (Jordan et al. 2024). A matrix of
    zeros stays one.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.775 * gram + 2.0315 * gram @ gram) @ x
    result: Tensor = x.mT if tall else x
    return result


def _scale(parameter: Tensor) -> float:
    """Makes the root mean square of a step that of AdamW's, so that one rate suits both."""
    return 0.2 * math.sqrt(max(parameter.shape[-2:]))
