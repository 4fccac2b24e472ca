"""Whether two processes would compute the same: the same code, the same versions, and the same digits.

Versions alone do not tell. A library chooses its kernels by the processor, and those of different instruction sets round
differently. So each process does some arithmetic of the kinds that the stages do, and the results are compared bit by bit.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg

from atlas.pipeline.keys import LIBRARIES, folder_key, library_version

LIMITS = (
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_CBWR",
    "OPENBLAS_CORETYPE",
    "NPY_DISABLE_CPU_FEATURES",
    "OPENCV_CPU_DISABLE",
)
"""Environment variables that limit which instructions the libraries use."""


@cache
def traits() -> Mapping[str, str]:
    """Return what must be the same in two processes whose results are to agree: by name, a version or a hash.

    Call it where each library uses one thread.
    """
    return {
        "atlas": folder_key(Path(__file__).resolve().parents[1])[:16],
        "python": ".".join(platform.python_version_tuple()[:2]),
        **{name: library_version(name) for name in LIBRARIES},
        **{f"digits of {name}": _hash(values) for name, values in _digits().items()},
    }


def differences(own: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return in which traits two processes differ, each with the value of both."""
    return [
        f"{name} ({own.get(name)} here, {other.get(name)} there)"
        for name in (*own, *(other.keys() - own.keys()))
        if own.get(name) != other.get(name)
    ]


def _hash(values: list[Any]) -> str:
    total = hashlib.sha256()
    for value in values:
        total.update(np.ascontiguousarray(value).tobytes())
    return total.hexdigest()[:16]


def _digits() -> dict[str, list[Any]]:
    """Compute, by library, what depends on the processor's instructions."""
    random = np.random.default_rng(0)
    wide = random.normal(0, 1, (96, 301)).astype(np.float32)
    picture = random.integers(0, 256, (97, 131, 3), dtype=np.uint8)
    return {
        "torch": _of_torch(),
        "numpy": [
            wide @ wide.T,
            wide.astype(np.float64) @ wide.T.astype(np.float64),
            np.linalg.eigh((wide @ wide.T).astype(np.float64))[0],
            np.exp(wide),
            np.log(np.abs(wide) + 1),
            wide.sum(axis=0),
            wide.std(axis=1, dtype=np.float64),
        ],
        "opencv": [
            cv2.resize(picture, (64, 48), interpolation=cv2.INTER_AREA),
            cv2.resize(picture, (200, 150), interpolation=cv2.INTER_CUBIC),
            cv2.resize(wide, (77, 31), interpolation=cv2.INTER_LINEAR),
            cv2.GaussianBlur(wide, (0, 0), 2.5),
            cv2.cvtColor(picture, cv2.COLOR_RGB2LAB),
        ],
        "simplejpeg": [np.frombuffer(simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality=90), np.uint8)],
    }


def _of_torch() -> list[Any]:
    import torch  # takes a second to load

    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(1, 3, 65, 65, generator=generator).contiguous(memory_format=torch.channels_last)
    found = []
    with torch.inference_mode():
        maps = pixels
        for channels, side, stride in ((32, 3, 2), (64, 3, 1), (48, 1, 1)):
            weight = torch.randn(channels, maps.shape[1], side, side, generator=generator) * 0.2
            maps = torch.relu(torch.nn.functional.conv2d(maps, weight, stride=stride, padding=side // 2))
            found.append(maps.contiguous().numpy())
        flat = maps.flatten(1)
        logits = flat @ torch.randn(flat.shape[1], 7, generator=generator) * 0.01
        found += [logits.numpy(), torch.sigmoid(logits).numpy(), torch.softmax(logits, 1).numpy(), maps.mean((2, 3)).numpy()]
    return found
