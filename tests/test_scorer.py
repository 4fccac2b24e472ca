"""Scorers: the exact arithmetic of the head, and bundles that are loaded unchanged or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from asked import read_all, severities
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from atlas.bundles import sealed
from atlas.errors import ScorerError
from atlas.records import Frame, Preprocessed, Scale
from atlas.resources import DEFAULT_SCORER, models_folder
from atlas.scorers.bundle import load_scorer, save_bundle, shipped_scorers
from atlas.scorers.card import write_card
from atlas.scorers.readouts import Classifier, Head, cell_sums, first_sums
from atlas.scorers.transferred import TransferredScorer
from atlas.scorers.trunks import Trunk, load_trunk, new_module

SIZE = 64
THREE_GRADES = Scale(lowest=1, names=("clear", "hazy", "opaque"), referable=3, disease="cataract")


def random_head(hidden: int, channels: int, rows: int, columns: int, seed: int = 0) -> Head:
    """A head whose logits are of order one."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    weight = normal(hidden, channels, rows, columns) / np.float32(np.sqrt(channels * rows * columns))
    return Head(weight, normal(hidden), normal(hidden) / np.float32(np.sqrt(hidden)), float(np.float32(rng.normal())))


def random_maps(count: int, channels: int, rows: int, columns: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, channels, rows, columns)).astype(np.float32)


def sums_of(maps: np.ndarray, head: Head) -> np.ndarray:
    return np.stack([cell_sums(one, head) for one in maps])


def first_layer(head: Head) -> torch.nn.Linear:
    """The head's first layer as torch has it, in double precision."""
    hidden = len(head.hidden_bias)
    layer = torch.nn.Linear(head.hidden_weight[0].size, hidden, dtype=torch.float64)
    layer.load_state_dict(
        {"weight": torch.from_numpy(head.hidden_weight.reshape(hidden, -1)), "bias": torch.from_numpy(head.hidden_bias)}
    )
    return layer.requires_grad_(False)


def slow_severity(head: Head, maps: np.ndarray, scale: Scale) -> np.ndarray:
    """The regressor written out with torch's layers."""
    z = first_layer(head)(torch.from_numpy(maps).double().flatten(1))
    logits = torch.relu(z) @ torch.from_numpy(head.output_weight).double() + head.output_bias
    unit: np.ndarray = torch.sigmoid(logits).numpy()
    return np.array([scale.from_unit(value) for value in unit])


def whole(maps: np.ndarray, head: Head) -> np.ndarray:
    return np.stack([first_sums(one, head) for one in maps])


@pytest.fixture(scope="module")
def trunk() -> Trunk:
    return load_trunk("squeezenet1_1", new_module("squeezenet1_1", 0).state_dict(), size=SIZE)


@pytest.fixture
def scorer(trunk: Trunk) -> TransferredScorer:
    return TransferredScorer(
        name="cataract-squeezenet",
        trunk=trunk,
        head=random_head(8, trunk.channels, *trunk.shape),
        scale=THREE_GRADES,
        preparation="contrast",
        card="# Kärtchen\r\n\nLearned on nothing.\n",
        training={"epochs": 3, "loss": 0.25, "seeds": [1, 2]},
    )


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)


scores = severities


def test_a_pooled_head_equals_the_same_head_laid_over_all_cells() -> None:
    (maps,) = random_maps(1, 40, 5, 7)
    pooled = random_head(8, 40, 1, 1)
    laid_over = replace(pooled, hidden_weight=np.broadcast_to(pooled.hidden_weight, (8, 40, 5, 7)))
    once, by_cell = cell_sums(maps, pooled), cell_sums(maps, laid_over)
    assert pooled.pooled
    assert not laid_over.pooled
    assert once.shape == by_cell.shape == (35, 8)
    np.testing.assert_allclose(once, by_cell, atol=1e-5)
    assert np.ptp(once) > 0


