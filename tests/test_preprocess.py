from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from scipy.ndimage import gaussian_filter

from atlas.errors import ConfigurationError, UnreadableImageError
from atlas.photographs.decode import MOST_PIXELS, read_photograph
from atlas.photographs.frames import SQUARE_SIDE, Square, cell_box, cell_coverage, crop, shrunk
from atlas.photographs.preparations import PREPARATIONS, SURROUND, normalised_pixels, prepare
from atlas.photographs.retina import find_retina
from atlas.records import BoolArray, ByteArray, Frame

frames = st.builds(Frame, st.integers(-300, 300), st.integers(-300, 300), st.integers(1, 700))
shapes = st.tuples(st.integers(1, 14), st.integers(1, 14))


def random(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def disc(height: int, width: int, x: float, y: float, radius: float) -> BoolArray:
    rows, columns = np.mgrid[:height, :width] + 0.5
    return np.hypot(rows - y, columns - x) <= radius


def draw(retina: BoolArray, *, light: float = 1.0, noise: float = 3.0, seed: int = 0) -> ByteArray:
    """A reddish retina with smooth patches in a nearly black surround, with the sensor's noise."""
    generator = random(seed)
    patches = gaussian_filter(generator.standard_normal(retina.shape), 6)
    colour = np.array([150.0, 85.0, 50.0]) * light * (1 + 1.2 * patches[..., None])
    picture = np.where(retina[..., None], colour, 4.0) + generator.normal(0, noise, (*retina.shape, 3))
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def textured() -> tuple[ByteArray, BoolArray]:
    """A square crop with every value from dark to light, and the retina in it."""
    retina = disc(240, 240, 120, 120, 112)
    noise = gaussian_filter(random(1).standard_normal((240, 240, 3)), (2, 2, 0))
    pixels = 90 + 25 * noise / noise.std() + np.array([40, 0, -30])
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8), retina


# ---- decoding ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, ending: str) -> None:
    picture = Image.fromarray(draw(disc(40, 64, 20, 14, 12)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / f"eye.{ending}", exif=exif)
    with Image.open(tmp_path / f"eye.{ending}") as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    read = read_photograph(tmp_path / f"eye.{ending}")
    assert read.shape == ((64, 40, 3) if orientation >= 5 else (40, 64, 3))
    assert np.abs(read.astype(int) - upright).max() <= 2


@pytest.mark.parametrize("ending", ["png", "tif", "bmp"])
def test_lossless_formats_give_back_every_pixel(tmp_path: Path, ending: str) -> None:
    pixels = draw(disc(31, 47, 20, 15, 12))
    Image.fromarray(pixels).save(tmp_path / f"eye.{ending}")
    read = read_photograph(tmp_path / f"eye.{ending}")
    assert read.dtype == np.uint8
    assert np.array_equal(read, pixels)


def test_the_ending_of_the_name_does_not_matter(tmp_path: Path) -> None:
    pixels = draw(disc(31, 47, 20, 15, 12))
    Image.fromarray(pixels).save(tmp_path / "eye.jpg", format="PNG")
    assert np.array_equal(read_photograph(tmp_path / "eye.jpg"), pixels)


def test_other_pixel_formats_become_rgb(tmp_path: Path) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    rgb = np.stack([grey, grey[::-1], grey.T], axis=-1)
    opacity = np.full((16, 16), 255, np.uint8)
    opacity[:8] = 0
    translucent = np.dstack([rgb, opacity])
    made: dict[str, tuple[Image.Image, ByteArray]] = {
        "grey": (Image.fromarray(grey), np.dstack([grey] * 3)),
        "binary": (Image.fromarray(grey > 99), np.dstack([np.where(grey > 99, 255, 0)] * 3)),
        "sixteen-bit": (Image.fromarray(grey.astype(np.uint16) * 257), np.dstack([grey] * 3)),
        "transparent": (Image.fromarray(translucent), np.where(opacity[..., None] == 255, rgb, 0)),
        "palette": (Image.fromarray(grey).convert("P"), np.dstack([grey] * 3)),
        "grey-transparent": (
            Image.fromarray(np.dstack([grey, opacity])),
            np.dstack([np.where(opacity == 255, grey, 0)] * 3),
        ),
    }
    for name, (image, expected) in made.items():
        image.save(tmp_path / f"{name}.png")
        assert np.array_equal(read_photograph(tmp_path / f"{name}.png"), expected), name


def test_a_grey_and_a_cmyk_jpeg_are_read(tmp_path: Path) -> None:
    colours = np.zeros((32, 32, 3), np.uint8)
    colours[:, 16:] = (200, 60, 30)
    Image.fromarray(colours).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=98)
    assert np.abs(read_photograph(tmp_path / "cmyk.jpg")[:, 20:].astype(int) - (200, 60, 30)).max() < 8
    Image.fromarray(colours[..., 0]).save(tmp_path / "grey.jpg", quality=98)
    grey = read_photograph(tmp_path / "grey.jpg")
    assert grey.shape == (32, 32, 3)
    assert np.array_equal(grey[..., 0], grey[..., 2])
    assert abs(int(grey[5, 25, 1]) - 200) < 5


