"""A lesion net for fundus photographs: its network, and how it marks lesions."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import torch

from atlas.cohort.lesions import coarsely, with_threshold
from atlas.lesionnets.landmarks import DISC_DIAMETER, DiscReadout, find_fovea, landmarks_at
from atlas.lesionnets.networks import GRID, SIDE, STRIDE, LesionModule, views
from atlas.lesionnets.protocol import Finding
from atlas.photographs.frames import Box, cell_box, cell_coverage, crop, touched
from atlas.records import BoolArray, ByteArray, FloatArray, Frame, IntArray, Landmarks, Mark

LEAST_SIDE = 600
"""Pixels across the retina below which a microaneurysm is too small to be seen. A microaneurysm is 60 to 100 micrometres wide,
and a photograph shows about 13 millimetres of retina, so a microaneurysm would be about 4 pixels across."""

_DOT, _BLOT = DISC_DIAMETER / 12, DISC_DIAMETER / 10
"""Width of a red lesion, in pixels of the square, up to which it is called a microaneurysm, and from which it is called a
haemorrhage. The first is the limit of the Early Treatment Diabetic Retinopathy Study (Ophthalmology 98, 1991: 786-806). Between
the two, a width measured to about two pixels does not decide, and it stays a red lesion."""

_ON_RETINA = 0.5  # share of a cell that must be retina

_PLACE = 1.0
"""Standard deviation, in cells, of the Gaussian that smooths the maps: a single cell that differs from its neighbours is more
often noise than a lesion. Chosen on the validation parts of the photographs that the shipped net learned from: with thresholds at
which half of the boxed red lesions were touched, healthy eyes had less than half as many marks."""

_LIT = 50.0
"""Brightness of the brightest channel, of 255, below which a place is too dark to judge: grain looks like lesions there. In the
validation photographs, 6 of 43 marks on healthy eyes are in such dark places, all in EyePACS, and none of 402 marks on eyes of
grade 2 and above."""

_GREY = 0.7
"""Share of its fall in green by which light falls in red, too, from which a dark place is not blood: blood absorbs green far more
than red, and dust or the edge of the field darkens all colours alike. Falls are of the logarithm of light. In the validation
photographs, 7 of 24 red marks on healthy eyes are that grey, and none of the 60 that lie in a box (at most 0.63). On IDRiD's eyes
of grade 2 and above, 4 more are, and look like dust."""

_BLUE = 0.5
"""Share of its rise in blue by which light must rise in green, too, in a cotton-wool spot: reflexes of the lens are bluer. In 877
photographs for training and validation, 2 of 14 marks are bluer, and both are reflexes. Rises are of the logarithm of light."""

_FOREMOST = 0.1  # share of a mark's pixels that are compared: those where green falls, or rises, most

_BLACK = 8.0  # of 255, added to light before its logarithm is taken, because noise in black would become a fall

_HALF = 0.5  # share of the deepest fall that bounds a red lesion

_PALE = ("hard_exudate", "cotton_wool_spot")

_FINE, _AROUND = 1.5, 20.0
"""Standard deviations, in pixels of the square: a lesion's centre is compared with its surroundings."""

_EQUAL = 0.001
"""Places whose probability is this near to the highest are equally likely: where the network is certain, rounding would decide.
Chosen on the validation part of IDRiD, as it is and in other colours and light."""

_HALF_A_CELL = np.ones((STRIDE + 1, STRIDE + 1), np.uint8)  # grows a mask by half a cell to each side

_REACH = 80  # pixels of the square beyond which OpenCV cuts off the wider of these Gaussians

_ROUND = 3  # cells around a lesion that its descriptor also includes


