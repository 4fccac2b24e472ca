"""What pages show of the lesions that a net found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from atlas.cohort.lesions import KINDS, LesionKind
from atlas.cohort.regions import REGIONS, Region, disc_diameter, near_fovea, region_of
from atlas.photographs.frames import touched
from atlas.records import FoundLesions, Frame, Landmarks, Mark
from atlas.site.views import place

_LATE = ("new_vessels", "preretinal_blood")

_MANY_BLEEDS = 80  # haemorrhages: more than 20 in each of four quadrants


@dataclass(frozen=True)
class MarkView:
    """A lesion on a plate.

    box : top, left, height, width in percent of the plate.   cells : those of the maps that it touches, numbered row by row.
    """

    kind: LesionKind
    box: tuple[float, float, float, float]
    strength: float
    fall: float
    cells: tuple[int, ...] = ()

    @property
    def alt(self) -> str:
        verb = "lowers" if self.fall >= 0 else "raises"
        return f"{self.kind.name}, found with strength {self.strength:.2f}; hiding it {verb} the score by {abs(self.fall):.2f}"


@dataclass(frozen=True)
class LandmarksView:
    """The disc and the fovea on a plate: row and column, and a disc diameter, in percent of the plate."""

    disc: tuple[float, float]
    fovea: tuple[float, float]
    diameter: float
    macula: float = REGIONS["macula"].until


def landmarks_view(landmarks: Landmarks | None, frame: Frame) -> LandmarksView | None:
    """Prepare the disc and the fovea for a plate; None where either is unknown. frame : in source pixels."""
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

    marks : the strongest first.   counts : of each kind that was found, in the order of the table of kinds.
    whole, without : the score, and what it is with the cells of all found lesions hidden.   too_small : kinds, in words.
    by_region : of each region with lesions, from the fovea outwards, how many of each kind.   landmarks : the disc and the fovea.
    near : of each kind, how many reach within one disc diameter of the fovea.
    """

    marks: tuple[MarkView, ...]
    counts: tuple[tuple[LesionKind, int], ...]
    whole: float
    without: float
    too_small: str = ""
    by_region: tuple[tuple[Region, tuple[tuple[LesionKind, int], ...]], ...] = ()
    near: Mapping[str, int] = field(default_factory=dict)
    landmarks: LandmarksView | None = None

    @property
    def told(self) -> str:
        """What was found, in a sentence."""
        if not self.marks:
            return "The lesion net found no lesion here. That does not mean that there is none."
        return f"The lesion net found {listed([_counted(kind, count) for kind, count in self.counts])}."

    @property
    def where(self) -> str:
        """In which regions they lie, in a sentence or two; "" where no fovea was found or no lesion."""
        if not self.by_region:
            return ""
        parts = [f"{region.name}: {listed([_counted(*pair) for pair in counts])}" for region, counts in self.by_region]
        told = f"{'; '.join(parts)}.".capitalize() if len(parts) > 1 else f"All lie {self.by_region[0][0].name}."
        if count := self.near.get("hard_exudate", 0):
            several = "Hard exudates lie" if count > 1 else "A hard exudate lies"
            told += f" {several} within one disc diameter of the fovea, a sign of macular oedema to screening programmes."
        return told

    @property
    def rule(self) -> str:
        """What the international scale makes of these lesions, in a sentence; "" where none was found."""
        found = {kind.key: count for kind, count in self.counts}
        if not found:
            return ""
        if any(kind in found for kind in _LATE):
            grade, why = "proliferative", "new vessels or pre-retinal blood"
        elif set(found) <= {"microaneurysm"}:
            grade, why = "mild", "microaneurysms and nothing else"
        elif found.get("haemorrhage", 0) > _MANY_BLEEDS:
            grade, why = "severe", "more than 20 haemorrhages for each quadrant"
        else:
            grade, why = "moderate", "more than microaneurysms, and no sign of a severe eye among them"
        return f"By these alone the international scale would call the eye {grade}: {why}."

    @property
    def hidden(self) -> str:
        """What hiding all of them does to the score, in a sentence; "" where none was found."""
        if not self.marks:
            return ""
        one = len(self.marks) == 1
        what = "the place of the lesion" if one else "the places of all of them at once"
        fall = self.whole - self.without
        if abs(fall) < _LITTLE:
            return f"Hiding {what} hardly changes the score: something else in the photograph drives it."
        verb = "lowers" if fall > 0 else "raises"
        rest = (
            ""
            if fall <= 0 or self.without < _REST * self.whole
            else " Most of the score is left: it does not rest on these alone."
        )
        return f"Hiding {what} {verb} the score from {self.whole:.2f} to {self.without:.2f}.{rest}"


