"""Painting a drawn eye.

Blood absorbs: it multiplies the light by exp(-absorption * density). Pale lesions scatter: they are blended over it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from atlas.cohort.lesions import LESIONS
from atlas.drawn.anatomy import ASPECT, OPEN, Anatomy, Person, Shot, stream
from atlas.drawn.confusers import Confusers, draw_confusers
from atlas.drawn.lesions import Lesions, Spot, Strand, draw_lesions
from atlas.errors import DatasetError
from atlas.photographs.frames import Rectangle, around
from atlas.records import BoolArray, ByteArray, FloatArray

VENOUS_BLOOD = np.array([0.18, 0.70, 0.50], np.float32)

ARTERIAL_BLOOD = np.array([0.10, 0.48, 0.40], np.float32)

SHED_BLOOD = np.array([0.29, 0.98, 0.62], np.float32)
"""How strongly blood absorbs red, green and blue light at density 1."""

FAINTEST = 0.06
"""Lesions end at this opacity, so that a mask holds exactly the pixels that were painted."""


PATCHY = {"haemorrhage", "hard exudate"}
"""Kinds that are uneven inside."""


@dataclass(frozen=True)
class SyntheticEye:
    """One drawn photograph.

    Parameters
    ----------
    pixels : ByteArray
        uint8 (H, W, 3) RGB.
    grade : int
        0 to 4.
    eye : str
        "left" or "right".
    masks : Mapping[str, BoolArray]
        Masks by kind of lesion, bool (H, W), only of the kinds that were painted.
    retina : BoolArray
        bool (H, W), true inside the aperture.
    """

    pixels: ByteArray
    grade: int
    eye: str
    masks: Mapping[str, BoolArray]
    retina: BoolArray


def draw_eye(
    seed: int, grade: int, *, eye: str = "right", size: int = 640, anatomy_seed: int | None = None, confusers: bool = False
) -> SyntheticEye:
    """Draw one eye, the same bytes for the same arguments.

    The grade affects only the lesions: with grade 0, the same seed gives the same photograph without them.

    Parameters
    ----------
    seed : int
        Determines the lesions and this exposure (gaze, light, blur, sensor noise).
    grade : int
        0 to 4 on the international scale of diabetic retinopathy.
    eye : str
        "right" has the optic disc on the right of the picture, "left" is its mirror image.
    size : int
        Height of the picture in pixels; its width is 1.25 times that.
    anatomy_seed : int or None
        Determines pigmentation and camera and, separately for each eye, disc and vessels. By default `seed`.
    confusers : bool
        Whether some eyes also have drusen, laser scars or reflexes, which look like lesions. They are in no mask.

    Raises
    ------
    DatasetError
        For a grade off the scale, an unknown eye, a size below 64 or a negative seed.
    """
    if grade not in range(5):
        raise DatasetError(
            f"grade is {grade!r}, expected 0, 1, 2, 3 or 4",
            "give a grade of diabetic retinopathy: drawn eyes have no other disease.",
        )
    if eye not in ("left", "right"):
        raise DatasetError(f'eye is {eye!r}, expected "left" or "right"')
    if size < 64:
        raise DatasetError(f"size is {size}, expected at least 64 pixels")
    patient = seed if anatomy_seed is None else anatomy_seed
    side = ("left", "right").index(eye)
    person = Person.draw(stream(patient, 0))
    anatomy = Anatomy.draw(stream(patient, 1, side))
    shot = Shot.draw(stream(seed, 2, side), person, size, -1.0 if eye == "left" else 1.0)
    lesions = draw_lesions(stream(seed, 3, side, grade), grade, anatomy, shot)
    others = draw_confusers(stream(seed, 8, side), anatomy, shot) if confusers else Confusers()
    opening = shot.aperture()
    pixels, masks = _render(person, anatomy, shot, opening, lesions, others, (patient, seed, side))
    return SyntheticEye(pixels, grade, eye, masks, opening > OPEN)


_NOTHING = np.zeros((1, 1), np.float32)
"""A layer on which nothing is painted."""


def _planes(*colour: float) -> FloatArray:
    """Return a colour as float32 (3, 1, 1): pictures are painted as three planes, (3, H, W), one of each colour."""
    return np.array(colour, np.float32)[:, None, None]


def _noise(rng: np.random.Generator, shot: Shot, cells: int) -> FloatArray:
    """Return smooth noise of unit variance, with about `cells` lumps per picture height, float32 (H, W)."""
    lattice = rng.standard_normal((cells, round(cells * ASPECT)), dtype=np.float32)
    return np.asarray(cv2.resize(lattice, (shot.width, shot.height), interpolation=cv2.INTER_CUBIC), np.float32)


def _rays(
    rng: np.random.Generator, x: FloatArray, y: FloatArray, centre: tuple[float, float], cells: tuple[int, int], swirl: FloatArray
) -> FloatArray:
    """Return noise of unit variance in lumps drawn out along rays from a place, `cells` lumps around it and along a unit."""
    around_it, along = cells
    lattice = rng.standard_normal((2 * along + 2, around_it), dtype=np.float32)
    lattice = np.hstack([lattice[:, -3:], lattice, lattice[:, :4]])  # it closes to a circle, and the swirl may reach beyond
    fine = cv2.resize(lattice, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    turn = cv2.phase(dx, dy) * np.float32(4 * around_it / (2 * math.pi)) + 13.5
    reach = np.hypot(dx, dy) * np.float32(4 * along) + 1.5
    # The swirl bends rays sideways: by about a lump.
    turn = turn + np.float32(5.0) * swirl
    return np.asarray(cv2.remap(fine, turn, reach, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101), np.float32)


def _blur(image: Any, sigma: float) -> Any:
    return cv2.GaussianBlur(image, (0, 0), sigma) if sigma > 0.2 else image


def _stroke_all(canvas: ByteArray, shot: Shot, strands: Sequence[Strand]) -> None:
    """Draw lines on a canvas of twice the picture's resolution."""
    if not strands:
        return
    points = shot.to_pixels(np.concatenate([strand.points for strand in strands]))
    lines = np.split(np.round((points + 0.25) * 2 * 16).astype(np.int32), np.cumsum([len(one.points) for one in strands])[:-1])
    for line, strand in zip(lines, strands, strict=True):
        width = 4.0 * strand.radius * shot.unit
        shade = round(255 * strand.opacity * min(1.0, width / 1.2))
        cv2.polylines(canvas, [line], False, shade, max(1, round(width)), cv2.LINE_AA, 4)


