"""The store keeps complete entries only, and notices later damage."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from atlas.cohort.dataset import read_dataset
from atlas.errors import StoreError
from atlas.pipeline.store import Store, default_root, digest
from atlas.records import DIABETIC_RETINOPATHY


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_arrays_are_made_once(store: Store) -> None:
    made: list[int] = []

    def make() -> dict[str, np.ndarray]:
        made.append(1)
        return {"x": np.arange(6.0).reshape(2, 3)[:, ::-1]}

    first = store.keep_arrays("stage", {"a": 1}, make)
    again = store.keep_arrays("stage", {"a": 1}, make)
    assert made == [1]
    np.testing.assert_array_equal(first["x"], again["x"])
    np.testing.assert_array_equal(first["x"], np.arange(6.0).reshape(2, 3)[:, ::-1])
    store.keep_arrays("stage", {"a": 2}, make)
    assert made == [1, 1]


def test_an_entry_that_fails_midway_is_not_there(store: Store) -> None:
    def broken(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.keep("stage", 1, broken)
    assert not store.path("stage", 1).exists()
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


def test_a_damaged_entry_costs_one_recomputation(store: Store) -> None:
    entry = store.path("stage", 1)
    store.keep_arrays("stage", 1, lambda: {"x": np.ones(3)})
    (entry / "arrays.safetensors").write_bytes(b"damaged")
    np.testing.assert_array_equal(store.keep_arrays("stage", 1, lambda: {"x": np.zeros(3)})["x"], np.zeros(3))


def test_keys_depend_on_values_not_on_order() -> None:
    assert digest({"a": 1, "b": [2, 3]}) == digest({"b": [2, 3], "a": 1})
    assert digest([1, 2]) != digest([2, 1])


def test_the_cache_folder_honours_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_root().parent == tmp_path


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--store"):
        Store(tmp_path / "file" / "store")


def test_files_are_found_by_image_id(store: Store, tmp_path: Path) -> None:
    photograph = tmp_path / "eye.jpg"
    photograph.write_bytes(b"x")
    image_id = hashlib.sha256(b"x").hexdigest()[:16]
    store.keep_files_key(tmp_path / "out", [(image_id, photograph)])
    assert store.find_file(image_id) == photograph
    with pytest.raises(StoreError, match="ffff"):
        store.find_file("ffff")
    photograph.write_bytes(b"another photograph")
    with pytest.raises(StoreError, match="changed"):
        store.find_file(image_id)
    photograph.unlink()
    with pytest.raises(StoreError, match="missing"):
        store.find_file(image_id)


def test_an_entry_damaged_on_disk_is_made_again(tmp_path: Path) -> None:
    def draw(text: str) -> Callable[[Path], None]:
        return lambda folder: (folder / "picture.jpg").write_text(text) and None

    file = Store(tmp_path).keep("pictures", 1, draw("good")) / "picture.jpg"
    assert (Store(tmp_path).keep("pictures", 1, draw("new")) / "picture.jpg").read_text() == "good"
    file.write_text("gone")  # of the same length
    assert (Store(tmp_path).keep("pictures", 1, draw("new")) / "picture.jpg").read_text() == "new"
    file.unlink()
    assert (Store(tmp_path).keep("pictures", 1, draw("newer")) / "picture.jpg").read_text() == "newer"


def test_a_relative_store_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    entry = Store(Path("kept")).keep("stage", 1, lambda folder: (folder / "x").touch())
    monkeypatch.chdir("/")
    assert entry.is_absolute()
    assert (entry / "x").is_file()


def test_an_entry_with_folders_in_it_is_checked_too(tmp_path: Path) -> None:
    def draw(text: str) -> Callable[[Path], None]:
        def write(folder: Path) -> None:
            (folder / "images").mkdir()
            (folder / "images" / "eye.png").write_text(text)

        return write

    entry = Store(tmp_path).keep("synthetic", 1, draw("good"))
    (entry / "images" / "eye.png").write_text("gone")
    assert (Store(tmp_path).keep("synthetic", 1, draw("new")) / "images" / "eye.png").read_text() == "new"


def test_an_entry_of_an_earlier_version_is_made_again(tmp_path: Path) -> None:
    """It has no hashes, so it cannot be checked."""
    entry = Store(tmp_path).path("pictures", 1)
    entry.mkdir(parents=True)
    (entry / "picture.jpg").write_text("old")
    Store(tmp_path).keep("pictures", 1, lambda folder: (folder / "picture.jpg").write_text("new") and None)
    assert (entry / "picture.jpg").read_text() == "new"


def test_a_refusal_elsewhere_is_not_blamed_on_the_store(store: Store, tmp_path: Path) -> None:
    def refused(place: Path) -> Callable[[Path], None]:
        def write(_: Path) -> None:
            raise PermissionError(13, "Permission denied", str(place))

        return write

    with pytest.raises(PermissionError):
        store.keep("stage", 1, refused(tmp_path / "photograph.jpg"))
    with pytest.raises(StoreError, match="no permission"):
        store.keep("stage", 1, refused(store.root / "stage" / "file"))


def test_the_key_of_a_full_store_is_refused_and_leaves_nothing(store: Store, tmp_path: Path) -> None:
    (store.root / "keys").mkdir()
    script = """
