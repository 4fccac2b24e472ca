"""What would break on Windows or macOS, as far as a test elsewhere can show it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from atlas.drawn.cohort import write_cohort

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted([*(ROOT / "atlas").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")])

UNIX_ONLY = {"fcntl", "grp", "pwd", "pty", "resource", "syslog", "termios", "tty"}
"""Modules that Windows lacks."""

UNIX_CALLS = {"os.fork", "os.mkfifo", "os.getuid", "os.geteuid", "os.chown", "os.sync", "os.setsid", "os.killpg", "signal.alarm"}


def calls(file: Path) -> Iterator[tuple[str, ast.Call]]:
    """Yield each call in a source with what is called, as it is written."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keywords(call: ast.Call) -> set[str | None]:
    return {keyword.arg for keyword in call.keywords}


def mode_of(name: str, call: ast.Call) -> str | None:
    """Return the mode in which a call opens a file as text; None if it opens none, or bytes."""
    known = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
    known += [
        keyword.value.value for keyword in call.keywords if isinstance(keyword.value, ast.Constant) and keyword.arg == "mode"
    ]
    modes = [value for value in known if isinstance(value, str) and value and set(value) <= set("rwaxbt+")]
    if name not in ("open", "io.open", "os.fdopen") and not (name.endswith(".open") and (modes or not call.args)):
        return None
    return None if any("b" in mode for mode in modes) else (modes or ["r"])[0]


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_text_is_read_and_written_alike_on_every_system(file: Path) -> None:
    """Windows writes another encoding and other line ends, unless it is told."""
    loose = []
    for name, call in calls(file):
        needed: set[str] = set()
        if name.endswith(".write_text"):
            needed = {"encoding", "newline"}
        elif name.endswith(".read_text") and not call.args:
            needed = {"encoding"}
        elif mode := mode_of(name, call):
            needed = {"encoding"} if "r" in mode else {"encoding", "newline"}
        if not needed <= keywords(call):
            loose.append(f"{name}, line {call.lineno}")
    assert loose == [], "name the encoding, and newline where text is written"


@pytest.mark.parametrize("file", sorted((ROOT / "atlas").rglob("*.py")), ids=lambda file: file.relative_to(ROOT).as_posix())
def test_nothing_is_used_that_only_unix_has(file: Path) -> None:
    tree = ast.parse(file.read_bytes())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported & UNIX_ONLY == set()
    assert {name for name, _ in calls(file)} & UNIX_CALLS == set()


def test_one_place_makes_links_and_does_without_where_they_are_refused() -> None:
    """Windows refuses symbolic links; tests/test_publication.py and tests/test_build.py show what then happens."""
    linking = {
        (file.relative_to(ROOT).as_posix(), name.rpartition(".")[2])
        for file in SOURCES
        if file.is_relative_to(ROOT / "atlas")
        for name, _ in calls(file)
        if name.rpartition(".")[2] in ("symlink", "symlink_to", "link", "hardlink_to")
    }
    assert linking == {("atlas/pipeline/publication.py", "symlink_to"), ("atlas/pipeline/publication.py", "link")}


WATCHED = """
import os, sys
from pathlib import Path

def held(path):
    # Files below a path that this process has open or mapped.
    path = os.path.realpath(path)
    with open("/proc/self/maps") as lines:
        mapped = [line.split(maxsplit=5)[5].strip() for line in lines if path in line]
    opened = []
    for number in os.listdir("/proc/self/fd"):
        try:
            opened.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            pass
    return {one for one in mapped + opened if one == path or one.startswith(path + "/")}

def watch(event, arguments):
    # Folders are removed through descriptors of their parents; their files are seen one by one.
    if event in ("os.remove", "os.rename", "os.rmdir"):
        folder = arguments[-1] if event != "os.rename" else arguments[2]
        path = os.fsdecode(arguments[0])
        if isinstance(folder, int) and folder >= 0:
            path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
        if event != "os.rmdir" and not path.endswith(".lock"):
            faults.update(held(path))

faults = set()
work = Path(sys.argv[1])
control = work / "control"
control.write_bytes(b"text")
stream = control.open("rb")
sys.addaudithook(watch)
control.unlink()
stream.close()
assert faults == {os.path.realpath(control)}, "the watch sees nothing"
faults.clear()

from atlas.config import load_configuration
from atlas.pipeline.build import build_atlas

images, grades, store = work / "images", work / "grades.csv", work / "store"
common = {"images": images, "grades": grades, "store": store, "scorer": "synthetic-alexnet", "lesion_net": "none"}
for turn in (1, 2):
    build_atlas(load_configuration(**common, out=work / "site", fit=True, folds=2, seed=turn))

import torch, torchvision
from atlas.cohort.dataset import read_dataset
from atlas.records import DIABETIC_RETINOPATHY
from atlas.scorers.bundle import save_bundle
from atlas.training.scorers import train_scorer

torch.manual_seed(0)
weights = work / "weights.pth"
torch.save(torchvision.models.squeezenet1_1().state_dict(), weights)
dataset, _ = read_dataset(images, grades, scale=DIABETIC_RETINOPATHY)
for turn in (1, 2):
    scorer = train_scorer(dataset, name="small", trunk="squeezenet1_1", weights=weights, size=64, source="-", work=work / "w")
    save_bundle(work / "small", scorer)
print(sorted(faults))
"""


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_no_file_is_removed_or_renamed_while_it_is_open_or_mapped(tmp_path: Path) -> None:
    """Windows refuses that. Seen while an atlas is built and replaced, heads are fitted, and scorers are trained and replaced."""
    write_cohort(24, tmp_path, seed=5, size=96)
    done = subprocess.run([sys.executable, "-c", WATCHED, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
