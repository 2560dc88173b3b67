"""What a user's measurement returns is looked at before it is cast: one line, never a table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ibstats.errors import IbstatsError
from ibstats.measure import Distance, EmbeddedDistance, Embedding, Pairs
from ibstats.measure.returned import checked_settings
from tests.ibstats.measure.pixels import noise
from tests.ibstats.measure.test_base import labelled

N_CELLS, N = 2, 3
HONEST = np.broadcast_to(1.0 - np.eye(N), (N_CELLS, N, N))


class Given(Distance):
    """A distance whose result is made by a function of an honest one."""

    name = "mine"
    most = 1.0
    of: Any = None

    def settings(self) -> dict[str, Any]:
        return {}

    def measure(self, images: Any) -> Pairs:
        changed: Pairs = type(self).of(HONEST)
        return changed


def row(of: Any) -> Any:
    """The row of a distance that is a changed one."""
    metric = type("Mine", (Given,), {"of": staticmethod(of)})()
    return metric.row(labelled(noise(N_CELLS, N, 4, 4)), "m")


@pytest.mark.parametrize(
    ("of", "message"),
    [
        (lambda d: Pairs.plain(d - 0.5), "goes down to -0.5, but a distance is 0 or more"),
        (lambda d: Pairs.plain(1 - d), "of an image from itself is 1, not 0; is it a similarity"),
        (lambda d: Pairs.plain(d * 2), "goes up to 2, but its `most` is 1"),
        (lambda d: Pairs.plain(np.triu(d)), "not symmetric, by up to 1"),
        (lambda d: Pairs.plain(d[:1]), r"the distance of mine is \(1, 3, 3\), but must be"),
        (lambda d: Pairs.plain(d + 0j), "complex128; return real numbers"),
        (lambda d: Pairs.plain(d.astype(str)), "return real numbers"),
        (lambda d: Pairs.plain(d.astype(object)), "object; return real numbers"),
        (lambda d: Pairs(d, np.zeros(3)), "the squared norm of mine"),
        (lambda d: d, "`measure` gave a ndarray; return `Pairs`"),
        (lambda d: None, "`measure` gave a NoneType"),
        (lambda d: Pairs.plain(d * np.nan), "mine of m, prompt p0 is NaN in condition 'c0'"),
    ],
)
def test_distances_that_are_none_are_refused(of: Any, message: str) -> None:
    with pytest.raises(IbstatsError, match=message) as told:
        row(of)
    assert "\n" not in str(told.value)


def test_distances_of_any_type_of_number_are_taken() -> None:
    expected = row(Pairs.plain)
    for kind in (np.float32, np.float16, np.int64, bool):
        found = row(lambda d, kind=kind: Pairs.plain(d.astype(kind)))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("base", [EmbeddedDistance, Embedding])
@pytest.mark.parametrize(
    ("of", "message"),
    [
        (lambda x: x[: len(x) // 2].repeat(2, axis=1), r"gave \(3, 6\) for 6 images"),
        (lambda x: x.T, r"gave \(3, 6\) for 6 images"),
        (lambda x: x[:, 0], r"gave \(6,\) for 6 images"),
        (lambda x: x + 1j, "complex128; return real numbers"),
        (lambda x: x.astype(str), "return real numbers"),
        (lambda x: x * np.inf, "NaN in condition|not finite"),
    ],
)
def test_features_that_are_none_are_refused(base: Any, of: Any, message: str) -> None:
    class Mine(base):  # type: ignore[misc]
        name = "mine"

        def settings(self) -> dict[str, Any]:
            return {}

        def embed(self, images: Any) -> Any:
            return of(images.mean(axis=(1, 2)))

    with np.errstate(invalid="ignore"), pytest.raises(IbstatsError, match=message):
        Mine().row(labelled(noise(N_CELLS, N, 4, 4)), "m")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"layers": {1, 2}},
            "'layers' is no plain JSON .*set is not JSON serializable.*; give texts",
        ),
        ({"of": np.zeros(2)}, "'of' is no plain JSON .*ndarray.*of an array its digest"),
        ({"scale": float("nan")}, "'scale' is no plain JSON"),
        ({1: "a"}, "has the key 1; keys are texts"),
        (["a"], "gave a list; return a dict"),
        (None, "gave a NoneType; return a dict"),
    ],
)
def test_settings_that_cannot_name_a_table_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(IbstatsError, match=f"`settings` of mine.*{message}"):
        checked_settings(settings, "mine")


def test_settings_are_compared_as_they_are_kept() -> None:
    assert checked_settings({"size": (1, 2), "of": {"a": 1}}, "mine") == {
        "size": [1, 2],
        "of": {"a": 1},
    }
