"""The shipped networks: the figures on their cards are found again on the photographs of their measurement."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import recorded
import torch
from recorded import CLAIMED

from atlas import load_scorer
from atlas.agreement.evaluation import auc, quadratic_kappa
from atlas.agreement.reading import nearest_grade
from atlas.lesionnets.bundle import load_lesion_net
from atlas.resources import DEFAULT_LESION_NET, DEFAULT_SCORER, models_folder
from atlas.scorers.bundle import shipped_scorers

COLOUR = "EyePACS colour photographs, test split"
FEWEST = "IDRiD, test part"  # the smallest set that all of them were measured on
EXUDATES = "HEI-MED, outlined exudates"
DIARETDB1 = "DIARETDB1"

complete_sets = pytest.mark.skipif(
    not os.environ.get("COMPLETE_SETS"), reason="`make figures` measures complete sets, in minutes"
)


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


@pytest.mark.parametrize("scorer", CLAIMED)
def test_the_recorded_figures_of_the_first_claim_hold(scorer: str) -> None:
    figures = _entry(load_scorer(scorer).evaluations, COLOUR)["figures"]
    assert figures["quadratic_kappa"][0] >= 0.60
    if scorer == DEFAULT_SCORER:
        assert figures["auc_referable"][0] >= 0.85


def test_the_recorded_figures_of_the_maps_hold() -> None:
    by_map = {row["map"]: row for row in _entry(load_scorer(DEFAULT_SCORER).trust, EXUDATES)["maps"]}
    assert by_map["occlusion"]["hit"][0] >= 2 * by_map["random"]["hit"][0]
    assert by_map["occlusion"]["middle"][0] >= 0.45
    assert by_map["occlusion"]["gain"][1] > 0  # more often than the centre of the retina, beyond chance


def test_the_recorded_figures_of_the_lesion_net_hold() -> None:
    kinds = _entry(load_lesion_net(DEFAULT_LESION_NET).measured, DIARETDB1)["kinds"]
    assert kinds["hard_exudate"]["auc"][0] > 0.98
    assert kinds["red_lesion"]["hit"][0] > 0.75


@pytest.mark.photographs
@pytest.mark.parametrize("name", recorded.NAMES)
def test_few_photographs_give_what_is_recorded_of_them(
    photographs: Path, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    store = tmp_path_factory.getbasetemp() / "few"  # one for all names: they share photographs
    figures = recorded.few(photographs, store)[name]()
    assert figures == pytest.approx(json.loads(recorded.FILE.read_text("utf-8"))[name], abs=0.002)


@complete_sets
@pytest.mark.photographs
@pytest.mark.parametrize("scorer", CLAIMED)
def test_evaluation_gives_the_figures_of_the_card_again(photographs: Path, tmp_path: Path, scorer: str) -> None:
    figures, count, patients = recorded.scores(scorer, photographs, tmp_path, limit=None)
    told = _entry(load_scorer(scorer).evaluations, FEWEST)
    assert (count, patients) == (told["photographs"], told["patients"])
    for name, (value, *_) in told["figures"].items():
        assert figures[name] == pytest.approx(value, abs=0.01), name


@complete_sets
@pytest.mark.photographs
def test_maps_give_the_figures_of_the_card_again(photographs: Path, tmp_path: Path) -> None:
    by_map = {row["map"]: row for row in recorded.maps(photographs, tmp_path, limit=None)["maps"]}
    for row in _entry(load_scorer(DEFAULT_SCORER).trust, EXUDATES)["maps"]:
        for figure, value in row.items():  # with their intervals
            if figure in ("hit", "middle", "deletion", "insertion") and value is not None:
                assert by_map[row["map"]][figure] == pytest.approx(value, abs=0.05), (row["map"], figure)


@complete_sets
@pytest.mark.photographs
def test_the_lesion_net_gives_the_figures_of_its_card_again(photographs: Path, tmp_path: Path) -> None:
    told = _entry(load_lesion_net(DEFAULT_LESION_NET).measured, DIARETDB1)
    entry = recorded.lesions(photographs, tmp_path, limit=None)
    assert entry["photographs"] == told["photographs"] == 89
    assert recorded.lesion_figures(entry) == pytest.approx(recorded.lesion_figures(told), abs=0.005)


def test_the_default_scorer_is_its_members_side_by_side() -> None:
    both = load_scorer(DEFAULT_SCORER)
    assert [member.name for member in both.members] == ["eyepacs-pair", "clinics-efficientnet", "evidence-squeezenet"]
    assert both.shares == pytest.approx((1 / 2, 1 / 4, 1 / 4))
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
