"""From a file to what a trunk sees: decode, find the retina, crop the square round it, normalise colour and contrast.

Positions are in source pixels after EXIF orientation, rows downwards, and pixel i covers [i, i + 1).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from atlas.errors import ConfigurationError, UnreadableImageError
from atlas.records import BoolArray, ByteArray, FloatArray, Frame, Preprocessed

Box = tuple[int, int, int, int]
"""top, left, bottom, right in source pixels; bottom and right exclusive."""

MOST_PIXELS = 80_000_000
"""Largest photograph that is decoded, well above any fundus camera: a small file can claim a picture that fills the memory."""

SURROUND = 128
"""What every preparation paints outside the retina, in all channels.

The surround says which camera was used, not how ill the eye is, so it must not drive the score. Mid-grey is the middle of every
normalised preparation, which also makes the rim of the retina the weakest edge that a constant can make.
"""

# ---- decoding ------------------------------------------------------------------------------------------------------------------

_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
_EXIF_ORIENTATION = 0x0112
_SCAN, _END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"  # JPEG markers
_JPEG_FLAGS = {
    1: cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_NARROWEST = 16  # pixels: below this nothing of an eye can be made out
_LONGEST = 4  # times the shorter side: no camera's picture is that long
_LARGEST_FILE = 1_000_000_000  # bytes
_EXPORT_AGAIN = "export it again as JPEG or PNG with 8 bits per channel, or take it out of the folder."


@dataclass(frozen=True)
class Decoded:
    """A photograph as it was decoded.

    pixels : uint8 (h, w, 3) RGB, upright.   factor : pixels of the source a side for each of these: 1, 2, 4 or 8.
    shape : rows and columns of the source, upright.
    """

    pixels: ByteArray
    factor: int
    shape: tuple[int, int]

    def at_source(self, frame: Frame) -> Frame:
        """Return a frame of these pixels in pixels of the source."""
        return Frame(frame.top * self.factor, frame.left * self.factor, frame.side * self.factor)

    def of_source(self, frame: Frame) -> Frame:
        """Undo `at_source`."""
        return Frame(frame.top // self.factor, frame.left // self.factor, frame.side // self.factor)


def read_photograph(path: Path) -> ByteArray:
    """Decode a JPEG, PNG, TIFF, BMP or WebP file into uint8 (H, W, 3) RGB, upright by its EXIF orientation.

    Grey is repeated in all three channels; transparency is laid over black; 16-bit samples keep their high byte, so that 0..65535
    spans black to white; CMYK becomes RGB by its plain formula, for no colour profile is applied; of several pages or frames the
    first is read. Nothing else in the file, metadata above all, leaves this function.

    Raises
    ------
    UnreadableImageError : the file is missing, cut short, not a photograph in these formats, larger than MOST_PIXELS, or far too
        narrow.
    """
    return decode_photograph(path).pixels


def decode_photograph(path: Path, *, least: int | None = None) -> Decoded:
    """Decode a file as `read_photograph` does, a large JPEG at a half, a quarter or an eighth of its side: that takes a third of
    the time. Raises what `read_photograph` raises.

    least : pixels that the shorter side keeps at least; without it nothing is reduced.
    """
    try:
        with _open_regular(path) as file:
            return _read(path, file, least)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UnreadableImageError(f"{path}: cannot be opened ({reason})", "check that it is a file you may read.") from error


def _open_regular(path: Path) -> BinaryIO:
    """Open a file, but no pipe or device: reading these may never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise UnreadableImageError(f"{path}: is a pipe, a device or a folder, not a file", "take it out of the folder.")
    return path.open("rb")


