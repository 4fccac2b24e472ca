"""Photographs that are similar for the network: the cosine between their pooled maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from atlas.patterns.nearest import EXACT, nearest
from atlas.patterns.reduced import principal
from atlas.records import Alike, FloatArray

_CHUNK = 512  # rows compared at once: 70 MB beside a cohort of 35,000

_CANDIDATES = 4  # times as many neighbours by principal components as are wanted

_DIGITS = 5  # cosines that are equal to this many digits count as equal: the order must not depend on the last bit of a sum


def most_alike(image_ids: Sequence[str], vectors: FloatArray, *, count: int = 6) -> Alike:
    """Find for each image the `count` others (or all, if there are fewer) whose vectors have the largest cosine with its own.

    Ties are in the order of `image_ids`. A vector of zeros has cosine 0 with every other. Among more than `nearest.EXACT` images,
    candidates are found by their principal components, see `nearest`; their order is that of the exact cosines.

    Parameters
    ----------
    vectors : FloatArray
        float32 (n, C), the pooled maps of each image.
    """
    total = len(image_ids)
    count = min(count, total - 1)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = (vectors / np.where(length > 0, length, 1)).astype(np.float32)
    if total > EXACT and count:
        return Alike(tuple(image_ids), *_of_many(unit, count))
    others = np.zeros((total, count), np.int64)
    cosines = np.zeros((total, count), np.float32)
    for first in range(0, total if count else 0, _CHUNK):
        rows = np.arange(first, min(first + _CHUNK, total))
        near = np.round(unit[rows] @ unit.T, _DIGITS)
        near[np.arange(len(rows)), rows] = -np.inf  # itself
        others[rows], cosines[rows] = _largest(near, count)
    return Alike(tuple(image_ids), others, cosines)


def _of_many(unit: FloatArray, count: int) -> tuple[NDArray[np.int64], FloatArray]:
    """Find the others most alike, and their cosines, among vectors of length 1 (n, C)."""
    points = principal(unit, seed=0).astype(np.float32)
    candidates = nearest(points, points, min(_CANDIDATES * count + 1, len(points)))[0]
    others = np.zeros((len(unit), count), np.int64)
    cosines = np.zeros((len(unit), count), np.float32)
    for first in range(0, len(unit), _CHUNK):
        rows = np.arange(first, min(first + _CHUNK, len(unit)))
        columns = np.sort(candidates[rows], axis=1)
        near = np.round(np.einsum("rkc,rc->rk", unit[columns], unit[rows]), _DIGITS)
        near[columns == rows[:, None]] = -np.inf  # itself
        order = np.argsort(-near, axis=1, kind="stable")[:, :count]
        others[rows], cosines[rows] = (np.take_along_axis(own, order, axis=1) for own in (columns, near))
    return others, cosines


def _largest(values: FloatArray, count: int) -> tuple[NDArray[np.int64], FloatArray]:
    """Return columns and values of the `count` largest entries of each row, largest first, ties by column."""
    least = np.partition(values, -count, axis=1)[:, -count]
    columns = np.zeros((len(values), count), np.int64)
    for row, (line, bound) in enumerate(zip(values, least, strict=True)):
        candidates = np.flatnonzero(line >= bound)
        columns[row] = candidates[np.argsort(-line[candidates], kind="stable")][:count]
    return columns, np.take_along_axis(values, columns, axis=1)
