"""LPIPS against the `lpips` package, and its weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ibstats.errors import IbstatsError, MissingWeights
from ibstats.measure import lpips, metric
from ibstats.measure.weights import cached
from tests.ibstats.measure.pixels import noise


@pytest.mark.parametrize(
    ("net", "size"), [("alex", (65, 72)), ("squeeze", (47, 64)), ("vgg", (33, 40))]
)
def test_lpips_equals_the_lpips_package_on_a_random_backbone(
    net: str, size: tuple[int, int]
) -> None:
    import torch

    torch.manual_seed(1)
    network = lpips.untrained(net)
    images = noise(1, 4, *size)
    distance = {
        "alex": lpips.LpipsAlex,
        "vgg": lpips.LpipsVgg,
        "squeeze": lpips.LpipsSqueeze,
    }[net](network=network)
    ours = distance.measure(images).distance[0]
    tensor = torch.from_numpy(images[0]).permute(0, 3, 1, 2).float() / 127.5 - 1
    first, second = np.triu_indices(4, 1)
    with torch.inference_mode():
        theirs = network(tensor[first], tensor[second]).flatten().numpy()
    np.testing.assert_allclose(ours[first, second], theirs, rtol=1e-5)


@pytest.mark.parametrize("net", lpips.BACKBONES)
def test_lpips_weights_lie_where_torch_keeps_them(
    net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    import torchvision

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    url = getattr(torchvision.models, lpips.BACKBONES[net].enum).IMAGENET1K_V1.url
    assert (
        cached(lpips.BACKBONES[net].file)
        == Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    )


def test_lpips_backbone_is_filled_from_torchvision_names() -> None:
    import torch
    import torchvision

    network = lpips.untrained("squeeze")
    backbone = torchvision.models.squeezenet1_1(weights=None)
    lpips.fill_backbone(network, backbone.state_dict(), "file")
    x = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(network.net.forward(x)[-1], backbone.features.eval()(x))
    with pytest.raises(IbstatsError, match="does not hold the weights"):
        lpips.fill_backbone(network, {}, "file")


def test_lpips_without_weights_says_which_file_and_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(
        MissingWeights,
        match=r"alexnet-owt-7be5be79\.pth, which is not in .*checkpoints.*--weights lpips_alex",
    ) as error:
        metric("lpips_alex", download=False).find_weights()
    assert "\n" not in str(error.value)
