"""Every kind of page on paper and under fingers: no controls printed, nothing wider than the sheet, nothing that jumps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from drawn_atlas import OF_LESIONS, drawn_atlas, one_of_each_kind, with_cells

from atlas.site.pages import PAGES

pytestmark = pytest.mark.browser

KINDS = [*PAGES, "report", OF_LESIONS]
SHEET = 703  # CSS pixels across an A4 sheet within its margins
NOTES = (
    "The photographs have no human grades: agreement, grade shares and disagreement are left out of this atlas.",
    "The scores come from a scorer that was trained on other photographs; how well it transfers shows only in the agreement.",
    "Too few windows dropped the score by 0.2 of the scale; the patches are the windows above quantile 0.95 of all drops.",
    "These photographs have no human grades, so nothing is compared with grades.",
)
SHEETS = re.compile(rb"/Type\s*/Page\b")
DRAWN = "new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn, 80)))"
SEEN = """(choose) => [...document.querySelectorAll('body *')]
  .filter((e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !e.closest('#map-key, .unseen'))
  .filter((e) => {
    const box = e.getBoundingClientRect();
    if (box.width <= 1 || box.height <= 1) return false;
    if (choose === 'wide') return box.right > innerWidth + 1 && !e.closest('svg, .mat, .plot');
    if (choose === 'low') return e.matches('button, select') && box.height < 40 && !e.closest('.patch-buttons');
    return e.matches('button, input, select, textarea, summary, nav') || /sticky|fixed/.test(getComputedStyle(e).position);
  })
  .map((e) => `${e.tagName}#${e.id}.${e.className.baseVal ?? e.className}`)"""
SHIFTS = """window.shifted = 0;
new PerformanceObserver((list) => { for (const entry of list.getEntries()) window.shifted += entry.value; })
  .observe({ type: 'layout-shift', buffered: true });"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A small atlas with everything in it: its folder, and one page of each kind."""
    folder = tmp_path_factory.mktemp("paper")
    atlas = drawn_atlas(folder / "pictures", count=16, synthetic=True, notes=NOTES)
    atlas, *_ = with_cells(atlas, folder / "pictures")
    return folder / "out", one_of_each_kind(atlas, folder / "pictures", folder / "out")


@pytest.fixture
def visit(browser: Any, site: tuple[Path, dict[str, str]]) -> Iterator[Any]:
    context = browser.new_context(offline=True, color_scheme="dark")
    context.add_init_script(SHIFTS)
    page = context.new_page()
    page.set_default_timeout(120_000)

    def visit(kind: str, width: int, fragment: str = "") -> Any:
        page.set_viewport_size({"width": width, "height": 900})
        page.goto((site[0] / site[1][kind]).as_uri() + fragment)
        page.evaluate(DRAWN)
        return page

    yield visit
    context.close()


@pytest.mark.parametrize("kind", KINDS)
def test_paper_carries_no_controls_fits_the_sheet_and_says_what_the_atlas_is_not_for(visit: Any, kind: str) -> None:
    page = visit(kind, SHEET)
    page.emulate_media(media="print")
    page.evaluate(DRAWN)
    assert page.evaluate(SEEN, "control") == []
    assert page.evaluate(SEEN, "wide") == []
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator(".disclaimer").is_visible()
    assert page.locator("h1:visible, .leaf h2:visible").count()


def test_a_quiz_under_way_prints_its_plate_and_says_what_to_print_instead(visit: Any) -> None:
    page = visit("quiz", 1200, "#seed=5&n=2")
    page.emulate_media(media="print")
    assert page.locator("#photograph").is_visible()
    assert "The same on paper" in page.locator(".of-paper").inner_text()
    assert page.evaluate(SEEN, "control") == []
    page.emulate_media(media="screen")
    assert not page.locator(".of-paper").is_visible()


def test_four_plates_of_the_quiz_fit_on_a_sheet(visit: Any) -> None:
    page = visit("quiz-print", 1200, "#seed=5&n=4")
    assert len(SHEETS.findall(page.pdf(prefer_css_page_size=True))) == 1


def test_the_map_is_printed_from_one_canvas_with_its_dots(visit: Any) -> None:
    page = visit("map", 1200)
    page.wait_for_selector("#map[data-ready]")
    page.emulate_media(media="print")
    page.evaluate(DRAWN)
    assert not page.locator("#map-marks").is_visible(), "a second canvas prints its clearing as white over the dots"
    inks = """(field) => {
      const { data } = field.getContext('2d').getImageData(0, 0, field.width, field.height), inks = new Set();
      for (let k = 0; k < data.length; k += 4) if (Math.min(...data.slice(k, k + 3)) < 200) inks.add(data.slice(k, k + 3).join());
      return inks.size;
    }"""
    assert page.locator("#map-dots").evaluate(inks) > 20


def test_a_file_of_reports_with_notes_prints_one_page_each(visit: Any) -> None:
    page = visit("report", 1200)
    assert page.locator(".notes li").count() == len(NOTES)
    assert len(SHEETS.findall(page.pdf(prefer_css_page_size=True))) == page.locator(".report").count() == 2


def test_what_is_told_below_the_photographs_of_a_grade_fits_on_one_line(visit: Any) -> None:
    page = visit("grade", SHEET)
    page.emulate_media(media="print")
    page.evaluate(DRAWN)
    lines = page.evaluate("""[...document.querySelectorAll('.thumbs figcaption')].map((told) => {
      const range = document.createRange(), high = parseFloat(getComputedStyle(told).lineHeight);
      range.selectNodeContents(told);
      const text = range.getBoundingClientRect(), room = told.getBoundingClientRect();
      return [text.height < 1.5 * high, text.right <= room.right + 0.5];
    })""")
    assert lines
    assert all(one and within for one, within in lines)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_pressed_on_a_narrow_screen_is_high_enough_for_a_finger(visit: Any, kind: str) -> None:
    page = visit(kind, 390)
    for summary in page.locator("details.drawer summary").all():
        summary.click()
    assert page.evaluate(SEEN, "low") == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_nothing_jumps_while_the_strip_loads_on_a_narrow_screen(visit: Any) -> None:
    page = visit("strip", 390)
    page.wait_for_selector(".cell")
    page.evaluate(DRAWN)
    assert page.evaluate("window.shifted") < 0.02


def test_a_page_leaves_room_for_the_drawer_of_edit_mode_from_the_first_paint(visit: Any) -> None:
    page = visit("lessons", 1440)
    page.locator("[data-edit-switch]").click()
    page.wait_for_selector("#drawer")
    page = visit("strip", 1440)
    page.wait_for_selector("#drawer")
    assert page.evaluate("document.documentElement.className") == "editing"
    assert page.evaluate("window.shifted") < 0.02
    assert page.locator("details.drawer").evaluate("(drawer) => getComputedStyle(drawer).position") == "static"
    page.locator("#drawer header button").click()
    assert page.evaluate("document.documentElement.className") == ""
