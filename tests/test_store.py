"""The store keeps whole entries only; a publication replaces an atlas only by a whole one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import atlas.errors
import atlas.records
from atlas.errors import StoreError
from atlas.store import Publication, Store, default_root, digest, source_digest


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


def test_the_source_of_a_stage_is_part_of_its_key() -> None:
    assert source_digest(atlas.errors) != source_digest(atlas.records)
    assert source_digest(atlas.errors) == source_digest(atlas.errors)


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
    store.keep_files_key(tmp_path / "out", [("0123456789abcdef", photograph)])
    assert store.find_file("0123456789abcdef") == photograph
    with pytest.raises(StoreError, match="ffff"):
        store.find_file("ffff")
    photograph.unlink()
    with pytest.raises(StoreError, match="gone"):
        store.find_file("0123456789abcdef")


def publish(out: Path, store: Store, text: str) -> None:
    with Publication(out, store) as folder:
        (folder / "run.json").write_text(text)


def test_a_whole_site_replaces_the_old_one(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "site"
    publish(out, store, "first")
    publish(out, store, "second")
    assert (out / "run.json").read_text() == "second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site", "store"]


def break_midway(out: Path, store: Store, fault: type[BaseException]) -> None:
    with Publication(out, store) as folder:
        (folder / "half").write_text("half")
        raise fault


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt])
def test_the_old_site_stands_when_a_build_breaks(store: Store, tmp_path: Path, fault: type[BaseException]) -> None:
    out = tmp_path / "site"
    publish(out, store, "first")
    with pytest.raises(fault):
        break_midway(out, store, fault)
    assert (out / "run.json").read_text() == "first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site", "store"]


def test_a_build_killed_between_the_renames_loses_nothing(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "site"
    publish(out, store, "first")
    out.rename(tmp_path / ".site.old")  # where a kill leaves the old site
    with pytest.raises(RuntimeError), Publication(out, store):
        raise RuntimeError
    assert (out / "run.json").read_text() == "first"


def test_what_is_not_an_atlas_is_never_replaced(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter.txt").write_text("years of work")
    with pytest.raises(StoreError, match="not an atlas"), Publication(out, store):
        pass
    assert (out / "chapter.txt").read_text() == "years of work"


def test_two_builds_do_not_write_to_one_folder(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "site"
    with Publication(out, store) as folder:
        with pytest.raises(StoreError, match="another build"), Publication(out, store):
            pass
        (folder / "run.json").write_text("mine")
    assert (out / "run.json").read_text() == "mine"
