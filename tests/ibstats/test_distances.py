"""Distances against outside implementations, and the cache."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

import ibstats
from ibstats import distances
from ibstats.distances import lpips as own_lpips
from ibstats.distances.base import AbstractDistance, Images, Pairs
from ibstats.distances.pixel import PixelCosine
from ibstats.distances.reference import Reference
from ibstats.distances.ssim import Ssim
from ibstats.errors import IbstatsError, MissingWeights
from ibstats.weights import cached


def noise(cells: int, n: int, height: int, width: int, seed: int = 0) -> Images:
    rng = np.random.default_rng(seed)
    smooth = rng.normal(128, 40, (cells, n, height, width, 3)) + rng.normal(
        0, 30, (cells, 1, height, width, 3)
    )
    return np.clip(smooth, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("net", "size"), [("alex", (65, 72)), ("squeeze", (47, 64)), ("vgg", (33, 40))]
)
def test_lpips_equals_the_lpips_package_on_a_random_backbone(
    net: str, size: tuple[int, int]
) -> None:
    import torch

    torch.manual_seed(1)
    network = own_lpips.untrained(net)
    images = noise(1, 4, *size)
    metric = {
        "alex": own_lpips.LpipsAlex,
        "vgg": own_lpips.LpipsVgg,
        "squeeze": own_lpips.LpipsSqueeze,
    }[net](network=network)
    ours = metric.measure(images).distance[0]
    tensor = torch.from_numpy(images[0]).permute(0, 3, 1, 2).float() / 127.5 - 1
    first, second = np.triu_indices(4, 1)
    with torch.inference_mode():
        theirs = network(tensor[first], tensor[second]).flatten().numpy()
    np.testing.assert_allclose(ours[first, second], theirs, rtol=1e-5)


@pytest.mark.parametrize("net", own_lpips.BACKBONES)
def test_lpips_weights_lie_where_torch_keeps_them(
    net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    import torchvision

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    url = getattr(torchvision.models, own_lpips.BACKBONES[net]).IMAGENET1K_V1.url
    assert (
        cached(own_lpips.FILES[net])
        == Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    )


def test_lpips_backbone_is_filled_from_torchvision_names() -> None:
    import torch
    import torchvision

    network = own_lpips.untrained("squeeze")
    backbone = torchvision.models.squeezenet1_1(weights=None)
    own_lpips.fill_backbone(network, backbone.state_dict(), "file")
    x = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(network.net.forward(x)[-1], backbone.features.eval()(x))
    with pytest.raises(IbstatsError, match="does not hold the weights"):
        own_lpips.fill_backbone(network, {}, "file")


def test_lpips_without_weights_says_which_file_and_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(
        MissingWeights,
        match=r"alexnet-owt-7be5be79\.pth, which is not in .*checkpoints.*--weights lpips_alex",
    ) as error:
        distances.metric("lpips_alex", download=False).find_weights()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", [(32, 32), (17, 41), (140, 150)])
def test_ssim_equals_scikit_image_on_the_valid_region(size: tuple[int, int]) -> None:
    from skimage.metrics import structural_similarity

    images = noise(1, 3, *size)
    ours = 1 - Ssim().measure(images).distance[0]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        theirs = structural_similarity(
            images[0, i],
            images[0, j],
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
            channel_axis=-1,
        )
        assert ours[i, j] == pytest.approx(theirs, abs=2e-6)


def test_ssim_depends_on_its_data_range_and_not_on_other_images() -> None:
    images = noise(1, 4, 20, 20)
    few = Ssim().measure(images[:, :2]).distance[0, 0, 1]
    assert Ssim().measure(images).distance[0, 0, 1] == pytest.approx(few, abs=1e-6)
    assert Ssim(data_range=1.0).measure(images).distance[0, 0, 1] != few


def test_ssim_refuses_images_smaller_than_its_window() -> None:
    with pytest.raises(IbstatsError, match="10x20, but SSIM's window needs 11x11"):
        Ssim().measure(noise(1, 2, 10, 20))


def test_pixel_cosine_equals_its_definition() -> None:
    images = noise(2, 4, 8, 8)
    ours = PixelCosine().measure(images)
    for cell, i, j in ((0, 0, 1), (1, 2, 3)):
        a, b = images[cell, i].ravel().astype(float), images[cell, j].ravel().astype(float)
        cosine = a @ b / np.sqrt((a @ a) * (b @ b))
        assert ours.distance[cell, i, j] == pytest.approx(1 - cosine, abs=1e-14)


def write_reference(file: Path) -> list[np.ndarray]:
    """A random two-layer reference network."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    weights = [rng.normal(size=shape).astype(np.float32) for shape in ((4, 3, 3, 3), (5, 4, 3, 3))]
    tensors = {f"conv.{i}.weight": w for i, w in enumerate(weights)}
    tensors |= {f"conv.{i}.bias": np.full(len(w), 0.1, np.float32) for i, w in enumerate(weights)}
    config = {
        "strides": [2, 1],
        "padding": 1,
        "input_scale": 2.0,
        "input_shift": -1.0,
        "pooling": "flatten",
    }
    save_file(tensors, file, metadata={"config": json.dumps(config)})
    return weights


