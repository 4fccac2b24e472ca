"""Where the shipped scorers and templates are, in a checkout and in an installed wheel, and how a built atlas is recognised."""

from __future__ import annotations

import json
from pathlib import Path

DEFAULT_SCORER = "clinics-and-evidence"
"""The shipped scorer that is used if none is named."""

DEFAULT_LESION_NET = "lesions-squeezenet"
"""The shipped lesion net that is used if none is named."""

NO_LESION_NET = "none"
"""Given instead of a lesion net's name if no lesions are to be found."""

MADE_BY = "lesion-atlas"

RUN = "run.json"
"""File in an atlas that says how it was built. A folder is recognised as an atlas by this file."""

RUN_FORMAT = 1
"""Version of that file's format. Raise it if programs that read the file need to know about a change."""

CACHE_TAG = "CACHEDIR.TAG"
"""File that marks a folder as a cache (https://bford.info/cachedir/). A store is recognised by this file."""
CACHE_TAG_TEXT = """Signature: 8a477f597d28d172789f06886806bc55
# The store of lesion-atlas: what a build can reuse. It may be removed; builds then take longer.
"""

_LARGEST_RUN = 10_000_000  # bytes; the file of a real atlas is a thousand times smaller

# What the file held before it named its maker.
_UNMARKED = {"title", "scorer", "settings", "counts", "hashes", "versions", "notes", "synthetic"}

_PACKAGE = Path(__file__).resolve().parent


def _root() -> Path:
    shipped = _PACKAGE / "_shipped"
    return shipped if shipped.is_dir() else _PACKAGE.parent


def models_folder() -> Path:
    """Return the folder that holds one subfolder per shipped scorer or lesion net."""
    return _root() / "models"


def demo_curation() -> Path:
    """Return the curation of the embedded synthetic cohort, a sample of such a file."""
    return templates_folder() / "demo" / "curation.toml"


def templates_folder() -> Path:
    """Return the folder of page templates, with `css/` and `js/` inside."""
    return _root() / "site_templates"


def words_folder() -> Path:
    """Return the folder of the translations of the site's texts, `<language>.po`."""
    return templates_folder() / "words"


def languages() -> tuple[str, ...]:
    """Return the codes of the languages that a site can be written in, English first."""
    return "en", *sorted(file.stem for file in words_folder().glob("*.po"))


def is_store(folder: Path) -> bool:
    """Return whether a folder is the store of earlier builds."""
    try:
        with (folder / CACHE_TAG).open("rb") as stream:
            return stream.read(len(CACHE_TAG_TEXT)) == CACHE_TAG_TEXT.encode()
    except OSError:
        return False


def is_atlas(folder: Path) -> bool:
    """Return whether a folder holds a built atlas: it has a home page, and a run.json that a build wrote."""
    run = folder / RUN
    try:
        if not (folder / "index.html").is_file() or not run.is_file() or run.stat().st_size > _LARGEST_RUN:
            return False
        told = json.loads(run.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    if not isinstance(told, dict):
        return False
    unmarked = told.keys() == _UNMARKED and isinstance(told["versions"], dict) and MADE_BY in told["versions"]
    return unmarked or told.get("made_by") == MADE_BY
