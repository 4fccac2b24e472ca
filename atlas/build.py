"""The pipeline, from a folder of graded photographs to a static atlas. Read `_study` as the specification.

Everything is gathered before anything is written. What is found out about a photograph is kept in the store at once, so a killed
build goes on where it stopped; an atlas that stands is replaced only by a whole one.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import atlas.preprocess
import atlas.synthetic
from atlas.alarms import with_alarms
from atlas.alike import most_alike
from atlas.clusters import cluster, normalised
from atlas.config import Configuration
from atlas.curation import (
    CurationFile,
    Identities,
    anchors_of,
    leave_out,
    notes,
    number_clusters,
    read_curation,
    read_identities,
    resolve,
    write_identities,
)
from atlas.dataset import read_dataset, read_files
from atlas.embedding import embed
from atlas.engine import run, single_threaded
from atlas.errors import ConfigurationError, DatasetError, TrainingError
from atlas.evaluation import evaluate
from atlas.patches import choose_threshold, off_retina, salient_windows, windows_inside, with_descriptors
from atlas.preprocess import cell_box
from atlas.progress import Progress, silent
from atlas.provenance import describe_build, write_run
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
from atlas.resources import demo_curation
from atlas.saliency import METHODS, inside_cells
from atlas.scorer import TransferredScorer, amend_bundle, load_scorer, save_bundle
from atlas.site.render import render_report, render_site
from atlas.site.tables import write_tables
from atlas.sources import Heads, ScoringSource, fitted_source, heads_for, on_scale, trained_source
from atlas.store import Publication, Store, default_root, digest, disk_faults, link_or_copy, source_digest
from atlas.strip import rank
from atlas.synthetic import write_cohort
from atlas.training import Augmentation, evaluate_own_test, evaluation_entry, evaluations_on_card, join_scorers, train_scorer
from atlas.trust import find_masks, judge, on_card, scrambled_trunk, summarise
from atlas.views import Look, View, describe, look, measure, outline, view

DEMO_COUNT = 240
"""Eyes in the embedded synthetic cohort: enough for every grade and lesion to be seen, few enough to build in minutes."""

_DEMO_SIZE = 640
_DEMO_SEED = 20
_IDENTITIES = "clusters.json"  # in the site's folder: which cluster is which, for the next build
_SCRAMBLES = 3  # scrambled scorers with which maps are compared: one may resemble by luck
_FEWEST_PER_CLUSTER = 5  # k-means below this many patches a cluster says more about chance than about lesions


@dataclass(frozen=True)
class BuildResult:
    """What a build made. `report` and `kept` name files: for the terminal only.

    timings : seconds by stage.   kept : the user's own files that were in the atlas before, and still are.
    """

    out: Path
    atlas: Atlas
    report: DatasetReport
    timings: Mapping[str, float] = field(default_factory=dict)
    kept: tuple[str, ...] = ()


def build_atlas(configuration: Configuration, *, progress: Progress = silent) -> BuildResult:
    """Build the atlas that `configuration` asks for into its `out` folder.

    Raises ConfigurationError, DatasetError, ScorerError or StoreError. Then, and when interrupted, an atlas that stood at `out`
    still stands, and what was computed is kept in the store.
    """
    if configuration.out is None:
        raise ConfigurationError("out: no folder to write the atlas to", "give --out DIR, or the key out in atlas.toml.")
    require_apart(configuration)
    store = Store(configuration.store)
    clock = _Clock()
    publication = Publication(configuration.out)
    store.tidy()
    with publication as folder, single_threaded():
        with clock("dataset"):
            curated = _curation(configuration)
            dataset, report = _gather(configuration, store, progress)
            curated = curated or _demo_curation(configuration, store)
        previous = read_identities(configuration.out / _IDENTITIES)
        study = _study(dataset, report, configuration, store, progress, clock, curated, previous)
        judged = None if study.scorer is None else evaluate_own_test(study.scorer)
        made = replace(study.atlas, scorer_evaluation=judged)
        names = None
        if configuration.keep_names:
            names = {i.image_id: i.path.name.encode(errors="backslashreplace").decode() for i in study.images}
        room = disk_faults(configuration.out.absolute().parent, "make room, or choose another --out; the old atlas is unchanged.")
        with clock("site"), room, study.pictures(store) as pictures:
            render_site(made, pictures, folder, names=names, progress=progress)
            write_tables(made, folder / "tables", names=names)
            write_run(folder / "run.json", made.provenance)
            write_identities(folder / _IDENTITIES, study.clusters, study.space, previous)
        store.keep_files_key(configuration.out, ((image.image_id, image.path) for image in study.images))
    store.note(configuration.out, "timings", clock.seconds)
    return BuildResult(configuration.out, made, study.report, clock.seconds, publication.kept)


def require_apart(configuration: Configuration) -> None:
    """Raise ConfigurationError where the atlas or the store would lie among the photographs, or they in the atlas."""
    if configuration.images is None or configuration.out is None:
        return
    images, out = (os.path.realpath(path) for path in (configuration.images, configuration.out))
    inside = "{name} = {inner}: lies in the folder of the {outer}"
    for name, inner, outer, what in (
        ("out", out, images, "photographs"),
        ("store", os.path.realpath(configuration.store or default_root()), images, "photographs"),
        ("images", images, out, "atlas"),
    ):
        if os.path.commonpath([inner, outer]) == outer:
            raise ConfigurationError(
                inside.format(name=name, inner=inner, outer=what), f"choose a folder outside of {outer} for --{name}."
            )


def build_report(
    files: Sequence[Path], file: Path, configuration: Configuration, *, progress: Progress = silent
) -> DatasetReport:
    """Write one self-contained page with the saliency report of each photograph in `files`; return what could not be read.

    Raises ConfigurationError, DatasetError, ScorerError or StoreError.
    """
    store = Store(configuration.store)
    with single_threaded():
        unmasked = configuration.model_copy(update={"masks": None})  # a report shows no outlines
        dataset = read_files(files, scale=configuration.grade_scale())
        study = _study(dataset, DatasetReport("files"), unmasked, store, progress, _Clock())
        with study.pictures(store) as pictures:
            render_report(study.atlas, pictures, [image.image_id for image in study.images], file)
    return study.report


def evaluate_scorer(
    configuration: Configuration, *, record: str | None = None, command: str = "", progress: Progress = silent
) -> tuple[Evaluation, DatasetReport]:
    """Score the graded photographs of `configuration` and measure the scores' agreement with the human grades.

    With `record` the figures are kept under that name, with the `command` that measures them, in the scorer's bundle and on its
    card, in place of older ones of the name.

    Raises DatasetError where no photograph has a grade, and what `build_atlas` raises.
    """
    store = Store(configuration.store)
    with single_threaded():
        dataset, report = _gather(configuration, store, progress)
        source = _source(configuration)
        views, dataset, report = _view_all(dataset, report, source, configuration, store, progress)
        heads = _heads(dataset, source, configuration, store, progress)
        looks = _look_all(dataset, source, heads, views, configuration, store, progress)
        scores = _scores(looks, dataset, source, heads)
        evaluation = _evaluate(scores, heads, dataset, configuration)
    if evaluation is None:
        raise DatasetError("no photograph has a grade to compare with", "give --grades.")
    if record is not None and source.scorer is not None:
        scorer, entry = source.scorer, evaluation_entry(record, command, evaluation)
        entries = _with_entry(scorer.evaluations, entry)
        amend_bundle(configuration.scorer, evaluations=entries, card=evaluations_on_card(scorer.card, entries))
    return evaluation, report


def measure_trust(
    configuration: Configuration, masks: Path, *, record: str | None = None, progress: Progress = silent
) -> tuple[dict[str, Any], DatasetReport]:
    """Measure how far the scorer's maps can be trusted, on those photographs whose lesions are outlined in the folder `masks`.

    Returns the entry of `trust.summarise`. With `record` it is kept under that name in the scorer's bundle and on its card, in
    place of an older one. Raises DatasetError where no photograph has lesions, and what `build_atlas` raises.
    """
    store = Store(configuration.store)
    with single_threaded():
        dataset, report = _gather(configuration, store, progress)
        source = _source(configuration)
        outlined = _with_masks(dataset, masks)
        views, kept, report = _view_all(replace(dataset, images=outlined), report, source, configuration, store, progress)
        task = partial(
            measure,
            views=views,
            source=source,
            heads=_heads(kept, source, configuration, store, progress),
            store=store,
            scale=kept.scale,
            masks=masks,
            window=configuration.map_window,
            scrambled=[scrambled_trunk(source.trunk, configuration.seed + turn) for turn in range(_SCRAMBLES)],
            seed=configuration.seed,
        )
        rows = list(run(task, kept.images, stage="trust", workers=configuration.workers, progress=progress))
    found = [(image, one) for image, one in zip(kept.images, rows, strict=True) if one is not None]
    if not found:
        raise DatasetError(f"{masks}: all masks are black on the retina", "give masks that are not black where a lesion is.")
    entry = summarise(
        [one for _, one in found],
        [image.patient or image.image_id for image, _ in found],
        name=record or masks.resolve().name,
        without_lesion=len(dataset.images) - len(found),
        seed=configuration.seed,
    )
    if record is not None and source.scorer is not None:
        entries = _with_entry(source.scorer.trust, entry)
        amend_bundle(configuration.scorer, trust=entries, card=on_card(source.scorer.card, entries))
    return entry, report


def _with_entry(entries: Iterable[Mapping[str, Any]], entry: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Add a measurement to those of a bundle, in place of an older one of its name."""
    return (*(old for old in entries if old["name"] != entry["name"]), entry)


