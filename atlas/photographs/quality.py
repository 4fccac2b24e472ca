"""How good a photograph of a retina is, and whether it shows one at all, measured from its pixels alone.

Everything is measured on the square round the retina, shrunk to SIDE pixels, so that the size of the file does not matter.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.photographs.frames import Square
from atlas.photographs.retina import strongest_channel
from atlas.records import BoolArray, ByteArray, FloatArray, Frame, Quality, noop

SIDE = 256
"""Pixels a side of the square that is measured."""

_MODEL = Path(__file__).with_name("quality.json")

_MOST_REASONS = 3

_CLIP = 4.0

_TOO_FAR = 0.5  # no photograph is good that is farther outside the range of good ones, in widths of it

_NARROWEST = 0.1  # of these widths: some measurements are the same in nearly all good photographs

_NONE = -0.2  # what is measured of a surround where there is none

REASONS: Mapping[str, tuple[str, str]] = {
    "blurred": (noop("out of focus"), noop("a little out of focus")),
    "dark": (noop("too dark"), noop("a little too dark")),
    "bright": (noop("too bright"), noop("a little too bright")),
    "uneven": (noop("unevenly lit"), noop("a little unevenly lit")),
    "pale": (noop("very little contrast"), noop("little contrast")),
    "part": (noop("much of the field is missing"), noop("part of the field is missing")),
    "hidden": (noop("few vessels can be seen"), noop("some vessels cannot be seen")),
}
"""Why a photograph is not good, in words: of a poor one, and of a usable one."""

SHOWN = ("field", "focus", "bright", "uneven", "wide_contrast")
"""Measurements that tables show."""

_SIGNS = (
    ("blurred", ("focus", -1)),
    ("blurred", ("thin_sparse", -1)),
    ("blurred", ("thin_contrast", -1)),
    ("dark", ("bright", -1)),
    ("dark", ("dark_share", 1)),
    ("bright", ("green", 1)),
    ("bright", ("glare_share", 1)),
    ("uneven", ("uneven", 1)),
    ("uneven", ("fall", 1)),
    ("pale", ("wide_contrast", -1)),
    ("part", ("field", -1)),
    ("hidden", ("shown", -1)),
    ("hidden", ("long", -1)),
)
"""What speaks for each reason: a measurement, and the end of the range of good photographs beyond which it lies."""

_BANDS = (1.0, 2.0, 4.0, 8.0)  # standard deviations, in pixels of the square, between which detail is measured

_RIM = 6  # pixels next to the edge of the retina that are not measured: the edge itself is not a detail of the retina


def measure(square: Square) -> dict[str, float]:
    """Measure a photograph, of which this is the square round the retina."""
    photograph, frame = square.photograph, square.frame
    side = min(SIDE, frame.side)
    plate, seen = square.coarse(side)
    if side < SIDE:
        plate = np.asarray(cv2.resize(plate, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR), np.uint8)
        seen = cv2.resize(seen.astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST) > 0
    inner = _inner(seen)
    found = {
        **_field(plate, seen, (photograph.shape[0], photograph.shape[1]), frame),
        **_light(plate, inner),
        **_colours(plate, inner),
    }
    return {**found, **_details(plate, inner), **_drawing(plate, inner)}


def _inner(seen: BoolArray) -> BoolArray:
    """Return what is measured: the retina without its edge; all of a tiny one; the complete square if nothing of it is seen."""
    if not seen.any():
        return np.ones_like(seen)
    edged = cv2.copyMakeBorder(seen.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    kept = cv2.erode(edged, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3)), iterations=_RIM)[1:-1, 1:-1] > 0
    return np.asarray(kept if kept.sum() > 0.02 * kept.size else seen, np.bool_)


def _smoothed(values: FloatArray, inner: BoolArray, deviation: float) -> FloatArray:
    """Average what is measured over its surroundings, at a quarter of the size, float32 (SIDE, SIDE)."""
    weight = cv2.resize(inner.astype(np.float32), (SIDE // 4, SIDE // 4), interpolation=cv2.INTER_AREA)
    total = cv2.resize(np.where(inner, values, 0).astype(np.float32), (SIDE // 4, SIDE // 4), interpolation=cv2.INTER_AREA)
    weight, total = (cv2.GaussianBlur(one, (0, 0), deviation / 4) for one in (weight, total))
    return np.asarray(cv2.resize(total / (weight + 1e-4), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR), np.float32)


def _field(plate: ByteArray, seen: BoolArray, shape: tuple[int, int], frame: Frame) -> dict[str, float]:
    """Measure the field and what surrounds it in the square; what lies further off belongs to a page or a screen."""
    middle = np.arange(SIDE) + 0.5 - SIDE / 2
    away = np.hypot(middle[:, None], middle)
    disc, corner = away <= SIDE / 2, away > 0.51 * SIDE
    rows, columns = (
        (start + (np.arange(SIDE) + 0.5) * frame.side / SIDE, length)
        for start, length in ((frame.top, shape[0]), (frame.left, shape[1]))
    )
    within, across = (((place >= 0) & (place < length)) for place, length in (rows, columns))
    strongest = strongest_channel(plate).astype(np.float32) / 255
    beyond = ~seen & corner & within[:, None] & across
    rim = seen & (away > 0.45 * SIDE)
    surround = strongest[beyond]
    some = surround.size > 20
    return {
        "field": float((seen & disc).sum() / disc.sum()),
        "corners": float((seen & corner).sum() / corner.sum()),
        "surround": float(surround.mean()) if some else _NONE,
        "surround_deviation": float(surround.std()) if some else _NONE,
        "edge": float(strongest[rim].mean() - surround.mean()) if some and rim.any() else _NONE,
    }


def _light(plate: ByteArray, inner: BoolArray) -> dict[str, float]:
    strongest = strongest_channel(plate).astype(np.float32) / 255
    green = plate[..., 1].astype(np.float32) / np.float32(255)
    values = strongest[inner]
    smooth = _smoothed(green, inner, 16.0)[inner]
    low, middle, high = np.quantile(smooth[::5], (0.05, 0.5, 0.95))
    own = green[inner]
    return {
        "bright": float(values.mean()),
        "green": float(own.mean()),
        "green_deviation": float(own.std()),
        "dark_share": float((values < 0.16).mean()),
        "dim_share": float((own < 0.12).mean()),
        "glare_share": float((own > 0.9).mean()),
        "clipped_share": float((values > 0.99).mean()),
        "uneven": float(smooth.std() / (smooth.mean() + 0.02)),
        "fall": float((middle - low) / (middle + 0.02)),
        "rise": float((high - middle) / (middle + 0.02)),
    }


def _colours(plate: ByteArray, inner: BoolArray) -> dict[str, float]:
    rgb = plate[::2, ::2][inner[::2, ::2]].astype(np.float32) / 255
    red, green, blue = rgb.T
    total = rgb.sum(axis=1) + 0.05
    chroma = np.stack([red - green, green - blue], axis=1) / total[:, None]
    apart = rgb - rgb.mean(axis=0)
    covariance = (apart.T @ apart).astype(np.float64) / len(apart) + 1e-6 * np.eye(3)
    values = np.linalg.eigvalsh(covariance)
    half = (SIDE // 2, SIDE // 2)
    smooth = cv2.GaussianBlur(cv2.resize(plate, half, interpolation=cv2.INTER_AREA), (0, 0), 2.0)[inner[::2, ::2]].astype(
        np.float32
    )
    return {
        "red_over_green": float(np.log((red.mean() + 0.02) / (green.mean() + 0.02))),
        "green_over_blue": float(np.log((green.mean() + 0.02) / (blue.mean() + 0.02))),
        "ordered": float(((smooth[:, 0] + 2 >= smooth[:, 1]) & (smooth[:, 1] + 2 >= smooth[:, 2])).mean()),
        "chroma_deviation_red": float(chroma[:, 0].std()),
        "chroma_deviation_blue": float(chroma[:, 1].std()),
        "along": float(values[2] / values.sum()),
        "across": float(np.log(values[0] + 1e-6)),
        "saturation": float(
            (1 - (np.minimum(np.minimum(red, green), blue) + 0.05) / (np.maximum(np.maximum(red, green), blue) + 0.05)).mean()
        ),
    }


def _details(plate: ByteArray, inner: BoolArray) -> dict[str, float]:
    green = plate[..., 1].astype(np.float32) / np.float32(255)
    level = _smoothed(green, inner, 16.0)
    even = np.where(inner, (green - level) / (level + 0.04), 0).astype(np.float32)
    found: dict[str, float] = {}
    before = even
    energies = []
    for number, deviation in enumerate(_BANDS):
        after = np.asarray(cv2.GaussianBlur(before, (0, 0), deviation), np.float32)
        band = (before - after)[inner]
        spread = float(band.std()) + 1e-4
        energies.append(spread)
        found[f"band_{number}"] = float(np.log(spread))
        own = band / spread
        squared = own * own
        found[f"skew_{number}"] = float(np.clip((squared * own).mean(), -4, 4))
        found[f"tails_{number}"] = float(np.log((squared * squared).mean() + 0.1))
        before = after
    found["focus"] = float(np.log((energies[0] + energies[1]) / (energies[2] + energies[3])))
    found.update(_lines(even, inner))
    return found


def _lines(even: FloatArray, inner: BoolArray) -> dict[str, float]:
    """Measure lines that are darker, or brighter, than both their sides: vessels are dark."""
    found: dict[str, float] = {}
    for name, deviation in (("thin", 1.5), ("wide", 3.0)):
        blurred = cv2.GaussianBlur(even, (0, 0), deviation)
        xx, yy = (cv2.Sobel(blurred, cv2.CV_32F, *order, ksize=3) * deviation**2 for order in ((2, 0), (0, 2)))
        xy = cv2.Sobel(blurred, cv2.CV_32F, 1, 1, ksize=3) * deviation**2
        half, spread = (xx + yy) / 2, cv2.magnitude((xx - yy) / 2, xy)
        dark = np.maximum(half + spread, 0) - np.abs(half - spread)
        bright = np.maximum(spread - half, 0) - np.abs(half + spread)
        dark, bright = np.maximum(dark, 0), np.maximum(bright, 0)
        values, others = dark[inner], bright[inner]
        top = np.quantile(values[::3], (0.8, 0.95))
        found[f"{name}_dark"] = float(np.log(values.mean() + 1e-3))
        found[f"{name}_bright"] = float(np.log(others.mean() + 1e-3))
        found[f"{name}_contrast"] = float(np.log(top[1] + 1e-3))
        found[f"{name}_sparse"] = float(np.log((top[1] + 1e-3) / (top[0] + 1e-3)))
        if name == "thin":
            continue
        line = ((dark > max(float(top[1]) * 0.6, 0.02)) & inner).astype(np.uint8)
        count, _, parts, _ = cv2.connectedComponentsWithStats(line, connectivity=8)
        lengths = np.hypot(parts[1:, cv2.CC_STAT_WIDTH], parts[1:, cv2.CC_STAT_HEIGHT]) if count > 1 else np.zeros(1)
        areas = parts[1:, cv2.CC_STAT_AREA] if count > 1 else np.ones(1)
        order = np.sort(lengths)[::-1]
        found["longest"] = float(order[0] / SIDE)
        found["long"] = float(order[:5].sum() / SIDE)
        found["many"] = float(np.log(count))
        found["slender"] = float(np.log(((lengths**2).sum() + 1) / (areas.sum() + 1)))
        tiles = cv2.resize(line.astype(np.float32), (16, 16), interpolation=cv2.INTER_AREA) > 0.03
        kept = cv2.resize(inner.astype(np.float32), (16, 16), interpolation=cv2.INTER_AREA) > 0.5
        found["reach"] = float((tiles & kept).sum() / max(1, kept.sum()))
        strong = (dark > 0.04) & inner
        tiles = cv2.resize(strong.astype(np.float32), (16, 16), interpolation=cv2.INTER_AREA) > 0.03
        found["shown"] = float((tiles & kept).sum() / max(1, kept.sum()))
    return found


def _drawing(plate: ByteArray, inner: BoolArray) -> dict[str, float]:
    """Measure what tells drawings, screens and text from photographs: flat areas and straight edges."""
    grey = plate[..., 1].astype(np.int16)
    flat = np.zeros(grey.shape, bool)
    flat[:-1, :-1] = (np.abs(np.diff(grey, axis=1))[:-1] == 0) & (np.abs(np.diff(grey, axis=0))[:, :-1] == 0)
    green = np.ascontiguousarray(plate[..., 1])
    soft = cv2.GaussianBlur(green, (0, 0), 2.0)
    across, down = cv2.Sobel(soft, cv2.CV_32F, 1, 0)[inner], cv2.Sobel(soft, cv2.CV_32F, 0, 1)[inner]
    # Directions by fourfold angle: edges of pages and screens run along the axes.
    square = across * across + down * down + 1e-3
    twice = (across * across - down * down) / square
    size = np.sqrt(square)
    along = float((size * (2 * twice * twice - 1)).sum() / size.sum())
    coarse = plate >> 4
    colours = ((coarse[..., 0].astype(np.int32) << 8) + (coarse[..., 1].astype(np.int32) << 4) + coarse[..., 2])[inner]
    counts = np.bincount(colours, minlength=4096) / len(colours)
    share = counts[counts > 0]
    smooth = _smoothed(green.astype(np.float32), inner, 8.0)
    level = float(np.median(smooth[inner]))
    deviation = float(smooth[inner].std()) + 1.0
    peak = float(smooth[inner].max())
    return {
        "flat": float(flat[inner].mean()),
        "axes": along,
        "variety": float(-(share * np.log(share)).sum()),
        "commonest": float(counts.max()),
        "peak": (peak - level) / (level + 10),
        "peak_rare": (peak - level) / deviation,
    }


@dataclass(frozen=True)
class Rule:
    """A logistic rule on measurements, each clipped to `_CLIP` standard deviations from its mean.

    Parameters
    ----------
    names : tuple[str, ...]
        The measurements.
    middles, spreads : float64 (n,)
        Their means and standard deviations.
    weights : float64 (n,) or (2 n,)
        Of the standardised measurements, and then, if there are as many again, of their squares.
    constant : float
        Added to the weighted sum.
    threshold : float
        The rule holds where the sum is at least this.
    """

    names: tuple[str, ...]
    middles: NDArray[np.float64]
    spreads: NDArray[np.float64]
    weights: NDArray[np.float64]
    constant: float
    threshold: float

    @classmethod
    def of(cls, parts: Mapping[str, Any]) -> Rule:
        """Read a rule from the plain values of its JSON."""
        middles, spreads, weights = (np.array(parts[name], np.float64) for name in ("middles", "spreads", "weights"))
        return cls(tuple(parts["names"]), middles, spreads, weights, float(parts["constant"]), float(parts["threshold"]))

    def terms(self, measured: Mapping[str, float]) -> NDArray[np.float64]:
        """Return what is weighted, float64 (n,) or (2 n,)."""
        values = np.array([measured[name] for name in self.names])
        z = np.clip((values - self.middles) / self.spreads, -_CLIP, _CLIP)
        return z if len(self.weights) == len(z) else np.concatenate([z, z * z])

    def logit(self, measured: Mapping[str, float]) -> float:
        """Return the weighted sum."""
        return float(self.terms(measured) @ self.weights + self.constant)

    def holds(self, measured: Mapping[str, float]) -> bool:
        """Tell whether the rule holds for a photograph."""
        return self.logit(measured) >= self.threshold


@cache
def _model() -> tuple[dict[str, Rule], dict[str, tuple[float, float]]]:
    """Read the rules, and the limits between which the measurements of good photographs lie."""
    model = json.loads(_MODEL.read_text(encoding="utf-8"))
    rules = {name: Rule.of(parts) for name, parts in model["rules"].items()}
    return rules, {name: (float(low), float(high)) for name, (low, high) in model["limits"].items()}


def judge(measured: Mapping[str, float], *, edge: bool = True, squash: float = 1.0, oddities: tuple[str, ...] = ()) -> Quality:
    """Judge a photograph by what `measure` found.

    Parameters
    ----------
    edge : bool
        Whether the edge of a disc was found.
    squash : float
        Height of its disc divided by the width, before it was put right.
    oddities : tuple of str
        See `find_oddities`.
    """
    rules, limits = _model()
    retina, reject, good = rules["retina"].logit(measured), rules["reject"].logit(measured), rules["good"].logit(measured)
    grade = "poor" if reject >= rules["reject"].threshold else "good" if good >= rules["good"].threshold else "usable"
    score = (_share(-reject) + _share(good)) / 2
    far = _far(measured, limits)
    if grade == "good" and max(far.values()) > _TOO_FAR:
        grade, score = "usable", min(score, 0.5)
    shown = {name: measured[name] for name in SHOWN}
    reasons = () if grade == "good" else _reasons(far)
    return Quality(rules["retina"].holds(measured), _share(retina), grade, score, reasons, oddities, edge, squash, shown)


def in_words(quality: Quality) -> tuple[str, ...]:
    """Say why a photograph is not good, worst first, in English messages."""
    return tuple(REASONS[reason][quality.grade == "usable"] for reason in quality.reasons)


def _share(logit: float) -> float:
    return float(1 / (1 + np.exp(-np.clip(logit, -30, 30))))


def _far(measured: Mapping[str, float], limits: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Tell for each reason how far a photograph lies outside the range of good ones, in widths of it; below 0 inside."""
    far: dict[str, float] = {}
    for reason, (name, end) in _SIGNS:
        low, high = limits[name]
        beyond = (low - measured[name]) if end < 0 else (measured[name] - high)
        far[reason] = max(far.get(reason, -np.inf), beyond / max(high - low, _NARROWEST))
    return far


def _reasons(far: Mapping[str, float]) -> tuple[str, ...]:
    """Name what is unlike good photographs, worst first, as keys of `REASONS`; at least one."""
    ordered = sorted(far, key=lambda reason: -far[reason])
    return tuple(reason for reason in ordered[:_MOST_REASONS] if far[reason] > 0) or (ordered[0],)
