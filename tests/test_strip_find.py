"""The strip and the finder as a reader uses them, in a real browser, from file://, with few photographs and with 35,000."""

from __future__ import annotations

import csv
import dataclasses
import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_atlas import drawn_atlas, with_lesions
from test_browser import NARROW, WIDE, Visitor

from atlas.agreement.reading import nearest_grade
from atlas.cohort.lesions import KINDS
from atlas.records import DIABETIC_RETINOPATHY, Atlas
from atlas.site.book import Book
from atlas.site.data import write_script
from atlas.site.render import render_site
from atlas.site.scripts import image_columns

pytestmark = pytest.mark.browser

MANY = 35_000
NOTED = {3: "A cotton wool spot beside the disc", 17: 'Cotton wool and =SUM(1), "quoted"'}

Open = Callable[..., Any]


def eyes_told(atlas: Atlas) -> Atlas:
    """The atlas with left, right and unknown eyes, and two photographs without a grade."""
    images = tuple(
        dataclasses.replace(image, eye=("left", "right", "right", None)[k % 4]) for k, image in enumerate(atlas.dataset.images)
    )
    return dataclasses.replace(atlas, dataset=dataclasses.replace(atlas.dataset, images=images))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Book, Path]:
    folder = tmp_path_factory.mktemp("strip")
    atlas = eyes_told(drawn_atlas(folder / "pictures", count=60, synthetic=True))
    render_site(atlas, folder / "pictures", folder / "out")
    book = Book(atlas)
    notes = {book.plates[place].id: note for place, note in NOTED.items()}
    write_script(folder / "out" / "data" / "images.js", "ATLAS_IMAGES", image_columns(book, notes))
    return book, folder / "out"


@pytest.fixture(scope="module")
def large(site: tuple[Book, Path]) -> tuple[dict[str, Any], Path]:
    """The pages with 35,000 photographs' data; the pictures are those of the drawn ones."""
    book, small = site
    folder = small.parent / "large"
    shutil.copytree(small, folder, ignore=shutil.ignore_patterns("images", "thumbnails", "photographs", "overlays"))
    random = np.random.default_rng(5)
    severity = np.sort(random.beta(0.8, 1.6, MANY) * 4).round(3)
    grade = np.clip(np.rint(severity + random.normal(0, 0.8, MANY)), 0, 4).astype(int)
    read = nearest_grade(severity, DIABETIC_RETINOPATHY)
    columns = image_columns(book, {}) | {
        "id": [f"{n:016x}" for n in random.choice(2**52, MANY, replace=False).tolist()],
        "severity": severity.tolist(),
        "grade": grade.tolist(),
        "eye": random.choice(["left", "right"], MANY).tolist(),
        "read": read.tolist(),
        "difference": (read - grade).tolist(),
        "flagged": (np.abs(read - grade) >= 2).astype(int).tolist(),
        "trust": [None] * MANY,
        "clusters": [sorted(set(row)) for row in random.integers(1, 4, (MANY, 2)).tolist()],
        "note": ["a cotton wool spot near the disc" if k % 40 == 0 else "" for k in range(MANY)],
    }
    for kind in ("thumbnails", "photographs"):
        (folder / kind).mkdir()
        for place, image_id in enumerate(columns["id"]):
            (folder / kind / f"{image_id}.jpg").symlink_to(small / kind / f"{book.plates[place % 60].id}.jpg")
    write_script(folder / "data" / "images.js", "ATLAS_IMAGES", columns)
    return columns, folder


@pytest.fixture
def visit(browser: Any, site: tuple[Book, Path]) -> Iterator[Open]:
    visitors: list[Visitor] = []

    def visit(path: str, folder: Path | None = None, width: int = WIDE, motion: bool = False, **settings: Any) -> Any:
        visitor = Visitor(browser, folder or site[1], viewport={"width": width, "height": 900}, **settings)
        visitors.append(visitor)
        if motion:
            visitor.page.emulate_media(reduced_motion="no-preference")
        page = arrive(visitor, path)
        if settings.get("java_script_enabled", True):
            page.wait_for_selector(".sheet-view[data-ready]", state="attached")
        return page

    yield visit
    for visitor in visitors:
        visitor.context.close()
        assert visitor.faults == []


def arrive(visitor: Visitor, path: str) -> Any:
    """Open a page by its address, with the state after "#"."""
    file, _, pairs = path.partition("#")
    if not pairs:
        return visitor.open(file)
    visitor.page.goto((visitor.folder / file).as_uri() + "#" + pairs)
    return visitor.page


