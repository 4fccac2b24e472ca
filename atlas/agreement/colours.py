"""The baseline that every result is to be compared with: what four colour numbers of a photograph tell about its grade.

Colours tell the camera and the clinic, and where one clinic has more severe patients than another, they tell the grade as well,
without any lesion. A scorer that is hardly better than this may have learned the camera.

The four numbers are the means of red, green and blue over the image area, and their spread: the root mean square of the three
standard deviations. The regressions also see their squares and products: on the 1,105 photographs of Messidor-2 these raise the
AUC for referable disease from 0.67 to 0.70, and a weak baseline would flatter the scorer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from atlas.agreement.detection import FEWEST
from atlas.records import IntArray, Scale

FOLDS = 5
"""Parts into which the patients are divided; each is predicted from the others."""

_Floats = NDArray[np.float64]


def four_numbers(colours: np.ndarray) -> _Floats:
    """Return mean red, green and blue and their spread, (n, 4), from means and standard deviations of the channels, (n, 6)."""
    means, deviations = np.split(np.asarray(colours, np.float64), 2, axis=1)
    return np.column_stack([means, np.sqrt(np.square(deviations).mean(axis=1))])


def from_colours(
    colours: np.ndarray, grades: IntArray, scale: Scale, owners: IntArray, seed: int = 0
) -> tuple[_Floats | None, IntArray] | None:
    """Predict each photograph's grade from four colour numbers, by regressions that were fitted on other patients.

    Parameters
    ----------
    colours : np.ndarray
        (n, 6), means and standard deviations of red, green and blue over the image area.
    grades : IntArray
        (n,), human grades.
    scale : Scale
        Scale of the grades.
    owners : IntArray
        (n,), the patient of each photograph, numbered from 0.
    seed : int
        Divides the patients into `FOLDS` parts.

    Returns
    -------
    tuple[NDArray[np.float64] | None, IntArray] or None
        How likely each photograph is referable, (n,), by logistic regression; None if the scale has no referable grade or one
        side of it is rare. And the grades, (n,), by ridge regression: the predictions are read so that each grade is as frequent
        as among the photographs that the regression was fitted on. None if there are too few patients or only one grade.
    """
    count = int(owners.max()) + 1 if owners.size else 0
    if count < 2 * FOLDS or np.unique(grades).size < 2:
        return None
    seen = four_numbers(colours)
    part = np.random.default_rng([seed, count]).permutation(count)[owners] % FOLDS
    positive = None if scale.referable is None else grades >= scale.referable
    likely: _Floats | None = np.zeros(grades.size)
    read: IntArray = np.zeros(grades.size, np.int64)
    for own in range(FOLDS):
        held, known = part == own, part != own
        if positive is None or min(positive[known].sum(), (~positive[known]).sum()) < FEWEST:
            likely = None
        if likely is not None and positive is not None:
            logistic = make_pipeline(*_terms(), LogisticRegression()).fit(seen[known], positive[known])
            likely[held] = logistic.decision_function(seen[held])
        ridge = make_pipeline(*_terms(), Ridge()).fit(seen[known], grades[known])
        read[held] = _as_frequent(ridge.predict(seen[held]), ridge.predict(seen[known]), grades[known], scale)
    return likely, read


def _terms() -> tuple[Any, ...]:
    """Return the steps that make the numbers, their squares and their products, all of one scale."""
    return StandardScaler(), PolynomialFeatures(2, include_bias=False), StandardScaler()


def _as_frequent(values: _Floats, known: _Floats, grades: IntArray, scale: Scale) -> IntArray:
    """Read values (m,) by the cuts that make each grade as frequent among the known values as among their human grades."""
    shares = np.array([(grades <= grade).mean() for grade in scale.grades[:-1]])
    return scale.lowest + np.searchsorted(np.quantile(known, shares), values, side="right").astype(np.int64)
