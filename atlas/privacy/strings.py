"""Private strings, and the search for them in files: in every case, and however text is written in pages, data and pictures.

What is searched for
    A text of four characters or more, or of six bytes or more in UTF-8 (two Chinese characters). A text of digits and marks needs
    seven digits: shorter numbers cannot be told from the site's own. Of a text with several words, the words are searched for,
    too.
    A text of fewer than eight characters, a number, and the name of a file that is one (0001.jpg) must not be part of a longer
    word or number: the ids of photographs, on every page, end in any digits.

What is not
    What the site says of itself, in its templates, translations, code and cards, and what its author has it say.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

import ahocorasick
import numpy as np

Strings = Mapping[str, str]
"""Private texts, each with the kind of thing that it is: "file name", "folder", ..."""

_SHORTEST, _SHORTEST_BYTES = 4, 6

_DIGITS = 7

_LONG = 8  # characters from which a text counts also within a word

_DIFFERENT = 3  # characters of a long text

_LONGEST = 2000  # characters: of longer texts only the words are searched for

_MARKED = re.compile(r"[\d\s.,:;/_+-]+")  # a number, a date or a time

_NUMBERED = re.compile(r"[0-9a-f]+\.[a-z]{2,5}", re.IGNORECASE)  # a file named by a number; ids are hexadecimal

_APART = re.compile(r"[\s_,;:|/\\=<>()\[\]{}\"]+")

_LETTERS = re.compile(r"[^\W\d_]+")

_WIDE = re.compile(rb"(?:[\x20-\x7e]\x00){3,}[\x20-\x7e]?")  # UTF-16

_READABLE = 8  # bytes of readable text in a row that are searched within compressed pixels

_RUN = 80  # characters from which text is taken for base64
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{%d,}={0,2}" % _RUN)
_IN_BASE64 = bytes(bool(re.match(rb"[A-Za-z0-9+/]", bytes([value]))) for value in range(256))


def gathered(texts: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return what is worth searching for of (kind, text), and of each word of the texts.

    Parameters
    ----------
    texts : Iterable[tuple[str, str]]
        Kind and text. If a text is of several kinds, the first counts.
    """
    found: dict[str, str] = {}
    seen: set[str] = set()
    for kind, text in texts:
        if text in seen:
            continue
        seen.add(text)
        for piece in _pieces(text):
            if _is_telling(piece):
                found.setdefault(piece, kind)
    return found


def _pieces(text: str) -> Iterator[str]:
    text = " ".join(text.split())
    if len(text) <= _LONGEST:
        yield text
    for part in _APART.split(text):
        yield part.strip(".'-")
        yield from _LETTERS.findall(part)


def _is_telling(text: str) -> bool:
    if _MARKED.fullmatch(text):
        return sum(letter.isdecimal() for letter in text) >= _DIGITS
    if len(text) >= _LONG and len(set(text)) < _DIFFERENT:
        return False  # filling, as in binary data
    return len(text) >= _SHORTEST or len(text.encode(errors="surrogateescape")) >= _SHORTEST_BYTES


class Search:
    """Finds private strings in the bytes of files.

    Parameters
    ----------
    strings : Strings
        The private texts, see `gathered`.
    """

    def __init__(self, strings: Strings) -> None:
        self.strings = dict(strings)
        self._automaton: Any = ahocorasick.Automaton()
        for text in strings:
            within = len(text) >= _LONG and not (_MARKED.fullmatch(text) or _NUMBERED.fullmatch(text))
            for form in _forms(text):
                self._automaton.add_word(form, (len(form), text, within))
        if strings:
            self._automaton.make_automaton()

    def __len__(self) -> int:
        return len(self.strings)

    def in_text(self, content: bytes) -> set[str]:
        """Return the private texts that a file of text or data holds. Long runs of base64 are no text and are left out."""
        if not self.strings:
            return set()
        return self._in(_BASE64.sub(b" ", content) if _has_base64(content) else content) | self._in_wide(content)

    def in_picture(self, content: bytes) -> set[str]:
        """Return the private texts that a picture holds in a run of readable bytes. Shorter runs arise in pixels by chance."""
        if not self.strings:
            return set()
        runs = b"\n".join(_readable(content))
        return self._in(runs) | self._in_wide(content)

    def _in_wide(self, content: bytes) -> set[str]:
        wide = [run.replace(b"\0", b"") for run in _WIDE.findall(content)] if _may_be_wide(content) else []
        return self._in(b"\n".join(wide)) if wide else set()

    def _in(self, content: bytes) -> set[str]:
        text = content.lower().decode("latin-1")
        found: set[str] = set()
        for last, (length, private, within) in self._automaton.iter(text):
            if private not in found and (within or _stands_alone(text, last + 1 - length, last + 1)):
                found.add(private)
        return found


