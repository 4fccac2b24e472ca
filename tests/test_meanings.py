"""What words of a search mean: every name of the glossary and of the kinds of lesion leads somewhere, in each language."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from drawn_atlas import drawn_atlas, with_lesions

from atlas.cohort.lesions import KINDS
from atlas.records import Atlas, Mark, Scale
from atlas.records import Words as Curated
from atlas.site.book import Book
from atlas.site.glossary import known
from atlas.site.meanings import meanings
from atlas.site.words import Words

LANGUAGES = ("en", "de", "es")


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    drawn = with_lesions(drawn_atlas(tmp_path_factory.mktemp("meanings") / "pictures", count=20))
    return replace(drawn, curation=replace(drawn.curation, clusters={1: Curated("Ring of lipid", "")}))


def senses(atlas: Atlas, language: str = "en") -> dict[str, dict[str, Any]]:
    found = meanings(Book(atlas, words=Words.of(language)))
    assert len({one["key"] for one in found}) == len(found)
    return {one["key"]: one for one in found}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_entry_of_the_glossary_is_found_by_each_of_its_names_in_its_language_and_in_english(
    atlas: Atlas, language: str
) -> None:
    found = senses(atlas, language)
    words = {word for one in found.values() for word in one["words"]}
    for tongue in (language, "en"):
        for entry in known(atlas.dataset.scale, language=tongue).values():
            assert {entry.name, *entry.also} <= words
    entries = known(atlas.dataset.scale)
    for key in found:
        sort, _, value = key.partition(":")
        assert sort in ("lesion", "marked", "grade", "cluster", "term")
        assert sort != "term" or value in entries


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("lesion:haemorrhage", {"haemorrhage", "hemorrhage", "HE", "dot haemorrhage", "blot haemorrhage", "bleeding"}),
        ("lesion:hard_exudate", {"hard exudates", "exudates", "EX", "lipid exudate"}),
        ("grade:3", {"severe", "severe NPDR", "Grade 3"}),
        ("grade:4", {"proliferative", "PDR"}),
        ("cluster:1", {"Ring of lipid", "Cluster 1"}),
        ("term:irma", {"IRMA", "intraretinal microvascular abnormality"}),
        ("term:macular-oedema", {"DME", "DMO", "diabetic macular edema"}),
        ("term:new-vessels", {"NV", "NVD", "NVE", "neovascularization"}),
    ],
)
def test_spellings_and_abbreviations_of_the_field_are_known(atlas: Atlas, key: str, words: set[str]) -> None:
    assert words <= set(senses(atlas)[key]["words"])


def test_what_a_person_marked_is_found_in_its_photographs(atlas: Atlas) -> None:
    image = atlas.strip.image_ids[4]
    marked = replace(atlas, marked={image: (Mark("haemorrhage", (1, 2, 3, 4), source="outline"),)})
    found = senses(marked)["marked:haemorrhage"]
    assert found["rows"] == [4]
    assert "hemorrhage" in found["words"]
    assert "marked:hard_exudate" not in senses(marked)


def test_only_kinds_that_were_found_are_promised(atlas: Atlas) -> None:
    assert {key for key in senses(atlas) if key.startswith("lesion:")} == {"lesion:haemorrhage", "lesion:hard_exudate"}


def test_another_disease_brings_no_word_of_this_one(tmp_path: Path) -> None:
    cataract = drawn_atlas(tmp_path / "pictures", scale=Scale(1, ("clear", "hazy", "opaque"), None, "cataract"), count=6)
    words = {word.lower() for one in senses(cataract).values() for word in one["words"]}
    assert "hazy" in words
    for kind in KINDS.values():
        assert not words & {kind.name, kind.plural, *(synonym.lower() for synonym in kind.synonyms)}
