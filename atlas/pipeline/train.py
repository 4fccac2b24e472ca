"""Training a scorer, and writing its bundle."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atlas.config import Configuration
from atlas.errors import TrainingError
from atlas.pipeline.cohort import Further, gather_all
from atlas.pipeline.keys import code_key
from atlas.pipeline.side_by_side import put_side_by_side
from atlas.pipeline.store import digest
from atlas.pipeline.workshop import Workshop
from atlas.progress import Progress, silent
from atlas.records import Augmentation, DatasetReport, Loss
from atlas.scorers.bundle import load_scorer, load_transferred, save_bundle
from atlas.scorers.devices import device_of
from atlas.scorers.side_by_side import SideBySideScorer, members_of
from atlas.scorers.transferred import TransferredScorer
from atlas.training.losses import GAMMA
from atlas.training.scorers import join_scorers, train_scorer


def train(
    configuration: Configuration,
    out: Path,
    *,
    also: Sequence[Further] = (),
    from_scratch: bool = False,
    fine_tune: bool = False,
    teachers: Sequence[str] = (),
    members: Sequence[str] = (),
    augmentation: Augmentation = "flips-rotations",
    loss: Loss = "squared",
    gamma: float = GAMMA,
    hidden: int = 64,
    epochs: int = 12,
    source: str = "Not stated.",
    further: Sequence[str] = (),
    command: str = "",
    progress: Progress = silent,
) -> tuple[TransferredScorer | SideBySideScorer, DatasetReport]:
    """Train a scorer on the graded photographs of `configuration` and write its bundle to `out`; see `train_scorer`.

    Photographs that cannot be read are left out. An interrupted training continues where it stopped. The files that it needs for
    that are removed once the bundle is written.

    Parameters
    ----------
    teachers : Sequence[str]
        Names or folders of scorers to learn from.
    members : Sequence[str]
        Names or folders of scorers to put side by side instead of training a trunk, see `join_scorers`, or `put_side_by_side` if
        they are of different kinds.
    also : Sequence[Further]
        Further folders of photographs. A patient's name means the same person in all that are not `apart`.

    Raises
    ------
    TrainingError
    DatasetError
    ScorerError
    StoreError
    """
    if members and (from_scratch or fine_tune or teachers or configuration.trunk or configuration.size):
        raise TrainingError(
            "scorers that are combined with --member keep their own trunks and sizes, and do not learn again",
            "leave out --from-scratch, --fine-tune, --teacher, --trunk and --size",
        )
    beside = [load_scorer(member) for member in members]
    if any(not isinstance(one, TransferredScorer) for one in beside):
        told: dict[str, Any] = {"source": source, "further": further, "command": command, "progress": progress}
        return put_side_by_side(configuration, out, members_of(beside), also=also, **told)
    workshop = Workshop.of(configuration, progress, also=[one.images for one in also])
    dataset, report = gather_all(workshop, also)
    settings: dict[str, Any] = {
        "trunk": configuration.trunk or "alexnet",
        "weights": configuration.trunk_weights,
        "from_scratch": from_scratch,
        "fine_tune": fine_tune,
        "size": configuration.size or 224,
        "preparation": configuration.preparation or "standardise",
        "balance": configuration.balance,
        "augmentation": augmentation,
        "loss": loss,
        "gamma": gamma,
        "device": device_of(configuration.device or "auto"),
        "hidden": hidden,
        "epochs": epochs,
        "seed": configuration.seed,
    }
    labels = [[image.image_id, image.grade, image.patient, image.split] for image in dataset.images]
    others = [load_transferred(other) for other in teachers] or [one for one in beside if isinstance(one, TransferredScorer)]
    if strangers := [one.name for one in others if one.scale.subject != dataset.scale.subject]:
        raise TrainingError(
            f"scorer {strangers[0]}: was trained on photographs of another subject than these, see `subject` under [scale]",
            "leave it out, or name one that was trained on such photographs",
        )
    # A checkpoint is continued only with pixels that are prepared in the same way as those it learned from.
    code = code_key("atlas.photographs.opened", "atlas.photographs.preparations")
    parts = [settings, labels, dataset.scale.subject.name, code, [one.sha256 for one in others] or None]
    work = workshop.store.root / "training" / digest(parts)[:16]
    common: dict[str, Any] = {
        "name": out.name,
        "source": source,
        "further": further,
        "command": command,
        "work": work,
        "code": code,
        "progress": progress,
        "each": workshop.each_or_raise if workshop.engine.elsewhere else None,
    }
    if members:
        settings = {name: settings[name] for name in ("balance", "hidden", "seed")}
        scorer = join_scorers(dataset, members=others, preparation=configuration.preparation, **settings, **common)
    else:
        scorer = train_scorer(dataset, teachers=others, **settings, **common)
    save_bundle(out, scorer)
    saved = load_transferred(out)
    shutil.rmtree(work, ignore_errors=True)  # gigabytes, of no use once the scorer is safe
    return saved, report
