"""Descriptors reduced to their principal components; of many rows, computed part by part."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from atlas.records import FloatArray, IntArray

COMPONENTS = 50

TOGETHER = 50_000
"""Rows that are reduced in one piece. Of more, sums are formed over parts of this size, so that no second copy of all is held."""


def principal(descriptors: FloatArray, seed: int) -> NDArray[np.float64]:
    """Rotate (m, d) onto its leading components: at most 50, and at least 2, padded with zeros if there is only one."""
    components = min(COMPONENTS, *descriptors.shape)
    with threadpool_limits(limits=1):  # sums split over threads round differently on other machines
        if len(descriptors) > TOGETHER:
            points = _part_by_part(descriptors, components)
        else:
            points = PCA(components, random_state=seed).fit_transform(descriptors).astype(np.float64)
    return np.pad(points, ((0, 0), (0, max(0, 2 - components))))


def _part_by_part(descriptors: FloatArray, components: int) -> NDArray[np.float64]:
    """Rotate by the eigenvectors of the covariance, each with its largest entry positive."""
    width = descriptors.shape[1]
    mean = sum((part.sum(axis=0, dtype=np.float64) for part in parts(descriptors)), np.zeros(width)) / len(descriptors)
    products = np.zeros((width, width))
    for part in parts(descriptors):
        centred = part.astype(np.float64) - mean
        products += centred.T @ centred
    vectors = np.linalg.eigh(products)[1][:, ::-1][:, :components]
    vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(components)])
    return np.concatenate([(part.astype(np.float64) - mean) @ vectors for part in parts(descriptors)])


def drawn(count: int, seed: int) -> IntArray:
    """Draw `TOGETHER` of so many rows that stand for all, ascending."""
    return np.sort(np.random.default_rng(seed).choice(count, TOGETHER, replace=False))


def parts(rows: FloatArray) -> list[FloatArray]:
    """Cut rows into parts of `TOGETHER`, without copying them."""
    return [rows[first : first + TOGETHER] for first in range(0, len(rows), TOGETHER)]
