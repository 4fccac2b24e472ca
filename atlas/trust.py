"""How far a saliency map can be trusted: by what the scorer itself does, and by lesions that an expert outlined.

Two questions are kept apart. Is the map true to the scorer? Then the score falls quickly as the marked cells are left out
(deletion), and the map changes once the scorer's weights are scrambled. Does the map point at disease? Then its strongest cell
touches a lesion, and its drops gather inside the lesions' outlines. A map can be true to a scorer that looks at the wrong things.

The pointing game is by Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016; the share inside by Wang et
al., "Score-CAM", CVPR Workshops 2020 (there: energy-based pointing game); deletion and insertion by Petsiuk et al., "RISE", BMVC
2018; the scrambled weights by Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from scipy.integrate import trapezoid
from scipy.stats import spearmanr

from atlas.errors import DatasetError
from atlas.patches import windows_inside
from atlas.preprocess import cell_coverage, crop
from atlas.records import BoolArray, CellSums, FloatArray, Frame, Head, IntArray, Scale
from atlas.scorer import with_section
from atlas.trunks import Trunk

STEPS = 11
"""Points of a deletion or insertion curve: 0, 10, ... 100 % of the retinal cells."""

FIFTH = 2
"""The point of a curve by which a map is judged: a fifth of the retinal cells left out."""

_ORDERS = 100  # random orders beside each map's own
_RESAMPLES = 2000
_MASK_ENDINGS = (".png", ".gif", ".tif", ".tiff", ".bmp")

# ---- lesions on the grid of cells ----------------------------------------------------------------------------------------------


def find_masks(masks: Path, stem: str) -> tuple[Path, ...]:
    """Find the masks of the photograph named `stem`: `masks/<stem>.png`, or all of `masks/<stem>/`, one for each kind of lesion.

    PNG, GIF, TIFF and BMP are taken. Returns () where there is none.
    """
    folder = masks / stem
    files = folder.iterdir() if folder.is_dir() else (masks / (stem + ending) for ending in _MASK_ENDINGS)
    return tuple(sorted(file for file in files if file.suffix.lower() in _MASK_ENDINGS and file.is_file()))


def read_lesions(files: Iterable[Path], shape: tuple[int, int]) -> BoolArray:
    """Read masks and join them: bool (H, W), true where any mask is not black.

    shape : H, W of the upright photograph. Raises DatasetError where a mask cannot be read or is of another size.
    """
    lesions = np.zeros(shape, np.bool_)
    for file in files:
        try:
            with Image.open(file, formats=("PNG", "GIF", "TIFF", "BMP")) as image:
                mask = np.asarray(image.convert("L")) > 0
        except Exception as error:  # decoders of foreign files fail in many ways; each means this one file and no more
            raise DatasetError(f"{file}: cannot be read as a mask ({error})", "give it as PNG, white on black.") from error
        if mask.shape != shape:
            sizes = (f"{columns} x {rows}" for rows, columns in (mask.shape, shape))
            raise DatasetError(
                "{}: the mask is of {} pixels, its photograph of {}".format(file, *sizes), "draw it on the photograph."
            )
        lesions |= mask
    return lesions


def lesion_coverage(lesions: BoolArray, frame: Frame, shape: tuple[int, int]) -> FloatArray:
    """Return the share of each cell that is lesion, float32 (h, w): the mask is cropped as its photograph is.

    lesions : bool (H, W) in source pixels.   shape : h, w.
    """
    return cell_coverage(crop(lesions.astype(np.uint8), frame) > 0, shape)


def over_windows(cells: FloatArray, window: int) -> FloatArray:
    """Average values of cells (h, w) over each square window: (h-window+1, w-window+1)."""
    means: FloatArray = sliding_window_view(cells, (window, window)).mean(axis=(-2, -1), dtype=np.float64).astype(np.float32)
    return means


def over_cells(values: FloatArray, inside: BoolArray, window: int) -> FloatArray:
    """Give each cell the mean of the windows on the retina that hold it: (h, w), -inf where none does.

    values, inside : (h-window+1, w-window+1), one entry per window.
    """
    rows, columns = (length + window - 1 for length in values.shape)
    total, count = np.zeros((rows, columns)), np.zeros((rows, columns))
    for row, column in np.ndindex(window, window):
        place = slice(row, row + values.shape[0]), slice(column, column + values.shape[1])
        total[place] += np.where(inside, values, 0.0)
        count[place] += inside
    spread: FloatArray = np.where(count > 0, total / np.maximum(count, 1), -np.inf).astype(np.float32)
    return spread


# ---- maps against lesions ------------------------------------------------------------------------------------------------------


def hit(values: FloatArray, inside: BoolArray, touched: BoolArray) -> float:
    """Play the pointing game: 1 if the strongest cell on the retina touches a lesion, else 0; all arrays (h, w).

    Of cells that are equally strong one is drawn at random: the result is then the expectation, so that a constant map scores
    as a random cell does. A map without a positive drop points nowhere and misses.
    """
    strongest = values[inside].max(initial=0.0)
    if strongest <= 0:
        return 0.0
    return float(touched[inside & (values == strongest)].mean())


def share_inside(values: FloatArray, inside: BoolArray, lesions: FloatArray, coverage: FloatArray) -> float:
    """Return which share of a map's positive drops lies inside lesions, 0..1; NaN where no drop is positive.

    lesions, coverage : float32 (h, w), shares of each cell that are lesion and retina. The drop of a cell counts in proportion
    to the part of its retina that is lesion, so that drops spread evenly over the retina give `area_share`.
    """
    drops = np.where(inside, np.maximum(values, 0.0), 0.0).astype(np.float64)
    if not drops.any():
        return np.nan
    within = np.minimum(lesions, coverage) / np.where(coverage > 0, coverage, 1.0)
    return float((drops * within).sum() / drops.sum())


def area_share(inside: BoolArray, lesions: FloatArray, coverage: FloatArray) -> float:
    """Return which share of the retina inside is lesion, 0..1."""
    return float(np.minimum(lesions, coverage)[inside].sum(dtype=np.float64) / coverage[inside].sum(dtype=np.float64))


def centre_map(shape: tuple[int, int]) -> FloatArray:
    """Return a map that looks at nothing: strongest in the middle of the frame, which is the retina's, and falling outwards."""
    rows, columns = (np.arange(length) - (length - 1) / 2 for length in shape)
    away = np.hypot(rows[:, None], columns)
    falling: FloatArray = (1.0 + away.max() - away).astype(np.float32)
    return falling


