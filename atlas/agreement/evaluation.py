"""Agreement of severities with human grades: the figures that a scorer is judged by, and the data of their plots.

A figure that is not defined for the data at hand (constant severities, a single grade) is NaN, never an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import gaussian_kde
from sklearn.metrics import roc_curve

from atlas.agreement.colours import from_colours
from atlas.agreement.detection import DETECTION_FIGURES, operating_threshold, sought
from atlas.agreement.groups import Grouping, groups_of
from atlas.agreement.reading import boundaries, nearest_grade
from atlas.agreement.statistics import (
    Floats,
    Statistic,
    area_under_roc,
    kappa,
    mean,
    once,
    rank_correlation,
    resampled_intervals,
    undefined,
)
from atlas.records import (
    BoolArray,
    CalibrationBin,
    Confusion,
    Densities,
    Evaluation,
    FloatArray,
    GradeCuts,
    IntArray,
    LabelShare,
    Roc,
    Scale,
)

_QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}

_BINS_PER_GRADE = 2  # bins of the calibration per grade unit

_DENSITY_STEPS = 40  # per grade unit

_CURVE_POINTS = 200  # points of a ROC curve: more than a page can show


def evaluate(
    severity: ArrayLike,
    grades: ArrayLike,
    scale: Scale,
    patients: Sequence[str] | IntArray | None = None,
    seed: int = 0,
    *,
    probabilities: ArrayLike | None = None,
    reading: GradeCuts | None = None,
    labels: Mapping[int, tuple[int, float]] | None = None,
    unsure: Sequence[bool] | None = None,
    colours: ArrayLike | None = None,
    groups: Sequence[Grouping] = (),
) -> Evaluation:
    """Compare severities with human grades.

    Parameters
    ----------
    severity : ArrayLike
        (n,) in grade units.
    grades : ArrayLike
        (n,), human grades, whole numbers on `scale`.
    scale : Scale
        Scale of both.
    patients : Sequence[str] | IntArray or None
        (n,), the patient of each photograph. Without it every photograph counts as a patient of its own.
    seed : int
        Draws the halves of the patients between which a reading is cross-fitted, and the resamples.
    probabilities : ArrayLike or None
        (n, K), probabilities of the scale's K grades by a softmax classifier; without them that comparison is left out.
    reading : GradeCuts or None
        Stage ranges and threshold, fitted on other photographs. Without it, `fit_reading` on each half of the patients gives the
        reading for the other half.
    labels : Mapping[int, tuple[int, float]] or None
        The result of `label_distribution`, to be kept with the figures.
    unsure : Sequence[bool] or None
        (n,), whether the scorer says that it is not sure.
    colours : ArrayLike or None
        (n, 6), means and standard deviations of red, green and blue over the image area, for the colour-only baseline.
    groups : Sequence[Grouping]
        Columns whose groups are measured one by one.

    Returns
    -------
    Evaluation
        Figures of the severity and, with the ending `_classifier`, of the classifier, see Notes.

    Raises
    ------
    ValueError
        If the arrays do not fit together.
    DatasetError
        If a column cannot be grouped.

    Notes
    -----
    The figures are:

    - `spearman`: rank correlation with the grades; for the classifier, of its expected grade, the mean weighted by probability.
    - `mae`: mean absolute error, grade units; for the classifier, of its most probable grade.
    - `quadratic_kappa`, `accuracy` and `skipped` (share two or more grades off): of the severity read as the nearest grade; for
      the classifier, of its most probable grade. The ending `_ranges` is for the alternative, stage ranges, by which the choice
      of the nearest grade can be checked. No page reads scores by them.
    - `auc_referable`, `sensitivity_referable`, `specificity_referable`: if the scale has a referable grade. A severity counts as
      referable from the reading's threshold up, and the summed probability of the referable grades from 0.5 up.
    - `unsure`: share of the photographs of which the scorer is not sure.
    - `wrong_sure`, `wrong_unsure`: share wrongly called referable or not referable, among the photographs of which it is sure and
      not sure.
    - `auc_referable_colours`, `quadratic_kappa_colours`: what four colour numbers alone reach, see `agreement.colours`.

    `detections` holds recall, precision and F1 of each grade and of referable disease, at the reading's threshold and at the
    operating point. If the reading has no operating point, one is chosen on each half of the patients and judged on the other.

    One row per grade holds `grade`, `count`, `mean`, `sd`, `q05`, `q25`, `median`, `q75` and `q95`. Intervals are percentiles of
    1,000 resamples of the patients, each with all its photographs (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
    chapter 13); the reading is not fitted again. ROC curves compare each grade with all others, by the classifier's probability
    of the grade and by `depth` of the severity within the grade. Calibration compares the mean grade with the mean score in steps
    of the score.
    """
    severities = np.asarray(severity, dtype=np.float64)
    truth = np.asarray(grades, dtype=np.int64)
    if severities.shape != truth.shape or severities.ndim != 1:
        raise ValueError(f"severity and grades must be of one length, got shapes {severities.shape} and {truth.shape}")
    shares = None if probabilities is None else np.asarray(probabilities, dtype=np.float64)
    if shares is not None and shares.shape != (truth.size, len(scale.grades)):
        raise ValueError(f"probabilities must be of {truth.size} photographs and {len(scale.grades)} grades, got {shares.shape}")
    owners: IntArray = (
        np.arange(truth.size) if patients is None else np.unique(np.asarray(patients, dtype=str), return_inverse=True)[1]
    )
    parts = [(np.ones(truth.size, dtype=bool), reading)] if reading else _cross_fitted(severities, truth, scale, owners, seed)

    read = {"nearest": nearest_grade(severities, scale)}
    if parts:
        read["ranges"] = _by_part(parts, severities, lambda s, own: grade_by_ranges(s, own.cuts, scale)).astype(np.int64)
    if shares is not None:
        read["classifier"] = scale.lowest + shares.argmax(axis=1)
    receivers = _receivers(severities, shares, truth, scale)
    chosen = reading is not None and reading.operating is not None
    halves = parts if chosen or reading is None else _cross_fitted(severities, truth, scale, owners, seed)
    operating = _called(severities, halves, "operating")
    together = receivers.get("auc_referable_classifier")
    calls = {
        "threshold": _called(severities, parts),
        "operating": operating,
        "classifier": None if together is None else together.score >= 0.5,
    }
    assigned = {method: one for method, one in read.items() if method != "ranges"}
    looked_for = sought(assigned, calls, truth, scale)
    bins = _bins(severities, scale)

    figures: dict[str, Statistic] = {
        "spearman": rank_correlation(severities, truth),
        "mae": mean(np.abs(severities - truth)),
        **_agreement(read["nearest"], truth, scale, suffix=""),
        **_agreement(read.get("ranges"), truth, scale, suffix="_ranges"),
        **_referable(receivers.get("auc_referable"), _called(severities, parts), suffix=""),
    }
    if unsure is not None:
        figures |= _doubts(np.asarray(unsure, bool), receivers.get("auc_referable"), _called(severities, parts))
    if shares is not None:
        figures |= {
            "spearman_classifier": rank_correlation(shares @ np.array(scale.grades, dtype=float), truth),
            "mae_classifier": mean(np.abs(read["classifier"] - truth)),
            **_agreement(read["classifier"], truth, scale, suffix="_classifier"),
            **_referable(together, calls["classifier"], suffix="_classifier"),
        }
    if colours is not None and (by_colour := from_colours(np.asarray(colours), truth, scale, owners, seed)) is not None:
        likely, by_frequency = by_colour
        if likely is not None and scale.referable is not None:
            figures["auc_referable_colours"] = area_under_roc(likely, truth >= scale.referable)
        figures["quadratic_kappa_colours"] = kappa(by_frequency, truth, scale)
    statistics = (
        figures
        | {name: area_under_roc(one.score, one.positive) for name, one in receivers.items()}
        | {f"bin_{k}": mean(truth, among=rows) for k, (_, _, rows) in enumerate(bins)}
        | {f"{name}_{k}": own for k, one in enumerate(looked_for) for name, own in one.statistics().items()}
    )
    values = {name: float(statistic(np.ones((1, truth.size)))[0]) for name, statistic in statistics.items()}
    intervals = resampled_intervals(statistics, owners, seed)
    whole = reading or (fit_reading(severities, truth, scale) if parts else None)
    if operating is not None and whole is not None and not chosen:
        point = operating_threshold(severities, truth >= (scale.referable or 0))
    else:
        point = None if operating is None or whole is None else whole.operating
    return Evaluation(
        figures={name: values[name] for name in figures},
        by_grade=tuple(_by_grade(severities[truth == g], g) for g in scale.grades),
        count=int(truth.size),
        patients=int(np.unique(owners).size),
        intervals={name: intervals[name] for name in figures},
        confusions={method: Confusion(_confusion(one, truth, scale)) for method, one in read.items()},
        densities=_densities(severities, truth, scale),
        rocs=tuple(
            Roc(one.method, one.grade, *one.curve(), values[name], intervals[name])
            for name, one in receivers.items()
            if np.isfinite(values[name])
        ),
        calibration=tuple(
            CalibrationBin(low, high, int(rows.sum()), float(severities[rows].mean()), values[f"bin_{k}"], intervals[f"bin_{k}"])
            for k, (low, high, rows) in enumerate(bins)
        ),
        reading=whole,
        cross_fitted=reading is None and bool(parts),
        labels=_label_shares(labels or {}),
        detections=tuple(
            one.detection(
                {name: values[f"{name}_{k}"] for name in DETECTION_FIGURES},
                {name: intervals[f"{name}_{k}"] for name in DETECTION_FIGURES},
            )
            for k, one in enumerate(looked_for)
        ),
        operating=point,
        operating_cross_fitted=operating is not None and not chosen,
        groups=groups_of(groups, severities, read["nearest"], truth, operating, owners, scale, seed),
    )


def spearman(severity: ArrayLike, grades: ArrayLike) -> float:
    """Return Spearman's rank correlation, with mean ranks for ties; NaN if one side is constant."""
    return once(rank_correlation(np.asarray(severity), np.asarray(grades)), np.size(grades))


