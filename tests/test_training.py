"""Training: no patient in two parts, heads that learn a signal but no noise, trunks that resume and fold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from asked import severities
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from torch import nn

from atlas import load_configuration, records
from atlas.agreement.evaluation import quadratic_kappa, spearman
from atlas.agreement.reading import nearest_grade
from atlas.cohort.dataset import read_dataset
from atlas.drawn.cohort import draw_cohort, write_cohort
from atlas.errors import ScorerError, TrainingError
from atlas.photographs.decode import read_photograph
from atlas.photographs.preparations import prepare
from atlas.pipeline.cohort import Further, gather_all, joined
from atlas.pipeline.train import train
from atlas.pipeline.workshop import Workshop
from atlas.progress import silent
from atlas.records import DIABETIC_RETINOPATHY, Dataset, DatasetReport, FloatArray, GradedImage, Scale
from atlas.scorers.bundle import load_scorer, save_bundle
from atlas.scorers.joined import side_by_side
from atlas.scorers.readouts import Head, for_all_cells, severity_of_logit
from atlas.scorers.transferred import TransferredScorer
from atlas.scorers.trunks import TRUNKS, load_trunk, new_module
from atlas.training import networks
from atlas.training.augmentations import cropped, moved
from atlas.training.calibration import calibrate
from atlas.training.heads import fit_classifier, fit_head, fit_out_of_fold
from atlas.training.material import Material
from atlas.training.networks import fold_normalisation, train_trunk, with_normalisation
from atlas.training.scorers import join_scorers, prepared_pixels, train_scorer
from atlas.training.splits import balance, balanced_weights, folds_by_patient, parts_of, published_split, split_by_patient
from atlas.training.steps import averaged, rising_and_falling

FIVE = Scale()


def _images(grades: Sequence[int | None], patients: Sequence[str | None]) -> list[GradedImage]:
    return [
        GradedImage(f"{row:016x}", Path(f"{row}.png"), grade, patient)
        for row, (grade, patient) in enumerate(zip(grades, patients, strict=True))
    ]


def _pairs(count: int, seed: int = 0) -> list[GradedImage]:
    """Two eyes to a patient, unequal grades."""
    grades = np.random.default_rng(seed).choice(5, count, p=[0.5, 0.2, 0.15, 0.1, 0.05])
    return _images([int(g) for g in grades], [f"p{row // 2}" for row in range(count)])


def _severity(head: Head, maps: FloatArray, scale: Scale) -> FloatArray:
    return head.severity(np.tensordot(maps, head.hidden_weight, axes=([1, 2, 3], [1, 2, 3])) + head.hidden_bias, scale)


# --- Splits ------------------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.none() | st.integers(0, 4), st.none() | st.sampled_from("abcdefgh")), max_size=40), st.integers(0, 9)
)
def test_a_split_takes_each_photograph_once_and_no_patient_twice(rows: list[tuple[int | None, str | None]], seed: int) -> None:
    images = _images([grade for grade, _ in rows], [patient for _, patient in rows])
    for parts in (tuple(split_by_patient(images, seed=seed).values()), folds_by_patient(images, folds=4, seed=seed)):
        assert sorted(i for part in parts for i in part) == [image.image_id for image in images]
        part_of = {image_id: k for k, part in enumerate(parts) for image_id in part}
        sides: dict[str, set[int]] = {}
        for image in images:
            if image.patient is not None:
                sides.setdefault(image.patient, set()).add(part_of[image.image_id])
        assert all(len(found) == 1 for found in sides.values())


def test_a_split_keeps_its_shares_in_every_grade() -> None:
    images = _pairs(1000)
    parts = split_by_patient(images, seed=3)
    assert [len(parts[name]) for name in records.SPLITS] == pytest.approx([800, 100, 100], abs=4)
    worst: dict[str, int] = {}
    for image in images:
        worst[image.patient or ""] = max(worst.get(image.patient or "", 0), image.grade or 0)
    for grade in range(5):
        total = sum(worst[image.patient or ""] == grade for image in images)
        inside = sum(worst[image.patient or ""] == grade for image in images if image.image_id in set(parts["training"]))
        assert inside / total == pytest.approx(0.8, abs=0.05)


def test_a_split_depends_on_the_seed_and_not_on_the_order() -> None:
    images = _pairs(100)
    first, again = split_by_patient(images, seed=1), split_by_patient(images[::-1], seed=1)
    assert {name: set(ids) for name, ids in first.items()} == {name: set(ids) for name, ids in again.items()}
    assert first != split_by_patient(images, seed=2)


def _with_splits(splits: Sequence[str | None], patients: Sequence[str | None]) -> list[GradedImage]:
    return [
        GradedImage(f"{row:016x}", Path(f"{row}.png"), row % 2, patient, None, split)
        for row, (split, patient) in enumerate(zip(splits, patients, strict=True))
    ]


def test_a_published_split_is_kept_and_a_patient_follows_it() -> None:
    images = _with_splits(["training", None, "validation", "test", None, None], ["a", "a", "b", "c", "c", None])
    parts = published_split(images)
    number = {image.image_id: row for row, image in enumerate(images)}
    assert {split: [number[i] for i in ids] for split, ids in parts.items()} == {
        "training": [0, 1, 5],
        "validation": [2],
        "test": [3, 4],
    }


def test_logits_far_away_are_the_ends_of_the_scale() -> None:
    far = np.array([-5000, 0, 5000], np.float32)
    assert severity_of_logit(far, DIABETIC_RETINOPATHY).tolist() == [0.0, 2.0, 4.0]


def test_a_person_in_two_parts_by_copies_is_in_the_later_one_alone() -> None:
    # The third is a copy of the first: all four of "a" are one person.
    images = _with_splits(["training", "training", "test", "test", "validation", "training"], ["a", "a", "a", "a", "b", "c"])
    images[2] = replace(images[2], copy_of=images[0].image_id)
    parts = published_split(images)
    number = {image.image_id: row for row, image in enumerate(images)}
    assert {split: [number[i] for i in ids] for split, ids in parts.items()} == {
        "training": [5],
        "validation": [4],
        "test": [2, 3],
    }


@pytest.mark.parametrize(
    ("splits", "patients", "said"),
    [(["training", "test", "validation"], ["a", "a", "b"], "in two parts"), (["training", "test"], ["a", "b"], "validate")],
)
def test_a_published_split_that_cannot_be_used_is_refused(
    splits: list[str | None], patients: list[str | None], said: str
) -> None:
    with pytest.raises(TrainingError, match=said):
        published_split(_with_splits(splits, patients))


# --- Balance -----------------------------------------------------------------------------------------------------------------


def test_weights_soften_the_counts_and_average_one() -> None:
    weights = balance([0] * 90 + [4] * 10, how="weight")
    assert weights.mean() == pytest.approx(1)
    assert weights[-1] / weights[0] == pytest.approx(9**0.7)


def test_discarding_leaves_at_most_four_times_the_rarest() -> None:
    grades = np.array([0] * 100 + [1] * 30 + [2] * 5)
    weights = balance(grades, how="discard", seed=7)
    assert set(weights.tolist()) == {0.0, 1.0}
    assert [int(weights[grades == g].sum()) for g in range(3)] == [20, 20, 5]
    assert (weights != balance(grades, how="discard", seed=8)).any()


def test_no_balance_weighs_all_alike() -> None:
    assert balance([0, 0, 3], how="none").tolist() == [1, 1, 1]


def test_copies_of_one_picture_share_the_weight_of_one() -> None:
    images = [GradedImage(f"{k:016x}", Path(f"{k}.png"), grade=k % 2, patient="p") for k in range(4)]
    images += [replace(images[0], image_id=f"{k:016x}", copy_of=images[0].image_id) for k in (4, 5)]
    everyone, none = np.arange(len(images)), np.arange(0)
    weights = balanced_weights(images, everyone, none, "none", 0)
    assert weights.tolist() == pytest.approx([1 / 3, 1, 1, 1, 1 / 3, 1 / 3])
    apart = balanced_weights(images, np.array([0, 1, 2, 3]), np.array([4, 5]), "none", 0)
    assert apart.tolist() == [1, 1, 1, 1, 0.5, 0.5]


# --- Heads -------------------------------------------------------------------------------------------------------------------


def _signal(count: int, seed: int) -> tuple[FloatArray, np.ndarray]:
    """Maps (n, 12, 3, 3) on different scales, with the grade in two cells of two channels."""
    rng = np.random.default_rng(seed)
    grades = rng.integers(0, 5, count)
    maps = rng.normal(0, 1, (count, 12, 3, 3))
    maps[:, 3, 1, 1] += 1.5 * grades
    maps[:, 7, 0, 2] -= 1.5 * grades
    scales = np.geomspace(0.01, 100, 12)[:, None, None]
    return (maps * scales + 5 * scales).astype(np.float32), grades


def test_a_head_learns_what_its_maps_tell_and_acts_on_raw_maps() -> None:
    maps, grades = _signal(500, 0)
    rows = np.arange(500)
    head, history = fit_head(
        maps, (grades / 4).astype(np.float32), np.ones(500, np.float32), training=rows[:300], validation=rows[300:400]
    )
    assert head.hidden_weight.shape == (64, 12, 3, 3)
    severity = _severity(head, maps[400:], FIVE)
    assert spearman(severity, grades[400:]) > 0.75
    # The validation loss that was kept is the head's own: standardisation and components were folded in without a remainder.
    kept = np.mean((_severity(head, maps[300:400], FIVE) / 4 - grades[300:400] / 4) ** 2)
    assert kept == pytest.approx(min(row["validation_loss"] for row in history), rel=1e-3)


def test_a_head_reads_a_memory_map_and_repeats_itself(tmp_path: Path) -> None:
    maps, grades = _signal(120, 1)
    np.save(tmp_path / "maps.npy", maps)
    labels, weights, rows = (grades / 4).astype(np.float32), np.ones(120, np.float32), np.arange(120)
    heads = [
        fit_head(source, labels, weights, training=rows[:80], validation=rows[80:], seed=5, max_epochs=10)[0]
        for source in (maps, np.load(tmp_path / "maps.npy", mmap_mode="r"))
    ]
    assert np.array_equal(heads[0].hidden_weight, heads[1].hidden_weight)
    assert heads[0].output_bias == heads[1].output_bias


def test_rows_of_weight_zero_teach_nothing() -> None:
    maps, grades = _signal(150, 2)
    labels, weights = (grades / 4).astype(np.float32), np.ones(150, np.float32)
    weights[50:100] = 0
    ruined_maps, ruined_labels = maps.copy(), labels.copy()
    ruined_maps[50:100], ruined_labels[50:100] = 1e6, 0.5
    rows = np.arange(150)
    clean, ruined = (
        fit_head(m, y, weights, training=rows[:100], validation=rows[100:], max_epochs=5)[0]
        for m, y in ((maps, labels), (ruined_maps, ruined_labels))
    )
    assert np.array_equal(clean.hidden_weight, ruined.hidden_weight)


def test_out_of_fold_scores_know_nothing_of_labels_that_follow_the_patient() -> None:
    """Each patient has maps and a grade of its own, unrelated: a head that saw the patient knows it, one that did not cannot."""
    rng = np.random.default_rng(4)
    patients = np.repeat(np.arange(100), 2)
    grades = rng.integers(0, 5, 100)[patients]
    maps = (rng.normal(0, 1, (100, 6, 3, 3))[patients] + rng.normal(0, 0.05, (200, 6, 3, 3))).astype(np.float32)
    images = _images([int(g) for g in grades], [f"p{p}" for p in patients])
    folded = fit_out_of_fold(images, maps, FIVE, folds=4, seed=1)
    assert len(folded.heads) == 4
    own = [_severity(folded.heads[folded.fold_of[i.image_id]], maps[r : r + 1], FIVE)[0] for r, i in enumerate(images)]
    other = [
        _severity(folded.heads[(folded.fold_of[i.image_id] + 1) % 4], maps[r : r + 1], FIVE)[0] for r, i in enumerate(images)
    ]
    assert abs(spearman(own, grades)) < 0.25
    assert spearman(other, grades) > 0.4


def test_out_of_fold_learns_a_real_signal_on_a_scale_of_three_and_places_ungraded_photographs() -> None:
    scale = Scale(lowest=1, names=("low", "middle", "high"), referable=None)
    maps, five = _signal(240, 6)
    grades: list[int | None] = [1 + int(g) // 2 for g in five]
    grades[:40] = [None] * 40
    images = _images(grades, [f"p{row // 2}" for row in range(240)])
    folded = fit_out_of_fold(images, maps, scale, folds=3, seed=0)
    assert set(folded.fold_of) == {image.image_id for image in images}
    assert all(folded.fold_of[images[row].image_id] == folded.fold_of[images[row + 1].image_id] for row in range(0, 240, 2))
    severity = [_severity(folded.heads[folded.fold_of[i.image_id]], maps[r : r + 1], scale)[0] for r, i in enumerate(images)]
    assert spearman(severity[40:], grades[40:]) > 0.7
    assert min(severity) >= 1
    assert max(severity) <= 3


@pytest.mark.parametrize(
    ("grades", "patients", "said"),
    [
        ([None] * 30, [None] * 30, "no grade"),
        ([2] * 30, [None] * 30, "one grade only"),
        ([0, 1] * 15, ["a", "b"] * 15, "2 patients"),
    ],
)
def test_too_little_to_learn_from_is_refused_with_a_remedy(
    grades: list[int | None], patients: list[str | None], said: str
) -> None:
    with pytest.raises(TrainingError, match=said) as caught:
        fit_out_of_fold(_images(grades, patients), np.zeros((30, 2, 3, 3), np.float32), FIVE, folds=5, seed=0)
    assert caught.value.remedy


def test_maps_that_do_not_differ_are_refused() -> None:
    rows = np.arange(20)
    labels = (rows % 2).astype(np.float32)
    with pytest.raises(TrainingError, match="the same for every photograph"):
        fit_head(np.ones((20, 2, 3, 3), np.float32), labels, np.ones(20, np.float32), training=rows[:10], validation=rows[10:])


def test_a_fold_left_with_one_grade_is_named() -> None:
    images = _images([0] * 9 + [1], [None] * 10)
    with pytest.raises(TrainingError, match=r"fold \d of 5"):
        fit_out_of_fold(images, np.random.default_rng(0).normal(size=(10, 2, 3, 3)).astype(np.float32), FIVE, folds=5, seed=0)


def test_a_classifier_finds_the_classes_that_the_maps_tell_apart() -> None:
    rng = np.random.default_rng(0)
    classes = np.arange(240) % 3
    maps = rng.normal(size=(240, 6, 2, 2)).astype(np.float32)
    maps[np.arange(240), classes] += 2
    rows = np.arange(240)
    classifier, history = fit_classifier(
        maps, classes, np.ones(240, np.float32), count=3, training=rows[:160], validation=rows[160:200]
    )
    z = np.tensordot(maps[200:], classifier.hidden_weight, axes=([1, 2, 3], [1, 2, 3])) + classifier.hidden_bias
    shares = classifier.probabilities(z)
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-6)
    assert (shares.argmax(axis=1) == classes[200:]).mean() > 0.9
    assert history[-1]["training_loss"] < math.log(3)


def test_a_classifier_of_means_says_the_same_of_the_maps_themselves() -> None:
    rng = np.random.default_rng(1)
    maps = rng.normal(size=(40, 5, 3, 4)).astype(np.float32)
    means = maps.mean(axis=(2, 3), keepdims=True)
    rows, classes = np.arange(40), np.arange(40) % 2
    small, _ = fit_classifier(means, classes, np.ones(40, np.float32), count=2, training=rows[:30], validation=rows[30:])
    large = for_all_cells(small, (3, 4))
    of_means = small.probabilities(means[:, :, 0, 0] @ small.hidden_weight[:, :, 0, 0].T + small.hidden_bias)
    z = maps.sum(axis=(2, 3)) @ large.hidden_weight[:, :, 0, 0].T + large.hidden_bias
    assert np.allclose(large.probabilities(z), of_means, atol=1e-5)


def test_calibration_agrees_better_and_keeps_the_order() -> None:
    rng = np.random.default_rng(2)
    grades = np.sort(rng.choice(5, 300, p=[0.6, 0.1, 0.2, 0.05, 0.05]))
    logits = (0.4 * grades + 0.5 + rng.normal(0, 0.2, 300)).astype(np.float32)  # far too severe
    head = Head(np.zeros((1, 1, 1, 1), np.float32), np.zeros(1, np.float32), np.ones(1, np.float32), 0.0)
    better = calibrate(head, logits, grades, FIVE)
    stretched = better.output_weight[0] * logits + np.float32(better.output_bias)
    before, after = (quadratic_kappa(nearest_grade(severity_of_logit(z, FIVE), FIVE), grades, FIVE) for z in (logits, stretched))
    assert after > before + 0.1
    assert better.output_weight[0] > 0
    assert spearman(stretched, grades) == pytest.approx(spearman(logits, grades))


# --- Trunks from scratch -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["alexnet", "squeezenet1_1", "resnet18"])
def test_folding_leaves_the_plain_network_with_the_same_maps(name: str) -> None:
    plain = set(new_module(name, 0).state_dict())
    module = with_normalisation(new_module(name, 0))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.uniform_(-0.5, 0.5, generator=generator)  # type: ignore[union-attr]
                part.running_var.uniform_(0.5, 2, generator=generator)  # type: ignore[union-attr]
                part.weight.uniform_(0.5, 2, generator=generator)
                part.bias.uniform_(-0.5, 0.5, generator=generator)
        module.eval()
        images = torch.randn(2, 3, 96, 96, generator=generator)
        before = module(images)
        folded = fold_normalisation(module)
        after = folded(images)
    assert set(folded.state_dict()) == plain
    assert torch.isfinite(before).all()
    assert float((before - after).abs().max()) <= 1e-4 * max(1.0, float(before.abs().max()))
    assert load_trunk(name, folded.state_dict(), size=96).channels == TRUNKS[name].channels


def _spots(count: int, size: int, seed: int) -> tuple[np.ndarray, FloatArray]:
    """Grey squares; half of them hold bright spots."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    pixels = rng.integers(80, 120, (count, size, size, 3)).astype(np.uint8)
    for row in np.flatnonzero(labels):
        for _ in range(6):
            top, left = rng.integers(0, size - 8, 2)
            pixels[row, top : top + 8, left : left + 8] = 250
    return pixels, labels.astype(np.float32)


