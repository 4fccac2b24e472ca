"""Compares the time of exact occlusion and Grad-CAM from cell sums with that of well-known libraries, in one run.

    .venv/bin/python benchmarks/occlusion.py [--images 16] [--rounds 5] [--scorer synthetic-alexnet]

First table: how far the score falls without each cell of a trunk's last maps, for the same maps and head, one photograph at a
time as in a build, against captum's FeatureAblation, which computes the same. The time of atlas includes reading the maps, that
is the sums of the first layer and Grad-CAM. The table shows the median milliseconds of each for a photograph, the median of their
ratio in each round, what all cells, and all windows of two by two cells, cost in passes of the plain head, and the largest
difference in grade units, for heads with equal weights for all cells, as in the shipped ones, and for heads with separate weights
for each cell. A pass of the head is measured on all maps in one batch.

Second table: a complete scorer on drawn eyes, from prepared pixels to a map. The operations differ. Atlas hides cells of the last
maps, after the network: one forward pass, whatever the number of places. captum's Occlusion and MONAI's OcclusionSensitivity hide
squares of pixels, each as large as a cell, before the network: a forward pass for each place, and the network also sees the edge
of the hidden square. pytorch-grad-cam weighs the maps by their mean gradients; where the first layer of the head weighs all cells
alike, that is the same map up to a factor. `alike` is Spearman's rank correlation with the map of the same kind by atlas, mean
over the eyes. Libraries that are not installed are left out: `pip install "lesion-atlas[benchmark]"`.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import FeatureAblation, Occlusion
from scipy.stats import spearmanr
from torch import Tensor, nn

from atlas.drawn.paint import draw_eye
from atlas.explain.occlusion import drops
from atlas.photographs.preparations import prepare
from atlas.records import DIABETIC_RETINOPATHY, FloatArray, Preprocessed, Target
from atlas.scorers.bundle import load_transferred
from atlas.scorers.prediction import read_maps
from atlas.scorers.readouts import Head
from atlas.scorers.specs import normalised
from atlas.scorers.transferred import TransferredScorer
from atlas.scorers.trunks import TRUNKS

SHAPES = {"alexnet": (256, 6, 6), "resnet18": (512, 7, 7), "squeezenet1_1": (512, 13, 13)}
HIDDEN = 64


def network(head: Head, shape: tuple[int, int, int]) -> nn.Module:
    """Return the head as a plain network from maps (n, C, h, w) to severities (n,)."""
    units = len(head.output_weight)
    hidden = nn.Linear(int(np.prod(shape)), units)
    output = nn.Linear(units, 1)
    with torch.no_grad():
        hidden.weight.copy_(torch.from_numpy(np.broadcast_to(head.hidden_weight, (units, *shape)).reshape(units, -1).copy()))
        hidden.bias.copy_(torch.from_numpy(head.hidden_bias))
        output.weight.copy_(torch.from_numpy(head.output_weight[None]))
        output.bias.fill_(head.output_bias)
    layers = nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), output, nn.Sigmoid(), nn.Flatten(0))
    return layers.eval()


def seconds(work: Callable[[], object]) -> float:
    """Return the processor's time for some work on one thread: other work on the machine hardly changes it."""
    start = time.process_time()
    work()
    return time.process_time() - start


@dataclass(frozen=True)
class Compared:
    """A comparison with captum's FeatureAblation, a value for each round.

    Parameters
    ----------
    ours, theirs : tuple[float, ...]
        Seconds for each photograph.
    cells, windows : tuple[float, ...]
        Passes of the head that all cells, and all windows, cost.
    furthest : float
        The largest difference, in grade units.
    """

    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    cells: tuple[float, ...]
    windows: tuple[float, ...]
    furthest: float

    @property
    def ratios(self) -> tuple[float, ...]:
        return tuple(b / a for a, b in zip(self.ours, self.theirs, strict=True))


