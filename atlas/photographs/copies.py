"""Which photographs are copies of one picture: in other bytes or another size, flipped, turned, cropped, or in other colours.

A photograph is known by its keypoints on the retina (SIFT: Lowe, International Journal of Computer Vision 60(2), 2004), which
turns, scales and crops leave as they are; a mirrored keypoint has the same numbers in another order. Descriptors are hashed by
random planes (Charikar, STOC 2002), so that only pairs that share several hashes are compared. A pair is a copy if its keypoints
agree on one similarity transform, and if the pictures laid over each other by it show the same, pixel by pixel: two photographs
of one eye agree on their vessels, but not on that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.photographs.frames import shrunk
from atlas.photographs.retina import find_retina
from atlas.records import ByteArray, FloatArray, IntArray

SIDE = 320
"""Pixels of the longer side at which keypoints are looked for."""

_KEYPOINTS = 150

_BITS, _HASHES = 32, 6

_MOST_ALIKE = 50  # photographs that share a hash: more tell nothing but that they come from one camera

_LEAST_SHARED = 4  # hashes: fewer than one in a hundred pairs of unrelated eyes share as many

_PER_PHOTOGRAPH = 20  # pairs that are compared, at most, for each photograph

_LEAST_INLIERS = 8

_LEAST_LIKENESS = 0.8

_LEAST_OF_OTHERS = 0.95
"""Smallest likeness of copies that show no retina. Vessels tell two retinas apart; two radiographs of knees are more alike, drawn
ones up to 0.92."""

_DISTANCE = 3.0  # pixels by which keypoints that belong together may lie apart

_RATIO = 0.9  # of a keypoint's nearest to its second nearest neighbour


@dataclass(frozen=True)
class Fingerprint:
    """What a photograph is known by.

    Parameters
    ----------
    points : float32 (n, 2)
        Keypoints, x and y in pixels of a picture of `SIDE` pixels.
    descriptors : uint8 (n, 128)
        Their SIFT descriptors.
    small : uint8 (h, w)
        The photograph, half as large as `SIDE` tells, in even light; 0 off the retina.
    """

    points: FloatArray
    descriptors: ByteArray
    small: ByteArray


def fingerprint(pixels: ByteArray, *, retina: bool = True) -> Fingerprint:
    """Find what a photograph is known by.

    Parameters
    ----------
    pixels : uint8 (H, W, 3)
        RGB.
    retina : bool
        It shows a retina, and what lies off that is passed over.
    """
    height, width = pixels.shape[:2]
    shrink = SIDE / max(height, width)
    size = (2 * max(1, round(width * shrink / 2)), 2 * max(1, round(height * shrink / 2)))
    small = shrunk(pixels, size)
    seen: FloatArray = find_retina(small)[1].astype(np.float32) if retina else np.ones(size[::-1], np.float32)
    even = _even(small[..., 1].astype(np.float32), seen)
    # Near the rim every photograph of a camera looks alike. Beyond the picture's edge there is none.
    inner = cv2.erode(cv2.copyMakeBorder(seen, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0), np.ones((3, 3)), iterations=SIDE // 32)
    inner = np.asarray(inner[1:-1, 1:-1] > 0, np.uint8)
    found, descriptors = cv2.SIFT.create(nfeatures=_KEYPOINTS, contrastThreshold=0.02).detectAndCompute(even, inner)
    shown = np.where(seen > 0, np.maximum(even, 1), 0).astype(np.uint8)
    half = cv2.resize(shown, (size[0] // 2, size[1] // 2), interpolation=cv2.INTER_AREA)
    points = np.array([point.pt for point in found], np.float32).reshape(-1, 2)
    known: ByteArray = np.asarray(descriptors, np.uint8).reshape(-1, 128) if len(points) else np.zeros((0, 128), np.uint8)
    return Fingerprint(points, known, np.asarray(half, np.uint8))


def _even(grey: FloatArray, retina: FloatArray) -> ByteArray:
    """Take out uneven light: what differs from the surroundings, in their standard deviations; uint8, 128 where nothing does."""

    def blurred(values: FloatArray) -> FloatArray:
        return np.asarray(cv2.GaussianBlur(values, (0, 0), SIDE / 24), np.float32)

    weight = blurred(retina) + 1e-3
    differing = (grey - blurred(grey * retina) / weight) * retina
    deviation = np.sqrt(blurred(differing**2) / weight) + 2
    return np.asarray(np.clip(128 + 48 * differing / deviation, 0, 255), np.uint8)


def find_pairs(descriptors: Sequence[ByteArray], alike: Callable[[int, int], bool]) -> list[tuple[int, int]]:
    """Find the pairs of photographs that are copies of each other, as places (i, j) with i < j, in ascending order.

    Of photographs that are known to be copies already, through others, not every pair is looked at.

    Parameters
    ----------
    descriptors : sequence of uint8 (n, 128)
        Of each photograph.
    alike : callable
        Tells whether the photographs at two places are copies, see `are_copies`: only few pairs need to be compared.
    """
    group = list(range(len(descriptors)))

    def leader(place: int) -> int:
        while group[place] != place:
            place = group[place]
        return place

    pairs = []
    for i, j in _candidates(descriptors):
        if leader(i) != leader(j) and alike(i, j):
            pairs.append((i, j))
            first, second = sorted((leader(i), leader(j)))
            group[second] = first
    return pairs


def are_copies(one: Fingerprint, other: Fingerprint, *, retina: bool = True) -> bool:
    """Tell whether two photographs are copies of one picture, mirrored or not."""
    least = _LEAST_LIKENESS if retina else _LEAST_OF_OTHERS
    return any(_likeness(one, other, mirrored) >= least for mirrored in (False, True))


def _likeness(one: Fingerprint, other: Fingerprint, mirrored: bool) -> float:
    """Lay one photograph over the other by their keypoints; return their correlation where both show retina, or 0."""
    if min(len(one.points), len(other.points)) < _LEAST_INLIERS:
        return 0.0
    points = other.points.copy()
    descriptors, small = other.descriptors, other.small
    if mirrored:
        points[:, 0] = 2 * small.shape[1] - 1 - points[:, 0]
        descriptors, small = _mirrored(descriptors), np.ascontiguousarray(small[:, ::-1])
    alike = _rooted(one.descriptors) @ _rooted(descriptors).T
    best = alike.argmax(axis=1)
    rows = np.arange(len(best))
    nearest = np.sqrt(np.maximum(0, 2 - 2 * alike[rows, best]))
    alike[rows, best] = -1
    second = np.sqrt(np.maximum(0, 2 - 2 * alike.max(axis=1)))
    kept = nearest < _RATIO * second
    if kept.sum() < _LEAST_INLIERS:
        return 0.0
    transform, inliers = cv2.estimateAffinePartial2D(
        points[best[kept]], one.points[kept], method=cv2.RANSAC, ransacReprojThreshold=_DISTANCE, maxIters=2000
    )
    if transform is None or len(np.unique(best[kept][inliers.ravel() > 0])) < _LEAST_INLIERS:
        return 0.0
    # From pixels of a picture to those of one half as large: the middle of pixel 0 there lies at 0.5 here.
    transform[:, 2] = (transform[:, 2] + 0.5 * transform[:, 0] + 0.5 * transform[:, 1] - 0.5) / 2
    height, width = one.small.shape
    laid = cv2.warpAffine(small, transform, (width, height), flags=cv2.INTER_LINEAR)
    both = (one.small > 0) & (cv2.erode(laid, np.ones((3, 3), np.uint8)) > 0)
    if both.sum() < 0.1 * min((one.small > 0).sum(), (small > 0).sum()) or both.sum() < 100:
        return 0.0
    return float(np.corrcoef(one.small[both], laid[both])[0, 1])


def _candidates(descriptors: Sequence[ByteArray]) -> list[tuple[int, int]]:
    """Return the pairs that share several hashes, mirrored or not."""
    counts = [len(own) for own in descriptors]
    owners: IntArray = np.repeat(np.arange(len(counts)), counts)
    if not len(owners):
        return []
    sample = _rooted(np.concatenate([own[:: max(1, len(descriptors) // 500)] for own in descriptors]))
    middle = sample.mean(axis=0)
    # Chance meetings grow with the square of the number of photographs, and halve with about every second bit.
    bits = _BITS + max(0, math.ceil(math.log2(len(descriptors) / 1000)))
    planes = np.random.Generator(np.random.PCG64(0)).standard_normal((128, bits * _HASHES)).astype(np.float32)
    powers = np.uint64(1) << np.arange(bits, dtype=np.uint64)

    def hashed(own: ByteArray) -> NDArray[np.uint64]:
        signs = ((_rooted(own) - middle) @ planes > 0).reshape(len(own), _HASHES, bits)
        return np.asarray((signs * powers).sum(axis=2), np.uint64)

    plain = np.concatenate([hashed(own) for own in descriptors])
    mirror = np.concatenate([hashed(_mirrored(own)) for own in descriptors])
    met: list[IntArray] = []
    for own in plain.T:
        met.append(_meetings(own, own, owners, len(counts)))
    for own, other in zip(plain.T, mirror.T, strict=True):
        met.append(_meetings(own, other, owners, len(counts)))
    keys, shared = np.unique(np.concatenate(met), return_counts=True)
    # Of very many photographs, those pairs that share most: what copies share does not grow with the number.
    most = _PER_PHOTOGRAPH * len(descriptors)
    least = _LEAST_SHARED
    while np.count_nonzero(shared >= least) > most:
        least += 1
    return [(int(key) // len(counts), int(key) % len(counts)) for key in keys[shared >= least]]


def _meetings(one: NDArray[np.uint64], other: NDArray[np.uint64], owners: IntArray, photographs: int) -> IntArray:
    """Return i * n + j for each hash that photographs i < j of n have in common, but for hashes that many have.

    Parameters
    ----------
    owners : IntArray
        The photograph of each hash.
    photographs : int
        N.
    """
    order = np.argsort(other, kind="stable")
    ordered = other[order]
    first = np.searchsorted(ordered, one, "left")
    count = np.searchsorted(ordered, one, "right") - first
    count[count > _MOST_ALIKE] = 0
    left = np.repeat(owners, count)
    offsets = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    right = owners[order[np.repeat(first, count) + offsets]]
    low, high = np.minimum(left, right), np.maximum(left, right)
    return np.asarray((low * photographs + high)[low < high], np.int64)


def _rooted(descriptors: ByteArray) -> FloatArray:
    """Return descriptors of length 1 whose products compare them well (Arandjelovic and Zisserman, CVPR 2012)."""
    values = descriptors.astype(np.float32)
    return np.asarray(np.sqrt(values / np.maximum(values.sum(axis=1, keepdims=True), 1)), np.float32)


def _mirrored(descriptors: ByteArray) -> ByteArray:
    """Return the descriptors of the same keypoints in a mirror: rows of cells and directions in reverse."""
    cells = descriptors.reshape(-1, 4, 4, 8)
    return np.ascontiguousarray(cells[:, ::-1, :, -np.arange(8) % 8]).reshape(-1, 128)
