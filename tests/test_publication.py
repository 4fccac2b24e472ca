"""A publication replaces an atlas only with a complete one, and replaces nothing else."""

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
    assert publication.kept == ("link", "quiz.html, now quiz.html.kept", "slides/lecture.pdf")
    assert (out / "slides" / "lecture.pdf").read_text() == "slides"
    assert (out / "quiz.html").read_text() == "a quiz"
    assert (out / "quiz.html.kept").read_text() == "my own quiz"
    assert (out / "link").readlink() == Path("slides")
    assert publish(out, "third").kept == ("link", "quiz.html.kept", "slides/lecture.pdf"), "and stay the user's"


def test_whatever_the_user_put_into_an_atlas_moves_on(tmp_path: Path) -> None:
    """Files where the new site has folders, folders where it has files, empty folders, pipes, and names no terminal can show."""
    out = tmp_path / "site"
    publish(out, "first")
    (out / "tables").write_text("a file, where a later site has a folder")
    (out / "quiz.html").mkdir()
    (out / "quiz.html" / "a").write_text("a")
    (out / "quiz.html" / "b").write_text("b")
    (out / "empty" / "too").mkdir(parents=True)
    (out / "line\nbreak").write_text("odd")
    os.mkfifo(out / "pipe")
    publication = Publication(out)
    with publication as folder:
        (folder / "index.html").write_text("second")
        (folder / "run.json").write_text(json.dumps({"made_by": "lesion-atlas"}))
        (folder / "quiz.html").write_text("a quiz")
        (folder / "tables").mkdir()
        (folder / "tables" / "images.csv").write_text("rows")
    assert (out / "tables" / "images.csv").read_text() == "rows"
    assert (out / "tables.kept").read_text() == "a file, where a later site has a folder"
    assert (out / "quiz.html").read_text() == "a quiz"
    assert [(out / "quiz.html.kept" / name).read_text() for name in "ab"] == ["a", "b"]
    assert (out / "empty" / "too").is_dir()
    assert (out / "line\nbreak").read_text() == "odd"
    assert (out / "pipe").is_fifo()
    assert "line\nbreak" in publication.kept
    assert "empty/too/" in publication.kept
    assert "tables, now tables.kept" in publication.kept


def test_an_atlas_whose_place_was_made_again_after_a_kill_comes_back(tmp_path: Path) -> None:
    out = tmp_path / "site"
    publish(out, "first")
    (out / "my notes.txt").write_text("mine")
    out.rename(tmp_path / ".site.old")  # where a kill leaves the old site
    out.mkdir()
    with pytest.raises(RuntimeError):
        break_midway(out, RuntimeError)
    assert (out / "index.html").read_text() == "first"
    assert (out / "my notes.txt").read_text() == "mine"


def test_the_old_atlas_is_back_at_once_where_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where a folder with an open file cannot be renamed."""
    out = tmp_path / "site"
    publish(out, "first")
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.name == ".site.new":
            raise PermissionError(13, "The process cannot access the file", str(path))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(StoreError, match="the old atlas is unchanged"):
        publish(out, "second")
    assert (out / "index.html").read_text() == "first"
    assert names(tmp_path) == ["site"]


def test_a_full_disk_leaves_the_old_atlas(tmp_path: Path) -> None:
    """A process that may write files of ten bytes only: the list of files is longer."""
    out = tmp_path / "site"
    publish(out, "first")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    script = """
import resource, signal, sys
from pathlib import Path
from atlas.errors import StoreError
from atlas.pipeline.publication import Publication
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    with Publication(Path(sys.argv[1])) as folder:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
        (folder / "index.html").write_text("second")
except StoreError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", script, out], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) in told
    assert "make room" in told
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert names(tmp_path) == ["site"]


def test_a_folder_on_which_a_disk_is_mounted_is_refused_before_the_work(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", disk], capture_output=True, check=False).returncode:
        pytest.skip("only an administrator may mount a disk")
    try:
        with pytest.raises(StoreError, match="mounted"), Publication(disk):
            pass
        publish(disk / "atlas", "first")
        assert (disk / "atlas" / "index.html").read_text() == "first"
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_file_in_the_place_of_the_lock_is_not_deleted(tmp_path: Path) -> None:
    (tmp_path / ".site.lock").write_text("years of work")
    publish(tmp_path / "site", "first")
    assert (tmp_path / ".site.lock").read_text() == "years of work"


@pytest.mark.parametrize("beside", [".site.old", ".site.new"])
def test_a_link_beside_it_is_somebody_elses(tmp_path: Path, beside: str) -> None:
    publish(tmp_path / "elsewhere", "another atlas")
    (tmp_path / beside).symlink_to("elsewhere")
    with pytest.raises(StoreError, match=beside):
        publish(tmp_path / "site", "new")
    assert (tmp_path / beside).is_symlink()
    assert (tmp_path / "elsewhere" / "index.html").read_text() == "another atlas"
    assert not (tmp_path / "site").exists()


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
    broken, to_file, file = tmp_path / "broken", tmp_path / "to-file", tmp_path / "file"
    broken.symlink_to(tmp_path / "nowhere")
    to_file.symlink_to(file)
    file.write_text("text")
    for place, fault in (
        (broken, "link to nothing"),
        (to_file, "link to something that is not a folder"),
        (Path("/"), "root"),
        (file, "not an atlas"),
    ):
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
