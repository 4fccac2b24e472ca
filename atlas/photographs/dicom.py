"""DICOM files: which are photographs, and the little that is read of their headers.

Headers hold names, dates and numbers of patients. Only what a `Header` holds leaves this module, and of that only the side of the
eye and the patient are used: the patient joins photographs of one person and is never shown.
"""

from __future__ import annotations

import io
import re
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from atlas.errors import UnreadableImageError
from atlas.photographs.limits import COPY_AGAIN, EXPORT_AGAIN, LARGEST_FILE, require_shape
from atlas.photographs.samples import UnknownFormError, prepare_frame
from atlas.records import ByteArray

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

DICOM_ENDINGS = (".dcm", ".dicom")
"""Usual endings of DICOM files. Many have none."""

PHOTOGRAPHS = {
    "1.2.840.10008.5.1.4.1.1.77.1.5.1": "Ophthalmic Photography 8 Bit Image Storage",
    "1.2.840.10008.5.1.4.1.1.77.1.5.2": "Ophthalmic Photography 16 Bit Image Storage",
    "1.2.840.10008.5.1.4.1.1.77.1.5.5": "Wide Field Ophthalmic Photography Stereographic Projection Image Storage",
    "1.2.840.10008.5.1.4.1.1.77.1.5.6": "Wide Field Ophthalmic Photography 3D Coordinates Image Storage",
    "1.2.840.10008.5.1.4.1.1.77.1.4": "VL Photographic Image Storage",
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture Image Storage",
    "1.2.840.10008.5.1.4.1.1.7.2": "Multi-frame Grayscale Byte Secondary Capture Image Storage",
    "1.2.840.10008.5.1.4.1.1.7.3": "Multi-frame Grayscale Word Secondary Capture Image Storage",
    "1.2.840.10008.5.1.4.1.1.7.4": "Multi-frame True Color Secondary Capture Image Storage",
}
"""SOP classes that are read (DICOM PS3.4, annex B), by UID."""

DIRECTORY = "1.2.840.10008.1.3.10"
"""SOP class of DICOMDIR, the list of the files on a disk."""

MODALITIES = ("OP", "XC", "OT", "")
"""Modalities that are read: ophthalmic photography, external camera, other, and files that name none. Secondary captures of any
other modality are pictures of its screens."""

_OTHER_MODALITIES = (
    "ANN AR ASMT AU BDUS BI BMD CFM CR CT CTPROTOCOL DG DM DMS DOC DX ECG EEG EMG EOG EPS ES FID GM HC HD IO IOL IVOCT IVUS "
    "KER KO LEN LS M3D MG MR NM OAM OCT OPM OPT OPTBSV OPTENF OPV OSS PA PLAN POS PR PT PX REG RESP RF RG RTDOSE RTIMAGE "
    "RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF STAIN TEXTUREMAP TG US VA XA XAPROTOCOL "
)
"""Other modalities of the standard (DICOM PS3.3, C.7.3.1.1.1). No other word of a header is shown."""

_MOST_FRAMES = 1_000  # in a file: a video is no set of photographs

_MAGIC, _PREAMBLE = b"DICM", 128  # the letters, and the bytes before them

_DEFLATED = b"1.2.840.10008.1.2.1.99"  # a transfer syntax: all of the data set is compressed

_EYES = {"L": "left", "R": "right"}

_PICTURE = (
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "BurnedInAnnotation"),
)
_PALETTE = tuple(
    f"{kind}{colour}PaletteColorLookupTable{part}"
    for colour in ("Red", "Green", "Blue")
    for kind, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
)
_FACTS = (
    *("SOPClassUID", "SOPInstanceUID", "Modality", "PatientID", "AcquisitionDate", "AcquisitionDateTime"),
    *("ImageLaterality", "Laterality", "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"),
)
_PIXELS = ("PixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths")

_READING = threading.Lock()  # filters of warnings belong to the process, not to a thread


@dataclass(frozen=True)
class Header:
    """What is read of a DICOM file's header.

    Parameters
    ----------
    uid : str
        SOP Instance UID, the name of this very picture in all of DICOM.
    kind : str
        SOP Class UID.
    other : str
        What the file is if not a photograph, such as `modality CT, CT Image Storage`; empty for a photograph.
    rows, columns : int
        Of a frame, in pixels.
    frames : int
        Pictures in the file.
    eye : str or None
        `left` or `right`.
    patient : str or None
        Patient ID. Never to be shown.
    acquired : date or None
        When the photograph was taken.
    spacing : (float, float) or None
        Millimetres between rows and between columns.
    burnt_in : bool
        The file says that writing is part of its pixels (Burned In Annotation is YES).
    """

    uid: str
    kind: str
    other: str
    rows: int = 0
    columns: int = 0
    frames: int = 1
    eye: str | None = None
    patient: str | None = None
    acquired: date | None = None
    spacing: tuple[float, float] | None = None
    burnt_in: bool = False


