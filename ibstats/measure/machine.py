"""The machine that measures: device, batches, weights, workers. It changes speed and what can be
had, not meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from ibstats.measure import named
from ibstats.measure.base import Distance, Embedding, ImageScore
from ibstats.measure.each import Each, here
from ibstats.quantities import Material
from schemas.progress import Progress, silent


@dataclass(frozen=True)
class Machine:
    """How distances and features are computed; no part of the result, but for weights of your own.

    >>> Machine(batch_size=8).metric("ssim").name
    'ssim_dissimilarity'
    """

    device: str = "cpu"
    """torch's name of the device that runs networks."""
    batch_size: int = 64
    """Images of a forward pass."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """Paths of weight files by the name of the metric or network."""
    each: Each = here
    """Where the image pass goes over prompts: in this process or on a cluster."""
    progress: Progress = silent
    """Told how far work is that goes over no prompts."""
    download: bool = True
    """Whether published weights that are missing are fetched."""

    def offline(self) -> Self:
        """Give the same machine, which fetches nothing.

        What needs weights that are not here then raises MissingWeights.
        """
        return replace(self, download=False)

    def metric(self, name: str) -> Distance:
        """Make the distance of that name on this machine; see `ibstats.measure.metric` for what it
        raises.
        """
        return named.metric(
            name,
            weights=self.weights.get(name),
            device=self.device,
            batch_size=self.batch_size,
            download=self.download,
        )

    def score(self, name: str) -> ImageScore:
        """Make the score of your own of that name; see `ibstats.measure.named.score`."""
        return named.score(
            name,
            weights=self.weights.get(name),
            device=self.device,
            batch_size=self.batch_size,
            download=self.download,
        )

    def network(self, name: str, weights: str | None = None) -> Embedding:
        """Make the network of that name on this machine; `weights` win over the machine's own.

        See `ibstats.measure.network` for what it raises.
        """
        return named.network(
            name,
            weights=weights or self.weights.get(name),
            device=self.device,
            batch_size=self.batch_size,
            download=self.download,
        )

    def metrics(self, asked: Sequence[str] = (), *, on: Material = "scenes") -> list[Distance]:
        """Make the distances asked for, else the default ones, for which nothing is fetched.

        `on` says what the default is for, see `ibstats.measure.default_metrics`. Raises as `metric`
        does, for the first that cannot be made.
        """
        if asked:
            return [self.metric(name) for name in asked]
        return [self.offline().metric(name) for name in named.default_metrics(on)]
