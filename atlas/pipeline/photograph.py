"""The work on one photograph, kept in the store as soon as it is done.

`prepare_photograph` decodes it, draws its pictures, runs the network and finds its lesions. `score_photograph` computes the score
and finds what drives it. Both are a task(item, shared), see `engine`; the third, `cut_patches`, is in `cutting`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.cohort.lesions import KINDS
from atlas.explain.methods import methods_by_grade, methods_of, saliency_map
from atlas.explain.occlusion import drops, weights
from atlas.explain.windows import inside_cells
from atlas.lesionnets.protocol import LesionNet
from atlas.patterns.alarms import Camera, camera_of
from atlas.photographs.assessment import assess, judged
from atlas.photographs.decode import Decoded, decode_photograph
from atlas.photographs.frames import cell_coverage, crop, touched
from atlas.photographs.opened import LEAST_SIDE, open_disc
from atlas.photographs.preparations import histograms, prepare_square
from atlas.pictures.jpeg import encode_jpeg, retina_png, thumbnail
from atlas.pipeline.arrays import load_arrays, save_arrays
from atlas.pipeline.copies import keep_fingerprint
from atlas.pipeline.keys import code_key
from atlas.pipeline.sources import Scorers, Source
from atlas.pipeline.store import Store
from atlas.records import (
    RETINA,
    UNSTRETCHED,
    BoolArray,
    FloatArray,
    Frame,
    GradedImage,
    Landmarks,
    Mark,
    Preprocessed,
    Quality,
    Stretch,
    Subject,
    Target,
)
from atlas.scorers.prediction import Prediction
from atlas.scorers.protocol import Scorer
from atlas.trust.curves import curves, over_cells

PHOTOGRAPH_SIDE = 1024
"""Longest side of a photograph on a page that shows all of it, in pixels. Its plate may be finer, for readers who zoom in."""

DETAIL_SIDE = 1024
"""Longest side of the photograph that patches are cut from and described in, in pixels, whatever the size of the plates."""

THUMBNAIL_SIDE = 160

PLATE_QUALITY = 90
"""JPEG quality of plates. Readers see their single pixels, and the quality of the other pictures would show JPEG's blocks."""

# Modules whose code decides what a task makes.
PICTURES = ("atlas.photographs.opened", "atlas.photographs.frames", "atlas.pictures.jpeg")
_MEASURED = ("atlas.photographs.assessment",)
_PREPARED = ("atlas.photographs.opened", "atlas.photographs.preparations")
FOUND = ("atlas.photographs.opened", "atlas.lesionnets.fundus", "atlas.lesionnets.landmarks")
_EXPLAINED = ("atlas.explain.methods", "atlas.explain.windows", "atlas.trust.curves")


@cache
def code_of(*modules: str, own: str = __file__) -> str:
    """Return the key of the code that a task runs: these modules, and its own file, which uses them."""
    return code_key(*modules) + hashlib.sha256(Path(own).read_bytes()).hexdigest()[:16]


@dataclass(frozen=True)
class View:
    """A photograph as the site shows it.

    Parameters
    ----------
    frame : Frame
        The square round the subject, in source pixels.
    shape : tuple[int, int]
        Rows and columns of the source, upright; of a squashed one, once it is put right.
    coverage : FloatArray
        float32 (h, w), share of each cell that is retina.
    camera : Camera
        What its format shows about its camera.
    folder : Path
        Folder of its pictures in the store.
    photograph : Path
        Its picture for pages that show all of it.
    plate : Path or None
        A finer picture, or None if there is none.
    found : Found or None
        Its lesions, or None if nothing looked for them.
    colours : FloatArray
        float32 (6,), means and standard deviations of red, green and blue over the retina.
    mirrored : float or None
        The logit of its mirror image, or None if it was not asked for.
    quality : Quality or None
        How good it is; None where photographs do not show the retina.
    stretch : Stretch
        How it was put right if it was squashed. What is called source pixels is counted after that.
    """

    image_id: str
    frame: Frame
    shape: tuple[int, int]
    coverage: FloatArray
    camera: Camera
    folder: Path
    photograph: Path
    plate: Path | None
    found: Found | None = None
    colours: FloatArray = field(default_factory=lambda: np.zeros(6, np.float32))
    mirrored: float | None = None
    quality: Quality | None = None
    stretch: Stretch = UNSTRETCHED