import resource, signal, sys
from pathlib import Path
from atlas.errors import StoreError
from atlas.pipeline.store import Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
keep_key = lambda: store.keep_files_key(Path("out"), [("id", Path("file"))])
note = lambda: store.note(Path("out"), "timings", {"a": 12345})
for write in (keep_key, note):
    try:
        write()
    except StoreError as error:
        print(error)
"""
    told = subprocess.run([sys.executable, "-c", script, store.root], capture_output=True, text=True, check=True).stdout
    assert told.count("--store") == 2
    assert list((store.root / "keys").iterdir()) == []


def test_a_store_is_marked_as_a_cache_and_its_pictures_are_not_read_as_photographs(cohort_like: Path) -> None:
    store = Store(cohort_like / "store")
    store.keep("pictures", 1, lambda folder: (folder / "photograph.jpg").write_text("a picture") and None)
    assert (store.root / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")
    dataset, report = read_dataset(cohort_like, scale=DIABETIC_RETINOPATHY)
    assert [image.path.name for image in dataset.images] == ["eye.jpg"]
    assert report.other_files == ("store/: the store of earlier builds, whose pictures are not read",)


@pytest.mark.parametrize("name", ["top.jpg", "0/by_grade.jpg", "0/12/by_patient.jpg", "0/12/left/eye.jpg"])
def test_a_folder_that_also_holds_photographs_is_not_marked_as_a_cache(tmp_path: Path, name: str) -> None:
    """If it were marked, backups would skip the photographs, and no build would read them."""
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"a photograph")
    Store(tmp_path)
    Store(tmp_path).keep("numbers", 1, lambda folder: (folder / "one").write_text("1") and None)
    Store(tmp_path)
    assert not (tmp_path / "CACHEDIR.TAG").exists()


def test_a_store_of_an_earlier_version_is_marked_when_it_is_next_used(store: Store) -> None:
    store.keep("numbers", 1, lambda folder: (folder / "one").write_text("1") and None)
    store.note(Path("atlas"), "timings", {})
    store.keep_files_key(Path("atlas"), [])
    (store.root / "CACHEDIR.TAG").unlink()
    Store(store.root)
    assert (store.root / "CACHEDIR.TAG").is_file()


@pytest.fixture
def cohort_like(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "eye.jpg").write_bytes(b"hashed, not decoded")
    return tmp_path / "images"


def test_a_full_disk_is_named_and_nothing_half_written_stays(store: Store) -> None:
    """A process that may only write files of up to a kilobyte simulates a full disk."""
    script = f"""
import resource, signal, numpy as np
from atlas.errors import StoreError
from atlas.pipeline.store import Store
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
store = Store(Path({str(store.root)!r}))
try:
    store.keep_arrays("maps", 1, lambda: {{"x": np.random.default_rng(0).random(10_000)}})
except StoreError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert str(store.root) in told
    assert "--store" in told
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


def test_what_killed_builds_were_filling_is_removed_after_a_day(store: Store) -> None:
    places = [store.root / "stage" / "ab", store.root]  # of entries, and of pictures laid out for a site
    fresh, stale = ([place / f".new-{name}" for place in places] for name in ("fresh", "stale"))
    for folder in (*fresh, *stale):
        folder.mkdir(parents=True)
    key = store.root / "keys" / ".new-key"
    key.parent.mkdir()
    key.touch()
    two_days_ago = time.time() - 2 * 24 * 3600
    for left in (*stale, key):
        os.utime(left, (two_days_ago, two_days_ago))
    store.tidy()
    assert all(folder.is_dir() for folder in fresh), "another build may be filling them"
    assert not any(left.exists() for left in (*stale, key))


def test_what_is_laid_out_for_a_site_is_gone_afterwards_and_known_as_left_over_before(store: Store) -> None:
    with store.scratch() as folder:
        assert folder.name.startswith(".new-")
    assert not folder.exists()
