"""Photographs that are similar for the network: the cosine between their pooled maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from atlas.records import Alike, FloatArray

_CHUNK = 512  # rows compared at once: 70 MB beside a cohort of 35,000

_DIGITS = 5  # cosines that are equal to this many digits count as equal: the order must not depend on the last bit of a sum


def most_alike(image_ids: Sequence[str], vectors: FloatArray, *, count: int = 6) -> Alike:
    """Find for each image the `count` others (or all, if there are fewer) whose vectors have the largest cosine with its own.

    Ties are in the order of `image_ids`. A vector of zeros has cosine 0 with every other.

    Parameters
    ----------
    vectors : FloatArray
        float32 (n, C), the pooled maps of each image.
    """
    total = len(image_ids)
    count = min(count, total - 1)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = (vectors / np.where(length > 0, length, 1)).astype(np.float32)
    others = np.zeros((total, count), np.int64)
    cosines = np.zeros((total, count), np.float32)
    for first in range(0, total if count else 0, _CHUNK):
        rows = np.arange(first, min(first + _CHUNK, total))
        near = np.round(unit[rows] @ unit.T, _DIGITS)
        near[np.arange(len(rows)), rows] = -np.inf  # itself
        others[rows], cosines[rows] = _largest(near, count)
    return Alike(tuple(image_ids), others, cosines)


def _largest(values: FloatArray, count: int) -> tuple[NDArray[np.int64], FloatArray]:
    """Return columns and values of the `count` largest entries of each row, largest first, ties by column."""
    least = np.partition(values, -count, axis=1)[:, -count]
    columns = np.zeros((len(values), count), np.int64)
    for row, (line, bound) in enumerate(zip(values, least, strict=True)):
        candidates = np.flatnonzero(line >= bound)
        columns[row] = candidates[np.argsort(-line[candidates], kind="stable")][:count]
    return columns, np.take_along_axis(values, columns, axis=1)
