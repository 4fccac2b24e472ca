"""How a score is read as a grade, and how far that is from the human grade: the only place that decides either.

A score is read as the nearest grade of its scale; a half is rounded up, so that 1.5 is read as 2. The alternative, stage ranges
fitted on graded scores (`evaluation.stage_ranges`), agreed less with people on all sets on which a shipped scorer was measured.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from atlas.records import FloatArray, IntArray, Scale

DECIMALS = 4
"""Decimals of a score in the tables. It is read as a grade after this rounding, so that the tables agree with themselves."""

FLAGGED_FROM = 2
"""A photograph is flagged if the grade read from its score differs from its human grade by this many grades, either way."""


def nearest_grade(severity: ArrayLike, scale: Scale) -> IntArray:
    """Read severities (n,) as the nearest grade of the scale; halves go up."""
    rounded = np.floor(np.round(np.asarray(severity, dtype=np.float64), DECIMALS) + 0.5)
    nearest: IntArray = np.clip(rounded, scale.lowest, scale.highest).astype(np.int64)
    return nearest


def boundaries(scale: Scale) -> FloatArray:
    """Return the severities, float32 (grades - 1,), from which a severity is read as the next grade."""
    edges: FloatArray = np.array([grade - 0.5 for grade in scale.grades[1:]], np.float32)
    return edges


def differences(severity: ArrayLike, grades: ArrayLike, scale: Scale) -> FloatArray:
    """Return the grade read from each severity (n,) minus the human grade (n,), float32 (n,); NaN where that is NaN."""
    apart: FloatArray = (nearest_grade(severity, scale) - np.asarray(grades, np.float64)).astype(np.float32)
    return apart


def printable_score(severity: float) -> float:
    """Return a severity that, printed with two decimals, does not contradict its reading.

    Two decimals would show 1.497 as 1.50, although it is read as grade 1. Such severities become 1.4949, which shows as 1.49. All
    others are rounded to `DECIMALS`. The order of severities is kept.
    """
    unit: int = 10**DECIMALS
    steps = round(severity * unit)
    below = steps % unit
    return (steps - below + 4949 if 4950 <= below < 5000 else steps) / unit