def all_plates(page: Any) -> list[int]:
    """Numbers of the plates in the complete list, gathered by scrolling through it as a reader would."""
    found: list[int] = page.evaluate(
        """async () => {
          const host = document.querySelector(".sheet-view"), rows = new Map();
          const see = () => host.querySelectorAll(".cell").forEach(({ dataset }) => {
            rows.set(Number(dataset.place), Number(dataset.row) + 1);
          });
          host.scrollTop = 0;
          for (;;) {
            host.dispatchEvent(new Event("scroll"));
            see();
            const before = host.scrollTop;
            host.scrollTop += host.clientHeight / 2;
            if (host.scrollTop === before) break;
          }
          return [...rows].sort(([a], [b]) => a - b).map(([, number]) => number);
        }"""
    )
    return found


def in_sight(page: Any) -> list[int]:
    """Places of the cells that lie within the box at least in part."""
    found: list[int] = page.evaluate(
        """() => {
          const host = document.querySelector(".sheet-view").getBoundingClientRect();
          return [...document.querySelectorAll(".cell")].filter((cell) => {
            const box = cell.getBoundingClientRect();
            return box.bottom > host.top + 1 && box.top < host.bottom - 1;
          }).map((cell) => Number(cell.dataset.place)).sort((a, b) => a - b);
        }"""
    )
    return found


# The address holds what the page is at: of many changes the last is written a moment later.
WRITTEN = """() => {
  const written = Object.fromEntries(new URLSearchParams(location.hash.slice(1))), wanted = Atlas.state.get();
  return JSON.stringify(Object.entries(written).sort()) === JSON.stringify(Object.entries(wanted).sort());
}"""


def state(page: Any) -> dict[str, str]:
    page.wait_for_function(WRITTEN)
    found: dict[str, str] = page.evaluate("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")
    return found


def focused(page: Any) -> int:
    """Number of the plate that has the focus, or 0."""
    return int(page.evaluate("Number(document.activeElement.closest('.cell')?.dataset.row ?? -1) + 1"))


# ---- the strip ----------------------------------------------------------------------------------------------------------------


def test_the_strip_holds_every_photograph_once_in_ascending_order(visit: Open, site: tuple[Book, Path]) -> None:
    page = visit("strip.html")
    assert all_plates(page) == [plate.number for plate in site[0].plates]
    cell = page.locator(".cell[data-row='0']")
    page.keyboard.press("Home")
    assert cell.locator("img").get_attribute("alt") == site[0].plates[0].alt
    assert cell.locator("a").get_attribute("href") == site[0].plates[0].page


def test_the_strip_is_filtered_by_grade_eye_and_difference(visit: Open, site: tuple[Book, Path]) -> None:
    book = site[0]
    page = visit("strip.html")
    for grade in book.grades[1:]:
        page.locator(f"[name=grades][value='{grade.number}']").uncheck()
    assert all_plates(page) == [plate.number for plate in book.plates if plate.grade == book.grades[0]]
    assert page.locator("#shown").inner_text() == f"{book.grades[0].count} of 60 shown"
    assert state(page)["grades"] == "0"
    for grade in book.grades[1:]:
        page.locator(f"[name=grades][value='{grade.number}']").check()
    differ = page.get_by_label("Grade read from the score")
    for least, count in book.differing:
        option = differ.locator(f"option[value='{least}']")
        assert option.inner_text() == f"differ by {least} or more, either way ({count})"
        if count:
            differ.select_option(str(least))
            assert all_plates(page) == [p.number for p in book.plates if abs(p.difference or 0) >= least]
    differ.select_option("2")
    assert all_plates(page) == sorted(plate.number for plate in book.flagged)
    assert state(page)["differ"] == "2"
    differ.select_option("")
    eye = {image.image_id: image.eye for image in book.atlas.dataset.images}
    page.get_by_label("Eye").select_option("left")
    assert all_plates(page) == [plate.number for plate in book.plates if eye[plate.id] == "left"]
    for grade in book.grades:
        page.locator(f"[name=grades][value='{grade.number}']").uncheck()
    assert page.locator("#empty").is_visible()
    page.locator("#clear").click()
    assert len(all_plates(page)) == 60