def compare(shape: tuple[int, int, int], pooled: bool, images: int, rounds: int) -> Compared:
    """Compare with captum's FeatureAblation."""
    random = np.random.default_rng(0)
    maps = np.maximum(random.normal(0, 1, (images, *shape)), 0).astype(np.float32)
    own = (shape[0], 1, 1) if pooled else shape
    weight = random.normal(0, np.prod(shape) ** -0.5, (HIDDEN, *own)).astype(np.float32)
    head = Head(weight, np.zeros(HIDDEN, np.float32), random.normal(0, 0.3, HIDDEN).astype(np.float32), 0.0)
    cells = torch.arange(shape[1] * shape[2]).reshape(1, 1, *shape[1:])
    plain, target, batch = network(head, shape), Target.of(DIABETIC_RETINOPATHY), torch.from_numpy(maps)
    ablation = FeatureAblation(plain)
    found: dict[str, list[float]] = {name: [] for name in ("ours", "theirs", "cells", "windows", "pass")}
    furthest = 0.0
    for _ in range(rounds + 1):
        with torch.inference_mode():
            found["pass"].append(seconds(lambda: plain(batch)))
            fast: list[FloatArray] = []
            found["ours"].append(seconds(lambda: fast.extend(drops(read_maps(one, head, target), target.name) for one in maps)))  # noqa: B023
            slow: list[FloatArray] = []
            found["theirs"].append(
                seconds(
                    lambda: slow.extend(ablation.attribute(one[None], feature_mask=cells)[0, 0].numpy() for one in batch)  # noqa: B023
                )
            )
            for name, window in (("cells", 1), ("windows", 2)):
                read = [read_maps(one, head, target) for one in maps]
                found[name].append(seconds(lambda: [drops(one, target.name, window=window) for one in read]))  # noqa: B023
        furthest = max(furthest, float(np.abs(np.array(fast) - np.array(slow) * DIABETIC_RETINOPATHY.span).max()))
    kept = {name: values[1:] for name, values in found.items()}  # the first round warms up
    ours, theirs = (tuple(value / images for value in kept[name]) for name in ("ours", "theirs"))
    of_cells, of_windows = (tuple(a / b for a, b in zip(kept[name], kept["pass"], strict=True)) for name in ("cells", "windows"))
    return Compared(ours, theirs, of_cells, of_windows, furthest)


class Whole(nn.Module):
    """A scorer from normalised pixels (n, 3, S, S) to logits (n, 1)."""

    def __init__(self, scorer: TransferredScorer) -> None:
        super().__init__()
        head = scorer.head
        if not isinstance(head, Head):
            raise TypeError(f"{scorer.name} has no head with one output")
        self.trunk = scorer.trunk.module
        self.layers = network(head, (scorer.channels, *scorer.grid))[:-2]

    def forward(self, pixels: Tensor) -> Tensor:
        return self.layers(self.trunk(pixels))


