"""A site of several languages in a real browser, from file://."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from drawn_atlas import drawn_atlas, with_cells

from atlas.records import Atlas
from atlas.site.book import Book
from atlas.site.pages import PAGES
from atlas.site.render import render_site
from atlas.site.words import Words

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Atlas, Path]:
    folder = tmp_path_factory.mktemp("languages")
    atlas, *_ = with_cells(drawn_atlas(folder / "pictures", count=12, synthetic=True), folder / "pictures")
    render_site(atlas, folder / "pictures", folder / "out", languages=("en", "de"))
    return atlas, folder / "out"


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A tab; what goes wrong in it fails the test."""
    context = browser.new_context(offline=True, reduced_motion="reduce")
    faults: list[str] = []
    tab = context.new_page()
    tab.on("console", lambda m: faults.append(f"{m.type}: {m.text}") if m.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: faults.append(f"exception: {error}"))
    tab.on("requestfailed", lambda r: faults.append(r.url) if r.failure != "net::ERR_ABORTED" else None)
    yield tab
    context.close()
    assert faults == []


@pytest.mark.parametrize("kind", PAGES)
def test_every_kind_of_page_opens_in_each_language(page: Any, site: tuple[Atlas, Path], kind: str) -> None:
    atlas, folder = site
    paths = [path for path, _ in PAGES[kind].pages(Book(atlas))]
    for place in ("", "de/") if paths else ():
        page.goto((folder / place / paths[0]).as_uri())
        language = place.rstrip("/") or "en"
        assert page.evaluate("document.documentElement.lang") == language
        assert page.evaluate("ATLAS_WORDS.language") == language
        assert page.evaluate("getComputedStyle(document.body).fontFamily") != "", "the shared style was found"
        assert page.locator(".colophon .draft").count() == int(Words.of(language).draft)
        assert page.evaluate("[...document.images].filter((one) => one.complete && one.src && !one.naturalWidth).length") == 0


@pytest.mark.parametrize("path", ["strip.html?a=1#gap=agree&low=1.5", "glossary.html#main", "quiz.html"])
def test_the_switch_keeps_what_the_reader_sees(page: Any, site: tuple[Atlas, Path], path: str) -> None:
    english = site[1].as_uri()
    page.goto(f"{english}/{path}")
    before = page.url
    page.click("nav.languages a[hreflang=de]")
    page.wait_for_url(f"{english}/de/**")
    assert page.url == before.replace(english, f"{english}/de")
    assert page.evaluate("document.documentElement.lang") == "de"
    page.click("nav.languages a[hreflang=en]")
    page.wait_for_function("document.documentElement.lang === 'en'")
    assert page.url == before


@pytest.mark.parametrize(
    ("path", "ready"),
    [
        ("strip.html", ".sheet-view[data-ready] .cell img"),
        ("find.html", ".sheet-view[data-ready] .cell img"),
        ("compare.html#map=occlusion", "#compare[data-ready] .overlay:not([hidden])"),
        ("map.html#select=plate:12", "#map[data-ready]"),
        ("quiz-print.html#seed=1&n=3", "#sheets img"),
    ],
)
def test_scripts_stay_in_the_language_and_share_the_pictures(page: Any, site: tuple[Atlas, Path], path: str, ready: str) -> None:
    folder = site[1]
    page.goto(f"{folder.as_uri()}/de/{path}")
    page.wait_for_selector(ready, state="attached")
    address = "(all) => all.map((one) => new URL(one.href ?? one.src).pathname)"
    pages = {Path(file) for file in page.locator("main a[href]").evaluate_all(address)}
    pictures = {Path(file) for file in page.locator("main img[src]").evaluate_all(address)}
    assert pictures
    assert all(file.is_file() for file in pages | pictures)
    assert all((folder / "de") in file.parents for file in pages)
    assert not any((folder / "de") in file.parents for file in pictures)


def test_the_glossary_speaks_the_language_of_the_page(page: Any, site: tuple[Atlas, Path]) -> None:
    anchors = "(all) => all.map((one) => one.id)"
    texts, ids = [], []
    for place in ("", "de/"):
        page.goto((site[1] / f"{place}glossary.html").as_uri())
        texts.append(page.locator("#mild").inner_text())
        ids.append(page.locator(".entries [id]").evaluate_all(anchors))
    assert "Microaneurysms only" in texts[0]
    assert "Nur Mikroaneurysmen" in texts[1]
    assert ids[0] == ids[1] != []
