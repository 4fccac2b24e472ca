"""The report of one photograph: zoom, heat maps and their scales, live occlusion, the place of the score, and printing."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_atlas import drawn_atlas, with_cells, with_lesions
from PIL import Image

from atlas.patterns.similar import most_alike
from atlas.pictures.jpeg import overlay_png
from atlas.pictures.live import encode_cells
from atlas.records import Atlas, BoolArray, LiveSums, Scale
from atlas.scorers.prediction import LinearPrediction
from atlas.scorers.readouts import Head, over_retina
from atlas.site.book import Book
from atlas.site.cells import density_paths
from atlas.site.render import render_report, render_site

Made = tuple[Atlas, dict[str, LinearPrediction], Head, BoolArray, Path]
KEYS = {"ArrowRight": (0, 1), "ArrowLeft": (0, -1), "ArrowUp": (-1, 0), "ArrowDown": (1, 0)}


def make(folder: Path, **drawing: Any) -> Made:
    atlas = drawn_atlas(folder / "pictures", count=14)
    atlas, sums, head, inside = with_cells(atlas, folder / "pictures", **drawing)
    render_site(atlas, folder / "pictures", folder / "out")
    render_report(atlas, folder / "pictures", atlas.dataset.image_ids[:2], folder / "out" / "report.html")
    return atlas, sums, head, inside, folder / "out"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A fine grid and the widest head that a scorer has."""
    return make(tmp_path_factory.mktemp("large"), grid=23, hidden=64)


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    contexts, faults = [], []

    def visit(file: Path, width: int = 1440, **settings: Any) -> Any:
        contexts.append(browser.new_context(offline=True, viewport={"width": width, "height": 900}, **settings))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
        page.goto(file.as_uri())
        page.wait_for_selector(".plate[data-drawn]")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert faults == []


def centre(page: Any, cell: tuple[int, int], grid: int) -> tuple[float, float]:
    """The place of the middle of a cell in the window."""
    area = page.locator(".layer").first.bounding_box()
    return area["x"] + area["width"] * (cell[1] + 0.5) / grid, area["y"] + area["height"] * (cell[0] + 0.5) / grid


def live_of(asked: LinearPrediction) -> LiveSums:
    (name,) = asked.severity
    live = asked.live(name)
    assert live is not None
    return live


def score_of(made: Made, image_id: str, left: BoolArray) -> float:
    _atlas, sums, _head, *_ = made
    (name,) = sums[image_id].severity
    return float(sums[image_id].without(name, left[None])[0])


# ---- what travels to the page --------------------------------------------------------------------------------------------------


def test_travelled_sums_score_as_the_head_does(large: Made) -> None:
    atlas, sums, head, inside, _ = large
    random = np.random.default_rng(3)
    for image_id in atlas.dataset.image_ids[:4]:
        found = json.loads(encode_cells(live_of(sums[image_id]), inside))
        (part,) = found["parts"]
        three = np.frombuffer(base64.b64decode(part["sums"]), np.uint8).reshape(len(found["cells"]), -1, 3).astype(np.int32)
        steps = three[..., 0] | three[..., 1] << 8 | (three[..., 2] << 24) >> 8
        for share in (0.02, 0.5, 0.98, 1.0):
            left = inside & (random.random(inside.shape) < share)
            z = np.array(found["whole"]) - (steps * part["step"])[left.ravel()[found["cells"]]].sum(axis=0)
            assert abs(float(head.severity(z, atlas.dataset.scale)) - score_of(large, image_id, left)) < 1e-4


def test_hidden_units_with_equal_sums_travel_once_in_ascending_order() -> None:
    random = np.random.default_rng(4)
    for columns in range(1, 9):
        sums = random.choice([-1.5, -0.0, 0.0, 2.0], size=(2, columns))
        live = LiveSums((1, 2), (((1, 2), sums),), sums.sum(axis=0), np.ones(columns), 0.1)
        (part,) = json.loads(encode_cells(live, np.ones((1, 2), np.bool_)))["parts"]
        different, units = np.unique(sums, axis=1, return_inverse=True)
        alike = different.shape[1] < columns
        assert part.get("units") == (units.ravel().tolist() if alike else None)
        three = np.frombuffer(base64.b64decode(part["sums"]), np.uint8).reshape(2, -1, 3).astype(np.int32)
        steps = three[..., 0] | three[..., 1] << 8 | (three[..., 2] << 24) >> 8
        np.testing.assert_allclose(steps * part["step"], different if alike else sums, atol=1e-6)


