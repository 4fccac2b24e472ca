"""Readouts: from last maps to a severity.

A readout's first layer is linear in cells, z = bias + sum_c W_c x_c, so hiding cells only subtracts their sums from z; the rest
is small. The first layer has either one matrix for all cells (pooled) or weights for each cell. The last layer ends in a sigmoid
(`Head`) or in a softmax over the grades (`Classifier`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from threadpoolctl import ThreadpoolController

from atlas.errors import ScorerError
from atlas.records import FloatArray, Scale


class Readout(Protocol):
    """Two layers on last maps: the first linear in cells, the second from its sums z to a severity."""

    @property
    def hidden_weight(self) -> FloatArray:
        """Weights of the first layer, float32 (H, C, h, w), or (H, C, 1, 1) if they are the same for all cells."""

    @property
    def hidden_bias(self) -> FloatArray:
        """Bias of the first layer, float32 (H,)."""

    @property
    def pooled(self) -> bool:
        """Whether one matrix is used for all cells."""

    @property
    def by_cell(self) -> FloatArray:
        """Weights of the first layer for each cell, (h*w, C, H)."""

    @property
    def mean_weight(self) -> NDArray[np.float64]:
        """Mean of the first layer's weights over all cells, (H, C)."""

    def severity(self, z: NDArray[np.floating], scale: Scale) -> FloatArray:
        """Map first-layer sums (..., H) to severities (...) in grade units."""

    def sigmoid_logit(self, z: NDArray[np.floating], scale: Scale) -> FloatArray:
        """Map first-layer sums (..., H) to the logits (...) whose sigmoid is the severity's place on the scale."""

    def members(self, z: NDArray[np.floating]) -> FloatArray:
        """Return the logit of each network alone from first-layer sums (H,): (m,), or (0,) if there is one network."""

    def slope(self, z: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the gradient by z, (H,), of the output that Grad-CAM explains, at first-layer sums z (H,)."""

    @property
    def one_output(self) -> tuple[FloatArray, float] | None:
        """Return weight (H,) and bias of a single sigmoid output, which a page can compute; None for any other last layer."""


def cell_sums(maps: FloatArray, readout: Readout) -> FloatArray:
    """Return what each cell of last maps (C, h, w) adds to a readout's first layer, s_c = W_c x_c: float32 (h*w, H), row-major.

    Each photograph is processed alone and by one thread, so its sums are the same to the last bit whatever else is processed.

    Raises
    ------
    ScorerError
        If the maps do not have the readout's shape.
    """
    channels, rows, columns = maps.shape
    expected = readout.hidden_weight.shape[1:]
    if maps.shape != expected and expected != (channels, 1, 1):
        raise ScorerError(
            f"the head takes maps of shape {tuple(expected)}, not {tuple(maps.shape)}", "use the trunk it was trained on"
        )
    x = np.ascontiguousarray(maps.reshape(channels, rows * columns).T, np.float32)
    weight = readout.hidden_weight
    with _blas().limit(limits=1, user_api="blas"):
        sums = x @ weight[:, :, 0, 0].T if readout.pooled else np.matmul(x[:, None], readout.by_cell)[:, 0]
    return np.ascontiguousarray(sums, np.float32)


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


class _FirstLayer:
    """What all readouts have in common."""

    hidden_weight: FloatArray

    @property
    def pooled(self) -> bool:
        """Whether one matrix is used for all cells, as in a head that learned on means over all cells."""
        return self.hidden_weight.shape[2:] == (1, 1)

    @cached_property
    def by_cell(self) -> FloatArray:
        """The weights for each cell, (h*w, C, H)."""
        hidden, channels = self.hidden_weight.shape[:2]
        return np.ascontiguousarray(self.hidden_weight.reshape(hidden, channels, -1).transpose(2, 1, 0), np.float32)

    @cached_property
    def mean_weight(self) -> NDArray[np.float64]:
        """The weights' mean over all cells, (H, C)."""
        return np.asarray(self.hidden_weight.mean(axis=(2, 3), dtype=np.float64))


def gradcam_map(maps: FloatArray, readout: Readout, z: NDArray[np.floating]) -> FloatArray:
    """Weight each of the maps (C, h, w) by the spatial mean of the gradient and add them up: float32 (h, w), signed.

    Source: Selvaraju et al., "Grad-CAM", ICCV 2017, equations 1 and 2, without the ReLU, which is applied when drawing.

    Parameters
    ----------
    z : NDArray[np.floating]
        (H,), the readout's first-layer sums of these maps.
    """
    # The gradient by x is W1^T slope; W1 is averaged over its cells first, which gives the same mean and is far smaller.
    weights = readout.slope(z) @ readout.mean_weight
    found: FloatArray = np.einsum("c,chw->hw", weights, maps).astype(np.float32)
    return found


def gradcam_by_grade(maps: FloatArray, classifier: Classifier, z: NDArray[np.floating]) -> FloatArray:
    """Return the Grad-CAM map of each grade's logit, as `gradcam_map` does of the score: float32 (K, h, w), signed."""
    weights = np.where(z > 0, classifier.output_weight, 0.0) @ classifier.mean_weight
    return np.asarray(np.einsum("kc,chw->khw", weights, maps), np.float32)


def over_retina(maps: FloatArray, coverage: FloatArray) -> FloatArray:
    """Average maps (C, h, w) over the retina, float32 (C,).

    Parameters
    ----------
    coverage : FloatArray
        (h, w), share of each cell that is retina.
    """
    share = coverage if coverage.any() else np.ones_like(coverage)
    means: FloatArray = (
        np.tensordot(maps.astype(np.float64), share.astype(np.float64), axes=2) / share.sum(dtype=np.float64)
    ).astype(np.float32)
    return means


def first_sums(maps: FloatArray, readout: Readout) -> NDArray[np.float64]:
    """Return a readout's first-layer sums z of last maps (C, h, w), with nothing hidden: float64 (H,)."""
    return np.asarray(readout.hidden_bias + cell_sums(maps, readout).sum(axis=0, dtype=np.float64))


@dataclass(frozen=True)
class Head(_FirstLayer):
    """The two-layer regressor on a trunk's maps: z = hidden_bias + sum_c W_c x_c, logit = output_bias + output_weight . relu(z).

    The severity is the sigmoid of the logit, mapped to the scale.

    Parameters
    ----------
    hidden_weight : FloatArray
        float32 (H, C, h, w), or (H, C, 1, 1) if the weights are the same for all cells: one matrix for every cell of maps of any
        size, see `pooled`.
    hidden_bias : FloatArray
        float32 (H,).
    output_weight : FloatArray
        float32 (H,).
    output_bias : float
        Bias of the logit.
    """

    hidden_weight: FloatArray
    hidden_bias: FloatArray
    output_weight: FloatArray
    output_bias: float

    @cached_property
    def _parts(self) -> NDArray[np.bool_]:
        """Hidden units of each of m networks side by side, which read maps that the others do not, (m, H); (0, H) for one."""
        reads = (self.hidden_weight != 0).any(axis=(2, 3)).astype(np.float32)
        count, part = connected_components(reads @ reads.T > 0)
        return np.asarray(np.arange(count if count > 1 else 0)[:, None] == part)

    def members(self, z: NDArray[np.floating]) -> FloatArray:
        """Return the logit of each network side by side alone, (m,), up to a constant for each; (0,) if there is one network."""
        parts = self._parts
        return np.asarray(len(parts) * (parts * self.output_weight) @ np.maximum(z, 0.0) + self.output_bias, np.float32)

    def slope(self, z: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the gradient of the logit by z, (H,)."""
        return np.where(z > 0, self.output_weight, 0.0)

    @property
    def one_output(self) -> tuple[FloatArray, float]:
        return self.output_weight, self.output_bias

    def sigmoid_logit(self, z: NDArray[np.floating], scale: Scale) -> FloatArray:
        return self.logit(z)

    def logit(self, z: NDArray[np.floating]) -> FloatArray:
        """Map first-layer sums (..., H), float32 or float64, to logits (...)."""
        logits: FloatArray = (np.maximum(z, 0.0) @ self.output_weight + np.float32(self.output_bias)).astype(np.float32)
        return logits

    def severity(self, z: NDArray[np.floating], scale: Scale) -> FloatArray:
        """Map first-layer sums (..., H) to severities (...) in grade units."""
        return severity_of_logit(self.logit(z), scale)


def weighs_cells_alike(hidden_weight: FloatArray) -> bool:
    """Return whether a first layer, (H, C, h, w), has equal weights for all cells: then those of one cell are enough."""
    return bool((hidden_weight == hidden_weight[:, :, :1, :1]).all())


def severity_of_logit(logit: FloatArray, scale: Scale) -> FloatArray:
    """Map logits of any shape to severities in grade units: lowest + span * sigmoid(logit)."""
    with np.errstate(over="ignore"):  # far below 0, the exponential is infinite, and the severity the lowest
        severity: FloatArray = (scale.lowest + scale.span / (1.0 + np.exp(-logit.astype(np.float64)))).astype(np.float32)
    return severity


def grades_in_the_middle(logits: FloatArray, scale: Scale) -> FloatArray:
    """Convert differences of logits to grades: how far they would move a severity in the middle of the scale, float32.

    There the sigmoid is steepest: a difference of 1 in the logit is a quarter of the scale, and nothing saturates.
    """
    return np.asarray(scale.span / 4 * logits, np.float32)


@dataclass(frozen=True)
class Classifier(_FirstLayer):
    """A softmax classifier on a trunk's maps, to compare the regressor with: logits = output_bias + output_weight . relu(z).

    Parameters
    ----------
    hidden_weight : FloatArray
        float32 (H, C, h, w) or (H, C, 1, 1), as in `Head`.
    hidden_bias : FloatArray
        float32 (H,).
    output_weight : FloatArray
        float32 (K, H), with one row for each of the scale's K grades.
    output_bias : FloatArray
        float32 (K,).
    """

    hidden_weight: FloatArray
    hidden_bias: FloatArray
    output_weight: FloatArray
    output_bias: FloatArray

    @property
    def one_output(self) -> None:
        return None

    def members(self, z: NDArray[np.floating]) -> FloatArray:
        return np.zeros(0, np.float32)

    def severity(self, z: NDArray[np.floating], scale: Scale) -> FloatArray:
        """Map first-layer sums (..., H) to expected grades (...): the mean of the grades, weighted by their probabilities."""
        expected: FloatArray = (scale.lowest + self._shares(z) @ np.arange(len(self.output_bias))).astype(np.float32)
        return expected

    def sigmoid_logit(self, z: NDArray[np.floating], scale: Scale) -> FloatArray:
        return np.asarray(logit_of_place(self._shares(z) @ np.linspace(0, 1, len(self.output_bias))), np.float32)

    def slope(self, z: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the gradient by z of the grades' logits, weighted evenly from -1 for the lowest grade to 1 for the highest.

        With two grades this is the difference of their logits, the logit of the higher one. If one grade is nearly certain, the
        expected grade saturates and its gradient vanishes; this sum does not saturate.
        """
        return np.where(z > 0, explained_weights(len(self.output_bias)) @ self.output_weight, 0.0)

    def probabilities(self, z: NDArray[np.floating]) -> FloatArray:
        """Map first-layer sums (..., H) to the grades' probabilities (..., K)."""
        return np.asarray(self._shares(z), np.float32)

    def _shares(self, z: NDArray[np.floating]) -> NDArray[np.float64]:
        return softmax((np.maximum(z, 0.0) @ self.output_weight.T + self.output_bias).astype(np.float64))


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map logits (..., K) to probabilities (..., K)."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def logit_of_place(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map places on the scale, 0..1, to their logits; the ends, whose logits would be infinite, to large ones."""
    inside = np.clip(place, 1e-12, 1 - 1e-12)
    return np.asarray(np.log(inside / (1 - inside)))


def explained_weights(grades: int) -> FloatArray:
    """Return the weights of a softmax's logits in the output that Grad-CAM explains: evenly from -1 to 1, float32 (K,)."""
    return np.linspace(-1, 1, grades, dtype=np.float32)


Layers = TypeVar("Layers", Head, Classifier)


def for_all_cells(layers: Layers, shape: tuple[int, int]) -> Layers:
    """Convert layers on means over all cells, (H, C, 1, 1), to equivalent ones on maps of `shape` cells, (H, C, 1, 1)."""
    return replace(layers, hidden_weight=np.asarray(layers.hidden_weight / (shape[0] * shape[1]), np.float32))


def on_means(layers: Layers, shape: tuple[int, int]) -> Layers:
    """Convert layers with equal weights for all of `shape` cells to equivalent ones on means over all cells, (H, C, 1, 1)."""
    return replace(layers, hidden_weight=layers.hidden_weight[:, :, :1, :1] * (shape[0] * shape[1]))
