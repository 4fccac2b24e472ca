"""Where the optic disc and the fovea lie, so that lesions can be described by region.

The disc is found by a linear readout of a lesion net's features at three widths, which gives one number per place and learned
from boxes around discs. The fovea is the darkest place of the retina about two and a half disc diameters from the disc, on the
temporal side and a little lower.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from atlas.cohort.regions import DISTANCE
from atlas.lesionnets.networks import SIDE
from atlas.photographs.frames import cell_coverage
from atlas.records import BoolArray, ByteArray, FloatArray, Frame, Landmarks

PLACES = 32
"""Rows and columns of the places where the disc is looked for."""

WIDTHS = (0.0, 1.5, 4.0)
"""Standard deviations, in places, of the Gaussians that smooth the features: a disc is about five places across."""

_HIGHEST, _LOWEST = 0.22, 0.78
"""Limits of the disc's centre, as shares of the square's side: reflexes of the rim, above and below, are just as pale."""

_OFF_RIM = 2  # places: the disc's centre is at least this far inside the retina

_SETTLED = 1.5  # standard deviation, in places, that smooths the readout

_DISC_REACH = 110.0  # pixels of the square around the most likely place over which the disc's centre is averaged

_LEAST_SURE = 0.15  # likelihood below which no disc is reported: it may lie outside the photograph

_SIDEWAYS, _BELOW = 0.376, 0.052
"""How far the fovea is from the disc, towards the temple and below it, as shares of the square's side: medians of 119 photographs
of IDRiD with no or mild retinopathy, of which nine in ten are within 0.32 to 0.41 and 0.00 to 0.09."""

DISC_DIAMETER = math.hypot(_SIDEWAYS, _BELOW) * SIDE / DISTANCE
"""Length of a disc diameter in pixels of the square, in a typical photograph."""

_SPREAD_SIDEWAYS, _SPREAD_BELOW = 0.05, 0.04  # standard deviations between photographs

_MIDDLE = 0.08  # share of the side: a disc closer than this to the square's centre does not show the temporal side

_FINE, _AROUND = 28.0, 112.0  # standard deviations, in pixels of the square: the fovea and its surroundings

_RIM = 0.03  # share of the side: the fovea is further inside the retina than this

_SHRUNK = 4  # the fovea is smooth, so it is looked for in a square shrunk by this factor


@dataclass(frozen=True, eq=False)
class DiscReadout:
    """A linear readout of a lesion net's features.

    Parameters
    ----------
    weight : FloatArray
        float32 (len(WIDTHS), C), weights of the features at each width.
    bias : float
        Bias of the logit.
    """

    weight: FloatArray
    bias: float

    def likelihood(self, features: FloatArray) -> FloatArray:
        """Return how likely each place is in the disc, float32 (PLACES, PLACES), 0 to 1, from features (C, h, w)."""
        own = pooled(features)
        read = np.full((PLACES, PLACES), self.bias, np.float32)
        for width, weight in zip(WIDTHS, self.weight, strict=True):
            read += blurred(np.tensordot(weight, own, axes=1), width)
        return blurred((1.0 / (1.0 + np.exp(-read))).astype(np.float32), _SETTLED)

    def find(self, features: FloatArray, shown: BoolArray) -> tuple[float, float] | None:
        """Return the row and column of the disc's centre in pixels of the square, or None if no disc is found.

        Parameters
        ----------
        features : FloatArray
            float32 (C, h, w), the lesion net's features.
        shown : BoolArray
            bool (SIDE, SIDE), true on the retina.
        """
        row, column = middles()
        whole = (cell_coverage(shown, (PLACES, PLACES)) > 0.5).astype(np.uint8)
        reach = 2 * _OFF_RIM + 1
        within = cv2.erode(whole, np.ones((reach, reach), np.uint8), borderValue=0) > 0
        likely = self.likelihood(features)
        believed = np.where(within & (row > _HIGHEST * SIDE) & (row < _LOWEST * SIDE), likely, np.float32(0))
        if believed.max() < _LEAST_SURE:
            return None
        top, left = np.unravel_index(int(believed.argmax()), believed.shape)
        near = np.hypot(row - row[top, left], column - column[top, left]) < _DISC_REACH
        weight = np.where(near, likely, 0.0).astype(np.float64)
        return float((weight * row).sum() / weight.sum()), float((weight * column).sum() / weight.sum())


def pooled(features: FloatArray) -> FloatArray:
    """Average features (C, h, w) over PLACES x PLACES places: (C, PLACES, PLACES)."""
    channels, rows, columns = features.shape
    return np.asarray(features.reshape(channels, PLACES, rows // PLACES, PLACES, columns // PLACES).mean(axis=(2, 4)), np.float32)


def blurred(values: FloatArray, deviation: float) -> FloatArray:
    """Smooth values (PLACES, PLACES) by a Gaussian whose standard deviation is in places; 0 leaves them unchanged."""
    return np.asarray(cv2.GaussianBlur(values, (0, 0), deviation), np.float32) if deviation else values


def middles() -> tuple[FloatArray, FloatArray]:
    """Return the row and column of each place's centre, in pixels of the square, (PLACES, PLACES) each."""
    at = ((np.arange(PLACES) + 0.5) * SIDE / PLACES).astype(np.float32)
    rows, columns = np.meshgrid(at, at, indexing="ij")
    return rows, columns


