"""`atlas cache`: what the store holds, which entries are damaged, and what goes when room is made."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import command

from atlas.config import load_configuration
from atlas.drawn.cohort import write_cohort
from atlas.errors import ConfigurationError, StoreError
from atlas.pipeline.build import build_atlas
from atlas.pipeline.cache import Held, damaged, entries_of, prune, remember_entries, size_of, survey
from atlas.pipeline.store import COPIES, HASHES, Store
from atlas.pipeline.unchanged import is_unchanged

DAY = 24 * 3600


def fill(root: Path, *names: str, size: int = 1000) -> dict[str, Path]:
    """Write entries as a command does that has ended."""
    store = Store(root)
    random = np.random.default_rng(0)
    made = {
        name: store.keep("numbers", name, lambda folder: (folder / "n").write_bytes(random.bytes(size)) and None)
        for name in names
    }
    return made


def used_before(entry: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(entry / HASHES, (then, then))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def names_in(root: Path) -> set[str]:
    return {entry.folder.name for entry in entries_of(Store(root))}


def test_a_use_is_noted_once_and_reading_for_a_check_is_none(root: Path) -> None:
    (entry,) = fill(root, "a").values()
    used_before(entry, 9)
    damaged(Store(root))
    assert survey(Store(root)).stages[0].newest < time.time() - 8 * DAY
    store = Store(root)
    assert store.has("numbers", "a")
    first = (entry / HASHES).stat().st_mtime
    assert first > time.time() - DAY
    used_before(entry, 9)
    assert store.has("numbers", "a")  # known to be sound: looked at no more
    assert (entry / HASHES).stat().st_mtime < time.time() - 8 * DAY


def test_an_entry_that_cannot_be_touched_is_used_all_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (entry,) = fill(root, "a").values()

    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refused)
    assert Store(root).has("numbers", "a")
    assert Store(root).keep("numbers", "a", lambda folder: pytest.fail("it is there")) == entry


def test_what_was_used_longest_ago_goes_first(root: Path) -> None:
    made = fill(root, "a", "b", "c", "d")
    for days, name in enumerate("dbac"):
        used_before(made[name], days + 1)
    each = next(entries_of(Store(root))).size
    done = prune(Store(root), larger_than=2 * each)
    assert (dict(done.entries), done.size) == ({"numbers": 2}, 2 * each)
    assert names_in(root) == {made["d"].name, made["b"].name}
    assert prune(Store(root), larger_than=2 * each).entries == {}


def test_age_is_counted_from_the_last_use(root: Path) -> None:
    made = fill(root, "a", "b")
    for entry in made.values():
        used_before(entry, 40)
    assert Store(root).has("numbers", "a")
    gc.collect()
    assert prune(Store(root), older_than=30).entries == {"numbers": 1}
    assert names_in(root) == {made["a"].name}


def test_a_dry_run_says_the_same_and_removes_nothing(root: Path) -> None:
    made = fill(root, "a", "b")
    used_before(made["a"], 40)
    left = root / "numbers" / ".new-left"
    left.mkdir()
    os.utime(left, (0, 0))
    tried = prune(Store(root), older_than=30, dry_run=True)
    assert names_in(root) == {entry.name for entry in made.values()}
    assert left.is_dir()
    assert prune(Store(root), older_than=30) == tried
    assert (tried.entries, tried.left_over) == ({"numbers": 1}, 1)
    assert not left.exists()


def test_stopped_trainings_go_by_age_and_folders_of_others_do_not(root: Path) -> None:
    fill(root, "a")
    gc.collect()
    for name in ("0123456789abcdef", "fedcba9876543210", "fundus"):
        (root / "training" / name).mkdir(parents=True)
        (root / "training" / name / "checkpoint.pt").write_bytes(b"weights")
    (root / "photographs" / "ab" / "patient").mkdir(parents=True)
    old = time.time() - 40 * DAY
    for file in (*root.rglob("*"), root / "training" / "fedcba9876543210"):
        if "0123456789abcdef" not in str(file):
            os.utime(file, (old, old))
    done = prune(Store(root), older_than=30)
    assert done.entries == {"numbers": 1, "training": 1}
    assert {file.name for file in (root / "training").iterdir()} == {"0123456789abcdef", "fundus"}
    assert (root / "photographs" / "ab" / "patient").is_dir()


def test_a_store_that_is_not_there_is_named_and_not_made(tmp_path: Path) -> None:
    for words in (("show",), ("check",), ("prune", "--older-than", "1")):
        done = command("cache", *words, "--store", tmp_path / "none")
        assert (done.returncode, "there is no store" in done.stderr) == (1, True)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("harm", ["change", "lose", "hashes"])
def test_damaged_entries_are_named_and_removed_when_asked(root: Path, harm: str) -> None:
    made = fill(root, "a", "b")
    file = made["a"] / "n"
    if harm == "change":
        file.write_bytes(b"x" * 1000)
    elif harm == "lose":
        file.unlink()
    else:
        (made["a"] / HASHES).write_text("[")
    checked, found = damaged(Store(root))
    assert checked == 2
    assert [entry for entry, _ in found] == [made["a"]]
    assert (HASHES if harm == "hashes" else "n ") in found[0][1]
    shown = command("cache", "check", "--store", root)
    assert (shown.returncode, made["a"].name in shown.stdout) == (1, True)
    removed = command("cache", "check", "--store", root, "--remove")
    assert (removed.returncode, "1 damaged one was removed" in removed.stdout) == (0, True)
    assert names_in(root) == {made["b"].name}
    assert command("cache", "check", "--store", root).returncode == 0


def test_copies_of_what_lies_at_addresses_are_listed_and_not_damaged(root: Path) -> None:
    made = fill(root, "a")
    copy = Store(root).path(COPIES, ["s3://bucket/eyes"]) / "eyes"
    copy.mkdir(parents=True)
    (copy / "eye.jpg").write_bytes(b"x" * 500)
    assert damaged(Store(root)) == (1, ())
    assert {entry.folder for entry in entries_of(Store(root))} == {made["a"], copy.parent}


def test_what_only_one_atlas_needs_goes_with_its_notes_and_the_rest_stays(root: Path, tmp_path: Path) -> None:
    made = {}
    for name, needs in {"one": ("shared", "a"), "two": ("shared", "b")}.items():
        store = Store(root)
        made |= {need: store.keep("numbers", need, lambda folder: (folder / "n").write_text("n") and None) for need in needs}
        out = tmp_path / name
        store.keep_files_key(out, [])
        store.keep_private(name * 8, {"a": "b"})
        store.note(out, "timings", {})
        remember_entries(store, out, photographs=2, build=name * 8)
    del store
    gc.collect()
    one, two = sorted(survey(Store(root)).atlases, key=lambda atlas: atlas.folder)
    assert (one.folder, one.photographs, one.entries) == (tmp_path / "one", 2, 2)
    assert 0 < one.alone < one.size
    assert two.size == one.size
    assert prune(Store(root), atlas=tmp_path / "one").size > one.alone  # the notes, too
    assert names_in(root) == {made["shared"].name, made["b"].name}
    assert [len(list((root / kind).iterdir())) for kind in ("keys", "private", "timings", "atlases")] == [1, 1, 1, 1]
    assert Store(root).find_private("two" * 8) == {"a": "b"}
    with pytest.raises(StoreError, match="does not know"):
        prune(Store(root), atlas=tmp_path / "one")


def test_what_an_atlas_that_is_up_to_date_needs_does_not_age(root: Path, tmp_path: Path) -> None:
    store = Store(root)
    entry = store.keep("numbers", "a", lambda folder: (folder / "n").write_text("n") and None)
    remember_entries(store, tmp_path / "out", photographs=1, build="b" * 16)
    del store
    gc.collect()
    used_before(entry, 40)
    assert prune(Store(root), older_than=30).entries == {}
    os.utime(Store(root).note_path(tmp_path / "out", "atlases"), (0, 0))
    assert prune(Store(root), older_than=30).entries == {"numbers": 1}


HOLDS = """
import sys
from pathlib import Path
from atlas.pipeline.store import Store
store = Store(Path(sys.argv[1]))
assert store.has("numbers", "a")
store.keep("numbers", "new", lambda folder: (folder / "n").write_text("n") and None)
print("ready", flush=True)
sys.stdin.readline()
"""


@contextmanager
def holding(root: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has used an entry and written another, until it reads a line."""
    command = [sys.executable, "-c", HOLDS, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_what_a_running_command_uses_and_writes_stays(root: Path) -> None:
    made = fill(root, "a", "b")
    for entry in made.values():
        used_before(entry, 2)
    with holding(root) as process:
        held = {made["a"].name, Store(root).path("numbers", "new").name}
        done = prune(Store(root), older_than=0)
        assert (dict(done.entries), done.spared) == ({"numbers": 1}, 2)
        assert names_in(root) == held
        assert prune(Store(root), larger_than=0).entries == {}
        process.communicate("\n", timeout=60)
    assert not list(root.glob(".new-*")), "a command that ends takes its mark with it"
    assert prune(Store(root), older_than=0).entries == {"numbers": 2}


def test_a_killed_command_holds_nothing_after_a_day(root: Path) -> None:
    fill(root, "a")
    gc.collect()
    with holding(root) as process:
        process.kill()
    (mark,) = root.glob(".new-*")
    assert prune(Store(root), older_than=0).entries == {}
    then = time.time() - 2 * DAY
    os.utime(mark, (then, then))
    assert prune(Store(root), older_than=0).entries == {"numbers": 2}
    assert not mark.exists()


def test_an_entry_that_is_used_while_it_is_being_removed_stays(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (entry,) = fill(root, "a").values()
    used_before(entry, 40)
    rename = Path.rename

    def used_first(self: Path, target: Path) -> Path:
        if self == entry:
            os.utime(entry / HASHES)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", used_first)
    done = prune(Store(root), older_than=30)
    assert (dict(done.entries), done.spared) == ({}, 1)
    assert Store(root).has("numbers", "a")
    assert list(entry.parent.iterdir()) == [entry]


def test_a_command_that_begins_while_entries_are_listed_loses_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (entry,) = fill(root, "a").values()
    gc.collect()
    used_before(entry, 40)
    began: list[Store] = []

    def list_late(store: Store) -> Iterator[Any]:
        if not began:
            began.append(Store(root))
            assert began[0].has("numbers", "a")
        yield from entries_of(store)

    monkeypatch.setattr("atlas.pipeline.cache.entries_of", list_late)
    assert prune(Store(root), larger_than=0).entries == {}
    assert entry.is_dir()


@pytest.mark.parametrize(("text", "bytes_"), [("500", 500), ("1.5 kB", 1500), ("20GB", 20 * 10**9), ("3m", 3 * 10**6)])
def test_sizes_are_read_as_people_write_them(text: str, bytes_: int) -> None:
    assert size_of(text) == bytes_


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1e9", "20XB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="20GB"):
        size_of(text)
    assert command("cache", "prune", "--larger-than", text).returncode in (1, 2)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eyes")
    write_cohort(6, folder, seed=3, size=160)
    return folder


def flags(cohort: Path, folder: Path) -> dict[str, Any]:
    return {
        "images": cohort / "images",
        "grades": cohort / "grades.csv",
        "out": folder / "site",
        "store": folder / "store",
        "scorer": "synthetic-alexnet",
        "lesion_net": "none",
        "clusters": 2,
        "workers": 1,
    }


def arguments_of(cohort: Path, folder: Path) -> list[str]:
    """The same as words of a command line."""
    own = flags(cohort, folder)
    words = ["build", own.pop("images")]
    for name, value in own.items():
        words += [f"--{name.replace('_', '-')}", value]
    return [str(word) for word in words]


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module")
def built(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an atlas and its store; a test that changes them changes a copy."""
    folder = tmp_path_factory.mktemp("built")
    build_atlas(load_configuration(**flags(cohort, folder)))
    gc.collect()
    return folder


def test_a_build_is_listed_with_everything_that_it_used(built: Path) -> None:
    held: Held = survey(Store(built / "store"))
    (atlas,) = held.atlases
    assert (atlas.folder, atlas.photographs) == (built / "site", 6)
    assert atlas.entries == sum(stage.entries for stage in held.stages)
    assert atlas.alone == atlas.size == sum(stage.size for stage in held.stages)
    assert {stage.stage for stage in held.stages} >= {"pictures", "predictions", "looks", "fingerprints"}
    files = [file for file in (built / "store").rglob("*") if file.is_file()]
    assert held.size == sum(file.stat().st_size for file in files)
    shown = command("cache", "show", "--store", built / "store")
    assert shown.returncode == 0
    for word in ("predictions", str(built / "site"), "6 photographs"):
        assert word in shown.stdout


def test_a_pruned_atlas_is_up_to_date_until_something_changes_and_then_has_the_same_bytes(
    cohort: Path, built: Path, tmp_path: Path
) -> None:
    shutil.copytree(built / "store", tmp_path / "store")
    settings = load_configuration(**flags(cohort, tmp_path))
    build_atlas(settings)
    gc.collect()
    before = contents(tmp_path / "site")
    assert prune(Store(tmp_path / "store"), older_than=0).entries["predictions"] == 6
    assert is_unchanged(settings)
    build_atlas(settings)
    assert contents(tmp_path / "site") == before


def test_that_nothing_has_changed_is_found_before_the_networks_libraries_are_loaded(cohort: Path, built: Path) -> None:
    """They take seconds to load, several times as long as everything that is compared."""
    slow = ("torch", "torchvision", "timm", "scipy", "sklearn", "plotly")
    code = f"""
import sys
from atlas.cli import main
try:
    main(sys.argv[1:])
finally:
    print([name for name in {slow} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code, *arguments_of(cohort, built)], capture_output=True, text=True, check=True)
    assert "Nothing has changed" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_build_beside_which_everything_is_pruned_again_and_again_makes_the_same(
    cohort: Path, built: Path, tmp_path: Path
) -> None:
    """As far as it has come it loses nothing; what it has not used yet it makes again."""
    shutil.copytree(built / "store", tmp_path / "store")
    rounds = 0
    with subprocess.Popen([sys.executable, "-m", "atlas", *arguments_of(cohort, tmp_path)], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            prune(Store(tmp_path / "store"), older_than=0)
            rounds += 1
            time.sleep(0.05)
    assert process.returncode == 0
    assert rounds > 5
    assert contents(tmp_path / "site") == contents(built / "site")
