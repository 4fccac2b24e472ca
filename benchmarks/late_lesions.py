"""Measures whether a lesion net finds in photographs the kinds of lesion that drawn eyes alone taught it.

    .venv/bin/python benchmarks/late_lesions.py --set IMAGES GRADES [--set IMAGES GRADES ...] [--net lesions-squeezenet]
        [--most 60]

Nobody boxed these kinds, so grades have to tell. New vessels and pre-retinal blood make an eye proliferative (grade 4), and
cotton-wool spots are signs of severe disease (grade 3 and above). All photographs of grades 3 and 4 are looked at, and at most
`--most` of grade 0, drawn at random, from the training and validation parts. For each kind, the area under the ROC curve says how
well its highest probability in a photograph tells grade 4 from 0, 3 from 0, and 4 from 3, where 0.5 is chance. Then follows the
share of the photographs of grades 0, 3 and 4 in which it is as likely as in the likeliest hundredth of those of grade 0, all sets
together.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from atlas.config import load_configuration
from atlas.lesionnets.bundle import load_lesion_net
from atlas.lesionnets.fundus import FundusLesionNet, marked, together
from atlas.pipeline.cohort import gather
from atlas.pipeline.engine import Fault, single_threaded
from atlas.pipeline.photograph import open_photograph
from atlas.pipeline.workshop import Workshop
from atlas.records import GradedImage

GRADES = (0, 3, 4)


def highest(image: GradedImage, net: FundusLesionNet) -> dict[str, float]:
    """Return the highest probability of each kind in a photograph."""
    decoded, (frame, mask) = open_photograph(image.path)
    maps = net.maps(decoded.pixels, frame, mask)
    return {kind: float(together(net.kinds, maps, kind).max()) for kind in marked(net.kinds)}


def chosen(images: Sequence[GradedImage], most: int) -> list[GradedImage]:
    """Return the photographs to look at."""
    learned = [image for image in images if image.split != "test"]
    healthy = [image for image in learned if image.grade == 0]
    ill = [image for image in learned if image.grade in GRADES[1:]]
    return [*ill, *random.Random(0).sample(healthy, min(most, len(healthy)))]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", nargs=2, type=Path, action="append", required=True, metavar=("IMAGES", "GRADES"))
    parser.add_argument("--net", default="lesions-squeezenet")
    parser.add_argument("--most", type=int, default=60)
    arguments = parser.parse_args()
    net = load_lesion_net(arguments.net)
    seen: list[tuple[int, dict[str, float]]] = []
    with single_threaded():
        for images, grades in arguments.set:
            workshop = Workshop.of(load_configuration(images=images, grades=grades))
            taken = chosen(gather(workshop, copies=False).dataset.images, arguments.most)
            for image, one in zip(taken, workshop.each(highest, taken, net, stage="lesions"), strict=True):
                if image.grade is not None and not isinstance(one, Fault):
                    seen.append((image.grade, one))
    counts = ", ".join(f"{sum(grade == own for own, _ in seen)} of grade {grade}" for grade in GRADES)
    print(f"photographs: {counts}")
    print(f"{'kind':<18}" + "".join(f"{title:>10}" for title in ("4 from 0", "3 from 0", "4 from 3", "in 0", "in 3", "in 4")))
    for kind in marked(net.kinds):
        by_grade = {grade: np.array([one[kind] for own, one in seen if own == grade]) for grade in GRADES}
        told = [auc(by_grade[high], by_grade[low]) for high, low in ((4, 0), (3, 0), (4, 3))]
        rare = np.quantile(by_grade[0], 0.99)
        told += [float((by_grade[grade] >= rare).mean()) for grade in GRADES]
        print(f"{kind:<18}" + "".join(f"{value:>10.2f}" for value in told))


def auc(high: np.ndarray, low: np.ndarray) -> float:
    """Return the area under the ROC curve of values that should be high against values that should be low."""
    return float(roc_auc_score(np.repeat([1, 0], (len(high), len(low))), np.concatenate([high, low])))


if __name__ == "__main__":
    main()
