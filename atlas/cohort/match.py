"""Which file a row of a table means, also where a spreadsheet or a person spelt its name another way."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath

from atlas.cohort.files import File
from atlas.cohort.names import (
    loose_key,
    lost_digits,
    number_keys,
    parse_name,
    shortened_to,
    split_name,
    whole_number,
)
from atlas.cohort.tables import Row, split_of

_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}( 00:00:00)?|[0-9]{1,2}[-. ](jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)", re.I
)


class Matcher:
    """Finds the files that rows mean.

    Parameters
    ----------
    files : sequence of File
        All photographs.
    table : Path
        The table; its place and name tell which folder it speaks of, where names alone do not.
    images : Path
        The photographs' folder.
    """

    def __init__(self, files: Sequence[File], table: Path, images: Path) -> None:
        self._by_stem: defaultdict[str, list[File]] = defaultdict(list)
        self._by_loose: defaultdict[str, list[File]] = defaultdict(list)
        self._by_number: defaultdict[str, list[File]] = defaultdict(list)
        self._by_person: defaultdict[tuple[str, str], list[File]] = defaultdict(list)
        self._numbered = []
        self._by_uid: defaultdict[str, list[File]] = defaultdict(list)
        for file in files:
            for stem in dict.fromkeys((file.stem, file.own_stem)):  # the name of a file means all of its frames
                self._by_stem[stem].append(file)
                self._by_loose[loose_key(stem)].append(file)
            for key in number_keys(file.own_stem):
                self._by_number[key].append(file)
            if file.own_stem.isascii() and file.own_stem.isdecimal():
                self._numbered.append(file)
            if file.header is not None and file.header.uid:
                self._by_uid[file.header.uid].append(file)
            patient, eye = parse_name(file.own_stem)
            if patient and eye:
                self._by_person[_person(patient), eye].append(file)
        self._words = _words(table.stem)
        inside = table.parent.resolve().is_relative_to(images.resolve()) and table.parent.resolve() != images.resolve()
        self._folder = table.parent.resolve().relative_to(images.resolve()).as_posix() + "/" if inside else ""

    def find(self, row: Row) -> tuple[list[File], str]:
        """Return the files that a row may mean: none, one with all its frames, or several that its name does not tell apart; and
        how it was matched.

        how : str
            Empty where the name is that of the file; else in what its name differs.
        """
        name = row.image
        for how, found in self._ways(name, row):
            if found:
                return self._of_folder(found, how)
        return [], ""

    def _ways(self, name: str, row: Row) -> Iterable[tuple[str, list[File]]]:
        folders, stem, _ = split_name(name)
        yield "", _closest(name, self._by_stem)
        if not stem:
            if row.patient and row.eye:
                yield "by patient and eye", self._by_person.get((_person(row.patient), row.eye), [])
            return
        yield "by SOP Instance UID", self._by_uid.get(name.strip(), [])
        loose = [f for f in self._by_loose.get(loose_key(stem), []) if _agrees(f, folders)]
        yield "despite differences in case, spacing or ending", loose
        number = whole_number(stem)
        if number.isascii() and number.isdecimal():
            key = number.lstrip("0") or "0"
            yield "despite lost zeros or digits", [f for f in self._by_number.get(key, []) if _agrees(f, folders)]
        if (lost := lost_digits(stem)) is not None:
            yield "despite lost digits", [file for file in self._numbered if shortened_to(file.stem, *lost)]
        if row.eye:
            yield "by patient and eye", self._by_person.get((_person(whole_number(stem)), row.eye), [])

    def _of_folder(self, found: list[File], how: str) -> tuple[list[File], str]:
        """Choose among files of one name those in the folder that the table speaks of."""
        if len({file.own_path for file in found}) == 1:
            return found, how
        if self._folder and (own := [file for file in found if file.name.startswith(self._folder)]):
            return own, how if len(own) > 1 else how or "to the folder that the table lies in"
        shared = [len(self._words & set().union(*map(_words, file.folders))) if file.folders else 0 for file in found]
        own = [file for file, count in zip(found, shared, strict=True) if count == max(shared) > 0]
        if len({file.own_path for file in own}) == 1:
            return own, how or "to the folder whose name is like the table's"
        return found, how

    def missing(self, row: Row, others: Sequence[str], uids: Mapping[str, str]) -> tuple[str, str]:
        """Say why a row finds no photograph, and what to do.

        Parameters
        ----------
        others : Sequence[str]
            Lines about the files that are not read.
        uids : Mapping[str, str]
            SOP Instance UIDs of such files, with their names.
        """
        name = row.image
        if not name:
            return "no image named", "name the photograph in this row, or remove the row"
        stem = split_name(name)[1]
        for line in others:
            file = PurePosixPath(line.partition(": ")[0])
            if stem in (file.stem, file.name) or uids.get(name.strip()) == file.as_posix():
                return line, getattr(line, "remedy", "") or "convert the photograph to JPEG, PNG or TIFF"
        if lost_digits(stem) is not None:
            return "no such file: a spreadsheet shortened a long number", "give the column the format of text, and fill it again"
        if _DATE.fullmatch(stem):
            return (
                "no such file: a spreadsheet may have made a date of a name",
                "give the column the format of text, and fill it again",
            )
        return "no such file", ""


def _closest(name: str, by_stem: dict[str, list[File]]) -> list[File]:
    """Return the files of this stem that fit the name's ending and folders best."""
    folders, stem, ending = split_name(name)
    # Published paths often start above the folder of images, or name folders that were flattened: only the innermost must agree.
    candidates = [f for f in by_stem.get(stem, []) if not folders or not f.folders or f.folders[-1] == folders[-1]]
    # A cohort converted to another format keeps its table, so the ending chooses but does not exclude.
    candidates = [f for f in candidates if f.ending == ending] or candidates

    def closeness(file: File) -> tuple[bool, int]:
        pairs = zip(reversed(file.folders), reversed(folders), strict=False)
        return file.folders == folders, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    best = max(map(closeness, candidates), default=None)
    return [f for f in candidates if closeness(f) == best]


def _agrees(file: File, folders: Sequence[str]) -> bool:
    return not folders or not file.folders or file.folders[-1].casefold() == folders[-1].casefold()


def _person(patient: str) -> str:
    key = loose_key(patient)
    return (key.lstrip("0") or "0") if key.isascii() and key.isdecimal() else key


def _words(name: str) -> set[str]:
    """Return the words of a table's or a folder's name that tell one from another."""
    words = re.findall(r"[^\W\d_]{2,}|[0-9]+", name.casefold())
    return {split_of(word) or word for word in words} - {
        "set",
        "images",
        "image",
        "grades",
        "labels",
        "and",
        "of",
        "the",
        "original",
    }
