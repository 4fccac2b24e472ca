"""Training an evidence scorer: grades teach how much evidence an eye holds, and lesions teach where it lies.

The loss has four parts. The first is the squared error of severities plus the cross entropy of referable disease. The second
rewards evidence on lesions that a person boxed or, in diseased eyes without boxes, that a lesion net finds: the strongest place,
and the evidence as a sum, should lie on lesions, and on pale ones if there are any, because blood is often blurred. The third, an
L1 term, keeps evidence sparse. The fourth makes the network keep the kinds of lesion that the net it started from can find.

Sets of photographs are graded by different people and taken with different cameras. While the network learns, each set has its
own shift, so that evidence need not explain who graded. The shifts are discarded afterwards.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit
from torch import Tensor, nn
from torch.nn import functional

from atlas.cohort.lesions import coarsely
from atlas.errors import TrainingError
from atlas.lesionnets.networks import GRID, LesionModule
from atlas.photographs.preparations import normalised_pixels
from atlas.progress import Progress, silent
from atlas.records import BoolArray, Dataset, FloatArray
from atlas.scorers.evidence import EvidenceModule, EvidenceScorer, rising_head
from atlas.scorers.protocol import Background
from atlas.scorers.readouts import Head, severity_of_logit
from atlas.training.calibration import calibrate, read_by_severities
from atlas.training.course import learn, prepared
from atlas.training.lesions import Pupil, Shown, as_input, show
from atlas.training.material import Material
from atlas.training.splits import Balance
from atlas.training.steps import digest_of

_REFERABLE = 0.5  # weight of the cross entropy of referable disease

_PLACED, _ALL_PLACED = 0.3, 0.3  # weight of evidence off lesions, and in it, of all evidence beside the strongest place

_SPARSE = 0.02  # weight of the sum of all evidence, in logits

_KINDS, _PER_PHOTOGRAPH = 0.3, 1 / 400  # weight of the kinds of lesion, and of one place's loss

_SHARPNESS = 10.0  # of the softmax that picks the strongest place

_SEEN, _SURE, _CLEAR = 0.2, 0.3, 0.5  # probabilities: no lesion below the first; an eye with none above the second is not used

_FLAT = 0.25  # share of photographs shown with each channel's histogram equalised, as some publishers do

_RATE, _READER_RATE, _WARM_UP = 4e-4, 3e-3, 0.03

KNEES = 2.0 ** np.arange(0, 6)
"""Sums of evidence at which a head's curve may begin to flatten. A smaller one fits as well, but overrates very little evidence:
combined with `eyepacs-pair`, it lowered the AUC on the validation photographs of EyePACS by 0.011."""

_BOUNDS = ((-4.0, 2.0), (-8.0, 4.0))  # bounds of the logarithm of a head's stretch, and of its bias

_PATIENCE = {"maxiter": 400, "xatol": 1e-4, "fatol": 1e-6}

_LIKELY, _OF_A_KIND = 1.0, 3.0  # evidence begins where a kind's logit exceeds minus the first; its slope is the second

_PALE = ("hard_exudate", "cotton_wool_spot")


@dataclass(frozen=True)
class Lesson:
    """A graded photograph to learn from.

    Parameters
    ----------
    pupil : Pupil
        The photograph, and its boxes.
    place : float
        Place of its grade on the scale, 0 to 1.
    referable : bool
        Whether the grade is referable.
    site : int
        Number of its set of photographs.
    share : float
        How often it is drawn, relative to others.
    """

    pupil: Pupil
    place: float
    referable: bool
    site: int
    share: float


_Batch = tuple[list[Lesson], list[Shown], list[Shown]]
"""Lessons, the photographs as the teacher sees them, and as the learner does."""


class _Learner(nn.Module):
    """All parameters that are learned: of the evidence, its bias, a shift for each set, and of reading referable disease."""

    def __init__(self, kinds: int, sites: int) -> None:
        super().__init__()
        self.evidence = EvidenceModule(kinds)
        self.bias = nn.Parameter(torch.tensor(-1.8))
        self.shifts = nn.Parameter(torch.zeros(sites))
        self.referable = nn.Parameter(torch.tensor([1.5, 0.5]))

    def logits(self, evidence: Tensor, sites: Tensor) -> Tensor:
        shifts = self.shifts - self.shifts.mean()
        return self.bias + shifts[sites] + evidence.sum((1, 2, 3))


def train_evidence(
    lessons: Sequence[Lesson],
    kinds: Sequence[str],
    *,
    start: Mapping[str, Tensor],
    span: int = 4,
    epochs: int = 5,
    photographs: int = 1400,
    batch: int = 4,
    seed: int = 0,
    device: str = "cpu",
    checkpoint: Path | None = None,
    progress: Progress = silent,
) -> tuple[EvidenceModule, float]:
    """Train the network of an evidence scorer.

    Parameters
    ----------
    lessons : Sequence[Lesson]
        Photographs to learn from.
    kinds : Sequence[str]
        Kinds of lesion, in the order of the maps of the net that it starts from.
    start : Mapping[str, Tensor]
        Weights of a lesion net, or of an earlier evidence network.
    span : int
        Difference between the highest and the lowest grade.
    epochs : int
        Number of epochs.
    photographs : int
        Number of photographs shown in an epoch, drawn by their shares.
    batch : int
        Number of photographs per step.
    seed : int
        Decides everything random.
    device : str
        "cpu" or "cuda".
    checkpoint : Path or None
        A file, replaced after each epoch. Interrupted training continues from it with the same result.
    progress : Progress
        Called after each step.

    Returns
    -------
    tuple[EvidenceModule, float]
        The network, with a running average of its weights, and its bias.

    Raises
    ------
    TrainingError
        If there is nothing to learn from or one grade only, if the weights do not fit, or if the checkpoint belongs to another
        training.
    """
    if not lessons or len({one.place for one in lessons}) < 2:
        raise TrainingError("there are no photographs of two grades to learn from", "give photographs with their grades")
    sites = 1 + max(one.site for one in lessons)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        learner = _Learner(len(kinds), sites)
    bias = _begin(learner, start)
    teacher = copy.deepcopy(learner.evidence.base).eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
    if bias is not None:
        learner.bias.data.fill_(bias)
    learner = learner.to(device).to(memory_format=torch.channels_last)
    per_epoch = math.ceil(photographs / batch)
    trunk = list(learner.evidence.base.parameters())
    others = [one for name, one in learner.named_parameters() if not name.startswith("evidence.base")]
    rates = (_RATE, _READER_RATE) if bias is None else (_RATE / 4, _READER_RATE / 4)
    groups = [{"params": own, "lr": rate} for own, rate in zip((trunk, others), rates, strict=True)]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.02)

    def loss(batch: _Batch) -> Tensor:
        return _loss(learner, teacher, *batch, kinds, span, device)

    learned = learn(
        learner,
        optimizer,
        lambda epoch: _lessons(lessons, kinds, batch, per_epoch, seed, epoch),
        loss,
        epochs=epochs,
        per_epoch=per_epoch,
        warm_up=_WARM_UP,
        recipe=[list(kinds), epochs, photographs, batch, seed, digest_of(start), [str(one) for one in lessons]],
        checkpoint=checkpoint,
        progress=progress,
    ).cpu()
    return learned.evidence.eval(), float(learned.bias.detach())


def _begin(learner: _Learner, start: Mapping[str, Tensor]) -> float | None:
    """Load the weights to start from; return the bias of an earlier evidence network, or None for a lesion net."""
    try:
        if any(name.startswith("base.") for name in start):
            learner.evidence.load_state_dict({name: own.float() for name, own in start.items() if name != "bias"})
            return float(start["bias"])
        learner.evidence.base.load_state_dict(dict(start))
        _read_lesions(learner.evidence)
    except RuntimeError as error:
        raise TrainingError(f"the weights to start from do not fit ({error})", "start from a current lesion net") from error
    return None


@torch.no_grad()
def _read_lesions(module: EvidenceModule) -> None:
    """Make the first evidence the lesion net's findings: some units read its kinds, and the others do not count yet.

    With any other start, evidence could fall to zero everywhere within a few steps, and stay there.
    """
    first, _, last = module.reader
    assert isinstance(first, nn.Conv2d)
    assert isinstance(last, nn.Conv2d)
    kinds = module.base.kinds
    assert first.bias is not None
    assert last.bias is not None
    assert kinds.bias is not None
    count = kinds.out_channels
    first.weight[:count], first.bias[:count] = kinds.weight, kinds.bias + _LIKELY
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    last.weight[:, :count] = _OF_A_KIND


def _loss(
    learner: _Learner,
    teacher: LesionModule,
    own: Sequence[Lesson],
    shown: Sequence[Shown],
    flat: Sequence[Shown],
    kinds: Sequence[str],
    span: int,
    device: str,
) -> Tensor:
    """Return the loss of a batch, a scalar.

    Parameters
    ----------
    shown : Sequence[Shown]
        The photographs as the teacher sees them.
    flat : Sequence[Shown]
        The photographs as the learner sees them.
    """
    retina = torch.stack([_cells(one.retina) for one in shown])[:, None].to(device)
    with torch.autocast(device, torch.bfloat16):
        with torch.no_grad():
            told = torch.sigmoid(teacher(as_input(shown, device)).float()) * retina
        evidence, features = learner.evidence(as_input(flat, device))
        found = learner.evidence.base.kinds(features).float()
    evidence = evidence.float() * retina
    place = torch.tensor([one.place for one in own], device=device)
    referable = torch.tensor([float(one.referable) for one in own], device=device)
    logits = learner.logits(evidence, torch.tensor([one.site for one in own], device=device))
    loss = (span**2 * (torch.sigmoid(logits) - place) ** 2).mean()
    read = learner.referable[0] * logits + learner.referable[1]
    loss = loss + _REFERABLE * functional.binary_cross_entropy_with_logits(read, referable)
    loss = loss + _PLACED * _off_lesions(evidence[:, 0], told, own, shown, kinds)
    loss = loss + _SPARSE * evidence.sum((1, 2, 3)).mean()
    kept = functional.binary_cross_entropy_with_logits(found, told, reduction="none") * (1 + 4 * told) * retina
    whole: Tensor = loss + _KINDS * _PER_PHOTOGRAPH * kept.sum((1, 2, 3)).mean()
    return whole


def _off_lesions(evidence: Tensor, told: Tensor, own: Sequence[Lesson], shown: Sequence[Shown], kinds: Sequence[str]) -> Tensor:
    """Return how much of the evidence (n, GRID, GRID) of diseased eyes lies off lesions, a scalar.

    Parameters
    ----------
    told : Tensor
        The teacher's findings, (n, kinds, GRID, GRID).
    """
    losses = []
    pale = [row for row, kind in enumerate(kinds) if kind in _PALE]
    for one, lesson, picture, seen in zip(evidence, own, shown, told, strict=True):
        if not lesson.referable:
            continue
        anywhere = 1 - torch.prod(1 - seen, 0)
        boxed = {kind: torch.from_numpy(owner > 0).to(one) for kind, owner in picture.owners.items()}
        if boxed and any(bool(own_.any()) for own_ in boxed.values()):
            every = torch.stack(list(boxed.values())).amax(0)
            bright = [own_ for kind, own_ in boxed.items() if coarsely(kind) in _PALE and bool(own_.any())]
            target = torch.stack(bright).amax(0) if bright else every
            where = torch.maximum(every, anywhere * (anywhere > _SEEN))
        else:
            clear = seen[pale].amax(0) if pale else anywhere
            target = clear if float(clear.max()) > _CLEAR else anywhere
            target = target * (target > _SEEN)
            where = target
        if float(target.max()) <= _SURE:
            continue
        positive = one + 1e-6
        share = (positive * where).sum() / positive.sum()
        strongest = torch.softmax(_SHARPNESS * (one / one.max().clamp_min(1e-4).detach()).flatten(), 0)
        top = (strongest * target.flatten()).sum()
        losses.append(-torch.log(top + 1e-3) - _ALL_PLACED * torch.log(share + 1e-3))
    return torch.stack(losses).mean() if losses else evidence.new_zeros(())


def _cells(retina: BoolArray) -> Tensor:
    share: FloatArray = cv2.resize(retina.astype(np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return torch.from_numpy((share >= 0.5).astype(np.float32))


def _lessons(
    lessons: Sequence[Lesson], kinds: Sequence[str], batch: int, per_epoch: int, seed: int, epoch: int
) -> Iterator[_Batch]:
    """Yield an epoch's photographs in batches."""
    random = np.random.default_rng([seed, epoch])
    shares = np.array([one.share for one in lessons], np.float64)
    order = random.choice(len(lessons), per_epoch * batch, p=shares / shares.sum())

    def one(place: int) -> tuple[Lesson, Shown, Shown]:
        own_random = np.random.default_rng([seed, epoch, place])
        lesson = lessons[order[place]]
        shown = show(lesson.pupil, kinds, own_random)
        if own_random.random() < _FLAT:
            return lesson, shown, replace(shown, plate=normalised_pixels(shown.plate, shown.retina, "equalise"))
        return lesson, shown, shown

    for found in prepared(one, per_epoch * batch, batch):
        yield [a for a, _, _ in found], [b for _, b, _ in found], [c for _, _, c in found]


