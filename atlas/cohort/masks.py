"""Masks of outlined lesions: which files belong to a photograph, and what they mark."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from atlas.cohort.lesions import KINDS, kind_of
from atlas.cohort.names import stem_of
from atlas.errors import DatasetError
from atlas.records import BoolArray, Dataset, Line

_MASK_ENDINGS = (".png", ".gif", ".tif", ".tiff", ".bmp")


def find_masks(masks: Path, dataset: Dataset, images: Path) -> Mapping[str, tuple[Path, ...]]:
    """Find the masks of each photograph: by image_id, only those that have some, each file for one photograph only.

    A mask lies where its photograph does: that of `images/a/1.jpg` is `masks/a/1.png`, or all files in `masks/a/1/` are, one for
    each kind of lesion. All may also lie at the top of `masks`, as long as no two photographs have one name. PNG, GIF, TIFF and
    BMP are taken. A photograph without such masks has those that are named after it and a kind of lesion, `1_MA.tif`, or that lie
    in a folder named after a kind, `Hard Exudates/1.tif`, wherever these are, as long as no two photographs have one name.

    Raises
    ------
    DatasetError
        A mask at the top may belong to several photographs, or there is no mask at all.
    """
    places = {image.image_id: _place(image.path, images) for image in dataset.images}
    taken, stems = set(places.values()), Counter(place.name for place in places.values())
    found = {}
    for image_id, place in places.items():
        own = _files(masks / place)
        at_top = Path(place.name)
        if not own and at_top not in taken and (own := _files(masks / at_top)) and stems[place.name] > 1:
            rivals = sorted(other.as_posix() for other in places.values() if other.name == place.name)
            raise DatasetError(
                f"{own[0]}: may belong to any of the photographs {', '.join(rivals)}",
                f"put each mask into a folder as its photograph's: {masks / rivals[0]}.png.",
            )
        if own:
            found[image_id] = own
    if len(found) < len(places):
        found |= _by_kind(masks, {image_id: place.name for image_id, place in places.items() if image_id not in found}, stems)
    if not found:
        raise DatasetError(
            f"{masks}: no mask of any of the {len(dataset.images)} photographs",
            "name each mask as its photograph, NAME.png, or with its kind, NAME_MA.png, or put those of NAME into a folder NAME.",
        )
    return found


def masks_without_photograph(masks: Path, found: Mapping[str, Sequence[Path]], photographs: Iterable[Path]) -> tuple[Line, ...]:
    """List the masks that belong to no photograph, a line each.

    Parameters
    ----------
    found : Mapping[str, Sequence[Path]]
        The masks of each photograph, see `find_masks`.
    photographs : Iterable[Path]
        All files beside the photographs that are used: masks of those that were not asked for are not listed.
    """
    taken = {file for own in found.values() for file in own}
    names = {stem_of(photograph) for photograph in photographs}
    lone = []
    for file in sorted(masks.rglob("*")):
        if file in taken or file.suffix.lower() not in _MASK_ENDINGS or not file.is_file():
            continue
        starts = (file.stem[: gap.start()] for gap in re.finditer(r"[_\-. ]", file.stem))
        if names.isdisjoint((file.stem, file.parent.name, *starts)):
            lone.append(Line(str(file), "no photograph of this name"))
    return tuple(lone)


def kind_word(file: Path, photograph: str) -> str:
    """Return the part of a mask's path that may name its kind of lesion: what its name adds to its photograph's, or its folder.

    Parameters
    ----------
    photograph : str
        Name without ending.
    """
    if file.stem != photograph:
        return file.stem
    folder = re.sub(r"^[\W\d_]+", "", file.parent.name)
    return folder if kind_of(folder) in KINDS else ""


def _by_kind(masks: Path, names: Mapping[str, str], stems: Mapping[str, int]) -> dict[str, tuple[Path, ...]]:
    """Find masks named after their photograph and a kind of lesion. names : by image_id, those that occur once."""
    by_name: defaultdict[str, list[Path]] = defaultdict(list)
    for file in sorted(masks.rglob("*")):
        if file.suffix.lower() not in _MASK_ENDINGS or not file.is_file():
            continue
        if kind_word(file, file.stem):
            by_name[file.stem].append(file)
        for gap in re.finditer(r"[_\-. ]", file.stem):
            if kind_of(file.stem[gap.end() :]) in KINDS:
                by_name[file.stem[: gap.start()]].append(file)
                break
    return {image_id: tuple(by_name[name]) for image_id, name in names.items() if stems[name] == 1 and name in by_name}


def _place(photograph: Path, images: Path) -> Path:
    """Where a photograph lies below the folder of all, without its ending."""
    place = photograph.relative_to(images) if photograph.is_relative_to(images) else Path(photograph.name)
    return place.with_name(stem_of(photograph))


def _files(place: Path) -> tuple[Path, ...]:
    files = place.iterdir() if place.is_dir() else (place.with_name(place.name + ending) for ending in _MASK_ENDINGS)
    return tuple(sorted(file for file in files if file.suffix.lower() in _MASK_ENDINGS and file.is_file()))


def read_lesions(files: Iterable[Path], shape: tuple[int, int]) -> BoolArray:
    """Read masks and join them: bool (H, W), true where any mask is not black.

    Parameters
    ----------
    shape : tuple[int, int]
        H, W of the upright photograph.

    Raises
    ------
    DatasetError
        Where a mask cannot be read or is of another size.
    """
    lesions = np.zeros(shape, np.bool_)
    for file in files:
        try:
            with Image.open(file, formats=("PNG", "GIF", "TIFF", "BMP")) as image:
                if image.size != shape[::-1]:
                    raise _of_other_size(file, image.size[::-1], shape)  # before its pixels take any memory
                mask = np.asarray(image.convert("L")) > 0
        except DatasetError:
            raise
        except Exception as error:  # decoders of foreign files fail in many ways; each means this one file and no more
            raise DatasetError(f"{file}: cannot be read as a mask ({error})", "give it as PNG, white on black.") from error
        lesions |= mask
    return lesions


def _of_other_size(file: Path, own: tuple[int, ...], shape: tuple[int, int]) -> DatasetError:
    sizes = (f"{columns} x {rows}" for rows, columns in (own, shape))
    return DatasetError("{}: the mask is of {} pixels, its photograph of {}".format(file, *sizes), "draw it on the photograph.")
