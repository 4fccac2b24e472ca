"""The quiz, its handout and the comparison, driven as a person would: in a real browser, from file://, offline."""

from __future__ import annotations

import base64
import csv
import dataclasses
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from axe import violations
from drawn_atlas import GRID, SIDE, drawn_atlas
from drawn_atlas import with_lesions as lesions_found
from PIL import Image
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from atlas.config import load_configuration
from atlas.errors import ConfigurationError, DatasetError
from atlas.pictures.outlines import kind_in_words, outlines_png
from atlas.pipeline.outlined import Outlining, draw_outlines
from atlas.pipeline.store import Store
from atlas.records import LESION_GRID, Atlas, Frame, Scale
from atlas.site.book import Book
from atlas.site.quiz import quiz_columns, seal
from atlas.site.render import render_site

WIDE, NARROW = 1440, 390
KINDS = ("haemorrhage", "hard exudate")
Made = tuple[Atlas, Path]
Mark = dict[str, float]


def with_lesions(atlas: Atlas, pictures: Path) -> Atlas:
    """Outline the drawn blots of three photographs in four, but of none with the lowest grade."""
    assert atlas.patches is not None
    (pictures / "masks").mkdir(exist_ok=True)
    lesions: dict[str, dict[str, Any]] = {}
    for k, image in enumerate(atlas.dataset.images):
        if image.grade == atlas.dataset.scale.lowest or k % 4 == 3:
            continue
        masks = {kind: np.zeros((SIDE, SIDE), np.bool_) for kind in KINDS}
        own = [cell for i, cell in zip(atlas.patches.image_ids, atlas.patches.cells.tolist(), strict=True) if i == image.image_id]
        for place, (row, column, _) in enumerate(own):
            top, left = row * SIDE // GRID, column * SIDE // GRID
            masks[KINDS[place % 2]][top + 4 : top + 12, left + 4 : left + 12] = True
        (pictures / "masks" / f"{image.image_id}.png").write_bytes(outlines_png(np.any(list(masks.values()), axis=0)))
        grown = {
            kind: cv2.resize(m.astype(np.uint8), (LESION_GRID, LESION_GRID), interpolation=cv2.INTER_AREA)
            for kind, m in masks.items()
        }
        lesions[image.image_id] = {kind: np.flatnonzero(cells) for kind, cells in grown.items() if cells.any()}
    return dataclasses.replace(atlas, lesions=lesions)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("quiz")
    atlas = with_lesions(drawn_atlas(folder / "pictures", count=40, synthetic=True), folder / "pictures")
    render_site(atlas, folder / "pictures", folder / "out")
    return atlas, folder / "out"


@pytest.fixture
def visit(browser: Any, site: Made) -> Iterator[Callable[..., Any]]:
    """Open tabs that note whatever goes wrong."""
    contexts, faults = [], []

    def visit(
        path: str, *, width: int = WIDE, height: int = 900, folder: Path = site[1], noted: bool = True, **settings: Any
    ) -> Any:
        context = browser.new_context(
            offline=True, reduced_motion="reduce", viewport={"width": width, "height": height}, **settings
        )
        contexts.append(context)
        page = context.new_page()
        if noted:
            page.on("console", lambda m: faults.append(f"{m.type}: {m.text}") if m.type in ("error", "warning") else None)
            page.on("requestfailed", lambda r: faults.append(f"failed: {r.url}") if r.failure != "net::ERR_ABORTED" else None)
        page.on("pageerror", lambda error: faults.append(f"exception: {error}"))
        page.goto(f"{folder.as_uri()}/{path}")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert faults == []


def until(page: Any, condition: str, argument: Any = None) -> None:
    """Wait for a condition; asked from outside, since the pages' policy forbids polling by eval within them."""
    for _ in range(300):
        if page.evaluate(condition, argument):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never came true: {condition}")


def shown_id(page: Any) -> str:
    return Path(page.locator("#photograph").get_attribute("src")).stem


def press(page: Any, x: float, y: float) -> None:
    """Press the plate at shares of its width and height."""
    area = page.locator("#plate .layer").bounding_box()
    page.mouse.click(area["x"] + x * area["width"], area["y"] + y * area["height"])


def mark_of(page: Any) -> Mark | None:
    return page.evaluate(  # type: ignore[no-any-return]
        """() => {
          const mark = document.getElementById("mark"), line = mark.querySelector(".line");
          const share = (name) => Number(line.getAttribute(name)) / 100;
          return mark.hasAttribute("hidden") ? null : { x: share("cx"), y: share("cy"), r: share("r") };
        }"""
    )


def asked(page: Any, seed: str, n: int, stages: list[int]) -> list[str]:
    return page.evaluate(  # type: ignore[no-any-return]
        "(wanted) => AtlasDeck(ATLAS_QUIZ).session(wanted).map((k) => ATLAS_QUIZ.id[k])", {"seed": seed, "n": n, "stages": stages}
    )


def target_areas(atlas: Atlas, image_id: str) -> tuple[str, list[tuple[str, float, float, float, float]]] | None:
    """Where a mark should lie, from the records: kind, left, top, right and bottom of each area."""
    grade = {image.image_id: image.grade for image in atlas.dataset.images}[image_id]
    if found := atlas.lesions.get(image_id):
        places = [(kind, *divmod(int(place), LESION_GRID)) for kind, cells in found.items() for place in cells]
        size = 1 / LESION_GRID
        return "outlined lesions", [(kind, c * size, r * size, (c + 1) * size, (r + 1) * size) for kind, r, c in places]
    if grade == atlas.dataset.scale.lowest:
        return None
    row = atlas.maps.image_ids.index(image_id)
    inside = np.flatnonzero(atlas.maps.inside[row])
    drops = [(-float(atlas.maps.values[row].ravel()[place]), int(place)) for place in inside]
    strongest = sorted(pair for pair in drops if pair[0] < 0)[: max(1, round(0.1 * len(inside)))]
    return "strongest cells", [
        ("", c / GRID, r / GRID, (c + 1) / GRID, (r + 1) / GRID) for r, c in (divmod(place, GRID) for _, place in strongest)
    ]


