"""The cohort in one line from healthy to severe, and where the human grades disagree with it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from atlas.records import FloatArray, Scale, Scores, Strip


def rank(scores: Scores, grades: Mapping[str, int | None], scale: Scale) -> Strip:
    """Order the images by severity, ties by image_id, and compare each with its human grade.

    A sigmoid never reaches the ends of the scale, so the score itself would rate every proliferative eye too mild. Instead, a
    score is read as a grade by its place in the cohort: the k-th lowest score among the graded images is read as the k-th lowest
    human grade (images with the same score share the mean of theirs). The disagreement is this reading minus the human grade. It
    is zero for all images if the scores put the grades in order, and the same for any rising function of the scores. It compares
    only the order: it cannot show that a complete cohort is scored, or graded, too high.

    Parameters
    ----------
    scores : Scores
        Scores of the images.
    grades : Mapping[str, int | None]
        Human grade, or None, by image_id.
    scale : Scale
        Scale of both.

    Returns
    -------
    Strip
        The images in order.

    Raises
    ------
    ValueError
        If a grade is not on the scale.
    """
    severity_of = scores.by_id()
    image_ids = tuple(sorted(severity_of, key=lambda image_id: (severity_of[image_id], image_id)))
    severity = np.array([severity_of[image_id] for image_id in image_ids], np.float32)
    human = np.array([np.nan if (grade := grades.get(image_id)) is None else grade for image_id in image_ids], np.float64)
    graded = ~np.isnan(human)
    off_scale = set(human[graded]) - set(scale.grades)
    if off_scale:
        raise ValueError(f"grades {sorted(off_scale)} are not on the scale {scale.lowest}..{scale.highest}")
    disagreement = np.full(len(image_ids), np.nan, np.float32)
    disagreement[graded] = _read_as_grades(severity[graded], human[graded]) - human[graded]
    return Strip(image_ids, severity, disagreement)


def flagged(strip: Strip, least: float = 1.5) -> tuple[str, ...]:
    """Return the images whose score and human grade differ by `least` grades or more, largest first, then in strip order."""
    gap = np.abs(strip.disagreement)
    order = np.argsort(-gap, kind="stable")  # NaN last
    return tuple(strip.image_ids[i] for i in order if gap[i] >= least)


def _read_as_grades(severity: FloatArray, human: NDArray[np.float64]) -> NDArray[np.float64]:
    lowest, highest = (rankdata(severity, method=end).astype(int) for end in ("min", "max"))
    cumulative = np.concatenate([[0.0], np.cumsum(np.sort(human))])
    return np.asarray((cumulative[highest] - cumulative[lowest - 1]) / (highest - lowest + 1))
