"""From a file to upright RGB pixels."""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from atlas.errors import UnreadableImageError
from atlas.photographs.dicom import file_of, is_dicom, read_frame, read_header, require_photograph
from atlas.photographs.limits import COPY_AGAIN, EXPORT_AGAIN, LARGEST_FILE, MOST_PIXELS, require_shape
from atlas.photographs.samples import END_OF_IMAGE, SCAN, highest_bits, require_end
from atlas.records import UNSTRETCHED, ByteArray, Frame, Stretch

_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF")

FORMATS_TOLD = "JPEG, PNG, TIFF, BMP, WebP, GIF, PPM, JPEG 2000, AVIF, HEIC or DICOM"

_EXIF_ORIENTATION = 0x0112

# What some cameras put between a complete picture and its end mark: at most 16 bytes.
_PADDING = re.compile(r"\b(\d|1[0-6]) extraneous bytes before marker 0xd9")

_TAIL = 65_536  # bytes in which the end of a JPEG is looked for at first


@dataclass(frozen=True)
class Decoded:
    """A photograph as it was decoded.

    Parameters
    ----------
    pixels : ByteArray
        uint8 (h, w, 3) RGB, upright.
    factor : int
        Pixels of the source a side for each of these: 1, 2, 4 or 8.
    shape : tuple[int, int]
        Rows and columns of the source, upright; of a squashed one, once it is put right.
    stretch : Stretch
        How it was put right. What is called source pixels elsewhere is counted after that.
    """

    pixels: ByteArray
    factor: int
    shape: tuple[int, int]
    stretch: Stretch = UNSTRETCHED

    def at_source(self, frame: Frame) -> Frame:
        """Return a frame of these pixels in pixels of the source."""
        return Frame(frame.top * self.factor, frame.left * self.factor, frame.side * self.factor)

    def of_source(self, frame: Frame) -> Frame:
        """Undo `at_source`."""
        return Frame(frame.top // self.factor, frame.left // self.factor, frame.side // self.factor)

    def put_right(self, stretch: Stretch) -> Decoded:
        """Stretch a squashed photograph, so that its disc is round. Nothing is ever shrunk."""
        return Decoded(stretched(self.pixels, stretch), self.factor, stretch.shape(self.shape), stretch)


def stretched(picture: ByteArray, stretch: Stretch, *, smooth: bool = True) -> ByteArray:
    """Stretch uint8 (H, W, 3) or (H, W); without `smooth` every value is one that was there before."""
    if stretch == UNSTRETCHED:
        return picture
    rows, columns = stretch.shape((picture.shape[0], picture.shape[1]))
    how = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(picture, (columns, rows), interpolation=how), np.uint8)


def read_photograph(path: Path) -> ByteArray:
    """Decode a JPEG, PNG, TIFF, BMP, WebP, GIF, PPM, JPEG 2000, AVIF, HEIC or DICOM file into uint8 (H, W, 3) RGB, upright by
    its EXIF orientation.

    Grey is repeated in all three channels; transparency is laid over black. Of samples of 16 bits, the highest 8 of the bits that
    the picture uses are kept: cameras write 10, 12 or 14 bits into 16, and such a picture would be nearly black. CMYK becomes
    RGB by its plain formula, for no colour profile is applied; of several pages or frames the first is read. Frame 2 of the DICOM
    file `a.dcm` is read as `a.2.dcm`. Nothing else in the file, metadata above all, leaves this function.

    Raises
    ------
    UnreadableImageError
        The file is missing, cut short, not a photograph in these formats, larger than MOST_PIXELS, or far too narrow. DICOM of
        another modality is named by it.
    """
    return decode_photograph(path).pixels


def decode_photograph(path: Path, *, least: int | None = None, part: int | None = None) -> Decoded:
    """Decode a file as `read_photograph` does, a large JPEG at a half, a quarter or an eighth of its side: that takes a third of
    the time. Raises what `read_photograph` raises.

    Parameters
    ----------
    least : int or None
        Pixels that the shorter side keeps at least; without it nothing is reduced.
    part : int or None
        Side of what is wanted of the picture, in pixels of the source: it keeps so many as well.
    """
    with _opened(path) as (file, frame):
        if is_dicom(file):
            pixels = read_frame(path, file, frame)
            return Decoded(pixels, 1, (pixels.shape[0], pixels.shape[1]))
        with _picture(path, file) as image:
            return _decoded(image, file, least, part)


def read_size(path: Path) -> tuple[int, int]:
    """Return rows and columns of a photograph as it lies in its file, without decoding it.

    Parameters
    ----------
    path : Path
        A file of a kind that `read_photograph` reads.

    Raises
    ------
    UnreadableImageError
        What `read_photograph` raises, as far as the header and a JPEG's end tell. Damage in between shows when it is decoded.
    """
    with _opened(path) as (file, _):
        if is_dicom(file):
            header = read_header(path, file)
            require_photograph(path, header)
            return header.rows, header.columns
        with _picture(path, file) as image:
            if image.format == "JPEG":
                last = file.seek(0, os.SEEK_END)
                file.seek(max(0, last - _TAIL))
                tail = file.read()
                if tail.rfind(END_OF_IMAGE) <= tail.rfind(SCAN):  # the end may also lie further ahead, before a camera's notes
                    require_end(_content(file))
            return image.height, image.width


class _Bounded(io.BufferedReader):
    """A file that reads no more than it holds: decoders ask for as much as a header claims, and Python sets that memory aside."""

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, os.fstat(self.fileno()).st_size - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


