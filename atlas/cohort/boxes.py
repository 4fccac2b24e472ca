"""Tables of boxes round lesions: image, lesion, x, y, width, height, in pixels of the file."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from atlas.cohort.cells import shortened
from atlas.cohort.grades import plain_key
from atlas.cohort.lesions import KINDS, LANDMARKS, kind_of
from atlas.cohort.names import split_name, stem_of
from atlas.cohort.tables import read_cells
from atlas.errors import DatasetError
from atlas.records import BoolArray, Dataset, LesionBox, Mark

_COLUMNS = ("image", "lesion", "x", "y", "width", "height")


@dataclass(frozen=True)
class Boxes:
    """Boxes by image_id, and lines on the rows that were left out, for the terminal only.

    Parameters
    ----------
    boxed : Mapping[str, tuple[LesionBox, ...]]
        Of lesions.
    landmarks : Mapping[str, tuple[LesionBox, ...]]
        Of what is healthy, such as the optic disc.
    """

    boxed: Mapping[str, tuple[LesionBox, ...]]
    landmarks: Mapping[str, tuple[LesionBox, ...]]
    faults: tuple[str, ...] = ()


def read_boxes(table: Path, dataset: Dataset) -> Boxes:
    """Read a table of boxes (.csv, .tsv, .xlsx) round the lesions of a dataset's photographs.

    `x` and `y` are of the upper left corner, x to the right and y downwards; `image` names the photograph as tables of grades do.
    A row that cannot be used is left out and told; rows of photographs outside the dataset are passed over.

    Raises
    ------
    DatasetError
        The table cannot be read, lacks a column, or speaks of no photograph of the dataset.
    """
    header, rows = read_cells(table, "boxes", _COLUMNS)
    columns = [plain_key(column) for column in header]
    missing = [column for column in _COLUMNS if column not in columns]
    if missing:
        found = ", ".join(f"`{shortened(column)}`" for column in header[:30] if column)
        raise DatasetError(
            f"{table} has no column `{missing[0]}`; found: {found}", f"give a table with the columns {', '.join(_COLUMNS)}"
        )
    by_stem: defaultdict[str, list[str]] = defaultdict(list)
    for image in dataset.images:
        by_stem[stem_of(image.path)].append(image.image_id)
    boxed: defaultdict[str, list[LesionBox]] = defaultdict(list)
    landmarks: defaultdict[str, list[LesionBox]] = defaultdict(list)
    faults = []
    met = False
    for number, cells in rows:
        cell = dict(zip(columns, cells, strict=False))
        ids = by_stem.get(split_name(cell.get("image", ""))[1], [])
        if not ids:
            continue
        met = True
        where = f"{table}, row {number}"
        if len(ids) > 1:
            faults.append(f"{where}: `{shortened(cell['image'])}` may be any of {len(ids)} photographs of this name; left out")
            continue
        kind = kind_of(cell.get("lesion", ""))
        if kind is None:
            known = ", ".join((*KINDS, *LANDMARKS))
            faults.append(f"{where}: `{shortened(cell.get('lesion', ''))}` is no known kind of lesion; left out (known: {known})")
            continue
        edges = [_number(cell.get(column, "")) for column in _COLUMNS[2:]]
        if any(edge is None for edge in edges) or min(edges[2] or 0.0, edges[3] or 0.0) <= 0:
            told = ", ".join(f"{column} `{shortened(cell.get(column, ''))}`" for column in _COLUMNS[2:])
            faults.append(f"{where}: expected numbers, width and height above 0, found {told}; left out")
            continue
        x, y, width, height = (edge or 0.0 for edge in edges)
        (landmarks if kind in LANDMARKS else boxed)[ids[0]].append(LesionBox(kind, y, x, y + height, x + width))
    if not met:
        raise DatasetError(
            f"{table}: none of its rows names any of the {len(dataset.images)} photographs",
            "name each photograph in the column `image`, with or without its ending",
        )
    return Boxes(
        {image_id: tuple(own) for image_id, own in boxed.items()},
        {image_id: tuple(own) for image_id, own in landmarks.items()},
        tuple(faults),
    )


def _number(text: str) -> float | None:
    try:
        value = float(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def as_marks(boxes: Sequence[LesionBox], shape: tuple[int, int]) -> tuple[Mark, ...]:
    """Return boxes in whole pixels of a photograph of `shape` (H, W): each covers what it touches, and what lies off is cut."""
    height, width = shape
    marks = []
    for box in boxes:
        top, left = max(0, math.floor(box.top)), max(0, math.floor(box.left))
        bottom, right = min(height, math.ceil(box.bottom)), min(width, math.ceil(box.right))
        if top < bottom and left < right:
            marks.append(Mark(box.kind, (top, left, bottom, right), source="box"))
    return tuple(marks)


def inside_boxes(boxes: Sequence[LesionBox], shape: tuple[int, int]) -> BoolArray:
    """Return which pixels of a photograph of `shape` (H, W) lie in boxes, bool (H, W)."""
    inside = np.zeros(shape, np.bool_)
    for mark in as_marks(boxes, shape):
        top, left, bottom, right = mark.box
        inside[top:bottom, left:right] = True
    return inside