def quadratic_kappa(assigned: ArrayLike, grades: ArrayLike, scale: Scale) -> float:
    """Return Cohen's kappa with squared-distance weights; NaN if both sides hold only one grade, the same one."""
    return once(kappa(np.asarray(assigned, np.int64), np.asarray(grades, np.int64), scale), np.size(grades))


def auc(severity: ArrayLike, positive: ArrayLike) -> float:
    """Return the area under the ROC curve: how often a positive outranks a negative, ties count half; NaN with one class only."""
    return once(area_under_roc(np.asarray(severity), np.asarray(positive, dtype=bool)), np.size(positive))


def fit_reading(severity: ArrayLike, grades: ArrayLike, scale: Scale) -> GradeCuts:
    """Learn from graded scores (n,) how severities are read: the stage ranges, and the thresholds for referable disease.

    The threshold has the largest Youden index, sensitivity + specificity - 1 (Youden, Cancer 3:32-35, 1950), and lies midway
    between two neighbouring severities; among equally good ones it is the lowest, which misses the fewest. It is None if the
    scale has no referable grade, or if all photographs are on one side of that grade. The operating point is the highest
    threshold with a recall of at least 90%, see `operating_threshold`.
    """
    severities, truth = np.asarray(severity, dtype=np.float64), np.asarray(grades)
    peaks, deviations = _stages(severities, truth, scale)
    threshold = operating = None
    if scale.referable is not None:
        referable = truth >= scale.referable
        threshold, operating = _youden(severities, referable), operating_threshold(severities, referable)
    return GradeCuts(_cuts(peaks, deviations), threshold, peaks.astype(np.float32), deviations.astype(np.float32), operating)


