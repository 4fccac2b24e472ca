"""Attention as a map: how much the network's own attention takes from each place.

It is no gradient and no test: a place that gets much attention may still change the score little, or lower it.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from atlas.explain.windows import require_fitting
from atlas.records import FloatArray, Target
from atlas.scorers.prediction import Prediction


def shares(prediction: Prediction, target: Target, window: int = 1) -> FloatArray:
    """Return the mean attention of each window's cells as a multiple of the mean of all, float32 (h-window+1, w-window+1).

    Parameters
    ----------
    prediction : Prediction
        Prediction for the photograph.
    target : Target
        What is graded.
    window : int
        Side of the window, in cells.

    Raises
    ------
    ConfigurationError
        If the window does not fit on the maps.
    ValueError
        If the network has no attention over places.
    """
    require_fitting(window, prediction.grid)
    found = prediction.attention(target.name)
    if found is None:
        raise ValueError("the network has no attention over places")
    return np.asarray(sliding_window_view(found, (window, window)).mean(axis=(-2, -1)), np.float32)
