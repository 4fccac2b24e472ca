"""The occlusion test on a trunk's last maps, computed from the head's first-layer sums.

The first layer is linear, so leaving cells out only takes their sums away from z; neither the trunk nor the large matrix runs
again. Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, introduced the test, on pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atlas.errors import ConfigurationError
from atlas.records import BoolArray, CellSums, FloatArray, Scale
from atlas.scorers.readouts import Head


def drops(sums: CellSums, head: Head, scale: Scale, *, window: int = 1) -> FloatArray:
    """Measure how far the severity falls when each square window of cells is set to zero across all channels.

    Returns float32 (n, h-window+1, w-window+1), signed, in grade units; [i, r, c] leaves out rows r..r+window-1 and columns
    c..c+window-1 of image i. Positive: the window made the eye look more severe. Raises ConfigurationError where the window does
    not fit on the maps.
    """
    rows, columns = sums.shape
    if not 1 <= window <= min(rows, columns):
        raise ConfigurationError(
            f"window = {window} does not fit on maps of {rows} x {columns} cells",
            f"choose a whole number from 1 to {min(rows, columns)}.",
        )
    cells = sums.values.reshape(len(sums.image_ids), rows, columns, -1).astype(np.float64)
    z = sums.bias + cells.sum(axis=(1, 2))
    without = z[:, None, None] - _window_sums(cells, window)
    drop: FloatArray = head.severity(z, scale)[:, None, None] - head.severity(without, scale)
    return drop


def severity_without(sums: CellSums, head: Head, scale: Scale, mask: BoolArray) -> FloatArray:
    """Score every image with the masked cells set to zero.

    mask : bool (h, w) or (k, h, w), true where a cell is left out. Returns float32 (n,) or (n, k) in grade units.
    """
    if mask.shape[-2:] != sums.shape:
        raise ValueError(f"mask is {mask.shape}, expected (h, w) or (k, h, w) with (h, w) = {sums.shape}")
    kept = ~mask.reshape(*mask.shape[:-2], -1)
    z = sums.bias + kept.astype(np.float64) @ sums.values.astype(np.float64)
    return head.severity(z, scale)


def _window_sums(cells: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Sum (n, h, w, H) over sliding windows, first down the rows and then along the columns."""
    for axis in (1, 2):
        steps = cells.shape[axis] - window + 1
        cells = np.sum([cells.take(range(first, first + steps), axis) for first in range(window)], axis=0)
    return cells
