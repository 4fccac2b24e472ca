"""The complete networks with attention: what they are made of, that they learn, and that they are built into atlases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from typer.testing import CliRunner

from atlas import build_atlas, load_configuration, load_scorer, write_cohort
from atlas.cli import app
from atlas.cohort.dataset import read_dataset
from atlas.errors import ConfigurationError, TrainingError
from atlas.explain import occlusion
from atlas.explain.methods import METHODS, methods_by_grade, methods_of, saliency_map
from atlas.photographs.decode import read_photograph
from atlas.photographs.preparations import prepare
from atlas.pipeline.trust import measure_trust
from atlas.records import DIABETIC_RETINOPATHY, ByteArray, FloatArray, Preprocessed, Target
from atlas.scorers.attention import AttentionHead, ChannelAttention, FiveViews, ResidualAttention, SelfAttention
from atlas.scorers.bundle import save_bundle
from atlas.scorers.devices import device_of
from atlas.scorers.networks import NETWORKS, NetworkScorer, NetworkSpec, untrained
from atlas.scorers.transferred import TransferredScorer
from atlas.scorers.trunks import TRUNKS, load_trunk, new_module
from atlas.training.complete import started, train_network, train_network_scorer
from atlas.training.losses import Objective

ATTENTIVE = ("attention-resnet50", "ran")
SIZE = 64
DR = Target.of(DIABETIC_RETINOPATHY)


def count(module: nn.Module) -> int:
    return sum(own.numel() for own in module.parameters())


def drawn_at_random(module: nn.Module, seed: int = 0) -> nn.Module:
    """Replace all weights, so that nothing holds only because a factor begins at 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for own in module.parameters():
            own.add_(0.1 * torch.randn(own.shape, generator=generator))
    return module.eval()


# --- What they are made of ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("network", "channels"), [("attention-resnet50", 2048), ("ran", 512)])
def test_the_last_maps_are_14_by_14_and_there_is_an_output_for_each_grade(network: str, channels: int) -> None:
    spec = NETWORKS[network]
    with torch.device("meta"):
        trunk, head = spec.build(5)
        maps = trunk.eval()(torch.empty(2, 3, spec.size, spec.size))
        assert maps.shape == (2, channels, 14, 14)
        assert head.eval()(maps).shape == (2, 5)
        assert spec.build(2)[1].eval()(maps).shape == (2, 2)


@torch.no_grad()
def test_channel_attention_has_a_sixteenth_of_the_channels_in_its_middle() -> None:
    attention = ChannelAttention(512)
    assert attention.squeeze.out_channels == 512 // 16
    assert count(attention) == 512 * 32 + 32 + 32 * 512 + 512
    maps = torch.rand(2, 512, 3, 3)
    factors = attention(maps) / maps
    np.testing.assert_allclose(factors.numpy(), np.broadcast_to(factors[..., :1, :1], maps.shape), rtol=1e-4)
    assert 0 < float(factors.min()) < float(factors.max()) < 1


@torch.no_grad()
def test_five_views_of_256_join_the_maps_to_1792_and_are_mixed_to_512() -> None:
    views = FiveViews(512).eval()
    maps = torch.rand(1, 512, 14, 14)
    assert views.joined(maps).shape == (1, 1792, 14, 14)
    assert views(maps).shape == (1, 512, 14, 14)
    convolutions = [own for own in views.views.modules() if isinstance(own, nn.Conv2d)]
    assert [(own.kernel_size[0], own.dilation[0], own.out_channels) for own in convolutions] == [
        (1, 1, 256),
        (3, 2, 256),
        (3, 3, 256),
        (3, 5, 256),
    ]
    normalised = 2 * 256
    expected = (512 * 256 + normalised) + 3 * (9 * 512 * 256 + normalised) + (512 * 256 + 256) + (1792 * 512 + 2 * 512)
    assert count(views) == expected
    spread = views.joined(maps)[0, -256:]
    assert torch.equal(spread, spread[:, :1, :1].expand_as(spread)), "the mean over all places is spread back"


@torch.no_grad()
def test_a_residual_attention_block_is_one_plus_its_soft_mask_times_its_branch() -> None:
    block = ResidualAttention(64).eval()
    maps = torch.rand(2, 64, 14, 14)
    mask, branch = block.soft_mask(maps), block.branch(maps)
    assert mask.shape == maps.shape
    assert 0 <= float(mask.min()) <= float(mask.max()) <= 1
    assert torch.equal(block(maps), (1 + mask) * branch)
    unit = (64 * 16 + 32) + (9 * 16 * 16 + 32) + (16 * 64 + 128)  # a bottleneck of 64, 16, 16 and 64 channels
    assert count(block) == 5 * unit + (64 * 64 + 128) + (64 * 64 + 64)
    assert block.soft_mask(torch.rand(1, 64, 5, 7)).shape == (1, 64, 5, 7)


