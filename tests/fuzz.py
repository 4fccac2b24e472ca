"""Gives damaged files to every reader of atlas: `make fuzz`, or

    .venv/bin/python tests/fuzz.py [--minutes 2] [--seed 0] [--reader NAME ...] [--replay FOLDER]

Each reader runs in a process of its own, with limits of memory and of time for each file. A reader may only return, or refuse by
an AtlasError that names the file and says what to do. Any other exception, a crash, a hang and too much memory are findings: the
file is kept in output/fuzz, and the last line of what is printed says how to run it again. The same seed makes the same files.

It needs Linux or macOS. It is no test of pytest: that would take too long. Its findings became cases of tests/test_findings.py.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import mutations
import numpy as np
from PIL import Image

from atlas.errors import AtlasError
from atlas.resources import models_folder

ROOT = Path(__file__).resolve().parents[1]

SECONDS = 60  # for one file, on a machine that may be busy; the slowest that are in order take one

MEMORY = 2_000_000_000  # bytes beyond what the libraries take; the largest photograph that is read needs 1.3e9

Files = dict[str, bytes | Path]
"""Files of a case by name: their content, or a file that is linked."""


@dataclass(frozen=True)
class Reader:
    """A reader of files.

    Parameters
    ----------
    seeds : callable
        Makes valid cases.
    damage : callable
        Damages a case.
    read : callable
        Reads the case in a folder. It raises AtlasError where that is refused, and may return.
    named : bool
        Whether a refusal must name a file of the case.
    share : int
        How much of the time it gets.
    """

    seeds: Callable[[], list[Files]]
    damage: Callable[[Files, random.Random], Files]
    read: Callable[[Path], object]
    named: bool = True
    share: int = 1


# Photographs -------------------------------------------------------------------------------------------------------------------


def pictures() -> list[Files]:
    """Draw an eye in every format and mode that is read."""
    from atlas.drawn.paint import draw_eye

    pixels = draw_eye(1, 3, size=96).pixels
    eye, grey = Image.fromarray(pixels), Image.fromarray(pixels[..., 1])
    deep = Image.fromarray(pixels[..., 1].astype(np.uint16) * 16)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A camera"
    clear = eye.convert("RGBA")
    clear.putalpha(128)
    kinds: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("jpg", eye, {"exif": exif}),
        ("jpg", eye, {"progressive": True, "quality": 95}),
        ("jpg", eye, {"restart_marker_rows": 1}),
        ("jpg", grey, {}),
        ("jpg", eye.convert("CMYK"), {}),
        ("png", eye, {"exif": exif}),
        ("png", clear, {}),
        ("png", eye.quantize(16), {"transparency": 3}),
        ("png", deep, {}),
        ("png", grey.convert("1"), {}),
        *(("tif", eye, {"compression": one}) for one in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")),
        ("tif", deep, {}),
        ("tif", eye.convert("CMYK"), {}),
        ("tif", grey.convert("F"), {}),
        ("bmp", eye, {}),
        ("bmp", eye.quantize(16), {}),
        ("webp", eye, {"exif": exif}),
        ("webp", clear, {"lossless": True}),
        ("gif", eye, {"save_all": True, "append_images": [eye.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]}),
        ("ppm", eye, {}),
        ("pgm", deep, {}),
        ("jp2", eye, {}),
        ("avif", eye, {}),
    ]
    made: list[Files] = []
    for ending, image, settings in kinds:
        told = io.BytesIO()
        image.save(told, {"jpg": "JPEG", "tif": "TIFF", "pgm": "PPM", "jp2": "JPEG2000"}.get(ending, ending.upper()), **settings)
        made.append({f"eye.{ending}": told.getvalue()})
    return made + [{"eye.dcm": content} for content in _dicom(pixels)]


def _dicom(pixels: np.ndarray) -> list[bytes]:
    """Write an eye as DICOM in each transfer syntax."""
    from dicom_files import LOSSLESS, LOSSY, write_dicom

    syntaxes = [one for one in (*LOSSLESS, *LOSSY) if one != "jpeg-extended"]  # which is for 12 bits
    with tempfile.TemporaryDirectory() as folder:
        files = [write_dicom(Path(folder) / f"{syntax}.dcm", pixels, syntax=syntax) for syntax in syntaxes]
        return [file.read_bytes() for file in files]


def damage_picture(files: Files, rng: random.Random) -> Files:
    ((name, content),) = files.items()
    assert isinstance(content, bytes)
    if name.endswith(".png") and rng.random() < 0.8:
        return {name: mutations.damaged_png(content, rng)}
    return {name: mutations.damaged(content, rng)}


def read_picture(folder: Path) -> None:
    from atlas.cohort.masks import read_lesions
    from atlas.photographs.decode import MOST_PIXELS, decode_photograph, read_size
    from atlas.photographs.retina import find_retina

    (file,) = folder.iterdir()
    refused: AtlasError | None = None
    for read in (read_size, lambda one: read_lesions([one], (96, 120)), lambda one: decode_photograph(one, least=40)):
        try:
            read(file)
        except AtlasError as error:
            refused = require_plain(error, folder)
    if refused is not None:
        raise refused
    decoded = decode_photograph(file)
    pixels = decoded.pixels
    assert decoded.shape == pixels.shape[:2]
    assert pixels.dtype == np.uint8
    assert pixels.shape[2:] == (3,)
    assert pixels.size <= 3 * MOST_PIXELS
    frame, retina = find_retina(pixels)
    assert retina.shape == pixels.shape[:2]
    assert 0 < frame.side <= 2 * max(pixels.shape)


# Tables ------------------------------------------------------------------------------------------------------------------------

NAMES = ("10_left", "10_right", "P012_OD")


@cache
def photographed() -> Path:
    """Return a folder of files with the names of the tables: they are hashed, not decoded."""
    folder = Path(tempfile.mkdtemp(prefix="atlas-fuzz-images-"))
    for number, name in enumerate(NAMES):
        (folder / f"{name}.png").write_bytes(b"%d" % number)
    return folder


def tables() -> list[Files]:
    """Write tables of grades and of boxes in many layouts and kinds of file."""
    import openpyxl

    rows = [*zip(NAMES, ("0", "PDR", "R2"), strict=True)]
    plain = "image,level\n" + "".join(f"{name}.png,{grade}\n" for name, grade in rows)
    readers = "image;grade;reader;patient_id;eye;split\n" + "".join(
        f'"{name}";{grade};{one};"a ""b""";OD;train\n' for name, grade in rows for one in ("A", "B")
    )
    odir = (
        "ID,Left-Fundus,Right-Fundus,Left-Diagnostic Keywords,Right-Diagnostic Keywords\n1,10_left.png,10_right.png,normal,mild\n"
    )
    deep = (
        "Title of a table\n\nimage_id\tpatient_id\tleft_eye_DR_Level\tright_eye_DR_Level\n10_left\t10\t1\t\n10_right\t10\t\t2\n"
    )
    boxes = "image,lesion,x,y,width,height\n10_left,microaneurysm,1,2,3,4\n10_right,MA,1.5,2,3,4\n"
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in ((), ("Title",), ("image", "level", "note"), *((name, 3.0, "x") for name in NAMES)):
        sheet.append(row)
    book.create_sheet("Notes").append(("a note", True, 1e300))
    packed = io.BytesIO()
    book.save(packed)
    texts = {"t.csv": plain, "t.tsv": deep, "r.csv": readers, "o.csv": odir, "b.csv": boxes}
    lists = {"t.txt": "".join(f"{name}.png {grade}\n" for name, grade in rows), "h.txt": plain.replace(",", "\t")}
    encoded: list[Files] = [{"u.csv": plain.encode("utf-16")}, {"l.csv": plain.replace("PDR", "é").encode("latin-1")}]
    return [*({name: text.encode()} for name, text in (texts | lists).items()), *encoded, {"t.xlsx": packed.getvalue()}]


