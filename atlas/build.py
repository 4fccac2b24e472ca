"""The pipeline, from a folder of graded photographs to a static atlas. Read `build_atlas` as the specification.

Everything is gathered before anything is written; each photograph's results are kept in the store as soon as they are known, so a
killed build goes on where it stopped, and an atlas that stands is replaced only by a whole one.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

import atlas.dataset
import atlas.gradcam
import atlas.occlusion
import atlas.preprocess
import atlas.records
import atlas.saliency
import atlas.scorer
import atlas.synthetic
import atlas.training
import atlas.trunks
from atlas.clusters import cluster
from atlas.config import Configuration
from atlas.dataset import read_dataset, read_files
from atlas.embedding import embed
from atlas.engine import run, single_threaded
from atlas.errors import ConfigurationError, DatasetError, UnreadableImageError
from atlas.evaluation import evaluate
from atlas.patches import choose_threshold, salient_windows, windows_inside, with_descriptors
from atlas.preprocess import cell_box, cell_coverage, crop, prepare, prepared_at_source, read_photograph
from atlas.progress import Progress, silent
from atlas.records import (
    Atlas,
    BoolArray,
    Clusters,
    Dataset,
    DatasetReport,
    Evaluation,
    FeatureMaps,
    FloatArray,
    Frame,
    GradedImage,
    Head,
    Patches,
    Provenance,
    SaliencyMaps,
    Scale,
    Scores,
)
from atlas.saliency import inside_cells, saliency_maps
from atlas.scorer import TransferredScorer, cell_sums, load_scorer, severity
from atlas.site.images import encode_jpeg, thumbnail
from atlas.site.render import render_report, render_site
from atlas.site.tables import write_tables
from atlas.store import Publication, Store, digest, source_digest
from atlas.strip import rank
from atlas.synthetic import write_cohort
from atlas.training import fit_out_of_fold
from atlas.trunks import Trunk, load_trunk

DEMO_COUNT = 240
"""Eyes in the embedded synthetic cohort: enough for every grade and every lesion to be seen, few enough to build in minutes."""

_DEMO_SIZE = 640
_DEMO_SEED = 20
_PLATE = 1024  # longest side of a photograph in the site, pixels
_THUMBNAIL = 160
_PATCH = 128  # side of a patch's picture in the site, pixels
_PACKAGES = ("lesion-atlas", "torch", "torchvision", "scikit-learn", "openTSNE", "umap-learn", "opencv-python", "numpy", "plotly")
_FEWEST_PER_CLUSTER = 5  # k-means below this many patches a cluster says more about chance than about lesions


@dataclass(frozen=True)
class BuildResult:
    """What a build made. `report` names files: for the terminal only."""

    out: Path
    atlas: Atlas
    report: DatasetReport
    timings: Mapping[str, float] = field(default_factory=dict)


def build_atlas(configuration: Configuration, *, progress: Progress = silent) -> BuildResult:
    """Build the atlas that `configuration` asks for into its `out` folder.

    Raises ConfigurationError, DatasetError, ScorerError or StoreError; in each case, and when interrupted, an atlas that stood at
    `out` still stands, and what was computed is kept in the store.
    """
    if configuration.out is None:
        raise ConfigurationError("out: no folder to write the atlas to", "give --out DIR, or the key out in atlas.toml.")
    store = Store(configuration.store)
    clock = _Clock()
    with Publication(configuration.out, store) as folder, single_threaded():
        with clock("dataset"):
            dataset, report = _gather(configuration, store, progress)
        study = _study(dataset, report, configuration, store, progress, clock)
        names = {image.image_id: image.path.name for image in study.images} if configuration.keep_names else None
        with clock("site"), study.pictures(store) as pictures:
            render_site(study.atlas, pictures, folder, names=names, progress=progress)
            write_tables(study.atlas, folder / "tables", names=names)
            _write_run(folder / "run.json", study.atlas.provenance)
        store.keep_files_key(configuration.out, ((image.image_id, image.path) for image in study.images))
    store.note(configuration.out, "timings", clock.seconds)
    return BuildResult(configuration.out, study.atlas, study.report, clock.seconds)


def build_report(
    files: Sequence[Path], file: Path, configuration: Configuration, *, progress: Progress = silent
) -> DatasetReport:
    """Write one self-contained page with the saliency report of each photograph in `files`; return what could not be read.

    Raises ConfigurationError, DatasetError, ScorerError or StoreError.
    """
    store = Store(configuration.store)
    with single_threaded():
        dataset = read_files(files, scale=configuration.grade_scale())
        study = _study(dataset, DatasetReport("files"), configuration, store, progress, _Clock())
        with study.pictures(store) as pictures:
            render_report(study.atlas, pictures, [image.image_id for image in study.images], file)
    return study.report


def evaluate_scorer(configuration: Configuration, *, progress: Progress = silent) -> tuple[Evaluation, DatasetReport]:
    """Score the graded photographs of `configuration` and return the scores' agreement with the human grades.

    Raises DatasetError where no photograph has a grade, and what `build_atlas` raises.
    """
    store = Store(configuration.store)
    with single_threaded():
        dataset, report = _gather(configuration, store, progress)
        if not dataset.graded:
            raise DatasetError("no photograph has a grade", "give --grades.")
        source = _scoring_source(configuration)
        seen, dataset, report = _see(dataset, report, source, configuration, store, progress)
        heads = _heads(dataset, source, store, configuration, progress)
        looks = _looks(dataset, source, heads, seen, store, configuration, progress)
        scores = Scores(
            tuple(look.image_id for look in looks), np.array([look.severity for look in looks], np.float32), heads.fitted
        )
        evaluation = _evaluation(scores, dataset, configuration)
    assert evaluation is not None
    return evaluation, report


@dataclass(frozen=True)
class _Study:
    """All that was gathered of a dataset, before anything is written."""

    atlas: Atlas
    report: DatasetReport
    seen: Mapping[str, _View]
    patch_pictures: Mapping[str, Path]

    @property
    def images(self) -> tuple[GradedImage, ...]:
        return self.atlas.dataset.images

    @contextmanager
    def pictures(self, store: Store) -> Iterator[Path]:
        """Give a folder that holds links to the store's pictures in the order that the site expects."""
        with tempfile.TemporaryDirectory(dir=store.root) as scratch:
            folder = Path(scratch)
            for name in ("photographs", "thumbnails", "patches"):
                (folder / name).mkdir()
            for image_id, view in self.seen.items():
                (folder / "photographs" / f"{image_id}.jpg").symlink_to(view.folder / "photograph.jpg")
                (folder / "thumbnails" / f"{image_id}.jpg").symlink_to(view.folder / "thumbnail.jpg")
            for patch_id, file in self.patch_pictures.items():
                (folder / "patches" / f"{patch_id}.jpg").symlink_to(file)
            yield folder


