"""A build that is killed at any moment goes on where it was, and makes the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from atlas.drawn.cohort import write_cohort
from atlas.pipeline.cache import damaged
from atlas.pipeline.store import Store

MOMENTS = 6

# Builds an atlas in a process of its own, which ends itself by SIGKILL at its n-th change of a file, or of a name, in the folder;
# then builds it again. The first round, without a kill, counts the changes. All processes are forks of one, which has built an
# atlas of two photographs before, so that none of them has to load libraries and templates.
WORK = """
import gc, json, os, signal, sys
from pathlib import Path
from atlas import build_atlas, load_configuration

cohort, folder, moments = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
CHANGES = {f"os.{name}" for name in ("rename", "mkdir", "symlink", "link", "remove", "rmdir", "utime")} | {"shutil.rmtree"}


def build(place, last, limit=None):
    done = [0]

    def changed(event, arguments):
        writes = event == "open" and isinstance(arguments[1], str) and arguments[1][:1] in "wxa"
        if writes or event in CHANGES:
            if str(place) in " ".join(map(str, arguments)):
                done[0] += 1
                if done[0] == last:
                    os.kill(os.getpid(), signal.SIGKILL)

    if last is not None:
        sys.addaudithook(changed)
    build_atlas(
        load_configuration(
            images=cohort / "images",
            grades=cohort / "grades.csv",
            masks=cohort / "masks",
            out=place / "site",
            store=place / "store",
            scorer="synthetic-alexnet",
            lesion_net="none",
            clusters=2,
            workers=2,
            limit=limit,
        )
    )
    (folder / f"{place.name}.json").write_text(json.dumps(done[0]))


def in_a_fork(*arguments):
    child = os.fork()
    if child == 0:
        try:
            build(*arguments)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


build(folder / "before", None, limit=2)
gc.freeze()
assert in_a_fork(folder / "never", 0) == 0
total = json.loads((folder / "never.json").read_text())
for number in range(moments):
    last = 1 + (2 * number + 1) * total // (2 * moments)
    place = folder / f"killed{number}"
    codes = [in_a_fork(place, last)]
    left = sorted(path.relative_to(place).as_posix() for path in place.rglob("*")) if place.exists() else []
    codes.append(in_a_fork(place, 0))
    print(json.dumps([last, codes, left]), flush=True)
"""


Killed = tuple[Path, list[tuple[int, list[int], list[str]]]]
"""The folder of all builds, and of each: at which change it was killed, both exit codes, and what the kill left."""


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    folder = tmp_path_factory.mktemp("killed")
    write_cohort(5, folder / "eyes", seed=4, size=128)
    command = [sys.executable, "-c", WORK, folder / "eyes", folder, str(MOMENTS)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    )
    assert done.returncode == 0, done.stderr
    return folder, [json.loads(line) for line in done.stdout.splitlines()]


def test_builds_are_killed_in_every_part_of_their_work(killed: Killed) -> None:
    _, rounds = killed
    assert [codes for _, codes, _ in rounds] == [[-9, 0]] * MOMENTS
    left = [set(names) for _, _, names in rounds]
    without_looks = [names for names in left if not any(name.startswith("store/looks/") for name in names)]
    with_pages = [names for names in left if any(name.startswith(".site.new/images/") for name in names)]
    assert without_looks, "one is killed while photographs are prepared"
    assert with_pages, "one is killed while pages are written"


def test_what_a_kill_left_is_gone_on_from_and_the_bytes_are_the_same(killed: Killed) -> None:
    folder, rounds = killed
    before = contents(folder / "never" / "site")
    assert "index.html" in before
    for number, (last, _, _) in enumerate(rounds):
        place = folder / f"killed{number}"
        assert contents(place / "site") == before, f"killed at change {last}"
        again = json.loads((folder / f"killed{number}.json").read_text())
        assert again <= json.loads((folder / "never.json").read_text()) + 5, "what was done is not done again"


def test_the_store_of_a_killed_build_is_sound_and_holds_the_same_results(killed: Killed) -> None:
    folder, rounds = killed

    def results(place: Path) -> dict[str, bytes]:
        return {
            name: content for name, content in contents(place / "store").items() if name.count("/") == 3 and ".new-" not in name
        }

    expected = results(folder / "never")
    for number in range(len(rounds)):
        place = folder / f"killed{number}"
        checked, found = damaged(Store(place / "store"))
        assert found == ()
        assert checked > 0
        assert results(place) == expected
