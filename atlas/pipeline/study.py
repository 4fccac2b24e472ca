"""All that is found out about a dataset, before anything is written."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

import atlas.cohort.lesions
import atlas.drawn.anatomy
import atlas.drawn.cohort
import atlas.drawn.lesions
import atlas.drawn.paint
from atlas.agreement.evaluation import evaluate
from atlas.agreement.ranking import rank
from atlas.cohort.dataset import read_dataset
from atlas.cohort.masks import find_masks
from atlas.config import Configuration
from atlas.curation.apply import anchors_of, leave_out, notes, resolve
from atlas.curation.file import CurationFile
from atlas.drawn.cohort import write_cohort
from atlas.errors import ConfigurationError, DatasetError
from atlas.explain.methods import METHODS
from atlas.explain.windows import inside_cells, windows_inside
from atlas.patterns.alarms import with_alarms
from atlas.patterns.clusters import cluster, normalised
from atlas.patterns.embedding import embed
from atlas.patterns.numbering import Identities, number_clusters
from atlas.patterns.patches import choose_threshold, off_retina, salient_windows, with_descriptors
from atlas.patterns.similar import most_alike
from atlas.photographs.frames import cell_box
from atlas.pipeline.engine import run
from atlas.pipeline.photograph import Look, View, describe, look, outline, view
from atlas.pipeline.provenance import describe_build
from atlas.pipeline.publication import link_or_copy
from atlas.pipeline.sources import Heads, ScoringSource, fitted_source, heads_for, on_scale, trained_source
from atlas.pipeline.store import Store, digest, source_digest
from atlas.progress import Progress, silent
from atlas.records import (
    Atlas,
    Clusters,
    Dataset,
    DatasetReport,
    Evaluation,
    FloatArray,
    Frame,
    GradedImage,
    Lesions,
    Patches,
    SaliencyMaps,
    Scale,
    Scores,
    Trust,
)
from atlas.scorers.transferred import TransferredScorer
from atlas.trust.badges import judge

DEMO_COUNT = 240
"""Eyes in the embedded synthetic cohort: enough for every grade and lesion to be seen, few enough to build in minutes."""

_DEMO_SIZE = 640

_DEMO_SEED = 20

_FEWEST_PER_CLUSTER = 5  # k-means below this many patches a cluster says more about chance than about lesions


@dataclass(frozen=True)
class _Study:
    """All that was found out about a dataset, before anything is written."""

    atlas: Atlas
    report: DatasetReport
    views: Mapping[str, View]
    patch_pictures: Mapping[str, Path]
    outlines: Mapping[str, Path]
    cells: Mapping[str, Path]
    clusters: Clusters | None  # with those that the curation hides
    space: str  # of their descriptors
    scorer: TransferredScorer | None  # None where heads were fitted

    @property
    def images(self) -> tuple[GradedImage, ...]:
        return self.atlas.dataset.images

    @contextmanager
    def pictures(self, store: Store) -> Iterator[Path]:
        """Give a folder of links to the store's pictures, laid out as the site expects."""
        with tempfile.TemporaryDirectory(dir=store.root) as scratch:
            folder = Path(scratch)
            for name in ("photographs", "plates", "thumbnails", "retinas", "patches", "masks", "cells"):
                (folder / name).mkdir()
            for image_id, seen in self.views.items():
                link_or_copy(seen.photograph, folder / "photographs" / f"{image_id}.jpg")
                if seen.plate is not None:
                    link_or_copy(seen.plate, folder / "plates" / f"{image_id}.jpg")
                link_or_copy(seen.folder / "thumbnail.jpg", folder / "thumbnails" / f"{image_id}.jpg")
                link_or_copy(seen.folder / "retina.png", folder / "retinas" / f"{image_id}.png")
            for image_id, file in self.cells.items():
                link_or_copy(file, folder / "cells" / f"{image_id}.json")
            for patch_id, file in self.patch_pictures.items():
                link_or_copy(file, folder / "patches" / f"{patch_id}.jpg")
            for image_id, drawn in self.outlines.items():
                link_or_copy(drawn / "outlines.png", folder / "masks" / f"{image_id}.png")
            yield folder


