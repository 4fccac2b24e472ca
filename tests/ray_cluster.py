"""What `test_ray` looks at: two raylets on this machine, builds on them while one is killed, and tasks that go wrong.

It runs in a process of its own, because Ray leaves threads and sockets behind. It writes one JSON object.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

# Ray gives way to all other work (nice 15), so beside other tests it would hardly move.
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_worker_niceness": "0"}

import ray
from ray.cluster_utils import Cluster

from atlas import build_atlas, load_configuration
from atlas.config import Configuration
from atlas.drawn.cohort import write_cohort
from atlas.errors import AtlasError, DatasetError, StoreError
from atlas.lesionnets.bundle import load_lesion_net
from atlas.pipeline.cohort import gather
from atlas.pipeline.engine import Fault, single_threaded
from atlas.pipeline.evaluate import evaluate_scorer
from atlas.pipeline.lesions import choose_thresholds
from atlas.pipeline.logits import Scoring, logit_of
from atlas.pipeline.networks import train_complete
from atlas.pipeline.ray_engine import RayEngine
from atlas.pipeline.report import build_report
from atlas.pipeline.store import Store
from atlas.pipeline.train import train
from atlas.pipeline.workshop import Workshop
from atlas.resources import DEFAULT_LESION_NET
from atlas.scorers.bundle import load_scorer

MOST = 100 << 20  # bytes of objects on a node
NOTICED_SOON = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 3}


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def entries(store: Path) -> list[str]:
    """Name the complete entries of a store. A killed worker leaves an unfinished one, which `Store.tidy` removes a day later."""
    found = (entry.relative_to(store).as_posix() for entry in store.glob("*/??/*"))
    return sorted(name for name in found if "/.new-" not in name)


def where(item: int, shared: None) -> str:
    time.sleep(0.2)  # so that no worker does all
    return str(ray.get_runtime_context().get_node_id())


def odd(item: int, shared: Mapping[str, str]) -> int:
    """Square a number, unless something is to happen at it."""
    done = Path(shared["folder"]) / f"{item}"
    with done.open("a") as stream:
        stream.write("x")
    what = shared.get(str(item))
    if what == "dies once" and done.stat().st_size == 1:
        os._exit(1)
    if what == "dies":
        os._exit(1)
    if what == "fault":
        raise DatasetError(f"item {item}: cannot be read", "give another")
    if what == "bug":
        raise ValueError(f"item {item} is odd")
    if what == "store":
        raise StoreError("the store is gone", "bring it back")
    if what == "full":
        raise OSError(errno.ENOSPC, "full")
    return item * item


def told(call: Callable[[], Any]) -> list[Any]:
    """Return the kind of the error that a call raises, and what it says."""
    try:
        return ["nothing", repr(call()), ""]
    except AtlasError as error:
        return [type(error).__name__, error.message, error.remedy]
    except OSError as error:
        return [type(error).__name__, error.errno, ""]


def of_lesions(configuration: Configuration) -> dict[str, Any]:
    """Do what trainings of lesion nets and evidence scorers do photograph by photograph, on two of them."""
    workshop = Workshop.of(configuration)
    images = gather(workshop).dataset.images
    healthy = [image for image in images if image.grade == 0][:2]

    def draw(to: Path) -> None:
        write_cohort(10, to, size=96, confusers=True, each=workshop.each_or_raise)

    drawn = workshop.store.keep("drawn", [10, 96], draw)
    with single_threaded():
        logits = list(
            workshop.each(logit_of, images[:2], Scoring(load_scorer("evidence-squeezenet"), workshop.store), stage="scores")
        )
        chosen = choose_thresholds(workshop, load_lesion_net(DEFAULT_LESION_NET), [healthy])
    return {"drawn": hashes(drawn), "thresholds": chosen, "logits": logits}


def main(folder: Path, weights: str) -> dict[str, Any]:
    began, clock = time.monotonic(), {}
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 1,
            "object_store_memory": MOST,
            "include_dashboard": False,
            "_system_config": NOTICED_SOON,
        },
    )
    node = cluster.add_node(num_cpus=1, object_store_memory=MOST)
    engine = RayEngine(cluster.address, Store(folder / "odd"))
    found: dict[str, Any] = {"workers": engine.workers, "nodes": sorted(set(engine.run(where, range(8), None, stage="where")))}

    def run(count: int, engine: RayEngine = engine, **happens: str) -> list[Any]:
        own = folder / "done" / f"{time.monotonic_ns()}"
        own.mkdir(parents=True)
        shared = {"folder": str(own), **{name.removeprefix("at_"): what for name, what in happens.items()}}
        found["started"] = own
        return [
            [one.message, one.remedy] if isinstance(one, Fault) else one
            for one in engine.run(odd, range(count), shared, stage="odd")
        ]

    clock["cluster"] = time.monotonic()
    found["died once"] = run(9, at_4="dies once")
    found["faults"] = run(6, at_2="fault", at_4="bug")
    once = replace(engine, retries=0)  # each new worker takes seconds to load torch
    found["dies"] = told(lambda: run(5, once, at_3="dies"))
    found["full"] = told(lambda: run(5, at_3="full"))
    found["store"] = told(lambda: run(500, at_3="store"))
    found["started"] = len(list(found["started"].iterdir()))

    seen = folder / "seen"
    seen.mkdir()
    (seen / "a.jpg").touch()
    blind = [replace(engine, inputs=(one,)) for one in (seen, seen / "a.jpg")]
    for one in blind:
        list(one.run(where, [0], None, stage="where"))
    (seen / "a.jpg").unlink()
    found["hidden"] = [told(partial(next, one.run(where, [0], None, stage="where"))) for one in blind]
    os.environ["ATEN_CPU_CAPABILITY"] = "default"  # for workers; this process has chosen its kernels before
    found["other digits"] = told(lambda: list(replace(engine).run(where, [0], None, stage="where")))
    del os.environ["ATEN_CPU_CAPABILITY"]

    clock["odd tasks"] = time.monotonic()
    eyes = folder / "eyes"
    common: dict[str, Any] = {
        "images": eyes / "images",
        "grades": eyes / "grades.csv",
        "masks": eyes / "masks",
        **{"fit": True, "folds": 3, "trunk": "squeezenet1_1", "trunk_weights": weights, "size": 128},
        **{"clusters": 3, "patches": "occlusion", "lesion_net": "none", "drop_threshold": 0.95, "drop_quantile": 0.9},
    }
    there = {"engine": "ray", "ray_address": cluster.address, "store": folder / "cluster-store"}
    killed: list[int] = []

    def kill(stage: str, done: int, total: int) -> None:
        if stage == "photographs" and total > 8 and done == total // 3 and not killed:
            killed.append(done)
            cluster.remove_node(node, allow_graceful=False)

    build_atlas(load_configuration(**common, store=folder / "store", out=folder / "local"))
    clock["local build"] = time.monotonic()
    build_atlas(load_configuration(**common, **there, out=folder / "cluster"), progress=kill)
    clock["build on the cluster"] = time.monotonic()
    found["killed"], found["alive"] = killed, sum(one["Alive"] for one in ray.nodes())
    found["sites"] = [hashes(folder / name) for name in ("local", "cluster")]
    found["entries"] = [entries(folder / name) for name in ("store", "cluster-store")]
    found["beacons"] = [one.name for one in (folder / "odd").iterdir()]
    measured = {name: value for name, value in common.items() if name not in ("masks", "patches")}
    found["figures"] = [
        repr(evaluate_scorer(load_configuration(**measured, **own))[0]) for own in ({"store": folder / "store"}, there)
    ]
    clock["figures"] = time.monotonic()
    learned = {name: common[name] for name in ("images", "grades", "trunk", "trunk_weights", "size")}
    for name, own in (("local", {"store": folder / "store"}), ("cluster", there)):
        train(load_configuration(**learned, **own, training=True), folder / name / "mine")
    found["scorers"] = [hashes(folder / name / "mine") for name in ("local", "cluster")]
    complete: dict[str, Any] = {"network": "pooled:squeezenet1_1", "start": weights, "epochs": 1}
    plain = {name: learned[name] for name in ("images", "grades", "size")} | {"device": "cpu"}
    for name, own in (("local", {"store": folder / "store"}), ("cluster", there)):
        for frozen in (False, True):
            settings = load_configuration(**plain, **own, training=True)
            train_complete(settings, folder / name / f"network-{frozen}", frozen=frozen, **complete)
    found["networks"] = [
        {frozen: hashes(folder / name / f"network-{frozen}") for frozen in (False, True)} for name in ("local", "cluster")
    ]
    clock["training"] = time.monotonic()
    found["of lesions"], found["reports"] = [], []
    for name, own in (("local", {"store": folder / "store"}), ("cluster", there)):
        found["of lesions"].append(of_lesions(load_configuration(**own, images=eyes / "images", grades=eyes / "grades.csv")))
        page = folder / name / "report.html"
        files = sorted((eyes / "images").iterdir())[:2]
        build_report(files, page, load_configuration(**own, scorer="synthetic-alexnet", lesion_net="none"))
        found["reports"].append(hashlib.sha256(page.read_bytes()).hexdigest())
    clock["reports"] = time.monotonic()
    ray.shutdown()
    cluster.shutdown()
    found["seconds"] = {name: round(at - began, 1) for name, at in clock.items()}
    found["no cluster"] = told(lambda: RayEngine("127.0.0.1:1", Store(folder / "odd")).workers)
    return found


if __name__ == "__main__":
    told_all = json.dumps(main(Path(sys.argv[1]), sys.argv[2]))
    Path(sys.argv[3]).write_text(told_all)
