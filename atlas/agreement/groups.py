"""Results by groups of photographs: by camera, sex, age band, or any other column of a table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from atlas.agreement.detection import FEWEST
from atlas.agreement.statistics import Floats, Statistic, area_under_roc, kappa, mean, resampled_intervals, undefined
from atlas.errors import DatasetError
from atlas.records import BoolArray, Group, IntArray, Scale, told

GROUP_FIGURES = ("auc_referable", "recall", "precision", "quadratic_kappa", "mae")
"""Figures of a `Group`."""

MOST = 30
"""Number of groups of one column above which they are refused."""

_WIDTHS = {"age": 10.0}  # widths of bands where none is given


@dataclass(frozen=True)
class Grouping:
    """How photographs are grouped.

    Parameters
    ----------
    column : str
        Name of the column.
    values : Sequence[str]
        (n,), the value of each photograph, "" if it is not known.
    width : float or None
        Width of the bands into which numbers are divided. A column called age has bands of ten years without it.
    """

    column: str
    values: Sequence[str]
    width: float | None = None

    @property
    def banded(self) -> float | None:
        """The width of the bands, None for words."""
        return self.width if self.width is not None else _WIDTHS.get(self.column.casefold())


def groups_of(
    groupings: Sequence[Grouping],
    severity: Floats,
    assigned: IntArray,
    grades: IntArray,
    called: BoolArray | None,
    owners: IntArray,
    scale: Scale,
    seed: int,
) -> tuple[Group, ...]:
    """Measure agreement group by group.

    A group of fewer than five photographs, or of a single patient, is not told by its value: all such photographs of a column
    make one group. Photographs without a value are a group of their own. Both come last.

    Parameters
    ----------
    groupings : Sequence[Grouping]
        The columns.
    severity : Floats
        (n,), grade units.
    assigned : IntArray
        (n,), the nearest grades.
    grades : IntArray
        (n,), human grades.
    called : BoolArray or None
        (n,), whether a photograph is called referable at the operating point; None if there is none.
    owners : IntArray
        (n,), the patient of each photograph.
    scale : Scale
        Scale of the grades.
    seed : int
        Draws the resamples of the patients.

    Raises
    ------
    DatasetError
        As `require_few_values` does.
    """
    found = []
    for grouping in groupings:
        for label, rows in _parts(grouping, owners):
            positive = grades[rows] >= scale.referable if scale.referable is not None else np.zeros(len(rows), bool)
            statistics = _statistics(
                severity[rows],
                assigned[rows],
                grades[rows],
                positive,
                None if called is None else called[rows],
                scale,
            )
            own = np.unique(owners[rows], return_inverse=True)[1]
            values = {name: float(statistic(np.ones((1, len(rows))))[0]) for name, statistic in statistics.items()}
            intervals = resampled_intervals(statistics, own, seed)
            counts = len(rows), int(own.max()) + 1, int(positive.sum())
            found.append(Group(grouping.column, grouping.banded, label, *counts, values, intervals))
    return tuple(found)


def _statistics(
    severity: Floats, assigned: IntArray, grades: IntArray, positive: BoolArray, called: BoolArray | None, scale: Scale
) -> dict[str, Statistic]:
    many, sick = severity.size >= FEWEST, int(positive.sum())
    both_sides = min(sick, severity.size - sick) >= FEWEST
    found = (
        area_under_roc(severity, positive) if both_sides else undefined,
        mean(called, positive) if called is not None and sick >= FEWEST else undefined,
        mean(positive, called) if called is not None and called.sum() >= FEWEST else undefined,
        kappa(assigned, grades, scale) if many else undefined,
        mean(np.abs(severity - grades)) if many else undefined,
    )
    return dict(zip(GROUP_FIGURES, found, strict=True))


def _parts(grouping: Grouping, owners: IntArray) -> Iterator[tuple[str, IntArray]]:
    """Yield the label of each group and its photographs; no group is empty."""
    require_few_values(grouping)
    values = np.array([value.strip() for value in grouping.values], dtype=object)
    rest = []
    told_apart: list[tuple[str, IntArray]] = []
    known = np.flatnonzero(values != "")
    for label, rows in _bands(grouping, values, known) if grouping.banded else _words(values, known):
        if rows.size < FEWEST or np.unique(owners[rows]).size < 2:
            rest.append(rows)
        else:
            told_apart.append((label, rows))
    yield from told_apart
    if rest:
        yield told("other values, each with fewer than five photographs or one patient"), np.sort(np.concatenate(rest))
    if known.size < values.size:
        yield told("not known"), np.flatnonzero(values == "")


def require_few_values(grouping: Grouping) -> None:
    """Raise DatasetError if a column of words has more than `MOST` groups, or no group at all and that many values."""
    if grouping.banded is not None:
        return
    counts = Counter(value.strip().casefold() for value in grouping.values if value.strip())
    large = sum(count >= FEWEST for count in counts.values())
    if large > MOST or (not large and len(counts) > MOST):
        raise DatasetError(
            f"column {grouping.column} has {len(counts):,} different values, which are too many groups",
            f"name a column of few values, or divide numbers into bands, such as --by {grouping.column}:10",
        )


def _words(values: np.ndarray, known: IntArray) -> Iterator[tuple[str, IntArray]]:
    """Yield words in alphabetical order, and numbers by size. Upper and lower case make no difference."""
    folded = np.array([value.casefold() for value in values], dtype=object)
    for own in sorted(set(folded[known].tolist()), key=_order):
        rows = np.flatnonzero(folded == own)
        yield str(values[rows[0]]), rows


def _order(value: str) -> tuple[float, str]:
    number = _number(value)
    return (math.inf if number is None else number), value


def _bands(grouping: Grouping, values: np.ndarray, known: IntArray) -> Iterator[tuple[str, IntArray]]:
    width = grouping.banded
    assert width is not None
    read = {row: _number(values[row]) for row in known.tolist()}
    numbers = np.full(values.size, np.nan)
    for row, number in read.items():
        numbers[row] = np.nan if number is None else number
    others = np.array([row for row, number in read.items() if number is None], np.int64)
    known = np.setdiff1d(known, others)
    band = np.floor(numbers / width)
    whole = bool((numbers[known] % 1 == 0).all()) and width % 1 == 0
    for own in np.unique(band[known]).tolist():
        low, high = own * width, (own + 1) * width
        if whole:
            label = told("%(low)s to %(high)s", low=round(low), high=round(high) - 1)
        else:
            label = told("%(low)s to below %(high)s", low=float(f"{low:.6g}"), high=float(f"{high:.6g}"))
        yield label, np.flatnonzero(band == own)
    if others.size:
        yield told("not a number"), others


def _number(value: str) -> float | None:
    """Read a number, with a decimal comma, too; None if it is none."""
    try:
        number = float(value.replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) else None
