"""Copies of one picture: found whatever was done to them, told from other eyes, one patient, counted once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from atlas.cohort.copies import join_copies, once
from atlas.cohort.dataset import read_dataset
from atlas.config import load_configuration
from atlas.drawn.paint import draw_eye
from atlas.photographs.copies import Fingerprint, are_copies, find_pairs, fingerprint
from atlas.pipeline.cohort import gather
from atlas.pipeline.engine import single_threaded
from atlas.pipeline.study import see
from atlas.pipeline.workshop import Workshop
from atlas.records import DIABETIC_RETINOPATHY, ByteArray, Dataset, GradedImage
from atlas.training.splits import folds_by_patient


def eye(seed: int) -> ByteArray:
    return draw_eye(seed, seed % 5, size=512).pixels


def turned(pixels: ByteArray, angle: float, scale: float = 1.0) -> ByteArray:
    height, width = pixels.shape[:2]
    return np.asarray(
        cv2.warpAffine(pixels, cv2.getRotationMatrix2D((width / 2, height / 2), angle, scale), (width, height)), np.uint8
    )


def cropped(pixels: ByteArray, share: float, across: float) -> ByteArray:
    height, width = pixels.shape[:2]
    top, left = int(height * (1 - share) * across), int(width * (1 - share) * across)
    return pixels[top : top + int(height * share), left : left + int(width * share)]


def in_other_bytes(pixels: ByteArray) -> ByteArray:
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR), np.uint8)


CHANGES = {
    "other bytes": in_other_bytes,
    "half the size": lambda pixels: cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "mirrored": lambda pixels: pixels[:, ::-1],
    "upside down": lambda pixels: pixels[::-1],
    "a quarter turn": lambda pixels: np.rot90(pixels),
    "half a turn": lambda pixels: pixels[::-1, ::-1],
    "turned by 5 degrees": lambda pixels: turned(pixels, 5),
    "turned by 37 degrees": lambda pixels: turned(pixels, 37),
    "mirrored and turned": lambda pixels: turned(pixels[:, ::-1], -12),
    "cropped": lambda pixels: cropped(pixels, 0.8, 0.5),
    "cropped further": lambda pixels: cropped(pixels, 0.65, 0.5),
    "cropped at a corner": lambda pixels: cropped(pixels, 0.75, 0.1),
    "brighter": lambda pixels: np.clip(pixels * 1.3 + 8, 0, 255).astype(np.uint8),
    "grey": lambda pixels: np.repeat(pixels[..., 1:2], 3, axis=2),
}


@pytest.fixture(scope="module")
def eyes() -> list[ByteArray]:
    return [eye(seed) for seed in range(8)]


def pairs_of(prints: Sequence[Fingerprint]) -> list[tuple[int, int]]:
    return find_pairs([one.descriptors for one in prints], lambda i, j: are_copies(prints[i], prints[j]))


@pytest.mark.parametrize("change", CHANGES)
def test_copies_are_found_among_other_eyes(eyes: list[ByteArray], change: str) -> None:
    copies = [np.ascontiguousarray(CHANGES[change](pixels)) for pixels in eyes[:4]]
    prints = [fingerprint(pixels) for pixels in [*eyes, *copies]]
    pairs = pairs_of(prints)
    assert pairs == [(place, len(eyes) + place) for place in range(4)]


def test_a_picture_without_anything_in_it_is_a_copy_of_none() -> None:
    black, noise = np.zeros((300, 300, 3), np.uint8), np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    prints = [fingerprint(pixels) for pixels in (black, black, noise, eye(1))]
    assert pairs_of(prints) == []
    assert not are_copies(prints[0], prints[1])
    assert pairs_of([]) == []


@pytest.mark.photographs
def test_real_eyes_are_told_apart_and_their_copies_found(photographs: Path) -> None:
    from atlas.photographs.decode import read_photograph

    files = sorted((photographs / "eyepacs-colour" / "images").iterdir())[::30]
    plain = [read_photograph(file) for file in files]
    changes = list(CHANGES.values())
    copies = [np.ascontiguousarray(changes[place % len(changes)](pixels)) for place, pixels in enumerate(plain)]
    prints = [fingerprint(pixels) for pixels in [*plain, *copies]]
    pairs = pairs_of(prints)
    right = [pair for pair in pairs if pair[1] - pair[0] == len(plain)]
    assert right == pairs
    assert len(right) >= 0.95 * len(plain)


def graded(**images: tuple[int | None, str | None]) -> Dataset:
    return Dataset(tuple(GradedImage(name, Path(f"/x/{name}.png"), *own) for name, own in sorted(images.items())))


def test_copies_share_a_patient_with_all_photographs_of_their_patients() -> None:
    dataset = graded(a=(1, "P"), b=(1, "Q"), c=(2, "Q"), d=(None, None), e=(0, None), f=(0, "R"))
    marked, lines, told = join_copies(dataset, [("a", "b"), ("d", "e")], Path("/x"))
    of = {image.image_id: image for image in marked.images}
    assert {name: image.copy_of for name, image in of.items()} == {"a": None, "b": "a", "c": None, "d": "e", "e": None, "f": None}
    assert of["a"].patient == of["b"].patient == of["c"].patient == "P"
    assert of["d"].patient == of["e"].patient is not None
    assert of["f"].patient == "R"
    assert len({image.patient for image in marked.images}) == 3
    assert [line.partition(":")[0] for line in lines] == ["b.png", "d.png"]
    assert told.startswith("2 photographs are copies")
    assert "P" not in told
    assert [image.image_id for image in once(marked.images, marked.images)] == ["a", "c", "e", "f"]
    assert once(marked.images[1:2], [7]) == [7]
    assert join_copies(dataset, [], Path("/x")) == (dataset, (), "")


@pytest.fixture
def of_copies(tmp_path: Path) -> dict[str, Path]:
    """Settings that name six eyes, each with two copies."""
    images = tmp_path / "images"
    images.mkdir()
    rows = ["image,level"]
    for seed in range(6):
        pixels = eye(seed)
        for place, change in enumerate((pixels, pixels[:, ::-1], turned(pixels, 5))):
            Image.fromarray(np.ascontiguousarray(change)).save(images / f"e{seed}_{place}.png")
            rows.append(f"e{seed}_{place},{seed % 5}")
    (tmp_path / "grades.csv").write_text("\n".join(rows))
    return {"images": images, "grades": tmp_path / "grades.csv", "store": tmp_path / "store"}


def test_preparing_photographs_finds_the_same_copies_and_opens_nothing_for_them_alone(
    of_copies: dict[str, Path], tmp_path: Path
) -> None:
    workshop = Workshop.of(load_configuration(**of_copies, scorer="eyepacs-squeezenet"))
    with single_threaded():
        cohort = gather(workshop, copies=False)
        seen = see(workshop, cohort.dataset, cohort.report, copies=True)
    assert "copies" not in workshop.seconds
    assert not any(image.copy_of for image in cohort.dataset.images)
    alone = Workshop.of(load_configuration(**of_copies | {"store": tmp_path / "another"}))
    found = gather(alone)
    assert "copies" in alone.seconds
    assert sum(image.copy_of is not None for image in found.dataset.images) == 12
    assert seen.dataset == found.dataset
    assert seen.report == found.report


def test_pairs_that_were_compared_before_are_not_compared_again(
    of_copies: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []

    def counted(*two: Fingerprint, retina: bool) -> bool:
        compared.append(two)
        return are_copies(*two, retina=retina)

    monkeypatch.setattr("atlas.pipeline.copies.are_copies", counted)
    late = of_copies["images"] / "e5_2.png"
    aside = late.rename(tmp_path / late.name)
    fewer = gather(Workshop.of(load_configuration(**of_copies)))
    assert len(fewer.dataset.images) == 17
    before = len(compared)
    aside.rename(late)
    more = gather(Workshop.of(load_configuration(**of_copies)))
    again = len(compared) - before
    fresh = gather(Workshop.of(load_configuration(**of_copies | {"store": tmp_path / "another"})))
    assert more == fresh
    assert 0 < again < before
    assert again < len(compared) - before - again, "than in an empty store"


def test_copies_go_to_one_fold_and_are_said(of_copies: dict[str, Path]) -> None:
    settings, images = of_copies, of_copies["images"]
    cohort = gather(Workshop.of(load_configuration(**settings)))
    assert len(cohort.dataset.images) == 18
    assert len({image.patient for image in cohort.dataset.images}) == 6
    assert sorted(line.partition(":")[0] for line in cohort.report.near_copies) == [
        f"e{s}_{k}.png" for s in range(6) for k in (1, 2)
    ]
    assert ["12 photographs are copies" in sentence for sentence in cohort.report.told] == [True]
    name_of = {image.image_id: image.path.stem[:2] for image in cohort.dataset.images}
    for part in folds_by_patient(cohort.dataset.images, folds=3, seed=0):
        others = set(name_of) - set(part)
        assert not {name_of[one] for one in part} & {name_of[one] for one in others}
    again = gather(Workshop.of(load_configuration(**settings)))
    assert again == cohort
    plain, _ = read_dataset(images, settings["grades"], scale=DIABETIC_RETINOPATHY)
    assert plain.image_ids == cohort.dataset.image_ids