def find_fovea(plate: ByteArray, shown: BoolArray, disc: tuple[float, float], blood: FloatArray) -> tuple[float, float] | None:
    """Find the fovea on the square of a retina, given its disc.

    Parameters
    ----------
    plate : ByteArray
        uint8 (SIDE, SIDE, 3) RGB.
    shown : BoolArray
        bool (SIDE, SIDE), true on the retina.
    disc : tuple[float, float]
        Row and column of the disc's centre, in pixels of the square.
    blood : FloatArray
        float32 (h, w), 0 to 1, how likely each place holds a red lesion, which can be as dark as the fovea.

    Returns
    -------
    tuple[float, float] or None
        Row and column in pixels of the square, or None if the place of the fovea is off the retina.
    """
    side = SIDE // _SHRUNK
    weight = cv2.resize(shown.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    healthy = weight * (1.0 - cv2.resize(blood, (side, side), interpolation=cv2.INTER_LINEAR))
    green = cv2.resize(plate[..., 1], (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)

    def averaged(deviation: float) -> FloatArray:
        deviation /= _SHRUNK
        light = cv2.GaussianBlur(green * healthy, (0, 0), deviation)
        return np.asarray(light / np.maximum(cv2.GaussianBlur(healthy, (0, 0), deviation), 1e-3), np.float32)

    dark = averaged(_FINE) - averaged(_AROUND)
    at = (np.arange(side) + 0.5) / side
    row, column = np.meshgrid(at - disc[0] / SIDE, at - disc[1] / SIDE, indexing="ij")
    margin = 2 * round(_RIM * side) + 1
    within = cv2.erode((weight > 0.5).astype(np.uint8), np.ones((margin, margin), np.uint8), borderValue=0) > 0
    spread = float(dark[within].std()) if within.any() else 0.0
    if spread == 0.0:
        return None
    off = disc[1] / SIDE - 0.5
    temples = (-1, 1) if abs(off) < _MIDDLE else (-1 if off > 0 else 1,)
    best = np.inf
    found = None
    for temple in temples:
        away = ((temple * column - _SIDEWAYS) / _SPREAD_SIDEWAYS) ** 2 + ((row - _BELOW) / _SPREAD_BELOW) ** 2
        loss = np.where(within & (away < 9.0), dark / spread + away / 2, np.inf)
        place = np.unravel_index(int(loss.argmin()), loss.shape)
        if loss[place] < best:
            best, found = float(loss[place]), place
    if found is None:
        return None
    return float(_SHRUNK * (found[0] + 0.5)), float(_SHRUNK * (found[1] + 0.5))


def landmarks_at(disc: tuple[float, float], fovea: tuple[float, float] | None, frame: Frame) -> Landmarks:
    """Convert places on the square to pixels of the source; `frame` is the square in source pixels."""
    scale = frame.side / SIDE

    def at(place: tuple[float, float]) -> tuple[float, float]:
        return round(frame.top + place[0] * scale, 1), round(frame.left + place[1] * scale, 1)

    return Landmarks(at(disc), None if fovea is None else at(fovea))
