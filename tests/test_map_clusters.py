"""The patch map and the cluster pages: their data, and in a real browser from file:// what a reader does with them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_atlas import drawn_atlas, map_columns, with_lesions
from PIL import Image

from atlas.patterns.alarms import ALARMS
from atlas.patterns.clusters import borders, cluster, normalised
from atlas.records import IMAGE, Alarm, Atlas, Clusters, Embedding, Patches
from atlas.records import Words as Curated
from atlas.site.book import Book
from atlas.site.clusters import BORDERLINE, PER_GRADE, TYPICAL, compared, places, study, varied
from atlas.site.colours import cluster_colour, cluster_shape
from atlas.site.map import SIDE, map_files
from atlas.site.render import render_site
from atlas.site.views import GradeView, PatchView, PlateView

BLOBS, EACH = 4, 30


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("map") / "pictures"


@pytest.fixture(scope="module")
def atlas(pictures: Path) -> Atlas:
    """A drawn atlas whose patches are apart from each other on the map, one of each cluster in a separate corner."""
    drawn = drawn_atlas(pictures, count=60, synthetic=True)
    assert drawn.patches is not None
    ids = drawn.patches.patch_ids
    spread = np.array([(k % 10, k // 10) for k in range(len(ids))], np.float32)
    return replace(drawn, embedding=Embedding(ids, spread, "tsne"))


@pytest.fixture(scope="module")
def site(atlas: Atlas, pictures: Path) -> Path:
    render_site(atlas, pictures, pictures.parent / "out")
    return pictures.parent / "out"


def blobs(shift: float = 6.0) -> Patches:
    """Patches described by `BLOBS` clouds in a row, `shift` apart."""
    random = np.random.default_rng(0)
    kind = np.repeat(np.arange(BLOBS), EACH)
    descriptors = random.normal(0, 1, (len(kind), 5)) + shift * kind[:, None] + 100
    ids = tuple(f"{k:016x}-0000w2" for k in range(len(kind)))
    return Patches(
        patch_ids=ids,
        image_ids=tuple(patch[:16] for patch in ids),
        cells=np.zeros((len(kind), 3), np.int64),
        boxes=np.zeros((len(kind), 4), np.int64),
        drop=np.ones(len(kind), np.float32),
        descriptors=descriptors.astype(np.float32),
        threshold=0.1,
    )


# ---- data ---------------------------------------------------------------------------------------------------------------------


def test_the_columns_give_every_patch_back(atlas: Atlas) -> None:
    book = Book(atlas)
    columns = map_columns(book)
    assert atlas.patches is not None
    assert atlas.embedding is not None
    ids = patch_ids(book, columns)
    assert ids == list(atlas.embedding.patch_ids)
    assert columns["drop"] == pytest.approx([1000 * book.patches[i].drop for i in ids], abs=0.51)
    assert columns["cluster"] == [book.patches[i].cluster for i in ids]
    x, y = np.array(columns["x"]), np.array(columns["y"])
    assert (x.min(), y.min(), max(x.max(), y.max())) == (0, 0, SIDE)
    assert [x.max(), y.max()] == columns["extent"]
    there = atlas.embedding.xy
    assert np.corrcoef(x, there[:, 0])[0, 1] == pytest.approx(1)
    assert np.corrcoef(y, there[:, 1])[0, 1] == pytest.approx(-1)
    assert np.ptp(x) / np.ptp(y) == pytest.approx(np.ptp(there[:, 0]) / np.ptp(there[:, 1]), rel=1e-3)


def test_a_number_stands_where_its_cluster_is_densest(atlas: Atlas) -> None:
    assert atlas.patches is not None
    assert atlas.clusters is not None
    own = np.flatnonzero(atlas.clusters.labels == 0)
    xy = np.zeros((len(atlas.patches.patch_ids), 2), np.float32)
    xy[:, 0] = np.arange(len(xy))
    xy[own[: len(own) * 2 // 3]] = (3, 80)  # most of it in one place, the rest strewn along a line
    columns = map_columns(Book(replace(atlas, embedding=Embedding(atlas.patches.patch_ids, xy, "tsne"))))
    first = columns["clusters"][0]
    k = int(own[0])
    assert (first["x"], first["y"]) == pytest.approx((columns["x"][k], columns["y"][k]), abs=SIDE / 20)
    assert first["count"] == len(own)


@pytest.mark.parametrize("xy", [np.zeros((0, 2)), np.zeros((5, 2)), np.array([[0.0, 0.0], [0.0, 3.0]])])
def test_maps_of_nothing_of_one_place_and_of_a_line(atlas: Atlas, xy: np.ndarray) -> None:
    assert atlas.patches is not None
    ids = atlas.patches.patch_ids[: len(xy)]
    columns = map_columns(Book(replace(atlas, embedding=Embedding(ids, xy.astype(np.float32), "tsne"))))
    assert len(columns["x"]) == len(columns["y"]) == len(ids)
    assert all(0 <= value <= SIDE for value in columns["x"] + columns["y"])
    json.dumps(columns, allow_nan=False)


def test_a_map_of_100000_patches_is_a_small_file(atlas: Atlas) -> None:
    book = Book(atlas)
    columns = map_columns(book)
    widest = {"x": SIDE, "y": SIDE, "plate": 35000, "cell": 100, "drop": 4000, "cluster": 20}
    assert {name for name, column in columns.items() if len(column) == len(book.patches)} == set(widest)
    assert sum(100000 * len(f"{value},") for value in widest.values()) < 4e6


def patch_ids(book: Book, columns: dict[str, Any]) -> list[str]:
    return [f"{book.plates[p].id}-{columns['cells'][c]}" for p, c in zip(columns["plate"], columns["cell"], strict=True)]


def test_of_very_many_patches_each_is_in_the_first_file_or_in_that_of_its_square(
    atlas: Atlas, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = Book(atlas)
    whole = map_columns(book)
    monkeypatch.setattr("atlas.site.map.MOST", 40)
    monkeypatch.setattr("atlas.site.map.FIRST", 20)
    files = dict(map_files(book))
    first = files.pop("")
    assert (len(first["x"]), first["total"]) == (20, len(whole["x"]))
    assert {name: first[name] for name in ("extent", "clusters", "kinds")} == {
        name: whole[name] for name in ("extent", "clusters", "kinds")
    }
    assert first["squares"]["counts"] == {name: len(columns["x"]) for name, columns in files.items()}
    side = first["squares"]["side"]
    for name, columns in files.items():
        assert {y // side for y in columns["y"]} == {int(name[:2])}
        assert {x // side for x in columns["x"]} == {int(name[2:])}
    facts = ("x", "y", "drop", "cluster")

    def known(columns: dict[str, Any]) -> dict[str, Any]:
        return dict(zip(patch_ids(book, columns), zip(*(columns[fact] for fact in facts), strict=True), strict=True))

    told = [known(columns) for columns in (first, *files.values())]
    assert sum(map(len, told)) == len(whole["x"]), "no patch is told twice"
    assert {patch: fact for one in told for patch, fact in one.items()} == known(whole)
    grades = [book.patches[patch].plate.grade for patch in patch_ids(book, whole)]
    assert first["graded"] == [sum(own == grade for own in grades) for grade in (*book.grades, None)]
    assert dict(map_files(book))[""] == first, "the same are drawn each time"


# How red-blind and green-blind readers see linear RGB (Machado, Oliveira and Fernandes 2009), and OKLab of it (Ottosson 2020).
VISIONS = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
}
CONES = np.array([[0.4122215, 0.5363325, 0.0514460], [0.2119035, 0.6806995, 0.1073970], [0.0883025, 0.2817188, 0.6299787]])
LAB = np.array([[0.2104543, 0.7936178, -0.0040720], [1.9779985, -2.4285922, 0.4505937], [0.0259040, 0.7827718, -0.8086758]])


def linear(colour: str) -> np.ndarray:
    channels = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    return np.asarray(np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4))


def test_colours_of_clusters_show_on_both_grounds_and_can_be_told_apart_with_any_colour_vision() -> None:
    colours = list(dict.fromkeys(cluster_colour(number) for number in range(1, 41)))
    assert 6 <= len(colours) <= 10
    for colour in colours:
        light = linear(colour) @ [0.2126, 0.7152, 0.0722]
        assert (0.97 + 0.05) / (light + 0.05) > 2.98  # on paper
        assert (light + 0.05) / (0.012 + 0.05) > 2.98  # on the dark ground
    for vision, seen in VISIONS.items():
        lab = np.cbrt(np.clip(np.array([linear(colour) for colour in colours]) @ seen.T, 0, 1) @ CONES.T) @ LAB.T
        apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1) + np.eye(len(lab))
        assert apart.min() > 0.095, vision


def test_no_two_clusters_share_colour_and_shape_before_the_33rd() -> None:
    looks = [(cluster_colour(number), cluster_shape(number)) for number in range(1, 33)]
    assert len(set(looks)) == 32
    assert all(cluster_shape(number) != cluster_shape(number + 1) for number in range(1, 8))


@pytest.mark.parametrize("prepare", [normalised, lambda patches: patches], ids=["normalised", "as they are"])
def test_borders_lie_between_clouds_that_are_near(prepare: Any) -> None:
    patches = blobs()
    grouped = cluster(prepare(patches), k=BLOBS)
    met = borders(patches, grouped)
    kind = dict(zip(patches.patch_ids, np.repeat(np.arange(BLOBS), EACH).tolist(), strict=True))
    number_of = {kind[patch]: number for patch, number in grouped.of_patch.items()}
    along = [number_of[k] for k in range(BLOBS)]
    assert met.nearest[along[0]][0][0] == along[1]
    assert [n for n, _ in met.nearest[along[0]]] == along[1:], "the clouds stand in a row"
    far = [distance for _, distance in met.nearest[along[0]]]
    assert far == sorted(far)
    assert far[0] > 1
    for patch, (other, margin) in met.second.items():
        assert 0 <= margin <= 1
        assert abs(along.index(other) - kind[patch]) == 1
    described = prepare(patches).descriptors.astype(float)
    for patch, row in zip(patches.patch_ids, described, strict=True):
        own, second = sorted(np.linalg.norm(row - grouped.centroids, axis=1))[:2]
        assert met.second[patch][1] == pytest.approx((second - own) / (second + own), abs=1e-4)


def test_a_cluster_of_one_patch_has_no_extent_to_measure_others_with() -> None:
    patches = blobs()
    alone = replace(patches, descriptors=np.concatenate([[np.full(5, 900.0)], patches.descriptors[1:]]).astype(np.float32))
    grouped = cluster(alone, k=BLOBS + 1)
    number = grouped.of_patch[alone.patch_ids[0]]
    met = borders(alone, grouped)
    assert [n for n in grouped.of_patch.values() if n == number] == [number]
    assert number not in met.nearest
    assert len(met.nearest) == BLOBS
    assert all(far < 1e4 for others in met.nearest.values() for _, far in others)


def test_borders_are_not_made_up(atlas: Atlas) -> None:
    patches = blobs()
    grouped = cluster(patches, k=BLOBS)
    strange = replace(grouped, centroids=grouped.centroids + 50)
    narrow = replace(grouped, centroids=grouped.centroids[:, :2])
    one = Clusters(patches.patch_ids, np.zeros_like(grouped.labels), grouped.centroids[:1], grouped.distances)
    for case in (strange, narrow, one, None):
        assert borders(patches, case).second == {}
    assert borders(None, grouped).nearest == {}
    bare = replace(atlas, clusters=replace(atlas.clusters, centroids=atlas.clusters.centroids + 50)) if atlas.clusters else atlas
    book = Book(bare)
    assert study(book, book.clusters[0])["borderline"] == []


@pytest.mark.parametrize(
    ("here", "expected", "words"),
    [
        (0, 0.0, "none in the cohort"),
        (4, 1.0, "more often (fewer than 5 photographs)"),
        (1, 4.0, "less often (fewer than 5 photographs)"),
        (2, 9.0, "less often"),
        (0, 3.0, "none here (fewer than 5 expected)"),
        (0, 12.0, "none here"),
        (10, 9.0, "about as often"),
        (30, 10.0, "3.0×"),
        (5, 10.0, "0.5×"),
    ],
)
def test_shares_are_compared_in_words(here: int, expected: float, words: str) -> None:
    assert compared(here, expected) == words


def boxed(*boxes: tuple[float, float, float, float]) -> list[PatchView]:
    read = GradeView(1, "mild", "#888888", 0, 0.0)
    plate = [PlateView(f"{k:016x}", k + 1, "", 1.0, 25.0, None, read, None, False) for k in range(len(boxes))]
    return [PatchView(f"{p.id}-0000w2", p, 0.3, 1, box) for p, box in zip(plate, boxes, strict=True)]


def columns_of(path: str) -> set[int]:
    return {x for start, width in re.findall(r"M(\d+) \d+h(\d+)", path) for x in range(int(start), int(start) + int(width))}


def test_left_eyes_are_mirrored_onto_right_ones() -> None:
    views = boxed((40.0, 60.0, 20.0, 20.0), (40.0, 20.0, 20.0, 20.0))
    found = places(views, {views[0].plate.id: "right", views[1].plate.id: "left"})
    assert found is not None
    assert (found.mirrored, found.unknown, found.most, found.count) == (1, 0, 2, 2)
    assert columns_of(found.levels[-1]) == set(range(14, 19)), "both lie on the side of the nose"
    assert "2 of 2 on the nasal side" in found.finding


def test_places_without_known_eyes_lie_as_photographed() -> None:
    views = boxed((0.0, 40.0, 20.0, 20.0), (40.0, 0.0, 20.0, 20.0), (40.0, 45.0, 10.0, 10.0))
    found = places(views, {})
    assert found is not None
    assert found.mirrored is None
    assert "nasal" not in found.finding
    assert found.finding.startswith("Of their centres, 1 of 3")
    some = places(views, {views[0].plate.id: "left", views[1].plate.id: "right"})
    assert some is not None
    assert (some.count, some.unknown) == (2, 1)
    assert places([replace(view, box=None) for view in views], {}) is None


def test_places_in_other_images_than_retinas_reach_into_the_corners() -> None:
    views = boxed((0.0, 0.0, 20.0, 20.0), (30.0, 28.0, 20.0, 20.0), (80.0, 80.0, 20.0, 20.0), (5.0, 45.0, 10.0, 10.0))
    found = places(views, {}, subject=IMAGE)
    on_a_disc = places(views, {})
    assert found is not None
    assert on_a_disc is not None
    assert found.levels[-1].startswith("M0 0h5")
    assert not on_a_disc.levels[-1].startswith("M0 0")
    assert found.mirrored is None
    assert found.finding == "Of their centres, 1 of 4 lie in the middle quarter of the square and 3 of 4 in the upper half."
    assert "radius" in on_a_disc.finding


def test_one_patch_of_each_photograph_comes_first() -> None:
    first, second, third = boxed(*[(0.0, 0.0, 9.0, 9.0)] * 3)
    again = replace(first, id=f"{first.plate.id}-0101w2")
    assert varied([first, again, second, third], 3) == (first, second, third)
    assert varied([first, again, second], 3) == (first, again, second)


def test_a_study_counts_photographs_once_and_shows_no_more_than_it_may(atlas: Atlas) -> None:
    book = Book(atlas)
    for view in book.clusters:
        made = study(book, view)
        assert sum(row.count for row in made["rows"]) == view.graded
        assert [row.share for row in made["rows"]] == pytest.approx(list(view.shares))
        assert len(made["typical"]) <= TYPICAL
        assert 0 < len(made["borderline"]) <= BORDERLINE
        margins = [book.borders.second[patch.id][1] for patch, _ in made["borderline"]]
        assert margins == sorted(margins)
        assert all(other.number != view.number for _, other in made["borderline"])
        for row, patches, total in made["samples"]:
            assert {patch.plate.grade for patch in patches} == {row.grade}
            assert len(patches) == min(PER_GRADE, total)
        assert sum(total for *_, total in made["samples"]) == len(view.patches)


# ---- in the browser -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """A factory of pages, offline, that tolerate no fault."""
    contexts, faults = [], []

    def opened(width: int = 1200, **settings: Any) -> Any:
        context = browser.new_context(
            offline=True, reduced_motion="reduce", viewport={"width": width, "height": 900}, accept_downloads=True, **settings
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: faults.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else faults.append(r.url))
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


def opened_map(page: Any, site: Path, state: str = "") -> Any:
    page.goto("about:blank")
    page.goto((site / "map.html").as_uri() + (f"#{state}" if state else ""))
    page.wait_for_selector("#map[data-ready]")
    return page


def on_screen(page: Any) -> Any:
    """The places of the patches in the current view of the map, in CSS pixels, by the page's own arithmetic: [row, (x, y)]."""
    return np.array(
        page.evaluate(
            """() => {
              const stage = document.getElementById("map"), view = AtlasView(ATLAS_MAP.extent);
              const [x, y, zoom] = stage.dataset.view.split(" ").map(Number);
              view.resize(stage.clientWidth, stage.clientHeight).set({ x, y, zoom });
              return ATLAS_MAP.x.map((x, i) => view.toScreen(x, ATLAS_MAP.y[i]));
            }"""
        )
    )


