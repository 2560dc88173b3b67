"""Inception v3 as FID uses it: torchmetrics' extractor on torch-fidelity's weights, 2048 features an image.

Images are resized to 299 x 299 with an antialiased bilinear filter, torchmetrics' default.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibstats.errors import IbstatsError, MissingWeights
from ibstats.extras import need
from ibstats.fidelity.base import AbstractNetwork, Features, Images, in_batches
from ibstats.weights import cached, file_sha256, published

if TYPE_CHECKING:
    from torch import Tensor

FILE = "weights-inception-2015-12-05-6726825d.pth"
"""torch-fidelity's name of the weights."""

INPUT = "299x299, bilinear, antialiased (torchmetrics)"
PACKAGES = ("torch", "torchmetrics", "torch_fidelity")


class Inception(AbstractNetwork):
    """Pooled features of the network FID was defined on."""

    name = "inception"

    def __init__(
        self,
        weights: str | Path | None = None,
        device: str = "cpu",
        batch_size: int = 64,
        *,
        download: bool = True,
    ) -> None:
        if weights is not None and not Path(weights).is_file():
            raise MissingWeights(
                f"no weight file '{weights}' for Inception (--weights inception=PATH)"
            )
        self.given = weights
        self.device = device
        self.batch_size = batch_size
        self.download = download

    def asked(self) -> dict[str, Any]:
        """The rule for images."""
        return {"input": INPUT, "features": "2048, pooled"}

    def settings(self) -> dict[str, Any]:
        """The rule for images and the digest of the weights."""
        return self.asked() | {"weights_sha256": self._sha256}

    @cached_property
    def _sha256(self) -> str:
        return file_sha256(self.file)

    @cached_property
    def file(self) -> Path:
        """The published weights: as given, else in torch's cache (TORCH_HOME), else downloaded there."""
        return published(self._found(), FILE)

    def _found(self) -> Path:
        if self.given is not None:
            return Path(self.given)
        file = cached(FILE)
        reason = "no download was tried"
        if not file.is_file() and self.download:
            need("Inception", *PACKAGES)
            import torch
            from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

            try:
                torch.hub.load_state_dict_from_url(
                    URL_INCEPTION_V3, str(file.parent), progress=False, check_hash=True
                )
            except (OSError, RuntimeError) as error:
                reason = f"download failed: {error}"
        if not file.is_file():
            fetch = "from torch_fidelity.feature_extractor_inceptionv3 import *; "
            fetch += "FeatureExtractorInceptionV3('inception-v3-compat', ['2048'])"
            raise MissingWeights(
                f"Inception needs {FILE}, which is not in '{file.parent}' ({reason}); fetch it "
                f'on a connected machine with `python -c "{fetch}"`, then copy it there or pass --weights '
                "inception=PATH"
            )
        return file

    def find_weights(self) -> None:
        """torch-fidelity's file, and the packages."""
        need("Inception", *PACKAGES)
        _ = self.file

    @cached_property
    def _network(self) -> Any:
        """torchmetrics' extractor, frozen."""
        self.find_weights()
        import pickle

        import torch
        from torchmetrics.image.fid import NoTrainInceptionV3

        try:
            torch.load(
                self.file, map_location="cpu", weights_only=True
            )  # the extractor would run a pickle's code
            network = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(self.file))
        except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
            first = str(error).splitlines()[0]
            raise IbstatsError(
                f"'{self.file}' does not hold the weights of FID's Inception ({first})"
            ) from None
        return network.to(self.device)

    def embed(self, images: Images) -> Features:
        """Features `(n, 2048)`."""
        return in_batches(images, self._forward, self.device, self.batch_size)

    def _forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self._network(pixels)
        return features
