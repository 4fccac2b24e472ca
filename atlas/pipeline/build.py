"""The pipeline, from a folder of graded photographs to a static atlas. Read `study_dataset` as the specification.

Everything is gathered before anything is written. What is found out about a photograph is kept in the store at once, so a killed
build goes on where it stopped; an atlas that stands is replaced only by a whole one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from atlas.cohort.dataset import read_files
from atlas.config import Configuration
from atlas.curation.file import CurationFile, read_curation
from atlas.errors import ConfigurationError
from atlas.patterns.numbering import read_identities, write_identities
from atlas.pipeline.engine import single_threaded
from atlas.pipeline.provenance import write_run
from atlas.pipeline.publication import Publication
from atlas.pipeline.store import Store, default_root, disk_faults
from atlas.pipeline.study import Clock, demo_cohort, gather, study_dataset
from atlas.progress import Progress, silent
from atlas.records import Atlas, DatasetReport
from atlas.resources import demo_curation
from atlas.scorers.card import evaluate_own_test
from atlas.site.render import render_site
from atlas.site.tables import write_tables

_IDENTITIES = "clusters.json"  # in the site's folder: which cluster is which, for the next build


@dataclass(frozen=True)
class BuildResult:
    """What a build made. `report` and `kept` name files: for the terminal only.

    timings : seconds by stage.   kept : the user's own files that were in the atlas before, and still are.
    """

    out: Path
    atlas: Atlas
    report: DatasetReport
    timings: Mapping[str, float] = field(default_factory=dict)
    kept: tuple[str, ...] = ()


def build_atlas(configuration: Configuration, *, progress: Progress = silent) -> BuildResult:
    """Build the atlas that `configuration` asks for into its `out` folder.

    Raises ConfigurationError, DatasetError, ScorerError or StoreError. Then, and when interrupted, an atlas that stood at `out`
    still stands, and what was computed is kept in the store.
    """
    if configuration.out is None:
        raise ConfigurationError("out: no folder to write the atlas to", "give --out DIR, or the key out in atlas.toml.")
    require_apart(configuration)
    store = Store(configuration.store)
    clock = Clock()
    publication = Publication(configuration.out)
    store.tidy()
    with publication as folder, single_threaded():
        with clock("dataset"):
            curated = _curation(configuration)
            dataset, report = gather(configuration, store, progress)
            curated = curated or _demo_curation(configuration, store)
        previous = read_identities(configuration.out / _IDENTITIES)
        study = study_dataset(dataset, report, configuration, store, progress, clock, curated, previous)
        judged = None if study.scorer is None else evaluate_own_test(study.scorer)
        made = replace(study.atlas, scorer_evaluation=judged)
        names = None
        if configuration.keep_names:
            names = {i.image_id: i.path.name.encode(errors="backslashreplace").decode() for i in study.images}
        room = disk_faults(configuration.out.absolute().parent, "make room, or choose another --out; the old atlas is unchanged.")
        with clock("site"), room, study.pictures(store) as pictures:
            render_site(made, pictures, folder, names=names, progress=progress)
            write_tables(made, folder / "tables", names=names)
            write_run(folder / "run.json", made.provenance)
            write_identities(folder / _IDENTITIES, study.clusters, study.space, previous)
        store.keep_files_key(configuration.out, ((image.image_id, image.path) for image in study.images))
    store.note(configuration.out, "timings", clock.seconds)
    return BuildResult(configuration.out, made, study.report, clock.seconds, publication.kept)


def require_apart(configuration: Configuration) -> None:
    """Raise ConfigurationError where the atlas or the store would lie among the photographs, or they in the atlas."""
    if configuration.images is None or configuration.out is None:
        return
    images, out = (os.path.realpath(path) for path in (configuration.images, configuration.out))
    inside = "{name} = {inner}: lies in the folder of the {outer}"
    for name, inner, outer, what in (
        ("out", out, images, "photographs"),
        ("store", os.path.realpath(configuration.store or default_root()), images, "photographs"),
        ("images", images, out, "atlas"),
    ):
        if os.path.commonpath([inner, outer]) == outer:
            raise ConfigurationError(
                inside.format(name=name, inner=inner, outer=what), f"choose a folder outside of {outer} for --{name}."
            )


def _curation(configuration: Configuration) -> CurationFile | None:
    """Read the curation of real photographs, before anything that takes long; None for the embedded cohort."""
    if configuration.images is None:
        return None
    file = configuration.curation or Path(os.path.abspath(configuration.images)).parent / "curation.toml"  # noqa: PTH100
    return read_curation(file) if configuration.curation or file.is_file() else CurationFile()


def _demo_curation(configuration: Configuration, store: Store) -> CurationFile:
    """Read the embedded cohort's curation. Its eyes may be called by their names, with `limit`, too: they name nobody."""
    files = sorted((demo_cohort(store) / "images").iterdir())
    whole = read_files(files, scale=configuration.grade_scale())
    return read_curation(configuration.curation or demo_curation(), names={i.path.stem: i.image_id for i in whole.images})
