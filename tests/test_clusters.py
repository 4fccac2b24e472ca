"""Clusters recover what was planted, in a stable order."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import v_measure_score
from threadpoolctl import threadpool_limits

from atlas.patterns.clusters import cluster, grade_shares, normalised, typical
from atlas.records import DIABETIC_RETINOPATHY, Patches, Scale


def make(descriptors: np.ndarray, per_image: int = 1) -> Patches:
    m = len(descriptors)
    images = tuple(f"{i // per_image:016x}" for i in range(m))
    cells = np.array([(0, i % per_image, 2) for i in range(m)], np.int64).reshape(-1, 3)
    ids = tuple(f"{image}-00{column:02d}w2" for image, (_, column, _) in zip(images, cells, strict=True))
    boxes = np.zeros((m, 4), np.int64)
    return Patches(ids, images, cells, boxes, np.ones(m, np.float32), descriptors.astype(np.float32), 0.2)


def blobs(sizes: tuple[int, ...], d: int = 16, spread: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    truth = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return rng.normal(size=(len(sizes), d))[truth] + rng.normal(0, spread, (len(truth), d)), truth


def test_planted_blobs_are_recovered() -> None:
    descriptors, truth = blobs((120, 90, 60, 30, 20))
    found = cluster(make(descriptors), k=5)
    assert v_measure_score(truth, found.labels) > 0.95
    assert found.labels.dtype == np.int64
    assert found.centroids.shape == (5, 16)


def test_labels_run_from_the_largest_cluster_to_the_smallest() -> None:
    found = cluster(make(blobs((20, 120, 30, 90, 60))[0]), k=5)
    sizes = np.bincount(found.labels)
    assert len(sizes) == 5
    assert (np.diff(sizes) <= 0).all()
    assert len(set(sizes)) > 1


def test_of_equal_clusters_the_one_with_the_earliest_patch_comes_first() -> None:
    descriptors = np.array([[5.0, 0], [0, 5], [9, 9], [5, 0], [9, 9], [0, 5]])
    assert cluster(make(descriptors), k=3).labels.tolist() == [0, 1, 2, 0, 2, 1]


def test_centroids_and_distances_are_those_of_the_members() -> None:
    patches = make(blobs((50, 40, 30))[0])
    found = cluster(patches, k=3)
    for label, centroid in enumerate(found.centroids):
        members = patches.descriptors[found.labels == label]
        np.testing.assert_allclose(centroid, members.mean(axis=0), atol=1e-5)
    away = np.linalg.norm(patches.descriptors[:, None] - found.centroids[None], axis=2)
    np.testing.assert_array_equal(away.argmin(axis=1), found.labels)
    np.testing.assert_allclose(found.distances, away.min(axis=1), rtol=1e-5)


def test_bytes_depend_on_the_seed_only_and_not_on_threads() -> None:
    patches = make(blobs((400,), spread=1.0)[0])
    results = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            results.append(cluster(patches, k=7, seed=3))
    for name in ("labels", "centroids", "distances"):
        assert getattr(results[0], name).tobytes() == getattr(results[1], name).tobytes()
    other = cluster(patches, k=7, seed=4)
    assert other.labels.tobytes() != results[0].labels.tobytes()


def test_global_random_state_is_left_alone() -> None:
    before = np.random.get_state()[1].tobytes()
    cluster(make(blobs((20, 20))[0]), k=2)
    assert np.random.get_state()[1].tobytes() == before


@pytest.mark.parametrize("distinct", [1, 3])
def test_too_few_distinct_descriptors_give_fewer_clusters_and_a_warning(distinct: int, caplog: pytest.LogCaptureFixture) -> None:
    descriptors = np.arange(9)[:, None] % distinct * np.ones((9, 4))
    with caplog.at_level(logging.WARNING, logger="atlas.clusters"):
        found = cluster(make(descriptors), k=20)
    assert len(found.centroids) == distinct
    assert len(caplog.records) == 1
    np.testing.assert_array_equal(found.labels, np.arange(9) % distinct)
    np.testing.assert_allclose(found.distances, 0, atol=1e-6)


def test_no_patches_give_no_clusters() -> None:
    found = cluster(make(np.empty((0, 4))))
    assert found.labels.shape == found.distances.shape == (0,)
    assert found.centroids.shape == (0, 4)
    assert grade_shares(found, make(np.empty((0, 4))), {}, DIABETIC_RETINOPATHY).shape == (0, 5)


@pytest.mark.parametrize("scale", [DIABETIC_RETINOPATHY, Scale(1, ("none", "some", "much"), None, "another")])
def test_grade_shares_count_each_clusters_graded_patches(scale: Scale) -> None:
    patches = make(blobs((60, 40, 20))[0], per_image=2)
    found = cluster(patches, k=3)
    ids = sorted(set(patches.image_ids))
    rng = np.random.default_rng(0)
    grades: dict[str, int | None] = {i: int(g) for i, g in zip(ids, rng.choice(scale.grades, len(ids)), strict=True)}
    grades[ids[0]] = None
    del grades[ids[1]]
    shares = grade_shares(found, patches, grades, scale)
    assert shares.shape == (3, len(scale.grades))
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    for label in range(3):
        own = [grades.get(i) for i, at in zip(patches.image_ids, found.labels, strict=True) if at == label]
        known = [grade for grade in own if grade is not None]
        for column, grade in enumerate(scale.grades):
            assert shares[label, column] == pytest.approx(known.count(grade) / len(known))


def test_grade_shares_join_by_id_and_not_by_position() -> None:
    patches = make(blobs((30, 20))[0])
    found = cluster(patches, k=2)
    grades: dict[str, int | None] = {image_id: i % 5 for i, image_id in enumerate(patches.image_ids)}
    turned = replace(patches, patch_ids=patches.patch_ids[::-1], image_ids=patches.image_ids[::-1])
    np.testing.assert_array_equal(
        grade_shares(found, turned, grades, DIABETIC_RETINOPATHY), grade_shares(found, patches, grades, DIABETIC_RETINOPATHY)
    )


def test_ungraded_clusters_have_no_shares() -> None:
    patches = make(blobs((30, 20))[0])
    assert not grade_shares(cluster(patches, k=2), patches, {}, DIABETIC_RETINOPATHY).any()


def test_typical_patches_are_the_closest_members() -> None:
    patches = make(blobs((50, 40))[0])
    found = cluster(patches, k=2)
    distance = dict(zip(found.patch_ids, found.distances, strict=True))
    label = dict(zip(found.patch_ids, found.labels, strict=True))
    for wanted in (0, 1):
        chosen = typical(found, wanted, 6)
        assert len(chosen) == 6
        assert {label[p] for p in chosen} == {wanted}
        near = [distance[p] for p in chosen]
        assert near == sorted(near)
        assert near[-1] <= min(distance[p] for p in found.patch_ids if label[p] == wanted and p not in chosen)
        assert set(typical(found, wanted, 999)) == {p for p in found.patch_ids if label[p] == wanted}


def test_normalised_channels_have_mean_zero_and_deviation_one() -> None:
    descriptors = np.abs(blobs((30, 20))[0]) * np.logspace(-3, 3, 16)
    made = normalised(make(descriptors))
    np.testing.assert_allclose(made.descriptors.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(made.descriptors.std(axis=0), 1, atol=1e-5)


def test_normalisation_takes_a_signed_root_and_keeps_the_order() -> None:
    made = normalised(make(np.array([[-4.0], [-1], [0], [1], [9]]))).descriptors[:, 0]
    steps = np.diff(made)
    np.testing.assert_allclose(steps / steps[0], [1, 1, 1, 2], rtol=1e-5)  # roots -2, -1, 0, 1, 3


def test_what_never_changes_is_nothing_to_compare() -> None:
    made = normalised(make(np.array([[0.3, 1.0, 0], [0.3, 2, 0], [0.3, 4, 0]]))).descriptors
    assert not made[:, [0, 2]].any()
    assert made[:, 1].any()


@pytest.mark.parametrize("m", [0, 1])
def test_patches_too_few_to_standardise_stay_finite(m: int) -> None:
    made = normalised(make(np.ones((m, 4))))
    assert made.descriptors.shape == (m, 4)
    assert not made.descriptors.any()


def test_a_loud_channel_does_not_hide_what_the_others_tell() -> None:
    descriptors, truth = blobs((60, 60))
    loud = np.column_stack([descriptors, np.random.default_rng(0).permutation(np.linspace(0, 1000, 120))])
    assert v_measure_score(truth, cluster(make(loud), k=2).labels) < 0.2
    assert v_measure_score(truth, cluster(normalised(make(loud)), k=2).labels) > 0.9
