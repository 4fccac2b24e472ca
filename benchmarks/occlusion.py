"""Compares the time of exact occlusion from cell sums with that of captum's feature ablation, in one run.

    .venv/bin/python benchmarks/occlusion.py [--images 16] [--rounds 5]

Both compute how far the score falls without each cell of a trunk's last maps, for the same maps and head, one photograph at a
time as in a build. The time of atlas includes reading the maps, that is the sums of the first layer and Grad-CAM. The table shows
the median milliseconds of each for a photograph, the median of their ratio in each round, and the largest difference in grade
units, for heads with equal weights for all cells, as in the shipped ones, and for heads with separate weights for each cell.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from captum.attr import FeatureAblation

from atlas.explain.occlusion import drops
from atlas.records import DIABETIC_RETINOPATHY, Target
from atlas.scorers.prediction import read_maps
from atlas.scorers.readouts import Head

SHAPES = {"alexnet": (256, 6, 6), "resnet18": (512, 7, 7), "squeezenet1_1": (512, 13, 13)}
HIDDEN = 64


def network(head: Head, shape: tuple[int, int, int]) -> torch.nn.Module:
    """Return the head as a plain network from maps (n, C, h, w) to severities (n,)."""
    hidden = torch.nn.Linear(int(np.prod(shape)), HIDDEN)
    output = torch.nn.Linear(HIDDEN, 1)
    with torch.no_grad():
        hidden.weight.copy_(torch.from_numpy(np.broadcast_to(head.hidden_weight, (HIDDEN, *shape)).reshape(HIDDEN, -1).copy()))
        hidden.bias.copy_(torch.from_numpy(head.hidden_bias))
        output.weight.copy_(torch.from_numpy(head.output_weight[None]))
        output.bias.fill_(head.output_bias)
    layers = torch.nn.Sequential(torch.nn.Flatten(), hidden, torch.nn.ReLU(), output, torch.nn.Sigmoid(), torch.nn.Flatten(0))
    return layers.eval()


def compare(shape: tuple[int, int, int], pooled: bool, images: int, rounds: int) -> tuple[float, float, float, float]:
    """Return median seconds of atlas and of captum, the median ratio, and the largest difference in grade units."""
    random = np.random.default_rng(0)
    maps = np.maximum(random.normal(0, 1, (images, *shape)), 0).astype(np.float32)
    own = (shape[0], 1, 1) if pooled else shape
    weight = random.normal(0, np.prod(shape) ** -0.5, (HIDDEN, *own)).astype(np.float32)
    head = Head(weight, np.zeros(HIDDEN, np.float32), random.normal(0, 0.3, HIDDEN).astype(np.float32), 0.0)
    cells = torch.arange(shape[1] * shape[2]).reshape(1, 1, *shape[1:])
    ablation, target = FeatureAblation(network(head, shape)), Target.of(DIABETIC_RETINOPATHY)
    ours, theirs, furthest = [], [], 0.0
    for _ in range(rounds + 1):
        start = time.perf_counter()
        fast = [drops(read_maps(one, head, target), target.name) for one in maps]
        between = time.perf_counter()
        with torch.no_grad():
            slow = [ablation.attribute(torch.from_numpy(one[None]), feature_mask=cells)[0, 0].numpy() for one in maps]
        end = time.perf_counter()
        ours.append(between - start)
        theirs.append(end - between)
        furthest = max(furthest, float(np.abs(np.array(fast) - np.array(slow) * DIABETIC_RETINOPATHY.span).max()))
    ours, theirs = ours[1:], theirs[1:]  # the first round warms up
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    return statistics.median(ours) / images, statistics.median(theirs) / images, ratio, furthest


def main() -> None:
    """Print one row for each trunk and kind of head."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(f"{'maps of':<16}{'first layer':<14}{'atlas ms':>10}{'captum ms':>11}{'captum / atlas':>16}{'difference':>12}")
    for name, shape in SHAPES.items():
        for pooled in (True, False):
            ours, theirs, ratio, furthest = compare(shape, pooled, arguments.images, arguments.rounds)
            layer = "one matrix" if pooled else "by cell"
            print(f"{name:<16}{layer:<14}{1e3 * ours:>10.3f}{1e3 * theirs:>11.2f}{ratio:>16.1f}{furthest:>12.1e}")


if __name__ == "__main__":
    main()
