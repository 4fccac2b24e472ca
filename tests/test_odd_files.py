"""Odd files in the folder: none blocks a build, all are reported, and none affects the photographs beside it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tracemalloc
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import PIL
import pytest
from PIL import Image

from atlas import read_dataset, read_photograph
from atlas.drawn.paint import draw_eye
from atlas.errors import UnreadableImageError
from atlas.photographs.decode import decode_photograph, read_size
from atlas.photographs.retina import find_retina
from atlas.records import DIABETIC_RETINOPATHY
from atlas.terminal import printable

BUILD = ("--scorer", "synthetic-alexnet", "--lesion-net", "none")

CASES = Path(__file__).parents[2] / "shared" / "cases"


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    save(tmp_path / "images" / "good.png", draw_eye(1, 2, size=96).pixels)
    return tmp_path / "images"


def test_what_is_no_file_is_named_and_never_opened(images: Path) -> None:
    os.mkfifo(images / "pipe.jpg")
    (images / "endless.jpg").symlink_to("/dev/zero")
    (images / "broken.jpg").symlink_to("nowhere.jpg")
    (images / "loop.jpg").symlink_to("loop.jpg")
    with socket.socket(socket.AF_UNIX) as odd:
        odd.bind(str(images / "socket.jpg"))
        dataset, report = read_dataset(images, scale=DIABETIC_RETINOPATHY)
    assert [image.path.name for image in dataset.images] == ["good.png"]
    assert sorted(line.partition(":")[0] for line in report.unreadable) == [
        "broken.jpg",
        "endless.jpg",
        "loop.jpg",
        "pipe.jpg",
        "socket.jpg",
    ]
    for name in ("pipe.jpg", "endless.jpg"):
        with pytest.raises(UnreadableImageError, match=name):
            read_photograph(images / name)


def test_files_of_other_kinds_are_named_with_a_table_and_without(images: Path, tmp_path: Path) -> None:
    (images / "phone.cr2").write_bytes(b"a picture of another kind")
    (images / "notes.txt").write_text("mine")
    _, report = read_dataset(images, scale=DIABETIC_RETINOPATHY)
    assert ["phone.cr2" in line and ".cr2" in line for line in report.other_files] == [True]
    table = tmp_path / "grades.csv"
    table.write_text("image,level\ngood,2\nphone,1\nlost,0\n")
    _, report = read_dataset(images, table, scale=DIABETIC_RETINOPATHY)
    of_phone, of_lost = report.rows_without_file
    assert ".cr2" in of_phone
    assert "no such file" not in of_phone
    assert "no such file" in of_lost


@pytest.mark.parametrize("ending", ["gif", "ppm", "jp2", "avif", "jfif", "webp", "bmp", "tif"])
def test_every_kind_of_picture_with_a_decoder_is_read(tmp_path: Path, ending: str) -> None:
    pixels = draw_eye(1, 2, size=96).pixels
    file = tmp_path / f"eye.{ending}"
    Image.fromarray(pixels).save(file, "JPEG" if ending == "jfif" else None)
    dataset, _ = read_dataset(tmp_path, scale=DIABETIC_RETINOPATHY)
    assert len(dataset.images) == 1
    assert np.abs(read_photograph(file).astype(int) - pixels).mean() < 4


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_samples_of_16_bits_are_scaled_by_the_bits_used(tmp_path: Path, ending: str, bits: int) -> None:
    pixels = draw_eye(1, 2, size=96).pixels
    pixels[40, 40] = 255  # at least one is as bright as can be
    deep = pixels.astype(np.uint16) << (bits - 8)
    cv2.imwrite(str(tmp_path / f"colour.{ending}"), deep[..., ::-1])
    cv2.imwrite(str(tmp_path / f"grey.{ending}"), deep[..., 1])
    assert np.array_equal(read_photograph(tmp_path / f"colour.{ending}"), pixels)
    assert np.array_equal(read_photograph(tmp_path / f"grey.{ending}"), np.dstack([pixels[..., 1]] * 3))


@pytest.mark.parametrize("start", [b"RIFF\xff\xff\xff\x7fWEBPVP8 ", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"BM", b""])
def test_the_size_of_a_file_is_checked_before_any_memory_is_taken(tmp_path: Path, start: bytes) -> None:
    with (tmp_path / "huge.webp").open("wb") as stream:
        stream.write(start)
        stream.truncate(600_000_000)
    tracemalloc.start()
    with pytest.raises(UnreadableImageError, match="600 MB"):
        read_photograph(tmp_path / "huge.webp")
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(UnreadableImageError, match="is empty"):
        read_photograph(tmp_path / "empty.png")


def test_an_atlas_among_the_photographs_is_not_read(images: Path) -> None:
    site = images / "my-atlas"
    save(site / "photographs" / "0.png", draw_eye(2, 3, size=96).pixels)
    before, _ = read_dataset(images, scale=DIABETIC_RETINOPATHY)
    assert len(before.images) == 2
    (site / "index.html").write_text("home")
    (site / "run.json").write_text('{"made_by": "lesion-atlas"}')
    dataset, report = read_dataset(images, scale=DIABETIC_RETINOPATHY)
    assert [image.path.name for image in dataset.images] == ["good.png"]
    assert ["my-atlas" in line for line in report.other_files] == [True]


@pytest.mark.parametrize("shape", [(5000, 1), (1, 5000), (3, 3), (15, 40), (100, 401)])
def test_a_picture_too_narrow_for_an_eye_is_refused_by_name(tmp_path: Path, shape: tuple[int, int]) -> None:
    file = save(tmp_path / "thin.png", np.full((*shape, 3), 90, np.uint8))
    with pytest.raises(UnreadableImageError, match=f"thin.png: is {shape[1]} x {shape[0]} pixels") as caught:
        read_photograph(file)
    assert "at least" in caught.value.remedy


@cache
def drawn(seed: int) -> np.ndarray:
    return draw_eye(seed, seed % 5, size=320).pixels


@pytest.mark.parametrize("share", [0.7, 0.5, 0.3, 0.15])
@pytest.mark.parametrize("seed", range(12))
def test_the_frame_of_a_cropped_picture_is_at_most_twice_as_large(seed: int, share: float) -> None:
    pixels = drawn(seed)
    height, width = pixels.shape[:2]
    top, left = round(height * (1 - share) / 2), round(width * (1 - share) / 2)
    inner = np.ascontiguousarray(pixels[top : height - top, left : width - left])
    frame, retina = find_retina(inner)
    assert frame.side <= 2 * max(inner.shape[:2])
    assert retina.shape == inner.shape[:2]
    assert retina.any()


@pytest.mark.photographs
@pytest.mark.parametrize("share", [0.7, 0.5, 0.3])
def test_the_frame_of_a_cropped_photograph_is_at_most_twice_as_large(photographs: Path, share: float) -> None:
    files = sorted((photographs / "eyepacs-colour" / "images").iterdir())[::19]
    assert len(files) > 50
    for file in files:
        pixels = read_photograph(file)
        height, width = pixels.shape[:2]
        top, left = round(height * (1 - share) / 2), round(width * (1 - share) / 2)
        inner = np.ascontiguousarray(pixels[top : height - top, left : width - left])
        frame, _ = find_retina(inner)
        assert frame.side <= 2 * max(inner.shape[:2]), file.name


@pytest.mark.skipif(not CASES.is_dir(), reason="needs the small cases beside the checkout")
def test_pictures_that_had_enormous_frames_are_framed_or_named() -> None:
    framed = 0
    for file in (CASES / "closeup.png", *sorted((CASES / "hostile").glob("*.[jp][pn]g"))):
        try:
            pixels = read_photograph(file)
        except UnreadableImageError:  # names its file, as other tests show
            continue
        frame, _ = find_retina(pixels)
        assert frame.side <= 2 * max(pixels.shape[:2]), file.name
        framed += 1
    assert framed >= 2


def test_a_name_that_is_no_text_is_read_and_printed(images: Path) -> None:
    (images / "good.png").rename(os.fsdecode(os.fsencode(images) + b"/caf\xe9.png"))
    dataset, _ = read_dataset(images, scale=DIABETIC_RETINOPATHY)
    (image,) = dataset.images
    assert read_photograph(image.path).shape[2] == 3
    assert printable(image.path.name, "utf-8") == "caf\\udce9.png"


def test_names_cannot_command_the_terminal() -> None:
    assert printable("a\x1b[31mred\nnew line\u202e.jpg", "utf-8") == r"a\x1b[31mred\nnew line\u202e.jpg"
    assert printable("眼.jpg", "ascii") == r"\u773c.jpg"
    assert printable("眼 œil.jpg", "utf-8") == "眼 œil.jpg"


def test_the_terminal_of_another_country_shows_every_name(images: Path) -> None:
    """A locale without the letters of a name must not end a command that has done its work."""
    os.mkfifo(images / "眼.jpg")
    script = "from atlas.cli import main; main()"
    command = [sys.executable, "-c", script, "evaluate", str(images), "--store", str(images.parent / "store")]
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert b"Traceback" not in done.stderr
    assert b"no photograph has a grade" in done.stderr


def test_a_large_jpeg_is_decoded_at_a_part_of_its_side(tmp_path: Path) -> None:
    pixels = cv2.resize(draw_eye(4, 3, size=640).pixels, (2600, 2080), interpolation=cv2.INTER_CUBIC)
    turned = {1: pixels.shape[:2], 6: pixels.shape[1::-1]}
    for orientation, shape in turned.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = tmp_path / f"{orientation}.jpg"
        Image.fromarray(pixels).save(file, quality=95, exif=exif)
        whole, reduced = decode_photograph(file), decode_photograph(file, least=1024)
        assert (whole.factor, whole.shape) == (1, shape)
        assert (reduced.factor, reduced.shape) == (2, shape)
        assert reduced.pixels.shape == (shape[0] // 2, shape[1] // 2, 3)
        same_size = cv2.resize(whole.pixels, reduced.pixels.shape[1::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(same_size.astype(int) - reduced.pixels.astype(int)).mean() < 1.5
        of_whole, of_reduced = find_retina(whole.pixels)[0], reduced.at_source(find_retina(reduced.pixels)[0])
        for name in ("top", "left", "side"):
            assert abs(getattr(of_whole, name) - getattr(of_reduced, name)) <= 8
        assert reduced.of_source(of_reduced) == find_retina(reduced.pixels)[0]
    small = save(tmp_path / "small.jpg", pixels[:1000, :1300])
    assert decode_photograph(small, least=1024).factor == 1
    assert np.array_equal(decode_photograph(small, least=1024).pixels, read_photograph(small))


def test_a_limit_counts_photographs_that_can_be_read(images: Path) -> None:
    for place in range(4):
        save(images / f"good{place}.png", draw_eye(place, 3, size=96).pixels)
    for place in range(12):
        (images / f"bad{place}.png").write_bytes(b"no photograph %d" % place)
    dataset, report = read_dataset(images, scale=DIABETIC_RETINOPATHY, limit=4, probe=read_size)
    assert len(dataset.images) == 4
    assert all(image.path.name.startswith("good") for image in dataset.images)
    assert all(line.remedy for line in report.unreadable)
    told = {line.what for line in (*report.unreadable, *report.passed_over)}
    assert told | {image.path.name for image in dataset.images} == {path.name for path in images.iterdir()}
    dataset, _ = read_dataset(images, scale=DIABETIC_RETINOPATHY, limit=9, probe=read_size)
    assert len(dataset.images) == 5


def test_odd_metadata_reaches_the_terminal_in_no_words_of_a_library(images: Path) -> None:
    """A photograph whose notes are damaged is read, and Pillow's warning of it is not printed."""
    eye = Image.fromarray(draw_eye(2, 3, size=96).pixels)
    eye.save(images / "odd.tif", tiffinfo={270: "a note" * 9})
    content = bytearray((images / "odd.tif").read_bytes())
    note = content.index(b"\x0e\x01\x02\x00")
    content[note + 4 : note + 8] = (10**6).to_bytes(4, "little")  # longer than the file
    (images / "odd.tif").write_bytes(content)
    if int(PIL.__version__.split(".")[0]) < 13:  # earlier ones do not read such a file at all
        with pytest.warns(UserWarning, match="Truncated File Read"), pytest.raises(UnreadableImageError, match=r"odd\.tif"):
            read_photograph(images / "odd.tif")
        return
    with pytest.warns(UserWarning, match="larger than file"):
        read_photograph(images / "odd.tif")
    command = [sys.executable, "-m", "atlas", "check", str(images), "--store", str(images.parent / "store"), *BUILD]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Warning" not in done.stderr


def test_a_photograph_whose_name_is_no_text_becomes_a_part_of_an_atlas(images: Path) -> None:
    """In a locale that cannot show the name either, and with names on the pages."""
    save(images / "other.png", draw_eye(2, 3, size=96).pixels)
    (images / "good.png").rename(os.fsdecode(os.fsencode(images) + b"/caf\xe9.png"))
    out = images.parent / "site"
    command = [sys.executable, "-m", "atlas", "build", str(images), "--out", str(out), "--store", str(images.parent / "store")]
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [*command, *BUILD, "--clusters", "2", "--keep-names"], capture_output=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert len(list((out / "images").glob("*.html"))) == 2