def _halve(canvas: ByteArray) -> FloatArray:
    height, width = canvas.shape
    small = cv2.resize(canvas, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / np.float32(255)


def _stamp(layer: FloatArray, shot: Shot, spot: Spot) -> None:
    """Paint a spot on an opacity layer (H, W), keeping the larger opacity."""
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
    person: Person,
    anatomy: Anatomy,
    shot: Shot,
    opening: FloatArray,
    lesions: Lesions,
    confusers: Confusers,
    seeds: tuple[int, int, int],
) -> tuple[ByteArray, dict[str, BoolArray]]:
    """Paint a photograph. Every random number comes from `seeds`, so the same call without lesions gives the same eye.

    Only what the camera's aperture shows is painted, and a margin for the blur of its optics.
    """
    patient, seed, side = seeds
    texture = stream(patient, 4, side)
    shown = around(opening, margin=math.ceil(6 * person.blur * shot.unit) + 16)
    rows, columns = (np.arange(length, dtype=np.float32)[part] for length, part in zip(opening.shape, shown, strict=True))

    def noise(cells: int) -> FloatArray:
        return _noise(texture, shot, cells)[shown]

    light = np.empty((3, len(rows), len(columns)), np.float32)
    light[:] = _planes(*person.fundus)
    grain = noise(90)
    mottle = sum((noise(n) * np.float32(w) for n, w in ((3, 1.5), (6, 1.2), (14, 0.7), (34, 0.5))), np.float32(0.45) * grain)
    light *= np.exp(person.mottle * mottle * _planes(0.5, 1.0, 1.3))
    x, y = shot.to_anatomy(columns[None, :], rows[:, None])
    x, y = x.astype(np.float32), y.astype(np.float32)
    from_fovea = np.hypot(x - np.float32(anatomy.fovea[0]), y - np.float32(anatomy.fovea[1]))
    if person.tessellation:
        # Vessels of the choroid run outwards, and wind.
        swirl = noise(6) + np.float32(0.5) * noise(14)
        rays = [_rays(texture, x, y, anatomy.fovea, cells, swirl) for cells in ((64, 6), (100, 8))]
        choroid = sum(np.exp(-((ray / np.float32(0.5)) ** 2)) for ray in rays) - np.float32(0.8)
        outside = np.clip((from_fovea - 0.3) / 0.6, 0, 1)
        light *= np.exp(person.tessellation * (choroid * outside) * _planes(0.7, 1.2, 0.6))

    # Fovea.
    rings = ((0.35, 0.045), (0.40, 0.12), (0.55, 0.30))  # a small dark core in a softer, darker macula
    dark = anatomy.fovea_depth * sum((np.float32(w) * np.exp(-((from_fovea / r) ** 2)) for w, r in rings), _NOTHING)
    light *= np.exp(-dark * _planes(0.60, 0.95, 0.9))
    if anatomy.reflex:
        light += anatomy.reflex * np.exp(-((from_fovea / 0.012) ** 2))

    # Vessels, at twice the resolution.
    strands: dict[str, list[Strand]] = {"veins": [], "arteries": [], "reflexes": []}
    for vessel in anatomy.vessels:
        opacity = min(1.0, 0.15 + vessel.radius * 72)
        strands["veins" if vessel.vein else "arteries"].append(Strand(vessel.points, vessel.radius, opacity))
        if vessel.radius > 0.0045:
            strands["reflexes"].append(Strand(vessel.points, vessel.radius * 0.30, 0.30 if vessel.vein else 0.85))
    soften = 0.0026 * shot.unit
    whole = {what: _blur(_painted(shot, own), soften) for what, own in strands.items()}
    venous, arterial, reflex = (whole[what][shown] for what in strands)
    # Vessels come up out of the disc.
    emerging = 1.0 - np.exp(-(((x - anatomy.root[0]) ** 2 + (y - anatomy.root[1]) ** 2) / 0.03**2))
    venous, arterial, reflex = venous * emerging, arterial * emerging, reflex * emerging

    # Nerve fibres shine along the arcades.
    if person.sheen:
        vessels = whole["veins"] + whole["arteries"]
        sheen = _blur(cv2.resize(vessels, None, fx=0.125, fy=0.125, interpolation=cv2.INTER_AREA), 0.06 * shot.unit / 8)
        sheen = cv2.resize(sheen, (shot.width, shot.height), interpolation=cv2.INTER_LINEAR)[shown]
        fibres = 1.0 + 0.45 * _rays(texture, x, y, anatomy.disc, (260, 5), _NOTHING)
        light += (person.sheen * 3.0 * sheen * fibres) * _planes(*person.fundus) * _planes(0.6, 1.0, 1.2)

    _paint_disc(light, person, anatomy, x, y)
    _paint_confusers(light, person, shot, shown, confusers)

    layers = {kind: np.zeros(opening.shape, np.float32) for kind in lesions.spots}
    for kind, spots in lesions.spots.items():
        for spot in spots:
            _stamp(layers[kind], shot, spot)
    for kind, own in lesions.strands.items():
        layers[kind] = _blur(_painted(shot, own), soften * 0.7)
    fibrous = np.zeros(opening.shape, np.float32) if lesions.fibrous else _NOTHING
    for spot in lesions.fibrous:
        _stamp(fibrous, shot, spot)
    layers = {kind: own[shown] for kind, own in layers.items()}
    uneven = 1.0 + 0.16 * np.clip(grain, -2.0, 2.0)
    for kind in PATCHY & layers.keys():
        layers[kind] = np.minimum(layers[kind] * uneven, 1.0)
    fibrous = fibrous[shown] if lesions.fibrous else fibrous
    for painted in (*layers.values(), fibrous):
        np.maximum(painted - np.float32(FAINTEST), 0.0, out=painted)

    def layer(kind: str) -> FloatArray:
        return layers.get(kind, _NOTHING)

    _blend(
        light,
        layer("hard exudate"),
        _tinted(person, 1.22, 0.12, (1.0, 0.84, 0.84 * min(0.75, 0.08 + person.blueness))),
    )
    density = np.maximum(venous, layer("venous beading"))
    fine = layer("new vessels")
    for amount, absorption in ((density, VENOUS_BLOOD), (arterial, ARTERIAL_BLOOD), (fine, VENOUS_BLOOD)):
        _absorb(light, amount, absorption)
    light += reflex * 0.16 * _planes(*person.fundus)
    _absorb(light, np.maximum(layer("haemorrhage"), layer("microaneurysm") * 0.85), SHED_BLOOD)
    pale = _tinted(person, 1.06, 0.05, (1.0, 0.85, 0.85 * min(0.85, 0.26 + 0.85 * person.blueness)))
    _blend(light, layer("cotton-wool spot"), pale)
    _blend(light, fibrous, pale * np.float32(0.95))
    _blend(light, layer("pre-retinal blood"), person.fundus * np.array([0.62, 0.28, 0.34], np.float32))

    masks = {}
    for kind in LESIONS:
        if kind in layers:
            painted = layers[kind] if kind != "new vessels" else np.maximum(layers[kind], fibrous)
            mask = np.zeros(opening.shape, np.bool_)
            mask[shown] = (painted > 0) & (opening[shown] > OPEN)
            if mask.any():
                masks[kind] = mask
    return _expose(light, person, shot, opening, shown, stream(seed, 5, side)), masks


