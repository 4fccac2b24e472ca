"""Parts of a training that other processes can do, photograph by photograph: to prepare it, and to run the trunk on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from atlas.photographs.opened import open_disc
from atlas.photographs.preparations import prepare
from atlas.records import ByteArray, FloatArray, GradedImage, Subject
from atlas.scorers.readouts import first_sums
from atlas.scorers.transferred import TransferredScorer
from atlas.scorers.trunks import Trunk
from atlas.training.augmentations import turned


def prepared_for(image: GradedImage, how: tuple[int, str, Subject]) -> ByteArray:
    """Decode and prepare a photograph: uint8 (size, size, 3), by size, preparation and subject."""
    size, preparation, subject = how
    opened = open_disc(image.path, subject)
    found = opened.disc.frame, opened.disc.mask
    return prepare(image.image_id, opened.decoded.pixels, size=size, preparation=preparation, found=found).pixels


@dataclass(frozen=True)
class Pixels:
    """Prepared photographs (n, size, size, 3) in a file of NumPy's format, and what looks at them."""

    file: Path
    trunk: Trunk | None = None
    scorer: TransferredScorer | None = None

    def row(self, row: int) -> ByteArray:
        """Read the pixels of one photograph."""
        return np.array(np.load(self.file, mmap_mode="r")[row])


def maps_shown(shown: tuple[int, int], pixels: Pixels) -> FloatArray:
    """Return a trunk's maps (C, h, w) of a photograph, by its row and orientation."""
    row, turn = shown
    image = torch.from_numpy(pixels.row(row)).permute(2, 0, 1)[None]
    assert pixels.trunk is not None
    maps: FloatArray = pixels.trunk.maps(turned(image, [turn]).permute(0, 2, 3, 1).numpy())[0]
    return maps


def sums_and_means(row: int, pixels: Pixels) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the first-layer sums (H,) of a scorer's head for a photograph, and the means (C,) of its maps over all cells."""
    assert pixels.scorer is not None
    (maps,) = pixels.scorer.trunk.maps(pixels.row(row)[None])
    return first_sums(maps, pixels.scorer.head), maps.mean(axis=(1, 2), dtype=np.float64)
