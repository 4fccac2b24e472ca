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
from functools import cache, cached_property, partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from atlas.photographs.frames import cell_coverage
from atlas.records import Augmentation, BoolArray, ByteArray, Facts, FloatArray, LiveSums, Preprocessed, Scale, Target, noop
from atlas.scorers.attention import Attending, pooled, residual_attention, self_attention
from atlas.scorers.devices import exactly
from atlas.scorers.prediction import middles
from atlas.scorers.protocol import Background, OneTarget, scale_facts
from atlas.scorers.readouts import explained_weights, logit_of_place, over_retina, softmax
from atlas.scorers.scrambled import scrambled_module
from atlas.scorers.trunks import IMAGENET_MEAN, IMAGENET_STD, TRUNKS, normalised, unit_length
from atlas.scorers.weights import sha256_of

_MASKS_AT_ONCE = 64  # copies of the last maps that the head reads in one batch


@dataclass(frozen=True)
class NetworkSpec:
    """A network before any weight is loaded.

    Parameters
    ----------
    build : Callable[[int], tuple[nn.Module, nn.Module]]
        For a number of outputs, makes the untrained trunk (n, 3, S, S) -> (n, C, h, w) and head (n, C, h, w) -> (n, outputs).
    mean : tuple[float, float, float]
        Mean of R, G and B that the trunk expects, in 0..1.
    std : tuple[float, float, float]
        Standard deviation of R, G and B that the trunk expects, in 0..1.
    encoder : str
        The entry of `TRUNKS` whose weights the part `encoder` of the trunk can start from; "" if there is none.
    size : int
        Side of the prepared square that it is trained on, in pixels, unless another is asked for.
    preparation : str
        How photographs are prepared for its training, unless asked otherwise.
    augmentation : Augmentation
        How photographs are varied in its training, unless asked otherwise.
    words : str
        How it arrives at its outputs, in a sentence or two for readers; the site translates it.
    """

    build: Callable[[int], tuple[nn.Module, nn.Module]]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    encoder: str = ""
    size: int = 224
    preparation: str = "standardise"
    augmentation: Augmentation = "flips-rotations"
    words: str = ""


ON_TRUNK = "pooled:TRUNK, attention:TRUNK or ran:TRUNK"
"""How networks on any trunk are named."""

_ON_TRUNK: dict[str, tuple[Callable[..., tuple[nn.Module, nn.Module]], str]] = {
    "pooled": (
        pooled,
        noop("A trunk turns the photograph into maps. Two layers read the mean of all places."),
    ),
    "attention": (
        self_attention,
        noop(
            "A trunk turns the photograph into maps. In a layer of self-attention, each place of these maps takes up what it "
            "needs from all other places. Two layers then read the mean of all places."
        ),
    ),
    "ran": (
        residual_attention,
        noop(
            "A trunk turns the photograph into maps. Channel attention weights the maps, and soft masks weight their places. "
            "Five views then look at each place with surroundings of different sizes, and one layer reads the mean of all places."
        ),
    ),
}


@cache
def _on_trunk(name: str) -> NetworkSpec:
    kind, _, trunk = name.partition(":")
    build, words = _ON_TRUNK[kind]
    spec = TRUNKS[trunk]
    return NetworkSpec(partial(build, encoder=trunk), spec.mean, spec.std, encoder=trunk, size=spec.default_size, words=words)


class _Networks(dict[str, NetworkSpec]):
    """Networks by name. `pooled:TRUNK`, `attention:TRUNK` and `ran:TRUNK` are not listed: their entries are made when used."""

    def __contains__(self, name: object) -> bool:
        if super().__contains__(name) or not isinstance(name, str):
            return super().__contains__(name)
        kind, colon, trunk = name.partition(":")
        return bool(colon) and kind in _ON_TRUNK and trunk in TRUNKS

    def __missing__(self, name: str) -> NetworkSpec:
        if name in self:
            return _on_trunk(name)
        raise KeyError(name)


NETWORKS = _Networks(
    {
        "attention-resnet50": NetworkSpec(
            self_attention,
            encoder="resnet50",
            size=448,
            preparation="clahe",
            augmentation="cropped",
            words=noop(
                "A ResNet-50 turns the photograph into maps. In a layer of self-attention, each place of these maps takes up "
                "what it needs from all other places. Two layers then read the mean of all places."
            ),
        ),
        "ran": NetworkSpec(
            residual_attention,
            encoder="resnet34",
            size=448,
            words=noop(
                "A ResNet-34 turns the photograph into maps. Channel attention weights the maps, and soft masks weight their "
                "places. Five views then look at each place with surroundings of different sizes, and one layer reads the mean "
                "of all places."
            ),
        ),
    }
)
"""Every network that a bundle of the kind "network" can name; a new one is one entry, and those on a trunk need none."""


