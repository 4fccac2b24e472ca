"""Names of photographs: their endings, and what they tell of patient and eye."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePath, PurePosixPath

from atlas.photographs.dicom import DICOM_ENDINGS

ENDINGS = frozenset(
    {
        *(".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif"),
        *(".ppm", ".pgm", ".pnm", ".jp2", ".j2k", ".jpx", ".avif", ".heic", ".heif", ".hif", *DICOM_ENDINGS),
    }
)
"""Endings of files taken for photographs, in lower case. DICOM files are taken without one, too."""

OTHER_ENDINGS = frozenset({".raw", ".cr2", ".nef", ".dng", ".psd", ".svg", ".pdf", ".fda"})
"""Endings of pictures that are not read: a table may name photographs by these that were converted since."""

EYES = ("left", "right")

EYE_WORDS = {
    **dict.fromkeys(("left", "l", "os", "le", "lefteye", "oculussinister", "2", "izquierdo", "links", "gauche"), "left"),
    **dict.fromkeys(("right", "r", "od", "re", "righteye", "oculusdexter", "1", "derecho", "rechts", "droite"), "right"),
}
"""What tables call an eye. The right one comes first where eyes are numbered, as in every examination."""

_LAST = re.compile(r"(?P<patient>.+)[_-](?P<eye>left|right|os|od|l|r)[0-9]?", re.IGNORECASE | re.ASCII)
_FIRST = re.compile(r"(?P<eye>left|right|os|od)[_-](?P<patient>.+)", re.IGNORECASE | re.ASCII)
_JOINED = re.compile(r"(?P<patient>.*[0-9])(?P<eye>os|od)", re.IGNORECASE | re.ASCII)


def parse_name(stem: str) -> tuple[str | None, str | None]:
    """Read patient and eye from a photograph's name.

    Only patterns that can hardly mean anything else: a patient's name with a digit in it, then `_` or `-`, then `left`, `right`,
    `OS`, `OD`, or `l` or `r`, with at most one digit that numbers the views (`10_left`, `347_l1`, `P012_OD`); the eye first, in
    more than one letter (`OD_P012`); or `OD` or `OS` right behind a digit (`P012OD`).

    Parameters
    ----------
    stem : str
        The name without ending.

    Returns
    -------
    patient : str or None
        None where the name does not tell.
    eye : str or None
        None where the name does not tell.
    """
    for pattern in (_LAST, _FIRST, _JOINED):
        match = pattern.fullmatch(stem)
        if match is not None:
            patient = match["patient"]
            known = any(letter.isdecimal() for letter in patient)
            if known or pattern is _LAST:
                return (patient if known else None), EYE_WORDS[match["eye"].lower()]
    return None, None


def told_by_names(stems: Iterable[str]) -> str:
    """Say in a sentence from how many names the patient was read, with an example; "" where from none."""
    found = [(stem, parse_name(stem)[0]) for stem in stems]
    known = [(stem, patient) for stem, patient in found if patient is not None]
    if not known:
        return ""
    stem, patient = known[0]
    return f"Patient and eye were read from {len(known):,} of {len(found):,} names, such as `{stem}`: patient {patient}."


def split_name(name: str) -> tuple[tuple[str, ...], str, str]:
    """Part a name with slashes of either kind into folders, stem and ending ("" unless it is a photograph's)."""
    parts = [part for part in unicodedata.normalize("NFC", name).strip().replace("\\", "/").split("/") if part not in ("", ".")]
    if not parts:
        return (), "", ""
    *folders, name = parts
    ending = PurePosixPath(name).suffix
    if ending.lower() in ENDINGS:
        return tuple(folders), name.removesuffix(ending), ending.lower()
    return tuple(folders), name, ""


def stem_of(path: PurePath) -> str:
    """Return a photograph's name without its ending. Names of DICOM files may hold dots and no ending: 1.2.840.10008."""
    return path.stem if path.suffix.lower() in ENDINGS else path.name


def loose_key(stem: str) -> str:
    """Return a name as people spell it: in one case, without endings of other pictures, with one kind of gap."""
    ending = PurePosixPath(stem).suffix.lower()
    if ending in ENDINGS or ending in OTHER_ENDINGS:
        stem = stem[: -len(ending)]
    return re.sub(r"[\s_\-]+", "_", unicodedata.normalize("NFKC", stem).casefold()).strip("_")


def number_keys(stem: str) -> tuple[str, ...]:
    """Return what a spreadsheet may have made of a name that is a number: without leading zeros, and to few digits.

    "0012" gives ("12",), a name of 16 digits also what is left of it in 15. () for anything but a whole number.
    """
    if not (stem.isascii() and stem.isdecimal()):
        return ()
    number = str(int(stem)) if len(stem) < 4000 else stem
    return (number,) if len(number) <= 15 else (number, _rounded(number, 15))


_DECIMAL = re.compile(r"([0-9]+)[.,]0+")
_POWER = re.compile(r"([0-9])(?:[.,]([0-9]*))?[eE]\+?([0-9]{1,3})")


def lost_digits(text: str) -> tuple[str, int] | None:
    """Read a number that a spreadsheet shortened, such as 1.23E+15: its leading digits, and how many it had; else None."""
    match = _POWER.fullmatch(text.strip())
    if match is None:
        return None
    digits = match[1] + (match[2] or "")
    return digits, int(match[3]) + 1


def shortened_to(stem: str, digits: str, length: int) -> bool:
    """Tell whether a name, without leading zeros, is a number that `lost_digits` may have come from."""
    number = stem.lstrip("0")
    return number.isascii() and number.isdecimal() and len(number) == length and _rounded(number, len(digits)).startswith(digits)


def whole_number(text: str) -> str:
    """Return a number that came with decimals, such as 12.0, as a whole one."""
    match = _DECIMAL.fullmatch(text)
    return match[1] if match else text


def _rounded(number: str, places: int) -> str:
    if len(number) <= places:
        return number
    head = str(int(number[:places]) + (number[places] >= "5"))
    return head + "0" * (len(number) - places)
