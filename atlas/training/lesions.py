"""Training a lesion net with labels that are coarse, partial and weak, see METHOD section 9 for the studies it follows.

A box says that a lesion is somewhere in it, not at every place: its places count by how sure the net is of them, relative to the
surest (a multiple-instance loss). A box of a coarse kind, a red lesion, is satisfied if either of its kinds is found: its loss is
-log(1 - (1 - p_microaneurysm)(1 - p_haemorrhage)). Masks of drawn eyes show the place of every kind. How much any other place
counts as healthy depends on what is known of the eye: fully if a person called the eye free of the disease, hardly if nobody
looked. An eye of a referable grade has some lesion: the probabilities of its surest places of all kinds are raised a little.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from atlas.cohort.lesions import KINDS, coarsely
from atlas.errors import TrainingError
from atlas.lesionnets.grid import cells_in, with_ring
from atlas.lesionnets.networks import GRID, SIDE, LesionModule, views
from atlas.photographs.decode import stretched
from atlas.photographs.frames import crop
from atlas.photographs.opened import open_disc
from atlas.progress import Progress, silent
from atlas.records import BoolArray, ByteArray, FloatArray, Frame, LesionBox
from atlas.training.course import learn, prepared
from atlas.training.steps import adamw, digest_of

_BOXED = 4.0  # weight of a box's surest place; a place that is known to be healthy has 1

_DRAWN = 3.0  # weight of a place under a mask

_COVERED = 0.15  # a cell with at least this share under a mask counts as a lesion; one with less is not used

_SOME = 0.3  # weight of knowing that an eye has some lesion

_SCALE = 1 / 200  # scales the sum over an eye's places to about 1

_SUREST = 3  # number of places whose probability is raised in an eye that has some lesion

_ZOOM, _SHIFT = (0.85, 1.2), 0.04  # of the square, drawn uniformly

_DIM = 0.2  # share of photographs shown as if taken with too little light

_WARM_UP = 0.05  # share of all steps over which the learning rate rises


@dataclass(frozen=True)
class Pupil:
    """A photograph to learn from.

    Parameters
    ----------
    path : Path
        Its file.
    boxes : tuple[LesionBox, ...]
        Lesions that a person boxed.
    healthy : tuple[LesionBox, ...]
        Boxes around the optic disc, which is certainly no lesion.
    masks : Mapping[str, Path]
        Masks of drawn lesions, files by kind.
    elsewhere : Mapping[str, float]
        By kind, how much a place without a mark counts as healthy, 0 to 1; missing kinds count 0.
    some : bool
        Whether the eye has some lesion.
    share : float
        How often it is shown in an epoch, on average.
    """

    path: Path
    boxes: tuple[LesionBox, ...] = ()
    healthy: tuple[LesionBox, ...] = ()
    masks: Mapping[str, Path] = field(default_factory=dict)
    elsewhere: Mapping[str, float] = field(default_factory=dict)
    some: bool = False
    share: float = 1.0


@dataclass(frozen=True, eq=False)
class Shown:
    """A photograph as it is shown once, varied at random.

    Parameters
    ----------
    plate : ByteArray
        uint8 (SIDE, SIDE, 3).
    retina : BoolArray
        bool (SIDE, SIDE), true on the retina.
    healthy : FloatArray
        float32 (kinds, GRID, GRID), weights of places that are healthy.
    lesion : FloatArray
        float32 (kinds, GRID, GRID), weights of places that are lesions.
    owners : Mapping[str, NDArray[np.int16]]
        By kind or coarse kind, int16 (GRID, GRID), number of the box that a place lies in, from 1; 0 outside all boxes.
    some : bool
        Whether the eye has some lesion.
    """

    plate: ByteArray
    retina: BoolArray
    healthy: FloatArray
    lesion: FloatArray
    owners: Mapping[str, NDArray[np.int16]]
    some: bool


def show(pupil: Pupil, kinds: Sequence[str], random: np.random.Generator | None = None) -> Shown:
    """Decode a photograph and put its labels on the grid; with `random`, zoom, shift and turn it and change its light."""
    opened = open_disc(pupil.path, least=SIDE)
    decoded, frame, mask = opened.decoded, opened.disc.frame, opened.disc.mask
    if random is not None and random.random() < 0.75:
        side = max(16, round(frame.side / random.uniform(*_ZOOM)))
        down, across = (round((frame.side - side) / 2 + random.uniform(-_SHIFT, _SHIFT) * frame.side) for _ in range(2))
        frame = Frame(frame.top + down, frame.left + across, side)
    plate = crop(decoded.pixels, frame, SIDE)
    retina = crop(mask.astype(np.uint8) * np.uint8(255), frame, SIDE) >= 128
    source = decoded.at_source(frame)
    cells = cv2.resize(retina.astype(np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA) > 0.5
    healthy = np.zeros((len(kinds), GRID, GRID), np.float32)
    for row, kind in enumerate(kinds):
        healthy[row] = pupil.elsewhere.get(kind, 0.0)
    for box in pupil.healthy:
        healthy[(slice(None), *cells_in(box.put_right(decoded.stretch), source))] = 1.0
    owners: dict[str, NDArray[np.int16]] = {}
    for number, box in enumerate(pupil.boxes, start=1):
        inside = cells_in(box.put_right(decoded.stretch), source)
        around = with_ring(inside)
        for row, kind in enumerate(kinds):
            if kind == box.kind or coarsely(kind) == box.kind:
                healthy[(row, *around)] = 0.0
        owners.setdefault(box.kind, np.zeros((GRID, GRID), np.int16))[inside] = number
    lesion = np.zeros_like(healthy)
    for kind, file in pupil.masks.items():
        if kind not in kinds:
            continue
        drawn = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
        covered = crop(stretched(np.asarray(drawn, np.uint8), decoded.stretch), source, SIDE).astype(np.float32) / 255
        share = cv2.resize(covered, (GRID, GRID), interpolation=cv2.INTER_AREA)
        row = kinds.index(kind)
        healthy[row][share > 0] = 0.0
        lesion[row][share >= _COVERED] = _DRAWN
    healthy *= cells
    lesion *= cells
    owners = {kind: np.where(cells, own, 0).astype(np.int16) for kind, own in owners.items()}
    if random is not None:
        turns, mirrored = int(random.integers(4)), bool(random.integers(2))

        def turned(array: Any) -> Any:
            array = np.rot90(array, turns, (-2, -1))
            return np.ascontiguousarray(array[..., ::-1] if mirrored else array)

        plate = turned(relit(plate, random).transpose(2, 0, 1)).transpose(1, 2, 0)
        retina, healthy, lesion = turned(retina), turned(healthy), turned(lesion)
        owners = {kind: turned(own) for kind, own in owners.items()}
    return Shown(plate, retina, healthy, lesion, owners, pupil.some)


def relit(plate: ByteArray, random: np.random.Generator) -> ByteArray:
    """Change a plate as another camera might: other colours and light, softer, or compressed by JPEG."""
    values = np.arange(256) / 255
    gain, power = random.uniform(0.8, 1.2, 3), np.exp(random.uniform(-0.35, 0.35) + random.uniform(-0.12, 0.12, 3))
    lift = random.uniform(-0.04, 0.04, 3)
    table = np.stack([gain[k] * values ** power[k] + lift[k] for k in range(3)], axis=-1)
    lit: Any = cv2.LUT(plate, np.clip(255 * table + 0.5, 0, 255).astype(np.uint8)[None])
    if random.random() < _DIM:
        lit = _dimmed(lit, random)
    if random.random() < 0.3:
        side = int(random.integers(400, 900))
        small = cv2.resize(lit, (side, side), interpolation=cv2.INTER_AREA)
        lit = cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    if random.random() < 0.3:
        done, data = cv2.imencode(".jpg", lit, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(40, 92))])
        lit = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if done else lit
    if random.random() < 0.2:
        grain = random.normal(0, random.uniform(1, 5), (*plate.shape[:2], 1)).astype(np.float32)
        lit = np.clip(lit + grain, 0, 255).astype(np.uint8)
    return np.asarray(lit, np.uint8)


def _dimmed(plate: ByteArray, random: np.random.Generator) -> ByteArray:
    """Change a plate as an old camera might with too little light: dark, with coarse grain that differs by colour."""
    side = int(random.integers(350, SIDE))
    grain = random.normal(0, random.uniform(1, 7), (side, side, 3)).astype(np.float32)
    grain += random.normal(0, random.uniform(0, 4), (side, side, 1)).astype(np.float32)
    coarse = cv2.resize(grain, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    dark = random.uniform(0.3, 0.8) * plate.astype(np.float32) + coarse
    return np.asarray(np.clip(dark, 0, 255), np.uint8)


def loss_of(logits: Tensor, shown: Shown, kinds: Sequence[str]) -> Tensor:
    """Return the loss of one photograph, a scalar, from logits (kinds, GRID, GRID)."""
    free = functional.softplus(logits)  # -log(1 - p)
    loss = (torch.from_numpy(shown.healthy) * free).sum()
    loss = loss + (torch.from_numpy(shown.lesion) * (free - logits)).sum()
    for kind, own in shown.owners.items():
        rows = [row for row, name in enumerate(kinds) if kind in (name, coarsely(name))]
        places = torch.from_numpy(own.astype(np.int64)).flatten()
        inside = places > 0
        if not rows or not inside.any():
            continue
        found = -torch.log(-torch.expm1(-free[rows].sum(0).flatten()[inside].clamp_min(1e-6)))
        place = places[inside]
        sure = torch.exp(-found.detach())
        surest = torch.zeros(int(place.max()) + 1).scatter_reduce(0, place, sure, "amax")
        size = torch.bincount(place).float()
        # A large box must not outweigh the others: together its places count as the square root of their number.
        weight = _BOXED * (sure / surest[place].clamp_min(1e-6)) / (size[place].sqrt() / 3).clamp_min(1.0)
        loss = loss + (weight * found).sum()
    loss = _SCALE * loss
    if shown.some:
        any_kind = free[[row for row, name in enumerate(kinds) if name in _EARLY]].sum(0)
        retina = torch.from_numpy(cv2.resize(shown.retina.astype(np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA) > 0.5)
        surest = any_kind[retina].topk(_SUREST).values if int(retina.sum()) >= _SUREST else any_kind.flatten()
        loss = loss - _SOME * torch.log(-torch.expm1(-surest.clamp_min(1e-6))).mean()
    return loss


_EARLY = ("microaneurysm", "haemorrhage", "hard_exudate", "cotton_wool_spot")


def as_input(shown: Sequence[Shown], device: str = "cpu") -> Tensor:
    """Return the views of photographs on a device, float32 (n, 6, SIDE, SIDE)."""
    plates = torch.from_numpy(np.stack([one.plate for one in shown])).to(device).permute(0, 3, 1, 2).float() / 255
    retinas = torch.from_numpy(np.stack([one.retina for one in shown])).to(device)[:, None].float()
    return views(plates, retinas).contiguous(memory_format=torch.channels_last)


def train_lesion_net(
    pupils: Sequence[Pupil],
    kinds: Sequence[str],
    *,
    start: Mapping[str, Tensor],
    epochs: int = 12,
    batch: int = 4,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.02,
    seed: int = 0,
    device: str = "cpu",
    checkpoint: Path | None = None,
    each_epoch: Callable[[int, LesionModule], None] | None = None,
    progress: Progress = silent,
) -> LesionModule:
    """Train a lesion net.

    Parameters
    ----------
    pupils : Sequence[Pupil]
        Photographs to learn from.
    kinds : Sequence[str]
        Keys of `cohort.lesions.KINDS`, in the order of the net's maps.
    start : Mapping[str, Tensor]
        Generic weights of SqueezeNet 1.1 under torchvision's names, or those of an earlier net.
    epochs : int
        Number of epochs.
    batch : int
        Number of photographs per step.
    learning_rate : float
        The highest learning rate. It rises over the first twentieth of all steps and then falls to 0 along a cosine.
    weight_decay : float
        Strength of AdamW's weight decay.
    seed : int
        Decides everything random.
    device : str
        Where the network learns, "cpu" or "cuda".
    checkpoint : Path or None
        A file, replaced after each epoch. Interrupted training continues from it with the same result.
    each_epoch : Callable[[int, LesionModule], None] or None
        Called after each epoch with the number of epochs done and the averaged net.
    progress : Progress
        Called after each step.

    Returns
    -------
    LesionModule
        The net, with a running average of its weights.

    Raises
    ------
    TrainingError
        If there is nothing to learn from, a kind is unknown, or the checkpoint belongs to another training.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not pupils:
        raise TrainingError(
            f"unknown kind of lesion {unknown[0]!r}" if unknown else "there is no photograph to learn lesions from",
            f"choose among {', '.join(KINDS)}" if unknown else "give photographs with boxes or masks",
        )
    with torch.random.fork_rng(devices=[]):  # the seed draws what generic weights do not set
        torch.manual_seed(seed)
        module = LesionModule(len(kinds))
    if any(name.startswith("features.") for name in start):
        module.start_from(start)
    else:
        module.load_state_dict(start)
    module = module.to(device).to(memory_format=torch.channels_last)
    per_epoch = math.ceil(sum(one.share for one in pupils) / batch)
    optimizer = adamw(module, learning_rate, weight_decay)

    def loss(batch: Sequence[Shown]) -> Tensor:
        with torch.autocast(device, torch.bfloat16):
            logits = module(as_input(batch, device)).float().cpu()
        return torch.stack([loss_of(one, own, kinds) for one, own in zip(logits, batch, strict=True)]).mean()

    settings = [list(kinds), epochs, batch, learning_rate, weight_decay, seed, device]
    return learn(
        module,
        optimizer,
        lambda epoch: _lessons(pupils, kinds, batch, per_epoch, seed, epoch),
        loss,
        epochs=epochs,
        per_epoch=per_epoch,
        warm_up=_WARM_UP,
        recipe=[*settings, digest_of(start), [str(one) for one in pupils]],
        checkpoint=checkpoint,
        each_epoch=each_epoch,
        progress=progress,
    ).cpu()


def _lessons(
    pupils: Sequence[Pupil], kinds: Sequence[str], batch: int, per_epoch: int, seed: int, epoch: int
) -> Iterator[Sequence[Shown]]:
    """Yield an epoch's photographs in batches."""
    random = np.random.default_rng([seed, epoch])
    shares = np.array([one.share for one in pupils], np.float64)
    order: list[int] = []
    whole = np.floor(shares + random.random(len(pupils)))
    for row, times in enumerate(whole.astype(int)):
        order += [row] * int(times)
    random.shuffle(order)
    while len(order) < per_epoch * batch:
        order.append(int(random.choice(len(pupils), p=shares / shares.sum())))

    def one(place: int) -> Shown:
        return show(pupils[order[place]], kinds, np.random.default_rng([seed, epoch, place]))

    return prepared(one, per_epoch * batch, batch)
