"""Measures how well clusters of patches separate the kinds of lesion, on drawn eyes whose lesions are known to the pixel.

    .venv/bin/python benchmarks/clusters.py [--eyes 160] [--clusters 20] [--windows 1 2 3] [--side 128]
        [--trunk NAME --weights FILE]
    .venv/bin/python benchmarks/clusters.py --lesion-net lesions-squeezenet

With `--lesion-net` the patches are lesions that a net found, described by the net, as in an atlas by default. Without it, the
shipped scorer chooses the patches: the windows with the largest drops, of eyes of grades 1 to 4. The kind of a patch is the
lesion with the largest relative share: its share of the patch, divided by the median share in patches with this lesion. If no
lesion reaches a quarter of that median, the patch counts as having no lesion.

The columns: V-measure (Rosenberg and Hirschberg, EMNLP 2007), homogeneity, completeness, and mutual information adjusted for
chance, means over three seeds of k-means. "shuffled" is chance; "true lesions" clusters the lesions' true shares and is about the
best possible result. V-measure grows with fewer patches per cluster, so compare windows of one size only with their own chance;
adjusted information can be compared across sizes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_mutual_info_score, homogeneity_completeness_v_measure

from atlas.cohort.lesions import LESIONS
from atlas.drawn.paint import draw_eye
from atlas.explain.occlusion import drops
from atlas.explain.windows import inside_cells, windows_inside
from atlas.lesionnets.bundle import load_lesion_net
from atlas.patterns.clusters import cluster, normalised
from atlas.patterns.patches import lesion_patches, salient_windows, with_descriptors
from atlas.photographs.frames import cell_box, cell_coverage, crop
from atlas.photographs.preparations import SURROUND, prepare
from atlas.photographs.retina import find_retina
from atlas.records import BoolArray, ByteArray, FloatArray, Frame, IntArray, Patches
from atlas.scorers.bundle import load_transferred
from atlas.scorers.trunks import TRUNKS, Trunk, load_trunk

QUANTILE = 0.85  # of all drops: a few patches of each eye, as in a build with a scorer of real eyes
NONE = 0.25

Eye = tuple[ByteArray, Mapping[str, BoolArray]]


def eyes(count: int, folder: Path) -> dict[str, Eye]:
    """Draw eyes of grades 1 to 4 in turn, each of another person, and keep them in `folder`, or read them from there."""
    found = {}
    for number in range(count):
        file = folder / f"{number}.npz"
        if not file.is_file():
            drawn = draw_eye(1000 + number, 1 + number % 4, eye=("left", "right")[number % 2])
            np.savez_compressed(file, pixels=drawn.pixels, **drawn.masks)
        with np.load(file) as arrays:
            held = dict(arrays)
        found[f"{number:016x}"] = (held.pop("pixels"), held)
    return found


def patch_kinds(shares: FloatArray) -> IntArray:
    """Return each patch's kind of lesion, 1-based, from the lesions' shares of it (m, kinds); 0 if there is hardly any lesion."""
    typical = np.array([np.median(column[column > 0]) if column.any() else np.inf for column in shares.T])
    relative = shares / typical
    return np.where(relative.max(axis=1) >= NONE, relative.argmax(axis=1) + 1, 0)


def lesion_shares(patches: Patches, cohort: Mapping[str, Eye]) -> FloatArray:
    """Return the share of each patch that each kind of lesion covers, (m, kinds)."""
    return np.array(
        [
            [crop(masks[kind].astype(np.float32), tuple(box)).mean() if kind in masks else 0.0 for kind in LESIONS]
            for masks, box in ((cohort[i][1], box) for i, box in zip(patches.image_ids, patches.boxes.tolist(), strict=True))
        ],
        np.float32,
    )


def detailed(photograph: ByteArray, preparation: str) -> tuple[ByteArray, ByteArray, Frame]:
    """Prepare a photograph at its full resolution. Return it prepared, in its own colours, and its frame."""
    frame, mask = find_retina(photograph)
    prepared = prepare("", photograph, size=frame.side, preparation=preparation, found=(frame, mask))
    return prepared.pixels, prepared.photograph, frame


def descriptors(
    patches: Patches, cohort: Mapping[str, Eye], trunk: Trunk, preparation: str, margin: float
) -> dict[str, FloatArray]:
    """Describe every patch with `margin` of its width around it, in several ways."""
    found: dict[str, list[FloatArray]] = {}
    plates = {i: detailed(cohort[i][0], preparation) for i in dict.fromkeys(patches.image_ids)}
    for image_id, box in zip(patches.image_ids, patches.boxes, strict=True):
        pixels, plate, frame = plates[image_id]
        top, left, bottom, _ = (box - [frame.top, frame.left, frame.top, frame.left]).tolist()
        side = bottom - top
        around = round(margin * side)
        padded = np.pad(pixels, ((around, around), (around, around), (0, 0)), constant_values=SURROUND)
        wide = Frame(top, left, side + 2 * around)
        last = trunk.maps(crop(padded, wide, side=trunk.size)[None])[0]
        away = np.hypot(*(np.indices(last.shape[1:]) - (last.shape[1] - 1) / 2)) / last.shape[1]
        weight = np.exp(-8 * away**2)
        colours = crop(plate, Frame(top, left, side)).reshape(-1, 3)
        ways = {
            "mean of last maps": last.mean(axis=(1, 2)),
            "maximum of last maps": last.max(axis=(1, 2)),
            "weighted to the centre": (last * weight).sum(axis=(1, 2)) / weight.sum(),
            "colour quantiles alone": np.quantile(colours, [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99], axis=0).ravel(),
        }
        first = 0
        for member in TRUNKS[trunk.name].members:
            channels = TRUNKS[member].channels
            ways[f"mean, {member}"] = last[first : first + channels].mean(axis=(1, 2))
            first += channels
        for name, values in ways.items():
            found.setdefault(name, []).append(values)
    made = {name: np.array(values, np.float32) for name, values in found.items()}
    mean = made["mean of last maps"]
    made["mean and maximum"] = np.hstack([unit(mean), unit(made["maximum of last maps"])])
    return made


def unit(values: FloatArray) -> FloatArray:
    """Scale each row to length 1."""
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)


def standardised(values: FloatArray) -> FloatArray:
    spread = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(spread > 1e-6 * np.abs(values).max(axis=0), spread, np.inf)


def whitened(values: FloatArray) -> FloatArray:
    components = min(32, *values.shape)
    return PCA(components, whiten=True, svd_solver="full").fit_transform(values.astype(np.float64))


NORMALISATIONS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "none": lambda values: values,
    "length 1": unit,
    "cosine to the mean": lambda values: unit(unit(values) - unit(values).mean(axis=0)),
    "standardised": lambda values: standardised(unit(values)),
    "PCA-whitened": lambda values: whitened(unit(values)),
}


def figures(patches: Patches, kinds: IntArray, clusters: int) -> list[float]:
    """Return V-measure, homogeneity, completeness and adjusted mutual information, means over three seeds."""
    found = []
    for seed in range(3):
        labels = cluster(patches, k=clusters, seed=seed).labels
        homogeneity, completeness, v_measure = homogeneity_completeness_v_measure(kinds, labels)
        found.append([v_measure, homogeneity, completeness, adjusted_mutual_info_score(kinds, labels)])
    return np.mean(found, axis=0).tolist()


def measure(
    count: int,
    clusters: int,
    folder: Path,
    trunk_name: str | None,
    weights: Path | None,
    scorer_name: str,
    windows: Sequence[int],
    side: int | None,
) -> None:
    """Print the table."""
    scorer = load_transferred(scorer_name)
    trunk = load_trunk(trunk_name, weights) if trunk_name and weights else scorer.trunk
    trunk = load_trunk(trunk.name, trunk.state_dict(), size=side or trunk.patch_size)
    cohort = eyes(count, folder)
    ids = tuple(cohort)
    prepared = [prepare(i, cohort[i][0], size=scorer.size, preparation=scorer.preparation) for i in ids]
    predictions = [scorer.predict([one])[0] for one in prepared]
    (target,) = predictions[0].severity
    inside = inside_cells(np.stack([cell_coverage(p.retina, scorer.grid) for p in prepared]))
    frames = {p.image_id: p.frame for p in prepared}
    print(f"{len(ids)} drawn eyes; places by {scorer_name}, features by {trunk.name} at {trunk.size} px; k = {clusters}")
    print(f"{'window':<8}{'described by':<26}{'margin':<8}{'normalised':<20}{'V':>7}{'homog.':>8}{'compl.':>8}{'adj. MI':>9}")
    for window in windows:
        fallen = np.stack([drops(one, target, window=window) for one in predictions])
        whole = windows_inside(inside, window)
        threshold = float(np.quantile(fallen[whole], QUANTILE))
        patches = salient_windows(ids, fallen, whole, frames, scorer.grid, cell_box, window=window, threshold=threshold)
        shares = lesion_shares(patches, cohort)
        kinds = patch_kinds(shares)

        def row(what: str, margin: str, how: str, values: FloatArray, own: bool, kinds: IntArray = kinds) -> None:
            described = with_descriptors(patches, values)  # noqa: B023 (called within its turn of the loop)
            found = figures(normalised(described) if own else described, kinds, clusters)
            print(f"{window:<8}{what:<26}{margin:<8}{how:<20}" + "{:7.3f}{:8.3f}{:8.3f}{:9.3f}".format(*found), flush=True)  # noqa: B023

        for margin in (0.0, 0.25, 0.5) if window == 2 else (0.0, 0.25):
            ways = descriptors(patches, cohort, trunk, scorer.preparation, margin)
            mean = unit(ways["mean of last maps"])
            if not margin:
                row("shuffled", "", "", mean, True, np.random.default_rng(0).permutation(kinds))
                row("true lesions", "", "", shares / np.maximum(shares.mean(axis=0), 1e-9), False)
            names = ways if window == 2 and margin == 0.25 else ["mean of last maps"]
            for name in names:
                row(name, f"{margin:g}", "root, standardised", unit(ways[name]), True)
            for how, normalise in NORMALISATIONS.items():
                values = ways["mean of last maps"]
                if (window, margin) == (2, 0.25) or how == "length 1":
                    row("mean of last maps", f"{margin:g}", how, normalise(values).astype(np.float32), False)
            if "colour quantiles alone" in names:
                both = np.hstack(
                    [
                        normalised(with_descriptors(patches, block)).descriptors / block.shape[1] ** 0.5
                        for block in (mean, ways["colour quantiles alone"])
                    ]
                )
                row("mean and colour", f"{margin:g}", "root, standardised", both, False)


def measure_lesions(count: int, clusters: int, folder: Path, name: str) -> None:
    """Print the same figures for patches that a lesion net finds."""
    net = load_lesion_net(name)
    cohort = eyes(count, folder)
    found, frames = {}, {}
    for image_id, (pixels, _) in cohort.items():
        frames[image_id], mask = find_retina(pixels)
        found[image_id] = net.find(pixels, frames[image_id], mask)
    patches = lesion_patches(
        {i: own.lesions for i, own in found.items()},
        {i: np.zeros(len(own.lesions), np.float32) for i, own in found.items()},
        {i: own.descriptors for i, own in found.items()},
        frames,
        (13, 13),
        threshold=0.0,
    )
    shares = lesion_shares(patches, cohort)
    kinds = patch_kinds(shares)
    print(f"{count} drawn eyes; {len(patches.patch_ids)} lesions found and described by {name}; k = {clusters}")
    print(f"{'described by':<26}{'V':>7}{'homog.':>8}{'compl.':>8}{'adj. MI':>9}")
    true = with_descriptors(patches, shares / np.maximum(shares.mean(axis=0), 1e-9))
    rows = (
        ("shuffled", normalised(patches), np.random.default_rng(0).permutation(kinds)),
        ("true lesions", true, kinds),
        ("the lesion net", normalised(patches), kinds),
    )
    for what, described, own in rows:
        print(f"{what:<26}" + "{:7.3f}{:8.3f}{:8.3f}{:9.3f}".format(*figures(described, own, clusters)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eyes", type=int, default=160)
    parser.add_argument("--clusters", type=int, default=20)
    parser.add_argument("--scorer", default="synthetic-alexnet", help="chooses the patches and, without --trunk, describes them")
    parser.add_argument("--windows", type=int, nargs="+", default=(1, 2, 3), help="cells a side of a patch")
    parser.add_argument("--lesion-net", help="chooses the patches and describes them instead of a scorer")
    parser.add_argument("--trunk", help="describes the patches instead of the scorer's trunk")
    parser.add_argument("--weights", type=Path, help="file of the weights of --trunk")
    parser.add_argument("--side", type=int, help="side in pixels in which patches are described (default: that of a build)")
    parser.add_argument("--keep", type=Path, help="keep the drawn eyes in this folder, and use those that are already there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if arguments.lesion_net:
            measure_lesions(arguments.eyes, arguments.clusters, folder, arguments.lesion_net)
            return
        measure(
            arguments.eyes,
            arguments.clusters,
            folder,
            arguments.trunk,
            arguments.weights,
            arguments.scorer,
            arguments.windows,
            arguments.side,
        )


if __name__ == "__main__":
    main()
