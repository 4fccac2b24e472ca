"""Measurements of a scorer as plain JSON values for its bundle, and as tables of its card."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from atlas.agreement.detection import AIM, DETECTION_FIGURES, FEWEST
from atlas.agreement.groups import GROUP_FIGURES
from atlas.records import Evaluation, Interval

_READ = {
    "threshold": "referable, by the threshold of the best Youden index",
    "operating": "referable, at the operating point",
    "classifier": "referable, softmax classifier",
}

_GROUPS = {
    "auc_referable": "AUC for referable disease",
    "recall": "recall",
    "precision": "precision",
    "quadratic_kappa": "quadratic weighted kappa",
    "mae": "mean absolute error",
}


def details(found: Evaluation) -> dict[str, Any]:
    """Return detections, operating point and groups of an evaluation as plain JSON values; figures are [value, low, high]."""
    told: dict[str, Any] = {
        "detections": [
            {
                "method": one.method,
                "grade": one.grade,
                "human": one.human,
                "read": one.read,
                "both": one.both,
                "figures": plain_figures(one.figures, one.intervals),
            }
            for one in found.detections
        ]
    }
    if found.operating is not None:
        told["operating"] = {"threshold": round(found.operating, 4), "cross_fitted": found.operating_cross_fitted}
    if found.groups:
        told["groups"] = [
            {
                "column": one.column,
                "width": one.width,
                "group": str(one.label),
                "photographs": one.count,
                "patients": one.patients,
                "referable": one.referable,
                "figures": plain_figures(one.figures, one.intervals),
            }
            for one in found.groups
        ]
    return told


def plain_figures(figures: Mapping[str, float], intervals: Mapping[str, Interval]) -> dict[str, list[float]]:
    """Return figures that are defined as [value, low, high], or [value] without an interval, with four decimals."""
    return {
        key: [round(value, 4), *(round(end, 4) for end in intervals.get(key, ()) if math.isfinite(end))]
        for key, value in figures.items()
        if math.isfinite(value)
    }


def detections_on_card(entry: Mapping[str, Any], names: Mapping[int, str] | None = None) -> list[str]:
    """Return the parts of a card on recall, precision and F1, Markdown; none for an entry without detections.

    Parameters
    ----------
    entry : Mapping[str, Any]
        An entry with `details`.
    names : Mapping[int, str] or None
        Names of the grades; without them, grades are told by number.
    """
    rows = []
    for one in entry.get("detections", ()):
        grade, method = one["grade"], one["method"]
        if grade is not None and method != "nearest":
            continue  # by the nearest grade, and referable disease by every method; the bundle holds the others
        name = _READ[method] if grade is None else f"{grade} {names[grade]}" if names else f"grade {grade}"
        rows.append((name, one["human"], one["read"], one["both"], *_cells(one["figures"], DETECTION_FIGURES)))
    if not rows:
        return []
    header = ("looked for", "human grade", "read as it", "both", "recall", "precision", "F1")
    return [
        "Recall, precision and F1, with their numbers of photographs and 95% confidence intervals; a ratio of fewer than "
        f"{FEWEST} photographs is left out. A score is read as the nearest grade.{_operating(entry)}",
        table(header, rows),
    ]


def _operating(entry: Mapping[str, Any]) -> str:
    point = entry.get("operating")
    if point is None:
        return ""
    where = (
        "For these figures it was chosen on one half of the patients and judged on the other, both ways"
        if point["cross_fitted"]
        else "It was chosen on other photographs"
    )
    return (
        f" The operating point, a score of {point['threshold']:.2f} or more, finds at least {AIM:.0%} of the referable "
        f"photographs that it was chosen on. {where}."
    )


def groups_on_card(entry: Mapping[str, Any]) -> list[str]:
    """Return the parts of a card on results by group, Markdown; none for an entry without groups."""
    parts = []
    for column in dict.fromkeys(one["column"] for one in entry.get("groups", ())):
        own = [one for one in entry["groups"] if one["column"] == column]
        bands = "" if own[0]["width"] is None else f", in bands of {own[0]['width']:g}"
        rows = [
            (one["group"], one["photographs"], one["patients"], one["referable"], *_cells(one["figures"], GROUP_FIGURES))
            for one in own
        ]
        header = (f"{column}{bands}", "photographs", "patients", "referable", *_GROUPS.values())
        parts.append(table(header, rows))
    if parts:
        parts.insert(0, "By group; recall and precision for referable disease, at the operating point:")
    return parts


def _cells(figures: Mapping[str, Sequence[float]], names: Sequence[str]) -> list[str]:
    return [_figure(figures.get(name)) for name in names]


def _figure(values: Sequence[float] | None) -> str:
    if values is None:
        return "–"
    return f"{values[0]:.2f} ({values[1]:.2f} to {values[2]:.2f})" if len(values) == 3 else f"{values[0]:.2f}"


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table, Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
