"""Salient patches, their clusters and layout, and photographs that look alike."""

from __future__ import annotations

from dataclasses import dataclass

from atlas.records.arrays import FloatArray, IntArray


@dataclass(frozen=True)
class Patches:
    """Salient windows, or lesions that a net found.

    Parameters
    ----------
    patch_ids : tuple[str, ...]
        `{image_id}-{row:02d}{col:02d}w{window}` for a window of the scorer's cells, `{image_id}-{row:03d}{col:03d}w{size}` for
        a lesion on the finer grid of a lesion net.
    image_ids : tuple[str, ...]
        (m,), the photograph of each patch.
    cells : IntArray
        int64 (m, 3) of row, col, window, in the scorer's cells.
    boxes : IntArray
        int64 (m, 4) of top, left, bottom, right in source pixels (bottom and right exclusive).
    drop : FloatArray
        float32 (m,), how far the score falls if the patch is hidden, grade units.
    descriptors : FloatArray
        float32 (m, d), what the network saw in each patch.
    threshold : float
        The drop above which a window counts, in grade units.
    quantile : float or None
        The quantile of all drops that gave the threshold, or None if the threshold was set directly.
    kinds : tuple[str, ...]
        (m,), keys of `cohort.lesions.KINDS`, "" for a window; empty if all patches are windows.
    """

    patch_ids: tuple[str, ...]
    image_ids: tuple[str, ...]
    cells: IntArray
    boxes: IntArray
    drop: FloatArray
    descriptors: FloatArray
    threshold: float
    quantile: float | None = None
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Alarm:
    """A warning that a cluster may show something other than the disease.

    Parameters
    ----------
    kind : str
        A key of `alarms.ALARMS`.
    share : float
        Share of the cluster that the warning is based on, 0 to 1.
    usual : float
        The same share in the cohort.
    """

    kind: str
    share: float
    usual: float


@dataclass(frozen=True)
class Clusters:
    """Similar patches, grouped into clusters.

    Parameters
    ----------
    patch_ids : tuple[str, ...]
        (m,), the patches.
    labels : IntArray
        int64 (m,), the cluster of each patch, from 0; clusters are ordered from largest to smallest.
    centroids : FloatArray
        float32 (k, d), in the space of `clusters.normalised`.
    distances : FloatArray
        float32 (m,), from each patch to its own centroid in the same space; a small distance means a typical patch.
    alarms : tuple[tuple[Alarm, ...], ...]
        (k,), the warnings about each cluster; empty if none were looked for.
    numbers : tuple[int, ...]
        (k,), the number of each cluster as readers see it, which stays the same from build to build; empty if it is the label
        plus one.
    """

    patch_ids: tuple[str, ...]
    labels: IntArray
    centroids: FloatArray
    distances: FloatArray
    alarms: tuple[tuple[Alarm, ...], ...] = ()
    numbers: tuple[int, ...] = ()

    @property
    def shown(self) -> tuple[int, ...]:
        """The number of each cluster as readers see it, in the order of the labels."""
        return self.numbers or tuple(range(1, len(self.centroids) + 1))

    @property
    def of_patch(self) -> dict[str, int]:
        """The cluster of each patch_id, by the number that readers see."""
        shown = self.shown
        return {patch: shown[label] for patch, label in zip(self.patch_ids, self.labels.tolist(), strict=True)}


@dataclass(frozen=True)
class Embedding:
    """Places of patches on the map.

    Parameters
    ----------
    patch_ids : tuple[str, ...]
        (m,), the patches.
    xy : FloatArray
        float32 (m, 2), unitless.
    method : str
        Name of the layout.
    placed : int
        Patches that were not laid out with the others, but placed among their nearest neighbours of these afterwards.
    """

    patch_ids: tuple[str, ...]
    xy: FloatArray
    method: str
    placed: int = 0


@dataclass(frozen=True)
class Alike:
    """Photographs that look alike to the network, see `atlas.patterns.similar`.

    Parameters
    ----------
    image_ids : tuple[str, ...]
        (n,), the photographs.
    others : IntArray
        int64 (n, k), places in `image_ids`, the most similar first.
    cosine : FloatArray
        float32 (n, k), cosine similarity to each of them.
    """

    image_ids: tuple[str, ...]
    others: IntArray
    cosine: FloatArray
