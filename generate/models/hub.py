"""Repositories of the hub: what they hold, what of it would be fetched, and fetching it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generate.errors import DiskFullError, ModelError
from generate.models.memory import gigabytes


@dataclass(frozen=True)
class Listed:
    """A file of a repository or a folder, fetched or not.

    `name` is its path there, `n_bytes` its size; `is_here` says that it need not be fetched.
    """

    name: str
    n_bytes: int
    is_here: bool


@dataclass(frozen=True)
class Listing:
    """Files of a repository at one commit, and the folder of the local cache that they have there."""

    folder: Path
    files: tuple[Listed, ...]


def listing(repository: str, revision: str | None, files: Sequence[str]) -> Listing | None:
    """Files of a repository that match one of some globs, with their sizes; fetches none of them.

    `revision` None is the main branch. None is returned where the hub does not answer, or has no
    such file.
    """
    from huggingface_hub import errors, snapshot_download

    found: Any = None
    with _told(repository, revision), suppress(errors.DryRunError):
        found = snapshot_download(
            repository, revision=revision, allow_patterns=list(files), dry_run=True
        )
    if not found:
        return None
    listed = []
    for file in found:
        listed.append(Listed(file.filename, file.file_size or 0, file.is_cached))
    depth = found[0].filename.count("/")
    return Listing(Path(found[0].local_path).parents[depth], tuple(listed))


def fetch(repository: str, revision: str | None, files: Sequence[Listed]) -> None:
    """Fetch those of some files of a repository that are not in the local cache.

    Raises DiskFullError if there is no room for them, before the first is fetched, and ModelError
    where the hub fails.
    """
    from huggingface_hub import snapshot_download

    wanted = [file for file in files if not file.is_here]
    if not wanted:
        return
    refuse_too_large(repository, sum(file.n_bytes for file in wanted))
    with _told(repository, revision):
        names = [file.name for file in wanted]
        snapshot_download(repository, revision=revision, allow_patterns=names)


def cached(repository: str, revision: str | None, *, ask: bool) -> Path:
    """The folder of a repository's snapshot in the local cache, whole or not; fetches nothing.

    Raises ModelError if there is none; where the hub may be asked, with what it says of the
    repository: gated, unknown, or out of reach.
    """
    from huggingface_hub import snapshot_download

    with _told(repository, revision):
        folder = snapshot_download(
            repository, revision=revision, allow_patterns=[], local_files_only=not ask
        )
    return Path(folder)


def refuse_too_large(repository: str, n_bytes: int) -> None:
    """Raise DiskFullError if the disk of the local cache has no room for `n_bytes` more."""
    free = free_for_cache()
    if n_bytes > free:
        raise DiskFullError(
            f"checkpoint '{repository}' takes {gigabytes(n_bytes)} more in {cache_folder()}, but "
            f"there are {gigabytes(free)} free: free some, or point HF_HOME to another disk."
        )


def cache_folder() -> Path:
    """Where huggingface_hub keeps what it fetched."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def free_for_cache() -> int:
    """Bytes free on the disk that the local cache lies on, whether it is made yet or not."""
    place = cache_folder().expanduser().absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


@contextmanager
def _told(repository: str, revision: str | None) -> Iterator[None]:
    """What the hub says, in one line that tells how to go on."""
    from huggingface_hub import errors

    what = f"checkpoint '{repository}'"
    if revision:
        what += f" at revision '{revision}'"
    try:
        yield
    except errors.HFValidationError:
        raise ModelError(
            f"{what} is neither a folder here nor a hub name 'owner/name': correct it."
        ) from None
    except errors.GatedRepoError:
        raise ModelError(
            f"{what} is gated: accept its licence on its hub page, then run `hf auth login`."
        ) from None
    except errors.RepositoryNotFoundError:
        raise ModelError(
            f"{what} is not on the hub, or is private: correct the name, or `hf auth login`."
        ) from None
    except errors.RevisionNotFoundError:
        raise ModelError(
            f"{what} does not exist: name a branch, tag or commit the repository has."
        ) from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, OSError) as error:
        offline = isinstance(error, errors.OfflineModeIsEnabled)
        reason = "; HF_HUB_OFFLINE is set" if offline else ""
        raise ModelError(
            f"{what} is not in the local cache and the hub cannot be reached{reason}: connect once, "
            "point HF_HOME to a cache that has it, or name a folder."
        ) from None
