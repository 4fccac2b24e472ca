"""Which files and pictures are too large, too small or too narrow to be decoded."""

from __future__ import annotations

from pathlib import Path

from atlas.errors import UnreadableImageError

MOST_PIXELS = 80_000_000
"""Largest photograph that is decoded, well above any fundus camera: a small file can claim a picture that fills the memory."""

LARGEST_FILE = 500_000_000
"""Bytes: as many as the largest picture takes with 16 bits for each of three colours."""

EXPORT_AGAIN = "export it again as JPEG or PNG with 8 bits per channel, or take it out of the folder."
"""Remedy for a file in a form that is not read."""

COPY_AGAIN = f"copy it again from its source, or {EXPORT_AGAIN}"
"""Remedy for a damaged file."""

_NARROWEST = 16  # pixels: below this nothing can be made out

_LONGEST = 4  # times the shorter side: no camera's picture is that long


def require_shape(path: Path, height: int, width: int) -> None:
    """Refuse a picture of a size that no photograph has.

    Raises
    ------
    UnreadableImageError
        It has more than MOST_PIXELS, or is far too narrow.
    """
    narrow, wide = sorted((height, width))
    if narrow * wide > MOST_PIXELS:
        limit = f"{MOST_PIXELS // 1_000_000} million pixels"
        raise UnreadableImageError(f"{path}: claims to hold more than {limit}", "shrink it, or take it out.")
    if narrow < _NARROWEST or wide > _LONGEST * narrow:
        raise UnreadableImageError(
            f"{path}: is {width} x {height} pixels, too narrow to be scored",
            f"give at least {_NARROWEST} pixels a side, and one side at most {_LONGEST} times the other.",
        )
