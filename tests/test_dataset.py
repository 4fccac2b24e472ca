"""Datasets: what the field publishes is read as it stands, and everything left out is said."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import os
import unicodedata
from collections import Counter
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.cohort.dataset import read_dataset, read_files
from atlas.cohort.names import ENDINGS, parse_name
from atlas.cohort.tables import TABLE_LAYOUTS
from atlas.errors import DatasetError
from atlas.records import Dataset, DatasetReport, Scale

SCALE = Scale()


def write_files(root: Path, *names: str, content: str | None = None) -> Path:
    """Files that differ by name unless `content` is given; reading does not decode them."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((name if content is None else content).encode())
    root.mkdir(exist_ok=True)
    return root


def write_table(path: Path, *rows: str, encoding: str = "utf-8") -> Path:
    path.write_bytes("\n".join(rows).encode(encoding))
    return path


def left_out(report: DatasetReport) -> DatasetReport:
    """The report without what was guessed, what is told to readers, and what nobody takes for a photograph."""
    return dataclasses.replace(report, guesses=(), told=(), passed_over=())


def grades_of(dataset: Dataset, root: Path) -> dict[str, int | None]:
    return {image.path.relative_to(root).as_posix(): image.grade for image in dataset.images}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_files(tmp_path / "images", "10_left.jpeg", "10_right.jpeg", "13_left.jpeg")


# Tables of the field -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layout",
    [layout for layout in TABLE_LAYOUTS if len(layout.grades) == 1 and not layout.fellow],
    ids=lambda layout: layout.name,
)
@pytest.mark.parametrize(
    "spell", [str, str.upper, lambda column: column.replace("_", " "), lambda column: column.replace(" ", "_")]
)
def test_every_published_table_is_recognised_however_its_columns_are_spelt(tmp_path, images, layout, spell):
    names = ("other", layout.image, layout.grades[0], layout.patient, layout.eye, *layout.marks)
    table = write_table(
        tmp_path / "t.csv", ",".join(map(spell, names)), "x,10_left,3,P7,right", "x,10_right,0,P7,left", "x,13_left,4,P8,left"
    )
    dataset, report = read_dataset(images, table, scale=SCALE)
    assert left_out(report) == DatasetReport(layout.name)
    told = {image.path.stem: (image.grade, image.patient, image.eye) for image in dataset.images}
    # The table is believed before the name.
    assert told == {"10_left": (3, "P7", "right"), "10_right": (0, "P7", "left"), "13_left": (4, "P8", "left")}


def test_deepdrid_takes_the_grade_of_the_photographed_eye(tmp_path):
    root = write_files(tmp_path / "images", "265/265_l1.jpg", "265/265_r1.jpg", "265/view.jpg", "265/other.jpg")
    table = write_table(
        tmp_path / "t.csv",
        "patient_id,image_id,image_path,Overall quality,left_eye_DR_Level,right_eye_DR_Level,patient_DR_Level",
        "265,265_l1,\\set\\265\\265_l1.jpg,0,3,,4",
        "265,265_r1,\\set\\265\\265_r1.jpg,1,,4,4",
        "265,view,\\set\\265\\view.jpg,1,,2,4",
        "265,other,\\set\\265\\other.jpg,1,1,2,4",
    )
    dataset, report = read_dataset(root, table, scale=SCALE)
    told = {image.path.stem: (image.grade, image.patient, image.eye) for image in dataset.images}
    assert told == {"265_l1": (3, "265", "left"), "265_r1": (4, "265", "right"), "view": (2, "265", "right")}
    assert report.layout == "DeepDRiD"
    assert report.grades_off_scale == ("row 5: other: no grade",)  # the eye is unknown, so its grade is
    by_path, _ = read_dataset(root, table, scale=SCALE, image_column="image_path")
    assert by_path.images == dataset.images


