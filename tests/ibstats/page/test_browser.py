"""The page in a real Chromium, from disk, without a network."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from ibstats import open_store
from ibstats.report.page.making import content, write_bundle
from ibstats.results.kept import obtain
from schemas.results import ResultRow
from tests.ibstats.conftest import write_run
from tests.ibstats.page.conftest import HOSTILE, PLAIN, QUICK, Opened, make

BASELINE = "stochastic-original-full"
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def show(tab: Opened, file: Path, state: str = "") -> Page:
    """Open a page at a state, anew."""
    tab.page.goto("about:blank")
    tab.page.goto(f"{file.as_uri()}{state}")
    return tab.page


def close(tab: Opened) -> None:
    assert tab.complaints == []


@pytest.mark.parametrize("name", ["toy_page", "imported_page"])
def test_it_opens_from_disk_without_a_complaint(
    name: str, opened: Opened, request: pytest.FixtureRequest
) -> None:
    page = show(opened, request.getfixturevalue(name))
    expect(page.locator("#gallery .im").first).to_be_visible()
    page.locator("#data").scroll_into_view_if_needed()
    expect(page.locator("#all-rows tbody tr").first).to_be_visible()
    close(opened)


def test_every_image_on_the_page_is_the_one_of_the_run(
    toy: Path, toy_page: Path, opened: Opened
) -> None:
    """Pixel by pixel, drawn from the background of each button."""
    page = show(opened, toy_page, f"#columns=toy-mim/{BASELINE}&size=32")
    expect(page.locator("tr[data-prompt]")).to_have_count(6)
    page.evaluate("window.scrollTo(0, document.body.scrollHeight / 2)")
    wanted = open_store(toy).images("toy-mim").sel(condition=BASELINE)
    for number in (0, 3):
        row = page.locator("tr[data-prompt]").nth(number)
        row.scroll_into_view_if_needed()
        expect(row.locator(".im")).to_have_count(4)
        for sample in (0, 3):
            found = row.locator(".im").nth(sample).evaluate(PIXELS, [16, 4])
            pixels = wanted.isel(prompt=number, sample=sample).values
            assert found == pixels[[0, 5, 15], [0, 9, 15]].tolist()
    close(opened)


PIXELS = """async (button, [size, n]) => {
  const image = new Image();
  image.src = button.style.backgroundImage.slice(5, -2);
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = size * n; canvas.height = size;
  const pen = canvas.getContext("2d", {willReadFrequently: true});
  pen.drawImage(image, 0, 0);
  const at = Math.round(parseFloat(button.style.backgroundPosition) / 100 * (n - 1));
  return [[0, 0], [5, 9], [15, 15]].map(([y, x]) => [...pen.getImageData(at * size + x, y, 1, 1).data].slice(0, 3));
}"""


def test_a_hostile_text_does_nothing(imported_page: Path, opened: Opened) -> None:
    page = show(opened, imported_page)
    row = page.locator("tr[data-prompt]").first
    expect(row.locator("th")).to_contain_text(HOSTILE)
    row.locator(".im").first.click()
    expect(page.locator("#one h2")).to_have_text(f"{HOSTILE} 1")
    page.keyboard.press("s")
    page.keyboard.press("Escape")
    expect(page.locator("#stars figcaption")).to_contain_text(HOSTILE)
    assert page.locator("main img").count() == 0
    assert page.title() != "taken"
    close(opened)


def rounded(rows: Iterable[ResultRow]) -> set[str]:
    """Every number of results as any table may round it."""
    found = set()
    for row in rows:
        values = [value for value in row.model_dump().values() if isinstance(value, int | float)]
        for value in values:
            found |= {f"{value:.{digits}f}" for digits in range(7)}
    return found


@pytest.mark.parametrize("name", ["toy", "imported"])
def test_every_number_of_its_tables_and_charts_is_one_of_the_results(
    name: str, opened: Opened, request: pytest.FixtureRequest
) -> None:
    file = request.getfixturevalue(f"{name}_page")
    page = show(opened, file)
    known = rounded(rows_of(file))
    cells = page.locator("main td.number, main td > span.number").all_text_contents()
    numbers = [number for cell in cells for number in NUMBER.findall(cell.replace("<.0001", ""))]
    assert len(numbers) > 20
    assert [number for number in numbers if number not in known] == []


def rows_of(file: Path) -> list[ResultRow]:
    text = file.read_text()
    start = text.index('id="rows">') + len('id="rows">')
    held = json.loads(text[start : text.index("</script>", start)])
    return [ResultRow(**row) for row in held["rows"]]


def test_a_chart_shows_each_number_where_it_belongs(
    toy: Path, toy_page: Path, opened: Opened
) -> None:
    page = show(opened, toy_page)
    probes = [row for row in obtain(open_store(toy), QUICK).rows if row.section == "probe"]
    chart = page.locator("#answer table.chart").first
    quantity = "ssim_dissimilarity"
    assert "1 - SSIM" in chart.locator("caption").inner_text()
    models = chart.locator("thead th").all_inner_texts()[1:]
    for line in chart.locator("tbody tr").all():
        term = line.locator("th").inner_text()
        for number, model in enumerate(models):
            (row,) = [
                row
                for row in probes
                if (row.model, row.term, row.quantity) == (model, term, quantity)
            ]
            said = line.locator("td").nth(number).locator("span.number").inner_text()
            assert said.startswith(f"{row.estimate:.3f}")
            assert line.locator("td").nth(number).locator("circle.dot").count() == row.n_prompts
    close(opened)


def test_the_rows_are_all_there_filtered_and_page_by_page(
    toy: Path, toy_page: Path, opened: Opened
) -> None:
    page = show(opened, toy_page)
    rows = obtain(open_store(toy), QUICK).rows
    page.locator("#data").scroll_into_view_if_needed()
    expect(page.locator("#all-rows tbody tr").first).to_be_visible()
    seen: list[list[str]] = []
    on = page.get_by_role("button", name="On", exact=True)
    while True:
        seen += page.evaluate(
            "[...document.querySelectorAll('#all-rows tbody tr')].map(r => [...r.cells].map(c => c.textContent))"
        )
        if on.is_disabled():
            break
        on.click()
    heads = page.locator("#all-rows thead th").all_inner_texts()
    assert len(seen) == len(rows)
    for row, line in zip(rows, seen, strict=True):
        shown = dict(zip(heads, line, strict=True))
        assert (shown["model"], shown["term"], shown["quantity"]) == (
            row.model,
            row.term,
            row.quantity,
        )
        for name in ("estimate", "low", "high", "p_holm"):
            value = getattr(row, name)
            if value is None:
                assert shown[name] == "–"
            else:
                assert float(shown[name]) == pytest.approx(value, rel=5.1e-6)
    page.locator("#filter").fill("toy-ar probe ssim")
    wanted = [
        row
        for row in rows
        if row.model == "toy-ar" and row.section == "probe" and "ssim" in row.quantity
    ]
    expect(page.locator("#found")).to_have_text(f"1 to {len(wanted)} of {len(wanted)} rows")
    expect(page).to_have_url(re.compile("filter=toy-ar%20probe%20ssim"))
    close(opened)


def test_a_view_is_a_link(toy_page: Path, opened: Opened) -> None:
    page = show(opened, toy_page)
    page.locator("#columns summary").click()
    page.get_by_role("button", name="All of toy-ar").click()
    page.get_by_role("combobox", name="Sort prompts by").select_option("value:ssim_dissimilarity")
    page.get_by_role("combobox", name="Order", exact=True).select_option("rising")
    page.locator("#find").fill("number_")
    order = page.locator("tr[data-prompt]").evaluate_all("rows => rows.map(r => r.dataset.prompt)")
    link = page.url
    again = show(opened, toy_page, "#" + link.partition("#")[2])
    assert again.locator(".gallery thead th").count() == 9
    assert (
        again.locator("tr[data-prompt]").evaluate_all("rows => rows.map(r => r.dataset.prompt)")
        == order
    )
    assert again.locator("#find").input_value() == "number_"
    close(opened)


def test_prompts_are_sorted_by_diversity_and_by_change(
    toy: Path, toy_page: Path, opened: Opened
) -> None:
    of = content(open_store(toy), QUICK).analyses[0]
    assert of.tree is not None
    values = of.tree["toy-ar/per_prompt"]["ssim_dissimilarity"].to_dataset(name="d")["d"]
    one, other = "stochastic-original-full", "stochastic-paraphrase-full"
    columns = f"#columns=toy-ar/{one},toy-ar/{other}"
    for sort, wanted in (
        ("value", values.sel(condition=one)),
        ("change", values.sel(condition=other) - values.sel(condition=one)),
    ):
        page = show(opened, toy_page, f"{columns}&sort={sort}:ssim_dissimilarity")
        found = page.locator("tr[data-prompt]").evaluate_all(
            "all => all.map(r => r.dataset.prompt)"
        )
        names = wanted["prompt"].values[(-wanted.values).argsort(kind="stable")]
        assert found == names.tolist()
    close(opened)


def test_an_image_opens_with_its_tokens_and_twins(
    toy: Path, toy_page: Path, opened: Opened
) -> None:
    page = show(opened, toy_page, f"#open=toy-mim/{BASELINE}/p002/3")
    expect(page.locator("#one")).to_be_visible()
    tokens = open_store(toy).dataset("toy-mim")["tokens"].sel(condition=BASELINE, prompt="p002")
    cells = page.locator("#one .grid i")
    expect(cells).to_have_count(16)
    assert [int(text) for text in cells.all_inner_texts()] == tokens[3].values.ravel().tolist()
    page.get_by_role("combobox", name="Heat").select_option("token_surprisal")
    expect(cells.first).to_have_text("1.0")
    expect(page).to_have_url(re.compile("heat=token_surprisal"))
    expect(page.locator("#one .twins .im")).to_have_count(24)
    page.locator("#one .twins .im").first.click()
    expect(page.locator("#one")).to_contain_text(
        "toy-ar, argmax/original/subset, prompt 3, sample 4"
    )
    page.keyboard.press("Escape")
    expect(page.locator("#one")).to_be_hidden()
    expect(page).not_to_have_url(re.compile("open="))
    close(opened)


def holding(toy: Path, model: str, code: int) -> tuple[int, list[int]]:
    """Tokens of a code in a model's images, and how many each image with any holds, most first."""
    tokens = open_store(toy).dataset(model)["tokens"]
    counts = (tokens == code).sum(("row", "col")).values.ravel()
    return int(counts.sum()), sorted((counts[counts > 0]).tolist(), reverse=True)


