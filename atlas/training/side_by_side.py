"""Putting scorers of different kinds side by side: nothing learns but two numbers, and how the scores are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from atlas.errors import TrainingError
from atlas.records import Dataset, FloatArray
from atlas.scorers.readouts import severity_of_logit
from atlas.scorers.side_by_side import Member, SideBySideScorer
from atlas.training.scorers import Material, calibration, read_by_severities
from atlas.training.splits import Balance


def side_by_side(name: str, members: Sequence[Member], dataset: Dataset) -> SideBySideScorer:
    """Put scorers side by side, not yet calibrated.

    Raises
    ------
    TrainingError
        Where they are fewer than two or of another scale than the dataset, ScorerError as the scorer does.
    """
    if len(members) < 2:
        raise TrainingError("one scorer alone stands beside nothing", "give --member at least twice")
    if any(member.scale != dataset.scale for member in members):
        raise TrainingError("the scorers are of another scale than the grades", "give scorers that were trained on this scale")
    return SideBySideScorer(name, tuple(members), dataset.scale)


def known_logits(dataset: Dataset, logits: Sequence[float | None], balance: Balance, seed: int) -> tuple[FloatArray, Material]:
    """Return the logits that are known, (n,), and the graded photographs that they are of.

    Parameters
    ----------
    logits : Sequence[float | None]
        Of each graded photograph, in the order of the dataset, or None where it could not be read.
    """
    graded = [image for image in dataset.images if image.grade is not None]
    known = [(image, logit) for image, logit in zip(graded, logits, strict=True) if logit is not None]
    if not known:
        raise TrainingError("there is no graded photograph to calibrate on", "give photographs with their grades")
    material = Material.of(replace(dataset, images=tuple(image for image, _ in known)), balance, seed)
    return np.array([logit for _, logit in known], np.float32), material


def calibrate_side_by_side(
    scorer: SideBySideScorer,
    dataset: Dataset,
    logits: Sequence[float | None],
    *,
    balance: Balance = "weight",
    seed: int = 0,
    source: str = "Not stated.",
    further: Sequence[str] = (),
    command: str = "",
) -> SideBySideScorer:
    """Calibrate scorers side by side, fit how their scores are read, and write the card.

    Parameters
    ----------
    scorer : SideBySideScorer
        Not yet calibrated.
    logits : Sequence[float | None]
        Its logit of each graded photograph, in the order of the dataset, or None where it could not be read.
    balance, seed, source, further, command : Balance, int, str, Sequence[str], str
        See `train_scorer`.

    Raises
    ------
    TrainingError
        One grade only, or too few patients.
    """
    own, material = known_logits(dataset, logits, balance, seed)
    held, grades, scale = material.validation, material.grades, dataset.scale
    stretch, shift = calibration(own[held], grades[held], scale)
    severity = severity_of_logit((stretch * own + shift).astype(np.float32), scale)
    recipe: dict[str, Any] = {
        "members": ", ".join(member.name for member in scorer.members),
        "command": command,
        "sources": source,
        "further": list(further),
    }
    return read_by_severities(replace(scorer, stretch=stretch, shift=shift), severity, material, recipe, scorer.members)
