"""The parts of a figure: drawings as Plotly specifies them, tables of the same numbers, and the style that all of them share.

Pages show a drawing as SVG, see `drawing`, and with Plotly itself when a reader asks for it. Colours that follow the page's theme
are given as the names of its CSS variables, such as `--ink`.
Severity keeps the colours of the atlas's ramp.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from atlas.records import Scale
from atlas.site.drawing import drawing

CHANCE = {"color": "--muted", "width": 1, "dash": "dot"}  # the line of pure guessing

ROW = 46  # height of a row of grades, in pixels

FRAME = 64  # height of axis and margins, in pixels


@dataclass(frozen=True)
class Panel:
    """One drawing. `spec` holds `data` and `layout` as Plotly takes them; `label` describes it for readers who cannot see it."""

    title: str
    label: str
    spec: Mapping[str, Any]

    @property
    def svg(self) -> Markup:
        """The drawing as SVG."""
        return drawing(self.spec)

    @property
    def json(self) -> Markup:
        """The drawing as JSON that is safe inside a script element; NaN and infinity become null."""
        text = json.dumps(_plain(self.spec), separators=(",", ":"), sort_keys=True, allow_nan=False)
        return Markup(text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e"))


@dataclass(frozen=True)
class Table:
    """Rows under named columns.

    Each column's kind defines how its cells are printed: text, count, number, percent, interval, or estimate, a value with its
    interval.
    """

    title: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Figure:
    """Panels under one title. `caption` explains to a student how to read them; on paper, `across` of them are side by side."""

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    tables: tuple[Table, ...]
    across: int = 1


def grade_name(scale: Scale, grade: int) -> str:
    """Return number and name of a grade, for tables and titles."""
    return f"{grade} {scale.name(grade)}"


def grade_label(scale: Scale, grade: int) -> str:
    """Return number and name of a grade for Plotly, which reads labels as HTML."""
    return str(escape(grade_name(scale, grade)))


def layout_of(**own: Any) -> dict[str, Any]:
    """Return a drawing's layout: the settings that all share, and its own."""
    return {"margin": {"l": 10, "r": 12, "t": 8, "b": 10}, "showlegend": False, **own}


def axis_of(title: str, **own: Any) -> dict[str, Any]:
    """Return an axis: the settings that all share, and its own."""
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
    """Return plain JSON values, with floats rounded so that the last digits of a computation do not matter."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value
