"""When a scorer says that it is not sure of a score.

Three things are measured for a photograph: how much the networks of a scorer differ, how far the score moves when the photograph
is mirrored, and how far its colours are from those that the scorer knows. Usual values are measured once, on photographs that the
scorer did not learn from. A score is doubted if its networks differ more, or it moves further, than in nine in ten of these
photographs, or if the colours are further off than in 99 in 100. Colours alone say little: with a lower limit, many correct
scores were doubted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atlas.errors import DatasetError
from atlas.records import DoubtRule, FloatArray, Scale, noop

USUAL = {"members": 0.9, "moves": 0.9, "colours": 0.99}
"""Share of the photographs used to measure a rule that are below each of its limits."""

_FEWEST = 30

REASONS = {
    "members": noop("its networks disagree about this photograph"),
    "moves": noop("the score changes when the photograph is mirrored"),
    "colours": noop("the colours of this photograph are unlike those that it knows"),
}
"""Why the scorer is unsure of a score, in words that follow "because"; the site translates them."""


@dataclass(frozen=True)
class Looks:
    """Measurements of n photographs from which doubt is decided.

    Parameters
    ----------
    members : FloatArray
        float32 (n, m), logit of each of a scorer's m networks alone; (n, 0) if it has one network.
    logits : FloatArray
        float32 (n,), logit of the complete scorer.
    mirrored : FloatArray
        float32 (n,), logit of the complete scorer for the mirrored photograph; NaN if that was not scored.
    colours : FloatArray
        float32 (n, 6), means and standard deviations of red, green and blue over the retina, 0 to 255.
    """

    members: FloatArray
    logits: FloatArray
    mirrored: FloatArray
    colours: FloatArray


def learn_doubt(looks: Looks, scale: Scale) -> DoubtRule:
    """Measure usual values on photographs that the scorer did not learn from.

    Parameters
    ----------
    looks : Looks
        Measurements of these photographs.
    scale : Scale
        Scale of the severities.

    Returns
    -------
    DoubtRule
        The limits beyond which a score is doubted.

    Raises
    ------
    DatasetError
        If there are too few photographs.
    """
    if len(looks.logits) < _FEWEST:
        raise DatasetError(
            f"{len(looks.logits)} photographs are too few to measure when a scorer is not sure", f"give {_FEWEST} or more."
        )
    own = looks.members - looks.logits[:, None]
    usual: FloatArray = np.median(own, axis=0).astype(np.float32) if own.size else np.zeros(0, np.float32)
    colours = looks.colours.astype(np.float64)
    spread = np.cov(colours.T) + np.eye(colours.shape[1])  # one grey level of variance more: smaller differences cannot be seen
    rule = DoubtRule(usual, 0.0, 0.0, colours.mean(axis=0).astype(np.float32), np.linalg.inv(spread).astype(np.float32), 0.0)
    measured = zip(_measured(rule, looks, scale), USUAL.values(), strict=True)
    members, moves, unlike = (round(float(np.quantile(values, share)), 4) for values, share in measured)
    return replace(rule, members=members, moves=moves, unlike=unlike)


def doubted(rule: DoubtRule, looks: Looks, scale: Scale) -> tuple[tuple[str, ...], ...]:
    """Return for each photograph why its score is doubted, as keys of `REASONS`; () if it is not."""
    measured = _measured(rule, looks, scale)
    over = np.stack([values > limit for values, limit in zip(measured, (rule.members, rule.moves, rule.unlike), strict=True)])
    return tuple(tuple(reason for reason, yes in zip(REASONS, own, strict=True) if yes) for own in over.T.tolist())


def _measured(rule: DoubtRule, looks: Looks, scale: Scale) -> tuple[NDArray[np.float64], ...]:
    """Return how far members differ and mirroring moves the score, grade units, and how unusual the colours are, each (n,)."""
    apart = np.zeros(len(looks.logits))
    if looks.members.shape[1] and len(rule.usual) == looks.members.shape[1]:
        graded = _severity(looks.members - rule.usual, scale)
        apart = graded.max(axis=1) - graded.min(axis=1)
    moved = np.nan_to_num(np.abs(_severity(looks.logits, scale) - _severity(looks.mirrored, scale)))  # 0 if not scored
    off = looks.colours.astype(np.float64) - rule.colours
    unlike = np.sqrt(np.einsum("ni,ij,nj->n", off, rule.precision.astype(np.float64), off).clip(0))  # Mahalanobis, 1936
    return apart, moved, unlike


def _severity(logits: ArrayLike, scale: Scale) -> NDArray[np.float64]:
    return scale.span / (1 + np.exp(-np.asarray(logits, np.float64)))
