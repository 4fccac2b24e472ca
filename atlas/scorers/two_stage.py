"""Two stages: lesions first, then the grade (METHOD section 8).

A lesion net looks at the photograph first. In the plain form, `lesions`, a head reads what it found, by kind and region; in the
published form, `weighted`, its findings weight the picture, and a second network grades the weighted picture.

The plain form reads nothing else. On the validation parts of EyePACS in colour, Messidor-2 and IDRiD together, the AUC for
referable disease was 0.907 with lesions alone, 0.892 with lesions and the net's own features, and 0.860 with these features
alone. By set, lesions alone lost 0.001 on EyePACS and gained 0.014 and 0.003 on the others.
The head's training was stopped by the same photographs, so these figures are overstated.

In the form `counts` the head reads how many cells hold each kind, in any region, and more of a kind never lowers the score: then
hiding a cell never raises the score, and the map lies on lesions. The order of the scores is worse: the AUC on the validation
parts of the three sets is 0.653, 0.857 and 0.962. Combined with `eyepacs-pair` (`scorers.side_by_side`) it improves the last two
and changes little on the first.

Hiding a place means the following. In the plain form, hiding a cell removes the lesions that were found there, and nothing else.
In the published form, a cell of the second network's maps is hidden; the lesion net has already weighted the picture, and is not
run again.
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
"""Rows and columns of cells in the plain form's maps."""

RINGS = (1 / 3, 2 / 3)
"""Shares of the radius that separate the regions: the centre of the retina, a ring around it, and the periphery."""

_LIKELY = 0.5  # share of the probability from which a lesion is marked

_SQUARE = 2  # cells a side of the published form's squares; their stride is one cell, so half of each overlaps the next

_CLASSES = (("microaneurysm",), ("haemorrhage",), ("hard_exudate", "cotton_wool_spot"))
"""Names of squares that are not normal, the study's labels 1 to 3; the study counts cotton wool spots as exudates."""


@dataclass(frozen=True, eq=False)
class TwoStageScorer(OneTarget, Background):
    """A lesion net, and a head that reads its findings.

    Parameters
    ----------
    name : str
        Name of the scorer.
    net : FundusLesionNet
        Finds lesions.
    head : Head
        Maps the maps of the second stage to a severity.
    scale : Scale
        Scale of the severities.
    trunk : Trunk or None
        The published form's trunk, which makes maps of the weighted picture; None in the plain form.
    """

    kind: ClassVar[str] = "two-stage"
    needs: ClassVar[frozenset[str]] = frozenset()
    networks: ClassVar[int] = 1
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
    def patch_size(self) -> int:
        return SIDE if self.trunk is None else self.trunk.patch_size

    @property
    def grid(self) -> tuple[int, int]:
        return (CELLS, CELLS) if self.trunk is None else self.trunk.shape

    @property
    def channels(self) -> int:
        """Length of a patch's descriptor: in the plain form, the number of features that the lesion net uses."""
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
        """Return the maps of a photograph that the head reads, float32 (C, h, w)."""
        strengths, _ = self.net.looked(photograph.photograph, photograph.retina)
        if self.trunk is None:
            return plain_maps(likely(self.net, strengths))
        weights = lesion_weights(self.net.kinds, strengths)
        picture = weighted_picture(photograph.photograph, photograph.retina, weights, self.trunk.size)
        own: FloatArray = self.trunk.maps(picture[None])[0]
        return own

    def describe(self, crops: ByteArray) -> FloatArray:
        if self.trunk is not None:
            return self.trunk.describe(crops)
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
    """A prediction by one network, even if each hidden unit of its head reads different maps."""

    def members(self, target: str) -> FloatArray:
        return np.zeros(0, np.float32)


def _one_network(found: LinearPrediction) -> LinearPrediction:
    return _OneNetwork(found.target, found.readout, found.sums, found.cam, found.shares, found.pooled)


def likely(net: FundusLesionNet, strengths: FloatArray) -> FloatArray:
    """Return probabilities (kinds, h, w), set to 0 below half of the probability from which a lesion is marked.

    With another camera, a rare kind can have a low probability everywhere, which standardised channels would exaggerate.
    """
    least = np.array([_LIKELY * net.thresholds.get(coarsely(kind), np.inf) for kind in net.kinds], np.float32)
    return np.where(strengths >= least[:, None, None], strengths, np.float32(0))


def plain_channels(kinds: Sequence[str]) -> int:
    """Return the number of `plain_maps` for these kinds."""
    return 2 * (len(RINGS) + 1) * len(kinds)


def counts(kinds: Sequence[str]) -> list[list[int]]:
    """Return which `plain_maps` together count the lesions of each kind that the net marks: the highest ones, in any region."""
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
    """Summarise what a lesion net found in CELLS x CELLS cells: float32 (C, CELLS, CELLS).

    The channels of each region are the mean and then the highest probability of each kind in the cell, 0 outside the region.
    Their sums over all cells are areas and counts, weighted by how sure the net is, if lesions are no larger than a cell.

    Parameters
    ----------
    strengths : FloatArray
        float32 (kinds, FINE, FINE), 0 to 1.
    """
    mean, highest = _pooled(strengths)
    regions = _regions()
    return np.concatenate([own * region for region in regions for own in (mean, highest)]).astype(np.float32)


def _in_cells(values: FloatArray) -> FloatArray:
    """Return values (c, FINE, FINE) as (c, CELLS, k, CELLS, k)."""
    k = FINE // CELLS
    return values.reshape(len(values), CELLS, k, CELLS, k)


def _pooled(strengths: FloatArray) -> tuple[FloatArray, FloatArray]:
    cells = _in_cells(strengths)
    return cells.mean(axis=(2, 4)), cells.max(axis=(2, 4))


def _regions() -> BoolArray:
    """Return the regions of RINGS, bool (3, CELLS, CELLS)."""
    middles = (np.arange(CELLS) + 0.5) / CELLS * 2 - 1
    away = np.hypot(middles[:, None], middles)
    return np.stack([away < RINGS[0], (away >= RINGS[0]) & (away < RINGS[1]), away >= RINGS[1]])


def lesion_weights(kinds: Sequence[str], strengths: FloatArray) -> FloatArray:
    """Return the published form's weights of each cell, float32 (CELLS, CELLS): (L + 1) * P.

    L is the class of a square, from 0 (normal) to 3 (exudate), and P the probability of that class. Each square's weight is
    spread over its cells and averaged where squares overlap. The probability of a class in a square is the highest one of its
    places.

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

    Mid-grey means no local contrast; the difference from mid-grey is multiplied.
    """
    small = cv2.resize(photograph, (side, side), interpolation=cv2.INTER_AREA)
    shown = cv2.resize(retina.astype(np.uint8), (side, side), interpolation=cv2.INTER_AREA) > 0
    contrast = normalised_pixels(np.asarray(small, np.uint8), shown, "local-contrast").astype(np.float32) - SURROUND
    spread = cv2.resize(weights, (side, side), interpolation=cv2.INTER_LINEAR)
    picture = np.clip(SURROUND + contrast * spread[..., None], 0, 255)
    return np.where(shown[..., None], np.rint(picture).astype(np.uint8), np.uint8(SURROUND))
