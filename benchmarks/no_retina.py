"""Pictures that show no retina, drawn by kind, to measure whether `atlas.photographs.quality` knows them.

    python benchmarks/no_retina.py --count 600 --out FOLDER

writes them. Nothing is downloaded; the few photographs among them come with scikit-learn and matplotlib.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.drawn.knees import draw_knee

Picture = NDArray[np.uint8]
Draw = np.random.Generator


def _size(draw: Draw) -> tuple[int, int]:
    side = int(draw.integers(300, 620))
    return side, int(side * draw.choice([1.0, 1.0, 1.33, 1.5, 0.75]))


def _noise(draw: Draw, shape: tuple[int, int], slope: float = 1.8) -> NDArray[np.float64]:
    """Draw noise whose power falls with frequency, 0 to 1, (h, w): the lower the slope the rougher."""
    rows, columns = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])
    weight = 1 / np.maximum(np.hypot(rows, columns), 1 / max(shape)) ** slope
    phase = draw.normal(size=weight.shape) + 1j * draw.normal(size=weight.shape)
    made = np.fft.irfft2(weight * phase, shape)
    low, high = np.quantile(made, (0.01, 0.99))
    return np.clip((made - low) / (high - low), 0, 1)


def _colour(draw: Draw, low: int = 0, high: int = 256) -> tuple[int, int, int]:
    red, green, blue = draw.integers(low, high, 3).tolist()
    return red, green, blue


def _warm(draw: Draw) -> tuple[int, int, int]:
    red = int(draw.integers(120, 250))
    green = int(red * draw.uniform(0.3, 0.75))
    return red, green, int(green * draw.uniform(0.1, 0.7))


def _painted(values: NDArray[np.float64], dark: tuple[int, ...], light: tuple[int, ...]) -> Picture:
    """Colour values from 0 to 1."""
    shown = values[..., None] * np.array(light, float) + (1 - values[..., None]) * np.array(dark, float)
    return np.clip(shown, 0, 255).astype(np.uint8)


def _grain(draw: Draw, picture: Picture, most: float = 8) -> Picture:
    soft = cv2.GaussianBlur(picture, (0, 0), draw.uniform(0.3, 1.5))
    return np.clip(soft + draw.normal(0, draw.uniform(0, most), picture.shape), 0, 255).astype(np.uint8)


def _disc(shape: tuple[int, int], middle: tuple[float, float], radius: float) -> NDArray[np.bool_]:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - middle[0]) ** 2 + (columns - middle[1]) ** 2 <= radius**2


def _round(draw: Draw, picture: Picture, surround: int | None = None) -> Picture:
    """Show a round part of a picture in a dark surround, as through an eyepiece."""
    shape = picture.shape[:2]
    radius = draw.uniform(0.36, 0.5) * min(shape)
    middle = shape[0] / 2 + draw.uniform(-5, 5), shape[1] / 2 + draw.uniform(-5, 5)
    shown = picture.copy()
    shown[~_disc(shape, middle, radius)] = int(draw.integers(0, 12)) if surround is None else surround
    return shown


def landscape(draw: Draw) -> Picture:
    shape = _size(draw)
    height, width = shape
    sky = np.linspace(draw.uniform(0, 0.5), 1, height)[:, None] * np.ones(width)
    picture = _painted(np.clip(sky + 0.3 * (_noise(draw, shape) - 0.5), 0, 1), _colour(draw, 40), _colour(draw, 120))
    if draw.random() < 0.5:
        cv2.circle(
            picture, (int(draw.integers(width)), int(draw.integers(height // 2))), int(draw.integers(10, 60)), _warm(draw), -1
        )
    for layer in range(int(draw.integers(1, 5))):
        ridge = height * (0.35 + 0.15 * layer) + height * 0.25 * (_noise(draw, (4, width), 1.4)[0] - 0.5)
        below = np.arange(height)[:, None] > ridge
        ground = _painted(_noise(draw, shape, 1.0), _colour(draw, 0, 90), _colour(draw, 40, 180))
        picture[below] = ground[below]
    return _grain(draw, picture)


def clouds(draw: Draw) -> Picture:
    made = _noise(draw, _size(draw), draw.uniform(0.8, 2.4))
    return _painted(made, _colour(draw, 0, 140), _warm(draw) if draw.random() < 0.5 else _colour(draw, 90))


def text_page(draw: Draw) -> Picture:
    height, width = _size(draw)
    paper = _colour(draw, 215) if draw.random() < 0.8 else _colour(draw, 0, 60)
    ink = tuple(255 - value for value in paper)
    picture = np.full((height, width, 3), paper, np.uint8)
    scale, row = draw.uniform(0.3, 0.8), int(draw.integers(20, 60))
    while row < height - 15:
        words = "".join(draw.choice(list("abcdefghi lmnop rstu wxyz "), int(draw.integers(10, 60))))
        cv2.putText(picture, words, (int(draw.integers(10, 40)), row), cv2.FONT_HERSHEY_SIMPLEX, scale, ink, 1, cv2.LINE_AA)
        row += int(40 * scale) + (30 if draw.random() < 0.15 else 4)
    return picture


def chart(draw: Draw) -> Picture:
    height, width = _size(draw)
    picture = np.full((height, width, 3), 255, np.uint8)
    cv2.line(picture, (40, 20), (40, height - 40), (0, 0, 0), 1)
    cv2.line(picture, (40, height - 40), (width - 20, height - 40), (0, 0, 0), 1)
    kind = draw.integers(4)
    if kind == 0:
        for left in range(55, width - 40, 40):
            top = int(draw.integers(30, height - 50))
            cv2.rectangle(picture, (left, top), (left + 25, height - 41), _colour(draw), -1)
    elif kind == 1:
        for _ in range(int(draw.integers(1, 5))):
            values = height * 0.8 * _noise(draw, (4, width), 1.3)[0] + 20
            points = np.stack([np.arange(width), values], axis=1)[45:-20].astype(np.int32)
            cv2.polylines(picture, [points], False, _colour(draw), 2, cv2.LINE_AA)
    elif kind == 2:
        start = 0.0
        while start < 360:
            end = start + draw.uniform(20, 120)
            cv2.ellipse(picture, (width // 2, height // 2), (height // 3,) * 2, 0, start, min(end, 360), _colour(draw), -1)
            start = end
    else:
        for place in draw.integers((45, 20), (width - 20, height - 45), (200, 2)):
            cv2.circle(picture, place.tolist(), 3, _colour(draw), -1)
    cv2.putText(picture, "Figure 1", (width // 3, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return picture


def face(draw: Draw) -> Picture:
    shape = _size(draw)
    height, width = shape
    picture = _painted(_noise(draw, shape), _colour(draw), _colour(draw))
    skin = np.array((235, 190, 160)) * draw.uniform(0.35, 1.05)
    middle, axes = (width // 2, height // 2), (int(width * draw.uniform(0.18, 0.35)), int(height * draw.uniform(0.3, 0.45)))
    hair = _colour(draw, 0, 120)
    cv2.ellipse(picture, (middle[0], middle[1] - axes[1] // 3), (int(axes[0] * 1.2), axes[1]), 0, 0, 360, hair, -1)
    cv2.ellipse(picture, middle, axes, 0, 0, 360, skin.tolist(), -1)
    for side in (-1, 1):
        eye = middle[0] + side * axes[0] // 2, middle[1] - axes[1] // 5
        cv2.ellipse(picture, eye, (axes[0] // 5, axes[1] // 12), 0, 0, 360, (245, 245, 245), -1)
        cv2.circle(picture, eye, max(2, axes[1] // 14), _colour(draw, 0, 110), -1)
    cv2.ellipse(picture, (middle[0], middle[1] + axes[1] // 2), (axes[0] // 3, axes[1] // 12), 0, 0, 180, (170, 60, 70), -1)
    light = 0.6 + 0.6 * np.linspace(draw.uniform(0, 1), draw.uniform(0, 1), width)
    return _grain(draw, np.clip(picture * light[:, None], 0, 255).astype(np.uint8))


def _ball(draw: Draw, dark: tuple[int, ...], light: tuple[int, ...], rough: float, slope: float) -> Picture:
    """Draw a lit ball of rough surface before a background."""
    shape = _size(draw)
    radius = draw.uniform(0.28, 0.49) * min(shape)
    middle = shape[0] / 2 + draw.uniform(-10, 10), shape[1] / 2 + draw.uniform(-10, 10)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    y, x = (rows - middle[0]) / radius, (columns - middle[1]) / radius
    z = np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))
    sun = draw.normal(size=3) * (0.6, 0.6, 0.3) + (0, 0, 0.8)
    sun /= np.linalg.norm(sun)
    lit = np.clip(x * sun[0] + y * sun[1] + z * sun[2], 0.02, 1) ** draw.uniform(0.4, 1)
    surface = np.clip(lit * (1 - rough + 2 * rough * _noise(draw, shape, slope)), 0, 1)
    picture = _painted(surface, dark, light)
    ground = draw.random()
    back = np.full((*shape, 3), int(draw.integers(0, 10)), np.uint8)
    if ground > 0.5:
        back = _painted(_noise(draw, shape, 1.3), _colour(draw), _colour(draw)) if ground > 0.75 else back * 0 + np.uint8(248)
    shown = _disc(shape, middle, radius)
    picture[~shown] = back[~shown]
    return _grain(draw, picture, 4)


def orange(draw: Draw) -> Picture:
    return _ball(draw, (60, 20, 0), _warm(draw), draw.uniform(0.03, 0.2), draw.uniform(0.2, 0.8))


def moon(draw: Draw) -> Picture:
    level = int(draw.integers(150, 250))
    picture = _ball(draw, (10, 10, 10), (level,) * 3, 0.3, 1.6)
    for _ in range(int(draw.integers(5, 40))):
        place = draw.integers((0, 0), picture.shape[1::-1]).tolist()
        if picture[place[1], place[0]].max() > 30:
            cv2.circle(
                picture, place, int(draw.integers(2, 20)), (int(draw.integers(60, 220)),) * 3, int(draw.choice([-1, 1, 2]))
            )
    return cv2.GaussianBlur(picture, (0, 0), 1.0)


def planet(draw: Draw) -> Picture:
    picture = _ball(draw, (30, 5, 0), _warm(draw), 0.4, draw.uniform(1.3, 2.2))
    if draw.random() < 0.5:  # bands
        stripes = 0.7 + 0.3 * _noise(draw, (picture.shape[0], 4), 1.2)[:, :1, None]
        picture = (picture * stripes).astype(np.uint8)
    return picture


def coin(draw: Draw) -> Picture:
    shape = _size(draw)
    middle, radius = (shape[1] // 2, shape[0] // 2), int(draw.uniform(0.3, 0.48) * min(shape))
    picture = np.full((*shape, 3), _colour(draw), np.uint8) if draw.random() < 0.6 else np.zeros((*shape, 3), np.uint8)
    metal = np.array(draw.choice([(212, 175, 55), (184, 115, 51), (190, 190, 195)]), float) * draw.uniform(0.6, 1.1)
    cv2.circle(picture, middle, radius, metal.tolist(), -1, cv2.LINE_AA)
    cv2.circle(picture, middle, int(radius * 0.93), (metal * 0.6).tolist(), 3, cv2.LINE_AA)
    for angle in np.linspace(0, 2 * np.pi, 24, endpoint=False):
        place = (int(middle[0] + 0.78 * radius * np.cos(angle)), int(middle[1] + 0.78 * radius * np.sin(angle)))
        cv2.putText(picture, "AEIO"[int(draw.integers(4))], place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (metal * 0.5).tolist(), 2)
    points = middle + radius * 0.5 * draw.normal(0, 0.6, (12, 2))
    cv2.fillPoly(picture, [points.astype(np.int32)], (metal * 0.75).tolist(), cv2.LINE_AA)
    return _grain(draw, picture)


def plate(draw: Draw) -> Picture:
    shape = _size(draw)
    middle, radius = (shape[1] // 2, shape[0] // 2), int(draw.uniform(0.36, 0.49) * min(shape))
    picture = _painted(_noise(draw, shape, 1.2), _colour(draw, 0, 120), _colour(draw, 40))
    cv2.circle(picture, middle, radius, _colour(draw, 200), -1, cv2.LINE_AA)
    cv2.circle(picture, middle, int(radius * 0.75), _colour(draw, 170), 2, cv2.LINE_AA)
    for _ in range(int(draw.integers(3, 30))):
        place = (middle + draw.normal(0, radius * 0.3, 2)).astype(int).tolist()
        axes = draw.integers(5, max(6, radius // 3), 2).tolist()
        cv2.ellipse(picture, place, axes, draw.uniform(0, 180), 0, 360, _warm(draw) if draw.random() < 0.5 else _colour(draw), -1)
    return _grain(draw, picture)


def pizza(draw: Draw) -> Picture:
    shape = _size(draw)
    middle, radius = (shape[1] // 2, shape[0] // 2), int(draw.uniform(0.36, 0.49) * min(shape))
    picture = np.full((*shape, 3), int(draw.choice([0, 5, 240, 120])), np.uint8)
    base = _painted(_noise(draw, shape, 1.5), (190, 60, 10), (250, 190, 90))
    inside = _disc(shape, middle[::-1], radius)
    picture[inside] = base[inside]
    cv2.circle(picture, middle, radius, (200, 140, 70), max(4, radius // 10), cv2.LINE_AA)
    for _ in range(int(draw.integers(5, 25))):
        place = (middle + draw.uniform(-0.65, 0.65, 2) * radius).astype(int).tolist()
        cv2.circle(
            picture, place, int(radius * draw.uniform(0.04, 0.13)), _warm(draw) if draw.random() < 0.6 else (60, 110, 40), -1
        )
    return _grain(draw, picture)


def clock(draw: Draw) -> Picture:
    shape = _size(draw)
    middle, radius = np.array((shape[1] // 2, shape[0] // 2)), int(draw.uniform(0.34, 0.49) * min(shape))
    picture = np.full((*shape, 3), _colour(draw) if draw.random() < 0.6 else (0, 0, 0), np.uint8)
    ground = _colour(draw, 190) if draw.random() < 0.6 else _warm(draw)
    cv2.circle(picture, middle.tolist(), radius, ground, -1, cv2.LINE_AA)
    ink = tuple(value // 5 for value in ground)
    for hour in range(1, 13):
        way = np.array((np.sin(hour * np.pi / 6), -np.cos(hour * np.pi / 6)))
        cv2.putText(
            picture,
            str(hour),
            (middle + 0.82 * radius * way - (8, -6)).astype(int).tolist(),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.6,
            ink,
            2,
        )
    for length, thickness in ((0.5, 6), (0.7, 4), (0.75, 1)):
        angle = draw.uniform(0, 2 * np.pi)
        end = middle + length * radius * np.array((np.sin(angle), np.cos(angle)))
        cv2.line(picture, middle.tolist(), end.astype(int).tolist(), ink, thickness, cv2.LINE_AA)
    return _grain(draw, picture)


def microscope(draw: Draw) -> Picture:
    shape = _size(draw)
    ground, stain = draw.choice(
        [((235, 210, 225), (150, 60, 130)), ((240, 230, 200), (170, 90, 60)), ((230, 160, 120), (120, 30, 40))]
    )
    picture = _painted(_noise(draw, shape, 1.6), tuple(np.array(ground) * 0.85), ground)
    for _ in range(int(draw.integers(30, 400))):
        place = draw.integers((0, 0), (shape[1], shape[0])).tolist()
        axes = draw.integers(3, 14, 2).tolist()
        cv2.ellipse(
            picture,
            place,
            axes,
            draw.uniform(0, 180),
            0,
            360,
            (stain * draw.uniform(0.7, 1.3)).clip(0, 255).tolist(),
            -1,
            cv2.LINE_AA,
        )
    return _grain(draw, _round(draw, picture) if draw.random() < 0.7 else picture)


def endoscope(draw: Draw) -> Picture:
    shape = _size(draw)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    middle = shape[0] * draw.uniform(0.3, 0.7), shape[1] * draw.uniform(0.3, 0.7)
    away = np.hypot(rows - middle[0], columns - middle[1]) / min(shape)
    folds = 0.5 + 0.5 * np.sin(away * draw.uniform(15, 40) + 6 * _noise(draw, shape))
    picture = _painted(np.clip(away * 1.8, 0.05, 1) * (0.6 + 0.4 * folds), (40, 5, 5), (240, 140, 120))
    for _ in range(int(draw.integers(3, 20))):  # reflexes
        cv2.circle(picture, draw.integers((0, 0), (shape[1], shape[0])).tolist(), int(draw.integers(2, 10)), (255, 250, 245), -1)
    return _grain(draw, _round(draw, picture))


def knee(draw: Draw) -> Picture:
    drawn = draw_knee(int(draw.integers(10**6)), int(draw.integers(4)), size=400).pixels
    return np.repeat(drawn[..., None], 3, axis=2)


def chest(draw: Draw) -> Picture:
    shape = _size(draw)
    height, width = shape
    picture = np.full(shape, 60.0)
    cv2.ellipse(picture, (width // 2, height // 2), (int(width * 0.45), int(height * 0.5)), 0, 0, 360, 150.0, -1)
    for side in (-1, 1):
        cv2.ellipse(picture, (width // 2 + side * width // 5, height // 2), (width // 7, height // 3), 0, 0, 360, 50.0, -1)
        for rib in range(8):
            place = (width // 2 + side * width // 5, height // 5 + rib * height // 13)
            cv2.ellipse(picture, place, (width // 6, height // 14), 0, 180, 360, 120.0, 5)
    cv2.rectangle(picture, (width // 2 - 12, 0), (width // 2 + 12, height), 190.0, -1)
    soft = cv2.GaussianBlur(picture, (0, 0), 4) + draw.normal(0, 5, shape)
    return np.repeat(np.clip(soft * draw.uniform(0.8, 1.3), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def ultrasound(draw: Draw) -> Picture:
    shape = _size(draw)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    away, angle = np.hypot(rows, columns - shape[1] / 2), np.arctan2(columns - shape[1] / 2, rows + 1)
    fan = (away < 0.95 * shape[0]) & (away > 0.1 * shape[0]) & (np.abs(angle) < draw.uniform(0.5, 0.8))
    speckle = _noise(draw, shape) * draw.rayleigh(0.6, shape)
    grey = np.where(fan, np.clip(cv2.GaussianBlur(speckle, (0, 0), 1.2) * 220, 0, 255), 0)
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def head_slice(draw: Draw) -> Picture:
    shape = _size(draw)
    middle, axes = (shape[1] // 2, shape[0] // 2), np.array((0.33, 0.42)) * min(shape) * draw.uniform(0.8, 1.1)
    picture = np.zeros(shape, np.uint8)
    cv2.ellipse(picture, middle, axes.astype(int).tolist(), 0, 0, 360, 220, -1)
    cv2.ellipse(picture, middle, (axes * 0.93).astype(int).tolist(), 0, 0, 360, 20, -1)
    cv2.ellipse(picture, middle, (axes * 0.88).astype(int).tolist(), 0, 0, 360, 120, -1)
    folds = np.abs(_noise(draw, shape, 1.4) - 0.5) < 0.04
    picture[folds & (picture == 120)] = 60
    for side in (-1, 1):
        place = (middle[0] + side * int(axes[0] * 0.15), middle[1])
        cv2.ellipse(picture, place, (int(axes[0] * 0.1), int(axes[1] * 0.25)), side * 15, 0, 360, 30, -1)
    return _grain(draw, np.repeat(picture[..., None], 3, axis=2), 12)


def oct_scan(draw: Draw) -> Picture:
    shape = int(draw.integers(250, 420)), int(draw.integers(400, 760))
    rows, columns = np.arange(shape[0])[:, None], np.linspace(-1, 1, shape[1])
    top = shape[0] * (0.35 + 0.1 * draw.uniform(-1, 1) * columns + 0.12 * np.exp(-((columns / 0.15) ** 2)))
    grey = np.full(shape, 18.0)
    for start, level in ((0, 150), (20, 70), (40, 110), (60, 60), (80, 200), (95, 90)):
        grey = np.where(rows > top + start, level * np.exp(-np.clip(rows - top - 95, 0, None) / 60), grey)
    grey *= draw.gamma(4, 0.25, shape)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def screenshot(draw: Draw) -> Picture:
    height, width = _size(draw)
    picture = np.full((height, width, 3), _colour(draw, 200) if draw.random() < 0.5 else _colour(draw, 0, 60), np.uint8)
    cv2.rectangle(picture, (0, 0), (width, 28), _colour(draw), -1)
    cv2.rectangle(picture, (0, 28), (width // 5, height), _colour(draw), -1)
    for _ in range(int(draw.integers(4, 16))):
        left, top = int(draw.integers(width // 5, width - 40)), int(draw.integers(30, height - 30))
        cv2.rectangle(
            picture,
            (left, top),
            (left + int(draw.integers(20, 200)), top + int(draw.integers(10, 120))),
            _colour(draw),
            int(draw.choice([-1, 1])),
        )
        cv2.putText(picture, "File Edit View", (left, top), cv2.FONT_HERSHEY_SIMPLEX, 0.4, _colour(draw), 1, cv2.LINE_AA)
    return picture


def plain(draw: Draw) -> Picture:
    shape = _size(draw)
    kind = int(draw.integers(6))
    if kind < 3:
        return np.full((*shape, 3), (0, 255, 128)[kind], np.uint8)
    if kind == 3:
        return np.full((*shape, 3), _colour(draw), np.uint8)
    if kind == 4:
        return _painted(np.linspace(0, 1, shape[1]) * np.ones((shape[0], 1)), _colour(draw), _colour(draw))
    return _round(draw, np.full((*shape, 3), _warm(draw) if draw.random() < 0.5 else _colour(draw), np.uint8))


def noise(draw: Draw) -> Picture:
    shape = (*_size(draw), 3)
    kind = int(draw.integers(4))
    if kind == 0:
        return draw.integers(0, 256, shape).astype(np.uint8)
    if kind == 1:
        return np.clip(draw.normal(128, 40, shape[:2])[..., None] * np.ones(3), 0, 255).astype(np.uint8)
    if kind == 2:
        return np.where(draw.random(shape[:2])[..., None] < 0.3, 255, 0).astype(np.uint8) * np.ones(3, np.uint8)
    return np.clip(np.array(_warm(draw)) + draw.normal(0, 20, shape), 0, 255).astype(np.uint8)


@cache
def _photographs() -> tuple[Picture, ...]:
    places = [files("sklearn.datasets") / "images" / name for name in ("china.jpg", "flower.jpg")]
    places += [files("matplotlib") / "mpl-data" / "sample_data" / "grace_hopper.jpg"]
    return tuple(cv2.cvtColor(cv2.imread(str(place)), cv2.COLOR_BGR2RGB) for place in places if place.is_file())


def photograph(draw: Draw) -> Picture:
    """Take a part of a photograph, in other colours or through an eyepiece."""
    whole = _photographs()[int(draw.integers(len(_photographs())))]
    side = int(draw.integers(180, min(whole.shape[:2])))
    top, left = (int(draw.integers(0, length - side + 1)) for length in whole.shape[:2])
    part = np.rot90(whole[top : top + side, left : left + side], int(draw.integers(4)))
    part = np.ascontiguousarray(part if draw.random() < 0.5 else part[:, ::-1])
    kind = draw.random()
    if kind < 0.25:
        part = _painted(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY) / 255, (20, 0, 0), _warm(draw))
    elif kind < 0.4:
        part = np.repeat(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    elif kind < 0.55:
        part = np.ascontiguousarray(part[..., draw.permutation(3)])
    part = cv2.resize(part, (400, 400))
    return _round(draw, part) if draw.random() < 0.35 else part


def pattern(draw: Draw) -> Picture:
    height, width = _size(draw)
    rows, columns = np.ogrid[:height, :width]
    step = draw.uniform(6, 60)
    kind = int(draw.integers(4))
    made = (
        (rows // step + columns // step) % 2,
        (np.sin(rows / step) * np.sin(columns / step) > 0) * 1.0,
        (np.hypot(rows - height / 2, columns - width / 2) // step) % 2,
        0.5 + 0.5 * np.sin((rows * draw.uniform(-1, 1) + columns) / step),
    )[kind]
    picture = _painted(np.asarray(made, float), _colour(draw), _warm(draw) if draw.random() < 0.4 else _colour(draw))
    return _round(draw, picture) if draw.random() < 0.3 else picture


def code(draw: Draw) -> Picture:
    cells = int(draw.integers(21, 60))
    made = draw.integers(0, 2, (cells, cells)).astype(np.uint8) * 255
    return np.repeat(cv2.resize(made, (480, 480), interpolation=cv2.INTER_NEAREST)[..., None], 3, axis=2)


def iris(draw: Draw) -> Picture:
    """Draw the front of an eye."""
    shape = _size(draw)
    middle = (shape[1] // 2, shape[0] // 2)
    skin = tuple((np.array((225, 175, 150)) * draw.uniform(0.4, 1.05)).tolist())
    picture = _painted(_noise(draw, shape, 1.4), tuple(0.8 * np.array(skin)), skin)
    width, radius = int(shape[1] * draw.uniform(0.35, 0.5)), int(min(shape) * draw.uniform(0.16, 0.34))
    cv2.ellipse(picture, middle, (width, int(radius * draw.uniform(0.8, 1.4))), 0, 0, 360, (235, 228, 225), -1, cv2.LINE_AA)
    colour = _colour(draw, 30, 170) if draw.random() < 0.5 else _warm(draw)
    cv2.circle(picture, middle, radius, colour, -1, cv2.LINE_AA)
    for angle in draw.uniform(0, 2 * np.pi, 150):
        ends = [
            (int(middle[0] + far * radius * np.cos(angle)), int(middle[1] + far * radius * np.sin(angle))) for far in (0.4, 0.95)
        ]
        cv2.line(picture, *ends, (np.array(colour) * draw.uniform(0.6, 1.3)).clip(0, 255).tolist(), 1, cv2.LINE_AA)
    cv2.circle(picture, middle, int(radius * draw.uniform(0.3, 0.5)), (8, 6, 6), -1, cv2.LINE_AA)
    cv2.circle(picture, (middle[0] + radius // 4, middle[1] - radius // 4), max(2, radius // 9), (255, 255, 255), -1)
    picture = _grain(draw, picture)
    return _round(draw, picture) if draw.random() < 0.2 else picture


def skin(draw: Draw) -> Picture:
    shape = _size(draw)
    tone = np.array((230, 180, 155)) * draw.uniform(0.45, 1.05)
    picture = _painted(_noise(draw, shape, 1.2), tuple(0.85 * tone), tuple(tone)).astype(float)
    mole = cv2.GaussianBlur(_noise(draw, shape, 2.2), (0, 0), 3) * np.exp(
        -(
            (
                np.hypot(*np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij"))
                / draw.uniform(0.2, 0.6)
            )
            ** 4
        )
    )
    picture *= 1 - mole[..., None] * np.array((0.5, 0.7, 0.75))
    made = _grain(draw, picture.astype(np.uint8))
    for _ in range(int(draw.integers(0, 12))):  # hairs
        ends = draw.integers((0, 0), (shape[1], shape[0]), (3, 2)).astype(np.int32)
        cv2.polylines(made, [ends], False, (60, 40, 30), 1, cv2.LINE_AA)
    return _round(draw, made) if draw.random() < 0.4 else made


def cartoon(draw: Draw) -> Picture:
    shape = _size(draw)
    picture = np.full((*shape, 3), _colour(draw), np.uint8)
    for _ in range(int(draw.integers(4, 30))):
        place, axes = draw.integers((0, 0), (shape[1], shape[0])).tolist(), draw.integers(6, 120, 2).tolist()
        cv2.ellipse(picture, place, axes, draw.uniform(0, 180), 0, 360, _colour(draw), -1, cv2.LINE_AA)
        cv2.ellipse(picture, place, axes, draw.uniform(0, 180), 0, 360, (0, 0, 0), 2, cv2.LINE_AA)
    return picture


def street_map(draw: Draw) -> Picture:
    shape = _size(draw)
    picture = np.full((*shape, 3), _colour(draw, 200), np.uint8)
    for _ in range(int(draw.integers(2, 8))):
        points = draw.integers((0, 0), (shape[1], shape[0]), (6, 2)).astype(np.int32)
        cv2.fillConvexPoly(picture, cv2.convexHull(points), _colour(draw, 150), cv2.LINE_AA)
    for _ in range(int(draw.integers(10, 40))):
        points = draw.integers((0, 0), (shape[1], shape[0]), (3, 2)).astype(np.int32)
        cv2.polylines(picture, [points], False, _colour(draw, 90), int(draw.integers(1, 7)), cv2.LINE_AA)
    return picture


def _branch(
    draw: Draw, picture: Picture, place: NDArray[np.float64], angle: float, length: float, width: float, ink: tuple[int, ...]
) -> None:
    if width < 0.6 or length < 4:
        return
    for _ in range(4):
        angle += draw.normal(0, 0.15)
        end = place + length / 4 * np.array((np.cos(angle), np.sin(angle)))
        cv2.line(picture, place.astype(int).tolist(), end.astype(int).tolist(), ink, max(1, round(width)), cv2.LINE_AA)
        place = end
    for side in (-1, 1):
        _branch(draw, picture, place, angle + side * draw.uniform(0.2, 0.7), length * draw.uniform(0.6, 0.9), width * 0.7, ink)


def tree(draw: Draw) -> Picture:
    """Draw bare branches before a sky, also a red one."""
    shape = _size(draw)
    ground = np.linspace(0, 1, shape[0])[:, None] * np.ones(shape[1])
    picture = _painted(
        ground,
        _warm(draw) if draw.random() < 0.6 else _colour(draw, 100),
        _warm(draw) if draw.random() < 0.6 else _colour(draw, 120),
    )
    for _ in range(int(draw.integers(1, 3))):
        start = np.array((draw.uniform(0.2, 0.8) * shape[1], shape[0]))
        _branch(draw, picture, start, -np.pi / 2, 0.22 * shape[0], draw.uniform(5, 12), _colour(draw, 0, 50))
    return _grain(draw, picture)


def leaf(draw: Draw) -> Picture:
    shape = _size(draw)
    height, width = shape
    picture = np.full((*shape, 3), int(draw.choice([0, 0, 250, 90])), np.uint8)
    body = np.zeros(shape, np.uint8)
    cv2.ellipse(body, (width // 2, height // 2), (int(width * 0.28), int(height * 0.46)), 0, 0, 360, 255, -1)
    tone = _warm(draw) if draw.random() < 0.6 else (60, 140, 50)
    inside = _painted(_noise(draw, shape, 1.2), tuple(0.7 * np.array(tone)), tone)
    vein = tuple((np.array(tone) * draw.choice([0.6, 1.3])).clip(0, 255).tolist())
    cv2.line(inside, (width // 2, 0), (width // 2, height), vein, 4, cv2.LINE_AA)
    for row in range(0, height, int(draw.integers(18, 45))):
        for side in (-1, 1):
            cv2.line(inside, (width // 2, row), (width // 2 + side * width // 3, row - height // 6), vein, 2, cv2.LINE_AA)
    picture[body > 0] = inside[body > 0]
    return _grain(draw, picture)


def wheel(draw: Draw) -> Picture:
    shape = _size(draw)
    middle, radius = np.array((shape[1] // 2, shape[0] // 2)), int(draw.uniform(0.36, 0.49) * min(shape))
    picture = _painted(_noise(draw, shape, 1.4), _colour(draw, 0, 160), _colour(draw, 40))
    cv2.circle(picture, middle.tolist(), radius, (30, 30, 32), -1, cv2.LINE_AA)
    cv2.circle(picture, middle.tolist(), int(radius * 0.7), (170, 170, 178), -1, cv2.LINE_AA)
    for angle in np.linspace(0, 2 * np.pi, int(draw.integers(5, 12)), endpoint=False):
        end = middle + 0.68 * radius * np.array((np.cos(angle), np.sin(angle)))
        cv2.line(picture, middle.tolist(), end.astype(int).tolist(), (40, 40, 42), int(draw.integers(4, 20)), cv2.LINE_AA)
    return _grain(draw, picture)


def night(draw: Draw) -> Picture:
    """Draw lights in the dark: a sky of stars, a town, fireworks."""
    shape = _size(draw)
    picture = _painted(_noise(draw, shape, 2.0) * 0.3, (0, 0, 6), _colour(draw))
    for _ in range(int(draw.integers(20, 300))):
        cv2.circle(
            picture,
            draw.integers((0, 0), (shape[1], shape[0])).tolist(),
            int(draw.integers(1, 5)),
            _colour(draw, 150),
            -1,
            cv2.LINE_AA,
        )
    return _grain(draw, picture)


def bones(draw: Draw) -> Picture:
    """Draw a hand, or its like, in an X-ray."""
    shape = _size(draw)
    picture = np.zeros(shape, np.float32)
    for finger in range(5):
        angle = -np.pi / 2 + (finger - 2) * 0.28
        place = np.array((shape[1] / 2, shape[0] * 0.75))
        for length in (0.28, 0.16, 0.1):
            end = place + length * shape[0] * np.array((np.cos(angle), np.sin(angle)))
            cv2.line(picture, place.astype(int).tolist(), end.astype(int).tolist(), 90.0, 34, cv2.LINE_AA)
            cv2.line(picture, place.astype(int).tolist(), (0.9 * end + 0.1 * place).astype(int).tolist(), 190.0, 12, cv2.LINE_AA)
            place = end
    soft = cv2.GaussianBlur(picture, (0, 0), 3) + draw.normal(0, 4, shape)
    return np.repeat(np.clip(soft, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def blocks(draw: Draw) -> Picture:
    """Draw a room or a building of boxes."""
    shape = _size(draw)
    picture = _painted(_noise(draw, shape, 1.6), _colour(draw, 60), _colour(draw, 120))
    for _ in range(int(draw.integers(3, 14))):
        points = (draw.integers((0, 0), (shape[1], shape[0])) + draw.normal(0, 80, (4, 2))).astype(np.int32)
        cv2.fillConvexPoly(picture, cv2.convexHull(points), _colour(draw), cv2.LINE_AA)
    light = 0.4 + 0.8 * _noise(draw, shape, 2.2)
    return _grain(draw, np.clip(picture * light[..., None], 0, 255).astype(np.uint8))


def animal(draw: Draw) -> Picture:
    """Draw a furry head with ears and eyes."""
    shape = _size(draw)
    middle, radius = np.array((shape[1] // 2, shape[0] // 2)), int(draw.uniform(0.22, 0.36) * min(shape))
    picture = _painted(_noise(draw, shape, 1.6), _colour(draw), _colour(draw))
    fur = np.array(_warm(draw) if draw.random() < 0.6 else _colour(draw, 30))
    for side in (-1, 1):
        ear = middle + radius * np.array([(side * 0.95, -0.3), (side * 0.75, -1.45), (side * 0.15, -0.85)])
        cv2.fillPoly(picture, [ear.astype(np.int32)], (0.8 * fur).tolist(), cv2.LINE_AA)
    cv2.circle(picture, middle.tolist(), radius, fur.tolist(), -1, cv2.LINE_AA)
    for _ in range(500):
        start = middle + draw.normal(0, radius * 0.5, 2)
        end = start + draw.normal(0, 8, 2)
        cv2.line(
            picture,
            start.astype(int).tolist(),
            end.astype(int).tolist(),
            (fur * draw.uniform(0.6, 1.2)).clip(0, 255).tolist(),
            1,
            cv2.LINE_AA,
        )
    for side in (-1, 1):
        cv2.circle(picture, (middle + radius * np.array((side * 0.4, -0.2))).astype(int).tolist(), radius // 6, _colour(draw), -1)
        cv2.circle(picture, (middle + radius * np.array((side * 0.4, -0.2))).astype(int).tolist(), radius // 12, (5, 5, 5), -1)
    cv2.ellipse(
        picture, (middle + np.array((0, radius // 3))).tolist(), (radius // 8, radius // 11), 0, 0, 360, (190, 110, 110), -1
    )
    return _grain(draw, picture)


KINDS: dict[str, Callable[[Draw], Picture]] = {
    one.__name__: one
    for one in (
        landscape, clouds, text_page, chart, face, orange, moon, planet, coin, plate, pizza, clock, microscope, endoscope,
        knee, chest, ultrasound, head_slice, oct_scan, screenshot, plain, noise, photograph, pattern, code, iris, skin,
        cartoon, street_map, tree, leaf, wheel, night, bones, blocks, animal,
    )
}  # fmt: skip
"""By name, in the order in which they are drawn."""


def draw_pictures(count: int, seed: int) -> list[tuple[str, Picture]]:
    """Draw pictures, as many of each kind; return the kind of each with it."""
    names = list(KINDS)
    kinds = [names[number % len(names)] for number in range(count)]
    return [(kind, KINDS[kind](np.random.default_rng((seed, number)))) for number, kind in enumerate(kinds)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for number, (kind, picture) in enumerate(draw_pictures(arguments.count, arguments.seed)):
        cv2.imwrite(str(arguments.out / f"{number:04d}_{kind}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
