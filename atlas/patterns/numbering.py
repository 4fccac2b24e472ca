"""Numbers that stay with their clusters from build to build."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from atlas.records import Clusters, Sentence, told

_KEPT = 200  # patches by which a cluster that no longer exists can be recognised

_LIKE = 0.25  # two clusters must share this part of all patches that either holds and both builds know

_MAJORITY = 0.5  # this part of a sample of patches must be in one cluster

_NEAR = 0.5  # closeness of centroids that alone shows that two clusters are the same


@dataclass(frozen=True)
class Identity:
    """A cluster of an earlier build.

    Parameters
    ----------
    patches : tuple[str, ...]
        All of its patches or, if `whole` is false, some typical ones.
    centroid : NDArray[np.float32] or None
        float32 (d,), if known.
    whole : bool
        Whether `patches` holds all of its patches.
    live : bool
        Whether the last build had it.
    """

    number: int
    patches: tuple[str, ...]
    centroid: NDArray[np.float32] | None = None
    whole: bool = True
    live: bool = True


@dataclass(frozen=True)
class Identities:
    """The clusters of earlier builds.

    Parameters
    ----------
    space : str
        Identifies the kind of descriptors. Only centroids of the same space can be compared.
    """

    clusters: tuple[Identity, ...] = ()
    space: str = ""


def read_identities(file: Path) -> Identities:
    """Read `clusters.json`. Return no clusters, as before a first build, if the file is missing or cannot be understood."""
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
        found = Identities(
            tuple(
                Identity(
                    int(one["number"]),
                    tuple(str(patch) for patch in one["patches"]),
                    np.array(one["centroid"], np.float32),
                    bool(one["whole"]),
                    bool(one["live"]),
                )
                for one in table["clusters"]
            ),
            str(table["space"]),
        )
        finite = all(one.centroid is None or np.isfinite(one.centroid).all() for one in found.clusters)
        if not finite or any(not 0 < one.number < 10**9 for one in found.clusters):
            return Identities()
        return found
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return Identities()


def write_identities(file: Path, clusters: Clusters | None, space: str, previous: Identities) -> None:
    """Write the clusters of this build and, shortened, those that only earlier builds had. Numbers are never used again."""
    clusters = clusters or Clusters((), np.empty(0, np.int64), np.empty((0, 0), np.float32), np.empty(0, np.float32))
    known = [
        {
            "number": number,
            "live": True,
            "whole": True,
            "centroid": [float(f"{value:.6g}") for value in centroid.tolist()],
            "patches": [clusters.patch_ids[row] for row in np.flatnonzero(clusters.labels == label)],
        }
        for label, (number, centroid) in enumerate(zip(clusters.shown, clusters.centroids, strict=True))
    ]
    gone = [
        {
            "number": one.number,
            "live": False,
            "whole": False,
            "centroid": [] if one.centroid is None or previous.space != space else [float(f"{v:.6g}") for v in one.centroid],
            "patches": list(one.patches[:_KEPT]),
        }
        for one in previous.clusters
        if one.number not in clusters.shown
    ]
    table = {"space": space, "clusters": sorted(known + gone, key=lambda one: one["number"])}  # type: ignore[arg-type, return-value]
    file.write_text(json.dumps(table, separators=(",", ":")) + "\n", encoding="utf-8", newline="\n")


def number_clusters(
    clusters: Clusters,
    previous: Identities,
    anchors: Sequence[Identity] = (),
    *,
    reserved: Iterable[int] = (),
    space: str = "",
) -> tuple[Clusters, tuple[Sentence, ...]]:
    """Give each cluster its earlier number, and say in sentences which clusters are new and which are gone.

    Parameters
    ----------
    previous : Identities
        Clusters of the last build. New clusters get the lowest numbers that were never used, the largest cluster first. In a
        first build, 1 is the largest cluster.
    anchors : Sequence[Identity]
        Clusters as an instructor's file describes them. They identify clusters if there was no build before.
    reserved : Iterable[int]
        Numbers that the file mentions.
    space : str
        Identifies the kind of the clusters' descriptors.
    """
    first = not previous.clusters
    before = Identities(tuple(anchors)) if first else previous
    found = match_clusters(before, clusters, space)
    taken = {one.number for one in before.clusters} | set(reserved)
    free = (number for number in range(1, len(taken) + len(clusters.centroids) + 1) if number not in taken)
    numbers = tuple(found[label] if label in found else next(free) for label in range(len(clusters.centroids)))
    numbered = replace(clusters, numbers=numbers)
    return numbered, () if first else tuple(_changes(before, numbered, set(found.values())))


def _changes(before: Identities, clusters: Clusters, kept: set[int]) -> Iterator[Sentence]:
    now = clusters.of_patch
    gone: list[int | Sentence] = []
    for one in before.clusters:
        if one.live and one.number not in kept:
            heir = _commonest(now[patch] for patch in one.patches if patch in now)
            gone.append(
                told("%(number)s (most of its patches are now in cluster %(other)s)", number=one.number, other=heir)
                if heir
                else one.number
            )
    if gone:
        yield told(
            "Clusters of the last build that match none of this build: %(clusters)s. Their numbers will not be reused.",
            clusters=tuple(gone),
        )
    old = {patch: one.number for one in before.clusters if one.live for patch in one.patches}
    new: list[tuple[int, int | Sentence]] = []
    for label, number in enumerate(clusters.shown):
        if number not in kept:
            members = (clusters.patch_ids[row] for row in np.flatnonzero(clusters.labels == label))
            origin = _commonest(old.get(patch) for patch in members)
            told_of = (
                told("%(number)s (most of its patches were in cluster %(other)s)", number=number, other=origin)
                if origin
                else number
            )
            new.append((number, told_of))
    if new:
        yield told(
            "New clusters in this build: %(clusters)s.", clusters=tuple(text for _, text in sorted(new, key=lambda pair: pair[0]))
        )


def _commonest(numbers: Iterable[int | None]) -> int | None:
    """Return the number that makes up more than half of them, if any."""
    counted = list(numbers)
    return next((n for n in dict.fromkeys(counted) if 2 * counted.count(n) > len(counted)), None)


def match_clusters(previous: Identities, clusters: Clusters, space: str = "") -> dict[int, int]:
    """Match clusters with those of `previous`. Return numbers by label, each number at most once.

    The pairs are those with the largest total similarity (Hungarian method). The similarity of two clusters is the share of their
    patches that they have in common: of the patches that either holds and both builds know, the part that both hold (Jaccard);
    for a sample, the part that is in the cluster. Pairs with little similarity do not count. If the descriptors are of the same
    kind, near centroids add a little to it. Centroids alone match old clusters without any patch that this build knows to
    clusters that are still without a match.
    """
    if not previous.clusters or not len(clusters.centroids):
        return {}
    old = sorted(previous.clusters, key=lambda one: one.number)
    known = frozenset(clusters.patch_ids)
    earlier = frozenset(patch for one in old for patch in one.patches)
    members: list[set[str]] = [set() for _ in clusters.centroids]
    for patch, label in zip(clusters.patch_ids, clusters.labels.tolist(), strict=True):
        if patch in earlier:
            members[label].add(patch)
    close = _closeness(old, clusters.centroids) if space and space == previous.space else np.zeros((len(old), len(members)))
    shared, near = np.zeros_like(close), np.zeros_like(close)
    for row, one in enumerate(old):
        held = known.intersection(one.patches)
        for label, own in enumerate(members):
            both, either = len(held & own), len(held | own) if one.whole else len(held)
            if both and both >= (_LIKE if one.whole else _MAJORITY) * either:
                shared[row, label] = both / either + 0.1 * close[row, label]
            elif not held and close[row, label] >= _NEAR:
                near[row, label] = close[row, label]
    found: dict[int, int] = {}
    for likeness in (shared, near):
        # If all else is equal, a cluster of the last build comes before one that was already gone.
        likeness = likeness * np.array([1.0 if one.live else 0.99 for one in old])[:, None]
        likeness[[row for row, one in enumerate(old) if one.number in found.values()]] = 0
        likeness[:, list(found)] = 0
        pairs = zip(*linear_sum_assignment(likeness, maximize=True), strict=True)
        found |= {int(label): old[row].number for row, label in pairs if likeness[row, label] > 0}
    return found


def _closeness(old: Sequence[Identity], centroids: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return (old, new): 1 if two centroids coincide, 0 if they are at least as far apart as neighbours of the same build."""
    width = centroids.shape[1]
    places = np.full((len(old), width), np.nan)
    for row, one in enumerate(old):
        if one.centroid is not None and one.centroid.shape == (width,):
            places[row] = one.centroid
    live = np.array([one.live for one in old])
    apart = np.linalg.norm(places[:, None] - centroids[None].astype(float), axis=2)
    reach = np.minimum.outer(_nearest(places, places[live]), _nearest(centroids.astype(float), centroids.astype(float)))
    with np.errstate(divide="ignore", invalid="ignore"):
        close = np.where(apart == 0, 1.0, 1 - apart / reach)
    return np.asarray(np.clip(np.nan_to_num(close, nan=0.0), 0.0, 1.0))


def _nearest(places: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance of each place from the nearest one that differs from it; infinity if there is none."""
    apart = np.linalg.norm(places[:, None] - others[None], axis=2)
    return np.asarray(np.where(apart > 0, apart, np.inf).min(axis=1, initial=np.inf))
