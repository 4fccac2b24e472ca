"""Outlined lesions for the pages: a line round each, and its kind in words."""

from __future__ import annotations

import math
import re
from io import BytesIO

import cv2
import numpy as np
from PIL import Image

from atlas.cohort.lesions import LESIONS
from atlas.photographs.frames import around
from atlas.records import BoolArray

_KINDS = {kind.replace(" ", "-"): kind for kind in LESIONS}  # by the names of masks in the embedded cohort

_CLEARANCE, _LINE = 4, 2  # gap between a lesion and its outline, and width of each of its two lines, in pixels of a plate of 1024


def outlines_png(lesions: BoolArray) -> bytes:
    """Draw lines round lesions, bool (S, S), as a transparent PNG of S pixels a side.

    The line is white within black, so a person's outline differs from a map by its form, not by a hue. There is a gap between
    line and lesion, so that no part of the lesion is covered.
    """
    pixel = max(1 / _LINE, len(lesions) / 1024)  # a line is never thinner than a pixel
    reach = np.cumsum([_CLEARANCE, _LINE, _LINE]) * pixel
    drawn = np.zeros(lesions.shape, np.uint8)
    if lesions.any():
        near = around(lesions, margin=math.ceil(reach[-1]) + 1)
        away = cv2.distanceTransform(np.where(lesions[near], np.uint8(0), np.uint8(1)), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        clear, light, dark = (np.asarray(away <= far, np.uint8) for far in reach)
        drawn[near] = 2 * dark - light - clear
    picture = Image.fromarray(drawn).convert("P")
    picture.putpalette([0, 0, 0, 255, 255, 255, 0, 0, 0])
    buffer = BytesIO()
    picture.save(buffer, "PNG", optimize=True, transparency=bytes([0, 255, 150]))
    return buffer.getvalue()


def kind_in_words(mask: str, photograph: str) -> str:
    """Return what a mask's file name says about the kind of its lesions, or "" if that is not clear.

    Parameters
    ----------
    mask : str
        Name of the mask's file without ending. A name that contains a digit is not shown at all.
    photograph : str
        Name of the photograph's file without ending. It can identify a patient, so it is removed from the mask's name.
    """
    if mask in _KINDS:
        return _KINDS[mask]
    words = re.sub(r"[\s_.\-]+", " ", re.sub(re.escape(photograph), " ", mask, flags=re.IGNORECASE)).strip()
    return words if re.fullmatch(r"[^\W\d]{2,}( [^\W\d]+)*", words) and len(words) <= 40 else ""
