"""What a build will read, what it will leave out, and what it will cost, told in seconds.

Headers alone are read of all photographs, and pictures that show no retina are looked for among some of them. The cost is
measured on a few, on this machine with these settings; what is computed for that is kept in the store, so a build afterwards
need not do it again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from atlas.config import Configuration
from atlas.errors import DatasetError, UnreadableImageError
from atlas.lesionnets.fundus import FundusLesionNet
from atlas.photographs.assessment import assess, judged
from atlas.photographs.decode import read_size
from atlas.photographs.opened import LEAST_SIDE, open_disc
from atlas.pipeline.cohort import Cohort, boxes_of, gather, masks_of, require_apart, with_lone_masks
from atlas.pipeline.engine import Fault, single_threaded
from atlas.pipeline.faults import named
from atlas.pipeline.gallery import cells_of
from atlas.pipeline.photograph import Look, View, prediction_key, prepare_photograph
from atlas.pipeline.sources import FittedSource, TrainedSource, choose_source
from atlas.pipeline.study import cut_all, explain, lesion_net_of, no_retina_line, preparing, see
from atlas.pipeline.workshop import Workshop
from atlas.progress import Progress, silent
from atlas.records import Check, Cost, Dataset, DatasetReport, GradedImage, Share, Subject

_SPREAD = 2.0
"""The likely times are the estimate divided and multiplied by this: photographs differ, and the machine may have other work."""

_LOOKED_AT = 100
"""Most photographs whose pictures are looked at: a few seconds. A build looks at all of them."""

_PAGES, _ROWS = 5_500_000, 35_000
"""Bytes of pages, scripts and data: of any atlas, and for each photograph. Measured by `du -sb` on atlases of 16 and of 30
photographs, without the folders of pictures."""

_AFTERWARDS = 20.0, 0.05
"""Seconds for what follows the work on each photograph, from clusters to pages: at least, and for each photograph. From
`atlas build --verbose`."""


def check(configuration: Configuration, *, progress: Progress = silent) -> Check:
    """Tell what a build with these settings will read, leave out and cost. It writes no atlas.

    Raises
    ------
    AtlasError
        What `build_atlas` raises of its settings, photographs, tables and scorer.
    """
    require_apart(configuration)
    workshop = Workshop.of(configuration, progress)
    with single_threaded():
        cohort = gather(workshop, copies=False)
        cohort = with_lone_masks(cohort, workshop, masks_of(cohort, workshop))
        net = lesion_net_of(workshop, cohort.dataset)
        found = check_cohort(workshop, cohort, choose_source(workshop, cohort.dataset.scale), net)
        return replace(found, report=_with_pictures(workshop, cohort, found.report))


def check_cohort(workshop: Workshop, cohort: Cohort, source: TrainedSource | FittedSource, net: FundusLesionNet | None) -> Check:
    """Tell what a build of photographs that were gathered will read, leave out and cost, see `check`."""
    sizes, faults = _sizes(cohort.dataset.images, workshop.progress)
    if not sizes:
        raise DatasetError("none of the photographs can be used; the first fault is:\n  " + faults[0])
    boxes = boxes_of(cohort, workshop)
    images = [image for image in cohort.dataset.images if image.image_id in sizes]
    by_size = sorted(images, key=lambda image: (sizes[image.image_id][0] * sizes[image.image_id][1], image.image_id))
    splits: dict[str, set[str]] = {}
    for image in images:
        if image.patient and image.split:
            splits.setdefault(image.patient, set()).add(image.split)
    grades: list[int | None] = [*cohort.dataset.scale.grades, None]
    shares = {grade: Share.of([image for image in images if image.grade == grade]) for grade in grades}
    return Check(
        replace(cohort.report, unreadable=(*cohort.report.unreadable, *faults, *boxes.faults)),
        cohort.dataset.scale,
        Share.of(images),
        {grade: share for grade, share in shares.items() if share.photographs or grade is not None},
        sum(image.patient is None for image in images),
        tuple(sorted(patient for patient, own in splits.items() if len(own) > 1)),
        tuple(sizes[by_size[place].image_id] for place in (0, len(images) // 2, -1)),
        len(masks_of(cohort, workshop)),
        len(boxes.boxed),
        _cost(workshop, cohort, by_size, source, net),
    )


def _with_pictures(workshop: Workshop, cohort: Cohort, report: DatasetReport) -> DatasetReport:
    """Look for pictures that show no retina, and say so; of many photographs, look at some."""
    images, settings = cohort.dataset.images, workshop.configuration
    if not cohort.dataset.scale.subject.retina or settings.keep_all:
        return report
    looked = images[:: max(1, -(-len(images) // _LOOKED_AT))]
    results = list(workshop.each(show_retina, looked, cohort.dataset.scale.subject, stage="pictures"))
    lines = tuple(no_retina_line(image) for image, shown in zip(looked, results, strict=True) if shown is False)
    if not lines or len(looked) == len(images):
        return replace(report, no_retina=lines)
    sentence = f"{len(looked):,} of the {len(images):,} photographs were looked at; {len(lines):,} of these show no retina."
    return replace(report, no_retina=lines, guesses=(*report.guesses, sentence))


def show_retina(image: GradedImage, subject: Subject) -> bool:
    """Tell whether a photograph shows a retina. A task, see `engine`."""
    quality = judged(assess(open_disc(image.path, subject, least=LEAST_SIDE)))
    return quality is None or quality.retina


def _sizes(images: Sequence[GradedImage], progress: Progress) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """Read rows and columns of each photograph from its header; give a line for each that cannot be read."""
    sizes, faults = {}, list[str]()
    for done, image in enumerate(images, start=1):
        try:
            sizes[image.image_id] = read_size(image.path)
        except UnreadableImageError as error:
            faults.append(named(image, Fault(error.message, error.remedy)))
        progress("headers", done, len(images))
    return sizes, faults


def _cost(
    workshop: Workshop,
    cohort: Cohort,
    by_size: Sequence[GradedImage],
    source: TrainedSource | FittedSource,
    net: FundusLesionNet | None,
) -> Cost | None:
    """Measure the work on a few photographs, from small to large, that the store does not know yet."""
    store, workers = workshop.store, workshop.engine.workers
    workshop.progress("cost", 0, 0)
    settings = workshop.configuration.model_copy(update={"keep_all": True, "min_quality": None})
    workshop = replace(workshop, configuration=settings, progress=silent, seconds={})
    known = {i.image_id for i in by_size if store.path("predictions", prediction_key(i.image_id, source)).is_dir()}
    fresh = [image for image in by_size if image.image_id not in known]
    count = max(2, workers)  # as many as are worked on at a time
    if len(fresh) <= count + 1:
        return None
    first = fresh[len(fresh) // 2]
    others = [image for image in fresh if image is not first]
    timed = [others[(2 * k + 1) * len(others) // (2 * count)] for k in range(count)]
    try:
        # The first photograph takes longer than others: libraries prepare what they then keep.
        _work(workshop, cohort, [first], source, net)
        began = time.perf_counter()
        made = _work(workshop, cohort, timed, source, net)
        each = (time.perf_counter() - began) / made.photographs
    except DatasetError:  # none of these few can be read; the build says why
        return None
    held = _bytes(file for entry in made.entries for file in entry.iterdir()) / made.photographs
    shown = made.shown / made.photographs
    least, more = _AFTERWARDS
    seconds = each * len(fresh) + max(least, more * len(by_size))
    return Cost(
        len(timed),
        len(known),
        (seconds / _SPREAD, seconds * _SPREAD),
        round(_PAGES + (shown + _ROWS) * len(by_size)),
        round(held * len(fresh)),
        isinstance(source, FittedSource),
    )


@dataclass(frozen=True)
class _Made:
    """What was made of a few photographs: how many they are, entries of the store, and the bytes that an atlas shows of them."""

    photographs: int
    entries: set[Path]
    shown: int


def _work(
    workshop: Workshop,
    cohort: Cohort,
    images: Sequence[GradedImage],
    source: TrainedSource | FittedSource,
    net: FundusLesionNet | None,
) -> _Made:
    """Do a build's work on photographs, as far as it can be done without the others."""
    dataset = Dataset(tuple(sorted(images, key=lambda image: image.image_id)), cohort.dataset.scale)
    looks: Sequence[Look] = ()
    pictures: list[Path] = []
    cells = 0
    if isinstance(source, FittedSource):
        shared = preparing(workshop, source, dataset.scale, plates=True, net=net)
        done = list(workshop.each(prepare_photograph, dataset.images, shared, stage="photographs"))
        views = {view.image_id: view for view in done if not isinstance(view, Fault)}
        faults = [named(image, one) for image, one in zip(dataset.images, done, strict=True) if isinstance(one, Fault)]
        if not views:
            raise DatasetError("none of the photographs that were tried can be used; the first fault is:\n  " + faults[0])
    else:
        explained = explain(workshop, see(workshop, dataset, cohort.report, plates=True, net=net, source=source))
        cut = cut_all(workshop, explained)
        looks = explained.looks
        views = {look.image_id: explained.seen.views[look.image_id] for look in looks}
        pictures += cut.pictures.values()
        cells = sum(len(cells_of(look, explained.seen, workshop.store)) for look in looks if look.live)
    for view in views.values():
        pictures += _pictures(view)
    entries = {file.parent for file in pictures} | {look.folder for look in looks}
    entries |= {workshop.store.path("predictions", prediction_key(image_id, source)) for image_id in views}
    return _Made(len(views), entries, _bytes(set(pictures)) + cells)


def _pictures(view: View) -> list[Path]:
    plates = [] if view.plate is None else [view.plate]
    return [view.photograph, view.folder / "thumbnail.jpg", view.folder / "retina.png", *plates]


def _bytes(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files)
