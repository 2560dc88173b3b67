"""Pages of small runs, and a real Chromium to open them in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from ibstats import Config, importing, open_store
from ibstats.report.page import making
from ibstats.statistics.uncertainty import Resampling
from tests.ibstats.conftest import write_run

QUICK = Config(
    metrics=("ssim",),
    parts=("diversity", "information", "ledger"),
    resampling=Resampling(n_resamples=100),
)
PATIENCE = 30_000
"""Milliseconds that a tab may take on a machine that does other work; nothing waits as long when it is well."""
PLAIN = QUICK.but(metrics=("pixel_cosine",), parts=("diversity",))
HOSTILE = "</script><img src=x onerror=\"document.title='taken'\"><b>&amp;"
"""Text that would act if anything read it as HTML."""

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
WITHOUT = (
    "no Chromium: `apt-get install chromium`, or `python -m playwright install chromium`, or set "
    "CHROMIUM to its path"
)


def chromium(own: str) -> str | None:
    """Path of a Chromium: the one named, one of the system, or Playwright's `own`."""
    named = [os.environ.get("CHROMIUM"), *map(shutil.which, NAMES), own]
    return next((path for path in named if path and Path(path).exists()), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A Chromium; without one the tests fail in CI, and are skipped for a contributor."""
    with sync_playwright() as playwright:
        path = chromium(playwright.chromium.executable_path)
        if path is None:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(WITHOUT)
        opened = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield opened
        opened.close()


@dataclass
class Opened:
    """A page in the browser, and what it complained of."""

    page: Page
    complaints: list[str] = field(default_factory=list)


def lost(asked: Request) -> list[str]:
    """What did not load, but for what the browser itself let go because the page was left."""
    return [] if asked.failure == "net::ERR_ABORTED" else [f"{asked.failure}: {asked.url[:200]}"]


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opened]:
    """A tab without a network."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    tab = Opened(context.new_page())
    tab.page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    tab.page.on("console", lambda said: tab.complaints.append(f"{said.type}: {said.text}"))
    tab.page.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.page.on("requestfailed", lambda asked: tab.complaints.extend(lost(asked)))
    yield tab
    context.close()


def make(run: Path, file: Path, settings: Config = QUICK) -> Path:
    """The page of a run."""
    making.write_page(making.content(open_store(run), settings), file)
    return file


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three models with images and tokens."""
    return write_run(tmp_path_factory.mktemp("page") / "toy", n_prompts=6, n_samples=4)


@pytest.fixture(scope="session")
def toy_page(toy: Path) -> Path:
    """Its page."""
    return make(toy, toy.parent / "toy.html")


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of images alone, of one model, of two sizes of hostile texts."""
    folder = tmp_path_factory.mktemp("imported")
    rng = np.random.default_rng(0)
    for condition, spread in (("cold", 20), ("warm", 70)):
        for prompt in ("p1", "p2", "p3"):
            place = folder / "images" / condition / prompt
            place.mkdir(parents=True)
            for sample in range(3):
                pixels = np.clip(rng.normal(128, spread, (80, 120, 3)), 0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"{sample}.png")
    lines = ["id,text", *(f'p{n},"{HOSTILE.replace(chr(34), chr(34) * 2)} {n}"' for n in (1, 2, 3))]
    (folder / "prompts.csv").write_text("\n".join(lines))
    spec = importing.Spec(
        images="images/{condition}/{prompt}/{sample}.png",
        prompts=str(folder / "prompts.csv"),
        baseline="warm",
        model="theirs",
    )
    importing.write(importing.survey(spec, folder), folder / "run")
    return folder / "run"


@pytest.fixture(scope="session")
def imported_page(imported: Path) -> Path:
    """Its page."""
    return make(imported, imported.parent / "imported.html", PLAIN)


def write_small(root: Path) -> Path:
    """Write a run of one model and few images."""
    return write_run(root, n_prompts=3, n_samples=3, families={"toy-mim": "masked"})


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one model and few images."""
    return write_small(tmp_path_factory.mktemp("small") / "run")
