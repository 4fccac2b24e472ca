"""Tables of grades as the field publishes them: layouts known by their columns, and the rows they hold."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile

from atlas.errors import DatasetError

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})
"""Endings of files taken for photographs, in lower case."""

EYES = ("left", "right")


@dataclass(frozen=True)
class Layout:
    """Columns of a published table of grades. `grades` is one column, or one for the left and one for the right eye."""

    name: str
    image: str
    grades: tuple[str, ...]
    patient: str = "patient"
    eye: str = "eye"
    gradable: str = "adjudicated_gradable"
    split: str = "split"


TABLE_LAYOUTS = (
    Layout("EyePACS", "image", ("level",)),
    Layout("APTOS 2019", "id_code", ("diagnosis",)),
    Layout("IDRiD", "Image name", ("Retinopathy grade",)),
    Layout("Messidor-2", "image_id", ("adjudicated_dr_grade",)),
    Layout("DeepDRiD", "image_id", ("left_eye_DR_Level", "right_eye_DR_Level"), patient="patient_id"),
    Layout("DeepDRiD ultra-widefield", "image_id", ("DR_level",), patient="patient_id", eye="position"),
)
"""Tables recognised by their columns; the first whose columns all stand is taken."""

AS_GIVEN = "columns as given"

NAME_LIST = "list of names and grades"


def parse_name(stem: str) -> tuple[str | None, str | None]:
    """Patient and eye from a photograph's name without ending, each None where the name does not tell.

    Only patterns that can hardly mean anything else: a patient's name with a digit in it, then `_` or `-`, then `left`, `right`,
    `OS`, `OD`, or `l` or `r`, with at most one digit that numbers the views (`10_left`, `347_l1`, `P012_OD`).
    """
    match = _NAME.fullmatch(stem)
    if match is None:
        return None, None
    patient = match["patient"]
    return (patient if any(c.isdecimal() for c in patient) else None), _EYE_WORDS[match["eye"].lower()]


_SPLIT_WORDS = {
    "train": "training",
    "training": "training",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}

_EYE_WORDS = {"left": "left", "l": "left", "os": "left", "lefteye": "left"}

_EYE_WORDS |= {"right": "right", "r": "right", "od": "right", "righteye": "right"}

_NAME = re.compile(r"(?P<patient>.+)[_-](?P<eye>left|right|os|od|l|r)[0-9]?", re.IGNORECASE | re.ASCII)


def split_name(name: str) -> tuple[tuple[str, ...], str, str]:
    """Folders, stem and ending ("" unless it is a photograph's) of a name with slashes of either kind."""
    parts = [part for part in unicodedata.normalize("NFC", name).strip().replace("\\", "/").split("/") if part not in ("", ".")]
    if not parts:
        return (), "", ""
    *folders, name = parts
    ending = PurePosixPath(name).suffix
    if ending.lower() in ENDINGS:
        return tuple(folders), name.removesuffix(ending), ending.lower()
    return tuple(folders), name, ""


@dataclass(frozen=True)
class Columns:
    """Columns named by the user."""

    image: str | None
    grade: str | None
    patient: str | None
    eye: str | None
    split: str | None = None

    @property
    def given(self) -> list[str]:
        columns = (self.image, self.grade, self.patient, self.eye, self.split)
        return [column for column in columns if column is not None]


@dataclass(frozen=True)
class Row:
    number: int  # as a spreadsheet counts: the header is row 1
    image: str
    grade: str
    patient: str | None = None
    eye: str | None = None
    gradable: bool = True
    split: str | None = None


def read_rows(table: Path, columns: Columns) -> tuple[str, list[Row]]:
    """The name of a table's layout, and its rows."""
    if table.suffix.lower() == ".txt":
        _require_file(table, "grades")
        if columns.given:
            raise DatasetError(f"{table} is a list without columns", "leave the columns out, or save it as .csv")
        return NAME_LIST, _list_rows(table)
    header, rows = read_cells(table, "grades")
    layout = _choose_layout(table, header, columns)
    return layout.name, list(_table_rows(table, layout, header, rows))


def read_cells(table: Path, what: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header of a table, and its rows that are not empty, each with its number: the header is row 1, as in a spreadsheet.

    what : what the table holds, for errors.   Raises DatasetError where it cannot be read or holds no row.
    """
    _require_file(table, what)
    match table.suffix.lower():
        case ".csv":
            cells = _delimited_cells(table)
        case ".tsv":
            cells = _delimited_cells(table, "\t")
        case ".xlsx":
            cells = _sheet_cells(table)
        case ending:
            raise DatasetError(f"tables of {what} ending in `{ending}` are not read: {table}", "save it as .csv, .tsv or .xlsx")
    filled = [(number, row) for number, row in enumerate(cells, start=1) if any(row)]
    if len(filled) < 2:
        each = "photograph" if what == "grades" else "box"
        raise DatasetError(f"the table of {what} {table} has no rows", f"give a header and one row for each {each}")
    return filled[0][1], filled[1:]


def _require_file(table: Path, what: str) -> None:
    if not table.exists():
        raise DatasetError(f"the table of {what} {table} does not exist", "check the path's spelling")
    if not table.is_file():
        raise DatasetError(f"the table of {what} {table} is not a file", "give a .csv, .tsv, .xlsx or .txt file")


def _text(table: Path) -> str:
    content = table.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _list_rows(table: Path) -> list[Row]:
    rows = []
    for number, line in enumerate(io.StringIO(_text(table), newline=None), start=1):
        if not line.strip():
            continue
        parts = line.rsplit(maxsplit=1)
        if len(parts) < 2:
            raise DatasetError(
                f"{table}, line {number}: expected a name, a space and a grade, found `{line.strip()}`",
                "save a table with columns as .csv or .tsv",
            )
        rows.append(Row(number, parts[0].strip(), parts[1]))
    if not rows:
        raise DatasetError(f"the table of grades {table} has no rows", "give a line for each photograph: name and grade")
    return rows


def _delimited_cells(table: Path, delimiter: str | None = None) -> list[list[str]]:
    text = _text(table)
    # Spreadsheets of many countries write semicolons, or tabs, in files named .csv.
    header = next((line for line in io.StringIO(text, newline=None) if line.strip()), "")
    delimiter = delimiter or max(",;\t", key=header.count)
    try:
        return [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)]
    except csv.Error as error:
        raise DatasetError(f"{table} cannot be read as a table: {error}", "save it again as .csv or .xlsx") from error


def _sheet_cells(table: Path) -> list[list[str]]:
    """Cells of the first sheet."""
    import openpyxl  # loads slowly, and most tables are text
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with table.open("rb") as stream:
            sheet = openpyxl.load_workbook(stream, data_only=True).worksheets[0]
    except (InvalidFileException, BadZipFile, KeyError, ValueError, IndexError) as error:
        raise DatasetError(f"{table} cannot be read as an .xlsx workbook: {error}", "save it again as .xlsx or .csv") from error
    return [[_cell_text(value) for value in row] for row in sheet.iter_rows(values_only=True)]


def _cell_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def plain_key(column: str) -> str:
    return re.sub(r"[\s_]+", "", column.casefold())


def _choose_layout(table: Path, header: Sequence[str], columns: Columns) -> Layout:
    """The layout of a table by its header, with the user's columns in place of its own."""
    standing = {plain_key(column) for column in header}
    found = ", ".join(f"`{column}`" for column in header if column)
    for column in columns.given:
        if plain_key(column) not in standing:
            raise DatasetError(f"{table} has no column `{column}`", f"name one of its columns: {found}")

    def has(*names: str) -> bool:
        return all(plain_key(name) in standing for name in names)

    whole = [layout for layout in TABLE_LAYOUTS if has(layout.image, *layout.grades)]
    completed = [
        layout for layout in TABLE_LAYOUTS if (columns.image or has(layout.image)) and (columns.grade or has(*layout.grades))
    ]
    if whole:
        layout = whole[0]
    elif columns.image and columns.grade:
        layout = Layout(AS_GIVEN, columns.image, (columns.grade,))
    elif completed:
        layout = completed[0]
    else:
        known = "; ".join(f"{layout.name} ({', '.join((layout.image, *layout.grades))})" for layout in TABLE_LAYOUTS)
        raise DatasetError(
            f"the columns of {table} are not those of a known layout.\n  Found: {found}\n  Known: {known}",
            "name its columns with --image-column and --grade-column",
        )
    return Layout(
        AS_GIVEN if columns.image or columns.grade else layout.name,
        columns.image or layout.image,
        (columns.grade,) if columns.grade else layout.grades,
        columns.patient or layout.patient,
        columns.eye or layout.eye,
        layout.gradable,
        columns.split or layout.split,
    )


def _table_rows(table: Path, layout: Layout, header: Sequence[str], filled: Iterable[tuple[int, Sequence[str]]]) -> Iterator[Row]:
    keys = [plain_key(column) for column in header]
    used = (layout.image, *layout.grades, layout.patient, layout.eye, layout.gradable, layout.split)
    for column in used:
        if keys.count(plain_key(column)) > 1:
            raise DatasetError(f"{table} has two columns named `{column}`", "rename one of them")
    for number, cells in filled:
        cell = defaultdict(str, zip(keys, cells, strict=False))
        name = cell[plain_key(layout.image)]
        eye = _EYE_WORDS.get(plain_key(cell[plain_key(layout.eye)])) or parse_name(split_name(name)[1])[1]
        grades = [cell[plain_key(column)] for column in layout.grades]
        if len(grades) == 2:
            graded = [side for side, grade in zip(EYES, grades, strict=True) if grade]
            eye = eye or (graded[0] if len(graded) == 1 else None)
            grades = [grade for side, grade in zip(EYES, grades, strict=True) if side == eye]
        gradable = cell[plain_key(layout.gradable)].casefold() not in ("0", "0.0", "false", "no")
        split = _SPLIT_WORDS.get(plain_key(cell[plain_key(layout.split)]))
        yield Row(number, name, grades[0] if grades else "", cell[plain_key(layout.patient)] or None, eye, gradable, split)
