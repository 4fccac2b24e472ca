"""Measurements of the maps of a cohort, summarised as one entry with confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas.trust.outlined import Row

_RESAMPLES = 2000

SUMMARY_FIGURES: Mapping[str, tuple[str, str | None]] = {
    "hit": ("hit", None),
    "times_random": ("hit", "random"),
    "middle": ("middle", None),
    "gain": ("gain", None),
    "share": ("share", None),
    "times_area": ("share", "area"),
    "deletion": ("deletion", "height"),
    "insertion": ("insertion", "height"),
    "head_scrambled": ("head_scrambled", None),
    "head_scrambled_absolute": ("head_scrambled_absolute", None),
    "all_scrambled": ("all_scrambled", None),
    "all_scrambled_absolute": ("all_scrambled_absolute", None),
}
"""Figures of a cohort: the mean of a photograph's figure, or its sum divided by the sum of another."""


def resampled(patients: Sequence[str], resamples: int, seed: int) -> tuple[NDArray[np.float64], int]:
    """Draw patients with replacement.

    Parameters
    ----------
    patients : Sequence[str]
        (n,), the patient of each photograph.
    resamples : int
        Number of resamples.
    seed : int
        Draws them.

    Returns
    -------
    weights : NDArray[np.float64]
        (1 + resamples, n), how often each photograph counts; in the first row each counts once.
    count : int
        Number of patients.
    """
    owners = np.unique(np.asarray(patients, dtype=str), return_inverse=True)[1]
    count = int(owners.max()) + 1
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    return np.vstack([np.ones(count), draws])[:, owners], count


def summarise(
    photographs: Sequence[Mapping[str, Row]], patients: Sequence[str], *, name: str, without_lesion: int, seed: int = 0
) -> dict[str, Any]:
    """Summarise what `measure` found for each photograph as one entry of plain JSON values.

    Each figure is [value, low, high] with the 95% percentile interval of a bootstrap over patients, or None if it is not defined.
    `area` is the mean share of the retina, or of the complete picture, that is lesion.

    Parameters
    ----------
    photographs : Sequence[Mapping[str, Row]]
        Figures by map, for each photograph.
    patients : Sequence[str]
        The patient of each photograph.
    name : str
        Name of the set of photographs.
    without_lesion : int
        Number of photographs left out because they have no lesion.
    seed : int
        Draws the resamples of the patients.
    """
    weights, count = resampled(patients, _RESAMPLES, seed)

    def figure(of: str, above: str, below: str | None) -> list[float] | None:
        upper = np.array([rows[of].get(above, np.nan) for rows in photographs], np.float64)
        lower = np.ones_like(upper) if below is None else np.array([rows[of][below] for rows in photographs], np.float64)
        known = np.isfinite(upper)
        sums, bases = (weights[:, known] @ values[known] for values in (upper, lower))
        if bases[0] <= 0:
            return None
        low, high = np.quantile(sums[bases > 0] / bases[bases > 0], (0.025, 0.975))
        return [round(float(value), 4) for value in (sums[0] / bases[0], low, high)]

    return {
        "name": name,
        "photographs": len(photographs),
        "patients": count,
        "without_lesion": without_lesion,
        "area": round(float(np.mean([rows["random"]["area"] for rows in photographs])), 5),
        "maps": [
            {"map": of, **{key: figure(of, above, below) for key, (above, below) in SUMMARY_FIGURES.items()}}
            for of in photographs[0]
        ],
    }