def _read(path: Path, file: BinaryIO, least: int | None) -> Decoded:
    try:
        # The header alone is read at first: a file that is no picture may be larger than the memory.
        with Image.open(file, formats=_FORMATS) as image:
            narrow, wide = sorted(image.size)
            if narrow * wide > MOST_PIXELS:
                raise Image.DecompressionBombError
            if narrow < _NARROWEST or wide > _LONGEST * narrow:
                raise UnreadableImageError(
                    f"{path}: is {image.width} x {image.height} pixels, too narrow for a photograph of an eye",
                    f"give at least {_NARROWEST} pixels a side, and one side at most {_LONGEST} times the other.",
                )
            # OpenCV decodes a JPEG to the same bytes in half the time, but passes over one that is cut short.
            plain = image.format == "JPEG" and image.mode in ("L", "RGB")
            factor = next((factor for factor in (8, 4, 2) if least and plain and narrow >= factor * least), 1)
            pixels = _decode_jpeg(_content(file), factor) if plain else _decode(image)
            # Not before: Pillow turns a TIFF while it decodes, and a PNG may hold its EXIF behind the pixels.
            orientation = _orientation(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = f"{MOST_PIXELS // 1_000_000} million pixels"
        raise UnreadableImageError(f"{path}: claims to hold more than {limit}", "shrink it, or take it out.") from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError(f"{path}: is not a JPEG, PNG, TIFF, BMP or WebP picture", _EXPORT_AGAIN) from error
    except (UnreadableImageError, MemoryError):
        raise
    except Exception as error:  # decoders of foreign files fail in many ways; each means this one file and no more
        remedy = "copy it again from its source, or " + _EXPORT_AGAIN
        raise UnreadableImageError(f"{path}: is damaged or cut short ({error})", remedy) from error
    height, width = (wide, narrow) if (image.height > image.width) != (orientation >= 5) else (narrow, wide)
    return Decoded(_upright(pixels, orientation), factor, (height, width))


def _content(file: BinaryIO) -> bytes:
    size = file.seek(0, os.SEEK_END)
    if size > _LARGEST_FILE:
        raise ValueError(f"it has {size / 1e6:,.0f} MB, more than any photograph")
    file.seek(0)
    return file.read()


def _decode_jpeg(data: bytes, factor: int) -> ByteArray:
    if data.rfind(_END_OF_IMAGE) < data.rfind(_SCAN):
        raise ValueError("the end of the JPEG is missing")
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), _JPEG_FLAGS[factor] | cv2.IMREAD_IGNORE_ORIENTATION)
    if decoded is None:
        raise ValueError("the JPEG cannot be decoded")
    return np.asarray(decoded if factor == 1 else cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def _decode(image: Image.Image) -> ByteArray:
    if image.mode.startswith("I"):
        samples = np.asarray(image)
        if samples.min() < 0 or samples.max() > 65535:
            raise ValueError("its samples have more than 16 bits")
        return np.repeat((samples >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "F":
        raise ValueError("its samples are not whole numbers")
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", coloured.size, (0, 0, 0, 255)), coloured)
    return np.array(image.convert("RGB"))


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


# ---- the retina ----------------------------------------------------------------------------------------------------------------

_SEARCH_SIDE = 320  # the disc is looked for in a picture shrunk by a whole factor to at least this many pixels
_STEPS = (10, 20, 40)  # how far above the surround the retina may begin, of 255
_TRIALS = 400
_TOLERANCE = 0.012  # how far the edge of the retina may lie off the circle, in radii
_WIDEST = 1.5  # largest diameter of a disc that is believed, in longer sides of the picture: a straight edge is no circle
_LARGEST = 1.0  # largest radius of a refined circle, in longer sides: its frame is at most twice the picture
_RELIABLE = 0.02  # largest standard error of a circle that is believed, in radii
_LEAST_SUPPORT = 0.1  # share of the outline inside the picture that lies on the circle
_LEAST = 0.75  # share that disc and bright region have in common
_GOOD = 0.9  # product of both with which the search ends

Circle = tuple[float, float, float]
"""x, y of the centre and radius, in pixels."""


def find_retina(photograph: ByteArray) -> tuple[Frame, BoolArray]:
    """Find the retinal disc in uint8 (H, W, 3) RGB.

    Returns the square that bounds the disc, which may reach beyond the picture, and bool (H, W), true on the retina. What the
    camera cut off the disc is not retina; a shadow inside it is.

    The bright region is parted from the dark surround at several levels. At each, random triples of points on its outline propose
    circles, and the one with most of the outline on it is refined by least squares (RANSAC: Fischler & Bolles, Commun. ACM 1981):
    notches, flat cuts and shadows are outvoted. The level counts at which disc and region agree best. Where no circle can be made
    out, the frame bounds the bright region; without a dark surround that is the whole picture, all of it retina.
    """
    factor = max(1, max(photograph.shape[:2]) // _SEARCH_SIDE)
    brightness = _brightness(photograph, factor)
    found: tuple[float, Circle, Box] | None = None
    regions = []
    for level in _levels(brightness):
        outline, region = _bright_region(brightness, level)
        regions.append(region)
        fitted = _fit_circle(outline, brightness.shape)
        if fitted is None:
            continue
        circle, support = fitted
        extent = _extent(region)
        retina = _cut_disc(brightness.shape, circle, extent)
        agreement = np.count_nonzero(retina & region) / np.count_nonzero(retina | region)
        if agreement >= _LEAST and (found is None or agreement * support > found[0]):
            found = agreement * support, circle, extent
        if agreement * support >= _GOOD:
            break
    if found is None:
        return _bounding_frame(photograph, regions[0])
    _, (x, y, radius), (top, left, bottom, right) = found
    side = max(1, round(2 * radius * factor))
    frame = Frame(round(y * factor - side / 2), round(x * factor - side / 2), side)
    # One small pixel more on each side, so that where there is no cut the circle alone decides the rim.
    extent = (max(top - 1, 0) * factor, max(left - 1, 0) * factor, (bottom + 1) * factor, (right + 1) * factor)
    return frame, _cut_disc(photograph.shape, (x * factor, y * factor, radius * factor), extent)


def _brightness(photograph: ByteArray, factor: int) -> ByteArray:
    """Return the strongest channel, shrunk by a whole factor and rid of specks: a dark retina shows last in one channel only."""
    height, width = (max(1, length // factor) for length in photograph.shape[:2])
    small = cv2.resize(photograph[: height * factor, : width * factor], (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.medianBlur(small.max(axis=2), 5), np.uint8)


def _levels(brightness: ByteArray) -> tuple[float, ...]:
    surround = float(np.percentile(brightness, 0.5))
    otsu, _ = cv2.threshold(brightness, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return (*(surround + step for step in _STEPS), otsu)


def _bright_region(brightness: ByteArray, level: float) -> tuple[NDArray[np.float64], BoolArray]:
    """Return the outline, (n, 2) of x, y, of the largest region above the level, and the region's convex hull, bool (h, w)."""
    hull = np.zeros(brightness.shape, np.uint8)
    outlines, _ = cv2.findContours((brightness > level).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return np.empty((0, 2)), hull.astype(bool)
    outline = max(outlines, key=cv2.contourArea)
    cv2.fillConvexPoly(hull, cv2.convexHull(outline), 1)
    return outline.reshape(-1, 2) + np.float64(0.5), hull.astype(bool)


def _fit_circle(outline: NDArray[np.float64], shape: tuple[int, int]) -> tuple[Circle, float] | None:
    """Fit a circle to the outline (n, 2) of a region in a picture of `shape`; None where the outline does not determine one.

    Returns with it the share of the outline inside the picture that lies on the circle.

    A point on the circle speaks for it. One inside says nothing: a cut or a shadow. One outside speaks against it, for the disc
    holds the whole retina. Where the picture's border cuts the region is no edge of the retina, so it cannot speak for a circle.
    """
    height, width = shape
    points = outline[:: max(1, len(outline) // 600)]
    free = (np.abs(points - (width / 2, height / 2)) < (width / 2 - 3, height / 2 - 3)).all(axis=1)
    if np.count_nonzero(free) < 12:
        return None
    random = np.random.Generator(np.random.PCG64(0))
    edge = points[free]
    with np.errstate(divide="ignore", invalid="ignore"):  # three points on a line give no circle, and no votes
        x, y, radius = _circles_through(edge[random.integers(len(edge), size=(_TRIALS, 3))])
        excess = np.hypot(points[:, 0, None] - x, points[:, 1, None] - y) / radius - 1
    votes = (np.abs(excess[free]) < _TOLERANCE).sum(axis=0) - (excess > _TOLERANCE).sum(axis=0)
    believed = radius < _WIDEST / 2 * max(height, width)
    if not believed.any():
        return None
    chosen = int(np.where(believed, votes, -len(points)).argmax())
    circle = np.array([x[chosen], y[chosen], radius[chosen]])
    for _ in range(5):  # Gauss-Newton
        offset = edge - circle[:2]
        distance = np.hypot(*offset.T)
        near = np.abs(distance - circle[2]) < _TOLERANCE * circle[2]
        if np.count_nonzero(near) < max(12, _LEAST_SUPPORT * len(edge)):
            return None
        slope = np.column_stack([offset[near] / distance[near, None], np.ones(np.count_nonzero(near))])
        circle = circle + np.linalg.lstsq(slope, distance[near] - circle[2], rcond=None)[0]
        if not np.isfinite(circle).all() or circle[2] > _LARGEST * max(height, width):
            return None  # an edge that is nearly straight lets the radius run away
    # Edge points are about a pixel off, and neighbours err alike: one in eight counts as independent.
    error = np.sqrt(8 * np.linalg.pinv(slope.T @ slope).diagonal().max())
    if error > _RELIABLE * circle[2]:
        return None
    # The outline runs through the centres of the outermost pixels.
    return (float(circle[0]), float(circle[1]), float(circle[2]) + 0.5), len(slope) / len(edge)


def _circles_through(triples: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return centres and radii of the circles through (n, 3, 2) points."""
    a = triples[:, 0]
    b, c = triples[:, 1] - a, triples[:, 2] - a
    twice = 2 * (b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0])
    bb, cc = (b**2).sum(axis=1), (c**2).sum(axis=1)
    x = (c[:, 1] * bb - b[:, 1] * cc) / twice
    y = (b[:, 0] * cc - c[:, 0] * bb) / twice
    return a[:, 0] + x, a[:, 1] + y, np.hypot(x, y)


def _cut_disc(shape: tuple[int, ...], circle: Circle, extent: Box) -> BoolArray:
    """Return bool (H, W), true where a pixel's centre lies in the circle, and in the extent of what the camera shows.

    Cameras cut the disc along the picture's axes; whatever else is dark in it is a shadow, and retina.
    """
    x, y, radius = circle
    top, left, bottom, right = extent
    rows, columns = np.arange(shape[0]) + 0.5 - y, np.arange(shape[1]) + 0.5 - x
    inside: BoolArray = rows[:, None] ** 2 + columns**2 <= radius**2
    inside[:top] = inside[bottom:] = inside[:, :left] = inside[:, right:] = False
    return inside


def _extent(mask: BoolArray) -> Box:
    """Return the box that bounds what is true."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _bounding_frame(photograph: ByteArray, region: BoolArray) -> tuple[Frame, BoolArray]:
    """Bound a region that is no disc; one that all but fills the picture is a picture without surround."""
    height, width = photograph.shape[:2]
    if 0.01 < region.mean() < 0.9:
        mask = cv2.resize(region.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)
    else:
        mask = np.ones((height, width), bool)
    top, left, bottom, right = _extent(mask)
    side = max(bottom - top, right - left)
    return Frame((top + bottom - side) // 2, (left + right - side) // 2, side), mask


# ---- cropping ------------------------------------------------------------------------------------------------------------------


def crop(photograph: ByteArray, place: Frame | Box, side: int | None = None) -> ByteArray:
    """Cut a frame or box out of uint8 (H, W, 3) or (H, W); black beyond the picture.

    With `side` the longer edge is brought to that many pixels, by area averages where it shrinks and linearly where it grows.
    """
    if isinstance(place, Frame):
        place = (place.top, place.left, place.top + place.side, place.left + place.side)
    top, left, bottom, right = place
    height, width = photograph.shape[:2]
    rows = slice(min(max(top, 0), height), min(max(bottom, 0), height))
    columns = slice(min(max(left, 0), width), min(max(right, 0), width))
    piece = photograph[rows, columns]
    if piece.shape[:2] != (bottom - top, right - left):
        padded = np.zeros((bottom - top, right - left, *photograph.shape[2:]), photograph.dtype)
        padded[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = piece
        piece = padded
    longest = max(piece.shape[:2])
    if side is None or side == longest:
        return piece.copy()
    size = (max(1, round(piece.shape[1] * side / longest)), max(1, round(piece.shape[0] * side / longest)))
    return np.asarray(cv2.resize(piece, size, interpolation=cv2.INTER_AREA if side < longest else cv2.INTER_LINEAR), np.uint8)


def cell_box(frame: Frame, shape: tuple[int, int], row: int, col: int, window: int = 1) -> Box:
    """Return top, left, bottom, right, in source pixels, of the window of cells whose first cell is (row, col).

    The frame is divided into shape = (h, w) cells. An edge between cells lies at the nearest whole pixel, halves upwards, whoever
    asks: neighbouring boxes share it, and together they tile the frame. A box may reach beyond the picture, as the frame may.

    Raises
    ------
    ValueError : the window does not lie in the cells.
    """
    height, width = shape
    if not (0 <= row <= height - window and 0 <= col <= width - window and window >= 1):
        raise ValueError(f"window {window} at ({row}, {col}) does not lie in {height} x {width} cells")

    def edge(cell: int, cells: int) -> int:
        return (2 * cell * frame.side + cells) // (2 * cells)

    return (
        frame.top + edge(row, height),
        frame.left + edge(col, width),
        frame.top + edge(row + window, height),
        frame.left + edge(col + window, width),
    )


def cell_coverage(retina: BoolArray, shape: tuple[int, int]) -> FloatArray:
    """Return the share of each cell that is retina, float32 (h, w), 0 to 1.

    retina : bool (S, S).   shape : h, w. A pixel that two cells share counts for each by its area in it.
    """
    rows, columns = (_overlaps(length, cells) for length, cells in zip(retina.shape, shape, strict=True))
    area = (retina.shape[0] / shape[0]) * (retina.shape[1] / shape[1])
    covered: FloatArray = np.clip(rows @ retina.astype(np.float64) @ columns.T / area, 0.0, 1.0).astype(np.float32)
    return covered


def _overlaps(length: int, cells: int) -> NDArray[np.float64]:
    """Return (cells, length), how much of each unit pixel lies in each of the equal cells that divide the length."""
    edges = np.arange(cells + 1)[:, None] * length / cells
    until = np.clip(edges - np.arange(length), 0.0, 1.0)  # share of each pixel before each edge
    within: NDArray[np.float64] = np.diff(until, axis=0)
    return within


# ---- preparations --------------------------------------------------------------------------------------------------------------

Preparation = Callable[[ByteArray, BoolArray], ByteArray]
"""Maps the square crop, uint8 (s, s, 3) RGB, and the retina, bool (s, s), to uint8 (s, s, 3). What it puts outside the retina is
painted over with SURROUND. Statistics are taken over the retina only."""


def _none(pixels: ByteArray, retina: BoolArray) -> ByteArray:
    """The photograph's own colours."""
    return pixels


def _standardise(pixels: ByteArray, retina: BoolArray) -> ByteArray:
    """128 + 48 z with z = (x - mean) / sd by channel, clipped to 0..255, that is at 2.7 sd.

    Undoes any gain and offset of a channel: the colour of light and pigment goes, the pattern stays.
    """

    def table(counts: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
        mean = np.average(values, weights=counts)
        deviation = np.sqrt(np.average((values - mean) ** 2, weights=counts))
        scaled: NDArray[np.float64] = 128 + 48 * (values - mean) / (deviation or 1.0)
        return scaled

    return _by_histogram(pixels, retina, table)


def _equalise(pixels: ByteArray, retina: BoolArray) -> ByteArray:
    """Histogram equalisation by channel: 255 times the share of the retina that is darker, ties counted half."""

    def table(counts: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
        darker: NDArray[np.float64] = (counts.cumsum() - counts / 2) / counts.sum()
        return 255 * darker

    return _by_histogram(pixels, retina, table)


def _equalise_soft(pixels: ByteArray, retina: BoolArray) -> ByteArray:
    """Histogram equalisation by channel, then a Gaussian of half a pixel: about what being turned and shifted by parts of a pixel
    does to a photograph, and so as soft as those that a network learned from which were moved while it learned."""
    equalised = np.where(retina[..., None], _equalise(pixels, retina), np.uint8(SURROUND))
    return np.asarray(cv2.GaussianBlur(equalised, (5, 5), 0.5, borderType=cv2.BORDER_REPLICATE), np.uint8)


def _clahe(pixels: ByteArray, retina: BoolArray) -> ByteArray:
    """Contrast-limited adaptive histogram equalisation of CIE L*: 8 x 8 tiles, counts clipped at twice their mean (Zuiderveld,
    Graphics Gems IV, 1994).
    """

    def adapt(lightness: ByteArray) -> ByteArray:
        # Tiles on the rim would otherwise measure the surround.
        filled = np.where(retina, lightness, np.uint8(np.median(lightness[retina])))
        return np.asarray(cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(filled), np.uint8)

    return _on_lightness(pixels, adapt)


def _gamma(pixels: ByteArray, retina: BoolArray) -> ByteArray:
    """Gamma correction of CIE L*, with the exponent that brings the retina's median lightness to 50 of 100."""

    def correct(lightness: ByteArray) -> ByteArray:
        median = float(np.clip(np.median(lightness[retina]), 1, 254)) / 255
        exponent = np.log(0.5) / np.log(median)
        return np.asarray(cv2.LUT(lightness, _byte(255 * (np.arange(256) / 255) ** exponent)), np.uint8)

    return _on_lightness(pixels, correct)


def _local_contrast(pixels: ByteArray, retina: BoolArray) -> ByteArray:
    """4 I - 4 G(10) * I + 128, clipped: the Gaussian G has a standard deviation of 10 px where the side is 512, and in proportion
    elsewhere (B. Graham, "Kaggle diabetic retinopathy detection competition report", 2015).

    The blur averages retina only; with the surround in it, the rim would outshine every lesion.
    """
    deviation = 10 * pixels.shape[0] / 512
    weight = retina.astype(np.float32)
    picture = pixels * weight[..., None]
    blurred = (
        cv2.GaussianBlur(picture, (0, 0), deviation) / np.maximum(cv2.GaussianBlur(weight, (0, 0), deviation), 1e-6)[..., None]
    )
    return _byte(4 * picture - 4 * blurred + 128)


PREPARATIONS: Mapping[str, Preparation] = {
    "none": _none,
    "standardise": _standardise,
    "clahe": _clahe,
    "equalise": _equalise,
    "equalise-soft": _equalise_soft,
    "gamma": _gamma,
    "local-contrast": _local_contrast,
}
"""Every named choice of colour and contrast; a new one is a function and a line here."""


def _byte(values: NDArray[np.floating]) -> ByteArray:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def _by_histogram(
    pixels: ByteArray,
    retina: BoolArray,
    table: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
) -> ByteArray:
    """Map each channel by table(counts, values): what becomes of the values 0..255, given how often each occurs on the retina."""
    values = np.arange(256, dtype=np.float64)
    inside = pixels[retina]
    tables = [_byte(table(np.bincount(inside[:, k], minlength=256).astype(np.float64), values)) for k in range(3)]
    return np.asarray(cv2.LUT(pixels, np.stack(tables, axis=-1)[None]), np.uint8)


def _on_lightness(pixels: ByteArray, change: Callable[[ByteArray], ByteArray]) -> ByteArray:
    """Change CIE L*, scaled to 0..255, and keep a* and b*."""
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)
    lab[..., 0] = change(np.ascontiguousarray(lab[..., 0], np.uint8))
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8)


# ---- all of it -----------------------------------------------------------------------------------------------------------------


def prepare(image_id: str, photograph: ByteArray, *, size: int, preparation: str = "standardise") -> Preprocessed:
    """Find the retina in uint8 (H, W, 3) RGB, crop its square to `size` pixels a side, and normalise colour and contrast.

    preparation : a key of PREPARATIONS. Outside the retina, `pixels` is SURROUND.

    Raises
    ------
    ConfigurationError : the preparation is unknown.
    """
    normalise = _preparation(preparation)
    frame, mask = find_retina(photograph)
    pixels, plate, retina = _cut(photograph, frame, mask, size, normalise)
    return Preprocessed(image_id, pixels, plate, retina, frame)


def prepared_at_source(photograph: ByteArray, *, preparation: str, longest: int = 1024) -> tuple[ByteArray, ByteArray, Frame]:
    """Prepare as `prepare` does, as finely as the photograph allows: `longest` pixels a side, or the frame's side if less.

    Returns the prepared pixels and the same crop in its own colours, both uint8 (s, s, 3), and the frame. For cutting patches.
    """
    normalise = _preparation(preparation)
    frame, mask = find_retina(photograph)
    pixels, plate, _ = _cut(photograph, frame, mask, min(longest, frame.side), normalise)
    return pixels, plate, frame


def _preparation(name: str) -> Preparation:
    if name not in PREPARATIONS:
        raise ConfigurationError(f"preparation = {name!r}: expected one of {', '.join(PREPARATIONS)}", "choose one of these.")
    return PREPARATIONS[name]


def _cut(
    photograph: ByteArray, frame: Frame, mask: BoolArray, side: int, normalise: Preparation
) -> tuple[ByteArray, ByteArray, BoolArray]:
    """Return the crop prepared and in its own colours, uint8 (side, side, 3), and the retina in it, bool (side, side)."""
    plate = crop(photograph, frame, side)
    retina = crop(mask.astype(np.uint8) * np.uint8(255), frame, side) >= 128
    pixels = normalise(plate, retina) if retina.any() else plate
    return np.where(retina[..., None], pixels, np.uint8(SURROUND)), plate, retina
