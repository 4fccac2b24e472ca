"""A scorer of any kind whose scores are calibrated for other photographs: its logit is stretched and shifted by two numbers.

The logit l of the original becomes `stretch * l + shift`. As the stretch is above 0, the order of the scores does not change, and
neither does any ROC curve. What the two numbers act on depends on the kind of scorer:

- transferred and two-stage scorers: the logit of the regressor;
- an evidence scorer: the logit that its evidence adds up to. The evidence stays, so its map marks the same places;
- scorers side by side: the mean of their members' logits, after its own calibration;
- a scorer that ends in a softmax: the logit of the place of its expected grade on the scale. The probabilities of the grades stay
  as the network gives them.

Maps and falls of the score are those of the stretched logit: each place is marked more or less strongly, none in another order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas.errors import ScorerError
from atlas.records import BoolArray, ByteArray, Facts, FloatArray, LiveSums, Preprocessed, Scale, Target
from atlas.scorers.prediction import Prediction
from atlas.scorers.protocol import Background, OneTarget, Scorer, scale_facts
from atlas.scorers.readouts import severity_of_logit


@dataclass(frozen=True)
class Calibration:
    """The two numbers.

    Parameters
    ----------
    stretch : float
        The logit is multiplied by this, above 0.
    shift : float
        This is then added.
    """

    stretch: float
    shift: float

    def __post_init__(self) -> None:
        if not (np.isfinite([self.stretch, self.shift]).all() and self.stretch > 0):
            raise ScorerError(
                f"a stretch of {self.stretch} and a shift of {self.shift} make no calibration", "give a finite stretch above 0"
            )

    @property
    def identity(self) -> bool:
        """Whether it changes nothing."""
        return (self.stretch, self.shift) == (1.0, 0.0)

    def logits(self, logits: FloatArray | float) -> FloatArray:
        """Stretch and shift logits of any shape, float32. They are computed in float64, so a larger one never becomes smaller."""
        return np.asarray(self.stretch * np.asarray(logits, np.float64) + self.shift, np.float32)


@dataclass(frozen=True, eq=False)
class CalibratedPrediction:
    """The prediction of the original scorer, with its logit stretched and shifted."""

    original: Prediction
    calibration: Calibration
    target: Target

    @property
    def severity(self) -> Mapping[str, float]:
        return {self.target.name: float(severity_of_logit(self._logit(), self.target.scale))}

    @property
    def probabilities(self) -> Mapping[str, FloatArray]:
        return self.original.probabilities

    @property
    def grid(self) -> tuple[int, int]:
        return self.original.grid

    @property
    def pooled(self) -> FloatArray:
        return self.original.pooled

    def without(self, target: str, masks: BoolArray) -> FloatArray:
        return severity_of_logit(self.logits_without(target, masks), self.target.scale)

    def logit(self, target: str) -> float:
        return float(self._logit())

    def logits_without(self, target: str, masks: BoolArray) -> FloatArray:
        return self.calibration.logits(self.original.logits_without(target, masks))

    def members(self, target: str) -> FloatArray:
        return self.calibration.logits(self.original.members(target))

    def gradcam(self, target: str) -> FloatArray:
        return np.asarray(self.calibration.stretch * self.original.gradcam(target), np.float32)

    def gradcam_by_grade(self, target: str) -> FloatArray:
        return self.original.gradcam_by_grade(target)

    def attention(self, target: str) -> FloatArray | None:
        return self.original.attention(target)

    def points(self, target: str) -> FloatArray:
        return self.original.points(target)

    def live(self, target: str) -> LiveSums | None:
        sums, own = self.original.live(target), self.calibration
        if sums is None:
            return None
        weight = np.asarray(own.stretch * sums.weight.astype(np.float64), np.float32)
        return replace(sums, weight=weight, bias=own.stretch * sums.bias + own.shift)

    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        return self.original.arrays()

    def _logit(self) -> FloatArray:
        return self.calibration.logits(self.original.logit(self.target.name))


@dataclass(frozen=True, eq=False)
class CalibratedScorer(OneTarget, Background):
    """A scorer with its logit stretched and shifted. Its bundle holds all files of the original, so it needs no other.

    Parameters
    ----------
    name : str
        Name of the scorer.
    original : Scorer
        The scorer as it was, with what is known of it.
    calibration : Calibration
        The two numbers.
    scale : Scale
        Scale of the severities, that of the original.
    """

    name: str
    original: Scorer
    calibration: Calibration
    scale: Scale

    @property
    def kind(self) -> str:
        """The kind of the original, as which it is stored."""
        return self.original.kind

    @property
    def members(self) -> tuple[Any, ...]:
        """The members of a combined original."""
        return tuple(getattr(self.original, "members", ()))

    @property
    def preparation(self) -> str:
        return self.original.preparation

    @property
    def size(self) -> int:
        return self.original.size

    @property
    def patch_size(self) -> int:
        return self.original.patch_size

    @property
    def grid(self) -> tuple[int, int]:
        return self.original.grid

    @property
    def channels(self) -> int:
        return self.original.channels

    @property
    def network(self) -> str:
        return self.original.network

    @property
    def needs(self) -> frozenset[str]:
        return self.original.needs

    @property
    def weights_sha256(self) -> str:
        return self.original.weights_sha256

    @property
    def sha256(self) -> str:
        facts = [self.original.sha256, scale_facts(self.scale), self.calibration.stretch, self.calibration.shift]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def predict(self, photographs: Sequence[Preprocessed], facts: Sequence[Facts] = ()) -> list[Prediction]:
        return [self._calibrated(one) for one in self.original.predict(photographs, facts)]

    def describe(self, crops: ByteArray) -> FloatArray:
        return self.original.describe(crops)

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> Prediction:
        return self._calibrated(self.original.restore(arrays))

    def scrambled(self, seed: int, *, head_alone: bool = False) -> CalibratedScorer:
        return replace(self, original=self.original.scrambled(seed, head_alone=head_alone))

    def on(self, scale: Scale) -> CalibratedScorer:
        return replace(self, original=self.original.on(scale), scale=scale)

    def _calibrated(self, found: Prediction) -> Prediction:
        return found if self.calibration.identity else CalibratedPrediction(found, self.calibration, self.targets[0])


def plain(scorer: Scorer) -> Scorer:
    """Return a scorer without the calibration that was added to it."""
    return scorer.original if isinstance(scorer, CalibratedScorer) else scorer
