"""A scorer whose score is its own map (METHOD section 10): it finds evidence in each place, and the logit rises with the sum.

The network is that of a lesion net, with fine cells that see little beyond themselves. Instead of kinds of lesion it reads one
number in each place, which is never negative: how strongly that place suggests disease. The logit depends only on the sum over
the retina, and rises with it: `b + a log(1 + sum / c)`, because the tenth haemorrhage says less than the first. Therefore, hiding
a place removes exactly its evidence, hiding never raises a score, occlusion ranks places as their evidence does, and nothing
outside a place's view can have counted there.

Source: sparse BagNet (Djoumessi et al., MIDL 2023), with a pyramid instead of its trunk. Lesions that a person boxed or a lesion
net found show where evidence belongs.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from atlas.lesionnets.networks import GRID as FINE
from atlas.lesionnets.networks import SIDE, LesionModule, views
from atlas.photographs.frames import cell_coverage
from atlas.records import BoolArray, ByteArray, Facts, FloatArray, Preprocessed, Scale
from atlas.scorers.devices import exactly
from atlas.scorers.prediction import LinearPrediction, read_maps
from atlas.scorers.protocol import Background, OneTarget, scale_facts
from atlas.scorers.readouts import Head
from atlas.scorers.scrambled import scrambled_module, scrambled_readout
from atlas.scorers.trunks import unit_length
from atlas.scorers.weights import sha256_of

CELLS = 64
"""Rows and columns of cells that can be hidden; the evidence of a cell is the sum over the finer places in it."""

KNOTS = 8
"""Units of the head: its pieces meet the curve where the sum is 0, 1, 3, 7 ... 127 times the knee; the last one continues."""

WIDTH = 64
"""Hidden units from which a place's evidence is computed."""

_ON_RETINA = 0.5  # share of a place that must be retina

_LEAK = 0.01  # slope below 0, while the network learns

_UNIT = 50 / 12900  # scales evidence to about one logit: a retina has about 12,900 places


