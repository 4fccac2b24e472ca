"""The engine keeps order, bounds what waits, and stops at the first fault."""

from __future__ import annotations

import threading
import time

import cv2
import numpy as np
import pytest
import torch

from atlas.pipeline.engine import run, single_threaded, worker_count


def test_results_come_in_order_whatever_finishes_first() -> None:
    def task(item: int) -> int:
        time.sleep(0.02 if item % 3 == 0 else 0)
        return item * item

    assert list(run(task, range(30), stage="squares", workers=4)) == [item * item for item in range(30)]


def test_progress_counts_every_item() -> None:
    calls: list[tuple[str, int, int]] = []
    list(run(str, [1, 2, 3], stage="words", workers=2, progress=lambda *call: calls.append(call)))
    assert calls == [("words", 0, 3), ("words", 1, 3), ("words", 2, 3), ("words", 3, 3)]


def test_the_first_fault_ends_the_run_and_drops_what_has_not_started() -> None:
    started: list[int] = []

    def task(item: int) -> int:
        started.append(item)
        if item == 2:
            raise ValueError("item 2")
        return item

    with pytest.raises(ValueError, match="item 2"):
        list(run(task, range(1000), stage="faulty", workers=2))
    assert len(started) < 20


def test_little_waits_while_the_reader_is_slow() -> None:
    started: list[int] = []
    results = run(lambda item: started.append(item) or item, range(1000), stage="slow", workers=2)
    for _ in range(5):
        next(results)
    time.sleep(0.05)
    assert len(started) <= 5 + 2 * 3
    results.close()


def test_numbers_do_not_depend_on_workers() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(3, 64, 3).eval()
    images = torch.rand(6, 1, 3, 64, 64)

    def task(image: torch.Tensor) -> bytes:
        with torch.inference_mode():
            return layer(image).numpy().tobytes()

    with single_threaded():
        assert list(run(task, list(images), stage="one", workers=1)) == list(run(task, list(images), stage="two", workers=2))


def test_single_threaded_holds_and_restores_thread_counts() -> None:
    torch.set_num_threads(2)
    cv2.setNumThreads(2)
    try:
        with single_threaded():
            assert (torch.get_num_threads(), cv2.getNumThreads()) == (1, 1)
            seen: list[int] = list(run(lambda _: torch.get_num_threads(), [0, 1], stage="threads", workers=2))
            assert seen == [1, 1]
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (2, 2)
    finally:
        torch.set_num_threads(1)
        cv2.setNumThreads(1)


def test_nothing_runs_for_no_items() -> None:
    before = threading.active_count()
    assert list(run(str, [], stage="none")) == []
    assert threading.active_count() == before
    assert worker_count(3) == 3
    assert worker_count(None) >= 1
    assert np.isfinite(worker_count(None))
