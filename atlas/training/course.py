"""The course of a training: epochs of steps, a running average of the weights, and a checkpoint after each epoch."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from atlas.progress import Progress, silent
from atlas.records import IntArray
from atlas.training.steps import Progressed, averaged, resume, rising_and_falling, save_checkpoint, states_of

_log = logging.getLogger(__name__)

_LONGEST_GRADIENT, _LONGEST_WHILE_VALIDATED = 5.0, 1.0

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


@dataclass(frozen=True)
class Step:
    """What a batch of photographs taught.

    Parameters
    ----------
    loss : Tensor
        What is lowered, a scalar.
    told : Tensor
        The part of it that the history tells, a scalar.
    right : int or None
        How many of the photographs were given their class, if that is told, too.
    """

    loss: Tensor
    told: Tensor
    right: int | None = None


def learn_best(
    network: Module,
    learners: nn.Module,
    optimizer: torch.optim.Optimizer,
    rows: IntArray,
    step_of: Callable[[IntArray, torch.Generator, int, float], Step],
    judge: Callable[[Module, int], dict[str, float]],
    *,
    epochs: int,
    batch: int,
    per_epoch: int,
    warm_up: float,
    seed: int,
    device: str,
    fingerprint: str,
    checkpoint: Path | None = None,
    progress: Progress = silent,
) -> Progressed:
    """Train a network, validate it after each epoch, and give it the weights of its best one.

    A running average of the weights is validated and kept. Gradients longer than 1 are shortened.

    Parameters
    ----------
    network : Module
        What is validated; it is changed.
    learners : nn.Module
        All that learns: the network, and what is only needed while it learns.
    optimizer : torch.optim.Optimizer
        Over the parameters of `learners`, with their highest learning rates.
    rows : IntArray
        The photographs to learn from.
    step_of : Callable[[IntArray, torch.Generator, int, float], Step]
        What some of the rows teach, with a generator of random numbers, the epoch, counted from 0, and the share of all steps
        that is done.
    judge : Callable[[Module, int], dict[str, float]]
        Validates the averaged network after an epoch, see `Progressed.add`.
    epochs : int
        Number of epochs.
    batch : int
        Number of photographs per step.
    per_epoch : int
        Steps in an epoch.
    warm_up : float
        Share of all steps in which the learning rates rise; then they fall to 0 along a cosine.
    seed : int
        Decides everything random.
    device : str
        Where the network learns, "cpu" or "cuda".
    fingerprint : str
        Hash of all that decides the result: a checkpoint with another is refused.
    checkpoint : Path or None
        A file, replaced after each epoch. Interrupted training continues from it with the same result.
    progress : Progress
        Called after each step.

    Raises
    ------
    TrainingError
        If no epoch can rank the validation photographs, or the checkpoint belongs to another training or cannot be read.
    """
    steps = epochs * per_epoch
    pace, average = rising_and_falling(optimizer, steps, warm_up=warm_up), averaged(network)
    parts = {"learners": learners, "optimizer": optimizer, "pace": pace, "average": average}
    judged: Module = average.module  # type: ignore[assignment]  # a copy of the network
    state = Progressed.of(checkpoint, fingerprint, parts)
    for epoch in range(state.epochs_done, epochs):
        # Each epoch draws from generators of its own, so that a resumed training draws the same numbers as an uninterrupted one.
        generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
        order = rows[torch.randperm(rows.size, generator=generator).numpy()]
        network.train()
        total, seen = 0.0, 0
        right: int | None = None
        with torch.random.fork_rng(devices=[0] if device == "cuda" else []):  # dropout draws from torch's own generator
            torch.manual_seed(epoch_seed(seed, epoch, 1))
            for number in range(epoch * per_epoch, (epoch + 1) * per_epoch):
                first = number % per_epoch * batch
                chosen = np.sort(order[first : first + batch])
                step = step_of(chosen, generator, epoch, number / steps)
                optimizer.zero_grad()
                step.loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(learners.parameters(), _LONGEST_WHILE_VALIDATED)
                optimizer.step()
                pace.step()
                average.update_parameters(network)
                total += float(step.told.detach()) * len(chosen)
                right = None if step.right is None else (right or 0) + step.right
                seen += len(chosen)
                progress("train", number + 1, steps)
        figures = {"training_loss": total / seen, **({} if right is None else {"training_accuracy": right / seen})}
        figures |= judge(judged, epoch)
        state.add(figures, judged)
        _log.info("epoch %d of %d: %s", epoch + 1, epochs, ", ".join(f"{name} {value:.4f}" for name, value in figures.items()))
        state.save(checkpoint, fingerprint, parts)
    state.give_best(network)
    return state


def epoch_seed(*entropy: int) -> int:
    """Return a seed made of several numbers."""
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)


def fingerprint_of(recipe: Sequence[Any], *arrays: np.ndarray) -> str:
    """Return a hash of a training's settings and of what it learns from."""
    found = hashlib.sha256(json.dumps(recipe).encode())
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def prepared(prepare: Callable[[int], Lesson], count: int, batch: int) -> Iterator[list[Lesson]]:
    """Yield the lessons `prepare(0)`, ... `prepare(count - 1)` in batches; threads prepare them ahead.

    Half of the cores prepare, which keeps a GPU busy and leaves the other half to a network on the CPU.
    """
    threads = max(1, (os.cpu_count() or 1) // 2)
    waiting = max(2 * batch, 2 * threads)
    with ThreadPoolExecutor(threads) as pool:
        ahead = deque(pool.submit(prepare, place) for place in range(min(waiting, count)))
        for begin in range(0, count, batch):
            now = [ahead.popleft().result() for _ in range(min(batch, count - begin))]
            more = range(begin + waiting, min(begin + waiting + batch, count))
            ahead.extend(pool.submit(prepare, place) for place in more)
            yield now
