"""What commands find out about a cohort, photograph by photograph: views, scores, maps and patches.

A photograph on which a stage fails is left out from then on, and the report says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from atlas.agreement.doubt import Looks, doubted
from atlas.agreement.evaluation import evaluate
from atlas.cohort.copies import once
from atlas.cohort.names import stem_of
from atlas.config import Configuration
from atlas.errors import ConfigurationError, DatasetError
from atlas.explain.methods import METHODS
from atlas.explain.windows import inside_cells, windows_inside
from atlas.lesionnets.bundle import load_lesion_net
from atlas.lesionnets.fundus import FundusLesionNet
from atlas.patterns.counts import MOST_CLUSTERS
from atlas.patterns.patches import (
    choose_threshold,
    lesion_patches,
    off_retina,
    only,
    salient_windows,
    with_descriptors,
    with_windows,
)
from atlas.photographs.dicom import lies_in_dicom
from atlas.photographs.frames import cell_box
from atlas.photographs.oddities import TEXT
from atlas.photographs.quality import in_words
from atlas.pipeline.copies import with_copies
from atlas.pipeline.cutting import Cutting, cut_patches
from atlas.pipeline.engine import Fault
from atlas.pipeline.faults import named, without_faults
from atlas.pipeline.groups import groupings
from atlas.pipeline.outlined import Outlining, draw_outlines
from atlas.pipeline.photograph import (
    Explaining,
    Look,
    Preparing,
    Reading,
    View,
    prediction_key,
    prepare_photograph,
    score_photograph,
)
from atlas.pipeline.sources import FittedSource, Scorers, TrainedSource, choose_source, scorers_for
from atlas.pipeline.workshop import Workshop
from atlas.records import (
    DIABETIC_RETINOPATHY,
    Dataset,
    DatasetReport,
    Evaluation,
    FloatArray,
    GradedImage,
    IntArray,
    Lesions,
    Line,
    Mark,
    Patches,
    SaliencyMaps,
    Scale,
    Scores,
    Trust,
)
from atlas.resources import NO_LESION_NET
from atlas.trust.badges import judge

_FEWEST_PER_CLUSTER = 5  # k-means below this many patches a cluster says more about chance than about lesions


@dataclass(frozen=True)
class Seen:
    """Photographs that could be read, what scores them, and what found lesions in them, if anything was to.

    Parameters
    ----------
    views : Mapping[str, View]
        By image_id, in the order of the dataset.
    """

    dataset: Dataset
    report: DatasetReport
    source: TrainedSource | FittedSource
    scorers: Scorers
    views: Mapping[str, View]
    net: FundusLesionNet | None = None


def see(
    workshop: Workshop,
    dataset: Dataset,
    report: DatasetReport,
    *,
    plates: bool = False,
    net: FundusLesionNet | None = None,
    doubt: bool = False,
    source: TrainedSource | FittedSource | None = None,
    copies: bool = False,
) -> Seen:
    """Prepare every photograph, run the network on it, and fit heads where the settings ask for it.

    Parameters
    ----------
    plates : bool
        Draw plates finer than the photographs, too.
    net : FundusLesionNet or None
        Finds lesions.
    doubt : bool
        See what tells how sure a trained scorer is, also where it has no rule for that yet.
    source : TrainedSource | FittedSource or None
        What `choose_source` gives, if it was loaded before.
    copies : bool
        Look for copies of one picture, see `with_copies`: folds and figures of agreement need to know them.

    Raises
    ------
    DatasetError
        Where no photograph can be read.
    """
    source = source or choose_source(workshop, dataset.scale)
    shared = replace(preparing(workshop, source, dataset.scale, plates=plates, net=net, doubt=doubt), copies=copies)
    prepared = list(workshop.each(prepare_photograph, dataset.images, shared, stage="photographs"))
    views, dataset, report = without_faults(dataset.images, prepared, dataset, report)
    if copies:
        dataset, report = with_copies(workshop, dataset, report)
    dataset, report = _good_enough(views, dataset, report, workshop.configuration)
    keys = [prediction_key(image_id, source) for image_id in dataset.image_ids]
    scorers = scorers_for(workshop, dataset, source, keys)
    return Seen(dataset, report, source, scorers, {image_id: views[image_id] for image_id in dataset.image_ids}, net)


def preparing(
    workshop: Workshop,
    source: TrainedSource | FittedSource,
    scale: Scale,
    *,
    plates: bool,
    net: FundusLesionNet | None,
    doubt: bool = False,
) -> Preparing:
    """Return what preparing each photograph needs, see `see`."""
    trained = source.scorer if isinstance(source, TrainedSource) else None
    # Where photographs show something else than the retina, a mirror image may be none of the kind.
    mirror = trained if trained is not None and scale.subject.retina and (doubt or trained.background.doubt is not None) else None
    return Preparing(source, workshop.store, workshop.configuration.plate_side if plates else None, net, mirror)


def lesion_net_of(workshop: Workshop, dataset: Dataset) -> FundusLesionNet | None:
    """Load the lesion net that the settings name; None where they name none, or it does not know the disease or the subject.

    Raises
    ------
    ScorerError
        Where it cannot be loaded.
    """
    settings = workshop.configuration
    scale = dataset.scale
    known = scale.disease == DIABETIC_RETINOPATHY.disease and scale.subject.retina
    if settings.lesion_net == NO_LESION_NET or not known:
        return None
    return load_lesion_net(settings.lesion_net)


def _good_enough(
    views: Mapping[str, View], dataset: Dataset, report: DatasetReport, settings: Configuration
) -> tuple[Dataset, DatasetReport]:
    """Leave out photographs that show no retina, are not as good as the settings ask, or are DICOM with writing at the border.

    The report names them.

    Raises
    ------
    DatasetError
        Where none is left.
    """
    kept, no_retina, too_poor, burnt_in = [], [], [], []
    for image in dataset.images:
        quality = views[image.image_id].quality
        if quality is not None and not quality.retina and not settings.keep_all:
            no_retina.append(no_retina_line(image))
        elif quality is not None and quality.retina and settings.min_quality and not quality.at_least(settings.min_quality):
            why = ", ".join(in_words(quality))
            too_poor.append(Line(str(image.path), f"its quality is {quality.grade}: {why}", "lower --min-quality to keep it"))
        elif quality is not None and TEXT in quality.oddities and not settings.allow_burnt_in and lies_in_dicom(image.path):
            burnt_in.append(Line(str(image.path), "seems to have writing at its border"))
        else:
            kept.append(image)
    if not kept:
        raise DatasetError(
            "none of the photographs can be used: none is a photograph of a retina that is good enough; the first:\n  "
            + (no_retina + too_poor + burnt_in)[0],
            "give photographs of retinas, keep all with --keep-all, lower --min-quality, or give --allow-burnt-in.",
        )
    dataset = replace(dataset, images=tuple(kept))
    report = replace(
        report,
        no_retina=(*report.no_retina, *no_retina),
        too_poor=(*report.too_poor, *too_poor),
        burnt_in=(*report.burnt_in, *burnt_in),
    )
    return dataset, report


def no_retina_line(image: GradedImage) -> Line:
    """Name a photograph that shows no retina."""
    return Line(str(image.path), "shows no retina", "take it out of the folder, or keep it with --keep-all")


@dataclass(frozen=True)
class Explained:
    """Photographs with their scores and maps; looks in the order of the dataset."""

    seen: Seen
    looks: Sequence[Look]
    scores: Scores
    maps: Mapping[str, SaliencyMaps]
    trust: Trust

    @property
    def dataset(self) -> Dataset:
        return self.seen.dataset


def explain(workshop: Workshop, seen: Seen) -> Explained:
    """Score every photograph, and find what drives each score.

    Raises
    ------
    ConfigurationError
        Where a window does not fit on the network's maps.
    """
    settings, dataset = workshop.configuration, seen.dataset
    rows, columns = seen.source.grid
    for name in ("window", "map_window"):
        if getattr(settings, name) > min(rows, columns):
            raise ConfigurationError(
                f"{name} = {getattr(settings, name)}: larger than the {rows} x {columns} cells of the trunk's maps",
                "choose a smaller window.",
            )
    shared = Explaining(
        seen.source,
        seen.scorers,
        workshop.store,
        dataset.target,
        settings.saliency,
        settings.map_window,
        settings.window,
    )
    items = [
        Reading(i, seen.scorers.index[i], view.coverage, view.frame, view.found.marks if view.found else ())
        for i, view in ((i, seen.views[i]) for i in dataset.image_ids)
    ]
    scored = list(workshop.each(score_photograph, items, shared, stage="scores and maps"))
    scored_by_id, dataset, report = without_faults(dataset.images, scored, dataset, seen.report)
    looks = list(scored_by_id.values())
    views = {image_id: seen.views[image_id] for image_id in dataset.image_ids}
    seen = replace(seen, dataset=dataset, report=report, views=views)
    ids = dataset.image_ids
    inside = np.stack([one.inside for one in looks])
    maps = {
        method: SaliencyMaps(ids, method, np.stack([one.maps[method] for one in looks]), inside, settings.map_window)
        for method in sorted(looks[0].maps, key=_place)
    }
    deletion, insertion, random = np.stack([one.curves for one in looks], axis=1)
    badges = tuple(judge(*pair, dataset.scale).word for pair in zip(deletion, random, strict=True))
    seen_by = looks_of(seen, [one.logit for one in looks], [one.members for one in looks])
    scores = gather_scores(seen, [one.severity for one in looks], [one.probabilities for one in looks], seen_by)
    return Explained(seen, looks, scores, maps, Trust(ids, deletion, insertion, random, badges))


def _place(method: str) -> tuple[int, str]:
    """Return the place of a saliency method in a list: in the order of their table, and then those of single grades."""
    known = list(METHODS)
    return (known.index(method), "") if method in known else (len(known), method)


def gather_scores(
    seen: Seen,
    severities: Sequence[float],
    probabilities: Sequence[FloatArray],
    looks: Looks,
) -> Scores:
    """Gather the scores of photographs, in the order of the dataset, with whose patients the scorer learned from, and doubts."""
    rule = None if isinstance(seen.source, FittedSource) else seen.source.scorer.background.doubt
    doubts = None if rule is None else doubted(rule, looks, seen.dataset.scale)
    shares = np.stack(probabilities)
    learned: Iterable[str] = () if isinstance(seen.source, FittedSource) else seen.source.scorer.background.learned
    return Scores(
        seen.dataset.image_ids,
        np.array(severities, np.float32),
        seen.scorers.fitted,
        shares if shares.size else None,
        _seen_in_training(seen.dataset, frozenset(learned)),
        doubts,
    )


def looks_of(seen: Seen, logits: Sequence[float], members: Sequence[FloatArray]) -> Looks:
    """Gather what doubt is measured from, of photographs in the order of the dataset, see `see`."""
    views = [seen.views[image_id] for image_id in seen.dataset.image_ids]
    mirrored = [np.nan if view.mirrored is None else view.mirrored for view in views]
    whole, turned = (np.asarray(values, np.float32) for values in (logits, mirrored))
    return Looks(np.stack(members), whole, turned, np.stack([view.colours for view in views]))


def _seen_in_training(dataset: Dataset, learned: frozenset[str]) -> frozenset[str] | None:
    """Name the photographs of patients whom a scorer learned from; None where its bundle does not tell what it learned from."""
    if not learned:
        return None
    patients = {image.patient for image in dataset.images if image.image_id in learned and image.patient is not None}
    return frozenset(image.image_id for image in dataset.images if image.image_id in learned or image.patient in patients)


def agreement(workshop: Workshop, seen: Seen, scores: Scores) -> Evaluation | None:
    """Compare scores with human grades; None where there are none.

    Patients whom the scorer learned from would flatter it, so they are left out, unless nobody else is left.
    """
    images = {image.image_id: image for image in seen.dataset.images}
    graded = [row for row, image_id in enumerate(scores.image_ids) if images[image_id].grade is not None]
    if not graded:
        return None
    rows = [row for row in graded if scores.unseen(scores.image_ids[row]) is not False] or graded
    rows = once([images[scores.image_ids[row]] for row in rows], rows)
    compared = [images[scores.image_ids[row]] for row in rows]
    return evaluate(
        scores.severity[rows],
        np.array([image.grade for image in compared], np.int64),
        seen.dataset.scale,
        patients=[image.patient or image.image_id for image in compared],
        seed=workshop.configuration.seed,
        probabilities=None if scores.probabilities is None else scores.probabilities[rows],
        reading=seen.scorers.reading,
        labels=seen.scorers.labels,
        unsure=None if scores.doubts is None else [bool(scores.doubts[row]) for row in rows],
        colours=np.stack([seen.views[image.image_id].colours for image in compared]),
        groups=groupings(workshop.configuration, compared, seen.views),
    )


@dataclass(frozen=True)
class Cut:
    """Salient patches, described.

    Parameters
    ----------
    dark, off_retina : FloatArray
        float32 (m,), shares of each that are dark, and that lie off the retina.
    pictures : Mapping[str, Path]
        By patch_id.
    faults : tuple[str, ...]
        Lines on photographs whose patches could not be cut; they have none.
    """

    patches: Patches
    dark: FloatArray
    off_retina: FloatArray
    pictures: Mapping[str, Path] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


def cut_all(workshop: Workshop, explained: Explained) -> Cut:
    """Choose the patches, windows that drive the score or lesions that were found or both, cut them out, and describe them."""
    seen, wished = explained.seen, workshop.configuration.patches
    net = None if wished == "occlusion" else seen.net
    salient = _salient(workshop, explained) if net is None else _found_lesions(workshop, explained)
    if net is not None and wished == "both":
        marks = {i: view.found.marks for i, view in seen.views.items() if view.found is not None}
        salient = with_windows(salient, _salient(workshop, explained), marks)
    frames = {image_id: seen.views[image_id].frame for image_id in explained.dataset.image_ids}
    source, dataset = seen.source, explained.dataset
    described = {row: salient.descriptors[row] for row, kind in enumerate(salient.kinds) if kind}  # a net describes what it finds
    rows: dict[str, list[int]] = {}
    for row, image_id in enumerate(salient.image_ids):
        rows.setdefault(image_id, []).append(row)
    items = [
        Cutting(
            image,
            frames[image.image_id],
            seen.views[image.image_id].folder,
            [salient.patch_ids[row] for row in rows[image.image_id]],
            salient.boxes[rows[image.image_id]],
            [place for place, row in enumerate(rows[image.image_id]) if row not in described],
            seen.views[image.image_id].stretch,
        )
        for image in dataset.images
        if image.image_id in rows
    ]
    dark: FloatArray = np.zeros(len(salient.patch_ids), np.float32)
    pictures: dict[str, Path] = {}
    faults, lost = [], []
    cutting = Preparing(source, workshop.store, net=net)
    for item, detail in zip(items, workshop.each(cut_patches, items, cutting, stage="patches"), strict=True):
        own = rows[item.image.image_id]
        if isinstance(detail, Fault):
            faults.append(f"{named(item.image, detail)} (its patches are left out)")
            lost += own
            continue
        described |= zip((own[place] for place in item.described), detail.descriptors, strict=True)
        dark[own] = detail.dark
        pictures |= {patch_id: detail.folder / f"{patch_id}.jpg" for patch_id in item.patch_ids}
    off = off_retina(salient, {image_id: view.coverage for image_id, view in seen.views.items()})
    kept: IntArray = np.setdiff1d(np.arange(len(salient.patch_ids)), np.array(lost, np.int64))
    descriptors = np.stack([described[row] for row in kept.tolist()]) if kept.size else np.empty((0, 0), np.float32)
    return Cut(with_descriptors(only(salient, kept), descriptors), dark[kept], off[kept], pictures, tuple(faults))


def _salient(workshop: Workshop, explained: Explained) -> Patches:
    """Pick the salient windows of the cohort, by occlusion whatever method draws the maps, as the study did."""
    settings, seen = workshop.configuration, explained.seen
    dataset, ids = explained.dataset, explained.dataset.image_ids
    falls = np.stack([one.drops for one in explained.looks])
    drops = falls if settings.drop_scale == "sigmoid" else np.stack([one.weights for one in explained.looks])
    inside = windows_inside(inside_cells(np.stack([seen.views[i].coverage for i in ids])), settings.window)
    threshold, quantile = choose_threshold(
        drops,
        inside,
        threshold=settings.drop_threshold * dataset.scale.span,
        fewest=(settings.clusters or MOST_CLUSTERS) * _FEWEST_PER_CLUSTER,
        quantile=settings.drop_quantile,
    )
    frames = {image_id: seen.views[image_id].frame for image_id in ids}
    grid = seen.source.grid
    return salient_windows(
        ids, drops, inside, frames, grid, cell_box, window=settings.window, threshold=threshold, quantile=quantile, falls=falls
    )


def _found_lesions(workshop: Workshop, explained: Explained) -> Patches:
    """Take the lesions that the net found, with how far the score falls without the cells that each touches."""
    views = explained.seen.views
    found = {i: view.found for i, view in views.items() if view.found is not None}
    return lesion_patches(
        {i: own.marks for i, own in found.items()},
        {one.image_id: one.falls for one in explained.looks},
        {i: own.descriptors for i, own in found.items()},
        {i: view.frame for i, view in views.items()},
        explained.seen.source.grid,
        threshold=workshop.configuration.drop_threshold * explained.dataset.scale.span,
    )


@dataclass(frozen=True)
class Outlines:
    """Outlined lesions by image_id, the folder of each drawing, their boxes, and lines on masks that could not be used."""

    lesions: Mapping[str, Lesions]
    drawings: Mapping[str, Path]
    marks: Mapping[str, tuple[Mark, ...]] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


def outline_all(workshop: Workshop, seen: Seen, masks: Mapping[str, tuple[Path, ...]]) -> Outlines:
    """Draw round the lesions of the photographs that have masks. A photograph with a mask that cannot be used goes without."""
    images = {image.image_id: image for image in seen.dataset.images if image.image_id in masks}
    items = [
        Outlining(i, stem_of(image.path), seen.views[i].frame, seen.views[i].shape, masks[i], seen.views[i].stretch)
        for i, image in images.items()
    ]
    if not items:
        return Outlines({}, {})
    lesions, drawings, marks, faults = {}, {}, {}, []
    for item, drawn in zip(items, workshop.each(draw_outlines, items, workshop.store, stage="outlines"), strict=True):
        if isinstance(drawn, Fault):
            faults.append(f"{named(images[item.image_id], drawn)} (shown without outlines)")
        elif drawn is not None:
            lesions[item.image_id], drawings[item.image_id], marks[item.image_id] = drawn
    return Outlines(lesions, drawings, marks, tuple(faults))