def test_cells_off_the_retina_do_not_travel(site: Made) -> None:
    atlas, sums, _head, inside, _ = site
    found = json.loads(encode_cells(live_of(sums[atlas.dataset.image_ids[0]]), inside))
    assert found["cells"] == np.flatnonzero(inside).tolist()
    nowhere = json.loads(encode_cells(live_of(sums[atlas.dataset.image_ids[0]]), np.zeros_like(inside)))
    assert (nowhere["cells"], nowhere["parts"][0]["sums"]) == ([], "")


def test_a_report_page_without_its_pictures_stays_small(large: Made) -> None:
    atlas, *_, out = large
    for image_id in atlas.dataset.image_ids:
        page, cells = out / "images" / f"{image_id}.html", out / "cells" / f"{image_id}.js"
        assert page.stat().st_size + cells.stat().st_size < 200_000


def test_alike_is_the_cosine_in_descending_order() -> None:
    random = np.random.default_rng(1)
    vectors = random.normal(0, 1, (700, 9)).astype(np.float32)  # more than one chunk
    vectors[5] = 3 * vectors[600]
    vectors[7] = 0
    found = most_alike([str(k) for k in range(700)], vectors, count=6)
    length = np.linalg.norm(vectors, axis=1)
    for k in (0, 5, 512, 699):
        cosine = vectors @ vectors[k] / np.where(length * length[k] > 0, length * length[k], 1)
        cosine[k] = -2
        best = np.sort(cosine)[::-1][:6]
        np.testing.assert_allclose(found.cosine[k], best, atol=2e-5)
        np.testing.assert_allclose(cosine[found.others[k]], best, atol=2e-5)
    assert (found.others[5][0], found.others[600][0]) == (600, 5)
    assert (found.cosine[7] == 0).all()
    assert found.others[7].tolist() == [0, 1, 2, 3, 4, 5]
    assert most_alike(["one"], vectors[:1]).others.shape == (1, 0)
    assert most_alike(["one", "two"], vectors[:2]).others.tolist() == [[1], [0]]


def test_pooled_maps_leave_the_surroundings_out() -> None:
    maps = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    coverage = np.array([[1, 0], [0.5, 0]], np.float32)
    np.testing.assert_allclose(over_retina(maps, coverage), [(0 + 2 / 2) / 1.5, (4 + 6 / 2) / 1.5])
    np.testing.assert_allclose(over_retina(maps, np.zeros((2, 2), np.float32)), [1.5, 5.5])


@pytest.mark.parametrize("span", [1, 4])
def test_the_density_peaks_where_the_scores_are(span: int) -> None:
    def heights(positions: list[float]) -> tuple[list[float], list[float]]:
        points = [pair.split(",") for pair in re.findall(r"[\d.]+,[\d.]+", density_paths([positions], span)[0])]
        return [float(x) for x, _ in points], [24 - float(y) for _, y in points]

    places, tops = heights([30.0] * 5 + [80.0])
    assert abs(places[int(np.argmax(tops))] - 30) < 3
    assert max(tops) == pytest.approx(24, abs=0.1)
    assert tops[int(np.argmin(np.abs(np.array(places) - 80)))] == pytest.approx(24 / 5, rel=0.2)
    assert max(heights([])[1]) == 0


def test_the_density_is_stacked_by_grade(site: Made) -> None:
    book = Book(site[0])
    colours = [colour for colour, _ in book.density]
    assert colours == [grade.colour for grade in reversed(book.grades) if grade.count]
    tops = [np.array([float(y) for y in re.findall(r",([\d.]+)", path)]) for _, path in book.density]
    assert min(tops[0]) == pytest.approx(0, abs=0.01), "the first path covers all photographs, and its peak is at the top"
    for above, below in pairwise(tops):
        assert np.all(above <= below)
        assert np.any(above < below)


def test_the_row_of_eyes_shows_typical_ones_of_even_steps(tmp_path: Path) -> None:
    book = Book(drawn_atlas(tmp_path, count=200))
    row = book.along_the_scale(9)
    low, high = book.plates[0].severity, book.plates[-1].severity
    step = (high - low) / 8
    assert [plate.number for plate in row] == sorted({plate.number for plate in row})
    for plate in row:
        middle = low + step * round((plate.severity - low) / step)
        near = [one for one in book.plates if abs(one.severity - middle) < step / 2]
        assert abs(plate.difference or 0) <= min(abs(one.difference or 0) for one in near)
    assert Book(drawn_atlas(tmp_path / "one", count=1)).along_the_scale(9) != ()


