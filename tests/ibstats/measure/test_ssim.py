"""SSIM against scikit-image, MS-SSIM against torchmetrics."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from ibstats.errors import IbstatsError, Unmeasurable
from ibstats.measure import metric
from ibstats.measure.ssim import RADIUS, WEIGHTS, Ssim, ms_ssim_matrix
from tests.ibstats.measure.photographs import photograph
from tests.ibstats.measure.pixels import noise


@pytest.mark.parametrize("size", [(32, 32), (17, 41), (140, 150)])
def test_ssim_equals_scikit_image_on_the_valid_region(size: tuple[int, int]) -> None:
    from skimage.metrics import structural_similarity

    images = noise(1, 6, *size)  # of the largest, more than are taken at once
    ours = 1 - Ssim().measure(images).distance[0]
    for i, j in combinations(range(6), 2):
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


def test_five_scales_are_those_of_torchmetrics_inside_the_image() -> None:
    """Contrast at every scale, and SSIM at the coarsest, by torchmetrics, over windows wholly inside.

    Its own product takes the reflected border in at the coarsest scale alone, so it differs by that.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure as theirs

    rng = np.random.default_rng(0)
    planes = rng.integers(0, 256, (3, 3, 181, 190)).astype(np.float64)
    planes[1] = (planes[0] + rng.normal(0, 30, planes[0].shape)).clip(0, 255).round()
    found = ms_ssim_matrix(planes, 255)
    np.testing.assert_array_equal(np.diag(found), 1)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        x, y = torch.tensor(planes[None, i]), torch.tensor(planes[None, j])
        product = 1.0
        for scale, power in enumerate(WEIGHTS):
            if scale:
                x, y = torch.nn.functional.avg_pool2d(x, 2), torch.nn.functional.avg_pool2d(y, 2)
            if scale < len(WEIGHTS) - 1:
                _, value = theirs(x, y, data_range=255.0, return_contrast_sensitivity=True)
            else:
                _, image = theirs(x, y, data_range=255.0, return_full_image=True)
                value = image[..., RADIUS:-RADIUS, RADIUS:-RADIUS].mean()
            product *= max(float(value), 0.0) ** power
        assert found[i, j] == pytest.approx(product, abs=2e-5)
        assert found[j, i] == found[i, j]


def test_an_image_of_opposite_structure_is_at_the_largest_distance() -> None:
    """A mean below 0 counts as 0, so that no power of a negative number is taken."""
    picture = photograph("cat", 176)[None]
    pair = np.concatenate([picture, 255 - picture])
    distance = metric("ms_ssim").measure(pair[None]).distance[0]
    np.testing.assert_array_equal(distance, [[0, 1], [1, 0]])


def test_images_too_small_for_five_scales_are_refused() -> None:
    with pytest.raises(Unmeasurable, match="175x200, but MS-SSIM's five scales need 176x176"):
        metric("ms_ssim").measure(np.zeros((1, 2, 175, 200, 3), np.uint8))