def spread(runs: list[int]) -> list[int]:
    """Cells of runs (gap, length, gap, length, ...)."""
    found: list[int] = []
    end = 0
    for gap, length in zip(runs[::2], runs[1::2], strict=True):
        found += range(end + gap, end + gap + length)
        end += gap + length
    return found


def touches(mark: Mark, area: tuple[str, float, float, float, float]) -> bool:
    _, left, top, right, bottom = area
    nearest = np.clip(mark["x"], left, right), np.clip(mark["y"], top, bottom)
    return bool(np.hypot(mark["x"] - nearest[0], mark["y"] - nearest[1]) <= mark["r"])


# ---- the deck ------------------------------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_the_page_opens_what_was_sealed(visit: Any, site: Made) -> None:
    atlas, out = site
    book = Book(atlas)
    page = visit("quiz.html")
    answers = page.evaluate("() => ATLAS_QUIZ.id.map((id, k) => [id, AtlasDeck(ATLAS_QUIZ).answer(k)])")
    retinas = page.evaluate("ATLAS_QUIZ.retinas")
    assert sorted(i for i, _ in answers) == sorted(atlas.dataset.image_ids)
    for image_id, answer in answers:
        plate = book.plate[image_id]
        assert plate.grade is not None
        assert (answer["grade"], answer["plate"]) == (plate.grade.number, plate.number)
        assert answer["score"] == pytest.approx(plate.severity, abs=0.006)
        row = atlas.maps.image_ids.index(image_id)
        assert spread(retinas[answer["retina"]]) == np.flatnonzero(atlas.maps.inside[row]).tolist()
        outlined = atlas.lesions.get(image_id)
        assert answer["lesions"] == (outlined and {kind: places.tolist() for kind, places in outlined.items()})
    text = (out / "data" / "quiz.js").read_text("utf-8")
    sealed = json.loads(text.removeprefix("window.ATLAS_QUIZ=").rstrip(";\n"))["answers"]
    assert not [one for one in sealed if b"grade" in base64.b64decode(one)]


def test_a_seal_depends_on_its_key_and_keeps_every_letter() -> None:
    one, other = (base64.b64decode(seal("grade é 3", key)) for key in ("a", "b"))
    assert len(one) == len("grade é 3".encode())
    assert one != other


@pytest.mark.browser
def test_a_session_is_balanced_and_hangs_on_its_three_numbers_alone(visit: Any, site: Made) -> None:
    grade = {image.image_id: image.grade for image in site[0].dataset.images}
    page = visit("quiz.html")
    every = [0, 1, 2, 3, 4]
    first = asked(page, "7", 13, every)
    assert first == asked(visit("quiz.html"), "7", 13, every)
    assert first != asked(page, "8", 13, every)
    counts = Counter(grade[i] for i in first)
    assert len(set(first)) == 13
    assert set(counts) == set(every)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert {grade[i] for i in asked(page, "7", 6, [1, 4])} == {1, 4}
    assert len(asked(page, "7", 400, every)) == 40
    assert [grade[i] for i in first] != sorted(grade[i] for i in first), "the stages must not come in order"


@pytest.mark.browser
def test_kappa_is_scikit_learns(visit: Any) -> None:
    page = visit("quiz.html")
    random = np.random.default_rng(3)
    for size in (2, 5, 17, 60):
        human, own = random.integers(0, 5, (2, size))
        found = page.evaluate("(pairs) => AtlasDeck(ATLAS_QUIZ).kappa(pairs)", np.stack([human, own], axis=1).tolist())
        assert found == pytest.approx(cohen_kappa_score(human, own, labels=range(5), weights="quadratic"))
    assert page.evaluate("() => Number.isNaN(AtlasDeck(ATLAS_QUIZ).kappa([[2, 2], [2, 2]]))")


@pytest.mark.browser
def test_marks_are_judged_by_outlines_or_else_by_the_strongest_cells(visit: Any, site: Made) -> None:
    page = visit("quiz.html")
    found = page.evaluate(
        "() => ATLAS_QUIZ.id.map((id, k) => { const rules = AtlasDeck(ATLAS_QUIZ); return [id, rules.target(rules.answer(k))]; })"
    )
    kinds = Counter()
    for image_id, target in found:
        expected = target_areas(site[0], image_id)
        kinds[expected and expected[0]] += 1
        if expected is None:
            assert target is None
            continue
        assert target["kind"] == {"outlined lesions": "lesions", "strongest cells": "cells"}[expected[0]]
        areas = sorted((a["kind"], a["left"], a["top"], a["right"], a["bottom"]) for a in target["areas"])
        assert [a[0] for a in areas] == [a[0] for a in sorted(expected[1])]
        np.testing.assert_allclose([a[1:] for a in areas], [a[1:] for a in sorted(expected[1])])
    assert min(kinds[kind] for kind in ("outlined lesions", "strongest cells", None)) > 0


def test_a_fine_map_whose_drops_are_small_shows_where_to_look_as_well(site: Made) -> None:
    """A single cell of a fine grid lowers a score by thousandths of a grade."""
    atlas = site[0]
    faint = dataclasses.replace(atlas, maps=dataclasses.replace(atlas.maps, values=atlas.maps.values / 1000), lesions={})
    deck = quiz_columns(Book(faint))
    for image_id, sealed in zip(deck["id"], deck["answers"], strict=True):
        bits = base64.b64decode(sealed)
        stream = base64.b64decode(seal("\0" * len(bits), image_id))
        answer = json.loads(bytes(a ^ b for a, b in zip(bits, stream, strict=True)))
        expected = target_areas(faint, image_id)
        places = [(round(top * GRID), round(left * GRID)) for _, left, top, _, _ in expected[1]] if expected else []
        assert spread(answer["strongest"]) == sorted(row * GRID + column for row, column in places)
        assert bool(places) == (answer["grade"] != atlas.dataset.scale.lowest)


