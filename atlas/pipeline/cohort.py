"""The photographs of a command: those that its settings name, or the embedded drawn cohort."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

from atlas.cohort.boxes import Boxes, read_boxes
from atlas.cohort.dataset import read_dataset, read_files
from atlas.cohort.masks import find_masks, masks_without_photograph
from atlas.config import Configuration
from atlas.curation.file import CurationFile, read_curation
from atlas.errors import ConfigurationError
from atlas.photographs.decode import read_size
from atlas.pipeline.copies import with_copies, without_unreadable
from atlas.pipeline.groups import DERIVED, require_groups
from atlas.pipeline.keys import code_key
from atlas.pipeline.store import Store, default_root
from atlas.pipeline.workshop import Workshop
from atlas.progress import Progress, silent
from atlas.records import Dataset, DatasetReport, GradedImage
from atlas.resources import demo_curation

DEMO_COUNT = 240
"""Eyes in the embedded synthetic cohort: enough for every grade and lesion to be seen, few enough to build in minutes."""

_DEMO_SIZE = 640
_DEMO_SEED = 20


@dataclass(frozen=True)
class Cohort:
    """Photographs with their grades.

    Parameters
    ----------
    dataset : Dataset
        The photographs.
    report : DatasetReport
        What reading them left out or had to decide.
    images : Path
        Their folder.
    synthetic : bool
        Every eye is drawn.
    """

    dataset: Dataset
    report: DatasetReport
    images: Path
    synthetic: bool = False


def gather(workshop: Workshop, *, copies: bool = True) -> Cohort:
    """Read the photographs and grades that the settings name.

    Parameters
    ----------
    copies : bool
        Look for copies of one picture, for which every photograph is decoded, and leave out those that cannot be. Not needed
        where `see` prepares them all.

    Raises
    ------
    DatasetError
        Where there are none that can be used, or a column makes too many groups.
    ConfigurationError
        Where another disease is asked of the embedded cohort.
    """
    settings = workshop.configuration
    images, grades, synthetic = settings.images, settings.grades, False
    if images is None:
        if settings.scale is not None:
            raise ConfigurationError(
                "scale: the embedded synthetic cohort shows diabetic retinopathy only", "give IMAGES, or leave [scale] out."
            )
        drawn = demo_cohort(workshop.store, workshop.progress)
        images, grades, synthetic = drawn / "images", drawn / "grades.csv", True
    dataset, report = read_dataset(
        images,
        grades,
        scale=settings.grade_scale(),
        image_column=settings.image_column,
        grade_column=settings.grade_column,
        patient_column=settings.patient_column,
        eye_column=settings.eye_column,
        split_column=settings.split_column,
        rater_column=settings.rater_column,
        further_columns=[name for name, _ in settings.grouped_by() if name not in DERIVED],
        optional_columns=[name for name, _ in settings.grouped_by() if name in DERIVED],
        split=settings.split,
        limit=settings.limit,
        seed=settings.seed,
        allow_burnt_in=settings.allow_burnt_in,
        probe=read_size,
        progress=workshop.progress,
    )
    require_groups(settings, dataset.images)
    if synthetic:
        report = replace(report, layout="embedded synthetic cohort")
    elif copies:
        dataset, report = without_unreadable(workshop, *with_copies(workshop, dataset, report))
    return Cohort(dataset, report, images, synthetic)


def join_reports(reports: Sequence[DatasetReport]) -> DatasetReport:
    """Join what reading several sets of photographs left out or had to decide."""
    lines = {
        field.name: sum((getattr(report, field.name) for report in reports), ())
        for field in fields(DatasetReport)
        if field.name != "layout"
    }
    return DatasetReport(", ".join(dict.fromkeys(report.layout for report in reports)), **lines)


def demo_cohort(store: Store, progress: Progress = silent) -> Path:
    """Return the folder of the embedded synthetic cohort (`images/`, `masks/`, `grades.csv`), drawn once and kept."""

    def draw(folder: Path) -> None:
        from atlas.drawn.cohort import write_cohort  # loads what a build that finds nothing changed need not wait for

        write_cohort(DEMO_COUNT, folder, seed=_DEMO_SEED, size=_DEMO_SIZE, progress=progress)

    return store.keep("synthetic", [DEMO_COUNT, _DEMO_SIZE, _DEMO_SEED, code_key("atlas.drawn.cohort")], draw)


def read_curation_of(cohort: Cohort, workshop: Workshop) -> CurationFile:
    """Read the instructor's words: the file that is named, or `curation.toml` beside the photographs' folder.

    The embedded cohort brings its own, in which eyes are called by their names, with `limit`, too: they name nobody.
    """
    settings, file = workshop.configuration, curation_file(cohort, workshop)
    if cohort.synthetic:
        everyone = read_files(sorted(cohort.images.iterdir()), scale=cohort.dataset.scale)
        named = {image.path.stem: image.image_id for image in everyone.images}
        return read_curation(file, names=named)
    return read_curation(file) if settings.curation or file.is_file() else CurationFile()


def curation_file(cohort: Cohort, workshop: Workshop) -> Path:
    """Return the file of the instructor's words: the one that is named, or where one is looked for, which need not exist."""
    beside = demo_curation() if cohort.synthetic else cohort.images.absolute().parent / "curation.toml"
    return workshop.configuration.curation or beside