def stage_ranges(severity: ArrayLike, grades: ArrayLike, scale: Scale) -> FloatArray:
    """Cut the severity axis into one range per grade, as the original study does.

    Each grade's range grows from the peak of its kernel density to both sides, in proportion to its standard deviation, until
    neighbours touch. If two peaks are in the wrong order, the cut of the lower pair is used, and the range between is empty. A
    grade without photographs has its peak at its own value and the mean standard deviation of the others.

    Returns
    -------
    FloatArray
        Cuts, float32 (grades - 1,), ascending: severities below the first cut are the lowest grade, and so on.
    """
    return _cuts(*_stages(np.asarray(severity, dtype=np.float64), np.asarray(grades), scale))


def grade_by_ranges(severity: ArrayLike, cuts: FloatArray, scale: Scale) -> IntArray:
    """Read severities (n,) as grades by the cuts of `stage_ranges`."""
    assigned: IntArray = scale.lowest + np.searchsorted(cuts, np.asarray(severity, dtype=np.float32), side="right").astype(
        np.int64
    )
    return assigned


def depth(severity: ArrayLike, place: int, scale: Scale) -> Floats:
    """Return how deep severities (n,) lie among those that are read as the grade at `place` (0 is the lowest).

    It is the distance to the nearer boundary, in grade units; negative outside. It serves as a score for this grade against all
    others: changing its threshold widens or narrows the range equally on both sides. For the lowest and the highest grade it
    orders photographs as the severity does.
    """
    severities = np.asarray(severity, dtype=np.float64)
    edges = np.concatenate([[-np.inf], boundaries(scale), [np.inf]])
    inside: Floats = np.minimum(severities - edges[place], edges[place + 1] - severities)
    return inside