def test_parameters_of_the_complete_networks() -> None:
    with torch.device("meta"):
        resnet34, resnet50 = (torchvision.models.get_model(name, weights=None) for name in ("resnet34", "resnet50"))
        trunk, head = NETWORKS["ran"].build(5)
        block = 5 * (2 * 512 * 128 + 9 * 128 * 128 + 2 * 2 * 128 + 2 * 512) + (512 * 512 + 2 * 512) + (512 * 512 + 512)
        views = count(FiveViews(512))
        assert count(trunk) == count(resnet34) - count(resnet34.fc) + 33_312 + 2 * block + views
        assert count(head) == 512 * 5 + 5
        trunk, head = NETWORKS["attention-resnet50"].build(5)
        assert count(trunk) == count(resnet50) - count(resnet50.fc) == 23_508_032
        attention = 2 * (2048 * 256 + 256) + 2048 * 2048 + 2048 + 1
        assert count(head) == attention + (2048 * 512 + 512) + (512 * 5 + 5)
        assert sum(isinstance(own, nn.Dropout | nn.Dropout2d) for own in head.modules()) == 3


def test_networks_on_another_encoder_have_the_published_parts() -> None:
    with torch.device("meta"):
        lite = count(new_module("efficientnet_lite0", 0))
        read = (1280 * 512 + 512) + (512 * 5 + 5)
        trunk, head = NETWORKS["pooled:efficientnet_lite0"].build(5)
        assert (count(trunk), count(head)) == (lite, read)
        trunk, head = NETWORKS["attention:efficientnet_lite0"].build(5)
        attention = 2 * (1280 * 160 + 160) + 1280 * 1280 + 1280 + 1
        assert (count(trunk), count(head)) == (lite, attention + read)
        trunk, head = NETWORKS["ran:efficientnet_lite0"].build(5)
        published = count(NETWORKS["ran"].build(5)[0]) - count(new_module("resnet34", 0))
        assert count(trunk) == lite + (1280 * 512 + 2 * 512) + published, "1,280 maps are brought to 512 first"
        maps = trunk.eval()(torch.empty(2, 3, 288, 288))
        assert maps.shape == (2, 512, 9, 9)
        assert head.eval()(maps).shape == (2, 5)
        trunk, _ = NETWORKS["ran:fpn:squeezenet1_1"].build(5)
        assert trunk.eval()(torch.empty(1, 3, 96, 96)).shape[1] == 128
    assert NETWORKS["ran:efficientnet_lite0"].mean == TRUNKS["efficientnet_lite0"].mean
    assert list(NETWORKS) == ["attention-resnet50", "ran", "small"]
    for name in ("ran:lenet", "lenet:resnet34", "ran:", "pooled"):
        assert name not in NETWORKS


@pytest.mark.parametrize(("named", "published"), [("ran:resnet34", "ran"), ("attention:resnet50", "attention-resnet50")])
def test_the_published_networks_are_those_on_their_own_encoders(named: str, published: str) -> None:
    with torch.device("meta"):
        one, other = (NETWORKS[name].build(5) for name in (named, published))
    for own, theirs in zip(one, other, strict=True):
        assert {name: tensor.shape for name, tensor in own.state_dict().items()} == {
            name: tensor.shape for name, tensor in theirs.state_dict().items()
        }


def test_self_attention_adds_nothing_at_first() -> None:
    attention, maps = SelfAttention(16), torch.rand(2, 16, 3, 4)
    assert float(attention.factor.detach()) == 0
    assert torch.equal(attention(maps), maps)


def test_self_attention_is_a_weighted_sum_over_all_places() -> None:
    attention, maps = drawn_at_random(SelfAttention(16)), torch.rand(1, 16, 3, 4)
    query, key, value = (own(maps).detach().numpy()[0].reshape(own.out_channels, 12) for own in attention.children())
    expected = np.empty((16, 12))
    for i in range(12):
        likeness = np.exp([query[:, i] @ key[:, j] for j in range(12)])
        expected[:, i] = sum(likeness[j] / likeness.sum() * value[:, j] for j in range(12))
    found = attention(maps).detach().numpy().reshape(16, 12)
    np.testing.assert_allclose(found, maps.numpy().reshape(16, 12) + float(attention.factor.detach()) * expected, atol=1e-5)


