"""Scorers whose weights were shuffled: a map must not resemble theirs.

Source: Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from atlas.records import FloatArray
from atlas.scorers.readouts import Classifier, Head
from atlas.scorers.trunks import Trunk


def scrambled_readout(readout: Head | Classifier, seed: int) -> Head | Classifier:
    """Return the readout with its weights permuted among channels and hidden units and their signs drawn: it knows nothing.

    A weight moves together with its complete grid of cells, so a head with equal weights for all cells keeps this property: noise
    from cell to cell would make two maps differ too easily. Without new signs, a mean below zero would switch off all hidden
    units.
    """
    rng = np.random.default_rng(seed)
    weight, output = readout.hidden_weight, readout.output_weight
    grids = rng.permutation(weight.reshape(-1, *weight.shape[2:])) * _signs(rng, (weight[..., 0, 0].size, 1, 1))
    return replace(
        readout,
        hidden_weight=grids.reshape(weight.shape),
        hidden_bias=rng.permutation(readout.hidden_bias),
        output_weight=rng.permutation(output.ravel()).reshape(output.shape) * _signs(rng, output.shape),
    )


def scrambled_trunk(trunk: Trunk, seed: int) -> Trunk:
    """Return a copy of the trunk with its weights shuffled, see `scrambled_module`."""
    sha256 = hashlib.sha256(f"{trunk.sha256} scrambled by {seed}".encode()).hexdigest()
    return replace(trunk, module=scrambled_module(trunk.module, seed), sha256=sha256)


def scrambled_module(module: nn.Module, seed: int) -> nn.Module:
    """Return a copy with the entries of each weight permuted, and signs drawn except for biases and normalisation."""
    rng = np.random.default_rng(seed)
    module = copy.deepcopy(module)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            entries = rng.permutation(tensor.cpu().numpy().ravel()).reshape(tensor.shape)
            tensor.copy_(torch.from_numpy(entries * _signs(rng, entries.shape) if entries.ndim >= 2 else entries))
    return module


def _signs(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    return rng.choice(np.array([-1, 1], np.float32), shape)