def test_a_very_large_grade_gives_a_sample_that_other_photographs_do_not_move(
    site: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atlas.site.quiz._MOST_PER_GRADE", 3)
    deck = quiz_columns(Book(site[0]))
    assert [stage["count"] for stage in deck["stages"]] == [3] * 5
    assert deck["id"] == sorted(deck["id"])
    of_grade = {image.image_id: image.grade for image in site[0].dataset.images}
    for grade in range(5):
        assert [i for i in deck["id"] if of_grade[i] == grade] == sorted(i for i in of_grade if of_grade[i] == grade)[:3]


# ---- the quiz ------------------------------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_a_whole_quiz(visit: Any, site: Made, tmp_path: Path) -> None:
    atlas, _ = site
    truth = {image.image_id: image.grade for image in atlas.dataset.images}
    page = visit("quiz.html")
    page.get_by_label("Questions", exact=True).fill("8")
    page.get_by_label("Seed").fill("class 12")
    page.get_by_role("button", name="Begin").click()
    assert page.url.endswith("#seed=class+12&n=8")
    expected = asked(page, "class 12", 8, [0, 1, 2, 3, 4])
    given, marks = [], []
    for k in range(8):
        assert page.locator("h1").inner_text() == f"Photograph {k + 1} of 8"
        image_id = shown_id(page)
        assert image_id == expected[k]
        areas = target_areas(atlas, image_id)
        if k % 3 == 0 and areas:  # a hit
            _, left, top, right, bottom = areas[1][0]
            press(page, (left + right) / 2, (top + bottom) / 2)
        elif k % 3 == 1:  # somewhere
            press(page, 0.5, 0.1)
        marks.append(mark_of(page))
        given.append((k * 2) % 5 if k % 2 else truth[image_id])
        page.locator(f"#grading input[value='{given[-1]}']").check()
        page.get_by_role("button", name="Reveal").click()
        told = page.locator("#verdict").inner_text()
        assert f"rade of this photograph: {truth[image_id]} (" in told
        if marks[-1] and areas:
            hit = [area[0] for area in areas[1] if touches(marks[-1], area)]
            assert ("Your mark touches" in told) is bool(hit)
            assert ("an outlined lesion" in told) is (areas[0] == "outlined lesions")
            assert all(kind in told for kind in set(hit) if kind)
        assert (page.locator("#pictures img").count() == 1) is (image_id in atlas.lesions)
        page.get_by_role("button", name="Map").click()
        page.wait_for_selector("#pictures canvas[data-drawn]")
        drawn = "(canvas) => [...canvas.getContext('2d').getImageData(0, 0, 160, 160).data].some((v) => v)"
        assert page.locator("#pictures canvas").evaluate(drawn)
        if image_id in atlas.lesions:
            assert page.evaluate("() => document.querySelector('#pictures img').decode().then(() => true)")
        page.locator("#next").click()

    human = [truth[i] for i in expected]
    result = page.locator("#result").inner_text()
    kappa = cohen_kappa_score(human, given, labels=range(5), weights="quadratic")
    assert f"{kappa:.2f}".replace("-", "−") in result
    read = dict(zip(atlas.strip.image_ids, atlas.strip.read.tolist(), strict=True))
    scorer = [read[i] for i in expected]
    assert f"{cohen_kappa_score(human, scorer, labels=range(5), weights='quadratic'):.2f}".replace("-", "−") in result
    assert f"{sum(h == g for h, g in zip(human, given, strict=True))} of 8" in result
    cells = page.locator(".matrix tbody td").all_inner_texts()
    np.testing.assert_array_equal(np.array(cells, int).reshape(5, 5), confusion_matrix(human, given, labels=range(5)))

    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save as CSV").click()
    assert waiting.value.suggested_filename == "quiz-class-12.csv"
    waiting.value.save_as(tmp_path / "quiz.csv")
    with (tmp_path / "quiz.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["image_id"] for row in rows] == expected
    assert [int(row["human_grade"]) for row in rows] == human
    assert [int(row["your_grade"]) for row in rows] == given
    hits = []
    for row, mark in zip(rows, marks, strict=True):
        areas = target_areas(atlas, row["image_id"])
        assert row["target"] == (areas[0] if areas else "")
        if mark is None:
            assert (row["mark_x"], row["hit"]) == ("", "")
            continue
        exact = {"x": float(row["mark_x"]), "y": float(row["mark_y"]), "r": float(row["mark_radius"])}
        assert exact == pytest.approx(mark, abs=1e-3)
        if areas is None:
            assert row["hit"] == ""
            continue
        hits.append(any(touches(exact, area) for area in areas[1]))
        assert row["hit"] == str(int(hits[-1]))
        assert 0 < float(row["chance"]) < 1
    assert set(hits) == {True, False}
    assert f"{100 * np.mean(hits):.0f}%" in result
    assert page.locator(".answered a").evaluate_all("(links) => links.map((a) => a.getAttribute('href'))") == [
        f"images/{i}.html" for i in expected
    ]


@pytest.mark.browser
def test_nothing_tells_the_answer_before_it_is_revealed(visit: Any, site: Made) -> None:
    atlas, out = site
    page = visit("quiz.html")
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(f"{out.as_uri()}/quiz.html#seed=5&n=10")
    page.reload()
    assert {Path(url).parent.name for url in fetched} <= {"out", "js", "css", "data", "fonts", "photographs"}
    assert {Path(url).name for url in fetched if "/data/" in url} == {"quiz.js", "words.js"}
    seen = set()
    for _ in range(10):
        image_id = shown_id(page)
        text = page.evaluate(
            """() => [document.title, location.href,
              ...["kicker", "ask"].map((id) => document.getElementById(id).outerHTML)].join(" ")"""
        )
        plain = page.evaluate("() => document.getElementById('main').innerHTML")
        for word in (f"images/{image_id}", "masks/", "cells/", f"{atlas.scores.by_id()[image_id]:.2f}", "compare.html#"):
            assert word not in plain
        text = re.sub(r'(?s)<ol class="course".*?</ol>', "", text).replace(image_id, "ID")
        seen.add(text)
        page.keyboard.press("2")
        page.keyboard.press("Enter")
        page.wait_for_selector(".of-ask[data-revealed=yes]")
        until(page, "/grade of this photograph/i.test(document.getElementById('told').textContent)")
        page.locator("#next").click()
    assert len(seen) == 1, "but for the photograph, a page before its reveal must be the same whatever the answer"


@pytest.mark.browser
def test_the_same_address_gives_the_same_quiz_and_this_tab_remembers(visit: Any) -> None:
    address = "quiz.html#seed=31&n=4&stages=1,2,4"
    first, second = visit(address), visit(address)
    for page in (first, second):
        page.keyboard.press("3")
        press(page, 0.4, 0.6)
        page.keyboard.press("Enter")
        page.wait_for_selector(".of-ask[data-revealed=yes]")
    assert shown_id(first) == shown_id(second)
    told, mark = first.locator("#told").inner_text(), mark_of(first)
    first.reload()
    assert first.locator("#told").inner_text() == told
    assert mark_of(first) == mark
    assert first.url.endswith(address)
    first.locator("#next").click()
    first.reload()
    assert first.locator("h1").inner_text() == "Photograph 2 of 4"
    assert first.locator(".of-ask").get_attribute("data-revealed") == "no"
    for _ in range(3):
        first.keyboard.press("1")
        first.keyboard.press("Enter")
        first.wait_for_selector(".of-ask[data-revealed=yes]")
        first.keyboard.press("Enter")
    assert first.locator("h1").inner_text() == "Your result"
    first.reload()
    assert first.locator("h1").inner_text() == "Your result"
    first.get_by_role("button", name="Repeat this quiz").click()
    assert shown_id(first) == shown_id(second)
    first.evaluate("location.hash = '#seed=32&n=4'")
    until(first, "document.getElementById('kicker').textContent === 'Quiz 32'")
    assert first.locator("h1").inner_text() == "Photograph 1 of 4"


@pytest.mark.browser
def test_a_map_that_is_found_missing_late_is_told_under_its_own_question_only(visit: Any) -> None:
    page = visit("quiz.html#seed=5&n=2", noted=False)  # the browser itself notes the missing file
    page.evaluate(
        """() => { // a slow disk: it is found out only when let go that the script with a map is not there
          const append = document.head.append;
          document.head.append = (script) => {
            if (!script.src.includes("/cells/")) return append.call(document.head, script);
            script.src += ".missing";
            script.addEventListener("error", () => { window.missed = script.src; });
            window.letGo = () => { window.missed = null; append.call(document.head, script); };
          };
        }"""
    )

    def reveal() -> str:
        image_id = shown_id(page)
        page.keyboard.press("2")
        page.keyboard.press("Enter")
        page.wait_for_selector(".of-ask[data-revealed=yes]")
        return image_id

    def let_go(image_id: str) -> str:
        """The words below the plate once the page was told that the map of a photograph is missing."""
        page.evaluate("window.letGo()")
        until(page, "(id) => window.missed?.includes(id) ?? false", image_id)
        return str(page.locator("#caption").inner_text())

    first = reveal()
    page.locator("#next").click()
    assert page.locator("h1").inner_text() == "Photograph 2 of 2"
    assert let_go(first) == "", "nothing is said of this photograph before it is revealed"
    second = reveal()
    assert f"cells/{second}.js is missing from this atlas" in let_go(second)
    assert first not in page.locator("#caption").inner_text()


@pytest.mark.browser
def test_a_press_while_the_plate_still_moves_marks_what_is_seen(visit: Any) -> None:
    page = visit("quiz.html#seed=3&n=4")
    page.emulate_media(reduced_motion="no-preference")
    page.add_style_tag(content=".gliding > .layer { transition-duration: 1000s !important }")
    page.locator("#plate .mat").focus()
    for _ in range(3):
        page.keyboard.press("+")
    press(page, 0.3, 0.4)
    mark = mark_of(page)
    assert mark is not None
    assert (mark["x"], mark["y"]) == pytest.approx((0.3, 0.4), abs=0.01)


@pytest.mark.browser
def test_marks_are_drawn_moved_sized_and_taken_away(visit: Any) -> None:
    page = visit("quiz.html#seed=2&n=2", height=1000)
    area = page.locator("#plate .layer").bounding_box()

    def drag(start: tuple[float, float], end: tuple[float, float]) -> None:
        page.mouse.move(area["x"] + start[0] * area["width"], area["y"] + start[1] * area["height"])
        page.mouse.down()
        page.mouse.move(area["x"] + end[0] * area["width"], area["y"] + end[1] * area["height"], steps=5)
        page.mouse.up()

    drag((0.3, 0.4), (0.4, 0.4))
    assert mark_of(page) == pytest.approx({"x": 0.35, "y": 0.4, "r": 0.05}, abs=3e-3)
    drag((0.35, 0.4), (0.6, 0.5))  # taken by its middle
    assert mark_of(page) == pytest.approx({"x": 0.6, "y": 0.5, "r": 0.05}, abs=3e-3)
    page.keyboard.press("]")
    assert mark_of(page) == pytest.approx({"x": 0.6, "y": 0.5, "r": 0.0625}, abs=3e-3)
    drag((0.1, 0.1), (0.9, 0.9))
    largest = mark_of(page)
    assert largest is not None
    assert largest["r"] == pytest.approx(0.12), "a mark over the whole plate would always hit"
    page.get_by_role("button", name="Remove mark").click()
    assert mark_of(page) is None
    mat = page.locator("#plate .mat")
    mat.focus()
    for key in ("+", "+"):
        page.keyboard.press(key)
    until(page, "document.querySelector('#plate .mat').classList.contains('zoomed')")
    press_at = page.locator("#plate .mat").bounding_box()
    page.mouse.click(press_at["x"] + 0.5 * press_at["width"], press_at["y"] + 0.5 * press_at["height"])
    assert mark_of(page) == pytest.approx({"x": 0.5, "y": 0.5, "r": 0.05}, abs=3e-3)
    before = page.locator("#plate .layer").bounding_box()
    page.mouse.move(press_at["x"] + 20, press_at["y"] + 20)
    page.mouse.down()
    page.mouse.move(press_at["x"] + 120, press_at["y"] + 60, steps=5)
    page.mouse.up()
    assert page.locator("#plate .layer").bounding_box()["x"] > before["x"] + 50, "off the mark, a drag moves the enlarged plate"
    assert mark_of(page) == pytest.approx({"x": 0.5, "y": 0.5, "r": 0.05}, abs=3e-3)


def tab_to(page: Any, selector: str) -> None:
    for _ in range(60):
        if page.evaluate("(selector) => document.activeElement?.matches(selector) ?? false", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} cannot be reached by keyboard")


@pytest.mark.browser
def test_a_quiz_by_keyboard_alone(visit: Any, site: Made) -> None:
    page = visit("quiz.html")
    tab_to(page, "#setup-n")
    page.keyboard.press("Control+a")
    page.keyboard.type("2")
    tab_to(page, "[name=stage][value='0']")
    page.keyboard.press("Space")
    tab_to(page, "#setup-seed")
    page.keyboard.press("Control+a")
    page.keyboard.type("77")
    page.keyboard.press("Enter")
    assert page.url.endswith("#seed=77&n=2&stages=1,2,3,4")
    page.keyboard.press("Enter")
    assert "Choose a grade first" in page.locator("#missing").inner_text()
    tab_to(page, "#plate .mat") if page.evaluate("document.activeElement.name !== 'grade'") else page.locator(
        "#plate .mat"
    ).focus()
    page.keyboard.press("ArrowRight")  # puts the mark into the middle
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "[", "0", "3"):
        page.keyboard.press(key)
    assert mark_of(page) == pytest.approx({"x": 0.52, "y": 0.54, "r": 0.04})
    assert page.locator("#grading input:checked").get_attribute("value") == "3"
    page.keyboard.press("Delete")
    assert mark_of(page) is None
    page.keyboard.press("Enter")
    page.wait_for_selector(".of-ask[data-revealed=yes]")
    assert page.evaluate("document.activeElement.id") == "verdict"
    shown = page.locator("#pictures canvas")
    assert not shown.is_visible(), "the photograph is looked at first"
    page.keyboard.press("m")
    assert shown.is_visible()
    page.keyboard.press("Enter")
    assert page.locator("h1").inner_text() == "Photograph 2 of 2"
    assert page.evaluate("document.activeElement.id") == "heading"
    tab_to(page, "#grading input")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector(".of-ask[data-revealed=yes]")
    page.keyboard.press("Enter")
    assert page.locator("h1").inner_text() == "Your result"
    tab_to(page, "#save")
    with page.expect_download():
        page.keyboard.press("Enter")


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(WIDE, "light"), (NARROW, "dark")])
def test_every_part_of_the_quiz_is_accessible_and_fits(visit: Any, width: int, scheme: str) -> None:
    page = visit("quiz.html", width=width, color_scheme=scheme)

    def look(what: str) -> None:
        assert violations(page) == [], what
        assert page.evaluate("document.documentElement.scrollWidth") <= width, what

    look("start")
    page.goto(page.url.split("#")[0] + "#seed=3&n=2")
    page.reload()
    press(page, 0.5, 0.5)
    look("question")
    for _ in range(2):
        page.keyboard.press("2")
        page.keyboard.press("Enter")
        page.wait_for_selector(".of-ask[data-revealed=yes]")
        look("answer")
        page.keyboard.press("Enter")
    look("result")
    paper = visit("quiz-print.html#seed=3&n=2", width=width, color_scheme=scheme)
    paper.locator("#show-key").click()
    page = paper
    look("handout")