def test_deepdrid_ultra_widefield_reads_the_eye_from_its_position(tmp_path):
    root = write_files(tmp_path / "images", "34/a.jpg", "34/b.jpg")
    rows = ("patient_id,image_id,image_path,DR_level,position", "34,a,s\\34\\a.jpg,0,left_eye", "34,b,s\\34\\b.jpg,5,right_eye")
    dataset, report = read_dataset(root, write_table(tmp_path / "t.csv", *rows), scale=SCALE)
    assert [(image.patient, image.eye, image.grade) for image in dataset.images] == [("34", "left", 0)]
    assert report.grades_off_scale == ("row 3: b: `5` is not on the scale",)


def test_messidor_rows_marked_ungradable_are_reported_and_not_used(tmp_path):
    root = write_files(tmp_path / "images", "20051020_1_PP.png", "IM2.JPG", "IM3.JPG")
    rows = ("20051020_1_PP.png,0,0,1", "IM2.jpg,2,1,1", "IM3.jpg,,,0")
    table = write_table(tmp_path / "t.csv", "image_id,adjudicated_dr_grade,adjudicated_dme,adjudicated_gradable", *rows)
    dataset, report = read_dataset(root, table, scale=SCALE)
    assert grades_of(dataset, root) == {"20051020_1_PP.png": 0, "IM2.JPG": 2}
    assert left_out(report) == DatasetReport("Messidor-2", grades_off_scale=("row 4: IM3.jpg: marked ungradable",))
    assert all(image.patient is None and image.eye is None for image in dataset.images)


def test_ddr_list_without_header_leaves_its_ungradable_grade_out(tmp_path):
    root = write_files(tmp_path / "images", "train/007-0004-000.jpg", "train/a name.jpg", "train/007-0007-000.jpg")
    table = write_table(tmp_path / "train.txt", "007-0004-000.jpg 0", "", "a name.jpg 3", "007-0007-000.jpg 5", "")
    dataset, report = read_dataset(root, table, scale=SCALE)
    assert grades_of(dataset, root) == {"train/007-0004-000.jpg": 0, "train/a name.jpg": 3}
    assert report.grades_off_scale == ("row 4: 007-0007-000.jpg: `5` is not on the scale",)


def test_idrid_tables_with_empty_trailing_columns_are_read(tmp_path, images):
    rows = (
        "Image name,Retinopathy grade,Risk of macular edema ,,,",
        "10_left,3,2,,,",
        "10_right,1,0,,,",
        "13_left,0,0,,,",
        ",,,,,",
    )
    _, report = read_dataset(images, write_table(tmp_path / "t.csv", *rows), scale=SCALE)
    assert left_out(report) == DatasetReport("IDRiD")


@pytest.mark.parametrize("kind", ["semicolons", "tabs", "BOM", "windows", "xlsx"])
def test_the_same_table_in_any_spelling_gives_the_same_dataset(tmp_path, images, kind):
    write_files(images, unicodedata.normalize("NFD", "Ärztin_left.jpeg"))  # as some systems unpack it
    cells = [("image", "level"), ("10_left", 2), ("10_right", 0), ("13_left", 1), ("Ärztin_left", 4)]
    plain = [f"{a},{b}" for a, b in cells]
    expected, _ = read_dataset(images, write_table(tmp_path / "plain.csv", *plain), scale=SCALE)
    if kind == "xlsx":
        book = openpyxl.Workbook()
        for name, level in cells:
            book.active.append([name, float(level) if isinstance(level, int) else level])
        book.save(tmp_path / "t.xlsx")
        table = tmp_path / "t.xlsx"
    elif kind == "semicolons":
        table = write_table(tmp_path / "t.csv", *(row.replace(",", ";") for row in plain))
    elif kind == "tabs":
        table = write_table(tmp_path / "t.tsv", *(row.replace(",", "\t") for row in plain))
    elif kind == "BOM":
        table = write_table(tmp_path / "t.csv", *plain, encoding="utf-8-sig")
    else:
        table = tmp_path / "t.csv"
        table.write_bytes("\r\n".join(plain).encode("latin-1"))
    dataset, report = read_dataset(images, table, scale=SCALE)
    assert dataset == expected
    assert left_out(report) == DatasetReport("EyePACS")


