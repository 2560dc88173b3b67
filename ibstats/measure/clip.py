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

from ibstats.errors import IbstatsError, Unmeasurable
from ibstats.measure.base import Embedding, Features, Images
from ibstats.measure.hub import Checkpoint, first
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
        self._files = Checkpoint(
            self.checkpoint,
            what="CLIP",
            needed=FILES,
            fetched=PATTERNS,
            option="--clip FOLDER",
            download=download,
        )

    def asked(self) -> dict[str, Any]:
        """Give the checkpoint as the user named it."""
        return {"checkpoint": self.checkpoint}

    def settings(self) -> dict[str, Any]:
        """Give digests of the weights and of the files that prepare images and texts.

        Raises MissingWeights where the checkpoint is not on this machine.
        """
        found = self.asked()
        for names in FILES:
            file = first(self.folder, names)
            if file is not None:
                found[file.name] = file_sha256(file)
        return found

    def find_weights(self) -> Sequence[Path]:
        """Give the checkpoint's folder.

        Raises MissingPackages without torch, torchvision and transformers, and MissingWeights where
        the checkpoint lacks and cannot be fetched.
        """
        return self._files.find()

    @property
    def folder(self) -> Path:
        """The folder of the checkpoint's files; MissingWeights says which one lacks and where it
        would be.
        """
        return self._files.folder

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """Network in evaluation mode and processor."""
        self.find_weights()
        from transformers import CLIPModel, CLIPProcessor

        kind = self._files.config().get("model_type")
        if kind != "clip":
            raise IbstatsError(
                f"'{self.checkpoint}' holds a network of kind '{kind}', but the scores need 'clip'"
            )
        network, processor = self._files.load(
            CLIPModel.from_pretrained, CLIPProcessor.from_pretrained
        )
        return network.to(self.device), processor

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
                pixels = torch.from_numpy(np.require(images[batch], requirements=["C", "W"]))
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


def _batches(n: int, size: int) -> Iterator[slice]:
    for start in range(0, n, size):
        yield slice(start, start + size)


def _unit(output: Any) -> Features:
    """Rows of unit length; transformers before and after version 5 return different things."""
    features: Tensor = getattr(output, "pooler_output", output)
    features = features / features.norm(p=2, dim=-1, keepdim=True)
    return np.asarray(features.cpu().numpy(), dtype=np.float32)
