"""Scorers of different kinds side by side: one score, one map, made of what each member saw."""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from javascript import evaluate

from atlas.bundles import sealed
from atlas.cohort.dataset import read_files
from atlas.config import load_configuration
from atlas.drawn.cohort import write_cohort
from atlas.errors import ScorerError
from atlas.lesionnets.bundle import load_lesion_net
from atlas.photographs.frames import spread
from atlas.photographs.preparations import prepare
from atlas.pictures.live import encode_cells
from atlas.pipeline.build import build_atlas
from atlas.pipeline.evaluate import evaluate_scorer
from atlas.pipeline.photograph import open_photograph
from atlas.pipeline.side_by_side import put_side_by_side
from atlas.pipeline.store import Store
from atlas.records import DIABETIC_RETINOPATHY, Preprocessed
from atlas.scorers.bundle import load_scorer, load_transferred, save_bundle
from atlas.scorers.prediction import LinearPrediction
from atlas.scorers.readouts import Head
from atlas.scorers.side_by_side import SideBySideScorer, members_of, shown_to
from atlas.scorers.two_stage import CELLS, TwoStageScorer, plain_channels


def lesions_alone() -> TwoStageScorer:
    """A two-stage scorer whose head counts exudates and haemorrhages."""
    net = load_lesion_net("lesions-squeezenet")
    weight = np.zeros((2, plain_channels(net.kinds), 1, 1), np.float32)
    per_region = 2 * len(net.kinds)
    for region in range(3):
        first = region * per_region + len(net.kinds)
        weight[:, first + net.kinds.index("hard_exudate"), 0, 0] = 0.1, 0.001
        weight[:, first + net.kinds.index("haemorrhage"), 0, 0] = 0.001, 0.1
    head = Head(weight, np.zeros(2, np.float32), np.array([1.5, 0.5], np.float32), -1.0)
    return TwoStageScorer("lesions-alone", net, head, DIABETIC_RETINOPATHY)


@pytest.fixture(scope="module")
def scorer() -> SideBySideScorer:
    members = members_of([load_transferred("eyepacs-pair"), lesions_alone()])
    return SideBySideScorer("both", members, DIABETIC_RETINOPATHY, stretch=1.25, shift=-0.5)


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eyes")
    write_cohort(20, folder, seed=3, size=420)
    return folder


@pytest.fixture(scope="module")
def seen(scorer: SideBySideScorer, eyes: Path) -> Preprocessed:
    path = sorted((eyes / "images").iterdir())[5]
    decoded, found = open_photograph(path)
    return prepare(path.stem, decoded.pixels, size=scorer.size, preparation=scorer.preparation, found=found)


@pytest.fixture(scope="module")
def found(scorer: SideBySideScorer, seen: Preprocessed) -> LinearPrediction:
    return scorer.predict([seen])[0]


def test_what_cells_hold_is_spread_over_their_area() -> None:
    values = np.random.default_rng(0).normal(size=(12 * 12, 3)).astype(np.float32)
    fine = spread(values, (12, 12), (32, 32))
    np.testing.assert_allclose(fine.sum(axis=0), values.sum(axis=0), rtol=1e-4)
    quarters = spread(values, (12, 12), (24, 24)).reshape(24, 24, 3)
    np.testing.assert_allclose(quarters[6, 9], values.reshape(12, 12, 3)[3, 4] / 4, rtol=1e-6)
    assert spread(values, (12, 12), (12, 12)) is values
    one = np.zeros((12 * 12, 1), np.float32)
    one[0] = 1.0
    corner = spread(one, (12, 12), (32, 32)).reshape(32, 32)
    assert corner[0, 0] == pytest.approx((12 / 32) ** 2)
    assert corner[2, 0] == pytest.approx(12 / 32 * (1 - 2 * 12 / 32))  # the cell's lower edge lies in it
    assert corner[3:].max() == 0


def test_the_logit_is_the_mean_of_all_networks(scorer: SideBySideScorer, seen: Preprocessed, found: LinearPrediction) -> None:
    pair, lesions = (member.predict([shown_to(member, seen)])[0].logit("dr") for member in scorer.members)
    assert scorer.shares == pytest.approx((2 / 3, 1 / 3))  # the pair holds two networks
    assert found.logit("dr") == pytest.approx(1.25 * (2 * pair + lesions) / 3 - 0.5, abs=1e-4)
    assert found.grid == (CELLS, CELLS)
    alone = found.members("dr")
    assert len(alone) == 3
    assert alone[2] == pytest.approx(lesions, abs=1e-5)


