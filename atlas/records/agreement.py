"""How scores compare with human grades."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from atlas.records.arrays import FloatArray, IntArray
from atlas.records.scores import GradeCuts


@dataclass(frozen=True)
class Strip:
    """image_ids in ascending severity.

    Parameters
    ----------
    disagreement : FloatArray
        float32 (n,), grade units, the score read as a grade minus the human grade; NaN without a grade.
    """

    image_ids: tuple[str, ...]
    severity: FloatArray
    disagreement: FloatArray


Interval = tuple[float, float]
"""Ends of a 95 % interval; NaN where none can be given."""


@dataclass(frozen=True)
class LabelShare:
    """A grade among the training labels: `count` photographs, their share before and the share they had in the fit, 0..1."""

    grade: int
    count: int
    before: float
    after: float


@dataclass(frozen=True)
class Confusion:
    """How photographs were read. counts : int64 (grades, grades), human grade by grade read."""

    counts: IntArray

    @property
    def skipped(self) -> int:
        """Photographs read two or more grades off."""
        human, read = np.indices(self.counts.shape)
        return int(self.counts[np.abs(human - read) >= 2].sum())


@dataclass(frozen=True)
class Densities:
    """Kernel density of the severity, grade by grade.

    Parameters
    ----------
    axis : FloatArray
        float32 (m,) in grade units.
    values : FloatArray
        float32 (grades, m), each row's area 1; NaN for a grade with too few photographs, or with one severity only.
    """

    axis: FloatArray
    values: FloatArray


@dataclass(frozen=True)
class Roc:
    """A receiver operating characteristic: `grade` against all others or, where it is None, referable against not.

    Parameters
    ----------
    method : str
        "score" or "classifier".
    false_positive, true_positive : FloatArray
        float32 (m,), ascending shares.
    """

    method: str
    grade: int | None
    false_positive: FloatArray
    true_positive: FloatArray
    auc: float
    interval: Interval


@dataclass(frozen=True)
class CalibrationBin:
    """Photographs scored from `low` to `high`: how their mean grade, with its interval, compares with their mean score."""

    low: float
    high: float
    count: int
    mean_score: float
    mean_grade: float
    interval: Interval


@dataclass(frozen=True)
class Evaluation:
    """Agreement of scores with human grades, see `evaluation.evaluate`.

    Parameters
    ----------
    figures : Mapping[str, float]
        Name to value.
    by_grade : tuple[Mapping[str, float], ...]
        One row of figures per grade.
    count, patients : int
        How many were compared.
    intervals : Mapping[str, Interval]
        Of the figures, by resampling patients.
    confusions : Mapping[str, Confusion]
        By method, "nearest", "ranges" and "classifier".
    reading : GradeCuts or None
        Cuts and threshold that are drawn; where `cross_fitted`, each half of the patients was read by those of the other.
    labels : tuple[LabelShare, ...]
        The training labels before and after balancing, where known.
    """

    figures: Mapping[str, float]
    by_grade: tuple[Mapping[str, float], ...]
    count: int
    patients: int = 0
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    confusions: Mapping[str, Confusion] = field(default_factory=dict)
    densities: Densities | None = None
    rocs: tuple[Roc, ...] = ()
    calibration: tuple[CalibrationBin, ...] = ()
    reading: GradeCuts | None = None
    cross_fitted: bool = False
    labels: tuple[LabelShare, ...] = ()
