"""Recall, precision and F1, the operating point, results by group, and what colours alone tell."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from drawn_atlas import drawn_atlas
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from atlas.agreement.colours import four_numbers, from_colours
from atlas.agreement.detection import AIM, FEWEST, operating_threshold
from atlas.agreement.evaluation import auc, evaluate, fit_reading, quadratic_kappa
from atlas.agreement.groups import GROUP_FIGURES, Grouping
from atlas.errors import DatasetError
from atlas.records import Detection, Evaluation, GradeCuts, Group, Scale
from atlas.site.render import render_site
from atlas.site.tables import write_tables

FIVE = Scale()
THREE = Scale(lowest=1, names=("low", "middle", "high"), referable=None, disease="an invented disease")


def cohort(count: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Severities, grades, and patients with two photographs each."""
    rng = np.random.default_rng(seed)
    grades = rng.choice(5, count, p=[0.4, 0.2, 0.2, 0.1, 0.1])
    return np.clip(grades + rng.normal(0, 0.8, count), 0, 4), grades, [f"p{i // 2}" for i in range(count)]


def found(evaluation: Evaluation, method: str, grade: int | None = None) -> Detection:
    (one,) = (one for one in evaluation.detections if (one.method, one.grade) == (method, grade))
    return one


# ---- Recall, precision and F1


def test_recall_precision_and_f1_are_those_of_the_library() -> None:
    severity, grades, patients = cohort()
    evaluation = evaluate(severity, grades, FIVE, patients, probabilities=np.random.default_rng(1).dirichlet(np.ones(5), 300))
    read = np.clip(np.floor(severity + 0.5), 0, 4)
    precision, recall, f1, counts = precision_recall_fscore_support(grades, read, labels=FIVE.grades)
    for grade in FIVE.grades:
        one = found(evaluation, "nearest", grade)
        assert [one.figures[name] for name in ("recall", "precision", "f1")] == pytest.approx(
            [recall[grade], precision[grade], f1[grade]]
        )
        assert (one.human, one.read) == (counts[grade], (read == grade).sum())
        assert one.both == ((read == grade) & (grades == grade)).sum()
        for name, value in one.figures.items():
            low, high = one.intervals[name]
            assert low <= value <= high
    assert {one.method for one in evaluation.detections} == {"nearest", "classifier", "threshold", "operating"}
    assert found(evaluation, "threshold").figures["recall"] == evaluation.figures["sensitivity_referable"]


def test_a_ratio_of_fewer_than_five_photographs_is_not_told_but_its_counts_are() -> None:
    grades = np.array([0] * 20 + [1] * 4 + [2] * 6)
    severity = np.array([0.0] * 20 + [1.0] * 4 + [2.0] * 3 + [3.0] * 3)
    evaluation = evaluate(severity, grades, FIVE)
    few = found(evaluation, "nearest", 1)
    assert (few.human, few.read, few.both) == (4, 4, 4)
    assert all(math.isnan(value) for value in few.figures.values())
    assert all(math.isnan(end) for ends in few.intervals.values() for end in ends)
    called_seldom = found(evaluation, "nearest", 2)
    assert called_seldom.figures["recall"] == 0.5
    assert math.isnan(called_seldom.figures["precision"])
    assert math.isnan(called_seldom.figures["f1"])


def test_a_scale_without_referable_grade_has_grades_only() -> None:
    evaluation = evaluate([1.0, 2.0, 3.0, 3.0], [1, 2, 3, 3], THREE)
    assert {one.grade for one in evaluation.detections} == {1, 2, 3}
    assert evaluation.operating is None


# ---- The operating point


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.25, 2.0, 3.0]) | st.floats(0, 4), st.booleans()), max_size=60))
def test_the_operating_point_is_the_highest_threshold_with_the_recall(pairs: list[tuple[float, bool]]) -> None:
    severity, positive = np.array([s for s, _ in pairs]), np.array([p for _, p in pairs], bool)
    threshold = operating_threshold(severity, positive)
    if positive.sum() < FEWEST or (~positive).sum() < FEWEST:
        assert threshold is None
        return
    assert threshold is not None
    assert (severity[positive] >= threshold).mean() >= AIM - 1e-12
    higher = severity[severity > threshold]
    assert all((severity[positive] > one).mean() < AIM for one in higher if one >= higher.min())


