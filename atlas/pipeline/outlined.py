"""The work on one photograph whose lesions were outlined, each a task(item, shared), see `engine`.

`draw_outlines` draws its lesions; `measure_maps` tells how its maps fare against them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from atlas.cohort.boxes import inside_boxes
from atlas.cohort.lesions import KINDS, kind_of
from atlas.cohort.masks import kind_word, read_lesions
from atlas.explain.methods import methods_of, saliency_map
from atlas.explain.windows import inside_cells, windows_inside
from atlas.photographs.decode import stretched
from atlas.photographs.frames import around, cell_coverage, crop
from atlas.photographs.preparations import prepare
from atlas.pictures.outlines import kind_in_words, outlines_png
from atlas.pipeline.arrays import load_arrays, save_arrays
from atlas.pipeline.photograph import PHOTOGRAPH_SIDE, code_of, open_photograph
from atlas.pipeline.store import Store
from atlas.records import (
    LESION_GRID,
    UNSTRETCHED,
    UNTOLD,
    BoolArray,
    FloatArray,
    Frame,
    GradedImage,
    LesionBox,
    Lesions,
    Mark,
    Stretch,
    Target,
)
from atlas.scorers.prediction import Prediction
from atlas.scorers.protocol import Scorer
from atlas.trust.outlined import Row, lesion_coverage, likeness, measure, middles_in, points_in

_OUTLINES = ("atlas.cohort.masks", "atlas.photographs.frames", "atlas.pictures.outlines", "atlas.trust.outlined")


_KINDS = (*KINDS, UNTOLD)  # of outlines, in the order in which the store numbers them


@dataclass(frozen=True)
class Outlining:
    """A photograph with masks: its frame and shape in source pixels, the files, and its name, which no kind may repeat.

    A squashed photograph is put right by `stretch`, and so are its masks.
    """

    image_id: str
    name: str
    frame: Frame
    shape: tuple[int, int]
    files: tuple[Path, ...]
    stretch: Stretch = UNSTRETCHED


def draw_outlines(item: Outlining, store: Store) -> tuple[Lesions, Path, tuple[Mark, ...]] | None:
    """Draw round the outlined lesions; return them, the folder of `outlines.png`, and the box that bounds each.

    None where none shows on the plate.

    Raises
    ------
    DatasetError
        Where a mask cannot be read or is not of the photograph's size.
    """
    frame = item.frame
    kinds = {file: kind_in_words(kind_word(file, item.name), item.name) for file in item.files}

    def draw(folder: Path) -> None:
        plate: BoolArray = np.zeros((min(PHOTOGRAPH_SIDE, frame.side),) * 2, np.bool_)
        touched = {kind: np.zeros((LESION_GRID, LESION_GRID), np.bool_) for kind in kinds.values()}
        bounds: list[list[int]] = []
        for file, kind in kinds.items():
            lesions = lesions_in([file], item.shape, item.stretch)
            bounds += [[_KINDS.index(kind_of(kind) or UNTOLD), *box] for box in bounding(lesions)]
            touched[kind] |= lesion_coverage(lesions, frame, (LESION_GRID, LESION_GRID)) > 0
            plate |= crop(lesions.astype(np.uint8) * np.uint8(255), frame, side=len(plate)) > 0
        (folder / "outlines.png").write_bytes(outlines_png(plate))
        cells = {f"kind {kind}": np.flatnonzero(mask).astype(np.int64) for kind, mask in touched.items()}
        save_arrays(folder / "cells.safetensors", {**cells, "boxes": np.array(bounds, np.int64).reshape(-1, 5)})

    contents = [[kinds[file], hashlib.sha256(file.read_bytes()).hexdigest()] for file in item.files]
    place = [frame.top, frame.left, frame.side, *item.shape, item.stretch.rows, item.stretch.columns]
    code = code_of(
        "atlas.cohort.masks", "atlas.photographs.frames", "atlas.pictures.outlines", "atlas.trust.outlined", own=__file__
    )
    parts = [item.image_id, place, PHOTOGRAPH_SIDE, LESION_GRID, list(_KINDS), contents, code]
    folder = store.keep("outlines", parts, draw)
    kept = load_arrays(folder / "cells.safetensors")
    boxes = kept.pop("boxes").tolist()
    found = {name.removeprefix("kind "): cells for name, cells in sorted(kept.items()) if cells.size}
    marks = tuple(Mark(_KINDS[kind], (top, left, bottom, right), source="outline") for kind, top, left, bottom, right in boxes)
    return (found, folder, marks) if found else None


def lesions_in(files: Sequence[Path], shape: tuple[int, int], stretch: Stretch) -> BoolArray:
    """Read masks of a photograph whose rows and columns are `shape` once it is put right, bool (H, W)."""
    lesions = read_lesions(files, stretch.source_shape(shape))
    if stretch == UNSTRETCHED:
        return lesions
    return stretched(lesions.astype(np.uint8), stretch, smooth=False) > 0


def bounding(lesions: BoolArray) -> list[tuple[int, int, int, int]]:
    """Return the box that bounds each lesion of a mask, bool (H, W): top, left, bottom, right, half-open."""
    rows, columns = around(lesions)
    first_row, first_column = (
        rows.start // 2 * 2,
        columns.start // 2 * 2,
    )  # numbered by blocks of 2 x 2 pixels, as in the complete mask
    part = lesions[first_row : rows.stop, first_column : columns.stop].astype(np.uint8)
    if not part.size:
        return []
    _, _, places, _ = cv2.connectedComponentsWithStats(part)
    corners = [(first_row + top, first_column + left, height, width) for left, top, width, height, _ in places[1:].tolist()]
    return [(top, left, top + height, left + width) for top, left, height, width in corners]


@dataclass(frozen=True)
class Outlined:
    """A photograph whose maps are to be measured against the lesions in these masks and boxes."""

    image: GradedImage
    files: tuple[Path, ...]
    boxes: tuple[LesionBox, ...] = ()


@dataclass(frozen=True)
class Measuring:
    """What all of `measure_maps` share. scrambles : pairs of scorers, one with its head scrambled and one with all of it."""

    scorer: Scorer
    target: Target
    scrambles: Sequence[tuple[Scorer, Scorer]]
    window: int
    seed: int


def measure_maps(item: Outlined, shared: Measuring) -> dict[str, Row] | None:
    """Measure one photograph's map of each method against the lesions outlined in its masks, see `outlined.measure`.

    Added is the likeness to maps of scrambled scorers, the mean over `scrambles`. Returns None where no lesion touches a cell on
    the retina.
    """
    scorer, target, window = shared.scorer, shared.target, shared.window
    decoded, retina = open_photograph(item.image.path, scorer.scale.subject)
    prepared = prepare(item.image.image_id, decoded.pixels, size=scorer.size, preparation=scorer.preparation, found=retina)
    coverage = cell_coverage(prepared.retina, scorer.grid)
    source = decoded.at_source(prepared.frame)
    outlined = inside_boxes([box.put_right(decoded.stretch) for box in item.boxes], decoded.shape)
    if item.files:
        outlined |= lesions_in(item.files, decoded.shape, decoded.stretch)
    lesions = lesion_coverage(outlined, source, scorer.grid)
    inside = inside_cells(coverage)
    if not lesions[inside].any():
        return None
    (prediction,) = scorer.predict([prepared])

    def maps(found: Prediction) -> dict[str, FloatArray]:
        offered = methods_of(found, target)
        return {method: saliency_map(method, found, target, inside=inside, window=window)[0] for method in offered}

    own = maps(prediction)
    rows = measure(
        own,
        inside=inside,
        lesions=lesions,
        coverage=coverage,
        prediction=prediction,
        target=target,
        middles=middles_in(outlined, source, scorer.grid, window),
        points=points_in(outlined, source, prediction.points(target.name), scorer.grid) if window == 1 else None,
        window=window,
        seed=shared.seed,
    )
    within = windows_inside(inside[None], window)[0]
    others = [[maps(*one.predict([prepared])) for one in pair] for pair in shared.scrambles]
    for method in own if others else ():
        found = [[likeness(own[method], other[method], within) for other in pair] for pair in others]
        values = np.ma.masked_invalid(np.array(found)).mean(axis=0).filled(np.nan)
        names = (f"{what}_scrambled{how}" for what in ("head", "all") for how in ("", "_absolute"))
        rows[method] = {**rows[method], **dict(zip(names, values.ravel().tolist(), strict=True))}
    return rows
