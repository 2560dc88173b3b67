"""A checkpoint of the model hub: its files, on this machine or fetched, and the network they hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ibstats.errors import IbstatsError, MissingWeights
from ibstats.extras import need
from ibstats.measure.base import Portable
from ibstats.measure.weights import from_home

PACKAGES = ("torch", "torchvision", "transformers")

CONFIG = "config.json"


class Checkpoint(Portable):
    """A network of the hub (`owner/name`, `owner/name@revision`) or in a folder of that form.

    `what` needs it, in messages; `needed` are the files it must hold, one of each; `fetched` are
    patterns of the files asked of the hub; `option` is how a user names a folder instead;
    `download` says whether files that lack are fetched.
    """

    def __init__(
        self,
        name: str,
        *,
        what: str,
        needed: Sequence[Sequence[str]],
        fetched: Sequence[str],
        option: str,
        download: bool,
    ) -> None:
        self.name = name
        self.what = what
        self.needed = needed
        self.fetched = fetched
        self.option = option
        self.download = download

    def find(self) -> Sequence[Path]:
        """Give the folder; MissingPackages without what runs it, else as `folder` raises."""
        need(self.what, *PACKAGES)
        return [self.folder]

    @cached_property
    def folder(self) -> Path:
        """The folder of the files; MissingWeights says which one lacks and where it would be."""
        if Path(self.name).is_dir():
            folder, reason = Path(self.name), "the folder is not whole"
        else:
            folder, reason = self._snapshot()
        for names in self.needed:
            if first(folder, names) is None:
                raise MissingWeights(
                    f"{self.what} needs {' or '.join(names)} of '{self.name}', which is not in "
                    f"'{from_home(folder)}' ({reason}); fetch it on a connected machine with "
                    f"`hf download {self.name}` and copy that folder, or pass {self.option}"
                )
        return folder

    def _snapshot(self) -> tuple[Path, str]:
        """Folder of the hub's snapshot, and what was tried if files are not in it."""
        need(self.what, *PACKAGES, "huggingface_hub")
        from huggingface_hub import constants, errors, snapshot_download

        repository, _, revision = self.name.partition("@")
        reason = "no download was tried"
        tries = [True]
        if self.download:
            tries.append(False)
        for offline in tries:
            try:
                found = snapshot_download(
                    repository,
                    revision=revision or None,
                    allow_patterns=list(self.fetched),
                    local_files_only=offline,
                )
            except errors.HFValidationError:
                raise MissingWeights(
                    f"{self.what} '{self.name}' is neither a folder here nor a hub name "
                    f"'owner/name'; pass {self.option}"
                ) from None
            except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, OSError) as error:
                folder = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
                if not offline:
                    reason = f"download failed: {' '.join(str(error).split())[:120]}"
            else:
                folder = Path(found)
                if all(first(folder, names) is not None for names in self.needed):
                    break
        return folder, reason

    def config(self) -> dict[str, Any]:
        """What the checkpoint says of its network."""
        text = (self.folder / CONFIG).read_text(encoding="utf-8")
        found: dict[str, Any] = json.loads(text)
        return found

    def load(self, network: Callable[..., Any], processor: Callable[..., Any]) -> tuple[Any, Any]:
        """Give the network, frozen in single precision, and what prepares its input.

        Both are `from_pretrained` of a class of transformers. Raises IbstatsError for files that do
        not load or lack weights.
        """
        from safetensors import SafetensorError

        try:
            loaded: Any = network(
                self.folder, local_files_only=True, output_loading_info=True, dtype="float32"
            )
            prepares = processor(self.folder, local_files_only=True)
        except (OSError, RuntimeError, ValueError, SafetensorError) as error:
            raise IbstatsError(
                f"'{self.name}' does not load ({' '.join(str(error).split())[:200]})"
            ) from None
        made, report = loaded
        lacking = sorted(map(str, report["missing_keys"]))
        lacking += sorted(map(str, report["mismatched_keys"]))
        if lacking:
            raise IbstatsError(
                f"'{self.name}' lacks {len(lacking)} weights, first '{lacking[0]}'; fetch it again"
            )
        return made.eval().requires_grad_(False), prepares


def first(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of some files that a folder holds; None where it holds none of them."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    return None
