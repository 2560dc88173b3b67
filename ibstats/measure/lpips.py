"""LPIPS version 0.1 with one forward pass per image.

Source: Zhang, Isola, Efros, Shechtman & Wang (2018), doi:10.1109/CVPR.2018.00068. Heads come with
the `lpips` package; backbone weights from an explicit path, from torch's cache (TORCH_HOME), or by
torchvision's own download. Both must be the published ones, so distances that were measured are
found again without weights or torch.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ibstats.errors import IbstatsError, MissingWeights, Unmeasurable
from ibstats.extras import need
from ibstats.measure.base import Distance, Images, Pairs
from ibstats.measure.features import feature_pairs
from ibstats.measure.weights import cached, from_home, published
from schemas.io.files import file_sha256

if TYPE_CHECKING:
    from torch import Tensor


class Backbone(NamedTuple):
    """A network that LPIPS runs on, as published.

    Names are those of torchvision, but for the digest of the heads.
    """

    constructor: str
    """torchvision's function that makes it."""
    enum: str
    """torchvision's name of its weights."""
    file: str
    """torchvision's file of these weights."""
    heads_sha256: str
    """Digest of the heads of version 0.1 in the `lpips` package."""
    smallest: int
    """Pixels a side below which nothing is left for the last layer."""


BACKBONES = {
    "alex": Backbone(
        "alexnet",
        "AlexNet_Weights",
        "alexnet-owt-7be5be79.pth",
        "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        31,
    ),
    "vgg": Backbone(
        "vgg16",
        "VGG16_Weights",
        "vgg16-397923af.pth",
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        16,
    ),
    "squeeze": Backbone(
        "squeezenet1_1",
        "SqueezeNet1_1_Weights",
        "squeezenet1_1-b8a52dc0.pth",
        "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
        17,
    ),
}
"""What LPIPS runs on, by the name that the `lpips` package gives it."""


class Lpips(Distance):
    """LPIPS under one of its backbones; at least 0, not bounded above.

    `weights` is the backbone's file; `network` an `lpips.LPIPS` of your own that takes the place of
    the pretrained one.
    """

    embedded = True
    net: ClassVar[str]
    """Backbone, a key of `BACKBONES`."""

    def __init__(
        self,
        weights: str | Path | None = None,
        device: str = "cpu",
        batch_size: int = 64,
        *,
        download: bool = True,
        network: Any = None,
    ) -> None:
        super().__init__(weights, device, batch_size, download=download)
        self.name = f"lpips_{self.net}_distance"
        self.given = network

    def settings(self) -> dict[str, Any]:
        """Give LPIPS version, backbone and heads, known without the files.

        Of a network of your own it is the digest of all its tensors by name.
        """
        if self.given is not None:
            return {"version": "0.1", "network_sha256": self._sha256}
        backbone = BACKBONES[self.net]
        return {
            "version": "0.1",
            "backbone": backbone.file,
            "heads_sha256": backbone.heads_sha256,
        }

    def find_weights(self) -> Sequence[Path]:
        """Give the file of the backbone; a network of your own needs none.

        Raises MissingPackages without torch, torchvision and lpips, and MissingWeights where the
        file lacks and cannot be fetched, or holds something else than was published.
        """
        if self.given is not None:
            return ()
        need(f"LPIPS ({self.net})", "torch", "torchvision", "lpips")
        return [self.file]

    @cached_property
    def file(self) -> Path:
        """The published weights of the backbone.

        Raises MissingWeights where they are not, or hold something else than was published.
        """
        found = backbone_file(self.net, self.weights, download=self.download)
        return published(found, BACKBONES[self.net].file)

    @cached_property
    def _sha256(self) -> str:
        digest = hashlib.sha256()
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @cached_property
    def network(self) -> Any:
        """The `lpips.LPIPS` on its device, in evaluation mode and frozen; loaded at first use.

        Raises as `find_weights` does, and IbstatsError for files of another form.
        """
        network = self.given
        if network is None:
            network = self._pretrained()
        return network.to(self.device).eval().requires_grad_(False)

    def _pretrained(self) -> Any:
        self.find_weights()
        import torch

        network = untrained(self.net)
        check_heads(self.net)
        state = torch.load(self.file, map_location="cpu", weights_only=True)
        fill_backbone(network, state, self.file)
        return network

    def measure(self, images: Images) -> Pairs:
        """Measure all pairs inside each cell of `images (cell, n, y, x, channel)`.

        One forward pass per image, one Gram product per cell. Raises Unmeasurable for images that
        are too small for the backbone.
        """
        height, width = images.shape[2:4]
        side = BACKBONES[self.net].smallest
        if min(height, width) < side:
            raise Unmeasurable(
                f"images are {height}x{width}, but LPIPS ({self.net}) needs {side}x{side} or more"
            )
        heads = [head.model[-1].weight.flatten() for head in self.network.lins]
        return feature_pairs(
            images, self._activations, heads, device=self.device, batch_size=self.batch_size
        )

    def _activations(self, images: Tensor) -> Sequence[Tensor]:
        centred = self.network.scaling_layer(images.mul(2).sub_(1))
        return list(self.network.net.forward(centred))


