"""Builds an atlas of 35,000 photographs and 100,000 patches, and measures in chromium, from file://, whether its pages keep up.

    .venv/bin/python benchmarks/site.py [--photographs 35000] [--patches 100000] [--reports N] [--keep FOLDER] [--again FOLDER]

Pictures repeat (a few are drawn, the others are hard links). Scores, grades, patches, clusters, map and trust are random for
every photograph, and the cell sums have the size of a real scorer's. `--reports` writes only that many of the report pages,
evenly spaced over the order, with all data complete. `--keep` keeps the atlas in a folder that does not exist yet; `--again`
measures one that was kept.

The table shows each figure, its limit, and whether it is met. The exit status is 1 if a limit is exceeded.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
from playwright.sync_api import sync_playwright

from atlas.agreement.evaluation import evaluate
from atlas.agreement.ranking import rank
from atlas.pictures.jpeg import encode_jpeg, retina_png, thumbnail
from atlas.pictures.live import encode_cells
from atlas.records import (
    DIABETIC_RETINOPATHY,
    Alike,
    Atlas,
    Clusters,
    Curation,
    Dataset,
    Embedding,
    FoundLesions,
    Frame,
    GradedImage,
    LiveSums,
    Mark,
    Patches,
    Provenance,
    SaliencyMaps,
    Scores,
    Trust,
    Words,
)
from atlas.site import pages, render

DRAWN = 25  # different photographs at least
LINKS = 25_000  # of one file at most: a file system limits them
GRID, HIDDEN, SIDE = 23, 64, 1024  # the finest grid and the widest head of the shipped scorers
GROUPS = 60
NOTE, NOTED = "A cotton wool spot near the disc", 40  # the note is on one photograph in NOTED
SEARCHES = ("plate 12", "#3", "cotton wool", "retinal hemorrhage", "PDR")
KINDS = ("haemorrhage", "hard_exudate", "cotton_wool_spot", "new_vessels")
STOPS = 400


def pictures_of(folder: Path, ids: tuple[str, ...], patch_ids: tuple[str, ...]) -> None:
    """Draw a few photographs with their thumbnails, retinas, cells and patches, and link them to every id."""
    random = np.random.default_rng(1)
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    disc = np.hypot(rows, columns) < SIDE / 2 - 20
    inside = np.hypot(*(np.mgrid[:GRID, :GRID] - (GRID - 1) / 2)) < GRID / 2
    bias, weight = random.normal(0, 1, HIDDEN), random.normal(0, 0.2, HIDDEN).astype(np.float32)
    folders = [folder / name for name in ("photographs", "thumbnails", "retinas", "cells", "patches")]
    for each in folders:
        each.mkdir(parents=True)
    photographs, thumbnails, retinas, cells, patches = folders
    source = folder / "drawn"
    source.mkdir()
    drawn = max(DRAWN, -(-len(patch_ids) // LINKS))
    for k in range(drawn):
        texture = cv2.resize(random.normal(0, 12, (SIDE // 4, SIDE // 4)).astype(np.float32), (SIDE, SIDE))
        colour = np.array([190, 95, 45]) + random.normal(0, 12, 3)
        pixels = np.where(disc[..., None], np.clip(colour + texture[..., None], 0, 255), 0).astype(np.uint8)
        for _ in range(40):
            centre = tuple(int(v) for v in random.integers(250, SIDE - 250, 2))
            cv2.circle(pixels, centre, int(random.integers(3, 14)), (110, 20, 15), -1)
        left = int(random.integers(200, SIDE - 328))
        sums = random.normal(0, 0.1, (GRID * GRID, HIDDEN))
        live = LiveSums((GRID, GRID), (((GRID, GRID), sums),), bias + sums.sum(axis=0), weight, -0.2)
        (source / f"{k}.jpg").write_bytes(encode_jpeg(pixels))
        (source / f"{k}-thumbnail.jpg").write_bytes(encode_jpeg(thumbnail(pixels, 160)))
        (source / f"{k}-patch.jpg").write_bytes(encode_jpeg(pixels[left : left + 128, left : left + 128]))
        (source / f"{k}.json").write_bytes(encode_cells(live, inside))
    (source / "retina.png").write_bytes(retina_png(disc))
    for k, image_id in enumerate(ids):
        one = k % drawn
        os.link(source / f"{one}.jpg", photographs / f"{image_id}.jpg")
        os.link(source / f"{one}-thumbnail.jpg", thumbnails / f"{image_id}.jpg")
        os.link(source / f"{one}.json", cells / f"{image_id}.json")
        os.link(source / "retina.png", retinas / f"{image_id}.png")
    for k, patch_id in enumerate(patch_ids):
        os.link(source / f"{k % drawn}-patch.jpg", patches / f"{patch_id}.jpg")


def records_of(count: int, patches: int) -> Atlas:
    """Return random records of an atlas of that size."""
    random = np.random.default_rng(0)
    scale = DIABETIC_RETINOPATHY
    ids = tuple(sorted({f"{int(n):016x}" for n in random.integers(2**63, size=count, dtype=np.int64)}))
    grades = random.choice(5, size=len(ids), p=(0.45, 0.15, 0.2, 0.11, 0.09))
    severity = np.clip(grades + random.normal(0, 0.6, len(ids)), 0.02, 3.98).astype(np.float32)
    known = {i: int(g) for i, g in zip(ids, grades, strict=True)}
    inside = np.hypot(*(np.mgrid[:GRID, :GRID] - (GRID - 1) / 2)) < GRID / 2
    values = np.where(inside, random.normal(0.02, 0.1, (len(ids), GRID, GRID)), 0).astype(np.float32)
    scores = Scores(ids, severity, out_of_fold=True)
    # Windows are assigned to photographs in turn, each time at another cell, so that no photograph has the same window twice.
    owners = np.arange(patches) % len(ids)
    cells = np.flatnonzero(inside)
    spots = cells[(owners * 7 + np.arange(patches) // len(ids)) % len(cells)]
    rows, columns = np.divmod(spots, GRID)
    patch_ids = tuple(
        f"{ids[o]}-{r:02d}{c:02d}w1" for o, r, c in zip(owners.tolist(), rows.tolist(), columns.tolist(), strict=True)
    )
    labels = np.sort(random.choice(GROUPS, size=patches, p=np.linspace(2, 0.2, GROUPS) / np.linspace(2, 0.2, GROUPS).sum()))
    labels = labels[random.permutation(patches)]
    centres = random.normal(0, 1, (GROUPS, 24)).astype(np.float32)
    descriptors = (centres[labels] + random.normal(0, 0.4, (patches, 24))).astype(np.float32)
    centroids = np.stack([descriptors[labels == k].mean(axis=0) for k in range(GROUPS)])
    distances = np.linalg.norm(descriptors - centroids[labels], axis=1).astype(np.float32)
    corners = np.stack([rows, columns], axis=1) * SIDE // GRID
    drop = random.gamma(2, 0.15, patches).astype(np.float32)
    kinds = tuple(KINDS[k % len(KINDS)] for k in (np.arange(patches) // 3).tolist())
    boxes = np.concatenate([corners, corners + SIDE // GRID], axis=1)
    of_each: dict[str, list[int]] = {image_id: [] for image_id in ids}
    for k, owner in enumerate(owners.tolist()):
        of_each[ids[owner]].append(k)
    found = {
        image_id: FoundLesions(
            tuple(Mark(kinds[k], tuple(boxes[k].tolist()), 0.9 - 0.01 * n) for n, k in enumerate(own)), drop[own], 0.0
        )
        for image_id, own in of_each.items()
    }
    steps = np.linspace(1, 0, 11)
    deletion = (severity[:, None] * steps**2).astype(np.float32)
    return Atlas(
        dataset=Dataset(
            tuple(GradedImage(i, Path(f"{k}.jpeg"), known[i], str(k // 2), ("left", "right")[k % 2]) for k, i in enumerate(ids))
        ),
        scores=scores,
        maps=SaliencyMaps(ids, "occlusion", values, np.stack([inside] * len(ids))),
        other_maps=(SaliencyMaps(ids, "gradcam", values[::-1].copy(), np.stack([inside] * len(ids))),),
        strip=rank(scores, known, scale),
        provenance=Provenance(
            title="A large atlas",
            settings={"seed": 0, "lesion_net": "drawn"},
            versions={},
            hashes={},
            counts={"photographs": len(ids)},
            scorer="drawn",
            card="# Drawn\n",
            synthetic=True,
            lesion_net="drawn",
            lesion_card="# Drawn\n",
        ),
        patches=Patches(
            patch_ids,
            tuple(ids[o] for o in owners.tolist()),
            np.stack([rows, columns, np.ones_like(rows)], axis=1),
            boxes,
            drop,
            descriptors,
            0.1,
            0.9,
            kinds,
        ),
        found=found,
        clusters=Clusters(patch_ids, labels, centroids, distances),
        embedding=Embedding(patch_ids, (descriptors[:, :2] * 20 + centres[labels, 2:4] * 60).astype(np.float32), "t-SNE"),
        evaluation=evaluate(severity[:4000], grades[:4000].tolist(), scale),
        frames=dict.fromkeys(ids, Frame(0, 0, SIDE)),
        trust=Trust(
            ids, deletion, deletion[:, ::-1].copy(), deletion, tuple(random.choice(["clear", "partial"], len(ids)).tolist())
        ),
        alike=Alike(
            ids, random.integers(0, len(ids), (len(ids), 6)), np.sort(random.random((len(ids), 6)).astype(np.float32))[:, ::-1]
        ),
        curation=Curation({image_id: Words(note=NOTE) for image_id in ids[::NOTED]}),
    )


@contextlib.contextmanager
def sampled(atlas: Atlas, reports: int) -> Iterator[None]:
    """Write only `reports` report pages with their cells, evenly spaced along the order. Link pictures, do not copy them."""
    order = atlas.strip.image_ids
    every = max(1, -(-len(order) // reports))
    wanted = set(order[::every])
    kind, cells = pages.PAGES["image"], render._cells

    def some(book: pages.Book) -> Iterator[tuple[str, dict[str, Any]]]:
        return ((plate.page, book.report(plate)) for plate in book.plates if plate.id in wanted)

    kinds = {**pages.PAGES, "image": replace(kind, pages=some, count=None)} if every > 1 else pages.PAGES
    only = None if every == 1 else tuple(wanted)
    with (
        mock.patch.object(render, "PAGES", kinds),
        mock.patch.object(render, "_cells", lambda book, pictures: cells(book, pictures, only)),
        mock.patch.object(shutil, "copyfile", os.link),
    ):
        yield


class Clock:
    """Measures seconds by stage, as the `progress` of render_site."""

    def __init__(self) -> None:
        self.stages: dict[str, tuple[float, int]] = {}
        self._last = time.perf_counter()

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.perf_counter()
        spent, _ = self.stages.get(stage, (0.0, 0))
        self.stages[stage] = (spent + now - self._last, done)
        self._last = now


READY = """new Promise((done) => {
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => done(performance.now()), 0)));
})"""


class Reader:
    """A browser window of 1440 by 900 that opens each page in a new context."""

    def __init__(self, browser: Any, site: Path) -> None:
        self.browser, self.site = browser, site

    @contextlib.contextmanager
    def tab(self) -> Iterator[Any]:
        context = self.browser.new_context(offline=True, viewport={"width": 1440, "height": 900})
        try:
            yield context.new_page()
        finally:
            context.close()

    def opened(self, path: str, ready: str | None, rounds: int) -> tuple[float, float]:
        """Return median seconds until a page is drawn and interactive, and median seconds of processor time on the page's thread.

        The first round is a warm-up and does not count.
        """
        taken, worked = [], []
        for _ in range(rounds + 1):
            with self.tab() as page:
                tools = page.context.new_cdp_session(page)
                tools.send("Performance.enable", {"timeDomain": "threadTicks"})
                page.goto(f"{self.site.as_uri()}/{path}")
                if ready:
                    page.wait_for_selector(ready, state="attached")
                taken.append(page.evaluate(READY) / 1000)
                found = {one["name"]: one["value"] for one in tools.send("Performance.getMetrics")["metrics"]}
                worked.append(found["TaskDuration"])
        return statistics.median(taken[1:]), statistics.median(worked[1:])

    def close(self, rounds: int) -> float:
        """Return median seconds from a jump into a map of very many patches until all that lies there is loaded and drawn."""
        taken = []
        with self.tab() as page:
            page.goto(f"{self.site.as_uri()}/map.html")
            page.wait_for_selector("#map[data-ready]", state="attached")
            for number in range(rounds):
                told = page.locator("#map-loaded").inner_text()
                start = time.perf_counter()
                page.evaluate("(view) => { location.hash = `view=${view}`; }", f"{3500 + 1000 * number},{3500 + 700 * number},25")
                page.wait_for_function("(told) => document.getElementById('map-loaded').innerText !== told", arg=told)
                page.evaluate(READY)
                taken.append(time.perf_counter() - start)
        return statistics.median(taken)

    def weight(self, path: str) -> int:
        """Return the bytes of everything that a page loads except pictures: the page, its data, styles and scripts."""
        files: set[Path] = set()
        with self.tab() as page:
            page.on("request", lambda request: files.add(Path(request.url.removeprefix("file://").partition("?")[0])))
            page.goto(f"{self.site.as_uri()}/{path}")
            page.wait_for_timeout(500)
        pictures = (".jpg", ".png")
        return sum(file.stat().st_size for file in files if file.is_file() and file.suffix not in pictures)

    def keys(self) -> tuple[list[float], float, float]:
        """Return seconds from each key press in the finder to the frame that shows its result, processor seconds a key, and the
        seconds of a key pressed in the moment of opening."""
        with self.tab() as page:
            page.goto((self.site / "find.html").as_uri())
            page.wait_for_selector("#found[data-ready]", state="attached")
            page.evaluate(
                """() => { window.answered = []; addEventListener("keydown", (event) => {
                  const at = event.timeStamp;
                  requestAnimationFrame(() => setTimeout(() => answered.push(performance.now() - at), 0));
                }, true); }"""
            )
            page.locator("#search").focus()
            page.keyboard.press("p")  # in the moment of opening: told apart, for it waits for the page's pictures, too
            page.wait_for_timeout(500)
            page.keyboard.press("Backspace")
            page.wait_for_timeout(500)
            opening = page.evaluate("answered.splice(0)")[0] / 1000
            tools = page.context.new_cdp_session(page)
            tools.send("Performance.enable", {"timeDomain": "threadTicks"})
            worked = [one["value"] for one in tools.send("Performance.getMetrics")["metrics"] if one["name"] == "TaskDuration"]
            for search in SEARCHES:
                for key in [*search, *["Backspace"] * len(search)]:
                    page.keyboard.press(key)
                    page.wait_for_timeout(60)
            worked += [one["value"] for one in tools.send("Performance.getMetrics")["metrics"] if one["name"] == "TaskDuration"]
            taken = [ms / 1000 for ms in page.evaluate("answered")]
            return taken, (worked[1] - worked[0]) / len(taken), opening

    def strip(self) -> tuple[int, float]:
        """Scroll the strip from end to end. Return how many visible cells were missing or wrong, and median seconds a step."""
        with self.tab() as page:
            page.goto((self.site / "strip.html").as_uri())
            page.wait_for_selector("#strip .cell", state="attached")
            wrong, step = page.evaluate(
                """async (stops) => {
                  const host = document.getElementById("strip"), images = window.ATLAS_IMAGES;
                  const frame = () => new Promise(requestAnimationFrame);
                  let wrong = 0;
                  const taken = [];
                  for (let k = 0; k <= stops; k += 1) {
                    const far = k % 3 === 0; // two small steps, then a leap
                    const whole = host.scrollHeight - host.clientHeight;
                    const start = performance.now();
                    host.scrollTop = far ? (whole * k) / stops : host.scrollTop + 380;
                    await frame(); await frame();
                    taken.push(performance.now() - start);
                    const area = host.getBoundingClientRect();
                    const seen = [...host.querySelectorAll(".cell")].filter((cell) => {
                      const box = cell.getBoundingClientRect();
                      return box.bottom > area.top + 1 && box.top < area.bottom - 1;
                    }).map((cell) => ({
                      place: Number(cell.dataset.place), href: cell.querySelector("a").href,
                      top: cell.getBoundingClientRect().top, bottom: cell.getBoundingClientRect().bottom }));
                    seen.sort((a, b) => a.place - b.place);
                    seen.forEach((cell, n) => {
                      if (cell.place !== seen[0].place + n || !cell.href.endsWith(`${images.id[cell.place]}.html`)) wrong += 1;
                    });
                    const top = Math.min(...seen.map((cell) => cell.top)), bottom = Math.max(...seen.map((cell) => cell.bottom));
                    const ended = seen.at(-1)?.place === images.id.length - 1;
                    if (top > area.top + 4 || (bottom < area.bottom - 4 && !ended)) wrong += 1;
                  }
                  return [wrong, taken.sort((a, b) => a - b)[Math.floor(taken.length / 2)] / 1000];
                }""",
                STOPS,
            )
            return int(wrong), float(step)


def measure(site: Path, report: str, rounds: int) -> list[tuple[str, str, str, bool]]:
    """Return rows of figure, value, limit and whether it is met."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    rows = []

    def row(figure: str, value: float, bar: float | None, unit: str, digits: int = 2) -> None:
        limit = "none" if bar is None else f"{bar:g} {unit}"
        rows.append((figure, f"{value:.{digits}f} {unit}", limit, bar is None or value <= bar))

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        reader = Reader(browser, site)
        six = ",".join(sorted(file.stem for file in (site / "cells").iterdir())[:6])
        cluster = next(iter(sorted(file.relative_to(site).as_posix() for file in (site / "clusters").iterdir())))
        for name, path, ready, bar in (
            ("home", "index.html", None, 1),
            ("report", report, ".plate[data-drawn]", 1),
            ("map", "map.html", "#map[data-ready]", 3),
            ("strip", "strip.html", "#strip .cell", None),
            ("find", "find.html", "#found[data-ready]", None),
            ("find by meaning", "find.html#text=haemorrhage", "#found[data-ready]", None),
            ("grade", "grades/2.html", None, 1),
            ("lesions", "lesions.html", None, 1),
            ("kind of lesion", f"lesions/{KINDS[0]}.html", None, 1),
            ("clusters", "clusters.html", None, 1),
            ("cluster", cluster, None, 1),
            ("tray with six", f"tray.html#tray={six}", "#laid[data-ready] li:nth-child(6)", 2),
            ("compare", "compare.html", "#compare[data-ready]", 2),
            ("quiz", "quiz.html", None, 1),
            ("methods", "methods.html", None, 1),
        ):
            taken, worked = reader.opened(path, ready, rounds)
            row(f"{name}, interactive (processor {worked:.2f} s)", taken, bar, "s")
        if (site / "data" / "map").is_dir():
            row("map, a close view loaded", reader.close(rounds), 3, "s")
        keys, worked, opening = reader.keys()
        row(f"find, slowest of all keys (processor {1000 * worked:.0f} ms each)", 1000 * max(keys), 100, "ms", 0)
        row("find, a key in the moment of opening", 1000 * opening, None, "ms", 0)
        row("find, median key", 1000 * statistics.median(keys), 100, "ms", 0)
        wrong, step = reader.strip()
        row(f"strip, cells missing or wrong over {STOPS} stops", wrong, 0, "cells", 0)
        row("strip, median step", 1000 * step, None, "ms", 0)
        for path in (
            "index.html",
            "grades/2.html",
            f"lesions/{KINDS[0]}.html",
            "lesions.html",
            cluster,
            "clusters.html",
            "tray.html",
        ):
            row(f"{path}, its own size", (site / path).stat().st_size / 1000, 200, "kB", 0)
        page, cells = (site / report).stat().st_size, (site / "cells" / f"{Path(report).stem}.js").stat().st_size
        row("report page with its own data", (page + cells) / 1000, 200, "kB", 0)
        row("report with styles and scripts, too", reader.weight(report) / 1000, None, "kB", 0)
        browser.close()
    largest = max((file for file in site.rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)
    row(f"largest file, {largest.relative_to(site)}", largest.stat().st_size / 1e6, 15, "MB", 1)
    return rows


def table(rows: list[tuple[str, str, str, bool]]) -> str:
    lines = [("figure", "value", "limit", ""), *((a, b, c, "met" if met else "MISSED") for a, b, c, met in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(4)]
    return "\n".join(f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d}" for a, b, c, d in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=int, default=35_000)
    parser.add_argument("--patches", type=int, default=100_000)
    parser.add_argument("--reports", type=int, help="number of report pages to write (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each page is opened")
    parser.add_argument("--keep", type=Path, help="keep the atlas in this folder")
    parser.add_argument("--again", type=Path, help="measure the atlas that was kept in this folder")
    asked = parser.parse_args()
    if asked.again:
        tell(asked.again / "site", asked.rounds)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(asked.keep or temporary)
        start = time.perf_counter()
        atlas = records_of(asked.photographs, asked.patches)
        assert atlas.patches is not None
        pictures_of(folder / "pictures", atlas.dataset.image_ids, atlas.patches.patch_ids)
        print(f"drawn in {time.perf_counter() - start:.0f} s", flush=True)
        clock, start = Clock(), time.perf_counter()
        with sampled(atlas, asked.reports or len(atlas.dataset.images)):
            render.render_site(atlas, folder / "pictures", folder / "site", progress=clock)
        written = sum(1 for _ in (folder / "site" / "images").iterdir())
        print(f"rendered in {time.perf_counter() - start:.0f} s, {written} report pages of {len(atlas.dataset.images)}:")
        print_stages(clock.stages)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"largest memory so far {memory:.1f} GB; load {os.getloadavg()[0]:.1f}\n")
        tell(folder / "site", asked.rounds)


def tell(site: Path, rounds: int) -> None:
    """Measure, print the table, and exit with the status."""
    report = next((site / "images").iterdir())
    rows = measure(site, f"images/{report.name}", rounds)
    print(table(rows))
    sys.exit(0 if all(met for *_, met in rows) else 1)


def print_stages(stages: Mapping[str, tuple[float, int]]) -> None:
    for stage, (seconds, done) in stages.items():
        print(f"  {stage}: {seconds:.0f} s for {done}")


if __name__ == "__main__":
    main()
