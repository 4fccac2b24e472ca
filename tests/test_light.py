"""Photographs shown red-free, in grey, and with other contrast and brightness, in every viewer. Maps stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe import violations
from drawn_atlas import drawn_atlas, one_of_each_kind, with_cells
from PIL import Image

pytestmark = pytest.mark.browser

# Each page with a viewer: what leads to it, a photograph on it, and what lies beside or over the photograph.
VIEWERS = {
    "image": ("", ".report .photograph", ".overlay, .boxes, .film img"),
    "compare": ("", ".side .photograph", ".overlay"),
    "quiz": ("seed=5&n=2", "#photograph", "#marks, #pictures"),
    "lesson": ("", ".stop.current .photograph", ".overlay, .course-of-stops img, .boxes"),
    "cluster": ("", ".patches-sheet .patch img", ".trio img, .retina"),
    "lesion-kind": ("", ".patches-sheet .patch img", ".trio img, .retina"),
    "report": ("", ".report .photograph", ".overlay, .boxes"),
}
REDFREE = 'url("#light-redfree")'
FILTERS = "(all) => [...new Set(all.map((one) => getComputedStyle(one).filter))]"

Site = tuple[Path, dict[str, str]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A small atlas: its folder, one page of each kind, and the report of a photograph of which one place lies within another."""
    folder = tmp_path_factory.mktemp("light")
    atlas = drawn_atlas(folder / "pictures", count=10)
    assert atlas.patches is not None
    nested = next(image for image, patches in Counter(atlas.patches.image_ids).items() if patches == 2)
    boxes = atlas.patches.boxes.copy()
    boxes[[image == nested for image in atlas.patches.image_ids]] = [(30, 40, 80, 90), (40, 50, 60, 70)]
    atlas = replace(atlas, patches=replace(atlas.patches, boxes=boxes))
    atlas, *_ = with_cells(atlas, folder / "pictures")
    pages = one_of_each_kind(atlas, folder / "pictures", folder / "out")
    return folder / "out", pages | {"nested": f"images/{nested}.html"}


