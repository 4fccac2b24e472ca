"""Heads on a frozen trunk: the two-layer regressor, and the softmax classifier it is compared with.

The trunk's output never changes, so it is computed once, and fitting a head takes seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from atlas.errors import TrainingError
from atlas.progress import Progress, silent
from atlas.records import FloatArray, GradedImage, IntArray, Loss, Scale
from atlas.scorers.readouts import Classifier, Head
from atlas.tasks import Each, one_by_one
from atlas.training.losses import GAMMA, Objective
from atlas.training.splits import Balance, balanced_weights, deal, folds_by_patient, require_variety, unit_labels

History = tuple[Mapping[str, float], ...]
"""One row per epoch: `training_loss` and `validation_loss`, and other figures of some trainings."""

_BASIS_ROWS = 1536

_SHARED = 0.9  # share of a head's input that is means over all cells; compared with 0, 0.5 and 0.99 on real photographs

_COMPONENTS = 256  # at most

_LEARNING_RATE, _WEIGHT_DECAY = 3e-3, 0.1

_DROPOUT = 0.3  # share of components hidden at each step

_MAX_EPOCHS = 200

_PATIENCE = 25  # epochs without a smaller validation loss after which a fit ends

_CHUNK_BYTES = 64 << 20


def fit_head(
    features: FloatArray,
    unit_labels: FloatArray,
    weights: FloatArray,
    *,
    training: IntArray,
    validation: IntArray,
    hidden: int = 64,
    seed: int = 0,
    max_epochs: int = _MAX_EPOCHS,
    progress: Progress = silent,
) -> tuple[Head, History]:
    """Fit the two-layer regressor on a trunk's maps: weighted squared error on the sigmoid, smallest validation loss kept.

    Maps are standardised per channel, and the first layer learns in the span of the training maps' leading principal components.
    With few photographs and many features, a gradient never leaves the span of all components, and the leading ones keep the
    layer from reading noise. The components are those of the maps together with their means over all cells, because a lesion
    means the same wherever it lies. All of this is linear and folded into the first layer: the head reads raw maps.

    Parameters
    ----------
    features : FloatArray
        float32 (n, C, h, w), may be a memory map: it is read in pieces.
    unit_labels : FloatArray
        (n,) in 0..1, see `Scale.to_unit`.
    weights : FloatArray
        (n,); rows of weight 0 are left out.
    training : IntArray
        Rows of `features` to learn from.
    validation : IntArray
        Rows of `features` to validate on.
    hidden : int
        Number of hidden units.
    seed : int
        Decides everything random.
    max_epochs : int
        Largest number of epochs. The fit ends sooner if the validation loss no longer falls.
    progress : Progress
        Called after each epoch.

    Returns
    -------
    tuple[Head, History]
        The head, and the losses of each epoch.

    Raises
    ------
    TrainingError
        If there is no validation row, or the training rows have one label only.
    """
    rows, held_out = _chosen(unit_labels, weights, training, validation)
    mean = float(np.average(unit_labels[rows], weights=weights[rows]))

    def squared_error(logits: Tensor, y: Tensor, w: Tensor) -> Tensor:
        return (w * (torch.sigmoid(logits[:, 0]) - y) ** 2).sum() / w.sum()

    layers, history = _fit(
        features,
        torch.from_numpy(np.asarray(unit_labels, np.float32)),
        weights,
        rows,
        held_out,
        squared_error,
        np.array([math.log((mean + 1e-3) / (1 - mean + 1e-3))]),
        hidden=hidden,
        seed=seed,
        max_epochs=max_epochs,
        progress=progress,
    )
    return Head(layers.hidden_weight, layers.hidden_bias, layers.output_weight[0], float(layers.output_bias[0])), history


def fit_classifier(
    features: FloatArray,
    classes: IntArray,
    weights: FloatArray,
    *,
    count: int,
    training: IntArray,
    validation: IntArray,
    loss: Loss = "cross-entropy",
    gamma: float = GAMMA,
    hidden: int = 64,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[Classifier, History]:
    """Fit a softmax classifier as `fit_head` fits the regressor, by default on cross entropy: the study's comparison.

    Other parameters are as in `fit_head`.

    Parameters
    ----------
    classes : IntArray
        int64 (n,), from 0 to `count` - 1: the grade minus the lowest grade.
    count : int
        Number of grades.
    loss : Loss
        The loss, see `losses.Objective`; any but "squared". Photographs count by `weights` in all of them.
    gamma : float
        Exponent of the focal loss.

    Raises
    ------
    TrainingError
        As `fit_head` does.
    """
    rows, held_out = _chosen(classes.astype(np.float32), weights, training, validation)
    shares = np.bincount(classes[rows], weights[rows], minlength=count) / weights[rows].sum()

    objective = Objective(loss, gamma, count)

    def mean_loss(logits: Tensor, y: Tensor, w: Tensor) -> Tensor:
        return (w * objective.of(logits, y / (count - 1))).sum() / w.sum()

    return _fit(
        features,
        torch.from_numpy(np.asarray(classes, np.int64)),
        weights,
        rows,
        held_out,
        mean_loss,
        np.log(shares + 1e-3),
        hidden=hidden,
        seed=seed,
        progress=progress,
    )


def _chosen(labels: FloatArray, weights: FloatArray, training: IntArray, validation: IntArray) -> tuple[IntArray, IntArray]:
    """Return the rows whose weight is not 0, in ascending order, or raise TrainingError if there is nothing to learn."""
    rows = np.sort(training[weights[training] > 0])
    held_out = np.sort(validation[weights[validation] > 0])
    if rows.size < 2 or np.ptp(labels[rows]) == 0:
        raise TrainingError(
            f"{rows.size} photographs to learn from, all of one grade", "add photographs of other grades and other patients"
        )
    if held_out.size == 0:
        raise TrainingError("no graded photograph is left to validate on", "add graded photographs of other patients")
    return rows, held_out


def _fit(
    features: FloatArray,
    labels: Tensor,
    weights: FloatArray,
    rows: IntArray,
    held_out: IntArray,
    objective: Callable[[Tensor, Tensor, Tensor], Tensor],
    prior: NDArray[np.float64],
    *,
    hidden: int,
    seed: int,
    max_epochs: int = _MAX_EPOCHS,
    progress: Progress,
) -> tuple[Classifier, History]:
    """Fit two layers with one output for each entry of `prior`, which holds the outputs' first biases."""
    basis = _Basis.of(features, rows, _COMPONENTS, np.random.default_rng(seed))
    x, x_held = (torch.from_numpy(basis.coordinates(features, part)) for part in (rows, held_out))
    y, y_held = labels[rows], labels[held_out]
    w, w_held = (torch.from_numpy(np.asarray(weights[part], np.float32)) for part in (rows, held_out))

    generator = torch.Generator().manual_seed(seed)
    outputs, width = len(prior), x.shape[1]
    parameters = [
        nn.Parameter(torch.randn(hidden, width, generator=generator) * width**-0.5),
        nn.Parameter(torch.zeros(hidden)),
        nn.Parameter(torch.randn(outputs, hidden, generator=generator) * hidden**-0.5),
        nn.Parameter(torch.from_numpy(prior.astype(np.float32))),
    ]
    first, first_bias, second, second_bias = parameters
    optimizer = torch.optim.AdamW(
        [
            {"params": [first, second], "weight_decay": _WEIGHT_DECAY},
            {"params": [first_bias, second_bias], "weight_decay": 0.0},
        ],
        lr=_LEARNING_RATE,
    )

    def logits(x: Tensor) -> Tensor:
        return torch.relu(x @ first.T + first_bias) @ second.T + second_bias

    history: list[dict[str, float]] = []
    best, best_loss, best_epoch = [p.detach().clone() for p in parameters], math.inf, 0
    batch = min(64, len(y))
    for epoch in range(max_epochs):
        total = 0.0
        order = torch.randperm(len(y), generator=generator)
        for chosen in torch.split(order[: len(y) // batch * batch], batch):
            kept = (torch.rand(len(chosen), width, generator=generator) >= _DROPOUT) / (1 - _DROPOUT)
            loss = objective(logits(x[chosen] * kept), y[chosen], w[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += float(loss.detach()) * len(chosen)
        with torch.no_grad():
            held_loss = float(objective(logits(x_held), y_held, w_held))
        history.append({"training_loss": total / (len(y) // batch * batch), "validation_loss": held_loss})
        progress("fit", epoch + 1, max_epochs)
        if held_loss < best_loss:
            best_loss, best_epoch = held_loss, epoch
            best = [p.detach().clone() for p in parameters]
        elif epoch - best_epoch >= _PATIENCE:
            break
    first_best, bias_best, second_best, second_bias_best = (p.numpy() for p in best)
    weight, shift = basis.on_raw_maps(first_best)
    layers = Classifier(
        weight.reshape(hidden, *features.shape[1:]),
        (bias_best - shift).astype(np.float32),
        second_best,
        second_bias_best,
    )
    return layers, tuple(history)


@dataclass(frozen=True)
class _Basis:
    """Leading principal components of standardised maps.

    Parameters
    ----------
    components : FloatArray
        (r, D), the components.
    mean : FloatArray
        (D,), mean of raw maps.
    spread : FloatArray
        (D,), standard deviation of raw maps.
    """

    components: FloatArray
    mean: FloatArray
    spread: FloatArray

    @classmethod
    def of(cls, features: FloatArray, rows: IntArray, rank: int, rng: np.random.Generator) -> _Basis:
        chosen = rows if rows.size <= _BASIS_ROWS else np.sort(rng.choice(rows, _BASIS_ROWS, replace=False))
        maps = np.asarray(features[chosen], np.float32)
        spread = maps.std(axis=(0, 2, 3), dtype=np.float64)
        spread = np.where(spread > 1e-6, spread, 1.0)  # a constant channel stays constant
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
        """Return the coordinates of some rows of `features` in this basis, (len(rows), r)."""
        step = max(1, _CHUNK_BYTES // (4 * self.mean.size))
        found = np.empty((rows.size, len(self.components)), np.float32)
        for start in range(0, rows.size, step):
            maps = np.asarray(features[rows[start : start + step]], np.float32)
            found[start : start + step] = (maps.reshape(len(maps), -1) - self.mean) / self.spread @ self.components.T
        return found

    def on_raw_maps(self, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Convert a layer's weight on coordinates (H, r) to one on raw flat maps (H, D), and the bias to subtract (H,)."""
        raw = (weight @ self.components) / self.spread
        return raw, (raw.astype(np.float64) @ self.mean.astype(np.float64)).astype(np.float32)


@dataclass(frozen=True)
class FoldedHeads:
    """Heads fitted by folds, and which of them scores each photograph.

    Parameters
    ----------
    heads : tuple[Head, ...]
        One head per fold.
    classifiers : tuple[Classifier, ...]
        One classifier per fold.
    fold_of : Mapping[str, int]
        By image_id, the fold whose head and classifier did not learn from its patient and were not chosen by it.
    balancing : Mapping[str, float]
        By image_id, the mean weight over the folds of each photograph that was learned from.
    """

    heads: tuple[Head, ...]
    classifiers: tuple[Classifier, ...]
    fold_of: Mapping[str, int]
    balancing: Mapping[str, float]


@dataclass(frozen=True)
class Fold:
    """What a fold's pair of layers learns from.

    Parameters
    ----------
    name : str
        For messages.
    training, validation : IntArray
        Rows of the features.
    weights : FloatArray
        (n,), see `fit_head`.
    seed : int
        Decides everything random.
    """

    name: str
    training: IntArray
    validation: IntArray
    weights: FloatArray
    seed: int


@dataclass(frozen=True)
class Learning:
    """What all folds learn from.

    Parameters
    ----------
    features : FloatArray or Path
        float32 (n, C, h, w), or the file of such an array in NumPy's format, which other processes can map, too.
    labels, classes : FloatArray, IntArray
        See `fit_head` and `fit_classifier`.
    count : int
        Number of grades.
    """

    features: FloatArray | Path
    labels: FloatArray
    classes: IntArray
    count: int


Pair = tuple[Head, Classifier]


def fit_fold(fold: Fold, learning: Learning) -> Pair:
    """Fit the head and the classifier of one fold.

    Raises
    ------
    TrainingError
        As `fit_head` does.
    """
    known = learning.features
    features: FloatArray = np.load(known, mmap_mode="r") if isinstance(known, Path) else known
    parts: dict[str, Any] = {"training": fold.training, "validation": fold.validation, "seed": fold.seed}
    try:
        head, _ = fit_head(features, learning.labels, fold.weights, **parts)
        classifier, _ = fit_classifier(features, learning.classes, fold.weights, count=learning.count, **parts)
    except TrainingError as error:
        raise TrainingError(f"{fold.name}: {error.message}", error.remedy) from error
    return head, classifier


def fit_out_of_fold(
    images: Sequence[GradedImage],
    features: FloatArray | Path,
    scale: Scale,
    *,
    folds: int = 5,
    seed: int = 0,
    balance: Balance = "weight",
    each: Each = one_by_one,
) -> FoldedHeads:
    """Fit a head and a classifier per fold of patients, so that every photograph has a pair that never saw its patient.

    Parameters
    ----------
    images : Sequence[GradedImage]
        (n,), graded or not.
    features : FloatArray or Path
        float32 (n, C, h, w) in the same order, may be a memory map; or its file, see `Learning`.
    scale : Scale
        Scale of the grades.
    folds : int
        Number of folds.
    seed : int
        Decides everything random.
    balance : Balance
        How unequal numbers of photographs per grade are balanced, see `splits.balance`.
    each : Each
        Does the work of each fold.

    Returns
    -------
    FoldedHeads
        The heads, and which of them scores each photograph.

    Raises
    ------
    TrainingError
        If there is one grade only, or fewer graded patients than needed.
    """
    require_variety(images, patients=max(folds, 3), setting=f"folds = {folds}")
    classes = np.array([0 if image.grade is None else image.grade - scale.lowest for image in images], np.int64)
    fold_of = {image_id: k for k, part in enumerate(folds_by_patient(images, folds=folds, seed=seed)) for image_id in part}
    row_of = {image.image_id: row for row, image in enumerate(images)}
    dealt, total = [], np.zeros(len(images))
    for k in range(folds):
        rest = [image for image in images if fold_of[image.image_id] != k and image.grade is not None]
        kept, held_out = deal(rest, (0.85, 0.15), seed + k)
        training, validation = (np.array([row_of[i] for i in part], np.int64) for part in (kept, held_out))
        weights = balanced_weights(images, training, validation, balance, seed)
        total[training] += weights[training]
        dealt.append(Fold(f"fold {k + 1} of {folds}", training, validation, weights, seed + k))
    learning = Learning(features, unit_labels(images, scale), classes, len(scale.grades))
    heads, classifiers = zip(*each(fit_fold, dealt, learning, stage="fit"), strict=True)
    balancing = {i.image_id: float(w) / folds for i, w in zip(images, total, strict=True) if i.grade is not None}
    return FoldedHeads(tuple(heads), tuple(classifiers), fold_of, balancing)
