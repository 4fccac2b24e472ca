"""The glossary for a first-year resident: the stages and lesions of the disease, and the terms that the pages use.

The texts are data, in `site_templates/glossary/`: `atlas.toml` holds the terms for any disease and organ, `<disease>.toml` those
of one disease. `atlas.de.toml` holds the German texts of `atlas.toml`, and so on for other languages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from atlas.curation.file import slug_of
from atlas.errors import ConfigurationError
from atlas.records import Scale
from atlas.resources import templates_folder
from atlas.site.book import Book
from atlas.site.views import PlateView
from atlas.toml import listed, read_toml

GENERAL = "atlas.toml"
"""The file of the terms for any disease. A disease called "atlas" does not get it a second time."""

_TAKEN = frozenset(("main", "theme", "stages", "lesions", "words", "sources"))
"""Ids on the glossary page that are not entries."""


@dataclass(frozen=True)
class Entry:
    """One term.

    Parameters
    ----------
    key : str
        Its id on the page.
    name : str
        The term.
    words : str
        What it means. The first sentence must be clear without the others.
    also : tuple[str, ...]
        Synonyms, abbreviations and other spellings that a reader may search for.
    look : str
        How to recognise it, and what it can be confused with.
    see : tuple[str, ...]
        Keys of related entries.
    source : str
        Where a scale or a figure was published, in brief.
    grade : str
        Name of a stage's grade.
    kinds : tuple[str, ...]
        Names of outlined lesions that show it, in lower case.
    """

    key: str
    name: str
    words: str
    also: tuple[str, ...] = ()
    look: str = ""
    see: tuple[str, ...] = ()
    source: str = ""
    grade: str = ""
    kinds: tuple[str, ...] = ()

    @property
    def short(self) -> str:
        """The first sentence."""
        return self.words.split(". ")[0].rstrip(".") + "."


class Glossary(Mapping[str, Entry]):
    """The entries that apply to a scale, by key and by section. Without a file for the disease there are only `words`.

    Parameters
    ----------
    words : tuple[Entry, ...]
        Terms about scores, maps and figures, with those of the disease first.
    stages : tuple[Entry, ...]
        Stages of the disease.
    lesions : tuple[Entry, ...]
        Lesions and landmarks.
    about_stages : str
        The sentence above the stages.
    sources : tuple[str, ...]
        The publications behind the entries of the disease.
    """

    def __init__(
        self,
        words: tuple[Entry, ...],
        stages: tuple[Entry, ...] = (),
        lesions: tuple[Entry, ...] = (),
        about_stages: str = "",
        sources: tuple[str, ...] = (),
    ) -> None:
        self.words, self.stages, self.lesions = words, stages, lesions
        self.about_stages, self.sources = about_stages, sources
        self._by_key = {entry.key: entry for entry in (*stages, *lesions, *words)}

    def __getitem__(self, key: str) -> Entry:
        return self._by_key[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_key)

    def __len__(self) -> int:
        return len(self._by_key)


def known(scale: Scale, folder: Path | None = None, language: str = "en") -> Glossary:
    """Return the entries that apply to a scale: the general terms, and those of its disease if there is a file for it.

    Parameters
    ----------
    scale : Scale
        The grades, with the name of the disease.
    folder : Path or None
        Folder of the files; by default that of this package.
    language : str
        Code such as "de". An entry that has no translation stays English.

    Raises
    ------
    ConfigurationError
        If a file has faults. It names the file, the entry and the key of every fault.
    """
    folder = folder or templates_folder() / "glossary"
    general = _read(folder / GENERAL, _GeneralFile)
    if faults := _leads_nowhere({"words": general.words}, general.words):
        raise _unusable(folder / GENERAL, faults)
    spoken = _translation(folder / GENERAL, language, {"words": general.words})
    words = _entries(general.words, spoken.words)
    slug = slug_of(scale.disease)
    file = folder / f"{slug}.toml"
    if not slug or file.name == GENERAL or not file.is_file():
        return Glossary(words)
    own = _read(file, _DiseaseFile)
    sections: dict[str, Mapping[str, _Word]] = {"stages": own.stages, "lesions": own.lesions, "words": own.words}
    every = {**general.words, **own.stages, **own.lesions, **own.words}
    if faults := _twice(sections, general.words) + _same_grade(own.stages) + _leads_nowhere(sections, every):
        raise _unusable(file, faults)
    spoken = _translation(file, language, sections)
    return Glossary(
        _entries(own.words, spoken.words) + words,
        _entries(own.stages, spoken.stages),
        _entries(own.lesions, spoken.lesions),
        spoken.about_stages or own.about_stages,
        own.sources,
    )


def same_stages(scale: Scale, glossary: Glossary) -> bool:
    """Return whether the scale's grades are those that the stages of the glossary describe."""
    return scale.names == tuple(entry.grade for entry in glossary.stages if entry.grade)


