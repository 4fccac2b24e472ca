"""Two stages: lesions first, then the grade (METHOD section 8).

A lesion net looks at the photograph first. In the plain form, `lesions`, a head reads what it found, by kind and region; in the
published form, `weighted`, its findings weigh the picture, and a second network grades that.

The plain form reads nothing else. On the validation parts of EyePACS in colour, Messidor-2 and IDRiD together, AUC of referable
disease was 0.907 by lesions alone, 0.892 with the net's own features beside them, and 0.860 by those alone; by set, lesions alone
lost 0.001 on EyePACS and won 0.014 and 0.003 on the others. These figures are of a head that was stopped by the same photographs.

Where the head `counts`, it reads how many cells hold each kind, in any region, and more of a kind never lowers the score: then no
cell that is hidden raises it, and its map lies on lesions. That costs it some of its order: AUC on the validation parts of the
three sets, one by one, 0.653, 0.857 and 0.962. Beside `eyepacs-pair` (`scorers.side_by_side`) it wins on the last two and changes
little on the first.

What hiding a place means. In the plain form a cell takes with it the lesions that were found there, and nothing else. In the
published form a cell of the second network's maps is hidden, which had been weighed by lesions before: the first stage is not run
again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.cohort.lesions import coarsely
from atlas.lesionnets.fundus import FundusLesionNet, marked
from atlas.lesionnets.networks import GRID as FINE
from atlas.lesionnets.networks import SIDE, LesionModule
from atlas.photographs.frames import cell_coverage
from atlas.photographs.preparations import SURROUND, normalised_pixels
from atlas.records import BoolArray, ByteArray, Facts, FloatArray, Preprocessed, Scale, TwoStageForm
from atlas.scorers.prediction import LinearPrediction, read_maps
from atlas.scorers.protocol import Background, OneTarget, scale_facts
from atlas.scorers.readouts import Head
from atlas.scorers.scrambled import scrambled_module, scrambled_readout, scrambled_trunk
from atlas.scorers.trunks import Trunk, unit_length

CELLS = 32
"""Rows and columns of the plain form's maps."""

RINGS = (1 / 3, 2 / 3)
"""Shares of the radius that part the regions: the middle of the retina, a ring round it, and the periphery."""

_LIKELY = 0.5  # share of the probability that marks a lesion

_SQUARE = 2  # cells a side of the published form's squares; their stride is one cell, so half of each overlaps the next

_CLASSES = (("microaneurysm",), ("haemorrhage",), ("hard_exudate", "cotton_wool_spot"))
"""What squares are called beside normal, in the order of the study's labels 1 to 3; cotton wool passes for exudate there."""


