"""Lessons and handouts: the curator's walks through an atlas, and what is handed out on paper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atlas.site.pages import Book, ClusterView, PatchView, PlateView

_SAMPLES = 12  # patches that stand for a cluster
_SHEET = 20  # on its handout
_PHOTOGRAPHS = 4  # in which a handout shows where a cluster's patches lie
_ANCHORS = 12  # patches by which the curation file knows a cluster again


@dataclass(frozen=True)
class StopView:
    """A stop of a lesson: a plate, with or without one of its patches, or a cluster."""

    number: int
    title: str
    text: str
    plate: PlateView | None = None
    patch: PatchView | None = None
    cluster: ClusterView | None = None

    @property
    def target(self) -> str:
        """What is looked at, in a word or two."""
        if self.cluster is not None:
            return f"Cluster {self.cluster.number}"
        return "" if self.plate is None else f"Plate {self.plate.number}"

    @property
    def heading(self) -> str:
        named = self.cluster or self.plate
        return self.title or (named.title if named else "") or self.target

    @property
    def samples(self) -> tuple[PatchView, ...]:
        return self.cluster.patches[:_SAMPLES] if self.cluster else ()

    @property
    def picture(self) -> str:
        """A small picture that stands for the stop."""
        if self.patch is not None:
            return self.patch.picture
        if self.cluster is not None:
            return self.cluster.patches[0].picture
        return self.plate.thumbnail if self.plate else ""


@dataclass(frozen=True)
class LessonView:
    slug: str
    title: str
    summary: str
    stops: tuple[StopView, ...]

    @property
    def page(self) -> str:
        return f"lessons/{self.slug}.html"

    @property
    def handout(self) -> str:
        return f"handouts/lesson-{self.slug}.html"


def lesson_views(book: Book) -> tuple[LessonView, ...]:
    """Return the lessons whose photographs, patches and clusters the book shows, in the curator's order."""
    lessons = []
    for lesson in book.curation.lessons:
        stops: list[StopView] = []
        for stop in lesson.stops:
            number, patch = len(stops) + 1, book.patches.get(stop.patch or "")
            plate = patch.plate if patch else book.plate.get(stop.image or "")
            cluster = book.cluster.get(stop.cluster or 0)
            if plate or cluster:
                stops.append(StopView(number, stop.title, stop.text, plate, patch, cluster))
        lessons.append(LessonView(lesson.slug, lesson.title, lesson.summary, tuple(stops)))
    return tuple(lessons)


Pages = Iterator[tuple[str, dict[str, Any]]]


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
    """Return what the edit mode starts from, for `window.ATLAS_CURATION`.

    file : the whole curation in plain values, clusters by their numbers of this build.   clusters : by number, some patches that
    tell which cluster it is, for the file.   images : the plates' numbers by image id, of the photographs that the file names.
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
