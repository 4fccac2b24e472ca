"""What pages show about the lesions that a net found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from atlas.cohort.lesions import KINDS, LATE, LesionKind
from atlas.cohort.regions import REGIONS, Region, disc_diameter, near_fovea, region_of
from atlas.photographs.frames import touched
from atlas.records import FoundLesions, Frame, Landmarks, Mark, noop
from atlas.site.views import place
from atlas.site.words import ENGLISH, Words, is_seen, sentence_case

_MANY_BLEEDS = 80  # haemorrhages: more than 20 in each of four quadrants

_BY_THE_SCALE = {
    "proliferative": (
        noop(
            "By these lesions alone, the international scale would grade this eye as proliferative: new vessels or pre-retinal "
            "blood."
        ),
        noop(
            "By the other lesions alone, the international scale would grade this eye as proliferative: new vessels or "
            "pre-retinal blood."
        ),
    ),
    "mild": (
        noop("By these lesions alone, the international scale would grade this eye as mild: microaneurysms and nothing else."),
        noop(
            "By the other lesions alone, the international scale would grade this eye as mild: microaneurysms and nothing else."
        ),
    ),
    "mild or moderate": (
        noop(
            "By these lesions alone, the international scale would grade this eye as mild if all of them are microaneurysms, and "
            "as moderate if any is a haemorrhage. The photograph does not show which."
        ),
        noop(
            "By the other lesions alone, the international scale would grade this eye as mild if all of them are microaneurysms, "
            "and as moderate if any is a haemorrhage. The photograph does not show which."
        ),
    ),
    "severe": (
        noop(
            "By these lesions alone, the international scale would grade this eye as severe: more than 20 haemorrhages per "
            "quadrant on average."
        ),
        noop(
            "By the other lesions alone, the international scale would grade this eye as severe: more than 20 haemorrhages per "
            "quadrant on average."
        ),
    ),
    "moderate": (
        noop(
            "By these lesions alone, the international scale would grade this eye as moderate: more than microaneurysms, and no "
            "sign of severe disease among them."
        ),
        noop(
            "By the other lesions alone, the international scale would grade this eye as moderate: more than microaneurysms, and "
            "no sign of severe disease among them."
        ),
    ),
}
"""What the international scale says of the lesions found, by stage: where all are counted, and where some are not."""


def _stage(found: Mapping[str, int]) -> str:
    """Return the stage, a key of _BY_THE_SCALE, of an eye with this many lesions of each kind."""
    if any(kind in found for kind in LATE):
        return "proliferative"
    if set(found) <= {"microaneurysm"}:
        return "mild"
    if set(found) <= {"microaneurysm", "red_lesion"}:
        return "mild or moderate"
    return "severe" if found.get("haemorrhage", 0) > _MANY_BLEEDS else "moderate"


@dataclass(frozen=True)
class MarkView:
    """A lesion on a plate.

    Parameters
    ----------
    box : tuple[float, float, float, float]
        Top, left, height, width in percent of the plate.
    strength : float
        How sure the net is, from 0 to 1.
    fall : float
        How far the score falls when it is hidden, in grade units.
    cells : tuple[int, ...]
        Cells of the maps that it touches, numbered row by row.
    words : Words
        Texts in the language of the page, in which the names of the kind are, too.
    """

    kind: LesionKind
    box: tuple[float, float, float, float]
    strength: float
    fall: float
    cells: tuple[int, ...] = ()
    words: Words = field(default=ENGLISH, repr=False, compare=False)

    @property
    def alt(self) -> str:
        w = self.words
        values = {
            "kind": sentence_case(self.kind.name),
            "strength": w.number(self.strength),
            "drop": w.number(abs(self.fall)),
        }
        if not is_seen(self.fall):
            return w.gettext("%(kind)s, strength %(strength)s. Hiding it hardly changes the score.", **values)
        if self.fall > 0:
            return w.gettext("%(kind)s, strength %(strength)s. Hiding it lowers the score by %(drop)s.", **values)
        return w.gettext("%(kind)s, strength %(strength)s. Hiding it raises the score by %(drop)s.", **values)


@dataclass(frozen=True)
class LandmarksView:
    """The disc and the fovea on a plate: rows and columns, and the disc diameter, in percent of the plate."""

    disc: tuple[float, float]
    fovea: tuple[float, float]
    diameter: float
    macula: float = REGIONS["macula"].until


def landmarks_view(landmarks: Landmarks | None, frame: Frame) -> LandmarksView | None:
    """Prepare the disc and the fovea for a plate; return None if either is unknown. The frame is in source pixels."""
    diameter = disc_diameter(landmarks)
    if landmarks is None or landmarks.fovea is None or diameter is None:
        return None
    disc, fovea = (
        (round(100 * (row - frame.top) / frame.side, 2), round(100 * (column - frame.left) / frame.side, 2))
        for row, column in (landmarks.disc, landmarks.fovea)
    )
    return LandmarksView(disc, fovea, round(100 * diameter / frame.side, 2))


@dataclass(frozen=True)
class FoundView:
    """The lesions of one plate.

    Parameters
    ----------
    marks : tuple[MarkView, ...]
        The lesions, strongest first.
    counts : tuple[tuple[LesionKind, int], ...]
        Number of lesions of each kind that was found, in the order of the table of kinds.
    whole : float
        The score.
    without : float
        The score with the cells of all found lesions hidden.
    too_small : str
        Kinds that cannot be seen at the photograph's size, in words.
    by_region : tuple[tuple[Region, tuple[tuple[LesionKind, int], ...]], ...]
        Number of lesions of each kind in each region that has some, from the fovea outwards.
    near : Mapping[str, int]
        Number of lesions of each kind that reach within one disc diameter of the fovea.
    landmarks : LandmarksView or None
        The disc and the fovea.
    from_drawn_eyes : tuple[str, ...]
        Kinds that the lesion net learned from drawn eyes only.
    not_marked : tuple[str, ...]
        Kinds that it does not mark.
    words : Words
        Texts in the language of the page.
    """

    marks: tuple[MarkView, ...]
    counts: tuple[tuple[LesionKind, int], ...]
    whole: float
    without: float
    too_small: str = ""
    by_region: tuple[tuple[Region, tuple[tuple[LesionKind, int], ...]], ...] = ()
    near: Mapping[str, int] = field(default_factory=dict)
    landmarks: LandmarksView | None = None
    from_drawn_eyes: tuple[str, ...] = ()
    not_marked: tuple[str, ...] = ()
    words: Words = field(default=ENGLISH, repr=False, compare=False)

    @property
    def told(self) -> str:
        """What was found, in a sentence."""
        if not self.marks:
            return self.words.gettext("The lesion net found no lesions here. It may have missed some.")
        return self.words.gettext("The lesion net found %(lesions)s.", lesions=self._listed(self.counts))

    @property
    def where(self) -> str:
        """In which regions they are, in a sentence or two; "" if no fovea or no lesion was found."""
        w = self.words
        if not self.by_region:
            return ""
        if len(self.by_region) == 1:
            ((region, counts),) = self.by_region
            placed = sum(count for _, count in counts)
            told = w.ngettext("It lies %(region)s.", "All of them lie %(region)s.", placed, region=region.name)
        else:
            parts = [
                w.gettext("%(region)s: %(lesions)s", region=region.name, lesions=self._listed(counts))
                for region, counts in self.by_region
            ]
            told = f"{sentence_case('; '.join(parts))}."
        if count := self.near.get("hard_exudate", 0):
            near = w.ngettext(
                "A hard exudate lies within one disc diameter of the fovea. Screening programmes take this as a sign of macular "
                "oedema.",
                "%(n)s hard exudates lie within one disc diameter of the fovea. Screening programmes take this as a sign of "
                "macular oedema.",
                count,
            )
            told = f"{told} {near}"
        return told

    @property
    def rule(self) -> str:
        """How the international scale would grade these lesions, in a sentence or two; "" if none was found.

        A mark of a kind that the net learned from drawn eyes only is not enough to grade a patient by, so it is not counted.
        Where the net marks no kind that makes an eye proliferative, a last sentence says so.
        """
        w = self.words
        found = {kind.key: count for kind, count in self.counts if kind.key not in self.from_drawn_eyes}
        left_out = [kind.plural for kind, _ in self.counts if kind.key in self.from_drawn_eyes]
        grade = w.named(_BY_THE_SCALE[_stage(found)][bool(left_out)]) if found else ""
        if found and set(LATE) <= set(self.not_marked):
            blind = w.gettext(
                "The lesion net marks no new vessels and no pre-retinal blood, so it cannot recognise proliferative disease."
            )
            grade = f"{grade} {blind}"
        if not left_out:
            return grade
        why = w.gettext(
            "The lesion net learned %(kinds)s from drawn eyes only, so its marks of these are not counted towards a grade.",
            kinds=w.list_of(left_out),
        )
        return f"{why} {grade}".rstrip()

    @property
    def hidden(self) -> str:
        """How hiding all of them changes the score, in a sentence; "" if none was found."""
        if not self.marks:
            return ""
        w, n, fall = self.words, len(self.marks), self.whole - self.without
        if abs(fall) < _LITTLE:
            return w.ngettext(
                "Hiding the lesion hardly changes the score, so something else in the photograph drives it.",
                "Hiding all lesions at once hardly changes the score, so something else in the photograph drives it.",
                n,
            )
        scores = {"before": w.number(self.whole), "after": w.number(self.without)}
        if fall < 0:
            return w.ngettext(
                "Hiding the lesion raises the score from %(before)s to %(after)s.",
                "Hiding all lesions at once raises the score from %(before)s to %(after)s.",
                n,
                **scores,
            )
        told = w.ngettext(
            "Hiding the lesion lowers the score from %(before)s to %(after)s.",
            "Hiding all lesions at once lowers the score from %(before)s to %(after)s.",
            n,
            **scores,
        )
        if self.without < _REST * self.whole:
            return told
        rest = w.ngettext(
            "Most of the score remains, so it does not come from this lesion alone.",
            "Most of the score remains, so it does not come from these lesions alone.",
            n,
        )
        return f"{told} {rest}"

    def _listed(self, counts: Sequence[tuple[LesionKind, int]]) -> str:
        return self.words.list_of([_counted(kind, count, self.words) for kind, count in counts])


_LITTLE = 0.05  # a change in grade units that is too small to mean anything

_REST = 0.5  # share of the score that counts as most of it


def kinds_in(words: Words) -> dict[str, LesionKind]:
    """Return the table of kinds, with their names in the language of `words`."""
    return {key: replace(kind, name=words.named(kind.name), plural=words.named(kind.plural)) for key, kind in KINDS.items()}


def regions_in(words: Words) -> dict[str, Region]:
    """Return the table of regions, with their names in the language of `words`."""
    return {key: replace(one, title=words.named(one.title), name=words.named(one.name)) for key, one in REGIONS.items()}


def found_view(
    found: FoundLesions,
    frame: Frame | None,
    whole: float,
    grid: tuple[int, int],
    words: Words = ENGLISH,
    *,
    from_drawn_eyes: tuple[str, ...] = (),
    not_marked: tuple[str, ...] = (),
) -> FoundView | None:
    """Prepare the lesions of one photograph for its page; return None if its frame is unknown.

    Parameters
    ----------
    whole : float
        Its score.
    grid : tuple[int, int]
        Rows and columns of cells that can be hidden.
    from_drawn_eyes : tuple[str, ...]
        Kinds that the lesion net learned from drawn eyes only.
    not_marked : tuple[str, ...]
        Kinds that it does not mark.
    """
    if frame is None:
        return None
    kinds, marks = kinds_in(words), []
    for mark, fall in zip(found.marks, found.falls.tolist(), strict=True):
        box = place(mark.box, frame)
        if box is not None:
            cells = np.flatnonzero(touched(frame, grid, mark.box)).tolist()
            marks.append(MarkView(kinds[mark.kind], box, mark.strength, fall, tuple(cells), words))
    counts = Counter(mark.kind.key for mark in marks)
    regions: dict[str, Counter[str]] = {}
    for mark in found.marks:
        if key := region_of(mark.box, found.landmarks):
            regions.setdefault(key, Counter())[mark.kind] += 1
    by_region = tuple((one, _in_order(regions[key], kinds)) for key, one in regions_in(words).items() if key in regions)
    near = Counter(mark.kind for mark in found.marks if near_fovea(mark.box, found.landmarks))
    small = words.list_of([kinds[kind].plural for kind in found.too_small]) if found.too_small else ""
    landmarks = landmarks_view(found.landmarks, frame)
    shown = tuple(marks), _in_order(counts, kinds)
    return FoundView(*shown, whole, found.without, small, by_region, near, landmarks, from_drawn_eyes, not_marked, words)


def _in_order(counts: Mapping[str, int], kinds: Mapping[str, LesionKind]) -> tuple[tuple[LesionKind, int], ...]:
    """Return the counts by kind, in the order of the table of kinds."""
    return tuple((kind, counts[key]) for key, kind in kinds.items() if counts.get(key))


def kind_counts(
    found: Mapping[str, FoundLesions], image_ids: Sequence[str], kinds: Mapping[str, LesionKind] = KINDS
) -> dict[LesionKind, tuple[int | None, ...]]:
    """Return how many lesions of each kind were found in each photograph, None for photographs in which the net did not look.

    Kinds without lesions are left out. The others keep the order of the table of kinds.
    """
    counts = [Counter(mark.kind for mark in found[i].marks) if i in found else None for i in image_ids]
    met = {key for own in counts if own for key in own}
    return {kind: tuple(None if own is None else own[key] for own in counts) for key, kind in kinds.items() if key in met}


NEAR_FOVEA = "fovea"
"""Key of the place within one disc diameter of the fovea. It is inside the macula, so it is not one of REGIONS."""


def places(words: Words = ENGLISH) -> dict[str, str]:
    """Return the places where a lesion can be, in words by key: near the fovea, then the regions from the fovea outwards."""
    return {
        NEAR_FOVEA: words.gettext("near the fovea"),
        **{key: region.name for key, region in regions_in(words).items()},
    }


def kind_places(found: Mapping[str, FoundLesions], image_ids: Sequence[str]) -> dict[str, tuple[int | None, ...]]:
    """Return by kind which of `places` hold lesions of the kind in each photograph, one bit for each place, the first the lowest.

    It is None for photographs in which the net did not look or the fovea is not known.
    """
    bits = {key: 1 << number for number, key in enumerate((NEAR_FOVEA, *REGIONS))}
    rows: list[Counter[str] | None] = []
    for image_id in image_ids:
        own = found.get(image_id)
        if own is None or disc_diameter(own.landmarks) is None:
            rows.append(None)
            continue
        where: Counter[str] = Counter()
        for mark in own.marks:
            near = bits[NEAR_FOVEA] if near_fovea(mark.box, own.landmarks) else 0
            where[mark.kind] |= bits[region_of(mark.box, own.landmarks)] | near
        rows.append(where)
    met = {key for own in rows if own for key in own}
    return {key: tuple(None if own is None else own[key] for own in rows) for key in KINDS if key in met}


@dataclass(frozen=True)
class PersonsMark:
    """A lesion that a person marked.

    Parameters
    ----------
    box : tuple[float, float, float, float]
        Top, left, height, width in percent of the plate.
    how : str
        "outlined", "boxed", or "drawn" with the eye.
    words : Words
        Texts in the language of the page.
    """

    kind: LesionKind | None
    box: tuple[float, float, float, float]
    how: str
    words: Words = field(default=ENGLISH, repr=False, compare=False)

    @property
    def alt(self) -> str:
        w = self.words
        kind = sentence_case(self.kind.name if self.kind else w.gettext("lesion"))
        if self.how == "drawn":
            return w.gettext("%(kind)s, drawn by the program", kind=kind)
        if self.how == "boxed":
            return w.gettext("%(kind)s, boxed by a person", kind=kind)
        return w.gettext("%(kind)s, outlined by a person", kind=kind)


_HOW = {"outline": "outlined", "box": "boxed"}


def marked_view(
    marks: Sequence[Mark], frame: Frame | None, *, drawn: bool = False, words: Words = ENGLISH
) -> tuple[PersonsMark, ...]:
    """Prepare the lesions that people marked on one photograph for its page; none if its frame is unknown.

    Parameters
    ----------
    drawn : bool
        Whether the eye and its lesions are drawn by the program.
    """
    kinds, views = kinds_in(words), []
    for mark in marks:
        box = place(mark.box, frame)
        how = "drawn" if drawn and mark.source == "outline" else _HOW.get(mark.source, "")
        if box is not None:
            views.append(PersonsMark(kinds.get(mark.kind), box, how, words))
    return tuple(views)


def _counted(kind: LesionKind, n: int, words: Words) -> str:
    """Say how many lesions of a kind there are. For some kinds, one mark is a group of many lesions, or cannot be counted."""
    match kind.key:
        case "microaneurysm":
            return words.ngettext("%(n)s microaneurysm", "%(n)s microaneurysms", n)
        case "haemorrhage":
            return words.ngettext("%(n)s haemorrhage", "%(n)s haemorrhages", n)
        case "red_lesion":
            return words.ngettext("%(n)s red lesion", "%(n)s red lesions", n)
        case "hard_exudate":
            return words.ngettext("hard exudates in %(n)s place", "hard exudates in %(n)s places", n)
        case "cotton_wool_spot":
            return words.ngettext("%(n)s cotton-wool spot", "%(n)s cotton-wool spots", n)
        case "venous_beading":
            return words.ngettext("%(n)s beaded vein", "%(n)s beaded veins", n)
        case "new_vessels":
            return words.ngettext("new vessels in %(n)s place", "new vessels in %(n)s places", n)
        case "preretinal_blood":
            return words.ngettext("pre-retinal blood in %(n)s place", "pre-retinal blood in %(n)s places", n)
        case _:
            return words.gettext("%(kinds)s: %(n)s", kinds=kind.plural, n=words.count(n))
