"""What holds for any input: readers return or refuse, names and ids are safe, and places map there and back."""

from __future__ import annotations

import json
import re
import shutil
import string
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atlas.cohort.boxes import as_marks, read_boxes
from atlas.cohort.cells import shortened
from atlas.cohort.dataset import read_dataset
from atlas.cohort.files import File, image_id
from atlas.cohort.grades import GradeReader
from atlas.cohort.match import Matcher
from atlas.cohort.names import ENDINGS, loose_key, parse_name, split_name
from atlas.cohort.tables import Columns, Row, read_cells, read_rows
from atlas.curation.file import CurationFile, read_curation, slug_of
from atlas.errors import AtlasError, ConfigurationError, DatasetError, ScorerError
from atlas.photographs.decode import Decoded
from atlas.photographs.frames import cell_box, cell_coverage, crop, spread, touched, whole_picture
from atlas.photographs.retina import find_retina
from atlas.pipeline.rejected import write_rejected
from atlas.records import DIABETIC_RETINOPATHY, DatasetReport, Frame, LesionBox, Line, Scale
from atlas.resources import models_folder
from atlas.scorers.bundle import load_scorer
from atlas.terminal import printable

bounded = settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
"""The same examples in each run, and not for long."""

few = settings(bounded, max_examples=25)

CELLS = st.one_of(
    st.text(max_size=12), st.sampled_from(["image", "level", "A1", "b2.png", "x/A1.png", "3", "PDR", "R2", "1E+15", ""])
)

TABLES = st.one_of(
    st.binary(max_size=400),
    st.lists(st.lists(CELLS, max_size=5), max_size=8).map(lambda rows: "\n".join(map(",".join, rows)).encode("utf-8", "replace")),
    st.lists(st.lists(CELLS, max_size=4), max_size=8).map(
        lambda rows: ("image;level\n" + "\n".join(map(";".join, rows))).encode("utf-16", "replace")
    ),
)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("A1.png", "b2.png", "0003.png"):
        (folder / name).write_bytes(name.encode())
    return folder


def require_plain(error: AtlasError, name: str) -> None:
    assert name in str(error)
    assert error.remedy
    assert len(str(error)) < 5000


# Tables ------------------------------------------------------------------------------------------------------------------------


@bounded
@given(content=TABLES, ending=st.sampled_from(["csv", "tsv", "txt", "xlsx"]))
def test_any_table_is_read_or_refused_by_name(images: Path, content: bytes, ending: str) -> None:
    table = images.parent / f"t.{ending}"
    table.write_bytes(content)
    try:
        rows = read_rows(table, Columns(None, None, None, None), ["A1", "b2"]).rows
    except DatasetError as error:
        require_plain(error, table.name)
        return
    assert all(a.number <= b.number for a, b in pairwise(rows))
    try:
        dataset, report = read_dataset(images, table, scale=DIABETIC_RETINOPATHY)
    except DatasetError as error:
        require_plain(error, "images")
        return
    assert all(image.grade in (None, 0, 1, 2, 3, 4) for image in dataset.images)
    named = {image.path.name for image in dataset.images} | {line.what for line in report.files_without_row}
    told = " ".join([*report.grades_off_scale, *report.rows_without_file, *report.conflicting_duplicates])
    assert all(name in named or name.split(".")[0].casefold().lstrip("0") in told.casefold() for name in ("A1.png", "b2.png"))


@bounded
@given(content=TABLES)
def test_any_table_of_boxes_is_read_or_refused_by_name(images: Path, content: bytes) -> None:
    dataset, _ = read_dataset(images, scale=DIABETIC_RETINOPATHY)
    table = images.parent / "boxes.csv"
    table.write_bytes(content)
    for read in (lambda: read_boxes(table, dataset), lambda: read_cells(table, "boxes")):
        try:
            read()
        except DatasetError as error:
            require_plain(error, table.name)


@bounded
@given(text=st.text(max_size=400))
def test_a_cell_in_a_message_takes_one_line(text: str) -> None:
    assert len(shortened(text)) <= 80
    assert "\n" not in shortened(text)


# Grades and names --------------------------------------------------------------------------------------------------------------

