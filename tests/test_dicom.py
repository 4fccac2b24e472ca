"""DICOM files: pixels in every transfer syntax that can be written, what is refused, and damage of all kinds."""

from __future__ import annotations

import io
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from dicom_files import (
    CODED,
    LOSSLESS,
    LOSSY,
    NATIVE,
    PHOTOGRAPHY_16,
    SECONDARY_CAPTURE,
    TRUE_COLOUR_CAPTURE,
    write_dicom,
)
from PIL import Image
from pydicom import uid

from atlas import read_photograph
from atlas.drawn.paint import draw_eye
from atlas.errors import UnreadableImageError
from atlas.photographs.decode import decode_photograph, read_size
from atlas.photographs.dicom import Header, file_of, frame_path, is_dicom, read_header
from atlas.photographs.limits import MOST_PIXELS

EYE = draw_eye(1, 2, size=96).pixels


def header(path: Path) -> Header:
    with path.open("rb") as file:
        assert is_dicom(file)
        return read_header(path, file)


def grey(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels[..., None], 3, axis=2)


def smooth(pixels: np.ndarray) -> np.ndarray:
    """The same picture at twice the size: lossy coding that halves the colours changes it little."""
    return np.asarray(Image.fromarray(pixels).resize((2 * pixels.shape[1], 2 * pixels.shape[0]), Image.Resampling.BICUBIC))


# Pixels ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_what_is_stored_without_loss_is_read_without_loss(tmp_path: Path, syntax: str, bits: int) -> None:
    deep = EYE.astype(np.uint16) << (bits - 8) if bits > 8 else EYE
    deep[0, 0] = (1 << bits) - 1
    want = (deep >> (bits - 8)).astype(np.uint8)
    colour = write_dicom(tmp_path / "colour.dcm", deep, syntax=syntax, bits=bits)
    assert np.array_equal(read_photograph(colour), want)
    one = write_dicom(tmp_path / "grey.dcm", deep[..., 1], syntax=syntax, bits=bits, kind=PHOTOGRAPHY_16)
    assert np.array_equal(read_photograph(one), grey(want[..., 1]))
    assert read_size(one) == decode_photograph(one, least=32).shape == EYE.shape[:2]


@pytest.mark.parametrize("syntax", LOSSY)
@pytest.mark.parametrize("bits", [8, 12])
def test_what_is_stored_with_loss_is_nearly_the_same(tmp_path: Path, syntax: str, bits: int) -> None:
    if syntax == "jpeg-baseline" and bits == 12:
        bits, syntax = 12, "jpeg-extended"  # the baseline has 8 bits only
    picture = smooth(EYE)
    deep = picture.astype(np.uint16) << (bits - 8) if bits > 8 else picture
    colour = read_photograph(write_dicom(tmp_path / "colour.dcm", deep, syntax=syntax, bits=bits))
    assert np.abs(colour.astype(int) - picture).mean() < 3
    one = read_photograph(write_dicom(tmp_path / "grey.dcm", deep[..., 1], syntax=syntax, bits=bits))
    assert np.abs(one.astype(int) - grey(picture[..., 1])).mean() < 3


def test_every_syntax_is_written_by_a_test() -> None:
    from atlas.photographs import samples

    written = {str(one) for one in NATIVE.values()} | {str(one) for one, _ in CODED.values()}
    assert written == {*samples._NATIVE, *samples._CODED}
    assert {*LOSSLESS, *LOSSY} == {*NATIVE, *CODED}


@pytest.mark.parametrize("size", [(48, 64), (49, 63), (48, 63)])
@pytest.mark.parametrize("syntax", ["explicit", "big-endian", "rle", "jpeg-ls"])
def test_odd_numbers_of_pixels_are_read(tmp_path: Path, size: tuple[int, int], syntax: str) -> None:
    pixels = np.ascontiguousarray(EYE[: size[0], : size[1]])
    assert np.array_equal(read_photograph(write_dicom(tmp_path / "a.dcm", pixels, syntax=syntax)), pixels)
    assert np.array_equal(read_photograph(write_dicom(tmp_path / "b.dcm", pixels[..., 0], syntax=syntax)), grey(pixels[..., 0]))