def calibrate_evidence(
    scorer: EvidenceScorer,
    dataset: Dataset,
    logits: Sequence[float],
    recipe: Mapping[str, Any],
    *,
    earlier: Sequence[Background] = (),
    balance: Balance = "weight",
    seed: int = 0,
) -> EvidenceScorer:
    """Calibrate an evidence scorer, fit how its scores are read, and write the card.

    Parameters
    ----------
    scorer : EvidenceScorer
        The scorer with the head `plain_sum`.
    dataset : Dataset
        The graded photographs.
    logits : Sequence[float]
        Its logit of each graded photograph, which is the sum of all evidence, in the order of the dataset.
    recipe : Mapping[str, Any]
        Plain JSON values for the card.
    earlier : Sequence[Background]
        The scorer whose network this one started from; it has learned from the same photographs, too.
    balance : Balance
        See `train_scorer`.
    seed : int
        See `train_scorer`.

    Returns
    -------
    EvidenceScorer
        The calibrated scorer with its card.

    Raises
    ------
    TrainingError
        If there is one grade only, or too few patients.
    """
    sums, material = np.array(logits, np.float32), Material.of(dataset, balance, seed)
    held, scale = material.validation, dataset.scale
    head = fit_rising_head(sums[held], material.labels[held], material.weights[held])
    head = calibrate(head, _read(head, sums[held]), material.grades[held], scale)
    severity = severity_of_logit(_read(head, sums), scale)
    return read_by_severities(replace(scorer, head=head), severity, material, recipe, earlier)


def fit_rising_head(sums: FloatArray, places: FloatArray, weights: FloatArray) -> Head:
    """Fit the head that maps sums of evidence to a severity, by least squares of its place on the scale.

    The knee is one of KNEES.

    Parameters
    ----------
    sums : FloatArray
        (n,), sums of evidence.
    places : FloatArray
        (n,), places of the human grades on the scale, 0 to 1.
    weights : FloatArray
        (n,), weights of the photographs.
    """
    best: tuple[float, Head] | None = None
    for knee in KNEES:
        told = np.log1p(sums.astype(np.float64) / knee)

        def off(two: FloatArray, told: FloatArray = told) -> float:
            return float((weights * (expit(np.exp(two[0]) * told + two[1]) - places) ** 2).sum())

        found = minimize(off, np.array([0.0, -2.0]), method="Nelder-Mead", bounds=_BOUNDS, options=_PATIENCE)
        if best is None or found.fun < best[0]:
            best = float(found.fun), rising_head(float(np.exp(found.x[0])), float(found.x[1]), float(knee))
    assert best is not None
    return best[1]


def _read(head: Head, sums: FloatArray) -> FloatArray:
    return head.logit(sums.astype(np.float64)[:, None] + head.hidden_bias)