WORDS = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from(["no", "mild", "severe", "PDR", "NPDR", "R3", "3", "-", "DR", "grade", ",", "61"]), max_size=5).map(
        " ".join
    ),
)

SCALES = st.builds(
    lambda lowest, names: Scale(lowest, tuple(names), None, "x"),
    st.integers(-5, 5),
    st.lists(st.text(string.ascii_letters, min_size=1, max_size=8), min_size=2, max_size=6, unique_by=str.casefold),
)


@bounded
@given(scale=st.one_of(st.just(DIABETIC_RETINOPATHY), SCALES), words=st.lists(WORDS, max_size=6))
def test_any_words_are_a_grade_of_the_scale_or_none(scale: Scale, words: list[str]) -> None:
    reader = GradeReader(scale, words)
    for word in words:
        grade = reader.read(word)
        assert grade is None or grade in scale.grades
        assert reader.read(f"  {word} ") == grade
    assert [reader.read(name) for name in scale.names] == list(scale.grades)
    if not {"10", "12", "13", "14", "15", "20", "35", "61"} & {word.strip() for word in words}:  # else they may be ETDRS levels
        assert [reader.read(str(grade)) for grade in scale.grades] == list(scale.grades)


STEMS = st.text(st.characters(exclude_characters="/\\\x00", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda stem: stem.strip() == stem and stem not in (".", "..")
)


@bounded
@given(stems=st.lists(STEMS, min_size=1, max_size=6, unique=True), ending=st.sampled_from(sorted(ENDINGS)))
def test_a_row_with_the_very_name_finds_its_file_and_no_other(tmp_path: Path, stems: list[str], ending: str) -> None:
    files = [File.of(tmp_path / (stem + ending), stem + ending) for stem in stems]
    matcher = Matcher(files, tmp_path / "t.csv", tmp_path)
    for file in files:
        found, how = matcher.find(Row(2, file.name, "1"))
        assert file in found
        assert all(one.stem == file.stem for one in found)
        assert how == ""


@bounded
@given(name=st.text(max_size=30), stems=st.lists(STEMS, max_size=5, unique=True))
def test_any_name_is_matched_to_files_of_the_folder_or_to_none(tmp_path: Path, name: str, stems: list[str]) -> None:
    files = [File.of(tmp_path / f"{stem}.png", f"{stem}.png") for stem in stems]
    found, how = Matcher(files, tmp_path / "t.csv", tmp_path).find(Row(2, name, "1", patient=name or None, eye="left"))
    assert set(found) <= set(files)
    assert not how or found


@bounded
@given(name=st.text(max_size=40))
def test_names_are_parted_without_loss_and_looser_keys_are_stable(name: str) -> None:
    folders, stem, ending = split_name(name)
    assert ending == "" or ending in ENDINGS
    assert "/" not in stem
    assert all(folder not in ("", ".") and "/" not in folder for folder in folders)
    key = loose_key(stem.replace(".", ""))  # a name may have two endings, of which one is taken off
    assert loose_key(key) == key
    patient, eye = parse_name(stem)
    assert eye in (None, "left", "right")
    assert patient is None or patient in stem


# Ids ---------------------------------------------------------------------------------------------------------------------------


@bounded
@given(contents=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=6), names=st.randoms())
def test_ids_are_safe_as_names_of_files_and_follow_the_bytes_alone(tmp_path: Path, contents: list[bytes], names: object) -> None:
    found = {}
    for place, content in enumerate(contents):
        file = tmp_path / f"{place}"
        file.write_bytes(content)
        found[place] = image_id(file)
        assert re.fullmatch("[0-9a-f]{16}", found[place])
        assert image_id(file.rename(tmp_path / f"other {place}")) == found[place]
    assert len(set(found.values())) == len(set(contents))


# Geometry ----------------------------------------------------------------------------------------------------------------------

FRAMES = st.builds(Frame, st.integers(-300, 300), st.integers(-300, 300), st.integers(1, 900))

GRIDS = st.tuples(st.integers(1, 20), st.integers(1, 20))


