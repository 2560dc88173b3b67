"""Progress: bars and a line for each worker of a cluster on a terminal, plain lines in a log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from schemas.progress import Lines, Shown, way

MOST_WORKERS = 20
"""Workers that are listed one by one."""

SPEED_SECONDS = 3600
"""Seconds that the rate of a bar is taken over."""


@dataclass(frozen=True)
class Worker:
    """What one worker of a cluster does at the moment, and what it has done.

    Counts are of this command alone: `images` it made, and `failed` blocks.
    """

    name: str
    block: str
    """What it is making, '' for nothing."""
    images: int
    failed: int


class Follower(Protocol):
    """What work tells of itself while it goes on."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Take note of how many of the images of some work are there."""

    def watch(self, workers: list[Worker]) -> None:
        """Take note of what every worker does at the moment."""

    def tell(self, line: str) -> None:
        """Say something at once, in a line of its own."""


class Rate(ProgressColumn):
    """Column with the images per second of this command; not of what was there before.

    Averaged over as long as a bar has been there, an hour at most.
    """

    def render(self, task: Task) -> Text:
        """The rate in words, '' before there is one."""
        speed = task.finished_speed or task.speed
        if speed is None:
            return Text("")
        return Text(f"{speed:.3g} images/s")


class Display:
    """Bars by kind of work and, on a cluster, a line for what each worker does.

    A renderable of rich; `progress` and `watch` change it, and may be handed to what works.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("images"),
            Rate(Column(no_wrap=True)),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            speed_estimate_period=SPEED_SECONDS,
        )
        self.tasks: dict[str, TaskID] = {}
        self.workers: list[Worker] = []

    def progress(self, what: str, done: int, total: int) -> None:
        """Show how many of the images of some work are there."""
        if what not in self.tasks:
            self.tasks[what] = self.bars.add_task(what, total=total, completed=done)
        self.bars.update(self.tasks[what], completed=done)

    def watch(self, workers: list[Worker]) -> None:
        """Show what every worker does, from now on."""
        self.workers = workers

    def tell(self, line: str) -> None:
        """Say something above the bars, in a line of its own."""
        self.console.print(line, soft_wrap=True)

    def __rich__(self) -> Group:
        if not self.workers:
            return Group(self.bars)
        return Group(self.bars, _table(self.workers))


def _table(workers: list[Worker]) -> Table:
    """The workers, those beyond `MOST_WORKERS` in one line."""
    table = Table("worker", "at work on", "images", "failed", box=None, pad_edge=False)
    for worker in workers[:MOST_WORKERS]:
        failed = str(worker.failed or "")
        table.add_row(worker.name, worker.block or "nothing", str(worker.images), failed)
    rest = workers[MOST_WORKERS:]
    if rest:
        busy = images = n_failed = 0
        for worker in rest:
            busy += worker.block != ""
            images += worker.images
            n_failed += worker.failed
        table.add_row(f"{len(rest)} more", f"{busy} at work", str(images), str(n_failed or ""))
    return table


class Log:
    """Plain lines in place of bars, or none of them; what is told at once is always said."""

    def __init__(self, console: Console, lines: Lines | None) -> None:
        self.console = console
        self.lines = lines

    def progress(self, what: str, done: int, total: int) -> None:
        """Take note of how many of the images of some work are there."""
        if self.lines is not None:
            self.lines.progress(what, done, total)

    def watch(self, workers: list[Worker]) -> None:
        """Nothing: a log does not list workers."""

    def tell(self, line: str) -> None:
        """Say something at once, in a line of its own."""
        self.console.print(line, soft_wrap=True)


@contextmanager
def display(console: Console, asked: Shown = Shown.auto) -> Iterator[Follower]:
    """What shows progress on a console until the end of the `with` statement.

    Live bars on a terminal; elsewhere, or where `asked` says so, plain lines or nothing.
    """
    chosen = way(asked, on_terminal=console.is_terminal and console.is_interactive)
    if chosen == "bars":
        shown = Display(console)
        with Live(shown, console=console, refresh_per_second=4):
            yield shown
            shown.watch([])
    elif chosen == "plain":
        log = Log(console, None)
        with Lines(log.tell, "images") as lines:
            log.lines = lines
            yield log
    else:
        yield Log(console, None)