def test_the_address_brings_the_choice_and_the_place_back(visit: Open, site: tuple[Book, Path]) -> None:
    book = site[0]
    wanted = [plate for plate in book.plates if plate.grade and plate.grade.number in (1, 3)]
    page = visit(f"strip.html#grades=1,3&at={wanted[7].id}")
    assert f"Plate {wanted[7].number} of 60." in page.locator("#where").inner_text()
    assert all_plates(page) == [plate.number for plate in wanted]
    page.evaluate(f"location.hash = 'at={book.plates[30].id}'")
    page.wait_for_function("() => document.getElementById('where').value.startsWith('Plate 31 ')")
    assert len(all_plates(page)) == 60


def test_keys_walk_the_strip_and_enter_opens_the_report(visit: Open, site: tuple[Book, Path]) -> None:
    page = visit("strip.html")
    columns = page.evaluate("new Set([...document.querySelectorAll('.cell')].map((c) => c.getBoundingClientRect().left)).size")
    for key, number in [
        ("ArrowRight", 2), ("ArrowRight", 3), ("ArrowLeft", 2), ("ArrowDown", 2 + columns), ("ArrowUp", 2),
        ("End", 60), ("ArrowRight", 60), ("Home", 1), ("ArrowLeft", 1), ("PageDown", None), ("PageUp", 1), ("ArrowRight", 2),
    ]:  # fmt: skip
        page.keyboard.press(key)
        assert number is None or focused(page) == number, key
        assert focused(page) - 1 in in_sight(page), key
    assert page.evaluate("document.querySelectorAll('.cell a[tabindex=\"0\"]').length") == 1
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{site[0].plates[1].page}")


def test_the_scrubber_moves_the_strip_by_keys_and_by_pointer(visit: Open, site: tuple[Book, Path]) -> None:
    book = site[0]
    page = visit("strip.html", width=NARROW)
    scrub = page.locator("#scrub")
    scrub.focus()
    page.keyboard.press("End")
    assert "Plate 60 of 60" in (scrub.get_attribute("aria-valuetext") or "")
    assert 59 in in_sight(page)
    seen = {60}
    for _ in range(200):  # each press moves on, over gaps between scores, too
        page.keyboard.press("ArrowLeft")
        number = int((scrub.get_attribute("aria-valuetext") or "").split()[1])
        assert number < min(seen) or number == 1
        seen.add(number)
        if number == 1:
            break
    assert 1 in seen
    area = scrub.bounding_box()
    page.mouse.move(area["x"] + 30, area["y"] + 40)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] / 2, area["y"] + 40, steps=5)
    page.mouse.up()
    score = float(page.locator("#where").inner_text().split("Score: ")[1].split()[0].rstrip(","))
    nearest = min((plate.severity for plate in book.plates), key=lambda one: abs(one - 2))
    assert abs(score - 2) <= abs(nearest - 2) + 0.25
    assert scrub.evaluate("(input) => Number(input.value)") == pytest.approx(score, abs=0.01)
    drawn = page.evaluate("[...document.querySelectorAll('#density polygon')].map((p) => p.dataset.grade)")
    assert drawn == [str(grade.number) for grade in book.grades if grade.count]


def test_one_plate_per_step_is_drawn_by_seed_and_drawn_again(visit: Open, site: tuple[Book, Path]) -> None:
    book = site[0]
    page = visit("strip.html#mode=steps&steps=20&seed=7")
    first = all_plates(page)
    steps = [min(19, int(book.plates[number - 1].position / 5)) for number in first]
    assert steps == sorted(set(steps))
    assert set(steps) == {min(19, int(plate.position / 5)) for plate in book.plates}, "each step that has plates shows one"
    assert all_plates(visit("strip.html#mode=steps&steps=20&seed=7")) == first
    others = []
    for _ in range(4):
        page.locator("#where").click()
        page.keyboard.press("r")
        others.append(all_plates(page))
    assert any(other != first for other in others)
    assert state(page)["seed"] != "7"
    page.get_by_label("all photographs").check()
    assert "seed" not in state(page)
    assert len(all_plates(page)) == 60


def test_flags_are_visited_in_turn(visit: Open, site: tuple[Book, Path]) -> None:
    flags = sorted(plate.number for plate in site[0].flagged)
    page = visit("strip.html")
    page.keyboard.press("End")
    for number in flags[:4]:
        page.keyboard.press("f")
        assert focused(page) == number
    assert "Flagged" in page.locator("#where").inner_text()


