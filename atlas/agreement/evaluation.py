"""Agreement of severities with human grades: the figures a scorer is judged by, and what their pictures are drawn from.

A figure that is not defined for the data at hand (constant severities, a single grade) is NaN, never an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import gaussian_kde
from sklearn.metrics import roc_curve

from atlas.records import (
    CalibrationBin,
    Confusion,
    Densities,
    Evaluation,
    FloatArray,
    GradeCuts,
    IntArray,
    Interval,
    LabelShare,
    Roc,
    Scale,
)

_Floats = NDArray[np.float64]

Statistic = Callable[[_Floats], _Floats]
"""A figure as a function of weights (b, n), how often each of n photographs counts, to its b values."""

_QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}

_DRAWS = 1000  # resamples of the patients

_BLOCK = 1_500_000  # weights of photographs held at once while resampling

_BINS_PER_GRADE = 2  # of the calibration

_DENSITY_STEPS = 40  # per grade unit

_CURVE_POINTS = 200  # of a ROC curve: more than a page can show


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
) -> Evaluation:
    """Compare severities with human grades.

    Parameters
    ----------
    severity : (n,) in grade units.   grades : (n,) whole numbers on `scale`.
    patients : (n,) whose photograph each is. Without it every photograph counts as a patient.
    seed : draws the halves of the patients between which a reading is cross-fitted, and the resamples.
    probabilities : (n, K) of the scale's K grades, by a softmax classifier; without it that comparison is left out.
    reading : stage ranges and threshold, fitted on other photographs. Without it each half of the patients is read by what
        `fit_reading` makes of the other half.
    labels : what `label_distribution` found, to be kept with the figures.

    Returns
    -------
    Evaluation with these figures of the severity and, with the ending `_classifier`, of the classifier:

    `spearman` : rank correlation with the grades; of the classifier's expected grade, the mean weighted by probability.
    `mae` : mean absolute error, grade units; of the classifier's most probable grade.
    `quadratic_kappa`, `accuracy`, `skipped` (share two or more grades off) : of the severity rounded to the nearest grade and,
        with the ending `_ranges`, read by stage ranges; of the classifier's most probable grade.
    `auc_referable`, `sensitivity_referable`, `specificity_referable` : where the scale knows a referable grade. A severity is
        called referable from the reading's threshold on, a probability of the referable grades together from 0.5 on.

    One row per grade holds `grade`, `count`, `mean`, `sd`, `q05`, `q25`, `median`, `q75` and `q95`. Intervals are percentiles of
    1,000 resamples of the patients, each with all its photographs (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
    chapter 13); the reading stays as fitted. ROC curves set each grade against all others, by the classifier's probability of
    the grade and by `stage_depth` of the severity. Calibration compares the mean grade with the mean score in steps of the score.

    Raises ValueError where the arrays do not fit each other.
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
    receivers = _receivers(severities, shares, parts, truth, scale)
    bins = _bins(severities, scale)

    figures: dict[str, Statistic] = {
        "spearman": _spearman(severities, truth),
        "mae": _mean(np.abs(severities - truth)),
        **_agreement(read["nearest"], truth, scale, suffix=""),
        **_agreement(read.get("ranges"), truth, scale, suffix="_ranges"),
        **_referable(receivers.get("auc_referable"), _called(severities, parts), suffix=""),
    }
    if shares is not None:
        together = receivers.get("auc_referable_classifier")
        figures |= {
            "spearman_classifier": _spearman(shares @ np.array(scale.grades, dtype=float), truth),
            "mae_classifier": _mean(np.abs(read["classifier"] - truth)),
            **_agreement(read["classifier"], truth, scale, suffix="_classifier"),
            **_referable(together, None if together is None else together.score >= 0.5, suffix="_classifier"),
        }
    statistics = (
        figures
        | {name: _auc(one.score, one.positive) for name, one in receivers.items()}
        | {f"bin_{k}": _mean(truth, among=rows) for k, (_, _, rows) in enumerate(bins)}
    )
    values = {name: float(statistic(np.ones((1, truth.size)))[0]) for name, statistic in statistics.items()}
    intervals = _intervals(statistics, owners, seed)
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
        reading=reading or (fit_reading(severities, truth, scale) if parts else None),
        cross_fitted=reading is None and bool(parts),
        labels=_label_shares(labels or {}),
    )


