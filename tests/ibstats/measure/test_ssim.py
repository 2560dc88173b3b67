"""SSIM against scikit-image."""

from __future__ import annotations

import pytest

from ibstats.errors import IbstatsError
from ibstats.measure.ssim import Ssim
from tests.ibstats.measure.pixels import noise


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
