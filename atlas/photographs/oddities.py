"""What is odd about a photograph of a retina: two eyes in it, a disc within a disc, text that was burnt in at its border."""

from __future__ import annotations

import cv2
import numpy as np

from atlas.photographs.frames import shrunk
from atlas.photographs.retina import find_circle, strongest_channel
from atlas.records import BoolArray, ByteArray, Frame

TWO_EYES, DISC_WITHIN, TEXT = "two_eyes", "disc_within", "text"

_SIDE = 512  # of the longer side of what is looked at

_SECOND = 0.4  # least area of a second eye, in areas of the first

_ROUND, _ROUND_WITHIN = 0.75, 0.65  # least fit of a circle, see `find_circle`: of an eye, and of a disc with a step at its edge

_INNER = (0.3, 0.9)  # radius of a disc within the disc, in radii of the outer one

_STEP = 14.0  # least step of brightness at the edge of an inner disc, of 255

_LETTERS, _MOST_LETTERS = 5, 300  # least letters in a line of text, and most letters in a picture

_STROKE = 45  # least brightness of a letter over its surroundings, of 255


def find_oddities(photograph: ByteArray, frame: Frame, mask: BoolArray) -> tuple[str, ...]:
    """Name what is odd about a photograph, as TWO_EYES, DISC_WITHIN and TEXT.

    Parameters
    ----------
    photograph : uint8 (H, W, 3)
        RGB.
    frame : Frame
        The square round its retina, in these pixels.
    mask : bool (H, W)
        True on the retina.
    """
    height, width = photograph.shape[:2]
    shrink = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    small = shrunk(photograph, size)
    seen = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    bright = strongest_channel(small)
    half = (max(1, size[0] // 2), max(1, size[1] // 2))
    fewer = np.asarray(cv2.resize(bright, half, interpolation=cv2.INTER_AREA), np.uint8)
    part = cv2.resize(seen.astype(np.uint8), half, interpolation=cv2.INTER_NEAREST) > 0
    shrink /= 2
    circle = (frame.left + frame.side / 2) * shrink, (frame.top + frame.side / 2) * shrink, frame.side / 2 * shrink
    found = {TWO_EYES: _two_eyes(fewer), DISC_WITHIN: _disc_within(fewer, part, circle), TEXT: _text(bright, seen)}
    return tuple(name for name, is_so in found.items() if is_so)


def _two_eyes(bright: ByteArray) -> bool:
    """Tell whether two round regions of similar size lie beside or above each other."""
    height, width = bright.shape
    soft = cv2.medianBlur(bright, 5)
    level = float(np.percentile(soft, 0.5)) + 20
    count, labels, parts, _ = cv2.connectedComponentsWithStats((soft > level).astype(np.uint8))
    if count >= 3:
        first, second = (np.argsort(parts[1:, cv2.CC_STAT_AREA])[::-1] + 1)[:2].tolist()
        large = parts[second, cv2.CC_STAT_AREA] >= max(_SECOND * parts[first, cv2.CC_STAT_AREA], 0.05 * soft.size)
        if large and all(_is_round(labels == number) for number in (first, second)):
            return True
    if max(height, width) < 1.6 * min(height, width):
        return False
    wide = soft if width > height else np.ascontiguousarray(soft.T)
    middle = wide.shape[1] // 2  # two that touch each other
    return all(_is_round(np.ascontiguousarray(half) > level) for half in (wide[:, :middle], wide[:, middle:]))


def _is_round(region: BoolArray) -> bool:
    found = find_circle(region)
    return found is not None and found[1] >= _ROUND and found[0][2] >= 0.25 * min(region.shape)


def _disc_within(bright: ByteArray, seen: BoolArray, circle: tuple[float, float, float]) -> bool:
    """Tell whether a second round edge lies within the disc, brighter on its inner side all round."""
    x, y, radius = circle
    if seen.sum() < 400:
        return False
    soft = cv2.blur(bright, (3, 3))
    for level in np.percentile(soft[seen], (20, 40, 65)).tolist():
        region = (soft > level) & seen
        fitted = find_circle(region)
        if fitted is None or fitted[1] < _ROUND_WITHIN:
            continue
        (inner_x, inner_y, inner), _ = fitted
        if not _INNER[0] * radius < inner < _INNER[1] * radius or np.hypot(inner_x - x, inner_y - y) + inner > 1.02 * radius:
            continue
        polar = cv2.warpPolar(soft, (64, 90), (inner_x, inner_y), 1.25 * inner, cv2.WARP_POLAR_LINEAR | cv2.INTER_LINEAR).astype(
            np.float32
        )
        place = round(64 / 1.25)
        step = polar[:, place - 6 : place - 2].mean(axis=1) - polar[:, place + 2 : place + 6].mean(axis=1)
        if np.percentile(step, 20) >= _STEP:
            return True
    return False


def _text(bright: ByteArray, seen: BoolArray) -> bool:
    """Tell whether a line of small bright or dark marks of similar height lies off the retina, or along the picture's border."""
    height, width = bright.shape
    border = np.ones(bright.shape, np.bool_)
    edge = max(8, round(0.08 * min(height, width)))
    border[edge:-edge, edge:-edge] = False
    retina = cv2.dilate(seen.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    where = ~retina | (border & (seen.mean() > 0.95))
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (15, 15))
    for mode in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT):
        strokes = ((cv2.morphologyEx(bright, mode, kernel) > _STROKE) & where).astype(np.uint8)
        _, _, parts, middles = cv2.connectedComponentsWithStats(strokes, connectivity=8)
        tall, broad, area = (parts[1:, key] for key in (cv2.CC_STAT_HEIGHT, cv2.CC_STAT_WIDTH, cv2.CC_STAT_AREA))
        letters = (tall >= 4) & (tall <= 0.1 * height) & (broad <= 3 * tall) & (area >= 6) & (area < 0.85 * tall * broad + 8)
        if np.count_nonzero(letters) > _MOST_LETTERS:
            continue  # a texture, not a line of text
        rows, sizes, columns = middles[1:][letters, 1], tall[letters], middles[1:][letters, 0]
        for row, size in zip(rows.tolist(), sizes.tolist(), strict=True):
            same = (np.abs(rows - row) < 0.4 * size) & (sizes > 0.55 * size) & (sizes < 1.8 * size)
            own = np.sort(columns[same])
            gaps = np.diff(own) < 3.0 * size
            run = best = 1
            for near in gaps.tolist():
                run = run + 1 if near else 1
                best = max(best, run)
            if best >= _LETTERS:
                return True
    return False
