"""Who and what: scales, photographs and their grades, outlined lesions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from atlas.records.arrays import IntArray
from atlas.records.told import noop


@dataclass(frozen=True)
class Subject:
    """What photographs show, and the words that pages use for it.

    Parameters
    ----------
    name : str
        Its name in settings and bundles.
    noun : str
        One photographed thing.
    nouns : str
        The same, plural.
    outline : str
        What a map covers, within the square that is scored.
    """

    name: str
    noun: str
    nouns: str
    outline: str

    @property
    def retina(self) -> bool:
        """Whether photographs show the retina of an eye: it has a disc, landmarks and a side, and lesion nets know it."""
        return self.name == "retina"


RETINA = Subject("retina", "eye", "eyes", "retina")

IMAGE = Subject("image", "image", "images", "image")
"""Anything else: the complete picture is scored, and nothing is presumed of what it shows."""

SUBJECTS: Mapping[str, Subject] = {subject.name: subject for subject in (RETINA, IMAGE)}
"""What photographs may show, by name."""


@dataclass(frozen=True)
class Scale:
    """An ordinal scale of named grades, consecutive whole numbers from `lowest`, and what the graded photographs show.

    `names[i]` names grade `lowest + i`. `referable` is the lowest grade that would be referred to a specialist, or None if the
    disease has no such notion.

    Raises
    ------
    ValueError
        Where it is not one of the grades above the lowest: were everyone referred, there would be nobody to tell them from.
    """

    lowest: int = 0
    names: tuple[str, ...] = (noop("normal"), noop("mild"), noop("moderate"), noop("severe"), noop("proliferative"))
    referable: int | None = 2
    disease: str = noop("diabetic retinopathy")
    subject: Subject = RETINA

    def __post_init__(self) -> None:
        if self.referable is not None and not self.lowest < self.referable <= self.highest:
            raise ValueError(f"referable must be one of the grades above the lowest, {self.lowest + 1} to {self.highest}")

    @property
    def highest(self) -> int:
        return self.lowest + len(self.names) - 1

    @property
    def span(self) -> int:
        """Grade units between the lowest and the highest grade."""
        return len(self.names) - 1

    @property
    def grades(self) -> tuple[int, ...]:
        return tuple(range(self.lowest, self.highest + 1))

    def name(self, grade: int) -> str:
        return self.names[grade - self.lowest]

    def to_unit(self, grade: float) -> float:
        """Map a grade to 0..1, the sigmoid's scale."""
        return (grade - self.lowest) / self.span

    def from_unit(self, value: float) -> float:
        """Map 0..1 back to grade units."""
        return self.lowest + value * self.span


DIABETIC_RETINOPATHY = Scale()


@dataclass(frozen=True)
class Target:
    """What is graded: a short name by which predictions are asked for it, and its scale."""

    name: str
    scale: Scale

    @classmethod
    def of(cls, scale: Scale) -> Target:
        """Name a target after its disease; diabetic retinopathy is "dr"."""
        disease = " ".join(scale.disease.split()).casefold()
        return cls("dr" if disease == DIABETIC_RETINOPATHY.disease else disease, scale)


@dataclass(frozen=True)
class GradedImage:
    """One photograph.

    Parameters
    ----------
    image_id : str
        The first 16 hex digits of its bytes' sha256.
    copy_of : str or None
        The image_id of the photograph that this one is a copy of, in other bytes; figures count the two as one.
    """

    image_id: str
    path: Path
    grade: int | None = None
    patient: str | None = None
    eye: str | None = None  # "left" or "right"; None where photographs do not show the retina
    split: str | None = None  # "training", "validation" or "test", where a table publishes it
    copy_of: str | None = None


@dataclass(frozen=True)
class Dataset:
    """Photographs in ascending image_id, each id once. `scale` is that of their grades, of the one target there is for now."""

    images: tuple[GradedImage, ...]
    scale: Scale = DIABETIC_RETINOPATHY

    @property
    def target(self) -> Target:
        """What is graded."""
        return Target.of(self.scale)

    @property
    def image_ids(self) -> tuple[str, ...]:
        return tuple(image.image_id for image in self.images)

    @property
    def graded(self) -> bool:
        return any(image.grade is not None for image in self.images)


class Line(str):
    """A line on a file or row that was left out, which knows its parts.

    Parameters
    ----------
    what : str
        The file or row.
    why : str
        Why it was left out.
    remedy : str
        What to do about it; empty where it is the same for all of its kind.
    """

    what: str
    why: str
    remedy: str

    def __new__(cls, what: str, why: str = "", remedy: str = "") -> Line:
        line = super().__new__(cls, f"{what}: {why}" if why else what)
        line.what, line.why, line.remedy = what, why, remedy
        return line


@dataclass(frozen=True)
class DatasetReport:
    """What reading a dataset left out or had to decide, by name. For the terminal only: names never reach a page.

    Each field lists readable lines such as `10_left: no file in IMAGES`, but for these:

    Parameters
    ----------
    layout : str
        How the table was recognised.
    near_copies : tuple of str
        Photographs that are kept, but are copies of others.
    passed_over : tuple of str
        What is no photograph (notes, hidden files), and photographs that were not asked for.
    guesses : tuple of str
        What reading the table had to assume, a sentence each.
    told : tuple of str
        Sentences for the atlas's readers; they name nobody.
    """

    layout: str
    rows_without_file: tuple[str, ...] = ()
    files_without_row: tuple[str, ...] = ()
    grades_off_scale: tuple[str, ...] = ()
    conflicting_duplicates: tuple[str, ...] = ()
    identical_files: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    no_retina: tuple[str, ...] = ()
    too_poor: tuple[str, ...] = ()
    other_files: tuple[str, ...] = ()
    near_copies: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    guesses: tuple[str, ...] = ()
    told: tuple[str, ...] = ()


SPLITS = ("training", "validation", "test")

LESION_GRID = 64
"""Cells a side of the grid over a plate on which outlined lesions are known to the pages."""

Lesions = Mapping[str, IntArray]
"""Outlined lesions of one photograph: kind in words ("" where it is not known) to the cells of the grid that it touches, as
row-major places in ascending order, int64 (m,)."""