def test_the_fast_mean_is_the_mean_and_hiding_places_is_hiding_them() -> None:
    attention, maps = drawn_at_random(SelfAttention(16)), torch.rand(1, 16, 3, 4)
    np.testing.assert_allclose(attention.mean(maps).detach(), attention(maps).mean((2, 3)).detach(), atol=1e-5)
    head = drawn_at_random(AttentionHead(16, 5, hidden=8))
    kept = (torch.rand(30, 1, 3, 4, generator=torch.Generator().manual_seed(1)) < 0.6).float()
    np.testing.assert_allclose(head.without(maps, kept).detach(), head(maps * kept).detach(), atol=1e-5)
    np.testing.assert_allclose(head.attended(maps).sum((1, 2)).detach(), 1, atol=1e-5)


# --- That they learn -----------------------------------------------------------------------------------------------------------


def spots(number: int, side: int = SIZE) -> tuple[ByteArray, FloatArray]:
    """Pictures with as many bright spots as their grade."""
    rng = np.random.default_rng(0)
    grades = np.arange(number) % 5
    pixels = rng.integers(0, 60, (number, side, side, 3), np.uint8)
    for own, grade in zip(pixels, grades, strict=True):
        for _ in range(3 * grade):
            row, column = rng.integers(0, side - 12, 2)
            own[row : row + 12, column : column + 12] = 240
    return pixels, (grades / 4).astype(np.float32)


@pytest.mark.parametrize("network", ATTENTIVE)
def test_a_few_steps_lower_the_loss(network: str) -> None:
    pixels, places = spots(16)
    weights = np.ones(16, np.float32)
    rows = np.arange(16)
    fit = train_network(
        network,
        pixels,
        places,
        weights,
        training=rows,
        validation=rows[::3],
        objective=Objective("cross-entropy"),
        epochs=5,
        batch=8,
        learning_rate=1e-3,
        augmentation="none",
    )
    losses = [row["training_loss"] for row in fit.history]
    assert len(losses) == 5
    assert losses[-1] < losses[0]
    assert all(0 <= row[name] <= 1 for row in fit.history for name in ("training_accuracy", "validation_accuracy"))


