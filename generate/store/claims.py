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
from functools import cache
from pathlib import Path

import psutil
from pydantic import ValidationError

from generate.errors import StoreError, one_line
from schemas.io.files import is_temporary, time_there
from schemas.io.folder import Folder
from schemas.io.layout import DATA, PARTS, RESCORED, Part, block_key, claim_key
from schemas.provenance import now
from schemas.store import Block, FailureRecord

HEARTBEAT_SECONDS = 15.0
"""How often a live process changes its claim."""
WATCH_SECONDS = 60.0
"""Time without a heartbeat after which an old claim of another machine counts as left behind."""
LEASE_SECONDS = 300.0
"""The same for a claim that is young.

Time is that of the process that watches, and age only says how long to watch: clocks of two
machines may differ by hours.
"""

STARTED = 19
"""Place of the start time in /proc/PID/stat, counted after the name of the program."""
LEFT_SECONDS = 60.0
"""Age after which a temporary file is one that a killed process left."""


_seen: dict[tuple[str, str], tuple[bytes, float]] = {}
"""By folder and claim: what this process last read there, and since when."""


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

    Processes on one machine see each other die; those elsewhere are believed while their claim
    changes. Containers, and machines of one name, are different machines.
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
        beat = threading.Thread(
            target=self._beat, args=(block, attempt, session, over), daemon=True
        )
        beat.start()
        try:
            yield attempt
        finally:
            over.set()
            beat.join()
            if self.owner(block).get("attempt") == attempt:  # it may have been taken over
                self.release(block)

    @contextlib.contextmanager
    def making(self, what: str, place: object) -> Iterator[None]:
        """Hold the making of something that is no block, as the run itself: `place` is what users see.

        Raises StoreError while another process holds it.
        """
        if self.owner(what):
            self.sweep()
        with self.claimed(what) as attempt:
            if attempt is None:
                owner = self.owner(what)
                raise StoreError(
                    f"process {owner.get('pid')} on {owner.get('host')} is laying out {place}: wait "
                    "until it has begun, or, if it died, five minutes, then run the same command "
                    "again."
                )
            yield

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

    def _beat(self, block: Block | str, attempt: str, session: str, over: threading.Event) -> None:
        """Change the claim of a block now and then until it is over, as long as it is ours."""
        beats = 0
        while not over.wait(HEARTBEAT_SECONDS):
            beats += 1
            with contextlib.suppress(OSError):
                if self.owner(block).get("attempt") != attempt:
                    return
                self.folder.replace(key("claims", block), _owner(attempt, session, beats))

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

        These are claims of dead processes and temporary files. Old claims of another machine are
        watched for `WATCH_SECONDS` before they go, in case their makers live.
        """
        removed = 0
        if any(self._looks_left(claim) for claim in self.folder.sizes("claims")):
            time.sleep(WATCH_SECONDS)
        if isinstance(self.folder.root, Path):
            for under in (*PARTS, DATA, RESCORED):
                removed += _sweep_files(self.folder.root / under)
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
            content = self.folder.read(claim)
        except FileNotFoundError:
            return False
        try:
            owner = json.loads(content)
            machine, pid, started = owner["machine"], int(owner["pid"]), owner["process_started"]
        except (ValueError, KeyError, TypeError):  # not one of ours
            return self._changes(claim, content)
        if session and owner.get("session") == session:
            return False
        if machine != machine_id():
            return self._changes(claim, content)
        try:
            process = psutil.Process(pid)
            alive = process.status() != psutil.STATUS_ZOMBIE
            return alive and _process_started(process) == started
        except psutil.NoSuchProcess:
            return False

    def _changes(self, claim: str, content: bytes) -> bool:
        """Whether a claim has changed lately, for all that this process has seen of it."""
        moment = time.monotonic()
        before, since = _seen.get((str(self.folder), claim), (b"", moment))
        if before != content:
            since = moment
        _seen[str(self.folder), claim] = content, since
        try:
            old = self.folder.age(claim) > LEASE_SECONDS
        except FileNotFoundError:
            return False
        return moment - since < (WATCH_SECONDS if old else LEASE_SECONDS)

    def _looks_left(self, claim: str) -> bool:
        """Whether another machine's claim is so old that watching it is worth the time."""
        try:
            return self.folder.age(claim) > LEASE_SECONDS and self._is_alive(claim)
        except FileNotFoundError:
            return False


def _sweep_files(under: Path) -> int:
    """Remove temporary files that nobody writes any more, and give how many there were."""
    removed = 0
    moment = None
    for folder, _, names in os.walk(under):
        for name in filter(is_temporary, names):
            path = Path(folder, name)
            with contextlib.suppress(FileNotFoundError):
                if moment is None:
                    moment = time_there(under)
                if moment - path.stat().st_mtime > LEFT_SECONDS:
                    path.unlink()
                    removed += 1
    return removed


def _owner(attempt: str, session: str, beats: int = 0) -> bytes:
    owner = {
        "attempt": attempt,
        "session": session,
        "host": socket.gethostname(),
        "machine": machine_id(),
        "pid": os.getpid(),
        "process_started": _process_started(psutil.Process()),
        "time": now(),
        "beats": beats,
    }
    return json.dumps(owner).encode()


@cache
def machine_id() -> str:
    """Give a name of this machine, as far as its processes see each other.

    On Linux it is of the boot and the process namespace, so that containers, and machines of one
    name, are told apart; elsewhere of the host and its network card.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{socket.gethostname()} {uuid.getnode():x}"


def _process_started(process: psutil.Process) -> float:
    """When a process started, in ticks since the boot where they are known.

    The clock of the day may be set meanwhile, and is no help then.
    """
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return float(int(process.create_time()))
    return float(stat.rpartition(")")[2].split()[STARTED])
