"""Every byte of a finished site, checked for private strings, metadata, active content and outside addresses."""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from atlas.privacy.formulas import is_formula
from atlas.privacy.pages import faults_of_page
from atlas.privacy.pictures import foreign_parts, is_picture
from atlas.privacy.strings import Search, base64_in
from atlas.progress import Progress, silent

KINDS = {
    "private": "private text",
    "metadata": "metadata",
    "active": "active content",
    "outside": "an outside address",
    "formula": "a formula",
    "unknown": "cannot be checked",
}
"""Kinds of findings, in words."""

_PICTURES = frozenset((".jpg", ".png", ".webp"))

_LARGEST = 1_000_000_000  # bytes; the largest file of an atlas of 35,000 photographs is far smaller

# A script that only sets data, as `site.scripts` and `site.cells` write it.
_DATA_SCRIPT = re.compile(rb'(?:window\.[A-Z_]+|\(window\.[A-Z_]+\?\?=\{\}\)\["[^"\\\n]*"\])=([\[{].*[\]}]);\n?', re.DOTALL)


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that a site must not hold.

    Parameters
    ----------
    file : str
        Path within the site, with forward slashes.
    kind : str
        A key of `KINDS`.
    what : str
        What was found, in a few words.
    """

    file: str
    kind: str
    what: str

    @property
    def line(self) -> str:
        """The finding in one line."""
        return f"{self.file}: {KINDS[self.kind]}: {self.what}"


@dataclass(frozen=True)
class Inspection:
    """What the check of a site found.

    Parameters
    ----------
    findings : tuple[Finding, ...]
        In order of the files; empty if the site may be published.
    files : int
        How many files were checked.
    size : int
        Bytes of them.
    searched : int
        How many private strings were searched for.
    sha256 : str
        Hash of the names and bytes of all files.
    """

    findings: tuple[Finding, ...]
    files: int
    size: int
    searched: int
    sha256: str


def inspect(
    folder: Path,
    search: Search,
    code: Mapping[str, bytes],
    *,
    aside: Set[str] = frozenset(),
    progress: Progress = silent,
) -> Inspection:
    """Check every file of a site.

    Parameters
    ----------
    folder : Path
        The site.
    search : Search
        Its run's private strings; empty if they are not known.
    code : Mapping[str, bytes]
        Scripts and styles of this version of atlas, by path within the site. Others are findings.
    aside : Set[str]
        Files that are left out: marks of a build that is not finished.
    progress : Progress
        Called for the files.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    names = sorted(set(_names(folder)) - aside)
    total, size = hashlib.sha256(), 0
    findings: list[Finding] = []
    for done, name in enumerate(names, start=1):
        file = folder / name
        if file.is_symlink() or not file.is_file() or file.stat().st_size > _LARGEST:
            findings.append(Finding(name, "unknown", "not a plain file of less than 1 GB"))
            continue
        content = file.read_bytes()
        size += len(content)
        total.update(f"{hashlib.sha256(content).hexdigest()}  ".encode() + os.fsencode(name) + b"\n")
        findings += sorted({Finding(name, kind, what) for kind, what in _faults(name, content, search, code)})
        progress("check", done, len(names))
    return Inspection(tuple(findings), len(names), size, len(search), total.hexdigest())


def _names(folder: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in (*names, *links):
            yield Path(parent, name).relative_to(folder).as_posix()


def _faults(name: str, content: bytes, search: Search, code: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    for text in search.in_text(os.fsencode(name)):
        yield "private", _told(text, search)
    if code.get(name) == content:
        return  # it came with atlas, which knows nobody
    ending = Path(name).suffix.lower()
    if ending in _PICTURES:
        yield from (("metadata", part) for part in foreign_parts(content))
        yield from (("private", _told(text, search)) for text in search.in_picture(content))
        return
    if ending not in _CHECKS:
        yield "unknown", f"files ending in `{ending}` are not part of an atlas" if ending else "a file without an ending"
    else:
        yield from _CHECKS[ending](name, content)
    yield from (("private", _told(text, search)) for text in search.in_text(content))
    for run in base64_in(content):
        yield from _of_base64(run, search)


def _told(text: str, search: Search) -> str:
    return f"{search.strings[text]} {text!r}"


def _of_base64(run: bytes, search: Search) -> Iterator[tuple[str, str]]:
    try:
        held = base64.b64decode(run + b"=" * (-len(run) % 4))
    except binascii.Error:
        return
    if is_picture(held):
        yield from (("metadata", f"in an embedded picture: {part}") for part in foreign_parts(held))
    yield from (("private", _told(text, search)) for text in search.in_picture(held))


def _of_page(name: str, content: bytes) -> Iterator[tuple[str, str]]:
    try:
        yield from faults_of_page(content.decode(), name)
    except UnicodeDecodeError:
        yield "unknown", "a page that is not UTF-8"


def _of_script(name: str, content: bytes) -> Iterator[tuple[str, str]]:
    found = _DATA_SCRIPT.fullmatch(content)
    if found is None:
        yield "active", "a script that is not of this version of atlas"
    elif not _is_json(found[1]):
        yield "active", "a script that holds more than data"


def _of_style(name: str, content: bytes) -> Iterator[tuple[str, str]]:
    yield "active", "a style sheet that is not of this version of atlas"


def _of_json(name: str, content: bytes) -> Iterator[tuple[str, str]]:
    if not _is_json(content):
        yield "unknown", "no JSON, in spite of its name"


def _of_table(name: str, content: bytes) -> Iterator[tuple[str, str]]:
    try:
        for number, row in enumerate(csv.reader(io.StringIO(content.decode(), newline="")), start=1):
            if any(is_formula(cell) for cell in row):
                yield "formula", f"in row {number}"
    except (UnicodeDecodeError, csv.Error):
        yield "unknown", "no table, in spite of its name"


def _of_text(name: str, content: bytes) -> Iterator[tuple[str, str]]:
    if b"\0" in content:
        yield "unknown", "no text, in spite of its name"


_CHECKS: Mapping[str, Callable[[str, bytes], Iterator[tuple[str, str]]]] = {
    ".html": _of_page,
    ".js": _of_script,
    ".css": _of_style,
    ".json": _of_json,
    ".csv": _of_table,
    ".txt": _of_text,
}


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return False
    return True
