"""What each page says: an atlas turned into readable views, and the one table of page kinds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from markdown_it import MarkdownIt
from markupsafe import Markup, escape

from atlas.alarms import ALARMS, sentence
from atlas.embedding import LAYOUTS
from atlas.records import Alarm, Atlas, Curation, Evaluation, Frame, SaliencyMaps, Words
from atlas.site.cells import METHOD_WORDS, density_path, largest_drop
from atlas.site.clusterviews import Borders, borders, study
from atlas.site.figures import figures, measures
from atlas.site.glossary import glossary_pages
from atlas.site.lessons import LessonView, cluster_handouts, lesson_handouts, lesson_pages, lesson_views, lessons_pages
from atlas.site.mapdata import cluster_colour
from atlas.site.trust import TrustView, badge_counts, trust_views
from atlas.strip import flagged
from atlas.trust import Badge

_RAMP = np.array([(0xEC, 0xC4, 0x6C), (0xE0, 0x8A, 0x52), (0xC4, 0x47, 0x6B), (0x86, 0x3C, 0x9E)], dtype=float)
"""Sand to violet: lightness falls steadily, so the order survives colour blindness and grey printing."""

_NEIGHBOURS = 6

FIGURES: Mapping[str, str] = {
    "spearman": "rank correlation with the human grade; 1 is the same order",
    "mae": "mean distance from the human grade, in grades",
    "quadratic_kappa": "agreement with the human grade beyond chance, wide misses weighing more; 1 is perfect, 0 is chance",
    "accuracy": "share of photographs read as the human grade",
    "skipped": "share of photographs read two or more grades off",
    "auc_referable": "how often a photograph that would be referred outranks one that would not; 0.5 is chance",
    "sensitivity_referable": "share called referable among those that would be referred",
    "specificity_referable": "share called not referable among those that would not be referred",
}
"""What the figures of an evaluation mean, whatever the method, for the methods page."""


def severity_colours(count: int) -> tuple[str, ...]:
    """Sample the severity ramp at `count` grades, mildest first, as #rrggbb."""
    places = np.linspace(0, len(_RAMP) - 1, count)
    channels = [np.interp(places, np.arange(len(_RAMP)), _RAMP[:, k]) for k in range(3)]
    return tuple("#{:02x}{:02x}{:02x}".format(*(round(float(c)) for c in colour)) for colour in zip(*channels, strict=True))


@dataclass(frozen=True)
class GradeView:
    """One grade of the scale, and how much of the graded cohort carries it (0..1)."""

    number: int
    name: str
    colour: str
    count: int
    share: float

    @property
    def label(self) -> str:
        return f"{self.number} {self.name}"


@dataclass(frozen=True)
class PlateView:
    """One photograph. `number` is its 1-based place in ascending severity; `position` its score along the scale, in percent.

    finer : pixels a side of the plate at `detail`, for readers who look closer; 0 where `photograph` holds all there is.
    """

    id: str
    number: int
    label: str
    severity: float
    position: float
    grade: GradeView | None
    disagreement: float | None
    flagged: bool
    title: str = ""  # of the curator
    note: str = ""
    finer: int = 0

    @property
    def page(self) -> str:
        return f"images/{self.id}.html"

    @property
    def photograph(self) -> str:
        return f"photographs/{self.id}.jpg"

    @property
    def detail(self) -> str:
        return f"plates/{self.id}.jpg"

    @property
    def thumbnail(self) -> str:
        return f"thumbnails/{self.id}.jpg"

    @property
    def cells(self) -> str:
        return f"cells/{self.id}.js"

    @property
    def alt(self) -> str:
        grade = f"human grade {self.grade.label}" if self.grade else "no human grade"
        return f"Plate {self.number}: photograph scored {self.severity:.2f}, {grade}"

    @property
    def verdict(self) -> str:
        """The score, read as a grade by its place in the cohort, beside the human grade, in words."""
        if self.disagreement is None:
            return "There is no human grade to compare the score with."
        size = abs(self.disagreement)
        if size < 0.5:
            return "Its place among the graded photographs agrees with the human grade to within half a grade."
        direction = "more severe" if self.disagreement > 0 else "milder"
        unit = "grade" if f"{size:.1f}" == "1.0" else "grades"
        return f"By its place among the graded photographs, the score reads {size:.1f} {unit} {direction} than the human grade."


