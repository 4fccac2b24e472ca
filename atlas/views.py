"""The work on one photograph, kept in the store as soon as it is done.

`view` decodes and prepares it, draws its pictures and runs the trunk; `look` scores it and finds what drives the score;
`describe` cuts out its salient patches in detail; `measure` tells how its maps fare against outlined lesions. Each
depends on nothing but its arguments, so images may be worked on in any order, by any number of workers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

import atlas.alarms
import atlas.gradcam
import atlas.occlusion
import atlas.preprocess
import atlas.records
import atlas.saliency
import atlas.scorer
import atlas.site.images
import atlas.trust
from atlas.alarms import Camera, camera_of, dark_share
from atlas.errors import UnreadableImageError
from atlas.patches import windows_inside
from atlas.preprocess import SURROUND, cell_coverage, crop, prepare, prepared_at_source, read_photograph
from atlas.records import BoolArray, FeatureMaps, FloatArray, Frame, GradedImage, Head, IntArray, Scale
from atlas.saliency import METHODS, inside_cells, saliency_maps
from atlas.scorer import cell_sums, classify, severity
from atlas.site.images import encode_jpeg, retina_png, thumbnail
from atlas.sources import Heads, ScoringSource
from atlas.store import Store, source_digest
from atlas.trunks import Trunk
from atlas.trust import Row, curves, over_cells, scrambled_head

PLATE_SIDE = 1024
"""Longest side of a photograph in the site, in pixels."""
THUMBNAIL_SIDE = 160
PATCH_SIDE = 128
PATCH_MARGIN = 0.25
"""How much of the surroundings a patch is described with, on each side, in widths of the patch: a lesion that its edge cuts is
seen whole, at a scale nearer to that of the photographs the trunk learned from (measured by benchmarks/clusters.py)."""


@dataclass(frozen=True)
class View:
    """A photograph as the site shows it.

    folder : where its pictures lie in the store.   coverage : float32 (h, w), share of each cell that is retina.
    camera : what its format says of its camera.   fault : why it cannot be read, or None.
    """

    image_id: str
    folder: Path
    frame: Frame = field(default_factory=lambda: Frame(0, 0, 0))
    coverage: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    camera: Camera | None = None
    fault: str | None = None


def view(image: GradedImage, *, source: ScoringSource, store: Store) -> View:
    """Decode once; keep the pictures for the site, and the trunk's maps with each cell's share of retina."""
    decoded = cache(partial(read_photograph, image.path))
    prepared = cache(lambda: prepare(image.image_id, decoded(), size=source.trunk.size, preparation=source.preparation))

    def draw(folder: Path) -> None:
        frame = prepared().frame
        plate = crop(decoded(), frame, side=min(PLATE_SIDE, frame.side))
        (folder / "photograph.jpg").write_bytes(encode_jpeg(plate))
        (folder / "thumbnail.jpg").write_bytes(encode_jpeg(thumbnail(plate, THUMBNAIL_SIDE)))
        (folder / "retina.png").write_bytes(retina_png(prepared().retina))
        camera = camera_of(decoded(), frame, prepared().retina)
        facts = {
            "frame": np.array([frame.top, frame.left, frame.side]),
            "camera": np.array([camera.height, camera.width, *camera.cut, camera.surround]),
        }
        save_file(facts, folder / "frame.safetensors")

    def run_trunk() -> dict[str, FloatArray]:
        return {
            "features": source.trunk.maps(prepared().pixels[None])[0],
            "coverage": cell_coverage(prepared().retina, source.trunk.shape),
        }

    drawn_by = source_digest(atlas.preprocess, atlas.site.images, atlas.alarms)
    try:
        folder = store.keep("pictures", [image.image_id, PLATE_SIDE, THUMBNAIL_SIDE, source.trunk.size, drawn_by], draw)
        maps = store.keep_arrays("maps", source.input_parts(image.image_id), run_trunk)
    except UnreadableImageError as error:
        return View(image.image_id, image.path, fault=error.message)
    facts = load_file(folder / "frame.safetensors")
    top, left, side = (int(value) for value in facts["frame"])
    height, width, *cut, surround = facts["camera"].tolist()
    camera = Camera(height, width, (bool(cut[0]), bool(cut[1]), bool(cut[2]), bool(cut[3])), surround)
    return View(image.image_id, folder, Frame(top, left, side), maps["coverage"], camera)


@dataclass(frozen=True)
class Look:
    """One image's severity, its saliency map (h, w), and the drop of each candidate window, all in grade units.

    probabilities : float32 (K,) of the grades by the classifier, empty where there is none.
    curves : float32 (3, k), the score as places are left out, put in, and left out at random, see `trust.Curves`.
    """

    image_id: str
    severity: float
    map: FloatArray
    inside: BoolArray
    drops: FloatArray
    curves: FloatArray
    probabilities: FloatArray


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
    """Score one image by its own head, map what drives the score, and test every window by occlusion."""
    head, classifier, sha256 = heads.of(image.image_id)

    def make() -> dict[str, NDArray[np.generic]]:
        features = source.features(image.image_id, store)
        sums = cell_sums(features, head)
        inside = inside_cells(coverage[image.image_id][None])
        maps = saliency_maps(method, features, sums, head, scale, inside=inside, window=map_window)
        by_cell = over_cells(maps.values[0], maps.inside[0], map_window)
        return {
            "severity": severity(sums, head, scale).severity,
            "map": maps.values[0],
            "inside": maps.inside[0],
            "drops": atlas.occlusion.drops(sums, head, scale, window=window)[0],
            "curves": np.stack(curves(by_cell, inside[0], sums, head, scale)),
            "probabilities": np.zeros(0, np.float32) if classifier is None else classify(features, classifier)[0],
        }

    made_by = source_digest(atlas.scorer, atlas.saliency, atlas.occlusion, atlas.gradcam, atlas.trust, atlas.records)
    parts = [*source.input_parts(image.image_id), sha256, method, map_window, window, scale.lowest, scale.span, made_by]
    made = store.keep_arrays("looks", parts, make)
    names = ("map", "inside", "drops", "curves", "probabilities")
    return Look(image.image_id, float(made["severity"][0]), **{name: made[name] for name in names})


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
        pixels, plate, frame = prepared_at_source(decoded, preparation=source.preparation, longest=PLATE_SIDE)
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
        save_file({"descriptors": np.stack(descriptors), "dark": np.array(dark, np.float32)}, folder / "descriptors.safetensors")

    made_by = source_digest(atlas.site.images, atlas.records, atlas.alarms)
    sizes = [PLATE_SIDE, PATCH_SIDE, PATCH_MARGIN]
    parts = [*source.input_parts(image.image_id), list(own_ids), own_boxes.tolist(), *sizes, made_by]
    folder = store.keep("patches", parts, cut)
    made = load_file(folder / "descriptors.safetensors")
    return Detail(made["descriptors"], made["dark"], folder)


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
    """Measure one image's map of each method against the lesions outlined in its masks, see `trust.measure`.

    Added is the likeness to maps of scrambled scorers, the mean over `scrambled`, each with a head scrambled as well. Returns
    None where no lesion touches a cell on the retina.
    """
    seen, photograph = views[image.image_id], read_photograph(image.path)
    lesions = atlas.trust.read_lesions(atlas.trust.find_masks(masks, image.path.stem), photograph.shape[:2])
    covered = atlas.trust.lesion_coverage(lesions, seen.frame, source.trunk.shape)
    inside = inside_cells(seen.coverage[None])
    if not covered[inside[0]].any():
        return None

    def maps(features: FeatureMaps, head: Head) -> dict[str, FloatArray]:
        sums = cell_sums(features, head)
        of = partial(saliency_maps, features=features, sums=sums, head=head, scale=scale, inside=inside, window=window)
        return {method: of(method).values[0] for method in METHODS}

    head, features = heads.of(image.image_id)[0], source.features(image.image_id, store)
    own = maps(features, head)
    rows = atlas.trust.measure(
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
            found[method].append([atlas.trust.likeness(own[method], other[method], whole) for other in others])
    for method, likeness in found.items():
        values = np.ma.masked_invalid(np.array(likeness)).mean(axis=0).filled(np.nan)
        names = (f"{what}_scrambled{how}" for what in ("head", "all") for how in ("", "_absolute"))
        rows[method] = {**rows[method], **dict(zip(names, values.ravel().tolist(), strict=True))}
    return rows
