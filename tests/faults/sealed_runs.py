"""What tests ask of a run that is sealed or merged, and a folder whose process dies at work on one."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from typing_extensions import override

import ibstats
from generate.store.samples import SampleStore
from schemas.io.folder import LocalFolder


def digests(root: Path) -> dict[tuple[str | None, str | None], str]:
    """What `ibstats` says of the content of a run, of each part of it."""
    store = ibstats.open_store(root)
    found = {}
    for model in (None, *store.models()):
        for experiment in (None, *store.experiments()):
            found[model, experiment] = store.snapshot(model, experiment)
    return found


def files(root: Path) -> set[str]:
    """Every file of a run but claims, which come and go."""
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith("claims/")}


class Killed(BaseException):
    """What a process that is killed would not survive."""


class Dying(LocalFolder):
    """A folder whose process dies before its n-th change."""

    def __init__(self, root: Path, dies_at: int) -> None:
        super().__init__(root)
        self.left = dies_at

    def _step(self, key: str) -> None:
        if key.startswith("claims/"):
            return
        if self.left == 0:
            raise Killed
        self.left -= 1

    @override
    def create(self, key: str, content: bytes) -> None:
        self._step(key)
        super().create(key, content)

    @override
    def replace(self, key: str, content: bytes) -> None:
        self._step(key)
        super().replace(key, content)

    @override
    def discard(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._step(key)
            super().discard([key])


def changes(root: Path, work: Callable[[SampleStore], object]) -> int:
    """How many changes of a run a sealing or its undoing makes."""
    folder = Dying(root, sys.maxsize)
    work(SampleStore(folder, SampleStore.open(root, check=False).run))
    return sys.maxsize - folder.left


def dies(root: Path, work: Callable[[SampleStore], object], dies_at: int) -> bool:
    """Whether a sealing or its undoing was killed before that change."""
    store = SampleStore(Dying(root, dies_at), SampleStore.open(root, check=False).run)
    try:
        work(store)
    except Killed:
        return True
    return False


def killed_at_random(
    code: str, root: Path, n_kills: int, longest: float, seed: int
) -> Iterator[None]:
    """After each kill of a process that runs code on a run, at most so many seconds after it says that it begins."""
    rng = random.Random(seed)
    for _ in range(n_kills):
        child = subprocess.Popen([sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(rng.uniform(0, longest))
        child.kill()
        child.wait()
        child.stdout.close()
        yield