# ---- the handout ---------------------------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_the_handout_has_the_quizs_plates_and_a_key_of_its_own(visit: Any, site: Made) -> None:
    atlas, _ = site
    book = Book(atlas)
    page = visit("quiz-print.html#seed=9&n=7&stages=0,2,3")
    expected = asked(page, "9", 7, [0, 2, 3])
    sheets = "(images) => images.map((i) => i.getAttribute('src').split('/').at(-1).slice(0, -4))"
    assert page.locator("#sheets img").evaluate_all(sheets) == expected
    before = page.evaluate("() => document.getElementById('main').innerHTML")
    for image_id in expected:
        assert before.count(image_id) == 1, "its picture and nothing else"
        assert f"{book.plate[image_id].severity:.2f}" not in before
    page.locator("#show-key").click()
    page.wait_for_selector("#answers tr")
    rows = page.locator("#answers tr").all_inner_texts()
    for place, (image_id, row) in enumerate(zip(expected, rows, strict=True), start=1):
        plate = book.plate[image_id]
        assert plate.grade is not None
        assert row.split()[0] == str(place)
        assert plate.grade.within in row
        assert f"{plate.severity:.2f}" in row
        assert f"plate {plate.number} of the atlas" in row
        assert all(kind in row for kind in atlas.lesions.get(image_id, ()))
    assert page.locator("#key").evaluate("(key) => getComputedStyle(key).breakBefore") == "auto"
    page.emulate_media(media="print")
    assert page.locator("#key").evaluate("(key) => getComputedStyle(key).breakBefore") == "page"
    assert not page.locator("#setup").is_visible()
    page.emulate_media(media="screen")
    page.locator("#show-key").click()
    assert page.evaluate("() => document.getElementById('main').innerHTML").count(expected[0]) == 1
    href = page.locator("#screen").get_attribute("href")
    again = visit(href)
    assert shown_id(again) == expected[0]


