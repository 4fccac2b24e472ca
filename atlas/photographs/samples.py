"""The pixel data of a DICOM file: from its bytes, in any transfer syntax that imagecodecs decodes, to samples and to colours.

Values are used as they are stored: window and rescale of the header, made for displays, are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atlas.records import ByteArray

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

Samples = NDArray[np.integer[Any]]

_JPEG, _JPEG_LS, _JPEG_2000, _RLE = "JPEG", "JPEG-LS", "JPEG 2000", "RLE"

_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")
"""Implicit and explicit little endian, deflated, and explicit big endian."""

_BIG_ENDIAN = "1.2.840.10008.1.2.2"

_CODED: Mapping[str, str] = {
    "1.2.840.10008.1.2.4.50": _JPEG,  # baseline, 8 bits
    "1.2.840.10008.1.2.4.51": _JPEG,  # extended, 8 or 12 bits
    "1.2.840.10008.1.2.4.57": _JPEG,  # lossless, any predictor
    "1.2.840.10008.1.2.4.70": _JPEG,  # lossless, first predictor
    "1.2.840.10008.1.2.4.80": _JPEG_LS,
    "1.2.840.10008.1.2.4.81": _JPEG_LS,  # near-lossless
    "1.2.840.10008.1.2.4.90": _JPEG_2000,  # lossless
    "1.2.840.10008.1.2.4.91": _JPEG_2000,
    "1.2.840.10008.1.2.4.201": _JPEG_2000,  # high-throughput, lossless
    "1.2.840.10008.1.2.4.202": _JPEG_2000,  # the same with options for streaming
    "1.2.840.10008.1.2.4.203": _JPEG_2000,  # high-throughput
    "1.2.840.10008.1.2.5": _RLE,
}
"""Transfer syntaxes whose frames are coded, and by what (DICOM PS3.5, annex A)."""

_LOSSLESS_JPEG = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")

_GREY = ("MONOCHROME1", "MONOCHROME2")

_LUMA = ("YBR_FULL", "YBR_FULL_422")

_UNREAD = ("CMYK", "ARGB", "HSV", "XYB", "YBR_PARTIAL_420", "YBR_PARTIAL_422", "YBR_FULL_420")
"""Other photometric interpretations of the standard. No other word of a header is shown."""

_MIXED = ("YBR_RCT", "YBR_ICT")  # parts of JPEG 2000, which its decoders undo

_DEPTHS = (8, 10, 12, 14, 16)  # bits for a sample that cameras write into 16

SCAN, END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"  # JPEG markers


def require_end(jpeg: bytes) -> None:
    """Raise ValueError where a JPEG is cut short: decoders pass over that."""
    scan = jpeg.rfind(SCAN)
    if scan < 0 or jpeg.rfind(END_OF_IMAGE) < scan:
        raise ValueError("the end of the JPEG is missing")


def highest_bits(samples: Samples) -> ByteArray:
    """Keep the highest 8 of the bits that a picture's samples use: cameras write 10, 12 or 14 bits into 16."""
    return np.asarray(samples >> (_used_bits(samples) - 8), np.uint8)


def _used_bits(samples: Samples) -> int:
    return next(depth for depth in _DEPTHS if int(samples.max()) < 1 << depth)


class UnknownFormError(ValueError):
    """Pixel data in a form that is not read; the message names the form."""


@dataclass(frozen=True)
class _Form:
    """How the pixel data of a file are laid out."""

    syntax: str
    rows: int
    columns: int
    samples: int
    photometric: str
    allocated: int
    stored: int
    high: int
    signed: bool
    by_plane: bool
    frames: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.rows, self.columns) if self.samples == 1 else (self.rows, self.columns, self.samples)


def prepare_frame(data: FileDataset, frame: int) -> Callable[[], ByteArray]:
    """Find one frame in a data set, and return a function that decodes it.

    Finding it needs pydicom, decoding it does not: it may run beside others.

    Parameters
    ----------
    data : FileDataset
        Its elements on the picture, see `dicom.read_frame`.
    frame : int
        From 1.

    Returns
    -------
    Callable
        Returns uint8 (H, W, 3) RGB. Of longer samples, it keeps the highest 8 of the bits that the file says it stores; of the
        bits that the picture uses if the file says 16.

    Raises
    ------
    UnknownFormError
        What this module does not read, by name.
    ValueError
        Where the pixel data are damaged or cut short. The function raises ValueError and errors of decoders as well.
    """
    form = _form(data)
    if "PixelData" not in data:
        raise ValueError("there are no pixel data")
    if not 1 <= frame <= form.frames:
        raise ValueError(f"there is no frame {frame}")
    palette = _palette(data) if form.photometric == "PALETTE COLOR" else None
    if form.syntax in _NATIVE:
        block = _native_frame(data, form, frame)
        return lambda: _finished(_unpack(block, form), form, palette)
    from pydicom.encaps import get_frame

    tables = (data.get("ExtendedOffsetTable"), data.get("ExtendedOffsetTableLengths"))
    offsets = (bytes(tables[0]), bytes(tables[1])) if tables[0] and tables[1] else None
    coded = get_frame(data.PixelData, frame - 1, number_of_frames=form.frames, extended_offsets=offsets)
    return lambda: _finished(_decode(coded, form), form, palette)