def damage_table(files: Files, rng: random.Random) -> Files:
    ((name, content),) = files.items()
    assert isinstance(content, bytes)
    if name.endswith(".xlsx"):
        return {name: mutations.damaged_workbook(content, rng)}
    encoding = {"u": "utf-16", "l": "latin-1"}.get(name[0], "utf-8")
    return {name: mutations.damaged_text(content, rng, encoding)}


def read_table(folder: Path) -> None:
    from atlas.cohort.boxes import read_boxes
    from atlas.cohort.dataset import read_dataset
    from atlas.records import DIABETIC_RETINOPATHY

    (file,) = folder.iterdir()
    whole, _ = read_dataset(photographed(), scale=DIABETIC_RETINOPATHY)
    refused: AtlasError | None = None
    try:
        read_boxes(file, whole)
    except AtlasError as error:
        refused = require_plain(error, folder)
    if file.name == "b.csv" and refused is None:
        return
    read_dataset(photographed(), file, scale=DIABETIC_RETINOPATHY)


# Settings, an instructor's words, and what atlas itself wrote ------------------------------------------------------------------

SETTINGS = """title = "An atlas"
clusters = 7
drop_threshold = 0.2
languages = ["en", "de"]
images = "photographs"

[scale]
lowest = 0
names = ["none", "some", "much"]
referable = 1
disease = "cataract"
"""