@pytest.mark.browser
def test_the_answer_key_prints_on_pages_of_its_own(visit: Any) -> None:
    page = visit("quiz-print.html#seed=9&n=4")
    until(page, "[...document.images].every((image) => image.complete)")

    def sheets() -> int:
        return len(re.findall(rb"/Type\s*/Page[^s]", page.pdf(format="A4")))

    blind = sheets()
    page.locator("#show-key").click()
    page.wait_for_selector("#answers tr")
    assert sheets() > blind
    page.evaluate("window.print = () => { window.printed = ['plates', 'key'].map((id) => document.getElementById(id).hidden); }")
    for button, hidden in (("#print-plates", [False, True]), ("#print-key", [True, False]), ("#print-both", [False, False])):
        page.evaluate("window.printed = null")
        page.locator(button).click()
        until(page, "window.printed")
        assert page.evaluate("window.printed") == hidden
    assert page.locator("#plates").is_visible()


@pytest.mark.browser
def test_the_answer_key_shows_the_lesions_found(visit: Any, tmp_path: Path) -> None:
    atlas = lesions_found(drawn_atlas(tmp_path / "pictures", count=12))
    render_site(atlas, tmp_path / "pictures", tmp_path / "out")
    page = visit("quiz-print.html#seed=9&n=5", folder=tmp_path / "out")
    assert page.locator(".found").count() == 0, "nothing is told on the plates"
    ids = page.locator("#sheets img").evaluate_all(
        "(images) => images.map((i) => i.getAttribute('src').split('/').at(-1).slice(0, -4))"
    )
    page.locator("#show-key").click()
    marked = [image_id for image_id in ids if atlas.found[image_id].marks]
    assert marked
    until(page, "(n) => document.querySelectorAll('#answers .found').length === n", len(marked))
    for row, image_id in zip(page.locator("#answers tr").all(), ids, strict=True):
        marks = atlas.found[image_id].marks
        assert row.locator(".found .line").count() == len(marks)
        assert ("Found by the network:" in row.inner_text()) is bool(marks)
        letters = {"E" if mark.kind == "hard_exudate" else "H" for mark in marks}
        assert set(row.locator(".told .letter").all_inner_texts()) == letters
    assert "the colour and the letter of their kind" in page.locator("#key-says").inner_text()


