"""Training a lesion net, and measuring how well it finds lesions."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from atlas.agreement.statistics import area_under_roc, once
from atlas.cohort.boxes import Boxes, read_boxes
from atlas.cohort.lesions import LATE, coarsely, kind_of
from atlas.cohort.masks import find_masks
from atlas.cohort.names import stem_of
from atlas.config import Configuration
from atlas.drawn.cohort import write_cohort
from atlas.errors import DatasetError, TrainingError
from atlas.lesionnets.bundle import load_lesion_net, record_in_lesion_net, save_lesion_net
from atlas.lesionnets.card import lesion_card, with_disc, with_measured
from atlas.lesionnets.fundus import FundusLesionNet, marked, together
from atlas.lesionnets.grid import cells_in
from atlas.lesionnets.networks import GRID, LesionModule
from atlas.photographs.frames import touched
from atlas.pipeline.cohort import gather, join_reports
from atlas.pipeline.engine import Fault, single_threaded
from atlas.pipeline.faults import without_faults
from atlas.pipeline.keys import code_key
from atlas.pipeline.landmarks import disc_box, disc_off, with_disc_learned
from atlas.pipeline.outlined import lesions_in
from atlas.pipeline.photograph import open_photograph
from atlas.pipeline.store import digest
from atlas.pipeline.workshop import Workshop
from atlas.progress import Progress, silent
from atlas.records import BoolArray, Dataset, DatasetReport, FloatArray, Frame, GradedImage, LesionBox, Scale
from atlas.scorers.devices import device_of
from atlas.training.lesions import Pupil, train_lesion_net
from atlas.training.splits import parts_of
from atlas.trust.found import Found, compare, squares, summarise_discs, summarise_found

KINDS_LEARNED = ("microaneurysm", "haemorrhage", "hard_exudate", "cotton_wool_spot", "new_vessels", "preretinal_blood")
"""The kinds of lesion that a lesion net learns, in the order of its maps."""

FROM_DRAWN_EYES = ("cotton_wool_spot", "new_vessels", "preretinal_blood")
"""Kinds that no box of the training sets shows: they are learned from drawn eyes alone. The same is true of the difference
between the two red kinds, which does not hold in photographs, so that the width of a lesion tells them apart."""

DRAWN_EYES, _DRAWN_SIZE, _DRAWN_SEED = 240, 900, 20260

FALSE_MARKS = 0.4
"""Mean number of marks of all kinds that the chosen thresholds leave on an eye free of the disease, among the photographs for
validation. It is less than the 0.5 that is promised, because the thresholds are chosen on these photographs."""

_SHARES = (0.7, 0.15, 0.15)  # shares of these marks: red lesions, hard exudates, and all other kinds together

_STEPS = np.round(np.arange(0.1, 1.0, 0.01), 2)  # thresholds to choose among

_FIRST, _GOING_ON = 1e-3, 5e-4  # learning rates: from generic weights, and from a net that already knows lesions


@dataclass(frozen=True)
class LesionSet:
    """Photographs to learn from: a folder, its grades, and boxes if it has some."""

    images: Path
    grades: Path
    boxes: Path | None = None


@dataclass(frozen=True)
class Examined:
    """A photograph on which a lesion net is measured: boxes or masks of its lesions, by kind, and a box round its disc."""

    image: GradedImage
    boxes: tuple[LesionBox, ...] = ()
    masks: tuple[tuple[str, Path], ...] = ()
    disc: LesionBox | None = None


@dataclass(frozen=True)
class Examination:
    """What a net found by kind, its highest probabilities by square, and which squares show a lesion.

    Parameters
    ----------
    disc : tuple[float, bool] or None
        The distance of the found disc from a person's box, and whether it is inside, see `disc_off`; None without a box.
    """

    found: Mapping[str, Found]
    squares: FloatArray
    shows: BoolArray
    disc: tuple[float, bool] | None = None


def examine(item: Examined, net: FundusLesionNet) -> Examination:
    """Compare what a lesion net finds in one photograph with what a person marked."""
    decoded, (frame, mask) = open_photograph(item.image.path)
    source = decoded.at_source(frame)
    boxes = [box.put_right(decoded.stretch) for box in item.boxes]
    finding = net.find(decoded.pixels, frame, mask, factor=decoded.factor)
    retina: BoolArray = np.asarray(finding.maps.any(axis=0))
    lesions: dict[str, list[BoolArray]] = {kind: [] for kind in net.marked}
    hit = dict.fromkeys(lesions, False)
    for box in boxes:
        own = np.zeros((GRID, GRID), np.bool_)
        own[cells_in(box, source)] = True
        kind = coarsely(box.kind)
        lesions.setdefault(kind, []).append(own)
        _, y, x = finding.strongest.get(kind, (0.0, -1.0, -1.0))
        hit[kind] = hit.get(kind, False) or (box.top <= y < box.bottom and box.left <= x < box.right)
    for name, file in item.masks:
        outlined, kind = lesions_in([file], decoded.shape, decoded.stretch), coarsely(name)
        lesions.setdefault(kind, []).extend(_cells_of(outlined, source))
        _, y, x = finding.strongest.get(kind, (0.0, -1.0, -1.0))
        inside = 0 <= y < outlined.shape[0] and 0 <= x < outlined.shape[1]
        hit[kind] = hit.get(kind, False) or (inside and bool(outlined[int(y), int(x)]))
    found, any_kind = {}, np.zeros((GRID, GRID), np.float32)
    for kind in net.marked:
        values = together(net.kinds, finding.maps, kind)
        kept = [touched(source, values.shape, mark.box) for mark in finding.lesions if coarsely(mark.kind) == kind]
        cells = np.any([values < 0, *kept], axis=0) & (values >= net.thresholds[kind])
        found[kind] = compare(values, cells, len(kept), lesions[kind], retina, hit=hit[kind])
        if kind not in LATE:
            any_kind = np.maximum(any_kind, values)
    scores, shows = squares(any_kind, [one for own in lesions.values() for one in own], retina)
    disc = None if item.disc is None else disc_off(finding.landmarks, item.disc.put_right(decoded.stretch))
    return Examination(found, scores, shows, disc)


def _cells_of(lesions: BoolArray, frame: Frame) -> list[BoolArray]:
    """Return the cells of each outlined lesion: those whose middle it covers, or else the nearest one."""
    count, numbers, boxes, _ = cv2.connectedComponentsWithStats(lesions.astype(np.uint8))
    middles = ((np.arange(GRID) + 0.5) * frame.side / GRID).astype(int)
    rows, columns = middles + frame.top, middles + frame.left
    inside = ((rows >= 0) & (rows < lesions.shape[0]))[:, None] & ((columns >= 0) & (columns < lesions.shape[1]))
    at = numbers[np.ix_(rows.clip(0, lesions.shape[0] - 1), columns.clip(0, lesions.shape[1] - 1))]
    found = []
    for number in range(1, count):
        own = (at == number) & inside
        if not own.any():
            left, top, width, height = boxes[number][:4]
            middle = LesionBox("", top + height / 2, left + width / 2, top + height / 2, left + width / 2)
            own[cells_in(middle, frame)] = True
        found.append(own)
    return found


def evaluate_lesions(
    configuration: Configuration,
    net: str,
    *,
    boxes: Path | None = None,
    masks: Path | None = None,
    mask_kind: str | None = None,
    record: str | None = None,
    progress: Progress = silent,
) -> tuple[dict[str, Any], DatasetReport]:
    """Measure what a lesion net finds on photographs whose lesions are boxed or outlined, or that are free of lesions.

    A photograph is free of the disease if its grade is the lowest. Without grades, no photograph counts as free of it.

    Parameters
    ----------
    mask_kind : str or None
        The kind of lesion in masks whose names do not state one.
    record : str or None
        The name under which the entry of `summarise_found` is kept in the net's bundle and on its card.

    Raises
    ------
    DatasetError
    ConfigurationError
    ScorerError
    """
    workshop = Workshop.of(configuration, progress)
    loaded = load_lesion_net(net)
    with single_threaded():
        cohort = gather(workshop)
        dataset = cohort.dataset
        boxed = read_boxes(boxes, dataset) if boxes is not None else None
        files = find_masks(masks, dataset, cohort.images) if masks is not None else {}
        items = [
            Examined(
                image,
                () if boxed is None else boxed.boxed.get(image.image_id, ()),
                tuple((_mask_kind(file, image, mask_kind), file) for file in files.get(image.image_id, ())),
                None if boxed is None or loaded.disc is None else disc_box(boxed.landmarks.get(image.image_id, ())),
            )
            for image in dataset.images
        ]
        results = list(workshop.each(examine, items, loaded, stage="lesions"))
    good, dataset, report = without_faults(dataset.images, results, dataset, cohort.report)
    examined = list(good.values())
    entry = summarise_found(
        [one.found for one in examined],
        [image.patient or image.image_id for image in dataset.images],
        [None if image.grade is None else image.grade == dataset.scale.lowest for image in dataset.images],
        name=record or cohort.images.resolve().name,
        seed=configuration.seed,
    )
    scores, shows = (np.concatenate([getattr(one, what) for one in examined]) for what in ("squares", "shows"))
    both = 0 < int(shows.sum()) < len(shows)
    entry["squares"] = {
        "count": len(shows),
        "with_lesion": int(shows.sum()),
        "auc": round(once(area_under_roc(scores, shows), len(shows)), 4) if both else None,
    }
    discs = [one.disc for one in examined if one.disc is not None]
    if disc := summarise_discs([off for off, _ in discs], [inside for _, inside in discs]):
        entry["disc"] = disc
    entry["net"] = loaded.sha256[:16]
    if record is not None:
        record_in_lesion_net(net, entry, with_measured)
    return entry, replace(report, unreadable=(*report.unreadable, *(boxed.faults if boxed else ())))


def _mask_kind(file: Path, image: GradedImage, otherwise: str | None) -> str:
    stem = stem_of(image.path)
    kind = None if file.stem == stem else kind_of(file.stem.removeprefix(stem))
    kind = kind or (kind_of(otherwise) if otherwise else None)
    if kind is None:
        raise DatasetError(
            f"{file}: its name does not state a kind of lesion", "name the kind with --mask-kind, or in the name of the file."
        )
    return kind


def train_lesions(
    configuration: Configuration,
    out: Path,
    sets: Sequence[LesionSet],
    *,
    start: Path,
    epochs: int = 11,
    drawn: int = DRAWN_EYES,
    source: str = "Not stated.",
    command: str = "",
    progress: Progress = silent,
) -> tuple[FundusLesionNet, DatasetReport]:
    """Train a lesion net on several sets of graded photographs, some of them boxed, and on drawn eyes; write its bundle.

    It learns from the training parts, and its thresholds are chosen on the validation parts. Photographs that cannot be read are
    left out. An interrupted training can continue from its checkpoint, which is removed once the bundle is written.

    Parameters
    ----------
    start : Path
        Weights of SqueezeNet 1.1, a state dict with torchvision's names, or the folder of an earlier lesion net.

    Raises
    ------
    TrainingError
    DatasetError
    ScorerError
    StoreError
    """
    if not any(one.boxes for one in sets):
        raise TrainingError("no set of photographs has boxes round its lesions", "give --boxes for at least one set")
    workshop = Workshop.of(configuration, progress, also=[one.images for one in sets])
    gathered = [gathered_set(workshop, one) for one in sets]
    seed = configuration.seed
    pupils = []
    for dataset, boxes, _ in gathered:
        pupils += _pupils(part_of(dataset, "training", seed), dataset.scale, boxes)
    eyes = _drawn_eyes(workshop, drawn) if drawn else []
    weights, began = _start(start)
    device = device_of(configuration.device or "auto")
    parts = ["lesions", out.name, began, epochs, drawn, device, seed, code_key("atlas.training.lesions")]
    work = workshop.store.root / "training" / digest(parts)[:16]
    module = train_lesion_net(
        [*pupils, *eyes],
        KINDS_LEARNED,
        start=weights,
        epochs=epochs,
        learning_rate=_GOING_ON if start.is_dir() else _FIRST,
        seed=seed,
        device=device,
        checkpoint=work / "checkpoint.pt",
        progress=progress,
    )
    # Drawn eyes do not teach late kinds well enough to mark them: `benchmarks/late_lesions.py`.
    undecided = {kind: 0.5 for kind in marked(KINDS_LEARNED) if kind not in LATE}
    net = FundusLesionNet(out.name, KINDS_LEARNED, module.eval(), undecided, "")
    held = [part_of(dataset, "validation", seed) for dataset, _, _ in gathered]
    net = replace(net, thresholds=choose_thresholds(workshop, net, held))
    training = {
        "start": began,
        "epochs": epochs,
        "drawn_eyes": drawn,
        "device": device,
        "photographs": len(pupils),
        "boxes": sum(len(pupil.boxes) for pupil in pupils),
        "from_drawn_eyes": list(FROM_DRAWN_EYES),
        "source": source,
        "command": command,
        "seed": seed,
    }
    net = replace(net, training=training, card=lesion_card(out.name, KINDS_LEARNED, net.thresholds, training))
    learners = [image for dataset, _, _ in gathered for image in part_of(dataset, "training", seed)]
    landmarks = {image_id: own for _, boxes, _ in gathered if boxes for image_id, own in boxes.landmarks.items()}
    if any(disc_box(own) for own in landmarks.values()):
        net = with_disc_learned(workshop, net, learners, landmarks)
        net = replace(net, card=with_disc(net.card, net.training["discs"], command))
    save_lesion_net(out, net)
    (work / "checkpoint.pt").unlink(missing_ok=True)
    return load_lesion_net(out), join_reports([report for *_, report in gathered])


def gathered_set(workshop: Workshop, one: LesionSet) -> tuple[Dataset, Boxes | None, DatasetReport]:
    """Gather one set of photographs, and read its boxes if it has some."""
    settings = workshop.configuration.model_copy(update={"images": one.images, "grades": one.grades})
    cohort = gather(replace(workshop, configuration=settings))
    boxes = None if one.boxes is None else read_boxes(one.boxes, cohort.dataset)
    report = cohort.report
    if boxes is not None:
        report = replace(report, unreadable=(*report.unreadable, *boxes.faults))
    return cohort.dataset, boxes, report


def part_of(dataset: Dataset, part: str, seed: int) -> list[GradedImage]:
    """Return the photographs of a dataset's "training", "validation" or "test" part."""
    own = set(parts_of(dataset.images, seed=seed)[part])
    return [image for image in dataset.images if image.image_id in own]


