"""Every kind of page for everybody: axe-core's rules in both themes, wide and narrow, the keyboard alone, and discreet words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe import OF_COLOUR, OF_WIDTH, TAGS, violations
from drawn_atlas import OF_LESIONS, drawn_atlas, one_of_each_kind, with_cells

from atlas.records import DIABETIC_RETINOPATHY, Atlas, Scale
from atlas.site.book import Book
from atlas.site.glossary import known
from atlas.site.pages import PAGES

pytestmark = pytest.mark.browser

KINDS = [*PAGES, "report", OF_LESIONS]
WIDE, NARROW = 1280, 390
WIDTHS = (1440, 1024, NARROW)
PHONES = ((NARROW, 844), (844, NARROW))  # upright and on its side
DRAWN = "new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(drawn))))"
SPILLED = """[...document.querySelectorAll("main :is(a, button, label, dt, dd, summary, output, h1, h2, h3, figcaption)")]
  .filter((e) => e.checkVisibility() && !e.closest(".unseen, svg, .mat, .scroll") && getComputedStyle(e).display !== "inline")
  .filter((e) => e.scrollWidth > e.clientWidth + 2 && e.textContent.trim())
  .map((e) => `${e.tagName}#${e.id}.${e.className}: ${e.textContent.trim().slice(0, 40)}`)"""
BACKWARDS = """(focusable) => {
  // Where the tab key goes up to an earlier line, or back to the left within a line.
  const stops = [...document.querySelectorAll(focusable)].filter((e) => e.tabIndex >= 0 && !e.disabled && !e.matches(".skip")
    && e.checkVisibility({ visibilityProperty: true }) && e.getClientRects().length);
  const box = (e) => {
    const label = e.labels?.[0];
    const { left, right, top, bottom } = (label?.contains(e) ? label : e).getBoundingClientRect();
    return { left, right, top, bottom };
  };
  const kept = (e) => { // it stays where it is while the page scrolls
    for (let one = e; one; one = one.parentElement) if (/fixed|sticky/.test(getComputedStyle(one).position)) return true;
    return false;
  };
  return stops.slice(1).flatMap((e, k) => {
    if (kept(e) || kept(stops[k]) || stops[k].contains(e)) return [];
    const before = box(stops[k]), here = box(e), beside = here.left >= before.right - 2;
    const up = here.bottom <= before.top + 2 && !beside;
    const back = here.right <= before.left + 2 && Math.abs(here.top + here.bottom - before.top - before.bottom) < 16;
    return up || back ? [`${stops[k].outerHTML.slice(0, 90)} -> ${e.outerHTML.slice(0, 90)}`] : [];
  });
}"""
FOCUSABLE = "a[href], button, input, select, textarea, summary, [tabindex]"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Atlas, Path, dict[str, str]]:
    """A small atlas with everything in it: its folder, and one page of each kind."""
    folder = tmp_path_factory.mktemp("accessible")
    atlas = drawn_atlas(folder / "pictures", count=10, synthetic=True, notes=("A note for the reader.",))
    atlas, *_ = with_cells(atlas, folder / "pictures")
    return atlas, folder / "out", one_of_each_kind(atlas, folder / "pictures", folder / "out")


@pytest.fixture(scope="module")
def visit(browser: Any, site: tuple[Atlas, Path, dict[str, str]]) -> Iterator[Any]:
    """Open one page of a kind, in one tab for all: opening tabs is what takes time."""
    context = browser.new_context(offline=True, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(120_000)  # a page may wait for a busy machine, not for the network

    def visit(kind: str, width: int = WIDE) -> Any:
        page.emulate_media(media="screen", color_scheme="light")
        page.set_viewport_size({"width": width, "height": 900})
        page.goto("about:blank")
        page.goto((site[1] / site[2][kind]).as_uri())
        page.evaluate(DRAWN)
        return page

    yield visit
    context.close()


@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_nothing(visit: Any, kind: str) -> None:
    page = visit(kind)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        for scheme, rules in (("light", OF_WIDTH if width == 1024 else TAGS), ("dark", OF_COLOUR)):
            page.emulate_media(color_scheme=scheme)
            page.evaluate(DRAWN)
            assert violations(page, rules) == [], f"{kind}, {scheme}, {width} px wide"


@pytest.mark.parametrize("kind", KINDS)
def test_every_page_is_walked_by_keyboard_in_its_own_order_with_visible_focus(visit: Any, kind: str) -> None:
    page = visit(kind)
    assert page.evaluate(f"[...document.querySelectorAll('{FOCUSABLE}')].filter((e) => e.tabIndex > 0).length") == 0
    seen: list[str] = []
    for _ in range(40):
        page.keyboard.press("Tab")
        where = page.evaluate(
            """() => {
              const at = document.activeElement;
              if (!at || at === document.body) return null;
              const shape = getComputedStyle(at), box = at.getBoundingClientRect();
              // A hidden input (a radio drawn as a segment, a link drawn in an SVG) shows its focus on what stands for it.
              const marked = [at, at.nextElementSibling, at.parentElement, ...at.children].some((e) => {
                if (!e) return false;
                const style = getComputedStyle(e);
                const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
                return outlined || style.stroke === "rgb(116, 228, 240)";
              });
              return { name: `${at.tagName}#${at.id}.${at.className.baseVal ?? at.className}`, marked,
                       shown: box.width > 0 && box.height > 0 && shape.visibility !== "hidden" };
            }"""
        )
        if where is None:
            break
        seen.append(where["name"])
        assert where["shown"], f"{kind}: focus goes to {where['name']}, which cannot be seen"
        assert where["marked"], f"{kind}: {where['name']} does not show its focus"
    if kind != "report":
        assert seen[0] == "A#.skip"
        assert any(name.startswith("BUTTON#theme") for name in seen)


@pytest.mark.parametrize("kind", KINDS)
def test_every_page_names_its_parts_and_says_what_the_atlas_is_not_for(visit: Any, kind: str) -> None:
    page = visit(kind)
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.locator("main").count() == 1
    assert page.locator("h1").count() == (2 if kind == "report" else 1)
    for media in ("screen", "print"):
        page.emulate_media(media=media)
        words = page.locator("footer .disclaimer")
        assert words.is_visible(), f"{kind} on {media}"
        assert "not for diagnosis" in words.inner_text()
    assert page.evaluate("[...document.images].filter((image) => !image.hasAttribute('alt')).length") == 0


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_wider_than_the_window_at_any_zoom(visit: Any, kind: str) -> None:
    """No page scrolls sideways at 200 % and 400 % of a window of 1280 pixels, or with letters twice as large, on a phone, too."""
    page = visit(kind)
    for width, letters in ((640, 100), (320, 100), (WIDE, 200), (NARROW, 200)):
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate("(size) => { document.documentElement.style.fontSize = `${size}%`; }", letters)
        page.evaluate(DRAWN)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{width} px wide, letters of {letters} %"
        assert page.evaluate(SPILLED) == [], f"{width} px wide, letters of {letters} %"


@pytest.mark.parametrize("kind", KINDS)
def test_on_a_phone_the_tab_key_follows_what_is_seen(visit: Any, site: tuple[Atlas, Path, dict[str, str]], kind: str) -> None:
    page = visit(kind, width=NARROW)
    if kind == "tray":
        page.evaluate("(ids) => { location.hash = `tray=${ids}`; }", ",".join(site[0].dataset.image_ids[:3]))
        page.wait_for_function("document.querySelectorAll('#laid .mat').length === 3")
    for width, height in PHONES:
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate(DRAWN)
        assert page.evaluate(BACKWARDS, FOCUSABLE) == [], f"{width} by {height}"


@pytest.fixture(scope="module")
def watched(browser: Any) -> Iterator[Any]:
    """A tab whose pages note what moves in them while they load."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.add_init_script(
        "window.shifts = []; new PerformanceObserver((list) => { for (const e of list.getEntries()) if (!e.hadRecentInput) "
        "shifts.push([e.value, ...e.sources.map((s) => s.node?.id || s.node?.className || s.node?.nodeName || '?')]); })"
        ".observe({ type: 'layout-shift', buffered: true });"
    )
    yield page
    context.close()


