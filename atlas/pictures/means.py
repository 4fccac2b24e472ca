"""The mean of several photographs, and of their heat maps: what all photographs of one step of the scale have in common."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from atlas.photographs.frames import crop, whole_picture
from atlas.records import BoolArray, ByteArray, FloatArray


def mean_picture(pictures: Iterable[ByteArray], side: int) -> ByteArray:
    """Return the mean of pictures of any size, pixel by pixel, as uint8 (side, side, 3).

    Parameters
    ----------
    pictures : Iterable[ByteArray]
        uint8 (h, w, 3) each, at least one. A picture that is not square is padded with black, as the pages show it.
    side : int
        Pixels a side of the mean.
    """
    total, count = np.zeros((side, side, 3)), 0
    for picture in pictures:
        total += crop(picture, whole_picture(picture)[0], side)
        count += 1
    return np.asarray(np.rint(total / count), np.uint8)


def mean_map(values: FloatArray, inside: BoolArray) -> tuple[FloatArray, BoolArray]:
    """Return the mean of heat maps over the photographs whose image area holds a cell.

    Parameters
    ----------
    values : FloatArray
        float32 (n, h, w).
    inside : BoolArray
        bool (n, h, w), true where a cell is in the image area.

    Returns
    -------
    tuple[FloatArray, BoolArray]
        The mean, float32 (h, w), and bool (h, w) of the cells that lie in the image area of at least half of the photographs; the
        mean is 0 elsewhere.
    """
    seen = inside.sum(axis=0)
    shared = 2 * seen >= len(inside)
    total = np.where(inside, values, 0).sum(axis=0, dtype=np.float64)
    return np.where(shared, total / np.maximum(seen, 1), 0).astype(np.float32), shared