_LITTLE = 0.05  # grade units that no reader should make anything of

_REST = 0.5  # share of the score


def found_view(found: FoundLesions, frame: Frame | None, whole: float, grid: tuple[int, int]) -> FoundView | None:
    """Prepare the lesions of one photograph for its page; None where its frame is unknown.

    whole : its score.   grid : rows and columns of cells that can be hidden.
    """
    if frame is None:
        return None
    marks = []
    for mark, fall in zip(found.marks, found.falls.tolist(), strict=True):
        box = place(mark.box, frame)
        if box is not None:
            cells = np.flatnonzero(touched(frame, grid, mark.box)).tolist()
            marks.append(MarkView(KINDS[mark.kind], box, mark.strength, fall, tuple(cells)))
    counts = Counter(mark.kind.key for mark in marks)
    regions: dict[str, Counter[str]] = {}
    for mark in found.marks:
        if key := region_of(mark.box, found.landmarks):
            regions.setdefault(key, Counter())[mark.kind] += 1
    by_region = tuple((region, _in_order(regions[key])) for key, region in REGIONS.items() if key in regions)
    near = Counter(mark.kind for mark in found.marks if near_fovea(mark.box, found.landmarks))
    small = listed([KINDS[kind].plural for kind in found.too_small]) if found.too_small else ""
    return FoundView(
        tuple(marks), _in_order(counts), whole, found.without, small, by_region, near, landmarks_view(found.landmarks, frame)
    )


def _in_order(counts: Mapping[str, int]) -> tuple[tuple[LesionKind, int], ...]:
    """Counts by kind, in the order of the table of kinds."""
    return tuple((kind, counts[key]) for key, kind in KINDS.items() if counts.get(key))


def kind_counts(found: Mapping[str, FoundLesions], image_ids: Sequence[str]) -> dict[LesionKind, tuple[int | None, ...]]:
    """Return how many lesions of each kind were found in each photograph; None where the net did not look.

    Kinds of which there are none are left out; the others keep the order of the table of kinds.
    """
    counts = [Counter(mark.kind for mark in found[i].marks) if i in found else None for i in image_ids]
    met = {key for own in counts if own for key in own}
    return {kind: tuple(None if own is None else own[key] for own in counts) for key, kind in KINDS.items() if key in met}


NEAR_FOVEA = "fovea"
"""Key of the place within one disc diameter of the fovea, beside those of REGIONS: it lies in the macula."""


def places() -> dict[str, str]:
    """Return where a lesion can lie, key to words: near the fovea, then the regions from the fovea outwards."""
    return {NEAR_FOVEA: "near the fovea", **{key: region.name for key, region in REGIONS.items()}}


def kind_places(found: Mapping[str, FoundLesions], image_ids: Sequence[str]) -> dict[str, tuple[int | None, ...]]:
    """Return by kind in which of `places` lesions of it lie in each photograph, one bit for each place, the first the lowest.

    None where the net did not look or nobody knows the fovea.
    """
    bits = {key: 1 << number for number, key in enumerate(places())}
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

    box : top, left, height, width in percent of the plate.   how : outlined, boxed, or drawn with the eye.
    """

    kind: LesionKind | None
    box: tuple[float, float, float, float]
    how: str

    @property
    def alt(self) -> str:
        name = self.kind.name if self.kind else "lesion"
        return f"{name}, drawn" if self.how == "drawn" else f"{name}, {self.how} by a person"


def marked_view(marks: Sequence[Mark], frame: Frame | None, *, drawn: bool = False) -> tuple[PersonsMark, ...]:
    """Prepare what people marked on one photograph for its page; nothing where its frame is unknown.

    drawn : the eye is, and its lesions with it.
    """
    places = [(mark, place(mark.box, frame)) for mark in marks]
    how = {"outline": "drawn" if drawn else "outlined", "box": "boxed"}
    return tuple(PersonsMark(KINDS.get(mark.kind), box, how.get(mark.source, "")) for mark, box in places if box is not None)


def listed(words: Sequence[str]) -> str:
    """Join words as a sentence lists them."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _counted(kind: LesionKind, count: int) -> str:
    number = _NUMBERS[count] if count < len(_NUMBERS) else str(count)
    if kind.key in _IN_GROUPS:
        return f"{kind.plural} in {number} {'place' if count == 1 else 'places'}"
    return f"{number} {kind.name if count == 1 else kind.plural}"


_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_IN_GROUPS = ("hard_exudate", "new_vessels", "preretinal_blood")  # what is found of these is a group of many, or has no parts
