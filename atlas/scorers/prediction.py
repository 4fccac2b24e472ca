"""Predictions: what a scorer found in one photograph in one forward pass.

All code that explains, evaluates or shows a score uses a `Prediction` and nothing below it: it does not know which network, head
or readout made the score. `LinearPrediction` serves all readouts whose first layer is linear in cells, and hides cells exactly by
subtracting their sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from atlas.records import BoolArray, FloatArray, LiveSums, Target
from atlas.scorers.readouts import Classifier, Readout, cell_sums, first_sums, gradcam_by_grade, gradcam_map, over_retina

_MANY_CELLS, _FEW = 2000, 0.05
"""On grids of more cells than this, masks that hide less than this share of the cells are handled as sparse matrices."""


class Prediction(Protocol):
    """What a scorer found in one photograph. Severities and probabilities are kept by the names of the scorer's targets."""

    @property
    def severity(self) -> Mapping[str, float]:
        """Severity by target, in grade units."""

    @property
    def probabilities(self) -> Mapping[str, FloatArray]:
        """Probabilities by target, float32 (K,) for the scale's K grades; (0,) if the scorer has no classifier."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of cells that can be hidden."""

    @property
    def pooled(self) -> FloatArray:
        """Mean of the last maps over the retina, float32 (C,)."""

    def without(self, target: str, masks: BoolArray) -> FloatArray:
        """Score again with cells hidden, that is set to zero in all channels of the last maps.

        Parameters
        ----------
        target : str
            Name of a target.
        masks : BoolArray
            bool (k, h, w), true where a cell is hidden.

        Returns
        -------
        FloatArray
            Severities, float32 (k,), in grade units.
        """

    def logit(self, target: str) -> float:
        """Return the logit whose sigmoid is the severity's place on the scale, 0..1."""

    def logits_without(self, target: str, masks: BoolArray) -> FloatArray:
        """Return the logits of the severities with cells hidden, float32 (k,), see `logit` and `without`."""

    def members(self, target: str) -> FloatArray:
        """Return the logit of each of the scorer's networks alone, float32 (m,); (0,) if it has one network."""

    def gradcam(self, target: str) -> FloatArray:
        """Return the Grad-CAM map, float32 (h, w), signed, in logits.

        It explains a sigmoid's logit, or the logits of a softmax, see `readouts.explained_weights`: neither saturates.
        """

    def gradcam_by_grade(self, target: str) -> FloatArray:
        """Return the Grad-CAM map of each grade alone, float32 (K, h, w), signed: of its logit, before the softmax.

        It is (0, h, w) if the scorer has no output for each grade.
        """

    def attention(self, target: str) -> FloatArray | None:
        """Return how much of the network's attention each cell gets, float32 (h, w), as a multiple of the mean.

        It is None if the network has no attention over places.
        """

    def points(self, target: str) -> FloatArray:
        """Return the most important point of each cell, float32 (h, w, 2): row and column, 0..1 within the cell.

        It is the centre, 0.5, unless the scorer sees finer places than the cells that can be hidden.
        """

    def live(self, target: str) -> LiveSums | None:
        """Return what a page needs to score with cells hidden, or None if a page cannot do that."""

    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """Return the arrays that the store keeps; the scorer's `restore` makes the same prediction from them."""


