"""Measuring how well a scorer's severities agree with human grades."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from atlas.agreement.detection import FEWEST
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
from atlas.records import DatasetReport, DoubtRule, Evaluation, Scale
from atlas.scorers.bundle import amend_bundle, load_scorer, record_in_bundle
from atlas.scorers.card import evaluation_entry, evaluations_on_card


def evaluate_scorer(
    configuration: Configuration,
    *,
    record: str | None = None,
    doubt: bool = False,
    operating_point: bool = False,
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
    operating_point : bool
        Whether a trained scorer's operating point is chosen on these photographs, see `agreement.detection`. Its bundle keeps it.
        The figures here are still cross-fitted: chosen on one half of the patients and judged on the other.
    command : str
        The command that measures the figures, kept with them.

    Raises
    ------
    DatasetError
        If no photograph has a grade, or an operating point is to be chosen and there are too few referable photographs or too
        few others. All that `build_atlas` raises is raised, too.
    ConfigurationError
        If heads that are fitted on these photographs are to keep anything.
    """
    workshop = Workshop.of(configuration, progress)
    with single_threaded():
        cohort = gather(workshop, copies=False)
        seen = see(workshop, cohort.dataset, cohort.report, doubt=doubt, copies=not cohort.synthetic)
        name, found = cohort.dataset.target.name, []
        for image_id in seen.dataset.image_ids:
            scorer = seen.scorers.scorers[seen.scorers.index[image_id]]
            found.append(scorer.restore(workshop.store.arrays("predictions", prediction_key(image_id, seen.source))))
        severities, probabilities = ([getattr(one, what)[name] for one in found] for what in ("severity", "probabilities"))
        looks = looks_of(seen, [one.logit(name) for one in found], [one.members(name) for one in found])
        if doubt:
            seen = _with_doubt(seen, learn_doubt(looks, seen.dataset.scale))
        if operating_point:
            seen = _without_operating_point(seen)
        evaluation = agreement(workshop, seen, gather_scores(seen, severities, probabilities, looks))
    if evaluation is None:
        raise DatasetError("no photograph has a grade to compare with", "give --grades.")
    if doubt and isinstance(seen.source, TrainedSource):
        amend_bundle(configuration.scorer, doubt=seen.source.scorer.background.doubt)
    if operating_point:
        _keep_operating_point(configuration.scorer, seen.dataset.scale, evaluation)
    if record is not None and isinstance(seen.source, TrainedSource):
        entry = evaluation_entry(record, command, evaluation)
        record_in_bundle(configuration.scorer, "evaluations", entry, evaluations_on_card)
    return evaluation, seen.report


def _without_operating_point(seen: Seen) -> Seen:
    """Forget the operating point of a trained scorer, so that one is chosen on the photographs at hand."""
    if not isinstance(seen.source, TrainedSource):
        raise ConfigurationError("operating-point: heads fitted with --fit are not kept", "leave out --fit or --operating-point.")
    if (reading := seen.scorers.reading) is None:
        raise ConfigurationError(
            f"scorer {seen.source.name}: its bundle does not say how its scores are read, so it has no operating point",
            "leave out --operating-point, or train the scorer again.",
        )
    return replace(seen, scorers=replace(seen.scorers, reading=replace(reading, operating=None)))


def _keep_operating_point(name_or_path: str, scale: Scale, evaluation: Evaluation) -> None:
    """Keep an operating point that was chosen on these photographs in a scorer's bundle."""
    scorer = load_scorer(name_or_path)
    known = scorer.background.reading
    if evaluation.operating is None or known is None:
        raise DatasetError(
            f"no operating point can be chosen on {evaluation.count:,} photographs of {evaluation.patients:,} patients",
            f"give at least {FEWEST} referable photographs and {FEWEST} others in each half of the patients.",
        )
    point = evaluation.operating - scale.lowest + scorer.scale.lowest
    amend_bundle(name_or_path, reading=replace(known, operating=round(point, 4)))


def _with_doubt(seen: Seen, rule: DoubtRule) -> Seen:
    if not isinstance(seen.source, TrainedSource):
        raise ConfigurationError("doubt: heads fitted with --fit are not kept", "leave out either --fit or --doubt.")
    known: Any = seen.source.scorer
    return replace(seen, source=replace(seen.source, scorer=replace(known, doubt=rule)))
