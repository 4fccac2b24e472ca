"""Finding the retina in a photograph.

Positions are in pixels of the picture, rows downwards, and pixel i covers [i, i + 1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

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

_BORDER, _EVEN, _EVEN_CORNERS, _EVEN_BORDER, _NOT_DARK = 0.02, 12, 0.95, 0.35, 60
"""An even surround that is not dark: share of the shorter side that is looked at along the picture's border, levels by which its
pixels may differ, share of the corners and of the border that must not differ by more, and its least level."""

_ELLIPSE, _BETTER = 0.75, 1.15  # least fit of an ellipse, and how much better than a circle it must fit

_COMPACT = 0.55  # least share of the circle round a region that it fills, if it is to be a disc, perhaps a cut one

_LEAST_SQUASH, _MOST_SQUASH = 1.03, 2.2  # longer by shorter diameter

Circle = tuple[float, float, float]
"""x, y of the centre and radius, in pixels."""


@dataclass(frozen=True)
class Disc:
    """What was found where the retina should be.

    Parameters
    ----------
    frame : Frame
        The square that bounds it. It may reach beyond the picture.
    mask : BoolArray
        bool (H, W), true on the retina. Parts of the disc that the camera cut off are not retina; a shadow inside it is.
    edge : bool
        The edge of a disc was found; else the complete bright region, or the complete picture, counts as retina.
    squash : float
        Height of the disc divided by its width: 1 unless the picture was squashed or stretched.
    """

    frame: Frame
    mask: BoolArray
    edge: bool = True
    squash: float = 1.0


def find_retina(photograph: ByteArray) -> tuple[Frame, BoolArray]:
    """Find the retinal disc in uint8 (H, W, 3) RGB, see `find_disc`.

    Returns
    -------
    frame : Frame
        The square that bounds the disc. It may reach beyond the picture.
    retina : BoolArray
        A mask, bool (H, W), true on the retina.
    """
    disc = find_disc(photograph)
    return disc.frame, disc.mask


def find_disc(photograph: ByteArray, *, on_page: bool = True) -> Disc:
    """Find the retinal disc in uint8 (H, W, 3) RGB.

    The bright region is separated from the dark surround at several levels. At each level, random triples of points on its
    outline propose circles. The circle with most of the outline on it is refined by least squares (RANSAC: Fischler & Bolles,
    Commun. ACM 1981), so notches, flat cuts and shadows are outvoted. The level at which disc and region agree best is used. If
    no circle is found, the frame bounds the bright region. Without a dark surround that is the complete picture, and all of it is
    retina. If an upright ellipse fits far better than any circle, the picture was squashed or stretched.

    Parameters
    ----------
    on_page : bool
        Whether a surround that is even but not dark, such as a white page, counts as dark. A picture on a page is cut out first.
    """
    factor = max(1, max(photograph.shape[:2]) // _SEARCH_SIDE)
    small = _shrunk(photograph, factor)
    page = _page_colour(small) if on_page else None
    brightness = _brightness(small if page is None else np.asarray(cv2.absdiff(small, np.full_like(small, page)), np.uint8))
    found: tuple[float, Circle, Box] | None = None
    squashed: tuple[float, float] = (0.0, 1.0)
    regions = []
    for level in _levels(brightness):
        outline, region = _bright_region(brightness, level)
        regions.append(region)
        fitted = _fit_circle(outline, brightness.shape)
        good = 0.0
        if fitted is not None:
            circle, support = fitted
            extent = _extent(region)
            agreement = _agreement(_cut_disc(brightness.shape, circle, extent), region)
            good = agreement * support
            if agreement >= _LEAST and (found is None or good > found[0]):
                found = good, circle, extent
        if good >= _GOOD:
            break
        squashed = max(squashed, _fit_ellipse(outline, region))
    if page is not None and found is None and (picture := _picture_on(regions[0], factor)) is not None:
        top, left, bottom, right = picture
        part = find_disc(np.ascontiguousarray(photograph[top:bottom, left:right]), on_page=False)
        mask = np.zeros(photograph.shape[:2], np.bool_)
        mask[top:bottom, left:right] = part.mask
        return replace(part, frame=Frame(part.frame.top + top, part.frame.left + left, part.frame.side), mask=mask)
    score, squash = squashed
    squash = squash if score >= max(_ELLIPSE, _BETTER * (0.0 if found is None else found[0])) else 1.0
    if found is None:
        frame, mask = _bounding_frame(photograph, regions[0])
        return Disc(frame, mask, False, squash)
    _, (x, y, radius), (top, left, bottom, right) = found
    side = max(1, round(2 * radius * factor))
    frame = Frame(round(y * factor - side / 2), round(x * factor - side / 2), side)
    # One small pixel more on each side, so that without a cut the circle alone determines the rim.
    extent = (max(top - 1, 0) * factor, max(left - 1, 0) * factor, (bottom + 1) * factor, (right + 1) * factor)
    return Disc(frame, _cut_disc(photograph.shape, (x * factor, y * factor, radius * factor), extent), True, squash)


def _shrunk(photograph: ByteArray, factor: int) -> ByteArray:
    """Shrink by a whole factor."""
    height, width = (max(1, length // factor) for length in photograph.shape[:2])
    part = photograph[: height * factor, : width * factor]
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _page_colour(small: ByteArray) -> ByteArray | None:
    """Return the colour of an even surround that is not dark, uint8 (3,); None where there is none.

    A disc may be cut by the picture's border, but leaves the corners free.
    """
    width = max(1, round(_BORDER * min(small.shape[:2])))
    sides = (small[:width], small[-width:], small[:, :width], small[:, -width:])
    corner = 2 * width
    corners = (small[:corner, :corner], small[:corner, -corner:], small[-corner:, :corner], small[-corner:, -corner:])
    at_corners, around = (np.concatenate([part.reshape(-1, 3) for part in parts]).astype(np.int16) for parts in (corners, sides))
    colour = np.median(at_corners, axis=0)
    even = [float((np.abs(pixels - colour) <= _EVEN).all(axis=1).mean()) for pixels in (at_corners, around)]
    if even[0] < _EVEN_CORNERS or even[1] < _EVEN_BORDER or colour.max() < _NOT_DARK:
        return None
    return np.asarray(colour, np.uint8)


def _picture_on(region: BoolArray, factor: int) -> Box | None:
    """Return the box of a picture that lies on a page, in pixels of the page; None where it is too small, or as large."""
    if not 0.05 < region.mean() < 0.95:
        return None
    top, left, bottom, right = (edge * factor for edge in _extent(region))
    return (top, left, bottom, right) if min(bottom - top, right - left) >= 16 else None


def _agreement(disc: BoolArray, region: BoolArray) -> float:
    either = int(np.count_nonzero(disc | region))
    return int(np.count_nonzero(disc & region)) / max(1, either)


def _brightness(small: ByteArray) -> ByteArray:
    """Return the strongest channel without specks. A very dark retina shows in one channel only."""
    return np.asarray(cv2.medianBlur(strongest_channel(small), 5), np.uint8)


def strongest_channel(pixels: ByteArray) -> ByteArray:
    """Return the strongest channel of each pixel, uint8 (h, w)."""
    red, green, blue = cv2.split(pixels)
    return np.asarray(cv2.max(cv2.max(red, green), blue), np.uint8)


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


def find_circle(region: BoolArray) -> tuple[Circle, float] | None:
    """Fit a circle to the outline of the largest part of a region, bool (h, w); with how well it fits, 0 to 1, or None."""
    outline, hull = _bright_region(region.astype(np.uint8), 0.5)
    if not len(outline):
        return None
    _, around = cv2.minEnclosingCircle(outline.astype(np.float32))
    if np.count_nonzero(hull) < _COMPACT * np.pi * around**2:
        return None
    fitted = _fit_circle(outline, region.shape)
    if fitted is None:
        return None
    circle, support = fitted
    return circle, support * _agreement(_cut_disc(region.shape, circle, _extent(hull)), hull)


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
    with np.errstate(divide="ignore", invalid="ignore"):  # three points on a line give no circle
        circles = np.array(_circles_through(edge[random.integers(len(edge), size=(_TRIALS, 3))]))
    circles = circles[:, circles[2] < _WIDEST / 2 * max(height, width)]
    if not circles.size:
        return None
    circle = circles[:, int(_votes(edge, points[~free], circles).argmax())]
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


def _votes(edge: NDArray[np.float64], at_border: NDArray[np.float64], circles: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count the points of an outline that are on each circle, less those outside it, see `_fit_circle`.

    Parameters
    ----------
    edge, at_border : float64 (n, 2)
        Points inside the picture, and points at its border, which can only lie outside.
    circles : float64 (3, k)
        x, y and radius.
    """
    x, y, radius = circles
    votes = np.zeros(len(radius), np.int64)
    known = np.stack([-2 * x, -2 * y, x**2 + y**2, np.ones_like(x)])
    for points, counted in ((edge, True), (at_border, False)):
        square = np.column_stack([points, np.ones(len(points)), (points**2).sum(axis=1)]) @ known  # distances from the centres
        outside = square > ((1 + _TOLERANCE) * radius) ** 2
        # Of few points, all of them fit into 16 bits, which are added far faster than truth values.
        votes -= outside.view(np.uint8).sum(axis=0, dtype=np.uint16)
        if counted:
            within = square > ((1 - _TOLERANCE) * radius) ** 2
            votes += (within & ~outside).view(np.uint8).sum(axis=0, dtype=np.uint16)
    return votes