# ---- the score as cells are left out -------------------------------------------------------------------------------------------


class Curves(NamedTuple):
    """Severities in grade units, float32 (STEPS,), as 0, 10, ... 100 % of the retinal cells are left out or put in.

    deletion : strongest first.   insertion : from no retinal cell to all, strongest first.   random : mean of deletions in random
    orders; read backwards, of insertions.
    """

    deletion: FloatArray
    insertion: FloatArray
    random: FloatArray


def strongest_first(values: FloatArray, inside: BoolArray) -> IntArray:
    """Order the cells on the retina by a map (h, w): int64 (k,) of row-major places, strongest first, ties in reading order."""
    places = np.flatnonzero(inside)
    ordered: IntArray = places[np.argsort(-values.ravel()[places], kind="stable")].astype(np.int64)
    return ordered


def severities_without(sums: CellSums, head: Head, scale: Scale, orders: IntArray) -> FloatArray:
    """Leave cells out one by one: float32 (m, k+1), grade units, first with all cells and last without any of the k.

    sums : of one image.   orders : int64 (m, k), places of cells. Exact, from the cell sums; see `occlusion`.
    """
    if len(sums.image_ids) != 1:
        raise ValueError(f"cell sums of {len(sums.image_ids)} images, expected one")
    cells = sums.values[0].astype(np.float64)
    gone = np.cumsum(cells[orders], axis=1)
    z = sums.bias + cells.sum(axis=0) - np.pad(gone, ((0, 0), (1, 0), (0, 0)))
    return head.severity(z, scale)