@dataclass(frozen=True)
class Found:
    """Lesions that a net found in one photograph.

    Parameters
    ----------
    marks : tuple[Mark, ...]
        The lesions, strongest first.
    descriptors : FloatArray
        Their descriptors, float32 (lesions, d).
    too_small : tuple[str, ...]
        Kinds that cannot be seen at the photograph's size.
    landmarks : Landmarks or None
        The disc and the fovea, see `Finding`.
    """

    marks: tuple[Mark, ...]
    descriptors: FloatArray
    too_small: tuple[str, ...] = ()
    landmarks: Landmarks | None = None


@dataclass(frozen=True)
class Preparing:
    """What all calls of `prepare_photograph` and `cut_patches` share.

    Parameters
    ----------
    plate_side : int or None
        Longest side of a plate in pixels. A plate is never larger than its source. None draws no plates.
    net : LesionNet or None
        Finds lesions.
    mirror : Scorer or None
        Scores the mirror image, too.
    copies : bool
        Keep what copies of the photograph are known by.
    """

    source: Source
    store: Store
    plate_side: int | None = None
    net: LesionNet | None = None
    mirror: Scorer | None = None
    copies: bool = False


def prepare_photograph(image: GradedImage, shared: Preparing) -> View:
    """Decode a photograph once. Keep its pictures for the site, and the network's results.

    Raises
    ------
    UnreadableImageError
        If it is not a photograph.
    """
    source, store = shared.source, shared.store
    whole = cache(partial(open_disc, image.path, source.subject, least=LEAST_SIDE))

    def opened() -> tuple[Decoded, tuple[Frame, BoolArray]]:
        return whole().decoded, (whole().disc.frame, whole().disc.mask)

    @cache
    def prepared() -> Preprocessed:
        return prepare_square(image.image_id, whole().square, size=source.size, preparation=source.preparation)

    def draw(folder: Path) -> None:
        decoded, square = whole().decoded, whole().square
        frame = square.frame
        photograph = square.pixels(min(PHOTOGRAPH_SIDE, frame.side))
        (folder / "photograph.jpg").write_bytes(encode_jpeg(photograph))
        (folder / "thumbnail.jpg").write_bytes(encode_jpeg(thumbnail(photograph, THUMBNAIL_SIDE)))
        (folder / "retina.png").write_bytes(retina_png(prepared().retina))
        camera = camera_of(decoded.pixels, frame, prepared().retina)
        wide = decoded.at_source(frame)
        facts = {
            "frame": np.array([wide.top, wide.left, wide.side]),
            "shape": np.array(decoded.shape),
            "camera": np.array([*decoded.shape, *camera.cut, camera.surround]),
            "coverage": cell_coverage(prepared().retina, source.grid),
            "colours": _colours(prepared()),
            "retina": _packed(square.subject(min(DETAIL_SIDE, frame.side))),
            "stretch": np.array([decoded.stretch.rows, decoded.stretch.columns]),
            "quality": assess(whole()) if source.subject.retina else np.zeros(0, np.uint8),
        }
        save_arrays(folder / "facts.safetensors", facts)

    sides = [PHOTOGRAPH_SIDE, DETAIL_SIDE, LEAST_SIDE, THUMBNAIL_SIDE]
    parts = [image.image_id, *sides, source.size, list(source.grid), source.subject.name]
    folder = store.keep("pictures", [*parts, code_of(*PICTURES, *_PREPARED, *_MEASURED, "atlas.patterns.alarms")], draw)
    if not store.has("predictions", prediction_key(image.image_id, source)):
        store.keep_arrays("predictions", prediction_key(image.image_id, source), lambda: source.encode(prepared()))
    found = None if shared.net is None else _find(image.image_id, shared.net, store, opened)
    if shared.copies:
        keep_fingerprint(image.image_id, source.subject, store, whole)
    mirrored = None if shared.mirror is None else _mirrored(image.image_id, shared.mirror, source, store, prepared)
    facts = load_arrays(folder / "facts.safetensors", "frame", "shape", "camera", "coverage", "colours", "stretch", "quality")
    frame = Frame(*facts["frame"].tolist())
    plate = None if shared.plate_side is None else _plate(image, frame, shared.plate_side, opened, store)
    photograph = folder / "photograph.jpg"
    if plate is not None and shared.plate_side is not None and shared.plate_side < PHOTOGRAPH_SIDE:
        photograph, plate = plate, None
    height, width, *cut, surround = facts["camera"].tolist()
    camera = Camera(height, width, (bool(cut[0]), bool(cut[1]), bool(cut[2]), bool(cut[3])), surround)
    shape = (int(facts["shape"][0]), int(facts["shape"][1]))
    return View(
        image.image_id,
        frame,
        shape,
        facts["coverage"],
        camera,
        folder,
        photograph,
        plate,
        found,
        colours=facts["colours"],
        mirrored=mirrored,
        quality=judged(facts["quality"]),
        stretch=Stretch(*facts["stretch"].tolist()),
    )


