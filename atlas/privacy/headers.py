"""What is written about a photograph in its own file: EXIF, XMP, ICC profiles, comments, PNG texts and DICOM attributes."""

from __future__ import annotations

import html
import io
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image, ImageCms

from atlas.privacy.pictures import png_chunks

_LARGEST = 1_000_000  # bytes of a header's value that are read

_SUB_DIRECTORIES = (0x8769, 0x8825, 0xA005)  # EXIF, GPS, interoperability

_RUNS = re.compile(rb"(?:[\x20-\x7e]|[\xc3-\xdf][\x80-\xbf]){6,}")

_WORDS = re.compile(r"[^\W\d_]{4}|\d[\d./:-]{7}")  # what a run of binary data that is a text holds

_MOST_RUNS = 40  # of a binary value: the notes of a maker can be large, and hold what reads as text by chance

_WIDE_RUNS = re.compile(rb"(?:[\x20-\x7e]\x00){3,}[\x20-\x7e]?")

_XML = re.compile(r">([^<>]+)<|=\s*\"([^\"]*)\"|=\s*'([^']*)'")

_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")

_DICOM = b"DICM"

_PIXELS = frozenset(("OB", "OW", "OD", "OF", "OL", "OV", "UN"))  # DICOM's binary values


def header_texts(file: Path) -> set[str]:
    """Return every text in the head of a photograph's file. What cannot be read is left out: it cannot be shown, either."""
    found: set[str] = set()
    with suppress(Exception), file.open("rb") as stream:  # a damaged header fails in many ways, in many libraries
        stream.seek(128)
        if stream.read(4) == _DICOM:
            found |= set(_of_dicom(file))
            return found
    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(file) as image:
            for texts in (_of_exif, _of_info):
                with suppress(Exception):
                    found.update(texts(image))
            if image.format == "PNG":
                with suppress(Exception):
                    found.update(_of_png(file.read_bytes()))
    return {text for text in (one.strip(" \0\t\r\n") for one in found) if text}


def _of_exif(image: Image.Image) -> Iterator[str]:
    exif = image.getexif()
    yield from _of_values(exif.values())
    for directory in _SUB_DIRECTORIES:
        with suppress(Exception):
            yield from _of_values(exif.get_ifd(directory).values())


def _of_info(image: Image.Image) -> Iterator[str]:
    for name, value in (*image.info.items(), *getattr(image, "applist", ())):
        if name == "exif":
            continue  # read field by field; what is binary in it holds a small picture
        if name == "icc_profile":
            yield from _of_profile(value)
        else:
            yield from _of_values([value])


def _of_values(values: Any) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield from _of_text(value)
        elif isinstance(value, bytes):
            yield from _of_bytes(value[:_LARGEST])
        elif isinstance(value, Mapping):
            yield from _of_values(value.values())
        elif isinstance(value, Sequence):
            yield from _of_values(value)


def _of_text(text: str) -> Iterator[str]:
    if "<" in text and ">" in text:  # XMP
        for parts in _XML.findall(text):
            yield from (html.unescape(part) for part in parts if part.strip())
    else:
        yield text


def _of_bytes(value: bytes) -> Iterator[str]:
    if value.startswith(b"Exif\0"):
        return
    with suppress(UnicodeDecodeError):
        text = value.removeprefix(b"ASCII\0\0\0").removeprefix(b"UNICODE\0").decode().strip("\0")
        if text.isprintable() or "<" in text:
            yield from _of_text(text)
            return
    runs = [run.decode("utf-8", "replace") for run in _RUNS.findall(value)]
    runs += [run.replace(b"\0", b"").decode() for run in _WIDE_RUNS.findall(value)]
    for run in [run for run in runs if _WORDS.search(run)][:_MOST_RUNS]:
        yield from _of_text(run)
    if value.startswith(b"UNICODE\0"):
        for encoding in ("utf-16-le", "utf-16-be"):
            yield value.removeprefix(b"UNICODE\0").decode(encoding, "replace")


def _of_profile(content: bytes) -> Iterator[str]:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(content)).profile
    for name in ("profile_description", "copyright", "manufacturer", "model", "target", "screening_description"):
        value = getattr(profile, name, None)
        if isinstance(value, str):
            yield value


def _of_png(content: bytes) -> Iterator[str]:
    for kind, first, end in png_chunks(content):
        if kind not in _TEXT_CHUNKS:
            continue
        data = content[first : end - 4]
        keyword, _, rest = data.partition(b"\0")
        yield keyword.decode("latin-1")
        if kind == b"zTXt":
            yield from _of_bytes(zlib.decompressobj().decompress(rest[1:], _LARGEST))
        elif kind == b"iTXt":
            packed, rest = rest[:1] == b"\1", rest[2:]
            _, name, text = rest.split(b"\0", 2)
            yield name.decode("utf-8", "replace")
            yield from _of_bytes(zlib.decompressobj().decompress(text, _LARGEST) if packed else text[:_LARGEST])
        else:
            yield from _of_bytes(rest[:_LARGEST])


def _of_dicom(file: Path) -> Iterator[str]:
    if find_spec("pydicom") is None:
        return
    import pydicom

    dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True)
    for element in (*dataset.file_meta.iterall(), *dataset.iterall()):
        if element.VR in _PIXELS or element.VR == "SQ":
            continue
        values = element.value if element.VM > 1 else [element.value]
        for value in values:
            if str(value).strip():
                yield str(value)
                yield str(value).replace("^", " ")  # names of persons have this between their parts
