"""The site in a real browser, from file://, offline: every kind of page, wide and narrow, and everything that moves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from drawn_atlas import drawn_atlas

from atlas.records import Atlas
from atlas.site.book import Book
from atlas.site.pages import PAGES
from atlas.site.render import render_report, render_site

pytestmark = pytest.mark.browser

WIDE, NARROW = 1440, 390


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Atlas, Path]:
    folder = tmp_path_factory.mktemp("browser")
    atlas = drawn_atlas(folder / "pictures", count=40, synthetic=True, title="A drawn atlas with a rather long title of its own")
    names = {atlas.dataset.image_ids[0]: "a_very_long_file_name_without_any_place_to_break_" * 2 + ".jpeg"}
    render_site(atlas, folder / "pictures", folder / "out", names=names)
    render_report(atlas, folder / "pictures", atlas.dataset.image_ids[:2], folder / "out" / "report.html")
    return atlas, folder / "out"


class Visitor:
    """A tab that notes whatever goes wrong."""

    def __init__(self, browser: Any, folder: Path, **settings: Any) -> None:
        self.context = browser.new_context(offline=True, reduced_motion="reduce", **settings)
        self.folder = folder
        self.faults: list[str] = []
        self.page = self.context.new_page()
        self.page.on("console", lambda m: self.faults.append(f"{m.type}: {m.text}") if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.faults.append(f"exception: {error}"))
        self.page.on("requestfailed", self._fail)
        self.page.on("request", self._see)

    def _fail(self, request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":  # a lazy picture still under way when the reader turned the page
            self.faults.append(f"failed ({request.failure}): {request.url}")

    def _see(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.faults.append(f"left the disk: {request.url}")

    def open(self, path: str) -> Any:
        self.page.goto((self.folder / path).as_uri())
        if path == "map.html":
            self.page.wait_for_selector("#map[data-ready]")
        return self.page


@pytest.fixture
def visit(browser: Any, site: tuple[Atlas, Path]) -> Iterator[Any]:
    visitors: list[Visitor] = []

    def visit(width: int = WIDE, **settings: Any) -> Visitor:
        visitors.append(Visitor(browser, site[1], viewport={"width": width, "height": 900}, **settings))
        return visitors[-1]

    yield visit
    for visitor in visitors:
        visitor.context.close()
        assert visitor.faults == []


def one_of_each_kind(atlas: Atlas) -> dict[str, str]:
    book = Book(atlas)
    found = {name: next((path for path, _ in kind.pages(book)), "") for name, kind in PAGES.items()}
    return {name: path for name, path in found.items() if path} | {"report": "report.html"}


# Loads all images, also those far down the page, and waits for each: a lazy one counts as complete before it is asked for.
BROKEN = """async () => {
  const broken = [];
  for (const image of document.querySelectorAll('img[src]')) {
    image.loading = 'eager';
    if (!image.naturalWidth) await image.decode().catch(() => { if (image.isConnected) broken.push(image.src); });
  }
  return broken;
}"""


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_every_kind_of_page_opens_clean(visit: Any, site: tuple[Atlas, Path], width: int) -> None:
    visitor = visit(width)
    longest_name = f"images/{site[0].dataset.image_ids[0]}.html"
    for name, path in {**one_of_each_kind(site[0]), "named image": longest_name}.items():
        page = visitor.open(path)
        broken = page.evaluate(BROKEN)
        assert broken == [], name
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} scrolls sideways"
        assert page.locator("h1").count() == (2 if name == "report" else 1), name
        assert "not for diagnosis" in page.locator("footer").inner_text(), name
        assert page.locator(".synthetic").is_visible(), name


def test_every_link_opens_a_page(visit: Any, site: tuple[Atlas, Path]) -> None:
    visitor = visit()
    for name, path in one_of_each_kind(site[0]).items():
        page = visitor.open(path)
        links = page.evaluate(
            "[...document.querySelectorAll('a[href]')].map((a) => new URL(a.href.baseVal ?? a.href, location).pathname)"
        )
        assert links or name == "report"
        assert [link for link in links if not Path(link).is_file()] == [], name


def test_the_slider_lays_the_heat_map_over_the_photograph(visit: Any, site: tuple[Atlas, Path]) -> None:
    page = visit().open(one_of_each_kind(site[0])["image"])
    overlay = page.locator(".overlay")
    assert not overlay.is_visible(), "the photograph is looked at first"
    page.locator(".method[value=occlusion]").check()
    page.wait_for_selector(".plate[data-drawn='occlusion common']")

    def seen() -> float:
        return float(overlay.evaluate("(image) => getComputedStyle(image).opacity"))

    start = seen()
    assert 0 < start < 1
    slider = page.locator(".opacity")
    slider.focus()
    page.keyboard.press("Home")
    assert seen() == 0
    bare = page.locator(".plate .mat").screenshot()
    page.keyboard.press("End")
    assert seen() == 0.6, "the photograph stays visible below its map"
    assert page.locator(".plate .mat").screenshot() != bare
    assert page.url.partition("#")[0].endswith(one_of_each_kind(site[0])["image"]), "the slider's keys must not turn the page"


def test_pointing_at_the_plate_reads_the_map(visit: Any, site: tuple[Atlas, Path]) -> None:
    atlas, _ = site
    image_id = atlas.strip.image_ids[3]
    page = visit().open(f"images/{image_id}.html")
    page.locator(".method[value=occlusion]").check()
    page.wait_for_selector(".plate[data-drawn='occlusion common']")
    values = atlas.maps.values[atlas.maps.image_ids.index(image_id)]
    area = page.locator(".plate .mat").bounding_box()
    cells = values.shape[0]
    row, column = 2, 3
    page.mouse.move(area["x"] + area["width"] * (column + 0.5) / cells, area["y"] + area["height"] * (row + 0.5) / cells)
    weight = abs(float(values[row, column]))
    digits = max(2, 1 - math.floor(math.log10(weight)))  # two that tell, and never fewer than two
    assert f"{weight:.{digits}f} grades" in page.locator(".readout").inner_text()
    page.mouse.move(area["x"] + 2, area["y"] + 2)
    assert "Outside" in page.locator(".readout").inner_text()


def test_arrow_keys_turn_the_plates(visit: Any, site: tuple[Atlas, Path]) -> None:
    order = site[0].strip.image_ids
    page = visit().open(f"images/{order[4]}.html")
    page.keyboard.press("ArrowRight")
    page.wait_for_url(f"**/{order[5]}.html")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(f"**/{order[4]}.html")


def test_hurried_arrow_keys_end_at_the_last_plate(visit: Any, site: tuple[Atlas, Path]) -> None:
    """A key that comes while the next page loads goes to the one that is left, and turns to the same page again."""
    order = site[0].strip.image_ids
    for start, key, end in ((order[-4], "ArrowRight", order[-1]), (order[3], "ArrowLeft", order[0])):
        page = visit().open(f"images/{start}.html")
        for _ in range(12):
            page.keyboard.press(key)
        for _ in range(40):  # of the hurried ones any number may have come too early: a busy machine loads pages slowly
            if page.url.endswith(f"/images/{end}.html"):
                break
            page.wait_for_timeout(200)
            page.keyboard.press(key)
        page.wait_for_url(f"**/images/{end}.html")
        page.keyboard.press(key)
        page.keyboard.press(key)
        page.wait_for_timeout(200)  # for a page that must not come
        assert page.url.endswith(f"/images/{end}.html")
        assert page.locator(".photograph").is_visible()


def test_the_chosen_theme_stays(visit: Any, site: tuple[Atlas, Path]) -> None:
    page = visit(color_scheme="light").open("index.html")

    def ground() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = ground()
    page.locator("#theme").click()
    dark = ground()
    assert dark != light
    page.goto((site[1] / "methods.html").as_uri())
    assert ground() == dark
    page.locator("#theme").click()
    assert ground() == light


def test_the_system_theme_is_followed(visit: Any) -> None:
    light, dark = (
        visit(color_scheme=scheme).open("index.html").evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    )
    assert light != dark


def test_the_methods_page_shows_its_figures_at_once_and_is_small(visit: Any, site: tuple[Atlas, Path]) -> None:
    visitor = visit(color_scheme="light", java_script_enabled=False)
    files = set[str]()
    visitor.page.on("request", lambda request: files.add(request.url))
    page = visitor.open("methods.html")
    panels = page.locator(".panel")
    assert panels.count() >= 5
    for k in range(panels.count()):
        box = panels.nth(k).locator(".plot > svg").bounding_box()
        assert box["width"] > 100
        assert box["height"] > 100
    assert not page.get_by_role("button", name="Show numbers under the pointer").first.is_visible()
    visitor = visit()
    visitor.page.on("request", lambda request: files.add(request.url))
    visitor.open("methods.html")
    loaded = [Path(unquote(urlsplit(url).path)) for url in files if url.startswith("file:")]
    assert not [file for file in loaded if "plotly" in file.name]
    assert sum(file.stat().st_size for file in loaded) < 500_000


def test_plotly_draws_the_figures_when_asked_and_follows_theme_and_paper(visit: Any) -> None:
    page = visit(color_scheme="light").open("methods.html")
    ink = "() => getComputedStyle(document.querySelector('.plot text')).fill"
    static = page.evaluate(ink)
    page.get_by_role("button", name="Show numbers under the pointer").first.click()
    page.wait_for_selector(".plot .xtick text")
    panels = page.locator(".panel").count()
    assert page.locator(".plot .xaxislayer-above").count() == panels
    assert page.locator(".plot > svg").count() == 0
    assert page.get_by_text("Point at a figure to see its numbers.").first.is_visible()
    ink = "() => getComputedStyle(document.querySelector('.plot .xtick text')).fill"
    light = page.evaluate(ink)
    assert light == static
    page.locator("#theme").click()
    page.wait_for_function(f"(old) => ({ink})() !== old", arg=light)
    page.emulate_media(media="print")
    page.wait_for_function(f"(old) => ({ink})() === old", arg=light)
    assert not page.locator(".modebar").is_visible()


def test_text_is_set_in_the_font_that_the_atlas_brings(visit: Any, site: tuple[Atlas, Path]) -> None:
    page = visit().open("index.html")
    loaded = page.evaluate(
        "document.fonts.ready.then((all) => [...all].filter((one) => one.status === 'loaded').map((one) => one.family))"
    )
    assert "Literata" in loaded
    assert page.evaluate("getComputedStyle(document.body).fontFamily").startswith("Literata")
    assert "SIL Open Font License" in (site[1] / "fonts" / "OFL.txt").read_text("utf-8")


def test_outlines_lead_to_their_patch(visit: Any, site: tuple[Atlas, Path]) -> None:
    book = Book(site[0])
    plate = next(plate for plate in book.plates if book.patches_of.get(plate.id))
    patch = book.patches_of[plate.id][0]
    page = visit().open(plate.page)
    assert not page.locator(".boxes").is_visible(), "the photograph is looked at first"
    page.get_by_role("checkbox", name="Outlines").check()
    page.locator(f"rect[data-patch='{patch.id}']").click()
    page.wait_for_url(f"**#{patch.id}")
    page.get_by_role("checkbox", name="Outlines").uncheck()
    assert not page.locator(".boxes").is_visible()


def test_paper_carries_the_plate_and_the_disclaimer_without_the_controls(visit: Any, site: tuple[Atlas, Path]) -> None:
    page = visit(color_scheme="dark").open(one_of_each_kind(site[0])["image"])
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for gone in (".controls", ".masthead nav", "#theme"):
        assert not page.locator(gone).is_visible()
    for kept in (".photograph", ".trust", ".disclaimer"):
        assert page.locator(kept).is_visible()
    page.locator(".method[value=occlusion]").evaluate("(choice) => choice.click()")
    page.wait_for_selector(".plate[data-drawn='occlusion common']")
    assert page.locator(".legend").is_visible(), "a map that was asked for is printed with its legend"


def test_the_keyboard_reaches_the_content_first(visit: Any) -> None:
    page = visit().open("index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.wait_for_url("**/index.html#main")