def _colours(shown: Preprocessed) -> FloatArray:
    """Return means and standard deviations of red, green and blue over the retina, float32 (6,)."""
    counts = histograms(shown.photograph, shown.retina)
    if not counts.any():
        return np.zeros(6, np.float32)
    values = np.arange(256, dtype=np.float64)
    means = [np.average(values, weights=own) for own in counts]
    deviations = [np.sqrt(np.average((values - mean) ** 2, weights=own)) for own, mean in zip(counts, means, strict=True)]
    return np.array([*means, *deviations], np.float32)


def _mirrored(image_id: str, scorer: Scorer, source: Source, store: Store, prepared: Callable[[], Preprocessed]) -> float:
    """Return the logit that a scorer gives to a photograph's mirror image, and keep it."""

    def look() -> dict[str, NDArray[Any]]:
        own = prepared()
        turned = replace(
            own,
            pixels=np.ascontiguousarray(own.pixels[:, ::-1]),
            photograph=np.ascontiguousarray(own.photograph[:, ::-1]),
            retina=np.ascontiguousarray(own.retina[:, ::-1]),
        )
        found = scorer.predict([turned])[0]
        return {"logit": np.array([found.logit(scorer.targets[0].name)])}

    return float(store.keep_arrays("mirrored", prediction_key(image_id, source), look)["logit"][0])


def _find(image_id: str, net: LesionNet, store: Store, opened: Callable[[], tuple[Decoded, tuple[Frame, BoolArray]]]) -> Found:
    """Find a photograph's lesions, and keep them. `opened` returns what `open_photograph` returns."""

    def find() -> dict[str, NDArray[Any]]:
        decoded, (frame, mask) = opened()
        found = net.find(decoded.pixels, frame, mask, factor=decoded.factor)
        kinds = list(KINDS)
        return {
            "kinds": np.array([kinds.index(mark.kind) for mark in found.lesions], np.int64),
            "boxes": np.array([mark.box for mark in found.lesions], np.int64).reshape(-1, 4),
            "strengths": np.array([mark.strength for mark in found.lesions], np.float64),
            "descriptors": found.descriptors,
            "too_small": np.array([kinds.index(kind) for kind in sorted(found.too_small)], np.int64),
            "landmarks": _places(found.landmarks),
        }

    parts = [image_id, LEAST_SIDE, net.sha256, list(KINDS), code_of(*FOUND)]
    kept = store.keep_arrays("lesions", parts, find)
    kinds = tuple(KINDS)
    places = zip(kept["kinds"].tolist(), kept["boxes"].tolist(), kept["strengths"].tolist(), strict=True)
    marks = tuple(Mark(kinds[kind], (box[0], box[1], box[2], box[3]), strength) for kind, box, strength in places)
    too_small = tuple(kinds[kind] for kind in kept["too_small"].tolist())
    disc_and_fovea = [(row, column) for row, column in kept["landmarks"].tolist()]
    return Found(marks, kept["descriptors"], too_small, Landmarks(*disc_and_fovea) if disc_and_fovea else None)


