"""Losses: what a network is trained to lower, photograph by photograph.

Squared error is for a single output, which a sigmoid reads. The others are for one output for each class, which a softmax reads.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from atlas.errors import TrainingError
from atlas.records import FloatArray, IntArray, Loss
from atlas.training.splits import Balance

GAMMA = 2.0
"""The focal loss's exponent that its authors found best."""


@dataclass(frozen=True)
class Objective:
    """A loss and its settings.

    Parameters
    ----------
    loss : Loss
        "squared" is (s - y)^2, with the sigmoid s of the output and the place y of the grade on the scale, 0..1. The others are
        of the probability p that the softmax gives to the right class: "cross-entropy" and "weighted" are -log p, and "focal" is
        -(1 - p)^gamma log p (Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 4). With "weighted", a
        photograph counts in proportion to n^-0.7, where n is the number of photographs of its class, see `splits.balance`.
    gamma : float
        Exponent of the focal loss. With 0, it is cross entropy.
    classes : int
        Number of classes, which are evenly spaced along the scale: one for each grade, or two.
    """

    loss: Loss = "squared"
    gamma: float = GAMMA
    classes: int = 5

    @property
    def outputs(self) -> int:
        """Number of outputs that a network needs for it."""
        return 1 if self.loss == "squared" else self.classes

    def of(self, outputs: Tensor, places: Tensor) -> Tensor:
        """Return the loss of each photograph, (n,).

        Parameters
        ----------
        outputs : Tensor
            (n, K), the network's outputs before the sigmoid or the softmax.
        places : Tensor
            (n,), places of the grades on the scale, 0..1.
        """
        if self.loss == "squared":
            return (torch.sigmoid(outputs[:, 0]) - places) ** 2
        surprise = functional.cross_entropy(outputs, self.class_of(places), reduction="none")
        return (1 - torch.exp(-surprise)) ** self.gamma * surprise if self.loss == "focal" else surprise

    def class_of(self, places: Tensor) -> Tensor:
        """Return the class, 0 to classes - 1, of places on the scale (n,)."""
        return torch.round(places * (self.classes - 1)).long()


def place_of(outputs: Tensor) -> Tensor:
    """Return the places on the scale (n,), 0..1, that outputs (n, K) mean: the sigmoid's, or the mean of the classes' places."""
    if outputs.shape[1] == 1:
        return torch.sigmoid(outputs[:, 0])
    return torch.softmax(outputs, 1) @ torch.linspace(0, 1, outputs.shape[1], device=outputs.device)


def weighted_mean(losses: Tensor, weights: FloatArray) -> Tensor:
    """Return the mean of losses (n,) times weights (n,). Weights have mean 1 over all photographs, not over a batch."""
    return (torch.from_numpy(weights).to(losses) * losses).mean()


def balance_for(loss: Loss, balance: Balance) -> Balance:
    """Return how photographs are balanced under a loss: cross entropy and focal loss count all photographs the same.

    Raises
    ------
    TrainingError
        If "weighted" is asked for together with another balance than "weight".
    """
    if loss == "weighted" and balance != "weight":
        raise TrainingError(f"the loss weighted needs --balance weight, not {balance}", "leave --balance out")
    return "none" if loss in ("cross-entropy", "focal") and balance == "weight" else balance


def two_classes(grades: IntArray, referable: int) -> FloatArray:
    """Return places on the scale for two classes, float32 (n,): 1 from the grade `referable` up, else 0."""
    return (grades >= referable).astype("float32")
