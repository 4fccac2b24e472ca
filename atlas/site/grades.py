"""Figures with a row for each grade: the labels learned from, confusion matrices, densities of the score, and stage ranges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from atlas.records import Confusion, Evaluation, GradeCuts, Scale
from atlas.site.panels import FRAME, ROW, Figure, Panel, Table, axis_of, grade_label, grade_name, layout_of


def label_figure(evaluation: Evaluation, scale: Scale, colours: Sequence[str]) -> Figure | None:
    """Draw how common each grade is among the training labels, and what it counted in the fit; None where that is not known."""
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
            "text": [f"{100 * share:.1f} %" for share in shares],
            "textposition": "outside",
            "cliponaxis": False,
            "hovertemplate": "%{y}: %{text} " + f"{name}<extra></extra>",
        }
        for name, shares, fill in (
            ("before balancing", [row.before for row in rows], "--paper"),
            ("after balancing", [row.after for row in rows], list(colours)),
        )
    ]
    widest = max(max(row.before, row.after) for row in rows)
    layout = layout_of(
        height=FRAME + 30 + ROW * len(rows),
        xaxis=axis_of("share of training labels, %", range=[0, 125 * widest]),
        yaxis=axis_of("", type="category", autorange="reversed", showgrid=False),
        bargap=0.25,
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "traceorder": "normal"},
    )
    return Figure(
        "labels",
        "The labels it learned from",
        "Each pair of bars is a grade: the empty bar is how common it is among the training photographs, the filled bar how much "
        "it counted in the fit, so that rare grades are not drowned by common ones.",
        (Panel("", "Bars: share of each grade before and after balancing", {"data": data, "layout": layout}),),
        (
            Table(
                "Training labels",
                (("grade", "text"), ("photographs", "count"), ("before", "percent"), ("after", "percent")),
                tuple((grade_name(scale, row.grade), row.count, row.before, row.after) for row in rows),
            ),
        ),
    )


def result_figure(evaluation: Evaluation, scale: Scale, colours: Sequence[str]) -> Figure | None:
    """Draw what the classifier made of each grade, and which scores each grade got; None where neither is known."""
    panels, tables = [], []
    caption = []
    if "classifier" in evaluation.confusions:
        found = evaluation.confusions["classifier"]
        panels.append(_confusion("Classifier: confusion matrix", found, scale))
        tables.append(_confusion_table("Grades read by the classifier", found, scale))
        caption.append(
            "In the matrix each row is a human grade and its cells say how many of its photographs the classifier called what, "
            "with dotted frames where it skipped a stage"
        )
    if evaluation.densities is not None and np.isfinite(evaluation.densities.values).any():
        panels.append(_densities(evaluation, scale, colours))
        caption.append(
            f"{'each' if caption else 'Each'} hill shows which scores the photographs of one human grade got, drawn to its own "
            "height, with dashed lines where one stage's range ends and the next begins"
        )
    if not panels:
        return None
    columns = tuple(dict.fromkeys(name for row in evaluation.by_grade for name in row if name != "grade"))
    tables.append(
        Table(
            "Scores by human grade",
            (("grade", "text"), *((name, "count" if name == "count" else "number") for name in columns)),
            tuple(
                (grade_name(scale, int(row["grade"])), *(_whole(name, row.get(name, math.nan)) for name in columns))
                for row in evaluation.by_grade
            ),
        )
    )
    title = "Two ways to grade: classes or a score" if len(panels) > 1 else "How the results spread"
    return Figure("results", title, "; ".join(caption) + ".", tuple(panels), tuple(tables), across=len(panels))


def _whole(name: str, value: float) -> float | int:
    return int(value) if name == "count" else value


def _confusion(title: str, found: Confusion, scale: Scale) -> Panel:
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
        "hovertemplate": "human grade %{y}, read as %{x}: %{text}, %{z} % of the row<extra></extra>",
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
        height=FRAME + ROW * max(5, len(grades)),
        xaxis=axis_of("read as grade", type="category", showgrid=False),
        yaxis=axis_of("human grade", type="category", autorange="reversed", showgrid=False),
        shapes=frames,
    )
    label = f"Confusion matrix of {int(counts.sum())} photographs, {found.skipped} of them two or more grades off"
    return Panel(title, label, {"data": [heat], "layout": layout})


def _confusion_table(title: str, found: Confusion, scale: Scale) -> Table:
    columns = (("human grade", "text"), *((f"read as {grade}", "count") for grade in scale.grades))
    rows = tuple((grade_name(scale, grade), *counts) for grade, counts in zip(scale.grades, found.counts.tolist(), strict=True))
    return Table(title, columns, rows)


def _densities(evaluation: Evaluation, scale: Scale, colours: Sequence[str]) -> Panel:
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
        height=FRAME + ROW * max(5, len(names)),
        xaxis=axis_of("score", range=[scale.lowest, scale.highest], dtick=1),
        yaxis=axis_of("", tickvals=[floor + 0.25 for floor in floors], ticktext=names, range=[-0.05, len(names)], showgrid=False),
        shapes=[] if evaluation.reading is None else _cuts(evaluation.reading),
    )
    label = "Kernel densities of the score, one row for each human grade; the table below holds means and quantiles"
    return Panel("Score: kernel density of each grade", label, {"data": data, "layout": layout})


def _cuts(reading: GradeCuts) -> list[dict[str, Any]]:
    line = {"color": "--ink", "width": 1, "dash": "dash"}
    cuts = sorted(set(reading.cuts.astype(float).round(4).tolist()))
    return [{"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": line} for x in cuts]


def range_figure(evaluation: Evaluation, scale: Scale, colours: Sequence[str]) -> Figure | None:
    """Draw how scores are read as grades, and what became of each; None where they are not read by ranges."""
    reading, found = evaluation.reading, evaluation.confusions.get("ranges")
    if reading is None or found is None:
        return None
    names = [grade_label(scale, grade) for grade in scale.grades]
    edges = [float(scale.lowest), *reading.cuts.astype(float).round(4).tolist(), float(scale.highest)]
    edges = np.clip(edges, scale.lowest, scale.highest).tolist()
    lows, highs = edges[:-1], edges[1:]
    data: list[dict[str, Any]] = [
        {
            "type": "bar",
            "orientation": "h",
            "y": names,
            "base": lows,
            "x": [high - low for low, high in zip(lows, highs, strict=True)],
            "marker": {"color": list(colours), "line": {"color": "--muted", "width": 1}},
            "customdata": [[low, high] for low, high in zip(lows, highs, strict=True)],
            "hovertemplate": "%{y}: scores %{customdata[0]:.2f} to %{customdata[1]:.2f}<extra></extra>",
        }
    ]
    columns = [("grade", "text"), ("from", "number"), ("to", "number")]
    rows: list[tuple[Any, ...]] = list(zip((grade_name(scale, grade) for grade in scale.grades), lows, highs, strict=True))
    peaks = ""
    if reading.peaks is not None and reading.deviations is not None:
        peak, deviation = (values.astype(float).round(4).tolist() for values in (reading.peaks, reading.deviations))
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": peak,
                "y": names,
                "error_x": {"type": "data", "array": deviation, "color": "--ink", "thickness": 1.5, "width": 5},
                "marker": {"symbol": "diamond", "size": 9, "color": "--ink", "line": {"color": "--paper", "width": 1}},
                "hovertemplate": "%{y}: peak %{x:.2f}<extra></extra>",
            }
        )
        columns += [("peak", "number"), ("standard deviation", "number")]
        rows = [(*row, *pair) for row, *pair in zip(rows, peak, deviation, strict=True)]
        peaks = ", with a diamond at the grade's peak and a whisker of one standard deviation to both sides"
    shapes, notes = [], []
    if reading.threshold is not None:
        shapes.append(
            {
                "type": "line",
                "x0": reading.threshold,
                "x1": reading.threshold,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "line": {"color": "--accent", "width": 2, "dash": "dash"},
            }
        )
        notes.append(
            {
                "x": reading.threshold,
                "yref": "paper",
                "y": 1,
                "yanchor": "bottom",
                "text": f"referable from {reading.threshold:.2f}",
                "showarrow": False,
                "font": {"color": "--accent", "size": 12},
            }
        )
    layout = layout_of(
        height=FRAME + ROW * max(5, len(names)),
        xaxis=axis_of("score", range=[scale.lowest, scale.highest], dtick=1),
        yaxis=axis_of("", type="category", autorange="reversed", showgrid=False),
        shapes=shapes,
        annotations=notes,
        bargap=0.35,
    )
    layout["margin"]["t"] = 24
    return Figure(
        "ranges",
        "From score to grade",
        f"A score is read as the grade whose bar it falls on{peaks}, and the matrix counts what became of each human grade when "
        "read so, with dotted frames where a stage was skipped.",
        (
            Panel("Stage ranges", "Bars: the range of scores that is read as each grade", {"data": data, "layout": layout}),
            _confusion("Score by stage ranges: confusion matrix", found, scale),
        ),
        (
            Table("Stage ranges", tuple(columns), tuple(rows)),
            _confusion_table("Grades read by stage ranges", found, scale),
            _confusion_table("Grades read by rounding the score", evaluation.confusions["nearest"], scale),
        ),
        across=2,
    )
