"""The page of a grade: its photographs on a sheet, and the mean photograph and map of a step of the score."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_atlas import drawn_atlas, with_lesions
from PIL import Image

from atlas.pictures.means import mean_map, mean_picture
from atlas.records import Atlas
from atlas.site.book import Book
from atlas.site.render import render_site
from atlas.site.steps import grade_pages, grade_views, mean_pictures


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Atlas, Path]:
    folder = tmp_path_factory.mktemp("steps")
    return drawn_atlas(folder / "pictures", count=80), folder / "pictures"


def with_eyes(atlas: Atlas, eye: str | None) -> Atlas:
    images = tuple(dataclasses.replace(image, eye=eye) for image in atlas.dataset.images)
    return dataclasses.replace(atlas, dataset=dataclasses.replace(atlas.dataset, images=images))


def read_in(pictures: Path) -> Callable[[str], bytes]:
    return lambda path: (pictures / path).read_bytes()


def pixels(content: bytes) -> np.ndarray:
    with Image.open(BytesIO(content)) as picture:
        return np.asarray(picture).astype(int)


def test_the_mean_of_pictures_is_that_of_their_pixels_on_a_square() -> None:
    random = np.random.default_rng(2)
    pictures = [random.integers(0, 256, (8, 8, 3)).astype(np.uint8) for _ in range(5)]
    assert np.array_equal(mean_picture(pictures, 8), np.rint(np.mean(pictures, axis=0)))
    (wide,) = [np.full((4, 8, 3), 200, np.uint8)]
    mean = mean_picture([wide], 8)
    assert mean[:2].max() == mean[6:].max() == 0
    assert mean[2:6].min() == 200


def test_the_mean_of_maps_counts_a_cell_only_where_it_is_in_the_image_area() -> None:
    values = np.array([[[1.0, 4.0, 7.0]], [[3.0, 0.0, 0.0]], [[5.0, 0.0, 0.0]]], np.float32)
    inside = np.array([[[True, True, True]], [[True, True, False]], [[True, False, False]]])
    mean, shared = mean_map(values, inside)
    assert shared.tolist() == [[True, True, False]]
    assert mean.tolist() == [[3.0, 2.0, 0.0]]


def test_a_sheet_shows_its_grade_in_the_order_of_scores_and_a_mean_its_step(made: tuple[Atlas, Path]) -> None:
    book = Book(made[0])
    views = grade_views(book)
    assert {view.grade.number for view in views} == {p.grade.number for p in book.plates if p.grade} | {
        p.read.number for p in book.plates
    }
    for view in views:
        assert [plate.id for plate in view.plates] == [plate.id for plate in book.plates if plate.grade == view.grade]
        assert view.read == sum(plate.read == view.grade for plate in book.plates)
        assert (view.step is None) == (view.read < 5)
        assert view.step is None or all(plate.read == view.grade for plate in view.step.plates)


def test_of_many_photographs_a_sheet_shows_sixty_from_the_lowest_to_the_highest_score(tmp_path: Path) -> None:
    book = Book(drawn_atlas(tmp_path, count=400))
    largest = max(grade_views(book), key=lambda view: len(view.plates))
    assert len(largest.plates) > 60
    assert len({plate.id for plate in largest.sheet}) == 60
    assert (largest.sheet[0], largest.sheet[-1]) == (largest.plates[0], largest.plates[-1])
    places = [largest.plates.index(plate) for plate in largest.sheet]
    assert set(np.diff(places).tolist()) <= {len(largest.plates) // 60, len(largest.plates) // 60 + 1}


def test_left_eyes_are_mirrored_and_eyes_that_are_not_known_are_left_out(made: tuple[Atlas, Path]) -> None:
    atlas, pictures = made
    right, left, unknown = (
        dict(mean_pictures(Book(with_eyes(atlas, eye)), read_in(pictures))) for eye in ("right", "left", None)
    )
    assert right.keys() == left.keys() == unknown.keys()
    assert unknown == right, "without known eyes, all are averaged as photographed"
    for path, content in right.items():
        difference = np.abs(pixels(content)[:, ::-1] - pixels(left[path]))
        assert difference.mean() < 1.5, path  # a JPEG of a mirrored picture is not quite the mirrored JPEG
    half = dataclasses.replace(
        atlas.dataset,
        images=tuple(
            dataclasses.replace(image, eye=None if k % 4 == 0 else "left") for k, image in enumerate(atlas.dataset.images)
        ),
    )
    book = Book(dataclasses.replace(atlas, dataset=half))
    eyes = {image.image_id: image.eye for image in half.images}
    for view in grade_views(book):
        if view.step is None:
            continue
        lost = sum(eyes[plate.id] is None for plate in book.plates if plate.read == view.grade)
        assert (view.step.left_out, view.step.mirrored) == (lost, view.read - lost)


def test_the_mean_photograph_is_the_mean_of_its_thumbnails(made: tuple[Atlas, Path]) -> None:
    atlas, pictures = made
    book = Book(with_eyes(atlas, None))
    found = dict(mean_pictures(book, read_in(pictures)))
    view = next(view for view in grade_views(book) if view.step)
    assert view.step is not None
    thumbnails = [pixels((pictures / plate.thumbnail).read_bytes()) for plate in view.step.plates]
    side = len(pixels(found[f"means/{view.grade.number}.jpg"]))
    assert {one.shape[2] for one in thumbnails} == {3}
    expected = np.mean(
        [cv2.resize(one.astype(np.uint8), (side, side), interpolation=cv2.INTER_AREA) for one in thumbnails], axis=0
    )
    assert np.abs(pixels(found[f"means/{view.grade.number}.jpg"]) - expected).mean() < 4  # JPEG
    limits = [pixels(content)[..., 3].max() for path, content in found.items() if path.endswith(".png")]
    assert max(limits) > 200, "the strongest place of all grades has the strongest colour"


def test_lesions_of_a_grade_are_counted_by_photograph(made: tuple[Atlas, Path]) -> None:
    atlas = with_lesions(made[0])
    book = Book(atlas)
    contexts = [context for _, context in grade_pages(book)]
    assert any(context["kinds_found"] for context in contexts)
    for context in contexts:
        ids = {plate.id for plate in context["of"].plates}
        having = Counter(kind for image, own in atlas.found.items() if image in ids for kind in {mark.kind for mark in own.marks})
        for kind, total, count in context["kinds_found"]:
            assert total == len(ids & atlas.found.keys())
            assert count == having[kind.key]


def test_the_pages_are_written_with_their_pictures_and_the_home_page_leads_there(
    made: tuple[Atlas, Path], tmp_path: Path
) -> None:
    atlas, pictures = made
    render_site(atlas, pictures, tmp_path / "out")
    home = (tmp_path / "out" / "index.html").read_text("utf-8")
    for view in grade_views(Book(atlas)):
        page = (tmp_path / "out" / view.page).read_text("utf-8")
        assert (f'href="{view.page}"' in home) == bool(view.plates)
        assert page.count('class="thumb') == len(view.sheet)
        if view.step:
            assert f'src="../means/{view.grade.number}.jpg"' in page
            assert (tmp_path / "out" / "means" / f"{view.grade.number}.png").is_file()
        else:
            assert "Too few scores are read as this grade" in page