def nearest_grade(severity: ArrayLike, scale: Scale) -> IntArray:
    """Round severities (n,) to the nearest grade of the scale; halves go up."""
    rounded = np.floor(np.asarray(severity, dtype=np.float64) + 0.5)
    nearest: IntArray = np.clip(rounded, scale.lowest, scale.highest).astype(np.int64)
    return nearest


def spearman(severity: ArrayLike, grades: ArrayLike) -> float:
    """Spearman's rank correlation, ties sharing their mean rank; NaN where one side is constant."""
    return _once(_spearman(np.asarray(severity), np.asarray(grades)), np.size(grades))


def quadratic_kappa(assigned: ArrayLike, grades: ArrayLike, scale: Scale) -> float:
    """Cohen's kappa with squared-distance weights; NaN where both sides hold one and the same grade only."""
    return _once(_kappa(np.asarray(assigned, np.int64), np.asarray(grades, np.int64), scale), np.size(grades))


def auc(severity: ArrayLike, positive: ArrayLike) -> float:
    """Area under the ROC curve: how often a positive outranks a negative, ties counting half; NaN with one class only."""
    return _once(_auc(np.asarray(severity), np.asarray(positive, dtype=bool)), np.size(positive))


def fit_reading(severity: ArrayLike, grades: ArrayLike, scale: Scale) -> GradeCuts:
    """Learn from graded scores (n,) how severities are read: the stage ranges, and from where on they are referable.

    The threshold has the largest Youden index, sensitivity + specificity - 1 (Youden, Cancer 3:32-35, 1950), and lies midway
    between two neighbouring severities; of equally good ones it is the lowest, which misses fewest. It is None where the scale
    knows no referable grade, or all photographs stand on one side of it.
    """
    severities, truth = np.asarray(severity, dtype=np.float64), np.asarray(grades)
    peaks, deviations = _stages(severities, truth, scale)
    threshold = None if scale.referable is None else _youden(severities, truth >= scale.referable)
    return GradeCuts(_cuts(peaks, deviations), threshold, peaks.astype(np.float32), deviations.astype(np.float32))


def stage_ranges(severity: ArrayLike, grades: ArrayLike, scale: Scale) -> FloatArray:
    """Cut the severity axis into one range per grade, as the original study does.

    Each grade's range grows from the peak of its kernel density to both sides, at the pace of its standard deviation, until
    neighbours touch. Where two peaks stand in the wrong order the cut of the lower pair holds, and the range between is empty. A
    grade without photographs peaks at its own value with the mean spread of the others.

    Returns
    -------
    float32 (grades - 1,), ascending: severities below the first cut are the lowest grade, and so on.
    """
    return _cuts(*_stages(np.asarray(severity, dtype=np.float64), np.asarray(grades), scale))


def grade_by_ranges(severity: ArrayLike, cuts: FloatArray, scale: Scale) -> IntArray:
    """Read severities (n,) as grades by the cuts of `stage_ranges`."""
    assigned: IntArray = scale.lowest + np.searchsorted(cuts, np.asarray(severity, dtype=np.float32), side="right").astype(
        np.int64
    )
    return assigned


def stage_depth(severity: ArrayLike, cuts: FloatArray, place: int) -> _Floats:
    """How deep severities (n,) lie within the range of the grade at `place`, 0 the lowest: the distance to its nearer cut.

    Negative outside, in grade units. As a score for this grade against all others it is what widening or narrowing the range to
    both sides alike trades off; for the lowest and the highest grade it orders photographs as the severity itself does.
    """
    severities = np.asarray(severity, dtype=np.float64)
    edges = np.concatenate([[-np.inf], cuts, [np.inf]])
    depth: _Floats = np.minimum(severities - edges[place], edges[place + 1] - severities)
    return depth


def label_distribution(grades: ArrayLike, weights: ArrayLike, scale: Scale) -> dict[int, tuple[int, float]]:
    """Count training photographs (n,) by grade, and the share (0..1) that each grade has under the balancing `weights` (n,)."""
    truth, weight = np.asarray(grades), np.asarray(weights, dtype=np.float64)
    total = weight.sum()
    return {g: (int((truth == g).sum()), float(weight[truth == g].sum() / total) if total else np.nan) for g in scale.grades}


