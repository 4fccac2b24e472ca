"""The shipped scorers: the figures on their cards are found again on the photographs of their measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atlas import load_configuration, load_scorer
from atlas.agreement.evaluation import auc, quadratic_kappa
from atlas.agreement.reading import nearest_grade
from atlas.pipeline.evaluate import evaluate_scorer
from atlas.pipeline.trust import measure_trust
from atlas.resources import DEFAULT_SCORER, models_folder
from atlas.scorers.bundle import shipped_scorers

COLOUR = "EyePACS colour photographs, test split"
FEWEST = "IDRiD, test part"  # the smallest set that all of them were measured on
EXUDATES = "HEI-MED, outlined exudates"


def _entry(entries: Any, name: str) -> Any:
    (found,) = (entry for entry in entries if entry["name"] == name)
    return found


def test_all_that_is_shipped_fits_in_thirty_megabytes() -> None:
    assert sum(facts["bytes"] for _, facts in shipped_scorers()) <= 30e6


def test_the_card_tells_what_the_test_split_holds() -> None:
    scorer = load_scorer(DEFAULT_SCORER)
    judged = scorer.judged
    assert judged is not None
    kappa = quadratic_kappa(nearest_grade(judged.severity, scorer.scale), judged.grades, scorer.scale)
    assert f"| quadratic weighted kappa, nearest grade | {kappa:.3f} |" in scorer.card
    assert f"| AUC for referable disease | {auc(judged.severity, judged.grades >= 2):.3f} |" in scorer.card
    assert judged.severity.size == scorer.training["photographs"]["test"]
    for section in ("Intended use", "Data and terms", "Recipe", "Measured on", "How far the maps can be trusted", "Limits"):
        assert f"\n## {section}" in scorer.card, section


def test_cards_read_scores_as_atlases_do() -> None:
    for name, _ in shipped_scorers():
        assert "stage ranges" not in (models_folder() / name / "card.md").read_text("utf-8").casefold(), name


EYEPACS = [name for name, _ in shipped_scorers() if name.startswith("eyepacs")]


@pytest.mark.parametrize("scorer", EYEPACS)
def test_the_recorded_figures_of_the_first_claim_hold(scorer: str) -> None:
    figures = _entry(load_scorer(scorer).evaluations, COLOUR)["figures"]
    assert figures["quadratic_kappa"][0] >= 0.60
    if scorer == DEFAULT_SCORER:
        assert figures["auc_referable"][0] >= 0.85


@pytest.mark.photographs
@pytest.mark.parametrize("scorer", EYEPACS)
def test_evaluation_gives_the_recorded_figures_again(photographs: Path, tmp_path: Path, scorer: str) -> None:
    folder = photographs / "idrid"
    evaluation, _ = evaluate_scorer(
        load_configuration(images=folder / "images", grades=folder / "grades.csv", split="test", store=tmp_path, scorer=scorer)
    )
    recorded = _entry(load_scorer(scorer).evaluations, FEWEST)
    assert evaluation.count == recorded["photographs"]
    assert evaluation.patients == recorded["patients"]
    for name, (value, *_) in recorded["figures"].items():
        assert evaluation.figures[name] == pytest.approx(value, abs=0.01), name


def test_the_default_scorer_is_its_members_side_by_side() -> None:
    both = load_scorer(DEFAULT_SCORER)
    assert [member.name for member in both.members] == ["eyepacs-pair", "evidence-squeezenet"]
    assert both.shares == pytest.approx((2 / 3, 1 / 3))
    for member in both.members:
        assert member.sha256 == load_scorer(member.name).sha256
        assert set(member.learned) <= set(both.learned)


def test_the_pair_is_its_members_side_by_side() -> None:
    pair, small = load_scorer("eyepacs-pair"), load_scorer("eyepacs-squeezenet")
    assert pair.training["members"].split(", ")[0] == small.name
    weights = pair.trunk.state_dict()
    for name, tensor in small.trunk.state_dict().items():
        assert torch.equal(weights[f"{small.trunk.name}.{name}"], tensor), name
    assert set(small.learned) <= set(pair.learned)


@pytest.mark.photographs
def test_occlusion_hits_exudates_twice_as_often_as_chance(photographs: Path, tmp_path: Path) -> None:
    folder = photographs / "hei-med"
    settings = load_configuration(images=folder / "images", store=tmp_path)
    entry, _ = measure_trust(settings, folder / "exudate_masks", scrambles=0)  # no figure below depends on them
    recorded = _entry(load_scorer(DEFAULT_SCORER).trust, EXUDATES)
    by_map = {row["map"]: row for row in entry["maps"]}
    assert by_map["occlusion"]["hit"][0] >= 2 * by_map["random"]["hit"][0]
    assert by_map["occlusion"]["middle"][0] >= 0.45
    assert by_map["occlusion"]["gain"][1] > 0  # more often than the centre of the retina, beyond chance
    for row in recorded["maps"]:
        for figure, value in row.items():
            if figure in ("hit", "deletion", "insertion") and value is not None:
                assert np.allclose(by_map[row["map"]][figure], value, atol=0.05), (row["map"], figure)
