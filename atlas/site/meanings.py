"""What the words of a search mean: the names of kinds of lesion, of grades, of clusters and of the glossary's terms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from atlas.cohort.lesions import KINDS, kind_of
from atlas.site.book import Book
from atlas.site.glossary import Entry, Glossary, known, same_stages


def meanings(book: Book) -> list[dict[str, Any]]:
    """Return the senses that a search can have, for `window.ATLAS_MEANINGS`.

    English names are found in every language, too.

    Returns
    -------
    list[dict[str, Any]]
        `key`: "lesion:<kind>" of a kind that a net found, "marked:<kind>" of one that a person marked, "grade:<number>",
        "cluster:<number>", or "term:<entry>" of a glossary's entry that is none of these.
        `name`: in the language of the pages.
        `words`: all names, synonyms, abbreviations and other spellings.
        `rows`: of "marked:<kind>" alone, the indices of its photographs in `data/images.js`.
    """
    scale = book.atlas.dataset.scale
    glossaries = (known(scale, language=book.words.language), known(scale))
    told: set[str] = set()  # entries that are found with a kind or a grade

    def synonyms(keys: Iterable[str]) -> list[str]:
        keys = list(keys)
        told.update(keys)
        return [text for key in keys for glossary in glossaries for text in (glossary[key].name, *glossary[key].also)]

    senses = [*_kinds(book, glossaries[1], synonyms), *_grades(book, glossaries[1], synonyms)]
    for cluster in book.clusters:
        number = book.words.gettext("Cluster %(number)s", number=cluster.number)
        called = cluster.title, "" if cluster.too_small else cluster.mostly
        senses.append(_sense(f"cluster:{cluster.number}", cluster.name, (*called, number, f"c{cluster.number}")))
    rest = [entry for key, entry in glossaries[0].items() if key not in told]
    return senses + [_sense(f"term:{entry.key}", entry.name, synonyms([entry.key])) for entry in rest]


def _sense(key: str, name: str, words: Iterable[str]) -> dict[str, Any]:
    return {"key": key, "name": name, "words": list(dict.fromkeys(word for word in words if word))}


def _kinds(book: Book, glossary: Glossary, synonyms: Any) -> Iterator[dict[str, Any]]:
    rows = {plate.id: plate.number - 1 for plate in book.plates}
    marked: dict[str, set[int]] = {}
    for image, marks in book.atlas.marked.items():
        for mark in marks:
            if mark.kind in KINDS and image in rows:
                marked.setdefault(mark.kind, set()).add(rows[image])
    for image, lesions in book.atlas.lesions.items():
        for name in lesions:
            if (key := kind_of(name)) in KINDS and image in rows:
                marked.setdefault(str(key), set()).add(rows[image])
    found = {kind.key for kind in book.found_counts}
    for key, kind in book.kinds.items():
        if key not in found and key not in marked:
            continue
        english = KINDS[key]
        entries = [entry.key for entry in glossary.lesions if key in map(kind_of, entry.kinds)]
        words = [kind.name, kind.plural, english.name, english.plural, *english.synonyms, *synonyms(entries)]
        if key in found:
            yield _sense(f"lesion:{key}", kind.plural, words)
        if key in marked:
            yield _sense(f"marked:{key}", kind.plural, words) | {"rows": sorted(marked[key])}


def _grades(book: Book, glossary: Glossary, synonyms: Any) -> Iterator[dict[str, Any]]:
    scale = book.atlas.dataset.scale
    stages: dict[str, Entry] = {}
    if same_stages(scale, glossary):
        stages = {entry.grade: entry for entry in glossary.stages if entry.grade}
    for grade in book.grades:
        name = scale.name(grade.number)
        of_stage = synonyms([stages[name].key]) if name in stages else []
        number = book.words.gettext("Grade %(number)s", number=grade.number)
        yield _sense(f"grade:{grade.number}", grade.within, [grade.name, name, number, *of_stage])