@pytest.mark.parametrize("kind", PAGES)
def test_nothing_jumps_while_a_page_loads(watched: Any, site: tuple[Atlas, Path, dict[str, str]], kind: str) -> None:
    """Layout shift as the browser counts it stays within the good range (0.1); most pages have none at all."""
    watched.goto("about:blank")
    watched.goto((site[1] / site[2][kind]).as_uri())
    watched.wait_for_timeout(300)
    shifts = watched.evaluate("shifts")
    assert sum(shift[0] for shift in shifts) < 0.02, f"{kind}: {shifts}"


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("kind", ["home", "image"])
def test_a_row_of_plates_lies_where_it_will_lie_while_half_of_it_has_arrived(visit: Any, kind: str, width: int) -> None:
    page = visit(kind, width)
    places = """() => [...document.querySelectorAll(".film")].map((film) => [...film.children].slice(0, 2).map((plate) => {
      const { left, top, width, height } = plate.getBoundingClientRect();
      return [left, top - film.getBoundingClientRect().top, width, height];
    }))"""
    arrived = np.array(page.evaluate(places))
    assert arrived.size
    page.evaluate("document.querySelectorAll('.film > :nth-child(n + 3)').forEach((plate) => plate.remove())")
    np.testing.assert_allclose(page.evaluate(places), arrived, atol=0.1)


