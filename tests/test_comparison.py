"""The comparison of systems: every system is in it, it can be stopped and resumed, and its page says what was not run."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atlas import write_cohort
from atlas.agreement.evaluation import auc
from atlas.records import FloatArray
from atlas.scorers.bundle import load_scorer
from atlas.scorers.networks import NetworkScorer

ROOT = Path(__file__).resolve().parents[1]

sys.path.insert(0, str(ROOT))

from benchmarks.comparison import __main__ as command  # noqa: E402
from benchmarks.comparison import fits, measure  # noqa: E402
from benchmarks.comparison.page import page, told  # noqa: E402
from benchmarks.comparison.photographs import SETS, Photographs, gathered  # noqa: E402
from benchmarks.comparison.systems import IDEAS, PUBLISHED, SHIPPED, STUDIES, SYSTEMS, System  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four sets of drawn eyes, whose tables divide them and grade them so that each part has healthy and diseased eyes."""
    folder = tmp_path_factory.mktemp("comparison")
    for seed, name in enumerate(SETS):
        write_cohort(24, folder / name, seed=seed, size=64)
        table = folder / name / "grades.csv"
        rows = [row.split(",") for row in table.read_text("utf-8").splitlines()[1:]]
        parts, grades = ["train", "train", "validation", "test"], [0, 2, 3, 1, 4, 0]
        lines = [
            f"{image},{grades[(number + number // 8) % 6]},{patient},{eye},{parts[int(patient) % 4]}"
            for number, (image, _, patient, eye) in enumerate(rows)
        ]
        table.write_text("\n".join(["image,level,patient,eye,split", *lines]) + "\n", "utf-8")
    return folder


@pytest.fixture(scope="module")
def photographs(data: Path) -> Photographs:
    return gathered(data, data / "store", most=100)


def scores(photographs: Photographs, noise: float, seed: int) -> FloatArray:
    """Logits that follow the grades of the validation and the test part."""
    random = np.random.default_rng(seed)
    places = photographs.material.labels[photographs.judged]
    return (4 * places - 2 + noise * random.standard_normal(len(places))).astype(np.float32)


def facts(photographs: Photographs, noise: float, seed: int) -> dict[str, Any]:
    found = measure.agreement(photographs, scores(photographs, noise, seed))
    return {"agreement": found, "learned": 12_345, "epochs": "3, best 2", "start": "nothing"}


def test_every_system_is_in_it() -> None:
    assert len({one.key for one in SYSTEMS}) == len(SYSTEMS)
    for table in (IDEAS, PUBLISHED):
        assert {one.study for one in SYSTEMS if one.table == table} - {""} == set(STUDIES)
    networks = {one.fit.keywords["network"] for one in SYSTEMS if "network" in getattr(one.fit, "keywords", {})}
    assert {"attention-resnet50", "ran"} <= networks
    assert {one.key for one in SYSTEMS if one.table == SHIPPED} == {
        "eyepacs-squeezenet",
        "eyepacs-pair",
        "evidence-squeezenet",
        "clinics-and-evidence",
        "clinics-efficientnet",
    }
    by_key = {one.key: one for one in SYSTEMS}
    assert all(one.against in by_key for one in SYSTEMS if one.against)


def test_photographs_to_learn_from_are_drawn_and_those_to_measure_on_are_not(data: Path, photographs: Photographs) -> None:
    few = gathered(data, data / "store", most=1)
    for folder in SETS:
        for part in ("validation", "test"):
            one, other = (
                {
                    own.material.images[row].image_id
                    for row in getattr(own.material, part)[own.rows(getattr(own.material, part), folder)]
                }
                for own in (few, photographs)
            )
            assert one == other != set()
        rows = few.material.training[few.rows(few.material.training, folder)]
        grades = few.material.grades[rows].tolist()
        assert len(grades) == len(set(grades)) > 1
    again = gathered(data, data / "store", most=1)
    assert again.dataset.image_ids == few.dataset.image_ids
    assert {image.patient.split("/")[0] for image in few.dataset.images if image.patient} == set(SETS)


