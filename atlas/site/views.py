"""What pages show about a photograph, a patch, a cluster, a grade and a lesson."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from atlas.agreement.doubt import REASONS
from atlas.agreement.reading import FLAGGED_FROM
from atlas.cohort.lesions import KINDS, LesionKind, coarsely
from atlas.patterns.clusters import FEWEST_PHOTOGRAPHS
from atlas.records import Frame, Quality
from atlas.site.colours import cluster_colour
from atlas.site.quality import quality_told
from atlas.site.words import ENGLISH, FEW, Words, is_seen, sentence_case

Pages = Iterator[tuple[str, dict[str, Any]]]
"""Paths of pages, and the context of their templates."""

_MOSTLY = 50  # a cluster is named after a kind of lesion if more than this percentage of its patches are of that kind

_SAMPLES = 12  # patches shown as examples of a cluster

_FEW = 10  # graded photographs of a cluster; with fewer, chance may explain its grades


@dataclass(frozen=True)
class GradeView:
    """One grade of the scale, and how many of the `total` graded photographs of the cohort have it."""

    number: int
    name: str
    colour: str
    count: int
    total: int

    @property
    def share(self) -> float:
        """Share of the graded photographs that have it, 0 to 1."""
        return self.count / self.total if self.total else 0.0

    @property
    def label(self) -> str:
        return f"{self.number} {self.name}"

    @property
    def within(self) -> str:
        """Number and name for use within a sentence."""
        return f"{self.number} ({self.name})"


@dataclass(frozen=True)
class PlateView:
    """One photograph. `number` is its 1-based place in ascending severity; `position` its score along the scale, in percent.

    Parameters
    ----------
    severity : float
        Its score, as `printable_score` makes it.
    grade : GradeView or None
        Its human grade.
    read : GradeView
        The grade that its score is read as.
    difference : int or None
        The grade read minus the human grade; None if it has no human grade.
    flagged : bool
        Whether the two differ by `FLAGGED_FROM` or more.
    finer : int
        Pixels a side of the plate at `detail`, for readers who zoom in; 0 if `photograph` shows all pixels.
    doubts : tuple[str, ...] or None
        Why the scorer is not sure of the score; None if it has no rule for that.
    drawn : bool
        Whether the photograph and its grade are drawn by the program.
    quality : Quality or None
        How good it is; None where photographs do not show the retina.
    words : Words
        Texts in the language of the page.
    """

    id: str
    number: int
    label: str
    severity: float
    position: float
    grade: GradeView | None
    read: GradeView
    difference: int | None
    flagged: bool
    title: str = ""  # of the curator
    note: str = ""
    finer: int = 0
    doubts: tuple[str, ...] | None = None
    drawn: bool = False
    quality: Quality | None = None
    words: Words = field(default=ENGLISH, repr=False, compare=False)

    @property
    def unsure(self) -> str:
        """Why the scorer is not sure of the score, in a sentence; "" if it is sure, or has no rule for that."""
        return why_doubted(self.doubts, self.words) if self.doubts else ""

    @property
    def quality_told(self) -> tuple[str, ...]:
        """How good the photograph is and what is odd about it, in sentences."""
        return quality_told(self.quality, self.words) if self.quality else ()

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
        w, score = self.words, self.words.number(self.severity)
        if self.grade is None:
            return w.gettext(
                "Plate %(plate)s. Score: %(score)s, read as grade %(read)s. No human grade.",
                plate=w.count(self.number),
                score=score,
                read=self.read.number,
            )
        values = {"plate": w.count(self.number), "score": score, "read": self.read.number, "grade": self.grade.within}
        if self.drawn:
            return w.gettext("Plate %(plate)s. Score: %(score)s, read as grade %(read)s. Drawn as grade %(grade)s.", **values)
        return w.gettext("Plate %(plate)s. Score: %(score)s, read as grade %(read)s. Human grade: %(grade)s.", **values)

    @property
    def verdict(self) -> str:
        """The grade read from the score, compared with the human grade, in a sentence or two."""
        w = self.words
        if self.difference is None:
            return w.gettext("There is no human grade to compare the score with.")
        told = _apart(self.read.within, self.difference, w, drawn=self.drawn)
        if not self.flagged:
            return told
        return f"{told} {w.gettext('A difference of %(least)s or more grades is flagged.', least=FLAGGED_FROM)}"


def _apart(read: str, difference: int, w: Words, *, drawn: bool) -> str:
    """Say as which grade a score is read, and how far that is from the human grade or the grade that was drawn."""
    n, values = abs(difference), {"read": read}
    if not difference and drawn:
        return w.gettext("The score is read as grade %(read)s, the grade that was drawn.", **values)
    if not difference:
        return w.gettext("The score is read as grade %(read)s, which is the human grade.", **values)
    if difference > 0 and drawn:
        return w.ngettext(
            "The score is read as grade %(read)s, %(n)s grade more severe than drawn.",
            "The score is read as grade %(read)s, %(n)s grades more severe than drawn.",
            n,
            **values,
        )
    if difference > 0:
        return w.ngettext(
            "The score is read as grade %(read)s, %(n)s grade more severe than the human grade.",
            "The score is read as grade %(read)s, %(n)s grades more severe than the human grade.",
            n,
            **values,
        )
    if drawn:
        return w.ngettext(
            "The score is read as grade %(read)s, %(n)s grade milder than drawn.",
            "The score is read as grade %(read)s, %(n)s grades milder than drawn.",
            n,
            **values,
        )
    return w.ngettext(
        "The score is read as grade %(read)s, %(n)s grade milder than the human grade.",
        "The score is read as grade %(read)s, %(n)s grades milder than the human grade.",
        n,
        **values,
    )


def why_doubted(reasons: Sequence[str], words: Words = ENGLISH) -> str:
    """Say in a sentence why the scorer is not sure of a score; reasons are keys of `REASONS`."""
    because = words.list_of([words.named(REASONS[reason]) for reason in reasons])
    return words.gettext("The scorer is not sure of this score because %(reasons)s.", reasons=because)


@dataclass(frozen=True)
class PatchView:
    """One salient window, or a lesion that was found.

    `box` is top, left, height, width in percent of the plate, or None if its frame is unknown. `kind` is the kind of a lesion,
    with its names in the language of the page.
    """

    id: str
    plate: PlateView
    drop: float
    cluster: int | None  # 1-based, as readers see it
    box: tuple[float, float, float, float] | None
    kind: LesionKind | None = None

    @property
    def picture(self) -> str:
        return f"patches/{self.id}.jpg"

    @property
    def cluster_page(self) -> str:
        return cluster_page(self.cluster) if self.cluster else ""

    @property
    def alt(self) -> str:
        w = self.plate.words
        values = {"plate": w.count(self.plate.number), "drop": w.number(abs(self.drop))}
        if self.kind is None:
            if not is_seen(self.drop):
                return w.gettext("Patch of plate %(plate)s. Hiding it hardly changes the score.", **values)
            if self.drop > 0:
                return w.gettext("Patch of plate %(plate)s. Hiding it lowers the score by %(drop)s.", **values)
            return w.gettext("Patch of plate %(plate)s. Hiding it raises the score by %(drop)s.", **values)
        values["kind"] = sentence_case(self.kind.name)
        if not is_seen(self.drop):
            return w.gettext("%(kind)s, plate %(plate)s. Hiding it hardly changes the score.", **values)
        if self.drop > 0:
            return w.gettext("%(kind)s, plate %(plate)s. Hiding it lowers the score by %(drop)s.", **values)
        return w.gettext("%(kind)s, plate %(plate)s. Hiding it raises the score by %(drop)s.", **values)

    @property
    def hidden(self) -> str:
        """How the score changes when the place is hidden, in a sentence."""
        w, drop = self.plate.words, self.plate.words.number(abs(self.drop))
        if not is_seen(self.drop):
            return w.gettext("When this place is hidden, the score hardly changes.")
        if self.drop > 0:
            return w.gettext("When this place is hidden, the score falls by %(drop)s grades.", drop=drop)
        return w.gettext("When this place is hidden, the score rises by %(drop)s grades.", drop=drop)


@dataclass(frozen=True)
class ClusterView:
    """One lesion pattern with its patches: first the pinned ones, then the others, the most typical first.

    Parameters
    ----------
    counts : tuple[int, ...]
        Number of its photographs with each grade.
    words : Words
        Texts in the language of the page.
    """

    number: int
    patches: tuple[PatchView, ...]
    plates: int
    graded: int
    counts: tuple[int, ...]
    median_drop: float
    summary: str
    alarms: tuple[tuple[str, str], ...] = ()  # title and sentence
    title: str = ""  # of the curator
    note: str = ""
    mostly: str = ""  # the kind of lesion that most of its patches are
    words: Words = field(default=ENGLISH, repr=False, compare=False)

    @property
    def too_small(self) -> bool:
        """Whether it has patches from too few photographs to be a pattern. It then has no card, and no name but a curator's."""
        return self.plates < FEWEST_PHOTOGRAPHS

    @property
    def page(self) -> str:
        return cluster_page(self.number)

    @property
    def shares(self) -> tuple[float, ...]:
        """Share of its graded photographs with each grade, 0 to 1."""
        return tuple(count / self.graded if self.graded else 0.0 for count in self.counts)

    @property
    def colour(self) -> str:
        return cluster_colour(self.number)

    @property
    def handout(self) -> str:
        return f"handouts/cluster-{self.number:02d}.html"

    @property
    def hidden(self) -> str:
        """How the score changes when one of its patches is hidden, in a sentence."""
        w, drop = self.words, self.words.number(abs(self.median_drop))
        if not is_seen(self.median_drop):
            return w.gettext("Hiding one hardly changes the score (median).")
        if self.median_drop > 0:
            return w.gettext("Hiding one lowers the score by %(drop)s grades (median).", drop=drop)
        return w.gettext("Hiding one raises the score by %(drop)s grades (median).", drop=drop)

    @property
    def name(self) -> str:
        """Its number, followed by the curator's title or else, if it is not too small, by what most of its patches are."""
        if called := self.title or ("" if self.too_small else self.mostly):
            return self.words.gettext("Cluster %(number)s: %(name)s", number=self.number, name=called)
        return self.words.gettext("Cluster %(number)s", number=self.number)