def position(page: Any, row: int) -> tuple[float, float]:
    """The place of a patch in the window."""
    page.evaluate("document.getElementById('map').scrollIntoView({ block: 'center' })")
    area = page.locator("#map-dots").bounding_box()
    x, y = on_screen(page)[row]
    return area["x"] + x, area["y"] + y


def selected(page: Any) -> set[str]:
    """The patches in the gallery, all of them; the focus stays where it is."""
    links: list[str] = page.evaluate(
        """() => {
          if (document.getElementById("selection").hidden) return [];
          const at = document.activeElement, more = document.getElementById("gallery-more");
          while (!more.hidden) more.click();
          at.focus({ preventScroll: true });
          return [...document.querySelectorAll("#gallery a")].map((link) => link.hash.slice(1));
        }"""
    )
    assert len(links) == len(set(links))
    return set(links)


def ids_of(page: Any) -> list[str]:
    """Patch ids in the order of the page's columns."""
    found: list[str] = page.evaluate(
        "ATLAS_MAP.plate.map((plate, i) => `${ATLAS_IMAGES.id[plate]}-${ATLAS_MAP.cells[ATLAS_MAP.cell[i]]}`)"
    )
    return found


def settled(page: Any) -> None:
    """Wait until the address holds the page's state: of many changes the last is written a moment later."""
    page.wait_for_function(
        """() => {
          const written = Object.fromEntries(new URLSearchParams(location.hash.slice(1))), wanted = Atlas.state.get();
          return JSON.stringify(Object.entries(written).sort()) === JSON.stringify(Object.entries(wanted).sort());
        }"""
    )


