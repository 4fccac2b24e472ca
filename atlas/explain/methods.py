"""The table of saliency methods with their texts, and the maps that they give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from atlas.errors import ConfigurationError
from atlas.explain import attention, gradcam, occlusion
from atlas.explain.windows import windows_inside
from atlas.records import BoolArray, FloatArray, SaliencyMaps, Target, noop, told
from atlas.scorers.prediction import Prediction

Drops = Callable[[Prediction, Target, int], FloatArray]
"""Called as drops(prediction, target, window); returns float32 (h-window+1, w-window+1), signed, in grades in the middle of the
scale, see `readouts.grades_in_the_middle`, unless the method's `meaning` says otherwise."""


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
    offered : Callable[[Prediction, Target], bool]
        Whether a scorer has such maps, by one of its predictions.
    """

    title: str
    meaning: str
    drops: Drops
    offered: Callable[[Prediction, Target], bool] = lambda prediction, target: True


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
        noop(
            "The weight of each cell, estimated from the gradient of the network's output before the sigmoid or the softmax, in "
            "grades in the middle of the scale."
        ),
        lambda prediction, target, window: gradcam.weights(prediction, target.name, target.scale, window=window),
    ),
    "attention": Method(
        noop("Self-attention"),
        noop(
            "How much the network's layer of self-attention takes from each cell, as a multiple of the mean of all cells. It "
            "shows where the network looks, not whether a cell raised or lowered the score."
        ),
        attention.shares,
        lambda prediction, target: prediction.attention(target.name) is not None,
    ),
}
"""A method is one entry, with its texts."""

OF_ONE_GRADE = "gradcam-grade-"
"""Beginning of the names of the maps that explain one grade; its number follows."""


def of_one_grade(name: str) -> bool:
    """Return whether a method's maps explain one grade."""
    return name.startswith(OF_ONE_GRADE)


def method_named(name: str) -> Method:
    """Return an entry of `METHODS`, or the method of one grade's maps.

    Raises
    ------
    ConfigurationError
        If there is none of this name.
    """
    if of_one_grade(name):
        grade = int(name.removeprefix(OF_ONE_GRADE))
        return Method(
            told("Grad-CAM of grade %(grade)s", grade=grade),
            told(
                "How much each cell adds to the network's output for grade %(grade)s, before the softmax, estimated from its "
                "gradient. The unit is that of a logit, not a grade.",
                grade=grade,
            ),
            lambda prediction, target, window: gradcam.weights_of_grade(prediction, target, grade, window=window),
        )
    if name not in METHODS:
        raise ConfigurationError(f"saliency method = {name!r} is not known", f"choose one of: {', '.join(METHODS)}.")
    return METHODS[name]


def methods_of(prediction: Prediction, target: Target) -> tuple[str, ...]:
    """Name the methods of `METHODS` that a scorer offers, by one of its predictions."""
    return tuple(name for name, method in METHODS.items() if method.offered(prediction, target))


def methods_by_grade(prediction: Prediction, target: Target) -> tuple[str, ...]:
    """Name the methods that explain one grade each; none if the scorer has no output for each grade."""
    grades = target.scale.grades if len(prediction.gradcam_by_grade(target.name)) else ()
    return tuple(f"{OF_ONE_GRADE}{grade}" for grade in grades)


def saliency_map(
    method: str, prediction: Prediction, target: Target, *, inside: BoolArray, window: int = 1
) -> tuple[FloatArray, BoolArray]:
    """Return the map of one photograph. It is zero off the retina, so that a black surround cannot be marked.

    Parameters
    ----------
    method : str
        A key of `METHODS`, or a name of `methods_by_grade`.
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
        The map, float32 (h-window+1, w-window+1), signed. In grades in the middle of the scale, unless the method says otherwise.
    within : BoolArray
        Which windows lie on the retina, bool (h-window+1, w-window+1).

    Raises
    ------
    ConfigurationError
        If the method is unknown, the scorer has no such map, or the window does not fit on the maps.
    """
    chosen = method_named(method)
    if not chosen.offered(prediction, target):
        raise ConfigurationError(
            f"saliency = {method!r}: this scorer's network has no such map",
            f"choose one of: {', '.join(methods_of(prediction, target))}.",
        )
    drops = chosen.drops(prediction, target, window)
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
