"""A photograph that is cut short: every training names it, leaves it out and goes on."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from boxed import boxed_eyes

from atlas.config import Configuration, load_configuration
from atlas.errors import DatasetError, UnreadableImageError
from atlas.pipeline.cohort import gather
from atlas.pipeline.evidence import train_evidence_scorer
from atlas.pipeline.landmarks import train_disc
from atlas.pipeline.lesions import LesionSet, train_lesions
from atlas.pipeline.networks import train_complete
from atlas.pipeline.train import train
from atlas.pipeline.workshop import Workshop
from atlas.records import RETINA, DatasetReport
from atlas.resources import DEFAULT_LESION_NET, models_folder
from atlas.training.spread import prepared_for

COUNT, HELD = 28, 6

CUT = -2000  # bytes of a JPEG that are missing: its header is sound


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Boxed eyes, of which one to learn from is cut short, and a table of boxes round their optic discs."""
    folder = boxed_eyes(tmp_path_factory.mktemp("eyes"), COUNT, held=HELD, seed=12, size=160)
    with (folder / "discs.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "lesion", "x", "y", "width", "height"))
        writer.writerows((photograph.stem, "optic_disc", 90, 70, 24, 24) for photograph in (folder / "images").iterdir())
    cut_short(folder).write_bytes(cut_short(folder).read_bytes()[:CUT])
    return folder


def cut_short(folder: Path) -> Path:
    return min((folder / "images").iterdir())


def settings(eyes: Path) -> Configuration:
    return load_configuration(images=eyes / "images", grades=eyes / "grades.csv", store=eyes / "store")


def of_trunk(eyes: Path, out: Path) -> tuple[int, DatasetReport]:
    own = settings(eyes).model_copy(update={"trunk": "squeezenet1_1", "size": 64})
    made, report = train(own, out, from_scratch=True, epochs=1)
    return sum(made.training["photographs"].values()), report


def of_network(eyes: Path, out: Path) -> tuple[int, DatasetReport]:
    own = settings(eyes).model_copy(update={"size": 64})
    made, report = train_complete(own, out, network="pooled:squeezenet1_1", from_scratch=True, epochs=1)
    return sum(made.training["photographs"].values()), report


def sets(eyes: Path) -> list[LesionSet]:
    return [LesionSet(eyes / "images", eyes / "grades.csv", eyes / "boxes.csv")]


def of_evidence(eyes: Path, out: Path) -> tuple[int, DatasetReport]:
    made, report = train_evidence_scorer(settings(eyes), out, sets(eyes), start=DEFAULT_LESION_NET, epochs=1, photographs=2)
    return sum(made.training["photographs"].values()), report


def of_lesions(eyes: Path, out: Path) -> tuple[int, DatasetReport]:
    start = models_folder() / DEFAULT_LESION_NET
    made, report = train_lesions(settings(eyes), out, sets(eyes), start=start, epochs=1, drawn=0)
    return made.training["photographs"] + HELD, report


def of_disc(eyes: Path, out: Path) -> tuple[int, DatasetReport]:
    shutil.copytree(models_folder() / DEFAULT_LESION_NET, out)
    taught, report = train_disc(settings(eyes), out, eyes / "discs.csv")
    return taught.training["discs"] + HELD, report


@pytest.mark.parametrize("command", [of_trunk, of_network, of_evidence, of_lesions, of_disc])
def test_a_training_names_a_photograph_that_is_cut_short_and_learns_from_the_others(
    command: Callable[[Path, Path], tuple[int, DatasetReport]], eyes: Path, tmp_path: Path
) -> None:
    count, report = command(eyes, tmp_path / "made")
    assert count == COUNT - 1
    (line,) = report.unreadable
    assert line.startswith(f"{cut_short(eyes)}: is damaged or cut short")
    assert "What to do: copy it again" in line


def test_where_every_photograph_is_cut_short_the_first_is_named(eyes: Path, tmp_path: Path) -> None:
    shutil.copy(cut_short(eyes), tmp_path / "alone.jpg")
    with pytest.raises(DatasetError, match=r"none of the photographs can be used; .*\n.*alone\.jpg: is damaged or cut short"):
        gather(Workshop.of(load_configuration(images=tmp_path, grades=None, store=eyes / "store")))


def test_a_command_that_cannot_go_on_without_a_photograph_raises_the_error_of_its_kind(eyes: Path) -> None:
    workshop = Workshop.of(settings(eyes))
    images = gather(workshop, copies=False).dataset.images
    results = workshop.each_or_raise(prepared_for, images, (64, "standardise", RETINA), stage="prepare")
    with pytest.raises(UnreadableImageError, match="cut short"):
        list(results)