def test_any_table_is_read_by_naming_its_columns(tmp_path, images):
    rows = ("file,severity,who,side", "10_left.jpeg,mild,A,OD", "10_right.jpeg,Proliferative,A,", "13_left.jpeg,2.0,,")
    table = write_table(tmp_path / "t.csv", *rows)
    dataset, report = read_dataset(
        images, table, scale=SCALE, image_column="File", grade_column="severity", patient_column="who", eye_column="side"
    )
    told = {image.path.stem: (image.grade, image.patient, image.eye) for image in dataset.images}
    assert told == {"10_left": (1, "A", "right"), "10_right": (4, "A", "right"), "13_left": (2, "13", "left")}
    assert left_out(report) == DatasetReport("columns as given")


def test_a_grade_column_can_replace_that_of_a_known_layout(tmp_path, images):
    table = write_table(tmp_path / "t.csv", "image,level,second_reader,patient", "10_left,0,3,A")
    dataset, _ = read_dataset(images, table, scale=SCALE, grade_column="second reader")
    assert [(image.grade, image.patient) for image in dataset.images] == [(3, "A")]


def test_another_ordinal_scale_is_read_by_numbers_and_names(tmp_path, images):
    scale = Scale(lowest=1, names=("none", "doubtful", "minimal sign"), referable=None, disease="other")
    table = write_table(tmp_path / "t.csv", "image,level", "10_left,Minimal_Sign", "10_right,1", "13_left,0")
    dataset, report = read_dataset(images, table, scale=scale)
    assert grades_of(dataset, images) == {"10_left.jpeg": 3, "10_right.jpeg": 1}
    assert dataset.scale == scale
    assert report.grades_off_scale == ("row 4: 13_left: `0` is not on the scale",)


# Folders -----------------------------------------------------------------------------------------------------------------------


def test_a_folder_per_grade_is_read_by_number_or_name(tmp_path):
    root = write_files(tmp_path / "images", "train/0/a.png", "test/MODERATE/b.png", "2/c.png", "5/d.png", "loose.png")
    dataset, report = read_dataset(root, scale=SCALE)
    assert grades_of(dataset, root) == {"train/0/a.png": 0, "test/MODERATE/b.png": 2, "2/c.png": 2}
    assert left_out(report) == DatasetReport(
        "a folder per grade",
        grades_off_scale=("5/d.png: folder `5` is not on the scale",),
        files_without_row=("loose.png: in no folder of a grade",),
    )


def test_folders_of_patients_are_not_taken_for_grades(tmp_path):
    root = write_files(tmp_path / "images", *(f"{patient}/{patient}_l1.png" for patient in range(1, 12)))
    dataset, report = read_dataset(root, scale=SCALE)
    assert left_out(report) == DatasetReport("no grades")
    assert not dataset.graded
    assert {image.patient for image in dataset.images} == {str(patient) for patient in range(1, 12)}


def test_photographs_are_found_by_ending_and_hidden_files_are_ignored(tmp_path):
    shown = [f"sub/deep/x{number}{ending.upper()}" for number, ending in enumerate(sorted(ENDINGS))]
    root = write_files(tmp_path / "images", *shown, ".hidden.png", ".cache/y.png", "notes.txt", "sub/Thumbs.db", "grades.csv")
    (root / "sub" / "loop").symlink_to(root, target_is_directory=True)
    dataset, report = read_dataset(root, scale=SCALE)
    assert set(grades_of(dataset, root)) == set(shown)
    assert left_out(report) == DatasetReport("no grades")


