"""Draws synthetic colour fundus photographs of diabetic retinopathy, graded 0 to 4, with a mask for every kind of lesion.

The grades are those of the international clinical severity scale (Wilkinson et al., Ophthalmology 2003), and no other: 0 no
lesion; 1 microaneurysms only; 2 more than that; 3 more than 20 haemorrhages in each quadrant or venous beading in two; 4 new
vessels or pre-retinal blood. Intraretinal microvascular abnormalities, the third road to grade 3, are not drawn.

Anatomy is laid out in units of the retinal radius, x towards the nose and y downwards, so that a seed gives the same eye at any
size. Blood absorbs: it multiplies the light by exp(-absorption * density). Pale lesions scatter: they are blended over it.
"""

from __future__ import annotations

import csv
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atlas.errors import DatasetError
from atlas.progress import Progress, silent
from atlas.records import BoolArray, ByteArray, FloatArray

LESIONS = (
    "microaneurysm",
    "haemorrhage",
    "hard exudate",
    "cotton-wool spot",
    "venous beading",
    "new vessels",
    "pre-retinal blood",
)
GRADE_SHARES = (0.45, 0.15, 0.20, 0.11, 0.09)
"""How the grades 0 to 4 are spread over a cohort."""
EYES_CORRELATION = 0.85
"""Correlation of the two eyes' latent severity."""
ASPECT = 1.25
"""Width of a picture over its height."""

DISC_RADIUS = 0.13
VENOUS_BLOOD = np.array([0.34, 0.74, 0.52], np.float32)
ARTERIAL_BLOOD = np.array([0.13, 0.50, 0.42], np.float32)
SHED_BLOOD = np.array([0.48, 1.10, 0.75], np.float32)
"""What blood takes from red, green and blue light at density 1."""

FAINTEST = 0.06
"""Lesions fade out at this opacity, so that a mask holds exactly the pixels that were painted."""

Points = NDArray[np.float64]


@dataclass(frozen=True)
class SyntheticEye:
    """One drawn photograph.

    pixels : uint8 (H, W, 3) RGB.   grade : 0 to 4.   eye : "left" or "right".
    masks : lesion kind -> bool (H, W), only the kinds that were painted.   retina : bool (H, W), true in the aperture.
    """

    pixels: ByteArray
    grade: int
    eye: str
    masks: Mapping[str, BoolArray]
    retina: BoolArray


def draw_eye(seed: int, grade: int, *, eye: str = "right", size: int = 640, anatomy_seed: int | None = None) -> SyntheticEye:
    """Draw one eye, the same bytes for the same arguments.

    The grade decides nothing but the lesions: with grade 0, the same seed gives the same photograph without them.

    Parameters
    ----------
    seed : decides the lesions and this exposure (gaze, light, blur, sensor noise).
    grade : 0 to 4 on the international scale of diabetic retinopathy.
    eye : "right" has the optic disc on the right of the picture, "left" is its mirror image.
    size : height of the picture in pixels; its width is 1.25 times that.
    anatomy_seed : decides pigmentation and camera and, for each eye by itself, disc and vessels. `seed` if not given.

    Raises
    ------
    DatasetError : for a grade off the scale, an unknown eye, a size below 64 or a negative seed.
    """
    if grade not in range(5):
        raise DatasetError(f"grade is {grade!r}, expected 0, 1, 2, 3 or 4", "Synthetic eyes have diabetic retinopathy only.")
    if eye not in ("left", "right"):
        raise DatasetError(f'eye is {eye!r}, expected "left" or "right"')
    if size < 64:
        raise DatasetError(f"size is {size}, expected at least 64 pixels")
    patient = seed if anatomy_seed is None else anatomy_seed
    side = ("left", "right").index(eye)
    person = _Person.draw(_stream(patient, 0))
    anatomy = _Anatomy.draw(_stream(patient, 1, side))
    shot = _Shot.draw(_stream(seed, 2, side), person, size, -1.0 if eye == "left" else 1.0)
    lesions = _lesions(_stream(seed, 3, side, grade), grade, anatomy, shot)
    pixels, masks = _render(person, anatomy, shot, lesions, (patient, seed, side))
    return SyntheticEye(pixels, grade, eye, masks, shot.retina())


def _stream(*entropy: int) -> np.random.Generator:
    if min(entropy) < 0:
        raise DatasetError(f"seed is {min(entropy)}, expected 0 or more")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


# --- The person and the camera -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Person:
    """Pigmentation and camera, shared by both eyes of a patient. Colours are 0..1."""

    fundus: FloatArray
    mottle: float
    tessellation: float
    sheen: float
    aperture: float  # retinal radius over picture height; above 0.5 the picture crops the retina
    notch: tuple[float, float] | None  # direction in radians, size over radius
    zoom: float
    blur: float
    noise: float
    rim: float
    rim_colour: FloatArray
    vignette: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> _Person:
        red = rng.uniform(0.46, 0.92)
        green = red * np.clip(rng.normal(0.72 - 0.18 * red, 0.07), 0.44, 0.76)
        blue = green * np.clip(rng.normal(0.64, 0.11), 0.35, 0.85)
        cropped = rng.random() < 0.35
        has_notch = not cropped and rng.random() < 0.5
        return cls(
            fundus=np.clip(np.array([red, green, blue], np.float32), 0.06, 0.9).astype(np.float32),
            mottle=rng.uniform(0.025, 0.06),
            tessellation=rng.uniform(0.04, 0.11) if rng.random() < 0.35 else 0.0,
            sheen=rng.uniform(0.0, 0.10),
            aperture=rng.uniform(0.545, 0.60) if cropped else rng.uniform(0.455, 0.49),
            notch=(float(rng.choice([-0.72, -0.78, 0.0])), rng.uniform(0.03, 0.045)) if has_notch else None,
            zoom=float(rng.choice([1.0, 0.9])),
            blur=rng.uniform(0.0012, 0.0030),
            noise=rng.uniform(0.006, 0.014),
            rim=rng.uniform(0.05, 0.5) * (rng.random() < 0.6),
            rim_colour=np.array([0.55, 0.66, 0.48], np.float32) * rng.uniform(0.8, 1.1, 3).astype(np.float32),
            vignette=rng.uniform(0.12, 0.45),
        )


