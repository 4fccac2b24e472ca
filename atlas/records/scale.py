"""What is graded: scales of named grades, and what the graded photographs show.

Free of arrays, so that the settings know scales without waiting for numpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from atlas.records.sentences import noop


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
