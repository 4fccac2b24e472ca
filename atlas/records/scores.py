"""Scores, how they are read as grades, and what drove them."""

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
        One pair for each group of consecutive hidden units: the rows and columns (h, w) of the group's own cells, and what each
        of these cells adds to z, (h*w, units), row-major. If this grid is not `grid`, a cell's sum is spread over its area.
    whole : NDArray[np.float64]
        float64 (H,), z with nothing hidden.
    weight : FloatArray
        float32 (H,), weights of the output.
    bias : float
        Bias of the output.
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
        float32 (grades - 1,), ascending, grade units, see `evaluation.stage_ranges`.
    threshold : float or None
        Severities from this value up are called referable, grade units; None if the scale has no referable grade.
    peaks : FloatArray or None
        float32 (grades,), the peak of each grade's severities, from which the cuts were made; None if not kept.
    deviations : FloatArray or None
        float32 (grades,), the standard deviation of each grade's severities, likewise.
    operating : float or None
        Threshold of the operating point, grade units: severities from this value up include at least 90% of the referable
        photographs that it was chosen on; None if it was not chosen.
    """

    cuts: FloatArray
    threshold: float | None = None
    peaks: FloatArray | None = None
    deviations: FloatArray | None = None
    operating: float | None = None


@dataclass(frozen=True)
class DoubtRule:
    """Limits beyond which a scorer is not sure of a score, see `agreement.doubt`.

    Parameters
    ----------
    usual : FloatArray
        float32 (m,), the usual difference between the logit of each of the scorer's networks and that of the complete scorer;
        (0,) if it has one network.
    members : float
        How far the scorer's networks may differ, grade units.
    moves : float
        How far the score may change when the photograph is mirrored, grade units.
    colours : FloatArray
        float32 (6,), usual means and standard deviations of red, green and blue, 0 to 255.
    precision : FloatArray
        float32 (6, 6), the inverse of the covariance of these six.
    unlike : float
        How far colours may be from the usual ones, Mahalanobis distance.
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
    image_ids : tuple[str, ...]
        (n,), the photographs.
    severity : FloatArray
        float32 (n,) in grade units.
    out_of_fold : bool
        Whether no photograph was scored by a head that learned from its patient.
    probabilities : FloatArray or None
        float32 (n, K), probabilities of the K grades by a softmax classifier on the same features; None if none was trained.
    seen_in_training : frozenset[str] or None
        Image_ids of patients that a trained scorer learned from; None if its bundle does not say.
    doubts : tuple[tuple[str, ...], ...] or None
        (n,), why the scorer is not sure of each score, keys of `agreement.doubt.REASONS`; None if it has no rule for that.
    """

    image_ids: tuple[str, ...]
    severity: FloatArray
    out_of_fold: bool
    probabilities: FloatArray | None = None
    seen_in_training: frozenset[str] | None = None
    doubts: tuple[tuple[str, ...], ...] | None = None

    def unseen(self, image_id: str) -> bool | None:
        """Return whether the scorer of an image never learned from its patient; None if that is not known."""
        if self.out_of_fold:
            return True
        return None if self.seen_in_training is None else image_id not in self.seen_in_training

    def by_id(self) -> dict[str, float]:
        return {i: float(s) for i, s in zip(self.image_ids, self.severity, strict=True)}


@dataclass(frozen=True)
class TestScores:
    """A scorer's scores of its own test split: photographs of patients that it never learned from.

    Parameters
    ----------
    severity : FloatArray
        float32 (n,), grade units.
    grades : IntArray
        int64 (n,), human grades.
    patients : IntArray
        int64 (n,), an arbitrary number for each patient, which identifies nobody.
    probabilities : FloatArray or None
        float32 (n, K), probabilities of the K grades by the classifier on the same features, if there is one.
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
    image_ids : tuple[str, ...]
        (n,), the photographs.
    method : str
        Name of the saliency method.
    values : FloatArray
        float32 (n, h, w), signed, in grades in the middle of the scale, see `readouts.grades_in_the_middle`; 0 where `inside` is
        false.
    inside : BoolArray
        bool (n, h, w), true where the cell is on the retina.
    window : int
        Side of the square of cells that is hidden at once. If it is above 1, there is one entry per window, fewer than there are
        cells.
    """

    image_ids: tuple[str, ...]
    method: str
    values: FloatArray
    inside: BoolArray
    window: int = 1


@dataclass(frozen=True)
class Trust:
    """How well each photograph's map reflects what the scorer does, see `atlas.trust.outlined`.

    Curves are severities in grade units, in k equal steps from none to all of the retinal cells.

    Parameters
    ----------
    image_ids : tuple[str, ...]
        (n,), the photographs.
    deletion : FloatArray
        float32 (n, k), cells left out, strongest first.
    insertion : FloatArray
        float32 (n, k), cells put in, strongest first.
    random : FloatArray
        float32 (n, k), cells left out in random order, mean over many orders.
    badges : tuple[str, ...]
        (n,), the word of each photograph's badge.
    """

    image_ids: tuple[str, ...]
    deletion: FloatArray
    insertion: FloatArray
    random: FloatArray
    badges: tuple[str, ...]
