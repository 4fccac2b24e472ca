"""How the score falls and rises as cells are left out and put in, strongest first.

Source of deletion and insertion: Petsiuk et al., "RISE", BMVC 2018.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.integrate import trapezoid

from atlas.records import BoolArray, FloatArray, IntArray
from atlas.scorers.prediction import Prediction

STEPS = 11
"""Points of a deletion or insertion curve: 0, 10, ... 100% of the retinal cells."""

FIFTH = 2
"""The point of a curve at which a map is judged: a fifth of the retinal cells is left out."""

_ORDERS = 100  # random orders that each map's own order is compared with


def over_cells(values: FloatArray, inside: BoolArray, window: int) -> FloatArray:
    """Return for each cell the mean over the windows on the retina that contain it: (h, w), -inf where there is none.

    Parameters
    ----------
    values : FloatArray
        (h-window+1, w-window+1), one value per window.
    inside : BoolArray
        (h-window+1, w-window+1), true where the window lies on the retina.
    window : int
        Side of a window, in cells.
    """
    rows, columns = (length + window - 1 for length in values.shape)
    total, count = np.zeros((rows, columns)), np.zeros((rows, columns))
    for row, column in np.ndindex(window, window):
        place = slice(row, row + values.shape[0]), slice(column, column + values.shape[1])
        total[place] += np.where(inside, values, 0.0)
        count[place] += inside
    spread: FloatArray = np.where(count > 0, total / np.maximum(count, 1), -np.inf).astype(np.float32)
    return spread


class Curves(NamedTuple):
    """Severities in grade units, float32 (STEPS,), as 0, 10, ... 100% of the retinal cells are left out or put in.

    Parameters
    ----------
    deletion : FloatArray
        Cells are left out, strongest first.
    insertion : FloatArray
        Cells are put in, from none to all, strongest first.
    random : FloatArray
        Mean of deletions in random orders; read backwards, the mean of insertions.
    """

    deletion: FloatArray
    insertion: FloatArray
    random: FloatArray


def strongest_first(values: FloatArray, inside: BoolArray) -> IntArray:
    """Return the cells on the retina in the order of a map (h, w): int64 (k,), row-major, strongest first, ties row by row."""
    places = np.flatnonzero(inside)
    ordered: IntArray = places[np.argsort(-values.ravel()[places], kind="stable")].astype(np.int64)
    return ordered


def severities_without(prediction: Prediction, target: str, orders: IntArray, counts: IntArray) -> FloatArray:
    """Return the severities with the first cells of each order hidden: float32 (m, s), grade units.

    Parameters
    ----------
    prediction : Prediction
        Prediction for the photograph.
    target : str
        Name of a target.
    orders : IntArray
        int64 (m, k), row-major places of cells.
    counts : IntArray
        int64 (s,), how many of each order's cells are hidden.
    """
    rows, columns = prediction.grid
    rank = np.full((len(orders), rows * columns), orders.shape[1], np.int64)  # a cell that is in no order is never hidden
    np.put_along_axis(rank, orders, np.arange(orders.shape[1])[None], axis=1)
    masks = rank[:, None] < np.minimum(counts, orders.shape[1])[:, None]
    return prediction.without(target, masks.reshape(-1, rows, columns)).reshape(len(orders), len(counts))


def curves(values: FloatArray, inside: BoolArray, prediction: Prediction, target: str, *, seed: int = 0) -> Curves:
    """Return the curves of one photograph as the cells of its map (h, w) are left out, or put in, strongest first.

    Cells off the retina are never hidden.

    Parameters
    ----------
    values : FloatArray
        float32 (h, w), the map.
    inside : BoolArray
        bool (h, w), true where the cell is on the retina.
    prediction : Prediction
        Prediction for the photograph.
    target : str
        Name of a target.
    seed : int
        Draws the random orders.

    Returns
    -------
    Curves
        The curves.
    """
    own = strongest_first(values, inside)
    rng = np.random.default_rng(seed)
    shuffled = rng.permuted(np.tile(own, (_ORDERS, 1)), axis=1)
    counts = np.rint(np.linspace(0, own.size, STEPS)).astype(np.int64)
    fall = severities_without(prediction, target, np.vstack([own, own[::-1], shuffled]), counts)
    return Curves(fall[0], fall[1][::-1], fall[2:].mean(axis=0, dtype=np.float64).astype(np.float32))


def area(curve: FloatArray) -> float:
    """Return the mean height of a curve (STEPS,), by the trapezoid rule."""
    return float(trapezoid(curve.astype(np.float64), dx=1.0 / (len(curve) - 1)))


def fifth(curve: FloatArray) -> float:
    """Return how far a curve (STEPS,) has fallen once a fifth of the retinal cells is left out, grade units."""
    return float(curve[0]) - float(curve[FIFTH])
