"""Which blocks a process makes, and in which order, where several make one run."""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from generate.errors import GenerateError
from schemas.store import Block

LOOK_AGAIN = 60.0
"""Seconds after which a process that meets others looks again at what they have committed."""
LOOKING = 0.01
"""The share of its time that it may spend on that."""
ARRAYS = (
    (
        "SLURM_ARRAY_TASK_ID",
        "SLURM_ARRAY_TASK_MIN",
        "SLURM_ARRAY_TASK_MAX",
        "SLURM_ARRAY_TASK_STEP",
    ),
    ("SGE_TASK_ID", "SGE_TASK_FIRST", "SGE_TASK_LAST", "SGE_TASK_STEPSIZE"),
)
"""Variables by which queues tell a task its number, and the first, the last and the step of all."""


@dataclass(frozen=True)
class Shard:
    """One of `of` parts of a run, `number` from 0 on: its blocks are made by one task of an array."""

    number: int
    of: int

    def among(self, blocks: Iterable[Block]) -> list[Block]:
        """Give the blocks of this shard, in their order.

        Each model and experiment is cut into stretches, so every shard has its part of each, with
        all conditions of nearly all its prompts. Every block is in one shard, whatever `of` is.

        >>> blocks = [Block("toy", "factorial", 0, n, n, n + 1) for n in range(5)]
        >>> [[block.index for block in Shard(n, 2).among(blocks)] for n in range(2)]
        [[0, 1], [2, 3, 4]]
        """
        by_dataset: dict[tuple[str, str], list[Block]] = {}
        for block in blocks:
            by_dataset.setdefault((block.model, block.experiment), []).append(block)
        ours = []
        for each in by_dataset.values():
            first = len(each) * self.number // self.of
            last = len(each) * (self.number + 1) // self.of
            ours += each[first:last]
        return ours


def shard(asked: str, environment: Mapping[str, str] = os.environ) -> Shard:
    """Read `i/n`, with i from 1 to n, or `array`: the place of this task in the array of its queue.

    Raises GenerateError for anything else, and for `array` outside of an array job of Slurm or Grid
    Engine.

    >>> shard("2/8")
    Shard(number=1, of=8)
    >>> slurm = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "1"}
    >>> shard("array", slurm | {"SLURM_ARRAY_TASK_MAX": "9", "SLURM_ARRAY_TASK_STEP": "2"})
    Shard(number=3, of=5)
    """
    if asked == "array":
        return _of_array(environment)
    number, slash, of = asked.partition("/")
    if not slash or not number.isdecimal() or not of.isdecimal():
        raise GenerateError(f"--shard is '{asked}': give i/n, as 1/8 to 8/8, or `array`.")
    if not 1 <= int(number) <= int(of):
        raise GenerateError(f"--shard is '{asked}': the first number goes from 1 to {of}.")
    return Shard(int(number) - 1, int(of))


def _of_array(environment: Mapping[str, str]) -> Shard:
    """The place that a queue says this task has."""
    for names in ARRAYS:
        said = [environment.get(name, "") for name in names]
        if all(value.isdecimal() for value in said):
            number, first, last, step = (int(value) for value in said)
            return Shard((number - first) // step, (last - first) // step + 1)
    tried = ", ".join(names[0] for names in ARRAYS)
    raise GenerateError(
        f"--shard array: no queue says which task of an array this is ({tried} with first, last and "
        "step); give --shard i/n, as --shard $TASK/64."
    )


@dataclass
class Turns:
    """The blocks that one process still has to look at.

    They come in their order as long as nobody else is at work. A process that meets another goes
    elsewhere: it takes what is left in an order of its own, and leaves out what others commit. `done`
    gives those of some blocks that are committed, by one listing.
    """

    rest: list[Block]
    done: Callable[[Iterable[Block]], set[Block]]
    rng: random.Random = field(default_factory=random.Random)
    clock: Callable[[], float] = time.monotonic
    _next_look: float = -math.inf

    def take(self) -> Block | None:
        """Give the block to look at now; None when none is left."""
        return self.rest.pop(0) if self.rest else None

    def go_elsewhere(self) -> set[Block]:
        """Leave the neighbourhood of others, and give what they have committed of the rest.

        That is looked up once in a while alone (`LOOK_AGAIN`, `LOOKING`), else it is empty.
        """
        start = self.clock()
        if start < self._next_look:
            return set()
        committed = self.done(self.rest)
        self.rest = [block for block in self.rest if block not in committed]
        self.rng.shuffle(self.rest)
        now = self.clock()
        self._next_look = now + max(LOOK_AGAIN, (now - start) / LOOKING)
        return committed
