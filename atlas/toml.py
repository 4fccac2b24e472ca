"""Reading the TOML files that people write: settings, curations and glossaries."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atlas.errors import ConfigurationError


def read_toml(file: Path, *, absent: str, invalid: str) -> dict[str, Any]:
    """Read a file as it stands.

    Parameters
    ----------
    absent, invalid : str
        What to do where it cannot be read, and where it is not valid.

    Raises
    ------
    ConfigurationError
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read ({error.strerror})", absent) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: not valid TOML: {error}", invalid) from None


def listed(faults: Sequence[str]) -> str:
    """Put faults below each other, one a line."""
    return "\n".join(f"  - {fault}" for fault in faults)
