"""A small atlas drawn from arrays, for tests of the site."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from asked import of_sums

from atlas.agreement.evaluation import evaluate
from atlas.agreement.ranking import rank
from atlas.explain.occlusion import drops as atlas_drops
from atlas.patterns.similar import most_alike
from atlas.pictures.jpeg import encode_jpeg, retina_png, thumbnail
from atlas.pictures.live import encode_cells
from atlas.records import (
    DIABETIC_RETINOPATHY,
    Atlas,
    BoolArray,
    Clusters,
    Curation,
    Dataset,
    Embedding,
    FoundLesions,
    Frame,
    GradedImage,
    Landmarks,
    Lesson,
    Mark,
    Patches,
    Provenance,
    SaliencyMaps,
    Scale,
    Scores,
    Stop,
    Target,
)
from atlas.scorers.prediction import LinearPrediction
from atlas.scorers.readouts import Head
from atlas.site.book import Book
from atlas.site.map import map_files
from atlas.site.pages import PAGES
from atlas.site.render import render_report, render_site

GRID = 6
SIDE = 96
CLUSTERS = 3
CARD = """# Card

A <script>alert(1)</script> card.

![a plate](https://example.org/x.png)

| a | b |
|---|---|
| 1 | 2 |

## A table wider than a page

| a-0123456789 | b-0123456789 | c-0123456789 | d-0123456789 | e-0123456789 | f-0123456789 |
|---|---|---|---|---|---|
| `aaaaaaaaaaaaaa` | `bbbbbbbbbbbbbb` | `cccccccccccccc` | `dddddddddddddd` | `eeeeeeeeeeeeee` | `ffffffffffffff` |
"""


def drawn_atlas(
    pictures: Path,
    *,
    scale: Scale = DIABETIC_RETINOPATHY,
    graded: bool = True,
    patches: bool = True,
    clustered: bool = True,
    synthetic: bool = False,
    out_of_fold: bool = True,
    title: str = "A drawn atlas",
    notes: tuple[str, ...] = (),
    count: int = 12,
) -> Atlas:
    """Draw `count` discs with bright blots, four of each patient, write their pictures, and describe them as an atlas."""
    random = np.random.default_rng(7)
    for folder in ("photographs", "thumbnails", "retinas", "patches"):
        (pictures / folder).mkdir(parents=True)
    ids = tuple(sorted(f"{int(n):016x}" for n in random.integers(2**63, size=count, dtype=np.int64)))
    grades = {i: scale.grades[k % len(scale.grades)] if graded else None for k, i in enumerate(ids)}
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    disc = np.hypot(rows, columns) < SIDE / 2 - 2
    cells = np.mgrid[:GRID, :GRID] - (GRID - 1) / 2
    inside = np.hypot(*cells) < GRID / 2
    maps, windows = [], []
    for image_id in ids:
        values = np.where(inside, random.normal(0.1, 0.2, (GRID, GRID)), 0).astype(np.float32)
        photograph = np.zeros((SIDE, SIDE, 3), np.uint8)
        photograph[disc] = (170, 80, 40)
        strongest = np.argsort(-values, axis=None, kind="stable")[: 1 + len(windows) % 3]
        for row, column in (divmod(int(cell), GRID) for cell in strongest):
            top, left = row * SIDE // GRID, column * SIDE // GRID
            photograph[top + 4 : top + 12, left + 4 : left + 12] = (240, 220, 90)
            windows.append((f"{image_id}-{row:02d}{column:02d}w1", image_id, (row, column, 1), (top, left), values[row, column]))
            patch = photograph[top : top + SIDE // GRID, left : left + SIDE // GRID]
            (pictures / "patches" / f"{windows[-1][0]}.jpg").write_bytes(encode_jpeg(patch))
        (pictures / "photographs" / f"{image_id}.jpg").write_bytes(encode_jpeg(photograph))
        (pictures / "thumbnails" / f"{image_id}.jpg").write_bytes(encode_jpeg(thumbnail(photograph, 48)))
        (pictures / "retinas" / f"{image_id}.png").write_bytes(retina_png(disc))
        maps.append(values)

    severity = np.array([scale.from_unit(place) for place in random.uniform(0.05, 0.9, count)], np.float32)
    scores = Scores(ids, severity, out_of_fold)
    found = laid = grouped = None
    if patches:
        boxes = np.array([(t + 10, f + 20, t + 10 + SIDE // GRID, f + 20 + SIDE // GRID) for *_, (t, f), _ in windows])
        descriptors = np.random.default_rng(8).normal(0, 1, (len(windows), 4)).astype(np.float32)
        found = Patches(
            patch_ids=tuple(w[0] for w in windows),
            image_ids=tuple(w[1] for w in windows),
            cells=np.array([w[2] for w in windows]),
            boxes=boxes,
            drop=np.array([w[4] for w in windows], np.float32),
            descriptors=descriptors,
            threshold=0.1,
            quantile=0.9,
        )
        laid = Embedding(found.patch_ids, random.normal(0, 9, (len(windows), 2)).astype(np.float32), "t-SNE")
        if clustered:
            labels = np.arange(len(windows)) % CLUSTERS
            centroids = np.stack([descriptors[labels == k].mean(axis=0) for k in range(CLUSTERS) if k in labels])
            distances = np.linalg.norm(descriptors - centroids[labels], axis=1).astype(np.float32)
            grouped = Clusters(found.patch_ids, labels, centroids, distances)
    return Atlas(
        dataset=Dataset(
            tuple(
                GradedImage(i, Path(f"/clinic/wards/SecretSurname_{k}.jpeg"), grades[i], f"SecretPatient{k // 4}", "left")
                for k, i in enumerate(ids)
            ),
            scale,
        ),
        scores=scores,
        maps=SaliencyMaps(ids, "occlusion", np.stack(maps), np.stack([inside] * count)),
        strip=rank(scores, grades, scale),
        provenance=Provenance(
            title=title,
            settings={"seed": 0, "images": "/clinic/wards", "patches": {"quantile": 0.9, "window": 1}},
            versions={"python": "3.11"},
            hashes={"dataset": "ab" * 32},
            counts={"photographs": count},
            scorer="drawn",
            card=CARD,
            notes=notes,
            synthetic=synthetic,
        ),
        patches=found,
        clusters=grouped,
        embedding=laid,
        evaluation=evaluate(severity, [grades[i] for i in ids], scale) if graded else None,
        frames={i: Frame(10, 20, SIDE) for i in ids},
        curation=_lesson(ids, found, grouped),
    )


def with_lesions(atlas: Atlas) -> Atlas:
    """Make lesions of a drawn atlas's patches, of two kinds in turn, as if a lesion net had found them."""
    patches = atlas.patches
    assert patches is not None
    kinds = tuple(("hard_exudate", "haemorrhage")[k % 2] for k in range(len(patches.patch_ids)))
    rows = {i: [k for k, own in enumerate(patches.image_ids) if own == i] for i in atlas.dataset.image_ids}
    found = {
        i: FoundLesions(
            tuple(Mark(kinds[k], tuple(patches.boxes[k].tolist()), round(0.9 - 0.001 * k, 3)) for k in own),
            patches.drop[own],
            0.5 * float(atlas.scores.severity[atlas.scores.image_ids.index(i)]),
            ("microaneurysm",),
            Landmarks((10 + SIDE / 2, 20 + SIDE * 0.85), (10 + SIDE / 2, 20 + SIDE / 2)),
        )
        for i, own in rows.items()
    }
    told = replace(
        atlas.provenance, lesion_net="drawn", lesion_card=CARD, settings={**atlas.provenance.settings, "lesion_net": "drawn"}
    )
    return replace(atlas, patches=replace(patches, kinds=kinds), found=found, provenance=told)


OF_LESIONS = "image of lesions"


def one_of_each_kind(atlas: Atlas, pictures: Path, out: Path) -> dict[str, str]:
    """Render an atlas and a report of it; return the path of one page of each kind.

    Those that speak of lesions are of the same atlas with lesions for patches, in a folder below.
    """
    render_site(atlas, pictures, out)
    render_report(atlas, pictures, atlas.dataset.image_ids[:2], out / "report.html")
    with_marks = with_lesions(atlas)
    render_site(with_marks, pictures, out / "of-lesions")
    paths = {"report": "report.html"}
    for name, kind in PAGES.items():
        own = next((path for path, _ in kind.pages(Book(atlas))), None)
        paths[name] = own or "of-lesions/" + next(path for path, _ in kind.pages(Book(with_marks)))
    marked = next(i for i in atlas.dataset.image_ids if with_marks.found[i].marks)
    return paths | {OF_LESIONS: f"of-lesions/images/{marked}.html"}


def with_cells(
    atlas: Atlas, pictures: Path, *, grid: int = GRID, hidden: int = 8
) -> tuple[Atlas, dict[str, LinearPrediction], Head, BoolArray]:
    """Give a drawn atlas sums that its scores and occlusion maps come from, a second map, and photographs that look alike.

    Writes cells/<image_id>.json into `pictures`. Returns the atlas, its predictions, the head, and which cells lie on the retina.
    """
    random = np.random.default_rng(13)
    ids, scale = atlas.dataset.image_ids, atlas.dataset.scale
    inside = np.hypot(*(np.mgrid[:grid, :grid] - (grid - 1) / 2)) < grid / 2
    head = Head(
        np.zeros((hidden, 1, grid, grid), np.float32),
        random.normal(0, 1, hidden).astype(np.float32),
        random.normal(0, 1.5 / np.sqrt(hidden), hidden).astype(np.float32),
        -0.2,
    )
    values = (random.standard_t(2, (len(ids), grid * grid, hidden)) / grid).astype(np.float32)
    asked = {i: of_sums(own, head, (grid, grid), scale) for i, own in zip(ids, values, strict=True)}
    severity = np.array([next(iter(one.severity.values())) for one in asked.values()], np.float32)
    name = Target.of(scale).name
    drops = np.where(inside, np.stack([atlas_drops(one, name) for one in asked.values()]), np.float32(0))
    retinal = np.stack([inside] * len(ids))
    other = np.where(inside, random.normal(0, 0.3, drops.shape), 0).astype(np.float32)
    scores = replace(atlas.scores, severity=severity)
    (pictures / "cells").mkdir(exist_ok=True)
    for image_id, one in asked.items():
        live = one.live(name)
        assert live is not None
        (pictures / "cells" / f"{image_id}.json").write_bytes(encode_cells(live, inside))
    made = replace(
        atlas,
        scores=scores,
        maps=SaliencyMaps(ids, "occlusion", drops, retinal),
        other_maps=(SaliencyMaps(ids, "gradcam", other, retinal),),
        strip=rank(scores, {image.image_id: image.grade for image in atlas.dataset.images}, scale),
        alike=most_alike(ids, random.normal(0.5, 1, (len(ids), 5)).astype(np.float32)),
    )
    return made, asked, head, inside


def _lesson(ids: tuple[str, ...], patches: Patches | None, clusters: Clusters | None) -> Curation:
    """One lesson with a stop of each kind that there is, so that every kind of page has a page."""
    stops = [Stop("A quiet start", "Nothing to see here.\n\nThat is the point.", image=ids[0])]
    file = [{"image": ids[0], "title": stops[0].title, "text": stops[0].text}]
    if patches is not None:
        stops.append(Stop("", "A bright blot.", patch=patches.patch_ids[0]))
        file.append({"patch": patches.patch_ids[0], "text": "A bright blot."})
    if clusters is not None:
        stops.append(Stop("Blots of a kind", "", cluster=2))
        file.append({"cluster": 2, "title": "Blots of a kind"})  # type: ignore[dict-item]
    title, summary = "From disc to blot", "What the drawn discs show."
    return Curation(
        lessons=(Lesson("from-disc-to-blot", title, summary, tuple(stops)),),
        file={"lessons": [{"title": title, "slug": "from-disc-to-blot", "summary": summary, "stops": file}]},
    )


def map_columns(book: Book) -> dict[str, Any]:
    """Return what data/map.js holds; {} if the atlas has no map."""
    return next((columns for _, columns in map_files(book)), {})
