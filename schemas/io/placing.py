"""A Zarr store in a folder, whose files being written say which object they are going to be."""

from __future__ import annotations

import asyncio

from typing_extensions import override
from zarr.core.buffer import Buffer
from zarr.storage import LocalStore

from schemas.io.files import being_written


class PlacingStore(LocalStore):
    """Zarr's store in a folder, which writes `c.4.5` as `.c.4.5.ID.partial` first.

    Zarr itself writes `c.4.ID.partial`, which may become any object of condition 4: who removes one
    of them, and what a killed write of it left, would take the files of others that write.
    """

    @override
    async def set(self, key: str, value: Buffer) -> None:
        await asyncio.to_thread(self.set_sync, key, value)

    @override
    def set_sync(self, key: str, value: Buffer) -> None:
        if self.read_only:
            raise ValueError(f"{self} was opened to be read")
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = being_written(path)
        try:
            temporary.write_bytes(value.as_buffer_like())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
