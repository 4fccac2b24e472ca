"""Evaluation: figures against cases worked by hand, and defined behaviour where they are not defined."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.evaluation import auc, evaluate, grade_by_ranges, nearest_grade, quadratic_kappa, spearman, stage_ranges
from atlas.records import Scale

FIVE = Scale()
THREE = Scale(lowest=1, names=("low", "middle", "high"), referable=None, disease="an invented disease")


def test_quadratic_kappa_of_a_case_worked_by_hand() -> None:
    # Observed squared distances: 0, 1, 0, 1 = 2. Chance: assigned {1: 1, 2: 2, 3: 1}, truth {1: 2, 2: 0, 3: 2}, all pairs over 4:
    # (1*2*0 + 1*2*4 + 2*2*1 + 2*2*1 + 1*2*4 + 1*2*0) / 4 = 6. Kappa = 1 - 2/6.
    assert quadratic_kappa([1, 2, 3, 2], [1, 1, 3, 3], THREE) == pytest.approx(2 / 3)


def test_quadratic_kappa_of_agreement_chance_and_reversal() -> None:
    assert quadratic_kappa([0, 2, 4], [0, 2, 4], FIVE) == pytest.approx(1)
    assert quadratic_kappa([2, 2, 2, 2], [0, 4, 1, 3], FIVE) == pytest.approx(0)
    assert quadratic_kappa([4, 0], [0, 4], FIVE) == pytest.approx(-1)


def test_auc_of_a_case_worked_by_hand() -> None:
    # Pairs (positive, negative): (3,1) won, (3,2) won, (2,1) won, (2,2) tied: 3.5 of 4.
    assert auc([1, 2, 2, 3], [False, False, True, True]) == pytest.approx(3.5 / 4)


def test_spearman_of_a_case_worked_by_hand() -> None:
    # Ranks 1 2 3 4 against 1 3 2 4: 1 - 6 * (0 + 1 + 1 + 0) / (4 * 15).
    assert spearman([0.1, 0.2, 0.3, 0.9], [0, 2, 1, 3]) == pytest.approx(0.8)


def test_severities_go_to_the_nearest_grade_and_stay_on_the_scale() -> None:
    assert nearest_grade([-0.2, 0.49, 0.5, 3.6, 7.0], FIVE).tolist() == [0, 0, 1, 4, 4]
    assert nearest_grade([0.0, 1.6, 9.0], THREE).tolist() == [1, 2, 3]


def test_perfect_severities_get_perfect_figures() -> None:
    grades = np.repeat(np.arange(5), 20)
    figures = evaluate(grades.astype(float), grades, FIVE).figures
    for name in ("spearman", "quadratic_kappa", "accuracy", "auc_referable", "quadratic_kappa_ranges", "accuracy_ranges"):
        assert figures[name] == pytest.approx(1), name
    for name in ("mae", "skipped", "skipped_ranges"):
        assert figures[name] == 0, name


def test_skipped_counts_only_two_grades_and_more() -> None:
    figures = evaluate([0.0, 1.0, 2.0, 4.0], [0, 0, 0, 0], FIVE).figures
    assert figures["skipped"] == pytest.approx(0.5)
    assert figures["mae"] == pytest.approx(7 / 4)


def test_rows_by_grade_describe_their_own_severities() -> None:
    evaluation = evaluate([1.0, 2.0, 3.0, 2.5], [1, 1, 1, 3], THREE)
    low, middle, high = evaluation.by_grade
    assert (low["grade"], low["count"], low["mean"], low["median"]) == (1, 3, 2, 2)
    assert low["sd"] == pytest.approx(math.sqrt(2 / 3))
    assert middle["count"] == 0
    assert math.isnan(middle["mean"])
    assert high["q05"] == high["q95"] == 2.5
    assert evaluation.count == 4


def test_a_scale_without_referable_grade_has_no_referable_figure() -> None:
    assert "auc_referable" not in evaluate([1.0, 3.0], [1, 3], THREE).figures


@pytest.mark.parametrize(
    ("severity", "grades", "undefined"),
    [
        ([1.0, 1.0, 1.0], [0, 1, 2], {"spearman"}),
        ([0.1, 0.5, 0.2], [0, 0, 0], {"spearman", "auc_referable"}),
        ([0.0, 0.0], [0, 0], {"spearman", "auc_referable", "quadratic_kappa"}),
        ([2.0], [2], {"spearman", "auc_referable", "quadratic_kappa", "accuracy_ranges"}),
        ([], [], {"spearman", "mae", "quadratic_kappa", "accuracy", "skipped", "auc_referable", "accuracy_ranges"}),
    ],
)
def test_undefined_figures_are_nan_without_a_warning(severity: list[float], grades: list[int], undefined: set[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = evaluate(severity, grades, FIVE).figures
    assert {name for name in undefined if math.isnan(figures[name])} == undefined


@given(
    st.lists(st.tuples(st.floats(0, 4, width=32), st.integers(0, 4)), max_size=30),
    st.integers(0, 5),
)
def test_figures_stay_in_their_bounds(pairs: list[tuple[float, int]], seed: int) -> None:
    severity, grades = [s for s, _ in pairs], [g for _, g in pairs]
    figures = evaluate(severity, grades, FIVE, seed=seed).figures
    for name, value in figures.items():
        low = -1.0 if "kappa" in name or name == "spearman" else 0.0
        high = 4.0 if name == "mae" else 1.0
        assert math.isnan(value) or low - 1e-9 <= value <= high + 1e-9, name


def test_figures_do_not_depend_on_the_order_of_the_photographs() -> None:
    rng = np.random.default_rng(0)
    grades = rng.integers(0, 5, 80)
    severity = np.clip(grades + rng.normal(0, 1, 80), 0, 4)
    patients = [f"p{i // 2}" for i in range(80)]
    order = rng.permutation(80)
    whole = evaluate(severity, grades, FIVE, patients)
    turned = evaluate(severity[order], grades[order], FIVE, [patients[i] for i in order])
    assert whole.figures == pytest.approx(turned.figures)


def test_stage_ranges_cut_between_the_peaks_at_the_pace_of_the_spreads() -> None:
    rng = np.random.default_rng(1)
    severity = np.concatenate([rng.normal(1.2, 0.1, 4000), rng.normal(2.1, 0.2, 4000)])
    grades = np.repeat([1, 2], 4000)
    two = Scale(lowest=1, names=("low", "high"), referable=None)
    (cut,) = stage_ranges(severity, grades, two)
    assert cut == pytest.approx(1.2 + 0.9 * 0.1 / 0.3, abs=0.05)
    assert grade_by_ranges([cut - 0.01, cut + 0.01], np.array([cut], np.float32), two).tolist() == [1, 2]


def test_stage_ranges_undo_the_squeeze_of_a_sigmoid() -> None:
    rng = np.random.default_rng(2)
    grades = np.repeat(np.arange(5), 60)
    squeezed = 1.0 + grades * 0.4 + rng.normal(0, 0.1, grades.size)
    figures = evaluate(squeezed, grades, FIVE).figures
    assert figures["accuracy_ranges"] > 0.85 > 0.5 > figures["accuracy"]


def test_stage_ranges_ascend_even_where_grades_are_confused_or_missing() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        grades = rng.choice([0, 1, 3], 30)
        cuts = stage_ranges(rng.uniform(0, 4, 30), grades, FIVE)
        assert cuts.shape == (4,)
        assert (np.diff(cuts) >= 0).all()


def test_ranges_are_judged_on_other_patients_than_they_were_fitted_on() -> None:
    """Severities that tell the patient, not the grade: whoever fits and judges on the same photographs would find agreement."""
    grades = np.tile([0, 1], 200)
    severity = np.repeat(np.linspace(0, 4, 200), 2) + np.tile([0.0, 0.0], 200)
    figures = evaluate(severity, grades, FIVE, [f"p{i // 2}" for i in range(400)]).figures
    assert abs(figures["quadratic_kappa_ranges"]) < 0.2


def test_severities_and_grades_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        evaluate([1.0, 2.0], [1], FIVE)
