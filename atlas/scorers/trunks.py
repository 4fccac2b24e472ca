"""Trunks: the convolutional layers of pre-trained networks, frozen, up to their last spatial maps.

`specs` lists them. Weights come from a file, which `weights` finds and reads, or from memory.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from atlas.errors import ConfigurationError, ScorerError
from atlas.records import ByteArray, FloatArray
from atlas.scorers.devices import exactly
from atlas.scorers.specs import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    TRUNKS,
    TrunkSpec,
    cells_of,
    lookup,
    new_module,
    normalised,
    patch_size,
    untrained_on_meta,
)
from atlas.scorers.weights import (
    fitted_weights,
    from_package,
    from_timm,
    from_torchvision,
    read_weights,
    sha256_of,
    state_dict_in,
    weights_file,
)

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "TRUNKS",
    "Trunk",
    "TrunkSpec",
    "cells_of",
    "fold_batch_norm",
    "joined_weights",
    "load_trunk",
    "new_module",
    "normalised",
    "patch_size",
    "unit_length",
]

_THREAD_COUNT = threading.Lock()  # held while torch's number of threads, a global setting, is changed

# Convolutions that are not in a Sequential, and the normalisations that a network's code may run next.
_FOLLOWS = {
    "conv": ("bn",),
    "conv1": ("bn1",),
    "conv2": ("bn2",),
    "conv3": ("bn3",),
    "conv_stem": ("bn1",),
    "conv_head": ("bn2",),
    "conv_pw": ("bn1", "bn2"),
    "conv_dw": ("bn1", "bn2"),
    "conv_pwl": ("bn3",),
}


@dataclass(frozen=True, eq=False)
class Trunk:
    """A frozen trunk at one input size.

    Parameters
    ----------
    name : str
        Its entry in `TRUNKS`.
    size : int
        Side of the input, in pixels.
    channels : int
        Number of its last maps.
    shape : tuple[int, int]
        Rows and columns of cells.
    stride : float
        Prepared pixels per cell, size / h.
    sha256 : str
        Hash of the weights.
    module : nn.Module
        The network in evaluation mode, without gradients, on `device`.
    device : torch.device
        Where it runs.
    """

    name: str
    size: int
    channels: int
    shape: tuple[int, int]
    stride: float
    sha256: str
    module: nn.Module
    device: torch.device

    @cached_property
    def patch_size(self) -> int:
        """Side of the squares in which it describes patches, in pixels, see `specs.patch_size`."""
        return patch_size(self.name, self.size)

    def maps(self, pixels: ByteArray) -> FloatArray:
        """Map prepared images, uint8 (n, size, size, 3) RGB, to the last spatial maps, float32 (n, C, h, w).

        An image's maps depend neither on the other images in its batch nor on the number of threads: exactly on the CPU, up to
        rounding errors elsewhere.

        Raises
        ------
        ScorerError
            If the pixels have another shape or type.
        """
        if pixels.shape[1:] != (self.size, self.size, 3):
            raise ScorerError(
                f"trunk {self.name} takes pixels of shape (n, {self.size}, {self.size}, 3), not {pixels.shape}",
                f"prepare the photographs at {self.size} pixels, or load the trunk with another size",
            )
        return self._forward(pixels)

    def describe(self, pixels: ByteArray) -> FloatArray:
        """Map square cut-outs, uint8 (n, S, S, 3) RGB of any S the network takes, to descriptors, float32 (n, C).

        A descriptor is the mean of the maps over space, scaled to unit Euclidean length (zero if all maps are zero).

        Raises
        ------
        ConfigurationError
            If S is too small for the network.
        ScorerError
            If the pixels are not square or not uint8.
        """
        return unit_length(self._forward(pixels).mean(axis=(2, 3), dtype=np.float64))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights, on the CPU, under torchvision's names."""
        return {name: tensor.detach().cpu() for name, tensor in self.module.state_dict().items()}

    def _forward(self, pixels: ByteArray) -> FloatArray:
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.shape[1] != pixels.shape[2]:
            raise ScorerError(f"a trunk takes uint8 pixels of shape (n, S, S, 3), not {pixels.dtype} {pixels.shape}")
        maps = np.empty((len(pixels), self.channels, *cells_of(self.name, pixels.shape[1])), np.float32)
        if self.device.type != "cpu":
            with exactly(self.device):
                maps[:] = self._run(pixels)
            return maps
        # A kernel's rounding depends on its batch and threads. With one image per thread, the bits are always the same.
        threads = torch.get_num_threads()
        if threads == 1:
            for image in range(len(pixels)):
                maps[image] = self._run(pixels[image : image + 1])[0]
            return maps
        with _THREAD_COUNT:
            try:
                with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                    for image, one in enumerate(pool.map(self._run, (pixels[i : i + 1] for i in range(len(pixels))))):
                        maps[image] = one[0]
            finally:
                torch.set_num_threads(threads)
        return maps

    def _run(self, pixels: ByteArray) -> FloatArray:
        spec = TRUNKS[self.name]
        with torch.inference_mode():
            batch = torch.from_numpy(pixels.copy()).to(self.device).permute(0, 3, 1, 2).float() / 255
            normal = normalised(batch, spec).contiguous(memory_format=torch.channels_last)
            maps: FloatArray = self._runner(normal).cpu().contiguous().numpy()
        return maps

    @cached_property
    def _runner(self) -> nn.Module:
        """The module in its fastest form: normalisation folded into convolutions, and channels last in memory.

        On two cores the trunk of `eyepacs-pair` takes 0.05 s instead of 0.09 s; its maps differ only by rounding errors.
        """
        folded = fold_batch_norm(copy.deepcopy(self.module))
        return folded.to(memory_format=torch.channels_last)


