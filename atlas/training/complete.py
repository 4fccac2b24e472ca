"""Complete networks of `NETWORKS`: trunk and head trained together, and measured as their bundle will hold them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from atlas.agreement.evaluation import spearman
from atlas.bundles import stored
from atlas.errors import TrainingError
from atlas.progress import Progress, silent
from atlas.records import Augmentation, ByteArray, Dataset, FloatArray, IntArray, Loss
from atlas.scorers.networks import NETWORKS, MapsPrediction, NetworkScorer, untrained
from atlas.scorers.protocol import Background
from atlas.scorers.specs import normalised
from atlas.tasks import Each
from atlas.training.augmentations import augmented, batch_of
from atlas.training.calibration import read_by_severities
from atlas.training.course import Step, fingerprint_of, learn_best
from atlas.training.frozen import KeptMaps, frozen_part, keep_maps, last_maps
from atlas.training.heads import History
from atlas.training.losses import GAMMA, Objective, balance_for, place_of, two_classes, weighted_mean
from atlas.training.material import Material
from atlas.training.scorers import prepared_pixels, training_folder
from atlas.training.splits import Balance
from atlas.training.steps import adamw, digest_of

_FROM_SCRATCH, _STARTED = 1e-3, 3e-4  # learning rates: a higher one would destroy what given weights know

_WEIGHT_DECAY, _WARM_UP, _BATCH = 0.05, 0.1, 16


class _Complete(nn.Module):
    """Trunk and head as one module: pixels (n, 3, S, S), 0..255, to outputs (n, K)."""

    def __init__(self, network: str, trunk: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head
        self._spec = NETWORKS[network]

    def forward(self, seen: Tensor | Sequence[Tensor]) -> Tensor:
        """Map pictures, or the maps of a frozen encoder, to outputs."""
        if isinstance(seen, Tensor):
            normal = normalised(seen / 255, self._spec).contiguous(memory_format=torch.channels_last)
            with torch.autocast(seen.device.type, torch.bfloat16, enabled=self.training):
                maps = self.trunk(normal)
        else:
            with torch.autocast(seen[0].device.type, torch.bfloat16, enabled=self.training):
                maps = last_maps(self.trunk, [one.contiguous(memory_format=torch.channels_last) for one in seen])
        outputs: Tensor = self.head(maps.float())
        return outputs


@dataclass(frozen=True, eq=False)
class Trained:
    """The result of a training; modules in evaluation mode on the CPU, `best_epoch` counts from 0."""

    trunk: nn.Module
    head: nn.Module
    history: History
    best_epoch: int


def started(network: str, outputs: int, seed: int, start: Mapping[str, Tensor]) -> tuple[nn.Module, nn.Module, tuple[str, ...]]:
    """Build an entry of `NETWORKS` with weights from elsewhere; what these do not hold, or in another shape, is random.

    So a network goes on from one that was trained for another number of grades: only its last layer begins again.

    Parameters
    ----------
    start : Mapping[str, Tensor]
        Weights, whose names begin with `trunk.` or `head.`; may be empty.

    Returns
    -------
    tuple[nn.Module, nn.Module, tuple[str, ...]]
        Trunk, head, and the names of weights that are random though others were given.
    """
    trunk, head = untrained(network, outputs, seed)
    both = nn.ModuleDict({"trunk": trunk, "head": head})
    own = both.state_dict()
    given = {name: tensor for name, tensor in start.items() if name in own and own[name].shape == tensor.shape}
    both.load_state_dict({**own, **given})
    return trunk, head, tuple(name for name in own if given and name not in given)


def train_network(
    network: str,
    pixels: ByteArray,
    places: FloatArray,
    weights: FloatArray,
    *,
    training: IntArray,
    validation: IntArray,
    objective: Objective,
    start: Mapping[str, Tensor] | None = None,
    kept: KeptMaps | None = None,
    epochs: int = 12,
    batch: int = _BATCH,
    learning_rate: float = _STARTED,
    augmentation: Augmentation = "flips-rotations",
    device: str = "cpu",
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Progress = silent,
) -> Trained:
    """Train an entry of `NETWORKS`; the epoch that ranks the validation photographs best is kept.

    A running average of the weights is validated, by Spearman's rank correlation, and kept. Convolutions run in bfloat16, sums
    and weights in float32.

    Parameters
    ----------
    network : str
        An entry of `NETWORKS`.
    pixels : ByteArray
        uint8 (n, S, S, 3) prepared photographs, may be a memory map.
    places : FloatArray
        float32 (n,), places of the grades, or of the two classes, on the scale, 0..1.
    weights : FloatArray
        float32 (n,), weights of the photographs.
    training : IntArray
        Rows of `pixels` to learn from.
    validation : IntArray
        Rows of `pixels` to validate on.
    objective : Objective
        The loss.
    start : Mapping[str, Tensor] or None
        See `started`.
    kept : KeptMaps or None
        The maps of the network's encoder for all photographs: then the encoder does not learn, and no picture is looked at.
    epochs : int
        Number of epochs.
    batch : int
        Number of photographs per step.
    learning_rate : float
        The highest learning rate. It rises over the first tenth of all steps and then falls to 0 along a cosine.
    augmentation : Augmentation
        See `augmentations.augmented`.
    device : str
        Where the network learns, "cpu" or "cuda".
    seed : int
        Decides everything random.
    checkpoint : Path or None
        A file, replaced after each epoch. Interrupted training continues from it with the same result.
    progress : Progress
        Called after each step.

    Returns
    -------
    Trained
        The network of the best epoch. Its history has the loss and the accuracy of each epoch on training and validation
        photographs; those of training are measured while the network learns, on photographs that are varied.

    Raises
    ------
    TrainingError
        If there is nothing to learn from or to validate on, no epoch can rank the validation photographs, the checkpoint belongs
        to another training, or photographs of which only maps are kept should be moved or cropped.
    """
    rows, held_out = training[weights[training] > 0], validation[weights[validation] > 0]
    if rows.size < 2 or np.ptp(places[rows]) == 0 or held_out.size == 0:
        raise TrainingError(
            f"{rows.size} photographs to learn from and {held_out.size} to validate on, or all of one grade",
            "add graded photographs of other grades and other patients",
        )
    trunk, head, _ = started(network, objective.outputs, seed, start or {})
    if kept is not None:
        if augmentation not in ("flips-rotations", "none"):
            raise TrainingError(
                f'behind a frozen encoder, nothing can be learned from "{augmentation}" photographs',
                "give --augmentation flips-rotations or none",
            )
        frozen_part(trunk).requires_grad_(False)
    recipe: list[Any] = [network, str(objective), epochs, batch, learning_rate, augmentation, device, seed, list(pixels.shape)]
    recipe += [digest_of(start) if start else None, *([] if kept is None else ["frozen"])]
    fingerprint = fingerprint_of(recipe, rows, held_out, places, weights)
    learner = _Complete(network, trunk, head).to(device).to(memory_format=torch.channels_last)

    def step_of(chosen: IntArray, generator: torch.Generator, epoch: int, done: float) -> Step:
        own = torch.from_numpy(places[chosen]).to(device)
        if kept is None:
            outputs = learner(augmented(batch_of(pixels, chosen).to(device), augmentation, generator))
        else:
            turns = torch.randint(8, (len(chosen),), generator=generator).tolist() if augmentation != "none" else None
            outputs = learner([level.to(device) for level in kept.of(chosen, turns)])
        loss = weighted_mean(objective.of(outputs, own), weights[chosen])
        return Step(loss, loss, _right(objective, outputs.detach(), own))

    def judge(judged: _Complete, epoch: int) -> dict[str, float]:
        return _judged(judged, objective, pixels, places, weights, held_out, device, kept)

    state = learn_best(
        learner,
        learner,
        adamw(learner, learning_rate, _WEIGHT_DECAY),
        rows,
        step_of,
        judge,
        epochs=epochs,
        batch=batch,
        per_epoch=max(1, rows.size // batch),  # a last batch of few photographs would disturb the normalisation
        warm_up=_WARM_UP,
        seed=seed,
        device=device,
        fingerprint=fingerprint,
        checkpoint=checkpoint,
        progress=progress,
    )
    learner.cpu().to(memory_format=torch.contiguous_format).eval()
    return Trained(learner.trunk, learner.head, tuple(state.history), state.best_epoch)


@torch.no_grad()
def _judged(
    learner: _Complete,
    objective: Objective,
    pixels: ByteArray,
    places: FloatArray,
    weights: FloatArray,
    rows: IntArray,
    device: str,
    kept: KeptMaps | None,
    batch: int = 16,
) -> dict[str, float]:
    """Return loss, accuracy and rank correlation (0 if undefined) of some photographs."""
    learner.eval()
    parts = [rows[start : start + batch] for start in range(0, rows.size, batch)]

    def shown(part: IntArray) -> Tensor | list[Tensor]:
        if kept is not None:
            return [level.to(device) for level in kept.of(part)]
        return batch_of(pixels, part).float().to(device)

    outputs, own = torch.cat([learner(shown(part)).cpu() for part in parts]), torch.from_numpy(places[rows])
    rank = spearman(place_of(outputs).numpy(), places[rows])
    return {
        "validation_loss": float(weighted_mean(objective.of(outputs, own), weights[rows])),
        "validation_accuracy": _right(objective, outputs, own) / rows.size,
        "validation_spearman": rank if math.isfinite(rank) else 0.0,
    }


def _right(objective: Objective, outputs: Tensor, places: Tensor) -> int:
    """Return how many photographs are given their class: the likeliest, or with one output, the nearest."""
    given = objective.class_of(place_of(outputs)) if outputs.shape[1] == 1 else outputs.argmax(1)
    return int((given == objective.class_of(places)).sum())


def train_network_scorer(
    dataset: Dataset,
    *,
    name: str,
    network: str,
    loss: Loss = "cross-entropy",
    gamma: float = GAMMA,
    two: bool = False,
    start: Mapping[str, Tensor] | None = None,
    began: str = "random weights",
    earlier: Sequence[Background] = (),
    frozen: bool = False,
    size: int | None = None,
    preparation: str | None = None,
    balance: Balance = "weight",
    augmentation: Augmentation | None = None,
    epochs: int = 12,
    batch: int = _BATCH,
    device: str = "cpu",
    seed: int = 0,
    source: str = "Not stated.",
    further: Sequence[str] = (),
    command: str = "",
    work: Path | None = None,
    shared: Path | None = None,
    code: str = "",
    each: Each | None = None,
    progress: Progress = silent,
) -> NetworkScorer:
    """Train an entry of `NETWORKS` on the graded photographs of a dataset, split as in `train_scorer`.

    The returned scorer has weights of half precision, as in its bundle, and was measured with them. Other parameters are as in
    `train_scorer` and `train_network`.

    Parameters
    ----------
    loss : Loss
        "squared" gives the network a single output, which a sigmoid reads. Any other gives it a softmax.
    two : bool
        Whether to learn two classes, referable or not, instead of one for each grade.
    began : str
        What `start` is, for the card.
    earlier : Sequence[Background]
        The scorer that it goes on from, if any: it has learned from the photographs of that one, too.
    frozen : bool
        Whether its encoder stays as it is. Then its maps of each photograph are computed once, at half precision, and scores for
        the card are computed from these. See `frozen`.
    size : int or None
        Side of the prepared square in pixels; that of the network's entry if not given. Likewise `preparation` and
        `augmentation`.
    shared : Path or None
        Folder for prepared pixels and a frozen encoder's maps, which several trainings on the same photographs can use; that of
        `work` if not given.
    each : Each or None
        Does what is work on single photographs, each on one thread: to prepare them, and to run a network that does not learn on
        them, unless it is on a GPU. Without it, this process does.

    Raises
    ------
    TrainingError
        If there is one grade only, too few patients, no referable grade for two classes, or as `train_network` does.
    UnreadableImageError
        If a photograph cannot be decoded.
    """
    spec, scale = NETWORKS[network], dataset.scale
    if two and scale.referable is None:
        raise TrainingError("two classes need a grade from which disease is referable", "name it: referable, under [scale]")
    material = Material.of(dataset, balance_for(loss, balance), seed)
    places = material.labels if not two or scale.referable is None else two_classes(material.grades, scale.referable)
    objective = Objective(loss, gamma, 2 if two else len(scale.names))
    size, preparation, augmentation = size or spec.size, preparation or spec.preparation, augmentation or spec.augmentation
    if frozen and not (start and spec.encoder):
        raise TrainingError(
            f"the encoder of network {network} has no weights to stay as they are", "give --start, or leave --freeze-encoder out"
        )
    rate = _STARTED if start and not frozen else _FROM_SCRATCH
    with training_folder(work) as folder:
        pixels = prepared_pixels(material, size, preparation, shared or folder, code, progress, each)
        kept = None
        if frozen:
            trunk, _, _ = started(network, objective.outputs, seed, start or {})
            made_from = [code, preparation, *(image.image_id for image in material.images)]
            kept = keep_maps(network, trunk, pixels, shared or folder, made_from=made_from, each=each, progress=progress)
        fit = train_network(
            network,
            pixels,
            places,
            material.weights,
            training=material.training,
            validation=material.validation,
            objective=objective,
            start=start,
            kept=kept,
            epochs=epochs,
            batch=batch,
            learning_rate=rate,
            augmentation=augmentation,
            device=device,
            seed=seed,
            checkpoint=folder / "checkpoint.pt",
            progress=progress,
        )
        for module in (fit.trunk, fit.head):
            module.load_state_dict({key: _rounded(tensor) for key, tensor in module.state_dict().items()})
        outputs = 0 if objective.outputs == len(scale.names) else objective.outputs
        scorer = NetworkScorer(name, network, fit.trunk.to(device), fit.head, scale, preparation, size, outputs)
        target = scorer.targets[0].name
        if kept is None and each is not None and device == "cpu" and isinstance(pixels, np.memmap):
            judging = Judging(scorer, Path(str(pixels.filename)))
            judged = list(each(judge, range(len(pixels)), judging, stage="scores"))
        else:
            judged = []
            for row in range(len(pixels)):
                seen = scorer.look(np.ascontiguousarray(pixels[row])) if kept is None else read_kept(scorer, kept, row)
                judged.append((seen.severity[target], seen.probabilities[target]))
                progress("scores", row + 1, len(pixels))
        severity, shares = np.array([one for one, _ in judged], np.float32), [own for _, own in judged]
        del pixels, kept  # Windows cannot remove a file that is still mapped, and the folder may be a temporary one
    fit.trunk.cpu()
    best = fit.history[fit.best_epoch]
    fresh = started(network, objective.outputs, seed, start or {})[2] if earlier else ()
    recipe: dict[str, Any] = {
        "form": "network",
        "network": network,
        "loss": loss,
        **({"gamma": gamma} if loss == "focal" else {}),
        "classes": objective.classes,
        **({"two_classes": True} if two else {}),
        "start": began,
        **({"encoder": "frozen"} if frozen else {}),
        **({"random_layers": ", ".join(sorted({part.rpartition(".")[0] for part in fresh}))} if fresh else {}),
        "augmentation": augmentation,
        "epochs": epochs,
        "batch": batch,
        "device": device,
        "best_epoch": 1 + fit.best_epoch,
        "validation_loss": round(best["validation_loss"], 5),
        "history": [{figure: round(value, 4) for figure, value in row.items()} for row in fit.history],
        "command": command,
        "sources": source,
        "further": list(further),
    }
    return read_by_severities(scorer, severity, material, recipe, earlier, probabilities=np.stack(shares))


@dataclass(frozen=True, eq=False)
class Judging:
    """A scorer, on the CPU, and a file of prepared photographs (n, S, S, 3) that it looks at."""

    scorer: NetworkScorer
    pixels: Path


def judge(row: int, judging: Judging) -> tuple[float, FloatArray]:
    """Return severity and probabilities of a photograph, given its row. A task, which other processes can do."""
    seen = judging.scorer.look(np.array(np.load(judging.pixels, mmap_mode="r")[row]))
    target = judging.scorer.targets[0].name
    return seen.severity[target], seen.probabilities[target]


def read_kept(scorer: NetworkScorer, kept: KeptMaps, row: int) -> MapsPrediction:
    """Read a photograph whose maps by the scorer's frozen encoder are known."""
    device = next(scorer.trunk.parameters()).device
    with torch.inference_mode():
        maps = last_maps(scorer.trunk, [level.to(device) for level in kept.of(np.array([row]))])
    return scorer.read(maps[0].cpu().numpy())


def _rounded(tensor: Tensor) -> Tensor:
    return torch.from_numpy(stored(tensor.numpy(), half=True)).to(tensor.dtype)
