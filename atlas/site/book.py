"""An atlas in the form that its pages show."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from atlas.agreement.ranking import flagged
from atlas.agreement.reading import DECIMALS, FLAGGED_FROM, printable_score
from atlas.cohort.lesions import LesionKind
from atlas.explain.methods import METHODS, OF_ONE_GRADE, method_named, of_one_grade
from atlas.patterns.alarms import ALARMS
from atlas.patterns.clusters import Borders, borders
from atlas.patterns.embedding import LAYOUTS
from atlas.records import DIABETIC_RETINOPATHY, Alarm, Atlas, Curation, Provenance, SaliencyMaps, Scale
from atlas.records import Words as Curated
from atlas.site.cells import density_paths, largest_drop
from atlas.site.colours import severity_colours
from atlas.site.found import FoundView, found_view, kind_counts, kind_places, kinds_in, marked_view
from atlas.site.quality import NAMES, quality_key
from atlas.site.trust import BadgeView, TrustView, badge_counts, badge_views, trust_views
from atlas.site.views import ClusterView, GradeView, LessonView, PatchView, PlateView, StopView, mostly, place, tendency
from atlas.site.words import ENGLISH, Words, sentence_case

_NEIGHBOURS = 6


@dataclass(frozen=True)
class Book:
    """An atlas in the form that its pages show.

    Parameters
    ----------
    atlas : Atlas
        Everything that is shown.
    names : Mapping[str, str]
        File names by image id, only if the user asked for them.
    finer : Mapping[str, int]
        Pixels a side of those plates that are finer than the photographs, by image id.
    words : Words
        Texts in the language of the pages.
    """

    atlas: Atlas
    names: Mapping[str, str] = field(default_factory=dict)
    finer: Mapping[str, int] = field(default_factory=dict)
    words: Words = ENGLISH

    @property
    def curation(self) -> Curation:
        return self.atlas.curation

    @cached_property
    def scale(self) -> Scale:
        """The scale with its names in the language of the pages. The user's own names stay as they are."""
        scale, known = self.atlas.dataset.scale, (*DIABETIC_RETINOPATHY.names, DIABETIC_RETINOPATHY.disease)
        names = tuple(self.words.named(name) if name in known else name for name in scale.names)
        return replace(scale, names=names, disease=self.words.named(scale.disease) if scale.disease in known else scale.disease)

    @cached_property
    def kinds(self) -> Mapping[str, LesionKind]:
        """The kinds of lesion by key, with their names in the language of the pages."""
        return kinds_in(self.words)

    @cached_property
    def provenance(self) -> Provenance:
        """How the atlas was made, in the language of the pages."""
        own, told = self.atlas.provenance, self.words.told
        return replace(own, title=told(own.title), notes=tuple(map(told, own.notes)), how=tuple(map(told, own.how)))

    @cached_property
    def grades(self) -> tuple[GradeView, ...]:
        scale = self.scale
        known = {image.image_id: image.grade for image in self.atlas.dataset.images}
        given = [known[i] for i in self.atlas.strip.image_ids if known[i] is not None]
        return tuple(
            GradeView(g, scale.name(g), colour, given.count(g), len(given))
            for g, colour in zip(scale.grades, severity_colours(len(scale.grades)), strict=True)
        )

    @cached_property
    def eyes(self) -> Mapping[str, str | None]:
        """ "left", "right" or None, by image id."""
        return {image.image_id: image.eye for image in self.atlas.dataset.images}

    @cached_property
    def codes(self) -> Mapping[str, str]:
        """A short code of each photograph: as much of its id, six digits at least, as no other id begins with."""
        ids = sorted(self.atlas.dataset.image_ids)
        apart = (next(k for k, (a, b) in enumerate(zip(*pair, strict=True)) if a != b) for pair in pairwise(ids))
        shared = [0, *apart, 0]
        return {one: one[: max(6, shared[k] + 1, shared[k + 1] + 1)] for k, one in enumerate(ids)}

    @cached_property
    def plates(self) -> tuple[PlateView, ...]:
        """All photographs in ascending severity."""
        strip, scale = self.atlas.strip, self.atlas.dataset.scale
        known = {image.image_id: image.grade for image in self.atlas.dataset.images}
        wide = set(flagged(strip))
        curated = self.curation.images
        scores = self.atlas.scores
        doubts = {} if scores.doubts is None else dict(zip(scores.image_ids, scores.doubts, strict=True))
        views = []
        rows = zip(strip.image_ids, strip.severity.tolist(), strip.read.tolist(), strip.difference.tolist(), strict=True)
        for number, (i, exact, read, gap) in enumerate(rows, start=1):
            grade, score = known[i], printable_score(exact)
            views.append(
                PlateView(
                    id=i,
                    number=number,
                    label=self.names.get(i, i),
                    severity=score,
                    position=100 * min(1.0, max(0.0, scale.to_unit(score))),
                    grade=None if grade is None else self.grades[grade - scale.lowest],
                    read=self.grades[read - scale.lowest],
                    difference=int(gap) if math.isfinite(gap) else None,
                    flagged=i in wide,
                    title=curated[i].title if i in curated else "",
                    note=curated[i].note if i in curated else "",
                    finer=self.finer.get(i, 0),
                    doubts=doubts.get(i),
                    drawn=self.atlas.provenance.synthetic,
                    quality=self.atlas.qualities.get(i),
                    words=self.words,
                )
            )
        return tuple(views)

    @cached_property
    def plate(self) -> Mapping[str, PlateView]:
        return {plate.id: plate for plate in self.plates}

    @cached_property
    def qualities(self) -> tuple[tuple[str, str, int], ...]:
        """The classes of quality that photographs have, the best first: key, word and number; none without a retina."""
        counts = Counter(quality_key(own) for own in self.atlas.qualities.values())
        return tuple((key, self.words.named(name), counts[key]) for key, name in NAMES.items() if counts[key])

    @cached_property
    def graded(self) -> bool:
        return any(plate.grade for plate in self.plates)

    @cached_property
    def flagged(self) -> tuple[PlateView, ...]:
        """Plates whose score, read as a grade, differs by `FLAGGED_FROM` or more from the human grade, widest first."""
        return tuple(self.plate[i] for i in flagged(self.atlas.strip))

    @cached_property
    def differing(self) -> tuple[tuple[int, int], ...]:
        """For each difference that can be asked for, from 1 on: how many plates differ by it or more, either way."""
        gaps = [abs(plate.difference) for plate in self.plates if plate.difference is not None]
        return tuple((least, sum(gap >= least for gap in gaps)) for least in range(1, self.scale.span + 1))

    @property
    def flagged_from(self) -> int:
        """The difference from which a plate is flagged; no plate is where the scale has too few grades for it."""
        return FLAGGED_FROM

    @cached_property
    def patches(self) -> Mapping[str, PatchView]:
        """Patches by id, of the photographs that are shown."""
        found = self.atlas.patches
        if found is None:
            return {}
        clusters = self.atlas.clusters
        label = clusters.of_patch if clusters else {}
        kinds = found.kinds or ("",) * len(found.patch_ids)
        return {
            patch: PatchView(
                patch, self.plate[image], drop, label.get(patch), place(box, self.atlas.frames.get(image)), self.kinds.get(kind)
            )
            for patch, image, drop, box, kind in zip(
                found.patch_ids, found.image_ids, found.drop.tolist(), found.boxes.tolist(), kinds, strict=True
            )
            if image in self.plate
        }

    @cached_property
    def found(self) -> Mapping[str, FoundView]:
        """Lesions that a net found, by image id, of the photographs that are shown."""
        frames, told = self.atlas.frames, self.atlas.provenance
        kinds = {"from_drawn_eyes": told.from_drawn_eyes, "not_marked": told.not_marked}
        views = {
            i: found_view(own, frames.get(i), self.plate[i].severity, self.grid, self.words, **kinds)
            for i, own in self.atlas.found.items()
            if i in self.plate
        }
        return {image: view for image, view in views.items() if view is not None}

    @cached_property
    def found_counts(self) -> Mapping[LesionKind, tuple[int | None, ...]]:
        """How many lesions of each kind a net found, by plate; see `kind_counts`."""
        return kind_counts(self.atlas.found, [plate.id for plate in self.plates], self.kinds)

    @cached_property
    def found_places(self) -> Mapping[str, tuple[int | None, ...]]:
        """Where the lesions of each kind are, by plate; see `kind_places`."""
        return kind_places(self.atlas.found, [plate.id for plate in self.plates])

    @property
    def of_lesions(self) -> bool:
        """Whether patches are lesions that a net found, rather than windows that drove a score."""
        return self.atlas.patches is not None and bool(self.atlas.patches.kinds)

    @property
    def windows(self) -> int:
        """How many patches are windows that drove a score, beside patches that are lesions."""
        return sum(patch.kind is None for patch in self.patches.values()) if self.of_lesions else 0

    @cached_property
    def patches_of(self) -> Mapping[str, tuple[PatchView, ...]]:
        """Patches by image id, largest drop first."""
        by_image: dict[str, list[PatchView]] = {}
        for patch in sorted(self.patches.values(), key=lambda p: (-p.drop, p.id)):
            by_image.setdefault(patch.plate.id, []).append(patch)
        return {image: tuple(views) for image, views in by_image.items()}

    @cached_property
    def clusters(self) -> tuple[ClusterView, ...]:
        found = self.atlas.clusters
        if found is None or not self.patches:
            return ()
        members: dict[int, list[tuple[float, str]]] = {}
        for (patch, number), distance in zip(found.of_patch.items(), found.distances.tolist(), strict=True):
            if patch in self.patches:
                members.setdefault(number, []).append((distance, patch))
        pinned = {patch: place for place, patch in enumerate(self.curation.pinned_patches)}
        alarms = dict(zip(found.shown, found.alarms, strict=False))
        return tuple(
            self._cluster(
                n,
                [self.patches[p] for _, _, p in sorted((pinned.get(p, len(pinned)), d, p) for d, p in members[n])],
                alarms.get(n, ()),
            )
            for n in sorted(members)
        )

    @cached_property
    def cluster(self) -> Mapping[int, ClusterView]:
        return {cluster.number: cluster for cluster in self.clusters}

    @cached_property
    def lessons(self) -> tuple[LessonView, ...]:
        """The curator's lessons, in their order."""
        return lesson_views(self)

    @property
    def unsure(self) -> tuple[PlateView, ...] | None:
        """Plates whose scores the scorer is not sure of; None if it has no rule for that."""
        return None if self.atlas.scores.doubts is None else tuple(plate for plate in self.plates if plate.doubts)

    @cached_property
    def pinned_plates(self) -> tuple[PlateView, ...]:
        """Photographs that the curator pinned to be seen first, in the curator's order."""
        return tuple(self.plate[i] for i in self.curation.pinned_images if i in self.plate)

    @cached_property
    def borders(self) -> Borders:
        """Where clusters meet: borderline patches and nearest clusters."""
        return borders(self.atlas.patches, self.atlas.clusters)

    @cached_property
    def clusters_pinned_first(self) -> tuple[ClusterView, ...]:
        """All clusters: the pinned ones in the curator's order, then the others by number."""
        pinned = [self.cluster[n] for n in self.curation.pinned_clusters if n in self.cluster]
        return (*pinned, *(cluster for cluster in self.clusters if cluster not in pinned))

    @cached_property
    def patterns(self) -> tuple[ClusterView, ...]:
        """Clusters that have cards: those that are not too small, and those that the curator pinned."""
        return tuple(one for one in self.clusters if not one.too_small or one.number in self.curation.pinned_clusters)

    def _cluster(self, number: int, patches: Sequence[PatchView], alarms: Sequence[Alarm]) -> ClusterView:
        plates = {patch.plate.id: patch.plate for patch in patches}
        counts = tuple(sum(plate.grade == grade for plate in plates.values()) for grade in self.grades)
        curated = self.curation.clusters.get(number, Curated())
        return ClusterView(
            number=number,
            patches=tuple(patches),
            plates=len(plates),
            graded=sum(counts),
            counts=counts,
            median_drop=float(np.median([patch.drop for patch in patches])),
            summary=tendency(self.grades, counts, self.words),
            alarms=tuple(map(self._alarm, alarms)),
            title=curated.title,
            note=curated.note,
            mostly=mostly([patch.kind for patch in patches if patch.kind is not None], len(plates), self.words),
            words=self.words,
        )

    def _alarm(self, alarm: Alarm) -> tuple[str, str]:
        """Return the title of a cluster's alarm, and what it means."""
        kind, shares = ALARMS[alarm.kind], {"share": self.words.percent(alarm.share), "usual": self.words.percent(alarm.usual)}
        return self.words.named(kind.title), sentence_case(self.words.gettext(kind.sentence, **shares))

    def along_the_scale(self, count: int) -> tuple[PlateView, ...]:
        """Pick at most `count` different plates, one for each of as many equal steps from the lowest to the highest score.

        Of the plates in a step, it is one whose score and human grade differ least; among those, the one nearest to the middle.
        """
        if not self.plates:
            return ()
        low, high = self.plates[0].severity, self.plates[-1].severity
        step = (high - low) / max(count - 1, 1)
        picked = dict[str, PlateView]()
        for k in range(count):
            middle = low + k * step
            near = [plate for plate in self.plates if abs(plate.severity - middle) <= step / 2]
            if near:
                typical = min(near, key=lambda one: (abs(one.difference or 0), one.grade is None, abs(one.severity - middle)))
                picked[typical.id] = typical
        return tuple(sorted(picked.values(), key=lambda plate: plate.number))

    def below(self, plate: PlateView) -> int:
        """Return how many plates have a lower score."""
        exact = np.round(self.atlas.strip.severity.astype(float), DECIMALS)
        return int(np.searchsorted(exact, exact[plate.number - 1]))

    def typical_of(self, grade: GradeView) -> PlateView | None:
        """Return the plate whose score is the (lower) median of its human grade, or None if no plate has this grade."""
        plates = [plate for plate in self.plates if plate.grade == grade]
        return plates[(len(plates) - 1) // 2] if plates else None

    @cached_property
    def maps(self) -> Mapping[str, SaliencyMaps]:
        """All maps by method, the atlas's main method first."""
        return {maps.method: maps for maps in (self.atlas.maps, *self.atlas.other_maps)}

    @cached_property
    def limits(self) -> Mapping[str, float]:
        """The drop that is drawn in the strongest colour, by method, in grade units. 99.5% of the atlas's cells are within it."""
        limits = {method: largest_drop(maps) for method, maps in self.maps.items()}
        shared = max((limit for method, limit in limits.items() if of_one_grade(method)), default=0.0)  # grades are compared
        return {method: shared if of_one_grade(method) else limit for method, limit in limits.items()}

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of cells that can be hidden."""
        rows, columns = self.atlas.maps.values.shape[1:]
        return rows + self.atlas.maps.window - 1, columns + self.atlas.maps.window - 1

    @property
    def limit(self) -> float:
        """The drop that is drawn in the strongest colour by the atlas's main method, in grade units."""
        return self.limits[self.atlas.maps.method]

    @cached_property
    def methods(self) -> tuple[tuple[str, str, str], ...]:
        """The methods of the maps, but for those that explain one grade: name, title, and a sentence on what each does."""
        known, named = ((method, METHODS.get(method)) for method in self.maps if not of_one_grade(method)), self.words.named
        return tuple(
            (name, named(one.title), named(one.meaning)) if one else (name, name.capitalize(), "") for name, one in known
        )

    @cached_property
    def grade_methods(self) -> tuple[tuple[str, GradeView, str], ...]:
        """The methods of maps that explain one grade: name, the grade, and a sentence on what each does."""
        names = {f"{OF_ONE_GRADE}{grade.number}": grade for grade in self.grades}
        told = self.words.told
        return tuple((name, grade, told(method_named(name).meaning)) for name, grade in names.items() if name in self.maps)

    @cached_property
    def map_rows(self) -> Mapping[str, int]:
        """The row of each image in the maps."""
        return {image_id: row for row, image_id in enumerate(self.atlas.maps.image_ids)}

    @cached_property
    def density(self) -> tuple[tuple[str, str], ...]:
        """The distribution of all scores over the scale, by human grade, to be drawn in this order.

        Colour and SVG path of each, in a box of 100 by 24; photographs without a grade have no colour. A path covers its own
        grade and all lower ones.
        """
        groups = {grade.colour: [p.position for p in self.plates if p.grade == grade] for grade in self.grades}
        groups[""] = [plate.position for plate in self.plates if plate.grade is None]
        shown = {colour: positions for colour, positions in groups.items() if positions}
        paths = density_paths(list(shown.values()), self.atlas.dataset.scale.span)
        return tuple(zip(shown, paths, strict=True))[::-1]

    @cached_property
    def alike_rows(self) -> Mapping[str, int]:
        """The row of each image in `atlas.patterns.similar`."""
        return {} if self.atlas.alike is None else {image_id: row for row, image_id in enumerate(self.atlas.alike.image_ids)}

    def alike(self, plate: PlateView) -> tuple[tuple[PlateView, float], ...]:
        """Return the photographs that are most similar to this one for the network, with their cosine, most similar first."""
        found, row = self.atlas.alike, self.alike_rows.get(plate.id)
        if found is None or row is None:
            return ()
        others = ((found.image_ids[k], cosine) for k, cosine in zip(found.others[row], found.cosine[row].tolist(), strict=True))
        return tuple((self.plate[i], cosine) for i, cosine in others if i in self.plate)

    @cached_property
    def trust(self) -> Mapping[str, TrustView]:
        """Badge and deletion figure of each photograph by image id; empty if the atlas has none."""
        return trust_views(self.atlas, self.words)

    @property
    def badges(self) -> list[tuple[BadgeView, int]]:
        """How many photographs have each badge, the most informative badge first."""
        return badge_counts(badge_views(self.atlas.dataset.scale, self.words).values(), self.trust)

    @property
    def layout(self) -> str:
        """The name of the patch map's layout, spelled as in the literature."""
        method = self.atlas.embedding.method if self.atlas.embedding else ""
        return LAYOUTS[method].title if method in LAYOUTS else method

    @property
    def mapped(self) -> bool:
        return self.atlas.embedding is not None and bool(self.patches)

    @property
    def measured(self) -> bool:
        """Whether the methods page has figures of agreement to draw."""
        return self.atlas.evaluation is not None or self.atlas.scorer_evaluation is not None

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What the reader must know: the notes of the provenance, then one sentence for each thing that is missing."""
        w, missing = self.words, []
        bare = sum(plate.grade is None for plate in self.plates)
        if not self.graded:
            missing.append(w.gettext("These photographs have no human grades, so nothing is compared with grades."))
        elif bare:
            missing.append(
                w.ngettext(
                    "%(n)s photograph has no human grade. Comparisons leave it out.",
                    "%(n)s photographs have no human grade. Comparisons leave them out.",
                    bare,
                )
            )
        if not self.patches:
            missing.append(w.gettext("This atlas has no salient patches, so it has no clusters and no patch map."))
        elif not self.clusters:
            missing.append(w.gettext("The patches were not clustered, so there are no cluster pages."))
        if self.patches and not self.mapped:
            missing.append(w.gettext("No layout was computed for the patches, so there is no patch map."))
        return tuple(dict.fromkeys((*self.provenance.notes, *missing)))

    def report(self, plate: PlateView) -> dict[str, Any]:
        """Return what the report of one photograph shows."""
        place = plate.number - 1
        first = max(0, min(place - _NEIGHBOURS // 2, len(self.plates) - _NEIGHBOURS - 1))
        return {
            "plate": plate,
            "patches": self.patches_of.get(plate.id, ()),
            "found": self.found.get(plate.id),
            "marked": marked_view(
                self.atlas.marked.get(plate.id, ()),
                self.atlas.frames.get(plate.id),
                drawn=self.atlas.provenance.synthetic,
                words=self.words,
            ),
            "mapped": plate.id in self.map_rows,
            "alike": self.alike(plate),
            "neighbours": self.plates[first : first + _NEIGHBOURS + 1],
            "before": self.plates[place - 1] if place else None,
            "after": self.plates[place + 1] if place + 1 < len(self.plates) else None,
        }


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
