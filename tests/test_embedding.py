"""Layouts keep neighbours, and come out the same every time."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import v_measure_score
from sklearn.neighbors import NearestNeighbors
from test_clusters import blobs, make
from threadpoolctl import threadpool_limits

from atlas.errors import ConfigurationError
from atlas.patterns.embedding import LAYOUTS, embed


def kept_neighbours(high: np.ndarray, low: np.ndarray, k: int = 10) -> float:
    """The mean share of each point's k nearest neighbours that are still among its k nearest."""
    near = [NearestNeighbors(n_neighbors=k).fit(x).kneighbors(return_distance=False) for x in (high, low)]
    return float(np.mean([len(set(a) & set(b)) / k for a, b in zip(*near, strict=True)]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_neighbours_are_kept_and_blobs_stay_apart(layout: str) -> None:
    descriptors, truth = blobs((80, 60, 40, 30), d=64, spread=0.6)
    made = embed(make(descriptors), layout=layout)
    random = np.random.default_rng(0).normal(size=made.xy.shape)
    plane = descriptors[:, :2]
    kept = kept_neighbours(descriptors, made.xy)
    assert kept > 3 * kept_neighbours(descriptors, random)
    assert kept > kept_neighbours(descriptors, plane)
    nearest = NearestNeighbors(n_neighbors=1).fit(made.xy).kneighbors(return_distance=False)[:, 0]
    assert v_measure_score(truth, truth[nearest]) > 0.9
    assert made.method == layout


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_gradual_change_runs_from_side_to_side_whatever_the_seed(layout: str) -> None:
    rng = np.random.default_rng(4)
    stage = rng.permutation(np.linspace(0, 1, 600))
    descriptors = 8 * stage[:, None] * rng.normal(size=20) + rng.normal(0, 3, (600, 20))
    for seed in range(3):
        xy = embed(make(descriptors), layout=layout, seed=seed).xy
        assert abs(spearmanr(xy[:, 0], stage).statistic) > 0.9


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("m", [2, 3, 4, 5, 6, 17])
@pytest.mark.parametrize("d", [1, 3])
def test_few_patches_are_laid_out_in_silence(layout: str, m: int, d: int, caplog: pytest.LogCaptureFixture) -> None:
    patches = make(np.random.default_rng(0).normal(size=(m, d)))
    made = embed(patches, layout=layout)
    assert made.patch_ids == patches.patch_ids
    assert made.xy.shape == (m, 2)
    assert made.xy.dtype == np.float32
    np.testing.assert_allclose(made.xy.mean(axis=0), 0, atol=1e-5)
    assert np.linalg.norm(made.xy, axis=1).max() == pytest.approx(1, abs=1e-5)
    assert not caplog.records


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("m", [0, 1, 4, 9])
def test_patches_all_alike_lie_at_the_origin(layout: str, m: int) -> None:
    made = embed(make(np.full((m, 8), 0.7)), layout=layout)
    assert made.xy.shape == (m, 2)
    assert not made.xy.any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_many_copies_do_not_break_a_layout(layout: str) -> None:
    descriptors = np.repeat(np.random.default_rng(0).normal(size=(3, 8)), 20, axis=0)
    made = embed(make(descriptors), layout=layout)
    assert np.isfinite(made.xy).all()
    assert np.ptp(made.xy) > 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bytes_depend_on_the_seed_only_and_not_on_threads(layout: str) -> None:
    patches = make(blobs((60, 40), d=80)[0])
    before = np.random.get_state()[1].tobytes()
    made = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            made.append(embed(patches, layout=layout, seed=5).xy.tobytes())
    assert made[0] == made[1]
    assert np.random.get_state()[1].tobytes() == before
    assert embed(patches, layout=layout, seed=6).xy.tobytes() != made[0]


def test_another_process_with_other_threads_gives_the_same_bytes() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_clusters import *; from atlas.patterns.embedding import embed;"
        "print(embed(make(blobs((60, 40), d=80)[0]), seed=5).xy.tobytes().hex(), 'numba' in sys.modules)"
    )
    here = os.path.dirname(__file__)  # noqa: PTH120
    environment = os.environ | {f"{name}_NUM_THREADS": "2" for name in ("OMP", "OPENBLAS", "NUMBA", "MKL")}
    made = subprocess.run([sys.executable, "-c", code, here], env=environment, check=True, capture_output=True, text=True).stdout
    places, compiles = made.split()
    assert compiles == "False", "t-SNE needs no compiler, which takes a second to load"
    with threadpool_limits(limits=1):
        assert bytes.fromhex(places) == embed(make(blobs((60, 40), d=80)[0]), seed=5).xy.tobytes()


def test_an_unknown_layout_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="spiral") as caught:
        embed(make(np.eye(6)), layout="spiral")
    assert all(name in str(caught.value) for name in LAYOUTS)
