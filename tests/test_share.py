"""What a reader sees on a report is in its address, and a link to it works in any copy of the atlas."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from drawn_atlas import drawn_atlas, with_cells

from atlas.site.book import Book
from atlas.site.render import render_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Book, Path]:
    folder = tmp_path_factory.mktemp("share")
    atlas, *_ = with_cells(drawn_atlas(folder / "pictures", count=14), folder / "pictures")
    render_site(atlas, folder / "pictures", folder / "out", languages=("en", "de"))
    return Book(atlas), folder / "out"


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    context = browser.new_context(offline=True, reduced_motion="reduce", viewport={"width": 1440, "height": 900})
    page, faults = context.new_page(), list[str]()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    yield page
    context.close()
    assert faults == []


def seen(page: Any) -> dict[str, Any]:
    """What a reader has set on a report, as the page shows it."""
    page.wait_for_selector(".plate[data-drawn]")
    place = page.locator(".layer").evaluate("(one) => one.style.transform")
    return {
        "map": page.locator(".method:checked").input_value(),
        "drawn": page.locator(".plate").get_attribute("data-drawn"),
        "strength": page.locator(".opacity").input_value(),
        "score": page.locator("[data-live=score]").text_content(),
        "hidden": page.evaluate("[...document.querySelectorAll('.cells .left')].map((one) => one.dataset.cell)"),
        "zoom": page.locator(".zoom output").text_content(),
        "place": [float(n) for n in re.findall(r"-?[\d.]+", place)],
    }


def alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two readers see the same; the address rounds the view to a ten-thousandth of the plate."""
    return {**one, "place": 0} == {**other, "place": 0} and one["place"] == pytest.approx(other["place"], abs=0.05)


