"""Lesions found, on the report of a photograph: shown on request, by kind, and told in words that fit the figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_atlas import drawn_atlas, with_lesions

from atlas.records import FoundLesions, Frame, Mark
from atlas.site.book import Book
from atlas.site.found import found_view
from atlas.site.render import render_site
from atlas.site.views import mostly


def view(marks: tuple[Mark, ...], whole: float = 2.0, without: float = 1.0) -> Any:
    found = FoundLesions(marks, np.zeros(len(marks), np.float32), without, ("microaneurysm",))
    return found_view(found, Frame(0, 0, 100), whole, (10, 10))


def test_what_is_told_fits_the_figures() -> None:
    exudate, bleed, dot = (Mark(kind, (10, 20, 20, 40)) for kind in ("hard_exudate", "haemorrhage", "microaneurysm"))
    told = view((exudate, exudate, bleed))
    assert told.told == "The lesion net found one haemorrhage and hard exudates in two places."
    assert told.marks[0].box == (10, 20, 10, 20)
    assert told.marks[0].cells == (12, 13)  # of 10 x 10, numbered row by row
    assert told.too_small == "microaneurysms"
    assert "would call the eye moderate" in told.rule
    assert "mild" in view((dot, dot)).rule
    assert "proliferative" in view((dot, Mark("new_vessels", (0, 0, 9, 9)))).rule
    assert "severe" in view((bleed,) * 81).rule
    assert "from 2.00 to 1.00." in told.hidden
    assert "Most of the score is left" in told.hidden
    assert "Most of the score" not in view((dot,), 2.0, 0.4).hidden
    assert "hardly changes" in view((dot,), 2.0, 1.98).hidden
    assert "raises the score from 2.00 to 2.50" in view((dot,), 2.0, 2.5).hidden
    nothing = view(())
    assert "found no lesion" in nothing.told
    assert nothing.rule == nothing.hidden == ""
    kinds = [mark.kind for mark in told.marks]
    assert mostly(kinds) == "mostly hard exudates, 67 %"
    assert mostly(kinds[:1] + kinds[2:]) == "lesions of several kinds"
    assert mostly([]) == ""


@pytest.mark.browser
def test_lesions_are_shown_on_request_and_by_kind(browser: Any, tmp_path: Path) -> None:
    atlas = with_lesions(drawn_atlas(tmp_path / "pictures", count=8))
    render_site(atlas, tmp_path / "pictures", tmp_path / "out")
    book = Book(atlas)
    image = next(i for i, found in book.found.items() if len(found.counts) == 2)
    page = browser.new_page(offline=True)
    page.goto((tmp_path / "out" / "images" / f"{image}.html").as_uri())
    marks = page.locator("svg.found g[data-kind]")
    assert marks.count() == len(book.found[image].marks)
    assert not page.locator("svg.found").is_visible(), "the photograph is looked at first"
    page.get_by_role("button", name="Show lesions").click()
    assert page.locator("svg.found").is_visible()
    page.locator("input[data-found=hard_exudate]").uncheck()
    shown = {mark.get_attribute("data-kind") for mark in marks.all() if mark.is_visible()}
    assert shown == {"haemorrhage"}
    page.keyboard.press("f")
    assert not page.locator("svg.found").is_visible()
    letters = {mark.get_attribute("data-kind"): mark.locator("text").text_content() for mark in marks.all()}
    assert letters == {"hard_exudate": "E", "haemorrhage": "H"}
    page.close()
