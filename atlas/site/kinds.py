"""Pages of the kinds of lesion that a net found: the best examples, where they are, and in which grades they occur."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from atlas.cohort.lesions import LesionKind, coarsely
from atlas.cohort.regions import Region, near_fovea, region_of
from atlas.site.book import Book
from atlas.site.clusters import Places, places, varied
from atlas.site.found import regions_in
from atlas.site.views import ClusterView, GradeView, Pages, PatchView

_EXAMPLES = 60


@dataclass(frozen=True)
class KindView:
    """A kind of lesion in a cohort.

    Parameters
    ----------
    patches : tuple[PatchView, ...]
        Patches of this kind. Photographs of which the net is most sure come first, and within a photograph the strongest patches.
    plates : int
        Number of photographs in which it was found.
    looked : int
        Number of photographs in which the net looked.
    count : int
        Number of lesions of this kind in all photographs.
    by_grade : tuple[tuple[GradeView, int, int], ...]
        For each grade, the number of photographs, and the number of those in which it was found.
    by_region : tuple[tuple[Region, int], ...]
        For each region, the number of these lesions in it, from the fovea outwards.
    near : int
        Number of these lesions within a disc diameter of the fovea.
    clusters : tuple[ClusterView, ...]
        Clusters of which most patches are of this kind.
    """

    kind: LesionKind
    patches: tuple[PatchView, ...]
    plates: int
    looked: int
    count: int
    by_grade: tuple[tuple[GradeView, int, int], ...]
    places: Places | None
    by_region: tuple[tuple[Region, int], ...]
    near: int
    clusters: tuple[ClusterView, ...]

    @property
    def placed(self) -> int:
        """Number of these lesions in photographs whose fovea was found."""
        return sum(count for _, count in self.by_region)

    @property
    def page(self) -> str:
        return f"lesions/{self.kind.key}.html"

    @property
    def by_width(self) -> bool:
        """Whether lesions have this name because of their width."""
        return coarsely(self.kind.key) == "red_lesion"

    @cached_property
    def examples(self) -> tuple[PatchView, ...]:
        """The best examples, one from each photograph if there are enough."""
        return varied(self.patches, _EXAMPLES)


def kind_views(book: Book) -> tuple[KindView, ...]:
    """Return the kinds that were found, in the order of their table; none if patches are not lesions."""
    if book.atlas.patches is None or not book.atlas.patches.kinds:
        return ()
    shown = {i: own for i, own in book.atlas.found.items() if i in book.plate}
    views = []
    for key, kind in book.kinds.items():
        strengths = {i: [mark.strength for mark in own.marks if mark.kind == key] for i, own in shown.items()}
        having = {i: max(own) for i, own in strengths.items() if own}
        patches = [patch for patch in book.patches.values() if patch.kind == kind]
        if not having or not patches:
            continue
        patches.sort(key=lambda patch: -having.get(patch.plate.id, 0.0))  # stable: one photograph's strongest stay first
        boxes = [(mark.box, own.landmarks) for own in shown.values() for mark in own.marks if mark.kind == key]
        regions = Counter(region_of(*one) for one in boxes)
        by_grade = tuple(
            (
                grade,
                sum(book.plate[i].grade == grade for i in shown),
                sum(book.plate[i].grade == grade for i in having),
            )
            for grade in book.grades
        )
        views.append(
            KindView(
                kind,
                tuple(patches),
                len(having),
                len(shown),
                sum(map(len, strengths.values())),
                by_grade,
                places(patches, book.eyes, book.words),
                tuple((region, regions[name]) for name, region in regions_in(book.words).items()),
                sum(near_fovea(*one) is True for one in boxes),
                tuple(one for one in book.patterns if 2 * sum(p.kind == kind for p in one.patches) > len(one.patches)),
            )
        )
    return tuple(views)


def lesions_pages(book: Book) -> Pages:
    """Yield the overview of all kinds."""
    if views := kind_views(book):
        yield "lesions.html", {"kinds_found": views}


def kind_pages(book: Book) -> Pages:
    """Yield a page for each kind."""
    views = kind_views(book)
    for place, view in enumerate(views):
        yield (
            view.page,
            {
                "found": view,
                "before": views[place - 1] if place else None,
                "after": views[place + 1] if place + 1 < len(views) else None,
            },
        )