def glossary_pages(book: Book) -> Iterator[tuple[str, dict[str, Any]]]:
    scale = book.atlas.dataset.scale
    glossary = known(scale, language=book.words.language)
    same = same_stages(scale, glossary)
    yield (
        "glossary.html",
        {
            "stages": [(entry, _typical(book, entry) if same else None) for entry in glossary.stages],
            "lesions": [(entry, _outlined(book, entry)) for entry in glossary.lesions],
            "words": glossary.words,
            "entries": glossary,
            "about_stages": glossary.about_stages,
            "sources": glossary.sources,
        },
    )


def _typical(book: Book, entry: Entry) -> PlateView | None:
    """Return a plate that shows the stage."""
    names = book.atlas.dataset.scale.names
    return book.typical_of(book.grades[names.index(entry.grade)]) if entry.grade else None


def _outlined(book: Book, entry: Entry) -> tuple[PlateView, int] | None:
    """Return the plate on which an outlined lesion covers the largest area, and how many plates have the lesion."""
    found = [
        (sum(len(cells) for kind, cells in lesions.items() if kind.lower() in entry.kinds), image_id)
        for image_id, lesions in sorted(book.atlas.lesions.items())
        if image_id in book.plate
    ]
    found = [(size, image_id) for size, image_id in found if size]
    return (book.plate[max(found, key=lambda pair: pair[0])[1]], len(found)) if found else None


# ---- The files


def _one_line(text: str) -> str:
    """Join text that runs over several lines of the file. Other spaces stay, because some must not break."""
    joined = re.sub(r"[ \t]*\n[ \t\n]*", " ", text).strip(" \t")
    if not joined:
        raise ValueError("expected some text, found none")
    return joined


def _place(key: str) -> str:
    if slug_of(key) != key:
        raise ValueError("expected a key of lower-case letters, digits and single hyphens")
    if key in _TAKEN:
        raise ValueError("the page already uses this key for something else; choose a different one")
    return key


