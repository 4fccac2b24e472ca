"""Masks named after their photograph and a kind of lesion, as outlined sets publish them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atlas.cohort.masks import find_masks, kind_word, masks_without_photograph
from atlas.errors import DatasetError
from atlas.pictures.outlines import kind_in_words
from atlas.records import Dataset, GradedImage


def cohort_of(*names: str) -> Dataset:
    return Dataset(tuple(GradedImage(f"{place:016x}", Path("images", name)) for place, name in enumerate(names)))


def draw(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(file)
    return file


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("1. Microaneurysms/{}_MA.tif", "microaneurysm"),
        ("3. Hard Exudates/{}_EX.tif", "hard exudate"),
        ("{}_HE.png", "haemorrhage"),
        ("deep/er/{}-SE.png", "soft exudate"),
        ("Hard Exudates/{}.tif", "Hard Exudates"),
        ("2_haemorrhages/{}.TIF", "haemorrhages"),
    ],
)
def test_a_mask_is_found_by_its_photograph_and_kind(tmp_path: Path, name: str, kind: str) -> None:
    from atlas.cohort.lesions import kind_of

    files = [draw(tmp_path / name.format(photograph)) for photograph in ("IDRiD_01", "IDRiD_02")]
    draw(tmp_path / "5. Optic Disc/IDRiD_01_OD.tif")
    found = find_masks(tmp_path, cohort_of("a/IDRiD_01.jpg", "IDRiD_02.jpg", "IDRiD_0.jpg"), Path("images"))
    assert dict(found) == {f"{k:016x}": (file,) for k, file in enumerate(files)}
    told = kind_in_words(kind_word(files[0], "IDRiD_01"), "IDRiD_01")
    assert kind_of(told) == kind_of(kind)


def test_a_mask_of_one_of_two_photographs_of_a_name_is_not_guessed(tmp_path: Path) -> None:
    draw(tmp_path / "MA" / "1_MA.tif")
    with pytest.raises(DatasetError, match="no mask of any"):
        find_masks(tmp_path, cohort_of("a/1.jpg", "b/1.jpg"), Path("images"))


def test_masks_of_no_photograph_are_listed_and_those_of_others_in_the_folder_are_not(tmp_path: Path) -> None:
    photographs = [Path("images", name) for name in ("IDRiD_01.jpg", "IDRiD_02.jpg", "9.jpg")]
    for name in ("IDRiD_01.png", "MA/IDRiD_02_MA.tif", "9/any.png", "note.txt"):
        draw(tmp_path / f"{name}.png").rename(tmp_path / name)
    lone = [draw(tmp_path / "IDRiD_03.png"), draw(tmp_path / "MA" / "IDRiD_1_MA.tif")]
    found = find_masks(tmp_path, cohort_of("IDRiD_01.jpg"), Path("images"))
    told = masks_without_photograph(tmp_path, found, photographs)
    assert [line.what for line in told] == [str(file) for file in lone]