@pytest.mark.browser
def test_pointing_shows_a_patch_and_pressing_opens_its_photograph(tab: Any, site: Path, atlas: Atlas) -> None:
    page = opened_map(tab(), site)
    ids = ids_of(page)
    for row in (0, 37, len(ids) - 1):
        x, y = position(page, row)
        page.mouse.move(x + 30, y)
        page.mouse.move(x + 3, y - 2, steps=3)
        page.wait_for_function("(id) => document.getElementById('card-picture').src.endsWith(`${id}.jpg`)", arg=ids[row])
    picture = page.locator("#card-picture")
    assert picture.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
    view = Book(atlas).patches[ids[-1]]
    facts = page.locator("#card-facts").inner_text()
    assert str(view.plate.number) in facts
    assert f"{abs(view.drop):.2f}" in facts
    assert picture.get_attribute("alt") == view.alt
    assert f"lowers the score by {view.drop:.2f}." in view.alt
    page.mouse.click(*position(page, len(ids) - 1))
    page.wait_for_url(f"**/images/{view.plate.id}.html#{view.id}")


@pytest.mark.browser
def test_wheel_drag_and_buttons_move_the_map_and_the_address_keeps_it(tab: Any, site: Path) -> None:
    page = opened_map(tab(), site)
    x, y = (round(at) for at in position(page, 33))
    page.mouse.move(x, y)
    before = [position(page, row) for row in (33, 34)]
    page.mouse.wheel(0, -300)
    page.wait_for_function("() => location.hash.includes('view=')")
    after = [position(page, row) for row in (33, 34)]
    assert after[0] == pytest.approx(before[0], abs=3), "what lies under the pointer stays there"
    assert after[1][0] - after[0][0] == pytest.approx(np.e * (before[1][0] - before[0][0]), rel=0.02)
    page.mouse.down()
    page.mouse.move(x - 60, y + 40, steps=4)
    page.mouse.up()
    moved = position(page, 33)
    assert moved == pytest.approx((x - 60, y + 40), abs=2)
    settled(page)
    again = opened_map(tab(), site, page.url.split("#")[1])
    assert position(again, 33) == pytest.approx(moved, abs=2)
    again.get_by_label("Show the full map").click()
    assert position(again, 33) == pytest.approx(before[0], abs=2)
    settled(again)
    assert "#" not in again.url


