"""What a published picture may hold besides pixels: nothing. Metadata, comments and bytes after the end are named."""

from __future__ import annotations

import re
from collections.abc import Iterator

_PNG = b"\x89PNG\r\n\x1a\n"

_PNG_CHUNKS = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"sRGB", b"gAMA", b"cHRM", b"sBIT", b"bKGD", b"pHYs"))

_WEBP_CHUNKS = frozenset((b"VP8 ", b"VP8L", b"VP8X", b"ALPH"))

# Markers of a JPEG that carry pixels: frames, tables, restart interval. JFIF, without its thumbnail, is told by its length.
_JPEG_MARKERS = frozenset((0xC0, 0xC1, 0xC2, 0xC4, 0xDB, 0xDD))
_JFIF, _JFIF_LENGTH = b"JFIF\0", 16
_SCAN, _END, _COMMENT = 0xDA, 0xD9, 0xFE
_AFTER_PIXELS = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")


def is_picture(content: bytes) -> bool:
    """Return whether bytes begin as a picture of a kind that a site may hold: JPEG, PNG or WebP."""
    return content.startswith((b"\xff\xd8\xff", _PNG)) or (content.startswith(b"RIFF") and content[8:12] == b"WEBP")


def foreign_parts(content: bytes) -> Iterator[str]:
    """Name every part of a picture that is not needed to show it.

    Parameters
    ----------
    content : bytes
        A complete file, JPEG, PNG or WebP.

    Yields
    ------
    str
        What the part is, in a few words.
    """
    try:
        if content.startswith(_PNG):
            yield from _of_chunks(png_chunks(content), _PNG_CHUNKS, "PNG", len(content))
        elif content.startswith(b"\xff\xd8\xff"):
            yield from _of_jpeg(content)
        elif content.startswith(b"RIFF") and content[8:12] == b"WEBP":
            yield from _of_chunks(_webp_chunks(content), _WEBP_CHUNKS, "WebP", len(content))
        else:
            yield "no picture, in spite of its name"
    except (IndexError, ValueError):
        yield "a damaged picture"


def png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, first byte of the data and first byte after the chunk, of each chunk of a PNG.

    Raises
    ------
    ValueError
        If the file ends within a chunk.
    """
    place = len(_PNG)
    while place < len(content):
        kind, length = content[place + 4 : place + 8], int.from_bytes(content[place : place + 4], "big")
        end = place + 12 + length
        if len(kind) < 4 or end > len(content):
            raise ValueError("the file ends within a chunk")
        yield kind, place + 8, end
        if kind == b"IEND":
            return
        place = end


def _webp_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    place, total = 12, min(len(content), 8 + int.from_bytes(content[4:8], "little"))
    while place < total:
        length = int.from_bytes(content[place + 4 : place + 8], "little")
        end = place + 8 + length + length % 2
        if end > len(content):
            raise ValueError("the file ends within a chunk")
        yield content[place : place + 4], place + 8, end
        place = end


def _of_chunks(chunks: Iterator[tuple[bytes, int, int]], allowed: frozenset[bytes], form: str, size: int) -> Iterator[str]:
    last = 0
    for kind, _, end in chunks:
        last = end
        if kind not in allowed:
            yield f"a {form} chunk {kind.decode('latin-1')!r}"
    if last < size:
        yield f"{size - last:,} bytes after the end of the picture"


def _of_jpeg(content: bytes) -> Iterator[str]:
    place = 2
    while True:
        if content[place] != 0xFF:
            raise ValueError("no marker")
        while content[place + 1] == 0xFF:  # fill bytes
            place += 1
        marker = content[place + 1]
        if marker == _END:
            if place + 2 < len(content):
                yield f"{len(content) - place - 2:,} bytes after the end of the picture"
            return
        length = int.from_bytes(content[place + 2 : place + 4], "big")
        if length < 2 or place + 2 + length > len(content):
            raise ValueError("the file ends within a segment")
        held = content[place + 4 : place + 2 + length]
        if marker == _COMMENT:
            yield "a JPEG comment"
        elif marker == 0xE0 and held.startswith(_JFIF) and length == _JFIF_LENGTH:
            pass
        elif 0xE0 <= marker <= 0xEF:
            name = re.split(rb"[^\x20-\x7e]", held[:30], maxsplit=1)[0].decode()
            yield f"a JPEG segment APP{marker - 0xE0}" + (f" ({name})" if name else "")
        elif marker not in _JPEG_MARKERS and marker != _SCAN:
            yield f"a JPEG segment 0x{marker:02X}"
        place += 2 + length
        if marker == _SCAN:
            found = _AFTER_PIXELS.search(content, place)
            if found is None:
                raise ValueError("no end")
            place = found.end() - 2