def test_a_pooled_head_stays_one_matrix_on_disk_and_back(scorer: TransferredScorer, tmp_path: Path) -> None:
    one_matrix = random_head(8, scorer.trunk.channels, 1, 1)
    grid = (8, scorer.trunk.channels, *scorer.grid)
    save_bundle(
        tmp_path / "laid",
        replace(scorer, head=replace(one_matrix, hidden_weight=np.broadcast_to(one_matrix.hidden_weight, grid))),
    )
    loaded = load_scorer(tmp_path / "laid").head
    assert loaded.hidden_weight.shape == (8, scorer.trunk.channels, 1, 1)
    assert np.array_equal(loaded.hidden_weight, one_matrix.hidden_weight.astype(np.float16).astype(np.float32))


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 4),
    hidden=st.integers(1, 9),
    channels=st.integers(1, 40),
    rows=st.integers(1, 4),
    columns=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_cell_sums_add_up_to_the_first_layer(count: int, hidden: int, channels: int, rows: int, columns: int, seed: int) -> None:
    head, maps = random_head(hidden, channels, rows, columns, seed), random_maps(count, channels, rows, columns, seed + 1)
    sums = sums_of(maps, head)
    assert sums.shape == (count, rows * columns, hidden)
    assert sums.dtype == np.float32
    expected = first_layer(head)(torch.from_numpy(maps).double().flatten(1)).numpy()
    np.testing.assert_allclose(whole(maps, head), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_cell_sums_are_exact_at_the_size_of_alexnet() -> None:
    head, maps = random_head(64, 256, 6, 6), random_maps(2, 256, 6, 6)
    expected = first_layer(head)(torch.from_numpy(maps).double().flatten(1)).numpy()
    np.testing.assert_allclose(whole(maps, head), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@settings(max_examples=30, deadline=None)
@given(left_out=st.sets(st.integers(0, 11)), seed=st.integers(0, 2**32 - 1))
def test_leaving_cells_out_is_subtracting_their_sums(left_out: set[int], seed: int) -> None:
    head, maps = random_head(7, 16, 3, 4, seed), random_maps(2, 16, 3, 4, seed + 1)
    zeroed = maps.copy()
    for cell in left_out:
        zeroed[:, :, cell // 4, cell % 4] = 0
    z = whole(maps, head) - sums_of(maps, head)[:, sorted(left_out)].sum(axis=1)
    np.testing.assert_allclose(z, whole(zeroed, head), atol=1e-5)
    np.testing.assert_allclose(head.severity(z, THREE_GRADES), slow_severity(head, zeroed, THREE_GRADES), atol=1e-5)


@pytest.mark.parametrize("scale", [Scale(), THREE_GRADES], ids=["five grades", "three grades"])
def test_severity_is_the_regressors(scale: Scale) -> None:
    head, maps = random_head(16, 32, 3, 3), random_maps(6, 32, 3, 3)
    found = [value for one in read_all(maps, head, scale) for value in one.severity.values()]
    np.testing.assert_allclose(found, slow_severity(head, maps, scale), rtol=1e-5)


def test_a_softmax_readout_gives_the_expected_grade_and_its_own_probabilities() -> None:
    maps, plain = random_maps(6, 32, 3, 3), random_head(16, 32, 3, 3)
    output = np.random.default_rng(2).normal(size=(3, 16)).astype(np.float32)
    readout = Classifier(plain.hidden_weight, plain.hidden_bias, output, np.array([0.1, -0.2, 0.3], np.float32))
    for one, own in zip(read_all(maps, readout, THREE_GRADES), maps, strict=True):
        z = first_layer(plain)(torch.from_numpy(own).double().flatten()[None])
        logits = torch.relu(z) @ torch.from_numpy(output).double().T + torch.from_numpy(readout.output_bias).double()
        shares = torch.softmax(logits, 1)[0].numpy()
        np.testing.assert_allclose(one.probabilities["cataract"], shares, atol=1e-6)
        assert one.severity["cataract"] == pytest.approx(float(shares @ [1, 2, 3]), abs=1e-5)
        assert THREE_GRADES.lowest + 2 / (1 + np.exp(-one.logit("cataract"))) == pytest.approx(one.severity["cataract"], abs=1e-5)
        assert one.live("cataract") is None


@pytest.mark.parametrize("grid", [(6, 6), (1, 1)], ids=["by cell", "pooled"])
def test_sums_depend_neither_on_what_is_beside_a_photograph_nor_on_threads(grid: tuple[int, int]) -> None:
    head, maps = random_head(64, 256, *grid), random_maps(9, 256, 6, 6)
    together = sums_of(maps, head)
    with threadpool_limits(1):
        alone = [cell_sums(maps[i].copy(), head) for i in reversed(range(9))][::-1]
    np.testing.assert_array_equal(together, alone)
    assert len({own.tobytes() for own in alone}) == 9


def test_maps_of_another_shape_are_refused(trunk: Trunk) -> None:
    with pytest.raises(ScorerError, match=r"\(32, 3, 3\), not \(32, 3, 4\)"):
        cell_sums(random_maps(1, 32, 3, 4)[0], random_head(4, 32, 3, 3))
    with pytest.raises(ScorerError, match="odd"):
        TransferredScorer("odd", trunk, random_head(4, trunk.channels, 6, 6), Scale(), "contrast")


def test_a_scorer_answers_for_its_trunk_and_head(scorer: TransferredScorer, pixels: np.ndarray) -> None:
    maps = scorer.trunk.maps(pixels)
    assert maps.shape[1:] == (scorer.channels, *scorer.grid)
    assert scorer.size == SIZE
    retina = np.ones((SIZE, SIZE), np.bool_)
    photographs = [Preprocessed(f"{k:016x}", own, own, retina, Frame(0, 0, SIZE)) for k, own in enumerate(pixels)]
    found = scorer.predict(photographs)
    severity = [one.severity["cataract"] for one in found]
    np.testing.assert_allclose(severity, slow_severity(scorer.head, maps, scorer.scale), rtol=1e-5)
    np.testing.assert_allclose([one.pooled for one in found], maps.mean(axis=(2, 3)), rtol=1e-4, atol=1e-6)
    for one in found:
        again = scorer.restore({name: np.array(array) for name, array in one.arrays().items()})
        masks = np.random.default_rng(0).random((4, *scorer.grid)) < 0.5
        assert again.severity == one.severity
        np.testing.assert_array_equal(again.without("cataract", masks), one.without("cataract", masks))
        np.testing.assert_array_equal(again.gradcam("cataract"), one.gradcam("cataract"))


def test_sha256_changes_with_what_changes_scores_and_nothing_else(scorer: TransferredScorer) -> None:
    head = scorer.head
    other = load_trunk("squeezenet1_1", new_module("squeezenet1_1", 1).state_dict(), size=SIZE)
    changed = [
        scorer,
        replace(scorer, trunk=other),
        replace(scorer, scale=replace(THREE_GRADES, lowest=2)),
        replace(scorer, preparation="clahe"),
        *(
            replace(scorer, head=replace(head, **{layer: getattr(head, layer) + np.float32(1)}))
            for layer in ("hidden_weight", "hidden_bias", "output_weight")
        ),
        replace(scorer, head=replace(head, output_bias=head.output_bias + 1)),
    ]
    assert len({one.sha256 for one in changed}) == len(changed)
    assert replace(scorer, card="other", training={}, name="other").sha256 == scorer.sha256


def test_a_bundle_gives_back_the_same_scorer(scorer: TransferredScorer, pixels: np.ndarray, tmp_path: Path) -> None:
    save_bundle(tmp_path / "bundle", scorer, half=False)
    loaded = load_scorer(tmp_path / "bundle")
    np.testing.assert_array_equal(scores(loaded, pixels), scores(scorer, pixels))
    assert loaded.sha256 == scorer.sha256
    for fact in ("name", "scale", "preparation", "card", "training"):
        assert getattr(loaded, fact) == getattr(scorer, fact)


def test_a_bundle_is_found_in_the_home_folder(scorer: TransferredScorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    save_bundle(tmp_path / "own", scorer)
    assert load_scorer("~/own").name == scorer.name


@pytest.mark.parametrize("referable", [0, 1, 4])
def test_a_scale_refers_one_of_its_grades_above_the_lowest(referable: int) -> None:
    with pytest.raises(ValueError, match="referable"):
        Scale(1, ("clear", "hazy", "opaque"), referable)
    assert Scale(1, ("clear", "hazy", "opaque"), 2).referable == 2


def test_a_halved_bundle_rounds_once(scorer: TransferredScorer, pixels: np.ndarray, tmp_path: Path) -> None:
    save_bundle(tmp_path / "whole", scorer, half=False)
    save_bundle(tmp_path / "once", scorer)
    once = load_scorer(tmp_path / "once")
    save_bundle(tmp_path / "twice", once)
    assert contents(tmp_path / "once") == contents(tmp_path / "twice")
    np.testing.assert_array_equal(scores(load_scorer(tmp_path / "twice"), pixels), scores(once, pixels))
    np.testing.assert_allclose(scores(once, pixels), scores(scorer, pixels), atol=0.01)
    size = {kind: (tmp_path / kind / "trunk.safetensors").stat().st_size for kind in ("whole", "once")}
    assert size["once"] < 0.55 * size["whole"]
    assert all(array.dtype == np.float32 for array in (once.head.hidden_weight, once.head.output_weight))


def test_statistics_beyond_the_range_of_float16_survive(tmp_path: Path) -> None:
    weights = {name: weight.clone() for name, weight in new_module("resnet18", 0).state_dict().items()}
    weights["bn1.running_var"].fill_(1e6)
    trunk = load_trunk("resnet18", weights, size=32)
    save_bundle(tmp_path / "bundle", TransferredScorer("big", trunk, random_head(2, 512, 1, 1), Scale(), "contrast"))
    assert (load_scorer(tmp_path / "bundle").trunk.state_dict()["bn1.running_var"] == 1e6).all()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_scorer_gives_the_same_bytes(scorer: TransferredScorer, tmp_path: Path) -> None:
    save_bundle(tmp_path / "one", scorer)
    save_bundle(tmp_path / "two" / "deep", replace(scorer, training=dict(reversed(scorer.training.items()))))
    assert contents(tmp_path / "one") == contents(tmp_path / "two" / "deep")
    assert set(contents(tmp_path / "one")) == {"scorer.json", "trunk.safetensors", "head.safetensors", "card.md"}


def test_a_bundle_replaces_a_bundle_and_nothing_else(scorer: TransferredScorer, tmp_path: Path) -> None:
    save_bundle(tmp_path / "bundle", scorer)
    save_bundle(tmp_path / "bundle", replace(scorer, name="newer"))
    assert load_scorer(tmp_path / "bundle").name == "newer"

    with pytest.raises(ScorerError, match="JSON"):
        save_bundle(tmp_path / "bundle", replace(scorer, training={"loss": float("nan")}))
    assert load_scorer(tmp_path / "bundle").name == "newer"

    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    (tmp_path / "file").write_text("a file")
    for taken in ("thesis", "file"):
        with pytest.raises(ScorerError, match=taken):
            save_bundle(tmp_path / taken, scorer)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
    assert (tmp_path / "file").read_text() == "a file"
    with pytest.raises(ScorerError, match="cannot be written"):
        save_bundle(tmp_path / "file" / "bundle", scorer)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "file", "thesis"]


@pytest.mark.parametrize("file", ["trunk.safetensors", "head.safetensors", "card.md"])
def test_a_damaged_or_incomplete_bundle_is_refused_by_file(scorer: TransferredScorer, file: str, tmp_path: Path) -> None:
    save_bundle(tmp_path / "bundle", scorer)
    path = tmp_path / "bundle" / file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ScorerError) as caught:
        load_scorer(tmp_path / "bundle")
    assert str(path) in caught.value.message
    assert caught.value.remedy
    path.unlink()
    with pytest.raises(ScorerError) as caught:
        load_scorer(tmp_path / "bundle")
    assert str(path) in caught.value.message


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "scorer.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    facts.pop("sha256")
    change(facts)
    path.write_text(json.dumps(sealed(facts)), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda facts: facts.update(format=2), "format 2"),
        (lambda facts: facts.pop("format"), "format"),
        (lambda facts: facts.update(trunk="vgg61"), "trunk"),
        (lambda facts: facts.update(size=100), "size 100"),
        (lambda facts: facts.update(size="64"), "size"),
        (lambda facts: facts.update(extra=1), "extra"),
        (lambda facts: facts["scale"].update(names=["one"]), "scale.names"),
        (lambda facts: facts["scale"].update(referable=9), "referable"),
        (lambda facts: facts["scale"].update(referable=1), "referable must be one of the grades above the lowest, 2 to 3"),
        (lambda facts: facts["files"].pop("card.md"), "card.md"),
        (lambda facts: facts["files"].update({"../../x": "0" * 64}), "files"),
    ],
)
def test_a_description_that_cannot_be_used_is_refused(
    change: Callable[[dict[str, Any]], None], names: str, scorer: TransferredScorer, tmp_path: Path
) -> None:
    save_bundle(tmp_path / "bundle", scorer)
    rewrite(tmp_path / "bundle", change)
    with pytest.raises(ScorerError) as caught:
        load_scorer(tmp_path / "bundle")
    assert "scorer.json" in caught.value.message
    assert names in caught.value.message


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"{", b"\xff\xfe"])
def test_a_description_that_is_not_one_is_refused(content: bytes, scorer: TransferredScorer, tmp_path: Path) -> None:
    save_bundle(tmp_path / "bundle", scorer)
    (tmp_path / "bundle" / "scorer.json").write_bytes(content)
    with pytest.raises(ScorerError, match=r"scorer\.json"):
        load_scorer(tmp_path / "bundle")


