"""Runs the work on the photographs on a Ray cluster: the tasks of `engine`, in processes of any machine that has joined it.

A task writes its results into the store, where an entry is complete or absent. So a task can be repeated: what a machine was
doing when it died is done again by another one, and nothing is lost or there twice.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import ray
from ray.exceptions import RayError

from atlas.errors import ConfigurationError, EngineError
from atlas.pipeline.alike import LIMITS, differences, traits
from atlas.pipeline.engine import AHEAD, Fault, attempt, single_threaded
from atlas.pipeline.store import Store
from atlas.progress import Progress, silent
from atlas.records import Device
from atlas.scorers.devices import device_of
from atlas.tasks import Item, Result, Shared

_COUNTED_AGAIN = 5.0  # seconds after which the cluster's processors are counted again: machines come and go

_PATIENCE = 10.0  # seconds in which a cluster must answer

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

_NO_CLUSTER = "start one with `ray start --head`, or name one with --ray-address."


@dataclass(frozen=True)
class RayEngine:
    """An engine that runs tasks on an existing cluster.

    Parameters
    ----------
    address : str or None
        Of the cluster. Without it, that in RAY_ADDRESS, or the cluster that was started on this machine.
    store : Store
        Where tasks keep their results: on a path that all machines share.
    inputs : tuple[Path, ...]
        Folders and files that tasks read: on such paths, too.
    most : int or None
        Most tasks at a time; without it, as many as the cluster has processors.
    device : Device or None
        Where networks run. Each task on a GPU has one to itself.
    retries : int
        How often a task is done again after its worker died.
    """

    address: str | None
    store: Store
    inputs: tuple[Path, ...] = ()
    most: int | None = None
    device: Device | None = None
    retries: int = 5
    elsewhere: ClassVar[bool] = True

    @property
    def workers(self) -> int:
        """How many tasks run at a time now."""
        self._connected  # noqa: B018
        of_cluster = ray.cluster_resources()
        count = int(of_cluster.get("GPU" if self._gpu else "CPU", 0)) or 1
        return min(count, self.most or count)

    def run(
        self,
        task: Callable[[Item, Shared], Result],
        items: Sequence[Item],
        shared: Shared,
        *,
        stage: str,
        progress: Progress = silent,
    ) -> Iterator[Result | Fault]:
        """Yield task(item, shared) for each item, in order, see `engine.run`.

        Raises
        ------
        ConfigurationError
            If there is no cluster, or one of its machines does not see the files or would compute other digits.
        EngineError
            If the cluster cannot do a task.
        """
        progress(stage, 0, len(items))
        if not items:
            return
        remote = self._connected
        with self.store.scratch() as beacon:
            given = ray.put((task, shared))  # once; each worker loads it once
            conditions = _Conditions(self._traits, (beacon, *self._witnesses))
            waiting = iter(items)

            def submit(count: int) -> list[Any]:
                return [remote.remote(item, [given], conditions) for item in islice(waiting, count)]

            counted, workers = time.monotonic(), self.workers
            futures = submit(workers * AHEAD)
            try:
                for done in range(len(items)):
                    result = _result(futures.pop(0), f"{stage}, {done + 1} of {len(items)}")
                    if time.monotonic() - counted > _COUNTED_AGAIN:
                        counted, workers = time.monotonic(), self.workers
                    futures += submit(max(0, workers * AHEAD - len(futures)))
                    progress(stage, done + 1, len(items))
                    yield result
            finally:
                for future in futures:
                    with suppress(RayError):
                        ray.cancel(future)

    @cached_property
    def _connected(self) -> Any:
        """Join the cluster, unless this process belongs to one, and return the function that does a task there."""
        if not ray.is_initialized():
            try:
                _require_answer(self.address or os.environ.get("RAY_ADDRESS", ""))
                ray.init(address=self.address or "auto", log_to_driver=False, logging_level=logging.ERROR)
            except (OSError, RuntimeError, ValueError, RayError) as error:
                where = f"ray_address = {self.address!r}" if self.address else "engine = 'ray'"
                reason = str(error).strip().partition("\n")[0]
                raise ConfigurationError(f"{where}: no Ray cluster can be joined ({reason})", _NO_CLUSTER) from error
        limits = {name: os.environ[name] for name in LIMITS if name in os.environ}
        return ray.remote(_do).options(
            num_cpus=1,
            num_gpus=int(self._gpu),
            max_retries=self.retries,
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": {**_ONE_THREAD, **limits}},
        )

    @cached_property
    def _gpu(self) -> bool:
        return self.device is not None and device_of(self.device) == "cuda"

    @cached_property
    def _traits(self) -> Mapping[str, str]:
        with single_threaded():
            return traits()

    @cached_property
    def _witnesses(self) -> tuple[Path, ...]:
        """A file of each folder that tasks read: a machine that does not see it would take photographs for missing."""
        found = [one.absolute() for one in self.inputs if one.is_file()]
        for folder in self.inputs:
            for parent, _, names in os.walk(folder):  # nothing, if it is a file
                if names:
                    found.append(Path(parent, min(names)).absolute())
                    break
        return tuple(found)


def _require_answer(address: str) -> None:
    """Raise OSError if nothing listens at host:port. Ray would try again for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()


@dataclass(frozen=True)
class _Conditions:
    """What must hold for a worker: its traits, see `alike`, and the paths that it must see."""

    traits: Mapping[str, str]
    paths: tuple[Path, ...]

    def require(self) -> None:
        node = ray.util.get_node_ip_address()
        if hidden := [path for path in self.paths if not path.exists()]:
            raise ConfigurationError(
                f"the machine {node} of the cluster does not see {hidden[0]}",
                "the store, the photographs and masks must lie on paths that all machines share; name such a store with --store.",
            )
        if told := differences(self.traits, traits()):
            raise ConfigurationError(
                f"the machine {node} of the cluster would compute other results than this one: {', '.join(told)}",
                "install the same versions everywhere. If only digits differ, the processors do: limit all of them to the same "
                "instructions by environment variables of this command, see docs/cluster.md.",
            )


@cache
def _steady() -> AbstractContextManager[None]:
    """Limit the libraries of this process to one thread for good."""
    steady = single_threaded()
    steady.__enter__()
    return steady  # kept, because threads would be given back with it


@cache
def _loaded() -> dict[str, tuple[Any, Any]]:
    """Return what this worker was given for its present stage, by the id of the object."""
    return {}


@cache
def _met() -> set[tuple[Path, ...]]:
    """Return the paths of the conditions that this worker was found to meet."""
    return set()


def _do(item: Any, given: list[Any], conditions: _Conditions) -> tuple[Any, Exception | None]:
    """Do a task in a worker. Return its result, or what ended it: Ray would wrap an exception that is raised."""
    try:
        _steady()
        if conditions.paths not in _met():
            conditions.require()
            _met().add(conditions.paths)
        (reference,) = given
        loaded, name = _loaded(), reference.hex()
        if name not in loaded:
            loaded.clear()  # that of an earlier stage
            loaded[name] = ray.get(reference)
        task, shared = loaded[name]
        return attempt(task, item, shared), None
    except Exception as error:
        return None, error


def _result(future: Any, what: str) -> Any:
    try:
        result, error = ray.get(future)
    except RayError as fault:
        told = " ".join(str(fault).split())[:300]
        raise EngineError(
            f"{what}: the cluster could not do this task ({type(fault).__name__}: {told})",
            "see the logs of its machines, in /tmp/ray; run the same command again, and it continues from the store.",
        ) from fault
    if error is not None:
        raise error
    return result
