"""More patches than can be compared at once: parts of them stand for all, and the results are nearly the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import v_measure_score
from sklearn.neighbors import NearestNeighbors
from test_clusters import blobs, make
from test_embedding import kept_neighbours
from threadpoolctl import threadpool_limits

from atlas.errors import ConfigurationError
from atlas.patterns import clusters, embedding, nearest, reduced, similar
from atlas.patterns.clusters import cluster, normalised
from atlas.patterns.embedding import embed
from atlas.patterns.places import map_of, read_places
from atlas.patterns.similar import most_alike


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (clusters, embedding, reduced):
        monkeypatch.setattr(module, "TOGETHER", 400)


def test_parts_are_standardised_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    patches = make(np.hstack([blobs((600, 400))[0], np.ones((1000, 1))]))
    whole = normalised(patches).descriptors
    monkeypatch.setattr(clusters, "TOGETHER", 300)
    monkeypatch.setattr(reduced, "TOGETHER", 300)
    before = patches.descriptors.copy()
    np.testing.assert_allclose(normalised(patches).descriptors, whole, atol=1e-5)
    np.testing.assert_array_equal(patches.descriptors, before)


def test_components_found_part_by_part_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    descriptors = blobs((300, 200, 100), d=70)[0].astype(np.float32)
    whole = reduced.principal(descriptors, 0)
    monkeypatch.setattr(reduced, "TOGETHER", 250)
    parts = reduced.principal(descriptors, 0)
    assert parts.shape == whole.shape == (600, 50)
    np.testing.assert_allclose(np.abs(parts[:, :2]), np.abs(whole[:, :2]), atol=1e-3)
    assert (parts**2).sum() >= (whole**2).sum(), "the leading components hold the most of the spread"
    np.testing.assert_allclose(parts.mean(axis=0), 0, atol=1e-6)


@pytest.mark.usefixtures("few_at_once")
def test_centroids_of_a_part_sort_all_patches() -> None:
    descriptors, truth = blobs((600, 450, 300, 150))
    found = cluster(make(descriptors), k=4)
    assert v_measure_score(truth, found.labels) > 0.95
    assert (np.diff(np.bincount(found.labels)) <= 0).all()
    away = np.linalg.norm(descriptors[:, None] - found.centroids[None], axis=2)
    np.testing.assert_array_equal(away.argmin(axis=1), found.labels)


@pytest.mark.usefixtures("few_at_once")
def test_patches_beyond_those_laid_out_together_lie_among_their_like() -> None:
    descriptors, truth = blobs((500, 400, 300), d=64, spread=0.6)
    made = embed(make(descriptors), seed=3)
    assert made.placed == 800
    near = NearestNeighbors(n_neighbors=2).fit(made.xy).kneighbors(return_distance=False)[:, 1]
    assert v_measure_score(truth, truth[near]) > 0.9
    random = np.random.default_rng(0).normal(size=made.xy.shape)
    assert kept_neighbours(descriptors, made.xy) > 3 * kept_neighbours(descriptors, random)
    with threadpool_limits(limits=2):
        assert embed(make(descriptors), seed=3).xy.tobytes() == made.xy.tobytes()


def test_old_patches_keep_their_places_and_new_ones_lie_among_their_like() -> None:
    descriptors, truth = blobs((90, 70, 50), d=32)
    patches = make(descriptors)
    old = replace(patches, patch_ids=patches.patch_ids[:150], descriptors=patches.descriptors[:150])
    places = {patch: (float(x), float(y)) for patch, (x, y) in zip(old.patch_ids, embed(old).xy, strict=True)}
    made = embed(patches, fixed=places)
    assert made.placed == 60
    np.testing.assert_array_equal(made.xy[:150], np.array([*places.values()], np.float32))
    near = NearestNeighbors(n_neighbors=1).fit(made.xy[:150]).kneighbors(made.xy[150:], return_distance=False)[:, 0]
    assert (truth[near] == truth[150:]).mean() > 0.95
    few = dict([*places.items()][:4])
    assert embed(patches, fixed=few).placed == 0, "too few to lie among"
    assert embed(patches, fixed=few).xy.tobytes() == embed(patches).xy.tobytes()


def test_approximate_neighbours_are_nearly_the_exact_ones_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    points = blobs((700, 500, 300), d=24, spread=1.0)[0].astype(np.float32)
    own, others = nearest.nearest(points, points, 6), nearest.nearest(points[:50] + 0.01, points, 5)
    exact = NearestNeighbors(n_neighbors=6, algorithm="brute").fit(points).kneighbors()
    assert (own[0][:, 0] == np.arange(len(points))).all()
    np.testing.assert_array_equal(own[0][:, 1:], exact[1][:, :5])
    monkeypatch.setattr(nearest, "EXACT", 1000)
    monkeypatch.setattr(similar, "EXACT", 1000)
    found = [nearest.nearest(points, points, 6, seed=1)]
    with threadpool_limits(limits=2):
        found.append(nearest.nearest(points, points, 6, seed=1))
    assert found[0][0].tobytes() == found[1][0].tobytes()
    assert np.mean([len(set(a) & set(b)) / 6 for a, b in zip(found[0][0], own[0], strict=True)]) > 0.95
    asked = nearest.nearest(points[:50] + 0.01, points, 5, seed=1)
    assert np.mean([len(set(a) & set(b)) / 5 for a, b in zip(asked[0], others[0], strict=True)]) > 0.9
    ids = [f"{k:04d}" for k in range(len(points))]
    alike = most_alike(ids, points)
    monkeypatch.setattr(similar, "EXACT", 10_000)
    right = most_alike(ids, points)
    assert (alike.others != np.arange(len(points))[:, None]).all()
    same = [len(set(a) & set(b)) / 6 for a, b in zip(alike.others, right.others, strict=True)]
    assert np.mean(same) > 0.9
    best = alike.others[:, 0] == right.others[:, 0]
    np.testing.assert_allclose(alike.cosine[best, 0], right.cosine[best, 0], atol=2e-5)


def test_places_are_read_from_an_atlas_and_from_nothing_else(tmp_path: Path) -> None:
    assert read_places(None) == {}
    with pytest.raises(ConfigurationError, match="no atlas with a map"):
        read_places(tmp_path)
    map_of(tmp_path).parent.mkdir()
    for text in ("patch_id,cluster\na,1\n", "patch_id,x,y\n", "patch_id,x,y\na,left,right\n", "\x00"):
        map_of(tmp_path).write_text(text, encoding="utf-8")
        with pytest.raises(ConfigurationError, match="no atlas with a map"):
            read_places(tmp_path)
    map_of(tmp_path).write_text("patch_id,x,y\na,0.25000,-1.00000\nb,,\n", encoding="utf-8")
    assert read_places(tmp_path) == {"a": (0.25, -1.0)}