def _train(checkpoint: Path | None = None, *, stop: int | None = None, epochs: int = 4, seed: int = 0) -> networks.EndToEnd:
    pixels, labels = _spots(64, 64, 0)
    rows = np.arange(64)

    def progress(stage: str, done: int, total: int) -> None:
        if done == stop:
            raise KeyboardInterrupt

    return train_trunk(
        "squeezenet1_1",
        pixels,
        labels,
        np.ones(64, np.float32),
        training=rows[:48],
        validation=rows[48:],
        epochs=epochs,
        batch=16,
        seed=seed,
        checkpoint=checkpoint,
        progress=progress,
    )


def test_learning_rates_rise_and_fall_to_nothing_and_keep_their_proportions() -> None:
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (1e-3, 4e-3)]
    optimizer = torch.optim.AdamW(groups)
    pace = rising_and_falling(optimizer, 200, warm_up=0.1)
    for step in range(200):
        expected = 1e-3 * min(1, (step + 1) / 20) * (1 + math.cos(math.pi * step / 200)) / 2
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([expected, 4 * expected], rel=1e-6)
        optimizer.step()
        pace.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)


def test_a_training_of_few_steps_has_no_time_to_warm_up() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    rising_and_falling(optimizer, 3, warm_up=0.1)
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_the_average_of_weights_forgets_its_start_and_takes_statistics_along() -> None:
    network = nn.BatchNorm2d(2)
    average = averaged(network)
    expected = torch.tensor(float("nan"))
    for step in range(3000):
        with torch.no_grad():
            network.weight.fill_(step % 7)
            network.running_mean.fill_(-float(step % 7))  # type: ignore[union-attr]
            network.num_batches_tracked.fill_(step)  # type: ignore[union-attr]
        value, share = torch.tensor(float(step % 7)), max(0.005, 10 / (step + 10))
        expected = value if step == 0 else expected + share * (value - expected)
        average.update_parameters(network)
    kept = average.module.state_dict()
    assert float(kept["weight"][0]) == pytest.approx(float(expected), rel=1e-4)
    assert float(kept["running_mean"][1]) == pytest.approx(-float(expected), rel=1e-4)
    assert int(kept["num_batches_tracked"]) == 2999