def _pupils(images: Sequence[GradedImage], scale: Scale, boxes: Boxes | None) -> list[Pupil]:
    pupils = []
    for image in images:
        if image.grade is None:
            continue
        level = image.grade - scale.lowest
        own = () if boxes is None else boxes.boxed.get(image.image_id, ())
        disc = () if boxes is None else boxes.landmarks.get(image.image_id, ())
        pupils.append(
            Pupil(
                image.path,
                own,
                disc,
                elsewhere=_elsewhere(level, boxes is not None),
                some=level >= 2 and boxes is None,
                share=_share(level, boxes is not None),
            )
        )
    return pupils


def _share(level: int, boxed: bool) -> float:
    """Return how often a photograph is shown in an epoch. Boxes teach most, and there are many healthy eyes."""
    if boxed:
        return 1.0 if level else 0.7
    return 0.3 if level > 1 else 0.2


def _elsewhere(level: int, boxed: bool) -> dict[str, float]:
    """Return by kind how much a place without a mark counts as healthy, given the number of grades above the lowest."""
    if level == 0:
        return dict.fromkeys(KINDS_LEARNED, 1.0 if boxed else 0.8)
    late = dict.fromkeys(LATE, 0.3 if level < 4 else 0.0)
    if boxed:
        return {"microaneurysm": 0.3, "haemorrhage": 0.3, "hard_exudate": 0.4, "cotton_wool_spot": 0.02, **late}
    if level == 1:  # microaneurysms only
        return {"microaneurysm": 0.03, "haemorrhage": 0.2, "hard_exudate": 0.5, "cotton_wool_spot": 0.5, **late}
    return {"microaneurysm": 0.03, "haemorrhage": 0.03, "hard_exudate": 0.03, "cotton_wool_spot": 0.03, **late}


