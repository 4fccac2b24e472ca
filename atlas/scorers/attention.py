"""Attention in networks, over places, over channels and by soft masks, and the complete networks that use it, on any encoder.

Each part is a module from maps (n, C, h, w) to maps. Each network is a trunk, whose part `encoder` has the published names of its
weights, and a head on the trunk's last maps.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.resnet import Bottleneck

from atlas.scorers.specs import TRUNKS

REDUCTION = 16
"""By this factor, the layer in the middle of a channel attention has fewer channels than its maps."""

NARROW = 512
"""Largest number of maps on which residual attention and the five views work."""

VIEW = 256
"""Channels of each view of `FiveViews`."""

DILATIONS = (2, 3, 5)
"""Dilations of the three views by 3 x 3 convolutions."""


@runtime_checkable
class Attending(Protocol):
    """A head that can tell how much of its attention each place gets, and can hide places without a complete pass for each."""

    def attended(self, maps: Tensor) -> Tensor:
        """Map last maps (n, C, h, w) to the share of the attention that each place gets, (n, h, w); they add up to 1."""

    def without(self, maps: Tensor, kept: Tensor) -> Tensor:
        """Return the outputs (k, K) of maps (1, C, h, w) times each of the masks (k, 1, h, w), 0 where a place is hidden."""


class SelfAttention(nn.Module):
    """Self-attention over places: each place is a weighted sum over all places, added back with a learned factor from 0.

    With q, k and v by 1 x 1 convolutions, the output at place i is x_i + factor * sum_j softmax_j(q_i . k_j) v_j. Queries and
    keys have an eighth of the channels. Source: Zhang et al., "Self-Attention Generative Adversarial Networks", ICML 2019.

    Parameters
    ----------
    channels : int
        Channels of the maps, C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // 8, 1)
        self.key = nn.Conv2d(channels, channels // 8, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.factor = nn.Parameter(torch.zeros(1))

    def shares(self, maps: Tensor, kept: Tensor | None = None) -> Tensor:
        """Return how much each place takes from each place, (n, h*w, h*w): a row for each place that takes, which adds up to 1.

        Parameters
        ----------
        maps : Tensor
            (n, C, h, w).
        kept : Tensor or None
            (k, 1, h, w) for one photograph, n = 1: 0 where its maps are set to zero. The result is (k, h*w, h*w).
        """
        query, key = self.query(maps).flatten(2), self.key(maps).flatten(2)
        if kept is not None:  # where the maps are zero, a 1 x 1 convolution gives its bias
            seen = kept.flatten(2) > 0
            query = torch.where(seen, query, _bias(self.query))
            key = torch.where(seen, key, _bias(self.key))
        return torch.softmax(query.transpose(1, 2) @ key, dim=2)

    def forward(self, maps: Tensor) -> Tensor:
        """Map maps (n, C, h, w) to maps of the same shape."""
        taken: Tensor = self.value(maps).flatten(2) @ self.shares(maps).transpose(1, 2)
        return maps + self.factor * taken.view_as(maps)

    def mean(self, maps: Tensor, kept: Tensor | None = None) -> Tensor:
        """Return the mean over all places of what `forward` returns, (n, C) or (k, C).

        It is faster: values are linear in the maps, so the mean of all weighted sums is the value of one weighted sum.

        Parameters
        ----------
        maps : Tensor
            (n, C, h, w).
        kept : Tensor or None
            See `shares`.
        """
        weights = self.shares(maps, kept).mean(1)  # share of the attention that each place gets, (n, h*w)
        places = maps.flatten(2)
        seen = torch.ones_like(weights) if kept is None else kept.flatten(1)
        given = (places @ (seen * weights)[:, :, None])[:, :, 0]
        own = (places @ (seen / seen.shape[1])[:, :, None])[:, :, 0]
        value = functional.linear(given, self.value.weight[:, :, 0, 0], self.value.bias)
        return own + self.factor * value


class ChannelAttention(nn.Module):
    """Channel attention: each map is multiplied by a factor in 0..1, computed from the means of all maps.

    Average pool, 1 x 1 convolution to C / REDUCTION with ReLU, 1 x 1 convolution back to C with sigmoid. Source: Hu et al.,
    "Squeeze-and-Excitation Networks", CVPR 2018.

    Parameters
    ----------
    channels : int
        Channels of the maps, C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // REDUCTION, 1)
        self.excite = nn.Conv2d(channels // REDUCTION, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Map maps (n, C, h, w) to maps of the same shape."""
        means = maps.mean((2, 3), keepdim=True)
        return maps * torch.sigmoid(self.excite(torch.relu(self.squeeze(means))))


class ResidualAttention(nn.Module):
    """A residual attention block: a trunk branch T and a soft-mask branch M in 0..1; the output is (1 + M) * T.

    The mask branch pools twice and is brought back to its size twice, so that it sees far, and keeps the finer maps by a skip.
    Source: Wang et al., "Residual Attention Network for Image Classification", CVPR 2017.

    Parameters
    ----------
    channels : int
        Channels of the maps, C; residual units have C / 4 channels in their middle.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(_unit(channels), _unit(channels))
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.down, self.deepest, self.up = _unit(channels), _unit(channels), _unit(channels)
        self.mask = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
            nn.Sigmoid(),
        )

    def soft_mask(self, maps: Tensor) -> Tensor:
        """Return the soft mask M, (n, C, h, w) in 0..1."""
        finer = self.down(self.pool(maps))
        deepest = self.deepest(self.pool(finer))
        raised = self.up(finer + _raised(deepest, finer))
        mask: Tensor = self.mask(_raised(raised, maps))
        return mask

    def forward(self, maps: Tensor) -> Tensor:
        """Map maps (n, C, h, w) to maps of the same shape."""
        trunk: Tensor = self.branch(maps)
        return (1 + self.soft_mask(maps)) * trunk


class FiveViews(nn.Module):
    """Five views of the same maps in parallel, joined with the maps themselves and mixed back to as many channels.

    The views are a 1 x 1 convolution, three 3 x 3 convolutions with dilations of 2, 3 and 5, and the mean over all places spread
    back; each has VIEW channels. Source: the spatial pyramid pooling of Chen et al., "Rethinking Atrous Convolution for Semantic
    Image Segmentation", 2017.

    Parameters
    ----------
    channels : int
        Channels of the maps, C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.views = nn.ModuleList(
            [_convolved(channels, VIEW, 1), *(_convolved(channels, VIEW, 3, dilation) for dilation in DILATIONS)]
        )
        self.everywhere = nn.Conv2d(
            channels, VIEW, 1
        )  # without normalisation, which one mean per photograph does not suffice for
        self.mix = _convolved(channels + (len(self.views) + 1) * VIEW, channels, 1)

    def joined(self, maps: Tensor) -> Tensor:
        """Return the maps and their five views, (n, C + 5 * VIEW, h, w)."""
        mean = torch.relu(self.everywhere(maps.mean((2, 3), keepdim=True)))
        return torch.cat([maps, *(view(maps) for view in self.views), mean.expand(-1, -1, *maps.shape[2:])], 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Map maps (n, C, h, w) to maps of the same shape, 0 or above."""
        mixed: Tensor = self.mix(self.joined(maps))
        return mixed


class AttentionHead(nn.Module):
    """A head that looks at its maps with self-attention, and reads their mean with two layers and dropout.

    Parameters
    ----------
    channels : int
        Channels of the maps, C.
    outputs : int
        Number of outputs.
    hidden : int
        Units of the layer in the middle.
    """

    def __init__(self, channels: int, outputs: int, hidden: int = 512) -> None:
        super().__init__()
        self.drop = nn.Dropout2d(0.1)
        self.attention = SelfAttention(channels)
        self.read = _two_layers(channels, outputs, hidden)

    def attended(self, maps: Tensor) -> Tensor:
        """Return the mean over all places of the share that they take from each place, (n, h, w)."""
        return self.attention.shares(maps).mean(1).view(-1, *maps.shape[2:])

    def without(self, maps: Tensor, kept: Tensor) -> Tensor:
        """Return outputs with places hidden, see `Attending`."""
        outputs: Tensor = self.read(self.attention.mean(maps, kept))
        return outputs

    def forward(self, maps: Tensor) -> Tensor:
        """Map maps (n, C, h, w) to outputs (n, outputs)."""
        outputs: Tensor = self.read(self.attention.mean(self.drop(maps)))
        return outputs


def self_attention(outputs: int, encoder: str = "resnet50") -> tuple[nn.Module, nn.Module]:
    """Build an encoder, an entry of `TRUNKS`, and a head with self-attention on its last maps.

    The published form has a ResNet-50 (He et al., CVPR 2016), with 2,048 maps of stride 32.
    """
    spec = TRUNKS[encoder]
    return nn.Sequential(OrderedDict(encoder=spec.build())), AttentionHead(spec.channels, outputs)


def residual_attention(outputs: int, encoder: str = "resnet34") -> tuple[nn.Module, nn.Module]:
    """Build an encoder with channel attention, two residual attention blocks and five views, and a head on the mean.

    The published form has a ResNet-34, whose last maps are 512 of stride 32: 14 x 14 for a picture of 448 pixels. An encoder with
    more than NARROW maps is brought to this number by a 1 x 1 convolution first.
    """
    spec = TRUNKS[encoder]
    width = min(spec.channels, NARROW)
    trunk = OrderedDict(
        encoder=spec.build(),
        **({"narrow": _convolved(spec.channels, width, 1)} if width < spec.channels else {}),
        channels=ChannelAttention(width),
        first=ResidualAttention(width),
        second=ResidualAttention(width),
        views=FiveViews(width),
    )
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(width, outputs))
    return nn.Sequential(trunk), head


def pooled(outputs: int, encoder: str) -> tuple[nn.Module, nn.Module]:
    """Build an encoder, and a head of two layers on the mean of its last maps: what `self_attention` is without attention."""
    spec = TRUNKS[encoder]
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *_two_layers(spec.channels, outputs))
    return nn.Sequential(OrderedDict(encoder=spec.build())), head


def _two_layers(channels: int, outputs: int, hidden: int = 512) -> nn.Sequential:
    return nn.Sequential(nn.Dropout(0.5), nn.Linear(channels, hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, outputs))


def _bias(convolution: nn.Conv2d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias[:, None]


def _unit(channels: int) -> nn.Module:
    unit: nn.Module = Bottleneck(channels, channels // Bottleneck.expansion)
    return unit


def _convolved(channels: int, out: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    convolution = nn.Conv2d(channels, out, kernel, padding=padding, dilation=dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU())


def _raised(maps: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(maps, like.shape[2:], mode="bilinear", align_corners=False)