def train(
    configuration: Configuration,
    out: Path,
    *,
    also: Sequence[tuple[Path, Path | None]] = (),
    from_scratch: bool = False,
    fine_tune: bool = False,
    teachers: Sequence[str] = (),
    members: Sequence[str] = (),
    augmentation: Augmentation = "flips-rotations",
    hidden: int = 64,
    epochs: int = 12,
    source: str = "Not stated.",
    further: Sequence[str] = (),
    command: str = "",
    progress: Progress = silent,
) -> tuple[TransferredScorer, DatasetReport]:
    """Train a scorer on the graded photographs of `configuration` and write its bundle to `out`; see `train_scorer`.

    teachers : scorers' names or folders.   members : the same, of scorers to put side by side instead of training a trunk, see
        `join_scorers`.
    also : further folders of photographs with their tables of grades. A patient's name means the same person in all of them.

    A training that was cut off goes on where it stopped. Raises TrainingError, DatasetError, ScorerError or StoreError.
    """
    if members and (from_scratch or fine_tune or teachers or configuration.trunk or configuration.size):
        raise TrainingError(
            "scorers that are put side by side bring their own trunks and size, and do not learn again",
            "leave out everything that speaks of a trunk or a teacher",
        )
    store = Store(configuration.store)
    gathered = [_gather(configuration, store, progress)]
    for images, grades in also:
        gathered.append(_gather(configuration.model_copy(update={"images": images, "grades": grades}), store, progress))
    dataset, report = _joined(gathered)
    settings: dict[str, Any] = {
        "trunk": configuration.trunk or "alexnet",
        "weights": configuration.trunk_weights,
        "from_scratch": from_scratch,
        "fine_tune": fine_tune,
        "size": configuration.size or 224,
        "preparation": configuration.preparation or "standardise",
        "balance": configuration.balance,
        "augmentation": augmentation,
        "hidden": hidden,
        "epochs": epochs,
        "seed": configuration.seed,
    }
    labels = [[image.image_id, image.grade, image.patient, image.split] for image in dataset.images]
    others = [load_scorer(other) for other in (*teachers, *members)]
    work = store.root / "training" / digest([settings, labels, [one.sha256 for one in others] or None])[:16]
    common: dict[str, Any] = {
        "name": out.name,
        "source": source,
        "further": further,
        "command": command,
        "work": work,
        "progress": progress,
    }
    if members:
        settings = {name: settings[name] for name in ("balance", "hidden", "seed")}
        scorer = join_scorers(dataset, members=others, preparation=configuration.preparation, **settings, **common)
    else:
        scorer = train_scorer(dataset, teachers=others, **settings, **common)
    save_bundle(out, scorer)
    return load_scorer(out), report


