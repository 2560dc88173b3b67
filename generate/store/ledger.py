"""Which blocks are done, in progress or failed: one small object each, beside the data.

A record is the commit of a block: written last, and created exclusively, so that it appears whole or not at all, and
once. A claim names the process that works on a block, and is kept fresh while it lives; it saves work that would be
done twice. What is committed does not rest on it: claims may be lost or taken over wrongly, and records stay right.
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
from typing import Literal

import psutil
from pydantic import ValidationError

from generate.errors import StoreError
from generate.provenance import now
from generate.study.planning import Block
from schemas.io.folder import Folder
from schemas.store import BlockRecord, FailureRecord, is_whole, sealed

LEASE_SECONDS = 300.0
"""Age after which a claim of another host, whose processes cannot be seen, counts as dead."""
HEARTBEAT_SECONDS = 30.0
"""How often a live process refreshes its claim."""

Part = Literal["ledger", "claims", "failed"]


CREATION = "create"
"""What a process claims that lays out a run."""


def key(part: Part, what: Block | str) -> str:
    """Key of the record, claim or failure of a block, or of the claim of something else."""
    name = what if isinstance(what, str) else f"{what.model}/{what.experiment}/{what.name}"
    return f"{part}/{name}.json"


@dataclass(frozen=True)
class Ledger:
    """Records, claims and failures of a run."""

    folder: Folder

    def among(self, part: Part, blocks: Iterable[Block]) -> set[Block]:
        """The blocks that have a record, a claim or a failure, by one listing."""
        there = self.folder.sizes(part)
        return {block for block in blocks if key(part, block) in there}

    def is_done(self, block: Block) -> bool:
        """Whether the block is committed."""
        return self.folder.exists(key("ledger", block))

    def read(self, block: Block) -> BlockRecord | None:
        """The record of a block, None if it is not committed."""
        try:
            return self._parsed(block, self.folder.read(key("ledger", block)))
        except FileNotFoundError:
            return None

    def read_all(self, blocks: Iterable[Block]) -> dict[Block, BlockRecord]:
        """The records of the blocks that are committed."""
        blocks = list(blocks)
        done = self.among("ledger", blocks)
        keys = {key("ledger", block): block for block in blocks if block in done}
        contents = self.folder.found(keys)
        return {keys[name]: self._parsed(keys[name], content) for name, content in contents.items()}

    def _parsed(self, block: Block, content: bytes) -> BlockRecord:
        try:
            record = BlockRecord.model_validate_json(content)
            named = (record.model, record.experiment, record.condition, record.block)
            problem = "" if is_whole(json.loads(content)) else "its checksum differs"
            if named != (block.model, block.experiment, block.condition, block.index):
                problem = "it is of another block"
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
        if problem:
            raise StoreError(
                f"ledger record {self.folder}/{key('ledger', block)} is broken ({problem}); "
                "`ibgenerate verify --repair` drops it, and the next run makes its block again."
            )
        return record

    def commit(self, block: Block, record: BlockRecord) -> None:
        """Publish a record; FileExistsError if the block has one."""
        self.folder.create(key("ledger", block), sealed(record))
        self.folder.remove(key("failed", block))

    def withdraw(self, block: Block) -> None:
        """Undo a commit, so that the block is made again."""
        self.folder.remove(key("ledger", block))

    @contextlib.contextmanager
    def claimed(self, block: Block | str, session: str = "") -> Iterator[str | None]:
        """Hold a block, or the making of the run, while it is made.

        Gives the id of this attempt, or None while another live process holds it.

        Whoever says the same `session` vouches that a former attempt of it is over (a scheduler that lost a worker).
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
        """Take a block for this process; False while another live process holds it."""
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
        """Give a claim back."""
        self.folder.remove(key("claims", block))

    def fail(self, block: Block, error: BaseException, traceback: str) -> None:
        """Note why a block could not be made; the run goes on without it."""
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
        """Remove what killed processes left: dead claims and temporary files. Returns how many."""
        removed = 0
        if isinstance(self.folder.root, Path):
            for part in ("ledger", "claims", "failed"):
                for path in (self.folder.root / part).rglob(".*"):
                    with contextlib.suppress(FileNotFoundError):
                        if path.is_file() and time.time() - path.stat().st_mtime > 60:
                            path.unlink()
                            removed += 1
        for claim in self.folder.sizes("claims"):
            if not self._is_alive(claim):
                self.folder.remove(claim)
                removed += 1
        return removed

    def owner(self, block: Block | str) -> dict[str, str]:
        """Who makes a block: attempt, host, pid, time and more; empty if nobody does."""
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
