"""Training scorers: photographs are prepared, split and learned from, and the result is measured on patients never seen."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atlas.errors import TrainingError
from atlas.progress import Progress, silent
from atlas.records import (
    Augmentation,
    ByteArray,
    Dataset,
    FloatArray,
    IntArray,
    Loss,
)
from atlas.scorers.joined import side_by_side
from atlas.scorers.readouts import Classifier, Head, first_sums, for_all_cells
from atlas.scorers.transferred import TransferredScorer, half_precision
from atlas.scorers.trunks import Trunk, load_trunk
from atlas.tasks import Each, in_threads
from atlas.training.augmentations import turned
from atlas.training.calibration import calibrate, on_validation, reading_of, with_card
from atlas.training.heads import History, fit_classifier, fit_head
from atlas.training.losses import GAMMA, Objective, balance_for
from atlas.training.material import Material
from atlas.training.networks import train_trunk
from atlas.training.splits import Balance
from atlas.training.spread import Pixels, maps_shown, prepared_for, sums_and_means

_FROM_SCRATCH, _FINE_TUNING = 1e-3, 3e-4  # learning rates: a higher one would destroy what given weights know


def train_scorer(
    dataset: Dataset,
    *,
    name: str,
    trunk: str = "alexnet",
    weights: str | Path | None = None,
    from_scratch: bool = False,
    fine_tune: bool = False,
    teachers: Sequence[TransferredScorer] = (),
    size: int = 224,
    preparation: str = "standardise",
    balance: Balance = "weight",
    augmentation: Augmentation = "flips-rotations",
    loss: Loss = "squared",
    gamma: float = GAMMA,
    hidden: int = 64,
    epochs: int = 12,
    device: str = "cpu",
    seed: int = 0,
    source: str = "Not stated.",
    further: Sequence[str] = (),
    command: str = "",
    work: Path | None = None,
    code: str = "",
    progress: Progress = silent,
    each: Each | None = None,
) -> TransferredScorer:
    """Train a scorer on the graded photographs of a dataset, split as its tables say or, without a split, 80/10/10 by patient.

    The returned scorer has weights of half precision, as in its bundle, and was measured with them.

    Parameters
    ----------
    name : str
        Name of the scorer.
    trunk : str
        An entry of `TRUNKS`.
    weights : str | Path or None
        Weights of the trunk: "imagenet" (the default) or a file, see `load_trunk`. The trunk is frozen unless asked otherwise.
    from_scratch : bool
        Train the trunk too, from random weights, for `epochs` epochs.
    fine_tune : bool
        Train the trunk too, from `weights`, for `epochs` epochs, under a head with equal weights for all cells.
    teachers : Sequence[TransferredScorer]
        Fine-tuned scorers. A trunk that is trained learns from their scores as well as from the grades, see `train_trunk`.
    augmentation : Augmentation
        See `train_trunk`. A frozen trunk accepts only "flips-rotations" and "none"; it sees the photographs of a rare grade in
        more orientations than those of a frequent one, which evens out the counts.
    loss : Loss
        "squared" makes a regressor, with a classifier beside it to compare it with. Any other makes a classifier: its severity
        is the expected grade. See `losses.Objective`.
    gamma : float
        Exponent of the focal loss.
    device : str
        Where the network runs, "cpu" or "cuda". A head on a frozen trunk is always fitted on the CPU.
    source : str
        Sentences for the card on where the photographs come from and on what terms.
    further : Sequence[str]
        Sentences for the card on what would improve the scorer.
    command : str
        The command that trains this scorer again, for the card.
    work : Path or None
        Folder for prepared pixels, feature maps and checkpoints, so that interrupted training can continue. The caller removes
        it once the scorer is saved. A temporary folder if not given.
    code : str
        Key of the code that prepares photographs: pixels prepared by other code are prepared again.
    each : Each or None
        Prepares the photographs and runs a frozen trunk on them; without it, threads of this process do.

    Raises
    ------
    TrainingError
        If there is one grade only, too few patients, or settings that do not go together.
    UnreadableImageError
        If a photograph cannot be decoded.
    ScorerError, ConfigurationError
        If the weights cannot be used.
    """
    if from_scratch and weights is not None:
        raise TrainingError(
            "a trunk that is trained from scratch takes no weights", "give --trunk-weights or --from-scratch, not both"
        )
    if from_scratch and fine_tune:
        raise TrainingError("a trunk starts from scratch or from given weights", "give --from-scratch or --fine-tune, not both")
    whole = from_scratch or fine_tune
    if teachers and not whole:
        raise TrainingError(
            "a trunk that is not trained cannot learn from a teacher",
            "give --fine-tune or --from-scratch, or leave --teacher out",
        )
    if teachers and loss != "squared":
        raise TrainingError("a teacher's scores are learned with squared error", "leave out either --loss or --teacher")
    if augmentation in ("moved", "cropped") and not whole:
        raise TrainingError(
            f'a trunk that is not trained cannot learn from "{augmentation}" photographs',
            "give --augmentation flips-rotations or none",
        )
    objective = Objective(loss, gamma, len(dataset.scale.names))
    material = Material.of(dataset, balance_for(loss, balance), seed)
    training, validation, grades, photo_weights = material.training, material.validation, material.grades, material.weights
    recipe: dict[str, Any] = {
        "trunk": trunk,
        "trunk_weights": "from scratch" if from_scratch else Path(weights or "imagenet").name,
        "trunk_learns": whole,
        "augmentation": augmentation,
        "epochs": epochs,
        "loss": loss,
        **({"gamma": gamma} if loss == "focal" else {}),
        "device": device,
        **({"teachers": ", ".join(teacher.name for teacher in teachers)} if teachers else {}),
    }
    with training_folder(work) as folder:
        pixels = prepared_pixels(material, size, preparation, folder, code, progress, each)
        if whole:
            start = (
                None if from_scratch else load_trunk(trunk, "imagenet" if weights is None else weights, size=size).state_dict()
            )
            fit = train_trunk(
                trunk,
                pixels,
                material.labels,
                photo_weights,
                training=training,
                validation=validation,
                start=start,
                teachers=teachers,
                pooled=fine_tune or bool(teachers),
                growing=from_scratch and bool(teachers),
                epochs=epochs,
                learning_rate=_FINE_TUNING if fine_tune else _FROM_SCRATCH,
                hidden=hidden,
                augmentation=augmentation,
                objective=objective,
                device=device,
                seed=seed,
                checkpoint=folder / "checkpoint.pt",
                progress=progress,
            )
            frozen, head = load_trunk(trunk, fit.module.state_dict(), size=size, device=device), fit.head
            history, best_epoch = fit.history, fit.best_epoch
        else:
            frozen = load_trunk(trunk, "imagenet" if weights is None else weights, size=size, device=device)
            shown = _shown(training, validation, grades, photo_weights, augmentation, seed)
            features = _maps(frozen, pixels, shown, folder / "features.npy", progress, each)
            head, history = _head_on(
                features, shown, material.labels, photo_weights, validation.size, objective, hidden, seed, progress
            )
            del features  # Windows cannot remove a file that is still mapped
            (folder / "features.npy").unlink()
            best_epoch = int(np.argmin([row["validation_loss"] for row in history]))
        recipe |= {"best_epoch": 1 + best_epoch, "validation_loss": round(history[best_epoch]["validation_loss"], 5)}
        scorer = TransferredScorer(name, frozen, head, dataset.scale, preparation)
        scorer, figures = _measured(
            scorer, material, pixels, calibrated=whole, hidden=hidden, seed=seed, progress=progress, each=each
        )
        del pixels  # for the same reason: the folder may be a temporary one
    recipe |= {**figures, "command": command, "sources": source, "further": list(further)}
    return with_card(scorer, material, recipe, teachers)


def join_scorers(
    dataset: Dataset,
    *,
    name: str,
    members: Sequence[TransferredScorer],
    preparation: str | None = None,
    balance: Balance = "weight",
    hidden: int = 64,
    seed: int = 0,
    source: str = "Not stated.",
    further: Sequence[str] = (),
    command: str = "",
    work: Path | None = None,
    code: str = "",
    progress: Progress = silent,
    each: Each | None = None,
) -> TransferredScorer:
    """Put scorers side by side, see `atlas.scorers.joined`; calibrate and measure the result as `train_scorer` does.

    `balance`, `hidden` and `seed` are for the softmax classifier that it is compared with, the only part that learns.

    Parameters
    ----------
    preparation : str or None
        Preparation of the photographs that it scores; that of the members if not given.
    each : Each or None
        See `train_scorer`.

    Raises
    ------
    TrainingError
        If the scorers do not fit together, or there is one grade only or too few patients.
    UnreadableImageError
        If a photograph cannot be decoded.
    """
    joined = side_by_side(name, members, preparation)
    if joined.scale != dataset.scale:
        raise TrainingError("the scorers have another scale than the grades", "give scorers that were trained on this scale")
    material = Material.of(dataset, balance, seed)
    with training_folder(work) as folder:
        pixels = prepared_pixels(material, joined.size, joined.preparation, folder, code, progress, each)
        scorer, figures = _measured(
            joined, material, pixels, calibrated=True, hidden=hidden, seed=seed, progress=progress, each=each
        )
        del pixels  # Windows cannot remove a file that is still mapped, and the folder may be a temporary one
    recipe: dict[str, Any] = {"trunk": joined.trunk.name, "members": ", ".join(member.name for member in members)}
    recipe |= {**figures, "command": command, "sources": source, "further": list(further)}
    return with_card(scorer, material, recipe, members)


def _measured(
    scorer: TransferredScorer,
    material: Material,
    pixels: ByteArray,
    *,
    calibrated: bool,
    hidden: int,
    seed: int,
    progress: Progress,
    each: Each | None,
) -> tuple[TransferredScorer, dict[str, Any]]:
    """Add calibration (if asked), reading, the classifier for comparison and the scores of the test split to a scorer.

    All are at half precision, as in the bundle. Also returned are figures of the validation split for the recipe.
    """
    scale, grades = material.scale, material.grades
    training, validation, test = material.training, material.validation, material.test
    scorer = half_precision(scorer)
    z, means = _seen(scorer, pixels, progress, each)
    if calibrated and isinstance(scorer.head, Head):
        held = scorer.regressor.logit(z[validation])
        scorer = half_precision(replace(scorer, head=calibrate(scorer.regressor, held, grades[validation], scale)))
    severity = scorer.head.severity(z, scale)
    reading, of = reading_of(severity, material)
    scorer = replace(scorer, reading=reading)
    if isinstance(scorer.head, Classifier):
        shares = scorer.head.probabilities(z[test])
    else:
        classifier, _ = fit_classifier(
            means[:, :, None, None],
            grades - scale.lowest,
            material.weights,
            count=len(scale.grades),
            training=training,
            validation=validation,
            hidden=hidden,
            seed=seed,
            progress=progress,
        )
        scorer = half_precision(replace(scorer, classifier=for_all_cells(classifier, scorer.grid)))
        shares = _shares(scorer, means[test])
    if test.size:
        scorer = replace(scorer, judged=material.judged(severity, shares))
    figures = {
        "hidden": hidden,
        "threshold": of,
        **on_validation(severity[validation], grades[validation], scale),
    }
    return scorer, figures


def _head_on(
    features: FloatArray,
    shown: Sequence[tuple[int, int]],
    labels: FloatArray,
    weights: FloatArray,
    held_out: int,
    objective: Objective,
    hidden: int,
    seed: int,
    progress: Progress,
) -> tuple[Head | Classifier, History]:
    """Fit a head on the maps of the photographs as shown; the first `held_out` maps are for validation."""
    rows = np.array([row for row, _ in shown])
    copies = np.bincount(rows, minlength=len(labels))
    own = (weights / np.maximum(copies, 1))[rows].astype(np.float32)
    split = {"training": np.arange(held_out, len(shown)), "validation": np.arange(held_out)}
    common: dict[str, Any] = {**split, "hidden": hidden, "seed": seed, "progress": progress}
    if objective.loss == "squared":
        return fit_head(features, labels[rows], own, **common)
    classes = objective.class_of(torch.from_numpy(labels[rows])).numpy()
    how: dict[str, Any] = {"count": objective.classes, "loss": objective.loss, "gamma": objective.gamma}
    return fit_classifier(features, classes, own, **how, **common)


def _seen(scorer: TransferredScorer, pixels: ByteArray, progress: Progress, each: Each | None) -> tuple[FloatArray, FloatArray]:
    """Return the head's first-layer sums (n, H) of photographs, and the means (n, C) of their maps over all cells."""
    z = np.empty((len(pixels), len(scorer.head.hidden_bias)), np.float32)
    means = np.empty((len(pixels), scorer.trunk.channels), np.float32)
    if (there := _elsewhere(each, scorer.trunk, pixels)) is not None:
        do, file = there
        for row, found in enumerate(do(sums_and_means, range(len(pixels)), Pixels(file, scorer=scorer), stage="features")):
            z[row], means[row] = found
        return z, means
    step = 2 * torch.get_num_threads()
    for start in range(0, len(pixels), step):
        part = slice(start, min(start + step, len(pixels)))
        maps = scorer.trunk.maps(np.ascontiguousarray(pixels[part]))
        z[part] = [first_sums(own, scorer.head) for own in maps]
        means[part] = maps.mean(axis=(2, 3), dtype=np.float64)
        progress("features", part.stop, len(pixels))
    return z, means


