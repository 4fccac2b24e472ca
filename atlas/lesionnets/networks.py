"""The network behind a lesion net: a fully convolutional one on two views of a photograph.

It reads the square of the retina at SIDE pixels a side whatever the photograph's size, so that a lesion is as large in a copy of
512 pixels as in an original of 4,288. It sees two views: the photograph, with each channel standardised over the retina, and its
local contrast: the difference of each place from the light around it, as a share of that light. This share does not change if a
camera or a pigment darkens a complete neighbourhood.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

SIDE = 1024
"""Side of the square of the retina that the network reads, in pixels."""

STRIDE = 8
"""Distance between neighbouring cells of its maps, in pixels of this square."""

GRID = SIDE // STRIDE

_AROUND = 20.0
"""Standard deviation of the Gaussian that measures the light around a place, in pixels of the square."""

_SHRUNK = 8  # the light around a place is smooth, so it is measured in a picture shrunk by this factor

_DARK = 0.06  # share of full light added to the light around a place, because noise in black surroundings would become contrast

_CONTRAST = 6.0  # scales local contrast to about the spread of a standardised channel

_SEEN = 4.0  # both views are clipped here

_RARE = -5.0  # logit of a lesion's cell before anything is learned: lesions are rare


class LesionModule(nn.Module):
    """SqueezeNet 1.1 (Iandola et al., 2016) with a feature pyramid of two levels (Lin et al., CVPR 2017), stride 8.

    Its input is padded so that each cell of the maps is above its own pixels, to within a cell.
    """

    def __init__(self, kinds: int, width: int = 96) -> None:
        super().__init__()
        whole = torchvision.models.squeezenet1_1(weights=None).features
        first = nn.Conv2d(6, 64, 3, stride=2)
        self.fine = nn.Sequential(first, *whole[1:8])
        self.coarse = nn.Sequential(*whole[8:13])
        self.lateral = nn.Conv2d(256, width, 1)
        self.top = nn.Conv2d(512, width, 1)
        self.mix = nn.Conv2d(width, width, 3, padding=1)
        self.kinds = nn.Conv2d(width, kinds, 1)
        if self.kinds.bias is not None:
            nn.init.constant_(self.kinds.bias, _RARE)

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Load generic weights under torchvision's names for SqueezeNet 1.1; both views start with the filters for colour."""
        own = {name.removeprefix("features."): tensor for name, tensor in weights.items() if name.startswith("features.")}
        own["0.weight"] = torch.cat([own["0.weight"], own["0.weight"]], 1) / 2
        fine = {name: own[name] for name in self.fine.state_dict()}
        self.fine.load_state_dict(fine)
        offset = len(self.fine)
        self.coarse.load_state_dict(
            {name: own[f"{int(name.split('.')[0]) + offset}.{name.split('.', 1)[1]}"] for name in self.coarse.state_dict()}
        )

    def forward(self, seen: Tensor) -> Tensor:
        """Map views (n, 6, S, S), S a multiple of 16, to logits (n, kinds, S / 8, S / 8)."""
        logits: Tensor = self.kinds(self.features(seen))
        return logits

    def features(self, seen: Tensor) -> Tensor:
        """Map views to the features that the kinds are computed from, (n, width, S / 8, S / 8), 0 or above."""
        fine = self.fine(functional.pad(seen, (4, 4, 4, 4)))
        top = self.top(self.coarse(fine))
        raised = functional.interpolate(top, fine.shape[-2:], mode="bilinear", align_corners=False)
        mixed = functional.relu(self.lateral(fine) + raised)
        return functional.relu(mixed + self.mix(mixed))


def views(plates: Tensor, retina: Tensor) -> Tensor:
    """Make the two views of squares of retinas: float32 (n, 6, S, S), 0 off the retina.

    Parameters
    ----------
    plates : Tensor
        float32 (n, 3, S, S), 0 to 1.
    retina : Tensor
        float32 (n, 1, S, S), 1 on the retina, else 0.
    """
    # Most is done in place: writing new pictures of this size takes longer than the arithmetic.
    area = retina.sum((2, 3), keepdim=True).clamp_min(1.0)
    plates = plates * retina
    mean = plates.sum((2, 3), keepdim=True) / area
    around = _blurred(torch.cat([plates, retina], 1))
    light = around[:, :3].div_(around[:, 3:].clamp_min_(1e-3))
    contrast = (plates - light).mul_(_CONTRAST).div_(light.add_(_DARK))
    plates -= mean
    spread = ((plates * retina).pow_(2).sum((2, 3), keepdim=True) / area).sqrt().clamp_min(1e-3)
    return torch.cat([plates.div_(spread), contrast], 1).clamp_(-_SEEN, _SEEN).mul_(retina)


def _blurred(pictures: Tensor) -> Tensor:
    side = pictures.shape[-1]
    small = functional.avg_pool2d(pictures, _SHRUNK)
    deviation = _AROUND * side / SIDE / _SHRUNK
    reach = int(4 * deviation + 0.5)
    ticks = torch.arange(-reach, reach + 1, dtype=pictures.dtype)
    bell = torch.exp(-(ticks**2) / (2 * deviation**2))
    bell = (bell / bell.sum()).to(pictures.device).expand(pictures.shape[1], 1, -1)
    channels = pictures.shape[1]
    small = functional.conv2d(small, bell[:, :, :, None], padding=(reach, 0), groups=channels)
    small = functional.conv2d(small, bell[:, :, None, :], padding=(0, reach), groups=channels)
    return functional.interpolate(small, pictures.shape[-2:], mode="bilinear", align_corners=False)
