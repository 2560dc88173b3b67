"""CLIP through transformers: one embedding an image, one a text, both of unit length.

Source: Radford et al. (2021), arXiv:2103.00020.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ibstats import prompt_table
from ibstats.errors import IbstatsError, MissingWeights, Unmeasurable
from ibstats.extras import need
from ibstats.fidelity.base import AbstractNetwork, Features, Images
from ibstats.weights import file_sha256

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT = "openai/clip-vit-large-patch14"
"""torchmetrics' default of the CLIP score."""

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
    """Embedded texts."""

    features: Features
    """(text, feature), unit length."""
    n_tokens: np.ndarray
    """(text,), start and end marks included, before any cut."""
    limit: int
    """Tokens the network reads; a longer text is cut there, its end mark kept."""


class Clip(AbstractNetwork):
    """A CLIP by hub name (`owner/name`, `owner/name@revision`) or folder, with its own rule for images."""

    name = "clip"

    def __init__(
        self,
        checkpoint: str = DEFAULT,
        device: str = "cpu",
        batch_size: int = 64,
        *,
        download: bool = True,
    ) -> None:
        self.checkpoint = checkpoint
        self.device = device
        self.batch_size = batch_size
        self.download = download

    def asked(self) -> dict[str, Any]:
        """The checkpoint as the user named it."""
        return {"checkpoint": self.checkpoint}

    def settings(self) -> dict[str, Any]:
        """Digests of weights and of the files that prepare images and texts."""
        files = [
            next(f for name in names if (f := self.folder / name).is_file()) for names in FILES
        ]
        return self.asked() | {f.name: file_sha256(f) for f in files}

    def find_weights(self) -> None:
        """The checkpoint's folder, and the packages."""
        need("CLIP", *PACKAGES)
        _ = self.folder

    @cached_property
    def folder(self) -> Path:
        """The folder of the checkpoint's files; MissingWeights says which one lacks and where it would be."""
        if Path(self.checkpoint).is_dir():
            folder, reason = Path(self.checkpoint), "the folder is not whole"
        else:
            folder, reason = self._snapshot()
        for names in FILES:
            if not any((folder / name).is_file() for name in names):
                raise MissingWeights(
                    f"CLIP needs {' or '.join(names)} of '{self.checkpoint}', which is not in "
                    f"'{folder}' ({reason}); fetch it on a connected machine with `hf download {self.checkpoint}` and "
                    "copy that folder, or pass --clip FOLDER"
                )
        return folder

    def _snapshot(self) -> tuple[Path, str]:
        """Folder of the hub's snapshot on this machine, and what was tried if files are not in it."""
        need("CLIP", *PACKAGES, "huggingface_hub")
        from huggingface_hub import constants, errors, snapshot_download

        repository, _, revision = self.checkpoint.partition("@")
        reason = "no download was tried"
        for offline in (True, False) if self.download else (True,):
            try:
                folder = Path(
                    snapshot_download(
                        repository,
                        revision=revision or None,
                        allow_patterns=PATTERNS,
                        local_files_only=offline,
                    )
                )
            except errors.HFValidationError:
                raise MissingWeights(
                    f"CLIP '{self.checkpoint}' is neither a folder here nor a hub name 'owner/name'; pass --clip FOLDER"
                ) from None
            except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, OSError) as error:
                folder = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
                if not offline:
                    reason = f"download failed: {' '.join(str(error).split())[:120]}"
            else:
                if all(any((folder / name).is_file() for name in names) for names in FILES):
                    break
        return folder, reason

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """Network in evaluation mode and processor."""
        self.find_weights()
        from transformers import CLIPModel, CLIPProcessor

        kind = json.loads((self.folder / "config.json").read_text(encoding="utf-8")).get(
            "model_type"
        )
        if kind != "clip":
            raise IbstatsError(
                f"'{self.checkpoint}' holds a network of kind '{kind}', but the scores need 'clip'"
            )
        try:
            loaded: Any = CLIPModel.from_pretrained(
                self.folder, local_files_only=True, output_loading_info=True, dtype="float32"
            )
            processor = CLIPProcessor.from_pretrained(self.folder, local_files_only=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise IbstatsError(
                f"'{self.checkpoint}' does not load ({' '.join(str(error).split())[:200]})"
            ) from None
        network, report = loaded
        lacking = [
            key
            for keys in ("missing_keys", "mismatched_keys")
            for key in sorted(map(str, report[keys]))
        ]
        if lacking:
            raise IbstatsError(
                f"'{self.checkpoint}' lacks {len(lacking)} weights, first '{lacking[0]}'; fetch it again"
            )
        return network.to(self.device).eval().requires_grad_(False), processor

    def embed(self, images: Images) -> Features:
        """Image embeddings `(n, feature)`, through the checkpoint's own resize, crop and normalisation."""
        import torch

        network, processor = self._loaded
        parts = []
        with torch.inference_mode():
            for start in range(0, len(images), self.batch_size):
                pixels = torch.from_numpy(
                    np.ascontiguousarray(images[start : start + self.batch_size])
                )
                ready = processor.image_processor(
                    images=list(pixels.permute(0, 3, 1, 2)), return_tensors="pt"
                )
                parts.append(
                    _unit(network.get_image_features(ready["pixel_values"].to(self.device)))
                )
        return np.concatenate(parts)

    def embed_texts(self, texts: Sequence[str]) -> Texts:
        """Text embeddings; `n_tokens` above `limit` says which texts were cut."""
        import torch

        network, processor = self._loaded
        limit = int(network.config.text_config.max_position_embeddings)
        whole = processor.tokenizer(list(texts))["input_ids"]
        parts = []
        with torch.inference_mode():
            for start in range(0, len(texts), self.batch_size):
                tokens = processor.tokenizer(
                    list(texts[start : start + self.batch_size]),
                    padding=True,
                    truncation=True,
                    max_length=limit,
                    return_tensors="pt",
                ).to(self.device)
                parts.append(
                    _unit(network.get_text_features(tokens["input_ids"], tokens["attention_mask"]))
                )
        return Texts(np.concatenate(parts), np.array([len(ids) for ids in whole]), limit)


def _unit(output: Any) -> Features:
    """Rows of unit length; transformers before and after version 5 return different things."""
    features: Tensor = getattr(output, "pooler_output", output)
    features = features / features.norm(p=2, dim=-1, keepdim=True)
    return np.asarray(features.cpu().numpy(), dtype=np.float32)


def texts(network: Clip, wanted: Sequence[str], folder: Path) -> Texts:
    """Embedded texts, from the cache in `folder` or computed now; keyed by network and texts, as images are."""
    content = prompt_table.digest(list(wanted))
    try:
        settings = network.settings()
    except Unmeasurable:
        found = [
            f
            for f in sorted(folder.glob(f"clip-texts-{content[:16]}-*.npz"))
            if _asked(f) == network.asked()
        ]
        if len(found) != 1:
            raise
        file = found[0]
    else:
        file = folder / f"clip-texts-{content[:16]}-{prompt_table.digest(settings)[:16]}.npz"
    if not file.is_file():
        made = network.embed_texts(wanted)
        folder.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".partial.npz")
        np.savez(temporary, **made._asdict(), asked=json.dumps(network.asked()))
        temporary.replace(file)
    with np.load(file) as kept:
        return Texts(kept["features"], kept["n_tokens"], int(kept["limit"]))


def _asked(file: Path) -> Any:
    with np.load(file) as kept:
        return json.loads(str(kept["asked"]))
