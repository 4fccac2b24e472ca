"""How far a saliency map can be trusted, measured by what the scorer does and by lesions that an expert outlined.

Two questions are kept apart. Does the map reflect what the scorer does? If so, the score falls quickly as the marked cells are
left out (deletion), and the map changes if the scorer's weights are scrambled. Does the map point at disease? If so, its
strongest cell touches a lesion, and its drops are mostly inside the lesions' outlines. A map can be faithful to a scorer that
looks at the wrong things.

Sources: the pointing game is by Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016; the share inside by
Wang et al., "Score-CAM", CVPR Workshops 2020 (there: energy-based pointing game); deletion and insertion by Petsiuk et al.,
"RISE", BMVC 2018; the scrambled weights by Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.stats import spearmanr

from atlas.explain.windows import windows_inside
from atlas.photographs.frames import cell_coverage, crop
from atlas.records import BoolArray, FloatArray, Frame, Target
from atlas.scorers.prediction import Prediction
from atlas.trust.curves import area, curves, over_cells


def lesion_coverage(lesions: BoolArray, frame: Frame, shape: tuple[int, int]) -> FloatArray:
    """Return the share of each cell that is lesion, float32 (h, w); the mask is cropped like its photograph.

    Parameters
    ----------
    lesions : BoolArray
        bool (H, W) in source pixels.
    frame : Frame
        The square of the retina, in source pixels.
    shape : tuple[int, int]
        Rows and columns of cells (h, w).
    """
    return cell_coverage(crop(lesions.astype(np.uint8), frame) > 0, shape)


def over_windows(cells: FloatArray, window: int) -> FloatArray:
    """Return the mean of the cells' values (h, w) in each square window: (h-window+1, w-window+1)."""
    means: FloatArray = sliding_window_view(cells, (window, window)).mean(axis=(-2, -1), dtype=np.float64).astype(np.float32)
    return means


def hit(values: FloatArray, inside: BoolArray, touched: BoolArray) -> float:
    """Return the result of the pointing game: 1 if the strongest cell on the retina touches a lesion, else 0.

    All arrays are (h, w). If several cells are equally strong, one of them is drawn at random and the result is the expectation,
    so a constant map scores like a random cell. A map without a positive drop points nowhere and misses.
    """
    strongest = values[inside].max(initial=0.0)
    if strongest <= 0:
        return 0.0
    return float(touched[inside & (values == strongest)].mean())


def share_inside(values: FloatArray, inside: BoolArray, lesions: FloatArray, coverage: FloatArray) -> float:
    """Return the share of a map's positive drops that lies inside lesions, 0..1; NaN if no drop is positive.

    A cell's drop counts in proportion to the part of its retina that is lesion, so drops that are spread evenly over the retina
    give `area_share`.

    Parameters
    ----------
    values : FloatArray
        float32 (h, w), the map.
    inside : BoolArray
        bool (h, w), true where the cell is on the retina.
    lesions : FloatArray
        float32 (h, w), share of each cell that is lesion.
    coverage : FloatArray
        float32 (h, w), share of each cell that is retina.
    """
    drops = np.where(inside, np.maximum(values, 0.0), 0.0).astype(np.float64)
    if not drops.any():
        return np.nan
    within = np.minimum(lesions, coverage) / np.where(coverage > 0, coverage, 1.0)
    return float((drops * within).sum() / drops.sum())


def points_in(lesions: BoolArray, frame: Frame, points: FloatArray, shape: tuple[int, int]) -> BoolArray:
    """Return whether the point of each window of cells lies inside a lesion, bool (h', w').

    Parameters
    ----------
    lesions : BoolArray
        bool (H, W) in source pixels.
    frame : Frame
        The square of the retina, in source pixels.
    points : FloatArray
        (h', w', 2), row and column in cells from the window's first cell, see `Prediction.points`.
    shape : tuple[int, int]
        Rows and columns of cells (h, w) in the frame.
    """
    rows = frame.top + (np.arange(points.shape[0])[:, None] + points[..., 0]) * frame.side / shape[0]
    columns = frame.left + (np.arange(points.shape[1]) + points[..., 1]) * frame.side / shape[1]
    on = (rows >= 0) & (rows < lesions.shape[0]) & (columns >= 0) & (columns < lesions.shape[1])
    at = tuple(np.floor(own).astype(int).clip(0, length - 1) for own, length in zip((rows, columns), lesions.shape, strict=True))
    return np.asarray(lesions[at] & on)


def middles_in(lesions: BoolArray, frame: Frame, shape: tuple[int, int], window: int) -> BoolArray:
    """Return whether the centre of each window lies inside a lesion, bool (h-window+1, w-window+1), see `points_in`."""
    windows = shape[0] - window + 1, shape[1] - window + 1
    return points_in(lesions, frame, np.full((*windows, 2), window / 2, np.float32), shape)