def test_samples_stored_plane_by_plane_are_read(tmp_path: Path) -> None:
    planes = write_dicom(tmp_path / "a.dcm", EYE)
    data = pydicom.dcmread(planes)
    data.PlanarConfiguration = 1
    data.PixelData = np.ascontiguousarray(EYE.transpose(2, 0, 1)).tobytes()
    data.save_as(planes)
    assert np.array_equal(read_photograph(planes), EYE)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_monochrome_1_is_turned_round(tmp_path: Path, bits: int) -> None:
    deep = EYE[..., 1].astype(np.uint16 if bits > 8 else np.uint8) << (bits - 8)
    file = write_dicom(tmp_path / "a.dcm", ((1 << bits) - 1) - deep, photometric="MONOCHROME1", bits=bits)
    assert np.abs(read_photograph(file).astype(int) - grey(EYE[..., 1])).max() <= (1 if bits > 8 else 0)


def ycc(pixels: np.ndarray) -> np.ndarray:
    """YCbCr of RGB by ITU-T T.871, as Pillow computes it."""
    return np.asarray(Image.fromarray(pixels).convert("YCbCr"))


@pytest.mark.parametrize(
    "syntax", ["implicit", "explicit", "big-endian", "rle", "jpeg-ls", "jpeg-lossless", "jpeg-2000-lossless"]
)
def test_ybr_full_becomes_rgb(tmp_path: Path, syntax: str) -> None:
    encode = None
    if syntax == "jpeg-2000-lossless":

        def encode(frame: np.ndarray, bits: int) -> bytes:
            return bytes(imagecodecs.jpeg2k_encode(frame, level=0, codecformat="j2k", reversible=True, mct=False))

    stored = ycc(EYE)
    file = write_dicom(tmp_path / "a.dcm", stored, syntax=syntax, photometric="YBR_FULL", encode=encode)
    want = np.asarray(Image.frombytes("YCbCr", stored.shape[1::-1], stored.tobytes()).convert("RGB"))
    assert np.abs(read_photograph(file).astype(int) - want).max() <= 1


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "big-endian"])
def test_colours_shared_by_two_pixels_are_read(tmp_path: Path, syntax: str) -> None:
    luma = ycc(smooth(EYE))
    colours = np.repeat((luma[:, ::2, 1:].astype(np.uint16) + luma[:, 1::2, 1:] + 1) // 2, 2, axis=1).astype(np.uint8)
    pairs = np.concatenate([luma[:, ::2, :1], luma[:, 1::2, :1], colours[:, ::2]], axis=2)
    block = np.ascontiguousarray(pairs).tobytes()
    if syntax == "big-endian":
        block = np.frombuffer(block, "u2").byteswap().tobytes()
    file = write_dicom(tmp_path / "a.dcm", luma, syntax=syntax, photometric="YBR_FULL_422", PixelData=block)
    assert np.abs(read_photograph(file).astype(int) - smooth(EYE)).mean() < 2


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("syntax", ["explicit", "big-endian", "rle"])
@pytest.mark.parametrize("first", [0, 16])
def test_a_palette_becomes_its_colours(tmp_path: Path, bits: int, syntax: str, first: int) -> None:
    shown = Image.fromarray(EYE).quantize(128)
    places = np.asarray(shown) + np.uint8(first)
    table = np.array(shown.getpalette()[: 3 * 128], np.uint16).reshape(-1, 3)
    entries: dict[str, Any] = {}
    for name, column in zip(("Red", "Green", "Blue"), table.T, strict=True):
        entries[f"{name}PaletteColorLookupTableDescriptor"] = [len(table), first, bits]
        kind = ">u2" if syntax == "big-endian" else "<u2"
        stored = column.astype(np.uint8) if bits == 8 else (column * 257).astype(kind)
        entries[f"{name}PaletteColorLookupTableData"] = stored.tobytes()
    file = write_dicom(tmp_path / "a.dcm", places, syntax=syntax, photometric="PALETTE COLOR", **entries)
    assert np.array_equal(read_photograph(file), table.astype(np.uint8)[np.asarray(shown)])


@pytest.mark.parametrize("marked", [False, True])
def test_the_colours_of_a_jpeg_are_those_that_it_names_itself(tmp_path: Path, marked: bool) -> None:
    """Many files call RGB what their JPEG stores as YCbCr. Without a mark in the JPEG, the header is believed."""
    picture = smooth(EYE)

    def encode(frame: np.ndarray, bits: int) -> bytes:
        if marked:
            stream = io.BytesIO()
            Image.fromarray(frame).save(stream, "JPEG", quality=95)
            return stream.getvalue()
        coded = bytes(imagecodecs.jpeg8_encode(frame, level=95, colorspace="RGB", outcolorspace="RGB"))
        place = coded.index(b"\xff\xee")  # the mark of Adobe is cut out
        return coded[:place] + coded[place + 2 + int.from_bytes(coded[place + 2 : place + 4], "big") :]

    file = write_dicom(tmp_path / "a.dcm", picture, syntax="jpeg-baseline", photometric="RGB", encode=encode)
    assert np.abs(read_photograph(file).astype(int) - picture).mean() < 3


def test_bits_beside_those_that_are_stored_do_not_count(tmp_path: Path) -> None:
    deep = (EYE[..., 1].astype(np.uint16) << 4) | 0xF000  # an overlay in the upper bits, as old files have it
    assert np.array_equal(read_photograph(write_dicom(tmp_path / "a.dcm", deep, bits=12)), grey(EYE[..., 1]))
    raised = write_dicom(tmp_path / "b.dcm", EYE[..., 1].astype(np.uint16) << 8, bits=12, HighBit=15)
    assert np.array_equal(read_photograph(raised), grey(EYE[..., 1]))


def test_of_16_bits_those_that_are_used_count(tmp_path: Path) -> None:
    deep = EYE[..., 1].astype(np.uint16) << 4
    deep[0, 0] = 4095
    want = (deep >> 4).astype(np.uint8)
    assert np.array_equal(read_photograph(write_dicom(tmp_path / "a.dcm", deep, bits=16)), grey(want))
    dark = EYE[..., 1].astype(np.uint16)  # a dark picture of 12 bits stays as dark as it was taken
    assert np.array_equal(read_photograph(write_dicom(tmp_path / "b.dcm", dark, bits=12)), grey((dark >> 4).astype(np.uint8)))


@pytest.mark.parametrize("syntax", ["explicit", "big-endian", "rle", "jpeg-2000-lossless"])
@pytest.mark.parametrize("bits", [8, 12])
def test_samples_with_a_sign_are_read_from_the_lowest_upwards(tmp_path: Path, syntax: str, bits: int) -> None:
    levels = EYE[..., 1].astype(np.int32) << (bits - 8)
    signed = (levels - (1 << (bits - 1))).astype(np.int8 if bits == 8 else np.int16)
    encode = None
    if syntax == "jpeg-2000-lossless":

        def encode(frame: np.ndarray, bits: int) -> bytes:
            return bytes(imagecodecs.jpeg2k_encode(frame, level=0, codecformat="j2k", reversible=True, bitspersample=bits))

    else:
        signed = signed.view(f"u{signed.dtype.itemsize}") & ((1 << bits) - 1)
    file = write_dicom(tmp_path / "a.dcm", signed, syntax=syntax, bits=bits, PixelRepresentation=1, encode=encode)
    assert np.array_equal(read_photograph(file), grey(EYE[..., 1]))


def test_window_and_rescale_do_not_change_a_photograph(tmp_path: Path) -> None:
    file = write_dicom(
        *(tmp_path / "a.dcm", EYE[..., 1]),
        **{"WindowCenter": 20, "WindowWidth": 5, "RescaleSlope": 3, "RescaleIntercept": -50, "VOILUTFunction": "SIGMOID"},
    )
    assert np.array_equal(read_photograph(file), grey(EYE[..., 1]))


# Frames ------------------------------------------------------------------------------------------------------------------------


FRAMES = [np.ascontiguousarray(np.roll(EYE, 7 * shift, axis=1)) for shift in range(3)]


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize("extended", [False, True])
def test_each_frame_of_a_file_is_read_by_its_name(tmp_path: Path, syntax: str, extended: bool) -> None:
    file = write_dicom(
        *(tmp_path / "eye.dcm", FRAMES), syntax=syntax, frames=True, extended=extended, kind=TRUE_COLOUR_CAPTURE, Modality="OT"
    )
    assert header(file).frames == 3
    for number, pixels in enumerate(FRAMES, start=1):
        assert np.array_equal(read_photograph(tmp_path / f"eye.{number}.dcm"), pixels)
        assert read_size(tmp_path / f"eye.{number}.dcm") == EYE.shape[:2]
    assert np.array_equal(read_photograph(file), FRAMES[0])
    with pytest.raises(UnreadableImageError, match=r"eye\.4\.dcm: is frame 4 of a file that holds 3"):
        read_photograph(tmp_path / "eye.4.dcm")


def test_a_frame_in_several_pieces_is_read(tmp_path: Path) -> None:
    coded = [bytes(imagecodecs.jpeg2k_encode(one, level=0, codecformat="j2k", reversible=True)) for one in FRAMES]
    file = write_dicom(tmp_path / "a.dcm", FRAMES, syntax="jpeg-2000-lossless", frames=True)
    data = pydicom.dcmread(file)
    for table in (True, False):
        data.PixelData = pydicom.encaps.encapsulate(coded, fragments_per_frame=4, has_bot=table)
        data.save_as(file)
        for number, pixels in enumerate(FRAMES, start=1):
            assert np.array_equal(read_photograph(frame_path(file, number)), pixels)


def test_a_file_is_found_by_the_name_of_its_frame(tmp_path: Path) -> None:
    for name, frame in (
        ("a.dcm", "a.2.dcm"),
        ("a", "a.2"),
        ("1.2.840.7", "1.2.840.7.2"),
        ("scan.IMA", "scan.IMA.2"),
        ("A.DCM", "A.2.DCM"),
    ):
        file = tmp_path / name
        assert frame_path(file, 2) == tmp_path / frame
        assert file_of(tmp_path / frame) == (tmp_path / frame, None)
        file.write_bytes(b"x")
        assert file_of(tmp_path / frame) == (file, 2)
        assert file_of(file) == (file, None)
        (tmp_path / frame).write_bytes(b"y")  # a file of that name comes first
        assert file_of(tmp_path / frame) == (tmp_path / frame, None)


# Headers -----------------------------------------------------------------------------------------------------------------------


def test_the_header_tells_eye_patient_date_and_spacing(tmp_path: Path) -> None:
    full = header(
        write_dicom(
            *(tmp_path / "a.dcm", EYE),
            **{
                "ImageLaterality": "R",
                "PatientID": "P 7",
                "AcquisitionDateTime": "20240229134501.5+0100",
                "PixelSpacing": [0.01, 0.02],
            },
            **{"BurnedInAnnotation": "YES", "SOPInstanceUID": "1.2.3"},
        )
    )
    assert (full.uid, full.eye, full.patient, full.burnt_in) == ("1.2.3", "right", "P 7", True)
    assert (full.acquired, full.spacing) == (date(2024, 2, 29), (0.01, 0.02))
    older = header(
        write_dicom(
            *(tmp_path / "b.dcm", EYE),
            **{"Laterality": "L", "AcquisitionDate": "19991231", "NominalScannedPixelSpacing": [0.5, 0.5]},
            **{"BurnedInAnnotation": "NO", "kind": SECONDARY_CAPTURE, "Modality": "OT"},
        )
    )
    assert (older.eye, older.acquired, older.spacing, older.burnt_in) == ("left", date(1999, 12, 31), (0.5, 0.5), False)
    both = header(write_dicom(tmp_path / "c.dcm", EYE, ImageLaterality="B", AcquisitionDate="20240231", PixelSpacing=[0, 0]))
    assert (both.eye, both.acquired, both.spacing, both.patient) == (None, None, None, None)


OTHERS = {
    "CT": (uid.CTImageStorage, "CT", "CT Image Storage"),
    "MR": (uid.MRImageStorage, "MR", "MR Image Storage"),
    "tomography": (uid.OphthalmicTomographyImageStorage, "OPT", "Ophthalmic Tomography Image Storage"),
    "angiography": (uid.OphthalmicOpticalCoherenceTomographyEnFaceImageStorage, "OPT", "En Face"),
    "report": (uid.ComprehensiveSRStorage, "SR", "Comprehensive SR Storage"),
    "document": (uid.EncapsulatedPDFStorage, "DOC", "Encapsulated PDF Storage"),
    "field": (uid.OphthalmicVisualFieldStaticPerimetryMeasurementsStorage, "OPV", "Visual Field"),
    "video": (uid.VideoPhotographicImageStorage, "XC", "Video Photographic Image Storage"),
    "screen": (SECONDARY_CAPTURE, "CT", "Secondary Capture Image Storage"),
    "private": ("1.2.3.4", "OP", "of an unknown class"),
    "odd": (SECONDARY_CAPTURE, "Jane Doe", "modality unknown"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_modalities_are_refused_by_name(tmp_path: Path, case: str) -> None:
    kind, modality, name = OTHERS[case]
    file = write_dicom(tmp_path / "scan.dcm", EYE, kind=kind, Modality=modality)
    for read in (read_photograph, read_size):
        with pytest.raises(UnreadableImageError) as caught:
            read(file)
        assert "scan.dcm: is no photograph but DICOM of another kind" in caught.value.message
        assert name in caught.value.message
        assert (modality in caught.value.message) == (case != "odd")
        assert "ophthalmic photography" in caught.value.remedy


def test_forms_that_are_not_read_are_refused_by_name(tmp_path: Path) -> None:
    for number, (more, name) in enumerate(
        (
            ({"photometric": "CMYK"}, "photometric interpretation CMYK"),
            ({"photometric": "YBR_PARTIAL_420"}, "photometric interpretation YBR_PARTIAL_420"),
            ({"SamplesPerPixel": 4}, "4 samples for a pixel"),
            ({"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}, "samples of 32 bits in 32"),
        )
    ):
        with pytest.raises(UnreadableImageError, match=f"{number}.dcm: is DICOM in a form that is not read .the {name}|{name}"):
            read_photograph(write_dicom(tmp_path / f"{number}.dcm", EYE, **more))
    with pytest.raises(UnreadableImageError, match="unknown colours"):
        read_photograph(write_dicom(tmp_path / "odd.dcm", EYE, photometric="RAINBOW"))
    video = write_dicom(tmp_path / "video.dcm", EYE, syntax="jpeg-baseline")
    content = video.read_bytes().replace(b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.4.99")
    video.write_bytes(content.replace(b"1.2.840.10008.1.2.4.99", b"1.2.840.10008.1.2.4.94"))
    with pytest.raises(UnreadableImageError, match="the transfer syntax JPIP Referenced"):
        read_photograph(video)


# Damage ------------------------------------------------------------------------------------------------------------------------


def outcome(file: Path) -> np.ndarray | str:
    """Read a file that may be damaged: its pixels, or the message, which must name the file and say what to do."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return read_photograph(file)
        except UnreadableImageError as error:
            found = error
    assert str(file) in found.message
    assert found.remedy
    return found.message


@pytest.mark.parametrize("syntax", [*NATIVE, *CODED])
def test_a_file_that_is_cut_short_is_named(tmp_path: Path, syntax: str) -> None:
    content = write_dicom(tmp_path / "whole.dcm", EYE, syntax=syntax).read_bytes()
    whole = read_photograph(tmp_path / "whole.dcm")
    file = tmp_path / "cut.dcm"
    for length in [*range(1, 400, 23), *np.linspace(400, len(content) - 1, 40, dtype=int)]:
        file.write_bytes(content[:length])
        found = outcome(file)
        if not isinstance(found, str):  # only what lies behind the picture was lost
            assert len(content) - length <= 16
            assert np.array_equal(found, whole)


@pytest.mark.parametrize("syntax", [*NATIVE, *CODED])
def test_random_damage_ends_in_a_picture_or_in_a_message(tmp_path: Path, syntax: str) -> None:
    content = np.frombuffer(write_dicom(tmp_path / "whole.dcm", EYE, syntax=syntax).read_bytes(), np.uint8)
    random = np.random.default_rng(zlib.crc32(syntax.encode()))
    file = tmp_path / "damaged.dcm"
    for round_ in range(60):
        damaged = content.copy()
        end = len(content) if round_ % 2 else min(1200, len(content))  # headers are short, but matter most
        places = random.integers(132, end, size=1 + round_ % 8)
        damaged[places] = random.integers(0, 256, size=len(places))
        file.write_bytes(damaged.tobytes())
        outcome(file)


def test_what_holds_no_picture_is_named(tmp_path: Path) -> None:
    start = b"\0" * 128 + b"DICM"
    random = np.random.default_rng(1)
    contents = {
        "nothing.dcm": start,
        "encrypted.dcm": start + random.bytes(5000),
        "text.dcm": b"a letter about a patient",
        "sealed.dcm": start + b"\x30\x82\x10\x00\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03" + random.bytes(4000),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        assert isinstance(outcome(tmp_path / name), str)
    for element in ("PixelData", "Rows", "BitsAllocated", "SamplesPerPixel", "PhotometricInterpretation"):
        file = write_dicom(tmp_path / f"{element}.dcm", EYE, **{element: None})
        assert isinstance(outcome(file), str)
    assert "no photograph" in str(outcome(write_dicom(tmp_path / "a.dcm", EYE, kind=uid.MediaStorageDirectoryStorage)))


@pytest.mark.parametrize(
    "syntax", ["explicit", "deflated", "rle", "jpeg-baseline", "jpeg-lossless", "jpeg-ls", "jpeg-2000-lossless"]
)
@pytest.mark.parametrize(
    "size", [{"Rows": 60_000, "Columns": 60_000}, {"Rows": 8_000, "Columns": 8_000}, {"NumberOfFrames": 2**31 - 1}]
)
def test_a_small_file_that_claims_large_pictures_takes_no_memory(tmp_path: Path, syntax: str, size: dict[str, int]) -> None:
    file = write_dicom(tmp_path / "large.dcm", EYE, syntax=syntax, **size)
    tracemalloc.start()
    found = outcome(file)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(found, str)
    assert most < 2 * 3 * 8_000 * 8_000 + 10_000_000  # one picture of the size that is allowed
    if size.get("Rows", 0) ** 2 > MOST_PIXELS:
        assert "80 million pixels" in found
        assert most < 20_000_000
    if "NumberOfFrames" in size:
        assert "2,147,483,647 pictures" in found
        assert most < 20_000_000


@pytest.mark.parametrize("syntax", ["jpeg-baseline", "jpeg-lossless", "jpeg-ls", "jpeg-2000-lossless", "htj2k-lossless"])
def test_a_picture_larger_than_its_header_says_is_refused_before_it_is_decoded(tmp_path: Path, syntax: str) -> None:
    large = np.zeros((1200, 1200, 3), np.uint8)
    file = write_dicom(tmp_path / "large.dcm", large, syntax=syntax, Rows=96, Columns=96)
    tracemalloc.start()
    assert isinstance(outcome(file), str)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < large.nbytes / 2 + 4 * file.stat().st_size


def test_a_compressed_data_set_that_grows_beyond_any_photograph_is_refused(tmp_path: Path) -> None:
    file = write_dicom(tmp_path / "bomb.dcm", EYE, syntax="deflated")
    content = file.read_bytes()
    start = 132 + 12 + int.from_bytes(content[140:144], "little")
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = squeeze.compress(zlib.decompress(content[start:], -zlib.MAX_WBITS))
    body += squeeze.flush(zlib.Z_FULL_FLUSH)
    million = squeeze.compress(b"\0" * 1_000_000) + squeeze.flush(zlib.Z_FULL_FLUSH)
    file.write_bytes(content[:start] + body + 600 * million + squeeze.flush())
    assert file.stat().st_size < 1_000_000
    tracemalloc.start()
    found = outcome(file)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "500 MB" in str(found)
    assert most < 20_000_000


def test_a_header_that_breaks_the_standard_is_read_without_a_warning(tmp_path: Path) -> None:
    odd = {"PatientID": "x" * 200, "ImageLaterality": "left", "AcquisitionDate": "long ago", "PixelSpacing": "near\\far"}
    file = write_dicom(tmp_path / "a.dcm", EYE)
    data = pydicom.dcmread(file)
    for name, value in odd.items():
        tag = pydicom.tag.Tag(pydicom.datadict.tag_for_keyword(name))
        kind, stored = pydicom.datadict.dictionary_VR(tag), value.encode()
        data[tag] = pydicom.dataelem.RawDataElement(tag, kind, len(stored), stored, 0, False, True)
    data.save_as(file)
    assert b"long ago" in file.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(read_photograph(file), EYE)
        found = header(file)
    assert (found.eye, found.acquired, found.spacing) == (None, None, None)


def test_the_message_repeats_nothing_of_a_damaged_header(tmp_path: Path) -> None:
    file = write_dicom(tmp_path / "a.dcm", EYE, PhotometricInterpretation="JANE DOE 1950")
    assert "JANE" not in str(outcome(write_dicom(tmp_path / "b.dcm", EYE, Modality="JANE DOE"))).upper()
    found = str(outcome(file))
    assert "form that is not read (unknown colours)" in found


def test_threads_read_at_once(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    files = [write_dicom(tmp_path / f"{syntax}.dcm", EYE, syntax=syntax) for syntax in LOSSLESS]
    with ThreadPoolExecutor(4) as pool:
        for pixels in pool.map(read_photograph, files * 4):
            assert np.array_equal(pixels, EYE)


# Other pictures ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def write_heic() -> Callable[..., Path]:
    import pillow_heif

    def write(path: Path, pixels: np.ndarray, **more: Any) -> Path:
        pillow_heif.from_pillow(Image.fromarray(pixels)).save(path, quality=95, **more)
        return path

    return write


def test_heic_is_read_and_what_is_cut_short_is_named(tmp_path: Path, write_heic: Callable[..., Path]) -> None:
    picture = smooth(EYE)
    file = write_heic(tmp_path / "phone.heic", picture)
    assert np.abs(read_photograph(file).astype(int) - picture).mean() < 4
    assert read_size(file) == picture.shape[:2]
    content = file.read_bytes()
    for share in (0.05, 0.3, 0.6, 0.95):
        (tmp_path / "cut.heic").write_bytes(content[: int(share * len(content))])
        assert isinstance(outcome(tmp_path / "cut.heic"), str)


def test_heic_is_upright(tmp_path: Path, write_heic: Callable[..., Path]) -> None:
    picture = np.ascontiguousarray(smooth(EYE)[:, :150])
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    file = write_heic(tmp_path / "phone.heic", picture, exif=exif.tobytes())
    turned = np.rot90(picture, -1)
    assert decode_photograph(file).shape == turned.shape[:2]
    assert np.abs(read_photograph(file).astype(int) - turned).mean() < 4
