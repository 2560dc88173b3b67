"""A Zarr store that gives recorded objects as they were recorded, or not at all.

Zarr takes an object that is not there for its fill value, and believes whatever it can decode. Here
an object that a record names is given only with the length and sha256 that were recorded; any other
ends in one line that names the file and the repair.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import override
from zarr.abc.store import ByteRequest
from zarr.abc.store import Store as ZarrStore
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from schemas.errors import CorruptBlock, CorruptStore
from schemas.io import layout
from schemas.io.folder import Folder
from schemas.store import StoredObject

REMAKE = "`ibgenerate verify --repair` drops its block, and the next run makes it again"
"""The repair of an object of a block."""
RESTORE = "no run makes it again: restore it from a copy, or make the run again in another place"
"""The repair of what `create` wrote."""
SMALL = 2**16
"""Bytes below which an object is looked at where it is read: a thread of its own takes longer."""
MERGED = re.compile(r".*/\d+(\.\d+)*")
"""Key of a merged object: objects of blocks begin with `c.`."""
REOPENED = "the run was opened by `ibgenerate unseal` while it was read: read it again"
"""The repair where a merged object is asked for that no record names."""


def by_key(objects: Iterable[StoredObject]) -> dict[str, StoredObject]:
    """Give recorded objects by their key.

    >>> by_key([StoredObject(key="a/zarr.json", bytes=0, sha256="")])["a/zarr.json"].bytes
    0
    """
    return {stored.key: stored for stored in objects}


def as_stored(key: str, content: bytes) -> StoredObject:
    """Give the record of an object that was just written and read back.

    >>> as_stored("a", b"").bytes
    0
    """
    return StoredObject(key=key, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def read_or_none(where: Folder, key: str) -> bytes | None:
    """Give an object, or None where there is none or something else is in its place.

    That is a folder of its name, or a file where a part of its key is. Other errors are raised as
    they are.
    """
    try:
        return where.read(key)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None


def mismatch(stored: StoredObject, content: bytes | None) -> str | None:
    """Give what is wrong with what was read of a recorded object, None if it is as recorded.

    `content` is None where there is no object.

    >>> mismatch(StoredObject(key="a", bytes=2, sha256=""), b"a")
    '1 bytes instead of 2'
    >>> mismatch(StoredObject(key="a", bytes=2, sha256=""), None)
    'missing'
    """
    size = None if content is None else len(content)
    problem = wrong_size(stored, size)
    if problem is not None or content is None:
        return problem
    if hashlib.sha256(content).hexdigest() != stored.sha256:
        return "altered (checksum differs)"
    return None


def wrong_size(stored: StoredObject, size: int | None) -> str | None:
    """Give what is wrong with the bytes of a recorded object, None if they are as many as recorded.

    `size` is None where there is no object.

    >>> wrong_size(StoredObject(key="a", bytes=2, sha256=""), 3)
    '3 bytes instead of 2'
    """
    if size is None:
        return "missing"
    if size != stored.bytes:
        return f"{size} bytes instead of {stored.bytes}"
    return None


def damaged_template(file: str, problem: str, repair: str = RESTORE) -> CorruptStore:
    """Give the error of an object that was laid out once, with its repair."""
    return CorruptStore(f"'{file}' is damaged ({problem}); {repair}")


def damaged_block(file: str, problem: str, repair: str = REMAKE) -> CorruptBlock:
    """Give the error of an object of a block, with its repair."""
    return CorruptBlock(f"'{file}' is damaged ({problem}); {repair}")


@dataclass(frozen=True)
class Recorded:
    """What is known of the objects of a Zarr hierarchy, by key."""

    template: Mapping[str, StoredObject]
    """Objects that `create` wrote."""
    blocks: Mapping[str, StoredObject] = field(default_factory=dict)
    """Objects of committed blocks."""
    template_repair: str = RESTORE
    """What to do where one of the template is damaged."""
    block_repair: str = REMAKE
    """What to do where one of a block is damaged."""
    metadata: Mapping[str, bytes] = field(default_factory=dict)
    """The zarr.json of merged arrays, which are given from here: those in the folder are a copy."""


class CheckedStore(WrapperStore[ZarrStore]):
    """The Zarr store at a key of a folder, whose recorded objects are checked as they are read.

    `recorded` gives what is known of them; it is called once, and once more wherever the store
    travels, so that what travels stays small. A recorded object that is missing, or has another
    length or sha256, raises CorruptStore or CorruptBlock in the place of a value. An object that is
    read in parts, a shard, is checked as a whole before its first part is given. Objects without a
    record are given as they are.
    """

    def __init__(
        self,
        folder: Folder,
        recorded: Callable[[], Recorded],
        *,
        under: str = layout.DATA,
        read_only: bool = True,
    ) -> None:
        super().__init__(folder.zarr(under, read_only=read_only))
        self._folder = folder
        self._recorded = recorded
        self._under = under
        self._known: Recorded | None = None
        self._whole: set[str] = set()

    def know(self, recorded: Recorded) -> None:
        """Take what is known of the objects from whoever has read it already."""
        self._known = recorded

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_known": None, "_whole": set()}

    @override
    def _with_store(self, store: ZarrStore) -> CheckedStore:
        return CheckedStore(
            self._folder, self._recorded, under=self._under, read_only=store.read_only
        )

    @override
    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        known = self._now()
        told = known.metadata.get(key)
        if told is not None:
            return prototype.buffer.from_bytes(told)
        stored = known.template.get(key) or known.blocks.get(key)
        if stored is None:
            if MERGED.fullmatch(key):  # else it would be read as fill values
                raise damaged_block(f"{self._folder}/{self._under}/{key}", "unknown", REOPENED)
            return await super().get(key, prototype, byte_range)
        if byte_range is None:
            found = await super().get(key, prototype)
            content = None if found is None else found.to_bytes()
            if stored.bytes < SMALL:
                self._refuse(key, mismatch(stored, content))
            else:
                self._refuse(key, await asyncio.to_thread(mismatch, stored, content))
            return found
        if key not in self._whole:
            self._refuse(key, await asyncio.to_thread(self._problem, stored))
            self._whole.add(key)
        return await super().get(key, prototype, byte_range)

    @override
    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        found = []
        for key, byte_range in key_ranges:
            found.append(await self.get(key, prototype, byte_range))
        return found

    @override
    async def _get_many(
        self, requests: Iterable[tuple[str, BufferPrototype, ByteRequest | None]]
    ) -> AsyncGenerator[tuple[str, Buffer | None], None]:
        for key, prototype, byte_range in requests:
            yield key, await self.get(key, prototype, byte_range)

    def _now(self) -> Recorded:
        """What is known, asked for at the first look."""
        if self._known is None:
            self._known = self._recorded()
        return self._known

    def _problem(self, stored: StoredObject) -> str | None:
        try:
            content = self._folder.read(f"{self._under}/{stored.key}")
        except FileNotFoundError:
            return mismatch(stored, None)
        return mismatch(stored, content)

    def _refuse(self, key: str, problem: str | None) -> None:
        """Raise the error of an object with a problem."""
        if problem is None or self._known is None:
            return
        file = f"{self._folder}/{self._under}/{key}"
        if key in self._known.template:
            raise damaged_template(file, problem, self._known.template_repair)
        raise damaged_block(file, problem, self._known.block_repair)
