"""Tables of grades as the field publishes them: layouts known by their columns, and the rows they hold."""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from atlas.cohort.cells import Sheet, read_sheets, read_text, require_table, shortened
from atlas.cohort.grades import plain_key, whole
from atlas.cohort.names import EYE_WORDS, EYES, parse_name, split_name
from atlas.errors import DatasetError


@dataclass(frozen=True)
class Layout:
    """Columns of a published table of grades.

    Parameters
    ----------
    name : str
        What messages call it.
    image : str
        Column that names the photograph; empty where patient and eye do.
    grades : tuple of str
        One column, or one for the left and one for the right eye.
    patient, eye, gradable, split, rater : str
        Further columns, used where the table has them.
    fellow : tuple of str
        Image and grade columns of the right eye, where a row holds both eyes' photographs.
    marks : tuple of str
        Further columns by which the layout is told from others of the same names.
    doubt : str
        What its grades leave open, for the user.
    """

    name: str
    image: str
    grades: tuple[str, ...]
    patient: str = "patient"
    eye: str = "eye"
    gradable: str = "adjudicated_gradable"
    split: str = "split"
    rater: str = ""
    fellow: tuple[str, str] | tuple[()] = ()
    marks: tuple[str, ...] = ()
    doubt: str = ""


TABLE_LAYOUTS = (
    Layout(
        "Messidor",
        "Image name",
        ("Retinopathy grade",),
        marks=("Ophthalmologic department",),
        doubt=(
            "Messidor grades from 0 to 3 by a scale of its own, whose 3 covers severe and proliferative. Its grades were read as "
            "they are, and agreement is approximate. To use its scale, name its four grades under [scale] in atlas.toml, and "
            "use --fit."
        ),
    ),
    Layout("EyePACS", "image", ("level",)),
    Layout("APTOS 2019", "id_code", ("diagnosis",)),
    Layout("IDRiD", "Image name", ("Retinopathy grade",)),
    Layout("Messidor-2", "image_id", ("adjudicated_dr_grade",)),
    Layout("DeepDRiD", "image_id", ("left_eye_DR_Level", "right_eye_DR_Level"), patient="patient_id"),
    Layout("DeepDRiD ultra-widefield", "image_id", ("DR_level",), patient="patient_id", eye="position"),
    Layout(
        "ODIR",
        "Left-Fundus",
        ("Left-Diagnostic Keywords",),
        patient="ID",
        fellow=("Right-Fundus", "Right-Diagnostic Keywords"),
        doubt="ODIR's keywords were read as grades; eyes whose keywords name no stage of diabetic retinopathy have none.",
    ),
    Layout("EyeQ", "image", ("DR_grade",)),
    Layout("BRSET", "image_id", ("DR_ICDR",), patient="patient_id", eye="exam_eye"),
    Layout("mBRSET", "file", ("final_icdr",), eye="laterality"),
)
"""Tables recognised by their columns; the first whose columns are all there is taken."""

AS_GIVEN = "columns as given"

NAME_LIST = "list of names and grades"

USUAL = "usual names of columns"

_IMAGES = (
    *("image", "image_id", "image name", "filename", "file name", "file", "img", "photo", "photograph", "id_code", "name"),
    *("SOPInstanceUID", "InstanceUID"),
)
_GRADES = ("grade", "level", "dr_grade", "dr_level", "retinopathy_grade", "diagnosis", "icdr", "dr", "label", "stage")
_PATIENTS = ("patient", "patient_id", "patientid", "subject", "subject_id", "participant_id")
_EYES = ("eye", "laterality", "side", "exam_eye", "position")
_RATERS = ("rater", "reader", "grader", "annotator", "rater_id", "reader_id", "grader_id")

_TITLES = 40  # rows above the header: a title, notes, a date

_SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "training"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def split_of(word: str) -> str | None:
    """Return the split that a word names, `training`, `validation` or `test`; None for any other word."""
    return _SPLIT_WORDS.get(plain_key(word))


@dataclass(frozen=True)
class Columns:
    """Columns named by the user."""

    image: str | None
    grade: str | None
    patient: str | None
    eye: str | None
    split: str | None = None
    rater: str | None = None
    further: tuple[str, ...] = ()  # kept for results by group; a table need not have them

    @property
    def given(self) -> list[str]:
        columns = (self.image, self.grade, self.patient, self.eye, self.split, self.rater)
        return [column for column in columns if column is not None]