def _painted(shot: Shot, strands: Sequence[Strand]) -> FloatArray:
    """Return the opacity of lines, float32 (H, W)."""
    canvas = np.zeros((2 * shot.height, 2 * shot.width), np.uint8)
    _stroke_all(canvas, shot, strands)
    return _halve(canvas)


def _tinted(person: Person, gain: float, lift: float, hue: tuple[float, float, float]) -> FloatArray:
    """Return the colour of a pale object of the given hue, with a brightness that fits this fundus."""
    return np.asarray((gain * person.fundus[0] + lift) * np.array(hue), np.float32)


def _blend(light: FloatArray, opacity: FloatArray, colour: FloatArray) -> None:
    """Lay a colour (3,), or planes of colours (3, H, W), over the light where the opacity (H, W) is not zero."""
    if opacity.size > 1 and opacity.any():
        rows, columns = around(opacity)
        under = light[:, rows, columns]
        over = colour[:, None, None] if colour.ndim == 1 else colour[:, rows, columns]
        under += opacity[rows, columns] * (over - under)


def _absorb(light: FloatArray, amount: FloatArray, absorption: FloatArray) -> None:
    """Let something of a density (H, W) absorb light."""
    if amount.size > 1 and amount.any():
        rows, columns = around(amount)
        light[:, rows, columns] *= np.exp(-amount[rows, columns] * absorption[:, None, None])


