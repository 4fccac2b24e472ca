"""Tables as people make them: encodings, titles, words for grades, lost digits, other spellings, several readers."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl.chart import BarChart
from test_dataset import SCALE, grades_of, left_out, write_files

from atlas.cohort.cells import cell_text, read_sheets
from atlas.cohort.dataset import read_dataset
from atlas.cohort.grades import GradeReader
from atlas.cohort.names import parse_name
from atlas.cohort.raters import consensus, readers_agreement
from atlas.errors import DatasetError
from atlas.records import DatasetReport, Scale

HOSTILE = Path(__file__).parents[2] / "shared" / "cases" / "hostile"

PLAIN = "image,level\nA1,0\nB2,3\nC3,4\n"
EXPECTED = {"A1.png": 0, "B2.png": 3, "C3.png": 4}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_files(tmp_path / "images", *EXPECTED)


def workbook(path: Path, **sheets: list[tuple[object, ...]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name.replace("_", " "))
        for row in rows:
            sheet.append(list(row))
    book.save(path)
    return path


def read(images: Path, content: bytes | str, name: str = "t.csv", **settings: str):
    table = images.parent / name
    table.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_dataset(images, table, scale=SCALE, **settings)


def outcome(work: Callable[[], Any]) -> tuple[Any, DatasetError | None]:
    """Return the result of a call, or the reason why it was refused."""
    try:
        return work(), None
    except DatasetError as error:
        return None, error


# Text --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("before", ["", "sep=", "\n\n", "Grades of spring term, second reading\n\n"])
def test_the_same_table_in_any_encoding_and_with_any_delimiter(images, encoding, delimiter, before):
    if before == "sep=":
        before = f"sep={delimiter}\r\n"
    dataset, report = read(images, (before + PLAIN.replace(",", delimiter)).encode(encoding))
    assert grades_of(dataset, images) == EXPECTED
    assert left_out(report) == DatasetReport("EyePACS")


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("latin-1", "Müller_1"),
        ("cp1250", "Škoda_1"),
        ("cp1251", "Иванов_1"),
        ("cp1253", "Παπάς_1"),
        ("cp932", "患者_1"),
        ("gb18030", "左眼_1"),
        ("mac_roman", "Müller_1"),
    ],
)
def test_the_encoding_of_old_files_is_told_by_the_names_of_the_photographs(tmp_path, encoding, name):
    images = write_files(tmp_path / "images", f"{name}.png", "b.png")
    dataset, report = read(images, f"image,level\n{name},2\nb,0\n".encode(encoding))
    assert grades_of(dataset, images) == {f"{name}.png": 2, "b.png": 0}
    assert ["not UTF-8" in line for line in report.guesses] == [True]


@pytest.mark.parametrize("row", [1, 2, 3])
def test_an_open_quotation_mark_is_refused_with_its_line(images, row):
    lines = PLAIN.splitlines()
    lines[row] = '"' + lines[row]
    with pytest.raises(DatasetError, match=f"in line {row + 1} a quotation mark") as error:
        read(images, "\n".join(lines))
    assert all(len(line) < 300 for line in str(error.value).splitlines())
    closed = "\n".join([*lines, '"X,1', *PLAIN.splitlines()[1:]])  # a second one closes it rows below
    with pytest.raises(DatasetError, match=f"in line {row + 1} a quotation mark"):
        read(images, closed)


def test_quotation_marks_within_a_cell_do_no_harm(images):
    dataset, _ = read(images, 'image,level,note\nA1,0,"a ""soft"" one"\nB2,3,5" lens\nC3,4,"x"y\n')
    assert grades_of(dataset, images) == EXPECTED


def test_a_header_with_title_and_notes_above_it_is_found_and_said(images):
    dataset, report = read(images, "Clinic of eyes;;\nread by: A. B.;;\n\nNo;image;level\n1;A1;0\n2;B2;3\n3;C3;4\nTotal: 3;;\n")
    assert grades_of(dataset, images) == EXPECTED
    assert report.guesses == ("The header of t.csv is in row 4; the rows above it were ignored.",)
    assert report.rows_without_file == ("row 8: no image named",)


def test_columns_that_the_user_names_are_found_below_a_title(images):
    table = "My grades,,\n\nphoto no,severity\nA1,0\nB2,3\nC3,4\n"
    dataset, _ = read(images, table, image_column="photo no", grade_column="severity")
    assert grades_of(dataset, images) == EXPECTED


def test_usual_names_of_columns_are_taken_and_said(images):
    dataset, report = read(images, "Filename,Age,DR Grade\nA1,60,0\nB2,61,3\nC3,62,4\n")
    assert grades_of(dataset, images) == EXPECTED
    assert report.layout == "usual names of columns"
    assert ["`filename`" in line.casefold() for line in report.guesses] == [True]


def test_two_columns_without_a_header_are_read_and_said(images):
    dataset, report = read(images, PLAIN.partition("\n")[2])
    assert grades_of(dataset, images) == EXPECTED
    assert ["no header" in line for line in report.guesses] == [True]


def test_a_txt_file_with_a_header_is_read_as_a_table(images):
    dataset, _ = read(images, PLAIN.replace(",", "\t"), "t.txt")
    assert grades_of(dataset, images) == EXPECTED


def test_a_table_that_was_joined_of_several_may_repeat_its_header(images):
    dataset, report = read(images, "image,level\nA1,0\nimage,level\nB2,3\nC3,4\n")
    assert grades_of(dataset, images) == EXPECTED
    assert left_out(report) == DatasetReport("EyePACS")


# Workbooks ---------------------------------------------------------------------------------------------------------------------

ROWS: list[tuple[object, ...]] = [("image", "level"), ("A1", 0), ("B2", 3.0), ("C3", "4")]


def test_notes_before_the_sheet_with_the_grades(tmp_path, images):
    table = workbook(tmp_path / "t.xlsx", Read_me=[("Graded in spring",), ("by two readers",)], Grades=[("Title",), (), *ROWS])
    dataset, report = read_dataset(images, table, scale=SCALE)
    assert grades_of(dataset, images) == EXPECTED
    assert report.guesses == (
        "The header of t.xlsx is in row 3; the rows above it were ignored.",
        "Of t.xlsx, the sheet `Grades` was read, and not `Read me`.",
    )


def test_stray_cells_far_away_cost_nothing(tmp_path, images):
    table = workbook(tmp_path / "t.xlsx", Grades=ROWS)
    book = openpyxl.load_workbook(table)
    book.active["XFD1048576"] = "stray"
    book.active["ZZ3"] = "stray"
    book.save(table)
    dataset, report = read_dataset(images, table, scale=SCALE)
    assert grades_of(dataset, images) == EXPECTED
    assert report.guesses == ("Of the sheet `Grades`, rows below 10,000 empty ones were not read.",)


@pytest.mark.parametrize("place", range(8))
def test_damaged_workbooks_are_refused_by_name(tmp_path, images, place):
    whole = bytearray(workbook(tmp_path / "t.xlsx", Grades=ROWS).read_bytes())
    damaged = whole[: len(whole) * place // 8] if place % 2 else whole
    if not place % 2:
        start = len(whole) * (2 * place + 1) // 18
        damaged[start : start + 60] = bytes(byte ^ 0x5A for byte in whole[start : start + 60])
    found, error = outcome(lambda: grades_of(read(images, bytes(damaged), "t.xlsx")[0], images))
    assert found == EXPECTED if error is None else error.remedy and "t.xlsx" in str(error)


def test_a_workbook_that_unpacks_to_too_much_is_refused_unread(tmp_path, images):
    with zipfile.ZipFile(tmp_path / "t.xlsx", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        packed.writestr("xl/worksheets/sheet1.xml", bytes(201_000_000))
    with pytest.raises(DatasetError, match=r"unpacks to 201 MB"):
        read_dataset(images, tmp_path / "t.xlsx", scale=SCALE)


def test_a_table_larger_than_any_is_refused_unread(tmp_path, images):
    with (tmp_path / "t.csv").open("wb") as stream:
        stream.truncate(3_000_000_000)
    with pytest.raises(DatasetError, match=r"has 3,000 MB"):
        read_dataset(images, tmp_path / "t.csv", scale=SCALE)


def test_the_content_and_not_the_ending_tells_a_workbook(tmp_path, images):
    content = workbook(tmp_path / "w.xlsx", Grades=ROWS).read_bytes()
    dataset, report = read(images, content)
    assert grades_of(dataset, images) == EXPECTED
    assert ["in spite of its ending" in line for line in report.guesses] == [True]
    with pytest.raises(DatasetError, match="password"):
        read(images, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "t.xlsx")
    with pytest.raises(DatasetError, match="no sheet with cells"):
        read_dataset(images, workbook(tmp_path / "empty.xlsx", One=[], Two=[]), scale=SCALE)


@pytest.mark.skipif(not HOSTILE.is_dir(), reason="the files lie beside the checkout only")
@pytest.mark.parametrize(
    ("name", "message"),
    [("flip.xlsx", "damaged"), ("chartsheet.xlsx", "damaged"), ("openquote.csv", "line 2"), ("far_both.xlsx", "")],
)
def test_hostile_tables(images, name, message):
    if message:
        with pytest.raises(DatasetError, match=message):
            read_dataset(images, HOSTILE / name, scale=SCALE)
    else:
        assert len(read_sheets(HOSTILE / name, "grades")[0].rows) == 21


@given(st.one_of(st.none(), st.floats(), st.integers(), st.text(), st.booleans()))
def test_any_cell_becomes_text(value):
    assert isinstance(cell_text(value), str)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    table = tmp_path_factory.mktemp("bytes") / "t.csv"
    table.write_bytes(content)
    _, error = outcome(lambda: read_sheets(table, "grades"))
    assert error is None or "t.csv" in str(error)


# Grades ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grade", "words"),
    [
        (
            0,
            [
                "No DR",
                "no_dr",
                "None",
                "normal",
                "0 - No DR",
                "No apparent retinopathy",
                "R0",
                "1. No DR signs",
                "healthy",
                "NoDR",
                "0,0",
            ],
        ),
        (
            1,
            [
                "Mild NPDR",
                "mild",
                "Mild non-proliferative DR",
                "R1",
                "1 - Mild",
                "2. Mild (or early) NPDR",
                "Grade 1",
                "DR1",
                "R1M0",
            ],
        ),
        (
            2,
            [
                "Moderate NPDR",
                "moderate_nonproliferative_retinopathy",
                "R2",
                "stage 2",
                "2 (moderate)",
                "moderate non proliferative retinopathy",
            ],
        ),
        (
            3,
            [
                "Severe NPDR",
                "severe",
                "5. Very Severe NPDR",
                "Severe Non Proliferative Diabetic Retinopathy",
                "3-severe",
                "class_3",
            ],
        ),
        (
            4,
            [
                "PDR",
                "Proliferative DR",
                "Proliferate_DR",
                "R3",
                "R3A",
                "4 - Proliferative DR",
                "Advanced PDR",
                "high-risk PDR",
                "early PDR",
                "4.0",
            ],
        ),
    ],
)
def test_the_words_of_the_field(grade, words):
    for word in words:
        assert GradeReader(SCALE, [word]).read(word) == grade, word


@pytest.mark.parametrize(
    "word",
    [
        "DR",
        "NPDR",
        "retinopathy",
        "cataract",
        "moderate cataract",
        "mild to moderate",
        "no PDR",
        "R5",
        "no image",
        "hypertensive retinopathy",
        "grade",
        "",
    ],
)
def test_words_that_name_no_grade_are_not_guessed(word):
    assert GradeReader(SCALE, [word]).read(word) is None


def test_scottish_and_english_levels_are_told_apart():
    assert [GradeReader(SCALE, ["R0", "R4"]).read(f"R{level}") for level in range(5)] == [0, 1, 2, 3, 4]
    english = GradeReader(SCALE, ["R0", "R3"])
    assert [english.read(f"R{level}") for level in range(4)] == [0, 1, 2, 4]
    assert ["England" in line for line in english.guesses] == [True]


def test_etdrs_levels_are_read_where_the_column_holds_them():
    reader = GradeReader(SCALE, ["10", "35", "53", "65"])
    assert [reader.read(level) for level in ("10", "20", "35", "47", "53", "61", "85", "90")] == [0, 1, 2, 2, 3, 4, 4, None]
    assert ["ETDRS" in line for line in reader.guesses] == [True]
    assert GradeReader(SCALE, ["0", "1", "10"]).read("10") is None


def test_grades_from_one_to_five_raise_a_doubt_and_a_word_wins_over_a_number():
    assert any("1 to 5" in line for line in GradeReader(SCALE, "12345").guesses)
    assert not GradeReader(SCALE, "01234").guesses
    assert any("`2. Mild`" in line for line in GradeReader(SCALE, ["2. Mild"]).guesses)


def test_another_scale_knows_its_own_names_alone():
    scale = Scale(lowest=1, names=("none", "some", "much"), referable=None, disease="other")
    reader = GradeReader(scale, ["PDR"])
    assert [reader.read(word) for word in ("None", "SOME", "3", "PDR", "mild", "R1")] == [1, 2, 3, None, None, None]


@given(st.text(max_size=300))
def test_any_text_can_be_a_grade(text):
    assert GradeReader(SCALE, [text]).read(text) in (None, *SCALE.grades)


@pytest.mark.parametrize(
    "names",
    [
        ("No_DR", "Mild", "Moderate", "Severe", "Proliferate_DR"),
        ("1. No DR signs", "2. Mild (or early) NPDR", "3. Moderate NPDR", "4. Severe NPDR", "6. PDR"),
    ],
)
def test_folders_of_the_popular_sets(tmp_path, names):
    images = write_files(tmp_path / "images", *(f"{name}/{place}.png" for place, name in enumerate(names)))
    dataset, report = read_dataset(images, scale=SCALE)
    assert grades_of(dataset, images) == {f"{name}/{grade}.png": grade for grade, name in enumerate(names)}
    assert report.layout == "a folder per grade"


def test_messidor_with_its_own_scale_is_said_to_be_doubtful(images):
    header = "Image name,Ophthalmologic department,Retinopathy grade,Risk of macular edema"
    _, report = read(images, f"{header}\nA1,X,0,0\nB2,X,3,1\n")
    assert report.layout == "Messidor"
    assert ["scale of its own" in line for line in report.guesses] == [True]


def test_odir_has_two_photographs_a_row(tmp_path, images):
    header = ("ID", "Patient Age", "Left-Fundus", "Right-Fundus", "Left-Diagnostic Keywords", "Right-Diagnostic Keywords")
    rows = [
        header,
        (7, 60, "A1.png", "B2.png", "normal fundus", "moderate non proliferative retinopathy，hypertensive retinopathy"),
        (8, 61, "C3.png", "D4.png", "cataract", "lens dust，normal fundus"),
    ]
    dataset, report = read_dataset(images, workbook(tmp_path / "t.xlsx", Sheet1=rows), scale=SCALE)
    told = {image.path.name: (image.grade, image.patient, image.eye) for image in dataset.images}
    assert told == {"A1.png": (0, "7", "left"), "B2.png": (2, "7", "right")}
    assert report.grades_off_scale == ("row 3: C3.png: `cataract` is not on the scale",)
    assert report.rows_without_file == ("row 3: D4.png: no such file",)


# Names -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("0012.png", "12"),
        ("0012.png", "12.0"),
        ("im0001.png", "IM0001.PNG"),
        ("IM 0001.png", "im_0001"),
        ("im0001.png", "im0001.cr2"),
        ("im0001.jpg.png", "im0001.jpg"),
        ("200510204380801.png", "2.00510204E+14"),
        ("200510204380801.png", "2,01E+14"),
        ("20051020438080123.png", "20051020438080100"),
        ("x/y/im0001.png", "C:\\data\\Y\\IM0001.tif"),
    ],
)
def test_a_name_that_was_spelt_another_way_is_matched_and_said(tmp_path, file, name):
    images = write_files(tmp_path / "images", file, "other.png")
    dataset, report = read(images, f'image;level\n"{name}";2\nother;0\n')
    assert grades_of(dataset, images) == {file: 2, "other.png": 0}
    assert sum("matched" in line and name in line for line in report.guesses) == 1


@pytest.mark.parametrize(
    ("files", "name", "why"),
    [
        (("0012.png", "012.png"), "12", "may be any of 0012.png, 012.png"),
        (("IM1.png", "im1.png"), "Im1", "may be any of IM1.png, im1.png"),
        (("200510204380801.png", "200510204380802.png"), "2.005E+14", "may be any of"),
        (("a.png",), "1.23E+15", "a spreadsheet shortened a long number"),
        (("a.png",), "2024-01-02 00:00:00", "made a date of a name"),
    ],
)
def test_what_is_not_plain_is_not_guessed_and_the_cause_is_said(tmp_path, files, name, why):
    images = write_files(tmp_path / "images", *files, "other.png")
    dataset, report = read(images, f"image;level\n{name};2\nother;0\n")
    assert grades_of(dataset, images) == {"other.png": 0}
    assert [why in line for line in report.rows_without_file] == [True]
    assert report.rows_without_file[0].remedy


def test_the_very_name_wins_over_a_spelling_of_it(tmp_path):
    images = write_files(tmp_path / "images", "12.png", "0012.png", "a.png", "A.png")
    dataset, _ = read(images, "image,level\n12,1\n0012,2\na,3\nA,4\n")
    assert grades_of(dataset, images) == {"12.png": 1, "0012.png": 2, "a.png": 3, "A.png": 4}


@pytest.mark.parametrize(
    ("word", "eye"),
    [("OD", "right"), ("OS", "left"), ("1", "right"), ("2", "left"), ("1.0", "right"), ("L", "left"), ("Right eye", "right")],
)
def test_eyes_in_any_usual_word(images, word, eye):
    dataset, _ = read(images, f"image,level,patient,laterality\nA1,2,P,{word}\n", eye_column="laterality")
    assert [image.eye for image in dataset.images] == [eye]


@pytest.mark.parametrize("header", ["patient_id,eye,grade", "image,eye,level"])
def test_patient_and_eye_can_name_the_photograph(tmp_path, header):
    images = write_files(tmp_path / "images", "007_left.png", "007_right.png", "OD_P8.png")
    dataset, report = read(images, f"{header}\n7,OS,1\n7,OD,2\nP8,R,3\n")
    assert grades_of(dataset, images) == {"007_left.png": 1, "007_right.png": 2, "OD_P8.png": 3}
    assert any("by patient and eye" in line for line in report.guesses)


@pytest.mark.parametrize(
    ("stem", "told"),
    [("OD_P001", ("P001", "right")), ("left-12", ("12", "left")), ("P12os", ("P12", "left")), ("OD_eye", (None, None))],
)
def test_further_patterns_of_names(stem, told):
    assert parse_name(stem) == told


# Several tables and readers ----------------------------------------------------------------------------------------------------


def test_a_table_for_each_folder(tmp_path):
    images = write_files(tmp_path / "images", *(f"{part} Set/{k}.png" for part in ("a. Training", "b. Testing") for k in (1, 2)))
    tables = tmp_path / "tables"
    tables.mkdir()
    (tables / "train.csv").write_text("Image name,Retinopathy grade\n1,0\n2,1\n")
    (tables / "test labels.csv").write_text("Image name,Retinopathy grade\n1,2\n2,3\n")
    (tables / "about.csv").write_text("key,value\nyear,2018\n")
    dataset, report = read_dataset(images, tables, scale=SCALE)
    expected = {"a. Training Set/1.png": 0, "a. Training Set/2.png": 1, "b. Testing Set/1.png": 2, "b. Testing Set/2.png": 3}
    assert grades_of(dataset, images) == expected
    assert [line.startswith("about.csv") for line in report.other_files] == [True]
    one, _ = read_dataset(images, tables / "train.csv", scale=SCALE)
    assert grades_of(one, images) == {name: grade for name, grade in expected.items() if "Training" in name}


def test_a_table_beside_its_photographs_speaks_of_these(tmp_path):
    images = write_files(tmp_path / "images", "x/1.png", "y/1.png")
    for place, folder in enumerate(("x", "y")):
        (images / folder / "grades.csv").write_text(f"image,level\n1,{place}\n")
    dataset, _ = read_dataset(images, images, scale=SCALE)
    assert grades_of(dataset, images) == {"x/1.png": 0, "y/1.png": 1}


@pytest.mark.parametrize("column", ["rater", "reader", "who"])
def test_readers_are_joined_by_a_rule_that_is_said_with_their_agreement(images, column):
    rows = ("A1,0,x", "A1,1,y", "A1,0,z", "B2,2,x", "B2,3,y", "C3,4,x", "C3,9,y")
    settings = {"rater_column": column} if column == "who" else {}
    dataset, report = read(images, "\n".join([f"image,level,{column}", *rows]), **settings)
    assert grades_of(dataset, images) == {"A1.png": 0, "B2.png": 3, "C3.png": 4}
    assert not report.conflicting_duplicates
    assert report.grades_off_scale == ("row 8: C3: `9` is not on the scale",)
    (told,) = report.told
    assert "median" in told
    assert "25% of 4 pairs" in told
    assert told in report.guesses


def test_a_reader_with_two_minds_leaves_the_photograph_ungraded(images):
    dataset, report = read(images, "image,level,rater\nA1,0,x\nA1,3,x\nB2,1,x\n")
    assert grades_of(dataset, images) == {"A1.png": None, "B2.png": 1}
    assert len(report.conflicting_duplicates) == 1


def test_agreement_is_cohens_kappa():
    from sklearn.metrics import cohen_kappa_score

    one, other = [0, 1, 2, 3, 4, 2, 2, 0], [0, 2, 2, 4, 4, 1, 2, 0]
    graded = {str(k): {"a": a, "b": b} for k, (a, b) in enumerate(zip(one, other, strict=True))}
    assert f"kappa {cohen_kappa_score(one, other, weights='quadratic'):.2f}" in readers_agreement(graded)
    assert [consensus(dict(enumerate(own))) for own in ([2], [1, 2], [0, 0, 4], [0, 1, 3, 4])] == [2, 2, 0, 3]  # type: ignore[arg-type]


def test_words_for_eyes_and_splits_that_mean_nothing_are_told(images):
    _, report = read(images, "image,level,eye,split\nA1,0,OD,train\nB2,3,upper,train\nC3,4,lower,held out\n")
    told = [line for line in report.guesses if "not known" in line]
    assert ["the eye" in line and "`upper`" in line and "2 rows" in line for line in told] == [True, False]
    assert ["the split" in line and "`held out`" in line for line in told] == [False, True]
    _, report = read(images, "image,level,eye,split\nA1,0,OD,train\nB2,3,,\nC3,4,left,test\n")
    assert not [line for line in report.guesses if "not known" in line]


def test_a_workbook_of_charts_alone_has_no_sheet_with_cells(tmp_path, images):
    table = workbook(tmp_path / "t.xlsx", Grades=ROWS)
    book = openpyxl.load_workbook(table)
    book.create_chartsheet("Chart").add_chart(BarChart())
    book.save(table)
    dataset, _ = read_dataset(images, table, scale=SCALE)
    assert grades_of(dataset, images) == EXPECTED
    book.remove(book["Grades"])
    book.save(table)
    with pytest.raises(DatasetError, match=r"t\.xlsx has no sheet with cells.*`Chart`") as error:
        read_dataset(images, table, scale=SCALE)
    assert "save" in error.value.remedy
