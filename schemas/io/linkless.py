"""Zarr on file systems without hard links, such as FAT and some network shares."""

from __future__ import annotations

from typing_extensions import override
from zarr.core.buffer import Buffer
from zarr.storage import LocalStore

from schemas.io.files import LINKLESS


class LinklessStore(LocalStore):
    """Zarr's store in a folder, which makes metadata by a hard link: without links it writes them.

    A hierarchy is laid out where no other process looks (`schemas.io.laid_out`), so that nothing
    rests on the link.
    """

    @override
    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        try:
            await super().set_if_not_exists(key, value)
        except OSError as error:
            if error.errno not in LINKLESS:
                raise
            if not await self.exists(key):
                await self.set(key, value)
