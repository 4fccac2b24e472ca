"""Cutting out the patches of one photograph, kept in the store as soon as they are cut. `cut_patches` is a task(item, shared)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.patterns.alarms import dark_share
from atlas.photographs.decode import decode_photograph
from atlas.photographs.frames import crop
from atlas.photographs.opened import LEAST_SIDE
from atlas.photographs.preparations import SURROUND, normalised_pixels
from atlas.pictures.jpeg import encode_jpeg
from atlas.pipeline.arrays import load_arrays, save_arrays
from atlas.pipeline.photograph import (
    DETAIL_SIDE,
    FOUND,
    PICTURES,
    Preparing,
    code_of,
    open_photograph,
    prediction_key,
)
from atlas.records import UNSTRETCHED, BoolArray, FloatArray, Frame, GradedImage, IntArray, Stretch

PATCH_SIDE = 128

PATCH_MARGIN = 0.25
"""How much of its surroundings belongs to a patch when it is described, on each side, in widths of the patch. A lesion that its
edge cuts is then seen completely, at a scale nearer to that of the photographs that the trunk learned from (measured by
benchmarks/clusters.py)."""


@dataclass(frozen=True)
class Cutting:
    """A photograph whose patches are to be cut.

    Parameters
    ----------
    folder : Path
        Folder of its pictures, see `View`.
    boxes : IntArray
        int64 (m, 4), boxes of the patches in source pixels, in the order of `patch_ids`.
    described : Sequence[int]
        Indices of the patches that a network is to describe.
    stretch : Stretch
        How a squashed photograph was put right.
    """

    image: GradedImage
    frame: Frame
    folder: Path
    patch_ids: Sequence[str]
    boxes: IntArray
    described: Sequence[int] = ()
    stretch: Stretch = UNSTRETCHED


@dataclass(frozen=True)
class Detail:
    """A photograph's patches in detail, in the order asked for.

    Parameters
    ----------
    descriptors : FloatArray
        float32 (k, d), descriptors of the patches that were to be described.
    dark : FloatArray
        float32 (m,), see `alarms.dark_share`.
    folder : Path
        Folder of their pictures, `<patch_id>.jpg`.
    """

    descriptors: FloatArray
    dark: FloatArray
    folder: Path


def cut_patches(item: Cutting, shared: Preparing) -> Detail:
    """Cut patches out in detail, draw them, and describe those that are to be described.

    The lesion net describes them if there is one. Otherwise the scorer does, by its mean maps of each patch and its surroundings.
    """
    source, store, net, frame = shared.source, shared.store, shared.net, item.frame

    def cut(folder: Path) -> None:
        decoded = decode_photograph(item.image.path, least=LEAST_SIDE, part=frame.side).put_right(item.stretch)
        retina = _unpacked(load_arrays(item.folder / "facts.safetensors", "retina")["retina"])
        plate = crop(decoded.pixels, decoded.of_source(frame), side=len(retina))
        pixels = normalised_pixels(plate, retina, source.preparation)
        ratio = len(pixels) / frame.side  # the plate may be smaller than the source
        reach = len(pixels)  # as far as any margin goes
        pixels = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), constant_values=SURROUND)
        descriptors: list[FloatArray] = []
        dark = []
        for row, (patch_id, box) in enumerate(zip(item.patch_ids, item.boxes, strict=True)):
            top, left, bottom, right = ((box - [frame.top, frame.left, frame.top, frame.left]) * ratio).tolist()
            # After rounding, a box can be a pixel off the square that a network takes.
            place = Frame(round(top), round(left), round(max(bottom - top, right - left)))
            margin = round(PATCH_MARGIN * place.side)
            wide = Frame(reach + place.top - margin, reach + place.left - margin, place.side + 2 * margin)
            if net is None and row in item.described:
                descriptors.append(source.describe(crop(pixels, wide, side=source.patch_size)[None])[0])
            picture = crop(plate, place, side=PATCH_SIDE)
            dark.append(dark_share(picture))
            (folder / f"{patch_id}.jpg").write_bytes(encode_jpeg(picture))
        if net is not None and item.described:
            whole, (found, mask) = open_photograph(item.image.path)  # the pixels that its lesions were found in
            wanted = np.array([item.boxes[row] for row in item.described])
            descriptors = list(net.describe(whole.pixels, found, mask, np.round(wanted / whole.factor).astype(np.int64)))
        described = np.array(descriptors, np.float32) if descriptors else np.empty((0, 0), np.float32)
        save_arrays(folder / "descriptors.safetensors", {"descriptors": described, "dark": np.array(dark, np.float32)})

    place = [list(item.patch_ids), item.boxes.tolist(), list(item.described), DETAIL_SIDE, PATCH_SIDE, PATCH_MARGIN]
    by = [source.patch_size] if net is None else [net.sha256, code_of(*FOUND)]
    code = code_of(*PICTURES, "atlas.patterns.alarms", own=__file__)
    folder = store.keep("patches", [*prediction_key(item.image.image_id, source), *place, *by, code], cut)
    made = load_arrays(folder / "descriptors.safetensors")
    return Detail(made["descriptors"], made["dark"], folder)


def _unpacked(png: NDArray[np.uint8]) -> BoolArray:
    return np.asarray(cv2.imdecode(np.asarray(png), cv2.IMREAD_GRAYSCALE)) > 0
