"""Everything in the folder and every row of the table is accounted for, in a list beside the atlas."""

from __future__ import annotations

import csv
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atlas.cli import main
from atlas.drawn.paint import draw_eye
from atlas.errors import ConfigurationError
from atlas.pipeline.rejected import KINDS, count_left_out, listed, rejected_file, require_own, write_rejected
from atlas.records import DatasetReport, Line

BUILD = ("--scorer", "synthetic-alexnet", "--lesion-net", "none", "--clusters", "2")


def rows_of(out: Path) -> list[dict[str, str]]:
    with rejected_file(out).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_every_line_of_a_report_gets_its_row_with_cause_and_remedy(tmp_path: Path) -> None:
    own = {
        kind.field: (Line(f"{kind.field} 1", "why", "do this"), f"/a/{kind.field} 2: why: so. What to do: do that")
        for kind in KINDS
    }
    report = DatasetReport("x", **own, guesses=("a guess",), told=("a sentence",))
    write_rejected(tmp_path / "site", report)
    rows = rows_of(tmp_path / "site")
    assert len(rows) == 2 * len(KINDS)
    for kind in KINDS:
        one, other = (row for row in rows if row["kind"] == kind.words)
        assert (one["what"], one["why"], one["remedy"]) == (f"{kind.field} 1", "why", "do this")
        assert (other["what"], other["why"], other["remedy"]) == (f"/a/{kind.field} 2", "why: so", "do that")
    counted = 2 * sum(kind.left_out for kind in KINDS)
    assert count_left_out(report) == listed(tmp_path / "site") == counted
    listed_fields = {kind.field for kind in KINDS}
    assert listed_fields | {"layout", "guesses", "told"} == set(DatasetReport.__dataclass_fields__)
    write_rejected(tmp_path / "site", DatasetReport("x"))
    assert (rows_of(tmp_path / "site"), listed(tmp_path / "site")) == ([], 0)
    assert listed(tmp_path / "other") is None


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1", "@x", "\tx", "a\x1b[2J", "a\nb", "\udcff.png", 'a,"b"'])
def test_a_name_becomes_no_formula_and_commands_no_terminal(tmp_path: Path, name: str) -> None:
    write_rejected(tmp_path / "site", DatasetReport("x", unreadable=(Line(name, name, name),)))
    (row,) = rows_of(tmp_path / "site")
    for cell in (row["what"], row["why"], row["remedy"]):
        assert cell.isprintable()
        assert not cell.startswith(("=", "+", "-", "@", "\t"))


def test_a_file_of_ones_own_is_never_written_over(tmp_path: Path) -> None:
    require_own(tmp_path / "site")
    write_rejected(tmp_path / "site", DatasetReport("x"))
    require_own(tmp_path / "site")
    rejected_file(tmp_path / "site").write_text("my own list\n")
    with pytest.raises(ConfigurationError, match=r"site\.rejected\.csv"):
        require_own(tmp_path / "site")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three eyes, and at least one of everything else that people and systems put into folders."""
    images = tmp_path / "images"
    (images / "sub").mkdir(parents=True)
    for place in range(3):
        Image.fromarray(draw_eye(place, place, size=96).pixels).save(images / f"eye{place}.png")
    (images / "sub" / "copy.png").write_bytes((images / "eye0.png").read_bytes())
    (images / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut short")
    (images / "empty.png").write_bytes(b"")
    (images / "notes.docx").write_bytes(b"mine")
    (images / "no ending").write_bytes(b"mine")
    (images / "grades.csv").write_text(
        "image,level\neye0,0\neye1,1\neye2,7\nlost,1\ncut,2\nempty,1\npipe,1\nendless,1\nbroken,1\n"
    )
    (images / ".DS_Store").write_bytes(b"system")
    (images / ".trash").mkdir()
    (images / "again").symlink_to(images / "sub", target_is_directory=True)
    (images / "broken.png").symlink_to("nowhere.png")
    (images / "endless.jpg").symlink_to("/dev/zero")
    (images / "link").symlink_to("nowhere")
    os.mkfifo(images / "pipe.jpg")
    os.mkfifo(images / "pipe")
    with (images / "huge.webp").open("wb") as stream:
        stream.write(b"RIFF\xff\xff\xff\x7fWEBPVP8 ")
        stream.truncate(600_000_000)
    with socket.socket(socket.AF_UNIX) as odd:
        odd.bind(os.path.relpath(images / "socket"))
    return images


def test_nothing_in_the_folder_goes_unmentioned(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder.parent / "site"
    command = ["build", str(folder), "--out", str(out), "--store", str(folder.parent / "store"), *BUILD]
    with pytest.raises(SystemExit) as done:
        main(command)
    assert done.value.code == 0
    rows = rows_of(out)
    spoken_of = " ".join(row["what"] for row in rows)
    used = {"eye0.png", "eye1.png", "eye2.png", "sub"}
    everything = {path.relative_to(folder).as_posix() for path in folder.rglob("*")} - used - {"again/copy.png"}
    assert {name for name in everything if name not in spoken_of} == set()
    assert all(row["why"] and row["remedy"] for row in rows)
    left_out = listed(out)
    printed = capsys.readouterr().out
    assert f"{left_out} files and rows were left out" in printed
    assert str(rejected_file(out)) in printed.replace("\n", "")

    # The same build again changes nothing, and with --strict the same list is a failure.
    for _ in range(2):
        with pytest.raises(SystemExit) as done:
            main([*command, "--strict"])
        assert done.value.code == 1
    assert "Nothing has changed" in capsys.readouterr().out
    assert rows_of(out) == rows


def test_rows_are_accounted_for_one_by_one(folder: Path) -> None:
    out = folder.parent / "site"
    arguments = ["build", str(folder), "--grades", str(folder / "grades.csv"), "--out", str(out), *BUILD]
    with pytest.raises(SystemExit) as done:
        main([*arguments, "--store", str(folder.parent / "store"), "--strict"])
    assert done.value.code == 1
    told = {row["what"].rpartition("/")[2]: row["kind"] for row in rows_of(out)}
    assert told["row 4: eye2"] == "grades off the scale"
    assert told["row 5: lost"] == "rows without file"
    for name in ("cut.jpg", "empty.png", "pipe.jpg", "endless.jpg", "broken.png"):
        assert told[name] == "unreadable files"


def test_with_nothing_left_out_strict_is_content(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for place in range(2):
        Image.fromarray(np.roll(draw_eye(place, place, size=96).pixels, place, axis=0)).save(images / f"eye{place}.png")
    out = tmp_path / "site"
    with pytest.raises(SystemExit) as done:
        main(["build", str(images), "--out", str(out), "--store", str(tmp_path / "store"), *BUILD, "--strict"])
    assert done.value.code == 0
    assert rows_of(out) == []


def test_where_nothing_can_be_used_the_list_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = tmp_path / "images"
    images.mkdir()
    Image.fromarray(draw_eye(1, 1, size=96).pixels).save(images / "eye.png")
    (tmp_path / "grades.csv").write_text("image,level\neye,9\nother,1\n")
    out = tmp_path / "site"
    arguments = ["build", str(images), "--grades", str(tmp_path / "grades.csv"), "--out", str(out), *BUILD]
    with pytest.raises(SystemExit) as done:
        main([*arguments, "--store", str(tmp_path / "store")])
    assert done.value.code == 1
    assert not out.exists()
    assert [row["what"] for row in rows_of(out)] == ["row 3: other", "row 2: eye"]
    assert rejected_file(out).name in capsys.readouterr().err