def test_two_chosen_plates_go_to_the_compare_page(visit: Open, site: tuple[Book, Path]) -> None:
    page = visit("strip.html")
    page.keyboard.press("c")
    page.locator(".cell[data-row='2'] a").click()
    page.locator(".cell[data-row='5'] a").click()
    page.wait_for_url("**/compare.html#*")
    assert page.url.split("#")[1].startswith(f"a={site[0].plates[2].id}&b={site[0].plates[5].id}")


def test_watching_plays_from_healthy_to_severe_and_pauses(visit: Open, site: tuple[Book, Path]) -> None:
    page = visit("strip.html", motion=True)
    page.keyboard.press("w")
    stage = page.locator("#theatre")
    page.wait_for_function("() => Number(document.getElementById('theatre').dataset.scene) >= 1")
    page.get_by_label("Speed").select_option("4")
    page.wait_for_function("() => Number(document.getElementById('theatre').dataset.scene) >= 4")
    page.locator("#play").focus()
    page.keyboard.press("Space")
    page.wait_for_selector("#theatre .stage[aria-busy=false]")
    scene = stage.get_attribute("data-scene")
    page.wait_for_timeout(900)
    assert stage.get_attribute("data-scene") == scene, "space holds it"
    place = int(scene)
    page.wait_for_function("() => getComputedStyle(document.querySelector('.stage .front')).opacity === '1'")
    assert page.locator(".stage .front").get_attribute("src") == site[0].plates[place].photograph
    assert f"Plate {place + 1} of 60" in page.locator("#now").inner_text()
    assert state(page)["watch"] == site[0].plates[place].id
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"() => document.getElementById('theatre').dataset.scene === '{place + 1}'")
    page.keyboard.press("Escape")
    page.wait_for_function("() => document.activeElement.closest('.cell')")  # the dialog tells of its end a moment after it
    assert not stage.is_visible()
    assert focused(page) == place + 2
    assert "watch" not in state(page)


def test_less_motion_starts_nothing_by_itself_and_fades_nothing(visit: Open) -> None:
    page = visit("strip.html")
    page.locator("#watch").click()
    page.wait_for_selector("#theatre[data-scene='0']")
    page.wait_for_timeout(1800)
    assert page.locator("#theatre").get_attribute("data-scene") == "0"
    assert page.locator("#theatre").evaluate("(one) => one.style.getPropertyValue('--fade')") == "0s"
    page.keyboard.press("End")
    page.wait_for_selector("#theatre[data-scene='59']")


def test_a_plate_that_is_slow_to_come_is_not_skipped(visit: Open, site: tuple[Book, Path]) -> None:
    page = visit("strip.html")
    page.evaluate(
        """() => {
          const decode = HTMLImageElement.prototype.decode;
          window.seen = [];
          HTMLImageElement.prototype.decode = function () { // a slow disk: three times as long as a plate is shown
            return Promise.all([decode.call(this), new Promise((done) => setTimeout(done, 1050))]);
          };
          new MutationObserver(() => window.seen.push(Number(document.getElementById("theatre").dataset.scene)))
            .observe(document.getElementById("theatre"), { attributeFilter: ["data-scene"] });
        }"""
    )
    page.locator("#speed").evaluate("(speed) => { speed.value = '4'; }")
    page.keyboard.press("w")
    page.locator("#play").click()
    page.wait_for_function("() => window.seen.length >= 3")
    page.locator("#along").fill("20")
    page.wait_for_function("() => Number(document.getElementById('theatre').dataset.scene) > 20")
    seen = page.evaluate("window.seen")
    assert seen[:3] == [0, 1, 2]
    assert seen[-2:] == [20, 21]


@pytest.mark.parametrize("path", ["strip.html", "find.html"])
def test_without_scripts_the_ends_of_the_order_are_listed(visit: Open, site: tuple[Book, Path], path: str) -> None:
    page = visit(path, java_script_enabled=False)
    links = page.locator("main a[href^='images/']").evaluate_all("(all) => all.map((a) => a.getAttribute('href'))")
    assert {site[0].plates[0].page, site[0].plates[-1].page} <= set(links)
    assert page.locator("main a[href='index.html']").is_visible()
    assert not page.locator(".bench").is_visible()


