"""Where a store lies: a folder of this machine, or the objects under a URL (`s3://bucket/run`).

Keys are relative paths with `/`. A key holds a whole object or nothing, whatever is killed meanwhile.
"""

from __future__ import annotations

import abc
import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zarr.abc.store import Store as ZarrStore

RETRIES = 8
"""Times that a request is sent again, ever later, before a service counts as unreachable: half a minute in all."""
CONNECTIONS = 32
"""Objects of a URL that are fetched at once."""


class FolderError(OSError):
    """A URL cannot be used or reached; the message is one line."""


REFUSED = {
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that can be written to",
    errno.ENOTDIR: "a file lies where a folder is needed; give another name",
    errno.EEXIST: "a file lies where a folder is needed; give another name",
    errno.EISDIR: "a folder lies where a file is needed; give another name",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ENOSPC: "free some room, then run the same command again",
    errno.EDQUOT: "free some room, then run the same command again",
}
"""What to do where the system refuses to read or write a file."""


def refusal(error: OSError) -> str | None:
    """What the system refused, and the repair, in one line; None for what no user can mend."""
    if isinstance(error, FolderError):
        return str(error)
    repair = REFUSED.get(error.errno or 0)
    if repair is None or error.filename is None:
        return None
    return f"'{error.filename}': {(error.strerror or '').lower()}; {repair}."


