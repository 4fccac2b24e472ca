"""Windows of cells: which fit on the maps, and which of them, and of the cells, lie on the retina."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from atlas.errors import ConfigurationError
from atlas.records import BoolArray, FloatArray


def require_fitting(window: int, grid: tuple[int, int]) -> None:
    """Raise ConfigurationError where a window, cells a side, does not fit on maps of `grid` cells (h, w)."""
    rows, columns = grid
    if not 1 <= window <= min(rows, columns):
        raise ConfigurationError(
            f"window = {window} does not fit on maps of {rows} x {columns} cells",
            f"choose a whole number from 1 to {min(rows, columns)}.",
        )


def windows_inside(inside: BoolArray, window: int) -> BoolArray:
    """Tell which windows lie on the retina: those with every cell inside.

    Parameters
    ----------
    inside : BoolArray
        bool (n, h, w). Returns bool (n, h-window+1, w-window+1).
    """
    return np.asarray(sliding_window_view(inside, (window, window), axis=(1, 2)).all(axis=(-2, -1)))


def inside_cells(coverage: FloatArray, least: float = 0.25) -> BoolArray:
    """Tell which cells lie on the retina: those that the retina covers by at least `least` of their area.

    Parameters
    ----------
    coverage : FloatArray
        float32 (..., h, w), 0..1. Returns bool of the same shape.
    """
    inside: BoolArray = coverage >= least
    return inside
