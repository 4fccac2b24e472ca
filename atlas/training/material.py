"""What a scorer learns from: graded photographs, divided and weighted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atlas.agreement.evaluation import label_distribution
from atlas.records import SPLITS, Dataset, FloatArray, GradedImage, IntArray, Scale, TestScores
from atlas.training.splits import Balance, balanced_weights, parts_of, patient_of, require_variety, unit_labels


@dataclass(frozen=True, eq=False)
class Material:
    """Graded photographs with their splits and weights.

    Parameters
    ----------
    labels : FloatArray
        (n,) in 0..1, see `Scale.to_unit`.
    grades : IntArray
        (n,), human grades.
    weights : FloatArray
        (n,), weights of the photographs.
    training : IntArray
        Rows to learn from.
    validation : IntArray
        Rows to validate on.
    test : IntArray
        Rows to test on.
    facts : Mapping[str, Any]
        Facts about these for the recipe.
    """

    images: Sequence[GradedImage]
    scale: Scale
    labels: FloatArray
    grades: IntArray
    weights: FloatArray
    training: IntArray
    validation: IntArray
    test: IntArray
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, dataset: Dataset, balance: Balance, seed: int) -> Material:
        images = [image for image in dataset.images if image.grade is not None]
        require_variety(images, patients=10, setting="a split into 80, 10 and 10 %")
        published = any(image.split is not None for image in images)
        parts = parts_of(images, seed=seed)
        row_of = {image.image_id: row for row, image in enumerate(images)}
        rows = {split: np.array([row_of[i] for i in parts[split]], np.int64) for split in SPLITS}
        training, validation, test = (rows[split] for split in SPLITS)
        scale = dataset.scale
        grades = np.array([image.grade for image in images], np.int64)
        weights = balanced_weights(images, training, validation, balance, seed)
        found = label_distribution(grades[training], weights[training], scale)
        facts = {
            "balance": balance,
            "seed": seed,
            "split": "as published" if published else "80/10/10 by patient",
            "photographs": {split: len(parts[split]) for split in SPLITS},
            "labels": [[grade, count, round(share, 6)] for grade, (count, share) in found.items()],
            "counts": {split: [Counter(grades[rows[split]])[grade] for grade in scale.grades] for split in SPLITS},
        }
        return cls(images, scale, unit_labels(images, scale), grades, weights, training, validation, test, facts)

    @property
    def met(self) -> list[str]:
        """The image_ids of photographs that a scorer learns from or is chosen by, ascending."""
        return sorted(self.images[row].image_id for row in np.concatenate([self.training, self.validation]))

    def judged(self, severity: FloatArray, probabilities: FloatArray | None = None) -> TestScores:
        """Return the scores of the test split.

        Parameters
        ----------
        severity : FloatArray
            (n,), severities of all photographs.
        probabilities : FloatArray or None
            (test, K), probabilities of the grades in the test split, if there is a classifier.
        """
        owners = [patient_of(self.images[row]) for row in self.test]
        numbers = np.unique(owners, return_inverse=True)[1].astype(np.int64)
        return TestScores(severity[self.test], self.grades[self.test], numbers, probabilities)
