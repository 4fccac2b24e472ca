"""How well each grade, and referable disease, is found: recall, precision and F1, and the operating point."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from atlas.agreement.statistics import Floats, Statistic, mean, ratio, undefined
from atlas.records import BoolArray, Detection, IntArray, Interval, Scale

FEWEST = 5
"""A ratio of fewer photographs says more about chance than about the scorer, so it is not told."""

AIM = 0.9
"""Least recall for referable disease at the operating point."""

DETECTION_FIGURES = ("recall", "precision", "f1")
"""Figures of a `Detection`."""


def operating_threshold(severity: Floats, positive: BoolArray, aim: float = AIM) -> float | None:
    """Choose the highest threshold whose recall is at least `aim` on these photographs.

    It lies midway between two neighbouring severities. The highest one calls the fewest photographs that are not referable.

    Parameters
    ----------
    severity : Floats
        (n,), grade units.
    positive : BoolArray
        (n,), whether a photograph is referable.
    aim : float
        Least share of the referable photographs to be found, 0 to 1.

    Returns
    -------
    float or None
        The threshold, grade units; None if fewer than five photographs are referable, or fewer than five are not.
    """
    sick = np.sort(severity[positive])
    if sick.size < FEWEST or positive.size - sick.size < FEWEST:
        return None
    missed = math.floor(sick.size * (1 - aim) + 1e-9)  # 0.1 * 10 must miss one, whatever its last digit
    least = float(sick[missed])
    below = severity[severity < least]
    return least if not below.size else (least + float(below.max())) / 2


@dataclass(frozen=True)
class Sought:
    """What is to be found, (n,), and what is read as such, (n,); see `Detection`."""

    method: str
    grade: int | None
    human: BoolArray
    read: BoolArray

    def statistics(self) -> dict[str, Statistic]:
        """Return the statistics of recall, precision and F1."""
        return dict(zip(DETECTION_FIGURES, _statistics(self.human, self.read), strict=True))

    def detection(self, values: Mapping[str, float], intervals: Mapping[str, Interval]) -> Detection:
        """Return the record with the values and intervals of the statistics."""
        human, read, both = (int(one.sum()) for one in (self.human, self.read, self.human & self.read))
        return Detection(self.method, self.grade, human, read, both, values, intervals)


def _statistics(human: BoolArray, read: BoolArray) -> tuple[Statistic, Statistic, Statistic]:
    enough, called = int(human.sum()) >= FEWEST, int(read.sum()) >= FEWEST
    return (
        mean(read, human) if enough else undefined,
        mean(human, read) if called else undefined,
        ratio(2 * (human & read), human.astype(np.int64) + read) if enough and called else undefined,
    )


def sought(
    assigned: Mapping[str, IntArray], called: Mapping[str, BoolArray | None], grades: IntArray, scale: Scale
) -> Sequence[Sought]:
    """List what is to be found: each grade by each method, then referable disease by each method.

    Parameters
    ----------
    assigned : Mapping[str, IntArray]
        The grades read by each method, (n,) each.
    called : Mapping[str, BoolArray | None]
        The photographs called referable by each method, (n,) each; None if a method has no threshold.
    grades : IntArray
        (n,), human grades.
    scale : Scale
        Scale of both.
    """
    found = [Sought(method, grade, grades == grade, read == grade) for method, read in assigned.items() for grade in scale.grades]
    if scale.referable is None:
        return found
    referable = grades >= scale.referable
    return [*found, *(Sought(method, None, referable, one) for method, one in called.items() if one is not None)]
