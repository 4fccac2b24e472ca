"""Calibrating a trained scorer for other photographs, and writing the new bundle."""

from __future__ import annotations

from pathlib import Path

from atlas.config import Configuration
from atlas.errors import ScorerError
from atlas.pipeline.cohort import gather
from atlas.pipeline.engine import single_threaded
from atlas.pipeline.logits import logits_of
from atlas.pipeline.sources import trained_source
from atlas.pipeline.workshop import Workshop
from atlas.progress import Progress, silent
from atlas.records import DatasetReport
from atlas.scorers.bundle import load_scorer, save_bundle, stored_at
from atlas.scorers.calibrated import plain
from atlas.training.recalibration import Recalibrated, recalibrate, used_to_calibrate


def calibrate(
    configuration: Configuration,
    out: Path,
    *,
    source: str = "Not stated.",
    command: str = "",
    progress: Progress = silent,
) -> tuple[Recalibrated, DatasetReport]:
    """Calibrate the scorer of `configuration` on its graded photographs, see `recalibrate`, and write a new bundle to `out`.

    The original bundle stays as it is. A scorer that was calibrated before is calibrated afresh. Photographs that cannot be read
    are left out.

    Raises
    ------
    ScorerError
        If `out` is the original's folder. What `load_scorer` and `save_bundle` raise is raised, too.
    TrainingError
    DatasetError
    ConfigurationError
    StoreError
    """
    folder, half = stored_at(configuration.scorer)
    if out.resolve() == folder.resolve():
        raise ScorerError(f"{out}: is the folder of the scorer itself", "choose another folder for --out")
    workshop = Workshop.of(configuration, progress)
    with single_threaded():
        cohort = gather(workshop)
        original = plain(trained_source(configuration.scorer, cohort.dataset.scale).scorer)
        graded = used_to_calibrate(cohort.dataset)
        logits, dataset, report = logits_of(workshop, original, graded, cohort.dataset, cohort.report)
    made = recalibrate(original, dataset, logits, name=out.name, seed=configuration.seed, source=source, command=command)
    save_bundle(out, made.scorer, half=half)
    load_scorer(out)
    return made, report
