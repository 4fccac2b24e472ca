"""Losses: each equals its formula, computed directly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from typer.testing import CliRunner

from atlas import load_scorer, write_cohort
from atlas.cli import app
from atlas.errors import TrainingError
from atlas.explain.methods import methods_by_grade
from atlas.records import DIABETIC_RETINOPATHY, Loss, Target
from atlas.scorers.readouts import Classifier
from atlas.scorers.transferred import TransferredScorer
from atlas.training.losses import Objective, balance_for, place_of, two_classes, weighted_mean
from atlas.training.networks import train_trunk
from atlas.training.splits import balance

GRADES = np.array([0, 0, 0, 0, 1, 2, 2, 3, 4, 4])
PLACES = torch.from_numpy(GRADES / 4).float()


def outputs(count: int) -> torch.Tensor:
    return 3 * torch.randn(len(GRADES), count, generator=torch.Generator().manual_seed(count))


def right(found: torch.Tensor) -> np.ndarray:
    """The probability that the softmax gives to the right class."""
    powers = np.exp(found.double().numpy())
    return (powers / powers.sum(1, keepdims=True))[np.arange(len(GRADES)), GRADES]


def test_squared_error_is_of_the_sigmoid() -> None:
    found = outputs(1)
    expected = (1 / (1 + np.exp(-found[:, 0].double().numpy())) - GRADES / 4) ** 2
    np.testing.assert_allclose(Objective("squared").of(found, PLACES), expected, rtol=1e-5)
    assert Objective("squared").outputs == 1


@pytest.mark.parametrize("loss", ["cross-entropy", "weighted"])
def test_cross_entropy_is_minus_the_logarithm_of_the_right_probability(loss: Loss) -> None:
    objective, found = Objective(loss), outputs(5)
    assert objective.outputs == 5
    np.testing.assert_allclose(objective.of(found, PLACES), -np.log(right(found)), rtol=1e-4)


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_focal_loss_is_its_formula(gamma: float) -> None:
    found = outputs(5)
    p = right(found)
    np.testing.assert_allclose(Objective("focal", gamma).of(found, PLACES), -((1 - p) ** gamma) * np.log(p), rtol=1e-3, atol=1e-7)


def test_focal_loss_without_a_gamma_is_cross_entropy_and_with_one_less_where_it_is_clear() -> None:
    found = outputs(5)
    plain = Objective("cross-entropy").of(found, PLACES)
    assert torch.equal(Objective("focal", 0.0).of(found, PLACES), plain)
    share = Objective("focal", 2.0).of(found, PLACES) / plain
    order = np.argsort(right(found))
    assert (np.diff(share.numpy()[order]) <= 1e-6).all()


def test_focal_loss_has_a_gradient_where_the_right_class_is_certain() -> None:
    found = torch.tensor([[200.0, 0.0, 0.0, 0.0, 0.0]], requires_grad=True)
    Objective("focal").of(found, torch.zeros(1)).sum().backward()
    assert found.grad is not None
    assert torch.isfinite(found.grad).all()


def test_the_weighted_mean_is_torchs_with_class_weights_of_counts_to_the_power_of_minus_seven_tenths() -> None:
    found = outputs(5)
    ours = weighted_mean(Objective("weighted").of(found, PLACES), balance(GRADES.tolist(), how="weight"))
    of_class = torch.from_numpy(np.bincount(GRADES) ** -0.7).float()
    theirs = functional.cross_entropy(found, torch.from_numpy(GRADES), weight=of_class)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)


def test_two_classes_part_at_the_referable_grade() -> None:
    places = two_classes(GRADES, 2)
    assert places.dtype == np.float32
    assert places.tolist() == (GRADES >= 2).astype(float).tolist()
    objective = Objective("cross-entropy", classes=2)
    assert objective.class_of(torch.from_numpy(places)).tolist() == (GRADES >= 2).astype(int).tolist()


def test_the_place_of_a_softmax_is_the_expected_grade() -> None:
    found = outputs(5)
    shares = torch.softmax(found, 1).numpy()
    np.testing.assert_allclose(place_of(found), shares @ np.arange(5) / 4, rtol=1e-5)
    np.testing.assert_allclose(place_of(found[:, :1]), torch.sigmoid(found[:, 0]))


def test_only_squared_and_weighted_losses_weight_rare_grades() -> None:
    assert balance_for("squared", "weight") == balance_for("weighted", "weight") == "weight"
    assert balance_for("cross-entropy", "weight") == balance_for("focal", "weight") == "none"
    assert balance_for("focal", "discard") == "discard"
    with pytest.raises(TrainingError, match="weighted"):
        balance_for("weighted", "none")


@pytest.mark.parametrize("loss", ["weighted", "focal"])
def test_a_trunk_learns_with_a_softmax(loss: Loss) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 80, (24, 64, 64, 3), np.uint8)
    labels = (np.arange(24) % 5 / 4).astype(np.float32)
    pixels += (labels * 160).astype(np.uint8)[:, None, None, None]
    rows = np.arange(24)
    fit = train_trunk(
        "squeezenet1_1",
        pixels,
        labels,
        np.ones(24, np.float32),
        training=rows,
        validation=rows[::2],
        pooled=True,
        epochs=3,
        batch=8,
        augmentation="none",
        objective=Objective(loss),
    )
    assert isinstance(fit.head, Classifier)
    assert fit.head.output_weight.shape[0] == 5
    assert fit.history[-1]["training_loss"] < fit.history[0]["training_loss"]


def test_a_head_on_a_frozen_trunk_can_end_in_a_softmax(tmp_path: Path) -> None:
    write_cohort(24, tmp_path / "eyes", seed=7, size=160)
    arguments = ["train", str(tmp_path / "eyes" / "images"), "--grades", str(tmp_path / "eyes" / "grades.csv"), "--loss", "focal"]
    arguments += ["--trunk", "alexnet", "--trunk-weights", "synthetic-alexnet", "--store", str(tmp_path / "store")]
    found = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "mine")], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    scorer = load_scorer(tmp_path / "mine")
    assert isinstance(scorer, TransferredScorer)
    assert isinstance(scorer.head, Classifier)
    assert scorer.classifier is None
    assert "focal loss" in scorer.card
    assert scorer.judged is not None
    assert scorer.judged.probabilities is not None
    maps = np.random.default_rng(0).random((256, *scorer.grid), np.float32)
    one = scorer.read(maps)
    by_grade = one.gradcam_by_grade("dr")
    assert methods_by_grade(one, Target.of(DIABETIC_RETINOPATHY)) == tuple(f"gradcam-grade-{grade}" for grade in range(5))
    np.testing.assert_allclose(np.tensordot(np.linspace(-1, 1, 5), by_grade, 1), one.gradcam("dr"), rtol=1e-4, atol=1e-5)
    again = scorer.restore(one.arrays())
    np.testing.assert_array_equal(again.gradcam_by_grade("dr"), by_grade)
    teaching = CliRunner().invoke(
        app, [*arguments, "--out", str(tmp_path / "other"), "--fine-tune", "--teacher", "eyepacs-squeezenet"]
    )
    assert isinstance(teaching.exception, TrainingError)
