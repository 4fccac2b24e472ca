"""Lessons, handouts and the edit mode in a real browser, used as a person would: written, downloaded, and built again."""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe import OF_COLOUR, TAGS, violations
from drawn_atlas import drawn_atlas
from test_accessibility import DRAWN

from atlas.curation.apply import resolve
from atlas.curation.file import CurationFile, read_curation
from atlas.records import Atlas, Stop, Words
from atlas.site.render import render_site

pytestmark = pytest.mark.browser

LOST = "00000000000000aa"
NASTY = 'Say "quiet", C:\\temp, tab\there, naïve 網膜 🙂, and \u007f\n\n"""Not the end.""" # no comment\n\\'

Made = tuple[Atlas, Path, Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """An atlas with a curation that mentions more than the build contains."""
    folder = tmp_path_factory.mktemp("lessons")
    drawn = drawn_atlas(folder / "pictures", count=12)
    first, second = drawn.dataset.image_ids[:2]
    (folder / "curation.toml").write_text(
        f'[images.{first}]\ntitle = "The quiet disc"\nnote = "One paragraph.\\n\\nAnd another."\n'
        f'[images.{LOST}]\ntitle = "Not in this build"\n[clusters.1]\ntitle = "Blots"\n[clusters.44]\ntitle = "Gone"\n'
        f'[pins]\nimages = ["{second}"]\nclusters = [3]\n[exclude]\nimages = ["{LOST}"]\n'
        f'[[lessons]]\ntitle = "One"\nsummary = "Two stops."\n[[lessons.stops]]\nimage = "{first}"\ntext = "Look."\n'
        f'[[lessons.stops]]\nimage = "{LOST}"\n[[lessons.stops]]\ncluster = 2\ntitle = "A heap"\n[[lessons.stops]]\n'
        f'patch = "{drawn.patches.patch_ids[-1] if drawn.patches else ""}"\n'
    )
    atlas = resolve(read_curation(folder / "curation.toml"), drawn)
    render_site(atlas, folder / "pictures", folder / "out")
    return atlas, folder / "pictures", folder / "out"


@pytest.fixture
def visit(browser: Any, made: Made) -> Iterator[Any]:
    faults: list[str] = []
    contexts = []

    def visit(path: str, **settings: Any) -> Any:
        contexts.append(browser.new_context(offline=True, reduced_motion="reduce", accept_downloads=True, **settings))
        page = contexts[-1].new_page()
        page.set_default_timeout(90_000)
        page.on("console", lambda m: faults.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(address(made[2], path))
        return page

    yield visit
    for context in contexts:
        context.close()
    assert faults == []


def address(site: Path, path: str) -> str:
    name, hash_, state = path.partition("#")
    return (site / name).as_uri() + hash_ + state


def edit(page: Any, site: Path, path: str) -> Any:
    page.goto(address(site, path))
    page.wait_for_selector("#drawer")
    return page.locator("#drawer")


def start(visit: Any) -> Any:
    """Switch edit mode on, on the page of lessons."""
    page = visit("lessons.html")
    assert page.locator("#drawer").count() == 0
    page.get_by_role("button", name="Edit mode").click()
    page.wait_for_selector("#drawer")
    return page


def download(page: Any, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download curation.toml").click()
    assert waiting.value.suggested_filename == "curation.toml"
    file = folder / "curation.toml"
    waiting.value.save_as(file)
    return file


# ---- Lessons


def test_keys_walk_through_the_stops_and_the_address_keeps_the_place(visit: Any, made: Made) -> None:
    page = visit("lessons/one.html")
    seen = page.locator(".stop:visible")

    def place() -> str:
        assert seen.count() == 1
        return str(seen.locator(".kicker").inner_text())

    assert place() == "Stop 1 of 3"
    assert "Look." in seen.inner_text()
    page.keyboard.press("ArrowRight")
    assert place() == "Stop 2 of 3"
    assert "A heap" in seen.inner_text()
    assert page.evaluate("document.activeElement.textContent") == "A heap"
    page.wait_for_url("**/one.html#stop=2")
    page.keyboard.press("End")
    assert place() == "Stop 3 of 3"
    page.keyboard.press("ArrowRight")
    assert place() == "Stop 3 of 3"
    page.keyboard.press("Home")
    assert place() == "Stop 1 of 3"
    page.get_by_role("link", name="Next →").click()
    page.get_by_role("link", name="Stop 3:").click()
    assert place() == "Stop 3 of 3"
    page.wait_for_url("**/one.html#stop=3")
    page.goto(address(made[2], "lessons/one.html#stop=2"))
    page.reload()
    assert place() == "Stop 2 of 3"


def test_the_address_never_lags_behind_the_stop(visit: Any) -> None:
    """Otherwise a stop that is pressed quickly after another keeps the address of the previous one, and a reload loses it."""
    page = visit("lessons/one.html")
    assert page.evaluate(
        """() => ["ArrowRight", "ArrowRight", "ArrowLeft", "End"].map((key) => {
          document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
          return [document.querySelector(".stop.current").dataset.stop, location.hash];
        })"""
    ) == [["2", "#stop=2"], ["3", "#stop=3"], ["2", "#stop=2"], ["3", "#stop=3"]]


def test_the_heat_map_is_laid_over_a_plate_by_its_key_and_its_button(visit: Any) -> None:
    page = visit("lessons/one.html")
    overlay = page.locator(".stop:visible .overlay")
    assert not overlay.is_visible()
    bare = page.locator(".stop:visible .mat").screenshot()
    page.keyboard.press("h")
    page.wait_for_selector(".stop .overlay[data-drawn]")
    assert page.locator(".stop:visible .mat").screenshot() != bare
    page.get_by_role("button", name="Heat map").click()
    assert not overlay.is_visible()


def test_without_scripts_a_lesson_is_one_long_page(browser: Any, made: Made) -> None:
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(address(made[2], "lessons/one.html"))
    assert page.locator(".stop:visible").count() == 3
    context.close()


def test_the_lessons_are_listed(visit: Any) -> None:
    page = visit("lessons.html")
    page.get_by_role("link", name="One", exact=True).click()
    page.wait_for_url("**/lessons/one.html")


# ---- Handouts


def sheets(page: Any) -> list[str]:
    """The paper sizes of a page's print, in points, one for each sheet."""
    pdf = page.pdf(prefer_css_page_size=True)
    streams = re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL)
    text = pdf + b"".join(plain for stream in streams if (plain := inflated(stream)))
    return [box.decode() for box in re.findall(rb"/MediaBox\s*\[([^\]]*)\]", text)]


def inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""


@pytest.mark.parametrize("path", ["handouts/lesson-one.html", "handouts/cluster-01.html"])
def test_a_handout_is_printed_on_a4_with_captions_and_the_disclaimer_but_no_controls(visit: Any, path: str) -> None:
    page = visit(path)
    assert page.get_by_role("button", name="Print").is_visible()
    page.emulate_media(media="print")
    for gone in ("button", ".masthead", ".offer"):
        assert not any(one.is_visible() for one in page.locator(gone).all()), gone
    assert page.locator(".disclaimer").is_visible()
    assert page.evaluate("[...document.images].filter((image) => !image.naturalWidth).length") == 0
    text = page.locator(".leaf").inner_text()
    assert re.search(r"Plate \d+", text)
    assert "not a diagnosis" in text
    sizes = sheets(page)
    assert sizes
    assert {tuple(round(float(edge)) for edge in size.split()) for size in sizes} <= {(0, 0, 595, 842), (0, 0, 596, 842)}


def test_the_plates_of_a_lesson_are_numbered_as_its_stops(visit: Any) -> None:
    page = visit("handouts/lesson-one.html")
    assert [number.inner_text() for number in page.locator(".leaf .number").all()] == ["1", "2", "3"]
    assert "Look." in page.locator(".leaf").inner_text()


# ---- Words in the pages


def test_titles_notes_and_what_is_unmatched_stand_in_the_pages(visit: Any, made: Made) -> None:
    atlas, _, site = made
    page = visit(f"images/{atlas.dataset.image_ids[0]}.html")
    assert page.locator(".titled").inner_text() == "The quiet disc"
    assert [p.inner_text() for p in page.locator(".note p").all()] == ["One paragraph.", "And another."]
    page.goto(address(site, "clusters/01.html"))
    assert "Blots" in page.locator("h1").inner_text()
    page.goto(address(site, "methods.html"))
    told = page.locator(".unmatched").inner_text()
    for lost in (LOST, "clusters.44", "lessons[1].stops[2]"):
        assert lost in told


def test_notes_can_be_searched(visit: Any) -> None:
    page = visit("lessons.html")
    page.evaluate("Atlas.images()")
    assert sum("quiet disc" in note for note in page.evaluate("Atlas.images().then((images) => images.note)")) == 1


# ---- Edit mode


def test_edit_mode_is_off_until_it_is_asked_for_and_can_be_left(visit: Any, made: Made) -> None:
    page = start(visit)
    drawer = edit(page, made[2], "clusters/01.html")
    assert drawer.is_visible()
    drawer.get_by_role("button", name="Leave edit mode").click()
    assert page.locator("#drawer").count() == 0
    page.reload()
    page.wait_for_load_state()
    assert page.locator("#drawer").count() == 0


def test_an_untouched_curation_comes_back_as_it_was(visit: Any, made: Made, tmp_path: Path) -> None:
    page = start(visit)
    found = read_curation(download(page, tmp_path))
    before = CurationFile.model_validate(made[0].curation.file)
    assert found.images == before.images
    assert (found.pins, found.exclude, found.lessons) == (before.pins, before.exclude, before.lessons)
    assert {number: (entry.title, entry.note) for number, entry in found.clusters.items() if entry.title} == {
        number: (entry.title, entry.note) for number, entry in before.clusters.items()
    }
    assert len(found.clusters[1].patches) > 0


def test_what_is_written_in_the_pages_stands_in_the_next_build(visit: Any, made: Made, tmp_path: Path) -> None:
    atlas, pictures, site = made
    assert atlas.clusters is not None
    image, other = atlas.dataset.image_ids[4], atlas.dataset.image_ids[5]
    page = start(visit)

    drawer = edit(page, site, f"images/{image}.html")
    drawer.get_by_label("Title", exact=True).fill("A  bright\tplate")
    drawer.get_by_label("Note").fill(NASTY)
    drawer.get_by_label("Feature on the home page").check()
    drawer.get_by_label("Lesson", exact=True).select_option("New lesson")
    drawer.get_by_role("button", name="Add as a stop").click()
    assert "Enter a title for the new lesson first." in drawer.inner_text()
    drawer.get_by_label("Title of the new lesson").fill("Où? Là-bas!")
    drawer.get_by_label("What to look for").fill("The blot,\nand what is round it.")
    drawer.get_by_role("button", name="Add as a stop").click()
    assert "Added as stop 1 of “Où? Là-bas!”" in drawer.inner_text()

    drawer = edit(page, site, f"images/{other}.html")
    drawer.get_by_label("Leave out of the atlas").check()

    drawer = edit(page, site, "clusters/02.html")
    drawer.get_by_label("Title", exact=True).fill("Rims")
    drawer.get_by_label("Show first among the clusters").check()
    drawer.get_by_label("Lesson", exact=True).select_option("Où? Là-bas!")
    drawer.get_by_role("button", name="Add as a stop").click()
    pin = page.get_by_role("button", name="Pin patch").last
    pinned = str(pin.get_attribute("aria-label")).removeprefix("Pin patch ")
    pin.click()
    assert pin.get_attribute("aria-pressed") == "true"

    drawer = edit(page, site, "lessons.html")
    drawer.get_by_label("Lesson", exact=True).select_option("One")
    drawer.get_by_label("Summary").fill("Turned round.")
    drawer.get_by_role("button", name="Move up").nth(2).click()
    assert page.evaluate("document.activeElement.textContent") == "Move up"
    drawer.get_by_role("button", name="Remove").first.click()
    page.reload()
    page.wait_for_selector("#drawer")
    assert "kept in this browser" in page.locator(".edit-status").inner_text()

    file = download(page, tmp_path)
    found = read_curation(file)
    assert found.images[image].title == "A bright plate"
    assert found.images[image].note == NASTY
    assert found.images[LOST].title == "Not in this build"
    assert found.clusters[44].title == "Gone"
    assert found.clusters[1].title == "Blots"
    assert found.exclude.images == (LOST, other)
    assert [(slug, len(entry.stops)) for slug, entry in found.pages()] == [("one", 3), ("o-l-bas", 2)]

    # The next build finds the clusters by their patches, under whatever number.
    turned = dataclasses.replace(atlas, clusters=dataclasses.replace(atlas.clusters, numbers=(2, 3, 1)))
    again = resolve(found, turned)
    assert again.curation.clusters[3] == Words("Rims", "")
    assert again.curation.pinned_images == (atlas.dataset.image_ids[1], image)
    assert again.curation.pinned_patches == (pinned,)
    one, new = again.curation.lessons
    assert one.summary == "Turned round."
    assert [stop.title or stop.patch for stop in one.stops] == ["A heap", made[0].curation.lessons[0].stops[-1].patch]
    assert one.stops[0].cluster == 3
    assert new.stops == (Stop("", "The blot,\nand what is round it.", image=image), Stop("", "", cluster=3))

    render_site(resolve(found, atlas), pictures, tmp_path / "again")
    page.goto(address(tmp_path / "again", f"images/{image}.html"))
    assert page.locator(".titled").inner_text() == "A bright plate"
    assert "🙂" in page.locator(".note").inner_text()
    page.goto(address(tmp_path / "again", "lessons/o-l-bas.html"))
    assert "The blot" in page.locator(".stop:visible").inner_text()


def test_a_draft_that_became_part_of_the_atlas_is_no_draft_any_more(visit: Any, made: Made, tmp_path: Path) -> None:
    atlas, pictures, _ = made
    site, image = tmp_path / "site", atlas.dataset.image_ids[4]
    render_site(atlas, pictures, site)
    page = start(visit)
    edit(page, site, f"images/{image}.html").get_by_label("Title", exact=True).fill("Kept")
    assert "1 change," in page.locator(".edit-status").inner_text()
    render_site(resolve(read_curation(download(page, tmp_path)), atlas), pictures, site)
    page.reload()
    page.wait_for_selector("#drawer")
    assert page.locator(".edit-status").inner_text() == "No changes."
    assert page.get_by_label("Title", exact=True).input_value() == "Kept"


def test_changes_are_discarded_only_when_asked_twice(visit: Any, made: Made) -> None:
    page = start(visit)
    drawer = edit(page, made[2], "clusters/02.html")
    drawer.get_by_label("Title", exact=True).fill("Rims")
    drawer.get_by_role("button", name="Discard changes").click()
    assert drawer.get_by_label("Title", exact=True).input_value() == "Rims"
    drawer.get_by_role("button", name="Click again").click()
    page.wait_for_function("() => document.querySelector('#drawer output')?.textContent === 'No changes.'")
    assert page.get_by_label("Title", exact=True).input_value() == ""


def test_one_atlas_does_not_see_the_draft_of_another(visit: Any, made: Made, tmp_path: Path) -> None:
    atlas, pictures, site = made
    render_site(atlas, pictures, tmp_path / "other")
    page = start(visit)
    edit(page, site, "clusters/02.html").get_by_label("Title", exact=True).fill("Rims")
    drawer = edit(page, tmp_path / "other", "clusters/02.html")
    assert drawer.get_by_label("Title", exact=True).input_value() == ""


def test_axe_finds_nothing_in_edit_mode(browser: Any, made: Made) -> None:
    context = browser.new_context(offline=True, reduced_motion="reduce")
    page = context.new_page()
    page.add_init_script("localStorage.setItem('atlas-edit', 'on')")
    for path in (f"images/{made[0].dataset.image_ids[0]}.html", "clusters/02.html", "lessons/one.html", "lessons.html"):
        edit(page, made[2], path)
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            for scheme, rules in (("light", TAGS), ("dark", OF_COLOUR)):
                page.emulate_media(color_scheme=scheme)
                page.evaluate(DRAWN)
                assert violations(page, rules) == [], f"{path}, {scheme}, {width} px wide"
    context.close()