@dataclass(frozen=True, eq=False)
class FundusLesionNet:
    """A `LesionNet` with the one network that there is.

    Parameters
    ----------
    name : str
        Name of its bundle.
    kinds : tuple[str, ...]
        Keys of `cohort.lesions.KINDS`, in the order of the network's maps.
    module : LesionModule
        The network, in evaluation mode.
    thresholds : Mapping[str, float]
        By kind, or by coarse kind for kinds that belong to one, the probability from which a cell is marked, 0 to 1. A kind
        without one is not marked.
    sha256 : str
        Hash of its weights and thresholds.
    card : str
        The model card, Markdown.
    training : Mapping[str, Any]
        Facts of the recipe, plain JSON values.
    measured : tuple[Mapping[str, Any], ...]
        Measurements, plain JSON values.
    disc : DiscReadout or None
        Finds the optic disc; None if the net never learned that.
    """

    name: str
    kinds: tuple[str, ...]
    module: LesionModule
    thresholds: Mapping[str, float]
    sha256: str
    card: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    measured: tuple[Mapping[str, Any], ...] = ()
    disc: DiscReadout | None = None

    @property
    def from_drawn_eyes(self) -> tuple[str, ...]:
        """Kinds that it marks and learned from drawn eyes only, see `LesionNet.from_drawn_eyes`."""
        return with_threshold(self.training.get("from_drawn_eyes", ()), self.thresholds)

    @property
    def marked(self) -> tuple[str, ...]:
        """The kinds, or coarse kinds, that it marks."""
        return tuple(name for name in marked(self.kinds) if name in self.thresholds)

    @property
    def not_marked(self) -> tuple[str, ...]:
        """The kinds that it looks for and does not mark."""
        told = with_threshold(self.kinds, self.thresholds)
        return tuple(kind for kind in self.kinds if kind not in told)

    def find(self, photograph: ByteArray, frame: Frame, retina: BoolArray, *, factor: int = 1) -> Finding:
        """Find the lesions of a photograph, see `LesionNet.find`.

        Boxes are in pixels of the source.

        Parameters
        ----------
        factor : int
            Side of one of the photograph's pixels in pixels of the source, if it was decoded at a reduced size.
        """
        plate, shown, maps, features = self._seen(photograph, frame, retina)
        light = _light(plate)
        source = Frame(frame.top * factor, frame.left * factor, frame.side * factor)
        small = frozenset({"microaneurysm"} & set(self.kinds)) if source.side < LEAST_SIDE else frozenset()
        found = []
        for spot in spots(self.kinds, maps, self.thresholds):
            kind = self._called(plate, spot, small) if light[spot.cells].mean() >= _LIT else ""
            if kind:
                found.append((Mark(kind, _box(source, spot), spot.strength), _described(spot.cells, maps, features)))
        found.sort(key=lambda pair: (-pair[0].strength, pair[0].kind, pair[0].box))
        width = 2 * features.shape[0] + len(self.kinds)
        descriptors = np.array([described for _, described in found], np.float32).reshape(-1, width)
        contrast = _contrast(plate)
        strongest = {name: _strongest(name, together(self.kinds, maps, name), contrast, source) for name in self.marked}
        landmarks = self._landmarks(plate, shown, maps, features, source)
        return Finding(self.kinds, maps, tuple(mark for mark, _ in found), descriptors, strongest, small, landmarks)

    def describe(self, photograph: ByteArray, frame: Frame, retina: BoolArray, boxes: IntArray) -> FloatArray:
        """Describe places of a photograph as `find` describes lesions, see `LesionNet.describe`."""
        _, _, maps, features = self._seen(photograph, frame, retina)
        own = [touched(frame, (GRID, GRID), (top, left, bottom, right)) for top, left, bottom, right in boxes.tolist()]
        return np.array([_described(cells, maps, features) for cells in own], np.float32)

    def maps(self, photograph: ByteArray, frame: Frame, retina: BoolArray) -> FloatArray:
        """Return the probability of each kind in each place of the frame, float32 (kinds, GRID, GRID); 0 off the retina."""
        return self._seen(photograph, frame, retina)[2]

    def _called(self, plate: ByteArray, spot: Spot, too_small: Set[str]) -> str:
        """Return what a spot is called by how light and colour change in it; "" if it is dust or a reflex."""
        if coarsely(spot.kind) not in ("red_lesion", "cotton_wool_spot"):
            return spot.kind
        fall, own = falls(plate, spot)
        if spot.kind == "cotton_wool_spot":
            return "" if is_blue(fall, own) else spot.kind
        if is_grey(fall, own):
            return ""
        parted = spot.kind == "red_lesion" and {"microaneurysm", "haemorrhage"} <= set(self.kinds)
        return named(width_of(fall[..., 1], own), too_small) if parted else spot.kind

    def _landmarks(
        self, plate: ByteArray, shown: BoolArray, maps: FloatArray, features: FloatArray, source: Frame
    ) -> Landmarks | None:
        disc = None if self.disc is None else self.disc.find(features, shown)
        if disc is None:
            return None
        return landmarks_at(disc, find_fovea(plate, shown, disc, together(self.kinds, maps, "red_lesion")), source)

    @property
    def width(self) -> int:
        """Number of features that the kinds are computed from."""
        return int(self.module.kinds.in_channels)

    def _seen(
        self, photograph: ByteArray, frame: Frame, retina: BoolArray
    ) -> tuple[ByteArray, BoolArray, FloatArray, FloatArray]:
        """Return the plate that the network saw and its retina, the maps, and the features that they are computed from."""
        plate = crop(photograph, frame, SIDE)
        shown = crop(retina.astype(np.uint8) * np.uint8(255), frame, SIDE) >= 128
        return plate, shown, *self.looked(plate, shown)

    def looked(self, plate: ByteArray, shown: BoolArray) -> tuple[FloatArray, FloatArray]:
        """Run the network on the square of a retina.

        Parameters
        ----------
        plate : ByteArray
            uint8 (SIDE, SIDE, 3) RGB.
        shown : BoolArray
            bool (SIDE, SIDE), true on the retina.

        Returns
        -------
        tuple[FloatArray, FloatArray]
            The maps, see `maps`, and the features that they are computed from, float32 (width, GRID, GRID).
        """
        with torch.inference_mode():
            seen = views(
                torch.from_numpy(plate).permute(2, 0, 1)[None].float() / 255, torch.from_numpy(shown)[None, None].float()
            )
            features = self._runner.features(seen.contiguous(memory_format=torch.channels_last))
            single: FloatArray = torch.sigmoid(self._runner.kinds(features))[0].contiguous().numpy()
        inside = cell_coverage(shown, (GRID, GRID)) >= _ON_RETINA
        maps = np.stack([cv2.GaussianBlur(own * inside, (0, 0), _PLACE) * inside for own in single]).astype(np.float32)
        return maps, features[0].contiguous().numpy()

    @cached_property
    def _runner(self) -> LesionModule:
        return copy.deepcopy(self.module).eval().to(memory_format=torch.channels_last)