@pytest.mark.browser
def test_a_lasso_opens_a_gallery_whose_shares_and_csv_are_those_of_its_patches(tab: Any, site: Path, atlas: Atlas) -> None:
    page = opened_map(tab(), site)
    book, ids = Book(atlas), ids_of(page)
    page.get_by_role("button", name="Lasso").click()
    xs, ys = zip(*(position(page, row) for row in (0, 3, 23, 20)), strict=True)
    left, right, top, bottom = min(xs) - 15, max(xs) + 15, min(ys) - 15, max(ys) + 15
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top + 5)):
        page.mouse.move(x, y, steps=5)
    page.mouse.up()
    wanted = {ids[10 * row + column] for row in range(3) for column in range(4)}
    assert selected(page) == wanted
    assert "12 patches selected" in page.locator("#map-status").inner_text()
    views = [book.patches[patch] for patch in wanted]
    shown = page.locator("#gallery .patch a")
    assert {link.get_attribute("href").split("#")[1] for link in shown.all()} == wanted
    drops = [float(text) for text in page.locator("#gallery figcaption span:first-child").all_inner_texts()]
    assert drops == sorted(drops, reverse=True)
    plates = {view.plate.id: view.plate for view in views}.values()
    for grade in book.grades:
        here = 100 * sum(plate.grade == grade for plate in plates) / len(plates)
        cells = page.locator("#selection-shares tbody tr").nth(grade.number).locator("td").all_inner_texts()
        assert float(cells[0].rstrip("%")) == pytest.approx(here, abs=0.51)
        assert float(cells[1].rstrip("%")) == pytest.approx(100 * grade.share, abs=0.51)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    rows = list(csv.DictReader(StringIO(download.value.path().read_text("utf-8"))))
    assert {row["patch_id"] for row in rows} == wanted
    for row in rows:
        view = book.patches[row["patch_id"]]
        assert (row["image_id"], int(row["plate"]), int(row["cluster"])) == (view.plate.id, view.plate.number, view.cluster)
        assert float(row["drop"]) == pytest.approx(view.drop, abs=6e-4)
        assert row["grade"] == str(view.plate.grade.number if view.plate.grade else "")
    settled(page)
    again = opened_map(tab(), site, page.url.split("#")[1])
    assert selected(again) == wanted, "a lasso travels in the address"
    again.get_by_role("button", name="Clear").click()
    assert not again.locator("#selection").is_visible()


