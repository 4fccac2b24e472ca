"""Changes of the code: everything that a change may affect is made again, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from atlas.drawn.cohort import write_cohort

ROOT = Path(__file__).parents[1]
EYES = 20

# Builds an atlas, and begins a training, which is cut off: what it would go on from stays in the store.
WORK = """
import sys
from pathlib import Path
import atlas
from atlas import build_atlas, load_configuration
from atlas.pipeline.train import train

here, cohort, store = map(Path, sys.argv[1:])
assert Path(atlas.__file__).is_relative_to(here)
common = {"images": cohort / "images", "store": store}
settings = {"scorer": "synthetic-alexnet", "clusters": 2, "workers": 1}
build_atlas(load_configuration(**common, **settings, masks=cohort / "masks", out=store.parent / "site"))


def stop(stage, done, total):
    if stage == "prepare":
        raise KeyboardInterrupt


try:
    train(
        load_configuration(**common, grades=cohort / "grades.csv", trunk="squeezenet1_1", size=64, training=True),
        store.parent / "scorer",
        from_scratch=True,
        progress=stop,
    )
except KeyboardInterrupt:
    print("cut off")
"""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys") / "eyes"
    write_cohort(EYES, folder, seed=5, size=96)
    return folder


def entries(store: Path) -> set[str]:
    """Name what a store keeps of stages, and of trainings that were cut off."""
    return {path.relative_to(store).as_posix() for path in (*store.glob("*/??/*"), *store.glob("training/*"))}


def made(house: Path, cohort: Path, store: Path) -> dict[str, int]:
    """Run the code in `house`, and return how many entries of each stage it made."""
    before = entries(store)
    command = [sys.executable, "-c", WORK, house, cohort, store]
    environment = os.environ | {"PYTHONPATH": str(house), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=house, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "cut off\n", done.stderr
    stages = [name.partition("/")[0] for name in entries(store) - before]
    return {stage: stages.count(stage) for stage in stages}


@pytest.fixture(scope="module")
def house(cohort: Path) -> Path:
    """A copy of the package with all that it ships, beside the drawn cohort."""
    folder = cohort.parent / "house"
    shutil.copytree(ROOT / "atlas", folder / "atlas", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("models", "site_templates"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture(scope="module")
def first(house: Path, cohort: Path) -> dict[str, int]:
    """The entries that the unchanged code makes in an empty store, `cohort.parent / "store"`."""
    return made(house, cohort, cohort.parent / "store")


def test_every_stage_of_a_cohort_is_kept(first: dict[str, int]) -> None:
    assert first["pictures"] == first["predictions"] == first["looks"] == EYES
    assert first.keys() == {
        "copies",
        "fingerprints",
        "pictures",
        "predictions",
        "looks",
        "patches",
        "outlines",
        "lesions",
        "training",
    }
    assert first["training"] == 1


@pytest.mark.parametrize(
    ("module", "line", "stages"),
    [
        ("site/pages.py", "LATER = 1", set()),
        # No task names this module: scorers reach it through that of trunks.
        ("scorers/backbones.py", "LATER = 1", {"predictions", "looks", "patches"}),
        # Sources count as they stand, with their comments.
        (
            "photographs/preparations.py",
            "# Another line.",
            {"pictures", "predictions", "looks", "patches", "training"},
        ),
        ("cohort/masks.py", "LATER = 1", {"outlines"}),
    ],
)
def test_a_line_of_code_makes_again_what_its_module_may_have_changed(
    house: Path, cohort: Path, first: dict[str, int], tmp_path: Path, module: str, line: str, stages: set[str]
) -> None:
    changed = shutil.copytree(house, tmp_path / "house", symlinks=True)
    source = changed / "atlas" / module
    source.write_text(f"{source.read_text(encoding='utf-8')}{line}\n", encoding="utf-8")
    assert made(changed, cohort, cohort.parent / "store") == {stage: first[stage] for stage in stages}
