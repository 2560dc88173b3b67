"""The documentation in a real browser, on a phone and on a wide screen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.source import ROOT

OUTSIDE = """() => {
    const article = document.querySelector("article").getBoundingClientRect();
    const scrolls = element => getComputedStyle(element).overflowX !== "visible";
    const outside = [];
    for (const element of document.querySelectorAll("article *")) {
        let above = element.parentElement;
        while (above.tagName !== "ARTICLE" && !scrolls(above)) above = above.parentElement;
        const past = element.getBoundingClientRect().right - article.right;
        if (above.tagName === "ARTICLE" && past > MARGIN)
            outside.push(`${element.tagName}: ${element.textContent.slice(0, 40)}`);
    }
    return outside;
}"""
"""Elements that reach out of the text column, but for what lies in a box that scrolls."""

MARGIN = 10
"""Pixels by which the theme itself lets headings and tables reach out."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation as HTML."""
    folder = tmp_path_factory.mktemp("documentation")
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", ROOT / "docs", folder]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("width", [360, 1600])
def test_nothing_scrolls_sideways_or_reaches_out_of_its_column(
    width: int, built: Path, browser: Browser
) -> None:
    pages = sorted(built.glob("*.html"))
    assert len(pages) > 30
    tab = browser.new_page(viewport={"width": width, "height": 900})
    for page in pages:
        tab.goto(page.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, page.name
        if page.name not in ("search.html", "genindex.html"):
            found = tab.evaluate(OUTSIDE.replace("MARGIN", str(MARGIN)))
            assert not found, f"{page.name}: {found[:5]}"
    tab.close()


def test_what_reaches_out_is_found(built: Path, browser: Browser) -> None:
    tab = browser.new_page(viewport={"width": 360, "height": 900})
    tab.goto((built / "faq.html").as_uri())
    tab.evaluate("document.querySelector('article p').style.width = '500px'")
    assert tab.evaluate(OUTSIDE.replace("MARGIN", str(MARGIN)))
    tab.close()


def test_formulas_are_set_and_no_page_asks_the_network(built: Path, browser: Browser) -> None:
    tab = browser.new_page()
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    formulas = 0
    for page in sorted(built.glob("*.html")):
        tab.goto(page.as_uri())
        formulas += tab.locator("article math").count()
        for formula in tab.locator("article math").all():
            box = formula.bounding_box()
            assert box is not None
            assert min(box["width"], box["height"]) > 3, page.name
            assert "\\" not in (formula.text_content() or ""), page.name
    tab.close()
    assert formulas > 100
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