def test_the_operating_point_of_a_case_worked_by_hand() -> None:
    # Of ten referable photographs one may be missed: the lowest, 1.0. The next is 2.0, and 1.8 is the severity below it.
    severity = np.array([1.0, 2.0, 2.2, 2.4, 2.6, 2.8, 3.0, 3.2, 3.4, 3.6, 0.1, 0.2, 0.3, 1.8, 2.1])
    positive = np.arange(15) < 10
    assert operating_threshold(severity, positive) == pytest.approx(1.9)
    assert operating_threshold(severity, positive, aim=1.0) == pytest.approx((1.0 + 0.3) / 2)
    assert operating_threshold(severity[:13], positive[:13]) is None


def test_an_operating_point_that_is_known_is_used_and_not_chosen_again() -> None:
    severity, grades, patients = cohort()
    reading = fit_reading(severity, grades, FIVE)
    assert reading.operating is not None
    told = evaluate(severity, grades, FIVE, patients, reading=dataclasses.replace(reading, operating=1.0))
    assert (told.operating, told.operating_cross_fitted) == (1.0, False)
    one = found(told, "operating")
    assert one.read == (severity >= 1.0).sum()
    assert one.figures["recall"] == pytest.approx((severity[grades >= 2] >= 1.0).mean())
    assert one.figures["precision"] == pytest.approx((grades[severity >= 1.0] >= 2).mean())


def test_without_one_it_is_chosen_on_one_half_of_the_patients_and_judged_on_the_other() -> None:
    severity, grades, patients = cohort()
    reading = dataclasses.replace(fit_reading(severity, grades, FIVE), operating=None)
    told = evaluate(severity, grades, FIVE, patients, reading=reading)
    assert told.operating_cross_fitted
    assert told.operating == operating_threshold(severity, grades >= 2)
    assert not told.cross_fitted
    whole = evaluate(severity, grades, FIVE, patients)
    assert found(whole, "operating") == found(told, "operating")
    # Severities that say nothing: what is chosen on one half cannot keep its promise on the other by chance alone.
    assert found(evaluate(severity[::-1], grades, FIVE, patients), "operating").figures["precision"] < 0.6


# ---- Groups


def by_value(evaluation: Evaluation) -> dict[str, Group]:
    return {str(one.label): one for one in evaluation.groups}


def test_each_group_has_the_figures_of_its_own_photographs() -> None:
    severity, grades, patients = cohort()
    sexes = ["Female" if i % 3 else "male" for i in range(300)]
    reading = dataclasses.replace(fit_reading(severity, grades, FIVE), operating=1.2)
    told = by_value(evaluate(severity, grades, FIVE, patients, reading=reading, groups=[Grouping("sex", sexes)]))
    assert list(told) == ["Female", "male"]
    for sex, one in told.items():
        rows = np.array([value == sex for value in sexes])
        positive = grades[rows] >= 2
        assert (one.count, one.referable) == (rows.sum(), positive.sum())
        assert one.figures["auc_referable"] == pytest.approx(auc(severity[rows], positive))
        assert one.figures["recall"] == pytest.approx((severity[rows][positive] >= 1.2).mean())
        assert one.figures["mae"] == pytest.approx(np.abs(severity - grades)[rows].mean())
        assert one.intervals["mae"][0] < one.figures["mae"] < one.intervals["mae"][1]
        assert set(one.figures) == set(GROUP_FIGURES)


def test_upper_and_lower_case_make_one_group_and_numbers_come_in_their_order() -> None:
    severity, grades, _ = cohort(60)
    values = [("10", "9", "Nine", "NINE")[i % 4] for i in range(60)]
    told = evaluate(severity, grades, FIVE, groups=[Grouping("x", values)]).groups
    assert [(str(one.label), one.count) for one in told] == [("9", 15), ("10", 15), ("Nine", 30)]


def test_numbers_are_divided_into_bands_of_the_stated_width() -> None:
    severity, grades, _ = cohort(60)
    ages = [str(age) for age in range(20, 80)]
    assert list(by_value(evaluate(severity, grades, FIVE, groups=[Grouping("age", ages)]))) == [
        f"{low} to {low + 9}" for low in range(20, 80, 10)
    ]
    wide = evaluate(severity, grades, FIVE, groups=[Grouping("age", ages, 40.0)]).groups
    assert [(str(one.label), one.width, one.count) for one in wide] == [("0 to 39", 40.0, 20), ("40 to 79", 40.0, 40)]
    odd = evaluate(severity, grades, FIVE, groups=[Grouping("age", ["old", "52", "53"] * 20)]).groups
    assert [(str(one.label), one.count) for one in odd] == [("50 to 59", 40), ("not a number", 20)]