def test_a_training_that_was_cut_off_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(KeyboardInterrupt):
        _train(checkpoint, stop=8)  # in the middle of the third epoch
    resumed, whole = _train(checkpoint), _train()
    assert resumed.history == whole.history
    assert len(whole.history) == 4
    for key, tensor in whole.module.state_dict().items():
        assert torch.equal(tensor, resumed.module.state_dict()[key]), key
    assert np.array_equal(whole.head.hidden_weight, resumed.head.hidden_weight)


def test_a_checkpoint_of_another_training_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    _train(checkpoint, epochs=1)
    with pytest.raises(TrainingError, match="another training"):
        _train(checkpoint, epochs=1, seed=1)
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"checkpoint\.pt"):
        _train(checkpoint, epochs=1)


def test_training_from_scratch_lowers_the_loss_and_the_folded_scorer_has_it_too() -> None:
    fit = _train(epochs=12)
    losses = [row["validation_loss"] for row in fit.history]
    assert min(losses) < 0.6 * 0.25  # 0.25: the loss of the constant 0.5
    assert fit.best_epoch == int(np.argmax([row["validation_spearman"] for row in fit.history]))
    pixels, labels = _spots(64, 64, 0)
    maps = load_trunk("squeezenet1_1", fit.module.state_dict(), size=64).maps(pixels[48:])
    z = np.tensordot(maps, fit.head.hidden_weight, axes=([1, 2, 3], [1, 2, 3])) + fit.head.hidden_bias
    unit = severity_of_logit(fit.head.logit(z.astype(np.float32)), Scale(0, ("absent", "present"), None))
    assert float(np.mean((unit - labels[48:]) ** 2)) == pytest.approx(losses[fit.best_epoch], abs=1e-4)
    # Folding may swap two photographs of all but equal scores.
    assert spearmanr(unit, labels[48:]).statistic == pytest.approx(fit.history[fit.best_epoch]["validation_spearman"], abs=5e-3)


