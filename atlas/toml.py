"""Reading the TOML files that people write: settings, curations and glossaries."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atlas.errors import ConfigurationError


def read_toml(file: Path, *, absent: str, invalid: str) -> dict[str, Any]:
    """Read a TOML file.

    Parameters
    ----------
    file : Path
        The file to read.
    absent : str
        What the user can do if the file cannot be read.
    invalid : str
        What the user can do if the file is not valid TOML.

    Raises
    ------
    ConfigurationError
        If the file cannot be read or is not valid TOML.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read ({error.strerror})", absent) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: not valid TOML: {error}", invalid) from None


def listed(faults: Sequence[str]) -> str:
    """List faults, one per line."""
    return "\n".join(f"  - {fault}" for fault in faults)
