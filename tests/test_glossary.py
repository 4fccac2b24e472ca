"""The glossary: every term that a page underlines is explained, every entry is shown and translated, and faults are named."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from drawn_atlas import drawn_atlas
from jinja2 import Environment, nodes

import atlas.resources
from atlas.errors import ConfigurationError
from atlas.records import DIABETIC_RETINOPATHY, Atlas, Scale
from atlas.resources import templates_folder
from atlas.site.glossary import known, same_stages
from atlas.site.render import render_report, render_site

FOLDER = templates_folder() / "glossary"
GENERAL = FOLDER / "atlas.toml"
DISEASES = sorted(file for file in FOLDER.glob("*.toml") if file != GENERAL and file.suffixes == [".toml"])
LANGUAGES = ("de", "es")
TRANSLATIONS = [(file, file.with_name(f"{file.stem}.{language}.toml")) for file in (GENERAL, *DISEASES) for language in LANGUAGES]
SECTIONS = ("stages", "lesions", "words")
CATARACT = Scale(1, ("clear", "hazy", "opaque"), None, "Senile cataract")
OWN_FILE = '''
about_stages = """
After a scale that was
  made up for this test."""
sources = ["Nobody. A scale of the lens. 2001."]

[stages.clear-lens]
name = "Clear lens"
grade = "clear"
words = "Nothing is seen."

[stages.hazy-lens]
name = "Hazy lens"
grade = "hazy"
words = "A little is seen."

[stages.opaque-lens]
name = "Opaque lens"
grade = "opaque"
words = "Much is seen."

[lesions.spoke]
name = "Spoke"
kinds = ["Cortical Spoke"]
words = "A wedge in the cortex of the lens. It points to the centre."
'''


class Shown(HTMLParser):
    """A page's ids, links with their classes and titles, and its text, white space as one space."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[dict[str, str]] = []
        self._words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "a":
            self.links.append(found)

    def handle_data(self, data: str) -> None:
        self._words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self._words).split())


def shown(file: Path) -> Shown:
    return Shown(file.read_text(encoding="utf-8"))


def joined(text: str) -> str:
    return " ".join(text.split())


def content(file: Path) -> dict[str, Any]:
    return tomllib.loads(file.read_text(encoding="utf-8"))


