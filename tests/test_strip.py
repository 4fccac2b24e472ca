"""The cohort in order, and who disagrees with it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.agreement.ranking import flagged, rank
from atlas.records import DIABETIC_RETINOPATHY, Scale, Scores


def scored(severity: list[float]) -> Scores:
    return Scores(tuple(f"{i:016x}" for i in range(len(severity))), np.array(severity, np.float32), out_of_fold=True)


def graded(grades: list[int | None]) -> dict[str, int | None]:
    return {f"{i:016x}": grade for i, grade in enumerate(grades)}


cohorts = st.lists(
    st.tuples(st.integers(0, 64).map(lambda n: n / 16), st.one_of(st.none(), st.integers(0, 4))), min_size=1, max_size=40
)


@given(cohorts)
def test_images_are_in_ascending_severity_and_ties_in_id_order(cohort: list[tuple[float, int | None]]) -> None:
    scores = scored([s for s, _ in cohort])
    strip = rank(scores, graded([g for _, g in cohort]), DIABETIC_RETINOPATHY)
    assert sorted(strip.image_ids) == sorted(scores.image_ids)
    keys = list(zip(strip.severity.tolist(), strip.image_ids, strict=True))
    assert keys == sorted(keys)
    assert all(scores.by_id()[image_id] == severity for severity, image_id in keys)


@given(cohorts)
def test_disagreement_is_known_where_a_grade_is_and_adds_up_to_nothing(cohort: list[tuple[float, int | None]]) -> None:
    grades = graded([g for _, g in cohort])
    strip = rank(scored([s for s, _ in cohort]), grades, DIABETIC_RETINOPATHY)
    known = np.array([grades[i] is not None for i in strip.image_ids])
    np.testing.assert_array_equal(np.isfinite(strip.disagreement), known)
    assert strip.disagreement[known].sum() == pytest.approx(0, abs=1e-4)
    assert (np.abs(strip.disagreement[known]) <= DIABETIC_RETINOPATHY.span).all()


@given(cohorts)
def test_a_shrinking_score_disagrees_no_more(cohort: list[tuple[float, int | None]]) -> None:
    """The sigmoid's reluctance to reach its ends is a rising function, and must not count as disagreement."""
    grades = graded([g for _, g in cohort])
    straight = rank(scored([s for s, _ in cohort]), grades, DIABETIC_RETINOPATHY)
    shrunk = rank(scored([1.2 + 0.1 * s**2 for s, _ in cohort]), grades, DIABETIC_RETINOPATHY)
    assert shrunk.image_ids == straight.image_ids
    np.testing.assert_array_equal(shrunk.disagreement, straight.disagreement)


def test_scores_that_keep_the_grades_order_do_not_disagree() -> None:
    strip = rank(scored([0.9, 0.2, 1.4, 2.9, 0.3, 2.2]), graded([1, 0, 2, 4, 0, 3]), DIABETIC_RETINOPATHY)
    assert not strip.disagreement.any()


def test_an_exchanged_pair_disagrees_by_its_grades() -> None:
    scale = Scale(1, ("none", "some", "much", "most"), None, "another")
    severity, grades = [1.1, 1.5, 2.0, 3.0], [4, 2, 3, 1]
    strip = rank(scored(severity), graded(grades), scale)
    assert strip.disagreement.tolist() == [-3.0, 0.0, 0.0, 3.0]
    assert flagged(strip) == (strip.image_ids[0], strip.image_ids[3])
    assert flagged(strip, least=3.1) == ()


def test_equal_scores_share_the_mean_of_their_grades() -> None:
    strip = rank(scored([1.0, 1.0, 3.0]), graded([0, 1, 4]), DIABETIC_RETINOPATHY)
    assert strip.disagreement.tolist() == [0.5, -0.5, 0.0]


def test_flags_go_from_the_widest_to_the_least_and_skip_the_ungraded() -> None:
    grades: list[int | None] = [4, 0, 2, None, 1, 3, 0]
    strip = rank(scored([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]), graded(grades), DIABETIC_RETINOPATHY)
    gap = dict(zip(strip.image_ids, np.abs(strip.disagreement), strict=True))
    found = flagged(strip, least=1.0)
    assert set(found) == {image_id for image_id, size in gap.items() if size >= 1}
    assert [gap[i] for i in found] == sorted((gap[i] for i in found), reverse=True)


def test_a_cohort_without_grades_is_ranked_all_the_same() -> None:
    strip = rank(scored([2.0, 1.0]), {}, DIABETIC_RETINOPATHY)
    assert strip.image_ids == (f"{1:016x}", f"{0:016x}")
    assert np.isnan(strip.disagreement).all()
    assert flagged(strip) == ()


def test_a_grade_off_the_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="not on the scale"):
        rank(scored([2.0, 1.0]), graded([0, 5]), DIABETIC_RETINOPATHY)
