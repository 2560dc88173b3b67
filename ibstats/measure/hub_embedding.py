"""Pooled features of any image network of the model hub that transformers runs.

DINOv2 and DINOv3 (the normalised class token), SigLIP, SigLIP 2 and CLIP (the embedding that is
compared with texts), and every other network with one pooled vector an image.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ibstats.errors import IbstatsError
from ibstats.measure.base import Embedding, Features, Images, in_batches, resized
from ibstats.measure.hub import CONFIG, Checkpoint
from schemas.io.files import file_sha256

if TYPE_CHECKING:
    from torch import Tensor

PREPARED = "preprocessor_config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
NEEDED = ((CONFIG,), WEIGHTS, (PREPARED, "processor_config.json"))
FETCHED = ("*.json", "*.safetensors")
"""Files asked of the hub."""

OWN_RULE = "the checkpoint's own resize, crop and normalisation"


class HubEmbedding(Embedding):
    """Features of a checkpoint, one vector an image, in single precision.

    `checkpoint` is a hub name (`owner/name`, `owner/name@revision`) or a folder; `weights` a folder
    that stands in for it.

    >>> HubEmbedding("facebook/dinov2-base", download=False).name
    'facebook_dinov2_base'
    """

    settings_need_weights = True
    stretched: ClassVar[int | None] = None
    """Side that the whole image is brought to, without a crop; None: the checkpoint's own rule."""
    unit_length: ClassVar[bool] = False
    """Whether features are divided by their length."""

    def __init__(
        self,
        checkpoint: str,
        weights: str | Path | None = None,
        device: str = "cpu",
        batch_size: int = 64,
        *,
        download: bool = True,
    ) -> None:
        super().__init__(weights, device, batch_size, download=download)
        self.checkpoint = checkpoint
        own = Path(checkpoint).name if Path(checkpoint).is_dir() else checkpoint
        self.name = re.sub(r"[^a-z0-9]+", "_", own.lower()).strip("_")
        self.long_name = own
        self.short_name = own.rsplit("/", 1)[-1]
        self.files = Checkpoint(
            str(weights or checkpoint),
            what=f"the embedding '{checkpoint}'",
            needed=NEEDED,
            fetched=FETCHED,
            option=f"--weights {checkpoint}=FOLDER",
            download=download,
        )

    def asked(self) -> dict[str, Any]:
        """Give the checkpoint as the user named it, and the rule for images."""
        rule = OWN_RULE
        if self.stretched is not None:
            side = self.stretched
            rule = f"{side}x{side}, whole image, bicubic, antialiased; {PREPARED}'s normalisation"
        features = "pooled, unit length" if self.unit_length else "pooled"
        return {"checkpoint": self.checkpoint, "input": rule, "features": features}

    def settings(self) -> dict[str, Any]:
        """Give digests of the weights and of what prepares images.

        Raises MissingWeights where the checkpoint is not on this machine.
        """
        found = self.asked()
        folder = self.files.folder
        files = {folder / CONFIG, folder / PREPARED, *folder.glob("*.safetensors")}
        if not any(folder.glob("*.safetensors")):
            files.add(folder / WEIGHTS[-1])
        for file in sorted(files):
            if file.is_file():
                found[file.name] = file_sha256(file)
        return found

    def find_weights(self) -> Sequence[Path]:
        """Give the checkpoint's folder.

        Raises MissingPackages without torch, torchvision and transformers, and MissingWeights where
        the checkpoint lacks and cannot be fetched.
        """
        return self.files.find()

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """Network in evaluation mode and image processor."""
        self.find_weights()
        from transformers import AutoImageProcessor, AutoModel

        network, processor = self.files.load(
            AutoModel.from_pretrained, AutoImageProcessor.from_pretrained
        )
        if not hasattr(network, "get_image_features") and network.main_input_name != "pixel_values":
            raise IbstatsError(
                f"'{self.checkpoint}' holds a network of kind '{self.files.config()['model_type']}', "
                "which takes no images"
            )
        return network.to(self.device), processor

    def embed(self, images: Images) -> Features:
        """Give features `(n, feature)` of images `(n, y, x, channel)`.

        Raises MissingWeights and MissingPackages as `find_weights` does, IbstatsError for a
        checkpoint that does not load, or gives no pooled features.
        """
        return in_batches(images, self._forward, self.device, self.batch_size)

    def _forward(self, pixels: Tensor) -> Tensor:
        network, _ = self._loaded
        ready = self._prepared(pixels)
        if hasattr(network, "get_image_features"):
            output = network.get_image_features(**ready)
        else:
            output = network(**ready)
        features = getattr(output, "pooler_output", output)
        if features is None or not hasattr(features, "shape"):
            raise IbstatsError(
                f"'{self.checkpoint}' gives no pooled features of an image; take a network that "
                "does, such as facebook/dinov2-base"
            )
        flat: Tensor = features.flatten(1)
        if self.unit_length:
            flat = flat / flat.norm(dim=1, keepdim=True)
        return flat

    def _prepared(self, pixels: Tensor) -> Any:
        """8-bit images `(n, channel, y, x)` as the network takes them, by the names of its inputs."""
        _, processor = self._loaded
        if self.stretched is None:
            ready = processor(images=list(pixels.cpu()), return_tensors="pt")
            return ready.to(self.device)
        values = resized(pixels, (self.stretched, self.stretched)) / 255
        mean = values.new_tensor(np.asarray(processor.image_mean)).view(-1, 1, 1)
        spread = values.new_tensor(np.asarray(processor.image_std)).view(-1, 1, 1)
        return {"pixel_values": (values - mean) / spread}


class Dinov2(HubEmbedding):
    """DINOv2 ViT-L/14 as Frechet distances use it: whole images at 224 x 224, 1024 features.

    Source: Stein et al. (2023), arXiv:2306.04675. `weights` is a folder that holds the checkpoint.
    """

    stretched = 224

    def __init__(self, weights: str | Path | None = None, **options: Any) -> None:
        super().__init__("facebook/dinov2-large", weights, **options)
        self.name, self.short_name = "dinov2", "DINOv2"
        self.long_name = "DINOv2 ViT-L/14"


class Clip336(HubEmbedding):
    """CLIP ViT-L/14 at 336 x 336 as CMMD uses it: whole images, 768 features of unit length.

    Source: Jayasumana et al. (2024), arXiv:2401.09603. `weights` is a folder that holds the
    checkpoint.
    """

    stretched = 336
    unit_length = True

    def __init__(self, weights: str | Path | None = None, **options: Any) -> None:
        super().__init__("openai/clip-vit-large-patch14-336", weights, **options)
        self.name, self.short_name = "clip_336", "CLIP 336"
        self.long_name = "CLIP ViT-L/14 at 336 pixels"
