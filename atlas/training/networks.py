"""Complete networks: a trunk and its head trained together, from random or given weights, with or without teachers.

Teachers are scorers. A network learns their mean score more than the human grades, which are noisier, so that one network comes
close to several together (Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015). The first teacher also
shows a trunk that starts from random weights what to look for: the trunk learns to explain that teacher's last maps (Romero et
al., "FitNets", ICLR 2015).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from atlas.agreement.evaluation import spearman
from atlas.errors import TrainingError
from atlas.progress import Progress, silent
from atlas.records import Augmentation, ByteArray, FloatArray, IntArray
from atlas.scorers.readouts import Classifier, Head, for_all_cells, on_means, weighs_cells_alike
from atlas.scorers.transferred import TransferredScorer
from atlas.scorers.trunks import TRUNKS, new_module
from atlas.training.augmentations import augmented, batch_of, resized
from atlas.training.course import Step, fingerprint_of, learn_best
from atlas.training.heads import History
from atlas.training.losses import Objective, place_of, weighted_mean
from atlas.training.steps import adamw, digest_of

_SQUARED = Objective()

_GROWTH = ((0.5, 0.6), (0.8, 0.8), (1.0, 1.0))  # until this share of the epochs, this share of the side

_GRADES_SHARE = 0.3  # weight of the human grades in the loss if there are teachers

_FEATURE_SHARE = 0.3  # weight of the teacher's maps in the loss at the start; it falls to 0 during training

_DROPOUT = 0.3  # share of a pooled head's inputs hidden at each step

_WARM_UP = 0.1  # share of all steps over which the learning rate rises


@dataclass(frozen=True, eq=False)
class EndToEnd:
    """The result of a training. `module` is a plain spatial module, as in `TRUNKS`; `best_epoch` counts from 0."""

    module: nn.Module
    head: Head | Classifier
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
    start: Mapping[str, Tensor] | None = None,
    teachers: Sequence[TransferredScorer] = (),
    pooled: bool = False,
    growing: bool = False,
    epochs: int = 12,
    batch: int = 32,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.05,
    cell_dropout: float = 0.1,
    hidden: int = 64,
    augmentation: Augmentation = "flips-rotations",
    objective: Objective = _SQUARED,
    device: str = "cpu",
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Progress = silent,
) -> EndToEnd:
    """Train a trunk and a head together; the epoch that ranks the validation photographs best is kept.

    A running average of the weights is evaluated, by Spearman's rank correlation, and kept. The loss would depend on a few
    photographs of the rarest grades, and on how the scores are stretched, which calibration corrects afterwards.

    A network that starts from random weights and has no normalisation of its own gets one after each convolution while it
    learns; it is folded into the convolution at the end, so that the weights fit the plain network. Complete cells of the last
    maps are dropped at random, so that the network learns to score with hidden cells, as in the occlusion test. Convolutions run
    in bfloat16, sums and weights in float32.

    Parameters
    ----------
    name : str
        An entry of `TRUNKS`, or `timm:NAME`.
    pixels : ByteArray
        uint8 (n, S, S, 3) prepared photographs, may be a memory map.
    unit_labels : FloatArray
        (n,) in 0..1, see `Scale.to_unit`.
    weights : FloatArray
        (n,), weights of the photographs.
    training : IntArray
        Rows of `pixels` to learn from.
    validation : IntArray
        Rows of `pixels` to validate on.
    start : Mapping[str, Tensor] or None
        Weights of the trunk to start from, as `Trunk.state_dict` gives them; random ones if not given.
    teachers : Sequence[TransferredScorer]
        Scorers with pooled heads. Their mean score is learned as well as the grades and, at first and without `start`, the maps
        of the first one. Each sees the pictures at the size that it learned on.
    pooled : bool
        Whether the head's first layer has equal weights for all cells: far fewer weights, for a small number of photographs.
    growing : bool
        Whether to begin with small pictures, for half of the epochs at 0.6 of the side: the same result sooner. Only epochs at
        the full side are validated; the figures of the others are NaN.
    epochs : int
        Number of epochs.
    batch : int
        Number of photographs per step.
    learning_rate : float
        The highest learning rate. It rises over the first tenth of all steps and then falls to 0 along a cosine.
    weight_decay : float
        Strength of AdamW's weight decay.
    cell_dropout : float
        Share of cells that are dropped at each step.
    hidden : int
        Number of the head's hidden units.
    augmentation : Augmentation
        See `augmentations.augmented`.
    objective : Objective
        The loss. Teachers need the squared error.
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
    EndToEnd
        The trunk and the head of the best epoch.

    Raises
    ------
    TrainingError
        If there is nothing to learn from or to validate on, if a growing network or a teacher has no pooled head, or if the
        checkpoint belongs to another training.
    """
    rows, held_out = training[weights[training] > 0], validation[weights[validation] > 0]
    if rows.size < 2 or np.ptp(unit_labels[rows]) == 0 or held_out.size == 0:
        raise TrainingError(
            f"{rows.size} photographs to learn from and {held_out.size} to validate on, or one grade only",
            "add graded photographs of other grades and other patients",
        )
    if growing and not pooled:
        raise TrainingError("a head with weights for each cell cannot learn from growing pictures", "ask for a pooled head")
    if teachers and objective.loss != "squared":
        raise TrainingError("a teacher's scores are learned with squared error", "leave out either --loss or --teacher")
    side = pixels.shape[1]
    recipe = [name, epochs, batch, learning_rate, weight_decay, cell_dropout, hidden, augmentation, seed, list(pixels.shape)]
    recipe += [pooled, growing, None if start is None else digest_of(start), [one.sha256 for one in teachers] or None]
    recipe += [str(objective), device]
    fingerprint = fingerprint_of(recipe, rows, held_out, unit_labels, weights)
    module = new_module(name, seed)
    if start is None:
        module = with_normalisation(module)
    else:
        module.load_state_dict(start)
    network = Network(name, module, side, hidden, seed=seed, pooled=pooled, outputs=objective.outputs)
    network = network.to(device).to(memory_format=torch.channels_last)
    lesson = _Distillation(teachers, network.cells[0] if start is None else None, seed, device) if teachers else None
    learners = nn.ModuleDict({"network": network} if lesson is None else {"network": network, "lesson": lesson.learners})

    def step_of(chosen: IntArray, generator: torch.Generator, epoch: int, done: float) -> Step:
        size = _grown(side, TRUNKS[name].stride, epoch / epochs) if growing else side
        images = augmented(batch_of(pixels, chosen).to(device), augmentation, generator)
        maps = network.maps(resized(images, size))
        outputs = network.outputs(maps, cell_dropout, generator)
        graded = loss = _weighted_loss(objective, outputs, unit_labels[chosen], weights[chosen])
        if lesson is not None:
            severity = place_of(outputs)
            loss = _GRADES_SHARE * graded + lesson.loss(images, maps, severity, weights[chosen], _FEATURE_SHARE * (1 - done))
        return Step(loss, graded)

    def judge(judged: Network, epoch: int) -> dict[str, float]:
        held_loss = held_rank = math.nan
        if not growing or _grown(side, TRUNKS[name].stride, epoch / epochs) == side:
            held_loss, held_rank = _judged(judged, objective, pixels, unit_labels, weights, held_out)
        return {"validation_loss": held_loss, "validation_spearman": held_rank}

    state = learn_best(
        network,
        learners,
        adamw(learners, learning_rate, weight_decay),
        rows,
        step_of,
        judge,
        epochs=epochs,
        batch=batch,
        per_epoch=math.ceil(rows.size / batch),
        warm_up=_WARM_UP,
        seed=seed,
        device=device,
        fingerprint=fingerprint,
        checkpoint=checkpoint,
        progress=progress,
    )
    network.cpu()
    return EndToEnd(fold_normalisation(network.trunk), network.head(), tuple(state.history), state.best_epoch)


def with_normalisation(module: nn.Module) -> nn.Module:
    """Add batch normalisation after each convolution, in place; a network that has normalisation is left unchanged."""
    if any(isinstance(part, nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm) for part in module.modules()):
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


class Network(nn.Module):
    """Trunk and head as one module: pixels (n, 3, S, S), 0..255, to last maps, and those to outputs (n, K)."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        trunk: nn.Module,
        size: int,
        hidden: int,
        *,
        seed: int,
        pooled: bool,
        outputs: int = 1,
        always_bfloat16: bool = False,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.pooled = pooled
        self.always_bfloat16 = always_bfloat16  # bfloat16 also outside training
        with torch.no_grad():
            self.cells = tuple(self.trunk.eval()(torch.zeros(1, 3, size, size)).shape[1:])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = nn.Linear(self.cells[0] if pooled else math.prod(self.cells), hidden)
            self.second = nn.Linear(hidden, outputs)
        self.register_buffer("mean", torch.tensor(TRUNKS[name].mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(TRUNKS[name].std).view(3, 1, 1), persistent=False)

    def maps(self, images: Tensor) -> Tensor:
        """Return the trunk's last maps (n, C, h, w), float32."""
        normal = ((images.float() / 255 - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.training or self.always_bfloat16):
            maps: Tensor = self.trunk(normal)
        return maps.float()

    def outputs(self, maps: Tensor, cell_dropout: float = 0.0, generator: torch.Generator | None = None) -> Tensor:
        """Return the outputs (n, K) of maps."""
        if cell_dropout and self.training:
            kept = torch.rand(len(maps), 1, *maps.shape[2:], generator=generator) >= cell_dropout
            maps = maps * kept.to(maps.device) / (1 - cell_dropout)
        seen = maps.mean((2, 3)) if self.pooled else maps.flatten(1)
        if self.pooled and self.training:
            seen = seen * (torch.rand(seen.shape, generator=generator) >= _DROPOUT).to(seen.device) / (1 - _DROPOUT)
        outputs: Tensor = self.second(torch.relu(self.first(seen)))
        return outputs

    def severity(self, maps: Tensor) -> Tensor:
        """Return the severities (n,) of maps, in 0..1."""
        return place_of(self.outputs(maps))

    def head(self) -> Head | Classifier:
        """Return the head as it reads the maps; that of a pooled network has equal weights for all cells."""
        first, second = self.first, self.second
        weight, bias, output, last = (t.detach().numpy().copy() for t in (first.weight, first.bias, second.weight, second.bias))
        own = weight[:, :, None, None] if self.pooled else weight.reshape(-1, *self.cells)
        _, rows, columns = self.cells
        if len(last) > 1:
            classifier = Classifier(own, bias, output, last)
            return for_all_cells(classifier, (rows, columns)) if self.pooled else classifier
        head = Head(own, bias, output[0], float(last[0]))
        return for_all_cells(head, (rows, columns)) if self.pooled else head

    @torch.no_grad()
    def set_head(self, head: Head) -> None:
        """Set the weights of a pooled head, as `head` returns them."""
        self.first.weight.copy_(torch.from_numpy(on_means(head, (self.cells[1], self.cells[2])).hidden_weight[:, :, 0, 0]))
        self.first.bias.copy_(torch.from_numpy(head.hidden_bias))
        self.second.weight.copy_(torch.from_numpy(head.output_weight)[None])
        self.second.bias.fill_(head.output_bias)


class _Distillation:
    """The loss of a learner against its teachers' scores of the same pictures.

    Parameters
    ----------
    teachers : Sequence[TransferredScorer]
        The teachers.
    channels : int or None
        Number of the learner's maps, which should explain the first teacher's; None if they need not.
    seed : int
        Decides everything random.
    device : str
        Where the learner learns.
    """

    def __init__(self, teachers: Sequence[TransferredScorer], channels: int | None, seed: int, device: str) -> None:
        self.networks = [_as_network(teacher).to(device) for teacher in teachers]
        self.sizes = [teacher.trunk.size for teacher in teachers]
        self.learners = nn.ModuleDict()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            if channels is not None:
                self.learners["explain"] = nn.Conv2d(channels, self.networks[0].cells[0], 1)
            # Teachers' logits were calibrated, the learner's not yet, so its logit is stretched and shifted for the comparison.
            self.learners["reading"] = reading = nn.Linear(1, 1)
        nn.init.ones_(reading.weight)
        nn.init.zeros_(reading.bias)
        self.learners.to(device)

    def loss(self, images: Tensor, maps: Tensor, severity: Tensor, weights: FloatArray, share: float) -> Tensor:
        """Return the weighted squared error to the teachers' mean logit as a severity, plus a share of the first one's maps.

        The second part is `share` times the variance of the first teacher's maps that the learner does not explain.
        """
        with torch.no_grad():
            seen = [one.maps(resized(images, size)) for one, size in zip(self.networks, self.sizes, strict=True)]
            logits = [torch.logit(one.severity(own), 1e-6) for one, own in zip(self.networks, seen, strict=True)]
            taught = torch.sigmoid(torch.stack(logits).mean(0))
        owed = torch.sigmoid(self.learners["reading"](torch.logit(severity, 1e-6)[:, None])[:, 0])
        loss = weighted_mean((owed - taught) ** 2, weights)
        if "explain" in self.learners:
            shown = functional.adaptive_avg_pool2d(seen[0], (maps.shape[2], maps.shape[3]))
            variance, mean = torch.var_mean(shown, dim=(0, 2, 3), keepdim=True)
            shown = (shown - mean) / (variance + 1e-3 * variance.mean() + 1e-12).sqrt()
            loss = loss + share * ((self.learners["explain"](maps) - shown) ** 2).mean()
        return loss


def _as_network(teacher: TransferredScorer) -> Network:
    trunk, head = teacher.trunk, teacher.regressor
    if not weighs_cells_alike(head.hidden_weight):
        raise TrainingError(
            f"scorer {teacher.name} has different weights for each cell, so it cannot teach on turned and shifted pictures",
            "choose a teacher that was fine-tuned, with a pooled head",
        )
    module = new_module(trunk.name, 0)
    module.load_state_dict(trunk.state_dict())
    network = Network(trunk.name, module, trunk.size, len(head.hidden_bias), seed=0, pooled=True, always_bfloat16=True)
    network.set_head(head)
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def _grown(side: int, stride: int, done: float) -> int:
    share = next(share for until, share in _GROWTH if done < until)
    return min(side, max(3 * stride, round(side * share / stride) * stride))  # from smaller ones some trunks make no cell


def _weighted_loss(objective: Objective, outputs: Tensor, places: FloatArray, weights: FloatArray) -> Tensor:
    return weighted_mean(objective.of(outputs, torch.from_numpy(places).to(outputs.device)), weights)


@torch.no_grad()
def _judged(
    network: Network,
    objective: Objective,
    pixels: ByteArray,
    places: FloatArray,
    weights: FloatArray,
    rows: IntArray,
    batch: int = 32,
) -> tuple[float, float]:
    """Return the loss of some photographs, and the rank correlation of their severities with their labels (0 if undefined)."""
    network.eval()
    device = network.mean.device
    pictures = (batch_of(pixels, rows[start : start + batch]).to(device) for start in range(0, rows.size, batch))
    outputs = torch.cat([network.outputs(network.maps(own)).cpu() for own in pictures])
    rank = spearman(place_of(outputs).numpy(), places[rows])
    return float(_weighted_loss(objective, outputs, places[rows], weights[rows])), rank if math.isfinite(rank) else 0.0
