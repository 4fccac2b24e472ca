"""Several readers' grades of one photograph: the grade that is used, and how well the readers agree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations

import numpy as np

RULE = "the median of their grades, or the higher of the two middle ones if their number is even"
"""How one grade is made of several readers'."""


def consensus(grades: Mapping[str, int]) -> int:
    """Return the grade that is used, see `RULE`.

    Parameters
    ----------
    grades : Mapping[str, int]
        By reader, at least one.
    """
    ordered = sorted(grades.values())
    return ordered[len(ordered) // 2]


def readers_agreement(graded: Mapping[str, Mapping[str, int]]) -> str:
    """Say how many readers there are and how well they agree, without naming any.

    Parameters
    ----------
    graded : mapping of str to mapping of str to int
        By photograph, the grade of each reader.

    Returns
    -------
    str
        A sentence with the share of equal pairs, and Cohen's kappa with quadratic weights (Psychological Bulletin 70(4), 1968),
        the mean over pairs of readers, each counted by the photographs that both graded.
    """
    readers = sorted({reader for grades in graded.values() for reader in grades})
    several = sum(len(grades) > 1 for grades in graded.values())
    told = (
        f"{len(readers):,} readers graded {len(graded):,} photographs. {several:,} have grades from several readers: the grade "
        f"used is {RULE}."
    )
    equal = shared = 0
    kappas, weights = [], []
    for one, other in combinations(readers, 2):
        pairs = [(grades[one], grades[other]) for grades in graded.values() if one in grades and other in grades]
        if not pairs:
            continue
        shared += len(pairs)
        equal += sum(a == b for a, b in pairs)
        kappa = _kappa(np.array(pairs, np.float64))
        if not math.isnan(kappa):
            kappas.append(kappa)
            weights.append(len(pairs))
    if not shared:
        return told
    told += f" Two readers gave the same grade in {100 * equal / shared:.0f}% of {shared:,} pairs"
    return told + (f" (quadratic kappa {np.average(kappas, weights=weights):.2f})." if kappas else ".")


def _kappa(pairs: np.ndarray) -> float:
    """Cohen's kappa with quadratic weights of pairs (n, 2): 1 less the mean squared difference over that expected by chance."""
    first, second = pairs.T
    if len(set(pairs.ravel().tolist())) < 2:
        return math.nan
    expected = float(np.mean(first**2) - 2 * np.mean(first) * np.mean(second) + np.mean(second**2))
    return 1.0 - float(np.mean((first - second) ** 2)) / expected
