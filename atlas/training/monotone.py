"""A monotone head on a lesion net's findings: more lesions of any kind never lower the score.

The logit is a sum over channels of concave, rising functions: the first lesions of a kind count most. Each function is made of
pieces, -w relu(1 - x / knot), so the head has the two layers of a `Head`. Hiding a cell removes what was found there, and never
raises the score.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from atlas.errors import TrainingError
from atlas.progress import Progress, silent
from atlas.records import FloatArray, IntArray
from atlas.scorers.readouts import Head
from atlas.training.heads import History

_KNOTS = np.linspace(0.1, 0.95, 4)  # pieces end at these quantiles of the photographs that have something in a channel

_BEYOND = (0.5, 2.0)
"""Pieces also end at these multiples of the highest value found, so that each lesion counts even in the most severe eye."""

_MET = 30  # a channel must be found in this many training photographs, or in a quarter of them if they are few

_STEPS, _EACH = 600, 20  # steps of the fit, and steps between checks of the validation loss

_LEARNING_RATE, _PENALTY = 3e-2, 1e-3

_NOTHING = 1e-7  # a mean below this is not a finding


def fit_monotone_head(
    means: FloatArray,
    unit_labels: FloatArray,
    weights: FloatArray,
    *,
    channels: Sequence[Sequence[int]],
    training: IntArray,
    validation: IntArray,
    progress: Progress = silent,
) -> tuple[Head, History]:
    """Fit a head on means over all cells, (n, C): weighted squared error on the sigmoid, smallest validation loss kept.

    Parameters
    ----------
    means : FloatArray
        float32 (n, C), means of a photograph's maps over all cells.
    unit_labels : FloatArray
        (n,) in 0..1, see `Scale.to_unit`.
    weights : FloatArray
        (n,), weights of the photographs.
    channels : Sequence[Sequence[int]]
        Columns that are read as one, by their sum.
    training : IntArray
        Rows to learn from.
    validation : IntArray
        Rows to validate on.
    progress : Progress
        Called at each check of the validation loss.

    Returns
    -------
    tuple[Head, History]
        The head, and the losses at each check.

    Raises
    ------
    TrainingError
        If no channel was found in enough photographs to learn from.
    """
    sums = np.stack([means[:, list(own)].sum(axis=1, dtype=np.float64) for own in channels], axis=1)
    enough = min(_MET, len(training) // 4)
    knots = []
    for row, column in enumerate(sums.T):
        met = column[training][column[training] > _NOTHING]
        if len(met) >= max(2, enough):
            most = float(met.max())
            knots += [(row, float(knot)) for knot in np.unique([*np.quantile(met, _KNOTS), *(far * most for far in _BEYOND)])]
    if not knots:
        raise TrainingError(
            f"the lesion net found lesions in fewer than {enough} of the photographs to learn from",
            "give more photographs of diseased eyes",
        )
    pieces = torch.from_numpy(np.stack([np.maximum(1 - sums[:, row] / knot, 0) for row, knot in knots], axis=1)).float()
    labels, weight = torch.from_numpy(np.asarray(unit_labels)).float(), torch.from_numpy(np.asarray(weights)).float()
    rows, held = torch.from_numpy(training), torch.from_numpy(validation)

    def loss_on(part: torch.Tensor, own: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        logits = bias - pieces[part] @ own
        return (weight[part] * (torch.sigmoid(logits) - labels[part]) ** 2).sum() / weight[part].sum()

    raw, bias = torch.full((len(knots),), -3.0, requires_grad=True), torch.zeros((), requires_grad=True)
    optimizer = torch.optim.Adam([raw, bias], lr=_LEARNING_RATE)
    history, best = [], (np.inf, np.zeros(len(knots), np.float32), 0.0)
    for step in range(1, _STEPS + 1):
        own = functional.softplus(raw)
        loss = loss_on(rows, own, bias)
        optimizer.zero_grad()
        (loss + _PENALTY * (own**2).sum()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % _EACH == 0:
            with torch.no_grad():
                own = functional.softplus(raw)
                validated = float(loss_on(held, own, bias))
            history.append({"training_loss": float(loss.detach()), "validation_loss": validated})
            if validated < best[0]:
                best = (validated, own.numpy().copy(), float(bias.detach()))
            progress("train", step, _STEPS)
    hidden = np.zeros((len(knots), means.shape[1], 1, 1), np.float32)
    for unit, (row, knot) in enumerate(knots):
        hidden[unit, list(channels[row])] = -1 / knot
    return Head(hidden, np.ones(len(knots), np.float32), -best[1], best[2]), tuple(history)
