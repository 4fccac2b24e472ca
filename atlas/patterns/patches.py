"""Patches of photographs: the windows whose loss lowers the severity most, or the lesions that a net found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from atlas.records import BoolArray, FloatArray, Frame, IntArray, Mark, Patches

Box = tuple[int, int, int, int]

CellBox = Callable[[Frame, tuple[int, int], int, int, int], Box]
"""Called as cell_box(frame, (h, w), row, col, window); returns top, left, bottom, right in source pixels."""

_ROUND = 1.6  # side of a patch, in sides of its lesion: some of the surroundings helps to see what it is

_SMALLEST, _LARGEST = 0.06, 0.3  # sides of a patch, as shares of the frame's side

_FINE = 128  # cells a side of the grid by which a lesion's patch is named

_MOST = 16  # only this many lesions of a photograph, the strongest, become patches: a severe eye must not fill the clusters

_ANY_DROP = float(np.finfo(np.float32).tiny)


def choose_threshold(
    drops: FloatArray, inside: BoolArray, *, threshold: float, fewest: int, quantile: float
) -> tuple[float, float | None]:
    """Choose the drop, in grade units, above which a window is a patch.

    The requested `threshold` is kept if at least `fewest` windows exceed it. Otherwise it is lowered to the `quantile` of the
    drops of all windows on the retina, but never so low that a window without a positive drop would count.

    Parameters
    ----------
    drops : FloatArray
        float32 (n, h', w'), the drop of each window.
    inside : BoolArray
        bool (n, h', w'), whether each window is on the retina.

    Returns
    -------
    threshold : float
        The threshold, in grade units.
    quantile : float or None
        The quantile that it was lowered to; None if the requested threshold was kept.
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
    falls: FloatArray | None = None,
) -> Patches:
    """Collect the windows on the retina whose drop exceeds the threshold, by image_id, then row, then column.

    Parameters
    ----------
    drops : FloatArray
        float32 (n, h-window+1, w-window+1), the drop of each window.
    inside : BoolArray
        bool, of the same shape, whether each window is on the retina.
    shape : tuple[int, int]
        Rows and columns of cells.
    falls : FloatArray or None
        Of the same shape, the values that patches record as their drop, if these are on another scale than the threshold.

    Returns
    -------
    Patches
        Their descriptors are empty, (m, 0); see `with_descriptors`.
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
        drop=(drops if falls is None else falls)[tuple(found.T)].astype(np.float32),
        descriptors=np.empty((len(places), 0), np.float32),
        threshold=threshold,
        quantile=quantile,
    )


def lesion_patches(
    marks: Mapping[str, Sequence[Mark]],
    falls: Mapping[str, FloatArray],
    descriptors: Mapping[str, FloatArray],
    frames: Mapping[str, Frame],
    shape: tuple[int, int],
    *,
    threshold: float,
) -> Patches:
    """Make patches of the strongest lesions of each photograph. Each is centred on its lesion and sized to it.

    Parameters
    ----------
    marks : Mapping[str, Sequence[Mark]]
        Lesions by image_id, strongest first.
    falls : Mapping[str, FloatArray]
        By image_id, in the same order, how far the score falls without the cells of each lesion.
    descriptors : Mapping[str, FloatArray]
        By image_id, in the same order, the net's description of each lesion.
    shape : tuple[int, int]
        Rows and columns of the scorer's cells.
    threshold : float
        Only recorded.
    """
    ids, images, cells, boxes, drops, seen, kinds = [], [], [], [], [], [], []
    for image_id in sorted(marks):
        frame = frames[image_id]
        own: set[str] = set()
        for mark, fall, described in zip(marks[image_id], falls[image_id], descriptors[image_id], strict=True):
            top, left, bottom, right = mark.box
            down, across = ((a + b) / 2 for a, b in ((top, bottom), (left, right)))
            extent = max(bottom - top, right - left)
            side = min(max(_ROUND * extent, _SMALLEST * frame.side), _LARGEST * frame.side)
            row, col = (int(_FINE * (at - start) / frame.side) for at, start in ((down, frame.top), (across, frame.left)))
            patch_id = f"{image_id}-{row:03d}{col:03d}w{max(1, round(_FINE * extent / frame.side))}"
            if patch_id in own or len(own) == _MOST:
                continue
            own.add(patch_id)
            ids.append(patch_id)
            images.append(image_id)
            begin, start = round(down - side / 2), round(across - side / 2)
            boxes.append((begin, start, begin + round(side), start + round(side)))
            cells.append((row * shape[0] // _FINE, col * shape[1] // _FINE, 1))
            drops.append(fall)
            seen.append(described)
            kinds.append(mark.kind)
    return Patches(
        tuple(ids),
        tuple(images),
        np.array(cells, np.int64).reshape(-1, 3),
        np.array(boxes, np.int64).reshape(-1, 4),
        np.array(drops, np.float32),
        np.array(seen, np.float32) if seen else np.empty((0, 0), np.float32),
        threshold,
        kinds=tuple(kinds),
    )


def with_windows(lesions: Patches, windows: Patches, marks: Mapping[str, Sequence[Mark]]) -> Patches:
    """Return lesions followed by the windows that touch none: they drive the score in places without a found lesion.

    A window has the kind "". Its descriptor is all zeros, as wide as a lesion's.

    Parameters
    ----------
    marks : Mapping[str, Sequence[Mark]]
        All lesions by image_id.
    """
    beside = [
        row
        for row, (image_id, (top, left, bottom, right)) in enumerate(zip(windows.image_ids, windows.boxes.tolist(), strict=True))
        if not any(
            box[0] < bottom and box[2] > top and box[1] < right and box[3] > left
            for box in (mark.box for mark in marks.get(image_id, ()))
        )
    ]
    own = only(windows, np.array(beside, np.int64))
    return Patches(
        (*lesions.patch_ids, *own.patch_ids),
        (*lesions.image_ids, *own.image_ids),
        np.concatenate([lesions.cells, own.cells]),
        np.concatenate([lesions.boxes, own.boxes]),
        np.concatenate([lesions.drop, own.drop]),
        np.pad(lesions.descriptors, ((0, len(beside)), (0, 0))),
        windows.threshold,
        windows.quantile,
        (*lesions.kinds, *("" for _ in beside)),
    )


def off_retina(patches: Patches, coverage: Mapping[str, FloatArray]) -> FloatArray:
    """Return the share of each patch that is off the retina, float32 (m,).

    Parameters
    ----------
    coverage : Mapping[str, FloatArray]
        By image_id, float32 (h, w), share of each cell that is retina.
    """
    shares = [
        1 - coverage[image_id][row : row + window, column : column + window].mean()
        for image_id, (row, column, window) in zip(patches.image_ids, patches.cells.tolist(), strict=True)
    ]
    return np.array(shares, np.float32)


def only(patches: Patches, rows: IntArray) -> Patches:
    """Return only the patches of these rows, int64 (k,)."""
    return replace(
        patches,
        patch_ids=tuple(patches.patch_ids[row] for row in rows),
        image_ids=tuple(patches.image_ids[row] for row in rows),
        cells=patches.cells[rows],
        boxes=patches.boxes[rows],
        drop=patches.drop[rows],
        descriptors=patches.descriptors[rows],
        kinds=tuple(patches.kinds[row] for row in rows) if patches.kinds else (),
    )


def with_descriptors(patches: Patches, descriptors: FloatArray) -> Patches:
    """Return the same patches with their deep features, (m, d) in the order of patch_ids.

    Raises
    ------
    ValueError
        If the number of descriptors is not that of the patches.
    """
    if descriptors.ndim != 2 or len(descriptors) != len(patches.patch_ids):
        raise ValueError(f"descriptors are {descriptors.shape}, expected ({len(patches.patch_ids)}, d)")
    return replace(patches, descriptors=np.asarray(descriptors, np.float32))
