"""Synthetic eyes: the lesions of each grade, their places, and the contents of a cohort."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from atlas.cohort.lesions import LESIONS
from atlas.drawn.cohort import GRADE_SHARES, draw_cohort, write_cohort
from atlas.drawn.paint import SyntheticEye, draw_eye
from atlas.errors import DatasetError

SEEDS = range(8)
SIZE = 256


@pytest.fixture(scope="module")
def eyes() -> list[SyntheticEye]:
    return [draw_eye(seed, grade, eye=("left", "right")[seed % 2], size=SIZE) for grade in range(5) for seed in SEEDS]


def test_same_arguments_same_bytes_whatever_the_threads() -> None:
    threads = cv2.getNumThreads()
    first = draw_eye(3, 4, size=SIZE)
    try:
        cv2.setNumThreads(4)
        second = draw_eye(3, 4, size=SIZE)
    finally:
        cv2.setNumThreads(threads)
    assert np.array_equal(first.pixels, second.pixels)
    assert first.masks.keys() == second.masks.keys()
    assert all(np.array_equal(first.masks[kind], second.masks[kind]) for kind in first.masks)
    assert not np.array_equal(first.pixels, draw_eye(4, 4, size=SIZE).pixels)


def test_shapes_types_and_black_surround(eyes: list[SyntheticEye]) -> None:
    for drawn in eyes:
        assert drawn.pixels.shape == (SIZE, round(1.25 * SIZE), 3)
        assert drawn.pixels.dtype == np.uint8
        assert drawn.retina.shape == drawn.pixels.shape[:2]
        outside = ~ndimage.binary_dilation(drawn.retina, iterations=2)
        assert drawn.pixels[outside].max() == 0
        assert drawn.pixels[drawn.retina].mean(axis=0).argmax() == 0, "a fundus is red before all"


def test_masks_are_known_not_empty_and_on_the_retina(eyes: list[SyntheticEye]) -> None:
    for drawn in eyes:
        assert set(drawn.masks) <= set(LESIONS)
        for mask in drawn.masks.values():
            assert mask.dtype == np.bool_
            assert mask.any()
            assert not (mask & ~drawn.retina).any()


def test_every_kind_of_lesion_is_drawn(eyes: list[SyntheticEye]) -> None:
    assert {kind for drawn in eyes for kind in drawn.masks} == set(LESIONS)


def _haemorrhages_by_quadrant(drawn: SyntheticEye) -> list[int]:
    """Count separate haemorrhages in the quadrants about the centre of the photographed field."""
    mask = drawn.masks.get("haemorrhage", np.zeros_like(drawn.retina))
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    rows, columns = (np.flatnonzero(drawn.retina.any(axis=axis)) for axis in (1, 0))
    middle = np.array([(rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2])
    centres = np.array(ndimage.center_of_mass(mask, labels, range(1, count + 1))).reshape(-1, 2)
    found = Counter(tuple(c) for c in (centres > middle).astype(int).tolist())
    return [found[(v, h)] for v in (0, 1) for h in (0, 1)]


@pytest.mark.parametrize("seed", SEEDS)
def test_grades_keep_the_international_rules(seed: int) -> None:
    normal, mild, moderate, severe, proliferative = (draw_eye(seed, grade, size=480) for grade in range(5))
    assert not normal.masks
    assert set(mild.masks) == {"microaneurysm"}
    assert "haemorrhage" in moderate.masks
    advanced = {"venous beading", "new vessels", "pre-retinal blood"}
    assert not advanced & set(moderate.masks)
    assert sum(_haemorrhages_by_quadrant(moderate)) <= 20
    assert "venous beading" in severe.masks or min(_haemorrhages_by_quadrant(severe)) > 20
    assert not {"new vessels", "pre-retinal blood"} & set(severe.masks)
    assert {"new vessels", "pre-retinal blood"} & set(proliferative.masks)
    assert "haemorrhage" in proliferative.masks


def test_beading_spans_two_quadrants(eyes: list[SyntheticEye]) -> None:
    beaded = [drawn for drawn in eyes if "venous beading" in drawn.masks]
    assert beaded
    for drawn in beaded:
        rows, columns = np.nonzero(drawn.masks["venous beading"])
        middle = np.argwhere(drawn.retina).mean(axis=0)
        assert len(set(zip(rows > middle[0], columns > middle[1], strict=True))) >= 2


@pytest.mark.parametrize("grade", [1, 2, 3, 4])
def test_lesions_change_their_masks_and_nothing_else(grade: int) -> None:
    for seed in SEEDS:
        healthy, sick = draw_eye(seed, 0, size=SIZE), draw_eye(seed, grade, size=SIZE)
        change = np.abs(healthy.pixels.astype(int) - sick.pixels.astype(int)).max(axis=2)
        painted = np.any(list(sick.masks.values()), axis=0)
        # The optics blur a lesion by a few pixels.
        assert change[~ndimage.binary_dilation(painted, iterations=6)].max() == 0
        assert change[painted].mean() > 3.0
        for mask in sick.masks.values():
            assert change[mask].max() > 5


def test_lesions_have_the_colour_of_what_they_are(eyes: list[SyntheticEye]) -> None:
    for index, drawn in enumerate(eyes):
        healthy = draw_eye(list(SEEDS)[index % len(SEEDS)], 0, eye=drawn.eye, size=SIZE).pixels.astype(float)
        for kind, sign in (("microaneurysm", -1), ("haemorrhage", -1), ("hard exudate", 1)):
            others = [mask for other, mask in drawn.masks.items() if other != kind]
            if kind in drawn.masks:
                mask = drawn.masks[kind] & ~np.any([*others, np.zeros_like(drawn.retina)], axis=0)
                change = (drawn.pixels.astype(float) - healthy)[mask]
                assert sign * change[:, 1].mean() > 0, f"{kind} in green"


def test_a_left_eye_has_its_disc_on_the_left() -> None:
    for eye, right in (("left", False), ("right", True)):
        for seed in SEEDS:
            drawn = draw_eye(seed, 0, eye=eye, size=SIZE)
            green = cv2.GaussianBlur(drawn.pixels[..., 1], (0, 0), SIZE / 40).astype(float)
            local = green - cv2.GaussianBlur(green, (0, 0), SIZE / 8)
            inner = ndimage.binary_erosion(drawn.retina, iterations=SIZE // 8, border_value=0)
            column = np.argmax(np.where(inner, local, -np.inf)) % green.shape[1]
            assert (column > green.shape[1] / 2) == right


def test_the_composition_does_not_depend_on_the_size() -> None:
    small, large = draw_eye(5, 3, size=256), draw_eye(5, 3, size=512)
    assert small.masks.keys() == large.masks.keys()
    shrunk = cv2.resize(large.pixels, (320, 256), interpolation=cv2.INTER_AREA)
    smooth = [cv2.GaussianBlur(p, (0, 0), 2.0)[small.retina].astype(float) for p in (small.pixels, shrunk)]
    assert np.abs(smooth[0] - smooth[1]).mean() < 2.0


def test_anatomy_seed_keeps_the_eye_and_lets_the_lesions_vary() -> None:
    first, second = (draw_eye(seed, 1, anatomy_seed=9, size=SIZE) for seed in (1, 2))
    other = draw_eye(1, 1, anatomy_seed=10, size=SIZE)
    assert not np.array_equal(first.masks["microaneurysm"], second.masks["microaneurysm"])

    def hue(drawn: SyntheticEye) -> np.ndarray:
        mean = drawn.pixels[drawn.retina].mean(axis=0)
        return mean / mean.sum()

    assert np.abs(hue(first) - hue(second)).sum() < np.abs(hue(first) - hue(other)).sum()


@pytest.mark.parametrize(("name", "value"), [("grade", 5), ("grade", -1), ("eye", "middle"), ("size", 16), ("seed", -1)])
def test_draw_eye_names_what_it_cannot_draw(name: str, value: object) -> None:
    arguments = {"seed": 0, "grade": 1, "eye": "left", "size": 128} | {name: value}
    with pytest.raises(DatasetError, match=f"{name} is"):
        draw_eye(**arguments)  # type: ignore[arg-type]


def test_a_cohort_pairs_eyes_and_spreads_grades() -> None:
    cohort = [(patient, drawn.eye, drawn.grade) for patient, drawn in draw_cohort(100, seed=1, size=64)]
    patients = Counter(patient for patient, _, _ in cohort)
    assert set(patients.values()) == {2}
    assert all({eye for p, eye, _ in cohort if p == patient} == {"left", "right"} for patient in patients)
    shares = np.bincount([grade for _, _, grade in cohort], minlength=5) / len(cohort)
    assert np.allclose(shares, GRADE_SHARES, atol=0.03)
    grades = np.array([grade for _, _, grade in cohort]).reshape(-1, 2)
    assert np.corrcoef(grades.T)[0, 1] > 0.5


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 23])
def test_small_cohorts(count: int) -> None:
    grades = [drawn.grade for _, drawn in draw_cohort(count, size=64)]
    assert len(grades) == count
    if count >= 10:
        assert set(grades) == set(range(5))


def test_a_cohort_is_drawn_lazily() -> None:
    patient, drawn = next(draw_cohort(9999, size=64))
    assert (patient, drawn.eye) == ("0001", "left")


def test_the_table_and_the_files_tell_the_cohort(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    table = write_cohort(10, tmp_path / "cohort", seed=2, size=128, progress=lambda _, done, total: seen.append((done, total)))
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", "level", "patient", "eye"]
    assert seen == [(i, 10) for i in range(1, 11)]
    for row, (patient, drawn) in zip(rows, draw_cohort(10, seed=2, size=128), strict=True):
        assert row == {"image": f"{patient}_{drawn.eye}", "level": str(drawn.grade), "patient": patient, "eye": drawn.eye}
        with Image.open(table.parent / "images" / f"{row['image']}.jpg") as picture:
            assert not picture.getexif()
            assert np.abs(np.asarray(picture).astype(int) - drawn.pixels).mean() < 6
        masks = sorted((table.parent / "masks" / row["image"]).glob("*.png"))
        assert [m.stem for m in masks] == sorted(kind.replace(" ", "-") for kind in drawn.masks)
        for mask in masks:
            with Image.open(mask) as picture:
                assert np.array_equal(np.asarray(picture) > 0, drawn.masks[_kind(mask.stem)])
    assert {p.stem for p in (table.parent / "images").iterdir()} == {row["image"] for row in rows}


def _kind(stem: str) -> str:
    return next(kind for kind in LESIONS if kind.replace(" ", "-") == stem)


def test_a_new_cohort_replaces_an_old_one(tmp_path: Path) -> None:
    write_cohort(6, tmp_path, size=64)
    write_cohort(3, tmp_path, size=64)
    assert len(list((tmp_path / "images").iterdir())) == 3


@pytest.mark.parametrize("held", ["grades.csv", "images/10_left.jpeg", "thesis.docx"])
def test_a_folder_of_someone_else_is_refused_and_kept(tmp_path: Path, held: str) -> None:
    theirs = tmp_path / held
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_bytes(b"precious")
    with pytest.raises(DatasetError, match="expected a new folder"):
        write_cohort(2, tmp_path, size=64)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [theirs]
    assert theirs.read_bytes() == b"precious"


def test_a_cohort_with_a_stranger_among_its_files_is_refused(tmp_path: Path) -> None:
    write_cohort(1, tmp_path, size=64)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DatasetError, match="expected a new folder"):
        write_cohort(1, tmp_path, size=64)
