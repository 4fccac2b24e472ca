"""Hundreds of bad files and tables beside a few good photographs: one build names each, and its pages are those of the good."""

from __future__ import annotations

import csv
import io
import os
import random
import socket
import struct
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import mutations
import numpy as np
import openpyxl
import pytest
from fuzz import pictures
from PIL import Image

from atlas import read_photograph
from atlas.cli import main
from atlas.cohort.names import ENDINGS
from atlas.drawn.paint import draw_eye
from atlas.errors import UnreadableImageError
from atlas.pipeline.rejected import rejected_file

BUILD = ("--scorer", "synthetic-alexnet", "--lesion-net", "none", "--clusters", "2", "--workers", "1")

GOOD = 5

FOREIGN = {
    "text": b"Left eye, taken in spring.\n" * 20,
    "page": b"<!doctype html><html><body><img src=x onerror=alert(1)></body></html>",
    "document": b"%PDF-1.7\n1 0 obj << /Type /Catalog >> endobj\n%%EOF\n",
    "program": b"\x7fELF\x02\x01\x01" + bytes(60),
    "film": b"\x00\x00\x00\x18ftypmp42" + bytes(80),
    "nothing but zeros": bytes(4000),
}
"""What other programs write, in files that are called photographs."""


def bad_pictures() -> dict[str, bytes]:
    """Make files that no decoder may take for a photograph, by name."""
    made: dict[str, bytes] = {}
    for ending in sorted(ENDINGS):
        made[f"empty{ending}"] = b""
        made |= {f"{what} {ending[1:]}{ending}": content for what, content in FOREIGN.items()}
    for number, files in enumerate(pictures()):
        ((name, content),) = files.items()
        assert isinstance(content, bytes)
        for part in range(1, 6):
            made[f"cut{number}-{part}.{name}"] = content[: len(content) * part // 6]
        for trial in range(8):
            damage = mutations.damaged_png if name.endswith("png") and trial % 2 else mutations.damaged
            made[f"damaged{number}-{trial}.{name}"] = damage(content, random.Random(f"{number}/{trial}"))
    return made | giants() | odd_pictures()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int = 8, kind: int = 2, pixels: bytes = b"", *more: bytes) -> bytes:
    """Write a PNG whose header says what it is told."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def giants() -> dict[str, bytes]:
    """Make small files that claim to hold more than any memory does, and bombs that do unpack to much."""
    told = io.BytesIO()
    Image.new("L", (64, 64)).save(told, "JPEG")
    jpeg = told.getvalue()
    frame = jpeg.index(b"\xff\xc0") + 5
    flat = zlib.compress(bytes(12_001 * 1_500), 9)  # 12,000 x 12,000 pixels of one bit, in 18 kB
    huge, no = 2**31 - 1, b""
    return {
        "giant.png": png(huge, huge),
        "giant in one side.png": png(huge, 1),
        "giant of no pixels.png": png(0, 0),
        "giant.bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, huge, huge, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(50),
        "giant.gif": b"GIF89a"
        + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0)
        + b","
        + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0),
        "giant.ppm": b"P6 1000000 1000000 255\n" + bytes(90),
        "giant.pgm": b"P5 " + b"9" * 400 + b" 9 255\n" + bytes(90),
        "giant.jpg": jpeg[:frame] + struct.pack(">HH", 65535, 65535) + jpeg[frame + 4 :],
        "giant.tif": b"II*\x00"
        + struct.pack("<IH", 8, 3)
        + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in ((256, huge), (257, huge), (273, 8)))
        + bytes(4),
        "giant.webp": b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X" + struct.pack("<II", 10, 0) + b"\xff" * 6 + no,
        "bomb.png": png(12_000, 12_000, 1, 0, flat),
        "bomb of text.png": png(
            64, 64, 8, 0, zlib.compress(bytes(65 * 64)), chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(10**8), 9))
        ),
        "bomb of colours.png": png(64, 64, 8, 0, b"", chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(10**8), 9))),
    }


def odd_pictures() -> dict[str, bytes]:
    """Make pictures that are whole, but none that can be scored."""
    made = {}
    for height, width in ((5000, 1), (1, 5000), (3, 3), (15, 40), (100, 401)):
        told = io.BytesIO()
        Image.fromarray(np.full((height, width, 3), 90, np.uint8)).save(told, "PNG")
        made[f"thin {width} x {height}.png"] = told.getvalue()
    for name, samples in (("real", np.full((40, 40), 0.5, np.float32)), ("deep", np.full((40, 40), 2**30, np.int32))):
        told = io.BytesIO()
        Image.fromarray(samples).save(told, "TIFF")
        made[f"{name} numbers.tif"] = told.getvalue()
    return made


def odd_names() -> list[bytes]:
    """Name files as other systems, programs and pranks do."""
    texts = ("眼底.jpg", "עין.png", "👁.png", "two\nlines.png", "\x1b[31mred.jpg", "=cmd|' calc'!A0.jpg", "-rf.jpg", "@x.png")
    more = ("a: b.jpg", 'a, "b".jpg', " space .jpg", "%s%n{0}.png", "$(reboot).jpg", "n" * 240 + ".jpg", "no ending", "x.docx")
    return [
        *(text.encode() for text in (*texts, *more)),
        b"caf\xe9.jpg",
        b"\xff\xfe.png",
        b"\x80\x81.jpg",
        b"film.mp4",
        b"a.tar.gz",
    ]


def bad_tables() -> dict[str, bytes]:
    """Make tables of grades from which no photograph of the cohort can take its grade."""
    plain = "image,level\n" + "".join(f"lost{number},{number % 5}\n" for number in range(6))
    book = openpyxl.Workbook()
    for row in (("image", "level"), *((f"lost{number}", number % 5) for number in range(6))):
        book.active.append(row)
    told = io.BytesIO()
    book.save(told)
    whole = told.getvalue()
    made: dict[str, bytes] = {
        "empty.csv": b"",
        "empty.xlsx": b"",
        "blank.csv": b"\n \n\t\n",
        "header alone.csv": b"image,level\n",
        "no names.csv": b"image,level\n,1\n,2\n",
        "no grades.csv": b"image,level\nlost1,\nlost2,\n",
        "other columns.csv": b"a,b\n1,2\n3,4\n",
        "twice.csv": b"image,image,level\nlost1,lost2,1\nlost3,lost4,2\n",
        "off the scale.csv": plain.replace(",1", ",17").encode(),
        "lost.csv": plain.encode(),
        "open quote.csv": plain.replace("lost2", '"lost2').encode(),
        "wide.csv": b"image,level" + b"," * 100_000 + b"\nlost1,1\n",
        "long line.csv": b"x" * 1_000_000,
        "zeros.csv": bytes(5000),
        "random.csv": random.Random(0).randbytes(5000),
        "utf-16 without its mark.csv": plain.encode("utf-16-be"),
        "half of utf-16.csv": plain.encode("utf-16")[:-1],
        "mixed.csv": plain.encode() + plain.encode("utf-16"),
        "formulas.csv": b"image,level\n=cmd|' /C calc'!A0,1\n+1+1,2\n@x,3\n",
        "commands.csv": b"image,level\n\x1b[2Jlost,1\n\x1b]0;title\x07,2\n",
        "paths.csv": b"image,level\n../../etc/passwd,1\nC:\\eyes\\lost.png,2\n/dev/zero,3\n",
        "nulls.csv": b"image,level\nlo\x00st,1\n\x00,2\n",
        "page.csv": b"<html><table><tr><td>image</td></tr></table></html>",
        "page.xlsx": b"<html><table><tr><td>image</td></tr></table></html>",
        "json.csv": b'[{"image": "lost1", "level": 1}]',
        "old.xls": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
        "old.xlsx": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
        "open.ods": whole,
        "list.txt": b"lost1\nlost2\n",
        "archive.xlsx": packed({"readme.txt": b"no workbook"}),
        "bomb.xlsx": packed({"xl/worksheets/sheet1.xml": bytes(201_000_000)}),
        "nested.xlsx": packed({"inner.xlsx": whole}),
        "workbook.csv": whole[: len(whole) // 2],
    }
    for trial in range(24):
        made[f"damaged{trial}.csv"] = mutations.damaged_text(plain.encode(), random.Random(f"text/{trial}"))
    for part in range(1, 9):
        made[f"cut{part}.xlsx"] = whole[: len(whole) * part // 9]
    for trial in range(24):
        made[f"damaged{trial}.xlsx"] = mutations.damaged_workbook(whole, random.Random(f"book/{trial}"))
    return made


def packed(files: dict[str, bytes]) -> bytes:
    told = io.BytesIO()
    with zipfile.ZipFile(told, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return told.getvalue()


def shown(name: str) -> str:
    """Return a name as the list of what was left out shows it."""
    escaped = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in name)
    return f"'{escaped}" if escaped.startswith(("=", "+", "-", "@")) else escaped


@dataclass(frozen=True)
class Built:
    """A build with a bad corpus beside its photographs, and one without.

    Parameters
    ----------
    files, tables : set of str
        Names of what is bad, as they are shown.
    rows : list of dict
        Of the list of what was left out.
    """

    clean: Path
    site: Path
    files: set[str]
    tables: set[str]
    rows: list[dict[str, str]]


def write_bad_files(folder: Path) -> set[str]:
    """Write the corpus into a folder; return the names relative to it."""
    folder.mkdir()
    names = set()
    for name, content in bad_pictures().items():
        (folder / name).write_bytes(content)
        if name.startswith(("cut", "damaged")) and is_read(folder / name):
            (folder / name).unlink()  # small damage may leave a photograph
        else:
            names.add(name)
    for raw in odd_names():
        with open(os.fsencode(folder) + b"/" + raw, "wb") as stream:  # noqa: PTH123
            stream.write(b"no photograph: " + raw)
        names.add(os.fsdecode(raw))
    for name, target in (
        ("broken.jpg", "nowhere.jpg"),
        ("loop.jpg", "loop.jpg"),
        ("endless.png", "/dev/zero"),
        ("random.tif", "/dev/urandom"),
        ("folder.gif", "."),
    ):
        (folder / name).symlink_to(target)
        names.add(name)
    for name in ("folder.jpg", "folder.PNG"):
        (folder / name).mkdir()
        names.add(name)
    os.mkfifo(folder / "pipe.jpg")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as odd:
        odd.bind(os.path.relpath(folder / "socket.jpg"))
    return names | {"pipe.jpg", "pipe", "socket.jpg"}


def is_read(file: Path) -> bool:
    try:
        with warnings.catch_warnings(action="ignore"):  # damaged notes are no damaged picture
            read_photograph(file)
    except UnreadableImageError:
        return False
    return True


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    place = tmp_path_factory.mktemp("corpus")
    names = [f"eye{number}" for number in range(GOOD)]
    for cohort in ("clean", "bad"):
        (place / cohort / "images").mkdir(parents=True)
        (place / cohort / "tables").mkdir()
        for number, name in enumerate(names):
            Image.fromarray(draw_eye(number, number, size=96).pixels).save(place / cohort / "images" / f"{name}.png")
        files = write_bad_files(place / cohort / "images" / "bad") if cohort == "bad" else set()
        # Every second one is in the table, too.
        rows = [*((name, number) for number, name in enumerate(names)), *((f"bad/{name}", 1) for name in sorted(files)[::2])]
        with (place / cohort / "tables" / "grades.csv").open("w", newline="", encoding="utf-8", errors="surrogateescape") as out:
            csv.writer(out).writerows([("image", "level"), *rows])
    tables = bad_tables()
    for name, content in tables.items():
        (place / "bad" / "tables" / name).write_bytes(content)
    os.mkfifo(place / "bad" / "tables" / "pipe.csv")
    (place / "bad" / "tables" / "broken.xlsx").symlink_to("nowhere.xlsx")
    for cohort in ("clean", "bad"):
        arguments = ["build", str(place / cohort / "images"), "--grades", str(place / cohort / "tables"), *BUILD]
        with pytest.raises(SystemExit) as done:
            main([*arguments, "--out", str(place / cohort / "site"), "--store", str(place / cohort / "store")])
        assert done.value.code == 0
    with rejected_file(place / "bad" / "site").open(newline="", encoding="utf-8") as stream:
        listed = list(csv.DictReader(stream))
    found = {shown(name) for name in files}
    return Built(place / "clean" / "site", place / "bad" / "site", found, {*tables, "pipe.csv", "broken.xlsx"}, listed)


def test_the_corpus_is_as_large_as_it_should_be(built: Built) -> None:
    assert len(built.files) >= 300
    assert len(built.tables) >= 80


def test_every_bad_file_is_named_with_cause_and_remedy(built: Built) -> None:
    told = {row["what"] for row in built.rows}
    unnamed = {name for name in built.files if not any(what.rstrip("/").endswith(f"bad/{name.lstrip(chr(39))}") for what in told)}
    assert unnamed == set()
    assert all(row["why"] and row["remedy"] for row in built.rows)
    assert all(cell.isprintable() for row in built.rows for cell in row.values())


def test_every_bad_table_is_accounted_for(built: Built) -> None:
    told = [row["what"] for row in built.rows]
    assert {name for name in built.tables if not any(what == name or what.startswith(f"{name}, row ") for what in told)} == set()


def test_the_good_photographs_have_the_pages_of_a_clean_build(built: Built) -> None:
    def pages(site: Path) -> dict[str, bytes]:
        return {file.relative_to(site).as_posix(): file.read_bytes() for file in site.rglob("*") if file.is_file()}

    clean, bad = pages(built.clean), pages(built.site)
    assert len([name for name in clean if name.startswith("images/")]) >= GOOD
    lists = [own.pop("files.txt").split(b"\n", 1) for own in (clean, bad)]
    assert lists[0][1] == lists[1][1], "the same files; the first line names the build"
    # How many files and rows were left out is said on these two alone.
    assert {name for name in clean | bad if clean.get(name) != bad.get(name)} <= {"methods.html", "run.json"}
