"""The scripts of the site without a browser. Node runs the tests in tests/js; here are those that compare scripts with Python."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pytest
from babel.messages.extract import extract
from hypothesis import given, settings
from hypothesis import strategies as st
from javascript import evaluate, node

from atlas.curation.file import TEXT, TITLE, read_curation
from atlas.site.quiz import seal
from atlas.site.words import Words

FOLDER = Path(__file__).parent / "js"
SCRIPTS = sorted((Path(__file__).parents[1] / "site_templates" / "js").glob("*.js"))
IMAGE = "0123456789abcdef"
PATCH = f"{IMAGE}-0203w2"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.test.mjs")), ids=lambda file: file.name.partition(".")[0])
def test_scripts_pass_their_own_tests(file: Path) -> None:
    command = [node(), "--test", "--test-reporter=tap", file]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"^# pass (\d+)$", done.stdout, re.MULTILINE)
    assert passed is not None
    assert int(passed[1]) == len(re.findall(r"^test\(", file.read_text(encoding="utf-8"), re.MULTILINE)) > 0


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_translators_are_given_every_message(script: Path) -> None:
    """Babel passes over a message inside a template string, and over one that is not a plain string."""
    code = re.sub(r"^\s*//.*$", "", script.read_text(encoding="utf-8"), flags=re.MULTILINE)
    with script.open("rb") as lines:
        found = list(extract("javascript", lines, keywords={"gettext": None, "ngettext": (1, 2)}))
    messages = re.findall(r"\bn?gettext\((?![a-z])", code)  # a name within the brackets: words of the data
    assert len(found) == len(messages)
    for *_, message, _, _ in found:
        forms = (message,) if isinstance(message, str) else message
        assert not [form for form in forms if re.search(r"%(?!\(\w+\)s|%)", form)], (
            "values are named, and a percent sign is doubled"
        )


@pytest.mark.parametrize("language", ["en", "de", "es"])
def test_numbers_are_written_as_on_the_pages(language: str) -> None:
    random = np.random.default_rng(11)
    values = [0.0, -0.001, 0.0996, *random.normal(0, 10.0 ** random.integers(-4, 6, 300)).tolist()]
    found = evaluate(
        [],
        """(() => {
          const { number, signed, fine, count, percent, list } = page.AtlasFormats(given.language);
          return given.values.map((value) => [
            number(value), signed(value, 1), fine(value), count(Math.trunc(value)), percent(Math.abs(value % 1)), list([1, 2, 3]),
          ]);
        })()""",
        {"language": language, "values": values},
    )
    words = Words.of(language)
    for value, written in zip(values, found, strict=True):
        numbers = [words.number(value), words.signed(value, 1), words.fine(value), words.count(int(value))]
        assert written == [*numbers, words.percent(abs(value) % 1), words.list_of(["1", "2", "3"])]


def test_a_quiz_opens_what_the_build_sealed() -> None:
    answer = {
        "grade": 2,
        "score": 1.87,
        "plate": 5,
        "trust": "ångström",
        "retina": 0,
        "strongest": [1, 1],
        "lesions": {"exudate": [1, 2, 3, 1]},
    }
    deck = {"id": [IMAGE], "shape": [1, 2], "window": 1, "answers": [seal(json.dumps(answer), IMAGE)]}
    assert evaluate(["deck"], "page.AtlasDeck(given).answer(0)", deck) == answer | {
        "strongest": [1],
        "lesions": {"exudate": [1, 2, 6]},
    }


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(_TEXT, _TEXT), min_size=5, max_size=5))
def test_whatever_an_instructor_writes_is_read_back_from_the_file(words: list[tuple[str, str]]) -> None:
    names = ("image", "cluster", "lesson", "first", "second")
    named = {name: {"title": " ".join(title.split()), "note": note} for name, (title, note) in zip(names, words, strict=True)}
    file, wanted = evaluate(
        ["draft"],
        """(() => {
          const draft = page.AtlasDraft({ file: {}, clusters: { 3: [given.patch] }, images: {} });
          const { image, cluster, lesson, first, second } = given;
          draft.write("images", given.image_id, image);
          draft.write("clusters", "3", cluster);
          draft.choose("pins", "images", given.image_id, true);
          draft.choose("exclude", "patches", given.patch, true);
          const stop = (target, { title, note }) => ({ ...target, title, text: note });
          const stops = [stop({ image: given.image_id }, first), stop({ cluster: 3 }, second)];
          draft.put({ title: lesson.title, slug: draft.slug(lesson.title), summary: lesson.note, stops });
          return [draft.toml(), [image, cluster, lesson, first, second].map(({ title, note }) => [title.trim(), note.trim()])];
        })()""",
        {"image_id": IMAGE, "patch": PATCH} | named,
    )
    read = tomllib.loads(file)
    [told] = read["lessons"]
    entries = [read.get("images", {}).get(IMAGE, {}), read["clusters"]["3"], told, *told["stops"]]
    texts = [tuple(entry.get(key, "") for key in keys) for entry, keys in zip(entries, KEYS, strict=True)]
    assert texts == [tuple(pair) for pair in wanted]
    assert read["pins"] == {"images": [IMAGE]}
    assert read["exclude"] == {"patches": [PATCH]}
    assert [told["stops"][0]["image"], told["stops"][1]["cluster"]] == [IMAGE, 3]


KEYS = [("title", "note"), ("title", "note"), ("title", "summary"), ("title", "text"), ("title", "text")]


def test_the_file_of_an_instructor_is_a_valid_curation(tmp_path: Path) -> None:
    note = 'Quotes "so", a backslash \\ and\nthree lines\n"""in quotes"""'
    file = evaluate(
        ["draft"],
        """(() => {
          const draft = page.AtlasDraft({ file: {}, clusters: { 3: [given.patch] }, images: {} });
          draft.write("images", given.image, { title: given.title, note: given.note });
          for (const stop of [{ image: given.image }, { cluster: 3 }, { patch: given.patch }]) {
            const lesson = draft.lessons()[0] ?? { title: "Soft & hard", slug: draft.slug("Soft & hard"), stops: [] };
            draft.put({ ...lesson, stops: [...lesson.stops, { ...stop, text: given.note }] });
          }
          const pins = { images: given.image, patches: given.patch, clusters: 3 };
          for (const [kind, id] of Object.entries(pins)) draft.choose("pins", kind, id, true);
          return draft.toml();
        })()""",
        {"image": IMAGE, "patch": PATCH, "title": "x" * TITLE, "note": note},
    )
    (tmp_path / "curation.toml").write_text(file, encoding="utf-8")
    read = read_curation(tmp_path / "curation.toml")
    assert read.images[IMAGE].model_dump() == {"title": "x" * TITLE, "note": note}
    assert read.clusters[3].patches == (PATCH,)
    assert read.pins.model_dump() == {"images": (IMAGE,), "clusters": (3,), "patches": (PATCH,)}
    assert [(stop.image, stop.cluster, stop.patch, stop.text) for stop in read.lessons[0].stops] == [
        (IMAGE, None, None, note), (None, 3, None, note), (None, None, PATCH, note),
    ]  # fmt: skip
    assert read.lessons[0].slug == "soft-hard"
    assert len(note) < TEXT