@pytest.mark.browser
def test_all_of_it_by_keyboard(tab: Any, site: Path, atlas: Atlas) -> None:
    page = opened_map(tab(), site)
    book, ids = Book(atlas), ids_of(page)
    page.locator("#map").focus()
    for _ in range(3):
        page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    stage = page.locator("#map")
    middle = np.array(stage.evaluate("(map) => [map.clientWidth / 2, map.clientHeight / 2]"))

    def offsets() -> Any:
        return np.abs(on_screen(page) - middle)

    nearest = int(np.hypot(*offsets().T).argmin())
    patch = book.patches[ids[nearest]]
    assert page.locator("#card-picture").get_attribute("src").endswith(f"{patch.id}.jpg")
    assert page.locator("#map-status").inner_text().startswith(patch.alt)
    page.keyboard.press("c")
    assert selected(page) == {view.id for view in book.patches.values() if view.cluster == patch.cluster}
    page.keyboard.press("v")
    inside = {patch_id for patch_id, seen in zip(ids, (offsets() <= middle).all(axis=1), strict=True) if seen}
    assert selected(page) == inside
    assert 0 < len(inside) < len(ids)
    page.keyboard.press("Escape")
    assert selected(page) == set()
    page.keyboard.press("f")
    page.keyboard.type("plv")
    assert page.locator("#map-search").input_value() == "plv", "the map's keys hold still while someone types"
    page.locator("#map").focus()
    page.keyboard.press("0")
    page.keyboard.press("Enter")
    page.wait_for_url("**/images/*.html#*")