def _places(landmarks: Landmarks | None) -> NDArray[np.float64]:
    """Return the places of the disc and the fovea as far as they are known, float64 (0 to 2, 2)."""
    known = () if landmarks is None else [place for place in (landmarks.disc, landmarks.fovea) if place is not None]
    return np.array(known, np.float64).reshape(-1, 2)


def open_photograph(path: Path, subject: Subject = RETINA) -> tuple[Decoded, tuple[Frame, BoolArray]]:
    """Decode a photograph and find its subject, see `open_disc`."""
    opened = open_disc(path, subject, least=LEAST_SIDE)
    return opened.decoded, (opened.disc.frame, opened.disc.mask)


def prepared_for(scorer: Scorer, image: GradedImage) -> Preprocessed:
    """Decode a photograph and prepare it as a scorer needs it.

    Raises
    ------
    UnreadableImageError
        If it is not a photograph.
    """
    square = open_disc(image.path, scorer.scale.subject, least=LEAST_SIDE).square
    return prepare_square(image.image_id, square, size=scorer.size, preparation=scorer.preparation)


def prediction_key(image_id: str, source: Source) -> list[Any]:
    """Return everything that the network's results for a photograph depend on, as plain JSON values."""
    return [image_id, LEAST_SIDE, *source.key, code_of(*_PREPARED)]


def _plate(image: GradedImage, frame: Frame, most: int, opened: Callable[[], tuple[Decoded, Any]], store: Store) -> Path | None:
    """Draw the photograph with the source's own pixels, at most `most` a side. Return None if the page's picture is as large."""
    side = min(most, frame.side)
    if side == min(PHOTOGRAPH_SIDE, frame.side):
        return None

    def draw(folder: Path) -> None:
        known, _ = opened()
        whole = known if known.factor == 1 else decode_photograph(image.path).put_right(known.stretch)
        (folder / "plate.jpg").write_bytes(encode_jpeg(crop(whole.pixels, frame, side=side), PLATE_QUALITY))

    place = [frame.top, frame.left, frame.side]
    return store.keep("plates", [image.image_id, place, side, PLATE_QUALITY, code_of(*PICTURES)], draw) / "plate.jpg"


def _packed(retina: BoolArray) -> NDArray[np.uint8]:
    """Return a mask as the bytes of a PNG, a few kilobytes."""
    return np.frombuffer(cv2.imencode(".png", retina.astype(np.uint8) * np.uint8(255))[1].tobytes(), np.uint8)


@dataclass(frozen=True)
class Reading:
    """A photograph to be scored.

    Parameters
    ----------
    scorer : int
        Index of the scorer that reads it.
    coverage : FloatArray
        float32 (h, w), share of each cell that is retina.
    frame : Frame
        The square round the subject, in source pixels.
    marks : tuple[Mark, ...]
        The lesions that a net found in it.
    """

    image_id: str
    scorer: int
    coverage: FloatArray
    frame: Frame
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Explaining:
    """What all calls of `score_photograph` share.

    Parameters
    ----------
    method : str
        The saliency method whose map the curves judge.
    map_window : int
        Side of the windows of the maps, in cells.
    window : int
        Side of the candidate patches, in cells.
    """

    source: Source
    scorers: Scorers
    store: Store
    target: Target
    method: str
    map_window: int
    window: int