@dataclass(frozen=True, eq=False)
class TwoStageScorer(OneTarget, Background):
    """A lesion net, and what reads its findings.

    Parameters
    ----------
    name : str
        Of the scorer.
    net : FundusLesionNet
        Finds lesions.
    head : Head
        Reads the maps of the second stage.
    scale : Scale
        Of the severities.
    trunk : Trunk or None
        Of the published form, whose maps of the weighted picture the head reads; None in the plain form.
    """

    kind: ClassVar[str] = "two-stage"
    needs: ClassVar[frozenset[str]] = frozenset()
    preparation: ClassVar[str] = "none"
    size: ClassVar[int] = SIDE

    name: str
    net: FundusLesionNet
    head: Head
    scale: Scale
    trunk: Trunk | None = None

    @property
    def form(self) -> TwoStageForm:
        return "lesions" if self.trunk is None else "weighted"

    @property
    def grid(self) -> tuple[int, int]:
        return (CELLS, CELLS) if self.trunk is None else self.trunk.shape

    @property
    def channels(self) -> int:
        """Length of a patch's descriptor: in the plain form, the features that the lesion net's kinds are read from."""
        return self.net.width if self.trunk is None else self.trunk.channels

    @property
    def network(self) -> str:
        return f"two stages, {self.form}: {self.net.name}" + ("" if self.trunk is None else f", {self.trunk.name}")

    @property
    def weights_sha256(self) -> str:
        own = self.net.sha256 if self.trunk is None else f"{self.net.sha256} {self.trunk.sha256} {self.trunk.size}"
        return hashlib.sha256(own.encode()).hexdigest()

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256(json.dumps([self.weights_sha256, self.grid, scale_facts(self.scale)]).encode())
        for array in (self.head.hidden_weight, self.head.hidden_bias, self.head.output_weight):
            digest.update(f"{array.shape}".encode())
            digest.update(np.ascontiguousarray(array, np.float32).tobytes())
        digest.update(f"{self.head.output_bias:.9g}".encode())
        return digest.hexdigest()

    def predict(self, photographs: Sequence[Preprocessed], facts: Sequence[Facts] = ()) -> list[LinearPrediction]:
        return [
            _one_network(read_maps(self.maps(one), self.head, self.targets[0], coverage=cell_coverage(one.retina, self.grid)))
            for one in photographs
        ]

    def maps(self, photograph: Preprocessed) -> FloatArray:
        """Return what the head reads of a photograph, float32 (C, h, w)."""
        strengths, _ = self.net.looked(photograph.photograph, photograph.retina)
        if self.trunk is None:
            return plain_maps(likely(self.net, strengths))
        weights = lesion_weights(self.net.kinds, strengths)
        picture = weighted_picture(photograph.photograph, photograph.retina, weights, self.trunk.size)
        own: FloatArray = self.trunk.maps(picture[None])[0]
        return own

    def describe(self, crops: ByteArray) -> FloatArray:
        if self.trunk is not None:
            side = self.trunk.size
            return self.trunk.describe(np.stack([cv2.resize(one, (side, side), interpolation=cv2.INTER_AREA) for one in crops]))
        whole: BoolArray = np.ones((SIDE, SIDE), np.bool_)
        return unit_length(np.stack([self.net.looked(one, whole)[1].mean(axis=(1, 2), dtype=np.float64) for one in crops]))

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> LinearPrediction:
        sums, cam, shares, pooled = (arrays[name] for name in ("sums", "gradcam", "shares", "pooled"))
        return _OneNetwork(self.targets[0], self.head, sums, cam, shares, pooled)

    def scrambled(self, seed: int, *, head_alone: bool = False) -> TwoStageScorer:
        head = scrambled_readout(self.head, seed)
        assert isinstance(head, Head)
        if head_alone:
            return replace(self, head=head)
        own = hashlib.sha256(f"{self.net.sha256} scrambled by {seed}".encode()).hexdigest()
        module = scrambled_module(self.net.module, seed)
        assert isinstance(module, LesionModule)
        net = replace(self.net, module=module, sha256=own)
        trunk = None if self.trunk is None else scrambled_trunk(self.trunk, seed)
        return replace(self, head=head, net=net, trunk=trunk)

    def on(self, scale: Scale) -> TwoStageScorer:
        return replace(self, scale=scale)


class _OneNetwork(LinearPrediction):
    """A prediction of a head whose hidden units may read maps of their own, and are one network all the same."""

    def members(self, target: str) -> FloatArray:
        return np.zeros(0, np.float32)


def _one_network(found: LinearPrediction) -> LinearPrediction:
    return _OneNetwork(found.target, found.readout, found.sums, found.cam, found.shares, found.pooled)


def likely(net: FundusLesionNet, strengths: FloatArray) -> FloatArray:
    """Return probabilities (kinds, h, w), 0 where they lie below half of what marks a lesion.

    Standardised channels would make much of the faint glow that another camera can give a rare kind everywhere.
    """
    least = np.array([_LIKELY * net.thresholds[coarsely(kind)] for kind in net.kinds], np.float32)
    return np.where(strengths >= least[:, None, None], strengths, np.float32(0))


def plain_channels(kinds: Sequence[str]) -> int:
    """Return the number of `plain_maps` of so many kinds."""
    return 2 * (len(RINGS) + 1) * len(kinds)


def counts(kinds: Sequence[str]) -> list[list[int]]:
    """Return which of `plain_maps` together count the lesions of each kind that the net marks: the highest, in any region."""
    own = 2 * len(kinds)
    return [
        [
            region * own + len(kinds) + row
            for region in range(len(RINGS) + 1)
            for row, kind in enumerate(kinds)
            if name in (kind, coarsely(kind))
        ]
        for name in marked(kinds)
    ]


