"""The table of saliency methods with their texts, and the maps that they give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from atlas.errors import ConfigurationError
from atlas.explain import gradcam, occlusion
from atlas.explain.windows import windows_inside
from atlas.records import BoolArray, FloatArray, SaliencyMaps, Target, noop
from atlas.scorers.prediction import Prediction

Drops = Callable[[Prediction, Target, int], FloatArray]
"""Called as drops(prediction, target, window); returns float32 (h-window+1, w-window+1), signed, in grades in the middle of the
scale, see `readouts.grades_in_the_middle`."""


@dataclass(frozen=True)
class Method:
    """A saliency method.

    Parameters
    ----------
    title : str
        Its name for readers; the site translates it.
    meaning : str
        What a value of its maps means, for readers; the site translates it, too.
    drops : Drops
        The method itself.
    """

    title: str
    meaning: str
    drops: Drops


METHODS: Mapping[str, Method] = {
    "occlusion": Method(
        noop("Occlusion"),
        noop(
            "The weight of each cell: how many grades a score in the middle of the scale would fall if the cell were hidden. "
            "Near the ends of the scale the score itself changes less."
        ),
        lambda prediction, target, window: occlusion.weights(prediction, target.name, target.scale, window=window),
    ),
    "gradcam": Method(
        noop("Grad-CAM"),
        noop("The weight of each cell, estimated from the network's gradient, in grades in the middle of the scale."),
        lambda prediction, target, window: gradcam.weights(prediction, target.name, target.scale, window=window),
    ),
}
"""A method is one entry, with its texts."""


def saliency_map(
    method: str, prediction: Prediction, target: Target, *, inside: BoolArray, window: int = 1
) -> tuple[FloatArray, BoolArray]:
    """Return the map of one photograph. It is zero off the retina, so that a black surround cannot be marked.

    Parameters
    ----------
    method : str
        A key of `METHODS`.
    prediction : Prediction
        Prediction for the photograph.
    target : Target
        What is graded.
    inside : BoolArray
        bool (h, w), true where a cell lies on the retina.
    window : int
        Side of the square of cells that is hidden at once. If it is above 1, the map has one entry for each window.

    Returns
    -------
    values : FloatArray
        The map, float32 (h-window+1, w-window+1), signed, in grades in the middle of the scale.
    within : BoolArray
        Which windows lie on the retina, bool (h-window+1, w-window+1).

    Raises
    ------
    ConfigurationError
        If the method is unknown, or the window does not fit on the maps.
    """
    if method not in METHODS:
        raise ConfigurationError(f"saliency method = {method!r} is not known", f"choose one of: {', '.join(METHODS)}.")
    drops = METHODS[method].drops(prediction, target, window)
    within = windows_inside(inside[None], window)[0]
    return np.where(within, drops, np.float32(0)), within


def saliency_maps(
    method: str,
    predictions: Mapping[str, Prediction],
    target: Target,
    *,
    inside: Sequence[BoolArray] | BoolArray,
    window: int = 1,
) -> SaliencyMaps:
    """Return one map for each photograph, see `saliency_map`.

    Parameters
    ----------
    method : str
        A key of `METHODS`.
    predictions : Mapping[str, Prediction]
        Predictions by image_id.
    target : Target
        What is graded.
    inside : Sequence[BoolArray] | BoolArray
        bool (n, h, w) in the same order, true where a cell lies on the retina.
    window : int
        Side of the square of cells that is hidden at once.

    Returns
    -------
    SaliencyMaps
        The maps, in the order of `predictions`.
    """
    drawn = [
        saliency_map(method, one, target, inside=own, window=window)
        for one, own in zip(predictions.values(), inside, strict=True)
    ]
    values, within = (np.stack(part) for part in zip(*drawn, strict=True))
    return SaliencyMaps(tuple(predictions), method, values, within, window)