# Names -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["s_1", "s_1.JPG", "s_1.jpg", "s_1.png", "a/s_1", "./a/s_1.jpg", "images\\a\\s_1.jpg", "/data/images/a/s_1", " s_1 "]
)
def test_a_row_names_its_photograph_in_any_usual_way(tmp_path, name):
    root = write_files(tmp_path / "images", "a/s_1.jpg", "a/s_1.v2.jpg", "a/s_10.jpg")
    dataset, report = read_dataset(root, write_table(tmp_path / "t.csv", "image,level", f"{name},2"), scale=SCALE)
    assert grades_of(dataset, root) == {"a/s_1.jpg": 2}
    assert report.rows_without_file == ()


def test_a_stem_in_two_folders_is_ambiguous_until_the_row_names_the_folder(tmp_path):
    root = write_files(tmp_path / "images", "a/x.jpg", "b/x.jpg", "y.jpg")
    table = write_table(tmp_path / "t.csv", "image,level", "x,1", "y,0")
    dataset, report = read_dataset(root, table, scale=SCALE)
    assert grades_of(dataset, root) == {"y.jpg": 0}
    assert left_out(report) == DatasetReport(
        "EyePACS", rows_without_file=("row 2: x: may be any of a/x.jpg, b/x.jpg: name sub-folder and ending",)
    )
    table = write_table(tmp_path / "t.csv", "image,level", "a/x,1", "b/x.jpg,2", "c/x,3", "y,0")
    dataset, report = read_dataset(root, table, scale=SCALE)
    assert grades_of(dataset, root) == {"a/x.jpg": 1, "b/x.jpg": 2, "y.jpg": 0}
    assert report.rows_without_file == ("row 4: c/x: no such file",)


def test_a_file_of_that_very_name_is_preferred_to_others_of_its_stem(tmp_path):
    root = write_files(tmp_path / "images", "x.jpg", "masks/x.png", "masks/deep/x.png")
    for name in ("x", "x.jpg"):
        dataset, _ = read_dataset(root, write_table(tmp_path / "t.csv", "image,level", f"{name},1"), scale=SCALE)
        assert grades_of(dataset, root) == {"x.jpg": 1}


@pytest.mark.parametrize(
    ("stem", "patient", "eye"),
    [
        ("10_left", "10", "left"),
        ("347_l1", "347", "left"),
        ("59_r5", "59", "right"),
        ("P012_OD", "P012", "right"),
        ("P012-os2", "P012", "left"),
        ("site_2_7_Right", "site_2_7", "right"),
        ("patient_left", None, "left"),  # no digit: more likely a word than a person
        ("IDRiD_001", None, None),
        ("20051020_43808_0100_PP", None, None),
        ("007-0004-000", None, None),
        ("000c1434d8d7", None, None),
        ("10_left_r90", None, None),
        ("bottle", None, None),
        ("_left", None, None),
    ],
)
def test_patient_and_eye_from_names(stem, patient, eye):
    assert parse_name(stem) == (patient, eye)


@given(st.text())
def test_any_name_can_be_parsed(stem):
    patient, eye = parse_name(stem)
    assert eye in (None, "left", "right")
    assert patient is None or (eye is not None and patient in stem)


@given(st.from_regex(r"[A-Za-z0-9]{0,8}[0-9]", fullmatch=True), st.sampled_from(["left", "right"]), st.sampled_from("_-"))
def test_both_eyes_of_a_patient_share_the_patient(patient, eye, joint):
    assert parse_name(f"{patient}{joint}{eye}") == (patient, eye)
    assert parse_name(f"{patient}{joint}{eye[0].upper()}1") == (patient, eye)


# What is left out or decided ---------------------------------------------------------------------------------------------------


def test_rows_without_file_and_files_without_row_are_listed_and_the_rest_goes_on(tmp_path, images):
    table = write_table(tmp_path / "t.csv", "image,level", "10_left,2", "", "99_left,1", ",3")
    dataset, report = read_dataset(images, table, scale=SCALE)
    assert grades_of(dataset, images) == {"10_left.jpeg": 2}
    assert left_out(report) == DatasetReport(
        "EyePACS",
        rows_without_file=("row 4: 99_left: no such file", "row 5: no image named"),
        files_without_row=("10_right.jpeg: not in the table", "13_left.jpeg: not in the table"),
    )


