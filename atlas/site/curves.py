"""Figures with curves: how well each grade is separated from all others (ROC), and how well scores match grades (calibration)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from atlas.records import Evaluation, Roc, Scale
from atlas.site.panels import CHANCE, Figure, Panel, Table, axis_of, grade_name, layout_of
from atlas.site.words import Words

_LINES = {"score": {"color": "--accent", "width": 2.5}, "classifier": {"color": "--ink", "width": 1.5, "dash": "dash"}}


def roc_figure(evaluation: Evaluation, scale: Scale, words: Words) -> Figure | None:
    """Draw how well each grade is separated from all others; return None if no curve is known."""
    kinds = dict.fromkeys(roc.grade for roc in evaluation.rocs)
    order = [*(grade for grade in scale.grades if grade in kinds), *([None] if None in kinds else [])]
    if not order:
        return None
    found = {(roc.grade, roc.method): roc for roc in evaluation.rocs}
    methods = [method for method in _LINES if any(roc.method == method for roc in evaluation.rocs)]
    rows = []
    for grade in order:
        row: list[Any] = [words.gettext("referable") if grade is None else grade_name(scale, grade)]
        for method in methods:
            roc = found.get((grade, method))
            row += [roc.auc if roc else math.nan, roc.interval if roc else (math.nan, math.nan)]
        rows.append(tuple(row))
    columns = [
        kind
        for method in methods
        for kind in (
            (words.gettext("area, %(method)s", method=words.named(method)), "number3"),
            (words.gettext("95%% confidence interval"), "interval"),
        )
    ]
    caption = (
        words.gettext(
            "The closer a curve comes to the upper left corner, the better its grade is told apart from all others; the dotted "
            "diagonal is chance, the number is the area under the curve, and the dot marks the threshold for referral."
        )
        if None in order and not evaluation.cross_fitted
        else words.gettext(
            "The closer a curve comes to the upper left corner, the better its grade is told apart from all others; the dotted "
            "diagonal is chance, and the number is the area under the curve."
        )
    )
    return Figure(
        "roc",
        words.gettext("Each grade against all others"),
        caption,
        tuple(
            _roc_panel(grade, [found[grade, m] for m in methods if (grade, m) in found], evaluation, scale, words)
            for grade in order
        ),
        (
            Table(
                words.gettext("Areas under the curves"),
                ((words.gettext("against all others"), "text"), *columns),
                tuple(rows),
            ),
        ),
        across=3,
    )


def _roc_panel(grade: int | None, rocs: Sequence[Roc], evaluation: Evaluation, scale: Scale, words: Words) -> Panel:
    title = (
        words.gettext("referable (grade %(grade)s or above)", grade=scale.referable)
        if grade is None
        else grade_name(scale, grade)
    )
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
                "name": words.named(roc.method),
                "x": roc.false_positive.astype(float).round(4).tolist(),
                "y": roc.true_positive.astype(float).round(4).tolist(),
                "line": line,
                "hovertemplate": words.gettext("sensitivity %(y)s, false positive rate %(x)s", x="%{x:.2f}", y="%{y:.2f}")
                + "<extra></extra>",
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
                "text": f"{'╌╌' if 'dash' in line else '━'} {words.named(roc.method)} {words.number(roc.auc)}",
                "showarrow": False,
                "font": {"color": line["color"], "size": 12},
            }
        )
    ticks = {"range": [-0.02, 1.02], "tickvals": [0, 0.5, 1]}
    layout = layout_of(
        separators=words.separators,
        height=230,
        xaxis=axis_of(words.gettext("false positive rate"), **ticks),
        yaxis=axis_of(words.gettext("sensitivity"), **ticks),
        annotations=notes,
        hovermode="closest",
    )
    areas = ", ".join(f"{words.named(roc.method)} {words.number(roc.auc)}" for roc in rocs)
    label = words.gettext(
        "ROC curves, %(grade)s against all others. Areas under the curves: %(areas)s.", grade=title, areas=areas
    )
    return Panel(title, label, {"data": data, "layout": layout})


def calibration_figure(evaluation: Evaluation, scale: Scale, words: Words) -> Figure | None:
    """Draw the mean grade for each range of scores; return None if no range is known."""
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
            "hovertemplate": words.gettext(
                "photographs: %(count)s, mean score: %(score)s, mean grade: %(grade)s",
                count="%{customdata}",
                score="%{x:.2f}",
                grade="%{y:.2f}",
            )
            + "<extra></extra>",
        },
    ]
    span = [scale.lowest - 0.1, scale.highest + 0.1]
    layout = layout_of(
        separators=words.separators,
        height=400,
        xaxis=axis_of(words.gettext("mean score"), range=span, dtick=1),
        yaxis=axis_of(words.gettext("mean human grade"), range=span, dtick=1),
    )
    return Figure(
        "calibration",
        words.gettext("Does the score mean what it says?"),
        words.gettext(
            "Each dot is a range of scores, larger where there are more photographs; on the dotted diagonal the mean human grade "
            "equals the score, above it the score is too mild, and the whisker is the 95%% confidence interval."
        ),
        (
            Panel(
                "",
                words.gettext("Mean human grade by range of scores. The table holds the numbers."),
                {"data": data, "layout": layout},
            ),
        ),
        (
            Table(
                words.gettext("Mean grade by range of scores"),
                (
                    (words.gettext("scores from"), "number"),
                    (words.gettext("to"), "number"),
                    (words.gettext("photographs"), "count"),
                    (words.gettext("mean score"), "number"),
                    (words.gettext("mean grade"), "number"),
                    (words.gettext("95%% confidence interval"), "interval"),
                ),
                tuple((one.low, one.high, one.count, one.mean_score, one.mean_grade, one.interval) for one in bins),
            ),
        ),
    )