class Mixing(nn.Module):
    """A small head with dropout that is not linear in cells, and attends."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.body = AttentionHead(16, outputs, hidden=16)

    def attended(self, maps: torch.Tensor) -> torch.Tensor:
        return self.body.attended(maps)

    def without(self, maps: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        return self.body.without(maps, kept)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return self.body(maps)


def small(outputs: int) -> tuple[nn.Module, nn.Module]:
    return nn.Sequential(nn.Conv2d(3, 16, 8, stride=8), nn.BatchNorm2d(16), nn.ReLU()), Mixing(outputs)


@pytest.fixture(scope="module", autouse=True)
def known() -> Iterator[None]:
    NETWORKS["small"] = NetworkSpec(small, size=SIZE, words="A small network.")
    yield
    del NETWORKS["small"]


def test_a_training_that_was_cut_off_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    pixels, places = spots(20)
    rows = np.arange(20)

    def stop(stage: str, done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    def fit(**more: object) -> dict[str, torch.Tensor]:
        made = train_network(
            "small",
            pixels,
            places,
            np.ones(20, np.float32),
            training=rows,
            validation=rows[::2],
            objective=Objective("focal"),
            epochs=3,
            batch=8,
            augmentation="cropped",
            **more,  # type: ignore[arg-type]
        )
        return {**made.trunk.state_dict(), **made.head.state_dict()}

    at_once = fit()
    with pytest.raises(KeyboardInterrupt):
        fit(checkpoint=tmp_path / "checkpoint.pt", progress=stop)
    resumed = fit(checkpoint=tmp_path / "checkpoint.pt")
    assert all(torch.equal(at_once[name], resumed[name]) for name in at_once)
    with pytest.raises(TrainingError, match="another training"):
        fit(checkpoint=tmp_path / "checkpoint.pt", seed=1)


def test_a_network_goes_on_from_one_with_other_grades_but_for_its_last_layer() -> None:
    trunk, head = untrained("small", 5, seed=1)
    state = {f"trunk.{name}": own for name, own in trunk.state_dict().items()}
    state |= {f"head.{name}": own for name, own in head.state_dict().items()}
    trunk, head, fresh = started("small", 2, 0, state)
    assert fresh == ("head.body.read.4.weight", "head.body.read.4.bias")
    for part, module in (("trunk", trunk), ("head", head)):
        for name, own in module.state_dict().items():
            assert f"{part}.{name}" in fresh or torch.equal(own, state[f"{part}.{name}"])


# --- Commands ------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("networks") / "eyes"
    write_cohort(24, folder, seed=7, size=160)
    return folder


def run(*arguments: object) -> str:
    found = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


def test_one_command_trains_and_another_set_with_two_classes_goes_on(eyes: Path, tmp_path: Path) -> None:
    data = (eyes / "images", "--grades", eyes / "grades.csv", "--store", tmp_path / "store", "--epochs", 2)
    run("train", *data, "--network", "small", "--from-scratch", "--loss", "focal", "--gamma", 1.5, "--out", tmp_path / "large")
    first = load_scorer(tmp_path / "large")
    assert isinstance(first, NetworkScorer)
    recipe = first.training
    assert (recipe["loss"], recipe["gamma"], recipe["classes"], recipe["start"]) == ("focal", 1.5, 5, "random weights")
    assert recipe["device"] == device_of("auto")
    assert len(recipe["history"]) == 2
    assert "## Epoch by epoch" in first.card
    assert "| epoch | loss, training | loss, validation | accuracy, training | accuracy, validation |" in first.card
    assert "Grad-CAM differentiates the outputs before the softmax" in first.card
    assert first.judged is not None
    assert first.judged.probabilities is not None

    write_cohort(24, tmp_path / "other", seed=8, size=160)
    other = (tmp_path / "other" / "images", "--grades", tmp_path / "other" / "grades.csv", "--store", tmp_path / "store")
    run("train", *other, "--epochs", 1, "--start", tmp_path / "large", "--two-classes", "--out", tmp_path / "small")
    second = load_scorer(tmp_path / "small")
    assert isinstance(second, NetworkScorer)
    assert (second.network, second.outputs, second.training["loss"]) == ("small", 2, "focal")
    assert second.training["start"] == f"the scorer large, {first.weights_sha256[:16]}"
    assert second.training["random_layers"] == "head.body.read.4"
    assert set(first.learned) < set(second.learned), "it has learned from the first set, too"
    assert "two classes" in second.card
    one = photograph(eyes, 3, SIZE)
    (found,) = second.predict([one])
    with torch.inference_mode():
        likely = float(torch.softmax(second.head(torch.from_numpy(found.maps)[None]), 1)[0, 1])
    assert found.severity["dr"] == pytest.approx(4 * likely, abs=1e-4)
    assert found.probabilities["dr"].shape == (0,)
    assert methods_by_grade(found, DR) == ()


@pytest.mark.parametrize("network", ["attention:squeezenet1_1", "pooled:fpn:squeezenet1_1"])
def test_what_follows_a_frozen_encoder_learns_on_maps_that_are_computed_once(
    network: str, eyes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, _ = read_dataset(eyes / "images", eyes / "grades.csv", scale=DIABETIC_RETINOPATHY)
    encoder = load_trunk(NETWORKS[network].encoder, new_module(NETWORKS[network].encoder, 5).state_dict(), size=96)
    start = {f"trunk.encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    common: dict[str, Any] = {"start": start, "frozen": True, "size": 96, "shared": tmp_path}
    scorer = train_network_scorer(dataset, name="one", network=network, epochs=4, batch=4, **common)
    state = scorer.state()
    fixed = [name for name in start if "pyramid" not in name]
    assert all(torch.equal(state[name], start[name].half().float()) or start[name].ndim < 2 for name in fixed)
    assert any(not torch.equal(state[name], tensor.half().float()) for name, tensor in start.items()) == ("fpn" in network)
    losses = [row["training_loss"] for row in scorer.training["history"]]
    assert losses[-1] < losses[0]
    assert scorer.training["encoder"] == "frozen"
    assert scorer.judged is not None

    # The scores on the card are those of the complete network, up to the rounding of the maps.
    test = [image for image in dataset.images if image.image_id not in scorer.learned]
    assert len(test) == len(scorer.judged.severity)
    for image, severity in zip(test, scorer.judged.severity, strict=True):
        prepared = prepare(image.image_id, read_photograph(image.path), size=96, preparation="standardise")
        assert scorer.predict([prepared])[0].severity["dr"] == pytest.approx(float(severity), abs=0.01)

    # Another loss uses the same maps: it learns the same photographs even if these have become black pictures.
    kept = sorted(file.name for file in tmp_path.glob("maps-*.npy"))
    assert len(kept) == 1
    monkeypatch.setattr("atlas.training.complete.prepared_pixels", lambda *_: np.zeros((24, 96, 96, 3), np.uint8))
    other = train_network_scorer(dataset, name="two", network=network, loss="focal", epochs=1, **common)
    assert sorted(file.name for file in tmp_path.glob("maps-*.npy")) == kept
    assert other.judged is not None
    assert np.ptp(other.judged.severity) > 0
    with pytest.raises(TrainingError, match="behind a frozen encoder"):
        train_network_scorer(dataset, name="three", network=network, augmentation="moved", **common)
    with pytest.raises(TrainingError, match="no weights to stay as they are"):
        train_network_scorer(dataset, name="three", network="small", **common)


def test_one_command_puts_a_network_on_the_frozen_trunk_of_a_scorer(eyes: Path, tmp_path: Path) -> None:
    data = (eyes / "images", "--grades", eyes / "grades.csv", "--store", tmp_path / "store", "--epochs", 1, "--size", 96)
    more = ("--network", "pooled:squeezenet1_1_coarse", "--start", "eyepacs-squeezenet", "--freeze-encoder")
    run("train", *data, *more, "--out", tmp_path / "on")
    made, began = load_scorer(tmp_path / "on"), load_scorer("eyepacs-squeezenet")
    assert isinstance(made, NetworkScorer)
    assert made.preparation == began.preparation
    assert set(began.background.learned) < set(made.learned), "it has met what its encoder has met"
    assert "eyepacs-squeezenet" in made.training["start"]
    own = {name.removeprefix("trunk.encoder."): tensor for name, tensor in made.state().items() if name.startswith("trunk.")}
    assert isinstance(began, TransferredScorer)
    for name, tensor in began.trunk.state_dict().items():
        assert torch.equal(own[name], tensor)
    assert "Two layers read the mean of all places" in made.card
    found = CliRunner().invoke(app, ["train", *(str(one) for one in data), "--freeze-encoder", "--out", str(tmp_path / "x")])
    assert found.exit_code == 2
    both = (*data, "--network", "small", "--from-scratch", "--freeze-encoder", "--out", tmp_path / "x")
    found = CliRunner().invoke(app, ["train", *(str(one) for one in both)])
    assert isinstance(found.exception, TrainingError)


def test_a_network_is_refused_what_it_cannot_use(eyes: Path, tmp_path: Path) -> None:
    data = ("train", str(eyes / "images"), "--grades", str(eyes / "grades.csv"), "--out", str(tmp_path / "none"))
    for more, said in [
        (("--network", "lenet", "--from-scratch"), "no network 'lenet'"),
        (("--network", "small"), "no encoder with weights"),
        (("--network", "ran", "--from-scratch", "--start", "imagenet"), "from scratch"),
        (("--start", "synthetic-alexnet"), "not a complete network"),
    ]:
        found = CliRunner().invoke(app, [*data, *more])
        assert isinstance(found.exception, TrainingError), found.output
        assert said in str(found.exception)
    found = CliRunner().invoke(app, [*data, "--network", "ran", "--fine-tune"])
    assert found.exit_code == 2
    assert CliRunner().invoke(app, [*data, "--two-classes"]).exit_code == 2


def test_a_gpu_is_used_where_there_is_one_and_refused_where_there_is_none() -> None:
    there = torch.cuda.is_available()
    assert device_of("auto") == ("cuda" if there else "cpu")
    assert device_of("cpu") == "cpu"
    if not there:
        with pytest.raises(ConfigurationError, match="GPU"):
            device_of("cuda")


# --- In an atlas ---------------------------------------------------------------------------------------------------------------


def photograph(eyes: Path, number: int, size: int) -> Preprocessed:
    file = sorted((eyes / "images").iterdir())[number]
    return prepare(f"{number:016x}", read_photograph(file), size=size, preparation="clahe")


def scorer_of(network: str) -> NetworkScorer:
    """A scorer of random weights, whose attention counts."""
    trunk, head = untrained(network, 5, seed=3)
    if isinstance(head, AttentionHead):
        with torch.no_grad():
            head.attention.factor.fill_(0.5)
            head.attention.query.weight.mul_(4)
    spec = NETWORKS[network]
    return NetworkScorer(network, network, trunk, head, DIABETIC_RETINOPATHY, spec.preparation, 96, card=f"# {network}\n")


@pytest.mark.parametrize("network", ATTENTIVE)
def test_it_is_bundled_explained_and_built_into_an_atlas(network: str, eyes: Path, tmp_path: Path) -> None:
    save_bundle(tmp_path / network, scorer_of(network))
    scorer = load_scorer(tmp_path / network)
    assert isinstance(scorer, NetworkScorer)
    assert json.loads((tmp_path / network / "scorer.json").read_text("utf-8"))["architecture"] == network
    (found,) = scorer.predict([photograph(eyes, 5, 96)])
    again = scorer.restore(found.arrays())
    assert again.severity == found.severity

    # Grad-CAM of the score explains the grades' outputs, weighted evenly from -1 to 1, and it is linear in them.
    cams = found.gradcam_by_grade("dr")
    assert cams.shape == (5, *found.grid)
    np.testing.assert_allclose(np.tensordot(np.linspace(-1, 1, 5), cams, 1), found.gradcam("dr"), atol=1e-5)
    assert methods_by_grade(found, DR) == tuple(f"gradcam-grade-{grade}" for grade in range(5))
    inside = np.ones(found.grid, np.bool_)
    values, _ = saliency_map("gradcam-grade-3", found, DR, inside=inside)
    np.testing.assert_array_equal(values, cams[3])

    # Hiding a cell sets it to zero in all maps.
    drops = occlusion.drops(found, "dr")
    maps = found.maps.copy()
    maps[:, 1, 2] = 0
    with torch.inference_mode():
        shares = torch.softmax(scorer.head(torch.from_numpy(maps)[None]).double(), 1)[0]
    assert drops[1, 2] == pytest.approx(found.severity["dr"] - float(shares @ torch.arange(5, dtype=torch.float64)), abs=1e-4)

    looking = network == "attention-resnet50"
    assert methods_of(found, DR) == (tuple(METHODS) if looking else ("occlusion", "gradcam"))
    if looking:
        values, _ = saliency_map("attention", found, DR, inside=inside)
        assert values.mean() == pytest.approx(1, abs=1e-5)
        assert np.ptp(values) > 0
    else:
        with pytest.raises(ConfigurationError, match="no such map"):
            saliency_map("attention", found, DR, inside=inside)

    few = tmp_path / "few"
    few.mkdir()
    for file in sorted((eyes / "images").iterdir())[:6]:
        (few / file.name).write_bytes(file.read_bytes())
    settings = {"grades": eyes / "grades.csv", "patches": "occlusion", "lesion_net": "none", "clusters": 2}
    folders = {"out": tmp_path / "out", "store": tmp_path / "store"}
    built = build_atlas(load_configuration(images=few, scorer=str(tmp_path / network), **folders, **settings))
    names = ["gradcam", *(["attention"] if looking else []), *(f"gradcam-grade-{grade}" for grade in range(5))]
    assert [maps.method for maps in built.atlas.other_maps] == names
    assert built.atlas.scores.probabilities is not None
    page = (tmp_path / "out" / "images" / f"{built.atlas.dataset.image_ids[0]}.html").read_text("utf-8")
    assert "Grad-CAM of one grade" in page
    assert ("Self-attention" in page) == looking
    assert "before the softmax" in page
    assert json.loads((tmp_path / "out" / "run.json").read_text("utf-8"))["settings"]["device"] == "cpu"
    cells = (tmp_path / "out" / "cells" / f"{built.atlas.dataset.image_ids[0]}.js").read_text("utf-8")
    assert all(f'"{name}":' in cells for name in names)

    if looking:
        entry, _ = measure_trust(
            load_configuration(images=eyes / "images", scorer=str(tmp_path / network), store=tmp_path / "store", limit=8),
            eyes / "masks",
            scrambles=1,
        )
        assert [row["map"] for row in entry["maps"]] == [*METHODS, "centre", "random"]
        alone, _ = measure_trust(
            load_configuration(images=eyes / "images", scorer=str(tmp_path / network), store=tmp_path / "store", limit=8),
            eyes / "masks",
            scrambles=0,
        )
        for row, other in zip(alone["maps"], entry["maps"], strict=True):
            assert row["all_scrambled"] is None
            assert {name: value for name, value in row.items() if "scrambled" not in name} == {
                name: value for name, value in other.items() if "scrambled" not in name
            }
    else:
        with pytest.raises(ConfigurationError, match="no such map"):
            build_atlas(
                load_configuration(images=few, scorer=str(tmp_path / network), saliency="attention", **folders, **settings)
            )
