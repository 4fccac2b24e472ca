"""How each system of the comparison is trained, by the modules that `atlas train` uses, and the scores that it then gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atlas.lesionnets.bundle import load_lesion_net
from atlas.pipeline.workshop import Workshop
from atlas.progress import Progress
from atlas.records import Augmentation, FloatArray, IntArray, Loss
from atlas.resources import DEFAULT_SCORER
from atlas.scorers.bundle import load_scorer, save_bundle
from atlas.scorers.networks import NETWORKS, NetworkScorer, places_of, untrained
from atlas.scorers.protocol import Background, Scorer
from atlas.scorers.readouts import Head, first_sums, logit_of_place
from atlas.scorers.side_by_side import SideBySideScorer, members_of
from atlas.scorers.transferred import TransferredScorer, half_readout
from atlas.scorers.trunks import TRUNKS, Trunk, load_trunk
from atlas.scorers.two_stage import TwoStageScorer
from atlas.training.calibration import calibrate, read_by_severities
from atlas.training.complete import train_network_scorer
from atlas.training.frozen import KeptMaps, frozen_part, keep_maps, last_maps
from atlas.training.heads import fit_head
from atlas.training.scorers import prepared_pixels, train_scorer
from atlas.training.side_by_side import calibrate_side_by_side
from atlas.training.side_by_side import side_by_side as put_side_by_side
from atlas.training.two_stage import train_two_stage
from atlas.training.two_stage import untrained as empty_two_stage
from benchmarks.comparison.passes import BLIND, Lesions, Shipped, lesion_means, passed, shipped_logits
from benchmarks.comparison.photographs import SEED, Photographs

ENCODER, FROM = "efficientnet_lite0", "eyepacs-pair"
"""The common encoder, and the shipped scorer whose weights of it are used."""

SIZE, PREPARATION = 288, "equalise-soft"
"""The size that the encoder was trained on, and the preparation of the scorer that it is from."""

LESION_NET = "lesions-squeezenet"

GENERIC_SIZE = 256  # of the second network in the published form of two stages

SOURCE = (
    "Photographs of the Kaggle competition Diabetic Retinopathy Detection (EyePACS, 2015), of Messidor-2, of IDRiD (Porwal et "
    "al. 2018) and of ODIR, for research. No photograph is shipped. Trained to compare systems, not to be used."
)


@dataclass(frozen=True)
class Settings:
    """How much is computed.

    Parameters
    ----------
    data : Path
        Folder of the sets.
    out : Path
        Folder for all results.
    generic : Path
        File with generic weights of SqueezeNet 1.1.
    quick : bool
        Whether few photographs are used, for a trial.
    most : int
        Most photographs of each set and grade to learn from.
    epochs : int
        Epochs of what learns on the common encoder.
    published_size : int
        Side of the pictures from which complete networks learn, in pixels.
    published_epochs : int
        Their epochs.
    """

    data: Path
    out: Path
    generic: Path
    quick: bool = False
    most: int = 60
    epochs: int = 10
    published_size: int = 128
    published_epochs: int = 2

    @property
    def judged(self) -> int | None:
        """Most photographs of each set and grade to validate on and to test on."""
        return 4 if self.quick else None


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained system.

    Parameters
    ----------
    logits : FloatArray
        float32 (n,), of the validation part, then of the test part.
    learned : int
        Number of parameters that were learned here.
    epochs : str
        How long it learned, in words.
    start : str
        What it started from, in words.
    scorer : Scorer or None
        The scorer to be saved as a bundle, if there is one.
    """

    logits: FloatArray
    learned: int
    epochs: str
    start: str
    scorer: Scorer | None = None


