"""Agreement of severities with human grades: the figures a scorer is judged by.

A figure that is not defined for the data at hand (constant severities, a single grade) is NaN, never an error.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import gaussian_kde, rankdata
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from atlas.records import Evaluation, FloatArray, IntArray, Scale

_QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}


def evaluate(
    severity: ArrayLike,
    grades: ArrayLike,
    scale: Scale,
    patients: Sequence[str] | None = None,
    seed: int = 0,
) -> Evaluation:
    """Compare severities with human grades.

    Parameters
    ----------
    severity : (n,) in grade units.   grades : (n,) whole numbers on `scale`.
    patients : (n,) whose photograph each is; the stage ranges are then fitted on other patients than they are judged on. Without
        it every photograph counts as a patient.
    seed : draws the halves of the patients between which the stage ranges are cross-fitted.

    Returns
    -------
    Evaluation with figures `spearman` (rank correlation), `mae` (mean absolute error, grade units); `quadratic_kappa`, `accuracy`
    and `skipped` (share two or more grades off) of the severity rounded to the nearest grade; the same three with the ending
    `_ranges` of the severity read by `stage_ranges` of the other half of the patients; and `auc_referable` where the scale
    knows a referable grade. One row per grade holds `grade`, `count`, `mean`, `sd`, `q05`, `q25`, `median`, `q75` and `q95`.
    """
    severities = np.asarray(severity, dtype=np.float64)
    truth = np.asarray(grades, dtype=np.int64)
    if severities.shape != truth.shape or severities.ndim != 1:
        raise ValueError(f"severity and grades must be of one length, got shapes {severities.shape} and {truth.shape}")
    figures = {
        "spearman": spearman(severities, truth),
        "mae": float(np.abs(severities - truth).mean()) if truth.size else np.nan,
        **_agreement(nearest_grade(severities, scale), truth, scale, suffix=""),
        **_agreement(_cross_fitted(severities, truth, scale, patients, seed), truth, scale, suffix="_ranges"),
    }
    if scale.referable is not None:
        figures["auc_referable"] = auc(severities, truth >= scale.referable)
    return Evaluation(figures, tuple(_by_grade(severities[truth == g], g) for g in scale.grades), int(truth.size))


def nearest_grade(severity: ArrayLike, scale: Scale) -> IntArray:
    """Round severities (n,) to the nearest grade of the scale; halves go up."""
    rounded = np.floor(np.asarray(severity, dtype=np.float64) + 0.5)
    nearest: IntArray = np.clip(rounded, scale.lowest, scale.highest).astype(np.int64)
    return nearest


def spearman(severity: ArrayLike, grades: ArrayLike) -> float:
    """Spearman's rank correlation, ties sharing their mean rank; NaN where one side is constant."""
    ranks = rankdata(severity), rankdata(grades)
    if any(r.size < 2 or np.ptp(r) == 0 for r in ranks):
        return np.nan
    return float(np.corrcoef(*ranks)[0, 1])


def quadratic_kappa(assigned: ArrayLike, grades: ArrayLike, scale: Scale) -> float:
    """Cohen's kappa with squared-distance weights; NaN where both sides hold one and the same grade only."""
    both = np.concatenate([np.asarray(assigned), np.asarray(grades)])
    if both.size == 0 or np.ptp(both) == 0:
        return np.nan
    return float(cohen_kappa_score(assigned, grades, labels=list(scale.grades), weights="quadratic"))


def auc(severity: ArrayLike, positive: ArrayLike) -> float:
    """Area under the ROC curve: how often a positive outranks a negative, ties counting half; NaN with one class only."""
    labels = np.asarray(positive, dtype=bool)
    if labels.all() or not labels.any():
        return np.nan
    return float(roc_auc_score(labels, severity))


def stage_ranges(severity: ArrayLike, grades: ArrayLike, scale: Scale) -> FloatArray:
    """Cut the severity axis into one range per grade, as the original study does.

    Each grade's range grows from the peak of its kernel density to both sides, at the pace of its standard deviation, until
    neighbours touch. Where two peaks stand in the wrong order the cut of the lower pair holds, and the range between is empty. A
    grade without photographs peaks at its own value with the mean spread of the others.

    Returns
    -------
    float32 (grades - 1,), ascending: severities below the first cut are the lowest grade, and so on.
    """
    severities, truth = np.asarray(severity, dtype=np.float64), np.asarray(grades)
    groups = [severities[truth == g] for g in scale.grades]
    spreads = np.array([group.std() if group.size > 1 else np.nan for group in groups])
    spreads = np.where(np.isnan(spreads), np.nanmean(spreads) if np.isfinite(spreads).any() else 1.0, spreads)
    spreads = np.maximum(spreads, 1e-6)
    peaks = np.array([_peak(group, scale) if group.size else float(g) for g, group in zip(scale.grades, groups, strict=True)])
    cuts = (peaks[:-1] * spreads[1:] + peaks[1:] * spreads[:-1]) / (spreads[:-1] + spreads[1:])
    ascending: FloatArray = np.maximum.accumulate(cuts).astype(np.float32)
    return ascending


def grade_by_ranges(severity: ArrayLike, cuts: FloatArray, scale: Scale) -> IntArray:
    """Read severities (n,) as grades by the cuts of `stage_ranges`."""
    assigned: IntArray = scale.lowest + np.searchsorted(cuts, np.asarray(severity, dtype=np.float32), side="right").astype(
        np.int64
    )
    return assigned


def _peak(group: np.ndarray, scale: Scale) -> float:
    if group.size < 3 or np.ptp(group) < 1e-6:
        return float(np.median(group))
    axis = np.linspace(scale.lowest, scale.highest, 401)
    return float(axis[np.argmax(gaussian_kde(group)(axis))])


def _cross_fitted(
    severity: np.ndarray, grades: np.ndarray, scale: Scale, patients: Sequence[str] | None, seed: int
) -> IntArray | None:
    """Read each half of the patients by the ranges of the other half; None where a half would be empty."""
    owners = np.arange(grades.size) if patients is None else np.unique(np.asarray(patients, dtype=str), return_inverse=True)[1]
    count = int(owners.max()) + 1 if owners.size else 0
    if count < 2:
        return None
    second = np.random.default_rng(seed).permutation(count)[owners] >= count // 2
    assigned = np.empty(grades.size, dtype=np.int64)
    for half in (second, ~second):
        assigned[half] = grade_by_ranges(severity[half], stage_ranges(severity[~half], grades[~half], scale), scale)
    return assigned


def _agreement(assigned: IntArray | None, grades: IntArray, scale: Scale, *, suffix: str) -> dict[str, float]:
    if assigned is None or not grades.size:
        return dict.fromkeys((f"quadratic_kappa{suffix}", f"accuracy{suffix}", f"skipped{suffix}"), np.nan)
    return {
        f"quadratic_kappa{suffix}": quadratic_kappa(assigned, grades, scale),
        f"accuracy{suffix}": float((assigned == grades).mean()),
        f"skipped{suffix}": float((np.abs(assigned - grades) >= 2).mean()),
    }


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
