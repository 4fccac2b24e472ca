"""Scorers of different kinds side by side: the logit is the mean of their networks', and one map explains the complete score.

Each member reads the photograph in its own way and on its own grid of cells. What a coarse cell adds to a member's first layer is
spread evenly over the cell's area, so that all members use the finest grid. Hiding a cell removes from each member what it saw
there: from a member with coarse cells, a part in proportion to the area.

`scorers.joined` puts frozen trunks side by side in one network with one input; here, members need no common input.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol, TypeGuard

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.errors import ScorerError
from atlas.photographs.frames import spread
from atlas.photographs.preparations import normalised_pixels
from atlas.records import ByteArray, Facts, FloatArray, LiveSums, Preprocessed, Scale
from atlas.scorers.calibrated import CalibratedScorer
from atlas.scorers.prediction import LinearPrediction
from atlas.scorers.protocol import Background, OneTarget, Scorer, scale_facts
from atlas.scorers.readouts import Classifier, Head


class Member(Scorer, Protocol):
    """A scorer that can be combined with others: its predictions are linear in cells up to its head. It says so by `networks`."""

    @property
    def head(self) -> Head | Classifier: ...
    @property
    def networks(self) -> int:
        """How many networks it consists of."""

    def predict(self, photographs: Sequence[Preprocessed], facts: Sequence[Facts] = ()) -> Sequence[LinearPrediction]: ...
    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> LinearPrediction: ...
    def scrambled(self, seed: int, *, head_alone: bool = False) -> Member: ...


def is_member(scorer: Scorer) -> TypeGuard[Member]:
    """Tell whether a scorer can be combined with others."""
    return hasattr(type(scorer), "networks")


def members_of(scorers: Sequence[Scorer]) -> tuple[Member, ...]:
    """Return scorers as members.

    Raises
    ------
    ScorerError
        If one is of a kind that cannot be combined with others.
    """
    found = []
    for one in scorers:
        if isinstance(one, CalibratedScorer):
            raise ScorerError(
                f"scorer {one.name} was calibrated for some photographs, and a combined scorer is calibrated as one",
                "name the scorer that it was made from",
            )
        if not is_member(one):
            raise ScorerError(f"scorer {one.name} is of a kind that cannot be combined with others: {one.kind}", "leave it out")
        found.append(one)
    return tuple(found)


@dataclass(frozen=True, eq=False)
class SideBySidePrediction(LinearPrediction):
    """The predictions of all members for one photograph, combined on the finest of their grids.

    Parameters
    ----------
    parts : tuple[LinearPrediction, ...]
        Each member's own prediction; `sums` and `readout` are made from them.
    """

    parts: tuple[LinearPrediction, ...] = ()

    def members(self, target: str) -> FloatArray:
        """Return the logit of each network alone, see `Prediction.members`."""
        alone = [own if len(own := one.members(target)) else np.array([one.logit(target)]) for one in self.parts]
        return np.concatenate(alone).astype(np.float32)

    def points(self, target: str) -> FloatArray:
        """Return the points of the member with the finest grid: within its small cells, the other members hardly vary."""
        return next(one.points(target) for one in self.parts if one.grid == self.grid)

    def live(self, target: str) -> LiveSums | None:
        last = self.readout.one_output
        assert last is not None
        return LiveSums(self.grid, tuple((one.grid, one.sums) for one in self.parts), self.whole, *last)

    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """Return what the store keeps: what each member found, on its own grid."""
        return {f"{place}.{name}": own for place, one in enumerate(self.parts) for name, own in one.arrays().items()}


@dataclass(frozen=True, eq=False)
class SideBySideScorer(OneTarget, Background):
    """Scorers side by side.

    Parameters
    ----------
    name : str
        Name of the scorer.
    members : tuple[Member, ...]
        Scorers with a regressor; the first describes patches.
    scale : Scale
        Scale of the severities.
    stretch : float
        The members' mean logit is multiplied by this, so that severities agree with human grades.
    shift : float
        This is then added to it.
    """

    kind: ClassVar[str] = "side-by-side"
    needs: ClassVar[frozenset[str]] = frozenset()

    name: str
    members: tuple[Member, ...]
    scale: Scale
    stretch: float = 1.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        for member in self.members:
            if member.scale != self.scale:
                raise ScorerError(f"scorer {member.name} has another scale than {self.name}", "give members of one scale")
            if not isinstance(member.head, Head):
                raise ScorerError(f"scorer {member.name} ends in a softmax, not in a sigmoid", "give a member with a regressor")

    @property
    def preparation(self) -> str:
        return self.members[0].preparation

    @property
    def size(self) -> int:
        return max(member.size for member in self.members)

    @property
    def patch_size(self) -> int:
        return self.members[0].patch_size

    @property
    def grid(self) -> tuple[int, int]:
        return max(member.grid for member in self.members)

    @property
    def channels(self) -> int:
        return self.members[0].channels

    @property
    def network(self) -> str:
        return " and ".join(member.name for member in self.members)

    @property
    def weights_sha256(self) -> str:
        return hashlib.sha256(" ".join(member.weights_sha256 for member in self.members).encode()).hexdigest()

    @cached_property
    def sha256(self) -> str:
        facts = [[member.sha256 for member in self.members], scale_facts(self.scale), self.stretch, self.shift]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    @cached_property
    def shares(self) -> tuple[float, ...]:
        """Each member's share of the logit, in proportion to its number of networks."""
        networks = np.array([member.networks for member in self.members], np.float64)
        return tuple((networks / networks.sum()).tolist())

    def predict(self, photographs: Sequence[Preprocessed], facts: Sequence[Facts] = ()) -> list[LinearPrediction]:
        return [self._together([member.predict([shown_to(member, one)])[0] for member in self.members]) for one in photographs]

    def describe(self, crops: ByteArray) -> FloatArray:
        return self.members[0].describe(crops)

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> LinearPrediction:
        return self._together(
            [
                member.restore(
                    {name.split(".", 1)[1]: own for name, own in arrays.items() if name.split(".", 1)[0] == str(place)}
                )
                for place, member in enumerate(self.members)
            ]
        )

    def scrambled(self, seed: int, *, head_alone: bool = False) -> SideBySideScorer:
        return replace(self, members=tuple(one.scrambled(seed, head_alone=head_alone) for one in self.members))

    def on(self, scale: Scale) -> SideBySideScorer:
        return replace(self, scale=scale, members=tuple(member.on(scale) for member in self.members))

    def _together(self, found: Sequence[LinearPrediction]) -> LinearPrediction:
        sums = np.concatenate([spread(one.sums, one.grid, self.grid) for one in found], axis=1)
        cams = [spread(one.cam.reshape(-1, 1), one.grid, self.grid) for one in found]
        cam = self.stretch * sum(share * own for own, share in zip(cams, self.shares, strict=True))
        return SideBySidePrediction(
            self.targets[0],
            self.head,
            np.ascontiguousarray(sums, np.float32),
            np.asarray(cam, np.float32).reshape(self.grid),
            np.zeros(0, np.float32),
            found[0].pooled,
            tuple(found),
        )

    @cached_property
    def head(self) -> Head:
        """The members' last layers as one, which maps their first-layer sums, one after the other, to the logit.

        Its first layer is empty, because the members have already made their sums.
        """
        heads = [member.head for member in self.members]
        assert all(isinstance(own, Head) for own in heads)
        units = sum(len(own.hidden_bias) for own in heads)
        weighed = [self.stretch * share * own.output_weight for own, share in zip(heads, self.shares, strict=True)]
        biases = [self.stretch * share * float(own.output_bias) for own, share in zip(heads, self.shares, strict=True)]
        return Head(
            np.zeros((units, 0, 1, 1), np.float32),
            np.concatenate([own.hidden_bias for own in heads]),
            np.concatenate(weighed).astype(np.float32),
            sum(biases) + self.shift,
        )


def shown_to(member: Member, photograph: Preprocessed) -> Preprocessed:
    """Bring a prepared photograph to a member's size and preparation."""
    side = member.size
    plate, retina = photograph.photograph, photograph.retina
    if plate.shape[0] != side:
        plate = np.asarray(cv2.resize(plate, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
        retina = cv2.resize(retina.astype(np.uint8) * np.uint8(255), (side, side), interpolation=cv2.INTER_AREA) >= 128
    pixels = normalised_pixels(plate, retina, member.preparation)
    return replace(photograph, pixels=pixels, photograph=plate, retina=retina)
