"""Grad-CAM on a scorer's last maps, read in grade units.

Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017, equations 1
and 2, kept signed: the ReLU is left to the drawing. Logits are explained, because the sigmoid's and the softmax's own gradients
vanish for severe eyes; `Prediction.gradcam` says which.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from atlas.explain.windows import require_fitting
from atlas.records import FloatArray, Scale
from atlas.scorers.prediction import Prediction
from atlas.scorers.readouts import severity_of_logit


def drops(prediction: Prediction, target: str, scale: Scale, *, window: int = 1) -> FloatArray:
    """Read each window's share of the logit in grade units: float32 (h-window+1, w-window+1), signed.

    A window that contributes v to the logit counts severity(logit) - severity(logit - v), the secant rather than the tangent of
    the sigmoid, so that a severe eye keeps its map. Raises ConfigurationError where the window does not fit on the maps.
    """
    require_fitting(window, prediction.grid)
    share = sliding_window_view(prediction.gradcam(target), (window, window)).sum(axis=(-2, -1))
    logit = np.float32(prediction.logit(target))
    drop: FloatArray = severity_of_logit(np.asarray(logit), scale) - severity_of_logit(logit - share, scale)
    return drop
