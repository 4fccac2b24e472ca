"""Folders of trained networks: which one a name means, and how one is written.

An existing folder is replaced only once the new one is complete.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydantic

from atlas.errors import AtlasError, ScorerError
from atlas.resources import models_folder

SUMS = "SHA256SUMS"
"""File beside the shipped bundles with the hash of each one's manifest, in the format of sha256sum."""


def shipped(manifest: str) -> list[str]:
    """Return the names of the shipped bundles that hold a file `manifest`."""
    return sorted(file.parent.name for file in models_folder().glob(f"*/{manifest}"))


def place_of(name_or_path: str | Path, manifest: str) -> Path:
    """Return the folder that a shipped bundle's name or a path means, whether or not it exists."""
    shipped_one = isinstance(name_or_path, str) and name_or_path in shipped(manifest)
    return models_folder() / name_or_path if shipped_one else Path(name_or_path).expanduser()


def find_bundle(name_or_path: str | Path, manifest: str, what: str) -> Path:
    """Return the folder of a bundle.

    Parameters
    ----------
    name_or_path : str or Path
        Name of a shipped bundle, or a folder.
    manifest : str
        Name of the file that describes the bundle.
    what : str
        What the bundle holds, such as "scorer", for the error message.

    Raises
    ------
    ScorerError
        If there is no such bundle.
    """
    folder = place_of(name_or_path, manifest)
    if not (folder / manifest).is_file():
        raise ScorerError(
            f"{name_or_path}: neither a shipped {what} nor a folder with a {manifest}",
            f"give a bundle's folder, or one of the shipped {what}s: {', '.join(shipped(manifest)) or 'none'}",
        )
    _require_unchanged(folder / manifest, what)
    return folder


def _require_unchanged(manifest: Path, what: str) -> None:
    """Refuse a bundle that lies among the shipped ones, but whose manifest was changed since: it would pass under their name."""
    if manifest.resolve().parent.parent != models_folder().resolve():
        return
    known = _sums(models_folder()).get(f"{manifest.parent.name}/{manifest.name}")
    if known is not None and _sha256(manifest) != known:
        raise ScorerError(
            f"{manifest}: is not the description of the shipped {what} of this name; it was changed",
            f"install atlas again; for a {what} of your own, copy the folder, and give the path of the copy",
        )


def write_sums(folder: Path | None = None) -> None:
    """Write the hashes of the manifests of all bundles in a folder, by default that of the shipped ones."""
    folder = folder or models_folder()
    found = sorted((*folder.glob("*/scorer.json"), *folder.glob("*/lesionnet.json")))
    lines = [f"{_sha256(manifest)}  {manifest.relative_to(folder).as_posix()}\n" for manifest in found]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8", newline="\n")


def _sums(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    return {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)}


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@contextmanager
def understood(folder: Path, remedy: str) -> Iterator[None]:
    """Turn whatever a damaged, foreign or forged bundle raises while it is loaded into a ScorerError that names its folder.

    Most faults are found and named one by one before; files of weights and descriptions can be wrong in still more ways.
    """
    try:
        yield
    except AtlasError:
        raise
    except Exception as error:
        what = "; ".join(str(error).splitlines()[:1]) or type(error).__name__
        raise ScorerError(f"{folder}: this bundle is damaged or was changed ({what[:300]})", remedy) from error


def write_bundle(folder: Path, contents: Mapping[str, bytes], manifest: str, what: str) -> None:
    """Write the files of a bundle, including its manifest. An existing bundle is replaced only once the new one is complete.

    Raises
    ------
    ScorerError
        If `folder` holds something other than such a bundle, or cannot be written.
    """
    if folder.exists() and not (folder / manifest).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise ScorerError(f"{folder}: already exists and is not a {what} bundle", "choose another folder, or remove it first")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as aside:
            new = Path(aside) / "new"
            new.mkdir()
            for file, content in contents.items():
                (new / file).write_bytes(content)
            if folder.exists():
                folder.rename(Path(aside) / "old")
            new.rename(folder)
        if (folder.parent / SUMS).is_file():
            write_sums(folder.parent)
    except OSError as error:
        raise ScorerError(f"{folder}: the bundle cannot be written ({error})", "choose a folder that can be written") from error


def stored(array: np.ndarray, half: bool) -> np.ndarray:
    """Return an array of weights as a bundle stores it: with `half`, float32 of two or more dimensions is rounded to float16."""
    return array.astype(np.float16) if half and array.dtype == np.float32 and array.ndim >= 2 else array


def faults(error: pydantic.ValidationError) -> str:
    """Say in one line which fields are wrong, and why."""
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}".removeprefix(": ") for fault in error.errors())
