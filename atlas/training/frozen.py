"""Frozen encoders: their maps of each photograph are computed once, and the layers after them learn on these maps.

Maps are kept at half precision. The maps of a turned photograph are taken to be its turned maps, which is nearly true of an
encoder that has learned from turned photographs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from atlas.progress import Progress, silent
from atlas.records import ByteArray, IntArray
from atlas.scorers.networks import NETWORKS
from atlas.scorers.pyramids import Pyramid
from atlas.scorers.specs import normalised
from atlas.tasks import Each
from atlas.training.augmentations import turned
from atlas.training.steps import digest_of


@dataclass(frozen=True, eq=False)
class KeptMaps:
    """Maps of photographs by a frozen encoder.

    Parameters
    ----------
    values : np.ndarray
        float16 (n, V), the values of all maps of each photograph; may be a memory map.
    shapes : tuple[tuple[int, int, int], ...]
        Channels, rows and columns of the maps of each level; one level for encoders without a pyramid.
    """

    values: np.ndarray
    shapes: tuple[tuple[int, int, int], ...]

    def of(self, rows: IntArray, orientations: Sequence[int] | None = None) -> list[Tensor]:
        """Return the maps of some photographs, float32 (rows, C, h, w) for each level.

        Parameters
        ----------
        rows : IntArray
            Which photographs.
        orientations : Sequence[int] or None
            In which of the square's eight orientations, see `turned`.
        """
        whole = torch.from_numpy(np.asarray(self.values[rows], np.float32))
        parts = torch.split(whole, [int(np.prod(shape)) for shape in self.shapes], 1)
        levels = [part.view(-1, *shape) for part, shape in zip(parts, self.shapes, strict=True)]
        return levels if orientations is None else [turned(level, orientations) for level in levels]


def frozen_part(trunk: nn.Module) -> nn.Module:
    """Return the part of a network's trunk that stays as it is: its encoder, or what is below the encoder's pyramid."""
    encoder = trunk.get_submodule("encoder")
    return encoder.body if isinstance(encoder, Pyramid) else encoder


def encoded(trunk: nn.Module, images: Tensor) -> list[Tensor]:
    """Map pictures (n, 3, S, S), normalised, to the maps of the frozen part."""
    encoder = trunk.get_submodule("encoder")
    return encoder.levels(images) if isinstance(encoder, Pyramid) else [encoder(images)]


def last_maps(trunk: nn.Module, levels: Sequence[Tensor]) -> Tensor:
    """Map maps of the frozen part to the trunk's last maps."""
    encoder = trunk.get_submodule("encoder")
    maps = encoder.fused(levels) if isinstance(encoder, Pyramid) else levels[0]
    for name, part in trunk.named_children():
        if name != "encoder":
            maps = part(maps)
    return maps


@dataclass(frozen=True)
class Encoding:
    """A network's trunk, on the CPU in evaluation mode, and a file of prepared photographs (n, S, S, 3) that it looks at."""

    network: str
    trunk: nn.Module
    pixels: Path

    def look(self, picture: ByteArray) -> list[Tensor]:
        """Return the maps of one prepared photograph by the frozen part."""
        image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            return encoded(self.trunk, normalised(image, NETWORKS[self.network]).contiguous(memory_format=torch.channels_last))


def encode(row: int, encoding: Encoding) -> np.ndarray:
    """Return the values (V,) of all maps of a photograph, given its row. A task, which other processes can do."""
    maps = encoding.look(np.array(np.load(encoding.pixels, mmap_mode="r")[row]))
    return torch.cat([own.flatten() for own in maps]).numpy()


def keep_maps(
    network: str,
    trunk: nn.Module,
    pixels: ByteArray,
    folder: Path,
    *,
    made_from: Sequence[str],
    each: Each | None = None,
    progress: Progress = silent,
) -> KeptMaps:
    """Compute the maps of a network's frozen part for all photographs into a file, and map it. A complete file is used again.

    Parameters
    ----------
    network : str
        An entry of `NETWORKS` with an encoder.
    trunk : nn.Module
        Its trunk, with its weights, on the CPU.
    pixels : ByteArray
        uint8 (n, S, S, 3) prepared photographs, may be a memory map.
    folder : Path
        Where the file lies; trainings on the same photographs can share it.
    made_from : Sequence[str]
        What the pixels depend on: the code, the preparation and the photographs.
    each : Each or None
        Computes them, if the pixels are mapped from a file; without it, this process does.
    progress : Progress
        Called after each photograph.
    """
    encoder = NETWORKS[network].encoder
    recipe = json.dumps([encoder, list(made_from), list(pixels.shape), digest_of(frozen_part(trunk).state_dict())])
    path = folder / f"maps-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}.npy"
    encoding = Encoding(network, trunk.eval(), Path(str(getattr(pixels, "filename", ""))))
    shapes = tuple((int(own.shape[1]), int(own.shape[2]), int(own.shape[3])) for own in encoding.look(np.array(pixels[0])))
    if not path.exists():
        aside = path.with_suffix(".part")
        width = sum(int(np.prod(shape)) for shape in shapes)
        values = np.lib.format.open_memmap(aside, "w+", np.float16, (len(pixels), width))
        if each is not None and isinstance(pixels, np.memmap):
            for row, own in enumerate(each(encode, range(len(pixels)), encoding, stage="maps")):
                values[row] = own
        else:
            for row in range(len(pixels)):
                values[row] = torch.cat([own.flatten() for own in encoding.look(np.array(pixels[row]))]).numpy()
                progress("maps", row + 1, len(pixels))
        values.flush()
        del values  # Windows cannot rename a file that is still mapped
        aside.replace(path)
    return KeptMaps(np.load(path, mmap_mode="r"), shapes)
