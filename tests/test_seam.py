"""A kind of scorer that no module knows works everywhere: in bundles, builds, maps, trust and evaluation."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation, LayerGradCam
from torch import nn

from atlas import build_atlas, load_configuration, load_scorer, write_cohort
from atlas.explain import occlusion
from atlas.photographs.decode import read_photograph
from atlas.photographs.preparations import prepare
from atlas.pipeline.build import BuildResult
from atlas.pipeline.cutting import Cutting
from atlas.pipeline.evaluate import evaluate_scorer
from atlas.pipeline.outlined import Outlining
from atlas.pipeline.photograph import Explaining, Preparing, Reading, prepare_photograph
from atlas.pipeline.report import build_report
from atlas.pipeline.sources import Scorers, trained_source
from atlas.pipeline.store import Store
from atlas.pipeline.trust import measure_trust
from atlas.records import DIABETIC_RETINOPATHY, Frame, GradedImage, Mark, Preprocessed, Target
from atlas.resources import DEFAULT_SCORER
from atlas.scorers.bundle import save_bundle
from atlas.scorers.networks import NETWORKS, Explained, NetworkScorer, NetworkSpec

SIZE = 64


class MixingHead(nn.Module):
    """A head that is not linear in cells: places are mixed before they are pooled."""

    def __init__(self, grades: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(12, 16, 3, padding=1)
        self.read = nn.Linear(16, grades)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return self.read(torch.tanh(self.mix(maps)).square().mean((2, 3)))


def build_network(grades: int) -> tuple[nn.Module, nn.Module]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        trunk = nn.Sequential(nn.Conv2d(3, 12, 8, stride=8), nn.BatchNorm2d(12), nn.ReLU())
        return trunk, MixingHead(grades)


@pytest.fixture(scope="module", autouse=True)
def known() -> Iterator[None]:
    """The one line that registers a network."""
    NETWORKS["mixing"] = NetworkSpec(build_network)
    yield
    del NETWORKS["mixing"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seam") / "eyes"
    write_cohort(24, folder, seed=7, size=160)
    return folder


@pytest.fixture(scope="module")
def losses() -> list[float]:
    return []


@pytest.fixture(scope="module")
def scorer(cohort: Path, losses: list[float]) -> NetworkScorer:
    """Trained for a few steps of cross entropy on all eyes."""
    trunk, head = build_network(5)
    files = sorted((cohort / "images").iterdir())
    grade = dict(line.split(",")[:2] for line in (cohort / "grades.csv").read_text().splitlines()[1:])
    pixels = [prepare("", read_photograph(file), size=SIZE, preparation="standardise").pixels for file in files]
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
    spec = NETWORKS["mixing"]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (spec.mean, spec.std))
    grades = torch.tensor([int(grade[file.stem]) for file in files])
    learners = nn.ModuleList([trunk, head])
    optimizer = torch.optim.Adam(learners.parameters(), lr=0.01)
    learners.train()
    for _ in range(25):
        loss = nn.functional.cross_entropy(head(trunk((images - mean) / std)), grades)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return NetworkScorer("few-steps", "mixing", trunk, head, DIABETIC_RETINOPATHY, "standardise", SIZE, card="# few-steps\n")


@pytest.fixture(scope="module")
def bundle(scorer: NetworkScorer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "few-steps"
    save_bundle(folder, scorer, half=False)
    return folder


@pytest.fixture(scope="module")
def built(cohort: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    folder = tmp_path_factory.mktemp("atlas")
    settings = {"images": cohort / "images", "grades": cohort / "grades.csv", "masks": cohort / "masks", "clusters": 3}
    settings |= {"scorer": str(bundle), "patches": "occlusion", "lesion_net": "none"}
    return build_atlas(load_configuration(out=folder / "out", store=folder / "store", **settings))


def photograph(cohort: Path, number: int) -> Preprocessed:
    file = sorted((cohort / "images").iterdir())[number]
    return prepare(f"{number:016x}", read_photograph(file), size=SIZE, preparation="standardise")


def test_a_few_steps_lower_the_loss(scorer: NetworkScorer, losses: list[float]) -> None:
    assert losses[-1] < 0.9 * losses[0]


def test_it_comes_back_from_its_bundle(scorer: NetworkScorer, bundle: Path, cohort: Path) -> None:
    assert json.loads((bundle / "scorer.json").read_text())["kind"] == "network"
    loaded = load_scorer(bundle)
    assert loaded.sha256 == scorer.sha256
    assert loaded.name == "few-steps"
    one = photograph(cohort, 0)
    assert loaded.predict([one])[0].severity == scorer.predict([one])[0].severity


def test_hiding_cells_runs_the_head_again_and_equals_captum(scorer: NetworkScorer, cohort: Path) -> None:
    for number in (0, 5, 11):
        (found,) = scorer.predict([photograph(cohort, number)])
        rows, columns = found.grid
        cell = torch.arange(rows * columns).reshape(1, 1, rows, columns)

        def severity(maps: torch.Tensor) -> torch.Tensor:
            return torch.softmax(scorer.head(maps).double(), 1) @ torch.arange(5, dtype=torch.float64)

        maps = torch.from_numpy(found.maps)[None]
        assert found.severity["dr"] == pytest.approx(float(severity(maps)[0]), abs=1e-5)
        expected = FeatureAblation(severity).attribute(maps, feature_mask=cell)[0, 0]
        ours = occlusion.drops(found, "dr")
        assert np.ptp(ours) > 1e-3
        np.testing.assert_allclose(ours, expected.numpy(), atol=1e-5)


def test_hiding_many_sets_of_cells_at_once_equals_hiding_each(scorer: NetworkScorer, cohort: Path) -> None:
    (found,) = scorer.predict([photograph(cohort, 3)])
    masks = np.random.default_rng(0).random((150, *found.grid)) < 0.4
    together = found.without("dr", masks)
    alone = [found.without("dr", mask[None])[0] for mask in masks]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_gradcam_equals_captum_and_does_not_vanish(scorer: NetworkScorer, cohort: Path) -> None:
    (found,) = scorer.predict([photograph(cohort, 3)])
    weights = np.linspace(-1, 1, 5).astype(np.float32)
    explained = Explained(scorer.head, weights)
    maps = torch.from_numpy(found.maps.copy())[None].requires_grad_()
    expected = LayerGradCam(explained, explained.maps).attribute(maps, relu_attributions=False)
    ours = found.gradcam("dr")
    assert ours.shape == found.grid
    assert np.ptp(ours) > 1e-4
    np.testing.assert_allclose(ours, expected.detach().numpy()[0, 0], atol=1e-6)
    outputs = scorer.head(torch.from_numpy(found.maps)[None]).numpy()[0]
    assert float(explained(torch.from_numpy(found.maps)[None])) == pytest.approx(float(outputs @ weights), abs=1e-5)


def test_it_is_built_into_an_atlas_and_explained(built: BuildResult) -> None:
    atlas = built.atlas
    assert not built.report.unreadable
    assert len(atlas.dataset.images) == 24
    assert np.ptp(atlas.scores.severity) > 0.05
    assert atlas.maps.method == "occlusion"
    assert [maps.method for maps in atlas.other_maps] == ["gradcam", *(f"gradcam-grade-{grade}" for grade in range(5))]
    assert np.abs(atlas.maps.values).max() > 0
    assert atlas.patches is not None
    assert atlas.patches.descriptors.shape[1] == 12
    assert atlas.trust is not None
    np.testing.assert_allclose(atlas.trust.deletion[:, 0], atlas.scores.severity, atol=1e-4)
    assert atlas.evaluation is not None
    assert any((built.out / "masks").iterdir())


def test_its_pages_offer_no_live_hiding_and_say_why(built: BuildResult) -> None:
    image_id = built.atlas.dataset.image_ids[0]
    page = (built.out / "images" / f"{image_id}.html").read_text("utf-8")
    assert 'data-live="mode"' not in page
    assert "Places cannot be hidden on this page" in page
    cells = (built.out / "cells" / f"{image_id}.js").read_text("utf-8")
    assert '"live":null' in cells


def test_its_trust_is_measured_and_its_agreement_kept(cohort: Path, bundle: Path, tmp_path: Path) -> None:
    settings = {"images": cohort / "images", "grades": cohort / "grades.csv", "scorer": str(bundle), "store": tmp_path}
    configuration = load_configuration(**settings)
    entry, _ = measure_trust(configuration, cohort / "masks", record="drawn eyes")
    assert [row["map"] for row in entry["maps"]] == ["occlusion", "gradcam", "centre", "random"]
    assert all(row["hit"] is not None for row in entry["maps"])
    assert entry["maps"][0]["all_scrambled"] is not None
    evaluation, _ = evaluate_scorer(configuration, record="drawn eyes", command="atlas evaluate IMAGES")
    assert evaluation.count == 24
    kept = load_scorer(bundle).background
    assert [one["name"] for one in kept.trust] == [one["name"] for one in kept.evaluations] == ["drawn eyes"]
    assert "drawn eyes" in kept.card


def test_a_report_is_written(cohort: Path, bundle: Path, tmp_path: Path) -> None:
    files = sorted((cohort / "images").iterdir())[:2]
    configuration = load_configuration(scorer=str(bundle), lesion_net="none", store=tmp_path / "store")
    report = build_report(files, tmp_path / "report.html", configuration)
    assert not report.unreadable
    assert "Places cannot be hidden on this page" in (tmp_path / "report.html").read_text("utf-8")


def test_items_are_small_and_all_that_a_worker_is_given_can_be_pickled(cohort: Path, tmp_path: Path) -> None:
    """This lets the same tasks run in other processes, and on other machines."""
    source = trained_source(DEFAULT_SCORER, DIABETIC_RETINOPATHY)
    store, target = Store(tmp_path), Target.of(DIABETIC_RETINOPATHY)
    image = GradedImage("0" * 16, sorted((cohort / "images").iterdir())[0], 2, "patient", "left")
    coverage = np.ones((40, 40), np.float32)
    scorers = Scorers((source.scorer,), {image.image_id: 0}, fitted=False)
    items = [
        image,
        Reading(image.image_id, 0, coverage, Frame(0, 0, 9), tuple(Mark("hard_exudate", (0, 0, 9, 9)) for _ in range(500))),
        Cutting(
            image, Frame(0, 0, 9), tmp_path, [f"{image.image_id}-{k:04d}w2" for k in range(200)], np.zeros((200, 4), np.int64)
        ),
        Outlining(image.image_id, "name", Frame(0, 0, 9), (9, 9), (tmp_path / "a.png",)),
    ]
    for item in items:
        packed = pickle.dumps(item)
        assert len(packed) < 100_000, type(item)
        assert type(pickle.loads(packed)) is type(item)
    shared = (Preparing(source, store), Explaining(source, scorers, store, target, "occlusion", 1, 2))
    there, _ = pickle.loads(pickle.dumps(shared))
    here = prepare_photograph(image, shared[0])
    elsewhere = prepare_photograph(image, Preparing(there.source, Store(tmp_path / "elsewhere")))
    for name in ("frame", "shape", "camera"):
        assert getattr(here, name) == getattr(elsewhere, name)
    assert here.photograph.read_bytes() == elsewhere.photograph.read_bytes()
    entries = [sorted(root.glob("predictions/*/*/arrays.safetensors")) for root in (tmp_path, tmp_path / "elsewhere")]
    assert entries[0][0].read_bytes() == entries[1][0].read_bytes()