def is_dicom(file: BinaryIO) -> bool:
    """Tell whether a file is DICOM: it has `DICM` behind 128 bytes. Its name does not matter. Leaves the file at its start."""
    file.seek(0)
    start = file.read(_PREAMBLE + len(_MAGIC))
    file.seek(0)
    return start[_PREAMBLE:] == _MAGIC


def lies_in_dicom(path: Path) -> bool:
    """Tell whether a photograph, or the file that it is a frame of, is DICOM."""
    with file_of(path)[0].open("rb") as file:
        return is_dicom(file)


def frame_path(path: Path, frame: int) -> Path:
    """Name a frame of a file that holds several: frame 2 of `a.dcm` is `a.2.dcm`, of `a` without an ending `a.2`.

    Parameters
    ----------
    frame : int
        From 1.
    """
    ending = path.suffix if path.suffix.lower() in DICOM_ENDINGS else ""
    return path.with_name(f"{path.name.removesuffix(ending)}.{frame}{ending}")


def file_of(path: Path) -> tuple[Path, int | None]:
    """Undo `frame_path`: return the file, and the frame from 1; None for the name of a file itself."""
    if not path.exists():
        endings = "|".join(re.escape(ending) for ending in DICOM_ENDINGS)
        match = re.fullmatch(rf"(.+)\.([1-9][0-9]{{0,5}})({endings})?", path.name, re.IGNORECASE | re.ASCII | re.DOTALL)
        if match and (file := path.with_name(match[1] + (match[3] or ""))).is_file():
            return file, int(match[2])
    return path, None


def read_header(path: Path, file: BinaryIO) -> Header:
    """Read the header of a DICOM file.

    Parameters
    ----------
    path : Path
        For messages.
    file : BinaryIO
        The file, open.

    Raises
    ------
    UnreadableImageError
        It is damaged or cut short, or claims pictures that no photograph has, or more of them than a file may hold.
    """
    with reading(path):
        data = read_data(path, file, *_FACTS, *_PICTURE)
        return header_of(path, data)


