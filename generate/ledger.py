"""Which blocks are done, in progress or failed: one small file each, beside the data.

A record is the commit of a block and is written last, under its final name at once (hard link of a synced
temporary file), so a reader sees all of it or nothing. A claim is an exclusively created file naming the
process that works on a block; the claim of a dead process is taken over.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import ValidationError

from generate.errors import StoreError
from generate.provenance import now
from generate.study import Block
from schemas.store import BlockRecord, FailureRecord

STALE_SECONDS = 6 * 3600.0
"""Age after which a claim of another host, whose processes cannot be seen, counts as dead."""


@dataclass(frozen=True)
class Ledger:
    """Records, claims and failures of a run directory."""

    root: Path

    def record_path(self, block: Block) -> Path:
        """File of a block's record."""
        return self.root / "ledger" / block.model / block.experiment / f"{block.name}.json"

    def claim_path(self, block: Block) -> Path:
        """File of a block's claim."""
        return self.root / "claims" / block.model / block.experiment / f"{block.name}.json"

    def failure_path(self, block: Block) -> Path:
        """File of a block's failure."""
        return self.root / "failed" / block.model / block.experiment / f"{block.name}.json"

    def is_done(self, block: Block) -> bool:
        """Whether the block is committed."""
        return self.record_path(block).exists()

    def read(self, block: Block) -> BlockRecord | None:
        """The record of a block, None if it is not committed."""
        path = self.record_path(block)
        try:
            return BlockRecord.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise StoreError(
                f"ledger record {path} is broken ({error.errors()[0]['msg']}); "
                "`ibgenerate verify --repair` drops it, and the next run makes its block again."
            ) from None

    def commit(self, block: Block, record: BlockRecord) -> None:
        """Publish a record; refuses to replace one."""
        publish(self.record_path(block), record.model_dump_json(indent=1))
        self.failure_path(block).unlink(missing_ok=True)

    def withdraw(self, block: Block) -> None:
        """Undo a commit, so that the block is made again."""
        self.record_path(block).unlink(missing_ok=True)

    def claim(self, block: Block, attempt: str) -> bool:
        """Take a block for this process; False while another live process holds it."""
        path = self.claim_path(block)
        path.parent.mkdir(parents=True, exist_ok=True)
        owner = {
            "attempt": attempt,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process_started": psutil.Process().create_time(),
            "time": now(),
        }
        for _ in range(2):
            try:
                publish(path, json.dumps(owner))
                return True
            except FileExistsError:
                if _is_alive(path):
                    return False
                with contextlib.suppress(FileNotFoundError):
                    path.rename(path.with_name(f".{path.name}.dead-{uuid.uuid4().hex}"))
        return False

    def release(self, block: Block) -> None:
        """Give a claim back."""
        self.claim_path(block).unlink(missing_ok=True)

    def fail(self, block: Block, error: BaseException, traceback: str) -> None:
        """Note why a block could not be made; the run goes on without it."""
        path = self.failure_path(block)
        attempts = 1
        with contextlib.suppress(FileNotFoundError, ValidationError):
            attempts += FailureRecord.model_validate_json(path.read_bytes()).attempts
            path.unlink()
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
        publish(path, record.model_dump_json(indent=1))

    def sweep(self) -> int:
        """Remove what killed processes left: dead claims and temporary files. Returns how many."""
        removed = 0
        for folder in ("ledger", "claims", "failed"):
            for path in (self.root / folder).rglob(".*"):
                if path.is_file() and time.time() - path.stat().st_mtime > 60:
                    path.unlink(missing_ok=True)
                    removed += 1
        for path in (self.root / "claims").rglob("*.json"):
            if not _is_alive(path):
                path.unlink(missing_ok=True)
                removed += 1
        return removed


def _is_alive(claim: Path) -> bool:
    """Whether the process behind a claim can still be working."""
    try:
        owner = json.loads(claim.read_bytes())
        age = time.time() - claim.stat().st_mtime
    except FileNotFoundError:
        return False
    except ValueError:
        return True
    if owner["host"] != socket.gethostname():
        return age < STALE_SECONDS
    try:
        started = psutil.Process(owner["pid"]).create_time()
    except psutil.NoSuchProcess:
        return False
    return bool(abs(started - owner["process_started"]) < 1.0)


def publish(path: Path, text: str) -> None:
    """Write a file so that it appears whole or not at all; FileExistsError if the name is taken."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
        sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Make the names in a directory survive a power loss."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
