"""What a page needs to draw a photograph's maps, and to score it anew with places left out.

The head's first layer is linear: z of the whole photograph, less the sums of the cells that are left out, is z without them (see
`atlas.occlusion`). Sums travel as 24-bit whole numbers, one step for each hidden unit (16 bits err by up to 0.006 grades where a
few cells are far larger than the rest); cells off the retina are never left out, so theirs need not travel.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from atlas.records import BoolArray, CellSums, FloatArray, Head, SaliencyMaps, Scale

_LARGEST = 2**23 - 1  # of a 24-bit whole number

METHOD_WORDS: Mapping[str, tuple[str, str]] = {
    "occlusion": ("Occlusion", "Change of the score, in grades, when the place is left out."),
    "gradcam": ("Grad-CAM", "Part of the score, in grades, that the network's own gradient credits to the place."),
}
"""Titles of the saliency methods, and what a value of their maps means."""

_STEPS_PER_GRADE = 25
_SMOOTHING = 0.12  # standard deviation of a score's bump in the density, grades


def encode_cells(sums: CellSums, head: Head, inside: BoolArray) -> bytes:
    """Encode one image's cell sums and what the head does with them, as JSON.

    sums : of one image.   inside : bool (h, w), the cells on the retina.

    The JSON holds `shape` (h, w), `cells` (row-major numbers of the cells on the retina), `whole` (z of the whole photograph, one
    for each hidden unit), `weight` and `bias` of the second layer, `step`, and `sums`: base64 of little-endian 24-bit
    whole numbers (len(cells), H), in steps.
    """
    values = sums.values[0].astype(np.float64)
    cells = np.flatnonzero(inside)
    step = np.abs(values[cells]).max(axis=0, initial=0.0) / _LARGEST
    step[step == 0] = 1.0
    steps = np.rint(values[cells] / step).astype("<i4")
    found = {
        "shape": list(sums.shape),
        "cells": cells.tolist(),
        "whole": _short(sums.bias + values.sum(axis=0)),
        "weight": _short(head.output_weight),
        "bias": float(f"{head.output_bias:.9g}"),
        "step": _short(step),
        "sums": base64.b64encode(steps.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()).decode(),
    }
    return json.dumps(found, separators=(",", ":"), allow_nan=False).encode()


def cells_script(
    image_id: str,
    *,
    maps: Mapping[str, tuple[FloatArray, BoolArray]],
    limits: Mapping[str, float],
    window: int,
    scale: Scale,
    retina: bytes,
    live: bytes | None,
) -> bytes:
    """Write `window.ATLAS_CELLS[image_id]`, a script that a page can load.

    maps : by method, values and inside (h, w), see `records.SaliencyMaps`.   limits : by method, the drop drawn strongest.
    retina : of `images.retina_png`.   live : of `encode_cells`, or None where the sums are not known.
    """
    found: dict[str, Any] = {
        "window": window,
        "scale": {"lowest": scale.lowest, "span": scale.span},
        "maps": {
            method: {"limit": float(f"{limits[method]:.6g}"), "values": _rows(values, inside)}
            for method, (values, inside) in maps.items()
        },
        "mask": f"data:image/png;base64,{base64.b64encode(retina).decode()}",
        "live": None if live is None else json.loads(live),
    }
    text = json.dumps(found, separators=(",", ":"), allow_nan=False)
    return f'(window.ATLAS_CELLS??={{}})["{image_id}"]={text};\n'.encode()


def largest_drop(maps: SaliencyMaps) -> float:
    """Return the drop drawn strongest on all maps: 99.5 % of all cells lie within it; 1 where no cell drops at all."""
    sizes = np.abs(maps.values[maps.inside])
    limit = float(np.quantile(sizes, 0.995)) if sizes.size else 0.0
    return limit if limit > 0 else 1.0


def density_path(positions: Sequence[float], span: int) -> str:
    """Draw how scores spread over the scale, as an SVG path in a box of 100 by 24, its peak at the top.

    positions : of the scores along the scale, in percent.   span : of the scale, in grades.
    """
    steps = span * _STEPS_PER_GRADE
    counts, _ = np.histogram(positions, bins=steps, range=(0, 100))
    reach = 3 * round(_SMOOTHING * _STEPS_PER_GRADE)
    bump = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (_SMOOTHING * _STEPS_PER_GRADE)) ** 2)
    height = np.convolve(np.pad(counts, reach, mode="reflect"), bump, mode="valid")
    tops = 24 * (1 - height / max(float(height.max()), 1.0))
    places = ((np.arange(steps) + 0.5) * 100 / steps).tolist()
    line = " ".join(f"{x:.4g},{y:.3g}" for x, y in zip(places, np.round(tops, 2).tolist(), strict=True))
    return f"M0,24 L{line} L100,24 Z"


def _rows(values: FloatArray, inside: BoolArray) -> list[list[float | None]]:
    """Drops cell by cell, None off the retina."""
    return [
        [round(value, 3) if seen else None for value, seen in zip(row, mask, strict=True)]
        for row, mask in zip(values.tolist(), inside.tolist(), strict=True)
    ]


def _short(values: Any) -> list[float]:
    return [float(f"{value:.9g}") for value in np.asarray(values, np.float64).tolist()]
