"""The one table of kinds of lesion."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from atlas.records import noop


@dataclass(frozen=True)
class LesionKind:
    """A kind of lesion, as tables, masks and pages tell it.

    Parameters
    ----------
    key : str
        Its name in tables and files.
    name : str
        Its name in words, singular; the site translates it.
    plural : str
        The same, plural.
    letter : str
        What marks it on a picture beside its colour, so that nobody needs to see the colour.
    colour : str
        Of its outlines, #rrggbb; the colours can be told apart by readers with any colour vision (Okabe and Ito, 2008).
    synonyms : tuple[str, ...]
        Other words of the field for it.
    coarse : str
        The kind of which it is a part, where somebody who outlines may have told no more; else itself.
    """

    key: str
    name: str
    plural: str
    letter: str
    colour: str
    synonyms: tuple[str, ...] = ()
    coarse: str = ""


_KINDS = (
    LesionKind("microaneurysm", noop("microaneurysm"), noop("microaneurysms"), "M", "#56b4e9", ("MA", "red dot"), "red_lesion"),
    LesionKind(
        "haemorrhage",
        noop("haemorrhage"),
        noop("haemorrhages"),
        "H",
        "#d55e00",
        ("hemorrhage", "bleeding", "dot and blot", "flame", "HE"),
        "red_lesion",
    ),
    LesionKind("red_lesion", noop("red lesion"), noop("red lesions"), "R", "#cc79a7", ("microaneurysm or haemorrhage",)),
    LesionKind("hard_exudate", noop("hard exudate"), noop("hard exudates"), "E", "#f0e442", ("exudate", "lipid", "EX")),
    LesionKind(
        "cotton_wool_spot", noop("cotton-wool spot"), noop("cotton-wool spots"), "C", "#ffffff", ("soft exudate", "CWS", "SE")
    ),
    LesionKind("venous_beading", noop("venous beading"), noop("beaded veins"), "B", "#0072b2", ("VB",)),
    LesionKind("new_vessels", noop("new vessels"), noop("new vessels"), "N", "#009e73", ("neovascularisation", "NVD", "NVE")),
    LesionKind(
        "preretinal_blood", noop("pre-retinal blood"), noop("pre-retinal blood"), "P", "#e69f00", ("preretinal haemorrhage",)
    ),
)

KINDS: dict[str, LesionKind] = {kind.key: kind for kind in _KINDS}
"""Every kind of lesion, by key; a new one is one entry."""

LATE = ("new_vessels", "preretinal_blood")
"""Keys of the kinds that make an eye proliferative on the international scale."""

LESIONS = tuple(kind.name for kind in _KINDS if kind.key != "red_lesion")
"""Names of the kinds that can be drawn."""


def coarsely(key: str) -> str:
    """Return the coarsest kind that holds a kind: what outlines that do not part them call it."""
    return KINDS[key].coarse or key


def with_threshold(kinds: Iterable[str], thresholds: Collection[str]) -> tuple[str, ...]:
    """Return those of the kinds that have a threshold, by their own names or by those of their coarse kinds."""
    return tuple(kind for kind in kinds if coarsely(kind) in thresholds)


LANDMARKS = ("optic_disc", "fovea")
"""Places of a healthy retina that tables of boxes name as well."""


def kind_of(text: str) -> str | None:
    """Return the key of a kind, or of a landmark, from its key, its name or a synonym in any case; None for anything else."""
    return _BY_WORD.get(_plain(text))


def _plain(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())


_BY_WORD = {
    _plain(word): kind.key for kind in _KINDS for word in (kind.key, kind.name, kind.plural, *kind.synonyms) if len(word) > 1
} | {_plain(name): name for name in LANDMARKS}
