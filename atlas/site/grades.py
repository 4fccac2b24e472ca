"""Figures with a row for each grade: the labels learned from, confusion matrices, and densities of the score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from atlas.agreement.reading import boundaries
from atlas.records import Confusion, Evaluation, Scale, noop
from atlas.site.panels import FRAME, ROW, Figure, Panel, Table, axis_of, grade_label, grade_name, layout_of
from atlas.site.words import Words

_COLUMNS = {
    "count": noop("photographs"),
    "mean": noop("mean"),
    "sd": noop("standard deviation"),
    "median": noop("median"),
    "q05": noop("5%% quantile"),
    "q25": noop("25%% quantile"),
    "q75": noop("75%% quantile"),
    "q95": noop("95%% quantile"),
}
"""Headings of the columns in the table of scores by grade."""


def label_figure(evaluation: Evaluation, scale: Scale, colours: Sequence[str], words: Words) -> Figure | None:
    """Draw how common each grade is among the training labels, and its weight in the fit; return None if that is not known."""
    rows = evaluation.labels
    if not rows:
        return None
    names = [grade_label(scale, row.grade) for row in rows]
    outline = {"color": "--muted", "width": 1}
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "x": [100 * share for share in shares],
            "y": names,
            "marker": {"color": fill, "line": outline},
            "text": [words.percent(share) for share in shares],
            "textposition": "outside",
            "cliponaxis": False,
            "hovertemplate": "%{y}: %{text} " + f"{name}<extra></extra>",
        }
        for name, shares, fill in (
            (words.gettext("before balancing"), [row.before for row in rows], "--paper"),
            (words.gettext("after balancing"), [row.after for row in rows], list(colours)),
        )
    ]
    widest = max(max(row.before, row.after) for row in rows)
    layout = layout_of(
        separators=words.separators,
        height=FRAME + 30 + ROW * len(rows),
        xaxis=axis_of(words.gettext("share of training labels (%%)"), range=[0, 125 * widest]),
        yaxis=axis_of("", type="category", autorange="reversed", showgrid=False),
        bargap=0.25,
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "traceorder": "normal"},
    )
    return Figure(
        "labels",
        words.gettext("The labels it learned from"),
        words.gettext(
            "The empty bar shows how common a grade is among the training photographs, and the filled bar how much it counted in "
            "training."
        ),
        (
            Panel(
                "",
                words.gettext("Bars: share of each grade before and after balancing"),
                {"data": data, "layout": layout},
            ),
        ),
        (
            Table(
                words.gettext("Training labels"),
                (
                    (words.gettext("grade"), "text"),
                    (words.gettext("photographs"), "count"),
                    (words.gettext("before"), "percent"),
                    (words.gettext("after"), "percent"),
                ),
                tuple((grade_name(scale, row.grade), row.count, row.before, row.after) for row in rows),
            ),
        ),
    )


def result_figure(evaluation: Evaluation, scale: Scale, colours: Sequence[str], words: Words) -> Figure | None:
    """Draw how the classifier read each grade, and which scores each grade got; return None if neither is known."""
    panels, tables = [], []
    if "classifier" in evaluation.confusions:
        found = evaluation.confusions["classifier"]
        panels.append(_confusion(words.gettext("Classifier: confusion matrix"), found, scale, words))
        tables.append(_confusion_table(words.gettext("Grades by the classifier"), found, scale, words))
    if evaluation.densities is not None and np.isfinite(evaluation.densities.values).any():
        panels.append(_densities(evaluation, scale, colours, words))
    if not panels:
        return None
    columns = tuple(dict.fromkeys(name for row in evaluation.by_grade for name in row if name != "grade"))
    tables.append(
        Table(
            words.gettext("Scores by human grade"),
            (
                (words.gettext("grade"), "text"),
                *((words.gettext(_COLUMNS[name]), "count" if name == "count" else "number") for name in columns),
            ),
            tuple(
                (grade_name(scale, int(row["grade"])), *(_whole(name, row.get(name, math.nan)) for name in columns))
                for row in evaluation.by_grade
            ),
        )
    )
    if len(panels) > 1:
        title = words.gettext("Two ways to grade: classes or a score")
        caption = words.gettext(
            "Each row of the matrix is a human grade, and its cells count how the classifier graded those photographs (dotted "
            "frame: two or more grades off); each hill shows how the scores of one human grade are distributed, and dashed lines "
            "separate the scores that are read as different grades."
        )
    else:
        title = words.gettext("Spread of the results")
        caption = (
            words.gettext(
                "Each row of the matrix is a human grade, and its cells count how the classifier graded those photographs "
                "(dotted frame: two or more grades off)."
            )
            if "classifier" in evaluation.confusions
            else words.gettext(
                "Each hill shows how the scores of one human grade are distributed, drawn to its own height, and dashed lines "
                "separate the scores that are read as different grades."
            )
        )
    return Figure("results", title, caption, tuple(panels), tuple(tables), across=len(panels))


def _whole(name: str, value: float) -> float | int:
    return int(value) if name == "count" else value


def _confusion(title: str, found: Confusion, scale: Scale, words: Words) -> Panel:
    counts = found.counts
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    grades = [str(grade) for grade in scale.grades]
    skipped = [(i, j) for i, j in np.argwhere(counts).tolist() if abs(i - j) >= 2]
    heat = {
        "type": "heatmap",
        "x": grades,
        "y": grades,
        "z": np.round(100 * shares, 1).tolist(),
        "text": [[f"{count}" if count else "" for count in row] for row in counts.tolist()],
        "texttemplate": "%{text}",
        "zmin": 0,
        "zmax": 100,
        "colorscale": [[0, "--raised"], [1, "--accent"]],
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
        "customdata": np.broadcast_to(totals, counts.shape).tolist(),
        "hovertemplate": words.gettext(
            "human grade %(human)s, graded as %(read)s: %(count)s of %(total)s",
            human="%{y}",
            read="%{x}",
            count="%{text}",
            total="%{customdata}",
        )
        + "<extra></extra>",
    }
    frames = [
        {
            "type": "rect",
            **{"x0": j - 0.46, "x1": j + 0.46, "y0": i - 0.46, "y1": i + 0.46},
            "line": {"color": "--ink", "width": 1.5, "dash": "dot"},
        }
        for i, j in skipped
    ]
    layout = layout_of(
        separators=words.separators,
        height=FRAME + ROW * max(5, len(grades)),
        xaxis=axis_of(words.gettext("graded as"), type="category", showgrid=False),
        yaxis=axis_of(words.gettext("human grade"), type="category", autorange="reversed", showgrid=False),
        shapes=frames,
    )
    label = words.gettext(
        "Confusion matrix. Photographs: %(total)s. Two or more grades off: %(skipped)s.",
        total=words.count(int(counts.sum())),
        skipped=words.count(found.skipped),
    )
    return Panel(title, label, {"data": [heat], "layout": layout})


def _confusion_table(title: str, found: Confusion, scale: Scale, words: Words) -> Table:
    columns = (
        (words.gettext("human grade"), "text"),
        *((words.gettext("graded as %(grade)s", grade=grade), "count") for grade in scale.grades),
    )
    rows = tuple((grade_name(scale, grade), *counts) for grade, counts in zip(scale.grades, found.counts.tolist(), strict=True))
    return Table(title, columns, rows)


def _densities(evaluation: Evaluation, scale: Scale, colours: Sequence[str], words: Words) -> Panel:
    assert evaluation.densities is not None
    axis = evaluation.densities.axis.astype(float).round(4).tolist()
    names = [grade_label(scale, grade) for grade in scale.grades]
    floors = list(range(len(names)))[::-1]  # the mildest grade on top, as in the tables
    data = []
    for name, colour, floor, values in zip(names, colours, floors, evaluation.densities.values.astype(float), strict=True):
        if not np.isfinite(values).all():
            continue
        hill = (floor + 0.85 * values / values.max()).round(4).tolist()
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "x": [axis[0], *axis, axis[-1]],
                "y": [floor, *hill, floor],
                "fill": "toself",
                "fillcolor": colour,
                "line": {"color": "--ink", "width": 1},
                "hoverinfo": "skip",
            }
        )
    layout = layout_of(
        separators=words.separators,
        height=FRAME + ROW * max(5, len(names)),
        xaxis=axis_of(words.gettext("score"), range=[scale.lowest, scale.highest], dtick=1),
        yaxis=axis_of("", tickvals=[floor + 0.25 for floor in floors], ticktext=names, range=[-0.05, len(names)], showgrid=False),
        shapes=_boundaries(scale),
    )
    label = words.gettext(
        "Kernel densities of the score, one row for each human grade. The table below holds means and quantiles."
    )
    return Panel(words.gettext("Score: kernel density of each grade"), label, {"data": data, "layout": layout})


def _boundaries(scale: Scale) -> list[dict[str, Any]]:
    """Dashed lines between the scores that are read as one grade and those that are read as the next."""
    line = {"color": "--ink", "width": 1, "dash": "dash"}
    return [
        {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": line} for x in boundaries(scale).tolist()
    ]


def reading_figure(evaluation: Evaluation, scale: Scale, words: Words) -> Figure | None:
    """Draw as which grades the scores of each human grade were read; return None if there are no scores."""
    found = evaluation.confusions.get("nearest")
    if found is None or not evaluation.count:
        return None
    return Figure(
        "reading",
        words.gettext("From score to grade"),
        words.gettext(
            "A score is read as the nearest grade, and a half is rounded up; each row is a human grade, and its cells "
            "count the grades that the scores of those photographs are read as (dotted frame: two or more grades off)."
        ),
        (_confusion(words.gettext("Score, read as a grade: confusion matrix"), found, scale, words),),
        (_confusion_table(words.gettext("Grades read from the scores"), found, scale, words),),
    )
