"""The quiz's data, `data/quiz.js`: photographs by id, and answers that are sealed until they are revealed.

The seal hides the answers on the page, in its source and at a glance at the file. It cannot stop a determined reader, because the
page contains everything that is needed to open it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from atlas.records import LESION_GRID, ByteArray, Lesions
from atlas.site.book import Book
from atlas.site.trust import badge_views
from atlas.site.views import PlateView

_MOST_PER_GRADE = 1000  # most photographs of a grade in the deck: nobody needs more, and the file stays small

_LARGEST = 600_000  # most characters of all answers together: the page loads them before its first question

_STRONGEST = 0.1  # share of the cells on the retina in which a mark should lie where nobody outlined lesions


def quiz_columns(book: Book) -> dict[str, Any]:
    """Return the deck of graded photographs, in ascending id: entry k of `answers` and of the opened `grades` belongs to `id[k]`.

    If a grade has very many photographs, those with the lowest ids are in the deck. Ids are hashes, so this is a random draw that
    stays the same when photographs of other grades are added.

    Returns
    -------
    dict[str, Any]
        `deck`: identifies this deck, independent of the language and of the size of its plates.
        `grades` (sealed): JSON list of the human grades.
        `answers` (sealed): JSON of `_answer` for each photograph.
        `trusts`: by badge, its word and its sentence.
        `retinas`: cells on the retina, as runs; many photographs share one of them.
        `finer`: pixels a side of the plate, 0 if the photograph shows all pixels.
    """
    maps, scale = book.atlas.maps, book.scale
    rows = {image_id: row for row, image_id in enumerate(maps.image_ids)}
    most = _MOST_PER_GRADE
    while True:
        chosen: list[PlateView] = []
        for grade in book.grades:
            chosen += sorted((plate for plate in book.plates if plate.grade == grade), key=lambda plate: plate.id)[:most]
        chosen.sort(key=lambda plate: plate.id)
        retinas: dict[tuple[int, ...], int] = {}
        answers = [seal(_text(_answer(book, plate, rows.get(plate.id), retinas)), plate.id) for plate in chosen]
        if sum(map(len, answers)) <= _LARGEST or most == 1:
            break
        most = max(1, most * 3 // 4)
    deck: dict[str, Any] = {
        "scale": {"lowest": scale.lowest, "highest": scale.highest, "disease": scale.disease},
        "stages": [
            {"number": g.number, "name": g.name, "colour": g.colour, "count": sum(plate.grade == g for plate in chosen)}
            for g in book.grades
        ],
        "shape": list(maps.values.shape[1:]),
        "window": maps.window,
        "limit": round(book.limit, 3),
        "grid": LESION_GRID,
        "trusts": {key: [badge.word, badge.sentence] for key, badge in badge_views(scale, book.words).items()},
        "retinas": [list(runs) for runs in retinas],
        "id": [plate.id for plate in chosen],
        "grades": seal(_text([plate.grade.number for plate in chosen if plate.grade]), "grades"),
        "answers": answers,
    }
    same = [value for key, value in deck.items() if key not in ("scale", "stages", "trusts")]  # in any language
    named = hashlib.sha256(_text(same).encode()).hexdigest()[:12]
    return {"deck": named, **deck, "finer": [plate.finer for plate in chosen]}


def _answer(book: Book, plate: PlateView, row: int | None, retinas: dict[tuple[int, ...], int]) -> dict[str, Any]:
    """Return what is revealed about a photograph, and add its retina to those that are known.

    Returns
    -------
    dict[str, Any]
        `grade` and `score`; `read`: the grade that the score is read as.
        `plate`: its number.
        `trust`: key of a badge, or null.
        `retina`: place of its cells in `retinas`, or null without a map.
        `strongest`: the cells that raised the score most, as runs; empty in the lowest grade, which has nothing to find.
        `lesions`: by kind, runs of cells of the lesion grid; or null if nobody outlined them.
    """
    assert plate.grade is not None
    maps, lesions, trust = book.atlas.maps, book.atlas.lesions.get(plate.id), book.trust.get(plate.id)
    retina, strongest = None, []
    if row is not None:
        drops = maps.values[row].ravel()
        seen = np.flatnonzero(maps.inside[row].ravel() & np.isfinite(drops))
        retina = retinas.setdefault(tuple(_runs(seen.tolist())), len(retinas))
        if plate.grade.number != book.scale.lowest:
            raised = seen[drops[seen] > 0]
            order = raised[np.argsort(-drops[raised], kind="stable")]
            strongest = list(_runs(sorted(order[: max(1, int(len(seen) * _STRONGEST + 0.5))].tolist())))
    return {
        "grade": plate.grade.number,
        "score": round(plate.severity, 2),
        "read": plate.read.number,
        "plate": plate.number,
        "trust": trust.badge.key if trust else None,
        "retina": retina,
        "strongest": strongest,
        "lesions": None if lesions is None else _kinds(lesions),
    }


def _kinds(lesions: Lesions) -> dict[str, list[int]]:
    return {kind: list(_runs(places.tolist())) for kind, places in sorted(lesions.items())}


def _runs(places: Iterable[int]) -> Iterable[int]:
    """Yield the runs of ascending places, (gap, length, gap, length, ...). A gap is counted from the end of the previous run."""
    end, length = 0, 0
    for place in places:
        if length and place == end + length:
            length += 1
            continue
        if length:
            yield length
            end += length
        yield place - end
        end, length = place, 1
    if length:
        yield length


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def seal(text: str, key: str) -> str:
    """Make a text unreadable: XOR its UTF-8 bytes with numbers seeded by `key`, in base64. `js/deck.js` opens it."""
    plain = np.frombuffer(text.encode(), np.uint8)
    return base64.b64encode((plain ^ _stream(key, len(plain))).tobytes()).decode()


def _stream(key: str, length: int) -> ByteArray:
    """Return bytes that look random: mulberry32 (Tommy Ettinger, 2017, public domain), seeded with the FNV-1a hash of the key."""
    start = 0x811C9DC5
    for byte in key.encode():
        start = (start ^ byte) * 0x01000193 & 0xFFFFFFFF
    turns = np.arange(1, -(-length // 4) + 1, dtype=np.uint64)
    a = (start + turns * 0x6D2B79F5).astype(np.uint32)
    t = (a ^ a >> 15) * (a | 1)
    t ^= t + (t ^ t >> 7) * (t | 61)
    stream: ByteArray = (t ^ t >> 14).astype("<u4").view(np.uint8)[:length]
    return stream
