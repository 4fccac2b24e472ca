"""Windows of cells: which ones fit on the maps, and which windows and cells lie on the retina."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from atlas.errors import ConfigurationError
from atlas.records import BoolArray, FloatArray


def require_fitting(window: int, grid: tuple[int, int]) -> None:
    """Check that a window fits on maps.

    Parameters
    ----------
    window : int
        Side of the window, in cells.
    grid : tuple[int, int]
        Rows and columns of cells of the maps.

    Raises
    ------
    ConfigurationError
        If it does not fit.
    """
    rows, columns = grid
    if not 1 <= window <= min(rows, columns):
        raise ConfigurationError(
            f"window = {window} does not fit on maps of {rows} x {columns} cells",
            f"choose a whole number from 1 to {min(rows, columns)}.",
        )


def windows_inside(inside: BoolArray, window: int) -> BoolArray:
    """Return which windows lie on the retina: those with every cell inside.

    Parameters
    ----------
    inside : BoolArray
        bool (n, h, w), true where a cell lies on the retina.
    window : int
        Side of the window, in cells.

    Returns
    -------
    BoolArray
        True for a window on the retina, bool (n, h-window+1, w-window+1).
    """
    return np.asarray(sliding_window_view(inside, (window, window), axis=(1, 2)).all(axis=(-2, -1)))


def inside_cells(coverage: FloatArray, least: float = 0.25) -> BoolArray:
    """Return which cells lie on the retina.

    Parameters
    ----------
    coverage : FloatArray
        float32 (..., h, w), share of each cell that is retina, 0..1.
    least : float
        The smallest such share of a cell that lies on the retina.

    Returns
    -------
    BoolArray
        True for a cell on the retina, bool (..., h, w).
    """
    inside: BoolArray = coverage >= least
    return inside