@pytest.mark.parametrize("path", ["strip.html", "find.html"])
def test_a_narrow_screen_shows_plates_first_and_the_controls_on_demand(visit: Open, path: str) -> None:
    page = visit(path, width=NARROW)
    assert page.locator(".sheet-view").bounding_box()["y"] < 900
    assert not page.get_by_label("Eye").is_visible()
    page.locator(".drawer summary").click()
    page.get_by_label("Eye").select_option("left")
    assert 0 < len(all_plates(page)) < 60
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW


@pytest.mark.parametrize("path", ["strip.html", "find.html"])
def test_paper_gets_plates_and_no_controls(visit: Open, path: str) -> None:
    page = visit(path)
    page.emulate_media(media="print")
    page.wait_for_function("() => document.querySelectorAll('[data-printed] .cell').length === 60")
    assert not page.locator(".tools").is_visible()
    boxes = page.locator(".cell").evaluate_all(
        "(all) => all.map((cell) => cell.getBoundingClientRect()).map((box) => `${box.left} ${box.top}`)"
    )
    assert len(set(boxes)) == 60, "no plate lies upon another"
    page.emulate_media(media="screen")
    page.wait_for_function("() => document.querySelector('.tools').checkVisibility()")
    assert in_sight(page)


# ---- thousands ----------------------------------------------------------------------------------------------------------------


def test_thousands_scroll_without_lost_plates(visit: Open, large: tuple[dict[str, Any], Path]) -> None:
    columns, folder = large
    page = visit("strip.html", folder)
    assert page.locator("#shown").inner_text() == "35,000 shown"
    page.evaluate("document.getElementById('strip').scrollIntoView()")
    faults = page.evaluate(
        """async () => {
          const host = document.getElementById("strip"), area = host.getBoundingClientRect(), faults = [];
          const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
          const end = host.scrollHeight - host.clientHeight;
          for (let k = 0; k <= 40; k += 1) {
            host.scrollTop = (end * ((k * 17) % 41)) / 40;
            await frame();
            const box = host.querySelector(".cell").getBoundingClientRect(), high = box.height + 2;
            const columns = Math.round((host.clientWidth + 2) / (box.width + 2));
            for (let y = area.top + 5; y < Math.min(innerHeight, area.bottom) - 5; y += high / 2) {
              for (let column = 0; column < columns; column += 1) {
                const place = Math.floor((host.scrollTop + y - area.top - 2) / high) * columns + column;
                const seen = host.querySelector(`.cell[data-place="${place}"]`);
                if (place < 35000 && !seen) faults.push([k, place]);
              }
            }
            if (host.querySelectorAll(".cell").length > 400) faults.push([k, "too many"]);
          }
          return faults;
        }"""
    )
    assert faults == []
    page.locator("#where").click()
    page.keyboard.press("End")
    assert focused(page) == MANY
    assert page.locator(".cell[data-row='34999']").locator("img").evaluate("(i) => i.decode().then(() => i.naturalWidth)") > 0
    assert f"Score: {columns['severity'][-1]:.2f}, read as grade 4." in page.locator("#where").inner_text()


def test_the_finder_finds_among_thousands(visit: Open, large: tuple[dict[str, Any], Path]) -> None:
    columns, folder = large
    page = visit("find.html", folder)
    page.locator("#search").press_sequentially("cotton wool")
    noted = [k + 1 for k, note in enumerate(columns["note"]) if note]
    assert page.locator("#shown b").inner_text() == str(len(noted))
    assert all_plates(page) == noted
    page.locator("#search").fill("")
    assert page.locator("#found .cell").count() > 10  # what is in sight comes at once, the rows below it when the reader rests
    page.wait_for_function(
        """() => {
          const host = document.getElementById("found"), end = host.getBoundingClientRect().bottom;
          return [...host.querySelectorAll(".cell")].some((one) => one.getBoundingClientRect().top > end);
        }"""
    )
    page.get_by_label("Score from").fill("1")
    page.get_by_label("Score to", exact=True).fill("2")
    page.get_by_label("Grade read from the score").select_option("2")
    wanted = [k + 1 for k, s in enumerate(columns["severity"]) if 1 <= s <= 2 and columns["flagged"][k]]
    assert all_plates(page) == wanted


# ---- the finder ---------------------------------------------------------------------------------------------------------------