@pytest.mark.browser
def test_changing_the_handout_changes_its_address(visit: Any) -> None:
    page = visit("quiz-print.html")
    seed = page.get_by_label("Seed").input_value()
    until(page, "(seed) => location.hash.startsWith(`#seed=${seed}&n=10`)", seed)
    page.get_by_label("Photographs", exact=True).and_(page.locator("input")).fill("3")
    page.get_by_label("0 normal").uncheck()
    until(page, "location.hash.endsWith('&n=3&stages=1,2,3,4')")
    assert page.locator("#sheets img").count() == 3


# ---- other atlases -------------------------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_any_scale_and_no_masks(visit: Any, tmp_path: Path) -> None:
    scale = Scale(1, ("clear", "hazy", "cloudy", "opaque"), None, "cataract")
    atlas = drawn_atlas(tmp_path / "pictures", scale=scale, patches=False)
    render_site(atlas, tmp_path / "pictures", tmp_path / "out")
    page = visit("quiz.html#seed=1&n=3", folder=tmp_path / "out")
    assert page.locator("#grading label").all_inner_texts() == ["1 clear\n1", "2 hazy\n2", "3 cloudy\n3", "4 opaque\n4"]
    for _ in range(3):
        page.keyboard.press("4")
        press(page, 0.5, 0.5)
        page.keyboard.press("Enter")
        page.wait_for_selector(".of-ask[data-revealed=yes]")
        assert page.locator("#pictures img").count() == 0
        page.keyboard.press("Enter")
    assert (
        "No lesions were outlined" in page.locator("#result").inner_text()
        or "none of your marks" in page.locator("#result").inner_text()
    )


def test_without_grades_there_is_no_quiz(tmp_path: Path) -> None:
    atlas = drawn_atlas(tmp_path / "pictures", graded=False)
    render_site(atlas, tmp_path / "pictures", tmp_path / "out")
    assert not list((tmp_path / "out").rglob("quiz*.html"))
    assert not (tmp_path / "out" / "data" / "quiz.js").exists()
    assert "quiz.html" not in (tmp_path / "out" / "index.html").read_text("utf-8")


# ---- outlines ------------------------------------------------------------------------------------------------------------------


def test_an_outline_goes_round_a_lesion_and_covers_nothing_of_it() -> None:
    lesions = np.zeros((256, 256), np.bool_)
    cv2.circle(canvas := np.zeros((256, 256), np.uint8), (90, 120), 12, 1, -1)
    lesions |= canvas > 0
    with Image.open(BytesIO(outlines_png(lesions))) as picture:
        drawn = np.asarray(picture.convert("RGBA"))
    assert drawn.shape == (256, 256, 4)
    assert (drawn[lesions, 3] == 0).all()
    seen = drawn[..., 3] > 0
    rows, columns = np.nonzero(seen)
    distance = np.hypot(rows - 120, columns - 90)
    assert seen.any()
    assert distance.min() > 11.5
    assert distance.max() < 12 + 8
    assert (drawn[..., :3][drawn[..., 3] == 255] == 255).all()


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ("hard-exudate", "hard exudate"),
        ("cotton-wool-spot", "cotton-wool spot"),
        ("IDRiD_01_haemorrhages", "haemorrhages"),
        ("IDRiD_01", ""),
        ("mask_7_of_IDRiD_01", ""),
        ("EX", "EX"),
    ],
)
def test_kinds_in_words_never_name_the_photograph(mask: str, words: str) -> None:
    assert kind_in_words(mask, "IDRiD_01") == words


