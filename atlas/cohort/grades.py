"""Grades as people write them: numbers, the scale's names, and the usual words for the stages of diabetic retinopathy.

Words are those of the international scale (Wilkinson et al., Ophthalmology 110(9), 2003), of ETDRS levels (ETDRS report 12,
Ophthalmology 98(5), 1991), and of the British screening programmes: R0 to R3 of England, whose R2, pre-proliferative, covers
moderate and severe, and R0 to R4 of Scotland (Royal College of Ophthalmologists, Diabetic Retinopathy
Guidelines, 2012, section 2).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from atlas.records import DIABETIC_RETINOPATHY, Scale

_WHOLE = re.compile(r"[+-]?[0-9]{1,9}([.,]0*)?")

_NO = {"no", "none", "normal", "healthy", "absent", "without", "negative", "nodr"}

_STAGES = {
    **dict.fromkeys(("mild", "minimal", "early", "background", "bdr", "bdr1"), 1),
    **dict.fromkeys(("moderate", "moderately", "preproliferative", "ppdr"), 2),
    **dict.fromkeys(("severe", "verysevere"), 3),
    **dict.fromkeys(("pdr", "proliferative", "proliferate", "proliferation", "proliferating"), 4),
}

# Words that say which disease, or that a grade follows, and decide nothing.
_FILLERS = {
    *("npdr", "nonproliferative", "diabetic", "retinopathy", "retinopathies", "dr", "grade", "stage", "level", "class", "label"),
    *(
        "sign",
        "signs",
        "apparent",
        "visible",
        "fundus",
        "eye",
        "eyes",
        "retina",
        "icdr",
        "of",
        "the",
        "a",
        "an",
        "and",
        "or",
        "any",
    ),
    *("very", "high", "risk", "advanced"),
}

_NUMBERED = {"grade", "stage", "level", "class", "label", "dr", "icdr", "retinopathy", "diabetic", "npdr"}

_ETDRS = {
    **dict.fromkeys((10, 12, 13), 0),
    **dict.fromkeys((14, 15, 20), 1),
    **dict.fromkeys((35, 43, 47), 2),
    **dict.fromkeys((50, 53), 3),
    **dict.fromkeys((60, 61, 65, 71, 75, 80, 81, 85), 4),
}
"""ETDRS levels as grades of the international scale."""

_UNGRADABLE = {"ungradable", "ungradeable", "unreadable", "ungraded", "u", "na", "nan", "null", "unknown"}


def whole(text: str) -> int | None:
    """Read a whole number, with decimals that are zero behind a point or a comma; None for anything else."""
    return int(re.split("[.,]", text)[0]) if _WHOLE.fullmatch(text) else None


def plain_key(text: str) -> str:
    """Return a word or the name of a column in the form in which it is compared: in one case, without gaps."""
    return re.sub(r"[\s_]+", "", text.casefold())


class GradeReader:
    """Reads the grades of one table, whose other grades tell which words it uses.

    Parameters
    ----------
    scale : Scale
        The scale that grades must be on.
    given : iterable of str
        All grades of the table.
    """

    def __init__(self, scale: Scale, given: Iterable[str] = ()) -> None:
        self._scale = scale
        self._names = {plain_key(name): grade for grade, name in zip(scale.grades, scale.names, strict=True)}
        self._own = scale.names == DIABETIC_RETINOPATHY.names and scale.lowest == DIABETIC_RETINOPATHY.lowest
        said = {text.strip() for text in given if text.strip()}
        numbers = {number for text in said if (number := whole(text)) is not None}
        self._etdrs = self._own and len(numbers & _ETDRS.keys()) > 1 and numbers <= _ETDRS.keys() | {90}
        rs = {match[1] for text in said if (match := _R.match(text.casefold()))}
        self._scottish = "4" in rs
        self.guesses = self._told(said, numbers, rs)

    def read(self, text: str) -> int | None:
        """Return the grade that a text names; None where it is not on the scale."""
        text = text.strip()
        number = whole(text)
        if number is not None:
            if self._etdrs:
                return _ETDRS.get(number)
            return number if self._scale.lowest <= number <= self._scale.highest else None
        if (known := self._names.get(plain_key(text))) is not None:
            return known
        if not self._own or len(text) > 200:
            return None
        # Several findings in one cell, as ODIR lists them: the worst stage among them.
        parts = [self._stage(part) for part in re.split(r"[,;]", unicodedata.normalize("NFKC", text))]
        return max((grade for grade in parts if grade is not None), default=None)

    def _stage(self, text: str) -> int | None:
        folded = text.casefold().strip()
        if match := _R.fullmatch(folded):
            return self._of_r(int(match[1]))
        folded = re.sub(r"\b(non|pre)[\s_-]+(?=prolif)", r"\1", re.sub(r"[_.]", " ", folded))
        words = re.findall(r"[^\W\d]+|[0-9]+", folded)
        numbers = [word for word in words if word.isdecimal()]
        words = [word for word in words if not word.isdecimal()]
        unknown = [word for word in words if word not in _FILLERS and word not in _NO and word not in _STAGES]
        if unknown:
            return None
        no = any(word in _NO for word in words)
        stages = {_STAGES[word] for word in words if word in _STAGES}
        if no:
            return 0 if not stages else None
        if 4 in stages:
            return 4  # an early or a severe one is still proliferative
        if stages:
            return stages.pop() if len(stages) == 1 else None
        # A number alone, or behind a word that says what it numbers.
        if len(numbers) == 1 and words and set(words) <= _NUMBERED:
            number = int(numbers[0])
            return number if self._scale.lowest <= number <= self._scale.highest else None
        return None

    def _of_r(self, level: int) -> int | None:
        if self._scottish:
            return level if level <= 4 else None
        return {0: 0, 1: 1, 2: 2, 3: 4}.get(level)

    def _told(self, said: set[str], numbers: set[int], rs: set[str]) -> tuple[str, ...]:
        """Say what reading these grades assumes."""
        told = []
        if self._etdrs:
            told.append(
                "The grades were read as ETDRS levels: 10 is no retinopathy, 20 mild, 35 to 47 moderate, 53 severe, "
                "61 and above proliferative."
            )
        elif self._own and numbers and min(numbers) == 1 and max(numbers) == 5 and len(numbers) > 3:
            told.append(
                "The grades run from 1 to 5 and none is 0. They were read as they are; if 1 means no retinopathy, "
                "set lowest = 1 under [scale] in atlas.toml."
            )
        if self._own and rs and self._scottish:
            told.append("Grades R0 to R4 were read as those of Scotland, which are the five grades in their order.")
        elif self._own and rs:
            told.append(
                "Grades R0 to R3 were read as those of England: R1 as mild, R3 as proliferative, and R2, which covers moderate "
                "and severe, as moderate."
            )
        if self._own and any(re.search(r"pre[\s_-]*prolif|ppdr", text.casefold()) for text in said):
            told.append("`Pre-proliferative` covers moderate and severe; it was read as moderate.")
        against = sorted(text for text in said if self._against(text))
        if against:
            told.append(f"In grades such as `{against[0]}` the word and the number differ; the word was taken.")
        return tuple(told)

    def _against(self, text: str) -> bool:
        numbers = re.findall(r"[0-9]+", text)
        if len(numbers) != 1 or whole(text) is not None or not re.search(r"[^\W\d_]{2}", text):
            return False
        grade = self.read(text)
        return grade is not None and grade != int(numbers[0][:9]) and not _R.fullmatch(text.casefold().strip())


_R = re.compile(r"r\s*([0-4])(?:\s*[as])?(?:\s*m[01])?(?:\s*p[01])?")


def is_ungradable(text: str) -> bool:
    """Tell whether a text says that nobody could grade the photograph."""
    return plain_key(text) in _UNGRADABLE
