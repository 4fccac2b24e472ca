"""Who and what: photographs and their grades."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from atlas.records.scale import DIABETIC_RETINOPATHY, Scale, Target


@dataclass(frozen=True)
class GradedImage:
    """One photograph.

    Parameters
    ----------
    image_id : str
        The first 16 hex digits of its bytes' sha256; for a frame among several in a file, of these and its number.
    path : Path
        Its file; for a frame, the name that `frame_path` gives it.
    copy_of : str or None
        The image_id of the photograph that this one is a copy of, in other bytes; figures count the two as one.
    columns : Mapping[str, str]
        Values of further columns of the table that were asked for, by name; "" where the table has none.
    """

    image_id: str
    path: Path
    grade: int | None = None
    patient: str | None = None
    eye: str | None = None  # "left" or "right"; None where photographs do not show the retina
    split: str | None = None  # "training", "validation" or "test", where a table publishes it
    copy_of: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict, hash=False)


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
    shown : str
        The complete line; without it, the file or row and why.
    """

    what: str
    why: str
    remedy: str

    def __new__(cls, what: str, why: str = "", remedy: str = "", shown: str = "") -> Line:
        line = super().__new__(cls, shown or (f"{what}: {why}" if why else what))
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
    masks_without_photograph: tuple[str, ...] = ()
    burnt_in: tuple[str, ...] = ()
    near_copies: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    guesses: tuple[str, ...] = ()
    told: tuple[str, ...] = ()


SPLITS = ("training", "validation", "test")