@dataclass(frozen=True)
class Look:
    """One photograph's severity, its saliency maps, and the drop of each candidate window, all in grade units.

    Parameters
    ----------
    probabilities : FloatArray
        float32 (K,), probability of each grade; empty if there is no classifier.
    logit : float
        Logit of the complete scorer.
    members : FloatArray
        Logit of each of its networks, see `Prediction.members`.
    pooled : FloatArray
        float32 (C,), its mean features over the retina.
    maps : Mapping[str, FloatArray]
        Saliency maps by method, float32 (h, w).
    inside : BoolArray
        bool (h, w), see `SaliencyMaps`.
    drops, weights : FloatArray
        float32 (h', w'), see `explain.occlusion`.
    curves : FloatArray
        float32 (3, k), the score as places are left out, put in, and left out at random, see `trust.curves`.
    falls : FloatArray
        float32 (marks,), how far the score falls when the cells that a found lesion touches are hidden.
    without : float
        The score when the cells of all found lesions are hidden.
    live : bool
        Whether the scorer can give a page the values it needs to hide places, see `gallery`.
    folder : Path
        Folder of all this in the store.
    """

    image_id: str
    severity: float
    probabilities: FloatArray
    pooled: FloatArray
    maps: Mapping[str, FloatArray]
    inside: BoolArray
    drops: FloatArray
    weights: FloatArray
    curves: FloatArray
    falls: FloatArray
    without: float
    logit: float
    members: FloatArray
    live: bool
    folder: Path


def score_photograph(item: Reading, shared: Explaining) -> Look:
    """Score one photograph, draw the map of every saliency method, and test every window by occlusion."""
    scorer, store, target = shared.scorers.scorers[item.scorer], shared.store, shared.target
    name, image_id = target.name, item.image_id
    inside = inside_cells(item.coverage)

    def write(folder: Path) -> None:
        found = scorer.restore(store.arrays("predictions", prediction_key(image_id, shared.source)))
        draw = partial(saliency_map, prediction=found, target=target, inside=inside, window=shared.map_window)
        values, within = draw(shared.method)
        maps = {method: draw(method) for method in (*methods_of(found, target), *methods_by_grade(found, target))}
        by_cell = over_cells(values, within, shared.map_window)
        arrays: dict[str, NDArray[np.generic]] = {
            "severity": np.array([found.severity[name]]),
            "probabilities": found.probabilities[name],
            "pooled": found.pooled,
            "logit": np.array([found.logit(name)]),
            "members": found.members(name),
            "live": np.array([found.live(name) is not None]),
            "inside": within,
            "drops": drops(found, name, window=shared.window),
            "weights": weights(found, name, target.scale, window=shared.window),
            "curves": np.stack(curves(by_cell, inside, found, name)),
            **_hidden(found, name, inside, [touched(item.frame, found.grid, mark.box) for mark in item.marks]),
            **{f"map.{method}": own for method, (own, _) in maps.items()},
        }
        save_arrays(folder / "arrays.safetensors", arrays)

    marks = [item.frame.top, item.frame.left, item.frame.side, [list(mark.box) for mark in item.marks]]
    made_by = [marks, scorer.sha256, shared.method, shared.map_window, shared.window, target.scale.lowest, target.scale.span]
    code = code_of(*_EXPLAINED, type(scorer).__module__)
    folder = store.keep("looks", [*prediction_key(image_id, shared.source), *made_by, code], write)
    made = load_arrays(folder / "arrays.safetensors")
    return Look(
        image_id,
        float(made["severity"][0]),
        maps={name.removeprefix("map."): made[name] for name in made if name.startswith("map.")},
        without=float(made["without"][0]),
        live=bool(made["live"][0]),
        folder=folder,
        logit=float(made["logit"][0]),
        **{name: made[name] for name in ("probabilities", "pooled", "inside", "drops", "weights", "curves", "falls", "members")},
    )


def _hidden(found: Prediction, target: str, inside: BoolArray, places: Sequence[BoolArray]) -> dict[str, NDArray[Any]]:
    """Hide the cells of each place, then of all together. Return how far the score falls, and the score without all of them."""
    whole = found.severity[target]
    if not places:
        return {"falls": np.zeros(0, np.float32), "without": np.array([whole])}
    masks = np.stack([*places, np.any(places, axis=0)]) & inside
    left = found.without(target, masks)
    return {"falls": np.asarray(whole - left[:-1], np.float32), "without": np.asarray(left[-1:], np.float64)}