def listed(page: Page) -> list[int]:
    """Tokens of the code in each image listed."""
    expect(page.locator("#code figure").first).to_be_visible()
    return [int(said.split()[0]) for said in page.locator("#code figcaption").all_inner_texts()]


def test_a_token_lists_the_images_that_use_its_code(
    toy: Path, toy_page: Path, opened: Opened
) -> None:
    page = show(opened, toy_page, f"#open=toy-mim/{BASELINE}/p002/3")
    token = page.locator("#one .grid i").nth(5)
    code = int(token.inner_text())
    token.click()
    expect(page.locator("#one")).to_be_hidden()
    expect(page).to_have_url(re.compile(f"#code=toy-mim/{code}$"))
    found = listed(page)
    n_tokens, counts = holding(toy, "toy-mim", code)
    assert found == counts[:60]
    said = page.locator("#code .found-images > p").inner_text()
    assert said == f"Code {code} of toy-mim: {n_tokens} tokens, in {len(counts)} of 192 images."
    while page.get_by_role("button", name="Show more").is_visible():
        page.get_by_role("button", name="Show more").click()
    assert listed(page) == counts
    assert serious(page, "#code") == []
    page.locator("#code figure .im").first.click()
    cells = page.locator("#one .grid i").all_inner_texts()
    assert cells.count(str(code)) == counts[0]
    close(opened)