def test_a_fine_tuned_trunk_starts_where_its_weights_stood() -> None:
    pixels, labels = _spots(64, 64, 0)
    rows, start = np.arange(64), new_module("squeezenet1_1", 5).state_dict()
    fit = train_trunk(
        "squeezenet1_1",
        pixels,
        labels,
        np.ones(64, np.float32),
        training=rows[:48],
        validation=rows[48:],
        start=start,
        pooled=True,
        epochs=1,
        learning_rate=1e-9,
        weight_decay=0.0,
    )
    for key, tensor in fit.module.state_dict().items():
        assert torch.allclose(tensor, start[key], atol=1e-6), key
    assert fit.head.pooled


def test_pictures_that_are_moved_keep_their_size_and_mean_and_differ_each_time() -> None:
    pixels, _ = _spots(16, 64, 0)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    first = moved(images, torch.Generator().manual_seed(0))
    assert first.shape == images.shape
    assert torch.equal(first, moved(images, torch.Generator().manual_seed(0)))
    assert not torch.equal(first, moved(images, torch.Generator().manual_seed(1)))
    assert abs(float(first.mean()) - float(images.float().mean())) < 25


def test_pictures_that_are_cropped_show_a_square_part_of_themselves() -> None:
    across = torch.linspace(0, 250, 64).expand(20, 3, 64, 64)
    images = torch.stack([across[:, 0], across[:, 0].transpose(1, 2), across[:, 0]], 1)
    shown = cropped(images, torch.Generator().manual_seed(0))
    assert shown.shape == images.shape
    assert torch.equal(shown, cropped(images, torch.Generator().manual_seed(0)))
    spans = [own.amax((1, 2)) - own.amin((1, 2)) for own in (shown[:, 0], shown[:, 1])]
    assert torch.allclose(*spans, atol=4), "as wide as high"
    share = spans[0] / 250
    assert 0.67 < float(share.min()) < 0.8 < 0.9 < float(share.max()) <= 1
    assert float((shown[:, 0].amin((1, 2)) > 5).float().mean()) > 0.5, "at different places"


