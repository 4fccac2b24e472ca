"""The list of every file and row that a build left out, beside the atlas: `NAME.rejected.csv`.

It names files, so it never lies in the atlas itself.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from atlas.cohort.draft import NothingUsableError
from atlas.errors import ConfigurationError
from atlas.privacy.formulas import harmless
from atlas.records import DatasetReport, Line

_HEADER = ("kind", "what", "why", "remedy")

_REMEDY = " What to do: "  # between the message of a fault and its remedy, where a line holds both


@dataclass(frozen=True)
class Kind:
    """A kind of what was left out.

    Parameters
    ----------
    field : str
        Of `DatasetReport`.
    words : str
        What people read.
    remedy : str
        What to do where a line does not say it itself.
    left_out : bool
        Whether it counts as left out: what is no photograph, or not asked for, does not.
    """

    field: str
    words: str
    remedy: str
    left_out: bool = True


KINDS = (
    Kind("rows_without_file", "rows without file", "correct the name in the table, or add the file"),
    Kind("files_without_row", "files without row", "add a row for it to the table, or take it out of the folder"),
    Kind(
        "grades_off_scale",
        "grades off the scale",
        "correct the grade, or name the grades of your scale under [scale] in atlas.toml",
    ),
    Kind("conflicting_duplicates", "conflicting duplicates", "keep the row or file that is right"),
    Kind("identical_files", "identical files", "nothing, or remove the copy"),
    Kind("unreadable", "unreadable files", "copy it again from its source, or take it out of the folder"),
    Kind("no_retina", "no retina", "take it out of the folder, or keep it with --keep-all"),
    Kind("too_poor", "too poor", "lower --min-quality to keep it"),
    Kind("other_files", "files of other kinds", "export it as JPEG, PNG or TIFF, or take it out of the folder"),
    Kind("masks_without_photograph", "masks without photograph", "name it as its photograph, or take it out of the folder"),
    Kind("burnt_in", "photographs with burnt-in writing", "look at it, then give --allow-burnt-in or take it out of the folder"),
    Kind("near_copies", "copies of other photographs", "nothing, or remove the copy", left_out=False),
    Kind("passed_over", "passed over", "nothing", left_out=False),
)
"""In the order in which they are told."""


def count_left_out(report: DatasetReport) -> int:
    """Count the files and rows that were left out."""
    return sum(len(getattr(report, kind.field)) for kind in KINDS if kind.left_out)


def rejected_file(out: Path) -> Path:
    """Return where the list of an atlas lies, which need not exist."""
    out = out.absolute()
    return out.with_name(f"{out.name}.rejected.csv")


def require_own(out: Path) -> None:
    """Raise ConfigurationError where another file has the name of the list: it would be lost."""
    file = rejected_file(out)
    if file.is_symlink() or (file.exists() and _read_header(file) != ",".join(_HEADER)):
        raise ConfigurationError(
            f"{file}: a build lists here what it left out, but this file is something else", "move or rename this file."
        )


def write_rejected(out: Path, report: DatasetReport) -> Path:
    """Write the list of an atlas, also where nothing was left out, and return its path.

    Cells cannot become formulas in a spreadsheet, nor control a terminal.

    Raises
    ------
    OSError
        Where the list cannot be written.
    """
    file = rejected_file(out)
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_HEADER)
        for kind in KINDS:
            for line in getattr(report, kind.field):
                what, why, remedy = _parts(line)
                writer.writerow([kind.words, harmless(what), harmless(why), harmless(remedy or kind.remedy)])
    return file


@contextmanager
def listing(out: Path) -> Iterator[None]:
    """Write the list also where no photograph can be used and nothing is built."""
    try:
        yield
    except NothingUsableError as error:
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        told = f"{error.remedy}; all that was left out is listed in {write_rejected(out, error.report)}"
        raise NothingUsableError(error.message, told, error.report) from error


def listed(out: Path) -> int | None:
    """Count what the list of an atlas says was left out; None where there is no list."""
    counted = {kind.words for kind in KINDS if kind.left_out}
    try:
        with rejected_file(out).open(newline="", encoding="utf-8") as stream:
            return sum(row["kind"] in counted for row in csv.DictReader(stream))
    except (OSError, ValueError, KeyError, csv.Error):
        return None


def _read_header(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return stream.readline(100).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _parts(line: str) -> tuple[str, str, str]:
    if isinstance(line, Line) and line.why:
        return line.what, line.why, line.remedy
    message, _, remedy = line.partition(_REMEDY)
    what, _, why = message.partition(": ")
    return what, why.removesuffix("."), remedy
