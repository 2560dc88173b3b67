"""Mean, covariance and some rows of features that come in batches, in one pass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ibstats.kernels.frechet import Target
from ibstats.measure.base import Array


class Moments:
    """Sums over batches, relative to the first batch's mean, and a random sample of the rows
    (reservoir).

    `keep` is the size of that sample, `seed` that of its choice. Memory holds the sums and the
    sample.

    >>> moments = Moments(keep=1, seed=0)
    >>> moments.add(np.array([[0.0, 1.0], [2.0, 5.0]]))
    >>> moments.target().mean.tolist()
    [1.0, 3.0]
    """

    def __init__(self, keep: int, seed: int) -> None:
        self.n = 0
        self.keep = keep
        self.rng = np.random.default_rng(seed)
        self.sample: list[Array] = []

    def add(self, rows: NDArray[np.floating]) -> None:
        """Add a batch of features `(n, feature)`, one or more rows, all batches of one width.

        Sums are in double precision. Which rows the sample holds depends on their order and the
        seed, not on how they are cut into batches.
        """
        x = rows.astype(np.float64)
        if self.n == 0:
            width = x.shape[1]
            self.origin = x.mean(axis=0)
            self.first = np.zeros(width)
            self.second = np.zeros((width, width))
        for row in x:
            place = len(self.sample)
            if place >= self.keep:
                place = int(self.rng.integers(0, self.n + 1))
            if place < self.keep:
                self.sample[place : place + 1] = [row]
            self.n += 1
        x = x - self.origin
        self.first += x.sum(axis=0)
        self.second += x.T @ x

    def target(self) -> Target:
        """Give mean and unbiased covariance of all rows, and the sample; undefined for fewer than
        two rows.
        """
        shift = self.first / self.n
        covariance = (self.second - self.n * np.outer(shift, shift)) / (self.n - 1)
        features = None
        if self.sample:
            features = np.array(self.sample)
        return Target(self.origin + shift, covariance, features)