def test_masks_are_cropped_as_their_photograph_is(tmp_path: Path) -> None:
    photograph = tmp_path / "eye.png"
    Image.fromarray(np.full((100, 140, 3), 90, np.uint8)).save(photograph)
    frame = Frame(-10, 10, 120)
    mask = np.zeros((100, 140), np.uint8)
    mask[30:34, 50:56] = 255
    (tmp_path / "masks" / "eye").mkdir(parents=True)
    Image.fromarray(mask).save(tmp_path / "masks" / "eye" / "hard-exudate.png")
    Image.fromarray(np.zeros_like(mask)).save(tmp_path / "masks" / "eye" / "haemorrhage.png")
    store = Store(tmp_path / "store")

    def item() -> Outlining:
        return Outlining("ab" * 8, "eye", frame, (100, 140), tuple(sorted((tmp_path / "masks" / "eye").iterdir())))

    found = draw_outlines(item(), store)
    assert found is not None
    lesions, folder, marks = found
    assert [(mark.kind, mark.box, mark.source) for mark in marks] == [("hard_exudate", (30, 50, 34, 56), "outline")]
    assert set(lesions) == {"hard exudate"}, "a black mask shows nothing"
    rows, columns = np.divmod(lesions["hard exudate"], LESION_GRID)
    cell = frame.side / LESION_GRID
    assert (rows.min(), rows.max()) == (int((30 + 10) / cell), int((34 + 10 - 1e-9) / cell))
    assert (columns.min(), columns.max()) == (int((50 - 10) / cell), int((56 - 10 - 1e-9) / cell))
    with Image.open(folder / "outlines.png") as picture:
        assert picture.size == (120, 120)
    again = draw_outlines(item(), store)
    assert again is not None
    assert again[1] == folder
    Image.fromarray(np.zeros((50, 50), np.uint8)).save(tmp_path / "masks" / "eye" / "new-vessels.png")
    with pytest.raises(DatasetError, match="50 x 50"):
        draw_outlines(item(), store)


def test_masks_belong_to_photographs() -> None:
    with pytest.raises(ConfigurationError, match="masks needs images"):
        load_configuration(None, masks=Path("masks"))


# ---- comparison ----------------------------------------------------------------------------------------------------------------


def sides(page: Any) -> tuple[str, str]:
    page.wait_for_selector("#compare[data-ready]")
    return tuple(page.evaluate("() => ['a', 'b'].map((s) => document.querySelector(`[data-side=${s}]`).dataset.id)"))  # type: ignore[return-value]


def zooms(page: Any) -> list[dict[str, float]]:
    return page.evaluate(  # type: ignore[no-any-return]
        "() => ['a', 'b'].map((s) => AtlasViewer.attach(document.querySelector(`[data-side=${s}] .plate`)).view())"
    )


@pytest.mark.browser
def test_one_zoom_for_both_until_they_are_parted(visit: Any, site: Made) -> None:
    page = visit("compare.html", height=1200)
    sides(page)
    mat = page.locator("[data-side=a] .mat")
    mat.scroll_into_view_if_needed()
    mat.focus()
    for key in ("+", "+", "ArrowRight"):
        page.keyboard.press(key)
    left, right = zooms(page)
    assert left == pytest.approx(right)
    assert left["scale"] == pytest.approx(2.25)
    assert left["x"] > 0.5
    area = page.locator("[data-side=b] .mat").bounding_box()
    page.mouse.move(area["x"] + 100, area["y"] + 200)
    page.mouse.down()
    page.mouse.move(area["x"] + 160, area["y"] + 260, steps=4)
    page.mouse.up()
    moved = zooms(page)
    assert moved[0] == pytest.approx(moved[1])
    assert moved[0] != pytest.approx(left)
    page.get_by_label("Zoom both together").uncheck()
    until(page, "location.hash.includes('coupled=no')")
    mat.focus()
    page.keyboard.press("0")
    parted = zooms(page)
    assert parted[0]["scale"] == 1
    assert parted[1] == pytest.approx(moved[1])
    page.keyboard.press("c")
    assert zooms(page)[0] == pytest.approx(zooms(page)[1])
    page.evaluate("location.hash += '&coupled=no'")
    page.reload()
    sides(page)
    page.locator("[data-side=b] .mat").focus()
    page.keyboard.press("+")
    assert [view["scale"] for view in zooms(page)] == pytest.approx([1, 1.5])


@pytest.mark.browser
def test_plates_are_chosen_in_every_way_and_the_address_follows(visit: Any, site: Made) -> None:
    order = site[0].strip.image_ids
    grade = {image.image_id: image.grade for image in site[0].dataset.images}
    page = visit(f"compare.html#a={order[4]}&b={order[30]}")
    assert sides(page) == (order[4], order[30])

    def now(a: str, b: str) -> None:
        until(page, "([a, b]) => Atlas.state.get().a === a && Atlas.state.get().b === b", [a, b])
        assert sides(page) == (a, b)

    left, right = page.locator("[data-side=a]"), page.locator("[data-side=b]")
    left.get_by_label("Plate or id").fill("8")
    page.keyboard.press("Enter")
    now(order[7], order[30])
    right.get_by_label("Plate or id").fill(order[20][:9])
    right.get_by_role("button", name="Show", exact=True).click()
    now(order[7], order[20])
    right.get_by_label("Plate or id").fill("no such plate")
    right.get_by_role("button", name="Show", exact=True).click()
    assert "No plate matches “no such plate”" in right.locator(".fault").inner_text()
    right.get_by_role("button", name="More severe").click()
    now(order[7], order[21])
    left.get_by_role("button", name="Milder").click()
    now(order[6], order[21])
    right.get_by_label("of grade").select_option("3")
    for _ in range(3):
        right.get_by_role("button", name="Random").click()
        assert grade[sides(page)[1]] == 3
    page.locator("h1").click()
    a, b = sides(page)
    for key in ("a", "Shift+A", "Shift+B"):
        page.keyboard.press(key)
    b = order[order.index(b) - 1]
    now(a, b)
    page.keyboard.press("x")
    now(b, a)
    assert left.locator("a.report-link").get_attribute("href") == f"images/{b}.html"
    page.evaluate("(hash) => { location.hash = hash; }", f"a={order[0]}&b={order[39]}")
    until(page, "(id) => document.querySelector('[data-side=a]').dataset.id === id", order[0])
    assert left.get_by_role("button", name="Milder").is_disabled()
    assert right.get_by_role("button", name="More severe").is_disabled()


