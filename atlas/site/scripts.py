"""Data for the pages' scripts: columns in `data/*.js`, because a page opened from a disk may load nothing but scripts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atlas.site.book import Book
from atlas.site.data import write_script
from atlas.site.quality import quality_key
from atlas.site.trust import badge_views

Columns = dict[str, Any]


def write_data(book: Book, out: Path, *, notes: Mapping[str, str] | None = None) -> None:
    """Write `data/images.js` into the site folder `out`. `notes` are the curator's notes on photographs, by image id."""
    write_script(out / "data" / "images.js", "ATLAS_IMAGES", image_columns(book, notes or {}))


def image_columns(book: Book, notes: Mapping[str, str]) -> Columns:
    """Return all photographs in columns, in ascending severity: entry k is plate number k + 1.

    Returns
    -------
    dict[str, Any]
        `id`.
        `severity`: in grade units.
        `read`: the grade that the score is read as.
        `grade`, `difference` (the grade read minus the human grade) and `trust`: null if there is none.
        `eye`: null if it is not known. Only for retinas, with `eyes`, its words.
        `quality`: good, usable or poor; null where a picture shows no retina. Only for retinas.
        `flagged` and `unsure`: 0 or 1.
        `clusters`: 1-based numbers of the clusters of its patches, ascending.
        `note`: "" if there is none.
        `finer`: pixels a side of its plate, 0 if the photograph shows all pixels.
        `looked`: 1 if a net looked for lesions, else 0.
        `name`: only if file names may be shown.
        `scale` and `grades`: of the atlas, not columns.
        `trusts`: by badge, the most informative first, its word in the language of the pages.
        `lesions`: the kinds that a net found. `counts` is the number of lesions in each photograph, null if the net did not look.
        `places` are the places where they are, see `found.kind_places`, null for a kind without known places.
    """
    scale = book.scale
    plates, trust = book.plates, book.atlas.trust
    badges = dict(zip(trust.image_ids, trust.badges, strict=True)) if trust else {}
    columns: Columns = {
        "scale": {"lowest": scale.lowest, "highest": scale.highest, "disease": scale.disease, "flagged": book.flagged_from},
        "grades": [{"number": g.number, "name": g.name, "colour": g.colour} for g in book.grades],
        "trusts": {key: badge.word for key, badge in badge_views(scale, book.words).items()} if trust else {},
        "lesions": [
            {
                "key": kind.key,
                "name": kind.name,
                "plural": kind.plural,
                "letter": kind.letter,
                "colour": kind.colour,
                "counts": counts,
                "places": book.found_places.get(kind.key),
            }
            for kind, counts in book.found_counts.items()
        ],
        "looked": [int(plate.id in book.atlas.found) for plate in plates],
        "id": [plate.id for plate in plates],
        "severity": [plate.severity for plate in plates],
        "read": [plate.read.number for plate in plates],
        "grade": [plate.grade.number if plate.grade else None for plate in plates],
        "difference": [plate.difference for plate in plates],
        "flagged": [int(plate.flagged) for plate in plates],
        "unsure": [int(bool(plate.doubts)) for plate in plates],
        "trust": [badges.get(plate.id) for plate in plates],
        "clusters": [_clusters_of(book, plate.id) for plate in plates],
        "note": [notes.get(plate.id, "") for plate in plates],
        "finer": [plate.finer for plate in plates],
    }
    if book.atlas.dataset.scale.subject.retina:
        columns["eye"] = [book.eyes[plate.id] for plate in plates]
        columns["eyes"] = {"left": book.words.gettext("left eye"), "right": book.words.gettext("right eye")}
    if book.qualities:
        own = [plate.quality for plate in plates]
        columns["quality"] = [quality_key(one) if one and one.retina else None for one in own]
    if book.names:
        columns["name"] = [book.names.get(plate.id, "") for plate in plates]
    return columns


def _clusters_of(book: Book, image_id: str) -> list[int]:
    return sorted({patch.cluster for patch in book.patches_of.get(image_id, ()) if patch.cluster is not None})