_Text = Annotated[str, AfterValidator(_one_line)]
_Key = Annotated[str, AfterValidator(_place)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Translated(_Table):
    name: _Text
    words: _Text
    also: tuple[_Text, ...] = ()
    look: _Text = ""


class _Word(_Translated):
    see: tuple[str, ...] = ()
    source: _Text = ""


class _Stage(_Word):
    grade: _Text = ""


class _Lesion(_Word):
    kinds: tuple[Annotated[_Text, AfterValidator(str.lower)], ...] = ()


class _GeneralFile(_Table):
    words: dict[_Key, _Word] = Field(min_length=1)


class _DiseaseFile(_Table):
    about_stages: _Text
    stages: dict[_Key, _Stage] = Field(min_length=1)
    lesions: dict[_Key, _Lesion] = Field(min_length=1)
    words: dict[_Key, _Word] = {}
    sources: tuple[_Text, ...] = ()


class _TranslatedFile(_Table):
    about_stages: _Text = ""
    stages: dict[str, _Translated] = {}
    lesions: dict[str, _Translated] = {}
    words: dict[str, _Translated] = {}


_File = TypeVar("_File", bound=_Table)


def _read(file: Path, kind: type[_File]) -> _File:
    values = read_toml(file, absent="install atlas again.", invalid="fix the line named above.")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise _unusable(file, [_sentence(fault) for fault in error.errors()]) from None


def _translation(file: Path, language: str, sections: Mapping[str, Mapping[str, _Word]]) -> _TranslatedFile:
    """Return the texts of a file in another language; empty if there are none."""
    translated = file.with_name(f"{file.stem}.{language}.toml")
    if not translated.is_file():
        return _TranslatedFile()
    spoken = _read(translated, _TranslatedFile)
    faults = [
        f"{section}.{key}: there is no such entry in {file.name}"
        for section in ("stages", "lesions", "words")
        for key in getattr(spoken, section)
        if key not in sections.get(section, {})
    ]
    if faults:
        raise _unusable(translated, faults)
    return spoken


def _entries(section: Mapping[str, _Word], spoken: Mapping[str, _Translated]) -> tuple[Entry, ...]:
    """Return the entries of a section, each in the language of `spoken` if it has a translation."""
    entries = (Entry(key, **text.model_dump()) for key, text in section.items())
    return tuple(replace(entry, **spoken[entry.key].model_dump()) if entry.key in spoken else entry for entry in entries)


def _leads_nowhere(sections: Mapping[str, Mapping[str, _Word]], every: Mapping[str, _Word]) -> list[str]:
    """Return a line on each cross-reference that leads to no other entry."""
    return [
        f"{section}.{key}, see[{place}]: there is no other entry with this key (got {to!r})"
        for section, entries in sections.items()
        for key, entry in entries.items()
        for place, to in enumerate(entry.see, start=1)
        if to not in every or to == key
    ]


def _twice(sections: Mapping[str, Mapping[str, _Word]], general: Mapping[str, _Word]) -> list[str]:
    """Return a line on each key that is used twice. A key is the id of one entry on the page."""
    used = {key: f"words.{key} in {GENERAL}" for key in general}
    faults = []
    for section, entries in sections.items():
        for key in entries:
            if key in used:
                faults.append(f"{section}.{key}: this key is already used by {used[key]}; choose a different one")
            used.setdefault(key, f"{section}.{key}")
    return faults


def _same_grade(stages: Mapping[str, _Stage]) -> list[str]:
    """Return a line on each stage that has the grade of an earlier one."""
    first: dict[str, str] = {}
    return [
        f"stages.{key}, grade: {stage.grade!r} is already the grade of stages.{first[stage.grade]}"
        for key, stage in stages.items()
        if stage.grade and first.setdefault(stage.grade, key) != key
    ]


def _unusable(file: Path, faults: list[str]) -> ConfigurationError:
    count = f"{len(faults)} fault{'s' if len(faults) != 1 else ''}"
    return ConfigurationError(
        f"{count} in {file}:\n" + listed(faults),
        f"fix the entries named above; the first lines of {GENERAL} and diabetic-retinopathy.toml explain what an entry holds.",
    )


_EXPECTED = {
    "missing": "is missing",
    "extra_forbidden": "there is no such key",
    "string_type": "expected text in quotes",
    "tuple_type": "expected a list in square brackets",
    "dict_type": "expected a table",
    "model_type": "expected a table",
    "model_attributes_type": "expected a table",
    "too_short": "expected at least one entry",
}


def _sentence(fault: Any) -> str:
    """Return a fault with its place: section.entry, key[number in a list]."""
    section, *rest = (part for part in fault["loc"] if part != "[key]")
    place = str(section)
    for depth, part in enumerate(rest):
        place += f"[{part + 1}]" if isinstance(part, int) else f"{', ' if depth else '.'}{part}"  # people count from 1
    message = _EXPECTED.get(fault["type"], str(fault["msg"]).removeprefix("Value error, "))
    found = "" if fault["type"] == "missing" or isinstance(fault["input"], dict | list) else f" (got {fault['input']!r})"
    return f"{place}: {message}{found}"