def area_share(inside: BoolArray, lesions: FloatArray, coverage: FloatArray) -> float:
    """Return the share of the retina, in the cells inside, that is lesion, 0..1."""
    return float(np.minimum(lesions, coverage)[inside].sum(dtype=np.float64) / coverage[inside].sum(dtype=np.float64))


def centre_map(shape: tuple[int, int]) -> FloatArray:
    """Return a map that does not depend on the photograph: strongest at the centre of the frame and falling outwards."""
    rows, columns = (np.arange(length) - (length - 1) / 2 for length in shape)
    away = np.hypot(rows[:, None], columns)
    falling: FloatArray = (1.0 + away.max() - away).astype(np.float32)
    return falling


def likeness(values: FloatArray, other: FloatArray, inside: BoolArray) -> tuple[float, float]:
    """Return Spearman's rank correlation of two maps (h, w) over the cells inside: of signed and of absolute values.

    NaN if a map is constant.
    """
    pairs = ((change(values[inside]), change(other[inside])) for change in (np.positive, np.abs))
    signed, absolute = (
        np.nan if min(np.ptp(own), np.ptp(against)) == 0 else float(spearmanr(own, against).statistic) for own, against in pairs
    )
    return signed, absolute


Row = Mapping[str, float]
"""Figures of one map of one photograph; undefined ones are NaN or missing."""


def measure(
    maps: Mapping[str, FloatArray],
    *,
    inside: BoolArray,
    lesions: FloatArray,
    coverage: FloatArray,
    prediction: Prediction,
    target: Target,
    middles: BoolArray,
    points: BoolArray | None = None,
    window: int = 1,
    seed: int = 0,
) -> dict[str, Row]:
    """Measure the maps of one photograph with lesions, and compare them with the centre of the retina and with chance.

    Parameters
    ----------
    maps : Mapping[str, FloatArray]
        By method, float32 (h-window+1, w-window+1).
    inside : BoolArray
        bool (h, w), true where the cell is on the retina.
    lesions : FloatArray
        float32 (h, w), share of each cell that is lesion.
    coverage : FloatArray
        float32 (h, w), share of each cell that is retina.
    prediction : Prediction
        Prediction for this photograph.
    target : Target
        What is graded.
    middles : BoolArray
        bool (h-window+1, w-window+1), whether the centre of each window lies inside a lesion.
    points : BoolArray or None
        bool of the same shape, whether the point of each window lies inside a lesion, for a scorer that sees finer places than
        its cells; the centres if not given.
    window : int
        Side of a window, in cells.
    seed : int
        Draws the random orders.

    Returns
    -------
    dict[str, Row]
        Figures for each method, and for "centre" and "random": `hit`, `random` (the hit of a random window), `middle` (1 if the
        point of the strongest window lies inside a lesion), `gain` (`middle` minus that of the centre), `share` (of positive
        drops inside lesions), `area` (share of the retina that is lesion), and `deletion` and `insertion`: mean heights of the
        curves above the lowest grade, grade units, to be compared with `height`, that of the complete score.
    """
    lesions, coverage = over_windows(lesions, window), over_windows(coverage, window)
    whole, touched = windows_inside(inside[None], window)[0], lesions > 0
    chance = hit(np.ones_like(lesions), whole, touched)
    common = {"random": chance, "area": area_share(whole, lesions, coverage)}
    rows: dict[str, Row] = {}
    central = hit(centre_map(touched.shape), whole, middles)
    for name, values in {**maps, "centre": centre_map(touched.shape)}.items():
        own = curves(over_cells(values, whole, window), inside, prediction, target.name, seed=seed)
        common["height"] = float(own.deletion[0]) - target.scale.lowest
        rows[name] = {
            **common,
            "hit": hit(values, whole, touched),
            "middle": (own_middle := hit(values, whole, middles if points is None or name not in maps else points)),
            "gain": own_middle - central if name in maps else np.nan,
            "share": share_inside(values, whole, lesions, coverage) if name in maps else np.nan,
            "deletion": area(own.deletion) - target.scale.lowest,
            "insertion": area(own.insertion) - target.scale.lowest,
        }
    by_chance = area(own.random) - target.scale.lowest
    by_luck = hit(np.ones_like(lesions), whole, middles)
    rows["random"] = {
        **common,
        "hit": chance,
        "middle": by_luck,
        "gain": by_luck - central,
        "share": common["area"],
        "deletion": by_chance,
        "insertion": by_chance,
    }
    return rows