def _circles_through(triples: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return centres and radii of the circles through (n, 3, 2) points."""
    a = triples[:, 0]
    b, c = triples[:, 1] - a, triples[:, 2] - a
    twice = 2 * (b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0])
    bb, cc = (b**2).sum(axis=1), (c**2).sum(axis=1)
    x = (c[:, 1] * bb - b[:, 1] * cc) / twice
    y = (b[:, 0] * cc - c[:, 0] * bb) / twice
    return a[:, 0] + x, a[:, 1] + y, np.hypot(x, y)


def _fit_ellipse(outline: NDArray[np.float64], region: BoolArray) -> tuple[float, float]:
    """Fit an upright ellipse to the outline (n, 2) of a region, bool (h, w), as `_fit_circle` fits a circle.

    Returns
    -------
    tuple[float, float]
        How well it fits, 0 to 1: the share of the outline inside the picture that is on it, times the share that ellipse and
        region have in common. Then its height divided by its width.
    """
    height, width = region.shape
    points = outline[:: max(1, len(outline) // 300)]
    free = (np.abs(points - (width / 2, height / 2)) < (width / 2 - 3, height / 2 - 3)).all(axis=1)
    edge = points[free]
    if len(edge) < 24:
        return 0.0, 1.0
    scale = max(height, width) / 2
    x, y = (edge - (width / 2, height / 2)).T / scale
    # x^2 + a y^2 + b x + c y + d = 0; the first is known, so four points give one ellipse.
    terms, known = np.stack([y**2, x, y, np.ones_like(x)], axis=1), -(x**2)
    chosen = np.random.Generator(np.random.PCG64(0)).integers(len(edge), size=(_TRIALS // 2, 4))
    systems = terms[chosen]
    usable = np.abs(np.linalg.det(systems)) > 1e-9
    if not usable.any():
        return 0.0, 1.0
    proposed = np.linalg.solve(systems[usable], known[chosen[usable]][..., None])[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        middle_x, middle_y, radius_x, radius_y = _of_conic(*proposed.T)
        excess = np.hypot((x[:, None] - middle_x) / radius_x, (y[:, None] - middle_y) / radius_y) - 1
    votes = (np.abs(excess) < _TOLERANCE).sum(axis=0) - (excess > _TOLERANCE).sum(axis=0)
    believed = np.isfinite(radius_x) & np.isfinite(radius_y) & (radius_x < _WIDEST) & (radius_y < _WIDEST)
    if not believed.any():
        return 0.0, 1.0
    near = np.abs(excess[:, int(np.where(believed, votes, -len(points)).argmax())]) < _TOLERANCE
    for _ in range(3):
        if np.count_nonzero(near) < 12:
            return 0.0, 1.0
        conic = np.linalg.lstsq(terms[near], known[near], rcond=None)[0]
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.array(_of_conic(*conic))
        if not np.isfinite(found).all() or found[2:].max() > _WIDEST or found[2:].min() < 0.05:
            return 0.0, 1.0
        excess = np.hypot((x - found[0]) / found[2], (y - found[1]) / found[3]) - 1
        near = np.abs(excess) < _TOLERANCE
    squash = float(found[3] / found[2])
    if not _LEAST_SQUASH < max(squash, 1 / squash) < _MOST_SQUASH:
        return 0.0, 1.0
    # Laid over the region as a disc, in a picture whose rows are stretched.
    middle_x, middle_y = found[0] * scale + width / 2, found[1] * scale + height / 2
    top, left, bottom, right = _extent(region)
    rows, columns = np.arange(height) + 0.5 - middle_y, np.arange(width) + 0.5 - middle_x
    inside = (rows[:, None] / (found[3] * scale + 0.5)) ** 2 + (columns / (found[2] * scale + 0.5)) ** 2 <= 1
    inside[:top] = inside[bottom:] = inside[:, :left] = inside[:, right:] = False
    return float(np.count_nonzero(near) / len(near)) * _agreement(inside, region), squash


def _of_conic(a: Any, b: Any, c: Any, d: Any) -> tuple[Any, Any, Any, Any]:
    """Return x and y of the centre and both radii of the ellipses x^2 + a y^2 + b x + c y + d = 0; nan where it is none."""
    x, y = -b / 2, -c / (2 * a)
    square = x**2 + a * y**2 - d
    return x, y, np.sqrt(square), np.sqrt(square / a)


def _cut_disc(shape: tuple[int, ...], circle: Circle, extent: Box) -> BoolArray:
    """Return bool (H, W), true where a pixel's centre is in the circle and in the extent of what the camera shows.

    Cameras cut the disc along the picture's axes. Anything else that is dark in it is a shadow on the retina.
    """
    x, y, radius = circle
    top, left, bottom, right = extent
    rows, columns = np.arange(shape[0]) + 0.5 - y, np.arange(shape[1]) + 0.5 - x
    inside: BoolArray = columns**2 <= (radius**2 - rows**2)[:, None]
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
