"""Which windows become patches."""

from __future__ import annotations

import numpy as np
import pytest

from atlas.explain.windows import windows_inside
from atlas.patterns.patches import choose_threshold, off_retina, salient_windows, with_descriptors
from atlas.records import Frame, Patches

IDS = ("c" * 16, "a" * 16, "b" * 16)
FRAMES = {image_id: Frame(10 * i, -5 * i, 600) for i, image_id in enumerate(IDS)}


def cell_box(frame: Frame, shape: tuple[int, int], row: int, col: int, window: int) -> tuple[int, int, int, int]:
    cell = frame.side // shape[0]
    top, left = frame.top + row * cell, frame.left + col * cell
    return top, left, top + window * cell, left + window * cell


def draw(threshold: float = 0.5) -> tuple[np.ndarray, np.ndarray, Patches]:
    rng = np.random.default_rng(3)
    drops = rng.normal(0, 0.6, (3, 5, 5)).astype(np.float32)
    inside = rng.random((3, 5, 5)) < 0.7
    return drops, inside, salient_windows(IDS, drops, inside, FRAMES, (6, 6), cell_box, window=2, threshold=threshold)


def test_windows_count_when_every_cell_is_inside() -> None:
    inside = np.random.default_rng(0).random((2, 6, 7)) < 0.8
    for window in (1, 2, 3):
        whole = windows_inside(inside, window)
        assert whole.shape == (2, 7 - window, 8 - window)
        for image, row, column in np.ndindex(whole.shape):
            assert whole[image, row, column] == inside[image, row : row + window, column : column + window].all()


def test_exactly_the_strong_windows_on_the_retina_are_found() -> None:
    drops, inside, patches = draw()
    expected = {(IDS[i], r, c): drops[i, r, c] for i, r, c in np.ndindex(drops.shape) if inside[i, r, c] and drops[i, r, c] > 0.5}
    found = {
        (image_id, int(r), int(c)): drop
        for image_id, (r, c, _), drop in zip(patches.image_ids, patches.cells, patches.drop, strict=True)
    }
    assert 0 < len(expected) < inside.sum()
    assert found == expected
    assert (patches.threshold, patches.quantile) == (0.5, None)


def test_patches_are_in_order_and_named_after_their_place() -> None:
    _, _, patches = draw()
    places = [(image_id, *cell) for image_id, cell in zip(patches.image_ids, patches.cells.tolist(), strict=True)]
    assert places == sorted(places)
    assert len({image_id for image_id, *_ in places}) == 3
    assert patches.patch_ids == tuple(f"{image_id}-{r:02d}{c:02d}w2" for image_id, r, c, _ in places)
    assert len(set(patches.patch_ids)) == len(patches.patch_ids)
    for (image_id, row, column, window), box in zip(places, patches.boxes.tolist(), strict=True):
        assert tuple(box) == cell_box(FRAMES[image_id], (6, 6), row, column, window)


def test_the_order_of_the_images_does_not_matter() -> None:
    drops, inside, patches = draw()
    turned = salient_windows(IDS[::-1], drops[::-1], inside[::-1], FRAMES, (6, 6), cell_box, window=2, threshold=0.5)
    assert turned.patch_ids == patches.patch_ids
    for name in ("cells", "boxes", "drop"):
        np.testing.assert_array_equal(getattr(turned, name), getattr(patches, name))


def test_no_salient_window_gives_no_patch_but_whole_records() -> None:
    _, _, patches = draw(threshold=99.0)
    assert patches.patch_ids == patches.image_ids == ()
    assert patches.cells.shape == (0, 3)
    assert patches.boxes.shape == (0, 4)
    assert patches.drop.shape == (0,)
    assert patches.descriptors.shape == (0, 0)


def test_a_window_without_a_positive_drop_is_never_salient() -> None:
    _, _, patches = draw(threshold=-99.0)
    assert len(patches.drop)
    assert (patches.drop > 0).all()