def untrained(network: str, outputs: int, seed: int = 0) -> tuple[nn.Module, nn.Module]:
    """Build the trunk and the head of an entry of `NETWORKS`. The same seed gives the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETWORKS[network].build(outputs)


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
    outputs : int
        Number of the head's outputs; 0 for one for each grade. With two outputs on a scale of more grades, the second one is
        the probability of the upper end of the scale.
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
    outputs: int = 0

    def __post_init__(self) -> None:
        for module in (self.trunk, self.head):
            module.requires_grad_(False).eval()

    @cached_property
    def _shape(self) -> tuple[int, int, int]:
        channels, rows, columns = self._maps(np.zeros((1, self.size, self.size, 3), np.uint8))[0].shape
        return channels, rows, columns

    @property
    def patch_size(self) -> int:
        return self.size

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
        facts += [self.outputs] if self.outputs else []
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def predict(self, photographs: Sequence[Preprocessed], facts: Sequence[Facts] = ()) -> list[MapsPrediction]:
        return [self.look(one.pixels, one.retina) for one in photographs]

    def look(self, pixels: ByteArray, retina: BoolArray | None = None) -> MapsPrediction:
        """Run the network on one prepared square, alone, so that its result does not depend on others.

        Parameters
        ----------
        pixels : ByteArray
            uint8 (S, S, 3).
        retina : BoolArray or None
            bool (S, S), true on the retina; everywhere if not given.
        """
        maps = self._maps(pixels[None])[0]
        coverage = np.ones(maps.shape[1:], np.float32) if retina is None else cell_coverage(retina, maps.shape[1:])
        return self._read(maps, over_retina(maps, coverage))

    def read(self, maps: FloatArray) -> MapsPrediction:
        """Read last maps (C, h, w) of the trunk that are known already."""
        return self._read(maps, over_retina(maps, np.ones(maps.shape[1:], np.float32)))

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
        device = next(self.trunk.parameters()).device
        with torch.inference_mode(), exactly(device):
            images = torch.from_numpy(pixels.copy()).to(device).permute(0, 3, 1, 2).float() / 255
            maps: FloatArray = self.trunk(normalised(images, spec)).cpu().numpy()
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
        shares = np.asarray(self._whole[1][0], np.float32)
        return {self.target.name: shares if self._by_grade else shares[:0]}

    @property
    def _by_grade(self) -> bool:
        """Whether there is one output for each grade of the scale."""
        return bool(self._whole[1].shape[1] == len(self.target.scale.names))

    def without(self, target: str, masks: BoolArray) -> FloatArray:
        return self._severities(self._hidden(masks))

    def logits_without(self, target: str, masks: BoolArray) -> FloatArray:
        return np.asarray(logit_of_place(self._hidden(masks)), np.float32)

    def _hidden(self, masks: BoolArray) -> NDArray[np.float64]:
        """Return the places on the scale, 0..1, with the cells of each mask hidden, (k,)."""
        places = []
        for start in range(0, len(masks), _MASKS_AT_ONCE):
            kept = torch.from_numpy(~masks[start : start + _MASKS_AT_ONCE])[:, None].float()
            places.append(self._places(torch.from_numpy(self.maps)[None], kept)[0])
        return np.concatenate(places)

    def logit(self, target: str) -> float:
        return float(logit_of_place(self._whole[0][0]))

    def members(self, target: str) -> FloatArray:
        return np.zeros(0, np.float32)

    def gradcam(self, target: str) -> FloatArray:
        outputs = max(1, self._whole[1].shape[1])
        return self._gradcam_of(explained_weights(outputs) if outputs > 1 else np.ones(1, np.float32))

    def gradcam_by_grade(self, target: str) -> FloatArray:
        return self._cams

    @cached_property
    def _cams(self) -> FloatArray:
        if not self._by_grade:
            return np.zeros((0, *self.grid), np.float32)
        return np.stack([self._gradcam_of(one) for one in np.eye(len(self.target.scale.names), dtype=np.float32)])

    def _gradcam_of(self, weights: FloatArray) -> FloatArray:
        """Return the Grad-CAM map of the head's outputs, weighted by `weights` (K,) and added up."""
        explained = Explained(self.head, weights)
        maps = torch.from_numpy(self.maps.copy())[None].requires_grad_()
        from captum.attr import LayerGradCam  # takes a second, with its plots and language models

        found = LayerGradCam(explained, explained.maps).attribute(maps, relu_attributions=False)
        return np.asarray(found.detach().numpy()[0, 0], np.float32)

    def attention(self, target: str) -> FloatArray | None:
        if not isinstance(self.head, Attending):
            return None
        with torch.inference_mode():
            shares = self.head.attended(torch.from_numpy(self.maps)[None])[0].numpy()
        return np.asarray(shares * shares.size, np.float32)

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

    def _places(self, maps: Tensor, kept: Tensor | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the severities' places on the scale (n,), 0..1, and the outputs' probabilities (n, K), or (n, 0).

        With masks `kept` (k, 1, h, w), n is k: the maps of the one photograph with each mask's places set to 0.
        """
        with torch.inference_mode():
            if kept is not None and isinstance(self.head, Attending):
                outputs = self.head.without(maps, kept).double().numpy()
            else:
                outputs = self.head(maps if kept is None else maps * kept).double().numpy()
        return places_of(outputs)


def places_of(outputs: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Map a head's outputs (n, K) to places on the scale (n,), 0..1, and probabilities (n, K); those of a sigmoid are (n, 0).

    A softmax's place is the mean of the places of its classes, weighted by their probabilities: the expected grade.
    """
    if outputs.shape[1] == 1:
        return 1 / (1 + np.exp(-outputs[:, 0])), outputs[:, 1:]
    shares = softmax(outputs)
    return shares @ np.linspace(0, 1, shares.shape[1]), shares


class Explained(nn.Module):
    """The output of a head that Grad-CAM explains: its outputs, weighted and added up.

    Parameters
    ----------
    head : nn.Module
        Torch module from maps (n, C, h, w) to outputs (n, K).
    weights : FloatArray
        (K,): 1 for a sigmoid's logit, `explained_weights` for the expected grade, and 1 for a grade of its own.
    """

    def __init__(self, head: nn.Module, weights: FloatArray) -> None:
        super().__init__()
        self.maps = nn.Identity()
        self.head = head
        self.weights = torch.from_numpy(weights)

    def forward(self, maps: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.maps(maps))
        return outputs @ self.weights.to(outputs)