def test_bands_of_broken_numbers_say_that_their_end_is_outside() -> None:
    severity, grades, _ = cohort(60)
    told = evaluate(severity, grades, FIVE, groups=[Grouping("hba1c", [("5,5", "6.2", "")[i % 3] for i in range(60)], 1.0)])
    assert [(str(one.label), one.count) for one in told.groups] == [("5 to below 6", 20), ("6 to below 7", 20), ("not known", 20)]


def test_rare_values_and_single_patients_are_not_named() -> None:
    severity, grades, patients = cohort(60)
    cameras = ["A"] * 40 + ["only one patient"] * 6 + ["rare"] * 4 + ["seldom"] * 10
    patients[40:46] = ["p"] * 6
    told = evaluate(severity, grades, FIVE, patients, groups=[Grouping("camera", cameras)]).groups
    assert [one.count for one in told] == [40, 10, 10]
    assert [str(one.label) for one in told[:2]] == ["A", "seldom"]
    assert "one patient" in str(told[2].label)
    assert not any(name in str(one.label) for one in told for name in ("only", "rare"))


def test_a_column_that_names_each_photograph_is_refused() -> None:
    severity, grades, _ = cohort(60)
    with pytest.raises(DatasetError, match=r"(?s)60 different values.*--by name:10"):
        evaluate(severity, grades, FIVE, groups=[Grouping("name", [f"eye {i}" for i in range(60)])])


def test_a_group_of_few_has_counts_and_no_ratio() -> None:
    severity, grades, _ = cohort(40)
    grades[:6] = [0, 0, 0, 0, 2, 2]
    told = by_value(evaluate(severity, grades, FIVE, groups=[Grouping("site", ["small"] * 6 + ["large"] * 34)]))
    assert (told["small"].count, told["small"].referable) == (6, 2)
    assert math.isnan(told["small"].figures["auc_referable"])
    assert math.isnan(told["small"].figures["recall"])
    assert math.isfinite(told["small"].figures["mae"])


# ---- Colours alone


def test_the_four_numbers_are_the_means_and_the_root_mean_square_of_the_deviations() -> None:
    assert four_numbers(np.array([[100.0, 60, 30, 3, 4, 5]])).tolist() == [[100, 60, 30, math.sqrt(50 / 3)]]


