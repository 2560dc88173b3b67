"""Given tokens in the place of noise: a traversal then scores them instead of drawing new ones."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from generate.traversal.draw import PhiloxNoise


@dataclass(frozen=True)
class Replay:
    """Tokens of finished grids, (sample, position), to be scored along one path each.

    Without `token_step` a path is proposed by the path noise of `noise`: the traversal goes as
    always, with every identity drawn forced to the given one. With it, (sample, position), the path
    is the one that made the tokens, and `noise` the noise that did.

    The trace has exact `path_surprisal` and `joint_surprisal` of that path, and
    `proposal_surprisal`, so that `proposal_surprisal - joint_surprisal`, summed over steps, is log2
    of the importance weight q(P, Z) / r(P | Z), whose mean over proposals is q(Z). A path that
    cannot have made the tokens has infinite `joint_surprisal`. Where the order is fixed there is
    one path, which takes no bits: the summed `joint_surprisal` is the surprisal of the grid.
    """

    tokens: Tensor
    noise: PhiloxNoise
    token_step: Tensor | None = None

    def path(self, step: int, n: int) -> Tensor:
        """Uniforms in [0, 1) of the path stream, (sample, n) float64.

        They propose a path of a masked traversal; where `token_step` gives the path, nothing asks
        for them.
        """
        return self.noise.path(step, n)

    def identities(self, step: int, probabilities: Tensor) -> Tensor:
        """The given tokens (sample, position), whatever their probability at this step."""
        return self.tokens.to(probabilities.device)
