"""Files of arrays: every bit as it was, and far fewer bytes where most values are zero."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from atlas.pipeline.arrays import load_arrays, save_arrays

_KINDS = ("?", "u1", "i4", "i8", "f2", "f4", "f8")


@given(st.sampled_from(_KINDS).flatmap(lambda kind: arrays_of.arrays(kind, arrays_of.array_shapes(min_dims=0, min_side=0))))
def test_an_array_comes_back_bit_by_bit(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray) -> None:
    file = tmp_path_factory.mktemp("arrays") / "a.safetensors"
    many = np.concatenate([array.reshape(-1)] * 300)  # small arrays are not packed
    save_arrays(file, {"one": array, "many": many})
    found = load_arrays(file)
    for name, before in (("one", array), ("many", many)):
        assert (found[name].dtype, found[name].shape) == (before.dtype, before.shape)
        assert found[name].tobytes() == before.tobytes()


def test_zeros_with_a_sign_and_odd_numbers_stay_as_they_are(tmp_path: Path) -> None:
    odd = np.zeros(5000, np.float32)
    odd[::7], odd[1::7], odd[2::7], odd[3::7] = -0.0, np.nan, -np.inf, 1e-45
    save_arrays(tmp_path / "a", {"odd": odd})
    assert load_arrays(tmp_path / "a")["odd"].tobytes() == odd.tobytes()


def test_maps_behind_a_relu_take_a_quarter_of_their_bytes(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    maps = np.maximum(random.normal(-0.9, 1, (512, 13, 13)), 0).astype(np.float32)
    assert 0.15 < np.count_nonzero(maps) / maps.size < 0.2
    save_arrays(tmp_path / "a", {"maps": maps})
    assert (tmp_path / "a").stat().st_size < maps.nbytes / 4
    np.testing.assert_array_equal(load_arrays(tmp_path / "a")["maps"], maps)


def test_what_cannot_be_packed_is_kept_as_it_is(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 10_000, dtype=np.uint8)
    save_arrays(tmp_path / "a", {"noise": noise})
    assert (tmp_path / "a").stat().st_size < noise.nbytes + 300
    np.testing.assert_array_equal(load_arrays(tmp_path / "a")["noise"], noise)


def test_arrays_are_read_by_name_and_in_any_order_of_their_memory(tmp_path: Path) -> None:
    turned = np.arange(6000.0).reshape(60, 100).T[::-1]
    save_arrays(tmp_path / "a", {"turned": turned, "other": np.ones(3)})
    found = load_arrays(tmp_path / "a", "turned")
    assert list(found) == ["turned"]
    np.testing.assert_array_equal(found["turned"], turned)
    found["turned"][0, 0] = 1  # it belongs to its reader


def test_a_plain_file_of_arrays_is_read_as_well(tmp_path: Path) -> None:
    safetensors.numpy.save_file({"x": np.arange(1000)}, tmp_path / "a")
    np.testing.assert_array_equal(load_arrays(tmp_path / "a")["x"], np.arange(1000))


def test_a_missing_or_damaged_file_is_told_by_its_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_arrays(tmp_path / "none")
    (tmp_path / "a").write_bytes(b"damaged")
    with pytest.raises(safetensors.SafetensorError):
        load_arrays(tmp_path / "a")
