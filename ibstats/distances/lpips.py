"""LPIPS version 0.1 with one forward pass per image.

Source: Zhang, Isola, Efros, Shechtman & Wang (2018), doi:10.1109/CVPR.2018.00068. Heads come with the `lpips` package;
backbone weights from an explicit path, from torch's cache (TORCH_HOME), or by torchvision's own download.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibstats.distances.base import AbstractDistance, Images, Pairs
from ibstats.distances.features import feature_pairs
from ibstats.errors import IbstatsError, MissingWeights

if TYPE_CHECKING:
    from torch import Tensor

BACKBONES = {"alex": "AlexNet_Weights", "vgg": "VGG16_Weights", "squeeze": "SqueezeNet1_1_Weights"}
"""torchvision's name of the weights of each net."""

FILES = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth", "squeeze": "squeezenet1_1-b8a52dc0.pth"}
"""torchvision's file of these weights."""

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
        self._file = None if network is not None else backbone_file(self.net, weights, download=download)

    def settings(self) -> dict[str, Any]:
        """LPIPS version, digests of heads and backbone."""
        return {"version": "0.1", "network_sha256": self._sha256}

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
        import torch

        network = self._given
        if network is None:
            network = untrained(self.net)
            assert self._file is not None
            fill_backbone(network, torch.load(self._file, map_location="cpu", weights_only=True), self._file)
        return network.to(self.device).eval().requires_grad_(False)

    def measure(self, images: Images) -> Pairs:
        """One forward pass per image, one Gram product per cell."""
        heads = [head.model[-1].weight.flatten() for head in self.network.lins]
        return feature_pairs(images, self._features, heads, device=self.device, batch_size=self.batch_size)

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
        try:
            import lpips
        except ImportError:
            raise IbstatsError(
                "LPIPS needs the packages torch, torchvision and lpips; pip install 'ibstats[distances]'"
            ) from None
        return lpips.LPIPS(net=net, pnet_rand=True, verbose=False)


def fill_backbone(network: Any, state: Mapping[str, Tensor], file: object) -> None:
    """Put torchvision's `features.*` weights into the slices that `lpips` cut the backbone into."""
    own = network.net.state_dict()
    try:
        filled = {name: state["features." + name.split(".", 1)[1]] for name in own}
        network.net.load_state_dict(filled)
    except (KeyError, RuntimeError) as error:
        raise IbstatsError(f"'{file}' does not hold the weights of this LPIPS backbone ({error})") from None


def cached_backbone(net: str) -> Path:
    """Where torch keeps the backbone's weights on this machine, whether they are there or not; loads no torch."""
    home = os.environ.get("TORCH_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "torch")
    return Path(home).expanduser() / "hub" / "checkpoints" / FILES[net]


def backbone_file(net: str, given: str | Path | None, *, download: bool) -> Path:
    """Path of the backbone's weights: as given, else in torch's cache, else downloaded there."""
    if given is not None:
        if not Path(given).is_file():
            raise MissingWeights(f"no weight file '{given}' for LPIPS ({net})")
        return Path(given)
    file = cached_backbone(net)
    reason = "no download was tried"
    if not file.is_file() and download:
        try:
            import torchvision
        except ImportError:
            raise IbstatsError(
                "LPIPS needs the packages torch, torchvision and lpips; pip install 'ibstats[distances]'"
            ) from None
        try:
            getattr(torchvision.models, BACKBONES[net]).IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True)
        except (OSError, RuntimeError) as error:
            reason = f"download failed: {error}"
    if not file.is_file():
        fetch = f"import torchvision; torchvision.models.{CONSTRUCTORS[net]}(weights='IMAGENET1K_V1')"
        raise MissingWeights(
            f"LPIPS ({net}) is left out: its backbone file {file.name} is not in '{file.parent}' ({reason}); fetch it "
            f'on a connected machine with `python -c "{fetch}"`, then copy it there or pass --weights lpips_{net}=PATH'
        )
    return file
