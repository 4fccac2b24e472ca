"""Training the second stage of a two-stage scorer: a head on a lesion net's findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from atlas.lesionnets.fundus import FundusLesionNet
from atlas.progress import Progress, silent
from atlas.records import Dataset, FloatArray
from atlas.scorers.readouts import Head, for_all_cells, severity_of_logit
from atlas.scorers.transferred import half_readout
from atlas.scorers.trunks import Trunk
from atlas.scorers.two_stage import TwoStageScorer, counts, plain_channels
from atlas.training.calibration import calibrate, read_by_severities
from atlas.training.heads import fit_head
from atlas.training.material import Material
from atlas.training.monotone import fit_monotone_head
from atlas.training.splits import Balance


def untrained(name: str, net: FundusLesionNet, dataset: Dataset, trunk: Trunk | None = None) -> TwoStageScorer:
    """Return a two-stage scorer with an untrained head, which makes the maps that the head learns from."""
    channels = trunk.channels if trunk is not None else plain_channels(net.kinds)
    empty = Head(np.zeros((1, channels, 1, 1), np.float32), np.zeros(1, np.float32), np.zeros(1, np.float32), 0.0)
    return TwoStageScorer(name, net, empty, dataset.scale, trunk)


def train_two_stage(
    scorer: TwoStageScorer,
    dataset: Dataset,
    means: Sequence[FloatArray],
    *,
    rising: bool = False,
    balance: Balance = "weight",
    hidden: int = 64,
    seed: int = 0,
    source: str = "Not stated.",
    further: Sequence[str] = (),
    command: str = "",
    progress: Progress = silent,
) -> TwoStageScorer:
    """Fit the head of a two-stage scorer on the graded photographs of a dataset, split as for `train_scorer`.

    Parameters
    ----------
    scorer : TwoStageScorer
        See `untrained`.
    means : Sequence[FloatArray]
        The mean of the scorer's maps over all cells, float32 (C,), for each graded photograph in the order of the dataset.
    rising : bool
        Whether the head of the plain form counts lesions, so that more never lower the score, see `training.monotone`.
    balance : Balance
        See `train_scorer`.
    hidden : int
        Number of hidden units; a rising head has as many as it needs.
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
    material = Material.of(dataset, balance, seed)
    seen = np.stack(means).astype(np.float32)
    learning, held = material.training, material.validation
    if rising:
        head, history = fit_monotone_head(
            seen,
            material.labels,
            material.weights,
            channels=counts(scorer.net.kinds),
            training=learning,
            validation=held,
            progress=progress,
        )
    else:
        head, history = fit_head(
            seen[:, :, None, None],
            material.labels,
            material.weights,
            training=learning,
            validation=held,
            hidden=hidden,
            seed=seed,
            progress=progress,
        )
    grades, scale = material.grades, dataset.scale
    sums = seen.astype(np.float64) * (scorer.grid[0] * scorer.grid[1])

    def logits(own: Head) -> FloatArray:
        return own.logit(sums @ own.hidden_weight[:, :, 0, 0].T + own.hidden_bias)

    # At half precision, as in the bundle, so that the scorer measured is the one that will be loaded.
    head = half_readout(for_all_cells(head, scorer.grid))
    head = half_readout(calibrate(head, logits(head)[held], grades[held], scale))
    severity = severity_of_logit(logits(head), scale)
    recipe: dict[str, Any] = {
        "form": "counts" if rising else scorer.form,
        "lesion_net": scorer.net.name,
        **({} if scorer.trunk is None else {"trunk": scorer.trunk.name, "trunk_size": scorer.trunk.size}),
        "hidden": len(head.hidden_bias),
        "best_epoch": 1 + int(np.argmin([row["validation_loss"] for row in history])),
        "command": command,
        "sources": source,
        "further": list(further),
    }
    return read_by_severities(replace(scorer, head=head), severity, material, recipe)