def _whole(save: Callable[[Image.Image, io.BytesIO], None]) -> bytes:
    buffer = io.BytesIO()
    save(Image.fromarray(draw(disc(200, 200, 100, 100, 80))), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_a_file_cut_short_is_named_with_a_remedy(tmp_path: Path, kind: str, share: float) -> None:
    data = _whole(lambda image, buffer: image.save(buffer, kind))
    path = tmp_path / "half.jpg"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UnreadableImageError, match=r"half\.jpg") as caught:
        read_photograph(path)
    assert caught.value.remedy


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_jpeg_filled_up_with_zeros_is_cut_short(tmp_path: Path, share: float) -> None:
    data = _whole(lambda image, buffer: image.save(buffer, "JPEG"))
    (tmp_path / "eye.jpg").write_bytes(data[: int(share * len(data))] + bytes(5000))
    with pytest.raises(UnreadableImageError, match="cut short"):
        read_photograph(tmp_path / "eye.jpg")


def test_what_a_camera_appends_to_a_jpeg_does_no_harm(tmp_path: Path) -> None:
    data = _whole(lambda image, buffer: image.save(buffer, "JPEG"))
    (tmp_path / "plain.jpg").write_bytes(data)
    (tmp_path / "padded.jpg").write_bytes(data + b"maker's notes" + bytes(3000))
    assert np.array_equal(read_photograph(tmp_path / "padded.jpg"), read_photograph(tmp_path / "plain.jpg"))


@pytest.mark.parametrize("content", [b"", b"grade,image\n", b"%PDF-1.7", b"GIF89a" + bytes(50)])
def test_what_is_no_photograph_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "eye.png").write_bytes(content)
    with pytest.raises(UnreadableImageError, match=r"eye\.png"):
        read_photograph(tmp_path / "eye.png")


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.jpg", tmp_path):
        with pytest.raises(UnreadableImageError, match=path.name):
            read_photograph(path)


@pytest.mark.parametrize("side", [9_100, 11_000, 60_000])
def test_decompression_bombs_are_refused(tmp_path: Path, side: int) -> None:
    assert side * side > MOST_PIXELS
    small = io.BytesIO()
    Image.new("L", (8, 8)).save(small, "PNG")
    header = bytearray(small.getvalue())
    header[16:24] = side.to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(header)
    with pytest.raises(UnreadableImageError, match=r"bomb\.png: claims .* million pixels"):
        read_photograph(tmp_path / "bomb.png")


