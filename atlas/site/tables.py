"""Results as data beside the pages: `tables/images.csv`, `lesions.csv`, `patches.csv`, `clusters.csv` and `evaluation.csv`.

`lesions.csv` has a row for each lesion that a net found or a person marked, with its kind, its box, its strength from 0 to 1 and
its source (`net`, `outline` or `box`). `drop` is how far the score falls when the cells that it touches are hidden. Marks by
people have neither strength nor drop. `region` is the region of the middle of the box, see `cohort.regions`. `near_fovea` is 1 if
any part of the box is within one disc diameter of the fovea, else 0. Both are empty if no fovea was found. `count_KIND` in
`images.csv` is the number of lesions of a kind that the net found.

`eye`, `region` and `near_fovea` are columns only if the photographs show the retina.

`trust` is the badge of a photograph's map, see `atlas.trust.badges`. `deletion_gain`, in grade units, is how much further the
score falls without the fifth of the image area that the map marks strongest than without a random fifth.

`not_sure` states why the scorer is not sure of a score (`members`, `moves`, `colours`; empty if it is sure), see
`atlas.agreement.doubt`. The column exists if the scorer has a rule for that.

`quality` is good, usable, poor, or none if the picture shows no retina; `quality_score` is higher the better it is, 0 to 1, and
`quality_reasons` and `oddities` are keys of `photographs.quality.REASONS` and names of `photographs.oddities`. `aspect` is the
height of the retina in its file divided by its width, 1 unless the picture was squashed. `field` is the share of the disc that
is seen; `focus`, `brightness`, `unevenness` and `contrast` have no unit. These columns exist only for the retina.

`out_of_fold` is 1 if the score is by a head that was fitted on other patients of this cohort, else 0. `unseen` is 1 if the scorer
never learned from the photograph's patient, 0 if it did, and empty if that is not known.

`read_as` is the grade that the score is read as: the nearest one, and a half is rounded up. `difference` is that grade minus the
human grade, and `flagged` is 1 if it is 2 or more either way, else 0; see `atlas.agreement.reading`.

Numbers have fixed decimals so that the same atlas gives the same bytes. Severity, drop and difference are in grade units,
boxes in pixels of the file, upright (bottom and right exclusive), x and y in the unitless plane of the patch map.

`evaluation.csv` has one number a row. `cohort` is `atlas` or, for the scorer's own test split, `scorer`. `low` and `high` are the
ends of the 95% confidence interval. `count` is the number of photographs behind the value; for `f1` it is the sum of those with
the grade and those read as it. A confusion cell's value is its share of the human grade's row. `group` names the column and the
value of the photographs behind a figure, and is empty for all photographs.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atlas.agreement.ranking import flagged
from atlas.cohort.lesions import KINDS
from atlas.cohort.regions import near_fovea, region_of
from atlas.photographs.quality import SHOWN
from atlas.privacy.formulas import harmless, is_formula
from atlas.records import Atlas, Evaluation, FoundLesions, Interval, Mark, Quality, Trust
from atlas.site.figures import HIDDEN, base_name
from atlas.site.quality import quality_key
from atlas.trust.curves import fifth

_QUALITY = ["quality", "quality_score", "quality_reasons", "oddities", "aspect"]
_QUALITY += ["field", "focus", "brightness", "unevenness", "contrast"]  # see SHOWN


def write_tables(atlas: Atlas, folder: Path, *, names: Mapping[str, str] | None = None) -> None:
    """Write the atlas's tables into `folder`. `names` (file names by image_id) adds a `name` column; else no name appears."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "images.csv", *_images(atlas, names))
    if atlas.found or atlas.marked:
        _write(folder / "lesions.csv", *_lesions(atlas))
    if atlas.patches is not None:
        _write(folder / "patches.csv", *_patches(atlas))
    if atlas.clusters is not None:
        _write(folder / "clusters.csv", *_clusters(atlas))
    cohorts = {"atlas": atlas.evaluation, "scorer": atlas.scorer_evaluation}
    if found := {cohort: evaluation for cohort, evaluation in cohorts.items() if evaluation is not None}:
        header = ["cohort", "figure", "method", "grade", "value", "low", "high", "count", "group"]
        _write(folder / "evaluation.csv", header, ([cohort, *row] for cohort, one in found.items() for row in _evaluation(one)))


def _write(file: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([harmless(cell) if isinstance(cell, str) and is_formula(cell) else cell for cell in row] for row in rows)


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4f}"


