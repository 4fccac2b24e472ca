"""A lesion net of fundus photographs: its network, where it marks a lesion, and what is known of it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import torch

from atlas.cohort.lesions import coarsely
from atlas.lesionnets.networks import GRID, SIDE, LesionModule, views
from atlas.lesionnets.protocol import Finding
from atlas.photographs.frames import Box, cell_box, cell_coverage, crop
from atlas.records import BoolArray, ByteArray, FloatArray, Frame, Mark

LEAST_SIDE = 600
"""Pixels across the retina below which a microaneurysm is too small to be seen: it has 60 to 100 micrometres, the retina that a
photograph shows about 13 millimetres, so that it would be 4 pixels across."""

_PARTED = 2.0  # how many times as strong one red kind has to be as the other for a lesion to bear its name

_ON_RETINA = 0.5  # share of a cell that must be retina

_ROUND = 3  # cells round a lesion that its descriptor takes in, too


@dataclass(frozen=True, eq=False)
class FundusLesionNet:
    """A `LesionNet` of the one network there is.

    Parameters
    ----------
    name : of its bundle.
    kinds : keys of `cohort.lesions.KINDS`, in the order of the network's maps.
    module : the network, in evaluation mode.
    thresholds : by kind, or by coarse kind where kinds make up one, the probability from which a cell is marked, 0 to 1.
    sha256 : of its weights and thresholds.
    card : the model card, Markdown.
    training, measured : facts of the recipe and of what was measured, plain JSON values.
    """

    name: str
    kinds: tuple[str, ...]
    module: LesionModule
    thresholds: Mapping[str, float]
    sha256: str
    card: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    measured: tuple[Mapping[str, Any], ...] = ()

    def find(self, photograph: ByteArray, frame: Frame, retina: BoolArray, *, factor: int = 1) -> Finding:
        """Find the lesions of a photograph, see `LesionNet.find`.

        factor : pixels of the source a side for each of the photograph's, where it was decoded at a part of its size. Boxes are
            in pixels of the source.
        """
        maps, features = self._seen(photograph, frame, retina)
        source = Frame(frame.top * factor, frame.left * factor, frame.side * factor)
        found = [one for name in marked(self.kinds) for one in self._mark(name, maps, features, source)]
        found.sort(key=lambda pair: (-pair[0].strength, pair[0].kind, pair[0].box))
        small = frozenset({"microaneurysm"} & set(self.kinds)) if source.side < LEAST_SIDE else frozenset()
        width = 2 * features.shape[0] + len(self.kinds)
        descriptors = np.array([described for _, described in found], np.float32).reshape(-1, width)
        return Finding(self.kinds, maps, tuple(mark for mark, _ in found), descriptors, small)

    def maps(self, photograph: ByteArray, frame: Frame, retina: BoolArray) -> FloatArray:
        """Return the probability of each kind in each cell of the frame, float32 (kinds, GRID, GRID); 0 off the retina."""
        return self._seen(photograph, frame, retina)[0]

    def _seen(self, photograph: ByteArray, frame: Frame, retina: BoolArray) -> tuple[FloatArray, FloatArray]:
        """Return the maps, and the features that they are read from, (c, GRID, GRID)."""
        plate = crop(photograph, frame, SIDE)
        shown = crop(retina.astype(np.uint8) * np.uint8(255), frame, SIDE) >= 128
        with torch.inference_mode():
            seen = views(
                torch.from_numpy(plate).permute(2, 0, 1)[None].float() / 255, torch.from_numpy(shown)[None, None].float()
            )
            features = self._runner.features(seen.contiguous(memory_format=torch.channels_last))
            maps: FloatArray = torch.sigmoid(self._runner.kinds(features))[0].contiguous().numpy()
        return maps * (cell_coverage(shown, (GRID, GRID)) >= _ON_RETINA), features[0].contiguous().numpy()

    @cached_property
    def _runner(self) -> LesionModule:
        return copy.deepcopy(self.module).eval().to(memory_format=torch.channels_last)

    def _mark(self, name: str, maps: FloatArray, features: FloatArray, frame: Frame) -> list[tuple[Mark, FloatArray]]:
        """Mark the lesions of a kind or a coarse kind: cells above its threshold that touch, corners too, are one lesion."""
        found = []
        whole = together(self.kinds, maps, name)
        count, numbers, places, _ = cv2.connectedComponentsWithStats((whole >= self.thresholds[name]).astype(np.uint8))
        for number in range(1, count):
            own = numbers == number
            left, top, width, height = (int(value) for value in places[number][:4])
            box = _box(frame, top, left, height, width)
            strength = round(float(whole[own].max()), 4)
            rows = slice(max(0, top - _ROUND), top + height + _ROUND)
            columns = slice(max(0, left - _ROUND), left + width + _ROUND)
            described = np.concatenate(
                [
                    _unit(features[:, own].mean(axis=1)),
                    _unit(features[:, rows, columns].mean(axis=(1, 2))),
                    maps[:, own].max(axis=1),
                ]
            )
            found.append((Mark(self._named(name, maps[:, own]), box, strength), described))
        return found

    def _named(self, name: str, cells: FloatArray) -> str:
        """Name the kind that a lesion of a coarse kind is, if one stands out; cells (kinds, n)."""
        sums = {kind: float(cells[row].sum()) for row, kind in enumerate(self.kinds) if coarsely(kind) == name}
        first, *others = sorted(sums, key=lambda kind: -sums[kind])
        return first if all(sums[first] >= _PARTED * sums[other] for other in others) else name


def marked(kinds: Sequence[str]) -> tuple[str, ...]:
    """Return what is marked of kinds of lesion: each, or the coarse kind in place of those that make it up."""
    return tuple(dict.fromkeys(coarsely(kind) for kind in kinds))


def together(kinds: Sequence[str], maps: FloatArray, name: str) -> FloatArray:
    """Return the probability (h, w) that a cell holds some lesion of a kind or a coarse kind, of maps (kinds, h, w)."""
    rows = [row for row, kind in enumerate(kinds) if name in (kind, coarsely(kind))]
    none: FloatArray = np.prod(1.0 - maps[rows], axis=0, dtype=np.float32)
    return np.asarray(1.0 - none, np.float32)


def _box(frame: Frame, top: int, left: int, height: int, width: int) -> Box:
    first = cell_box(frame, (GRID, GRID), top, left)
    last = cell_box(frame, (GRID, GRID), top + height - 1, left + width - 1)
    return first[0], first[1], last[2], last[3]


def _unit(values: FloatArray) -> FloatArray:
    return np.asarray(values / max(float(np.linalg.norm(values)), 1e-12), np.float32)