@dataclass(frozen=True)
class Row:
    """What a row of a table says.

    Parameters
    ----------
    number : int
        As a spreadsheet counts.
    image : str
        Empty where patient and eye name the photograph.
    """

    number: int
    image: str
    grade: str
    patient: str | None = None
    eye: str | None = None
    gradable: bool = True
    split: str | None = None
    rater: str | None = None
    further: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class GradeTable:
    """A table of grades as it was read.

    Parameters
    ----------
    layout : str
        Its layout's name.
    guesses : tuple[str, ...]
        What reading it had to assume, a sentence each.
    columns : tuple[str, ...]
        Its header.
    """

    layout: str
    rows: list[Row]
    guesses: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


def read_rows(table: Path, columns: Columns, names: Collection[str] = ()) -> GradeTable:
    """Read a table of grades.

    Parameters
    ----------
    table : Path
        A .csv, .tsv, .xlsx or .xlsm file, or a list (.txt).
    columns : Columns
        Those that the user named.
    names : collection of str
        Names of the photographs, by which the encoding of old text files is told.

    Raises
    ------
    DatasetError
        The table cannot be read or understood.
    """
    if table.suffix.lower() == ".txt":
        require_table(table, "grades")
        text, guesses = read_text(table, names)
        if not _has_header(table, columns, names):
            if columns.given:
                raise DatasetError(f"{table} is a list without columns", "leave the columns out, or save it as .csv")
            return GradeTable(NAME_LIST, _list_rows(table, text), guesses)
    sheets = read_sheets(table, "grades", names)
    if sum(len(sheet.rows) for sheet in sheets) < 2:
        raise _no_rows(table, "grades")
    found = [(sheet, *there) for sheet in sheets if (there := _find_header(sheet, columns)) is not None]
    if not found:
        if not columns.given and (rows := _rows_without_header(sheets)) is not None:
            told = f"{table.name} has no header; its first column was read as names, its second as grades."
            return GradeTable(NAME_LIST, rows, (*sheets[0].guesses, told))
        _refuse(table, sheets, columns)
    sheet, place, layout = found[0]
    number, header = sheet.rows[place]
    if place + 1 == len(sheet.rows):
        raise _no_rows(table, "grades")
    said = list(sheet.guesses)
    if place:
        said.append(f"The header of {table.name} is in row {number}; the rows above it were ignored.")
    if len(sheets) > 1:
        others = ", ".join(f"`{one.name}`" for one in sheets if one is not sheet)
        said.append(f"Of {table.name}, the sheet `{sheet.name}` was read, and not {others}.")
    if layout.name == USUAL:
        name = f"`{layout.image}` is the photograph's name" if layout.image else "patient and eye are the photograph's name"
        said.append(f"The columns of {table.name} were guessed from their names: {name}, and `{layout.grades[0]}` is its grade.")
    if layout.doubt:
        said.append(layout.doubt)
    unknown: defaultdict[str, list[str]] = defaultdict(list)
    rows = list(_table_rows(table, layout, header, sheet.rows[place + 1 :], unknown, columns.further))
    for what, words in unknown.items():
        many = f"{len(words):,} {'row names' if len(words) == 1 else 'rows name'}"
        said.append(f"In {table.name}, {many} {what} in a word that is not known, such as `{words[0]}`; it was passed over.")
    return GradeTable(layout.name, rows, tuple(said), tuple(column for column in header if column))