def _paint_disc(light: FloatArray, person: Person, anatomy: Anatomy, x: FloatArray, y: FloatArray) -> None:
    u, v = (
        (x - np.float32(anatomy.disc[0])) / np.float32(anatomy.disc_axes[0]),
        (y - np.float32(anatomy.disc[1])) / np.float32(anatomy.disc_axes[1]),
    )
    r = np.hypot(u, v)
    inside = np.clip((1.14 - r) / 0.28, 0, 1)
    inside = inside * inside * (3 - 2 * inside)
    glow = np.exp(-np.maximum(r - 1.0, 0) / 0.45) * 0.10
    # In IDRiD, the disc is 1.6 times as bright as the fundus in red, twice in green and three times in blue (medians).
    rim = person.fundus * np.array([0.75, 1.20, 1.5], np.float32) + np.array([0.46, 0.15, 0.04], np.float32)
    cup = person.fundus * np.array([0.80, 1.60, 2.5], np.float32) + np.array([0.54, 0.32, 0.08], np.float32)
    if anatomy.crescent:
        near = around(r < 1.5)  # the crescent ends before that
        moon = np.clip((1.28 - np.hypot(u[near] + 0.14, v[near])) / 0.12, 0, 1) * (1 - inside[near])
        colour = person.fundus * np.array([1.2, 1.45, 1.3], np.float32)
        _blend(light[:, near[0], near[1]], anatomy.crescent * moon, colour)
    _blend(light, glow * (1 - inside), rim)
    within = around(inside)
    u, v, inside = u[within], v[within], inside[within]
    # The temporal rim is paler than the nasal one.
    pallor = np.clip(0.5 - 0.5 * u, 0, 1)
    depth = np.clip((anatomy.cup + 0.2 - np.hypot(u + 0.16, v)) / 0.4, 0, 1)
    tone = np.clip(0.35 * pallor + 0.7 * depth * depth * (3 - 2 * depth), 0, 1)
    colours = np.float32(anatomy.disc_tint) * (rim[:, None, None] + tone * (cup - rim)[:, None, None])
    _blend(light[:, within[0], within[1]], 0.9 * inside, colours)


