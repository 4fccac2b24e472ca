"""The tools of every command: its settings, the store, progress, and the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from atlas.config import Configuration
from atlas.pipeline.engine import Fault, Item, Result, Shared, run
from atlas.pipeline.store import Store
from atlas.progress import Progress, silent


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
    seconds : dict[str, float]
        Wall-clock seconds by stage, filled by `timed`.
    """

    configuration: Configuration
    store: Store
    progress: Progress = silent
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, configuration: Configuration, progress: Progress = silent) -> Workshop:
        """Open the store that the settings name."""
        return cls(configuration, Store(configuration.store), progress)

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
            yield from run(task, items, shared, stage=stage, workers=self.configuration.workers, progress=self.progress)