def _form(data: FileDataset) -> _Form:
    from pydicom.uid import UID

    syntax = str(data.file_meta.get("TransferSyntaxUID") or "")
    if not syntax:
        implicit, little = data.original_encoding
        syntax = _NATIVE[0] if implicit else (_NATIVE[1] if little else _BIG_ENDIAN)
    if syntax not in _NATIVE and syntax not in _CODED:
        known = re.fullmatch(r"1\.2\.840\.10008\.[0-9.]+", syntax)
        raise UnknownFormError(f"the transfer syntax {UID(syntax).name}" if known else "a private transfer syntax")
    allocated = int(data.BitsAllocated)
    stored = int(data.get("BitsStored") or allocated)
    high = data.get("HighBit")
    form = _Form(
        syntax,
        int(data.Rows),
        int(data.Columns),
        int(data.SamplesPerPixel),
        str(data.get("PhotometricInterpretation") or "").strip().upper(),
        allocated,
        stored,
        stored - 1 if high is None else int(high),
        bool(data.get("PixelRepresentation")),
        data.get("PlanarConfiguration") == 1,
        int(data.get("NumberOfFrames") or 1),
    )
    singles = form.photometric in (*_GREY, "PALETTE COLOR")
    if not singles and form.photometric not in ("RGB", *_LUMA, *_MIXED):
        told = f"the photometric interpretation {form.photometric}" if form.photometric in _UNREAD else "unknown colours"
        raise UnknownFormError(told)
    if form.samples != (1 if singles else 3):
        raise UnknownFormError(f"{form.samples} samples for a pixel")
    if allocated not in (8, 16) or not 8 <= stored <= allocated or not stored - 1 <= form.high < allocated:
        raise UnknownFormError(f"samples of {stored} bits in {allocated}")
    return form


