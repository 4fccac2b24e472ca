"""Configuration from TOML and flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from atlas.config import Configuration, load_configuration
from atlas.errors import ConfigurationError
from atlas.records import DIABETIC_RETINOPATHY


def write(folder: Path, text: str) -> Path:
    file = folder / "atlas.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_defaults_are_the_studys() -> None:
    configuration = load_configuration()
    assert (configuration.window, configuration.map_window, configuration.drop_threshold) == (2, 1, 0.2)
    assert (configuration.clusters, configuration.layout) == (20, "tsne")
    assert configuration.grade_scale() == DIABETIC_RETINOPATHY


def test_a_flag_wins_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "clusters = 7\nseed = 3\n")
    configuration = load_configuration(file, clusters=9, seed=None)
    assert (configuration.clusters, configuration.seed) == (9, 3)


def test_paths_in_the_file_are_relative_to_it(tmp_path: Path) -> None:
    file = write(tmp_path, 'images = "photos"\ngrades = "g.csv"\nfit = true\ntrunk = "resnet18"\ntrunk_weights = "w.pth"\n')
    configuration = load_configuration(file)
    assert configuration.images == tmp_path / "photos"
    assert configuration.grades == tmp_path / "g.csv"
    assert configuration.trunk_weights == str(tmp_path / "w.pth")


def test_hyphens_and_underscores_are_the_same_key(tmp_path: Path) -> None:
    assert load_configuration(write(tmp_path, "drop-threshold = 0.3\n")).drop_threshold == 0.3


def test_a_scale_of_another_disease(tmp_path: Path) -> None:
    file = write(
        tmp_path, '[scale]\ndisease = "acne"\nlowest = 1\nnames = ["clear", "mild", "moderate", "severe"]\nreferable = 3\n'
    )
    scale = load_configuration(file).grade_scale()
    assert scale.grades == (1, 2, 3, 4)
    assert (scale.name(3), scale.referable, scale.span) == ("moderate", 3, 3)


def test_every_fault_is_reported_at_once(tmp_path: Path) -> None:
    file = write(tmp_path, 'colour = "red"\nwindow = 0\nclusters = "many"\n')
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(file, seed=-1)
    for name in ("colour", "window", "clusters", "seed"):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"layout": "pca"}, "tsne"),
        ({"saliency": "magic"}, "occlusion"),
        ({"fit": True, "trunk": "vgg"}, "alexnet"),
        ({"fit": True, "trunk": "resnet18"}, "trunk_weights"),
        ({"trunk": "resnet18", "trunk_weights": "imagenet"}, "fit"),
        ({"preparation": "clahe"}, "fit"),
        ({"grades": Path("g.csv")}, "images"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_a_remedy(flags: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        load_configuration(**flags)


@pytest.mark.parametrize(
    "table", ['names = ["a"]', 'names = ["a", "a"]', 'names = ["a", "b"]\nreferable = 0', 'names = ["a", "b"]\nreferable = 2']
)
def test_a_scale_that_makes_no_sense_is_refused(tmp_path: Path, table: str) -> None:
    with pytest.raises(ConfigurationError, match="scale"):
        load_configuration(write(tmp_path, f"[scale]\n{table}\n"))


def test_a_file_that_is_missing_or_not_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml"):
        load_configuration(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigurationError, match=r"atlas\.toml.*TOML"):
        load_configuration(write(tmp_path, "clusters = = 3"))


def test_every_setting_has_a_sentence() -> None:
    for name, field in Configuration.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