@dataclass(frozen=True, eq=False)
class Spot:
    """Neighbouring cells (corners count) with lesions of one kind: bool (h, w), and the box around them."""

    kind: str
    cells: BoolArray
    top: int
    left: int
    height: int
    width: int
    strength: float


def spots(kinds: Sequence[str], maps: FloatArray, thresholds: Mapping[str, float]) -> list[Spot]:
    """Divide maps (kinds, h, w) into lesions: cells of a kind, or of a coarse kind, that reach its threshold.

    If the net knows only one kind of a coarse kind, a lesion has its name.
    """
    found = []
    for name in (name for name in marked(kinds) if name in thresholds):
        only = [kind for kind in kinds if coarsely(kind) == name]
        whole = together(kinds, maps, name)
        count, numbers, places, _ = cv2.connectedComponentsWithStats((whole >= thresholds[name]).astype(np.uint8))
        for number in range(1, count):
            own = numbers == number
            left, top, width, height = (int(value) for value in places[number][:4])
            strength = round(float(whole[own].max()), 4)
            found.append(Spot(only[0] if len(only) == 1 else name, own, top, left, height, width, strength))
    return found


def falls(plate: ByteArray, spot: Spot) -> tuple[FloatArray, BoolArray]:
    """Return how much darker a spot and its surroundings are than what is around them.

    Parameters
    ----------
    plate : ByteArray
        uint8 (SIDE, SIDE, 3) RGB, the square of the retina.
    spot : Spot
        Cells of the square.

    Returns
    -------
    tuple[FloatArray, BoolArray]
        Falls of the logarithm of light, float32 (h, w, 3), of a part of the square with the spot in it, and which of these pixels
        belong to the spot, bool (h, w).
    """
    rows, columns = (
        slice(max(0, STRIDE * first - _REACH), STRIDE * (first + count) + _REACH)
        for first, count in ((spot.top, spot.height), (spot.left, spot.width))
    )
    near = plate[rows, columns].astype(np.float32)
    fall = np.log(cv2.GaussianBlur(near, (0, 0), _AROUND) + _BLACK) - np.log(cv2.GaussianBlur(near, (0, 0), _FINE) + _BLACK)
    own = cv2.resize(spot.cells.astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)[rows, columns] > 0
    return np.asarray(fall, np.float32), own


