"""Which cells, and which windows of cells, lie on the retina."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from atlas.records import BoolArray, FloatArray


def windows_inside(inside: BoolArray, window: int) -> BoolArray:
    """Tell which windows lie on the retina: those with every cell inside.

    inside : bool (n, h, w). Returns bool (n, h-window+1, w-window+1).
    """
    return np.asarray(sliding_window_view(inside, (window, window), axis=(1, 2)).all(axis=(-2, -1)))


def inside_cells(coverage: FloatArray, least: float = 0.25) -> BoolArray:
    """Tell which cells lie on the retina: those that the retina covers by at least `least` of their area.

    coverage : float32 (..., h, w), 0..1. Returns bool of the same shape.
    """
    inside: BoolArray = coverage >= least
    return inside
