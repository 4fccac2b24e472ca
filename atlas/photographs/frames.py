"""Frames and boxes: cutting pieces out of photographs, and the grid of cells in a frame.

Positions are in source pixels after EXIF orientation, rows downwards, and pixel i covers [i, i + 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.records import BoolArray, ByteArray, FloatArray, Frame

Box = tuple[int, int, int, int]
"""top, left, bottom, right in source pixels; bottom and right exclusive."""

Rectangle = tuple[slice, slice]
"""Rows and columns."""

SQUARE_SIDE = 1024
"""Side in pixels of the largest picture of a photograph's subject, but for plates, see `Square`."""


def crop(photograph: ByteArray, place: Frame | Box, side: int | None = None) -> ByteArray:
    """Cut a frame or box out of uint8 (H, W, 3) or (H, W). Pixels beyond the picture are black.

    With `side` the longer edge is resized to that many pixels, by area averages to shrink it and linearly to enlarge it.
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


@dataclass(frozen=True, eq=False)
class Square:
    """The square round a photograph's subject, at any side. That of SQUARE_SIDE pixels, which several want, is cut out once.

    Parameters
    ----------
    photograph : ByteArray
        uint8 (H, W, 3) RGB.
    frame : Frame
        The square, in its pixels.
    mask : BoolArray
        bool (H, W), true on the subject.
    """

    photograph: ByteArray
    frame: Frame
    mask: BoolArray

    def pixels(self, side: int) -> ByteArray:
        """Return the square of the photograph, uint8 (side, side, 3)."""
        return self._kept[0].copy() if side == SQUARE_SIDE else crop(self.photograph, self.frame, side)

    def subject(self, side: int) -> BoolArray:
        """Return where the subject is in the square, bool (side, side)."""
        return (self._kept[1] if side == SQUARE_SIDE else crop(_levels(self.mask), self.frame, side)) >= 128

    def coarse(self, side: int) -> tuple[ByteArray, BoolArray]:
        """Return both at a small side for measurements that need not be exact: those of a large photograph are cut out of the
        square that is kept, which takes a tenth of the time.

        Networks get exact pixels: `eyepacs-squeezenet` scores four full-size photographs up to 0.16 grades apart by them.
        """
        if not side <= SQUARE_SIDE < self.frame.side:
            return self.pixels(side), self.subject(side)
        whole = (0, 0, SQUARE_SIDE, SQUARE_SIDE)
        return crop(self._kept[0], whole, side), crop(self._kept[1], whole, side) >= 128

    @cached_property
    def _kept(self) -> tuple[ByteArray, ByteArray]:
        return crop(self.photograph, self.frame, SQUARE_SIDE), crop(_levels(self.mask), self.frame, SQUARE_SIDE)


def _levels(mask: BoolArray) -> ByteArray:
    """Return 255 where a mask is true, and 0 elsewhere."""
    return mask.view(np.uint8) * np.uint8(255)


def shrunk(picture: ByteArray, size: tuple[int, int]) -> ByteArray:
    """Shrink uint8 (H, W, 3) or (H, W) to a width and a height, by area averages.

    One that is far larger is first divided by a whole number, which is several times as fast, to no less than twice the size.
    """
    factor = min(picture.shape[1] // (2 * size[0]), picture.shape[0] // (2 * size[1]))
    if factor > 1:
        height, width = (length // factor for length in picture.shape[:2])
        whole = picture[: height * factor, : width * factor]
        picture = np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def around(mask: NDArray[Any], margin: int = 0) -> Rectangle:
    """Return the rows and columns of a mask (H, W) in which anything is not zero; both are empty where all is.

    Parameters
    ----------
    margin : int
        Rows and columns more on each side, as far as there are any.
    """
    spans = []
    for axis in (1, 0):
        places = np.flatnonzero(mask.any(axis=axis))
        first, last = (int(places[0]) - margin, int(places[-1]) + margin) if len(places) else (0, -1)
        spans.append(slice(max(0, first), last + 1))
    return spans[0], spans[1]


def whole_picture(photograph: ByteArray) -> tuple[Frame, BoolArray]:
    """Return the centred square round the complete picture, uint8 (H, W, 3), and a mask, bool (H, W), true everywhere."""
    height, width = photograph.shape[:2]
    side = max(height, width)
    return Frame((height - side) // 2, (width - side) // 2, side), np.ones((height, width), np.bool_)


def cell_box(frame: Frame, shape: tuple[int, int], row: int, col: int, window: int = 1) -> Box:
    """Return top, left, bottom, right, in source pixels, of the window of cells whose first cell is (row, col).

    The frame is divided into shape = (h, w) cells. An edge between cells is at the nearest whole pixel, with halves rounded
    upwards. Neighbouring boxes share it, and together they tile the frame. A box may reach beyond the picture, as the frame may.

    Raises
    ------
    ValueError
        If the window is not inside the cells.
    """
    height, width = shape
    if not (0 <= row <= height - window and 0 <= col <= width - window and window >= 1):
        raise ValueError(f"window {window} at ({row}, {col}) is not inside {height} x {width} cells")

    def edge(cell: int, cells: int) -> int:
        return (2 * cell * frame.side + cells) // (2 * cells)

    return (
        frame.top + edge(row, height),
        frame.left + edge(col, width),
        frame.top + edge(row + window, height),
        frame.left + edge(col + window, width),
    )


def touched(frame: Frame, shape: tuple[int, int], box: Sequence[int]) -> BoolArray:
    """Return which of the frame's cells a box of source pixels touches, bool (h, w)."""
    spans = []
    for start, cells, low, high in ((frame.top, shape[0], box[0], box[2]), (frame.left, shape[1], box[1], box[3])):
        edges = np.arange(cells + 1) * frame.side / cells + start
        spans.append((edges[:-1] < high) & (edges[1:] > low))
    return np.asarray(spans[0][:, None] & spans[1])


