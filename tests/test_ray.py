"""The engine on a cluster: the bytes of the local one, though a machine is killed, and errors that say what happened.

`ray_cluster` does the work, once, in a process of its own; each test here looks at what it found.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from drawn_atlas import drawn_atlas

from atlas import load_configuration, write_cohort
from atlas.errors import ConfigurationError
from atlas.pipeline.alike import differences, traits
from atlas.pipeline.engine import Threads, single_threaded
from atlas.pipeline.store import Store
from atlas.pipeline.workshop import engine_of
from atlas.scorers.trunks import new_module
from atlas.site.render import render_site

ROOT = Path(__file__).resolve().parents[1]

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("ray")
    write_cohort(24, folder / "eyes", seed=5, size=160)
    weights = folder / "trunk.pth"
    torch.save(new_module("squeezenet1_1", seed=1).state_dict(), weights)
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, ROOT / "tests" / "ray_cluster.py", folder, weights, folder / "found.json"]
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    told: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return told


@needs_ray
def test_both_machines_do_the_work(found: dict[str, Any]) -> None:
    assert found["workers"] == 2
    assert len(found["nodes"]) == 2


@needs_ray
def test_a_build_during_which_a_machine_dies_gives_the_bytes_of_a_local_one(found: dict[str, Any]) -> None:
    assert (len(found["killed"]), found["alive"]) == (1, 1)
    local, cluster = found["sites"]
    assert len(local) > 100
    assert {name for name in local | cluster if local.get(name) != cluster.get(name)} == set()


@needs_ray
def test_nothing_is_lost_or_there_twice_in_the_store(found: dict[str, Any]) -> None:
    local, cluster = found["entries"]
    assert local == cluster
    stages = {entry.partition("/")[0] for entry in local}
    assert {"pictures", "predictions", "looks", "patches", "outlines"} <= stages
    assert found["beacons"] == []


@needs_ray
def test_evaluation_gives_the_same_figures(found: dict[str, Any]) -> None:
    local, cluster = found["figures"]
    assert "Evaluation(" in local
    assert local == cluster


@needs_ray
def test_training_gives_the_same_scorer(found: dict[str, Any]) -> None:
    local, cluster = found["scorers"]
    assert "scorer.json" in local
    assert local == cluster


@needs_ray
def test_a_complete_network_and_one_on_a_frozen_encoder_are_the_same(found: dict[str, Any]) -> None:
    local, cluster = found["networks"]
    assert all("scorer.json" in bundle for bundle in local.values())
    assert local == cluster


@needs_ray
def test_eyes_are_drawn_thresholds_chosen_and_evidence_scored_alike(found: dict[str, Any]) -> None:
    local, cluster = found["of lesions"]
    assert sum(name.startswith("images/") for name in local["drawn"]) == 10
    assert any(name.startswith("masks/") for name in local["drawn"])
    assert all(isinstance(logit, float) for logit in local["logits"])
    assert local == cluster


@needs_ray
def test_a_report_has_the_same_bytes(found: dict[str, Any]) -> None:
    local, cluster = found["reports"]
    assert local == cluster


@needs_ray
def test_a_task_whose_worker_dies_is_done_again(found: dict[str, Any]) -> None:
    assert found["died once"] == [item * item for item in range(9)]


@needs_ray
def test_a_task_that_cannot_be_done_again_is_named(found: dict[str, Any]) -> None:
    kind, message, remedy = found["dies"]
    assert kind == "EngineError"
    assert message.startswith("odd, 4 of 5: the cluster could not do this task (WorkerCrashedError")
    assert "run the same command again" in remedy


@needs_ray
def test_faults_of_one_photograph_take_its_place_and_those_of_all_end_the_run(found: dict[str, Any]) -> None:
    assert [one for one in found["faults"] if not isinstance(one, list)] == [0, 1, 9, 25]
    assert found["faults"][2] == ["item 2: cannot be read", "give another"]
    assert found["faults"][4][0] == "ValueError: item 4 is odd"
    assert found["full"][:1] == ["OSError"]
    assert found["store"] == ["StoreError", "the store is gone", "bring it back"]
    assert found["started"] < 50, "of 500"


@needs_ray
def test_a_machine_that_does_not_see_the_files_ends_the_run(found: dict[str, Any]) -> None:
    for kind, message, remedy in found["hidden"]:
        assert kind == "ConfigurationError"
        assert "does not see" in message
        assert "a.jpg" in message
        assert "share" in remedy


@needs_ray
def test_a_machine_that_computes_other_digits_ends_the_run(found: dict[str, Any]) -> None:
    kind, message, _ = found["other digits"]
    if kind == "nothing":
        pytest.skip("this processor knows no other instructions than the most common")
    assert kind == "ConfigurationError"
    assert "digits of torch" in message


@needs_ray
def test_without_a_cluster_the_message_says_how_to_get_one(found: dict[str, Any]) -> None:
    kind, message, remedy = found["no cluster"]
    assert kind == "ConfigurationError"
    assert message.startswith("ray_address = '127.0.0.1:1': no Ray cluster can be joined")
    assert "ray start --head" in remedy


def test_without_ray_the_message_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were missing
    monkeypatch.delitem(sys.modules, "atlas.pipeline.ray_engine", raising=False)
    with pytest.raises(ConfigurationError, match=r"pip install 'lesion-atlas\[ray\]'"):
        engine_of(load_configuration(engine="ray"), Store(tmp_path))
    assert engine_of(load_configuration(workers=3), Store(tmp_path)) == Threads(3)


def test_an_address_without_the_engine_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="ray_address needs engine = 'ray'"):
        load_configuration(ray_address="10.0.0.1:6379")


def test_two_processes_are_alike_if_their_instructions_are() -> None:
    """The same code and versions in another process: only what is limited by the environment differs."""
    code = (
        "import json; from atlas.pipeline.alike import traits; from atlas.pipeline.engine import single_threaded\n"
        "with single_threaded(): print(json.dumps(traits()))"
    )

    def there(**more: str) -> dict[str, str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        told: dict[str, str] = json.loads(done.stdout)
        return told

    with single_threaded():
        own = traits()
    assert differences(own, there()) == []
    other = differences(own, there(ATEN_CPU_CAPABILITY="default", ONEDNN_MAX_CPU_ISA="SSE41"))
    if torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512"):
        assert [line.partition(" (")[0] for line in other] == ["digits of torch"]


def test_pages_that_other_processes_render_in_any_order_are_those_of_this_one(tmp_path: Path) -> None:
    atlas = drawn_atlas(tmp_path / "pictures", count=45)
    sent = []

    def elsewhere(task: Any, items: Any, shared: Any, *, stage: str) -> Iterator[Any]:
        assert shared.books
        assert stage == "pages"
        packed = pickle.dumps(shared)
        sent.append(len(packed))
        workers = [pickle.loads(packed), pickle.loads(packed)]
        done = {some: task(some, workers[k % 2]) for k, some in reversed([*enumerate(items)])}
        yield from (done[some] for some in items)

    for name, each in (("here", None), ("elsewhere", elsewhere)):
        render_site(atlas, tmp_path / "pictures", tmp_path / name, languages=("en", "de"), each=each)
    here, there = (
        {file.relative_to(tmp_path / name): file.read_bytes() for file in (tmp_path / name).rglob("*") if file.is_file()}
        for name in ("here", "elsewhere")
    )
    assert len(here) > 2 * 45
    assert here == there
    assert sent[0] < 2 * len(pickle.dumps(atlas)), "the atlas, and not what is made from it"
