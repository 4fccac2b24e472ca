"""Inputs and atlases at addresses such as s3://bucket/folder: copied here before the work, and carried there after it.

fsspec knows the kinds of addresses. A bucket knows no rename, so a new atlas cannot take the place of an old one at once: its
home page comes last, and then what only the old one had is removed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas.config import Configuration
from atlas.errors import ConfigurationError, StoreError
from atlas.pipeline.publication import FILES
from atlas.pipeline.store import COPIES, Store
from atlas.progress import Progress, silent
from atlas.resources import RUN, is_atlas

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+([^/].*)", re.IGNORECASE)  # a path has lost one of the slashes; c:/ is a disk

_INPUTS = ("images", "grades", "masks", "boxes", "curation")

_HOME = "index.html"

_OF_OLD = (_HOME, RUN, FILES, "clusters.json")
"""What a build needs of the atlas that it replaces."""

_AT_A_TIME = 64  # files

_INSTALL = "python -m pip install 'lesion-atlas[cloud]'"

_CHECK = "check the address, and that this machine has its credentials; run the same command again, and it continues."


def address_of(path: Path | None) -> str | None:
    """Return the address that a setting names, such as s3://bucket/folder; None if it is a path on this machine."""
    found = None if path is None else _ADDRESS.fullmatch(path.as_posix())
    return None if found is None else f"{found[1].lower()}://{found[2].rstrip('/')}"


def folder_of(path: Path, store: Store) -> Path:
    """Return where on this machine an input or an atlas lies: at its path, or where the copy of its address is."""
    if (address := address_of(path)) is None:
        return path
    if address.startswith("file://"):
        return Path("/", address.removeprefix("file://"))
    return store.path(COPIES, [address]) / address.rpartition("/")[2]