def test_words_ids_and_numbers_find_plates(visit: Open, site: tuple[Book, Path]) -> None:
    book = site[0]
    page = visit("find.html")
    search = page.locator("#search")
    page.keyboard.press("/")
    assert search.evaluate("(one) => one === document.activeElement")
    page.keyboard.type("cotton WOOL")
    assert all_plates(page) == [place + 1 for place in NOTED]
    page.keyboard.type(" beside")
    assert all_plates(page) == [4]
    search.fill(book.plates[22].id[:9].upper())
    assert all_plates(page) == [23]
    search.fill("#12")
    assert all_plates(page) == [12]
    search.fill("nothing of the kind")
    assert page.locator("#empty").is_visible()
    assert page.locator("#save").is_disabled()
    page.locator("button[type=reset]").click()
    assert len(all_plates(page)) == 60
    search.fill("cotton")
    page.keyboard.press("Escape")
    assert focused(page) == 4
    page.keyboard.press("ArrowRight")
    assert focused(page) == 18


def test_filters_combine_and_the_small_numbers_say_what_would_remain(visit: Open, site: tuple[Book, Path]) -> None:
    book = site[0]
    eye = {image.image_id: image.eye for image in book.atlas.dataset.images}
    of = {plate.id: {patch.cluster for patch in book.patches_of.get(plate.id, ())} for plate in book.plates}
    page = visit("find.html")
    page.get_by_label("Eye").select_option("right")
    page.get_by_label("With a patch of").select_option("2")
    page.get_by_label("Grade read from the score").select_option("1")
    base = [
        p for p in book.plates
        if eye[p.id] == "right" and 2 in of[p.id] and p.difference
    ]  # fmt: skip
    assert base
    assert all_plates(page) == [plate.number for plate in base]
    for grade in book.grades:
        shown = page.locator(f"[data-count='{grade.number}']").inner_text()
        assert int(shown) == sum(plate.grade == grade for plate in base)
    gone = next(plate.grade for plate in base if plate.grade)
    page.locator(f"[name=grades][value='{gone.number}']").uncheck()
    assert all_plates(page) == [plate.number for plate in base if plate.grade != gone]
    assert int(page.locator(f"[data-count='{gone.number}']").inner_text()) == sum(plate.grade == gone for plate in base)
    kept = state(page)
    assert kept["eye"] == "right"
    assert kept["cluster"] == "2"
    again = visit("find.html#" + page.url.split("#")[1])
    assert all_plates(again) == [plate.number for plate in base if plate.grade != gone]


def test_the_order_of_the_results_can_be_chosen(visit: Open, site: tuple[Book, Path]) -> None:
    page = visit("find.html")
    page.get_by_label("Order").select_option("severe")
    assert all_plates(page) == [plate.number for plate in reversed(site[0].plates)]
    page.get_by_label("Order").select_option("apart")
    gaps = [abs(site[0].plates[number - 1].difference or 0) for number in all_plates(page)]
    assert gaps == sorted(gaps, reverse=True)


def test_the_result_is_saved_as_a_table(visit: Open, site: tuple[Book, Path]) -> None:
    book = site[0]
    page = visit("find.html#text=cotton")
    with page.expect_download() as download:
        page.locator("#save").click()
    assert download.value.suggested_filename.endswith(".csv")
    text = Path(download.value.path()).read_bytes().decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["plate"]) for row in rows] == [place + 1 for place in NOTED]
    assert [row["note"] for row in rows] == list(NOTED.values())
    for row in rows:
        plate = book.plate[row["image_id"]]
        assert float(row["severity"]) == pytest.approx(plate.severity, abs=1e-3)
        assert int(row["grade"]) == (plate.grade.number if plate.grade else -1)
    assert "Secret" not in text


def test_keyboard_shortcuts_can_be_switched_off(visit: Open) -> None:
    page = visit("find.html")
    page.get_by_role("button", name="Keyboard shortcuts: on").click()
    assert page.get_by_role("button", name="Keyboard shortcuts: off").is_visible()
    page.locator("#shown").click()
    page.keyboard.press("/")
    assert not page.locator("#search").evaluate("(one) => one === document.activeElement")
    page.keyboard.press("End")
    assert focused(page) == 60


def test_an_atlas_of_one_photograph_without_anything_else_still_works(browser: Any, tmp_path: Path) -> None:
    atlas = drawn_atlas(tmp_path / "pictures", count=1, graded=False, patches=False)
    render_site(atlas, tmp_path / "pictures", tmp_path / "out")
    visitor = Visitor(browser, tmp_path / "out", viewport={"width": NARROW, "height": 900})
    for path in ("strip.html", "find.html", "strip.html#mode=steps", f"find.html#text={atlas.strip.image_ids[0][:6]}"):
        visitor.open("index.html")
        page = arrive(visitor, path)
        page.wait_for_selector(".sheet-view[data-ready]")
        assert all_plates(page) == [1]
    visitor.context.close()
    assert visitor.faults == []