def _study(
    dataset: Dataset, report: DatasetReport, configuration: Configuration, store: Store, progress: Progress, clock: _Clock
) -> _Study:
    """Compute everything, stage by stage."""
    with clock("scorer"):
        source = _scoring_source(configuration)
    with clock("photographs"):
        seen, dataset, report = _see(dataset, report, source, configuration, store, progress)
    with clock("heads"):
        heads = _heads(dataset, source, store, configuration, progress)
    with clock("scores and maps"):
        looks = _looks(dataset, source, heads, seen, store, configuration, progress)
    scores, maps, patches = _collect(dataset, looks, seen, source, heads, configuration)
    with clock("patches"):
        patches, pictures = _describe(patches, dataset, source, store, configuration, progress)
    clusters = embedding = None
    if len(patches.patch_ids) >= 2:
        with clock("clusters"):
            progress("clusters", 0, 0)
            clusters = cluster(patches, k=configuration.clusters, seed=configuration.seed)
        with clock("layout"):
            progress("layout", 0, 0)
            embedding = embed(patches, layout=configuration.layout, seed=configuration.seed)
    grades = {image.image_id: image.grade for image in dataset.images}
    notes = _notes(dataset, patches, heads, configuration)
    made = Atlas(
        dataset=dataset,
        scores=scores,
        maps=maps,
        strip=rank(scores, grades, dataset.scale),
        provenance=_provenance(configuration, dataset, report, source, heads, patches, clusters, notes),
        patches=patches if patches.patch_ids else None,
        clusters=clusters,
        embedding=embedding,
        evaluation=_evaluation(scores, dataset, configuration),
        frames={image_id: view.frame for image_id, view in seen.items()},
    )
    return _Study(made, report, seen, pictures)