def header_of(path: Path, data: FileDataset) -> Header:
    """Return what `read_header` reads, of a data set that was read within `reading`."""
    uid = _fact(data, "SOPInstanceUID")
    kind = _fact(data, "SOPClassUID") or str(data.file_meta.get("MediaStorageSOPClassUID") or "")
    modality = _fact(data, "Modality").upper()
    if kind not in PHOTOGRAPHS or modality not in MODALITIES:
        return Header(uid, kind, _told(kind, modality))
    rows, columns, samples, bits = (_count(data, name) for name in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated"))
    frames = int(data.get("NumberOfFrames") or 1)
    if frames < 1:
        raise ValueError("it holds no picture")
    require_shape(path, rows, columns)
    if frames > _MOST_FRAMES or rows * columns * samples * frames * ((bits + 7) // 8) > LARGEST_FILE:
        raise UnreadableImageError(
            f"{path}: claims to hold {frames:,} pictures of {columns} x {rows} pixels, more than {_MOST_FRAMES:,} or than "
            f"{LARGEST_FILE / 1e6:,.0f} MB",
            "split it into files of fewer pictures, or take it out of the folder.",
        )
    return Header(
        uid,
        kind,
        "",
        rows,
        columns,
        frames,
        eye=_EYES.get((_fact(data, "ImageLaterality") or _fact(data, "Laterality")).upper()),
        patient=_fact(data, "PatientID") or None,
        acquired=_date(data),
        spacing=_spacing(data),
        burnt_in=_fact(data, "BurnedInAnnotation").upper() == "YES",
    )


def read_data(path: Path, file: BinaryIO, *names: str) -> FileDataset:
    """Read these elements of a DICOM file, within `reading`.

    Raises
    ------
    UnreadableImageError
        Where a small file would take more memory than any photograph does.
    """
    import pydicom

    _require_inflatable(path, file)
    file.seek(0)
    return pydicom.dcmread(file, stop_before_pixels="PixelData" not in names, specific_tags=list(names))


def read_frame(path: Path, file: BinaryIO, frame: int | None = None) -> ByteArray:
    """Decode a photograph of a DICOM file into uint8 (H, W, 3) RGB.

    Parameters
    ----------
    path : Path
        For messages.
    file : BinaryIO
        The file, open.
    frame : int or None
        Which of several, from 1; without it the first.

    Raises
    ------
    UnreadableImageError
        What `read_header` raises; the file is no photograph, or in a form that is not read.
    """
    try:
        with reading(path):
            file.seek(0)
            whole = io.BytesIO(file.read())  # an element that claims to be long takes no more memory than the file
            data = read_data(path, whole, *_FACTS, *_PICTURE, *_PALETTE, *_PIXELS)
            header = header_of(path, data)
            require_photograph(path, header)
            if frame is not None and frame > header.frames:
                told = f"{path}: is frame {frame} of a file that holds {header.frames:,}"
                raise UnreadableImageError(told, "name a frame that the file holds.")
            decode = prepare_frame(data, frame or 1)
        return decode()
    except (UnreadableImageError, MemoryError, OSError):
        raise
    except Exception as error:  # decoders fail in many ways as well
        raise _damaged(path) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Keep pydicom from printing warnings; whatever fails within means that this one file cannot be read.

    The message says nothing of what the file holds.
    """
    try:
        with _READING, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UnknownFormError as error:
        raise UnreadableImageError(f"{path}: is DICOM in a form that is not read ({error})", EXPORT_AGAIN) from error
    except (UnreadableImageError, MemoryError, OSError):
        raise
    except Exception as error:  # foreign files fail in many ways
        raise _damaged(path) from error


def _damaged(path: Path) -> UnreadableImageError:
    return UnreadableImageError(f"{path}: is a damaged DICOM file, or cut short", COPY_AGAIN)


def require_photograph(path: Path, header: Header) -> None:
    """Raise UnreadableImageError, with its modality and kind, for a DICOM file that is no photograph."""
    if header.other:
        raise UnreadableImageError(f"{path}: {NO_PHOTOGRAPH.format(header.other)}", OTHER_REMEDY)


NO_PHOTOGRAPH = "is no photograph but DICOM of another kind ({})"

OTHER_REMEDY = f"of DICOM, ophthalmic photography and secondary captures of it are read; {EXPORT_AGAIN}"


def _told(kind: str, modality: str) -> str:
    """Name a kind of file. Words of the header are shown only if they can be codes of the standard."""
    from pydicom.uid import UID

    name = UID(kind).name if re.fullmatch(r"1\.2\.840\.10008\.[0-9.]+", kind) else ""
    shown = modality if modality in f"OP XC OT {_OTHER_MODALITIES}".split() else "unknown"
    return f"modality {shown}, {name or 'of an unknown class'}"


def _count(data: FileDataset, name: str) -> int:
    value = int(data[name].value)
    if value < 1:
        raise ValueError(f"{name} is {value}")
    return value


def _fact(data: FileDataset, name: str) -> str:
    """Return an element as text; empty where it is missing or breaks the standard: a photograph does not depend on it."""
    try:
        return str(data.get(name) or "").strip()
    except ValueError:
        return ""


def _date(data: FileDataset) -> date | None:
    digits = (_fact(data, "AcquisitionDateTime") or _fact(data, "AcquisitionDate"))[:8]
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None


def _spacing(data: FileDataset) -> tuple[float, float] | None:
    for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        try:
            value: Any = data.get(name)
            rows, columns = (float(one) for one in value)
        except (TypeError, ValueError):
            continue
        if 0 < rows < 100 and 0 < columns < 100:
            return rows, columns
    return None


def _require_inflatable(path: Path, file: BinaryIO) -> None:
    """Refuse a compressed data set that grows beyond any photograph: pydicom inflates it at once."""
    file.seek(_PREAMBLE + len(_MAGIC))
    start = file.read(4096)
    if _DEFLATED not in start:
        return
    # The first element tells the length of the group that is not compressed: tag, `UL`, its own length 4, and the length.
    if start[:8] != b"\x02\x00\x00\x00UL\x04\x00":
        raise _damaged(path)
    file.seek(_PREAMBLE + len(_MAGIC) + 12 + int.from_bytes(start[8:12], "little"))
    inflate, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while (block := inflate.unconsumed_tail or file.read(1 << 16)) and not inflate.eof:
        size += len(inflate.decompress(block, 1 << 20))
        if size > LARGEST_FILE:
            raise UnreadableImageError(f"{path}: claims to hold more than {LARGEST_FILE / 1e6:,.0f} MB", EXPORT_AGAIN)
