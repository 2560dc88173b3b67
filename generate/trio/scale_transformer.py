"""The trio's transformer over scales: every code of a scale at once, given those of coarser ones.

Attention is causal from scale to scale and full within one (Tian et al. 2024, arXiv:2404.02905, section
3.2). What enters a position is no code of its own but what the coarser scales add up to there.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generate.trio import weights
from generate.trio.scale_quantizer import SCALES
from generate.trio.transformer import Body, BodyConfig, Cache, Prefix


@dataclass(frozen=True, kw_only=True)
class ScaleConfig(BodyConfig):
    """Size of a transformer over scales.

    `scales` are the sides of their square grids, coarsest first, `dim` that of the tokenizer's vectors.
    """

    scales: tuple[int, ...] = SCALES
    dim: int = 16


class ScaleTransformer(Body):
    """Logits over the codes of every scale, given a caption and the scales before.

    `encode_caption` once a text, then `all_logits` for all scales at once, or `scale_logits` with a
    `cache` for one scale after another. Positions are those of the scales one after another.
    """

    config: ScaleConfig

    def __init__(self, config: ScaleConfig) -> None:
        sizes = [side * side for side in config.scales]
        super().__init__(config, sum(sizes))
        self.sizes = sizes
        width, side = config.width, config.scales[-1]
        self.start = nn.Parameter(0.02 * torch.randn(width))
        self.context = nn.Linear(config.dim, width)
        self.scale = nn.Parameter(0.02 * torch.randn(len(config.scales), width))
        self.row = nn.Parameter(0.02 * torch.randn(side, width))
        self.col = nn.Parameter(0.02 * torch.randn(side, width))

    def all_logits(self, prefix: Prefix, contexts: Tensor) -> Tensor:
        """Logits (B, position, K) of all scales by teacher forcing.

        `contexts` (B, position, dim) are of all positions after the first scale, as `ScaleVq.contexts`
        gives them.
        """
        scale_of = torch.arange(len(self.sizes)).repeat_interleave(torch.tensor(self.sizes))
        sight = (scale_of[:, None] >= scale_of).to(contexts.device)
        batch = len(contexts)
        prefix_sight = prefix.mask[:, None].expand(-1, len(sight), -1)
        mask = torch.cat([prefix_sight, sight.expand(batch, -1, -1)], -1)[:, None]
        parts = torch.split(contexts, self.sizes[1:], dim=1)
        inputs = [self._inputs(batch, None, 0)]
        inputs += [self._inputs(batch, part, scale) for scale, part in enumerate(parts, 1)]
        return self.over(torch.cat(inputs, 1), prefix, mask)

    def scale_logits(self, cache: Cache, context: Tensor | None, scale: int) -> Tensor:
        """Logits (B, position of the scale, K) of a scale.

        `context` (B, position of the scale, dim) is what coarser scales add up to, None at the first.
        Scales must be visited in order, as each call adds its keys and values to `cache`.
        """
        x = self._inputs(len(cache.mask), context, scale)
        return self.after(x, cache, sum(self.sizes[:scale]))

    def _inputs(self, batch: int, context: Tensor | None, scale: int) -> Tensor:
        """What enters the positions of a scale, (batch, position of the scale, width)."""
        side = self.config.scales[scale]
        rows, cols = [F.adaptive_avg_pool1d(table.mT, side).mT for table in (self.row, self.col)]
        places = (rows[:, None] + cols[None]).flatten(0, 1) + self.scale[scale]
        if context is None:
            return (self.start + places).expand(batch, -1, -1)
        inputs: Tensor = self.context(context) + places
        return inputs


def load_scales(path: Path) -> ScaleTransformer:
    """The weights over scales at `path`, ready for inference in float32.

    Raises FileNotFoundError, with the recipe, where there is no such file.
    """
    tensors, config = weights.load(path)
    transformer = ScaleTransformer(ScaleConfig(**config | {"scales": tuple(config["scales"])}))
    transformer.load_state_dict(tensors)
    return transformer.eval().requires_grad_(False)
