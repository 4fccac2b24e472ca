"""Compares what a build does with each photograph with a loop that only decodes it, on full-size photographs, in one run.

    .venv/bin/python benchmarks/decoding.py [PHOTOGRAPHS] [--rounds 5] [--scorers NAME ...]

The build's part is all that it does with a photograph before patches are cut: decoding, finding the retina, quality, pictures,
network, lesions, scores and maps, on one thread, with an empty store, without finer plates and without the mirror image that
tells how sure a scorer is. `decode` decodes each file at its full size; `forward` is the bare forward pass of the scorer, and of
the lesion net where one looks. `share` is the speed of the build's part as a share of the loop's: decode alone for the fastest
scorer, decode and forward for all others; the limit is 0.8. Times are seconds of the processor, medians over the rounds. Without
PHOTOGRAPHS, four eyes are drawn at 4,000 by 3,200 pixels.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from atlas.cohort.files import image_id
from atlas.cohort.names import ENDINGS
from atlas.drawn.paint import draw_eye
from atlas.lesionnets.bundle import load_lesion_net
from atlas.lesionnets.fundus import FundusLesionNet
from atlas.photographs.decode import decode_photograph
from atlas.pictures.jpeg import encode_jpeg
from atlas.pipeline.engine import single_threaded
from atlas.pipeline.photograph import (
    Explaining,
    Preparing,
    Reading,
    open_photograph,
    prepare_photograph,
    prepared_for,
    score_photograph,
)
from atlas.pipeline.sources import Scorers, TrainedSource
from atlas.pipeline.store import Store
from atlas.records import GradedImage
from atlas.resources import DEFAULT_LESION_NET
from atlas.scorers.bundle import load_scorer, shipped_scorers
from atlas.scorers.protocol import Scorer

LIMIT = 0.8
FASTEST = "synthetic-alexnet"
"""The scorer whose network takes hardly longer than decoding, so that it has to keep up with decoding alone."""


def seconds(work: Callable[[], object]) -> float:
    """Return the processor's time for some work."""
    start = time.process_time()
    work()
    return time.process_time() - start


def built(images: Sequence[GradedImage], scorer: Scorer, net: FundusLesionNet | None) -> float:
    """Do a build's part with each photograph, and return its seconds."""
    source = TrainedSource(scorer)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        scorers = Scorers((scorer,), {image.image_id: 0 for image in images}, fitted=False)
        explaining = Explaining(source, scorers, store, scorer.targets[0], "occlusion", 1, min(2, *source.grid))

        def work() -> None:
            for image in images:
                view = prepare_photograph(image, Preparing(source, store, net=net))
                marks = view.found.marks if view.found else ()
                score_photograph(Reading(image.image_id, 0, view.coverage, view.frame, marks), explaining)

        return seconds(work)


def forwarded(images: Sequence[GradedImage], scorer: Scorer, net: FundusLesionNet | None) -> float:
    """Run the bare networks on each photograph, and return their seconds."""
    shown = [prepared_for(scorer, image) for image in images]
    opened = [] if net is None else [open_photograph(image.path) for image in images]

    def work() -> None:
        for one in shown:
            scorer.predict([one])
        for decoded, (frame, mask) in opened:
            assert net is not None
            net.find(decoded.pixels, frame, mask, factor=decoded.factor)

    return seconds(work)


def photographs(folder: Path | None, scratch: Path) -> list[Path]:
    """Return the photographs of a folder; without one, draw some."""
    files = drawn(scratch) if folder is None else sorted(folder.iterdir())
    return [file for file in files if file.suffix.lower() in ENDINGS]


def drawn(folder: Path) -> list[Path]:
    """Draw four full-size eyes."""
    files = [folder / f"{seed}.jpg" for seed in range(4)]
    for seed, file in enumerate(files):
        file.write_bytes(encode_jpeg(draw_eye(seed, seed, size=3200).pixels, 92))
    return files


@dataclass(frozen=True)
class Kept:
    """How a build keeps up with a loop: seconds of decoding, forward passes and build, and its share, a value for each round."""

    scorer: str
    net: bool
    decode: tuple[float, ...]
    forward: tuple[float, ...]
    build: tuple[float, ...]
    share: tuple[float, ...]


def measure(files: Sequence[Path], names: Sequence[str], rounds: int) -> Iterator[Kept]:
    """Measure each scorer, without and with the lesion net."""
    images = [GradedImage(image_id(file), file, None) for file in files]
    lesions = load_lesion_net(DEFAULT_LESION_NET)
    for name in names:
        scorer = load_scorer(name)
        for net in (None, lesions) if name != FASTEST else (None,):
            found: list[tuple[float, float, float]] = []
            for _ in range(rounds + 1):
                decode = seconds(lambda: [decode_photograph(file) for file in files])
                found.append((decode, forwarded(images, scorer, net), built(images, scorer, net)))
            del found[0]  # the first round warms up
            share = tuple((decode + (forward if name != FASTEST else 0.0)) / build for decode, forward, build in found)
            yield Kept(name, net is not None, *zip(*found, strict=True), share)


def main() -> None:
    """Measure the photographs that are given, or drawn ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, nargs="?", help="folder of full-size photographs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scorers", nargs="+", default=[name for name, _ in shipped_scorers()])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, single_threaded():
        files = photographs(arguments.photographs, Path(folder))
        print(f"{len(files)} photographs, milliseconds for each")
        print(f"{'scorer':<24}{'lesion net':<12}{'decode':>9}{'forward':>9}{'build':>9}{'share':>8}  (from {LIMIT} on it holds)")
        for one in measure(files, arguments.scorers, arguments.rounds):
            columns = [1e3 * statistics.median(column) / len(files) for column in (one.decode, one.forward, one.build)]
            told = "".join(f"{column:>9.1f}" for column in columns)
            print(f"{one.scorer:<24}{'yes' if one.net else 'no':<12}{told}{statistics.median(one.share):>8.2f}", flush=True)


if __name__ == "__main__":
    main()
