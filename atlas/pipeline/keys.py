"""The parts of a store key beside its inputs: the code that does the work, and the libraries whose arithmetic it uses."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import threading
from functools import cache
from pathlib import Path

LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "opencv-python-headless",
    "pillow",
    "pi-heif",
    "pydicom",
    "imagecodecs",
    "simplejpeg",
    "numpy",
    "scipy",
    "scikit-learn",
    "openTSNE",
    "umap-learn",
)
"""Libraries whose arithmetic a result depends on."""


_PARSING = threading.Lock()  # Python 3.11's parser fails now and then when two threads parse at once


@cache
def code_key(*modules: str) -> str:
    """Hash the source of modules and of all modules of this package that they import, directly or through others.

    The hash includes the versions of the libraries in LIBRARIES. Each key is computed once in a process, so that editing a source
    during a build does not give its entries two keys.

    Parameters
    ----------
    modules : str
        Dotted names, such as "atlas.photographs.retina".
    """
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found and (file := _source(name)) is not None:
            found[name] = file
            waiting += _imported(file)
    total = hashlib.sha256("\n".join(f"{name} {library_version(name)}" for name in LIBRARIES).encode())
    for name in sorted(found):
        total.update(f"\n{name}\n".encode() + found[name].read_bytes())
    return total.hexdigest()


def folder_key(folder: Path) -> str:
    """Hash the files of a folder of sources or templates, with their places in it.

    Compiled files are left out, and in the package the models and templates that a wheel puts into it.
    """
    total = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        place = file.relative_to(folder)
        if file.is_file() and file.suffix != ".pyc" and place.parts[0] != "_shipped":
            total.update(f"\n{place.as_posix()}\n".encode() + file.read_bytes())
    return total.hexdigest()


@cache
def library_version(name: str) -> str:
    """Return an installed distribution's version, without the local part that names one machine's build."""
    return importlib.metadata.version(name).partition("+")[0]


def _source(name: str) -> Path | None:
    """Return the file of a module of this package; None if the name is not a module but something inside one."""
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None
    return Path(found.origin) if found is not None and found.origin is not None else None


@cache
def _imported(file: Path) -> tuple[str, ...]:
    """Return the names of everything that a source imports from this package, anywhere in its text."""
    package = __name__.partition(".")[0]
    names: list[str] = []
    with _PARSING:
        tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(name for name in names if name.partition(".")[0] == package)