def test_broken_exif_costs_the_orientation_only(tmp_path: Path) -> None:
    image = Image.fromarray(draw(disc(40, 64, 20, 14, 12)))
    image.save(tmp_path / "eye.jpg", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    with pytest.warns(UserWarning, match="EXIF"):
        assert read_photograph(tmp_path / "eye.jpg").shape == (40, 64, 3)


# ---- the retina ----------------------------------------------------------------------------------------------------------------

DISCS = {
    "centred": (400, 500, 250, 200, 180),
    "off-centre": (400, 500, 150, 230, 130),
    "small": (600, 800, 500, 250, 90),
    "tiny picture": (48, 60, 31, 24, 20),
    "cut at top and bottom": (340, 500, 250, 170, 210),
    "cut at one side": (400, 400, 240, 200, 190),
    "corners only": (400, 400, 205, 195, 245),
    "large": (1500, 2000, 1010, 740, 700),
    "upright": (700, 420, 200, 340, 190),
}


def agrees(frame: Frame, x: float, y: float, radius: float, tolerance: float = 0.02) -> bool:
    """Whether the frame bounds the circle, apart from rounding to whole pixels."""
    half = frame.side / 2
    slack = tolerance * radius + 1
    return abs(frame.left + half - x) < slack and abs(frame.top + half - y) < slack and abs(half - radius) < slack


@pytest.mark.parametrize("light", [1.0, 0.25])
@pytest.mark.parametrize("case", DISCS)
def test_a_drawn_disc_is_found(case: str, light: float) -> None:
    height, width, x, y, radius = DISCS[case]
    retina = disc(height, width, x, y, radius)
    frame, mask = find_retina(draw(retina, light=light))
    assert agrees(frame, x, y, radius)
    assert mask.shape == (height, width)
    assert (mask & retina).sum() / (mask | retina).sum() > 0.96


@settings(deadline=None, max_examples=40)
@given(st.floats(0.35, 0.65), st.floats(0.35, 0.65), st.floats(0.2, 0.55), st.integers(150, 500), st.integers(0, 99))
def test_any_disc_with_enough_of_its_rim_in_the_picture_is_found(u: float, v: float, r: float, width: int, seed: int) -> None:
    height = round(width * 0.8)
    x, y, radius = u * width, v * height, r * height
    frame, _ = find_retina(draw(disc(height, width, x, y, radius), seed=seed))
    assert agrees(frame, x, y, radius)


def test_a_notch_is_not_retina_and_does_not_move_the_disc() -> None:
    retina = disc(400, 500, 250, 200, 170)
    notched = retina.copy()
    notched[70:100, 360:385] = True
    assert (notched & ~retina).sum() > 200
    frame, mask = find_retina(draw(notched))
    assert agrees(frame, 250, 200, 170)
    assert (mask & notched & ~retina).sum() < 0.2 * (notched & ~retina).sum()


def test_a_flat_cut_inside_the_picture_is_not_retina() -> None:
    retina = disc(400, 500, 250, 200, 170)
    retina[:60] = retina[335:] = False
    frame, mask = find_retina(draw(retina))
    assert agrees(frame, 250, 200, 170)
    assert (mask & retina).sum() / (mask | retina).sum() > 0.96


@pytest.mark.parametrize("radius", [230, 250])
@pytest.mark.parametrize("seed", range(3))
def test_a_flat_cut_that_fades_outweighs_no_corners(radius: int, seed: int) -> None:
    """The disc is larger than the picture, and the longest free edge is the straight one at the bottom."""
    picture = draw(disc(400, 400, 203, 196, radius), seed=seed).astype(float)
    fade = np.clip((375 - np.arange(400)) / 12, 0, 1)[:, None, None]
    frame, mask = find_retina(np.rint(4 + np.maximum(picture - 4, 0) * fade).astype(np.uint8))
    assert agrees(frame, 203, 196, radius)
    assert not mask[380:].any()


def test_uneven_light_does_not_move_the_disc() -> None:
    retina = disc(400, 500, 250, 200, 170)
    retina[:80] = retina[320:] = False  # long straight edges, so that the search goes on to where only the bright side is left
    picture = draw(retina).astype(float)
    picture[:, 270:] *= 0.3
    frame, mask = find_retina(np.rint(picture).astype(np.uint8))
    assert agrees(frame, 250, 200, 170)
    assert (mask & retina).sum() / (mask | retina).sum() > 0.96


def test_stray_light_in_the_surround_does_not_move_the_disc() -> None:
    retina = disc(400, 500, 250, 200, 150)
    glow = np.where(retina, 0, 60 * np.exp(-np.arange(500) / 200))[..., None]
    picture = np.rint(draw(retina) + glow).astype(np.uint8)
    assert agrees(find_retina(picture)[0], 250, 200, 150)


@pytest.mark.parametrize("seed", range(4))
def test_a_surround_full_of_noise_does_not_hide_the_disc(seed: int) -> None:
    retina = disc(400, 500, 250, 200, 150)
    noise = random(seed).integers(0, 90, (400, 500, 1))
    picture = np.where(retina[..., None], draw(retina), noise).astype(np.uint8)
    assert agrees(find_retina(picture)[0], 250, 200, 150)


def test_a_shadow_inside_the_disc_is_retina() -> None:
    retina = disc(400, 500, 250, 200, 170)
    shadow = disc(400, 500, 330, 140, 80) & retina
    picture = draw(retina)
    picture[shadow] = 4
    frame, mask = find_retina(picture)
    assert agrees(frame, 250, 200, 170)
    assert mask[shadow].mean() > 0.96


def test_specks_and_writing_in_the_surround_do_not_matter() -> None:
    picture = draw(disc(400, 500, 230, 200, 150), noise=6)
    picture[10:30, 420:490] = 250
    picture[random(3).random((400, 500)) < 0.01] = 255
    assert agrees(find_retina(picture)[0], 230, 200, 150)


@pytest.mark.parametrize("shape", [(300, 300), (200, 301), (301, 200)])
def test_without_surround_the_whole_picture_is_retina(shape: tuple[int, int]) -> None:
    frame, mask = find_retina(draw(np.ones(shape, bool)))
    height, width = shape
    assert mask.all()
    assert frame.side == max(shape)
    assert (frame.top, frame.left) == ((height - frame.side) // 2, (width - frame.side) // 2)


def test_a_bright_region_that_is_no_disc_is_bounded() -> None:
    retina = np.zeros((400, 600), bool)
    retina[120:280, 200:420] = True
    frame, mask = find_retina(draw(retina))
    assert (frame.left, frame.left + frame.side) == pytest.approx((200, 420), abs=3)
    assert (mask & retina).sum() / (mask | retina).sum() > 0.96


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 255), st.integers(0, 255), st.integers(0, 9))
def test_any_picture_gives_a_frame_and_something_to_show(height: int, width: int, low: int, high: int, seed: int) -> None:
    picture = random(seed).integers(min(low, high), max(low, high) + 1, (height, width, 3)).astype(np.uint8)
    frame, mask = find_retina(picture)
    assert frame.side >= 1
    assert mask.any()
    for preparation in PREPARATIONS:
        made = prepare("0", picture, size=32, preparation=preparation)
        assert made.pixels.shape == made.photograph.shape == (32, 32, 3)