def plain_maps(strengths: FloatArray) -> FloatArray:
    """Lay what a lesion net found on CELLS x CELLS cells: float32 (C, CELLS, CELLS).

    Channels are, by region, the mean and then the highest probability of each kind in the cell, 0 outside the region. Their sums
    over all cells are areas and counts, as far as lesions are no larger than a cell, weighed by how sure the net is.

    Parameters
    ----------
    strengths : FloatArray
        float32 (kinds, FINE, FINE), 0 to 1.
    """
    mean, highest = _pooled(strengths)
    regions = _regions()
    return np.concatenate([own * region for region in regions for own in (mean, highest)]).astype(np.float32)


def _in_cells(values: FloatArray) -> FloatArray:
    """Values (c, FINE, FINE) as (c, CELLS, k, CELLS, k)."""
    k = FINE // CELLS
    return values.reshape(len(values), CELLS, k, CELLS, k)


def _pooled(strengths: FloatArray) -> tuple[FloatArray, FloatArray]:
    cells = _in_cells(strengths)
    return cells.mean(axis=(2, 4)), cells.max(axis=(2, 4))


def _regions() -> BoolArray:
    """The regions of RINGS, bool (3, CELLS, CELLS)."""
    middles = (np.arange(CELLS) + 0.5) / CELLS * 2 - 1
    away = np.hypot(middles[:, None], middles)
    return np.stack([away < RINGS[0], (away >= RINGS[0]) & (away < RINGS[1]), away >= RINGS[1]])


def lesion_weights(kinds: Sequence[str], strengths: FloatArray) -> FloatArray:
    """Return the published form's weights of each cell, float32 (CELLS, CELLS): (L + 1) * P.

    L is what a square is called, 0 normal to 3 exudate, and P the probability of that; each square's weight is spread over its
    cells and averaged where squares overlap. A square is of a class as surely as the surest place in it.

    Parameters
    ----------
    strengths : FloatArray
        float32 (kinds, FINE, FINE), 0 to 1.
    """
    _, highest = _pooled(strengths)
    rows = [[kinds.index(kind) for kind in own if kind in kinds] for own in _CLASSES]
    called = np.stack([highest[own].max(axis=0) if own else np.zeros((CELLS, CELLS), np.float32) for own in rows])
    squares = np.lib.stride_tricks.sliding_window_view(called, (_SQUARE, _SQUARE), axis=(1, 2)).max(axis=(-2, -1))
    classes = np.concatenate([np.prod(1 - squares, axis=0)[None], squares])
    label = classes.argmax(axis=0)
    weight = (label + 1) * classes.max(axis=0)
    total, count = np.zeros((CELLS, CELLS)), np.zeros((CELLS, CELLS))
    for down in range(_SQUARE):
        for across in range(_SQUARE):
            place = (slice(down, down + weight.shape[0]), slice(across, across + weight.shape[1]))
            total[place] += weight
            count[place] += 1
    return np.asarray(total / count, np.float32)


def weighted_picture(photograph: ByteArray, retina: BoolArray, weights: FloatArray, side: int) -> ByteArray:
    """Multiply a photograph's local contrast by weights (CELLS, CELLS): uint8 (side, side, 3), SURROUND off the retina.

    Local contrast lies about mid-grey, which stands for 0; what is multiplied is how far a place is off it.
    """
    small = cv2.resize(photograph, (side, side), interpolation=cv2.INTER_AREA)
    shown = cv2.resize(retina.astype(np.uint8), (side, side), interpolation=cv2.INTER_AREA) > 0
    contrast = normalised_pixels(np.asarray(small, np.uint8), shown, "local-contrast").astype(np.float32) - SURROUND
    spread = cv2.resize(weights, (side, side), interpolation=cv2.INTER_LINEAR)
    picture = np.clip(SURROUND + contrast * spread[..., None], 0, 255)
    return np.where(shown[..., None], np.rint(picture).astype(np.uint8), np.uint8(SURROUND))