def label_distribution(grades: ArrayLike, weights: ArrayLike, scale: Scale) -> dict[int, tuple[int, float]]:
    """Count training photographs (n,) by grade, and the share (0..1) that each grade has under the balancing `weights` (n,)."""
    truth, weight = np.asarray(grades), np.asarray(weights, dtype=np.float64)
    total = weight.sum()
    return {g: (int((truth == g).sum()), float(weight[truth == g].sum() / total) if total else np.nan) for g in scale.grades}


def _label_shares(labels: Mapping[int, tuple[int, float]]) -> tuple[LabelShare, ...]:
    total = sum(count for count, _ in labels.values()) or np.nan
    return tuple(LabelShare(grade, count, count / total, after) for grade, (count, after) in sorted(labels.items()))


def _stages(severity: Floats, grades: np.ndarray, scale: Scale) -> tuple[Floats, Floats]:
    groups = [severity[grades == g] for g in scale.grades]
    spreads = np.array([group.std() if group.size > 1 else np.nan for group in groups])
    spreads = np.where(np.isnan(spreads), np.nanmean(spreads) if np.isfinite(spreads).any() else 1.0, spreads)
    peaks = np.array([_peak(group, scale) if group.size else float(g) for g, group in zip(scale.grades, groups, strict=True)])
    return peaks, np.maximum(spreads, 1e-6)


def _cuts(peaks: Floats, spreads: Floats) -> FloatArray:
    cuts = (peaks[:-1] * spreads[1:] + peaks[1:] * spreads[:-1]) / (spreads[:-1] + spreads[1:])
    ascending: FloatArray = np.maximum.accumulate(cuts).astype(np.float32)
    return ascending


def _peak(group: Floats, scale: Scale) -> float:
    axis = np.linspace(scale.lowest, scale.highest, 401)
    density = _density(group, axis)
    return float(np.median(group)) if density is None else float(axis[np.argmax(density)])


def _density(group: Floats, axis: Floats) -> Floats | None:
    """Return the Gaussian kernel density with Scott's bandwidth; None if there are fewer than 3 values or all are equal."""
    return None if group.size < 3 or np.ptp(group) < 1e-6 else gaussian_kde(group)(axis)


def _youden(severity: Floats, positive: np.ndarray) -> float | None:
    values = np.unique(severity)
    if positive.all() or not positive.any() or values.size < 2:
        return None
    thresholds = (values[:-1] + values[1:]) / 2
    sick, well = np.sort(severity[positive]), np.sort(severity[~positive])
    caught, cleared = sick.size - np.searchsorted(sick, thresholds), np.searchsorted(well, thresholds)
    return float(thresholds[np.argmax(caught * well.size + cleared * sick.size)])  # whole numbers, so that ties are exact


Parts = list[tuple[np.ndarray, GradeCuts]]  # photographs, as a mask (n,), and the cuts that read them


def _cross_fitted(severity: Floats, grades: IntArray, scale: Scale, owners: IntArray, seed: int) -> Parts:
    """Fit the reading of each half of the patients on the other half; return [] if a half would be empty."""
    count = int(owners.max()) + 1 if owners.size else 0
    if count < 2:
        return []
    second = np.random.default_rng(seed).permutation(count)[owners] >= count // 2
    return [(half, fit_reading(severity[~half], grades[~half], scale)) for half in (second, ~second)]


def _by_part(parts: Parts, severity: Floats, how: Callable[[Floats, GradeCuts], np.ndarray]) -> Floats:
    result = np.empty(severity.size)
    for rows, reading in parts:
        result[rows] = how(severity[rows], reading)
    return result


def _called(severity: Floats, parts: Parts, at: Literal["threshold", "operating"] = "threshold") -> np.ndarray | None:
    """Return which severities are called referable, (n,) bool; None if a threshold is missing."""
    thresholds = [getattr(reading, at) for _, reading in parts]
    if not thresholds or None in thresholds:
        return None
    return _by_part(parts, severity, lambda s, reading: s >= getattr(reading, at)).astype(bool)


def _agreement(assigned: IntArray | None, grades: IntArray, scale: Scale, *, suffix: str) -> dict[str, Statistic]:
    names = [f"{name}{suffix}" for name in ("quadratic_kappa", "accuracy", "skipped")]
    if assigned is None:
        return dict.fromkeys(names, undefined)
    off = np.abs(assigned - grades)
    return dict(zip(names, (kappa(assigned, grades, scale), mean(off == 0), mean(off >= 2)), strict=True))


