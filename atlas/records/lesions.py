"""Lesions that a person boxed or a net found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from atlas.records.arrays import IntArray
from atlas.records.photographs import Stretch

UNTOLD = "lesion"
"""Kind of a lesion whose kind is not known."""

LESION_GRID = 64
"""Cells a side of the grid over a plate on which outlined lesions are known to the pages."""

Lesions = Mapping[str, IntArray]
"""Outlined lesions of one photograph: kind in words ("" where it is not known) to the cells of the grid that it touches, as
row-major places in ascending order, int64 (m,)."""


@dataclass(frozen=True)
class LesionBox:
    """A box that a person drew: its kind, a key of `cohort.lesions.KINDS`, and edges in upright source pixels, not rounded."""

    kind: str
    top: float
    left: float
    bottom: float
    right: float

    def put_right(self, stretch: Stretch) -> LesionBox:
        """Return where the box is in a squashed photograph that was put right."""
        return LesionBox(self.kind, *stretch.shown((self.top, self.left, self.bottom, self.right)))


@dataclass(frozen=True)
class Mark:
    """A lesion of one photograph.

    Parameters
    ----------
    kind : str
        A key of `cohort.lesions.KINDS`, or UNTOLD if an outline does not say.
    box : tuple[int, int, int, int]
        Top, left, bottom, right in upright source pixels (bottom and right exclusive).
    strength : float
        How sure its source is, 0 to 1.
    source : {'net', 'outline', 'box'}
        What the lesion comes from: a lesion net, a person's outline, or a person's box.
    """

    kind: str
    box: tuple[int, int, int, int]
    strength: float = 1.0
    source: Literal["net", "outline", "box"] = "net"


@dataclass(frozen=True)
class Landmarks:
    """Centres of the optic disc and of the fovea, row and column in upright source pixels; `fovea` is None if not known."""

    disc: tuple[float, float]
    fovea: tuple[float, float] | None = None
