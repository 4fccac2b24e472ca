"""The occlusion test on a scorer's last maps: how far the severity falls when places are hidden.

Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, where pixels are hidden. Here a
place is a square window of cells, set to zero in all channels; the prediction gives the score without it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from atlas.explain.windows import require_fitting
from atlas.records import BoolArray, FloatArray, Scale
from atlas.scorers.prediction import Prediction
from atlas.scorers.readouts import grades_in_the_middle


def drops(prediction: Prediction, target: str, *, window: int = 1) -> FloatArray:
    """Measure how far the severity falls when each square window of cells is hidden.

    Parameters
    ----------
    prediction : Prediction
        Prediction for the photograph.
    target : str
        Name of a target.
    window : int
        Side of the window, in cells.

    Returns
    -------
    FloatArray
        Falls, float32 (h-window+1, w-window+1), signed, in grade units; [r, c] hides rows r..r+window-1 and columns
        c..c+window-1. A positive value means that the window made the eye look more severe.

    Raises
    ------
    ConfigurationError
        If the window does not fit on the maps.
    """
    masks = window_masks(prediction.grid, window)
    rows, columns = (cells - window + 1 for cells in prediction.grid)
    fallen = np.float32(prediction.severity[target]) - prediction.without(target, masks)
    return np.asarray(fallen, np.float32).reshape(rows, columns)


def weights(prediction: Prediction, target: str, scale: Scale, *, window: int = 1) -> FloatArray:
    """Measure the weight of each square window of cells, see `readouts.grades_in_the_middle`; otherwise as `drops`.

    Near an end of the scale the sigmoid is flat, so the severity hardly changes if one window is hidden; its weight does.
    """
    masks = window_masks(prediction.grid, window)
    rows, columns = (cells - window + 1 for cells in prediction.grid)
    fallen = np.float32(prediction.logit(target)) - prediction.logits_without(target, masks)
    return grades_in_the_middle(fallen, scale).reshape(rows, columns)


@lru_cache(maxsize=8)
def window_masks(grid: tuple[int, int], window: int) -> BoolArray:
    """Return a mask of each square window of cells: bool (windows, h, w), row by row, true inside the window; for reading only.

    Raises
    ------
    ConfigurationError
        If the window does not fit on the maps.
    """
    require_fitting(window, grid)
    rows, columns = grid
    row, column = np.arange(rows), np.arange(columns)
    first_row, first_column = row[: rows - window + 1, None], column[: columns - window + 1, None]
    in_rows = (row >= first_row) & (row < first_row + window)  # (windows down, h)
    in_columns = (column >= first_column) & (column < first_column + window)
    masks = (in_rows[:, None, :, None] & in_columns[None, :, None, :]).reshape(-1, rows, columns)
    masks.flags.writeable = False
    return masks
