"""Static drawings: what `grades` and `curves` specify for Plotly, as SVG that needs no script.

Only what these modules use is drawn. Places are in percent of the plotted area, and margins and text in pixels, so a drawing fits
any width and its text stays as large as that of the page. Theme colours are CSS variables, so theme and paper need no second
drawing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from markupsafe import Markup, escape

_TEXT = 12
"""Height of text, in pixels."""

_LETTER = 6.4
"""Mean width of a letter of that height, in pixels: the room for labels beside an axis."""

_FINE = 1000
"""Units of the plotted area, to which curves are rounded."""

_DASHES = {"dash": "6 4", "dot": "1.5 3"}


@dataclass(frozen=True)
class _Axis:
    """Places on an axis, from 0 to 1. `ticks` holds place and label of each."""

    low: float
    high: float
    names: Sequence[str]
    ticks: Sequence[tuple[float, str]]
    title: str
    grid: bool

    def at(self, value: Any) -> float:
        """Return the place of a value, or of a category by its name or number."""
        if self.names:
            value = self.names.index(value) if isinstance(value, str) else value
        return (float(value) - self.low) / (self.high - self.low)


def drawing(spec: Mapping[str, Any]) -> Markup:
    """Draw a specification with `data` and `layout` as an SVG element.

    Raises
    ------
    ValueError
        It has a part that is not drawn here.
    """
    traces, layout = spec["data"], spec["layout"]
    x = _axis(layout["xaxis"], [value for trace in traces for value in trace["x"]], layout, downwards=False)
    y = _axis(layout["yaxis"], [value for trace in traces for value in trace["y"]], layout, downwards=True)
    legend = [trace for trace in traces if layout.get("showlegend") and trace.get("name")]
    left = round(max(len(label) for _, label in y.ticks) * _LETTER) + 10 + (20 if y.title else 0)
    top, bottom, right = 8 + (24 if legend else 0), 24 + (20 if x.title else 0), 14
    plotted = layout["height"] - top - bottom
    bars = [trace for trace in traces if trace["type"] == "bar"]
    area = "".join(
        [
            *_grid(x, y),
            *(part for trace in traces for part in _trace(trace, x, y, layout.get("bargap", 0.2), bars)),
            *(part for shape in layout.get("shapes", ()) for part in _shape(shape, x, y)),
            *(part for note in layout.get("annotations", ()) for part in _note(note)),
        ]
    )
    if x.title:
        area += _text(x.title, x="50%", y="100%", dy=bottom - 6)
    if y.title:
        area += _tag(
            "text", Markup(y.title), transform=f"translate({14 - left} {plotted / 2:g}) rotate(-90)", text_anchor="middle"
        )
    place = f"display:block;overflow:visible;width:calc(100% - {left + right}px);margin:{top}px {right}px {bottom}px {left}px"
    return Markup(
        f'<svg height="{plotted:g}" font-size="{_TEXT}" fill="currentColor" style="{place}">{area}{_legend(legend)}</svg>'
    )


def _axis(own: Mapping[str, Any], values: Sequence[Any], layout: Mapping[str, Any], *, downwards: bool) -> _Axis:
    """Read an axis. downwards : places are counted from the top, so the axis is turned unless it is already."""
    turned = downwards != (own.get("autorange") == "reversed")
    if own.get("type") == "category":
        names = list(dict.fromkeys(str(value) for value in values))
        low, high = -0.5, len(names) - 0.5
        marks: list[tuple[float, str]] = [(float(k), name) for k, name in enumerate(names)]
    else:
        names = []
        low, high = own.get("range") or (min(values), max(values))
        places: list[float] = own.get("tickvals") or _steps(low, high, own.get("dtick"))
        point = layout.get("separators", ".,")[0]
        marks = list(zip(places, own.get("ticktext") or [f"{place:g}".replace(".", point) for place in places], strict=True))
    if turned:
        low, high = high, low
    ticks = [((place - low) / (high - low), label) for place, label in marks]
    return _Axis(low, high, names, ticks, own["title"]["text"], own.get("showgrid", True))


def _steps(low: float, high: float, step: float | None) -> list[float]:
    """Round numbers from low to high, about five of them where no step is given."""
    if step is None:
        size = 10.0 ** np.floor(np.log10((high - low) / 4))
        step = float(min((size * k for k in (1, 2, 5, 10)), key=lambda one: abs((high - low) / one - 4.5)))
    return [k * step for k in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]


def _grid(x: _Axis, y: _Axis) -> Iterator[str]:
    """Lines and labels of both axes."""
    for place, label in x.ticks:
        if x.grid:
            yield _line(place, 0, place, 1, {"color": "--rule"})
        yield _text(label, x=_percent(place), y="100%", dy=17)
    for place, label in y.ticks:
        if y.grid:
            yield _line(0, place, 1, place, {"color": "--rule"})
        yield _text(label, x=-8, y=_percent(place), dy=4, anchor="end")


def _trace(trace: Mapping[str, Any], x: _Axis, y: _Axis, gap: float, bars: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if trace["type"] == "bar" and trace.get("orientation") == "h":
        thick = (1 - gap) / len(y.names) / len(bars)
        yield from _bars(trace, x, y, thick, thick * (next(k for k, one in enumerate(bars) if one is trace) - len(bars) / 2))
    elif trace["type"] == "heatmap":
        yield from _cells(trace, x, y)
    elif trace["type"] == "scatter":
        yield from _curve(trace, x, y)
    else:
        raise ValueError(f"no drawing of a trace of the type {trace['type']}")


def _bars(trace: Mapping[str, Any], x: _Axis, y: _Axis, thick: float, above: float) -> Iterator[str]:
    """Horizontal bars, each with its number. above : from the middle of a category's row to the edge of its bar."""
    fills = trace["marker"]["color"]
    for k, (length, name, told) in enumerate(zip(trace["x"], trace["y"], trace["text"], strict=True)):
        fill = fills if isinstance(fills, str) else fills[k]
        yield _box(x.at(0), y.at(name) + above, x.at(length), y.at(name) + above + thick, fill, trace["marker"]["line"])
        yield _text(told, x=_percent(x.at(length)), y=_percent(y.at(name) + above + thick / 2), dx=5, dy=4, anchor="start")


