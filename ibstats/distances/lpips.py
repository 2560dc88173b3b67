"""LPIPS version 0.1 with one forward pass per image.

Source: Zhang, Isola, Efros, Shechtman & Wang (2018), doi:10.1109/CVPR.2018.00068. Heads come with the `lpips` package;
backbone weights from an explicit path, from torch's cache (TORCH_HOME), or by torchvision's own download. Both must be
the published ones, so distances that were measured are found again without weights or torch.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibstats.distances.base import AbstractDistance, Images, Pairs
from ibstats.distances.features import feature_pairs
from ibstats.errors import IbstatsError, MissingWeights, Unmeasurable
from ibstats.extras import need
from ibstats.weights import cached, file_sha256, published

if TYPE_CHECKING:
    from torch import Tensor

BACKBONES = {"alex": "AlexNet_Weights", "vgg": "VGG16_Weights", "squeeze": "SqueezeNet1_1_Weights"}
"""torchvision's name of the weights of each net."""

FILES = {
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
}
"""torchvision's file of these weights."""

HEADS = {
    "alex": "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    "vgg": "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    "squeeze": "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
}
"""sha256 of the heads of version 0.1 in the `lpips` package."""

SMALLEST = {"alex": 31, "vgg": 16, "squeeze": 17}
"""Pixels a side below which nothing is left for the last layer."""

CONSTRUCTORS = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}


class Lpips(AbstractDistance):
    """LPIPS under one of its backbones. `network` takes an `lpips.LPIPS` of your own instead of the pretrained."""

    net: str

    def __init__(
        self,
        weights: str | Path | None = None,
        device: str = "cpu",
        batch_size: int = 64,
        *,
        download: bool = True,
        network: Any = None,
    ) -> None:
        self.name = f"lpips_{self.net}_distance"
        self.device = device
        self.batch_size = batch_size
        self._given = network
        self._weights = weights
        self._download = download

    def settings(self) -> dict[str, Any]:
        """LPIPS version, backbone and heads; of a network of your own its digest."""
        if self._given is not None:
            return {"version": "0.1", "network_sha256": self._sha256}
        return {"version": "0.1", "backbone": FILES[self.net], "heads_sha256": HEADS[self.net]}

    def find_weights(self) -> None:
        """The backbone's, and the packages; a network of your own needs none."""
        if self._given is None:
            need(f"LPIPS ({self.net})", "torch", "torchvision", "lpips")
            _ = self._file

    @cached_property
    def _file(self) -> Path:
        file = backbone_file(self.net, self._weights, download=self._download)
        return published(file, FILES[self.net])

    @cached_property
    def _sha256(self) -> str:
        digest = hashlib.sha256()
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @cached_property
    def network(self) -> Any:
        """The `lpips.LPIPS` on its device, frozen."""
        self.find_weights()
        import torch

        network = self._given
        if network is None:
            network = untrained(self.net)
            check_heads(self.net)
            fill_backbone(
                network, torch.load(self._file, map_location="cpu", weights_only=True), self._file
            )
        return network.to(self.device).eval().requires_grad_(False)

    def measure(self, images: Images) -> Pairs:
        """One forward pass per image, one Gram product per cell."""
        height, width = images.shape[2:4]
        if min(height, width) < SMALLEST[self.net]:
            side = SMALLEST[self.net]
            raise Unmeasurable(
                f"images are {height}x{width}, but LPIPS ({self.net}) needs {side}x{side} or more"
            )
        heads = [head.model[-1].weight.flatten() for head in self.network.lins]
        return feature_pairs(
            images, self._features, heads, device=self.device, batch_size=self.batch_size
        )

    def _features(self, images: Tensor) -> Sequence[Tensor]:
        return list(self.network.net.forward(self.network.scaling_layer(images.mul(2).sub_(1))))


class LpipsAlex(Lpips):
    """LPIPS on AlexNet."""

    net = "alex"


class LpipsVgg(Lpips):
    """LPIPS on VGG-16."""

    net = "vgg"


class LpipsSqueeze(Lpips):
    """LPIPS on SqueezeNet 1.1."""

    net = "squeeze"


def untrained(net: str) -> Any:
    """An `lpips.LPIPS` with its trained heads on a random backbone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package uses torchvision's old constructor arguments
        import lpips

        return lpips.LPIPS(net=net, pnet_rand=True, verbose=False)


def check_heads(net: str) -> None:
    """The heads that the installed package holds are those of version 0.1."""
    import lpips

    file = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth"
    if file_sha256(file) != HEADS[net]:
        raise IbstatsError(
            f"'{file}' does not hold the heads of LPIPS 0.1; pip install 'lpips==0.1.4'"
        )


def fill_backbone(network: Any, state: Mapping[str, Tensor], file: object) -> None:
    """Put torchvision's `features.*` weights into the slices that `lpips` cut the backbone into."""
    own = network.net.state_dict()
    try:
        filled = {name: state["features." + name.split(".", 1)[1]] for name in own}
        network.net.load_state_dict(filled)
    except (KeyError, RuntimeError) as error:
        raise IbstatsError(
            f"'{file}' does not hold the weights of this LPIPS backbone ({error})"
        ) from None


def backbone_file(net: str, given: str | Path | None, *, download: bool) -> Path:
    """Path of the backbone's weights: as given, else in torch's cache, else downloaded there."""
    if given is not None:
        if not Path(given).is_file():
            raise MissingWeights(f"no weight file '{given}' for LPIPS ({net})")
        return Path(given)
    file = cached(FILES[net])
    reason = "no download was tried"
    if not file.is_file() and download:
        import torchvision

        try:
            getattr(torchvision.models, BACKBONES[net]).IMAGENET1K_V1.get_state_dict(
                progress=False, check_hash=True
            )
        except (OSError, RuntimeError) as error:
            reason = f"download failed: {error}"
    if not file.is_file():
        fetch = (
            f"import torchvision; torchvision.models.{CONSTRUCTORS[net]}(weights='IMAGENET1K_V1')"
        )
        raise MissingWeights(
            f"LPIPS ({net}) needs {file.name}, which is not in '{file.parent}' ({reason}); fetch it "
            f'on a connected machine with `python -c "{fetch}"`, then copy it there or pass --weights lpips_{net}=PATH'
        )
    return file
