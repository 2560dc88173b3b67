"""What adapters of published masked models share: the call of the traversal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from generate.models.base import Family
from generate.models.public import PublicModel
from generate.study.probes import Probe
from generate.traversal import masked
from generate.traversal.draw import Noise, TokenLaw
from generate.traversal.trace import Trace


class MaskedModel(PublicModel):
    """A published model that unmasks a grid by confidence, in as many steps as its identity says.

    A subclass sets `mask_id`, a token that is no code, and has the option `path_surprisal`.
    """

    family: ClassVar[Family] = "masked"
    mask_id: int

    def unmask(
        self,
        grid_logits: masked.GridLogits,
        n_samples: int,
        path_temperature: Sequence[float],
        probe: Probe,
        noise: Noise,
    ) -> Trace:
        """Sample `n_samples` grids, one step a path temperature, on the schedule of `open_after`.

        `grid_logits` are as `generate.traversal.masked` asks for them; probabilities are theirs,
        at temperature 1.
        """
        return masked.traverse(
            grid_logits,
            n_samples,
            math.prod(self.identity.grid),
            self.mask_id,
            masked_after=self.open_after(self.identity),
            path_temperature=path_temperature,
            law=TokenLaw(),
            probe=probe,
            noise=noise,
            path_surprisal=self.settings.path_surprisal,
            grid=self.identity.grid,
            device=self.device,
        )
