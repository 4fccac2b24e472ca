"""What scorers say, how it is read, and what drove it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atlas.records.arrays import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class LiveSums:
    """What a page needs to score a photograph again with cells hidden: severity = sigmoid(bias + weight . relu(z)) on the scale.

    Parameters
    ----------
    grid : tuple[int, int]
        Rows and columns of cells.
    parts : tuple[tuple[tuple[int, int], NDArray[np.floating]], ...]
        Of consecutive hidden units, the rows and columns of the cells they are known by, and what each of these adds to z, (h*w,
        units), row-major; what a cell of another grid holds is spread over its area.
    whole : NDArray[np.float64]
        float64 (H,), z with nothing hidden.
    weight : FloatArray
        float32 (H,).
    bias : float
        Float.
    """

    grid: tuple[int, int]
    parts: tuple[tuple[tuple[int, int], NDArray[np.floating]], ...]
    whole: NDArray[np.float64]
    weight: FloatArray
    bias: float


@dataclass(frozen=True)
class GradeCuts:
    """How severities are read, fitted on the scores of training photographs.

    Parameters
    ----------
    cuts : FloatArray
        float32 (grades - 1,), ascending, see `evaluation.stage_ranges`.
    threshold : float or None
        Severities from here on are called referable, grade units; None where the scale knows no referable grade.
    peaks, deviations : FloatArray or None
        float32 (grades,), of each grade's severities, from which the cuts came; None where they were not kept.
    """

    cuts: FloatArray
    threshold: float | None = None
    peaks: FloatArray | None = None
    deviations: FloatArray | None = None


@dataclass(frozen=True)
class DoubtRule:
    """When a scorer is not sure of a score, see `agreement.doubt`.

    Parameters
    ----------
    usual : FloatArray
        float32 (m,), how far the logit of each of the scorer's networks usually lies from the whole scorer's; (0,) for one.
    members, moves : float
        How far, in grade units, its networks may differ, and the score may move when the photograph is mirrored.
    colours : FloatArray
        float32 (6,), usual means and standard deviations of red, green and blue.
    precision : FloatArray
        float32 (6, 6), the inverse of their covariance. unlike : how far, by Mahalanobis, colours may lie off.
    """

    usual: FloatArray
    members: float
    moves: float
    colours: FloatArray
    precision: FloatArray
    unlike: float


@dataclass(frozen=True)
class Scores:
    """Severities of photographs, and what is known of each.

    Parameters
    ----------
    severity : FloatArray
        float32 (n,) in grade units. out_of_fold : no image was scored by a head that learned from its patient.
    probabilities : FloatArray or None
        float32 (n, K) of the grades, by a softmax classifier on the same features; None where none was trained.
    seen_in_training : frozenset[str] or None
        Image_ids of patients whom a trained scorer learned from; None where its bundle does not tell.
    doubts : tuple[tuple[str, ...], ...] or None
        (n,), why the scorer is not sure of each, keys of `agreement.doubt.REASONS`; None where it has no rule for that.
    """

    image_ids: tuple[str, ...]
    severity: FloatArray
    out_of_fold: bool
    probabilities: FloatArray | None = None
    seen_in_training: frozenset[str] | None = None
    doubts: tuple[tuple[str, ...], ...] | None = None

    def unseen(self, image_id: str) -> bool | None:
        """Tell whether an image's score is honest: its scorer never learned from its patient. None where nobody knows."""
        if self.out_of_fold:
            return True
        return None if self.seen_in_training is None else image_id not in self.seen_in_training

    def by_id(self) -> dict[str, float]:
        return {i: float(s) for i, s in zip(self.image_ids, self.severity, strict=True)}


@dataclass(frozen=True)
class TestScores:
    """What a scorer gave photographs of patients that it never met, its own test split.

    Parameters
    ----------
    severity : FloatArray
        float32 (n,), grade units.
    grades : IntArray
        int64 (n,).
    patients : IntArray
        int64 (n,), numbers that name nobody.
    probabilities : FloatArray or None
        float32 (n, K) by the classifier on the same features, or None.
    """

    severity: FloatArray
    grades: IntArray
    patients: IntArray
    probabilities: FloatArray | None = None


@dataclass(frozen=True)
class SaliencyMaps:
    """What drives each score, cell by cell.

    Parameters
    ----------
    values : FloatArray
        float32 (n, h, w), signed, in grades in the middle of the scale, see `readouts.grades_in_the_middle`; 0 where `inside` is
        false.
    inside : BoolArray
        bool (n, h, w), cell on the retina.
    window : int
        Cells a side left out at once. Above 1 there is one entry per window, fewer than there are cells.
    """

    image_ids: tuple[str, ...]
    method: str
    values: FloatArray
    inside: BoolArray
    window: int = 1


@dataclass(frozen=True)
class Trust:
    """How true each photograph's map is to the scorer, see `atlas.trust.outlined`.

    Parameters
    ----------
    deletion, insertion, random : FloatArray
        float32 (n, k), severities in grade units in k equal steps from none to all of the retinal cells: left out strongest
        first, put in strongest first, and left out at random (mean over many orders).
    badges : tuple[str, ...]
        A word for each photograph.
    """

    image_ids: tuple[str, ...]
    deletion: FloatArray
    insertion: FloatArray
    random: FloatArray
    badges: tuple[str, ...]
