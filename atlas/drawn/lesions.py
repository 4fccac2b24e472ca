"""Lesions of drawn eyes: which ones belong to a grade, where they are and how large they are."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from atlas.drawn.anatomy import DISC_RADIUS, Anatomy, Points, Shot

_DOT = DISC_RADIUS / 12
"""Radius, in retinal units, up to which a red dot is a microaneurysm; a larger one is a haemorrhage. The limit is that of the
Early Treatment Diabetic Retinopathy Study (Ophthalmology 98, 1991: 786-806). Edges are soft, so radii count where a dot is half
as dark as in its middle."""

_SOFT = 0.6  # edge of a dot


@dataclass(frozen=True)
class Spot:
    """A soft-edged, irregular ellipse. Lengths are in retinal units; `ripple` holds amplitudes and phases of its outline."""

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
class Strand:
    points: Points
    radius: float
    opacity: float


@dataclass
class Lesions:
    spots: dict[str, list[Spot]] = field(default_factory=dict)
    strands: dict[str, list[Strand]] = field(default_factory=dict)
    fibrous: list[Spot] = field(default_factory=list)


def ripple(rng: np.random.Generator, amount: float) -> tuple[tuple[float, float], ...]:
    return tuple((float(rng.normal(0.0, amount / k**1.4)), float(rng.uniform(0, 2 * math.pi))) for k in range(2, 7))


class _Sites:
    """The places where lesions can be."""

    def __init__(self, rng: np.random.Generator, anatomy: Anatomy, shot: Shot) -> None:
        self.rng, self.anatomy, self.shot = rng, anatomy, shot
        self.vessels = cKDTree(np.concatenate([v.points for v in anatomy.vessels if v.radius > 0.004]))
        self.used: list[tuple[float, float, float]] = []
        # Where disease is worse: lesions crowd there.
        self.crowds = [self._crowd() for _ in range(4)]

    def _crowd(self) -> tuple[float, float]:
        """Return the middle of a crowd of lesions, on the arcades or around the macula."""
        away, turn = self.rng.uniform(0.2, 0.75), self.rng.uniform(0, 2 * math.pi)
        middle = 0.5 * (self.anatomy.fovea[0] + self.shot.gaze[0]), 0.5 * (self.anatomy.fovea[1] + self.shot.gaze[1])
        return middle[0] + away * math.cos(turn), middle[1] + 0.8 * away * math.sin(turn)

    def crowded(self, spread: float, apart: float, quadrant: int | None = None) -> tuple[float, float]:
        """Return a place in one of the crowds more often than not."""
        if quadrant is None and self.rng.random() < 0.65:
            return self.find(0.10, 0.6 * apart, about=self.crowds[self.rng.integers(len(self.crowds))])
        return self.find(spread, apart, quadrant=quadrant)

    def quadrant(self, x: Any, y: Any) -> Any:
        """Return the quadrant, 0 to 3, around the centre of the photographed field."""
        return (np.asarray(x) > self.shot.gaze[0]) * 1 + (np.asarray(y) > self.shot.gaze[1]) * 2

    def find(
        self, spread: float, apart: float, about: tuple[float, float] | None = None, quadrant: int | None = None
    ) -> tuple[float, float]:
        """Return a visible place, if possible `apart` from earlier ones, off the disc and off the larger vessels."""
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


def draw_lesions(rng: np.random.Generator, grade: int, anatomy: Anatomy, shot: Shot) -> Lesions:
    """Choose lesions that give this grade on the international scale."""
    lesions = Lesions()
    if grade == 0:
        return lesions
    sites = _Sites(rng, anatomy, shot)
    severe = grade == 3 or (grade == 4 and rng.random() < 0.4)
    count = {1: rng.integers(3, 9), 2: rng.integers(6, 20), 3: rng.integers(14, 32), 4: rng.integers(10, 28)}[grade]
    lesions.spots["microaneurysm"] = [_microaneurysm(rng, sites.crowded(0.38, 0.014)) for _ in range(count)]
    if grade == 1:
        return lesions

    many, beaded = False, False
    if severe:
        many = rng.random() < 0.4
        beaded = not many or rng.random() < 0.35
    if many:
        bleeds = [_haemorrhage(rng, sites, q) for q in range(4) for _ in range(rng.integers(24, 30))]
    else:
        bleeds = [_haemorrhage(rng, sites, None) for _ in range(rng.integers(16, 40) if severe else rng.integers(3, 18))]
    lesions.spots["haemorrhage"] = [spot for bleed in bleeds for spot in bleed]
    if rng.random() < (0.75 if grade == 2 else 0.7):
        lesions.spots["hard exudate"] = _exudates(rng, anatomy, sites)
    if rng.random() < (0.3 if grade == 2 else 0.8):
        lesions.spots["cotton-wool spot"] = [
            cloud for _ in range(rng.integers(1, 3) if grade == 2 else rng.integers(2, 8)) for cloud in _cotton_wool(rng, sites)
        ]
    if beaded:
        lesions.strands["venous beading"] = _beading(rng, anatomy, sites)
    if grade == 4:
        _proliferation(rng, anatomy, sites, lesions)
    return lesions


def _microaneurysm(rng: np.random.Generator, place: tuple[float, float]) -> Spot:
    r = min(_DOT, 0.0060 * math.exp(rng.exponential(0.28)))
    return Spot(*place, r, r * rng.uniform(0.75, 1.0), rng.uniform(0, math.pi), rng.uniform(0.6, 1.0), 0.65, ripple(rng, 0.1))


def _haemorrhage(rng: np.random.Generator, sites: _Sites, quadrant: int | None) -> list[Spot]:
    """Draw a dot, a blot of several pools, or a flame of several streaks; most are only a little darker than the retina."""
    kind = rng.random()
    depth = min(1.0, 0.34 + rng.exponential(0.20))
    if kind < 0.42:  # dot
        r = min(1.9, 1.35 * math.exp(rng.exponential(0.15))) * _DOT / (1 - _SOFT / 2)
        x, y = sites.crowded(0.45, 0.026, quadrant)
        return [Spot(x, y, r, r * rng.uniform(0.6, 1.0), rng.uniform(0, math.pi), depth, _SOFT, ripple(rng, 0.3))]
    if kind < 0.74:  # blot
        r = min(0.050, 0.022 * math.exp(rng.exponential(0.38)))
        x, y = sites.crowded(0.45, 0.036, quadrant)
        pools = [Spot(x, y, r, r * rng.uniform(0.5, 0.9), rng.uniform(0, math.pi), depth, 0.8, ripple(rng, 0.5))]
        for _ in range(rng.integers(0, 4)):
            dx, dy = rng.normal(0, 0.5 * r, 2)
            own = r * rng.uniform(0.35, 0.75)
            shade = depth * rng.uniform(0.7, 1.1)
            pools.append(
                Spot(x + dx, y + dy, own, own * rng.uniform(0.5, 1.0), rng.uniform(0, math.pi), shade, 0.9, ripple(rng, 0.5))
            )
        return pools
    # Flame: blood follows the nerve fibres, which fan out from the disc.
    x, y = sites.crowded(0.45, 0.040, quadrant)
    along = math.atan2(y - sites.anatomy.disc[1], x - sites.anatomy.disc[0]) + rng.normal(0, 0.22)
    r = min(0.075, 0.024 * math.exp(rng.exponential(0.40)))
    streaks = []
    for _ in range(rng.integers(1, 5)):
        on, off = rng.normal(0, 0.35 * r), rng.normal(0, 0.15 * r)
        long = r * rng.uniform(0.5, 1.0)
        place = (x + on * math.cos(along) - off * math.sin(along), y + on * math.sin(along) + off * math.cos(along))
        shade = depth * rng.uniform(0.75, 1.05)
        tilt = along + rng.normal(0, 0.08)
        streaks.append(Spot(*place, long, long * rng.uniform(0.14, 0.34), tilt, shade, 0.95, ripple(rng, 0.4)))
    return streaks


def _exudates(rng: np.random.Generator, anatomy: Anatomy, sites: _Sites) -> list[Spot]:
    """Draw clusters and partial rings of waxy yellow deposits, most of them around the macula: specks, grains and plaques."""
    spots = []
    for _ in range(rng.integers(1, 6)):
        cx, cy = sites.find(0.24, 0.05, about=anatomy.fovea)
        ring = rng.random() < 0.4
        radius, start, arc = rng.uniform(0.07, 0.16), rng.uniform(0, 2 * math.pi), rng.uniform(1.5, 5.0)
        spread = rng.uniform(0.015, 0.055)
        bright = rng.uniform(0.3, 0.95)
        grains = rng.integers(1, 4)
        middles = rng.normal(0, spread, (grains, 2))
        for _ in range(rng.integers(5, 34)):
            if ring:
                a, d = start + arc * rng.random(), radius * rng.normal(1.0, 0.10)
                x, y = cx + d * math.cos(a), cy + d * math.sin(a)
            else:
                (mx, my), far = middles[rng.integers(grains)], rng.exponential(0.7)
                x, y = cx + mx + spread * far * rng.normal(), cy + my + spread * far * rng.normal()
            if not sites.shot.shows(np.array([[x, y]]))[0]:
                continue
            r = min(0.026, 0.0031 * math.exp(rng.exponential(0.58)))
            shade = bright * rng.uniform(0.6, 1.05)
            shape = (r * rng.uniform(0.45, 1.0), rng.uniform(0, math.pi))
            spots.append(Spot(x, y, r, *shape, shade, 0.5, ripple(rng, 0.45)))
            if r > 0.012:
                # A plaque: grains that have run together.
                for _ in range(3):
                    dx, dy = rng.normal(0, 0.7 * r, 2)
                    own = r * rng.uniform(0.3, 0.7)
                    spots.append(Spot(x + dx, y + dy, own, own * rng.uniform(0.5, 1.0), 0.0, shade, 0.5, ripple(rng, 0.45)))
    return spots


def _cotton_wool(rng: np.random.Generator, sites: _Sites) -> list[Spot]:
    """Draw a swelling of nerve fibres near the arcades: a few soft, overlapping clouds across the fibres."""
    x, y = sites.find(0.36, 0.07, about=(sites.anatomy.disc[0] - 0.2, sites.anatomy.disc[1]))
    across = math.atan2(y - sites.anatomy.disc[1], x - sites.anatomy.disc[0]) + math.pi / 2 + rng.normal(0, 0.5)
    r = rng.uniform(0.036, 0.075)
    depth = rng.uniform(0.4, 0.75)
    clouds = []
    for number in range(rng.integers(1, 4)):
        own = r * (1.0 if number == 0 else rng.uniform(0.4, 0.8))
        dx, dy = rng.normal(0, 0.4 * r, 2) * (number > 0)
        shade = depth * (1.0 if number == 0 else rng.uniform(0.7, 1.1))
        clouds.append(Spot(x + dx, y + dy, own, own * rng.uniform(0.5, 0.8), across, shade, 1.0, ripple(rng, 0.4)))
    return clouds


def _beading(rng: np.random.Generator, anatomy: Anatomy, sites: _Sites) -> list[Strand]:
    """Draw sausage-like swellings of the large veins in at least two quadrants."""
    beads: list[Strand] = []
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
            beads.append(Strand(points[at - 1 : at + 1], vein.radius * rng.uniform(1.2, 1.65), 1.0))
            at += int(rng.integers(2, 5))
        if len(quadrants) >= 3:
            break
    return beads


def _proliferation(rng: np.random.Generator, anatomy: Anatomy, sites: _Sites, lesions: Lesions) -> None:
    bleeds = rng.random() < 0.4
    if not bleeds or rng.random() < 0.75:
        tangles: list[Strand] = []
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
                    Spot(
                        x + dx,
                        y + dy,
                        r,
                        r * rng.uniform(0.2, 0.5),
                        rng.uniform(0, math.pi),
                        rng.uniform(0.25, 0.5),
                        0.9,
                        ripple(rng, 0.5),
                    )
                )
    if bleeds:
        pools = []
        level = rng.random() < 0.8
        for _ in range(rng.integers(1, 3)):
            x, y = sites.find(0.32, 0.14)
            w = rng.uniform(0.08, 0.22)
            shade = rng.uniform(0.8, 1.0)
            for part in range(rng.integers(2, 5)):
                own = w * (1.0 if part == 0 else rng.uniform(0.3, 0.6))
                dx, dy = rng.normal(0, 0.45 * w, 2) * (part > 0)
                tall = own * rng.uniform(0.5, 0.95)
                turned = 0.0 if level else rng.uniform(-0.5, 0.5)
                # Settled blood has one level top: its further pools hang below that.
                place = (x + dx, y + abs(dy) * 0.5 + 0.25 * (tall - own) if level else y + dy)
                pools.append(Spot(*place, own, tall, turned, shade, 0.3, ripple(rng, 0.3), level_top=level and part == 0))
        if rng.random() < 0.5:
            # Blood that broke into the vitreous is a veil without a level top.
            x, y = sites.find(0.35, 0.1)
            w = rng.uniform(0.12, 0.30)
            pools.append(
                Spot(x, y, w, w * rng.uniform(0.4, 0.8), rng.uniform(0, math.pi), rng.uniform(0.3, 0.6), 0.95, ripple(rng, 0.9))
            )
        lesions.spots["pre-retinal blood"] = pools


def _on_a_vein(rng: np.random.Generator, anatomy: Anatomy, sites: _Sites) -> tuple[float, float]:
    points = np.concatenate([v.points for v in anatomy.vessels if v.vein and v.radius > 0.006])
    away = np.hypot(points[:, 0] - anatomy.disc[0], points[:, 1] - anatomy.disc[1]) > 2.2 * DISC_RADIUS
    seen = points[away & sites.shot.shows(points, 0.15)]
    x, y = seen[rng.integers(len(seen))] if len(seen) else anatomy.disc
    return float(x), float(y)


def _tangle(rng: np.random.Generator, root: tuple[float, float], reach: float) -> list[Strand]:
    """Draw a fan of fine vessels that branch from one another and loop back at its border."""
    strands: list[Strand] = []
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
        strands.append(Strand(np.array(points), rng.uniform(0.0013, 0.0027), rng.uniform(0.6, 1.0)))
    return strands