def entries(file: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return key and table of every entry in a file, in its order, read without the code under test."""
    values = content(file)
    return [pair for section in SECTIONS for pair in values.get(section, {}).items()]


def made(folder: Path, **settings: Any) -> tuple[Atlas, Path]:
    atlas = drawn_atlas(folder / "pictures", **settings)
    render_site(atlas, folder / "pictures", folder / "out")
    return atlas, folder / "out"


@pytest.fixture(scope="module")
def of_retinopathy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("retinopathy"))[1]


@pytest.fixture(scope="module")
def of_cataract(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("cataract"), scale=CATARACT)[1]


@pytest.fixture
def own_templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the templates that renders from now on; return its folder of glossaries."""
    shutil.copytree(templates_folder(), tmp_path / "checkout" / "site_templates")
    monkeypatch.setattr(atlas.resources, "_PACKAGE", tmp_path / "checkout" / "atlas")
    assert templates_folder() == tmp_path / "checkout" / "site_templates"
    return templates_folder() / "glossary"


# ---- Words that pages underline


def keys_of(argument: nodes.Node, tables: dict[str, list[nodes.Expr]]) -> Iterator[Any]:
    """Yield every key that the first argument of `term` may have: a text, one of two, or a value of a table in the template."""
    match argument:
        case nodes.Const():
            yield argument.value
        case nodes.CondExpr(expr1=one, expr2=nodes.Expr() as other):
            yield from keys_of(one, tables)
            yield from keys_of(other, tables)
        case nodes.Call(node=nodes.Getattr(node=nodes.Name(name=table), attr="get")):
            for value in tables[table]:
                yield from keys_of(value, tables)
        case _:
            raise AssertionError(f"line {argument.lineno}: cannot tell which words this underlines")


def underlined() -> Iterator[tuple[str, str]]:
    """Yield template and key of every word that any template or script may underline, whether or not a page comes to it."""
    for file in sorted(templates_folder().glob("*.html*")):
        tree = Environment(extensions=["jinja2.ext.i18n"]).parse(file.read_text(encoding="utf-8"))
        tables = {
            node.target.name: [pair.value for pair in node.node.items]
            for node in tree.find_all(nodes.Assign)
            if isinstance(node.target, nodes.Name) and isinstance(node.node, nodes.Dict)
        }
        for call in tree.find_all(nodes.Call):
            if isinstance(call.node, nodes.Getattr) and call.node.attr == "term":
                yield from ((file.name, key) for key in keys_of(call.args[0], tables))
    for file in sorted((templates_folder() / "js").glob("*.js")):
        yield from ((file.name, key) for key in re.findall(r"glossary\.html#([^\"'`)]*)", file.read_text(encoding="utf-8")))


def test_every_underlined_word_has_an_entry() -> None:
    found = set(underlined())
    assert {key for _, key in found} >= {"severity-score", "kappa", "occlusion", "grad-cam", "rank-correlation"}
    explained = {key for file in (GENERAL, *DISEASES) for key, _ in entries(file)}
    assert {(template, key) for template, key in found if key not in explained} == set()


@pytest.mark.parametrize("site", ["of_retinopathy", "of_cataract"])
def test_every_link_into_the_glossary_leads_to_something(site: str, request: pytest.FixtureRequest) -> None:
    out: Path = request.getfixturevalue(site)
    places = set(shown(out / "glossary.html").ids)
    links = [
        (page.relative_to(out).as_posix(), link["href"].partition("#")[2])
        for page in sorted(out.rglob("*.html"))
        for link in shown(page).links
        if "glossary.html#" in link.get("href", "")
    ]
    assert len({page for page, _ in links}) > 5
    assert [(page, place) for page, place in links if place not in places] == []


def test_an_underlined_word_shows_the_first_sentence_of_its_entry(of_retinopathy: Path) -> None:
    terms = [link for link in shown(of_retinopathy / "index.html").links if "term" in link.get("class", "").split()]
    words = {key: joined(entry["words"]) for key, entry in entries(GENERAL)}
    assert terms
    for term in terms:
        key = term["href"].partition("#")[2]
        assert term["title"].endswith(".")
        assert ". " not in term["title"]
        assert words[key].startswith(term["title"])


# ---- What the page shows


@pytest.mark.parametrize("file", DISEASES, ids=lambda file: file.stem)
def test_no_key_belongs_to_two_entries(file: Path) -> None:
    keys = [key for one in (GENERAL, file) for key, _ in entries(one)]
    assert sorted(keys) == sorted(set(keys))


@pytest.mark.parametrize("file", DISEASES, ids=lambda file: file.stem)
def test_a_file_is_found_by_the_name_of_its_disease(file: Path) -> None:
    disease = file.stem.replace("-", " ")
    for name in (disease, disease.upper(), f"  {disease.title()} "):
        assert [entry.key for entry in known(Scale(0, ("a", "b"), None, name)).stages] == list(content(file)["stages"])


def test_the_page_shows_every_entry_of_both_files_once(of_retinopathy: Path) -> None:
    page = shown(of_retinopathy / "glossary.html")
    assert sorted(page.ids) == sorted(set(page.ids))
    own = FOLDER / "diabetic-retinopathy.toml"
    every = entries(own) + entries(GENERAL)
    assert [i for i in page.ids if i in {key for key, _ in every}] == [key for key, _ in every]
    for key, entry in every:
        assert page.text.count(joined(entry["words"])) == 1, key
        for text in (entry["name"], *entry.get("also", ()), entry.get("look", ""), entry.get("source", "")):
            assert joined(text) in page.text, key
    for text in (content(own)["about_stages"], *content(own)["sources"]):
        assert joined(text) in page.text
    linked = [link["href"].removeprefix("#") for link in page.links if link.get("href", "").startswith("#")]
    assert {key for key, _ in every} <= set(linked)


def test_a_disease_without_a_file_gets_the_general_words_alone(of_cataract: Path) -> None:
    page = shown(of_cataract / "glossary.html")
    assert [i for i in page.ids if i not in ("share", "theme", "main", "words")] == [key for key, _ in entries(GENERAL)]
    of_an_eye = (
        r"retin|fundus|fovea|macul|aneurysm|haemorrhage|exudate|diabet|vessel|vein|optic|ophthalm|laser|drusen|lesion net"
        r"|\beyes?\b"
    )
    for key, entry in entries(GENERAL):
        assert joined(entry["words"]) in page.text, key
    assert re.findall(of_an_eye, page.text.lower()) == []
    for other in ("index.html", "quiz.html"):
        assert not [
            link for link in shown(of_cataract / other).links if re.search(r"glossary\.html#(stages|lesions)$", link["href"])
        ]


@pytest.mark.parametrize("disease", ["atlas", "Atlas", "", "  ", "眼", "../atlas", "retinopathy", "non-diabetic retinopathy"])
def test_only_the_name_of_the_disease_brings_its_words(disease: str) -> None:
    glossary = known(Scale(0, ("a", "b"), None, disease))
    assert list(glossary) == [key for key, _ in entries(GENERAL)]
    assert (glossary.stages, glossary.lesions, glossary.sources) == ((), (), ())


def test_stages_have_a_typical_photograph_only_where_the_grades_are_theirs(of_retinopathy: Path, tmp_path: Path) -> None:
    assert same_stages(DIABETIC_RETINOPATHY, known(DIABETIC_RETINOPATHY))
    median = "has the median score of its grade"
    assert shown(of_retinopathy / "glossary.html").text.count(median) == len(DIABETIC_RETINOPATHY.names)
    other = Scale(0, ("none", "some", "much"), 1, "diabetic retinopathy")
    _, out = made(tmp_path, scale=other)
    page = shown(out / "glossary.html")
    assert "microaneurysm" in page.ids
    assert median not in page.text


def test_another_disease_brings_its_own_file(own_templates: Path, tmp_path: Path) -> None:
    (own_templates / "senile-cataract.toml").write_text(OWN_FILE, encoding="utf-8")
    drawn, out = made(tmp_path, scale=CATARACT)
    page = shown(out / "glossary.html")
    assert [i for i in page.ids if "lens" in i or "spoke" in i] == ["clear-lens", "hazy-lens", "opaque-lens", "spoke"]
    assert "After a scale that was made up for this test." in page.text
    assert "Nobody. A scale of the lens. 2001." in page.text
    assert "Stages and lesions of Senile cataract" in page.text
    assert not re.search("retinopathy|diabet|aneurysm|exudate", page.text.lower())
    assert page.text.count("has the median score of its grade") == 3
    glossary = known(CATARACT)
    assert glossary["spoke"].kinds == ("cortical spoke",)  # masks' names are compared in small letters
    assert glossary["spoke"].short == "A wedge in the cortex of the lens."
    for other, place in (("index.html", "stages"), ("quiz.html", "stages"), ("quiz.html", "lesions")):
        assert f"glossary.html#{place}" in [link["href"] for link in shown(out / other).links], other
    render_report(drawn, tmp_path / "pictures", drawn.dataset.image_ids[0], tmp_path / "report.html")
    assert "glossary.html" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_text_over_several_lines_is_one_line_and_keeps_its_other_spaces(tmp_path: Path) -> None:
    text = '[words.one]\nname = "One"\nwords = """\n  95\u00a0% of\n  all \t\n\n are. \u202fTrue."""\n'
    for end in ("\n", "\r\n"):
        (tmp_path / "atlas.toml").write_bytes(text.replace("\n", end).encode())
        assert known(CATARACT, tmp_path)["one"].words == "95\u00a0% of all are. \u202fTrue."


# ---- Other languages


def texts(value: Any) -> Iterator[str]:
    """Yield every text in a table, however deep."""
    if isinstance(value, str):
        yield value
    else:
        for one in value.values() if isinstance(value, dict) else value:
            yield from texts(one)


@pytest.mark.parametrize(("file", "translation"), TRANSLATIONS, ids=lambda file: file.stem)
def test_a_translation_has_every_entry_with_the_same_parts_and_no_empty_text(file: Path, translation: Path) -> None:
    english, other = content(file), content(translation)
    assert list(other) == [section for section in english if section != "sources"]
    for section in SECTIONS:
        assert list(other.get(section, {})) == list(english.get(section, {}))
        for key, entry in other.get(section, {}).items():
            assert set(entry) - {"also"} == set(english[section][key]) & {"name", "words", "look"}, key
    assert [text for text in texts(other) if not text.strip()] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_says_its_own_words_with_the_same_cross_references(language: str) -> None:
    english, other = known(DIABETIC_RETINOPATHY), known(DIABETIC_RETINOPATHY, language=language)
    assert list(other) == list(english)
    for key, entry in other.items():
        assert (entry.see, entry.source, entry.grade, entry.kinds) == (
            english[key].see,
            english[key].source,
            english[key].grade,
            english[key].kinds,
        )
        assert entry.words != english[key].words, key
        assert entry.words.startswith(entry.short.removesuffix(".")), key
        # A figure is the same in every language, but for the sign of its decimals.
        assert figures(entry.words) == figures(english[key].words), key
    assert other.about_stages != english.about_stages
    assert other.sources == english.sources


def figures(text: str) -> list[str]:
    return sorted(re.findall(r"\d+(?:\.\d+)*", text.replace(",", ".")))


def test_an_entry_without_a_translation_stays_english(tmp_path: Path) -> None:
    (tmp_path / "atlas.toml").write_text(
        '[words.one]\nname = "One"\nwords = "First."\nsee = ["two"]\n'
        '[words.two]\nname = "Two"\nalso = ["2"]\nwords = "Second."\n',
        encoding="utf-8",
    )
    (tmp_path / "senile-cataract.toml").write_text(OWN_FILE, encoding="utf-8")
    (tmp_path / "atlas.de.toml").write_text('[words.one]\nname = "Eins"\nwords = "Erstes."\n', encoding="utf-8")
    glossary = known(CATARACT, tmp_path, "de")
    assert [(entry.name, entry.words, entry.also) for entry in glossary.words] == [
        ("Eins", "Erstes.", ()),
        ("Two", "Second.", ("2",)),
    ]
    assert glossary["one"].see == ("two",)
    assert glossary["spoke"].name == "Spoke"
    assert glossary.about_stages == "After a scale that was made up for this test."
    (tmp_path / "senile-cataract.de.toml").write_text(
        'about_stages = "Nach einer Skala."\n[lesions.spoke]\nname = "Speiche"\nwords = "Ein Keil."\n', encoding="utf-8"
    )
    glossary = known(CATARACT, tmp_path, "de")
    assert (glossary["spoke"].name, glossary["spoke"].kinds) == ("Speiche", ("cortical spoke",))
    assert (glossary.about_stages, glossary["hazy-lens"].name) == ("Nach einer Skala.", "Hazy lens")
    assert known(CATARACT, tmp_path, "es")["one"].name == "One"


def test_a_translation_of_nothing_is_named(tmp_path: Path) -> None:
    shutil.copy(GENERAL, tmp_path)
    (tmp_path / "atlas.de.toml").write_text('[words.kapa]\nname = "Kappa"\nwords = "Maß."\nlook = ""\n', encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"atlas\.de\.toml:\n  - words\.kapa, look: expected some text"):
        known(CATARACT, tmp_path, "de")
    (tmp_path / "atlas.de.toml").write_text('[words.kapa]\nname = "Kappa"\nwords = "Maß."\n', encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"atlas\.de\.toml:\n  - words\.kapa: there is no such entry in atlas\.toml"):
        known(CATARACT, tmp_path, "de")
    assert known(CATARACT, tmp_path)["kappa"].name


# ---- Faults


FAULTS = {
    "no name": ('name = "Spoke"\n', "", "lesions.spoke, name: is missing"),
    "no words": ('words = "Nothing is seen."', 'words = " "', "stages.clear-lens, words: expected some text"),
    "a number for a text": ('name = "Hazy lens"', "name = 5", "stages.hazy-lens, name: expected text in quotes (got 5)"),
    "a key that nobody reads": ('name = "Spoke"', 'name = "Spoke"\nlooks = "b"', "lesions.spoke, looks: there is no such key"),
    "a text for a list": ('["Cortical Spoke"]', '"Cortical Spoke"', "lesions.spoke, kinds: expected a list in square brackets"),
    "a text for a list of synonyms": ('name = "Spoke"', 'name = "Spoke"\nalso = "b"', "lesions.spoke, also: expected a list"),
    "a cross-reference that leads nowhere": (
        'name = "Spoke"',
        'name = "Spoke"\nsee = ["kappa", "hub"]',
        "lesions.spoke, see[2]: there is no other entry with this key (got 'hub')",
    ),
    "a cross-reference to the entry itself": (
        'name = "Spoke"',
        'name = "Spoke"\nsee = ["spoke"]',
        "lesions.spoke, see[1]: there",
    ),
    "a number in a list": ('["Cortical Spoke"]', '["a", 7]', "lesions.spoke, kinds[2]: expected text in quotes (got 7)"),
    "a text for an entry": (
        "[stages.clear-lens]",
        '[stages]\nclear = "x"\n[stages.a]',
        "stages.clear: expected a table",
    ),
    "a section that nobody reads": ("[lesions.spoke]", '[lesion.a]\nname = "A"\n[lesions.spoke]', "lesion: there is no such key"),
    "no lesions": (OWN_FILE[OWN_FILE.index("[lesions") :], "", "lesions: is missing"),
    "a key of the general words": ("[lesions.spoke]", "[lesions.kappa]", "lesions.kappa: this key is already used by words.ka"),
    "a key of another section": ("[lesions.spoke]", "[lesions.hazy-lens]", "lesions.hazy-lens: this key is already used"),
    "a key of the page itself": (
        "[lesions.spoke]",
        "[lesions.sources]",
        "lesions.sources: the page already uses this key",
    ),
    "a key that is no address": (
        "[lesions.spoke]",
        '[lesions."A spoke"]',
        "lesions.A spoke: expected a key of lower-case letters",
    ),
    "a grade with two stages": (
        'grade = "hazy"',
        'grade = "clear"',
        "stages.hazy-lens, grade: 'clear' is already the grade of",
    ),
    "the same entry twice": ("[stages.hazy-lens]", "[stages.clear-lens]", "not valid TOML"),
    "no closing quote": ('"Spoke"', '"Spoke', "at line 23"),
}


@pytest.mark.parametrize(("before", "after", "message"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_with_its_file_its_entry_and_its_key(tmp_path: Path, before: str, after: str, message: str) -> None:
    shutil.copy(GENERAL, tmp_path)
    file = tmp_path / "senile-cataract.toml"
    file.write_text(OWN_FILE, encoding="utf-8")
    assert known(CATARACT, tmp_path).stages
    assert OWN_FILE.count(before) == 1
    file.write_text(OWN_FILE.replace(before, after), encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        known(CATARACT, tmp_path)
    assert str(file) in caught.value.message
    assert message in caught.value.message
    assert caught.value.remedy
    assert list(known(Scale(0, ("a", "b"), None, "glaucoma"), tmp_path)) == [key for key, _ in entries(GENERAL)]


def test_all_faults_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "atlas.toml").write_text('[words.a]\nname = ""\nwords = 1\n[words.B]\nname = "b"\n', encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        known(CATARACT, tmp_path)
    assert caught.value.message.startswith(f"4 faults in {tmp_path / 'atlas.toml'}:\n")
    for place in ("words.a, name:", "words.a, words:", "words.B:", "words.B, words:"):
        assert f"  - {place}" in caught.value.message


def test_a_general_term_refers_to_general_terms_only(own_templates: Path) -> None:
    file = own_templates / "atlas.toml"
    assert known(DIABETIC_RETINOPATHY, own_templates)["irma"]
    file.write_text(
        file.read_text(encoding="utf-8") + '\n[words.last]\nname = "L"\nwords = "L."\nsee = ["irma"]\n', encoding="utf-8"
    )
    with pytest.raises(ConfigurationError, match=r"atlas\.toml:\n  - words\.last, see\[1\]: there is no other entry"):
        known(DIABETIC_RETINOPATHY, own_templates)


def test_general_words_that_are_missing_or_not_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"atlas\.toml: cannot be read"):
        known(CATARACT, tmp_path)
    (tmp_path / "atlas.toml").write_bytes(b'[words.a]\nname = "\xff"\n')
    with pytest.raises(ConfigurationError, match=r"atlas\.toml: not valid TOML"):
        known(CATARACT, tmp_path)


def test_a_site_with_a_broken_glossary_names_its_file(own_templates: Path, tmp_path: Path) -> None:
    file = own_templates / "diabetic-retinopathy.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('name = "IRMA"', ""), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"diabetic-retinopathy\.toml:\n  - lesions\.irma, name: is missing"):
        made(tmp_path)