def read_cells(table: Path, what: str, columns: Sequence[str] = ()) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Read the header of a table, and its rows that are not empty, each with its number as a spreadsheet counts.

    Parameters
    ----------
    table : Path
        A .csv, .tsv, .xlsx or .xlsm file.
    what : str
        What the table holds, for errors.
    columns : sequence of str
        Columns by which the header is told from a title above it; without them the first row is the header.

    Raises
    ------
    DatasetError
        The table cannot be read or has no row.
    """
    if table.suffix.lower() == ".txt":
        raise DatasetError(f"tables of {what} ending in `.txt` are not read: {table}", "save it as .csv, .tsv or .xlsx")
    sheets = read_sheets(table, what)
    wanted = {plain_key(column) for column in columns}
    for sheet in sheets:
        for place, (_, cells) in enumerate(sheet.rows[:_TITLES]):
            if wanted and wanted <= {plain_key(cell) for cell in cells} and place + 1 < len(sheet.rows):
                return cells, sheet.rows[place + 1 :]
    filled = next((sheet.rows for sheet in sheets if len(sheet.rows) > 1), None)
    if filled is None:
        raise _no_rows(table, what)
    return filled[0][1], filled[1:]


def _no_rows(table: Path, what: str) -> DatasetError:
    each = "photograph" if what == "grades" else "box"
    return DatasetError(f"the table of {what} {table} has no rows", f"give a header and one row for each {each}")


def _has_header(table: Path, columns: Columns, names: Collection[str]) -> bool:
    """Tell whether a .txt file is a table with a header and not a list."""
    try:
        places = [_find_header(sheet, columns) for sheet in read_sheets(table, "grades", names)]
    except DatasetError:
        return False
    return any(place is not None and place[0] == 0 for place in places)


def _list_rows(table: Path, text: str) -> list[Row]:
    rows = []
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        if not line.strip():
            continue
        parts = line.rsplit(maxsplit=1)
        if len(parts) < 2:
            raise DatasetError(
                f"{table}, line {number}: expected a name, a space and a grade, found `{shortened(line)}`",
                "save a table with columns as .csv or .tsv",
            )
        rows.append(Row(number, parts[0].strip(), parts[1]))
    if not rows:
        raise DatasetError(f"the table of grades {table} has no rows", "give a line for each photograph: name and grade")
    return rows


def _rows_without_header(sheets: Sequence[Sheet]) -> list[Row] | None:
    """Read a table of two columns whose first row is no header but a name and a grade already."""
    for sheet in sheets:
        rows = [(number, cells) for number, cells in sheet.rows if any(cells)]
        if len(rows) > 1 and all(
            len(cells) == 2 and whole(cells[1]) is not None and not _is_number(cells[0]) for _, cells in rows
        ):
            return [Row(number, cells[0], cells[1]) for number, cells in rows]
    return None


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,2}", text) is not None


def _find_header(sheet: Sheet, columns: Columns) -> tuple[int, Layout] | None:
    """Find the row of a sheet that is the header of a table of grades, and the layout that it tells."""
    places = list(enumerate(cells for _, cells in sheet.rows[:_TITLES]))
    for choose in (_known_layout, _usual_layout):
        for place, cells in places:
            if (layout := choose(cells, columns)) is not None:
                return place, layout
    return None


def _known_layout(header: Sequence[str], columns: Columns) -> Layout | None:
    """Return the layout of a table by its header, with the user's columns in place of its own; None where none fits."""
    there = {plain_key(column) for column in header if column}
    if not all(plain_key(column) in there for column in columns.given):
        return None

    def has(*names: str) -> bool:
        return all(plain_key(name) in there for name in names)

    complete = [layout for layout in TABLE_LAYOUTS if has(layout.image, *layout.grades, *layout.fellow, *layout.marks)]
    completed = [
        layout
        for layout in TABLE_LAYOUTS
        if (columns.image or has(layout.image))
        and (columns.grade or has(*layout.grades))
        and has(*layout.marks)
        and not layout.fellow
    ]
    if complete:
        layout = complete[0]
    elif columns.image and columns.grade:
        layout = Layout(AS_GIVEN, columns.image, (columns.grade,))
    elif completed:
        layout = completed[0]
    else:
        return None
    return _with_columns(layout, header, columns)


def _usual_layout(header: Sequence[str], columns: Columns) -> Layout | None:
    """Return a layout by what tables usually call their columns; None where these are not there."""
    there = {plain_key(column): column for column in header if column}
    if not all(plain_key(column) in there for column in columns.given):
        return None

    def first(words: Iterable[str]) -> str:
        return next((there[key] for word in words if (key := plain_key(word)) in there), "")

    image, grade = columns.image or first(_IMAGES), columns.grade or first(_GRADES)
    patient, eye = first(_PATIENTS), first(_EYES)
    if not grade or image == grade or not (image or (patient and eye)):
        return None
    usual = Layout(USUAL, image, (grade,), patient=patient or "patient", eye=eye or "eye")
    return _with_columns(usual, header, columns)


