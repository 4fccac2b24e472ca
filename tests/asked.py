"""Predictions for tests: of last maps and a head, or of cell sums alone."""

from __future__ import annotations

import numpy as np

from atlas.records import DIABETIC_RETINOPATHY, Scale, Target
from atlas.scorers.prediction import LinearPrediction, read_maps
from atlas.scorers.readouts import Head
from atlas.scorers.transferred import TransferredScorer

DR = Target.of(DIABETIC_RETINOPATHY)


def read_all(values: np.ndarray, head: Head, scale: Scale = DIABETIC_RETINOPATHY) -> list[LinearPrediction]:
    """Read last maps (n, C, h, w)."""
    return [read_maps(one, head, Target.of(scale)) for one in values]


def of_sums(cells: np.ndarray, head: Head, grid: tuple[int, int], scale: Scale = DIABETIC_RETINOPATHY) -> LinearPrediction:
    """A prediction whose cells add these sums (h*w, H); it has no Grad-CAM map."""
    nothing = np.zeros(0, np.float32)
    return LinearPrediction(Target.of(scale), head, cells.astype(np.float32), np.zeros(grid, np.float32), nothing, nothing)


def severities(scorer: TransferredScorer, pixels: np.ndarray) -> np.ndarray:
    """Severities of prepared pixels (n, S, S, 3), all of them retina."""
    (target,) = scorer.targets
    return np.array([scorer.read(maps).severity[target.name] for maps in scorer.trunk.maps(pixels)], np.float32)
