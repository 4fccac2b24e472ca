"""Finding the retina in a photograph.

Positions are in pixels of the picture, rows downwards, and pixel i covers [i, i + 1).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.photographs.frames import Box
from atlas.records import BoolArray, ByteArray, Frame

_SEARCH_SIDE = 320  # the disc is found in a picture shrunk by a whole factor to at least this many pixels

_STEPS = (10, 20, 40)  # levels above the surround, of 255, at which the retina may begin

_TRIALS = 400

_TOLERANCE = 0.012  # largest distance of the retina's edge from the circle, in radii

_WIDEST = 1.5  # largest accepted diameter of a disc, in longer sides of the picture: a straight edge is not a circle

_LARGEST = 1.0  # largest radius of a refined circle, in longer sides: its frame is at most twice the picture

_RELIABLE = 0.02  # largest accepted standard error of a circle, in radii

_LEAST_SUPPORT = 0.1  # smallest share of the outline inside the picture that must be on the circle

_LEAST = 0.75  # smallest share that disc and bright region must have in common

_GOOD = 0.9  # product of both shares at which the search ends

Circle = tuple[float, float, float]
"""x, y of the centre and radius, in pixels."""


def find_retina(photograph: ByteArray) -> tuple[Frame, BoolArray]:
    """Find the retinal disc in uint8 (H, W, 3) RGB.

    The bright region is separated from the dark surround at several levels. At each level, random triples of points on its
    outline propose circles. The circle with most of the outline on it is refined by least squares (RANSAC: Fischler & Bolles,
    Commun. ACM 1981), so notches, flat cuts and shadows are outvoted. The level at which disc and region agree best is used. If
    no circle is found, the frame bounds the bright region. Without a dark surround that is the complete picture, and all of it is
    retina.

    Returns
    -------
    frame : Frame
        The square that bounds the disc. It may reach beyond the picture.
    retina : BoolArray
        A mask, bool (H, W), true on the retina. Parts of the disc that the camera cut off are not retina; a shadow inside it is.
    """
    factor = max(1, max(photograph.shape[:2]) // _SEARCH_SIDE)
    brightness = _brightness(photograph, factor)
    found: tuple[float, Circle, Box] | None = None
    regions = []
    for level in _levels(brightness):
        outline, region = _bright_region(brightness, level)
        regions.append(region)
        fitted = _fit_circle(outline, brightness.shape)
        if fitted is None:
            continue
        circle, support = fitted
        extent = _extent(region)
        retina = _cut_disc(brightness.shape, circle, extent)
        agreement = np.count_nonzero(retina & region) / np.count_nonzero(retina | region)
        if agreement >= _LEAST and (found is None or agreement * support > found[0]):
            found = agreement * support, circle, extent
        if agreement * support >= _GOOD:
            break
    if found is None:
        return _bounding_frame(photograph, regions[0])
    _, (x, y, radius), (top, left, bottom, right) = found
    side = max(1, round(2 * radius * factor))
    frame = Frame(round(y * factor - side / 2), round(x * factor - side / 2), side)
    # One small pixel more on each side, so that without a cut the circle alone determines the rim.
    extent = (max(top - 1, 0) * factor, max(left - 1, 0) * factor, (bottom + 1) * factor, (right + 1) * factor)
    return frame, _cut_disc(photograph.shape, (x * factor, y * factor, radius * factor), extent)


def _brightness(photograph: ByteArray, factor: int) -> ByteArray:
    """Return the strongest channel, shrunk by a whole factor and without specks. A very dark retina shows in one channel only."""
    height, width = (max(1, length // factor) for length in photograph.shape[:2])
    small = cv2.resize(photograph[: height * factor, : width * factor], (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.medianBlur(small.max(axis=2), 5), np.uint8)


def _levels(brightness: ByteArray) -> tuple[float, ...]:
    surround = float(np.percentile(brightness, 0.5))
    otsu, _ = cv2.threshold(brightness, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return (*(surround + step for step in _STEPS), otsu)


def _bright_region(brightness: ByteArray, level: float) -> tuple[NDArray[np.float64], BoolArray]:
    """Return the outline, (n, 2) of x, y, of the largest region above the level, and the region's convex hull, bool (h, w)."""
    hull = np.zeros(brightness.shape, np.uint8)
    outlines, _ = cv2.findContours((brightness > level).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return np.empty((0, 2)), hull.astype(bool)
    outline = max(outlines, key=cv2.contourArea)
    cv2.fillConvexPoly(hull, cv2.convexHull(outline), 1)
    return outline.reshape(-1, 2) + np.float64(0.5), hull.astype(bool)


def _fit_circle(outline: NDArray[np.float64], shape: tuple[int, int]) -> tuple[Circle, float] | None:
    """Fit a circle to the outline (n, 2) of a region in a picture of `shape`.

    A point on the circle is a vote for it. A point inside is no vote: it is a cut or a shadow. A point outside is a vote against
    it, because the disc contains all of the retina. Where the picture's border cuts the region, there is no edge of the retina,
    so these points are no votes for a circle.

    Returns
    -------
    tuple[Circle, float] or None
        The circle, and the share of the outline inside the picture that is on it; None if the outline does not determine a
        circle.
    """
    height, width = shape
    points = outline[:: max(1, len(outline) // 600)]
    free = (np.abs(points - (width / 2, height / 2)) < (width / 2 - 3, height / 2 - 3)).all(axis=1)
    if np.count_nonzero(free) < 12:
        return None
    random = np.random.Generator(np.random.PCG64(0))
    edge = points[free]
    with np.errstate(divide="ignore", invalid="ignore"):  # three points on a line give no circle, and no votes
        x, y, radius = _circles_through(edge[random.integers(len(edge), size=(_TRIALS, 3))])
        excess = np.hypot(points[:, 0, None] - x, points[:, 1, None] - y) / radius - 1
    votes = (np.abs(excess[free]) < _TOLERANCE).sum(axis=0) - (excess > _TOLERANCE).sum(axis=0)
    believed = radius < _WIDEST / 2 * max(height, width)
    if not believed.any():
        return None
    chosen = int(np.where(believed, votes, -len(points)).argmax())
    circle = np.array([x[chosen], y[chosen], radius[chosen]])
    for _ in range(5):  # Gauss-Newton
        offset = edge - circle[:2]
        distance = np.hypot(*offset.T)
        near = np.abs(distance - circle[2]) < _TOLERANCE * circle[2]
        if np.count_nonzero(near) < max(12, _LEAST_SUPPORT * len(edge)):
            return None
        slope = np.column_stack([offset[near] / distance[near, None], np.ones(np.count_nonzero(near))])
        circle = circle + np.linalg.lstsq(slope, distance[near] - circle[2], rcond=None)[0]
        if not np.isfinite(circle).all() or circle[2] > _LARGEST * max(height, width):
            return None  # with a nearly straight edge, the radius diverges
    # Edge points are about a pixel off, and the errors of neighbours are correlated: one in eight counts as independent.
    error = np.sqrt(8 * np.linalg.pinv(slope.T @ slope).diagonal().max())
    if error > _RELIABLE * circle[2]:
        return None
    # The outline runs through the centres of the outermost pixels.
    return (float(circle[0]), float(circle[1]), float(circle[2]) + 0.5), len(slope) / len(edge)


def _circles_through(triples: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return centres and radii of the circles through (n, 3, 2) points."""
    a = triples[:, 0]
    b, c = triples[:, 1] - a, triples[:, 2] - a
    twice = 2 * (b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0])
    bb, cc = (b**2).sum(axis=1), (c**2).sum(axis=1)
    x = (c[:, 1] * bb - b[:, 1] * cc) / twice
    y = (b[:, 0] * cc - c[:, 0] * bb) / twice
    return a[:, 0] + x, a[:, 1] + y, np.hypot(x, y)


def _cut_disc(shape: tuple[int, ...], circle: Circle, extent: Box) -> BoolArray:
    """Return bool (H, W), true where a pixel's centre is in the circle and in the extent of what the camera shows.

    Cameras cut the disc along the picture's axes. Anything else that is dark in it is a shadow on the retina.
    """
    x, y, radius = circle
    top, left, bottom, right = extent
    rows, columns = np.arange(shape[0]) + 0.5 - y, np.arange(shape[1]) + 0.5 - x
    inside: BoolArray = rows[:, None] ** 2 + columns**2 <= radius**2
    inside[:top] = inside[bottom:] = inside[:, :left] = inside[:, right:] = False
    return inside


def _extent(mask: BoolArray) -> Box:
    """Return the box that bounds the true pixels."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _bounding_frame(photograph: ByteArray, region: BoolArray) -> tuple[Frame, BoolArray]:
    """Return the frame and the mask of a region that is not a disc. If it almost fills the picture, there is no surround."""
    height, width = photograph.shape[:2]
    if 0.01 < region.mean() < 0.9:
        mask = cv2.resize(region.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)
    else:
        mask = np.ones((height, width), bool)
    top, left, bottom, right = _extent(mask)
    side = max(bottom - top, right - left)
    return Frame((top + bottom - side) // 2, (left + right - side) // 2, side), mask
