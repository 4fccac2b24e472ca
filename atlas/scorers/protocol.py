"""What the pipeline asks of a scorer, whatever network stands behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from atlas.records import ByteArray, CellSums, FeatureMaps, Scale, Scores


class Scorer(Protocol):
    """What a build asks of a scorer: severities of a batch, and the cell sums from which saliency is computed."""

    @property
    def name(self) -> str: ...
    @property
    def scale(self) -> Scale: ...
    @property
    def preparation(self) -> str:
        """The preparation of photographs that the scorer learned from."""

    @property
    def size(self) -> int:
        """Side of the prepared square, in pixels."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of cells."""

    @property
    def stride(self) -> float:
        """Prepared pixels per cell."""

    @property
    def card(self) -> str:
        """The model card, Markdown."""

    @property
    def sha256(self) -> str:
        """Changes whenever a score could."""

    def features(self, image_ids: Sequence[str], pixels: ByteArray) -> FeatureMaps: ...
    def cell_sums(self, features: FeatureMaps) -> CellSums: ...
    def severity(self, sums: CellSums) -> Scores: ...