WORDS = """[images.0123456789abcdef]
title = "A title"
note = '''A note
of two lines'''

[clusters.7]
title = "Drusen"
patches = ["0123456789abcdef-0203w2"]

[pins]
images = ["0123456789abcdef"]
clusters = [7]

[exclude]
patches = ["0123456789abcdef-0203w2"]

[[lessons]]
title = "First steps"
slug = "first-steps"

[[lessons.stops]]
cluster = 7
text = "Look here."
"""


def words() -> list[Files]:
    """Write a file of settings and one of an instructor's words."""
    return [{"atlas.toml": SETTINGS.encode()}, {"curation.toml": WORDS.encode()}]


def damage_words(files: Files, rng: random.Random) -> Files:
    return {name: mutations.damaged_text(content, rng) for name, content in files.items() if isinstance(content, bytes)}


def read_words(folder: Path) -> None:
    from atlas.config import load_configuration
    from atlas.curation.file import read_curation

    (file,) = folder.iterdir()
    if file.name == "atlas.toml":
        load_configuration(file)
        return
    for names in (None, {"eye": "0" * 16}):
        read_curation(file, names=names)


def own_notes() -> list[Files]:
    """Write what an atlas says about itself, and the numbers of its clusters."""
    cluster = '{"number": 1, "patches": ["0123456789abcdef-0203w2"], "centroid": [0.5, 1.5], "whole": true, "live": true}'
    run = b'{"made_by": "lesion-atlas", "title": "x", "versions": {}}'
    return [{"clusters.json": f'{{"clusters": [{cluster}], "space": "x"}}'.encode()}, {"run.json": run, "index.html": b"x"}]


def damage_notes(files: Files, rng: random.Random) -> Files:
    return {
        name: mutations.damaged_json(content, rng) if name.endswith(".json") and isinstance(content, bytes) else content
        for name, content in files.items()
    }


def read_notes(folder: Path) -> None:
    from atlas.patterns.numbering import read_identities
    from atlas.resources import is_atlas

    is_atlas(folder)
    read_identities(folder / "clusters.json")


# Bundles -----------------------------------------------------------------------------------------------------------------------


def bundles() -> list[Files]:
    """Take the shipped bundles, one of each kind."""
    names = ("synthetic-alexnet", "evidence-squeezenet", "eyepacs-squeezenet", "lesions-squeezenet", "clinics-and-evidence")
    return [{file.name: file for file in sorted((models_folder() / name).iterdir())} for name in names]


def damage_bundle(files: Files, rng: random.Random) -> Files:
    """Damage one file of a bundle, mostly with its hash put right: a bundle may come from anyone."""
    import hashlib
    import json

    from atlas.bundles import sealed

    own = "lesionnet.json" if "lesionnet.json" in files else "scorer.json"
    name = own if rng.random() < 0.5 else rng.choice(sorted(files))
    file = files[name]
    content = file.read_bytes() if isinstance(file, Path) else file
    if name.endswith(".json"):
        content = mutations.damaged_json(content, rng)
    elif name.endswith(".safetensors"):
        content = mutations.damaged_tensors(content, rng)
    else:
        content = mutations.damaged(content, rng)
    changed = {**files, name: content}
    told = changed[own]
    try:
        manifest = json.loads(told.read_bytes() if isinstance(told, Path) else told)
        if name != own and rng.random() < 0.9:
            manifest["files"][name] = hashlib.sha256(content).hexdigest()
        if rng.random() < 0.9:
            manifest.pop("sha256", None)
            changed[own] = json.dumps(sealed(manifest)).encode()
    except (ValueError, AttributeError, TypeError, RecursionError):
        pass  # it is no longer a manifest
    return changed