@dataclass(frozen=True, eq=False)
class LinearPrediction:
    """A prediction by a readout whose first layer is linear in cells: z = bias + sum_c s_c.

    Parameters
    ----------
    target : Target
        What is graded.
    readout : Readout
        Maps z to a severity.
    sums : FloatArray
        float32 (h*w, H), what each cell adds to z, row-major.
    cam : FloatArray
        float32 (h, w), the Grad-CAM map in logits.
    shares : FloatArray
        float32 (K,), probabilities of the grades, or (0,) without a classifier.
    pooled : FloatArray
        float32 (C,), see `Prediction`.
    cams : FloatArray or None
        float32 (K, h, w), the Grad-CAM map of each grade, if the readout is a softmax.
    """

    target: Target
    readout: Readout
    sums: FloatArray
    cam: FloatArray
    shares: FloatArray
    pooled: FloatArray
    cams: FloatArray | None = field(default=None, kw_only=True)

    @property
    def grid(self) -> tuple[int, int]:
        return int(self.cam.shape[0]), int(self.cam.shape[1])

    @cached_property
    def _sums(self) -> NDArray[np.float64]:
        return self.sums.astype(np.float64)

    @cached_property
    def whole(self) -> NDArray[np.float64]:
        """First-layer sums z of the photograph with nothing hidden, (H,)."""
        return np.asarray(self.readout.hidden_bias + self._sums.sum(axis=0))

    @cached_property
    def severity(self) -> Mapping[str, float]:
        return {self.target.name: float(self.readout.severity(self.whole, self.target.scale))}

    @property
    def probabilities(self) -> Mapping[str, FloatArray]:
        return {self.target.name: self.shares}

    def without(self, target: str, masks: BoolArray) -> FloatArray:
        return self.readout.severity(self._hidden(masks), self.target.scale)

    def logits_without(self, target: str, masks: BoolArray) -> FloatArray:
        return self.readout.sigmoid_logit(self._hidden(masks), self.target.scale)

    def _hidden(self, masks: BoolArray) -> NDArray[np.float64]:
        """Return the first-layer sums z with the cells of each mask hidden, (k, H)."""
        if masks.shape[1:] != self.grid:
            raise ValueError(f"masks are {masks.shape}, expected (k, h, w) with (h, w) = {self.grid}")
        hidden = masks.reshape(len(masks), -1)
        if hidden.shape[1] > _MANY_CELLS and np.count_nonzero(hidden) < _FEW * hidden.size:
            return np.asarray(self.whole - _sparse(hidden) @ self._sums)
        return np.asarray(self.whole - hidden.astype(np.float64) @ self._sums)

    def logit(self, target: str) -> float:
        return float(self.readout.sigmoid_logit(self.whole, self.target.scale))

    def members(self, target: str) -> FloatArray:
        return self.readout.members(self.whole)

    def gradcam(self, target: str) -> FloatArray:
        return self.cam

    def gradcam_by_grade(self, target: str) -> FloatArray:
        return np.zeros((0, *self.grid), np.float32) if self.cams is None else self.cams

    def attention(self, target: str) -> FloatArray | None:
        return None

    def points(self, target: str) -> FloatArray:
        return middles(self.grid)

    def live(self, target: str) -> LiveSums | None:
        last = self.readout.one_output
        return None if last is None else LiveSums(self.grid, ((self.grid, self._sums),), self.whole, *last)

    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        own = {"sums": self.sums, "gradcam": self.cam, "shares": self.shares, "pooled": self.pooled}
        return own if self.cams is None else {**own, "gradcam_by_grade": self.cams}


def _sparse(masks: BoolArray) -> csr_array:
    """Return masks (k, n) as a sparse matrix of ones; `csr_array` itself would find the true entries far more slowly."""
    rows, columns = np.divmod(np.flatnonzero(masks), masks.shape[1])
    ends = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(masks)))])
    return csr_array((np.ones(len(columns)), columns, ends), shape=masks.shape)


def middles(grid: tuple[int, int]) -> FloatArray:
    """Return the centres of cells, see `Prediction.points`."""
    return np.full((*grid, 2), 0.5, np.float32)


def read_maps(
    maps: FloatArray,
    readout: Readout,
    target: Target,
    *,
    coverage: FloatArray | None = None,
    classifier: Classifier | None = None,
) -> LinearPrediction:
    """Read last maps (C, h, w).

    Parameters
    ----------
    coverage : FloatArray or None
        float32 (h, w), share of each cell that is retina; 1 everywhere if not given.
    classifier : Classifier or None
        Gives the grades' probabilities; a softmax readout gives its own.

    Raises
    ------
    ScorerError
        If the maps do not have the readout's shape.
    """
    sums = cell_sums(maps, readout)
    z = np.asarray(readout.hidden_bias + sums.sum(axis=0, dtype=np.float64))
    if isinstance(readout, Classifier):
        shares = readout.probabilities(z)
    else:
        shares = np.zeros(0, np.float32) if classifier is None else classifier.probabilities(first_sums(maps, classifier))
    pooled = over_retina(maps, np.ones(maps.shape[1:], np.float32) if coverage is None else coverage)
    cams = gradcam_by_grade(maps, readout, z) if isinstance(readout, Classifier) else None
    return LinearPrediction(target, readout, sums, gradcam_map(maps, readout, z), shares, pooled, cams=cams)
