"""Measuring how well a scorer's severities agree with human grades."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from atlas.config import Configuration
from atlas.errors import DatasetError
from atlas.pipeline.engine import single_threaded
from atlas.pipeline.store import Store
from atlas.pipeline.study import choose_source, evaluate_scores, fit_heads, gather, gather_scores, look_all, view_all
from atlas.progress import Progress, silent
from atlas.records import DatasetReport, Evaluation
from atlas.scorers.bundle import amend_bundle
from atlas.scorers.card import evaluation_entry, evaluations_on_card


def evaluate_scorer(
    configuration: Configuration, *, record: str | None = None, command: str = "", progress: Progress = silent
) -> tuple[Evaluation, DatasetReport]:
    """Score the graded photographs of `configuration` and measure the scores' agreement with the human grades.

    With `record` the figures are kept under that name, with the `command` that measures them, in the scorer's bundle and on its
    card, in place of older ones of the name.

    Raises DatasetError where no photograph has a grade, and what `build_atlas` raises.
    """
    store = Store(configuration.store)
    with single_threaded():
        dataset, report = gather(configuration, store, progress)
        source = choose_source(configuration)
        views, dataset, report = view_all(dataset, report, source, configuration, store, progress)
        heads = fit_heads(dataset, source, configuration, store, progress)
        looks = look_all(dataset, source, heads, views, configuration, store, progress)
        scores = gather_scores(looks, dataset, source, heads)
        evaluation = evaluate_scores(scores, heads, dataset, configuration)
    if evaluation is None:
        raise DatasetError("no photograph has a grade to compare with", "give --grades.")
    if record is not None and source.scorer is not None:
        scorer, entry = source.scorer, evaluation_entry(record, command, evaluation)
        entries = with_entry(scorer.evaluations, entry)
        amend_bundle(configuration.scorer, evaluations=entries, card=evaluations_on_card(scorer.card, entries))
    return evaluation, report


def with_entry(entries: Iterable[Mapping[str, Any]], entry: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Add a measurement to those of a bundle, in place of an older one of its name."""
    return (*(old for old in entries if old["name"] != entry["name"]), entry)
