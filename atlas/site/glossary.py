"""The words of the atlas for a first-year resident: stages and lesions of its disease, and what the pages speak of.

The words themselves are data, in `site_templates/glossary/`: `atlas.toml` holds those of any disease, `<disease>.toml` those of
one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
"""The file of the words that hold for any disease; a disease called "atlas" does not get it a second time."""

_TAKEN = frozenset(("main", "theme", "stages", "lesions", "words", "sources"))
"""Places on the glossary page that are not entries."""


@dataclass(frozen=True)
class Entry:
    """One word. `key` is its place on the page; the first sentence of `words` must be clear without the others.

    also : other names.   look : how to recognise it, and what it may be mistaken for.   grade : name of a stage's grade.
    kinds : names of outlined lesions that show it, in small letters.
    """

    key: str
    name: str
    words: str
    also: str = ""
    look: str = ""
    grade: str = ""
    kinds: tuple[str, ...] = ()

    @property
    def short(self) -> str:
        """The first sentence."""
        return self.words.split(". ")[0].rstrip(".") + "."


class Glossary(Mapping[str, Entry]):
    """The entries that apply to a scale, by key and by section. Without a file for the disease there are only `words`.

    about_stages : the sentence above the stages.   sources : where the words about the disease come from.
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


def known(scale: Scale, folder: Path | None = None) -> Glossary:
    """Return the entries that apply to a scale: the general words, and those of its disease where there is a file of them.

    folder : holds the files; those of this package by default.

    Raises ConfigurationError that names the file, the entry and the key of every fault.
    """
    folder = folder or templates_folder() / "glossary"
    general = _read(folder / GENERAL, _GeneralFile)
    words = _entries(general.words)
    slug = slug_of(scale.disease)
    file = folder / f"{slug}.toml"
    if not slug or file.name == GENERAL or not file.is_file():
        return Glossary(words)
    own = _read(file, _DiseaseFile)
    sections: dict[str, Mapping[str, _Word]] = {"stages": own.stages, "lesions": own.lesions}
    if faults := _twice(sections, general.words) + _same_grade(own.stages):
        raise _unusable(file, faults)
    return Glossary(words, _entries(own.stages), _entries(own.lesions), own.about_stages, own.sources)


def same_stages(scale: Scale, glossary: Glossary) -> bool:
    """Whether the scale's grades are those that the stages of the glossary speak of."""
    return scale.names == tuple(entry.grade for entry in glossary.stages if entry.grade)


def glossary_pages(book: Book) -> Iterator[tuple[str, dict[str, Any]]]:
    scale = book.atlas.dataset.scale
    glossary = known(scale)
    same = same_stages(scale, glossary)
    yield (
        "glossary.html",
        {
            "stages": [(entry, _typical(book, entry) if same else None) for entry in glossary.stages],
            "lesions": [(entry, _outlined(book, entry)) for entry in glossary.lesions],
            "words": glossary.words,
            "about_stages": glossary.about_stages,
            "sources": glossary.sources,
        },
    )


def _typical(book: Book, entry: Entry) -> PlateView | None:
    """A plate that shows the stage."""
    names = book.atlas.dataset.scale.names
    return book.typical_of(book.grades[names.index(entry.grade)]) if entry.grade else None


def _outlined(book: Book, entry: Entry) -> tuple[PlateView, int] | None:
    """The plate with most of an outlined lesion, and how many plates have it."""
    found = [
        (sum(len(cells) for kind, cells in lesions.items() if kind.lower() in entry.kinds), image_id)
        for image_id, lesions in sorted(book.atlas.lesions.items())
        if image_id in book.plate
    ]
    found = [(size, image_id) for size, image_id in found if size]
    return (book.plate[max(found, key=lambda pair: pair[0])[1]], len(found)) if found else None


# ---- The files


def _one_line(text: str) -> str:
    """Text may run over several lines of the file. Other spaces stay as they are: some must not break."""
    joined = re.sub(r"[ \t]*\n[ \t\n]*", " ", text).strip(" \t")
    if not joined:
        raise ValueError("expected some text, found none")
    return joined


def _place(key: str) -> str:
    if slug_of(key) != key:
        raise ValueError("expected a key of small letters, digits and single hyphens")
    if key in _TAKEN:
        raise ValueError("this key is another place on the page; choose a different one")
    return key


_Text = Annotated[str, AfterValidator(_one_line)]
_Key = Annotated[str, AfterValidator(_place)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Word(_Table):
    name: _Text
    words: _Text
    also: _Text = ""
    look: _Text = ""


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
    sources: tuple[_Text, ...] = ()


_File = TypeVar("_File", bound=_Table)


def _read(file: Path, kind: type[_File]) -> _File:
    values = read_toml(file, absent="install atlas again.", invalid="fix the line named above.")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise _unusable(file, [_sentence(fault) for fault in error.errors()]) from None


def _entries(section: Mapping[str, _Word]) -> tuple[Entry, ...]:
    return tuple(Entry(key, **text.model_dump()) for key, text in section.items())


def _twice(sections: Mapping[str, Mapping[str, _Word]], general: Mapping[str, _Word]) -> list[str]:
    """Name each key that has been used before: it is one place on one page."""
    used = {key: f"words.{key} in {GENERAL}" for key in general}
    faults = []
    for section, entries in sections.items():
        for key in entries:
            if key in used:
                faults.append(f"{section}.{key}: this key is used already, by {used[key]}; choose a different one")
            used.setdefault(key, f"{section}.{key}")
    return faults


def _same_grade(stages: Mapping[str, _Stage]) -> list[str]:
    """Name each stage that speaks of the grade of an earlier one."""
    first: dict[str, str] = {}
    return [
        f"stages.{key}, grade: {stage.grade!r} is the grade of stages.{first[stage.grade]} already"
        for key, stage in stages.items()
        if stage.grade and first.setdefault(stage.grade, key) != key
    ]


def _unusable(file: Path, faults: list[str]) -> ConfigurationError:
    count = f"{len(faults)} fault{'s' if len(faults) != 1 else ''}"
    return ConfigurationError(
        f"{count} in {file}:\n" + listed(faults),
        f"fix the entries named above; the first lines of {GENERAL} and diabetic-retinopathy.toml say what an entry holds.",
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
    """A fault with its place: section.entry, key[number in a list]."""
    section, *rest = (part for part in fault["loc"] if part != "[key]")
    place = str(section)
    for depth, part in enumerate(rest):
        place += f"[{part + 1}]" if isinstance(part, int) else f"{', ' if depth else '.'}{part}"  # people count from 1
    message = _EXPECTED.get(fault["type"], str(fault["msg"]).removeprefix("Value error, "))
    found = "" if fault["type"] == "missing" or isinstance(fault["input"], dict | list) else f" (got {fault['input']!r})"
    return f"{place}: {message}{found}"
