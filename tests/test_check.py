"""What `atlas check` reports before a build: what is read, what is left out, how grades are distributed, and the cost."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from atlas.cli import app
from atlas.config import load_configuration
from atlas.drawn.cohort import write_cohort
from atlas.errors import DatasetError, UnreadableImageError
from atlas.photographs.decode import decode_photograph, read_size
from atlas.pipeline.build import build_atlas
from atlas.pipeline.check import check
from atlas.records import Check
from atlas.terminal import _duration

QUICK: Mapping[str, Any] = {"scorer": "synthetic-alexnet", "lesion_net": "none", "workers": 2}


def rows_of(table: Path) -> list[list[str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve drawn eyes, and one file with each kind of fault."""
    root = tmp_path_factory.mktemp("check")
    write_cohort(12, root, seed=3, size=128)
    head, *rows = rows_of(root / "grades.csv")
    rows = [[*row, "train" if place < 7 else "test"] for place, row in enumerate(rows)]  # the fourth patient is in both
    good = root / "images" / f"{rows[0][0]}.jpg"
    (root / "images" / "900_left.jpg").write_bytes(good.read_bytes()[:-400])
    (root / "images" / "901_left.jpg").write_text("no picture", encoding="utf-8", newline="\n")
    shutil.copy(root / "images" / f"{rows[1][0]}.jpg", root / "images" / "902_left.jpg")
    (root / "images" / "903_left.jpg").write_bytes(good.read_bytes() + b"one more byte")
    (root / "images" / "904_left.cr2").write_bytes(b"of another kind")
    (root / "masks" / "906_left.png").write_bytes(b"a mask of a photograph that is not here")
    rows += [
        ["900_left", "1", "900", "left", "train"],
        ["901_left", "2", "901", "left", "test"],
        ["902_left", rows[1][1], rows[1][2], rows[1][3], "train"],
        ["905_left", "0", "905", "left", "test"],
    ]
    rows[2][1] = "7"
    with (root / "grades.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([[*head, "split"], *rows])
    return root


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    return {"images": folder / "images", "grades": folder / "grades.csv", **QUICK, **more}


@pytest.fixture(scope="module")
def checked(folder: Path) -> Check:
    return check(load_configuration(**settings(folder, store=folder / "store", masks=folder / "masks")))


def test_each_trouble_is_told_once_with_its_name(checked: Check) -> None:
    report = checked.report
    (off,) = report.grades_off_scale
    assert "`7` is not on the scale" in off
    (row,) = report.rows_without_file
    assert "905_left" in row
    (file,) = report.files_without_row
    assert "903_left.jpg" in file
    (copy,) = report.identical_files
    assert "902_left.jpg" in copy
    (other,) = report.other_files
    assert "904_left.cr2" in other
    (mask,) = report.masks_without_photograph
    assert "906_left.png" in mask
    assert checked.masked > 0
    cut_short, no_picture = sorted(report.unreadable)
    assert "900_left.jpg: is damaged or cut short" in cut_short
    assert "901_left.jpg: is not a JPEG" in no_picture


def test_photographs_are_counted_by_grade_eye_split_and_patient(checked: Check, folder: Path) -> None:
    rows = [row for row in rows_of(folder / "grades.csv")[1:13] if row[1] != "7"]
    assert checked.total.photographs == len(rows) == 11
    by_grade = {grade: share.photographs for grade, share in checked.grades.items()}
    assert by_grade == {grade: sum(row[1] == str(grade) for row in rows) for grade in range(5)}
    patients = {row[2] for row in rows}
    assert checked.total.patients == len(patients)
    assert sum(checked.total.eyes.values()) == 11
    assert checked.total.eyes["left"] == sum(row[0].endswith("_left") for row in rows)
    assert checked.total.splits == {
        "training": sum(row[-1] == "train" for row in rows),
        "test": sum(row[-1] == "test" for row in rows),
    }
    assert checked.nameless == 0
    by_patient: dict[str, set[str]] = {}
    for row in rows:
        by_patient.setdefault(row[2], set()).add(row[-1])
    assert checked.divided == tuple(sorted(one for one, splits in by_patient.items() if len(splits) > 1))
    assert len(checked.divided) == 1


def test_sizes_are_those_of_the_files(checked: Check, folder: Path) -> None:
    first = rows_of(folder / "grades.csv")[1][0]
    shape = decode_photograph(folder / "images" / f"{first}.jpg").shape
    assert checked.sizes == (shape, shape, shape)


def test_a_build_uses_what_the_check_counted_and_takes_the_room_that_it_told(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    told: list[Check] = []
    result = build_atlas(load_configuration(**settings(folder, out=tmp_path / "site", store=store)), announce=told.append)
    (found,) = told
    assert result.atlas.provenance.counts["images"] == found.total.photographs
    assert set(found.report.unreadable) == set(result.report.unreadable)
    cost = found.cost
    assert cost is not None
    assert (cost.measured, cost.known, cost.least) == (2, 0, False)
    assert 0 < cost.seconds[0] < cost.seconds[1]
    atlas = sum(file.stat().st_size for file in (tmp_path / "site").rglob("*") if file.is_file())
    assert atlas / 1.3 < cost.atlas < atlas * 1.3
    stages = ("pictures", "predictions", "looks", "patches", "plates", "mirrored")
    kept = sum(file.stat().st_size for stage in stages for file in (store / stage).rglob("*") if file.is_file())
    assert kept / 2 < cost.store < kept * 2


def test_what_a_check_computed_is_not_computed_again(folder: Path) -> None:
    store = folder / "store"
    again = check(load_configuration(**settings(folder, store=store)))
    assert again.cost is not None
    assert again.cost.known >= 3
    while again.cost is not None:
        known = again.cost.known
        again = check(load_configuration(**settings(folder, store=store)))
        assert again.cost is None or again.cost.known == known + 3


def test_fitting_is_told_as_more_than_was_measured(folder: Path, tmp_path: Path) -> None:
    found = check(load_configuration(**settings(folder, store=tmp_path / "store", fit=True)))
    assert found.cost is not None
    assert found.cost.least
    assert not (tmp_path / "store" / "heads").exists()


def test_the_command_prints_it_and_a_build_begins_with_the_same_lines(folder: Path, tmp_path: Path) -> None:
    flags = ["--grades", str(folder / "grades.csv"), "--scorer", "synthetic-alexnet", "--lesion-net", "none", "--workers", "2"]
    checked = CliRunner().invoke(app, ["check", str(folder / "images"), *flags, "--store", str(tmp_path / "a")])
    assert checked.exit_code == 0, checked.output
    for words in (
        "11 photographs of",
        "1 row of the table has no file:",
        "1 file is not in the table:",
        "1 grade is missing or not on the scale:",
        "1 file is a copy of another:",
        "2 files cannot be read:",
        "1 patient is in more than one split:",
        "The build takes 10 to ",
        "Measured on 2 photographs on this machine.",
    ):
        assert words in checked.output
    assert not (tmp_path / "site").exists()
    arguments = ["build", str(folder / "images"), *flags, "--store", str(tmp_path / "b"), "--out", str(tmp_path / "site")]
    built = CliRunner().invoke(app, arguments)
    assert built.exit_code == 0, built.output

    def told(output: str) -> list[str]:
        return output.partition("The build takes")[0].splitlines()

    assert told(built.output) == told(checked.output)
    assert built.output.count("900_left.jpg") == 1, "a build tells at its end only what the check could not know"


def test_a_folder_without_any_photograph_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_text("no picture", encoding="utf-8", newline="\n")
    with pytest.raises(DatasetError, match=r"a\.jpg: is not a JPEG"):
        check(load_configuration(images=tmp_path / "images", store=tmp_path / "store", **QUICK))


@pytest.mark.parametrize("lost", [1, 2, 400, 2000])
def test_a_jpeg_that_is_cut_short_is_told_in_the_words_of_its_decoding(folder: Path, tmp_path: Path, lost: int) -> None:
    whole = (folder / "images" / f"{rows_of(folder / 'grades.csv')[1][0]}.jpg").read_bytes()
    file = tmp_path / "eye.jpg"
    file.write_bytes(whole[:-lost])
    with pytest.raises(UnreadableImageError) as by_header:
        read_size(file)
    with pytest.raises(UnreadableImageError) as by_pixels:
        decode_photograph(file)
    assert str(by_header.value) == str(by_pixels.value)


@pytest.mark.parametrize("more", [0, 70_000])
def test_what_a_camera_writes_behind_the_end_of_a_jpeg_does_no_harm(folder: Path, tmp_path: Path, more: int) -> None:
    whole = (folder / "images" / f"{rows_of(folder / 'grades.csv')[1][0]}.jpg").read_bytes()
    file = tmp_path / "eye.jpg"
    file.write_bytes(whole + bytes(more))
    assert read_size(file) == decode_photograph(file).shape


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        ((3, 12), "10 to 20 seconds"),
        ((20, 80), "20 to 80 seconds"),
        ((30, 120), "1 to 2 minutes"),
        ((600, 2400), "10 to 40 minutes"),
        ((3600, 14400), "1.0 to 4.0 hours"),
    ],
)
def test_durations_are_told_as_coarsely_as_they_are_known(seconds: tuple[float, float], words: str) -> None:
    assert _duration(*seconds) == words
