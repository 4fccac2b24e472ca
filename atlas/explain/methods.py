"""The one table of saliency methods, and the maps they give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from atlas.errors import ConfigurationError
from atlas.explain import gradcam, occlusion
from atlas.explain.windows import windows_inside
from atlas.records import BoolArray, CellSums, FeatureMaps, FloatArray, SaliencyMaps, Scale
from atlas.scorers.readouts import Head

Drops = Callable[[FeatureMaps, CellSums, Head, Scale, int], FloatArray]
"""Called as drops(features, sums, head, scale, window); returns float32 (n, h-window+1, w-window+1), signed, in grade units."""


@dataclass(frozen=True)
class Method:
    """title : its name in print.   sentence : what it does, for the reader of a page.   drops : the method itself."""

    title: str
    sentence: str
    drops: Drops


METHODS: Mapping[str, Method] = {
    "occlusion": Method(
        "Occlusion",
        "Each place is blanked in the network's last maps, one at a time, and coloured by how far the severity then falls.",
        lambda features, sums, head, scale, window: occlusion.drops(sums, head, scale, window=window),
    ),
    "gradcam": Method(
        "Grad-CAM",
        "The network's last maps are added up, each weighted by how strongly the severity answers to it, "
        "and every place is coloured by its part of the sum.",
        lambda features, sums, head, scale, window: gradcam.drops(features, sums, head, scale, window=window),
    ),
}


def saliency_maps(
    method: str,
    features: FeatureMaps,
    sums: CellSums,
    head: Head,
    scale: Scale,
    *,
    inside: BoolArray,
    window: int = 1,
) -> SaliencyMaps:
    """Draw up one map per image, zero off the retina so that a black surround cannot light up.

    inside : bool (n, h, w), true where a cell lies on the retina. With a window above 1 the maps have one entry per window,
    (n, h-window+1, w-window+1), and `inside` of the result tells which windows lie on the retina whole.
    Raises ConfigurationError for an unknown method, or a window that does not fit on the maps.
    """
    if method not in METHODS:
        raise ConfigurationError(f"saliency method = {method!r} is not known", f"choose one of: {', '.join(METHODS)}.")
    if features.image_ids != sums.image_ids:
        raise ValueError("features and sums are not of the same images in the same order")
    drops = METHODS[method].drops(features, sums, head, scale, window)
    whole = windows_inside(inside, window)
    return SaliencyMaps(sums.image_ids, method, np.where(whole, drops, np.float32(0)), whole, window)


METHOD_WORDS: Mapping[str, tuple[str, str]] = {
    "occlusion": ("Occlusion", "Change of the score, in grades, when the place is left out."),
    "gradcam": ("Grad-CAM", "Part of the score, in grades, that the network's own gradient credits to the place."),
}
"""Titles of the saliency methods, and what a value of their maps means."""
