"""A resumable training loop shared by all stages of the recipe."""

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from schemas.io.files import whole_file

CHECKPOINT_SECONDS = 120.0
REPORT_SECONDS = 20.0
WARMUP_STEPS = 100

Step = Callable[[np.random.Generator, int, float], Tensor]


def learning_rate_factor(step: int, progress: float) -> float:
    """Factor of the learning rates: warm-up, constant to 30 % of the time, then linearly to zero.

    `progress` is the share of the time spent.

    >>> [round(learning_rate_factor(1000, progress), 2) for progress in (0.0, 0.3, 0.65, 1.0)]
    [1.0, 1.0, 0.5, 0.0]
    """
    return min(1.0, (step + 1) / WARMUP_STEPS) * min(1.0, (1.0 - progress) / 0.7)


def learning_rates(optimiser: torch.optim.Optimizer) -> list[float]:
    """The learning rate of each parameter group of an optimiser, before any schedule.

    To be read before the first step: `Fit` scales the rates in place.
    """
    return [group["lr"] for group in optimiser.param_groups]


class Fit:
    """One training run: network, its moving average, optimisers, clock and random state.

    The schedule runs on time spent (`minutes`), so that a run ends when planned on any machine, or
    on steps (`length`), so that runs can be compared; one of the two is given. An interrupted run
    continues from its last checkpoint: all state is there, and each step draws from a generator of
    its own, keyed by seed and step. Gradients are clipped over the whole network, or `apart`, over
    each optimiser's parameters, where the network is several that share their batches alone.
    """

    def __init__(
        self,
        network: nn.Module,
        optimisers: Sequence[torch.optim.Optimizer],
        checkpoint: Path,
        *,
        minutes: float | None = None,
        length: int | None = None,
        seed: int,
        average_decay: float = 0.999,
        apart: bool = False,
    ) -> None:
        if (minutes is None) == (length is None):
            raise ValueError("a run ends after minutes or after a length in steps: give one")
        self.network = network
        self.average = deepcopy(network).requires_grad_(False)
        self.optimisers = list(optimisers)
        self.checkpoint = checkpoint
        self.minutes = minutes
        self.length = length
        self.apart = apart
        self.average_decay = average_decay
        self.seed = seed
        self.steps = 0
        self.seconds = 0.0
        self.rates = [learning_rates(optimiser) for optimiser in self.optimisers]
        torch.manual_seed(seed)
        if checkpoint.is_file():
            self._resume()

    @property
    def progress(self) -> float:
        """Share of the planned time or steps spent, 0 to 1.

        Counts those of all runs that shared the checkpoint, without what was lost between
        checkpoints.
        """
        if self.length is not None:
            return min(1.0, self.steps / self.length)
        assert self.minutes is not None
        return min(1.0, self.seconds / (60 * self.minutes))

    def run(self, step: Step, *, name: str) -> nn.Module:
        """Call `step(rng, steps, progress) -> loss` until the time or the steps are spent.

        Returns the moving average of the network, in evaluation mode. Saves a checkpoint every two
        minutes and at the end, and prints the mean loss under `name`.
        """
        tick = reported = saved = time.monotonic()
        losses: list[float] = []
        self.network.train()
        while self.progress < 1.0:
            factor = learning_rate_factor(self.steps, self.progress)
            loss = step(np.random.default_rng([self.seed, self.steps]), self.steps, self.progress)
            loss.backward()  # type: ignore[no-untyped-call]
            self._clip()
            self._update(factor)
            losses.append(float(loss.detach()))
            now = time.monotonic()
            self.seconds, tick = self.seconds + now - tick, now
            if now - reported > REPORT_SECONDS:
                print(
                    f"{name}: {self.progress:.0%} in {self.seconds / 60:.1f} min, "
                    f"step {self.steps}, loss {np.mean(losses):.4f}",
                    flush=True,
                )
                reported, losses = now, []
            if now - saved > CHECKPOINT_SECONDS:
                self.save()
                saved = now
        self.save()
        return self.average.eval()

    def _clip(self) -> None:
        if not self.apart:
            nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            return
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                nn.utils.clip_grad_norm_(group["params"], 1.0)

    def _update(self, factor: float) -> None:
        for optimiser, rates in zip(self.optimisers, self.rates, strict=True):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.steps += 1
        decay = min(self.average_decay, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            parameters = zip(self.average.parameters(), self.network.parameters(), strict=True)
            for mine, theirs in parameters:
                mine.lerp_(theirs, 1 - decay)
            for buffer, current in zip(self.average.buffers(), self.network.buffers(), strict=True):
                buffer.copy_(current)

    def save(self) -> None:
        """Write the checkpoint; a killed run never leaves half a file.

        It holds the network, its average, the optimisers, steps and seconds so far, and torch's
        random state.
        """
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "steps": self.steps,
            "seconds": self.seconds,
            "torch": torch.get_rng_state(),
        }
        with whole_file(self.checkpoint) as temporary:
            torch.save(state, temporary)

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.steps, self.seconds = state["steps"], state["seconds"]
        torch.set_rng_state(state["torch"])