def study_dataset(
    dataset: Dataset,
    report: DatasetReport,
    configuration: Configuration,
    store: Store,
    progress: Progress,
    clock: Clock,
    curated: CurationFile | None = None,
    previous: Identities | None = None,
) -> _Study:
    curated, previous = curated or CurationFile(), previous or Identities()
    left_out = set(curated.exclude.images).intersection(dataset.image_ids)
    dataset = leave_out(dataset, curated)
    masks = _masks(dataset, configuration, report, store, progress)
    with clock("scorer"):
        source = choose_source(configuration)
    with clock("photographs"):
        views, dataset, report = view_all(dataset, report, source, configuration, store, progress, plates=True)
    with clock("heads"):
        heads = fit_heads(dataset, source, configuration, store, progress)
    with clock("scores and maps"):
        looks = look_all(dataset, source, heads, views, configuration, store, progress)
    scores = gather_scores(looks, dataset, source, heads)
    maps = {method: _maps(looks, method, configuration) for method in METHODS}
    with clock("likeness"):
        progress("likeness", 0, 0)
        alike = most_alike([one.image_id for one in looks], np.stack([one.pooled for one in looks]))
    with clock("patches"):
        patches, dark, pictures = _describe_all(
            _select(looks, views, dataset, source, configuration), dataset, source, configuration, store, progress
        )
    with clock("outlines"):
        outlined = _outline_all(dataset, views, masks, configuration, store, progress)
    clusters = embedding = None
    changes: tuple[str, ...] = ()
    space = digest([source.trunk.sha256, source.trunk.size, source.preparation])
    if len(patches.patch_ids) >= 2:
        with clock("clusters"):
            progress("clusters", 0, 0)
            compared = normalised(patches)
            clusters = with_alarms(
                cluster(compared, k=configuration.clusters, seed=configuration.seed),
                patches,
                off_retina=off_retina(patches, {image_id: seen.coverage for image_id, seen in views.items()}),
                dark=dark,
                cameras={image_id: seen.camera for image_id, seen in views.items()},
                patients={image.image_id: image.patient or image.image_id for image in dataset.images},
            )
            clusters, changes = number_clusters(clusters, previous, anchors_of(curated), reserved=curated.clusters, space=space)
        with clock("layout"):
            progress("layout", 0, 0)
            embedding = embed(compared, layout=configuration.layout, seed=configuration.seed)
    made = Atlas(
        dataset=dataset,
        scores=scores,
        maps=maps[configuration.saliency],
        strip=rank(scores, {image.image_id: image.grade for image in dataset.images}, dataset.scale),
        provenance=describe_build(
            title=configuration.title,
            settings=configuration.published(),
            dataset=dataset,
            report=report,
            source=source,
            heads=heads,
            patches=patches,
            clusters=clusters,
            scores=scores,
            synthetic=report.layout == _SYNTHETIC,
        ),
        patches=patches if patches.patch_ids else None,
        clusters=clusters,
        embedding=embedding,
        evaluation=evaluate_scores(scores, heads, dataset, configuration),
        frames={image_id: seen.frame for image_id, seen in views.items()},
        trust=_trust(looks, dataset.scale),
        other_maps=tuple(one for method, one in maps.items() if method != configuration.saliency),
        alike=alike,
        lesions={image_id: lesions for image_id, (lesions, _) in outlined.items()},
    )
    made = resolve(curated, made, left_out=left_out)
    told = (*made.provenance.notes, *changes, *notes(made.curation))
    made = replace(made, provenance=replace(made.provenance, notes=told))
    cells = {one.image_id: one.cells for one in looks}
    drawn = {image_id: folder for image_id, (_, folder) in outlined.items()}
    return _Study(made, report, views, pictures, drawn, cells, clusters, space, source.scorer)


_SYNTHETIC = "embedded synthetic cohort"


def gather(configuration: Configuration, store: Store, progress: Progress) -> tuple[Dataset, DatasetReport]:
    images, grades = configuration.images, configuration.grades
    if images is None:
        if configuration.scale is not None:
            raise ConfigurationError(
                "scale: the embedded synthetic cohort shows diabetic retinopathy only", "give IMAGES, or leave [scale] out."
            )
        cohort = demo_cohort(store, progress)
        images, grades = cohort / "images", cohort / "grades.csv"
    dataset, report = read_dataset(
        images,
        grades,
        scale=configuration.grade_scale(),
        image_column=configuration.image_column,
        grade_column=configuration.grade_column,
        patient_column=configuration.patient_column,
        eye_column=configuration.eye_column,
        split_column=configuration.split_column,
        split=configuration.split,
        limit=configuration.limit,
        seed=configuration.seed,
        progress=progress,
    )
    return dataset, replace(report, layout=_SYNTHETIC) if configuration.images is None else report


def demo_cohort(store: Store, progress: Progress = silent) -> Path:
    """Return the folder of the embedded synthetic cohort (`images/`, `masks/`, `grades.csv`), drawn once and kept."""

    def draw(folder: Path) -> None:
        write_cohort(DEMO_COUNT, folder, seed=_DEMO_SEED, size=_DEMO_SIZE, progress=progress)

    return store.keep(
        "synthetic",
        [
            DEMO_COUNT,
            _DEMO_SIZE,
            _DEMO_SEED,
            source_digest(atlas.cohort.lesions, atlas.drawn.anatomy, atlas.drawn.cohort, atlas.drawn.lesions, atlas.drawn.paint),
        ],
        draw,
    )