# ---- dataset -------------------------------------------------------------------------------------------------------------------


def _gather(configuration: Configuration, store: Store, progress: Progress) -> tuple[Dataset, DatasetReport]:
    images, grades = configuration.images, configuration.grades
    if images is None:
        if configuration.scale is not None:
            raise ConfigurationError(
                "scale: the embedded synthetic cohort draws diabetic retinopathy only", "give IMAGES, or leave [scale] out."
            )
        cohort = demo_cohort(store, progress)
        images, grades = cohort / "images", cohort / "grades.csv"
    progress("dataset", 0, 0)
    return read_dataset(
        images,
        grades,
        scale=configuration.grade_scale(),
        image_column=configuration.image_column,
        grade_column=configuration.grade_column,
        patient_column=configuration.patient_column,
        eye_column=configuration.eye_column,
        limit=configuration.limit,
        seed=configuration.seed,
    )


def demo_cohort(store: Store, progress: Progress = silent) -> Path:
    """Return the folder of the embedded synthetic cohort (`images/`, `masks/`, `grades.csv`), drawn once and kept."""
    parts = {"count": DEMO_COUNT, "size": _DEMO_SIZE, "seed": _DEMO_SEED, "source": source_digest(atlas.synthetic)}

    def write(folder: Path) -> None:
        write_cohort(DEMO_COUNT, folder, seed=_DEMO_SEED, size=_DEMO_SIZE, progress=progress)

    return store.keep("synthetic", parts, write)


# ---- the scorer ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Source:
    """Where scores come from: a trunk and a preparation, and a head unless it is fitted on this cohort."""

    trunk: Trunk
    preparation: str
    scorer: TransferredScorer | None
    name: str
    card: str


def _scoring_source(configuration: Configuration) -> _Source:
    if configuration.trunk is not None:
        assert configuration.trunk_weights is not None
        weights: Any = configuration.trunk_weights
        trunk = load_trunk(configuration.trunk, weights if weights == "imagenet" else Path(weights), size=configuration.size)
        return _Source(trunk, configuration.preparation or "standardise", None, f"{trunk.name}, fitted on this cohort", "")
    scorer = load_scorer(configuration.scorer)
    if configuration.fit:
        name = f"{scorer.trunk.name} of {scorer.name}, fitted on this cohort"
        trunk = scorer.trunk
        if configuration.size is not None:
            trunk = load_trunk(trunk.name, trunk.state_dict(), size=configuration.size)
        return _Source(trunk, configuration.preparation or scorer.preparation, None, name, "")
    scale = configuration.grade_scale()
    if len(scorer.scale.names) != len(scale.names):
        raise ConfigurationError(
            f"scorer {scorer.name}: learned {len(scorer.scale.names)} grades of {scorer.scale.disease}; "
            f"[scale] names {len(scale.names)} of {scale.disease}",
            "use --fit to fit a head on this cohort, or name a scorer trained on this scale.",
        )
    return _Source(scorer.trunk, scorer.preparation, scorer, scorer.name, scorer.card)


# ---- one photograph at a time --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _View:
    """One photograph as the site shows it: where its pictures lie in the store, its frame, and its cells' share of retina."""

    image_id: str
    folder: Path
    frame: Frame = field(default_factory=lambda: Frame(0, 0, 0))
    coverage: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    fault: str | None = None


def _see(
    dataset: Dataset,
    report: DatasetReport,
    source: _Source,
    configuration: Configuration,
    store: Store,
    progress: Progress,
) -> tuple[dict[str, _View], Dataset, DatasetReport]:
    """See every photograph; those that cannot be read are left out of the dataset and listed in the report."""
    task = partial(_view, source=source, store=store)
    views = list(run(task, dataset.images, stage="photographs", workers=configuration.workers, progress=progress))
    faults = {view.image_id: view.fault for view in views if view.fault is not None}
    readable = tuple(image for image in dataset.images if image.image_id not in faults)
    if not readable:
        raise DatasetError("none of the photographs can be read", next(iter(faults.values())))
    seen = {view.image_id: view for view in views if view.fault is None}
    return seen, replace(dataset, images=readable), replace(report, unreadable=tuple(faults.values()))


