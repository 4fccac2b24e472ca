"""Grad-CAM on a scorer's last maps, in the grades of `readouts.grades_in_the_middle`.

Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017, equations
1 and 2. Maps are kept signed: the ReLU is applied when drawing. Logits are explained, because the gradients of the sigmoid and
the softmax vanish for severe eyes; `Prediction.gradcam` says which logits.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from atlas.explain.windows import require_fitting
from atlas.records import FloatArray, Scale, Target
from atlas.scorers.prediction import Prediction
from atlas.scorers.readouts import grades_in_the_middle


def weights(prediction: Prediction, target: str, scale: Scale, *, window: int = 1) -> FloatArray:
    """Return each window's share of the logit, float32 (h-window+1, w-window+1), signed, as grades in the middle of the scale.

    Raises
    ------
    ConfigurationError
        If the window does not fit on the maps.
    """
    require_fitting(window, prediction.grid)
    share = sliding_window_view(prediction.gradcam(target), (window, window)).sum(axis=(-2, -1))
    return grades_in_the_middle(np.asarray(share), scale)


def weights_of_grade(prediction: Prediction, target: Target, grade: int, *, window: int = 1) -> FloatArray:
    """Return each window's share of the output for one grade, float32 (h-window+1, w-window+1), signed, in logits.

    Parameters
    ----------
    grade : int
        A grade of the scale.

    Raises
    ------
    ConfigurationError
        If the window does not fit on the maps.
    """
    require_fitting(window, prediction.grid)
    found = prediction.gradcam_by_grade(target.name)[grade - target.scale.lowest]
    return np.asarray(sliding_window_view(found, (window, window)).sum(axis=(-2, -1)), np.float32)