def test_growing_pictures_need_a_pooled_head() -> None:
    pixels, labels = _spots(8, 64, 0)
    rows = np.arange(8)
    with pytest.raises(TrainingError, match="pooled"):
        train_trunk(
            "alexnet", pixels, labels, np.ones(8, np.float32), training=rows[:6], validation=rows[6:], growing=True, epochs=1
        )


# --- Whole scorers -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort") / "eyes"
    write_cohort(48, folder, seed=3, size=96)
    return folder


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small trunk that learned nothing."""
    file = tmp_path_factory.mktemp("weights") / "squeezenet.pth"
    torch.save(new_module("squeezenet1_1", 0).state_dict(), file)
    return file


def _assert_validation_figures(scorer: TransferredScorer, dataset: Dataset) -> None:
    """The figures of the recipe are those of the validation photographs, scored again; the AUC by counting pairs."""
    own = set(split_by_patient(dataset.images, seed=0)["validation"])
    images = [image for image in dataset.images if image.image_id in own]
    pixels = np.stack(
        [prepare(i.image_id, read_photograph(i.path), size=scorer.size, preparation=scorer.preparation).pixels for i in images]
    )
    scores = severities(scorer, pixels)
    grades = np.array([image.grade for image in images])
    assert scorer.reading is not None
    youden = [(scores[grades >= 2] >= cut).mean() - (scores[grades < 2] >= cut).mean() for cut in scores]
    threshold = scorer.reading.threshold
    assert (scores[grades >= 2] >= threshold).mean() - (scores[grades < 2] >= threshold).mean() == pytest.approx(max(youden))
    won = [(high > low) + 0.5 * (high == low) for high in scores[grades >= 2] for low in scores[grades < 2]]
    assert won, "both sides are among the validation photographs"
    assert scorer.training["validation_auc"] == pytest.approx(np.mean(won), abs=1e-4)
    assert scorer.training["validation_spearman"] == pytest.approx(spearmanr(scores, grades).statistic, abs=1e-4)


@pytest.mark.parametrize("from_scratch", [True, False])
def test_a_trained_scorer_is_a_bundle_with_a_card_that_names_no_patient(cohort: Path, tmp_path: Path, from_scratch: bool) -> None:
    dataset, _ = read_dataset(cohort / "images", cohort / "grades.csv", scale=FIVE)
    weights = None
    if not from_scratch:
        weights = tmp_path / "weights.pth"
        torch.save(new_module("squeezenet1_1", 0).state_dict(), weights)
    scorer = train_scorer(
        dataset,
        name="small",
        trunk="squeezenet1_1",
        weights=weights,
        from_scratch=from_scratch,
        size=64,
        epochs=1,
        source="Drawn for a test.",
        further=["More eyes.", "Larger ones."],
    )
    for section in ("Intended use", "Data and terms", "Recipe", "Figures on the test split", "Limits"):
        assert f"## {section}" in scorer.card
    assert "Drawn for a test." in scorer.card
    assert "## What would improve it\n\n- More eyes.\n- Larger ones.\n\n## Limits" in scorer.card
    assert "does not diagnose" in scorer.card
    assert not any(image.path.stem in scorer.card or str(image.path.parent) in scorer.card for image in dataset.images)
    assert sum(scorer.training["photographs"].values()) == 48
    _assert_validation_figures(scorer, dataset)
    save_bundle(tmp_path / "small", scorer)
    loaded = load_scorer(tmp_path / "small")
    pixels = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3)).astype(np.uint8)
    severity = severities(loaded, pixels)
    assert all(0 <= value <= 4 and math.isfinite(value) for value in severity)


LIGHT = ("mobilenet_v3_large", "efficientnet_b0", "efficientnet_lite0", "squeezenet1_1", "timm:mobilenetv3_small_050")
PYRAMIDS = ("fpn:squeezenet1_1", "fpn:timm:mobilenetv3_small_050")


def awake(trunk: str) -> dict[str, torch.Tensor]:
    """Weights at random, and the statistics that go with them: without these, deep networks give one result for everything."""
    module = new_module(trunk, 0).train()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None  # the mean of all that was seen
    with torch.no_grad():
        module(torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    return module.state_dict()


@pytest.mark.parametrize("trunk", LIGHT + PYRAMIDS)
@pytest.mark.parametrize("fine_tune", [False, True], ids=["frozen", "fine-tuned"])
def test_light_networks_learn_frozen_and_whole(cohort: Path, tmp_path: Path, trunk: str, fine_tune: bool) -> None:
    dataset, _ = read_dataset(cohort / "images", cohort / "grades.csv", scale=FIVE)
    start, weights = awake(trunk), tmp_path / "weights.pth"
    torch.save(start, weights)
    common: dict[str, Any] = {"size": 64, "epochs": 1, "augmentation": "none", "hidden": 4}
    scorer = train_scorer(dataset, name="light", trunk=trunk, weights=weights, fine_tune=fine_tune, **common)
    learned = scorer.trunk.state_dict()
    assert start.keys() == learned.keys()
    filters = [name for name, tensor in start.items() if tensor.ndim == 4]
    as_it_was = [torch.equal(start[name].half().float(), learned[name]) for name in filters]
    assert not any(as_it_was) if fine_tune else all(as_it_was)
    save_bundle(tmp_path / "light", scorer)
    loaded = load_scorer(tmp_path / "light")
    assert loaded.sha256 == scorer.sha256
    assert loaded.network == trunk


def test_a_trunk_learns_from_a_fine_tuned_teacher(cohort: Path, tmp_path: Path) -> None:
    dataset, _ = read_dataset(cohort / "images", cohort / "grades.csv", scale=FIVE)
    weights = tmp_path / "weights.pth"
    torch.save(new_module("squeezenet1_1", 0).state_dict(), weights)
    common: dict[str, Any] = {"trunk": "squeezenet1_1", "size": 96, "epochs": 2, "augmentation": "moved"}
    teacher = train_scorer(dataset, name="teacher", weights=weights, fine_tune=True, **{**common, "size": 128})
    pupil = train_scorer(dataset, name="pupil", from_scratch=True, teachers=[teacher], **{**common, "trunk": "alexnet"})
    assert pupil.training["teachers"] == "teacher"
    assert teacher.classifier is not None
    assert teacher.judged is not None
    assert teacher.reading is not None
    assert len(teacher.judged.severity) == teacher.training["photographs"]["test"]
    save_bundle(tmp_path / "pupil", pupil)
    loaded = load_scorer(tmp_path / "pupil")
    # What was measured is what is shipped: the weights were rounded before.
    assert loaded.sha256 == pupil.sha256
    assert loaded.judged is not None
    assert pupil.judged is not None
    assert np.array_equal(loaded.judged.severity, pupil.judged.severity)
    for name, value in vars(pupil.reading).items():
        assert np.array_equal(getattr(loaded.reading, name), value), name
    both = train_scorer(dataset, name="both", weights=weights, fine_tune=True, teachers=[teacher, pupil], **common)
    assert both.training["teachers"] == "teacher, pupil"
    elsewhere = replace(teacher, learned=("f" * 16,))
    taught = train_scorer(dataset, name="x", weights=weights, fine_tune=True, teachers=[elsewhere], **{**common, "epochs": 1})
    assert set(taught.learned) == {*teacher.learned, "f" * 16}, "a pupil has met what its teachers met"
    with pytest.raises(TrainingError, match="that is not trained cannot learn from a teacher"):
        train_scorer(dataset, name="x", weights=weights, teachers=[teacher], **{**common, "augmentation": "none"})
    own_cells = load_scorer("synthetic-alexnet")
    with pytest.raises(TrainingError, match="pooled"):
        train_scorer(dataset, name="x", from_scratch=True, teachers=[own_cells], **common)


def test_scorers_side_by_side_have_the_mean_of_their_logits(cohort: Path, tmp_path: Path) -> None:
    dataset, _ = read_dataset(cohort / "images", cohort / "grades.csv", scale=FIVE)
    torch.save(new_module("squeezenet1_1_coarse", 0).state_dict(), tmp_path / "squeezenet.pth")
    members = []
    for trunk, size, weights, met in (
        ("efficientnet_lite0", 96, "imagenet", "e" * 16),
        ("squeezenet1_1_coarse", 128, tmp_path / "squeezenet.pth", "f" * 16),
    ):
        common: dict[str, Any] = {"size": size, "epochs": 1, "fine_tune": True, "preparation": "equalise"}
        made = train_scorer(dataset, name=trunk[:6], trunk=trunk, weights=weights, **common)
        members.append(replace(made, learned=(*made.learned, met)))
    large, small = members
    pixels = np.stack(
        [prepare(i.image_id, read_photograph(i.path), size=128, preparation="equalise").pixels for i in dataset.images]
    )

    def logits(scorer: TransferredScorer) -> FloatArray:
        return np.array([scorer.read(maps).logit("dr") for maps in scorer.trunk.maps(pixels)])

    # The one that learned on smaller pictures sees these at 96 pixels, and its head the mean of nine cells.
    shrunk = load_trunk("efficientnet_lite0_fine", large.trunk.state_dict(), size=128).maps(pixels).mean((2, 3))
    alone = large.head.logit(shrunk @ (9 * large.head.hidden_weight[:, :, 0, 0]).T + large.head.hidden_bias)
    mean = (logits(small) + alone) / 2
    np.testing.assert_allclose(logits(side_by_side("pair", members)), mean, atol=1e-4)
    joined = join_scorers(dataset, name="pair", members=members, preparation="equalise-soft", source="Drawn.")
    stretch, shift = np.polyfit(mean, logits(joined), 1)
    np.testing.assert_allclose(logits(joined), stretch * mean + shift, atol=1e-3)  # a calibration, and nothing else
    assert stretch > 0
    assert joined.preparation == "equalise-soft"
    assert joined.training["members"] == "effici, squeez"
    assert "the mean of its members'" in joined.card
    assert set(joined.learned) == {*large.learned, *small.learned}
    _assert_validation_figures(joined, dataset)
    save_bundle(tmp_path / "pair", joined)
    assert load_scorer(tmp_path / "pair").sha256 == joined.sha256


def test_scorers_that_do_not_fit_are_not_put_side_by_side() -> None:
    def scorer(trunk: str, size: int = 128, **other: Any) -> TransferredScorer:
        loaded = load_trunk(trunk, new_module(trunk, 0).state_dict(), size=size)
        head = Head(
            np.zeros((2, loaded.channels, *loaded.shape), np.float32), np.zeros(2, np.float32), np.ones(2, np.float32), 0.0
        )
        return TransferredScorer(trunk, loaded, head, FIVE, other.get("preparation", "equalise"))

    small = scorer("squeezenet1_1_coarse")
    for other, fault in (
        (scorer("squeezenet1_1_coarse"), "no trunk holds"),
        (scorer("efficientnet_lite0_fine", 256), "size"),
        (scorer("efficientnet_lite0_fine", preparation="standardise"), "preparation"),
        (scorer("efficientnet_lite0", 192), "size"),
    ):
        with pytest.raises(TrainingError, match=fault):
            side_by_side("pair", [small, other])
    with pytest.raises(TrainingError, match="efficientnet_lite0_fine") as caught:
        side_by_side("pair", [small])
    assert "squeezenet1_1_coarse" in caught.value.remedy
    smaller = scorer("efficientnet_lite0", 96)
    smaller.head.hidden_weight[0, 0, 0, 0] = 1
    with pytest.raises(TrainingError, match="different weights for each cell"):
        side_by_side("pair", [small, smaller])


def test_pixels_of_other_code_areprepared_pixels_again(cohort: Path, tmp_path: Path) -> None:
    dataset, _ = read_dataset(cohort / "images", cohort / "grades.csv", scale=FIVE)
    few = replace(Material.of(dataset, "weight", 0), images=dataset.images[:3])

    def prepared(code: str) -> np.ndarray:
        return np.array(prepared_pixels(few, 64, "standardise", tmp_path, code, silent))

    first = prepared("code as it is")
    (file,) = tmp_path.iterdir()
    stale = np.load(file, mmap_mode="r+")
    stale[:] = 7  # as an earlier version may have prepared them
    stale.flush()
    del stale
    assert (prepared("code as it is") == 7).all(), "what is complete is used again"
    assert (prepared("later code") == first).all()


@pytest.mark.parametrize("learns", [False, True], ids=["frozen", "fine-tuned"])
def test_nothing_of_a_training_stays_behind_once_the_bundle_is_written(
    cohort: Path, squeezenet: Path, tmp_path: Path, learns: bool
) -> None:
    store = tmp_path / "store"
    settings: dict[str, Any] = {"images": cohort / "images", "grades": cohort / "grades.csv", "store": store, "size": 64}
    configuration = load_configuration(**settings, trunk="squeezenet1_1", trunk_weights=str(squeezenet), training=True)
    common: dict[str, Any] = {"fine_tune": learns, "epochs": 1, "hidden": 4, "augmentation": "none"}
    with pytest.raises(ScorerError, match="cannot be written"):
        train(configuration, cohort / "grades.csv" / "own", **common)
    kept = sorted(path.name.partition("-")[0] for path in store.glob("training/*/*"))
    assert kept == ["checkpoint.pt", "pixels"] if learns else ["pixels"], "to go on from"
    scorer, _ = train(configuration, tmp_path / "own", **common)
    assert load_scorer(tmp_path / "own").sha256 == scorer.sha256
    assert list(store.glob("training/*")) == []
    maps = Path("/proc/self/maps")
    assert not maps.exists() or str(store) not in maps.read_text(), "Windows removes no file that is still mapped"


def test_photographs_that_two_datasets_grade_differently_are_joined_without_a_grade() -> None:
    def gathered(folder: str, **grades: int | None) -> tuple[Dataset, DatasetReport]:
        images = tuple(GradedImage(i, Path(folder, f"{i}.jpg"), grade, patient="p") for i, grade in grades.items())
        return Dataset(images), DatasetReport(folder, conflicting_duplicates=(f"of {folder}",))

    dataset, report = joined([gathered("one", a=2, b=1, c=None), gathered("two", b=3, c=0, d=4), gathered("three", a=2, b=1)])
    assert {image.image_id: image.grade for image in dataset.images} == {"a": 2, "b": None, "c": 0, "d": 4}
    assert [image.path.parent.name for image in dataset.images] == ["one", "one", "one", "two"]
    *own, conflict = report.conflicting_duplicates
    assert own == ["of one", "of two", "of three"]
    assert conflict == f"b.jpg: grade 1, and 3 as {Path('two/b.jpg')}; kept without a grade"
    assert report.layout == "one, two, three"


def test_members_do_not_learn_again(cohort: Path, tmp_path: Path) -> None:
    configuration = load_configuration(images=cohort / "images", grades=cohort / "grades.csv", store=tmp_path, training=True)
    with pytest.raises(TrainingError, match="do not learn again"):
        train(configuration, tmp_path / "pair", members=["synthetic-alexnet", "synthetic-alexnet"], fine_tune=True)


def test_weights_for_a_trunk_from_scratch_are_refused(cohort: Path) -> None:
    dataset, _ = read_dataset(cohort / "images", cohort / "grades.csv", scale=FIVE)
    with pytest.raises(TrainingError, match="from scratch"):
        train_scorer(dataset, name="x", weights="imagenet", from_scratch=True)


def test_the_shipped_scorer_ranks_synthetic_eyes_that_it_never_saw() -> None:
    scorer = load_scorer("synthetic-alexnet")
    severity, grades = [], []
    for index, (_, eye) in enumerate(draw_cohort(160, seed=2026, size=256)):
        pixels = prepare(str(index), eye.pixels, size=scorer.size, preparation=scorer.preparation).pixels
        severity.append(severities(scorer, pixels[None])[0])
        grades.append(eye.grade)
    assert spearman(severity, grades) > 0.7


def test_patients_of_other_folders_are_other_people_on_request(tmp_path: Path) -> None:
    parts = {"here": ("train", "train"), "there": ("validation", "test")}  # of the two patients of each folder
    for seed, (folder, split) in enumerate(parts.items()):
        grades = write_cohort(4, tmp_path / folder, seed=seed, size=96)
        head, *rows = grades.read_text("utf-8").splitlines()
        told = [f"{head},split", *(f"{row},{split[place // 2]}" for place, row in enumerate(rows))]
        grades.write_text("\n".join(told) + "\n", "utf-8", newline="\n")
    settings = load_configuration(
        images=tmp_path / "here" / "images", grades=tmp_path / "here" / "grades.csv", store=tmp_path / "store"
    )
    there = tmp_path / "there" / "images", tmp_path / "there" / "grades.csv"
    workshop = Workshop.of(settings)
    same, _ = gather_all(workshop, [Further(*there)])
    with pytest.raises(TrainingError, match="one patient is in two parts"):
        parts_of(same.images, seed=0)
    apart, _ = gather_all(workshop, [Further(*there, apart=True)])
    assert {part: len(ids) for part, ids in parts_of(apart.images, seed=0).items()} == {"training": 4, "validation": 2, "test": 2}
    assert [image.image_id for image in apart.images] == [image.image_id for image in same.images]
    assert len({image.patient for image in apart.images}) == 2 * len({image.patient for image in same.images})
