"""What a figure is made of: drawings for Plotly, tables of the same numbers, and the looks that all of them share.

Colours that follow the page's theme stand as the names of its CSS variables, such as `--ink`; `js/figures.js` puts them in.
Severity keeps the atlas's ramp.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from atlas.records import Scale

CHANCE = {"color": "--muted", "width": 1, "dash": "dot"}  # the line that guessing would follow

ROW = 46  # height of a row of grades, in pixels

FRAME = 64  # what axis and margins add


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


def grade_name(scale: Scale, grade: int) -> str:
    """Number and name of a grade, for tables and titles."""
    return f"{grade} {scale.name(grade)}"


def grade_label(scale: Scale, grade: int) -> str:
    """Name a grade for Plotly, which takes labels for HTML."""
    return str(escape(grade_name(scale, grade)))


def layout_of(**own: Any) -> dict[str, Any]:
    """A drawing's layout: what all share, and its own."""
    return {"margin": {"l": 10, "r": 12, "t": 8, "b": 10}, "showlegend": False, **own}


def axis_of(title: str, **own: Any) -> dict[str, Any]:
    """An axis: what all share, and its own."""
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
