"""The statements on maps are checked with small cases counted by hand."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from asked import DR, of_sums
from drawn_atlas import drawn_atlas
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from atlas.cli import app
from atlas.cohort import masks
from atlas.config import load_configuration
from atlas.drawn.cohort import write_cohort
from atlas.errors import DatasetError
from atlas.pictures.jpeg import OVERLAY_SIDE, overlay_png
from atlas.pipeline.trust import measure_trust
from atlas.records import DIABETIC_RETINOPATHY, Atlas, Dataset, Frame, GradedImage, Scale, Trust
from atlas.resources import models_folder
from atlas.scorers.bundle import load_scorer
from atlas.scorers.card import on_card
from atlas.scorers.prediction import LinearPrediction
from atlas.scorers.readouts import Head
from atlas.scorers.scrambled import scrambled_readout, scrambled_trunk
from atlas.scorers.trunks import load_trunk, new_module
from atlas.site.render import render_report
from atlas.site.trust import badge_counts, badge_views, trust_views
from atlas.trust import badges, curves, outlined
from atlas.trust.summary import summarise

SHAPE = (3, 3)
EVERYWHERE = np.ones(SHAPE, np.bool_)
FULL = np.ones(SHAPE, np.float32)


def linear(cells: list[float], bias: float = -2.0) -> LinearPrediction:
    """A prediction whose logit is `bias` plus what each of nine cells adds."""
    head = Head(np.ones((1, 1, *SHAPE), np.float32), np.full(1, 50.0, np.float32), np.ones(1, np.float32), bias - 50.0)
    return of_sums(np.array(cells).reshape(9, 1), head, SHAPE)


def grid(*places: tuple[int, int], value: float = 1.0) -> np.ndarray:
    cells = np.zeros(SHAPE, np.float32)
    for place in places:
        cells[place] = value
    return cells


# ---- lesions on the grid -------------------------------------------------------------------------------------------------------


def test_a_lesion_takes_the_share_of_its_cell_that_it_covers_in_the_crop() -> None:
    lesions = np.zeros((40, 80), np.bool_)
    lesions[5:10, 20:30] = True
    coverage = outlined.lesion_coverage(lesions, Frame(-5, 15, 45), SHAPE)  # cells of 15 pixels, from row -5 and column 15
    assert coverage == pytest.approx(np.array([[50 / 225, 0, 0], [0, 0, 0], [0, 0, 0]]))


def test_a_lesion_over_an_edge_touches_both_cells() -> None:
    lesions = np.zeros((30, 30), np.bool_)
    lesions[4, 9:12] = True
    assert (outlined.lesion_coverage(lesions, Frame(0, 0, 30), SHAPE) * 100).round().tolist() == [[1, 2, 0], [0, 0, 0], [0, 0, 0]]


def write_mask(file: Path, mask: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((mask * 255).astype(np.uint8)).save(file)


def cohort_of(images: Path, *names: str) -> Dataset:
    return Dataset(tuple(GradedImage(f"{k:016x}", images / name) for k, name in enumerate(names)))


@pytest.mark.parametrize("name", ["eye.png", "eye.gif", "eye.tif"])
def test_a_mask_is_found_beside_the_photographs_name_and_read(tmp_path: Path, name: str) -> None:
    mask = np.eye(6, 8, dtype=np.bool_)
    write_mask(tmp_path / name, mask)
    (files,) = masks.find_masks(tmp_path, cohort_of(Path("images"), "eye.jpg"), Path("images")).values()
    assert [file.name for file in files] == [name]
    assert (masks.read_lesions(files, (6, 8)) == mask).all()


def test_masks_of_several_kinds_are_joined(tmp_path: Path) -> None:
    one, other = np.eye(6, dtype=np.bool_), np.eye(6, k=2, dtype=np.bool_)
    write_mask(tmp_path / "eye" / "exudates.png", one)
    write_mask(tmp_path / "eye" / "haemorrhages.png", other)
    (tmp_path / "eye" / "notes.txt").write_text("by hand")
    (files,) = masks.find_masks(tmp_path, cohort_of(Path("images"), "eye.jpg"), Path("images")).values()
    assert (masks.read_lesions(files, (6, 6)) == (one | other)).all()


def test_masks_lie_as_their_photographs_do(tmp_path: Path) -> None:
    images, mask = Path("images"), np.ones((4, 4))
    for name in ("a/1.png", "b/1/exudates.png", "2.png"):
        write_mask(tmp_path / name, mask)
    dataset = cohort_of(images, "a/1.jpg", "b/1.jpg", "c/2.jpg", "c/3.jpg")
    found = masks.find_masks(tmp_path, dataset, images)
    assert {i: [file.relative_to(tmp_path).as_posix() for file in files] for i, files in found.items()} == {
        f"{0:016x}": ["a/1.png"],
        f"{1:016x}": ["b/1/exudates.png"],
        f"{2:016x}": ["2.png"],
    }


@pytest.mark.parametrize(
    ("photographs", "names", "expected"),
    [
        ("a/1.jpg b/1.jpg", "b/1.png", {"b/1.jpg": ["b/1.png"]}),
        ("a/1.jpg b/1.jpg", "a/1/x.png a/1/y.png", {"a/1.jpg": ["a/1/x.png", "a/1/y.png"]}),
        ("a/1.jpg b/2.jpg", "1.png 2/x.png", {"a/1.jpg": ["1.png"], "b/2.jpg": ["2/x.png"]}),
        ("1.jpg a/1.jpg", "1.png", {"1.jpg": ["1.png"]}),
        ("a/1.jpg", "1.png a/1.png", {"a/1.jpg": ["a/1.png"]}),
        ("1.jpg", "1.png 1/x.png", {"1.jpg": ["1/x.png"]}),
        ("a/b/1.jpg a/c/1.jpg", "a/c/1.gif", {"a/c/1.jpg": ["a/c/1.gif"]}),
    ],
)
def test_a_mask_in_its_photographs_own_place_is_its_own(
    tmp_path: Path, photographs: str, names: str, expected: dict[str, list[str]]
) -> None:
    for name in names.split():
        write_mask(tmp_path / name, np.ones((4, 4)))
    dataset = cohort_of(Path("images"), *photographs.split())
    found = masks.find_masks(tmp_path, dataset, Path("images"))
    place = {image.image_id: image.path.relative_to("images").as_posix() for image in dataset.images}
    assert {place[i]: [file.relative_to(tmp_path).as_posix() for file in files] for i, files in found.items()} == expected


def test_one_mask_never_serves_two_photographs(tmp_path: Path) -> None:
    write_mask(tmp_path / "1.png", np.ones((4, 4)))
    with pytest.raises(DatasetError, match=r"1\.png.*a/1, b/1") as caught:
        masks.find_masks(tmp_path, cohort_of(Path("images"), "a/1.jpg", "b/1.jpg"), Path("images"))
    assert "a/1.png" in caught.value.remedy
    found = masks.find_masks(tmp_path, cohort_of(Path("images"), "1.jpg", "b/2.jpg"), Path("images"))
    assert list(found) == [f"{0:016x}"]


def test_a_photograph_without_mask_has_none(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no mask of any of the 1"):
        masks.find_masks(tmp_path, cohort_of(Path("images"), "eye.jpg"), Path("images"))
    assert not masks.read_lesions((), (4, 4)).any()


def test_a_mask_of_another_size_or_no_picture_is_refused_by_name(tmp_path: Path) -> None:
    write_mask(tmp_path / "small.png", np.ones((4, 6)))
    with pytest.raises(DatasetError, match=r"small\.png.*6 x 4 pixels.*8 x 5"):
        masks.read_lesions([tmp_path / "small.png"], (5, 8))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"broken\.png"):
        masks.read_lesions([tmp_path / "broken.png"], (5, 8))


def test_windows_average_their_cells_and_cells_their_windows() -> None:
    cells = np.arange(9, dtype=np.float32).reshape(SHAPE)
    windows = outlined.over_windows(cells, 2)
    assert windows.tolist() == [[2, 3], [5, 6]]
    inside = np.array([[True, True], [True, False]])
    spread = curves.over_cells(windows, inside, 2)
    assert spread[0].tolist() == [2, 2.5, 3]
    assert spread[1].tolist() == pytest.approx([3.5, 10 / 3, 3])
    assert spread[2].tolist() == [5, 5, -np.inf]


def test_windows_of_one_cell_are_the_cells() -> None:
    cells = np.arange(9, dtype=np.float32).reshape(SHAPE)
    assert (outlined.over_windows(cells, 1) == cells).all()
    assert (curves.over_cells(cells, EVERYWHERE, 1) == cells).all()


# ---- maps against lesions ------------------------------------------------------------------------------------------------------


def test_the_strongest_cell_on_the_retina_decides_the_pointing_game() -> None:
    values = np.array([[9, 1, 0], [0, 5, 0], [0, 0, 2]], np.float32)
    inside = EVERYWHERE.copy()
    inside[0, 0] = False
    assert outlined.hit(values, inside, grid((1, 1)) > 0) == 1
    assert outlined.hit(values, inside, grid((0, 0), (2, 2)) > 0) == 0


def test_equally_strong_cells_hit_by_their_share() -> None:
    assert outlined.hit(grid((0, 0), (0, 2), (2, 0), (2, 2)), EVERYWHERE, grid((0, 2), (1, 1)) > 0) == 0.25


def test_a_constant_map_hits_as_often_as_a_random_cell() -> None:
    inside = EVERYWHERE.copy()
    inside[2] = False
    assert outlined.hit(FULL, inside, grid((0, 0), (0, 1), (2, 2)) > 0) == pytest.approx(2 / 6)


def test_a_map_without_a_positive_drop_points_nowhere() -> None:
    assert outlined.hit(-FULL, EVERYWHERE, EVERYWHERE) == 0
    assert outlined.hit(FULL, ~EVERYWHERE, EVERYWHERE) == 0


def test_positive_drops_count_by_the_part_of_their_cell_that_is_lesion() -> None:
    values = np.array([[3, -8, 0], [0, 1, 0], [0, 0, 0]], np.float32)
    lesions = np.array([[0.5, 1, 0], [0, 0, 0], [0, 0, 0]], np.float32)
    assert outlined.share_inside(values, EVERYWHERE, lesions, FULL) == pytest.approx(3 * 0.5 / 4)


def test_a_cell_half_off_the_retina_counts_by_its_retina() -> None:
    lesions, coverage = grid((0, 0), value=0.25), FULL.copy()
    coverage[0, 0] = 0.5
    assert outlined.share_inside(grid((0, 0)), EVERYWHERE, lesions, coverage) == pytest.approx(0.5)
    assert outlined.area_share(EVERYWHERE, lesions, coverage) == pytest.approx(0.25 / 8.5)


@given(st.integers(0, 2**16))
@settings(max_examples=30, deadline=None)
def test_drops_spread_over_the_retina_lie_in_lesions_by_area(seed: int) -> None:
    rng = np.random.default_rng(seed)
    coverage = rng.uniform(0.1, 1, SHAPE).astype(np.float32)
    lesions = (coverage * rng.uniform(0, 1, SHAPE)).astype(np.float32)
    inside = rng.random(SHAPE) < 0.8
    inside[1, 1] = True
    share = outlined.share_inside(coverage, inside, lesions, coverage)
    assert share == pytest.approx(outlined.area_share(inside, lesions, coverage), rel=1e-5)


def test_a_map_that_lowers_the_score_everywhere_has_no_share() -> None:
    assert np.isnan(outlined.share_inside(-FULL, EVERYWHERE, FULL, FULL))


@pytest.mark.parametrize(("shape", "strongest"), [((3, 5), [(1, 2)]), ((4, 4), [(1, 1), (1, 2), (2, 1), (2, 2)])])
def test_the_centre_map_is_strongest_in_the_middle(shape: tuple[int, int], strongest: list[tuple[int, int]]) -> None:
    values = outlined.centre_map(shape)
    assert [tuple(place) for place in np.argwhere(values == values.max()).tolist()] == strongest
    assert values.min() > 0
    assert (values == values[::-1, ::-1]).all()


# ---- curves --------------------------------------------------------------------------------------------------------------------


def test_cells_are_ordered_by_the_map_and_stay_on_the_retina() -> None:
    values = np.array([[1, 7, 1], [0, -3, 9], [1, 0, 0]], np.float32)
    inside = EVERYWHERE.copy()
    inside[1, 2] = False
    assert curves.strongest_first(values, inside).tolist() == [1, 0, 2, 6, 3, 7, 8, 4]


def test_leaving_cells_out_one_by_one_equals_leaving_out_masks() -> None:
    rng = np.random.default_rng(3)
    bias = rng.normal(size=4).astype(np.float32)
    head = Head(np.ones((4, 1, *SHAPE), np.float32), bias, rng.normal(size=4).astype(np.float32), 0.2)
    asked = of_sums(rng.normal(size=(9, 4)), head, SHAPE)
    order = rng.permutation(9)[:7]
    hidden = np.array([np.isin(np.arange(9), order[:gone]).reshape(SHAPE) for gone in range(8)])
    along = curves.severities_without(asked, "dr", order[None], np.arange(8))
    assert along.shape == (1, 8)
    assert np.ptp(along) > 0.01
    np.testing.assert_allclose(along[0], asked.without("dr", hidden), atol=1e-6)


def test_deletion_by_the_true_order_falls_fastest_and_insertion_rises_fastest() -> None:
    added = [0.5, 0, 0, 0, 3, 0, 0, -0.5, 0]
    asked = linear(added)
    true = np.array(added, np.float32).reshape(SHAPE)
    own = curves.curves(true, EVERYWHERE, asked, "dr")
    worst = curves.curves(-true, EVERYWHERE, asked, "dr")
    assert curves.area(own.deletion) < curves.area(own.random) < curves.area(worst.deletion)
    assert curves.area(own.insertion) > curves.area(own.random) > curves.area(worst.insertion)


def test_curves_begin_and_end_where_they_must() -> None:
    asked = linear([0.3] * 9)
    inside = EVERYWHERE.copy()
    inside[0, 0] = False  # a cell off the retina is never left out
    own = curves.curves(FULL, inside, asked, "dr")
    whole, none = (4 / (1 + np.exp(-(-2 + 0.3 * cells))) for cells in (9, 1))
    assert [curve.shape for curve in own] == [(curves.STEPS,)] * 3
    for curve, ends in zip(own, ((whole, none), (none, whole), (whole, none)), strict=True):
        assert (curve[0], curve[-1]) == pytest.approx(ends, abs=1e-5)


def test_where_all_cells_add_alike_no_order_is_better() -> None:
    asked = linear([0.3] * 9)
    own = curves.curves(grid((1, 1)), EVERYWHERE, asked, "dr")
    np.testing.assert_allclose(own.deletion, own.random, atol=1e-5)


def test_random_orders_depend_on_the_seed_alone() -> None:
    asked = linear([1, 2, 0, 0, 1, 0, 0, 0, 1])
    first, again, other = (curves.curves(FULL, EVERYWHERE, asked, "dr", seed=seed).random for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()
    np.testing.assert_allclose(first, other, atol=0.6)


def test_no_cell_on_the_retina_leaves_the_score_as_it_is() -> None:
    asked = linear([1.0] * 9)
    own = curves.curves(FULL, ~EVERYWHERE, asked, "dr")
    assert np.ptp(np.concatenate(own)) == 0


def test_the_area_of_a_straight_fall_is_its_middle() -> None:
    assert curves.area(np.linspace(3, 1, curves.STEPS).astype(np.float32)) == pytest.approx(2)


# ---- badges --------------------------------------------------------------------------------------------------------------------


def curve(start: float, fall: float) -> np.ndarray:
    """A curve that has fallen by `fall` once a fifth is left out."""
    values = np.full(curves.STEPS, start - fall, np.float32)
    values[: curves.FIFTH] = start
    return values


@pytest.mark.parametrize(
    ("start", "marked", "chance", "badge"),
    [
        (3.0, 0.9, 0.2, badges.CLEAR),
        (3.0, 0.9, 0.5, badges.WEAK),
        (3.0, 0.3, 0.1, badges.PARTIAL),
        (3.0, 0.3, -0.4, badges.PARTIAL),
        (3.0, 0.05, -0.4, badges.WEAK),
        (3.0, -0.2, -0.4, badges.WEAK),
        (0.4, 0.3, 0.0, badges.LITTLE),
        (0.6, 0.55, 0.1, badges.CLEAR),
    ],
)
def test_each_badge_follows_its_rule(start: float, marked: float, chance: float, badge: badges.Badge) -> None:
    assert badges.judge(curve(start, marked), curve(start, chance), DIABETIC_RETINOPATHY) is badge


def test_limits_follow_the_scale() -> None:
    scale = Scale(1, ("none", "some", "much"), None, "another")  # two grades wide: half the limits, from 1
    assert badges.judge(curve(1.2, 0.1), curve(1.2, 0.0), scale) is badges.LITTLE
    assert badges.judge(curve(2.0, 0.3), curve(2.0, 0.1), scale) is badges.CLEAR
    assert badges.judge(curve(2.0, 0.1), curve(2.0, 0.0), scale) is badges.PARTIAL
    assert "0.25 grades" in badge_views(scale)["clear"].rule
    assert "0.5 grades" in badge_views(DIABETIC_RETINOPATHY)["clear"].rule


# ---- scrambled scorers ---------------------------------------------------------------------------------------------------------


def test_a_scrambled_head_holds_the_same_weights_elsewhere() -> None:
    rng = np.random.default_rng(0)
    head = Head(rng.normal(size=(4, 5, 2, 3)).astype(np.float32), rng.normal(size=4), rng.normal(size=4), 0.7)
    scrambled, again = scrambled_readout(head, 1), scrambled_readout(head, 1)
    assert (scrambled.hidden_weight == again.hidden_weight).all()
    assert (scrambled.hidden_weight != head.hidden_weight).any()
    assert sorted(scrambled.hidden_bias) == sorted(head.hidden_bias)
    assert sorted(abs(scrambled.output_weight)) == sorted(abs(head.output_weight))
    grids = {tuple(sign * cells.ravel()) for cells in head.hidden_weight.reshape(-1, 2, 3) for sign in (-1, 1)}
    moved = {tuple(cells.ravel()) for cells in scrambled.hidden_weight.reshape(-1, 2, 3)}
    assert len(moved) == 20
    assert moved < grids


def test_a_scrambled_head_of_negative_weights_is_not_put_to_rest() -> None:
    head = Head(np.full((8, 5, 2, 3), -0.1, np.float32), np.zeros(8, np.float32), np.ones(8, np.float32), 0.0)
    maps = np.random.default_rng(0).random((5, 2, 3)).astype(np.float32)
    z = np.einsum("kchw,chw->k", scrambled_readout(head, 0).hidden_weight, maps)
    assert (np.einsum("kchw,chw->k", head.hidden_weight, maps) < 0).all()
    assert (z > 0).any()


def test_a_scrambled_trunk_sees_otherwise_and_leaves_the_trunk_as_it_was() -> None:
    trunk = load_trunk("squeezenet1_1", new_module("squeezenet1_1", 0).state_dict(), size=64)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
    before = trunk.maps(pixels)
    scrambled = scrambled_trunk(trunk, 5)
    assert (trunk.maps(pixels) == before).all()
    assert (scrambled.maps(pixels) != before).any()
    assert (scrambled.maps(pixels) == scrambled_trunk(trunk, 5).maps(pixels)).all()
    assert scrambled.sha256 != trunk.sha256
    own, other = trunk.state_dict(), scrambled.state_dict()
    assert all(other[name].abs().flatten().sort().values.equal(own[name].abs().flatten().sort().values) for name in own)
    assert 0.1 < (scrambled.maps(pixels) > 0).mean() < 0.9


def test_likeness_is_of_ranks_inside() -> None:
    values = np.array([[1, 2, 3], [4, -5, 6], [7, 8, 100]], np.float32)
    inside = EVERYWHERE.copy()
    inside[2, 2] = False
    other = np.where(inside, values**3, -1e9).astype(np.float32)
    assert outlined.likeness(values, other, inside) == pytest.approx((1, 1))
    assert outlined.likeness(values, -other, inside) == pytest.approx((-1, 1))
    assert np.isnan(outlined.likeness(values, FULL, inside)).all()


# ---- a cohort ------------------------------------------------------------------------------------------------------------------


def test_a_photograph_is_measured_beside_centre_and_chance() -> None:
    asked = linear([3, 0, 0, 0, 0, 0, 0, 0, 0])
    rows = outlined.measure(
        {"occlusion": grid((0, 0))},
        inside=EVERYWHERE,
        lesions=grid((0, 0), value=0.5),
        coverage=FULL,
        prediction=asked,
        target=DR,
        middles=grid((0, 0)) > 0,
    )
    assert list(rows) == ["occlusion", "centre", "random"]
    assert [rows[name]["middle"] for name in rows] == pytest.approx([1, 0, 1 / 9])
    assert (rows["occlusion"]["gain"], rows["random"]["gain"]) == pytest.approx((1, 1 / 9))
    assert np.isnan(rows["centre"]["gain"])
    assert [rows[name]["hit"] for name in rows] == pytest.approx([1, 0, 1 / 9])
    assert [rows[name]["random"] for name in rows] == pytest.approx([1 / 9] * 3)
    assert (rows["occlusion"]["share"], rows["random"]["share"]) == pytest.approx((0.5, 0.5 / 9))
    assert rows["occlusion"]["deletion"] < rows["random"]["deletion"] < rows["random"]["height"]
    assert rows["occlusion"]["insertion"] > rows["random"]["insertion"] == rows["random"]["deletion"]
    assert rows["occlusion"]["height"] == pytest.approx(4 / (1 + np.exp(-1.0)), abs=1e-5)


def test_windows_are_measured_as_windows() -> None:
    asked = linear([3, 0, 0, 0, 0, 0, 0, 0, 0])
    rows = outlined.measure(
        {"occlusion": np.array([[2, 1], [1, 0]], np.float32)},
        inside=EVERYWHERE,
        lesions=grid((1, 0)),
        coverage=FULL,
        prediction=asked,
        target=DR,
        middles=np.array([[False, True], [False, False]]),
        window=2,
    )
    assert (rows["occlusion"]["middle"], rows["random"]["middle"]) == (0, 0.25)
    assert rows["occlusion"]["hit"] == 1  # the window at (0, 0) holds cell (1, 0)
    assert rows["random"]["hit"] == 0.5
    assert rows["occlusion"]["share"] == pytest.approx((2 / 4 + 1 / 4) / 4)


def test_middles_lie_where_the_mask_says() -> None:
    lesions = np.zeros((60, 80), np.bool_)
    lesions[20:30, 40:60] = True
    frame = Frame(-10, 10, 80)  # 4 x 4 cells of 20 pixels; their middles: rows 0, 20, 40, 60, columns 20, 40, 60, 80
    expected = np.zeros((4, 4), np.bool_)
    expected[1, 1] = True  # (20, 40); column 60 lies off the lesion, row 60 and column 80 off the photograph
    np.testing.assert_array_equal(outlined.middles_in(lesions, frame, (4, 4), 1), expected)
    wide = outlined.middles_in(lesions, frame, (4, 4), 2)  # middles: rows 10, 30, 50, columns 30, 50, 70
    assert wide.shape == (3, 3)
    assert not wide.any()
    lesions[30, 50] = True
    assert np.argwhere(outlined.middles_in(lesions, frame, (4, 4), 2)).tolist() == [[1, 1]]


def summary(hits: list[float], patients: list[str], **others: float) -> dict[str, list[float] | None]:
    common = {"random": 0.25, "area": 0.1, "share": 0.2, "deletion": 1.0, "insertion": 2.0, "height": 4.0}
    photographs = [{"occlusion": {**common, "hit": value, **others}, "random": {**common, "hit": 0.25}} for value in hits]
    entry = summarise(photographs, patients, name="hand", without_lesion=3)
    assert (entry["name"], entry["photographs"], entry["without_lesion"]) == ("hand", len(hits), 3)
    assert entry["area"] == pytest.approx(0.1)
    assert [row["map"] for row in entry["maps"]] == ["occlusion", "random"]
    figures: dict[str, list[float] | None] = entry["maps"][0]
    return figures


def test_figures_of_a_cohort_are_means_and_ratios_of_sums() -> None:
    figures = summary([1, 0, 1, 1], ["a", "b", "c", "d"])
    assert {name: figures[name][0] for name in ("hit", "times_random", "share", "times_area", "deletion", "insertion")} == {
        "hit": 0.75,
        "times_random": 3.0,
        "share": 0.2,
        "times_area": 2.0,
        "deletion": 0.25,
        "insertion": 0.5,
    }
    low, high = figures["hit"][1:]
    assert 0 <= low < 0.75 < high <= 1
    assert figures["all_scrambled"] is None
    assert figures["share"] == [0.2, 0.2, 0.2]  # all photographs agree: no doubt is left


def test_undefined_figures_are_left_out_of_the_mean() -> None:
    rows = {"random": 0.5, "area": 0.1, "height": 1.0, "hit": 0.0}
    photographs = [{"occlusion": {**rows, "share": share}, "random": rows} for share in (0.4, np.nan)]
    entry = summarise(photographs, ["a", "b"], name="hand", without_lesion=0)
    assert entry["maps"][0]["share"] == [0.4, 0.4, 0.4]


def test_patients_not_photographs_are_drawn() -> None:
    """Four photographs of one patient give no more information than one."""
    many = summary([1, 1, 1, 1, 0, 0, 0, 0], [*"abcdefgh"])["hit"]
    few = summary([1, 1, 1, 1, 0, 0, 0, 0], [*"aaaabbbb"])["hit"]
    assert many is not None
    assert few is not None
    assert few[2] - few[1] > many[2] - many[1]
    assert few[1:] == [0, 1]


def test_the_card_gains_a_section_before_its_limits_and_replaces_it() -> None:
    rows = {"random": 0.25, "area": 0.1, "height": 4.0, "deletion": 1.0, "insertion": 2.0, "hit": 0.25, "share": 0.2}
    entry = summarise([{"occlusion": rows, "random": rows}], ["a"], name="drawn eyes", without_lesion=0)
    card = "# S\n\n## Recipe\n\n- seed: 0\n\n## Limits\n\n- none known\n"
    once = on_card(card, [entry])
    assert once.index("seed: 0") < once.index("On drawn eyes: 1 photographs") < once.index("## Limits")
    assert "| occlusion | 0.25 (0.25 to 0.25) | 1.00" in once
    assert on_card(once, [entry]) == once
    assert on_card(once, [{**entry, "name": "others"}]) == once.replace("drawn eyes", "others")
    assert on_card("# S\n", [entry]).startswith("# S\n## How far")


# ---- on pages, and from the command -------------------------------------------------------------------------------------------


def with_curves(atlas: Atlas, marked: float) -> Atlas:
    """Give every photograph a score of 3 that loses `marked` without the marked fifth, and a tenth without a random one."""
    count = len(atlas.scores.image_ids)
    deletion, random = (np.tile(curve(3.0, fall), (count, 1)) for fall in (marked, 0.1))
    badge = badges.judge(deletion[0], random[0], atlas.dataset.scale)
    return replace(atlas, trust=Trust(atlas.scores.image_ids, deletion, deletion, random, (badge.word,) * count))


def test_a_report_carries_its_badge_and_figure(tmp_path: Path) -> None:
    atlas = with_curves(drawn_atlas(tmp_path / "pictures"), 0.75)
    render_report(atlas, tmp_path / "pictures", atlas.scores.image_ids[0], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "Trust in this map: <strong>clear</strong>" in text
    assert "changes the score by −0.75 grades. Hiding a random fifth changes it by −0.10 grades." in text
    assert text.count("<polyline") == 2


def test_without_curves_a_report_claims_no_trust(tmp_path: Path) -> None:
    atlas = drawn_atlas(tmp_path / "pictures")
    render_report(atlas, tmp_path / "pictures", atlas.scores.image_ids[0], tmp_path / "report.html")
    assert "Trust in this map" not in (tmp_path / "report.html").read_text()
    assert trust_views(atlas) == {}


def test_the_figure_shows_the_whole_scale(tmp_path: Path) -> None:
    views = trust_views(with_curves(drawn_atlas(tmp_path), 1.0))
    view = next(iter(views.values()))
    points = [tuple(map(float, point.split(","))) for point in view.deletion.split()]
    assert points[0] == (0, 150 * 1 / 4)  # a score of 3 lies a quarter below the top
    assert points[-1] == (320, 150 * 2 / 4)
    assert view.fifth == (64, pytest.approx(150 * 1.1 / 4, abs=0.1), 75)
    assert [(badge.word, number) for badge, number in badge_counts(badge_views(DIABETIC_RETINOPATHY).values(), views)] == [
        ("clear", len(views)),
        ("partial", 0),
        ("weak", 0),
        ("score too low to explain", 0),
    ]


def test_a_window_is_drawn_in_the_middle_of_its_cells() -> None:
    values = np.zeros((2, 2), np.float32)
    values[0, 0] = 1  # of cells 0 and 1 of three: its centre lies at a third of the picture
    with Image.open(BytesIO(overlay_png(values, 1.0, np.ones((2, 2), np.bool_), window=2))) as picture:
        strength = np.asarray(picture)[..., 3]
    third = OVERLAY_SIDE // 3
    assert strength[third, third] >= strength.max() - 2
    assert strength[third, OVERLAY_SIDE - third] == 0
    assert 0 < strength[third, OVERLAY_SIDE // 2] < strength.max() - 2


def test_the_command_keeps_what_it_measured_in_the_bundle(tmp_path: Path) -> None:
    table = write_cohort(5, tmp_path / "eyes", seed=3, size=160)
    scorer = shutil.copytree(models_folder() / "synthetic-alexnet", tmp_path / "scorer")
    before = load_scorer(scorer)
    settings = {"images": tmp_path / "eyes" / "images", "grades": table, "scorer": str(scorer), "store": tmp_path / "store"}
    configuration = load_configuration(None, **settings, workers=1)
    masks = tmp_path / "eyes" / "masks"
    entry, _ = measure_trust(configuration, masks, record="drawn eyes")
    after = load_scorer(scorer)
    assert after.trust == (*before.trust, entry)
    assert after.sha256 == before.sha256
    assert "On drawn eyes" in after.card
    assert [row["map"] for row in entry["maps"]] == ["occlusion", "gradcam", "centre", "random"]
    assert entry["photographs"] + entry["without_lesion"] == 5
    assert entry["maps"][0]["all_scrambled"] is not None
    again, _ = measure_trust(configuration, masks, record="drawn eyes")
    assert (again, load_scorer(scorer).trust) == (entry, (*before.trust, entry))
    with pytest.raises(DatasetError, match="no mask"):
        measure_trust(configuration, tmp_path / "eyes" / "images")


def test_a_photograph_that_cannot_be_measured_is_named_once_and_the_rest_goes_on(tmp_path: Path) -> None:
    table = write_cohort(8, tmp_path / "eyes", seed=3, size=160)
    images, masks = tmp_path / "eyes" / "images", tmp_path / "eyes" / "masks"
    named = sorted(file for file in images.iterdir() if (masks / file.stem).is_dir() or (masks / f"{file.stem}.png").is_file())
    named[0].write_bytes(named[0].read_bytes()[:400])
    settings = {"images": images, "grades": table, "scorer": "synthetic-alexnet", "store": tmp_path / "store"}
    entry, report = measure_trust(load_configuration(None, **settings, workers=1), masks)
    assert entry["photographs"] >= 1
    (line,) = report.unreadable
    assert line.count(str(named[0])) == 1
    assert line.startswith(f"{named[0]}: is ")


def test_a_bad_mask_leaves_its_photograph_out_and_nothing_else(tmp_path: Path) -> None:
    table = write_cohort(14, tmp_path / "eyes", seed=5, size=160)
    folder = tmp_path / "eyes" / "masks"
    settings = {"images": tmp_path / "eyes" / "images", "grades": table, "scorer": "synthetic-alexnet", "store": tmp_path / "t"}
    configuration = load_configuration(None, **settings, workers=1)
    before, report = measure_trust(configuration, folder)
    assert report.unreadable == ()
    marked = sorted(own for own in folder.iterdir() if any(own.iterdir()))
    broken, small = (sorted(own.iterdir())[0] for own in marked[:2])
    broken.write_bytes(b"no picture")
    write_mask(small, np.ones((4, 6)))
    after, report = measure_trust(configuration, folder)
    assert [[str(file) in line for file in (broken, small)] for line in sorted(report.unreadable)] == [
        [True, False],
        [False, True],
    ]
    assert after["photographs"] == before["photographs"] - 2
    assert after["without_lesion"] == before["without_lesion"], "nobody knows whether these two have lesions"
    for own in marked:
        for file in own.iterdir():
            file.write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="cannot be used") as caught:
        measure_trust(configuration, folder)
    assert any(str(file) in caught.value.message for own in marked for file in own.iterdir())


def test_with_a_split_only_its_photographs_are_measured(tmp_path: Path) -> None:
    table = write_cohort(8, tmp_path / "eyes", seed=1, size=160)
    header, *rows = table.read_text(encoding="utf-8").splitlines()
    told = [f"{row},{('training', 'test')[place // 2 % 2]}" for place, row in enumerate(rows)]  # both eyes of a patient in one
    table.write_text("\n".join([f"{header},split", *told]), encoding="utf-8")
    flags = ["--masks", str(tmp_path / "eyes" / "masks"), "--grades", str(table), "--scorer", "synthetic-alexnet"]
    flags += ["--store", str(tmp_path / "store"), "--workers", "1", "--split"]
    asked = ["trust", str(tmp_path / "eyes" / "images"), *flags]
    done = [CliRunner().invoke(app, [*asked, part]).output for part in ("test", "training")]
    counts = [re.findall(r"([\d,]+) photographs with", " ".join(one.split())) for one in done]
    assert [sum(map(int, own)) for own in counts] == [4, 4], done
