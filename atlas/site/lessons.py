"""Lessons and handouts: the curator's guided tours of an atlas, and sheets to hand out on paper."""

from __future__ import annotations

from typing import Any

from atlas.site.book import Book
from atlas.site.views import Pages, PatchView

_SHEET = 20  # patches on a cluster's handout

_PHOTOGRAPHS = 4  # photographs in which a handout shows where a cluster's patches are

_ANCHORS = 12  # patches by which the curation file recognises a cluster


def lessons_pages(book: Book) -> Pages:
    yield "lessons.html", {}


def lesson_pages(book: Book) -> Pages:
    for lesson in book.lessons:
        yield lesson.page, {"lesson": lesson}


def lesson_handouts(book: Book) -> Pages:
    for lesson in book.lessons:
        yield lesson.handout, {"lesson": lesson}


def cluster_handouts(book: Book) -> Pages:
    for cluster in book.clusters:
        plates: dict[str, list[PatchView]] = {}
        for patch in cluster.patches:
            if patch.box is not None and (patch.plate.id in plates or len(plates) < _PHOTOGRAPHS):
                plates.setdefault(patch.plate.id, []).append(patch)
        yield (
            cluster.handout,
            {"cluster": cluster, "samples": cluster.patches[:_SHEET], "shown_in": [(p[0].plate, p) for p in plates.values()]},
        )


def curation_script(book: Book) -> dict[str, Any]:
    """Return the data that the edit mode starts from, for `window.ATLAS_CURATION`.

    Returns
    -------
    dict[str, Any]
        `file`: the complete curation in plain values, with clusters by their numbers in this build.
        `clusters`: by number, some patches that identify the cluster in the file.
        `images`: numbers of plates by image id, for the photographs that the file names.
    """
    file = book.curation.file
    listed = [stop.get("image") for lesson in file.get("lessons", ()) for stop in lesson.get("stops", ())]
    named = {*file.get("images", {}), *file.get("pins", {}).get("images", ()), *(image for image in listed if image)}
    pinned = set(book.curation.pinned_patches)
    return {
        "file": file,
        "clusters": {
            str(cluster.number): [patch.id for patch in cluster.patches if patch.id not in pinned][:_ANCHORS]
            or [patch.id for patch in cluster.patches[:_ANCHORS]]
            for cluster in book.clusters
        },
        "images": {image: book.plate[image].number for image in sorted(named) if image in book.plate},
    }