@pytest.fixture
def visit(browser: Any, site: Site) -> Iterator[Any]:
    """Open pages in tabs of their own, and note whatever goes wrong."""
    contexts, faults = [], []

    def visit(kind: str, fragment: str = "", **settings: Any) -> Any:
        contexts.append(browser.new_context(offline=True, reduced_motion="reduce", **settings))
        page = contexts[-1].new_page()
        page.on("console", lambda m: faults.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        fragment = fragment or VIEWERS.get(kind, ("",))[0]
        page.goto((site[0] / site[1][kind]).as_uri() + (f"#{fragment}" if fragment else ""))
        return page

    yield visit
    for context in contexts:
        context.close()
    assert faults == []


def filters(page: Any, selector: str) -> list[str]:
    return list(page.locator(selector).evaluate_all(FILTERS))


def pixels(page: Any, selector: str) -> Any:
    """What the screen shows of a photograph, without its edges and what lies over the lower one."""
    found = page.locator(selector).first
    found.scroll_into_view_if_needed()
    found.evaluate("(image) => image.decode()")
    page.add_style_tag(content=".mat > .to-tray { visibility: hidden }")
    shown = np.asarray(Image.open(BytesIO(found.screenshot())).convert("RGB")).astype(int)
    return shown[2 : len(shown) * 2 // 3, 2:-2]


@pytest.mark.parametrize("kind", VIEWERS)
def test_keys_change_the_photographs_of_a_viewer_and_nothing_else(visit: Any, kind: str) -> None:
    page = visit(kind)
    _, photograph, beside = VIEWERS[kind]
    assert filters(page, photograph) == ["none"]
    assert not [one for one in page.locator(".overlay, .boxes").all() if one.is_visible()], "the photograph is looked at first"
    plain = pixels(page, photograph)
    assert (plain.max(axis=2) > plain.min(axis=2)).any()
    others = filters(page, beside)

    page.keyboard.press("g")
    assert filters(page, photograph) == [REDFREE]
    shown = pixels(page, photograph)
    assert np.array_equal(shown, shown[..., :1].repeat(3, axis=2)), "all channels are equal"
    assert np.abs(shown[..., 1] - plain[..., 1]).max() <= 2, "and they are the green one"
    assert filters(page, beside) == others == ["none"]

    page.keyboard.press("k")
    page.keyboard.press(".")
    assert all(one.startswith(f"{REDFREE} brightness(") and "contrast(" in one for one in filters(page, photograph))
    page.keyboard.press("y")
    assert all(one.startswith("grayscale(1)") for one in filters(page, photograph))
    shown = pixels(page, photograph)
    assert np.ptp(shown, axis=2).max() <= 1
    assert filters(page, beside) == others
    page.keyboard.press("n")
    assert filters(page, photograph) == ["none"]
    assert np.array_equal(pixels(page, photograph), plain)


def test_buttons_say_what_is_chosen_and_all_of_a_page_agree(visit: Any) -> None:
    page = visit("report")
    assert page.locator(".light").count() == 2
    first, second = (page.locator(".light").nth(k) for k in (0, 1))
    redfree, original = (first.get_by_role("button", name=name) for name in ("Red-free", "Original"))
    assert original.is_disabled()
    redfree.focus()
    page.keyboard.press("Enter")
    first.get_by_role("button", name="More contrast").click()
    assert second.get_by_role("button", name="Red-free").get_attribute("aria-pressed") == "true"
    assert second.locator("[data-of=contrast]").inner_text() == "+1"
    original.click()
    assert second.get_by_role("button", name="Red-free").get_attribute("aria-pressed") == "false"
    assert original.is_disabled()
    assert page.evaluate("document.activeElement.dataset.light") == "redfree", "the focus is not lost"
    for _ in range(20):
        page.keyboard.press("j")
    assert first.get_by_role("button", name="Less contrast").is_disabled()


@pytest.mark.parametrize("memory", [True, False])
def test_the_choice_goes_along_from_photograph_to_photograph(visit: Any, memory: bool) -> None:
    """Also in a browser that gives each file a memory of its own: then links carry it."""
    page = visit("image")
    if not memory:
        page.context.add_init_script("Storage.prototype.getItem = () => null;")
        page.reload()
    for key in ("g", "k", "k"):
        page.keyboard.press(key)
    chosen = filters(page, ".photograph")
    assert chosen != ["none"]
    turn = page.locator(".turn a[rel=next], .turn a[rel=prev]").first
    turn.click()
    page.wait_for_load_state()
    assert filters(page, ".photograph") == chosen
    page.get_by_role("link", name="Compare with another").click()
    page.wait_for_selector("#compare[data-ready]")
    assert filters(page, ".photograph") == chosen
    page.keyboard.press("a")
    assert filters(page, ".photograph") == chosen
    if memory:
        page.keyboard.press("n")
        page.go_back()
        page.wait_for_load_state()
        assert filters(page, ".photograph") == ["none"], "what was chosen last holds"


def test_the_address_opens_the_photograph_as_it_was_shown(visit: Any) -> None:
    page = visit("image")
    for key in ("y", ".", "."):
        page.keyboard.press(key)
    assert page.url.endswith("#light=grey,b2")
    other = visit("image", fragment="light=grey,b2")
    assert filters(other, ".photograph") == filters(page, ".photograph")
    assert filters(visit("image", fragment="light=nonsense"), ".photograph") == ["none"]
    page.keyboard.press("n")
    assert "#" not in page.url


@pytest.mark.parametrize("kind", VIEWERS)
def test_paper_names_the_display_and_carries_no_buttons(visit: Any, kind: str) -> None:
    page = visit(kind)
    says = "() => [...document.querySelectorAll('figcaption, .lit')].map((e) => getComputedStyle(e, '::after').content).join(' ')"
    page.keyboard.press("g")
    page.emulate_media(media="print")
    assert "Display: red-free (green channel)." in page.evaluate(says)
    assert not page.locator(".light").first.is_visible()
    page.keyboard.press("n")
    assert "Display" not in page.evaluate(says)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_one_row_shows_until_more_is_asked_for(visit: Any, scheme: str) -> None:
    page = visit("image", viewport={"width": 390, "height": 844}, color_scheme=scheme)
    tools = page.locator(".light").first
    assert tools.bounding_box()["height"] < 60
    assert not tools.get_by_role("button", name="Brighter").is_visible()
    tools.get_by_role("button", name="Adjust").click()
    tools.get_by_role("button", name="Brighter").click()
    tools.get_by_role("button", name="Red-free").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert min(button.bounding_box()["height"] for button in tools.get_by_role("button").all()) >= 44
    assert violations(page) == []


def test_places_that_overlap_have_one_outline(visit: Any) -> None:
    """What is drawn within any of them is what the photograph shows there: no line runs through another place."""
    page = visit("nested", viewport={"width": 1280, "height": 2000})  # all in sight: nothing scrolls
    layer, outlines = page.locator(".layer").first, page.get_by_role("checkbox", name="Outlines")

    def seen() -> Any:
        return np.asarray(Image.open(BytesIO(layer.screenshot())).convert("RGB")).astype(int)

    bare = seen()
    outlines.check()
    changed = (seen() != bare).any(axis=2)
    places = page.locator(".boxes a rect.line").evaluate_all(
        "(all) => all.map((r) => [r.x, r.y, r.width, r.height].map((v) => v.baseVal.value / 100))"
    )
    side = len(bare)
    for left, top, width, height in places:
        assert not changed[
            round(top * side) + 2 : round((top + height) * side) - 2, round(left * side) + 2 : round((left + width) * side) - 2
        ].any()
    left, top, width, height = max(places, key=lambda place: place[2])
    assert changed[round(top * side) - 3 : round(top * side) + 1, round((left + width / 2) * side)].any()
    inner = min(places, key=lambda place: place[2])
    page.locator(".patches li").nth(places.index(inner)).hover()
    lit = (seen() != bare).any(axis=2)
    assert lit[round(inner[1] * side), round((inner[0] + inner[2] / 2) * side)], (
        "a place that is pointed at shows its own outline"
    )
