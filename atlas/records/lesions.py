"""Lesions that a person boxed or a net found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

UNTOLD = "lesion"
"""Kind of a lesion of which nobody has told the kind."""


@dataclass(frozen=True)
class LesionBox:
    """A box that a person drew: a key of `cohort.lesions.KINDS`, and edges in upright source pixels, not rounded."""

    kind: str
    top: float
    left: float
    bottom: float
    right: float


@dataclass(frozen=True)
class Mark:
    """A lesion of one photograph.

    Parameters
    ----------
    kind : str
        A key of `cohort.lesions.KINDS`, or UNTOLD where an outline tells none.
    box : tuple[int, int, int, int]
        Top, left, bottom, right in upright source pixels, half-open.
    strength : float
        How sure its source is, 0 to 1.
    source : {'net', 'outline', 'box'}
        A lesion net, a person's outline, or a person's box.
    """

    kind: str
    box: tuple[int, int, int, int]
    strength: float = 1.0
    source: Literal["net", "outline", "box"] = "net"


@dataclass(frozen=True)
class Landmarks:
    """Middles of the optic disc and of the fovea, row and column in upright source pixels; fovea None where nobody knows it."""

    disc: tuple[float, float]
    fovea: tuple[float, float] | None = None
