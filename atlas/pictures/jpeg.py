"""Pictures for the site: JPEG plates, thumbnails and saliency overlays. No picture carries metadata."""

from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atlas.records import BoolArray, ByteArray, FloatArray

RAISED = (86, 236, 255)
"""Cyan, lighter than any fundus and far from its hues: the place made the photograph look more severe (positive drop)."""

LOWERED = (88, 40, 214)
"""Violet, darker than a fundus: the place made it look milder. The two differ in lightness alone."""

OVERLAY_SIDE = 160

_STRONGEST = 0.9  # opacity of the strongest drop: the photograph stays visible below it


def encode_jpeg(pixels: ByteArray, quality: int = 85) -> bytes:
    """Encode uint8 (h, w, 3) RGB pixels as a JPEG without metadata."""
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def thumbnail(pixels: ByteArray, side: int) -> ByteArray:
    """Shrink uint8 (h, w, 3) pixels so that the longer side is at most `side`. Never enlarge."""
    height, width = pixels.shape[:2]
    shrink = min(1.0, side / max(height, width))
    if shrink == 1.0:
        return pixels
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def retina_png(retina: BoolArray) -> bytes:
    """Encode the retina, bool (S, S), as a grey PNG of OVERLAY_SIDE pixels a side: 255 on it, 0 off it."""
    size = (OVERLAY_SIDE, OVERLAY_SIDE)
    picture = cv2.resize(retina.astype(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_AREA)
    return _png(np.where(picture >= 128, np.uint8(255), np.uint8(0)))


def overlay_png(values: FloatArray, limit: float, inside: BoolArray, retina: bytes | None = None, *, window: int = 1) -> bytes:
    """Draw drops as a transparent RGBA PNG of OVERLAY_SIDE pixels a side.

    Parameters
    ----------
    values : FloatArray
        float32 (h, w), signed, in grade units.
    limit : float
        The drop that is drawn in the strongest colour, the same for the complete atlas.
    inside : BoolArray
        bool (h, w). Nothing is drawn over cells outside the retina.
    retina : bytes or None
        A file of `retina_png`. Nothing is drawn off it either, where a cell is only partly on the retina.
    window : int
        Side in cells of the window that each value belongs to. The value is drawn in the middle of the window.
    """
    drop = _smooth(np.where(inside, values, 0.0), OVERLAY_SIDE, window)
    strength = np.clip(np.abs(drop) / limit, 0.0, 1.0) * _smooth(inside, OVERLAY_SIDE, window)
    picture = np.empty((OVERLAY_SIDE, OVERLAY_SIDE, 4), np.uint8)
    picture[..., :3] = np.where(drop[..., None] > 0, RAISED, LOWERED)
    picture[..., 3] = np.rint(255 * _STRONGEST * strength)
    if retina is not None:
        with Image.open(BytesIO(retina)) as mask:
            picture[np.asarray(mask) == 0] = 0
    return _png(picture)


def _png(pixels: ByteArray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def _smooth(values: NDArray[np.generic], side: int, window: int) -> NDArray[np.float64]:
    """Enlarge (h, w) to (side, side). Windows keep their value at their centre. Nothing overshoots, so no sign changes."""
    rows, columns = values.shape
    enlarged: NDArray[np.float64] = _weights(rows, side, window) @ values.astype(np.float64) @ _weights(columns, side, window).T
    return enlarged


def _weights(cells: int, side: int, window: int) -> NDArray[np.float64]:
    position = np.clip((np.arange(side) + 0.5) * (cells + window - 1) / side - window / 2, 0, cells - 1)
    below = np.minimum(position.astype(int), max(cells - 2, 0))
    along = position - below
    eased = along * along * (3 - 2 * along)  # smoothstep: flat at cell centres, monotone between them
    weights = np.zeros((side, cells))
    weights[np.arange(side), below] = 1 - eased
    weights[np.arange(side), np.minimum(below + 1, cells - 1)] += eased
    return weights
