"""The work on one photograph, kept in the store as soon as it is done.

`view` decodes and prepares it, draws its pictures and runs the trunk; `look` scores it and finds what drives the score;
`describe` cuts out its salient patches in detail; `outline` draws its outlined lesions; `measure` tells how its maps fare against
them. Each depends on nothing but its arguments, so images may be worked on in any order, by any number of workers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import atlas.cohort.masks
import atlas.explain.gradcam
import atlas.explain.methods
import atlas.explain.occlusion
import atlas.explain.windows
import atlas.patterns.alarms
import atlas.patterns.similar
import atlas.photographs.decode
import atlas.photographs.frames
import atlas.photographs.preparations
import atlas.photographs.retina
import atlas.pictures.jpeg
import atlas.pictures.live
import atlas.pictures.outlines
import atlas.records
import atlas.scorers.bundle
import atlas.scorers.card
import atlas.scorers.protocol
import atlas.scorers.readouts
import atlas.scorers.scrambled
import atlas.scorers.transferred
import atlas.site.cells
import atlas.trust.badges
import atlas.trust.curves
import atlas.trust.outlined
import atlas.trust.summary
from atlas.errors import UnreadableImageError
from atlas.explain.methods import METHODS, saliency_maps
from atlas.explain.windows import inside_cells, windows_inside
from atlas.patterns.alarms import Camera, camera_of, dark_share
from atlas.patterns.similar import pooled
from atlas.photographs.decode import read_photograph
from atlas.photographs.frames import cell_coverage, crop
from atlas.photographs.preparations import SURROUND, prepare, prepared_at_source
from atlas.pictures.jpeg import encode_jpeg, retina_png, thumbnail
from atlas.pictures.live import encode_cells
from atlas.pictures.outlines import kind_in_words, outlines_png
from atlas.pipeline.sources import Heads, ScoringSource
from atlas.pipeline.store import Store, load_arrays, save_arrays, source_digest
from atlas.records import LESION_GRID, BoolArray, ByteArray, FeatureMaps, FloatArray, Frame, GradedImage, IntArray, Lesions, Scale
from atlas.scorers.readouts import Head, cell_sums, classify, severity
from atlas.scorers.scrambled import scrambled_head
from atlas.scorers.trunks import Trunk
from atlas.trust.curves import curves, over_cells
from atlas.trust.outlined import Row

PHOTOGRAPH_SIDE = 1024
"""Longest side of a photograph on a page that shows it whole, in pixels. Its plate may be finer, for readers who look closer."""

DETAIL_SIDE = 1024
"""Longest side of the photograph that patches are cut from and described in, in pixels, whatever the plates are."""

THUMBNAIL_SIDE = 160

PLATE_QUALITY = 90
"""JPEG quality of plates: readers see their single pixels, where that of the other pictures would show its blocks."""

PATCH_SIDE = 128

PATCH_MARGIN = 0.25
"""How much of the surroundings a patch is described with, on each side, in widths of the patch: a lesion that its edge cuts is
seen whole, at a scale nearer to that of the photographs the trunk learned from (measured by benchmarks/clusters.py)."""


@dataclass(frozen=True)
class View:
    """A photograph as the site shows it.

    folder : where its pictures lie in the store.   coverage : float32 (h, w), share of each cell that is retina.
    camera : what its format says of its camera.   fault : why it cannot be read, or None.
    photograph : its picture for pages that show it whole.   plate : the same, finer, or None where there is no finer one.
    """

    image_id: str
    folder: Path
    frame: Frame = field(default_factory=lambda: Frame(0, 0, 0))
    coverage: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    camera: Camera | None = None
    fault: str | None = None
    photograph: Path = field(default_factory=Path)
    plate: Path | None = None


def view(image: GradedImage, *, source: ScoringSource, store: Store, plate_side: int | None = None) -> View:
    """Decode once; keep the pictures for the site, and the trunk's maps with each cell's share of retina.

    plate_side : pixels a side that its plate may have, and no more than the source has; None draws none.
    """
    decoded = cache(partial(read_photograph, image.path))
    prepared = cache(lambda: prepare(image.image_id, decoded(), size=source.trunk.size, preparation=source.preparation))

    def draw(folder: Path) -> None:
        frame = prepared().frame
        photograph = crop(decoded(), frame, side=min(PHOTOGRAPH_SIDE, frame.side))
        (folder / "photograph.jpg").write_bytes(encode_jpeg(photograph))
        (folder / "thumbnail.jpg").write_bytes(encode_jpeg(thumbnail(photograph, THUMBNAIL_SIDE)))
        (folder / "retina.png").write_bytes(retina_png(prepared().retina))
        camera = camera_of(decoded(), frame, prepared().retina)
        facts = {
            "frame": np.array([frame.top, frame.left, frame.side]),
            "camera": np.array([camera.height, camera.width, *camera.cut, camera.surround]),
        }
        save_arrays(folder / "frame.safetensors", facts)

    def run_trunk() -> dict[str, FloatArray]:
        return {
            "features": source.trunk.maps(prepared().pixels[None])[0],
            "coverage": cell_coverage(prepared().retina, source.trunk.shape),
        }

    drawn_by = source_digest(
        atlas.photographs.decode,
        atlas.photographs.frames,
        atlas.photographs.preparations,
        atlas.photographs.retina,
        atlas.pictures.jpeg,
        atlas.patterns.alarms,
    )
    try:
        folder = store.keep("pictures", [image.image_id, PHOTOGRAPH_SIDE, THUMBNAIL_SIDE, source.trunk.size, drawn_by], draw)
        maps = store.keep_arrays("maps", source.input_parts(image.image_id), run_trunk)
        facts = load_arrays(folder / "frame.safetensors")
        frame = Frame(*(int(value) for value in facts["frame"]))
        plate = None if plate_side is None else _plate(image, frame, plate_side, decoded, store)
    except UnreadableImageError as error:
        return View(image.image_id, image.path, fault=error.message)
    photograph = folder / "photograph.jpg"
    if plate is not None and plate_side is not None and plate_side < PHOTOGRAPH_SIDE:
        photograph, plate = plate, None
    height, width, *cut, surround = facts["camera"].tolist()
    camera = Camera(height, width, (bool(cut[0]), bool(cut[1]), bool(cut[2]), bool(cut[3])), surround)
    return View(image.image_id, folder, frame, maps["coverage"], camera, photograph=photograph, plate=plate)


def _plate(image: GradedImage, frame: Frame, most: int, decoded: Callable[[], ByteArray], store: Store) -> Path | None:
    """Draw the photograph with the source's own pixels, or `most` a side; None where a page's picture is that already."""
    side = min(most, frame.side)
    if side == min(PHOTOGRAPH_SIDE, frame.side):
        return None

    def draw(folder: Path) -> None:
        (folder / "plate.jpg").write_bytes(encode_jpeg(crop(decoded(), frame, side=side), PLATE_QUALITY))

    place = [frame.top, frame.left, frame.side]
    drawn_by = source_digest(
        atlas.photographs.decode,
        atlas.photographs.frames,
        atlas.photographs.preparations,
        atlas.photographs.retina,
        atlas.pictures.jpeg,
    )
    return store.keep("plates", [image.image_id, place, side, PLATE_QUALITY, drawn_by], draw) / "plate.jpg"


@dataclass(frozen=True)
class Look:
    """One image's severity, its saliency maps, and the drop of each candidate window, all in grade units.

    maps : by method, float32 (h, w).   inside : bool (h, w), see `SaliencyMaps`.
    pooled : float32 (C,), see `similar.pooled`.   cells : a file of `site.cells.encode_cells`.
    probabilities : float32 (K,) of the grades by the classifier, empty where there is none.
    curves : float32 (3, k), the score as places are left out, put in, and left out at random, see `curves.Curves`.
    """

    image_id: str
    severity: float
    maps: Mapping[str, FloatArray]
    inside: BoolArray
    drops: FloatArray
    curves: FloatArray
    probabilities: FloatArray
    pooled: FloatArray
    cells: Path


def look(
    image: GradedImage,
    *,
    source: ScoringSource,
    heads: Heads,
    coverage: Mapping[str, FloatArray],
    store: Store,
    scale: Scale,
    method: str,
    map_window: int,
    window: int,
) -> Look:
    """Score one image by its own head, map what drives the score by every method, and test every window by occlusion.

    `method` is the one whose map is judged by its curves.
    """
    head, classifier, sha256 = heads.of(image.image_id)
    features = cache(partial(source.features, image.image_id, store))
    sums = cache(lambda: cell_sums(features(), head))
    inside = inside_cells(coverage[image.image_id][None])

    def make() -> dict[str, NDArray[np.generic]]:
        draw = partial(saliency_maps, features=features(), sums=sums(), head=head, scale=scale, inside=inside, window=map_window)
        maps = {name: draw(name) for name in METHODS}
        by_cell = over_cells(maps[method].values[0], maps[method].inside[0], map_window)
        return {
            "severity": severity(sums(), head, scale).severity,
            "inside": maps[method].inside[0],
            "drops": atlas.explain.occlusion.drops(sums(), head, scale, window=window)[0],
            "curves": np.stack(curves(by_cell, inside[0], sums(), head, scale)),
            "probabilities": np.zeros(0, np.float32) if classifier is None else classify(features(), classifier)[0],
            "pooled": pooled(features().values[0], coverage[image.image_id]),
            **{f"map.{name}": one.values[0] for name, one in maps.items()},
        }

    def write_cells(folder: Path) -> None:
        (folder / "cells.json").write_bytes(encode_cells(sums(), head, inside[0]))

    makers = (
        atlas.scorers.bundle,
        atlas.scorers.card,
        atlas.scorers.protocol,
        atlas.scorers.readouts,
        atlas.scorers.transferred,
        atlas.explain.methods,
        atlas.explain.windows,
        atlas.explain.occlusion,
        atlas.explain.gradcam,
        atlas.cohort.masks,
        atlas.scorers.card,
        atlas.scorers.scrambled,
        atlas.trust.badges,
        atlas.trust.curves,
        atlas.trust.outlined,
        atlas.trust.summary,
        atlas.patterns.similar,
        atlas.records,
        atlas.scorers.readouts,
    )
    made_by = source_digest(*makers)
    parts = [*source.input_parts(image.image_id), sha256, method, map_window, window, scale.lowest, scale.span, made_by]
    made = store.keep_arrays("looks", parts, make)
    encoded_by = source_digest(
        atlas.scorers.bundle,
        atlas.scorers.card,
        atlas.scorers.protocol,
        atlas.scorers.readouts,
        atlas.scorers.transferred,
        atlas.explain.methods,
        atlas.explain.windows,
        atlas.records,
        atlas.scorers.readouts,
        atlas.explain.methods,
        atlas.pictures.live,
        atlas.site.cells,
    )
    cells = store.keep("cells", [*source.input_parts(image.image_id), sha256, encoded_by], write_cells)
    return Look(
        image.image_id,
        float(made["severity"][0]),
        maps={name: made[f"map.{name}"] for name in METHODS},
        cells=cells / "cells.json",
        **{name: made[name] for name in ("inside", "drops", "curves", "probabilities", "pooled")},
    )


@dataclass(frozen=True)
class Detail:
    """An image's patches in detail, in the order asked for.

    descriptors : float32 (m, d).   dark : float32 (m,), see `alarms.dark_share`.   folder : of their pictures, `<patch_id>.jpg`.
    """

    descriptors: FloatArray
    dark: FloatArray
    folder: Path


def describe(
    image: GradedImage,
    *,
    patch_ids: Mapping[str, Sequence[str]],
    boxes: Mapping[str, IntArray],
    source: ScoringSource,
    store: Store,
) -> Detail:
    """Cut an image's patches out in detail, draw them, and describe each by the trunk's mean maps of it and its surroundings.

    patch_ids, boxes : by image_id, in the same order; boxes int64 (m, 4) in source pixels.
    """
    own_ids, own_boxes = patch_ids[image.image_id], boxes[image.image_id]

    def cut(folder: Path) -> None:
        decoded = read_photograph(image.path)
        pixels, plate, frame = prepared_at_source(decoded, preparation=source.preparation, longest=DETAIL_SIDE)
        ratio = len(pixels) / frame.side  # the plate may be smaller than the source
        reach = len(pixels)  # as far as any margin goes
        pixels = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), constant_values=SURROUND)
        descriptors, dark = [], []
        for patch_id, box in zip(own_ids, own_boxes, strict=True):
            top, left, bottom, right = ((box - [frame.top, frame.left, frame.top, frame.left]) * ratio).tolist()
            # Rounded edges can leave a box a pixel off the square that a trunk takes.
            place = Frame(round(top), round(left), round(max(bottom - top, right - left)))
            margin = round(PATCH_MARGIN * place.side)
            wide = Frame(reach + place.top - margin, reach + place.left - margin, place.side + 2 * margin)
            descriptors.append(source.trunk.describe(crop(pixels, wide, side=source.trunk.size)[None])[0])
            picture = crop(plate, place, side=PATCH_SIDE)
            dark.append(dark_share(picture))
            (folder / f"{patch_id}.jpg").write_bytes(encode_jpeg(picture))
        described = {"descriptors": np.stack(descriptors), "dark": np.array(dark, np.float32)}
        save_arrays(folder / "descriptors.safetensors", described)

    made_by = source_digest(atlas.pictures.jpeg, atlas.records, atlas.scorers.readouts, atlas.patterns.alarms)
    sizes = [DETAIL_SIDE, PATCH_SIDE, PATCH_MARGIN]
    parts = [*source.input_parts(image.image_id), list(own_ids), own_boxes.tolist(), *sizes, made_by]
    folder = store.keep("patches", parts, cut)
    made = load_arrays(folder / "descriptors.safetensors")
    return Detail(made["descriptors"], made["dark"], folder)


def outline(image: GradedImage, *, views: Mapping[str, View], masks: Path, store: Store) -> tuple[Lesions, Path] | None:
    """Draw round the lesions that are outlined in the folder `masks`; return them, and the folder of `outlines.png`.

    Returns None where there is no mask of this photograph, or none shows a lesion on the plate. Raises DatasetError where a mask
    cannot be read or is not of the photograph's size.
    """
    stem, frame = image.path.stem, views[image.image_id].frame
    files = atlas.cohort.masks.find_masks(masks, stem)
    if not files:
        return None
    kinds = {file: "" if file.stem == stem else kind_in_words(file.stem, stem) for file in files}

    def draw(folder: Path) -> None:
        shape = read_photograph(image.path).shape[:2]
        plate: BoolArray = np.zeros((min(PHOTOGRAPH_SIDE, frame.side),) * 2, np.bool_)
        touched = {kind: np.zeros((LESION_GRID, LESION_GRID), np.bool_) for kind in kinds.values()}
        for file, kind in kinds.items():
            lesions = atlas.cohort.masks.read_lesions([file], shape)
            touched[kind] |= atlas.trust.outlined.lesion_coverage(lesions, frame, (LESION_GRID, LESION_GRID)) > 0
            plate |= crop(lesions.astype(np.uint8) * np.uint8(255), frame, side=len(plate)) > 0
        (folder / "outlines.png").write_bytes(outlines_png(plate))
        cells = {f"kind {kind}": np.flatnonzero(mask).astype(np.int64) for kind, mask in touched.items()}
        save_arrays(folder / "cells.safetensors", cells)

    contents = [[kinds[file], hashlib.sha256(file.read_bytes()).hexdigest()] for file in files]
    drawn_by = source_digest(
        atlas.photographs.decode,
        atlas.photographs.frames,
        atlas.photographs.preparations,
        atlas.photographs.retina,
        atlas.pictures.outlines,
        atlas.cohort.masks,
        atlas.scorers.card,
        atlas.scorers.scrambled,
        atlas.trust.badges,
        atlas.trust.curves,
        atlas.trust.outlined,
        atlas.trust.summary,
    )
    place = [frame.top, frame.left, frame.side]
    folder = store.keep("outlines", [image.image_id, place, PHOTOGRAPH_SIDE, LESION_GRID, contents, drawn_by], draw)
    found = {
        name.removeprefix("kind "): cells
        for name, cells in sorted(load_arrays(folder / "cells.safetensors").items())
        if cells.size
    }
    return (found, folder) if found else None


def measure(
    image: GradedImage,
    *,
    views: Mapping[str, View],
    source: ScoringSource,
    heads: Heads,
    store: Store,
    scale: Scale,
    masks: Path,
    window: int,
    scrambled: Sequence[Trunk],
    seed: int,
) -> dict[str, Row] | None:
    """Measure one image's map of each method against the lesions outlined in its masks, see `outlined.measure`.

    Added is the likeness to maps of scrambled scorers, the mean over `scrambled`, each with a head scrambled as well. Returns
    None where no lesion touches a cell on the retina.
    """
    seen, photograph = views[image.image_id], read_photograph(image.path)
    lesions = atlas.cohort.masks.read_lesions(atlas.cohort.masks.find_masks(masks, image.path.stem), photograph.shape[:2])
    covered = atlas.trust.outlined.lesion_coverage(lesions, seen.frame, source.trunk.shape)
    inside = inside_cells(seen.coverage[None])
    if not covered[inside[0]].any():
        return None

    def maps(features: FeatureMaps, head: Head) -> dict[str, FloatArray]:
        sums = cell_sums(features, head)
        of = partial(saliency_maps, features=features, sums=sums, head=head, scale=scale, inside=inside, window=window)
        return {method: of(method).values[0] for method in METHODS}

    head, features = heads.of(image.image_id)[0], source.features(image.image_id, store)
    own = maps(features, head)
    rows = atlas.trust.outlined.measure(
        own,
        inside=inside[0],
        lesions=covered,
        coverage=seen.coverage,
        sums=cell_sums(features, head),
        head=head,
        scale=scale,
        window=window,
        seed=seed,
    )
    pixels = prepare(image.image_id, photograph, size=source.trunk.size, preparation=source.preparation).pixels[None]
    whole = windows_inside(inside, window)[0]
    found: dict[str, list[list[tuple[float, float]]]] = {method: [] for method in METHODS}
    for turn, trunk in enumerate(scrambled):
        other_head = scrambled_head(head, seed + turn)
        others = (
            maps(features, other_head),
            maps(FeatureMaps(features.image_ids, trunk.maps(pixels), features.stride), other_head),
        )
        for method in METHODS:
            found[method].append([atlas.trust.outlined.likeness(own[method], other[method], whole) for other in others])
    for method, likeness in found.items():
        values = np.ma.masked_invalid(np.array(likeness)).mean(axis=0).filled(np.nan)
        names = (f"{what}_scrambled{how}" for what in ("head", "all") for how in ("", "_absolute"))
        rows[method] = {**rows[method], **dict(zip(names, values.ravel().tolist(), strict=True))}
    return rows
