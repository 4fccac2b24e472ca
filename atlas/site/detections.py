"""Tables of recall, precision and F1, and of the results by group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atlas.records import Detection, Evaluation, Group, Interval, Scale, noop
from atlas.site.panels import Table, grade_name
from atlas.site.words import Words

_METHODS = {
    "nearest": noop("nearest grade"),
    "classifier": noop("classifier"),
    "threshold": noop("threshold for referral"),
    "operating": noop("operating point"),
}
"""How scores are read to find a grade or referable disease."""


def detection_table(evaluation: Evaluation, scale: Scale, words: Words) -> Table | None:
    """Return recall, precision and F1 of each grade and of referable disease, by method; None if they were not measured."""
    if not evaluation.detections:
        return None
    columns = (
        (words.gettext("Looked for"), "text"),
        (words.gettext("Read by"), "text"),
        (words.gettext("With it by human grade"), "count"),
        (words.gettext("Read as it"), "count"),
        (words.gettext("Both"), "count"),
        (words.gettext("Recall"), "estimate"),
        (words.gettext("Precision"), "estimate"),
        ("F1", "estimate"),
    )
    rows = tuple(_row(one, scale, words) for one in evaluation.detections)
    return Table(words.gettext("Recall, precision and F1"), columns, rows)


def _row(one: Detection, scale: Scale, words: Words) -> tuple[Any, ...]:
    found = words.gettext("referable") if one.grade is None else grade_name(scale, one.grade)
    estimates = (_estimate(one.figures, one.intervals, name) for name in ("recall", "precision", "f1"))
    return found, words.named(_METHODS[one.method]), one.human, one.read, one.both, *estimates


def group_tables(evaluation: Evaluation, words: Words) -> tuple[Table, ...]:
    """Return the results by group, a table for each column."""
    found = []
    for column in dict.fromkeys(one.column for one in evaluation.groups):
        own = [one for one in evaluation.groups if one.column == column]
        name, width = words.named(column), own[0].width
        title = (
            words.gettext("Results by group: %(column)s", column=name)
            if width is None
            else words.gettext("Results by group: %(column)s, in bands of %(width)s", column=name, width=words.plain(width))
        )
        columns = (
            (words.gettext("Group"), "text"),
            (words.gettext("Photographs"), "count"),
            (words.gettext("Patients"), "count"),
            (words.gettext("Referable"), "count"),
            (words.gettext("AUC for referable disease"), "estimate"),
            (words.gettext("Recall at the operating point"), "estimate"),
            (words.gettext("Precision at the operating point"), "estimate"),
            (words.gettext("Quadratic weighted kappa"), "estimate"),
            (words.gettext("Mean absolute error"), "estimate"),
        )
        found.append(Table(title, columns, tuple(_group_row(one, words) for one in own)))
    return tuple(found)


def _group_row(one: Group, words: Words) -> tuple[Any, ...]:
    names = ("auc_referable", "recall", "precision", "quadratic_kappa", "mae")
    estimates = (_estimate(one.figures, one.intervals, name) for name in names)
    return words.told(one.label), one.count, one.patients, one.referable, *estimates


def _estimate(figures: Mapping[str, float], intervals: Mapping[str, Interval], name: str) -> tuple[float, Interval]:
    return figures[name], intervals[name]
