"""What the pipeline asks of a net that finds lesions, whatever network stands behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from atlas.records import BoolArray, ByteArray, FloatArray, Frame, IntArray, Landmarks, Mark


@dataclass(frozen=True, eq=False)
class Finding:
    """What a net found in one photograph.

    Parameters
    ----------
    kinds : tuple[str, ...]
        Names of the maps' kinds, in their order.
    maps : FloatArray
        float32 (kinds, h, w), how likely each place of the frame holds some of a lesion of the kind, 0 to 1; 0 off the
        retina.
    lesions : tuple[Mark, ...]
        Those above the net's thresholds, the strongest first.
    descriptors : FloatArray
        float32 (lesions, d), what the net saw of each and round it.
    strongest : Mapping[str, tuple[float, float, float]]
        Of each kind or coarse kind, how likely its likeliest place holds it, and where: probability, row and column in source
        pixels.
    too_small : frozenset[str]
        Kinds that do not show at the photograph's size, so that their absence says nothing.
    landmarks : Landmarks or None
        The optic disc and the fovea, or None where no disc was found or the net does not know discs.
    """

    kinds: tuple[str, ...]
    maps: FloatArray
    lesions: tuple[Mark, ...]
    descriptors: FloatArray
    strongest: Mapping[str, tuple[float, float, float]]
    too_small: frozenset[str] = frozenset()
    landmarks: Landmarks | None = None


class LesionNet(Protocol):
    """From a photograph to its lesions."""

    @property
    def name(self) -> str: ...
    @property
    def kinds(self) -> tuple[str, ...]:
        """Keys of `cohort.lesions` that it can name."""

    @property
    def sha256(self) -> str:
        """Changes whenever a finding could."""

    @property
    def card(self) -> str:
        """The model card, Markdown."""

    def describe(self, photograph: ByteArray, frame: Frame, retina: BoolArray, boxes: IntArray) -> FloatArray:
        """Describe places of a photograph as the lesions that `find` finds are described, float32 (m, d).

        Parameters
        ----------
        photograph, frame, retina : ByteArray, Frame, BoolArray
            As of `find`.
        boxes : IntArray
            int64 (m, 4) of top, left, bottom, right in pixels of the photograph (bottom and right exclusive).
        """

    def find(self, photograph: ByteArray, frame: Frame, retina: BoolArray, *, factor: int = 1) -> Finding:
        """Find the lesions of a photograph.

        Parameters
        ----------
        photograph : ByteArray
            uint8 (H, W, 3) RGB, upright.
        frame : Frame
            The square of the retina, in pixels of the photograph.
        retina : BoolArray
            bool (H, W), true on the retina.
        factor : int
            Pixels of the source a side for each of the photograph's, where it was decoded at a part of its size.
        """
