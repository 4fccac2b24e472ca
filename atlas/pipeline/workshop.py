"""The tools of every command: its settings, the store, progress, and the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from atlas.config import Configuration
from atlas.errors import ConfigurationError
from atlas.pipeline.addresses import brought_here
from atlas.pipeline.engine import Engine, Fault, Threads
from atlas.pipeline.store import Store
from atlas.progress import Progress, silent
from atlas.tasks import Item, Result, Shared


@dataclass(frozen=True)
class Workshop:
    """The tools of one command.

    Parameters
    ----------
    configuration : Configuration
        Its settings.
    store : Store
        Keeps the results.
    progress : Progress
        Called as stages proceed.
    engine : Engine
        Runs the tasks.
    addresses : Mapping[str, str]
        By setting, the addresses of inputs that were copied here, and of the atlas.
    seconds : dict[str, float]
        Wall-clock seconds by stage, filled by `timed`.
    """

    configuration: Configuration
    store: Store
    progress: Progress = silent
    engine: Engine = field(default_factory=Threads)
    addresses: Mapping[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, configuration: Configuration, progress: Progress = silent, *, also: Sequence[Path] = ()) -> Workshop:
        """Open the store, copy inputs that are at addresses into it, and choose the engine that the settings name.

        Parameters
        ----------
        also : Sequence[Path]
            Photographs, or folders of them, that tasks read besides those of the settings.
        """
        store = Store(configuration.store)
        configuration, addresses = brought_here(configuration, store, progress)
        return cls(configuration, store, progress, engine_of(configuration, store, also=also), addresses)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Measure the time that a stage takes."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - start, 3)

    def each(
        self, task: Callable[[Item, Shared], Result], items: Sequence[Item], shared: Shared, *, stage: str
    ) -> Iterator[Result | Fault]:
        """Do a stage's task for each item, see `engine.run`, and measure the time."""
        with self.timed(stage):
            yield from self.engine.run(task, items, shared, stage=stage, progress=self.progress)

    def each_or_raise(
        self, task: Callable[[Item, Shared], Result], items: Sequence[Item], shared: Shared, *, stage: str
    ) -> Iterator[Result]:
        """Do a task for each item, as `each` does, and raise the first fault.

        Raises
        ------
        AtlasError
            If a task could not be done.
        """
        for result in self.each(task, items, shared, stage=stage):
            if isinstance(result, Fault):
                raise result.error
            yield result


def engine_of(configuration: Configuration, store: Store, *, also: Sequence[Path] = ()) -> Engine:
    """Return the engine that the settings name. Its tasks read the folders of the settings, and what is in `also`.

    Raises
    ------
    ConfigurationError
        If its library is not installed.
    """
    if configuration.engine == "local":
        return Threads(configuration.workers)
    try:
        from atlas.pipeline.ray_engine import RayEngine  # needs Ray, which few installations have
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "ray":
            raise
        raise ConfigurationError(
            "engine = 'ray': Ray is not installed",
            "install it, here and on the cluster: python -m pip install 'lesion-atlas[ray]'",
        ) from None
    inputs = (configuration.images, configuration.masks, *also)
    return RayEngine(
        configuration.ray_address,
        store,
        tuple(one for one in inputs if one is not None),
        configuration.workers,
        configuration.device,
    )