def _joined(gathered: Sequence[tuple[Dataset, DatasetReport]]) -> tuple[Dataset, DatasetReport]:
    """Join datasets and reports. Photographs that are in several have what the first says of them."""
    images = {image.image_id: image for dataset, _ in reversed(gathered) for image in dataset.images}
    lines = {
        field.name: sum((getattr(report, field.name) for _, report in gathered), ())
        for field in fields(DatasetReport)
        if field.name != "layout"
    }
    layout = ", ".join(dict.fromkeys(report.layout for _, report in gathered))
    return Dataset(tuple(images[i] for i in sorted(images)), gathered[0][0].scale), DatasetReport(layout, **lines)


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


def _study(
    dataset: Dataset,
    report: DatasetReport,
    configuration: Configuration,
    store: Store,
    progress: Progress,
    clock: _Clock,
    curated: CurationFile | None = None,
    previous: Identities | None = None,
) -> _Study:
    curated, previous = curated or CurationFile(), previous or Identities()
    left_out = set(curated.exclude.images).intersection(dataset.image_ids)
    dataset = leave_out(dataset, curated)
    masks = _masks(dataset, configuration, report, store, progress)
    with clock("scorer"):
        source = _source(configuration)
    with clock("photographs"):
        views, dataset, report = _view_all(dataset, report, source, configuration, store, progress, plates=True)
    with clock("heads"):
        heads = _heads(dataset, source, configuration, store, progress)
    with clock("scores and maps"):
        looks = _look_all(dataset, source, heads, views, configuration, store, progress)
    scores = _scores(looks, dataset, source, heads)
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
        evaluation=_evaluate(scores, heads, dataset, configuration),
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


