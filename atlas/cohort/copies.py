"""Copies of one picture in a dataset: one patient, and one photograph in all figures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from atlas.records import Dataset, DatasetReport, GradedImage, Line

Row = TypeVar("Row")


def join_copies(dataset: Dataset, pairs: Iterable[tuple[str, str]], images: Path) -> tuple[Dataset, tuple[str, ...], str]:
    """Mark the copies in a dataset.

    Parameters
    ----------
    dataset : Dataset
        All photographs stay in it.
    pairs : iterable of (str, str)
        Image ids of two that are copies of one picture.
    images : Path
        The folder of all, for names in messages.

    Returns
    -------
    Dataset
        Each copy names the first of its kind by file name, graded ones first. Copies share a patient, also with all photographs
        of any patient that one of them has: so they are never on two sides of a split.
    tuple of str
        A line on each copy.
    str
        A sentence on them that names nobody; empty where there are none.
    """
    known = {image.image_id: image for image in dataset.images}
    groups = _joined(pairs)
    first_of: dict[str, str] = {}
    lines = []
    people = [(f"image {image.image_id}", f"patient {image.patient}") for image in dataset.images if image.patient is not None]
    for group in groups:
        ordered = sorted((known[one] for one in group), key=lambda image: (image.grade is None, image.path.as_posix()))
        first = ordered[0]
        people += [(f"image {first.image_id}", f"image {copy.image_id}") for copy in ordered[1:]]
        for copy in ordered[1:]:
            first_of[copy.image_id] = first.image_id
            lines.append(Line(_name(copy, images), _told(copy, first, images)))
    if not groups:
        return dataset, (), ""
    patient_of: dict[str, str] = {}
    for joined in _joined(people):
        ids = {member.removeprefix("image ") for member in joined if member.startswith("image ")}
        if not ids & (first_of.keys() | set(first_of.values())):
            continue
        names = sorted(member.removeprefix("patient ") for member in joined if member.startswith("patient "))
        patient_of |= dict.fromkeys(ids, names[0] if names else f"copies of {min(ids)}")
    marked = tuple(
        replace(image, copy_of=first_of.get(image.image_id), patient=patient_of.get(image.image_id, image.patient))
        for image in dataset.images
    )
    count = len(first_of)
    told = (
        f"{count:,} {'photograph is a copy' if count == 1 else 'photographs are copies'} of others: saved again, turned, "
        "mirrored or cropped. Copies of one picture belong to one fold, and figures of agreement count them once."
    )
    return replace(dataset, images=marked), tuple(sorted(lines)), told


def once(images: Sequence[GradedImage], rows: Sequence[Row]) -> list[Row]:
    """Keep the rows of photographs that differ: of copies, the first of its kind where it is there, else one of them.

    Parameters
    ----------
    images : Sequence[GradedImage]
        The photograph of each row.
    """
    kept: dict[str, int] = {}
    for place in sorted(range(len(rows)), key=lambda place: images[place].copy_of is not None):
        kept.setdefault(images[place].copy_of or images[place].image_id, place)
    return [rows[place] for place in sorted(kept.values())]


def with_told(report: DatasetReport, lines: Sequence[str], told: str) -> DatasetReport:
    """Return the report with lines on copies and the sentence about them."""
    if not told:
        return report
    return replace(report, near_copies=(*report.near_copies, *lines), told=(*report.told, told))


def _told(copy: GradedImage, first: GradedImage, images: Path) -> str:
    told = f"a copy of {_name(first, images)}; kept, and counted once with it"
    if copy.grade != first.grade and copy.grade is not None:
        told += f"; its grade is {copy.grade}, that of the other {first.grade}"
    return told


def _name(image: GradedImage, images: Path) -> str:
    path = image.path
    return path.relative_to(images).as_posix() if path.is_relative_to(images) else path.as_posix()


def _joined(pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Return the groups into which pairs join their members, each in ascending order."""
    leader: dict[str, str] = {}

    def find(one: str) -> str:
        leader.setdefault(one, one)
        while leader[one] != one:
            leader[one] = one = leader[leader[one]]
        return one

    for one, other in pairs:
        leader[find(other)] = find(one)
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for one in sorted(leader):
        groups[find(one)].append(one)
    return list(groups.values())