def _with_columns(layout: Layout, header: Sequence[str], columns: Columns) -> Layout:
    there = {plain_key(column) for column in header}
    own = bool(columns.image or columns.grade)
    return replace(
        layout,
        name=AS_GIVEN if own else layout.name,
        image=columns.image or layout.image,
        grades=(columns.grade,) if columns.grade else layout.grades,
        patient=columns.patient or layout.patient,
        eye=columns.eye or layout.eye,
        split=columns.split or layout.split,
        rater=columns.rater or next((word for word in _RATERS if plain_key(word) in there), ""),
        fellow=() if own else layout.fellow,
        doubt="" if columns.grade else layout.doubt,
    )


def _refuse(table: Path, sheets: Sequence[Sheet], columns: Columns) -> NoReturn:
    """Raise DatasetError that tells why no row of a table is taken for its header."""
    rows = [(number, cells) for sheet in sheets for number, cells in sheet.rows[:_TITLES]]
    number, header = max(rows, key=lambda row: sum(map(bool, row[1])))
    found = ", ".join(f"`{shortened(column)}`" for column in header[:30] if column)
    there = {plain_key(column) for column in header}
    for column in columns.given:
        if plain_key(column) not in there:
            raise DatasetError(f"{table} has no column `{column}`", f"name one of its columns: {found}")
    known = "; ".join(
        f"{layout.name} ({', '.join((layout.image, *layout.grades, *layout.fellow, *layout.marks))})" for layout in TABLE_LAYOUTS
    )
    where = "" if number == 1 else f" (row {number})"
    raise DatasetError(
        f"the columns of {table} are not those of a known layout.\n  Found{where}: {found}\n  Known: {known}",
        "name its columns with --image-column and --grade-column",
    )


def _table_rows(
    table: Path,
    layout: Layout,
    header: Sequence[str],
    filled: Iterable[tuple[int, Sequence[str]]],
    unknown: defaultdict[str, list[str]],
    further: Sequence[str] = (),
) -> Iterator[Row]:
    """Yield the rows below a header. Words for eyes and splits that mean nothing are gathered in `unknown`."""
    keys = [plain_key(column) for column in header]
    used = (layout.image, *layout.grades, layout.patient, layout.eye, layout.gradable, layout.split, layout.rater, *layout.fellow)
    for column in filter(None, (*used, *further)):
        if keys.count(plain_key(column)) > 1:
            raise DatasetError(f"{table} has two columns named `{column}`", "rename one of them")
    sides: list[tuple[str, Sequence[str], str | None]] = [(layout.image, layout.grades, None)]
    if layout.fellow:
        sides = [(layout.image, layout.grades, "left"), (layout.fellow[0], layout.fellow[1:], "right")]
    for number, cells in filled:
        if list(cells) == list(header):
            continue  # tables that were joined repeat it
        cell = defaultdict(str, zip(keys, cells, strict=False))
        for image, graded, side in sides:
            name = cell[plain_key(image)] if image else ""
            if side and not name:
                continue  # of one eye there may be no photograph
            row = _row(number, name, graded, side, cell, layout)
            for what, column, found in (("the eye", layout.eye, row.eye), ("the split", layout.split, row.split)):
                if found is None and (word := cell[plain_key(column)]):
                    unknown[what].append(shortened(word))
            yield replace(row, further={column: cell[plain_key(column)] for column in further}) if further else row


def _row(number: int, name: str, columns: Sequence[str], side: str | None, cell: defaultdict[str, str], layout: Layout) -> Row:
    eye = side or EYE_WORDS.get(plain_key(cell[plain_key(layout.eye)]).rstrip("0").rstrip("."))
    grades = [cell[plain_key(column)] for column in columns]
    if len(grades) == 2:
        eye = eye or parse_name(split_name(name)[1])[1]
        graded = [one for one, grade in zip(EYES, grades, strict=True) if grade]
        eye = eye or (graded[0] if len(graded) == 1 else None)
        grades = [grade for one, grade in zip(EYES, grades, strict=True) if one == eye]
    return Row(
        number,
        name,
        grades[0] if grades else "",
        cell[plain_key(layout.patient)] or None,
        eye,
        cell[plain_key(layout.gradable)].casefold() not in ("0", "0.0", "false", "no"),
        split_of(cell[plain_key(layout.split)]),
        (cell[plain_key(layout.rater)] or None) if layout.rater else None,
    )
