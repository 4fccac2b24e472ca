"""Augmentations: how photographs are varied while a network learns. All that is random comes from a generator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from atlas.records import Augmentation, ByteArray, IntArray

# Limits of how "moved" photographs change, each drawn uniformly: rotation in radians, scale and contrast as powers of e, shift as
# a share of half the side, and brightness in grey levels of 255, by channel.
_TURN, _SCALE, _SHIFT, _CONTRAST, _BRIGHTNESS = 0.3, 0.12, 0.06, 0.2, 20.0

_LEAST = 0.7  # least share of the side that a "cropped" photograph shows


def batch_of(pixels: ByteArray, rows: IntArray) -> Tensor:
    """Return rows of pictures, uint8 (n, S, S, 3), as a tensor (rows, 3, S, S)."""
    return torch.from_numpy(np.ascontiguousarray(pixels[rows])).permute(0, 3, 1, 2)


def augmented(images: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Vary pictures, uint8 (n, 3, S, S), at random; return float32, 0..255.

    "flips-rotations" shows each in one of its eight orientations; "moved" also turns, shifts and scales it a little, and varies
    its contrast and brightness; "cropped" shows a square part of it, scaled to full size, in one of its eight orientations.
    The pictures stay on their device; what is random is drawn on the CPU, the same on each device.
    """
    if how == "moved":
        return moved(images, generator)
    if how == "cropped":
        images = turned(images, torch.randint(8, (len(images),), generator=generator).tolist())
        return cropped(images, generator)
    if how == "flips-rotations":
        images = turned(images, torch.randint(8, (len(images),), generator=generator).tolist())
    return images.float()


def resized(images: Tensor, size: int) -> Tensor:
    """Return pictures (n, 3, S, S) at another side."""
    if size == images.shape[-1]:
        return images
    return functional.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True)


def turned(images: Tensor, orientations: Sequence[int]) -> Tensor:
    """Return each of (n, 3, S, S) in one of the square's eight orientations."""
    return torch.stack(
        [torch.rot90(one.flip(2) if k >= 4 else one, k % 4, (1, 2)) for one, k in zip(images, orientations, strict=True)]
    )


def moved(images: Tensor, generator: torch.Generator) -> Tensor:
    """Turn, mirror, scale and shift each of (n, 3, S, S), and vary its contrast and brightness; float32 of the same shape."""
    count = len(images)

    def even(reach: float, *shape: int) -> Tensor:
        return (2 * torch.rand(count, *shape, generator=generator) - 1) * reach

    angle, scale = even(_TURN), torch.exp(even(_SCALE))
    cosine, sine = scale * torch.cos(angle), scale * torch.sin(angle)
    turn = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    turn = turn * (2.0 * torch.randint(2, (count, 2, 1), generator=generator) - 1)
    swapped = torch.randint(2, (count,), generator=generator).bool()
    turn[swapped] = turn[swapped].flip(1)
    placed = torch.cat([turn, even(_SHIFT, 2, 1)], 2).to(images.device)
    grid = functional.affine_grid(placed, list(images.shape), align_corners=False)
    shown = functional.grid_sample(images.float(), grid, align_corners=False)
    contrast, brightness = torch.exp(even(_CONTRAST, 1, 1, 1)), even(_BRIGHTNESS, 3, 1, 1)
    return (shown - 128) * contrast.to(images.device) + 128 + brightness.to(images.device)


def cropped(images: Tensor, generator: torch.Generator) -> Tensor:
    """Scale a square part of each of (n, 3, S, S), random in place and size, to full size; float32 of the same shape."""
    count = len(images)
    share = _LEAST + (1 - _LEAST) * torch.rand(count, generator=generator)
    centre = (2 * torch.rand(count, 2, generator=generator) - 1) * (1 - share)[:, None]
    placed = torch.cat([torch.diag_embed(share[:, None].expand(-1, 2)), centre[:, :, None]], 2).to(images.device)
    grid = functional.affine_grid(placed, list(images.shape), align_corners=False)
    return functional.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
