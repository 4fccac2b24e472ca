"""Calibrating a trained scorer for other photographs, such as those of another camera: two numbers are fitted, and no network.

The two numbers are those of `calibration`, which every trained network gets once. How the new scores are read, the stage ranges
and both thresholds for referable disease, is fitted on the same photographs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from atlas.agreement.evaluation import evaluate, fit_reading
from atlas.cohort.copies import once
from atlas.errors import TrainingError
from atlas.records import Dataset, Evaluation, FloatArray, GradedImage, IntArray, TestScores
from atlas.scorers.calibrated import CalibratedScorer, Calibration
from atlas.scorers.card import evaluation_entry, write_card
from atlas.scorers.evidence import EvidenceScorer
from atlas.scorers.protocol import Scorer
from atlas.scorers.readouts import Head, severity_of_logit
from atlas.scorers.side_by_side import SideBySideScorer
from atlas.training.calibration import calibration
from atlas.training.splits import patient_of, require_variety

FEWEST_PATIENTS = 10
"""Two numbers and two thresholds that were fitted on fewer patients would be about these patients."""


@dataclass(frozen=True)
class Recalibrated:
    """A calibrated scorer, and what calibration changed.

    Parameters
    ----------
    scorer : CalibratedScorer
        The scorer with its card.
    before : Evaluation
        Agreement of the original scores.
    after : Evaluation
        Agreement of the new scores on the same photographs: those of the table's test part or, if it has none, those to
        calibrate on, where each half of the patients is scored with the numbers that were fitted on the other half.
    """

    scorer: CalibratedScorer
    before: Evaluation
    after: Evaluation


def used_to_calibrate(dataset: Dataset) -> list[GradedImage]:
    """Return the graded photographs to calibrate on or to measure the result on; their training part is not, if it has others."""
    graded = [image for image in dataset.images if image.grade is not None]
    published = any(image.split == "validation" for image in graded)
    return [image for image in graded if not published or image.split in ("validation", "test")]


def recalibrate(
    original: Scorer,
    dataset: Dataset,
    logits: Mapping[str, float],
    *,
    name: str,
    seed: int = 0,
    source: str = "Not stated.",
    command: str = "",
) -> Recalibrated:
    """Calibrate a trained scorer on graded photographs.

    They are those of the table's validation part or, if it has none, all but its test part, without patients whom the scorer
    learned from.

    Parameters
    ----------
    original : Scorer
        The scorer; it stays as it is.
    dataset : Dataset
        Graded photographs, on a scale with as many grades as the scorer's.
    logits : Mapping[str, float]
        The scorer's logit of each photograph, by image_id. Photographs without one are left out.
    name : str
        Name of the new scorer.
    seed : int
        Divides the patients into halves, and draws the resamples.
    source : str
        Sentences for the card on where the photographs come from and on what terms.
    command : str
        The command that calibrates this scorer again, for the card.

    Raises
    ------
    TrainingError
        If there are no new patients, one grade only, or too few patients.
    """
    graded = [image for image in dataset.images if image.grade is not None and image.image_id in logits]
    graded = once(graded, graded)
    learned = _patients_met(dataset, original)
    published = any(image.split == "validation" for image in graded)
    shown = [image for image in graded if (image.split == "validation" if published else image.split != "test")]
    held_out = [image for image in graded if image.split == "test" and patient_of(image) not in learned]
    if not published:
        if shown and all(patient_of(image) in learned for image in shown):
            raise TrainingError(
                f"scorer {original.name} learned from the patients of all these photographs, so its scores of them are too good",
                'give photographs that are new to it, or call those that it was chosen by "validation" in a column named split',
            )
        shown = [image for image in shown if patient_of(image) not in learned]
    require_variety(shown, patients=FEWEST_PATIENTS, setting="a calibration")

    own = _Material.of(shown, logits, dataset, original)
    fitted = own.fit(np.ones(len(shown), bool))
    severity = severity_of_logit(fitted.logits(own.logits), original.scale)
    reading = fit_reading(severity, own.grades, original.scale)
    test = _Material.of(held_out, logits, dataset, original) if held_out else None
    if test is not None:
        scored = severity_of_logit(fitted.logits(test.logits), original.scale)
        after = evaluate(scored, test.grades, original.scale, test.patients, seed, reading=reading)
        where, measured = "Calibration: test part of the table", test
    else:
        after = evaluate(own.cross_fitted(seed), own.grades, original.scale, own.patients, seed)
        where, measured = "Calibration: the same photographs, each half of the patients by the other half", own
    known = original.background
    before = evaluate(
        severity_of_logit(measured.logits, original.scale),
        measured.grades,
        original.scale,
        measured.patients,
        seed,
        reading=known.reading,
    )
    if test is None:  # scores of two calibrations have no common order, but that of the final one is the original's
        after = replace(_with_order_of(before, after), operating=reading.operating)
    facts: dict[str, Any] = {
        **{key: value for key, value in known.training.items() if not key.startswith("validation_")},
        "threshold": "of the photographs that it was calibrated on",
        "calibrated": {
            "of": known.training.get("calibrated", {}).get("of", original.name),
            "sha256": original.sha256,
            "stretch": fitted.stretch,
            "shift": fitted.shift,
            "photographs": len(shown),
            "patients": int(np.unique(own.patients).size),
            "counts": [int((own.grades == grade).sum()) for grade in original.scale.grades],
            "part": "the validation part of their table" if published else "all that are not in a test part",
            "acts_on": _acts_on(original),
            "sources": source,
            "command": command,
        },
    }
    scorer = CalibratedScorer(
        name,
        original,
        fitted,
        original.scale,
        training=facts,
        reading=reading,
        judged=None if test is None else test.judged(fitted),
        evaluations=(evaluation_entry(where, command, after),),
        # Without a list of what the original learned from, a list of these alone would say that all others are new to it.
        learned=tuple(sorted({*known.learned, *(image.image_id for image in shown)})) if known.learned else (),
    )
    return Recalibrated(replace(scorer, card=write_card(scorer)), before, after)


@dataclass(frozen=True, eq=False)
class _Material:
    """Photographs with the original's logits (n,), their grades (n,) on its scale, and their patients (n,)."""

    logits: FloatArray
    grades: IntArray
    patients: np.ndarray
    original: Scorer

    @classmethod
    def of(cls, images: Sequence[GradedImage], logits: Mapping[str, float], dataset: Dataset, original: Scorer) -> _Material:
        moved = original.scale.lowest - dataset.scale.lowest
        return cls(
            np.array([logits[image.image_id] for image in images], np.float32),
            np.array([(image.grade or 0) + moved for image in images], np.int64),
            np.array([patient_of(image) for image in images]),
            original,
        )

    def fit(self, rows: np.ndarray) -> Calibration:
        return Calibration(*calibration(self.logits[rows], self.grades[rows], self.original.scale))

    def cross_fitted(self, seed: int) -> FloatArray:
        """Score each half of the patients with the numbers that were fitted on the other half, (n,)."""
        numbers = np.unique(self.patients, return_inverse=True)[1]
        count = int(numbers.max()) + 1
        second = np.random.default_rng(seed).permutation(count)[numbers] >= count // 2
        severity: FloatArray = np.empty(len(self.logits), np.float32)
        for half in (second, ~second):
            severity[half] = severity_of_logit(self.fit(~half).logits(self.logits[half]), self.original.scale)
        return severity

    def judged(self, fitted: Calibration) -> TestScores:
        numbers = np.unique(self.patients, return_inverse=True)[1].astype(np.int64)
        return TestScores(severity_of_logit(fitted.logits(self.logits), self.original.scale), self.grades, numbers)