def mostly(kinds: Sequence[LesionKind], photographs: int, words: Words = ENGLISH) -> str:
    """Return the title of a cluster without a curator's: which kind of lesion all or most of its patches, of so many photographs,
    are, and how many; "" without kinds."""
    if not kinds:
        return ""
    kind, count = commonest(kinds)
    if kind is None:
        return sentence_case(words.gettext("lesions of several kinds"))
    plural = words.named(kind.plural)
    if count == len(kinds):
        return sentence_case(plural)
    share = words.share(count, len(kinds), photographs)
    return sentence_case(words.gettext("mostly %(kinds)s (%(share)s)", kinds=plural, share=share))


def commonest(kinds: Sequence[LesionKind]) -> tuple[LesionKind | None, int]:
    """Return the kind that most of some lesions are, and how many; the coarse kind where only that has most, None if none has.

    The kind is that of the table, with its English names.
    """
    finely = [kind.key for kind in kinds]
    for keys in (finely, [coarsely(key) for key in finely]):
        key, count = max(Counter(keys).items(), key=lambda pair: (pair[1], pair[0]))
        if 100 * count > _MOSTLY * len(keys):
            return KINDS[key], count
    return None, 0


def cluster_page(number: int) -> str:
    return f"clusters/{number:02d}.html"


