"""Calibrating a scorer for other photographs: two numbers, a new bundle, and nothing else."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from torch import nn
from typer.testing import CliRunner

from atlas import build_atlas, load_configuration, load_scorer, write_cohort
from atlas.agreement.evaluation import auc, evaluate
from atlas.cli import app
from atlas.errors import ScorerError, TrainingError
from atlas.photographs.decode import read_photograph
from atlas.photographs.preparations import prepare
from atlas.pipeline.calibrate import calibrate
from atlas.pipeline.evaluate import evaluate_scorer
from atlas.pipeline.sources import trained_source
from atlas.records import DIABETIC_RETINOPATHY, Dataset, GradedImage, Preprocessed
from atlas.scorers.bundle import save_bundle
from atlas.scorers.calibrated import CalibratedScorer, Calibration
from atlas.scorers.networks import NETWORKS, NetworkScorer, NetworkSpec
from atlas.scorers.prediction import Prediction
from atlas.scorers.protocol import Scorer
from atlas.scorers.readouts import Head
from atlas.scorers.side_by_side import SideBySideScorer, members_of
from atlas.scorers.transferred import TransferredScorer
from atlas.training.recalibration import recalibrate

KINDS = ("transferred", "evidence", "side by side", "softmax")
EYES = 60


def build_softmax(grades: int) -> tuple[nn.Module, nn.Module]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        trunk = nn.Sequential(nn.Conv2d(3, 8, 8, stride=8), nn.ReLU())
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, grades))
        return trunk, head


@pytest.fixture(scope="module", autouse=True)
def known() -> Iterator[None]:
    NETWORKS["small-softmax"] = NetworkSpec(build_softmax)
    yield
    del NETWORKS["small-softmax"]


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn eyes of 30 patients; a second table says training, validation or test."""
    folder = tmp_path_factory.mktemp("calibrate") / "eyes"
    write_cohort(EYES, folder, seed=3, size=200)
    with (folder / "grades.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    people = sorted({row["patient"] for row in rows})
    with (folder / "split.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [*rows[0], "split", "age"], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            place = people.index(row["patient"])
            writer.writerow({**row, "split": "validation" if place % 2 else "test", "age": 40 + place})
    return folder


@pytest.fixture(scope="module")
def scorers() -> dict[str, Scorer]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        softmax = NetworkScorer(
            "softmax", "small-softmax", *build_softmax(5), DIABETIC_RETINOPATHY, preparation="standardise", size=64
        )
    drawn, evidence = load_scorer("synthetic-alexnet"), load_scorer("evidence-squeezenet")
    both = SideBySideScorer("both", members_of([drawn, evidence]), DIABETIC_RETINOPATHY, 1.25, -0.5)
    return {"transferred": drawn, "evidence": evidence, "side by side": both, "softmax": softmax}


@pytest.fixture(scope="module")
def seen(eyes: Path, scorers: dict[str, Scorer]) -> dict[str, list[Preprocessed]]:
    """A few of the eyes as each scorer needs them."""
    files = sorted((eyes / "images").iterdir())[:6]
    pixels = {file.stem: read_photograph(file) for file in files}
    return {
        kind: [prepare(name, one, size=scorer.size, preparation=scorer.preparation) for name, one in pixels.items()]
        for kind, scorer in scorers.items()
    }


@pytest.fixture(scope="module")
def predicted(scorers: dict[str, Scorer], seen: dict[str, list[Preprocessed]]) -> dict[str, list[Prediction]]:
    return {kind: list(scorer.predict(seen[kind])) for kind, scorer in scorers.items()}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


def calibrated(scorer: Scorer, stretch: float, shift: float) -> CalibratedScorer:
    return CalibratedScorer("own", scorer, Calibration(stretch, shift), scorer.scale)


@pytest.fixture(scope="module")
def biased(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a scorer that rates all eyes far too severe, as if they were of another camera."""
    scorer = load_scorer("synthetic-alexnet")
    assert isinstance(scorer, TransferredScorer)
    head = replace(scorer.regressor, output_bias=scorer.regressor.output_bias + 2.0)
    folder = tmp_path_factory.mktemp("biased") / "biased"
    save_bundle(folder, replace(scorer, name="biased", head=head, card="# biased\n", trust=()))
    return folder


def hashes(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


# ---- What the two numbers do, for every kind of scorer


@pytest.mark.parametrize("kind", KINDS)
def test_one_and_zero_change_no_bit(
    kind: str, scorers: dict[str, Scorer], seen: dict[str, list[Preprocessed]], predicted: dict[str, list[Prediction]]
) -> None:
    scorer = scorers[kind]
    same = calibrated(scorer, 1.0, 0.0)
    target = scorer.targets[0].name
    for one, other in zip(predicted[kind][:1], same.predict(seen[kind][:1]), strict=True):
        assert other.severity == one.severity
        assert other.logit(target) == one.logit(target)
        assert np.array_equal(other.gradcam(target), one.gradcam(target))
    # By the long way, a regressor's score is the same to the bit, too.
    if kind != "softmax":
        logit = np.float32(one.logit(target))
        assert Calibration(1.0, 0.0).logits(logit) == logit


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("numbers", [(0.6, 0.9), (1.7, -0.4), (2.5, 1.1)])
def test_order_and_auc_do_not_change(
    kind: str, numbers: tuple[float, float], scorers: dict[str, Scorer], predicted: dict[str, list[Prediction]]
) -> None:
    scorer, target = scorers[kind], scorers[kind].targets[0].name
    own = calibrated(scorer, *numbers)
    found = predicted[kind]
    other = [own.restore(one.arrays()) for one in found]
    before, after = (np.array([one.severity[target] for one in own_]) for own_ in (found, other))
    assert np.array_equal(rankdata(before), rankdata(after))
    positive = before >= np.median(before)
    positive[0] = ~positive[0]
    assert auc(before, positive) == auc(after, positive)
    logits = np.array([one.logit(target) for one in found])
    assert [one.logit(target) for one in other] == pytest.approx(numbers[0] * logits + numbers[1], abs=1e-5)
    assert after == pytest.approx(4 / (1 + np.exp(-(numbers[0] * logits + numbers[1]))), abs=1e-5)
    assert own.sha256 != scorer.sha256
    assert own.weights_sha256 == scorer.weights_sha256


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_cells_maps_and_pages_follow(
    kind: str, scorers: dict[str, Scorer], predicted: dict[str, list[Prediction]]
) -> None:
    scorer, target = scorers[kind], scorers[kind].targets[0].name
    one = predicted[kind][0]
    other = calibrated(scorer, 1.5, -0.7).restore(one.arrays())
    masks = np.random.default_rng(0).random((4, *one.grid)) < 0.3
    told = 1.5 * one.logits_without(target, masks) - 0.7
    assert other.logits_without(target, masks) == pytest.approx(told, abs=1e-5)
    assert other.without(target, masks) == pytest.approx(4 / (1 + np.exp(-told)), abs=1e-5)
    assert other.gradcam(target) == pytest.approx(1.5 * one.gradcam(target), rel=1e-5)
    assert other.members(target) == pytest.approx(1.5 * one.members(target) - 0.7, abs=1e-5)
    assert np.array_equal(other.points(target), one.points(target))
    live = other.live(target)
    if kind == "softmax":
        assert live is None
        assert all(np.array_equal(other.probabilities[target], own) for own in [one.probabilities[target]])
        return
    assert live is not None
    on_page = np.maximum(live.whole, 0) @ live.weight.astype(np.float64) + live.bias
    assert on_page == pytest.approx(other.logit(target), abs=1e-4)


def test_a_stretch_that_would_turn_the_order_round_is_refused(scorers: dict[str, Scorer]) -> None:
    for stretch, shift in ((0.0, 1.0), (-1.0, 0.0), (float("nan"), 0.0), (1.0, float("inf"))):
        with pytest.raises(ScorerError, match="make no calibration"):
            Calibration(stretch, shift)


def test_another_scale_and_shuffled_weights_keep_the_numbers(scorers: dict[str, Scorer]) -> None:
    own = calibrated(scorers["transferred"], 1.5, -0.7)
    moved = own.on(replace(DIABETIC_RETINOPATHY, lowest=1))
    assert (moved.scale.lowest, moved.original.scale.lowest, moved.calibration) == (1, 1, own.calibration)
    assert own.scrambled(1).calibration == own.calibration
    assert own.scrambled(1).sha256 != own.sha256


# ---- Bundles


@pytest.mark.parametrize("kind", ["transferred", "evidence", "softmax"])
def test_a_bundle_holds_the_original_and_the_two_numbers(
    kind: str, scorers: dict[str, Scorer], seen: dict[str, list[Preprocessed]], tmp_path: Path
) -> None:
    scorer = scorers[kind]
    save_bundle(tmp_path / "plain", scorer)
    save_bundle(tmp_path / "own", calibrated(load_scorer(tmp_path / "plain"), 1.5, -0.7))
    plain, own = hashes(tmp_path / "plain"), hashes(tmp_path / "own")
    weights = {
        file for file in plain if file.endswith(".safetensors") and file not in ("test.safetensors", "learned.safetensors")
    }
    assert weights
    assert {file: own[file] for file in weights} == {file: plain[file] for file in weights}
    facts = json.loads((tmp_path / "own" / "scorer.json").read_text("utf-8"))
    assert facts["calibration"] == {"stretch": 1.5, "shift": -0.7}
    assert facts["kind"] == scorer.kind
    loaded = load_scorer(tmp_path / "own")
    target = scorer.targets[0].name
    logit = load_scorer(tmp_path / "plain").predict(seen[kind][:1])[0].logit(target)
    assert loaded.predict(seen[kind][:1])[0].logit(target) == pytest.approx(1.5 * logit - 0.7, abs=1e-6)
    key = trained_source(str(tmp_path / "own"), DIABETIC_RETINOPATHY).key
    assert key != trained_source(str(tmp_path / "plain"), DIABETIC_RETINOPATHY).key
    facts["calibration"]["stretch"] = -1.0
    (tmp_path / "own" / "scorer.json").write_text(json.dumps(facts), "utf-8")
    with pytest.raises(ScorerError, match=r"calibration\.stretch"):
        load_scorer(tmp_path / "own")


def test_shipped_bundles_of_real_photographs_have_neither(scorers: dict[str, Scorer]) -> None:
    for name in ("eyepacs-squeezenet", "evidence-squeezenet"):
        scorer = load_scorer(name)
        assert not isinstance(scorer, CalibratedScorer)
        assert scorer.background.reading is None or scorer.background.reading.operating is None
        assert all("detections" not in entry for entry in scorer.background.evaluations)


def test_a_calibrated_scorer_is_no_member(scorers: dict[str, Scorer]) -> None:
    with pytest.raises(ScorerError, match="name the scorer that it was made from"):
        members_of([scorers["evidence"], calibrated(scorers["transferred"], 1.5, 0.0)])


# ---- The command


def test_scores_that_are_too_severe_come_down_and_the_original_stays(
    biased: Path, eyes: Path, store: Path, tmp_path: Path
) -> None:
    before = hashes(biased)
    settings = {"images": eyes / "images", "grades": eyes / "split.csv", "store": store, "scorer": str(biased)}
    made, report = calibrate(
        load_configuration(training=True, **settings), tmp_path / "own", source="Drawn eyes.", command="THIS"
    )
    assert hashes(biased) == before
    assert not report.unreadable
    facts = made.scorer.training["calibrated"]
    assert facts["shift"] < -0.5
    assert facts["part"] == "the validation part of their table"
    assert made.after.figures["quadratic_kappa"] > made.before.figures["quadratic_kappa"] + 0.05
    assert made.after.figures["mae"] < made.before.figures["mae"]
    assert made.after.figures["auc_referable"] == made.before.figures["auc_referable"]
    assert (made.after.count, facts["photographs"]) == (30, 30)

    own = load_scorer(tmp_path / "own")
    assert isinstance(own, CalibratedScorer)
    assert own.sha256 == made.scorer.sha256
    for text in (
        "30 photographs of 15 patients",
        "Drawn eyes.",
        "THIS",
        "act on the logit of its regressor",
        "about the scorer biased",
    ):
        assert text in own.card
    assert own.background.judged is not None
    assert own.background.judged.severity.shape == (30,)
    (entry,) = own.background.evaluations
    assert entry["operating"]["threshold"] == pytest.approx(own.background.reading.operating, abs=1e-3)
    assert entry["operating"]["cross_fitted"] is False
    assert {one["method"] for one in entry["detections"]} >= {"nearest", "operating"}

    settings["scorer"] = str(tmp_path / "own")
    again, _ = evaluate_scorer(load_configuration(**settings, split="test", by=("age:20",)))
    assert again.figures["quadratic_kappa"] == pytest.approx(made.after.figures["quadratic_kappa"])
    assert again.operating == own.background.reading.operating
    assert {one.width for one in again.groups} == {20.0}
    site = tmp_path / "site"
    built = build_atlas(load_configuration(**settings, limit=8, clusters=2, lesion_net="none", out=site))
    assert built.atlas.scorer_evaluation is not None
    methods = (site / "methods.html").read_text("utf-8")
    assert "The scores are calibrated: the logit of biased is multiplied by" in methods
    assert "Recall, precision and F1" in methods

    # Once more, from the calibrated one: the original is calibrated, not the result.
    more, _ = calibrate(load_configuration(training=True, **settings), tmp_path / "more")
    assert more.scorer.calibration == made.scorer.calibration
    assert more.scorer.training["calibrated"]["of"] == "biased"


def test_the_command_tells_what_it_changed(biased: Path, eyes: Path, store: Path, tmp_path: Path) -> None:
    command = ["calibrate", str(biased), str(eyes / "images"), "--grades", str(eyes / "grades.csv")]
    flags = ["--out", str(tmp_path / "own"), "--store", str(store), "--workers", "1"]
    done = CliRunner().invoke(app, [*command, *flags])
    assert done.exit_code == 0, done.output
    told = " ".join(done.output.split())
    assert "The logit of biased is multiplied by" in told
    assert "60 photographs of 30 patients: all that are not in a test part" in told
    assert "the numbers that were fitted on the other half" in told
    assert "Operating point: a score of" in told
    refused = CliRunner().invoke(app, [*command, "--out", str(biased), "--store", str(store)])
    assert isinstance(refused.exception, ScorerError)
    assert "the folder of the scorer itself" in str(refused.exception)


def test_an_operating_point_is_chosen_and_kept_on_request(biased: Path, eyes: Path, store: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "own"
    settings = {"images": eyes / "images", "grades": eyes / "grades.csv", "store": store}
    calibrate(load_configuration(training=True, **settings, scorer=str(biased)), bundle)
    scorer = load_scorer(bundle)
    reading = scorer.background.reading
    save_bundle(bundle, replace(scorer, reading=replace(reading, operating=None)))
    configuration = load_configuration(**settings, scorer=str(bundle))
    told, _ = evaluate_scorer(configuration, operating_point=True)
    assert told.operating_cross_fitted
    kept = load_scorer(bundle).background.reading
    assert kept.operating == pytest.approx(told.operating, abs=1e-4)
    assert kept.threshold == reading.threshold
    used, _ = evaluate_scorer(configuration)
    assert (used.operating, used.operating_cross_fitted) == (kept.operating, False)
    (one,) = (one for one in used.detections if one.method == "operating")
    assert one.figures["recall"] >= 0.9


# ---- What it is fitted on


def images(count: int, split: str | None = None, start: int = 0) -> list[GradedImage]:
    return [
        GradedImage(f"{start + i:016x}", Path(f"{start + i}.png"), grade=(i * 7) % 5, patient=f"p{(start + i) // 2}", split=split)
        for i in range(count)
    ]


def logits(cohort: list[GradedImage], shift: float) -> dict[str, float]:
    rng = np.random.default_rng(1)
    return {
        image.image_id: float(np.log(p / (1 - p)) + shift + rng.normal(0, 0.2))
        for image in cohort
        for p in [(0.5 + (image.grade or 0)) / 5]
    }


def test_validation_calibrates_and_test_measures_and_training_does_neither() -> None:
    original = replace(load_scorer("synthetic-alexnet"), learned=())
    cohort = [*images(40, "training"), *images(40, "validation", 40), *images(40, "test", 80)]
    known = logits(cohort, 1.5) | {image.image_id: 9.0 for image in cohort if image.split == "training"}
    made = recalibrate(original, Dataset(tuple(cohort)), known, name="own")
    assert made.scorer.training["calibrated"]["photographs"] == 40
    assert made.after.count == 40
    assert made.scorer.calibration.shift == pytest.approx(-1.5, abs=0.8)
    assert made.scorer.learned == ()  # the original does not say what it learned from


def test_patients_that_the_scorer_knows_are_left_out() -> None:
    cohort = images(60)
    original = replace(load_scorer("synthetic-alexnet"), learned=tuple(image.image_id for image in cohort[:20:2]))
    made = recalibrate(original, Dataset(tuple(cohort)), logits(cohort, 1.0), name="own")
    assert made.scorer.training["calibrated"]["photographs"] == 40
    assert set(made.scorer.learned) == {image.image_id for image in (*cohort[:20:2], *cohort[20:])}
    everyone = replace(original, learned=tuple(image.image_id for image in cohort))
    with pytest.raises(TrainingError, match="learned from the patients of all these photographs"):
        recalibrate(everyone, Dataset(tuple(cohort)), logits(cohort, 1.0), name="own")


def test_too_few_patients_or_grades_are_refused() -> None:
    original = load_scorer("synthetic-alexnet")
    few = images(12)
    with pytest.raises(TrainingError, match="6 patients"):
        recalibrate(original, Dataset(tuple(few)), logits(few, 0.0), name="own")
    one = [replace(image, grade=2) for image in images(40)]
    with pytest.raises(TrainingError, match="one grade only"):
        recalibrate(original, Dataset(tuple(one)), logits(one, 0.0), name="own")


def test_without_a_test_part_figures_come_from_the_other_half_of_the_patients() -> None:
    original, cohort = load_scorer("synthetic-alexnet"), images(80)
    # Grades that have nothing to do with the scores: no calibration helps, and one that is judged on its own would seem to.
    blind = {image.image_id: float(value) for image, value in zip(cohort, np.random.default_rng(0).normal(0, 1, 80), strict=True)}
    made = recalibrate(original, Dataset(tuple(cohort)), blind, name="own")
    assert made.after.cross_fitted
    assert made.after.figures["quadratic_kappa"] < 0.25
    assert made.after.figures["auc_referable"] == made.before.figures["auc_referable"]
    assert made.after.operating == made.scorer.reading.operating


def test_a_scale_that_begins_elsewhere_is_moved() -> None:
    original, cohort = load_scorer("synthetic-alexnet"), images(60)
    scale = replace(DIABETIC_RETINOPATHY, lowest=1, referable=3)
    moved = Dataset(tuple(replace(image, grade=(image.grade or 0) + 1) for image in cohort), scale)
    known = logits(cohort, 1.0)
    one, other = (recalibrate(original, dataset, known, name="own") for dataset in (Dataset(tuple(cohort)), moved))
    assert one.scorer.calibration == other.scorer.calibration
    assert other.scorer.scale == original.scale


def test_heads_are_regressors_where_the_card_says_so(scorers: dict[str, Scorer]) -> None:
    cohort = images(60)
    for kind, words in {
        "transferred": "act on the logit of its regressor",
        "evidence": "the evidence itself stays as it is",
        "side by side": "act on the mean of its members' logits",
        "softmax": "place of its expected grade",
    }.items():
        made = recalibrate(replace(scorers[kind], learned=()), Dataset(tuple(cohort)), logits(cohort, 1.0), name="own")
        assert words in made.scorer.card, kind
    assert isinstance(scorers["transferred"].head, Head)


def test_evaluation_of_calibrated_logits_has_the_same_curve() -> None:
    cohort = images(200)
    known = np.array(list(logits(cohort, 0.5).values()), np.float32)
    grades = np.array([image.grade for image in cohort])
    plain, own = (
        evaluate(4 / (1 + np.exp(-Calibration(*two).logits(known).astype(np.float64))), grades, DIABETIC_RETINOPATHY)
        for two in ((1.0, 0.0), (1.4, -1.2))
    )
    for one, other in zip(plain.rocs, own.rocs, strict=True):
        if one.grade is None:
            assert one.auc == other.auc
            assert np.array_equal(one.true_positive, other.true_positive)
