"""The places of patches on the map of an earlier atlas."""

from __future__ import annotations

import csv
from pathlib import Path

from atlas.errors import ConfigurationError

Places = dict[str, tuple[float, float]]
"""x and y by patch_id."""


def map_of(atlas: Path | None) -> Path:
    """Return the table that holds the places of an atlas's patches; no file for None."""
    return Path() if atlas is None else atlas / "tables" / "patches.csv"


def read_places(atlas: Path | None) -> Places:
    """Read where the patches of an atlas lie on its map. None has no places.

    Raises
    ------
    ConfigurationError
        If the folder holds no atlas with a map.
    """
    if atlas is None:
        return {}
    try:
        with map_of(atlas).open(encoding="utf-8", newline="") as table:
            found = {row["patch_id"]: (float(row["x"]), float(row["y"])) for row in csv.DictReader(table) if row["x"]}
    except (OSError, UnicodeDecodeError, KeyError, ValueError, TypeError, csv.Error):
        found = {}
    if not found:
        raise ConfigurationError(f"layout_from: {atlas} is no atlas with a map of patches", "name the folder of an atlas.")
    return found
