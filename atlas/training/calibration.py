"""How the scores of a trained scorer are calibrated and read as grades, and the card that says so."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from atlas.agreement.evaluation import auc, fit_reading, quadratic_kappa, spearman
from atlas.agreement.reading import nearest_grade
from atlas.records import FloatArray, GradeCuts, IntArray, Scale
from atlas.scorers.card import write_card
from atlas.scorers.evidence import EvidenceScorer
from atlas.scorers.networks import NetworkScorer
from atlas.scorers.protocol import Background
from atlas.scorers.readouts import Head, severity_of_logit
from atlas.scorers.side_by_side import SideBySideScorer
from atlas.scorers.transferred import TransferredScorer
from atlas.scorers.two_stage import TwoStageScorer
from atlas.training.material import Material

_TOLERANCE = 0.02  # of kappa: well within random variation, so calibration need not gain the last of it

_Made = TypeVar("_Made", TransferredScorer, TwoStageScorer, EvidenceScorer, SideBySideScorer, NetworkScorer)


def reading_of(severity: FloatArray, material: Material) -> tuple[GradeCuts, str]:
    """Fit how severities (n,) are read as grades, and say which scores the thresholds for referral come from.

    Severities of photographs that were learned by heart are further apart than those of new ones: a threshold or an operating
    point chosen on them would miss too many. The stage ranges are those of the study, which fits them to photographs that were
    learned from. Where a scorer did not look at these (NaN), all is fitted to validation photographs.
    """
    grades, scale = material.grades, material.scale
    held_out = fit_reading(severity[material.validation], grades[material.validation], scale)
    if np.isnan(severity[material.training]).any():
        return held_out, "of validation scores"
    ranges = fit_reading(severity[material.training], grades[material.training], scale)
    if held_out.threshold is None:
        return ranges, "of training scores"
    return replace(ranges, threshold=held_out.threshold, operating=held_out.operating), "of validation scores"


def read_by_severities(
    scorer: _Made,
    severity: FloatArray,
    material: Material,
    recipe: Mapping[str, Any],
    others: Sequence[Background] = (),
    probabilities: FloatArray | None = None,
) -> _Made:
    """Fit how a scorer's severities (n,) of the material are read, evaluate it, and complete it as `with_card` does.

    Parameters
    ----------
    probabilities : FloatArray or None
        (n, K), probabilities of the grades, if the scorer gives them; (n, 0) is the same as None.
    """
    reading, of = reading_of(severity, material)
    shares = probabilities[material.test] if probabilities is not None and probabilities.size else None
    judged = material.judged(severity, shares) if material.test.size else None
    figures = on_validation(severity[material.validation], material.grades[material.validation], material.scale)
    return with_card(replace(scorer, reading=reading, judged=judged), material, {**recipe, "threshold": of, **figures}, others)


def with_card(scorer: _Made, material: Material, recipe: Mapping[str, Any], others: Sequence[Background]) -> _Made:
    """Complete the recipe and write the card. `others` are scorers used for this one; it has learned from their photographs."""
    facts = {"size": scorer.size, "preparation": scorer.preparation, **material.facts, **recipe}
    learned = tuple(sorted(set(material.met).union(*(other.learned for other in others))))
    scorer = replace(scorer, training=facts, learned=learned)
    return replace(scorer, card=write_card(scorer))


def on_validation(severity: FloatArray, grades: IntArray, scale: Scale) -> dict[str, float]:
    """Return figures to compare recipes. Best epoch and calibration were chosen on these photographs, so they are too good."""
    found = {
        "validation_kappa": quadratic_kappa(nearest_grade(severity, scale), grades, scale),
        "validation_spearman": spearman(severity, grades),
    }
    if scale.referable is not None:
        found["validation_auc"] = auc(severity, grades >= scale.referable)
    return {name: round(value, 4) for name, value in found.items() if math.isfinite(value)}


def calibrate(head: Head, logits: FloatArray, grades: IntArray, scale: Scale) -> Head:
    """Stretch and shift a head's logit, see `calibration`: the output layer becomes a w, a b + c."""
    stretch, shift = calibration(logits, grades, scale)
    return replace(
        head,
        output_weight=(head.output_weight * np.float32(stretch)).astype(np.float32),
        output_bias=head.output_bias * stretch + shift,
    )


def calibration(logits: FloatArray, grades: IntArray, scale: Scale) -> tuple[float, float]:
    """Find a stretch a and a shift c of logits l, so that the severity of a l + c, rounded, agrees with human grades.

    Balanced weights make a scorer rate mild eyes too severe. Both numbers come from a grid: among all pairs within 0.02 of the
    best quadratic kappa, the one that changes the severities least. The photographs must be ones that the head did not learn
    from. The order of scores does not change, nor does any ROC curve.

    Parameters
    ----------
    logits : FloatArray
        (n,).
    grades : IntArray
        (n,), human grades.

    Returns
    -------
    tuple[float, float]
        The numbers a and c; 1 and 0 if no kappa is defined.
    """
    plain = severity_of_logit(logits, scale)
    tried = []
    for stretch in (1.0, *np.geomspace(0.5, 3.0, 25)):
        for shift in np.linspace(-3.0, 3.0, 49):
            severity = severity_of_logit((stretch * logits + shift).astype(np.float32), scale)
            kappa = quadratic_kappa(nearest_grade(severity, scale), grades, scale)
            tried.append((kappa, float(np.abs(severity - plain).mean()), float(stretch), float(shift)))
    best = max((kappa for kappa, *_ in tried if math.isfinite(kappa)), default=math.inf)
    good = [(change, stretch, shift) for kappa, change, stretch, shift in tried if kappa >= best - _TOLERANCE]
    if not good:
        return 1.0, 0.0
    _, stretch, shift = min(good)
    return stretch, shift
