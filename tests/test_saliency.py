"""The table of methods, and maps that mark nothing outside the retina."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from asked import DR, read_all
from torch import nn

from atlas.errors import ConfigurationError
from atlas.explain import gradcam, occlusion
from atlas.explain.methods import METHODS, methods_by_grade, methods_of, saliency_maps
from atlas.explain.windows import inside_cells
from atlas.records import DIABETIC_RETINOPATHY, BoolArray, FloatArray
from atlas.scorers.prediction import Prediction
from atlas.scorers.readouts import Head

OFFERED = ("occlusion", "gradcam")
"""The methods that every scorer has."""

CELL = 16
CELLS = 6


def retina() -> BoolArray:
    """A disc that fills the square."""
    side = CELL * CELLS
    y, x = np.mgrid[:side, :side] + 0.5 - side / 2
    return np.hypot(x, y) <= side / 2


def coverage(disc: BoolArray) -> FloatArray:
    return disc.reshape(1, CELLS, CELL, CELLS, CELL).mean(axis=(2, 4)).astype(np.float32)


def look(pixels: FloatArray, *, on_black: float, on_bright: float) -> dict[str, Prediction]:
    """A trunk with one map for black and one for bright places, and a head that weighs them."""
    trunk = nn.Conv2d(1, 2, CELL, stride=CELL)
    with torch.no_grad():
        trunk.weight[0], trunk.weight[1] = -1 / CELL**2, 1 / CELL**2
        trunk.bias.copy_(torch.tensor([0.5, -0.5]))
        values = trunk(torch.tensor(pixels)[:, None]).relu().numpy()
    weight = np.broadcast_to(np.array([on_black, on_bright], np.float32)[None, :, None, None], (1, 2, CELLS, CELLS))
    head = Head(weight, np.ones(1, np.float32), np.ones(1, np.float32), -1.0)
    return {f"{i:016x}": one for i, one in enumerate(read_all(values, head))}


def eye_with_bright_spot() -> tuple[FloatArray, BoolArray]:
    disc = retina()
    pixels = np.where(disc, np.float32(0.5), np.float32(0))
    pixels[2 * CELL : 3 * CELL, 3 * CELL : 4 * CELL] = 0.9
    return pixels[None], disc


@pytest.mark.parametrize("method", OFFERED)
def test_the_black_surround_does_not_light_up(method: str) -> None:
    pixels, disc = eye_with_bright_spot()
    looked = look(pixels, on_black=3.0, on_bright=2.0)
    inside = inside_cells(coverage(disc))
    bare = METHODS[method].drops(next(iter(looked.values())), DR, 1)[None]
    assert not inside[np.unravel_index(bare.argmax(), bare.shape)], "the trap is not set: the surround must be the strongest cell"

    maps = saliency_maps(method, looked, DR, inside=inside)
    assert (maps.values[~maps.inside] == 0).all()
    np.testing.assert_array_equal(maps.values[maps.inside], bare[inside])


@pytest.mark.parametrize("method", OFFERED)
def test_a_lesion_is_found_and_a_healthy_sign_is_negative(method: str) -> None:
    pixels, disc = eye_with_bright_spot()
    inside = inside_cells(coverage(disc))
    for sign in (1, -1):
        looked = look(pixels, on_black=0.0, on_bright=2.0 * sign)
        maps = saliency_maps(method, looked, DR, inside=inside)
        assert maps.values.dtype == np.float32
        assert np.unravel_index(np.abs(maps.values).argmax(), maps.values.shape) == (0, 2, 3)
        assert np.sign(maps.values[0, 2, 3]) == sign


@pytest.mark.parametrize("method", OFFERED)
def test_wider_windows_lie_on_the_retina_whole(method: str) -> None:
    pixels, disc = eye_with_bright_spot()
    looked = look(pixels, on_black=3.0, on_bright=2.0)
    inside = inside_cells(coverage(disc))
    maps = saliency_maps(method, looked, DR, inside=inside, window=2)
    assert maps.values.shape == maps.inside.shape == (1, CELLS - 1, CELLS - 1)
    for row, column in np.ndindex(CELLS - 1, CELLS - 1):
        assert maps.inside[0, row, column] == inside[0, row : row + 2, column : column + 2].all()
    assert (maps.values[~maps.inside] == 0).all()
    assert (maps.values[0, 1:3, 2:4] > 0).all(), "every window over the spot"


def test_the_table_gives_the_stages_own_numbers() -> None:
    pixels, _ = eye_with_bright_spot()
    looked = look(pixels, on_black=3.0, on_bright=2.0)
    (one,) = looked.values()
    everywhere = np.ones((1, CELLS, CELLS), np.bool_)
    expected = {
        "occlusion": occlusion.weights(one, "dr", DIABETIC_RETINOPATHY),
        "gradcam": gradcam.weights(one, "dr", DIABETIC_RETINOPATHY),
    }
    assert methods_of(one, DR) == tuple(expected) == OFFERED
    assert methods_by_grade(one, DR) == ()
    for method, drops in expected.items():
        maps = saliency_maps(method, looked, DR, inside=everywhere)
        assert maps.method == method
        np.testing.assert_array_equal(maps.values[0], drops)


def test_inside_cells_are_those_covered_enough() -> None:
    share = coverage(retina())
    assert 0 < share[0, 0, 0] < 0.25 < share[0, 0, 1]
    assert not inside_cells(share)[0, 0, 0]
    assert inside_cells(share)[0, 0, 1]
    assert inside_cells(share, least=float(share.min())).all()
    assert not inside_cells(share, least=1.0)[0, 0].any()


def test_an_unknown_method_is_refused_with_the_known_ones() -> None:
    pixels, _ = eye_with_bright_spot()
    looked = look(pixels, on_black=0.0, on_bright=1.0)
    with pytest.raises(ConfigurationError, match="guess") as caught:
        saliency_maps("guess", looked, DR, inside=np.ones((1, CELLS, CELLS), np.bool_))
    assert all(name in str(caught.value) for name in METHODS)
    with pytest.raises(ConfigurationError, match="no such map") as caught:
        saliency_maps("attention", looked, DR, inside=np.ones((1, CELLS, CELLS), np.bool_))
    assert all(name in str(caught.value) for name in OFFERED)
