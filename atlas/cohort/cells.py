"""Cells of tables, from text in any encoding and from workbooks; what a table means is for `tables`."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from atlas.errors import DatasetError

LARGEST_TABLE = 200_000_000
"""Bytes of the largest table that is read, and of the largest one that a workbook may unpack to."""

_MOST_COLUMNS = 1_000

_EMPTY_ROWS = 10_000  # in a row: what lies below that is a stray cell, not a part of the table

_LINE = 80  # characters of a cell that a message shows

_SHEETS = (".xlsx", ".xlsm")

_TEXTS = (".csv", ".tsv", ".tab", ".txt")

TABLE_ENDINGS = (*_TEXTS, *_SHEETS)
"""Endings of files that can hold a table, in lower case."""

OTHER_TABLES = (".xls", ".xlsb", ".ods", ".numbers")
"""Endings of tables that are not read."""

_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"

_BOMS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)

_OLD_ENCODINGS = ("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp932", "gb18030", "big5", "cp949", "mac_roman", "cp850")
"""What spreadsheets of many countries write, likeliest first."""

_SEPARATOR = re.compile(r'"?sep=(.)"?', re.IGNORECASE)


@dataclass(frozen=True)
class Sheet:
    """A table's cells.

    Parameters
    ----------
    name : str
        Of the sheet; empty for text.
    rows : list of (int, list of str)
        Rows that are not empty, each with its number as a spreadsheet counts.
    guesses : tuple of str
        What reading it had to assume, a sentence each.
    """

    name: str
    rows: list[tuple[int, list[str]]]
    guesses: tuple[str, ...] = ()


def read_sheets(table: Path, what: str, names: Collection[str] = ()) -> list[Sheet]:
    """Read all cells of a table.

    Parameters
    ----------
    table : Path
        A .csv, .tsv, .tab, .txt, .xlsx or .xlsm file.
    what : str
        What the table holds, for errors.
    names : collection of str
        Names that the table is likely to hold: by these the encoding of old text files is told.

    Returns
    -------
    list of Sheet
        One for text, one for each sheet with cells of a workbook.

    Raises
    ------
    DatasetError
        The table cannot be read.
    """
    require_table(table, what)
    ending = table.suffix.lower()
    if ending not in TABLE_ENDINGS:
        raise DatasetError(f"tables of {what} ending in `{ending}` are not read: {table}", "save it as .csv, .tsv or .xlsx")
    with table.open("rb") as stream:
        start = stream.read(8)
    if start.startswith(_OLE):
        raise DatasetError(
            f"{table} is an old workbook (.xls), or one with a password", "save it as .xlsx without a password, or as .csv"
        )
    if ending in _SHEETS or start.startswith(_ZIP):
        sheets = list(_workbook_sheets(table))
        if ending not in _SHEETS:
            told = f"{table.name} is a workbook in spite of its ending; it was read as one."
            sheets = [Sheet(one.name, one.rows, (told, *one.guesses)) for one in sheets]
        return sheets
    return [_text_sheet(table, "\t" if ending in (".tsv", ".tab") else None, names)]


def require_table(table: Path, what: str) -> None:
    """Raise DatasetError where a table is missing, is no regular file, or is too large to be read."""
    if not table.exists():
        raise DatasetError(f"the table of {what} {table} does not exist", "check the path's spelling")
    if not table.is_file():
        raise DatasetError(f"the table of {what} {table} is not a file", "give a .csv, .tsv, .xlsx or .txt file")
    if (size := table.stat().st_size) > LARGEST_TABLE:
        limit = f"at most {LARGEST_TABLE / 1e6:,.0f} MB are read"
        raise DatasetError(
            f"the table of {what} {table} has {size / 1e6:,.0f} MB; {limit}", "give the table alone, without other data"
        )


def shortened(text: str) -> str:
    """Return a cell as a message shows it: on one line, and no longer than a line."""
    line = " ".join(text.split())
    return line if len(line) <= _LINE else line[: _LINE - 3] + "..."


def read_text(table: Path, names: Collection[str] = ()) -> tuple[str, tuple[str, ...]]:
    """Decode a text file, see `read_sheets`; return it with what had to be assumed.

    Raises
    ------
    DatasetError
        Where it cannot be opened.
    """
    try:
        content = table.read_bytes()
    except OSError as error:
        raise DatasetError(f"{table} cannot be opened: {error.strerror}", "check that it is a file you may read") from error
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return content.decode(encoding, "replace"), ()
    if (nulls := content[:4096].count(0)) > len(content[:4096]) // 4:
        # Nearly every second byte of western text in UTF-16 is zero; which one tells the order.
        encoding = "utf-16-le" if content[1:4096:2].count(0) > nulls // 2 else "utf-16-be"
        return content.decode(encoding, "replace"), (
            f"{table.name} was read as {encoding.upper()}: it does not name its encoding.",
        )
    try:
        return content.decode("utf-8"), ()
    except UnicodeDecodeError:
        encoding = _old_encoding(content, names)
    return content.decode(encoding, "replace"), (
        f"{table.name} is not UTF-8; it was read as {encoding}. If names look wrong, save it as UTF-8.",
    )


def _old_encoding(content: bytes, names: Collection[str]) -> str:
    """Tell the encoding of a text that is not UTF-8: by the names that it should hold, else by its letters."""
    foreign = {name for name in names if not name.isascii()}
    if foreign:
        best = max(_OLD_ENCODINGS, key=lambda one: sum(_holds(content, name, one) for name in foreign))
        if any(_holds(content, name, best) for name in foreign):
            return best
    odd = [letter for letter in content.decode("cp1252", "replace") if ord(letter) > 127]
    letters = sum(65 <= byte <= 90 or 97 <= byte <= 122 for byte in content)
    if all(letter.isalpha() and letter != "\ufffd" for letter in odd) and 8 * len(odd) < letters:
        return "cp1252"
    from charset_normalizer import from_bytes  # few tables need it

    found = from_bytes(content, cp_isolation=list(_OLD_ENCODINGS)).best()
    return found.encoding if found is not None else "cp1252"


def _holds(content: bytes, name: str, encoding: str) -> bool:
    try:
        return name.encode(encoding) in content
    except UnicodeEncodeError:
        return False


def _text_sheet(table: Path, delimiter: str | None, names: Collection[str]) -> Sheet:
    text, guesses = read_text(table, names)
    first, _, rest = text.partition("\n")
    if told := _SEPARATOR.fullmatch(first.strip("\r ;,\t")) or _SEPARATOR.fullmatch(first.strip("\r")):
        delimiter, text = told[1], rest
    delimiter = delimiter or _delimiter(text)
    rows = [(number, row) for number, row in enumerate(_records(table, text, delimiter), start=1) if any(row)]
    return Sheet("", rows, guesses)


def _delimiter(text: str) -> str:
    """Tell what parts the cells: what most lines hold equally often. Titles and notes above a table hold it by chance only."""
    lines = [line for line in islice(io.StringIO(text, newline=None), 200) if line.strip()]

    def evenness(mark: str) -> tuple[int, int]:
        counts = Counter(count for line in lines if (count := line.count(mark)))
        return max(((often, count) for count, often in counts.items()), default=(0, 0))

    return max(";\t,|", key=evenness) if any(evenness(mark)[0] for mark in ";\t,|") else ","


def _records(table: Path, text: str, delimiter: str) -> list[list[str]]:
    try:
        return list(_parsed(table, text, delimiter, strict=True))
    except csv.Error:
        pass  # a quotation mark within a cell is no fault of the table: what is read without strictness is what was meant
    try:
        return list(_parsed(table, text, delimiter, strict=False))
    except csv.Error as error:
        raise DatasetError(f"{table} cannot be read as a table: {error}", "save it again as .csv or .xlsx") from error


def _parsed(table: Path, text: str, delimiter: str, *, strict: bool) -> Iterator[list[str]]:
    """Yield a text's rows. Raises DatasetError where a quotation mark swallows rows, csv.Error at other faults of quoting."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=strict)
    begun, width = 1, 0
    try:
        for row in reader:
            width = width or len(row) - 1
            swallowed = [cell.strip().split("\n")[1:] for cell in row if "\n" in cell.strip()]
            # Cells of several lines are rare: with odd quotation marks about, or rows within, a mark was not closed.
            if any(
                not strict or (lines[:-1] and all(line.count(delimiter) == width for line in lines[:-1])) for lines in swallowed
            ):
                raise _open_quote(table, begun)
            yield [_plain(cell) for cell in row]
            begun = reader.line_num + 1
    except csv.Error as error:
        if "unexpected end" in str(error) or "field larger" in str(error):
            raise _open_quote(table, begun) from error
        raise


