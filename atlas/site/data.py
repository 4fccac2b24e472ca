"""Plain data as scripts, because a page opened from a disk may load nothing but scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def script(name: str, value: Any, entry: str = "") -> bytes:
    """Return plain JSON data as a script that sets `window.<name>`, or an entry of it.

    Raises
    ------
    ValueError
        If the data contain NaN or infinity.
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    place = f'(window.{name}??={{}})["{entry}"]' if entry else f"window.{name}"
    return f"{place}={text};\n".encode()


def write_script(file: Path, name: str, value: Any, entry: str = "") -> None:
    """Write what `script` returns."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(script(name, value, entry))
