"""A publication replaces an atlas only by a complete one, and nothing else at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from atlas.errors import StoreError
from atlas.pipeline.publication import Publication, link_or_copy
from atlas.resources import is_atlas

FIRST_HOUSE = Path(__file__).parent / "first_house"


def publish(out: Path, text: str, **others: str) -> Publication:
    publication = Publication(out)
    with publication as folder:
        (folder / "index.html").write_text(text)
        (folder / "run.json").write_text(json.dumps({"made_by": "lesion-atlas"}))
        for name, content in others.items():
            (folder / f"{name}.html").write_text(content)
    return publication


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_complete_site_replaces_the_old_one(tmp_path: Path) -> None:
    out = tmp_path / "site"
    publish(out, "first", quiz="a quiz")
    publication = publish(out, "second")
    assert (out / "index.html").read_text() == "second"
    assert not (out / "quiz.html").exists(), "a page of the old site is not the user's"
    assert publication.kept == ()
    assert names(tmp_path) == ["site"]


def break_midway(out: Path, fault: type[BaseException]) -> None:
    with Publication(out) as folder:
        (folder / "half").write_text("half")
        raise fault


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt])
def test_the_old_site_is_unchanged_when_a_build_breaks(tmp_path: Path, fault: type[BaseException]) -> None:
    out = tmp_path / "site"
    publish(out, "first")
    with pytest.raises(fault):
        break_midway(out, fault)
    assert (out / "index.html").read_text() == "first"
    assert names(tmp_path) == ["site"]


def test_a_build_killed_between_the_renames_loses_nothing(tmp_path: Path) -> None:
    out = tmp_path / "site"
    publish(out, "first")
    out.rename(tmp_path / ".site.old")  # where a kill leaves the old site
    with pytest.raises(RuntimeError):
        break_midway(out, RuntimeError)
    assert (out / "index.html").read_text() == "first"


@pytest.mark.parametrize(
    "held",
    [
        {"chapter.txt": "years of work"},
        {"run.json": "[1, 2]", "index.html": "a home page"},
        {"run.json": json.dumps({"name": "another program's run"}), "index.html": "a home page"},
        {"run.json": json.dumps({"made_by": "lesion-atlas"}), "chapter.txt": "no home page"},
        {"run.json": "{" * 100_000, "index.html": "a home page"},
    ],
)
def test_what_is_not_an_atlas_is_never_replaced(tmp_path: Path, held: dict[str, str]) -> None:
    out = tmp_path / "thesis"
    out.mkdir()
    for name, text in held.items():
        (out / name).write_text(text)
    with pytest.raises(StoreError, match="not an atlas"):
        publish(out, "new")
    assert {path.name: path.read_text() for path in out.iterdir()} == held
    assert names(tmp_path) == ["thesis"]


@pytest.mark.parametrize("beside", [".site.old", ".site.new"])
def test_a_folder_of_somebody_else_beside_it_is_never_deleted(tmp_path: Path, beside: str) -> None:
    (tmp_path / beside).mkdir()
    (tmp_path / beside / "chapter.txt").write_text("years of work")
    with pytest.raises(StoreError, match=beside):
        publish(tmp_path / "site", "new")
    assert (tmp_path / beside / "chapter.txt").read_text() == "years of work"


def test_an_atlas_of_an_earlier_version_is_known_and_replaced(tmp_path: Path) -> None:
    out = tmp_path / "site"
    out.mkdir()
    (out / "run.json").write_bytes((FIRST_HOUSE / "run.json").read_bytes())
    (out / "index.html").write_text("old")
    (out / "strip.html").write_text("old")
    (out / "my notes.txt").write_text("mine")
    assert is_atlas(out)
    assert publish(out, "new").kept == ("my notes.txt",)
    assert (out / "my notes.txt").read_text() == "mine"
    assert not (out / "strip.html").exists()


def test_files_of_the_user_move_on_into_the_new_site(tmp_path: Path) -> None:
    out = tmp_path / "site"
    publish(out, "first")
    (out / "slides").mkdir()
    (out / "slides" / "lecture.pdf").write_text("slides")
    (out / "quiz.html").write_text("my own quiz")
    (out / "link").symlink_to("slides")
    publication = publish(out, "second", quiz="a quiz")
    assert publication.kept == ("link", "quiz.html", "slides/lecture.pdf")
    assert (out / "slides" / "lecture.pdf").read_text() == "slides"
    assert (out / "quiz.html").read_text() == "a quiz"
    assert (out / "quiz.html.kept").read_text() == "my own quiz"
    assert (out / "link").readlink() == Path("slides")
    assert publish(out, "third").kept == ("link", "quiz.html.kept", "slides/lecture.pdf"), "and stay the user's"


def test_two_builds_do_not_write_to_one_folder(tmp_path: Path) -> None:
    out = tmp_path / "site"
    script = "import sys; from pathlib import Path; from atlas.pipeline.publication import Publication;"
    script += "Publication(Path(sys.argv[1])).__enter__()"
    with Publication(out) as folder:
        other = subprocess.run([sys.executable, "-c", script, str(out)], capture_output=True, text=True, check=False)
        assert "another build" in other.stderr
        (folder / "index.html").write_text("mine")
    assert (out / "index.html").read_text() == "mine"


def test_a_link_to_a_folder_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    target, out = tmp_path / "disk" / "site", tmp_path / "site"
    target.mkdir(parents=True)
    out.symlink_to(target)
    for text in ("first", "second"):
        publish(out, text)
        assert out.is_symlink()
        assert (target / "index.html").read_text() == text


def test_places_that_cannot_hold_an_atlas_are_refused(tmp_path: Path) -> None:
    broken, file = tmp_path / "broken", tmp_path / "file"
    broken.symlink_to(tmp_path / "nowhere")
    file.write_text("text")
    for place, fault in ((broken, "link to nothing"), (Path("/"), "root"), (file, "not an atlas")):
        with pytest.raises(StoreError, match=fault):
            publish(place, "new")
    assert broken.is_symlink()
    assert file.read_text() == "text"


@pytest.mark.parametrize("refused", [("symlink",), ("symlink", "link")])
def test_pictures_are_linked_or_copied(tmp_path: Path, refused: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where a user without special rights may make no symbolic link."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(1314, "A required privilege is not held by the client")

    for call in refused:
        monkeypatch.setattr(os, call, refuse)
    (tmp_path / "picture").write_bytes(b"pixels")
    link_or_copy(tmp_path / "picture", tmp_path / "shown")
    assert not (tmp_path / "shown").is_symlink()
    assert (tmp_path / "shown").read_bytes() == b"pixels"