def _cells(trace: Mapping[str, Any], x: _Axis, y: _Axis) -> Iterator[str]:
    """Cells with a number each; the fuller a cell, the more of the accent its ground has."""
    (_, faint), (_, full) = trace["colorscale"]
    wide, high = 1 / len(x.names), 1 / len(y.names)
    for name, shares, texts in zip(trace["y"], trace["z"], trace["text"], strict=True):
        for column, share, told in zip(trace["x"], shares, texts, strict=True):
            strength = round(_FULLEST * (share - trace["zmin"]) / (trace["zmax"] - trace["zmin"]))
            place = {
                "x": _percent(x.at(column) - wide / 2),
                "y": _percent(y.at(name) - high / 2),
                "width": _percent(wide),
                "height": _percent(high),
            }
            ground = f"fill:color-mix(in srgb,{_colour(full)} {strength}%,{_colour(faint)});stroke:var(--paper);stroke-width:2"
            yield _tag("rect", **place, style=ground)
            if told:
                yield _text(told, x=_percent(x.at(column)), y=_percent(y.at(name)), dy=4, colour="--ink")


_FULLEST = 48
"""Share of the accent in the ground of the fullest cell, in percent: text on it has a contrast of 4.5 in both themes."""


def _curve(trace: Mapping[str, Any], x: _Axis, y: _Axis) -> Iterator[str]:
    """A line, points, or both; an area where it is filled; whiskers where there are errors."""
    points = [(x.at(one), y.at(other)) for one, other in zip(trace["x"], trace["y"], strict=True)]
    if "lines" in trace["mode"]:
        fill = _colour(trace["fillcolor"]) if trace.get("fill") == "toself" else "none"
        yield from _path(points, fill, trace["line"])
    if errors := trace.get("error_y"):
        line = {"color": errors["color"], "width": errors["thickness"]}
        for value, (across, _), up, down in zip(trace["y"], points, errors["array"], errors["arrayminus"], strict=True):
            if up or down:
                yield _line(across, y.at(value - down), across, y.at(value + up), line)
    if "markers" in trace["mode"]:
        marker = trace["marker"]
        sizes = marker["size"] if isinstance(marker["size"], list) else [marker["size"]] * len(points)
        for (across, down), size in zip(points, sizes, strict=True):
            style = f"fill:{_colour(marker['color'])};{_stroke(marker['line'])}"
            yield _tag("circle", cx=_percent(across), cy=_percent(down), r=f"{size / 2:g}", style=style)