def choose_source(configuration: Configuration) -> ScoringSource:
    if not configuration.fit:
        return trained_source(configuration.scorer, configuration.grade_scale())
    return fitted_source(
        configuration.scorer,
        trunk=configuration.trunk,
        trunk_weights=configuration.trunk_weights,
        size=configuration.size,
        preparation=configuration.preparation,
    )


def view_all(
    dataset: Dataset,
    report: DatasetReport,
    source: ScoringSource,
    configuration: Configuration,
    store: Store,
    progress: Progress,
    *,
    plates: bool = False,
) -> tuple[dict[str, View], Dataset, DatasetReport]:
    """View every photograph; those that cannot be read are left out of the dataset and listed in the report."""
    task = partial(view, source=source, store=store, plate_side=configuration.plate_side if plates else None)
    seen = list(run(task, dataset.images, stage="photographs", workers=configuration.workers, progress=progress))
    faults = {one.image_id: one.fault for one in seen if one.fault is not None}
    readable = tuple(image for image in dataset.images if image.image_id not in faults)
    if not readable:
        raise DatasetError("none of the photographs can be read; the first fault is:\n  " + next(iter(faults.values())))
    views = {one.image_id: one for one in seen if one.fault is None}
    return views, replace(dataset, images=readable), replace(report, unreadable=(*report.unreadable, *faults.values()))


def fit_heads(dataset: Dataset, source: ScoringSource, configuration: Configuration, store: Store, progress: Progress) -> Heads:
    heads = heads_for(
        dataset,
        source,
        store,
        folds=configuration.folds,
        balance=configuration.balance,
        seed=configuration.seed,
        progress=progress,
    )
    return heads if source.scorer is None else on_scale(heads, source.scorer.scale, dataset.scale)


def look_all(
    dataset: Dataset,
    source: ScoringSource,
    heads: Heads,
    views: Mapping[str, View],
    configuration: Configuration,
    store: Store,
    progress: Progress,
) -> list[Look]:
    rows, cols = source.trunk.shape
    for name in ("window", "map_window"):
        size = getattr(configuration, name)
        if size > min(rows, cols):
            raise ConfigurationError(
                f"{name} = {size}: larger than the {rows} x {cols} cells of the trunk's maps", "choose a smaller window."
            )
    task = partial(
        look,
        source=source,
        heads=heads,
        coverage={image_id: seen.coverage for image_id, seen in views.items()},
        store=store,
        scale=dataset.scale,
        method=configuration.saliency,
        map_window=configuration.map_window,
        window=configuration.window,
    )
    return list(run(task, dataset.images, stage="scores and maps", workers=configuration.workers, progress=progress))


def gather_scores(looks: Sequence[Look], dataset: Dataset, source: ScoringSource, heads: Heads) -> Scores:
    severity = np.array([one.severity for one in looks], np.float32)
    probabilities = np.stack([one.probabilities for one in looks])
    ids = tuple(one.image_id for one in looks)
    return Scores(ids, severity, heads.fitted, probabilities if probabilities.size else None, _met(dataset, source))


def _met(dataset: Dataset, source: ScoringSource) -> frozenset[str] | None:
    """Name the photographs of patients whom a trained scorer learned from, where its bundle tells which photographs it met."""
    if source.scorer is None or not source.scorer.learned:
        return None
    learned = set(source.scorer.learned)
    patients = {image.patient for image in dataset.images if image.image_id in learned and image.patient is not None}
    return frozenset(image.image_id for image in dataset.images if image.image_id in learned or image.patient in patients)


def _maps(looks: Sequence[Look], method: str, configuration: Configuration) -> SaliencyMaps:
    values, inside = np.stack([one.maps[method] for one in looks]), np.stack([one.inside for one in looks])
    return SaliencyMaps(tuple(one.image_id for one in looks), method, values, inside, configuration.map_window)


def _trust(looks: Sequence[Look], scale: Scale) -> Trust:
    deletion, insertion, random = np.stack([one.curves for one in looks], axis=1)
    badges = tuple(judge(*pair, scale).word for pair in zip(deletion, random, strict=True))
    return Trust(tuple(one.image_id for one in looks), deletion, insertion, random, badges)