def test_a_report_names_the_photographs_most_alike(site: Made) -> None:
    atlas, *_, out = site
    assert atlas.alike is not None
    book = Book(atlas)
    for row, image_id in enumerate(atlas.alike.image_ids[:4]):
        text = (out / "images" / f"{image_id}.html").read_text("utf-8")
        part = text.split("Most similar photographs, the most similar first")[1]
        named = re.findall(r'href="../images/([0-9a-f]{16})\.html"', part)
        assert named == [atlas.alike.image_ids[k] for k in atlas.alike.others[row]]
        assert [other.id for other, _ in book.alike(book.plate[image_id])] == named


def test_without_sums_no_place_can_be_left_out(tmp_path: Path, visit: Any) -> None:
    atlas = drawn_atlas(tmp_path / "pictures", count=2, clustered=False)
    render_site(atlas, tmp_path / "pictures", tmp_path / "out")
    page = visit(tmp_path / "out" / "images" / f"{atlas.dataset.image_ids[0]}.html")
    assert page.locator(".live").count() == 0
    assert page.locator(".method").count() == 2  # the one map there is, and none


# ---- zoom ----------------------------------------------------------------------------------------------------------------------


def report(visit: Any, made: Made, place: int = 5, **settings: Any) -> Any:
    return visit(made[-1] / "images" / f"{made[0].strip.image_ids[place]}.html", **settings)


def zoom(page: Any) -> dict[str, float]:
    found: dict[str, float] = page.evaluate("AtlasViewer.attach(document.querySelector('.plate')).view()")
    return found


def until(holds: Callable[[], bool]) -> None:
    """Wait for what the browser does in its own time."""
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def pixel_under(page: Any, x: float, y: float) -> tuple[float, float]:
    """The point of the plate at a point of the window, in shares of it."""
    area = page.locator(".photograph").bounding_box()
    return (x - area["x"]) / area["width"], (y - area["y"]) / area["height"]


@pytest.mark.browser
def test_the_wheel_zooms_about_the_pointer_and_the_overlays_move_along(visit: Any, site: Made) -> None:
    page = report(visit, site, reduced_motion="reduce")
    page.locator(".method[value=occlusion]").check()
    page.get_by_role("checkbox", name="Outlines").check()
    area = page.locator(".plate .mat").bounding_box()
    x, y = area["x"] + area["width"] * 0.3, area["y"] + area["height"] * 0.7
    page.mouse.move(x, y)
    for _ in range(4):
        page.mouse.wheel(0, -200)
    until(lambda: zoom(page)["scale"] > 3)
    assert pixel_under(page, x, y) == pytest.approx((0.3, 0.7), abs=0.004)
    assert page.locator(".zoom output").inner_text() == f"{zoom(page)['scale']:.1f}×"
    frame = page.locator(".photograph").bounding_box()
    assert not page.locator(".cells").count(), "drawn when first needed"
    page.keyboard.press("l")
    for over in (".overlay", ".boxes", ".cells"):
        assert page.locator(over).bounding_box() == pytest.approx(frame, abs=0.6), over
    page.keyboard.press("l")
    assert not page.locator(".cells").is_visible()
    for _ in range(12):  # more than it takes: the page stays where it is
        page.mouse.wheel(0, 200)
    until(lambda: zoom(page)["scale"] == 1)
    assert page.locator(".photograph").bounding_box() == pytest.approx(area, abs=0.6)


@pytest.mark.browser
def test_the_wheel_scrolls_the_page_past_a_whole_plate(visit: Any, site: Made) -> None:
    page = report(visit, site)
    area = page.locator(".plate .mat").bounding_box()
    page.mouse.move(area["x"] + 200, area["y"] + 200)
    page.mouse.wheel(0, 150)
    until(lambda: page.evaluate("scrollY") > 100)
    assert zoom(page)["scale"] == 1
    page.mouse.wheel(0, -60)  # on the way back up, too
    until(lambda: page.evaluate("scrollY") < 100)
    assert zoom(page)["scale"] == 1