def methods(scorer: TransferredScorer) -> dict[str, tuple[str, Callable[[Preprocessed], FloatArray]]]:
    """Return each way to draw a map: its kind, and a function from a prepared eye to a map (h, w)."""
    whole, spec, target = Whole(scorer), TRUNKS[scorer.trunk.name], scorer.targets[0].name
    rows, columns = scorer.grid
    cell = scorer.size // rows

    def shown(eye: Preprocessed) -> Tensor:
        return normalised(torch.from_numpy(eye.pixels[None].copy()).permute(0, 3, 1, 2).float() / 255, spec)

    def captum(eye: Preprocessed) -> FloatArray:
        with torch.inference_mode():
            found = Occlusion(whole).attribute(shown(eye), (3, cell, cell), (3, cell, cell), baselines=0.0)
        return found[0, 0, cell // 2 :: cell, cell // 2 :: cell][:rows, :columns].numpy()

    ways: dict[str, tuple[str, Callable[[Preprocessed], FloatArray]]] = {
        "atlas, occlusion": ("occlusion", lambda eye: drops(scorer.predict([eye])[0], target)),
        "captum Occlusion": ("occlusion", captum),
    }
    if importlib.util.find_spec("monai"):
        from monai.visualize import OcclusionSensitivity

        hiding = OcclusionSensitivity(whole, mask_size=cell, n_batch=1, mode=0.0, overlap=0.0, activate=False, verbose=False)

        def monai(eye: Preprocessed) -> FloatArray:
            with torch.inference_mode():
                values = hiding(shown(eye))[0][0, 0].numpy()
            return np.asarray(values[cell // 2 :: cell, cell // 2 :: cell][:rows, :columns] * -1)

        ways["MONAI OcclusionSensitivity"] = ("occlusion", monai)
    ways["atlas, Grad-CAM"] = ("Grad-CAM", lambda eye: np.maximum(scorer.predict([eye])[0].gradcam(target), 0))
    if importlib.util.find_spec("pytorch_grad_cam"):
        from pytorch_grad_cam import GradCAM

        drawing = GradCAM(whole, [whole.trunk])

        def gradcam(eye: Preprocessed) -> FloatArray:
            # It enlarges the map to the size of the picture.
            values = drawing(shown(eye).requires_grad_(), targets=[lambda logits: logits[0]])[0]
            return np.asarray(values[cell // 2 :: cell, cell // 2 :: cell][:rows, :columns])

        ways["pytorch-grad-cam"] = ("Grad-CAM", gradcam)
    return ways


def compare_scorers(name: str, rounds: int, count: int = 4) -> None:
    """Print how long each way takes, and how its maps agree with ours."""
    scorer = load_transferred(name)
    eyes = [
        prepare("", draw_eye(seed, 1 + seed % 4).pixels, size=scorer.size, preparation=scorer.preparation)
        for seed in range(count)
    ]
    ways = methods(scorer)
    spent: dict[str, list[float]] = {way: [] for way in ways}
    drawn: dict[str, list[FloatArray]] = {}
    for _ in range(rounds + 1):
        for way, (_, draw) in ways.items():
            maps: list[FloatArray] = []
            spent[way].append(seconds(lambda: maps.extend(draw(eye) for eye in eyes)) / count)  # noqa: B023
            drawn[way] = maps
    print(f"\n{name}, {scorer.grid[0]} x {scorer.grid[1]} cells, {count} drawn eyes")
    print(f"{'way':<30}{'ms':>9}{'times atlas':>13}{'alike':>8}")
    for way, (kind, _) in ways.items():
        own = f"atlas, {kind}"
        ratio = statistics.median(a / b for a, b in zip(spent[way][1:], spent[own][1:], strict=True))
        alike = np.mean([spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(drawn[own], drawn[way], strict=True)])
        print(f"{way:<30}{1e3 * statistics.median(spent[way][1:]):>9.1f}{ratio:>13.1f}{alike:>8.2f}")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scorer", default="synthetic-alexnet", help="the scorer of the second table")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"{'maps of':<16}{'first layer':<14}{'atlas ms':>10}{'captum ms':>11}{'captum / atlas':>16}"
        f"{'cells':>8}{'windows':>9}{'difference':>12}"
    )
    for name, shape in SHAPES.items():
        for pooled in (True, False):
            found = compare(shape, pooled, arguments.images, arguments.rounds)
            layer = "one matrix" if pooled else "by cell"
            ours, theirs, ratio, cells, windows = map(
                statistics.median, (found.ours, found.theirs, found.ratios, found.cells, found.windows)
            )
            print(
                f"{name:<16}{layer:<14}{1e3 * ours:>10.3f}{1e3 * theirs:>11.2f}{ratio:>16.1f}"
                f"{cells:>8.2f}{windows:>9.2f}{found.furthest:>12.1e}",
                flush=True,
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the other libraries
        compare_scorers(arguments.scorer, arguments.rounds)


if __name__ == "__main__":
    main()
