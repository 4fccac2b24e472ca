"""What the store holds and whether it is undamaged, and making room in it.

Nothing is removed that a running command has used or written: it leaves a mark in the store, see `Store.in_use_since`, and
everything that was used since then stays. An entry goes in one step, by a new name, so no command ever sees a part of one; a
command that has not used it yet makes it again. An atlas that was built before stays as it is.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from atlas.errors import ConfigurationError, StoreError
from atlas.pipeline.store import COPIES, HASHES, NEW, Store, damage_of, default_root
from atlas.progress import Progress, silent

_NOTE = "atlases"  # of a build: what it used
_OF_ATLAS = (_NOTE, "built", "timings")  # notes of an atlas
_SHORT = 16  # digits of a key that a note holds
_ENTRY = re.compile(r"[0-9a-f]{64}")
_BYTES = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT])?B?")
_TRAINING = "training"  # the stage of what trainings that were stopped go on from
_WITHOUT_HASHES = (_TRAINING, COPIES)
_TRAINED = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Entry:
    """An entry of the store.

    Parameters
    ----------
    size : int
        Bytes.
    touched : float
        When a command last read or wrote it, in seconds since 1970.
    used : float
        The same, or when an atlas that needs it was last found to be up to date.
    """

    folder: Path
    stage: str
    size: int
    touched: float
    used: float

    @property
    def name(self) -> tuple[str, str]:
        """Stage and short key, as notes have them."""
        return self.stage, self.folder.name[:_SHORT]


@dataclass(frozen=True)
class StageHeld:
    """The entries of one stage: how many, their bytes, and when the one used longest ago and the last one were used."""

    stage: str
    entries: int
    size: int
    oldest: float
    newest: float


@dataclass(frozen=True)
class AtlasHeld:
    """What the store holds for an atlas that was built with it.

    Parameters
    ----------
    folder : Path
        Where it was written; it need not be there any more.
    photographs : int
        How many it shows.
    entries, size : int
        The entries that its build used and the store still has, and their bytes.
    alone : int
        The bytes of those that no other atlas needs.
    used : float
        When it was last built, or found to be up to date.
    """

    folder: Path
    photographs: int
    entries: int
    size: int
    alone: int
    used: float


@dataclass(frozen=True)
class Held:
    """What a store holds. Sizes are in bytes.

    Parameters
    ----------
    stages : tuple[StageHeld, ...]
        The largest first.
    atlases : tuple[AtlasHeld, ...]
        The one used last first.
    unfinished, unfinished_size : int
        Files and folders that builds are filling or that killed builds left, and their bytes.
    notes : int
        Bytes of tables and notes beside the entries.
    """

    root: Path
    stages: tuple[StageHeld, ...]
    atlases: tuple[AtlasHeld, ...]
    unfinished: int
    unfinished_size: int
    notes: int

    @property
    def size(self) -> int:
        return sum(stage.size for stage in self.stages) + self.unfinished_size + self.notes


@dataclass(frozen=True)
class Pruned:
    """What was removed, or would be: entries by stage, notes, what killed builds left, and all bytes. `spared` are in use."""

    entries: Mapping[str, int]
    notes: int
    left_over: int
    size: int
    spared: int


def known_store(root: Path | None) -> Store:
    """Open a store that is there: another command makes one where there is none.

    Raises
    ------
    StoreError
        If there is none.
    """
    place = (root or default_root()).expanduser()
    if not place.is_dir():
        raise StoreError(f"{place}: there is no store", "name the store of your builds with --store, or build an atlas first.")
    return Store(root)


def entries_of(store: Store) -> Iterator[Entry]:
    """Yield the entries of a store, by stage and key."""
    for stage in _folders(store.root):
        for place in _folders(stage):
            if stage.name == _TRAINING:
                found = [place] if _TRAINED.fullmatch(place.name) else []
            else:
                found = [one for one in _folders(place) if _ENTRY.fullmatch(one.name) and one.name.startswith(place.name)]
            for folder in found:
                with suppress(OSError):  # another command removed it
                    yield Entry(folder, stage.name, _size(folder), _used(folder), _used(folder))


def remember_entries(store: Store, out: Path, *, photographs: int, build: str) -> None:
    """Note which entries the build of the atlas at `out` used.

    Parameters
    ----------
    build : str
        The hash of its site.
    """
    used = {stage: " ".join(key[:_SHORT] for key in keys) for stage, keys in store.used().items()}
    place = store.note_path(out, _NOTE)
    builds = {build, *(earlier for note in _notes(store) if note.stem == place.stem for earlier in note.builds)}
    told = {"atlas": str(out.resolve()), "photographs": photographs, "builds": sorted(builds), "entries": used}
    store.note(out, _NOTE, told)


def still_wanted(store: Store, out: Path) -> None:
    """Note that the entries of the atlas at `out` are wanted, as a build that finds it up to date does not use them."""
    with suppress(OSError):
        os.utime(store.note_path(out, _NOTE))


def survey(store: Store) -> Held:
    """Return what a store holds."""
    entries = list(entries_of(store))
    notes = _notes(store)
    by_stage: dict[str, list[Entry]] = {}
    for entry in entries:
        by_stage.setdefault(entry.stage, []).append(entry)
    stages = [
        StageHeld(stage, len(own), sum(one.size for one in own), min(one.used for one in own), max(one.used for one in own))
        for stage, own in by_stage.items()
    ]
    sizes = {entry.name: entry.size for entry in entries}
    needed: dict[tuple[str, str], int] = {}
    for note in notes:
        for name in note.names:
            needed[name] = needed.get(name, 0) + 1
    atlases = []
    for note in notes:
        own = note.names & sizes.keys()
        alone = sum(sizes[name] for name in own if needed[name] == 1)
        atlases.append(AtlasHeld(note.atlas, note.photographs, len(own), sum(sizes[name] for name in own), alone, note.used))
    unfinished = list(store.unfinished())
    inside = [entry.folder for entry in entries] + unfinished
    return Held(
        store.root,
        tuple(sorted(stages, key=lambda stage: (-stage.size, stage.stage))),
        tuple(sorted(atlases, key=lambda atlas: (-atlas.used, atlas.folder))),
        len(unfinished),
        sum(map(_size, unfinished)),
        _size(store.root) - sum(map(_size, inside)),
    )


def damaged(store: Store, *, remove: bool = False, progress: Progress = silent) -> tuple[int, tuple[tuple[Path, str], ...]]:
    """Read every entry and compare it with its hashes.

    Parameters
    ----------
    remove : bool
        Remove damaged entries; a build that needs them makes them again.

    Returns
    -------
    checked : int
        How many entries were read.
    found : tuple[tuple[Path, str], ...]
        The folders of the damaged ones, and what is wrong with each.
    """
    entries = [entry for entry in entries_of(store) if entry.stage not in _WITHOUT_HASHES]
    found = []
    for done, entry in enumerate(entries, start=1):
        wrong = damage_of(entry.folder)
        if wrong is not None and entry.folder.is_dir():  # another command may have removed it, or made it again
            found.append((entry.folder, wrong))
            if remove:
                _remove(entry)
        progress("entries", done, len(entries))
    return len(entries), tuple(found)


def size_of(text: str) -> int:
    """Return the bytes that a text such as 500MB or 20 GB means.

    Raises
    ------
    ConfigurationError
        If it means none.
    """
    found = _BYTES.fullmatch(text.strip().upper())
    if found is None:
        raise ConfigurationError(f"larger-than = {text!r}: is no size", "give a number with kB, MB, GB or TB, such as 20GB.")
    power = " KMGT".index(found[2] or " ")
    return int(float(found[1]) * 1000.0**power)


def prune(
    store: Store,
    *,
    older_than: float | None = None,
    larger_than: int | None = None,
    atlas: Path | None = None,
    dry_run: bool = False,
) -> Pruned:
    """Remove what killed builds left unfinished, and the entries that are asked for.

    Parameters
    ----------
    older_than : float or None
        Entries that were last used more than that many days ago.
    larger_than : int or None
        Entries used longest ago, until the entries take at most that many bytes.
    atlas : Path or None
        Entries that the atlas in this folder needs and no other, and the notes on it.
    dry_run : bool
        Remove nothing.

    Raises
    ------
    StoreError
        If the store does not know the atlas.
    """
    notes = _notes(store)
    gone: list[_Note] = []
    if atlas is not None:
        gone = [note for note in notes if note.atlas == atlas.expanduser().resolve()]
        if not gone:
            raise StoreError(
                f"{atlas}: the store {store.root} does not know what this atlas needs",
                "name an atlas that `atlas cache show` lists, or the store of its build with --store.",
            )
    entries = _as_wanted(entries_of(store), [note for note in notes if note not in gone])
    # After the list was made: what begins later has touched nothing yet, or touches it after that, which `_remove` notices.
    since, now = store.in_use_since(), time.time()
    chosen: dict[Path, Entry] = {}
    if gone:
        others = {name for note in notes if note not in gone for name in note.names}
        own = {name for note in gone for name in note.names} - others
        chosen |= {entry.folder: entry for entry in entries if entry.name in own}
    if older_than is not None:
        chosen |= {entry.folder: entry for entry in entries if now - entry.used > older_than * 86400}
    if larger_than is not None:
        left = sum(entry.size for entry in entries if entry.folder not in chosen)
        for entry in sorted(entries, key=lambda entry: (entry.used, entry.folder)):
            if left <= larger_than:
                break
            if entry.folder not in chosen and entry.touched < since:
                chosen[entry.folder] = entry
                left -= entry.size
    free = [entry for entry in chosen.values() if entry.touched < since]
    kept = {build for note in notes if note not in gone for build in note.builds}
    unfinished, texts = store.left_over(), [file for note in gone for file in note.files(store.root, kept)]
    size = sum(map(_size, (*unfinished, *texts)))
    removed = free if dry_run else [entry for entry in free if _remove(entry)]
    size += sum(entry.size for entry in removed)
    if not dry_run:
        store.tidy()
        for file in texts:
            file.unlink(missing_ok=True)
    counts: dict[str, int] = {}
    for entry in removed:
        counts[entry.stage] = counts.get(entry.stage, 0) + 1
    return Pruned(counts, len(texts), len(unfinished), size, len(chosen) - len(removed))


def _remove(entry: Entry) -> bool:
    """Remove an entry, unless a command has used it since it was listed. Return whether it is gone."""
    try:
        place = Path(tempfile.mkdtemp(prefix=NEW, dir=entry.folder.parent))
    except OSError:
        return False
    try:
        entry.folder.rename(place / "entry")
        if _used(place / "entry") > entry.touched:
            (place / "entry").rename(entry.folder)
            return False
    except OSError:  # another command removed it, or made it again
        return not entry.folder.exists()
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return True


@dataclass(frozen=True)
class _Note:
    """What the store knows of an atlas: its folder, the hashes of its builds, and the names of the entries it needs."""

    stem: str
    atlas: Path
    photographs: int
    builds: frozenset[str]
    names: frozenset[tuple[str, str]]
    used: float

    def files(self, root: Path, kept: Collection[str]) -> list[Path]:
        """Return the notes on the atlas, with the private texts of its builds, except those of the builds `kept`."""
        files = [root / kind / f"{self.stem}.json" for kind in _OF_ATLAS]
        private = [root / "private" / f"{build[:_SHORT]}.json" for build in sorted(self.builds.difference(kept))]
        return [file for file in (*files, root / "keys" / f"{self.stem}.csv", *private) if file.is_file()]


def _notes(store: Store) -> list[_Note]:
    """Read the notes on all atlases. One that a killed build left unfinished is passed over."""
    notes = []
    for file in sorted((store.root / _NOTE).glob("*.json")):
        with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
            told = json.loads(file.read_text(encoding="utf-8"))
            names = frozenset((stage, key) for stage, keys in told["entries"].items() for key in keys.split())
            atlas, count, builds = Path(told["atlas"]), int(told["photographs"]), frozenset(map(str, told["builds"]))
            notes.append(_Note(file.stem, atlas, count, builds, names, file.stat().st_mtime))
    return notes


def _as_wanted(entries: Iterable[Entry], notes: Iterable[_Note]) -> list[Entry]:
    """Count an entry as used when an atlas that needs it was last built or found to be up to date."""
    wanted: dict[tuple[str, str], float] = {}
    for note in notes:
        for name in note.names:
            wanted[name] = max(note.used, wanted.get(name, 0.0))
    return [replace(entry, used=max(entry.used, wanted.get(entry.name, 0.0))) for entry in entries]


def _folders(place: Path) -> list[Path]:
    try:
        return sorted(one for one in place.iterdir() if one.is_dir() and not one.name.startswith("."))
    except OSError:
        return []


def _used(entry: Path) -> float:
    """Return when an entry was last used: the time of its file of hashes, or that of its newest file if it has none."""
    try:
        return (entry / HASHES).stat().st_mtime
    except OSError:
        return max((file.stat().st_mtime for file in (entry, *entry.rglob("*"))), default=0.0)


def _size(place: Path) -> int:
    """Return the bytes of a file, or of all files below a folder."""
    total = 0
    for file in [place] if place.is_file() else place.rglob("*"):
        with suppress(OSError):
            total += file.stat().st_size if file.is_file() else 0
    return total
