"""The optic disc and the fovea, and the regions that they define."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_found_page import found_of

from atlas.cohort.regions import disc_diameter, near_fovea, region_of
from atlas.config import load_configuration
from atlas.errors import TrainingError
from atlas.lesionnets.bundle import load_lesion_net, save_lesion_net
from atlas.lesionnets.landmarks import PLACES, WIDTHS, DiscReadout, find_fovea, landmarks_at
from atlas.lesionnets.networks import GRID, SIDE
from atlas.pipeline.landmarks import train_disc
from atlas.pipeline.lesions import evaluate_lesions
from atlas.records import Frame, Landmarks, LesionBox, Mark
from atlas.site.found import found_view, landmarks_view
from atlas.training.landmarks import inside_disc, learn_disc, seen_at

EYE = Landmarks((500.0, 800.0), (500.0, 550.0))  # a disc diameter is 100 pixels


def square(row: float, column: float, half: int = 2) -> tuple[int, int, int, int]:
    return int(row - half), int(column - half), int(row + half), int(column + half)


def test_regions_are_told_in_disc_diameters_from_the_fovea() -> None:
    assert disc_diameter(EYE) == 100
    at = {145: "macula", 155: "arcades", 295: "arcades", 305: "periphery"}
    assert {away: region_of(square(500, 550 + away), EYE) for away in at} == at
    assert {away: region_of(square(500 - away, 550), EYE) for away in at} == at
    assert near_fovea(square(500, 550 + 101), EYE)  # its nearest edge lies 99 pixels away
    assert not near_fovea(square(500, 550 + 103), EYE)
    assert near_fovea((0, 0, 2000, 2000), EYE)
    for unknown in (None, Landmarks((500.0, 800.0)), Landmarks((5.0, 5.0), (5.0, 5.0))):
        assert region_of(square(0, 0), unknown) == ""
        assert near_fovea(square(0, 0), unknown) is None


def test_a_report_tells_regions_in_words() -> None:
    exudate = Mark("hard_exudate", square(500, 560))
    bleed = Mark("haemorrhage", square(500, 950))
    view = found_view(found_of((exudate, bleed, bleed), EYE), Frame(0, 0, 1000), 2.0, (10, 10))
    assert view is not None
    assert view.where == (
        "In the macula: hard exudates in 1 place; in the periphery: 2 haemorrhages. A hard exudate lies within one disc "
        "diameter of the fovea. Screening programmes take this as a sign of macular oedema."
    )
    alone = found_view(found_of((bleed,), EYE), Frame(0, 0, 1000), 2.0, (10, 10))
    assert alone is not None
    assert alone.where == "It lies in the periphery."
    nobody = found_view(found_of((exudate,), None), Frame(0, 0, 1000), 2.0, (10, 10))
    assert nobody is not None
    assert nobody.where == ""
    assert nobody.landmarks is None
    shown = landmarks_view(EYE, Frame(0, 0, 1000))
    assert shown is not None
    assert (shown.disc, shown.fovea, shown.diameter) == ((50.0, 80.0), (50.0, 55.0), 10.0)


def test_the_fovea_is_the_darkest_place_beside_the_disc() -> None:
    for temple, disc in ((-1, (500.0, 750.0)), (1, (500.0, 274.0))):
        plate = np.full((SIDE, SIDE, 3), 150, np.uint8)
        expected = (540, round(disc[1] + temple * 0.37 * SIDE))
        cv2.circle(plate, expected[::-1], 45, (90, 90, 90), -1)
        cv2.circle(plate, (512, 200), 60, (20, 20, 20), -1)  # darker, but nowhere near
        retina = cv2.circle(np.zeros((SIDE, SIDE), np.uint8), (SIDE // 2, SIDE // 2), SIDE // 2 - 2, 1, -1) > 0
        blood = np.zeros((GRID, GRID), np.float32)
        found = find_fovea(plate, retina, disc, blood)
        assert found is not None
        assert np.hypot(found[0] - expected[0], found[1] - expected[1]) < 12
        # A haemorrhage that the net knows of does not draw the fovea to it.
        bleed = (expected[0] - 10, expected[1] + 70)
        cv2.circle(plate, bleed[::-1], 25, (30, 30, 30), -1)
        blood = cv2.circle(blood, (bleed[1] // 8, bleed[0] // 8), 4, 1.0, -1)
        again = find_fovea(plate, retina, disc, blood)
        assert again is not None
        assert np.hypot(again[0] - expected[0], again[1] - expected[1]) < 20
    assert find_fovea(plate, np.zeros((SIDE, SIDE), np.bool_), (500.0, 750.0), np.zeros((GRID, GRID), np.float32)) is None


def test_a_disc_is_learned_from_boxes_and_found(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    frame = Frame(100, 200, 2 * SIDE)  # a photograph of twice the square's size

    def eye() -> tuple[np.ndarray, LesionBox, tuple[float, float]]:
        row, column = random.uniform(350, 650), random.choice([250, 770]) + random.uniform(-30, 30)
        features = random.random((4, GRID, GRID)).astype(np.float32)
        at = (np.arange(GRID) + 0.5) * SIDE / GRID
        features[2] += 2 * (np.hypot(at[:, None] - row, at[None] - column) < 75)
        box = LesionBox(
            "optic_disc", 100 + 2 * (row - 75), 200 + 2 * (column - 75), 100 + 2 * (row + 75), 200 + 2 * (column + 75)
        )
        return features, box, (row, column)

    eyes = [eye() for _ in range(25)]
    learned = learn_disc([seen_at(features) for features, _, _ in eyes], [inside_disc(box, frame) for _, box, _ in eyes])
    assert learned.weight.shape == (len(WIDTHS), 4)
    everywhere = np.ones((SIDE, SIDE), np.bool_)
    for features, _, (row, column) in [eye() for _ in range(10)]:
        found = learned.find(features, everywhere)
        assert found is not None
        assert np.hypot(found[0] - row, found[1] - column) < SIDE / PLACES / 2
        own = landmarks_at(found, None, frame).disc
        assert np.hypot(own[0] - 100 - 2 * row, own[1] - 200 - 2 * column) < SIDE / PLACES
    assert learned.find(random.random((4, GRID, GRID)).astype(np.float32), everywhere) is None
    with pytest.raises(TrainingError, match="fewer than 20 photographs"):
        learn_disc([seen_at(eyes[0][0])], [inside_disc(eyes[0][1], frame)])


def test_a_bundle_keeps_what_its_net_knows_of_discs(tmp_path: Path) -> None:
    net = load_lesion_net("lesions-squeezenet")
    assert net.disc is not None
    other = replace(net, disc=DiscReadout(net.disc.weight, net.disc.bias + 1))
    save_lesion_net(tmp_path / "net", other)
    kept = load_lesion_net(tmp_path / "net")
    assert kept.disc is not None
    np.testing.assert_array_equal(kept.disc.weight, net.disc.weight)
    assert kept.disc.bias == net.disc.bias + 1
    assert kept.sha256 != net.sha256
    save_lesion_net(tmp_path / "net", replace(net, disc=None))
    assert load_lesion_net(tmp_path / "net").disc is None


@pytest.mark.photographs
def test_a_command_teaches_discs_and_another_measures_them(photographs: Path, tmp_path: Path) -> None:
    folder = photographs / "idrid"
    save_lesion_net(tmp_path / "net", replace(load_lesion_net("lesions-squeezenet"), disc=None))
    tables = {"grades": folder / "grades.csv", "store": tmp_path / "store"}
    settings = load_configuration(None, images=folder / "images", limit=42, **tables)
    train_disc(settings, tmp_path / "net", folder / "boxes.csv", command="the command")
    taught = load_lesion_net(tmp_path / "net")
    assert taught.disc is not None
    assert taught.training["discs"] >= 20
    assert "## Disc and fovea" in taught.card
    assert "the command" in taught.card
    settings = load_configuration(None, images=folder / "images", limit=8, split="test", **tables)
    entry, _ = evaluate_lesions(settings, str(tmp_path / "net"), boxes=folder / "boxes.csv")
    assert entry["disc"]["count"] >= 6
    assert entry["disc"]["inside"] >= 0.9 * entry["disc"]["count"]
    assert entry["disc"]["off"] < 0.25
