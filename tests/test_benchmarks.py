"""The assumptions of the benchmarks are true."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.ndimage import uniform_filter
from torch import nn

from atlas import load_scorer, write_cohort
from atlas.cohort.lesions import LESIONS
from atlas.drawn.paint import draw_eye
from atlas.records import Patches
from atlas.scorers.networks import NETWORKS, NetworkSpec

SIDE = 40


def benchmark(name: str) -> ModuleType:
    file = Path(__file__).resolve().parents[1] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{name}_benchmark", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def clusters() -> ModuleType:
    return benchmark("clusters")


def test_a_patch_that_holds_one_kind_of_lesion_is_of_that_kind(clusters: ModuleType) -> None:
    eye = draw_eye(5, 4, size=480)
    covered = {kind: uniform_filter(mask.astype(float), SIDE, mode="constant") for kind, mask in eye.masks.items()}
    boxes, expected = [], []
    for kind in (*eye.masks, None):
        others = sum((share for other, share in covered.items() if other != kind), np.zeros(eye.retina.shape))
        own = covered[kind] if kind else np.ones(eye.retina.shape)
        alone = np.where((others < 1e-9) & (own > 1e-9), own, 0)
        alone[:SIDE] = alone[-SIDE:] = alone[:, :SIDE] = alone[:, -SIDE:] = 0
        if alone.any():
            row, column = np.unravel_index(alone.argmax(), alone.shape)
            top, left = int(row) - SIDE // 2, int(column) - SIDE // 2
            boxes.append((top, left, top + SIDE, left + SIDE))
            expected.append(LESIONS.index(kind) + 1 if kind else 0)
    assert len(set(expected) - {0}) >= 3
    m = len(boxes)
    none = np.zeros((m, 0), np.float32)
    patches = Patches(("p",) * m, ("e",) * m, np.zeros((m, 3), np.int64), np.array(boxes), np.ones(m, np.float32), none, 0.2)
    shares = clusters.lesion_shares(patches, {"e": (eye.pixels, eye.masks)})
    assert clusters.patch_kinds(shares).tolist() == expected


def test_a_small_lesion_counts_against_its_own_kinds_size(clusters: ModuleType) -> None:
    # Medians 0.002 and 0.2: twice the usual of the small kind outweighs the usual of the large one.
    shares = np.array([[0.004, 0.2], [0.002, 0.4], [0.002, 0.0], [0.0, 0.04], [0.0, 0.2]])
    assert clusters.patch_kinds(shares).tolist() == [1, 2, 1, 0, 2]


def test_without_any_lesion_all_patches_are_of_no_kind(clusters: ModuleType) -> None:
    assert clusters.patch_kinds(np.zeros((3, 2))).tolist() == [0, 0, 0]


def test_losses_are_compared_on_each_set_and_small_sets_go_on_from_the_large_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(outputs: int) -> tuple[nn.Module, nn.Module]:
        trunk = nn.Sequential(nn.Conv2d(3, 8, 16, stride=16), nn.BatchNorm2d(8), nn.ReLU())
        return trunk, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, outputs))

    monkeypatch.setitem(NETWORKS, "small", NetworkSpec(small, words="A small network."))
    sets = []
    for number, name in enumerate(("large", "small")):
        write_cohort(20, tmp_path / name, seed=number, size=96)
        sets.append(f"{name}={tmp_path / name / 'images'},{tmp_path / name / 'grades.csv'}")
    folders = ["--out", str(tmp_path / "out"), "--store", str(tmp_path / "store")]
    settings = ["--network", "small", "--from-scratch", "--size", "64", "--epochs", "1", "--device", "cpu"]
    lines = benchmark("losses").main([*sets, *settings, *folders])
    assert [tuple(line.split()[:3]) for line in lines[1:]] == [
        (name, loss, classes) for loss in ("cross-entropy", "focal") for classes in ("two", "all") for name in ("large", "small")
    ]
    scorer = load_scorer(tmp_path / "out" / "small-focal-two")
    assert str(scorer.background.training["start"]).startswith("the scorer large-focal-two,")


def test_growth_is_measured_by_builds_and_told_as_a_power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "benchmarks"))
    growth = importlib.import_module("growth")
    write_cohort(3, tmp_path / "eyes", seed=1, size=96)
    files = growth.photographs_in(tmp_path / "eyes" / "images")
    assert len(files) == 3
    one = growth.measure(files, 2, ["--scorer", "synthetic-alexnet", "--lesion-net", "none"])
    assert {"photographs", "scores and maps", "site", "check"} <= one.stages.keys()
    assert one.took.processor > one.stages["scores and maps"]
    assert one.store > 2 * 1000
    assert one.atlas > 100_000  # scripts, styles and fonts alone
    ten = growth.Grown(20, one.took, one.store, one.atlas, one.stages)
    assert growth.power(one, ten, 1.0, 10.0) == pytest.approx(1)
    assert growth.power(one, ten, 1.0, 100.0) == pytest.approx(2)
    assert growth.power(one, ten, 3.0, 3.0) == 0
    assert growth.power(one, ten, 0.0, 0.01) == 0
    told = growth.told([one, growth.Grown(20, one.took, 10 * one.store, 10 * one.atlas, one.stages)], 64, 0.04)
    assert f"store: {one.store / 2 * growth.MANY / 1e9:,.0f} GB; atlas: {one.atlas / 2 * growth.MANY / 1e9:,.0f} GB" in told
    assert f"memory: {one.took.memory / 1e9:,.1f} GB" in told  # it did not grow


def test_bars_are_held_by_the_median_of_their_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "benchmarks"))
    bars, occlusion = importlib.import_module("bars"), importlib.import_module("occlusion")
    found = [bars.Bar("speed", [9.0, 1.0, 2.0], 2.0), bars.Bar("time", [9.0, 1.0, 2.1], 2.0, least=False)]
    assert [bar.holds for bar in found] == [True, False]
    assert [line.split(" | ")[1:] for line in bars.table(found).splitlines()[2:]] == [
        ["2", "1", "9", "at least 2", "yes |"],
        ["2.1", "1", "9", "at most 2", "**no** |"],
    ]
    assert bars.shown("/somebody/else/eyes/images") == "eyes/images"
    for pooled in (True, False):
        compared = occlusion.compare((16, 4, 4), pooled, images=2, rounds=2)
        assert compared.furthest < 1e-5, "captum's ablation computes the same"
        assert [len(values) for values in (compared.ratios, compared.cells, compared.windows)] == [2, 2, 2]
