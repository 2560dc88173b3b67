"""Who works on which block, and which blocks failed: one small object each, beside the data.

A claim names the process that works on a block, and is kept fresh while it lives; it saves work
that would be done twice. What is committed does not rest on it: claims may be lost or taken over
wrongly, and records stay right.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import ValidationError

from generate.errors import one_line
from schemas.io.folder import Folder
from schemas.io.layout import PARTS, Part, block_key, claim_key
from schemas.provenance import now
from schemas.store import Block, FailureRecord

LEASE_SECONDS = 300.0
"""Age after which a claim of another host, whose processes cannot be seen, counts as dead."""
HEARTBEAT_SECONDS = 30.0
"""How often a live process refreshes its claim."""

LEFT_SECONDS = 60.0
"""Age after which a temporary file is one that a killed process left."""


def key(part: Part, what: Block | str) -> str:
    """Give the key of the record, claim or failure of a block, or of the claim of another thing.

    >>> key("claims", "create")
    'claims/create.json'
    """
    if isinstance(what, str):
        return claim_key(what)
    return block_key(part, what.model, what.experiment, what.condition, what.index)


@dataclass(frozen=True)
class Claims:
    """Claims and failures of a run.

    Processes on one machine see each other die; those elsewhere are believed while their claim is
    younger than `LEASE_SECONDS`.
    """

    folder: Folder

    def claimed_among(self, blocks: Iterable[Block]) -> set[Block]:
        """Give those of the blocks that somebody works on, by one listing.

        The claim of a dead process counts until `sweep`.
        """
        return self._among("claims", blocks)

    def failed_among(self, blocks: Iterable[Block]) -> set[Block]:
        """Give those of the blocks that could not be made, by one listing.

        Blocks that were made since are not among them.
        """
        return self._among("failed", blocks)

    def _among(self, part: Part, blocks: Iterable[Block]) -> set[Block]:
        there = self.folder.sizes(part)
        return {block for block in blocks if key(part, block) in there}

    @contextlib.contextmanager
    def claimed(self, block: Block | str, session: str = "") -> Iterator[str | None]:
        """Hold a block, or the making of the run, while it is made.

        Gives the id of this attempt, or None while another live process holds it. Whoever says the
        same `session` vouches that a former attempt of it is over (a scheduler that lost a worker).
        """
        attempt = uuid.uuid4().hex
        if not self.claim(block, attempt, session):
            yield None
            return
        over = threading.Event()
        beat = threading.Thread(target=self._beat, args=(block, over), daemon=True)
        beat.start()
        try:
            yield attempt
        finally:
            over.set()
            beat.join()
            self.release(block)

    def claim(self, block: Block | str, attempt: str, session: str = "") -> bool:
        """Take a block for this process; False while another live process holds it.

        A claim of a dead process, or of a former attempt of the same `session`, is taken over.
        """
        for _ in range(2):
            try:
                self.folder.create(key("claims", block), _owner(attempt, session))
                return True
            except FileExistsError:
                if self._is_alive(key("claims", block), session):
                    return False
                self.folder.remove(key("claims", block))
        return False

    def _beat(self, block: Block | str, over: threading.Event) -> None:
        """Keep the claim of a block fresh until it is over."""
        while not over.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):
                self.folder.replace(key("claims", block), self.folder.read(key("claims", block)))

    def release(self, block: Block | str) -> None:
        """Give a claim back, so that another process may take the block.

        Not to be called by who does not hold it.
        """
        self.folder.remove(key("claims", block))

    def why_failed(self, block: Block) -> str:
        """Give the error that a block failed with, in one line; empty where there is no note."""
        try:
            note = FailureRecord.model_validate_json(self.folder.read(key("failed", block)))
        except (FileNotFoundError, ValidationError):
            return ""
        return one_line(note.error)

    def fail(self, block: Block, error: BaseException, traceback: str) -> None:
        """Note why a block could not be made; the run goes on without it.

        Attempts are counted over all runs.
        """
        attempts = 1
        with contextlib.suppress(FileNotFoundError, ValidationError):
            attempts += FailureRecord.model_validate_json(
                self.folder.read(key("failed", block))
            ).attempts
        record = FailureRecord(
            model=block.model,
            experiment=block.experiment,
            condition=block.condition,
            block=block.index,
            attempts=attempts,
            error=f"{type(error).__name__}: {error}",
            traceback=traceback,
            host=socket.gethostname(),
            time=now(),
        )
        self.folder.replace(key("failed", block), record.model_dump_json(indent=1).encode())

    def sweep(self) -> int:
        """Remove what killed processes left, and give how many files there were.

        These are claims of dead processes and temporary files.
        """
        removed = 0
        if isinstance(self.folder.root, Path):
            removed += sum(_sweep_files(self.folder.root / part) for part in PARTS)
        for claim in self.folder.sizes("claims"):
            if not self._is_alive(claim):
                self.folder.remove(claim)
                removed += 1
        return removed

    def owner(self, block: Block | str) -> dict[str, str]:
        """Give who makes a block: attempt, host, pid, time and more.

        Empty if nobody does, or if the claim cannot be read.
        """
        try:
            found: dict[str, str] = json.loads(self.folder.read(key("claims", block)))
            return found
        except (FileNotFoundError, ValueError):
            return {}

    def _is_alive(self, claim: str, session: str = "") -> bool:
        """Whether the process behind a claim can still be working."""
        try:
            age = self.folder.age(claim)
            owner = json.loads(self.folder.read(claim))
            host, pid, started = owner["host"], int(owner["pid"]), float(owner["process_started"])
        except FileNotFoundError:
            return False
        except (ValueError, KeyError, TypeError):  # not one of ours
            return age < LEASE_SECONDS
        if session and owner.get("session") == session:
            return False
        if host != socket.gethostname():
            return age < LEASE_SECONDS
        try:
            process = psutil.Process(pid)
            return (
                abs(process.create_time() - started) < 1.0
                and process.status() != psutil.STATUS_ZOMBIE
            )
        except psutil.NoSuchProcess:
            return False


def _sweep_files(under: Path) -> int:
    """Remove temporary files that nobody writes any more, and give how many there were."""
    removed = 0
    for path in under.rglob(".*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and time.time() - path.stat().st_mtime > LEFT_SECONDS:
                path.unlink()
                removed += 1
    return removed


def _owner(attempt: str, session: str) -> bytes:
    owner = {
        "attempt": attempt,
        "session": session,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_started": psutil.Process().create_time(),
        "time": now(),
    }
    return json.dumps(owner).encode()