@dataclass(frozen=True)
class PatchView:
    """One salient window. `box` is top, left, height, width in percent of the plate, or None where its frame is unknown."""

    id: str
    plate: PlateView
    drop: float
    cluster: int | None  # 1-based, as readers see it
    box: tuple[float, float, float, float] | None

    @property
    def picture(self) -> str:
        return f"patches/{self.id}.jpg"

    @property
    def cluster_page(self) -> str:
        return cluster_page(self.cluster) if self.cluster else ""

    @property
    def alt(self) -> str:
        verb = "lowers" if self.drop >= 0 else "raises"
        return f"Patch of plate {self.plate.number}: leaving it out {verb} the score by {abs(self.drop):.2f} grades"


@dataclass(frozen=True)
class ClusterView:
    """One lesion pattern: its patches, pinned ones and then the most typical first.

    shares : how its photographs spread over the grades (0..1, per grade).
    """

    number: int
    patches: tuple[PatchView, ...]
    plates: int
    graded: int
    shares: tuple[float, ...]
    median_drop: float
    summary: str
    alarms: tuple[tuple[str, str], ...] = ()  # title and sentence
    title: str = ""  # of the curator
    note: str = ""

    @property
    def page(self) -> str:
        return cluster_page(self.number)

    @property
    def colour(self) -> str:
        return cluster_colour(self.number)

    @property
    def handout(self) -> str:
        return f"handouts/cluster-{self.number:02d}.html"

    @property
    def name(self) -> str:
        """What the curator calls it, after its number."""
        return f"Cluster {self.number}" + (f": {self.title}" if self.title else "")


def cluster_page(number: int) -> str:
    return f"clusters/{number:02d}.html"


