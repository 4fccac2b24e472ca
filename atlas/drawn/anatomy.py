"""The parts of a drawn eye: a person's colours, a camera's shot, and the vessels of the retina.

Anatomy is in units of the retinal radius, x towards the nose and y downwards, so that a seed gives the same eye at any size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas.errors import DatasetError
from atlas.records import BoolArray, FloatArray

ASPECT = 1.25
"""Width of a picture over its height."""

DISC_RADIUS = 0.13

OPEN = 0.5
"""How open the camera is at least where the retina is seen, see `Shot.aperture`."""

Points = NDArray[np.float64]


def stream(*entropy: int) -> np.random.Generator:
    if min(entropy) < 0:
        raise DatasetError(f"seed is {min(entropy)}, expected 0 or more")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


@dataclass(frozen=True)
class Person:
    """Pigmentation and camera, shared by both eyes of a patient. Colours are from 0 to 1."""

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
    def draw(cls, rng: np.random.Generator) -> Person:
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
class Shot:
    """One exposure: how anatomy maps to the picture, and how the retina is lit."""

    height: int
    width: int
    centre: tuple[float, float]
    radius: float  # pixels
    unit: float  # pixels in a retinal unit
    turn: float
    gaze: tuple[float, float]
    side: float  # 1 right eye, -1 left eye
    notch: tuple[float, float] | None
    exposure: float
    slope: tuple[float, float]
    shadow: tuple[float, float, float, float]  # x, y, width, depth
    veil: float

    @classmethod
    def draw(cls, rng: np.random.Generator, person: Person, size: int, side: float) -> Shot:
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
        """Map pixels x, y to anatomy."""
        u, v = (x - self.centre[0]) / self.unit, (y - self.centre[1]) / self.unit
        c, s = math.cos(self.turn), math.sin(self.turn)
        return (c * u + s * v) * self.side + self.gaze[0], -s * u + c * v + self.gaze[1]

    def shows(self, points: Points, margin: float = 0.05) -> BoolArray:
        """Return which of the points (n, 2) are on the photographed retina, at least `margin` retinal units from its edge."""
        p, m = self.to_pixels(points), margin * self.unit
        inside = np.hypot(p[:, 0] - self.centre[0], p[:, 1] - self.centre[1]) < self.radius - m
        return np.asarray(inside & (p[:, 1] > m) & (p[:, 1] < self.height - m))

    @cached_property
    def polar(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Coordinates x and y in aperture radii and the distance from the centre, each broadcastable to (H, W)."""
        x = ((np.arange(self.width, dtype=np.float32) - self.centre[0]) / self.radius)[None, :].astype(np.float32)
        y = ((np.arange(self.height, dtype=np.float32) - self.centre[1]) / self.radius)[:, None].astype(np.float32)
        return x, y, np.hypot(x, y)

    def aperture(self) -> FloatArray:
        """Return how open the camera is at each pixel, 0 to 1 with an antialiased edge, float32 (H, W)."""
        x, y, r = self.polar
        edge = 1.0 - r
        if self.notch is not None:
            angle, reach = self.notch
            edge = np.maximum(edge, reach - np.hypot(x - math.cos(angle), y - math.sin(angle)))
        return np.asarray(np.clip(edge * self.radius / 1.5 + 0.5, 0.0, 1.0), np.float32)


@dataclass(frozen=True)
class _Vessel:
    vein: bool
    points: Points
    radius: float


@dataclass(frozen=True)
class Anatomy:
    """The anatomy of a retina in retinal units, x towards the nose, y downwards."""

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
    def draw(cls, rng: np.random.Generator) -> Anatomy:
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
    """The growing end of a vessel. It turns by `bend` radians in total, most of them within `reach`."""

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
    """Grow tips and their branches, breadth first, into pieces of constant radius."""
    taken: dict[tuple[int, int], int] = {}  # the line in each small cell; thin lines of the same kind end where they meet
    lines = len(tips)
    for tip in tips:
        x, y, course, radius = tip.x, tip.y, tip.heading, tip.radius
        points = [(x, y)]
        travelled = sway = 0.0
        to_fork = rng.uniform(0.15, 0.32)
        restless = 0.13 + 0.07 * min(tip.depth, 2)
        for nudge, drift in rng.normal(0.0, 1.0, (150, 2)).tolist():
            sway = 0.88 * sway + 0.47 * restless * nudge
            course += tip.bend / tip.reach * math.exp(-travelled / tip.reach) * STEP + 0.012 * drift
            dx, dy = x - fovea[0], y - fovea[1]
            near = math.hypot(dx, dy)
            if near < 0.32:
                # Vessels turn round the fovea and keep out of its centre.
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
                angle = float(rng.choice([-1.0, 1.0])) * rng.uniform(0.6, 1.05)
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
