"""One self-contained page on single photographs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from atlas.cohort.dataset import read_files
from atlas.config import Configuration
from atlas.errors import StoreError
from atlas.pipeline.assembly import assemble, with_faults
from atlas.pipeline.engine import single_threaded
from atlas.pipeline.gallery import laid_out
from atlas.pipeline.store import disk_faults
from atlas.pipeline.study import cut_all, explain, lesion_net_of, see
from atlas.pipeline.workshop import Workshop
from atlas.progress import Progress, silent
from atlas.records import DatasetReport
from atlas.site.render import render_report


def build_report(
    files: Sequence[Path], file: Path, configuration: Configuration, *, progress: Progress = silent
) -> DatasetReport:
    """Write one self-contained page with the saliency report of each photograph in `files`; return what could not be read.

    Parts that need a cohort are left out: clusters, the map, similar photographs and agreement.

    Raises
    ------
    ConfigurationError
    DatasetError
    ScorerError
    StoreError
    """
    if file.is_dir():
        raise StoreError(f"{file}: is a folder", "give the name of an HTML file with --out.")
    workshop = Workshop.of(configuration, progress, also=files)
    with single_threaded():
        dataset = read_files(files, scale=configuration.grade_scale(), allow_burnt_in=configuration.allow_burnt_in)
        net = lesion_net_of(workshop, dataset)
        explained = explain(workshop, see(workshop, dataset, DatasetReport("files"), plates=True, net=net))
        cut = cut_all(workshop, explained)
        report = with_faults(explained, *cut.faults)
        atlas = assemble(configuration, explained, cut, report)
        seen = explained.seen
        room = disk_faults(file.absolute().parent, "make room, or choose another --out.", any_fault=True)
        with laid_out(workshop, explained, cut.pictures, {}) as pictures, room:
            render_report(atlas, pictures, seen.dataset.image_ids, file, language=configuration.languages[0])
    return report
