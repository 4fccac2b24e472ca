"""Readouts: from a trunk's last maps to a severity, linear in cells up to the first layer's sums."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from atlas.errors import ScorerError
from atlas.records import CellSums, FeatureMaps, FloatArray, Scale, Scores


def cell_sums(features: FeatureMaps, head: Head) -> CellSums:
    """Return what each cell adds to the head's first layer, s_c = W_c x_c.

    The layer is linear, so z = bias + sum_c s_c, and leaving out any set of cells is z less their sums. An image's sums do not
    depend, to the last bit, on its batch or on the number of threads.

    Raises
    ------
    ScorerError : the maps are not of the head's shape.
    """
    hidden, *expected = head.hidden_weight.shape
    count, *found = features.values.shape
    channels, *shape = found
    if found != expected and expected != [channels, 1, 1]:
        raise ScorerError(
            f"the head takes maps of shape {tuple(expected)}, not {tuple(found)}", "use the trunk it was trained on"
        )
    cells = shape[0] * shape[1]
    of_cell = head.hidden_weight.reshape(hidden, channels, -1).transpose(2, 0, 1)
    # einsum adds in one fixed order; a matrix product's order varies with batch and threads.
    weight, add_up = (of_cell[0], "hc,kc->kh") if head.pooled else (of_cell, "khc,kc->kh")
    weight = np.ascontiguousarray(weight, np.float32)
    sums = np.empty((count, cells, hidden), np.float32)
    for image, maps in enumerate(features.values):
        x = np.ascontiguousarray(maps.reshape(channels, cells).T, np.float32)
        np.einsum(add_up, weight, x, out=sums[image], optimize=False)
    return CellSums(features.image_ids, sums, head.hidden_bias.astype(np.float32), (shape[0], shape[1]))


def classify(features: FeatureMaps, classifier: Classifier) -> FloatArray:
    """Return the grades' probabilities, float32 (n, K), of each image's maps. Raises ScorerError as `cell_sums` does."""
    as_head = Head(classifier.hidden_weight, classifier.hidden_bias, classifier.output_weight[0], 0.0)
    sums = cell_sums(features, as_head)
    z = [sums.bias + cells.sum(axis=0, dtype=np.float32) for cells in sums.values]
    return np.stack([classifier.probabilities(one) for one in z])


def severity(sums: CellSums, head: Head, scale: Scale, *, out_of_fold: bool = False) -> Scores:
    """Return the severities, in grade units, of whole images from their cell sums."""
    z = [sums.bias + cells.sum(axis=0, dtype=np.float32) for cells in sums.values]
    values = np.array([head.severity(one, scale) for one in z], np.float32)
    return Scores(sums.image_ids, values, out_of_fold)


@dataclass(frozen=True)
class Head:
    """The two-layer regressor on a trunk's maps: z = hidden_bias + sum_c W_c x_c, logit = output_bias + output_weight . relu(z).

    hidden_weight : float32 (H, C, h, w), or (H, C, 1, 1) where the layer weighs all cells alike: one matrix for every cell of
        maps of any size, see `pooled`.   hidden_bias : float32 (H,).   output_weight : float32 (H,).   output_bias : float.
    The severity is the sigmoid of the logit, read on the scale.
    """

    hidden_weight: FloatArray
    hidden_bias: FloatArray
    output_weight: FloatArray
    output_bias: float

    @property
    def pooled(self) -> bool:
        """Whether one matrix serves all cells, as that of a head which learned on means over all cells does."""
        return self.hidden_weight.shape[2:] == (1, 1)

    def logit(self, z: NDArray[np.floating]) -> FloatArray:
        """Map first-layer sums (..., H), float32 or float64, to logits (...)."""
        logits: FloatArray = (np.maximum(z, 0.0) @ self.output_weight + np.float32(self.output_bias)).astype(np.float32)
        return logits

    def severity(self, z: NDArray[np.floating], scale: Scale) -> FloatArray:
        """Map first-layer sums (..., H) to severities (...) in grade units."""
        return severity_of_logit(self.logit(z), scale)


def weighs_cells_alike(hidden_weight: FloatArray) -> bool:
    """Tell whether a first layer, (H, C, h, w), weighs all cells alike: then one cell's weights, (H, C, 1, 1), say it all."""
    return bool((hidden_weight == hidden_weight[:, :, :1, :1]).all())


def severity_of_logit(logit: FloatArray, scale: Scale) -> FloatArray:
    """Map logits of any shape to severities in grade units: lowest + span * sigmoid(logit)."""
    severity: FloatArray = (scale.lowest + scale.span / (1.0 + np.exp(-logit.astype(np.float64)))).astype(np.float32)
    return severity


@dataclass(frozen=True)
class Classifier:
    """A softmax classifier on a trunk's maps, the regressor's comparison: logits = output_bias + output_weight . relu(z).

    hidden_weight : float32 (H, C, h, w) or (H, C, 1, 1), as of `Head`.   hidden_bias : float32 (H,).   output_weight : float32
    (K, H).   output_bias : (K,), with one row for each of the scale's K grades.
    """

    hidden_weight: FloatArray
    hidden_bias: FloatArray
    output_weight: FloatArray
    output_bias: FloatArray

    def probabilities(self, z: NDArray[np.floating]) -> FloatArray:
        """Map first-layer sums (..., H) to the grades' probabilities (..., K)."""
        logits = (np.maximum(z, 0.0) @ self.output_weight.T + self.output_bias).astype(np.float64)
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        shares: FloatArray = (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
        return shares


Layers = TypeVar("Layers", Head, Classifier)


def for_all_cells(layers: Layers, shape: tuple[int, int]) -> Layers:
    """Turn layers on means over all cells, (H, C, 1, 1), into the same ones on maps of `shape` cells, (H, C, 1, 1)."""
    return replace(layers, hidden_weight=np.asarray(layers.hidden_weight / (shape[0] * shape[1]), np.float32))


def on_means(layers: Layers, shape: tuple[int, int]) -> Layers:
    """Turn layers that weigh all of `shape` cells alike into the same ones on means over all cells, (H, C, 1, 1)."""
    return replace(layers, hidden_weight=layers.hidden_weight[:, :, :1, :1] * (shape[0] * shape[1]))
