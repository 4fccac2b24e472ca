"""Nearest neighbours among many points: exact up to some thousands, from there on approximate, always the same ones."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from atlas.records import FloatArray, IntArray

EXACT = 20_000
"""Points up to which all pairs are compared. The time for that grows with the square of their number."""

_CHUNK = 512  # rows compared with all points at once

_MORE = 2  # times as many candidates as are wanted; the nearest of them, by exact distances, are kept


def nearest(points: FloatArray, among: FloatArray, count: int, *, seed: int = 0) -> tuple[IntArray, FloatArray]:
    """Find the `count` nearest of the points `among` for each point, by Euclidean distance.

    Of more than `EXACT` points, most, not all, of the nearest are found, by a forest of random projections (Annoy, which t-SNE
    uses, too). The result depends on the seed alone, not on threads.

    Parameters
    ----------
    points : FloatArray
        float32 (m, d).
    among : FloatArray
        float32 (n, d), with n >= count.

    Returns
    -------
    places : IntArray
        Rows of `among`, int64 (m, count), nearest first; of equally near ones the earlier first.
    distances : FloatArray
        How far away they are, float32 (m, count).
    """
    if len(among) <= EXACT:
        return _exact(points, among, count)
    from openTSNE.nearest_neighbors import Annoy

    wanted = min(_MORE * count + 1, len(among) - 1)
    with threadpool_limits(limits=1):
        index = Annoy(among, wanted, metric="euclidean", n_jobs=1, random_state=seed)
        candidates, _ = index.build()
        if points is among:
            candidates = np.hstack([np.arange(len(points))[:, None], candidates])
        else:
            candidates, _ = index.query(points, wanted)
    return _ranked(points, among, candidates.astype(np.int64), count)


def _exact(points: FloatArray, among: FloatArray, count: int) -> tuple[IntArray, FloatArray]:
    places = np.zeros((len(points), count), np.int64)
    distances = np.zeros((len(points), count), np.float32)
    own = among.astype(np.float64)
    squares = (own**2).sum(axis=1)
    for first in range(0, len(points), _CHUNK):
        rows = points[first : first + _CHUNK].astype(np.float64)
        away = np.sqrt(np.maximum((rows**2).sum(axis=1)[:, None] - 2 * rows @ own.T + squares, 0))
        near = np.argpartition(away, count - 1, axis=1)[:, :count]
        near.sort(axis=1)
        order = np.argsort(np.take_along_axis(away, near, axis=1), axis=1, kind="stable")
        places[first : first + len(rows)] = np.take_along_axis(near, order, axis=1)
        distances[first : first + len(rows)] = np.take_along_axis(away, places[first : first + len(rows)], axis=1)
    return places, distances


def _ranked(points: FloatArray, among: FloatArray, candidates: IntArray, count: int) -> tuple[IntArray, FloatArray]:
    """Keep the nearest of each point's candidates (m, c), by exact distances."""
    places = np.zeros((len(points), count), np.int64)
    distances = np.zeros((len(points), count), np.float32)
    for first in range(0, len(points), _CHUNK):
        rows = slice(first, first + _CHUNK)
        near = np.sort(candidates[rows], axis=1)
        away = np.linalg.norm(among[near].astype(np.float64) - points[rows, None].astype(np.float64), axis=2)
        order = np.argsort(away, axis=1, kind="stable")[:, :count]
        places[rows], distances[rows] = (np.take_along_axis(own, order, axis=1) for own in (near, away))
    return places, distances