def _patients_met(dataset: Dataset, scorer: Scorer) -> frozenset[str]:
    """Return the patients of the photographs that a scorer learned from or was chosen by, as far as its bundle says."""
    learned = frozenset(scorer.background.learned)
    return frozenset(patient_of(image) for image in dataset.images if image.image_id in learned)


def _with_order_of(before: Evaluation, after: Evaluation) -> Evaluation:
    """Return `after` with those figures of `before` that depend on the order of the scores alone."""
    names = [name for name in ("auc_referable", "spearman") if name in before.figures]
    return replace(
        after,
        figures={**after.figures, **{name: before.figures[name] for name in names}},
        intervals={**after.intervals, **{name: before.intervals[name] for name in names}},
    )


def _acts_on(scorer: Scorer) -> str:
    """Say for the card what the two numbers act on."""
    if isinstance(scorer, SideBySideScorer):
        return "They act on the mean of its members' logits, after the calibration that this mean already has."
    if isinstance(scorer, EvidenceScorer):
        return "They act on the logit that its evidence adds up to; the evidence itself stays as it is."
    if isinstance(getattr(scorer, "head", None), Head):
        return "They act on the logit of its regressor."
    return (
        "They act on the logit of the place of its expected grade on the scale; the probabilities of the grades stay as the "
        "network gives them."
    )