@pytest.mark.browser
def test_search_finds_plates_ids_and_clusters(tab: Any, site: Path, atlas: Atlas) -> None:
    page = opened_map(tab(), site)
    book = Book(atlas)
    plate = next(plate for plate in reversed(book.plates) if plate.id in book.patches_of)
    own = {view.id for view in book.patches_of[plate.id]}

    def find(words: str) -> str:
        page.locator("#map-search").fill(words)
        page.keyboard.press("Enter")
        return str(page.locator("#map-status").inner_text())

    for words in (str(plate.number), f"plate {plate.number}", f"Photograph {plate.number}", plate.id[:9].upper(), min(own)):
        find("cluster 1")
        find(words)
        assert selected(page) == own, words
    find("Cluster 2")
    assert selected(page) == {view.id for view in book.patches.values() if view.cluster == 2}
    assert page.locator("#selection-page").get_attribute("href").endswith("clusters/02.html")
    assert "matches “nobody”" in find("nobody")
    assert f"1 to {len(book.plates)}" in find("999")


@pytest.mark.browser
def test_dots_become_pictures_that_do_not_cover_each_other(tab: Any, site: Path, atlas: Atlas) -> None:
    page = opened_map(tab(), site, "show=pictures")
    book = Book(atlas)
    ids, at = ids_of(page), on_screen(page)
    tiles = page.evaluate(
        """() => {
          const stage = document.getElementById("map"), view = AtlasView(ATLAS_MAP.extent);
          view.resize(stage.clientWidth, stage.clientHeight);
          return AtlasPoints(ATLAS_MAP, ATLAS_IMAGES).tiles(view).map(({ i, side }) => [i, side]);
        }"""
    )
    rows, side = [row for row, _ in tiles], tiles[0][1]
    assert len(rows) > 20
    for k, row in enumerate(rows):
        assert all(np.abs(at[row] - at[other]).max() >= side for other in rows[:k])
    page.add_style_tag(content="#map-marks { visibility: hidden }")
    frames = np.rint(at + side / 2 - 1).astype(int)  # the lower right corner of each picture

    def seen() -> Any:
        with Image.open(BytesIO(page.locator("#map-dots").screenshot())) as picture:
            return np.asarray(picture.convert("RGB")).astype(int)

    now = seen()
    inside = [row for row in rows if 0 <= frames[row, 0] < now.shape[1] and 0 <= frames[row, 1] < now.shape[0]]
    assert len(inside) > 20
    for row in inside:
        colour = cluster_colour(book.patches[ids[row]].cluster or 0)
        framed = now[frames[row, 1], frames[row, 0]]
        assert framed.tolist() == pytest.approx([int(colour[k : k + 2], 16) for k in (1, 3, 5)], abs=2)
    alone = next(row for row in inside if (np.abs(at - frames[row]).max(axis=1) > 14).all())  # no dot near its corner
    x, y = position(page, alone)
    page.mouse.move(x + side / 2 - 4, y + side / 2 - 4)
    page.wait_for_function("(id) => document.getElementById('card-picture').src.endsWith(`${id}.jpg`)", arg=ids[alone])
    button = page.get_by_role("button", name="Pictures")
    assert button.get_attribute("aria-pressed") == "true"
    painted = page.locator("#map").get_attribute("data-painted")
    button.click()
    page.wait_for_function("(n) => document.getElementById('map').dataset.painted !== n", arg=painted)
    assert seen()[frames[alone, 1], frames[alone, 0]].min() > 240, "bare paper"


def ink(page: Any, row: int) -> list[int]:
    """The colour drawn at the place of a patch."""
    found: list[int] = page.evaluate(
        "(at) => [...document.getElementById('map-dots').getContext('2d').getImageData(...at, 1, 1).data]",
        [round(float(at)) for at in on_screen(page)[row]],
    )
    return found[:3]


def repainted(page: Any, colour: str) -> None:
    painted = page.locator("#map").get_attribute("data-painted")
    choice = page.get_by_label(colour, exact=True)
    if not choice.is_checked():
        choice.check()
        page.wait_for_function("(n) => document.getElementById('map').dataset.painted !== n", arg=painted)


@pytest.mark.browser
def test_colours_mean_cluster_grade_or_drop(tab: Any, site: Path, atlas: Atlas) -> None:
    page = opened_map(tab(), site)
    book, ids = Book(atlas), ids_of(page)
    order = sorted(range(len(ids)), key=lambda row: book.patches[ids[row]].drop)
    for row in (order[1], order[-3]):
        view = book.patches[ids[row]]
        for colour, wanted in (
            ("cluster", cluster_colour(view.cluster or 0)),
            ("grade", view.plate.grade and view.plate.grade.colour),
        ):
            repainted(page, colour)
            channels = [int(str(wanted)[k : k + 2], 16) for k in (1, 3, 5)]
            assert ink(page, row) == pytest.approx(channels, abs=35)
    repainted(page, "drop")
    assert sum(ink(page, order[1])) > sum(ink(page, order[-3])), "on paper a larger drop is darker"
    assert "grades" in page.locator("#map-key").inner_text()
    settled(page)
    assert page.url.endswith("#colour=drop")
    dark = opened_map(tab(color_scheme="dark"), site, "colour=drop")
    assert sum(ink(dark, order[1])) < sum(ink(dark, order[-3])), "on the dark ground it is lighter"


