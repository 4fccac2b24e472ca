"""Figures with curves: how well each grade is told from all others (ROC), and how true a score is to the grade (calibration)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from atlas.records import Evaluation, Roc, Scale
from atlas.site.panels import CHANCE, Figure, Panel, Table, axis_of, grade_name, layout_of

_LINES = {"score": {"color": "--accent", "width": 2.5}, "classifier": {"color": "--ink", "width": 1.5, "dash": "dash"}}


def roc_figure(evaluation: Evaluation, scale: Scale) -> Figure | None:
    """Draw how well each grade is told from all others; None where no curve is known."""
    kinds = dict.fromkeys(roc.grade for roc in evaluation.rocs)
    order = [*(grade for grade in scale.grades if grade in kinds), *([None] if None in kinds else [])]
    if not order:
        return None
    found = {(roc.grade, roc.method): roc for roc in evaluation.rocs}
    methods = [method for method in _LINES if any(roc.method == method for roc in evaluation.rocs)]
    rows = []
    for grade in order:
        row: list[Any] = ["referable" if grade is None else grade_name(scale, grade)]
        for method in methods:
            roc = found.get((grade, method))
            row += [roc.auc if roc else math.nan, roc.interval if roc else (math.nan, math.nan)]
        rows.append(tuple(row))
    columns = [kind for method in methods for kind in ((f"area, {method}", "number3"), ("95 % interval", "interval"))]
    marks = ", with a dot where the threshold for referral stands" if None in order and not evaluation.cross_fitted else ""
    return Figure(
        "roc",
        "Each grade against all others",
        "The closer a curve hugs the upper left corner, the better this grade is told from all others; the dotted diagonal is "
        f"chance, and the number is the area under the curve{marks}.",
        tuple(_roc_panel(grade, [found[grade, m] for m in methods if (grade, m) in found], evaluation, scale) for grade in order),
        (
            Table(
                "Areas under the curves",
                (("against all others", "text"), *columns),
                tuple(rows),
            ),
        ),
        across=3,
    )


def _roc_panel(grade: int | None, rocs: Sequence[Roc], evaluation: Evaluation, scale: Scale) -> Panel:
    title = f"referable (≥ {scale.referable})" if grade is None else grade_name(scale, grade)
    data: list[dict[str, Any]] = [
        {"type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1], "line": CHANCE, "hoverinfo": "skip"}
    ]
    notes = []
    for row, roc in enumerate(reversed(rocs)):
        line = _LINES[roc.method]
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": roc.method,
                "x": roc.false_positive.astype(float).round(4).tolist(),
                "y": roc.true_positive.astype(float).round(4).tolist(),
                "line": line,
                "hovertemplate": "%{y:.2f} found at %{x:.2f} false alarms<extra></extra>",
            }
        )
        ending = "" if roc.method == "score" else f"_{roc.method}"
        found, cleared = (evaluation.figures.get(f"{n}_referable{ending}", math.nan) for n in ("sensitivity", "specificity"))
        one_threshold = grade is None and not evaluation.cross_fitted  # the mean of two need not lie on the curve
        if one_threshold and math.isfinite(found) and math.isfinite(cleared):
            marker = {"size": 9, "color": line["color"], "line": {"color": "--paper", "width": 1}}
            data.append(
                {"type": "scatter", "mode": "markers", "x": [1 - cleared], "y": [found], "marker": marker, "hoverinfo": "skip"}
            )
        notes.append(
            {
                "x": 0.97,
                "xanchor": "right",
                "y": 0.06 + 0.13 * row,
                "yanchor": "bottom",
                "text": f"{'╌╌' if 'dash' in line else '━'} {roc.method} {roc.auc:.2f}",
                "showarrow": False,
                "font": {"color": line["color"], "size": 12},
            }
        )
    ticks = {"range": [-0.02, 1.02], "tickvals": [0, 0.5, 1]}
    layout = layout_of(
        height=230,
        xaxis=axis_of("false alarms", **ticks),
        yaxis=axis_of("found", **ticks),
        annotations=notes,
        hovermode="closest",
    )
    areas = ", ".join(f"{roc.method} {roc.auc:.2f}" for roc in rocs)
    return Panel(title, f"ROC curves of {title} against all others; areas: {areas}", {"data": data, "layout": layout})


def calibration_figure(evaluation: Evaluation, scale: Scale) -> Figure | None:
    """Draw how the mean grade follows the score, step by step; None where no step is known."""
    bins = evaluation.calibration
    if not bins:
        return None
    most = max(one.count for one in bins)
    means = [one.mean_grade for one in bins]
    whiskers = [one.interval if all(map(math.isfinite, one.interval)) else (one.mean_grade,) * 2 for one in bins]
    ends = [scale.lowest, scale.highest]
    data = [
        {"type": "scatter", "mode": "lines", "x": ends, "y": ends, "line": CHANCE, "hoverinfo": "skip"},
        {
            "type": "scatter",
            "mode": "lines+markers",
            "x": [one.mean_score for one in bins],
            "y": means,
            "error_y": {
                "type": "data",
                "symmetric": False,
                "array": [high - mean for (_, high), mean in zip(whiskers, means, strict=True)],
                "arrayminus": [mean - low for (low, _), mean in zip(whiskers, means, strict=True)],
                "color": "--accent",
                "thickness": 1.5,
                "width": 4,
            },
            "line": {"color": "--accent", "width": 1},
            "marker": {
                "color": "--accent",
                "opacity": 1,
                "size": [round(7 + 11 * math.sqrt(one.count / most), 2) for one in bins],
                "line": {"color": "--paper", "width": 1},
            },
            "customdata": [one.count for one in bins],
            "hovertemplate": "%{customdata} photographs: mean score %{x:.2f}, mean grade %{y:.2f}<extra></extra>",
        },
    ]
    span = [scale.lowest - 0.1, scale.highest + 0.1]
    layout = layout_of(
        height=400, xaxis=axis_of("mean score", range=span, dtick=1), yaxis=axis_of("mean human grade", range=span, dtick=1)
    )
    return Figure(
        "calibration",
        "Can the score be taken at its word?",
        "Each dot is a step of the score, larger where more photographs fall; on the dotted diagonal the mean human grade is "
        "what the score says, above it the score is too mild, and the whisker is its 95 % interval.",
        (Panel("", "Mean human grade by step of the score; the table holds the numbers", {"data": data, "layout": layout}),),
        (
            Table(
                "Mean grade by step of the score",
                (
                    ("scores from", "number"),
                    ("to", "number"),
                    ("photographs", "count"),
                    ("mean score", "number"),
                    ("mean grade", "number"),
                    ("95 % interval", "interval"),
                ),
                tuple((one.low, one.high, one.count, one.mean_score, one.mean_grade, one.interval) for one in bins),
            ),
        ),
    )