def read_bundle(folder: Path) -> None:
    from atlas.lesionnets.bundle import load_lesion_net
    from atlas.scorers.bundle import load_scorer

    if (folder / "lesionnet.json").exists():
        net = load_lesion_net(folder)
        assert isinstance(net.card, str)
        return
    scorer = load_scorer(folder)
    assert len(scorer.sha256) == 64
    assert scorer.scale.span > 0


def weights() -> list[Files]:
    """Write weights of networks in each kind of file."""
    import safetensors.torch
    import torch

    table = {"features.0.weight": torch.ones(4, 3, 3, 3), "features.0.bias": torch.ones(4, dtype=torch.float16)}
    new, old = io.BytesIO(), io.BytesIO()
    torch.save({"state_dict": table}, new)
    torch.save(table, old, _use_new_zipfile_serialization=False)
    return [{"w.safetensors": safetensors.torch.save(table)}, {"w.pth": new.getvalue()}, {"w.pt": old.getvalue()}]


def damage_weights(files: Files, rng: random.Random) -> Files:
    ((name, content),) = files.items()
    assert isinstance(content, bytes)
    return {name: (mutations.damaged_tensors if name.endswith("safetensors") else mutations.damaged)(content, rng)}


def read_network(folder: Path) -> None:
    from atlas.scorers.weights import read_weights, state_dict_in

    (file,) = folder.iterdir()
    state_dict_in(read_weights(file), str(file))


READERS: Mapping[str, Reader] = {
    "picture": Reader(pictures, damage_picture, read_picture, share=2),
    "table": Reader(tables, damage_table, read_table),
    "words": Reader(words, damage_words, read_words),
    "notes": Reader(own_notes, damage_notes, read_notes),
    "bundle": Reader(bundles, damage_bundle, read_bundle, named=False, share=3),  # a member of it may be named instead
    "weights": Reader(weights, damage_weights, read_network),
}


def require_plain(error: AtlasError, folder: Path) -> AtlasError:
    """Check that a refusal names the file, says what to do, can be printed, and hides no lack of memory."""
    assert not READERS[folder.parent.name].named or any(file.name in error.message for file in folder.iterdir()), str(error)[:500]
    assert error.remedy, f"no remedy: {str(error)[:500]}"
    assert len(str(error)) < 5_000, f"a message of {len(str(error))} characters: {str(error)[:200]}"
    cause: BaseException | None = error
    while cause is not None:
        # A pickle that announces gigabytes makes torch ask for as much room as it announces, but not use it.
        reserved = folder.parent.name == "weights" and isinstance(cause, MemoryError)
        if not reserved and (isinstance(cause, MemoryError) or "allocate" in str(cause)):
            raise MemoryError(str(cause)[:500]) from error
        cause = cause.__cause__ or cause.__context__
    return error


# Running -----------------------------------------------------------------------------------------------------------------------


def make(name: str, seed: int, number: int) -> Files:
    """Make the case of this number; case 0 and those up to the number of seeds are valid."""
    reader, rng = READERS[name], random.Random(f"{seed}/{name}/{number}")
    seeds = _seeds(name)
    return seeds[number] if number < len(seeds) else reader.damage(rng.choice(seeds), rng)


@cache
def _seeds(name: str) -> list[Files]:
    return READERS[name].seeds()