class EvidenceModule(nn.Module):
    """A lesion net's network, and layers that compute evidence from its features, place by place.

    Parameters
    ----------
    kinds : int
        Number of kinds of lesion that the network also learns to find; its score does not use them.
    """

    def __init__(self, kinds: int) -> None:
        super().__init__()
        self.base = LesionModule(kinds)
        self.reader = nn.Sequential(nn.Conv2d(self.base.kinds.in_channels, WIDTH, 1), nn.ReLU(), nn.Conv2d(WIDTH, 1, 1))

    def forward(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Map views (n, 6, S, S) to evidence (n, 1, S / 8, S / 8), 0 or above, and features (n, width, S / 8, S / 8)."""
        features = self.base.features(seen)
        found = self.reader(features)
        # While it learns, a place without evidence keeps a small gradient; without it, it could never gain evidence again.
        return _UNIT * (functional.leaky_relu(found, _LEAK) if self.training else functional.relu(found)), features


@dataclass(frozen=True, eq=False)
class EvidencePrediction(LinearPrediction):
    """The evidence of one photograph.

    Parameters
    ----------
    strongest : NDArray[np.uint8]
        uint8 (h, w), the finer place with the most evidence in each cell, counted row by row.
    """

    strongest: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((CELLS, CELLS), np.uint8))

    def points(self, target: str) -> FloatArray:
        """Return the centre of the finer place with the most evidence in each cell, see `Prediction.points`."""
        k = FINE // CELLS
        rows, columns = np.divmod(self.strongest, k)
        return np.asarray((np.stack([rows, columns], axis=-1) + 0.5) / k, np.float32)

    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """Return what the store keeps: all units of the head read the same sums, which are stored once."""
        kept = {name: own for name, own in super().arrays().items() if name != "sums"}
        return {**kept, "evidence": self.sums[:, :1], "strongest": self.strongest}


def in_cells(fine: FloatArray) -> FloatArray:
    """Sum the finer places, (FINE, FINE), of each cell: float32 (CELLS, CELLS)."""
    return np.asarray(_by_cell(fine).sum(axis=-1, dtype=np.float64), np.float32)


def strongest_in_cells(fine: FloatArray) -> NDArray[np.uint8]:
    """Return which of the finer places, (FINE, FINE), is the strongest in each cell: uint8 (CELLS, CELLS), counted row by row."""
    return np.asarray(_by_cell(fine).argmax(axis=-1), np.uint8)


def _by_cell(fine: FloatArray) -> FloatArray:
    k = FINE // CELLS
    return fine.reshape(CELLS, k, CELLS, k).transpose(0, 2, 1, 3).reshape(CELLS, CELLS, k * k)


@dataclass(frozen=True, eq=False)
class EvidenceScorer(OneTarget, Background):
    """A scorer whose map is its evidence.

    Parameters
    ----------
    name : str
        Name of the scorer.
    module : EvidenceModule
        Finds the evidence, in evaluation mode.
    head : Head
        Maps the sum of all evidence to the logit, see `rising_head`.
    scale : Scale
        Scale of the severities.
    """

    kind: ClassVar[str] = "evidence"
    needs: ClassVar[frozenset[str]] = frozenset()
    networks: ClassVar[int] = 1
    preparation: ClassVar[str] = "none"
    size: ClassVar[int] = SIDE
    patch_size: ClassVar[int] = SIDE
    grid: ClassVar[tuple[int, int]] = (CELLS, CELLS)
    network: ClassVar[str] = "evidence, place by place, on SqueezeNet 1.1"

    name: str
    module: EvidenceModule
    head: Head
    scale: Scale

    @property
    def channels(self) -> int:
        """Length of a patch's descriptor: the number of features that evidence is computed from."""
        return int(self.module.base.kinds.in_channels)

    @property
    def kinds(self) -> int:
        """Number of kinds of lesion that its network was taught with."""
        return int(self.module.base.kinds.out_channels)

    def state(self) -> dict[str, Tensor]:
        """Return the network's weights by name, on the CPU."""
        return {name: tensor.cpu() for name, tensor in self.module.state_dict().items()}

    @cached_property
    def weights_sha256(self) -> str:
        return sha256_of(self.state())

    @cached_property
    def sha256(self) -> str:
        head = [self.head.hidden_bias.tolist(), self.head.output_weight.tolist(), self.head.output_bias]
        facts = [self.weights_sha256, self.grid, head, scale_facts(self.scale)]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def predict(self, photographs: Sequence[Preprocessed], facts: Sequence[Facts] = ()) -> list[EvidencePrediction]:
        found = []
        for one in photographs:
            fine = self.evidence(one)
            read = read_maps(in_cells(fine)[None], self.head, self.targets[0], coverage=cell_coverage(one.retina, self.grid))
            found.append(self._told(read.sums, read.cam, read.shares, read.pooled, strongest_in_cells(fine)))
        return found

    def evidence(self, photograph: Preprocessed) -> FloatArray:
        """Return the evidence of each place, float32 (FINE, FINE), 0 off the retina."""
        inside = cell_coverage(photograph.retina, (FINE, FINE)) >= _ON_RETINA
        return np.where(inside, self._seen(photograph.photograph, photograph.retina)[0][0], np.float32(0))

    def describe(self, crops: ByteArray) -> FloatArray:
        whole: BoolArray = np.ones((SIDE, SIDE), np.bool_)
        return unit_length(np.stack([self._seen(one, whole)[1].mean(axis=(1, 2), dtype=np.float64) for one in crops]))

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> EvidencePrediction:
        one, cam, shares, pooled, strongest = (arrays[name] for name in ("evidence", "gradcam", "shares", "pooled", "strongest"))
        return self._told(np.repeat(one, len(self.head.hidden_bias), axis=1), cam, shares, pooled, strongest)

    def _told(
        self, sums: FloatArray, cam: FloatArray, shares: FloatArray, pooled: FloatArray, strongest: NDArray[np.uint8]
    ) -> EvidencePrediction:
        return EvidencePrediction(self.targets[0], self.head, sums, cam, shares, pooled, strongest)

    def scrambled(self, seed: int, *, head_alone: bool = False) -> EvidenceScorer:
        """Return a scorer with shuffled weights. Its head is a sum, so `head_alone` shuffles the layers that read evidence."""
        module = copy.deepcopy(self.module)
        if head_alone:
            reader = scrambled_module(module.reader, seed)
            assert isinstance(reader, nn.Sequential)
            module.reader = reader
        else:
            shuffled = scrambled_module(module, seed)
            assert isinstance(shuffled, EvidenceModule)
            module = shuffled
        head = scrambled_readout(self.head, seed)
        assert isinstance(head, Head)
        return replace(self, module=module, head=head)

    def on(self, scale: Scale) -> EvidenceScorer:
        return replace(self, scale=scale)

    def _seen(self, plate: ByteArray, shown: BoolArray) -> tuple[FloatArray, FloatArray]:
        """Run the network on the square of a retina: evidence (1, FINE, FINE) and features (width, FINE, FINE) of each place."""
        device = self.module.base.kinds.weight.device
        with torch.inference_mode(), exactly(device):
            seen = views(
                torch.from_numpy(plate).permute(2, 0, 1)[None].float() / 255, torch.from_numpy(shown)[None, None].float()
            )
            evidence, features = self._runner(seen.to(device).contiguous(memory_format=torch.channels_last))
        return evidence[0].contiguous().cpu().numpy(), features[0].contiguous().cpu().numpy()

    @cached_property
    def _runner(self) -> EvidenceModule:
        return copy.deepcopy(self.module).eval().to(memory_format=torch.channels_last)


def plain_sum() -> Head:
    """Return the head whose logit is the sum of all evidence: one unit, which leaves a sum of 0 or above unchanged."""
    return Head(np.ones((1, 1, 1, 1), np.float32), np.zeros(1, np.float32), np.ones(1, np.float32), 0.0)


def rising_head(stretch: float, bias: float, knee: float) -> Head:
    """Return the head `bias + stretch * log(1 + sum / knee)`, as straight pieces that meet the curve in KNOTS points.

    Parameters
    ----------
    stretch : float
        Factor of the logarithm, above 0.
    bias : float
        The logit without any evidence.
    knee : float
        The sum of evidence at which the curve begins to flatten, above 0.
    """
    powers = 2.0 ** np.arange(KNOTS)
    slopes = stretch * np.log(2) / (knee * powers)
    bends = np.diff(slopes, prepend=0.0)
    return Head(
        np.ones((KNOTS, 1, 1, 1), np.float32),
        np.asarray(-knee * (powers - 1), np.float32),
        bends.astype(np.float32),
        float(bias),
    )
