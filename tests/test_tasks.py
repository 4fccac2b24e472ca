"""The nine tasks of docs/tasks.md, done in a browser as a person would, in as many steps as it says."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_atlas import drawn_atlas, with_cells, with_lesions

from atlas.agreement.reading import FLAGGED_FROM
from atlas.site.book import Book
from atlas.site.render import render_site

pytestmark = pytest.mark.browser

DOCUMENT = (Path(__file__).parents[1] / "docs" / "tasks.md").read_text("utf-8")
STEPS = {task: int(steps) for task, steps in re.findall(r"^\| ([A-Z][^|]+?) \| (\d+) \|", DOCUMENT, re.MULTILINE)}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Book, Path]:
    """An atlas of 40 drawn discs, with cells to hide and lesions that a net found."""
    folder = tmp_path_factory.mktemp("tasks")
    atlas, *_ = with_cells(drawn_atlas(folder / "pictures", count=40), folder / "pictures")
    atlas = with_lesions(atlas)
    assert atlas.patches is not None
    assert atlas.clusters is not None
    kinds = sorted(set(atlas.patches.kinds))
    labels = np.array([kinds.index(kind) for kind in atlas.patches.kinds])
    centroids = np.stack([atlas.patches.descriptors[labels == k].mean(axis=0) for k in range(len(kinds))])
    atlas = replace(atlas, clusters=replace(atlas.clusters, labels=labels, centroids=centroids))
    render_site(atlas, folder / "pictures", folder / "out")
    return Book(atlas), folder / "out"


class Person:
    """Somebody at a browser, who counts every click, key and typed text."""

    def __init__(self, page: Any, site: Path) -> None:
        self.page, self.site, self.steps = page, site, 0

    def at(self, path: str = "index.html") -> Person:
        self.page.goto((self.site / path).as_uri())
        return self

    def click(self, name: str, role: str = "link", *, within: str = "body") -> None:
        self.steps += 1
        self.page.locator(within).get_by_role(role, name=name).first.click()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.steps += 1
            self.page.keyboard.press(key)

    def write(self, text: str) -> None:
        self.steps += 1
        self.page.keyboard.type(text)

    def wait(self, selector: str) -> None:
        self.page.wait_for_selector(selector, state="attached")


@pytest.fixture
def person(browser: Any, site: tuple[Book, Path]) -> Iterator[Person]:
    context = browser.new_context(offline=True, reduced_motion="reduce", viewport={"width": 1440, "height": 900})
    yield Person(context.new_page(), site[1])
    context.close()


def marked_of_grade(book: Book, grade: int, kind: str) -> list[str]:
    return [
        plate.id
        for plate in book.plates
        if plate.grade.number == grade and any(m.kind.key == kind for m in book.found[plate.id].marks)
    ]


def side_by_side(person: Person) -> None:
    person.at().click("Find", within="nav")
    person.wait("#found[data-ready]")
    person.press("/")
    person.write("moderate hard exudates")
    person.page.wait_for_function("document.getElementById('shown').textContent.includes('of 40')")
    person.click("side by side")
    person.wait("#laid[data-ready] .mat")


def test_photographs_of_one_grade_and_kind_lie_side_by_side(person: Person, site: tuple[Book, Path]) -> None:
    side_by_side(person)
    expected = marked_of_grade(site[0], 2, "hard_exudate")[:6]
    assert len(expected) > 2
    assert person.page.evaluate("[...document.querySelectorAll('#laid li')].map((one) => one.dataset.key)") == expected
    assert person.steps == STEPS["Lay the photographs of one grade that show one kind of lesion side by side"]


def test_score_and_grade_that_differ_are_found(person: Person, site: tuple[Book, Path]) -> None:
    person.at().click("Find", within="nav")
    person.wait("#found[data-ready]")
    person.steps += 1
    person.page.locator("select[name=differ]").select_option(str(FLAGGED_FROM))
    flagged = sum(plate.flagged for plate in site[0].plates)
    assert flagged
    assert person.page.locator("#shown b").inner_text() == str(flagged)
    assert person.steps == STEPS["Find the photographs whose score and grade differ by two or more"]


def test_a_lesson_is_made_and_saved(person: Person, site: tuple[Book, Path]) -> None:
    side_by_side(person)
    person.click("Make a lesson of these", "button")
    person.page.locator("#drawer select").select_option("")
    person.click("Title of the new lesson", "textbox")
    person.write("Deposits")
    person.click("Add all as stops", "button")
    person.page.locator("#drawer .stop-form textarea").first.fill("Waxy and sharp.")
    person.steps += 1
    with person.page.expect_download() as waiting:
        person.click("Download curation.toml", "button")
    made = tomllib.loads(Path(waiting.value.path()).read_text("utf-8"))["lessons"][-1]
    assert made["title"] == "Deposits"
    assert [stop["image"] for stop in made["stops"]] == marked_of_grade(site[0], 2, "hard_exudate")[:6]
    assert made["stops"][0]["text"] == "Waxy and sharp."
    assert person.steps == STEPS["Make a lesson of the photographs in the tray, and save it"]


def test_a_quiz_of_ten_ends_with_kappa(person: Person) -> None:
    person.at().click("Quiz", within="nav")
    person.click("Begin", "button")
    for _ in range(10):
        person.press("2", "Enter", "Enter")
    person.wait("[data-part=result]")
    assert "kappa" in person.page.locator(".measured").inner_text().lower()
    assert person.steps == STEPS["Take a quiz of ten, and read kappa"]


@pytest.fixture
def report(site: tuple[Book, Path]) -> str:
    book = site[0]
    return next(plate.page for plate in reversed(book.plates) if len(book.found[plate.id].marks) > 1)


def test_a_report_says_why(person: Person, report: str) -> None:
    page = person.at(report).page
    person.wait(".plate[data-drawn=none]")
    person.press("m")
    person.wait(".plate[data-drawn^=occlusion]")
    assert page.locator(".overlay").is_visible()
    person.press("f")
    assert page.locator("svg.found").is_visible()
    person.click("Hide all of them", "button")
    assert re.search(
        r"The score (falls|rises) from [\d.]+ to [\d.]+|hardly changes|does not change",
        page.locator("[data-film=told]").inner_text(),
    )
    assert person.steps == STEPS["See why a photograph has its score"]
    page.keyboard.press("m")
    person.wait(".plate[data-drawn=none]")


def test_places_that_drive_a_score_are_hidden(person: Person, report: str) -> None:
    page = person.at(report).page
    person.wait(".plate[data-drawn]")
    before = page.locator("[data-live=score]").inner_text()
    person.click("Hide all of them", "button")
    assert page.locator(".cells .left").count() > 0
    assert page.locator("[data-live=score]").inner_text() != before
    assert person.steps == STEPS["Hide the places that drive a score"]


def test_clusters_are_called_by_their_lesions(person: Person) -> None:
    person.at().click("Clusters", within="nav")
    person.wait("#cards")
    called = person.page.locator("#cards h2").all_inner_texts()
    assert called == ["Cluster 1: Haemorrhages", "Cluster 2: Hard exudates"]
    assert person.steps == STEPS["Find the clusters that show one kind of lesion"]


def test_a_report_is_printed_and_given_away(person: Person, report: str, site: tuple[Book, Path]) -> None:
    page = person.at(report).page
    person.wait(".plate[data-drawn]")
    page.evaluate("window.print = () => { window.printed = true; }")
    person.click("Print", "button")
    assert page.evaluate("window.printed")
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(prefer_css_page_size=True))) == 1
    assert person.steps == STEPS["Print a report"]
    person.steps = 0
    person.click("Copy a link to this view", "button")
    assert page.locator(".copied input").input_value() == report
    assert person.steps == STEPS["Give somebody else this view"]