class LpipsAlex(Lpips):
    """LPIPS on AlexNet, version 0.1: the default of its authors for measuring.

    Source: Zhang et al. (2018), arXiv:1801.03924.
    """

    net = "alex"


class LpipsVgg(Lpips):
    """LPIPS on VGG-16, version 0.1.

    Source: Zhang et al. (2018), arXiv:1801.03924.
    """

    net = "vgg"


class LpipsSqueeze(Lpips):
    """LPIPS on SqueezeNet 1.1, version 0.1.

    Source: Zhang et al. (2018), arXiv:1801.03924.
    """

    net = "squeeze"


def untrained(net: str) -> Any:
    """Give an `lpips.LPIPS` with its trained heads on a random backbone, on the CPU.

    `net` is a key of `BACKBONES`. torch's global generator draws the weights. Needs the packages
    torch, torchvision and lpips, but no file of weights.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package uses torchvision's old constructor arguments
        import lpips

        return lpips.LPIPS(net=net, pnet_rand=True, verbose=False)


def check_heads(net: str) -> None:
    """Refuse heads that are not those of version 0.1: IbstatsError if the installed package holds
    others.
    """
    import lpips

    file = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth"
    if file_sha256(file) != BACKBONES[net].heads_sha256:
        raise IbstatsError(
            f"'{file}' does not hold the heads of LPIPS 0.1; pip install 'lpips==0.1.4'"
        )


def fill_backbone(network: Any, state: Mapping[str, Tensor], file: object) -> None:
    """Put torchvision's `features.*` weights into the slices that `lpips` cut the backbone into.

    Raises IbstatsError, which names the file, if `state` does not hold them.
    """
    filled = {}
    try:
        for name in network.net.state_dict():
            layer = name.split(".", 1)[1]
            filled[name] = state[f"features.{layer}"]
        network.net.load_state_dict(filled)
    except (KeyError, RuntimeError) as error:
        raise IbstatsError(
            f"'{file}' does not hold the weights of this LPIPS backbone ({error})"
        ) from None


def backbone_file(net: str, given: str | Path | None, *, download: bool) -> Path:
    """Give the path of the backbone's weights: as given, else in torch's cache, else downloaded
    there.

    Raises MissingWeights, with a command that fetches them, where they are not on this machine.
    """
    if given is not None:
        if not Path(given).is_file():
            raise MissingWeights(f"no weight file '{given}' for LPIPS ({net})")
        return Path(given)
    backbone = BACKBONES[net]
    file = cached(backbone.file)
    reason = "no download was tried"
    if not file.is_file() and download:
        import torchvision

        weights = getattr(torchvision.models, backbone.enum).IMAGENET1K_V1
        try:
            weights.get_state_dict(progress=False, check_hash=True)
        except (OSError, RuntimeError) as error:
            reason = f"download failed: {error}"
    if not file.is_file():
        fetch = (
            "import torchvision; "
            f"torchvision.models.{backbone.constructor}(weights='IMAGENET1K_V1')"
        )
        raise MissingWeights(
            f"LPIPS ({net}) needs {file.name}, which is not in '{from_home(file.parent)}' ({reason}); fetch "
            f'it on a connected machine with `python -c "{fetch}"`, then copy it there or pass '
            f"--weights lpips_{net}=PATH"
        )
    return file