def cell_coverage(retina: BoolArray, shape: tuple[int, int]) -> FloatArray:
    """Return the share of each cell that is retina, float32 (h, w), 0 to 1.

    Parameters
    ----------
    retina : BoolArray
        bool (S, S).
    shape : tuple[int, int]
        (h, w). A pixel that two cells share counts for each by its area in it.
    """
    rows, columns = (_overlaps(length, cells) for length, cells in zip(retina.shape, shape, strict=True))
    area = (retina.shape[0] / shape[0]) * (retina.shape[1] / shape[1])
    covered: FloatArray = np.clip(rows @ retina.astype(np.float64) @ columns.T / area, 0.0, 1.0).astype(np.float32)
    return covered


def spread(values: FloatArray, grid: tuple[int, int], onto: tuple[int, int]) -> FloatArray:
    """Spread the values of cells evenly over their area, onto another grid over the same square. Sums over all cells stay equal.

    Parameters
    ----------
    values : FloatArray
        float32 (h*w, n), row-major, on `grid` = (h, w).

    Returns
    -------
    FloatArray
        The values, float32 (h'*w', n), on `onto` = (h', w').
    """
    if grid == onto:
        return values
    rows, columns = (_overlaps(length, cells) for length, cells in zip(grid, onto, strict=True))
    own = values.astype(np.float64).reshape(*grid, -1)
    found = np.einsum("ac,bd,cdn->abn", rows, columns, own, optimize=True)
    return np.asarray(found.reshape(onto[0] * onto[1], -1), np.float32)


def _overlaps(length: int, cells: int) -> NDArray[np.float64]:
    """Return (cells, length): how much of each unit pixel is in each of the equal cells that divide the length."""
    edges = np.arange(cells + 1)[:, None] * length / cells
    until = np.clip(edges - np.arange(length), 0.0, 1.0)  # share of each pixel before each edge
    within: NDArray[np.float64] = np.diff(until, axis=0)
    return within
