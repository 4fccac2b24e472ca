"""Whether a picture shows a retina, how good it is, and what is done about it."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from atlas.config import load_configuration
from atlas.drawn.paint import draw_eye
from atlas.errors import DatasetError
from atlas.photographs.assessment import assess, judged
from atlas.photographs.frames import Square
from atlas.photographs.oddities import DISC_WITHIN, TEXT, TWO_EYES
from atlas.photographs.opened import Opened, open_disc
from atlas.photographs.quality import REASONS, in_words, measure
from atlas.photographs.retina import find_disc, find_retina
from atlas.pipeline.build import build_atlas
from atlas.pipeline.check import check
from atlas.pipeline.rejected import rejected_file
from atlas.records import UNSTRETCHED, ByteArray, Frame, Quality, Stretch
from atlas.site.quality import quality_told
from atlas.site.words import ENGLISH


@pytest.fixture(scope="module")
def pictures() -> ModuleType:
    file = Path(__file__).resolve().parents[1] / "benchmarks" / "no_retina.py"
    spec = importlib.util.spec_from_file_location("no_retina_benchmark", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def eye() -> ByteArray:
    """A retina that the frame does not cut."""
    return draw_eye(1, 2, size=512).pixels


def _save(file: Path, pixels: ByteArray) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return file


def _looked(folder: Path, pixels: ByteArray) -> tuple[Opened, Quality]:
    opened = open_disc(_save(folder / "picture.png", pixels), least=1024)
    quality = judged(assess(opened))
    assert quality is not None
    return opened, quality


def test_drawn_eyes_are_retinas(tmp_path: Path) -> None:
    found = [_looked(tmp_path, draw_eye(seed, seed % 5, size=480).pixels)[1] for seed in range(10)]
    assert all(quality.retina and quality.grade == "good" and not quality.oddities for quality in found)


def test_pictures_of_other_things_are_none(pictures: ModuleType, tmp_path: Path) -> None:
    drawn = pictures.draw_pictures(len(pictures.KINDS), 7)
    passed = [kind for kind, pixels in drawn if _looked(tmp_path, pixels)[1].retina]
    assert len(passed) <= 1, passed


@pytest.mark.parametrize("place", [None, (0, 0), (60, 60), (119, 119)], ids=str)
def test_a_retina_of_which_nothing_is_seen_is_measured_like_any_other(place: tuple[int, int] | None) -> None:
    """A frame may lie beside the picture or round a single pixel."""
    mask = np.zeros((120, 120), np.bool_)
    if place is not None:
        mask[place] = True
    for frame in (Frame(0, 0, 120), Frame(-40, 30, 7), Frame(50, 50, 1), Frame(300, 300, 90)):
        found = measure(Square(np.full((120, 120, 3), 90, np.uint8), frame, mask))
        assert np.isfinite(list(found.values())).all(), frame


@pytest.mark.parametrize("part", [0.4, 0.55])
def test_a_close_up_is_a_retina_taken_completely(eye: ByteArray, part: float, tmp_path: Path) -> None:
    frame, _ = find_retina(eye)
    half, middle = round(frame.side * part / 2), (frame.top + frame.side // 2, frame.left + frame.side // 2)
    close = np.ascontiguousarray(eye[middle[0] - half : middle[0] + half, middle[1] - half : middle[1] + half])
    opened, quality = _looked(tmp_path, close)
    assert quality.retina
    assert not quality.edge
    assert opened.disc.frame.side <= 2 * max(close.shape)
    assert opened.disc.mask.all()
    assert any("complete picture was scored" in sentence for sentence in quality_told(quality, ENGLISH))


def test_blurred_and_dark_photographs_are_worse_and_say_why(eye: ByteArray, tmp_path: Path) -> None:
    sharp = _looked(tmp_path, eye)[1]
    blurred = _looked(tmp_path, cv2.GaussianBlur(eye, (0, 0), 5))[1]
    dark = _looked(tmp_path, (eye * 0.2).astype(np.uint8))[1]
    assert sharp.score > blurred.score
    assert sharp.score > dark.score
    assert sharp.grade == "good"
    assert not sharp.reasons
    assert "blurred" in blurred.reasons
    assert "dark" in dark.reasons
    for quality in (blurred, dark):
        assert quality.grade != "good"
        assert set(quality.reasons) <= set(REASONS)
        assert in_words(quality)[0] in quality_told(quality, ENGLISH)[0]


def test_the_same_photograph_gives_the_same_bytes(eye: ByteArray, tmp_path: Path) -> None:
    opened = open_disc(_save(tmp_path / "eye.png", eye))
    assert assess(opened).tobytes() == assess(opened).tobytes()


@pytest.mark.parametrize("level", [255, 128])
def test_an_even_surround_that_is_not_dark_is_told_from_the_retina(eye: ByteArray, level: int, tmp_path: Path) -> None:
    frame, mask = find_retina(eye)
    pasted = np.where(mask[..., None], eye, np.uint8(level))
    opened, quality = _looked(tmp_path, pasted)
    found = opened.disc
    assert quality.retina
    assert found.edge
    offsets = (found.frame.top - frame.top, found.frame.left - frame.left, found.frame.side - frame.side)
    assert max(map(abs, offsets)) <= 0.02 * frame.side
    assert (found.mask == mask).mean() > 0.98


def test_a_picture_on_a_page_is_cut_out(eye: ByteArray, tmp_path: Path) -> None:
    height, width = eye.shape[:2]
    page = np.full((2 * height, round(1.4 * width), 3), 245, np.uint8)
    page[100 : 100 + height, 60 : 60 + width] = eye
    frame, mask = find_retina(eye)
    opened, quality = _looked(tmp_path, page)
    assert quality.retina
    assert abs(opened.disc.frame.top - frame.top - 100) <= 0.03 * frame.side
    assert abs(opened.disc.frame.left - frame.left - 60) <= 0.03 * frame.side
    assert not opened.disc.mask[: 100 + np.flatnonzero(mask.any(axis=1))[0] - 12].any()


@pytest.mark.parametrize("squash", [0.75, 0.9, 1.2, 1.5])
def test_a_squashed_photograph_is_put_right(eye: ByteArray, squash: float, tmp_path: Path) -> None:
    height, width = eye.shape[:2]
    size = (width, round(height * squash)) if squash < 1 else (round(width / squash), height)
    opened, quality = _looked(tmp_path, np.asarray(cv2.resize(eye, size, interpolation=cv2.INTER_AREA), np.uint8))
    assert quality.retina
    assert quality.squashed
    assert quality.squash == pytest.approx(squash, rel=0.015)
    assert find_disc(opened.decoded.pixels).squash == 1.0
    assert any("not round" in sentence for sentence in quality_told(quality, ENGLISH))


def test_a_round_disc_is_left_alone(eye: ByteArray, tmp_path: Path) -> None:
    opened, quality = _looked(tmp_path, eye)
    assert opened.decoded.stretch == UNSTRETCHED
    assert not quality.squashed


@pytest.mark.parametrize("squash", [0.5, 0.744, 0.97, 1.031, 1.333, 2.1])
def test_boxes_of_a_squashed_photograph_map_back_exactly(squash: float) -> None:
    stretch = Stretch.of(squash)
    edges = np.random.default_rng(0).integers(0, 5000, (2000, 4))
    for top, left, height, width in edges.tolist():
        box = (top, left, top + height + 1, left + width + 1)
        shown = tuple(round(edge) for edge in stretch.shown(box))
        assert stretch.source(shown) == box
    for shape in edges[:, :2].tolist():
        assert stretch.source_shape(stretch.shape((shape[0] + 16, shape[1] + 16))) == (shape[0] + 16, shape[1] + 16)


def test_what_is_odd_is_named(eye: ByteArray, tmp_path: Path) -> None:
    two = _looked(tmp_path, np.hstack([eye, eye[:, ::-1]]))[1]
    assert TWO_EYES in two.oddities
    written = eye.copy()
    cv2.putText(written, "PATIENT 123", (4, 500), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1, cv2.LINE_AA)
    assert _looked(tmp_path, written)[1].oddities == (TEXT,)
    _, mask = find_retina(eye)
    height, width = eye.shape[:2]
    side = round(1.7 * max(height, width))
    screen = np.zeros((side, side, 3), np.uint8)
    cv2.circle(screen, (side // 2, side // 2), side // 2 - 8, (52, 48, 46), -1)
    place = screen[(side - height) // 2 :, (side - width) // 2 :][:height, :width]
    place[mask] = eye[mask]
    assert DISC_WITHIN in _looked(tmp_path, screen)[1].oddities
    assert len(quality_told(two, ENGLISH)) >= 2


def _cohort(folder: Path) -> Path:
    """Write three eyes, one of them squashed and one of them out of focus, and pictures that show none."""
    images = folder / "images"
    for number in (1, 2, 3):
        pixels = draw_eye(number, number, size=400).pixels
        if number == 2:
            pixels = np.asarray(cv2.resize(pixels, (pixels.shape[1], 320), interpolation=cv2.INTER_AREA), np.uint8)
        if number == 3:
            pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), 4), np.uint8)
        _save(images / f"{number}_left.png", pixels)
    for name, level in (("black", 0), ("white", 255), ("grey", 128)):
        _save(images / f"{name}.png", np.full((300, 400, 3), level, np.uint8))
    return images


def _build(folder: Path, images: Path, **settings: object) -> tuple[Path, list[dict[str, str]], list[dict[str, str]]]:
    out = folder / f"atlas-{len(list(folder.iterdir()))}"
    plain = {"scorer": "synthetic-alexnet", "lesion_net": "none", "workers": 1, "store": folder / "store", "plate_side": 256}
    build_atlas(load_configuration(images=images, out=out, **plain, **settings))
    with (out / "tables" / "images.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    with rejected_file(out).open(newline="", encoding="utf-8") as stream:
        return out, rows, list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _cohort(tmp_path_factory.mktemp("cohort")).parent


def test_pictures_without_a_retina_are_named_and_left_out(cohort: Path) -> None:
    images = cohort / "images"
    boxes = cohort / "boxes.csv"
    boxes.write_text("image,lesion,x,y,width,height\n2_left,hard_exudate,101,150,31,17\n", encoding="utf-8")
    out, rows, left_out = _build(cohort, images, boxes=boxes)
    assert len(rows) == 3
    assert sorted(Path(line["what"]).name for line in left_out if line["kind"] == "no retina") == [
        "black.png",
        "grey.png",
        "white.png",
    ]
    assert all("--keep-all" in line["remedy"] for line in left_out)
    (squashed,) = [row for row in rows if row["aspect"] != "1.0000"]
    assert float(squashed["aspect"]) == pytest.approx(0.8, rel=0.02)
    assert {row["quality"] for row in rows} >= {"good"}
    with (out / "tables" / "lesions.csv").open(newline="", encoding="utf-8") as stream:
        (lesion,) = list(csv.DictReader(stream))
    assert [int(lesion[edge]) for edge in ("top", "left", "bottom", "right")] == [150, 101, 167, 132]
    page = (out / "images" / f"{squashed['image_id']}.html").read_text(encoding="utf-8")
    assert "the retina is not round" in page
    assert 'name="qualities" value="good"' in (out / "find.html").read_text(encoding="utf-8")


def test_keep_all_keeps_them_and_says_so(cohort: Path) -> None:
    out, rows, left_out = _build(cohort, cohort / "images", keep_all=True)
    assert len(rows) == 6
    assert not left_out
    none = [row for row in rows if row["quality"] == "none"]
    assert len(none) == 3
    page = (out / "images" / f"{none[0]['image_id']}.html").read_text(encoding="utf-8")
    assert "seems to show no retina" in page
    assert 'value="none" checked> no retina' in (out / "find.html").read_text(encoding="utf-8")


def test_min_quality_leaves_out_what_is_worse(cohort: Path) -> None:
    _, rows, left_out = _build(cohort, cohort / "images", min_quality="good")
    assert {row["quality"] for row in rows} == {"good"}
    assert [Path(line["what"]).name for line in left_out if line["kind"] == "too poor"] == ["3_left.png"]
    assert "out of focus" in next(line["why"] for line in left_out if line["kind"] == "too poor")


def test_nothing_but_other_pictures_is_refused(tmp_path: Path) -> None:
    _save(tmp_path / "images" / "black.png", np.zeros((300, 300, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"black\.png"):
        _build(tmp_path, tmp_path / "images")


def test_a_check_names_pictures_without_a_retina(cohort: Path, tmp_path: Path) -> None:
    found = check(
        load_configuration(
            images=cohort / "images", scorer="synthetic-alexnet", lesion_net="none", workers=1, store=tmp_path / "store"
        )
    )
    assert sorted(Path(line.partition(": ")[0]).name for line in found.report.no_retina) == ["black.png", "grey.png", "white.png"]