@pytest.mark.parametrize(
    "change",
    [
        lambda head: head.pop("output_weight"),
        lambda head: head.update(hidden_bias=head["hidden_bias"][1:]),
        lambda head: head.update(output_bias=np.zeros(2, np.float32)),
        lambda head: head.update(hidden_bias=head["hidden_bias"] + np.float32(np.nan)),
        lambda head: head.update(hidden_weight=head["hidden_weight"][0]),
        lambda head: head.update(hidden_weight=np.ones((), np.float32)),
    ],
    ids=["missing", "short", "two outputs", "nan", "flat", "scalar"],
)
def test_a_head_that_does_not_fit_is_refused_even_with_a_right_hash(
    change: Callable[[dict[str, Any]], None], scorer: TransferredScorer, tmp_path: Path
) -> None:
    save_bundle(tmp_path / "bundle", scorer)
    path = tmp_path / "bundle" / "head.safetensors"
    head = safetensors.numpy.load_file(path)
    change(head)
    safetensors.numpy.save_file(head, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    rewrite(tmp_path / "bundle", lambda facts: facts["files"].update({path.name: digest}))
    with pytest.raises(ScorerError, match=r"head\.safetensors"):
        load_scorer(tmp_path / "bundle")


def rehash(folder: Path, name: str, content: str) -> None:
    """Put a file of a bundle in the place of the old one, with its right hash."""
    (folder / name).write_text(content, encoding="utf-8", newline="\n")
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    rewrite(folder, lambda facts: facts["files"].update({name: digest}))


@pytest.mark.parametrize(
    ("file", "change", "names"),
    [
        ("trust.json", lambda entry: entry.pop("name"), "name: Field required"),
        ("trust.json", lambda entry: entry.pop("area"), "area: Field required"),
        ("trust.json", lambda entry: entry["maps"][1].pop("hit"), "maps.1.hit: Field required"),
        ("trust.json", lambda entry: entry["maps"][0].update(share=[0.5]), "maps.0.share"),
        ("evaluations.json", lambda entry: entry.pop("command"), "command: Field required"),
        ("evaluations.json", lambda entry: entry["figures"].update(mae="0.4"), "figures.mae"),
        ("evaluations.json", lambda entry: entry.update(photographs="many"), "photographs"),
    ],
)
def test_a_measurement_that_lacks_something_is_refused_by_file_and_entry(
    file: str, change: Callable[[dict[str, Any]], object], names: str, tmp_path: Path
) -> None:
    bundle = shutil.copytree(models_folder() / "eyepacs-squeezenet", tmp_path / "bundle")
    entries = json.loads((bundle / file).read_text(encoding="utf-8"))
    rehash(bundle, file, json.dumps(entries))
    load_scorer(bundle)
    change(entries[1])
    rehash(bundle, file, json.dumps(entries))
    with pytest.raises(ScorerError) as caught:
        load_scorer(bundle)
    assert f"{bundle / file}: entry 2" in caught.value.message
    assert names in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize("content", ["{}", "[1]", "[[]]", "1", "["])
def test_measurements_that_are_no_list_of_entries_are_refused(content: str, scorer: TransferredScorer, tmp_path: Path) -> None:
    save_bundle(tmp_path / "bundle", scorer)
    rehash(tmp_path / "bundle", "trust.json", content)
    with pytest.raises(ScorerError, match=r"trust\.json"):
        load_scorer(tmp_path / "bundle")


def test_a_card_leaves_out_what_the_recipe_does_not_tell(scorer: TransferredScorer) -> None:
    card = write_card(scorer)  # its recipe has epochs, loss and seeds, and no more
    assert "- epochs: 3" in card
    assert "share of the loss" not in card
    labels = [[1, 5, 0.2], [2, 5, 0.3], [3, 5, 0.5]]
    counts = {"training": [3, 4, 5], "validation": [1, 1, 0], "test": [1, 0, 0]}
    told = replace(scorer, training={"labels": labels, "counts": counts})
    assert "| hazy | 4 | 1 | 0 | 30% |" in write_card(told)
    for fault, recipe in (
        ("training.counts.test", {"labels": labels, "counts": {**counts, "test": [1]}}),
        ("training.counts.validation", {"labels": labels, "counts": {"training": [3, 4, 5]}}),
        ("training.labels lacks grade 3", {"labels": labels[:2], "counts": counts}),
        ("training.labels is not a list", {"labels": [5], "counts": counts}),
    ):
        with pytest.raises(ScorerError, match=fault):
            write_card(replace(scorer, training=recipe))


def test_an_unknown_scorer_is_refused_with_the_shipped_ones(tmp_path: Path) -> None:
    for unknown in ("no-such-scorer", tmp_path, tmp_path / "absent"):
        with pytest.raises(ScorerError) as caught:
            load_scorer(unknown)
        assert str(unknown) in caught.value.message
        assert all(name in caught.value.remedy for name, _ in shipped_scorers())


def test_every_shipped_scorer_loads_and_is_what_its_summary_says() -> None:
    shipped = shipped_scorers()
    if not shipped:
        pytest.skip("no scorer is shipped yet")
    assert DEFAULT_SCORER in dict(shipped)
    for name, summary in shipped:
        scorer = load_scorer(name)
        assert (scorer.name, scorer.network, scorer.size) == (name, summary["network"], summary["size"])
        assert (scorer.preparation, list(scorer.scale.names)) == (summary["preparation"], summary["grades"])
        assert scorer.card.strip()
        json.dumps(summary)
