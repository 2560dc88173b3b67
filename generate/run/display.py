"""Progress on the terminal: a bar for each kind of work with its rate, and a line for each worker of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from generate.run.dispatch import Worker

MOST_WORKERS = 20
"""Workers that are listed one by one."""


class Rate(ProgressColumn):
    """Images per second of this call; not of what was there before."""

    def render(self, task: Task) -> Text:
        """The rate."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.3g} images/s")


class Display:
    """Bars by kind of work and, on a cluster, what each worker does."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("images"),
            Rate(Column(no_wrap=True)), TimeElapsedColumn(), TimeRemainingColumn(),
        )  # fmt: skip
        self.bars = Progress(*columns, speed_estimate_period=3600)
        self.tasks: dict[str, TaskID] = {}
        self.workers: list[Worker] = []

    def progress(self, what: str, done: int, total: int) -> None:
        """Show how many of the images of some work are there."""
        if what not in self.tasks:
            self.tasks[what] = self.bars.add_task(what, total=total, completed=done)
        self.bars.update(self.tasks[what], completed=done)

    def watch(self, workers: list[Worker]) -> None:
        """Show what every worker does."""
        self.workers = workers

    def __rich__(self) -> Group:
        return Group(self.bars, *([_table(self.workers)] if self.workers else []))


def _table(workers: list[Worker]) -> Table:
    table = Table("worker", "at work on", "images", "failed", box=None, pad_edge=False)
    for worker in workers[:MOST_WORKERS]:
        table.add_row(
            worker.name, worker.block or "nothing", str(worker.images), str(worker.failed or "")
        )
    rest = workers[MOST_WORKERS:]
    if rest:
        busy = sum(worker.block != "" for worker in rest)
        images, failed = (
            sum(worker.images for worker in rest),
            sum(worker.failed for worker in rest),
        )
        table.add_row(f"{len(rest)} more", f"{busy} at work", str(images), str(failed or ""))
    return table


@contextmanager
def display(console: Console) -> Iterator[Display]:
    """A display that is live."""
    shown = Display()
    try:
        with Live(shown, console=console, refresh_per_second=4):
            yield shown
            shown.watch([])
    finally:
        if not console.is_interactive:
            console.print()