class Bench:
    """What all fits share: the photographs, the common encoder, and results that are computed once."""

    def __init__(self, settings: Settings, photographs: Photographs, workshop: Workshop, progress: Progress) -> None:
        self.settings, self.photographs, self.workshop, self.progress = settings, photographs, workshop, progress
        self.shared = settings.out / "shared"
        self.shared.mkdir(parents=True, exist_ok=True)

    def folder(self, key: str) -> Path:
        """Return the folder of a system's bundle."""
        return self.settings.out / "scorers" / key

    @cached_property
    def origin(self) -> TransferredScorer:
        """The shipped scorer that the common encoder is from."""
        scorer = load_scorer(FROM)
        assert isinstance(scorer, TransferredScorer)
        return scorer

    @cached_property
    def trunk(self) -> Trunk:
        """The common encoder."""
        return load_trunk(ENCODER, FROM, size=SIZE)

    def start(self, network: str) -> dict[str, Tensor]:
        """Return the encoder's weights under the names that a network has for them."""
        encoder = load_trunk(NETWORKS[network].encoder, FROM, size=SIZE)
        return {f"trunk.encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """All photographs as the common encoder sees them."""
        return prepared_pixels(self.photographs.material, SIZE, PREPARATION, self.shared, "", self.progress)

    def kept(self, network: str) -> KeptMaps:
        """Return the maps of a network's frozen encoder, as `train_network_scorer` keeps them."""
        trunk, _ = untrained(network, 1)
        own = {name.removeprefix("trunk."): tensor for name, tensor in self.start(network).items()}
        trunk.load_state_dict({**trunk.state_dict(), **own})
        made_from = ["", PREPARATION, *(image.image_id for image in self.photographs.material.images)]
        return keep_maps(network, trunk, self.pixels, self.shared, made_from=made_from, progress=self.progress)

    @cached_property
    def stages(self) -> dict[str, TwoStageScorer]:
        """Two-stage scorers by form, with heads that have not learned."""
        net, dataset = load_lesion_net(LESION_NET), self.photographs.dataset
        generic = load_trunk("squeezenet1_1", self.settings.generic, size=GENERIC_SIZE)
        return {
            "lesions": empty_two_stage("two-stage-lesions", net, dataset),
            "weighted": empty_two_stage("two-stage-weighted", net, dataset, self.trunk),
            BLIND: empty_two_stage("two-stage-blind", net, dataset, self.trunk),
            "published": empty_two_stage("two-stage-published", net, dataset, generic),
        }

    @cached_property
    def lesion_means(self) -> list[dict[str, FloatArray]]:
        """What the first stage gives to each second stage, for all photographs."""
        shared = Lesions(self.stages, self.workshop.store)
        return passed(self.workshop, lesion_means, self.photographs.material.images, shared, "lesions")

    @cached_property
    def shipped(self) -> dict[str, list[dict[str, FloatArray]]]:
        return {}

    def shipped_found(self, name: str) -> list[dict[str, FloatArray]]:
        """Return what a shipped scorer says of the validation and the test part."""
        if name not in self.shipped:
            images = [self.photographs.material.images[row] for row in self.photographs.judged]
            shared = Shipped(load_scorer(name), self.workshop.store)
            self.shipped[name] = passed(self.workshop, shipped_logits, images, shared, name)
        return self.shipped[name]


def on_encoder(bench: Bench, key: str, *, network: str, loss: Loss, folder: str = "", after: str = "") -> Fitted:
    """Train what follows the common, frozen encoder.

    Parameters
    ----------
    folder : str
        The one set to learn from and to choose by; "" for all.
    after : str
        Key of the system of the same network that it goes on from, which is trained before; "" for none.
    """
    settings, photographs = bench.settings, bench.photographs
    assert bench.pixels is not None
    shared = bench.shared / folder  # of one set, or of all
    shared.mkdir(exist_ok=True)
    earlier = load_scorer(str(bench.folder(after))) if after else bench.origin
    assert isinstance(earlier, NetworkScorer | TransferredScorer)
    scorer = train_network_scorer(
        photographs.of(folder) if folder else photographs.dataset,
        name=key,
        network=network,
        loss=loss,
        start=earlier.state() if isinstance(earlier, NetworkScorer) else bench.start(network),
        began=after or f"the {ENCODER} of {FROM}",
        earlier=(earlier,),
        frozen=True,
        size=SIZE,
        preparation=PREPARATION,
        epochs=settings.epochs,
        seed=SEED,
        source=SOURCE,
        command="make comparison",
        work=settings.out / "work" / key,
        shared=shared,
        progress=bench.progress,
    )
    logits = _logits_of(scorer, bench.kept(network), photographs.judged)
    frozen = sum(own.numel() for own in frozen_part(scorer.trunk).parameters())
    return Fitted(
        logits,
        _size(scorer.trunk) + _size(scorer.head) - frozen,
        f"{settings.epochs}, best {scorer.training['best_epoch']}",
        after or f"frozen {ENCODER} of {FROM}",
        scorer,
    )


@torch.inference_mode()
def _logits_of(scorer: NetworkScorer, kept: KeptMaps, rows: IntArray, batch: int = 16) -> FloatArray:
    """Return logits of photographs whose maps by the frozen encoder are known, (rows,)."""
    found = []
    for start in range(0, len(rows), batch):
        outputs = scorer.head(last_maps(scorer.trunk, kept.of(rows[start : start + batch]))).double().numpy()
        found.append(logit_of_place(places_of(outputs)[0]))
    return np.concatenate(found).astype(np.float32)


def _size(module: torch.nn.Module) -> int:
    return sum(own.numel() for own in module.parameters())


def transferred(bench: Bench, key: str) -> Fitted:
    """Fit the first study's regressor on the flattened maps of the common encoder, as `train_scorer` does on a frozen trunk."""
    material, trunk = bench.photographs.material, bench.trunk
    maps = bench.kept(f"pooled:{ENCODER}").values.reshape(-1, trunk.channels, *trunk.shape)
    common: dict[str, Any] = {"training": material.training, "validation": material.validation}
    head, history = fit_head(maps, material.labels, material.weights, hidden=64, seed=SEED, progress=bench.progress, **common)
    head = half_readout(head)
    z = np.stack([first_sums(np.asarray(own, np.float32), head) for own in maps]).astype(np.float32)
    held = material.validation
    head = half_readout(calibrate(head, head.logit(z[held]), material.grades[held], material.scale))
    scorer = TransferredScorer(key, trunk, head, material.scale, PREPARATION)
    best = int(np.argmin([row["validation_loss"] for row in history]))
    recipe = {
        "trunk": ENCODER,
        "trunk_weights": FROM,
        "trunk_learns": False,
        "augmentation": "none",
        "loss": "squared",
        "hidden": 64,
        "best_epoch": 1 + best,
        "command": "make comparison",
        "sources": SOURCE,
        "further": [],
    }
    scorer = read_by_severities(scorer, head.severity(z, material.scale), material, recipe, (bench.origin,))
    epochs = f"{len(history)}, best {1 + best}"
    return Fitted(head.logit(z)[bench.photographs.judged], _of_head(head), epochs, f"frozen {ENCODER} of {FROM}", scorer)


def _of_head(head: Head) -> int:
    return int(head.hidden_weight.size + head.hidden_bias.size + head.output_weight.size + 1)


def two_stage(bench: Bench, key: str, *, form: str) -> Fitted:
    """Fit the second stage's head on what the first stage gives it."""
    material = bench.photographs.material
    means = [own[form] for own in bench.lesion_means]
    empty = replace(bench.stages[form], name=key)
    scorer = train_two_stage(
        empty, bench.photographs.dataset, means, seed=SEED, source=SOURCE, command="make comparison", progress=bench.progress
    )
    earlier: Sequence[Background] = () if form in ("lesions", "published") else (bench.origin,)
    scorer = replace(scorer, learned=tuple(sorted(set(scorer.learned).union(*(one.learned for one in earlier)))))
    cells = scorer.grid[0] * scorer.grid[1]
    logits = [_logit_of_means(scorer.head, means[row] * cells) for row in bench.photographs.judged]
    second = {"lesions": "", "published": " and generic SqueezeNet 1.1"}.get(form, f" and frozen {ENCODER} of {FROM}")
    epochs = f"best {scorer.training['best_epoch']}"
    start = f"{LESION_NET}{second}"
    assert len(material.images) == len(means)
    # A net that finds nothing is no scorer that a bundle can name.
    return Fitted(np.array(logits, np.float32), _of_head(scorer.head), epochs, start, None if form == BLIND else scorer)


def _logit_of_means(head: Head, sums: FloatArray) -> float:
    """Return a head's logit from the sums of its maps over all cells, which is all that a head with equal weights reads."""
    return float(head.logit(head.hidden_bias + head.hidden_weight[:, :, 0, 0].astype(np.float64) @ sums))


def with_lesions(bench: Bench, key: str, *, members: tuple[str, str]) -> Fitted:
    """Put the first study's regressor and the head on lesions side by side; both were trained before."""
    material = bench.photographs.material
    scorers = members_of([load_scorer(str(bench.folder(one))) for one in members])
    first, second = scorers
    assert isinstance(first, TransferredScorer)
    assert isinstance(second, TwoStageScorer)
    maps = bench.kept(f"pooled:{ENCODER}").values.reshape(-1, first.channels, *first.grid)
    cells = second.grid[0] * second.grid[1]
    alone = [
        [float(first.regressor.logit(first_sums(np.asarray(own, np.float32), first.head))) for own in maps],
        [_logit_of_means(second.head, own["lesions"] * cells) for own in bench.lesion_means],
    ]
    joined = put_side_by_side(key, scorers, bench.photographs.dataset)
    logits = np.asarray(joined.shares, np.float32) @ np.array(alone, np.float32)
    scorer = calibrate_side_by_side(
        joined, bench.photographs.dataset, logits.tolist(), seed=SEED, source=SOURCE, command="make comparison"
    )
    assert isinstance(scorer, SideBySideScorer)
    found = (scorer.stretch * logits + scorer.shift)[bench.photographs.judged]
    assert len(logits) == len(material.images)
    return Fitted(found.astype(np.float32), 2, "no training", " and ".join(members), scorer)


def shipped(bench: Bench, key: str) -> Fitted:
    """Score with a shipped scorer."""
    whole, member = key, None
    default = load_scorer(DEFAULT_SCORER)
    assert isinstance(default, SideBySideScorer)
    before = [sum(one.networks for one in default.members[:place]) for place in range(len(default.members))]
    alone = {own.name: place for own, place in zip(default.members, before, strict=True) if own.networks == 1}
    if key in alone:
        whole, member = DEFAULT_SCORER, alone[key]  # one of its networks: the same photographs need no second look
    found = bench.shipped_found(whole)
    logits = [float(own["logit"][0]) if member is None else float(own["members"][member]) for own in found]
    known: Mapping[str, Any] = load_scorer(key).background.training
    epochs = str(known["epochs"]) if known.get("epochs") else "see its card"
    return Fitted(np.array(logits, np.float32), 0, epochs, "as shipped")


def complete(
    bench: Bench,
    key: str,
    *,
    network: str,
    loss: Loss = "cross-entropy",
    augmentation: Augmentation | None = None,
    longer: int = 1,
) -> Fitted:
    """Train a complete network in its published form, from random weights, on small pictures.

    `longer` multiplies the number of epochs of published forms. MobileNetV3 moves the means of its batch normalisation by 1% a
    step, so after two epochs they are still mostly those that it began with, and all scores are the same.
    """
    settings, photographs = bench.settings, bench.photographs
    count = settings.published_epochs * longer
    size, folder = settings.published_size, settings.out / "work" / key
    scorer = train_network_scorer(
        photographs.dataset,
        name=key,
        network=network,
        loss=loss,
        size=size,
        augmentation=augmentation,
        epochs=count,
        seed=SEED,
        source=SOURCE,
        command="make comparison",
        work=folder,
        progress=bench.progress,
    )
    assert isinstance(scorer, NetworkScorer)
    pixels = prepared_pixels(photographs.material, size, scorer.preparation, folder, "", bench.progress)
    target = scorer.targets[0].name
    logits = [scorer.look(np.ascontiguousarray(pixels[row])).logit(target) for row in photographs.judged]
    learned = _size(scorer.trunk) + _size(scorer.head)
    epochs = f"{count} at {size} px"
    return Fitted(np.array(logits, np.float32), learned, epochs, "random weights", scorer)


def on_trunk(bench: Bench, key: str, *, trunk: str, start: str) -> Fitted:
    """Fit a head on a trunk that is frozen with the weights of a scorer."""
    settings, photographs = bench.settings, bench.photographs
    size = TRUNKS[trunk].default_size
    folder = settings.out / "work" / key
    scorer = train_scorer(
        photographs.dataset,
        name=key,
        trunk=trunk,
        weights=start,
        size=size,
        augmentation="none",
        epochs=settings.published_epochs,
        seed=SEED,
        source=SOURCE,
        command="make comparison",
        work=folder,
        progress=bench.progress,
    )
    pixels = prepared_pixels(photographs.material, size, scorer.preparation, folder, "", bench.progress)
    target = scorer.targets[0].name
    logits = [
        scorer.read(scorer.trunk.maps(np.ascontiguousarray(pixels[row : row + 1]))[0]).logit(target) for row in photographs.judged
    ]
    head = sum(int(own.size) for own in (scorer.head.hidden_weight, scorer.head.hidden_bias, scorer.head.output_weight))
    learned = head + np.size(scorer.head.output_bias)
    epochs = f"best {scorer.training['best_epoch']}"
    return Fitted(np.array(logits, np.float32), learned, epochs, f"frozen {trunk} of {start}", scorer)


def saved(bench: Bench, key: str, fitted: Fitted) -> Scorer | None:
    """Save a system's bundle, and load it again: what is measured is what a reader of the bundle gets."""
    if fitted.scorer is None:
        return None
    save_bundle(bench.folder(key), fitted.scorer)
    return load_scorer(str(bench.folder(key)))
