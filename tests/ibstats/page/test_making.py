"""What a page is made of: strips, traces, dots, how much fits, and that nothing of a run acts on it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_array_equal
from PIL import Image

from ibstats import open_store
from ibstats.report.page import making, strips, traces
from ibstats.report.page.charts import Scale
from ibstats.report.page.gallery import galleries
from ibstats.report.page.making import content
from ibstats.report.page.pieces import Inside, evenly, fitting
from ibstats.report.page.script import script
from ibstats.report.page.values import Values, by_prompt
from ibstats.results.kept import obtain
from schemas.results import ResultRow
from tests.ibstats.page.conftest import HOSTILE, PLAIN, QUICK, make, write_small


def images(n: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, height, width, 3)).astype(np.uint8)


def opened(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_a_strip_of_small_images_holds_every_pixel() -> None:
    drawn = images(5, 32, 24)
    found = opened(strips.strip(drawn))
    assert_array_equal(found, np.concatenate(list(drawn), axis=1))


def test_more_samples_than_a_row_holds_take_several() -> None:
    drawn = images(strips.COLUMNS + 3, 4, 4)
    found = opened(strips.strip(drawn))
    assert found.shape == (8, 4 * strips.COLUMNS, 3)
    assert_array_equal(found[4:, 8:12], drawn[strips.COLUMNS + 2])
    assert not found[4:, 12:].any()


@pytest.mark.parametrize(
    ("size", "shown"),
    [((64, 64), (64, 64)), ((65, 10), (65, 10)), ((256, 512), (64, 128)), ((1, 4000), (1, 128))],
)
def test_larger_images_become_thumbnails_of_their_shape(
    size: tuple[int, int], shown: tuple[int, int]
) -> None:
    assert strips.shown_size(*size) == shown
    assert opened(strips.strip(images(2, *size))).shape[:2] == (shown[0], 2 * shown[1])


def test_a_thumbnail_looks_like_its_image() -> None:
    smooth = np.tile(np.linspace(0, 255, 256).astype(np.uint8)[:, None], (1, 256))
    image = np.stack([smooth, smooth.T, 255 - smooth], axis=-1)[None]
    found = opened(strips.strip(image)).astype(float)
    wanted = image[0].reshape(128, 2, 128, 2, 3).mean(axis=(1, 3))
    assert np.abs(found - wanted).mean() < 3


def variable(values: Any) -> xr.DataArray:
    return xr.DataArray(values, dims=("condition", "sample", "row", "col"))


def test_a_trace_is_arrays_of_sixteen_bits_one_after_the_other() -> None:
    tokens = np.arange(16, dtype=np.uint16).reshape(2, 2, 2, 2)
    surprisal = tokens.astype(np.float32) / 3
    surprisal[0, 0, 0, 0], surprisal[1, 1, 1, 1] = np.nan, 1e9
    found = zlib.decompress(
        traces.trace({"tokens": variable(tokens), "token_surprisal": variable(surprisal)})
    )
    numbers = np.frombuffer(found, dtype="<u2").reshape(2, 16)
    assert_array_equal(numbers[0], np.arange(16))
    assert numbers[1, 0] == traces.UNKNOWN
    assert numbers[1, -1] == traces.LARGEST
    bits = numbers[1, 1:-1] / traces.UNITS
    assert np.abs(bits - np.arange(1, 15) / 3).max() <= 0.5 / traces.UNITS


def test_codes_beyond_sixteen_bits_keep_their_high_half() -> None:
    tokens = np.full((1, 1, 1, 2), 70_000, dtype=np.uint32)
    found = zlib.decompress(traces.trace({"tokens": variable(tokens)}))
    low, high = np.frombuffer(found, dtype="<u2").reshape(2, 2).astype(int)
    assert_array_equal(low + 65536 * high, [70_000, 70_000])


def test_dots_average_to_the_number_that_they_stand_for(toy: Path) -> None:
    of = content(open_store(toy), QUICK).analyses[0]
    n_checked = 0
    for section in ("probe", "effect"):
        for row in of.numbers.all(section):
            known = of.values(row.model, row.quantity)
            if known is not None and row.estimate is not None:
                dots = [value for _, value in known.dots(row)]
                assert len(dots) == row.n_prompts
                assert np.mean(dots) == pytest.approx(row.estimate, abs=1e-9)
                n_checked += 1
    assert n_checked == 3 * (3 + 7)
    found = by_prompt(of.tree, "toy-ar")["ssim_dissimilarity"]
    whole = Values(found, of.numbers.designs["factorial"])
    assert whole.dots(of.numbers.all("diversity")[0]) == []


def test_what_does_not_fit_is_thinned_evenly_and_the_page_says_so(
    toy: Path, tmp_path: Path
) -> None:
    shown = galleries(open_store(toy), {})
    inside = Inside()
    each = [inside.need(shown[0], prompt) for prompt in shown[0].prompts]
    assert fitting(shown, inside, sum(each)) == [shown[0].prompts]
    room = sum(each) - 1
    (fewer,) = fitting(shown, inside, room)
    assert 1 < len(fewer) < len(shown[0].prompts)
    assert fewer == evenly(shown[0].prompts, len(fewer))
    assert sum(inside.need(shown[0], prompt) for prompt in fewer) <= room
    assert fitting(shown, inside, 0) == [[]]


def test_a_page_keeps_below_its_cap(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = content(open_store(toy), QUICK)
    making.write_page(of, tmp_path / "all.html", everything=True)
    size = (tmp_path / "all.html").stat().st_size
    monkeypatch.setattr("ibstats.report.page.making.CAP", size - 2000)
    making.write_page(of, tmp_path / "less.html")
    assert (tmp_path / "less.html").stat().st_size <= size - 2000
    held = data(tmp_path / "less.html", "galleries")["galleries"][0]
    assert len(held["prompts"]) < held["total"] == 6
    numbers = [prompt["number"] for prompt in held["prompts"]]
    assert (numbers[0], numbers[-1]) == (1, 6)


def data(file: Path, name: str) -> Any:
    """What a script element of a page holds."""
    found = re.search(
        rf'<script type="application/json" id="{name}">(.*?)</script>', file.read_text(), re.DOTALL
    )
    assert found is not None
    return json.loads(found.group(1)) if found.group(1) else None


def test_equal_runs_make_equal_bytes_wherever_they_lie(small: Path, tmp_path: Path) -> None:
    first = make(small, tmp_path / "first.html", PLAIN).read_bytes()
    again = write_small(tmp_path / "elsewhere" / "again")
    assert make(again, tmp_path / "second.html", PLAIN).read_bytes() == first
    assert str(tmp_path).encode() not in first
    assert str(small).encode() not in first


def test_a_page_is_made_again_only_where_something_changed(small: Path, tmp_path: Path) -> None:
    of = content(open_store(small), PLAIN)
    file = tmp_path / "page.html"
    assert not making.is_current(of, file)
    making.write_page(of, file)
    assert making.is_current(of, file)
    other = content(open_store(small), PLAIN.but(metrics=("ssim",)))
    assert not making.is_current(other, file)


def test_the_page_carries_every_row_of_the_results(toy: Path, toy_page: Path) -> None:
    held = data(toy_page, "rows")
    rows = [ResultRow(**row) for row in held["rows"]]
    assert rows == obtain(open_store(toy), QUICK).rows
    assert held["columns"] == list(ResultRow.model_fields)


class Seen(HTMLParser):
    """Elements and their attributes as an HTML parser finds them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("name", ["toy_page", "imported_page"])
