"""A Zarr store on S3 that keeps what the service says of each object that it takes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from typing_extensions import override
from zarr.core.buffer import Buffer
from zarr.storage import ObjectStore


@dataclass(frozen=True)
class Receipt:
    """What a service says of an object that it took: it checked these bytes against their sha256."""

    bytes: int
    sha256: str
    tag: str
    """Another one whenever the object is written again."""


class PuttingStore(ObjectStore[Any]):
    """The Zarr store of an obstore that sends a checksum with each object, which is checked.

    `note` is given the key of each object that was taken, and the receipt of it. Where the service
    gives no tag there is none.
    """

    def __init__(
        self, store: Any, note: Callable[[str, Receipt], None], *, read_only: bool = False
    ) -> None:
        super().__init__(store, read_only=read_only)
        self._note = note

    @override
    def with_read_only(self, read_only: bool = False) -> PuttingStore:
        return PuttingStore(self.store, self._note, read_only=read_only)

    @override
    async def set(self, key: str, value: Buffer) -> None:
        from obstore import put_async

        if self.read_only:
            raise ValueError(f"{self} was opened to be read")
        content = value.to_bytes()
        taken = await put_async(self.store, key, content)
        tag = taken["e_tag"]
        if tag is not None:
            sha256 = hashlib.sha256(content).hexdigest()
            self._note(key, Receipt(len(content), sha256, tag))
