"""DICOM files of drawn eyes, in every transfer syntax that can be written here.

JPEG XL, JPEG 2000 part 2, JPIP and the video syntaxes cannot.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels.encoders import RLELosslessEncoder

PHOTOGRAPHY_8, PHOTOGRAPHY_16 = "1.2.840.10008.5.1.4.1.1.77.1.5.1", "1.2.840.10008.5.1.4.1.1.77.1.5.2"
SECONDARY_CAPTURE, TRUE_COLOUR_CAPTURE = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.7.4"

ROOT = "1.2.826.0.1.3680043.8.498."  # of UIDs that a test makes


def _jpeg(**more: Any) -> Callable[[np.ndarray, int], bytes]:
    def encode(frame: np.ndarray, bits: int) -> bytes:
        return bytes(imagecodecs.jpeg8_encode(frame, bitspersample=bits if bits > 8 else None, **more))

    return encode


def _jpeg_ls(level: int) -> Callable[[np.ndarray, int], bytes]:
    def encode(frame: np.ndarray, _: int) -> bytes:
        return bytes(imagecodecs.jpegls_encode(frame, level=level, out=2 * frame.nbytes + 4096))

    return encode


def _jpeg_2000(reversible: bool, mixed: bool = True) -> Callable[[np.ndarray, int], bytes]:
    def encode(frame: np.ndarray, bits: int) -> bytes:
        level = 0 if reversible else 60
        coded = imagecodecs.jpeg2k_encode(
            frame, level=level, codecformat="j2k", reversible=reversible, bitspersample=bits, mct=mixed
        )
        return bytes(coded)

    return encode


def _high_throughput(reversible: bool) -> Callable[[np.ndarray, int], bytes]:
    def encode(frame: np.ndarray, _: int) -> bytes:
        return bytes(imagecodecs.htj2k_encode(frame, reversible=reversible, level=None if reversible else 0.002))

    return encode


NATIVE = {
    "implicit": uid.ImplicitVRLittleEndian,
    "explicit": uid.ExplicitVRLittleEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
    "big-endian": uid.ExplicitVRBigEndian,
}
CODED: dict[str, tuple[str, Callable[[np.ndarray, int], bytes] | None]] = {
    "jpeg-baseline": (uid.JPEGBaseline8Bit, _jpeg(level=95)),
    "jpeg-extended": (uid.JPEGExtended12Bit, _jpeg(level=95)),
    "jpeg-lossless": (uid.JPEGLosslessSV1, _jpeg(lossless=True, predictor=1)),
    "jpeg-lossless-7": (uid.JPEGLossless, _jpeg(lossless=True, predictor=7)),
    "jpeg-ls": (uid.JPEGLSLossless, _jpeg_ls(0)),
    "jpeg-ls-near": (uid.JPEGLSNearLossless, _jpeg_ls(2)),
    "jpeg-2000-lossless": (uid.JPEG2000Lossless, _jpeg_2000(True)),
    "jpeg-2000": (uid.JPEG2000, _jpeg_2000(False)),
    "htj2k-lossless": (uid.HTJ2KLossless, _high_throughput(True)),
    "htj2k-rpcl": (uid.HTJ2KLosslessRPCL, _high_throughput(True)),
    "htj2k": (uid.HTJ2K, _high_throughput(False)),
    "rle": (uid.RLELossless, None),
}
LOSSLESS = [*NATIVE, "jpeg-lossless", "jpeg-lossless-7", "jpeg-ls", "jpeg-2000-lossless", "htj2k-lossless", "htj2k-rpcl", "rle"]
LOSSY = ["jpeg-baseline", "jpeg-extended", "jpeg-ls-near", "jpeg-2000", "htj2k"]


def write_dicom(
    path: Path,
    pixels: np.ndarray | Sequence[np.ndarray],
    *,
    syntax: str = "explicit",
    photometric: str | None = None,
    bits: int = 8,
    kind: str = PHOTOGRAPHY_8,
    frames: bool = False,
    extended: bool = False,
    encode: Callable[[np.ndarray, int], bytes] | None = None,
    **elements: Any,
) -> Path:
    """Write a DICOM file and return its path.

    Parameters
    ----------
    pixels : ndarray or Sequence
        Samples as they are to be stored, (H, W) or (H, W, 3), for each frame where `frames` is true.
    photometric : str
        Default: that of the samples' shape and the syntax.
    extended : bool
        With an extended offset table.
    encode : Callable
        Instead of the syntax's own.
    **elements
        Further elements by keyword. None removes one.
    """
    stack = [np.ascontiguousarray(one) for one in (pixels if frames else [pixels])]
    colour = stack[0].ndim == 3
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = kind, ROOT + str(zlib.crc32(path.as_posix().encode()))
    data.Modality = "OP"
    data.Rows, data.Columns = stack[0].shape[:2]
    data.SamplesPerPixel = 3 if colour else 1
    data.PhotometricInterpretation = photometric or _photometric(syntax, colour)
    if colour:
        data.PlanarConfiguration = 0
    if frames:
        data.NumberOfFrames = len(stack)
    data.BitsAllocated, data.BitsStored, data.HighBit = (8 if bits <= 8 else 16), bits, bits - 1
    data.PixelRepresentation = 0
    data.file_meta = FileMetaDataset()
    own = encode
    if syntax in NATIVE:
        data.file_meta.TransferSyntaxUID = NATIVE[syntax]
        order = ">" if syntax == "big-endian" else "<"
        block = b"".join(one.astype(f"{order}u{data.BitsAllocated // 8}").tobytes() for one in stack)
        if syntax == "big-endian" and bits <= 8:  # bytes lie in words, whose order is turned
            block = np.frombuffer(block + b"\0" * (len(block) % 2), "u2").byteswap().tobytes()
        data.PixelData = block + b"\0" * (len(block) % 2)
        data["PixelData"].VR = "OB" if syntax != "big-endian" and bits <= 8 and syntax != "implicit" else "OW"
    else:
        data.file_meta.TransferSyntaxUID, codec = CODED[syntax]
        own = own or codec
        coded = [_run_lengths(one, data) if own is None else own(one, bits) for one in stack]
        if extended:
            block, offsets, lengths = encapsulate_extended(coded)
            data.PixelData, data.ExtendedOffsetTable, data.ExtendedOffsetTableLengths = block, offsets, lengths
        else:
            data.PixelData = encapsulate(coded)
        data["PixelData"].VR = "OB"
        data["PixelData"].is_undefined_length = True
    for name, value in elements.items():
        if value is None:
            delattr(data, name)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a test may break the standard on purpose
                setattr(data, name, value)
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = data.SOPClassUID, data.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.save_as(path, enforce_file_format=True)
    return path


def _photometric(syntax: str, colour: bool) -> str:
    if not colour:
        return "MONOCHROME2"
    if syntax in ("jpeg-baseline", "jpeg-extended"):
        return "YBR_FULL_422"
    if syntax in ("jpeg-2000-lossless", "htj2k-lossless", "htj2k-rpcl"):
        return "YBR_RCT"
    return "YBR_ICT" if syntax in ("jpeg-2000", "htj2k") else "RGB"


def _run_lengths(frame: np.ndarray, data: Dataset) -> bytes:
    return bytes(
        RLELosslessEncoder.encode(
            frame,
            encoding_plugin="pydicom",
            rows=data.Rows,
            columns=data.Columns,
            samples_per_pixel=data.SamplesPerPixel,
            photometric_interpretation=data.PhotometricInterpretation,
            bits_allocated=data.BitsAllocated,
            bits_stored=data.BitsStored,
            pixel_representation=0,
            number_of_frames=1,
            planar_configuration=0,
        )
    )