def lay_out(files: Files, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in files.items():
        if isinstance(content, Path):
            (folder / name).symlink_to(content)
        else:
            (folder / name).write_bytes(content)


def fault_of(name: str, folder: Path) -> str:
    """Read a case; return the traceback of what is no refusal in order, else nothing."""
    try:
        try:
            READERS[name].read(folder)
        except AtlasError as error:
            require_plain(error, folder)
    except Exception:
        return traceback.format_exc()
    return ""


def limit_memory() -> None:
    """Limit the memory of this process to what it has and MEMORY."""
    import resource

    if sys.platform == "linux":
        had = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (had + MEMORY, had + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def work(name: str, seed: int, first: int, folder: Path, told: Any) -> None:
    """Read cases one after the other in a process of its own, telling each before and after."""
    sys.stderr = (folder / "stderr").open("w")
    os.dup2(sys.stderr.fileno(), 2)  # decoders complain there
    faulthandler.enable()
    import torch

    torch.set_num_threads(1)
    for files in _seeds(name):  # everything is loaded before memory is limited
        lay_out(files, folder / name / "case")
        assert not (fault := fault_of(name, folder / name / "case")), fault
    limit_memory()
    for number in range(first, first + 3000):
        lay_out(make(name, seed, number), folder / name / "case")
        told.send((number, None, 0.0))
        began = time.process_time()
        fault = fault_of(name, folder / name / "case")
        told.send((number, fault, time.process_time() - began))


@dataclass
class Tally:
    """What one reader was given; the slowest case with its seconds of processor time."""

    cases: int = 0
    findings: int = 0
    slowest: tuple[float, int] = (0.0, 0)


def run(name: str, seed: int, until: float, keep: Path) -> Tally:
    """Give a reader cases until a time; keep what it does not take as it should."""
    tally, first, met = Tally(), 0, set[str]()
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="atlas-fuzz-") as scratch:
        while time.monotonic() < until:
            here, there = spawn.Pipe(duplex=False)
            child = spawn.Process(target=work, args=(name, seed, first, Path(scratch), there), daemon=True)
            child.start()
            there.close()
            number, began, fault = first - 1, False, ""
            try:
                while time.monotonic() < until or began:
                    if not here.poll(SECONDS if began else 120):
                        fault = f"a hang: no answer in {SECONDS} s"
                        break
                    number, answer, seconds = here.recv()
                    began = answer is None
                    if answer is None:
                        continue
                    tally.cases, tally.slowest = tally.cases + 1, max(tally.slowest, (seconds, number))
                    if answer:
                        note(name, seed, number, answer, Path(scratch), keep, tally, met)
            except EOFError:
                child.join()
                lines = (Path(scratch) / "stderr").read_text(errors="replace")[-1500:]
                fault = f"the process ended ({child.exitcode})\n{lines}" if began or child.exitcode else ""
            if fault:
                assert number >= first or began, f"{name} cannot be started: {fault}"
                note(name, seed, number, fault, Path(scratch), keep, tally, met)
            child.kill()
            child.join()
            first = number + 1
    return tally


def note(name: str, seed: int, number: int, fault: str, scratch: Path, keep: Path, tally: Tally, met: set[str]) -> None:
    """Keep a finding, of those with one cause the first, and say how to run it again."""
    tally.findings += 1
    where = [line.strip() for line in fault.splitlines() if line.strip().startswith("File ")]
    cause = f"{where[-1] if where else ''} {fault.strip().splitlines()[-1].partition(':')[0]}"
    if cause in met:
        return
    met.add(cause)
    folder = keep / f"{name}-{seed}-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    lay_out(make(name, seed, number), folder)
    lines = [line[:200] for line in fault.rstrip().splitlines()]
    say("\n".join(lines[:12] + ["  ..."] * (len(lines) > 32) + lines[max(12, len(lines) - 20) :]))
    say(f"{name}: finding {len(met)}; run it again: python tests/fuzz.py --replay {folder.relative_to(ROOT)}\n")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2, help="how long in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", action="append", choices=READERS, help="only this one; may be given several times")
    parser.add_argument("--replay", type=Path, metavar="FOLDER", help="read one case that was kept")
    asked = parser.parse_args()
    if asked.replay is not None:
        name = asked.replay.name.split("-")[0]
        with tempfile.TemporaryDirectory(prefix="atlas-fuzz-") as scratch:
            folder = Path(scratch) / name / "case"
            shutil.copytree(asked.replay, folder, symlinks=True)
            limit_memory()
            fault = fault_of(name, folder)
        say(fault or "read, or refused as it should be")
        sys.exit(bool(fault))
    names = asked.reader or list(READERS)
    keep = ROOT / "output" / "fuzz"
    tallies = {}
    for name in names:
        share = READERS[name].share / sum(READERS[one].share for one in names)
        tallies[name] = run(name, asked.seed, time.monotonic() + 60 * asked.minutes * share, keep)
        own = tallies[name]
        seconds, number = own.slowest
        say(f"{name}: {own.cases:,} files, {own.findings:,} findings; number {number} took longest, {seconds:.1f} s")
    if any(own.findings for own in tallies.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
