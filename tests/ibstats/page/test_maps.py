"""Maps of positions: every square has the number of its place, on one scale for all models."""

from __future__ import annotations

import re

import numpy as np
import xarray as xr

from ibstats.report.page.maps import position_maps

SQUARE = re.compile(
    r'x="(\d+)" y="(\d+)" width="1" height="1" fill-opacity="([\d.]+)">'
    r"<title>row (\d+), column (\d+): (-?[\d.]+) bit<"
)


def tree(**models: np.ndarray) -> xr.DataTree:
    """Collision information by position of each model, in two conditions."""
    groups = {}
    for model, values in models.items():
        both = np.stack([values, values + 100])
        data = {"collision_information": (("condition", "row", "col"), both)}
        groups[f"{model}/positions"] = xr.Dataset(data, coords={"condition": ["plain", "other"]})
    return xr.DataTree.from_dict(groups)


ONE, TWO = np.arange(6.0).reshape(2, 3), np.array([[10.0, np.nan]])


def test_every_square_has_the_number_and_the_shade_of_its_place() -> None:
    said = position_maps(tree(one=ONE, two=TWO), ["one", "two"], "plain")
    first, second = said.split("<figure>")[1:]
    found = {
        (int(y), int(x)): (float(shade), value) for x, y, shade, *_, value in SQUARE.findall(first)
    }
    assert {place: float(value) for place, (_, value) in found.items()} == dict(np.ndenumerate(ONE))
    assert all(int(row) == int(y) + 1 for _, y, _, row, _, _ in SQUARE.findall(first))
    shades = [found[place][0] for place in np.ndindex(ONE.shape)]
    assert shades == sorted(shades)
    assert shades[0] == 0.06
    assert [float(shade) for *_, shade, _, _, _ in SQUARE.findall(second)] == [1.0]


def test_undefined_positions_have_no_square_and_the_scale_is_told() -> None:
    said = position_maps(tree(one=ONE, two=TWO), ["one", "two"], "plain")
    assert len(SQUARE.findall(said)) == 7
    assert "0.00 (faintest) to 10.00 bit" in said


def test_names_are_text() -> None:
    said = position_maps(tree(**{"<b>": ONE}), ["<b>"], "plain")
    assert "<b>" not in said
    assert said.count("&lt;b&gt;") == 2


def test_without_numbers_there_is_no_map() -> None:
    assert position_maps(None, ["one"], "plain") == ""
    assert position_maps(tree(one=ONE), ["two"], "plain") == ""
    assert position_maps(tree(one=ONE), ["one"], None) == ""
    assert position_maps(tree(one=np.full((2, 2), np.nan)), ["one"], "plain") == ""
    assert position_maps(tree(one=np.ones((2, 2))), ["one"], "plain").count('"1.00"') == 4
