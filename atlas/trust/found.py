"""How well a lesion net finds lesions, compared with boxes or outlines that a person drew.

Boxes are coarse and incomplete: places outside them in a diseased eye may still be lesions. So a mark counts as false only in an
eye that a person called free of the disease, and a photograph counts as without a kind if nobody boxed one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from atlas.agreement.statistics import area_under_roc
from atlas.records import BoolArray, FloatArray
from atlas.trust.summary import resampled

SQUARE, STEP = 10, 5
"""Side of a square and step between squares, in cells, for 'lesion or not by square': a tenth of the retina, half overlapping."""

_COVERED = 0.25  # a square shows a lesion if lesions cover this share of it, or if it holds this share of a lesion

_RESAMPLES = 1000


@dataclass(frozen=True)
class Found:
    """What a net found of one kind in one photograph, compared with what a person marked.

    Parameters
    ----------
    strongest : float
        Its highest probability.
    hit : float
        1 if the centre of the place with that probability lies in a marked lesion, else 0; NaN if none is marked.
    by_chance : float
        Share of the retina's cells that lie in a marked lesion.
    lesions : int
        Number of lesions that a person marked.
    touched : int
        Number of these that the net marked as well.
    marks : int
        Number of lesions that the net marked.
    """

    strongest: float
    hit: float
    by_chance: float
    lesions: int
    touched: int
    marks: int


def compare(
    values: FloatArray, marked: BoolArray, marks: int, lesions: Sequence[BoolArray], retina: BoolArray, *, hit: bool
) -> Found:
    """Compare a net's map of one kind with marked lesions, all on the cells (h, w) of the frame.

    Parameters
    ----------
    values : FloatArray
        Probability of the kind, 0 off the retina.
    marked : BoolArray
        Cells that the net marked.
    marks : int
        Number of lesions that these cells belong to.
    lesions : Sequence[BoolArray]
        Cells of each lesion that a person marked.
    retina : BoolArray
        Cells on the retina.
    hit : bool
        Whether the centre of the most likely place lies in one of these lesions, by the pixel.
    """
    whole = np.any(lesions, axis=0) if lesions else np.zeros_like(marked)
    return Found(
        float(values.max()),
        float(hit) if lesions else np.nan,
        float(whole[retina].mean()) if retina.any() else np.nan,
        len(lesions),
        sum(bool((marked & own).any()) for own in lesions),
        marks,
    )


def summarise_discs(off: Sequence[float], inside: Sequence[bool]) -> dict[str, Any] | None:
    """Summarise how well the optic disc was found in photographs with a box around it; None if there are none.

    Parameters
    ----------
    off : Sequence[float]
        Distance from the box's centre, in units of the box's mean side; infinite if no disc was found.
    inside : Sequence[bool]
        Whether the disc's centre lies in the box.
    """
    if not off:
        return None
    middle = np.median(off)
    return {"count": len(off), "inside": sum(inside), "off": round(float(middle), 3) if np.isfinite(middle) else None}


def squares(values: FloatArray, lesions: Sequence[BoolArray], retina: BoolArray) -> tuple[FloatArray, BoolArray]:
    """Return the score of each overlapping square on the retina, (n,), and whether it shows a lesion, bool (n,).

    A square shows a lesion if lesions cover a quarter of it, or if a quarter of any lesion lies in it. It is left out if it only
    touches one.

    Parameters
    ----------
    values : FloatArray
        (h, w), probability of any lesion.
    lesions : Sequence[BoolArray]
        (h, w) each, cells of each lesion that a person marked.
    retina : BoolArray
        (h, w), cells on the retina.
    """

    def windows(cells: np.ndarray) -> np.ndarray:
        return sliding_window_view(cells, (SQUARE, SQUARE))[::STEP, ::STEP]

    score = windows(values).max(axis=(2, 3))
    on_retina = windows(retina).mean(axis=(2, 3)) >= 0.5
    whole = np.any(lesions, axis=0) if lesions else np.zeros_like(retina)
    share = windows(whole).mean(axis=(2, 3))
    shows = share >= _COVERED
    for own in lesions:
        shows |= windows(own).sum(axis=(2, 3)) >= max(1.0, _COVERED * own.sum())
    kept = on_retina & (shows | (share == 0))
    return np.asarray(score[kept], np.float32), np.asarray(shows[kept])


def summarise_found(
    photographs: Sequence[Mapping[str, Found]], patients: Sequence[str], free: Sequence[bool | None], *, name: str, seed: int = 0
) -> dict[str, Any]:
    """Summarise what was found in each photograph as one entry of plain JSON values.

    Each figure is [value, low, high] with the 95% percentile interval of a bootstrap over patients, or None if it is not defined:
    `auc` by photograph, `hit` and `by_chance` in photographs with a marked lesion, `touched` as a share of the marked lesions,
    and `false_marks` per eye that is free of the disease.

    Parameters
    ----------
    photographs : Sequence[Mapping[str, Found]]
        What was found in each photograph, by kind.
    patients : Sequence[str]
        The patient of each photograph.
    free : Sequence[bool | None]
        Whether each is free of the disease; None if not known.
    name : str
        Name of the set of photographs.
    seed : int
        Draws the resamples of the patients.
    """
    weights, count = resampled(patients, _RESAMPLES, seed)
    healthy = np.array([one is True for one in free])

    def interval(values: np.ndarray) -> list[float] | None:
        known = values[np.isfinite(values)]
        if not np.isfinite(values[0]):
            return None
        return [round(float(one), 4) for one in (values[0], *np.quantile(known, (0.025, 0.975)))]

    def share(above: np.ndarray, below: np.ndarray) -> list[float] | None:
        with np.errstate(invalid="ignore", divide="ignore"):
            return interval((weights @ above) / (weights @ below))

    entry: dict[str, Any] = {"name": name, "photographs": len(photographs), "patients": count, "free": int(healthy.sum())}
    entry["kinds"] = {}
    every = np.zeros(len(photographs))
    for kind in photographs[0]:
        rows = [photograph[kind] for photograph in photographs]
        shown = np.array([row.lesions > 0 for row in rows])
        hits = np.array([row.hit if row.lesions else 0.0 for row in rows])
        marks = np.array([row.marks for row in rows], np.float64)
        every += marks
        auc = area_under_roc(np.array([row.strongest for row in rows]), shown) if 0 < shown.sum() < len(rows) else None
        entry["kinds"][kind] = {
            "with_lesion": int(shown.sum()),
            "lesions": sum(row.lesions for row in rows),
            "auc": None if auc is None else interval(auc(weights)),
            "hit": share(hits, shown.astype(float)),
            "by_chance": share(np.array([row.by_chance for row in rows]) * shown, shown.astype(float)),
            "touched": share(np.array([row.touched for row in rows], float), np.array([row.lesions for row in rows], float)),
            "false_marks": share(marks * healthy, healthy.astype(float)),
        }
    entry["false_marks"] = share(every * healthy, healthy.astype(float))
    return entry
