"""How the score falls and rises as cells are left out and put in, strongest first.

Deletion and insertion are by Petsiuk et al., "RISE", BMVC 2018.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.integrate import trapezoid

from atlas.records import BoolArray, CellSums, FloatArray, IntArray, Scale
from atlas.scorers.readouts import Head

STEPS = 11
"""Points of a deletion or insertion curve: 0, 10, ... 100 % of the retinal cells."""

FIFTH = 2
"""The point of a curve by which a map is judged: a fifth of the retinal cells left out."""

_ORDERS = 100  # random orders beside each map's own


def over_cells(values: FloatArray, inside: BoolArray, window: int) -> FloatArray:
    """Give each cell the mean of the windows on the retina that hold it: (h, w), -inf where none does.

    values, inside : (h-window+1, w-window+1), one entry per window.
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
    """Severities in grade units, float32 (STEPS,), as 0, 10, ... 100 % of the retinal cells are left out or put in.

    deletion : strongest first.   insertion : from no retinal cell to all, strongest first.   random : mean of deletions in random
    orders; read backwards, of insertions.
    """

    deletion: FloatArray
    insertion: FloatArray
    random: FloatArray


def strongest_first(values: FloatArray, inside: BoolArray) -> IntArray:
    """Order the cells on the retina by a map (h, w): int64 (k,) of row-major places, strongest first, ties in reading order."""
    places = np.flatnonzero(inside)
    ordered: IntArray = places[np.argsort(-values.ravel()[places], kind="stable")].astype(np.int64)
    return ordered


def severities_without(sums: CellSums, head: Head, scale: Scale, orders: IntArray) -> FloatArray:
    """Leave cells out one by one: float32 (m, k+1), grade units, first with all cells and last without any of the k.

    sums : of one image.   orders : int64 (m, k), places of cells. Exact, from the cell sums; see `occlusion`.
    """
    if len(sums.image_ids) != 1:
        raise ValueError(f"cell sums of {len(sums.image_ids)} images, expected one")
    cells = sums.values[0].astype(np.float64)
    gone = np.cumsum(cells[orders], axis=1)
    z = sums.bias + cells.sum(axis=0) - np.pad(gone, ((0, 0), (1, 0), (0, 0)))
    return head.severity(z, scale)


def curves(values: FloatArray, inside: BoolArray, sums: CellSums, head: Head, scale: Scale, *, seed: int = 0) -> Curves:
    """Follow the score of one image as the cells of its map (h, w) are left out, or put in, strongest first.

    `seed` draws the random orders. Cells off the retina stay as they are.
    """
    own = strongest_first(values, inside)
    rng = np.random.default_rng(seed)
    shuffled = rng.permuted(np.tile(own, (_ORDERS, 1)), axis=1)
    fall = severities_without(sums, head, scale, np.vstack([own, own[::-1], shuffled]))
    fall = fall[:, np.rint(np.linspace(0, own.size, STEPS)).astype(np.int64)]
    return Curves(fall[0], fall[1][::-1], fall[2:].mean(axis=0, dtype=np.float64).astype(np.float32))


def area(curve: FloatArray) -> float:
    """Return the mean height of a curve (STEPS,), by the trapezoid rule."""
    return float(trapezoid(curve.astype(np.float64), dx=1.0 / (len(curve) - 1)))


def fifth(curve: FloatArray) -> float:
    """Return how far a curve (STEPS,) has fallen once a fifth of the retinal cells is left out, grade units."""
    return float(curve[0]) - float(curve[FIFTH])