def curves(values: FloatArray, inside: BoolArray, sums: CellSums, head: Head, scale: Scale, *, seed: int = 0) -> Curves:
    """Follow the score of one image as the cells of its map (h, w) are left out, or put in, strongest first.

    `seed` draws the random orders. Cells off the retina stay as they are.
    """
    own = strongest_first(values, inside)
    rng = np.random.default_rng(seed)
    shuffled = rng.permuted(np.tile(own, (_ORDERS, 1)), axis=1)
    fall = severities_without(sums, head, scale, np.vstack([own, own[::-1], shuffled]))
    fall = fall[:, np.rint(np.linspace(0, own.size, STEPS)).astype(np.int64)]
    return Curves(fall[0], fall[1][::-1], fall[2:].mean(axis=0, dtype=np.float64).astype(np.float32))


def area(curve: FloatArray) -> float:
    """Return the mean height of a curve (STEPS,), by the trapezoid rule."""
    return float(trapezoid(curve.astype(np.float64), dx=1.0 / (len(curve) - 1)))


# ---- a word for each photograph ------------------------------------------------------------------------------------------------


_LOW = 1 / 8  # of the scale: so near to the lowest grade there is little to explain
_LARGE = 1 / 8  # of the scale: the marked fifth decides the score
_SMALL = 1 / 40  # of the scale: less is not worth a mark on a picture
_TIMES = 2  # as far as a random fifth lowers the score


@dataclass(frozen=True)
class Badge:
    """A word for a photograph's map.

    sentence : what it means.   rule : when it is given, with `{low}`, `{large}` and `{small}` for limits in grades.
    """

    word: str
    sentence: str
    rule: str

    def rule_on(self, scale: Scale) -> str:
        """Return the rule with its limits in grades of a scale."""
        limits = {"low": _LOW, "large": _LARGE, "small": _SMALL}
        return self.rule.format(**{name: f"{share * scale.span:.2g}" for name, share in limits.items()})


CLEAR = Badge(
    "clear",
    "The marked places largely decide this score.",
    "Leaving out the marked fifth lowers the score by {large} grades or more, and at least twice as far as a random fifth.",
)
PARTIAL = Badge(
    "partial",
    "The marked places explain a part of this score; the rest is spread over the retina.",
    "Leaving out the marked fifth lowers the score by {small} to {large} grades, and at least twice as far as a random fifth.",
)
WEAK = Badge(
    "weak",
    "The marked places hardly matter more for this score than any others: do not read much into this map.",
    "Leaving out the marked fifth lowers the score by less than {small} grades, or less than twice as far as a random fifth.",
)
LITTLE = Badge(
    "little to explain",
    "The score is close to the lowest grade, so there is little that a map could explain.",
    "The score lies less than {low} grades above the lowest grade.",
)

BADGES = (CLEAR, PARTIAL, WEAK, LITTLE)


def judge(deletion: FloatArray, random: FloatArray, scale: Scale) -> Badge:
    """Choose the badge of one photograph by the rules of `BADGES`, from its curves (STEPS,) in grade units.

    The badge says whether the map is true to the scorer, and nothing about whether the scorer is right.
    """
    marked, chance = fifth(deletion), fifth(random)
    if deletion[0] - scale.lowest < _LOW * scale.span:
        return LITTLE
    if marked < _SMALL * scale.span or marked < _TIMES * chance:
        return WEAK
    return CLEAR if marked >= _LARGE * scale.span else PARTIAL


def fifth(curve: FloatArray) -> float:
    """Return how far a curve (STEPS,) has fallen once a fifth of the retinal cells is left out, grade units."""
    return float(curve[0]) - float(curve[FIFTH])


# ---- scrambled scorers ---------------------------------------------------------------------------------------------------------


