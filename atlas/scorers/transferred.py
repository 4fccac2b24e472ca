"""Transferred scorers: a frozen trunk, and a head that learned on its maps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from atlas.errors import ScorerError
from atlas.records import ByteArray, CellSums, FeatureMaps, FloatArray, GradeCuts, Scale, Scores, TestScores
from atlas.scorers.readouts import Classifier, Head, cell_sums, severity
from atlas.scorers.trunks import Trunk, load_trunk

LAYERS = ("hidden_weight", "hidden_bias", "output_weight", "output_bias")


@dataclass(frozen=True, eq=False)
class TransferredScorer:
    """A frozen trunk and a head that learned on its maps.

    training : the recipe's facts, plain JSON values.   classifier : a softmax classifier on the same maps, for comparison.
    reading : how its severities are read as grades.   judged : what it gave the photographs of its own test split.
    trust : one entry per set of outlined lesions that its maps were measured on, plain JSON values, see `atlas.trust.outlined`.
    learned : image_ids of the photographs that it learned from or was chosen by, ascending; empty where not kept.
    evaluations : one entry per set of graded photographs that its severities were measured on, plain JSON values.
    """

    name: str
    trunk: Trunk
    head: Head
    scale: Scale
    preparation: str
    card: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    classifier: Classifier | None = None
    reading: GradeCuts | None = None
    judged: TestScores | None = None
    trust: tuple[Mapping[str, Any], ...] = ()
    evaluations: tuple[Mapping[str, Any], ...] = ()
    learned: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        expected = (self.trunk.channels, *self.trunk.shape)
        if self.head.hidden_weight.shape[1:] not in (expected, (self.trunk.channels, 1, 1)):
            raise ScorerError(
                f"scorer {self.name}: the head is for maps of shape {self.head.hidden_weight.shape[1:]}, "
                f"trunk {self.trunk.name} at {self.trunk.size} pixels makes {expected}",
                "train the head on this trunk at this size",
            )

    @property
    def size(self) -> int:
        return self.trunk.size

    @property
    def shape(self) -> tuple[int, int]:
        return self.trunk.shape

    @property
    def stride(self) -> float:
        return self.trunk.stride

    @cached_property
    def sha256(self) -> str:
        """Hash of all that a score depends on: weights, size, scale and preparation."""
        facts = [self.trunk.name, self.trunk.sha256, self.size, scale_facts(self.scale), self.preparation]
        digest = hashlib.sha256(json.dumps(facts).encode())
        for array in layer_arrays(self.head).values():
            digest.update(f"{array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def features(self, image_ids: Sequence[str], pixels: ByteArray) -> FeatureMaps:
        """Run the trunk on prepared pixels, uint8 (n, size, size, 3)."""
        return FeatureMaps(tuple(image_ids), self.trunk.maps(pixels), self.stride)

    def cell_sums(self, features: FeatureMaps) -> CellSums:
        return cell_sums(features, self.head)

    def severity(self, sums: CellSums) -> Scores:
        return severity(sums, self.head, self.scale)


def half_precision(scorer: TransferredScorer) -> TransferredScorer:
    """Return the scorer as its bundle will give it back, with its larger weights rounded to float16."""
    trunk, head, classifier = scorer.trunk, scorer.head, scorer.classifier
    weights = {name: torch.from_numpy(_rounded(tensor.numpy())) for name, tensor in trunk.state_dict().items()}
    layers = {name: _rounded(array) for name, array in layer_arrays(head).items()}
    return replace(
        scorer,
        trunk=load_trunk(trunk.name, weights, size=trunk.size, device=trunk.device),
        head=Head(layers["hidden_weight"], layers["hidden_bias"], layers["output_weight"], float(layers["output_bias"][0])),
        classifier=classifier and Classifier(**{name: _rounded(array) for name, array in layer_arrays(classifier).items()}),
    )


def _rounded(array: np.ndarray) -> np.ndarray:
    return stored(array, half=True).astype(array.dtype)


def stored(array: np.ndarray, half: bool) -> np.ndarray:
    return array.astype(np.float16) if half and array.dtype == np.float32 and array.ndim >= 2 else array


def layer_arrays(layers: Head | Classifier) -> dict[str, FloatArray]:
    return {name: np.ascontiguousarray(np.atleast_1d(getattr(layers, name)), np.float32) for name in LAYERS}


def scale_facts(scale: Scale) -> dict[str, Any]:
    return {"lowest": scale.lowest, "names": list(scale.names), "referable": scale.referable, "disease": scale.disease}