@pytest.mark.browser
def test_the_key_selects_and_cluster_pages_lead_to_their_part_of_the_map(tab: Any, site: Path, atlas: Atlas) -> None:
    book = Book(atlas)
    view = book.clusters[1]
    page = tab()
    page.goto((site / view.page).as_uri())
    page.get_by_role("link", name="on the map").click()
    page.wait_for_selector("#map[data-ready]")
    assert selected(page) == {patch.id for patch in view.patches}
    pressed = page.locator("#map-key").get_by_role("button", name=f"Cluster 2, {len(view.patches)} patches", exact=True)
    assert pressed.get_attribute("aria-pressed") == "true"
    assert page.locator("#map-key [aria-pressed=true]").count() == 1
    pressed.click()
    assert selected(page) == set()
    page.get_by_label("grade", exact=True).check()
    page.get_by_role("button", name=re.compile("^Grade 3")).click()
    assert selected(page) == {p.id for p in book.patches.values() if p.plate.grade and p.plate.grade.number == 3}
    page.get_by_role("link", name="Show the selection below").click()
    assert page.evaluate("document.activeElement.id") == "selection-title"
    settled(page)
    assert "colour=grade" in page.url
    assert "select=grade%3A3" in page.url


@pytest.mark.browser
def test_an_address_that_means_nothing_shows_the_whole_map(tab: Any, site: Path) -> None:
    page = opened_map(tab(), site, "view=a,b&select=cluster:99&colour=beauty&show=nothing")
    assert selected(page) == set()
    assert page.get_by_label("cluster", exact=True).is_checked()
    assert not page.locator("#selection").is_visible()


@pytest.mark.browser
def test_paper_gets_the_map_in_light_colours_without_controls(tab: Any, site: Path) -> None:
    page = opened_map(tab(color_scheme="dark"), site, "select=cluster:1")
    page.emulate_media(media="print", color_scheme="dark")
    page.wait_for_function(
        "() => Math.min(...document.getElementById('map-dots').getContext('2d').getImageData(2, 2, 1, 1).data) > 240"
    )
    for gone in (".map-tools", ".zooms", ".status"):
        assert not page.locator(gone).is_visible()
    for kept in ("#map-dots", "#map-key", "#gallery", ".disclaimer"):
        assert page.locator(kept).is_visible()
    corner = page.locator("#map-dots").evaluate("(field) => [...field.getContext('2d').getImageData(2, 2, 1, 1).data]")
    assert min(corner) > 240


@pytest.mark.browser
def test_on_paper_the_map_keeps_the_shape_it_had_on_the_screen(tab: Any, site: Path) -> None:
    page = opened_map(tab(), site)

    def shape() -> float:
        page.evaluate("new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn)))")
        area = page.locator("#map-dots").bounding_box()
        return float(area["width"] / area["height"])

    seen = shape()
    page.emulate_media(media="print")
    for width in (3, 1000):  # a browser that prepares a print passes through odd sizes
        page.set_viewport_size({"width": width, "height": 900})
        printed = shape()
    assert printed == pytest.approx(seen, rel=0.01)
    page.emulate_media(media="screen")
    page.wait_for_function("() => document.getElementById('map-dots').width === document.getElementById('map').clientWidth")


@pytest.mark.browser
def test_clusters_can_be_ordered_and_the_address_keeps_it(tab: Any, site: Path, atlas: Atlas) -> None:
    book = Book(atlas)
    page = tab()
    page.goto((site / "clusters.html").as_uri())

    def order() -> list[str]:
        return [text.split()[-1] for text in page.locator("#cards h2").all_inner_texts()]

    assert order() == [str(view.number) for view in book.clusters]
    page.get_by_label("Order by").select_option("drop")
    wanted = [str(v.number) for v in sorted(book.clusters, key=lambda v: -v.median_drop)]
    assert order() == wanted
    page.wait_for_function("() => location.hash === '#sort=drop'")
    page.reload()
    assert order() == wanted


@pytest.fixture(scope="module")
def named(pictures: Path) -> tuple[Atlas, Path]:
    """Patches that are lesions, in three clusters side by side; the second is titled, and an alarm speaks against the third."""
    drawn = with_lesions(drawn_atlas(pictures.parent / "named" / "pictures", count=40, synthetic=True))
    assert drawn.patches is not None
    assert drawn.clusters is not None
    ids, labels = drawn.patches.patch_ids, drawn.clusters.labels
    kinds = tuple(("haemorrhage", "hard_exudate", "hard_exudate")[label] for label in labels.tolist())
    xy = np.array([(30.0 * label + k % 4, k % 5) for k, label in enumerate(labels.tolist())], np.float32)
    alarms = ((), (), (Alarm(next(iter(ALARMS)), 0.9, 0.2),))
    atlas = replace(
        drawn,
        patches=replace(drawn.patches, kinds=kinds),
        embedding=Embedding(ids, xy, "tsne"),
        clusters=replace(drawn.clusters, alarms=alarms),
        curation=replace(drawn.curation, clusters={2: Curated("Ring of lipid", "")}),
    )
    render_site(atlas, pictures.parent / "named" / "pictures", pictures.parent / "named" / "out")
    return atlas, pictures.parent / "named" / "out"


def titles(page: Any) -> list[str]:
    found: list[str] = page.evaluate("JSON.parse(document.getElementById('map').dataset.titles)")
    return found