def _view(image: GradedImage, *, source: _Source, store: Store) -> _View:
    """Decode and prepare once; keep the pictures for the site and the trunk's maps."""
    sources = source_digest(atlas.preprocess, atlas.site.images)
    decoded = cache(partial(read_photograph, image.path))
    prepared = cache(lambda: prepare(image.image_id, decoded(), size=source.trunk.size, preparation=source.preparation))

    def write_pictures(folder: Path) -> None:
        frame = prepared().frame
        plate = crop(decoded(), frame, side=min(_PLATE, frame.side))
        (folder / "photograph.jpg").write_bytes(encode_jpeg(plate))
        (folder / "thumbnail.jpg").write_bytes(encode_jpeg(thumbnail(plate, _THUMBNAIL)))
        save_file({"frame": np.array([frame.top, frame.left, frame.side])}, folder / "frame.safetensors")

    try:
        pictures = store.keep("pictures", [image.image_id, _PLATE, _THUMBNAIL, sources], write_pictures)
        parts = [*_input_parts(image, source), "maps"]
        made = store.keep_arrays(
            "maps",
            parts,
            lambda: {
                "features": source.trunk.maps(prepared().pixels[None])[0],
                "coverage": cell_coverage(prepared().retina, source.trunk.shape),
            },
        )
    except UnreadableImageError as error:
        return _View(image.image_id, image.path, fault=str(error))
    top, left, side = (int(value) for value in load_file(pictures / "frame.safetensors")["frame"])
    return _View(image.image_id, pictures, Frame(top, left, side), made["coverage"])


def _input_parts(image: GradedImage, source: _Source) -> list[Any]:
    """All that a photograph's maps depend on."""
    trunk = source.trunk
    return [
        image.image_id,
        source.preparation,
        trunk.name,
        trunk.size,
        trunk.sha256,
        source_digest(atlas.preprocess, atlas.trunks),
        importlib.metadata.version("torch"),
    ]


def _features(image: GradedImage, source: _Source, store: Store) -> FeatureMaps:
    entry = store.path("maps", [*_input_parts(image, source), "maps"])
    values = load_file(entry / "arrays.safetensors")["features"]
    return FeatureMaps((image.image_id,), values[None], source.trunk.stride)


# ---- heads ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Heads:
    """The head that scores each image. `sha256` covers all of them; `fitted` says that they learned from this cohort."""

    heads: tuple[Head, ...]
    of: Mapping[str, int]
    sha256: tuple[str, ...]
    fitted: bool

    def head(self, image_id: str) -> Head:
        return self.heads[self.of[image_id]]


