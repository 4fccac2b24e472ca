"""Measuring how well a scorer's severities agree with human grades."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from atlas.agreement.doubt import learn_doubt
from atlas.config import Configuration
from atlas.errors import ConfigurationError, DatasetError
from atlas.pipeline.cohort import gather
from atlas.pipeline.engine import single_threaded
from atlas.pipeline.photograph import prediction_key
from atlas.pipeline.sources import TrainedSource
from atlas.pipeline.study import Seen, agreement, gather_scores, looks_of, see
from atlas.pipeline.workshop import Workshop
from atlas.progress import Progress, silent
from atlas.records import DatasetReport, DoubtRule, Evaluation
from atlas.scorers.bundle import amend_bundle, record_in_bundle
from atlas.scorers.card import evaluation_entry, evaluations_on_card


def evaluate_scorer(
    configuration: Configuration,
    *,
    record: str | None = None,
    doubt: bool = False,
    command: str = "",
    progress: Progress = silent,
) -> tuple[Evaluation, DatasetReport]:
    """Score the graded photographs of `configuration` and measure the scores' agreement with the human grades.

    Parameters
    ----------
    record : str or None
        The name under which the figures are kept in the scorer's bundle and on its card. They replace older figures of that name.
    doubt : bool
        Whether a trained scorer learns from these photographs when it is not sure, see `agreement.doubt`. Its bundle keeps that.
    command : str
        The command that measures the figures, kept with them.

    Raises
    ------
    DatasetError
        If no photograph has a grade. All that `build_atlas` raises is raised, too.
    """
    workshop = Workshop.of(configuration, progress)
    with single_threaded():
        cohort = gather(workshop)
        seen = see(workshop, cohort.dataset, cohort.report, doubt=doubt)
        name, found = cohort.dataset.target.name, []
        for image_id in seen.dataset.image_ids:
            scorer = seen.scorers.scorers[seen.scorers.index[image_id]]
            found.append(scorer.restore(workshop.store.arrays("predictions", prediction_key(image_id, seen.source))))
        severities, probabilities = ([getattr(one, what)[name] for one in found] for what in ("severity", "probabilities"))
        looks = looks_of(seen, [one.logit(name) for one in found], [one.members(name) for one in found])
        if doubt:
            seen = _with_doubt(seen, learn_doubt(looks, seen.dataset.scale))
        evaluation = agreement(workshop, seen, gather_scores(seen, severities, probabilities, looks))
    if evaluation is None:
        raise DatasetError("no photograph has a grade to compare with", "give --grades.")
    if doubt and isinstance(seen.source, TrainedSource):
        amend_bundle(configuration.scorer, doubt=seen.source.scorer.background.doubt)
    if record is not None and isinstance(seen.source, TrainedSource):
        entry = evaluation_entry(record, command, evaluation)
        record_in_bundle(configuration.scorer, "evaluations", entry, evaluations_on_card)
    return evaluation, seen.report


def _with_doubt(seen: Seen, rule: DoubtRule) -> Seen:
    if not isinstance(seen.source, TrainedSource):
        raise ConfigurationError("doubt: heads fitted with --fit are not kept", "leave out either --fit or --doubt.")
    known: Any = seen.source.scorer
    return replace(seen, source=replace(seen.source, scorer=replace(known, doubt=rule)))
