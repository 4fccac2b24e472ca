"""The course of a training: epochs of steps, a running average of the weights, and a checkpoint after each epoch."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from atlas.progress import Progress, silent
from atlas.training.steps import averaged, resume, rising_and_falling, save_checkpoint, states_of

_log = logging.getLogger(__name__)

_LONGEST_GRADIENT = 5.0

Batch = TypeVar("Batch")
Lesson = TypeVar("Lesson")
Module = TypeVar("Module", bound=nn.Module)


def learn(
    module: Module,
    optimizer: torch.optim.Optimizer,
    batches: Callable[[int], Iterable[Batch]],
    loss_of: Callable[[Batch], Tensor],
    *,
    epochs: int,
    per_epoch: int,
    warm_up: float,
    recipe: Sequence[Any],
    checkpoint: Path | None = None,
    each_epoch: Callable[[int, Module], None] | None = None,
    progress: Progress = silent,
) -> Module:
    """Train a module and return it with a running average of its weights.

    Gradients longer than 5 are shortened.

    Parameters
    ----------
    module : Module
        What learns; it is changed.
    optimizer : torch.optim.Optimizer
        Over its parameters, with their highest learning rates.
    batches : Callable[[int], Iterable[Batch]]
        Gives the batches of an epoch, counted from 0; the same each time that it is asked.
    loss_of : Callable[[Batch], Tensor]
        The loss of a batch, a scalar.
    epochs : int
        Number of epochs.
    per_epoch : int
        Number of batches in an epoch.
    warm_up : float
        Share of all steps in which the learning rates rise; then they fall to 0 along a cosine.
    recipe : Sequence[Any]
        JSON values that decide the result: a checkpoint with others is refused.
    checkpoint : Path or None
        A file, replaced after each epoch. Interrupted training continues from it with the same result.
    each_epoch : Callable[[int, Module], None] or None
        Called after each epoch with the number of epochs done and the averaged module.
    progress : Progress
        Called after each step.

    Raises
    ------
    TrainingError
        If the checkpoint belongs to another training, or cannot be read.
    """
    steps = per_epoch * epochs
    pace, average = rising_and_falling(optimizer, steps, warm_up=warm_up), averaged(module)
    parts = {"module": module, "optimizer": optimizer, "pace": pace, "average": average}
    fingerprint = hashlib.sha256(json.dumps(list(recipe)).encode()).hexdigest()
    done = 0
    if checkpoint is not None and checkpoint.exists():
        done = resume(checkpoint, fingerprint, parts)["done"]
    learned: Module = average.module.eval()  # type: ignore[assignment]  # a copy of the module
    for epoch in range(done, epochs):
        module.train()
        total = 0.0
        for step, batch in enumerate(batches(epoch)):
            loss = loss_of(batch)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(module.parameters(), _LONGEST_GRADIENT)
            optimizer.step()
            pace.step()
            average.update_parameters(module)
            total += float(loss.detach())
            progress("train", epoch * per_epoch + step + 1, steps)
        _log.info("epoch %d of %d: loss %.4f", epoch + 1, epochs, total / per_epoch)
        if each_epoch is not None:
            each_epoch(epoch + 1, learned)
        if checkpoint is not None:
            save_checkpoint(checkpoint, fingerprint, {"done": epoch + 1, **states_of(parts)})
    return learned


def prepared(prepare: Callable[[int], Lesson], count: int, batch: int) -> Iterator[list[Lesson]]:
    """Yield the lessons `prepare(0)`, ... `prepare(count - 1)` in batches; a thread prepares them two batches ahead."""
    with ThreadPoolExecutor(1) as pool:
        ahead = [pool.submit(prepare, place) for place in range(min(2 * batch, count))]
        for begin in range(0, count, batch):
            now = [future.result() for future in ahead[:batch]]
            ahead = ahead[batch:] + [pool.submit(prepare, k) for k in range(begin + 2 * batch, min(begin + 3 * batch, count))]
            yield now
