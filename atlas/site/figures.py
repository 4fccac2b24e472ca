"""An evaluation as figures: what Plotly draws, one sentence on how to read it, and the same numbers as tables.

Colours that follow the page's theme stand as the names of its CSS variables, such as `--ink`; `js/figures.js` puts them in.
Severity keeps the atlas's ramp. Nothing is told by colour alone: rows are labelled, lines differ in dash, cells hold numbers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from atlas.records import Confusion, Evaluation, GradeCuts, Roc, Scale

SUFFIXES = {"": "score", "_ranges": "score by stage ranges", "_classifier": "classifier"}
"""How grades were read, by the ending of a figure's name. Without ending: the severity, rounded where a grade is needed."""

_CHANCE = {"color": "--muted", "width": 1, "dash": "dot"}

_ROW = 46  # height of a row of grades, in pixels

_FRAME = 64  # what axis and margins add


@dataclass(frozen=True)
class Measure:
    """A figure by each method: value and 95 % interval, None where the method has no such figure."""

    name: str
    cells: tuple[tuple[float, tuple[float, float]] | None, ...]


@dataclass(frozen=True)
class Panel:
    """One Plotly drawing: `spec` holds its `data` and `layout`; `label` says what it shows to those who cannot see it."""

    title: str
    label: str
    spec: Mapping[str, Any]

    @property
    def json(self) -> Markup:
        """The drawing as JSON that may stand inside a script element; numbers that are none become null."""
        text = json.dumps(_plain(self.spec), separators=(",", ":"), sort_keys=True, allow_nan=False)
        return Markup(text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e"))


@dataclass(frozen=True)
class Table:
    """Rows under named columns; each column's kind (text, count, number, percent, interval) says how its cells are printed."""

    title: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Figure:
    """Panels under one title. `caption` tells a student how to read them; `across` of them stand side by side on paper."""

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    tables: tuple[Table, ...]
    across: int = 1


def measures(evaluation: Evaluation) -> tuple[tuple[str, ...], tuple[Measure, ...]]:
    """Lay the figures out: the methods they were measured for, and a row for each with a cell for each method."""
    endings = [ending for ending in SUFFIXES if any(name.endswith(ending) for name in evaluation.figures) or not ending]
    names = dict.fromkeys(base_name(name)[0] for name in evaluation.figures)
    return tuple(SUFFIXES[ending] for ending in endings), tuple(
        Measure(name, tuple(_cell(evaluation, f"{name}{ending}") for ending in endings)) for name in names
    )


def base_name(figure: str) -> tuple[str, str]:
    """Split a figure's name into what was measured and the ending that names the method."""
    ending = next((ending for ending in SUFFIXES if ending and figure.endswith(ending)), "")
    return figure.removesuffix(ending), ending


def _cell(evaluation: Evaluation, name: str) -> tuple[float, tuple[float, float]] | None:
    if name not in evaluation.figures:
        return None
    return evaluation.figures[name], evaluation.intervals.get(name, (math.nan, math.nan))


def figures(evaluation: Evaluation, scale: Scale, colours: Sequence[str]) -> tuple[Figure, ...]:
    """Draw an evaluation. `colours`, #rrggbb, one for each grade. What was not measured has no figure."""
    drawn = (
        _labels(evaluation, scale, colours),
        _results(evaluation, scale, colours),
        _ranges(evaluation, scale, colours),
        _rocs(evaluation, scale),
        _calibration(evaluation, scale),
    )
    return tuple(figure for figure in drawn if figure is not None)


def _labels(evaluation: Evaluation, scale: Scale, colours: Sequence[str]) -> Figure | None:
    rows = evaluation.labels
    if not rows:
        return None
    names = [_label(scale, row.grade) for row in rows]
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
    layout = _layout(
        height=_FRAME + 30 + _ROW * len(rows),
        xaxis=_axis("share of training labels, %", range=[0, 125 * widest]),
        yaxis=_axis("", type="category", autorange="reversed", showgrid=False),
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
                tuple((_grade(scale, row.grade), row.count, row.before, row.after) for row in rows),
            ),
        ),
    )


def _results(evaluation: Evaluation, scale: Scale, colours: Sequence[str]) -> Figure | None:
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
                (_grade(scale, int(row["grade"])), *(_whole(name, row.get(name, math.nan)) for name in columns))
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
    layout = _layout(
        height=_FRAME + _ROW * max(5, len(grades)),
        xaxis=_axis("read as grade", type="category", showgrid=False),
        yaxis=_axis("human grade", type="category", autorange="reversed", showgrid=False),
        shapes=frames,
    )
    label = f"Confusion matrix of {int(counts.sum())} photographs, {found.skipped} of them two or more grades off"
    return Panel(title, label, {"data": [heat], "layout": layout})


def _confusion_table(title: str, found: Confusion, scale: Scale) -> Table:
    columns = (("human grade", "text"), *((f"read as {grade}", "count") for grade in scale.grades))
    rows = tuple((_grade(scale, grade), *counts) for grade, counts in zip(scale.grades, found.counts.tolist(), strict=True))
    return Table(title, columns, rows)


