"""Training: heads on frozen trunks, and whole scorers.

Both eyes of a patient always fall on the same side of a split. Everything is decided by seeds; sums of floats still depend on the
number of threads and on the machine's arithmetic, so the same result to the last bit needs the same machine and
`torch.set_num_threads`, which is the caller's to set.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from atlas.errors import TrainingError
from atlas.preprocess import prepare, read_photograph
from atlas.progress import Progress, silent
from atlas.records import ByteArray, Dataset, Evaluation, FloatArray, GradedImage, Head, IntArray, Scale
from atlas.scorer import TransferredScorer
from atlas.trunks import TRUNKS, Trunk, load_trunk, new_module

Balance = Literal["none", "discard", "weight"]
Augmentation = Literal["none", "flips-rotations"]
History = tuple[Mapping[str, float], ...]
"""One row per epoch: `training_loss` and `validation_loss`, mean squared errors on the sigmoid's scale."""

Judge = Callable[[FloatArray, IntArray, Scale, Sequence[str]], Evaluation]
"""Measures agreement of (severity, grades, scale, patients)."""

SPLITS = ("training", "validation", "test")

FIGURES = {
    "spearman": "Spearman's rank correlation",
    "mae": "mean absolute error, grades",
    "quadratic_kappa": "quadratic weighted kappa, nearest grade",
    "accuracy": "accuracy, nearest grade",
    "skipped": "share two or more grades off, nearest grade",
    "quadratic_kappa_ranges": "quadratic weighted kappa, stage ranges",
    "accuracy_ranges": "accuracy, stage ranges",
    "skipped_ranges": "share two or more grades off, stage ranges",
    "auc_referable": "AUC of referable disease",
}
"""Figures of `Judge`, in words for the card."""

_log = logging.getLogger(__name__)

_TEMPERING = 0.7  # exponent of the class weights: 1 would let a handful of the rarest photographs rule the fit
_DISCARD_RATIO = 4  # the study kept 3000 / 2443 / 2000 / 873 / 708: its most frequent grade 4.2 times the rarest
_BASIS_ROWS = 1536
_SHARED = 0.9  # share of a head's view that lies in means over all cells; measured against 0, 0.5 and 0.99 on real photographs
_CHUNK_BYTES = 64 << 20


# --- Splits ------------------------------------------------------------------------------------------------------------------


def split_by_patient(
    images: Sequence[GradedImage], *, seed: int, shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
) -> dict[str, tuple[str, ...]]:
    """Split photographs into "training", "validation" and "test", patient by patient.

    Patients are dealt grade by grade (each at the worst grade of its photographs), so that every grade is spread by `shares` as
    evenly as whole patients allow. A photograph without patient is a patient of its own.

    Returns
    -------
    The name of each split to its image_ids, in the order of `images`.
    """
    return dict(zip(SPLITS, _deal(images, shares, seed), strict=True))


def folds_by_patient(images: Sequence[GradedImage], *, folds: int = 5, seed: int) -> tuple[tuple[str, ...], ...]:
    """Deal photographs into `folds` parts of about one size, as `split_by_patient` does."""
    return _deal(images, (1 / folds,) * folds, seed)


def _deal(images: Sequence[GradedImage], shares: Sequence[float], seed: int) -> tuple[tuple[str, ...], ...]:
    patients: dict[str, list[GradedImage]] = {}
    for image in images:
        patients.setdefault(_patient(image), []).append(image)
    worst = {key: max((i.grade for i in own if i.grade is not None), default=None) for key, own in patients.items()}
    rng = np.random.default_rng(seed)
    keys = [sorted(patients)[i] for i in rng.permutation(len(patients))] if patients else []
    # Worst grades first: the rarest, usually; ungraded photographs last, where they can unbalance nothing.
    keys.sort(key=lambda key: -math.inf if (grade := worst[key]) is None else grade, reverse=True)
    part_of: dict[str, int] = {}
    dealt, held = 0, np.zeros(len(shares))
    for key in keys:
        dealt += len(patients[key])
        part = int(np.argmax(np.asarray(shares) * dealt - held))
        held[part] += len(patients[key])
        part_of[key] = part
    return tuple(tuple(image.image_id for image in images if part_of[_patient(image)] == part) for part in range(len(shares)))


def _patient(image: GradedImage) -> str:
    return f"image {image.image_id}" if image.patient is None else f"patient {image.patient}"


# --- Balance -----------------------------------------------------------------------------------------------------------------