@pytest.mark.browser
def test_titles_are_on_the_map_where_they_cover_no_other(tab: Any, named: tuple[Atlas, Path]) -> None:
    page = opened_map(tab(1400), named[1])
    assert set(titles(page)) == {"Haemorrhages", "Ring of lipid"}, "an artefact is folded away with its title"
    page.locator("#map-key button[data-key='cluster:2']").click()
    assert page.locator("#selection-title").inner_text() == "Cluster 2: Ring of lipid"
    page.set_viewport_size({"width": 340, "height": 900})
    page.wait_for_function("() => JSON.parse(document.getElementById('map').dataset.titles).length < 2")


@pytest.mark.browser
def test_likely_artefacts_are_folded_away_until_they_are_asked_for(tab: Any, named: tuple[Atlas, Path]) -> None:
    book = Book(named[0])
    page = opened_map(tab(1400), named[1])
    keys = "[...document.querySelectorAll('#map-key button')].map((one) => one.dataset.key)"
    assert page.evaluate(keys) == ["cluster:1", "cluster:2"]
    row = next(row for row, patch in enumerate(ids_of(page)) if book.patches[patch].cluster == 3)
    assert min(ink(page, row)) > 240, "no dot"
    page.get_by_role("button", name="Select all in view").click()
    assert {book.patches[patch].cluster for patch in selected(page)} == {1, 2}
    page.keyboard.press("Escape")
    page.get_by_label("Show 1 likely artefact").check()
    assert page.evaluate(keys) == ["cluster:1", "cluster:2", "cluster:3"]
    page.wait_for_function("() => location.hash.includes('artefacts=1')")
    settled(page)
    assert min(ink(page, row)) < 200
    again = opened_map(tab(1400), named[1], "artefacts=1")
    assert again.get_by_label("Show 1 likely artefact").is_checked()
    asked = opened_map(tab(1400), named[1], "select=cluster:3")
    assert asked.get_by_label("Show 1 likely artefact").is_checked(), "who asks for it by number sees it"


@pytest.mark.browser
def test_the_map_is_searched_by_what_words_mean(tab: Any, named: tuple[Atlas, Path]) -> None:
    book = Book(named[0])
    page = opened_map(tab(1400), named[1])

    def find(words: str) -> set[int | None]:
        page.locator("#map-search").fill(words)
        page.locator("#map-search").press("Enter")
        return {book.patches[patch].cluster for patch in selected(page)}

    for words in ("hemorrhage", "HE", "blot"):
        assert find(words) == {1}, words
    assert find("ring of lipid") == {2}
    assert find("EX") == {2, 3}
    find("severe NPDR")
    assert page.locator("#selection-title").inner_text() == "Patches of photographs of grade 3 severe"
    find("haemorage")
    page.locator("#map-status button").first.click()
    assert {book.patches[patch].cluster for patch in selected(page)} == {1}


@pytest.mark.browser
def test_pictures_grow_with_the_zoom(tab: Any, site: Path) -> None:
    page = opened_map(tab(), site, "show=pictures")
    sides = page.evaluate(
        """() => [1, 4, 9, 40].map((zoom) => {
          const stage = document.getElementById("map"), view = AtlasView(ATLAS_MAP.extent);
          view.resize(stage.clientWidth, stage.clientHeight).set({ zoom, x: ATLAS_MAP.x[0], y: ATLAS_MAP.y[0] });
          return AtlasPoints(ATLAS_MAP, ATLAS_IMAGES).tiles(view)[0].side;
        })"""
    )
    assert sides == sorted(sides)
    assert sides[1] >= 80
    assert sides[-1] == 144


def test_a_map_of_very_many_patches_loads_what_the_reader_zooms_in_on(
    tab: Any, atlas: Atlas, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atlas.site.map.MOST", 40)
    monkeypatch.setattr("atlas.site.map.FIRST", 20)
    render_site(atlas, pictures, tmp_path / "site")
    assert atlas.patches is not None
    total = len(atlas.patches.patch_ids)
    page = tab()
    page.goto((tmp_path / "site" / "map.html").as_uri())
    page.wait_for_selector("#map[data-ready]")
    loaded = page.locator("#map-loaded")
    page.wait_for_timeout(400)
    assert loaded.inner_text().startswith(f"20 of {total} patches are loaded"), "all in sight is too much at a time"
    page.locator("#map-key button").first.click()
    first = page.locator("#selection-count").inner_text()
    held = re.findall(r"\d+", first)[0]
    own = page.locator("#map-key button small").first.inner_text()
    assert int(held) < int(own), "the key counts all, the selection those that are loaded"
    corners = [(left, top) for left in (800, 3300, 5800, 8300) for top in (500, 3000, 5500, 8000)]
    for left, top in corners:
        page.evaluate("(view) => { location.hash = `view=${view}`; }", f"{left},{top},3.5")
        page.wait_for_timeout(250)
    page.keyboard.press("Escape")
    assert not loaded.is_visible(), loaded.inner_text()
    page.evaluate("() => { location.hash = ''; }")
    page.locator("#map-key button").first.click()
    assert re.findall(r"\d+", page.locator("#selection-count").inner_text())[0] == own