def masks_of(cohort: Cohort, workshop: Workshop) -> Mapping[str, tuple[Path, ...]]:
    """Find the lesion masks that the settings name, by image_id; the embedded cohort brings its own.

    Raises
    ------
    ConfigurationError
        Where the folder is missing, and what `find_masks` raises.
    """
    masks = cohort.images.parent / "masks" if cohort.synthetic else workshop.configuration.masks
    if masks is None:
        return {}
    if not masks.is_dir():
        raise ConfigurationError(f"masks: {masks} is not a folder", "give the folder of the lesion masks.")
    return find_masks(masks, cohort.dataset, cohort.images)


def with_lone_masks(cohort: Cohort, workshop: Workshop, masks: Mapping[str, tuple[Path, ...]]) -> Cohort:
    """Add to the report the masks that belong to no photograph."""
    folder = workshop.configuration.masks
    if folder is None or cohort.synthetic:
        return cohort
    lone = masks_without_photograph(folder, masks, cohort.images.rglob("*"))
    return replace(cohort, report=replace(cohort.report, masks_without_photograph=lone))


def boxes_of(cohort: Cohort, workshop: Workshop) -> Boxes:
    """Read the boxes that the settings name; none where they name none. Raises what `read_boxes` raises."""
    table = workshop.configuration.boxes
    return Boxes({}, {}) if table is None else read_boxes(table, cohort.dataset)


def require_apart(configuration: Configuration) -> None:
    """Raise ConfigurationError where the atlas or the store would lie among the photographs, or one of these in the atlas."""
    if configuration.out is None:
        return
    images = None if configuration.images is None else _real(configuration.images)
    out, store = _real(configuration.out), _real(configuration.store or default_root())
    for name, inner, outer, what in (
        ("out", out, images, "photographs"),
        ("store", store, images, "photographs"),
        ("images", images, out, "atlas"),
        ("store", store, out, "atlas"),
    ):
        if inner is not None and outer is not None and inner.is_relative_to(outer):
            flag = "out" if name == "images" else name
            place = f"a folder that does not hold {inner}" if name == "images" else f"a folder outside of {outer}"
            raise ConfigurationError(f"{name} = {inner}: lies in the folder of the {what}", f"choose {place} for --{flag}.")


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path.expanduser()))


class Further(NamedTuple):
    """A further folder of photographs.

    Parameters
    ----------
    images : Path
        The folder.
    grades : Path or None
        Its table of grades.
    apart : bool
        Whether its patients are other people than those of all other folders, even where names agree.
    """

    images: Path
    grades: Path | None = None
    apart: bool = False


def gather_all(workshop: Workshop, also: Sequence[Further]) -> tuple[Dataset, DatasetReport]:
    """Gather the photographs of the settings and of further folders with their tables, as one dataset."""
    cohort = gather(workshop)
    gathered = [(cohort.dataset, cohort.report)]
    for number, one in enumerate(also, start=2):
        others_of = workshop.configuration.model_copy(update={"images": one.images, "grades": one.grades})
        cohort = gather(replace(workshop, configuration=others_of))
        dataset = cohort.dataset
        if one.apart:
            named = (
                image if image.patient is None else replace(image, patient=f"{number}/{image.patient}")
                for image in dataset.images
            )
            dataset = replace(dataset, images=tuple(named))
        gathered.append((dataset, cohort.report))
    return joined(gathered)


def joined(gathered: Sequence[tuple[Dataset, DatasetReport]]) -> tuple[Dataset, DatasetReport]:
    """Join datasets and reports. What several say of one photograph is joined; one that they grade differently has no grade."""
    images: dict[str, GradedImage] = {}
    conflicts: list[tuple[str, str]] = []
    for dataset, _ in gathered:
        for image in dataset.images:
            known = images.setdefault(image.image_id, image)
            if image.grade is None or known.grade == image.grade or image.image_id in (one for one, _ in conflicts):
                continue
            if known.grade is None:
                images[image.image_id] = replace(known, grade=image.grade)
            else:
                line = f"{known.path.name}: grade {known.grade}, and {image.grade} as {image.path}; kept without a grade"
                conflicts.append((image.image_id, line))
                images[image.image_id] = replace(known, grade=None)
    report = join_reports([one for _, one in gathered])
    told = (*report.conflicting_duplicates, *(line for _, line in conflicts))
    whole = Dataset(tuple(images[i] for i in sorted(images)), gathered[0][0].scale)
    return whole, replace(report, conflicting_duplicates=told)