def test_descriptors_join_their_patches() -> None:
    _, _, patches = draw()
    descriptors = np.random.default_rng(1).random((len(patches.patch_ids), 4)).astype(np.float32)
    described = with_descriptors(patches, descriptors)
    assert described.patch_ids == patches.patch_ids
    np.testing.assert_array_equal(described.descriptors, descriptors)
    assert patches.descriptors.shape[1] == 0
    with pytest.raises(ValueError, match="expected"):
        with_descriptors(patches, descriptors[1:])


def retinal_drops() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    inside = rng.random((40, 5, 5)) < 0.7
    return np.where(inside, rng.normal(0, 0.2, inside.shape), 9.0).astype(np.float32), inside


def test_the_wished_threshold_stands_where_enough_windows_exceed_it() -> None:
    drops, inside = retinal_drops()
    exceeding = int((drops[inside] > 0.3).sum())
    assert exceeding > 0
    assert choose_threshold(drops, inside, threshold=0.3, fewest=exceeding, quantile=0.9) == (0.3, None)
    lowered, quantile = choose_threshold(drops, inside, threshold=0.3, fewest=exceeding + 1, quantile=0.9)
    assert 0 < lowered < 0.3
    assert quantile == 0.9


def test_a_lowered_threshold_leaves_the_quantiles_share_of_retinal_windows() -> None:
    drops, inside = retinal_drops()
    lowered, _ = choose_threshold(drops, inside, threshold=5.0, fewest=10, quantile=0.9)
    ids = tuple(f"{i:016x}" for i in range(40))
    frames = dict.fromkeys(ids, Frame(0, 0, 600))
    patches = salient_windows(ids, drops, inside, frames, (6, 6), cell_box, window=2, threshold=lowered, quantile=0.9)
    assert patches.quantile == 0.9
    assert len(patches.patch_ids) / inside.sum() == pytest.approx(0.1, abs=1.5 / inside.sum())


def test_the_threshold_is_never_raised() -> None:
    drops, inside = retinal_drops()
    assert choose_threshold(drops, inside, threshold=0.1, fewest=10**6, quantile=0.99) == (0.1, None)


def test_a_low_quantile_stops_above_zero() -> None:
    drops, inside = retinal_drops()
    lowered, quantile = choose_threshold(drops, inside, threshold=5.0, fewest=10, quantile=0.1)
    assert quantile == 0.1
    assert lowered > 0
    assert (drops[inside] > lowered).sum() == (drops[inside] > 0).sum()


def test_without_a_retina_the_wish_stands() -> None:
    drops, inside = retinal_drops()
    assert choose_threshold(drops, np.zeros_like(inside), threshold=0.4, fewest=1, quantile=0.9) == (0.4, None)


def test_the_share_off_the_retina_is_that_of_a_patchs_cells() -> None:
    _, _, patches = draw()
    coverage = {image_id: np.random.default_rng(i).random((6, 6)).astype(np.float32) for i, image_id in enumerate(IDS)}
    shares = off_retina(patches, coverage)
    assert shares.dtype == np.float32
    for share, image_id, (row, column, _) in zip(shares, patches.image_ids, patches.cells.tolist(), strict=True):
        cells = [coverage[image_id][row + i, column + j] for i in (0, 1) for j in (0, 1)]
        assert share == pytest.approx(1 - sum(cells) / 4, abs=1e-6)


def test_windows_are_chosen_by_one_scale_and_tell_another() -> None:
    weights = np.array([[[3.0, 0.5], [0.1, 2.0]]], np.float32)
    falls = np.array([[[0.01, 0.4], [0.3, 0.02]]], np.float32)
    inside = np.ones((1, 2, 2), np.bool_)
    made = salient_windows(["a"], weights, inside, {"a": Frame(0, 0, 20)}, (2, 2), cell_box, window=1, threshold=1.0, falls=falls)
    assert made.cells.tolist() == [[0, 0, 1], [1, 1, 1]]
    np.testing.assert_array_equal(made.drop, np.array([0.01, 0.02], np.float32))
