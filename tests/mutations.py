"""Damage to files, as disks, transfers, programs and attackers do it: seeded, for `fuzz` and for the tests of a bad corpus."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

NUMBERS = (0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""What sizes, offsets and counts in a header are replaced by."""

WORDS = (
    *("", " ", "0", "-1", "1e999", "nan", "inf", "1E+15", "9" * 20, "9" * 5000, "0x" + "f" * 5000, "1.5", "٣", "½", "None"),
    *("true", "null", "[]", "{}", "[" * 3000, '"', "'", '"""', "\n", "\r", "\r\n", "\t", ",", ";", "|", "=", "#", "\x00"),
    *("\ufeff", "\u202e", "\ud7ff", "é", "眼", "\x1b[2J", "..", "../..", "/", "/dev/zero", "\\", "%s", "{0}", "=1+1", "A" * 5000),
    *("image", "level", "sep=;", "R3", "PDR", "left", "2021-01-01", "[images]", "[[lessons]]", "title = 1", "<script>"),
)
"""What a part of a text is replaced by."""

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 10**6, 10**9, 2**63, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", "x", "."),
    *("..", "../..", "/", "\x00", "\ud800", "A" * 3000, [], {}, [[]], [1, "a"], {"a": {}}, [0.0] * 6, [[0.0]] * 6, "0" * 64),
)
"""What a value of a description in JSON is replaced by."""


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Change some bytes, cut, repeat, insert or move parts of a file."""
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        _STEPS[rng.randrange(len(_STEPS))](found, rng)
    return bytes(found)


def _place(found: bytearray, rng: random.Random) -> int:
    """Choose a place, half of the time in the header."""
    return rng.randrange(max(1, min(len(found), 200) if rng.random() < 0.5 else len(found)))


def _flip(found: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 4, 30))):
        if found:
            found[_place(found, rng)] ^= 1 << rng.randrange(8)


def _overwrite(found: bytearray, rng: random.Random) -> None:
    place, order, size = _place(found, rng), rng.choice("<>"), rng.choice(("B", "H", "I"))
    number = rng.choice(NUMBERS) & (256 ** struct.calcsize(size) - 1)
    found[place : place + struct.calcsize(size)] = struct.pack(order + size, number)


def _cut(found: bytearray, rng: random.Random) -> None:
    del found[_place(found, rng) :]


def _take_out(found: bytearray, rng: random.Random) -> None:
    place = _place(found, rng)
    del found[place : place + rng.choice((1, 2, 16, 500))]


def _repeat(found: bytearray, rng: random.Random) -> None:
    place = _place(found, rng)
    found[place:place] = found[place : place + rng.choice((1, 8, 64, 2000))] * rng.choice((1, 2, 50))


def _insert(found: bytearray, rng: random.Random) -> None:
    place = _place(found, rng)
    found[place:place] = rng.randbytes(rng.choice((1, 4, 100)))


def _blank(found: bytearray, rng: random.Random) -> None:
    place, count = _place(found, rng), rng.choice((4, 100, 2000))
    found[place : place + count] = bytes([rng.choice((0, 0xFF))]) * len(found[place : place + count])


_STEPS: tuple[Callable[[bytearray, random.Random], None], ...] = (_flip, _overwrite, _cut, _take_out, _repeat, _insert, _blank)


def damaged_png(content: bytes, rng: random.Random) -> bytes:
    """Damage a PNG, and make the sums of its chunks right again: without them no decoder looks further."""
    found, at = bytearray(damaged(content, rng)), 8
    while at + 12 <= len(found):
        end = at + 8 + int.from_bytes(found[at : at + 4], "big")
        if end + 4 > len(found):
            break
        found[end : end + 4] = zlib.crc32(found[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(found)


def damaged_text(content: bytes, rng: random.Random, encoding: str = "utf-8") -> bytes:
    """Change words and lines of a text; now and then its bytes."""
    if rng.random() < 0.2:
        return damaged(content, rng)
    lines = content.decode(encoding, "replace").split("\n")
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(lines))
        line = lines[at]
        match rng.randrange(7):
            case 0:
                lines[at:at] = [line] * rng.choice((1, 3, 300))
            case 1:
                lines[at] = rng.choice(WORDS)
            case 2:
                start = rng.randrange(len(line) + 1)
                lines[at] = line[:start] + rng.choice(WORDS) + line[rng.randrange(start, len(line) + 1) :]
            case 3:
                rng.shuffle(lines)
            case 4:
                mark = rng.choice(",;\t= .")
                parts = line.split(mark)
                parts[rng.randrange(len(parts))] = rng.choice(WORDS)
                lines[at] = mark.join(parts)
            case 5:
                lines[at] = line + rng.choice((",", ";", "\t")) * rng.choice((1, 40, 20_000))
            case _:
                del lines[at]
                lines = lines or [""]
    return "\n".join(lines).encode(rng.choice((encoding, encoding, "utf-8", "utf-16", "utf-16-le")), "replace")


def damaged_workbook(content: bytes, rng: random.Random) -> bytes:
    """Damage one file of a zip archive and pack it again, or the archive itself."""
    if rng.random() < 0.3:
        return damaged(content, rng)
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        files = {name: packed.read(name) for name in packed.namelist()}
    name = rng.choice(sorted(files))
    if rng.random() < 0.2:
        del files[name]
    else:
        files[name] = damaged_text(files[name], rng) if rng.random() < 0.7 else damaged(files[name], rng)
    told = io.BytesIO()
    with zipfile.ZipFile(told, "w", zipfile.ZIP_DEFLATED) as packed:
        for own, data in files.items():
            packed.writestr(own, data)
    return told.getvalue()


def damaged_value(value: Any, rng: random.Random) -> Any:
    """Replace, add or remove something in a value that came from JSON."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        changed = dict(value)
        match rng.randrange(8):
            case 0:
                del changed[key]
            case 1:
                changed[rng.choice(("", "extra", "../up", "/", "\x00", "A" * 300))] = changed.pop(key)
            case _:
                changed[key] = damaged_value(value[key], rng)
        return changed
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        match rng.randrange(4):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return value + value[at:] * rng.choice((1, 100))
            case _:
                return [*value[:at], damaged_value(value[at], rng), *value[at + 1 :]]
    return rng.choice(VALUES)


