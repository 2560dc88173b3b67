"""How fast the page of a run opens and changes, in a real Chromium, and how large it is.

    python -m benchmarks.pages RUN [--page FILE] [--repeats 5]

Of a run that was reported (`make demo`, 5,760 images). Each repeat opens the page anew from disk without a network,
then changes the columns; the medians are printed, with the load of the machine beside them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from schemas.io.layout import ResultsFolder

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")

PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"

SWITCH = """() => new Promise(done => {
  const boxes = [...document.querySelectorAll('#columns input[type=checkbox]:not(:checked)')];
  const start = performance.now();
  boxes[0].click();
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
})"""
"""Milliseconds from ticking a further condition to the next frame painted."""


def measured(page: Page, file: Path) -> dict[str, float]:
    """Seconds of one opening and one change."""
    page.goto("about:blank")
    start = time.perf_counter()
    page.goto(file.resolve().as_uri())
    page.wait_for_selector("#gallery .im")
    images = time.perf_counter() - start
    page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
    paint = page.evaluate(PAINT) / 1000
    return {"paint": paint, "images": images, "switch": page.evaluate(SWITCH) / 1000}


def main() -> None:
    """Open and change the page some times, and print the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--page", type=Path, help="the page; default that of the report")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    file = given.page or ResultsFolder(given.run).page
    path = next(filter(None, [os.environ.get("CHROMIUM"), *map(shutil.which, NAMES)]))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
        page = context.new_page()
        runs = [measured(page, file) for _ in range(given.repeats)]
        browser.close()
    print(f"{file.stat().st_size / 1e6:.1f} MB; load {os.getloadavg()[0]:.1f}")
    for name in runs[0]:
        times = [run[name] for run in runs]
        print(f"{name}: {statistics.median(times):.3f} s (slowest {max(times):.3f} s)")


if __name__ == "__main__":
    main()