def _images(atlas: Atlas, names: Mapping[str, str] | None) -> tuple[list[str], list[list[Any]]]:
    header = ["image_id", "rank", "severity", "read_as", "grade", "difference", "flagged", "out_of_fold", "unseen"]
    retina = atlas.dataset.scale.subject.retina
    header += [*(["eye"] if retina else []), "patches", "trust", "deletion_gain"]
    doubts = atlas.scores.doubts
    header += [] if doubts is None else ["not_sure"]
    why = {} if doubts is None else dict(zip(atlas.scores.image_ids, doubts, strict=True))
    kinds = [kind for kind in KINDS if any(mark.kind == kind for own in atlas.found.values() for mark in own.marks)]
    header += [f"count_{kind}" for kind in kinds]
    header += _QUALITY if atlas.qualities else []
    images = {image.image_id: image for image in atlas.dataset.images}
    patches = Counter(atlas.patches.image_ids if atlas.patches else ())
    trust = atlas.trust
    found = {} if trust is None else dict(zip(trust.image_ids, zip(trust.badges, _gains(trust), strict=True), strict=True))
    rows = []
    strip, wide = atlas.strip, set(flagged(atlas.strip))
    for rank, (image_id, severity, read, difference) in enumerate(
        zip(strip.image_ids, strip.severity, strip.read.tolist(), strip.difference, strict=True), start=1
    ):
        image = images[image_id]
        rows.append(
            [
                image_id,
                rank,
                _number(severity),
                read,
                "" if image.grade is None else image.grade,
                "" if np.isnan(difference) else int(difference),
                int(image_id in wide),
                int(atlas.scores.out_of_fold),
                "" if (unseen := atlas.scores.unseen(image_id)) is None else int(unseen),
                *([image.eye or ""] if retina else []),
                patches[image_id],
                *(found.get(image_id) or ("", "")),
                *([] if doubts is None else [" ".join(why[image_id])]),
                *_counts(atlas, image_id, kinds),
                *(_quality(atlas.qualities.get(image_id)) if atlas.qualities else []),
            ]
        )
        if names is not None:
            rows[-1].append(harmless(names[image_id]))
    return header + (["name"] if names is not None else []), rows


def _quality(quality: Quality | None) -> list[str]:
    if quality is None:
        return [""] * len(_QUALITY)
    numbers = [quality.squash, *(quality.measured[name] for name in SHOWN)]
    told = [quality_key(quality), _number(quality.score), " ".join(quality.reasons), " ".join(quality.oddities)]
    return [*told, *(_number(number) for number in numbers)]


def _counts(atlas: Atlas, image_id: str, kinds: Sequence[str]) -> list[Any]:
    """Return how many lesions of each kind a net found in a photograph; empty texts if it did not look."""
    if image_id not in atlas.found:
        return [""] * len(kinds)
    counts = Counter(mark.kind for mark in atlas.found[image_id].marks)
    return [counts[kind] for kind in kinds]


def _lesions(atlas: Atlas) -> tuple[list[str], list[list[Any]]]:
    retina = atlas.dataset.scale.subject.retina
    header = ["image_id", "kind", "top", "left", "bottom", "right", "strength", "source", "drop"]
    header += ["region", "near_fovea"] if retina else []
    rows: list[list[Any]] = []
    for image_id in atlas.strip.image_ids:
        found = atlas.found.get(image_id)
        for mark, fall in () if found is None else zip(found.marks, found.falls.tolist(), strict=True):
            place = _place(mark, found) if retina else []
            rows.append(
                [
                    image_id,
                    mark.kind,
                    *_in_file(atlas, image_id, mark.box),
                    _number(mark.strength),
                    mark.source,
                    _number(fall),
                    *place,
                ]
            )
        for mark in atlas.marked.get(image_id, ()):
            place = _place(mark, found) if retina else []
            rows.append([image_id, mark.kind, *_in_file(atlas, image_id, mark.box), "", mark.source, "", *place])
    return header, rows


def _in_file(atlas: Atlas, image_id: str, box: Sequence[int]) -> Sequence[int]:
    """Return a box in pixels of the file, also of a squashed photograph that was put right."""
    stretch = atlas.stretches.get(image_id)
    return box if stretch is None else stretch.source(box)


def _place(mark: Mark, found: FoundLesions | None) -> list[Any]:
    """Return the region of a mark, and whether it is near the fovea."""
    landmarks = None if found is None else found.landmarks
    near = near_fovea(mark.box, landmarks)
    return [region_of(mark.box, landmarks), "" if near is None else int(near)]


def _gains(trust: Trust) -> list[str]:
    """Return how much further the score falls without the marked fifth of the image area than without a random fifth."""
    return [_number(fifth(own) - fifth(random)) for own, random in zip(trust.deletion, trust.random, strict=True)]


def _patches(atlas: Atlas) -> tuple[list[str], list[list[Any]]]:
    patches = atlas.patches
    assert patches is not None
    header = ["patch_id", "image_id", "row", "col", "window", "top", "left", "bottom", "right", "drop", "cluster", "x", "y"]
    label = atlas.clusters.of_patch if atlas.clusters else {}
    place = dict(zip(atlas.embedding.patch_ids, atlas.embedding.xy, strict=True)) if atlas.embedding else {}
    rows = []
    for patch_id, image_id, cell, box, drop in zip(
        patches.patch_ids, patches.image_ids, patches.cells, patches.boxes, patches.drop, strict=True
    ):
        xy = [f"{value:.5f}" for value in place[patch_id]] if patch_id in place else ["", ""]
        rows.append(
            [
                patch_id,
                image_id,
                *cell.tolist(),
                *_in_file(atlas, image_id, box.tolist()),
                _number(drop),
                label.get(patch_id, ""),
                *xy,
            ]
        )
    return header, rows


