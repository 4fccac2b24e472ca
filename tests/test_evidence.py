"""Evidence scorers: the map adds up to the score, and training puts evidence in the right places."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from boxed import boxed_eyes, run
from typer.testing import CliRunner

from atlas.bundles import sealed
from atlas.cli import app
from atlas.cohort.lesions import kind_of
from atlas.errors import ScorerError, TrainingError
from atlas.explain.methods import METHODS, methods_of
from atlas.lesionnets.bundle import load_lesion_net
from atlas.photographs.preparations import prepare
from atlas.pipeline.lesions import KINDS_LEARNED
from atlas.pipeline.photograph import open_photograph
from atlas.records import DIABETIC_RETINOPATHY, LesionBox, Preprocessed
from atlas.scorers.bundle import load_scorer, load_transferred, save_bundle
from atlas.scorers.evidence import CELLS, KNOTS, EvidenceModule, EvidenceScorer, in_cells, plain_sum, rising_head
from atlas.scorers.prediction import LinearPrediction
from atlas.scorers.side_by_side import SideBySideScorer, members_of
from atlas.training.evidence import Lesson, fit_rising_head, train_evidence
from atlas.training.lesions import Pupil

EYES = 20  # of ten patients, the fewest that can be split


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return boxed_eyes(tmp_path_factory.mktemp("eyes"), EYES, held=4, seed=5, size=420)


@pytest.fixture(scope="module")
def scorer() -> EvidenceScorer:
    """A lesion net's network, and a reader that takes its features for evidence as they come."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = EvidenceModule(len(KINDS_LEARNED)).eval()
    module.base.load_state_dict(load_lesion_net("lesions-squeezenet").module.state_dict())
    return EvidenceScorer("evidence", module, rising_head(0.8, -1.5, 0.05), DIABETIC_RETINOPATHY)


@pytest.fixture(scope="module")
def seen(eyes: Path) -> Preprocessed:
    path = sorted((eyes / "images").iterdir())[5]
    decoded, found = open_photograph(path)
    return prepare(path.stem, decoded.pixels, size=1024, preparation="none", found=found)


@pytest.fixture(scope="module")
def found(scorer: EvidenceScorer, seen: Preprocessed) -> LinearPrediction:
    return scorer.predict([seen])[0]


def test_the_head_meets_a_logarithm_and_bends_one_way() -> None:
    head = rising_head(0.7, -2.0, 0.3)
    knots = 0.3 * (2.0 ** np.arange(KNOTS) - 1)
    sums = np.linspace(0, 60, 4001)
    logits = head.logit(sums[:, None] + head.hidden_bias.astype(np.float64))
    np.testing.assert_allclose(
        head.logit(knots[:, None] + head.hidden_bias.astype(np.float64)), -2 + 0.7 * np.log1p(knots / 0.3), atol=1e-4
    )
    assert (np.diff(logits) > 0).all()
    assert (np.diff(logits, 2) < 1e-5).all()


def test_its_map_is_its_evidence(scorer: EvidenceScorer, seen: Preprocessed, found: LinearPrediction) -> None:
    evidence = in_cells(scorer.evidence(seen))
    assert evidence.min() >= 0
    assert evidence.max() > 0
    one_by_one = np.eye(CELLS * CELLS, dtype=np.bool_).reshape(-1, CELLS, CELLS)
    left = found.logits_without("dr", one_by_one)
    total = evidence.sum(dtype=np.float64)
    expected = scorer.head.logit((total - evidence.ravel().astype(np.float64))[:, None] + scorer.head.hidden_bias)
    np.testing.assert_allclose(left, expected, atol=1e-5)
    assert (left <= found.logit("dr") + 1e-6).all()  # no hidden place raises the score
    strongest = np.unravel_index(int(evidence.argmax()), evidence.shape)
    for name in methods_of(found, scorer.targets[0]):
        heat = METHODS[name].drops(found, scorer.targets[0], 1)
        assert np.unravel_index(int(np.argmax(heat)), evidence.shape) == strongest
    cam = found.gradcam("dr")
    np.testing.assert_allclose(cam / cam.max(), evidence / evidence.max(), atol=1e-5)
    everything = found.logits_without("dr", np.ones((1, CELLS, CELLS), np.bool_))[0]
    assert everything == pytest.approx(-1.5, abs=1e-4)


