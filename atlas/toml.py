"""Reading the TOML files that people write: settings, curations and glossaries."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atlas.errors import ConfigurationError

_LARGEST = 10_000_000  # bytes; notes on every photograph of a large cohort take less

_DEEPEST = 20  # tables within tables; no file of atlas needs more than five

_MOST_FAULTS = 50  # lines of a message

_LINE = 300  # characters of each

_VALUE = 120  # characters of a value in it


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
        If the file cannot be read, is not valid TOML, or is larger or more deeply nested than any file that a person writes.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ConfigurationError(f"{file}: has more than {_LARGEST / 1e6:.0f} MB", absent)
        values = tomllib.loads(content.decode("utf-8").replace("\r\n", "\n"))
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read ({error.strerror})", absent) from None
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits, and brackets in brackets
        raise ConfigurationError(f"{file}: not valid TOML: {shortened(str(error), _LINE)}", invalid) from None
    if _is_deeper(values, _DEEPEST):
        raise ConfigurationError(f"{file}: has more than {_DEEPEST} tables or lists within each other", invalid)
    return values


def _is_deeper(values: Any, most: int) -> bool:
    """Tell whether tables and lists are nested more deeply than this. It does not call itself: the nesting may be too deep."""
    level = [values]
    for _ in range(most):
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
        level = [inner for inner in level if isinstance(inner, dict | list)]
    return bool(level)


def listed(faults: Sequence[str]) -> str:
    """List faults, one per line. Of very many, the first are listed and the others counted."""
    lines = [f"  - {shortened(fault, _LINE)}" for fault in faults[:_MOST_FAULTS]]
    if len(faults) > _MOST_FAULTS:
        lines.append(f"  - and {len(faults) - _MOST_FAULTS:,} more")
    return "\n".join(lines)


def quoted(value: object) -> str:
    """Return a value of a file as a message shows it."""
    try:
        return shortened(repr(value), _VALUE)
    except ValueError:
        return "a number of thousands of digits"


def shortened(text: str, most: int) -> str:
    """Return a text of at most so many characters."""
    return text if len(text) <= most else text[: most - 3] + "..."