def _head_digest(head: Head) -> str:
    total = hashlib.sha256()
    for array in (head.hidden_weight, head.hidden_bias, head.output_weight, np.float32(head.output_bias)):
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def _heads(
    dataset: Dataset,
    source: _Source,
    store: Store,
    configuration: Configuration,
    progress: Progress,
) -> _Heads:
    if source.scorer is not None:
        head = source.scorer.head
        return _Heads((head,), dict.fromkeys(dataset.image_ids, 0), (_head_digest(head),), fitted=False)
    if not dataset.graded:
        raise ConfigurationError("fit: the photographs have no grades to learn from", "give --grades, or leave --fit out.")
    labels = [[image.image_id, image.grade, image.patient] for image in dataset.images]
    parts = [
        labels,
        dataset.scale.lowest,
        dataset.scale.span,
        _input_parts(dataset.images[0], source)[1:],
        configuration.folds,
        configuration.balance,
        configuration.seed,
        source_digest(atlas.training, atlas.records),
    ]

    def fit() -> dict[str, Any]:
        shape = (len(dataset.images), source.trunk.channels, *source.trunk.shape)
        # On disk, not in memory: the maps of a large cohort are larger than the machine.
        with tempfile.TemporaryFile(dir=store.root) as file:
            features = np.memmap(file, np.float32, "w+", shape=shape)
            for index, image in enumerate(dataset.images):
                features[index] = _features(image, source, store).values[0]
            folded = fit_out_of_fold(
                dataset.images,
                features,
                dataset.scale,
                folds=configuration.folds,
                seed=configuration.seed,
                balance=configuration.balance,
                progress=progress,
            )
            del features
        arrays: dict[str, Any] = {"of": np.array([folded.fold_of[image.image_id] for image in dataset.images])}
        for index, head in enumerate(folded.heads):
            arrays[f"{index}.hidden_weight"] = head.hidden_weight
            arrays[f"{index}.hidden_bias"] = head.hidden_bias
            arrays[f"{index}.output_weight"] = head.output_weight
            arrays[f"{index}.output_bias"] = np.array([head.output_bias], np.float32)
        return arrays

    arrays = store.keep_arrays("heads", parts, fit)
    heads = tuple(
        Head(
            arrays[f"{index}.hidden_weight"],
            arrays[f"{index}.hidden_bias"],
            arrays[f"{index}.output_weight"],
            float(arrays[f"{index}.output_bias"][0]),
        )
        for index in range(sum(name.endswith("output_bias") for name in arrays))
    )
    of = dict(zip(dataset.image_ids, arrays["of"].tolist(), strict=True))
    return _Heads(heads, of, tuple(map(_head_digest, heads)), fitted=True)


# ---- scores and maps -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Look:
    """One image's severity, its saliency map (h, w), and the drop of each candidate window, all in grade units."""

    image_id: str
    severity: float
    map: FloatArray
    drops: FloatArray
    inside: BoolArray


def _looks(
    dataset: Dataset,
    source: _Source,
    heads: _Heads,
    seen: Mapping[str, _View],
    store: Store,
    configuration: Configuration,
    progress: Progress,
) -> list[_Look]:
    rows, cols = source.trunk.shape
    for name in ("window", "map_window"):
        size = getattr(configuration, name)
        if size > min(rows, cols):
            raise ConfigurationError(
                f"{name} = {size}: larger than the {rows} x {cols} cells of the trunk's maps", "choose a smaller window."
            )
    task = partial(_look, source=source, heads=heads, seen=seen, store=store, configuration=configuration, scale=dataset.scale)
    return list(run(task, dataset.images, stage="scores and maps", workers=configuration.workers, progress=progress))


def _look(
    image: GradedImage,
    *,
    source: _Source,
    heads: _Heads,
    seen: Mapping[str, _View],
    store: Store,
    configuration: Configuration,
    scale: Scale,
) -> _Look:
    image_id = image.image_id
    head = heads.head(image_id)
    inside = inside_cells(seen[image_id].coverage[None])
    parts = [
        *_input_parts(image, source),
        heads.sha256[heads.of[image_id]],
        configuration.saliency,
        configuration.map_window,
        configuration.window,
        scale.lowest,
        scale.span,
        source_digest(atlas.scorer, atlas.saliency, atlas.occlusion, atlas.gradcam, atlas.records),
    ]

    def make() -> dict[str, Any]:
        features = _features(image, source, store)
        sums = cell_sums(features, head)
        maps = saliency_maps(configuration.saliency, features, sums, head, scale, inside=inside, window=configuration.map_window)
        return {
            "severity": severity(sums, head, scale).severity,
            "map": maps.values[0],
            "inside": maps.inside[0],
            "drops": atlas.occlusion.drops(sums, head, scale, window=configuration.window)[0],
        }

    made = store.keep_arrays("looks", parts, make)
    return _Look(image_id, float(made["severity"][0]), made["map"], made["drops"], made["inside"])