def test_a_code_is_chosen_by_its_number_and_by_its_rank(
    toy: Path, toy_page: Path, opened: Opened
) -> None:
    page = show(opened, toy_page)
    page.locator("#code summary").click()
    page.get_by_role("combobox", name="Codes of").select_option("toy-diffusion")
    page.get_by_role("spinbutton", name="Code").fill("7")
    page.keyboard.press("Enter")
    assert listed(page) == holding(toy, "toy-diffusion", 7)[1][:60]
    again = show(opened, toy_page, "#code=toy-diffusion/7")
    assert listed(again) == holding(toy, "toy-diffusion", 7)[1][:60]
    page.get_by_role("spinbutton", name="Code").fill("99")
    page.keyboard.press("Enter")
    expect(page.locator("#code p")).to_have_text(
        "Code 99 of toy-diffusion: 0 tokens, in 0 of 192 images."
    )
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()
    first = page.locator('.ranks svg[data-model="toy-ar"] circle').first
    code = int(str(first.get_attribute("data-code")))
    first.dispatch_event("click")
    expect(page).to_have_url(re.compile(f"code=toy-ar/{code}$"))
    assert listed(page) == holding(toy, "toy-ar", code)[1][:60]
    close(opened)


def test_the_path_is_shown_up_to_a_step(toy_page: Path, opened: Opened) -> None:
    page = show(opened, toy_page, f"#open=toy-ar/{BASELINE}/p000/0")
    slider = page.locator("#one input[type=range]")
    expect(slider).to_be_visible()
    slider.focus()
    page.keyboard.press("Home")
    expect(page.locator("#one .grid i.hidden")).to_have_count(16)
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#one .grid i.hidden")).to_have_count(11)
    expect(page.locator("#one .cover i.hidden")).to_have_count(11)
    expect(page).to_have_url(re.compile("step=5"))
    close(opened)


