"""Clusters of patches with similar appearance, by k-means on their deep features."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from atlas.patterns.reduced import TOGETHER, drawn, parts
from atlas.records import Clusters, FloatArray, Patches, Scale

_log = logging.getLogger(__name__)

FEWEST_PHOTOGRAPHS = 3
"""A cluster with patches from fewer photographs than this is too small to be a pattern. Two photographs may be both eyes of one
person, and the kind that "2 of 2" patches are is as likely the net's mistake as what they have in common."""


def normalised(patches: Patches) -> Patches:
    """Return the patches with descriptors that clusters and layout compare: signed square root, then each channel standardised.

    The root keeps the few strongest responses of a patch from dominating the others (Perronnin, Sánchez and Mensink, ECCV 2010).
    With mean 0 and standard deviation 1 over the patches, every channel has an influence. A channel that never changes becomes 0.
    `benchmarks/clusters.py` measures the benefit.
    """
    if len(patches.descriptors) > TOGETHER:
        return replace(patches, descriptors=_standardised(patches.descriptors))
    values = patches.descriptors.astype(np.float64)
    if not len(values):
        return patches
    values = np.sign(values) * np.sqrt(np.abs(values))
    spread = values.std(axis=0)
    changing = spread > 1e-6 * np.abs(values).max(axis=0)
    standardised = (values - values.mean(axis=0)) / np.where(changing, spread, np.inf)
    return replace(patches, descriptors=standardised.astype(np.float32))


def _standardised(descriptors: FloatArray) -> FloatArray:
    """Do what `normalised` does part by part: no second copy of many descriptors is held in double precision."""
    made = np.concatenate([(np.sign(part) * np.sqrt(np.abs(part))).astype(np.float32) for part in parts(descriptors)])
    mean = sum((part.sum(axis=0, dtype=np.float64) for part in parts(made)), np.zeros(made.shape[1])) / len(made)
    squares = sum((((part - mean) ** 2).sum(axis=0) for part in parts(made)), np.zeros(made.shape[1]))
    spread = np.sqrt(squares / len(made))
    changing = spread > 1e-6 * np.abs(made).max(axis=0)
    for part in parts(made):
        part -= mean.astype(np.float32)
        part /= np.where(changing, spread, np.inf).astype(np.float32)
    return made


def cluster(patches: Patches, *, k: int = 20, seed: int = 0) -> Clusters:
    """Sort the patches into k clusters by their descriptors (see `normalised`), with the best of four k-means++ starts.

    Labels run from the largest cluster to the smallest; of equal ones, the cluster with the earliest patch comes first. If there
    are fewer distinct descriptors than k, there are only as many clusters. The number of centroids shows this, and a warning is
    logged. Of more patches than `reduced.TOGETHER`, as many are drawn by the seed to find the centroids; then each patch joins
    the nearest one.
    """
    descriptors = patches.descriptors
    possible = min(k, _count_distinct(descriptors, enough=k))
    if possible < k:
        _log.warning("only %d clusters instead of %d: the patches have no more distinct descriptors", possible, k)
    if possible == 0:
        nothing = np.empty(0, np.float32)
        return Clusters((), np.empty(0, np.int64), np.empty((0, descriptors.shape[1]), np.float32), nothing)
    with threadpool_limits(limits=1):  # sums split over threads round differently on other machines
        found = KMeans(possible, init="k-means++", n_init=4, random_state=seed)
        if len(descriptors) > TOGETHER:
            fitted = found.fit(descriptors[drawn(len(descriptors), seed)])
            assigned = np.concatenate([fitted.predict(part) for part in parts(descriptors)])
        else:
            fitted = found.fit(descriptors)
            assigned = fitted.labels_
    names, first, inverse, counts = np.unique(assigned, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -counts))
    labels = np.argsort(order)[inverse].astype(np.int64)
    centroids = fitted.cluster_centers_[names[order]].astype(np.float32)
    distances = np.empty(len(labels), np.float32)
    for label, centroid in enumerate(centroids):
        members = labels == label
        distances[members] = np.linalg.norm(descriptors[members].astype(np.float64) - centroid, axis=1)
    return Clusters(patches.patch_ids, labels, centroids, distances)


