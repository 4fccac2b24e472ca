"""What every training of a network does: its optimiser, its pace, the running average of its weights, and its checkpoints."""

from __future__ import annotations

import hashlib
import math
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from atlas.errors import TrainingError

Restored = TypeVar("Restored")

_AVERAGED = 0.005  # pace of the running average of weights: about the last 200 steps count


def adamw(learners: nn.Module, weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW for the parameters of a module; biases and scales, of one dimension, do not decay."""
    decayed = [parameter for parameter in learners.parameters() if parameter.ndim > 1]
    free = [parameter for parameter in learners.parameters() if parameter.ndim <= 1]
    return torch.optim.AdamW([{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}])


def set_learning_rate(optimizer: torch.optim.Optimizer, highest: float, step: int, steps: int, *, warm_up: float) -> None:
    """Set the learning rate of a step: it rises over the share `warm_up` of all steps and then falls to 0 along a cosine."""
    rate = highest * min(1.0, (step + 1) / (warm_up * steps)) * 0.5 * (1 + math.cos(math.pi * step / steps))
    for group in optimizer.param_groups:
        group["lr"] = rate


def snapshot(network: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a network's weights."""
    return {key: tensor.detach().clone() for key, tensor in network.state_dict().items()}


@torch.no_grad()
def move_average(average: dict[str, Tensor], network: nn.Module, step: int) -> None:
    """Move a running average of weights, in place, towards those after a step; the first steps count for more."""
    pace = max(_AVERAGED, 10 / (step + 10))
    for key, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            average[key].lerp_(tensor, pace)
        else:
            average[key].copy_(tensor)


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Hash weights, with their names."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode() + tensors[name].detach().contiguous().numpy().tobytes())
    return found.hexdigest()


def save_checkpoint(path: Path, fingerprint: str, state: Mapping[str, Any]) -> None:
    """Keep the state of a training under the fingerprint of its recipe; an earlier checkpoint stands until this one is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    torch.save({"fingerprint": fingerprint, **state}, aside)
    aside.replace(path)


def resume(path: Path, fingerprint: str, restore: Callable[[Mapping[str, Any]], Restored]) -> Restored:
    """Read a checkpoint, and give its state to `restore`, whose result is returned.

    Raises TrainingError where it belongs to another training, or cannot be read or restored.
    """
    remedy = "remove the file to begin anew, or name another"
    try:
        whole = torch.load(path, weights_only=True)
        if whole["fingerprint"] != fingerprint:
            raise TrainingError(f"{path}: a checkpoint of another training (other photographs, labels or settings)", remedy)
        return restore(whole)
    except (OSError, RuntimeError, EOFError, LookupError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise TrainingError(f"{path}: cannot be read as a checkpoint ({type(error).__name__})", remedy) from error