def test_twins_are_outlined_where_noise_is_shared(
    toy_page: Path, imported_page: Path, opened: Opened
) -> None:
    page = show(opened, toy_page)
    page.locator("#gallery tr[data-prompt] .im").nth(1).hover()
    expect(page.locator("#gallery .twin")).to_have_count(3)
    assert set(
        page.locator("#gallery .twin").evaluate_all("all => all.map(one => one.dataset.sample)")
    ) == {"1"}
    page = show(opened, imported_page)
    page.locator("#gallery .im").nth(1).hover()
    expect(page.locator("#gallery .twin")).to_have_count(0)
    close(opened)


def test_all_of_the_viewer_is_done_by_keyboard(toy_page: Path, opened: Opened) -> None:
    page = show(opened, toy_page)
    page.locator("#gallery .im").first.focus()
    for key in ("ArrowRight", "j", "ArrowDown", "k", "End", "ArrowLeft", "s"):
        page.keyboard.press(key)
    at = page.evaluate(
        "[document.activeElement.dataset.model, document.activeElement.dataset.sample, "
        "document.activeElement.closest('tr').dataset.prompt]"
    )
    assert at == ["toy-diffusion", "2", "p001"]
    expect(page.locator("#stars figure")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.locator("#one")).to_contain_text("toy-diffusion")
    for key, said in (
        ("ArrowRight", "prompt 2, sample 4"),
        ("j", "prompt 3, sample 4"),
        ("ArrowRight", "prompt 4, sample 1"),
    ):
        page.keyboard.press(key)
        expect(page.locator("#one .head")).to_contain_text(said)
    page.keyboard.press("Escape")
    expect(page.locator("#one")).to_be_hidden()
    reached = page.evaluate(
        "[...document.querySelectorAll('a, button, select, input, summary, [tabindex=\"0\"]')]"
        ".filter(e => e.offsetParent && e.tabIndex >= 0).length"
    )
    assert reached > 15
    assert page.locator('#gallery .im[tabindex="0"]').count() == 1
    close(opened)


