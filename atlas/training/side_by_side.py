"""Combining scorers of different kinds: only two numbers, and how the scores are read, are fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from atlas.errors import TrainingError
from atlas.records import Dataset
from atlas.scorers.readouts import severity_of_logit
from atlas.scorers.side_by_side import Member, SideBySideScorer
from atlas.training.calibration import calibration, read_by_severities
from atlas.training.material import Material
from atlas.training.splits import Balance


def side_by_side(name: str, members: Sequence[Member], dataset: Dataset) -> SideBySideScorer:
    """Put scorers side by side, not yet calibrated.

    Raises
    ------
    TrainingError
        If there are fewer than two scorers, or they have another scale than the dataset.
    ScorerError
        As `SideBySideScorer` does.
    """
    if len(members) < 2:
        raise TrainingError("at least two scorers are needed", "give --member at least twice")
    if any(member.scale != dataset.scale for member in members):
        raise TrainingError("the scorers have another scale than the grades", "give scorers that were trained on this scale")
    return SideBySideScorer(name, tuple(members), dataset.scale)


def calibrate_side_by_side(
    scorer: SideBySideScorer,
    dataset: Dataset,
    logits: Sequence[float],
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
    logits : Sequence[float]
        Its logit of each graded photograph, in the order of the dataset; NaN for one of the training part,
        which need not be looked at.
    balance : Balance
        See `train_scorer`.
    seed : int
        See `train_scorer`.
    source : str
        See `train_scorer`.
    further : Sequence[str]
        See `train_scorer`.
    command : str
        See `train_scorer`.

    Raises
    ------
    TrainingError
        If there is one grade only, or too few patients.
    """
    own, material = np.array(logits, np.float32), Material.of(dataset, balance, seed)
    held, grades, scale = material.validation, material.grades, dataset.scale
    stretch, shift = calibration(own[held], grades[held], scale)
    severity = severity_of_logit((stretch * own + shift).astype(np.float32), scale)
    recipe: dict[str, Any] = {
        "members": ", ".join(member.name for member in scorer.members),
        "command": command,
        "sources": source,
        "further": list(further),
    }
    earlier = [member.background for member in scorer.members]
    return read_by_severities(replace(scorer, stretch=stretch, shift=shift), severity, material, recipe, earlier)