def _shares(scorer: TransferredScorer, means: FloatArray) -> FloatArray:
    """Return the grades' probabilities by a scorer's classifier, from the means (n, C) of its maps over all cells."""
    classifier = scorer.classifier
    assert classifier is not None
    weight = classifier.hidden_weight[:, :, 0, 0].astype(np.float64) * (scorer.grid[0] * scorer.grid[1])
    return classifier.probabilities(means @ weight.T + classifier.hidden_bias)


@contextmanager
def training_folder(work: Path | None) -> Iterator[Path]:
    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
        yield work
    else:
        # After an error, its traceback may still hold the map of a file, which Windows then cannot remove.
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
            yield Path(temporary)


def _elsewhere(each: Each | None, trunk: Trunk, pixels: ByteArray) -> tuple[Each, Path] | None:
    """Return what runs a trunk in other processes, and the file of the pixels; None if this process does it.

    A GPU runs several photographs at a time, with other rounding than one by one.
    """
    if each is None or trunk.device.type != "cpu" or not isinstance(pixels, np.memmap):
        return None
    return each, Path(str(pixels.filename))


def prepared_pixels(
    material: Material,
    size: int,
    preparation: str,
    folder: Path,
    code: str,
    progress: Progress,
    each: Each | None = None,
) -> ByteArray:
    """Prepare the photographs into a file of pixels (n, size, size, 3) and map it. A complete file is used again."""
    images, subject = material.images, material.scale.subject
    recipe = json.dumps([size, preparation, code, subject.name, [image.image_id for image in images]])
    path = folder / f"pixels-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}.npy"
    if not path.exists():
        aside = path.with_suffix(".part")
        pixels = np.lib.format.open_memmap(aside, "w+", np.uint8, (len(images), size, size, 3))
        prepare = each or in_threads(progress)
        for row, own in enumerate(prepare(prepared_for, images, (size, preparation, subject), stage="prepare")):
            pixels[row] = own
        pixels.flush()
        del pixels
        aside.replace(path)
    mapped: ByteArray = np.load(path, mmap_mode="r")
    return mapped


