"""Times exact occlusion from cell sums against captum's feature ablation, side by side in one run.

    .venv/bin/python benchmarks/occlusion.py [--images 16] [--rounds 5]

Both answer the same question, how far the score falls without each cell of a trunk's last maps, for the same maps and head.
The table shows the median seconds of each, the median of their ratio round by round, and the largest difference in grade units.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from captum.attr import FeatureAblation

from atlas.explain.occlusion import drops
from atlas.records import DIABETIC_RETINOPATHY, FeatureMaps
from atlas.scorers.readouts import Head, cell_sums

SHAPES = {"alexnet": (256, 6, 6), "resnet18": (512, 7, 7), "squeezenet1_1": (512, 13, 13)}
HIDDEN = 64


def network(head: Head) -> torch.nn.Module:
    """Return the head as a plain network from maps (n, C, h, w) to severities (n,)."""
    hidden = torch.nn.Linear(head.hidden_weight[0].size, HIDDEN)
    output = torch.nn.Linear(HIDDEN, 1)
    with torch.no_grad():
        hidden.weight.copy_(torch.from_numpy(head.hidden_weight.reshape(HIDDEN, -1)))
        hidden.bias.copy_(torch.from_numpy(head.hidden_bias))
        output.weight.copy_(torch.from_numpy(head.output_weight[None]))
        output.bias.fill_(head.output_bias)
    layers = torch.nn.Sequential(torch.nn.Flatten(), hidden, torch.nn.ReLU(), output, torch.nn.Sigmoid(), torch.nn.Flatten(0))
    return layers.eval()


def compare(shape: tuple[int, int, int], images: int, rounds: int) -> tuple[float, float, float, float]:
    """Return median seconds of atlas and of captum, the median ratio, and the largest difference in grade units."""
    random = np.random.default_rng(0)
    maps = np.maximum(random.normal(0, 1, (images, *shape)), 0).astype(np.float32)
    weight = random.normal(0, np.prod(shape) ** -0.5, (HIDDEN, *shape)).astype(np.float32)
    head = Head(weight, np.zeros(HIDDEN, np.float32), random.normal(0, 0.3, HIDDEN).astype(np.float32), 0.0)
    features = FeatureMaps(tuple(map(str, range(images))), maps, 1.0)
    cells = torch.arange(shape[1] * shape[2]).reshape(1, 1, *shape[1:])
    ablation, inputs = FeatureAblation(network(head)), torch.from_numpy(maps)
    ours, theirs, furthest = [], [], 0.0
    for _ in range(rounds + 1):
        start = time.perf_counter()
        fast = drops(cell_sums(features, head), head, DIABETIC_RETINOPATHY)
        between = time.perf_counter()
        with torch.no_grad():
            slow = ablation.attribute(inputs, feature_mask=cells)
        end = time.perf_counter()
        ours.append(between - start)
        theirs.append(end - between)
        furthest = max(furthest, float(np.abs(fast - slow[:, 0].numpy() * DIABETIC_RETINOPATHY.span).max()))
    ours, theirs = ours[1:], theirs[1:]  # the first round warms up
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    return statistics.median(ours), statistics.median(theirs), ratio, furthest


def main() -> None:
    """Print one row a trunk."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(f"{'maps of':<16}{'atlas s':>10}{'captum s':>10}{'captum / atlas':>16}{'difference':>12}")
    for name, shape in SHAPES.items():
        ours, theirs, ratio, furthest = compare(shape, arguments.images, arguments.rounds)
        print(f"{name:<16}{ours:>10.4f}{theirs:>10.4f}{ratio:>16.1f}{furthest:>12.1e}")


if __name__ == "__main__":
    main()