def _collect(
    dataset: Dataset,
    looks: Sequence[_Look],
    seen: Mapping[str, _View],
    source: _Source,
    heads: _Heads,
    configuration: Configuration,
) -> tuple[Scores, SaliencyMaps, Patches]:
    """Join what was seen of each image into records, and pick the salient windows of the whole cohort."""
    ids = tuple(look.image_id for look in looks)
    scores = Scores(ids, np.array([look.severity for look in looks], np.float32), out_of_fold=heads.fitted)
    maps = SaliencyMaps(
        ids, configuration.saliency, np.stack([look.map for look in looks]), np.stack([look.inside for look in looks])
    )
    drops = np.stack([look.drops for look in looks])
    cells = inside_cells(np.stack([seen[image_id].coverage for image_id in ids]))
    inside = windows_inside(cells, configuration.window)
    threshold, quantile = choose_threshold(
        drops,
        inside,
        threshold=configuration.drop_threshold * dataset.scale.span,
        fewest=configuration.clusters * _FEWEST_PER_CLUSTER,
        quantile=configuration.drop_quantile,
    )
    patches = salient_windows(
        ids,
        drops,
        inside,
        {image_id: seen[image_id].frame for image_id in ids},
        source.trunk.shape,
        cell_box,
        window=configuration.window,
        threshold=threshold,
        quantile=quantile,
    )
    return scores, maps, patches


# ---- patches -------------------------------------------------------------------------------------------------------------------


def _describe(
    patches: Patches,
    dataset: Dataset,
    source: _Source,
    store: Store,
    configuration: Configuration,
    progress: Progress,
) -> tuple[Patches, Mapping[str, Path]]:
    """Cut each patch from its photograph in detail and pass it through the trunk; return patches and their pictures' files."""
    rows: dict[str, list[int]] = {}
    for row, image_id in enumerate(patches.image_ids):
        rows.setdefault(image_id, []).append(row)
    images = [image for image in dataset.images if image.image_id in rows]
    task = partial(_describe_one, patches=patches, rows=rows, source=source, store=store)
    descriptors = np.zeros((len(patches.patch_ids), source.trunk.channels), np.float32)
    pictures: dict[str, Path] = {}
    for image, (values, folder) in zip(
        images, run(task, images, stage="patches", workers=configuration.workers, progress=progress), strict=True
    ):
        own = rows[image.image_id]
        descriptors[own] = values
        pictures |= {patches.patch_ids[row]: folder / f"{patches.patch_ids[row]}.jpg" for row in own}
    return with_descriptors(patches, descriptors), pictures


def _describe_one(
    image: GradedImage, *, patches: Patches, rows: Mapping[str, list[int]], source: _Source, store: Store
) -> tuple[FloatArray, Path]:
    own = rows[image.image_id]
    boxes = patches.boxes[own]
    parts = [
        *_input_parts(image, source),
        boxes.tolist(),
        _PLATE,
        _PATCH,
        source_digest(atlas.site.images, atlas.records),
    ]

    def write(folder: Path) -> None:
        pixels, plate, frame = prepared_at_source(read_photograph(image.path), preparation=source.preparation, longest=_PLATE)
        ratio = pixels.shape[0] / frame.side
        values = []
        for row, box in zip(own, boxes, strict=True):
            # From source pixels to the plate's, which may be smaller.
            top, left = round((box[0] - frame.top) * ratio), round((box[1] - frame.left) * ratio)
            bottom, right = round((box[2] - frame.top) * ratio), round((box[3] - frame.left) * ratio)
            inputs = thumbnail(pixels[top:bottom, left:right], source.trunk.size)
            values.append(source.trunk.describe(inputs[None])[0])
            picture = thumbnail(plate[top:bottom, left:right], _PATCH)
            (folder / f"{patches.patch_ids[row]}.jpg").write_bytes(encode_jpeg(picture))
        save_file({"descriptors": np.stack(values)}, folder / "descriptors.safetensors")

    folder = store.keep("patches", parts, write)
    return load_file(folder / "descriptors.safetensors")["descriptors"], folder


# ---- what the reader is told ---------------------------------------------------------------------------------------------------