@dataclass(frozen=True)
class Book:
    """An atlas as its readers see it.

    names : file names by image id, only where the user asked for them.   finer : pixels a side of those plates that are finer
    than the photographs, by image id.
    """

    atlas: Atlas
    names: Mapping[str, str] = field(default_factory=dict)
    finer: Mapping[str, int] = field(default_factory=dict)

    @property
    def curation(self) -> Curation:
        return self.atlas.curation

    @cached_property
    def grades(self) -> tuple[GradeView, ...]:
        scale = self.atlas.dataset.scale
        known = {image.image_id: image.grade for image in self.atlas.dataset.images}
        given = [known[i] for i in self.atlas.strip.image_ids if known[i] is not None]
        return tuple(
            GradeView(g, scale.name(g), colour, given.count(g), given.count(g) / len(given) if given else 0.0)
            for g, colour in zip(scale.grades, severity_colours(len(scale.grades)), strict=True)
        )

    @cached_property
    def plates(self) -> tuple[PlateView, ...]:
        """All photographs in ascending severity."""
        strip, scale = self.atlas.strip, self.atlas.dataset.scale
        known = {image.image_id: image.grade for image in self.atlas.dataset.images}
        wide = set(flagged(strip))
        words = self.curation.images
        views = []
        for number, (i, score, gap) in enumerate(
            zip(strip.image_ids, strip.severity.tolist(), strip.disagreement.tolist(), strict=True), start=1
        ):
            grade = known[i]
            views.append(
                PlateView(
                    id=i,
                    number=number,
                    label=self.names.get(i, i),
                    severity=score,
                    position=100 * min(1.0, max(0.0, scale.to_unit(score))),
                    grade=None if grade is None else self.grades[grade - scale.lowest],
                    disagreement=gap if math.isfinite(gap) else None,
                    flagged=i in wide,
                    title=words[i].title if i in words else "",
                    note=words[i].note if i in words else "",
                    finer=self.finer.get(i, 0),
                )
            )
        return tuple(views)

    @cached_property
    def plate(self) -> Mapping[str, PlateView]:
        return {plate.id: plate for plate in self.plates}

    @cached_property
    def graded(self) -> bool:
        return any(plate.grade for plate in self.plates)

    @cached_property
    def flagged(self) -> tuple[PlateView, ...]:
        """Plates where score and grade differ most, widest first."""
        return tuple(self.plate[i] for i in flagged(self.atlas.strip))

    @cached_property
    def patches(self) -> Mapping[str, PatchView]:
        """Patches by id, of the photographs that are shown."""
        found = self.atlas.patches
        if found is None:
            return {}
        clusters = self.atlas.clusters
        label = clusters.of_patch if clusters else {}
        return {
            patch: PatchView(patch, self.plate[image], drop, label.get(patch), _place(box, self.atlas.frames.get(image)))
            for patch, image, drop, box in zip(
                found.patch_ids, found.image_ids, found.drop.tolist(), found.boxes.tolist(), strict=True
            )
            if image in self.plate
        }

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

    @cached_property
    def pinned_plates(self) -> tuple[PlateView, ...]:
        """Photographs that the curator wants seen first, in the curator's order."""
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

    def _cluster(self, number: int, patches: Sequence[PatchView], alarms: Sequence[Alarm]) -> ClusterView:
        plates = {patch.plate.id: patch.plate for patch in patches}
        of_grade = [sum(plate.grade == grade for plate in plates.values()) for grade in self.grades]
        graded = sum(of_grade)
        shares = tuple(n / graded if graded else 0.0 for n in of_grade)
        words = self.curation.clusters.get(number, Words())
        return ClusterView(
            number=number,
            patches=tuple(patches),
            plates=len(plates),
            graded=graded,
            shares=shares,
            median_drop=float(np.median([patch.drop for patch in patches])),
            summary=_tendency(self.grades, shares, graded),
            alarms=tuple((ALARMS[alarm.kind].title, sentence(alarm)) for alarm in alarms),
            title=words.title,
            note=words.note,
        )

    def along_the_scale(self, count: int) -> tuple[PlateView, ...]:
        """Pick at most `count` different plates, evenly spaced between the lowest and the highest score."""
        if not self.plates:
            return ()
        scores = np.array([plate.severity for plate in self.plates])
        places = {int(np.argmin(np.abs(scores - target))) for target in np.linspace(scores[0], scores[-1], count)}
        return tuple(self.plates[place] for place in sorted(places))

    def typical_of(self, grade: GradeView) -> PlateView | None:
        """The plate whose score is the (lower) median of its human grade, or None where no plate carries it."""
        plates = [plate for plate in self.plates if plate.grade == grade]
        return plates[(len(plates) - 1) // 2] if plates else None

    @cached_property
    def maps(self) -> Mapping[str, SaliencyMaps]:
        """All maps by method, the atlas' own method first."""
        return {maps.method: maps for maps in (self.atlas.maps, *self.atlas.other_maps)}

    @cached_property
    def limits(self) -> Mapping[str, float]:
        """By method the drop drawn strongest, one for the whole atlas: 99.5 % of all cells lie within it (grade units)."""
        return {method: largest_drop(maps) for method, maps in self.maps.items()}

    @property
    def limit(self) -> float:
        """The drop drawn strongest by the atlas' own method (grade units)."""
        return self.limits[self.atlas.maps.method]

    @cached_property
    def methods(self) -> tuple[tuple[str, str, str], ...]:
        """The methods of the maps: name, title, and a sentence on what each does."""
        return tuple((method, *METHOD_WORDS.get(method, (method.capitalize(), ""))) for method in self.maps)

    @cached_property
    def map_rows(self) -> Mapping[str, int]:
        """The row of each image in the maps."""
        return {image_id: row for row, image_id in enumerate(self.atlas.maps.image_ids)}

    @cached_property
    def density(self) -> str:
        """How all scores spread over the scale: an SVG path in a box of 100 by 24."""
        return density_path([plate.position for plate in self.plates], self.atlas.dataset.scale.span)

    @cached_property
    def alike_rows(self) -> Mapping[str, int]:
        """The row of each image in `atlas.alike`."""
        return {} if self.atlas.alike is None else {image_id: row for row, image_id in enumerate(self.atlas.alike.image_ids)}

    def alike(self, plate: PlateView) -> tuple[tuple[PlateView, float], ...]:
        """The photographs that look most alike to the network, with their cosine, most alike first."""
        found, row = self.atlas.alike, self.alike_rows.get(plate.id)
        if found is None or row is None:
            return ()
        others = ((found.image_ids[k], cosine) for k, cosine in zip(found.others[row], found.cosine[row].tolist(), strict=True))
        return tuple((self.plate[i], cosine) for i, cosine in others if i in self.plate)

    @cached_property
    def trust(self) -> Mapping[str, TrustView]:
        """Badge and deletion figure of each photograph by image id; empty where the atlas holds none."""
        return trust_views(self.atlas)

    @property
    def badges(self) -> list[tuple[Badge, int]]:
        """How many photographs carry each badge."""
        return badge_counts(self.trust)

    @property
    def layout(self) -> str:
        """The patch map's layout as the field writes it."""
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
        """What the reader must know: the provenance's notes, then one sentence for each thing that is missing."""
        missing = []
        if not self.graded:
            missing.append("These photographs came without human grades, so nothing is compared with a grade.")
        elif any(plate.grade is None for plate in self.plates):
            bare = sum(plate.grade is None for plate in self.plates)
            missing.append(f"Photographs without a human grade: {bare}; comparisons leave them out.")
        if not self.patches:
            missing.append("This atlas has no salient patches, so it has no clusters and no patch map.")
        elif not self.clusters:
            missing.append("The patches were not clustered, so there are no cluster pages.")
        if self.patches and not self.mapped:
            missing.append("The patches were not laid out in the plane, so there is no patch map.")
        return tuple(dict.fromkeys((*self.atlas.provenance.notes, *missing)))

    def report(self, plate: PlateView) -> dict[str, Any]:
        """What a report of one photograph shows."""
        place = plate.number - 1
        first = max(0, min(place - _NEIGHBOURS // 2, len(self.plates) - _NEIGHBOURS - 1))
        return {
            "plate": plate,
            "patches": self.patches_of.get(plate.id, ()),
            "mapped": plate.id in self.map_rows,
            "alike": self.alike(plate),
            "neighbours": self.plates[first : first + _NEIGHBOURS + 1],
            "before": self.plates[place - 1] if place else None,
            "after": self.plates[place + 1] if place + 1 < len(self.plates) else None,
        }


def _place(box: Sequence[int], frame: Frame | None) -> tuple[float, float, float, float] | None:
    """Source pixels (top, left, bottom, right) to percent of the plate (top, left, height, width), cut at its edge."""
    if frame is None:
        return None
    top, left, bottom, right = (
        min(100.0, max(0.0, 100 * (edge - origin) / frame.side))
        for edge, origin in zip(box, (frame.top, frame.left, frame.top, frame.left), strict=True)
    )
    return top, left, bottom - top, right - left


def _tendency(grades: Sequence[GradeView], shares: Sequence[float], graded: int) -> str:
    """Say where a cluster's photographs are over-represented, if anywhere."""
    lifts = [(share / grade.share, grade) for grade, share in zip(grades, shares, strict=True) if grade.share and share]
    if not lifts:
        return "None of its photographs carries a human grade."
    lift, grade = max(lifts, key=lambda pair: (pair[0], pair[1].number))
    if lift < 1.25:
        return "Its photographs spread over the grades much as the whole cohort does."
    caution = " Few photographs stand behind this." if graded < 10 else ""
    return f"Photographs graded {grade.label} are {lift:.1f} times as frequent here as in the whole cohort.{caution}"


Pages = Iterator[tuple[str, dict[str, Any]]]


def _home(book: Book) -> Pages:
    typical = [(grade, book.typical_of(grade)) for grade in book.grades]
    yield "index.html", {"journey": book.along_the_scale(9), "typical": [(g, p) for g, p in typical if p]}


def _strip(book: Book) -> Pages:
    yield "strip.html", {}


def _find(book: Book) -> Pages:
    yield "find.html", {}


def _map(book: Book) -> Pages:
    if book.mapped:
        yield "map.html", {}


def _clusters(book: Book) -> Pages:
    if book.clusters:
        yield "clusters.html", {}


def _cluster(book: Book) -> Pages:
    for place, cluster in enumerate(book.clusters):
        yield (
            cluster.page,
            {
                "cluster": cluster,
                "study": study(book, cluster),
                "before": book.clusters[place - 1] if place else None,
                "after": book.clusters[place + 1] if place + 1 < len(book.clusters) else None,
            },
        )


def _image(book: Book) -> Pages:
    for plate in book.plates:
        yield plate.page, book.report(plate)


def _compare(book: Book) -> Pages:
    if len(book.plates) > 1:
        yield "compare.html", {}


def _quiz(book: Book) -> Pages:
    if book.graded:
        yield "quiz.html", {"plates": sum(plate.grade is not None for plate in book.plates)}


def _quiz_print(book: Book) -> Pages:
    if book.graded:
        yield "quiz-print.html", {"plates": sum(plate.grade is not None for plate in book.plates)}


def _methods(book: Book) -> Pages:
    provenance = book.atlas.provenance
    yield (
        "methods.html",
        {
            "settings": list(flattened(provenance.settings)),
            "card": card_html(provenance.card),
            "agreement": _agreement(book, book.atlas.evaluation),
            "scorer_agreement": _agreement(book, book.atlas.scorer_evaluation),
            "meanings": FIGURES,
            "spread": _spread(book),
        },
    )


@dataclass(frozen=True)
class PageKind:
    """A kind of page: its template, what yields each page's path in the site with its context, and how many there are where that
    is known without making them."""

    template: str
    pages: Callable[[Book], Pages]
    count: Callable[[Book], int] | None = None


PAGES: Mapping[str, PageKind] = {
    "home": PageKind("home.html", _home),
    "strip": PageKind("strip.html", _strip),
    "find": PageKind("find.html", _find),
    "map": PageKind("map.html", _map),
    "clusters": PageKind("clusters.html", _clusters),
    "cluster": PageKind("cluster.html", _cluster, lambda book: len(book.clusters)),
    "cluster-handout": PageKind("cluster-handout.html", cluster_handouts, lambda book: len(book.clusters)),
    "lessons": PageKind("lessons.html", lessons_pages),
    "lesson": PageKind("lesson.html", lesson_pages),
    "lesson-handout": PageKind("lesson-handout.html", lesson_handouts),
    "image": PageKind("image.html", _image, lambda book: len(book.plates)),
    "compare": PageKind("compare.html", _compare),
    "quiz": PageKind("quiz.html", _quiz),
    "quiz-print": PageKind("quiz-print.html", _quiz_print),
    "methods": PageKind("methods.html", _methods),
    "glossary": PageKind("glossary.html", glossary_pages),
}


def flattened(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted names and readable values, in name order. Absolute paths are withheld: they name machines and people."""
    for name in sorted(settings):
        value = settings[name]
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _readable(value)


def _readable(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "not set"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_readable(item) for item in value)
    text = str(value)
    if PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute():
        return "a path on the builder's machine, withheld"
    return text


def card_html(card: str) -> Markup:
    """Render a model card. Raw HTML stays text, a picture becomes its description: a card cannot run or fetch anything."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    markdown.add_render_rule("image", lambda self, tokens, place, options, env: str(escape(tokens[place].content)))
    tokens = markdown.parse(card)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):  # the card sits below an h2 of its page
            token.tag = f"h{min(6, int(token.tag[1]) + 2)}"
    return Markup(markdown.renderer.render(tokens, markdown.options, {}))


def _agreement(book: Book, evaluation: Evaluation | None) -> dict[str, Any] | None:
    """What the page shows of an evaluation: its measures by method, and its figures."""
    if evaluation is None:
        return None
    methods, rows = measures(evaluation)
    drawn = figures(evaluation, book.atlas.dataset.scale, [grade.colour for grade in book.grades])
    return {"evaluation": evaluation, "methods": methods, "measures": rows, "figures": drawn}


def _spread(book: Book) -> list[tuple[GradeView, list[float], float]]:
    """Per grade with photographs: the score's histogram (percent of its tallest bar), mean in percent of the scale."""
    rows = []
    for grade in book.grades:
        places = [plate.position for plate in book.plates if plate.grade == grade]
        if places:
            bars, _ = np.histogram(places, bins=len(book.grades) * 10 - 10, range=(0, 100))
            rows.append((grade, (100 * bars / bars.max()).tolist(), float(np.mean(places))))
    return rows
