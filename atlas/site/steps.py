"""A page for each grade: a sheet of its photographs, and what those of one step of the score have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from atlas.pictures.jpeg import OVERLAY_SIDE, encode_jpeg, overlay_png, retina_png
from atlas.pictures.means import mean_map, mean_picture
from atlas.records import BoolArray, ByteArray, FloatArray
from atlas.site.book import Book
from atlas.site.kinds import kind_views
from atlas.site.views import GradeView, Pages, PlateView
from atlas.site.words import FEW

_SHEET = 60
"""Photographs on a sheet: five rows of twelve on a wide screen, and one sheet of paper."""

_AVERAGED = 500
"""Most photographs of a step that are averaged: the mean of more looks the same."""


@dataclass(frozen=True)
class StepView:
    """The photographs whose scores are read as one grade, averaged.

    Parameters
    ----------
    plates : tuple[PlateView, ...]
        Those that are averaged, in the order of their scores.
    mirrored : int or None
        Number of left eyes among them, mirrored so that all look like right eyes; None if too few eyes are known and all are
        averaged as photographed, or where photographs do not show eyes.
    left_out : int
        Number of photographs that are left out because it is not known which eye they show.
    """

    plates: tuple[PlateView, ...]
    mirrored: int | None
    left_out: int


@dataclass(frozen=True)
class GradePage:
    """What the page of a grade shows.

    Parameters
    ----------
    plates : tuple[PlateView, ...]
        Photographs with this grade, in the order of their scores.
    sheet : tuple[PlateView, ...]
        Those on the sheet, evenly spaced among them.
    read : int
        Number of photographs whose scores are read as this grade.
    step : StepView or None
        Their mean; None where there are too few of them.
    """

    grade: GradeView
    plates: tuple[PlateView, ...]
    sheet: tuple[PlateView, ...]
    read: int
    step: StepView | None

    @property
    def page(self) -> str:
        return grade_page(self.grade)


def grade_page(grade: GradeView) -> str:
    """Return the path of a grade's page."""
    return f"grades/{grade.number}.html"


def mean_path(grade: GradeView) -> str:
    """Return the path of the mean photograph of a grade's step."""
    return f"means/{grade.number}.jpg"


def heat_path(grade: GradeView) -> str:
    """Return the path of the mean heat map of a grade's step, which lies over its mean photograph."""
    return f"means/{grade.number}.png"


def grade_views(book: Book) -> tuple[GradePage, ...]:
    """Return the grades that have a page: those with a graded photograph, or to which a score is read."""
    views = []
    for grade in book.grades:
        graded = tuple(plate for plate in book.plates if plate.grade == grade)
        read = tuple(plate for plate in book.plates if plate.read == grade)
        if graded or read:
            views.append(GradePage(grade, graded, _spaced(graded, _SHEET), len(read), _step(book, read)))
    return tuple(views)


def grade_pages(book: Book) -> Pages:
    """Yield the page of each grade."""
    views = grade_views(book)
    kinds = kind_views(book)
    for place, view in enumerate(views):
        rows = [(kind.kind, *next(row[1:] for row in kind.by_grade if row[0] == view.grade)) for kind in kinds]
        yield (
            view.page,
            {
                "of": view,
                "kinds_found": rows if view.plates else [],
                "before": views[place - 1] if place else None,
                "after": views[place + 1] if place + 1 < len(views) else None,
                "mean": mean_path(view.grade),
                "heat": heat_path(view.grade) if view.step and _mapped(book, view.step) else "",
            },
        )


def mean_pictures(book: Book, read: Callable[[str], bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield path and bytes of the mean photograph and the mean heat map of each step. All maps share one colour scale.

    Parameters
    ----------
    read : Callable[[str], bytes]
        Returns a picture by its path, see `render_site`.
    """
    heats: list[tuple[str, FloatArray, BoolArray, bytes]] = []
    for view in grade_views(book):
        if view.step is None:
            continue
        flipped = {plate.id for plate in view.step.plates if view.step.mirrored is not None and book.eyes[plate.id] == "left"}
        mean = mean_picture((_pixels(read(p.thumbnail), p.id in flipped) for p in view.step.plates), OVERLAY_SIDE)
        yield mean_path(view.grade), encode_jpeg(mean)
        if mapped := _mapped(book, view.step):
            rows = [book.map_rows[plate.id] for plate in mapped]
            values, inside = book.atlas.maps.values[rows], book.atlas.maps.inside[rows]
            turned = np.array([plate.id in flipped for plate in mapped])
            values = np.where(turned[:, None, None], values[:, :, ::-1], values)
            inside = np.where(turned[:, None, None], inside[:, :, ::-1], inside)
            areas = (_pixels(read(f"retinas/{plate.id}.png"), plate.id in flipped) for plate in mapped)
            area = retina_png(mean_picture(areas, OVERLAY_SIDE)[..., 0] >= 128)
            heats.append((heat_path(view.grade), *mean_map(values, inside), area))
    limit = max((float(np.abs(values).max()) for _, values, *_ in heats), default=0.0) or 1.0
    for path, values, inside, area in heats:
        yield path, overlay_png(values, limit, inside, area, window=book.atlas.maps.window)


def _step(book: Book, read: tuple[PlateView, ...]) -> StepView | None:
    known = tuple(plate for plate in read if book.eyes[plate.id] is not None)
    sided = book.atlas.dataset.scale.subject.retina and 2 * len(known) >= len(read)
    taken = known if sided else read
    if len(taken) < FEW:
        return None
    shown = _spaced(taken, _AVERAGED)
    left = sum(book.eyes[plate.id] == "left" for plate in shown)
    return StepView(shown, left if sided else None, len(read) - len(taken))


def _mapped(book: Book, step: StepView) -> tuple[PlateView, ...]:
    """The photographs of a step that have a heat map."""
    return tuple(plate for plate in step.plates if plate.id in book.map_rows)


def _spaced(plates: tuple[PlateView, ...], most: int) -> tuple[PlateView, ...]:
    """Pick at most so many plates, evenly spaced in their order, first and last among them."""
    if len(plates) <= most:
        return plates
    return tuple(plates[round(k * (len(plates) - 1) / (most - 1))] for k in range(most))


def _pixels(picture: bytes, mirrored: bool) -> ByteArray:
    with Image.open(BytesIO(picture)) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    return np.ascontiguousarray(pixels[:, ::-1]) if mirrored else pixels
