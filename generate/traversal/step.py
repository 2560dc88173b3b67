"""One step of a traversal: a law, a probe and noise, on the device of the logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from generate.study.probes import Probe
from generate.traversal.draw import Law, Noise
from schemas.timings import stage

ALL = slice(None)
"""Every position of the grid."""


@dataclass(frozen=True)
class Step:
    """What a step may draw: the law of every identity, and the two kinds of noise.

    `probabilities` are (sample, position, code), restricted to the codes that the probe allows;
    `argmax` is whether identities are modes here instead of draws, and `is_last` whether no step
    follows.
    """

    index: int
    probabilities: Tensor
    argmax: bool
    noise: Noise
    is_last: bool = False

    def modes(self) -> Tensor:
        """The most probable code of every position, (sample, position) int64.

        Of codes that are equally probable the one of lowest id.
        """
        return self.probabilities.argmax(dim=-1)

    def identities(self) -> Tensor:
        """Codes (sample, position) int64: draws of the execution stream, or under argmax the modes.

        Under argmax the execution stream is not asked, and the path stream goes on as it would
        have.
        """
        with stage("draw"):
            if self.argmax:
                return self.modes()
            return self.noise.identities(self.index, self.probabilities)

    def belief(self) -> Tensor:
        """The law that `identities` come from, (sample, position, code) float32.

        Under argmax that is all mass on the mode; otherwise it is `probabilities`.
        """
        if not self.argmax:
            return self.probabilities
        n_codes = self.probabilities.shape[-1]
        return torch.nn.functional.one_hot(self.modes(), n_codes).float()

    def uniforms(self) -> Tensor:
        """Uniforms in [0, 1) of the path stream, (sample, position) float64.

        There is one for every position, committed or not, on the device of the probabilities.
        """
        n_positions = self.probabilities.shape[1]
        return self.noise.path(self.index, n_positions).to(self.probabilities.device)


class Steps:
    """The steps of one traversal, which share a law, a probe and noise.

    `n_steps` is how many there will be; the probe's argmax window is a share of them.
    """

    def __init__(self, law: Law, probe: Probe, noise: Noise, n_steps: int) -> None:
        self.law = law
        self.probe = probe
        self.noise = noise
        self.n_steps = n_steps
        self.allowed = allowed_codes(probe)

    def at(self, index: int, logits: Tensor, positions: slice = ALL) -> Step:
        """Step number `index`, counted from 0, of the state that `logits` were computed from.

        `logits` are guided, what the law takes, and not yet restricted to the allowed codes;
        `positions` says which of the grid they are of. The step is on their device.
        """
        allowed = self.allowed
        if allowed is not None:
            allowed = self.allowed = allowed.to(logits.device)  # copies at the first step only
            if allowed.ndim > 1:
                allowed = allowed[positions]
        with stage("draw"):
            probabilities = self.law.probabilities(logits, allowed)
        argmax = self.probe.argmax(index, self.n_steps)
        return Step(index, probabilities, argmax, self.noise, is_last=index == self.n_steps - 1)

    def codes(self, n_codes: int, device: torch.device | str) -> Tensor:
        """Ids that may appear out of a codebook of `n_codes`, rising, (allowed code,) int64.

        All of them, unless the probe restricts the codebook.
        """
        if self.allowed is None:
            return torch.arange(n_codes, device=device)
        return self.allowed.to(device).nonzero()[:, 0]


def allowed_codes(probe: Probe) -> Tensor | None:
    """The codes that a probe allows, (code,) or (position, code) bool on the CPU; None for all."""
    return None if probe.allowed is None else torch.from_numpy(probe.allowed)