def _drawn_eyes(workshop: Workshop, count: int) -> list[Pupil]:
    def draw(folder: Path) -> None:
        write_cohort(count, folder, seed=_DRAWN_SEED, size=_DRAWN_SIZE, confusers=True, each=workshop.each_or_raise)

    folder = workshop.store.keep("drawn", [count, _DRAWN_SIZE, _DRAWN_SEED, "confusers", code_key("atlas.drawn.cohort")], draw)
    with (folder / "grades.csv").open(encoding="utf-8", newline="") as file:
        names = [row["image"] for row in csv.DictReader(file)]
    everywhere = dict.fromkeys(KINDS_LEARNED, 1.0)
    return [
        Pupil(
            folder / "images" / f"{name}.jpg",
            masks={kind: mask for mask in sorted((folder / "masks" / name).glob("*.png")) if (kind := kind_of(mask.stem))},
            elsewhere=everywhere,
            share=0.5,
        )
        for name in names
    ]


def _start(start: Path) -> tuple[Mapping[str, torch.Tensor], str]:
    if start.is_dir():
        net = load_lesion_net(start)
        known = net.training
        how = (
            f", which had learned in the same way for {known['epochs']} epochs from {known['start']}" if "epochs" in known else ""
        )
        return net.module.state_dict(), f"an earlier lesion net ({net.sha256[:16]}){how}"
    try:
        weights = torch.load(start, weights_only=True, map_location="cpu")
        LesionModule(1).start_from(weights)
    except Exception as error:  # torch fails in many ways on files that are not weights
        raise TrainingError(
            f"{start}: holds no weights of SqueezeNet 1.1 ({type(error).__name__})", "give a state dict with torchvision's names"
        ) from error
    return weights, "public ImageNet weights of SqueezeNet 1.1 (BSD)"


