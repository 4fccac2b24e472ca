"""One self-contained page on single photographs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from atlas.cohort.dataset import read_files
from atlas.config import Configuration
from atlas.pipeline.engine import single_threaded
from atlas.pipeline.store import Store
from atlas.pipeline.study import Clock, study_dataset
from atlas.progress import Progress, silent
from atlas.records import DatasetReport
from atlas.site.render import render_report


def build_report(
    files: Sequence[Path], file: Path, configuration: Configuration, *, progress: Progress = silent
) -> DatasetReport:
    """Write one self-contained page with the saliency report of each photograph in `files`; return what could not be read.

    Raises ConfigurationError, DatasetError, ScorerError or StoreError.
    """
    store = Store(configuration.store)
    with single_threaded():
        unmasked = configuration.model_copy(update={"masks": None})  # a report shows no outlines
        dataset = read_files(files, scale=configuration.grade_scale())
        study = study_dataset(dataset, DatasetReport("files"), unmasked, store, progress, Clock())
        with study.pictures(store) as pictures:
            render_report(study.atlas, pictures, [image.image_id for image in study.images], file)
    return study.report
