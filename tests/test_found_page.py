"""Lesions found, on the report of a photograph: shown on request, by kind, and described in words that match the numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_atlas import drawn_atlas, map_columns, with_lesions

from atlas.cohort.lesions import KINDS
from atlas.cohort.regions import near_fovea, region_of
from atlas.lesionnets.bundle import load_lesion_net
from atlas.records import FoundLesions, Frame, Landmarks, Lesson, Mark, Stop
from atlas.resources import DEFAULT_LESION_NET
from atlas.site.book import Book
from atlas.site.found import found_view, kind_counts, places
from atlas.site.render import render_site
from atlas.site.scripts import image_columns
from atlas.site.views import ClusterView, mostly
from atlas.site.words import Words, is_seen


def found_of(marks: tuple[Mark, ...], landmarks: Landmarks | None = None, without: float = 1.0) -> FoundLesions:
    return FoundLesions(marks, np.zeros(len(marks), np.float32), without, ("microaneurysm",), landmarks)


def view(marks: tuple[Mark, ...], whole: float = 2.0, without: float = 1.0, drawn_only: tuple[str, ...] = ()) -> Any:
    return found_view(found_of(marks, without=without), Frame(0, 0, 100), whole, (10, 10), from_drawn_eyes=drawn_only)


def test_what_is_told_fits_the_figures() -> None:
    exudate, bleed, dot = (Mark(kind, (10, 20, 20, 40)) for kind in ("hard_exudate", "haemorrhage", "microaneurysm"))
    told = view((exudate, exudate, bleed))
    assert told.told == "The lesion net found 1 haemorrhage and hard exudates in 2 places."
    assert told.marks[0].box == (10, 20, 10, 20)
    assert told.marks[0].cells == (12, 13)  # of 10 x 10, numbered row by row
    assert told.too_small == "microaneurysms"
    assert "would grade this eye as moderate" in told.rule
    assert "as mild: microaneurysms and nothing else" in view((dot, dot)).rule
    either = Mark("red_lesion", (0, 0, 9, 9))
    for some in ((either,), (dot, either)):
        assert "as mild if all of them are microaneurysms, and as moderate if any is a haemorrhage" in view(some).rule
    assert "as moderate: more than microaneurysms" in view((either, bleed)).rule
    assert "proliferative" in view((dot, Mark("new_vessels", (0, 0, 9, 9)))).rule
    assert "severe" in view((bleed,) * 81).rule
    assert "from 2.00 to 1.00." in told.hidden
    assert "Most of the score remains" in told.hidden
    assert "Most of the score" not in view((dot,), 2.0, 0.4).hidden
    assert "hardly changes" in view((dot,), 2.0, 1.98).hidden
    assert "raises the score from 2.00 to 2.50" in view((dot,), 2.0, 2.5).hidden
    nothing = view(())
    assert "found no lesion" in nothing.told
    assert nothing.rule == nothing.hidden == ""
    kinds = [mark.kind for mark in told.marks]
    assert mostly(kinds, 5) == "Mostly hard exudates (67%)"
    assert mostly(kinds[:1] + kinds[2:], 5) == "Lesions of several kinds"
    assert mostly(kinds[:1] * 4, 5) == "Hard exudates"
    red = [KINDS[key] for key in ("microaneurysm", "haemorrhage", "red_lesion", "red_lesion")]
    assert mostly(red, 5) == "Red lesions"
    assert mostly([*red, kinds[0]], 5) == "Mostly red lesions (80%)"
    assert mostly([], 0) == ""


@pytest.mark.parametrize(
    ("language", "whole", "most", "several"),
    [
        ("de", "Cluster 3: Harte Exsudate", "Cluster 3: Überwiegend harte Exsudate", "Cluster 3: Läsionen mehrerer Arten"),
        ("es", "Grupo 3: Exudados duros", "Grupo 3: Sobre todo exudados duros", "Grupo 3: Lesiones de varios tipos"),
    ],
)
def test_a_cluster_is_titled_in_sentence_case_and_a_curators_title_stays_as_given(
    language: str, whole: str, most: str, several: str
) -> None:
    words = Words.of(language)
    exudate, bleed = (replace(KINDS[key], plural=words.named(KINDS[key].plural)) for key in ("hard_exudate", "haemorrhage"))

    def name(kinds: list[Any], title: str = "") -> str:
        of_kinds = mostly(kinds, len(kinds), words)
        return ClusterView(3, (), 9, 0, (), 0.0, "", title=title, mostly=of_kinds, words=words).name

    assert name([exudate] * 6) == whole
    assert name([exudate] * 5 + [bleed]).startswith(f"{most} (83")
    assert name([exudate, bleed] * 3) == several
    assert name([exudate] * 6, "mCNV or not?").endswith(" 3: mCNV or not?")


@pytest.mark.parametrize(
    ("drop", "told"), [(0.004, "hardly changes"), (0.25, "lowers the score by 0.25"), (-0.1, "raises the score by 0.10")]
)
def test_a_handout_says_how_the_score_changes_without_a_patch(drop: float, told: str) -> None:
    assert told in ClusterView(3, (), 9, 0, (), drop, "").hidden


def test_kinds_that_only_drawn_eyes_taught_do_not_count_towards_a_grade() -> None:
    late = ("new_vessels", "preretinal_blood")
    vessels, blood, bleed, dot = (Mark(kind, (0, 0, 9, 9)) for kind in (*late, "haemorrhage", "microaneurysm"))
    assert "proliferative" in view((dot, vessels)).rule, "a net that learned new vessels from photographs is believed"
    told = view((vessels, blood, bleed), drawn_only=late).rule
    assert told.startswith("The lesion net learned new vessels and pre-retinal blood from drawn eyes only, so its marks of these")
    assert "By the other lesions alone" in told
    assert "as moderate" in told
    assert "proliferative" not in told
    assert "as mild" in view((dot, vessels), drawn_only=late).rule
    assert "as severe" in view((bleed,) * 81 + (blood,), drawn_only=late).rule
    assert "as proliferative" in view((vessels, blood), drawn_only=("new_vessels",)).rule
    alone = view((vessels,), drawn_only=late)
    assert "are not counted towards a grade." in alone.rule
    assert "international scale" not in alone.rule
    assert "new vessels in 1 place" in alone.told, "the mark itself is still told"
    assert view((bleed,), drawn_only=late).rule == view((bleed,)).rule


def test_a_report_says_that_proliferative_disease_cannot_be_recognised() -> None:
    found = found_of((Mark("haemorrhage", (0, 0, 9, 9)),))

    def rule(*not_marked: str) -> str:
        shown = found_view(found, Frame(0, 0, 100), 2.0, (10, 10), not_marked=not_marked)
        assert shown is not None
        return shown.rule

    assert rule("new_vessels", "preretinal_blood") == (
        f"{rule()} The lesion net marks no new vessels and no pre-retinal blood, so it cannot recognise proliferative disease."
    )
    assert rule("new_vessels") == rule()


def test_the_report_and_the_page_of_a_kind_say_what_only_drawn_eyes_taught(tmp_path: Path) -> None:
    atlas = with_lesions(drawn_atlas(tmp_path / "pictures", count=8))
    image = next(i for i, found in atlas.found.items() if {mark.kind for mark in found.marks} == {"hard_exudate", "haemorrhage"})
    render_site(atlas, tmp_path / "pictures", tmp_path / "photographs")
    told = replace(atlas, provenance=replace(atlas.provenance, from_drawn_eyes=("haemorrhage",)))
    render_site(told, tmp_path / "pictures", tmp_path / "drawn")

    def says(site: str, page: str) -> bool:
        return "from drawn eyes only" in (tmp_path / site / page).read_text(encoding="utf-8")

    pages = (f"images/{image}.html", "lesions/haemorrhage.html")
    assert all(says("drawn", page) for page in pages)
    assert not any(says("photographs", page) for page in pages)
    assert not says("drawn", "lesions/hard_exudate.html")


def test_the_shipped_net_marks_and_tells_what_drawn_eyes_could_teach() -> None:
    net = load_lesion_net(DEFAULT_LESION_NET)
    assert net.not_marked == ("new_vessels", "preretinal_blood")
    assert net.marked == ("red_lesion", "hard_exudate", "cotton_wool_spot")
    assert net.from_drawn_eyes == ("cotton_wool_spot",)
    assert "It marks no new vessels and no pre-retinal blood" in net.card


def test_a_change_that_no_decimal_shows_is_told_in_words(tmp_path: Path) -> None:
    assert [is_seen(change) for change in (0.0, 0.0049, -0.0049, 0.0051, -0.01)] == [False, False, False, True, True]
    falls = np.array([0.004, -0.004, 0.02, -0.02], np.float32)
    marks = (Mark("haemorrhage", (0, 0, 9, 9)),) * 4
    shown = found_view(FoundLesions(marks, falls, 1.0), Frame(0, 0, 100), 2.0, (10, 10))
    assert shown is not None
    ends = ("hardly changes the score.", "hardly changes the score.", "lowers the score by 0.02.", "raises the score by 0.02.")
    assert all(mark.alt.endswith(f"Hiding it {end}") for mark, end in zip(shown.marks, ends, strict=True))
    patch = next(iter(Book(drawn_atlas(tmp_path, count=8)).patches.values()))
    for kind in (None, KINDS["haemorrhage"]):
        for fall, end in zip(falls.tolist(), ends, strict=True):
            assert replace(patch, drop=fall, kind=kind).alt.endswith(f"Hiding it {end}")
    told = [replace(patch, drop=fall).hidden.partition(", ")[2] for fall in falls.tolist()]
    hardly = "the score hardly changes."
    assert told == [hardly, hardly, "the score falls by 0.02 grades.", "the score rises by 0.02 grades."]


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


def test_data_hold_counts_by_kind_and_one_letter_for_each_patch(tmp_path: Path) -> None:
    atlas = with_lesions(drawn_atlas(tmp_path, count=8))
    blind = atlas.strip.image_ids[3]  # where the net did not look
    book = Book(replace(atlas, found={i: own for i, own in atlas.found.items() if i != blind}))
    columns = image_columns(book, {})
    assert [kind["letter"] for kind in columns["lesions"]] == ["H", "E"]
    for kind in columns["lesions"]:
        own = [sum(mark.kind == kind["key"] for mark in atlas.found[i].marks) for i in columns["id"]]
        assert list(kind["counts"]) == [None if i == blind else n for i, n in zip(columns["id"], own, strict=True)]
    assert columns["looked"] == [int(i != blind) for i in columns["id"]]
    assert kind_counts({}, columns["id"]) == {}

    mapped = map_columns(book)
    assert atlas.embedding is not None
    kinds = [book.patches[i].kind for i in atlas.embedding.patch_ids]
    assert list(mapped["kind"]) == [kind.letter for kind in kinds if kind]
    assert {kind["letter"]: kind["count"] for kind in mapped["kinds"]} == Counter(mapped["kind"])
    windows = map_columns(Book(drawn_atlas(tmp_path / "windows", count=8)))
    assert windows["kind"] == ""
    assert windows["kinds"] == []


@pytest.mark.browser
def test_photographs_are_found_and_lettered_by_kind(browser: Any, tmp_path: Path) -> None:
    atlas = with_lesions(drawn_atlas(tmp_path / "pictures", count=12))
    first = atlas.strip.image_ids[0]
    bare = replace(atlas.found[first], marks=(), falls=np.zeros(0, np.float32))
    bled = tuple(mark for mark in atlas.found[atlas.strip.image_ids[1]].marks if mark.kind == "haemorrhage")
    some = replace(bare, marks=bled, falls=np.zeros(len(bled), np.float32))
    atlas = replace(atlas, found={**atlas.found, first: bare, atlas.strip.image_ids[1]: some})
    render_site(atlas, tmp_path / "pictures", tmp_path / "out")
    held = [{mark.kind for mark in atlas.found[i].marks} for i in atlas.strip.image_ids]
    exudates, both = (sum(wanted <= own for own in held) for wanted in ({"hard_exudate"}, {"hard_exudate", "haemorrhage"}))
    none = sum(not own for own in held)
    page = browser.new_page(offline=True)
    for name in ("find", "strip"):
        page.goto((tmp_path / "out" / f"{name}.html").as_uri() + "#lesions=hard_exudate")
        page.wait_for_selector(".sheet-view[data-ready]")
        tally = {key: int(page.locator(f"[data-lesion={key}]").inner_text()) for key in ("hard_exudate", "haemorrhage", "none")}
        assert tally == {"hard_exudate": exudates, "haemorrhage": both, "none": 0}
        assert page.locator(".cell").count() == exudates < len(held)
        assert page.locator(".cell .letter").count() == 0, "the photographs are looked at first"
        page.locator("[name=marks]").check()
        shown = {
            int(cell.get_attribute("data-row")): "".join(cell.locator(".letter").all_inner_texts())
            for cell in page.locator(".cell").all()
        }
        letters = ["H" * ("haemorrhage" in own) + "E" * ("hard_exudate" in own) for own in held]
        assert shown == {row: text for row, text in enumerate(letters) if "E" in text}
        assert "Lesions found: " in page.locator(".cell img").first.get_attribute("alt")
        page.locator("[name=lesions][value=hard_exudate]").uncheck()
        page.locator("[name=lesions][value=none]").check()
        assert page.locator(".cell").count() == none > 0
        page.wait_for_function("() => location.hash.includes('lesions=none') && location.hash.includes('marks=1')")
    page.close()


@pytest.mark.browser
def test_photographs_are_found_by_where_lesions_lie(browser: Any, tmp_path: Path) -> None:
    atlas = with_lesions(drawn_atlas(tmp_path / "pictures", count=12))
    unknown, *_ = atlas.strip.image_ids
    atlas = replace(atlas, found={**atlas.found, unknown: replace(atlas.found[unknown], landmarks=None)})
    render_site(atlas, tmp_path / "pictures", tmp_path / "out")

    def there(image_id: str, key: str) -> set[str]:
        own = atlas.found[image_id]
        if key == "fovea":
            return {mark.kind for mark in own.marks if near_fovea(mark.box, own.landmarks)}
        return {mark.kind for mark in own.marks if region_of(mark.box, own.landmarks) == key}

    page = browser.new_page(offline=True)
    for name in ("find", "strip"):
        for key in places():
            held = [there(image_id, key) for image_id in atlas.strip.image_ids]
            page.goto((tmp_path / "out" / f"{name}.html").as_uri() + f"#place={key}")
            page.reload()
            page.wait_for_selector(".sheet-view[data-ready]", state="attached")
            assert page.locator("[name=place]").input_value() == key
            assert page.locator(".cell:visible").count() == sum(bool(own) for own in held)
            if "haemorrhage" in set().union(*held):
                tally = int(page.locator("[data-lesion=haemorrhage]").inner_text())
                assert tally == sum("haemorrhage" in own for own in held)
                page.locator("[name=lesions][value=haemorrhage]").check()
                assert page.locator(".cell:visible").count() == tally
                page.locator("[name=lesions][value=haemorrhage]").uncheck()
            page.locator("[name=lesions][value=none]").check()  # none there; of the first photograph nobody knows
            assert page.locator(".cell:visible").count() == sum(not own for own in held[1:])
    assert any(there(image_id, "macula") for image_id in atlas.strip.image_ids)
    page.close()


@pytest.mark.browser
def test_the_shape_of_the_strip_is_told_by_kind(browser: Any, tmp_path: Path) -> None:
    atlas = with_lesions(drawn_atlas(tmp_path / "pictures", count=12))
    render_site(atlas, tmp_path / "pictures", tmp_path / "out")
    page = browser.new_page(offline=True)
    page.goto((tmp_path / "out" / "strip.html").as_uri())
    page.wait_for_selector(".sheet-view[data-ready]")
    assert page.locator("#density polygon").count() > 0
    page.locator("[name=shade]").select_option("lesions")
    assert page.locator("#density polygon").count() == 0
    lines = {line.get_attribute("data-kind") for line in page.locator("#density polyline").all()}
    assert lines == {"hard_exudate", "haemorrhage"}
    assert sorted(page.locator("#peaks .letter").all_inner_texts()) == ["E", "H"]
    page.wait_for_function("() => location.hash.includes('shade=lesions')")
    page.locator("[name=shade]").select_option("")
    assert page.locator("#peaks .letter").count() == 0
    page.close()


@pytest.mark.browser
def test_the_map_is_coloured_selected_and_searched_by_kind(browser: Any, tmp_path: Path) -> None:
    atlas = with_lesions(drawn_atlas(tmp_path / "pictures", count=12))
    render_site(atlas, tmp_path / "pictures", tmp_path / "out")
    page = browser.new_page(offline=True)
    page.goto((tmp_path / "out" / "map.html").as_uri() + "#colour=kind")
    page.wait_for_selector("#map[data-ready]")
    counts = Counter(map_columns(Book(atlas))["kind"])
    entries = [entry.inner_text().split() for entry in page.locator("#map-key button").all()]
    assert {entry[0]: int(entry[-1]) for entry in entries} == counts, "each kind bears its letter"
    page.locator("#map-key button").first.click()
    assert page.locator("#selection-count").inner_text().startswith(f"Patches: {counts['H']}.")
    page.locator("#map-search").fill("hard exudates")
    page.keyboard.press("Enter")
    assert page.locator("#selection-title").inner_text() == "Found by the network: hard exudates"
    page.wait_for_function("() => decodeURIComponent(location.hash).includes('select=kind:hard_exudate')")
    assert "Hard exudate" in page.locator("#gallery img").first.get_attribute("alt")
    page.close()


@pytest.mark.browser
def test_compare_lessons_and_handouts_outline_as_the_report_does(browser: Any, tmp_path: Path) -> None:
    atlas = with_lesions(drawn_atlas(tmp_path / "pictures", count=12))
    book = Book(atlas)
    first, second = [i for i, found in book.found.items() if len(found.counts) == 2][:2]
    lesson = Lesson("seen", "Seen", "", (Stop("", "", image=first),))
    atlas = replace(atlas, curation=replace(atlas.curation, lessons=(lesson,)))
    render_site(atlas, tmp_path / "pictures", tmp_path / "out")
    page = browser.new_page(offline=True)

    def outlines(path: str, within: str = "body") -> list[tuple[Any, ...]]:
        if path:
            page.goto((tmp_path / "out" / path).as_uri())
        drawn: list[tuple[Any, ...]] = page.locator(f"{within} svg.found g").evaluate_all(
            """(marks) => marks.map((mark) => [mark.dataset.kind, mark.style.getPropertyValue("--kind"), mark.textContent.trim(),
            ...["x", "y", "width", "height"].map((name) => mark.querySelector(".line").getAttribute(name)).map(Number)])"""
        )
        return drawn

    wanted = {i: outlines(f"images/{i}.html") for i in (first, second)}
    assert all(wanted.values())
    assert outlines("handouts/lesson-seen.html") == wanted[first]
    assert page.locator("svg.found").is_visible()
    page.locator("#found-shown").uncheck()
    assert not page.locator("svg.found").is_visible()
    assert outlines("lessons/seen.html") == wanted[first]
    assert not page.locator("svg.found").is_visible(), "the photograph is looked at first"
    page.keyboard.press("f")
    assert page.locator("svg.found").is_visible()
    assert "not a person" in page.locator(".found-here .caption").inner_text()

    page.goto((tmp_path / "out" / "compare.html").as_uri() + f"#a={first}&b={second}")
    page.wait_for_selector("#compare[data-ready]")
    assert page.locator("svg.found").count() == 0
    page.keyboard.press("l")
    page.wait_for_function("() => document.querySelectorAll('svg.found').length === 2")
    assert outlines("", "[data-side=a]") == wanted[first]
    assert outlines("", "[data-side=b]") == wanted[second]
    page.locator("#swap").click()
    page.wait_for_selector(f"[data-side=a][data-id='{second}'] svg.found")
    assert outlines("", "[data-side=a]") == wanted[second]
    page.wait_for_function("() => location.hash.includes('lesions=1')")
    page.close()


@pytest.mark.browser
def test_the_quiz_shows_what_was_found_only_with_the_answer(browser: Any, tmp_path: Path) -> None:
    atlas = with_lesions(drawn_atlas(tmp_path / "pictures", count=12))
    render_site(atlas, tmp_path / "pictures", tmp_path / "out")
    page = browser.new_page(offline=True)
    page.goto((tmp_path / "out" / "quiz.html").as_uri())
    page.locator("#setup button[type=submit]").click()
    page.locator("#photograph").wait_for()
    assert page.evaluate("window.ATLAS_CELLS === undefined && !document.querySelector('svg.found')")
    page.keyboard.press("1")
    page.locator("#reveal").click()
    page.wait_for_function("() => window.ATLAS_CELLS !== undefined")
    (image,) = page.evaluate("Object.keys(window.ATLAS_CELLS)")
    marks = len(Book(atlas).found[image].marks)
    page.wait_for_function("(n) => document.querySelectorAll('svg.found g').length === n", arg=marks)
    if marks:
        page.keyboard.press("f")
        assert not page.locator("svg.found").is_visible()
    page.close()


def test_a_clusters_handout_outlines_each_lesion_in_the_colour_and_with_the_letter_of_its_kind(tmp_path: Path) -> None:
    atlas = with_lesions(drawn_atlas(tmp_path / "pictures", count=8))
    render_site(atlas, tmp_path / "pictures", tmp_path / "out")
    sheets = sorted((tmp_path / "out").rglob("handouts/*.html"))
    shown = [text for sheet in sheets if 'class="of-kind"' in (text := sheet.read_text("utf-8"))]
    assert shown
    for text in shown:
        for own in text.split('<g class="of-kind"')[1:]:
            letter = own.split("</text>")[0].rsplit(">", 1)[1]
            kind = next(kind for kind in KINDS.values() if kind.letter == letter)
            assert f"--kind:{kind.colour}" in own.split(">")[0]