def _clusters(atlas: Atlas) -> tuple[list[str], list[list[Any]]]:
    clusters, patches = atlas.clusters, atlas.patches
    assert clusters is not None
    assert patches is not None
    scale = atlas.dataset.scale
    grade_of = {image.image_id: image.grade for image in atlas.dataset.images}
    image_of = dict(zip(patches.patch_ids, patches.image_ids, strict=True))
    drop_of = dict(zip(patches.patch_ids, patches.drop, strict=True))
    header = [
        "cluster",
        "patches",
        "images",
        "mean_drop",
        *(f"patches_grade_{grade}" for grade in scale.grades),
        "patches_ungraded",
        "alarms",
    ]
    rows = []
    alarms = dict(zip(clusters.shown, clusters.alarms, strict=False))
    members_of: dict[int, list[str]] = {}
    for patch_id, number in clusters.of_patch.items():
        members_of.setdefault(number, []).append(patch_id)
    for number, members in sorted(members_of.items()):
        grades = Counter(grade_of[image_of[patch_id]] for patch_id in members)
        drop = float(np.mean([drop_of[patch_id] for patch_id in members]))
        images = len({image_of[patch_id] for patch_id in members})
        rows.append([number, len(members), images, _number(drop), *(grades[grade] for grade in scale.grades), grades[None]])
        rows[-1].append("; ".join(alarm.kind for alarm in alarms.get(number, ())))
    return header, rows


def _evaluation(evaluation: Evaluation) -> Iterator[list[Any]]:
    """Yield figure, method, grade, value, low, high, count and group."""

    def row(
        figure: str, method: str, grade: float | None, value: float, interval: Interval | None, count: int, group: str = ""
    ) -> list[Any]:
        ends = ["", ""] if interval is None else [_number(end) for end in interval]
        return [figure, method, "" if grade is None else f"{grade:g}", _number(value), *ends, count, group]

    total = evaluation.count
    for name, value in evaluation.figures.items():
        figure, ending = base_name(name)
        if ending.lstrip("_") in HIDDEN:
            continue
        rounded = figure in ("quadratic_kappa", "accuracy", "skipped")
        method = ending.lstrip("_") or ("nearest" if rounded else "score")
        yield row(figure, method, None, value, evaluation.intervals.get(name), total)
    grades = [int(one["grade"]) for one in evaluation.by_grade]
    for method, confusion in evaluation.confusions.items():
        if method in HIDDEN:
            continue
        yield row("skipped_photographs", method, None, confusion.skipped, None, total)
        for grade, counts in zip(grades, confusion.counts, strict=True):
            for read, count in zip(grades, counts.tolist(), strict=True):
                share = count / counts.sum() if counts.sum() else float("nan")
                yield row(f"read_as_{read}", method, grade, share, None, count)
    for roc in evaluation.rocs:
        if roc.grade is not None:
            yield row("auc_one_vs_all", roc.method, roc.grade, roc.auc, roc.interval, total)
    for one in evaluation.by_grade:
        for name in (name for name in one if name not in ("grade", "count")):
            yield row(name, "score", one["grade"], one[name], None, int(one["count"]))
    for step in evaluation.calibration:
        place = f"{step.low:g}_to_{step.high:g}"
        yield row(f"calibration_mean_score_{place}", "score", None, step.mean_score, None, step.count)
        yield row(f"calibration_mean_grade_{place}", "score", None, step.mean_grade, step.interval, step.count)
    for label in evaluation.labels:
        yield row("label_share_before", "training", label.grade, label.before, None, label.count)
        yield row("label_share_after", "training", label.grade, label.after, None, label.count)
    if evaluation.reading is not None and evaluation.reading.threshold is not None:
        yield row("referable_from", "score", None, evaluation.reading.threshold, None, total)
    if evaluation.operating is not None:
        yield row("referable_from", "operating", None, evaluation.operating, None, total)
    for found in evaluation.detections:
        ending = "_referable" if found.grade is None else ""
        for name, count in (("recall", found.human), ("precision", found.read), ("f1", found.human + found.read)):
            yield row(f"{name}{ending}", found.method, found.grade, found.figures[name], found.intervals[name], count)
    for group in evaluation.groups:
        for name, value in group.figures.items():
            method = {"recall": "operating", "precision": "operating", "quadratic_kappa": "nearest"}.get(name, "score")
            figure = f"{name}_referable" if method == "operating" else name
            named = f"{group.column}: {group.label}"
            yield row(figure, method, None, value, group.intervals[name], group.count, named)
