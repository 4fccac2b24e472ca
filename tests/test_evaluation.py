"""Evaluation: figures against cases worked by hand, and defined behaviour where they are not defined."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import trapezoid
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from atlas.agreement.evaluation import (
    auc,
    depth,
    evaluate,
    fit_reading,
    grade_by_ranges,
    label_distribution,
    quadratic_kappa,
    spearman,
    stage_ranges,
)
from atlas.agreement.reading import boundaries, differences, nearest_grade, printable_score
from atlas.records import Evaluation, GradeCuts, Scale

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
    assert boundaries(THREE).tolist() == [1.5, 2.5]
    assert differences([0.5, 2.4, 0.2], [0, 4, np.nan], FIVE).tolist()[:2] == [1, -2]
    assert np.isnan(differences([0.2], [np.nan], FIVE)).all()


def test_boundaries_lie_where_the_reading_changes() -> None:
    for scale in (FIVE, THREE):
        edges = boundaries(scale).astype(float)
        assert nearest_grade(edges, scale).tolist() == list(scale.grades[1:])
        assert nearest_grade(edges - 1e-3, scale).tolist() == list(scale.grades[:-1])


@given(st.floats(0, 4, width=32))
def test_a_printed_score_does_not_contradict_its_reading(severity: float) -> None:
    shown = printable_score(severity)
    (read,) = nearest_grade([severity], FIVE)
    assert nearest_grade([shown], FIVE).tolist() == nearest_grade([float(f"{shown:.2f}")], FIVE).tolist() == [read]
    assert abs(shown - severity) <= 0.0051


def test_printed_scores_keep_the_order_of_the_scores() -> None:
    shown = [printable_score(step / 10000) for step in range(40001)]
    assert shown == sorted(shown)
    assert printable_score(1.497) == 1.4949
    assert printable_score(0.5) == 0.5


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


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 4, width=32), st.integers(0, 4)), max_size=30),
    st.integers(0, 5),
)
def test_figures_stay_in_their_bounds(pairs: list[tuple[float, int]], seed: int) -> None:
    severity, grades = [s for s, _ in pairs], [g for _, g in pairs]
    probabilities = np.eye(5)[[(g + 1) % 5 for g in grades]].reshape(-1, 5)
    evaluation = evaluate(severity, grades, FIVE, seed=seed, probabilities=probabilities)
    for name, value in evaluation.figures.items():
        low = -1.0 if "kappa" in name or "spearman" in name else 0.0
        high = 4.0 if "mae" in name else 1.0
        for number in (value, *evaluation.intervals[name]):
            assert math.isnan(number) or low - 1e-9 <= number <= high + 1e-9, name


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.25, 3.0]), st.integers(0, 4)), min_size=2, max_size=20))
def test_figures_are_those_of_the_libraries(pairs: list[tuple[float, int]]) -> None:
    severity, grades = np.array([s for s, _ in pairs]), np.array([g for _, g in pairs])
    if np.ptp(severity) and np.ptp(grades):
        assert spearman(severity, grades) == pytest.approx(spearmanr(severity, grades).statistic, abs=1e-9)
    read = nearest_grade(severity, FIVE)
    if np.ptp([*read, *grades]):
        ours = quadratic_kappa(read, grades, FIVE)
        assert ours == pytest.approx(cohen_kappa_score(read, grades, weights="quadratic", labels=FIVE.grades), abs=1e-9)
    if 0 < (grades >= 2).sum() < grades.size:
        assert auc(severity, grades >= 2) == pytest.approx(roc_auc_score(grades >= 2, severity), abs=1e-9)


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
    """Severities that depend on the patient, not the grade. Fitting on the photographs to measure would show agreement."""
    grades = np.tile([0, 1], 200)
    severity = np.repeat(np.linspace(0, 4, 200), 2) + np.tile([0.0, 0.0], 200)
    figures = evaluate(severity, grades, FIVE, [f"p{i // 2}" for i in range(400)]).figures
    assert abs(figures["quadratic_kappa_ranges"]) < 0.2


def test_severities_and_grades_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        evaluate([1.0, 2.0], [1], FIVE)


def test_the_classifier_is_measured_by_its_most_probable_and_its_expected_grade() -> None:
    # Most probable: 1, 3, 1, 3 against 1, 1, 3, 3. Expected: 1.4, 2.6, 1.5, 2.2, so ranks 1 4 2 3 against 1.5 1.5 3.5 3.5.
    probabilities = [[0.8, 0.0, 0.2], [0.2, 0.0, 0.8], [0.7, 0.1, 0.2], [0.4, 0.0, 0.6]]
    evaluation = evaluate([1.0, 1.0, 3.0, 3.0], [1, 1, 3, 3], THREE, probabilities=probabilities)
    figures = evaluation.figures
    assert figures["accuracy_classifier"] == 0.5
    assert figures["skipped_classifier"] == 0.5
    assert figures["mae_classifier"] == pytest.approx(1)
    assert figures["quadratic_kappa_classifier"] == pytest.approx(0)
    assert figures["spearman_classifier"] == pytest.approx(0)
    assert evaluation.confusions["classifier"].counts.tolist() == [[1, 0, 1], [0, 0, 0], [1, 0, 1]]
    assert evaluation.confusions["classifier"].skipped == 2
    assert (figures["accuracy"], evaluation.confusions["nearest"].skipped) == (1, 0)
    assert set(evaluate([1.0], [1], THREE).confusions) == {"nearest"}


def test_sensitivity_and_specificity_at_the_threshold_of_the_reading() -> None:
    # From 1.5 on: 1.5, 3, 2 and 4 are called; referable are 1, 1.5, 3 and 4, so 3 of 4. Of 0, 0.5 and 2 two are cleared.
    severity, grades = [1.0, 1.5, 3.0, 4.0, 0.0, 0.5, 2.0], [2, 2, 3, 4, 0, 1, 1]
    reading = GradeCuts(np.array([0.5, 1.5, 2.5, 3.5], np.float32), 1.5)
    likely = np.array([0.5, 0.2, 0.7, 1.0, 0.1, 0.6, 0.3])  # to be referable
    probabilities = np.stack([1 - likely, 0 * likely, likely / 2, likely / 2, 0 * likely], axis=1)
    figures = evaluate(severity, grades, FIVE, reading=reading, probabilities=probabilities).figures
    assert figures["sensitivity_referable"] == pytest.approx(3 / 4)
    assert figures["specificity_referable"] == pytest.approx(2 / 3)
    assert figures["sensitivity_referable_classifier"] == pytest.approx(3 / 4)
    assert figures["specificity_referable_classifier"] == pytest.approx(2 / 3)
    assert figures["auc_referable_classifier"] == pytest.approx((2 + 1 + 3 + 3) / 12)


def test_a_given_reading_is_used_and_not_fitted_again() -> None:
    reading = GradeCuts(np.array([1.0, 2.0, 2.5, 3.5], np.float32), 2.0)
    evaluation = evaluate([0.9, 1.1, 2.6, 3.4], [0, 1, 3, 3], FIVE, reading=reading)
    assert evaluation.figures["accuracy_ranges"] == 1
    assert evaluation.reading is reading
    assert not evaluation.cross_fitted
    assert evaluate([0.9, 1.1, 2.6, 3.4], [0, 1, 3, 3], FIVE).cross_fitted


def test_the_threshold_has_the_largest_youden_index() -> None:
    # Severities and referable: 0 n, 1 n, 2 y, 3 n, 4 y. Above 1.5: 2 of 2 caught, 2 of 3 cleared; no other cut does as well.
    assert fit_reading([0.0, 1.0, 2.0, 3.0, 4.0], [0, 1, 2, 1, 4], FIVE).threshold == 1.5
    # n y n y: above 0.5 and above 2.5 three of four stand right; the lower misses fewer.
    assert fit_reading([0.0, 1.0, 2.0, 3.0], [0, 2, 0, 2], FIVE).threshold == 0.5
    assert fit_reading([0.0, 1.0], [0, 1], FIVE).threshold is None
    assert fit_reading([1.0, 2.0], [1, 3], THREE).threshold is None


def test_a_reading_holds_what_its_cuts_were_made_of() -> None:
    # Two photographs a grade: the peak is their median. Grade 1: 1.0 and sd 0.1; grade 2: 2.0 and sd 0.3; so the cut is 1.25.
    reading = fit_reading([0.9, 1.1, 1.7, 2.3], [1, 1, 2, 2], THREE)
    assert reading.peaks == pytest.approx([1, 2, 3])
    assert reading.deviations == pytest.approx([0.1, 0.3, 0.2])
    assert reading.cuts == pytest.approx([1.25, 2.6])
    assert reading.cuts.tolist() == stage_ranges([0.9, 1.1, 1.7, 2.3], [1, 1, 2, 2], THREE).tolist()


def test_depth_is_the_distance_to_the_nearer_boundary() -> None:
    assert depth([1.0, 1.6, 2.0, 2.75], 1, THREE) == pytest.approx([-0.5, 0.1, 0.5, -0.25])
    assert depth([1.0, 2.0], 0, THREE) == pytest.approx([0.5, -0.5])
    assert depth([1.0, 2.75], 2, THREE) == pytest.approx([-1.5, 0.25])


def curves(evaluation: Evaluation) -> dict[tuple[str, int | None], float]:
    return {(roc.method, roc.grade): roc.auc for roc in evaluation.rocs}


def test_one_grade_against_all_others_in_a_case_worked_by_hand() -> None:
    # Grade 2, range 1.5 to 2.5. Depths: 2.0: 0.5 and 1.4: -0.1 of grade 2; 1.6: 0.1, 3.0: -0.5 and 0.5: -1 of others. Pairs won:
    # 3 by the first, 2 by the second, of 6.
    reading = GradeCuts(np.array([1.5, 2.5], np.float32))
    severity, grades = [2.0, 1.4, 1.6, 3.0, 0.5], [2, 2, 1, 3, 1]
    found = curves(evaluate(severity, grades, THREE, reading=reading, probabilities=np.eye(3)[[1, 1, 0, 2, 0]]))
    assert found["score", 2] == pytest.approx(5 / 6)
    assert found["score", 3] == 1
    assert {key: area for key, area in found.items() if key[0] == "classifier"} == {("classifier", g): 1 for g in (1, 2, 3)}
    assert ("score", None) not in found


def test_curves_rise_from_corner_to_corner_over_their_area() -> None:
    rng = np.random.default_rng(5)
    grades = rng.integers(0, 5, 3000)
    severity = np.clip(grades + rng.normal(0, 1, 3000), 0, 4)
    for roc in evaluate(severity, grades, FIVE, probabilities=rng.dirichlet(np.ones(5), 3000)).rocs:
        x, y = roc.false_positive, roc.true_positive
        assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
        assert (np.diff(x) >= 0).all()
        assert (np.diff(y) >= 0).all()
        assert x.size <= 200
        assert trapezoid(y, x) == pytest.approx(roc.auc, abs=0.005)
        assert roc.interval[0] < roc.auc < roc.interval[1]


def test_intervals_hold_a_share_as_statistics_say() -> None:
    """400 photographs, 300 right: the binomial's normal 95 % interval is 0.75 -+ 1.96 * sqrt(0.75 * 0.25 / 400)."""
    grades = np.repeat([0, 1, 2, 3], 100)
    severity = np.where(np.arange(400) % 4 == 0, grades + 1.0, grades)
    low, high = evaluate(severity, grades, FIVE).intervals["accuracy"]
    half = 1.96 * math.sqrt(0.75 * 0.25 / 400)
    assert low == pytest.approx(0.75 - half, abs=0.006)
    assert high == pytest.approx(0.75 + half, abs=0.006)


