"""Training a complete network, from random weights, from generic ones or from an earlier scorer, and writing its bundle."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from atlas.bundles import place_of
from atlas.config import Configuration
from atlas.errors import TrainingError
from atlas.pipeline.cohort import Further, gather_all
from atlas.pipeline.keys import code_key
from atlas.pipeline.store import digest
from atlas.pipeline.workshop import Workshop
from atlas.progress import Progress, silent
from atlas.records import Augmentation, DatasetReport, Loss
from atlas.scorers.bundle import MANIFEST, load_scorer, save_bundle
from atlas.scorers.devices import device_of
from atlas.scorers.networks import NETWORKS, ON_TRUNK, NetworkScorer
from atlas.scorers.transferred import TransferredScorer
from atlas.scorers.trunks import load_trunk
from atlas.training.complete import train_network_scorer
from atlas.training.losses import GAMMA

GENERIC = "imagenet"
"""Name of the weights that an encoder learned from everyday photographs."""


def train_complete(
    configuration: Configuration,
    out: Path,
    *,
    network: str | None = None,
    start: str | None = None,
    from_scratch: bool = False,
    frozen: bool = False,
    loss: Loss | None = None,
    gamma: float = GAMMA,
    two: bool = False,
    also: Sequence[Further] = (),
    augmentation: Augmentation | None = None,
    epochs: int = 12,
    source: str = "Not stated.",
    further: Sequence[str] = (),
    command: str = "",
    progress: Progress = silent,
) -> tuple[NetworkScorer, DatasetReport]:
    """Train an entry of `NETWORKS` on graded photographs and write its bundle to `out`; see `train_network_scorer`.

    Photographs that cannot be read are left out. An interrupted training continues where it stopped. The files that it needs for
    that are removed once the bundle is written.

    Parameters
    ----------
    network : str or None
        The entry; that of the scorer to start from if not given.
    start : str or None
        "imagenet" (the default) or the file of a state dict, for the network's encoder; or the name or folder of a trained
        scorer: one of the same network, which goes on learning, or one whose trunk is the network's encoder. The grades of the
        former may be others: then its last layer begins with random weights.
    from_scratch : bool
        Whether to begin with random weights.
    frozen : bool
        Whether the encoder stays as it begins, see `train_network_scorer`.
    loss : Loss or None
        That of the scorer to start from if not given, or else cross entropy.

    Raises
    ------
    TrainingError
    ConfigurationError
    DatasetError
    ScorerError
    StoreError
    """
    if frozen and from_scratch:
        raise TrainingError("an encoder that is trained from scratch cannot stay as it is", "give one or the other")
    if from_scratch and start is not None:
        raise TrainingError("weights are given for a network that is to be trained from scratch", "give one or the other")
    earlier = _earlier(start)
    if network is None and isinstance(earlier, TransferredScorer):
        raise TrainingError(
            f"scorer {earlier.name} is a trunk with a head, not a complete network", f"give --network: {ON_TRUNK}, on its trunk"
        )
    network = network or (None if earlier is None else earlier.network)
    if network is None or network not in NETWORKS:
        raise TrainingError(f"there is no network {network!r}", f"give --network: {', '.join(NETWORKS)}, {ON_TRUNK}")
    if isinstance(earlier, NetworkScorer) and earlier.network != network:
        raise TrainingError(
            f"scorer {earlier.name} is of network {earlier.network}, not {network}", "leave --network out, or start from another"
        )
    device = device_of(configuration.device or "auto")
    weights, began = _weights(network, earlier, start, from_scratch)
    workshop = Workshop.of(configuration, progress, also=[one.images for one in also])
    dataset, report = gather_all(workshop, also)
    if earlier is not None and earlier.scale.subject != dataset.scale.subject:
        raise TrainingError(
            f"scorer {earlier.name}: was trained on photographs of another subject, see `subject` under [scale]",
            "start from one that was trained on such photographs",
        )
    known: Mapping[str, Any] = earlier.training if isinstance(earlier, NetworkScorer) else {}
    settings: dict[str, Any] = {
        "network": network,
        "loss": loss or known.get("loss", "cross-entropy"),
        "gamma": gamma,
        "two": two,
        "began": began,
        **({"frozen": True} if frozen else {}),
        "size": configuration.size or (earlier.size if isinstance(earlier, NetworkScorer) else None),
        "preparation": configuration.preparation or (None if earlier is None else earlier.preparation),
        "balance": configuration.balance,
        "augmentation": augmentation,
        "epochs": epochs,
        "device": device,
        "seed": configuration.seed,
    }
    labels = [[image.image_id, image.grade, image.patient, image.split] for image in dataset.images]
    # A checkpoint is continued only with pixels that are prepared in the same way as those it learned from.
    code = code_key("atlas.photographs.decode", "atlas.photographs.preparations")
    scale = dataset.scale
    parts = [settings, labels, [scale.lowest, scale.span, scale.referable], scale.subject.name, code]
    work = workshop.store.root / "training" / digest(parts)[:16]
    made = train_network_scorer(
        dataset,
        name=out.name,
        start=weights,
        earlier=() if earlier is None else (earlier,),
        source=source,
        further=further,
        command=command,
        work=work,
        code=code,
        each=workshop.each_or_raise,
        progress=progress,
        **settings,
    )
    save_bundle(out, made)
    saved = load_scorer(out)
    assert isinstance(saved, NetworkScorer)
    shutil.rmtree(work, ignore_errors=True)  # gigabytes, of no use once the scorer is safe
    return saved, report


def _earlier(start: str | None) -> NetworkScorer | TransferredScorer | None:
    """Load the scorer to start from; None if `start` does not name one."""
    if start is None or not (place_of(start, MANIFEST) / MANIFEST).is_file():
        return None
    scorer = load_scorer(start)
    if not isinstance(scorer, NetworkScorer | TransferredScorer):
        raise TrainingError(
            f"scorer {scorer.name} is of the kind {scorer.kind!r}: neither a complete network nor a trunk with a head",
            "start from another scorer",
        )
    return scorer


def _weights(
    network: str, earlier: NetworkScorer | TransferredScorer | None, start: str | None, from_scratch: bool
) -> tuple[Mapping[str, Tensor] | None, str]:
    """Return the weights that a training begins with, by `trunk.` or `head.` and their names, and a description for the card."""
    if isinstance(earlier, NetworkScorer):
        return earlier.state(), f"the scorer {earlier.name}, {earlier.weights_sha256[:16]}"
    if from_scratch:
        return None, "random weights"
    encoder = NETWORKS[network].encoder
    if not encoder:
        raise TrainingError(f"network {network} has no encoder with weights of its own", "give --from-scratch")
    trunk = load_trunk(encoder, GENERIC if start in (None, GENERIC) else start or "")
    told = "ImageNet" if start in (None, GENERIC) else f"given weights, {trunk.sha256[:16]}"
    if earlier is not None:
        told = f"weights of the scorer {earlier.name}, {earlier.weights_sha256[:16]}"
    return {f"trunk.encoder.{name}": tensor for name, tensor in trunk.state_dict().items()}, f"{encoder} with {told}"
