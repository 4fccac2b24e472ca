"""The cohort in one line from healthy to severe, and where the human grades differ from it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from atlas.agreement.reading import FLAGGED_FROM, differences, nearest_grade
from atlas.records import Scale, Scores, Strip


def rank(scores: Scores, grades: Mapping[str, int | None], scale: Scale) -> Strip:
    """Order the images by severity, ties by image_id, read each score as a grade and compare it with the human grade.

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
    off_scale = set(human[~np.isnan(human)]) - set(scale.grades)
    if off_scale:
        raise ValueError(f"grades {sorted(off_scale)} are not on the scale {scale.lowest}..{scale.highest}")
    return Strip(image_ids, severity, nearest_grade(severity, scale), differences(severity, human, scale))


def flagged(strip: Strip, least: int = FLAGGED_FROM) -> tuple[str, ...]:
    """Return the images whose score, read as a grade, differs from the human grade by `least` or more, either way.

    The largest difference comes first; equal ones are in the order of the strip.
    """
    gap = np.abs(strip.difference)
    order = np.argsort(-gap, kind="stable")  # NaN last
    return tuple(strip.image_ids[i] for i in order if gap[i] >= least)
