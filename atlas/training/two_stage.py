"""Training the second stage of a two-stage scorer: a head on what a lesion net found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from atlas.errors import TrainingError
from atlas.lesionnets.fundus import FundusLesionNet
from atlas.progress import Progress, silent
from atlas.records import Dataset, FloatArray
from atlas.scorers.readouts import Head, for_all_cells, severity_of_logit
from atlas.scorers.transferred import half_readout
from atlas.scorers.trunks import Trunk
from atlas.scorers.two_stage import TwoStageScorer, counts, plain_channels
from atlas.training.heads import fit_head
from atlas.training.monotone import fit_monotone_head
from atlas.training.scorers import Material, calibrate, read_by_severities
from atlas.training.splits import Balance


def untrained(name: str, net: FundusLesionNet, dataset: Dataset, trunk: Trunk | None = None) -> TwoStageScorer:
    """Return a two-stage scorer whose head knows nothing: it makes the maps that the head is to learn from."""
    channels = trunk.channels if trunk is not None else plain_channels(net.kinds)
    empty = Head(np.zeros((1, channels, 1, 1), np.float32), np.zeros(1, np.float32), np.zeros(1, np.float32), 0.0)
    return TwoStageScorer(name, net, empty, dataset.scale, trunk)


def train_two_stage(
    scorer: TwoStageScorer,
    dataset: Dataset,
    means: Iterable[FloatArray | None],
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
    """Fit the head of a two-stage scorer on the graded photographs of a dataset, split as its tables say, or else 80/10/10.

    Parameters
    ----------
    scorer : TwoStageScorer
        See `untrained`.
    means : Iterable[FloatArray | None]
        Of each graded photograph, in the order of the dataset, the mean of the scorer's maps over all cells, float32 (C,);
        None where it could not be read.
    rising : bool
        The head of the plain form counts lesions, and more of them never lower the score, see `training.monotone`.
    balance, hidden, seed, source, further, command : Balance, int, int, str, Sequence[str], str
        See `train_scorer`; a rising head has as many hidden units as it needs.

    Raises
    ------
    TrainingError
        One grade only, or too few patients.
    """
    graded = [image for image in dataset.images if image.grade is not None]
    known = [(image, own) for image, own in zip(graded, means, strict=True) if own is not None]
    if not known:
        raise TrainingError("there is no graded photograph to learn from", "give photographs with their grades")
    material = Material.of(replace(dataset, images=tuple(image for image, _ in known)), balance, seed)
    seen = np.stack([own for _, own in known]).astype(np.float32)
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

    # At half precision, as the bundle will have it: what is measured is what will be loaded.
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