def _open_quote(table: Path, line: int) -> DatasetError:
    return DatasetError(
        f"{table} cannot be read as a table: in line {line} a quotation mark opens a cell that is not closed",
        f"close or remove the quotation mark in line {line}, or save the table again from a spreadsheet",
    )


def _plain(cell: str) -> str:
    """Return a cell without what nobody sees: spaces around it, and marks without width."""
    return cell.replace("\ufeff", "").replace("\u200b", "").replace("\x00", "").strip()


def _workbook_sheets(table: Path) -> Iterator[Sheet]:
    import zipfile

    import openpyxl  # loads slowly, and most tables are text

    remedy = "open it in a spreadsheet and save it again as .xlsx or .csv"
    try:
        with zipfile.ZipFile(table) as packed:
            unpacked = sum(entry.file_size for entry in packed.infolist())
        if unpacked > LARGEST_TABLE:
            raise DatasetError(
                f"{table} unpacks to {unpacked / 1e6:,.0f} MB; at most {LARGEST_TABLE / 1e6:,.0f} MB are read",
                "save the sheet with the grades alone, as .csv",
            )
        with warnings.catch_warnings(), table.open("rb") as stream:
            warnings.simplefilter("ignore")  # of styles and extensions, which nobody needs here
            book = openpyxl.load_workbook(stream, data_only=True, read_only=True, keep_links=False)
            sheets = []
            for sheet in book.worksheets:
                sheet.reset_dimensions()  # they may be wrong, or take in a stray cell at the end of the sheet
                sheets.append(_sheet(sheet.title, sheet.iter_rows()))
            names = book.sheetnames
    except DatasetError:
        raise
    except Exception as error:  # a damaged workbook fails in many ways, in the archive, in its XML and in the library
        raise DatasetError(f"{table} cannot be read as an .xlsx workbook: it is damaged ({error})", remedy) from error
    filled = [sheet for sheet in sheets if sheet.rows]
    if not filled:
        listed = ", ".join(f"`{name}`" for name in names)
        raise DatasetError(f"{table} has no sheet with cells (its sheets: {listed})", "save the table of cells itself as .xlsx")
    yield from filled


def _sheet(name: str, rows: Iterator[Sequence[Any]]) -> Sheet:
    """Gather the filled cells of a sheet, which may lie anywhere in its million rows."""
    kept: list[tuple[int, list[str]]] = []
    guesses: tuple[str, ...] = ()
    empty = 0
    for number, row in enumerate(rows, start=1):
        cells = [cell_text(cell.value) for cell in row[:_MOST_COLUMNS]]
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            kept.append((number, cells))
            empty = 0
        elif (empty := empty + 1) >= _EMPTY_ROWS:
            guesses = (f"Of the sheet `{name}`, rows below {_EMPTY_ROWS:,} empty ones were not read.",)
            break
    return Sheet(name, kept, guesses)


def cell_text(value: object) -> str:
    """Return a workbook's cell as text: whole numbers without a decimal point."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e300:
        return str(int(value))
    return _plain(str(value))
