"""How good a photograph is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

QUALITIES = ("good", "usable", "poor")
"""Classes of quality, the best first."""


@dataclass(frozen=True)
class Quality:
    """How good one photograph of a retina is, by its pixels alone.

    Parameters
    ----------
    retina : bool
        Whether it shows a retina at all.
    retina_share : float
        How sure that is, 0 to 1.
    grade : str
        One of QUALITIES.
    score : float
        0 to 1: the mean of the probability that it is not poor, and of the probability that it is good.
    reasons : tuple of str
        What is unlike good photographs, worst first, as keys of `photographs.quality.REASONS`; none if it is good.
    oddities : tuple of str
        See `photographs.oddities`.
    edge : bool
        Whether the edge of a disc was found; else the complete picture counts as retina.
    squash : float
        Height of its disc divided by the width, as the file has it; 1 unless the picture was squashed or stretched.
    measured : Mapping[str, float]
        Some of its measurements by name, see `photographs.quality.measure`.
    """

    retina: bool
    retina_share: float
    grade: str
    score: float
    reasons: tuple[str, ...] = ()
    oddities: tuple[str, ...] = ()
    edge: bool = True
    squash: float = 1.0
    measured: Mapping[str, float] = field(default_factory=dict)

    @property
    def squashed(self) -> bool:
        """Whether its aspect was put right."""
        return self.squash != 1.0

    def at_least(self, grade: str) -> bool:
        """Tell whether it is at least as good as a class of QUALITIES."""
        return QUALITIES.index(self.grade) <= QUALITIES.index(grade)
