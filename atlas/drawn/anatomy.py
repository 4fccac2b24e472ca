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

DISC_RADIUS = 0.155

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

    @property
    def blueness(self) -> float:
        """Blue over green."""
        return float(self.fundus[2] / self.fundus[1])

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Person:
        # Orange to brown. In IDRiD's training part, the medians of photographs are 0.63 in red (standard deviation 0.11), 0.47
        # (0.07) of that in green, and 0.24 (0.05 to 0.73) of green in blue. Green and blue go together: correlation 0.6.
        tone = rng.normal()
        red = np.clip(rng.normal(0.74, 0.10), 0.54, 0.94)
        green = red * np.clip(0.475 + 0.06 * tone, 0.35, 0.62)
        blue = green * np.clip(0.22 * math.exp(0.42 * tone + 0.5 * rng.normal()), 0.05, 0.74)
        cropped = rng.random() < 0.5
        has_notch = rng.random() < 0.5
        return cls(
            fundus=np.clip(np.array([red, green, blue], np.float32), 0.02, 0.94).astype(np.float32),
            mottle=rng.uniform(0.025, 0.055),
            tessellation=rng.uniform(0.04, 0.14) if rng.random() < 0.45 else 0.0,
            sheen=rng.uniform(0.0, 0.10),
            aperture=rng.uniform(0.56, 0.605) if cropped else rng.uniform(0.455, 0.49),
            notch=(float(rng.choice([-0.66, -0.72, -0.6])), rng.uniform(0.02, 0.032)) if has_notch else None,
            zoom=float(rng.choice([1.0, 0.9])),
            blur=rng.uniform(0.0014, 0.0034),
            noise=rng.uniform(0.004, 0.010),
            rim=rng.uniform(0.05, 0.4) * (rng.random() < 0.35),
            rim_colour=np.array([0.58, 0.55, 0.36], np.float32) * rng.uniform(0.8, 1.1, 3).astype(np.float32),
            vignette=rng.uniform(0.12, 0.40),
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
            gaze=(rng.normal(0.0, 0.08), rng.normal(0.0, 0.06)),
            side=side,
            notch=person.notch,
            exposure=rng.normal(0.96, 0.09),
            slope=(rng.normal(0.0, 0.12), rng.normal(0.0, 0.12)),
            # The iris or a lid: it comes in from the edge.
            shadow=(
                1.1 * math.cos(away := rng.uniform(0.0, 2 * math.pi)),
                0.9 * math.sin(away),
                rng.uniform(0.3, 0.55),
                rng.uniform(0.15, 0.45) * (rng.random() < 0.25),
            ),
            veil=rng.uniform(0.0, 0.03) + rng.uniform(0.02, 0.09) * (rng.random() < 0.12),
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
            for turn in (angle, angle + 2.6 * reach):
                c, s = math.cos(turn), math.sin(turn)
                along, across = c * x + s * y, c * y - s * x
                edge = np.maximum(edge, reach - np.maximum(np.abs(along - 1.0), np.abs(across)))
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
    root: tuple[float, float]  # where the vessels come out of the disc
    fovea: tuple[float, float]
    fovea_depth: float
    reflex: float
    vessels: tuple[_Vessel, ...]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Anatomy:
        disc = (0.57 + rng.normal(0, 0.015), rng.normal(-0.01, 0.02))
        radius = DISC_RADIUS * rng.normal(1.0, 0.08)
        root = (disc[0] + rng.uniform(0.0, 0.03), disc[1] + rng.normal(0.0, 0.012))
        fovea = (disc[0] - 4.6 * DISC_RADIUS * rng.normal(1.0, 0.04), disc[1] + 0.06 + rng.normal(0, 0.02))
        return cls(
            disc=disc,
            disc_axes=(radius * rng.uniform(0.92, 1.0), radius * rng.uniform(1.0, 1.09)),
            cup=rng.uniform(0.2, 0.6),
            disc_tint=rng.uniform(0.88, 1.08),
            crescent=rng.uniform(0.1, 0.4) * (rng.random() < 0.4),
            root=root,
            fovea=fovea,
            fovea_depth=rng.uniform(0.25, 0.5),
            reflex=rng.uniform(0.03, 0.10) * (rng.random() < 0.3),
            vessels=tuple(_grow_vessels(rng, root, fovea)),
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


THINNEST = 0.0014

STEP = 0.016


def _grow_vessels(rng: np.random.Generator, root: tuple[float, float], fovea: tuple[float, float]) -> Iterator[_Vessel]:
    """Grow veins and arteries from the disc. At each fork the cubes of the radii add up (Murray's law)."""
    # Heading, bend and reach of the temporal arcades: a vein and an artery run side by side. Upper and lower ones differ.
    arcades = [(rng.normal(0.0, 0.16), rng.normal(1.62, 0.16), rng.uniform(0.36, 0.60)) for _ in range(2)]
    for vein in (True, False):
        girth = rng.uniform(0.0118, 0.0140) if vein else rng.uniform(0.0084, 0.0100)
        aside = 0.012 if vein else -0.004
        tips = []
        for up, (lean, curve, reach) in zip((-1.0, 1.0), arcades, strict=True):
            own = girth * rng.uniform(0.88, 1.06)
            x, y = root[0] + aside + rng.normal(0.0, 0.008), root[1] + up * rng.uniform(0.002, 0.03)
            # Temporal arcade: leaves the disc steeply and bends round the fovea.
            heading = up * (math.pi / 2 + lean + rng.normal(0.0, 0.10) - (0.16 if vein else -0.10))
            bend = up * (curve + rng.normal(0.0, 0.10) + (0.14 if vein else -0.10))
            tips.append(_Tip(x, y, heading, own, bend, reach * rng.uniform(0.9, 1.1)))
            # Nasal branch: leaves with the arcade, and turns outwards.
            turn = rng.uniform(0.35, 0.95)
            tips.append(
                _Tip(x, y, up * rng.uniform(0.95, 1.35), own * rng.uniform(0.52, 0.74), -up * turn, rng.uniform(0.10, 0.25))
            )
            # Twigs towards the macula.
            for _ in range(rng.integers(1, 3)):
                twig = math.pi - up * rng.uniform(0.15, 0.9)
                tips.append(
                    _Tip(
                        x - 0.02,
                        y + rng.normal(0.0, 0.02),
                        twig,
                        own * rng.uniform(0.20, 0.36),
                        up * rng.uniform(0.0, 0.4),
                        rng.uniform(0.2, 0.4),
                    )
                )
        tips.append(_Tip(*root, rng.normal(0.0, 0.4), girth * rng.uniform(0.25, 0.4), rng.normal(0, 0.4), 0.3))
        yield from _grow(rng, tips, vein, fovea)


def _grow(rng: np.random.Generator, tips: list[_Tip], vein: bool, fovea: tuple[float, float]) -> Iterator[_Vessel]:
    """Grow tips and their branches, breadth first, into pieces of constant radius."""
    taken: dict[tuple[int, int], int] = {}  # the line in each small cell; thin lines of the same kind end where they meet
    lines = len(tips)
    for tip in tips:
        x, y, course, radius = tip.x, tip.y, tip.heading, tip.radius
        points = [(x, y)]
        travelled = sway = wiggle = 0.0
        to_fork = rng.uniform(0.10, 0.26)
        restless = (0.17 if vein else 0.13) + 0.06 * min(tip.depth, 2)
        for nudge, twitch in rng.normal(0.0, 1.0, (150, 2)).tolist():
            # Long bends of the whole course, and short wiggles, the more the thinner it is.
            sway = 0.90 * sway + 0.44 * restless * nudge
            wiggle = 0.55 * wiggle + (0.16 if radius < 0.004 else 0.08) * twitch
            course += tip.bend / tip.reach * math.exp(-travelled / tip.reach) * STEP + 0.014 * twitch
            dx, dy = x - fovea[0], y - fovea[1]
            near = math.hypot(dx, dy)
            if near < 0.34:
                # Large vessels turn round the fovea; small ones come nearer. None runs into its centre.
                push = 0.13 if radius > 0.0028 else 0.05
                course += push * math.sin(math.atan2(dy, dx) - course) * (0.34 - near) / 0.34
            x += STEP * math.cos(course + sway + wiggle)
            y += STEP * math.sin(course + sway + wiggle)
            travelled += STEP
            points.append((x, y))
            owner = taken.setdefault((round(x / 0.02), round(y / 0.02)), tip.line)
            meets = owner != tip.line and travelled > 0.06 and radius < 0.007
            if near < 0.09 or math.hypot(x, y) > 1.4 or meets or radius < THINNEST:
                break
            if travelled > to_fork and tip.depth < 4:
                child = radius * (rng.uniform(0.24, 0.74) if radius > 0.006 else rng.uniform(0.42, 0.82))
                # Thin branches leave at a wider angle, and more of them towards the fovea.
                inwards = math.sin(math.atan2(-dy, -dx) - course)
                side = math.copysign(1.0, inwards) * (1.0 if rng.random() < (0.62 if child < 0.006 else 0.4) else -1.0)
                angle = side * rng.uniform(0.75, 1.15) * (1.15 - 0.55 * child / radius)
                if child > THINNEST:
                    tips.append(_Tip(x, y, course + sway + angle, child, -0.45 * angle, 0.25, tip.depth + 1, lines))
                    lines += 1
                    yield _Vessel(vein, np.array(points), radius)
                    course -= 0.42 * angle * (child / radius) ** 2
                    points, radius = [(x, y)], (radius**3 - child**3) ** (1 / 3)
                to_fork = travelled + rng.uniform(0.11, 0.30)
            elif len(points) > 8:
                yield _Vessel(vein, np.array(points), radius)
                points = [(x, y)]
            radius *= 0.998 if radius > 0.004 else 0.990
        if len(points) > 1:
            yield _Vessel(vein, np.array(points), radius)