def test_nothing_on_a_page_loads_or_runs_but_its_own(
    name: str, request: pytest.FixtureRequest
) -> None:
    text = request.getfixturevalue(name).read_text()
    seen = Seen(text).found
    for tag, attributes in seen:
        assert tag not in {"iframe", "object", "embed", "link", "base", "form", "img"}
        assert not [one for one in attributes if one.startswith("on") or one in ("src", "style")]
        assert (attributes.get("href") or "#").startswith("#")
    scripts = [attributes["type"] for tag, attributes in seen if tag == "script"]
    assert scripts == ["application/json", "application/json", "text/plain", "module"]
    (policy,) = [
        attributes["content"]
        for tag, attributes in seen
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    digest = base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


def test_hostile_texts_stay_texts(imported_page: Path) -> None:
    text = imported_page.read_text()
    assert HOSTILE not in text
    held = data(imported_page, "galleries")["galleries"][0]
    assert held["prompts"][0]["text"] == f"{HOSTILE} 1"


def test_modules_are_joined_in_the_order_of_their_imports() -> None:
    text = script()
    assert "import " not in re.sub(r"//.*", "", text)
    assert not re.search(r"^export ", text, re.MULTILINE)
    places = [
        text.index(f"const {name}_js") for name in ("dom", "state", "pieces", "gallery", "main")
    ]
    assert places == sorted(places)


def test_a_scale_names_round_values() -> None:
    assert Scale(0, 1).ticks() == [0.0, 0.5, 1.0]
    assert Scale(-1, 1).at(0) == "50.00%"
