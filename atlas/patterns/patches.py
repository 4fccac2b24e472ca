"""Windows whose loss lowers the severity most, as patches of the photograph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from atlas.records import BoolArray, FloatArray, Frame, IntArray, Patches

Box = tuple[int, int, int, int]

CellBox = Callable[[Frame, tuple[int, int], int, int, int], Box]
"""Called as cell_box(frame, (h, w), row, col, window); returns top, left, bottom, right in source pixels."""

_ANY_DROP = float(np.finfo(np.float32).tiny)


def choose_threshold(
    drops: FloatArray, inside: BoolArray, *, threshold: float, fewest: int, quantile: float
) -> tuple[float, float | None]:
    """Decide the drop, in grade units, above which a window is a patch.

    The wished `threshold` stands if at least `fewest` windows exceed it. Otherwise it is lowered to the `quantile` of the drops
    of all windows on the retina, but never so low that a window without a positive drop would count.

    drops, inside : (n, h', w'), one entry per window. Returns the threshold, and the quantile or None where the wish stood.
    """
    retinal = drops[inside]
    if np.count_nonzero(retinal > threshold) >= fewest or retinal.size == 0:
        return threshold, None
    lowered = float(np.quantile(retinal, quantile))
    if lowered >= threshold:
        return threshold, None
    return max(lowered, _ANY_DROP), quantile


def salient_windows(
    image_ids: Sequence[str],
    drops: FloatArray,
    inside: BoolArray,
    frames: Mapping[str, Frame],
    shape: tuple[int, int],
    cell_box: CellBox,
    *,
    window: int,
    threshold: float,
    quantile: float | None = None,
) -> Patches:
    """Collect the windows on the retina whose drop exceeds the threshold, by image_id, then row, then column.

    drops, inside : (n, h-window+1, w-window+1), one entry per window.   shape : rows and columns of cells.
    The descriptors are left empty, (m, 0); see `with_descriptors`.
    """
    found = np.argwhere(inside & (drops > max(threshold, 0.0)))
    found = found[np.lexsort((found[:, 2], found[:, 1], np.asarray(image_ids)[found[:, 0]]))] if len(found) else found
    places = [(image_ids[image], int(row), int(column)) for image, row, column in found]
    boxes = [cell_box(frames[image_id], shape, row, column, window) for image_id, row, column in places]
    return Patches(
        patch_ids=tuple(f"{image_id}-{row:02d}{column:02d}w{window}" for image_id, row, column in places),
        image_ids=tuple(image_id for image_id, _, _ in places),
        cells=np.array([(row, column, window) for _, row, column in places], np.int64).reshape(-1, 3),
        boxes=np.array(boxes, np.int64).reshape(-1, 4),
        drop=drops[tuple(found.T)].astype(np.float32),
        descriptors=np.empty((len(places), 0), np.float32),
        threshold=threshold,
        quantile=quantile,
    )


def off_retina(patches: Patches, coverage: Mapping[str, FloatArray]) -> FloatArray:
    """Tell what share of each patch lies off the retina, float32 (m,).   coverage : image_id -> (h, w), share that is retina."""
    shares = [
        1 - coverage[image_id][row : row + window, column : column + window].mean()
        for image_id, (row, column, window) in zip(patches.image_ids, patches.cells.tolist(), strict=True)
    ]
    return np.array(shares, np.float32)


def only(patches: Patches, rows: IntArray) -> Patches:
    """Return the patches of these rows, int64 (k,), and no others."""
    return replace(
        patches,
        patch_ids=tuple(patches.patch_ids[row] for row in rows),
        image_ids=tuple(patches.image_ids[row] for row in rows),
        cells=patches.cells[rows],
        boxes=patches.boxes[rows],
        drop=patches.drop[rows],
        descriptors=patches.descriptors[rows],
    )


def with_descriptors(patches: Patches, descriptors: FloatArray) -> Patches:
    """Return the same patches with their deep features, (m, d) in the order of patch_ids."""
    if descriptors.ndim != 2 or len(descriptors) != len(patches.patch_ids):
        raise ValueError(f"descriptors are {descriptors.shape}, expected ({len(patches.patch_ids)}, d)")
    return replace(patches, descriptors=np.asarray(descriptors, np.float32))
