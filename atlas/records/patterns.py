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
        `{image_id}-{row:02d}{col:02d}w{window}` of a window of the scorer's cells, `{image_id}-{row:03d}{col:03d}w{size}` of a
        lesion on the finer grid of a lesion net.
    cells : IntArray
        int64 (m, 3) of row, col, window, in the scorer's cells.
    boxes : IntArray
        int64 (m, 4) of top, left, bottom, right in source pixels (bottom and right exclusive).
    drop : FloatArray
        float32 (m,) in grade units.
    descriptors : FloatArray
        float32 (m, d).
    threshold : float
        The drop above which a window counts, in grade units.
    quantile : float or None
        The quantile of all drops that gave the threshold, or None where it was set outright.
    kinds : tuple[str, ...]
        Keys of `cohort.lesions`, one a patch, "" of a window; empty where all are windows.
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
    """A cluster may tell of something other than the disease.

    Parameters
    ----------
    kind : str
        A key of `alarms.ALARMS`.
    share : float
        The part of the cluster that it rests on, 0..1.
    usual : float
        The same of the cohort.
    """

    kind: str
    share: float
    usual: float


@dataclass(frozen=True)
class Clusters:
    """Patches sorted by likeness.

    Parameters
    ----------
    labels : IntArray
        int64 (m,), 0-based, clusters ordered from largest to smallest. centroids : float32 (k, d).
    distances : FloatArray
        float32 (m,), each patch to its own centroid (small = typical), both in the space of `clusters.normalised`.
    alarms : tuple[tuple[Alarm, ...], ...]
        Of each label; empty where none were looked for.
    numbers : tuple[int, ...]
        Of each label, as readers see it, kept from build to build; empty where it is the label plus one.
    """

    patch_ids: tuple[str, ...]
    labels: IntArray
    centroids: FloatArray
    distances: FloatArray
    alarms: tuple[tuple[Alarm, ...], ...] = ()
    numbers: tuple[int, ...] = ()

    @property
    def shown(self) -> tuple[int, ...]:
        """The number of each label, as readers see it."""
        return self.numbers or tuple(range(1, len(self.centroids) + 1))

    @property
    def of_patch(self) -> dict[str, int]:
        """Each patch's cluster, by the number that readers see."""
        shown = self.shown
        return {patch: shown[label] for patch, label in zip(self.patch_ids, self.labels.tolist(), strict=True)}


@dataclass(frozen=True)
class Embedding:
    """Where patches lie on the map.

    Parameters
    ----------
    xy : FloatArray
        float32 (m, 2), unitless.
    """

    patch_ids: tuple[str, ...]
    xy: FloatArray
    method: str


@dataclass(frozen=True)
class Alike:
    """Photographs that look alike to the network, see `atlas.patterns.similar`.

    Parameters
    ----------
    others : IntArray
        int64 (n, k), places in `image_ids`, the most alike first.
    cosine : FloatArray
        float32 (n, k).
    """

    image_ids: tuple[str, ...]
    others: IntArray
    cosine: FloatArray
