"""Training a scorer, and writing its bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from atlas.config import Configuration
from atlas.errors import TrainingError
from atlas.pipeline.store import Store, digest
from atlas.pipeline.study import gather
from atlas.progress import Progress, silent
from atlas.records import Dataset, DatasetReport
from atlas.scorers.bundle import load_scorer, save_bundle
from atlas.scorers.transferred import TransferredScorer
from atlas.training.networks import Augmentation
from atlas.training.scorers import join_scorers, train_scorer


def train(
    configuration: Configuration,
    out: Path,
    *,
    also: Sequence[tuple[Path, Path | None]] = (),
    from_scratch: bool = False,
    fine_tune: bool = False,
    teachers: Sequence[str] = (),
    members: Sequence[str] = (),
    augmentation: Augmentation = "flips-rotations",
    hidden: int = 64,
    epochs: int = 12,
    source: str = "Not stated.",
    further: Sequence[str] = (),
    command: str = "",
    progress: Progress = silent,
) -> tuple[TransferredScorer, DatasetReport]:
    """Train a scorer on the graded photographs of `configuration` and write its bundle to `out`; see `train_scorer`.

    teachers : scorers' names or folders.   members : the same, of scorers to put side by side instead of training a trunk, see
        `join_scorers`.
    also : further folders of photographs with their tables of grades. A patient's name means the same person in all of them.

    A training that was cut off goes on where it stopped. Raises TrainingError, DatasetError, ScorerError or StoreError.
    """
    if members and (from_scratch or fine_tune or teachers or configuration.trunk or configuration.size):
        raise TrainingError(
            "scorers that are put side by side bring their own trunks and size, and do not learn again",
            "leave out everything that speaks of a trunk or a teacher",
        )
    store = Store(configuration.store)
    gathered = [gather(configuration, store, progress)]
    for images, grades in also:
        gathered.append(gather(configuration.model_copy(update={"images": images, "grades": grades}), store, progress))
    dataset, report = _joined(gathered)
    settings: dict[str, Any] = {
        "trunk": configuration.trunk or "alexnet",
        "weights": configuration.trunk_weights,
        "from_scratch": from_scratch,
        "fine_tune": fine_tune,
        "size": configuration.size or 224,
        "preparation": configuration.preparation or "standardise",
        "balance": configuration.balance,
        "augmentation": augmentation,
        "hidden": hidden,
        "epochs": epochs,
        "seed": configuration.seed,
    }
    labels = [[image.image_id, image.grade, image.patient, image.split] for image in dataset.images]
    others = [load_scorer(other) for other in (*teachers, *members)]
    work = store.root / "training" / digest([settings, labels, [one.sha256 for one in others] or None])[:16]
    common: dict[str, Any] = {
        "name": out.name,
        "source": source,
        "further": further,
        "command": command,
        "work": work,
        "progress": progress,
    }
    if members:
        settings = {name: settings[name] for name in ("balance", "hidden", "seed")}
        scorer = join_scorers(dataset, members=others, preparation=configuration.preparation, **settings, **common)
    else:
        scorer = train_scorer(dataset, teachers=others, **settings, **common)
    save_bundle(out, scorer)
    return load_scorer(out), report


def _joined(gathered: Sequence[tuple[Dataset, DatasetReport]]) -> tuple[Dataset, DatasetReport]:
    """Join datasets and reports. Photographs that are in several have what the first says of them."""
    images = {image.image_id: image for dataset, _ in reversed(gathered) for image in dataset.images}
    lines = {
        field.name: sum((getattr(report, field.name) for _, report in gathered), ())
        for field in fields(DatasetReport)
        if field.name != "layout"
    }
    layout = ", ".join(dict.fromkeys(report.layout for _, report in gathered))
    return Dataset(tuple(images[i] for i in sorted(images)), gathered[0][0].scale), DatasetReport(layout, **lines)