class Folder(abc.ABC):
    """Objects by key."""

    root: Path | str
    """The folder, or the URL."""

    def __str__(self) -> str:
        return str(self.root)

    @abc.abstractmethod
    def read(self, key: str) -> bytes:
        """The object; FileNotFoundError if there is none."""

    @abc.abstractmethod
    def size(self, key: str) -> int | None:
        """Bytes of the object, None if there is none."""

    @abc.abstractmethod
    def sizes(self, under: str) -> dict[str, int]:
        """Bytes of every object whose key begins with `under/`, by key; hidden names are left out."""

    @abc.abstractmethod
    def age(self, key: str) -> float:
        """Seconds since the object was last written; FileNotFoundError if there is none."""

    @abc.abstractmethod
    def create(self, key: str, content: bytes) -> None:
        """Make an object, durably, so that it appears whole or not at all; FileExistsError if the key is taken.

        Of several processes that create one key at once, exactly one succeeds.
        """

    @abc.abstractmethod
    def replace(self, key: str, content: bytes) -> None:
        """Write an object, whether or not there is one."""

    @abc.abstractmethod
    def remove(self, key: str) -> None:
        """Remove an object, if there is one."""

    @abc.abstractmethod
    def sync(self, key: str) -> None:
        """Make an object that another library wrote survive a power loss."""

    @abc.abstractmethod
    def free(self) -> int | None:
        """Bytes that can still be written, None where nothing sets a bound."""

    @abc.abstractmethod
    def zarr(self, under: str, *, read_only: bool) -> ZarrStore:
        """The Zarr store at a key."""

    def found(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The objects of those keys that there are, in their order."""
        pairs = ((key, self._read_or_none(key)) for key in keys)
        return {key: content for key, content in pairs if content is not None}

    def _read_or_none(self, key: str) -> bytes | None:
        try:
            return self.read(key)
        except FileNotFoundError:
            return None

    def exists(self, key: str) -> bool:
        """Whether there is an object of that key."""
        return self.size(key) is not None


class LocalFolder(Folder):
    """A folder on a file system that has hard links."""

    root: Path

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: str) -> Path:
        """The file of a key; a key that leads out of the folder names no object."""
        parts = PurePosixPath(key)
        if parts.is_absolute() or ".." in parts.parts:
            raise FileNotFoundError(f"'{key}' leads out of {self.root}")
        return self.root / parts

    def read(self, key: str) -> bytes:
        """The object."""
        return self.path(key).read_bytes()

    def size(self, key: str) -> int | None:
        """Bytes of the object."""
        try:
            path = self.path(key)
            return path.stat().st_size if path.is_file() else None
        except FileNotFoundError:
            return None

    def sizes(self, under: str) -> dict[str, int]:
        """Bytes of the objects under a key."""
        found = {}
        for folder, _, names in os.walk(self.root / under):
            prefix = os.path.relpath(folder, self.root).replace(os.sep, "/")
            for name in names:
                if not name.startswith("."):
                    try:
                        found[f"{prefix}/{name}"] = os.stat(os.path.join(folder, name)).st_size
                    except FileNotFoundError:  # gone since it was listed
                        continue
        return found

    def age(self, key: str) -> float:
        """Seconds since the object was last written."""
        return time.time() - self.path(key).stat().st_mtime

    def create(self, key: str, content: bytes) -> None:
        """Make an object: a synced temporary file, linked to its name."""
        path = self.path(key)
        with self._written(path, content) as temporary:
            os.link(temporary, path)
            try:
                _sync_directory(path.parent)
            except OSError:  # not durable, so not made
                path.unlink(missing_ok=True)
                raise

    def replace(self, key: str, content: bytes) -> None:
        """Write an object: a synced temporary file, renamed."""
        path = self.path(key)
        with self._written(path, content) as temporary:
            temporary.rename(path)
            _sync_directory(path.parent)

    @contextmanager
    def _written(self, path: Path, content: bytes) -> Iterator[Path]:
        """A synced temporary file beside `path`, which it is about to become."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    def remove(self, key: str) -> None:
        """Remove an object, and what a killed write of it left (zarr puts a name of its own for the last suffix)."""
        path = self.path(key)
        path.unlink(missing_ok=True)
        for left in path.parent.glob(f"{path.stem}.*.partial"):
            left.unlink(missing_ok=True)

    def sync(self, key: str) -> None:
        """Make an object survive a power loss."""
        with self.path(key).open("rb") as file:
            os.fsync(file.fileno())
        _sync_directory(self.path(key).parent)

    def free(self) -> int | None:
        """Bytes free on the disk."""
        return shutil.disk_usage(
            next(p for p in (self.root, *self.root.parents) if p.exists())
        ).free

    def zarr(self, under: str, *, read_only: bool) -> ZarrStore:
        """The Zarr store at a key."""
        from zarr.storage import LocalStore

        return LocalStore(
            (self.root / under).absolute(), read_only=read_only
        )  # workers may stand elsewhere


def _sync_directory(path: Path) -> None:
    """Make the names in a directory survive a power loss."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class RemoteFolder(Folder):
    """Objects of a service that can create one conditionally (S3's `If-None-Match`), through obstore."""

    root: str

    def __init__(self, url: str) -> None:
        self.root = url.rstrip("/")
        self._store = self._opened("")

    def _opened(self, under: str) -> Any:
        try:
            from obstore.exceptions import BaseError
            from obstore.store import from_url
        except ModuleNotFoundError:
            raise FolderError(
                f"'{self.root}' needs the package obstore, which is not installed: pip install 'ibstats[remote]'."
            ) from None
        # a service on this machine or in the house may speak plain HTTP: whoever names such an address means it
        plain = any(
            os.environ.get(name, "").startswith("http://")
            for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT")
        )
        try:
            return from_url(
                f"{self.root}/{under}".rstrip("/"), client_options={"allow_http": True} if plain else {},
                retry_config={"max_retries": RETRIES},
            )  # fmt: skip
        except (BaseError, ValueError, OSError) as error:
            raise self._unusable(error) from None

    def _unusable(self, error: BaseException) -> FolderError:
        reason = str(error).split("\n\nDebug source")[0]
        return FolderError(
            f"'{self.root}' cannot be used ({' '.join(reason.split())}): check the URL, the region and the credentials "
            "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL)."
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

    def read(self, key: str) -> bytes:
        """The object."""
        with self._said():
            return bytes(self._store.get(key).bytes())

    def found(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The objects that there are, fetched many at a time."""
        from concurrent.futures import ThreadPoolExecutor

        keys = list(keys)
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            contents = zip(keys, pool.map(self._read_or_none, keys), strict=True)
            return {key: content for key, content in contents if content is not None}

    def size(self, key: str) -> int | None:
        """Bytes of the object."""
        try:
            with self._said():
                return int(self._store.head(key)["size"])
        except FileNotFoundError:
            return None

    def sizes(self, under: str) -> dict[str, int]:
        """Bytes of the objects under a key."""
        with self._said():
            return {
                found["path"]: found["size"]
                for batch in self._store.list(f"{under}/")
                for found in batch
            }

    def age(self, key: str) -> float:
        """Seconds since the object was last written."""
        with self._said():
            return time.time() - float(self._store.head(key)["last_modified"].timestamp())

    def create(self, key: str, content: bytes) -> None:
        """Make an object by a conditional put."""
        try:
            with self._said():
                self._store.put(key, content, mode="create")
        except FileExistsError:
            # ours if the answer to the first attempt was lost, and it was sent again; another's may be gone by now
            if self._read_or_none(key) != content:
                raise

    def replace(self, key: str, content: bytes) -> None:
        """Write an object."""
        with self._said():
            self._store.put(key, content)

    def remove(self, key: str) -> None:
        """Remove an object."""
        with self._said():
            try:
                self._store.delete(key)
            except FileNotFoundError:
                return

    def sync(self, key: str) -> None:
        """Nothing to do: what the service has acknowledged is durable."""

    def free(self) -> int | None:
        """No bound."""
        return None

    def zarr(self, under: str, *, read_only: bool) -> ZarrStore:
        """The Zarr store at a key."""
        from zarr.storage import ObjectStore

        return ObjectStore(self._opened(under), read_only=read_only)


def folder(location: Path | str | Folder) -> Folder:
    """The folder at a path or URL."""
    if isinstance(location, Folder):
        return location
    text = str(location)
    return RemoteFolder(text) if "://" in text else LocalFolder(Path(location))