def _gather(configuration: Configuration, store: Store, progress: Progress) -> tuple[Dataset, DatasetReport]:
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


def _curation(configuration: Configuration) -> CurationFile | None:
    """Read the curation of real photographs, before anything that takes long; None for the embedded cohort."""
    if configuration.images is None:
        return None
    file = configuration.curation or Path(os.path.abspath(configuration.images)).parent / "curation.toml"  # noqa: PTH100
    return read_curation(file) if configuration.curation or file.is_file() else CurationFile()


def _demo_curation(configuration: Configuration, store: Store) -> CurationFile:
    """Read the embedded cohort's curation. Its eyes may be called by their names, with `limit`, too: they name nobody."""
    files = sorted((demo_cohort(store) / "images").iterdir())
    whole = read_files(files, scale=configuration.grade_scale())
    return read_curation(configuration.curation or demo_curation(), names={i.path.stem: i.image_id for i in whole.images})


def demo_cohort(store: Store, progress: Progress = silent) -> Path:
    """Return the folder of the embedded synthetic cohort (`images/`, `masks/`, `grades.csv`), drawn once and kept."""

    def draw(folder: Path) -> None:
        write_cohort(DEMO_COUNT, folder, seed=_DEMO_SEED, size=_DEMO_SIZE, progress=progress)

    return store.keep("synthetic", [DEMO_COUNT, _DEMO_SIZE, _DEMO_SEED, source_digest(atlas.synthetic)], draw)


def _source(configuration: Configuration) -> ScoringSource:
    if not configuration.fit:
        return trained_source(configuration.scorer, configuration.grade_scale())
    return fitted_source(
        configuration.scorer,
        trunk=configuration.trunk,
        trunk_weights=configuration.trunk_weights,
        size=configuration.size,
        preparation=configuration.preparation,
    )


def _view_all(
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


def _heads(dataset: Dataset, source: ScoringSource, configuration: Configuration, store: Store, progress: Progress) -> Heads:
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


def _look_all(
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


def _scores(looks: Sequence[Look], dataset: Dataset, source: ScoringSource, heads: Heads) -> Scores:
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
    _with_masks(dataset, masks)
    return masks


def _with_masks(dataset: Dataset, masks: Path) -> tuple[GradedImage, ...]:
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


def _evaluate(scores: Scores, heads: Heads, dataset: Dataset, configuration: Configuration) -> Evaluation | None:
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


class _Clock:
    """Wall-clock seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - start, 3)
