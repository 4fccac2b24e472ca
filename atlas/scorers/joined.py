"""Scorers side by side: one scorer whose maps are those of several, and whose logit is the mean of theirs.

Networks with different errors make smaller ones together. Hiding a cell removes from the logit what each of them saw there, so
one map explains the complete score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from atlas.errors import TrainingError
from atlas.scorers.readouts import Head, for_all_cells, on_means, weighs_cells_alike
from atlas.scorers.transferred import TransferredScorer
from atlas.scorers.trunks import TRUNKS, joined_weights, load_trunk


def side_by_side(name: str, members: Sequence[TransferredScorer], preparation: str | None = None) -> TransferredScorer:
    """Put scorers side by side, in any order.

    A member that learned from smaller pictures than the others can see them at 3/4 of their side, if there is a trunk that does
    this for its own trunk.

    Parameters
    ----------
    name : str
        Name of the new scorer.
    members : Sequence[TransferredScorer]
        The scorers.
    preparation : str or None
        A key of `PREPARATIONS`; that of the members if not given.

    Raises
    ------
    TrainingError
        If no entry of `TRUNKS` holds their trunks side by side, if they differ in size, preparation or scale, or if one that
        saw smaller pictures has different weights for each cell.
    ConfigurationError
        If a member's pictures would have a size that does not make complete cells.
    """
    able = [_enlarged(member) for member in members]
    given = {member.trunk.name: member for member in able}
    known = [spec for spec in TRUNKS.values() if spec.members]
    fitting = next((spec for spec in known if sorted(spec.members) == sorted(member.trunk.name for member in able)), None)
    if fitting is None:
        raise TrainingError(
            f"no trunk holds {' and '.join(member.trunk.name for member in members) or 'nothing'} side by side",
            f"give one scorer of each of these trunks: {' or '.join(', '.join(spec.members) for spec in known)}",
        )
    ordered = [given[trunk] for trunk in fitting.members]
    first = ordered[0]
    for other in ordered[1:]:
        for what in ("size", "preparation", "scale"):
            if getattr(other, what) != getattr(first, what):
                raise TrainingError(
                    f"scorers {first.name} and {other.name} differ in their {what}", "train both on photographs prepared alike"
                )
    weights = joined_weights({member.trunk.name: member.trunk for member in ordered})
    trunk = load_trunk(fitting.name, weights, size=first.size, device=first.trunk.device)
    head = _mean_head([member.regressor for member in ordered], trunk.shape)
    return TransferredScorer(name, trunk, head, first.scale, preparation or first.preparation)


def _enlarged(scorer: TransferredScorer) -> TransferredScorer:
    """Let a scorer of smaller pictures see larger ones through a trunk that shrinks them, if there is such a trunk."""
    through = next((spec for spec in TRUNKS.values() if spec.shrinks_for == scorer.trunk.name), None)
    if through is None:
        return scorer
    if not weighs_cells_alike(scorer.head.hidden_weight):
        raise TrainingError(
            f"scorer {scorer.name} has different weights for each cell, so it cannot read another number of cells",
            "give a scorer that was fine-tuned",
        )
    trunk = load_trunk(through.name, scorer.trunk.state_dict(), size=scorer.size * 4 // 3, device=scorer.trunk.device)
    return replace(scorer, trunk=trunk, head=for_all_cells(on_means(scorer.regressor, scorer.grid), trunk.shape), classifier=None)


def _mean_head(heads: Sequence[Head], shape: tuple[int, int]) -> Head:
    """Combine heads along the diagonal: each reads its own maps of `shape` cells, and the logit is the mean of theirs."""
    hidden, channels = (sum(head.hidden_weight.shape[axis] for head in heads) for axis in (0, 1))
    weight = np.zeros((hidden, channels, *((1, 1) if all(head.pooled for head in heads) else shape)), np.float32)
    row = column = 0
    for head in heads:
        own = head.hidden_weight
        weight[row : row + own.shape[0], column : column + own.shape[1]] = own
        row, column = row + own.shape[0], column + own.shape[1]
    return Head(
        weight,
        np.concatenate([head.hidden_bias for head in heads]),
        (np.concatenate([head.output_weight for head in heads]) / len(heads)).astype(np.float32),
        float(np.mean([head.output_bias for head in heads])),
    )
