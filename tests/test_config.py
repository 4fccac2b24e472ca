"""Configuration from TOML and flags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pydantic
import pytest

from atlas.config import PRIVATE, Configuration, load_configuration
from atlas.errors import ConfigurationError
from atlas.records import DIABETIC_RETINOPATHY


def write(folder: Path, text: str) -> Path:
    file = folder / "atlas.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_defaults_are_the_studys() -> None:
    configuration = load_configuration()
    assert (configuration.window, configuration.map_window, configuration.drop_threshold) == (2, 1, 0.2)
    assert (configuration.clusters, configuration.layout) == (None, "tsne")
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


def test_the_home_folder_is_found_in_flags_and_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    names = {"images": "~/photos", "store": "~/store", "scorer": "~/scorers/own"}
    trained = {"fit": True, "trunk": "resnet18", "trunk_weights": "~/w.pth"}
    file = write(tmp_path, "\n".join(f'{name} = "{value}"' for name, value in names.items()) + "\n")
    flags = load_configuration(images=Path("~/photos"), store=Path("~/store"), scorer="~/scorers/own", **trained)
    for configuration in (load_configuration(file, **trained), flags):
        assert configuration.images == tmp_path / "photos"
        assert configuration.store == tmp_path / "store"
        assert configuration.scorer == str(tmp_path / "scorers" / "own")
        assert configuration.trunk_weights == str(tmp_path / "w.pth")


# ---- what an atlas tells of its settings --------------------------------------------------------------------------------------


class Table(pydantic.BaseModel):
    file: Path


class Later(Configuration):
    """Settings that a later version may have, whose author forgot to mark them."""

    clinical: Path | None = pydantic.Field(None, description="Clinical table.")
    further: tuple[Path, ...] = pydantic.Field((), description="Further folders.")
    tables: dict[str, Table] = pydantic.Field({}, description="Further tables.")


SECRET = "/clinic/Mrs-Surname"


def secret(annotation: Any) -> Any:
    """A value that is easy to find in the output, for a setting that holds a path or free text."""
    text = str(annotation)
    if "Table" in text and "ScaleTable" not in text:
        return {SECRET: {"file": SECRET}}
    return [SECRET] if "tuple" in text else SECRET


def test_no_path_and_no_free_text_is_published() -> None:
    chosen_from_a_table = {"preparation", "trunk", "saliency", "layout", "languages"}
    texts = {
        name: secret(field.annotation)
        for name, field in Later.model_fields.items()
        if name not in chosen_from_a_table
        and ("Path" in str(field.annotation) or "str" in str(field.annotation) or "Table" in str(field.annotation))
        if name != "scale"
    }
    assert {"images", "out", "curation", "title", "scorer", "trunk_weights", "patient_column", "clinical", "tables"} <= set(texts)
    configuration = Later.model_validate(
        texts | {"trunk": "resnet18", "fit": True, "engine": "ray", "seed": 7}, context={"training": False}
    )
    published = configuration.published()
    assert "Surname" not in json.dumps(published)
    assert published["seed"] == 7
    assert published.keys().isdisjoint(texts)
    assert set(Later().published()) == set(Configuration().published())


def test_every_setting_that_holds_a_path_is_marked() -> None:
    for name, field in Configuration.model_fields.items():
        if "Path" in str(field.annotation):
            assert PRIVATE in field.metadata, name


def test_every_setting_has_a_sentence() -> None:
    for name, field in Configuration.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