def test_a_missing_data_file_is_told(browser: Any, site: tuple[Book, Path], tmp_path: Path) -> None:
    shutil.copytree(site[1], tmp_path / "out")
    (tmp_path / "out" / "data" / "images.js").unlink()
    visitor = Visitor(browser, tmp_path / "out", viewport={"width": WIDE, "height": 900})
    for path, place in (("strip.html", "#where"), ("find.html", "#shown")):
        page = visitor.open(path)
        page.wait_for_function(f"() => document.querySelector('{place}').value.includes('missing from this atlas')")
    visitor.context.close()


# ---- what all pages share -----------------------------------------------------------------------------------------------------


def test_numbers_are_printed_as_on_the_pages(visit: Open) -> None:
    page = visit("find.html")
    for call, text in {
        "number(-0.004)": "0.00", "number(-1.5, 1)": "−1.5", "number(NaN)": "–", "number(null)": "–", "signed(0.25)": "+0.25",
        "signed(-2)": "−2.00", "signed(0)": "0.00", "count(1234567)": "1,234,567",
    }.items():  # fmt: skip
        assert page.evaluate(f"Atlas.{call}") == text, call


def test_the_address_keeps_any_words_and_bears_a_torrent_of_changes(visit: Open) -> None:
    page = visit("find.html")
    words = "50 % & more = a+b # ümlaut, 糖"
    page.evaluate("(words) => Atlas.state.set({ words, gone: 1 })", words)
    page.evaluate("Atlas.state.set({ gone: null })")
    assert page.evaluate("Atlas.state.get()") == {"words": words}
    page.evaluate("(n) => { for (let k = 0; k < n; k += 1) Atlas.state.set({ k }); }", 2000)
    page.wait_for_function(WRITTEN)
    assert page.evaluate("location.hash").endswith("k=1999")
    page.reload()
    page.wait_for_selector(".sheet-view[data-ready]")
    assert page.evaluate("Atlas.state.get().words") == words


def test_an_address_that_the_reader_chose_is_not_overwritten(visit: Open) -> None:
    """Events between the choice and the moment at which the browser informs the page."""
    page = visit("find.html")
    late = page.evaluate(
        """() => {
          for (let k = 0; k < 100; k += 1) Atlas.state.set({ low: k }); // so that one is still waiting
          location.hash = "#low=2";
          const found = [Atlas.state.get().low];
          Atlas.state.set({ at: 5 });
          dispatchEvent(new PageTransitionEvent("pagehide"));
          found.push(location.hash);
          return found;
        }"""
    )
    assert late == ["2", "#low=2"]
    page.wait_for_function("() => document.querySelector('[name=low]').value === '2'")
    page.get_by_label("Score from").fill("1")
    page.wait_for_url("**/find.html#low=1")


def test_elements_are_made_of_words_never_of_markup(visit: Open) -> None:
    page = visit("find.html")
    made = page.evaluate(
        """() => {
          const inner = [Atlas.el("i", {}, "y"), 7];
          const box = Atlas.el("p", { class: "x", hidden: true, title: null, dataset: { k: 3 } }, "<b>", null, inner);
          return [box.outerHTML, Atlas.el("svg:path", { d: "M0 0" }).namespaceURI];
        }"""
    )
    assert made == ['<p class="x" hidden="" data-k="3">&lt;b&gt;<i>y</i>7</p>', "http://www.w3.org/2000/svg"]


def test_words_that_a_spreadsheet_would_run_are_saved_as_words(visit: Open) -> None:
    page = visit("find.html")
    rows = [["a", "b"], ["=SUM(A1)", -1.5], ['say "so", twice', None], ["-2", "line\nbreak"]]
    with page.expect_download() as download:
        page.evaluate("(rows) => Atlas.csv('x.csv', rows)", rows)
    read = list(csv.reader(io.StringIO(Path(download.value.path()).read_bytes().decode(), newline="")))
    assert read == [["a", "b"], ["'=SUM(A1)", "-1.5"], ['say "so", twice', ""], ["-2", "line\nbreak"]]


