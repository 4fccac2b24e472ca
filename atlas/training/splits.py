"""Splits of photographs by patient, and balance between grades with unequal counts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np

from atlas.errors import TrainingError
from atlas.records import SPLITS, FloatArray, GradedImage, IntArray, Scale

Balance = Literal["none", "discard", "weight"]

_TEMPERING = 0.7  # exponent of the class weights: with 1, a few photographs of the rarest grade would dominate the fit

_DISCARD_RATIO = 4  # the study kept 3000 / 2443 / 2000 / 873 / 708: its most frequent grade 4.2 times the rarest


def split_by_patient(
    images: Sequence[GradedImage], *, seed: int, shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
) -> dict[str, tuple[str, ...]]:
    """Split photographs into "training", "validation" and "test", patient by patient.

    Patients are dealt grade by grade (each by the worst grade of its photographs), so that the parts of every grade are as close
    to `shares` as undivided patients allow. A photograph without a patient counts as a patient of its own.

    Returns
    -------
    dict[str, tuple[str, ...]]
        Image_ids by the name of the split, in the order of `images`.
    """
    return dict(zip(SPLITS, deal(images, shares, seed), strict=True))


def published_split(images: Sequence[GradedImage]) -> dict[str, tuple[str, ...]]:
    """Return the splits that the tables give, in the form of `split_by_patient`.

    A photograph without a split joins the other photographs of its patient; if none of them has a split, it is used for
    training. Where copies of one picture show that two patients of the table are the same person, in two parts, that person
    is in the later part alone: test photographs stay, and nothing learns from the others.

    Raises
    ------
    TrainingError
        If the table puts a patient in two splits, or no photograph is left to validate on.
    """
    by_copies = {patient_of(image) for image in images if image.copy_of is not None}
    side_of: dict[str, str] = {}
    for image in images:
        known = side_of.setdefault(patient_of(image), image.split) if image.split is not None else None
        if known is None or known == image.split:
            continue
        if patient_of(image) not in by_copies:
            raise TrainingError(
                f"one patient is in two parts of the published split: {known} and {image.split}",
                "correct the table's split column (atlas check lists these patients), or leave it out so that atlas divides them",
            )
        side_of[patient_of(image)] = max(known, str(image.split), key=SPLITS.index)
    sides = {image.image_id: side_of.get(patient_of(image), "training") for image in images}
    if "validation" not in sides.values():
        raise TrainingError(
            "the published split has no photograph to validate on", 'write "validation" into the split column of some rows'
        )
    told = {image.image_id: image.split or sides[image.image_id] for image in images}
    return {split: tuple(i for i, side in sides.items() if side == split == told[i]) for split in SPLITS}


def parts_of(images: Sequence[GradedImage], *, seed: int) -> dict[str, tuple[str, ...]]:
    """Split photographs as their table says or, without a split, 80/10/10 by patient; in the form of `split_by_patient`.

    Raises
    ------
    TrainingError
        As `published_split` does.
    """
    published = any(image.split is not None for image in images)
    return published_split(images) if published else split_by_patient(images, seed=seed)


def folds_by_patient(images: Sequence[GradedImage], *, folds: int = 5, seed: int) -> tuple[tuple[str, ...], ...]:
    """Split photographs into `folds` parts of about equal size, as `split_by_patient` does."""
    return deal(images, (1 / folds,) * folds, seed)


def deal(images: Sequence[GradedImage], shares: Sequence[float], seed: int) -> tuple[tuple[str, ...], ...]:
    patients: dict[str, list[GradedImage]] = {}
    for image in images:
        patients.setdefault(patient_of(image), []).append(image)
    worst = {key: max((i.grade for i in own if i.grade is not None), default=None) for key, own in patients.items()}
    rng = np.random.default_rng(seed)
    keys = [sorted(patients)[i] for i in rng.permutation(len(patients))] if patients else []
    # Worst grades first, usually the rarest; ungraded photographs last, so that they do not affect the balance.
    keys.sort(key=lambda key: -math.inf if (grade := worst[key]) is None else grade, reverse=True)
    part_of: dict[str, int] = {}
    dealt, held = 0, np.zeros(len(shares))
    for key in keys:
        dealt += len(patients[key])
        part = int(np.argmax(np.asarray(shares) * dealt - held))
        held[part] += len(patients[key])
        part_of[key] = part
    return tuple(tuple(image.image_id for image in images if part_of[patient_of(image)] == part) for part in range(len(shares)))


def patient_of(image: GradedImage) -> str:
    """Return a name for the patient of a photograph; one without a patient counts as a patient of its own."""
    return f"image {image.image_id}" if image.patient is None else f"patient {image.patient}"


def balance(grades: Sequence[int] | IntArray, *, how: Balance = "weight", seed: int = 0) -> FloatArray:
    """Return weights that balance unequal counts of grades.

    Parameters
    ----------
    grades : Sequence[int] | IntArray
        (n,), human grades.
    how : Balance
        "none" gives all the same weight. "discard" drops photographs at random until no grade has more than four times as many
        as the rarest, the proportions of the original study. "weight" gives a photograph its grade's count to the power -0.7.
    seed : int
        Decides which photographs are dropped.

    Returns
    -------
    FloatArray
        Weights, float32 (n,), with mean 1 over the photographs that are kept; 0 for those dropped.
    """
    given = np.asarray(grades, dtype=np.int64)
    weights: np.ndarray = np.ones(given.size)
    _, grade_of, counts = np.unique(given, return_inverse=True, return_counts=True)
    if how == "discard" and given.size:
        rng = np.random.default_rng(seed)
        for grade in range(counts.size):
            own = np.flatnonzero(grade_of == grade)
            weights[rng.permutation(own)[_DISCARD_RATIO * int(counts.min()) :]] = 0
    elif how == "weight" and given.size:
        weights = counts[grade_of] ** -_TEMPERING
        weights /= weights.mean()
    return weights.astype(np.float32)


def unit_labels(images: Sequence[GradedImage], scale: Scale) -> FloatArray:
    return np.array([np.nan if i.grade is None else scale.to_unit(i.grade) for i in images], np.float32)


def balanced_weights(
    images: Sequence[GradedImage], training: IntArray, validation: IntArray, how: Balance, seed: int
) -> FloatArray:
    """Balance training and validation separately. Nothing is dropped from validation, which would only add noise.

    Copies of one picture share the weight of one.
    """
    weights = np.zeros(len(images), np.float32)
    for rows, chosen in ((training, how), (validation, "weight" if how == "discard" else how)):
        kept = Counter(images[row].copy_of or images[row].image_id for row in rows)
        copies = [kept[images[row].copy_of or images[row].image_id] for row in rows]
        weights[rows] = _balance([images[row].grade or 0 for row in rows], how=chosen, seed=seed) / np.array(copies, np.float32)
    return weights


def require_variety(images: Sequence[GradedImage], *, patients: int, setting: str) -> None:
    graded = [image for image in images if image.grade is not None]
    if len({image.grade for image in graded}) < 2:
        grades = "no grade" if not graded else f"one grade only ({graded[0].grade})"
        raise TrainingError(f"{len(graded)} graded photographs hold {grades}", "add photographs of at least two grades")
    count = len({patient_of(image) for image in graded})
    if count < patients:
        raise TrainingError(
            f"{count} patients with graded photographs are too few for {setting}: at least {patients} are needed",
            "add photographs of other patients, ask for fewer folds, or score with a trained scorer instead of fitting",
        )


_balance = balance  # `balance` is also a setting's name
