"""Learning to find the optic disc, from a lesion net's features and boxes around discs."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from atlas.errors import TrainingError
from atlas.lesionnets.landmarks import WIDTHS, DiscReadout, middles, pooled
from atlas.lesionnets.networks import SIDE
from atlas.records import FloatArray, Frame, LesionBox

_FEWEST = 20  # photographs needed

_OUTSIDE = 12  # the readout learns from this many times more places outside discs than inside

_PENALTY = 0.01  # inverse strength of the L2 penalty of the logistic regression


def seen_at(features: FloatArray) -> FloatArray:
    """Return the readout's input at each place, float32 (places, len(WIDTHS) * C), from features (C, h, w)."""
    own = np.ascontiguousarray(pooled(features).transpose(1, 2, 0))
    widths = [own if not width else cv2.GaussianBlur(own, (0, 0), width) for width in WIDTHS]
    return np.asarray(np.concatenate(widths, axis=2).reshape(-1, len(WIDTHS) * own.shape[2]), np.float32)


def inside_disc(box: LesionBox, frame: Frame) -> NDArray[np.bool_]:
    """Return which places lie in the ellipse inside a box, bool (places,); box and frame are in source pixels."""
    scale = SIDE / frame.side
    row, column = middles()
    top, bottom = ((edge - frame.top) * scale for edge in (box.top, box.bottom))
    left, right = ((edge - frame.left) * scale for edge in (box.left, box.right))
    down = (2 * row - top - bottom) / max(bottom - top, 1e-6)
    across = (2 * column - left - right) / max(right - left, 1e-6)
    return np.asarray(down**2 + across**2 <= 1).reshape(-1)


def learn_disc(seen: Sequence[FloatArray], inside: Sequence[NDArray[np.bool_]], seed: int = 0) -> DiscReadout:
    """Learn a readout of the disc from photographs.

    Parameters
    ----------
    seen : Sequence[FloatArray]
        The result of `seen_at` for each photograph.
    inside : Sequence[NDArray[np.bool_]]
        The result of `inside_disc` for each photograph.
    seed : int
        Draws the places to learn from.

    Returns
    -------
    DiscReadout
        The readout.

    Raises
    ------
    TrainingError
        If too few photographs show a disc.
    """
    if sum(bool(own.any()) for own in inside) < _FEWEST:
        raise TrainingError(
            f"fewer than {_FEWEST} photographs have a box around the optic disc", "give boxes of the kind `optic_disc` for more"
        )
    values, labels = np.concatenate(seen), np.concatenate(inside)
    outside = np.flatnonzero(~labels)
    count = min(len(outside), _OUTSIDE * int(labels.sum()))
    chosen = np.sort(np.random.default_rng(seed).choice(outside, count, replace=False))
    rows = np.concatenate([np.flatnonzero(labels), chosen])
    scaler = StandardScaler().fit(values[rows])
    model = LogisticRegression(C=_PENALTY, max_iter=1000).fit(scaler.transform(values[rows]), labels[rows])
    spread = np.where(scaler.scale_ > 0, scaler.scale_, 1.0)
    weight = model.coef_[0] / spread
    bias = float(model.intercept_[0] - weight @ scaler.mean_)
    return DiscReadout(weight.reshape(len(WIDTHS), -1).astype(np.float32), bias)
