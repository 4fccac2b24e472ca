"""How scores compare with human grades."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from atlas.records.arrays import FloatArray, IntArray
from atlas.records.scores import GradeCuts


@dataclass(frozen=True)
class Strip:
    """All photographs in one line, in ascending severity.

    Parameters
    ----------
    image_ids : tuple[str, ...]
        (n,), the photographs in this order.
    severity : FloatArray
        float32 (n,), grade units.
    read : IntArray
        int64 (n,), the grade that each score is read as, see `agreement.reading`.
    difference : FloatArray
        float32 (n,), grades, the grade read minus the human grade; NaN if there is no human grade.
    """

    image_ids: tuple[str, ...]
    severity: FloatArray
    read: IntArray
    difference: FloatArray


Interval = tuple[float, float]
"""Ends of a 95% confidence interval; NaN if none can be given."""


@dataclass(frozen=True)
class LabelShare:
    """How much one grade counted among the training labels.

    Parameters
    ----------
    grade : int
        The grade.
    count : int
        Number of training photographs of this grade.
    before : float
        Their share of all training photographs, 0 to 1.
    after : float
        Their share in the fit, after balancing, 0 to 1.
    """

    grade: int
    count: int
    before: float
    after: float


@dataclass(frozen=True)
class Confusion:
    """How photographs of each human grade were read.

    Parameters
    ----------
    counts : IntArray
        int64 (grades, grades), human grade by grade read.
    """

    counts: IntArray

    @property
    def skipped(self) -> int:
        """Number of photographs read two or more grades off."""
        human, read = np.indices(self.counts.shape)
        return int(self.counts[np.abs(human - read) >= 2].sum())


@dataclass(frozen=True)
class Detection:
    """How well photographs of one grade, or of referable disease, are found.

    A ratio of fewer than five photographs is NaN.

    Parameters
    ----------
    method : str
        How scores are read: "nearest", "ranges", "classifier", or, for referable disease, "threshold" (that of the reading),
        "operating" (see `Evaluation.operating`) or "classifier".
    grade : int or None
        The grade that is to be found; None for referable disease.
    human : int
        Number of photographs with this grade by a person.
    read : int
        Number of photographs that are read as this grade.
    both : int
        Number of photographs with both.
    figures : Mapping[str, float]
        `recall`, both / human; `precision`, both / read; and `f1`, their harmonic mean, 2 both / (human + read).
    intervals : Mapping[str, Interval]
        95% confidence intervals of the figures, by resampling patients.
    """

    method: str
    grade: int | None
    human: int
    read: int
    both: int
    figures: Mapping[str, float]
    intervals: Mapping[str, Interval]


@dataclass(frozen=True)
class Group:
    """Agreement for the photographs that share a value of one column.

    Parameters
    ----------
    column : str
        Name of the column.
    width : float or None
        Width of the bands into which the column's numbers are divided; None for words.
    label : str
        The value or band. It may be a `Sentence`.
    count : int
        Number of photographs.
    patients : int
        Number of their patients.
    referable : int
        Number of photographs with a referable grade; 0 if the scale has none.
    figures : Mapping[str, float]
        `auc_referable`, `recall` and `precision` at the operating point, `quadratic_kappa` and `mae` of the nearest grade and
        the severity; NaN if a ratio has fewer than five photographs.
    intervals : Mapping[str, Interval]
        95% confidence intervals of the figures, by resampling the group's patients.
    """

    column: str
    width: float | None
    label: str
    count: int
    patients: int
    referable: int
    figures: Mapping[str, float]
    intervals: Mapping[str, Interval]


@dataclass(frozen=True)
class Densities:
    """Kernel density of the severity, grade by grade.

    Parameters
    ----------
    axis : FloatArray
        float32 (m,) in grade units.
    values : FloatArray
        float32 (grades, m), the area under each row is 1; NaN for a grade with too few photographs, or with one severity only.
    """

    axis: FloatArray
    values: FloatArray


@dataclass(frozen=True)
class Roc:
    """A receiver operating characteristic (ROC) curve.

    Parameters
    ----------
    method : str
        "score" or "classifier".
    grade : int or None
        The grade that is told from all others; None for referable against non-referable disease.
    false_positive : FloatArray
        float32 (m,), ascending shares of false positives, 0 to 1.
    true_positive : FloatArray
        float32 (m,), ascending shares of true positives, 0 to 1.
    auc : float
        Area under the curve, 0 to 1.
    interval : Interval
        95% confidence interval of the area.
    """

    method: str
    grade: int | None
    false_positive: FloatArray
    true_positive: FloatArray
    auc: float
    interval: Interval


@dataclass(frozen=True)
class CalibrationBin:
    """Photographs scored from `low` to `high`: their mean grade beside their mean score, all in grade units.

    Parameters
    ----------
    low : float
        Lowest score in this bin.
    high : float
        Highest score in this bin.
    count : int
        Number of photographs.
    mean_score : float
        Mean of their scores.
    mean_grade : float
        Mean of their human grades.
    interval : Interval
        95% confidence interval of the mean grade.
    """

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
        Values by name.
    by_grade : tuple[Mapping[str, float], ...]
        One row of figures per grade.
    count : int
        Number of photographs compared.
    patients : int
        Number of their patients.
    intervals : Mapping[str, Interval]
        95% confidence intervals of the figures, by resampling patients.
    confusions : Mapping[str, Confusion]
        Confusion matrices by method: "nearest", "ranges" and "classifier".
    densities : Densities or None
        Kernel density of the severity for each grade.
    rocs : tuple[Roc, ...]
        ROC curves.
    calibration : tuple[CalibrationBin, ...]
        Mean grade beside mean score, from low to high scores.
    reading : GradeCuts or None
        Cuts and threshold that are drawn.
    cross_fitted : bool
        Whether each half of the patients was read by cuts that were fitted on the other half.
    labels : tuple[LabelShare, ...]
        The training labels before and after balancing, if known.
    detections : tuple[Detection, ...]
        Recall, precision and F1 by grade, and for referable disease.
    operating : float or None
        Threshold of the operating point, grade units: it finds at least 90% of the referable photographs that it was chosen on.
        None if the scale has no referable grade or there are too few photographs.
    operating_cross_fitted : bool
        Whether each half of the patients was judged at an operating point that was chosen on the other half; `operating` is then
        chosen on all.
    groups : tuple[Group, ...]
        Results by groups of photographs, column after column.
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
    detections: tuple[Detection, ...] = ()
    operating: float | None = None
    operating_cross_fitted: bool = False
    groups: tuple[Group, ...] = ()