def _select(
    looks: Sequence[Look],
    views: Mapping[str, View],
    dataset: Dataset,
    source: ScoringSource,
    configuration: Configuration,
) -> Patches:
    """Pick the salient windows of the whole cohort, by occlusion whatever method draws the maps, as the study did."""
    ids = tuple(one.image_id for one in looks)
    drops = np.stack([one.drops for one in looks])
    cells = inside_cells(np.stack([views[image_id].coverage for image_id in ids]))
    inside = windows_inside(cells, configuration.window)
    threshold, quantile = choose_threshold(
        drops,
        inside,
        threshold=configuration.drop_threshold * dataset.scale.span,
        fewest=configuration.clusters * _FEWEST_PER_CLUSTER,
        quantile=configuration.drop_quantile,
    )
    frames: dict[str, Frame] = {image_id: views[image_id].frame for image_id in ids}
    shape = source.trunk.shape
    window = configuration.window
    return salient_windows(ids, drops, inside, frames, shape, cell_box, window=window, threshold=threshold, quantile=quantile)


def _describe_all(
    patches: Patches,
    dataset: Dataset,
    source: ScoringSource,
    configuration: Configuration,
    store: Store,
    progress: Progress,
) -> tuple[Patches, FloatArray, dict[str, Path]]:
    """Describe the patches image by image; return them with their descriptors, their dark shares, and each one's picture."""
    rows: dict[str, list[int]] = {}
    for row, image_id in enumerate(patches.image_ids):
        rows.setdefault(image_id, []).append(row)
    patch_ids = {image_id: [patches.patch_ids[row] for row in own] for image_id, own in rows.items()}
    boxes = {image_id: patches.boxes[own] for image_id, own in rows.items()}
    images = [image for image in dataset.images if image.image_id in rows]
    task = partial(describe, patch_ids=patch_ids, boxes=boxes, source=source, store=store)
    results = run(task, images, stage="patches", workers=configuration.workers, progress=progress)
    descriptors: FloatArray = np.zeros((len(patches.patch_ids), source.trunk.channels), np.float32)
    dark: FloatArray = np.zeros(len(patches.patch_ids), np.float32)
    pictures: dict[str, Path] = {}
    for image, detail in zip(images, results, strict=True):
        own = rows[image.image_id]
        descriptors[own], dark[own] = detail.descriptors, detail.dark
        pictures |= {patch_id: detail.folder / f"{patch_id}.jpg" for patch_id in patch_ids[image.image_id]}
    return with_descriptors(patches, descriptors), dark, pictures


def _masks(
    dataset: Dataset, configuration: Configuration, report: DatasetReport, store: Store, progress: Progress
) -> Path | None:
    """Return the folder of the lesion masks, checked before anything takes long; the embedded cohort brings its own."""
    if report.layout == _SYNTHETIC:
        return demo_cohort(store, progress) / "masks"
    masks = configuration.masks
    if masks is None:
        return None
    if not masks.is_dir():
        raise ConfigurationError(f"masks: {masks} is not a folder", "give the folder of the lesion masks.")
    with_masks(dataset, masks)
    return masks


def with_masks(dataset: Dataset, masks: Path) -> tuple[GradedImage, ...]:
    """Return the photographs that have a mask in the folder `masks`. Raises DatasetError where none has."""
    outlined = tuple(image for image in dataset.images if find_masks(masks, image.path.stem))
    if not outlined:
        raise DatasetError(
            f"{masks}: no mask of any of the {len(dataset.images)} photographs",
            "name each mask as its photograph, NAME.png, or put the masks of each kind of lesion into a folder NAME.",
        )
    return outlined


def _outline_all(
    dataset: Dataset,
    views: Mapping[str, View],
    masks: Path | None,
    configuration: Configuration,
    store: Store,
    progress: Progress,
) -> dict[str, tuple[Lesions, Path]]:
    """Outline the lesions of the photographs that have masks; by image_id, with the folder of the drawing."""
    if masks is None:
        return {}
    task = partial(outline, views=views, masks=masks, store=store)
    drawn = run(task, dataset.images, stage="outlines", workers=configuration.workers, progress=progress)
    return {image.image_id: one for image, one in zip(dataset.images, drawn, strict=True) if one is not None}


def evaluate_scores(scores: Scores, heads: Heads, dataset: Dataset, configuration: Configuration) -> Evaluation | None:
    rows = [row for row, image in enumerate(dataset.images) if image.grade is not None]
    if not rows:
        return None
    # What the scorer learned from would flatter it. Where it met every graded patient the page says so instead.
    rows = [row for row in rows if scores.unseen(dataset.images[row].image_id) is not False] or rows
    graded = [dataset.images[row] for row in rows]
    return evaluate(
        scores.severity[rows],
        np.array([image.grade for image in graded], np.int64),
        dataset.scale,
        patients=[image.patient or image.image_id for image in graded],
        seed=configuration.seed,
        probabilities=None if scores.probabilities is None else scores.probabilities[rows],
        reading=heads.reading,
        labels=heads.labels,
    )


class Clock:
    """Wall-clock seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - start, 3)
