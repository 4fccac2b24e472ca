"""A feature pyramid on any trunk: its last maps, combined with the finer ones before them.

Each level is brought to the same width, and the coarser ones are added to the finer ones (Lin et al., "Feature Pyramid Networks
for Object Detection", CVPR 2017). The finest maps are used, which have four times as many cells a side in most networks.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import FeaturePyramidNetwork

WIDTH = 128
"""Number of a pyramid's maps."""

LEVELS = 3


class Pyramid(nn.Module):
    """A network and a pyramid on its last levels.

    Parameters
    ----------
    body : nn.Module
        The network. It runs its parts one after the other, or returns the maps of its levels, finest first.
    channels : Sequence[int]
        Number of maps of each level, finest first.
    taps : Sequence[int]
        Numbers of the parts whose maps are the levels; empty if the body returns them.
    """

    def __init__(self, body: nn.Module, channels: Sequence[int], taps: Sequence[int] = ()) -> None:
        super().__init__()
        self.body = body
        self.pyramid = FeaturePyramidNetwork(list(channels), WIDTH)
        for coarser in range(1, len(channels)):  # only the finest level is read
            self.pyramid.layer_blocks[coarser] = nn.Identity()
        self._taps = tuple(taps)

    def levels(self, images: Tensor) -> list[Tensor]:
        """Map pictures (n, 3, S, S) to the maps of the network's levels, finest first."""
        maps: list[Tensor] = _outputs(self.body, images) if self._taps else list(self.body(images))
        return [maps[tap] for tap in self._taps] if self._taps else maps

    def fused(self, levels: Sequence[Tensor]) -> Tensor:
        """Map `levels` to the pyramid's finest maps (n, WIDTH, h, w), 0 or above."""
        fused = self.pyramid(OrderedDict((str(number), level) for number, level in enumerate(levels)))
        return functional.relu(fused["0"])

    def forward(self, images: Tensor) -> Tensor:
        """Map pictures (n, 3, S, S) to the pyramid's finest maps (n, WIDTH, h, w), 0 or above."""
        return self.fused(self.levels(images))


def on_parts(body: nn.Module, size: int) -> Pyramid:
    """Build a pyramid on a network that runs its parts one after the other.

    Parameters
    ----------
    size : int
        Side in pixels of a picture that is used to find the levels.
    """
    with torch.no_grad():
        maps = _outputs(copy.deepcopy(body).to("meta").eval(), torch.empty(1, 3, size, size, device="meta"))
    last_of = {own.shape[2]: number for number, own in enumerate(maps)}
    taps = sorted(last_of.values())[-LEVELS:]
    return Pyramid(body, [maps[tap].shape[1] for tap in taps], taps)


def _outputs(body: nn.Module, images: Tensor) -> list[Tensor]:
    """Return the output of each part of a network for pictures; parts of a `Sequential` count one by one."""
    maps = [images]
    for child in body.children():
        for part in child if isinstance(child, nn.Sequential) else [child]:
            maps.append(part(maps[-1]))
    return maps[1:]