def _label_shares(labels: Mapping[int, tuple[int, float]]) -> tuple[LabelShare, ...]:
    total = sum(count for count, _ in labels.values()) or np.nan
    return tuple(LabelShare(grade, count, count / total, after) for grade, (count, after) in sorted(labels.items()))


def _stages(severity: _Floats, grades: np.ndarray, scale: Scale) -> tuple[_Floats, _Floats]:
    groups = [severity[grades == g] for g in scale.grades]
    spreads = np.array([group.std() if group.size > 1 else np.nan for group in groups])
    spreads = np.where(np.isnan(spreads), np.nanmean(spreads) if np.isfinite(spreads).any() else 1.0, spreads)
    peaks = np.array([_peak(group, scale) if group.size else float(g) for g, group in zip(scale.grades, groups, strict=True)])
    return peaks, np.maximum(spreads, 1e-6)


def _cuts(peaks: _Floats, spreads: _Floats) -> FloatArray:
    cuts = (peaks[:-1] * spreads[1:] + peaks[1:] * spreads[:-1]) / (spreads[:-1] + spreads[1:])
    ascending: FloatArray = np.maximum.accumulate(cuts).astype(np.float32)
    return ascending


def _peak(group: _Floats, scale: Scale) -> float:
    axis = np.linspace(scale.lowest, scale.highest, 401)
    density = _density(group, axis)
    return float(np.median(group)) if density is None else float(axis[np.argmax(density)])


def _density(group: _Floats, axis: _Floats) -> _Floats | None:
    """Gaussian kernel density with Scott's bandwidth; None where there is nothing to spread."""
    return None if group.size < 3 or np.ptp(group) < 1e-6 else gaussian_kde(group)(axis)


def _youden(severity: _Floats, positive: np.ndarray) -> float | None:
    values = np.unique(severity)
    if positive.all() or not positive.any() or values.size < 2:
        return None
    thresholds = (values[:-1] + values[1:]) / 2
    sick, well = np.sort(severity[positive]), np.sort(severity[~positive])
    caught, cleared = sick.size - np.searchsorted(sick, thresholds), np.searchsorted(well, thresholds)
    return float(thresholds[np.argmax(caught * well.size + cleared * sick.size)])  # in whole numbers, so that equals are equal


Parts = list[tuple[np.ndarray, GradeCuts]]  # photographs, as a mask (n,), and what reads them


def _cross_fitted(severity: _Floats, grades: IntArray, scale: Scale, owners: IntArray, seed: int) -> Parts:
    """Read each half of the patients by what the other half teaches; nothing where a half would be empty."""
    count = int(owners.max()) + 1 if owners.size else 0
    if count < 2:
        return []
    second = np.random.default_rng(seed).permutation(count)[owners] >= count // 2
    return [(half, fit_reading(severity[~half], grades[~half], scale)) for half in (second, ~second)]


def _by_part(parts: Parts, severity: _Floats, how: Callable[[_Floats, GradeCuts], np.ndarray]) -> _Floats:
    result = np.empty(severity.size)
    for rows, reading in parts:
        result[rows] = how(severity[rows], reading)
    return result


def _called(severity: _Floats, parts: Parts) -> np.ndarray | None:
    """Tell which severities are called referable, (n,) bool; None where a threshold is missing."""
    thresholds = [reading.threshold for _, reading in parts]
    if not thresholds or None in thresholds:
        return None
    return _by_part(parts, severity, lambda s, reading: s >= (reading.threshold or 0.0)).astype(bool)


def _once(statistic: Statistic, count: int) -> float:
    return float(statistic(np.ones((1, count)))[0])


def _undefined(weights: _Floats) -> _Floats:
    return np.full(len(weights), np.nan)


def _mean(values: np.ndarray, among: np.ndarray | None = None) -> Statistic:
    """Mean of values (n,) over the photographs `among`, (n,) bool; over all if not given."""
    counted = np.ones(values.size) if among is None else among.astype(float)
    summed = values * counted

    def statistic(weights: _Floats) -> _Floats:
        return _divided(weights @ summed, weights @ counted)

    return statistic


