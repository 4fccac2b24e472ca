"""Features that look like lesions of diabetic retinopathy but are not: drusen, scars of laser treatment, and light reflexes.

A net that learns to find lesions on drawn eyes sees these without a mask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from atlas.drawn.anatomy import DISC_RADIUS, Anatomy, Shot
from atlas.drawn.lesions import Spot, Strand, ripple


@dataclass
class Confusers:
    """Features of an eye that look like lesions. Lengths are in retinal units.

    Parameters
    ----------
    pigment : list[Spot]
        Dark rims and middles of laser scars.
    reflexes : list[Strand]
        Streaks and rings of light.
    """

    drusen: list[Spot] = field(default_factory=list)
    scars: list[Spot] = field(default_factory=list)
    pigment: list[Spot] = field(default_factory=list)
    reflexes: list[Strand] = field(default_factory=list)


def draw_confusers(rng: np.random.Generator, anatomy: Anatomy, shot: Shot) -> Confusers:
    """Choose an eye's drusen, scars and reflexes. Each is in some eyes only."""
    found = Confusers()
    if rng.random() < 0.35:
        found.drusen = _drusen(rng, anatomy)
    if rng.random() < 0.25:
        _laser(rng, anatomy, shot, found)
    if rng.random() < 0.4:
        found.reflexes = _reflexes(rng, anatomy)
    return found


def _drusen(rng: np.random.Generator, anatomy: Anatomy) -> list[Spot]:
    """Draw pale deposits under the retina around the fovea, softer, rounder and less yellow than exudates."""
    spread = rng.uniform(0.08, 0.22)
    soft = rng.random() < 0.6
    spots = []
    for _ in range(rng.integers(5, 60)):
        x, y = (centre + rng.normal(0, spread) for centre in anatomy.fovea)
        r = rng.uniform(0.006, 0.026) if soft else rng.uniform(0.004, 0.009)
        spots.append(
            Spot(x, y, r, r * rng.uniform(0.75, 1.0), rng.uniform(0, math.pi), rng.uniform(0.15, 0.5), 0.95, ripple(rng, 0.15))
        )
    return spots


def _laser(rng: np.random.Generator, anatomy: Anatomy, shot: Shot, found: Confusers) -> None:
    """Draw pale scars of one size in rough rows outside the arcades, many with a dark rim or a dark middle."""
    r = rng.uniform(0.018, 0.034)
    pitch = r * rng.uniform(3.0, 4.5)
    age = rng.random()  # old scars hold more pigment
    side = rng.choice([-1.0, 1.0, 0.0])
    places = [(x, y) for x in np.arange(-1.2, 1.2, pitch) for y in np.arange(-1.2, 1.2, pitch)]
    for x0, y0 in places:
        x, y = x0 + rng.normal(0, 0.2 * pitch), y0 + rng.normal(0, 0.2 * pitch)
        from_fovea = math.hypot(x - anatomy.fovea[0], y - anatomy.fovea[1])
        from_disc = math.hypot(x - anatomy.disc[0], y - anatomy.disc[1])
        if from_fovea < 0.55 or from_disc < 2.5 * DISC_RADIUS or side * y < -0.1 or rng.random() < 0.25:
            continue
        size = r * rng.uniform(0.7, 1.2)
        shape = (rng.uniform(0.8, 1.0) * size, rng.uniform(0, math.pi))
        found.scars.append(Spot(x, y, size, *shape, rng.uniform(0.25, 0.8), 0.7, ripple(rng, 0.2)))
        if rng.random() < age:
            inner = size * rng.uniform(0.25, 0.6)
            found.pigment.append(Spot(x, y, inner, inner * 0.9, 0.0, rng.uniform(0.3, 0.9), 0.7, ripple(rng, 0.4)))


def _reflexes(rng: np.random.Generator, anatomy: Anatomy) -> list[Strand]:
    """Draw light reflected by the inner surface of a young retina: a ring around the fovea, and streaks along large vessels."""
    streaks: list[Strand] = []
    if rng.random() < 0.5:
        radius, start = rng.uniform(0.10, 0.2), rng.uniform(0, 2 * math.pi)
        angles = start + np.linspace(0, rng.uniform(2.0, 2 * math.pi), 40)
        ring = np.stack([1.15 * np.cos(angles), np.sin(angles)], axis=1) * radius + np.array(anatomy.fovea)
        streaks.append(Strand(ring, rng.uniform(0.003, 0.010), rng.uniform(0.15, 0.45)))
    large = [vessel for vessel in anatomy.vessels if vessel.radius > 0.006]
    for _ in range(rng.integers(0, 14)):
        vessel = large[rng.integers(len(large))]
        away = rng.normal(0, 0.02, 2)
        streaks.append(Strand(vessel.points + away, rng.uniform(0.002, 0.009), rng.uniform(0.1, 0.4)))
    return streaks
