"""Cell sums for the page, which scores a photograph again with places left out.

The head's first layer is linear: z of the complete photograph minus the sums of the cells that are left out is z without them.
Sums are stored as 24-bit whole numbers, with one step size for each hidden unit (16 bits give errors of up to 0.006 grades if a
few cells are much larger than the others). Cells off the retina are never left out, so their sums are not stored.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas.records import BoolArray, LiveSums

_LARGEST = 2**23 - 1  # largest 24-bit whole number


def encode_cells(live: LiveSums, inside: BoolArray) -> bytes:
    """Encode one photograph's cell sums, and the layers of the head that use them, as JSON.

    The JSON holds `shape` (h, w), `cells` (row-major numbers of the cells on the retina), `whole` (z of the complete photograph,
    one for each hidden unit), `weight` and `bias` of the second layer, and `parts`. Each part is for some consecutive hidden
    units, with the `shape` of its grid, `step`, and `sums`: base64 of little-endian 24-bit whole numbers (cells, units), in
    steps. A part on the grid itself holds the cells on the retina; a part on another grid holds all of its cells. Units with
    equal sums are stored once, and `units` gives the column of `sums` for each unit.

    Parameters
    ----------
    inside : BoolArray
        bool (h, w), the cells on the retina.
    """
    cells = np.flatnonzero(inside)
    found = {
        "shape": list(live.grid),
        "cells": cells.tolist(),
        "whole": _short(live.whole),
        "weight": _short(live.weight),
        "bias": float(f"{live.bias:.9g}"),
        "parts": [_part(grid, values[cells] if grid == live.grid else values) for grid, values in live.parts],
    }
    return json.dumps(found, separators=(",", ":"), allow_nan=False).encode()


def _part(grid: tuple[int, int], values: NDArray[np.floating]) -> dict[str, Any]:
    units = _alike(values)
    alike = len(set(units)) < len(units)
    values = np.take(values, [units.index(place) for place in sorted(set(units))], axis=1) if alike else values
    step = np.abs(values).max(axis=0, initial=0.0).astype(np.float64) / _LARGEST
    step[step == 0] = 1.0
    steps = np.rint(values / step).astype("<i4")
    return {
        "shape": list(grid),
        **({"units": units} if alike else {}),
        "step": _short(step),
        "sums": base64.b64encode(steps.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()).decode(),
    }


def _alike(values: NDArray[np.floating]) -> list[int]:
    """Number different columns in ascending order, and return each column's number. `np.unique` takes ten times as long."""
    columns = np.ascontiguousarray(values.T) + 0.0  # no negative zeros, which equal others
    keys = [column.tobytes() for column in columns]
    first = dict(zip(reversed(keys), reversed(range(len(keys))), strict=True))
    order = sorted(first, key=lambda key: columns[first[key]].tolist()) if len(first) < len(keys) else list(first)
    place = {key: number for number, key in enumerate(order)}
    return [place[key] for key in keys]


def _short(values: Any) -> list[float]:
    return [float(f"{value:.9g}") for value in np.asarray(values, np.float64).tolist()]