@pytest.mark.browser
def test_keys_double_click_and_dragging_move_the_plate(visit: Any, site: Made) -> None:
    page = report(visit, site, reduced_motion="reduce")
    address = page.url
    mat = page.locator(".plate .mat")
    mat.focus()
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert zoom(page) == {"x": 0.5, "y": 0.5, "scale": pytest.approx(2.25)}
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    moved = zoom(page)
    assert moved["x"] > 0.5
    assert moved["y"] > 0.5
    assert page.url.partition("#")[0] == address, "an enlarged plate takes the arrows"
    page.keyboard.press("-")
    assert zoom(page)["scale"] == pytest.approx(1.5)
    page.keyboard.press("0")
    assert zoom(page) == {"x": 0.5, "y": 0.5, "scale": 1}
    area = mat.bounding_box()
    x, y = area["x"] + area["width"] * 0.6, area["y"] + area["height"] * 0.55
    page.mouse.dblclick(x, y)
    assert zoom(page)["scale"] == pytest.approx(2.25)
    assert pixel_under(page, x, y) == pytest.approx((0.6, 0.55), abs=0.004)
    before = pixel_under(page, x, y)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y + 30, steps=5)
    page.mouse.up()
    after = pixel_under(page, x + 40, y + 30)
    assert after == pytest.approx(before, abs=0.01)
    assert page.url.partition("#")[0] == address, "a drag over an outline opens no link"
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 3000, y, steps=4)
    page.mouse.up()
    view = zoom(page)
    assert view["x"] == pytest.approx(0.5 / view["scale"]), "the plate stops at its edge"
    mat.focus()
    page.keyboard.press("0")
    page.keyboard.press("ArrowRight")
    page.wait_for_url(f"**/{site[0].strip.image_ids[6]}.html")


@pytest.mark.browser
def test_zoom_ends_beyond_the_pixels_of_the_photograph(visit: Any, site: Made) -> None:
    page = report(visit, site, reduced_motion="reduce")
    page.locator(".plate .mat").focus()
    for _ in range(12):
        page.keyboard.press("+")
    shown = page.locator(".photograph").bounding_box()["width"]
    natural = page.evaluate("document.querySelector('.photograph').naturalWidth")
    assert shown / natural >= 8
    assert page.locator("button[aria-label='Zoom in']").is_disabled()
    assert page.evaluate("getComputedStyle(document.querySelector('.photograph')).imageRendering") == "pixelated"
    page.locator("button[aria-label='Fit: show the full photograph']").click()
    assert zoom(page)["scale"] == 1


