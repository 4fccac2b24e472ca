"""What a check tells of a build to come: what it will read, and what it will cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atlas.records.cohort import DatasetReport, GradedImage
from atlas.records.scale import Scale


@dataclass(frozen=True)
class Share:
    """How many photographs and patients there are, of one grade or of all.

    Parameters
    ----------
    photographs, patients : int
        Photographs of which no patient is known count as one patient each.
    eyes : Mapping[str | None, int]
        Photographs by "left" or "right"; None where it is not known.
    splits : Mapping[str | None, int]
        Photographs by split; None where the table names none.
    """

    photographs: int
    patients: int
    eyes: Mapping[str | None, int]
    splits: Mapping[str | None, int]

    @classmethod
    def of(cls, images: Sequence[GradedImage]) -> Share:
        """Count photographs."""
        eyes, splits = (Counter(values) for values in ([i.eye for i in images], [i.split for i in images]))
        return cls(len(images), len({image.patient or image.image_id for image in images}), eyes, splits)


@dataclass(frozen=True)
class Cost:
    """What a build takes, as measured on a few photographs.

    Parameters
    ----------
    measured : int
        Photographs that it was measured on.
    known : int
        Photographs whose results are in the store.
    seconds : tuple[float, float]
        Lowest and highest time of the build that is likely.
    atlas, store : int
        Bytes that the atlas will take, and that the store will grow by.
    least : bool
        The build takes more than that: fitting and what follows it cannot be measured on a few photographs.
    """

    measured: int
    known: int
    seconds: tuple[float, float]
    atlas: int
    store: int
    least: bool


@dataclass(frozen=True)
class Check:
    """What a build will read and what it will cost. `report` names files: for the terminal only.

    Parameters
    ----------
    report : DatasetReport
        What is left out, or had to be decided.
    scale : Scale
        Of the grades.
    total : Share
        Of all photographs that can be used.
    grades : Mapping[int | None, Share]
        By grade, from the lowest; None for those without a grade.
    nameless : int
        Photographs of which no patient is known.
    divided : tuple[str, ...]
        Patients with photographs in more than one split.
    sizes : tuple[tuple[int, int], ...]
        Rows and columns of the smallest, the median and the largest photograph, in pixels.
    masked, boxed : int
        Photographs with lesion masks, and with boxes.
    cost : Cost | None
        None where all photographs are too few to measure it on some of them, or none of these could be used.
    """

    report: DatasetReport
    scale: Scale
    total: Share
    grades: Mapping[int | None, Share]
    nameless: int
    divided: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    masked: int = 0
    boxed: int = 0
    cost: Cost | None = None