def scrambled_head(head: Head, seed: int) -> Head:
    """Return the head with its weights permuted among channels and hidden units, and their signs drawn: nothing learned is left.

    A weight moves with its whole grid of cells, so that a head that weighs all cells alike still does: noise from cell to cell
    would tell two maps apart too easily. Without new signs a mean below zero would put all hidden units to rest for good.
    """
    rng = np.random.default_rng(seed)
    weight = head.hidden_weight
    grids = rng.permutation(weight.reshape(-1, *weight.shape[2:])) * _signs(rng, (weight[..., 0, 0].size, 1, 1))
    return Head(
        grids.reshape(weight.shape),
        rng.permutation(head.hidden_bias),
        rng.permutation(head.output_weight) * _signs(rng, head.output_weight.shape),
        head.output_bias,
    )


def scrambled_trunk(trunk: Trunk, seed: int) -> Trunk:
    """Return the trunk with the entries of each of its weights permuted, and signs drawn for all but biases and normalisation.

    The trunk that is given stays as it is.
    """
    rng = np.random.default_rng(seed)
    module = copy.deepcopy(trunk.module)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            entries = rng.permutation(tensor.cpu().numpy().ravel()).reshape(tensor.shape)
            tensor.copy_(torch.from_numpy(entries * _signs(rng, entries.shape) if entries.ndim >= 2 else entries))
    return replace(trunk, module=module, sha256=hashlib.sha256(f"{trunk.sha256} scrambled by {seed}".encode()).hexdigest())


def _signs(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    return rng.choice(np.array([-1, 1], np.float32), shape)


def likeness(values: FloatArray, other: FloatArray, inside: BoolArray) -> tuple[float, float]:
    """Return Spearman's rank correlation of two maps (h, w) over the cells inside: signed, and of absolute values.

    NaN where a map is constant.
    """
    pairs = ((change(values[inside]), change(other[inside])) for change in (np.positive, np.abs))
    signed, absolute = (
        np.nan if min(np.ptp(own), np.ptp(against)) == 0 else float(spearmanr(own, against).statistic) for own, against in pairs
    )
    return signed, absolute


# ---- a whole cohort ------------------------------------------------------------------------------------------------------------

Row = Mapping[str, float]
"""Figures of one map of one photograph; those that are not defined are NaN or missing."""


def measure(
    maps: Mapping[str, FloatArray],
    *,
    inside: BoolArray,
    lesions: FloatArray,
    coverage: FloatArray,
    sums: CellSums,
    head: Head,
    scale: Scale,
    window: int = 1,
    seed: int = 0,
) -> dict[str, Row]:
    """Measure the maps of one photograph with lesions, beside the centre of the retina and chance.

    maps : by method, float32 (h-window+1, w-window+1).   inside : bool (h, w), cell on the retina.
    lesions, coverage : float32 (h, w), shares of each cell that are lesion and retina.   sums : of this photograph.

    Returns
    -------
    For each method, and for "centre" and "random", the figures `hit`, `random` (the hit of a random window), `share` (of positive
    drops inside lesions), `area` (of the retina that is lesion), and `deletion` and `insertion`: mean heights of the curves above
    the lowest grade, grade units, to be read beside `height`, that of the whole score.
    """
    lesions, coverage = over_windows(lesions, window), over_windows(coverage, window)
    whole, touched = windows_inside(inside[None], window)[0], lesions > 0
    chance = hit(np.ones_like(lesions), whole, touched)
    common = {"random": chance, "area": area_share(whole, lesions, coverage)}
    rows: dict[str, Row] = {}
    for name, values in {**maps, "centre": centre_map(touched.shape)}.items():
        own = curves(over_cells(values, whole, window), inside, sums, head, scale, seed=seed)
        common["height"] = float(own.deletion[0]) - scale.lowest
        rows[name] = {
            **common,
            "hit": hit(values, whole, touched),
            "share": share_inside(values, whole, lesions, coverage) if name in maps else np.nan,
            "deletion": area(own.deletion) - scale.lowest,
            "insertion": area(own.insertion) - scale.lowest,
        }
    by_chance = area(own.random) - scale.lowest
    rows["random"] = {**common, "hit": chance, "share": common["area"], "deletion": by_chance, "insertion": by_chance}
    return rows


FIGURES: Mapping[str, tuple[str, str | None]] = {
    "hit": ("hit", None),
    "times_random": ("hit", "random"),
    "share": ("share", None),
    "times_area": ("share", "area"),
    "deletion": ("deletion", "height"),
    "insertion": ("insertion", "height"),
    "head_scrambled": ("head_scrambled", None),
    "head_scrambled_absolute": ("head_scrambled_absolute", None),
    "all_scrambled": ("all_scrambled", None),
    "all_scrambled_absolute": ("all_scrambled_absolute", None),
}
"""Figures of a cohort: mean of a photograph's figure, or its sum over the sum of another."""


def summarise(
    photographs: Sequence[Mapping[str, Row]], patients: Sequence[str], *, name: str, without_lesion: int, seed: int = 0
) -> dict[str, Any]:
    """Gather what `measure` found on each photograph into one entry of plain JSON values.

    Each figure is [value, low, high] with the 95 % percentile interval of a bootstrap over patients, or None where it is not
    defined. `area` is the mean share of the retina that is lesion.

    photographs : one mapping each, from map to figures.   patients : whose each is.   without_lesion : photographs left out.
    """
    owners = np.unique(np.asarray(patients, dtype=str), return_inverse=True)[1]
    count = int(owners.max()) + 1
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=_RESAMPLES)
    weights = np.vstack([np.ones(count), draws])[:, owners]

    def figure(of: str, above: str, below: str | None) -> list[float] | None:
        upper = np.array([rows[of].get(above, np.nan) for rows in photographs], np.float64)
        lower = np.ones_like(upper) if below is None else np.array([rows[of][below] for rows in photographs], np.float64)
        known = np.isfinite(upper)
        sums, bases = (weights[:, known] @ values[known] for values in (upper, lower))
        if bases[0] <= 0:
            return None
        low, high = np.quantile(sums[bases > 0] / bases[bases > 0], (0.025, 0.975))
        return [round(float(value), 4) for value in (sums[0] / bases[0], low, high)]

    return {
        "name": name,
        "photographs": len(photographs),
        "patients": count,
        "without_lesion": without_lesion,
        "area": round(float(np.mean([rows["random"]["area"] for rows in photographs])), 5),
        "maps": [
            {"map": of, **{key: figure(of, above, below) for key, (above, below) in FIGURES.items()}} for of in photographs[0]
        ],
    }