def test_the_quiz_says_nothing_of_the_answer_before_reveal(visit: Any, site: tuple[Atlas, Path, dict[str, str]]) -> None:
    """Texts for those who do not see it carry no score, grade, or place in the order, nor an id that leads to them."""
    page = visit("quiz")
    page.locator("#setup button[type=submit]").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.getElementById('photograph').naturalWidth > 0")
    spoken = page.evaluate(
        """() => [document.title, location.href, ...[...document.querySelectorAll("body *")]
          .filter((e) => e.checkVisibility())
          .flatMap((e) => ["alt", "title", "aria-label", "aria-description", "href"].map((name) => e.getAttribute(name)))
          .filter(Boolean)]"""
    )
    text = "\n".join(spoken)
    for plate in Book(site[0]).plates:
        assert plate.id not in text
        assert not re.search(rf"\b{re.escape(f'{plate.severity:.2f}')}\b", text)
    assert not re.search(r"grade:? \d|plate \d|scored \d|score:? \d", text, re.IGNORECASE), text


def test_the_glossary_explains_the_disease_only_where_it_is_the_disease() -> None:
    about = known(DIABETIC_RETINOPATHY)
    assert {"microaneurysm", "venous-beading", "irma", "four-two-one", "proliferative", "kappa", "t-sne", "trust-badge"} <= set(
        about
    )
    other = known(Scale(1, ("clear", "hazy", "opaque"), None, "cataract"))
    assert set(other) < set(about)
    words = " ".join(f"{entry.name} {entry.words} {entry.look}" for entry in other.values()).lower()
    assert not re.search("retinopathy|aneurysm|exudate|diabet", words)


def test_terms_lead_to_their_entries(visit: Any) -> None:
    page = visit("home")
    page.locator("a.term").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/glossary.html#severity-score")
    entry = page.locator(":target")
    assert entry.locator("dt").inner_text().startswith("Severity score")
    assert entry.evaluate("(e) => { const box = e.getBoundingClientRect(); return box.top >= 0 && box.bottom <= innerHeight; }")
