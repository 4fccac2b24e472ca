"""The tray, filled on one page and laid side by side on another, as a person would: in a real browser, from file://, offline."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe import OF_COLOUR, OF_WIDTH, TAGS, violations
from drawn_atlas import drawn_atlas
from test_accessibility import DRAWN

from atlas.records import Atlas
from atlas.site.book import Book
from atlas.site.render import render_site

pytestmark = pytest.mark.browser

Made = tuple[Book, Path]
Visit = Callable[..., Any]
SHEETS = re.compile(rb"/Type\s*/Page\b")
READY = "#laid[data-ready]"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("tray")
    atlas: Atlas = drawn_atlas(folder / "pictures", count=24, synthetic=True)
    images = tuple(dataclasses.replace(image, eye=None) for image in atlas.dataset.images)
    atlas = dataclasses.replace(atlas, dataset=dataclasses.replace(atlas.dataset, images=images))
    render_site(atlas, folder / "pictures", folder / "out", languages=("en", "de"))
    return Book(atlas), folder / "out"


def wrong(message: Any) -> bool:
    """Whether the page complains."""
    return message.type in ("error", "warning")


@pytest.fixture
def visit(browser: Any, site: Made) -> Iterator[Visit]:
    """Open pages in one window, which remembers what a browser remembers."""
    contexts: list[Any] = []
    faults: list[str] = []

    def visit(path: str, *, page: Any = None, width: int = 1440, height: int = 900, **settings: Any) -> Any:
        if page is None:
            context = browser.new_context(
                offline=True, reduced_motion="reduce", viewport={"width": width, "height": height}, **settings
            )
            contexts.append(context)
            page = context.new_page()
            page.on("console", lambda m: faults.append(f"{m.type}: {m.text}") if wrong(m) else None)
            page.on("pageerror", lambda error: faults.append(f"exception: {error}"))
        page.goto(f"{site[1].as_uri()}/{path}")
        if path.startswith("tray.html") and settings.get("java_script_enabled", True):
            page.wait_for_selector(READY, state="attached")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert faults == []


def in_tray(page: Any) -> list[str]:
    keys: list[str] = page.evaluate("AtlasTray.picks().map(({ key }) => key)")
    return keys


def laid(page: Any) -> list[str]:
    keys: list[str] = page.evaluate("[...document.querySelectorAll('#laid > li')].map((item) => item.dataset.key)")
    return keys


def ids(book: Book, *numbers: int) -> list[str]:
    return [book.plates[number - 1].id for number in numbers]


def test_pictures_are_picked_on_every_page_and_stay_while_the_reader_moves_on(visit: Visit, site: Made) -> None:
    book = site[0]
    page = visit("strip.html")
    page.wait_for_selector(".cell")
    assert page.locator(".tray-bar").count() == 0, "nothing is in the way before something is picked"
    cell = page.locator(".cell").nth(2)
    cell.hover()
    cell.locator(".to-tray").click()
    wanted = ids(book, 3)
    assert in_tray(page) == wanted
    assert page.locator(".tray-bar .fold").inner_text() == "Tray: 1 of 6"
    assert page.locator(".tray-bar p").inner_text() == "Added: Plate 3."
    assert page.locator("footer [role=status]").inner_text() == "Added: Plate 3.", "said aloud, too"

    page = visit("find.html", page=page)
    page.wait_for_selector(".cell")
    page.keyboard.press("ArrowRight")  # the second photograph has the focus
    page.keyboard.press("t")
    wanted += ids(book, 2)
    assert in_tray(page) == wanted

    report = book.plates[5]
    page = visit(report.page, page=page)
    page.keyboard.press("t")  # the photograph of the page
    wanted.append(report.id)
    patch = book.patches_of[report.id][0]
    item = page.locator(f'.patches li[data-pick="{patch.id}"]')
    item.hover()
    item.locator(".to-tray").click()
    wanted.append(patch.id)
    assert in_tray(page) == wanted
    assert page.locator(".plate .mat > .to-tray").get_attribute("aria-pressed") == "true"

    page = visit("map.html", page=page)
    page.wait_for_selector("#map[data-ready]")
    page.locator("#map").focus()
    shown = page.locator(".card").get_attribute("data-pick")
    page.keyboard.press("t")
    wanted = [key for key in wanted if key != shown] if shown in wanted else [*wanted, shown]
    page = visit("clusters/01.html", page=page)
    first = page.locator(".patch").first
    first.locator("a").first.focus()
    page.keyboard.press("Tab")  # from the picture to its button
    assert page.evaluate("document.activeElement.className") == "to-tray"
    key = first.get_attribute("data-pick")
    page.keyboard.press("Enter")
    wanted = [one for one in wanted if one != key] if key in wanted else [*wanted, key]
    assert in_tray(page) == wanted
    assert page.locator(".tray-bar li").count() == len(wanted)
    page.locator(".tray-bar li button").first.click()
    assert in_tray(page) == wanted[1:]


def test_a_full_tray_says_so_and_loses_nothing(visit: Visit, site: Made) -> None:
    book = site[0]
    page = visit("strip.html")
    page.wait_for_selector(".cell")
    page.keyboard.press("Home")
    for _ in range(7):
        page.keyboard.press("t")
        page.keyboard.press("ArrowRight")
    assert in_tray(page) == ids(book, 1, 2, 3, 4, 5, 6)
    told = page.locator(".tray-bar p").inner_text()
    assert told.startswith("The tray is full: it holds 6 pictures. Take one out first")
    page.locator(".tray-bar button", has_text="Empty").click()
    assert in_tray(page) == []
    page.locator(".tray-bar button", has_text="Bring them back").click()
    assert in_tray(page) == ids(book, 1, 2, 3, 4, 5, 6)


def test_the_bar_covers_nothing_and_can_be_folded(visit: Visit) -> None:
    page = visit("strip.html")
    page.wait_for_selector(".cell")
    page.keyboard.press("t")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    foot, bar = page.locator("footer").bounding_box(), page.locator(".tray-bar").bounding_box()
    assert foot["y"] + foot["height"] <= bar["y"] + 1
    assert bar["height"] < 70
    page.locator(".tray-bar .fold").click()
    assert page.locator(".tray-bar .fold").get_attribute("aria-expanded") == "false"
    assert page.locator(".tray-bar").bounding_box()["height"] < bar["height"]
    page.emulate_media(media="print")
    assert not page.locator(".tray-bar").is_visible()
    page.emulate_media(media="screen")
    page = visit("find.html", page=page)
    page.wait_for_selector(".tray-bar")
    assert page.locator(".tray-bar .fold").get_attribute("aria-expanded") == "false", "it stays folded on the next page"
    for path in ("index.html", "clusters.html", "clusters/01.html", "map.html", "lessons.html", "methods.html"):
        page = visit(path, page=page)
        bar = page.locator(".tray-bar").bounding_box()
        assert bar["y"] + bar["height"] == pytest.approx(900), path


def test_on_a_phone_the_bar_is_a_line_that_opens(visit: Visit) -> None:
    page = visit("find.html", width=390, height=844, has_touch=True, is_mobile=True)
    page.wait_for_selector(".cell .to-tray")
    assert page.locator(".cell .to-tray").first.is_visible(), "there is no pointer that could hover"
    page.locator(".cell .to-tray").first.tap()
    bar = page.locator(".tray-bar")
    assert bar.locator(".fold").inner_text() == "Tray: 1 of 6"
    assert not bar.locator("ul").is_visible()
    assert bar.bounding_box()["height"] < 60
    bar.locator(".fold").tap()
    assert bar.locator("ul img").is_visible()
    bar.locator("a.button").tap()
    page.wait_for_url("**/tray.html*")


def test_they_lie_side_by_side_and_zoom_together(visit: Visit, site: Made) -> None:
    book = site[0]
    wanted = ids(book, 1, 9, 20)
    page = visit(f"tray.html#tray={','.join(wanted)}")
    assert laid(page) == wanted
    assert page.locator("h1").inner_text() == "3 pictures side by side"
    for item, key in zip(page.locator("#laid > li").all(), wanted, strict=True):
        told = item.locator("figcaption").inner_text()
        plate = book.plate[key]
        assert f"Plate {plate.number}" in told
        assert f"Score: {plate.severity:.2f}, read as grade {plate.read.number}." in told
    tops = {round(item.bounding_box()["y"]) for item in page.locator("#laid .mat").all()}
    assert len(tops) == 1, "three lie in one row"
    zooms = "[...document.querySelectorAll('#laid .layer')].map((layer) => layer.style.getPropertyValue('--zoom'))"
    page.locator("#laid .mat").nth(1).focus()
    page.keyboard.press("+")
    assert page.evaluate(zooms) == ["1.5"] * 3
    page.keyboard.press("c")
    page.keyboard.press("+")
    assert page.evaluate(zooms) == ["1.5", "2.25", "1.5"]
    assert "coupled=no" in page.url
    page.keyboard.press("g")
    assert page.locator("html").get_attribute("data-light") == "redfree"
    assert "url(" in page.locator("#laid .photograph").first.evaluate("(image) => getComputedStyle(image).filter")


def test_pictures_change_places_and_go_by_buttons_and_the_address_follows(visit: Visit, site: Made) -> None:
    wanted = ids(site[0], 4, 5, 6)
    page = visit(f"tray.html#tray={','.join(wanted)}")
    page.locator("#laid > li").nth(2).locator("[data-by=left]").click()
    wanted = [wanted[0], wanted[2], wanted[1]]
    assert laid(page) == wanted == in_tray(page)
    assert page.evaluate("document.activeElement.dataset.by") == "left", "the focus stays on what was pressed"
    page.locator("#laid > li").nth(0).locator("[data-by=out]").click()
    assert laid(page) == wanted[1:] == in_tray(page)
    page.wait_for_function("(keys) => decodeURIComponent(location.hash).includes(`tray=${keys}`)", arg=",".join(wanted[1:]))
    page.reload()
    page.wait_for_selector(READY)
    assert laid(page) == wanted[1:]


def test_the_page_is_emptied_and_what_was_there_can_be_brought_back(visit: Visit, site: Made) -> None:
    wanted = ids(site[0], 4, 5, 6)
    page = visit(f"tray.html#tray={','.join(wanted)}")
    page.get_by_role("button", name="Empty", exact=True).click()
    assert laid(page) == in_tray(page) == []
    assert page.locator("h1").inner_text() == "The tray is empty"
    page.get_by_role("button", name="Bring them back").click()
    assert laid(page) == in_tray(page) == wanted
    assert not page.locator("#brought").is_visible()


def test_a_link_of_somebody_else_leaves_the_own_tray_alone_until_it_is_kept(visit: Visit, site: Made) -> None:
    book = site[0]
    mine, theirs = ids(book, 1, 2), ids(book, 10, 11, 12)
    page = visit(f"tray.html#tray={','.join(mine)}")
    assert in_tray(page) == mine, "an empty tray takes what a link brings"
    visit("index.html", page=page)
    visit(f"tray.html#tray={','.join(theirs)},0123456789abcdef", page=page)
    assert laid(page) == theirs
    assert in_tray(page) == mine
    told = page.locator("#brought").inner_text()
    assert "1 picture is not in this atlas" in told
    assert "This link brought 3 pictures. Your own tray is kept." in told
    page.locator("#brought button", has_text="Show my own").click()
    assert laid(page) == mine == in_tray(page)
    visit("index.html", page=page)
    visit(f"tray.html#tray={','.join(theirs)}", page=page)
    page.locator("#brought button", has_text="Keep these instead").click()
    assert in_tray(page) == theirs
    assert not page.locator("#brought").is_visible()


def test_a_patch_is_shown_as_it_is_and_leads_to_its_photograph(visit: Visit, site: Made) -> None:
    book = site[0]
    patch = next(iter(book.patches.values()))
    page = visit(f"tray.html#tray={patch.id},{patch.plate.id}")
    item = page.locator("#laid > li").first
    assert item.locator("img.photograph").get_attribute("src").endswith(f"patches/{patch.id}.jpg")
    assert f"Patch of plate {patch.plate.number}" in item.inner_text()
    item.locator("figcaption a").click()
    page.wait_for_url(f"**/images/{patch.plate.id}.html#{patch.id}")


@pytest.mark.parametrize("many", [2, 3, 6])
def test_they_are_printed_on_one_sheet_photographs_first(visit: Visit, site: Made, many: int) -> None:
    page = visit(f"tray.html#tray={','.join(ids(site[0], *range(1, many + 1)))}")
    page.evaluate("Promise.all([...document.querySelectorAll('#laid img')].map((image) => image.decode()))")
    assert len(SHEETS.findall(page.pdf(prefer_css_page_size=True))) == 1
    page.emulate_media(media="print")
    first, words = page.locator("#laid img").first.bounding_box(), page.locator(".disclaimer")
    assert words.is_visible()
    assert first["y"] < page.locator("h1").bounding_box()["y"] < words.bounding_box()["y"]
    assert page.locator("#laid figcaption").count() == many


def test_a_lesson_is_made_of_them_and_earlier_work_stays(visit: Visit, site: Made) -> None:
    book = site[0]
    patch = next(iter(book.patches.values()))
    page = visit("lessons.html")
    page.locator("[data-edit-switch]").click()
    page.wait_for_selector("#drawer")
    before = page.evaluate("ATLAS_CURATION.file.lessons.length")
    page.locator("#drawer .asked textarea").first.fill("Written before.")
    keys = [*ids(book, 2, 8), patch.id]
    visit(f"tray.html#tray={','.join(keys)}", page=page)
    page.locator("[data-edit-open]").click()
    page.locator("#drawer select").select_option("")
    page.get_by_label("Title of the new lesson").fill("Three of a kind")
    page.get_by_role("button", name="Add all as stops").click()
    assert "Added 3 stops to “Three of a kind”." in page.locator("#drawer").inner_text()
    assert [one.inner_text() for one in page.locator("#drawer .stop-form legend").all()] == [
        "Stop 1: Plate 2",
        "Stop 2: Plate 8",
        f"Stop 3: Patch of plate {patch.plate.number}",
    ]
    page.locator("#drawer .stop-form textarea").first.fill("Look at the disc.")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download curation.toml").click()
    made = tomllib.loads(Path(waiting.value.path()).read_text("utf-8"))["lessons"]
    assert len(made) == before + 1
    assert made[0]["summary"] == "Written before."
    assert [stop.get("image") or stop.get("patch") for stop in made[-1]["stops"]] == keys
    assert made[-1]["stops"][0]["text"] == "Look at the disc."


def swipe(page: Any, box: dict[str, float], far: float) -> None:
    """Swipe with one finger, by the touches that a screen reports."""
    client = page.context.new_cdp_session(page)
    x, y = box["x"] + box["width"] / 2 - far / 2, box["y"] + box["height"] / 2
    for step in range(9):
        kind = "touchMove" if step else "touchStart"
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x + far * step / 8, "y": y}]})
        page.wait_for_timeout(16)
    client.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(600)


PHONE = {"has_touch": True, "is_mobile": True}


@pytest.mark.parametrize("path", ["compare.html#a={0}&b={1}", "tray.html#tray={0},{1},{2}"])
def test_a_phone_swipes_from_photograph_to_photograph(visit: Visit, site: Made, path: str) -> None:
    page = visit(path.format(*ids(site[0], 3, 15, 20)), width=390, height=844, **PHONE)
    page.wait_for_selector("#compare[data-ready]" if "compare" in path else READY)
    mats = page.locator(".plate .mat")
    first, second = mats.nth(0).bounding_box(), mats.nth(1).bounding_box()
    assert abs(first["y"] - second["y"]) < 2, "side by side, not one below the other"
    assert first["x"] >= 0
    assert first["x"] + first["width"] <= 390
    assert second["x"] < 390 < second["x"] + second["width"], "the edge of the next one shows that there is one"
    mats.nth(0).scroll_into_view_if_needed()
    swipe(page, mats.nth(0).bounding_box(), -260)
    second = mats.nth(1).bounding_box()
    assert second["x"] >= 0
    assert second["x"] + second["width"] <= 391, "it comes to rest on the second"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("path", ["compare.html#a={0}&b={1}", "tray.html#tray={0},{1}"])
def test_a_phone_on_its_side_shows_photographs_at_once(visit: Visit, site: Made, path: str) -> None:
    page = visit(path.format(*ids(site[0], 3, 15)), width=844, height=390, **PHONE)
    page.wait_for_selector("#compare[data-ready]" if "compare" in path else READY)
    for box in (mat.bounding_box() for mat in page.locator(".plate .mat").all()):
        assert box["width"] > 230
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 391
        assert box["x"] + box["width"] <= 844


@pytest.mark.parametrize("path", ["tray.html#tray={0},{1},{2}", "strip.html"])
def test_axe_finds_nothing_about_a_filled_tray(visit: Visit, site: Made, path: str) -> None:
    page = visit(f"tray.html#tray={','.join(ids(site[0], 2, 9))}")
    page = visit("index.html", page=page)
    page = visit(path.format(*ids(site[0], 3, 15), next(iter(site[0].patches))), page=page)
    if "strip" in path:
        page.wait_for_selector(".cell .to-tray", state="attached")
        assert page.locator(".tray-bar li").count() == 2
    for width in (390, 1024, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        for scheme, rules in (("light", OF_WIDTH if width == 1024 else TAGS), ("dark", OF_COLOUR)):
            page.emulate_media(color_scheme=scheme)
            page.evaluate(DRAWN)
            assert violations(page, rules) == [], f"{scheme}, {width} px wide"
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_without_scripts_the_page_says_what_is_missing(visit: Visit) -> None:
    page = visit("tray.html", java_script_enabled=False)
    assert "The tray needs JavaScript" in page.locator("main").inner_text()
    assert page.locator("main button:visible, main input:visible").count() == 0
    page.locator("main noscript a").click()
    page.wait_for_url("**/index.html")


def test_an_empty_tray_says_how_to_fill_it(visit: Visit) -> None:
    page = visit("tray.html")
    assert page.locator("h1").inner_text() == "The tray is empty"
    assert "Pick up to six pictures" in page.locator("#empty").inner_text()
    assert not page.locator("#bar").is_visible()


def test_the_tray_goes_along_to_the_other_language(visit: Visit, site: Made) -> None:
    wanted = ids(site[0], 3, 4)
    page = visit(f"tray.html#tray={','.join(wanted)}")
    page.click("nav.languages a[hreflang=de]")
    page.wait_for_url("**/de/tray.html*")
    page.wait_for_selector(READY)
    assert laid(page) == wanted
    visit("de/index.html", page=page)
    assert in_tray(page) == wanted


def test_shortcuts_that_are_off_leave_the_button(visit: Visit, site: Made) -> None:
    page = visit(site[0].plates[0].page)
    page.get_by_role("button", name="Keyboard shortcuts: on").click()
    page.keyboard.press("t")
    assert in_tray(page) == []
    page.locator(".plate .mat > .to-tray").focus()
    page.keyboard.press("Enter")
    assert in_tray(page) == ids(site[0], 1)
    kept = page.evaluate("Object.entries(localStorage).find(([key]) => key.startsWith('atlas-tray '))[1]")
    assert json.loads(kept) == [[site[0].plates[0].id, 1]]
