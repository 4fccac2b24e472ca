"""The site's words: catalogues that are complete, and numbers, plurals and lists as each language writes them."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po

from atlas.records import noop, ntold, told
from atlas.resources import languages, words_folder
from atlas.site.words import ENGLISH, Words

ROOT = Path(__file__).parent.parent

PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%%")
TAG = re.compile(r"</?[a-zA-Z][^<>]*>")

TRANSLATED = languages()[1:]


def catalogue(language: str) -> Catalog:
    with (words_folder() / f"{language}.po").open("rb") as file:
        return read_po(file, locale=language)


def template() -> Catalog:
    with (words_folder() / "atlas.pot").open("rb") as file:
        return read_po(file)


def texts(message: Message) -> list[tuple[str, str]]:
    """Each English text beside its translation."""
    if isinstance(message.id, str):
        return [(message.id, str(message.string))]
    return list(zip(message.id, message.string, strict=True))


def test_the_template_is_what_the_sources_say(tmp_path: Path) -> None:
    """`make words` was run: the command is taken from the Makefile."""
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    keywords = next(line for line in lines if line.startswith("KEYWORDS :=")).removeprefix("KEYWORDS :=").strip()
    command = next(line for line in lines if "pybabel --quiet extract" in line)
    arguments = command.strip().removeprefix("@$(BIN)/pybabel").replace("$(WORDS)/atlas.pot", str(tmp_path / "atlas.pot"))
    options = [part.strip('"') for part in arguments.replace("$(KEYWORDS)", "KEYWORDS").split()]
    run = "import sys; from babel.messages.frontend import main; sys.argv[0] = 'pybabel'; main()"
    options = [keywords if part == "KEYWORDS" else part for part in options]
    done = subprocess.run([sys.executable, "-c", run, *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (words_folder() / "atlas.pot").read_text("utf-8") == (tmp_path / "atlas.pot").read_text("utf-8"), "run make words"


def test_there_are_drafts_in_german_and_spanish() -> None:
    assert languages() == ("en", "de", "es")
    assert not ENGLISH.draft
    assert all(Words.of(language).draft for language in TRANSLATED)


@pytest.mark.parametrize("language", TRANSLATED)
def test_each_catalogue_holds_every_message_and_no_other(language: str) -> None:
    found = catalogue(language)
    assert {message.id for message in found if message.id} == {message.id for message in template() if message.id}
    assert not found.obsolete


@pytest.mark.parametrize("language", TRANSLATED)
def test_each_message_is_translated(language: str) -> None:
    missing = [
        message.id for message in catalogue(language) if message.id and (message.fuzzy or not all(dict(texts(message)).values()))
    ]
    assert missing == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_translations_keep_placeholders_and_tags(language: str) -> None:
    for message in catalogue(language):
        for english, translation in texts(message) if message.id else ():
            if not translation:
                continue  # named by the test above
            for pattern in (PLACEHOLDER, TAG):
                assert sorted(pattern.findall(translation)) == sorted(pattern.findall(english)), f"{language}: {english}"


def test_placeholders_have_names() -> None:
    """A lone percent sign, or a value without a name, would break where the values are put in."""
    for message in template():
        for english in [message.id] if isinstance(message.id, str) else message.id:
            assert "%" not in PLACEHOLDER.sub("", english), english


@pytest.mark.parametrize(
    ("language", "number", "percent", "small", "count", "listed"),
    [
        ("en", "−1234.50", "95%", "4.2%", "12,345", "a, b and c"),
        ("de", "−1234,50", "95\N{NO-BREAK SPACE}%", "4,2\N{NO-BREAK SPACE}%", "12.345", "a, b und c"),
        ("es", "−1234,50", "95\N{NO-BREAK SPACE}%", "4,2\N{NO-BREAK SPACE}%", "12.345", "a, b y c"),
    ],
)
def test_numbers_and_lists_follow_the_language(
    language: str, number: str, percent: str, small: str, count: str, listed: str
) -> None:
    words = Words.of(language)
    assert words.number(-1234.5) == number
    assert words.percent(0.95) == percent
    assert words.percent(0.042) == small
    assert words.count(12345) == count
    assert words.list_of(["a", "b", "c"]) == listed
    assert words.list_of(["a"]) == "a"
    assert words.separators == (".," if language == "en" else ",.")


def test_numbers_have_a_true_minus_sign_and_no_negative_zero() -> None:
    assert ENGLISH.number(-0.001) == "0.00"
    assert ENGLISH.number(-2, 0) == "−2"
    assert ENGLISH.number(None) == ENGLISH.number(math.nan) == "–"
    assert [ENGLISH.signed(value) for value in (0.5, -0.5, 0.0, -0.001, math.nan)] == ["+0.50", "−0.50", "0.00", "0.00", "–"]
    assert [ENGLISH.fine(value) for value in (0.5, 0.0123, -0.00012)] == ["+0.50", "+0.012", "−0.00012"]
    assert [ENGLISH.percent(share) for share in (0.0, 0.0004, 0.0994, 0.0995, 1.0)] == ["0%", "0.0%", "9.9%", "10%", "100%"]
    assert [ENGLISH.plain(value) for value in (0.2, 3.0, 0.000125, 1234.5)] == ["0.2", "3", "0.000125", "1234.5"]


def test_a_sentence_made_below_the_site_is_english_text_and_its_parts() -> None:
    several = ntold("%(n)s photograph", "%(n)s photographs", 1200)
    one = ntold("%(n)s patch", "%(n)s patches", 1)
    whole = told("The curation of this atlas leaves out %(things)s.", things=(several, one))
    assert whole == "The curation of this atlas leaves out 1,200 photographs and 1 patch."
    assert ENGLISH.told(whole) == whole
    assert ENGLISH.told("A sentence of somebody else, 100 %") == "A sentence of somebody else, 100 %"


def test_sentences_and_names_are_told_in_another_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "de.po").write_text(
        'msgid ""\nmsgstr "Plural-Forms: nplurals=2; plural=(n != 1);\\n"\n'
        'msgid "%(n)s eye of %(share)s"\nmsgid_plural "%(n)s eyes of %(share)s"\n'
        'msgstr[0] "%(n)s Auge von %(share)s"\nmsgstr[1] "%(n)s Augen von %(share)s"\n'
        'msgid "mild"\nmsgstr "leicht"\n'
        '#: site_templates/js/strip.js\nmsgid "100%%"\nmsgstr "100 %%"\n'
        'msgid "empty"\nmsgstr ""\n',
        encoding="utf-8",
    )
    monkeypatch.setattr("atlas.site.words.words_folder", lambda: tmp_path)
    words = Words.of("de")
    assert words.told(ntold("%(n)s eye of %(share)s", "%(n)s eyes of %(share)s", 2000, share=0.25)) == "2.000 Augen von 0,25"
    assert words.ngettext("%(n)s eye of %(share)s", "%(n)s eyes of %(share)s", 1, share="x") == "1 Auge von x"
    assert words.named(noop("mild")) == "leicht"
    assert words.named("100% sure") == "100% sure"
    assert words.named("") == ""
    assert words.gettext("empty") == "empty"
    assert words.script == {"language": "de", "messages": {"100%%": "100 %%"}}