def _divided(part: _Floats, whole: _Floats) -> _Floats:
    """Part by whole, NaN where the whole is 0."""
    quotient: _Floats = np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole != 0)
    return quotient


def _agreement(assigned: IntArray | None, grades: IntArray, scale: Scale, *, suffix: str) -> dict[str, Statistic]:
    names = [f"{name}{suffix}" for name in ("quadratic_kappa", "accuracy", "skipped")]
    if assigned is None:
        return dict.fromkeys(names, _undefined)
    off = np.abs(assigned - grades)
    return dict(zip(names, (_kappa(assigned, grades, scale), _mean(off == 0), _mean(off >= 2)), strict=True))


def _kappa(assigned: IntArray, grades: IntArray, scale: Scale) -> Statistic:
    """1 minus the mean squared distance of the pairs over that of all assigned with all human grades (Cohen 1968)."""
    places = np.arange(len(scale.grades))
    distance = np.square(places[:, None] - places)
    human, read = (np.equal.outer(one - scale.lowest, places).astype(float) for one in (grades, assigned))
    squared = np.square(assigned - grades).astype(float)

    def statistic(weights: _Floats) -> _Floats:
        by_chance = np.einsum("bi,ij,bj->b", weights @ human, distance, weights @ read)
        return 1 - _divided((weights @ squared) * weights.sum(axis=1), by_chance)

    return statistic


class _Ranking:
    """Photographs in ascending order of a value, those of one value in one group."""

    def __init__(self, values: np.ndarray) -> None:
        self.order = np.argsort(values, kind="stable")
        ordered = values[self.order]
        first = np.ones(values.size, dtype=bool)
        first[1:] = ordered[1:] != ordered[:-1]
        self.starts = np.flatnonzero(first)
        self.group = np.empty(values.size, dtype=np.int64)
        self.group[self.order] = np.cumsum(first) - 1

    def sums(self, weights: _Floats) -> _Floats:
        """Sum weights (b, n) over each group, (b, groups)."""
        ordered: _Floats = np.take(weights, self.order, axis=1)
        return ordered if self.starts.size == self.order.size else np.add.reduceat(ordered, self.starts, axis=1)


def _midranks(sums: _Floats) -> _Floats:
    """Mean rank of each group less the mean of all ranks, (b, groups)."""
    ranks: _Floats = np.cumsum(sums, axis=1)
    ranks -= sums / 2 + sums.sum(axis=1, keepdims=True) / 2
    return ranks


def _spearman(severity: np.ndarray, grades: np.ndarray) -> Statistic:
    first, second = _Ranking(severity), _Ranking(grades)

    def statistic(weights: _Floats) -> _Floats:
        sums, of_grade = first.sums(weights), second.sums(weights)
        ranks, grade_ranks = _midranks(sums), _midranks(of_grade)
        together = (first.sums(weights * np.take(grade_ranks, second.group, axis=1)) * ranks).sum(axis=1)
        spread = (sums * ranks**2).sum(axis=1) * (of_grade * grade_ranks**2).sum(axis=1)
        return np.clip(_divided(together, np.sqrt(spread)), -1, 1)

    return statistic


def _auc(score: np.ndarray, positive: np.ndarray) -> Statistic:
    ranking = _Ranking(score)
    sign = positive.astype(float)

    def statistic(weights: _Floats) -> _Floats:
        wins, losses = ranking.sums(weights * sign), ranking.sums(weights * (1 - sign))
        outranked = np.cumsum(losses, axis=1)
        outranked -= losses / 2
        return _divided((wins * outranked).sum(axis=1), wins.sum(axis=1) * losses.sum(axis=1))

    return statistic


@dataclass(frozen=True)
class _Receiver:
    """A score (n,) that tells `positive` photographs from the others: those of `grade`, or where it is None the referable."""

    method: str
    grade: int | None
    score: _Floats
    positive: np.ndarray

    def curve(self) -> tuple[FloatArray, FloatArray]:
        """Shares of false and true positives, evenly thinned along the curve where it has many corners."""
        false, true, _ = roc_curve(self.positive, self.score)
        if false.size > _CURVE_POINTS:
            kept = np.unique(np.searchsorted(false + true, np.linspace(0, 2, _CURVE_POINTS)).clip(max=false.size - 1))
            false, true = false[kept], true[kept]
        return false.astype(np.float32), true.astype(np.float32)


