"""Regions of the retina, told by the optic disc and the fovea.

The middles of disc and fovea lie about two and a half disc diameters apart (4.5 to 5 mm; the disc has 1.8 mm), and that is how
long a disc diameter is here: a photograph's own measure, whatever its field of view. The macula of anatomy is 5.5 mm across, one
and a half disc diameters to each side of the fovea; the great vessels run in arcades up to three from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from atlas.photographs.frames import Box
from atlas.records import Landmarks, noop

DISTANCE = 2.5
"""Disc diameters between the middles of the optic disc and the fovea."""


@dataclass(frozen=True)
class Region:
    """A region of the retina.

    Parameters
    ----------
    title : str
        Its name.
    name : str
        With its preposition, for sentences.
    until : float
        Disc diameters from the fovea at which it ends.
    """

    key: str
    title: str
    name: str
    until: float


REGIONS = {
    region.key: region
    for region in (
        Region("macula", noop("Macula"), noop("in the macula"), 1.5),
        Region("arcades", noop("Arcades"), noop("near the arcades"), 3.0),
        Region("periphery", noop("Periphery"), noop("in the periphery"), math.inf),
    )
}
"""By key, from the fovea outwards."""

NEAR = 1.0
"""Disc diameters from the fovea within which exudates are taken for a sign of macular oedema."""


def disc_diameter(landmarks: Landmarks | None) -> float | None:
    """Return the length of a disc diameter in source pixels; None where the disc or the fovea is unknown."""
    if landmarks is None or landmarks.fovea is None:
        return None
    return math.dist(landmarks.disc, landmarks.fovea) / DISTANCE or None


def region_of(box: Box, landmarks: Landmarks | None) -> str:
    """Return the key of the region in which the middle of a box lies, "" where nobody knows the fovea.

    Parameters
    ----------
    box : Box
        Top, left, bottom, right in source pixels.
    """
    diameter = disc_diameter(landmarks)
    if landmarks is None or landmarks.fovea is None or diameter is None:
        return ""
    away = math.dist(landmarks.fovea, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)) / diameter
    return next(key for key, region in REGIONS.items() if away < region.until)


def near_fovea(box: Box, landmarks: Landmarks | None) -> bool | None:
    """Tell whether any of a box lies within one disc diameter of the fovea; None where nobody knows the fovea."""
    diameter = disc_diameter(landmarks)
    if landmarks is None or landmarks.fovea is None or diameter is None:
        return None
    row, column = landmarks.fovea
    nearest = (min(max(row, box[0]), box[2]), min(max(column, box[1]), box[3]))
    return math.dist(landmarks.fovea, nearest) <= NEAR * diameter
