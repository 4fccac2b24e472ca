"""Complete networks: any torch trunk with any torch head on its last maps.

A network is one entry of `NETWORKS`. Its head maps last maps (n, C, h, w) to one output for each grade, which a softmax reads
(the severity is the expected grade), or to a single one, which a sigmoid reads. A place is hidden by setting its cell of the last
maps to zero in all channels and running the head again; a page cannot do that, so hiding places on the page is not offered.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from captum.attr import LayerGradCam
from numpy.typing import NDArray
from torch import Tensor, nn

from atlas.photographs.frames import cell_coverage
from atlas.records import BoolArray, ByteArray, Facts, FloatArray, LiveSums, Preprocessed, Scale, Target
from atlas.scorers.prediction import middles
from atlas.scorers.protocol import Background, OneTarget, scale_facts
from atlas.scorers.readouts import explained_weights, logit_of_place, over_retina, softmax
from atlas.scorers.scrambled import scrambled_module
from atlas.scorers.trunks import IMAGENET_MEAN, IMAGENET_STD, normalised, unit_length
from atlas.scorers.weights import sha256_of

_MASKS_AT_ONCE = 64  # copies of the last maps that the head reads in one batch


@dataclass(frozen=True)
class NetworkSpec:
    """A network before any weight is loaded.

    Parameters
    ----------
    build : Callable[[int], tuple[nn.Module, nn.Module]]
        For a number of grades, makes the untrained trunk (n, 3, S, S) -> (n, C, h, w) and head (n, C, h, w) -> (n, grades) or
        (n, 1).
    mean : tuple[float, float, float]
        Mean of R, G and B that the trunk expects, in 0..1.
    std : tuple[float, float, float]
        Standard deviation of R, G and B that the trunk expects, in 0..1.
    """

    build: Callable[[int], tuple[nn.Module, nn.Module]]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


NETWORKS: dict[str, NetworkSpec] = {}
"""Every network that a bundle of the kind "network" can name; a new one is one entry."""


@dataclass(frozen=True, eq=False)
class NetworkScorer(OneTarget, Background):
    """A trunk and a head of `NETWORKS`, trained together.

    Parameters
    ----------
    name : str
        Name of the scorer.
    network : str
        Its entry in `NETWORKS`.
    trunk : nn.Module
        The trunk with its weights, in evaluation mode.
    head : nn.Module
        The head with its weights, in evaluation mode.
    scale : Scale
        Scale of the severities.
    preparation : str
        How photographs are prepared, a key of `PREPARATIONS`.
    size : int
        Side of the prepared square, in pixels.
    """

    kind: ClassVar[str] = "network"
    needs: ClassVar[frozenset[str]] = frozenset()

    name: str
    network: str
    trunk: nn.Module
    head: nn.Module
    scale: Scale
    preparation: str
    size: int

    def __post_init__(self) -> None:
        for module in (self.trunk, self.head):
            module.requires_grad_(False).eval()

    @cached_property
    def _shape(self) -> tuple[int, int, int]:
        channels, rows, columns = self._maps(np.zeros((1, self.size, self.size, 3), np.uint8))[0].shape
        return channels, rows, columns

    @property
    def grid(self) -> tuple[int, int]:
        return self._shape[1:]

    @property
    def channels(self) -> int:
        return self._shape[0]

    def state(self) -> dict[str, Tensor]:
        """Return the weights of both modules, on the CPU; their names begin with `trunk.` or `head.`."""
        return {
            f"{part}.{name}": tensor.cpu()
            for part, module in (("trunk", self.trunk), ("head", self.head))
            for name, tensor in module.state_dict().items()
        }

    @cached_property
    def weights_sha256(self) -> str:
        return sha256_of(self.state())

    @property
    def sha256(self) -> str:
        facts = [self.network, self.weights_sha256, self.size, scale_facts(self.scale), self.preparation]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def predict(self, photographs: Sequence[Preprocessed], facts: Sequence[Facts] = ()) -> list[MapsPrediction]:
        found = []
        for one in photographs:  # one by one, so that no result depends on the other photographs
            maps = self._maps(one.pixels[None])[0]
            found.append(self._read(maps, over_retina(maps, cell_coverage(one.retina, maps.shape[1:]))))
        return found

    def describe(self, crops: ByteArray) -> FloatArray:
        return unit_length(np.concatenate([self._maps(crop[None]).mean(axis=(2, 3), dtype=np.float64) for crop in crops]))

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> MapsPrediction:
        return self._read(arrays["maps"], arrays["pooled"])

    def scrambled(self, seed: int, *, head_alone: bool = False) -> NetworkScorer:
        trunk = self.trunk if head_alone else scrambled_module(self.trunk, seed)
        return replace(self, trunk=trunk, head=scrambled_module(self.head, seed))

    def on(self, scale: Scale) -> NetworkScorer:
        return replace(self, scale=scale)

    def _read(self, maps: FloatArray, pooled: FloatArray) -> MapsPrediction:
        return MapsPrediction(self.targets[0], self.head, maps, pooled)

    def _maps(self, pixels: ByteArray) -> FloatArray:
        spec = NETWORKS[self.network]
        with torch.inference_mode():
            images = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).float() / 255
            maps: FloatArray = self.trunk(normalised(images, spec)).numpy()
        return maps


@dataclass(frozen=True, eq=False)
class MapsPrediction:
    """A prediction by any torch head on last maps.

    Parameters
    ----------
    target : Target
        What is graded.
    head : nn.Module
        Torch module from maps (n, C, h, w) to outputs (n, K) or (n, 1).
    maps : FloatArray
        float32 (C, h, w), the last maps.
    pooled : FloatArray
        float32 (C,), see `Prediction`.
    """

    target: Target
    head: nn.Module
    maps: FloatArray
    pooled: FloatArray

    @property
    def grid(self) -> tuple[int, int]:
        return int(self.maps.shape[1]), int(self.maps.shape[2])

    @property
    def severity(self) -> Mapping[str, float]:
        return {self.target.name: float(self._severities(self._whole[0])[0])}

    @property
    def probabilities(self) -> Mapping[str, FloatArray]:
        return {self.target.name: np.asarray(self._whole[1][0], np.float32)}

    def without(self, target: str, masks: BoolArray) -> FloatArray:
        return self._severities(self._hidden(masks))

    def logits_without(self, target: str, masks: BoolArray) -> FloatArray:
        return np.asarray(logit_of_place(self._hidden(masks)), np.float32)

    def _hidden(self, masks: BoolArray) -> NDArray[np.float64]:
        """Return the places on the scale, 0..1, with the cells of each mask hidden, (k,)."""
        places = []
        for start in range(0, len(masks), _MASKS_AT_ONCE):
            kept = torch.from_numpy(~masks[start : start + _MASKS_AT_ONCE])[:, None]
            places.append(self._places(torch.from_numpy(self.maps)[None] * kept)[0])
        return np.concatenate(places)

    def logit(self, target: str) -> float:
        return float(logit_of_place(self._whole[0][0]))

    def members(self, target: str) -> FloatArray:
        return np.zeros(0, np.float32)

    def gradcam(self, target: str) -> FloatArray:
        explained = _Explained(self.head)
        maps = torch.from_numpy(self.maps.copy())[None].requires_grad_()
        found = LayerGradCam(explained, explained.maps).attribute(maps, relu_attributions=False)
        return np.asarray(found.detach().numpy()[0, 0], np.float32)

    def points(self, target: str) -> FloatArray:
        return middles(self.grid)

    def live(self, target: str) -> LiveSums | None:
        return None

    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        return {"maps": self.maps, "pooled": self.pooled}

    @cached_property
    def _whole(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The place and the probabilities with nothing hidden, see `_places`."""
        return self._places(torch.from_numpy(self.maps)[None])

    def _severities(self, places: NDArray[np.float64]) -> FloatArray:
        scale = self.target.scale
        return np.asarray(scale.lowest + scale.span * places, np.float32)

    def _places(self, maps: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the severities' places on the scale (n,), 0..1, and the grades' probabilities (n, K), or (n, 0)."""
        with torch.inference_mode():
            outputs = self.head(maps).double().numpy()
        if outputs.shape[1] == 1:
            return 1 / (1 + np.exp(-outputs[:, 0])), outputs[:, 1:]
        shares = softmax(outputs)
        return shares @ np.linspace(0, 1, shares.shape[1]), shares


class _Explained(nn.Module):
    """The output of a head that Grad-CAM explains: its one logit, or the grades' logits weighted evenly from -1 to 1."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.maps = nn.Identity()
        self.head = head

    def forward(self, maps: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.maps(maps))
        if outputs.shape[1] == 1:
            return outputs[:, 0]
        return outputs @ torch.from_numpy(explained_weights(outputs.shape[1])).to(outputs)