def test_photographs_of_one_patient_are_drawn_together() -> None:
    """Every patient four times: four photographs of a patient give no more information than one."""
    rng = np.random.default_rng(6)
    grades = rng.integers(0, 5, 100)
    severity = np.clip(grades + rng.normal(0, 1, 100), 0, 4)
    patients = [f"p{i}" for i in range(100)]
    single = evaluate(severity, grades, FIVE, patients)
    fourfold = evaluate(np.tile(severity, 4), np.tile(grades, 4), FIVE, patients * 4)
    alone = evaluate(np.tile(severity, 4), np.tile(grades, 4), FIVE)
    assert (fourfold.count, fourfold.patients, alone.patients) == (400, 100, 400)
    for name in ("accuracy", "spearman", "mae", "auc_referable", "quadratic_kappa"):
        assert fourfold.figures[name] == pytest.approx(single.figures[name]), name
        assert fourfold.intervals[name] == pytest.approx(single.intervals[name]), name
        assert np.ptp(alone.intervals[name]) < 0.65 * np.ptp(single.intervals[name]), name


def test_one_patient_gives_figures_without_intervals() -> None:
    evaluation = evaluate([0.0, 1.0, 3.0], [0, 1, 2], FIVE, ["p", "p", "p"])
    assert evaluation.figures["spearman"] == 1
    assert all(math.isnan(end) for interval in evaluation.intervals.values() for end in interval)


