"""Boxes on the grid of a lesion net's maps."""

from __future__ import annotations

import math

from atlas.lesionnets.networks import GRID
from atlas.records import Frame, LesionBox

Cells = tuple[slice, slice]
"""Rows and columns of cells."""


def cells_in(box: LesionBox, frame: Frame) -> Cells:
    """Return the cells whose centre lies in a box, or the nearest cell if there is none; parts outside the grid are cut off.

    Parameters
    ----------
    frame : Frame
        The square of the retina, in source pixels like the box.
    """
    scale = GRID / frame.side
    inside = []
    for low, high, start in ((box.top, box.bottom, frame.top), (box.left, box.right, frame.left)):
        first, last = (low - start) * scale - 0.5, (high - start) * scale - 0.5
        begin, end = math.ceil(first), math.floor(last) + 1
        if end <= begin:
            begin = round((first + last) / 2)
            end = begin + 1
        inside.append(_cut(begin, end))
    return inside[0], inside[1]


def with_ring(cells: Cells) -> Cells:
    """Return cells and a ring around them, wider for more cells: nobody knows what the edge of a coarse box holds."""
    wide = []
    for own in cells:
        ring = 1 + round(0.15 * (own.stop - own.start))
        wide.append(_cut(own.start - ring, own.stop + ring))
    return wide[0], wide[1]


def _cut(begin: int, end: int) -> slice:
    return slice(min(max(begin, 0), GRID), min(max(end, 0), GRID))
