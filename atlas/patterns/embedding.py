"""Layout of patches in the plane, with similar patches close together."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from atlas.errors import ConfigurationError
from atlas.records import Embedding, FloatArray, Patches

_COMPONENTS = 50

_FEWEST = 5  # with fewer points, neighbours mean little, and the principal plane shows everything


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

    # On one core, interpolation is faster than Barnes-Hut from a few thousand points on.
    gradient = "fft" if len(points) > 4000 else "bh"
    layout = TSNE(
        perplexity=min(30.0, (len(points) - 1) / 3),
        initialization="pca",
        negative_gradient_method=gradient,
        n_jobs=1,
        random_state=seed,
    )
    return np.asarray(layout.fit(points))


def _umap(points: NDArray[np.float64], seed: int) -> NDArray[np.floating]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # umap warns about a neural variant that needs Tensorflow
        from umap import UMAP

    # A start from the principal plane also works for disconnected graphs, which the spectral start warns about.
    layout = UMAP(n_neighbors=min(15, len(points) - 1), init="pca", n_jobs=1, random_state=seed)
    return np.asarray(layout.fit_transform(points))


LAYOUTS: Mapping[str, Layout] = {"tsne": Layout("t-SNE", _tsne), "umap": Layout("UMAP", _umap)}


def embed(patches: Patches, *, layout: str = "tsne", seed: int = 0) -> Embedding:
    """Lay the patches out by their descriptors, which are first reduced to 50 principal components.

    `xy` is centred on the origin, with its farthest patch at distance 1. Fewer than five patches are placed on their principal
    plane. If all patches are equal, they are at the origin.

    Sources: van der Maaten and Hinton, JMLR 9, 2008 (t-SNE); McInnes, Healy and Melville, arXiv:1802.03426 (UMAP).

    Raises
    ------
    ConfigurationError
        For an unknown layout.
    """
    if layout not in LAYOUTS:
        raise ConfigurationError(f"layout = {layout!r} is not known", f"choose one of: {', '.join(LAYOUTS)}.")
    if (patches.descriptors == patches.descriptors[:1]).all():
        return Embedding(patches.patch_ids, np.zeros((len(patches.patch_ids), 2), np.float32), layout)
    with threadpool_limits(limits=1):  # sums split over threads round differently on other machines
        points = _principal(patches.descriptors, seed)
        xy = points[:, :2] if len(points) < _FEWEST else LAYOUTS[layout].place(points, seed)
    return Embedding(patches.patch_ids, _unit(xy), layout)


def _principal(descriptors: FloatArray, seed: int) -> NDArray[np.float64]:
    """Rotate (m, d) onto its leading components: at most 50, and at least 2, padded with zeros if there is only one."""
    components = min(_COMPONENTS, *descriptors.shape)
    points = PCA(components, random_state=seed).fit_transform(descriptors).astype(np.float64)
    return np.pad(points, ((0, 0), (0, max(0, 2 - components))))


def _unit(xy: NDArray[np.floating]) -> FloatArray:
    xy = xy.astype(np.float64) - xy.mean(axis=0, dtype=np.float64)
    return np.asarray((xy / np.linalg.norm(xy, axis=1).max()).round(5), np.float32)
