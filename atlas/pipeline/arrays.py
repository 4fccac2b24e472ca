"""Files of arrays in the store: as few bytes as possible, and every bit as it was.

What a network sees in a photograph is mostly zeros, behind its ReLU. So an array is kept as one bit for each value, which says
whether it is zero, and the other values. Their bytes are sorted by place, first to last: the first ones, with sign and exponent,
are much alike. Zstandard packs both. The last maps of the shipped trunks shrink to a sixth of their size.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

_PACKED = "packed"  # key of the file's metadata that holds the dtype, the shape and the parts of each packed array

_SMALL = 512  # bytes below which an array is kept as it is

_LEVEL = 3  # of Zstandard: higher ones take several times as long, for a hundredth of the bytes


def save_arrays(file: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by name.

    Raises
    ------
    OSError
        If the disk cannot hold them.
    """
    held: dict[str, NDArray[Any]] = {}
    packed = {}
    for name, array in arrays.items():
        plain = np.asarray(array, order="C")
        if plain.nbytes < _SMALL or len(found := _packed(plain)) >= plain.nbytes:
            held[name] = plain
        else:
            held[name] = np.frombuffer(found, np.uint8)
            packed[name] = (plain.dtype.str, plain.shape)
    file.write_bytes(safetensors.numpy.save(held, {_PACKED: json.dumps(packed)}))


def load_arrays(file: Path, *only: str) -> dict[str, NDArray[Any]]:
    """Read arrays by name: those that are named, or all.

    Raises
    ------
    safetensors.SafetensorError, OSError
        If the file is missing or damaged.
    """
    with safetensors.safe_open(file, framework="np") as found:
        packed = json.loads((found.metadata() or {}).get(_PACKED, "{}"))
        read = {name: found.get_tensor(name) for name in only or found.keys()}
    return {name: _unpacked(array.tobytes(), *packed[name]) if name in packed else array for name, array in read.items()}


def _packed(array: NDArray[Any]) -> bytes:
    import imagecodecs  # only what reads or writes the store needs it

    bits = array.reshape(-1).view(f"u{array.itemsize}")
    filled = bits != 0  # of their bits: a negative zero stays one
    mask = imagecodecs.zstd_encode(np.packbits(filled).tobytes(), level=_LEVEL)
    values = bits[filled].view(np.uint8).reshape(-1, array.itemsize)
    return b"".join((len(mask).to_bytes(8, "little"), mask, imagecodecs.zstd_encode(values.T.tobytes(), level=_LEVEL)))


def _unpacked(stored: bytes, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    import imagecodecs

    kind = np.dtype(dtype)
    count = int(np.prod(shape))
    end = 8 + int.from_bytes(stored[:8], "little")
    filled = np.unpackbits(np.frombuffer(imagecodecs.zstd_decode(stored[8:end]), np.uint8), count=count).view(bool)
    sorted_bytes = np.frombuffer(imagecodecs.zstd_decode(stored[end:]), np.uint8).reshape(kind.itemsize, -1)
    bits = np.zeros(count, f"u{kind.itemsize}")
    bits[filled] = np.ascontiguousarray(sorted_bytes.T).reshape(-1).view(bits.dtype)
    return bits.view(kind).reshape(shape)