def is_grey(fall: FloatArray, own: BoolArray) -> bool:
    """Return whether the darkest part of a spot is about as dark in red as in green, as dust is and blood is not; see `falls`."""
    red, green, _ = _foremost(fall, own)
    return green > 0 and red >= _GREY * green


def is_blue(fall: FloatArray, own: BoolArray) -> bool:
    """Return whether the palest part of a spot is far paler in blue than in green, as reflexes of a lens are; see `falls`."""
    _, green, blue = _foremost(-fall, own)
    return green < _BLUE * blue


def _foremost(change: FloatArray, own: BoolArray) -> tuple[float, float, float]:
    """Return the mean change of red, green and blue where green changes most."""
    colours = change[own]
    first = colours[colours[:, 1] >= np.quantile(colours[:, 1], 1.0 - _FOREMOST)]
    red, green, blue = first.mean(axis=0).tolist()
    return red, green, blue


def width_of(fall: FloatArray, own: BoolArray) -> float:
    """Return the longest distance across a red lesion, or across the largest one if a spot holds several.

    A lesion is what is at least half as dark as the darkest pixel of the spot or of half a cell around it.

    Parameters
    ----------
    fall : FloatArray
        float32 (h, w), how much green light falls, see `falls`.
    own : BoolArray
        bool (h, w), pixels of the spot.

    Returns
    -------
    float
        Pixels of the square: the diameter of the smallest circle around the lesion.
    """
    near = cv2.dilate(own.astype(np.uint8), _HALF_A_CELL) > 0
    _, numbers = cv2.connectedComponents((fall >= _HALF * fall[near].max()).astype(np.uint8))
    lesions = [np.argwhere(numbers == number).astype(np.float32) for number in np.unique(numbers[near]) if number]
    return max((2.0 * cv2.minEnclosingCircle(lesion)[1] for lesion in lesions), default=0.0)


def named(width: float, too_small: Set[str] = frozenset()) -> str:
    """Return what a red lesion is called, from its width in pixels of the square.

    Parameters
    ----------
    width : float
        See `width_of`.
    too_small : Set[str]
        Kinds that the photograph is too small to show.
    """
    if width >= _BLOT:
        return "haemorrhage"
    return "microaneurysm" if width <= _DOT and "microaneurysm" not in too_small else "red_lesion"


def marked(kinds: Sequence[str]) -> tuple[str, ...]:
    """Return the kinds that are marked: each kind, or the coarse kind instead of the kinds that belong to it."""
    return tuple(dict.fromkeys(coarsely(kind) for kind in kinds))


