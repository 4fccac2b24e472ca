"""Scripts that give a page the maps of its photograph, and the values that score it again with places left out."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from atlas.cohort.lesions import KINDS
from atlas.records import BoolArray, FloatArray, SaliencyMaps, Scale
from atlas.site.data import script
from atlas.site.found import FoundView

_STEPS_PER_GRADE = 25

_SMOOTHING = 0.12  # standard deviation of a score's bump in the density, grades


def cells_script(
    image_id: str,
    *,
    maps: Mapping[str, tuple[FloatArray, BoolArray]],
    limits: Mapping[str, float],
    window: int,
    scale: Scale,
    retina: bytes,
    live: bytes | None,
    lesions: FoundView | None = None,
) -> bytes:
    """Write `window.ATLAS_CELLS[image_id]`, a script that a page can load.

    Parameters
    ----------
    maps : Mapping[str, tuple[FloatArray, BoolArray]]
        By method: values, float32 (h, w), and inside, bool (h, w), see `records.SaliencyMaps`.
    limits : Mapping[str, float]
        By method, the drop that is drawn in the strongest colour.
    retina : bytes
        A file of `jpeg.retina_png`.
    live : bytes or None
        A file of `encode_cells`, or None if the sums are not known.
    lesions : FoundView or None
        The lesions that a net found, or None if it did not look.
    """
    found: dict[str, Any] = {
        "window": window,
        "scale": {"lowest": scale.lowest, "span": scale.span},
        "maps": {
            method: {"limit": float(f"{limits[method]:.6g}"), "values": _rows(values, inside)}
            for method, (values, inside) in maps.items()
        },
        "mask": f"data:image/png;base64,{base64.b64encode(retina).decode()}",
        "lesions": None if lesions is None else _lesions(lesions),
        "live": None if live is None else json.loads(live),
    }
    return script("ATLAS_CELLS", found, image_id)


def largest_drop(maps: SaliencyMaps) -> float:
    """Return the drop that all maps draw in the strongest colour: 99.5% of all cells are within it. Return 1 if no cell drops."""
    sizes = np.abs(maps.values[maps.inside])
    limit = float(np.quantile(sizes, 0.995)) if sizes.size else 0.0
    return limit if limit > 0 else 1.0


def density_paths(groups: Sequence[Sequence[float]], span: int) -> tuple[str, ...]:
    """Draw the distribution of scores over the scale as SVG paths in a box of 100 by 24, with its peak at the top.

    Parameters
    ----------
    groups : Sequence[Sequence[float]]
        Positions of the scores of each group along the scale, in percent.
    span : int
        Length of the scale, in grades.

    Returns
    -------
    tuple[str, ...]
        A path for each group. It covers this group and all before it, so a later path is drawn below an earlier one.
    """
    steps = span * _STEPS_PER_GRADE
    counts = np.array([np.histogram(positions, bins=steps, range=(0, 100))[0] for positions in groups])
    reach = 3 * round(_SMOOTHING * _STEPS_PER_GRADE)
    bump = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (_SMOOTHING * _STEPS_PER_GRADE)) ** 2)
    padded = np.pad(counts.cumsum(axis=0), ((0, 0), (reach, reach)), mode="reflect")
    heights = np.array([np.convolve(row, bump, mode="valid") for row in padded])
    tops = np.round(24 * (1 - heights / max(float(heights.max()), 1.0)), 2)
    places = ((np.arange(steps) + 0.5) * 100 / steps).tolist()
    lines = (" ".join(f"{x:.4g},{y:.3g}" for x, y in zip(places, row.tolist(), strict=True)) for row in tops)
    return tuple(f"M0,24 L{line} L100,24 Z" for line in lines)


def _lesions(found: FoundView) -> dict[str, Any]:
    """Return the lesions of one photograph as plain JSON values.

    `kinds` holds the kinds in the order of their table, with counts. `marks` holds for each lesion the index of its kind, its box
    in percent of the plate, its strength, and how far the score falls when it is hidden. The names of kinds are English: pages of
    all languages load this, and their scripts translate them.
    """
    entry = {kind: k for k, (kind, _) in enumerate(found.counts)}
    return {
        "kinds": [
            {
                "key": kind.key,
                "name": KINDS[kind.key].name,
                "plural": KINDS[kind.key].plural,
                "letter": kind.letter,
                "colour": kind.colour,
                "count": count,
            }
            for kind, count in found.counts
        ],
        "marks": [
            [entry[mark.kind], [round(edge, 2) for edge in mark.box], round(mark.strength, 2), round(mark.fall, 2)]
            for mark in found.marks
        ],
    }


def _rows(values: FloatArray, inside: BoolArray) -> list[list[float | None]]:
    """Return the drop of each cell, None outside the retina."""
    return [
        [round(value, 3) if seen else None for value, seen in zip(row, mask, strict=True)]
        for row, mask in zip(values.tolist(), inside.tolist(), strict=True)
    ]
