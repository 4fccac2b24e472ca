"""Texts that no terminal takes for a command, and cells of CSV files that no spreadsheet takes for a formula."""

from __future__ import annotations

import re

_STARTS = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?", re.IGNORECASE)


def is_formula(cell: str) -> bool:
    """Return whether a spreadsheet could take a cell for a formula. A number is none."""
    return cell.startswith(_STARTS) and not _NUMBER.fullmatch(cell)


def escaped(text: str) -> str:
    """Escape characters that are not printable: a terminal would obey some of them."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def harmless(text: str) -> str:
    """Escape what a terminal would obey, and keep a spreadsheet from reading a name as a formula or as a number with a sign."""
    shown = escaped(text)
    return f"'{shown}" if shown.startswith(_STARTS) else shown