def _path(points: Iterable[tuple[float, float]], fill: str, line: Mapping[str, Any]) -> Iterator[str]:
    """A curve through points, rounded to the units of the area; points that no longer turn it are left out."""
    rounded = [(round(_FINE * across), round(_FINE * down)) for across, down in points]
    kept = [rounded[0]]
    for point, after in pairwise(rounded[1:]):
        before = kept[-1]
        if (point[0] - before[0]) * (after[1] - before[1]) != (point[1] - before[1]) * (after[0] - before[0]):
            kept.append(point)
    kept.append(rounded[-1])
    curve = _tag(
        "polyline",
        points=" ".join(f"{across},{down}" for across, down in kept),
        style=f"fill:{fill};{_stroke(line)};vector-effect:non-scaling-stroke",
    )
    box = f'viewBox="0 0 {_FINE} {_FINE}" preserveAspectRatio="none"'
    yield f'<svg width="100%" height="100%" {box} overflow="visible">{curve}</svg>'


def _shape(shape: Mapping[str, Any], x: _Axis, y: _Axis) -> Iterator[str]:
    """A frame of cells, or a line over the whole height."""
    if shape["type"] == "rect":
        ends = sorted((y.at(shape["y0"]), y.at(shape["y1"])))
        yield _box(x.at(shape["x0"]), ends[0], x.at(shape["x1"]), ends[1], "none", shape["line"])
    elif shape["type"] == "line" and shape.get("yref") == "paper":
        yield _line(x.at(shape["x0"]), 1 - shape["y0"], x.at(shape["x1"]), 1 - shape["y1"], shape["line"])
    else:
        raise ValueError(f"no drawing of a shape of the type {shape['type']}")


def _note(note: Mapping[str, Any]) -> Iterator[str]:
    """Text within the area, at its right."""
    yield _text(note["text"], x=_percent(note["x"]), y=_percent(1 - note["y"]), dy=-2, anchor="end", colour=note["font"]["color"])


def _legend(traces: Sequence[Mapping[str, Any]]) -> str:
    """What the bars of each trace mean, above the area."""
    parts, place = [], 0.0
    for trace in traces:
        fill = trace["marker"]["color"]
        style = f"fill:{_colour(fill if isinstance(fill, str) else fill[-1])};{_stroke(trace['marker']['line'])}"
        parts.append(_tag("rect", x=f"{place:g}", y="-22", width="12", height="12", style=style))
        parts.append(_text(trace["name"], x=f"{place + 18:g}", y=-12, anchor="start"))
        place += 18 + _LETTER * len(trace["name"]) + 24
    return "".join(parts)


def _line(x0: float, y0: float, x1: float, y1: float, line: Mapping[str, Any]) -> str:
    ends = {"x1": _percent(x0), "y1": _percent(y0), "x2": _percent(x1), "y2": _percent(y1)}
    return _tag("line", **ends, style=_stroke(line))


def _box(x0: float, y0: float, x1: float, y1: float, fill: str, line: Mapping[str, Any]) -> str:
    size = {"width": _percent(x1 - x0), "height": _percent(y1 - y0)}
    return _tag("rect", x=_percent(x0), y=_percent(y0), **size, style=f"fill:{_colour(fill)};{_stroke(line)}")


def _text(told: str, *, x: Any, y: Any, dx: int = 0, dy: int = 0, anchor: str = "middle", colour: str = "") -> str:
    """A label; `told` is HTML text, as Plotly takes it."""
    moved = {name: str(value) for name, value in (("dx", dx), ("dy", dy)) if value}
    style = {"style": f"fill:{_colour(colour)}"} if colour else {}
    return _tag("text", Markup(told), x=str(x), y=str(y), text_anchor=anchor, **moved, **style)


def _tag(name: str, content: Markup | None = None, /, **attributes: str) -> str:
    written = "".join(f' {key.replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    return f"<{name}{written}/>" if content is None else f"<{name}{written}>{content}</{name}>"


def _percent(share: float) -> str:
    return f"{round(100 * share, 1):g}%"


def _colour(named: str) -> str:
    return f"var({named})" if named.startswith("--") else named


def _stroke(line: Mapping[str, Any]) -> str:
    dash = f";stroke-dasharray:{_DASHES[line['dash']]}" if "dash" in line else ""
    return f"stroke:{_colour(line['color'])};stroke-width:{line.get('width', 1):g}{dash}"
