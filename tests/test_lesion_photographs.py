"""The shipped lesion net on real photographs that it did not learn from: the figures on its card are found again."""

from __future__ import annotations

from pathlib import Path

import pytest

from atlas.config import load_configuration
from atlas.lesionnets.bundle import load_lesion_net
from atlas.pipeline.lesions import evaluate_lesions
from atlas.resources import DEFAULT_LESION_NET


@pytest.mark.photographs
def test_figures_on_another_camera_are_those_on_the_card(photographs: Path, tmp_path: Path) -> None:
    folder = photographs / "diaretdb1"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder.name} among the photographs")
    settings = load_configuration(None, images=folder / "images", store=tmp_path)
    entry, report = evaluate_lesions(settings, DEFAULT_LESION_NET, boxes=folder / "boxes.csv")
    assert not report.unreadable
    told = next(one for one in load_lesion_net(DEFAULT_LESION_NET).measured if one["name"] == "DIARETDB1")
    assert entry["photographs"] == told["photographs"] == 89
    for kind in ("hard_exudate", "red_lesion"):
        for figure in ("auc", "hit", "touched"):
            assert entry["kinds"][kind][figure][0] == pytest.approx(told["kinds"][kind][figure][0], abs=0.005), (kind, figure)
    assert entry["kinds"]["hard_exudate"]["auc"][0] > 0.98
    assert entry["kinds"]["red_lesion"]["hit"][0] > 0.75
