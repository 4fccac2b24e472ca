"""The groups of photographs for which agreement is measured one by one, see the setting `by`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from atlas.agreement.groups import Grouping, require_few_values
from atlas.config import Configuration
from atlas.records import GradedImage


class Size(Protocol):
    """Pixels of the pictures of a camera, see `patterns.alarms.Camera`."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...


class Decoded(Protocol):
    """What groups need of a `View`. The networks' libraries, which that loads, take seconds."""

    @property
    def camera(self) -> Size: ...


def _camera(image: GradedImage, view: Decoded, images: Path) -> str:
    return f"{view.camera.width} x {view.camera.height}"


def _set(image: GradedImage, view: Decoded, images: Path) -> str:
    """Return the sub-folder of a photograph, "" if it lies in none."""
    folders = image.path.relative_to(images).parts[:-1] if image.path.is_relative_to(images) else ()
    return folders[0] if folders else ""


DERIVED: Mapping[str, Callable[[GradedImage, Decoded, Path], str]] = {"camera": _camera, "set": _set}
"""Groups that are known without a column: pictures of one size are mostly of one camera, and a sub-folder is a set."""


def require_groups(configuration: Configuration, images: Sequence[GradedImage]) -> None:
    """Raise DatasetError if a column that the settings name would make too many groups: now, and not after all the work."""
    for name, width in configuration.grouped_by():
        require_few_values(Grouping(name, [image.columns.get(name, "") for image in images if image.grade is not None], width))


def groupings(configuration: Configuration, images: Sequence[GradedImage], views: Mapping[str, Decoded]) -> list[Grouping]:
    """Return the groupings that the settings ask for, with the values of these photographs.

    A column of the table comes first; `DERIVED` serves where no photograph has a value.
    """
    found = []
    for name, width in configuration.grouped_by():
        values = [image.columns.get(name, "") for image in images]
        if name in DERIVED and not any(values):
            folder = configuration.images or Path()
            values = [DERIVED[name](image, views[image.image_id], folder) for image in images]
        found.append(Grouping(name, values, width))
    return found