def _shown(
    training: IntArray, validation: IntArray, grades: IntArray, weights: FloatArray, augmentation: Augmentation, seed: int
) -> list[tuple[int, int]]:
    """List row and orientation of each picture for a frozen trunk: validation upright, training in several orientations."""
    shown = [(int(row), 0) for row in validation]
    counts = np.bincount(grades[training] - grades.min())
    rng = np.random.default_rng(seed)
    for row in training[weights[training] > 0]:
        copies = 1
        if augmentation == "flips-rotations":
            copies = int(np.clip(round(2 * counts.max() / counts[grades[row] - grades.min()]), 2, 8))
        shown += [(int(row), int(turn)) for turn in (0, *(1 + rng.permutation(7)[: copies - 1]))]
    return shown


def _maps(
    trunk: Trunk,
    pixels: ByteArray,
    shown: Sequence[tuple[int, int]],
    file: Path,
    progress: Progress,
    each: Each | None,
) -> FloatArray:
    """Return a trunk's maps (n, C, h, w) of pictures, mapped from a file: those of a large cohort do not fit in memory."""
    features = np.lib.format.open_memmap(file, "w+", np.float32, (len(shown), trunk.channels, *trunk.shape))
    if (there := _elsewhere(each, trunk, pixels)) is not None:
        do, kept = there
        for index, maps in enumerate(do(maps_shown, shown, Pixels(kept, trunk), stage="features")):
            features[index] = maps
        return features
    for index, (row, turn) in enumerate(shown):
        image = torch.from_numpy(np.array(pixels[row])).permute(2, 0, 1)[None]
        features[index] = trunk.maps(turned(image, [turn]).permute(0, 2, 3, 1).numpy())[0]
        progress("features", index + 1, len(shown))
    return features