def damaged_json(content: bytes, rng: random.Random) -> bytes:
    """Damage a file of JSON, mostly so that it stays JSON."""
    if rng.random() < 0.15:
        return damaged_text(content, rng)
    value = json.loads(content)
    for _ in range(rng.choice((1, 1, 2))):
        value = damaged_value(value, rng)
    return json.dumps(value).encode()


def damaged_tensors(content: bytes, rng: random.Random) -> bytes:
    """Damage a file of safetensors: its numbers, its description or both."""
    if rng.random() < 0.3:
        return damaged(content, rng)
    length = int.from_bytes(content[:8], "little")
    told, numbers = json.loads(content[8 : 8 + length]), content[8 + length :]
    name = rng.choice(sorted(told))
    match rng.randrange(5):
        case 0:
            told[name] = damaged_value(told[name], rng)
        case 1:
            told = damaged_value(told, rng)
        case 2 if isinstance(told[name], dict) and "dtype" in told[name]:
            told[name]["dtype"] = rng.choice(("F64", "F32", "F16", "BF16", "I64", "I32", "I8", "U8", "BOOL", "F8_E4M3", "C64"))
        case 3:
            start = rng.randrange(max(1, len(numbers)))
            bad = struct.pack("<e", rng.choice((float("nan"), float("inf"), 65504.0))) * rng.choice((1, 2, 1000))
            numbers = (numbers[:start] + bad + numbers[start + len(bad) :])[: len(numbers)]
        case _:  # the same numbers in another shape
            if isinstance(told[name], dict) and isinstance(shape := told[name].get("shape"), list):
                told[name]["shape"] = rng.choice(([*shape, 1], [1, *shape], shape[::-1], [int(_product(shape))]))
    packed = json.dumps(told).encode()
    return len(packed).to_bytes(8, "little") + packed + numbers


def _product(numbers: list[Any]) -> int:
    found = 1
    for number in numbers:
        found *= number
    return found