def test_what_lies_off_the_retina_holds_no_evidence(scorer: EvidenceScorer, seen: Preprocessed) -> None:
    narrow = replace(seen, retina=seen.retina & (np.arange(1024) < 512))
    assert in_cells(scorer.evidence(narrow))[:, CELLS // 2 + 1 :].max() == 0


def test_its_bundle_gives_the_same_scorer_back(
    scorer: EvidenceScorer, seen: Preprocessed, found: LinearPrediction, tmp_path: Path
) -> None:
    save_bundle(tmp_path / "evidence", scorer, half=False)
    again = load_scorer(tmp_path / "evidence")
    assert isinstance(again, EvidenceScorer)
    assert again.sha256 == scorer.sha256
    assert again.predict([seen])[0].severity == found.severity
    assert again.restore(found.arrays()).severity == found.severity
    weights = tmp_path / "evidence" / "network.safetensors"
    save_bundle(tmp_path / "other", load_transferred("synthetic-alexnet"))
    facts = json.loads((tmp_path / "evidence" / "scorer.json").read_text("utf-8"))
    facts["kinds"] = 5
    del facts["sha256"]
    (tmp_path / "evidence" / "scorer.json").write_text(json.dumps(sealed(facts)), "utf-8")
    with pytest.raises(ScorerError, match=weights.name):
        load_scorer(tmp_path / "evidence")


def test_shuffled_weights_give_another_map(scorer: EvidenceScorer, seen: Preprocessed) -> None:
    evidence = in_cells(scorer.evidence(seen))
    for head_alone in (True, False):
        other = scorer.scrambled(3, head_alone=head_alone)
        assert not np.allclose(in_cells(other.evidence(seen)), evidence)
        assert other.sha256 != scorer.sha256
        kept = torch.equal(other.state()["base.mix.weight"], scorer.state()["base.mix.weight"])
        assert kept is head_alone


def test_it_stands_beside_others(scorer: EvidenceScorer, seen: Preprocessed, found: LinearPrediction) -> None:
    both = SideBySideScorer("both", members_of([load_transferred("eyepacs-pair"), scorer]), DIABETIC_RETINOPATHY)
    (together,) = both.predict([seen])
    pair, evidence = both.members[0].restore(own(together, 0)), both.members[1].restore(own(together, 1))
    assert evidence.logit("dr") == pytest.approx(found.logit("dr"), abs=1e-5)
    assert together.logit("dr") == pytest.approx((2 * pair.logit("dr") + evidence.logit("dr")) / 3, abs=1e-4)


def own(found: LinearPrediction, place: int) -> dict[str, np.ndarray]:
    return {name.split(".")[1]: one for name, one in found.arrays().items() if name.startswith(f"{place}.")}


def test_the_reading_follows_the_grades() -> None:
    sums = np.exp(np.random.default_rng(0).normal(0, 1.5, 300)).astype(np.float32)
    places = (1 / (1 + np.exp(-(1.3 * np.log1p(sums / 2.0) - 1.0)))).astype(np.float32)
    head = fit_rising_head(sums, places, np.ones(300, np.float32))
    told = 1 / (1 + np.exp(-head.logit(sums.astype(np.float64)[:, None] + head.hidden_bias)))
    assert np.abs(told - places).max() < 0.03


def lessons(eyes: Path) -> list[Lesson]:
    boxes: dict[str, list[LesionBox]] = {}
    with (eyes / "boxes.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            x, y, width, height = (float(row[name]) for name in ("x", "y", "width", "height"))
            kind = kind_of(row["lesion"])
            assert kind is not None
            boxes.setdefault(row["image"], []).append(LesionBox(kind, y, x, y + height, x + width))
    with (eyes / "grades.csv").open(encoding="utf-8") as file:
        return [
            Lesson(
                Pupil(eyes / "images" / f"{row['image']}.jpg", tuple(boxes.get(row["image"], ()))),
                int(row["level"]) / 3,
                int(row["level"]) >= 2,
                0,
                1.0,
            )
            for row in csv.DictReader(file)
        ]


def test_training_draws_evidence_to_lesions_and_goes_on_from_a_checkpoint(eyes: Path, tmp_path: Path) -> None:
    start = load_lesion_net("lesions-squeezenet").module.state_dict()
    own_lessons = lessons(eyes)
    common = {"start": start, "photographs": 2, "batch": 1, "seed": 1}

    def on_lesions(module: EvidenceModule) -> float:
        scorer = EvidenceScorer("own", module, plain_sum(), DIABETIC_RETINOPATHY)
        shares = []
        for lesson in [one for one in own_lessons if one.referable][:5]:
            decoded, found = open_photograph(lesson.pupil.path)
            seen = prepare("one", decoded.pixels, size=1024, preparation="none", found=found)
            evidence = in_cells(scorer.evidence(seen))
            frame = decoded.at_source(found[0])
            inside = np.zeros((CELLS, CELLS), np.bool_)
            for box in lesson.pupil.boxes:
                edges = [(box.top - frame.top, box.bottom - frame.top), (box.left - frame.left, box.right - frame.left)]
                rows, columns = (slice(int(a / frame.side * CELLS), int(b / frame.side * CELLS) + 1) for a, b in edges)
                inside[rows, columns] = True
            shares.append(float(evidence[inside].sum() / max(evidence.sum(), 1e-9)) / inside.mean())
        return float(np.mean(shares))

    module, bias = train_evidence(own_lessons, KINDS_LEARNED, epochs=2, **common)  # type: ignore[arg-type]
    assert on_lesions(module) > 2.0  # twice what their area would hold
    state = tmp_path / "checkpoint.pt"

    class Stop(Exception):
        pass

    def stop(stage: str, done: int, total: int) -> None:
        if done == 3:  # in the middle of the second epoch
            raise Stop

    with pytest.raises(Stop):
        train_evidence(own_lessons, KINDS_LEARNED, epochs=2, checkpoint=state, progress=stop, **common)  # type: ignore[arg-type]
    again, same = train_evidence(own_lessons, KINDS_LEARNED, epochs=2, checkpoint=state, **common)  # type: ignore[arg-type]
    assert same == bias
    for name, tensor in module.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    with pytest.raises(TrainingError, match="two grades"):
        train_evidence(own_lessons[:1], KINDS_LEARNED, **common)  # type: ignore[arg-type]


def test_a_command_trains_it_and_another_goes_on_from_it(eyes: Path, tmp_path: Path) -> None:
    table = ("--grades", eyes / "grades.csv", "--boxes", eyes / "boxes.csv", "--store", tmp_path / "store")
    told = run(
        *("train-evidence", eyes / "images", *table, "--start", "lesions-squeezenet", "--out", tmp_path / "mine"),
        *("--epochs", 1, "--photographs", 4, "--source", "Drawn for a test."),
    )
    assert "Drawn for a test." in told
    assert "Hiding a place removes exactly the evidence of that place" in told
    made = load_scorer(tmp_path / "mine")
    assert isinstance(made, EvidenceScorer)
    assert len(made.learned) == EYES
    assert not list((tmp_path / "store").rglob("checkpoint.pt")), "what a cut-off training needs goes once the bundle is there"
    assert load_lesion_net("lesions-squeezenet").sha256[:16] in made.training["start"]
    run("train-evidence", eyes / "images", *table, "--start", tmp_path / "mine", "--out", tmp_path / "anew", "--epochs", 0)
    anew = load_scorer(tmp_path / "anew")
    assert isinstance(anew, EvidenceScorer)
    assert anew.weights_sha256 == made.weights_sha256
    assert anew.training["start"].startswith(f"the evidence scorer mine, {made.weights_sha256[:16]}")
    result = CliRunner().invoke(
        app,
        [
            *("train-evidence", str(eyes / "images"), "--grades", str(eyes / "grades.csv"), "--start", "lesions-squeezenet"),
            *("--out", str(tmp_path / "none"), "--epochs", "0", "--store", str(tmp_path / "store")),
        ],
    )
    assert isinstance(result.exception, TrainingError)
