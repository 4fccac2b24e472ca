"""EfficientNet-Lite0, the one trunk that torchvision does not build.

EfficientNet-B0 without squeeze-and-excitation, with ReLU6 for SiLU, and with the stem and the head left at their width: as good
on generic images as a ResNet-50, at a fifth of its size, and quick on a CPU (Tan and Le, "EfficientNet", ICML 2019; the Lite
variants are TensorFlow's). Parts are named as in the published PyTorch weights, so that these load as they are.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional

# How often, kernel, stride of the first, expansion, maps: table 1 of the paper.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)

_STEM, _HEAD = 32, 1280


def efficientnet_lite0() -> nn.Sequential:
    """Build the untrained network up to its last maps; input (n, 3, S, S), output (n, 1280, h, w), h = w = S / 32."""
    blocks, channels = [], _STEM
    for count, kernel, stride, expansion, out in _STAGES:
        for place in range(count):
            blocks.append(_Block(channels, out, kernel, stride if place == 0 else 1, expansion))
            channels = out
    return nn.Sequential(
        OrderedDict(
            _pad=_padding(3),
            _conv_stem=nn.Conv2d(3, _STEM, 3, 2, bias=False),
            _bn0=_normalisation(_STEM),
            _relu0=nn.ReLU6(),
            _blocks=nn.Sequential(*blocks),
            _conv_head=nn.Conv2d(channels, _HEAD, 1, bias=False),
            _bn1=_normalisation(_HEAD),
            _relu1=nn.ReLU6(),
        )
    )


def efficientnet_lite0_fine() -> nn.Sequential:
    """Build the network for pictures that it sees at three quarters of their side; h = w = S / 32 of the whole, as before.

    It was made for small pictures, and other trunks beside it for larger ones. Its cells, each 4/3 as wide as
    the picture's own, are laid on these by the area in which they overlap: the mean over all cells stays what it was.
    """
    network = OrderedDict(efficientnet_lite0().named_children())
    spread = nn.Sequential(nn.UpsamplingNearest2d(scale_factor=4), nn.AvgPool2d(3, ceil_mode=True))
    return nn.Sequential(OrderedDict(_shrink=_Shrink(), **network, _spread=spread))


class _Shrink(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        side = images.shape[-1] * 3 // 4
        return functional.interpolate(images, (side, side), mode="bilinear", align_corners=False, antialias=True)


class _Block(nn.Module):
    """Widen each cell, look at its neighbours map by map, narrow again; the input is added where it still fits."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        if expansion > 1:
            self._expand_conv = nn.Conv2d(channels, wide, 1, bias=False)
            self._bn0 = _normalisation(wide)
        self._pad = _padding(kernel) if stride == 2 else nn.Identity()
        own = 0 if stride == 2 else kernel // 2
        self._depthwise_conv = nn.Conv2d(wide, wide, kernel, stride, own, groups=wide, bias=False)
        self._bn1 = _normalisation(wide)
        self._project_conv = nn.Conv2d(wide, out, 1, bias=False)
        self._bn2 = _normalisation(out)
        self._relu = nn.ReLU6()
        self._adds = stride == 1 and channels == out

    def forward(self, maps: Tensor) -> Tensor:
        wide = self._relu(self._bn0(self._expand_conv(maps))) if hasattr(self, "_expand_conv") else maps
        seen = self._relu(self._bn1(self._depthwise_conv(self._pad(wide))))
        narrow: Tensor = self._bn2(self._project_conv(seen))
        return maps + narrow if self._adds else narrow


def _padding(kernel: int) -> nn.ZeroPad2d:
    """What TensorFlow adds before a layer of stride 2 on an even side: one pixel more below and to the right."""
    before = (kernel - 2) // 2
    after = kernel - 2 - before
    return nn.ZeroPad2d((before, after, before, after))


def _normalisation(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
