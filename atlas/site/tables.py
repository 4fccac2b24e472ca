"""Results as data beside the pages: `tables/images.csv`, `patches.csv` and `clusters.csv`.

`trust` is the badge of a photograph's map, see `atlas.trust`; `deletion_gain`, in grade units, how much further the score falls
without the fifth of the retina that the map marks strongest than without a random fifth.

Numbers have fixed decimals so that the same atlas gives the same bytes. Severity, drop and disagreement are in grade units,
boxes in source pixels (bottom and right exclusive), x and y in the unitless plane of the patch map.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atlas.records import Atlas, Trust
from atlas.trust import fifth


def write_tables(atlas: Atlas, folder: Path, *, names: Mapping[str, str] | None = None) -> None:
    """Write the atlas's tables into `folder`; `names` (image_id to file name) adds a `name` column, else no name appears."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "images.csv", *_images(atlas, names))
    if atlas.patches is not None:
        _write(folder / "patches.csv", *_patches(atlas))
    if atlas.clusters is not None:
        _write(folder / "clusters.csv", *_clusters(atlas))


def _write(file: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4f}"


def _images(atlas: Atlas, names: Mapping[str, str] | None) -> tuple[list[str], list[list[Any]]]:
    header = ["image_id", "rank", "severity", "grade", "disagreement", "out_of_fold", "eye", "patches", "trust", "deletion_gain"]
    images = {image.image_id: image for image in atlas.dataset.images}
    patches = Counter(atlas.patches.image_ids if atlas.patches else ())
    trust = atlas.trust
    found = {} if trust is None else dict(zip(trust.image_ids, zip(trust.badges, _gains(trust), strict=True), strict=True))
    rows = []
    strip = atlas.strip
    for rank, (image_id, severity, disagreement) in enumerate(
        zip(strip.image_ids, strip.severity, strip.disagreement, strict=True), start=1
    ):
        image = images[image_id]
        rows.append(
            [
                image_id,
                rank,
                _number(severity),
                "" if image.grade is None else image.grade,
                _number(disagreement),
                int(atlas.scores.out_of_fold),
                image.eye or "",
                patches[image_id],
                *(found.get(image_id) or ("", "")),
            ]
        )
        if names is not None:
            rows[-1].append(names[image_id])
    return header + (["name"] if names is not None else []), rows


def _gains(trust: Trust) -> list[str]:
    """How much further than without a random fifth of the retina the score falls without the marked fifth."""
    return [_number(fifth(own) - fifth(random)) for own, random in zip(trust.deletion, trust.random, strict=True)]


def _patches(atlas: Atlas) -> tuple[list[str], list[list[Any]]]:
    patches = atlas.patches
    assert patches is not None
    header = ["patch_id", "image_id", "row", "col", "window", "top", "left", "bottom", "right", "drop", "cluster", "x", "y"]
    label = dict(zip(atlas.clusters.patch_ids, atlas.clusters.labels + 1, strict=True)) if atlas.clusters else {}
    place = dict(zip(atlas.embedding.patch_ids, atlas.embedding.xy, strict=True)) if atlas.embedding else {}
    rows = []
    for patch_id, image_id, cell, box, drop in zip(
        patches.patch_ids, patches.image_ids, patches.cells, patches.boxes, patches.drop, strict=True
    ):
        xy = [f"{value:.5f}" for value in place[patch_id]] if patch_id in place else ["", ""]
        rows.append([patch_id, image_id, *cell.tolist(), *box.tolist(), _number(drop), label.get(patch_id, ""), *xy])
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
    ]
    rows = []
    for label in range(len(clusters.centroids)):
        members = [patch_id for patch_id, own in zip(clusters.patch_ids, clusters.labels, strict=True) if own == label]
        grades = Counter(grade_of[image_of[patch_id]] for patch_id in members)
        drop = float(np.mean([drop_of[patch_id] for patch_id in members])) if members else float("nan")
        images = len({image_of[patch_id] for patch_id in members})
        rows.append([label + 1, len(members), images, _number(drop), *(grades[grade] for grade in scale.grades), grades[None]])
    return header, rows
