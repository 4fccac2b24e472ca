"""Changes of the code: everything that a change may affect is made again, and nothing else."""

from __future__ import annotations

import compileall
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from atlas.drawn.cohort import write_cohort
from atlas.pipeline.keys import folder_key

ROOT = Path(__file__).parents[1]
EYES, BUILT = 20, 4  # a training needs ten patients

# With the code of each house in turn: builds an atlas, and begins a training, which is cut off: what it would go on from stays in
# the store. Prints how many entries of each stage each house made. The libraries take seconds to load, so all houses share one
# process, each in a fork of its own, which ends without tidying up: that would copy the memory that they share.
WORK = """
import gc, json, os, sys
from collections import Counter
from pathlib import Path
import cv2, jinja2, openTSNE, pydantic, scipy.stats, sklearn.cluster, torch, torchvision

BUILT = int(sys.argv[1])
cohort, store, *houses = map(Path, sys.argv[2:])


def entries():
    return {path.relative_to(store).as_posix() for path in (*store.glob("*/??/*"), *store.glob("training/*"))}


gc.freeze()
for here in houses:
    before = entries()
    child = os.fork()
    if child == 0:
        sys.path.insert(0, str(here))
        break
    assert os.waitpid(child, 0)[1] == 0, here
    print(json.dumps(Counter(name.partition("/")[0] for name in entries() - before)), flush=True)
else:
    sys.exit()

import atlas
from atlas import build_atlas, load_configuration
from atlas.pipeline.train import train

assert Path(atlas.__file__).is_relative_to(here)
common = {"images": cohort / "images", "store": store}
settings = {"scorer": "synthetic-alexnet", "clusters": 2, "workers": 1, "limit": BUILT}
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
    sys.exit("the training was not cut off")
except KeyboardInterrupt:
    os._exit(0)
"""

# A line at the end of a module, and the stages that it may have changed.
CHANGES: dict[str, tuple[str, set[str]]] = {
    "site/pages.py": ("LATER = 1", set()),
    # No task names this module: scorers reach it through that of trunks.
    "scorers/backbones.py": ("LATER = 1", {"predictions", "looks", "patches"}),
    # Sources count as they stand, with their comments.
    "photographs/preparations.py": ("# Another line.", {"pictures", "predictions", "looks", "patches", "training"}),
    "cohort/masks.py": ("LATER = 1", {"outlines"}),
}

Made = dict[str, int]
"""How many entries of each stage were made."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    """What the unchanged code, named "", makes in an empty store, and what each change of it then makes again."""
    folder = tmp_path_factory.mktemp("keys")
    write_cohort(EYES, folder / "eyes", seed=5, size=96)
    first = folder / "house"
    shutil.copytree(ROOT / "atlas", first / "atlas", ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(first, quiet=1)  # once for all of them
    for name in ("models", "site_templates"):
        (first / name).symlink_to(ROOT / name)
    houses = [first]
    for number, (module, (line, _)) in enumerate(CHANGES.items()):
        houses.append(shutil.copytree(first, folder / f"house{number}", symlinks=True))
        source = houses[-1] / "atlas" / module
        source.write_text(f"{source.read_text(encoding='utf-8')}{line}\n", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-P", "-c", WORK, str(BUILT), folder / "eyes", folder / "store", *houses]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(zip(["", *CHANGES], map(json.loads, done.stdout.splitlines()), strict=True))


def test_every_stage_of_a_cohort_is_kept(made: dict[str, Made]) -> None:
    first = made[""]
    assert first["pictures"] == first["predictions"] == first["looks"] == BUILT
    assert first.keys() == {
        "copies",
        "fingerprints",
        "pictures",
        "predictions",
        "looks",
        "patches",
        "outlines",
        "layouts",
        "lesions",
        "training",
    }
    assert first["training"] == 1


@pytest.mark.parametrize("module", CHANGES)
def test_a_line_of_code_makes_again_what_its_module_may_have_changed(made: dict[str, Made], module: str) -> None:
    assert made[module] == {stage: made[""][stage] for stage in CHANGES[module][1]}


def test_a_folder_is_known_by_its_files_wherever_it_lies(tmp_path: Path) -> None:
    keys = []
    for place in ("package", "package/_shipped/site_templates"):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        (folder / "page.html").write_text("one")
        keys.append(folder_key(folder))
        (folder / "page.pyc").write_text("compiled")
        assert folder_key(folder) == keys[-1]
        (folder / "page.html").write_text("another")
        assert folder_key(folder) != keys[-1]
        (folder / "page.html").rename(folder / "leaf.html")
        (folder / "leaf.html").write_text("one")
        assert folder_key(folder) != keys[-1]
        (folder / "leaf.html").rename(folder / "page.html")
    assert keys[0] == keys[1]
    assert folder_key(tmp_path / "package") == keys[0], "the templates in a wheel do not belong to its code"