@dataclass(frozen=True)
class _Receiver:
    """A score (n,) that separates `positive` photographs from the others: those of `grade`, or referable ones if it is None."""

    method: str
    grade: int | None
    score: Floats
    positive: np.ndarray

    def curve(self) -> tuple[FloatArray, FloatArray]:
        """Return shares of false and true positives; a curve with many corners is thinned evenly along its length."""
        false, true, _ = roc_curve(self.positive, self.score)
        if false.size > _CURVE_POINTS:
            kept = np.unique(np.searchsorted(false + true, np.linspace(0, 2, _CURVE_POINTS)).clip(max=false.size - 1))
            false, true = false[kept], true[kept]
        return false.astype(np.float32), true.astype(np.float32)


def _receivers(severity: Floats, shares: Floats | None, grades: IntArray, scale: Scale) -> dict[str, _Receiver]:
    """Return a receiver for each grade against all others, and for referable against not, by score and classifier."""
    found = {}
    if scale.referable is not None:
        found["auc_referable"] = _Receiver("score", None, severity, grades >= scale.referable)
        if shares is not None:
            together = shares[:, scale.referable - scale.lowest :].sum(axis=1)
            found["auc_referable_classifier"] = _Receiver("classifier", None, together, grades >= scale.referable)
    for place, grade in enumerate(scale.grades):
        found[f"auc_{grade}"] = _Receiver("score", grade, depth(severity, place, scale), grades == grade)
        if shares is not None:
            found[f"auc_{grade}_classifier"] = _Receiver("classifier", grade, shares[:, place], grades == grade)
    return found


def _referable(receiver: _Receiver | None, called: np.ndarray | None, *, suffix: str) -> dict[str, Statistic]:
    """Return the figures of one method for referable disease; {} if the scale has no referable grade."""
    if receiver is None:
        return {}
    names = f"auc_referable{suffix}", f"sensitivity_referable{suffix}", f"specificity_referable{suffix}"
    area = area_under_roc(receiver.score, receiver.positive)
    if called is None:
        return dict(zip(names, (area, undefined, undefined), strict=True))
    return dict(zip(names, (area, mean(called, receiver.positive), mean(~called, ~receiver.positive)), strict=True))


def _doubts(unsure: BoolArray, receiver: _Receiver | None, called: np.ndarray | None) -> dict[str, Statistic]:
    found = {"unsure": mean(unsure)}
    if receiver is None or called is None:
        return found
    wrong = called != receiver.positive
    return found | {"wrong_sure": mean(wrong, ~unsure), "wrong_unsure": mean(wrong, unsure)}


def _confusion(assigned: IntArray, grades: IntArray, scale: Scale) -> IntArray:
    count = len(scale.grades)
    cells = (grades - scale.lowest) * count + assigned - scale.lowest
    return np.bincount(cells, minlength=count * count).reshape(count, count).astype(np.int64)


def _densities(severity: Floats, grades: IntArray, scale: Scale) -> Densities:
    axis = np.linspace(scale.lowest, scale.highest, scale.span * _DENSITY_STEPS + 1)
    values = np.full((len(scale.grades), axis.size), np.nan)
    for row, grade in enumerate(scale.grades):
        density = _density(severity[grades == grade], axis)
        if density is not None:
            values[row] = density
    return Densities(axis.astype(np.float32), values.astype(np.float32))


def _bins(severity: Floats, scale: Scale) -> list[tuple[float, float, np.ndarray]]:
    """Divide the scale into equal steps: their ends, and the photographs in each, (n,) bool; empty steps are left out."""
    steps = scale.span * _BINS_PER_GRADE
    step = np.clip(np.floor((severity - scale.lowest) * _BINS_PER_GRADE), 0, steps - 1)
    edges = scale.lowest + np.arange(steps + 1) / _BINS_PER_GRADE
    return [(float(edges[k]), float(edges[k + 1]), step == k) for k in range(steps) if (step == k).any()]


def _by_grade(severity: np.ndarray, grade: int) -> dict[str, float]:
    row = {"grade": float(grade), "count": float(severity.size)}
    if not severity.size:
        return row | dict.fromkeys(("mean", "sd", *_QUANTILES), np.nan)
    quantiles = np.quantile(severity, list(_QUANTILES.values()))
    return (
        row
        | {"mean": float(severity.mean()), "sd": float(severity.std())}
        | dict(zip(_QUANTILES, quantiles.tolist(), strict=True))
    )
