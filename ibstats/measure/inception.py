"""Inception v3 as FID uses it: torchmetrics' extractor on torch-fidelity's weights, 2048 features
an image.

Images are resized to 299 x 299 with an antialiased bilinear filter, torchmetrics' default.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibstats.errors import IbstatsError, MissingWeights
from ibstats.extras import need
from ibstats.measure.base import Embedding, Features, Images, in_batches
from ibstats.measure.weights import cached, from_home, published
from schemas.io.files import file_sha256

if TYPE_CHECKING:
    from torch import Tensor

FILE = "weights-inception-2015-12-05-6726825d.pth"
"""torch-fidelity's name of the weights."""

INPUT = "299x299, bilinear, antialiased (torchmetrics)"
PACKAGES = ("torch", "torchmetrics", "torch_fidelity")


class Inception(Embedding):
    """Pooled features of the network FID was defined on.

    `weights` is a copy of the published file. Raises MissingWeights if it does not exist.
    """

    name = "inception"
    settings_need_weights = True
    n_features = 2048

    def __init__(
        self,
        weights: str | Path | None = None,
        device: str = "cpu",
        batch_size: int = 64,
        *,
        download: bool = True,
    ) -> None:
        super().__init__(weights, device, batch_size, download=download)
        if weights is not None and not Path(weights).is_file():
            raise MissingWeights(
                f"no weight file '{weights}' for Inception (--weights inception=PATH)"
            )

    def asked(self) -> dict[str, Any]:
        """Give the rule for images."""
        return {"input": INPUT, "features": "2048, pooled"}

    def settings(self) -> dict[str, Any]:
        """Give the rule for images and the digest of the weights; MissingWeights where they are
        not.
        """
        return self.asked() | {"weights_sha256": self._sha256}

    @cached_property
    def _sha256(self) -> str:
        return file_sha256(self.file)

    @cached_property
    def file(self) -> Path:
        """The published weights: as given, else in torch's cache (TORCH_HOME), else downloaded
        there.
        """
        return published(self._found(), FILE)

    def _found(self) -> Path:
        if self.weights is not None:
            return Path(self.weights)
        file = cached(FILE)
        reason = "no download was tried"
        if not file.is_file() and self.download:
            reason = _download(file)
        if not file.is_file():
            fetch = (
                "from torch_fidelity.feature_extractor_inceptionv3 import *; "
                "FeatureExtractorInceptionV3('inception-v3-compat', ['2048'])"
            )
            raise MissingWeights(
                f"Inception needs {FILE}, which is not in '{from_home(file.parent)}' ({reason}); fetch it on "
                f'a connected machine with `python -c "{fetch}"`, then copy it there or pass '
                "--weights inception=PATH"
            )
        return file

    def find_weights(self) -> Sequence[Path]:
        """Give torch-fidelity's file.

        Raises MissingPackages without torch, torchmetrics and torch-fidelity, and MissingWeights
        where the file lacks and cannot be fetched, or holds something else than was published.
        """
        need("Inception", *PACKAGES)
        return [self.file]

    @cached_property
    def _network(self) -> Any:
        """torchmetrics' extractor, frozen."""
        self.find_weights()
        import torch
        from torchmetrics.image.fid import NoTrainInceptionV3

        try:
            # the extractor itself would run the code of a pickle
            torch.load(self.file, map_location="cpu", weights_only=True)
            network = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(self.file))
        except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
            first = str(error).splitlines()[0]
            raise IbstatsError(
                f"'{self.file}' does not hold the weights of FID's Inception ({first})"
            ) from None
        return network.to(self.device)

    def embed(self, images: Images) -> Features:
        """Give features `(n, 2048)` of images `(n, y, x, channel)` of any size, single precision.

        Raises MissingWeights and MissingPackages as `find_weights` does, IbstatsError for a file
        that does not hold these weights.
        """
        return in_batches(images, self._forward, self.device, self.batch_size)

    def _forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self._network(pixels)
        return features


def _download(file: Path) -> str:
    """Fetch the weights into torch's cache; what went wrong, if anything did."""
    need("Inception", *PACKAGES)
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    try:
        torch.hub.load_state_dict_from_url(
            URL_INCEPTION_V3, str(file.parent), progress=False, check_hash=True
        )
    except (OSError, RuntimeError) as error:
        return f"download failed: {error}"
    return "the download left no file"
