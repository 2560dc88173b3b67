"""Scenes: what is drawn, and what wording does to it."""

import numpy as np

from generate.trio import scenes


def draw(count: int, seed: int, **fixed: int) -> np.ndarray:
    """Scenes of one wording, with the given attribute indices held fixed."""
    rng = np.random.default_rng(seed)
    attributes = scenes.draw_attributes(count, rng)
    for name, value in fixed.items():
        attributes[:, list(scenes.ATTRIBUTES).index(name)] = value
    return scenes.render(attributes, np.zeros((count, 3), int), rng)


def test_images_lie_in_the_unit_range_and_repeat_with_the_seed():
    images = draw(200, 1)
    assert images.shape == (200, 32, 32, 3)
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert images.max() <= 1
    np.testing.assert_array_equal(images, draw(200, 1))


def test_no_object_is_under_nine_pixels_wide_nor_leaves_the_image():
    rng = np.random.default_rng(2)
    attributes = scenes.draw_attributes(600, rng)
    attributes[:, 1], attributes[:, 4] = 2, 0  # yellow on black
    images = scenes.render(attributes, scenes.draw_wordings(600, rng), rng)
    object_pixels = images[..., 0] > 0.45
    width, height = object_pixels.any(1).sum(1), object_pixels.any(2).sum(1)
    assert np.minimum(width, height).min() >= 8
    assert np.maximum(width, height).min() >= 9
    assert np.maximum(width, height).max() <= 25


def test_every_background_shows_in_the_corner_farthest_from_the_object():
    for background in range(5):
        images = draw(50, 3, background=background, position=0, size=0)
        spread = images[:, -1, -1].std(0)
        assert (spread < 0.06).all()


def test_longer_wording_is_lighter_and_the_rare_size_word_larger():
    attributes = np.tile([0, 2, 1, 4, 0], (400, 1))  # a yellow circle on black

    def mean_image(wording):
        return scenes.render(attributes, np.tile(wording, (400, 1)), np.random.default_rng(4)).mean(
            0
        )

    short, long, rare = mean_image([0, 0, 0]), mean_image([2, 0, 0]), mean_image([0, 0, 1])
    assert (long > short).all()
    assert (rare[..., 0] > 0.3).sum() > (short[..., 0] > 0.3).sum()