def test_a_dot_opens_the_images_behind_it(toy_page: Path, opened: Opened) -> None:
    page = show(opened, toy_page)
    line = page.locator("#answer table.chart tbody tr").filter(has_text="subset").first
    dot = line.locator("td").nth(1).locator('circle[data-prompt="p004"]')
    dot.dispatch_event("click")
    heads = page.locator("#gallery thead th small").all_inner_texts()
    assert heads == ["stochastic/original/full", "stochastic/original/subset"]
    expect(page.locator("tr.found")).to_have_attribute("data-prompt", "p004")
    close(opened)


def test_the_blind_comparison_hides_names_until_its_end(toy_page: Path, opened: Opened) -> None:
    page = show(opened, toy_page)
    page.get_by_role("button", name="Blind comparison").click()
    page.get_by_role("button", name="Begin").click()
    for _ in range(6):
        text = page.locator("#blind").inner_text()
        assert "toy-" not in text
        assert "toy-" not in page.locator("#blind").inner_html()
        page.keyboard.press("1")
    expect(page.locator("#blind")).to_contain_text("toy-ar, stochastic/original/full")
    counts = [int(text) for text in page.locator("#blind td.number").all_inner_texts()]
    assert sum(counts) == 6
    close(opened)


def test_stars_make_a_contact_sheet_that_a_link_keeps(toy_page: Path, opened: Opened) -> None:
    stars = f"factorial/toy-ar/{BASELINE}/p001/2,factorial/toy-mim/{BASELINE}/p003/0"
    page = show(opened, toy_page, f"#stars={stars}")
    expect(page.locator("#stars figure")).to_have_count(2)
    assert "sample 3" in page.locator("#stars figcaption").first.inner_text()
    page.emulate_media(media="print")
    page.evaluate("document.body.classList.add('only-stars')")
    expect(page.locator("#stars figure").first).to_be_visible()
    expect(page.locator("#answer")).to_be_hidden()
    close(opened)


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1600, "light")])
def test_it_fits_and_passes_axe(
    width: int, scheme: Any, small: Path, tmp_path: Path, opened: Opened
) -> None:
    """With everything open; then with an image open over it."""
    file = make(small, tmp_path / "small.html", PLAIN)
    opened.page.set_viewport_size({"width": width, "height": 900})
    opened.page.emulate_media(color_scheme=scheme)
    page = show(opened, file)
    page.evaluate("document.querySelectorAll('main details').forEach(one => { one.open = true; })")
    page.evaluate("document.getElementById('data').scrollIntoView({behavior: 'instant'})")
    expect(page.locator("#all-rows tbody tr").first).to_be_attached()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious(page) == []
    page = show(opened, file, f"#open=toy-mim/{BASELINE}/p001/1&heat=token_entropy")
    expect(page.locator("#one")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.querySelector('#one h2').offsetWidth") > 240
    assert page.evaluate("document.querySelector('#one').scrollWidth") <= width
    assert serious(page, "#one") == []
    close(opened)


OUTSIDE = """() => {
  const cut = (one, low, high) => {
    const box = one.getBoundingClientRect();
    return box.left < low - 1 || box.right > high + 1 ? [one.textContent] : [];
  };
  return [...document.querySelectorAll('main caption strong, main svg text')].flatMap(one => {
    const around = one.closest('td, figure, .scroll').getBoundingClientRect();
    return cut(one, Math.min(around.left, innerWidth), innerWidth);
  });
}"""
"""Titles of tables, and names of scales, that are cut on the left or lie beyond the page."""
RARE = "document.querySelectorAll('.ranks [text-anchor=end]').forEach(one => { one.textContent = '0.001%'; })"
"""The names of the shares in a run of many more tokens."""
TALLEST = """() => Math.max(0, ...[...document.querySelectorAll('.scroll > table:not(.chart) tbody tr')]
  .map(row => row.getBoundingClientRect().height))"""
"""Pixels of the tallest line of a table."""


@pytest.mark.parametrize("width", [360, 1600])
def test_no_title_or_scale_is_cut_and_no_cell_wraps(
    width: int, toy_page: Path, opened: Opened
) -> None:
    """With everything open; a table that is too wide scrolls, its title stays."""
    opened.page.set_viewport_size({"width": width, "height": 900})
    page = show(opened, toy_page)
    page.evaluate("document.querySelectorAll('main details').forEach(one => { one.open = true; })")
    assert page.locator(".ranks text").count() > 10
    page.evaluate(RARE)
    assert page.evaluate(OUTSIDE) == []
    assert 0 < page.evaluate(TALLEST) < 40
    close(opened)


def serious(page: Page, within: str | None = None) -> list[tuple[str, str]]:
    """What axe finds that keeps people out, with the first element it is found in."""
    found = Axe().run(page, context=within).response["violations"]
    kept = [one for one in found if one["impact"] in ("serious", "critical")]
    return [(one["id"], one["nodes"][0]["html"][:200]) for one in kept]


def test_without_script_tables_and_charts_are_there(toy_page: Path, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(toy_page.as_uri())
    assert page.locator("table.chart").count() >= 2
    expect(page.locator("#answer table.chart").first).to_be_visible()
    context.close()


def test_what_a_run_lacks_has_no_section(
    tmp_path: Path, imported_page: Path, opened: Opened
) -> None:
    page = show(opened, imported_page)
    assert sections(page) == ["answer", "images", "effects", "data"]
    page.locator("#gallery .im").first.click()
    expect(page.locator("#one")).to_be_visible()
    assert page.locator("#one .tokens").count() == 0
    assert page.locator("#code").count() == 0
    assert "not shared" in page.locator("#one .twins").inner_text()
    families = {"toy-mim": "masked"}
    bare = write_run(tmp_path / "bare", n_prompts=3, n_samples=3, images=False, families=families)
    settings = QUICK.but(metrics=(), parts=("information", "ledger"))
    page = show(opened, make(bare, tmp_path / "bare.html", settings))
    assert sections(page) == ["answer", "codes", "path", "data"]
    close(opened)


def sections(page: Page) -> list[str]:
    found = page.locator("main > section:not([hidden])").evaluate_all(
        "all => all.map(one => one.id)"
    )
    assert found == page.locator("nav a").evaluate_all("all => all.map(one => one.hash.slice(1))")
    return list(found)


def test_a_bundle_has_its_pieces_beside_it(toy: Path, tmp_path: Path, opened: Opened) -> None:
    file = write_bundle(content(open_store(toy), QUICK), tmp_path / "bundle")
    assert len(list((tmp_path / "bundle/pieces").glob("*.webp"))) == 6 * 8 * 3
    page = show(opened, file)
    expect(page.locator("#gallery .im").first).to_be_visible()
    assert (
        page.locator("#gallery .im").first.evaluate(
            "one => { const image = new Image(); image.src = one.style.backgroundImage.slice(5, -2);"
            " return image.decode().then(() => image.naturalWidth); }"
        )
        == 4 * 16
    )
    page.locator("#gallery .im").first.click()
    expect(page.locator("#one .tokens")).to_contain_text("ibstats view")
    page = show(opened, file, "#code=toy-mim/3")
    expect(page.locator("#code")).to_contain_text("ibstats view")
    close(opened)