def balance(grades: Sequence[int] | IntArray, *, how: Balance = "weight", seed: int = 0) -> FloatArray:
    """Weigh photographs against unequal grade counts.

    Parameters
    ----------
    grades : (n,).
    how : "none" weighs all alike. "discard" drops photographs at random until no grade has more than four times as many as the
        rarest, the proportions of the original study. "weight" weighs a photograph by its grade's count to the power -0.7.
    seed : decides which photographs are dropped.

    Returns
    -------
    float32 (n,), of mean 1 over the photographs that are kept; 0 for those dropped.
    """
    given = np.asarray(grades, dtype=np.int64)
    weights: np.ndarray = np.ones(given.size)
    _, grade_of, counts = np.unique(given, return_inverse=True, return_counts=True)
    if how == "discard" and given.size:
        rng = np.random.default_rng(seed)
        for grade in range(counts.size):
            own = np.flatnonzero(grade_of == grade)
            weights[rng.permutation(own)[_DISCARD_RATIO * int(counts.min()) :]] = 0
    elif how == "weight" and given.size:
        weights = counts[grade_of] ** -_TEMPERING
        weights /= weights.mean()
    return weights.astype(np.float32)


# --- Heads on a frozen trunk -------------------------------------------------------------------------------------------------


def fit_head(
    features: FloatArray,
    unit_labels: FloatArray,
    weights: FloatArray,
    *,
    training: IntArray,
    validation: IntArray,
    hidden: int = 64,
    seed: int = 0,
    rank: int = 256,
    max_epochs: int = 200,
    learning_rate: float = 3e-3,
    weight_decay: float = 0.1,
    dropout: float = 0.3,
    patience: int = 25,
    progress: Progress = silent,
) -> tuple[Head, History]:
    """Fit the two-layer regressor on a trunk's maps: weighted squared error on the sigmoid, smallest validation loss kept.

    Maps are standardised per channel, and the first layer learns in the span of the training maps' leading principal components:
    of few photographs with many features a gradient never leaves the span of all, and the leading ones keep the layer from
    reading noise. Components are those of the maps together with their means over all cells, since a lesion means the same
    wherever it lies. All of this is linear and folded into the first layer: the head acts on raw maps.

    Parameters
    ----------
    features : float32 (n, C, h, w), may be a memory map: it is read in pieces.
    unit_labels : (n,) in 0..1, see `Scale.to_unit`.   weights : (n,); rows of weight 0 are left out.
    training, validation : row numbers into `features`.
    rank : at most so many components.   dropout : share of components hidden at each step.
    patience : epochs without a smaller validation loss after which the fit ends.

    Raises
    ------
    TrainingError : no validation row, or training rows of one label only.
    """
    rows = np.sort(training[weights[training] > 0])
    held_out = np.sort(validation[weights[validation] > 0])
    if rows.size < 2 or np.ptp(unit_labels[rows]) == 0:
        raise TrainingError(
            f"{rows.size} photographs to learn from, all of one grade", "add photographs of other grades and other patients"
        )
    if held_out.size == 0:
        raise TrainingError("no graded photograph is left to validate on", "add graded photographs of other patients")
    rng = np.random.default_rng(seed)
    basis = _Basis.of(features, rows, rank, rng)
    x, y, w = _rows(basis, features, unit_labels, weights, rows)
    x_held, y_held, w_held = _rows(basis, features, unit_labels, weights, held_out)

    generator = torch.Generator().manual_seed(seed)
    mean = float((w * y).sum() / w.sum())
    first = nn.Parameter(torch.randn(hidden, x.shape[1], generator=generator) * x.shape[1] ** -0.5)
    first_bias = nn.Parameter(torch.zeros(hidden))
    second = nn.Parameter(torch.randn(hidden, generator=generator) * hidden**-0.5)
    second_bias = nn.Parameter(torch.tensor(math.log((mean + 1e-3) / (1 - mean + 1e-3))))
    optimizer = torch.optim.AdamW(
        [{"params": [first, second], "weight_decay": weight_decay}, {"params": [first_bias, second_bias], "weight_decay": 0.0}],
        lr=learning_rate,
    )

    def squared_error(x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        severity = torch.sigmoid(torch.relu(x @ first.T + first_bias) @ second + second_bias)
        return (w * (severity - y) ** 2).sum() / w.sum()

    history: list[dict[str, float]] = []
    best, best_loss, best_epoch = [p.detach().clone() for p in (first, first_bias, second, second_bias)], math.inf, 0
    batch = min(64, len(y))
    for epoch in range(max_epochs):
        total = 0.0
        order = torch.randperm(len(y), generator=generator)
        for chosen in torch.split(order[: len(y) // batch * batch], batch):
            kept = (torch.rand(len(chosen), x.shape[1], generator=generator) >= dropout) / (1 - dropout)
            loss = squared_error(x[chosen] * kept, y[chosen], w[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += float(loss.detach()) * len(chosen)
        with torch.no_grad():
            held_loss = float(squared_error(x_held, y_held, w_held))
        history.append({"training_loss": total / (len(y) // batch * batch), "validation_loss": held_loss})
        progress("fit", epoch + 1, max_epochs)
        if held_loss < best_loss:
            best_loss, best_epoch = held_loss, epoch
            best = [p.detach().clone() for p in (first, first_bias, second, second_bias)]
        elif epoch - best_epoch >= patience:
            break
    first_best, first_bias_best, second_best, second_bias_best = (p.numpy() for p in best)
    hidden_weight, shift = basis.on_raw_maps(first_best)
    head = Head(
        hidden_weight.reshape(hidden, *features.shape[1:]),
        (first_bias_best - shift).astype(np.float32),
        second_best,
        float(second_bias_best),
    )
    return head, tuple(history)


@dataclass(frozen=True)
class _Basis:
    """Leading principal components of standardised maps. components : (r, D).   mean, spread : (D,) of raw maps."""

    components: FloatArray
    mean: FloatArray
    spread: FloatArray

    @classmethod
    def of(cls, features: FloatArray, rows: IntArray, rank: int, rng: np.random.Generator) -> _Basis:
        chosen = rows if rows.size <= _BASIS_ROWS else np.sort(rng.choice(rows, _BASIS_ROWS, replace=False))
        maps = np.asarray(features[chosen], np.float32)
        spread = maps.std(axis=(0, 2, 3), dtype=np.float64)
        spread = np.where(spread > 1e-6, spread, 1.0)  # a channel that never speaks stays silent
        cells = maps.shape[2] * maps.shape[3]
        spread = np.repeat(spread.astype(np.float32), cells)
        flat = maps.reshape(len(maps), -1)
        mean = flat.mean(axis=0, dtype=np.float64).astype(np.float32)
        flat = (flat - mean) / spread
        pooled = flat.reshape(len(flat), -1, cells).mean(axis=2)
        shared = _SHARED * float((flat**2).sum()) / max(float((pooled**2).sum()), 1e-12)
        # The small Gram matrix has the same leading components as the large covariance.
        gram = (1 - _SHARED) * (flat @ flat.T) + shared * (pooled @ pooled.T)
        values, vectors = np.linalg.eigh(gram.astype(np.float64))
        leading = np.argsort(values)[::-1][:rank]
        leading = leading[values[leading] > 1e-6 * max(float(values.max()), 1e-6)]
        if not leading.size:
            raise TrainingError(
                "the trunk's maps are the same for every photograph", "check the photographs and the trunk's weights"
            )
        turn = (vectors[:, leading] / np.sqrt(values[leading])).T.astype(np.float32)
        components = (1 - _SHARED) * (turn @ flat) + np.repeat(turn @ pooled * np.float32(shared / cells), cells, axis=1)
        # Unit mean square over all coordinates of the training rows.
        components *= np.float32(math.sqrt(len(flat) * leading.size / max(values[leading].sum(), 1e-12)))
        return cls(components, mean, spread)

    def coordinates(self, features: FloatArray, rows: IntArray) -> FloatArray:
        """Return (len(rows), r)."""
        step = max(1, _CHUNK_BYTES // (4 * self.mean.size))
        found = np.empty((rows.size, len(self.components)), np.float32)
        for start in range(0, rows.size, step):
            maps = np.asarray(features[rows[start : start + step]], np.float32)
            found[start : start + step] = (maps.reshape(len(maps), -1) - self.mean) / self.spread @ self.components.T
        return found

    def on_raw_maps(self, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Turn a layer's weight on coordinates (H, r) into one on raw flat maps (H, D), and the bias to take off (H,)."""
        raw = (weight @ self.components) / self.spread
        return raw, (raw.astype(np.float64) @ self.mean.astype(np.float64)).astype(np.float32)


def _rows(
    basis: _Basis, features: FloatArray, unit_labels: FloatArray, weights: FloatArray, rows: IntArray
) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.from_numpy(basis.coordinates(features, rows))
    y, w = (torch.from_numpy(np.asarray(values[rows], np.float32)) for values in (unit_labels, weights))
    return x, y, w


@dataclass(frozen=True)
class FoldedHeads:
    """heads : one per fold. fold_of : image_id to the index of the head that never saw its patient, nor was chosen by it."""

    heads: tuple[Head, ...]
    fold_of: Mapping[str, int]


def fit_out_of_fold(
    images: Sequence[GradedImage],
    features: FloatArray,
    scale: Scale,
    *,
    folds: int = 5,
    seed: int = 0,
    balance: Balance = "weight",
    progress: Progress = silent,
) -> FoldedHeads:
    """Fit one head per fold of patients, so that every photograph has a head that knows nothing of its patient.

    Parameters
    ----------
    images : (n,), graded or not.   features : float32 (n, C, h, w) in the same order, may be a memory map.

    Raises
    ------
    TrainingError : one grade only, or fewer graded patients than needed.
    """
    _require_variety(images, patients=max(folds, 3), setting=f"folds = {folds}")
    unit_labels = _unit_labels(images, scale)
    fold_of = {image_id: k for k, part in enumerate(folds_by_patient(images, folds=folds, seed=seed)) for image_id in part}
    row_of = {image.image_id: row for row, image in enumerate(images)}
    heads = []
    for k in range(folds):
        rest = [image for image in images if fold_of[image.image_id] != k and image.grade is not None]
        kept, held_out = _deal(rest, (0.85, 0.15), seed + k)
        training, validation = (np.array([row_of[i] for i in part], np.int64) for part in (kept, held_out))
        weights = _weights(images, training, validation, balance, seed)
        try:
            head, _ = fit_head(features, unit_labels, weights, training=training, validation=validation, seed=seed + k)
        except TrainingError as error:
            raise TrainingError(f"fold {k + 1} of {folds}: {error.message}", error.remedy) from error
        heads.append(head)
        progress("fit", k + 1, folds)
    return FoldedHeads(tuple(heads), fold_of)


def _unit_labels(images: Sequence[GradedImage], scale: Scale) -> FloatArray:
    return np.array([np.nan if i.grade is None else scale.to_unit(i.grade) for i in images], np.float32)


def _weights(images: Sequence[GradedImage], training: IntArray, validation: IntArray, how: Balance, seed: int) -> FloatArray:
    """Balance both parts, each by itself. Nothing is dropped from validation: discarding there would only add noise."""
    weights = np.zeros(len(images), np.float32)
    for rows, chosen in ((training, how), (validation, "weight" if how == "discard" else how)):
        weights[rows] = _balance([images[row].grade or 0 for row in rows], how=chosen, seed=seed)
    return weights


def _require_variety(images: Sequence[GradedImage], *, patients: int, setting: str) -> None:
    graded = [image for image in images if image.grade is not None]
    if len({image.grade for image in graded}) < 2:
        grades = "no grade" if not graded else f"one grade only ({graded[0].grade})"
        raise TrainingError(f"{len(graded)} graded photographs hold {grades}", "add photographs of at least two grades")
    count = len({_patient(image) for image in graded})
    if count < patients:
        raise TrainingError(
            f"{count} patients with graded photographs are too few for {setting}: at least {patients} are needed",
            "add photographs of other patients, ask for fewer folds, or score with a trained scorer instead of fitting",
        )


_balance = balance  # `balance` is also a setting's name


# --- Trunks from scratch -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class EndToEnd:
    """What training from scratch made. module : a plain spatial module, as in `TRUNKS`. best_epoch counts from 0."""

    module: nn.Module
    head: Head
    history: History
    best_epoch: int


def train_trunk(
    name: str,
    pixels: ByteArray,
    unit_labels: FloatArray,
    weights: FloatArray,
    *,
    training: IntArray,
    validation: IntArray,
    epochs: int = 12,
    batch: int = 32,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.05,
    cell_dropout: float = 0.1,
    hidden: int = 64,
    augmentation: Augmentation = "flips-rotations",
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Progress = silent,
) -> EndToEnd:
    """Train a trunk and a head together, from random weights, on squared error; the epoch of smallest validation loss is kept.

    Where the network has no batch normalisation of its own, one follows each convolution while it learns and is folded into it
    at the end, so that the weights fit the plain network. Whole cells of the last maps are dropped at random: the scorer
    meets in training what the occlusion test will do to it. Convolutions run in bfloat16, sums and weights in float32.

    Parameters
    ----------
    name : an entry of `TRUNKS`.
    pixels : uint8 (n, S, S, 3) prepared photographs, may be a memory map.
    unit_labels : (n,) in 0..1.   weights : (n,).   training, validation : row numbers.
    learning_rate : the highest; it warms up over the first tenth of all steps and then falls to 0 along a cosine.
    augmentation : "flips-rotations" shows each photograph in one of its eight orientations, drawn anew each time.
    checkpoint : a file, replaced after each epoch. Training that was cut off goes on from it as if it had never stopped.

    Raises
    ------
    TrainingError : nothing to learn from or to validate on, or the checkpoint belongs to another training.
    """
    rows, held_out = training[weights[training] > 0], validation[weights[validation] > 0]
    if rows.size < 2 or np.ptp(unit_labels[rows]) == 0 or held_out.size == 0:
        raise TrainingError(
            f"{rows.size} photographs to learn from and {held_out.size} to validate on, or one grade only",
            "add graded photographs of other grades and other patients",
        )
    spec = TRUNKS[name]
    recipe = [name, epochs, batch, learning_rate, weight_decay, cell_dropout, hidden, augmentation, seed, list(pixels.shape)]
    fingerprint = _fingerprint(recipe, rows, held_out, unit_labels, weights)
    network = _Network(new_module(name, seed), pixels.shape[1], hidden, spec.mean, spec.std, seed)
    network = network.to(memory_format=torch.channels_last)
    decayed = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    free = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}])
    state = _Progressed(0, [], {}, math.inf, 0)
    if checkpoint is not None and checkpoint.exists():
        state = _resume(checkpoint, fingerprint, network, optimizer)

    steps = math.ceil(rows.size / batch)
    for epoch in range(state.epochs_done, epochs):
        # Each epoch draws from its own generator, so that a resumed training draws what an unbroken one would.
        generator = torch.Generator().manual_seed(_epoch_seed(seed, epoch))
        order = rows[torch.randperm(rows.size, generator=generator).numpy()]
        network.train()
        total = 0.0
        for step in range(steps):
            chosen = np.sort(order[step * batch : (step + 1) * batch])
            for group in optimizer.param_groups:
                group["lr"] = _learning_rate(learning_rate, epoch * steps + step, epochs * steps)
            images = torch.from_numpy(np.ascontiguousarray(pixels[chosen])).permute(0, 3, 1, 2)
            if augmentation == "flips-rotations":
                images = _turned(images, torch.randint(8, (len(chosen),), generator=generator).tolist())
            loss = _weighted_loss(network(images, cell_dropout, generator), unit_labels[chosen], weights[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += float(loss.detach()) * len(chosen)
            progress("train", epoch * steps + step + 1, epochs * steps)
        held_loss = _validation_loss(network, pixels, unit_labels, weights, held_out)
        state.history.append({"training_loss": total / rows.size, "validation_loss": held_loss})
        _log.info("epoch %d of %d: training %.4f, validation %.4f", epoch + 1, epochs, total / rows.size, held_loss)
        if held_loss < state.best_loss:
            state.best_loss, state.best_epoch = held_loss, epoch
            state.best = {key: tensor.detach().clone() for key, tensor in network.state_dict().items()}
        state.epochs_done = epoch + 1
        if checkpoint is not None:
            _save(checkpoint, fingerprint, state, network, optimizer)
    if not state.best:
        raise TrainingError("training diverged: no epoch had a finite validation loss", "lower the learning rate")
    network.load_state_dict(state.best)
    return EndToEnd(fold_normalisation(network.trunk), network.head(), tuple(state.history), state.best_epoch)


def with_normalisation(module: nn.Module) -> nn.Module:
    """Follow each convolution with batch normalisation, in place; a network that has its own is left as it is."""
    if any(isinstance(part, nn.BatchNorm2d) for part in module.modules()):
        return module
    for parent in list(module.modules()):
        for name, part in list(parent.named_children()):
            if isinstance(part, nn.Conv2d):
                setattr(parent, name, _Normalised(part))
    return module


def fold_normalisation(module: nn.Module) -> nn.Module:
    """Undo `with_normalisation`, in place: fold each temporary normalisation's statistics into its convolution."""
    module.eval()
    for parent in list(module.modules()):
        for name, part in list(parent.named_children()):
            if isinstance(part, _Normalised):
                setattr(parent, name, fuse_conv_bn_eval(part.convolution, part.normalisation))
    return module


class _Normalised(nn.Module):
    """A convolution and its temporary batch normalisation."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution
        self.normalisation = nn.BatchNorm2d(convolution.out_channels)

    def forward(self, maps: Tensor) -> Tensor:
        normalised: Tensor = self.normalisation(self.convolution(maps))
        return normalised


class _Network(nn.Module):
    """Trunk and head as one module: uint8 (n, 3, S, S) to the sigmoid's scale (n,)."""

    mean: Tensor
    std: Tensor

    def __init__(self, trunk: nn.Module, size: int, hidden: int, mean: Sequence[float], std: Sequence[float], seed: int) -> None:
        super().__init__()
        self.trunk = with_normalisation(trunk)
        with torch.no_grad():
            self.cells = tuple(self.trunk.eval()(torch.zeros(1, 3, size, size)).shape[1:])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = nn.Linear(math.prod(self.cells), hidden)
            self.second = nn.Linear(hidden, 1)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor, cell_dropout: float = 0.0, generator: torch.Generator | None = None) -> Tensor:
        normal = ((images.float() / 255 - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.training):
            maps = self.trunk(normal)
        maps = maps.float()
        if cell_dropout and self.training:
            kept = torch.rand(len(maps), 1, *maps.shape[2:], generator=generator) >= cell_dropout
            maps = maps * kept / (1 - cell_dropout)
        logit: Tensor = self.second(torch.relu(self.first(maps.flatten(1))))[:, 0]
        return torch.sigmoid(logit)

    def head(self) -> Head:
        first, second = self.first, self.second
        weight, bias, output = (t.detach().numpy().copy() for t in (first.weight, first.bias, second.weight[0]))
        return Head(weight.reshape(-1, *self.cells), bias, output, float(second.bias.detach()))


@dataclass
class _Progressed:
    epochs_done: int
    history: list[dict[str, float]]
    best: dict[str, Tensor]
    best_loss: float
    best_epoch: int


def _turned(images: Tensor, orientations: Sequence[int]) -> Tensor:
    """Show each of (n, 3, S, S) in one of the square's eight orientations."""
    return torch.stack(
        [torch.rot90(one.flip(2) if k >= 4 else one, k % 4, (1, 2)) for one, k in zip(images, orientations, strict=True)]
    )


def _weighted_loss(severity: Tensor, labels: FloatArray, weights: FloatArray) -> Tensor:
    y, w = torch.from_numpy(labels), torch.from_numpy(weights)
    # The weights average 1 over all photographs: divided by the batch's size, a batch of rare grades counts for more.
    loss: Tensor = (w * (severity - y) ** 2).mean()
    return loss


@torch.no_grad()
def _validation_loss(
    network: _Network, pixels: ByteArray, unit_labels: FloatArray, weights: FloatArray, rows: IntArray, batch: int = 32
) -> float:
    network.eval()
    total = 0.0
    for start in range(0, rows.size, batch):
        chosen = rows[start : start + batch]
        severity = network(torch.from_numpy(np.ascontiguousarray(pixels[chosen])).permute(0, 3, 1, 2))
        total += float(_weighted_loss(severity, unit_labels[chosen], weights[chosen])) * len(chosen)
    return total / rows.size


def _learning_rate(highest: float, step: int, steps: int) -> float:
    return highest * min(1.0, (step + 1) / (0.1 * steps)) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _epoch_seed(*entropy: int) -> int:
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)


def _fingerprint(recipe: Sequence[Any], *arrays: np.ndarray) -> str:
    found = hashlib.sha256(json.dumps(recipe).encode())
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _save(path: Path, fingerprint: str, state: _Progressed, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    whole = {"fingerprint": fingerprint, **vars(state), "network": network.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(whole, aside)
    aside.replace(path)


def _resume(path: Path, fingerprint: str, network: nn.Module, optimizer: torch.optim.Optimizer) -> _Progressed:
    remedy = "remove the file to begin anew, or name another"
    try:
        whole = torch.load(path, weights_only=True)
        if whole["fingerprint"] != fingerprint:
            raise TrainingError(f"{path}: a checkpoint of another training (other photographs, grades or settings)", remedy)
        network.load_state_dict(whole["network"])
        optimizer.load_state_dict(whole["optimizer"])
        return _Progressed(*(whole[key] for key in ("epochs_done", "history", "best", "best_loss", "best_epoch")))
    except (OSError, RuntimeError, EOFError, LookupError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise TrainingError(f"{path}: cannot be read as a checkpoint ({type(error).__name__})", remedy) from error


# --- Whole scorers -----------------------------------------------------------------------------------------------------------


def train_scorer(
    dataset: Dataset,
    *,
    name: str,
    trunk: str = "alexnet",
    weights: str | Path | None = None,
    from_scratch: bool = False,
    size: int = 224,
    preparation: str = "standardise",
    balance: Balance = "weight",
    augmentation: Augmentation = "flips-rotations",
    hidden: int = 64,
    epochs: int = 12,
    seed: int = 0,
    source: str = "Not stated.",
    work: Path | None = None,
    judge: Judge | None = None,
    progress: Progress = silent,
) -> TransferredScorer:
    """Train a scorer on the graded photographs of a dataset, split 80/10/10 by patient.

    Parameters
    ----------
    name : of the scorer.   trunk : an entry of `TRUNKS`.
    weights : of the frozen trunk: "imagenet" (the default) or a file, see `load_trunk`.
    from_scratch : train the trunk too, from random weights, for `epochs` epochs.
    augmentation : "flips-rotations" shows the photographs in all eight orientations. A frozen trunk meets those of a rare grade
        in more orientations than those of a frequent one, which evens out the counts.
    source : sentences for the card on the photographs: where they come from and on what terms.
    work : folder for prepared pixels, feature maps and the checkpoint; with it a training that was cut off goes on where it
        stopped. A temporary folder if not given.
    judge : measures agreement on the test split, as `judge(severity, grades, scale, patients)`: `evaluation.evaluate`.

    Raises
    ------
    TrainingError : one grade only, or too few patients.   UnreadableImageError : a photograph cannot be decoded.
    ScorerError, ConfigurationError : the trunk or its weights cannot be used.
    """
    if from_scratch and weights is not None:
        raise TrainingError("weights are given for a trunk that is to be trained from scratch", "give one or the other")
    images = [image for image in dataset.images if image.grade is not None]
    _require_variety(images, patients=10, setting="a split into 80, 10 and 10 %")
    row_of = {image.image_id: row for row, image in enumerate(images)}
    parts = split_by_patient(images, seed=seed)
    training, validation, test = (np.array([row_of[i] for i in parts[split]], np.int64) for split in SPLITS)
    unit_labels = _unit_labels(images, dataset.scale)
    photo_weights = _weights(images, training, validation, balance, seed)
    recipe: dict[str, Any] = {
        "trunk": trunk,
        "trunk_weights": "from scratch" if from_scratch else Path(weights or "imagenet").name,
        "size": size,
        "preparation": preparation,
        "balance": balance,
        "augmentation": augmentation,
        "hidden": hidden,
        "epochs": epochs,
        "seed": seed,
        "photographs": {split: len(parts[split]) for split in SPLITS},
    }
    with _folder(work) as folder:
        pixels = _prepared(images, size, preparation, folder, progress)
        if from_scratch:
            fit = train_trunk(
                trunk,
                pixels,
                unit_labels,
                photo_weights,
                training=training,
                validation=validation,
                epochs=epochs,
                hidden=hidden,
                augmentation=augmentation,
                seed=seed,
                checkpoint=folder / "checkpoint.pt",
                progress=progress,
            )
            frozen, head, history = load_trunk(trunk, fit.module.state_dict(), size=size), fit.head, fit.history
        else:
            frozen = load_trunk(trunk, "imagenet" if weights is None else weights, size=size)
            head, history = _head_on_frozen(
                frozen,
                pixels,
                [image.grade or 0 for image in images],
                unit_labels,
                photo_weights,
                training=training,
                validation=validation,
                hidden=hidden,
                augmentation=augmentation,
                seed=seed,
                folder=folder,
                progress=progress,
            )
        scorer = TransferredScorer(name, frozen, head, dataset.scale, preparation, training=recipe)
        severity = np.array([_severity(scorer, pixels[row]) for row in test], np.float32)
    losses = [row["validation_loss"] for row in history]
    recipe |= {"best_epoch": 1 + int(np.argmin(losses)), "validation_loss": round(min(losses), 5)}
    figures: Mapping[str, float] = {}
    if judge is not None and test.size:
        of_test = [images[row] for row in test]
        evaluation = judge(
            severity, np.array([image.grade for image in of_test]), dataset.scale, [_patient(image) for image in of_test]
        )
        figures = {key: round(value, 4) for key, value in evaluation.figures.items() if math.isfinite(value)}
    recipe["figures"] = figures
    card = _card(name, recipe, figures, images, parts, dataset.scale, source)
    return TransferredScorer(name, frozen, head, dataset.scale, preparation, card, recipe)


def _severity(scorer: TransferredScorer, pixels: ByteArray) -> float:
    return float(scorer.severity(scorer.cell_sums(scorer.features([""], pixels[None]))).severity[0])


@contextmanager
def _folder(work: Path | None) -> Iterator[Path]:
    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
        yield work
    else:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)


def _prepared(images: Sequence[GradedImage], size: int, preparation: str, folder: Path, progress: Progress) -> ByteArray:
    """Prepare the photographs into a file of pixels (n, size, size, 3) and map it. A complete file of the same is used again."""
    recipe = json.dumps([size, preparation, [image.image_id for image in images]])
    path = folder / f"pixels-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}.npy"
    if not path.exists():
        aside = path.with_suffix(".part")
        pixels = np.lib.format.open_memmap(aside, "w+", np.uint8, (len(images), size, size, 3))
        for row, image in enumerate(images):
            pixels[row] = prepare(image.image_id, read_photograph(image.path), size=size, preparation=preparation).pixels
            progress("prepare", row + 1, len(images))
        pixels.flush()
        del pixels
        aside.replace(path)
    mapped: ByteArray = np.load(path, mmap_mode="r")
    return mapped


def _head_on_frozen(
    trunk: Trunk,
    pixels: ByteArray,
    grades: Sequence[int],
    unit_labels: FloatArray,
    weights: FloatArray,
    *,
    training: IntArray,
    validation: IntArray,
    hidden: int,
    augmentation: Augmentation,
    seed: int,
    folder: Path,
    progress: Progress,
) -> tuple[Head, History]:
    """Fit a head on the maps of the photographs, those of training in several orientations where augmentation asks for it."""
    shown = [(int(row), 0) for row in validation]
    counts = np.bincount(np.array(grades)[training] - min(grades))
    rng = np.random.default_rng(seed)
    for row in training[weights[training] > 0]:
        copies = 1
        if augmentation == "flips-rotations":
            copies = int(np.clip(round(2 * counts.max() / counts[grades[row] - min(grades)]), 2, 8))
        turns = [0, *(1 + rng.permutation(7)[: copies - 1])]
        shown += [(int(row), int(turn)) for turn in turns]
    file = folder / "features.npy"  # on disk: of a large cohort the maps outgrow the memory
    features = np.lib.format.open_memmap(file, "w+", np.float32, (len(shown), trunk.channels, *trunk.shape))
    for index, (row, turn) in enumerate(shown):
        image = torch.from_numpy(np.array(pixels[row])).permute(2, 0, 1)[None]
        features[index] = trunk.maps(_turned(image, [turn]).permute(0, 2, 3, 1).numpy())[0]
        progress("features", index + 1, len(shown))
    rows = np.array([row for row, _ in shown])
    copies_of = np.bincount(rows, minlength=len(pixels))
    fit = fit_head(
        features,
        unit_labels[rows],
        (weights / np.maximum(copies_of, 1))[rows].astype(np.float32),
        training=np.arange(validation.size, len(shown)),
        validation=np.arange(validation.size),
        hidden=hidden,
        seed=seed,
        progress=progress,
    )
    file.unlink()
    return fit


def _card(
    name: str,
    recipe: Mapping[str, Any],
    figures: Mapping[str, float],
    images: Sequence[GradedImage],
    parts: Mapping[str, tuple[str, ...]],
    scale: Scale,
    source: str,
) -> str:
    """Write the model card, Markdown. No file name or patient enters it."""
    part_of = {image_id: split for split, ids in parts.items() for image_id in ids}
    counts = [
        f"| {grade} {scale.name(grade)} | "
        + " | ".join(str(sum(i.grade == grade and part_of[i.image_id] == split for i in images)) for split in SPLITS)
        + " |"
        for grade in scale.grades
    ]
    steps = [f"- {key.replace('_', ' ')}: {value}" for key, value in recipe.items() if key not in ("photographs", "figures")]
    found = [f"| {FIGURES.get(key, key)} | {value:.3f} |" for key, value in figures.items()] or ["| not measured | |"]
    return "\n".join(
        [
            f"# {name}",
            "",
            f"Scores the severity of {scale.disease} in one photograph, from {scale.lowest} ({scale.names[0]}) to "
            f"{scale.highest} ({scale.names[-1]}): a convolutional trunk and a two-layer regressor on its last maps, ending in a "
            "sigmoid.",
            "",
            "## Intended use",
            "",
            "Teaching and research: to rank photographs by severity and to show what drives the score. It does not diagnose, and "
            "must not guide the care of anyone.",
            "",
            "## Data and terms",
            "",
            source,
            "",
            "Split by patient: both eyes of a patient are on one side.",
            "",
            f"| grade | {' | '.join(SPLITS)} |",
            "|---|---|---|---|",
            *counts,
            "",
            "## Recipe",
            "",
            *steps,
            "",
            "Grades are scaled to 0..1, the loss is the squared error, and the weights of the smallest validation loss are kept. "
            "The command, with the photographs and grades of above for IMAGES and GRADES:",
            "",
            f"    {_command(name, recipe)}",
            "",
            "## Figures on the test split",
            "",
            "| figure | value |",
            "|---|---|",
            *found,
            "",
            "## Limits",
            "",
            "- The figures hold for photographs like those it learned from; others, and other cameras, can be scored far worse.",
            "- A sigmoid never reaches its ends: the mean severity of the highest grade falls short of it.",
            "- Whatever goes with severity in these photographs can raise the score, lesion or not.",
            "",
        ]
    )


def _command(name: str, recipe: Mapping[str, Any]) -> str:
    trunk = "--from-scratch" if recipe["trunk_weights"] == "from scratch" else f"--trunk-weights {recipe['trunk_weights']}"
    flags = {key: recipe[key] for key in ("trunk", "size", "preparation", "balance", "augmentation", "hidden", "epochs", "seed")}
    given = " ".join(f"--{key} {value}" for key, value in flags.items())
    return f"atlas train IMAGES --grades GRADES --out {name} {trunk} {given}"