@pytest.mark.browser
def test_the_difference_in_words_is_the_records(visit: Any, site: Made) -> None:
    book = Book(site[0])
    first, second = book.plates[3], book.plates[33]
    assert first.grade is not None
    assert second.grade is not None
    page = visit(f"compare.html#a={first.id}&b={second.id}")
    sides(page)
    words = page.locator("#difference").inner_text()
    gap = round(second.severity, 2) - round(first.severity, 2)
    assert f"scores {gap:.2f} grades higher ({second.severity:.2f}) than the one on the left ({first.severity:.2f})" in words
    assert "29 photographs lie between them" in words
    for plate, side in ((first, "a"), (second, "b")):
        text = page.locator(f"[data-side={side}] .facts").inner_text()
        assert f"{plate.severity:.2f}" in text
        assert plate.grade is not None
        assert plate.grade.name in text
        assert re.search(rf"{plate.read.number}\s*{plate.read.name}", text)
    page.get_by_role("button", name="Swap").click()
    assert f"grades lower ({first.severity:.2f}) than the one on the left" in page.locator("#difference").inner_text()
    page.evaluate("(hash) => { location.hash = hash; }", f"a={first.id}&b={first.id}")
    until(page, "document.getElementById('difference').textContent.includes('the same photograph')")


@pytest.mark.browser
def test_heat_maps_lie_over_both_and_one_plate_in_the_address_is_enough(visit: Any, site: Made) -> None:
    order = site[0].strip.image_ids
    page = visit(f"compare.html#a={order[5]}")
    a, b = sides(page)
    assert a == order[5]
    assert b != a
    overlays = page.locator(".side .overlay")
    assert [overlays.nth(k).is_visible() for k in (0, 1)] == [False, False]
    page.keyboard.press("m")
    until(page, "[...document.querySelectorAll('.side .overlay')].every((o) => !o.hidden)")
    drawn = "(canvas) => [...canvas.getContext('2d').getImageData(0, 0, 160, 160).data].some((v) => v)"
    assert all(overlays.nth(k).evaluate(drawn) for k in (0, 1))
    until(page, "location.hash.includes('map=occlusion')")
    page.locator("#opacity").focus()
    page.keyboard.press("Home")
    assert overlays.first.evaluate("(o) => getComputedStyle(o).opacity") == "0"
    page.reload()
    sides(page)
    until(page, "[...document.querySelectorAll('.side .overlay')].every((o) => !o.hidden)")
    unknown = visit("compare.html#a=ffffffffffffffff")
    sides(unknown)
    assert "not in this atlas" in unknown.locator("[data-side=a] .fault").inner_text()


@pytest.mark.browser
def test_a_map_that_comes_late_is_not_laid_over_another_plate(visit: Any, site: Made) -> None:
    order = site[0].strip.image_ids
    page = visit(f"compare.html#a={order[4]}&b={order[30]}&map=occlusion")
    sides(page)
    overlay = page.locator("[data-side=a] .overlay")
    seen = "(o) => !o.hidden && o.toDataURL()"
    until(page, "!document.querySelector('[data-side=a] .overlay').hidden")
    own = overlay.evaluate(seen)
    page.evaluate(
        """(name) => { // a slow disk: the script with this map is not read until it is let go
          const append = document.head.append;
          document.head.append = (script) => {
            if (script.src.endsWith(name)) window.letGo = () => append.call(document.head, script);
            else append.call(document.head, script);
          };
        }""",
        f"{order[5]}.js",
    )
    page.locator("h1").click()
    page.keyboard.press("a")
    assert sides(page)[0] == order[5]
    assert overlay.evaluate(seen) is False, "the map of the plate before"
    page.keyboard.press("Shift+A")
    until(page, "!document.querySelector('[data-side=a] .overlay').hidden")
    assert overlay.evaluate(seen) == own
    page.evaluate("window.letGo()")
    until(page, "(id) => Boolean(window.ATLAS_CELLS[id])", order[5])
    page.wait_for_timeout(300)  # for the drawing that must not come
    assert overlay.evaluate(seen) == own
    page.keyboard.press("a")
    until(page, "!document.querySelector('[data-side=a] .overlay').hidden")
    assert overlay.evaluate(seen) not in (own, False)


@pytest.mark.browser
@pytest.mark.parametrize(("width", "height"), [(1024, 768), (1280, 720), (1366, 768)])
def test_both_photographs_are_in_sight_at_once_on_a_small_screen(visit: Any, width: int, height: int) -> None:
    page = visit("compare.html", width=width, height=height)
    sides(page)
    for side in ("a", "b"):
        box = page.locator(f"[data-side={side}] .mat").bounding_box()
        assert box["y"] + box["height"] <= height
        assert box["width"] >= 352
    parts = page.locator("[data-side=a] > :is(h2, .plate, .pick)").evaluate_all("(parts) => parts.map((part) => part.tagName)")
    assert parts == (["H2", "FIGURE", "FORM"] if width == 1024 else ["H2", "FORM", "FIGURE"]), "the tab key follows what is seen"


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_comparison_is_accessible_and_is_swiped_where_it_is_narrow(visit: Any, scheme: str) -> None:
    for width in (WIDE, NARROW):
        page = visit("compare.html#map=occlusion", width=width, color_scheme=scheme)
        sides(page)
        left, right = (page.locator(f"[data-side={side}] .mat").bounding_box() for side in ("a", "b"))
        assert right["y"] == pytest.approx(left["y"], abs=30)
        assert (right["x"] + right["width"] > width) is (width == NARROW), "a phone shows one, and the edge of the other"
        assert left["x"] + left["width"] <= width
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert violations(page) == []
    page.emulate_media(media="print")
    assert not page.locator(".pick").first.is_visible()
    boxes = [page.locator(f"[data-side={side}] .mat").bounding_box() for side in ("a", "b")]
    assert boxes[0]["y"] == pytest.approx(boxes[1]["y"], abs=30), "on paper the plates stand side by side"
