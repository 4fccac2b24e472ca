"""Prepares a photograph for a trunk: find the retina or take the complete picture, crop the square round it, normalise.

Positions are in source pixels after EXIF orientation, rows downwards, and pixel i covers [i, i + 1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from atlas.errors import ConfigurationError
from atlas.photographs.frames import Square, whole_picture
from atlas.photographs.retina import find_retina
from atlas.records import RETINA, BoolArray, ByteArray, Frame, Preprocessed, Subject

SURROUND = 128
"""The value of all channels outside the retina, or round a picture that is not square, in every preparation.

The surround shows which camera was used, not how ill the eye is, so it must not drive the score. Mid-grey is the middle of every
normalised preparation. It also gives the rim of the retina the weakest edge that is possible with a constant.
"""

Preparation = Callable[[ByteArray, BoolArray], ByteArray]
"""Maps the square crop, uint8 (s, s, 3) RGB, and the retina, bool (s, s), to uint8 (s, s, 3). Pixels outside the retina are
replaced by SURROUND afterwards. Statistics are taken over the retina only."""


def _none(pixels: ByteArray, retina: BoolArray) -> ByteArray:
    """Keep the photograph's own colours."""
    return pixels


def _standardise(pixels: ByteArray, retina: BoolArray) -> ByteArray:
    """Return 128 + 48 z with z = (x - mean) / sd by channel, clipped to 0..255, that is at 2.7 sd.

    This removes any gain and offset of a channel: the colour of light and pigment goes, the pattern stays.
    """

    def table(counts: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
        mean = np.average(values, weights=counts)
        deviation = np.sqrt(np.average((values - mean) ** 2, weights=counts))
        scaled: NDArray[np.float64] = 128 + 48 * (values - mean) / (deviation or 1.0)
        return scaled

    return _by_histogram(pixels, retina, table)


def _equalise(pixels: ByteArray, retina: BoolArray) -> ByteArray:
    """Equalise the histogram of each channel: 255 times the share of the retina that is darker, with ties counted half."""

    def table(counts: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
        darker: NDArray[np.float64] = (counts.cumsum() - counts / 2) / counts.sum()
        return 255 * darker

    return _by_histogram(pixels, retina, table)


def _equalise_soft(pixels: ByteArray, retina: BoolArray) -> ByteArray:
    """Equalise the histogram of each channel, then blur with a Gaussian of half a pixel.

    The blur is about that of rotating and shifting a photograph by parts of a pixel. The result is as soft as the photographs of
    a training in which they were moved.
    """
    equalised = np.where(retina[..., None], _equalise(pixels, retina), np.uint8(SURROUND))
    return np.asarray(cv2.GaussianBlur(equalised, (5, 5), 0.5, borderType=cv2.BORDER_REPLICATE), np.uint8)


def _clahe(pixels: ByteArray, retina: BoolArray) -> ByteArray:
    """Equalise the histogram of CIE L* adaptively with limited contrast: 8 x 8 tiles, counts clipped at twice their mean.

    Source: Zuiderveld, Graphics Gems IV, 1994.
    """

    def adapt(lightness: ByteArray) -> ByteArray:
        # Otherwise tiles on the rim would measure the surround.
        filled = np.where(retina, lightness, np.uint8(np.median(lightness[retina])))
        return np.asarray(cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(filled), np.uint8)

    return _on_lightness(pixels, adapt)


def _gamma(pixels: ByteArray, retina: BoolArray) -> ByteArray:
    """Correct the gamma of CIE L* with the exponent that makes the retina's median lightness 50 of 100."""

    def correct(lightness: ByteArray) -> ByteArray:
        median = float(np.clip(np.median(lightness[retina]), 1, 254)) / 255
        exponent = np.log(0.5) / np.log(median)
        return np.asarray(cv2.LUT(lightness, _byte(255 * (np.arange(256) / 255) ** exponent)), np.uint8)

    return _on_lightness(pixels, correct)


def _local_contrast(pixels: ByteArray, retina: BoolArray) -> ByteArray:
    """Return 4 I - 4 G(10) * I + 128, clipped.

    The Gaussian G has a standard deviation of 10 px for a side of 512 px, and in proportion for other sides. The blur averages
    the retina only. With the surround in it, the rim would be stronger than every lesion.

    Source: B. Graham, "Kaggle diabetic retinopathy detection competition report", 2015.
    """
    deviation = 10 * pixels.shape[0] / 512
    weight = retina.astype(np.float32)
    picture = pixels * weight[..., None]
    blurred = (
        cv2.GaussianBlur(picture, (0, 0), deviation) / np.maximum(cv2.GaussianBlur(weight, (0, 0), deviation), 1e-6)[..., None]
    )
    return _byte(4 * picture - 4 * blurred + 128)


PREPARATIONS: Mapping[str, Preparation] = {
    "none": _none,
    "standardise": _standardise,
    "clahe": _clahe,
    "equalise": _equalise,
    "equalise-soft": _equalise_soft,
    "gamma": _gamma,
    "local-contrast": _local_contrast,
}
"""All preparations of colour and contrast by name. A new one needs a function and a line here."""


def _byte(values: NDArray[np.floating]) -> ByteArray:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def _by_histogram(
    pixels: ByteArray,
    retina: BoolArray,
    table: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
) -> ByteArray:
    """Map each channel by table(counts, values): the new values for 0..255, given how often each occurs on the retina."""
    values = np.arange(256, dtype=np.float64)
    tables = [_byte(table(counts, values)) for counts in histograms(pixels, retina)]
    return np.asarray(cv2.LUT(pixels, np.stack(tables, axis=-1)[None]), np.uint8)


def histograms(pixels: ByteArray, retina: BoolArray) -> NDArray[np.float64]:
    """Count how often each value occurs on the retina, bool (h, w), in each channel of uint8 (h, w, 3): float64 (3, 256)."""
    mask = retina.view(np.uint8)
    return np.stack([cv2.calcHist([pixels], [channel], mask, [256], [0, 256]).ravel() for channel in range(3)]).astype(np.float64)


def _on_lightness(pixels: ByteArray, change: Callable[[ByteArray], ByteArray]) -> ByteArray:
    """Change CIE L*, scaled to 0..255, and keep a* and b*."""
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)
    lab[..., 0] = change(np.ascontiguousarray(lab[..., 0], np.uint8))
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8)


