"""Where a store lies: a folder of this machine, or the objects under a URL (`s3://bucket/run`).

Keys are relative paths with `/`. A key holds a whole object or nothing, whatever is killed
meanwhile.
"""

from __future__ import annotations

import abc
import os
import shutil
import time
import uuid
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from schemas.io.files import LINKLESS, is_temporary, sync, time_there
from schemas.io.refused import FolderError, in_clear

if TYPE_CHECKING:
    from zarr.abc.store import Store as ZarrStore

    from schemas.io.putting import Receipt

RETRIES = 8
"""Times that a request is sent again, ever later, before a service counts as unreachable.

It takes half a minute in all.
"""
RECEIPTS = 1024
"""Receipts that are kept at most: those of the objects of one block, and some."""
CONNECTIONS = 32
"""Objects of a URL that are fetched at once."""


class Folder(abc.ABC):
    """Objects by key: a key holds a whole object or nothing.

    Every method raises FolderError where a URL cannot be used or reached, and OSError where the
    system refuses.
    """

    root: Path | str
    """The folder, or the URL."""

    def __str__(self) -> str:
        return str(self.root)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    @abc.abstractmethod
    def read(self, key: str) -> bytes:
        """Give the object.

        Raises FileNotFoundError if there is none.
        """

    @abc.abstractmethod
    def size(self, key: str) -> int | None:
        """Give the bytes of the object, None if there is none."""

    @abc.abstractmethod
    def sizes(self, under: str) -> dict[str, int]:
        """Give the bytes of every object whose key begins with `under/`, by key.

        Names of files being written are left out.
        """

    @abc.abstractmethod
    def age(self, key: str) -> float:
        """Give the seconds since the object was last written, whatever the clock here says.

        Raises FileNotFoundError if there is none.
        """

    @abc.abstractmethod
    def create(self, key: str, content: bytes) -> None:
        """Make an object, durably, so that it appears whole or not at all.

        Raises FileExistsError if the key is taken: of several processes that create one key at
        once, exactly one succeeds.
        """

    @abc.abstractmethod
    def replace(self, key: str, content: bytes) -> None:
        """Write an object, durably, whether or not there is one.

        A reader sees the old object or the new one, whole.
        """

    @abc.abstractmethod
    def remove(self, key: str) -> None:
        """Remove an object, if there is one."""

    @abc.abstractmethod
    def sync(self, key: str) -> None:
        """Make an object that another library wrote survive a power loss."""

    @abc.abstractmethod
    def free(self) -> int | None:
        """Give the bytes that can still be written, None where nothing sets a bound."""

    @abc.abstractmethod
    def zarr(self, under: str, *, read_only: bool) -> ZarrStore:
        """Give the Zarr store at a key."""

    def receipt(self, key: str) -> Receipt | None:
        """Give the receipt of an object that a Zarr store of this folder wrote last.

        None where who keeps it did not check it, so that it is to be read back; as here.
        """
        return None

    def is_as_put(self, key: str) -> bool:
        """Say whether an object is still the one that there is a receipt of; False without one."""
        return False

    def found(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Give the objects of those keys that there are, in their order."""
        contents = {}
        for key in keys:
            content = self._read_or_none(key)
            if content is not None:
                contents[key] = content
        return contents

    def _read_or_none(self, key: str) -> bytes | None:
        try:
            return self.read(key)
        except FileNotFoundError:
            return None

    def discard(self, keys: Iterable[str]) -> None:
        """Remove objects that nobody is writing, durably, many at once.

        What killed writes of them left may stay.
        """
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            list(pool.map(self.remove, keys))

    def ensure(self, key: str, content: bytes) -> None:
        """Make an object, durably, unless it is there with that content.

        One with another content was damaged, or left by a killed process: it is replaced.
        """
        try:
            self.create(key, content)
        except FileExistsError:
            if self.read(key) != content:
                self.replace(key, content)

    def exists(self, key: str) -> bool:
        """Say whether there is an object of that key."""
        return self.size(key) is not None


class LocalFolder(Folder):
    """A folder on a file system.

    An object is written as a synced temporary file beside its place, and linked or renamed there.
    Where there are no hard links (FAT, some network shares), a new object is made by exclusive
    creation: a process killed within that one write leaves it short, which its reader notices.
    """

    root: Path

    def __init__(self, root: Path) -> None:
        self.root = root

    def __reduce__(self) -> tuple[type[LocalFolder], tuple[Path]]:
        """Travel by the absolute path: a worker need not stand in the same folder."""
        return LocalFolder, (self.root.absolute(),)

    def path(self, key: str) -> Path:
        """Give the file of a key.

        Raises FileNotFoundError for a key that leads out of the folder, as it names no object.
        """
        parts = PurePosixPath(key)
        if parts.is_absolute() or ".." in parts.parts:
            raise FileNotFoundError(f"'{key}' leads out of {self.root}")
        return self.root / parts

    @override
    def read(self, key: str) -> bytes:
        return self.path(key).read_bytes()

    @override
    def size(self, key: str) -> int | None:
        try:
            path = self.path(key)
            if path.is_file():
                return path.stat().st_size
        except FileNotFoundError:
            pass
        return None

    @override
    def sizes(self, under: str) -> dict[str, int]:
        found = {}
        for folder, _, names in os.walk(self.root / under):
            prefix = os.path.relpath(folder, self.root).replace(os.sep, "/")
            for name in names:
                if is_temporary(name):
                    continue
                try:
                    found[f"{prefix}/{name}"] = os.stat(os.path.join(folder, name)).st_size
                except FileNotFoundError:  # gone since it was listed
                    continue
        return found

    @override
    def age(self, key: str) -> float:
        path = self.path(key)
        written = path.stat().st_mtime
        return time_there(path.parent) - written

    @override
    def create(self, key: str, content: bytes) -> None:
        path = self.path(key)
        with self._written(path, content) as temporary:
            try:
                os.link(temporary, path)
            except OSError as error:
                if error.errno not in LINKLESS:
                    raise
                _write_new(path, content)
            try:
                sync(path.parent)
            except OSError:  # not durable, so not made
                path.unlink(missing_ok=True)
                raise

    @override
    def replace(self, key: str, content: bytes) -> None:
        path = self.path(key)
        with self._written(path, content) as temporary:
            temporary.rename(path)
            sync(path.parent)

    @contextmanager
    def _written(self, path: Path, content: bytes) -> Iterator[Path]:
        """A synced temporary file beside `path`, which it is about to become."""
        path.parent.mkdir(parents=True, exist_ok=True)
        # Its name ends unlike an object's, so that nobody who lists by ending takes it for one.
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    @override
    def remove(self, key: str) -> None:
        self.path(key).unlink(missing_ok=True)

    @override
    def discard(self, keys: Iterable[str]) -> None:
        paths = [self.path(key) for key in keys]
        for path in paths:
            path.unlink(missing_ok=True)
        for place in {path.parent for path in paths if path.parent.is_dir()}:
            sync(place)

    @override
    def sync(self, key: str) -> None:
        sync(self.path(key))
        sync(self.path(key).parent)

    @override
    def free(self) -> int | None:
        there = next(path for path in (self.root, *self.root.parents) if path.exists())
        return shutil.disk_usage(there).free

    @override
    def zarr(self, under: str, *, read_only: bool) -> ZarrStore:
        from zarr.storage import LocalStore

        where = (self.root / under).absolute()  # workers may stand elsewhere
        return LocalStore(where, read_only=read_only)


def _write_new(path: Path, content: bytes) -> None:
    """Write a file that must not be there yet, durably, or leave none."""
    with path.open("xb") as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            path.unlink(missing_ok=True)
            raise


class RemoteFolder(Folder):
    """Objects of a service that can create one conditionally, by obstore.

    With S3 that is a put with `If-None-Match`, and each put carries the sha256 of its content, which
    the service checks before it takes it. What the service refuses is raised as FolderError.
    """

    root: str

    def __init__(self, url: str) -> None:
        self.root = url.rstrip("/")
        self._store = self._opened("")
        self._receipts: dict[str, Receipt] = {}

    def _opened(self, under: str) -> Any:
        try:
            from obstore.exceptions import BaseError
            from obstore.store import from_url
        except ModuleNotFoundError:
            raise FolderError(
                f"'{self.root}' needs the package obstore, which is not installed: "
                "pip install 'ibstats[remote]'."
            ) from None
        options = {}
        checked = {"checksum_algorithm": "SHA256"} if self._checks_puts else {}
        # A service on this machine or in the house may speak plain HTTP: whoever names such an
        # address means it.
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
            endpoint = os.environ.get(name, "")
            if endpoint.startswith("http://"):
                options = {"allow_http": True}
            if in_clear(endpoint):
                warnings.warn(
                    f"{name} is {endpoint}: samples and session tokens travel unencrypted; use "
                    "https:// outside a network that you trust",
                    stacklevel=2,
                )
        try:
            return from_url(
                f"{self.root}/{under}".rstrip("/"),
                client_options=options,
                **checked,
                retry_config={"max_retries": RETRIES},
            )
        except (BaseError, ValueError, OSError) as error:
            raise self._unusable(error) from None

    def _unusable(self, error: BaseException) -> FolderError:
        reason = str(error).split("\n\nDebug source")[0]
        return FolderError(
            f"'{self.root}' cannot be used ({' '.join(reason.split())}): check the URL, the region "
            "and the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, "
            "AWS_ENDPOINT_URL)."
        )

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Turn what the service refuses into one line."""
        from obstore.exceptions import AlreadyExistsError, BaseError

        try:
            yield
        except AlreadyExistsError as error:
            raise FileExistsError(str(error).splitlines()[0]) from None
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise self._unusable(error) from None
            raise
        except BaseError as error:
            raise self._unusable(error) from None

    @override
    def read(self, key: str) -> bytes:
        with self._said():
            return bytes(self._store.get(key).bytes())

    @override
    def found(self, keys: Iterable[str]) -> dict[str, bytes]:
        keys = list(keys)
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            contents = zip(keys, pool.map(self._read_or_none, keys), strict=True)
            return {key: content for key, content in contents if content is not None}

    @override
    def size(self, key: str) -> int | None:
        try:
            with self._said():
                return int(self._store.head(key)["size"])
        except FileNotFoundError:
            return None

    @override
    def sizes(self, under: str) -> dict[str, int]:
        found = {}
        with self._said():
            for batch in self._store.list(f"{under}/"):
                for listed in batch:
                    found[listed["path"]] = listed["size"]
        return found

    @override
    def age(self, key: str) -> float:
        with self._said():  # services refuse who is off by more than a quarter of an hour
            return time.time() - float(self._store.head(key)["last_modified"].timestamp())

    @override
    def create(self, key: str, content: bytes) -> None:
        try:
            with self._said():
                self._store.put(key, content, mode="create")
        except FileExistsError:
            # Ours, if the answer to the first attempt was lost and it was sent again; another's
            # may be gone by now.
            if self._read_or_none(key) != content:
                raise

    @override
    def replace(self, key: str, content: bytes) -> None:
        with self._said():
            self._store.put(key, content)

    @override
    def remove(self, key: str) -> None:
        with self._said():
            try:
                self._store.delete(key)
            except FileNotFoundError:
                return

    @override
    def sync(self, key: str) -> None:
        return  # what the service has acknowledged is durable

    @override
    def free(self) -> int | None:
        return None

    @property
    def _checks_puts(self) -> bool:
        """Whether the service compares what it gets with the sha256 that comes with it."""
        return self.root.startswith(("s3://", "s3a://"))

    @override
    def receipt(self, key: str) -> Receipt | None:
        return self._receipts.get(key)

    @override
    def is_as_put(self, key: str) -> bool:
        receipt = self._receipts.pop(key, None)
        if receipt is None:
            return False
        try:
            with self._said():
                return bool(self._store.head(key)["e_tag"] == receipt.tag)
        except FileNotFoundError:
            return False

    @override
    def zarr(self, under: str, *, read_only: bool) -> ZarrStore:
        from zarr.storage import ObjectStore

        from schemas.io.putting import PuttingStore

        opened = self._opened(under)
        if read_only or not self._checks_puts:
            return ObjectStore(opened, read_only=read_only)
        return PuttingStore(opened, partial(self._note, under))

    def _note(self, under: str, key: str, receipt: Receipt) -> None:
        """Keep the receipt of an object below a key, in the place of the oldest."""
        while len(self._receipts) >= RECEIPTS:
            self._receipts.pop(next(iter(self._receipts)))
        self._receipts[f"{under}/{key}"] = receipt


def folder(location: Path | str | Folder) -> Folder:
    """Give the folder at a path or URL.

    >>> folder("runs/a")
    <LocalFolder runs/a>
    >>> folder(folder("runs/a")).exists("run.json")
    False
    """
    if isinstance(location, Folder):
        return location
    text = str(location)
    if "://" in text:
        return RemoteFolder(text)
    return LocalFolder(Path(location))