def set_up(page: Any, path: Path) -> dict[str, Any]:
    """Choose a map, hide places and zoom in; return what the page then shows."""
    page.goto(path.as_uri())
    untouched = seen(page)
    page.locator(".method[value=gradcam]").check(force=True)
    page.locator(".own").check()
    page.locator(".opacity").fill("35")
    page.locator(".opacity").dispatch_event("input")
    page.wait_for_selector(".plate[data-drawn='gradcam own']")
    page.locator(".mat").focus()
    page.keyboard.press("l")
    for key in ("Enter", "ArrowRight", "Enter", "ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    page.keyboard.press("Escape")
    page.locator(".mat").focus()
    for key in ("+", "+", "ArrowLeft"):
        page.keyboard.press(key)
    page.wait_for_function("() => location.hash.includes('view=') && location.hash.includes('out=')")
    page.wait_for_timeout(400)  # the address may follow a burst of changes a moment later
    now = seen(page)
    assert len(now["hidden"]) == 3
    assert all(now[name] != untouched[name] for name in now)
    return now


@pytest.mark.browser
def test_a_report_opens_again_as_it_was_left(tab: Any, site: tuple[Book, Path]) -> None:
    book, folder = site
    chosen = set_up(tab, folder / book.plates[9].page)
    address = tab.url
    tab.goto("about:blank")
    tab.goto(address)
    tab.wait_for_selector(".plate[data-drawn='gradcam own']")
    assert alike(seen(tab), chosen)
    tab.evaluate("location.hash = 'map=occlusion'")  # the reader writes another address
    tab.wait_for_selector(".plate[data-drawn='occlusion common']")
    other = seen(tab)
    assert (other["hidden"], other["place"], other["strength"]) == ([], [], "60")


@pytest.mark.browser
def test_what_nobody_changed_is_not_in_the_address(tab: Any, site: tuple[Book, Path]) -> None:
    book, folder = site
    tab.goto((folder / book.plates[3].page).as_uri())
    seen(tab)
    tab.locator(".method[value=occlusion]").check(force=True)
    tab.wait_for_function("() => location.hash === '#map=occlusion'")
    tab.locator(".method[value=none]").check(force=True)
    tab.wait_for_function("() => location.hash === ''")


@pytest.mark.browser
@pytest.mark.parametrize("allowed", [True, False], ids=["clipboard", "by hand"])
def test_a_copied_link_opens_in_another_copy_of_the_atlas(
    tab: Any, site: tuple[Book, Path], tmp_path: Path, allowed: bool
) -> None:
    book, folder = site
    if allowed:
        tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    else:
        tab.add_init_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    plate = book.plates[9]
    chosen = set_up(tab, folder / "de" / plate.page)
    tab.locator("#share").click()
    field = tab.locator(".copied input")
    link = field.input_value()
    assert link.startswith(f"de/{plate.page}#")
    assert book.codes[plate.id] == tab.locator(".copied code").text_content()
    if allowed:
        assert tab.evaluate("navigator.clipboard.readText()") == link
    else:
        assert tab.evaluate("getSelection().toString()") == link
    tab.keyboard.press("Escape")
    assert tab.locator(".copied").text_content() == ""

    elsewhere = tmp_path / "a copy with spaces & more"
    shutil.copytree(folder, elsewhere)
    tab.goto((elsewhere / "index.html").as_uri())
    tab.evaluate(
        """(text) => {
          const clipboardData = new DataTransfer();
          clipboardData.setData("text", text);
          document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
        }""",
        link,
    )
    tab.wait_for_selector(".plate[data-drawn='gradcam own']")
    assert tab.url.startswith((elsewhere / "de" / plate.page).as_uri())
    assert alike(seen(tab), chosen)


@pytest.mark.browser
@pytest.mark.parametrize("text", ["https://example.org/a.html", "../outside.html", "some words", "javascript:alert(1).html"])
def test_other_texts_are_pasted_as_anywhere(tab: Any, site: tuple[Book, Path], text: str) -> None:
    _, folder = site
    tab.goto((folder / "index.html").as_uri())
    kept = tab.evaluate(
        """(text) => {
          const clipboardData = new DataTransfer();
          clipboardData.setData("text", text);
          return document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
        }""",
        text,
    )
    assert kept
    assert tab.url == (folder / "index.html").as_uri()


@pytest.mark.browser
def test_find_understands_the_code_of_a_plate(tab: Any, site: tuple[Book, Path]) -> None:
    book, folder = site
    plate = book.plates[5]
    tab.goto(f"{(folder / 'find.html').as_uri()}#text={book.codes[plate.id]}")
    tab.wait_for_selector(f"a[href$='{plate.page}']")
    assert tab.locator("a[href*='images/']").count() == 1


def test_codes_are_short_and_name_one_photograph_each(site: tuple[Book, Path]) -> None:
    book, _ = site
    atlas = book.atlas
    assert {len(code) for code in book.codes.values()} == {6}
    ids = ("0123456789abcdef", "0123456789aaaaaa", "0123456000000000", "ffff000000000000")
    images = tuple(dataclasses.replace(image, image_id=one) for image, one in zip(atlas.dataset.images, ids, strict=False))
    few = Book(dataclasses.replace(atlas, dataset=dataclasses.replace(atlas.dataset, images=images)))
    assert few.codes == {
        "0123456789abcdef": "0123456789ab",
        "0123456789aaaaaa": "0123456789aa",
        "0123456000000000": "01234560",
        "ffff000000000000": "ffff00",
    }


@pytest.mark.browser
@pytest.mark.parametrize("name", ["index", "strip", "find", "map", "compare", "quiz", "image"])
def test_without_javascript_nothing_dead_is_shown_and_the_page_says_what_is_missing(
    browser: Any, site: tuple[Book, Path], name: str
) -> None:
    book, folder = site
    page = browser.new_context(offline=True, java_script_enabled=False).new_page()
    page.goto((folder / (book.plates[2].page if name == "image" else f"{name}.html")).as_uri())
    assert page.locator("button:visible, input:visible, select:visible, canvas:visible").count() == 0
    assert ("JavaScript" in page.locator("main").inner_text()) == (name != "index")
    assert not page.get_by_text("Unpack the complete folder").is_visible()
    page.context.close()


@pytest.mark.browser
def test_a_first_page_alone_says_to_unpack_the_folder(tab: Any, site: tuple[Book, Path], tmp_path: Path) -> None:
    _, folder = site
    shutil.copy(folder / "index.html", tmp_path)
    context = tab.context.browser.new_context(offline=True)
    page = context.new_page()
    page.goto((tmp_path / "index.html").as_uri())
    assert page.get_by_text("Unpack the complete folder first").is_visible()
    context.close()
