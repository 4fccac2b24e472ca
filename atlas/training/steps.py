"""Common steps of every training of a network: optimiser, learning rates, average of the weights, and checkpoints."""

from __future__ import annotations

import hashlib
import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ChainedScheduler, CosineAnnealingLR, LinearLR
from torch.optim.swa_utils import AveragedModel

from atlas.errors import TrainingError

_AVERAGED = 0.005  # pace of the running average of weights: about the last 200 steps count


def adamw(learners: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW for the parameters of a module, without decay for biases and scales, which have one dimension."""
    decayed = [parameter for parameter in learners.parameters() if parameter.ndim > 1]
    free = [parameter for parameter in learners.parameters() if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate)


def rising_and_falling(optimizer: torch.optim.Optimizer, steps: int, *, warm_up: float) -> ChainedScheduler:
    """Let the learning rates rise over the share `warm_up` of all steps while they fall to 0 along a cosine."""
    rising = max(1, round(warm_up * steps))
    rise = LinearLR(optimizer, start_factor=1 / rising, total_iters=max(1, rising - 1))
    return ChainedScheduler([rise, CosineAnnealingLR(optimizer, T_max=steps)])


def averaged(network: nn.Module) -> AveragedModel:
    """Return a running average of a network's weights and statistics, to be updated after each step."""
    return AveragedModel(network, avg_fn=_moved, use_buffers=True)


def _moved(average: Tensor, current: Tensor, step: Tensor | int) -> Tensor:
    """Move an average towards the weights after a step.

    The first steps count more. Torch's own average of this kind moves equally slowly from the first step on: a short training
    would return little more than its start.
    """
    if not average.is_floating_point():
        return current  # a counter
    return average.lerp(current, max(_AVERAGED, 10 / (int(step) + 10)))


def snapshot(network: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a network's weights, on the CPU."""
    return {key: tensor.detach().cpu().clone() for key, tensor in network.state_dict().items()}


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Return a hash of weights and their names."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode() + tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


@dataclass
class Progressed:
    """How far a training that validates each epoch has come, and the weights of its best epoch so far.

    The best epoch ranks the validation photographs best. All fields are plain values, for a checkpoint.
    """

    epochs_done: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_rank: float = -math.inf
    best_epoch: int = 0

    @classmethod
    def of(cls, checkpoint: Path | None, fingerprint: str, parts: Mapping[str, Any]) -> Progressed:
        """Return the state in a checkpoint and restore its parts, see `resume`; a new state if there is no checkpoint."""
        if checkpoint is None or not checkpoint.exists():
            return cls()
        kept = resume(checkpoint, fingerprint, parts)
        return cls(*(kept[one.name] for one in fields(cls)))

    def add(self, figures: dict[str, float], judged: nn.Module) -> None:
        """Add an epoch with the network that was validated; `figures` holds `validation_loss` and `validation_spearman`."""
        rank = figures["validation_spearman"]
        if math.isfinite(figures["validation_loss"]) and rank > self.best_rank:
            self.best_rank, self.best_epoch, self.best = rank, self.epochs_done, snapshot(judged)
        self.history.append(figures)
        self.epochs_done += 1

    def save(self, checkpoint: Path | None, fingerprint: str, parts: Mapping[str, Any]) -> None:
        """Replace the checkpoint, if one is asked for."""
        if checkpoint is not None:
            save_checkpoint(checkpoint, fingerprint, {**vars(self), **states_of(parts)})

    def give_best(self, network: nn.Module) -> None:
        """Load the weights of the best epoch; raises TrainingError if there is none."""
        if not self.best:
            raise TrainingError(
                "training failed: no epoch could rank the validation photographs", "train longer, or add photographs"
            )
        network.load_state_dict(self.best)


def states_of(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of each module, optimiser and schedule of a training, by name."""
    return {name: part.state_dict() for name, part in parts.items()}


def save_checkpoint(path: Path, fingerprint: str, state: Mapping[str, Any]) -> None:
    """Save the state of a training with the fingerprint of its recipe, replacing an earlier checkpoint once this is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    torch.save({"fingerprint": fingerprint, **state}, aside)
    aside.replace(path)


def resume(path: Path, fingerprint: str, parts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read a checkpoint, restore the states of its parts, see `states_of`, and return everything in it.

    Raises
    ------
    TrainingError
        If it belongs to another training, or cannot be read or restored.
    """
    remedy = "delete the file to start over, or name another"
    try:
        whole: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if whole["fingerprint"] != fingerprint:
            raise TrainingError(f"{path}: a checkpoint of another training (other photographs, labels or settings)", remedy)
        for name, part in parts.items():
            part.load_state_dict(whole[name])
    except (OSError, RuntimeError, EOFError, LookupError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise TrainingError(f"{path}: cannot be read as a checkpoint ({type(error).__name__})", remedy) from error
    return whole
