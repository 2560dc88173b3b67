from __future__ import annotations

import numpy as np
from scipy import stats

from generate.study.noise import stream_key, stream_keys, uniforms


def test_uniforms_are_those_of_numpys_philox_at_that_key_and_counter() -> None:
    generator = np.random.Generator(
        np.random.Philox(
            key=np.array([77, 0], dtype=np.uint64), counter=np.array([0, 5, 0, 0], dtype=np.uint64)
        )
    )
    np.testing.assert_array_equal(
        uniforms(np.array([77], dtype=np.uint64), 5, 9)[0], generator.random(9)
    )


def test_a_sample_gets_the_same_noise_alone_and_in_any_batch() -> None:
    keys = stream_keys(1, ["a", "b"], 5, "path").ravel()
    together = uniforms(keys, 2, 16)
    for row, key in zip(together, keys, strict=True):
        np.testing.assert_array_equal(uniforms(np.array([key]), 2, 16)[0], row)
    np.testing.assert_array_equal(uniforms(keys[::-1], 2, 16), together[::-1])


def test_streams_differ_by_seed_prompt_sample_role_and_step() -> None:
    variants = [
        (0, "a", 0, "path"),
        (1, "a", 0, "path"),
        (0, "b", 0, "path"),
        (0, "a", 1, "path"),
        (0, "a", 0, "execution"),
    ]
    keys = np.array([stream_key(*variant) for variant in variants], dtype=np.uint64)  # type: ignore[arg-type]
    draws = np.concatenate([uniforms(keys, step, 4) for step in (0, 1)])
    assert len(np.unique(draws)) == draws.size


def test_streams_are_uniform_and_uncorrelated_across_roles() -> None:
    path = uniforms(stream_keys(0, ["p"], 2000, "path")[0], 0, 4).ravel()
    execution = uniforms(stream_keys(0, ["p"], 2000, "execution")[0], 0, 4).ravel()
    assert stats.kstest(path, "uniform").pvalue > 1e-3
    assert abs(stats.pearsonr(path, execution).statistic) < 0.05


def test_keys_are_frozen() -> None:
    """A changed key scheme would silently unpair new samples from old ones."""
    assert stream_key(0, "prompt", 3, "path") == FROZEN


FROZEN = 7342358454694247143