def prepare(
    image_id: str,
    photograph: ByteArray,
    *,
    size: int,
    preparation: str = "standardise",
    found: tuple[Frame, BoolArray] | None = None,
    subject: Subject = RETINA,
) -> Preprocessed:
    """Find the subject in uint8 (H, W, 3) RGB, crop its square to `size` pixels a side, and normalise colour and contrast.

    Parameters
    ----------
    preparation : str
        A key of PREPARATIONS. Outside the retina, or the picture, `pixels` is SURROUND.
    found : tuple[Frame, BoolArray] or None
        The result of `find_subject` for the photograph, if it is already known.
    subject : Subject
        What the photograph shows. Anything but the retina is used completely, without a search for a disc.

    Raises
    ------
    ConfigurationError
        If the preparation is unknown.
    """
    _preparation(preparation)
    frame, mask = find_subject(photograph, subject) if found is None else found
    return prepare_square(image_id, Square(photograph, frame, mask), size=size, preparation=preparation)


def prepare_square(image_id: str, square: Square, *, size: int, preparation: str) -> Preprocessed:
    """Prepare the square round a subject as `prepare` does.

    Raises
    ------
    ConfigurationError
        If the preparation is unknown.
    """
    plate, retina = square.pixels(size), square.subject(size)
    return Preprocessed(image_id, normalised_pixels(plate, retina, preparation), plate, retina, square.frame)


def find_subject(photograph: ByteArray, subject: Subject) -> tuple[Frame, BoolArray]:
    """Find the subject of uint8 (H, W, 3) RGB: the disc of a retina, see `find_retina`, or the complete picture of anything else.

    Returns
    -------
    tuple[Frame, BoolArray]
        The square that bounds it, which may reach beyond the picture, and bool (H, W), true on it.
    """
    return find_retina(photograph) if subject.retina else whole_picture(photograph)


def normalised_pixels(plate: ByteArray, retina: BoolArray, preparation: str) -> ByteArray:
    """Normalise the square crop, uint8 (s, s, 3), by a key of PREPARATIONS. It is SURROUND where `retina`, bool (s, s), is false.

    Raises
    ------
    ConfigurationError
        If the preparation is unknown.
    """
    pixels = _preparation(preparation)(plate, retina) if retina.any() else plate
    return np.where(retina[..., None], pixels, np.uint8(SURROUND))


def _preparation(name: str) -> Preparation:
    if name not in PREPARATIONS:
        raise ConfigurationError(f"preparation = {name!r}: expected one of {', '.join(PREPARATIONS)}", "choose one of these.")
    return PREPARATIONS[name]
