"""A photograph on its way to a scorer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from atlas.records.arrays import BoolArray, ByteArray, FloatArray


@dataclass(frozen=True)
class Frame:
    """The square around the subject, in source pixels (after EXIF orientation). Parts outside the picture are black."""

    top: int
    left: int
    side: int


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


TwoStageForm = Literal["lesions", "counts", "weighted"]
"""How a two-stage scorer is trained, see `scorers.two_stage`."""

Augmentation = Literal["none", "flips-rotations", "moved", "cropped"]
"""How photographs are varied while a network learns, see `augmentations.augmented`."""

Loss = Literal["squared", "cross-entropy", "weighted", "focal"]
"""What a network is trained to lower, see `training.losses`."""

Device = Literal["auto", "cpu", "cuda"]
"""Where a network runs; "auto" is a GPU if there is one."""