def choose_thresholds(workshop: Workshop, net: FundusLesionNet, held: Sequence[Sequence[GradedImage]]) -> dict[str, float]:
    """Choose new thresholds for the kinds that a net marks.

    In every set of photographs, eyes free of the disease then have at most FALSE_MARKS marks on average. Each kind has its share
    of these marks.

    Parameters
    ----------
    held : Sequence[Sequence[GradedImage]]
        Sets of graded photographs that the net did not learn from.

    Raises
    ------
    TrainingError
        If no photograph has grade 0.
    """
    free = [(number, image) for number, own in enumerate(held) for image in own if image.grade == 0]
    if not free:
        raise TrainingError(
            "no photograph for validation is free of the disease", "give graded photographs, some of them of grade 0"
        )
    with single_threaded():
        items = [Examined(image) for _, image in free]
        results = list(workshop.each(examine_strengths, items, net, stage="thresholds"))
    found = [(number, one) for (number, _), one in zip(free, results, strict=True) if not isinstance(one, Fault)]
    kinds = net.marked
    rest = [kind for kind in kinds if kind not in ("red_lesion", "hard_exudate")]
    share = {"red_lesion": _SHARES[0], "hard_exudate": _SHARES[1], **dict.fromkeys(rest, _SHARES[2] / max(1, len(rest)))}
    chosen = {}
    for kind in kinds:
        means = [
            np.mean([one[kind] for number, one in found if number == own], axis=0)
            for own in sorted({number for number, _ in found})
        ]
        fits = np.flatnonzero(np.max(means, axis=0) <= FALSE_MARKS * share[kind])
        chosen[kind] = float(_STEPS[fits[0]]) if fits.size else float(_STEPS[-1])
    return chosen


def examine_strengths(item: Examined, net: FundusLesionNet) -> dict[str, list[int]]:
    """Return by kind the number of marks that a net would leave at each threshold of _STEPS."""
    decoded, (frame, mask) = open_photograph(item.image.path)
    maps = net.maps(decoded.pixels, frame, mask)
    counts = {}
    for kind in net.marked:
        values = together(net.kinds, maps, kind)
        counts[kind] = [cv2.connectedComponents((values >= step).astype(np.uint8))[0] - 1 for step in _STEPS]
    return counts