@few
@given(
    shape=st.tuples(st.integers(16, 120), st.integers(16, 120)),
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["noise", "disc", "steps", "flat"]),
)
def test_the_frame_of_any_picture_is_at_most_twice_as_large(shape: tuple[int, int], seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    height, width = shape
    rows, columns = np.mgrid[:height, :width]
    radius, row, column = rng.uniform(2, 200), rng.uniform(-40, height + 40), rng.uniform(-40, width + 40)
    pixels = {
        "noise": lambda: rng.integers(0, 256, (height, width, 3)),
        "disc": lambda: np.where(np.hypot(rows - row, columns - column)[..., None] < radius, [180, 90, 40], [2, 2, 3]),
        "steps": lambda: np.repeat((rows * rng.integers(1, 9) // height * 25)[..., None], 3, axis=2),
        "flat": lambda: np.full((height, width, 3), rng.integers(0, 256)),
    }[kind]()
    for frame, retina in (find_retina(pixels.astype(np.uint8)), whole_picture(pixels.astype(np.uint8))):
        assert 1 <= frame.side <= 2 * max(shape)
        assert retina.shape == shape
        assert retina.any()
        assert frame.top < height
        assert frame.left < width
        assert frame.top + frame.side > 0
        assert frame.left + frame.side > 0


@bounded
@given(frame=FRAMES, grid=GRIDS, data=st.data())
def test_the_box_of_a_window_touches_its_cells_and_no_other(frame: Frame, grid: tuple[int, int], data: st.DataObject) -> None:
    window = data.draw(st.integers(1, min(grid)))
    row, column = data.draw(st.integers(0, grid[0] - window)), data.draw(st.integers(0, grid[1] - window))
    top, left, bottom, right = cell_box(frame, grid, row, column, window)
    assert frame.top <= top <= bottom <= frame.top + frame.side
    assert frame.left <= left <= right <= frame.left + frame.side
    expected = np.zeros(grid, np.bool_)
    expected[row : row + window, column : column + window] = True
    # An edge lies at the nearest whole pixel, so the box may reach into a neighbour by half a pixel, and lack as much.
    inner = touched(frame, grid, (top + 0.51, left + 0.51, bottom - 0.51, right - 0.51))
    assert not (inner & ~expected).any()
    if frame.side > max(grid):
        assert touched(frame, grid, (top - 0.51, left - 0.51, bottom + 0.51, right + 0.51))[expected].all()


@few
@given(frame=st.builds(Frame, st.integers(-60, 60), st.integers(-60, 60), st.integers(1, 150)), data=st.data())
def test_a_crop_holds_the_pixels_of_its_place_and_black_beyond(frame: Frame, data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 80)), data.draw(st.integers(1, 80))
    picture = np.random.default_rng(height * 100 + width).integers(1, 256, (height, width, 3)).astype(np.uint8)
    piece = crop(picture, frame)
    assert piece.shape == (frame.side, frame.side, 3)
    back = np.zeros((height + 400, width + 400, 3), np.uint8)
    back[frame.top + 200 : frame.top + 200 + frame.side, frame.left + 200 : frame.left + 200 + frame.side] = piece
    inside = back[200 : 200 + height, 200 : 200 + width]
    assert np.array_equal(inside[inside > 0], picture[inside > 0])
    assert np.count_nonzero(back) == np.count_nonzero(inside)


@bounded
@given(
    box=st.tuples(*[st.floats(-500, 500)] * 2, *[st.floats(0.01, 900)] * 2),
    shape=st.tuples(st.integers(1, 300), st.integers(1, 300)),
)
def test_marks_of_a_box_lie_in_the_picture_and_cover_what_it_covers_there(
    box: tuple[float, float, float, float], shape: tuple[int, int]
) -> None:
    top, left, height, width = box
    own = LesionBox("microaneurysm", top, left, top + height, left + width)
    meets = top < shape[0] and left < shape[1] and top + height > 0 and left + width > 0
    marks = as_marks([own], shape)
    assert len(marks) == meets
    for mark in marks:
        t, f, b, r = mark.box
        assert 0 <= t < b <= shape[0]
        assert 0 <= f < r <= shape[1]
        assert t <= max(0.0, top)
        assert b >= min(shape[0], top + height)


@bounded
@given(frame=FRAMES, factor=st.sampled_from([1, 2, 4, 8]))
def test_frames_of_a_reduced_picture_map_there_and_back(frame: Frame, factor: int) -> None:
    reduced = Decoded(np.zeros((1, 1, 3), np.uint8), factor, (factor, factor))
    assert reduced.of_source(reduced.at_source(frame)) == frame


@few
@given(grid=GRIDS, onto=GRIDS, side=st.integers(1, 60), seed=st.integers(0, 99))
def test_spreading_keeps_sums_and_coverage_is_a_share(grid: tuple[int, int], onto: tuple[int, int], side: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(grid[0] * grid[1], 3)).astype(np.float32)
    np.testing.assert_allclose(spread(values, grid, onto).sum(axis=0), values.sum(axis=0), rtol=1e-3, atol=1e-3)
    retina = rng.random((side, side)) < rng.random()
    covered = cell_coverage(retina, grid)
    assert covered.min() >= 0
    assert covered.max() <= 1
    np.testing.assert_allclose(covered.mean(), retina.mean(), atol=1e-5)


# Curation ----------------------------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(-3, 10**20), st.text("abc\"' \n#", max_size=6), st.just("0123456789abcdef")),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)

KEYS = st.sampled_from(
    ["images", "clusters", "pins", "exclude", "lessons", "title", "note", "stops", "7", "0123456789abcdef", "x"]
)


@bounded
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")),
        st.lists(
            st.tuples(
                st.sampled_from(["[{}]", "[[{}]]", "[{}.7]", "[{}.0123456789abcdef]", "[[lessons.{}]]"]), KEYS, KEYS, VALUES
            ),
            max_size=5,
        ).map(
            lambda parts: "\n".join(
                f"{head.format(key)}\n{own} = {json.dumps(value)}" for head, key, own, value in parts
            ).encode()
        ),
    )
)
def test_any_file_of_words_is_read_or_refused_by_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "curation.toml"
    file.write_bytes(content)
    try:
        found = read_curation(file)
    except ConfigurationError as error:
        require_plain(error, "curation.toml")
    else:
        assert isinstance(found, CurationFile)
        assert all(re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", slug) for slug, _ in found.pages())


@bounded
@given(title=st.text(max_size=200))
def test_the_address_of_a_lesson_is_safe_as_a_name_of_a_file(title: str) -> None:
    slug = slug_of(title)
    assert slug == "" or re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", slug)
    assert len(slug) <= 80
    assert slug_of(slug) == slug


# Bundles -----------------------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)


@bounded
@given(data=st.data())
def test_any_description_of_a_bundle_is_read_or_refused_by_name(tmp_path: Path, data: st.DataObject) -> None:
    facts = json.loads((models_folder() / "synthetic-alexnet" / "scorer.json").read_text(encoding="utf-8"))
    if data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(facts)))
        inner = facts[key] if isinstance(facts[key], dict) and data.draw(st.booleans()) else facts
        inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(JSON)
        content = json.dumps(facts).encode()
    else:
        content = data.draw(st.one_of(st.binary(max_size=60), JSON.map(lambda value: json.dumps(value).encode())))
    folder = tmp_path / "bundle"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "scorer.json").write_bytes(content)
    with pytest.raises(ScorerError) as caught:  # none of its other files is there
        load_scorer(folder)
    require_plain(caught.value, "bundle")


# What is printed ---------------------------------------------------------------------------------------------------------------


@bounded
@given(
    text=st.text(st.characters(categories=["L", "N", "P", "S", "Z", "C"]), max_size=60),
    encoding=st.sampled_from(["utf-8", "ascii", "latin-1", "cp1252", "cp932", "utf-16"]),
)
def test_whatever_is_printed_commands_no_terminal_and_fits_its_encoding(text: str, encoding: str) -> None:
    shown = printable(text, encoding)
    assert shown.isprintable()
    shown.encode(encoding)
    if text.isascii() and text.isprintable():
        assert shown == text


@bounded
@given(lines=st.lists(st.tuples(*[st.text(max_size=20)] * 3), max_size=4))
def test_the_list_of_what_was_left_out_has_a_row_for_each_line_whatever_it_says(
    tmp_path: Path, lines: list[tuple[str, str, str]]
) -> None:
    file = write_rejected(tmp_path / "site", DatasetReport("x", unreadable=tuple(Line(*parts) for parts in lines)))
    written = file.read_text(encoding="utf-8").splitlines()
    assert len(written) == 1 + len(lines)
