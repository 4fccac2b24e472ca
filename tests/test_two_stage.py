"""Two-stage scorers: lesions first, then the grade."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from atlas.bundles import sealed
from atlas.cohort.dataset import read_files
from atlas.config import load_configuration
from atlas.drawn.cohort import write_cohort
from atlas.errors import ScorerError, TrainingError
from atlas.lesionnets.bundle import load_lesion_net
from atlas.photographs.preparations import SURROUND, prepare
from atlas.pipeline.build import build_atlas
from atlas.pipeline.evaluate import evaluate_scorer
from atlas.pipeline.photograph import open_photograph
from atlas.pipeline.two_stage import train_in_two_stages
from atlas.records import FloatArray, Preprocessed
from atlas.scorers.bundle import load_scorer
from atlas.scorers.prediction import read_maps
from atlas.scorers.two_stage import CELLS, TwoStageScorer, lesion_weights, likely, plain_maps, weighted_picture
from atlas.training.monotone import fit_monotone_head

EYES = 24

KINDS = ("microaneurysm", "haemorrhage", "hard_exudate", "cotton_wool_spot", "new_vessels", "preretinal_blood")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    write_cohort(EYES, folder / "eyes", seed=3, size=420)
    return folder


@pytest.fixture(scope="module")
def scorer(cohort: Path) -> TwoStageScorer:
    eyes = {"images": cohort / "eyes" / "images", "grades": cohort / "eyes" / "grades.csv", "store": cohort / "store"}
    made, report = train_in_two_stages(load_configuration(training=True, **eyes), cohort / "plain", form="lesions", hidden=4)
    assert not report.unreadable
    return made


@pytest.fixture(scope="module")
def photographs(cohort: Path) -> dict[Path, Preprocessed]:
    """Every second one."""
    return {path: prepared(path) for path in sorted((cohort / "eyes" / "images").iterdir())[1::2]}


@pytest.fixture(scope="module")
def maps(scorer: TwoStageScorer, photographs: dict[Path, Preprocessed]) -> dict[Path, FloatArray]:
    """What the lesion net found in each photograph, as heads of both forms without a second network read it."""
    return {path: scorer.maps(seen) for path, seen in photographs.items()}


def prepared(path: Path) -> Preprocessed:
    decoded, found = open_photograph(path)
    return prepare(path.stem, decoded.pixels, size=1024, preparation="none", found=found)


def test_cells_hold_means_and_highest_strengths_by_region() -> None:
    strengths = np.zeros((6, 128, 128), np.float32)
    strengths[2, 64, 65] = 0.8  # the middle of the retina, cell (16, 16)
    strengths[1, 4, 64] = 0.4  # its upper edge, cell (1, 16)
    maps = plain_maps(strengths)
    assert maps.shape == (3 * 2 * 6, CELLS, CELLS)
    found = maps.reshape(3, 2, 6, CELLS, CELLS)  # region, mean or highest, kind
    assert found[0, 1, 2, 16, 16] == np.float32(0.8)
    assert found[0, 0, 2, 16, 16] == pytest.approx(0.8 / 16)
    assert found[2, 1, 1, 1, 16] == np.float32(0.4)
    found[0, :, 2, 16, 16] = found[2, :, 1, 1, 16] = 0
    assert not found.any()


def test_what_is_far_from_likely_counts_for_nothing(scorer: TwoStageScorer) -> None:
    strengths = np.zeros((6, 2, 2), np.float32)
    half = np.float32(0.5 * scorer.net.thresholds["hard_exudate"])
    strengths[2] = [[half + 0.01, half - 0.01], [1, 0]]
    np.testing.assert_array_equal(likely(scorer.net, strengths)[2], np.array([[half + 0.01, 0], [1, 0]], np.float32))


def test_weights_are_those_of_the_study() -> None:
    strengths = np.zeros((6, 128, 128), np.float32)
    strengths[2, 40, 40] = 0.9  # an exudate in cell (10, 10)
    strengths[1, 80, 80] = 0.3  # a haemorrhage, likelier not, in cell (20, 20)
    weights = lesion_weights(KINDS, strengths)
    assert weights[0, 0] == 1  # normal: (0 + 1) * 1
    assert weights[10, 10] == pytest.approx(4 * 0.9)  # all four squares that hold it are called exudate: (3 + 1) * 0.9
    assert weights[9, 10] == pytest.approx((2 * 4 * 0.9 + 2 * 1) / 4)  # two of its four squares
    assert weights[9, 9] == pytest.approx((4 * 0.9 + 3 * 1) / 4)  # one of them
    assert weights[20, 20] == pytest.approx(0.7)  # normal: (0 + 1) * 0.7


def test_a_weighted_picture_has_its_contrast_multiplied() -> None:
    random = np.random.default_rng(0)
    photograph = random.integers(60, 120, (1024, 1024, 3)).astype(np.uint8)
    retina = np.ones((1024, 1024), np.bool_)
    retina[:100] = False
    plain = weighted_picture(photograph, retina, np.ones((CELLS, CELLS), np.float32), 256).astype(int) - SURROUND
    double = weighted_picture(photograph, retina, np.full((CELLS, CELLS), 2, np.float32), 256).astype(int) - SURROUND
    inside = np.abs(plain) < 60
    np.testing.assert_allclose(double[inside], 2 * plain[inside], atol=1)
    assert (double[:20] == 0).all()


def test_hiding_cells_equals_reading_maps_without_them(
    scorer: TwoStageScorer, photographs: dict[Path, Preprocessed], maps: dict[Path, FloatArray]
) -> None:
    path = list(photographs)[2]
    (found,) = scorer.predict([photographs[path]])
    masks = np.random.default_rng(1).random((3, CELLS, CELLS)) < 0.3
    for mask, left in zip(masks, found.without("dr", masks), strict=True):
        z = scorer.head.hidden_bias + np.einsum(
            "hc,cij->h",
            scorer.head.hidden_weight[:, :, 0, 0].astype(np.float64),
            np.where(mask, 0, maps[path]).astype(np.float64),
        )
        assert left == pytest.approx(float(scorer.head.severity(z, scorer.scale)), abs=1e-4)
    again = scorer.restore(found.arrays())
    assert again.severity == found.severity


def test_its_bundle_names_the_lesion_net_and_refuses_another(scorer: TwoStageScorer, cohort: Path) -> None:
    facts = json.loads((cohort / "plain" / "scorer.json").read_text("utf-8"))
    assert facts["kind"] == "two-stage"
    assert facts["lesion_net"] == "lesions-squeezenet"
    assert facts["lesion_net_sha256"] == load_lesion_net("lesions-squeezenet").sha256
    assert "lesion net: lesions-squeezenet" in scorer.card
    assert "Hiding a cell removes the lesions that were found there" in scorer.card
    assert load_scorer(cohort / "plain").sha256 == scorer.sha256
    assert replace(scorer, net=replace(scorer.net, sha256="0" * 64)).sha256 != scorer.sha256
    other = cohort / "other"
    other.mkdir()
    for file in (cohort / "plain").iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    del facts["sha256"]
    (other / "scorer.json").write_text(json.dumps(sealed(facts | {"lesion_net_sha256": "0" * 64})), "utf-8")
    with pytest.raises(ScorerError, match="another version of lesion net"):
        load_scorer(other)


@pytest.fixture(scope="module")
def unmet(scorer: TwoStageScorer, cohort: Path) -> set[Path]:
    """Photographs of patients that the scorer never met."""
    eyes = read_files(sorted((cohort / "eyes" / "images").iterdir()), scale=scorer.scale)
    found = {image.path for image in eyes.images if image.image_id not in scorer.background.learned}
    assert len(found) == EYES - len(scorer.background.learned) > 0
    return found


def test_its_bundle_scores_as_the_scorer_that_was_measured(scorer: TwoStageScorer, unmet: set[Path]) -> None:
    judged = scorer.background.judged
    assert judged is not None
    found = [scorer.predict([prepared(path)])[0].severity["dr"] for path in unmet]
    np.testing.assert_allclose(sorted(found), sorted(judged.severity.tolist()), atol=1e-3)


def test_it_is_evaluated_and_built_into_an_atlas(scorer: TwoStageScorer, cohort: Path, unmet: set[Path], tmp_path: Path) -> None:
    met = sorted(set((cohort / "eyes" / "images").iterdir()) - unmet)[:4]
    for path in (*unmet, *met):
        (tmp_path / "images").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "images")
    settings = {
        "images": tmp_path / "images",
        "grades": cohort / "eyes" / "grades.csv",
        "store": cohort / "store",
        "scorer": str(cohort / "plain"),
    }
    evaluation, _ = evaluate_scorer(load_configuration(**settings))
    assert evaluation.count == len(unmet)
    atlas = build_atlas(load_configuration(**settings, limit=6, clusters=2, out=tmp_path / "site")).atlas
    assert len(atlas.dataset.images) == 6
    assert atlas.maps.values.shape[1:] == (CELLS, CELLS)
    page = (tmp_path / "site" / "images" / f"{atlas.dataset.image_ids[0]}.html").read_text("utf-8")
    assert 'data-live="mode"' in page


def test_the_weighted_form_needs_weights_for_its_network(cohort: Path) -> None:
    eyes = {"images": cohort / "eyes" / "images", "grades": cohort / "eyes" / "grades.csv", "store": cohort / "store"}
    with pytest.raises(TrainingError, match="needs a second network"):
        train_in_two_stages(load_configuration(training=True, **eyes), cohort / "weighted", form="weighted")


def test_a_head_that_counts_rises_with_every_lesion() -> None:
    random = np.random.default_rng(4)
    means = (random.random((120, 5)) * (random.random((120, 5)) < 0.6)).astype(np.float32)
    labels = np.clip(means[:, 0] + means[:, 1] * 0.5, 0, 1)
    weights = np.ones(120, np.float32)
    head, history = fit_monotone_head(
        means, labels, weights, channels=[[0, 1], [2], [4]], training=np.arange(90), validation=np.arange(90, 120)
    )
    assert history[-1]["training_loss"] < history[0]["training_loss"]

    def logits(rows: np.ndarray) -> np.ndarray:
        return np.asarray(head.logit(rows.astype(np.float64) @ head.hidden_weight[:, :, 0, 0].T + head.hidden_bias))

    assert spearmanr(logits(means[90:]), labels[90:]).statistic > 0.8
    for channel in range(5):
        more = means.copy()
        more[:, channel] += random.random(120)
        change = logits(more) - logits(means)
        assert change.min() >= -1e-6
        assert (change.max() > 1e-3) == (channel != 3)  # which it does not read
    with pytest.raises(TrainingError, match="found lesions in fewer than"):
        fit_monotone_head(
            np.zeros_like(means), labels, weights, channels=[[0]], training=np.arange(90), validation=np.arange(90, 120)
        )


def test_hiding_a_cell_never_raises_a_score_that_counts(
    cohort: Path, photographs: dict[Path, Preprocessed], maps: dict[Path, FloatArray]
) -> None:
    eyes = {"images": cohort / "eyes" / "images", "grades": cohort / "eyes" / "grades.csv", "store": cohort / "store"}
    made, _ = train_in_two_stages(load_configuration(training=True, **eyes), cohort / "counts", form="counts")
    assert "More lesions of a kind never lower the score" in made.card
    masks = np.eye(CELLS * CELLS, dtype=np.bool_).reshape(-1, CELLS, CELLS)
    path, seen = list(photographs.items())[2]
    (predicted,) = made.predict([seen])
    assert len(predicted.members("dr")) == 0
    assert predicted.logit("dr") == read_maps(maps[path], made.head, made.targets[0]).logit("dr"), "it reads the same maps"
    met = 0
    for own in maps.values():
        found = read_maps(own, made.head, made.targets[0])
        whole, left = found.logit("dr"), found.logits_without("dr", masks)
        assert left.max() <= whole + 1e-4
        nothing = found.logits_without("dr", np.ones((1, CELLS, CELLS), np.bool_))[0]
        assert nothing <= left.min() + 1e-4
        if own.any():
            met += 1
            assert nothing < whole - 0.01
            assert left.min() < whole - 1e-4
    assert met >= 2