@pytest.mark.parametrize("value", ["5", "-1", "2.5", "many", "²", "1e0", "1" * 5000, ""])
def test_grades_off_the_scale_leave_their_photograph_out(tmp_path, images, value):
    table = write_table(tmp_path / "t.csv", "image,level", "10_left,4", "10_right,0", f"13_left,{value}")
    dataset, report = read_dataset(images, table, scale=SCALE)
    assert grades_of(dataset, images) == {"10_left.jpeg": 4, "10_right.jpeg": 0}
    shown = value if len(value) < 80 else value[:77] + "..."  # no more than a line is printed
    fault = f"`{shown}` is not on the scale" if value else "no grade"
    assert left_out(report) == DatasetReport("EyePACS", grades_off_scale=(f"row 4: 13_left: {fault}",))


def test_two_grades_for_one_name_leave_it_ungraded(tmp_path, images):
    table = write_table(tmp_path / "t.csv", "image,level", "10_left,2", "10_left.jpeg,3", "10_right,1", "10_right,1", "13_left,0")
    dataset, report = read_dataset(images, table, scale=SCALE)
    assert grades_of(dataset, images) == {"10_left.jpeg": None, "10_right.jpeg": 1, "13_left.jpeg": 0}
    line = "10_left.jpeg: grade 2 in row 2 (10_left.jpeg), grade 3 in row 3 (10_left.jpeg); kept without a grade"
    assert left_out(report) == DatasetReport("EyePACS", conflicting_duplicates=(line,))


@pytest.mark.parametrize(("second", "kept"), [("2", 2), ("3", None), ("9", None)])
def test_identical_files_are_one_photograph_under_the_first_name(tmp_path, second, kept):
    root = write_files(tmp_path / "images", "7_left.png", "copy/8_right.png", content="same")
    table = write_table(tmp_path / "t.csv", "image,level", f"8_right,{second}", "7_left,2")
    dataset, report = read_dataset(root, table, scale=SCALE)
    assert [(image.path.name, image.grade, image.patient) for image in dataset.images] == [("7_left.png", kept, "7")]
    assert report.identical_files == ("copy/8_right.png: the same bytes as 7_left.png, which is kept",)
    # Both eyes cannot be one photograph: that is said, too.
    assert len(report.conflicting_duplicates) == (1 if kept is not None else 2)


def test_identical_files_in_folders_of_different_grades_leave_the_photograph_ungraded(tmp_path):
    root = write_files(write_files(tmp_path / "images", "0/a.png"), "1/b.png", "3/c.png", content="same")
    dataset, report = read_dataset(root, scale=SCALE)
    assert grades_of(dataset, root) == {"0/a.png": 0, "1/b.png": None}
    line = "1/b.png: grade 1 in folder 1 (1/b.png), grade 3 in folder 3 (3/c.png); kept without a grade"
    assert report.conflicting_duplicates == (line,)


def test_two_patients_for_one_photograph_are_reported(tmp_path, images):
    table = write_table(tmp_path / "t.csv", "image,level,patient", "10_left,2,A", "10_left,2,B", "10_right,0,A", "13_left,0,B")
    dataset, report = read_dataset(images, table, scale=SCALE)
    assert {image.path.stem: image.patient for image in dataset.images} == {"10_left": "A", "10_right": "A", "13_left": "B"}
    assert left_out(report) == DatasetReport("EyePACS", conflicting_duplicates=("10_left.jpeg: patient A, B; the first is kept",))


def test_a_file_that_cannot_be_opened_is_left_out(tmp_path, images):
    (images / "broken.png").symlink_to(tmp_path / "nowhere.png")
    dataset, report = read_dataset(images, scale=SCALE)
    assert len(dataset.images) == 3
    assert report.unreadable == ("broken.png: No such file or directory",)