@dataclass(frozen=True)
class _Shot:
    """One exposure: how anatomy falls on the picture, and how the light falls on the retina."""

    height: int
    width: int
    centre: tuple[float, float]
    radius: float  # pixels
    unit: float  # pixels to a retinal unit
    turn: float
    gaze: tuple[float, float]
    side: float  # 1 right eye, -1 left eye
    notch: tuple[float, float] | None
    exposure: float
    slope: tuple[float, float]
    shadow: tuple[float, float, float, float]  # x, y, width, depth
    veil: float

    @classmethod
    def draw(cls, rng: np.random.Generator, person: _Person, size: int, side: float) -> _Shot:
        width = round(size * ASPECT)
        radius = person.aperture * size
        across, down = (size * rng.normal(0.0, 0.006) for _ in range(2))
        return cls(
            height=size,
            width=width,
            centre=(width / 2 + across, size / 2 + down * (person.aperture < 0.5)),
            radius=radius,
            unit=radius * person.zoom,
            turn=rng.normal(0.0, 0.05),
            gaze=(rng.normal(0.05, 0.07), rng.normal(0.0, 0.05)),
            side=side,
            notch=person.notch,
            exposure=rng.normal(0.95, 0.12),
            slope=(rng.normal(0.0, 0.14), rng.normal(0.0, 0.12)),
            shadow=(
                rng.normal(-0.1, 0.3),
                rng.normal(0, 0.3),
                rng.uniform(0.25, 0.5),
                rng.uniform(0.15, 0.5) * (rng.random() < 0.4),
            ),
            veil=rng.uniform(0.0, 0.05),
        )

    def to_pixels(self, points: Points) -> Points:
        """Map anatomy (n, 2) to pixels (n, 2) as x, y."""
        x = (points[:, 0] - self.gaze[0]) * self.side
        y = points[:, 1] - self.gaze[1]
        c, s = math.cos(self.turn), math.sin(self.turn)
        return np.stack([self.centre[0] + self.unit * (c * x - s * y), self.centre[1] + self.unit * (s * x + c * y)], axis=1)

    def to_anatomy(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Map pixels to anatomy."""
        u, v = (x - self.centre[0]) / self.unit, (y - self.centre[1]) / self.unit
        c, s = math.cos(self.turn), math.sin(self.turn)
        return (c * u + s * v) * self.side + self.gaze[0], -s * u + c * v + self.gaze[1]

    def shows(self, points: Points, margin: float = 0.05) -> BoolArray:
        """Which of the points (n, 2) lie on the photographed retina, `margin` retinal units from its edge."""
        p, m = self.to_pixels(points), margin * self.unit
        inside = np.hypot(p[:, 0] - self.centre[0], p[:, 1] - self.centre[1]) < self.radius - m
        return np.asarray(inside & (p[:, 1] > m) & (p[:, 1] < self.height - m))

    def polar(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Picture coordinates in aperture radii, and the distance from its centre, each (H, W) or broadcastable to it."""
        x = ((np.arange(self.width, dtype=np.float32) - self.centre[0]) / self.radius)[None, :].astype(np.float32)
        y = ((np.arange(self.height, dtype=np.float32) - self.centre[1]) / self.radius)[:, None].astype(np.float32)
        return x, y, np.hypot(x, y)

    def aperture(self) -> FloatArray:
        """How open the camera is at each pixel, 0..1 with an antialiased edge, float32 (H, W)."""
        x, y, r = self.polar()
        edge = 1.0 - r
        if self.notch is not None:
            angle, reach = self.notch
            edge = np.maximum(edge, reach - np.hypot(x - math.cos(angle), y - math.sin(angle)))
        return np.asarray(np.clip(edge * self.radius / 1.5 + 0.5, 0.0, 1.0), np.float32)

    def retina(self) -> BoolArray:
        return np.asarray(self.aperture() > 0.5)


# --- The anatomy of an eye ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Vessel:
    vein: bool
    points: Points
    radius: float


@dataclass(frozen=True)
class _Anatomy:
    """Retinal units, x towards the nose, y downwards."""

    disc: tuple[float, float]
    disc_axes: tuple[float, float]
    cup: float
    disc_tint: float
    crescent: float
    fovea: tuple[float, float]
    fovea_depth: float
    reflex: float
    vessels: tuple[_Vessel, ...]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> _Anatomy:
        disc = (0.56 + rng.normal(0, 0.015), rng.normal(0, 0.02))
        radius = DISC_RADIUS * rng.normal(1.0, 0.06)
        fovea = (disc[0] - 5.0 * DISC_RADIUS * rng.normal(1.0, 0.04), disc[1] + 0.05 + rng.normal(0, 0.015))
        return cls(
            disc=disc,
            disc_axes=(radius * rng.uniform(0.90, 0.98), radius * rng.uniform(1.0, 1.07)),
            cup=rng.uniform(0.25, 0.6),
            disc_tint=rng.uniform(0.92, 1.08),
            crescent=rng.uniform(0.1, 0.4) * (rng.random() < 0.4),
            fovea=fovea,
            fovea_depth=rng.uniform(0.25, 0.5),
            reflex=rng.uniform(0.03, 0.10) * (rng.random() < 0.3),
            vessels=tuple(_grow_vessels(rng, disc, fovea)),
        )


@dataclass
class _Tip:
    """The growing end of a vessel: it turns by `bend` radians in all, most of it within `reach`."""

    x: float
    y: float
    heading: float
    radius: float
    bend: float
    reach: float
    depth: int = 0
    line: int = 0


THINNEST = 0.0015
STEP = 0.016


def _grow_vessels(rng: np.random.Generator, disc: tuple[float, float], fovea: tuple[float, float]) -> Iterator[_Vessel]:
    """Grow veins and arteries from the disc. At each fork the cubes of the radii add up (Murray's law)."""
    for vein in (True, False):
        girth = rng.uniform(0.0108, 0.0125) if vein else rng.uniform(0.0080, 0.0092)
        tips = []
        for up in (-1.0, 1.0):
            # Temporal arcade: leaves the disc steeply and bends round the fovea.
            heading = up * (math.pi / 2 + rng.normal(0.0, 0.14) - (0.10 if vein else -0.06))
            bend = up * (rng.normal(1.70, 0.08) + (0.10 if vein else -0.06))
            tips.append(_Tip(disc[0] + 0.02, disc[1] + up * 0.012, heading, girth, bend, rng.uniform(0.42, 0.54)))
            # Nasal branch: runs straight out.
            nasal = up * rng.uniform(0.55, 1.0)
            tips.append(_Tip(disc[0] + 0.022, disc[1] + up * 0.012, nasal, girth * rng.uniform(0.62, 0.78), -up * 0.25, 0.5))
            # Twig towards the macula.
            twig = math.pi - up * rng.uniform(0.30, 0.65)
            tips.append(
                _Tip(disc[0] + 0.01, disc[1] + up * 0.012, twig, girth * rng.uniform(0.28, 0.40), up * rng.uniform(0.1, 0.4), 0.3)
            )
        tips.append(_Tip(disc[0] + 0.03, disc[1], rng.normal(0.0, 0.25), girth * 0.36, rng.normal(0, 0.2), 0.4))
        yield from _grow(rng, tips, vein, fovea)


def _grow(rng: np.random.Generator, tips: list[_Tip], vein: bool, fovea: tuple[float, float]) -> Iterator[_Vessel]:
    """Grow tips and the branches they put out, breadth first, into stretches of constant radius."""
    taken: dict[tuple[int, int], int] = {}  # the line that runs through each small cell; thin lines of a kind end where they meet
    lines = len(tips)
    for tip in tips:
        x, y, course, radius = tip.x, tip.y, tip.heading, tip.radius
        points = [(x, y)]
        travelled = sway = 0.0
        to_fork = rng.uniform(0.15, 0.32)
        restless = 0.13 + 0.07 * min(tip.depth, 2)
        for nudge, drift in rng.normal(0.0, 1.0, (150, 2)):
            sway = 0.88 * sway + 0.47 * restless * nudge
            course += tip.bend / tip.reach * math.exp(-travelled / tip.reach) * STEP + 0.012 * drift
            dx, dy = x - fovea[0], y - fovea[1]
            near = math.hypot(dx, dy)
            if near < 0.32:
                # Vessels turn round the fovea and leave its centre free.
                course += 0.12 * math.sin(math.atan2(dy, dx) - course) * (0.32 - near) / 0.32
            x += STEP * math.cos(course + sway)
            y += STEP * math.sin(course + sway)
            travelled += STEP
            points.append((x, y))
            owner = taken.setdefault((round(x / 0.02), round(y / 0.02)), tip.line)
            meets = owner != tip.line and travelled > 0.06 and radius < 0.007
            if near < 0.12 or math.hypot(x, y) > 1.4 or meets or radius < THINNEST:
                break
            if travelled > to_fork and tip.depth < 4:
                child = radius * (rng.uniform(0.36, 0.66) if radius > 0.006 else rng.uniform(0.5, 0.8))
                angle = rng.choice([-1.0, 1.0]) * rng.uniform(0.6, 1.05)
                if child > THINNEST:
                    tips.append(_Tip(x, y, course + angle, child, -0.4 * angle, 0.25, tip.depth + 1, lines))
                    lines += 1
                    yield _Vessel(vein, np.array(points), radius)
                    points, radius = [(x, y)], (radius**3 - child**3) ** (1 / 3)
                    course -= 0.10 * angle
                to_fork = travelled + rng.uniform(0.13, 0.30)
            elif len(points) > 8:
                yield _Vessel(vein, np.array(points), radius)
                points = [(x, y)]
            radius *= 0.998 if radius > 0.004 else 0.990
        if len(points) > 1:
            yield _Vessel(vein, np.array(points), radius)


# --- The lesions of a grade --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Spot:
    """A soft-edged, irregular ellipse. Lengths in retinal units; `ripple` holds the amplitudes and phases of its outline."""

    x: float
    y: float
    long: float
    short: float
    angle: float
    opacity: float
    edge: float  # share of the radius over which it fades
    ripple: tuple[tuple[float, float], ...] = ()
    level_top: bool = False


@dataclass(frozen=True)
class _Strand:
    points: Points
    radius: float
    opacity: float


@dataclass
class _Lesions:
    spots: dict[str, list[_Spot]] = field(default_factory=dict)
    strands: dict[str, list[_Strand]] = field(default_factory=dict)
    fibrous: list[_Spot] = field(default_factory=list)


def _ripple(rng: np.random.Generator, amount: float) -> tuple[tuple[float, float], ...]:
    return tuple((float(rng.normal(0.0, amount / k**1.4)), float(rng.uniform(0, 2 * math.pi))) for k in range(2, 7))


class _Sites:
    """Where lesions may lie."""

    def __init__(self, rng: np.random.Generator, anatomy: _Anatomy, shot: _Shot) -> None:
        self.rng, self.anatomy, self.shot = rng, anatomy, shot
        self.vessels = cKDTree(np.concatenate([v.points for v in anatomy.vessels if v.radius > 0.004]))
        self.used: list[tuple[float, float, float]] = []

    def quadrant(self, x: Any, y: Any) -> Any:
        """0..3, about the centre of the photographed field."""
        return (np.asarray(x) > self.shot.gaze[0]) * 1 + (np.asarray(y) > self.shot.gaze[1]) * 2

    def find(
        self, spread: float, apart: float, about: tuple[float, float] | None = None, quadrant: int | None = None
    ) -> tuple[float, float]:
        """A visible place, `apart` from earlier ones, off the disc and off the larger vessels if that can be had."""
        cx, cy = self.anatomy.fovea if about is None else about
        if about is None:
            cx, cy = 0.5 * (cx + self.shot.gaze[0]), 0.5 * (cy + self.shot.gaze[1])
        place = (cx, cy)
        for clearance in (apart, apart, apart / 2, 0.0):
            xy = np.array([cx, cy]) + self.rng.normal(0.0, spread, (60, 2))
            off_disc = np.hypot(xy[:, 0] - self.anatomy.disc[0], xy[:, 1] - self.anatomy.disc[1]) > 1.25 * DISC_RADIUS
            good = self.shot.shows(xy, 0.06) & off_disc & (self.vessels.query(xy)[0] > min(clearance, 0.02))
            if quadrant is not None:
                good &= self.quadrant(xy[:, 0], xy[:, 1]) == quadrant
            for x, y in xy[good]:
                place = (float(x), float(y))
                if all(math.hypot(x - u, y - v) > clearance + r for u, v, r in self.used):
                    self.used.append((place[0], place[1], apart))
                    return place
        return place


def _lesions(rng: np.random.Generator, grade: int, anatomy: _Anatomy, shot: _Shot) -> _Lesions:
    """Choose the lesions that the international scale asks of a grade."""
    lesions = _Lesions()
    if grade == 0:
        return lesions
    sites = _Sites(rng, anatomy, shot)
    severe = grade == 3 or (grade == 4 and rng.random() < 0.4)
    count = {1: rng.integers(3, 9), 2: rng.integers(6, 20), 3: rng.integers(14, 32), 4: rng.integers(10, 28)}[grade]
    lesions.spots["microaneurysm"] = [_microaneurysm(rng, sites.find(0.38, 0.014)) for _ in range(count)]
    if grade == 1:
        return lesions

    many, beaded = False, False
    if severe:
        many = rng.random() < 0.65
        beaded = not many or rng.random() < 0.35
    if many:
        bleeds = [_haemorrhage(rng, sites, q) for q in range(4) for _ in range(rng.integers(22, 30))]
    else:
        bleeds = [_haemorrhage(rng, sites, None) for _ in range(rng.integers(25, 50) if severe else rng.integers(3, 19))]
    lesions.spots["haemorrhage"] = bleeds
    if rng.random() < (0.75 if grade == 2 else 0.7):
        lesions.spots["hard exudate"] = _exudates(rng, anatomy, sites)
    if rng.random() < (0.3 if grade == 2 else 0.8):
        lesions.spots["cotton-wool spot"] = [
            _cotton_wool(rng, sites) for _ in range(rng.integers(1, 3) if grade == 2 else rng.integers(2, 8))
        ]
    if beaded:
        lesions.strands["venous beading"] = _beading(rng, anatomy, sites)
    if grade == 4:
        _proliferation(rng, anatomy, sites, lesions)
    return lesions


def _microaneurysm(rng: np.random.Generator, place: tuple[float, float]) -> _Spot:
    r = rng.uniform(0.0065, 0.0105)
    return _Spot(*place, r, r * rng.uniform(0.85, 1.0), rng.uniform(0, math.pi), rng.uniform(0.65, 0.95), 0.5)


def _haemorrhage(rng: np.random.Generator, sites: _Sites, quadrant: int | None) -> _Spot:
    kind = rng.random()
    depth = rng.uniform(0.45, 1.0)
    if kind < 0.55:  # dot
        r = rng.uniform(0.009, 0.015)
        x, y = sites.find(0.45, 0.022, quadrant=quadrant)
        return _Spot(x, y, r, r * rng.uniform(0.7, 1.0), rng.uniform(0, math.pi), depth, 0.5, _ripple(rng, 0.2))
    if kind < 0.82:  # blot
        r = min(0.040, 0.014 * math.exp(rng.exponential(0.40)))
        x, y = sites.find(0.45, 0.036, quadrant=quadrant)
        return _Spot(x, y, r, r * rng.uniform(0.55, 0.95), rng.uniform(0, math.pi), depth, 0.6, _ripple(rng, 0.34))
    # Flame: blood follows the nerve fibres, which fan out from the disc.
    x, y = sites.find(0.45, 0.040, quadrant=quadrant)
    along = math.atan2(y - sites.anatomy.disc[1], x - sites.anatomy.disc[0]) + rng.normal(0, 0.25)
    r = rng.uniform(0.022, 0.048)
    return _Spot(x, y, r, r * rng.uniform(0.2, 0.36), along, depth, 0.9, _ripple(rng, 0.5))


def _exudates(rng: np.random.Generator, anatomy: _Anatomy, sites: _Sites) -> list[_Spot]:
    """Clusters and partial rings of small, well-defined yellow deposits, most of them about the macula."""
    spots = []
    for _ in range(rng.integers(1, 4)):
        cx, cy = sites.find(0.22, 0.05, about=anatomy.fovea)
        ring = rng.random() < 0.6
        radius, start, arc = rng.uniform(0.07, 0.16), rng.uniform(0, 2 * math.pi), rng.uniform(1.5, 5.0)
        for _ in range(rng.integers(10, 38)):
            if ring:
                a, d = start + arc * rng.random(), radius * rng.normal(1.0, 0.10)
                x, y = cx + d * math.cos(a), cy + d * math.sin(a)
            else:
                x, y = cx + rng.normal(0, 0.045), cy + rng.normal(0, 0.045)
            if not sites.shot.shows(np.array([[x, y]]))[0]:
                continue
            r = min(0.022, 0.0045 * math.exp(rng.exponential(0.45)))
            spots.append(
                _Spot(
                    x, y, r, r * rng.uniform(0.5, 1.0), rng.uniform(0, math.pi), rng.uniform(0.45, 0.9), 0.35, _ripple(rng, 0.35)
                )
            )
    return spots


def _cotton_wool(rng: np.random.Generator, sites: _Sites) -> _Spot:
    x, y = sites.find(0.34, 0.05, about=(sites.anatomy.disc[0] - 0.2, sites.anatomy.disc[1]))
    across = math.atan2(y - sites.anatomy.disc[1], x - sites.anatomy.disc[0]) + math.pi / 2 + rng.normal(0, 0.4)
    r = rng.uniform(0.034, 0.062)
    return _Spot(x, y, r, r * rng.uniform(0.5, 0.8), across, rng.uniform(0.5, 0.85), 0.95, _ripple(rng, 0.5))


def _beading(rng: np.random.Generator, anatomy: _Anatomy, sites: _Sites) -> list[_Strand]:
    """Sausage-like swellings of the large veins in two quadrants at least."""
    beads: list[_Strand] = []
    quadrants: set[int] = set()
    veins = sorted((v for v in anatomy.vessels if v.vein), key=lambda v: -v.radius)
    for vein in veins:
        off_disc = np.hypot(*(vein.points - np.array(anatomy.disc)).T) > 1.3 * DISC_RADIUS
        points = vein.points[off_disc & sites.shot.shows(vein.points, 0.08)]
        if len(points) < 6:
            continue
        quadrant = int(sites.quadrant(*points.mean(axis=0)))
        if quadrant in quadrants and rng.random() < 0.8:
            continue
        quadrants.add(quadrant)
        at = 1
        while at < len(points) - 1:
            beads.append(_Strand(points[at - 1 : at + 1], vein.radius * rng.uniform(1.25, 1.75), 1.0))
            at += int(rng.integers(2, 5))
        if len(quadrants) >= 3:
            break
    return beads


def _proliferation(rng: np.random.Generator, anatomy: _Anatomy, sites: _Sites, lesions: _Lesions) -> None:
    bleeds = rng.random() < 0.45
    if not bleeds or rng.random() < 0.75:
        tangles: list[_Strand] = []
        if rng.random() < 0.55:
            tangles += _tangle(rng, anatomy.disc, DISC_RADIUS * rng.uniform(0.9, 1.5))
        if not tangles or rng.random() < 0.5:
            for _ in range(rng.integers(1, 3)):
                tangles += _tangle(rng, _on_a_vein(rng, anatomy, sites), DISC_RADIUS * rng.uniform(0.6, 1.2))
        lesions.strands["new vessels"] = tangles
        if rng.random() < 0.4:
            x, y = tangles[0].points[0]
            for _ in range(rng.integers(2, 5)):
                r = rng.uniform(0.05, 0.12)
                dx, dy = rng.normal(0, 0.07, 2)
                lesions.fibrous.append(
                    _Spot(
                        x + dx,
                        y + dy,
                        r,
                        r * rng.uniform(0.2, 0.5),
                        rng.uniform(0, math.pi),
                        rng.uniform(0.25, 0.5),
                        0.9,
                        _ripple(rng, 0.5),
                    )
                )
    if bleeds:
        pools = []
        for _ in range(rng.integers(1, 3)):
            x, y = sites.find(0.30, 0.14)
            w = rng.uniform(0.09, 0.24)
            pools.append(
                _Spot(x, y, w, w * rng.uniform(0.45, 0.9), 0.0, rng.uniform(0.8, 0.97), 0.25, _ripple(rng, 0.12), level_top=True)
            )
        if rng.random() < 0.4:
            # Blood that broke into the vitreous: a veil without a level.
            x, y = sites.find(0.35, 0.1)
            w = rng.uniform(0.15, 0.32)
            pools.append(
                _Spot(
                    x, y, w, w * rng.uniform(0.4, 0.8), rng.uniform(0, math.pi), rng.uniform(0.35, 0.7), 0.95, _ripple(rng, 0.9)
                )
            )
        lesions.spots["pre-retinal blood"] = pools


def _on_a_vein(rng: np.random.Generator, anatomy: _Anatomy, sites: _Sites) -> tuple[float, float]:
    points = np.concatenate([v.points for v in anatomy.vessels if v.vein and v.radius > 0.006])
    away = np.hypot(points[:, 0] - anatomy.disc[0], points[:, 1] - anatomy.disc[1]) > 2.2 * DISC_RADIUS
    seen = points[away & sites.shot.shows(points, 0.15)]
    x, y = seen[rng.integers(len(seen))] if len(seen) else anatomy.disc
    return float(x), float(y)


def _tangle(rng: np.random.Generator, root: tuple[float, float], reach: float) -> list[_Strand]:
    """A fan of fine vessels that sprout from one another and loop back at its border."""
    strands: list[_Strand] = []
    for i in range(rng.integers(22, 40)):
        stem = strands[rng.integers(len(strands))].points if i > 4 else np.array([root])
        x, y = stem[rng.integers(len(stem))]
        heading = math.atan2(y - root[1], x - root[0]) + rng.normal(0, 0.9) if i > 4 else rng.uniform(0, 2 * math.pi)
        curl = rng.normal(0, 0.15)
        points = [(x, y)]
        for _ in range(rng.integers(8, 22)):
            curl = 0.8 * curl + rng.normal(0, 0.13)
            heading += curl
            if math.hypot(x - root[0], y - root[1]) > reach * 0.8:
                heading += 0.7 * math.sin(math.atan2(root[1] - y, root[0] - x) - heading)
            x += 0.010 * math.cos(heading)
            y += 0.010 * math.sin(heading)
            points.append((x, y))
        strands.append(_Strand(np.array(points), rng.uniform(0.0013, 0.0027), rng.uniform(0.5, 0.95)))
    return strands


# --- Painting ----------------------------------------------------------------------------------------------------------------


_NOTHING = np.zeros((1, 1), np.float32)
"""A layer on which nothing is painted."""


def _noise(rng: np.random.Generator, shot: _Shot, cells: int) -> FloatArray:
    """Smooth noise of unit variance, about `cells` lumps to a picture's height, float32 (H, W)."""
    lattice = rng.standard_normal((cells, round(cells * ASPECT)), dtype=np.float32)
    return np.asarray(cv2.resize(lattice, (shot.width, shot.height), interpolation=cv2.INTER_CUBIC), np.float32)


def _blur(image: Any, sigma: float) -> Any:
    return cv2.GaussianBlur(image, (0, 0), sigma) if sigma > 0.2 else image


def _stroke(canvas: ByteArray, shot: _Shot, points: Points, radius: float, opacity: float) -> None:
    """Draw a line of the given radius on a canvas of twice the picture's resolution."""
    line = np.round((shot.to_pixels(points) + 0.25) * 2 * 16).astype(np.int32)
    width = 4.0 * radius * shot.unit
    shade = round(255 * opacity * min(1.0, width / 1.2))
    cv2.polylines(canvas, [line], False, shade, max(1, round(width)), cv2.LINE_AA, 4)


def _halve(canvas: ByteArray) -> FloatArray:
    height, width = canvas.shape
    small = cv2.resize(canvas, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / np.float32(255)


def _stamp(layer: FloatArray, shot: _Shot, spot: _Spot) -> None:
    """Lay a spot on an opacity layer (H, W), keeping the larger opacity."""
    (px, py), reach = shot.to_pixels(np.array([[spot.x, spot.y]]))[0], spot.long * shot.unit * 1.6 + 2
    top, bottom = max(0, math.floor(py - reach)), min(shot.height, math.ceil(py + reach) + 1)
    left, right = max(0, math.floor(px - reach)), min(shot.width, math.ceil(px + reach) + 1)
    if top >= bottom or left >= right:
        return
    x, y = shot.to_anatomy(np.arange(left, right)[None, :], np.arange(top, bottom)[:, None])
    dx, dy = x - spot.x, y - spot.y
    c, s = math.cos(spot.angle), math.sin(spot.angle)
    least = 0.6 / shot.unit
    u, v = (c * dx + s * dy) / max(spot.long, least), (-s * dx + c * dy) / max(spot.short, least)
    r = np.hypot(u, v)
    if spot.ripple:
        theta = np.arctan2(v, u)
        r = r / (1.0 + sum(a * np.cos(k * theta + phase) for k, (a, phase) in enumerate(spot.ripple, start=2)))
    inner = 1.0 - r
    if spot.level_top:
        # Blood settles under gravity, so the pool's top is level in the picture.
        inner = np.minimum(inner, (v + 0.25) * 1.6)
    t = np.clip(inner / spot.edge + 0.5 * (spot.edge < 0.6), 0.0, 1.0)
    opacity = spot.opacity * t * t * (3.0 - 2.0 * t)
    window = layer[top:bottom, left:right]
    np.maximum(window, opacity.astype(np.float32), out=window)


def _render(
    person: _Person, anatomy: _Anatomy, shot: _Shot, lesions: _Lesions, seeds: tuple[int, int, int]
) -> tuple[ByteArray, dict[str, BoolArray]]:
    """Paint a photograph. Every random number comes from `seeds`, so the same call without lesions gives the same eye."""
    patient, seed, side = seeds
    texture = _stream(patient, 4, side)
    retina = shot.retina()
    light = np.empty((shot.height, shot.width, 3), np.float32)
    light[:] = person.fundus
    mottle = sum((_noise(texture, shot, n) * np.float32(w) for n, w in ((5, 1.0), (12, 0.8), (30, 0.55), (80, 0.45))), _NOTHING)
    choroid = sum(np.exp(-((_noise(texture, shot, n) / np.float32(0.45)) ** 2)) for n in (17, 27)) - np.float32(0.8)
    light *= np.exp(person.mottle * mottle[..., None] * np.array([0.5, 1.0, 1.1], np.float32))
    x, y = shot.to_anatomy(np.arange(shot.width, dtype=np.float32)[None, :], np.arange(shot.height, dtype=np.float32)[:, None])
    x, y = x.astype(np.float32), y.astype(np.float32)
    from_fovea = np.hypot(x - np.float32(anatomy.fovea[0]), y - np.float32(anatomy.fovea[1]))
    if person.tessellation:
        outside = np.clip((from_fovea - 0.25) / 0.4, 0, 1)
        light *= np.exp(person.tessellation * (choroid * outside)[..., None] * np.array([0.8, 0.9, 0.5], np.float32))

    # Fovea.
    dark = anatomy.fovea_depth * (0.65 * np.exp(-((from_fovea / 0.085) ** 2)) + 0.5 * np.exp(-((from_fovea / 0.25) ** 2)))
    light *= np.exp(-dark[..., None] * np.array([0.55, 0.95, 1.0], np.float32))
    if anatomy.reflex:
        light += (anatomy.reflex * np.exp(-((from_fovea / 0.012) ** 2)))[..., None]

    # Vessels, at twice the resolution.
    big = (2 * shot.height, 2 * shot.width)
    veins, arteries, reflexes = np.zeros(big, np.uint8), np.zeros(big, np.uint8), np.zeros(big, np.uint8)
    for vessel in anatomy.vessels:
        canvas = veins if vessel.vein else arteries
        _stroke(canvas, shot, vessel.points, vessel.radius, min(1.0, 0.22 + vessel.radius * 75))
        if vessel.radius > 0.0045:
            _stroke(reflexes, shot, vessel.points, vessel.radius * 0.28, 0.35 if vessel.vein else 0.8)
    soften = 0.0022 * shot.unit
    venous, arterial = _blur(_halve(veins), soften), _blur(_halve(arteries), soften)
    reflex = _blur(_halve(reflexes), soften)

    # Nerve fibres shine along the arcades.
    if person.sheen:
        sheen = _blur(cv2.resize(venous + arterial, None, fx=0.125, fy=0.125, interpolation=cv2.INTER_AREA), 0.06 * shot.unit / 8)
        sheen = cv2.resize(sheen, (shot.width, shot.height), interpolation=cv2.INTER_LINEAR)
        light += (person.sheen * 3.0 * sheen)[..., None] * person.fundus * np.array([0.6, 1.0, 1.2], np.float32)

    _paint_disc(light, person, anatomy, x, y)

    layers = {kind: np.zeros(retina.shape, np.float32) for kind in {**lesions.spots, **lesions.strands}}
    for kind, spots in lesions.spots.items():
        for spot in spots:
            _stamp(layers[kind], shot, spot)
    for kind, strands in lesions.strands.items():
        canvas = np.zeros(big, np.uint8)
        for strand in strands:
            _stroke(canvas, shot, strand.points, strand.radius, strand.opacity)
        layers[kind] = _blur(_halve(canvas), soften * 0.7)
    fibrous = np.zeros(retina.shape, np.float32) if lesions.fibrous else _NOTHING
    for spot in lesions.fibrous:
        _stamp(fibrous, shot, spot)
    for painted in (*layers.values(), fibrous):
        np.maximum(painted - np.float32(FAINTEST), 0.0, out=painted)

    def layer(kind: str) -> FloatArray:
        return layers.get(kind, _NOTHING)

    _blend(
        light,
        layer("hard exudate"),
        _tinted(person, 1.30, 0.10, (1.0, 0.86, 0.50)),
    )
    density = np.maximum(venous, layer("venous beading"))
    fine = layer("new vessels")
    for amount, absorption in ((density, VENOUS_BLOOD), (arterial, ARTERIAL_BLOOD), (fine, ARTERIAL_BLOOD)):
        if amount is not _NOTHING:
            light *= np.exp(-amount[..., None] * absorption)
    light += (reflex * 0.16)[..., None] * person.fundus
    shed = np.maximum(layer("haemorrhage"), layer("microaneurysm") * 0.85)
    if shed.size > 1:
        light *= np.exp(-shed[..., None] * SHED_BLOOD)
    pale = _tinted(person, 1.10, 0.10, (1.0, 0.91, 0.76))
    _blend(light, layer("cotton-wool spot"), pale)
    _blend(light, fibrous, pale * np.float32(0.95))
    _blend(light, layer("pre-retinal blood"), person.fundus * np.array([0.66, 0.30, 0.32], np.float32))

    masks = {}
    for kind in LESIONS:
        if kind in layers:
            painted = layers[kind] if kind != "new vessels" else np.maximum(layers[kind], fibrous)
            mask = (painted > 0) & retina
            if mask.any():
                masks[kind] = mask
    return _expose(light, person, shot, _stream(seed, 5, side)), masks


def _tinted(person: _Person, gain: float, lift: float, hue: tuple[float, float, float]) -> FloatArray:
    """Return the colour of something pale of the given hue, as bright as this fundus lets it be."""
    return np.asarray((gain * person.fundus[0] + lift) * np.array(hue), np.float32)


def _blend(light: FloatArray, opacity: FloatArray, colour: FloatArray) -> None:
    if opacity.size > 1 and opacity.any():
        light += opacity[..., None] * (colour - light)


def _paint_disc(light: FloatArray, person: _Person, anatomy: _Anatomy, x: FloatArray, y: FloatArray) -> None:
    u, v = (
        (x - np.float32(anatomy.disc[0])) / np.float32(anatomy.disc_axes[0]),
        (y - np.float32(anatomy.disc[1])) / np.float32(anatomy.disc_axes[1]),
    )
    r = np.hypot(u, v)
    inside = np.clip((1.10 - r) / 0.24, 0, 1)
    inside = inside * inside * (3 - 2 * inside)
    glow = np.exp(-np.maximum(r - 1.0, 0) / 0.5) * 0.10
    rim = person.fundus * np.array([1.22, 1.40, 1.35], np.float32) + np.array([0.16, 0.11, 0.07], np.float32)
    cup = 0.45 * rim + 0.55 * np.array([1.0, 0.93, 0.74], np.float32) * (1.25 * person.fundus[0] + 0.25)
    if anatomy.crescent:
        moon = np.clip((1.28 - np.hypot(u + 0.14, v)) / 0.12, 0, 1) * (1 - inside)
        _blend(light, anatomy.crescent * moon, person.fundus * np.array([1.2, 1.45, 1.3], np.float32))
    _blend(light, glow * (1 - inside), rim)
    # The temporal rim is paler than the nasal one.
    pallor = np.clip(0.55 - 0.45 * u, 0, 1)
    depth = np.clip((anatomy.cup + 0.18 - np.hypot(u + 0.12, v)) / 0.4, 0, 1)
    tone = np.clip(0.55 * pallor + 0.75 * depth * depth, 0, 1)
    _blend(light, 0.9 * inside, np.float32(anatomy.disc_tint) * (rim + tone[..., None] * (cup - rim)))


def _expose(light: FloatArray, person: _Person, shot: _Shot, rng: np.random.Generator) -> ByteArray:
    """Light the retina unevenly, look through the optics, and read the sensor."""
    x, y, r = shot.polar()
    level = 1.0 - person.vignette * r**2.6 * 0.8
    level = level * (1.0 + shot.slope[0] * x + shot.slope[1] * y) * (1.0 + 0.05 * _noise(rng, shot, 3))
    if shot.shadow[3]:
        sx, sy, width, depth = shot.shadow
        level = level * (1.0 - depth * np.exp(-((x - sx) ** 2 + (y - sy) ** 2) / width**2))
    image = light * (level * np.float32(shot.exposure)).astype(np.float32)[..., None]
    haze = (
        person.rim
        * np.clip((r - 0.72) / 0.3, 0, 1) ** 2
        * (0.6 + 0.4 * np.clip(x * shot.slope[0] * 8 + y * shot.slope[1] * 8, -1, 1))
    ).astype(np.float32)
    image += haze[..., None] * (person.rim_colour - image) + np.float32(shot.veil)
    image = _blur(image, person.blur * shot.unit)
    image = np.where(image > 0.8, 0.8 + 0.2 * np.tanh((image - 0.8) / 0.2), image)
    grain = rng.standard_normal((shot.height, shot.width, 3), dtype=np.float32)
    image += grain * np.float32(person.noise)
    image *= shot.aperture()[..., None]
    return np.asarray(np.clip(image * 255.0 + 0.5, 0, 255), np.uint8)


# --- A cohort ----------------------------------------------------------------------------------------------------------------


def _grades(count: int, rng: np.random.Generator) -> list[int]:
    """Grades of `count` eyes, two consecutive eyes to a patient, in the shares of GRADE_SHARES."""
    patients = -(-count // 2)
    shared = np.repeat(rng.standard_normal(patients), 2)[:count]
    latent = math.sqrt(EYES_CORRELATION) * shared + math.sqrt(1 - EYES_CORRELATION) * rng.standard_normal(count)
    quota = np.floor(np.array(GRADE_SHARES) * count).astype(int)
    quota = np.maximum(quota, 1 if count >= 10 else 0)
    quota[0] += count - quota.sum()
    grades = np.empty(count, int)
    grades[np.argsort(latent, kind="stable")] = np.repeat(np.arange(5), quota)
    return [int(g) for g in grades]


def draw_cohort(count: int, *, seed: int = 0, size: int = 640) -> Iterator[tuple[str, SyntheticEye]]:
    """Draw `count` photographs one by one as (patient, eye): left and right of one patient, then the next.

    The eyes of a patient share pigmentation and camera, and their grades are correlated. Grades are spread as in
    GRADE_SHARES; from 10 photographs on, every grade occurs.
    """
    return ((sitter.patient, sitter.draw(size)) for sitter in _sitters(count, seed))


@dataclass(frozen=True)
class _Sitter:
    """An eye of a cohort before it is drawn."""

    patient: str
    eye: str
    grade: int
    seed: int

    def draw(self, size: int) -> SyntheticEye:
        return draw_eye(self.seed, self.grade, eye=self.eye, size=size)


def _sitters(count: int, seed: int) -> list[_Sitter]:
    if count < 1:
        raise DatasetError(f"count is {count}, expected at least 1 photograph")
    digits = max(4, len(str(count)))
    seeds = [int(_stream(seed, 7, number).integers(2**63)) for number in range(-(-count // 2))]
    return [
        _Sitter(f"{index // 2 + 1:0{digits}d}", ("left", "right")[index % 2], grade, seeds[index // 2])
        for index, grade in enumerate(_grades(count, _stream(seed, 6)))
    ]


TABLE = "grades.csv"
NOTE = "SYNTHETIC.txt"
NOTE_TEXT = """The photographs in this folder are drawn by a computer: no eye of a real person is shown.
Grades 0 to 4 follow the international clinical severity scale of diabetic retinopathy.
"""


def write_cohort(count: int, out: Path, *, seed: int = 0, size: int = 640, progress: Progress = silent) -> Path:
    """Write a cohort as `images/<patient>_<eye>.jpg`, `masks/<image>/<lesion-kind>.png` and a table of grades.

    An earlier cohort in `out` is replaced.

    Returns
    -------
    The table: `grades.csv` with the columns image, level, patient, eye.

    Raises
    ------
    DatasetError : `out` is a file, or holds something that this function did not write.
    """
    out = Path(out)
    _clear(out)
    sitters = _sitters(count, seed)

    def write(sitter: _Sitter) -> tuple[str, int, str, str]:
        drawn, stem = sitter.draw(size), f"{sitter.patient}_{sitter.eye}"
        _write(out / "images" / f"{stem}.jpg", drawn.pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        for kind, mask in drawn.masks.items():
            _write(out / "masks" / stem / f"{kind.replace(' ', '-')}.png", mask.astype(np.uint8) * 255, [])
        return stem, drawn.grade, sitter.patient, sitter.eye

    rows = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for row in pool.map(write, sitters):
                rows.append(row)
                progress("synthesize", len(rows), count)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    table = out / TABLE
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", "level", "patient", "eye"))
        writer.writerows(rows)
    return table


def _clear(out: Path) -> None:
    """Make `out` an empty folder with its note. Refuse where it holds anything but an earlier cohort."""
    held = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if (out.exists() and not out.is_dir()) or (held and (NOTE not in held or held - {NOTE, TABLE, "images", "masks"})):
        raise DatasetError(
            f"{out}: expected a new folder, an empty one, or one that holds a synthetic cohort and nothing else",
            "Name another folder.",
        )
    out.mkdir(parents=True, exist_ok=True)
    (out / NOTE).write_text(NOTE_TEXT, encoding="utf-8")
    (out / TABLE).unlink(missing_ok=True)
    for folder in ("images", "masks"):
        if (out / folder).is_dir():
            shutil.rmtree(out / folder)


def _write(path: Path, image: Any, options: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(path.suffix, np.ascontiguousarray(image), options)
    if not done:
        raise DatasetError(f"{path}: cannot be encoded")
    path.write_bytes(data.tobytes())
