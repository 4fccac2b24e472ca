"""Where the shipped scorers and templates lie, in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def _root() -> Path:
    shipped = _PACKAGE / "_shipped"
    return shipped if shipped.is_dir() else _PACKAGE.parent


def models_folder() -> Path:
    """Return the folder that holds one sub-folder per shipped scorer."""
    return _root() / "models"


def demo_curation() -> Path:
    """Return the curation of the embedded synthetic cohort, a sample of such a file."""
    return templates_folder() / "demo" / "curation.toml"


def templates_folder() -> Path:
    """Return the folder of page templates, with `css/` and `js/` inside."""
    return _root() / "site_templates"
