"""An evaluation as figures: what Plotly draws, one sentence on how to read it, and the same numbers as tables.

The modules `grades` and `curves` draw the figures from the parts in `panels`. Nothing is shown by colour alone: rows are
labelled, lines differ in dash, cells hold numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from atlas.records import Evaluation, Scale, noop
from atlas.site.curves import calibration_figure, roc_figure
from atlas.site.grades import label_figure, reading_figure, result_figure
from atlas.site.panels import Figure
from atlas.site.words import ENGLISH, Words

SUFFIXES = {
    "": noop("score"),
    "_ranges": noop("score by ranges"),
    "_classifier": noop("classifier"),
    "_colours": noop("colours alone"),
}
"""How photographs were graded, by the ending of a figure's name. No ending: the severity, read as the nearest grade."""

HIDDEN = ("ranges",)
"""Readings that `atlas evaluate` measures beside the one that is used, and that no page and no table of an atlas shows."""


@dataclass(frozen=True)
class Measure:
    """A figure by each method: value and 95% confidence interval, None if the method has no such figure."""

    name: str
    cells: tuple[tuple[float, tuple[float, float]] | None, ...]


def measures(
    evaluation: Evaluation, words: Words = ENGLISH, *, hidden: Sequence[str] = HIDDEN
) -> tuple[tuple[str, ...], tuple[Measure, ...]]:
    """Return the methods that were measured, without `hidden`, and a row for each figure with a cell for each method."""
    measured = [ending for ending in SUFFIXES if any(name.endswith(ending) for name in evaluation.figures) or not ending]
    endings = [ending for ending in measured if ending.lstrip("_") not in hidden]
    names = dict.fromkeys(base_name(name)[0] for name in evaluation.figures)
    return tuple(words.named(SUFFIXES[ending]) for ending in endings), tuple(
        Measure(name, tuple(_cell(evaluation, f"{name}{ending}") for ending in endings)) for name in names
    )


def base_name(figure: str) -> tuple[str, str]:
    """Split a figure's name into the measure and the ending that names the method."""
    ending = next((ending for ending in SUFFIXES if ending and figure.endswith(ending)), "")
    return figure.removesuffix(ending), ending


def _cell(evaluation: Evaluation, name: str) -> tuple[float, tuple[float, float]] | None:
    if name not in evaluation.figures:
        return None
    return evaluation.figures[name], evaluation.intervals.get(name, (math.nan, math.nan))


def figures(evaluation: Evaluation, scale: Scale, colours: Sequence[str], words: Words = ENGLISH) -> tuple[Figure, ...]:
    """Draw an evaluation. Measures that are missing have no figure.

    Parameters
    ----------
    colours : Sequence[str]
        A colour for each grade, as #rrggbb.
    """
    drawn = (
        label_figure(evaluation, scale, colours, words),
        result_figure(evaluation, scale, colours, words),
        reading_figure(evaluation, scale, words),
        roc_figure(evaluation, scale, words),
        calibration_figure(evaluation, scale, words),
    )
    return tuple(figure for figure in drawn if figure is not None)