def fold_batch_norm(module: nn.Module) -> nn.Module:
    """Fold each batch normalisation that directly follows a convolution into it, in place, for a module in evaluation mode.

    Only two kinds of neighbours are known to follow each other: children of a `Sequential`, and pairs of `_FOLLOWS`.
    """
    for parent in module.modules():
        for (name, first), (next_name, second) in pairwise(list(parent.named_children())):
            follows = isinstance(parent, nn.Sequential) or next_name in _FOLLOWS.get(name, ())
            if follows and isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(first, second))
                # timm's normalisations include the activation that follows them.
                setattr(parent, next_name, getattr(second, "act", nn.Identity()))
    return module


def unit_length(vectors: NDArray[np.floating]) -> FloatArray:
    """Scale each of the vectors (n, C) to Euclidean length 1; vectors of zeros do not change."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0), np.float32)


def load_trunk(
    name: str,
    weights: str | Path | Mapping[str, Tensor],
    *,
    size: int | None = None,
    device: str | torch.device = "cpu",
) -> Trunk:
    """Load a trunk with its weights.

    Parameters
    ----------
    name : str
        An entry of `TRUNKS`, or `timm:NAME`.
    weights : str | Path | Mapping[str, Tensor]
        "imagenet" for the weights of an installed package or, if there is none, torchvision's or timm's, from their cache or
        downloaded; a `.pth`, `.pt` or `.safetensors` file; the name or the folder of a scorer's bundle; or a state dict in
        memory. The classifier of a complete network is left out. A `{"state_dict": ...}` wrapper and the `module.` prefix of
        DataParallel are removed.
    size : int or None
        Side of the input in pixels, a multiple of the trunk's step (default: the spec's).
    device : str | torch.device
        Where the trunk runs.

    Raises
    ------
    ConfigurationError
        If the trunk is unknown, or the size does not make complete cells.
    WeightsMissingError
        If "imagenet" is asked for, and the weights are neither cached nor can be downloaded.
    ScorerError
        If the weights cannot be read, or do not fit the trunk.
    """
    spec = lookup(name)
    size = spec.default_size if size is None else size
    shape = _whole_cells(spec, size)
    if weights == "imagenet" and spec.members:
        weights = joined_weights({member: load_trunk(member, weights, size=size) for member in spec.members})
    module = untrained_on_meta(spec)
    if isinstance(weights, Mapping):
        origin, tensors = "the given weights", state_dict_in(weights, "the given weights")
    elif weights == "imagenet":
        origin = f"ImageNet weights of {name}"
        tensors = state_dict_in(_imagenet_weights(TRUNKS[spec.base] if spec.base else spec), origin)
    else:
        origin = str(path := weights_file(weights))
        tensors = state_dict_in(read_weights(path), origin)
    if spec.base and not any("pyramid." in own for own in tensors):
        below = load_trunk(spec.base, tensors, size=size).state_dict()
        tensors = new_module(name, 0).state_dict() | {f"body.{part}": tensor for part, tensor in below.items()}
    if spec.renamed is not None:
        tensors = spec.renamed(module, tensors)
    smaller = [other.name for other in TRUNKS.values() if other.shrinks_for == spec.name]
    tensors = fitted_weights(tensors, module, spec.name, origin, smaller)
    module.load_state_dict(tensors, assign=True)
    if any(table.is_meta for table in module.buffers()):  # tables that a network computes itself and no state dict holds
        module = new_module(name, 0)
        module.load_state_dict(tensors)
    module.requires_grad_(False).eval()
    sha256 = sha256_of(module.state_dict())
    target = torch.device(device)
    return Trunk(name, size, spec.channels, shape, size / shape[0], sha256, module.to(target), target)


def _imagenet_weights(spec: TrunkSpec) -> object:
    if spec.network:
        return from_torchvision(spec.name, spec.network, spec.weights)
    found = from_package(spec.weights)
    if found is None and spec.pretrained is not None:
        return from_timm(spec.name, spec.pretrained)
    return found


def joined_weights(members: Mapping[str, Trunk]) -> dict[str, Tensor]:
    """Return the weights of a trunk that holds others side by side, from its members by name."""
    return {f"{name}.{part}": tensor for name, trunk in members.items() for part, tensor in trunk.state_dict().items()}


def _whole_cells(spec: TrunkSpec, size: int) -> tuple[int, int]:
    """Return the rows and columns of cells for a size, which must be a multiple of the trunk's step.

    Then each further stride of pixels adds exactly one row and one column, and no strided layer drops a part of a cell that it
    keeps at the default size. Networks without full padding make fewer cells than size / stride: AlexNet makes 6 x 6 from 224.
    """
    if size > 0 and size % spec.step == 0:
        return cells_of(spec.name, size)
    below = max(2 * spec.step, size // spec.step * spec.step)
    raise ConfigurationError(
        f"size {size}: trunk {spec.name} needs a multiple of {spec.step} pixels",
        f"use {below} or {below + spec.step}",
    )