@pytest.mark.browser
def test_two_fingers_pinch_and_one_moves(visit: Any, site: Made) -> None:
    page = report(visit, site, width=390, has_touch=True, is_mobile=True, reduced_motion="reduce")
    page.locator(".plate .mat").scroll_into_view_if_needed()
    area = page.locator(".plate .mat").bounding_box()
    x, y = area["x"] + area["width"] / 2, area["y"] + area["height"] / 2
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        places = [{"x": px, "y": py, "id": k} for k, (px, py) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    touch("touchStart", (x - 30, y), (x + 30, y))
    for far in (40, 60, 75, 90):
        touch("touchMove", (x - far, y), (x + far, y))
    touch("touchEnd")
    assert zoom(page)["scale"] == pytest.approx(3, rel=0.05)
    before = zoom(page)["x"]
    touch("touchStart", (x, y))
    for far in (10, 30, 60):
        touch("touchMove", (x - far, y))
    touch("touchEnd")
    assert zoom(page)["x"] > before


@pytest.mark.browser
def test_coupled_plates_show_the_same_place(visit: Any, site: Made) -> None:
    page = visit(site[-1] / "report.html", reduced_motion="reduce")
    views = page.evaluate(
        """() => {
          const seen = [];
          const [one, two] = [...document.querySelectorAll(".plate")].map((plate) => AtlasViewer.attach(plate));
          const part = one.couple(two);
          one.setView({ x: 0.4, y: 0.6, scale: 4 });
          seen.push(two.view());
          two.setView({ scale: 2 });
          seen.push(one.view());
          part();
          one.reset();
          seen.push(two.view());
          return seen;
        }"""
    )
    assert views == [{"x": 0.4, "y": 0.6, "scale": 4}, *[{"x": 0.4, "y": 0.6, "scale": 2}] * 2]


# ---- heat maps -----------------------------------------------------------------------------------------------------------------


def drawn(page: Any) -> np.ndarray[Any, Any]:
    """The pixels of the heat map's canvas, int (s, s, 4)."""
    text = page.evaluate("document.querySelector('.overlay').toDataURL()").split(",")[1]
    with Image.open(BytesIO(base64.b64decode(text))) as picture:
        return np.asarray(picture.convert("RGBA")).astype(int)


def expected(made: Made, image_id: str, method: str, limit: float) -> np.ndarray[Any, Any]:
    maps = Book(made[0]).maps[method]
    row = maps.image_ids.index(image_id)
    retina = (made[-1].parent / "pictures" / "retinas" / f"{image_id}.png").read_bytes()
    with Image.open(BytesIO(overlay_png(maps.values[row], limit, maps.inside[row], retina))) as picture:
        return np.asarray(picture).astype(int)


def same_picture(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> None:
    assert wanted[..., 3].max() > 60
    np.testing.assert_allclose(found[..., 3], wanted[..., 3], atol=2)
    strong = wanted[..., 3] > 60  # a canvas keeps colours premultiplied: faint ones lose their last bits
    np.testing.assert_allclose(found[strong], wanted[strong], atol=4)


@pytest.mark.browser
def test_each_map_is_drawn_as_python_draws_it_on_the_common_or_its_own_scale(visit: Any, site: Made) -> None:
    image_id = site[0].strip.image_ids[5]
    book = Book(site[0])
    page = report(visit, site)
    legend = page.locator(".legend")
    for method, title in (("occlusion", "Occlusion"), ("gradcam", "Grad-CAM")):
        values = book.maps[method].values[book.map_rows[image_id]]
        page.locator(f".method[value={method}]").check()
        page.wait_for_selector(f".plate[data-drawn='{method} common']")
        same_picture(drawn(page), expected(site, image_id, method, book.limits[method]))
        assert legend.locator(".high").inner_text() == f"+{book.limits[method]:.2f}"
        assert "All photographs of the atlas share one scale" in legend.inner_text()
        page.get_by_label("Stretch colours to this photograph").check()
        page.wait_for_selector(f".plate[data-drawn='{method} own']")
        own = float(np.abs(values).max())
        same_picture(drawn(page), expected(site, image_id, method, own))
        assert legend.locator(".high").inner_text() == f"+{own:.2f}"
        assert "Colours are stretched to this photograph" in legend.inner_text()
        assert "All photographs of the atlas share one scale" not in legend.inner_text(), title
        page.get_by_label("Stretch colours to this photograph").uncheck()
    page.locator(".method[value=none]").check()
    assert not page.locator(".overlay").is_visible()
    assert page.locator(".opacity").is_disabled()


def test_one_scale_holds_for_all_photographs(site: Made) -> None:
    out = site[-1]
    limits = {tuple(re.findall(r'"limit":([\d.]+)', file.read_text("utf-8"))) for file in sorted((out / "cells").glob("*.js"))}
    assert len(limits) == 1


# ---- live occlusion ------------------------------------------------------------------------------------------------------------


@pytest.mark.browser
@pytest.mark.parametrize("grid", ["site", "large"])
def test_scores_of_the_page_are_those_of_the_head(visit: Any, grid: str, request: pytest.FixtureRequest) -> None:
    made: Made = request.getfixturevalue(grid)
    inside = made[3]
    random = np.random.default_rng(8)
    for place in (0, 7, 13):
        page = report(visit, made, place)
        image_id = made[0].strip.image_ids[place]
        masks = [inside & (random.random(inside.shape) < share) for share in (0, 0.03, 0.3, 0.7, 0.97, 1)]
        scores = page.evaluate(
            """([id, masks]) => {
              const { without } = AtlasModel(window.ATLAS_CELLS[id]);
              return masks.map((mask) => without(new Set(mask)));
            }""",
            [image_id, [np.flatnonzero(mask).tolist() for mask in masks]],
        )
        for mask, score in zip(masks, scores, strict=True):
            assert score == pytest.approx(score_of(made, image_id, mask), abs=1e-3)
        page.context.close()


def told(page: Any) -> tuple[str, str, float]:
    """The new score, its difference from the complete photograph's, and its marker's place on the axis in percent."""
    place = page.locator("[data-live=marker]").evaluate("(m) => parseFloat(m.style.left)")
    return page.locator("[data-live=score]").inner_text(), page.locator("[data-live=difference]").inner_text(), place


def tells(page: Any, made: Made, image_id: str, left: BoolArray) -> None:
    whole, score = score_of(made, image_id, np.zeros_like(left)), score_of(made, image_id, left)
    text, difference, place = told(page)
    assert float(text.replace("−", "-")) == pytest.approx(score, abs=0.0061)
    assert float(difference.split()[0].replace("−", "-")) == pytest.approx(score - whole, abs=0.0101)
    assert difference.endswith(f"{whole:.2f}")
    assert place == pytest.approx(100 * made[0].dataset.scale.to_unit(score), abs=0.03)
    marked = set(page.evaluate("[...document.querySelectorAll('.cells .left')].map((cell) => Number(cell.dataset.cell))"))
    assert marked == set(np.flatnonzero(left).tolist())


@pytest.mark.browser
def test_places_are_left_out_by_pressing_painting_and_keeping(visit: Any, site: Made) -> None:
    atlas, _, _, inside, _ = site
    image_id, grid = atlas.strip.image_ids[5], len(inside)
    page = report(visit, site)
    page.get_by_role("button", name="Hide places").click()
    assert page.locator("[data-live=now]").is_visible()
    left = np.zeros_like(inside)
    tells(page, site, image_id, left)

    page.mouse.click(*centre(page, (2, 3), grid))
    left[2, 3] = True
    tells(page, site, image_id, left)
    page.mouse.click(*centre(page, (0, 0), grid))  # off the retina
    tells(page, site, image_id, left)
    page.mouse.click(*centre(page, (2, 3), grid))
    left[2, 3] = False
    tells(page, site, image_id, left)

    page.mouse.move(*centre(page, (4, 1), grid))  # one quick stroke: no square is skipped
    page.mouse.down()
    page.mouse.move(*centre(page, (4, 4), grid), steps=1)
    page.mouse.up()
    left[4, 1:5] = True
    tells(page, site, image_id, left)

    page.get_by_role("button", name="Invert").click()
    left = inside & ~left
    tells(page, site, image_id, left)

    page.locator("[data-live=only]").check()
    page.mouse.click(*centre(page, (3, 2), grid))
    left = inside.copy()
    left[3, 2] = False
    tells(page, site, image_id, left)

    page.get_by_role("button", name="Reset").click()
    tells(page, site, image_id, np.zeros_like(inside))
    page.get_by_role("button", name="Hide places").click()
    assert not page.locator("[data-live=now]").is_visible()
    assert not page.locator(".cells").is_visible()


@pytest.mark.browser
@pytest.mark.parametrize(("width", "rows"), [(1440, 1), (1366, 1), (1024, 1), (390, 2)])
def test_the_four_numbers_stand_in_one_row_or_in_pairs_and_nothing_moves_where_one_changes(
    visit: Any, site: Made, width: int, rows: int
) -> None:
    page = report(visit, site, width=width)
    shown = page.locator(".facts > div:not(.now)")
    boxes = [one.bounding_box() for one in shown.all()]
    assert len(boxes) == 4
    assert [len({round(box["y"]) for box in boxes}), len({round(box["x"]) for box in boxes})] == [rows, 4 // rows]
    assert all(box["x"] + box["width"] <= width for box in boxes)
    below = page.locator(".standing").evaluate("(part) => part.getBoundingClientRect().y + scrollY")
    page.get_by_role("button", name="Hide places").click()
    now = page.locator("[data-live=now]")
    assert now.is_visible()
    assert not shown.last.is_visible()
    assert [now.bounding_box()[side] for side in ("x", "width")] == [boxes[3][side] for side in ("x", "width")]
    assert page.locator(".standing").evaluate("(part) => part.getBoundingClientRect().y + scrollY") == below


@pytest.mark.browser
def test_places_are_left_out_by_keys(visit: Any, site: Made) -> None:
    atlas, _, _, inside, _ = site
    image_id, grid = atlas.strip.image_ids[5], len(inside)
    page = report(visit, site, reduced_motion="reduce")
    address = page.url
    page.keyboard.press("l")
    assert page.evaluate("document.activeElement.classList.contains('mat')")

    def at() -> int:
        place = page.locator(".cells .cursor").evaluate("(c) => [Number(c.getAttribute('y')), Number(c.getAttribute('x'))]")
        return int(place[0] * grid + place[1])

    left = np.zeros_like(inside)
    for key in ("ArrowRight", "ArrowUp", "ArrowLeft", "ArrowDown", "ArrowDown"):
        before = at()
        page.keyboard.press(key)
        down, across = KEYS[key]
        assert at() == before + down * grid + across
        page.keyboard.press("Space")
        left.ravel()[at()] ^= True
        tells(page, site, image_id, left)
        assert str(int(left.sum())) in page.locator("[data-live=said]").inner_text()
    page.keyboard.press("i")
    left = inside & ~left
    tells(page, site, image_id, left)
    page.keyboard.press("o")
    left = inside.copy()
    left.ravel()[at()] = False
    tells(page, site, image_id, left)
    page.keyboard.press("r")
    tells(page, site, image_id, np.zeros_like(inside))
    page.keyboard.press("+")  # zoom keeps working, and the arrows stay with the squares
    assert zoom(page)["scale"] == pytest.approx(1.5)
    page.keyboard.press("Escape")
    assert page.get_by_role("button", name="Hide places").get_attribute("aria-pressed") == "false"
    assert page.url.partition("#")[0] == address


@pytest.mark.browser
def test_of_a_fine_grid_a_press_leaves_out_a_square_of_places(visit: Any, tmp_path: Path) -> None:
    made = make(tmp_path, grid=48)
    atlas, _, _, inside, _ = made
    image_id = atlas.strip.image_ids[5]
    page = report(visit, made, reduced_motion="reduce")
    page.get_by_role("button", name="Hide places").click()
    page.mouse.click(*centre(page, (20, 20), 48))
    left = np.zeros_like(inside)
    left[20:22, 20:22] = True
    tells(page, made, image_id, left)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    left[20:22, 22:24] = True
    tells(page, made, image_id, left)
    for _ in range(2):  # closer, a press means one place
        page.keyboard.press("+")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    left[21, 22] = False
    tells(page, made, image_id, left)


@pytest.mark.browser
def test_painting_follows_the_enlarged_plate_and_a_pinch_paints_nothing(visit: Any, site: Made) -> None:
    atlas, _, _, inside, _ = site
    image_id, grid = atlas.strip.image_ids[5], len(inside)
    page = report(visit, site, width=390, has_touch=True, is_mobile=True, reduced_motion="reduce")
    page.get_by_role("button", name="Hide places").tap()
    page.locator(".plate .mat").scroll_into_view_if_needed()
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        places = [{"x": px, "y": py, "id": k} for k, (px, py) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    x, y = centre(page, (2, 2), grid)
    touch("touchStart", (x, y))
    touch("touchStart", (x, y), (x + 50, y))
    touch("touchMove", (x - 25, y), (x + 75, y))
    touch("touchEnd")
    tells(page, site, image_id, np.zeros_like(inside))
    assert zoom(page)["scale"] > 1.5
    touch("touchStart", centre(page, (2, 2), grid))
    touch("touchEnd")
    left = np.zeros_like(inside)
    left[2, 2] = True
    tells(page, site, image_id, left)


@pytest.mark.browser
def test_a_report_file_stands_alone_with_all_its_tools(visit: Any, site: Made, tmp_path: Path) -> None:
    atlas, _, _, inside, out = site
    alone = tmp_path / "alone.html"
    alone.write_bytes((out / "report.html").read_bytes())
    page = visit(alone)
    second = atlas.dataset.image_ids[1]
    part = page.locator(f"[id='{second}']")
    part.get_by_role("button", name="Hide places").click()
    part.get_by_role("button", name="Invert").click()
    score = float(part.locator("[data-live=score]").inner_text())
    assert score == pytest.approx(score_of(site, second, inside), abs=0.0061)
    first = page.locator(f"[id='{atlas.dataset.image_ids[0]}']")
    assert first.locator(".cells .left").count() == 0
    part.locator(".method[value=gradcam]").check()
    page.wait_for_selector(f"[id='{second}'] .plate[data-drawn='gradcam common']")


@pytest.mark.browser
def test_lesions_are_hidden_all_at_once_and_played_as_a_film(visit: Any, tmp_path: Path) -> None:
    drawn, *_ = with_cells(drawn_atlas(tmp_path / "pictures", count=14), tmp_path / "pictures")
    atlas = with_lesions(drawn)
    render_site(atlas, tmp_path / "pictures", tmp_path / "out")
    book = Book(atlas)
    image, found = next((i, own) for i, own in book.found.items() if len(own.marks) == 2)
    page = visit(tmp_path / "out" / "images" / f"{image}.html")
    every = {cell for mark in found.marks for cell in mark.cells}
    gone = "[...document.querySelectorAll('.cells .left')].map((cell) => Number(cell.dataset.cell))"
    inside = set(page.evaluate("Object.values(window.ATLAS_CELLS)[0].live.cells"))
    score = "document.querySelector('[data-live=score]').value"

    page.locator("[data-film=all]").click()
    assert set(page.evaluate(gone)) == every & inside
    without_all = page.evaluate(score)
    told = page.locator("[data-film=told]")
    assert told.inner_text() == f"All {len(found.marks)} lesions are hidden. The score " + (
        f"{'falls' if float(without_all) < found.whole else 'rises'} from {found.whole:.2f} to {without_all}."
    )
    page.locator("[data-film=all]").click()
    assert page.evaluate(gone) == []
    assert told.inner_text() == ""

    page.locator("[data-film=play]").click()
    first = max(found.marks, key=lambda mark: mark.fall)  # ties: the order of the page
    told.filter(has_text="The strongest of 2 lesions is hidden.").wait_for()
    assert set(page.evaluate(gone)) == set(first.cells) & inside
    told.filter(has_text="All 2 lesions are hidden.").wait_for()
    assert page.evaluate(score) == without_all
    assert page.locator("[data-film=play]").get_attribute("aria-pressed") == "false"
    page.locator("[data-live=reset]").click()
    assert page.evaluate(gone) == []


# ---- the page ------------------------------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_the_first_screen_holds_the_plate_its_score_and_its_tools(visit: Any, site: Made) -> None:
    page = report(visit, site)
    for shown in (".photograph", ".zoom", ".facts", ".standing", ".controls", "[data-live=mode]"):
        box = page.locator(shown).first.bounding_box()
        assert box["y"] >= 0, shown
        assert box["y"] + box["height"] <= 900, shown


@pytest.mark.browser
def test_nothing_moves_when_places_are_left_out(visit: Any, site: Made) -> None:
    page = report(visit, site)
    boxes = """[...document.querySelectorAll('.mat, .facts > div, .standing, .controls, .live, .neighbours')].map((part) => {
      const { x, y, width, height } = part.getBoundingClientRect();
      return [x, y, width, height];
    })"""
    before = page.evaluate(boxes)
    page.keyboard.press("l")
    page.keyboard.press("i")
    assert page.evaluate(boxes) == before


@pytest.mark.browser
def test_a_report_prints_on_one_page(visit: Any, site: Made) -> None:
    for place in (0, 5, 13):
        page = report(visit, site, place)
        page.locator(".plate .mat").focus()
        page.keyboard.press("+")  # an enlarged plate prints whole
        sheets = re.findall(rb"/Type /Page\b", page.pdf(prefer_css_page_size=True))
        assert len(sheets) == 1
        page.emulate_media(media="print")
        mat, photograph = (page.locator(name).bounding_box() for name in (".plate .mat", ".photograph"))
        assert photograph == pytest.approx(mat, abs=0.6)
        assert not page.locator(".live").is_visible()
        page.context.close()


@pytest.mark.browser
def test_a_button_prints_a_report(visit: Any, site: Made) -> None:
    page = report(visit, site, 3)
    page.evaluate("() => { window.print = () => { document.title = 'printed'; }; }")
    page.get_by_role("button", name="Print", exact=True).click()
    assert page.title() == "printed"


@pytest.mark.browser
def test_a_file_of_reports_prints_one_page_each(visit: Any, site: Made) -> None:
    page = visit(site[-1] / "report.html")
    assert len(re.findall(rb"/Type /Page\b", page.pdf(prefer_css_page_size=True))) == page.locator(".report").count() == 2


def test_scales_of_two_grades_work(tmp_path: Path) -> None:
    atlas = drawn_atlas(tmp_path / "pictures", scale=Scale(0, ("no", "yes"), None, "anything"), count=3, clustered=False)
    atlas, *_ = with_cells(atlas, tmp_path / "pictures")
    render_site(atlas, tmp_path / "pictures", tmp_path / "out")
    text = (tmp_path / "out" / "images" / f"{atlas.strip.image_ids[2]}.html").read_text("utf-8")
    assert "It scores higher than 2 of all 3 photographs." in text
