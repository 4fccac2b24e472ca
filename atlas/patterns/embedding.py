"""Layout of patches in the plane, with similar patches close together."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from atlas.errors import ConfigurationError
from atlas.patterns.nearest import nearest
from atlas.patterns.reduced import TOGETHER, drawn, principal
from atlas.records import Embedding, FloatArray, IntArray, Patches

_FEWEST = 5  # with fewer points, neighbours mean little, and the principal plane shows everything

_PERPLEXITY = 30  # of t-SNE, which looks at three times as many neighbours; fewer points have fewer

_AMONG = 5  # neighbours among which a patch is placed that was not laid out with them


@dataclass(frozen=True)
class Layout:
    """A method of laying out points in the plane.

    Parameters
    ----------
    title : str
        Its name in print.
    place : Callable[[NDArray[np.float64], int], NDArray[np.floating]]
        Maps points (m, d), d >= 2 and m >= 5, and a seed to (m, 2).
    """

    title: str
    place: Callable[[NDArray[np.float64], int], NDArray[np.floating]]


def _tsne(points: NDArray[np.float64], seed: int) -> NDArray[np.floating]:
    from openTSNE import TSNE
    from openTSNE.affinity import MultiscaleMixture
    from openTSNE.nearest_neighbors import Annoy, Sklearn

    # The neighbours that TSNE would find itself. Whatever else it is told, it loads PyNNDescent first, and that a compiler.
    count = min(len(points) - 1, 3 * _PERPLEXITY)
    index = Sklearn if len(points) < 1000 else Annoy
    neighbours = index(points, count, metric="euclidean", n_jobs=1, random_state=seed)
    # On one core, interpolation is faster than Barnes-Hut from a few thousand points on.
    gradient = "fft" if len(points) > 4000 else "bh"
    layout = TSNE(initialization="pca", negative_gradient_method=gradient, n_jobs=1, random_state=seed)
    affinities = MultiscaleMixture(perplexities=count / 3, knn_index=neighbours, n_jobs=1)
    return np.asarray(layout.fit(points, affinities=affinities))


def _umap(points: NDArray[np.float64], seed: int) -> NDArray[np.floating]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # umap warns about a neural variant that needs Tensorflow
        from umap import UMAP

    # A start from the principal plane also works for disconnected graphs, which the spectral start warns about.
    layout = UMAP(n_neighbors=min(15, len(points) - 1), init="pca", n_jobs=1, random_state=seed)
    return np.asarray(layout.fit_transform(points))


LAYOUTS: Mapping[str, Layout] = {"tsne": Layout("t-SNE", _tsne), "umap": Layout("UMAP", _umap)}


def embed(
    patches: Patches, *, layout: str = "tsne", seed: int = 0, fixed: Mapping[str, tuple[float, float]] | None = None
) -> Embedding:
    """Lay the patches out by their descriptors, which are first reduced to 50 principal components.

    `xy` is centred on the origin, with its farthest patch at distance 1. Fewer than five patches are placed on their principal
    plane. If all patches are equal, they are at the origin. Of more patches than `reduced.TOGETHER`, as many are drawn by the
    seed and laid out together, and each other is placed among its nearest neighbours of these.

    Sources: van der Maaten and Hinton, JMLR 9, 2008 (t-SNE); McInnes, Healy and Melville, arXiv:1802.03426 (UMAP).

    Parameters
    ----------
    fixed : Mapping[str, tuple[float, float]] or None
        Places of patches that stay where they are, by patch_id. If at least five of the patches are among them, all others are
        placed among their nearest neighbours of these, and nothing is centred or scaled.

    Raises
    ------
    ConfigurationError
        For an unknown layout.
    """
    if layout not in LAYOUTS:
        raise ConfigurationError(f"layout = {layout!r} is not known", f"choose one of: {', '.join(LAYOUTS)}.")
    ids = patches.patch_ids
    held = np.flatnonzero([patch in fixed for patch in ids]) if fixed else np.zeros(0, np.int64)
    if fixed and len(held) >= _FEWEST:
        kept = np.array([fixed[ids[row]] for row in held.tolist()], np.float32)
        return Embedding(ids, _with_others(principal(patches.descriptors, seed), held, kept, seed), layout, len(ids) - len(held))
    if (patches.descriptors == patches.descriptors[:1]).all():
        return Embedding(ids, np.zeros((len(ids), 2), np.float32), layout)
    points = principal(patches.descriptors, seed)
    with threadpool_limits(limits=1):  # sums split over threads round differently on other machines
        if len(points) <= TOGETHER:
            xy = points[:, :2] if len(points) < _FEWEST else LAYOUTS[layout].place(points, seed)
            return Embedding(ids, _unit(xy), layout)
        known = drawn(len(points), seed)
        laid_out = _unit(LAYOUTS[layout].place(points[known], seed))
    return Embedding(ids, _with_others(points, known, laid_out, seed), layout, len(ids) - len(known))


def _with_others(points: NDArray[np.float64], known: IntArray, places: FloatArray, seed: int) -> FloatArray:
    """Place each point (m, d) that is not known at the mean of its nearest known ones, weighted by their nearness.

    Parameters
    ----------
    known : IntArray
        Rows of the points whose places are known, ascending.
    places : FloatArray
        float32 (k, 2), their places.
    """
    xy = np.zeros((len(points), 2), np.float32)
    xy[known] = places
    others = np.setdiff1d(np.arange(len(points)), known)
    if not len(others):
        return xy
    own = points.astype(np.float32)
    near, away = nearest(own[others], own[known], min(_AMONG, len(known)), seed=seed)
    weights = 1 / np.maximum(away.astype(np.float64), 1e-9)
    weights /= weights.sum(axis=1, keepdims=True)
    xy[others] = np.einsum("mk,mkc->mc", weights, places[near].astype(np.float64)).round(5)
    return xy


def _unit(xy: NDArray[np.floating]) -> FloatArray:
    xy = xy.astype(np.float64) - xy.mean(axis=0, dtype=np.float64)
    return np.asarray((xy / np.linalg.norm(xy, axis=1).max()).round(5), np.float32)
