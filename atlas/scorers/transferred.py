"""Transferred scorers: a frozen trunk, and a head that was trained on its maps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from atlas.bundles import stored
from atlas.errors import ScorerError
from atlas.photographs.frames import cell_coverage
from atlas.records import ByteArray, Facts, FloatArray, Preprocessed, Scale
from atlas.scorers.prediction import LinearPrediction, read_maps
from atlas.scorers.protocol import Background, OneTarget, scale_facts
from atlas.scorers.readouts import Classifier, Head
from atlas.scorers.scrambled import scrambled_readout, scrambled_trunk
from atlas.scorers.trunks import Trunk, load_trunk

_Layers = TypeVar("_Layers", bound=Head | Classifier)

LAYERS = ("hidden_weight", "hidden_bias", "output_weight", "output_bias")


class OnTrunk:
    """Properties that `Scorer` requires, taken from a scorer's trunk."""

    trunk: Trunk

    @property
    def size(self) -> int:
        return self.trunk.size

    @property
    def patch_size(self) -> int:
        return self.trunk.patch_size

    @property
    def grid(self) -> tuple[int, int]:
        return self.trunk.shape

    @property
    def channels(self) -> int:
        return self.trunk.channels

    @property
    def network(self) -> str:
        return self.trunk.name

    @property
    def weights_sha256(self) -> str:
        return self.trunk.sha256

    def describe(self, crops: ByteArray) -> FloatArray:
        return self.trunk.describe(crops)


@dataclass(frozen=True, eq=False)
class TransferredScorer(OnTrunk, OneTarget, Background):
    """A frozen trunk and a readout that was trained on its maps.

    Parameters
    ----------
    name : str
        Name of the scorer.
    trunk : Trunk
        Makes the last maps.
    head : Head | Classifier
        Maps the last maps to a severity.
    scale : Scale
        Scale of the severities.
    preparation : str
        How photographs are prepared, a key of `PREPARATIONS`.
    classifier : Classifier or None
        A softmax classifier on the same maps, for comparison, if there is one.
    """

    kind: ClassVar[str] = "transferred"
    needs: ClassVar[frozenset[str]] = frozenset()

    name: str
    trunk: Trunk
    head: Head | Classifier
    scale: Scale
    preparation: str
    classifier: Classifier | None = None

    def __post_init__(self) -> None:
        expected = (self.trunk.channels, *self.trunk.shape)
        if self.head.hidden_weight.shape[1:] not in (expected, (self.trunk.channels, 1, 1)):
            raise ScorerError(
                f"scorer {self.name}: the head is for maps of shape {self.head.hidden_weight.shape[1:]}, "
                f"trunk {self.trunk.name} at {self.trunk.size} pixels makes {expected}",
                "train the head on this trunk at this size",
            )

    @property
    def regressor(self) -> Head:
        """The head, which must end in a sigmoid; one that ends in a softmax raises ScorerError."""
        if not isinstance(self.head, Head):
            raise ScorerError(f"scorer {self.name} ends in a softmax, not in a sigmoid", "name a scorer with a regressor")
        return self.head

    @property
    def networks(self) -> int:
        """How many networks stand side by side in its trunk."""
        return max(1, len(self.head.members(np.zeros(len(self.head.hidden_bias)))))

    @cached_property
    def sha256(self) -> str:
        """Hash of everything that a prediction depends on: weights, size, scale and preparation."""
        facts = [self.trunk.name, self.trunk.sha256, self.size, scale_facts(self.scale), self.preparation]
        digest = hashlib.sha256(json.dumps(facts).encode())
        for layers in (self.head, self.classifier):
            for array in () if layers is None else layer_arrays(layers).values():
                digest.update(f"{array.shape}".encode())
                digest.update(array.tobytes())
        return digest.hexdigest()

    def predict(self, photographs: Sequence[Preprocessed], facts: Sequence[Facts] = ()) -> list[LinearPrediction]:
        maps = self.trunk.maps(np.stack([one.pixels for one in photographs]))
        return [self.read(own, cell_coverage(one.retina, self.grid)) for own, one in zip(maps, photographs, strict=True)]

    def read(self, maps: FloatArray, coverage: FloatArray | None = None) -> LinearPrediction:
        """Read last maps (C, h, w) of the trunk, see `prediction.read_maps`."""
        return read_maps(maps, self.head, self.targets[0], coverage=coverage, classifier=self.classifier)

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> LinearPrediction:
        """Make a prediction from its `arrays` or, for a head that was fitted later, from `maps` and `coverage`."""
        if "maps" in arrays:
            return self.read(arrays["maps"], arrays["coverage"])
        sums, cam, shares, pooled = (arrays[name] for name in ("sums", "gradcam", "shares", "pooled"))
        cams = arrays.get("gradcam_by_grade")
        return LinearPrediction(self.targets[0], self.head, sums, cam, shares, pooled, cams=cams)

    def scrambled(self, seed: int, *, head_alone: bool = False) -> TransferredScorer:
        trunk = self.trunk if head_alone else scrambled_trunk(self.trunk, seed)
        return replace(self, trunk=trunk, head=scrambled_readout(self.head, seed), classifier=None)

    def on(self, scale: Scale) -> TransferredScorer:
        return replace(self, scale=scale)


def half_precision(scorer: TransferredScorer) -> TransferredScorer:
    """Return the scorer as it will be loaded from its bundle, with its larger weights rounded to float16."""
    trunk, head, classifier = scorer.trunk, scorer.head, scorer.classifier
    weights = {name: torch.from_numpy(_rounded(tensor.numpy())) for name, tensor in trunk.state_dict().items()}
    return replace(
        scorer,
        trunk=load_trunk(trunk.name, weights, size=trunk.size, device=trunk.device),
        head=half_readout(head),
        classifier=classifier and half_readout(classifier),
    )


def half_readout(layers: _Layers) -> _Layers:
    """Return a readout as it will be loaded from a bundle, with its larger weights rounded to float16."""
    made = readout_of({name: _rounded(array) for name, array in layer_arrays(layers).items()})
    assert isinstance(made, type(layers))
    return made


def readout_of(layers: Mapping[str, FloatArray]) -> Head | Classifier:
    """Make a readout from its `layer_arrays`: with a softmax if it has several outputs."""
    weight, bias, output_weight, output_bias = (layers[name] for name in LAYERS)
    if output_weight.ndim == 2:
        return Classifier(weight, bias, output_weight, output_bias)
    return Head(weight, bias, output_weight, float(output_bias[0]))


def _rounded(array: np.ndarray) -> np.ndarray:
    return stored(array, half=True).astype(array.dtype)


def layer_arrays(layers: Head | Classifier) -> dict[str, FloatArray]:
    return {name: np.ascontiguousarray(np.atleast_1d(getattr(layers, name)), np.float32) for name in LAYERS}