def _densities(evaluation: Evaluation, scale: Scale, colours: Sequence[str]) -> Panel:
    assert evaluation.densities is not None
    axis = evaluation.densities.axis.astype(float).round(4).tolist()
    names = [_label(scale, grade) for grade in scale.grades]
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
    layout = _layout(
        height=_FRAME + _ROW * max(5, len(names)),
        xaxis=_axis("score", range=[scale.lowest, scale.highest], dtick=1),
        yaxis=_axis("", tickvals=[floor + 0.25 for floor in floors], ticktext=names, range=[-0.05, len(names)], showgrid=False),
        shapes=[] if evaluation.reading is None else _cuts(evaluation.reading),
    )
    label = "Kernel densities of the score, one row for each human grade; the table below holds means and quantiles"
    return Panel("Score: kernel density of each grade", label, {"data": data, "layout": layout})


def _cuts(reading: GradeCuts) -> list[dict[str, Any]]:
    line = {"color": "--ink", "width": 1, "dash": "dash"}
    cuts = sorted(set(reading.cuts.astype(float).round(4).tolist()))
    return [{"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": line} for x in cuts]


def _ranges(evaluation: Evaluation, scale: Scale, colours: Sequence[str]) -> Figure | None:
    reading, found = evaluation.reading, evaluation.confusions.get("ranges")
    if reading is None or found is None:
        return None
    names = [_label(scale, grade) for grade in scale.grades]
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
    rows: list[tuple[Any, ...]] = list(zip((_grade(scale, grade) for grade in scale.grades), lows, highs, strict=True))
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
    layout = _layout(
        height=_FRAME + _ROW * max(5, len(names)),
        xaxis=_axis("score", range=[scale.lowest, scale.highest], dtick=1),
        yaxis=_axis("", type="category", autorange="reversed", showgrid=False),
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


def _rocs(evaluation: Evaluation, scale: Scale) -> Figure | None:
    kinds = dict.fromkeys(roc.grade for roc in evaluation.rocs)
    order = [*(grade for grade in scale.grades if grade in kinds), *([None] if None in kinds else [])]
    if not order:
        return None
    found = {(roc.grade, roc.method): roc for roc in evaluation.rocs}
    methods = [method for method in _LINES if any(roc.method == method for roc in evaluation.rocs)]
    rows = []
    for grade in order:
        row: list[Any] = ["referable" if grade is None else _grade(scale, grade)]
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


_LINES = {"score": {"color": "--accent", "width": 2.5}, "classifier": {"color": "--ink", "width": 1.5, "dash": "dash"}}


def _roc_panel(grade: int | None, rocs: Sequence[Roc], evaluation: Evaluation, scale: Scale) -> Panel:
    title = f"referable (≥ {scale.referable})" if grade is None else _grade(scale, grade)
    data: list[dict[str, Any]] = [
        {"type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1], "line": _CHANCE, "hoverinfo": "skip"}
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
    layout = _layout(
        height=230, xaxis=_axis("false alarms", **ticks), yaxis=_axis("found", **ticks), annotations=notes, hovermode="closest"
    )
    areas = ", ".join(f"{roc.method} {roc.auc:.2f}" for roc in rocs)
    return Panel(title, f"ROC curves of {title} against all others; areas: {areas}", {"data": data, "layout": layout})


def _calibration(evaluation: Evaluation, scale: Scale) -> Figure | None:
    bins = evaluation.calibration
    if not bins:
        return None
    most = max(one.count for one in bins)
    means = [one.mean_grade for one in bins]
    whiskers = [one.interval if all(map(math.isfinite, one.interval)) else (one.mean_grade,) * 2 for one in bins]
    ends = [scale.lowest, scale.highest]
    data = [
        {"type": "scatter", "mode": "lines", "x": ends, "y": ends, "line": _CHANCE, "hoverinfo": "skip"},
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
    layout = _layout(
        height=400, xaxis=_axis("mean score", range=span, dtick=1), yaxis=_axis("mean human grade", range=span, dtick=1)
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


def _grade(scale: Scale, grade: int) -> str:
    return f"{grade} {scale.name(grade)}"


def _label(scale: Scale, grade: int) -> str:
    """Name a grade for Plotly, which takes labels for HTML."""
    return str(escape(_grade(scale, grade)))


def _layout(**own: Any) -> dict[str, Any]:
    return {"margin": {"l": 10, "r": 12, "t": 8, "b": 10}, "showlegend": False, **own}


def _axis(title: str, **own: Any) -> dict[str, Any]:
    return {
        "title": {"text": title, "standoff": 6},
        "automargin": True,
        "fixedrange": True,
        "zeroline": False,
        "gridcolor": "--rule",
        "linecolor": "--rule",
        **own,
    }


def _plain(value: Any) -> Any:
    """Plain JSON values, floats shortened so that the last digits of a computation do not matter."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value
