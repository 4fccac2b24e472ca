"""Plates: photographs with the source's own pixels, for readers who look closer; their cost, and what they do not change."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Page

from atlas import build_atlas, load_configuration
from atlas.errors import ConfigurationError
from atlas.photographs.decode import read_photograph
from atlas.photographs.frames import crop
from atlas.pipeline.build import BuildResult
from atlas.pipeline.cutting import Cutting, cut_patches
from atlas.pipeline.photograph import PHOTOGRAPH_SIDE, Preparing, prepare_photograph
from atlas.pipeline.report import build_report
from atlas.pipeline.sources import trained_source
from atlas.pipeline.store import Store
from atlas.records import DIABETIC_RETINOPATHY, ByteArray, GradedImage
from atlas.scorers.trunks import new_module

HEIGHTS = {"1_left": 1900, "2_left": 1800} | {f"{eye}_left": 300 for eye in range(3, 11)}  # of the drawn photographs
FOLDERS = ("photographs", "plates", "thumbnails", "patches", "tables", "cells")


def eye(height: int, seed: int) -> ByteArray:
    """Draw a disc with blots, whose columns are light and dark in turn: single pixels that no smaller picture can hold."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, : height + 240]
    disc = np.hypot(rows - height / 2, columns - height / 2 - 120) < height / 2 - 20
    picture = np.where(disc[..., None], random.integers((160, 70, 40), (190, 100, 60)), 0).astype(np.uint8)
    for row, column in random.uniform(0.25, 0.75, (6, 2)):
        blot = np.hypot(rows - row * height, columns - column * height - 120) < height / 30
        picture[blot] = (240, 220, 90)
    picture[disc & (columns % 2 == 1)] -= 30
    return picture


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn eyes, and weights of a small trunk that learned nothing: what is tested does not depend on what it sees."""
    folder = tmp_path_factory.mktemp("cohort")
    (folder / "images").mkdir()
    for seed, (name, height) in enumerate(HEIGHTS.items()):
        Image.fromarray(eye(height, seed)).save(folder / "images" / f"{name}.png", compress_level=1)
    (folder / "grades.csv").write_text("image,level\n" + "".join(f"{name},{1 + seed % 2}\n" for seed, name in enumerate(HEIGHTS)))
    torch.save(new_module("squeezenet1_1", seed=1).state_dict(), folder / "trunk.pth")
    return folder


def build(cohort: Path, out: Path, **settings: Any) -> BuildResult:
    inputs = {"images": cohort / "images", "grades": cohort / "grades.csv", "store": cohort / "store"}
    fit = {"fit": True, "folds": 2, "trunk": "squeezenet1_1", "trunk_weights": str(cohort / "trunk.pth"), "size": 128}
    patches = {"patches": "occlusion", "clusters": 2, "drop_threshold": 0.95, "drop_quantile": 0.8}
    # These discs of stripes are no retinas.
    return build_atlas(load_configuration(**inputs, **fit, **patches, out=out, workers=1, keep_all=True, **settings))


def entries(cohort: Path) -> set[str]:
    """What the store holds, as stage/key."""
    return {f"{path.parent.parent.name}/{path.name}" for path in (cohort / "store").glob("*/??/*")}


@pytest.fixture(scope="module")
def kept() -> set[str]:
    """What the store holds after the first build; filled by it."""
    return set()


@pytest.fixture(scope="module")
def built(cohort: Path, tmp_path_factory: pytest.TempPathFactory, kept: set[str]) -> BuildResult:
    result = build(cohort, tmp_path_factory.mktemp("built") / "site")
    kept |= entries(cohort)
    return result


def named(built: BuildResult, name: str) -> GradedImage:
    return next(image for image in built.atlas.dataset.images if image.path.stem == name)


def side(file: Path) -> int:
    with Image.open(file) as picture:
        assert picture.width == picture.height
        assert not picture.getexif()
        return picture.width


def contents(folder: Path, names: tuple[str, ...] = FOLDERS) -> dict[str, bytes]:
    files = (path for name in names for path in sorted((folder / name).glob("*")))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


# ---- what a build draws --------------------------------------------------------------------------------------------------------


def test_a_plate_holds_the_pixels_of_the_source(built: BuildResult) -> None:
    image = named(built, "1_left")
    frame = built.atlas.frames[image.image_id]
    assert frame.side > 1.7 * PHOTOGRAPH_SIDE
    source = crop(read_photograph(image.path), frame).astype(float)
    with Image.open(built.out / "plates" / f"{image.image_id}.jpg") as picture:
        plate = np.asarray(picture, float)
    assert plate.shape == source.shape
    assert np.abs(plate - source).mean() < 2
    middle = slice(frame.side * 2 // 5, frame.side * 3 // 5)
    stripes = np.abs(np.diff(plate[middle, middle, 1], axis=1))
    assert np.median(stripes) > 25, "neighbouring columns keep their difference of 30"
    with Image.open(built.out / "photographs" / f"{image.image_id}.jpg") as picture:
        assert picture.size == (PHOTOGRAPH_SIDE, PHOTOGRAPH_SIDE)
        coarse = np.asarray(picture.resize(plate.shape[:2]), float)
    assert np.abs(coarse - source)[middle, middle].mean() > 4 * np.abs(plate - source)[middle, middle].mean()


def test_a_small_retina_in_a_large_picture_keeps_its_pixels(tmp_path: Path) -> None:
    """A large JPEG is decoded at a reduced size, but only if its retina keeps enough pixels."""
    picture = np.zeros((2200, 3000, 3), np.uint8)
    picture[500:1700, 700:2140] = eye(1200, seed=3)
    Image.fromarray(picture).save(tmp_path / "eye.jpg", quality=97, subsampling=0)
    image = GradedImage("0" * 16, tmp_path / "eye.jpg", 2)
    shared = Preparing(trained_source("synthetic-alexnet", DIABETIC_RETINOPATHY), Store(tmp_path / "store"))
    view = prepare_photograph(image, shared)
    assert abs(view.frame.side - 1160) < 15
    assert side(view.photograph) == PHOTOGRAPH_SIDE
    row, column = view.frame.top + view.frame.side // 2, view.frame.left + view.frame.side // 2
    box = np.array([[row - 60, column - 60, row + 60, column + 60]])
    detail = cut_patches(Cutting(image, view.frame, view.folder, ["middle"], box), shared)
    for file in (view.photograph, detail.folder / "middle.jpg"):
        with Image.open(file) as drawn:
            shown = np.asarray(drawn, float)
        middle = slice(len(shown) * 2 // 5, len(shown) * 3 // 5)
        stripes = np.abs(np.diff(shown[middle, middle, 1], axis=1))
        assert stripes.mean() > 4, "light and dark columns can still be told apart"


def test_only_photographs_that_are_larger_have_a_plate_beside_them(built: BuildResult) -> None:
    large = {named(built, name).image_id for name in ("1_left", "2_left")}
    small = named(built, "3_left").image_id
    assert {file.stem for file in (built.out / "plates").iterdir()} == large
    assert side(built.out / "photographs" / f"{small}.jpg") == built.atlas.frames[small].side < PHOTOGRAPH_SIDE
    for image_id in large:
        assert side(built.out / "plates" / f"{image_id}.jpg") == built.atlas.frames[image_id].side
    columns = json.loads((built.out / "data" / "images.js").read_text().removeprefix("window.ATLAS_IMAGES=").rstrip(";\n"))
    assert {i: n for i, n in zip(columns["id"], columns["finer"], strict=True) if n} == {
        i: built.atlas.frames[i].side for i in large
    }
    assert "data-finer" not in (built.out / "images" / f"{small}.html").read_text()


@pytest.mark.parametrize("most", [1300, 1024, 512])
def test_the_side_of_plates_changes_nothing_else(
    built: BuildResult, cohort: Path, kept: set[str], tmp_path: Path, most: int
) -> None:
    other = build(cohort, tmp_path / "site", plate_side=most)
    assert {one.split("/")[0] for one in entries(cohort) - kept} <= {"plates"}
    assert other.atlas.patches is not None
    assert built.atlas.patches is not None
    assert other.atlas.patches.patch_ids == built.atlas.patches.patch_ids
    np.testing.assert_array_equal(other.atlas.patches.descriptors, built.atlas.patches.descriptors)
    np.testing.assert_array_equal(other.atlas.scores.severity, built.atlas.scores.severity)
    same = tuple(name for name in FOLDERS if name != "plates" and (most >= PHOTOGRAPH_SIDE or name != "photographs"))
    assert contents(other.out, same) == contents(built.out, same)
    for image in other.atlas.dataset.images:
        source = built.atlas.frames[image.image_id].side
        photograph, plate = (other.out / folder / f"{image.image_id}.jpg" for folder in ("photographs", "plates"))
        assert side(photograph) == min(source, PHOTOGRAPH_SIDE, most)
        assert plate.exists() is (min(source, most) > PHOTOGRAPH_SIDE)
        assert not plate.exists() or side(plate) == most
    assert json.loads((other.out / "run.json").read_text())["settings"]["plate_side"] == most


def test_plates_come_anew_where_the_store_lost_them(built: BuildResult, cohort: Path, tmp_path: Path) -> None:
    shutil.rmtree(cohort / "store" / "plates")
    again = build(cohort, tmp_path / "site")
    assert contents(again.out) == contents(built.out)


def test_a_report_carries_its_plate_unless_it_is_to_be_small(built: BuildResult, cohort: Path, tmp_path: Path) -> None:
    image = named(built, "1_left")
    plate = base64.b64encode((built.out / "plates" / f"{image.image_id}.jpg").read_bytes()).decode()
    for most, carried in ((4096, True), (1024, False)):
        light = {"scorer": "synthetic-alexnet", "lesion_net": "none", "workers": 1, "keep_all": True}
        settings = load_configuration(store=cohort / "store", plate_side=most, **light)
        build_report([image.path], tmp_path / "report.html", settings)
        assert (plate in (tmp_path / "report.html").read_text()) is carried


@pytest.mark.parametrize("value", [0, 255, 8193, 1500.5, "full"])
def test_a_side_that_cannot_be_is_refused_in_words(tmp_path: Path, value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"plate_side: .*\(got .*\)"):
        load_configuration(None, plate_side=value)
    (tmp_path / "atlas.toml").write_text(f"plate_side = {json.dumps(value)}\n")
    with pytest.raises(ConfigurationError, match="plate_side"):
        load_configuration(tmp_path / "atlas.toml")


# ---- what a reader sees --------------------------------------------------------------------------------------------------------


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    contexts, faults = [], []

    def visit(address: str, ready: str, *, faultless: bool = True, **settings: Any) -> Page:
        viewport = {"width": 1280, "height": 900}
        contexts.append(browser.new_context(offline=True, reduced_motion="reduce", **({"viewport": viewport} | settings)))
        page: Page = contexts[-1].new_page()
        if faultless:
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
        page.goto(address)
        page.wait_for_selector(ready)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert faults == []


def shown(page: Page, place: int = 0) -> str:
    """The folder of the picture that a plate shows."""
    found: str = page.locator(".photograph").nth(place).evaluate("image => image.currentSrc.split('/').at(-2)")
    return found


def wait_for(page: Page, folder: str, place: int = 0) -> None:
    page.wait_for_function(
        """([folder, place]) => {
          const image = document.querySelectorAll(".photograph")[place];
          return image.complete && image.naturalWidth > 0 && image.currentSrc.split("/").at(-2) === folder;
        }""",
        arg=[folder, place],
    )


def report(built: BuildResult, name: str, site: Path | None = None) -> str:
    return ((site or built.out) / "images" / f"{named(built, name).image_id}.html").as_uri()


@pytest.mark.browser
def test_zoom_ends_at_the_pixels_of_the_source(visit: Any, built: BuildResult) -> None:
    page = visit(report(built, "1_left"), ".plate[data-drawn]")
    assert shown(page) == "photographs", "the first paint waits for nothing large"
    source = built.atlas.frames[named(built, "1_left").image_id].side
    page.locator(".method[value=none]").check(force=True)
    page.add_style_tag(content=".boxes, .zoom { visibility: hidden; }")
    mat = page.locator(".plate .mat")
    before = mat.bounding_box()
    mat.focus()
    page.keyboard.press("+")
    wide = page.locator(".photograph").bounding_box()
    page.keyboard.press("+")
    wait_for(page, "plates")
    assert page.evaluate("document.querySelector('.photograph').naturalWidth") == source
    page.keyboard.press("-")
    assert page.locator(".photograph").bounding_box() == pytest.approx(wide, abs=0.6), "nothing jumps"
    for _ in range(12):
        page.keyboard.press("+")
    assert page.locator("button[aria-label='Zoom in']").is_disabled()
    pixel = page.locator(".photograph").bounding_box()["width"] / source  # type: ignore[index]
    assert pixel >= 4
    assert mat.bounding_box() == pytest.approx(before)
    page.evaluate("AtlasViewer.attach(document.querySelector('.plate')).setView({ x: 0.5, y: 0.75 })")
    picture = Image.open(BytesIO(mat.screenshot()))
    line = np.asarray(picture, float)[picture.height // 3, : picture.width // 2, 1]
    turns = np.count_nonzero(np.diff(line > line.mean()))
    assert turns == pytest.approx(len(line) / pixel, abs=2), "each pixel of the source is a stripe of its own"
    assert np.ptp(line) > 20


@pytest.mark.browser
def test_a_dense_screen_gets_the_plate_at_once_and_a_small_photograph_has_none(visit: Any, built: BuildResult) -> None:
    narrow = {"viewport": {"width": 390, "height": 800}, "device_scale_factor": 3}
    wait_for(visit(report(built, "1_left"), ".plate[data-drawn]", **narrow), "plates")
    page = visit(report(built, "3_left"), ".plate[data-drawn]", **narrow)
    page.locator(".plate .mat").focus()
    for _ in range(4):
        page.keyboard.press("+")
    wait_for(page, "photographs")


@pytest.mark.browser
def test_without_its_plates_an_atlas_shows_its_photographs(visit: Any, built: BuildResult, tmp_path: Path) -> None:
    shutil.copytree(built.out, tmp_path / "site", ignore=shutil.ignore_patterns("plates"))
    page = visit(report(built, "1_left", tmp_path / "site"), ".plate[data-drawn]", faultless=False)
    page.locator(".plate .mat").focus()
    for _ in range(5):
        page.keyboard.press("+")
    missing = f"../plates/{named(built, '1_left').image_id}.jpg"
    page.evaluate("src => new Promise(done => { Object.assign(new Image(), { onerror: () => done(), src }); })", missing)
    wait_for(page, "photographs")


@pytest.mark.browser
def test_compared_plates_are_both_sharpened_and_go_equally_far(visit: Any, built: BuildResult) -> None:
    large, other, small = (named(built, name).image_id for name in ("1_left", "2_left", "3_left"))
    page = visit(f"{(built.out / 'compare.html').as_uri()}#a={large}&b={small}", "#compare[data-ready]")
    wait_for(page, "photographs")
    page.locator(".plate .mat").first.focus()
    for _ in range(14):
        page.keyboard.press("+")
    wait_for(page, "plates")
    wait_for(page, "photographs", 1)
    scales = page.evaluate("[...document.querySelectorAll('.plate')].map(plate => AtlasViewer.attach(plate).view().scale)")
    assert scales[0] == scales[1]
    assert scales[0] * page.locator(".plate .mat").first.bounding_box()["width"] / built.atlas.frames[large].side >= 4  # type: ignore[index]
    page.locator("#pick-b").fill(other)
    page.keyboard.press("Enter")
    wait_for(page, "plates", 1)
    page.locator("#pick-a").fill(small)
    page.keyboard.press("Enter")
    wait_for(page, "photographs")


@pytest.mark.browser
def test_the_quiz_shows_the_plate_to_those_who_zoom(visit: Any, built: BuildResult) -> None:
    finer = {named(built, name).image_id for name in ("1_left", "2_left")}
    page = visit(f"{(built.out / 'quiz.html').as_uri()}#n=10&seed=2&stages=1,2", "#photograph[src]")
    seen = set()
    for _ in HEIGHTS:
        wait_for(page, "photographs")
        image_id = page.locator("#photograph").evaluate("image => image.src.split('/').at(-1).split('.')[0]")
        seen.add(image_id)
        page.locator("#plate .mat").focus()
        for _ in range(5):
            page.keyboard.press("+")
        wait_for(page, "plates" if image_id in finer else "photographs")
        page.locator("#grading input").first.check()
        page.locator("#reveal").click()
        page.locator("#next").click()
    assert seen > finer