def grade_shares(clusters: Clusters, patches: Patches, grades: Mapping[str, int | None], scale: Scale) -> NDArray[np.float64]:
    """Return the share of each cluster's patches that comes from eyes of each grade.

    Parameters
    ----------
    grades : Mapping[str, int | None]
        Human grade or None, by image_id.

    Returns
    -------
    NDArray[np.float64]
        (k, number of grades). Rows sum to 1, or are all 0 if no patch of the cluster comes from a graded eye.
    """
    image_of = dict(zip(patches.patch_ids, patches.image_ids, strict=True))
    counts = np.zeros((len(clusters.centroids), len(scale.grades)))
    for patch_id, label in zip(clusters.patch_ids, clusters.labels, strict=True):
        grade = grades.get(image_of[patch_id])
        if grade is not None:
            counts[label, scale.grades.index(grade)] += 1
    totals = counts.sum(axis=1, keepdims=True)
    return np.asarray(counts / np.maximum(totals, 1))


def typical(clusters: Clusters, label: int, count: int) -> tuple[str, ...]:
    """Return the ids of up to `count` patches of one cluster, the closest to its centroid first."""
    members = np.flatnonzero(clusters.labels == label)
    nearest = members[np.argsort(clusters.distances[members], kind="stable")][:count]
    return tuple(clusters.patch_ids[i] for i in nearest)


def _count_distinct(rows: FloatArray, enough: int) -> int:
    """Count distinct rows up to `enough`, so that a large table is seldom read to its end."""
    seen: set[bytes] = set()
    for row in rows:
        seen.add((row + np.float32(0)).tobytes())  # + 0 turns -0 into 0
        if len(seen) >= enough:
            break
    return len(seen)


_CLOSE = 0.1  # how far computed distances may differ from the recorded ones, as a share of the median recorded distance

_NO_EXTENT = 1e-6  # share of the largest distance between centroids below which a cluster has no extent, such as one of one patch

_CHUNK = 8192  # rows compared with the centroids at once


@dataclass(frozen=True)
class Borders:
    """Where clusters meet, by the numbers that readers see.

    Parameters
    ----------
    second : Mapping[str, tuple[int, float]]
        For each patch, the next nearest cluster, and how much farther away its centroid is, as a share of both distances. 0 means
        on the border.
    nearest : Mapping[int, tuple[tuple[int, float], ...]]
        For each cluster, the others by the distance of their centroids, in multiples of the distance within which half of its own
        patches are. Clusters without extent, such as those of a single patch, are missing.
    """

    second: Mapping[str, tuple[int, float]]
    nearest: Mapping[int, tuple[tuple[int, float], ...]]


def borders(patches: Patches | None, clusters: Clusters | None) -> Borders:
    """Measure where clusters meet. The result is empty if there is only one, or if the centroids are not of these descriptors."""
    nothing = Borders({}, {})
    if patches is None or clusters is None or not len(clusters.labels):
        return nothing
    present = np.unique(clusters.labels)
    row = {patch: k for k, patch in enumerate(patches.patch_ids)}
    rows = np.array([row[patch] for patch in clusters.patch_ids])
    if len(present) < 2 or clusters.centroids.shape[1] != patches.descriptors.shape[1]:
        return nothing
    centroids = clusters.centroids[present].astype(np.float64)
    own = np.searchsorted(present, clusters.labels)
    shown = [clusters.shown[label] for label in present]
    usual = float(np.median(clusters.distances))
    # A caller may have clustered the descriptors as they are, or normalised. The recorded distances show which.
    for described in (normalised(patches).descriptors, patches.descriptors):
        distances = _distances(described[rows], centroids)
        to_own = distances[np.arange(len(own)), own]
        if np.median(np.abs(to_own - clusters.distances)) <= _CLOSE * usual:
            break
    else:
        return nothing
    distances[np.arange(len(own)), own] = np.inf
    other = distances.argmin(axis=1)
    to_other = distances[np.arange(len(own)), other]
    margin = (to_other - to_own) / np.maximum(to_other + to_own, np.finfo(float).tiny)
    second = {
        patch: (shown[label], gap) for patch, label, gap in zip(clusters.patch_ids, other.tolist(), margin.tolist(), strict=True)
    }
    between = _distances(centroids, centroids)
    nearest = {}
    for k, number in enumerate(shown):
        half = float(np.median(to_own[own == k]))
        if half <= _NO_EXTENT * between.max():
            continue
        order = [j for j in np.argsort(between[k], kind="stable").tolist() if j != k]
        nearest[number] = tuple((shown[j], float(between[k, j] / half)) for j in order)
    return Borders(second, nearest)


def _distances(rows: NDArray[np.floating], centroids: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Euclidean distances (m, k), computed in chunks because there may be 100,000 rows."""
    found = np.empty((len(rows), len(centroids)))
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK].astype(np.float64)
        squares = (chunk**2).sum(axis=1)[:, None] - 2 * chunk @ centroids.T + (centroids**2).sum(axis=1)
        found[start : start + _CHUNK] = np.sqrt(np.maximum(squares, 0))
    return found