def _paint_confusers(light: FloatArray, person: Person, shot: Shot, shown: Rectangle, confusers: Confusers) -> None:
    blue = min(0.8, 0.25 + person.blueness)
    pale = {
        "drusen": _tinted(person, 1.14, 0.06, (1.0, 0.82, 0.82 * blue)),
        "scars": _tinted(person, 1.12, 0.10, (1.0, 0.88, 0.88 * blue)),
    }

    for what in ("drusen", "scars", "pigment"):
        spots: list[Spot] = getattr(confusers, what)
        if not spots:
            continue
        layer = np.zeros((shot.height, shot.width), np.float32)
        for spot in spots:
            _stamp(layer, shot, spot)
        if what in pale:
            _blend(light, layer[shown], pale[what])
        else:
            _absorb(light, layer[shown], np.array([1.2, 1.3, 1.2], np.float32))
    if confusers.reflexes:
        streaks = _blur(_painted(shot, confusers.reflexes), 0.006 * shot.unit)[shown]
        light += streaks * 0.4 * _planes(*person.fundus) * _planes(0.7, 1.0, 1.2)


def _expose(
    light: FloatArray, person: Person, shot: Shot, opening: FloatArray, shown: Rectangle, rng: np.random.Generator
) -> ByteArray:
    """Light the retina unevenly, and apply the optics and the sensor. `shown` is the part of the picture that is painted."""
    x, y, r = shot.polar
    x, y, r = x[:, shown[1]], y[shown[0]], r[shown]
    level = 1.0 - person.vignette * r**2.6 * 0.8
    level = level * (1.0 + shot.slope[0] * x + shot.slope[1] * y) * (1.0 + 0.05 * _noise(rng, shot, 3)[shown])
    if shot.shadow[3]:
        sx, sy, width, depth = shot.shadow
        level = level * (1.0 - depth * np.exp(-((x - sx) ** 2 + (y - sy) ** 2) / width**2))
    level = np.asarray(np.maximum(level, 0.05) * shot.exposure, np.float32)
    # Where light falls off, green and blue fall faster than red: the picture turns brown.
    for plane, steep in zip(light, (0.9, 1.15, 1.3), strict=True):
        plane *= cv2.pow(level, steep)
    if person.rim:
        haze = (
            person.rim
            * np.clip((r - 0.72) / 0.3, 0, 1) ** 2
            * (0.6 + 0.4 * np.clip(x * shot.slope[0] * 8 + y * shot.slope[1] * 8, -1, 1))
        ).astype(np.float32)
        light += haze * (_planes(*person.rim_colour) - light) + np.float32(shot.veil)
    else:
        light += np.float32(shot.veil)
    image = _blur(cv2.merge(list(light)), person.blur * shot.unit)
    bright = image > 0.8
    image[bright] = 0.8 + 0.2 * np.tanh((image[bright] - 0.8) / 0.2)
    grain = rng.standard_normal((shot.height, shot.width, 3), dtype=np.float32)[shown]
    image += grain * np.float32(person.noise)
    image *= opening[shown][..., None]
    picture = np.zeros((shot.height, shot.width, 3), np.uint8)
    picture[shown] = np.clip(image * 255.0 + 0.5, 0, 255)
    return picture