# Identity and order ------------------------------------------------------------------------------------------------------------


def test_ids_are_of_the_bytes_and_ascend_whatever_the_names_order_and_place(tmp_path):
    first = write_files(tmp_path / "one", "a.png", "b/c.png", "d.png")
    second = tmp_path / "two"
    for number, name in enumerate(("d.png", "b/c.png", "a.png")):
        write_files(second, f"{number}.bmp", content=name)
    one, two = (read_dataset(root, scale=SCALE)[0] for root in (first, second))
    assert one.image_ids == two.image_ids == tuple(sorted(one.image_ids))
    assert set(one.image_ids) == {hashlib.sha256(name.encode()).hexdigest()[:16] for name in ("a.png", "b/c.png", "d.png")}


def test_progress_reaches_its_total(images):
    seen: list[tuple[str, int, int]] = []
    read_dataset(images, scale=SCALE, progress=lambda *step: seen.append(step))
    assert seen == [("dataset", 1, 3), ("dataset", 2, 3), ("dataset", 3, 3)]


def test_single_files_are_read_by_themselves(tmp_path):
    root = write_files(tmp_path, "b/7_left.png", "c/9_OD.JPG")
    write_files(root, "a/copy.png", content="b/7_left.png")
    dataset = read_files([root / "c/9_OD.JPG", root / "b/7_left.png", root / "a/copy.png"], scale=SCALE)
    assert list(dataset.image_ids) == sorted(set(dataset.image_ids))
    assert {(image.path.name, image.patient, image.eye) for image in dataset.images} == {
        ("copy.png", None, None),
        ("9_OD.JPG", "9", "right"),
    }
    with pytest.raises(DatasetError, match=r"nowhere\.png"):
        read_files([root / "b/7_left.png", root / "nowhere.png"], scale=SCALE)
    with pytest.raises(DatasetError, match="at least one"):
        read_files([], scale=SCALE)


# Samples -----------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unequal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """740 normal, 70, 150, 25, and 2 proliferative: about the shares of the field's largest cohort."""
    root = tmp_path_factory.mktemp("unequal")
    return write_files(root, *(f"{g}/{i}.png" for g, count in enumerate((740, 70, 150, 25, 2)) for i in range(count)))


@pytest.mark.parametrize("limit", [1, 4, 5, 6, 50, 300, 986, 987, 5000])
def test_a_sample_keeps_every_grade_and_their_proportions(unequal, limit):
    whole, _ = read_dataset(unequal, scale=SCALE)
    sample, report = read_dataset(unequal, scale=SCALE, limit=limit)
    assert len(sample.images) == min(limit, 987)
    assert set(sample.images) <= set(whole.images)
    assert list(sample.image_ids) == sorted(sample.image_ids)
    assert left_out(report) == DatasetReport("a folder per grade")
    counts = Counter(image.grade for image in sample.images)
    assert len(counts) == min(limit, 5)
    if limit >= 50:
        for grade, size in Counter(image.grade for image in whole.images).items():
            assert abs(counts[grade] - size * len(sample.images) / 987) < 1.5


def test_a_sample_depends_on_the_seed_alone(unequal):
    samples = [read_dataset(unequal, scale=SCALE, limit=50, seed=seed)[0].image_ids for seed in (1, 1, 2)]
    assert samples[0] == samples[1] != samples[2]


# Errors ------------------------------------------------------------------------------------------------------------------------


def test_unknown_columns_are_named_with_what_is_known_and_what_to_do(tmp_path, images):
    table = write_table(tmp_path / "lesions.csv", "file,severity", "10_left,1")
    with pytest.raises(DatasetError) as error:
        read_dataset(images, table, scale=SCALE)
    assert all(word in str(error.value) for word in ("lesions.csv", "`file`", "`severity`", "--image-column", "--grade-column"))
    assert all(layout.name in str(error.value) and layout.image in str(error.value) for layout in TABLE_LAYOUTS)