def place(box: Sequence[int], frame: Frame | None) -> tuple[float, float, float, float] | None:
    """Convert a box from source pixels (top, left, bottom, right) to percent of the plate (top, left, height, width), cut at its
    edge."""
    if frame is None:
        return None
    top, left, bottom, right = (
        min(100.0, max(0.0, 100 * (edge - origin) / frame.side))
        for edge, origin in zip(box, (frame.top, frame.left, frame.top, frame.left), strict=True)
    )
    return top, left, bottom - top, right - left


def tendency(grades: Sequence[GradeView], counts: Sequence[int], words: Words = ENGLISH) -> str:
    """Say where a cluster's photographs, `counts` of each grade, are over-represented, if anywhere."""
    graded = sum(counts)
    lifts = [(n / graded / grade.share, n, grade) for grade, n in zip(grades, counts, strict=True) if n and grade.share]
    if not lifts:
        return words.gettext("None of its photographs has a human grade.")
    if graded < FEW:
        return words.ngettext(
            "Only %(n)s of its photographs has a grade, too few to compare grades.",
            "Only %(n)s of its photographs have a grade, too few to compare grades.",
            graded,
        )
    lift, n, grade = max(lifts, key=lambda one: (one[0], one[2].number))
    if lift < 1.25:
        return words.gettext("Its photographs have about the same mix of grades as the cohort.")
    if n < FEW:
        return words.gettext(
            "Grade %(grade)s is more frequent here than in the cohort: %(share)s graded photographs.",
            grade=grade.within,
            share=words.gettext("%(n)s of %(total)s", n=words.count(n), total=words.count(graded)),
        )
    values = {"grade": grade.within, "lift": words.number(lift, 1)}
    if graded < _FEW:
        return words.gettext(
            "Photographs of grade %(grade)s are %(lift)s times as frequent here as in the cohort, but this cluster has few "
            "graded photographs.",
            **values,
        )
    return words.gettext("Photographs of grade %(grade)s are %(lift)s times as frequent here as in the cohort.", **values)


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
        """What the stop shows, in a word or two."""
        if self.cluster is not None:
            return self.cluster.words.gettext("Cluster %(number)s", number=self.cluster.number)
        return "" if self.plate is None else self.plate.words.gettext("Plate %(number)s", number=self.plate.number)

    @property
    def heading(self) -> str:
        named = self.cluster or self.plate
        return self.title or (named.title if named else "") or self.target

    @property
    def samples(self) -> tuple[PatchView, ...]:
        return self.cluster.patches[:_SAMPLES] if self.cluster else ()

    @property
    def picture(self) -> str:
        """A small picture of the stop."""
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