def _open_regular(path: Path) -> BinaryIO:
    """Open a file, but no pipe or device: reading these may never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise UnreadableImageError(f"{path}: is a pipe, a device or a folder, not a file", "take it out of the folder.")
    return _Bounded(io.FileIO(path))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, int | None]]:
    """Open the file that a photograph lies in, and tell which frame of it is meant, if it is one of several."""
    source, frame = file_of(path)
    try:
        with _open_regular(source) as file:
            _require_size(path, file)
            yield file, frame
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UnreadableImageError(f"{path}: cannot be opened ({reason})", "check that it is a file you may read.") from error


def _require_size(path: Path, file: BinaryIO) -> None:
    """Refuse a file that is empty or larger than any photograph: some decoders read all of it before they look at it."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if not size:
        raise UnreadableImageError(f"{path}: is empty", "copy it again from its source, or take it out of the folder.")
    if size > LARGEST_FILE:
        raise UnreadableImageError(f"{path}: has {size / 1e6:,.0f} MB, more than any photograph", EXPORT_AGAIN)


@cache
def _formats() -> tuple[str, ...]:
    """Name the formats that this Pillow can read: AVIF is younger than others, and HEIC comes from a library of its own."""
    from pi_heif import register_heif_opener

    Image.init()
    register_heif_opener(thumbnails=False)
    return tuple(name for name in _FORMATS if name in Image.OPEN)


@contextmanager
def _picture(path: Path, file: BinaryIO) -> Iterator[Image.Image]:
    """Open a picture whose header makes sense. Whatever fails within means that this one file cannot be read."""
    try:
        # The header alone is read at first: a file that is no picture may be larger than the memory.
        with Image.open(file, formats=_formats()) as image:
            require_shape(path, image.height, image.width)
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = f"{MOST_PIXELS // 1_000_000} million pixels"
        raise UnreadableImageError(f"{path}: claims to hold more than {limit}", "shrink it, or take it out.") from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError(f"{path}: is not a {FORMATS_TOLD} picture", EXPORT_AGAIN) from error
    except (UnreadableImageError, MemoryError):
        raise
    except Exception as error:  # decoders of foreign files fail in many ways; each means this one file and no more
        raise UnreadableImageError(f"{path}: is damaged or cut short ({error})", COPY_AGAIN) from error


def _decoded(image: Image.Image, file: BinaryIO, least: int | None, part: int | None) -> Decoded:
    # simplejpeg decodes a JPEG to the same bytes in half the time, and tells damage that Pillow passes over.
    narrow, wide = sorted(image.size)
    plain = image.format == "JPEG" and image.mode in ("L", "RGB")
    wanted = narrow if part is None else min(narrow, part)
    factor = next((factor for factor in (8, 4, 2) if least and plain and wanted >= factor * least), 1)
    pixels = _decode_jpeg(_content(file), factor) if plain else _decode(image, file)
    # Not before: Pillow turns a TIFF while it decodes, and a PNG may hold its EXIF behind the pixels.
    orientation = _orientation(image)
    height, width = (wide, narrow) if (image.height > image.width) != (orientation >= 5) else (narrow, wide)
    return Decoded(_upright(pixels, orientation), factor, (height, width))


def _content(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def _decode_jpeg(data: bytes, factor: int) -> ByteArray:
    require_end(data)
    height, width = simplejpeg.decode_jpeg_header(data, strict=False)[:2]
    part = {"min_height": -(-height // factor), "min_width": -(-width // factor), "min_factor": factor}
    try:
        decoded = simplejpeg.decode_jpeg(data, "RGB", **part)
    except ValueError as error:
        if _PADDING.search(str(error)) is None:
            raise
        decoded = simplejpeg.decode_jpeg(data, "RGB", strict=False, **part)
    return np.asarray(decoded, np.uint8)


def _decode(image: Image.Image, file: BinaryIO) -> ByteArray:
    if image.mode.startswith("I"):
        samples = np.asarray(image)
        if samples.min() < 0 or samples.max() > 65535:
            raise ValueError("its samples have more than 16 bits")
        return np.repeat(highest_bits(samples)[..., None], 3, axis=2)
    if _is_deep(image) and (deep := _decode_deep(file)) is not None:
        return deep
    if image.mode == "F":
        raise ValueError("its samples are not whole numbers")
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", coloured.size, (0, 0, 0, 255)), coloured)
    return np.array(image.convert("RGB"))


def _is_deep(image: Image.Image) -> bool:
    """Tell whether colours have 16 bits, of which Pillow would keep the upper 8, used or not."""
    return any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def _decode_deep(file: BinaryIO) -> ByteArray | None:
    """Decode colours of 16 bits; None where OpenCV does not read them, and 8 bits have to do."""
    decoded = cv2.imdecode(np.frombuffer(_content(file), np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16 or decoded.ndim != 3 or decoded.shape[2] not in (3, 4):
        return None
    colours: NDArray[np.uint16] = np.asarray(decoded[..., 2::-1], np.uint16)
    if decoded.shape[2] == 4:
        colours = (colours.astype(np.uint32) * decoded[..., 3:] // 65535).astype(np.uint16)
    return np.ascontiguousarray(highest_bits(colours))


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # a photograph with broken EXIF is still a photograph
        return 1
    return int(value) if value in range(1, 9) else 1


def _upright(pixels: ByteArray, orientation: int) -> ByteArray:
    """Undo EXIF orientation 1 to 8: a transposition for 5 and above, then flips."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