def tinted(count: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two clinics: the second has redder photographs and more severe patients. Colours tell nothing within a clinic."""
    rng = np.random.default_rng(seed)
    clinic = np.repeat(rng.random(count // 2) < 0.5, 2)
    grades = np.where(rng.random(count) < np.where(clinic, 0.8, 0.2), 3, 0)
    colours = rng.normal([120, 60, 30, 20, 20, 20], 5, (count, 6)) + np.outer(clinic, [40, 0, 0, 0, 0, 0])
    return colours, grades, np.arange(count) // 2


def test_colours_that_tell_the_clinic_tell_the_grade() -> None:
    colours, grades, owners = tinted()
    likely, read = from_colours(colours, grades, FIVE, owners) or (None, None)
    assert likely is not None
    assert read is not None
    assert 0.7 < auc(likely, grades >= 2) < 0.9
    assert quadratic_kappa(read, grades, FIVE) > 0.3
    figures = evaluate(np.zeros(400), grades, FIVE, [f"{owner:03d}" for owner in owners], colours=colours).figures
    assert figures["auc_referable_colours"] == pytest.approx(auc(likely, grades >= 2))
    assert figures["quadratic_kappa_colours"] == pytest.approx(quadratic_kappa(read, grades, FIVE))


def test_the_baseline_knows_nothing_of_the_patient_that_it_predicts() -> None:
    """Grades that follow the patient and colours that do, too, but each patient's in another way."""
    rng = np.random.default_rng(3)
    owners = np.repeat(np.arange(60), 6)
    grades = np.repeat(rng.choice([0, 3], 60), 6)
    colours = np.repeat(rng.normal(100, 20, (60, 6)), 6, axis=0)
    likely, _ = from_colours(colours, grades, FIVE, owners) or (None, None)
    assert likely is not None
    assert auc(likely, grades >= 2) < 0.65


def test_the_baseline_does_not_depend_on_the_order_of_the_photographs() -> None:
    colours, grades, owners = tinted(100)
    order = np.random.default_rng(5).permutation(100)
    patients = [f"p{owner:03d}" for owner in owners]
    one = evaluate(np.zeros(100), grades, FIVE, patients, colours=colours).figures
    other = evaluate(np.zeros(100), grades[order], FIVE, [patients[i] for i in order], colours=colours[order]).figures
    assert one == pytest.approx(other, nan_ok=True)


def test_too_few_patients_or_one_grade_give_no_baseline() -> None:
    colours, grades, owners = tinted(18)
    assert from_colours(colours, grades, FIVE, owners) is None
    colours, grades, owners = tinted(100)
    assert from_colours(colours, np.zeros_like(grades), FIVE, owners) is None
    likely, read = from_colours(colours, 1 + 2 * (grades > 0), THREE, owners) or (np.zeros(1), None)
    assert likely is None  # nothing is referable
    assert read is not None
    assert set(read.tolist()) == {1, 3}
    assert "auc_referable_colours" not in evaluate(np.zeros(18), grades[:18], FIVE, owners[:18], colours=colours[:18]).figures


# ---- Pages and tables


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    severity, grades, patients = cohort()
    sexes = ["<b>Female</b>" if i % 4 < 2 else "Male" for i in range(300)]
    ages = [str(30 + i // 6) for i in range(300)]
    colours = np.random.default_rng(2).normal(80, 10, (300, 6))
    groups = [Grouping("sex", sexes), Grouping("age", ages, 20.0)]
    return evaluate(severity, grades, FIVE, patients, colours=colours, groups=groups)


def test_the_methods_page_tells_each_figure_and_each_group(evaluation: Evaluation, tmp_path: Path) -> None:
    atlas = dataclasses.replace(drawn_atlas(tmp_path / "pictures", count=20), evaluation=evaluation)
    render_site(atlas, tmp_path / "pictures", tmp_path / "out", languages=("en", "de"))
    page = (tmp_path / "out" / "methods.html").read_text("utf-8")
    german = (tmp_path / "out" / "de" / "methods.html").read_text("utf-8")
    for text in ("Recall, precision and F1", "Results by group: sex", "Results by group: age, in bands of 20", "Colours alone"):
        assert text in page
    assert "30 bis 39" not in german
    assert "20 bis 39" in german
    assert "&lt;b&gt;Female&lt;/b&gt;" in page
    assert "<b>Female" not in page
    one = found(evaluation, "operating")
    low, high = one.intervals["recall"]
    assert f"{one.figures['recall']:.2f} <small>{low:.2f} to {high:.2f}</small>" in page
    assert f"a score of {evaluation.operating:.2f} or more counts as referable" in page


def test_the_table_of_numbers_holds_them_as_well(evaluation: Evaluation, tmp_path: Path) -> None:
    import csv

    atlas = dataclasses.replace(drawn_atlas(tmp_path / "pictures"), evaluation=evaluation)
    write_tables(atlas, tmp_path / "tables")
    with (tmp_path / "tables" / "evaluation.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    key = ("figure", "method", "grade", "group")
    assert len({tuple(row[name] for name in key) for row in rows}) == len(rows)
    told = {tuple(row[name] for name in key): row for row in rows}
    for one in evaluation.detections:
        ending, grade = ("_referable", "") if one.grade is None else ("", str(one.grade))
        row = told[f"precision{ending}", one.method, grade, ""]
        assert row["value"] == ("" if math.isnan(one.figures["precision"]) else f"{one.figures['precision']:.4f}")
        assert int(row["count"]) == one.read
    for group in evaluation.groups:
        row = told["auc_referable", "score", "", f"{group.column}: {group.label}"]
        assert float(row["value"]) == pytest.approx(group.figures["auc_referable"], abs=1e-4)
        assert int(row["count"]) == group.count
    assert float(told["referable_from", "operating", "", ""]["value"]) == pytest.approx(evaluation.operating, abs=1e-4)
    assert "auc_referable" in {row["figure"] for row in rows if row["method"] == "colours"}


def test_readings_of_older_bundles_have_no_operating_point() -> None:
    assert GradeCuts(np.array([0.5], np.float32), 0.5).operating is None