@dataclass(frozen=True)
class Place:
    """A folder or file at an address."""

    address: str
    files: Any
    root: str

    @classmethod
    def at(cls, address: str) -> Place:
        """Find out how to read and write at an address.

        Raises
        ------
        ConfigurationError
            If nothing is known of such addresses, or what reads them is not installed.
        """
        try:
            from fsspec.core import url_to_fs  # few need it

            files, root = url_to_fs(address, use_listings_cache=False)
        except ImportError as error:
            raise ConfigurationError(f"{address}: what reads such addresses is not installed ({error})", _INSTALL) from None
        except ValueError as error:
            raise ConfigurationError(f"{address}: {error}", "give a path, or an address such as s3://bucket/folder.") from None
        return cls(address, files, str(root).rstrip("/"))

    @contextmanager
    def faults(self) -> Any:
        """Turn whatever goes wrong there into a StoreError: each kind of address has its own errors."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            raise StoreError(f"{self.address}: cannot be reached ({type(error).__name__}: {error})", _CHECK) from error

    def listed(self) -> dict[str, list[Any]]:
        """Return the files below, by their names, or the file itself by the name "": size, and what tells a change."""
        with self.faults():
            found = self.files.find(self.root, detail=True)
        return {
            name.removeprefix(self.root).lstrip("/"): [facts["size"], *(str(facts[key]) for key in _CHANGES if key in facts)]
            for name, facts in sorted(found.items())
        }

    def read(self, name: str) -> bytes | None:
        """Return a file; None if there is none."""
        with self.faults():
            try:
                return bytes(self.files.cat_file(f"{self.root}/{name}"))
            except FileNotFoundError:
                return None

    def fetch(self, names: Sequence[str], folder: Path) -> None:
        """Copy files from there; each appears here once it is complete."""
        parts = [folder / f"{name}.part" for name in names]
        for part in parts:
            part.parent.mkdir(parents=True, exist_ok=True)
        with self.faults():
            self.files.get([f"{self.root}/{name}".rstrip("/") for name in names], [str(part) for part in parts])
        for part in parts:
            part.replace(part.with_suffix(""))

    def put(self, names: Sequence[str], folder: Path) -> None:
        """Copy files there."""
        with self.faults():
            self.files.put([str(folder / name) for name in names], [f"{self.root}/{name}" for name in names])


_CHANGES = ("ETag", "etag", "md5Hash", "generation", "LastModified", "mtime", "created")


def brought_here(
    configuration: Configuration, store: Store, progress: Progress = silent
) -> tuple[Configuration, Mapping[str, str]]:
    """Copy the inputs at addresses into the store, as far as they have changed, and find a folder for an atlas at an address.

    Returns
    -------
    tuple[Configuration, Mapping[str, str]]
        The settings with paths on this machine, and the addresses by setting.

    Raises
    ------
    ConfigurationError
        If an address cannot be used.
    StoreError
        If it cannot be reached, or that of the atlas holds something else.
    """
    if (address := address_of(configuration.store)) is not None:
        raise ConfigurationError(f"store = {address}: the store must be a folder", "give a folder that all workers see.")
    addresses, paths = {}, dict[str, Path]()
    for name in (*_INPUTS, "out"):
        if (address := address_of(getattr(configuration, name))) is None:
            continue
        paths[name] = here = folder_of(getattr(configuration, name), store)
        if address.startswith("file://"):
            continue
        addresses[name] = address
        if name == "out":
            _bring_old(Place.at(address), here)
        else:
            _bring(Place.at(address), here, here.with_name("brought.json"), progress)
    return configuration.model_copy(update=paths), addresses


def _bring(place: Place, here: Path, known: Path, progress: Progress) -> None:
    """Make a copy here of what is at a place."""
    there = place.listed()
    if not there:
        raise StoreError(f"{place.address}: there is nothing", _CHECK)
    try:
        before: dict[str, list[Any]] = json.loads(known.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = {}
    for name in before.keys() - there.keys():
        (here / name).unlink(missing_ok=True)
    known.parent.mkdir(parents=True, exist_ok=True)
    changed = [name for name, facts in there.items() if before.get(name) != facts or not (here / name).is_file()]
    for start in range(0, len(changed), _AT_A_TIME):
        progress("download", start, len(changed))
        some = changed[start : start + _AT_A_TIME]
        if some == [""]:  # the address is that of a file
            Place(place.address, place.files, place.root.rpartition("/")[0]).fetch([here.name], here.parent)
        else:
            place.fetch(some, here)
    progress("download", len(changed), len(changed))
    known.write_text(json.dumps(there), encoding="utf-8", newline="\n")


def _bring_old(place: Place, here: Path) -> None:
    """Bring what a build needs of the atlas that it will replace, unless it is here."""
    if is_atlas(here):
        return
    if place.read(FILES) is None:
        if place.listed():
            raise StoreError(f"{place.address}: already exists and is not an atlas", "choose another --out; nothing was written.")
        return
    here.mkdir(parents=True, exist_ok=True)
    for name in _OF_OLD:
        if (content := place.read(name)) is not None:
            (here / name).write_bytes(content)


def is_carried(site: Path, address: str) -> bool:
    """Tell whether the atlas at an address is the one that is here."""
    return Place.at(address).read(FILES) == (site / FILES).read_bytes()


def carry_out(site: Path, address: str, progress: Progress = silent) -> None:
    """Copy a finished atlas to an address: data and pictures, pages, and its home page last. Then remove what is no longer in it.

    Files there that no build wrote stay.

    Raises
    ------
    StoreError
        If the address cannot be reached. The atlas there may then be partly new, but a home page finds its pages.
    """
    place = Place.at(address)
    names = sorted(file.relative_to(site).as_posix() for file in site.rglob("*") if file.is_file())
    before = (place.read(FILES) or b"").decode().splitlines()
    listed = [name for name in (site / FILES).read_text(encoding="utf-8").splitlines() if not name.startswith("#")]
    pages = [name for name in names if name.endswith(".html") and name != _HOME]
    rest = [name for name in names if name not in {*pages, _HOME, FILES}]
    with place.faults():  # so that a build after one that was killed here knows whose the files are
        place.files.pipe_file(f"{place.root}/{FILES}", "\n".join(dict.fromkeys([*before, *listed, ""])).encode())
    done = 0
    for group in (rest, pages, [_HOME]):
        for start in range(0, len(group), _AT_A_TIME):
            some = group[start : start + _AT_A_TIME]
            place.put(some, site)
            done += len(some)
            progress("upload", done, len(names))
    gone = [name for name in before if name and not name.startswith("#") and name not in listed and name not in names]
    there = place.listed() if gone else {}
    with place.faults():
        if stale := [f"{place.root}/{name}" for name in gone if name in there]:
            place.files.rm(stale)
    place.put([FILES], site)
    progress("upload", len(names), len(names))