def _receivers(severity: _Floats, shares: _Floats | None, parts: Parts, grades: IntArray, scale: Scale) -> dict[str, _Receiver]:
    """Each grade against all others, and referable against not, by score and classifier."""
    found = {}
    if scale.referable is not None:
        found["auc_referable"] = _Receiver("score", None, severity, grades >= scale.referable)
        if shares is not None:
            together = shares[:, scale.referable - scale.lowest :].sum(axis=1)
            found["auc_referable_classifier"] = _Receiver("classifier", None, together, grades >= scale.referable)
    for place, grade in enumerate(scale.grades):
        if parts:
            depth = _by_part(parts, severity, lambda s, reading, place=place: stage_depth(s, reading.cuts, place))  # type: ignore[misc]
            found[f"auc_{grade}"] = _Receiver("score", grade, depth, grades == grade)
        if shares is not None:
            found[f"auc_{grade}_classifier"] = _Receiver("classifier", grade, shares[:, place], grades == grade)
    return found


def _referable(receiver: _Receiver | None, called: np.ndarray | None, *, suffix: str) -> dict[str, Statistic]:
    """The figures of one method that tells referable photographs; none where the scale knows no such grade."""
    if receiver is None:
        return {}
    names = f"auc_referable{suffix}", f"sensitivity_referable{suffix}", f"specificity_referable{suffix}"
    area = _auc(receiver.score, receiver.positive)
    if called is None:
        return dict(zip(names, (area, _undefined, _undefined), strict=True))
    return dict(zip(names, (area, _mean(called, receiver.positive), _mean(~called, ~receiver.positive)), strict=True))


def _intervals(statistics: Mapping[str, Statistic], owners: IntArray, seed: int) -> dict[str, Interval]:
    """Give each figure its 95 % percentile interval, NaN where fewer than half of the resamples define it."""
    draws: dict[str, list[_Floats]] = {name: [] for name in statistics}
    for weights in _resamples(owners, seed):
        for name, statistic in statistics.items():
            draws[name].append(statistic(weights))
    return {name: _percentiles(values) for name, values in draws.items()}


def _resamples(owners: IntArray, seed: int) -> Iterator[_Floats]:
    """Yield blocks (b, n) of how often each photograph counts where patients are drawn with replacement."""
    count = int(owners.max()) + 1 if owners.size else 0
    if count < 2:
        return
    generator = np.random.default_rng([seed, count])
    block = max(1, min(_DRAWS, _BLOCK // owners.size))
    for start in range(0, _DRAWS, block):
        draws = min(block, _DRAWS - start)
        drawn = generator.integers(count, size=(draws, count)) + count * np.arange(draws)[:, None]
        times = np.bincount(drawn.ravel(), minlength=draws * count).reshape(draws, count)
        yield np.take(times, owners, axis=1).astype(np.float64)


def _percentiles(draws: list[_Floats]) -> Interval:
    values = np.concatenate(draws) if draws else np.empty(0)
    defined = values[np.isfinite(values)]
    if not defined.size or defined.size < values.size / 2:
        return np.nan, np.nan
    low, high = np.quantile(defined, [0.025, 0.975])
    return float(low), float(high)


def _confusion(assigned: IntArray, grades: IntArray, scale: Scale) -> IntArray:
    count = len(scale.grades)
    cells = (grades - scale.lowest) * count + assigned - scale.lowest
    return np.bincount(cells, minlength=count * count).reshape(count, count).astype(np.int64)


def _densities(severity: _Floats, grades: IntArray, scale: Scale) -> Densities:
    axis = np.linspace(scale.lowest, scale.highest, scale.span * _DENSITY_STEPS + 1)
    values = np.full((len(scale.grades), axis.size), np.nan)
    for row, grade in enumerate(scale.grades):
        density = _density(severity[grades == grade], axis)
        if density is not None:
            values[row] = density
    return Densities(axis.astype(np.float32), values.astype(np.float32))


def _bins(severity: _Floats, scale: Scale) -> list[tuple[float, float, np.ndarray]]:
    """Cut the scale into equal steps: their ends, and the photographs in each, (n,) bool; empty steps are left out."""
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
