"""Masks of outlined lesions: which files belong to a photograph, and what they mark."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from atlas.errors import DatasetError
from atlas.records import BoolArray

_MASK_ENDINGS = (".png", ".gif", ".tif", ".tiff", ".bmp")


def find_masks(masks: Path, stem: str) -> tuple[Path, ...]:
    """Find the masks of the photograph named `stem`: `masks/<stem>.png`, or all of `masks/<stem>/`, one for each kind of lesion.

    PNG, GIF, TIFF and BMP are taken. Returns () where there is none.
    """
    folder = masks / stem
    files = folder.iterdir() if folder.is_dir() else (masks / (stem + ending) for ending in _MASK_ENDINGS)
    return tuple(sorted(file for file in files if file.suffix.lower() in _MASK_ENDINGS and file.is_file()))


def read_lesions(files: Iterable[Path], shape: tuple[int, int]) -> BoolArray:
    """Read masks and join them: bool (H, W), true where any mask is not black.

    shape : H, W of the upright photograph. Raises DatasetError where a mask cannot be read or is of another size.
    """
    lesions = np.zeros(shape, np.bool_)
    for file in files:
        try:
            with Image.open(file, formats=("PNG", "GIF", "TIFF", "BMP")) as image:
                mask = np.asarray(image.convert("L")) > 0
        except Exception as error:  # decoders of foreign files fail in many ways; each means this one file and no more
            raise DatasetError(f"{file}: cannot be read as a mask ({error})", "give it as PNG, white on black.") from error
        if mask.shape != shape:
            sizes = (f"{columns} x {rows}" for rows, columns in (mask.shape, shape))
            raise DatasetError(
                "{}: the mask is of {} pixels, its photograph of {}".format(file, *sizes), "draw it on the photograph."
            )
        lesions |= mask
    return lesions