def base64_in(content: bytes) -> list[bytes]:
    """Return the long runs of base64."""
    return _BASE64.findall(content) if _has_base64(content) else []


def _has_base64(content: bytes) -> bool:
    """Return whether there is a long run of base64. The regular expression takes ten times as long to find none."""
    return b"\1" * _RUN in content.translate(_IN_BASE64)


def without(strings: Strings, said: Iterable[str]) -> dict[str, str]:
    """Return the private strings that do not occur in what a site says of itself, `said`."""
    known = Search(strings).in_text("\n".join(said).encode(errors="surrogateescape"))
    return {text: kind for text, kind in strings.items() if text not in known}


def _forms(text: str) -> set[str]:
    """Return how a text can be written in a file, as lower-case bytes decoded as Latin-1."""
    shapes = {text, text.lower(), text.upper()}
    if " " in text:
        shapes |= {text.replace(" ", mark) for mark in ("_", "-")}
    if not text.isascii():
        shapes |= {unicodedata.normalize(form, shape) for form in ("NFC", "NFD") for shape in tuple(shapes)}
    forms: set[bytes] = set()
    for shape in shapes:
        spelt = {shape, json.dumps(shape)[1:-1], json.dumps(shape, ensure_ascii=False)[1:-1], ascii(shape)[1:-1]}
        escaped = {html.escape(one) for one in spelt}
        spelt |= escaped | {one.replace("&quot;", "&#34;").replace("&#x27;", "&#39;") for one in escaped}
        own = shape.encode(errors="surrogateescape")
        spelt |= {quote(own), quote(own, safe=""), quote_plus(own)}
        spelt |= {one.replace("<", "\\u003c") for one in spelt}
        forms |= {one.encode(errors="surrogateescape") for one in spelt}
        if not shape.isascii():
            forms |= {shape.encode(encoding, "ignore") for encoding in ("utf-16-le", "utf-16-be")}
            for encoding in ("latin-1", "cp1252"):
                try:
                    forms.add(shape.encode(encoding))
                except UnicodeEncodeError:
                    continue
    return {form.lower().decode("latin-1") for form in forms if form}


def _stands_alone(text: str, first: int, last: int) -> bool:
    """Return whether text[first:last] is no part of a longer word, number or colour."""
    number = text[first].isdecimal() and text[last - 1].isdecimal()
    if first:
        before = text[first - 1]
        escaped = text[max(0, first - 2) : first - 1] == "\\" or text[max(0, first - 3) : max(0, first - 2)] == "%"
        if _is_part(before) and not escaped:
            return False
        if number and (before == "#" or (before == "." and text[max(0, first - 2) : first - 1].isdecimal())):
            return False
    if last < len(text):
        after = text[last]
        if _is_part(after) or (number and after == "." and text[last + 1 : last + 2].isdecimal()):
            return False
    return True


def _is_part(letter: str) -> bool:
    """Return whether a byte is a letter or a digit, or belongs to a letter outside ASCII."""
    return letter.isalnum() or letter >= "\x80"


def _may_be_wide(content: bytes) -> bool:
    """Return whether readable bytes and zeros take turns somewhere. The regular expression is slow on pixels."""
    if b"\0" not in content:
        return False
    values = np.frombuffer(content, np.uint8)
    turn = (values[:-1] == 0) != (values[1:] == 0)
    for step in (1, 2, 4):
        turn = turn[:-step] & turn[step:]
    return bool(turn.any())


def _readable(content: bytes) -> Iterator[bytes]:
    """Yield the runs of readable bytes, ASCII or UTF-8, that are long enough."""
    values = np.frombuffer(content, np.uint8)
    if len(values) < 2 * _READABLE:
        yield content
        return
    readable = (values - np.uint8(0x20)) < 0x5F  # wraps round below 0x20
    follows = (values & 0xC0) == 0x80
    two = np.zeros_like(readable)
    two[:-1] = ((values[:-1] & 0xE0) == 0xC0) & follows[1:]
    three = np.zeros_like(readable)
    three[:-2] = ((values[:-2] & 0xF0) == 0xE0) & follows[1:-1] & follows[2:]
    readable |= two | three
    readable[1:] |= two[:-1] | three[:-1]
    readable[2:] |= three[:-2]
    bits = np.packbits(readable).astype(np.uint16)
    pairs = bits[:-1] << 8 | bits[1:]
    full = np.zeros(len(pairs), bool)
    for shift in range(8):  # eight readable bytes in a row, wherever they begin
        full |= (pairs >> shift) & 0xFF == 0xFF
    told, end = readable.tobytes(), 0
    for block in np.flatnonzero(full).tolist():
        middle = told.find(b"\1" * _READABLE, max(end, 8 * block), 8 * block + 16)
        if middle >= end and middle >= 0:
            last = told.find(b"\0", middle)
            end = last if last >= 0 else len(told)
            yield content[told.rfind(b"\0", 0, middle) + 1 : end]
