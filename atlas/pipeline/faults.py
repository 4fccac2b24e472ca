"""Photographs of which a task could not be done: a command names them in its report, and goes on without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from atlas.errors import DatasetError
from atlas.pipeline.engine import Fault
from atlas.records import Dataset, DatasetReport, GradedImage, Line
from atlas.tasks import Result


def named(image: GradedImage, fault: Fault) -> Line:
    """Tell a fault of a photograph in one line, with its file."""
    path = str(image.path)
    shown = fault.line if path in fault.message else f"{path}: {fault.line}"
    return Line(path, fault.message.removeprefix(f"{path}: "), fault.remedy, shown)


def without_faults(
    images: Sequence[GradedImage], results: Sequence[Result | Fault], dataset: Dataset, report: DatasetReport
) -> tuple[dict[str, Result], Dataset, DatasetReport]:
    """Part results from faults: photographs with a fault leave the dataset, and the report names them.

    Parameters
    ----------
    images : Sequence[GradedImage]
        The photographs of the dataset that a task was done for.
    results : Sequence[Result | Fault]
        What it gave for each.
    dataset : Dataset
        All photographs of the command.
    report : DatasetReport
        What was left out before.

    Returns
    -------
    results : dict[str, Result]
        By image_id, in the order of `images`.
    dataset : Dataset
        The photographs without a fault.
    report : DatasetReport
        With a line for each that has one.

    Raises
    ------
    DatasetError
        If none is left.
    """
    pairs = list(zip(images, results, strict=True))
    good = {image.image_id: one for image, one in pairs if not isinstance(one, Fault)}
    faults = {image.image_id: named(image, one) for image, one in pairs if isinstance(one, Fault)}
    if not faults:
        return good, dataset, report
    kept = tuple(image for image in dataset.images if image.image_id not in faults)
    lines = tuple(faults.values())
    if not kept:
        raise DatasetError(f"none of the photographs can be used; the first fault is:\n  {lines[0]}")
    return good, replace(dataset, images=kept), replace(report, unreadable=(*report.unreadable, *lines))