def _notes(dataset: Dataset, patches: Patches, heads: _Heads, configuration: Configuration) -> tuple[str, ...]:
    notes = []
    if not dataset.graded:
        notes.append("The photographs have no human grades: agreement, grade shares and disagreement are left out.")
    if heads.fitted:
        notes.append(
            f"Each photograph was scored by one of {len(heads.heads)} heads, one that learned from other patients only "
            "(out of fold)."
        )
    elif configuration.images is not None:
        notes.append(
            "The scores come from a scorer that was trained on other photographs; how well it transfers to these cameras and "
            "patients shows only in the agreement with human grades."
        )
    if patches.quantile is not None:
        notes.append(
            f"Too few windows dropped the score by {configuration.drop_threshold:g} of the sigmoid's scale; the patches are "
            f"instead the windows above quantile {patches.quantile:g} of all drops on the retina, "
            f"{patches.threshold:.3f} grade units."
        )
    if len(patches.patch_ids) < 2:
        notes.append("Fewer than two salient windows were found: the patch map and the clusters are left out.")
    return tuple(notes)


def _evaluation(scores: Scores, dataset: Dataset, configuration: Configuration) -> Evaluation | None:
    graded = [image for image in dataset.images if image.grade is not None]
    if not graded:
        return None
    severities = scores.of()
    return evaluate(
        np.array([severities[image.image_id] for image in graded], np.float32),
        np.array([image.grade for image in graded]),
        dataset.scale,
        patients=[image.patient or image.image_id for image in graded],
        seed=configuration.seed,
    )


def _provenance(
    configuration: Configuration,
    dataset: Dataset,
    report: DatasetReport,
    source: _Source,
    heads: _Heads,
    patches: Patches,
    clusters: Clusters | None,
    notes: tuple[str, ...],
) -> Provenance:
    scale = dataset.scale
    synthetic = configuration.images is None
    settings = {
        **configuration.model_dump(
            mode="json",
            # Paths and what does not change the result stay out: a path can name a patient.
            exclude={"images", "grades", "out", "store", "workers", "title", "scorer", "trunk", "trunk_weights", "scale"},
        ),
        "scorer": source.name,
        "trunk": source.trunk.name,
        "size": source.trunk.size,
        "preparation": source.preparation,
        "grade_table": "embedded synthetic cohort" if synthetic else report.layout,
        "scale": {"lowest": scale.lowest, "names": list(scale.names), "referable": scale.referable, "disease": scale.disease},
        "drop_threshold_used": round(patches.threshold, 6),
        "drop_quantile_used": patches.quantile,
    }
    packages = (
        "lesion-atlas",
        "torch",
        "torchvision",
        "scikit-learn",
        "openTSNE",
        "umap-learn",
        "opencv-python",
        "numpy",
        "plotly",
    )
    counts = {"images": len(dataset.images)}
    for grade in scale.grades:
        counts[f"grade {grade}"] = sum(image.grade == grade for image in dataset.images)
    counts["ungraded"] = sum(image.grade is None for image in dataset.images)
    counts["patches"] = len(patches.patch_ids)
    counts["clusters"] = len(clusters.centroids) if clusters else 0
    for name in (
        "rows_without_file",
        "files_without_row",
        "grades_off_scale",
        "conflicting_duplicates",
        "identical_files",
        "unreadable",
    ):
        counts[name.replace("_", " ")] = len(getattr(report, name))
    title = configuration.title or ("A synthetic atlas of " if synthetic else "An atlas of ") + scale.disease
    return Provenance(
        title=title,
        settings=settings,
        versions={"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in _PACKAGES}},
        hashes={
            "dataset": digest([[image.image_id, image.grade] for image in dataset.images]),
            "trunk": source.trunk.sha256,
            "heads": digest(list(heads.sha256)),
        },
        counts=counts,
        scorer=source.name,
        card=source.card,
        notes=notes,
        synthetic=synthetic,
    )


def _write_run(file: Path, provenance: Provenance) -> None:
    run = {
        "title": provenance.title,
        "scorer": provenance.scorer,
        "settings": provenance.settings,
        "counts": provenance.counts,
        "hashes": provenance.hashes,
        "versions": provenance.versions,
        "notes": provenance.notes,
        "synthetic": provenance.synthetic,
    }
    file.write_text(json.dumps(run, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


class _Clock:
    """Wall-clock seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def _measure(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - start, 3)

    def __call__(self, stage: str) -> Any:
        return self._measure(stage)
