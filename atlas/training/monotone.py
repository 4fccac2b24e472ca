"""A head that no lesion can lower: it reads what a lesion net found, and more of anything never makes an eye milder.

The logit is a sum over channels of concave, rising functions: the first lesions of a kind count most. Each function is made of
pieces, -w relu(1 - x / knot), so that the head is two layers that any `Head` holds: a cell that is hidden takes with it what was
found there, and never raises the score.
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

_KNOTS = np.linspace(0.1, 0.95, 4)  # quantiles, of photographs in which a channel is met, at which a function's pieces end

_BEYOND = (0.5, 2.0)
"""Pieces also end at these multiples of the most that was met: in the most severe eye, too, each lesion counts for something."""

_MET = 30  # photographs for learning in which a channel must be met, or a quarter of them where they are few

_STEPS, _EACH = 600, 20  # steps of the fit, and between looks at the validation loss

_LEARNING_RATE, _PENALTY = 3e-2, 1e-3

_NOTHING = 1e-7  # a mean below this is no finding


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
    unit_labels, weights : FloatArray
        (n,).
    channels : Sequence[Sequence[int]]
        Columns that are read as one, by their sum.
    training, validation : IntArray
        Rows.

    Raises
    ------
    TrainingError
        Where nothing was found in enough photographs to learn from.
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
            "give more photographs of ill eyes",
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
