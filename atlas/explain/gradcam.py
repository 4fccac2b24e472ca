"""Grad-CAM of the logit on a trunk's last maps; only the head is differentiated.

Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017, equations 1
and 2, kept signed: the ReLU is left to the drawing. The logit is explained because the sigmoid's own gradient vanishes for severe
eyes.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from atlas.errors import ConfigurationError
from atlas.records import CellSums, FeatureMaps, FloatArray, Scale
from atlas.scorers.readouts import Head, severity_of_logit


def logit_maps(features: FeatureMaps, sums: CellSums, head: Head) -> FloatArray:
    """Weigh each map by the spatial mean of the logit's gradient and add them up: float32 (n, h, w), signed, in logits.

    sums : of the same images, in the same order, by the same head.
    """
    return _logit_maps(features, head, _first_layer(sums))


def drops(features: FeatureMaps, sums: CellSums, head: Head, scale: Scale, *, window: int = 1) -> FloatArray:
    """Read each window's share of the logit in grade units: float32 (n, h-window+1, w-window+1), signed.

    A window that contributes v to the logit counts severity(logit) - severity(logit - v), the secant rather than the tangent of
    the sigmoid, so that a severe eye keeps its map. Raises ConfigurationError where the window does not fit on the maps.
    """
    rows, columns = sums.shape
    if not 1 <= window <= min(rows, columns):
        raise ConfigurationError(
            f"window = {window} does not fit on maps of {rows} x {columns} cells",
            f"choose a whole number from 1 to {min(rows, columns)}.",
        )
    z = _first_layer(sums)
    share = sliding_window_view(_logit_maps(features, head, z), (window, window), axis=(1, 2)).sum(axis=(-2, -1))
    logit = head.logit(z)[:, None, None]
    drop: FloatArray = severity_of_logit(logit, scale) - severity_of_logit(logit - share, scale)
    return drop


def _first_layer(sums: CellSums) -> NDArray[np.float64]:
    """Return z, (n, H)."""
    return np.asarray(sums.bias + sums.values.sum(axis=1, dtype=np.float64))


def _logit_maps(features: FeatureMaps, head: Head, z: NDArray[np.float64]) -> FloatArray:
    # d logit / d x is W1^T (w2 * [z > 0]); W1 is averaged over its cells first, which is the same mean and far smaller.
    channel_weights = np.where(z > 0, head.output_weight, 0.0) @ head.hidden_weight.mean(axis=(2, 3), dtype=np.float64)
    maps: FloatArray = np.einsum("nc,nchw->nhw", channel_weights, features.values).astype(np.float32)
    return maps