# ---- cropping and cells --------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(frames, shapes)
def test_cells_tile_the_frame(frame: Frame, shape: tuple[int, int]) -> None:
    times = np.zeros((frame.side, frame.side), int)
    for row in range(shape[0]):
        for col in range(shape[1]):
            top, left, bottom, right = cell_box(frame, shape, row, col)
            assert abs((bottom - top) - frame.side / shape[0]) <= 1
            times[top - frame.top : bottom - frame.top, left - frame.left : right - frame.left] += 1
    assert (times == 1).all()


@settings(deadline=None)
@given(frames, shapes, st.data())
def test_a_window_is_the_union_of_its_cells(frame: Frame, shape: tuple[int, int], data: st.DataObject) -> None:
    window = data.draw(st.integers(1, min(shape)))
    row, col = data.draw(st.integers(0, shape[0] - window)), data.draw(st.integers(0, shape[1] - window))
    first, last = cell_box(frame, shape, row, col), cell_box(frame, shape, row + window - 1, col + window - 1)
    assert cell_box(frame, shape, row, col, window) == (*first[:2], *last[2:])


@pytest.mark.parametrize(("row", "col", "window"), [(-1, 0, 1), (0, 6, 1), (5, 0, 2), (0, 0, 7), (0, 0, 0)])
def test_a_window_outside_the_cells_is_refused(row: int, col: int, window: int) -> None:
    with pytest.raises(ValueError, match="6 x 6 cells"):
        cell_box(Frame(0, 0, 60), (6, 6), row, col, window)