def _native_frame(data: FileDataset, form: _Form, frame: int) -> bytes:
    """Return the bytes of a frame that is not coded."""
    pixels: bytes = data.PixelData
    # Bytes that lie in words are swapped in pairs.
    if form.syntax == _BIG_ENDIAN and form.allocated == 8 and data["PixelData"].VR == "OW":
        pixels = np.frombuffer(pixels[: len(pixels) // 2 * 2], "u2").byteswap().tobytes()
    samples = 2 * form.rows * form.columns if form.photometric == "YBR_FULL_422" else int(np.prod(form.shape))
    size = samples * form.allocated // 8
    block = pixels[(frame - 1) * size : frame * size]
    if len(block) != size:
        raise ValueError("the pixel data are cut short")
    return block


def _unpack(block: bytes, form: _Form) -> Samples:
    order = ">" if form.syntax == _BIG_ENDIAN else "<"
    flat = np.frombuffer(block, np.dtype(f"{order}u{form.allocated // 8}")).astype(f"u{form.allocated // 8}")
    if form.photometric == "YBR_FULL_422":  # two pixels share their colour: Y, Y, Cb, Cr
        pairs = flat.reshape(form.rows, -1, 4)
        both = np.stack([pairs[..., (0, 2, 3)], pairs[..., (1, 2, 3)]], axis=2)
        return both.reshape(form.rows, form.columns, 3)
    if form.samples > 1 and form.by_plane:
        return np.ascontiguousarray(flat.reshape(form.samples, form.rows, form.columns).transpose(1, 2, 0))
    return flat.reshape(form.shape)


def _decode(coded: bytes, form: _Form) -> Samples:
    """Decode a frame. Its own header must name the size that the file's header does, so it takes no more memory than that."""
    import imagecodecs

    kind = _CODED[form.syntax]
    if kind == _RLE:
        decoded = imagecodecs.dicomrle_decode(
            coded, f"<u{form.allocated // 8}", out=int(np.prod(form.shape)) * form.allocated // 8
        )
        planes = np.frombuffer(decoded, f"<u{form.allocated // 8}").reshape(form.samples, form.rows, form.columns)
        return planes.transpose(1, 2, 0).reshape(form.shape)
    if kind == _JPEG_LS:
        return _into(form, lambda out: imagecodecs.jpegls_decode(coded, out=out))
    if kind == _JPEG_2000:
        return _into(form, lambda out: imagecodecs.jpeg2k_decode(coded, out=out))
    require_end(coded)
    head = coded.partition(SCAN)[0]
    # The file's header tells the colours of a JPEG only where the JPEG itself does not: many call RGB what is not.
    told = b"JFIF\0" in head or b"Adobe" in head
    plain = form.photometric == "RGB" and not told and form.syntax not in _LOSSLESS_JPEG
    colours = "RGB" if plain else None
    return _into(form, lambda out: imagecodecs.jpeg8_decode(coded, colorspace=colours, outcolorspace=colours, out=out))


def _into(form: _Form, decode: Callable[[Samples], Samples]) -> Samples:
    """Decode into memory for samples of 8 or 16 bits: decoders refuse, before they decode, what does not fit."""
    sizes = (1, 2) if form.stored <= 8 else (2, 1)
    kinds = [f"{sign}{size}" for sign in ("ui" if form.signed else "u") for size in sizes]
    why = ""
    for kind in kinds:
        try:
            return np.asarray(decode(np.empty(form.shape, kind)))
        except ValueError as error:
            why = str(error)  # not the error itself, which would keep the memory
    raise ValueError(why)


def _finished(samples: Samples, form: _Form, palette: tuple[list[ByteArray], int] | None) -> ByteArray:
    """Turn samples as they are stored into RGB of 8 bits, in which more is brighter."""
    bits = min(form.stored, 8 * samples.dtype.itemsize)
    if _CODED.get(form.syntax, _RLE) == _RLE:  # the bits above and below may hold anything
        samples = samples >> (form.high + 1 - bits)
    levels = samples.astype(np.int32) & ((1 << bits) - 1)
    if form.signed:
        levels ^= 1 << (bits - 1)  # from the lowest, negative, upwards
    if palette is not None:
        tables, first = palette
        places = np.clip(levels - first, 0, len(tables[0]) - 1)
        return np.stack([table[places] for table in tables], axis=-1)
    if bits == 16 and form.photometric not in _LUMA:
        bits = _used_bits(levels)
    if form.photometric == "MONOCHROME1":
        levels = ((1 << bits) - 1) - levels
    elif form.photometric in _LUMA and (_CODED.get(form.syntax) != _JPEG or form.syntax in _LOSSLESS_JPEG):
        levels = _from_luma(levels, bits)  # decoders of lossy JPEG have done so
    shown = np.asarray(levels >> (bits - 8), np.uint8)
    return np.repeat(shown[..., None], 3, axis=2) if form.samples == 1 else np.ascontiguousarray(shown)


def _from_luma(levels: NDArray[np.int32], bits: int) -> NDArray[np.int32]:
    """Return RGB of YCbCr with full range (ITU-T T.871; DICOM PS3.3, C.7.6.3.1.2)."""
    luma, blue, red = (levels[..., place].astype(np.float64) for place in range(3))
    blue, red = blue - (1 << (bits - 1)), red - (1 << (bits - 1))
    colours = np.stack([luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue], axis=-1)
    return np.clip(np.rint(colours), 0, (1 << bits) - 1).astype(np.int32)


def _palette(data: FileDataset) -> tuple[list[ByteArray], int]:
    """Return the tables of red, green and blue, uint8 (entries,), and the sample that the first entry is for."""
    entries, first, bits = (int(value) for value in data.RedPaletteColorLookupTableDescriptor)
    entries = entries or 1 << 16  # 0 means as many
    order = ">" if str(data.file_meta.get("TransferSyntaxUID")) == _BIG_ENDIAN else "<"
    tables = []
    for colour in ("Red", "Green", "Blue"):
        if f"Segmented{colour}PaletteColorLookupTableData" in data:
            raise UnknownFormError("a palette in segments")
        block = bytes(data[f"{colour}PaletteColorLookupTableData"].value)
        kind = np.dtype(f"{order}u2" if len(block) >= 2 * entries else "u1")
        tables.append(np.frombuffer(block, kind, entries).astype(np.uint16))
    long = bits > 8 and max(int(table.max()) for table in tables) > 255  # some writers put 8 bits into entries of 16
    return [np.asarray(table >> 8 if long else table, np.uint8) for table in tables], first
