"""A photograph on its way to a scorer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from atlas.records.arrays import BoolArray, ByteArray, FloatArray


@dataclass(frozen=True)
class Frame:
    """The square around the subject, in source pixels (after EXIF orientation). Parts outside the picture are black."""

    top: int
    left: int
    side: int


@dataclass(frozen=True)
class Stretch:
    """How a squashed photograph was put right: pixels shown for each of the source, along rows and columns, at least 1.

    One of the two is 1. Frames and boxes are in shown pixels; `source` gives the source pixels of the file.
    """

    rows: float = 1.0
    columns: float = 1.0

    @classmethod
    def of(cls, squash: float) -> Stretch:
        """Put right a disc whose height is `squash` times its width."""
        return cls(max(1.0, 1 / squash), max(1.0, squash))

    def shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return the rows and columns that are shown of a source of this shape."""
        return round(shape[0] * self.rows), round(shape[1] * self.columns)

    def source_shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Undo `shape`, exactly: no side is ever shrunk."""
        return round(shape[0] / self.rows), round(shape[1] / self.columns)

    def shown(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """Return where a box of source pixels (top, left, bottom, right) is shown."""
        top, left, bottom, right = box
        return top * self.rows, left * self.columns, bottom * self.rows, right * self.columns

    def source(self, box: Sequence[int]) -> tuple[int, int, int, int]:
        """Return a box in the nearest whole pixels of the source, at least one a side. A box of the source comes back exactly."""
        top, left = round(box[0] / self.rows), round(box[1] / self.columns)
        bottom, right = round(box[2] / self.rows), round(box[3] / self.columns)
        return top, left, max(bottom, top + 1), max(right, left + 1)


UNSTRETCHED = Stretch()


@dataclass(frozen=True)
class Preprocessed:
    """One photograph, ready for a trunk.

    Parameters
    ----------
    image_id : str
        Id of the photograph.
    pixels : ByteArray
        uint8 (S, S, 3) RGB, prepared.
    photograph : ByteArray
        uint8 (S, S, 3) RGB, the same crop in its own colours.
    retina : BoolArray
        bool (S, S), true on the retina or, if photographs show something else, on the complete picture.
    frame : Frame
        The crop in source pixels.
    """

    image_id: str
    pixels: ByteArray
    photograph: ByteArray
    retina: BoolArray
    frame: Frame


@dataclass(frozen=True)
class Facts:
    """What is known of a photograph besides its pixels, for scorers that read it.

    Parameters
    ----------
    fellow : FloatArray or None
        float32 (C,), the pooled features of the other eye, if known.
    columns : Mapping[str, float]
        Clinical numbers by name.
    """

    fellow: FloatArray | None = None
    columns: Mapping[str, float] = field(default_factory=dict)
