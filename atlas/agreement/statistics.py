"""Figures as functions of how often each photograph counts, so that resamples of the patients give their intervals.

A figure that is not defined for the data at hand is NaN, never an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from atlas.records import IntArray, Interval, Scale

Floats = NDArray[np.float64]

Statistic = Callable[[Floats], Floats]
"""A figure as a function: maps weights (b, n), how often each of n photographs counts, to its b values."""

_DRAWS = 1000  # resamples of the patients

_BLOCK = 1_500_000  # weights of photographs held at once while resampling


def once(statistic: Statistic, count: int) -> float:
    """Return the value of a statistic when each of `count` photographs counts once."""
    return float(statistic(np.ones((1, count)))[0])


def undefined(weights: Floats) -> Floats:
    """Return NaN for each row of weights: the statistic of something that cannot be measured."""
    return np.full(len(weights), np.nan)


def mean(values: np.ndarray, among: np.ndarray | None = None) -> Statistic:
    """Return the statistic for the mean of values (n,) over the photographs `among`, (n,) bool; over all if not given."""
    counted = np.ones(values.size) if among is None else among.astype(float)
    summed = values * counted

    def statistic(weights: Floats) -> Floats:
        return _divided(weights @ summed, weights @ counted)

    return statistic


def ratio(part: np.ndarray, whole: np.ndarray) -> Statistic:
    """Return the statistic for the sum of `part` (n,) divided by the sum of `whole` (n,)."""
    parts, wholes = part.astype(float), whole.astype(float)

    def statistic(weights: Floats) -> Floats:
        return _divided(weights @ parts, weights @ wholes)

    return statistic


def kappa(assigned: IntArray, grades: IntArray, scale: Scale) -> Statistic:
    """Return the statistic for quadratic weighted kappa (Cohen 1968).

    It is 1 minus the mean squared distance of the pairs, divided by that of all assigned with all human grades.
    """
    places = np.arange(len(scale.grades))
    distance = np.square(places[:, None] - places)
    human, read = (np.equal.outer(one - scale.lowest, places).astype(float) for one in (grades, assigned))
    squared = np.square(assigned - grades).astype(float)

    def statistic(weights: Floats) -> Floats:
        by_chance = np.einsum("bi,ij,bj->b", weights @ human, distance, weights @ read)
        return 1 - _divided((weights @ squared) * weights.sum(axis=1), by_chance)

    return statistic


def rank_correlation(severity: np.ndarray, grades: np.ndarray) -> Statistic:
    """Return the statistic for Spearman's rank correlation of severities (n,) with grades (n,), with mean ranks for ties."""
    first, second = _Ranking(severity), _Ranking(grades)

    def statistic(weights: Floats) -> Floats:
        sums, of_grade = first.sums(weights), second.sums(weights)
        ranks, grade_ranks = _midranks(sums), _midranks(of_grade)
        together = (first.sums(weights * np.take(grade_ranks, second.group, axis=1)) * ranks).sum(axis=1)
        spread = (sums * ranks**2).sum(axis=1) * (of_grade * grade_ranks**2).sum(axis=1)
        return np.clip(_divided(together, np.sqrt(spread)), -1, 1)

    return statistic


def area_under_roc(score: np.ndarray, positive: np.ndarray) -> Statistic:
    """Return the statistic for the area under the ROC curve of a score (n,) for `positive`, (n,) bool; ties count half."""
    ranking = _Ranking(score)
    sign = positive.astype(float)

    def statistic(weights: Floats) -> Floats:
        wins, losses = ranking.sums(weights * sign), ranking.sums(weights * (1 - sign))
        outranked = np.cumsum(losses, axis=1)
        outranked -= losses / 2
        return _divided((wins * outranked).sum(axis=1), wins.sum(axis=1) * losses.sum(axis=1))

    return statistic


def resampled_intervals(statistics: Mapping[str, Statistic], owners: IntArray, seed: int) -> dict[str, Interval]:
    """Return the 95% percentile interval of each figure, NaN if fewer than half of the resamples define it.

    Parameters
    ----------
    statistics : Mapping[str, Statistic]
        The figures by name.
    owners : IntArray
        int64 (n,), the patient of each photograph, numbered from 0.
    seed : int
        Draws the resamples of the patients.

    Returns
    -------
    dict[str, Interval]
        The intervals by name.
    """
    draws: dict[str, list[Floats]] = {name: [] for name in statistics}
    for weights in _resamples(owners, seed):
        for name, statistic in statistics.items():
            draws[name].append(statistic(weights))
    return {name: _percentiles(values) for name, values in draws.items()}


def _divided(part: Floats, whole: Floats) -> Floats:
    """Divide `part` by `whole`; NaN where `whole` is 0."""
    quotient: Floats = np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole != 0)
    return quotient


class _Ranking:
    """Photographs in ascending order of a value; those with the same value form a group."""

    def __init__(self, values: np.ndarray) -> None:
        self.order = np.argsort(values, kind="stable")
        ordered = values[self.order]
        first = np.ones(values.size, dtype=bool)
        first[1:] = ordered[1:] != ordered[:-1]
        self.starts = np.flatnonzero(first)
        self.group = np.empty(values.size, dtype=np.int64)
        self.group[self.order] = np.cumsum(first) - 1

    def sums(self, weights: Floats) -> Floats:
        """Return the sums of weights (b, n) over each group, (b, groups)."""
        ordered: Floats = np.take(weights, self.order, axis=1)
        return ordered if self.starts.size == self.order.size else np.add.reduceat(ordered, self.starts, axis=1)


def _midranks(sums: Floats) -> Floats:
    """Return the mean rank of each group minus the mean of all ranks, (b, groups)."""
    ranks: Floats = np.cumsum(sums, axis=1)
    ranks -= sums / 2 + sums.sum(axis=1, keepdims=True) / 2
    return ranks


def _resamples(owners: IntArray, seed: int) -> Iterator[Floats]:
    """Yield blocks (b, n) of how often each photograph counts when patients are drawn with replacement."""
    count = int(owners.max()) + 1 if owners.size else 0
    if count < 2:
        return
    generator = np.random.default_rng([seed, count])
    block = max(1, min(_DRAWS, _BLOCK // owners.size))
    for start in range(0, _DRAWS, block):
        draws = min(block, _DRAWS - start)
        drawn = generator.integers(count, size=(draws, count)) + count * np.arange(draws)[:, None]
        times = np.bincount(drawn.ravel(), minlength=draws * count).reshape(draws, count)
        yield np.take(times, owners, axis=1).astype(np.float64)


def _percentiles(draws: list[Floats]) -> Interval:
    values = np.concatenate(draws) if draws else np.empty(0)
    defined = values[np.isfinite(values)]
    if not defined.size or defined.size < values.size / 2:
        return np.nan, np.nan
    low, high = np.quantile(defined, [0.025, 0.975])
    return float(low), float(high)