# ---- finding by meaning --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Book, Path]:
    """An atlas in which a net found lesions, in two languages."""
    folder = tmp_path_factory.mktemp("meaning")
    atlas = with_lesions(drawn_atlas(folder / "pictures", count=30, synthetic=True))
    render_site(atlas, folder / "pictures", folder / "out", languages=("en", "de"))
    return Book(atlas), folder / "out"


def plates_with(book: Book, key: str) -> list[int]:
    counts = next(counts for kind, counts in book.found_counts.items() if kind.key == key)
    return [place for place, count in enumerate(counts, start=1) if count]


def test_a_kind_of_lesion_is_found_by_any_of_its_names_and_the_results_say_why(
    visit: Open, with_found: tuple[Book, Path]
) -> None:
    book, folder = with_found
    kind, counts = next(iter(book.found_counts.items()))
    wanted = plates_with(book, kind.key)
    assert wanted
    page = visit("find.html", folder=folder)
    search = page.locator("#search")
    for words in (kind.plural, kind.name.upper(), *KINDS[kind.key].synonyms[:1]):
        search.fill(words)
        assert set(wanted) <= set(all_plates(page)), words
    search.fill(kind.plural)
    assert all_plates(page) == wanted
    told = f"{kind.plural.capitalize()} found by the network in {len(wanted)} photograph"
    assert page.locator("#meant").inner_text().startswith(told)
    first = page.locator(".cell").first
    assert first.locator(".why").inner_text() == f"{kind.plural}: {counts[wanted[0] - 1]} found by the network"
    assert f"{kind.plural}: {counts[wanted[0] - 1]} found by the network." in first.locator("img").get_attribute("alt")
    grade = book.plates[wanted[0] - 1].grade
    assert grade is not None
    search.fill(f"{kind.plural} {grade.name}")
    assert all_plates(page) == [n for n in wanted if book.plates[n - 1].grade == grade]
    search.fill("")
    assert page.locator(".why").count() == 0
    assert not page.locator("#meant").is_visible()


@pytest.mark.parametrize(
    ("path", "words", "key"),
    [
        ("find.html", ("haemorrhage", "hemorrhage", "HE", "blot", "dot"), "haemorrhage"),
        ("find.html", ("EX", "exudates", "Hard-Exudate", "lipid exudate"), "hard_exudate"),
        ("de/find.html", ("Blutung", "Hämorrhagie", "hamorrhagie", "hemorrhage"), "haemorrhage"),
    ],
)
def test_spellings_abbreviations_and_other_languages_mean_the_same(
    visit: Open, with_found: tuple[Book, Path], path: str, words: tuple[str, ...], key: str
) -> None:
    book, folder = with_found
    page = visit(path, folder=folder)
    for word in words:
        page.locator("#search").fill(word)
        assert set(plates_with(book, key)) <= set(all_plates(page)), word


def test_grades_and_clusters_are_found_by_name(visit: Open, with_found: tuple[Book, Path]) -> None:
    book, folder = with_found
    page = visit("find.html", folder=folder)
    page.locator("#search").fill("severe NPDR")
    assert all_plates(page) == [plate.number for plate in book.plates if plate.grade and plate.grade.name == "severe"]
    assert page.locator(".cell .why").first.inner_text() == "Drawn as grade 3 (severe)"
    page.locator("#search").fill("cluster 2")
    of = {plate.id: {patch.cluster for patch in book.patches_of.get(plate.id, ())} for plate in book.plates}
    assert all_plates(page) == [plate.number for plate in book.plates if 2 in of[plate.id]]


def test_the_empty_state_says_what_can_be_searched_and_offers_what_is_spelled_almost_so(
    visit: Open, with_found: tuple[Book, Path]
) -> None:
    book, folder = with_found
    page = visit("find.html", folder=folder)
    page.locator("#search").fill("prolifrative")
    told = page.locator("#empty").inner_text()
    assert "You can search for: kinds of lesion, grades, by number or name, clusters" in told
    page.locator("#near button").first.click()
    assert page.locator("#search").input_value().lower().startswith("proliferative")
    assert all_plates(page) == [plate.number for plate in book.plates if plate.grade and plate.grade.name == "proliferative"]
    page.locator("#search").fill("IRMA")
    assert "the glossary explains it" in page.locator("#terms").inner_text()
    page.locator("#terms a").click()
    page.wait_for_url("**/glossary.html#irma")