def together(kinds: Sequence[str], maps: FloatArray, name: str) -> FloatArray:
    """Return the probability (h, w) that a cell holds some lesion of a kind or a coarse kind, from maps (kinds, h, w)."""
    rows = [row for row, kind in enumerate(kinds) if name in (kind, coarsely(kind))]
    none: FloatArray = np.prod(1.0 - maps[rows], axis=0, dtype=np.float32)
    return np.asarray(1.0 - none, np.float32)


def _box(frame: Frame, spot: Spot) -> Box:
    first = cell_box(frame, (GRID, GRID), spot.top, spot.left)
    last = cell_box(frame, (GRID, GRID), spot.top + spot.height - 1, spot.left + spot.width - 1)
    return first[0], first[1], last[2], last[3]


def _described(cells: BoolArray, maps: FloatArray, features: FloatArray) -> FloatArray:
    """Return what the net saw in a place and around it, and the probability of each kind, one after the other."""
    down, across = (np.flatnonzero(cells.any(axis=axis)) for axis in (1, 0))
    rows = slice(max(0, down[0] - _ROUND), down[-1] + 1 + _ROUND)
    columns = slice(max(0, across[0] - _ROUND), across[-1] + 1 + _ROUND)
    seen = features[:, cells].mean(axis=1)
    near = features[:, rows, columns].mean(axis=(1, 2))
    return np.concatenate([_unit(seen), _unit(near), maps[:, cells].max(axis=1)])


def _light(plate: ByteArray) -> FloatArray:
    """Return the brightness around each place, float32 (GRID, GRID): the brightest channel, smoothed over two places."""
    brightest = cv2.resize(plate.max(axis=2).astype(np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(brightest, (0, 0), 2.0), np.float32)


def _contrast(plate: ByteArray) -> FloatArray:
    """Return how much paler each pixel of the square is than its surroundings, in green, float32 (SIDE, SIDE)."""
    green = plate[..., 1].astype(np.float32)
    # The surroundings are smooth, so they are measured on the grid, which takes a fiftieth of the time.
    around = cv2.GaussianBlur(cv2.resize(green, (GRID, GRID), interpolation=cv2.INTER_AREA), (0, 0), _AROUND / STRIDE)
    return np.asarray(cv2.GaussianBlur(green, (0, 0), _FINE) - cv2.resize(around, (SIDE, SIDE)), np.float32)


def _strongest(name: str, values: FloatArray, contrast: FloatArray, frame: Frame) -> tuple[float, float, float]:
    """Return the highest probability of a kind, and the centre of that place in source pixels.

    The place is a cell, or several that are equally likely, see `_EQUAL`. Its centre is where the photograph is palest in these
    cells and half a cell around them, or darkest for blood, because a lesion may be much smaller than a cell.
    """
    likeliest = values >= values.max() - _EQUAL
    rows, columns = (np.flatnonzero(likeliest.any(axis=axis)) for axis in (1, 0))
    top, left = (max(0, STRIDE * int(own[0]) - STRIDE // 2) for own in (rows, columns))
    bottom, right = (STRIDE * int(own[-1] + 1) + STRIDE // 2 for own in (rows, columns))
    cells = cv2.resize(likeliest.astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    near = cv2.dilate(cells, _HALF_A_CELL)[top:bottom, left:right] > 0
    inner = contrast[top:bottom, left:right] * (1 if name in _PALE else -1)
    down, across = np.unravel_index(int(np.where(near, inner, -np.inf).argmax()), near.shape)
    scale = frame.side / SIDE
    y, x = frame.top + (top + int(down) + 0.5) * scale, frame.left + (left + int(across) + 0.5) * scale
    return float(values.max()), y, x


def _unit(values: FloatArray) -> FloatArray:
    return np.asarray(values / max(float(np.linalg.norm(values)), 1e-12), np.float32)