def test_figures_are_those_of_the_test_part_and_their_mean(photographs: Photographs) -> None:
    found = measure.agreement(photographs, scores(photographs, 3.0, 0))
    material, severity = photographs.material, np.array(found["severity"])
    by_set = []
    for folder in SETS:
        rows = photographs.rows(material.test, folder)
        by_set.append(auc(severity[rows], material.grades[material.test[rows]] >= 2))
        assert found[folder]["auc"][0] == pytest.approx(by_set[-1], abs=1e-4)
    assert found["mean"]["auc"][0] == pytest.approx(np.mean(by_set), abs=1e-4)
    low, high = found["mean"]["auc"][1:]
    assert low <= found["mean"]["auc"][0] <= high
    good = np.array(measure.agreement(photographs, scores(photographs, 0.1, 1))["severity"])
    assert measure.differences(photographs, severity, severity)["kappa"] == [0, 0, 0]
    better = measure.differences(photographs, good, severity)
    assert better["mae"] is not None
    assert better["mae"][2] < 0
    turned = measure.differences(photographs, severity, good)
    assert turned["mae"] is not None
    assert turned["mae"][0] == pytest.approx(-better["mae"][0], abs=1e-4)


def test_the_page_tells_what_is_finished_and_names_what_is_not(photographs: Photographs, tmp_path: Path) -> None:
    settings = fits.Settings(tmp_path, tmp_path, tmp_path / "none.pth")
    rows = {"mean-squared": facts(photographs, 0.2, 0), "mean-cross-entropy": facts(photographs, 3.0, 1)}
    text = page(rows, photographs, settings)
    assert text == page(rows, photographs, settings)
    assert told(rows["mean-squared"]["agreement"]["idrid"]["auc"]) in text
    for study in STUDIES:
        assert f"| {study} |" in text
    (missing,) = re.findall(r"^- Not run: (.*)\. `make comparison`", text, re.MULTILINE)
    assert missing.split("; ") == [f"`{one.key}`" for one in SYSTEMS if one.key not in rows]
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count(" | ") for line in table.strip().splitlines()}) == 1
    (worth,) = [
        line for line in text.splitlines() if line.startswith("| mean of all places, two layers, squared error | regression |")
    ]
    assert "error better" in worth
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b|/tmp|/work", text), "neither dates nor places"


def test_a_finished_system_is_not_trained_again_and_a_cut_off_one_goes_on(
    photographs: Photographs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = fits.Settings(tmp_path, tmp_path, tmp_path / "none.pth", epochs=3)
    rows = command.Rows(tmp_path / "rows", command.recipe_of(settings, photographs))
    monkeypatch.setattr(fits, "SIZE", 64)
    monkeypatch.setattr(fits, "PREPARATION", "none")
    monkeypatch.setattr(measure, "hits", lambda bench, name: {"name": name})
    monkeypatch.setattr(measure, "costs", lambda *_: {"bytes": 1, "seconds": 1.0})
    system = next(one for one in SYSTEMS if one.key == "mean-focal")
    seen: list[tuple[str, int]] = []
    stops = [True]

    def progress(stage: str, done: int, total: int) -> None:
        seen.append((stage, done))
        if stage == "train" and stops and done > 2 * total // 3:
            raise KeyboardInterrupt

    def bench() -> fits.Bench:
        workshop = command.Workshop.of(command.load_configuration(store=tmp_path / "store"))
        return fits.Bench(settings, photographs, workshop, progress)

    with pytest.raises(KeyboardInterrupt):
        command.finish(bench(), rows, system)
    assert rows.read(system.key) == {}
    stops.clear()
    seen.clear()
    command.finish(bench(), rows, system)
    steps = [done for stage, done in seen if stage == "train"]
    assert steps, "it had been cut off"
    assert min(steps) > max(steps) // 3, "it went on from its checkpoint"
    assert "maps" not in {stage for stage, _ in seen}, "the encoder's maps were kept"
    known = rows.read(system.key)
    scorer = load_scorer(str(tmp_path / "scorers" / system.key))
    assert isinstance(scorer, NetworkScorer)
    assert len(known["logits"]) == len(photographs.judged)

    seen.clear()
    command.finish(bench(), rows, system)
    command.explain(bench(), rows, system)
    assert not seen
    assert rows.read(system.key) == {**known, "hits": {"name": str(tmp_path / "scorers" / system.key)}}
    other = command.Rows(tmp_path / "rows", command.recipe_of(replace(settings, epochs=4), photographs))
    assert other.read(system.key) == {}, "a row of other settings does not count"
    gone = System("none", "none", "", SHIPPED, system.fit)
    with pytest.raises(SystemExit, match="its bundle is gone"):
        command.bundle_of(bench(), rows, gone)