def test_reference_distance_equals_its_definition(tmp_path: Path) -> None:
    import torch
    import torch.nn.functional as F

    file = tmp_path / "reference.safetensors"
    weights = write_reference(file)
    images = noise(1, 3, 16, 16)
    ours = Reference(file, batch_size=2).measure(images).distance[0]
    x = 2 * torch.from_numpy(images[0]).permute(0, 3, 1, 2).float() / 255 - 1
    expected = np.zeros((3, 3))
    for w, stride in zip(weights, (2, 1), strict=True):
        x = F.relu(
            F.conv2d(x, torch.from_numpy(w), torch.full((len(w),), 0.1), stride=stride, padding=1)
        )
        unit = (x / x.norm(dim=1, keepdim=True).clamp_min(1e-9)).numpy()
        for i in range(3):
            for j in range(3):
                expected[i, j] += ((unit[i] - unit[j]) ** 2).sum(axis=0).mean() / 2
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_reference_network_missing_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(
        MissingWeights, match="does not exist; give its file with --weights reference=PATH"
    ):
        Reference(tmp_path / "none.safetensors")


class Counting(AbstractDistance):
    """Counts how often it measures, and can break down."""

    name = "pixel_cosine_distance"

    def __init__(self, fail_at: int = -1, nan: bool = False) -> None:
        self.calls = 0
        self.fail_at = fail_at
        self.nan = nan

    def settings(self) -> dict[str, str]:
        return {"counting": "yes"}

    def measure(self, images: Images) -> Pairs:
        if self.calls == self.fail_at:
            raise KeyboardInterrupt
        self.calls += 1
        made = PixelCosine().measure(images)
        return made._replace(distance=made.distance * np.nan) if self.nan else made


def test_distances_are_measured_once_and_resume_after_an_interruption(run_copy: Path) -> None:
    store = ibstats.open_store(run_copy)
    broken = Counting(fail_at=2)
    with pytest.raises(KeyboardInterrupt):
        distances.distances(store, "toy-mim", broken)
    rest = Counting()
    first = distances.distances(store, "toy-mim", rest)
    assert (broken.calls, rest.calls) == (2, 4)
    again = Counting(fail_at=0)
    np.testing.assert_array_equal(
        first["distance"], distances.distances(store, "toy-mim", again)["distance"]
    )


def test_a_nan_distance_names_prompt_and_condition(run_copy: Path) -> None:
    with pytest.raises(
        IbstatsError, match="pixel_cosine_distance of toy-ar, prompt p000 is NaN in condition"
    ):
        distances.distances(ibstats.open_store(run_copy), "toy-ar", Counting(nan=True))


def test_argmax_without_path_noise_is_exactly_zero_in_every_metric(
    run: Path, tmp_path: Path
) -> None:
    write_reference(tmp_path / "r.safetensors")
    store = ibstats.open_store(run)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for metric in (
            distances.metric("pixel_cosine"),
            distances.metric("ssim"),
            Reference(tmp_path / "r.safetensors"),
        ):
            table = distances.distances(store, "toy-ar", metric)["distance"]
            cell = table.sel(condition="argmax-original-full")
            assert float(abs(cell).max()) == 0.0
            assert float(table.sel(condition="argmax-paraphrase-full").max()) > 0.0


def test_lpips_diversity_metric_equals_the_mean_over_pairs() -> None:
    import torch

    from ibstats.distances.training import LpipsDiversity

    network = own_lpips.untrained("squeeze")
    images = noise(2, 4, 40, 40)
    expected = np.mean(
        [
            d[np.triu_indices(4, 1)].mean()
            for d in own_lpips.LpipsSqueeze(network=network).measure(images).distance
        ]
    )
    metric = LpipsDiversity("squeeze", network=network)
    tensor = torch.from_numpy(images).permute(0, 1, 4, 2, 3).float() / 255
    metric.update(tensor)
    whole = float(metric.compute())
    metric.reset()
    for one in tensor:
        metric.update(one)
    assert whole == pytest.approx(expected, rel=1e-5)
    assert float(metric.compute()) == pytest.approx(whole, rel=1e-6)
    with pytest.raises(IbstatsError, match="one image has no pair"):
        metric.update(tensor[0, :1])
    with pytest.raises(IbstatsError, match=r"images are torch\.uint8"):
        metric.update((tensor * 255).byte())
