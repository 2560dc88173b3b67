"""CLIP through transformers: one embedding an image, one a text, both of unit length.

Source: Radford et al. (2021), arXiv:2103.00020.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ibstats.errors import IbstatsError, MissingWeights, Unmeasurable
from ibstats.extras import need
from ibstats.measure.base import Embedding, Features, Images
from ibstats.measure.kept import digest
from schemas.analysis import DEFAULT_CLIP
from schemas.io.arrays import UnreadableArrays, read_sealed, write_sealed
from schemas.io.files import file_sha256

if TYPE_CHECKING:
    from torch import Tensor

FILES = (
    ("config.json",),
    ("model.safetensors", "pytorch_model.bin"),
    ("preprocessor_config.json", "processor_config.json"),
    ("tokenizer.json", "vocab.json"),
)
"""What a checkpoint must hold: one of each."""

PATTERNS = ["*.json", "*.txt", "model.safetensors"]
"""Files asked of the hub."""

PACKAGES = ("torch", "torchvision", "transformers")


class Texts(NamedTuple):
    """Embedded texts, and how long they were.

    Where `n_tokens` is above `limit` the text was cut.
    """

    features: Features
    """(text, feature), unit length."""
    n_tokens: NDArray[Any]
    """(text,), start and end marks included, before any cut."""
    limit: int
    """Tokens the network reads; a longer text is cut there, its end mark kept."""


class Clip(Embedding):
    """A CLIP with its own rule for images.

    `weights` is a checkpoint: a hub name (`owner/name`, `owner/name@revision`) or a folder.
    """

    name = "clip"
    settings_need_weights = True

    def __init__(
        self,
        weights: str | Path | None = None,
        device: str = "cpu",
        batch_size: int = 64,
        *,
        download: bool = True,
    ) -> None:
        super().__init__(weights, device, batch_size, download=download)
        self.checkpoint = DEFAULT_CLIP if weights is None else str(weights)

    def asked(self) -> dict[str, Any]:
        """Give the checkpoint as the user named it."""
        return {"checkpoint": self.checkpoint}

    def settings(self) -> dict[str, Any]:
        """Give digests of the weights and of the files that prepare images and texts.

        Raises MissingWeights where the checkpoint is not on this machine.
        """
        found = self.asked()
        for names in FILES:
            file = _first(self.folder, names)
            if file is not None:
                found[file.name] = file_sha256(file)
        return found

    def find_weights(self) -> Sequence[Path]:
        """Give the checkpoint's folder.

        Raises MissingPackages without torch, torchvision and transformers, and MissingWeights where
        the checkpoint lacks and cannot be fetched.
        """
        need("CLIP", *PACKAGES)
        return [self.folder]

    @cached_property
    def folder(self) -> Path:
        """The folder of the checkpoint's files; MissingWeights says which one lacks and where it
        would be.
        """
        if Path(self.checkpoint).is_dir():
            folder, reason = Path(self.checkpoint), "the folder is not whole"
        else:
            folder, reason = self._snapshot()
        for names in FILES:
            if _first(folder, names) is None:
                raise MissingWeights(
                    f"CLIP needs {' or '.join(names)} of '{self.checkpoint}', which is not in "
                    f"'{folder}' ({reason}); fetch it on a connected machine with "
                    f"`hf download {self.checkpoint}` and copy that folder, or pass --clip FOLDER"
                )
        return folder

    def _snapshot(self) -> tuple[Path, str]:
        """Folder of the hub's snapshot, and what was tried if files are not in it."""
        need("CLIP", *PACKAGES, "huggingface_hub")
        from huggingface_hub import constants

        repository, _, revision = self.checkpoint.partition("@")
        cached = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
        reason = "no download was tried"
        is_hub_name = repository.count("/") == 1
        if is_hub_name and not self.download and not cached.is_dir():
            return cached, reason  # the hub's client takes half a second to import
        from huggingface_hub import errors, snapshot_download

        tries = [True]
        if self.download:
            tries.append(False)
        for offline in tries:
            try:
                found = snapshot_download(
                    repository,
                    revision=revision or None,
                    allow_patterns=PATTERNS,
                    local_files_only=offline,
                )
            except errors.HFValidationError:
                raise MissingWeights(
                    f"CLIP '{self.checkpoint}' is neither a folder here nor a hub name "
                    "'owner/name'; pass --clip FOLDER"
                ) from None
            except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, OSError) as error:
                folder = cached
                if not offline:
                    reason = f"download failed: {' '.join(str(error).split())[:120]}"
            else:
                folder = Path(found)
                if all(_first(folder, names) is not None for names in FILES):
                    break
        return folder, reason

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """Network in evaluation mode and processor."""
        self.find_weights()
        from transformers import CLIPModel, CLIPProcessor

        folder = self.folder
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind = config.get("model_type")
        if kind != "clip":
            raise IbstatsError(
                f"'{self.checkpoint}' holds a network of kind '{kind}', but the scores need 'clip'"
            )
        try:
            loaded: Any = CLIPModel.from_pretrained(
                folder, local_files_only=True, output_loading_info=True, dtype="float32"
            )
            processor = CLIPProcessor.from_pretrained(folder, local_files_only=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise IbstatsError(
                f"'{self.checkpoint}' does not load ({' '.join(str(error).split())[:200]})"
            ) from None
        network, report = loaded
        lacking = sorted(map(str, report["missing_keys"]))
        lacking += sorted(map(str, report["mismatched_keys"]))
        if lacking:
            raise IbstatsError(
                f"'{self.checkpoint}' lacks {len(lacking)} weights, first '{lacking[0]}'; fetch it "
                "again"
            )
        return network.to(self.device).eval().requires_grad_(False), processor

    def embed(self, images: Images) -> Features:
        """Give unit-length embeddings `(n, feature)` of images `(n, y, x, channel)`.

        They pass the checkpoint's own resize, crop and normalisation. Raises IbstatsError for a
        checkpoint that is no CLIP or lacks weights.
        """
        import torch

        network, processor = self._loaded
        parts = []
        with torch.inference_mode():
            for batch in _batches(len(images), self.batch_size):
                pixels = torch.from_numpy(np.ascontiguousarray(images[batch]))
                ready = processor.image_processor(
                    images=list(pixels.permute(0, 3, 1, 2)), return_tensors="pt"
                )
                features = network.get_image_features(ready["pixel_values"].to(self.device))
                parts.append(_unit(features))
        return np.concatenate(parts)

    def embed_texts(self, texts: Sequence[str]) -> Texts:
        """Give unit-length embeddings `(text, feature)` of texts, in order, and their lengths.

        A text longer than the network reads is cut, its end mark kept. Raises as `embed` does.
        """
        import torch

        network, processor = self._loaded
        limit = int(network.config.text_config.max_position_embeddings)
        whole = processor.tokenizer(list(texts))["input_ids"]
        parts = []
        with torch.inference_mode():
            for batch in _batches(len(texts), self.batch_size):
                tokens = processor.tokenizer(
                    list(texts[batch]),
                    padding=True,
                    truncation=True,
                    max_length=limit,
                    return_tensors="pt",
                ).to(self.device)
                features = network.get_text_features(tokens["input_ids"], tokens["attention_mask"])
                parts.append(_unit(features))
        return Texts(np.concatenate(parts), np.array([len(ids) for ids in whole]), limit)


def texts(network: Clip, wanted: Sequence[str], folder: Path) -> Texts:
    """Give embedded texts, from the cache in `folder` or computed now; keyed by network and texts,
    as images are.

    Where the weights are missing, the embeddings of these texts under the same asked-for network
    are taken from the cache; MissingWeights if there are none.
    """
    content = digest(list(wanted))[:16]
    try:
        settings = network.settings()
    except Unmeasurable:
        found = _kept(network, content, folder)
        if len(found) != 1:
            raise
        file = found[0]
    else:
        file = folder / f"clip-texts-{content}-{digest(settings)[:16]}.npz"
    kept = _whole(file)
    if kept is None:
        made = network.embed_texts(wanted)
        asked = np.array(json.dumps(network.asked()))
        write_sealed(file, {**made._asdict(), "asked": asked})
        return made
    return Texts(kept["features"], kept["n_tokens"], int(kept["limit"]))


def _whole(file: Path) -> dict[str, NDArray[Any]] | None:
    """What is kept in a file, None where there is none; a warning where it is damaged."""
    if not file.is_file():
        return None
    try:
        kept = read_sealed(file)
    except UnreadableArrays as error:
        warnings.warn(f"'{file}' is damaged ({error.reason}); made again", stacklevel=3)
        return None
    if not {"features", "n_tokens", "limit", "asked"} <= kept.keys():
        warnings.warn(f"'{file}' is damaged (arrays are missing); made again", stacklevel=3)
        return None
    return kept


def _kept(network: Clip, content: str, folder: Path) -> list[Path]:
    """Embeddings of the texts of that digest under the asked-for network, computed wherever its
    weights were.
    """
    found = []
    for file in sorted(folder.glob(f"clip-texts-{content}-*.npz")):
        kept = _whole(file)
        if kept is not None and json.loads(str(kept["asked"])) == network.asked():
            found.append(file)
    return found


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of some files that a folder holds."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    return None


def _batches(n: int, size: int) -> Iterator[slice]:
    for start in range(0, n, size):
        yield slice(start, start + size)


def _unit(output: Any) -> Features:
    """Rows of unit length; transformers before and after version 5 return different things."""
    features: Tensor = getattr(output, "pooler_output", output)
    features = features / features.norm(p=2, dim=-1, keepdim=True)
    return np.asarray(features.cpu().numpy(), dtype=np.float32)