@settings(deadline=None, max_examples=50)
@given(frames, shapes)
def test_boxes_recover_what_was_painted_in_them(frame: Frame, shape: tuple[int, int]) -> None:
    picture = np.zeros((250, 330, 3), np.uint8)
    boxes = [cell_box(frame, shape, row, col) for row in range(shape[0]) for col in range(shape[1])]
    for number, (top, left, bottom, right) in enumerate(boxes, start=1):
        picture[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = (number, 255 - number, 7)
    for number, (top, left, bottom, right) in enumerate(boxes, start=1):
        piece = crop(picture, (top, left, bottom, right))
        assert piece.shape == (bottom - top, right - left, 3)
        seen = np.zeros(piece.shape[:2], bool)
        seen[max(-top, 0) : max(250 - top, 0), max(-left, 0) : max(330 - left, 0)] = True
        assert (piece[seen] == (number, 255 - number, 7)).all()
        assert not piece[~seen].any()


def test_the_crop_of_the_frame_is_made_of_the_crops_of_its_cells() -> None:
    picture, frame = draw(disc(90, 120, 60, 45, 40)), Frame(-7, 3, 101)
    rows = [np.hstack([crop(picture, cell_box(frame, (6, 7), row, col)) for col in range(7)]) for row in range(6)]
    assert np.array_equal(np.vstack(rows), crop(picture, frame))


def test_crop_scales_the_longer_edge_and_keeps_means() -> None:
    picture = draw(np.ones((300, 400), bool))
    assert crop(picture, (10, 20, 110, 220), side=50).shape == (25, 50, 3)
    assert crop(picture, Frame(0, 0, 300), side=77).shape == (77, 77, 3)
    assert crop(picture, Frame(0, 0, 30), side=77).shape == (77, 77, 3)
    blocks = picture[:300, :300].reshape(60, 5, 60, 5, 3).mean(axis=(1, 3))
    assert np.abs(crop(picture, Frame(0, 0, 300), side=60) - blocks).max() <= 0.51


def test_a_crop_does_not_share_memory_with_the_photograph() -> None:
    picture = draw(disc(40, 40, 20, 20, 15))
    crop(picture, Frame(0, 0, 40))[:] = 9
    assert not (picture == 9).all()


@settings(deadline=None)
@given(st.integers(1, 30), shapes, st.integers(0, 99))
def test_coverage_is_the_area_of_retina_in_each_cell(side: int, shape: tuple[int, int], seed: int) -> None:
    retina = random(seed).random((side, side)) < 0.6
    # On the grid that both the pixels and the cells divide, each cell is a whole block.
    fine = retina.repeat(shape[0], axis=0).repeat(shape[1], axis=1)
    blocks = fine.reshape(shape[0], side, shape[1], side).mean(axis=(1, 3))
    covered = cell_coverage(retina, shape)
    assert covered.dtype == np.float32
    assert np.allclose(covered, blocks, atol=1e-6)


@pytest.mark.parametrize(("shape", "size"), [((6, 6), 224), ((7, 7), 224), ((13, 9), 300)])
def test_a_marker_in_a_source_cell_lands_in_the_prepared_cell(shape: tuple[int, int], size: int) -> None:
    picture = draw(disc(500, 640, 330, 250, 262))
    frame, _ = find_retina(picture)
    before = prepare("0", picture, size=size, preparation="none")
    for row in range(shape[0]):
        for col in range(shape[1]):
            top, left, bottom, right = cell_box(frame, shape, row, col)
            inner = (slice(max(top + 2, 0), max(bottom - 2, 0)), slice(max(left + 2, 0), max(right - 2, 0)))
            if cell_coverage(before.retina, shape)[row, col] < 1 or not picture[inner].size:
                continue
            marked = picture.copy()
            marked[inner] = (0, 200, 255)
            after = prepare("0", marked, size=size, preparation="none")
            assert after.frame == frame
            rows, columns = np.nonzero((after.pixels != before.pixels).any(axis=2))
            assert ((rows + 0.5) * shape[0] // size == row).all()
            assert ((columns + 0.5) * shape[1] // size == col).all()
            assert len(rows) > 0.5 * (size / shape[0]) * (size / shape[1])


# ---- preparations --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preparation", PREPARATIONS)
def test_the_surround_is_one_constant_whatever_was_there(preparation: str) -> None:
    retina = disc(300, 400, 210, 150, 130)
    picture = draw(retina)
    made = prepare("0", picture, size=128, preparation=preparation)
    assert 0.7 < made.retina.mean() < 0.8
    assert (made.pixels[~made.retina] == SURROUND).all()
    assert made.pixels[made.retina].std() > 2


@pytest.mark.parametrize("preparation", PREPARATIONS)
def test_the_surround_does_not_reach_into_the_retina(preparation: str, textured: tuple[ByteArray, BoolArray]) -> None:
    pixels, retina = textured
    other = np.where(retina[..., None], pixels, random(5).integers(0, 256, pixels.shape).astype(np.uint8))
    prepared = [PREPARATIONS[preparation](version, retina)[retina] for version in (pixels, other)]
    assert np.array_equal(*prepared)


def test_none_keeps_the_photograph() -> None:
    made = prepare("0", draw(disc(300, 400, 210, 150, 130)), size=128, preparation="none")
    assert np.array_equal(made.pixels[made.retina], made.photograph[made.retina])


def test_standardise_gives_every_channel_one_mean_and_deviation(textured: tuple[ByteArray, BoolArray]) -> None:
    pixels, retina = textured
    inside = PREPARATIONS["standardise"](pixels, retina)[retina].astype(float)
    assert inside.mean(axis=0) == pytest.approx([128] * 3, abs=1)
    assert inside.std(axis=0) == pytest.approx([48] * 3, abs=2)


def test_standardise_undoes_gain_and_offset_of_each_channel(textured: tuple[ByteArray, BoolArray]) -> None:
    pixels, retina = textured
    dim = pixels // 4
    changed = (dim * np.array([3, 2, 1], np.uint8) + np.array([10, 0, 90], np.uint8)).astype(np.uint8)
    first, second = (PREPARATIONS["standardise"](version, retina)[retina].astype(int) for version in (dim, changed))
    assert np.abs(first - second).max() <= 1


def test_equalise_flattens_the_histogram_and_keeps_the_order(textured: tuple[ByteArray, BoolArray]) -> None:
    pixels, retina = textured
    equalised = PREPARATIONS["equalise"](pixels, retina)
    for k in range(3):
        shares = np.histogram(equalised[..., k][retina], bins=8, range=(0, 256))[0] / retina.sum()
        assert shares == pytest.approx([1 / 8] * 8, abs=0.03)
        order = np.argsort(pixels[..., k][retina], kind="stable")
        assert (np.diff(equalised[..., k][retina][order].astype(int)) >= 0).all()


def test_soft_equalisation_takes_half_a_pixels_sharpness_and_nothing_else(textured: tuple[ByteArray, BoolArray]) -> None:
    pixels, retina = textured
    plain, soft = (PREPARATIONS[name](pixels, retina).astype(float) for name in ("equalise", "equalise-soft"))
    deep = cv2.erode(retina.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)
    assert soft[deep].mean() == pytest.approx(plain[deep].mean(), abs=1)
    # A Gaussian of 0.5 pixels keeps this share of the finest stripes, one pixel on and one off: exp(-pi^2 s^2 / 2), sampled.
    weights = np.exp(-0.5 * (np.arange(-2, 3) / 0.5) ** 2)
    kept = (weights * (-1.0) ** np.arange(-2, 3)).sum() / weights.sum()
    stripes = np.full((40, 40, 3), 60, np.uint8)
    stripes[:, ::2] = 190
    inside = np.ones((40, 40), bool)
    plain, soft = (PREPARATIONS[name](stripes, inside).astype(float) for name in ("equalise", "equalise-soft"))
    assert np.ptp(soft[5:-5, 5:-5]) == pytest.approx(kept * np.ptp(plain[5:-5, 5:-5]), abs=2)


@pytest.mark.parametrize("light", [0.5, 1.0, 1.6])
def test_gamma_brings_the_median_lightness_to_the_middle(textured: tuple[ByteArray, BoolArray], light: float) -> None:
    pixels, retina = textured
    dimmed = np.clip(pixels * light, 0, 255).astype(np.uint8)
    corrected = PREPARATIONS["gamma"](dimmed, retina)
    lightness = cv2.cvtColor(corrected.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[..., 0]
    assert np.median(lightness[retina]) == pytest.approx(50, abs=1.5)


def test_clahe_raises_local_contrast_of_lightness_and_keeps_colour(textured: tuple[ByteArray, BoolArray]) -> None:
    pixels, retina = textured
    faint = (110 + (pixels.astype(int) - 110) // 5).astype(np.uint8)
    before, after = (
        cv2.cvtColor(version.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[retina]
        for version in (faint, PREPARATIONS["clahe"](faint, retina))
    )
    assert after[:, 0].std() > 1.3 * before[:, 0].std()
    assert np.abs(after[:, 1:] - before[:, 1:]).mean() < 1.5


@pytest.mark.parametrize("side", [256, 512])
def test_local_contrast_is_four_times_the_difference_from_the_blur(side: int) -> None:
    pixels = draw(np.ones((side, side), bool), noise=1)
    prepared = PREPARATIONS["local-contrast"](pixels, np.ones((side, side), bool))
    blurred = gaussian_filter(pixels.astype(float), (10 * side / 512, 10 * side / 512, 0))
    expected = np.clip(4 * (pixels - blurred) + 128, 0, 255)
    inner = slice(side // 8, -side // 8)  # away from the border, where there is nothing to average
    assert np.abs(prepared[inner, inner] - expected[inner, inner]).max() < 1.5


def test_local_contrast_leaves_no_rim() -> None:
    retina = disc(256, 256, 128, 128, 120)
    flat = np.where(retina[..., None], np.array([150, 80, 50], np.uint8), np.uint8(0))
    assert np.abs(PREPARATIONS["local-contrast"](flat, retina)[retina].astype(int) - 128).max() <= 1


def test_an_unknown_preparation_names_the_choices() -> None:
    picture = draw(disc(60, 60, 30, 30, 25))
    for attempt in (
        lambda: prepare("0", picture, size=32, preparation="sharpen"),
        lambda: normalised_pixels(picture, np.ones(picture.shape[:2], np.bool_), "sharpen"),
    ):
        with pytest.raises(ConfigurationError, match=r"sharpen.*local-contrast"):
            attempt()


# ---- all of it -----------------------------------------------------------------------------------------------------------------


def test_prepare_keeps_the_id_and_the_frame_and_is_the_same_on_any_number_of_threads() -> None:
    picture = draw(disc(600, 800, 410, 300, 280))
    threads = cv2.getNumThreads()
    made = []
    try:
        for count in (1, 2, 4):
            cv2.setNumThreads(count)
            made.append([prepare("0f", picture, size=224, preparation=preparation) for preparation in PREPARATIONS])
    finally:
        cv2.setNumThreads(threads)
    for several in made:
        for one, other in zip(several, made[0], strict=True):
            assert one.image_id == "0f"
            assert one.frame == find_retina(picture)[0]
            assert np.array_equal(one.pixels, other.pixels)
            assert np.array_equal(one.retina, other.retina)


@pytest.mark.parametrize("side", [100, 700])
def test_what_was_found_once_need_not_be_found_again(side: int) -> None:
    """Patches are cut from a square of another size, by the retina that was found for the score."""
    picture = draw(disc(1500, 2000, 1000, 750, 500))
    found = find_retina(picture)
    same, again = prepare("0", picture, size=side), prepare("0", picture, size=side, found=found)
    frame, mask = found
    plate = crop(picture, frame, side)
    assert again.frame == same.frame == frame
    assert np.array_equal(again.pixels, same.pixels)
    assert np.array_equal(normalised_pixels(plate, Square(picture, frame, mask).subject(side), "standardise"), same.pixels)


def dappled(height: int, width: int, seed: int) -> ByteArray:
    """A picture with details of six pixels in every place, about the finest in photographs."""
    coarse = random(seed).integers(20, 236, (height // 6 + 1, width // 6 + 1, 3), dtype=np.uint8)
    return np.ascontiguousarray(cv2.resize(coarse, None, fx=6, fy=6, interpolation=cv2.INTER_LINEAR)[:height, :width])


@pytest.mark.parametrize("side", [64, 224, 384, SQUARE_SIDE, 1500])
def test_the_square_of_a_photograph_is_cut_out_of_it(side: int) -> None:
    picture = dappled(2100, 2500, seed=side)
    for radius in (300, 890):
        frame, mask = Frame(1070 - radius, 1140 - radius, 2 * radius), disc(2100, 2500, 1140, 1070, radius)
        square = Square(picture, frame, mask)
        for _ in range(2):
            assert np.array_equal(square.pixels(side), crop(picture, frame, side))
            assert np.array_equal(square.subject(side), crop(mask.astype(np.uint8) * np.uint8(255), frame, side) >= 128)
            square.pixels(side)[:] = 0  # what one does to its copy is nothing to others


@pytest.mark.parametrize("side", [64, 224, 384])
def test_a_coarse_square_of_a_large_photograph_hardly_differs(side: int) -> None:
    picture = dappled(2100, 2500, seed=side)
    square = Square(picture, Frame(180, 250, 1780), disc(2100, 2500, 1140, 1070, 890))
    pixels, subject = square.coarse(side)
    direct = square.pixels(side).astype(int)
    assert not np.array_equal(pixels, direct)
    assert np.abs(pixels - direct).mean() < 1.5
    assert np.abs(pixels.mean(axis=(0, 1)) - direct.mean(axis=(0, 1))).max() < 0.2, "areas keep their brightness"
    assert np.count_nonzero(subject ^ square.subject(side)) < 0.002 * side**2 + 8
    small = Square(picture, Frame(600, 600, 900), np.ones((2100, 2500), np.bool_))
    assert np.array_equal(small.coarse(side)[0], small.pixels(side)), "a photograph without too many pixels is exact"


def test_a_far_larger_picture_is_shrunk_in_two_steps_and_hardly_differs() -> None:
    picture = dappled(1944, 2592, seed=5)
    direct = cv2.resize(picture, (512, 384), interpolation=cv2.INTER_AREA).astype(int)
    assert shrunk(picture, (512, 384)).shape == (384, 512, 3)
    assert np.abs(shrunk(picture, (512, 384)) - direct).mean() < 1.5
    near = picture[:700, :900]
    assert np.array_equal(shrunk(near, (512, 384)), cv2.resize(near, (512, 384), interpolation=cv2.INTER_AREA))


# ---- real photographs ----------------------------------------------------------------------------------------------------------


@pytest.mark.photographs
def test_every_real_photograph_gives_a_plausible_disc(photographs: Path) -> None:
    paths = sorted((photographs / "eyepacs-colour" / "images").iterdir())[::20]
    for folder in ("eyepacs-fullsize", "hei-med"):
        paths += sorted((photographs / folder / "images").iterdir())
    assert len(paths) > 100
    for path in paths:
        photograph = read_photograph(path)
        frame, mask = find_retina(photograph)
        height, width = photograph.shape[:2]
        centre = frame.top + frame.side / 2, frame.left + frame.side / 2
        assert 0.5 < frame.side / max(height, width) < 1.4, path
        assert abs(centre[0] / height - 0.5) < 0.1, path
        assert abs(centre[1] / width - 0.5) < 0.1, path
        if mask.mean() < 0.98:
            assert photograph[mask].mean() > 3 * photograph[~mask].mean(), path
        seen = crop(mask.astype(np.uint8), frame)
        assert seen.mean() > 0.5, path


@pytest.mark.photographs
def test_exudates_outlined_by_a_specialist_lie_on_the_retina(photographs: Path) -> None:
    masks = sorted((photographs / "hei-med" / "exudate_masks").iterdir())
    with (photographs / "hei-med" / "lesions.csv").open(newline="") as table:
        assert len(masks) == sum(row["has_exudate"] in ("1", "yes", "True", "true") for row in csv.DictReader(table))
    for path in masks:
        (photograph,) = (photographs / "hei-med" / "images").glob(f"{path.stem}.*")
        exudate = read_photograph(path)[..., 0] > 127
        _, retina = find_retina(read_photograph(photograph))
        assert retina[exudate].mean() > 0.99, path