@pytest.mark.parametrize("option", ["image_column", "grade_column", "patient_column", "eye_column"])
def test_a_column_that_does_not_stand_is_named_with_those_that_do(tmp_path, images, option):
    table = write_table(tmp_path / "t.csv", "image,level", "10_left,1")
    with pytest.raises(DatasetError, match=r"(?s)t\.csv.*`absent`.*`image`, `level`"):
        read_dataset(images, table, scale=SCALE, **{option: "absent"})
    with pytest.raises(DatasetError, match="absent"):
        read_dataset(images, scale=SCALE, **{option: "absent"})
    with pytest.raises(DatasetError, match="without columns"):
        read_dataset(images, write_table(tmp_path / "t.txt", "10_left 1"), scale=SCALE, **{option: "absent"})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "no rows"),
        ("t.csv", b"image,level\n", "no rows"),
        ("t.csv", b"image,level,Level\n10_left,1,2\n", "two columns named `level`"),
        ("t.csv", b'image,level\n"10_left' + b"x" * 200_000, "cannot be read as a table"),
        ("t.txt", b"\n", "no rows"),
        ("t.txt", b"10_left 1\nimage,level\n", r"line 2.*`image,level`"),
        ("t.xlsx", b"image,level\n10_left,1\n", "cannot be read as an .xlsx workbook"),
        ("t.xls", b"", "`.xls` are not read"),
        ("t.csv", b"image,level\nnobody,1\n13_left,7\n", r"no usable photograph(?s:.*)row 2: nobody(?s:.*)row 3(?s:.*)0 to 4"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_by_name(tmp_path, images, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=message) as error:
        read_dataset(images, tmp_path / name, scale=SCALE)
    assert name in str(error.value)


def test_missing_and_empty_places_are_refused_by_name(tmp_path, images):
    empty = write_files(tmp_path / "empty", "notes.txt")
    for place, message in (
        (tmp_path / "nowhere", "does not exist"),
        (empty, "no photographs"),
        (empty / "notes.txt", "not a folder"),
    ):
        with pytest.raises(DatasetError, match=message) as error:
            read_dataset(place, scale=SCALE)
        assert place.name in str(error.value)
    for table, message in ((tmp_path / "nowhere.csv", "does not exist"), (images, "no table of grades")):
        with pytest.raises(DatasetError, match=message) as error:
            read_dataset(images, table, scale=SCALE)
        assert table.name in str(error.value)
    with pytest.raises(DatasetError, match="limit"):
        read_dataset(images, scale=SCALE, limit=0)


@pytest.mark.skipif(os.geteuid() == 0, reason="every folder is open to root")
def test_a_closed_folder_is_named_and_the_rest_is_read(images):
    before, _ = read_dataset(images, scale=SCALE)
    closed = write_files(images / "closed", "x.png")
    closed.chmod(0)
    try:
        dataset, report = read_dataset(images, scale=SCALE)
    finally:
        closed.chmod(0o755)
    assert dataset == before
    assert ["closed" in line for line in report.unreadable] == [True]


# Real photographs --------------------------------------------------------------------------------------------------------------


@pytest.mark.photographs
def test_a_real_cohort_is_read_whole(photographs):
    root = photographs / "eyepacs-colour"
    dataset, report = read_dataset(root / "images", root / "grades.csv", scale=SCALE)
    assert left_out(report) == DatasetReport("EyePACS")
    with (root / "grades.csv").open(newline="") as stream:
        rows = {row["image"]: (int(row["level"]), row["patient"], row["eye"]) for row in csv.DictReader(stream)}
    assert len(dataset.images) == len(rows)
    assert {image.path.stem: (image.grade, image.patient, image.eye) for image in dataset.images} == rows
    assert all(parse_name(image.path.stem) == (image.patient, image.eye) for image in dataset.images)
