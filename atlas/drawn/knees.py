"""Draws schematic radiographs of a knee, grey and without a disc, graded 0 to 3, with a mask for every kind of finding.

They only show that an atlas does not depend on eyes. Grades follow the signs of osteoarthritis of Kellgren & Lawrence
(Ann. Rheum. Dis. 16:494, 1957), merged into four, and the signs are much clearer than in patients. 0 no finding; 1 small
osteophytes; 2 larger ones, and a joint space narrowed by a third to a half on the inner side; 3 large osteophytes, hardly any
joint space, and sclerosis of the bone beside it.

Positions are in units of half the picture's height, x towards the inner side of the knee and y downwards, both from the middle of
the joint, so that a seed gives the same knee at any size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.drawn.anatomy import stream
from atlas.errors import DatasetError
from atlas.records import IMAGE, BoolArray, ByteArray, FloatArray, Scale

KNEE_OSTEOARTHRITIS = Scale(0, ("none", "mild", "moderate", "severe"), 2, "knee osteoarthritis", IMAGE)
"""Grades of drawn knees."""

FINDINGS = ("osteophyte", "narrow joint space", "sclerosis")
"""Kinds of finding that are drawn, by the names of their masks."""

ASPECT = 0.8
"""Width of a picture, in heights."""

_SPURS = ((0, 0), (1, 2), (2, 4), (4, 4))  # by grade, fewest and most osteophytes
_LENGTHS = ((0.0, 0.0), (0.07, 0.09), (0.10, 0.13), (0.14, 0.18))  # by grade, shortest and longest osteophyte
_NARROWING = ((0.0, 0.0), (0.0, 0.12), (0.35, 0.55), (0.75, 0.92))  # by grade, share of the inner joint space that is lost

_MARGIN = 0.50  # half the width of the bones at the joint

_FAINTEST = 0.15  # sclerosis below this opacity is not in its mask, because it cannot be seen


@dataclass(frozen=True)
class SyntheticKnee:
    """One drawn radiograph.

    Parameters
    ----------
    pixels : ByteArray
        uint8 (H, W), grey.
    grade : int
        0 to 3.
    side : str
        "left" or "right".
    masks : Mapping[str, BoolArray]
        Masks by kind of finding, bool (H, W), only of those that were drawn.
    """

    pixels: ByteArray
    grade: int
    side: str
    masks: Mapping[str, BoolArray]


@dataclass(frozen=True)
class _Signs:
    """What a grade adds to a knee.

    Parameters
    ----------
    spurs : tuple[tuple[int, int, float], ...]
        For each osteophyte, the bone (-1 above the joint, 1 below), the side (1 inner, -1 outer) and its length.
    narrowing : float
        Share of the inner joint space that is lost.
    sclerosis : float
        Opacity of the bone beside it.
    """

    spurs: tuple[tuple[int, int, float], ...]
    narrowing: float
    sclerosis: float

    @classmethod
    def draw(cls, random: np.random.Generator, grade: int) -> Self:
        corners = [(bone, side) for bone in (-1, 1) for side in (1, -1)]
        fewest, most = _SPURS[grade]
        chosen = random.permutation(4)[: int(random.integers(fewest, most + 1))]
        lengths = random.uniform(*_LENGTHS[grade], 4)
        spurs = tuple((*corners[k], float(lengths[k])) for k in sorted(chosen.tolist()))
        return cls(spurs, float(random.uniform(*_NARROWING[grade])), float(random.uniform(0.7, 1.0)) if grade == 3 else 0.0)


def draw_knee(seed: int, grade: int, *, side: str = "right", size: int = 480) -> SyntheticKnee:
    """Draw one knee from the front, the same bytes for the same arguments.

    The grade affects only the findings: with grade 0, the same seed gives the same knee without them.

    Parameters
    ----------
    seed : int
        Determines the person, this exposure and the findings.
    grade : int
        0 to 3.
    side : str
        "right" has its inner side on the right of the picture, "left" is the other way round.
    size : int
        Height of the picture in pixels; its width is 0.8 times that.

    Raises
    ------
    DatasetError
        For a grade off the scale, an unknown side, a size below 64 or a negative seed.
    """
    if grade not in KNEE_OSTEOARTHRITIS.grades:
        raise DatasetError(f"grade is {grade!r}, expected 0, 1, 2 or 3")
    if side not in ("left", "right"):
        raise DatasetError(f'side is {side!r}, expected "left" or "right"')
    if size < 64:
        raise DatasetError(f"size is {size}, expected at least 64 pixels")
    which = ("left", "right").index(side)
    person, shot = stream(seed, 20), stream(seed, 21, which)
    signs = _Signs.draw(stream(seed, 22, which, grade), grade)
    shape = (size, round(ASPECT * size))
    x, y = _places(shot, shape, mirrored=side == "left")

    gap = float(person.uniform(0.085, 0.115))
    shaft = float(person.uniform(0.21, 0.26))
    bent = x + 0.012 * np.sin(3 * y + float(person.uniform(0, 6)))
    inner = _rising(bent, 0.05, 0.10)
    space = gap * (1 - signs.narrowing * inner)
    curve = (bent / _MARGIN) ** 6
    lower = -space / 2 - 0.10 * curve - 0.16 * np.exp(-((bent / 0.10) ** 2))  # edge of the upper bone
    upper = space / 2 + 0.05 * curve - 0.05 * (np.exp(-(((bent - 0.07) / 0.04) ** 2)) + np.exp(-(((bent + 0.07) / 0.04) ** 2)))
    wide_above = shaft + (_MARGIN - shaft) * _rising(y, -0.38, 0.09)
    wide_below = shaft + (_MARGIN - shaft) * _rising(-y, -0.30, 0.08)
    above = (np.abs(bent) < wide_above) & (y < lower)
    below = (np.abs(bent) < wide_below) & (y > upper)
    small = (np.abs(bent + 0.43 - 0.05 * (y - 0.4)) < 0.055 + 0.05 * _rising(-y, -0.42, 0.04)) & (y > 0.26)

    grown: BoolArray = np.zeros(shape, np.bool_)
    for bone, out, length in signs.spurs:
        grown |= _spur(bent, y, bone, out, length)
    grown &= ~(above | below)
    hardened = signs.sclerosis * inner * (1 - _rising(bent, _MARGIN - 0.06, 0.02)) * _beside(y, lower, upper)
    hardened = hardened * (above | below)

    light = 0.05 + 0.16 * (1 - _rising(np.abs(x) - 0.03 * y, 0.70 * float(person.uniform(0.94, 1.04)), 0.015))
    light = light + _bone(above, size) + _bone(below, size) + 0.45 * _bone(small & ~below, size)
    light = light + _bone(grown, size) + 0.22 * hardened
    pixels = _exposed(light, shot, person, size)

    masks = {"osteophyte": grown, "sclerosis": hardened > _FAINTEST}
    if signs.narrowing >= 0.3:
        between = (y > lower) & (y < upper) & (bent > 0.13) & (bent < _MARGIN - 0.05)
        reach = max(1, round(0.012 * size))
        masks["narrow joint space"] = _wider(between, reach)
    found = {kind: masks[kind] for kind in FINDINGS if kind in masks and masks[kind].any()}
    return SyntheticKnee(pixels, grade, side, found)


def _places(shot: np.random.Generator, shape: tuple[int, int], *, mirrored: bool) -> tuple[FloatArray, FloatArray]:
    """Return x and y of every pixel, each (H, W), for a knee that is slightly rotated, shifted and scaled."""
    angle, scale = math.radians(float(shot.uniform(-5, 5))), float(shot.uniform(0.94, 1.06))
    left, top = shot.uniform(-0.06, 0.06, 2)
    height, width = shape
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    across, down = ((columns + 0.5) - width / 2) * 2 / height, ((rows + 0.5) - height / 2) * 2 / height
    across = -across if mirrored else across
    across, down = (across - left) / scale, (down - top) / scale
    x = math.cos(angle) * across + math.sin(angle) * down
    y = math.cos(angle) * down - math.sin(angle) * across
    return x.astype(np.float32), y.astype(np.float32)


def _rising(values: FloatArray, middle: float, width: float) -> FloatArray:
    """Return a smooth step from 0 to 1 around a value."""
    return np.asarray(1 / (1 + np.exp(np.clip(-(values - middle) / (width / 4), -60, 60))), np.float32)


def _spur(x: FloatArray, y: FloatArray, bone: int, out: int, length: float) -> BoolArray:
    """Draw a pointed lip of bone at a margin of the joint, bent away from the joint."""
    along = (out * x - (_MARGIN - 0.10)) / (length + 0.10)
    middle = bone * (0.105 + 0.35 * length * along.clip(0, 1) ** 2)
    half = (0.03 + 0.30 * length) * np.sqrt((1 - along).clip(0, 1))
    return np.asarray((along > 0) & (along < 1) & (np.abs(y - middle) < half))


def _beside(y: FloatArray, lower: FloatArray, upper: FloatArray) -> FloatArray:
    """Return values that fade with the distance from the joint space into either bone."""
    away = np.where(y < (lower + upper) / 2, lower - y, y - upper)
    return np.asarray(np.exp(-((away / 0.06).clip(0) ** 2)), np.float32)


def _bone(where: BoolArray, size: int) -> FloatArray:
    """Return how bright bone is: brightest near its edge, where the beam runs along the dense outer layer."""
    depth = cv2.distanceTransform(where.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) * (2 / size)
    edge = 0.40 + 0.20 * np.exp(-depth / 0.02)
    return np.asarray(np.where(where, edge, 0), np.float32)


def _exposed(light: FloatArray, shot: np.random.Generator, person: np.random.Generator, size: int) -> ByteArray:
    """Add the texture of bone and the grain of the detector, and return the exposed picture, uint8 (H, W)."""
    height, width = light.shape
    texture = _noise(person, light.shape, 70)
    soft = cv2.GaussianBlur(light * (1 + 0.05 * texture), (0, 0), max(0.4, 0.0022 * size))
    gain, gamma = float(shot.uniform(0.9, 1.1)), float(shot.uniform(0.9, 1.12))
    grain = 0.010 * cv2.resize(
        shot.standard_normal((240, round(240 * ASPECT)), dtype=np.float32), (width, height), interpolation=cv2.INTER_LINEAR
    )
    shown = (gain * np.clip(soft, 0, None)) ** gamma + grain
    return np.asarray(np.clip(np.rint(255 * shown), 0, 255), np.uint8)


def _noise(random: np.random.Generator, shape: tuple[int, ...], cells: int) -> NDArray[np.float32]:
    """Return smooth noise of unit variance, with about `cells` lumps per picture height, float32 (H, W)."""
    lattice = random.standard_normal((cells, round(cells * ASPECT)), dtype=np.float32)
    return np.asarray(cv2.resize(lattice, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)


def _wider(mask: BoolArray, reach: int) -> BoolArray:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), disc)) > 0