def test_seeds_repeat_the_intervals() -> None:
    rng = np.random.default_rng(7)
    grades, severity = rng.integers(0, 5, 60), rng.uniform(0, 4, 60)
    first, again, other = (evaluate(severity, grades, FIVE, seed=seed) for seed in (1, 1, 2))
    assert first.intervals == again.intervals
    assert first.intervals["spearman"] != other.intervals["spearman"]


def test_calibration_compares_means_step_by_step() -> None:
    evaluation = evaluate([1.1, 1.3, 2.5, 3.0], [1, 2, 2, 3], THREE)
    assert [(b.low, b.high, b.count) for b in evaluation.calibration] == [(1.0, 1.5, 2), (2.5, 3.0, 2)]
    assert [b.mean_score for b in evaluation.calibration] == pytest.approx([1.2, 2.75])
    assert [b.mean_grade for b in evaluation.calibration] == pytest.approx([1.5, 2.5])
    assert evaluation.calibration[0].interval == (1.0, 2.0)


def test_densities_have_area_one_and_their_peak_where_the_severities_are() -> None:
    rng = np.random.default_rng(8)
    grades = np.repeat([1, 3], 200)
    densities = evaluate(np.clip(rng.normal(grades, 0.2), 0, 4), grades, FIVE).densities
    assert densities is not None
    assert np.isnan(densities.values[[0, 2, 4]]).all()
    for grade in (1, 3):
        assert trapezoid(densities.values[grade], densities.axis) == pytest.approx(1, abs=0.01)
        assert densities.axis[np.argmax(densities.values[grade])] == pytest.approx(grade, abs=0.15)


def test_labels_before_and_after_balancing() -> None:
    # Three of grade 1 at weight 1, one of grade 3 at weight 3: half of the fit each.
    labels = label_distribution([1, 1, 1, 3], [1, 1, 1, 3], THREE)
    assert labels == {1: (3, 0.5), 2: (0, 0.0), 3: (1, 0.5)}
    rows = evaluate([1.0, 3.0], [1, 3], THREE, labels=labels).labels
    assert [(row.grade, row.count, row.before, row.after) for row in rows] == [(1, 3, 0.75, 0.5), (2, 0, 0, 0), (3, 1, 0.25, 0.5)]
    assert evaluate([1.0, 3.0], [1, 3], THREE).labels == ()


def test_probabilities_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="5 grades"):
        evaluate([1.0, 2.0], [1, 2], FIVE, probabilities=np.ones((2, 3)) / 3)