def test_hiding_a_cell_takes_from_each_member_what_it_saw_there(scorer: SideBySideScorer, found: LinearPrediction) -> None:
    everything = np.ones((1, CELLS, CELLS), np.bool_)
    heads = [member.head for member in scorer.members]
    nothing = [own.output_bias + own.output_weight @ np.maximum(own.hidden_bias, 0) for own in heads if isinstance(own, Head)]
    assert found.logits_without("dr", everything)[0] == pytest.approx(1.25 * (2 * nothing[0] + nothing[1]) / 3 - 0.5, abs=1e-3)
    # Three quarters down runs a line of both grids: above it, all members hide whole cells.
    upper = np.zeros((1, CELLS, CELLS), np.bool_)
    upper[:, : 3 * CELLS // 4] = True
    parts = [scorer.members[k].restore(kept(found, k)) for k in range(2)]
    masks = []
    for part in parts:
        own = np.zeros((1, *part.grid), np.bool_)
        own[:, : 3 * part.grid[0] // 4] = True
        masks.append(own)
    pair, lesions = (part.logits_without("dr", own)[0] for part, own in zip(parts, masks, strict=True))
    assert found.logits_without("dr", upper)[0] == pytest.approx(1.25 * (2 * pair + lesions) / 3 - 0.5, abs=1e-3)
    heat = [part.gradcam("dr").sum() for part in parts]
    assert found.gradcam("dr").sum() == pytest.approx(1.25 * (2 * heat[0] + heat[1]) / 3, rel=1e-3, abs=1e-4)


def kept(found: LinearPrediction, place: int) -> dict[str, np.ndarray]:
    return {name.split(".")[1]: own for name, own in found.arrays().items() if name.startswith(f"{place}.")}


def test_it_is_restored_from_what_the_store_keeps(scorer: SideBySideScorer, found: LinearPrediction) -> None:
    again = scorer.restore(found.arrays())
    assert again.severity == found.severity
    np.testing.assert_array_equal(again.sums, found.sums)
    # The coarse member's sums are kept on its own grid.
    assert sum(own.nbytes for own in found.arrays().values()) < found.sums.nbytes / 2


def test_a_page_gets_each_part_on_its_own_grid(found: LinearPrediction) -> None:
    live = found.live("dr")
    assert live is not None
    inside = np.ones(live.grid, np.bool_)
    inside[:4] = False
    told = json.loads(encode_cells(live, inside))
    assert [part["shape"] for part in told["parts"]] == [[12, 12], [CELLS, CELLS]]
    assert sum(len(part.get("units", part["step"])) for part in told["parts"]) == len(told["whole"])
    units = [len(part["step"]) for part in told["parts"]]  # those that add up the same are told once
    sizes = [len(base64.b64decode(part["sums"])) for part in told["parts"]]
    assert sizes == [3 * 144 * units[0], 3 * int(inside.sum()) * units[1]]


def test_a_page_hides_cells_as_the_scorer_does(found: LinearPrediction) -> None:
    live = found.live("dr")
    assert live is not None
    inside = np.ones(live.grid, np.bool_)
    cells = {"live": json.loads(encode_cells(live, inside)), "scale": {"lowest": 0, "span": 4}}
    random = np.random.default_rng(2)
    hidden = [random.random(live.grid) < share for share in (0, 0.02, 0.4, 1.0)]
    got = evaluate(
        ["model"],
        "[page.AtlasModel(given[0])].flatMap((head) => [head.whole, ...given[1].map((hidden) => head.without(new Set(hidden)))])",
        [cells, [np.flatnonzero(left).tolist() for left in hidden]],
    )
    wanted = [float(found.without("dr", left[None])[0]) for left in (hidden[0], *hidden)]
    assert got == pytest.approx(wanted, abs=1e-3)


def test_its_parts_are_scrambled_and_told_on_other_scales(scorer: SideBySideScorer) -> None:
    assert scorer.scrambled(1).sha256 != scorer.sha256
    assert replace(scorer, shift=0.0).sha256 != scorer.sha256
    other = replace(DIABETIC_RETINOPATHY, lowest=1)
    assert scorer.on(other).targets[0].scale.lowest == 1
    with pytest.raises(ScorerError, match="has another scale"):
        SideBySideScorer("odd", scorer.members, other)
    with pytest.raises(ScorerError, match="cannot be combined with others: side-by-side"):
        members_of([scorer])


def test_photographs_to_learn_from_are_not_looked_at_where_the_split_is_published(eyes: Path, tmp_path: Path) -> None:
    head, *rows = (eyes / "grades.csv").read_text("utf-8").splitlines()
    splits = ["train", "train", "validation", "test"]  # of every four patients
    told = [f"{head},split", *(f"{row},{splits[place // 2 % 4]}" for place, row in enumerate(rows))]
    (tmp_path / "grades.csv").write_text("\n".join(told) + "\n", "utf-8", newline="\n")
    save_bundle(tmp_path / "lesions-alone", lesions_alone(), half=False)
    members = members_of([load_scorer("eyepacs-pair"), load_scorer(tmp_path / "lesions-alone")])
    store = Store(tmp_path / "store")
    settings = load_configuration(training=True, images=eyes / "images", grades=tmp_path / "grades.csv", store=store.root)
    made, _ = put_side_by_side(settings, tmp_path / "both", members)
    counts = made.training["photographs"]
    assert counts == {"training": 12, "validation": 4, "test": 4}
    assert len(list((store.root / "logits").glob("*/*"))) == counts["validation"] + counts["test"]
    assert made.training["threshold"] == "of validation scores"
    assert made.background.reading is not None
    assert np.isfinite(made.background.reading.cuts).all()
    assert "nan" not in (tmp_path / "both" / "scorer.json").read_text("utf-8").casefold()


def test_it_is_calibrated_bundled_evaluated_and_built_into_an_atlas(eyes: Path, tmp_path: Path) -> None:
    save_bundle(tmp_path / "lesions-alone", lesions_alone(), half=False)
    settings = {"images": eyes / "images", "grades": eyes / "grades.csv", "store": tmp_path / "store"}
    members = members_of([load_scorer("eyepacs-pair"), load_scorer(tmp_path / "lesions-alone")])
    made, report = put_side_by_side(load_configuration(training=True, **settings), tmp_path / "both", members)
    assert not report.unreadable
    assert made.sha256 == load_scorer(tmp_path / "both").sha256
    assert made.background.reading is not None
    assert "Several scorers read the photograph side by side (eyepacs-pair, lesions-alone)" in made.card
    facts = json.loads((tmp_path / "both" / "scorer.json").read_text("utf-8"))
    assert [member["name"] for member in facts["members"]] == ["eyepacs-pair", "lesions-alone"]
    drawn = read_files(sorted((eyes / "images").iterdir()), scale=made.scale)
    met, unmet = (
        [image.path for image in drawn.images if (image.image_id in made.background.learned) is known] for known in (True, False)
    )
    (tmp_path / "few").mkdir()
    for path in (*met[:2], *unmet[:4]):
        shutil.copy(path, tmp_path / "few")
    settings |= {"scorer": str(tmp_path / "both"), "images": tmp_path / "few"}
    evaluation, _ = evaluate_scorer(load_configuration(**settings))
    assert evaluation.count == len(unmet[:4]) > 0
    atlas = build_atlas(load_configuration(**settings, limit=6, clusters=2, out=tmp_path / "site")).atlas
    assert atlas.maps.values.shape[1:] == (CELLS, CELLS)
    page = (tmp_path / "site" / "images" / f"{atlas.dataset.image_ids[0]}.html").read_text("utf-8")
    assert 'data-live="mode"' in page
    methods = (tmp_path / "site" / "methods.html").read_text("utf-8")
    assert "Several scorers read the photograph side by side (eyepacs-pair, lesions-alone)" in methods
    assert "<li>eyepacs-pair: A convolutional trunk" in methods
    facts["members"][1]["sha256"] = "0" * 64
    del facts["sha256"]
    (tmp_path / "both" / "scorer.json").write_text(json.dumps(sealed(facts)), "utf-8")
    with pytest.raises(ScorerError, match="another version of scorer lesions-alone"):
        load_scorer(tmp_path / "both")
