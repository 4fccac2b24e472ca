"""The cohort in order, the grades its scores are read as, and which human grades differ."""

from __future__ import annotations

import math

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
def test_the_difference_is_the_nearest_grade_minus_the_human_grade(cohort: list[tuple[float, int | None]]) -> None:
    grades = graded([g for _, g in cohort])
    strip = rank(scored([s for s, _ in cohort]), grades, DIABETIC_RETINOPATHY)
    assert strip.read.tolist() == [min(4, math.floor(s + 0.5)) for s in strip.severity.tolist()]
    for image_id, read, difference in zip(strip.image_ids, strip.read.tolist(), strip.difference.tolist(), strict=True):
        human = grades[image_id]
        assert math.isnan(difference) if human is None else difference == read - human


@given(cohorts)
def test_a_photograph_is_read_alike_in_any_cohort(cohort: list[tuple[float, int | None]]) -> None:
    grades = graded([g for _, g in cohort])
    strip = rank(scored([s for s, _ in cohort]), grades, DIABETIC_RETINOPATHY)
    for severity, image_id, read in zip(strip.severity.tolist(), strip.image_ids, strip.read.tolist(), strict=True):
        alone = rank(scored([severity]), {f"{0:016x}": grades[image_id]}, DIABETIC_RETINOPATHY)
        assert alone.read.tolist() == [read]


def test_other_scales_are_read_by_their_own_grades() -> None:
    scale = Scale(1, ("none", "some", "much", "most"), None, "another")
    strip = rank(scored([1.1, 1.5, 2.49, 3.9]), graded([4, 2, 3, 1]), scale)
    assert strip.read.tolist() == [1, 2, 2, 4]
    assert strip.difference.tolist() == [-3, 0, -1, 3]
    assert flagged(strip) == (strip.image_ids[0], strip.image_ids[3])
    assert flagged(strip, least=1) == (strip.image_ids[0], strip.image_ids[3], strip.image_ids[2])


def test_flags_go_from_the_widest_to_the_least_and_skip_the_ungraded() -> None:
    grades: list[int | None] = [4, 0, 2, None, 1, 3, 0]
    strip = rank(scored([0.1, 0.2, 0.3, 0.4, 1.5, 2.4, 2.6]), graded(grades), DIABETIC_RETINOPATHY)
    assert flagged(strip) == tuple(strip.image_ids[k] for k in (0, 6, 2))
    gap = dict(zip(strip.image_ids, np.abs(strip.difference), strict=True))
    found = flagged(strip, least=1)
    assert set(found) == {image_id for image_id, size in gap.items() if size >= 1}
    assert [gap[i] for i in found] == sorted((gap[i] for i in found), reverse=True)


def test_a_cohort_without_grades_is_ranked_all_the_same() -> None:
    strip = rank(scored([2.0, 1.0]), {}, DIABETIC_RETINOPATHY)
    assert strip.image_ids == (f"{1:016x}", f"{0:016x}")
    assert strip.read.tolist() == [1, 2]
    assert np.isnan(strip.difference).all()
    assert flagged(strip) == ()


def test_a_grade_off_the_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="not on the scale"):
        rank(scored([2.0, 1.0]), graded([0, 5]), DIABETIC_RETINOPATHY)
