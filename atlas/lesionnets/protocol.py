"""What the pipeline needs from a net that finds lesions, whatever network it uses."""

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
        float32 (kinds, h, w), probability that each place of the frame holds a part of a lesion of the kind, 0 to 1; 0 off the
        retina.
    lesions : tuple[Mark, ...]
        Lesions above the net's thresholds, strongest first.
    descriptors : FloatArray
        float32 (lesions, d), what the net saw in and around each lesion.
    strongest : Mapping[str, tuple[float, float, float]]
        By kind or coarse kind, its most likely place: probability, and row and column in source pixels.
    too_small : frozenset[str]
        Kinds that are too small to be seen at the photograph's size, so that it means nothing if none is found.
    landmarks : Landmarks or None
        The optic disc and the fovea, or None if no disc was found or the net does not look for discs.
    """

    kinds: tuple[str, ...]
    maps: FloatArray
    lesions: tuple[Mark, ...]
    descriptors: FloatArray
    strongest: Mapping[str, tuple[float, float, float]]
    too_small: frozenset[str] = frozenset()
    landmarks: Landmarks | None = None


class LesionNet(Protocol):
    """Finds lesions in a photograph."""

    @property
    def name(self) -> str: ...
    @property
    def kinds(self) -> tuple[str, ...]:
        """Keys of `cohort.lesions.KINDS` that it looks for."""

    @property
    def from_drawn_eyes(self) -> tuple[str, ...]:
        """Those kinds that it marks and learned from drawn eyes only."""

    @property
    def sha256(self) -> str:
        """Hash that changes whenever a finding could."""

    @property
    def card(self) -> str:
        """The model card, Markdown."""

    def describe(self, photograph: ByteArray, frame: Frame, retina: BoolArray, boxes: IntArray) -> FloatArray:
        """Describe places of a photograph in the way that `find` describes lesions, float32 (m, d).

        Parameters
        ----------
        photograph : ByteArray
            As in `find`.
        frame : Frame
            As in `find`.
        retina : BoolArray
            As in `find`.
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
            Side of one of the photograph's pixels in pixels of the source, if it was decoded at a reduced size.

        Returns
        -------
        Finding
            The lesions, with boxes in pixels of the source.
        """