# ---- the card ------------------------------------------------------------------------------------------------------------------

_HEADING = "## How far the maps can be trusted"
_COLUMNS = {
    "hit": "hits a lesion",
    "times_random": "times a random place",
    "share": "drops inside lesions",
    "times_area": "times their area",
    "deletion": "score left, leaving out",
    "insertion": "score back, putting in",
    "head_scrambled": "likeness, head scrambled",
    "all_scrambled": "likeness, all scrambled",
}


def on_card(card: str, entries: Sequence[Mapping[str, Any]]) -> str:
    """Return a model card, Markdown, with a section of `summarise`'s entries, in place of an older one or before its limits."""
    section = "\n".join([_HEADING, "", *(line for entry in entries for line in (*_card_lines(entry), "")), ""])
    return with_section(card, _HEADING, section)


def _card_lines(entry: Mapping[str, Any]) -> list[str]:
    def figure(values: Sequence[float] | None) -> str:
        return "–" if values is None else "{:.2f} ({:.2f} to {:.2f})".format(*values)

    return [
        f"On {entry['name']}: {entry['photographs']} photographs with outlined lesions, which take {100 * entry['area']:.2g} % "
        "of the retina. In brackets, 95 % intervals by patient.",
        "",
        f"| map | {' | '.join(_COLUMNS.values())} |",
        "|---" * (len(_COLUMNS) + 1) + "|",
        *(f"| {row['map']} | {' | '.join(figure(row[key]) for key in _COLUMNS)} |" for row in entry["maps"]),
    ]
